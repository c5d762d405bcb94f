import pytest


@pytest.fixture
def db(db):
    db.executescript("CREATE TABLE wrapped (n INTEGER)")
    return db


@pytest.fixture
def service(service):
    service.add("Grace")
    return service
