"""Tests whose halves do something else each time that they run, and one that does not."""

from __future__ import annotations

import unittest

import pytest

RUNS = ("sqlite", "postgres", "sqlite-again", "postgres-again")


@pytest.fixture
def drawn(request):
    """A number that is another one in each run."""
    return 11 + RUNS.index(request.node.callspec.id)


def test_steady(db):
    db.fetchall("SELECT name FROM item ORDER BY id")


def test_difference(db):
    db.fetchall("SELECT name FROM item WHERE name LIKE 'a%' ORDER BY id")


def test_chance_on_both(db, drawn):
    db.fetchall(f"SELECT id, {drawn} AS drawn FROM item ORDER BY id")


def test_chance_on_one(db, drawn):
    number = drawn if db.backend == "postgres" else 1
    db.fetchall(f"SELECT id, {number} AS drawn FROM item ORDER BY id")


def test_chance_and_difference(db, drawn):
    db.fetchall(f"SELECT name, {drawn} AS drawn FROM item WHERE id = 1")
    db.fetchall("SELECT name FROM item WHERE name LIKE 'a%' ORDER BY id")


def test_chance_beside_a_difference(db, drawn):
    other = "'x'" if db.backend == "sqlite" else "'y'"
    db.fetchall(f"SELECT id, {other} AS other, {drawn} AS drawn FROM item ORDER BY id")


def test_chance_in_state(db, drawn):
    with db.transaction():
        db.execute(f"UPDATE item SET score = {drawn * 10}")


def test_chance_observed(db, drawn):
    db.scalar("SELECT 1")
    db.observe("drawn", drawn * 1000)


def test_chance_in_outcome(db, drawn):
    db.scalar("SELECT 1")
    assert drawn != 11


@pytest.mark.parametrize("n", [1, 2])
def test_parametrised(db, n):
    assert db.scalar("SELECT ?", (n,)) == n


class TestOld(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _database(self, db):
        self.db = db

    def test_method(self):
        self.db.scalar("SELECT 1")
