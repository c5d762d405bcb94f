import os
import sqlite3

import psycopg2


def connect():
    url = os.environ["DATABASE_URL"]
    return (
        sqlite3.connect(url.removeprefix("sqlite:///")) if url.startswith("sqlite") else psycopg2.connect(url)
    )


def names():
    connection = connect()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM item ORDER BY id")
        return [name for (name,) in cursor.fetchall()]
    finally:
        connection.close()


def add(number, name):
    connection = connect()
    connection.cursor().execute(f"INSERT INTO item VALUES ({number}, '{name}')")
    connection.commit()
    connection.close()
