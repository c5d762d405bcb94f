import os

import app
import pytest


def test_bound_to_its_own(db):
    assert db.backend == os.environ["BACKEND"] == app.engine.dialect.name.removesuffix("ql")
    assert app.names() == ["Ada"]


@pytest.mark.parametrize("number", range(6))
def test_fresh(number):
    app.add("Grace")
    app.add("Alan")
    assert app.names() == ["Ada", "Grace", "Alan"]


def test_a_changed_schema_gives_way_to_the_template():
    with app.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE item ADD COLUMN more INTEGER")
        connection.exec_driver_sql("DROP TABLE item")


@pytest.mark.parametrize("number", range(2))
def test_pools_survive_that(number):
    assert app.names() == ["Ada"]
    assert app.pool.count() == 1


def test_a_worker_crashes(db):
    if os.environ.get("CRASH") == db.backend and not os.path.exists("crashed"):
        open("crashed", "w").close()
        os._exit(1)
    assert app.names() == ["Ada"]


def test_differs():
    app.add("alan")
    app.search("a%")


@pytest.mark.dualdb(only="postgres", reason="arrays")
def test_only():
    assert app.names() == ["Ada"]
