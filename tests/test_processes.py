"""Tests whose application runs in threads, programs of its own, and forked processes."""

from __future__ import annotations

import sys

import pytest
from projects import Projects
from test_plugin import OWN, WORKERS

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")


@WORKERS
def test_what_other_processes_write_is_compared_and_theirs_is_no_end_of_ours(
    projects: Projects, workers: tuple[str, ...]
) -> None:
    run = projects.run("processes", "--db=both", f"--db-postgres={OWN}", *workers, server=False)
    assert "18 passed" in run.output or "16 passed, 2 skipped" in run.output, run.text
    verdicts = {test["id"].rpartition("::")[2]: test["verdict"] for test in run.report["tests"]}
    verdicts.pop("test_a_forked_process_goes_on_as_pytest", None)
    assert verdicts == {
        "test_a_program_writes": "agree",
        "test_a_program_writes_something_else": "disagree",
        "test_a_program_writes_where_the_test_does_not": "disagree",
        "test_threads": "agree",
        "test_a_forked_process_writes[0]": "agree",
        "test_a_forked_process_writes[1]": "agree",
        "test_a_forked_process_exits": "agree",
        "test_a_forked_process_is_left_behind": "agree",
    }
    assert run.test("test_a_program_writes")["sqlite"]["statements"] == 0
    tables = {
        test["id"].rpartition("::")[2]: {d["table"] for d in test["divergences"]}
        for test in run.report["tests"] if test["verdict"] == "disagree"
    }  # fmt: skip
    assert tables == {
        "test_a_program_writes_something_else": {"item"},
        "test_a_program_writes_where_the_test_does_not": {"other"},
    }
    # no rule can know why another program writes something else
    rules = {d["rule"] for test in run.report["tests"] for d in test["divergences"]}
    assert rules == {"unexplained"}
    # what a test forked and left holds our pipes: the run ends all the same
    seconds = [float(path.read_text()) for path in run.folder.glob("seconds-*")]
    assert seconds and max(seconds) < 15
