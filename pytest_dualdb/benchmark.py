"""The CRUD benchmark: what single statements by key cost on two databases, measured side by side.

Pure measuring over connections that the caller opened. It must not know where a database comes from, what it
promises about durability, or how results are shown.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TABLE = "dualdb_bench"
ROWS = 500
REPEAT = 5
_COMMITS = 20
"""One transaction for each row takes that much longer on a disk: it gets this fraction of the rows."""


class BenchmarkError(Exception):
    """A database gave a wrong answer while it was measured; the message is one line."""


@dataclass(frozen=True, slots=True)
class Side:
    """One database to measure.

    ``connection`` is a PEP 249 connection in autocommit mode, as the benchmark says BEGIN and COMMIT itself;
    ``placeholder`` is what its driver calls a parameter. The benchmark makes a table `TABLE` and drops it.
    """

    name: str
    connection: Any
    placeholder: str


@dataclass(frozen=True, slots=True)
class Timing:
    """One operation's measurements.

    ``count`` is the number of statements (or transactions) in a round, ``seconds`` what each round took on
    each side.
    """

    operation: str
    count: int
    seconds: Mapping[str, tuple[float, ...]]

    def median(self, side: str) -> float:
        """Return the median round's seconds for one statement (or transaction)."""
        return statistics.median(self.seconds[side]) / self.count

    def per_second(self, side: str) -> float:
        return 1 / self.median(side)


@dataclass(frozen=True, slots=True)
class Results:
    """What a benchmark found; ``sides`` in the order in which they were given."""

    sides: tuple[str, str]
    rows: int
    repeat: int
    timings: tuple[Timing, ...]

    def ratio(self, timing: Timing) -> float:
        """Return how many times longer the second side takes than the first."""
        first, second = self.sides
        return timing.median(second) / timing.median(first)


@dataclass(frozen=True, slots=True)
class _Operation:
    name: str
    sql: str
    parameters: Sequence[tuple[Any, ...]]
    check: Callable[[Side, Sequence[Any]], None]
    commits: bool = False
    """Each statement is a transaction of its own, otherwise all of them are one."""


def run(first: Side, second: Side, *, rows: int = ROWS, repeat: int = REPEAT) -> Results:
    """Measure INSERT, SELECT, UPDATE and DELETE by key on both sides, and a transaction for one INSERT.

    ``rows`` statements (1 or more) are one transaction; ``repeat`` rounds (1 or more) are counted after one
    that is not. The sides take turns within each round, and in who begins. Every result is checked outside
    the time measured. Raises BenchmarkError for a wrong result, and the drivers' errors.
    """
    if rows < 1 or repeat < 1:
        raise ValueError(f"rows and repeat are 1 or more, not {rows} and {repeat}")
    operations = _operations(rows)
    seconds: dict[tuple[str, str], list[float]] = {}
    for number in range(-1, repeat):
        for side in (first, second):
            _prepare(side)
        for operation in operations:
            for side in (first, second) if number % 2 else (second, first):
                took, fetched = _time(side, operation)
                operation.check(side, fetched)
                if number >= 0:
                    seconds.setdefault((operation.name, side.name), []).append(took)
    for side in (first, second):
        side.connection.cursor().execute(f"DROP TABLE {TABLE}")
    names = first.name, second.name
    timings = tuple(
        Timing(one.name, len(one.parameters), {name: tuple(seconds[one.name, name]) for name in names})
        for one in operations
    )
    return Results(names, rows, repeat, timings)


def _operations(rows: int) -> tuple[_Operation, ...]:
    keys = list(range(1, rows + 1))
    random.Random(0).shuffle(keys)
    insert = f"INSERT INTO {TABLE} (id, name, amount) VALUES (?, ?, ?)"
    update = f"UPDATE {TABLE} SET amount = amount + ? WHERE id = ?"
    commits = max(1, rows // _COMMITS)

    def found(side: Side, fetched: Sequence[Any]) -> None:
        _expect(side, "SELECT", [(f"name {key}", key * 3) for key in keys], [tuple(row) for row in fetched])

    full = [(key, f"name {key}", key * 3) for key in keys]
    alone = [(key,) for key in keys]
    added = [(key, key) for key in keys]
    few = [(key, f"name {key}", 1) for key in keys[:commits]]
    total = sum(keys)
    return (
        _Operation("INSERT", insert, full, _total(rows, 3 * total)),
        _Operation("SELECT", f"SELECT name, amount FROM {TABLE} WHERE id = ?", alone, found),
        _Operation("UPDATE", update, added, _total(rows, 4 * total)),
        _Operation("DELETE", f"DELETE FROM {TABLE} WHERE id = ?", alone, _total(0, 0)),
        _Operation("INSERT, COMMIT", insert, few, _total(commits, commits), commits=True),
    )


def _total(rows: int, amount: int) -> Callable[[Side, Sequence[Any]], None]:
    """Return a check that the table holds that many rows and that sum of amounts."""

    def check(side: Side, fetched: Sequence[Any]) -> None:
        cursor = side.connection.cursor()
        cursor.execute(f"SELECT count(*), coalesce(sum(amount), 0) FROM {TABLE}")
        _expect(side, "the table", (rows, amount), tuple(map(int, cursor.fetchone())))

    return check


def _expect(side: Side, what: str, expected: Any, found: Any) -> None:
    if expected != found:
        shown = f"expected {repr(expected)[:100]}, found {repr(found)[:100]}"
        raise BenchmarkError(f"{side.name}: wrong result of {what}: {shown}")


def _prepare(side: Side) -> None:
    cursor = side.connection.cursor()
    cursor.execute(f"DROP TABLE IF EXISTS {TABLE}")
    columns = "id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL, amount INTEGER NOT NULL"
    cursor.execute(f"CREATE TABLE {TABLE} ({columns})")


def _time(side: Side, operation: _Operation) -> tuple[float, list[Any]]:
    """Return the seconds that an operation took, and the rows that it fetched."""
    sql = operation.sql.replace("?", side.placeholder)
    reads = operation.name == "SELECT"
    cursor = side.connection.cursor()
    execute, fetchone = cursor.execute, cursor.fetchone
    commits = operation.commits
    fetched: list[Any] = []
    start = time.perf_counter()
    if not commits:
        execute("BEGIN")
    for values in operation.parameters:
        if commits:
            execute("BEGIN")
        execute(sql, values)
        if reads:
            fetched.append(fetchone())
        if commits:
            execute("COMMIT")
    if not commits:
        execute("COMMIT")
    return time.perf_counter() - start, fetched
