def pytest_dualdb_setup(db):
    db.executescript("CREATE TABLE seed (n INTEGER); INSERT INTO seed VALUES (1);")
