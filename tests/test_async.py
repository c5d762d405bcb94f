"""Async drivers: what an application on aiosqlite and asyncpg does is recorded as that of any other."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable
from typing import Any

import aiosqlite
import asyncpg
import pytest
from halves import QUERY, ROWS, half, only, statements
from projects import Projects, Run

from pytest_dualdb.recording import Statement
from pytest_dualdb.worker import Half, Worker

# ------------------------------------------------------------------------------------------- what users run


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["n0", "n2"])
def run(request: pytest.FixtureRequest, projects: Projects) -> Run:
    return projects.run("asynchronous", "--db=both", "-p", "asyncio", *request.param)


def test_every_half_ran_without_a_warning(run: Run) -> None:
    failed = {
        half["nodeid"] for test in run.report["tests"] for half in (test["sqlite"], test["postgres"])
        if half["outcome"] != "passed"
    }  # fmt: skip
    assert failed == {
        "test_store.py::test_fails_on_postgres[postgres]",
        "test_models.py::test_fails_on_postgres[postgres]",
    }, run.text
    assert "arning" not in run.text
    assert "Event loop is closed" not in run.text


def test_only_what_differs_is_found(run: Run) -> None:
    verdicts = {test["id"].partition("::")[2]: test["verdict"] for test in run.report["tests"]}
    found = {test for test, verdict in verdicts.items() if verdict != "agree"}
    assert found == {
        name for name in verdicts if name in ("test_like", "test_waits", "test_fails_on_postgres")
    }, run.output
    assert {issue["rule"] for issue in run.report["issues"] if issue["severity"] != "low"} == {
        "json-functions", "like-case", "or-conflict-clause",
    }  # fmt: skip


SITES = {
    "test_store.py::test_like": ("test_store.py", "test_like"),
    "test_models.py::test_like": ("models.py", "find"),
}


@pytest.mark.parametrize("test", SITES)
def test_the_line_of_the_application_is_found(run: Run, test: str) -> None:
    found = next(one for one in run.report["tests"] if one["id"] == test)
    sites = [d["statement"]["site"] for d in found["divergences"] if d["statement"]]
    assert {(site["path"], site["function"]) for site in sites} == {SITES[test]}


def test_drivers_are_not_imported_for_those_who_have_none() -> None:
    script = "import pytest_dualdb.plugin, pytest_dualdb.backends.postgres, sys; print(sorted(sys.modules))"
    modules = asyncio.run(_output(script))
    assert not {"asyncpg", "aiosqlite", "sqlalchemy"} & set(modules.split("'"))


async def _output(script: str) -> str:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, stdout=asyncio.subprocess.PIPE
    )
    return (await process.communicate())[0].decode()


# ------------------------------------------------------------------------------------- asyncpg, call by call


def on_postgres(half: Half, work: Callable[[Any], Awaitable[Any]], **arguments: Any) -> Any:
    """Run a piece of an application on a connection."""

    async def main() -> Any:
        connection = await asyncpg.connect(half.database.url, **arguments)
        try:
            return await work(connection)
        finally:
            await connection.close()

    return asyncio.run(main())


async def _by_cursor(connection: Any) -> Any:
    async with connection.transaction():
        return [row async for row in connection.cursor(QUERY, prefetch=2)]


async def _by_steps(connection: Any) -> Any:
    async with connection.transaction():
        cursor = await connection.cursor(QUERY)
        return [await cursor.fetchrow(), *await cursor.fetch(1), *await cursor.fetch(5)]


async def _prepared(connection: Any) -> Any:
    return await (await connection.prepare(QUERY)).fetch()


async def _prepared_cursor(connection: Any) -> Any:
    async with connection.transaction():
        statement = await connection.prepare(QUERY)
        return [row async for row in statement.cursor()]


READS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "fetch": lambda connection: connection.fetch(QUERY),
    "cursor": _by_cursor,
    "cursor in steps": _by_steps,
    "prepared": _prepared,
    "cursor of a prepared statement": _prepared_cursor,
}


@pytest.mark.parametrize("read", READS)
def test_rows_are_recorded_as_the_application_got_them(postgres: Half, read: str) -> None:
    rows = on_postgres(postgres, READS[read])
    assert [tuple(row) for row in rows] == ROWS
    found = only(postgres)
    assert (found.values, found.columns, found.fetched, found.named) == (ROWS, ("id", "name"), "all", "row")


ONES: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "fetchrow": lambda connection: connection.fetchrow(QUERY),
    "fetchval": lambda connection: connection.fetchval(QUERY, column=1),
}


@pytest.mark.parametrize("read", ONES)
def test_one_row_is_recorded_where_one_was_fetched(postgres: Half, read: str) -> None:
    on_postgres(postgres, ONES[read])
    found = only(postgres)
    assert (found.values, found.fetched, found.rowcount) == (ROWS[:1], "one", -1)


def test_no_row_has_columns_all_the_same(postgres: Half) -> None:
    on_postgres(postgres, lambda c: c.fetchrow("SELECT id FROM item WHERE id = $1", 9))
    found = only(postgres)
    assert (found.rows, found.columns, found.fetched, found.params) == ([], ("id",), "all", (9,))


async def _writes(connection: Any) -> None:
    await connection.execute("INSERT INTO item VALUES (5, 'x')")
    await connection.execute("UPDATE item SET name = $1 WHERE id > $2", "y", 1)
    await connection.executemany("INSERT INTO item VALUES ($1, $2)", ((n, "many") for n in (6, 7)))
    await connection.fetch("DELETE FROM item WHERE id = 7 RETURNING id")
    await connection.execute("CREATE TEMP TABLE t (n int)")


def test_writes_and_their_counts(postgres: Half) -> None:
    on_postgres(postgres, _writes)
    found = statements(postgres)
    assert [(s.kind, s.rowcount, s.params) for s in found] == [
        ("execute", 1, None),
        ("execute", 3, ("y", 1)),
        ("executemany", -1, [(6, "many"), (7, "many")]),
        ("execute", 1, ()),
        ("execute", -1, None),
    ]
    assert [s.columns for s in found] == [None, None, None, ("id",), None]


async def _transactions(connection: Any) -> None:
    async with connection.transaction():
        await connection.execute("DELETE FROM item WHERE id = 1")
        with pytest.raises(asyncpg.UniqueViolationError):
            async with connection.transaction():
                await connection.execute("INSERT INTO item VALUES (2, 'again')")
    await connection.execute("BEGIN")
    with pytest.raises(asyncpg.UndefinedTableError):
        await connection.fetch("SELECT * FROM nothing")
    with pytest.raises(asyncpg.InFailedSQLTransactionError):
        await connection.fetch("SELECT 1")
    await connection.execute("ROLLBACK")
    await connection.fetch("SELECT 2")


def test_transactions_and_errors(postgres: Half) -> None:
    on_postgres(postgres, _transactions)
    found = statements(postgres)

    def shown(statement: Statement) -> tuple[str, str, bool, bool]:
        sql = statement.sql.partition(" ")[0] if statement.kind == "execute" else statement.sql
        error = "" if statement.error is None else f"{statement.error.dbapi} {statement.error.sqlstate}"
        return sql, error, statement.in_transaction, statement.aborted

    assert [shown(statement) for statement in found] == [
        ("DELETE", "", True, False),
        ("SAVEPOINT", "", True, False),
        ("INSERT", "IntegrityError 23505", True, False),
        ("ROLLBACK", "", True, True),
        ("COMMIT", "", True, False),
        ("BEGIN", "", False, False),
        ("SELECT", "ProgrammingError 42P01", True, False),
        ("SELECT", "InternalError 25P02", True, True),
        ("ROLLBACK", "", True, True),
        ("SELECT", "", False, False),
    ]
    assert [s.kind for s in found if s.kind != "execute"] == ["commit"]


async def _copies(connection: Any) -> None:
    await connection.copy_records_to_table("item", records=[(8, "copied")])
    await connection.copy_to_table("item", source=io.BytesIO(b"9\tcopied\n"))
    await connection.copy_from_table("item", output=io.BytesIO())
    await connection.copy_from_query("SELECT 1", output=io.BytesIO())


def test_copies(postgres: Half) -> None:
    on_postgres(postgres, _copies)
    assert [(s.kind, s.sql, s.rowcount) for s in statements(postgres)] == [
        ("copy", "COPY item FROM STDIN", 1),
        ("copy", "COPY item FROM STDIN", 1),
        ("copy", "COPY item TO STDOUT", 5),
        ("copy", "COPY (SELECT 1) TO STDOUT", 1),
    ]


class OwnConnection(asyncpg.Connection):  # type: ignore[misc]
    """An application's class with a method that it overrides, and one of its own."""

    async def fetch(self, *args: Any, **kwargs: Any) -> Any:
        return ["own", *await super().fetch(*args, **kwargs)]

    async def both(self) -> Any:
        return await self.fetch(QUERY)


def test_the_classes_of_the_application_stay(postgres: Half) -> None:
    async def work(connection: Any) -> Any:
        assert type(connection).__name__ == "OwnConnection"
        assert isinstance(connection, OwnConnection)
        return await connection.both()

    assert len(on_postgres(postgres, work, connection_class=OwnConnection)) == 4
    assert only(postgres).values == ROWS


def test_pools(postgres: Half) -> None:
    async def main() -> None:
        async with asyncpg.create_pool(postgres.database.url, min_size=1, max_size=2) as pool:
            await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(3)))
            async with pool.acquire() as connection, connection.transaction():
                assert isinstance(connection, asyncpg.Connection)
                await connection.execute("DELETE FROM item")

    asyncio.run(main())
    found = statements(postgres)
    assert sorted(s.params[0] for s in found[:3]) == [0, 1, 2]
    assert [s.kind for s in found] == ["execute"] * 4 + ["commit"]
    assert {s.site.path.rpartition("/")[2] for s in found if s.site} == {"test_async.py"}
    assert {s.site.function for s in found if s.site} <= {"main", "<genexpr>"}


def test_calls_with_arguments_that_do_not_fit_are_refused_as_ever(postgres: Half) -> None:
    async def work(connection: Any) -> None:
        with pytest.raises(asyncpg.DataError, match="invalid input for query argument"):
            await connection.fetch("SELECT $1::int", "one")
        with pytest.raises(asyncpg.InterfaceError, match="the server expects 1 argument"):
            await connection.fetch("SELECT $1::int")
        with pytest.raises(TypeError):
            await connection.fetch()

    on_postgres(postgres, work)
    assert [s.error.dbapi for s in statements(postgres) if s.error] == ["DataError", "InterfaceError"]


# ------------------------------------------------------------------------------------------------ aiosqlite


def test_places_and_tasks_go_to_the_thread_of_the_connection(sqlite: Half) -> None:
    async def one(connection: Any, number: int) -> None:
        await connection.execute("SELECT ?", (number,))

    async def main() -> None:
        async with aiosqlite.connect(sqlite.database.path) as connection:
            await connection.execute_fetchall(QUERY)
            await asyncio.gather(one(connection, 1), one(connection, 2))
            await asyncio.gather(connection.execute("SELECT 3"), connection.commit())
            async with connection.cursor() as cursor:
                await cursor.execute("SELECT 4")

    asyncio.run(main())
    found = statements(sqlite)
    assert [s.site.function for s in found if s.site] == ["main", "one", "one", "main", "main", "main"]
    assert found[0].values == ROWS
    assert found[0].thread == found[-1].thread
    assert len({found[0].thread, found[1].thread, found[2].thread}) == 3


def test_what_is_left_open_is_ended(worker: Worker) -> None:
    async def leave(path: str) -> Any:
        connection = await aiosqlite.connect(path)
        await connection.execute("INSERT INTO item VALUES (7, 'open')")
        return connection

    with half(worker, "sqlite") as first:
        connection = asyncio.run(leave(first.database.path))
    assert first.recording(test="t", nodeid="t").leaks == ("an open transaction",)
    assert not connection._thread.is_alive()
    with half(worker, "sqlite") as second:
        assert second.database.fetchall(QUERY) == ROWS
