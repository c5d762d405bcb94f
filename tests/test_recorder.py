"""Recording: every path of both drivers, as the application sees it, and nothing that it would notice."""

from __future__ import annotations

import collections
import contextlib
import datetime
import gc
import io
import itertools
import secrets
import sqlite3
import threading
import unittest.mock
import uuid
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extensions
import psycopg2.extras
import psycopg2.pool
import psycopg2.sql
import pytest
import sqlalchemy
import sqlalchemy.pool
from psycopg2 import connect as early_postgres

from pytest_dualdb import config
from pytest_dualdb.database import Database
from pytest_dualdb.recorder import psycopg2 as postgres_recorder
from pytest_dualdb.recorder import sqlite3 as sqlite_recorder
from pytest_dualdb.recording import Backend, Statement
from pytest_dualdb.server import Server
from pytest_dualdb.worker import Half, Worker

ROOT = Path(__file__).parent.parent
ROWS = [(1, "Ada"), (2, "Grace"), (3, None)]
QUERY = "SELECT id, name FROM item ORDER BY id"
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgres")


def setup(db: Database) -> None:
    db.executescript(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT);"
        "INSERT INTO item VALUES (1, 'Ada'), (2, 'Grace'), (3, NULL);"
    )
    if db.backend == "postgres":
        db.executescript("CREATE FUNCTION plus(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b'")


@pytest.fixture(scope="module")
def worker(postgres_server: Server) -> Iterator[Worker]:
    settings = config.resolve(lambda setting: None, lambda setting: None, ROOT, {})
    made = Worker(settings, f"recorder_{secrets.token_hex(4)}", lambda: postgres_server, setup)
    yield made
    made.close()


@contextlib.contextmanager
def half(worker: Worker, backend: Backend) -> Iterator[Half]:
    made = worker.start(backend)
    try:
        yield made
    finally:
        made.finish()


@pytest.fixture
def sqlite(worker: Worker) -> Iterator[Half]:
    with half(worker, "sqlite") as made:
        yield made


@pytest.fixture
def postgres(worker: Worker) -> Iterator[Half]:
    with half(worker, "postgres") as made:
        yield made


@pytest.fixture(params=BACKENDS)
def either(worker: Worker, request: pytest.FixtureRequest) -> Iterator[Half]:
    with half(worker, request.param) as made:
        yield made


def statements(made: Half) -> list[Statement]:
    return list(made.recorder.statements())


def only(made: Half) -> Statement:
    found = [s for s in statements(made) if s.kind not in ("commit", "rollback")]
    assert len(found) == 1, found
    return found[0]


def first_values(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows]


# -------------------------------------------------------------------------------------------- fetching rows

READS: dict[str, Callable[[Any], list[Any]]] = {
    "fetchall": lambda cursor: list(cursor.fetchall()),
    "fetchone": lambda cursor: list(iter(cursor.fetchone, None)),
    "fetchmany": lambda cursor: list(itertools.chain.from_iterable(iter(lambda: cursor.fetchmany(2), []))),
    "fetchmany by arraysize": lambda cursor: list(itertools.chain.from_iterable(iter(cursor.fetchmany, []))),
    "for": lambda cursor: [row for row in cursor],  # noqa: C416 - the loop is the point
    "list": list,
    "fetchone, then the rest": lambda cursor: [cursor.fetchone(), *cursor.fetchall()],
    "one step, then the rest": lambda cursor: [next(iter(cursor)), *cursor.fetchall()],
}
Item = collections.namedtuple("Item", "id name")


def as_dict(cursor: Any, row: Any) -> dict[str, Any]:
    return {column[0]: value for column, value in zip(cursor.description, row, strict=True)}


class OwnRow(sqlite3.Row):
    pass


SQLITE_FACTORIES: dict[str, Any] = {
    "none": None,
    "Row": sqlite3.Row,
    "own Row": OwnRow,
    "dict": as_dict,
    "lambda": lambda cursor, row: list(row),
    "namedtuple": lambda cursor, row: Item(*row),
    "an object": lambda cursor, row: type("Thing", (), {"__init__": lambda self: None, "row": row})(),
    "one value": lambda cursor, row: row[0],
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("factory", SQLITE_FACTORIES)
@pytest.mark.parametrize("place", ["connection", "cursor"])
def test_sqlite_rows_are_recorded_as_the_driver_gave_them(sqlite: Half, read: str, factory: str, place: str) -> None:
    connection = sqlite.database.connect()
    if place == "connection":
        connection.row_factory = SQLITE_FACTORIES[factory]
        assert connection.row_factory is SQLITE_FACTORIES[factory]
        cursor = connection.execute(QUERY)
    else:
        cursor = connection.cursor()
        cursor.row_factory = SQLITE_FACTORIES[factory]
        assert cursor.row_factory is SQLITE_FACTORIES[factory]
        assert cursor.execute(QUERY) is cursor
    rows = READS[read](cursor)
    if factory not in ("an object", "one value"):
        assert first_values(rows) == ROWS
    found = only(sqlite)
    assert found.values == ROWS
    assert found.columns == ("id", "name")
    assert found.fetched == "all"
    if factory in ("none", "Row", "own Row", "dict"):
        assert found.named == {"none": "", "dict": "mapping"}.get(factory, "row")


class OwnCursor(psycopg2.extensions.cursor):
    def fetchall(self) -> list[Any]:
        return [tuple(row) for row in super().fetchall()]


POSTGRES_CURSORS: dict[str, Any] = {
    "none": None,
    "cursor": psycopg2.extensions.cursor,
    "DictCursor": psycopg2.extras.DictCursor,
    "RealDictCursor": psycopg2.extras.RealDictCursor,
    "NamedTupleCursor": psycopg2.extras.NamedTupleCursor,
    "LoggingCursor": psycopg2.extras.MinTimeLoggingCursor,
    "own": OwnCursor,
}


@pytest.mark.parametrize("read", READS)
@pytest.mark.parametrize("factory", [name for name in POSTGRES_CURSORS if name != "LoggingCursor"])
@pytest.mark.parametrize("place", ["cursor", "connection", "connect", "named cursor"])
def test_postgres_rows_are_recorded_as_the_driver_gave_them(
    postgres: Half, read: str, factory: str, place: str
) -> None:
    given = POSTGRES_CURSORS[factory]
    if place == "connect":
        cursor = postgres.database.connect(cursor_factory=given).cursor()
    elif place == "connection":
        connection = postgres.database.connect()
        connection.cursor_factory = given
        assert connection.cursor_factory is given
        cursor = connection.cursor()
    elif place == "cursor":
        cursor = postgres.database.connect().cursor(cursor_factory=given)
    else:
        cursor = postgres.database.connect().cursor("named", cursor_factory=given)
        cursor.itersize = 2
    assert isinstance(cursor, given or psycopg2.extensions.cursor)
    if place == "named cursor" and read == "one step, then the rest":
        cursor.itersize = 1  # the driver fetches the rest from the server, not from what it has
    cursor.execute(QUERY)
    assert first_values(READS[read](cursor)) == ROWS
    found = only(postgres)
    assert found.values == ROWS
    assert found.columns == ("id", "name")
    assert found.fetched == "all"
    assert found.named == {"DictCursor": "row", "NamedTupleCursor": "row", "RealDictCursor": "mapping"}.get(factory, "")


POSTGRES_CONNECTIONS: dict[str, Any] = {
    "connection": psycopg2.extensions.connection,
    "DictConnection": psycopg2.extras.DictConnection,
    "RealDictConnection": psycopg2.extras.RealDictConnection,
    "NamedTupleConnection": psycopg2.extras.NamedTupleConnection,
    "own": type("OwnConnection", (psycopg2.extensions.connection,), {}),
}


@pytest.mark.parametrize("factory", POSTGRES_CONNECTIONS)
def test_connection_factories_are_recorded(postgres: Half, factory: str) -> None:
    given = POSTGRES_CONNECTIONS[factory]
    connection = postgres.database.connect(connection_factory=given)
    assert isinstance(connection, given)
    with connection, connection.cursor() as cursor:
        cursor.execute(QUERY)
        assert first_values(cursor.fetchall()) == ROWS
    assert only(postgres).values == ROWS
    assert [s.kind for s in statements(postgres)] == ["execute", "commit"]


def test_how_far_the_application_read_is_known(either: Half) -> None:
    connection = either.database.connection
    for read in (
        lambda c: None, lambda c: c.fetchone(), lambda c: c.fetchmany(2), lambda c: (c.fetchone(), c.fetchone()),
        lambda c: c.fetchmany(5), lambda c: c.fetchall(),
    ):  # fmt: skip
        cursor = connection.cursor()
        cursor.execute(QUERY)
        read(cursor)
    assert [s.fetched for s in statements(either)] == ["none", "one", "some", "some", "all", "all"]
    assert [len(s.rows) for s in statements(either)] == [0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_that_the_application_changes_stays_as_it_was_in_the_record(worker: Worker, backend: Backend) -> None:
    with half(worker, backend) as made:
        if backend == "sqlite":
            connection = made.database.connect()
            connection.row_factory = as_dict
            cursor = connection.execute(QUERY)
        else:
            cursor = made.database.connect(cursor_factory=psycopg2.extras.RealDictCursor).cursor()
            cursor.execute(QUERY)
        for row in cursor.fetchall():
            row["name"] = "changed"
            row["more"] = 1
        assert only(made).values == ROWS


def test_parameters_that_the_application_changes_stay_as_they_were(either: Half) -> None:
    mark = either.database.placeholder
    values: list[Any] = [7, "seven"]
    many = [[8, "eight"], [9, "nine"]]
    cursor = either.database.connection.cursor()
    cursor.execute(f"INSERT INTO item VALUES ({mark}, {mark})", values)
    cursor.executemany(f"INSERT INTO item VALUES ({mark}, {mark})", many)
    values[0] = 0
    many[0][0] = 0
    many.clear()
    assert [list(s.params) for s in statements(either)] == [[7, "seven"], [[8, "eight"], [9, "nine"]]]


# ------------------------------------------------------------------------------------------------- executing


def test_every_way_to_execute_on_sqlite(sqlite: Half) -> None:
    connection = sqlite.database.connect()
    connection.execute("INSERT INTO item VALUES (?, ?)", (4, "d"))
    connection.executemany("INSERT INTO item VALUES (?, ?)", [(5, "e"), (6, "f")])
    connection.executemany("INSERT INTO item VALUES (?, ?)", ((n, "g") for n in (7, 8)))
    connection.commit()
    connection.executescript("INSERT INTO item VALUES (9, 'i'); INSERT INTO item VALUES (10, 'j');")
    cursor = connection.cursor()
    cursor.execute("INSERT INTO item VALUES (:id, :name)", {"id": 11, "name": "k"})
    cursor.executemany("DELETE FROM item WHERE id = :id", [{"id": 1}, {"id": 2}])
    connection.cursor().executescript("DELETE FROM item WHERE id = 3")
    with connection:
        connection.execute("DELETE FROM item WHERE id = 4")
    with contextlib.suppress(KeyError), connection:
        connection.execute("DELETE FROM item WHERE id = 5")
        raise KeyError
    connection.rollback()
    assert [(s.kind, s.params, s.rowcount) for s in statements(sqlite)] == [
        ("execute", (4, "d"), 1),
        ("executemany", [(5, "e"), (6, "f")], 2),
        ("executemany", [(7, "g"), (8, "g")], 2),
        ("commit", None, -1),
        ("script", None, -1),
        ("execute", {"id": 11, "name": "k"}, 1),
        ("executemany", [{"id": 1}, {"id": 2}], 2),
        ("script", None, -1),
        ("execute", None, 1), ("commit", None, -1),
        ("execute", None, 1), ("rollback", None, -1),
        ("rollback", None, -1),
    ]  # fmt: skip
    assert connection.execute("SELECT count(*) FROM item").fetchone() == (7,)


def test_every_way_to_execute_on_postgres(postgres: Half) -> None:
    connection = postgres.database.connect()
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO item VALUES (%s, %s)", (4, "d"))
        cursor.execute(b"INSERT INTO item VALUES (%(id)s, %(name)s)", {"id": 5, "name": "100%"})
        cursor.executemany("INSERT INTO item VALUES (%s, %s)", ((n, "g") for n in (6, 7)))
        name = psycopg2.sql.Identifier("item")
        cursor.execute(psycopg2.sql.SQL("DELETE FROM {} WHERE id = %s").format(name), (4,))
        cursor.callproc("plus", (1, 2))
        assert cursor.fetchone() == (3,)
        cursor.callproc("plus", {"a": 1, "b": 4})
        assert cursor.fetchone() == (5,)
        cursor.copy_from(io.StringIO("8\teight\n"), "item")
        out = io.StringIO()
        cursor.copy_to(out, "item")
        cursor.copy_expert("COPY item FROM STDIN", io.StringIO("9\tnine\n"))
        psycopg2.extras.execute_values(cursor, "INSERT INTO item VALUES %s", [(10, "j"), (11, "k")])
        got = psycopg2.extras.execute_values(
            cursor, "INSERT INTO item VALUES %s RETURNING id", [(12, "l"), (13, "m")], page_size=1, fetch=True
        )
        assert got == [(12,), (13,)]
        psycopg2.extras.execute_batch(cursor, "DELETE FROM item WHERE id = %s", [(10,), (11,)])
    connection.commit()
    found = statements(postgres)
    assert [(s.kind, s.rowcount) for s in found] == [
        ("execute", 1), ("execute", 1), ("executemany", 2 if found[2].rowcount == 2 else 1), ("execute", 1),
        ("callproc", 1), ("callproc", 1), ("copy", 1), ("copy", 7), ("copy", 1),
        ("execute", 2), ("execute", 1), ("execute", 1), ("execute", 1 if found[12].rowcount == 1 else -1),
        ("commit", -1),
    ]  # fmt: skip
    assert found[1].params == {"id": 5, "name": "100%"}
    assert found[1].sql == "INSERT INTO item VALUES (%(id)s, %(name)s)"
    assert found[2].params == [(6, "g"), (7, "g")]
    assert found[3].sql == 'DELETE FROM "item" WHERE id = %s'
    assert [s.values for s in found[4:6]] == [[(3,)], [(5,)]]
    assert found[6].sql == "COPY item FROM STDIN"
    assert found[9].sql == "INSERT INTO item VALUES (10,'j'),(11,'k')"
    assert [s.values for s in found[10:12]] == [[(12,)], [(13,)]]


def test_what_the_application_asked_a_cursor_for_is_known(either: Half) -> None:
    cursor = either.database.execute("INSERT INTO item VALUES (?, ?)", (20, "x"))
    assert cursor.rowcount == 1
    cursor = either.database.execute("INSERT INTO item VALUES (?, ?)", (21, "x"))
    assert cursor.lastrowid is not None
    either.database.execute("INSERT INTO item VALUES (?, ?)", (22, "x"))
    assert [s.read for s in statements(either)] == [("rowcount",), ("lastrowid",), ()]
    assert [s.rowcount for s in statements(either)] == [1, 1, 1]


def test_transactions_are_known(postgres: Half) -> None:
    connection = postgres.database.connect()
    cursor = connection.cursor()
    cursor.execute("SELECT 1")
    with pytest.raises(psycopg2.errors.UndefinedTable):
        cursor.execute("SELECT * FROM nothing")
    with pytest.raises(psycopg2.errors.InFailedSqlTransaction):
        cursor.execute("SELECT 2")
    connection.commit()
    cursor.execute("SELECT 3")
    found = statements(postgres)
    assert [s.in_transaction for s in found] == [False, True, True, True, False]
    assert [s.aborted for s in found] == [False, False, True, True, False]


# ------------------------------------------------------------------------------------------------- failures


def test_errors_are_recorded_also_when_they_are_swallowed(either: Half) -> None:
    driver: Any = sqlite3 if either.backend.name == "sqlite" else psycopg2
    connection = either.database.connect()
    with contextlib.suppress(driver.Error):
        connection.cursor().execute("SELECT * FROM nothing")
    connection.rollback()
    with contextlib.suppress(driver.IntegrityError):
        either.database.execute("INSERT INTO item VALUES (1, 'again')")
    failures = [s.error for s in statements(either) if s.error is not None]
    assert len(failures) == 2
    if either.backend.name == "sqlite":
        assert [f.name for f in failures] == ["sqlite3.OperationalError", "sqlite3.IntegrityError"]
        assert [f.sqlstate for f in failures] == [None, None]
    else:
        assert [f.short_name for f in failures] == ["UndefinedTable", "UniqueViolation"]
        assert [f.sqlstate for f in failures] == ["42P01", "23505"]
    assert [f.dbapi for f in failures] == ["OperationalError" if driver is sqlite3 else "ProgrammingError", "IntegrityError"]
    assert all(f.message for f in failures)


def test_errors_of_the_drivers_python_side_are_recorded(postgres: Half) -> None:
    cursor = postgres.database.connect().cursor()
    for call, error in (
        (lambda: cursor.execute("SELECT %s, %s", (1,)), IndexError),
        (lambda: cursor.execute("SELECT '%d'", (1,)), ValueError),
        (lambda: cursor.execute("SELECT %(a)s", {}), KeyError),
        (lambda: cursor.execute("SELECT %s", (object(),)), psycopg2.ProgrammingError),
    ):
        with pytest.raises(error):
            call()
    assert [s.error.short_name for s in statements(postgres) if s.error] == [
        "IndexError", "ValueError", "KeyError", "ProgrammingError",
    ]  # fmt: skip


def test_an_error_while_fetching_is_recorded(either: Half) -> None:
    # PostgreSQL evaluates the whole result at once, SQLite row by row
    connection = either.database.connect()
    cursor = connection.cursor() if either.backend.name == "sqlite" else connection.cursor("named")
    if either.backend.name == "sqlite":
        cursor.execute("SELECT abs(-9223372036854775807 - (id = 3)) FROM item ORDER BY id")
    else:
        cursor.execute("SELECT 1 / (3 - id) FROM item ORDER BY id")
    with pytest.raises((sqlite3.Error, psycopg2.Error)):
        cursor.fetchall()
    error = only(either).error
    assert error is not None
    assert "overflow" in error.message or "division by zero" in error.message


# ------------------------------------------------------------------------------------------------ call sites


def line_of(mark: str) -> int:
    lines = Path(__file__).read_text(encoding="utf-8").splitlines()
    (found,) = [number for number, line in enumerate(lines, 1) if line.endswith(f"# site: {mark}")]
    return found


def sites(made: Half) -> list[tuple[int, str]]:
    found = [s.site for s in statements(made) if s.kind not in ("commit", "rollback")]
    assert all(site is not None and site.path == "tests/test_recorder.py" for site in found), found
    return [(site.line, site.function) for site in found if site is not None]


class Adapter:
    """What applications put between themselves and the driver."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    def execute(self, sql: str, *params: Any) -> Any:
        cursor = self.connection.cursor()
        cursor.execute(sql, params)
        return cursor

    def insert(self, sql: str) -> Any:
        return self.execute(sql + " RETURNING id").fetchone()

    def rows(self, *, query: str) -> list[Any]:
        return list(self.run(query))

    def run(self, query: str) -> Any:
        return self.execute(query).fetchall()

    def find(self, table: str) -> Any:
        return self.execute(f"SELECT * FROM {table} ORDER BY id")  # site: find


class Repository:
    def __init__(self, connection: Any) -> None:
        self.adapter = Adapter(connection)

    def all(self) -> list[Any]:
        return self.adapter.rows(query=QUERY)  # site: all

    def by_ids(self, ids: list[int]) -> list[Any]:
        return [self.adapter.execute(f"SELECT name FROM item WHERE id = {n}").fetchone() for n in ids]  # site: comprehension

    def later(self) -> Callable[[], Any]:
        return lambda: self.adapter.execute("SELECT count(*) FROM item")  # site: lambda

    def generated(self) -> Iterator[Any]:
        yield self.adapter.execute("SELECT max(id) FROM item").fetchone()  # site: generator


def test_call_sites_are_the_lines_that_wrote_the_statement(either: Half) -> None:
    repository = Repository(either.database.connect())
    repository.all()
    repository.by_ids([1, 2])
    repository.later()()
    list(repository.generated())
    repository.adapter.find("item")
    either.database.fetchall(QUERY)  # site: own
    either.database.connect().cursor().execute(  # site: several lines
        """SELECT id
           FROM item
        """,
    )
    thread = threading.Thread(target=in_thread, args=(either.database,))
    thread.start()
    thread.join()
    assert sites(either) == [
        (line_of("all"), "all"),
        (line_of("comprehension"), "by_ids"), (line_of("comprehension"), "by_ids"),
        (line_of("lambda"), "later"),
        (line_of("generator"), "generated"),
        (line_of("find"), "find"),
        (line_of("own"), "test_call_sites_are_the_lines_that_wrote_the_statement"),
        (line_of("several lines"), "test_call_sites_are_the_lines_that_wrote_the_statement"),
        (line_of("thread"), "in_thread"),
    ]  # fmt: skip
    assert {s.thread for s in statements(either)} == {0, 1}


def in_thread(db: Database) -> None:
    db.connect().cursor().execute("SELECT 'thread'")  # site: thread


def test_call_sites_through_libraries(either: Half) -> None:
    engine = either.database.engine()
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(QUERY)).all()  # site: sqlalchemy
    found = [s for s in statements(either) if s.sql == QUERY]
    assert [s.site.line for s in found if s.site] == [line_of("sqlalchemy")]
    if either.backend.name == "postgres":
        cursor = either.database.connect().cursor()
        psycopg2.extras.execute_values(cursor, "INSERT INTO item VALUES %s", [(30, "x")])  # site: execute_values
        assert sites(either)[-1][0] == line_of("execute_values")


# --------------------------------------------------------------------------- how applications get connections


def test_pools_of_psycopg2_are_recorded(postgres: Half) -> None:
    for kind in (psycopg2.pool.SimpleConnectionPool, psycopg2.pool.ThreadedConnectionPool):
        pool = kind(1, 3, postgres.database.dsn)
        connections = [pool.getconn() for _ in range(3)]
        for connection in connections:
            connection.cursor().execute(QUERY)
            pool.putconn(connection)
        again = pool.getconn()
        assert again in connections
        again.cursor().execute(QUERY)
        pool.putconn(again)
        pool.closeall()
        with pytest.raises(psycopg2.InterfaceError):
            again.cursor()
    assert sum(s.sql == QUERY for s in statements(postgres)) == 8


@pytest.mark.parametrize("pool", [sqlalchemy.pool.QueuePool, sqlalchemy.pool.NullPool, sqlalchemy.pool.StaticPool])
def test_engines_and_pools_of_sqlalchemy_are_recorded(either: Half, pool: Any) -> None:
    engine = either.database.engine(poolclass=pool)
    for number in (40, 41):
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text("INSERT INTO item VALUES (:id, :name)"), {"id": number, "name": "x"})
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT max(id) FROM item")).scalar() == number
    own = sqlalchemy.create_engine(either.database.url.replace("postgresql:", "postgresql+psycopg2:"))
    with own.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM item")).scalar() == 5
    own.dispose()
    assert [s.sql.split()[0] for s in statements(either) if "item" in s.sql] == [
        "INSERT", "SELECT", "INSERT", "SELECT", "SELECT",
    ]  # fmt: skip


def test_an_early_import_of_connect_is_recorded(postgres: Half) -> None:
    connection = early_postgres(postgres.database.dsn)
    connection.cursor().execute(QUERY)
    connection.close()
    assert only(postgres).sql == QUERY


def test_isinstance_holds_and_modules_are_left_as_they_were(worker: Worker) -> None:
    with half(worker, "sqlite") as made:
        connection = sqlite3.connect(made.database.path)
        assert isinstance(connection, sqlite3.Connection)
        assert isinstance(connection.cursor(), sqlite3.Cursor)
        assert isinstance(connection.execute("SELECT 1"), sqlite3.Cursor)
        connection.close()
    with half(worker, "postgres") as made:
        connection = psycopg2.connect(made.database.dsn)
        assert isinstance(connection, psycopg2.extensions.connection)
        assert isinstance(connection.cursor(), psycopg2.extensions.cursor)
        connection.close()


def test_a_mock_in_the_place_of_connect_keeps_working(sqlite: Half) -> None:
    with unittest.mock.patch("sqlite3.connect") as mock:
        mock.return_value.execute.return_value.fetchall.return_value = [("mocked",)]
        assert sqlite3.connect("anything").execute("SELECT 1").fetchall() == [("mocked",)]
    assert statements(sqlite) == []
    sqlite3.connect(sqlite.database.path).execute(QUERY)
    assert only(sqlite).sql == QUERY


def test_closing_the_worker_puts_the_drivers_back(
    postgres_server: Server, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in BACKENDS:
        worker.backend(backend)  # which stays in force after this test
    for place, name in (
        (sqlite3, "connect"), (sqlite3.dbapi2, "connect"), (psycopg2, "_connect"),
        (sqlite_recorder, "on_connect"), (postgres_recorder, "owns"), (sqlite_recorder, "redirects"),
    ):  # fmt: skip
        monkeypatch.setattr(place, name, getattr(place, name))
    settings = config.resolve(lambda setting: None, lambda setting: None, ROOT, {})
    other = Worker(settings, f"other_{secrets.token_hex(4)}", lambda: postgres_server)
    for backend in BACKENDS:
        with half(other, backend) as made:
            made.database.scalar("SELECT 1")
    other.close()
    assert sqlite3.connect is sqlite3.dbapi2.connect is sqlite_recorder.native_connect
    assert vars(psycopg2)["_connect"] is postgres_recorder.native_connect


def test_statements_for_another_database_are_kept_apart(worker: Worker, tmp_path: Path) -> None:
    with half(worker, "postgres") as made:
        other = sqlite3.connect(tmp_path / "other.sqlite3")
        other.execute("CREATE TABLE t (n)")
        other.close()
        with sqlite3.connect(":memory:") as memory:
            memory.execute("SELECT 1")
        made.database.scalar("SELECT 1")
    assert [s.sql for s in statements(made)] == ["SELECT 1"]
    assert [(Path(e.database).name, e.sql) for e in made.recorder.bypasses] == [
        ("other.sqlite3", "CREATE TABLE t (n)"), (":memory:", "SELECT 1"), (":memory:", "COMMIT"),
    ]  # fmt: skip


def test_scripts_of_the_set_up_are_not_recorded(either: Half) -> None:
    either.database.executescript("CREATE TABLE more (n INTEGER); INSERT INTO more VALUES (1);")
    assert statements(either) == []
    assert either.database.scalar("SELECT n FROM more") == 1


# --------------------------------------------------------- the application notices nothing: as the native driver


def outcome(call: Callable[[Any], Any], connect: Any) -> Any:
    """Return what a piece of an application gets: its value, or the class and message of the exception."""
    try:
        return described(call(connect))
    except Exception as error:
        return type(error), str(error)


def described(value: Any) -> Any:
    """Return the value with its types, where connections and cursors count by what they inherit."""
    if isinstance(value, list | tuple):
        return type(value).__name__, [described(item) for item in value]
    if isinstance(value, dict):
        return type(value).__name__, [(key, described(item)) for key, item in value.items()]
    if isinstance(value, sqlite3.Row):
        return type(value).__name__, value.keys(), tuple(value)
    for kind in (sqlite3.Connection, sqlite3.Cursor, psycopg2.extensions.connection, psycopg2.extensions.cursor):
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
    "fetch without a statement": lambda connect: (c := connect().cursor(), c.fetchone(), c.fetchall(), c.fetchmany(), list(c)),
    "fetchmany by keyword": lambda connect: connect().execute("SELECT 1 UNION SELECT 2").fetchmany(size=1),
    "fetchmany of none": lambda connect: connect().execute("SELECT 1").fetchmany(0),
    "description": lambda connect: (
        connect().execute("SELECT 1 AS a, 2 AS b").description, connect().execute("CREATE TABLE t (n)").description,
    ),
    "counts": lambda connect: [
        c := connect(), c.execute("CREATE TABLE t (n)").rowcount, c.execute("INSERT INTO t VALUES (1)").lastrowid,
        c.execute("UPDATE t SET n = 2").rowcount, c.execute("SELECT 1").rowcount, c.cursor().lastrowid,
    ],
    "the cursor is the answer": lambda connect: [
        c := connect().cursor(), c.execute("SELECT 1") is c, c.executescript("SELECT 1") is c, c.connection,
    ],
    "row factories": lambda connect: [
        (setattr(c := connect(), "row_factory", factory), c.execute("SELECT 1 AS id, 'x' AS name").fetchone())
        for factory in (sqlite3.Row, as_dict, None)
    ],
    "a row factory that fails": lambda connect: [
        c := connect(), setattr(c, "row_factory", lambda cursor, row: row[5]), c.execute("SELECT 1").fetchone(),
    ],
    "a row factory that is no callable": lambda connect: [
        c := connect(), setattr(c, "row_factory", 5), c.execute("SELECT 1").fetchone(),
    ],
    "text factory": lambda connect: [
        c := connect(), setattr(c, "text_factory", bytes), c.execute("SELECT 'é'").fetchone(),
    ],
    "converters": lambda connect: connect(detect_types=sqlite3.PARSE_COLNAMES).execute(
        "SELECT 5 AS 'x [unknown]', x'00ff' AS b"
    ).fetchone(),
    "functions": lambda connect: [
        c := connect(), c.create_function("twice", 1, lambda x: 2 * x), c.execute("SELECT twice(4)").fetchone(),
        list(c.iterdump()),
    ],
    "a function that fails": lambda connect: [
        c := connect(), c.create_function("bad", 0, lambda: 1 / 0), c.execute("SELECT bad()").fetchone(),
    ],
    "backup": lambda connect: [
        c := connect(), c.executescript("CREATE TABLE t (n); INSERT INTO t VALUES (1)"), c.backup(d := connect()),
        d.execute("SELECT * FROM t").fetchall(),
    ],
    "positional arguments": lambda connect: connect(5.0, 0, None).isolation_level,
    "with gives the connection": lambda connect: [c := connect(), c.__enter__() is c],
    "unknown argument": lambda connect: connect(nonsense=1),
    "a factory function": lambda connect: connect(factory=lambda *a, **k: sqlite3.Connection(*a, **k)).execute("SELECT 1").fetchone(),
    "a factory that is no connection": lambda connect: connect(factory=lambda *a, **k: "mine"),
    "iteration within iteration": lambda connect: [
        c := connect(), [(a, b) for a in c.execute("SELECT 1 UNION SELECT 2") for b in c.execute("SELECT 3")],
    ],
    "constraint in commit": lambda connect: [
        c := connect(isolation_level=None), c.executescript(
            "PRAGMA foreign_keys = ON; CREATE TABLE p (i INTEGER PRIMARY KEY);"
            "CREATE TABLE k (p REFERENCES p DEFERRABLE INITIALLY DEFERRED)"
        ), c.execute("BEGIN"), c.execute("INSERT INTO k VALUES (1)"), c.commit(),
    ],
    "constraint in with": lambda connect: deferred(connect),
}  # fmt: skip


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
    def native(*args: Any, **kwargs: Any) -> Any:
        return sqlite_recorder.native_connect(":memory:", *args, **kwargs)

    def recorded(*args: Any, **kwargs: Any) -> Any:
        return sqlite3.connect(":memory:", *args, **kwargs)

    assert outcome(SQLITE_SNIPPETS[name], recorded) == outcome(SQLITE_SNIPPETS[name], native)


def cursor_facts(connect: Any) -> Any:
    cursor = connect().cursor()
    cursor.execute("SELECT id, name FROM item WHERE id = %s", (1,))
    return [
        tuple(cursor.description[0]), cursor.rowcount, cursor.rownumber, cursor.query, cursor.statusmessage,
        cursor.lastrowid, cursor.arraysize, cursor.itersize, cursor.name, cursor.scrollable, cursor.withhold,
        cursor.closed, cursor.fetchone(), cursor.rownumber,
    ]  # fmt: skip


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
            type(error), error.pgcode, error.pgerror, error.diag.constraint_name, error.diag.message_detail,
            error.cursor is cursor, error.args, connection.get_transaction_status(),
        ]  # fmt: skip
    return None


def connection_facts(connect: Any) -> Any:
    connection = connect()
    return [
        connection.autocommit, connection.isolation_level, connection.readonly, connection.deferrable,
        connection.encoding, connection.notices, connection.notifies, connection.closed, connection.status,
        connection.async_, connection.cursor_factory, connection.server_version, connection.protocol_version,
        connection.info.dbname, connection.info.user, connection.info.transaction_status, connection.string_types,
        connection.get_dsn_parameters(), connection.get_parameter_status("server_encoding"), connection.info.needs_password,
    ]  # fmt: skip


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
    "no percent without parameters": lambda connect: [c := connect().cursor(), c.execute("SELECT '%'"), c.fetchall()],
    "percent with an empty tuple": lambda connect: [c := connect().cursor(), c.execute("SELECT '%'", ()), c.fetchall()],
    "too few parameters": lambda connect: connect().cursor().execute("SELECT %s, %s", (1,)),
    "too many parameters": lambda connect: connect().cursor().execute("SELECT %s", (1, 2)),
    "missing key": lambda connect: connect().cursor().execute("SELECT %(a)s", {}),
    "unknown format": lambda connect: connect().cursor().execute("SELECT %d", (1,)),
    "wrong type": lambda connect: connect().cursor().execute("SELECT %s", (object(),)),
    "empty statement": lambda connect: connect().cursor().execute(""),
    "not text": lambda connect: connect().cursor().execute(5),
    "by keyword": lambda connect: [c := connect().cursor(), c.execute(query="SELECT %s", vars=(1,)), c.fetchone()],
    "many by keyword": lambda connect: connect().cursor().executemany(query="SELECT %s", vars_list=[(1,)]),
    "mogrify": lambda connect: connect().cursor().mogrify("SELECT %s", ("it's",)),
    "fetch without a statement": lambda connect: connect().cursor().fetchone(),
    "fetch without a result": lambda connect: [c := connect().cursor(), c.execute("SET DateStyle = 'ISO'"), c.fetchall()],
    "fetchmany by keyword": lambda connect: [c := connect().cursor(), c.execute(QUERY), c.fetchmany(size=2)],
    "fetchmany of none": lambda connect: [c := connect().cursor(), c.execute(QUERY), c.fetchmany(0)],
    "callproc by name": lambda connect: [c := connect().cursor(), c.callproc("plus", {"a": 1, "b": 2}), c.fetchone()],
    "callproc in order": lambda connect: [c := connect().cursor(), c.callproc("plus", [1, 2]), c.fetchone()],
    "callproc without": lambda connect: [c := connect().cursor(), c.callproc("version"), len(c.fetchall())],
    "callproc of nothing": lambda connect: connect().cursor().callproc("nothing"),
    "copy to": lambda connect: [f := io.StringIO(), connect().cursor().copy_to(f, "item", null="-"), f.getvalue()],
    "copy of nothing": lambda connect: connect().cursor().copy_from(io.StringIO("1\n"), "nothing"),
    "copy with columns": lambda connect: [
        c := connect().cursor(), c.copy_from(io.StringIO("70\n"), "item", columns=("id",)), c.rowcount,
    ],
    "closed cursor": lambda connect: [c := connect().cursor(), c.close(), c.execute("SELECT 1")],
    "named cursor twice": lambda connect: [c := connect().cursor("n"), c.execute(QUERY), c.execute(QUERY)],
    "named cursor, many": lambda connect: connect().cursor("n").executemany("SELECT %s", [(1,)]),
    "named cursor after the commit": lambda connect: [
        c := connect().cursor("n"), c.execute(QUERY), c.connection.commit(), c.fetchone(),
    ],
    "named cursor in autocommit": lambda connect: [
        c := connect(), setattr(c, "autocommit", True), c.cursor("n").execute(QUERY),
    ],
    "unknown argument": lambda connect: connect().cursor(nonsense=1),
    "a cursor factory that is no cursor": lambda connect: connect().cursor(cursor_factory=5),
    "a cursor factory function": lambda connect: connect().cursor(
        cursor_factory=lambda *a, **k: psycopg2.extensions.cursor(*a, **k)
    ),
    "dictionaries": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.RealDictCursor), c.execute(QUERY), c.fetchone(), c.fetchall(),
    ],
    "dict rows": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.DictCursor), c.execute(QUERY),
        (r := c.fetchone())["id"], r[1], r.keys(), r.copy(),
    ],
    "named tuples": lambda connect: [
        c := connect().cursor(cursor_factory=psycopg2.extras.NamedTupleCursor), c.execute(QUERY), c.fetchall(),
    ],
    "logging": lambda connect: [
        c := connect(connection_factory=psycopg2.extras.LoggingConnection), c.initialize(f := io.StringIO()),
        c.cursor().execute("SELECT 5"), f.getvalue(),
    ],
    "values": lambda connect: [
        c := connect().cursor(), c.execute(
            "SELECT 1.50::numeric, true, '{1,2}'::int[], '{\"a\": 1}'::jsonb, '2024-02-29'::date, 'x'::bytea, NULL"
        ), c.fetchone()[:5],
    ],
    "encoding": lambda connect: [
        c := connect(), c.set_client_encoding("LATIN1"), c.encoding, (k := c.cursor()).execute("SELECT 'é'"), k.fetchone(),
    ],
    "types of the connection": lambda connect: [
        len(psycopg2.extras.register_default_json(c := connect(), loads=lambda text: text.upper())),
        (k := c.cursor()).execute("SELECT '{\"a\": 1}'::json"), k.fetchone(),
    ],
    "sessions": lambda connect: [
        c := connect(), c.set_session(isolation_level="SERIALIZABLE", readonly=True), c.isolation_level, c.readonly,
        c.set_isolation_level(0), c.autocommit,
    ],
    "large objects": lambda connect: [(c := connect().lobject(0, "wb")).write(b"x"), c.closed],
    "reset": lambda connect: [c := connect(), c.cursor().execute("SET search_path = nothing"), c.reset(), c.status],
    "cancel": lambda connect: connect().cancel(),
    "two phases": lambda connect: [c := connect(), c.tpc_begin(c.xid(1, "a", "b")), c.tpc_rollback(), c.status],
    "pool": lambda connect: isinstance(connect(), psycopg2.extensions.connection),
}  # fmt: skip


def both_ways(postgres: Half) -> tuple[Callable[..., Any], Callable[..., Any], list[Any]]:
    """Return the native and the recorded way to connect, and what they opened."""
    dsn, opened = postgres.database.dsn, []

    def native(connection_factory: Any = None, cursor_factory: Any = None) -> Any:
        opened.append(
            postgres_recorder.native_connect(dsn, connection_factory=connection_factory, cursor_factory=cursor_factory)
            if cursor_factory else postgres_recorder.native_connect(dsn, connection_factory=connection_factory)
        )  # fmt: skip
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


# -------------------------------------------------------------------------------------- backends that are kept


def session_of(connection: Any) -> dict[str, Any]:
    """Return everything that a connection could keep from an earlier use."""
    found: dict[str, Any] = {
        name: getattr(connection, name)
        for name in (
            "autocommit", "isolation_level", "readonly", "deferrable", "encoding", "status", "closed", "notices",
            "notifies", "string_types", "binary_types", "cursor_factory",
        )
    }  # fmt: skip
    found["notices type"] = type(connection.notices)
    found["own"] = {name for name in getattr(connection, "__dict__", ()) if not name.startswith("_")}
    with connection.cursor() as cursor:
        assert type(cursor).__mro__.count(psycopg2.extras.DictCursor) == 0
        for name, query in {
            "settings": "SELECT name, setting FROM pg_settings WHERE name !~ '^(transaction|plpgsql)' ORDER BY 1",
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


def run_all(connection: Any, *texts: str) -> None:
    for text in texts:
        connection.cursor().execute(text)
    connection.commit()


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
    "temporary table": lambda c: run_all(c, "CREATE TEMP TABLE t (n int); CREATE TEMP SEQUENCE s; SELECT nextval('s')"),
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
    "notification": lambda c: [run_all(c, "LISTEN a", "NOTIFY a"), c.poll()],
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


@pytest.mark.parametrize("text", ["SET my.setting = 'x'", "set local my.setting to 5", "SELECT set_config('my.setting', 'x', true)"])
def test_a_backend_that_knows_a_setting_of_the_applications_own_is_not_kept(postgres: Half, text: str) -> None:
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


# ----------------------------------------------------------------------------------------------------- values


def test_values_are_recorded_as_the_application_got_them(either: Half) -> None:
    values = (
        None, True, 5, 2**62, 1.5, "text", "", "é\U0001f600", b"\x00\xff", Decimal("2.50"),
        datetime.date(2024, 2, 29), uuid.UUID(int=5),
    )  # fmt: skip
    usable = values[:9] if either.backend.name == "sqlite" else values[:-1]
    marks = ", ".join(either.database.placeholder for _ in usable)
    cursor = either.database.connect().cursor()
    cursor.execute(f"SELECT {marks}", usable)
    row = cursor.fetchone()
    found = only(either)
    assert found.params == usable
    assert found.rows[0] is row
