"""The plugin as its users meet it: options, test ids, fixtures, exit status, messages, clean-up."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from projects import FASTER, Projects, Run, command, environment

from pytest_dualdb.server import Server

WORKERS = pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])
"""For whatever must be the same with pytest-xdist."""


@pytest.fixture(autouse=True)
def faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTEST_ADDOPTS", FASTER)


# ----------------------------------------------------------------------------------- test ids and fixtures


def ids(run: Run) -> list[str]:
    """Return the tests of a verbose run in the order in which they ran."""
    words = (line.split() for line in run.output.splitlines())
    return [
        line[0].rpartition("::")[2]
        for line in words
        if len(line) > 1 and "::" in line[0] and line[1] in ("PASSED", "FAILED", "ERROR", "SKIPPED")
    ]


@pytest.fixture(scope="module")
def surface(projects: Projects) -> Run:
    run = projects.run("surface", "--db=both", "-v")
    assert run.status == 0, run.text
    return run


def test_a_test_that_asks_for_db_runs_once_on_each_backend_side_by_side(surface: Run) -> None:
    assert ids(surface)[: ids(surface).index("test_through_fixtures[sqlite]")] == [
        "test_replaced",
        "test_overriding[sqlite]", "test_overriding[postgres]",
        "test_overriding_another_fixture[sqlite]", "test_overriding_another_fixture[postgres]",
        "test_plain",
        "test_plain_parameters[1]", "test_plain_parameters[2]",
        "test_direct[sqlite]", "test_direct[postgres]",
        "test_parameters[1-sqlite]", "test_parameters[1-postgres]",
        "test_parameters[2-sqlite]", "test_parameters[2-postgres]",
        "test_names_of_backends[sqlite-sqlite]", "test_names_of_backends[sqlite-postgres]",
        "test_names_of_backends[postgres-sqlite]", "test_names_of_backends[postgres-postgres]",
        "test_names_of_backends[-sqlite-sqlite]", "test_names_of_backends[-sqlite-postgres]",
        "test_two_parameters[1-x-sqlite]", "test_two_parameters[1-x-postgres]",
        "test_two_parameters[1-y-sqlite]", "test_two_parameters[1-y-postgres]",
        "test_two_parameters[2-x-sqlite]", "test_two_parameters[2-x-postgres]",
        "test_two_parameters[2-y-sqlite]", "test_two_parameters[2-y-postgres]",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "name", ["test_through_fixtures", "test_autouse", "test_overriding", "test_overriding_another_fixture"]
)
def test_db_may_be_asked_for_through_any_fixture(surface: Run, name: str) -> None:
    assert surface.test(name)["verdict"] == "agree"
    assert surface.test(name)["sqlite"]["nodeid"].endswith(f"::{name}[sqlite]")
    assert surface.test(name)["postgres"]["nodeid"].endswith(f"::{name}[postgres]")


@WORKERS
def test_the_report_names_a_test_without_its_backend(projects: Projects, workers: tuple[str, ...]) -> None:
    report = projects.run("surface", "--db=both", "-v", *workers).report
    assert [test["id"] for test in report["tests"]] == sorted(
        [
            "scoped/test_scoped.py::test_overriding",
            "scoped/test_scoped.py::test_overriding_another_fixture",
            "test_surface.py::TestAutouse::test_autouse",
            "test_surface.py::test_direct",
            "test_surface.py::test_parameters[1]", "test_surface.py::test_parameters[2]",
            "test_surface.py::test_names_of_backends[sqlite]",
            "test_surface.py::test_names_of_backends[postgres]",
            "test_surface.py::test_names_of_backends[-sqlite]",
            "test_surface.py::test_two_parameters[1-x]", "test_surface.py::test_two_parameters[1-y]",
            "test_surface.py::test_two_parameters[2-x]", "test_surface.py::test_two_parameters[2-y]",
            "test_surface.py::test_through_fixtures",
        ]
    )  # fmt: skip
    assert report["totals"] == {
        "pairs": 14, "agree": 14, "disagree": 0, "not_comparable": 0,
        "issues": {"critical": 0, "high": 0, "medium": 0, "low": 0},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), ["test_direct[sqlite]"]),
        (("--db=sqlite",), ["test_direct[sqlite]"]),
        (("--db=postgres",), ["test_direct[postgres]"]),
    ],
)
def test_one_backend_keeps_its_name_in_the_id(
    projects: Projects, arguments: tuple[str, ...], expected: list[str]
) -> None:
    run = projects.run("surface", "-v", "-k", "test_direct", *arguments)
    assert run.status == 0, run.text
    assert ids(run) == expected
    assert "database parity" not in run.output


def test_only_getfixturevalue_is_refused_with_what_to_do(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(request):\n    request.getfixturevalue('db')\n")
    result = pytester.runpytest_subprocess("--db=both", "--db-postgres=postgresql:///not-needed")
    result.assert_outcomes(errors=0, failed=1)
    result.stdout.fnmatch_lines(
        ["*test_it asks for db through request.getfixturevalue only; expected it as *"]
    )
    result = pytester.runpytest_subprocess("--db=sqlite")
    result.assert_outcomes(passed=1)


# ------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    ("ini", "variable", "option", "backend", "source"),
    [
        ("both", "", "", "both", "dualdb_backend"),
        ("both", "postgres", "", "postgres", "DUALDB_BACKEND"),
        ("both", "postgres", "sqlite", "sqlite", "--db"),
        ("", "postgres", "", "postgres", "DUALDB_BACKEND"),
        ("", "", "both", "both", "--db"),
    ],
)
def test_option_goes_before_environment_before_ini(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch,
    ini: str, variable: str, option: str, backend: str, source: str,
) -> None:  # fmt: skip
    pytester.makepyfile("def test_it(db): pass")
    if ini:
        pytester.makeini(f"[pytest]\ndualdb_backend = {ini}\n")
    if variable:
        monkeypatch.setenv("DUALDB_BACKEND", variable)
    arguments = [f"--db={option}"] if option else []
    result = pytester.runpytest_inprocess("--collect-only", *arguments)
    result.stdout.fnmatch_lines([f"dualdb: {backend} ({source})"])
    wanted = ["sqlite", "postgres"] if backend == "both" else [backend]
    result.stdout.fnmatch_lines([f"*<Function test_it[[]{name}[]]>" for name in wanted])


def test_nothing_is_said_where_nothing_was_chosen(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(db): pass")
    result = pytester.runpytest_inprocess()
    result.assert_outcomes(passed=1)
    result.stdout.no_fnmatch_line("*dualdb: *")


def test_the_header_names_versions_source_collation_and_isolation(surface: Run) -> None:
    meta = surface.report["meta"]
    line = next(line for line in surface.lines("dualdb: ") if "<->" in line)
    sqlite, postgres = meta["sqlite"]["version"], meta["postgres"]
    assert line.startswith(f"dualdb: SQLite {sqlite} <-> PostgreSQL {postgres['version']} (url, ")
    assert postgres["collation"] in line
    assert line.endswith("isolation reset (default)")


def test_the_databases_are_named_once_with_q(projects: Projects) -> None:
    run = projects.run("application", "--db=both", "-q")
    assert run.output.count("<->") == 1


def test_an_environment_template_reaches_the_application(projects: Projects) -> None:
    run = projects.run("application", "--db=both")
    assert run.status == 0, run.text
    assert run.report["totals"]["agree"] == run.report["totals"]["pairs"] == 4


# --------------------------------------------------------------------- nothing where nobody asks for anything

REPORTER = """
import sys
import pytest

def pytest_sessionfinish(session):
    names = ("sqlite3", "psycopg2", "sqlglot", "pytest_dualdb")
    print("LOADED", *sorted(name for name in sys.modules if name.partition(".")[0] in names))
"""


def loaded(result: pytest.RunResult) -> set[str]:
    line = next(line for line in result.outlines if "LOADED" in line)
    return set(line.partition("LOADED")[2].split())


def test_a_run_without_db_imports_no_driver_and_starts_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(REPORTER)
    pytester.makepyfile("def test_it(): pass")
    found = loaded(pytester.runpytest_subprocess())
    assert not {name for name in found if not name.startswith("pytest_dualdb")}
    large = {
        "recording",
        "encoding",
        "recorder",
        "worker",
        "session",
        "report",
        "server",
        "compare",
        "rules",
        "database",
        "dialect",
    }
    assert not {name for name in found if name.split(".")[1:2] and name.split(".")[1] in large}
    # a choice means that the application's own `from sqlite3 import connect` must be reached: nothing else
    found = loaded(pytester.runpytest_subprocess("--db=both", "--db-postgres=postgresql://127.0.0.1:1/none"))
    assert not {name for name in found if name.startswith(("psycopg2", "sqlglot", "pytest_dualdb.server"))}
    assert not found & {"pytest_dualdb.worker", "pytest_dualdb.session", "pytest_dualdb.report"}


def test_collect_only_starts_nothing(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(REPORTER)
    pytester.makepyfile("def test_it(db): pass")
    result = pytester.runpytest_subprocess(
        "--collect-only", "--db=both", "--db-postgres=postgresql://127.0.0.1:1/none"
    )
    assert result.ret == 0
    result.stdout.fnmatch_lines(["*<Function test_it[[]sqlite[]]>", "*<Function test_it[[]postgres[]]>"])
    assert not {name for name in loaded(result) if name.startswith(("psycopg2", "pytest_dualdb.server"))}


def test_a_sqlite_run_needs_no_postgres_driver(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(REPORTER)
    pytester.makepyfile("def test_it(db):\n    assert db.scalar('SELECT 1') == 1")
    # without a choice the fixture db is that of pytest-django, where it is installed
    result = pytester.runpytest_subprocess("-p", "no:django")
    result.assert_outcomes(passed=1)
    assert not {name for name in loaded(result) if name.startswith(("psycopg2", "sqlglot"))}


# ----------------------------------------------------------------------------------------------- exit status

WORST = {"low": "test_low", "medium": "test_medium", "high": "test_high"}
LEVELS = ["critical", "high", "medium", "low"]


@pytest.mark.parametrize(
    ("worst", "limit"),
    [
        ("high", "critical"), ("high", "never"), ("medium", "medium"), ("low", "medium"), ("low", "low"),
    ],
)  # fmt: skip
def test_the_run_fails_from_the_level_asked_for(projects: Projects, worst: str, limit: str) -> None:
    run = projects.run("severities", "--db=both", f"--db-fail-on={limit}", "-k", WORST[worst])
    found = {level for level, count in run.report["totals"]["issues"].items() if count}
    assert found == {worst}, run.text
    fails = limit != "never" and LEVELS.index(worst) <= LEVELS.index(limit)
    assert run.status == (1 if fails else 0), run.text


def test_high_is_the_default_limit(projects: Projects) -> None:
    assert projects.run("severities", "--db=both", "-k", "test_high").status == 1
    assert projects.run("severities", "--db=both", "-k", "test_high", "-n2").status == 1
    assert projects.run("severities", "--db=both", "-k", "test_medium").status == 0


def test_a_failing_half_fails_the_run_whatever_the_limit(projects: Projects) -> None:
    run = projects.run("severities", "--db=both", "--db-fail-on=never", "-k", "test_critical")
    assert run.status == 1
    assert run.report["totals"]["issues"]["critical"] == 1
    assert "1 failed, 1 passed" in run.output


@WORKERS
def test_summary_and_report_are_the_same_with_workers(projects: Projects, workers: tuple[str, ...]) -> None:
    run = projects.run("severities", "--db=both", *workers)
    assert run.status == 1
    assert run.output.count("database parity") == 1
    assert "4 pairs: 4 disagree" in run.output
    assert {issue["severity"] for issue in run.report["issues"]} == set(LEVELS)
    single = projects.run("severities", "--db=both")
    keys = ("rule", "severity", "sites", "tests", "message")
    assert [{key: issue[key] for key in keys} for issue in run.report["issues"]] == [
        {key: issue[key] for key in keys} for issue in single.report["issues"]
    ]


# ------------------------------------------------------------------------- a failure of the plugin's own


@WORKERS
def test_a_broken_hook_hides_no_result(projects: Projects, workers: tuple[str, ...]) -> None:
    run = projects.run("broken_hook", "--db=both", *workers)
    assert "2 failed, 2 passed" in run.output
    assert run.status == 1
    assert "assert 1 == 2" in run.output
    assert "INTERNALERROR" not in run.text
    assert "comparing failed: RuntimeError: the hook is broken (conftest.py:2)" in " ".join(
        run.output.split()
    )


def test_what_could_not_be_compared_never_passes_quietly(projects: Projects) -> None:
    run = projects.run("broken_hook", "--db=both", "-k", "test_passing")
    assert "2 passed" in run.output
    assert run.test("test_passing")["verdict"] == "not-comparable"
    assert "the hook is broken" in run.test("test_passing")["reason"]


@WORKERS
def test_a_broken_report_hook_hides_no_result(
    pytester: pytest.Pytester, projects: Projects, workers: tuple[str, ...]
) -> None:
    pytester.makeconftest("def pytest_dualdb_report(report):\n    raise RuntimeError('the hook is broken')\n")
    pytester.makepyfile("def test_it(db):\n    assert db.scalar('SELECT 1') == 2\n")
    result = pytester.runpytest_subprocess("--db=both", f"--db-postgres={projects.postgres}", *workers)
    result.assert_outcomes(failed=2)
    assert result.ret == 1
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert "the hook is broken" in result.stdout.str() + result.stderr.str()


def test_a_broken_setup_hook_is_an_error_of_each_test(pytester: pytest.Pytester) -> None:
    pytester.makeconftest("def pytest_dualdb_setup(db):\n    raise RuntimeError('the hook is broken')\n")
    pytester.makepyfile("def test_it(db): pass\ndef test_other(db): pass\ndef test_plain(): pass")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(errors=2, passed=1)
    result.stdout.fnmatch_lines(["*RuntimeError: the hook is broken*"])


def test_a_failing_statement_is_shown_at_the_line_of_the_test(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(db):\n    db.connection.execute('SELEC 1')\n")
    result = pytester.runpytest_subprocess()
    result.stdout.fnmatch_lines([">*db.connection.execute('SELEC 1')", "E*sqlite3.OperationalError: near *"])
    assert "recorder" not in result.stdout.str()


# ------------------------------------------------------------------------------------------------ bad input


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--db=oracle"], "--db: unknown value 'oracle'; expected one of sqlite, postgres, both"),
        (
            ["--db-isolation=none"],
            "--db-isolation: unknown value 'none'; expected one of reset, clone, rollback",
        ),
        (
            ["--db-fail-on=worst"],
            "--db-fail-on: unknown value 'worst'; expected one of critical, high, medium, low, never",
        ),
        (
            ["--db-report=report.pdf"],
            "--db-report=*report.pdf: unknown report format; expected one of .json, .md",
        ),
        (
            ["--db-report=test_it.py/report.json"],
            "--db-report=*report.json: the report can't be written there; *",
        ),
        (["--db-report=folder.json"], "--db-report=*folder.json: the report can't be written there; *"),
        (
            ["-o", "dualdb_env=URL"],
            "dualdb_env: 'URL' is not NAME=template or NAME?backend?=template, such as DATABASE_URL={url}",
        ),
        (["-o", "dualdb_env=URL={uri}"], "dualdb_env: 'URL={uri}': 'uri' is not known; expected {url} *"),
        (
            ["-o", "dualdb_redirect=/"],
            "dualdb_redirect: '/' is a folder; expected the path of a SQLite file, *",
        ),
        (["-o", "dualdb_redirect=folder.json"], "dualdb_redirect: 'folder.json' is a folder; expected *"),
        (["-o", "dualdb_redirect=:memory:"], "dualdb_redirect: ':memory:' is no file; expected *"),
        (
            ["-o", "dualdb_listen=everywhere"],
            "dualdb_listen: unknown value 'everywhere'; expected one of auto, *",
        ),
    ],
)
def test_bad_settings_are_one_line_before_any_test(
    pytester: pytest.Pytester, arguments: list[str], message: str
) -> None:
    pytester.makepyfile(test_it="def test_it(db): pass")
    pytester.mkdir("folder.json")
    result = pytester.runpytest_subprocess(*arguments)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in result.errlines if line.strip()]
    assert len(lines) == 1, result.errlines
    result.stderr.fnmatch_lines([f"ERROR: pytest-dualdb: {message.replace('[', '[[]')}"])
    assert "passed" not in result.stdout.str()


@WORKERS
def test_an_unreachable_server_is_said_once_with_what_was_tried(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile("def test_it(db): pass\ndef test_other(db): pass")
    url = "postgresql://user:secret@127.0.0.1:1/none"
    result = pytester.runpytest_subprocess("--db=both", f"--db-postgres={url}", *workers)
    text = result.stdout.str() + result.stderr.str()
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert text.count("can't connect to 127.0.0.1:1") == 1, text
    assert "Connection refused" in text
    assert "secret" not in text
    assert "Traceback" not in text
    assert "INTERNALERROR" not in text
    assert "passed" not in text


def test_an_unknown_source_of_postgres_is_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(db): pass")
    result = pytester.runpytest_subprocess("--db=both", "--db-postgres=cloud")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(
        ["ERROR: *from --db-postgres: unknown PostgreSQL server 'cloud'*expected auto, embedded, *"]
    )


@WORKERS
def test_without_a_test_that_asks_for_it_no_server_is_wanted(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile("def test_it(): pass")
    result = pytester.runpytest_subprocess(
        "--db=both", "--db-postgres=postgresql://127.0.0.1:1/none", *workers
    )
    result.assert_outcomes(passed=1)
    assert result.ret == 0


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_all_failing_statements_of_the_schema_are_listed(projects: Projects, backend: str) -> None:
    run = projects.run("broken_schema", f"--db={backend}")
    assert run.status == 1
    text = run.output
    assert f"schema for {backend}: 3 of 6 statements fail" in text
    for place in (
        "schema.sql:5: CREATE TABLE orders",
        "schema.sql:9: INSERT INTO nobody",
        "more.sql:2: SELEC",
    ):
        assert place in text, text
    # said once, by the first test that needs the database
    assert text.count("schema.sql:5") == 1
    assert text.count("see the first error") == 1
    assert "Traceback" not in text
    assert "worker.py" not in text


def test_a_missing_schema_file_is_named_with_the_setting(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndualdb_schema = db/{backend}.sql\n")
    pytester.makepyfile("def test_it(db): pass")
    result = pytester.runpytest_subprocess("--db=sqlite")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(
        ["*dualdb_schema: no schema file *db/sqlite.sql; expected a file of SQL for sqlite"]
    )


def test_placeholders_that_do_not_fit_are_one_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile("def test_it(db):\n    db.execute('SELECT ?, ?', (1,))\n")
    result = pytester.runpytest_subprocess()
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines([">*db.execute('SELECT ?, ?', (1,))", "E*PlaceholderError: *2*1*"])


def test_another_owner_of_the_option_is_named(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(other="def pytest_addoption(parser):\n    parser.addoption('--db')\n")
    pytester.syspathinsert()
    result = pytester.runpytest_subprocess("-p", "other")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*pytest-dualdb: another plugin already owns --db *-p no:NAME*"])
    assert "Traceback" not in result.stderr.str()


# ------------------------------------------------------------------------------------- nothing outlives a run


@dataclass(frozen=True)
class Places:
    """What an inner run started and made, as its tests saw it."""

    processes: tuple[int, ...]
    paths: tuple[str, ...]

    def left(self) -> list[str]:
        """Return what is still there."""
        alive = [f"process {pid}" for pid in self.processes if Path(f"/proc/{pid}").exists() or _alive(pid)]
        return alive + [path for path in self.paths if os.path.exists(path)]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def places(folder: Path, count: int = 1) -> Places:
    found = [json.loads(file.read_text()) for file in folder.glob("places-*.json")]
    assert len(found) >= count, "the inner run did not get to its tests"
    return Places(
        tuple({pid for one in found for pid in one["processes"]}),
        tuple({path for one in found for path in one["paths"]}),
    )


@contextlib.contextmanager
def started(projects: Projects, *arguments: str) -> Iterator[tuple[Any, Path]]:
    """Start a run that waits within its tests; give its process and folder."""
    folder = projects.copy("server")
    process = subprocess.Popen(
        command("--db=both", "--db-postgres=" + OWN, *arguments), cwd=folder,
        env=environment({"WAIT": "1"}), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        encoding="utf-8", stdin=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 60
        while len(list(folder.glob("places-*postgres*.json"))) < 1:
            assert process.poll() is None, process.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.05)
        time.sleep(0.3)
        yield process, folder
    finally:
        process.kill()
        process.communicate()


def gone(found: Places, seconds: float = 10) -> list[str]:
    """Return what is left after a while."""
    deadline = time.monotonic() + seconds
    while found.left() and time.monotonic() < deadline:
        time.sleep(0.05)
    return found.left()


_WISH = os.environ.get("DUALDB_POSTGRES") or "auto"
OWN = "auto" if "/" in _WISH or "=" in _WISH else _WISH
"""A source that starts a server of its own, also where the tests' server is a given one."""


@pytest.mark.parametrize(
    ("arguments", "variables"),
    [((), {}), (("-n2", "--db-isolation=clone"), {"FAIL": "1"}), (("-x",), {"FAIL": "1"})],
    ids=["passing", "workers", "exitfirst"],
)
def test_server_and_databases_are_gone_after_the_run(
    projects: Projects, arguments: tuple[str, ...], variables: dict[str, str]
) -> None:
    run = projects.run("server", "--db=both", f"--db-postgres={OWN}", *arguments, env=variables, server=False)
    assert ("failed" in run.output) == ("FAIL" in variables), run.text
    found = places(run.folder)
    # one server, whatever the number of workers
    assert len({path for path in found.paths if path.endswith("data")}) == 1
    assert found.left() == []
    assert "database parity" in run.output or "-x" in arguments


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])
def test_interrupted_run_leaves_nothing_and_still_reports(
    projects: Projects, workers: tuple[str, ...]
) -> None:
    with started(projects, *workers) as (process, folder):
        found = places(folder)
        assert len(found.left()) >= 3
        os.killpg(process.pid, signal.SIGINT)
        output, _ = process.communicate(timeout=30)
    assert process.returncode == pytest.ExitCode.INTERRUPTED, output
    assert "KeyboardInterrupt" in output
    assert "INTERNALERROR" not in output
    assert gone(found) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])
def test_killed_run_leaves_no_process_and_no_folder(projects: Projects, workers: tuple[str, ...]) -> None:
    with started(projects, *workers) as (process, folder):
        found = places(folder)
        assert len(found.left()) >= 3
        process.kill()
        process.communicate(timeout=30)
    assert gone(found) == []


def test_a_given_server_keeps_nothing_of_the_run(projects: Projects, postgres_server: Server) -> None:
    def databases() -> set[str]:
        dsn = postgres_server.dsn(postgres_server.maintenance)
        with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database")
            return {name for (name,) in cursor.fetchall()}

    before = databases()
    run = projects.run("server", "--db=both", "-n2", "--db-isolation=clone")
    assert run.status == 0, run.text
    assert databases() <= before


def test_the_url_suits_sqlalchemy_and_psycopg2_alike(pytester: pytest.Pytester) -> None:
    # SQLAlchemy takes psycopg 3 for postgresql:// from version 2.1 on
    pytester.makeini("[pytest]\ndualdb_env = DATABASE_URL={url}")
    pytester.makeconftest("import sys\nsys.modules['psycopg'] = None  # as if it were not installed")
    pytester.makepyfile(
        """
        import os
        import psycopg2
        import pytest
        import sqlalchemy

        def test_both(db):
            assert os.environ["DATABASE_URL"] == db.url
            made = sqlalchemy.create_engine(db.url)
            with made.connect() as connection:
                assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
            if db.backend == "postgres":
                psycopg2.connect(db.url).close()
                psycopg2.connect(db.url, cursor_factory=psycopg2.extras.RealDictCursor).close()
            assert "secret" not in db.url
        """
    )
    result = pytester.runpytest_subprocess("--db=both")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 pair: agrees*"])


def test_a_pool_that_is_collected_in_the_other_half_is_no_bypass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import gc
        import sqlalchemy
        kept = []

        def test_leaves_a_connection(db):
            if db.backend == "sqlite":
                kept.append(sqlalchemy.create_engine("sqlite:///" + db.path).connect())
                kept[0].execute(sqlalchemy.text("SELECT 1"))
            db.execute("SELECT 1")
            if db.backend == "postgres":
                kept.clear()
                gc.collect()
        """
    )
    result = pytester.runpytest_subprocess("--db=both")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 pair: agrees*"])


@WORKERS
def test_a_project_with_a_fixture_db_of_its_own_asks_for_dualdb(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makeconftest(
        """
        import pytest
        import pytest_dualdb

        reporting = pytest_dualdb.database_fixture()

        @pytest.fixture
        def app(dualdb, reporting):
            reporting.execute("SELECT 2")
            return dualdb.connect()

        @pytest.fixture(params=["a", "b"])
        def db(app, request):
            return app.cursor()
        """
    )
    pytester.makepyfile("def test_it(db):\n    db.execute('SELECT 1')\n")
    result = pytester.runpytest_subprocess("--db=both", *workers)
    result.assert_outcomes(passed=4)
    result.stdout.fnmatch_lines(["2 pairs: all agree *statements: sqlite 4, postgres 4"])


@WORKERS
def test_both_is_never_quiet_where_no_test_asks_for_the_database(
    pytester: pytest.Pytester, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile("def test_it():\n    pass\n")
    result = pytester.runpytest_subprocess("--db=both", *workers)
    assert result.ret == 0
    result.stdout.fnmatch_lines(["NOTHING WAS COMPARED: no test asks for the fixture db, or dualdb where *"])
    result = pytester.runpytest_subprocess("--db=postgres", *workers)
    assert "NOTHING" not in result.stdout.str()


@pytest.mark.parametrize("isolation", ["reset", "clone"])
def test_a_table_that_a_connection_of_the_test_holds_is_not_waited_for_for_ever(
    pytester: pytest.Pytester, isolation: str
) -> None:
    pytester.makeconftest(
        """
        def pytest_dualdb_setup(db):
            assert db.backend == "sqlite" or db.scalar("SHOW lock_timeout") == "10s"
            db.execute("CREATE TABLE todo (id INTEGER)")
            if db.backend == "postgres":  # not to wait so long here
                db.executescript(f'ALTER DATABASE "{db.connection.info.dbname}" SET lock_timeout = 100')
        """
    )
    pytester.makepyfile(
        """
        def test_drop(db):
            session = db.connect()
            session.cursor().execute("SELECT id FROM todo")
            db.execute("DROP TABLE todo")
        """
    )
    result = pytester.runpytest_subprocess("--db=both", f"--db-isolation={isolation}")
    result.assert_outcomes(passed=1, failed=1)
    result.stdout.fnmatch_lines(
        ["CRITICAL  concurrent-update *", "  instead   commit, roll back or close the other connection's*"]
    )


def test_a_file_that_both_halves_use_aside_is_no_bypass(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import sqlite3

        def test_cache(db, tmp_path):
            with sqlite3.connect(tmp_path / "cache") as cache:
                cache.execute("CREATE TABLE cached (key TEXT)")
                cache.execute("INSERT INTO cached VALUES ('a')")
            cache.close()
            db.execute("SELECT 1")
        """
    )
    result = pytester.runpytest_subprocess("--db=both")
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 pair: agrees*"])


def test_another_database_of_postgresql_is_called_what_it_is(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import psycopg2

        def test_elsewhere(db):
            db.execute("SELECT 1")
            if db.backend == "postgres":
                other = psycopg2.connect(db.dsn, dbname="postgres")
                other.cursor().execute("SELECT 2")
                other.close()
        """
    )
    result = pytester.runpytest_subprocess("--db=both")
    result.assert_outcomes(passed=2)
    text = " ".join(result.stdout.str().split())
    assert "1 statement of the PostgreSQL half went to another PostgreSQL database (postgres)" in text


def test_its_modules_are_imported_as_they_are_compiled(pytester: pytest.Pytester) -> None:
    pytester.makeconftest(
        """
        import sys
        import pytest
        pytest.register_assert_rewrite("pytest_dualdb")

        def pytest_sessionfinish():
            ours = [module for name, module in sys.modules.items() if name.startswith("pytest_dualdb.")]
            print("LOADERS", *sorted({type(module.__loader__).__name__ for module in ours}))
        """
    )
    pytester.makepyfile("def test_one(db): db.execute('SELECT 1')")
    result = pytester.runpytest_subprocess("-s")
    result.stdout.fnmatch_lines(["*LOADERS SourceFileLoader"])


@WORKERS
def test_a_schema_of_one_database_alone_is_why_nothing_was_compared(
    projects: Projects, workers: tuple[str, ...]
) -> None:
    run = projects.run("half_schema", "--db=both", "--tb=no", *workers)
    reason = "the PostgreSQL half got no database: schema for postgres: 1 statement fails"
    assert {test["reason"] for test in run.report["tests"]} == {reason}
    assert f"NOTHING WAS COMPARED: {reason} (2 of 2 tests)" in " ".join(run.output.split())
