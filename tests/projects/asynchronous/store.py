"""An application of two async drivers behind one class."""

import os
import re

import aiosqlite
from asyncpg import connect, create_pool


class Store:
    """Takes ``$1``; whoever calls it wrote the statement."""

    def __init__(self, connection):
        self.connection = connection
        self.lite = isinstance(connection, aiosqlite.Connection)

    async def fetch(self, sql, *params):
        if not self.lite:
            return [tuple(row) for row in await self.connection.fetch(sql, *params)]
        async with self.connection.execute(re.sub(r"\$\d", "?", sql), params) as cursor:
            return [tuple(row) for row in await cursor.fetchall()]

    async def execute(self, sql, *params):
        if not self.lite:
            await self.connection.execute(sql, *params)
            return
        await self.connection.execute(re.sub(r"\$\d", "?", sql), params)
        await self.connection.commit()

    async def close(self):
        await self.connection.close()


def address():
    """Return the address of the environment, which asyncpg reads as an URL only."""
    return os.environ["DATABASE_URL"].replace("+asyncpg", "")


async def open_store():
    if "PGHOST" in os.environ:
        return Store(await connect(address()))
    return Store(await aiosqlite.connect(os.environ["STORE"]))


async def open_pool():
    """Return a pool, or one connection where there are no pools."""
    if "PGHOST" in os.environ:
        return Store(await create_pool(address(), min_size=1, max_size=3))
    return await open_store()
