"""An application that is bound to its database when it is imported."""

import os

import sqlalchemy

URL = os.environ["DATABASE_URL"]
engine = sqlalchemy.create_engine(URL)


def add(name):
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO item (name) VALUES (:name)"), {"name": name})


def names():
    with engine.connect() as connection:
        return list(connection.scalars(sqlalchemy.text("SELECT name FROM item ORDER BY id")))


def search(pattern):
    with engine.connect() as connection:
        query = sqlalchemy.text("SELECT name FROM item WHERE name LIKE :pattern ORDER BY id")
        return list(connection.scalars(query, {"pattern": pattern}))


class Pool:
    """Raw connections of a pool that opens one at once, when it is imported."""

    def __init__(self):
        if os.environ["BACKEND"] == "postgres":
            from psycopg2.pool import SimpleConnectionPool

            pool = SimpleConnectionPool(1, 2, os.environ["DSN"])
            self.take, self.give = pool.getconn, pool.putconn
        else:
            import sqlite3

            connection = sqlite3.connect(os.environ["FILE"])
            self.take, self.give = lambda: connection, lambda connection: None

    def count(self):
        connection = self.take()
        try:
            cursor = connection.cursor()
            cursor.execute("SELECT count(*) FROM item")
            return cursor.fetchone()[0]
        finally:
            connection.rollback()
            self.give(connection)


pool = Pool()
