"""The recorded connections of psycopg 3, sync and async, how they are put in place, and kept backends.

Every connection and cursor is made by calling its class, also by pools, by `connect` under whatever name,
and where an application makes a cursor itself (``ClientCursor(connection)``). So the driver's classes give
an instance of the recording subclass, which lies below the application's class in the method resolution
order. This module is imported when the application has imported the driver, by `optional`.

What is sent to a server is a `PGconn`, a part of the connection that can be exchanged, and knows no event loop.
Closed connections leave theirs for another `connect`; those that outlive a test, as in a pool, go on
working on the fresh database, and keep their session's settings as they would in production.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer

from pytest_dualdb.recorder import Entry, current, failure_of, named_as
from pytest_dualdb.recorder import psycopg2 as base
from pytest_dualdb.recorder.optional import Query
from pytest_dualdb.recorder.psycopg_cursors import (
    RecordedAsyncCursor,
    RecordedAsyncServerCursor,
    RecordedCursor,
    RecordedServerCursor,
    State,
    plain_text,
)
from pytest_dualdb.recorder.sqlite3 import recorded_class

if TYPE_CHECKING:
    _Native = Any
else:
    _Native = object

_IDLE = pq.TransactionStatus.IDLE
_ACTIVE = pq.TransactionStatus.ACTIVE
_INERROR = pq.TransactionStatus.INERROR
_INTRANS = pq.TransactionStatus.INTRANS
_OK = pq.ConnStatus.OK
_BAD = pq.ConnStatus.BAD
_MAX_KEPT = 16
_LOCK_SECONDS = 0.2
"""Seconds to wait at the end of a half for a thread that still uses a connection."""


class _Connected(_Native):  # type: ignore[misc]
    """What connections of both kinds share."""

    _dualdb: State

    def __init__(self, pgconn: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(pgconn, *args, **kwargs)
        self._dualdb = State(pgconn.db.decode("utf-8", "replace"))
        with _guard:
            live.add(self)

    def _open(self, kind: str, text: str) -> Entry | None:
        recorder = current()
        if recorder is None:
            return None
        entry = recorder.open(kind, text, None, self, "postgres", self._dualdb.database)
        if entry is not None:
            status = self.pgconn.transaction_status
            entry.aborted = status == _INERROR
            entry.in_transaction = status != _IDLE
        return entry

    def _exec_command(self, command: Any, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        """Record the ends of `transaction` blocks, which the driver sends by itself."""
        self._dualdb.used = True
        kind = "" if self._dualdb.ending else _ENDS.get(command, "") if isinstance(command, bytes) else ""
        self._dualdb.inside = True
        try:
            entry = self._open(kind, kind.upper()) if kind else None
        finally:
            self._dualdb.inside = False
        if entry is None:
            return (yield from super()._exec_command(command, *args, **kwargs))
        start = time.perf_counter()
        try:
            return (yield from super()._exec_command(command, *args, **kwargs))
        except psycopg.Error as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start

    @contextlib.contextmanager
    def _ended(self, kind: str) -> Iterator[None]:
        """Record a call of commit or rollback, also one that the driver refuses or has nothing to do for."""
        entry = self._open(kind, kind.upper())
        self._dualdb.ending = True
        start = time.perf_counter()
        try:
            yield
        except psycopg.Error as error:
            if entry is not None:
                entry.error = failure_of(error)
            raise
        finally:
            self._dualdb.ending = False
            if entry is not None:
                entry.seconds = time.perf_counter() - start

    def _given_back(self) -> bool:
        """Leave the backend for another connection; False if the driver has to close this one."""
        recorder = current()
        if recorder is not None:
            recorder.given_up(self)
        state = self._dualdb
        if state.lost:  # it has no backend, and shall not get another one
            state.lost = False
            self._closed = True
            return True
        return keep(self)


class RecordedConnection(_Connected, psycopg.Connection[Any]):
    """A connection that reports its calls and those of its cursors, and whose backend can be kept."""

    def commit(self) -> None:
        with self._ended("commit"):
            super().commit()

    def rollback(self) -> None:
        if self._dualdb.lost:  # with its backend went all that there was to undo
            return
        with self._ended("rollback"):
            super().rollback()

    def close(self) -> None:
        if not self._given_back():
            super().close()


class RecordedAsyncConnection(_Connected, psycopg.AsyncConnection[Any]):
    """An async connection that reports its calls and those of its cursors, and whose backend can be kept."""

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        recorder = current()
        place = None if recorder is None else recorder.place(plain_text(query, self))
        native = super().execute

        async def execute() -> Any:
            # the cursor's own call follows without anything between
            self._dualdb.place = place
            try:
                return await native(query, params, **kwargs)
            finally:
                self._dualdb.place = None

        return execute()

    async def commit(self) -> None:
        with self._ended("commit"):
            await super().commit()

    async def rollback(self) -> None:
        if self._dualdb.lost:
            return
        with self._ended("rollback"):
            await super().rollback()

    async def close(self) -> None:
        if not self._given_back():
            await super().close()


_ENDS = {b"COMMIT": "commit", b"ROLLBACK": "rollback"}

for _class, _name in (
    (RecordedConnection, "Connection"), (RecordedAsyncConnection, "AsyncConnection"),
    (RecordedCursor, "Cursor"), (RecordedServerCursor, "ServerCursor"),
    (RecordedAsyncCursor, "AsyncCursor"), (RecordedAsyncServerCursor, "AsyncServerCursor"),
):  # fmt: skip
    named_as(_class, _name, "psycopg")
_mark = getattr(inspect, "markcoroutinefunction", None)  # since Python 3.12
if _mark is not None:
    for _method in (
        RecordedAsyncCursor.execute,
        RecordedAsyncCursor.executemany,
        RecordedAsyncConnection.execute,
    ):
        _mark(_method)


# ------------------------------------------------------------------------------------------- kept backends

_guard = threading.Lock()
live: weakref.WeakSet[Any] = weakref.WeakSet()
"""Connections that are not garbage yet, whoever holds them."""
_kept: dict[tuple[int, str], list[Any]] = {}
"""Backends that wait for a connection, by process and connection string."""


def keep(connection: Any) -> bool:
    """End the connection's session but keep its backend; False if it has to be closed for good."""
    state: State = connection._dualdb
    pgconn = connection.pgconn
    if not state.keep or not base.owns(state.database) or pgconn.status != _OK:
        return False
    if getattr(getattr(connection, "_pool", None), "close_returns", False):
        return False  # it goes back to its pool, and is not closed
    if getattr(connection, "_num_transactions", 0):
        return False  # the block's end still asks for the backend
    if _at_work(connection) or sum(map(len, _kept.values())) >= _MAX_KEPT:
        return False
    if not _end_session(pgconn, base.DISCARD):
        return False
    pgconn.notice_handler = pgconn.notify_handler = None
    connection.pgconn = _dead()
    connection._closed = True
    with _guard:
        _kept.setdefault((os.getpid(), state.conninfo), []).append(pgconn)
    return True


def _take(conninfo: str) -> Any:
    """Return a kept backend that nothing else refers to any more, None if there is none."""
    with _guard:
        kept = _kept.get((os.getpid(), conninfo), [])
        # by index: what enumerate() gives would hold a reference itself
        for index in range(len(kept) - 1, -1, -1):
            pgconn = kept[index]
            if sys.getrefcount(pgconn) <= base.EXCLUSIVE and pgconn.status == _OK:
                del kept[index]
                return pgconn
    return None


@functools.cache
def _dead() -> Any:
    """Return what a closed connection has instead of a backend."""
    pgconn = pq.PGconn.connect_start(b"host=/nonexistent")
    pgconn.finish()
    return pgconn


_HELD = "CLOSE ALL; SELECT pg_advisory_unlock_all(); DISCARD TEMP; DISCARD SEQUENCES"
"""For a connection that the application keeps: its settings, as of a pool that sets them up once, stay."""


def _end_session(pgconn: Any, script: str) -> bool:
    """Roll back, run the script and publish the backend's statistics; False if it is of no more use."""
    if pgconn.transaction_status != _IDLE:
        script = f"ROLLBACK; {script}"
    if pgconn.server_version >= 150000:
        script += "; SELECT pg_stat_force_next_flush()"
    try:
        status = pgconn.exec_(script.encode()).status
    except psycopg.Error:
        return False
    return status in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK)


def _at_work(connection: Any) -> bool:
    """Return whether a statement is under way: nothing may be sent then."""
    pgconn = connection.pgconn
    busy: bool = pgconn.transaction_status == _ACTIVE
    return busy or pgconn.pipeline_status != pq.PipelineStatus.OFF


@contextlib.contextmanager
def _alone(connection: Any) -> Iterator[bool]:
    """Keep other threads off the connection; False if one has it, or a task."""
    lock = connection.lock
    if isinstance(connection, psycopg.AsyncConnection):
        yield not lock.locked()
        return
    taken = lock.acquire(timeout=_LOCK_SECONDS)
    try:
        yield taken
    finally:
        if taken:
            lock.release()


def _open_on(database: str) -> list[Any]:
    with _guard:
        found = list(live)
    return [c for c in found if c._dualdb.database == database and c.pgconn.status != _BAD]


# --------------------------------------------------------------- what isolation asks (`optional.Sessions`)


def end_sessions(database: str) -> tuple[list[str], list[int]]:
    leaks: dict[str, None] = {}
    at_work: list[int] = []
    for connection in _open_on(database):
        state: State = connection._dualdb
        if not state.used:
            continue
        pgconn = connection.pgconn
        if _at_work(connection):
            leaks["a statement that was still running"] = None
            at_work.append(pgconn.backend_pid)
            continue
        with _alone(connection) as alone:
            idle = pgconn.transaction_status == _IDLE
            if not idle:
                leaks["an open transaction"] = None
            if not alone:  # who waits for notifications has it for good, and nothing open
                at_work.extend([] if idle else [pgconn.backend_pid])
                continue
            state.used = False
            if not _end_session(pgconn, _HELD):
                pgconn.finish()
    return list(leaks), at_work


def reading(connection: Any) -> Query | None:
    if not isinstance(connection, _Connected):
        return None
    pgconn = connection.pgconn
    if pgconn.status != _OK or pgconn.transaction_status != _INTRANS:
        return None
    if connection.lock.locked() and not connection._dualdb.inside:
        return None  # another thread or task is about to use it
    if pgconn.pipeline_status != pq.PipelineStatus.OFF:
        return None
    return functools.partial(_read, pgconn)


def _read(pgconn: Any, sql: str, params: Sequence[str]) -> list[tuple[Any, ...]]:
    """Run a query on a backend itself, whichever kind of connection it serves."""
    values = [value.encode() for value in params]
    if values:
        answer = pgconn.exec_params(sql.replace("%s", "$1::text").encode(), values)
    else:
        answer = pgconn.exec_(sql.encode())
    if answer.status not in (pq.ExecStatus.COMMAND_OK, pq.ExecStatus.TUPLES_OK):
        raise psycopg.DatabaseError(answer.error_message.decode("utf-8", "replace"))
    transformer = Transformer()
    transformer.set_pgresult(answer)
    return transformer.load_rows(0, answer.ntuples, tuple)


def backends(database: str) -> list[int]:
    with _guard:
        kept = [pgconn for found in _kept.values() for pgconn in found]
    pgconns = [pgconn for pgconn in kept if pgconn.status == _OK and pgconn.db.decode() == database]
    return [pgconn.backend_pid for pgconn in (*pgconns, *(c.pgconn for c in _open_on(database)))]


def disconnect(database: str) -> None:
    drop_kept(database)
    for connection in _open_on(database):
        state: State = connection._dualdb
        if not state.conninfo or _at_work(connection):
            continue
        with _alone(connection) as alone:
            if not alone:
                continue
            pgconn = connection.pgconn
            with contextlib.suppress(psycopg.Error):
                if pgconn.transaction_status != _IDLE:
                    pgconn.exec_(b"ROLLBACK")
                answer = pgconn.exec_(_SETTINGS)
                state.settings = [
                    (answer.get_value(row, 0), answer.get_value(row, 1)) for row in range(answer.ntuples)
                ]
            pgconn.finish()
            state.lost = True


_SETTINGS = b"SELECT name, setting FROM pg_settings WHERE source = 'session'"


def reconnect(database: str) -> None:
    with _guard:
        lost = [c for c in live if c._dualdb.lost and c._dualdb.database == database]
    for connection in lost:
        state: State = connection._dualdb
        pgconn = pq.PGconn.connect(state.conninfo.encode())
        if pgconn.status != _OK:
            continue
        for setting in state.settings:
            pgconn.exec_params(b"SELECT set_config($1, $2, false)", setting)
        pgconn.nonblocking = 1
        old = connection.pgconn
        pgconn.notice_handler, pgconn.notify_handler = old.notice_handler, old.notify_handler
        prepared = type(connection._prepared)()
        prepared.prepare_threshold = connection._prepared.prepare_threshold
        prepared.prepared_max = connection._prepared.prepared_max
        connection._prepared = prepared
        connection.pgconn = pgconn
        state.lost = False
        state.used = False


def drop_kept(database: str | None = None) -> None:
    """Close the kept backends for good, those of one database or all."""
    with _guard:
        for key, found in list(_kept.items()):
            for pgconn in list(found):
                if database is None or pgconn.status != _OK or pgconn.db.decode() == database:
                    found.remove(pgconn)
                    pgconn.finish()
            if not found:
                del _kept[key]


# -------------------------------------------------------------------------------------------- interception

_CONNECTIONS = (
    (psycopg.AsyncConnection, RecordedAsyncConnection),
    (psycopg.Connection, RecordedConnection),
)
_CURSORS = (
    (psycopg.AsyncServerCursor, RecordedAsyncServerCursor),
    (psycopg.ServerCursor, RecordedServerCursor),
    (psycopg.AsyncCursor, RecordedAsyncCursor),
    (psycopg.Cursor, RecordedCursor),
)
_recording = False
_classes: dict[type, type] = {}


def _recorded(given: type, kinds: Any) -> type:
    """Return the recording class for the driver's or the application's."""
    made = _classes.get(given)
    if made is None:
        native, recording = next(pair for pair in kinds if issubclass(given, pair[0]))
        made = _classes[given] = recording if given is native else recorded_class(given, recording)
    return made


def _new_connection(cls: Any, *args: Any, **kwargs: Any) -> Any:
    return object.__new__(_recorded(cls, _CONNECTIONS) if _recording else cls)


def _new_cursor(cls: Any, connection: Any = None, *args: Any, **kwargs: Any) -> Any:
    recorded = isinstance(connection, _Connected)
    return object.__new__(_recorded(cls, _CURSORS) if recorded else cls)


_native_connect = getattr(psycopg.BaseConnection, "_connect_gen", None)


def _connect_gen(cls: Any, conninfo: str = "", *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
    """Make a connection, of a kept backend if there is one; stands in for the driver's own generator."""
    assert _native_connect is not None
    pgconn = _take(conninfo) if _recording else None
    if pgconn is not None:
        connection = cls(pgconn)
        connection._autocommit = bool(kwargs.get("autocommit", False))  # as in psycopg 3.1
    else:
        connection = yield from _native_connect.__func__(cls, conninfo, *args, **kwargs)
    if isinstance(connection, _Connected):
        connection._dualdb.conninfo = conninfo
        connection._dualdb.keep = True
    return connection


def intercept() -> Callable[[], None]:
    """Record what is opened from here on; return what ends that.

    The driver's classes are changed for good: Python does not take back a `__new__`, so that it stays, and
    does what there was before.
    """
    global _recording
    _recording = True
    for native, _ in _CONNECTIONS:
        native.__new__ = staticmethod(_new_connection)  # type: ignore[method-assign]
    for cursor in (psycopg.Cursor, psycopg.AsyncCursor):
        cursor.__new__ = staticmethod(_new_cursor)  # type: ignore[method-assign]
    if _native_connect is not None:
        psycopg.BaseConnection._connect_gen = classmethod(_connect_gen)  # type: ignore[assignment, method-assign]

    def undo() -> None:
        global _recording
        _recording = False
        drop_kept()
        if _native_connect is not None:
            psycopg.BaseConnection._connect_gen = _native_connect  # type: ignore[method-assign]

    return undo
