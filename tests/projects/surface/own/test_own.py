def test_replaced(db):
    assert db == "the application's own"
