"""What a half did, as it happens: one recorder at a time takes the calls of every intercepted driver.

The drivers' subclasses (`sqlite3`, `psycopg2` in this package) report each call to the recorder in force
through `current`; with none in force they only pass on. Rows are kept as references as the application
fetches them, nothing is fetched here, and errors pass through unchanged.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import itertools
import os
import sys
import sysconfig
import threading
import time
import weakref
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.encoding import Packing, row_values
from pytest_dualdb.recording import POSTGRES, Backend, Failure, Site, Statement

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_LIBRARIES = tuple(
    {
        os.path.normcase(os.path.realpath(path)) + os.sep
        for name in ("stdlib", "platstdlib", "purelib", "platlib")
        if (path := sysconfig.get_path(name))
    }
)
MAX_ROWS = 20_000
"""Rows of one statement that are kept as they are; a larger result is packed."""

_TRANSPARENT = frozenset({"aiosqlite", "asyncpg", "psycopg", "contextlib", "asyncio"})
"""Packages of drivers, and what they are called through, that issue no statements of their own accord."""

_SPAWN = "greenlet_spawn"
"""The function of SQLAlchemy that runs synchronous code in a greenlet, and awaits what that asks for."""
_DROPS = frozenset({"DROP T"})
_CLEARS = frozenset({"DROP T", "DELETE", "TRUNCA"})
"""How statements begin that take what the test has stored out of sight."""
_SHORTEST_PASSED = 12
"""Characters that an argument must have to count as (part of) a statement: a table's name is none."""


Place = tuple[Site | None, str]
"""A call site, and the library that called the driver there for the application; empty for none."""


class Entry:
    """One call in the making; becomes a `Statement` when the half ends."""

    __slots__ = (
        "aborted", "columns", "connection", "database", "description", "error", "fetched", "fetches",
        "in_transaction", "kind", "lastrowid", "named", "params", "read", "rowcount", "rows", "seconds",
        "site", "sql", "thread", "via",
    )  # fmt: skip

    def __init__(self, kind: str, sql: str, params: Any, place: Place, connection: int, thread: int) -> None:
        self.kind = kind
        self.sql = sql
        self.params = params
        self.site, self.via = place
        self.connection = connection
        self.thread = thread
        self.database = ""
        self.description: Any = None
        self.error: Failure | None = None
        self.fetched = "none"
        self.fetches = 0
        self.in_transaction = False
        self.aborted = False
        self.lastrowid: int | None = None
        self.named = ""
        self.read: set[str] | None = None
        self.rowcount = -1
        self.rows: list[Any] | Packing = []
        self.seconds = 0.0

    def fetched_one(self, row: Any) -> None:
        """Take the answer of fetchone or of one step of an iteration; None is the end."""
        if row is None:
            self.fetched = "all"
            return
        self.fetches += 1
        if self.fetched != "all":
            self.fetched = "one" if self.fetches == 1 else "some"
        self.rows.append(row if type(row) is tuple else self._keep(row))
        if self.fetches == MAX_ROWS:
            self.pack()

    def fetched_many(self, rows: list[Any], wanted: int | None) -> None:
        """Take the answer of fetchmany (``wanted`` rows asked for) or fetchall (None)."""
        self.fetches += 1
        self.fetched = "all" if wanted is None or len(rows) < wanted else "some"
        if rows and type(rows[0]) is not tuple:
            self.rows.extend(map(self._keep, rows))
        else:
            self.rows.extend(rows)
        if type(self.rows) is list and len(self.rows) > MAX_ROWS:
            self.pack()

    def pack(self) -> None:
        """Keep the rows small from now on."""
        if type(self.rows) is list:
            self.rows = Packing(self.rows)

    def raw(self, row: tuple[Any, ...], made: Any) -> None:
        """Take a row as the driver made it, before the application's row factory turned it into ``made``."""
        self.rows.append(row)
        if type(self.rows) is list and len(self.rows) > MAX_ROWS:
            self.pack()
        if not self.named and isinstance(made, Mapping):
            self.named = "mapping"

    def _keep(self, row: Any) -> Any:
        """Return what to keep of a row that is no plain tuple: mutable rows are copied."""
        if isinstance(row, Mapping):
            self.named = "mapping"
            return tuple(row.values())
        if isinstance(row, tuple):
            self.named = self.named or "row"
            return row
        if isinstance(row, list):
            self.named = self.named or "row"
            return tuple(row)
        if hasattr(row, "keys"):
            self.named = "row"
            return row
        return row_values(row)

    def note(self, name: str) -> None:
        """Remember that the application looked at a cursor attribute."""
        if self.read is None:
            self.read = set()
        self.read.add(name)

    def freeze(self) -> Statement:
        rows = (
            self.rows.rows()
            if isinstance(self.rows, Packing)
            else [row if type(row) is tuple else row_values(row) for row in self.rows]
        )
        description = self.description
        return Statement(
            kind=self.kind, sql=self.sql, params=self.params, site=self.site,
            columns=None if description is None else tuple(column[0] for column in description),
            rows=rows, fetched=self.fetched, rowcount=self.rowcount, lastrowid=self.lastrowid,  # type: ignore[arg-type]
            error=self.error, seconds=self.seconds, connection=self.connection, thread=self.thread,
            database=self.database, in_transaction=self.in_transaction, aborted=self.aborted,
            named=self.named,  # type: ignore[arg-type]
            read=tuple(sorted(self.read)) if self.read else (), via=self.via,
        )  # fmt: skip


class Description(tuple[Any, ...]):
    """A cursor's description that takes note when the application reads it, not when it asks if there is one."""

    _entry: Entry | None = None

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        self._note()
        return super().__getitem__(index)

    def __reduce__(self) -> tuple[type[tuple[Any, ...]], tuple[tuple[Any, ...]]]:
        return tuple, (tuple(self),)  # a copy is the driver's

    def _note(self) -> None:
        if self._entry is not None:
            self._entry.note("description")


def described(description: Any, entry: Entry | None) -> Any:
    """Return a cursor's description for the application; ``entry`` is the statement that it is of."""
    if not description or entry is None:
        return description
    found = Description(description)
    found._entry = entry
    return found


class Recorder:
    """Takes what one half does.

    ``own`` names the test's own database: the real path of the SQLite file, or the PostgreSQL database's
    name. What goes elsewhere is kept apart, as bypasses.
    """

    def __init__(self, backend: Backend, own: str, rootdir: str) -> None:
        self.backend = backend
        self.own = own
        self.further: dict[str, str] = {}
        """The names of the application's further databases in the record, by what `own` is for the first."""
        self.entries: list[Entry] = []
        self.ending = False
        """Whether the test's own part is over and its fixtures clean up."""
        self.before_clearing: Callable[[], None] = lambda: None
        """Is called before a statement that drops a table, or empties one while fixtures clean up."""
        self.before_rollback: Callable[[Any, int], None] = lambda connection, number: None
        """Is called with a connection and its number before its transaction is given up while fixtures clean up."""
        self.bypasses: list[Entry] = []
        self.observed: list[tuple[str, Any]] = []
        self.paused = 0
        self.started = time.time()
        self._sites = sites_below(rootdir)
        self._connections: dict[int, tuple[weakref.ref[Any], int]] = {}
        self._thread = threading.local()  # an ident is given again once its thread has ended
        self._threads = itertools.count()
        self._numbers = itertools.count()

    def open(
        self,
        kind: str,
        sql: str,
        params: Any,
        connection: object,
        driver: Backend,
        database: str,
        place: Place | None = None,
    ) -> Entry | None:
        """Begin the record of one call; None while recording is paused.

        ``place`` is what `place` gave, where the call was made earlier than it is carried out.
        """
        if self.paused:
            return None
        origin = _origin.get()
        where, lane = (None, None) if origin is None else origin
        if lane is None:
            lane = self.lane()
        number = self._number(connection)
        entry = Entry(kind, sql, copied(params), place or where or self._sites.find(sql), number, lane)
        if driver == self.backend and database == self.own:
            if kind == "rollback":
                self.given_up(connection)
            elif sql.lstrip()[:6].upper() in (_CLEARS if self.ending else _DROPS):
                self.before_clearing()
            self.entries.append(entry)
        elif driver == self.backend and database in self.further:
            entry.database = self.further[database]
            self.entries.append(entry)
        else:
            entry.database = database if driver == "sqlite" else f"{POSTGRES}{database}"
            self.bypasses.append(entry)
        return entry

    def _number(self, connection: object) -> int:
        known = self._connections.get(id(connection))
        if known is None or known[0]() is not connection:
            known = self._connections[id(connection)] = (weakref.ref(connection), next(self._numbers))
        return known[1]

    def given_up(self, connection: object) -> None:
        """Take note that a connection's transaction is about to end without a commit."""
        if self.ending and not self.paused:
            self.before_rollback(connection, self._number(connection))

    def connections(self) -> list[tuple[Any, int]]:
        """Return the connections that still exist, with their numbers."""
        found = [(reference(), number) for reference, number in list(self._connections.values())]
        return [(connection, number) for connection, number in found if connection is not None]

    def lane(self) -> int:
        """Return the number of what runs now: a thread, or a task beside others in one thread.

        A task that begins when the one before it has ended goes on in its place, as the test's own does
        after those of its fixtures: only what runs side by side comes in an order of its own.
        """
        try:
            lanes: list[list[Any]] = self._thread.lanes
        except AttributeError:
            lanes = self._thread.lanes = [[next(self._threads), None]]
        events = sys.modules.get("asyncio.events")
        if events is None or events._get_running_loop() is None:
            return int(lanes[0][0])
        task = sys.modules["asyncio.tasks"].current_task()
        free = None
        for lane in lanes:
            if lane[1] is task or task is None:
                return int(lane[0])
            if free is None and (lane[1] is None or lane[1].done()):
                free = lane
        if free is None:
            lanes.append(free := [next(self._threads), None])
        free[1] = task
        return int(free[0])

    def place(self, sql: str) -> Place:
        """Return the call site of a statement that is about to be issued, perhaps elsewhere and later."""
        origin = _origin.get()
        return self._sites.find(sql) if origin is None else origin[0]

    def observe(self, name: str, value: Any) -> None:
        with contextlib.suppress(Exception):  # compared by its text then, as it is at the end
            value = copy.deepcopy(value)
        self.observed.append((name, value))

    def site_of(self, error: BaseException) -> Site | None:
        """Return the innermost line of the user's code that the exception went through."""
        found = None
        trace = error.__traceback__
        while trace is not None:
            found = self._sites.at(trace.tb_frame.f_code, trace.tb_lineno) or found
            trace = trace.tb_next
        return found

    def statements(self) -> tuple[Statement, ...]:
        return tuple(entry.freeze() for entry in self.entries)


_origin: ContextVar[tuple[Place, int | None] | None] = ContextVar("dualdb_origin", default=None)
"""Where what is issued now comes from, if no frame tells: the call site, and the lane if not this one."""


@contextlib.contextmanager
def issued_at(place: Place, lane: int | None = None) -> Iterator[None]:
    """Take what is issued meanwhile as issued there: a call runs in a task or on a thread of its own."""
    token = _origin.set((place, lane))
    try:
        yield
    finally:
        _origin.reset(token)


def placed(native: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Return a coroutine function of a driver that keeps the place of the call for when it runs.

    ``gather`` and ``wait_for`` run it in a task, on whose stack the caller is not.
    """

    async def run(place: Place, self: Any, *args: Any, **kwargs: Any) -> Any:
        with issued_at(place):
            return await native(self, *args, **kwargs)

    @functools.wraps(native)
    def method(self: Any, *args: Any, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        recorder = current()
        if recorder is None:
            return native(self, *args, **kwargs)
        coroutine: Any = run(recorder.place(text_in(args)), self, *args, **kwargs)
        coroutine.__name__, coroutine.__qualname__ = native.__name__, native.__qualname__
        return coroutine  # type: ignore[no-any-return]

    return method


def text_in(args: tuple[Any, ...]) -> str:
    """Return the statement among the arguments of a driver's function, empty if there is none."""
    return args[0] if args and isinstance(args[0], str) else ""


_current: Recorder | None = None


def current() -> Recorder | None:
    """Return the recorder of the half that runs now, None between halves."""
    return _current


def activate(recorder: Recorder | None) -> None:
    """Put a recorder in force, or none."""
    global _current
    _current = recorder


if hasattr(os, "register_at_fork"):
    # a forked process has no way to hand over a record
    os.register_at_fork(after_in_child=lambda: activate(None))


def copied(params: Any) -> Any:
    """Return parameters that a later change by the application can't reach."""
    if type(params) is tuple or params is None:
        return params
    if isinstance(params, list):
        return [copied(item) if isinstance(item, list | dict) else item for item in params]
    if isinstance(params, Mapping):
        return dict(params)
    # an iterator: the driver reads it, and the caller puts what it read into the record
    return params if not hasattr(params, "__next__") else None


def failure_of(error: BaseException) -> Failure:
    """Return the record of an exception: its class, the PEP 249 class that it is a kind of, its text."""
    dbapi = ""
    for cls in type(error).__mro__:
        if cls.__name__ in _DBAPI and cls.__module__.partition(".")[0] not in ("builtins",):
            dbapi = cls.__name__
            break
    sqlstate = getattr(error, "pgcode", None) or getattr(error, "sqlstate", None)
    if not dbapi and isinstance(sqlstate, str):
        # asyncpg's classes are none of PEP 249's
        dbapi = _BY_SQLSTATE.get(sqlstate[:2], "DatabaseError")
    kind = type(error)
    name = f"{kind.__module__}.{kind.__qualname__}"
    return Failure(name, dbapi, sqlstate, str(error).strip(), _fields(error) if sqlstate else {})


_FIELDS = {
    "routine": "source_function",
    "table": "table_name",
    "column": "column_name",
    "constraint": "constraint_name",
}


def _fields(error: BaseException) -> dict[str, str]:
    """Return what the server said apart from the message: psycopg in `diag`, asyncpg on the exception."""
    places = (getattr(error, "diag", None), error)
    found = {}
    for field, name in _FIELDS.items():
        values = (getattr(place, prefix + name, None) for place in places for prefix in ("", "server_"))
        value = next((value for value in values if isinstance(value, str)), None)
        if value:
            found[field] = value
    return found


def named_as(recorded: type, name: str, module: str) -> None:
    """Have a class of ours be called as the driver's own in messages, representations and tracebacks."""
    for member, value in vars(recorded).items():
        if callable(value) and hasattr(value, "__qualname__"):
            value.__qualname__ = f"{name}.{member}"
    recorded.__name__ = recorded.__qualname__ = name
    recorded.__module__ = module


def database_error(error: BaseException) -> Failure | None:
    """Return the database error that an exception is, or was raised from."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        found = failure_of(current)
        # a wrapper such as SQLAlchemy's has the same class names; the driver's own error is below it
        original = getattr(current, "orig", None)
        if found.dbapi or isinstance(original, BaseException):
            return _of_driver(original if isinstance(original, BaseException) else current)
        current = current.__cause__ or current.__context__
    return None


def _of_driver(error: BaseException) -> Failure | None:
    """Return the record of the driver's own error: SQLAlchemy puts classes of its own around asyncpg's."""
    found = failure_of(error)
    below = error.__cause__
    if below is not None and (inner := failure_of(below)).dbapi:
        return inner
    return found if found.dbapi else None


_BY_SQLSTATE = {
    **dict.fromkeys(("0A",), "NotSupportedError"),
    **dict.fromkeys(("20", "21", "3D", "3F", "42", "44"), "ProgrammingError"),
    **dict.fromkeys(("22",), "DataError"),
    **dict.fromkeys(("23",), "IntegrityError"),
    **dict.fromkeys(("24", "25", "2B", "2D", "2F", "38", "39", "3B", "F0", "P0", "XX"), "InternalError"),
    **dict.fromkeys(
        ("08", "26", "27", "28", "34", "40", "53", "54", "55", "57", "58", "HV"), "OperationalError"
    ),
}
"""The PEP 249 class for each class of SQLSTATE, as psycopg2 assigns them."""

_DBAPI = frozenset(
    {
        "Warning", "InterfaceError", "DataError", "OperationalError", "IntegrityError", "InternalError",
        "ProgrammingError", "NotSupportedError", "DatabaseError",
    }
)  # fmt: skip


# ---------------------------------------------------------------------------------------------- call sites


class Sites:
    """Finds the line of the application that issued a statement.

    That is the innermost frame of the user's code that did not receive the statement's text as an argument:
    an adapter's ``execute(sql, params)`` passes on what its caller wrote. What was found out about a code
    object is kept, as the walk is on the path of every statement.
    """

    def __init__(self, rootdir: str) -> None:
        self._root = os.path.normcase(os.path.realpath(rootdir)) + os.sep
        self._places: dict[Any, tuple[str, str] | None] = {}
        self._sites: dict[tuple[Any, int], Site] = {}
        self._passing: dict[tuple[Any, int], bool] = {}

    def find(self, sql: str) -> Place:
        """Return the call site of the statement that is being issued now, and the library that issued it.

        The library is empty where the application called the driver itself.
        """
        frame = sys._getframe(3)
        greenlet = sys.modules.get("greenlet")
        running = None if greenlet is None else greenlet.getcurrent()
        outer: list[Any] = []
        places = self._places
        inner: Site | None = None
        via: str | None = None
        while frame is not None:
            code = frame.f_code
            try:
                place = places[code]
            except KeyError:
                place = places[code] = self._place(code)
            if place is None:
                if via is None and not code.co_filename.startswith(_PACKAGE):
                    library = str(frame.f_globals.get("__name__", "")).partition(".")[0]
                    via = None if library in _TRANSPARENT else library
                if running is not None and code.co_name == _SPAWN:
                    # SQLAlchemy awaits here for a greenlet, whose frames are inner ones
                    waiting = getattr(frame.f_locals.get("context"), "gr_frame", None)
                    if waiting is not None:
                        outer.append(frame.f_back)
                        frame = waiting
                        continue
            else:
                via = via or ""
                key = (code, frame.f_lasti)
                site = self._sites.get(key)
                if site is None:
                    site = self._sites[key] = Site(place[0], frame.f_lineno, place[1])
                passing = self._passing.get(key) if sql else False
                if passing is None:
                    passing = self._passing[key] = _passes_on(frame, sql)
                if not passing:
                    return site, via
                if inner is None:
                    inner = site
            frame = frame.f_back  # type: ignore[assignment]
            if frame is None and running is not None:
                if outer:
                    frame = outer.pop()
                else:
                    running = running.parent
                    frame = None if running is None else running.gr_frame
        return inner, via or ""

    def at(self, code: Any, line: int) -> Site | None:
        """Return the site of a line of that code, None if it is not the user's."""
        place = self._place(code)
        return None if place is None else Site(place[0], line, place[1])

    def _place(self, code: Any) -> tuple[str, str] | None:
        """Return path and function for code of the user's, None for libraries and this package."""
        name = code.co_filename
        if name.startswith(("<", _PACKAGE)):
            return None
        real = os.path.normcase(os.path.realpath(name))
        below = real.startswith(self._root)
        if any(real.startswith(library) for library in _LIBRARIES) and not (
            below and not any(library.startswith(self._root) for library in _LIBRARIES)
        ):
            return None
        if f"{os.sep}site-packages{os.sep}" in real or f"{os.sep}dist-packages{os.sep}" in real:
            return None
        path = os.path.relpath(real, self._root) if below else real
        parts = [part for part in code.co_qualname.split(".") if not part.startswith("<")]
        return path.replace(os.sep, "/"), parts[-1] if parts else code.co_name


def _passes_on(frame: Any, sql: str) -> bool:
    """Return whether the function of this frame was given the statement rather than wrote it.

    An adapter may add to what it was given (``RETURNING id``), so a part of the statement will do.
    """
    code = frame.f_code
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[: count + (1 if code.co_flags & 0x04 else 0)]
    if not names:
        return False
    wanted = syntax.skeleton(sql)
    values = frame.f_locals
    for name in names:
        value = values.get(name)
        for candidate in value if isinstance(value, tuple) else (value,):
            if not isinstance(candidate, str) or len(candidate) < _SHORTEST_PASSED:
                continue
            if candidate == sql or syntax.skeleton(candidate) in wanted:
                return True
    return False


_sites_by_root: dict[str, Sites] = {}


def sites_below(rootdir: str) -> Sites:
    """Return the call-site finder of a root directory; one for the whole run, as it remembers."""
    if rootdir not in _sites_by_root:
        _sites_by_root[rootdir] = Sites(rootdir)
    return _sites_by_root[rootdir]
