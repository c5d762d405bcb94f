def test_passing(db):
    assert float(db.scalar("SELECT 1.5")) == 1.5


def test_failing(db):
    db.fetchall("SELECT 1.5")
    assert 1 == 2
