"""Recorded subclasses of the psycopg2 driver, the interception of its connect, and kept backends.

``psycopg2.connect`` reads ``psycopg2._connect`` when it is called, so replacing that reaches an early
``from psycopg2 import connect`` and every pool too. Subclasses go in through the driver's factories, below
the application's classes in the method resolution order.

A new backend costs PostgreSQL some milliseconds, a kept one a tenth. So ``close()`` on a connection to the
test's own database ends its session and keeps the backend: to the application it is closed from then on,
and it is opened again for another ``connect`` only when nothing else refers to the object any more.
"""

from __future__ import annotations

import functools
import os
import re
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any, Literal

import psycopg2
import psycopg2.extensions as ext
from psycopg2.extras import Json

from pytest_dualdb.recorder import Entry, copied, current, described, failure_of, named_as
from pytest_dualdb.recorder.sqlite3 import recorded_class, tee

_DRIVER: Any = psycopg2
_CURSOR: Any = ext.cursor
_CONNECTION: Any = ext.connection
"""The native classes, to reach below the recording ones: their descriptors have no types."""
_BINARY: Any = ext.Binary
_WRAPPERS = frozenset({_BINARY, Json})
native_connect: Any = _DRIVER._connect
native_make_dsn: Any = ext.make_dsn
live: weakref.WeakSet[RecordedConnection] = weakref.WeakSet()
"""Connections that are not garbage yet, whoever holds them."""
owns: Callable[[str], bool] = lambda database: False  # noqa: E731
"""Whether a database is one of this run; the backend sets it. Only such connections are kept."""

on_connect: Callable[[RecordedConnection], None] | None = None
"""Called with each connection that the application gets; the backend sets it."""

strays: set[str] = set()
"""Databases that somebody used while no half of this backend ran; the backend takes them out again."""

_IDLE = ext.TRANSACTION_STATUS_IDLE
_INERROR = ext.TRANSACTION_STATUS_INERROR
_autocommit = _CONNECTION.autocommit
_MAX_KEPT = 16
OWN_SETTING = re.compile(r"\bset_config\s*\(|\bset\s+(?:local\s+|session\s+)?\w+\.\w+\s*(?:=|\bto\b)", re.I)
"""Gives a value to a setting of the application's own: nothing takes that back, RESET leaves it empty."""
_SAVEPOINT = "dualdb_half"


class RecordedCursor(ext.cursor):
    """A cursor that reports its calls."""

    _entry: Entry | None = None
    _named: Literal["", "row"] = ""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if any(base.__name__ == "NamedTupleCursor" for base in cls.__mro__):
            # it names its rows after it has fetched them
            cls._named = "row"

    def _refuse_if_closed(self) -> None:
        if getattr(self.connection, "_given_back", False):
            raise psycopg2.InterfaceError("cursor already closed")

    @property
    def closed(self) -> bool:
        closed: bool = _CURSOR.closed.__get__(self)
        return closed or getattr(self.connection, "_given_back", False)

    def scroll(self, *args: Any, **kwargs: Any) -> None:
        self._refuse_if_closed()
        super().scroll(*args, **kwargs)

    @property
    def rowcount(self) -> int:
        if self._entry is not None:
            self._entry.note("rowcount")
        count: int = _CURSOR.rowcount.__get__(self)
        return count

    @property
    def lastrowid(self) -> int:
        if self._entry is not None:
            self._entry.note("lastrowid")
        identifier: int = _CURSOR.lastrowid.__get__(self)
        return identifier

    @property
    def description(self) -> Any:
        return described(_CURSOR.description.__get__(self), self._entry)

    def execute(self, query: Any, vars: Any = None) -> None:
        self._record("execute", query, vars, super().execute, query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        if current() is None or isinstance(vars_list, list | tuple):
            self._record("executemany", query, vars_list, super().executemany, query, vars_list)
            return
        seen: list[Any] = []
        try:
            self._record("executemany", query, None, super().executemany, query, tee(vars_list, seen))
        finally:
            if self._entry is not None:
                self._entry.params = seen

    def callproc(self, procname: Any, parameters: Any = None) -> Any:
        arguments = () if parameters is None else (parameters,)
        return self._record("callproc", procname, parameters, super().callproc, procname, *arguments)

    def copy_expert(self, sql: Any, file: Any, *args: Any, **kwargs: Any) -> None:
        self._record("copy", sql, None, super().copy_expert, sql, file, *args, **kwargs)

    def copy_from(self, file: Any, table: str, *args: Any, **kwargs: Any) -> None:
        self._record(
            "copy", f"COPY {table} FROM STDIN", None, super().copy_from, file, table, *args, **kwargs
        )

    def copy_to(self, file: Any, table: str, *args: Any, **kwargs: Any) -> None:
        self._record("copy", f"COPY {table} TO STDOUT", None, super().copy_to, file, table, *args, **kwargs)

    def _record(
        self, kind: str, query: Any, params: Any, call: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> Any:
        connection = self.connection
        if not isinstance(connection, RecordedConnection):
            return call(*args, **kwargs)
        self._refuse_if_closed()
        connection._used = True
        recorder = current()
        entry = None
        if recorder is None or recorder.backend != "postgres":
            strays.add(connection._database)
        if recorder is not None:
            text = text_of(query, connection)
            if ("set" in text or "SET" in text) and OWN_SETTING.search(text):
                connection._key = None
            if "advisory" in text or "ADVISORY" in text:
                connection._locked = True
            given = list(map(_unwrapped, params or ())) if kind == "executemany" else _unwrapped(params)
            entry = recorder.open(kind, text, given, connection, "postgres", connection._database)
        self._entry = entry
        if entry is None:
            return call(*args, **kwargs)
        status = connection.get_transaction_status()
        entry.aborted = status == _INERROR
        entry.in_transaction = status != _IDLE
        start = time.perf_counter()
        try:
            result = call(*args, **kwargs)
        except BaseException as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
        entry.description = _CURSOR.description.__get__(self)
        entry.named = self._named
        entry.rowcount = _CURSOR.rowcount.__get__(self)
        entry.lastrowid = _CURSOR.lastrowid.__get__(self)
        return result

    def fetchone(self) -> Any:
        self._refuse_if_closed()
        entry = self._entry
        if entry is None:
            return super().fetchone()
        row = self._timed(entry, super().fetchone)
        entry.fetched_one(row)
        return row

    def fetchmany(self, size: int | None = None) -> list[Any]:
        arguments = () if size is None else (size,)
        self._refuse_if_closed()
        entry = self._entry
        if entry is None:
            return super().fetchmany(*arguments)
        rows: list[Any] = self._timed(entry, super().fetchmany, *arguments)
        entry.fetched_many(rows, self.arraysize if size is None else size)
        return rows

    def fetchall(self) -> list[Any]:
        self._refuse_if_closed()
        entry = self._entry
        if entry is None:
            return super().fetchall()
        rows: list[Any] = self._timed(entry, super().fetchall)
        entry.fetched_many(rows, None)
        return rows

    def __next__(self) -> Any:
        self._refuse_if_closed()
        entry = self._entry
        if entry is None:
            return super().__next__()
        try:
            row = self._timed(entry, super().__next__)
        except StopIteration:
            entry.fetched_one(None)
            raise
        entry.fetched_one(row)
        return row

    def _timed(self, entry: Entry, call: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        try:
            result = call(*args)
        except psycopg2.Error as error:
            if entry.error is None:
                entry.error = failure_of(error)
            raise
        finally:
            entry.seconds += time.perf_counter() - start
        if entry.description is None:
            # a named cursor knows its columns when it has fetched
            entry.description = _CURSOR.description.__get__(self)
        return result


class RecordedConnection(ext.connection):
    """A connection that reports its calls and those of its cursors, and whose backend can be kept."""

    _database: str = ""
    _given_back: bool = False
    _discarded: bool = False
    """The end of the run closed it, not the application."""
    _used: bool = True
    _locked: bool = False
    """A statement named advisory locks, so that the session may hold one when its half ends."""
    _nested: bool = False
    _encoding: str = ""
    _key: Any = None
    _made: tuple[str, Any, dict[str, Any]] = ("", None, {})

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        live.add(self)
        if not self.async_:
            self._database = self.info.dbname
            self._encoding = self.encoding

    @property
    def closed(self) -> int:
        return 1 if self._given_back else _CONNECTION.closed.__get__(self)

    def _refuse_if_closed(self) -> None:
        if self._given_back:
            raise psycopg2.InterfaceError("connection already closed")

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        self._refuse_if_closed()
        given = kwargs.pop("cursor_factory", None)
        if given is None and len(args) > 1:
            given, args = args[1], (args[0], None, *args[2:])
        given = given or vars(_CONNECTION)["cursor_factory"].__get__(self) or _CURSOR
        if isinstance(given, type) and issubclass(given, ext.cursor):
            given = recorded_class(given, RecordedCursor)
        if len(args) > 1:
            return super().cursor(args[0], given, *args[2:], **kwargs)
        return super().cursor(*args, cursor_factory=given, **kwargs)

    def commit(self) -> None:
        self._end("commit", super().commit)

    def rollback(self) -> None:
        if not self._discarded:
            self._end("rollback", super().rollback)

    def nest(self) -> None:
        """Open a transaction that commits do not end: with `rollback` isolation, the half is undone as one."""
        with ext.cursor(self) as cursor:
            cursor.execute(f"SAVEPOINT {_SAVEPOINT}")
        self._nested = True

    def _end_nested(self, kind: str) -> None:
        aborted = self.get_transaction_status() == _INERROR
        with ext.cursor(self) as cursor:
            if kind == "commit" and not aborted:
                cursor.execute(f"RELEASE SAVEPOINT {_SAVEPOINT}; SAVEPOINT {_SAVEPOINT}")
            else:
                cursor.execute(f"ROLLBACK TO SAVEPOINT {_SAVEPOINT}")

    def _end(self, kind: str, call: Callable[[], None]) -> None:
        self._refuse_if_closed()
        if self._nested:
            call = functools.partial(self._end_nested, kind)
        recorder = current()
        entry = None
        if recorder is not None:
            entry = recorder.open(kind, kind.upper(), None, self, "postgres", self._database)
        if entry is None:
            return call()
        status = self.get_transaction_status()
        entry.aborted = status == _INERROR
        entry.in_transaction = status != _IDLE
        start = time.perf_counter()
        try:
            call()
        except psycopg2.Error as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start

    def close(self) -> None:
        if self._given_back:
            return
        if self._nested:
            self._end_nested("rollback")  # it is one connection for everybody: only the half's end closes it
            return
        recorder = current()
        if recorder is not None:
            recorder.given_up(self)
        if not keep(self):
            super().close()

    def get_transaction_status(self) -> int:
        if self._given_back:
            return ext.TRANSACTION_STATUS_UNKNOWN
        status: int = _CONNECTION.get_transaction_status(self)
        return status


def _refused(name: str) -> Callable[..., Any]:
    """Return a method that fails on a connection that is closed to the application."""
    native = getattr(ext.connection, name)

    @functools.wraps(native)
    def method(self: RecordedConnection, *args: Any, **kwargs: Any) -> Any:
        self._refuse_if_closed()
        return native(self, *args, **kwargs)

    return method


def _refused_property(name: str) -> property:
    """Return an attribute that can't be set on a connection that is closed to the application."""
    native = vars(ext.connection)[name]

    def setter(self: RecordedConnection, value: Any) -> None:
        self._refuse_if_closed()
        native.__set__(self, value)

    return property(native.__get__, setter, doc=native.__doc__)


for _name in (
    "__enter__", "cancel", "fileno", "get_backend_pid", "get_parameter_status", "lobject", "poll", "reset",
    "set_client_encoding", "set_isolation_level", "set_session", "tpc_begin", "tpc_commit", "tpc_prepare",
    "tpc_recover", "tpc_rollback", "xid",
):  # fmt: skip
    setattr(RecordedConnection, _name, _refused(_name))
for _name in ("autocommit", "isolation_level", "readonly", "deferrable"):
    setattr(RecordedConnection, _name, _refused_property(_name))


for _class, _native in ((RecordedCursor, _CURSOR), (RecordedConnection, _CONNECTION)):
    named_as(_class, _native.__name__, _native.__module__)


def text_of(query: Any, connection: Any) -> str:
    """Return the text of what ``execute`` was given: text, bytes or a ``psycopg2.sql`` object."""
    if isinstance(query, str):
        return query
    if isinstance(query, bytes):
        return query.decode("utf-8", "replace")
    as_string = getattr(query, "as_string", None)
    try:
        return str(as_string(connection)) if as_string is not None else repr(query)
    except Exception:  # the driver says what is wrong with it
        return repr(query)


# ------------------------------------------------------------------------------------------- kept backends

_kept: dict[Any, list[RecordedConnection]] = {}
_taking = threading.Lock()


def _exclusive_count() -> int:
    """Return what ``sys.getrefcount`` gives for an object that one list alone holds, asked as below."""
    held = [object()]
    return max(sys.getrefcount(item) for item in held)


EXCLUSIVE = _exclusive_count()


def keep(connection: RecordedConnection) -> bool:
    """End the connection's session but keep its backend; False if it has to be closed for good."""
    key = connection._key
    if key is None or not owns(connection._database) or _CONNECTION.closed.__get__(connection):
        return False
    if kept_count() >= _MAX_KEPT:
        return False
    if not end_session(connection):
        return False
    connection._given_back = True
    _kept.setdefault(key, []).append(connection)
    return True


def kept_count() -> int:
    """Return how many backends are kept."""
    return sum(map(len, _kept.values()))


_inherited: list[Any] = []


def _leave_to_parent() -> None:
    """In a forked process, take no kept backend: it is the parent's."""
    _inherited.extend(_kept.values())
    _kept.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_leave_to_parent)


# what DISCARD ALL does, which is refused beside other statements: one round trip for everything
DISCARD = (
    "CLOSE ALL; SET SESSION AUTHORIZATION DEFAULT; RESET ALL; DEALLOCATE ALL; UNLISTEN *;"
    " SELECT pg_advisory_unlock_all(); DISCARD PLANS; DISCARD TEMP; DISCARD SEQUENCES"
)


def _roll_back(connection: RecordedConnection) -> None:
    """End the transaction, also one that the application began by name: in autocommit the driver knows of none."""
    if connection.get_transaction_status() != _IDLE:
        _CONNECTION.rollback(connection)
    if connection.get_transaction_status() != _IDLE:
        with ext.cursor(connection) as cursor:
            cursor.execute("ROLLBACK")


def end_session(connection: RecordedConnection) -> bool:
    """Bring a session back to how it began; False if the connection is of no more use.

    The backend also publishes its statistics, which otherwise leave it at most once a second.
    """
    publish = "; SELECT pg_stat_force_next_flush()" if connection.server_version >= 150000 else ""
    try:
        _roll_back(connection)
        _autocommit.__set__(connection, True)
        with ext.cursor(connection) as cursor:
            cursor.execute(DISCARD + publish)
        _autocommit.__set__(connection, False)
    except psycopg2.Error:
        return False
    return True


def _take(key: Any) -> RecordedConnection | None:
    """Return a kept connection that nobody else refers to, opened again."""
    while (connection := _take_off(_kept.get(key, []))) is not None:
        try:
            _renew(connection)
        except psycopg2.Error:
            _CONNECTION.close(connection)
        else:
            return connection
    return None


def _take_off(kept: list[RecordedConnection]) -> RecordedConnection | None:
    with _taking:
        # by index: what enumerate() gives would hold a reference itself
        for index in range(len(kept) - 1, -1, -1):
            connection = kept[index]
            if sys.getrefcount(connection) <= EXCLUSIVE and not _CONNECTION.closed.__get__(connection):
                del kept[index]
                return connection
    return None


def _renew(connection: RecordedConnection) -> None:
    """Bring the Python side of a connection back to how ``connect`` gives it."""
    key, made = connection._key, connection._made
    database, encoding = connection._database, connection._encoding
    connection.__dict__.clear()
    connection._key, connection._database, connection._encoding = key, database, encoding
    connection._made = made
    _CONNECTION.set_session(connection, isolation_level="DEFAULT", readonly="DEFAULT", deferrable="DEFAULT")
    vars(_CONNECTION)["cursor_factory"].__set__(connection, None)
    connection.string_types.clear()
    connection.binary_types.clear()
    if connection.encoding != encoding:
        connection.set_client_encoding(encoding)
    connection.notices = []
    connection.notifies = []


def drop_kept(database: str | None = None) -> None:
    """Close the kept backends for good, those of one database or all."""
    for key, kept in list(_kept.items()):
        for connection in list(kept):
            if database is None or connection._database == database:
                kept.remove(connection)
                _CONNECTION.close(connection)
        if not kept:
            del _kept[key]


def discard(connection: RecordedConnection) -> None:
    """Close a connection at the end of the run: there is nothing left to undo for a pool that still holds it."""
    connection._discarded = True
    _CONNECTION.close(connection)


# ---------------------------------------------------------------------------------------- replaced databases


def replace(connection: RecordedConnection) -> None:
    """Close a connection to a database that gives way to a new one of the same name.

    To the application, whose pool may hold it, it stays open: at its next use it goes to the new database.
    """
    live.discard(connection)
    closed = _CONNECTION.closed.__get__(connection)
    session = () if closed else tuple(getattr(connection, name) for name in _SESSION)
    _CONNECTION.close(connection)
    if closed or connection.async_ or connection._given_back or not connection._made[0]:
        return
    kind = type(connection)
    if kind not in _replaced_classes:
        _replaced_classes[kind] = type(kind.__name__, (_Replaced, kind), {"__module__": kind.__module__})
    connection._session = session  # type: ignore[attr-defined]
    connection.__class__ = _replaced_classes[kind]


_SESSION = ("autocommit", "isolation_level", "readonly", "deferrable")
_replaced_classes: dict[type, type] = {}


class _Replaced:
    """Passes everything on to a connection that is opened when it is first needed: psycopg2 can't reopen one."""

    def __getattribute__(self, name: str) -> Any:
        if name == "__class__":
            return object.__getattribute__(self, name)
        state = object.__getattribute__(self, "__dict__")
        if "_next" not in state:
            if name == "close":
                return functools.partial(_close_replaced, self)
            if name == "rollback":
                return _nothing_to_undo
        return getattr(_next(self, state), name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(_next(self, object.__getattribute__(self, "__dict__")), name, value)

    def __enter__(self) -> Any:
        self.__getattribute__("__enter__")()
        return self

    def __exit__(self, *error: Any) -> Any:
        return self.__getattribute__("__exit__")(*error)


def _next(replaced: Any, state: dict[str, Any]) -> Any:
    connection = state.get("_next")
    if connection is None:
        dsn, factory, arguments = state["_made"]
        connection = _connect(dsn, connection_factory=factory, **arguments)
        for name, value in zip(_SESSION, state["_session"], strict=True):
            if getattr(connection, name) != value:
                setattr(connection, name, value)
        for attribute, value in state.items():
            # what the application put on its connection
            if attribute not in connection.__dict__ and attribute not in ("_made", "_session"):
                connection.__dict__[attribute] = value
        state["_next"] = connection
    return connection


def _nothing_to_undo() -> None:
    pass


def _close_replaced(replaced: Any) -> None:
    object.__setattr__(replaced, "__class__", type(replaced).__mro__[2])


def _connect(dsn: str, connection_factory: Any = None, **kwargs: Any) -> Any:
    """Open a recorded connection: stands in for ``psycopg2._connect``."""
    given = connection_factory or ext.connection
    if not (isinstance(given, type) and issubclass(given, ext.connection)):
        return native_connect(dsn, connection_factory=connection_factory, **kwargs)
    recorded = recorded_class(given, RecordedConnection)
    # a class of the application's own has state that only its __init__ can make
    key = (
        (dsn, given)
        if not kwargs and given.__module__.partition(".")[0] in ("psycopg2", __package__)
        else None
    )
    connection = None if key is None else _take(key)
    if connection is None:
        connection = native_connect(dsn, connection_factory=recorded, **kwargs)
        connection._key = key
        connection._made = (dsn, connection_factory, kwargs)
    if on_connect is not None:
        on_connect(connection)
    return connection


def _unwrapped(params: Any) -> Any:
    """Return a copy of parameters with the values that the application wrapped for this driver alone."""
    if isinstance(params, tuple | list) and not _WRAPPERS.isdisjoint(map(type, params)):
        return tuple(map(_unwrapped_value, params))
    if isinstance(params, dict) and not _WRAPPERS.isdisjoint(map(type, params.values())):
        return {name: _unwrapped_value(value) for name, value in params.items()}
    return copied(params)


def _unwrapped_value(value: Any) -> Any:
    if type(value) not in _WRAPPERS:
        return value
    return bytes(value.adapted) if type(value) is _BINARY else value.adapted


plain_urls: dict[str, str] = {}
"""URLs of ours that name a driver for SQLAlchemy, and as libpq reads them: an application may use one as both."""


def _make_dsn(dsn: str | None = None, **kwargs: Any) -> Any:
    """Stand in for ``psycopg2.extensions.make_dsn``, which checks what ``psycopg2.connect`` is given."""
    return native_make_dsn(plain_urls.get(dsn, dsn) if dsn else dsn, **kwargs)


def intercept() -> Callable[[], None]:
    """Route ``psycopg2.connect`` through the recorder; return what undoes that."""
    _DRIVER._connect = _connect
    vars(ext)["make_dsn"] = _make_dsn

    def undo() -> None:
        if _DRIVER._connect is _connect:
            _DRIVER._connect = native_connect
        if ext.make_dsn is _make_dsn:
            vars(ext)["make_dsn"] = native_make_dsn

    return undo


@functools.cache
def server_version(dsn: str) -> int:
    """Return the version number of the server behind a DSN, such as 180006."""
    connection = native_connect(dsn)
    try:
        return int(connection.server_version)
    finally:
        connection.close()
