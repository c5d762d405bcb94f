"""PostgreSQL: one database for each worker, brought back at a cost that follows what a half changed.

Only databases that this run created are ever written or dropped; the database that a given address names
serves to create those and nothing else.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.metadata
import importlib.util
import itertools
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions as ext
from psycopg2.extras import wait_select

from pytest_dualdb.backends import (
    MAX_STATE_ROWS,
    WORKING,
    Address,
    HalfEnd,
    Isolation,
    Kept,
    changed_state,
    large,
    only_now,
    quoted,
    restore,
    table_state,
)
from pytest_dualdb.backends.ownership import KEPT, claim, remove_kept, remove_leftovers, run_of
from pytest_dualdb.backends.reading import (
    TABLES,
    Reader,
    Through,
    plain_name,
    read_catalog,
    read_settings,
    stream,
)
from pytest_dualdb.recorder import optional
from pytest_dualdb.recorder import psycopg2 as recorded
from pytest_dualdb.recording import (
    Backend,
    Catalog,
    Statement,
    TableState,
)
from pytest_dualdb.server import Server, ServerError

_VACUUM_EVERY = 500
"""Halves after which the dead rows that resets leave in pg_class are removed: each takes a millisecond then."""
_ATTEMPTS = 20
"""How often to try what needs the database to be without connections."""
_LOCK_SECONDS = 10
"""How long a test's connection waits for a lock: one that another of its own holds would never come. sqlite3 waits 5 s."""
_PATIENCE = "3s"
"""How long the application's own connections wait for a lock of the test's: with `rollback` that never ends."""
_RESTART = 10.0
"""Seconds that a server may take to start again after a crash."""
_GLANCE = 100
"""Milliseconds to wait for a lock of the test's while it goes on."""
_SETTLE = 0.5
"""Seconds to wait for backends that are on their way out before they are ended."""


@functools.cache
def _needs_driver_name() -> bool:
    """Return whether the installed SQLAlchemy takes ``postgresql://`` for a driver that is not installed.

    https://docs.sqlalchemy.org/en/21/changelog/migration_21.html: the default became psycopg 3.
    """
    try:
        version = importlib.metadata.version("sqlalchemy")
    except importlib.metadata.PackageNotFoundError:
        return False
    return not version.startswith(("0.", "1.", "2.0")) and importlib.util.find_spec("psycopg") is None


class PostgresBackend:
    """One worker's PostgreSQL databases: the one that tests use, and the template it comes from."""

    name: Backend = "postgres"
    placeholder = "%s"

    def __init__(self, server: Server, database: str, isolation: Isolation) -> None:
        self.server = server
        self.own = database
        self.template = f"{database}_template"
        self.version = server.version
        self.zone = ""
        self.isolation = isolation
        plain = server.url(database)
        qualified = plain.replace("postgresql://", "postgresql+psycopg2://", 1)
        recorded.plain_urls[qualified] = plain
        self.address = Address(
            url=qualified if _needs_driver_name() else plain, sqlalchemy_url=qualified,
            psycopg_url=plain.replace("postgresql://", "postgresql+psycopg://", 1),
            # SQLAlchemy passes parameters on as they are: what libpq calls sslmode is ssl to asyncpg
            async_url=re.sub(r"(?<=[?&])sslmode=", "ssl=", plain).replace("postgresql:", "postgresql+asyncpg:", 1),
            dsn=server.dsn(database), host=server.host, port=str(server.port),
            user=server.user, password=server.password, database=database,
        )  # fmt: skip
        self._maintenance: Any = None
        self._admin: Any = None
        self._reference: Any = None
        self._holder: Any = None
        self._restorer: Any = None
        self._sent: Any = None
        self._shared: Any = None
        self._base: restore.Base | None = None
        self._dirty = False
        self._scripted = False
        self._quiet_at = ""
        self._stale: restore.Change | None = None
        self._catalog = Catalog()
        self._state: dict[str, TableState] = {}
        self._created: list[str] = []
        self._settings: list[str] = []
        self._roles: set[str] = set()
        self._resets = 0
        self._readers: dict[str, Reader] = {}
        before = recorded.owns
        recorded.owns = lambda name: name == self.own or before(name)
        if isolation == "rollback":
            recorded.on_connect = _each(recorded.on_connect, self._opened)
        self._undo = [recorded.intercept(), optional.intercept()]
        if not server.owned:
            with self._administration().cursor() as cursor:
                remove_leftovers(cursor)

    # ------------------------------------------------------------------------------------------- lifecycle

    def prepare(self) -> None:
        self._reach()
        for database in (self.own, self.template):
            self._run(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")
        self._create(self.own)
        # before the user's schema, which may set another; what was set is copied with the template
        self._run(f"ALTER DATABASE {quoted(self.own)} SET lock_timeout = '{_LOCK_SECONDS}s'")

    def build(self, setup: Callable[[], None]) -> None:
        if not self._created:
            self.prepare()
        setup()
        self._catalog = self._read_catalog()
        self.zone = self._connected().get_parameter_status("TimeZone") or ""
        self._state = {
            name: state for name, state in self._read_all(self._qualified()).items() if state.count > 0
        }
        if self._can_reset() and self.server.superuser:
            restore.normalise(self._connected())
        with self._connected().cursor() as cursor:
            self._settings = read_settings(cursor)
        for attempt in range(_ATTEMPTS):
            self._disconnect()
            try:
                self._run(f"ALTER DATABASE {quoted(self.own)} RENAME TO {quoted(self.template)}")
                break
            except psycopg2.errors.ObjectInUse:  # a pool of the application's opens connections meanwhile
                if attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.05)
        self._created.append(self.template)
        self._clone()
        recorded.strays.discard(self.own)

    def _can_reset(self) -> bool:
        """Return whether what a half changed can be told, and undone in place."""
        return not self.server.isolation(self.isolation).startswith("clone")

    def _create(self, database: str, template: str = "") -> None:
        """Make a database: from one of ours, or empty, with the collation that was asked for."""
        options = (
            f"TEMPLATE {quoted(template)}"
            if template
            else self.server.database_options or "TEMPLATE template0"
        )
        # copying files beats writing the copy to the log, and is the only way there was before 15
        strategy = " STRATEGY file_copy" if self.server.version_number >= 150000 else ""
        self._run(f"CREATE DATABASE {quoted(database)} {options}{strategy}")
        self._created.append(database)

    def _clone(self) -> None:
        """Make the tests' database anew from the template."""
        self._disconnect()
        if self._reference is not None:
            self._reference.close()
        self._run(f"DROP DATABASE IF EXISTS {quoted(self.own)} WITH (FORCE)")
        self._create(self.own, self.template)
        for setting in self._settings:
            self._run(setting)
        self._readers.clear()
        self._base = restore.capture(self._connected()) if self._can_reset() else None
        self._dirty = self._scripted = False
        self._stale = None
        self._quiet_at = self._position() if self._base is None else ""
        for driver in optional.recorded():
            driver.reconnect(self.own)

    def _position(self) -> str:
        """Return where the server writes its log: where that stands still, nobody wrote anything anywhere."""
        with self._administration().cursor() as cursor:
            cursor.execute("SELECT pg_current_wal_insert_lsn()")
            return str(cursor.fetchone()[0])

    def _disconnect(self, close: Callable[[Any], None] = recorded.replace) -> None:
        """Close every connection of ours and every recorded one to the tests' database, which is replaced."""
        recorded.drop_kept(self.own)
        for driver in optional.recorded():
            driver.disconnect(self.own)
        self._sent = None
        for session in (self._restorer, self._holder):
            if session is not None:
                session.close()
        self._restorer = self._holder = None
        for connection in list(recorded.live):
            if connection._database == self.own:
                with contextlib.suppress(psycopg2.Error):
                    close(connection)
        if self._admin is not None:
            self._admin.close()
            self._admin = None

    def start_half(self) -> None:
        try:
            self._make_fresh()
        except psycopg2.Error:
            self._reach()
            self._clone()

    def _reach(self) -> None:
        """Wait for a server that starts again, as it does when one of its processes dies. Raises ServerError."""
        deadline = time.monotonic() + _RESTART
        while True:
            try:
                self._run("SELECT 1")
                return
            except psycopg2.Error as error:
                if self._maintenance is not None:
                    self._maintenance.close()
                if time.monotonic() > deadline:
                    reason = " ".join(str(error).split())
                    raise ServerError(f"the PostgreSQL server of this run is gone: {reason}") from None
                time.sleep(0.05)

    def _make_fresh(self) -> None:
        self._settle()
        if self.own in recorded.strays:
            # somebody wrote between the halves: a thread or a connection that outlived its test
            self.end_half(())
            self._dirty = self._dirty or self._base is None
            recorded.strays.discard(self.own)
        if self._dirty:
            self.reset()
        if self._roles:
            self._drop_roles()
        if self._resets >= _VACUUM_EVERY:
            self._resets = 0
            self._let_go()
            with self._connected().cursor() as cursor:
                cursor.execute("VACUUM pg_class")
        self._hold()

    def end_half(self, statements: Sequence[Statement], hold: bool = False) -> HalfEnd:
        if self.isolation == "rollback":
            if not hold and self._base is not None:
                return self._roll_back(statements)
            self._commit()
        leaks = [*self._end_sessions(), *self._made_roles(statements)]
        if self._base is None:
            if not statements and not self._scripted and self._position() == self._quiet_at:
                return HalfEnd(leaks=leaks)
            self._dirty = True
            return self._everything(leaks)
        try:
            change = restore.changes(
                self._connected(), self._base, self._open_template, self._settled(leaks), self._held
            )
        except psycopg2.Error:
            # the application ended our connection, or changed what it stands on: start over
            self._disconnect()
            self._dirty, self._base = True, None
            return self._everything(leaks)
        if not change:
            return HalfEnd(leaks=leaks)
        self._dirty = True
        self._stale = change
        if change.clone:
            return self._everything(leaks, change)
        end = HalfEnd(self._read_all([self._base.names[oid] for oid in change.written]), None, leaks)
        if not hold:
            self.release()
        return end

    def release(self) -> None:
        if self._stale is not None and not self._stale.clone and self._sent is None:
            self._send_restore(self._stale)

    def keep(self, folder: Path, name: str) -> Kept:
        self._disconnect()
        self._run(
            "SELECT pg_terminate_backend(pid, 2000) FROM pg_stat_activity"
            f" WHERE datname = {ext.adapt(self.own).getquoted().decode()} AND backend_type = 'client backend'"
        )
        database = self._rename(name if self.server.owned else f"{KEPT}{run_of(self.own)}_{name}")
        self._clone()
        if self.server.owned:
            return Kept(str(folder / ARCHIVE), database)
        (folder / _SERVER).write_text(self._place(), encoding="utf-8")
        return Kept(replace(self.server, password="").url(database))

    def remove_kept(self, run: str, folder: Path) -> bool:
        note = folder / _SERVER
        if not note.exists():
            return True
        if note.read_text(encoding="utf-8") != self._place():
            return False
        with self._administration().cursor() as cursor:
            return remove_kept(cursor, run)

    def _place(self) -> str:
        return replace(self.server, password="").url(self.server.maintenance)

    def _rename(self, name: str) -> str:
        """Give the tests' database a free name like this one; return it."""
        for number in itertools.count(1):
            ending = f"_{number}" if number > 1 else ""
            # the longest name that PostgreSQL has; only ASCII is in it
            database = name[: 63 - len(ending)] + ending
            try:
                self._run(f"ALTER DATABASE {quoted(self.own)} RENAME TO {quoted(database)}")
            except psycopg2.errors.DuplicateDatabase:
                continue
            return database
        raise AssertionError

    def _commit(self) -> None:
        """With `rollback` isolation: make what the half committed part of the database, to be kept or reset."""
        connection, self._shared = self._shared, None
        if connection is None or _really_closed(connection):
            return
        connection._nested = False
        with contextlib.suppress(psycopg2.Error):  # a deferred constraint: the test did not get to its check
            connection._end_nested("rollback")
            ext.connection.commit(connection)
        connection.close()

    def _roll_back(self, statements: Sequence[Statement]) -> HalfEnd:
        """Read what the half changed from within its transaction, undo that, and look for what is left."""
        connection, self._shared = self._shared, None
        end = HalfEnd()
        sequences: tuple[int, ...] = ()
        assert self._base is not None
        if connection is not None and not _really_closed(connection):
            connection._nested = False
            try:
                end, sequences = self._undo_nested(connection)
            except psycopg2.Error as error:
                end = HalfEnd(leaks=[f"the database could not be read after the test: {error}"])
            connection.close()
        leaks = [*end.leaks, *self._end_sessions(), *self._made_roles(statements)]
        change = restore.changes(self._connected(), self._base, self._open_template, self._settled(leaks))
        if change.written or change.clone:
            leaks.append("changes through a connection that rollback isolation did not give out")
        if change or sequences:
            self._dirty = True
            counters = change.counters or self._base.counters
            self._stale = replace(change, sequences=(*change.sequences, *sequences), counters=counters)
            if not self.server.superuser and change.written:
                self._stale = replace(self._stale, clone="without superuser rights")
        return replace(end, leaks=leaks)

    def _undo_nested(self, connection: Any) -> tuple[HalfEnd, tuple[int, ...]]:
        assert self._base is not None
        if connection.get_transaction_status() == ext.TRANSACTION_STATUS_INERROR:
            connection._end_nested("rollback")
        with ext.cursor(connection) as cursor:
            own = restore.own_writes(cursor, self._base)
            catalog = None
            names = [self._base.names[oid] for oid in own.tables]
            if own.catalogs:
                catalog = read_catalog(cursor)
                names += [name for name in self._qualified(cursor) if name not in self._base.names.values()]
            state = self._read_all(names, cursor)
        _rollback(connection)
        self._base = restore.excused(self._base, own)
        return HalfEnd(state, catalog if catalog != self._catalog else None), tuple(own.sequences)

    def _everything(self, leaks: list[str], change: restore.Change | None = None) -> HalfEnd:
        """Read the schema, and all tables that are new or may have changed: all of them if nothing tells."""
        try:
            catalog = self._read_catalog()
            if catalog != self._catalog:
                self._readers.clear()
            names = self._qualified()
            if change is not None and self._base is not None:
                unchanged = set(self._base.names.values()) - {self._base.names[oid] for oid in change.written}
                names = [name for name in names if name not in unchanged]
            return HalfEnd(self._read_all(names), catalog if catalog != self._catalog else None, leaks)
        except psycopg2.Error as error:
            self._admin = None
            return HalfEnd(leaks=[*leaks, f"the database could not be read after the test: {error}"])

    def interrupt(self) -> list[str]:
        found = []
        for connection in list(recorded.live):
            if connection._database != self.own or connection.closed:
                continue
            if connection.get_transaction_status() == ext.TRANSACTION_STATUS_ACTIVE:
                self._end_statement(connection)
                found.append(WORKING)
        return found[:1]

    def _end_statement(self, connection: Any) -> None:
        with contextlib.suppress(psycopg2.Error):
            connection.cancel()
        deadline = time.monotonic() + _SETTLE
        while connection.get_transaction_status() == ext.TRANSACTION_STATUS_ACTIVE:
            if time.monotonic() > deadline:
                # it waits for its client, as COPY does, and everything else would wait for it
                self._run(f"SELECT pg_terminate_backend({connection.get_backend_pid()}, 2000)")
                break
            time.sleep(0.002)
        with contextlib.suppress(psycopg2.Error):
            # that its transaction is open goes without saying
            connection._end_nested("rollback") if connection._nested else _rollback(connection)

    def _end_sessions(self) -> list[str]:
        """End what the half left open on recorded connections; return what that was."""
        leaks = []
        for connection in list(recorded.live):
            if connection._database != self.own or connection.closed or not connection._used:
                continue
            if connection.get_transaction_status() != ext.TRANSACTION_STATUS_IDLE:
                leaks.append("an open transaction")
            if connection._locked and self._holds_locks(connection):
                leaks.append("an advisory lock")
            connection._used = connection._locked = False
            if not recorded.end_session(connection):
                with contextlib.suppress(psycopg2.Error):
                    ext.connection.close(connection)
        for driver in optional.recorded():
            found, at_work = driver.end_sessions(self.own)
            leaks += found
            with self._connected().cursor() as cursor:
                for backend in at_work:
                    cursor.execute("SELECT pg_terminate_backend(%s, 2000)", (backend,))
        return list(dict.fromkeys(leaks))

    def _holds_locks(self, connection: Any) -> bool:
        with self._connected().cursor() as cursor:
            cursor.execute(
                "SELECT FROM pg_catalog.pg_locks WHERE locktype = 'advisory' AND pid = %s LIMIT 1",
                (connection.get_backend_pid(),),
            )
            return bool(cursor.rowcount)

    def _made_roles(self, statements: Sequence[Statement]) -> list[str]:
        """Return the roles that a half made, as leaks: they belong to the server, not to the database."""
        made = {name for s in statements if "CREATE" in s.sql.upper() for name in _ROLE.findall(s.sql)}
        if not made:
            return []
        names = [name[1:-1] if name.startswith('"') else name.lower() for name in made]
        with self._administration().cursor() as cursor:
            cursor.execute("SELECT rolname FROM pg_roles WHERE rolname = ANY (%s) ORDER BY 1", (names,))
            found = [name for (name,) in cursor.fetchall()]
        self._roles.update(found)
        return [f"the role {name}, which all databases of the server share" for name in found]

    def _drop_roles(self) -> None:
        """Drop what `_made_roles` found, on a server of ours: what referred to them is gone with the database."""
        for role in sorted(self._roles) if self.server.owned else ():
            with contextlib.suppress(psycopg2.Error):
                self._run(f"DROP ROLE IF EXISTS {quoted(role)}")
        self._roles.clear()

    def _open_template(self) -> Any:
        """Return a connection to the template database, kept until that is copied: nobody may be in it then."""
        if self._reference is None or self._reference.closed:
            self._reference = recorded.native_connect(self.server.dsn(self.template))
            self._reference.autocommit = True
            with self._reference.cursor() as cursor:
                cursor.execute("SET search_path = ''")
        return self._reference

    def _hold(self) -> None:
        """Have the server keep dead rows from here on, where a reset can make them alive again."""
        if self._base is None or self.isolation != "reset":
            return
        if any(table.revivable for table in self._base.large.values()) and not self._try_to_hold():
            self._try_to_hold()  # the one before has timed out

    def _try_to_hold(self) -> bool:
        if self._holder is None or self._holder.closed:
            self._holder = recorded.native_connect(self.address.dsn)
            self._holder.autocommit = True
        try:
            with self._holder.cursor() as cursor:
                cursor.execute(large.HOLD)
        except psycopg2.Error:
            return False
        return True

    def _held(self) -> bool:
        """Return whether that was so all the time."""
        try:
            with self._holder.cursor() as cursor:
                cursor.execute("SELECT 1")
        except (psycopg2.Error, AttributeError):
            return False
        return bool(self._holder.get_transaction_status() == ext.TRANSACTION_STATUS_INTRANS)

    def _let_go(self) -> None:
        if self._holder is not None and not self._holder.closed:
            with contextlib.suppress(psycopg2.Error), self._holder.cursor() as cursor:
                cursor.execute("ROLLBACK")

    def _settled(self, leaks: list[str]) -> Callable[[tuple[int, ...]], bool]:
        """Return what waits for backends that are closing, and ends those that stay."""
        deadline = time.monotonic() + _SETTLE
        ended = False

        def settled(backends: tuple[int, ...]) -> bool:
            pids = self._backends()  # a pool may be connecting
            # by their ids, not by their number: a connection that the server ended still looks open here
            nonlocal ended
            if ended or set(backends) <= set(pids):
                return True
            if time.monotonic() < deadline:
                time.sleep(0.002)
                return False
            with self._connected().cursor() as cursor:
                cursor.execute(
                    "SELECT count(pg_terminate_backend(pid, 2000)) FROM pg_stat_activity WHERE datname ="
                    " current_database() AND pid <> ALL (%s::int[]) AND backend_type = 'client backend'",
                    (pids,),
                )
                if cursor.fetchone()[0]:
                    leaks.append("a connection that the plugin did not open")
            ended = True  # what it wrote is reported now
            return False

        return settled

    def _backends(self) -> list[int]:
        """Return the process ids of all backends that connections of ours and recorded ones have."""
        own = [c for c in recorded.live if c._database == self.own and not _really_closed(c)]
        ours = (self._connected(), self._restorer, self._holder)
        own += [session for session in ours if session is not None and not session.closed]
        pids = [ext.connection.get_backend_pid(connection) for connection in own]
        for driver in optional.recorded():
            pids += driver.backends(self.own)
        return pids

    def _send_restore(self, change: restore.Change) -> None:
        """Have the server undo the change while the next half runs elsewhere; `_settle` waits for it."""
        if self._base is None or not restore.can_be_sent(self._base, change):
            return
        if self._restorer is None:
            self._restorer = recorded.native_connect(self.address.dsn, async_=1)
            wait_select(self._restorer)
        self._resets += 1
        self._sent = self._restorer.cursor()
        self._sent.execute(restore.script(self._base, change))

    def _settle(self) -> None:
        """Wait for what `_send_restore` sent."""
        if self._sent is None:
            return
        cursor, self._sent = self._sent, None
        try:
            wait_select(self._restorer)
            assert self._base is not None
            assert self._stale is not None
            self._base = restore.absorb(self._base, self._stale, cursor.fetchone())
        except psycopg2.Error:
            self._base = None  # a new clone
            return
        self._stale = None
        self._dirty = False

    def contents(self) -> Mapping[str, TableState]:
        return self._read_all(self._qualified())

    def look(self) -> tuple[Mapping[str, TableState], Catalog]:
        if self.isolation == "rollback":
            return {}, Catalog()
        large = self._base.large if self._base is not None else {}
        left_out = {self._base.names[oid] for oid in large} if self._base is not None else set()
        with self._connected().cursor() as cursor:
            cursor.execute(f"SET lock_timeout = {_GLANCE}")
            try:
                names = [name for name in self._qualified(cursor) if name not in left_out]
                return self._read_all(names, cursor), read_catalog(cursor)
            finally:
                cursor.execute("SET lock_timeout = 0")

    def look_through(self, connection: Any, tables: Collection[str]) -> Mapping[str, TableState]:
        if self.isolation == "rollback":
            return {}
        with self._reading(connection) as cursor:
            if cursor is None:
                return {}
            cursor.execute(f"SET LOCAL lock_timeout = {_GLANCE}")
            names = [name for name in self._qualified(cursor) if plain_name(name) in tables]
            return self._read_all([name for name in names if not self._is_large(name)], cursor)

    @contextlib.contextmanager
    def _reading(self, connection: Any) -> Iterator[Any]:
        """Give a cursor that reads in the transaction of a recorded connection, None if it is in none."""
        if isinstance(connection, ext.connection):
            if connection.async_ or connection.get_transaction_status() != ext.TRANSACTION_STATUS_INTRANS:
                yield None
                return
            with ext.cursor(connection) as cursor:
                yield cursor
            return
        found = (driver.reading(connection) for driver in optional.recorded())
        query = next((query for query in found if query is not None), None)
        if query is None:
            yield None
            return
        with self._connected().cursor() as casting:
            yield Through(query, casting)

    def expect_any_change(self) -> None:
        self._scripted = True

    def reset(self) -> None:
        self._settle()
        self._resets += 1
        if self._dirty and self._base is not None and self._stale is not None and not self._stale.clone:
            self._let_go()
            with contextlib.suppress(psycopg2.Error):
                self._base = restore.restore(self._connected(), self._base, self._stale, self._open_template)
                self._stale = None
                self._dirty = self._base is None
        if self._dirty:
            self._clone()

    def close(self) -> None:
        recorded.owns = lambda name: False
        recorded.on_connect = None
        self._disconnect(recorded.discard)
        if self._reference is not None:
            self._reference.close()
        for undo in self._undo:
            undo()
        # a server of ours is thrown away as a whole
        with contextlib.suppress(psycopg2.Error):
            for database in () if self.server.owned else dict.fromkeys(self._created):
                self._run(f"DROP DATABASE IF EXISTS {quoted(database)} WITH (FORCE)")
        if self._maintenance is not None:
            self._maintenance.close()

    # ------------------------------------------------------------------------------------------ connections

    def connect(self, **arguments: Any) -> Any:
        if self.isolation != "rollback" or self.template not in self._created:
            return psycopg2.connect(self.address.dsn, **arguments)
        if self._shared is None or _really_closed(self._shared):
            self._shared = psycopg2.connect(self.address.dsn, **arguments)
            self._shared.nest()
        return self._shared

    def _opened(self, connection: Any) -> None:
        """With `rollback` isolation: keep a connection of the application's from waiting for the test's for ever."""
        if self._shared is not None and connection._database == self.own:
            connection.autocommit = True
            with ext.cursor(connection) as cursor:
                cursor.execute(f"SET lock_timeout = '{_PATIENCE}'")
            connection.autocommit = False

    def _connected(self) -> Any:
        """Return this module's own connection to the tests' database."""
        if self._admin is None or self._admin.closed:
            self._admin = recorded.native_connect(self.address.dsn)
            self._admin.autocommit = True
        return self._admin

    def _administration(self) -> Any:
        """Return the connection from which databases are made and dropped."""
        if self._maintenance is None or self._maintenance.closed:
            self._maintenance = recorded.native_connect(self.server.dsn(self.server.maintenance))
            self._maintenance.autocommit = True
            if not self.server.owned:
                with self._maintenance.cursor() as cursor:
                    claim(cursor, self.own)
        return self._maintenance

    def _run(self, sql: str) -> None:
        with self._administration().cursor() as cursor:
            cursor.execute(sql)

    def run_script(self, sql: str) -> None:
        self._scripted = True
        # a connection of its own: a script may set what would outlive it in the session
        connection = recorded.native_connect(self.address.dsn)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(f"{sql}\n;SELECT")  # a script may hold nothing but comments
        finally:
            connection.close()

    def try_statements(self, statements: Sequence[str]) -> list[Exception | None]:
        name = f"{self.own}_scratch"
        self._create(name)
        connection = recorded.native_connect(self.server.dsn(name))
        connection.autocommit = True
        found: list[Exception | None] = []
        try:
            with connection.cursor() as cursor:
                for text in statements:
                    try:
                        cursor.execute(text)
                        found.append(None)
                    except psycopg2.Error as error:
                        found.append(error)
        finally:
            connection.close()
            self._run(f"DROP DATABASE IF EXISTS {quoted(name)} WITH (FORCE)")
        return found

    # --------------------------------------------------------------------------------------- introspection

    def tables(self) -> list[str]:
        with self._connected().cursor() as cursor:
            cursor.execute(TABLES)
            return [
                name if schema == "public" else f"{schema}.{name}" for schema, name, _ in cursor.fetchall()
            ]

    def _qualified(self, cursor: Any = None) -> list[str]:
        """Return the tables with their schemas, spelled as `restore.Base` has them."""
        with contextlib.nullcontext(cursor) if cursor is not None else self._connected().cursor() as reader:
            reader.execute(TABLES)
            return [name for _, _, name in reader.fetchall()]

    def template_state(self) -> Mapping[str, TableState]:
        return self._state

    def template_catalog(self) -> Catalog:
        return self._catalog

    def _read_all(self, tables: Sequence[str], given: Any = None) -> dict[str, TableState]:
        """Read the contents of tables, in one round trip: values as text, cast as psycopg2 casts them."""
        found: dict[str, TableState] = {}
        for table in tables if given is None else ():
            told = self._read_large(table) if self._is_large(table) else None
            if told is not None:
                found[plain_name(table)] = told
        tables = [table for table in tables if plain_name(table) not in found]
        if not tables:
            return found
        with contextlib.nullcontext(given) if given is not None else self._connected().cursor() as cursor:
            readers = [self._reader(cursor, table) for table in tables]
            cursor.execute(
                " UNION ALL ".join(
                    f"(SELECT {number}, ARRAY[{', '.join(reader.values)}]::text[] FROM {table}"
                    f" LIMIT {MAX_STATE_ROWS + 1})"
                    for number, (table, reader) in enumerate(zip(tables, readers, strict=True))
                )
            )
            rows: list[list[tuple[Any, ...]]] = [[] for _ in tables]
            for number, values in cursor:
                rows[number].append(readers[number].row(values, cursor))
            return found | {
                plain_name(table): table_state(
                    reader.columns,
                    own if len(own) <= MAX_STATE_ROWS else stream(cursor, table, reader),
                )
                for table, reader, own in zip(tables, readers, rows, strict=True)
            }

    def _is_large(self, table: str) -> bool:
        state = self._state.get(plain_name(table))
        return state is not None and state.count > MAX_STATE_ROWS

    def _read_large(self, table: str) -> TableState | None:
        """Read what changed in a table that is large in the template; None if that can't be told."""
        template, base = self._state[plain_name(table)], self._base
        if base is None:
            return None
        with self._connected().cursor() as cursor:
            reader = self._reader(cursor, table)
            paged = base.large.get(next((oid for oid, name in base.names.items() if name == table), 0))
            pages = large.changed_pages(cursor, paged) if paged else None
            if pages is None or reader.columns != template.columns:
                return None
            query = large.select(", ".join(reader.values), table, pages)
            with self._open_template().cursor() as other:
                other.execute(query)
                cursor.execute(query)
                before, now = other.fetchall(), cursor.fetchall()
            rows = [reader.row(row, cursor) for row in only_now(before, now)]
        return changed_state(template.columns, rows, template.count - len(before) + len(now))

    def _reader(self, cursor: Any, table: str) -> Reader:
        """Return how to read a table; kept for the tables of the template."""
        reader = self._readers.get(table)
        if reader is None:
            cursor.execute(
                "SELECT attname, atttypid FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
                " AND NOT attisdropped ORDER BY attnum",
                (table,),
            )
            reader = Reader.of(cursor.fetchall())
            if self._base is not None and table in self._base.names.values():
                self._readers[table] = reader
        return reader

    def _read_catalog(self) -> Catalog:
        with self._connected().cursor() as cursor:
            return read_catalog(cursor)


ARCHIVE = "postgres.cluster"
"""The file for the databases that are kept of a server that was started for the run."""
_ROLE = re.compile(r'\bcreate\s+(?:role|user(?!\s+mapping)|group)\s+("[^"]+"|\w+)', re.I)
_SERVER = "postgres.url"
"""The file that says on which given server a run kept databases, without the password."""


def _each(first: Callable[[Any], None] | None, second: Callable[[Any], None]) -> Callable[[Any], None]:
    """Return what calls both: an application may have several databases."""
    if first is None:
        return second

    def both(connection: Any) -> None:
        first(connection)
        second(connection)

    return both


def _rollback(connection: Any) -> None:
    ext.connection.rollback(connection)


def _really_closed(connection: Any) -> bool:
    return bool(ext.connection.closed.__get__(connection))
