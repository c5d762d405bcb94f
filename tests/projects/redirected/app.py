"""An application that has the paths of its SQLite file built in."""

import os
import sqlite3
from pathlib import Path

HERE = Path(__file__).parent
at_import = sqlite3.connect(HERE / "app.sqlite3")


def open_ways():
    yield sqlite3.connect("app.sqlite3")
    yield sqlite3.connect(database=os.fsencode(HERE / "app.sqlite3"))
    yield sqlite3.connect(HERE / "elsewhere" / ".." / "app.sqlite3")
    yield sqlite3.connect((HERE / "app.sqlite3").as_uri(), uri=True)
    yield sqlite3.connect("file:app.sqlite3?mode=ro", uri=True)
    yield sqlite3.connect("linked.sqlite3")
    yield sqlite3.connect(HERE / "elsewhere" / "second.db")
    os.chdir(HERE / "elsewhere")
    try:
        yield sqlite3.connect("../app.sqlite3")
        yield sqlite3.connect("second.db")
    finally:
        os.chdir(HERE)
    yield at_import


def count(connection):
    return connection.execute("SELECT count(*) FROM item").fetchone()[0]


def write():
    with sqlite3.connect("app.sqlite3") as connection:
        connection.execute("INSERT INTO item VALUES (2)")
    connection.close()
