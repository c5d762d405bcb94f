"""Each argument of the marker, where it holds and where it does not."""

from __future__ import annotations

import pytest

LIKE = "SELECT name FROM person WHERE name LIKE 'a%' ORDER BY id"
DIFFERENT = {"sqlite": "SELECT 'a' AS x", "postgres": "SELECT 'b' AS x"}


def different(db):
    cursor = db.connection.cursor()
    cursor.execute(DIFFERENT[db.backend])
    return cursor.fetchall()


@pytest.mark.dualdb(only="postgres", reason="arrays")
def test_only_postgres(db):
    assert db.scalar("SELECT (ARRAY[1, 2])[1]") == 1


@pytest.mark.dualdb(only="sqlite", reason="a pragma")
@pytest.mark.parametrize("n", [1, 2])
def test_only_sqlite(db, n):
    assert db.fetchall("PRAGMA foreign_keys")


@pytest.mark.dualdb(xfail="postgres", raises=TypeError, reason="not ported")
def test_expected(db):
    db.scalar("SELECT 1")
    if db.backend == "postgres":
        raise TypeError("as expected")


@pytest.mark.dualdb(xfail="postgres", raises=TypeError, reason="not ported")
def test_another_exception(db):
    db.scalar("SELECT 1")
    if db.backend == "postgres":
        raise LookupError("not as expected")


@pytest.mark.dualdb(xfail="postgres", reason="ported since")
def test_passes_again(db):
    assert db.scalar("SELECT 1") == 1


@pytest.mark.dualdb(allow="like-case", reason="the names are lower case")
def test_allowed(db):
    db.fetchall(LIKE)


@pytest.mark.dualdb(allow="like-case", reason="the names are lower case")
def test_another_rule_too(db):
    db.fetchall(LIKE)
    different(db)


@pytest.mark.dualdb(allow=["like-case", "unexplained"], reason="all of it")
def test_allowed_by_a_list(db):
    db.fetchall(LIKE)
    different(db)


@pytest.mark.dualdb(allow="like-case", reason="it was so once")
def test_allowed_in_vain(db):
    assert db.scalar("SELECT 1") == 1


@pytest.mark.dualdb(allow="like-case", reason="one of the two")
@pytest.mark.parametrize("first", ["a", "A"])
def test_allowed_for_some_parameters(db, first):
    db.fetchall("SELECT name FROM person WHERE name LIKE ? ORDER BY id", (f"{first}da",))


@pytest.mark.dualdb(ignore="x")
@pytest.mark.dualdb(allow="like-case", reason="of the class below")
class TestClass:
    def test_needs_it(self, db):
        db.fetchall(LIKE)
        different(db)

    def test_does_not(self, db):
        assert db.scalar("SELECT 1") == 1


@pytest.mark.parametrize(
    "n",
    [1, pytest.param(2, marks=pytest.mark.dualdb(xfail="sqlite", raises=ZeroDivisionError, reason="two"))],
)
def test_of_a_parameter(db, n):
    db.scalar("SELECT 1")
    if db.backend == "sqlite":
        assert 1 / (n - 2)


@pytest.mark.dualdb(only="postgres", reason="no database, no halves")
def test_without_db():
    pass
