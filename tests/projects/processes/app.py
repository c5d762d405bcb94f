"""Opens a connection of its own for each write; runs as a program, too."""

import os
import sys


def connect():
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        import sqlite3

        return sqlite3.connect(url.removeprefix("sqlite:///"))
    import psycopg2

    # the name of the driver is for SQLAlchemy: the program runs without the plugin
    return psycopg2.connect(url.replace("+psycopg2", ""))


def add(table, name):
    connection = connect()
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO {table} VALUES ((SELECT count(*) + 1 FROM {table}), '{name}')")
    connection.commit()
    connection.close()


if __name__ == "__main__":
    add(*sys.argv[1:])
