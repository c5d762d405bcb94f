import app
import pytest


@pytest.mark.xdist_group("g@1")
def test_one(service, db):
    assert app.ask(db) == 1


def test_none(db):
    """Sends nothing to either database."""
