"""A suite that knows no pytest: its application opens what DATABASE_URL says."""

from __future__ import annotations

import os
import sqlite3
import unittest
from urllib.parse import urlsplit


def connect():
    url = os.environ["DATABASE_URL"]
    if url.startswith("sqlite"):
        return sqlite3.connect(urlsplit(url).path[1:])
    import psycopg2

    return psycopg2.connect(url)


class ApplicationTest(unittest.TestCase):
    def setUp(self):
        self.connection = connect()
        self.cursor = self.connection.cursor()
        self.cursor.execute("INSERT INTO person VALUES (3, 'Grace')")
        self.connection.commit()

    def tearDown(self):
        self.cursor.execute("DELETE FROM person WHERE id = 3")
        self.connection.commit()
        self.connection.close()

    def test_names(self):
        self.cursor.execute("SELECT name FROM person ORDER BY id")
        self.assertEqual([row[0] for row in self.cursor.fetchall()], ["Ada", "alan", "Grace"])

    def test_case(self):
        self.cursor.execute("SELECT name FROM person WHERE name LIKE 'a%' ORDER BY id")
        self.assertEqual([row[0] for row in self.cursor.fetchall()], ["Ada", "alan"])
