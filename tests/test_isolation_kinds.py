"""Isolation in workers of their own: a process has one at a time, so that these are not among the other tests."""

from __future__ import annotations

import contextlib
import secrets
import threading
from typing import Any

import halves
import psycopg2
import pytest
from halves import QUERY, ROWS, half

from pytest_dualdb import config
from pytest_dualdb.backends import restore
from pytest_dualdb.recorder import psycopg2 as psycopg2_recorder
from pytest_dualdb.server import Server
from pytest_dualdb.worker import Half, Worker


def leaks(made: Half) -> Any:
    return made.recording(
        test="t", nodeid="t", outcome="passed", failure=None, seconds=0.0, reason="", marks={}
    ).leaks


@pytest.mark.parametrize("isolation", ["reset", "clone", "rollback"])
def test_settings_of_the_database_belong_to_the_template(postgres_server: Server, isolation: str) -> None:
    """CREATE DATABASE does not copy them, and what a half changes in them is undone."""

    def setup(db: Any) -> None:
        halves.setup(db)
        name = db.scalar("SELECT quote_ident(current_database())")
        db.execute(f'ALTER DATABASE {name} SET search_path = "$user", other, public')
        db.execute(f"ALTER DATABASE {name} SET \"my.word\" = 'it''s, so'")
        db.execute(f"ALTER ROLE CURRENT_USER IN DATABASE {name} SET work_mem = '7MB'")
        db.connection.commit()

    settings = config.resolve(
        lambda setting: isolation if setting.name == "isolation" else None,
        lambda setting: None,
        halves.ROOT,
        {},
    )
    made_worker = Worker(settings, f"{secrets.token_hex(4)}_test", lambda: postgres_server, setup)
    try:
        for _ in range(3):
            with half(made_worker, "postgres") as made:
                db = made.database
                assert db.fetchone("SELECT current_setting('search_path'), current_setting('my.word')") == (
                    '"$user", other, public', "it's, so",
                )  # fmt: skip
                assert db.scalar("SHOW work_mem") == "7MB"
                name = db.scalar("SELECT quote_ident(current_database())")
                db.execute(f"ALTER DATABASE {name} SET search_path = pg_catalog")
                db.execute(f"COMMENT ON DATABASE {name} IS 'x'")
                db.connection.commit()
    finally:
        made_worker.close()


def test_rollback_names_connections_of_its_own_and_does_not_wait_for_ever(postgres_server: Server) -> None:
    settings = config.resolve(
        lambda setting: "rollback" if setting.name == "isolation" else None,
        lambda setting: None,
        halves.ROOT,
        {},
    )
    made_worker = Worker(settings, f"{secrets.token_hex(4)}_test", lambda: postgres_server, halves.setup)
    try:
        with half(made_worker, "postgres") as made:
            assert made.database.fetchall(QUERY) == ROWS
            with contextlib.closing(psycopg2.connect(made.database.dsn)) as own:
                own.cursor().execute("INSERT INTO item VALUES (9, 'own')")
                own.commit()
                with pytest.raises(psycopg2.errors.LockNotAvailable):
                    own.cursor().execute("DROP TABLE item")
        assert leaks(made) == ("changes through a connection that rollback isolation did not give out",)
        with half(made_worker, "postgres") as made:
            assert made.database.fetchall(QUERY) == ROWS
    finally:
        made_worker.close()


@pytest.mark.parametrize("isolation", ["reset", "clone"])
def test_what_a_connection_reports_as_it_ends_is_not_missed(
    postgres_server: Server, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    """It ends between the two moments at which its changes and the living connections are read."""
    later = restore._SETTINGS.replace("FROM pg_database WHERE", "FROM pg_database, pg_sleep(0.4) WHERE")
    monkeypatch.setattr(restore, "_SETTINGS", later)
    settings = config.resolve(
        lambda setting: isolation if setting.name == "isolation" else None,
        lambda setting: None,
        halves.ROOT,
        {},
    )
    worker = Worker(settings, f"{secrets.token_hex(4)}_test", lambda: postgres_server, halves.setup)
    try:
        with half(worker, "postgres") as made:
            made.database.fetchall(QUERY)  # from here on the statistics tell what changed
        with half(worker, "postgres") as made:
            connection = psycopg2_recorder.native_connect(made.database.dsn)
            connection.autocommit = True
            connection.cursor().execute("CREATE TABLE made (n INTEGER)")
            connection.cursor().execute("CREATE TABLE made_later (n INTEGER)")
            closing = threading.Timer(0.15, connection.close)
            closing.start()
        closing.join()
        with half(worker, "postgres") as made:
            assert made.database.tables() == ["item"]
    finally:
        worker.close()
