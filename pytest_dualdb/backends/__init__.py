"""What one worker does with one kind of database: create, connect, bring back, read state and catalog.

`Backend` declares each verb once; `sqlite` and `postgres` in this package implement it. Nothing here knows
pytest, and nothing outside this package, the recorder, the dialects and the rules asks which backend it is.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from pytest_dualdb.encoding import kept
from pytest_dualdb.recording import Backend as Name
from pytest_dualdb.recording import Catalog, Statement, TableState

Isolation = Literal["reset", "clone", "rollback"]
ISOLATIONS: tuple[Isolation, ...] = ("reset", "clone", "rollback")

WORKING = "a thread that was still working"
"""The leak of a half that ended while a statement of its own was running."""
MAX_STATE_ROWS = 5_000
"""The rows of larger tables are packed."""


@dataclass(frozen=True, slots=True)
class HalfEnd:
    """What a half left behind: the tables that it may have changed, a changed catalog, and leaks by name."""

    state: Mapping[str, TableState] = field(default_factory=dict)
    catalog: Catalog | None = None
    leaks: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Address:
    """How an application reaches the database; empty where the backend has no such thing.

    ``sqlalchemy_url`` names psycopg2 as the driver, ``psycopg_url`` psycopg 3, ``async_url`` aiosqlite or asyncpg.
    ``url`` leaves it to whoever reads it, unless that can only fail: SQLAlchemy takes psycopg 3 for
    ``postgresql://`` from version 2.1 on, installed or not.
    """

    url: str
    sqlalchemy_url: str = ""
    psycopg_url: str = ""
    async_url: str = ""
    dsn: str = ""
    path: str = ""
    host: str = ""
    port: str = ""
    user: str = ""
    password: str = ""
    database: str = ""


@dataclass(frozen=True, slots=True)
class Kept:
    """A half's database that outlives the run; strings travel to the controller as they are.

    ``place``: the file that holds it, or the URL of one on a server that was given. ``database``: its name
    within that, if the file is to hold the cluster of a server that was started for the run.
    """

    place: str
    database: str = ""


class SchemaError(Exception):
    """The template database could not be built; the message names file, line, statement and reason."""


class Backend(Protocol):
    """One worker's databases of one kind."""

    name: Name
    placeholder: str
    version: str
    address: Address
    zone: str
    """The name of the server's time zone, empty where there is no such thing."""
    own: str
    """What the recorder knows the test's own database by."""

    def prepare(self) -> None:
        """Make the empty database, for an application that connects before `build`, when it is imported."""

    def build(self, setup: Callable[[], None]) -> None:
        """Run ``setup`` on the empty database, which then is the template that each half starts with."""

    def start_half(self) -> None:
        """Make sure that the half finds the template's contents."""

    def interrupt(self) -> list[str]:
        """End the statements that threads are in the middle of, as closing would wait; return that as a leak."""

    def end_half(self, statements: Sequence[Statement], hold: bool = False) -> HalfEnd:
        """End what the half left open and read what it left behind; ``hold`` it until `release`."""

    def keep(self, folder: Path, name: str) -> Kept:
        """Set the held database aside, to outlive the run. Raises OSError or the driver's error."""

    def remove_kept(self, run: str, folder: Path) -> bool:
        """Drop what an earlier run kept elsewhere than in its folder; say whether nothing is left of it."""

    def release(self) -> None:
        """Let go of what the half left: it is fresh again at the next `start_half` at the latest."""

    def contents(self) -> Mapping[str, TableState]:
        """Return what all tables hold now."""

    def look(self) -> tuple[Mapping[str, TableState], Catalog]:
        """Return what the tables hold and their schema, while the half goes on: what is committed by now.

        Tables with many rows in the template are left out. Nothing is waited for: what can't be read at once
        raises the driver's error. With `rollback` isolation nothing of the half is committed, and nothing is returned.
        """

    def look_through(self, connection: Any, tables: Collection[str]) -> Mapping[str, TableState]:
        """Return what the tables hold for a recorded connection in its transaction; none for a driver of another kind."""

    def expect_any_change(self) -> None:
        """Take note that another process may have written: the half's statements don't tell what changed."""

    def reset(self) -> None:
        """Bring the database back to the template's contents now."""

    def connect(self, **arguments: Any) -> Any:
        """Open a recorded connection of the native driver."""

    def run_script(self, sql: str) -> None:
        """Run a script of many statements, unrecorded; raises the driver's error."""

    def try_statements(self, statements: Sequence[str]) -> list[Exception | None]:
        """Run statements one by one on an empty scratch database; return what each raised."""

    def tables(self) -> list[str]:
        """Return the names of the user's tables."""

    def template_state(self) -> Mapping[str, TableState]:
        """Return the contents of the template's tables that hold rows."""

    def template_catalog(self) -> Catalog:
        """Return the template's schema."""

    def close(self) -> None:
        """Remove everything that this worker created."""


def table_state(columns: Iterable[str], rows: Iterable[tuple[Any, ...]]) -> TableState:
    """Return the record of a table's contents, packed past `MAX_STATE_ROWS`."""
    found = kept(rows, MAX_STATE_ROWS)
    return TableState(tuple(columns), found, len(found))


def free_path(folder: Path, name: str, ending: str) -> Path:
    """Make an empty file of that name in a folder, with a number in its name if there is one already."""
    for number in itertools.count(1):
        path = folder / f"{name}{f'-{number}' if number > 1 else ''}{ending}"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            continue
        return path
    raise AssertionError


def changed_state(columns: Iterable[str], rows: Iterable[tuple[Any, ...]], count: int) -> TableState:
    """Return the record of a large table with ``count`` rows, of which the template does not hold ``rows``."""
    return TableState(tuple(columns), kept(rows, MAX_STATE_ROWS), count, "changed")


def only_now(before: Iterable[tuple[Any, ...]], now: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return the rows that are in ``now`` and not in ``before``, each as often as it is more often there."""
    # 1 == 1.0 == True: what a value was changed to may differ in type alone
    held = Counter((row, tuple(map(type, row))) for row in before)
    found = []
    for row in now:
        key = row, tuple(map(type, row))
        if held[key]:
            held[key] -= 1
        else:
            found.append(row)
    return found


def quoted(name: str) -> str:
    """Return an identifier in double quotes, as both databases read it."""
    return '"' + name.replace('"', '""') + '"'
