"""What an application leaves open at the end of the run does not make noise on the terminal."""

from __future__ import annotations

import pytest

from pytest_dualdb.server import Server

HELD = """
import atexit

from sqlalchemy import create_engine, text

held = []
atexit.register(lambda: held[0].connection.dbapi_connection.rollback())

def test_that_keeps_its_connection(db):
    url = {url}
    connection = create_engine(url).connect()
    connection.execute(text("CREATE TABLE note (id INTEGER)"))
    held.append(connection)
"""


@pytest.mark.parametrize(
    ("backend", "url"),
    [
        ("sqlite", "db.url"),
        ("postgres", "db.url.replace('postgresql:', 'postgresql+psycopg2:')"),
        ("postgres", "db.url.replace('postgresql:', 'postgresql+psycopg:')"),
    ],
)
def test_a_pool_that_outlives_the_run_is_quiet(
    pytester: pytest.Pytester, postgres_server: Server, backend: str, url: str
) -> None:
    postgres_url = postgres_server.url(postgres_server.maintenance)
    pytester.makepyfile(HELD.format(url=url))
    result = pytester.runpytest_subprocess(f"--db={backend}", f"--db-postgres={postgres_url}")
    result.assert_outcomes(passed=1)
    for text in ("Exception", "Traceback"):
        result.stdout.no_fnmatch_line(f"*{text}*")
        result.stderr.no_fnmatch_line(f"*{text}*")
