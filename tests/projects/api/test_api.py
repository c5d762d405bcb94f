import inspect

import app
import pytest

OWN = ("connect", "rows_by_name", "selected")


@pytest.mark.parametrize("name", [n for n, f in vars(app).items() if inspect.isfunction(f) and n not in OWN])
def test_it(db, name):
    getattr(app, name)()


def test_a_failure_of_its_own(db):
    assert db.backend == "sqlite"
