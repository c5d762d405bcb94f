import time

import app
import pytest


@pytest.mark.timeout(2, func_only=True)
def test_slow(db):
    assert app.names() == ["seed"]
    if db.backend == "postgres":
        time.sleep(30)


def test_after(db):
    assert app.names() == ["seed"]
