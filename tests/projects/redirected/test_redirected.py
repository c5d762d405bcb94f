import app


def test_all_ways_lead_to_the_tests_database(db):
    if db.backend == "sqlite":
        db.execute("INSERT INTO item VALUES (5)")
        db.connection.commit()
        assert [app.count(connection) for connection in app.open_ways()] == [2] * 10
    else:
        assert db.scalar("SELECT count(*) FROM item") == 1
        assert [app.count(connection) for connection in app.open_ways()] == [1] * 10


def test_a_write_is_undone(db):
    app.write()
    assert app.count(app.at_import) == 2


def test_again(db):
    app.write()
    assert app.count(app.at_import) == 2
