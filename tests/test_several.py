"""Applications with several databases, and databases that last longer than a test."""

from __future__ import annotations

import pytest
from projects import Projects, Run
from test_plugin import WORKERS, ids


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["n0", "n2"])
def several(request: pytest.FixtureRequest, projects: Projects) -> Run:
    workers = (*request.param, "--dist=loadfile") if request.param else ()
    return projects.run("several", "--db=both", "-v", *workers)


def test_each_pair_has_its_verdict(several: Run) -> None:
    assert {test["id"]: test["verdict"] for test in several.report["tests"]} == {
        "test_several.py::test_both_are_fresh[0]": "agree",
        "test_several.py::test_both_are_fresh[1]": "agree",
        "test_several.py::test_contents_of_the_other_are_compared": "disagree",
        "test_several.py::test_statements_of_the_other_are_compared": "disagree",
        "test_several.py::test_without_the_other": "agree",
        "test_shared.py::test_first": "agree",
        "test_shared.py::test_second": "disagree",
        "test_shared.py::test_third": "disagree",
        "test_shared.py::test_fourth": "disagree",
        "test_shared_again.py::test_a_module_starts_afresh": "agree",
    }, several.text
    assert "20 passed, 2 errors" in several.output


def test_what_differs_on_a_further_database_is_named_after_it(several: Run) -> None:
    tables = {
        divergence["table"]
        for name in ("test_contents_of_the_other_are_compared", "test_third")
        for divergence in several.test(name)["divergences"]
    }
    assert tables == {"reporting_db.line", "app_db.visit"}
    rules = {issue["rule"] for issue in several.report["issues"]}
    assert rules == {"like-case", "unexplained"}


def test_what_shares_a_database_is_said(several: Run) -> None:
    assert several.test("test_second")["shared"] == ["app_db"]
    assert "shared" not in several.test("test_without_the_other")
    assert "5 tests on a shared database (app_db): what one leaves, the next finds" in several.output


def test_a_wider_fixture_that_asks_for_db_is_told_what_to_do(several: Run) -> None:
    assert several.output.count("make a database that lasts as long in conftest.py: app_db = ") == 2


def test_halves_that_share_a_database_run_together(projects: Projects) -> None:
    order = ids(projects.run("several", "--db=both", "-v", "test_shared.py"))
    names = ["test_first", "test_second", "test_third", "test_fourth"]
    assert order == [f"{name}[{backend}]" for backend in ("sqlite", "postgres") for name in names]


def test_halves_that_found_other_contents_are_not_comparable(projects: Projects) -> None:
    run = projects.run(
        "several", "--db=both", "test_shared.py", "--deselect=test_shared.py::test_first[postgres]"
    )
    assert "other tests had run before on the database that it shares" in run.test("test_third")["reason"]
    assert run.test("test_first")["reason"] == "the PostgreSQL half was deselected"


@WORKERS
@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_one_backend(projects: Projects, backend: str, workers: tuple[str, ...]) -> None:
    more = ("--dist=loadfile",) if workers else ()
    run = projects.run("several", f"--db={backend}", "--deselect=test_mismatch.py", *workers, *more)
    assert run.status == 0, run.text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (
            "database_fixture('none.sql')",
            "database_fixture: no schema file *none.sql; expected a file of SQL for sqlite",
        ),
        ("database_fixture(setup=lambda db: db.executescript('SELEC'))", "*syntax error*"),
    ],
)
def test_a_further_database_that_can_not_be_built_is_said(
    pytester: pytest.Pytester, line: str, message: str
) -> None:
    pytester.makeconftest(f"import pytest_dualdb\nmore = pytest_dualdb.{line}\n")
    pytester.makepyfile("def test_it(more): pass")
    result = pytester.runpytest_subprocess("--db=sqlite")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines([f"*{message}"])


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        ("scope='test'", "database_fixture: unknown scope 'test'; expected one of function, class, module"),
        (
            "env={'URL[mysql]': '{url}'}",
            "env: 'URL[mysql]={url}': unknown backend; expected sqlite or postgres",
        ),
        ("env={'URL': '{uri}'}", "database_fixture: env: 'URL={uri}': 'uri' is not known; expected {url} "),
    ],
    ids=["scope", "env", "backend"],
)
def test_an_argument_that_can_not_be_is_said(pytester: pytest.Pytester, argument: str, said: str) -> None:
    pytester.makeconftest(f"import pytest_dualdb\nother_db = pytest_dualdb.database_fixture({argument})")
    pytester.makepyfile("def test_it(db, other_db): pass")
    result = pytester.runpytest_subprocess("--db=sqlite")
    assert result.ret != 0
    assert said in result.stdout.str() + result.stderr.str()
