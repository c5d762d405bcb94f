"""Single halves, for tests of what happens within one: real databases, the real recorder, no pytest."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from pytest_dualdb.database import Database
from pytest_dualdb.recording import Backend, Statement
from pytest_dualdb.worker import Half, Worker

ROOT = Path(__file__).parent.parent
BACKENDS: tuple[Backend, ...] = ("sqlite", "postgres")
ROWS = [(1, "Ada"), (2, "Grace"), (3, None)]
QUERY = "SELECT id, name FROM item ORDER BY id"


def setup(db: Database) -> None:
    """Build the template that `worker` gives each half."""
    db.executescript(
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT);"
        "INSERT INTO item VALUES (1, 'Ada'), (2, 'Grace'), (3, NULL);"
    )
    if db.backend == "postgres":
        db.executescript("CREATE FUNCTION plus(a int, b int) RETURNS int LANGUAGE sql AS 'SELECT a + b'")


@contextlib.contextmanager
def half(worker: Worker, backend: Backend) -> Iterator[Half]:
    """Run one half; its record is complete afterwards."""
    made = worker.start(backend)
    try:
        yield made
    finally:
        made.finish()


def statements(made: Half) -> list[Statement]:
    return list(made.recorder.statements())


def only(made: Half) -> Statement:
    """Return the one statement of a half, its ends of transactions apart."""
    found = [s for s in statements(made) if s.kind not in ("commit", "rollback")]
    assert len(found) == 1, found
    return found[0]
