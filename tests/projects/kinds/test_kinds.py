"""One test for each kind of divergence, and one for each verdict."""

from __future__ import annotations

import contextlib
import importlib
import json
import sqlite3

import pytest


def test_agree(db):
    assert db.scalar("SELECT count(*) FROM person") == 3


def test_outcome(db):
    db.scalar("SELECT 1")
    assert db.backend == "sqlite"


def test_outcome_in_setup(db, picky):
    db.scalar("SELECT 1")


@pytest.fixture
def picky(db):
    db.scalar("SELECT 2")
    if db.backend == "sqlite":
        raise LookupError("the fixture does not like SQLite")


def test_error(db):
    db.fetchall("SELECT group_concat(name) FROM person")


def test_error_swallowed(db):
    with contextlib.suppress(Exception):
        db.fetchall("SELECT group_concat(name) FROM person")


def test_error_class(db):
    with pytest.raises(Exception, match=r"(?i)integer"):
        db.execute("INSERT INTO exact VALUES (?)", ("many",))


def test_rows(db):
    db.fetchall("SELECT name FROM person WHERE name LIKE 'a%' ORDER BY id")


def test_order(db):
    db.fetchall("SELECT name FROM person ORDER BY age")


def test_order_cut(db):
    db.fetchall("SELECT name FROM person ORDER BY age LIMIT 1")


def test_order_not_asked_for(db):
    # the planner of one side sorts to find the distinct ones
    rows = (
        "SELECT 'b' AS x UNION ALL SELECT 'a'"
        if db.backend == "sqlite"
        else "SELECT 'a' AS x UNION ALL SELECT 'b'"
    )
    cursor = db.connection.cursor()
    cursor.execute(rows)
    cursor.fetchall()


def test_type(db):
    db.fetchall("SELECT height FROM person ORDER BY id")


def test_column_names(db):
    if db.backend == "sqlite":
        connection = db.connect()
        connection.row_factory = sqlite3.Row
    else:
        from psycopg2.extras import DictCursor

        connection = db.connect(cursor_factory=DictCursor)
    cursor = connection.cursor()
    cursor.execute("SELECT count(*) FROM person")
    assert cursor.fetchone()[0] == 3


def test_column_count(db):
    db.fetchall("SELECT * FROM wide")


def test_rowcount(db):
    cursor = db.execute("SELECT id FROM person")
    assert cursor.rowcount in (-1, 3)


def test_lastrowid(db):
    cursor = db.execute("INSERT INTO person (name) VALUES ('Kay')")
    assert cursor.lastrowid in (0, 4)


def test_statements(db):
    for _ in range(2 if db.backend == "sqlite" else 1):
        db.scalar("SELECT count(*) FROM person")


def test_state(db):
    with db.transaction():
        db.execute("DELETE FROM person WHERE id = 1")


def test_state_never_committed(db):
    connection = db.connect()
    connection.cursor().execute("INSERT INTO pet VALUES (7, 1, 'Bim')")
    if db.backend == "sqlite":
        connection.commit()


def test_observed(db):
    db.scalar("SELECT 1")
    db.observe("body", {"backend": db.backend})


def test_bypass(db):
    db.scalar("SELECT 1")
    if db.backend == "postgres":
        sqlite3.connect(":memory:").execute("SELECT 2")


def test_reaches_the_wrong_database(db):
    path = db.path or ":memory:"
    sqlite3.connect(path).execute("SELECT 1 WHERE 0").fetchall()


def test_keeps_to_a_database_of_its_own(db):
    sqlite3.connect(":memory:").execute("SELECT 1").fetchall()


@pytest.fixture
def people(db):
    """Give the module of the application for the database, and a connection."""
    return importlib.import_module(f"on_{db.backend}"), db.connection


def test_module_for_each_database(people):
    module, connection = people
    assert module.add(connection, 9, "zoe")
    assert not module.add(connection, 9, "twice")
    assert module.find(connection, "zo%") == [("zoe",)]


def test_module_for_each_database_differs(people):
    module, connection = people
    module.find(connection, "A%")


def test_table_of_one_half(db):
    if db.backend == "postgres":
        db.execute("CREATE TABLE extra (a INTEGER)")
    with db.transaction():
        db.execute("SELECT 1")
        if db.backend == "postgres":
            db.execute("INSERT INTO extra VALUES (1)")


def test_time(db):
    db.scalar("SELECT 1")
    slow = "pg_sleep(1.2)" if db.backend == "postgres" else "1"
    db.scalar(f"SELECT count(*) FROM (SELECT {slow}) AS s")


def test_description(db):
    cursor = db.connection.cursor()
    cursor.execute("SELECT count(*) FROM person")
    assert cursor.description
    assert [dict(zip([column[0] for column in cursor.description], row)) for row in cursor]  # noqa: B905


def test_names_twice(db):
    if db.backend == "sqlite":
        connection = db.connect()
        connection.row_factory = lambda cursor, row: {
            column[0]: value for column, value in zip(cursor.description, row, strict=True)
        }
    else:
        from psycopg2.extras import RealDictCursor

        connection = db.connect(cursor_factory=RealDictCursor)
    cursor = connection.cursor()
    cursor.execute(
        "SELECT person.id, pet.id, pet.name FROM person JOIN pet ON pet.owner = person.id ORDER BY 1"
    )
    assert [row["id"] for row in cursor.fetchall()] == [1, 2]


def test_only_asked_whether_there_are_rows(db):
    cursor = db.connection.cursor()
    cursor.execute("SELECT count(*) FROM person")
    if cursor.description is not None and len(cursor.description) == 1:
        cursor.fetchall()


def test_unrelated_failure(db):
    db.fetchall("SELECT height FROM person ORDER BY id")
    if db.backend == "postgres":
        raise ConnectionRefusedError("the mail server is away")


def test_failure_of_a_converted_value(db):
    found = db.scalar("SELECT body FROM document")
    found = json.loads(found) if isinstance(found, str) else found
    assert found == ([1, 2] if db.backend == "postgres" else [1])


def test_related_failure(db):
    heights = [row[0] for row in db.fetchall("SELECT height FROM person ORDER BY id")]
    assert sum(heights) + 0.5 > 0


def test_committed_after_an_error(db):
    connection = db.connect()
    cursor = connection.cursor()
    cursor.execute("INSERT INTO pet VALUES (7, 1, 'Bim')")
    with contextlib.suppress(Exception):
        cursor.execute("INSERT INTO pet VALUES (7, 1, 'Bam')")
    for sql in ("INSERT INTO pet VALUES (8, 1, 'Bem')", "UPDATE pet SET name = 'Bum' WHERE id = 7"):
        with contextlib.suppress(Exception):
            cursor.execute(sql)
    connection.commit()


def test_fails_on_both(db):
    db.scalar("SELECT 1")
    raise AssertionError("always")


def test_skipped_on_one(db):
    if db.backend == "postgres":
        pytest.skip("not there yet")
    db.scalar("SELECT 1")


def test_expected_failure(db):
    if db.backend == "postgres":
        pytest.xfail("known")
    db.scalar("SELECT 1")


def test_no_statement(db):
    assert db.backend


def test_only_observed(db):
    db.observe("value", 5)


@pytest.mark.dualdb(ignore=["NAME"])
def test_ignored_column(db):
    cursor = db.connection.cursor()
    cursor.execute(f"SELECT id, '{db.backend}' AS name FROM person ORDER BY id")
    cursor.fetchall()


LEAKED = []


def test_leak(db):
    if db.backend == "sqlite":
        connection = sqlite3.connect(db.path)
    else:
        import psycopg2

        connection = psycopg2.connect(db.dsn)
    connection.cursor().execute("INSERT INTO pet VALUES (8, 1, 'Leak')")
    LEAKED.append(connection)


def test_after_a_leak(db):
    assert db.scalar("SELECT count(*) FROM pet") == 2
    with db.transaction():
        db.execute("INSERT INTO pet VALUES (8, 1, 'Own')")


def test_databases_of_its_own(db):
    sqlite3.connect(":memory:").execute("SELECT 1")


def test_another_database_of_the_server(db):
    if db.backend == "sqlite":
        db.scalar("SELECT 1")
        return
    import psycopg2

    dsn = psycopg2.extensions.make_dsn(db.dsn, dbname="postgres")
    with psycopg2.connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT 1")
