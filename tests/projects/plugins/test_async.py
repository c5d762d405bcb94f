import asyncio

import app
import pytest

tried = []


@pytest.mark.asyncio
async def test_asyncio(db):
    await asyncio.to_thread(app.add, 2, "Ada")
    assert app.names() == ["seed", "Ada"]


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_anyio(db, anyio_backend):
    import anyio.to_thread

    await anyio.to_thread.run_sync(app.add, 2, "Ada")
    assert app.names() == ["seed", "Ada"]
