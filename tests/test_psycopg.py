"""psycopg 3: what is recorded on each of its paths, and that no application can tell it from the native driver."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import gc
import itertools
import re
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import psycopg.rows
import psycopg.types.json
import psycopg_pool
import pytest
import sqlalchemy
import sqlalchemy.ext.asyncio
import sqlalchemy.pool
from halves import QUERY, ROWS, half, only, statements
from projects import Projects, command, environment
from psycopg import connect as early_connect
from psycopg import sql

from pytest_dualdb.recorder import psycopg as recorder
from pytest_dualdb.recording import Statement
from pytest_dualdb.worker import Half, Worker

FILE = f"tests/{Path(__file__).name}"


def connect(made: Half, **arguments: Any) -> Any:
    return psycopg.connect(made.database.dsn, **arguments)


def asked(made: Half) -> list[Statement]:
    """Return the statements of a half without the ends of transactions."""
    return [s for s in statements(made) if s.kind not in ("commit", "rollback")]


def this_line(found: Statement, part: str) -> None:
    """Assert that the call site is the line of this file that has that in it."""
    assert found.site is not None
    assert found.site.path == FILE
    assert part in Path(__file__).read_text(encoding="utf-8").splitlines()[found.site.line - 1]


# -------------------------------------------------------------------------------------------- fetching rows


@dataclasses.dataclass
class Item:
    id: int
    name: str | None


READS: dict[str, Callable[[Any], list[Any]]] = {
    "fetchall": lambda cursor: list(cursor.fetchall()),
    "fetchone": lambda cursor: [cursor.fetchone() for _ in range(4)][:3],
    "fetchmany": lambda cursor: list(itertools.chain.from_iterable(iter(lambda: cursor.fetchmany(2), []))),
    "fetchmany by arraysize": lambda cursor: list(itertools.chain.from_iterable(iter(cursor.fetchmany, []))),
    "for": lambda cursor: [row for row in cursor],  # noqa: C416 - the loop is the point
    "fetchone, then the rest": lambda cursor: [cursor.fetchone(), *cursor.fetchall()],
    "one step, then the rest": lambda cursor: [next(iter(cursor)), *cursor],
}
FACTORIES: dict[str, Any] = {
    "tuple": psycopg.rows.tuple_row,
    "dict": psycopg.rows.dict_row,
    "namedtuple": psycopg.rows.namedtuple_row,
    "class": psycopg.rows.class_row(Item),
    "args": psycopg.rows.args_row(Item),
    "kwargs": psycopg.rows.kwargs_row(Item),
    "scalar": psycopg.rows.scalar_row,
    "lambda": lambda cursor: list,
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("name", ["", "named"])
def test_rows_are_recorded_as_the_driver_gave_them(
    postgres: Half, read: str, factory: str, name: str
) -> None:
    with connect(postgres, row_factory=FACTORIES[factory]) as connection:
        assert connection.row_factory is FACTORIES[factory]
        cursor = connection.cursor(name)
        assert cursor.execute(QUERY) is cursor
        rows = READS[read](cursor)
        expected = {"scalar": [1, 2, 3], "dict": [{"id": i, "name": n} for i, n in ROWS]}
        expected |= {key: [Item(*row) for row in ROWS] for key in ("class", "args", "kwargs")}
        assert rows == expected.get(factory, [list(row) for row in ROWS] if factory == "lambda" else ROWS)
        cursor.close()
    found = only(postgres)
    assert found.values == ROWS
    assert found.columns == ("id", "name")
    assert found.fetched == "all"
    assert found.sql == QUERY
    if factory in ("tuple", "dict", "namedtuple"):
        assert found.named == {"tuple": "", "dict": "mapping", "namedtuple": "row"}[factory]


@pytest.mark.parametrize("factory", FACTORIES)
@pytest.mark.parametrize("name", ["", "named"])
@pytest.mark.parametrize("read", ["fetchall", "fetchone", "fetchmany", "for"])
def test_async_rows_are_recorded_as_the_driver_gave_them(
    postgres: Half, factory: str, name: str, read: str
) -> None:
    async def application() -> list[Any]:
        async with (
            await psycopg.AsyncConnection.connect(
                postgres.database.dsn, row_factory=FACTORIES[factory]
            ) as connection,
            connection.cursor(name) as cursor,
        ):
            assert await cursor.execute(QUERY) is cursor
            if read == "fetchall":
                return await cursor.fetchall()
            if read == "for":
                return [row async for row in cursor]
            if read == "fetchone":
                found = [await cursor.fetchone() for _ in range(4)]
                assert found.pop() is None
                return found
            return [*await cursor.fetchmany(2), *await cursor.fetchmany(2)]

    assert len(asyncio.run(application())) == 3
    found = only(postgres)
    assert found.values == ROWS
    assert found.columns == ("id", "name")
    assert found.fetched == "all"


def test_only_what_the_application_reads_is_recorded(postgres: Half) -> None:
    with connect(postgres) as connection:
        connection.execute(QUERY)
        connection.execute(QUERY).fetchone()
        next(iter(connection.execute(QUERY)))
        cursor = connection.execute(QUERY)
        cursor.fetchmany(2)
        with connection.cursor("few", row_factory=psycopg.rows.class_row(Item)) as named:
            named.execute(QUERY)
            assert next(iter(named)) == Item(*ROWS[0])
    found = asked(postgres)
    assert [(s.fetched, s.values) for s in found] == [
        ("none", []), ("one", ROWS[:1]), ("one", ROWS[:1]), ("some", ROWS[:2]), ("one", ROWS[:1]),
    ]  # fmt: skip
    assert {s.columns for s in found} == {("id", "name")}


def test_rows_of_a_page_and_rows_beyond_it(postgres: Half) -> None:
    as_item = psycopg.rows.class_row(Item)
    with connect(postgres) as connection, connection.cursor("pages", row_factory=as_item) as cursor:
        cursor.itersize = 2
        cursor.execute(QUERY)
        found = [next(iter(cursor)), cursor.fetchone(), next(iter(cursor))]
        assert found == [Item(*ROWS[0]), Item(*ROWS[2]), Item(*ROWS[1])]
    assert only(postgres).values == [ROWS[0], ROWS[2], ROWS[1]]


def test_scalar_rows_may_be_null(postgres: Half) -> None:
    with connect(postgres) as connection:
        cursor = connection.cursor(row_factory=psycopg.rows.scalar_row)
        cursor.execute("SELECT name FROM item WHERE id = 3")
        assert cursor.fetchone() is None
        assert cursor.fetchone() is None
    assert only(postgres).values == [(None,)]


def test_a_row_factory_set_after_the_statement(postgres: Half) -> None:
    with connect(postgres) as connection:
        cursor = connection.execute(QUERY)
        cursor.row_factory = psycopg.rows.dict_row
        assert cursor.fetchone() == {"id": 1, "name": "Ada"}
    assert only(postgres).values == ROWS[:1]


def test_all_sets_of_rows_of_executemany(postgres: Half) -> None:
    with connect(postgres) as connection:
        cursor = connection.cursor()
        cursor.executemany("SELECT name FROM item WHERE id = %s", ((i,) for i in (1, 2)), returning=True)
        names = [cursor.fetchall()]
        while cursor.nextset():
            names.append(cursor.fetchall())
        assert names == [[("Ada",)], [("Grace",)]]
    found = only(postgres)
    assert found.kind == "executemany"
    assert found.params == [(1,), (2,)]
    assert found.values == [("Ada",), ("Grace",)]


def test_what_is_streamed(postgres: Half) -> None:
    with connect(postgres) as connection:
        cursor = connection.cursor()
        for row in cursor.stream(QUERY):
            assert row == ROWS[0]
            break
        gc.collect()
        assert list(cursor.stream("SELECT id FROM item WHERE id > %s ORDER BY id", (1,))) == [(2,), (3,)]
    first, second = asked(postgres)
    assert (first.values, first.fetched, first.columns) == (ROWS[:1], "one", ("id", "name"))
    assert (second.values, second.fetched, second.params) == ([(2,), (3,)], "all", (1,))
    this_line(first, "cursor.stream(QUERY)")


def test_what_is_streamed_to_a_task(postgres: Half) -> None:
    async def application() -> list[Any]:
        async with await psycopg.AsyncConnection.connect(postgres.database.dsn) as connection:
            return [row async for row in connection.cursor().stream(QUERY)]

    assert asyncio.run(application()) == ROWS
    assert only(postgres).values == ROWS


# ----------------------------------------------------------------------------------- statements of all kinds


def test_statements_in_all_their_forms(postgres: Half) -> None:
    with connect(postgres) as connection:
        connection.execute("SELECT %s", (1,))
        connection.execute("SELECT %(a)s", {"a": 1})
        connection.execute(b"SELECT 1")
        connection.execute(sql.SQL("SELECT {} FROM {}").format(sql.Identifier("id"), sql.Identifier("item")))
        connection.execute("SELECT %s::int", (1,), prepare=True, binary=True)
        psycopg.ClientCursor(connection).execute("SELECT %s", ("made by hand",))
        psycopg.RawCursor(connection).execute("SELECT $1::int", (1,))
        connection.execute("SELECT 1; SELECT 2")
    assert [(s.sql, s.params) for s in asked(postgres)] == [
        ("SELECT %s", (1,)),
        ("SELECT %(a)s", {"a": 1}),
        ("SELECT 1", None),
        ('SELECT "id" FROM "item"', None),
        ("SELECT %s::int", (1,)),
        ("SELECT %s", ("made by hand",)),
        ("SELECT $1::int", (1,)),
        ("SELECT 1; SELECT 2", None),
    ]
    assert {s.via for s in asked(postgres)} == {""}
    assert {s.error for s in asked(postgres)} == {None}


def test_counts_and_who_looked_at_them(postgres: Half) -> None:
    with connect(postgres) as connection:
        assert connection.execute("UPDATE item SET name = 'x'").rowcount == 3
        connection.execute("DELETE FROM item WHERE id = 1")
        names = [column.name for column in connection.execute(QUERY).description]
        assert connection.execute(QUERY).description
    assert names == ["id", "name"]
    first, second, third, fourth = asked(postgres)
    assert (first.rowcount, first.read, first.columns) == (3, ("rowcount",), None)
    assert (second.rowcount, second.read) == (1, ())
    assert (third.read, fourth.read) == (("description",), ())


@pytest.mark.parametrize("isolated", [False, True])
def test_copy_in_both_directions(postgres: Half, isolated: bool) -> None:
    with connect(postgres, autocommit=isolated) as connection:
        with connection.cursor().copy("COPY item FROM STDIN") as copy:
            copy.write_row((70, "copied"))
        with connection.cursor().copy("COPY item TO STDOUT") as copy:
            assert len(list(copy.rows())) == 4
        with (
            contextlib.suppress(psycopg.Error),
            connection.cursor().copy("COPY item FROM STDIN") as copy,
        ):
            copy.write("not a number\tx\n")
    found = asked(postgres)
    assert [s.kind for s in found] == ["copy"] * 3
    assert [s.rowcount for s in found[:2]] == [1, 4]
    assert found[2].error is not None and found[2].error.sqlstate == "22P02"
    this_line(found[0], "COPY item FROM STDIN")


def test_an_error_of_the_applications_own_is_not_one_of_the_copy(postgres: Half) -> None:
    with (
        connect(postgres) as connection,
        contextlib.suppress(LookupError),
        connection.cursor().copy("COPY item FROM STDIN"),
    ):
        raise LookupError
    assert only(postgres).error is None


def test_errors_are_recorded_and_pass_through_unchanged(postgres: Half) -> None:
    connection = connect(postgres)
    with pytest.raises(psycopg.errors.UniqueViolation) as caught:
        connection.execute("INSERT INTO item VALUES (1, 'again')")
    assert caught.value.diag.constraint_name == "item_pkey"
    last = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert Path(last.filename).parent.name == "psycopg"
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    with pytest.raises(psycopg.ProgrammingError, match="the query has 0 placeholders"):
        connection.execute("SELECT 1", (1,))
    with pytest.raises(psycopg.ProgrammingError, match="the last operation didn't produce"):
        connection.execute("SET DateStyle = 'ISO'").fetchone()
    connection.close()
    unique, aborted, count, fetch = asked(postgres)
    assert unique.error is not None
    assert unique.error.name == "psycopg.errors.UniqueViolation"
    assert (unique.error.dbapi, unique.error.sqlstate) == ("IntegrityError", "23505")
    assert (unique.aborted, unique.in_transaction) == (False, False)
    assert (aborted.aborted, aborted.in_transaction) == (True, True)
    assert count.error is not None and (count.error.dbapi, count.error.sqlstate) == ("ProgrammingError", None)
    assert fetch.error is not None and fetch.error.dbapi == "ProgrammingError"


def test_ends_of_transactions(postgres: Half) -> None:
    with connect(postgres) as connection:
        with connection.transaction():
            connection.execute("SELECT 1")
            with contextlib.suppress(psycopg.errors.UniqueViolation), connection.transaction():
                connection.execute("INSERT INTO item VALUES (1, 'again')")
            with pytest.raises(psycopg.ProgrammingError, match="forbidden within a Transaction"):
                connection.commit()
        with connection.transaction(force_rollback=True):
            connection.execute("SELECT 2")
        connection.execute("SELECT 3")
        connection.rollback()
    kinds = [(s.kind, s.error is not None) for s in statements(postgres)]
    assert kinds == [
        ("execute", False), ("execute", True), ("commit", True), ("commit", False),
        ("execute", False), ("rollback", False), ("execute", False), ("rollback", False), ("commit", False),
    ]  # fmt: skip


def test_a_deferred_constraint_fails_in_the_commit(postgres: Half) -> None:
    with connect(postgres, autocommit=True) as connection:
        connection.execute("CREATE TABLE k (i int UNIQUE DEFERRABLE INITIALLY DEFERRED)")
        with pytest.raises(psycopg.errors.UniqueViolation), connection.transaction():
            connection.execute("INSERT INTO k VALUES (1), (1)")
    found = [s for s in statements(postgres) if s.kind == "commit" and s.error]
    assert [s.error.sqlstate for s in found if s.error] == ["23505"]


def test_pipeline_mode(postgres: Half) -> None:
    with connect(postgres) as connection:
        with connection.pipeline():
            first = connection.execute("INSERT INTO item VALUES (50, 'a'), (51, 'b')")
            second = connection.execute(QUERY)
            many = connection.cursor()
            many.executemany("UPDATE item SET name = %s WHERE id = %s", [("x", 50), ("y", 51)])
            assert len(second.fetchall()) == 5
        assert first.rowcount == 2
        with contextlib.suppress(psycopg.Error), connection.pipeline() as pipeline:
            connection.execute("SELECT nothing")
            pipeline.sync()
    found = asked(postgres)
    assert [s.rowcount for s in found] == [2, 5, 2, -1]
    assert len(found[1].values) == 5 and found[1].columns == ("id", "name")
    assert [s.error.sqlstate if s.error else None for s in found] == [None, None, None, "42703"]


# ------------------------------------------------------------------------------- every way to a connection


class OwnConnection(psycopg.Connection[Any]):
    """An application's class that tells who called whom."""

    log: list[str]

    def cursor(self, *args: Any, **kwargs: Any) -> Any:
        self.__dict__.setdefault("log", []).append("cursor")
        return super().cursor(*args, **kwargs)

    def commit(self) -> None:
        self.__dict__.setdefault("log", []).append("commit")
        super().commit()


class OwnCursor(psycopg.Cursor[Any]):
    def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
        return super().execute(f"{query} /* mine */", params, **kwargs)


def through_pool(made: Half) -> None:
    with psycopg_pool.ConnectionPool(made.database.dsn, open=True) as pool, pool.connection() as connection:
        connection.execute(QUERY).fetchall()


def through_null_pool(made: Half) -> None:
    with (
        psycopg_pool.NullConnectionPool(made.database.dsn, open=True) as pool,
        pool.connection() as connection,
    ):
        connection.execute(QUERY).fetchall()


def through_async_pool(made: Half) -> None:
    async def application() -> None:
        async with (
            psycopg_pool.AsyncConnectionPool(made.database.dsn, open=False) as pool,
            pool.connection() as connection,
        ):
            await (await connection.execute(QUERY)).fetchall()

    asyncio.run(application())


def with_connection(connection: Any) -> None:
    with connection:
        connection.execute(QUERY).fetchall()


def psycopg_url(made: Half) -> str:
    return made.database.url.replace("postgresql://", "postgresql+psycopg://", 1)


def through_sqlalchemy(made: Half) -> None:
    engine = sqlalchemy.create_engine(psycopg_url(made), poolclass=sqlalchemy.pool.NullPool)
    with engine.connect() as connection:
        assert connection.execute(sqlalchemy.text(QUERY)).fetchall() == ROWS


def through_async_sqlalchemy(made: Half) -> None:
    async def application() -> None:
        engine = sqlalchemy.ext.asyncio.create_async_engine(
            psycopg_url(made), poolclass=sqlalchemy.pool.NullPool
        )
        async with engine.connect() as connection:
            assert (await connection.execute(sqlalchemy.text(QUERY))).fetchall() == ROWS

    asyncio.run(application())


WAYS: dict[str, Callable[[Half], None]] = {
    "connect": lambda made: with_connection(psycopg.connect(made.database.dsn)),
    "an early import": lambda made: with_connection(early_connect(made.database.dsn)),
    "Connection.connect": lambda made: with_connection(psycopg.Connection.connect(made.database.dsn)),
    "a URL": lambda made: with_connection(psycopg.connect(made.database.url)),
    "pool": through_pool,
    "null pool": through_null_pool,
    "async pool": through_async_pool,
    "SQLAlchemy": through_sqlalchemy,
    "async SQLAlchemy": through_async_sqlalchemy,
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_a_connection_is_recorded(postgres: Half, way: str) -> None:
    WAYS[way](postgres)
    found = [s for s in asked(postgres) if s.sql == QUERY]
    assert [s.values for s in found] == [ROWS]
    assert found[0].via == ("sqlalchemy" if "SQLAlchemy" in way else "")
    this_line(found[0], "QUERY")


def test_the_applications_own_classes_are_what_they_were(postgres: Half) -> None:
    with OwnConnection.connect(postgres.database.dsn, cursor_factory=OwnCursor) as connection:
        assert isinstance(connection, OwnConnection)
        assert connection.cursor_factory is OwnCursor
        assert repr(connection).startswith(f"<{__name__}.OwnConnection [")
        cursor = connection.execute("SELECT 1")
        assert isinstance(cursor, OwnCursor)
    assert connection.log == ["cursor", "commit"]
    assert only(postgres).sql == "SELECT 1 /* mine */"


def test_statements_to_another_database_are_kept_apart(postgres: Half, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        connection.execute("SELECT 1")
    assert asked(postgres) == []
    assert [s.sql for s in postgres.recorder.bypasses] == ["SELECT 1", "COMMIT"]


# ------------------------------------------------------------------------------------------ call sites of tasks


def test_the_call_site_of_what_a_task_runs_later(postgres: Half) -> None:
    async def application() -> None:
        async with await psycopg.AsyncConnection.connect(postgres.database.dsn) as connection:
            await asyncio.wait_for(connection.execute("SELECT 'waited for'"), 5)
            task = asyncio.create_task(connection.execute("SELECT 'a task'"))
            await task
            await asyncio.gather(
                connection.cursor().execute("SELECT 'gathered'"),
                connection.execute("SELECT 'too'"),
            )

    asyncio.run(application())
    found = asked(postgres)
    assert [s.sql.partition("'")[2] for s in found] == ["waited for'", "a task'", "gathered'", "too'"]
    for statement in found:
        this_line(statement, statement.sql)
        assert statement.via == ""


def test_the_call_site_within_a_greenlet_of_sqlalchemy(postgres: Half) -> None:
    def inside(connection: Any) -> None:
        connection.execute(sqlalchemy.text("SELECT 'inside'"))

    async def application() -> None:
        engine = sqlalchemy.ext.asyncio.create_async_engine(
            psycopg_url(postgres), poolclass=sqlalchemy.pool.NullPool
        )
        async with engine.connect() as connection:
            await connection.run_sync(inside)

    asyncio.run(application())
    found = [s for s in asked(postgres) if "inside" in s.sql]
    assert [s.site.function for s in found if s.site] == ["inside"]
    this_line(found[0], "SELECT 'inside'")


def test_tasks_are_told_apart_like_threads_and_follow_each_other_as_one(postgres: Half) -> None:
    async def one(text: str) -> None:
        async with await psycopg.AsyncConnection.connect(postgres.database.dsn) as connection:
            await connection.execute(text)
            await asyncio.sleep(0.01)
            await connection.execute(text)

    async def both() -> None:
        await asyncio.gather(one("SELECT 'left'"), one("SELECT 'right'"))

    with connect(postgres) as connection:
        connection.execute("SELECT 'before'")
    asyncio.run(one("SELECT 'first'"))
    asyncio.run(one("SELECT 'second'"))
    asyncio.run(both())
    threads: dict[str, set[int]] = {}
    for statement in asked(postgres):
        threads.setdefault(statement.sql.split("'")[1], set()).add(statement.thread)
    assert threads["before"] == threads["first"] == threads["second"] == {0}
    assert len(threads["left"] | threads["right"]) == 2


# ------------------------------------------------------------------------------- as the native driver behaves


def outcome(call: Callable[[Any], Any], way: Any) -> Any:
    try:
        return described(call(way))
    except Exception as error:
        return type(error), re.sub(r" at 0x\w+", "", str(error))


def described(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return [described(item) for item in value]
    for kind in (psycopg.Connection, psycopg.AsyncConnection, psycopg.Cursor, psycopg.AsyncCursor):
        if isinstance(value, kind):
            return kind, type(value).__name__, repr(value).partition(" at ")[0].partition(" (")[0]
    return type(value), re.sub(r" at 0x\w+", "", repr(value))


@contextlib.contextmanager
def both_ways(made: Half) -> Iterator[tuple[Callable[..., Any], Callable[..., Any]]]:
    """Give the native and the recorded way to connect; what they opened is closed afterwards."""
    opened: list[Any] = []
    native_opened: list[Any] = []

    def recorded(**arguments: Any) -> Any:
        while native_opened:  # it has locks
            native_opened.pop().close()
        opened.append(connect(made, **arguments))
        return opened[-1]

    def native(**arguments: Any) -> Any:
        recorder._recording = False
        try:
            found = connect(made, **arguments)
        finally:
            recorder._recording = True
        assert not isinstance(found, recorder.RecordedConnection)
        native_opened.append(found)
        return found

    try:
        yield native, recorded
    finally:
        for connection in (*opened, *native_opened):
            connection.close()


def facts(connection: Any) -> Any:
    info = connection.info
    return [
        connection.autocommit, connection.isolation_level, connection.read_only, connection.deferrable,
        connection.closed, connection.broken, connection.prepare_threshold, connection.prepared_max,
        connection.cursor_factory, connection.server_cursor_factory, connection.row_factory,
        info.dbname, info.user, info.host, info.port, info.transaction_status, info.pipeline_status,
        info.encoding, info.server_version, info.get_parameters(), info.dsn, info.error_message,
        connection.pgconn.nonblocking, len(connection._notice_handlers),
    ]  # fmt: skip


def in_with(connect: Any) -> Any:
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TEMP TABLE t (n int)")
    return [connection, cursor, connection.closed, connection.broken, cursor.closed]


def notices(connect: Any) -> Any:
    found: list[Any] = []
    connection = connect()
    connection.add_notice_handler(lambda diagnostic: found.append(diagnostic.message_primary))
    connection.execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    return found


def cursor_facts(connect: Any) -> Any:
    cursor = connect().execute("SELECT id, name FROM item WHERE id = %s", (1,))
    return [
        cursor, [tuple(column) for column in cursor.description], cursor.rowcount, cursor.rownumber,
        cursor.statusmessage, cursor.arraysize, cursor.closed, cursor.fetchone(), cursor.rownumber,
        cursor._query.query, cursor.row_factory, cursor.format,
    ]  # fmt: skip


def scrolled(connect: Any) -> Any:
    with connect() as connection, connection.cursor("c", scrollable=True, withhold=True) as cursor:
        cursor.execute(QUERY)
        cursor.scroll(1)
        found = [cursor.fetchone(), cursor.name, cursor.scrollable, cursor.withhold]
        cursor.scroll(0, mode="absolute")
        return [*found, cursor.fetchmany(2), cursor.rownumber]


def failing_iterator(connect: Any) -> Any:
    def rows() -> Iterator[tuple[int]]:
        yield (80,)
        raise LookupError("no more")

    connection = connect()
    connection.cursor().executemany("INSERT INTO item VALUES (%s)", rows())


def on_server(connect: Any, method: str, *args: Any, pipeline: bool = False, **kwargs: Any) -> Any:
    with connect() as connection, connection.cursor("n") as cursor:
        with connection.pipeline() if pipeline else contextlib.nullcontext():
            getattr(cursor, method)(*args, **kwargs)
        return cursor.fetchall()


SNIPPETS: dict[str, Callable[[Any], Any]] = {
    "connection": lambda connect: facts(connect()),
    "autocommit": lambda connect: facts(connect(autocommit=True)),
    "unprepared": lambda connect: facts(connect(prepare_threshold=None)),
    "cursor": cursor_facts,
    "scrolling": scrolled,
    "with": in_with,
    "notices": notices,
    "an iterator that fails": failing_iterator,
    "missing attribute": lambda connect: connect().cursor().lastrowid,
    "missing method": lambda connect: connect().cursor().executescript("SELECT 1"),
    "missing method of the connection": lambda connect: connect().create_function("x", 0, None),
    "too few parameters": lambda connect: connect().execute("SELECT %s, %s", (1,)),
    "missing key": lambda connect: connect().execute("SELECT %(a)s", {}),
    "unknown format": lambda connect: connect().execute("SELECT %d", (1,)),
    "wrong type": lambda connect: connect().execute("SELECT %s", (object(),)),
    "empty statement": lambda connect: connect().execute("").statusmessage,
    "not text": lambda connect: connect().execute(5),
    "syntax error": lambda connect: connect().execute("SELEC 1"),
    "unknown argument": lambda connect: connect().execute("SELECT 1", nonsense=1),
    "a cursor with an unknown argument": lambda connect: connect().cursor(nonsense=1),
    "two statements with parameters": lambda connect: connect().execute("SELECT %s; SELECT 2", (1,)),
    "mogrify": lambda connect: psycopg.ClientCursor(connect()).mogrify("SELECT %s", ("it's",)),
    "fetch without a statement": lambda connect: connect().cursor().fetchone(),
    "fetch without a result": lambda connect: connect().execute("SET DateStyle = 'ISO'").fetchall(),
    "fetchmany by keyword": lambda connect: connect().execute(QUERY).fetchmany(size=2),
    "closed cursor": lambda connect: [c := connect().cursor(), c.close(), c.execute("SELECT 1")],
    "closed cursor, fetch": lambda connect: [c := connect().execute(QUERY), c.close(), c.fetchone()],
    "many on a server cursor": lambda connect: on_server(connect, "executemany", "SELECT %s", [(1,)]),
    "unknown argument on a server cursor": lambda connect: on_server(connect, "execute", QUERY, prepare=True),
    "server cursor in a pipeline": lambda connect: on_server(connect, "execute", QUERY, pipeline=True),
    "copy of nothing": lambda connect: connect().cursor().copy("COPY nothing TO STDOUT").__enter__(),
    "copy of what is none": lambda connect: connect().cursor().copy("SELECT 1").__enter__(),
    "execute of copy": lambda connect: connect().execute("COPY item TO STDOUT"),
    "stream of an error": lambda connect: list(connect().cursor().stream("SELECT 1/0")),
    "stream of no rows": lambda connect: list(connect().cursor().stream("SET DateStyle = 'ISO'")),
    "values": lambda connect: connect()
    .execute("SELECT 1.50::numeric, true, '{1,2}'::int[], '{\"a\": 1}'::jsonb, '2024-02-29'::date, '\\x00'::bytea")
    .fetchone(),
    "binary": lambda connect: connect().cursor(binary=True).execute("SELECT 1.50::numeric, '\\x00'::bytea").fetchone(),
    "prepared": lambda connect: [c := connect(), [c.execute("SELECT %s::int", (i,)).fetchone() for i in range(8)]],
    "two phases": lambda connect: [c := connect(), c.tpc_begin(c.xid(1, "a", "b")), c.tpc_rollback()],
    "cancel": lambda connect: connect().cancel(),
    "notifications": lambda connect: [
        c := connect(autocommit=True),
        c.execute("LISTEN a"),
        c.execute("NOTIFY a, 'x'"),
        [(n.channel, n.payload) for n in c.notifies(timeout=0.1, stop_after=1)],
    ],
    "nested transactions": lambda connect: [
        c := connect(),
        (a := c.transaction()).__enter__(),
        c.transaction().__enter__(),
        c.info.transaction_status,
        a.__exit__(None, None, None),
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", SNIPPETS)
def test_it_behaves_as_the_native_driver(postgres: Half, name: str) -> None:
    with both_ways(postgres) as (native, recorded):
        expected = outcome(SNIPPETS[name], native)
        assert outcome(SNIPPETS[name], recorded) == expected


USES_AFTER_CLOSE: dict[str, Callable[[Any, Any], Any]] = {
    "closed": lambda connection, cursor: (connection.closed, connection.broken, connection),
    "close": lambda connection, cursor: connection.close(),
    "execute": lambda connection, cursor: connection.execute("SELECT 1"),
    "cursor": lambda connection, cursor: connection.cursor(),
    "commit": lambda connection, cursor: connection.commit(),
    "rollback": lambda connection, cursor: connection.rollback(),
    "with": lambda connection, cursor: connection.__enter__() is connection,
    "leaving with": lambda connection, cursor: connection.__exit__(None, None, None),
    "transaction": lambda connection, cursor: connection.transaction().__enter__(),
    "pipeline": lambda connection, cursor: connection.pipeline().__enter__(),
    "cancel": lambda connection, cursor: connection.cancel(),
    "transaction status": lambda connection, cursor: connection.info.transaction_status,
    "info": lambda connection, cursor: connection.info.dbname,
    "fileno": lambda connection, cursor: connection.fileno(),
    "set autocommit": lambda connection, cursor: setattr(connection, "autocommit", True),
    "notifies": lambda connection, cursor: list(connection.notifies(timeout=0)),
    "cursor.closed": lambda connection, cursor: cursor.closed,
    "cursor.close": lambda connection, cursor: cursor.close(),
    "cursor.execute": lambda connection, cursor: cursor.execute("SELECT 1"),
    "cursor.executemany": lambda connection, cursor: cursor.executemany("SELECT %s", [(1,)]),
    "cursor.stream": lambda connection, cursor: list(cursor.stream("SELECT 1")),
    "cursor.copy": lambda connection, cursor: cursor.copy("COPY item TO STDOUT").__enter__(),
    "cursor.fetchone": lambda connection, cursor: cursor.fetchone(),
    "cursor.fetchall": lambda connection, cursor: cursor.fetchall(),
    "cursor.description": lambda connection, cursor: len(cursor.description),
    "cursor iteration": lambda connection, cursor: list(cursor),
    "cursor.connection": lambda connection, cursor: cursor.connection is connection,
}


@pytest.mark.parametrize("autocommit", [False, True])
@pytest.mark.parametrize("name", USES_AFTER_CLOSE)
def test_a_closed_connection_is_closed_as_the_native_one(postgres: Half, name: str, autocommit: bool) -> None:
    def use(connect: Any) -> Any:
        connection = connect(autocommit=autocommit)
        cursor = connection.execute(QUERY)
        connection.close()
        return USES_AFTER_CLOSE[name](connection, cursor)

    with both_ways(postgres) as (native, recorded):
        assert outcome(use, recorded) == outcome(use, native)


# ------------------------------------------------------------------------------------ backends that are kept


def session_of(connection: Any) -> dict[str, Any]:
    """Return everything that a connection could keep from an earlier use."""
    found: dict[str, Any] = {"facts": facts(connection)}
    for name, query in {
        "settings": "SELECT name || setting FROM pg_settings WHERE name !~ '^(transac|plpg)' ORDER BY 1",
        "prepared": "SELECT name FROM pg_prepared_statements",
        "cursors": "SELECT name FROM pg_cursors WHERE name <> ''",
        "listening": "SELECT pg_listening_channels()",
        "locks": "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
        "temporary": "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
        "users": "SELECT current_user, session_user, current_schemas(false)",
        "json": "SELECT '{\"a\": 1}'::json",
    }.items():
        found[name] = connection.execute(query).fetchall()
    connection.rollback()
    return found


def run_all(connection: Any, *texts: str) -> None:
    for text in texts:
        connection.execute(text)
    connection.commit()


DIRT: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda c: None,
    "autocommit": lambda c: setattr(c, "autocommit", True),
    "isolation level": lambda c: setattr(c, "isolation_level", psycopg.IsolationLevel.SERIALIZABLE),
    "read only": lambda c: setattr(c, "read_only", True),
    "row factory": lambda c: setattr(c, "row_factory", psycopg.rows.dict_row),
    "cursor factory": lambda c: setattr(c, "cursor_factory", psycopg.ClientCursor),
    "notice handler": lambda c: c.add_notice_handler(print),
    "search path": lambda c: run_all(c, "CREATE SCHEMA other; SET search_path = other"),
    "settings": lambda c: run_all(c, "SET TimeZone = 'Asia/Tokyo'; SET client_encoding = 'LATIN1'"),
    "temporary table": lambda c: run_all(c, "CREATE TEMP TABLE t (n int)"),
    "prepared statement": lambda c: [c.execute("SELECT %s", (i,), prepare=True) for i in range(3)],
    "listening": lambda c: run_all(c, "LISTEN channel"),
    "advisory lock": lambda c: run_all(c, "SELECT pg_advisory_lock(5)"),
    "role": lambda c: run_all(c, "SET ROLE pg_read_all_data"),
    "held cursor": lambda c: run_all(c, "DECLARE h CURSOR WITH HOLD FOR SELECT 1"),
    "open transaction": lambda c: c.execute("INSERT INTO item VALUES (99, 'open')"),
    "failed transaction": lambda c: failing(c),
    "JSON": lambda c: psycopg.types.json.set_json_loads(lambda text: "decoded", c),
}  # fmt: skip


def failing(connection: Any) -> None:
    with contextlib.suppress(psycopg.Error):
        connection.execute("SELECT nothing")


@pytest.mark.parametrize("name", DIRT)
def test_a_kept_backend_has_no_state_of_its_former_use(postgres: Half, name: str) -> None:
    with both_ways(postgres) as (native, _):
        connection = connect(postgres)
        backend = connection.info.backend_pid
        DIRT[name](connection)
        connection.close()
        del connection
        gc.collect()
        other = connect(postgres)
        assert other.info.backend_pid == backend, "the backend was not kept, so this shows nothing"
        assert session_of(other) == session_of(native())
        other.close()


def test_a_backend_that_knows_a_setting_of_the_applications_own_is_not_kept(postgres: Half) -> None:
    connection = connect(postgres)
    backend = connection.info.backend_pid
    run_all(connection, "SET my.setting = 'x'")
    connection.close()
    del connection
    gc.collect()
    with connect(postgres) as other:
        assert other.info.backend_pid != backend


def test_a_backend_within_a_transaction_block_is_not_kept(postgres: Half) -> None:
    connection = connect(postgres)
    backend = connection.info.backend_pid
    block = connection.transaction()
    block.__enter__()
    connection.close()
    block.__exit__(None, None, None)
    del connection, block
    gc.collect()
    with connect(postgres) as other:
        assert other.info.backend_pid != backend


def test_what_refers_to_a_backend_keeps_it_from_being_used_again(postgres: Half) -> None:
    connection = connect(postgres, autocommit=True)
    backend = connection.info.backend_pid
    cursor = connection.cursor()
    held = connection.pgconn
    connection.close()
    with connect(postgres) as other:
        assert other.info.backend_pid != backend
        with pytest.raises(psycopg.OperationalError, match="the connection is closed"):
            cursor.execute("SELECT 1")
    del held


def test_threads_never_get_the_same_backend(postgres: Half) -> None:
    errors: list[Any] = []
    in_use: set[int] = set()
    lock = threading.Lock()

    def work() -> None:
        for _ in range(20):
            connection = connect(postgres)
            backend = connection.info.backend_pid
            with lock:
                errors.extend([backend] if backend in in_use else [])
                in_use.add(backend)
            connection.execute("SELECT 1")
            with lock:
                in_use.discard(backend)
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(asked(postgres)) == 80


def test_connections_of_other_databases_are_not_kept(postgres: Half, postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as connection:
        backend = connection.info.backend_pid
    del connection
    with psycopg.connect(postgres_dsn) as other:
        assert other.info.backend_pid != backend


# --------------------------------------------------------------------------------- from one half to the next


def leaks(worker: Worker, leave: Callable[[Half], Any]) -> tuple[Any, tuple[str, ...]]:
    """Return what a half left open by ``leave``, and what is said of it."""
    with half(worker, "postgres") as made:
        left = leave(made)
    found: tuple[str, ...] = made._found["leaks"]
    return left, found


def left_open(made: Half) -> Any:
    connection = connect(made)
    connection.execute("INSERT INTO item VALUES (99, 'open')")
    return connection


def left_by_a_task(made: Half) -> Any:
    async def application() -> Any:
        connection = await psycopg.AsyncConnection.connect(made.database.dsn)
        await connection.execute("INSERT INTO item VALUES (99, 'open')")
        return connection

    return asyncio.run(application())


@pytest.mark.parametrize("leave", [left_open, left_by_a_task])
def test_an_open_transaction_is_ended_and_named(worker: Worker, leave: Callable[[Half], Any]) -> None:
    connection, found = leaks(worker, leave)
    assert found == ("an open transaction",)
    assert connection.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    with half(worker, "postgres") as made:
        assert made.database.fetchall(QUERY) == ROWS
    connection.pgconn.finish()


def test_a_statement_that_still_runs_is_ended_and_named(worker: Worker) -> None:
    errors: list[BaseException] = []

    def leave(made: Half) -> Any:
        connection = connect(made, autocommit=True)

        def run() -> None:
            try:
                connection.execute("SELECT pg_sleep(60)")
            except psycopg.Error as error:
                errors.append(error)

        thread = threading.Thread(target=run)
        thread.start()
        while connection.info.transaction_status != psycopg.pq.TransactionStatus.ACTIVE:
            time.sleep(0.001)
        return thread

    thread, found = leaks(worker, leave)
    assert found == ("a statement that was still running",)
    thread.join(10)
    assert [type(error) for error in errors] == [psycopg.errors.AdminShutdown]


def in_halves(worker: Worker, *uses: Callable[[Half], Any]) -> None:
    for use in uses:
        with half(worker, "postgres") as made:
            use(made)
        assert made._found["leaks"] == ()


def test_a_pool_outlives_its_test_with_its_settings(worker: Worker) -> None:
    def configure(connection: Any) -> None:
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        connection.commit()

    pools: list[Any] = []

    def use(made: Half) -> None:
        if not pools:
            pool = psycopg_pool.ConnectionPool(made.database.dsn, min_size=2, configure=configure, open=True)
            pool.wait()
            pools.append(pool)
        for _ in range(8):
            with pools[0].connection() as connection:
                assert connection.execute(QUERY).fetchall() == ROWS
                assert connection.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
        with pools[0].connection() as connection:
            connection.execute("DELETE FROM item")
        assert len([s for s in asked(made) if s.sql == QUERY]) == 8

    def change_the_schema(made: Half) -> None:
        use(made)
        with pools[0].connection() as connection:
            connection.execute("ALTER TABLE item ADD COLUMN more text")

    try:
        in_halves(worker, use, use, change_the_schema, use, use)
    finally:
        pools[0].close()


def test_an_engine_outlives_its_test_with_its_settings(worker: Worker) -> None:
    engines: list[Any] = []

    def use(made: Half) -> None:
        if not engines:
            engines.append(sqlalchemy.create_engine(psycopg_url(made)))

            @sqlalchemy.event.listens_for(engines[0], "connect")
            def set_up(connection: Any, record: Any) -> None:
                connection.execute("SET TimeZone = 'Asia/Tokyo'")
                connection.commit()

        with engines[0].begin() as connection:
            assert connection.execute(sqlalchemy.text(QUERY)).fetchall() == ROWS
            assert connection.execute(sqlalchemy.text("SHOW TimeZone")).scalar() == "Asia/Tokyo"
            connection.execute(sqlalchemy.text("DELETE FROM item"))

    def change_the_schema(made: Half) -> None:
        use(made)
        with engines[0].begin() as connection:
            connection.execute(sqlalchemy.text("CREATE TABLE more (id int)"))

    try:
        in_halves(worker, use, change_the_schema, use, use)
    finally:
        engines[0].dispose()


def test_an_async_pool_outlives_its_test(worker: Worker) -> None:
    with asyncio.Runner() as runner:
        pools: list[Any] = []

        async def application(dsn: str) -> None:
            if not pools:
                pools.append(psycopg_pool.AsyncConnectionPool(dsn, min_size=2, open=False))
                await pools[0].open(wait=True)
            for _ in range(6):
                async with pools[0].connection() as connection:
                    assert await (await connection.execute(QUERY)).fetchall() == ROWS
            async with pools[0].connection() as connection:
                await connection.execute("DELETE FROM item")
                await connection.execute("CREATE TABLE more (id int)")

        def use(made: Half) -> None:
            runner.run(application(made.database.dsn))

        in_halves(worker, use, use, use)
        runner.run(pools[0].close())


def test_statements_between_the_halves_are_undone(worker: Worker) -> None:
    with half(worker, "postgres") as made:
        connection = connect(made)
        connection.execute(QUERY)
        connection.commit()
    connection.execute("DELETE FROM item")
    connection.commit()
    with half(worker, "postgres") as made:
        assert made.database.fetchall(QUERY) == ROWS
    connection.close()


# ------------------------------------------------------------------------------------------------ as users run it

APPLICATION = """
import os
import sqlite3
from contextlib import contextmanager

if os.environ["APP_URL"].startswith("postgresql"):
    import psycopg_pool

    pool = psycopg_pool.ConnectionPool(os.environ["APP_URL"], min_size=1, max_size=2, open=True)
else:
    pool = None


@contextmanager
def connected():
    if pool is not None:
        with pool.connection() as connection:
            yield connection
    else:
        with sqlite3.connect(os.environ["APP_PATH"]) as connection:
            yield connection


def run(connection, sql, *params):
    if pool is not None:
        sql = sql.replace("?", "%s")
    return connection.execute(sql, params)


def add(name):
    with connected() as connection:
        run(connection, "INSERT INTO item (name) VALUES (?)", name)


def names(pattern):
    with connected() as connection:
        return [row[0] for row in run(connection, "SELECT name FROM item WHERE name LIKE ? ORDER BY name", pattern)]
"""


CONFTEST = """
def pytest_dualdb_setup(db):
    key = "SERIAL" if db.backend == "postgres" else "INTEGER"
    db.executescript(f"CREATE TABLE item (id {key} PRIMARY KEY, name TEXT); INSERT INTO item (name) VALUES ('Ada')")
"""
TESTS = """
import app
import pytest


@pytest.mark.parametrize("number", range(4))
def test_pool(db, number):
    app.add("grace")
    assert app.names("gr%") == ["grace"]


def test_ddl(db):
    with app.connected() as connection:
        app.run(connection, "ALTER TABLE item ADD COLUMN more TEXT")


def test_after_ddl(db):
    app.add("grace")
    assert app.names("%") == ["Ada", "grace"]


def test_case(db):
    app.names("a%")
"""
INI = """
[pytest]
dualdb_env =
    APP_URL={psycopg_url}
    APP_PATH={path}
"""


def as_a_user(folder: Path, files: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return subprocess.run(
        command(*arguments), cwd=folder, env=environment(), capture_output=True, encoding="utf-8",
        stdin=subprocess.DEVNULL, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])
def test_an_application_with_a_pool_at_module_level(
    tmp_path: Path, projects: Projects, workers: tuple[str, ...]
) -> None:
    files = {"app.py": APPLICATION, "conftest.py": CONFTEST, "test_app.py": TESTS, "pytest.ini": INI}
    files["app.py"] = APPLICATION.replace(
        'os.environ["APP_URL"], min', 'os.environ["APP_URL"].replace("+psycopg", ""), min'
    )
    done = as_a_user(
        tmp_path, files, "--db=postgres", f"--db-postgres={projects.postgres}", "-W", "error", *workers
    )
    assert "7 passed" in done.stdout, done.stdout + done.stderr


CHECKS = """
import builtins
import sqlite3
import sys


def test_not_imported(db):
    assert db.scalar("SELECT count(*) FROM item") == 1
    assert "psycopg" not in sys.modules
    assert "pytest_dualdb.recorder.psycopg" not in sys.modules


def test_imported_within_a_test(db):
    if db.backend == "sqlite":
        with sqlite3.connect(db.path) as connection:
            connection.execute("SELECT name FROM item").fetchall()
        return
    import psycopg

    with psycopg.connect(db.url) as connection:
        connection.execute("SELECT name FROM item").fetchall()
    assert psycopg.__spec__.loader.get_source("psycopg")


def test_like(db):
    if db.backend == "sqlite":
        connection = sqlite3.connect(db.path)
    else:
        import psycopg

        connection = psycopg.connect(db.dsn)
    connection.execute("SELECT name FROM item WHERE name LIKE 'a%'").fetchall()
    connection.close()
"""


@pytest.mark.parametrize("workers", [(), ("-n2",)], ids=["n0", "n2"])
def test_it_is_recorded_from_its_import_on_and_never_imported_before(
    tmp_path: Path, projects: Projects, workers: tuple[str, ...]
) -> None:
    files = {"conftest.py": CONFTEST, "test_app.py": CHECKS, "pytest.ini": "[pytest]\n"}
    arguments = ("--db=both", f"--db-postgres={projects.postgres}", "--dist=loadfile", *workers)
    done = as_a_user(tmp_path, files, *(arguments if workers else (*arguments[:2],)))
    text = done.stdout + done.stderr
    assert "6 passed" in text, text
    assert "3 pairs: 2 agree, 1 disagree" in text, text
    assert "like-case" in text, text
    assert "test_app.py:32 in test_like" in text, text


def test_an_application_without_the_driver_works(tmp_path: Path, projects: Projects) -> None:
    broken = "raise ImportError('no pq wrapper available')\n"
    test = """
import pytest


def test_without(db):
    with pytest.raises(ImportError, match="no pq wrapper"):
        import psycopg
    assert db.scalar("SELECT count(*) FROM item") == 1
"""
    files = {"conftest.py": CONFTEST, "psycopg.py": broken, "test_app.py": test}
    done = as_a_user(tmp_path, files, "--db=both", f"--db-postgres={projects.postgres}", "-W", "error")
    assert "1 pair: agrees" in done.stdout, done.stdout + done.stderr
    assert "is not recorded" not in done.stderr
