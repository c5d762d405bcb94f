"""Recorded subclasses of the asyncpg driver, and the interception of its connect.

``asyncpg.connect`` and pools call ``connect_utils._connect`` by that name, so replacing it reaches an early
``from asyncpg import connect`` too. The recorded class goes below the application's ``connection_class``.
Every query with arguments, and every fetch, ends in ``Connection._execute``, whose answer has the rows, the
status and whether there were more; what an application calls keeps the place of the call, as it may run in
a task of its own.

A connection belongs to its event loop, so none is kept as those of psycopg2 are. What a pool of the
application keeps open between two tests stays open, and is told to publish its statistics.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import re
import sys
import time
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import asyncpg
import asyncpg.connect_utils
import asyncpg.cursor
import asyncpg.pool
import asyncpg.prepared_stmt

from pytest_dualdb.recorder import Entry, current, failure_of, named_as, placed
from pytest_dualdb.recorder import psycopg2 as recorded_psycopg2
from pytest_dualdb.recorder.optional import Query
from pytest_dualdb.recorder.sqlite3 import recorded_class, tee

_CONNECTION: Any = asyncpg.Connection
_UTILS: Any = asyncpg.connect_utils
_CURSORS: Any = asyncpg.cursor
_STATEMENTS: Any = asyncpg.prepared_stmt
_POOL: Any = asyncpg.pool.Pool
native_connect: Any = _UTILS._connect
live: weakref.WeakSet[Any] = weakref.WeakSet()
"""Connections that are not garbage yet, whoever holds them."""

_PATIENCE = 2.0
"""Seconds in which a connection must answer at the end of a half."""
_MOST_AWAY = 10.0
"""Seconds for which a pool that misses a connection waits for its database."""
_TURN = 0.01
_PING = ";"
"""What SQLAlchemy sends to see whether a connection lives; no application does."""
_COUNT = re.compile(r"\d+$")
_FRESH = (
    "CLOSE ALL; UNLISTEN *; SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)
"""Ends what a session holds, but not its settings and prepared statements: a pool made those for good."""


class RecordedConnection(_CONNECTION):  # type: ignore[misc]
    """A connection that reports its calls and those of its statements and cursors."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._used = True
        self._failed = False
        self._prepared: Any = None
        live.add(self)

    @property
    def _database(self) -> str:
        return str(self._params.database)

    def _entry(self, kind: str, query: Any, params: Any) -> Entry | None:
        """Begin the record of one call."""
        recorder = current()
        self._used = True
        if recorder is None or recorder.backend != "postgres":
            recorded_psycopg2.strays.add(self._database)
        if recorder is None or self._protocol is None or query == _PING:
            return None
        text = query if isinstance(query, str) else repr(query)
        entry = recorder.open(kind, text, params, self, "postgres", self._database)
        if entry is not None:
            entry.in_transaction = self._protocol.is_in_transaction()
            self._failed = entry.aborted = self._failed and entry.in_transaction
        return entry

    async def _told(self, entry: Entry | None, call: Coroutine[Any, Any, Any]) -> Any:
        """Run a call; its time and its error go into the record."""
        if entry is None:
            return await call
        start = time.perf_counter()
        try:
            found = await call
        except StopAsyncIteration:
            raise
        except Exception as error:  # what is cancelled says nothing of the database
            entry.error = entry.error or failure_of(error)
            self._failed = self._failed or isinstance(error, asyncpg.PostgresError)
            raise
        finally:
            entry.seconds += time.perf_counter() - start
        self._failed = False  # nothing succeeds in a failed transaction but its end
        return found

    async def _get_statement(self, *args: Any, **kwargs: Any) -> Any:
        self._prepared = prepared = await super()._get_statement(*args, **kwargs)
        return prepared

    def execute(self, query: str, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, str]:
        kind = _kind(sys._getframe(1).f_globals.get("__name__"), query)
        call: Coroutine[Any, Any, str] = self._issue(query, kind, args, kwargs)
        return call

    async def _shown(self) -> None:
        """Let be read what ends without a commit: elsewhere, as that waits for answers that this loop brings."""
        recorder = current()
        if recorder is not None and recorder.ending and not recorder.paused and self.is_in_transaction():
            with ThreadPoolExecutor(1, "dualdb") as pool:
                await self._loop.run_in_executor(pool, recorder.given_up, self)

    async def close(self, **kwargs: Any) -> None:
        if not self.is_closed():
            await self._shown()
        await super().close(**kwargs)

    async def _run(self, query: str, kind: str, args: Any, kwargs: Any) -> Any:
        if kind == "rollback":
            await self._shown()
        native = super().execute(query, *args, **kwargs)
        if args or not kind:
            return await native  # with arguments, `_execute` records it
        entry = self._entry(kind, kind.upper() if kind in ("commit", "rollback") else query, None)
        status = await self._told(entry, native)
        if entry is not None:
            entry.rowcount = _rowcount(status)
        return status

    _issue: Any = placed(_run)

    async def _execute(
        self, query: Any, args: Any, limit: int, timeout: Any, *, return_status: bool = False, **kwargs: Any
    ) -> Any:
        native = super()._execute(query, args, limit, timeout, return_status=True, **kwargs)
        # what looks up types of its own accord
        entry = None if kwargs.get("ignore_custom_codec") else self._entry("execute", query, tuple(args))
        found = await self._told(entry, native)
        if entry is not None:
            self._answered(entry, found, limit, seen=not return_status)
        return found if return_status else found[0]

    def _answered(self, entry: Entry, found: Any, limit: int, *, seen: bool) -> None:
        """Take the answer of one execution: rows, status, and whether these were all."""
        rows, status, complete = found
        entry.description = _described(self._prepared)
        if complete and status:
            entry.rowcount = _rowcount(status)
        if not seen or entry.description is None:
            return
        if limit == 1:
            entry.fetched_one(rows[0] if rows else None)
        else:
            entry.fetched_many(rows, limit or None)

    async def _executemany(self, query: Any, args: Any, *rest: Any, **kwargs: Any) -> Any:
        given, seen = _sets(args)
        native = super()._executemany(query, given, *rest, **kwargs)
        return await _many(self, query, seen, native)

    async def _prepare(self, query: str, **kwargs: Any) -> Any:
        try:
            return await super()._prepare(query, **kwargs)
        except asyncpg.PostgresError as error:
            # what can't be prepared is never executed, and this is how the application learns of it
            entry = self._entry("execute", query, None)
            if entry is not None:
                entry.error = failure_of(error)
            self._failed = True
            raise

    async def _copied(self, text: str, native: Coroutine[Any, Any, str]) -> str:
        entry = self._entry("copy", text, None)
        status: str = await self._told(entry, native)
        if entry is not None:
            entry.rowcount = _rowcount(status)
        return status

    async def copy_from_table(self, table_name: str, **kwargs: Any) -> str:
        return await self._copied(
            f"COPY {table_name} TO STDOUT", super().copy_from_table(table_name, **kwargs)
        )

    async def copy_from_query(self, query: str, *args: Any, **kwargs: Any) -> str:
        return await self._copied(
            f"COPY ({query}) TO STDOUT", super().copy_from_query(query, *args, **kwargs)
        )

    async def copy_to_table(self, table_name: str, **kwargs: Any) -> str:
        return await self._copied(
            f"COPY {table_name} FROM STDIN", super().copy_to_table(table_name, **kwargs)
        )

    async def copy_records_to_table(self, table_name: str, **kwargs: Any) -> str:
        return await self._copied(
            f"COPY {table_name} FROM STDIN", super().copy_records_to_table(table_name, **kwargs)
        )


def _kind(caller: str | None, query: str) -> str:
    """Return how to record what somebody executes, empty for what asyncpg does of its own accord.

    The begin of its transactions is not recorded, as psycopg2's is not; nor is how a pool resets a session.
    """
    if caller == "asyncpg.transaction":
        words = query.rstrip(";").upper().split()
        return {"BEGIN": "", "COMMIT": "commit", "ROLLBACK": "rollback"}.get(
            words[0] if "TO" not in words else "", "execute"
        )
    if caller == "asyncpg.connection":
        return "rollback" if query == "ROLLBACK" else ""
    return "execute"


_CALLS = (
    "executemany", "fetch", "fetchrow", "fetchval", "fetchmany", "prepare",
    "copy_from_table", "copy_from_query", "copy_to_table", "copy_records_to_table",
)  # fmt: skip
"""What an application calls on connections and pools."""


def _described(prepared: Any) -> Any:
    """Return the columns of a prepared statement, None if it gives no rows."""
    return (prepared._get_attributes() or None) if prepared is not None else None


def _rowcount(status: str | bytes | None) -> int:
    """Return the number of rows that a status such as ``INSERT 0 1`` tells, -1 for none."""
    text = status.decode() if isinstance(status, bytes) else status or ""
    found = _COUNT.search(text)
    return int(found[0]) if found else -1


def _sets(args: Any) -> tuple[Any, Any]:
    """Return what to give to executemany, and the list that holds what it reads."""
    if isinstance(args, list | tuple):
        return args, args
    seen: list[Any] = []
    if isinstance(args, AsyncIterator) or hasattr(args, "__aiter__"):
        return _tee(args, seen), seen
    return tee(args, seen) if isinstance(args, Iterable) else args, seen


async def _tee(items: Any, seen: list[Any]) -> AsyncIterator[Any]:
    async for item in items:
        seen.append(item)
        yield item


async def _many(connection: RecordedConnection, query: str, seen: Any, native: Any) -> Any:
    """Record one call of executemany or fetchmany, which gives rows."""
    entry = connection._entry("executemany", query, None)
    try:
        rows = await connection._told(entry, native)
    finally:
        if entry is not None:
            entry.params = [tuple(one) for one in seen]
    if entry is not None and rows is not None:
        entry.description = _described(connection._prepared)
        entry.fetched_many(rows, None)
    return rows


# ------------------------------------------------------------------------------ prepared statements, cursors


class RecordedStatement(_STATEMENTS.PreparedStatement):  # type: ignore[misc]
    """A prepared statement that reports its executions."""

    __slots__ = ()

    async def _PreparedStatement__bind_execute(self, args: Any, limit: int, timeout: Any) -> Any:
        native = super()._PreparedStatement__bind_execute(args, limit, timeout)
        connection = self._connection
        if not isinstance(connection, RecordedConnection):
            return await native
        entry = connection._entry("execute", self._query, tuple(args))
        rows = await connection._told(entry, native)
        if entry is not None:
            connection._prepared = self._state
            # with a limit, the status is that of all rows or there is none
            connection._answered(entry, (rows, self._last_status, True), limit, seen=True)
        return rows

    async def executemany(self, args: Any, **kwargs: Any) -> Any:
        return await self._many(super().executemany, args, **kwargs)

    async def fetchmany(self, args: Any, **kwargs: Any) -> Any:
        return await self._many(super().fetchmany, args, **kwargs)

    async def _many(self, call: Callable[..., Any], args: Any, **kwargs: Any) -> Any:
        connection = self._connection
        if not isinstance(connection, RecordedConnection):
            return await call(args, **kwargs)
        given, seen = _sets(args)
        connection._prepared = self._state
        return await _many(connection, self._query, seen, call(given, **kwargs))


class _RecordedCursor:
    """What the two kinds of cursors have in common."""

    __slots__ = ()

    def _begin(self: Any) -> None:
        if isinstance(self._connection, RecordedConnection):
            self._recorded = self._connection._entry("execute", self._query, tuple(self._args))

    async def _step(self: Any, call: Coroutine[Any, Any, Any]) -> Any:
        entry = self._recorded
        if entry is None:
            return await call
        found = await self._connection._told(entry, call)
        if entry.description is None:
            entry.description = _described(self._state)
        return found


class RecordedIterator(_RecordedCursor, _CURSORS.CursorIterator):  # type: ignore[misc]
    """A cursor for ``async for`` that reports the rows that it gives."""

    __slots__ = ("_recorded",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorded: Entry | None = None
        self._begin()

    async def __anext__(self) -> Any:
        try:
            row = await self._step(super().__anext__())
        except StopAsyncIteration:
            if self._recorded is not None:
                self._recorded.fetched_one(None)
            raise
        if self._recorded is not None:
            self._recorded.fetched_one(row)
        return row


class RecordedCursor(_RecordedCursor, _CURSORS.Cursor):  # type: ignore[misc]
    """An open cursor that reports the rows that it gives."""

    __slots__ = ("_recorded",)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._recorded: Entry | None = None

    async def _init(self, timeout: Any) -> Any:
        self._begin()
        return await self._step(super()._init(timeout))

    async def fetch(self, n: int, **kwargs: Any) -> Any:
        rows = await self._step(super().fetch(n, **kwargs))
        if self._recorded is not None:
            self._recorded.fetched_many(rows, n)
        return rows

    async def fetchrow(self, **kwargs: Any) -> Any:
        row = await self._step(super().fetchrow(**kwargs))
        if self._recorded is not None:
            self._recorded.fetched_one(row)
        return row


for _class, _native in (
    (RecordedConnection, _CONNECTION), (RecordedStatement, _STATEMENTS.PreparedStatement),
    (RecordedIterator, _CURSORS.CursorIterator), (RecordedCursor, _CURSORS.Cursor),
):  # fmt: skip
    named_as(_class, _native.__name__, _native.__module__)


# --------------------------------------------------------------------------------------- the end of a half


def _open(database: str) -> list[Any]:
    return [one for one in list(live) if one._database == database and not one.is_closed()]


def end_sessions(database: str) -> tuple[list[str], list[int]]:
    leaks: list[str] = []
    for connection in _open(database):
        loop = connection._loop
        if loop.is_closed():
            if connection._protocol.is_in_transaction():
                leaks.append("an open transaction")
            _abandon(connection)
        elif connection._used:
            if not _completed(loop, _refresh(connection, leaks)):
                _terminate(connection)
            connection._used = False
    return list(dict.fromkeys(leaks)), []


async def _refresh(connection: Any, leaks: list[str]) -> None:
    """End what a session holds, and have it publish what it wrote."""
    query = functools.partial(connection._protocol.query, timeout=_PATIENCE)
    if connection._protocol.is_in_transaction():
        leaks.append("an open transaction")
        connection._top_xact = None
        await query("ROLLBACK")
    version = connection._server_version.major
    await query(_FRESH + ("; SELECT pg_stat_force_next_flush()" if version >= 15 else ""))


def _completed(loop: Any, call: Coroutine[Any, Any, Any]) -> bool:
    """Run a coroutine on the loop of a connection, whoever runs that; return whether it succeeded."""
    with contextlib.suppress(Exception):
        if not loop.is_running():
            if asyncio._get_running_loop() is None:
                loop.run_until_complete(asyncio.wait_for(call, _PATIENCE))
                return True
        elif loop is not asyncio._get_running_loop():
            asyncio.run_coroutine_threadsafe(call, loop).result(_PATIENCE)
            return True
    call.close()
    return False


def _terminate(connection: Any) -> None:
    """End a connection that does not answer; its pool learns that it is closed."""
    loop = connection._loop
    if loop.is_closed():
        _abandon(connection)
    elif loop.is_running() and loop is not asyncio._get_running_loop():
        with contextlib.suppress(RuntimeError):  # it has stopped in the meantime
            loop.call_soon_threadsafe(connection.terminate)
    else:
        connection.terminate()


def _abandon(connection: Any) -> None:
    """End a connection whose event loop is closed: nothing can be sent, and nobody can use it any more."""
    transport = connection._transport
    connection._aborted = True
    with contextlib.suppress(Exception):
        # else its finalizer warns of what is no concern of the test that it happens in
        inner = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None) or transport
        if inner is not transport:
            transport._closed = True
        inner._sock.close()
        inner._sock = None


def reading(connection: Any) -> Query | None:
    if not isinstance(connection, RecordedConnection) or connection.is_closed():
        return None
    loop = connection._loop
    if not connection.is_in_transaction() or not loop.is_running() or loop is asyncio._get_running_loop():
        return None

    def query(sql: str, params: Sequence[str]) -> list[tuple[Any, ...]]:
        call = connection.fetch(sql.replace("%s", "$1::text") if params else sql, *params, timeout=_PATIENCE)
        return list(map(tuple, asyncio.run_coroutine_threadsafe(call, loop).result()))

    return query


def backends(database: str) -> list[int]:
    return [connection.get_server_pid() for connection in _open(database)]


def disconnect(database: str) -> None:
    _away.add(database)
    for connection in _open(database):
        record = _records.get(connection)
        if record is not None:
            record.invalidate(soft=True)
        loop = connection._loop
        if loop.is_closed() or not _completed(loop, connection.close(timeout=_PATIENCE)):
            _terminate(connection)


def reconnect(database: str) -> None:
    """Let pools open what they miss."""
    _away.discard(database)


_away: set[str] = set()
"""Databases that are gone for the moment, or with the run: who connects has to wait."""
_records: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""What SQLAlchemy's pool knows a connection by: it does not look whether one that it holds is closed."""


def _know_pools() -> None:
    """Have SQLAlchemy tell which connections its pools hold, if the application has imported it."""
    pool = sys.modules.get("sqlalchemy.pool")
    event = sys.modules.get("sqlalchemy.event")
    if pool is not None and event is not None and not event.contains(pool.Pool, "connect", _pooled):
        event.listen(pool.Pool, "connect", _pooled)


def _pooled(connection: Any, record: Any) -> None:
    inner = getattr(connection, "driver_connection", None)
    if isinstance(inner, RecordedConnection):
        _records[inner] = record


# --------------------------------------------------------------------------------------------- interception


async def _connect(**kwargs: Any) -> Any:
    """Open a recorded connection: stands in for ``asyncpg.connect_utils._connect``."""
    deadline = time.monotonic() + _MOST_AWAY
    wanted = f"{kwargs.get('dsn')} {kwargs.get('database') or os.environ.get('PGDATABASE')}"
    while any(database in wanted for database in _away) and time.monotonic() < deadline:
        await asyncio.sleep(_TURN)
    _know_pools()
    dsn = kwargs.get("dsn")
    if isinstance(dsn, str):
        kwargs["dsn"] = recorded_psycopg2.plain_urls.get(dsn, dsn)
    kwargs["connection_class"] = recorded_class(kwargs["connection_class"], RecordedConnection)
    return await native_connect(**kwargs)


for _name in _CALLS:
    if hasattr(_CONNECTION, _name):
        setattr(RecordedConnection, _name, placed(getattr(RecordedConnection, _name)))
for _name in ("fetch", "fetchrow", "fetchval", "fetchmany", "executemany"):
    if hasattr(_STATEMENTS.PreparedStatement, _name):
        setattr(RecordedStatement, _name, placed(getattr(RecordedStatement, _name)))


def intercept() -> Callable[[], None]:
    changed = [
        (_UTILS, "_connect", _connect),
        (_STATEMENTS, "PreparedStatement", RecordedStatement),
        (_CURSORS, "CursorIterator", RecordedIterator),
        (_CURSORS, "Cursor", RecordedCursor),
        *(
            (_POOL, name, placed(getattr(_POOL, name)))
            for name in ("execute", *_CALLS)
            if hasattr(_POOL, name)
        ),
    ]
    natives = [(owner, name, getattr(owner, name)) for owner, name, _ in changed]
    for owner, name, ours in changed:
        setattr(owner, name, ours)

    def undo() -> None:
        for owner, name, native in natives:
            setattr(owner, name, native)

    return undo
