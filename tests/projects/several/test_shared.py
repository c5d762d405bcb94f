def test_first(application):
    application.run("INSERT INTO visit VALUES (1, 'Ada')")


def test_second(application):
    assert application.run("SELECT name FROM visit") == [("Ada",)]
    application.run("SELECT name FROM visit WHERE name LIKE 'a%'")


def test_third(application, db, app_db):
    assert app_db.backend == db.backend
    app_db.observe("backend", len("same"))
    word = "x" if db.backend == "sqlite" else "y"
    application.run(f"INSERT INTO visit VALUES (2, '{word}')")
    assert db.scalar("SELECT count(*) FROM item") == 0


def test_fourth(application):
    assert application.run("SELECT count(*) FROM visit") == [(2,)]
