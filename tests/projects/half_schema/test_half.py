def test_first(db):
    db.execute("INSERT INTO users VALUES (1, 'Ada')")


def test_second(db):
    db.execute("INSERT INTO users VALUES (1, 'alan')")
