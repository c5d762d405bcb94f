import os
import sqlite3

URL = os.environ["DATABASE_URL"]


def ask(db):
    if os.environ.get("WANT") == "aside":
        connection = sqlite3.connect(":memory:")
        return connection.execute("SELECT 1").fetchone()[0]
    if os.environ.get("WANT") == "bound":
        connection = sqlite3.connect(URL.removeprefix("sqlite:///"))
        try:
            return connection.execute("SELECT 1").fetchone()[0]
        finally:
            connection.close()
    return db.scalar("SELECT 1")
