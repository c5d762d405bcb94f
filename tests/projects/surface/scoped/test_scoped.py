def test_overriding(db):
    assert db.tables() == ["wrapped"]
    assert db.fetchall("SELECT n FROM wrapped") == []


def test_overriding_another_fixture(service):
    service.add("Ada")
    assert service.names() == ["Ada", "Grace"]
