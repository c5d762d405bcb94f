"""One test for each severity, by the plainest means."""


def prepare(db):
    db.executescript(
        "CREATE TABLE t (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO t VALUES (1, 'Ada'), (2, 'alan');"
    )


def test_low(db):
    db.executescript("CREATE TABLE price (amount NUMERIC(6, 2)); INSERT INTO price VALUES (2.5)")
    assert db.scalar("SELECT amount FROM price") == 2.5


def test_medium(db):
    prepare(db)
    db.fetchall("SELECT name FROM t ORDER BY nullif(id, 1)")


def test_high(db):
    prepare(db)
    db.fetchall("SELECT name FROM t WHERE name LIKE 'a%' ORDER BY id")


def test_critical(db):
    prepare(db)
    db.fetchall("SELECT group_concat(name) FROM t")
