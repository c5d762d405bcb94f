"""Pools that an application opens once, on a loop of its own where it is an async one."""

import asyncio
import sqlite3
import threading

import asyncpg
import psycopg_pool
import pytest
import sqlalchemy as sa
from psycopg2.pool import ThreadedConnectionPool
from sqlalchemy.ext.asyncio import create_async_engine

opened = {}
COUNT = "SELECT count(*) FROM note"
loop = asyncio.new_event_loop()
threading.Thread(target=loop.run_forever, daemon=True).start()


def on_the_loop(coroutine):
    return asyncio.run_coroutine_threadsafe(coroutine, loop).result(20)


def kept(make, *arguments):
    if (make, arguments) not in opened:
        opened[make, arguments] = make(*arguments)
    return opened[make, arguments]


def use(connection):
    cursor = connection.cursor()
    cursor.execute(COUNT)
    assert cursor.fetchone() == (1,)
    cursor.execute("INSERT INTO note VALUES (2, 'second')")
    connection.commit()


def with_sqlite3(db):
    connection = sqlite3.connect(db.path)
    use(connection)
    connection.close()


def with_psycopg2(db):
    pool = kept(ThreadedConnectionPool, 2, 4, db.dsn)
    connection = pool.getconn()
    use(connection)
    pool.putconn(connection)


def with_psycopg(db):
    with kept(psycopg_pool.ConnectionPool, db.dsn).connection() as connection:
        use(connection)


def with_sqlalchemy(driver):
    def used(db):
        made = kept(sa.create_engine, sa.make_url(db.url).set(drivername=f"postgresql+{driver}"))
        with made.begin() as connection:
            assert connection.scalar(sa.text(COUNT)) == 1
            connection.execute(sa.text("INSERT INTO note VALUES (2, 'second')"))

    return used


def with_async_sqlalchemy(driver):
    async def used(db):
        made = kept(create_async_engine, sa.make_url(db.url).set(drivername=f"postgresql+{driver}"))
        async with made.begin() as connection:
            assert await connection.scalar(sa.text(COUNT)) == 1
            await connection.execute(sa.text("INSERT INTO note VALUES (2, 'second')"))

    return lambda db: on_the_loop(used(db))


def with_asyncpg(db):
    async def used():
        pool = opened.get("asyncpg") or await asyncpg.create_pool(db.url, min_size=2)
        opened["asyncpg"] = pool
        async with pool.acquire() as connection:
            assert await connection.fetchval(COUNT) == 1
            await connection.execute("INSERT INTO note VALUES (2, 'second')")

    on_the_loop(used())


def with_async_psycopg(db):
    async def used():
        if "psycopg" not in opened:
            opened["psycopg"] = psycopg_pool.AsyncConnectionPool(db.dsn, open=False)
            await opened["psycopg"].open()
        async with opened["psycopg"].connection() as connection:
            cursor = await connection.execute(COUNT)
            assert await cursor.fetchone() == (1,)
            await connection.execute("INSERT INTO note VALUES (2, 'second')")

    on_the_loop(used())


USES = {
    "psycopg2": with_psycopg2,
    "psycopg": with_psycopg,
    "sqlalchemy-psycopg2": with_sqlalchemy("psycopg2"),
    "sqlalchemy-psycopg": with_sqlalchemy("psycopg"),
    "asyncpg": with_asyncpg,
    "async-psycopg": with_async_psycopg,
    "async-sqlalchemy-asyncpg": with_async_sqlalchemy("asyncpg"),
    "async-sqlalchemy-psycopg": with_async_sqlalchemy("psycopg"),
}


@pytest.mark.parametrize("defines", [False, True])
@pytest.mark.parametrize("number", [1, 2])
@pytest.mark.parametrize("kind", USES)
def test_fresh(db, kind, number, defines):
    if defines:
        db.execute("CREATE TABLE other (id INTEGER)")
        db.connection.commit()
    (with_sqlite3 if db.backend == "sqlite" else USES[kind])(db)
