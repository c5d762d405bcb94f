import asyncio
import unittest

import anyio.from_thread
import pytest
from store import open_pool, open_store


@pytest.fixture
async def store(db):
    store = await open_store()
    yield store
    await store.close()


async def test_reads(store):
    assert await store.fetch("SELECT id, name FROM users ORDER BY id") == [(1, "Ada"), (2, "alan")]
    assert await store.fetch("SELECT count(*) FROM users WHERE name = $1", "Ada") == [(1,)]


async def test_like(store):
    await store.fetch("SELECT name FROM users WHERE name LIKE $1", "a%")


async def test_waits(store):
    await asyncio.wait_for(store.fetch("SELECT name FROM users WHERE name LIKE $1", "ad%"), 5)


async def test_side_by_side(db):
    store = await open_pool()
    questions = [store.fetch("SELECT body FROM notes WHERE user_id = $1", n) for n in (1, 2, 3)]
    assert await asyncio.gather(*questions) == [[("first",)], [], []]
    await asyncio.gather(*(other(store, n) for n in range(3)))
    await store.close()


async def other(store, number):
    await asyncio.sleep(0.001 * (number % 2))
    await store.fetch("SELECT name FROM users WHERE id = $1", number)


async def test_refused(store):
    for _ in range(2):
        with pytest.raises(Exception, match=r"(?i)unique"):
            await store.execute("INSERT INTO users VALUES ($1, $2)", 3, "Ada")
    await store.execute("INSERT INTO users VALUES ($1, $2)", 4, "Ada Lovelace")


async def test_fails_on_postgres(store):
    await store.execute("INSERT OR IGNORE INTO users VALUES (1, 'Ada')")


async def test_committed(store):
    await store.execute("INSERT INTO users VALUES (3, 'Grace')")


async def test_fresh_again(store):
    assert await store.fetch("SELECT count(*) FROM users") == [(2,)]


_kept = []


def test_left_open(db):
    async def leave():
        store = await open_store()
        _kept.append(store)
        await store.fetch("SELECT id FROM users")
        if store.lite:
            await store.connection.execute("INSERT INTO users VALUES (7, 'open')")
        else:
            await store.connection.execute("BEGIN")
            await store.connection.execute("INSERT INTO users VALUES (7, 'open')")

    # its event loop is closed, and nothing was
    asyncio.run(leave())


async def test_fresh_after_that(store):
    assert await store.fetch("SELECT id FROM users") == [(1,), (2,)]


@pytest.fixture(scope="module")
def portal():
    with anyio.from_thread.start_blocking_portal() as portal:
        yield portal


@pytest.fixture(scope="module")
def pools(portal):
    """The pools of an application that lives as long as its tests, on an event loop in a thread."""
    pools = {}
    yield pools
    for pool in pools.values():
        portal.call(pool.close)


@pytest.mark.parametrize("number", range(3))
def test_pool_outlives_the_test(db, portal, pools, number):
    if db.backend not in pools:
        pools[db.backend] = portal.call(open_pool)
    store = pools[db.backend]
    assert portal.call(store.fetch, "SELECT count(*) FROM users") == [(2,)]
    portal.call(store.execute, "INSERT INTO users VALUES ($1, $2)", 3, "Grace")


class Case(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _database(self, db):
        pass

    async def asyncSetUp(self):
        self.store = await open_store()
        self.addAsyncCleanup(self.store.close)

    async def test_case(self):
        self.assertEqual(await self.store.fetch("SELECT name FROM users WHERE id = $1", 2), [("alan",)])
