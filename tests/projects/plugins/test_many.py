import app
import pytest


@pytest.mark.parametrize("number", range(7))
def test_many(db, number):
    app.add(2 + number, "many")
    assert app.names() == ["seed", "many"]


@pytest.mark.xdist_group("together")
def test_grouped(db):
    assert app.names() == ["seed"]
