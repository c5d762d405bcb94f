import os

import app
import pytest


@pytest.mark.parametrize("number", range(2))
def test_both_are_fresh(db, reporting_db, number):
    assert reporting_db.backend == db.backend
    assert reporting_db.env["REPORTING_DATABASE"] == os.environ["REPORTING_DATABASE"]
    assert os.environ.get("REPORTING_FILE", "") == reporting_db.path
    assert (os.environ["REPORTING_PLACE"] == "file") == (db.backend == "sqlite")
    assert db.scalar("SELECT count(*) FROM item") == 0
    assert reporting_db.scalar("SELECT count(*) FROM item") == 1
    app.run("MAIN_URL", "INSERT INTO item VALUES (1, 'main')")
    app.run("REPORTING_URL", "INSERT INTO item VALUES (2, 'reporting')")
    assert db.fetchall("SELECT name FROM item") == [("main",)]
    assert reporting_db.fetchall("SELECT label FROM item WHERE id > 1") == [("reporting",)]


def test_statements_of_the_other_are_compared(reporting_db):
    app.run("REPORTING_URL", "INSERT INTO item VALUES (2, 'Ada')")
    app.run("REPORTING_URL", "SELECT label FROM item WHERE label LIKE 'a%'")


def test_contents_of_the_other_are_compared(reporting_db):
    app.run(
        "REPORTING_URL", f"INSERT INTO line VALUES (1, {1 if reporting_db.backend == 'sqlite' else 'NULL'})"
    )


def test_without_the_other(db):
    assert "REPORTING_URL" not in os.environ
    assert app.run("MAIN_URL", "SELECT count(*) FROM item") == [(0,)]
