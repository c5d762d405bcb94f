"""What the tests stored differs, and every result that they see is equal."""

import contextlib

from conftest import Author, Book
from sqlalchemy import text


def test_dropped(session):
    session.add_all([Author(id=1, name="Ada"), Book(id=1, author_id=1, price=5)])
    session.commit()
    session.execute(text("DELETE FROM author WHERE id = 1"))
    session.commit()


def test_dropped_and_equal(session):
    session.add_all([Author(id=1, name="Ada"), Book(id=1, author_id=1, price=5)])
    session.commit()


def test_emptied(db, connection):
    cursor = connection.cursor()
    cursor.execute("INSERT INTO note VALUES (2, 'second', 0.004)")
    connection.commit()


def test_emptied_and_equal(db, connection):
    cursor = connection.cursor()
    cursor.execute("INSERT INTO note VALUES (2, 'second', 0.25)")
    connection.commit()


def test_locked_while_it_is_looked_at(db):
    if db.backend == "postgres":
        holder = db.connect()
        holder.cursor().execute("LOCK TABLE note IN ACCESS EXCLUSIVE MODE")
    cursor = db.connection.cursor()
    cursor.execute("CREATE TABLE other (a INTEGER)")
    cursor.execute("INSERT INTO other VALUES (1)")
    db.connection.commit()
    cursor.execute("DROP TABLE other")
    db.connection.commit()


def test_rebuilt_by_copying(db):
    for statement in (
        "CREATE TABLE fresh (id INTEGER PRIMARY KEY, body VARCHAR(200), amount NUMERIC(8, 2))",
        "INSERT INTO fresh SELECT id, body, amount FROM note",
        "DROP TABLE note",
        "ALTER TABLE fresh RENAME TO note",
    ):
        db.execute(statement)
    db.connection.commit()


def test_beside_a_table_that_is_emptied(logged):
    logged.execute("INSERT INTO log VALUES ('stored')")
    logged.execute("INSERT INTO note VALUES (2, 'second', 0.004)")
    logged.connection.commit()


def test_rolled_back(undone):
    undone.execute(text("INSERT INTO note VALUES (2, 'second', 0.004)"))
    undone.commit()


def test_rolled_back_and_equal(undone):
    undone.execute(text("INSERT INTO note VALUES (2, 'second', 0.25)"))
    undone.commit()


def test_rolled_back_by_the_driver(unsaved):
    unsaved.cursor().execute("INSERT INTO note VALUES (2, 'second', 0.004)")


def test_rolled_back_on_one_side_before(unsaved):
    cursor = unsaved.cursor()
    cursor.execute("INSERT INTO note VALUES (2, 'second', 0.25)")
    with contextlib.suppress(Exception):
        cursor.execute("INSERT INTO note VALUES (2, 'twice', 0.25)")
