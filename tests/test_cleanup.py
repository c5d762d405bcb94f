"""What a test stored counts also where its fixtures drop, empty or roll it back afterwards."""

from __future__ import annotations

import pytest
from projects import Projects
from test_plugin import WORKERS

STORED = {
    "test_dropped": ("book", "foreign-keys-not-enforced"),
    "test_emptied": ("note", "numeric-scale"),
    "test_beside_a_table_that_is_emptied": ("note", "numeric-scale"),
    "test_rolled_back": ("note", "numeric-scale"),
    "test_rolled_back_by_the_driver": ("note", "numeric-scale"),
    **dict.fromkeys(
        (
            "test_emptied_by_tear_down",
            "test_emptied_after_subtests",
            "test_rolled_back_by_tear_down",
            "test_emptied_by_cleanup",
            "test_emptied_by_async_tear_down",
            "test_emptied_by_teardown_method",
            "test_rolled_back_by_psycopg_3",
            "test_rolled_back_by_a_block",
            "test_closed",
            "test_closed_by_psycopg_3",
            "test_never_committed",
            "test_left_open",
            "test_rolled_back_by_an_async_driver[asyncpg]",
            "test_rolled_back_by_an_async_driver[closed asyncpg]",
            "test_rolled_back_by_an_async_driver[psycopg]",
            "test_rolled_back_by_sqlalchemy[asyncpg]",
            "test_rolled_back_by_sqlalchemy[psycopg]",
        ),
        ("note", "numeric-scale"),
    ),
}


@WORKERS
def test_what_was_stored_is_compared(projects: Projects, workers: tuple[str, ...]) -> None:
    done = projects.run("cleanup", "--db=both", *workers)
    found = {
        test["id"].rpartition("::")[2]: {
            (d["kind"], d["table"], d["rule"], d["severity"]) for d in test["divergences"]
        }
        for test in done.report["tests"]
        if any(d["severity"] != "low" for d in test["divergences"])
    }
    error = found.pop("test_rolled_back_on_one_side_before", set())
    assert error <= {("error", None, "exception-class", "medium")}
    assert found == {name: {("state", table, rule, "high")} for name, (table, rule) in STORED.items()}, (
        done.text
    )


@pytest.mark.parametrize(
    ("test", "words"),
    [("test_dropped", "before the test cleared it"), ("test_rolled_back", "before it was rolled back")],
)
def test_the_message_says_when(projects: Projects, test: str, words: str) -> None:
    done = projects.run("cleanup", "--db=both")
    (divergence,) = done.test(test)["divergences"]
    assert divergence["message"].endswith(words)


def test_with_rollback_isolation_the_end_is_compared(projects: Projects) -> None:
    done = projects.run("cleanup", "--db=both", "--db-isolation=rollback", "-k", "beside")
    (divergence,) = done.test("test_beside_a_table_that_is_emptied")["divergences"]
    assert (divergence["kind"], divergence["table"]) == ("state", "note")
