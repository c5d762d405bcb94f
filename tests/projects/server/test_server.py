"""Says what the run started and made, and waits there if it is told to."""

import json
import os
import time
from pathlib import Path

import pytest


def tell(db):
    if db.backend == "sqlite":
        found = {"processes": [], "paths": [db.path, os.path.dirname(db.path)]}
    else:
        data = db.scalar("SHOW data_directory")
        first = int(Path(data, "postmaster.pid").read_text().split()[0])
        found = {"processes": [first, db.scalar("SELECT pg_backend_pid()")], "paths": [data]}
    Path(f"places-{db.backend}-{os.getpid()}.json").write_text(json.dumps(found))


@pytest.mark.parametrize("n", range(3))
def test_place(db, n):
    db.execute("CREATE TABLE t (n INTEGER)")
    db.connection.commit()
    tell(db)
    if os.environ.get("WAIT") and db.backend == "postgres":
        time.sleep(60)
    assert not (os.environ.get("FAIL") and db.backend == "postgres")
