import app
import pytest

tried = []


@pytest.mark.parametrize("fails", ["sqlite", "postgres"])
def test_flaky(db, fails):
    """Fails at first on one backend, having changed something."""
    if db.backend == fails and fails not in tried:
        tried.append(fails)
        app.add(11, "flaky")
        raise AssertionError
    assert app.names() == ["seed"]
    app.add(2, "Ada")
