"""`Database`: the same calls do the same on both backends."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import sqlalchemy
from halves import QUERY, ROWS, half, statements

from pytest_dualdb.database import Database
from pytest_dualdb.dialect import PlaceholderError
from pytest_dualdb.worker import Half, Worker


def test_what_it_says_of_itself(either: Half) -> None:
    db = either.database
    if db.backend == "sqlite":
        assert (db.placeholder, db.dsn) == ("?", "")
        assert Path(db.path).is_file()
        assert db.url == f"sqlite:///{db.path}"
    else:
        assert (db.placeholder, db.path) == ("%s", "")
        with psycopg2.connect(db.dsn) as connection:
            assert connection.info.dbname == sqlalchemy.make_url(db.url).database
    assert db.backend in repr(db)
    assert dict(db.env) == {}
    assert db.tables() == ["item"]


def test_reading(either: Half) -> None:
    db = either.database
    assert db.fetchall(QUERY) == ROWS
    assert db.fetchone(QUERY) == ROWS[0]
    assert db.fetchone("SELECT id FROM item WHERE id = ?", (9,)) is None
    assert db.scalar("SELECT name FROM item WHERE id = ?", (2,)) == "Grace"
    assert db.scalar("SELECT name FROM item WHERE id = ?", (9,)) is None
    assert db.scalar("SELECT name FROM item WHERE id = ?", (3,)) is None
    assert [row[0] for row in db.execute(QUERY)] == [1, 2, 3]


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("SELECT ?", ("x",), "x"),
        ("SELECT ?", ["x"], "x"),
        ("SELECT :a", {"a": "x"}, "x"),
        ("SELECT :a", {"a": "x", "unused": 1}, "x"),
        ("SELECT '?:a%s%%' || ?", ("!",), "?:a%s%%!"),
        ("SELECT '%' || ?", ("!",), "%!"),
        ("SELECT '100%'", None, "100%"),
        ("SELECT '100%'", (), "100%"),
        ("SELECT 7 % 4 -- ? :a %s\n", None, 3),
        ("SELECT /* ? */ ?", (5,), 5),
        ('SELECT id AS "why?" FROM item WHERE id = ?', (1,), 1),
        ("SELECT CAST(? AS TEXT) LIKE '%b%'", ("abc",), True),
    ],
)
def test_portable_placeholders(either: Half, sql: str, params: Any, expected: Any) -> None:
    assert either.database.scalar(sql, params) == expected


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("SELECT ?, ?", (1,)),
        ("SELECT ?", (1, 2)),
        ("SELECT ?", None),
        ("SELECT :a", {}),
        ("SELECT :a", {"b": 1}),
        ("SELECT :a", (1, 2)),
        ("SELECT ?, :a", (1,)),
    ],
)
def test_parameters_that_do_not_fit_are_refused_before_the_database_sees_them(
    either: Half, sql: str, params: Any
) -> None:
    with pytest.raises(PlaceholderError) as caught:
        either.database.execute(sql, params)
    assert "\n" not in str(caught.value)
    assert statements(either) == []


def test_executemany(either: Half) -> None:
    db = either.database
    db.executemany("INSERT INTO item VALUES (?, ?)", [(4, "d"), (5, "100%")])
    db.executemany("INSERT INTO item VALUES (:id, :name)", [{"id": 6, "name": "f"}])
    assert db.fetchall("SELECT name FROM item WHERE id > 3 ORDER BY id") == [("d",), ("100%",), ("f",)]
    with pytest.raises(PlaceholderError):
        db.executemany("INSERT INTO item VALUES (?, ?)", [(7, "g"), (8,)])


def insert(db: Database, number: int, name: str) -> None:
    db.execute("INSERT INTO item VALUES (?, ?)", (number, name))


def insert_and_fail(db: Database, number: int) -> None:
    with db.transaction():
        insert(db, number, "lost")
        with db.transaction():
            insert(db, number + 1, "lost")
        raise LookupError


def test_a_transaction_commits_and_rolls_back(either: Half) -> None:
    db = either.database
    other = db.connect()

    def count() -> int:
        cursor = other.cursor()
        cursor.execute("SELECT count(*) FROM item")
        found: int = cursor.fetchone()[0]
        other.rollback()
        return found

    with db.transaction() as connection:
        assert connection is db.connection
        insert(db, 4, "kept")
        assert count() == 3
    assert count() == 4
    with pytest.raises(LookupError):
        insert_and_fail(db, 5)
    assert count() == 4


def test_transactions_nest(either: Half) -> None:
    db = either.database
    with db.transaction():
        with pytest.raises(LookupError):
            insert_and_fail(db, 4)
        with db.transaction():
            insert(db, 6, "kept")
            with pytest.raises((sqlite3.Error, psycopg2.Error)), db.transaction():
                insert(db, 1, "again")
        insert(db, 7, "kept")
    assert db.fetchall("SELECT id FROM item WHERE id > 3 ORDER BY id") == [(6,), (7,)]
    with pytest.raises(LookupError), db.transaction():
        insert_and_fail(db, 8)
    assert db.scalar("SELECT count(*) FROM item") == 5


def test_a_script_sees_what_was_done_and_is_seen(either: Half) -> None:
    db = either.database
    db.execute("INSERT INTO item VALUES (4, 'before')")
    db.executescript("CREATE TABLE more AS SELECT name FROM item WHERE id = 4; -- the end")
    assert db.fetchall("SELECT name FROM more") == [("before",)]
    assert db.tables() == ["item", "more"]
    db.executescript("-- nothing")
    db.executescript("")
    with pytest.raises((sqlite3.Error, psycopg2.Error)):
        db.executescript("SELEC 1")
    assert [s.kind for s in statements(either)] == ["execute", "execute"]


def test_connections(either: Half) -> None:
    db = either.database
    assert db.connection is db.connection
    assert db.connect() is not db.connect()
    if db.backend == "sqlite":
        connection = db.connect(isolation_level=None, timeout=1)
        assert connection.isolation_level is None
        assert isinstance(connection, sqlite3.Connection)
    else:
        connection = db.connect(application_name="mine")
        assert connection.get_parameter_status("application_name") == "mine"
        assert isinstance(connection, psycopg2.extensions.connection)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_connections_end_with_the_half(worker: Worker, backend: Any) -> None:
    with half(worker, backend) as made:
        first, second = made.database.connection, made.database.connect()
        engine = made.database.engine()
        with engine.connect() as connection:
            assert connection.execute(sqlalchemy.text("SELECT 1")).scalar() == 1
    for connection in (first, second):
        with pytest.raises((sqlite3.ProgrammingError, psycopg2.InterfaceError)):
            connection.cursor()
    assert engine.pool.checkedin() == 0  # type: ignore[attr-defined]


def test_an_observed_value_is_kept_as_it_was(either: Half) -> None:
    value = {"rows": [1, 2]}
    either.database.observe("body", value)
    value["rows"].append(3)
    either.database.observe("body", value)
    assert either.recorder.observed == [("body", {"rows": [1, 2]}), ("body", {"rows": [1, 2, 3]})]


def test_an_observed_value_that_cannot_be_copied_is_kept_as_text(either: Half) -> None:
    either.database.observe("lock", threading.Lock())
    assert len(either.recorder.observed) == 1


def test_the_engine_is_sqlalchemys(either: Half) -> None:
    engine = either.database.engine(echo=False, pool_pre_ping=True)
    assert isinstance(engine, sqlalchemy.Engine)
    assert engine.dialect.name == {"sqlite": "sqlite", "postgres": "postgresql"}[either.database.backend]
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO item VALUES (4, 'engine')"))
    assert either.database.scalar("SELECT name FROM item WHERE id = 4") == "engine"


def test_functions_speak_the_dialect_of_the_half(either: Half) -> None:
    db = either.database
    assert (
        db.scalar(f"SELECT {db.functions.concat('name', chr(39) + '!' + chr(39))} FROM item WHERE id = 1")
        == "Ada!"
    )
