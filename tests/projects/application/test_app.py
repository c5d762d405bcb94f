import os

import app


def test_environment(db):
    assert os.environ["BACKEND"] == db.backend == db.env["BACKEND"]
    assert os.environ["DATABASE"] == db.env["DATABASE"]
    assert app.names() == ["seed; with a semicolon", "hook"]


def test_committed_elsewhere(db):
    connection = app.open_connection()
    connection.cursor().execute("INSERT INTO item VALUES (3, 'own')")
    connection.commit()
    connection.close()
    assert db.scalar("SELECT count(*) FROM item") == 3


def test_fresh_again(db):
    assert app.names() == ["seed; with a semicolon", "hook"]
    assert isinstance(db.connect(), app.classes())


def test_hard_coded_path(db):
    assert app.hard_coded() == ["seed; with a semicolon", "hook"]
    assert not os.path.exists(app.PATH)


def test_environment_is_that_of_the_first_half_between_halves():
    assert os.environ["BACKEND"] == "sqlite"
