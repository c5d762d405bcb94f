"""What is never committed, with each driver: rolled back, closed or left open after the test."""

import sqlite3

import aiosqlite
import asyncpg
import psycopg
import psycopg2
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

INSERT = "INSERT INTO note VALUES (2, 'second', 0.004)"
left_open = []


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.fixture
def psycopg_3(db):
    made = sqlite3.connect(db.path) if db.backend == "sqlite" else psycopg.connect(db.dsn)
    yield made
    made.rollback()
    made.close()


def test_rolled_back_by_psycopg_3(psycopg_3):
    psycopg_3.execute(INSERT)


@pytest.fixture
def psycopg_3_block(db):
    if db.backend == "sqlite":
        with sqlite3.connect(db.path) as made:
            yield made
            made.rollback()
    else:
        with psycopg.connect(db.dsn) as made, made.transaction(force_rollback=True):
            yield made


def test_rolled_back_by_a_block(psycopg_3_block):
    psycopg_3_block.execute(INSERT)


@pytest.fixture
def closed(db):
    made = sqlite3.connect(db.path) if db.backend == "sqlite" else psycopg2.connect(db.dsn)
    yield made
    made.close()


def test_closed(closed):
    closed.cursor().execute(INSERT)


def test_closed_and_equal(closed):
    closed.cursor().execute("INSERT INTO note VALUES (2, 'second', 0.25)")


@pytest.fixture
def closed_psycopg_3(db):
    made = sqlite3.connect(db.path) if db.backend == "sqlite" else psycopg.connect(db.dsn)
    yield made
    made.close()


def test_closed_by_psycopg_3(closed_psycopg_3):
    closed_psycopg_3.execute(INSERT)


def test_never_committed(db):
    db.execute(INSERT)


def test_never_committed_and_equal(db):
    db.execute("INSERT INTO note VALUES (2, 'second', 0.25)")


def test_left_open(db):
    left_open.append(sqlite3.connect(db.path) if db.backend == "sqlite" else psycopg2.connect(db.dsn))
    left_open[-1].cursor().execute(INSERT)


@pytest.fixture(params=["asyncpg", "closed asyncpg", "psycopg"])
async def asynchronous(db, anyio_backend, request):
    if db.backend == "sqlite":
        made = await aiosqlite.connect(db.path)
    elif request.param == "psycopg":
        made = await psycopg.AsyncConnection.connect(db.dsn)
    else:
        made = await asyncpg.connect(db.url)
        transaction = made.transaction()
        await transaction.start()
    yield made
    if isinstance(made, asyncpg.Connection) and request.param == "asyncpg":
        await transaction.rollback()
    elif not isinstance(made, asyncpg.Connection):
        await made.rollback()
    await made.close()


@pytest.mark.anyio
async def test_rolled_back_by_an_async_driver(asynchronous):
    await asynchronous.execute(INSERT)


@pytest.fixture(params=["asyncpg", "psycopg"])
async def async_session(db, anyio_backend, request):
    driver = "sqlite+aiosqlite" if db.backend == "sqlite" else f"postgresql+{request.param}"
    made = create_async_engine(sa.make_url(db.url).set(drivername=driver))
    async with made.connect() as connection:
        transaction = await connection.begin()
        yield connection
        await transaction.rollback()
    await made.dispose()


@pytest.mark.anyio
async def test_rolled_back_by_sqlalchemy(async_session):
    await async_session.execute(sa.text(INSERT))


def test_left_open_on_two_connections_and_equal(db):
    left_open.append(db.connect())
    left_open[-1].cursor().execute("INSERT INTO note VALUES (2, 'second', 0.25)")
    if db.backend == "postgres":  # SQLite has one writer at a time
        left_open.append(db.connect())
        left_open[-1].cursor().execute("INSERT INTO note VALUES (3, 'third', 0.25)")
