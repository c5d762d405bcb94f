"""pytest-dualdb: run each database test on SQLite and on PostgreSQL, and report where they disagree."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.machinery import ModuleSpec, PathFinder
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from pytest_dualdb.database import Database

__version__ = "0.1.0"
__all__ = ["database_fixture"]


class _AsWritten:
    """Import this package's modules as they are compiled.

    pytest rewrites the assertions of every module of a plugin. Nothing here is a test, and where the result
    can't be kept (a read-only installation, PYTHONDONTWRITEBYTECODE) each run would take a second for it.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path) if name.startswith(f"{__name__}.") else None


if "pytest" in sys.modules:
    sys.meta_path.insert(0, _AsWritten)


def database_fixture(
    schema: str | Sequence[str] = (),
    *,
    env: Mapping[str, str] | None = None,
    setup: Callable[[Database], None] | None = None,
    scope: Literal["function", "class", "module", "package", "session"] = "function",
) -> Any:
    """Return a fixture that gives one more `Database`, for an application that has several.

    ``schema`` names files as the setting ``dualdb_schema`` does, ``env`` is what ``dualdb_env`` is for `db`
    (``{"REPORTING_URL": "{url}"}``, or ``"REPORTING_URL[postgres]"`` for one backend), and ``setup`` builds the
    template after the files. With a ``scope`` wider than ``function``, the tests in it share the database: what
    one leaves, the next finds.
    """
    from pytest_dualdb import config
    from pytest_dualdb.further import Wanted, fixture_of

    lines = (schema,) if isinstance(schema, str) else tuple(schema)
    variables = (
        config.parsed(f"{name}={template}", "database_fixture: env") for name, template in (env or {}).items()
    )
    return fixture_of(Wanted(lines, tuple(variables), setup, scope))
