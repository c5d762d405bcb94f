"""Isolation in workers of their own: a process has one at a time, so that these are not among the other tests."""

from __future__ import annotations

import contextlib
import secrets
from typing import Any

import halves
import psycopg2
import pytest
from halves import QUERY, ROWS, half

from pytest_dualdb import config
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
    made_worker = Worker(settings, f"test_{secrets.token_hex(4)}", lambda: postgres_server, setup)
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
    made_worker = Worker(settings, f"test_{secrets.token_hex(4)}", lambda: postgres_server, halves.setup)
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
