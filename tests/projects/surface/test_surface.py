from __future__ import annotations

import pytest


def test_plain():
    pass


@pytest.mark.parametrize("n", [1, 2])
def test_plain_parameters(n):
    assert n


def test_direct(db):
    assert db.scalar("SELECT 1") == 1


@pytest.mark.parametrize("n", [1, 2])
def test_parameters(n, db):
    assert db.scalar("SELECT ?", (n,)) == n


@pytest.mark.parametrize("kind", ["sqlite", "postgres", "-sqlite"])
def test_names_of_backends(db, kind):
    assert db.scalar("SELECT 1") == 1


@pytest.mark.parametrize("a", ["x", "y"])
@pytest.mark.parametrize("b", [1, 2])
def test_two_parameters(db, a, b):
    assert db.scalar("SELECT ?", (b,)) == b


def test_through_fixtures(service):
    service.add("Ada")
    assert service.names() == ["Ada"]


class TestAutouse:
    @pytest.fixture(autouse=True)
    def prepared(self, db):
        db.executescript("CREATE TABLE t (n INTEGER)")
        self.db = db

    def test_autouse(self):
        assert self.db.tables() == ["t"]
        assert self.db.fetchall("SELECT n FROM t") == []


@pytest.mark.skip(reason="not today")
def test_skipped(db):
    pass
