import pytest


@pytest.fixture(autouse=True)
def fresh_database(db):
    pass
