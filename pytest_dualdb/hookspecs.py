"""The hooks that pytest-dualdb calls, for a conftest.py or a plugin that builds on it.

A plugin that works with and without pytest-dualdb marks its implementations with
``@pytest.hookimpl(optionalhook=True)``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pytest_dualdb.database import Database
    from pytest_dualdb.report import Report
    from pytest_dualdb.rules import Rule


@pytest.hookspec
def pytest_dualdb_setup(db: Database) -> None:
    """Build the template database: run migrations, ``create_all``, load seed rows.

    Called once for each backend in each process, after the files of ``dualdb_schema``; every test starts
    with what this leaves.
    """


@pytest.hookspec
def pytest_dualdb_rules() -> Iterable[Rule]:  # type: ignore[empty-body]
    """Return rules of your own: they are asked before the built-in ones."""


@pytest.hookspec(firstresult=True)
def pytest_dualdb_same_value(left: Any, right: Any, column: str) -> bool | None:
    """Return whether SQLite's value ``left`` and PostgreSQL's ``right`` agree; None leaves it to the plugin."""


@pytest.hookspec
def pytest_dualdb_report(report: Report) -> None:
    """Take the finished report, before it is shown and written."""
