"""Isolation: each half finds its database fresh, whatever the others left, in any order."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from halves import QUERY, ROWS, half, statements
from projects import Projects

from pytest_dualdb.worker import Half, Worker


@pytest.mark.parametrize(
    ("order", "arguments"),
    [("1", ()), ("2", ("-n2",)), ("3", ("--db-isolation=clone",))],
    ids=["reset", "reset-n2", "clone"],
)
def test_no_mess_reaches_another_half(projects: Projects, order: str, arguments: tuple[str, ...]) -> None:
    run = projects.run("isolation", "--db=both", "--db-fail-on=never", *arguments, env={"ORDER": order})
    assert run.status == 0, run.text
    assert "102 passed" in run.output
    assert run.report["totals"]["pairs"] == 48 + 3
    assert "tests left something open: " in run.output


def test_a_test_that_leaves_a_statement_unfinished_is_named(projects: Projects) -> None:
    run = projects.run("isolation", "--db=both", "--db-fail-on=never", "-k", "pending_select or nothing")
    assert "test_function[pending_select] (SQLite: a statement whose rows were not all read)" in " ".join(
        run.output.split()
    )


def write(made: Half, number: int) -> None:
    """Write as an application does, through a connection of its own."""
    driver: Any = sqlite3 if made.backend.name == "sqlite" else psycopg2
    with contextlib.closing(driver.connect(made.database.path or made.database.dsn)) as connection:
        connection.cursor().execute(f"INSERT INTO item VALUES ({number}, 'written')")
        connection.commit()


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_what_is_written_between_the_halves_does_not_reach_the_next(worker: Worker, backend: Any) -> None:
    with half(worker, backend) as made:
        pass
    thread = threading.Thread(target=write, args=(made, 50))
    thread.start()
    thread.join()
    with half(worker, backend) as made:
        assert made.database.fetchall(QUERY) == ROWS


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_a_pool_that_outlives_a_test_sees_the_fresh_database(worker: Worker, backend: Any) -> None:
    import sqlalchemy

    engine = None
    for number in range(4):
        with half(worker, backend) as made:
            if engine is None:
                engine = sqlalchemy.create_engine(
                    made.database.url.replace("postgresql:", "postgresql+psycopg2:")
                )
            with engine.begin() as connection:
                assert connection.execute(sqlalchemy.text("SELECT count(*) FROM item")).scalar() == 3
                connection.execute(
                    sqlalchemy.text("INSERT INTO item VALUES (:id, 'pool')"), {"id": 60 + number}
                )
            assert made.database.scalar("SELECT count(*) FROM item") == 4
    assert engine is not None
    engine.dispose()


def test_reset_within_a_test(either: Half) -> None:
    db = either.database
    with db.transaction():
        db.execute("DELETE FROM item")
    write(either, 70)
    db.reset()
    assert db.fetchall(QUERY) == ROWS
    with db.transaction():
        db.execute("INSERT INTO item VALUES (4, 'after')")
    assert db.scalar("SELECT count(*) FROM item") == 4


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_the_changed_tables_are_read_and_no_others(worker: Worker, backend: Any) -> None:
    with half(worker, backend) as made:
        made.database.fetchall(QUERY)
    assert dict(recorded_state(made)) == {}
    with half(worker, backend) as made:
        write(made, 80)
    assert {name: table.rows for name, table in recorded_state(made).items()} == {
        "item": (*ROWS, (80, "written"))
    }
    with half(worker, backend) as made:
        made.database.executescript("CREATE TABLE other (n INTEGER); INSERT INTO other VALUES (5);")
    assert recorded_state(made)["other"].rows == ((5,),)


def recorded_state(made: Half) -> Any:
    return made.recording(
        test="t", nodeid="t", outcome="passed", failure=None, seconds=0.0, reason="", marks={}
    ).state


def test_nothing_is_done_for_a_half_that_opens_no_connection(worker: Worker, postgres: Half) -> None:
    assert statements(postgres) == []
    assert recorded_state_of_idle(worker) == {}


def recorded_state_of_idle(worker: Worker) -> Any:
    with half(worker, "sqlite") as made:
        pass
    return recorded_state(made)


def test_files_are_removed_with_the_worker(worker: Worker) -> None:
    with half(worker, "sqlite") as made:
        folder = Path(made.database.path).parent
        assert folder.is_dir()
    worker.discard(made.backend)
    assert not folder.exists()
    with half(worker, "sqlite") as made:
        assert made.database.fetchall(QUERY) == ROWS
