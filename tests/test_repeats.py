"""`--db-repeat`: what differs between two runs on one database is named, and no divergence."""

from __future__ import annotations

import subprocess
import sys

import pytest
from projects import Projects, Run, command, environment


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["n0", "n2"])
def run(request: pytest.FixtureRequest, projects: Projects) -> Run:
    made = projects.run("repeat", "--db=both", "--db-repeat", "-v", *request.param)
    assert made.report, made.text
    return made


@pytest.mark.parametrize(
    ("name", "unsteady"),
    [
        ("test_steady", []),
        ("test_chance_on_both", ["rows at {} (drawn) on both"]),
        ("test_chance_on_one", ["rows at {} (drawn) on PostgreSQL alone"]),
        ("test_chance_in_state", ["state of table item (score) on both"]),
        ("test_chance_observed", ["observed (drawn) on both"]),
        ("test_parametrised[1]", []),
        ("test_method", []),
    ],
)
def test_chance_is_no_divergence(run: Run, name: str, unsteady: list[str]) -> None:
    test = run.test(name)
    assert (test["verdict"], test["divergences"]) == ("agree", [])
    found = test.get("unsteady", [])
    assert len(found) == len(unsteady)
    for text, expected in zip(found, unsteady, strict=True):
        start, _, end = expected.partition("{}")
        assert text.startswith(start)
        assert text.endswith(end)


@pytest.mark.parametrize(
    "name", ["test_difference", "test_chance_and_difference", "test_chance_beside_a_difference"]
)
def test_a_difference_stays_one(run: Run, name: str) -> None:
    assert run.kinds(name) == {("rows", "high")}
    assert run.test(name)["verdict"] == "disagree"


def test_a_half_that_fails_by_chance(run: Run) -> None:
    test = run.test("test_chance_in_outcome")
    assert test["verdict"] == "not-comparable"
    assert test["reason"] == "the SQLite half passes or fails from run to run"


def test_the_repeats_are_halves_of_their_own(run: Run) -> None:
    for half in ("sqlite", "postgres", "sqlite-again", "postgres-again"):
        assert f"test_parametrised[2-{half}]" in run.output
        assert f"test_method[{half}]" in run.output
    assert run.report["totals"]["pairs"] == 12
    assert run.test("test_steady")["sqlite"]["nodeid"].endswith("test_steady[sqlite]")


def test_the_summary_names_what_changed(run: Run) -> None:
    text = " ".join(run.output.split())
    assert "7 tests changed from run to run: " in text
    assert "on PostgreSQL alone)" in text


def test_without_it_chance_differs(projects: Projects) -> None:
    made = projects.run("repeat", "--db=both")
    assert made.kinds("test_chance_on_both") == {("rows", "high")}
    assert made.test("test_chance_in_outcome")["verdict"] == "disagree"
    assert "again" not in made.output


def test_only_some_repeats_ran(projects: Projects) -> None:
    made = projects.run(
        "repeat", "--db=both", "--db-repeat", "-k", "test_chance_on_both and not postgres-again"
    )
    assert made.test("test_chance_on_both")["verdict"] == "agree"


def test_two_runs_are_joined_with_their_repeats(projects: Projects) -> None:
    folder = projects.copy("repeat")

    def joined(*arguments: str) -> str:
        for backend in ("sqlite", "postgres"):
            given = (f"--db={backend}", f"--db-postgres={projects.postgres}", f"--db-report={backend}.json")
            run_there(*command(*given, "-k", "chance_on_both or test_difference", *arguments))
        return run_there(sys.executable, "-m", "pytest_dualdb", "compare", "sqlite.json", "postgres.json")

    def run_there(*command: str) -> str:
        done = subprocess.run(
            command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", check=False
        )
        return " ".join((done.stdout + done.stderr).split())

    assert "2 pairs: 2 disagree" in joined()
    (folder / "pytest.ini").write_text("[pytest]\ndualdb_schema = {backend}.sql\ndualdb_repeat = true\n")
    assert "2 pairs: 1 agree, 1 disagree" in joined()


def test_a_bad_value_is_named(pytester: pytest.Pytester) -> None:
    pytester.makeini("[pytest]\ndualdb_repeat = sometimes\n")
    result = pytester.runpytest_subprocess()
    result.stderr.fnmatch_lines(["*dualdb_repeat: unknown value 'sometimes'; expected true or false"])
