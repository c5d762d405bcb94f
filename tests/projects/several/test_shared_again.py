def test_a_module_starts_afresh(application):
    assert application.run("SELECT count(*) FROM visit") == [(0,)]
