"""The marker `dualdb` as users meet it: what it does to halves, pairs and issues, and how it refuses."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from projects import FASTER, Projects, Run, command, environment
from test_readme import USAGE, run, section, snippets

from pytest_dualdb.report import Allowance, Meta, TestResult, build, markdown
from pytest_dualdb.server import Server

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", FASTER)


@pytest.fixture(params=[(), ("-n2",)], ids=["n0", "n2"])
def marked(request: pytest.FixtureRequest, projects: Projects) -> Run:
    return projects.run("marks", "--db=both", "-v", *request.param)


def closing(run: Run) -> dict[str, int]:
    """Return pytest's own counts."""
    return {what: int(n) for n, what in re.findall(r"(\d+) (\w+)", run.output.rstrip().rpartition("\n")[2])}


def rules(run: Run, name: str) -> set[str]:
    """Return the rules of the issues that name a test."""
    issues = run.report["issues"]
    return {issue["rule"] for issue in issues if any(id.endswith(f"::{name}") for id in issue["tests"])}


# ------------------------------------------------------------------------------------------------ one backend


def test_only_runs_one_half_and_is_no_pair(marked: Run) -> None:
    ids = [test["id"] for test in marked.report["tests"]]
    assert not [id for id in ids if "only" in id]
    assert [(test["id"], test["reason"]) for test in marked.report["only"]] == [
        ("test_marks.py::test_only_postgres", "PostgreSQL only: arrays"),
        ("test_marks.py::test_only_sqlite[1]", "SQLite only: a pragma"),
        ("test_marks.py::test_only_sqlite[2]", "SQLite only: a pragma"),
    ]
    assert "test_only_postgres[sqlite]" not in marked.output
    assert "3 tests on one backend only: " in marked.output
    assert "deselected" not in closing(marked)


def test_only_is_quiet_without_verbosity(projects: Projects) -> None:
    run = projects.run("marks", "--db=both", "-k", "test_only or test_allowed_by_a_list")
    assert run.status == 0, run.text
    assert "1 pair: agrees" in run.output
    assert "only" not in run.output.partition("database parity")[2]
    assert "allowed" not in run.output.partition("database parity")[2]
    alone = projects.run("marks", "--db=both", "-k", "test_only")
    assert "no pair: 3 tests with a mark to run on one backend only" in alone.output


@pytest.mark.parametrize(("backend", "passed", "deselected"), [("sqlite", 2, 1), ("postgres", 1, 2)])
def test_only_deselects_in_a_run_on_the_other_backend(
    projects: Projects, backend: str, passed: int, deselected: int
) -> None:
    names = [f"test_marks.py::test_only_{name}" for name in ("postgres", "sqlite")]
    run = projects.run("marks", f"--db={backend}", *names)
    assert closing(run) == {"passed": passed, "deselected": deselected}
    assert run.status == 0, run.text


def test_joined_reports_know_the_marks(projects: Projects, marked: Run, tmp_path: Path) -> None:
    halves = []
    for backend in ("sqlite", "postgres"):
        folder = projects.copy("marks")
        done = subprocess.run(
            command(f"--db={backend}", f"--db-postgres={projects.postgres}", "--db-report=half.json"),
            cwd=folder, env=environment(), capture_output=True, check=False,
        )  # fmt: skip
        assert (folder / "half.json").exists(), done.stdout + done.stderr
        halves.append(str(folder / "half.json"))
    joined = tmp_path / "joined.json"
    subprocess.run(
        [sys.executable, "-m", "pytest_dualdb", "compare", *halves, f"--report={joined}"],
        env=environment(), capture_output=True, check=False,
    )  # fmt: skip
    report = json.loads(joined.read_text(encoding="utf-8"))
    for key in ("totals", "stale_allowances"):
        assert report[key] == marked.report[key]
    assert [test["id"] for test in report["only"]] == [test["id"] for test in marked.report["only"]]


# ------------------------------------------------------------------------------------------ expected failures


def test_an_expected_failure_is_one_with_that_exception_only(marked: Run) -> None:
    assert marked.test("test_expected")["postgres"]["outcome"] == "xfailed"
    assert marked.test("test_expected")["reason"] == "the PostgreSQL half was xfailed: not ported"
    assert marked.test("test_another_exception")["postgres"]["outcome"] == "failed"
    assert marked.test("test_another_exception")["verdict"] == "disagree"
    assert closing(marked) == {"failed": 2, "passed": 26, "xfailed": 2}


def test_an_expected_failure_that_passes_fails_and_is_compared(marked: Run) -> None:
    assert "[XPASS(strict)] ported since" in marked.output
    assert marked.test("test_passes_again")["postgres"]["outcome"] == "xpassed"
    assert marked.test("test_passes_again")["verdict"] == "agree"


def test_an_expected_failure_may_be_of_one_parameter(marked: Run) -> None:
    assert marked.test("test_of_a_parameter[1]")["verdict"] == "agree"
    assert marked.test("test_of_a_parameter[2]")["sqlite"]["outcome"] == "xfailed"


def test_that_there_is_no_database_is_no_expected_failure(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndualdb_schema = schema.sql\n")
    (pytester.path / "schema.sql").write_text("CREATE TABEL t (n INTEGER);")
    pytester.makepyfile(
        "import pytest\n@pytest.mark.dualdb(xfail='sqlite', reason='why')\ndef test_it(db):\n    assert 0\n"
    )
    result = pytester.runpytest_subprocess("--db=sqlite")
    result.assert_outcomes(errors=1)


# ------------------------------------------------------------------------------------------------- allowances


def test_what_is_allowed_is_no_issue_and_stays_in_the_report(marked: Run) -> None:
    test = marked.test("test_allowed")
    assert test["verdict"] == "agree"
    assert {d["rule"]: d["allowed"] for d in test["divergences"]} == {"like-case": "the names are lower case"}
    assert rules(marked, "test_allowed") == set()
    assert "allowed: like-case: " in marked.output
    assert marked.test("test_allowed_by_a_list")["verdict"] == "agree"


def test_what_is_not_allowed_is_an_issue_all_the_same(marked: Run) -> None:
    test = marked.test("test_another_rule_too")
    assert test["verdict"] == "disagree"
    assert rules(marked, "test_another_rule_too") == {"unexplained"}
    assert {d["rule"] for d in test["divergences"] if "allowed" not in d} == {"unexplained"}


def test_marks_of_class_and_method_add_up(marked: Run) -> None:
    assert marked.test("test_needs_it")["verdict"] == "agree"
    assert [d["rule"] for d in marked.test("test_needs_it")["divergences"]] == ["like-case"]


def test_an_allowance_that_no_test_needs_is_reported(marked: Run) -> None:
    assert marked.report["stale_allowances"] == [
        {"rule": "like-case", "reason": "it was so once", "where": "test_marks.py::test_allowed_in_vain"}
    ]
    assert "1 allowance no longer applies: " in marked.output


@pytest.mark.parametrize(
    "arguments",
    [
        ("-k", "test_does_not"),
        ("test_marks.py::TestClass::test_does_not",),
        (
            "test_marks.py::test_allowed_for_some_parameters[A-sqlite]",
            "test_marks.py::test_allowed_for_some_parameters[A-postgres]",
        ),
    ],
)
def test_an_allowance_is_not_judged_by_a_part_of_its_tests(
    projects: Projects, arguments: tuple[str, ...]
) -> None:
    run = projects.run("marks", "--db=both", *arguments)
    assert run.status == 0, run.text
    assert run.report["totals"]["agree"] >= 1
    assert "stale_allowances" not in run.report


def test_an_allowance_that_does_not_apply_does_not_fail_the_run(projects: Projects) -> None:
    run = projects.run("marks", "--db=both", "-k", "test_allowed_in_vain")
    assert run.status == 0, run.text
    assert "1 allowance no longer applies: test_marks.py::test_allowed_in_vain" in run.output


@pytest.mark.parametrize(("tests", "stale"), [(0, False), (1, False), (2, True), (3, False)])
def test_an_allowance_is_stale_when_all_its_tests_were_compared(tests: int, stale: bool) -> None:
    allowance = Allowance("like-case", "why", "t.py", tests)
    results = [
        TestResult("a", "agree", allowances=(allowance,)), TestResult("b", "agree", allowances=(allowance,)),
        TestResult("c", "not-comparable", "skipped", allowances=(allowance,)),
    ]  # fmt: skip
    report = build(Meta("0", "", 0.0), results)
    assert report.stale == ((allowance,) if stale else ())
    assert ("## Allowances that no longer apply" in markdown.render(report)) is stale


# ------------------------------------------------------------------------------------------------- bad marks


BAD = {
    'only="postgresql", reason="x"': "only='postgresql': unknown backend; expected 'sqlite' or 'postgres'",
    'only="postgres"': 'only= needs a reason; expected reason="why"',
    'xfail="sqlite", reason=" "': 'xfail= needs a reason; expected reason="why"',
    'allow="like-case"': 'allow= needs a reason; expected reason="why"',
    'allow="like-cases", reason="x"': "allow='like-cases': unknown rule; did you mean 'like-case'[?]",
    'allow=["unexplained", "xyz"], reason="x"': "allow='xyz': unknown rule; expected the name of a rule *",
    'alow="like-case", reason="x"': "unknown argument 'alow'; did you mean 'allow'[?]",
    '"postgres", reason="x"': "'postgres' has no name; expected one of only=, xfail=, allow=, ignore=",
    'raises=ValueError, reason="x"': "says nothing; expected one of only=, xfail=, allow=, ignore=",
    'only="sqlite", raises=ValueError, reason="x"': "raises= belongs to xfail=; expected *",
    'xfail="sqlite", raises=3, reason="x"': "raises=3: expected a class of exceptions or a tuple of them",
    'xfail="sqlite", raises=(), reason="x"': "raises=(): expected a class of exceptions or a tuple of them",
    'only="sqlite", allow="like-case", reason="x"': "* leaves nothing to compare; expected no allow= beside it",
    'only="sqlite", ignore=["a"], reason="x"': "* leaves nothing to compare; expected no ignore= beside it",
    'only="sqlite", xfail="postgres", reason="x"': "*only='sqlite' leaves no half to fail as *",
    "ignore=3": "ignore=3: expected column names: a text or a list of texts",
    "": "says nothing; expected one of only=, xfail=, allow=, ignore=",
}  # fmt: skip


def test_a_bad_mark_is_a_collection_error_of_one_line_that_names_the_test(pytester: pytest.Pytester) -> None:
    tests = [
        f"@pytest.mark.dualdb({arguments})\n@pytest.mark.parametrize('x', [1, 2])\n"
        f"def test_{n}(db, x): pass\n"
        for n, arguments in enumerate(BAD)
    ]
    pytester.makepyfile("import pytest\n" + "".join(tests))
    result = pytester.runpytest_subprocess("--db=both", "--db-postgres=postgresql:///none", "--collect-only")
    for n, message in enumerate(BAD.values()):
        lines = [line for line in result.outlines if re.match(rf"test_\w+\.py::test_{n}: ", line)]
        assert len(lines) == 1
        result.stdout.fnmatch_lines([f"*::test_{n}: {'' if message[0] == '*' else '*): '}{message}"])
    assert "Traceback" not in result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.INTERRUPTED


@WORKERS
def test_a_bad_mark_stops_the_run_in_each_place(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest

        def test_good(db): pass

        @pytest.mark.usefixtures("db")
        class Case(unittest.TestCase):
            @pytest.mark.dualdb(only="mysql", reason="x")
            def test_method(self): pass

        @pytest.mark.dualdb(only="oracle", reason="x")
        class TestClass:
            def test_one(self, db): pass
            def test_two(self, db): pass
        """
    )
    result = pytester.runpytest_subprocess("--db=sqlite", *workers)
    result.stdout.fnmatch_lines(["*.py::Case::test_method: *only='mysql': unknown backend; *"])
    result.stdout.fnmatch_lines(["*.py::TestClass: *only='oracle': unknown backend; *"])
    assert result.ret != 0
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_marks_that_contradict_each_other_are_refused(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        pytestmark = pytest.mark.dualdb(only="sqlite", reason="the file")

        @pytest.mark.dualdb(only="postgres", reason="the test")
        def test_it(db): pass
        """
    )
    result = pytester.runpytest_subprocess("--db=sqlite")
    result.stdout.fnmatch_lines(["*::test_it: its marks say only='postgres' and only='sqlite'; expected *"])


LATE = """
    import pytest

    def pytest_collection_modifyitems(items):
        for item in items:
            for name, said in {
                "test_only": {"only": "postgres"}, "test_fails": {"xfail": "postgres"},
                "test_allowed": {"allow": "like-case"}, "test_no_more": {"allow": "like-case"},
                "test_bad": {"allow": "like-cas"},
            }.items():
                if item.originalname == name:
                    item.add_marker(pytest.mark.dualdb(reason="known", **said))
"""


@WORKERS
def test_marks_of_a_conftest_hold_as_well(
    pytester: pytest.Pytester, postgres_server: Server, workers: tuple[str, ...]
) -> None:
    pytester.makeconftest(LATE)
    pytester.makepyfile(
        test_it="""
        import unittest
        import pytest

        LIKE = "SELECT name FROM (SELECT 'Ada' AS name) AS people WHERE name LIKE "
        def test_only(db): db.scalar("SELECT 1")
        def test_allowed(db): db.fetchall(LIKE + "'a%'")
        def test_no_more(db): db.fetchall(LIKE + "'A%'")

        @pytest.mark.usefixtures("db")
        class Case(unittest.TestCase):
            def test_fails(self): raise LookupError
        """
    )
    where = f"--db-postgres={postgres_server.url(postgres_server.maintenance)}"
    result = pytester.runpytest_subprocess("--db=both", where, *workers)
    result.assert_outcomes(passed=5, failed=1, xfailed=1, deselected=0 if workers else 1)
    result.stdout.fnmatch_lines(["FAILED *Case::test_fails?sqlite? *"])
    result.stdout.fnmatch_lines(["1 allowance no longer applies: *::test_no_more (like-case: known)"])
    assert "HIGH" not in result.stdout.str()


@WORKERS
def test_a_bad_mark_of_a_conftest_is_an_error(pytester: pytest.Pytester, workers: tuple[str, ...]) -> None:
    pytester.makeconftest(LATE)
    pytester.makepyfile("def test_bad(db): pass")
    result = pytester.runpytest_subprocess("--db=sqlite", *workers)
    result.stdout.fnmatch_lines(["*::test_bad: *allow='like-cas': unknown rule; did you mean 'like-case'?"])
    assert result.ret in (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.TESTS_FAILED)
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()


def test_rules_of_the_users_own_may_be_allowed(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        def pytest_dualdb_rules():
            from pytest_dualdb.rules import Rule

            class OwnRule(Rule):
                name = "own-rule"
            return [OwnRule()]
        """
    )
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.dualdb(allow="own-rule", reason="ours")
        def test_it(db): pass
        """
    )
    pytester.runpytest_subprocess("--db=sqlite").assert_outcomes(passed=1)


def test_rules_are_read_only_if_one_is_allowed(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys

        def pytest_collection_finish():
            print("RULES", "pytest_dualdb.rules" in sys.modules)
        """
    )
    source = "import pytest\n@pytest.mark.dualdb({})\ndef test_it(db): pass\n"
    pytester.makepyfile(source.format("only='sqlite', reason='x'"))
    pytester.runpytest_subprocess("--db=sqlite").stdout.fnmatch_lines(["*RULES False*"])
    pytester.makepyfile(source.format("allow='like-case', reason='x'"))
    pytester.runpytest_subprocess("--db=sqlite").stdout.fnmatch_lines(["*RULES True*"])


def test_the_documentation(tmp_path: Path, projects: Projects) -> None:
    report = run(tmp_path, snippets(section(USAGE, "What is known of a test")), projects)
    verdicts = {test["id"].rpartition("::")[2]: test["verdict"] for test in report["tests"]}
    assert verdicts == {"test_search": "agree", "test_import": "not-comparable"}
    assert [test["id"].rpartition("::")[2] for test in report["only"]] == ["test_arrays"]
    assert report["issues"] == []
    assert "stale_allowances" not in report


# ----------------------------------------------------------------------- another plugin that has a fixture db


OWNER = {
    "by its function": "import pytest\n@pytest.fixture\ndef db():\n    return 'theirs'\n",
    "by its name": "import pytest\n@pytest.fixture(name='db')\ndef anything():\n    return 'theirs'\n",
}


@pytest.fixture
def theirs(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    monkeypatch.setenv("PYTHONPATH", str(pytester.path))
    pytester.makepyfile("def test_it(db):\n    assert db == 'theirs'\n")
    return pytester


@WORKERS
@pytest.mark.parametrize("owner", OWNER)
def test_another_plugins_db_works_as_if_there_was_none_of_ours(
    theirs: pytest.Pytester, owner: str, workers: tuple[str, ...]
) -> None:
    theirs.makepyfile(their_plugin=OWNER[owner])
    result = theirs.runpytest_subprocess("-p", "their_plugin", "-v", *workers)
    result.assert_outcomes(passed=1)
    assert "test_it[" not in result.stdout.str()


@WORKERS
@pytest.mark.parametrize("owner", OWNER)
def test_another_plugins_db_and_a_backend_of_ours_are_refused(
    theirs: pytest.Pytester, owner: str, workers: tuple[str, ...]
) -> None:
    theirs.makepyfile(their_plugin=OWNER[owner])
    result = theirs.runpytest_subprocess("-p", "their_plugin", "--db=sqlite", *workers)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line]
    assert lines == [
        "ERROR: pytest-dualdb: --db=sqlite: the plugin their_plugin has a fixture db as well; expected one"
        " plugin to have it: add -p no:their_plugin to leave that one out, or run without --db"
    ]
    theirs.makepyfile("def test_it(db):\n    assert db.backend == 'sqlite'\n")
    theirs.runpytest_subprocess("--db=sqlite", "-p", "no:their_plugin", *workers).assert_outcomes(passed=1)


def test_a_distribution_that_has_db_is_named_as_people_know_it(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(django_like=OWNER["by its function"])
    info = theirs.path / "pytest_djangolike-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pytest-djangolike\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pytest11]\ndjangolike = django_like\n")
    result = theirs.runpytest_subprocess("-v")
    result.assert_outcomes(passed=1)
    result = theirs.runpytest_subprocess("--db=sqlite")
    result.stderr.fnmatch_lines(["*the plugin pytest-djangolike has a fixture db*-p no:djangolike *"])


def test_a_conftest_may_take_its_db_from_a_module_of_its_own(theirs: pytest.Pytester) -> None:
    theirs.makepyfile(own_fixtures="import pytest\n@pytest.fixture\ndef db(db):\n    return db.backend\n")
    theirs.makeconftest("pytest_plugins = ['own_fixtures']")
    theirs.makepyfile("def test_it(db):\n    assert db == 'sqlite'\n")
    theirs.runpytest_subprocess("--db=sqlite").assert_outcomes(passed=1)
