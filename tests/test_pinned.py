"""Pinned workers: an application bound to its database at import, each worker on one backend."""

from __future__ import annotations

import pytest
from projects import Projects, Run

MODES = ("load", "worksteal", "loadscope", "loadfile", "loadgroup")


def halves(run: Run) -> dict[str, set[str]]:
    """Return the tests that ran on each backend."""
    return {
        backend: {test["id"].rpartition("::")[2] for test in run.report["tests"] if test[backend]}
        for backend in ("sqlite", "postgres")
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ("-n2",),
        ("-n3",),
        *(("-n4", f"--dist={mode}") for mode in MODES[1:]),
        ("--dist=load", "--tx", "2*popen"),
    ],
    ids=" ".join,
)
def test_each_worker_serves_one_backend_and_the_halves_join(
    projects: Projects, arguments: tuple[str, ...]
) -> None:
    run = projects.run("bound", "--db=both", "--db-fail-on=never", *arguments)
    assert run.status == 0, run.text
    assert run.report["totals"]["pairs"] == 12
    assert (run.report["totals"]["agree"], run.report["totals"]["disagree"]) == (11, 1), run.text
    assert {issue["rule"] for issue in run.report["issues"]} == {"like-case"}
    # twelve on both sides, one on PostgreSQL only, and one that asks for no database: that one runs once
    assert "26 passed" in run.output
    assert "workers pinned (dualdb_pin_workers)" in run.output


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_worker_that_replaces_another_has_the_same_backend(projects: Projects, backend: str) -> None:
    run = projects.run("bound", "--db=both", "-n2", "--db-fail-on=never", env={"CRASH": backend})
    assert run.status == 1
    assert "replacing crashed worker" in run.output
    assert "1 failed, 25 passed" in run.output, run.text
    totals = run.report["totals"]
    assert (totals["agree"], totals["not_comparable"]) == (10, 1)
    name = {"sqlite": "SQLite", "postgres": "PostgreSQL"}[backend]
    assert run.test("test_a_worker_crashes")["reason"] == f"the {name} half crashed its worker"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "needs two workers or more, some for each backend, and there is none: run with -n 2, or "),
        (("-n0",), "needs two workers or more, some for each backend, and there is none: run with -n 2, or "),
        (("-n1",), "needs two workers or more, some for each backend, and there is one: run with -n 2, or "),
        (("-p", "no:xdist"), "needs two workers or more, some for each backend, and there is none: "),
        (("-n2", "--dist=each"), "--dist=each runs all tests in each worker; expected a mode that shares "),
        (("-n2", "-o", "dualdb_pin_workers=2"), "unknown value '2'; expected true or false"),
    ],
)
def test_what_can_not_be_pinned_is_refused(
    projects: Projects, arguments: tuple[str, ...], message: str
) -> None:
    run = projects.run("bound", "--db=both", *arguments)
    assert run.status == pytest.ExitCode.USAGE_ERROR, run.text
    assert "Traceback" not in run.text
    lines = [line for line in run.errors.splitlines() if line.startswith("ERROR: ")]
    assert len(lines) == 1, run.errors
    assert lines[0].startswith(f"ERROR: pytest-dualdb: dualdb_pin_workers: {message}")


def test_one_backend_needs_no_pinned_workers(projects: Projects) -> None:
    for arguments in (("--db=sqlite",), ("--db=postgres", "-n2")):
        run = projects.run("bound", "--ignore=plain", *arguments)
        assert run.status == 0, run.text
        assert "pinned" not in run.output


def test_collecting_needs_no_workers(projects: Projects) -> None:
    run = projects.run("bound", "--db=both", "--collect-only", "-q")
    assert run.status == 0, run.text
    assert "test_differs[sqlite]" in run.output and "test_differs[postgres]" in run.output
