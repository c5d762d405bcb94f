"""What recording needs to know of aiosqlite, which runs each connection of sqlite3 on a thread of its own.

The statements are recorded by `pytest_dualdb.recorder.sqlite3`. On that thread nothing tells who asked for
them, so that the place and the task of the caller go there with the call.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import sqlite3
import threading
import weakref
from collections.abc import Callable
from typing import Any

import aiosqlite
import aiosqlite.core as core

from pytest_dualdb.recorder import Place, current, issued_at, placed, text_in
from pytest_dualdb.recorder.sqlite3 import RecordedConnection

_CONNECTION: Any = aiosqlite.Connection
_CURSOR: Any = aiosqlite.Cursor
_native_execute: Any = _CONNECTION._execute
_native_connect: Any = _CONNECTION._connect
_live: weakref.WeakKeyDictionary[Any, Any] = weakref.WeakKeyDictionary()
"""Connections that are not garbage yet, and the event loop that each belongs to."""
_PATIENCE = 2.0
"""Seconds to wait for a connection's thread; it may be in a statement that takes long."""


async def _connect(self: Any) -> Any:
    _live[self] = asyncio.get_running_loop()
    return await _native_connect(self)


async def _execute(self: Any, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Queue a call for the connection's thread: stands in for ``aiosqlite.Connection._execute``."""
    recorder = current()
    if recorder is None:
        return await _native_execute(self, fn, *args, **kwargs)
    place = recorder.place(text_in(args))
    lane = recorder.lane()

    def call(*args: Any, **kwargs: Any) -> Any:
        with issued_at(place, lane):
            return fn(*args, **kwargs)

    return await _native_execute(self, call, *args, **kwargs)


class _Answer:
    """Takes a call's answer as a future of the event loop would, which may be closed."""

    def __init__(self) -> None:
        self._came = threading.Event()

    def get_loop(self) -> _Answer:
        return self

    def call_soon_threadsafe(self, *args: Any) -> None:
        self._came.set()

    def wait(self) -> bool:
        return self._came.wait(_PATIENCE)


def _thread(connection: Any) -> threading.Thread:
    # until version 0.22, the connection was the thread
    thread: threading.Thread = connection if isinstance(connection, threading.Thread) else connection._thread
    return thread


def _on_its_thread(connection: Any, call: Callable[[], Any]) -> bool:
    """Run a call on a connection's thread; return whether it ran."""
    if not _thread(connection).is_alive():
        return False
    answer = _Answer()
    connection._tx.put_nowait((answer, call))
    return answer.wait()


def _close(connection: Any) -> None:
    """Close a connection and end its thread: its event loop can't do that any more."""
    native, stop = connection._connection, core._STOP_RUNNING_SENTINEL
    connection._running = False
    connection._connection = None

    def close() -> Any:
        sqlite3.Connection.close(native)
        return stop

    queue, thread = connection._tx, _thread(connection)
    if _on_its_thread(connection, close) and connection is thread:
        queue.put_nowait(stop)
    thread.join(_PATIENCE)


def _open(database: str) -> list[tuple[Any, Any]]:
    return [
        (connection, loop)
        for connection, loop in list(_live.items())
        if isinstance(connection._connection, RecordedConnection) and connection._connection._path == database
    ]


def end_sessions(database: str) -> tuple[list[str], list[int]]:
    leaks = []
    for connection, loop in _open(database):
        native = connection._connection
        with contextlib.suppress(sqlite3.Error, AttributeError):  # it is closed in the meantime
            if native.in_transaction:
                leaks.append("an open transaction")
                _on_its_thread(connection, functools.partial(sqlite3.Connection.rollback, native))
        if loop.is_closed():
            _close(connection)
    return list(dict.fromkeys(leaks)), []


def reading(connection: Any) -> None:
    """Return None: what is read is the connection of sqlite3 below."""


def backends(database: str) -> list[int]:
    return []


def disconnect(database: str) -> None:
    for connection, _ in _open(database):
        _close(connection)


def _placed_result(native: Callable[..., Any]) -> Callable[..., Any]:
    """Return what `placed` would for a method whose result is also a context manager."""

    async def run(place: Place, coroutine: Any) -> Any:
        with issued_at(place):
            return await coroutine

    @functools.wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        result = native(self, *args, **kwargs)
        recorder = current()
        if recorder is not None:
            result._coro = run(recorder.place(text_in(args)), result._coro)
        return result

    return method


def reconnect(database: str) -> None:
    """Do nothing: a connection to a file opens the file that is there."""


_PLACED: tuple[tuple[Any, Any, tuple[str, ...]], ...] = (
    (_CONNECTION, placed, ("commit", "rollback")),
    (_CURSOR, placed, ("execute", "executemany", "executescript")),
    (
        _CONNECTION, _placed_result,
        ("execute", "executemany", "executescript", "execute_insert", "execute_fetchall"),
    ),
)  # fmt: skip
"""The methods with which an application issues something, and what keeps the place of their call."""


def intercept() -> Callable[[], None]:
    natives = [(_CONNECTION, "_execute", _native_execute), (_CONNECTION, "_connect", _native_connect)]
    _CONNECTION._execute, _CONNECTION._connect = _execute, _connect
    for owner, wrap, names in _PLACED:
        for name in names:
            native = getattr(owner, name)
            natives.append((owner, name, native))
            setattr(owner, name, wrap(native))

    def undo() -> None:
        for owner, name, native in natives:
            setattr(owner, name, native)

    return undo
