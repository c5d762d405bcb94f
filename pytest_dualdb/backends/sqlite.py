"""SQLite: one file for each worker, brought back in place so that connections kept by pools see it fresh."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sqlite3
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.backends import (
    MAX_STATE_ROWS,
    WORKING,
    Address,
    HalfEnd,
    Isolation,
    Kept,
    changed_state,
    free_path,
    only_now,
    quoted,
    table_state,
)
from pytest_dualdb.backends.pages import Image, Original
from pytest_dualdb.recorder import optional
from pytest_dualdb.recorder import sqlite3 as recorded
from pytest_dualdb.recording import (
    Backend,
    Catalog,
    Column,
    ForeignKey,
    Index,
    Statement,
    Table,
    TableState,
)

_USER_TABLES = (
    "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'"
)
_OUTSIDE = "changes through a connection that rollback isolation did not give out"
_PENDING = "a statement whose rows were not all read"
_SETTLE = 0.5
"""Seconds to wait for a thread whose statement was interrupted."""
_DEFINES = frozenset({"CREATE", "ALTER", "DROP"})
_MANY = 20_000
"""Rowids above which reading the whole table is cheaper than looking each of them up."""


class SQLiteBackend:
    """One worker's SQLite database."""

    name: Backend = "sqlite"
    placeholder = "?"
    version = sqlite3.sqlite_version
    zone = ""

    def __init__(self, folder: Path, isolation: Isolation, *, durable_folder: bool) -> None:
        """Use ``folder``, which this worker owns; ``durable_folder`` if it is on a disk."""
        self.path = str(folder / "test.sqlite3")
        self.own = os.path.realpath(self.path)
        # three slashes and the path: on Windows it begins with the drive
        url = "sqlite:///" + self.path.replace(os.sep, "/")
        self.address = Address(
            url=url, sqlalchemy_url=url, psycopg_url=url, async_url=url.replace("sqlite://", "sqlite+aiosqlite://", 1),
            path=self.path, database=self.path,
        )  # fmt: skip
        self.isolation = isolation
        self._folder = folder
        self._durable = durable_folder
        self._template: sqlite3.Connection | None = None
        self._admin: sqlite3.Connection | None = None
        self._version_seen = -1
        self._dirty = False
        self._scripted = False
        self._shared: Any = None
        self._image = bytearray()
        self._original: Original | None = None
        self._file: int | None = None
        self._counter = 0
        self._catalog = Catalog()
        self._catalog_version = -1
        self._state: dict[str, TableState] = {}
        self._undo = [recorded.intercept(), optional.intercept()]
        self._before = recorded.on_connect
        recorded.on_connect = self._opened

    def _opened(self, connection: sqlite3.Connection) -> None:
        if self._before is not None:
            self._before(connection)  # type: ignore[arg-type]
        if self._durable and getattr(connection, "_path", "") == self.own:
            # the file is thrown away: nothing is gained by waiting for the disk
            sqlite3.Connection.execute(connection, "PRAGMA synchronous = OFF")

    # ------------------------------------------------------------------------------------------- lifecycle

    def prepare(self) -> None:
        """Do nothing: to open the file makes it."""

    def build(self, setup: Callable[[], None]) -> None:
        self._admin = self._open_admin()
        setup()
        # closed they are not: a pool of the application's, made when it was imported, may hold them
        self._end_transactions()
        self._template = _native(":memory:")
        self._admin.backup(self._template)
        self._open_file()
        self._catalog = self._read_catalog()
        self._state = {name.lower(): state for name in self.tables() if (state := self._read(name)).count > 0}
        self._version_seen = self._data_version()
        self._dirty = self._scripted = False

    def _open_admin(self) -> sqlite3.Connection:
        connection = _native(self.path, isolation_level=None, timeout=0.2, check_same_thread=False)
        if self._durable:
            connection.execute("PRAGMA synchronous = OFF")
        return connection

    def _data_version(self) -> int:
        """Return a number that changes whenever another connection has committed a change."""
        assert self._admin is not None
        return int(self._admin.execute("PRAGMA data_version").fetchone()[0])

    def start_half(self) -> None:
        if self._dirty or self._data_version() != self._version_seen:
            self.reset()

    def end_half(self, statements: Sequence[Statement], hold: bool = False) -> HalfEnd:
        rolled_back = self._roll_back(statements, hold)
        leaks = self._end_transactions()
        try:
            changed = self._data_version() != self._version_seen
        except sqlite3.Error:
            changed = True
        if not changed:
            if self._is_locked():
                leaks = leaks or (_PENDING,)
                self._replace()
                self._version_seen = self._data_version()
            return HalfEnd(*rolled_back, leaks)
        if self.isolation == "rollback" and not hold:
            leaks = (*leaks, _OUTSIDE)
        self._dirty = True
        catalog = None
        try:
            if self._schema_version() != self._catalog_version:
                catalog = self._read_catalog()
            names = self.tables()
            touched = self._touched(statements, catalog or self._catalog)
            wanted = names if touched is None else [name for name in names if name.lower() in touched]
            large = {name for name in wanted if self._is_large(name)} if catalog is None else set()
            state = {name.lower(): self._read(name) for name in wanted if name not in large}
            state |= self._read_large(sorted(large))
        except sqlite3.Error as error:
            return HalfEnd(leaks=(*leaks, f"the database could not be read after the test: {error}"))
        finally:
            if not hold:
                self.release()
        return HalfEnd(state, catalog, leaks)

    def keep(self, folder: Path, name: str) -> Kept:
        assert self._admin is not None
        path = free_path(folder, name, ".sqlite3")
        with contextlib.closing(_native(str(path))) as copy:
            copy.execute("PRAGMA synchronous = OFF")
            self._admin.backup(copy)
        return Kept(str(path))

    def remove_kept(self, run: str, folder: Path) -> bool:
        return True

    def release(self) -> None:
        # now, not before the next half: the other backend's half may look into this file, too
        if self._dirty:
            self.reset()

    def _is_locked(self) -> bool:
        """Return whether somebody holds a lock, by a statement or a transaction that nothing here can end."""
        if not any(connection._path == self.own for connection in recorded.live):
            return False
        assert self._admin is not None
        try:
            self._admin.execute("BEGIN EXCLUSIVE")
            self._admin.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        return False

    def _roll_back(
        self, statements: Sequence[Statement], hold: bool
    ) -> tuple[dict[str, TableState], Catalog | None]:
        """With `rollback` isolation: read what the half changed from within its transaction, and undo it.

        With ``hold`` what the half committed becomes part of the file, to be kept or undone by a reset.
        """
        connection, self._shared = self._shared, None
        if connection is None:
            return {}, None
        state: dict[str, TableState] = {}
        catalog = None
        cursor = sqlite3.Connection.cursor(connection, sqlite3.Cursor)
        cursor.row_factory = None
        if connection.total_changes or any(syntax.verb(s.sql) in _DEFINES for s in statements):
            if any(syntax.verb(s.sql) in _DEFINES or s.kind == "script" for s in statements):
                catalog = read_catalog(cursor)
            touched = self._touched(statements, catalog or self._catalog)
            names = [row[0] for row in cursor.execute(_USER_TABLES + " ORDER BY name").fetchall()]
            wanted = [name for name in names if touched is None or name.lower() in touched]
            state = {name.lower(): self._read(name, cursor) for name in wanted}
        if connection.in_transaction:
            if hold:
                connection._end_nested("rollback")
            cursor.execute("COMMIT" if hold else "ROLLBACK")
        sqlite3.Connection.close(connection)
        return state, catalog if catalog != self._catalog else None

    def interrupt(self) -> list[str]:
        working = [c for c in list(recorded.live) if c._working and c._path == self.own]
        deadline = time.monotonic() + _SETTLE
        while any(c._working for c in working) and time.monotonic() < deadline:
            for connection in working:
                with contextlib.suppress(sqlite3.ProgrammingError):  # closed meanwhile
                    sqlite3.Connection.interrupt(connection)
            time.sleep(0.002)
        return [WORKING] if working else []

    def _end_transactions(self) -> tuple[str, ...]:
        """Roll back what the half left open on connections that still exist."""
        leaks = [leak for driver in optional.recorded() for leak in driver.end_sessions(self.own)[0]]
        for connection in list(recorded.live):
            if connection._path != self.own:
                continue
            try:
                if connection.in_transaction:
                    sqlite3.Connection.rollback(connection)
                    leaks.append("an open transaction")
            except sqlite3.ProgrammingError as error:
                if "closed" not in str(error):
                    leaks.append("an open transaction in another thread")
        return tuple(dict.fromkeys(leaks))

    def _touched(self, statements: Sequence[Statement], catalog: Catalog) -> frozenset[str] | None:
        """Return the tables that the half may have changed, None for all of them.

        Read from the statements' text; triggers and foreign key actions carry a change further.
        """
        if self._scripted:
            return None
        found: set[str] = set()
        wrote = False
        for statement in statements:
            if statement.kind in ("commit", "rollback") or statement.error is not None:
                continue
            verb = syntax.verb(statement.sql)
            if statement.kind == "script":
                return None
            if verb in syntax.WRITES:
                wrote = True
                written = syntax.written_tables(statement.sql)
                if not written:
                    return None
                found |= written
            elif verb in syntax.DEFINES or verb == "ATTACH":
                return None
        if not wrote:
            # something changed that no recorded statement tells of
            return None
        waiting = list(found)
        while waiting:
            name = waiting.pop()
            if name not in catalog.tables:
                return None
            for reached in self._reached(name, catalog):
                if reached not in found:
                    found.add(reached)
                    waiting.append(reached)
        return frozenset(found)

    @staticmethod
    def _reached(name: str, catalog: Catalog) -> set[str]:
        reached = {
            other
            for other, table in catalog.tables.items()
            for key in table.foreign_keys
            if key.table.lower() == name and {key.on_delete, key.on_update} - {"NO ACTION", "RESTRICT"}
        }
        for trigger in catalog.tables[name].triggers:
            reached |= syntax.written_tables(trigger) & catalog.tables.keys()
        return reached

    def contents(self) -> Mapping[str, TableState]:
        return {name.lower(): self._read(name) for name in self.tables()}

    def look(self) -> tuple[Mapping[str, TableState], Catalog]:
        if self.isolation == "rollback":
            return {}, Catalog()
        connection = _native(self.path, timeout=0)  # the half may go on in another thread
        try:
            cursor = connection.cursor()
            names = [row[0] for row in cursor.execute(_USER_TABLES).fetchall()]
            state = {name.lower(): self._read(name, cursor) for name in names if not self._is_large(name)}
            return state, read_catalog(connection)
        finally:
            connection.close()

    def look_through(self, connection: Any, tables: Collection[str]) -> Mapping[str, TableState]:
        if self.isolation == "rollback" or not isinstance(connection, recorded.RecordedConnection):
            return {}
        if not connection.in_transaction:
            return {}
        cursor = sqlite3.Connection.cursor(connection, sqlite3.Cursor)
        cursor.row_factory = None
        names = [row[0] for row in cursor.execute(_USER_TABLES).fetchall() if row[0].lower() in tables]
        return {name.lower(): self._read(name, cursor) for name in names if not self._is_large(name)}

    def expect_any_change(self) -> None:
        self._scripted = True

    def reset(self) -> None:
        self._end_transactions()
        try:
            if not self._overwrite():
                self._back_up()
        except sqlite3.Error:
            self._replace()
        self._dirty = self._scripted = False
        self._version_seen = self._data_version()

    def _overwrite(self) -> bool:
        """Write the template's pages over the file's, under SQLite's lock; False where that won't do.

        Cheaper than a backup, which writes page by page through a journal. Connections notice by the
        file's change counter, so that one only ever grows: a pool's connection may have slept through
        several halves. After DDL the schema cookie would have to do the same: a backup sees to that.
        """
        assert self._admin is not None
        if self._file is None or self._schema_version() != self._catalog_version:
            return False
        self._admin.execute("BEGIN EXCLUSIVE")
        try:
            header = os.pread(self._file, 100, 0)
            if header[18:20] != b"\x01\x01":  # in WAL mode, contents are in another file
                return False
            counter = (max(int.from_bytes(header[24:28], "big"), self._counter) + 1) & 0xFFFFFFFF
            self._counter = counter
            self._image[24:28] = self._image[92:96] = counter.to_bytes(4, "big")
            os.pwrite(self._file, self._image, 0)
            os.ftruncate(self._file, len(self._image))
        finally:
            self._admin.execute("ROLLBACK")
        return True

    def _back_up(self) -> None:
        assert self._template is not None
        assert self._admin is not None
        # WAL mode is left as long as an application's connection is in it: it has to go on working
        with contextlib.suppress(sqlite3.OperationalError):
            self._admin.execute("PRAGMA journal_mode = DELETE")
        self._template.backup(self._admin, progress=_give_up_if_locked)
        self._read_image()

    def _replace(self) -> None:
        """Put a new file in the place of one that a leaked connection keeps locked."""
        assert self._template is not None
        assert self._admin is not None
        self._admin.close()
        for connection in recorded.live:
            if connection._path == self.own:
                connection._path = f"{self.own} (before)"
        for suffix in ("", "-journal", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                os.remove(self.path + suffix)
        self._admin = self._open_admin()
        self._template.backup(self._admin)
        if self._file is not None:
            os.close(self._file)
        self._open_file()

    def _open_file(self) -> None:
        """Open the file for `_overwrite`, once: closing a descriptor would end SQLite's own locks on it."""
        if hasattr(os, "pwrite"):
            self._file = os.open(self.path, os.O_RDWR)
            self._read_image()

    def _read_image(self) -> None:
        """Take the file as it is, fresh, for what `_overwrite` writes."""
        if self._file is not None:
            self._image = bytearray(os.pread(self._file, os.fstat(self._file).st_size, 0))
        self._catalog_version = self._schema_version()
        self._original = None

    def _close_live(self) -> None:
        for driver in optional.recorded():
            driver.disconnect(self.own)
        for connection in list(recorded.live):
            if connection._path == self.own:
                with contextlib.suppress(sqlite3.Error):
                    connection.discard()

    def close(self) -> None:
        recorded.on_connect = None
        self._close_live()
        for undo in self._undo:
            undo()
        for connection in (self._admin, self._template):
            if connection is not None:
                connection.close()
        if self._file is not None:
            os.close(self._file)
        shutil.rmtree(self._folder, ignore_errors=True)

    # ------------------------------------------------------------------------------------------ connections

    def connect(self, **arguments: Any) -> Any:
        if self.isolation != "rollback" or self._template is None:
            return recorded.connect(self.path, **arguments)
        if self._shared is None:
            self._shared = recorded.connect(self.path, **arguments)
            self._shared.nest()
        return self._shared

    def run_script(self, sql: str) -> None:
        self._scripted = True
        connection = _native(self.path, isolation_level=None)
        try:
            if self._durable:
                connection.execute("PRAGMA synchronous = OFF")
            connection.executescript(sql)
        finally:
            connection.close()

    def try_statements(self, statements: Sequence[str]) -> list[Exception | None]:
        found: list[Exception | None] = []
        with contextlib.closing(_native(":memory:", isolation_level=None)) as connection:
            for text in statements:
                try:
                    connection.execute(text)
                    found.append(None)
                except sqlite3.Error as error:
                    found.append(error)
        return found

    # --------------------------------------------------------------------------------------- introspection

    def tables(self) -> list[str]:
        assert self._admin is not None
        return [row[0] for row in self._admin.execute(_USER_TABLES + " ORDER BY name")]

    def template_state(self) -> Mapping[str, TableState]:
        return self._state

    def template_catalog(self) -> Catalog:
        return self._catalog

    def _read(self, table: str, cursor: sqlite3.Cursor | None = None) -> TableState:
        if cursor is None:
            assert self._admin is not None
            cursor = self._admin.cursor()
        cursor.execute(f"SELECT * FROM {quoted(table)}")
        return table_state([column[0] for column in cursor.description], cursor)

    def _is_large(self, table: str) -> bool:
        state = self._state.get(table.lower())
        return state is not None and state.count > MAX_STATE_ROWS

    def _read_large(self, tables: Sequence[str]) -> dict[str, TableState]:
        """Read what changed in tables that are large in the template, or all of them where that is as cheap."""
        if not tables:
            return {}
        assert self._admin is not None
        assert self._template is not None
        self._admin.execute("BEGIN")
        try:
            differing = self._differing(frozenset(tables)) or {}
            found = {}
            for name in tables:
                template = self._state[name.lower()]
                taken = {column.lower() for column in template.columns}
                rowid = next((alias for alias in ("rowid", "oid", "_rowid_") if alias not in taken), None)
                if rowid is None or name not in differing or len(differing[name]) > _MANY:
                    found[name.lower()] = self._read(name)
                    continue
                query = f"SELECT * FROM {quoted(name)} WHERE {rowid} = ?"
                parameters = [(number,) for number in sorted(differing[name])]
                before, now = (
                    [row for one in parameters for row in connection.execute(query, one)]
                    for connection in (self._template, self._admin)
                )
                count = template.count - len(before) + len(now)
                found[name.lower()] = changed_state(template.columns, only_now(before, now), count)
            return found
        finally:
            self._admin.execute("ROLLBACK")

    def _differing(self, tables: frozenset[str]) -> dict[str, frozenset[int]] | None:
        """Return the rowids that may differ from the template, None where the file's pages do not tell."""
        assert self._admin is not None
        if self._file is None:
            return None
        # takes the lock that keeps the file as it is
        roots = {
            root: name
            for name, root in self._admin.execute(
                "SELECT name, rootpage FROM sqlite_master WHERE rootpage > 1"
            )
        }
        if self._original is None:
            image = self._image
            self._original = Original(Image(lambda count, at: image[at : at + count], len(image)), roots)
        file = self._file
        now = Image(lambda count, at: os.pread(file, count, at), os.fstat(file).st_size)
        return self._original.differing(now, tables)

    def _schema_version(self) -> int:
        assert self._admin is not None
        return int(self._admin.execute("PRAGMA schema_version").fetchone()[0])

    def _read_catalog(self) -> Catalog:
        assert self._admin is not None
        return read_catalog(self._admin)


def _native(path: str, **arguments: Any) -> sqlite3.Connection:
    connection: sqlite3.Connection = recorded.native_connect(path, **arguments)
    return connection


def _give_up_if_locked(status: int, remaining: int, total: int) -> None:
    """Stop a backup that would wait for a lock for ever."""
    if status in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        raise sqlite3.OperationalError("database is locked")


def read_catalog(connection: sqlite3.Connection | sqlite3.Cursor) -> Catalog:
    """Return the schema of the connection's main database."""
    triggers: dict[str, list[str]] = {}
    for table, sql in connection.execute(
        "SELECT tbl_name, sql FROM sqlite_master WHERE type = 'trigger'"
    ).fetchall():
        triggers.setdefault(table.lower(), []).append(sql or "")
    tables = {}
    for name, sql in connection.execute(
        _USER_TABLES.replace("SELECT name", "SELECT name, sql") + " ORDER BY name"
    ).fetchall():
        tables[name.lower()] = _table(connection, name, sql or "", tuple(triggers.get(name.lower(), ())))
    return Catalog(tables)


def _table(
    connection: sqlite3.Connection | sqlite3.Cursor, name: str, sql: str, triggers: tuple[str, ...]
) -> Table:
    columns = []
    key: list[tuple[int, str]] = []
    # table_info leaves out computed columns; the hidden ones of virtual tables (1) are none of the user's
    rows = [r for r in connection.execute(f"PRAGMA table_xinfo({quoted(name)})").fetchall() if r[6] != 1]
    sole_key = sum(1 for row in rows if row[5]) == 1
    for _, column, told, not_null, default, position, hidden in rows:
        declared = re.sub(r"\s*GENERATED ALWAYS$", "", told, flags=re.I)
        generated = bool(position) and sole_key and declared.upper() == "INTEGER"
        nullable = not (not_null or generated)
        computed = hidden > 1
        columns.append(Column(column, declared.upper(), nullable, default, generated, computed=computed))
        if position:
            key.append((position, column))
    uniques, indexes = [], []
    for _, index, unique, origin, partial in connection.execute(
        f"PRAGMA index_list({quoted(name)})"
    ).fetchall():
        over = tuple(
            row[2] or "<expression>"
            for row in connection.execute(f"PRAGMA index_info({quoted(index)})").fetchall()
        )
        if origin == "u":
            uniques.append(over)
        elif origin == "c":
            indexes.append(Index(index, over, bool(unique), bool(partial)))
    keys: dict[int, ForeignKey] = {}
    for number, _, other, own, referenced, on_update, on_delete, _ in connection.execute(
        f"PRAGMA foreign_key_list({quoted(name)})"
    ).fetchall():
        before = keys.get(number)
        keys[number] = ForeignKey(
            (*(before.columns if before else ()), own), other,
            (*(before.references if before else ()), *([referenced] if referenced else [])),
            on_delete, on_update,
        )  # fmt: skip
    checks = tuple(re.findall(r"\bcheck\s*\(", sql, re.I))
    return Table(
        name, tuple(columns), tuple(column for _, column in sorted(key)), tuple(uniques), tuple(indexes),
        tuple(keys.values()), checks, triggers, sql,
    )  # fmt: skip
