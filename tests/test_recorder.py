"""Recording: every path of both drivers, with what the application saw, and where it asked."""

from __future__ import annotations

import collections
import contextlib
import datetime
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
from halves import BACKENDS, QUERY, ROOT, ROWS, half, only, statements
from psycopg2 import connect as early_postgres

from pytest_dualdb import config
from pytest_dualdb.database import Database
from pytest_dualdb.recorder import Sites
from pytest_dualdb.recorder import psycopg2 as postgres_recorder
from pytest_dualdb.recorder import sqlite3 as sqlite_recorder
from pytest_dualdb.recording import Backend
from pytest_dualdb.server import Server
from pytest_dualdb.worker import Half, Worker

# -------------------------------------------------------------------------------------------- fetching rows


def first_values(rows: Any) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) if isinstance(row, dict) else tuple(row) for row in rows]


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
def test_sqlite_rows_are_recorded_as_the_driver_gave_them(
    sqlite: Half, read: str, factory: str, place: str
) -> None:
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
    assert found.named == {"DictCursor": "row", "NamedTupleCursor": "row", "RealDictCursor": "mapping"}.get(
        factory, ""
    )


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
        lambda c: None,
        lambda c: c.fetchone(),
        lambda c: c.fetchmany(2),
        lambda c: (c.fetchone(), c.fetchone()),
        lambda c: c.fetchmany(5),
        lambda c: c.fetchall(),
    ):
        cursor = connection.cursor()
        cursor.execute(QUERY)
        read(cursor)
    assert [s.fetched for s in statements(either)] == ["none", "one", "some", "some", "all", "all"]
    assert [len(s.rows) for s in statements(either)] == [0, 1, 2, 2, 3, 3]


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_row_that_the_application_changes_stays_as_it_was_in_the_record(
    worker: Worker, backend: Backend
) -> None:
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
        ("execute", None, 1),
        ("commit", None, -1),
        ("execute", None, 1),
        ("rollback", None, -1),
        ("rollback", None, -1),
    ]
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
        ("execute", 1),
        ("execute", 1),
        ("executemany", 2 if found[2].rowcount == 2 else 1),
        ("execute", 1),
        ("callproc", 1),
        ("callproc", 1),
        ("copy", 1),
        ("copy", 7),
        ("copy", 1),
        ("execute", 2),
        ("execute", 1),
        ("execute", 1),
        ("execute", 1 if found[12].rowcount == 1 else -1),
        ("commit", -1),
    ]
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
    assert [f.dbapi for f in failures] == [
        "OperationalError" if driver is sqlite3 else "ProgrammingError",
        "IntegrityError",
    ]
    assert all(f.message for f in failures)


def test_errors_of_the_drivers_python_side_are_recorded(postgres: Half) -> None:
    cursor = postgres.database.connect().cursor()
    failing: list[tuple[str, Any, type[Exception]]] = [
        ("SELECT %s, %s", (1,), IndexError),
        ("SELECT '%d'", (1,), ValueError),
        ("SELECT %(a)s", {}, KeyError),
        ("SELECT %s", (object(),), psycopg2.ProgrammingError),
    ]
    for sql, params, error in failing:
        with pytest.raises(error):
            cursor.execute(sql, params)
    assert [s.error.short_name for s in statements(postgres) if s.error] == [
        "IndexError",
        "ValueError",
        "KeyError",
        "ProgrammingError",
    ]


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
        query = "SELECT name FROM item WHERE id = {}"
        return [self.adapter.execute(query.format(n)).fetchone() for n in ids]  # site: comprehension

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
        (line_of("comprehension"), "by_ids"),
        (line_of("comprehension"), "by_ids"),
        (line_of("lambda"), "later"),
        (line_of("generator"), "generated"),
        (line_of("find"), "find"),
        (line_of("own"), "test_call_sites_are_the_lines_that_wrote_the_statement"),
        (line_of("several lines"), "test_call_sites_are_the_lines_that_wrote_the_statement"),
        (line_of("thread"), "in_thread"),
    ]
    assert {s.thread for s in statements(either)} == {0, 1}


def in_thread(db: Database) -> None:
    with contextlib.closing(db.connect()) as connection:
        connection.cursor().execute("SELECT 'thread'")  # site: thread


def test_call_sites_through_libraries(either: Half) -> None:
    engine = either.database.engine()
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(QUERY)).all()  # site: sqlalchemy
    found = [s for s in statements(either) if s.sql == QUERY]
    assert [s.site.line for s in found if s.site] == [line_of("sqlalchemy")]
    if either.backend.name == "postgres":
        cursor = either.database.connect().cursor()
        sql, rows = "INSERT INTO item VALUES %s", [(30, "x")]
        psycopg2.extras.execute_values(cursor, sql, rows)  # site: execute_values
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


@pytest.mark.parametrize(
    "pool", [sqlalchemy.pool.QueuePool, sqlalchemy.pool.NullPool, sqlalchemy.pool.StaticPool]
)
def test_engines_and_pools_of_sqlalchemy_are_recorded(either: Half, pool: Any) -> None:
    engine = either.database.engine(poolclass=pool)
    for number in (40, 41):
        with engine.begin() as connection:
            connection.execute(
                sqlalchemy.text("INSERT INTO item VALUES (:id, :name)"), {"id": number, "name": "x"}
            )
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT max(id) FROM item")).scalar() == number
    own = sqlalchemy.create_engine(either.database.url.replace("postgresql:", "postgresql+psycopg2:"))
    with own.connect() as connection:
        assert connection.execute(sqlalchemy.text("SELECT count(*) FROM item")).scalar() == 5
    own.dispose()
    assert [s.sql.split()[0] for s in statements(either) if "item" in s.sql] == [
        "INSERT",
        "SELECT",
        "INSERT",
        "SELECT",
        "SELECT",
    ]


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
        other = psycopg2.connect(made.database.dsn)
        assert isinstance(other, psycopg2.extensions.connection)
        assert isinstance(other.cursor(), psycopg2.extensions.cursor)
        other.close()


def test_a_mock_in_the_place_of_connect_keeps_working(sqlite: Half) -> None:
    with unittest.mock.patch("sqlite3.connect") as mock:
        mock.return_value.execute.return_value.fetchall.return_value = [("mocked",)]
        assert sqlite3.connect("anything").execute("SELECT 1").fetchall() == [("mocked",)]
    assert statements(sqlite) == []
    with contextlib.closing(sqlite3.connect(sqlite.database.path)) as connection:
        connection.execute(QUERY)
    assert only(sqlite).sql == QUERY


def test_closing_the_worker_puts_the_drivers_back(
    postgres_server: Server, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    for backend in BACKENDS:
        worker.backend(backend)  # which stays in force after this test
    for place, name in (
        (sqlite3, "connect"),
        (sqlite3.dbapi2, "connect"),
        (psycopg2, "_connect"),
        (sqlite_recorder, "on_connect"),
        (postgres_recorder, "owns"),
        (sqlite_recorder, "redirects"),
    ):
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
        with contextlib.closing(sqlite3.connect(":memory:")) as memory, memory:
            memory.execute("SELECT 1")
        made.database.scalar("SELECT 1")
    assert [s.sql for s in statements(made)] == ["SELECT 1"]
    assert [(Path(e.database).name, e.sql) for e in made.recorder.bypasses] == [
        ("other.sqlite3", "CREATE TABLE t (n)"),
        (":memory:", "SELECT 1"),
        (":memory:", "COMMIT"),
    ]


def test_scripts_of_the_set_up_are_not_recorded(either: Half) -> None:
    either.database.executescript("CREATE TABLE more (n INTEGER); INSERT INTO more VALUES (1);")
    assert statements(either) == []
    assert either.database.scalar("SELECT n FROM more") == 1


# ----------------------------------------------------------------------------------------------------- values


def test_values_are_recorded_as_the_application_got_them(either: Half) -> None:
    values = (
        None,
        True,
        5,
        2**62,
        1.5,
        "text",
        "",
        "é\U0001f600",
        b"\x00\xff",
        Decimal("2.50"),
        datetime.date(2024, 2, 29),
        uuid.UUID(int=5),
    )
    usable = values[:9] if either.backend.name == "sqlite" else values[:-1]
    marks = ", ".join(either.database.placeholder for _ in usable)
    cursor = either.database.connect().cursor()
    cursor.execute(f"SELECT {marks}", usable)
    row = cursor.fetchone()
    found = only(either)
    assert found.params == usable
    assert found.rows[0] is row


def test_a_call_without_a_statement_does_not_decide_for_its_line(tmp_path: Path) -> None:
    sites = Sites(str(Path(__file__).parent))

    def recorder(sql: str) -> Any:
        return sites.find(sql)

    def driver(sql: str) -> Any:
        return recorder(sql)

    def adapter(sql: str) -> list[Any]:
        return [*map(driver, ("", sql))]  # a cursor is made, then it executes

    def application() -> list[Any]:
        return adapter("SELECT code FROM item WHERE id = 1")

    assert [site.function for site, _ in application()] == ["adapter", "application"]
