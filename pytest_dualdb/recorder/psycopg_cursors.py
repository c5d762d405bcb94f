"""Recorded subclasses of the cursors of psycopg 3: four kinds, each with the same calls.

Rows are recorded as the application is given them. With a row factory of its own, the values are those that the
factory was given, as with sqlite3. What is sent in pipeline mode is answered later, when the driver reads it.
"""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import pq, rows

from pytest_dualdb.recorder import Entry, Place, current, failure_of
from pytest_dualdb.recorder import psycopg2 as base
from pytest_dualdb.recorder.psycopg2 import text_of
from pytest_dualdb.recorder.sqlite3 import tee

if TYPE_CHECKING:
    _Native = Any
else:
    _Native = object

_IDLE = pq.TransactionStatus.IDLE
_INERROR = pq.TransactionStatus.INERROR
_TUPLES = frozenset(
    getattr(pq.ExecStatus, name, None) for name in ("TUPLES_OK", "SINGLE_TUPLE", "TUPLES_CHUNK")
)
_BY_NAME = (rows.dict_row, rows.namedtuple_row)
"""Row factories of the driver whose rows tell all that was fetched."""


class State:
    """What is known of a recorded connection, beside the driver's own attributes."""

    __slots__ = ("conninfo", "database", "ending", "inside", "keep", "lost", "place", "settings", "used")

    def __init__(self, database: str) -> None:
        self.database = database
        self.conninfo = ""
        self.keep = False
        self.used = True
        self.ending = False
        self.inside = False
        """The driver itself has the connection's lock."""
        self.lost = False
        """Its backend was taken by `disconnect`; `reconnect` gives it another."""
        self.place: Place | None = None
        self.settings: list[tuple[bytes | None, ...]] = []


class _Description(list[Any]):
    """A cursor's description that takes note when the application reads it; the driver's is a list."""

    _entry: Entry

    def __iter__(self) -> Iterator[Any]:
        self._entry.note("description")
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        self._entry.note("description")
        return super().__getitem__(index)


class _Reporting(_Native):  # type: ignore[misc]
    """What cursors of all kinds share: the record of the statement, and of the rows that were given out."""

    _entry: Entry | None = None
    _made: deque[tuple[Any, ...]] | None = None
    """What the application's row factory was given and has not been given out yet."""
    _sent: deque[Entry] | None = None
    """Statements sent in pipeline mode whose answers have not come."""

    def __repr__(self) -> str:
        self._pgconn = self._conn.pgconn
        return str(super().__repr__())

    @property
    def rowcount(self) -> int:
        if self._entry is not None:
            self._entry.note("rowcount")
        count: int = super().rowcount
        return count

    @property
    def description(self) -> Any:
        found = super().description
        if not found or self._entry is None:
            return found
        noting = _Description(found)
        noting._entry = self._entry
        return noting

    def _begin(self, kind: str, query: Any, params: Any, place: Place | None = None) -> Entry | None:
        connection = self._conn
        state: State = connection._dualdb
        pgconn = connection.pgconn
        if self._pgconn is not pgconn:
            self._pgconn = pgconn  # the connection has another backend, or was closed and has none
        state.used = True
        recorder = current()
        entry = None
        if recorder is None or recorder.backend != "postgres":
            base.strays.add(state.database)
        if recorder is not None:
            text, params = _statement(query, params, connection)
            if ("set" in text or "SET" in text) and base.OWN_SETTING.search(text):
                state.keep = False
            entry = recorder.open(kind, text, params, connection, "postgres", state.database, place)
        self._entry = entry
        self._made = None
        if entry is not None:
            status = pgconn.transaction_status
            entry.aborted = status == _INERROR
            entry.in_transaction = status != _IDLE
            if connection._pipeline is not None:
                self._sent = deque(self._sent or ())
                self._sent.append(entry)
            else:
                self._sent = None
        return entry

    def _answered(self, entry: Entry) -> None:
        """Note what is known of the answer, once it has come."""
        if self._sent is None:
            self._describe(entry)

    def _describe(self, entry: Entry) -> None:
        result = self.pgresult
        if result is not None and (result.nfields or result.status in _TUPLES):
            names = [result.fname(index) for index in range(result.nfields)]
            entry.description = [((name or b"").decode("utf-8", "replace"),) for name in names]
        entry.rowcount = self._rowcount

    def _failed(self, entry: Entry, error: BaseException) -> None:
        if entry.error is None:
            entry.error = failure_of(error)

    # answers in pipeline mode come when the driver reads them, in the order of the statements

    def _check_results(self, results: Any) -> None:
        try:
            super()._check_results(results)
        except psycopg.Error as error:
            if self._sent:
                entry = self._sent.popleft()
                self._failed(entry, error)
            raise

    def _set_results(self, results: Any) -> None:
        super()._set_results(results)
        if self._sent:
            entry = self._sent[0]
            self._describe(entry)
            if entry.kind != "executemany" or len(self._sent) > 1:
                self._sent.popleft()

    # rows

    def _make_row_maker(self) -> Any:
        make = super()._make_row_maker()
        if make is tuple or self._entry is None or self._row_factory in _BY_NAME:
            return make
        made: deque[tuple[Any, ...]] = deque()
        self._made = made

        def shown(values: Any) -> Any:
            row = make(values)
            made.append(tuple(values))
            return row

        return shown

    def _given(self, entry: Entry, row: Any, step: bool = True) -> None:
        """Take note of one row, None for the end, that the application is given.

        A ``step`` of an iteration gives the oldest of the rows made: server-side cursors make a page of them.
        """
        made = self._made
        if not made:
            entry.fetched_one(row)
            return
        entry.raw(made.popleft() if step else made.pop(), row)
        entry.fetches += 1
        if entry.fetched != "all":
            entry.fetched = "one" if entry.fetches == 1 else "some"

    def _given_many(self, entry: Entry, found: list[Any], wanted: int | None) -> None:
        made = self._made
        if not made or len(made) < len(found):
            entry.fetched_many(found, wanted)
            return
        values = [made.pop() for _ in found]
        for row in found:
            entry.raw(values.pop(), row)
        entry.fetches += 1
        entry.fetched = "all" if wanted is None or len(found) < wanted else "some"

    def _fetched(self, entry: Entry, start: float) -> None:
        entry.seconds += time.perf_counter() - start
        if entry.description is None:
            self._describe(entry)


class _Sync(_Reporting):
    """The calls of cursors that wait."""

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        entry = self._begin("execute", query, params)
        if entry is None:
            return super().execute(query, params, **kwargs)
        start = time.perf_counter()
        try:
            result = super().execute(query, params, **kwargs)
        except BaseException as error:
            self._failed(entry, error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
        self._answered(entry)
        return result

    def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> None:
        seen = None if current() is None or isinstance(params_seq, list | tuple) else list[Any]()
        entry = self._begin("executemany", query, params_seq if seen is None else None)
        if entry is None:
            super().executemany(query, params_seq, **kwargs)
            return
        if seen is not None:
            # an iterator is read once, by the driver: what it read is put into the record
            entry.params, params_seq = seen, tee(params_seq, seen)
        start = time.perf_counter()
        try:
            super().executemany(query, params_seq, **kwargs)
        except BaseException as error:
            self._failed(entry, error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
        self._answered(entry)

    def stream(self, query: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        recorder = current()
        place = None if recorder is None else recorder.place(plain_text(query, self._conn))
        return self._streamed(super().stream(query, params, **kwargs), query, params, place)

    def _streamed(self, found: Any, query: Any, params: Any, place: Place | None) -> Iterator[Any]:
        entry = self._begin("execute", query, params, place)
        try:
            for row in found:
                if entry is not None:
                    if entry.description is None:
                        self._describe(entry)
                    self._given(entry, row)
                yield row
            if entry is not None:
                entry.fetched_one(None)
        except psycopg.Error as error:
            if entry is not None:
                self._failed(entry, error)
            raise
        finally:
            found.close()

    @contextlib.contextmanager
    def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> Iterator[Any]:
        entry = self._begin("copy", statement, params)
        start = time.perf_counter()
        try:
            with super().copy(statement, params, **kwargs) as copy:
                yield copy
        except psycopg.Error as error:
            if entry is not None:
                self._failed(entry, error)
            raise
        finally:
            if entry is not None:
                entry.seconds = time.perf_counter() - start
                entry.rowcount = self._rowcount

    def _timed(self, entry: Entry, call: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        try:
            found = call(*args)
        except psycopg.Error as error:
            self._failed(entry, error)
            raise
        self._fetched(entry, start)
        return found

    def fetchone(self) -> Any:
        entry = self._entry
        if entry is None:
            return super().fetchone()
        row = self._timed(entry, super().fetchone)
        self._given(entry, row, False)
        return row

    def fetchmany(self, size: int = 0) -> Any:
        entry = self._entry
        if entry is None:
            return super().fetchmany(size)
        found = self._timed(entry, super().fetchmany, size)
        self._given_many(entry, found, size or self.arraysize)
        return found

    def fetchall(self) -> Any:
        entry = self._entry
        if entry is None:
            return super().fetchall()
        found = self._timed(entry, super().fetchall)
        self._given_many(entry, found, None)
        return found

    if hasattr(psycopg.Cursor, "__next__"):

        def __next__(self) -> Any:
            entry = self._entry
            if entry is None:
                return super().__next__()
            try:
                row = self._timed(entry, super().__next__)
            except StopIteration:
                entry.fetched_one(None)
                raise
            self._given(entry, row)
            return row

    else:  # before psycopg 3.3

        def __iter__(self) -> Iterator[Any]:
            return self._iterated(super().__iter__())

        def _iterated(self, found: Iterator[Any]) -> Iterator[Any]:
            entry = self._entry
            for row in found:
                if entry is not None:
                    self._given(entry, row)
                yield row
            if entry is not None:
                entry.fetched_one(None)


class _Async(_Reporting):
    """The calls of cursors that are awaited.

    The call site is that of the call: what is made a task of runs later, without the caller on the stack.
    """

    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Coroutine[Any, Any, Any]:
        return self._execute(self._place(query), query, params, kwargs)

    async def _execute(self, place: Place | None, query: Any, params: Any, kwargs: Any) -> Any:
        entry = self._begin("execute", query, params, place)
        if entry is None:
            return await super().execute(query, params, **kwargs)
        start = time.perf_counter()
        try:
            result = await super().execute(query, params, **kwargs)
        except BaseException as error:
            self._failed(entry, error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
        self._answered(entry)
        return result

    def executemany(self, query: Any, params_seq: Any, **kwargs: Any) -> Coroutine[Any, Any, None]:
        return self._executemany(self._place(query), query, params_seq, kwargs)

    async def _executemany(self, place: Place | None, query: Any, params_seq: Any, kwargs: Any) -> None:
        seen = None if current() is None or isinstance(params_seq, list | tuple) else list[Any]()
        entry = self._begin("executemany", query, params_seq if seen is None else None, place)
        if entry is None:
            await super().executemany(query, params_seq, **kwargs)
            return
        if seen is not None:
            entry.params, params_seq = seen, tee(params_seq, seen)
        start = time.perf_counter()
        try:
            await super().executemany(query, params_seq, **kwargs)
        except BaseException as error:
            self._failed(entry, error)
            raise
        finally:
            entry.seconds = time.perf_counter() - start
        self._answered(entry)

    def _place(self, query: Any) -> Place | None:
        recorder = current()
        if recorder is None:
            return None
        state: State = self._conn._dualdb
        place, state.place = state.place, None
        return place or recorder.place(plain_text(query, self._conn))

    def stream(self, query: Any, params: Any = None, **kwargs: Any) -> AsyncIterator[Any]:
        found = super().stream(query, params, **kwargs)
        return self._streamed(found, query, params, self._place(query))

    async def _streamed(self, found: Any, query: Any, params: Any, place: Any) -> AsyncIterator[Any]:
        entry = self._begin("execute", query, params, place)
        try:
            async for row in found:
                if entry is not None:
                    if entry.description is None:
                        self._describe(entry)
                    self._given(entry, row)
                yield row
            if entry is not None:
                entry.fetched_one(None)
        except psycopg.Error as error:
            if entry is not None:
                self._failed(entry, error)
            raise
        finally:
            await found.aclose()

    def copy(self, statement: Any, params: Any = None, **kwargs: Any) -> Any:
        return self._copy(self._place(statement), statement, params, kwargs)

    @contextlib.asynccontextmanager
    async def _copy(self, place: Any, statement: Any, params: Any, kwargs: Any) -> AsyncIterator[Any]:
        entry = self._begin("copy", statement, params, place)
        start = time.perf_counter()
        try:
            async with super().copy(statement, params, **kwargs) as copy:
                yield copy
        except psycopg.Error as error:
            if entry is not None:
                self._failed(entry, error)
            raise
        finally:
            if entry is not None:
                entry.seconds = time.perf_counter() - start
                entry.rowcount = self._rowcount

    async def _timed(self, entry: Entry, call: Callable[..., Any], *args: Any) -> Any:
        start = time.perf_counter()
        try:
            found = await call(*args)
        except psycopg.Error as error:
            self._failed(entry, error)
            raise
        self._fetched(entry, start)
        return found

    async def fetchone(self) -> Any:
        entry = self._entry
        if entry is None:
            return await super().fetchone()
        row = await self._timed(entry, super().fetchone)
        self._given(entry, row, False)
        return row

    async def fetchmany(self, size: int = 0) -> Any:
        entry = self._entry
        if entry is None:
            return await super().fetchmany(size)
        found = await self._timed(entry, super().fetchmany, size)
        self._given_many(entry, found, size or self.arraysize)
        return found

    async def fetchall(self) -> Any:
        entry = self._entry
        if entry is None:
            return await super().fetchall()
        found = await self._timed(entry, super().fetchall)
        self._given_many(entry, found, None)
        return found

    if hasattr(psycopg.AsyncCursor, "__anext__"):

        async def __anext__(self) -> Any:
            entry = self._entry
            if entry is None:
                return await super().__anext__()
            try:
                row = await self._timed(entry, super().__anext__)
            except StopAsyncIteration:
                entry.fetched_one(None)
                raise
            self._given(entry, row)
            return row

    else:

        def __aiter__(self) -> AsyncIterator[Any]:
            return self._iterated(super().__aiter__())

        async def _iterated(self, found: AsyncIterator[Any]) -> AsyncIterator[Any]:
            entry = self._entry
            async for row in found:
                if entry is not None:
                    self._given(entry, row)
                yield row
            if entry is not None:
                entry.fetched_one(None)


class RecordedCursor(_Sync, psycopg.Cursor[Any]):  # type: ignore[misc]
    """A cursor that reports its calls."""


class RecordedServerCursor(_Sync, psycopg.ServerCursor[Any]):  # type: ignore[misc]
    """A server-side cursor that reports its calls."""


class RecordedAsyncCursor(_Async, psycopg.AsyncCursor[Any]):  # type: ignore[misc]
    """An async cursor that reports its calls."""


class RecordedAsyncServerCursor(_Async, psycopg.AsyncServerCursor[Any]):  # type: ignore[misc]
    """An async server-side cursor that reports its calls."""


def _statement(query: Any, params: Any, connection: Any) -> tuple[str, Any]:
    """Return text and parameters of what a cursor was given; a template string holds both."""
    strings = getattr(query, "strings", None)
    if params is None and isinstance(strings, tuple):
        return "%s".join(strings), [item.value for item in query.interpolations]
    return text_of(query, connection), params


def plain_text(query: Any, connection: Any) -> str:
    return _statement(query, None, connection)[0]
