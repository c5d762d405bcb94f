import pytest
import store


@pytest.fixture(autouse=True)
def database(db):
    return db


@pytest.fixture
def never_committed(database):
    connection = store.connect()
    connection.cursor().execute("CREATE TABLE draft (n INTEGER)")
    yield
    connection.close()
