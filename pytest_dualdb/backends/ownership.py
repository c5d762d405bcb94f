"""Which databases of a PostgreSQL server belong to which run: those in use, left over, and kept for the user.

On a server that was given, several runs and other people work at the same time. Nothing here may touch a
database that another run or somebody else could still need.
"""

from __future__ import annotations

import contextlib
import re
from typing import Any

import psycopg2

from pytest_dualdb.backends import quoted
from pytest_dualdb.recorder import psycopg2 as recorded
from pytest_dualdb.server import Server

KEPT = "dualdb_kept_"
"""How the names of databases begin that are kept on a server that was given."""
_LOCK = 0x6475616C
_OURS = re.compile(r"dualdb_([0-9a-f]{8})_\w+")


def drop_run(server: Server, run: str) -> None:
    """Drop the databases of a run on a server of ours, so that those are left that were set aside."""
    with contextlib.closing(recorded.native_connect(server.dsn(server.maintenance))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", (f"dualdb_{run}_",)
            )
            for (database,) in cursor.fetchall():
                cursor.execute(f"DROP DATABASE {quoted(database)} WITH (FORCE)")


def remove_kept(cursor: Any, run: str) -> bool:
    """Drop what a run kept on a given server for its user; False if somebody is still looking at it."""
    cursor.execute(
        "SELECT datname FROM pg_database WHERE datdba = current_user::regrole AND starts_with(datname, %s)",
        (f"{KEPT}{run}_",),
    )
    try:
        for (database,) in cursor.fetchall():
            cursor.execute(f"DROP DATABASE IF EXISTS {quoted(database)}")
    except psycopg2.Error:
        return False
    return True


def claim(cursor: Any, database: str) -> None:
    """Mark a run's databases on a given server as in use, for as long as the cursor's session lives."""
    cursor.execute("SELECT pg_advisory_lock_shared(%s, %s)", (_LOCK, _lock_key(database)))


def remove_leftovers(cursor: Any) -> None:
    """Drop the databases of runs that are dead: made by this role, used by nobody, claimed by nobody."""
    cursor.execute(
        "SELECT datname FROM pg_database d WHERE datname ~ '^dualdb_[0-9a-f]{8}_' AND datdba = current_user::regrole"
        " AND NOT EXISTS (SELECT FROM pg_stat_activity a WHERE a.datid = d.oid)"
    )
    for (database,) in cursor.fetchall():
        if not _OURS.fullmatch(database):
            continue
        key = (_LOCK, _lock_key(database))
        cursor.execute("SELECT pg_try_advisory_lock(%s, %s)", key)
        if cursor.fetchone()[0]:
            # another run that cleans up may be faster, or a user may look at it
            with contextlib.suppress(psycopg2.Error):
                cursor.execute(f"DROP DATABASE IF EXISTS {quoted(database)}")
            cursor.execute("SELECT pg_advisory_unlock(%s, %s)", key)


def run_of(database: str) -> str:
    """Return the run that made a database, from the name that it gave it."""
    match = _OURS.fullmatch(database)
    assert match is not None, database
    return match[1]


def _lock_key(database: str) -> int:
    return int(run_of(database), 16) - (1 << 31)
