"""The CRUD benchmark: real statements on real databases, in turns, with results that are checked."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import psycopg2
import pytest

from pytest_dualdb import benchmark
from pytest_dualdb.benchmark import BenchmarkError, Results, Side, Timing
from pytest_dualdb.server import RunningServer, open_server

OPERATIONS = ["INSERT", "SELECT", "UPDATE", "DELETE", "INSERT, COMMIT"]


@pytest.fixture(scope="module")
def server() -> Iterator[RunningServer]:
    with open_server("embedded") as running:
        yield running


def sqlite_side(name: str = "sqlite", statements: list[tuple[str, str]] | None = None) -> Side:
    connection = sqlite3.connect(":memory:", isolation_level=None)
    if statements is not None:
        connection.set_trace_callback(lambda sql: statements.append((name, sql)))
    return Side(name, connection, "?")


def test_both_databases_are_measured_and_left_as_they_were(server: RunningServer) -> None:
    sqlite = sqlite_side()
    with closing(psycopg2.connect(server.server.dsn("postgres"))) as connection, closing(sqlite.connection):
        connection.autocommit = True
        results = benchmark.run(sqlite, Side("postgres", connection, "%s"), rows=40, repeat=3)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM pg_tables WHERE tablename = %s", (benchmark.TABLE,))
            assert cursor.fetchone() == (0,)
        assert sqlite.connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    assert [timing.operation for timing in results.timings] == OPERATIONS
    assert [timing.count for timing in results.timings] == [40, 40, 40, 40, 2]
    for timing in results.timings:
        assert set(timing.seconds) == {"sqlite", "postgres"}
        assert all(len(rounds) == 3 and min(rounds) > 0 for rounds in timing.seconds.values())
    # a statement that crosses a socket can't be as fast as one in the same process
    assert all(results.ratio(timing) > 1 for timing in results.timings)


def test_a_figure_is_the_median_round_by_statement() -> None:
    timing = Timing("INSERT", 10, {"a": (1.0, 5.0, 2.0), "b": (8.0, 4.0, 100.0)})
    results = Results(("a", "b"), 10, 3, (timing,))
    assert timing.median("a") == pytest.approx(0.2)
    assert timing.per_second("b") == pytest.approx(1.25)
    assert results.ratio(timing) == pytest.approx(4.0)


def test_the_sides_take_turns_and_do_the_same_work() -> None:
    statements: list[tuple[str, str]] = []
    sides = [sqlite_side(name, statements) for name in ("a", "b")]
    benchmark.run(*sides, rows=20, repeat=2)
    for side in sides:
        side.connection.close()
    assert [sql for name, sql in statements if name == "a"] == [
        sql for name, sql in statements if name == "b"
    ]
    inserts = [name for name, sql in statements if sql.startswith("INSERT")]
    in_turns = ["a"] * 20 + ["b"] * 20 + ["a", "b"]
    swapped = ["b"] * 20 + ["a"] * 20 + ["b", "a"]
    assert inserts == in_turns + swapped + in_turns  # two rounds, and one before them that is not counted
    assert len([sql for _, sql in statements if sql == "BEGIN"]) == 2 * 3 * 5
    assert len([sql for _, sql in statements if sql == "COMMIT"]) == 2 * 3 * 5


def test_a_wrong_result_is_no_measurement() -> None:
    side = sqlite_side("lossy")

    def without_names(action: int, table: str | None, column: str | None, *_: str | None) -> int:
        return (
            sqlite3.SQLITE_IGNORE if (action, column) == (sqlite3.SQLITE_READ, "name") else sqlite3.SQLITE_OK
        )

    side.connection.set_authorizer(without_names)
    with (
        closing(side.connection),
        pytest.raises(BenchmarkError, match=r"^lossy: wrong result of SELECT: expected"),
    ):
        benchmark.run(side, sqlite_side(), rows=3, repeat=1)


@pytest.mark.parametrize(("rows", "repeat"), [(0, 1), (1, 0), (-1, 3)])
def test_nothing_to_measure_is_refused(rows: int, repeat: int) -> None:
    side = sqlite_side()
    with closing(side.connection), pytest.raises(ValueError, match="1 or more"):
        benchmark.run(side, side, rows=rows, repeat=repeat)
