"""What the suites of database libraries do: a module for each database, work that nobody commits, clean-ups."""

from __future__ import annotations

import pytest
from projects import Projects, Run


@pytest.fixture(scope="module")
def run(projects: Projects) -> Run:
    run = projects.run("libraries", "--db=both")
    assert run.report, run.text
    return run


def test_one_create_without_a_commit_is_one_issue(run: Run) -> None:
    [issue] = [issue for issue in run.report["issues"] if issue["rule"] == "transactional-ddl"]
    assert [test.rpartition("::")[2] for test in issue["tests"]] == ["test_first_place", "test_second_place"]
    assert [site["path"] for site in issue["sites"]] == ["test_libraries.py"] * 2
    assert issue["instead"] == "COMMIT after the CREATE at conftest.py:13"


def test_rows_that_two_modules_read_are_compared(run: Run) -> None:
    [found] = [
        d for d in run.test("test_rows_of_two_modules_are_compared")["divergences"] if d["kind"] == "rows"
    ]
    assert found["rule"] == "like-case"
    assert found["statement"]["site"]["path"] == "store_lite.py"


def test_a_decimal_that_a_float_made_is_explained_where_it_is_read(run: Run) -> None:
    [issue] = [
        issue
        for issue in run.report["issues"]
        if issue["severity"] == "critical" and issue["rule"] == "decimal-type"
    ]
    assert [site["path"] for site in issue["sites"]] == ["store_lite.py"]


def test_seconds_stand_for_an_interval(run: Run) -> None:
    assert run.test("test_seconds_for_an_interval")["verdict"] == "agree"


def test_what_a_failed_half_did_not_write_follows_from_the_failure(run: Run) -> None:
    test = run.test("test_cleaned_up_after_a_failure")
    assert [d["kind"] for d in test["divergences"] if d["primary"]] == ["outcome"], run.text


def test_keys_that_threads_got_by_chance_are_no_difference(run: Run) -> None:
    assert run.test("test_threads_insert_side_by_side")["verdict"] == "agree"
