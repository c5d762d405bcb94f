"""Many rows: packed and read back, compared in bounded memory, and found on live databases."""

from __future__ import annotations

import itertools
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from halves import BACKENDS, half
from hypothesis import given, settings
from hypothesis import strategies as st

from pytest_dualdb import encoding, rows
from pytest_dualdb.backends import MAX_STATE_ROWS
from pytest_dualdb.compare import compare
from pytest_dualdb.database import Database
from pytest_dualdb.divergence import Difference, Divergence
from pytest_dualdb.encoding import CHUNK_ROWS, Packed, kept
from pytest_dualdb.recorder import MAX_ROWS
from pytest_dualdb.rows import compare_rows
from pytest_dualdb.values import Equality
from pytest_dualdb.worker import Worker

# ------------------------------------------------------------------------------------------------ packed rows

VALUES = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=3),
    st.decimals(allow_nan=False), st.datetimes(), st.dates(), st.times(), st.timedeltas(), st.uuids(),
    st.lists(st.integers(), max_size=2), st.dictionaries(st.text(max_size=2), st.integers(), max_size=2),
    st.just({"type": "Decimal", "text": "1"}), st.frozensets(st.integers(), max_size=2),
)  # fmt: skip
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=6)


@pytest.fixture
def small_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(encoding, "CHUNK_ROWS", 2)


@pytest.mark.usefixtures("small_chunks")
@settings(suppress_health_check=["function_scoped_fixture"])  # type: ignore[list-item]
@given(ROWS, st.integers(0, 4))
def test_packed_rows_are_the_rows(given_rows: list[Any], limit: int) -> None:
    found = kept(iter(given_rows), limit)
    assert isinstance(found, Packed) == (len(given_rows) > limit)
    assert len(found) == len(given_rows)
    assert list(found) == given_rows
    assert [found[index] for index in range(len(found))] == given_rows
    assert list(found[1:]) == given_rows[1:]
    assert not given_rows or found[-1] == given_rows[-1]
    assert [list(map(type, row)) for row in found] == [list(map(type, row)) for row in given_rows]
    assert found == kept(given_rows, limit)
    again = encoding.rows_from_json(encoding.rows_to_json(found))
    assert list(again) == list(found)
    with pytest.raises(IndexError):
        found[len(found)]


def test_equal_numbers_of_another_type_are_packed_otherwise() -> None:
    assert kept([(1,)], 0) != kept([(True,)], 0)
    assert kept([(Decimal("1.0"),)], 0) != kept([(1.0,)], 0)


# -------------------------------------------------------------------------------------------------- comparing

WINDOWS = ((1_700_000_000.0, 1_700_000_060.0), (1_700_000_100.0, 1_700_000_160.0))


def compared(first: Any, second: Any) -> Difference | str | None:
    return compare_rows(Equality(WINDOWS), first, second, ("id", "name"), frozenset())


def table(
    count: int, change: Callable[[int], Any] = lambda number: f"name {number}"
) -> Iterator[tuple[Any, ...]]:
    return ((number, change(number)) for number in range(count))


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=30),
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab")), max_size=30),
)
def test_large_sets_compare_like_small_ones(first: list[Any], second: list[Any]) -> None:
    expected = compared(first, second)
    limit, rows.MAX_GATHERED = rows.MAX_GATHERED, 1
    try:
        found = compared(kept(first, 0), kept(second, 0))
    finally:
        rows.MAX_GATHERED = limit
    assert type(found) is type(expected)
    if isinstance(found, Difference) and isinstance(expected, Difference):
        assert found.totals[0] - found.totals[1] == expected.totals[0] - expected.totals[1]
        assert set(found.only_sqlite) <= set(expected.only_sqlite)
    else:
        assert found == expected


def test_the_one_row_that_differs_is_found_whatever_the_order() -> None:
    first = kept(table(30_000), 0)
    changed = [*table(30_000, lambda n: "another" if n == 17_017 else f"name {n}")]
    for second in (kept(changed, 0), kept(reversed(changed), 0)):
        found = compared(first, second)
        assert isinstance(found, Difference)
        assert (found.only_sqlite, found.only_postgres) == (((17_017, "name 17017"),), ((17_017, "another"),))
        assert (found.both, found.totals, found.differing) == (29_999, (1, 1), ("name",))
    assert compared(first, kept(reversed([*table(30_000)]), 0)) == "order"


def test_a_row_more_among_values_of_the_run() -> None:
    start = datetime(2023, 11, 14, 22, 13, 20)
    now = [start + timedelta(seconds=100 * side + 0.5) for side in (0, 1)]
    first = kept(((n, now[0] + timedelta(microseconds=n)) for n in range(25_000)), 0)
    second = kept(((n, now[1] + timedelta(microseconds=n)) for n in range(25_000) if n != 400), 0)
    found = compared(first, second)
    assert isinstance(found, Difference)
    assert [row[0] for row in found.only_sqlite] == [400]
    assert (found.only_postgres, found.totals, found.both) == ((), (1, 0), 24_999)
    assert compared(first, kept(((n, now[1]) for n in reversed(range(25_000))), 0)) == "order"


def test_everything_differs() -> None:
    found = compared(kept(table(50_000), 0), kept(table(50_000, str), 0))
    assert isinstance(found, Difference)
    assert found.differing == ("name",)
    assert (found.only_sqlite[0], found.only_postgres[0]) == ((0, "name 0"), (0, "0"))
    assert len(found.cut().only_sqlite) == len(found.cut().only_postgres) == 20
    assert found.cut().totals == found.totals


def test_text_with_the_key_of_another_text() -> None:
    def written(document: str) -> Packed:
        found = kept(table(50_000, lambda n: document if n == 40_000 else f"name {n}"), 0)
        assert isinstance(found, Packed)
        return found

    found = compared(written('{"a":1}'), written('{"a": 1}'))
    assert isinstance(found, Difference)
    assert (found.only_sqlite, found.only_postgres) == (((40_000, '{"a":1}'),), ((40_000, '{"a": 1}'),))


def test_half_of_the_rows_differ_in_another_order() -> None:
    first = kept(table(60_000), 0)
    second = kept(table(60_000, lambda n: f"name {n if n % 2 else -n}"), 0)
    for other in (second, kept(reversed([*second]), 0)):
        found = compared(first, other)
        assert isinstance(found, Difference)
        assert all(row[0] % 2 == 0 for row in (*found.only_sqlite, *found.only_postgres))
        assert found.only_sqlite
        assert found.only_postgres


def test_memory_does_not_grow_with_the_rows() -> None:
    first = kept(table(60_000, lambda n: f"a longer name, of row number {n}"), MAX_STATE_ROWS)
    second = kept(
        table(60_000, lambda n: f"a longer name, of row number {n + (n == 50_000)}"), MAX_STATE_ROWS
    )
    tracemalloc.start()
    try:
        found = compared(first, second)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(found, Difference)
    assert peak < 5_000_000, "60,000 rows take more than 10 MB each time"


# ----------------------------------------------------------------------------------------------- live halves


def pair(worker: Worker, work: Callable[[Database], Any]) -> tuple[Divergence, ...]:
    """Run one piece of work as both halves of a test and compare them."""
    made = {}
    for backend in BACKENDS:
        with half(worker, backend) as one:
            work(one.database)
        made[backend] = one.recording(test="t", nodeid="t")
    for recording in made.values():
        for statement in recording.statements:
            assert isinstance(statement.rows, Packed) == (len(statement.rows) > MAX_ROWS)
    return compare(made["sqlite"], made["postgres"])


def filled(db: Database, count: int, other: int = -1, skipped: int = -1) -> None:
    with db.transaction():
        made = [(n, f"name {n}") for n in range(10, count) if n != skipped]
        db.executemany("INSERT INTO item VALUES (?, ?)", made)
        # not by a parameter: what a half passes of its own accord is taken for a value of the run
        db.execute(f"UPDATE item SET name = CASE WHEN id = {other} THEN 'ADA' ELSE name END")


def test_a_large_table_that_agrees(worker: Worker) -> None:
    assert pair(worker, lambda db: filled(db, MAX_STATE_ROWS + 2 * CHUNK_ROWS)) == ()


def test_one_stored_value_in_a_large_table(worker: Worker) -> None:
    last = MAX_STATE_ROWS + CHUNK_ROWS + 3
    found = pair(worker, lambda db: filled(db, last + 4, other=last if db.backend == "postgres" else -1))
    assert [(d.kind, d.severity, d.table) for d in found] == [("state", "high", "item")]
    assert found[0].difference is not None
    assert found[0].difference.only_sqlite == ((last, f"name {last}"),)
    assert found[0].difference.only_postgres == ((last, "ADA"),)


def test_one_row_less_in_a_large_table(worker: Worker) -> None:
    found = pair(
        worker, lambda db: filled(db, MAX_STATE_ROWS + 100, skipped=77 if db.backend == "sqlite" else -1)
    )
    (state,) = [d for d in found if d.kind == "state"]
    assert state.difference is not None
    assert (state.difference.only_sqlite, state.difference.only_postgres) == ((), ((77, "name 77"),))


NUMBERS = f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {MAX_ROWS + 2_500}) SELECT i, 'row ' || i AS name FROM n"


@pytest.mark.parametrize("way", ["fetchall", "fetchmany", "fetchone", "iteration"])
def test_a_large_result_is_kept_small_and_compared_to_the_last_row(worker: Worker, way: str) -> None:
    def read(db: Database, sql: str) -> None:
        cursor = db.connection.cursor()
        cursor.execute(sql)
        if way == "fetchall":
            cursor.fetchall()
        elif way == "fetchmany":
            while cursor.fetchmany(777):
                pass
        elif way == "fetchone":
            while cursor.fetchone() is not None:
                pass
        else:
            assert sum(1 for _ in cursor) == MAX_ROWS + 2_500

    assert pair(worker, lambda db: read(db, NUMBERS)) == ()
    last = MAX_ROWS + 2_499

    def one_differs(db: Database) -> None:
        name = "'x'" if db.backend == "postgres" else "'y'"
        read(db, NUMBERS.replace("'row ' || i", f"CASE i WHEN {last} THEN {name} ELSE 'row ' || i END"))

    (found,) = pair(worker, one_differs)
    assert found.kind == "rows"
    assert found.difference is not None
    assert (found.difference.only_sqlite, found.difference.only_postgres) == (((last, "y"),), ((last, "x"),))
    assert list(itertools.islice(found.sqlite.rows, 1)) == [(1, "row 1")]  # type: ignore[union-attr]
