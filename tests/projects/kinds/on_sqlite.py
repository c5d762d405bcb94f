"""Access to the data as one application has it for SQLite, beside a module for PostgreSQL."""

import sqlite3


def find(connection, text):
    return connection.execute("SELECT name FROM person WHERE name LIKE ? ORDER BY name", (text,)).fetchall()


def add(connection, number, name):
    try:
        connection.execute("INSERT INTO person (id, name) VALUES (?, ?)", (number, name))
    except sqlite3.IntegrityError:
        connection.rollback()
        return False
    connection.commit()
    return True
