from __future__ import annotations

import pytest


class People:
    def __init__(self, db):
        self.db = db
        db.executescript("CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);")

    def add(self, name):
        with self.db.transaction():
            self.db.execute("INSERT INTO people (id, name) VALUES (?, ?)", (len(name), name))

    def names(self):
        return [row[0] for row in self.db.fetchall("SELECT name FROM people ORDER BY id")]


@pytest.fixture
def people(db):
    return People(db)


@pytest.fixture
def service(people):
    return people
