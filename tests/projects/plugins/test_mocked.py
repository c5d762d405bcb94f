import sqlite3
from unittest import mock

import app
import psycopg2


def test_mocked(db):
    with mock.patch("sqlite3.connect") as connect, mock.patch("psycopg2.connect", connect):
        connect.return_value.cursor.return_value.fetchall.return_value = [("mock",)]
        assert app.names() == ["mock"]


def test_drivers_are_back(db):
    assert app.names() == ["seed"]
    assert not isinstance(sqlite3.connect, mock.Mock)
    assert not isinstance(psycopg2.connect, mock.Mock)
