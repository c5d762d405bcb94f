"""Isolation: each half finds its database fresh, whatever the others left, in any order."""

from __future__ import annotations

import contextlib
import glob
import random
import secrets
import sqlite3
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from halves import QUERY, ROWS, half, statements
from projects import Projects

from pytest_dualdb.recorder import psycopg2 as psycopg2_recorder
from pytest_dualdb.server import Server
from pytest_dualdb.worker import Half, Worker


@pytest.mark.parametrize(
    ("isolation", "arguments"),
    [("reset", ()), ("reset", ("-n2",)), ("clone", ()), ("rollback", ())],
    ids=["reset", "reset-n2", "clone", "rollback"],
)
def test_no_mess_reaches_another_half(projects: Projects, isolation: str, arguments: tuple[str, ...]) -> None:
    order = str(random.randrange(1000))
    run = projects.run(
        "isolation", "--db=both", "--db-fail-on=never", f"--db-isolation={isolation}", *arguments,
        env={"ORDER": order, "ISOLATION": isolation},
    )  # fmt: skip
    assert run.status == 0, f"ORDER={order}\n{run.text}"
    assert "134 passed" in run.output
    assert run.report["totals"]["pairs"] == 67
    assert "tests left something open: " in run.output


def test_a_test_that_leaves_a_statement_unfinished_is_named(projects: Projects) -> None:
    run = projects.run("isolation", "--db=both", "--db-fail-on=never", "-k", "pending_select or nothing")
    assert "test_function[pending_select] (SQLite: a statement whose rows were not all read)" in " ".join(
        run.output.split()
    )


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_what_a_half_left_running_is_ended_and_named(worker: Worker, backend: Any) -> None:
    endless = {
        "postgres": "SELECT pg_sleep(60)",
        "sqlite": "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT count(*) FROM n",
    }[backend]
    ended = []

    def work(connection: Any) -> None:
        try:
            connection.cursor().execute(endless)
        except Exception as error:
            ended.append(error)

    driver: Any = sqlite3 if backend == "sqlite" else psycopg2
    given = {"check_same_thread": False} if backend == "sqlite" else {}
    for number in range(2):
        with half(worker, backend) as made:
            db = made.database
            connection = driver.connect(db.path or db.dsn, **given) if number else db.connect(**given)
            thread = threading.Thread(target=work, args=(connection,), daemon=True)
            thread.start()
            deadline = time.monotonic() + 10
            while not made.recorder.statements() and time.monotonic() < deadline:
                time.sleep(0.01)
            time.sleep(0.1)
        thread.join(10)
        assert len(ended) == number + 1, "the statement still runs"
        assert leaks(made) == ("a thread that was still working",)
        with half(worker, backend) as made:
            assert made.database.fetchall(QUERY) == ROWS
        assert leaks(made) == ()


def test_what_postgres_has_to_take_back_is_named_and_what_is_harmless_is_not(worker: Worker) -> None:
    held = []
    for text, commit, named in (
        ("SELECT 1", True, ()),
        ("SELECT pg_advisory_lock(5)", True, ("an advisory lock",)),
        ("SELECT pg_advisory_lock(5), pg_advisory_unlock(5)", True, ()),
        ("SELECT 1", False, ("an open transaction",)),
        (
            "CREATE ROLE leaked_by_a_test",
            True,
            ("the role leaked_by_a_test, which all databases of the server share",),
        ),
    ):
        with half(worker, "postgres") as made:
            connection = psycopg2.connect(made.database.dsn)
            connection.cursor().execute(text)
            if commit:
                connection.commit()
            held.append(connection)
        assert leaks(made) == named, text
    with half(worker, "postgres") as made:
        left = made.database.scalar("SELECT count(*) FROM pg_roles WHERE rolname = 'leaked_by_a_test'")
        assert left == (0 if made.backend.server.owned else 1)  # type: ignore[attr-defined]
        made.database.execute("DROP ROLE IF EXISTS leaked_by_a_test")
        made.database.connection.commit()


def test_a_connection_that_the_server_ended_hides_no_other_one(worker: Worker) -> None:
    with half(worker, "postgres") as made:
        ended = made.database.connect()
        # as one of another program's
        foreign = psycopg2_recorder.native_connect(made.database.dsn)
        foreign.autocommit = True
        foreign.cursor().execute("SELECT pg_terminate_backend(%s, 2000)", (ended.get_backend_pid(),))
        foreign.cursor().execute("CREATE TABLE from_elsewhere (a integer)")
        made.database.execute("SELECT 1")
        made.database.connection.commit()
    assert leaks(made) == ("a connection that the plugin did not open",)
    with half(worker, "postgres") as made:
        assert "from_elsewhere" not in made.database.tables()


def leaks(made: Half) -> Any:
    return made.recording(
        test="t", nodeid="t", outcome="passed", failure=None, seconds=0.0, reason="", marks={}
    ).leaks


def test_the_settings_of_a_file_are_brought_back(worker: Worker) -> None:
    pragmas = ("journal_mode", "page_size", "auto_vacuum", "user_version", "application_id")
    found = []
    for _ in range(2):
        with half(worker, "sqlite") as made:
            found.append([made.database.scalar(f"PRAGMA {name}") for name in pragmas])
            made.database.connection.close()
            with contextlib.closing(sqlite3.connect(made.database.path, isolation_level=None)) as connection:
                for text in (
                    "page_size = 8192",
                    "auto_vacuum = FULL",
                    "user_version = 9",
                    "application_id = 9",
                ):
                    connection.execute(f"PRAGMA {text}")
                connection.execute("VACUUM")
                assert connection.execute("PRAGMA page_size").fetchone() == (8192,)
                assert connection.execute("PRAGMA journal_mode = WAL").fetchone() == ("wal",)
                connection.execute("DELETE FROM item")
    assert found[0] == found[1]


def test_a_crash_within_the_server_is_survived(projects: Projects) -> None:
    run = projects.run(
        "isolation", "--db=both", "--db-postgres=auto", "--db-fail-on=never", "-k", "crashed or nothing or rows or text",
        env={"ORDER": "2", "CRASH": "1"}, server=False,
    )  # fmt: skip
    assert run.status == 0, run.text


KILLED = """
import os, signal

def test_a(db):
    assert db.scalar("SELECT 1") == 1

def test_b(db):
    if db.backend == "postgres":
        folder = db.scalar("SHOW data_directory")
        assert "dualdb" in folder  # a server of this run
        with open(folder + "/postmaster.pid") as file:
            os.kill(int(file.readline()), signal.SIGKILL)

def test_c(db):
    pass

def test_d(db):
    pass
"""


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_each_test_says_that_the_server_is_gone(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(KILLED)
    result = pytester.runpytest_subprocess("--db=both", "--db-postgres=auto", "--tb=short", timeout=60)
    # what is connected may notice only a moment later
    assert result.parseoutcomes()["errors"] in (1, 2)
    lines = [
        line
        for line in result.outlines
        if line.startswith("pytest-dualdb: the PostgreSQL server of this run")
    ]
    assert lines
    assert all("is gone: connection to server" in line for line in lines)
    assert result.ret == 1


def test_the_header_says_what_takes_the_place_of_reset(
    pytester: pytest.Pytester, postgres_server: Server
) -> None:
    role, password = f"poor_{secrets.token_hex(4)}", secrets.token_hex(8)
    with contextlib.closing(psycopg2.connect(postgres_server.dsn(postgres_server.maintenance))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {role} LOGIN CREATEDB PASSWORD '{password}'")
            try:
                url = replace(postgres_server, user=role, password=password).url(postgres_server.maintenance)
                pytester.makepyfile("def test_a(db): db.scalar('SELECT 1')")
                result = pytester.runpytest_subprocess(
                    "--db=both", f"--db-postgres={url}", "--db-report=r.md"
                )
            finally:
                cursor.execute(f"DROP ROLE {role}")
    result.assert_outcomes(passed=2)
    words = f"isolation reset (default), on PostgreSQL clone, because {role} is no superuser"
    result.stdout.fnmatch_lines([f"dualdb: SQLite * {glob.escape(words)}"])
    assert (
        f"reset, on PostgreSQL clone, because {role} is no superuser" in (pytester.path / "r.md").read_text()
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
