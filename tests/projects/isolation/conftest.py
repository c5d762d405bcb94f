from __future__ import annotations

import os
import random

import sqlalchemy

METADATA = sqlalchemy.MetaData()
MODELS = sqlalchemy.Table(
    "model",
    METADATA,
    sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
    sqlalchemy.Column("name", sqlalchemy.Text),
)


def pytest_dualdb_setup(db):
    engine = db.engine()
    METADATA.create_all(engine)
    with engine.begin() as connection:
        connection.execute(MODELS.insert(), [{"name": "first"}, {"name": "second"}])
    with db.transaction():
        db.execute("INSERT INTO child (seed_id) VALUES (?)", (2,))


def pytest_collection_modifyitems(items):
    # the halves apart, too: each finds its database fresh whatever ran before
    random.Random(os.environ.get("ORDER", "1")).shuffle(items)
