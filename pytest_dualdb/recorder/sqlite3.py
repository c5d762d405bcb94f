"""Recorded subclasses of the sqlite3 driver, and the interception of ``sqlite3.connect``.

Subclasses go in through the driver's own factories, below the application's classes in the method
resolution order, so that every path ends here once: what the application overrides is what it meant.
Checked facts: ``Connection.execute`` does not go through an overridden ``cursor()``, ``__exit__`` not
through an overridden ``commit()``, ``fetchall`` not through ``__next__``; a row factory is called for each
fetched row on every path.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sqlite3
import time
import urllib.parse
import weakref
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from pytest_dualdb.recorder import Entry, copied, current, described, failure_of, named_as

_CURSOR: Any = sqlite3.Cursor
_CONNECTION: Any = sqlite3.Connection
"""The native classes, to reach below the recording ones: their descriptors have no types."""
native_connect: Any = sqlite3.connect
live: weakref.WeakSet[RecordedConnection] = weakref.WeakSet()
"""Connections that are not garbage yet, whoever holds them."""
on_connect: Callable[[RecordedConnection], None] | None = None
"""Called with each new connection; the backend sets it to make throw-away files fast."""


_SAVEPOINT = "dualdb_half"


class _RowFactory:
    """Shows each row to the recorder before the application's row factory takes it."""

    __slots__ = ("original",)

    def __init__(self, original: Callable[[Any, Any], Any]) -> None:
        self.original = original

    def __call__(self, cursor: Any, row: tuple[Any, ...]) -> Any:
        made = self.original(cursor, row)
        entry = getattr(cursor, "_entry", None)
        if entry is not None:
            entry.raw(row, made)
        return made


def _wrapped(factory: Any) -> Any:
    """Return the factory to install: plain rows and sqlite3.Row are recorded from what is fetched."""
    if factory is None or isinstance(factory, _RowFactory):
        return factory
    if isinstance(factory, type) and issubclass(factory, sqlite3.Row):
        return factory
    return _RowFactory(factory)


class RecordedCursor(sqlite3.Cursor):
    """A cursor that reports its calls."""

    _entry: Entry | None = None

    @property
    def row_factory(self) -> Any:
        factory = _CURSOR.row_factory.__get__(self)
        return factory.original if isinstance(factory, _RowFactory) else factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        _CURSOR.row_factory.__set__(self, _wrapped(factory))

    @property
    def rowcount(self) -> int:
        if self._entry is not None:
            self._entry.note("rowcount")
        count: int = _CURSOR.rowcount.__get__(self)
        return count

    @property
    def lastrowid(self) -> int | None:
        if self._entry is not None:
            self._entry.note("lastrowid")
        identifier: int | None = _CURSOR.lastrowid.__get__(self)
        return identifier

    @property
    def description(self) -> Any:
        return described(_CURSOR.description.__get__(self), self._entry)

    def execute(self, sql: str, *parameters: Any) -> Any:
        return self._record("execute", super().execute, sql, parameters)

    def executemany(self, sql: str, *parameters: Any) -> Any:
        if current() is None or not parameters or isinstance(parameters[0], list | tuple):
            return self._record("executemany", super().executemany, sql, parameters)
        # an iterator is read once, by the driver: what it read is put into the record afterwards
        seen: list[Any] = []
        try:
            return self._record("executemany", super().executemany, sql, (tee(parameters[0], seen),))
        finally:
            if self._entry is not None:
                self._entry.params = seen

    def executescript(self, sql_script: str) -> Any:
        connection = self.connection
        if isinstance(connection, RecordedConnection) and connection._nested:
            # the driver's own would commit first
            return self._record("script", self._run_script, sql_script, ())
        return self._record("script", super().executescript, sql_script, ())

    def _run_script(self, sql_script: str) -> Any:
        text = ""
        for piece in sql_script.split(";"):
            text += piece + ";"
            if sqlite3.complete_statement(text):
                super().execute(text)
                text = ""
        return self

    def _record(self, kind: str, call: Callable[..., Any], sql: str, parameters: tuple[Any, ...]) -> Any:
        recorder = current()
        connection = self.connection
        if recorder is None or not isinstance(connection, RecordedConnection):
            self._entry = None
            return call(sql, *parameters)
        params = parameters[0] if parameters else None
        text = sql if isinstance(sql, str) else repr(sql)
        entry = recorder.open(kind, text, params, connection, "sqlite", connection._path)
        self._entry = entry
        if entry is None:
            return call(sql, *parameters)
        entry.in_transaction = connection.in_transaction
        connection._working = True
        start = time.perf_counter()
        try:
            result = call(sql, *parameters)
        except BaseException as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
            connection._working = False
        entry.description = _CURSOR.description.__get__(self)
        entry.rowcount = _CURSOR.rowcount.__get__(self)
        entry.lastrowid = _CURSOR.lastrowid.__get__(self)
        return result

    def _factored(self) -> bool:
        """Return whether a row factory of the application's shows the rows itself."""
        return isinstance(_CURSOR.row_factory.__get__(self), _RowFactory)

    def fetchone(self) -> Any:
        entry = self._entry
        if entry is None:
            return super().fetchone()
        row = self._timed(entry, super().fetchone)
        if row is None or not self._factored():
            entry.fetched_one(row)
        else:
            entry.fetches += 1
            entry.fetched = "one" if entry.fetches == 1 else "some"
        return row

    def fetchmany(self, *args: Any, **kwargs: Any) -> list[Any]:
        entry = self._entry
        if entry is None:
            return super().fetchmany(*args, **kwargs)
        rows: list[Any] = self._timed(entry, super().fetchmany, *args, **kwargs)
        wanted = args[0] if args else kwargs.get("size", self.arraysize)
        self._fetched(entry, rows, wanted)
        return rows

    def fetchall(self) -> list[Any]:
        entry = self._entry
        if entry is None:
            return super().fetchall()
        rows: list[Any] = self._timed(entry, super().fetchall)
        self._fetched(entry, rows, None)
        return rows

    def _fetched(self, entry: Entry, rows: list[Any], wanted: int | None) -> None:
        if not self._factored():
            entry.fetched_many(rows, wanted)
            return
        entry.fetches += 1
        entry.fetched = "all" if wanted is None or len(rows) < wanted else "some"

    def __next__(self) -> Any:
        entry = self._entry
        if entry is None:
            return super().__next__()
        try:
            row = self._timed(entry, super().__next__)
        except StopIteration:
            entry.fetched_one(None)
            raise
        if self._factored():
            entry.fetches += 1
            entry.fetched = "some"
        else:
            entry.fetched_one(row)
        return row

    @staticmethod
    def _timed(entry: Entry, call: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        start = time.perf_counter()
        try:
            return call(*args, **kwargs)
        except sqlite3.Error as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds += time.perf_counter() - start


class RecordedConnection(sqlite3.Connection):
    """A connection that reports its calls and those of its cursors."""

    _path: str = ""
    _nested: bool = False
    _working: bool = False
    _discarded: bool = False
    """The end of the run closed it, not the application."""

    def nest(self) -> None:
        """Open a transaction that commits do not end: with `rollback` isolation, the half is undone as one."""
        for sql in ("BEGIN", f"SAVEPOINT {_SAVEPOINT}"):
            self._plain(sql)
        self._nested = True

    def _plain(self, sql: str) -> None:
        sqlite3.Connection.cursor(self, sqlite3.Cursor).execute(sql)

    def _end_nested(self, kind: str) -> None:
        if not self.in_transaction:  # OR ROLLBACK ended it: what was committed before is lost, too
            self.nest()
        elif kind == "commit":
            self._plain(f"RELEASE {_SAVEPOINT}")
            self._plain(f"SAVEPOINT {_SAVEPOINT}")
        else:
            self._plain(f"ROLLBACK TO {_SAVEPOINT}")

    def close(self) -> None:
        if self._nested:
            self._end_nested("rollback")
            return
        with contextlib.suppress(sqlite3.Error):
            # as closing does, unless a cursor of ours lives on, in the traceback of an error
            if self.in_transaction:
                recorder = current()
                if recorder is not None:
                    recorder.given_up(self)
                super().rollback()
        super().close()

    def __init__(self, database: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(database, *args, **kwargs)
        self._path = path_of(database, kwargs.get("uri", bool(args[6:7] and args[6])))
        live.add(self)
        if on_connect is not None:
            on_connect(self)

    @property
    def row_factory(self) -> Any:
        factory = _CONNECTION.row_factory.__get__(self)
        return factory.original if isinstance(factory, _RowFactory) else factory

    @row_factory.setter
    def row_factory(self, factory: Any) -> None:
        _CONNECTION.row_factory.__set__(self, _wrapped(factory))

    def cursor(self, factory: Any = None) -> Any:
        return self._opened("execute", "", factory)

    def _opened(self, kind: str, sql: Any, factory: Any = None) -> Any:
        """Return a cursor for a statement; what refuses it, such as another thread, refuses the statement."""
        made = factory
        if factory is None:
            made = RecordedCursor
        elif isinstance(factory, type) and issubclass(factory, sqlite3.Cursor):
            made = recorded_class(factory, RecordedCursor)
        try:
            return super().cursor(made)
        except sqlite3.Error as error:
            recorder = current()
            entry = None if recorder is None else recorder.open(kind, sql, None, self, "sqlite", self._path)
            if entry is not None:
                entry.error = failure_of(error)
            raise

    def execute(self, *args: Any) -> Any:
        return self._opened("execute", args[0] if args else "").execute(*args)

    def executemany(self, *args: Any) -> Any:
        return self._opened("executemany", args[0] if args else "").executemany(*args)

    def executescript(self, *args: Any) -> Any:
        return self._opened("script", args[0] if args else "").executescript(*args)

    def commit(self) -> None:
        self._end("commit", super().commit)

    def rollback(self) -> None:
        if not self._discarded:
            self._end("rollback", super().rollback)

    def discard(self) -> None:
        """Close at the end of the run: there is nothing left to undo for a pool that still holds it."""
        self._discarded = True
        super().close()

    def _end(self, kind: str, call: Callable[[], None]) -> None:
        if self._nested:
            call = functools.partial(self._end_nested, kind)
        recorder = current()
        entry = None
        if recorder is not None:
            entry = recorder.open(kind, kind.upper(), None, self, "sqlite", self._path)
        if entry is None:
            return call()
        entry.in_transaction = self.in_transaction
        start = time.perf_counter()
        try:
            call()
        except sqlite3.Error as error:
            entry.error = failure_of(error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None, /
    ) -> Literal[False]:
        if getattr(self, "autocommit", -1) is True:
            return False
        if kind is None:
            try:
                RecordedConnection.commit(self)
            except sqlite3.Error:
                RecordedConnection.rollback(self)
                raise
        else:
            RecordedConnection.rollback(self)
        return False


for _class, _native in ((RecordedCursor, _CURSOR), (RecordedConnection, _CONNECTION)):
    named_as(_class, _native.__name__, _native.__module__)


def tee(items: Iterable[Any], seen: list[Any]) -> Iterator[Any]:
    """Yield the items, keeping a copy of each."""
    for item in items:
        seen.append(copied(item))
        yield item


def recorded_class(given: Any, base: type) -> Any:
    """Return the application's class with the recording one below it; ``base`` where it has none."""
    made = _classes.get((given, base))
    if made is None:
        if issubclass(given, base):
            made = given
        elif base.__mro__[1] is given:
            made = base
        else:
            names = {"__module__": given.__module__, "__qualname__": given.__qualname__}
            made = type(given.__name__, (given, base), names)
        _classes[given, base] = made
    return made


_classes: dict[tuple[type, type], type] = {}


def path_of(database: Any, uri: bool = False) -> str:
    """Return the real path of what ``sqlite3.connect`` was given; ``:memory:`` and the like as they are."""
    text = os.fsdecode(database)
    if text.startswith("file:") and uri:
        parts = urllib.parse.urlsplit(text)
        if "memory" in urllib.parse.parse_qs(parts.query).get("mode", ()):
            return ":memory:"
        text = urllib.parse.unquote(parts.path)
    return text if text in ("", ":memory:") else os.path.realpath(text)


redirects: dict[str, Callable[[], str]] = {}
"""Real paths that open another file instead, and what gives it: the test's database, made when it is needed."""


def _redirected(database: Any, uri: bool) -> Any:
    """Return what to open in the place of what ``sqlite3.connect`` was given."""
    target = redirects.get(path_of(database, uri))
    if target is None:
        return database
    path = target()
    text = os.fsdecode(database)
    if not (uri and text.startswith("file:")):
        return path
    query = urllib.parse.urlsplit(text).query
    return f"{Path(path).as_uri()}?{query}" if query else Path(path).as_uri()


def connect(*args: Any, **kwargs: Any) -> sqlite3.Connection:
    """Open a recorded connection: takes what ``sqlite3.connect`` takes."""
    if redirects and (args or "database" in kwargs):
        uri = bool(kwargs.get("uri", len(args) > 7 and args[7]))
        if args:
            args = (_redirected(args[0], uri), *args[1:])
        else:
            kwargs["database"] = _redirected(kwargs["database"], uri)
    # the fifth parameter of connect; positional use is deprecated since Python 3.12
    given = args[5] if len(args) > 5 else kwargs.get("factory", sqlite3.Connection)
    if isinstance(given, type) and issubclass(given, sqlite3.Connection):
        factory = recorded_class(given, RecordedConnection)
        if len(args) > 5:
            args = (*args[:5], factory, *args[6:])
        else:
            kwargs["factory"] = factory
    connection: sqlite3.Connection = native_connect(*args, **kwargs)
    return connection


functools.update_wrapper(connect, native_connect, assigned=("__name__", "__doc__"), updated=())


def intercept() -> Callable[[], None]:
    """Route ``sqlite3.connect`` through `connect`; return what undoes that."""
    import sqlite3.dbapi2 as dbapi2

    places = [(sqlite3, "connect"), (dbapi2, "connect")]
    for module, name in places:
        setattr(module, name, connect)

    def undo() -> None:
        for module, name in places:
            # whoever replaced it in the meantime (a mock) keeps their own
            if getattr(module, name) is connect:
                setattr(module, name, native_connect)

    return undo
