import sqlite3
from decimal import Decimal

connect = sqlite3.connect


def add(connection, price, code):
    connection.execute("INSERT INTO item (price, code) VALUES (?, ?)", (float(price), code))
    connection.commit()


def price(connection, code):
    found = connection.execute("SELECT price FROM item WHERE code = ?", (code,)).fetchone()
    return Decimal(f"{found[0]:.20f}")


def search(connection, pattern):
    return connection.execute("SELECT code FROM item WHERE code LIKE ? ORDER BY id", (pattern,)).fetchall()
