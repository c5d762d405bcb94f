import app
import pytest

import pytest_dualdb

reporting_db = pytest_dualdb.database_fixture(
    schema="reporting.{backend}.sql", env={"REPORTING_URL": "{url}", "REPORTING_DATABASE": "{database}"}
)


def build(db):
    db.executescript("CREATE TABLE visit (id INTEGER PRIMARY KEY, name TEXT)")


app_db = pytest_dualdb.database_fixture(env={"APP_URL": "{url}"}, setup=build, scope="module")


@pytest.fixture(scope="module")
def application(app_db):
    """An application that is started once for a module."""
    running = app.Application()
    yield running
    running.connection.close()
