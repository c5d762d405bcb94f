def pytest_dualdb_setup(db):
    with db.transaction():
        db.execute("INSERT INTO item VALUES (?, ?)", (2, "hook"))
