"""SQLite paths that an application has built in: they open the test's database, never the user's file."""

from __future__ import annotations

import pytest
from projects import Projects


@pytest.mark.parametrize(
    "arguments",
    [
        ("--db=both",),
        ("--db=both", "-n2"),
        ("--db=sqlite",),
        ("--db=postgres",),
        ("--db=both", "-k", "postgres"),
    ],
    ids=" ".join,
)
def test_every_way_to_open_a_redirected_path(projects: Projects, arguments: tuple[str, ...]) -> None:
    run = projects.run("redirected", *arguments)
    halves = 6 if arguments in (("--db=both",), ("--db=both", "-n2")) else 3
    assert f"{halves} passed" in run.output, run.text
    assert "AssertionError" not in run.text
    assert not [
        path.name for path in run.folder.rglob("*") if path.suffix in (".sqlite3", ".db") and path.is_file()
    ]
    if halves == 6:
        # what went there in a PostgreSQL half went wrong
        assert {issue["rule"] for issue in run.report["issues"]} == {"wrong-database"}
