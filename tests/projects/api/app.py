"""An application written for one driver: what fails on the other is no statement."""

import os
import sqlite3


def connect(**arguments):
    if "DB_DSN" not in os.environ:
        return sqlite3.connect(os.environ["DB_PATH"], **arguments)
    import psycopg2

    return psycopg2.connect(os.environ["DB_DSN"], **arguments)


def rows_by_name():
    connection = connect()
    if "DB_DSN" not in os.environ:
        connection.row_factory = sqlite3.Row
    return connection


def selected(connection):
    cursor = connection.cursor()
    cursor.execute("SELECT id, body FROM note")
    return cursor.fetchone()


# ------------------------------------------------------------------------------------------ sqlite3's own


def execute_of_a_connection():
    return connect().execute("SELECT body FROM note").fetchall()


def executescript_of_a_cursor():
    connect().cursor().executescript("INSERT INTO note (body) VALUES ('second');")


def detect_types():
    connect(detect_types=sqlite3.PARSE_DECLTYPES)


def in_transaction():
    return connect().in_transaction


def total_changes():
    connection = connect()
    connection.cursor().execute("INSERT INTO note (body) VALUES ('second')")
    return connection.total_changes


def create_function():
    connection = connect()
    connection.create_function("twice", 1, lambda value: value * 2)
    connection.cursor().execute("SELECT twice(1)")


def backup():
    connect().backup(sqlite3.connect(":memory:"))


def execute_in_a_block():
    with connect() as connection:
        connection.execute("INSERT INTO note (body) VALUES ('second')")


def a_row_by_name():
    return selected(rows_by_name())["body"]


def keys_of_a_row():
    return selected(rows_by_name()).keys()


def dict_of_a_row():
    return dict(selected(rows_by_name()))


def row_factory():
    connection = connect()
    connection.row_factory = sqlite3.Row
    return selected(connection)["body"]


def exception_of_sqlite3():
    cursor = connect().cursor()
    try:
        cursor.execute("INSERT INTO note (body) VALUES ('first')")
    except sqlite3.IntegrityError:
        return "twice"


def chained_execute():
    return connect().cursor().execute("SELECT body FROM note").fetchone()


# ------------------------------------------------------------------------------------------ psycopg2's own


def cursor_in_a_block():
    with connect() as connection, connection.cursor() as cursor:
        cursor.execute("SELECT body FROM note")


def mogrify():
    return connect().cursor().mogrify("SELECT 1")


def set_session():
    connect().set_session(autocommit=True)


def cursor_factory():
    import psycopg2.extras

    return connect().cursor(cursor_factory=psycopg2.extras.RealDictCursor)


def sqlstate():
    cursor = connect().cursor()
    try:
        cursor.execute("INSERT INTO note (body) VALUES ('first')")
    except Exception as error:
        return error.pgcode


# -------------------------------------------------------------- the same on both, which is nothing to report


def works_on_both():
    with connect() as connection:
        connection.cursor().execute("INSERT INTO note (body) VALUES ('second')")
    connection.close()
