"""A difference of the drivers, where no statement shows it: rule and line come from the failing half's exception."""

from __future__ import annotations

from projects import Projects
from test_plugin import WORKERS

RULES = {
    **dict.fromkeys(
        (
            "execute_of_a_connection", "executescript_of_a_cursor", "detect_types", "in_transaction",
            "total_changes", "create_function", "backup", "execute_in_a_block", "cursor_in_a_block", "mogrify",
            "set_session", "cursor_factory",
        ),
        "driver-method",
    ),
    **dict.fromkeys(("a_row_by_name", "keys_of_a_row", "dict_of_a_row", "row_factory"), "row-access"),
    **dict.fromkeys(("exception_of_sqlite3", "sqlstate"), "exception-class"),
    "chained_execute": "execute-returns-cursor",
}  # fmt: skip
ELSEWHERE = {"detect_types": "connect"}


@WORKERS
def test_each_is_named_at_its_line(projects: Projects, workers: tuple[str, ...]) -> None:
    run = projects.run("api", "--db=both", *workers)
    found = {}
    for issue in run.report["issues"]:
        for test in issue["tests"]:
            (site,) = issue["sites"]
            found[test.partition("[")[2].rstrip("]")] = issue["rule"], issue["severity"], site["function"]
            assert f"{site['path']}:{site['line']} in {site['function']}" in run.output
    assert found == {name: (rule, "critical", ELSEWHERE.get(name, name)) for name, rule in RULES.items()}, (
        run.text
    )
    assert run.test("test_it[works_on_both]")["verdict"] == "agree"
    assert "Recorded" not in run.output


def test_without_a_reason_in_the_driver_it_is_not_comparable(projects: Projects) -> None:
    result = projects.run("api", "--db=both").test("test_a_failure_of_its_own")
    assert result["verdict"] == "not-comparable"
    assert result["reason"].startswith("no statement reached either database: ")
