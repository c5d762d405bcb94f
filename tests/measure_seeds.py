"""Print what it costs to read and undo the change of one row, with 1,000 and with 100,000 seed rows.

`python tests/measure_seeds.py [HALVES]`; see docs/performance.md.
"""

from __future__ import annotations

import functools
import statistics
import sys
import time

from halves import BACKENDS, ROOT

from pytest_dualdb import config
from pytest_dualdb.database import Database
from pytest_dualdb.recording import Backend
from pytest_dualdb.server import open_server
from pytest_dualdb.worker import Worker

CHANGES = (
    "INSERT INTO seed VALUES (-1, 'new', 5)",
    "UPDATE seed SET score = -1 WHERE id = 500",
    "DELETE FROM seed WHERE id = 600",
)


def setup(rows: int, db: Database) -> None:
    db.executescript(
        "CREATE TABLE seed (id INTEGER PRIMARY KEY, name TEXT, score INTEGER);"
        "CREATE INDEX seed_name ON seed (name)"
    )
    values = [(n, f"name of the row {n} and some more text", n * 7 % 1000) for n in range(rows)]
    with db.transaction():
        db.executemany("INSERT INTO seed VALUES (?, ?, ?)", values)


def seconds(worker: Worker, backend: Backend, change: str) -> float:
    made = worker.start(backend)
    with made.database.transaction():
        made.database.execute(change)
    start = time.perf_counter()
    made.finish()
    worker.start(backend).finish()
    return time.perf_counter() - start


def main(halves: int) -> None:
    settings = config.resolve(lambda setting: None, lambda setting: None, ROOT, {})
    with open_server("auto") as running:
        for rows in (1_000, 100_000):
            worker = Worker(settings, f"seeds_{rows}", lambda: running.server, functools.partial(setup, rows))
            for backend in BACKENDS:
                for change in CHANGES:
                    found = [seconds(worker, backend, change) * 1e3 for _ in range(halves + 2)][2:]
                    print(
                        f"{rows:7} rows  {backend:9} {change[:6]}  median {statistics.median(found):7.2f} ms"
                        f"  least {min(found):7.2f} ms",
                        flush=True,
                    )
            worker.close()


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 60)
