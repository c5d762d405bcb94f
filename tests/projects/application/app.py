"""An application that finds its database in the environment and opens its own connections."""

import os
import sqlite3
from sqlite3 import connect

import psycopg2
from psycopg2 import connect as connect_postgres

PATH = "app.sqlite3"


def open_connection():
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        return connect(url.removeprefix("sqlite:///"))
    return connect_postgres(url)


def names():
    connection = open_connection()
    try:
        cursor = connection.cursor()
        cursor.execute("SELECT name FROM item ORDER BY id")
        return [row[0] for row in cursor.fetchall()]
    finally:
        connection.close()


def hard_coded():
    """The SQLite side of an application whose file has a fixed name."""
    if os.environ["BACKEND"] == "postgres":
        return names()
    connection = sqlite3.connect(database=PATH)
    try:
        return [name for (name,) in connection.execute("SELECT name FROM item ORDER BY id")]
    finally:
        connection.close()


def classes():
    return sqlite3.Connection, psycopg2.extensions.connection
