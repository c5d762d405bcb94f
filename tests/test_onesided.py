"""Halves that exist on one side only: said with the reason, and never passed over quietly."""

from __future__ import annotations

import pytest
from projects import Projects
from test_plugin import WORKERS

LOUD = "NOTHING WAS COMPARED: "


@pytest.mark.parametrize("workers", [(), ("-n2",), ("-n2", "--dist=loadgroup")], ids=["n0", "n2", "group"])
@pytest.mark.parametrize(
    ("want", "reason"),
    [
        ("deselect", "the PostgreSQL half was deselected"),
        ("drop", "the PostgreSQL half was not collected"),
        ("mark", "the PostgreSQL half was skipped: not today"),
        ("skip", "the PostgreSQL half was skipped: no service here"),
        ("fixture", "the PostgreSQL half failed before it asked for its database"),
    ],
)
def test_a_run_without_one_side_fails_and_says_why(
    projects: Projects, want: str, reason: str, workers: tuple[str, ...]
) -> None:
    run = projects.run("onesided", "--db=both", *workers, env={"WANT": want})
    assert run.test("test_one")["reason"] == reason, run.text
    assert run.status == 1, run.text
    assert f"{LOUD}{reason} (1 of 2 tests)" in " ".join(run.output.split())


@WORKERS
@pytest.mark.parametrize(
    "arguments", [("-k", "sqlite"), ("test_one.py::test_one[sqlite]",), ("--deselect=test_one.py::test_one[postgres]",)]
)  # fmt: skip
def test_whoever_asks_for_one_side_gets_it_and_is_told(
    projects: Projects, arguments: tuple[str, ...], workers: tuple[str, ...]
) -> None:
    run = projects.run("onesided", "--db=both", *arguments, *workers)
    assert run.status == 0, run.text
    assert LOUD in run.output
    assert run.test("test_one")["verdict"] == "not-comparable"


@WORKERS
def test_an_application_bound_at_import_is_told_what_to_do(
    projects: Projects, workers: tuple[str, ...]
) -> None:
    run = projects.run("onesided", "--db=both", *workers, env={"WANT": "bound"})
    assert run.status == 1
    assert run.test("test_one")["verdict"] == "not-comparable"
    text = " ".join(run.output.split())
    assert (
        "0 statements reached PostgreSQL, 1 went to SQLite at app.py:14; if that is bound at import" in text
    )
    assert "dualdb_pin_workers = true and run with -n 2" in text
    assert "2 pairs: 2 not comparable statements: sqlite 1, postgres 0" in text


@WORKERS
def test_an_application_that_was_not_told_its_address_fails_the_run(
    projects: Projects, workers: tuple[str, ...]
) -> None:
    run = projects.run("onesided", "--db=both", *workers, env={"WANT": "aside"})
    assert run.status == 1
    reason = "no statement reached either database, they went to SQLite at app.py:10"
    assert run.test("test_one")["reason"] == reason
    text = " ".join(run.output.split())
    assert f"{LOUD}{reason} (1 of 2 tests); tell the application its address: dualdb_env," in text


def test_pinned_workers_bind_it_to_both(projects: Projects) -> None:
    run = projects.run("onesided", "--db=both", "-n2", "-o", "dualdb_pin_workers=true")
    assert run.status == 0, run.text
    assert run.test("test_one")["verdict"] == "agree"


def test_tests_that_send_nothing_are_no_reason_to_fail(projects: Projects) -> None:
    run = projects.run("onesided", "--db=both", "-k", "test_none")
    assert run.status == 0, run.text
    assert LOUD not in run.output
