"""The recorded classes: no application can tell them from the native ones, nor a used backend from a new one.

Each piece of an application runs on a native connection and on a recorded one; it has to get the same.
"""

from __future__ import annotations

import collections
import contextlib
import copy
import gc
import io
import pickle
import sqlite3
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import pytest
from halves import QUERY, statements

from pytest_dualdb.recorder import Description
from pytest_dualdb.recorder import psycopg2 as postgres_recorder
from pytest_dualdb.recorder import sqlite3 as sqlite_recorder
from pytest_dualdb.worker import Half


def assigned(target: Any, name: str, value: Any) -> Any:
    """Set an attribute within an expression."""
    setattr(target, name, value)
    return target


def as_dict(cursor: Any, row: Any) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


def outcome(call: Callable[[Any], Any], connect: Any) -> Any:
    """Return what a piece of an application gets: its value, or the class and message of the exception."""
    try:
        return described(call(connect))
    except Exception as error:
        return type(error), str(error)


def described(value: Any) -> Any:
    """Return the value with its types, where connections and cursors count by what they inherit."""
    if isinstance(value, list | tuple):
        # a description takes note of being read: pickled and copied it is a plain tuple
        own = tuple if type(value) is Description else type(value)
        return own.__name__, [described(item) for item in value]
    if isinstance(value, dict):
        return type(value).__name__, [(key, described(item)) for key, item in value.items()]
    if isinstance(value, sqlite3.Row):
        return type(value).__name__, value.keys(), tuple(value)
    for kind in (
        sqlite3.Connection,
        sqlite3.Cursor,
        psycopg2.extensions.connection,
        psycopg2.extensions.cursor,
    ):
        if isinstance(value, kind):
            return kind
    return type(value), repr(value)


class LoudConnection(sqlite3.Connection):
    """An application's class that overrides everything and tells who called whom."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.log: list[str] = []
        super().__init__(*args, **kwargs)

    def cursor(self, *args: Any) -> Any:
        self.log.append("cursor")
        return super().cursor(*args)

    def execute(self, *args: Any) -> Any:
        self.log.append("execute")
        return super().execute(*args)

    def commit(self) -> None:
        self.log.append("commit")
        super().commit()

    def rollback(self) -> None:
        self.log.append("rollback")
        super().rollback()


class CursorOnly(sqlite3.Connection):
    def cursor(self, *args: Any) -> Any:
        raise AssertionError("not called by the native driver")


class LoudCursor(sqlite3.Cursor):
    log: list[str]

    def execute(self, *args: Any) -> Any:
        self.__dict__.setdefault("log", []).append("execute")
        return super().execute(*args)

    def fetchone(self) -> Any:
        self.__dict__.setdefault("log", []).append("fetchone")
        return super().fetchone()

    def __next__(self) -> Any:
        self.__dict__.setdefault("log", []).append("next")
        return super().__next__()


def loud(connect: Any) -> Any:
    connection = connect(factory=LoudConnection)
    connection.execute("CREATE TABLE t (n)")
    connection.executemany("INSERT INTO t VALUES (?)", [(1,)])
    with connection:
        connection.execute("INSERT INTO t VALUES (2)")
    with contextlib.suppress(KeyError), connection:
        raise KeyError
    connection.executescript("SELECT 1")
    connection.cursor(LoudCursor).execute("SELECT 1").fetchall()
    return connection.log


def loud_cursor(connect: Any) -> Any:
    cursor = connect().cursor(LoudCursor)
    cursor.execute("SELECT 1 UNION SELECT 2 UNION SELECT 3")
    return cursor.fetchone(), next(cursor), cursor.fetchall(), cursor.log


def failing_generator(connect: Any) -> Any:
    connection = connect()
    connection.execute("CREATE TABLE t (n)")

    def rows() -> Iterator[tuple[int]]:
        yield (1,)
        raise LookupError("no more")

    with contextlib.suppress(LookupError):
        connection.executemany("INSERT INTO t VALUES (?)", rows())
    return connection.in_transaction, connection.execute("SELECT * FROM t").fetchall()


def transactions(connect: Any) -> Any:
    found = []
    for arguments in ({}, {"isolation_level": None}, {"isolation_level": "IMMEDIATE"}):
        connection = connect(**arguments)
        found.append(connection.in_transaction)
        connection.execute("CREATE TABLE t (n)")
        found.append(connection.in_transaction)
        connection.execute("INSERT INTO t VALUES (1)")
        found.append(connection.in_transaction)
        found.append((connection.total_changes, connection.isolation_level))
        connection.commit()
        found.append(connection.in_transaction)
    return found


def other_thread(connect: Any) -> Any:
    connection = connect()
    found: list[Any] = []

    def use() -> None:
        for call in (connection.cursor, connection.commit, lambda: connection.execute("SELECT 1")):
            try:
                call()
            except sqlite3.Error as error:
                found.append((type(error), str(error).partition("The object was")[0]))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    return found


SQLITE_SNIPPETS: dict[str, Callable[[Any], Any]] = {
    "overriding class": loud,
    "overriding cursor()": lambda connect: connect(factory=CursorOnly).execute("SELECT 1").fetchall(),
    "overriding cursor class": loud_cursor,
    "generator that fails": failing_generator,
    "transactions": transactions,
    "another thread": other_thread,
    "syntax error": lambda connect: connect().execute("SELEC 1"),
    "missing table": lambda connect: connect().cursor().execute("SELECT * FROM nothing"),
    "too few parameters": lambda connect: connect().execute("SELECT ?, ?", (1,)),
    "wrong type": lambda connect: connect().execute("SELECT ?", (object(),)),
    "not a sequence": lambda connect: connect().execute("SELECT ?", 5),
    "two statements": lambda connect: connect().execute("SELECT 1; SELECT 2"),
    "not text": lambda connect: connect().execute(5),
    "script that fails": lambda connect: connect().executescript("SELECT 1; SELEC 2"),
    "many with SELECT": lambda connect: connect().executemany("SELECT ?", [(1,)]),
    "many without parameters": lambda connect: connect().executemany("SELECT 1"),
    "closed cursor": lambda connect: [c := connect().cursor(), c.close(), c.execute("SELECT 1")],
    "closed cursor, fetch": lambda connect: [c := connect().execute("SELECT 1"), c.close(), c.fetchone()],
    "closed connection": lambda connect: [c := connect(), c.close(), c.execute("SELECT 1")],
    "closed connection, commit": lambda connect: [c := connect(), c.close(), c.commit()],
    "closed connection, cursor": lambda connect: [c := connect(), c.close(), c.cursor()],
    "fetch without a statement": lambda connect: (
        c := connect().cursor(),
        c.fetchone(),
        c.fetchall(),
        c.fetchmany(),
        list(c),
    ),
    "fetchmany by keyword": lambda connect: connect().execute("SELECT 1 UNION SELECT 2").fetchmany(size=1),
    "fetchmany of none": lambda connect: connect().execute("SELECT 1").fetchmany(0),
    "description": lambda connect: (
        connect().execute("SELECT 1 AS a, 2 AS b").description,
        connect().execute("CREATE TABLE t (n)").description,
    ),
    "counts": lambda connect: [
        c := connect(),
        c.execute("CREATE TABLE t (n)").rowcount,
        c.execute("INSERT INTO t VALUES (1)").lastrowid,
        c.execute("UPDATE t SET n = 2").rowcount,
        c.execute("SELECT 1").rowcount,
        c.cursor().lastrowid,
    ],
    "the cursor is the answer": lambda connect: [
        c := connect().cursor(),
        c.execute("SELECT 1") is c,
        c.executescript("SELECT 1") is c,
        c.connection,
    ],
    "row factories": lambda connect: [
        (
            (c := assigned(connect(), "row_factory", factory)),
            c.execute("SELECT 1 AS id, 'x' AS name").fetchone(),
        )
        for factory in (sqlite3.Row, as_dict, None)
    ],
    "a row factory that fails": lambda connect: [
        c := assigned(connect(), "row_factory", lambda cursor, row: row[5]),
        c.execute("SELECT 1").fetchone(),
    ],
    "a row factory that is no callable": lambda connect: [
        c := assigned(connect(), "row_factory", 5),
        c.execute("SELECT 1").fetchone(),
    ],
    "text factory": lambda connect: [
        c := assigned(connect(), "text_factory", bytes),
        c.execute("SELECT 'é'").fetchone(),
    ],
    "converters": lambda connect: (
        connect(detect_types=sqlite3.PARSE_COLNAMES)
        .execute("SELECT 5 AS 'x [unknown]', x'00ff' AS b")
        .fetchone()
    ),
    "functions": lambda connect: [
        c := connect(),
        c.create_function("twice", 1, lambda x: 2 * x),
        c.execute("SELECT twice(4)").fetchone(),
        list(c.iterdump()),
    ],
    "a function that fails": lambda connect: [
        c := connect(),
        c.create_function("bad", 0, lambda: 1 / 0),
        c.execute("SELECT bad()").fetchone(),
    ],
    "backup": lambda connect: [
        c := connect(),
        c.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (1)"),
        c.backup(d := connect()),
        d.execute("SELECT * FROM t").fetchall(),
    ],
    "positional arguments": lambda connect: connect(5.0, 0, None).isolation_level,
    "with gives the connection": lambda connect: [c := connect(), c.__enter__() is c],
    "unknown argument": lambda connect: connect(nonsense=1),
    "a factory function": lambda connect: (
        connect(factory=lambda *a, **k: sqlite3.Connection(*a, **k)).execute("SELECT 1").fetchone()
    ),
    "a factory that is no connection": lambda connect: connect(factory=lambda *a, **k: "mine"),
    "iteration within iteration": lambda connect: [
        c := connect(),
        [(a, b) for a in c.execute("SELECT 1 UNION SELECT 2") for b in c.execute("SELECT 3")],
    ],
    "constraint in commit": lambda connect: [
        c := connect(isolation_level=None),
        c.executescript(
            "PRAGMA foreign_keys = ON; CREATE TABLE p (i INTEGER PRIMARY KEY);"
            "CREATE TABLE k (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
        ),
        c.execute("BEGIN"),
        c.execute("INSERT INTO k VALUES (1)"),
        c.commit(),
    ],
    "constraint in with": lambda connect: deferred(connect),
}


def deferred(connect: Any) -> Any:
    connection = connect()
    connection.executescript(
        "PRAGMA foreign_keys = ON; CREATE TABLE p (i INTEGER PRIMARY KEY);"
        "CREATE TABLE k (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
    )
    try:
        with connection:
            connection.execute("INSERT INTO k VALUES (1)")
    except sqlite3.IntegrityError as error:
        return str(error), connection.in_transaction, connection.execute("SELECT * FROM k").fetchall()
    return "no error"


@pytest.mark.parametrize("name", SQLITE_SNIPPETS)
def test_sqlite_behaves_as_the_native_driver(sqlite: Half, name: str) -> None:
    opened: list[Any] = []

    def native(*args: Any, **kwargs: Any) -> Any:
        opened.append(sqlite_recorder.native_connect(":memory:", *args, **kwargs))
        return opened[-1]

    def recorded(*args: Any, **kwargs: Any) -> Any:
        opened.append(sqlite3.connect(":memory:", *args, **kwargs))
        return opened[-1]

    try:
        assert outcome(SQLITE_SNIPPETS[name], recorded) == outcome(SQLITE_SNIPPETS[name], native)
    finally:
        for connection in opened:
            if isinstance(connection, sqlite3.Connection):
                connection.close()


def cursor_facts(connect: Any) -> Any:
    cursor = connect().cursor()
    cursor.execute("SELECT id, name FROM item WHERE id = %s", (1,))
    return [
        tuple(cursor.description[0]),
        cursor.rowcount,
        cursor.rownumber,
        cursor.query,
        cursor.statusmessage,
        cursor.lastrowid,
        cursor.arraysize,
        cursor.itersize,
        cursor.name,
        cursor.scrollable,
        cursor.withhold,
        cursor.closed,
        cursor.fetchone(),
        cursor.rownumber,
    ]


def scrolled(connect: Any) -> Any:
    with connect() as connection, connection.cursor("c", scrollable=True, withhold=True) as cursor:
        cursor.execute(QUERY)
        cursor.scroll(1)
        found = [cursor.fetchone(), cursor.name, cursor.scrollable, cursor.withhold]
        cursor.scroll(0, mode="absolute")
        return [*found, cursor.fetchmany(2)]


def in_with(connect: Any) -> Any:
    connection = connect()
    found: list[Any] = []
    with connection as inner, connection.cursor() as cursor:
        found.append(inner is connection)
        cursor.execute("CREATE TEMP TABLE t (n int)")
        found.append(connection.status)
    found += [cursor.closed, connection.closed, connection.status]
    with contextlib.suppress(psycopg2.Error), connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1/0")
    return [*found, connection.status, connection.get_transaction_status()]


def error_facts(connect: Any) -> Any:
    connection = connect()
    cursor = connection.cursor()
    try:
        cursor.execute("INSERT INTO item VALUES (1, 'again')")
    except psycopg2.IntegrityError as error:
        return [
            type(error),
            error.pgcode,
            error.pgerror,
            error.diag.constraint_name,
            error.diag.message_detail,
            error.cursor is cursor,
            error.args,
            connection.get_transaction_status(),
        ]
    return None


def connection_facts(connect: Any) -> Any:
    connection = connect()
    return [
        connection.autocommit,
        connection.isolation_level,
        connection.readonly,
        connection.deferrable,
        connection.encoding,
        connection.notices,
        connection.notifies,
        connection.closed,
        connection.status,
        connection.async_,
        connection.cursor_factory,
        connection.server_version,
        connection.protocol_version,
        connection.info.dbname,
        connection.info.user,
        connection.info.transaction_status,
        connection.string_types,
        connection.get_dsn_parameters(),
        connection.get_parameter_status("server_encoding"),
        connection.info.needs_password,
    ]


def notices(connect: Any) -> Any:
    connection = connect()
    connection.cursor().execute("DO $$ BEGIN RAISE NOTICE 'hello'; END $$")
    return connection.notices


def positional_cursor(connect: Any) -> Any:
    connection = connect()
    cursor = connection.cursor("c", psycopg2.extras.DictCursor, None, True)
    return [isinstance(cursor, psycopg2.extras.DictCursor), cursor.name, cursor.withhold]


def late_error(connect: Any) -> Any:
    connection = connect()
    cursor = connection.cursor()
    cursor.execute("SET CONSTRAINTS ALL DEFERRED; SELECT 1")
    with contextlib.suppress(psycopg2.Error):
        cursor.execute("SELECT nothing")
    connection.commit()
    return connection.get_transaction_status()


POSTGRES_SNIPPETS: dict[str, Callable[[Any], Any]] = {
    "cursor": cursor_facts,
    "scrolling": scrolled,
    "with": in_with,
    "error": error_facts,
    "connection": connection_facts,
    "notices": notices,
    "cursor by position": positional_cursor,
    "commit of a failed transaction": late_error,
    "no percent without parameters": lambda connect: [
        c := connect().cursor(),
        c.execute("SELECT '%'"),
        c.fetchall(),
    ],
    "percent with an empty tuple": lambda connect: [
        c := connect().cursor(),
        c.execute("SELECT '%'", ()),
        c.fetchall(),
    ],
    "too few parameters": lambda connect: connect().cursor().execute("SELECT %s, %s", (1,)),
    "too many parameters": lambda connect: connect().cursor().execute("SELECT %s", (1, 2)),
    "missing key": lambda connect: connect().cursor().execute("SELECT %(a)s", {}),
    "unknown format": lambda connect: connect().cursor().execute("SELECT %d", (1,)),
    "wrong type": lambda connect: connect().cursor().execute("SELECT %s", (object(),)),
    "empty statement": lambda connect: connect().cursor().execute(""),
    "not text": lambda connect: connect().cursor().execute(5),
    "by keyword": lambda connect: [
        c := connect().cursor(),
        c.execute(query="SELECT %s", vars=(1,)),
        c.fetchone(),
    ],
    "many by keyword": lambda connect: connect().cursor().executemany(query="SELECT %s", vars_list=[(1,)]),
    "mogrify": lambda connect: connect().cursor().mogrify("SELECT %s", ("it's",)),
    "fetch without a statement": lambda connect: connect().cursor().fetchone(),
    "fetch without a result": lambda connect: [
        c := connect().cursor(),
        c.execute("SET DateStyle = 'ISO'"),
        c.fetchall(),
    ],
    "fetchmany by keyword": lambda connect: [c := connect().cursor(), c.execute(QUERY), c.fetchmany(size=2)],
    "fetchmany of none": lambda connect: [c := connect().cursor(), c.execute(QUERY), c.fetchmany(0)],
    "callproc by name": lambda connect: [
        c := connect().cursor(),
        c.callproc("plus", {"a": 1, "b": 2}),
        c.fetchone(),
    ],
    "callproc in order": lambda connect: [c := connect().cursor(), c.callproc("plus", [1, 2]), c.fetchone()],
    "callproc without": lambda connect: [c := connect().cursor(), c.callproc("version"), len(c.fetchall())],
    "callproc of nothing": lambda connect: connect().cursor().callproc("nothing"),
    "copy to": lambda connect: [
        f := io.StringIO(),
        connect().cursor().copy_to(f, "item", null="-"),
        f.getvalue(),
    ],
    "copy of nothing": lambda connect: connect().cursor().copy_from(io.StringIO("1\n"), "nothing"),
    "copy with columns": lambda connect: [
        c := connect().cursor(),
        c.copy_from(io.StringIO("70\n"), "item", columns=("id",)),
        c.rowcount,
    ],
    "closed cursor": lambda connect: [c := connect().cursor(), c.close(), c.execute("SELECT 1")],
    "named cursor twice": lambda connect: [c := connect().cursor("n"), c.execute(QUERY), c.execute(QUERY)],
    "named cursor, many": lambda connect: connect().cursor("n").executemany("SELECT %s", [(1,)]),
    "named cursor after the commit": lambda connect: [
        c := connect().cursor("n"),
        c.execute(QUERY),
        c.connection.commit(),
        c.fetchone(),
    ],
    "named cursor in autocommit": lambda connect: [
        c := assigned(connect(), "autocommit", True),
        c.cursor("n").execute(QUERY),
    ],
    "unknown argument": lambda connect: connect().cursor(nonsense=1),
    "a cursor factory that is no cursor": lambda connect: connect().cursor(cursor_factory=5),
    "a cursor factory function": lambda connect: connect().cursor(
        cursor_factory=lambda *a, **k: psycopg2.extensions.cursor(*a, **k)
    ),
    "dictionaries": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.RealDictCursor),
        c.execute(QUERY),
        c.fetchone(),
        c.fetchall(),
    ],
    "dict rows": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.DictCursor),
        c.execute(QUERY),
        (r := c.fetchone())["id"],
        r[1],
        list(r.keys()),
        r.copy(),
    ],
    "named tuples": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.NamedTupleCursor),
        c.execute(QUERY),
        c.fetchall(),
    ],
    "logging": lambda connect: [
        c := connect(connection_factory=psycopg2.extras.LoggingConnection),
        c.initialize(f := io.StringIO()),
        c.cursor().execute("SELECT 5"),
        f.getvalue(),
    ],
    "values": lambda connect: [
        c := connect().cursor(),
        c.execute(
            "SELECT 1.50::numeric, true, '{1,2}'::int[], '{\"a\": 1}'::jsonb, '2024-02-29'::date, NULL"
        ),
        c.fetchone()[:5],
    ],
    "encoding": lambda connect: [
        c := connect(),
        c.set_client_encoding("LATIN1"),
        c.encoding,
        (k := c.cursor()).execute("SELECT 'é'"),
        k.fetchone(),
    ],
    "types of the connection": lambda connect: [
        len(psycopg2.extras.register_default_json(c := connect(), loads=lambda text: text.upper())),
        (k := c.cursor()).execute("SELECT '{\"a\": 1}'::json"),
        k.fetchone(),
    ],
    "sessions": lambda connect: [
        c := connect(),
        c.set_session(isolation_level="SERIALIZABLE", readonly=True),
        c.isolation_level,
        c.readonly,
        c.set_isolation_level(0),
        c.autocommit,
    ],
    "large objects": lambda connect: [(c := connect().lobject(0, "wb")).write(b"x"), c.closed],
    "reset": lambda connect: [
        c := connect(),
        c.cursor().execute("SET search_path = nothing"),
        c.reset(),
        c.status,
    ],
    "cancel": lambda connect: connect().cancel(),
    "two phases": lambda connect: [
        c := connect(),
        c.tpc_begin(c.xid(1, "a", "b")),
        c.tpc_rollback(),
        c.status,
    ],
    "pool": lambda connect: isinstance(connect(), psycopg2.extensions.connection),
}


def both_ways(postgres: Half) -> tuple[Callable[..., Any], Callable[..., Any], list[Any]]:
    """Return the native and the recorded way to connect, and what they opened."""
    dsn, opened = postgres.database.dsn, []

    def native(connection_factory: Any = None, cursor_factory: Any = None) -> Any:
        opened.append(
            postgres_recorder.native_connect(
                dsn, connection_factory=connection_factory, cursor_factory=cursor_factory
            )
            if cursor_factory
            else postgres_recorder.native_connect(dsn, connection_factory=connection_factory)
        )
        return opened[-1]

    def recorded(**arguments: Any) -> Any:
        opened.append(psycopg2.connect(dsn, **arguments))
        return opened[-1]

    return native, recorded, opened


@pytest.mark.parametrize("name", POSTGRES_SNIPPETS)
def test_postgres_behaves_as_the_native_driver(postgres: Half, name: str) -> None:
    native, recorded, opened = both_ways(postgres)
    try:
        expected = outcome(POSTGRES_SNIPPETS[name], native)
        for connection in opened:
            connection.rollback()
        assert outcome(POSTGRES_SNIPPETS[name], recorded) == expected
    finally:
        for connection in opened:
            connection.close()


@pytest.mark.parametrize("last", ["SELECT 1", "SELECT 1 / 0"])
def test_close_ends_a_transaction_that_was_begun_by_name(postgres: Half, last: str) -> None:
    first = psycopg2.connect(postgres.database.dsn)
    first.autocommit = True
    cursor = first.cursor()
    cursor.execute("BEGIN; LOCK TABLE item")
    with contextlib.suppress(psycopg2.Error):
        cursor.execute(last)
    first.close()
    second = psycopg2.connect(postgres.database.dsn)
    second.cursor().execute("SET lock_timeout = '5s'; LOCK TABLE item")
    second.close()


USES_AFTER_CLOSE: dict[str, Callable[[Any, Any], Any]] = {
    "closed": lambda connection, cursor: connection.closed,
    "close": lambda connection, cursor: connection.close(),
    "cursor": lambda connection, cursor: connection.cursor(),
    "commit": lambda connection, cursor: connection.commit(),
    "rollback": lambda connection, cursor: connection.rollback(),
    "with": lambda connection, cursor: connection.__enter__(),
    "reset": lambda connection, cursor: connection.reset(),
    "cancel": lambda connection, cursor: connection.cancel(),
    "transaction status": lambda connection, cursor: connection.get_transaction_status(),
    "backend pid": lambda connection, cursor: connection.get_backend_pid(),
    "parameter status": lambda connection, cursor: connection.get_parameter_status("server_encoding"),
    "fileno": lambda connection, cursor: connection.fileno(),
    "poll": lambda connection, cursor: connection.poll(),
    "isexecuting": lambda connection, cursor: connection.isexecuting(),
    "autocommit": lambda connection, cursor: connection.autocommit,
    "set autocommit": lambda connection, cursor: setattr(connection, "autocommit", True),
    "set isolation_level": lambda connection, cursor: setattr(connection, "isolation_level", "SERIALIZABLE"),
    "set readonly": lambda connection, cursor: setattr(connection, "readonly", True),
    "set deferrable": lambda connection, cursor: setattr(connection, "deferrable", True),
    "set_session": lambda connection, cursor: connection.set_session(readonly=True),
    "set_isolation_level": lambda connection, cursor: connection.set_isolation_level(1),
    "set_client_encoding": lambda connection, cursor: connection.set_client_encoding("UTF8"),
    "lobject": lambda connection, cursor: connection.lobject(),
    "xid": lambda connection, cursor: connection.xid(1, "a", "b"),
    "tpc_begin": lambda connection, cursor: connection.tpc_begin("x"),
    "tpc_recover": lambda connection, cursor: connection.tpc_recover(),
    "notices": lambda connection, cursor: connection.notices,
    "cursor.closed": lambda connection, cursor: cursor.closed,
    "cursor.close": lambda connection, cursor: cursor.close(),
    "cursor.execute": lambda connection, cursor: cursor.execute("SELECT 1"),
    "cursor.executemany": lambda connection, cursor: cursor.executemany("SELECT %s", [(1,)]),
    "cursor.mogrify": lambda connection, cursor: cursor.mogrify("SELECT 1"),
    "cursor.callproc": lambda connection, cursor: cursor.callproc("version"),
    "cursor.copy_to": lambda connection, cursor: cursor.copy_to(io.StringIO(), "item"),
    "cursor.copy_expert": lambda connection, cursor: cursor.copy_expert("COPY item TO STDOUT", io.StringIO()),
    "cursor.fetchone": lambda connection, cursor: cursor.fetchone(),
    "cursor.fetchmany": lambda connection, cursor: cursor.fetchmany(1),
    "cursor.fetchall": lambda connection, cursor: cursor.fetchall(),
    "cursor iteration": lambda connection, cursor: list(cursor),
    "cursor.scroll": lambda connection, cursor: cursor.scroll(1),
    "cursor.rowcount": lambda connection, cursor: cursor.rowcount,
    "cursor.connection": lambda connection, cursor: cursor.connection is connection,
    "cursor with": lambda connection, cursor: cursor.__enter__() is cursor,
}


@pytest.mark.parametrize("name", USES_AFTER_CLOSE)
def test_a_closed_connection_is_closed_as_the_native_one(postgres: Half, name: str) -> None:
    native, recorded, _ = both_ways(postgres)

    def use(connect: Any) -> Any:
        connection = connect()
        cursor = connection.cursor()
        cursor.execute(QUERY)
        connection.close()
        return USES_AFTER_CLOSE[name](connection, cursor)

    assert outcome(use, recorded) == outcome(use, native)


# ------------------------------------------------------------------------------------ backends that are kept


def session_of(connection: Any) -> dict[str, Any]:
    """Return everything that a connection could keep from an earlier use."""
    found: dict[str, Any] = {
        name: getattr(connection, name)
        for name in (
            "autocommit",
            "isolation_level",
            "readonly",
            "deferrable",
            "encoding",
            "status",
            "closed",
            "notices",
            "notifies",
            "string_types",
            "binary_types",
            "cursor_factory",
        )
    }
    found["notices type"] = type(connection.notices)
    found["own"] = {name for name in getattr(connection, "__dict__", ()) if not name.startswith("_")}
    with connection.cursor() as cursor:
        assert type(cursor).__mro__.count(psycopg2.extras.DictCursor) == 0
        for name, query in {
            "settings": "SELECT name || setting FROM pg_settings WHERE name !~ '^(transac|plpg)' ORDER BY 1",
            "prepared": "SELECT name FROM pg_prepared_statements WHERE name NOT LIKE 'dualdb%'",
            "cursors": "SELECT name FROM pg_cursors WHERE name <> ''",
            "listening": "SELECT pg_listening_channels()",
            "locks": "SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'",
            "temporary": "SELECT relname FROM pg_class WHERE relnamespace = pg_my_temp_schema()",
            "users": "SELECT current_user, session_user, current_schemas(false)",
            "text": "SELECT 'é€', 1.5, '{\"a\": 1}'::json",
            "own setting": "SELECT current_setting('my.setting', true)",
        }.items():
            cursor.execute(query)
            found[name] = cursor.fetchall()
        with pytest.raises(psycopg2.ProgrammingError):
            cursor.execute("SELECT currval('pg_temp.s')")
    connection.rollback()
    return found


def run_all(connection: Any, *texts: str) -> Any:
    for text in texts:
        connection.cursor().execute(text)
    return connection.commit()


DIRT: dict[str, Callable[[Any], Any]] = {
    "nothing": lambda c: None,
    "autocommit": lambda c: setattr(c, "autocommit", True),
    "isolation level": lambda c: setattr(c, "isolation_level", "SERIALIZABLE"),
    "session": lambda c: c.set_session(isolation_level="REPEATABLE READ", readonly=True, deferrable=True),
    "session in autocommit": lambda c: c.set_session(readonly=True, autocommit=True),
    "cursor factory": lambda c: setattr(c, "cursor_factory", psycopg2.extras.DictCursor),
    "encoding": lambda c: c.set_client_encoding("LATIN1"),
    "encoding in SQL": lambda c: run_all(c, "SET client_encoding = 'LATIN1'"),
    "attributes": lambda c: setattr(c, "tenant", 5),
    "search path": lambda c: run_all(c, "CREATE SCHEMA other; SET search_path = other"),
    "settings": lambda c: run_all(c, "SET TimeZone = 'Asia/Tokyo'; SET statement_timeout = 5"),
    "date style": lambda c: run_all(c, "SET DateStyle = 'German'; SET bytea_output = 'escape'"),
    "read only": lambda c: run_all(c, "SET default_transaction_read_only = on"),
    "temporary table": lambda c: run_all(
        c, "CREATE TEMP TABLE t (n int); CREATE TEMP SEQUENCE s; SELECT nextval('s')"
    ),
    "prepared statement": lambda c: run_all(c, "PREPARE p AS SELECT 1"),
    "listening": lambda c: run_all(c, "LISTEN channel"),
    "advisory lock": lambda c: run_all(c, "SELECT pg_advisory_lock(5)"),
    "role": lambda c: run_all(c, "SET ROLE pg_read_all_data"),
    "held cursor": lambda c: run_all(c, "DECLARE h CURSOR WITH HOLD FOR SELECT 1"),
    "open transaction": lambda c: c.cursor().execute("INSERT INTO item VALUES (99, 'open')"),
    "failed transaction": lambda c: failing(c),
    "notices": lambda c: run_all(c, "DO $$ BEGIN RAISE NOTICE 'x'; END $$"),
    "other list of notices": lambda c: setattr(c, "notices", collections.deque(maxlen=1)),
    "no list of notices": lambda c: setattr(c, "notices", None),
    "notification": lambda c: (run_all(c, "LISTEN a", "NOTIFY a"), c.poll()),
    "JSON": lambda c: psycopg2.extras.register_default_json(c, loads=lambda text: "decoded"),
    "types": lambda c: psycopg2.extensions.register_type(
        psycopg2.extensions.new_type((1700,), "FLOAT", lambda value, cursor: "a number"), c
    ),
    "named cursor": lambda c: c.cursor("left").execute(QUERY),
    "large object": lambda c: c.lobject(0, "wb").write(b"x"),
}


def failing(connection: Any) -> None:
    with contextlib.suppress(psycopg2.Error):
        connection.cursor().execute("SELECT nothing")


@pytest.mark.parametrize("name", DIRT)
def test_a_kept_backend_has_no_state_of_its_former_use(postgres: Half, name: str) -> None:
    native, recorded, opened = both_ways(postgres)
    connection = recorded()
    backend = connection.get_backend_pid()
    DIRT[name](connection)
    connection.close()
    opened.clear()
    del connection
    gc.collect()
    other = recorded()
    fresh = native()
    try:
        assert other.get_backend_pid() == backend, "the backend was not kept, so this shows nothing"
        assert session_of(other) == session_of(fresh)
    finally:
        other.close()
        fresh.close()


@pytest.mark.parametrize(
    "text",
    ["SET my.setting = 'x'", "set local my.setting to 5", "SELECT set_config('my.setting', 'x', true)"],
)
def test_a_backend_that_knows_a_setting_of_the_applications_own_is_not_kept(
    postgres: Half, text: str
) -> None:
    connection = psycopg2.connect(postgres.database.dsn)
    run_all(connection, text)
    connection.close()
    del connection
    gc.collect()
    for _ in range(3):
        with psycopg2.connect(postgres.database.dsn) as other, other.cursor() as cursor:
            cursor.execute("SELECT current_setting('my.setting', true)")
            assert cursor.fetchone() == (None,)


def test_a_closed_connection_never_comes_alive_again(postgres: Half) -> None:
    connection = postgres.database.connect()
    backend = connection.get_backend_pid()
    connection.close()
    leaked, cursors = connection, []
    for _ in range(3):
        other = psycopg2.connect(postgres.database.dsn)
        assert other is not leaked
        assert other.get_backend_pid() != backend
        cursors.append(other.cursor())
        assert leaked.closed
        with pytest.raises(psycopg2.InterfaceError):
            leaked.cursor()
        other.close()


def test_a_leaked_cursor_keeps_its_connection_from_being_used_again(postgres: Half) -> None:
    connection = psycopg2.connect(postgres.database.dsn)
    backend = connection.get_backend_pid()
    cursor = connection.cursor()
    connection.close()
    del connection
    other = psycopg2.connect(postgres.database.dsn)
    assert other.get_backend_pid() != backend
    with pytest.raises(psycopg2.InterfaceError):
        cursor.execute("SELECT 1")
    other.close()


def test_threads_never_get_the_same_connection(postgres: Half) -> None:
    dsn = postgres.database.dsn
    errors: list[str] = []
    in_use: set[int] = set()
    lock = threading.Lock()

    def work() -> None:
        for _ in range(40):
            connection = psycopg2.connect(dsn)
            with lock:
                if id(connection) in in_use:
                    errors.append("two threads have one connection")
                in_use.add(id(connection))
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
            with lock:
                in_use.discard(id(connection))
            connection.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(statements(postgres)) == 160


def test_connections_of_other_databases_are_not_kept(postgres: Half, postgres_dsn: str) -> None:
    connection = psycopg2.connect(postgres_dsn)
    backend = connection.get_backend_pid()
    connection.close()
    del connection
    other = psycopg2.connect(postgres_dsn)
    assert other.get_backend_pid() != backend
    other.close()


def test_what_is_wrapped_for_the_driver_is_recorded_as_the_value(postgres: Half) -> None:
    connection = psycopg2.connect(postgres.database.dsn)
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s, %s", (psycopg2.Binary(b"a"), psycopg2.extras.Json({"b": 1})))
        cursor.execute("SELECT %(one)s", {"one": psycopg2.Binary(memoryview(b"c"))})
        cursor.executemany("SELECT %s", [(psycopg2.Binary(b"d"),), (2,)])
    connection.close()
    found = [statement.params for statement in postgres.recorder.statements()]
    assert found == [(b"a", {"b": 1}), {"one": b"c"}, [(b"d",), (2,)]]


def test_a_copied_description_is_the_drivers(sqlite: Half) -> None:
    cursor = sqlite.database.connection.execute("SELECT 1 AS a")
    for copied in (pickle.loads(pickle.dumps(cursor.description)), copy.deepcopy(cursor.description)):
        assert type(copied) is tuple
        assert copied == cursor.description
