"""Tests that fail in each phase, on both or on one database, and leave committed and uncommitted rows."""

import pytest


def work(db, number):
    db.execute("INSERT INTO seed VALUES (?)", (number,))
    db.execute("CREATE TABLE made (n INTEGER)")
    db.connection.commit()
    db.execute("INSERT INTO seed VALUES (99)")


@pytest.fixture(autouse=True)
def fresh(db):
    assert db.fetchall("SELECT n FROM seed") == [(1,)]
    assert db.tables() == ["seed"]
    db.connection.rollback()


@pytest.fixture
def broken_at_its_end(db):
    yield
    raise RuntimeError("teardown")


def test_passes(db):
    work(db, 2)


@pytest.mark.parametrize("word", ["a b", "ü"])
def test_fails(db, word):
    work(db, 3)
    raise AssertionError(word)


def test_fails_on_postgres(db):
    work(db, 4)
    assert db.backend == "sqlite"


def test_fails_at_its_end(db, broken_at_its_end):
    work(db, 5)


@pytest.mark.xfail
def test_fails_as_expected(db):
    raise AssertionError


def test_unchanged(db):
    assert db.backend == "sqlite"
