"""Classes of `unittest`: each method that asks for the database runs once on each backend."""

from __future__ import annotations

import re

import pytest
from projects import Projects, Run
from test_plugin import ids


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["n0", "n2"])
def cases(request: pytest.FixtureRequest, projects: Projects) -> Run:
    return projects.run("testcases", "--db=both", "-v", *request.param)


def test_halves_run_side_by_side(projects: Projects) -> None:
    run = projects.run("testcases", "--db=both", "-v")
    assert list(dict.fromkeys(ids(run))) == [
        "test_case[sqlite]", "test_case[postgres]",
        "test_names[sqlite]", "test_names[postgres]",
        "test_plain",
        "test_marked[sqlite]", "test_marked[postgres]",
        "test_marked_method[sqlite]", "test_marked_method[postgres]",
        "test_unmarked_method",
        "test_again[sqlite]", "test_again[postgres]",
        "test_expected[sqlite]",  # the other one is an expected failure
        "test_fails_on_postgres[sqlite]", "test_fails_on_postgres[postgres]",
        "test_like[sqlite]", "test_like[postgres]",
        "test_only[postgres]",
        "test_set_up[sqlite]", "test_set_up[postgres]",
        "test_skipped[sqlite]", "test_skipped[postgres]",
        "test_a_subtest_fails_on_postgres[sqlite]", "test_a_subtest_fails_on_postgres[postgres]",
        "test_subtests[sqlite]", "test_subtests[postgres]",
        "test_asynchronous[sqlite]", "test_asynchronous[postgres]",
        "runTest[sqlite]", "runTest[postgres]",
    ]  # fmt: skip


def test_pairs_have_the_name_of_the_method(cases: Run) -> None:
    verdicts = {test["id"]: test["verdict"] for test in cases.report["tests"]}
    assert verdicts == {
        "application/test_application.py::ApplicationTest::test_case": "disagree",
        "application/test_application.py::ApplicationTest::test_names": "agree",
        "test_cases.py::Asynchronous::test_asynchronous": "agree",
        "test_cases.py::Everything::test_again": "agree",
        "test_cases.py::Everything::test_expected": "not-comparable",
        "test_cases.py::Everything::test_fails_on_postgres": "disagree",
        "test_cases.py::Everything::test_like": "disagree",
        "test_cases.py::Everything::test_set_up": "agree",
        "test_cases.py::Everything::test_skipped": "not-comparable",
        "test_cases.py::Marked::test_marked": "not-comparable",
        "test_cases.py::MarkedMethod::test_marked_method": "not-comparable",
        "test_cases.py::OneMethod::runTest": "agree",
        "test_cases.py::Subtests::test_a_subtest_fails_on_postgres": "disagree",
        "test_cases.py::Subtests::test_subtests": "agree",
    }
    assert {issue["rule"] for issue in cases.report["issues"]} == {"like-case"}


def test_a_failing_subtest_makes_a_failing_half(cases: Run) -> None:
    test = cases.test("test_a_subtest_fails_on_postgres")
    assert (test["sqlite"]["outcome"], test["postgres"]["outcome"]) == ("passed", "failed")
    assert test["postgres"]["failure"] == "AssertionError: 1 != 2"


def test_only_the_tests_that_should_fail_do(cases: Run) -> None:
    failed = set(re.findall(r"^(?:SUB)?FAILED.* (\S+::\S+)", cases.output, re.MULTILINE))
    assert {name.rpartition("::")[2] for name in failed} == {
        "test_case[postgres]", "test_fails_on_postgres[postgres]",
        "test_a_subtest_fails_on_postgres[postgres]",
    }  # fmt: skip


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_one_backend_keeps_its_name_in_the_id(projects: Projects, backend: str) -> None:
    run = projects.run("testcases", f"--db={backend}", "-v", "-k", "test_set_up or test_plain")
    assert ids(run) == ["test_plain", f"test_set_up[{backend}]"]
    assert run.status == 0, run.text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("test_cases.py::Everything::test_set_up",), ["test_set_up[sqlite]", "test_set_up[postgres]"]),
        (("test_cases.py::Everything::test_set_up[postgres]",), ["test_set_up[postgres]"]),
        (("-k", "set_up and sqlite"), ["test_set_up[sqlite]"]),
    ],
)
def test_a_half_can_be_selected(projects: Projects, arguments: tuple[str, ...], expected: list[str]) -> None:
    run = projects.run("testcases", "--db=both", "-v", *arguments)
    assert ids(run) == expected
    assert run.status == 0, run.text


def test_last_failed_runs_the_failing_half_and_its_partner(
    pytester: pytest.Pytester, projects: Projects
) -> None:
    pytester.makepyfile(
        """
        import unittest
        import pytest

        class Case(unittest.TestCase):
            @pytest.fixture(autouse=True)
            def database(self, db):
                self.db = db

            def test_fails(self):
                self.assertEqual(self.db.backend, "postgres")

            def test_passes(self):
                pass
        """
    )
    given = ("--db=both", f"--db-postgres={projects.postgres}")
    pytester.runpytest_subprocess(*given).assert_outcomes(passed=3, failed=1)
    result = pytester.runpytest_subprocess(*given, "--lf", "-v")
    result.stdout.fnmatch_lines(
        [
            "run-last-failure: rerun previous 2 failures",
            "*::test_fails[[]sqlite[]] F*",
            "*::test_fails[[]postgres[]] P*",
        ]
    )
    assert "test_passes" not in result.stdout.str()


def test_a_class_that_asks_for_nothing_is_left_alone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import unittest

        class Case(unittest.TestCase):
            def test_it(self):
                self.assertEqual(self.id().rpartition(".")[2], "test_it")
        """
    )
    result = pytester.runpytest_subprocess("--db=both", "--db-postgres=postgresql://127.0.0.1:1/none", "-v")
    result.assert_outcomes(passed=1)
    assert "test_it[" not in result.stdout.str()


def test_an_overriding_fixture_asks_for_db_as_well(pytester: pytest.Pytester) -> None:
    """pytest before version 9 does not say what an overridden fixture asks for."""
    pytester.makeconftest("import pytest\n@pytest.fixture\ndef db(db):\n    return db\n")
    pytester.makepyfile(
        """
        import unittest
        import pytest

        @pytest.mark.usefixtures("db")
        class Case(unittest.TestCase):
            def test_it(self): pass
        """
    )
    result = pytester.runpytest_subprocess("--db=sqlite", "-v")
    result.stdout.fnmatch_lines(["*::test_it[[]sqlite[]] PASSED*"])
