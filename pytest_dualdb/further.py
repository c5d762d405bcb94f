"""Further databases of an application that has several, and databases that several tests share.

What happens on one is part of the half that runs then, under the name of the fixture that gives it. A shared one
is not brought back between tests, so halves on it compare only if the same tests ran before them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dualdb import config
from pytest_dualdb.recording import Catalog, Table, TableState

if TYPE_CHECKING:
    from pytest_dualdb.backends import Backend
    from pytest_dualdb.database import Database

_PLUGIN = "dualdb-halves"
_SCOPES = ("function", "class", "module", "package", "session")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a call of `pytest_dualdb.database_fixture` asks for."""

    schema: tuple[str, ...] = ()
    env: tuple[config.Variable, ...] = ()
    setup: Callable[[Database], None] | None = None
    scope: str = "function"


@dataclass(slots=True)
class Further:
    """One further database in use: ``tests`` are those that ran on it, in a shared one since it was made."""

    name: str
    backend: Backend
    database: Database
    env: Mapping[str, str | None]
    shared: bool = False
    tests: list[str] = field(default_factory=list)

    def history(self) -> str:
        """Return a text that is the same for halves that found the database after the same tests."""
        return hashlib.blake2b("\n".join(self.tests).encode(), digest_size=8).hexdigest()

    def named(self, state: Mapping[str, TableState]) -> dict[str, TableState]:
        """Return contents under the names that tables of this database have in a record."""
        return {f"{self.name}.{table}": contents for table, contents in state.items()}

    def catalog(self, besides: Catalog) -> Catalog:
        """Return a catalog with the template's tables added, under plain names where those are free."""
        tables: dict[str, Table] = dict(besides.tables)
        for name, table in self.backend.template_catalog().tables.items():
            keys = tuple(replace(key, table=f"{self.name}.{key.table}") for key in table.foreign_keys)
            tables[f"{self.name}.{name}"] = replace(
                table, name=f"{self.name}.{table.name}", foreign_keys=keys
            )
            tables.setdefault(name, table)
        return Catalog(tables)


def fixture_of(wanted: Wanted) -> Any:
    """Return the fixture for a further database; raises SettingError for one that can't be made."""
    if wanted.scope not in _SCOPES:
        raise config.SettingError(
            f"database_fixture: unknown scope {wanted.scope!r}; expected one of {', '.join(_SCOPES)}"
        )

    def further(request: pytest.FixtureRequest, dualdb: Database) -> Database:
        found: Database = _halves(request).further(request.node, str(request.fixturename), wanted)
        return found

    def shared(request: pytest.FixtureRequest) -> Iterator[Database]:
        backend = getattr(request, "param", None)
        if backend is None:
            raise pytest.UsageError(
                f"{request.fixturename} has the scope {wanted.scope}; expected a test function that asks for it"
                " as an argument or through fixtures, so that it can run once on each database"
            )
        yield from _halves(request).shared(backend, str(request.fixturename), wanted)

    if wanted.scope == "function":
        return pytest.fixture(further)
    shared.__dict__["dualdb_scope"] = wanted.scope
    return pytest.fixture(scope=wanted.scope)(shared)  # type: ignore[call-overload]


def _halves(request: pytest.FixtureRequest) -> Any:
    return request.config.pluginmanager.get_plugin(_PLUGIN)
