import app
import pytest


@pytest.fixture(autouse=True)
def database(db):
    return db


def pytest_dualdb_setup(db):
    key = "SERIAL PRIMARY KEY" if db.backend == "postgres" else "INTEGER PRIMARY KEY"
    with app.engine.begin() as connection:
        connection.exec_driver_sql(f"CREATE TABLE item (id {key}, name TEXT NOT NULL)")
        connection.exec_driver_sql("INSERT INTO item (name) VALUES ('Ada')")
