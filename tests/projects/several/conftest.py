import os

import app
import pytest

import pytest_dualdb

reporting_db = pytest_dualdb.database_fixture(
    schema="reporting.{backend}.sql",
    env={
        "REPORTING_URL": "{url}",
        "REPORTING_DATABASE": "{database}",
        "REPORTING_FILE[sqlite]": "{path}",
        "REPORTING_PLACE": "file",
        "REPORTING_PLACE[postgres]": "{host}",
    },
)


def build(db):
    assert os.environ["APP_URL"] == db.env["APP_URL"] == db.url
    db.executescript("CREATE TABLE visit (id INTEGER PRIMARY KEY, name TEXT)")


app_db = pytest_dualdb.database_fixture(env={"APP_URL": "{url}"}, setup=build, scope="module")


@pytest.fixture(scope="module")
def application(app_db):
    """An application that is started once for a module."""
    running = app.Application()
    yield running
    running.connection.close()
