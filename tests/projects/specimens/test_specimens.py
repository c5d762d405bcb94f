"""Every specimen and near miss of every rule, as a test of an application would run it."""

import contextlib

import pytest

from pytest_dualdb.rules import all_rules
from pytest_dualdb.rules.base import Specimen
from pytest_dualdb.syntax import DEFINES, verb


def cases():
    for rule in all_rules():
        for kind, specimens in (("specimen", rule.specimens), ("near-miss", rule.near_misses)):
            for number, specimen in enumerate(specimens):
                yield pytest.param(specimen, id=f"{rule.name}-{kind}-{number}")


@pytest.mark.parametrize("specimen", list(cases()))
def test_specimen(db, specimen: Specimen):
    schema = specimen.schema if isinstance(specimen.schema, str) else specimen.schema[db.backend]
    if schema:
        db.executescript(schema)
    for step in specimen.steps:
        if isinstance(step, dict):
            step = step.get(db.backend)
        if callable(step):
            step(db)  # its exception fails the half, as the application's would
        elif step is not None:
            with contextlib.suppress(Exception):
                run(db, step)
    if not any(step in ("COMMIT", "ROLLBACK") for step in specimen.steps if isinstance(step, str)):
        with contextlib.suppress(Exception):
            commit_definitions(db, specimen)


def commit_definitions(db, specimen):
    """Commit DDL, which sqlite3 does by itself: a specimen that is not about that does not say it."""
    texts = [step.get(db.backend) if isinstance(step, dict) else step for step in specimen.steps]
    texts = [text[0] if isinstance(text, tuple) else text for text in texts]
    if any(isinstance(text, str) and verb(text) in DEFINES for text in texts):
        db.connection.commit()


def run(db, step):
    sql, params = (step, None) if isinstance(step, str) else step
    if sql in ("COMMIT", "ROLLBACK"):
        getattr(db.connection, sql.lower())()
        return
    cursor = db.execute(sql, params)
    if cursor.description:
        cursor.fetchall()
