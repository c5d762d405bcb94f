import anyio
import models
import pytest


@pytest.fixture
async def engine(db):
    engine = models.open_engine()
    yield engine
    await engine.dispose()


async def test_writes(engine):
    await models.add(engine, "Grace")
    assert await models.find(engine, "Grac%") == [("Grace", ["hello", "again"])]
    assert await models.counted(engine) == 3


async def test_like(engine):
    await models.find(engine, "a%")


async def test_refused(engine):
    with pytest.raises(Exception, match=r"(?i)unique") as error:
        await models.add(engine, "Ada")
    assert type(error.value).__name__ == "IntegrityError"


async def test_fails_on_postgres(engine):
    async with engine.begin() as connection:
        await connection.exec_driver_sql("SELECT json_extract('{}', '$.a')")


@pytest.fixture
def anyio_backend():
    return "asyncio"


@pytest.mark.anyio
async def test_anyio(db):
    engine = models.open_engine()
    async with anyio.create_task_group() as group:
        for pattern in ("Ada", "x%"):
            group.start_soon(models.find, engine, pattern)
    await engine.dispose()
