def test_first(db):
    pass


def test_second(db):
    pass
