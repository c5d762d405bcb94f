import pytest


@pytest.fixture(scope="module")
def wide(db):
    return db


def test_scope(wide):
    pass
