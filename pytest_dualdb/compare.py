"""Two recordings of one test -> the divergences between them.

Pure functions over recordings: no database, no pytest, no rule. A divergence is a fact ("the halves differ
here"); why they differ and what to do about it is the business of `pytest_dualdb.rules`.
"""

from __future__ import annotations

import difflib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any, Literal
from uuid import UUID

from pytest_dualdb import syntax
from pytest_dualdb.recording import (
    BACKENDS,
    Backend,
    Catalog,
    Failure,
    Recording,
    Statement,
    TableState,
    row_values,
)
from pytest_dualdb.values import Equality, SameValue, instant, loose_key, same_type, same_value

Kind = Literal[
    "outcome", "error", "rows", "order", "type", "columns", "rowcount", "statements", "state",
    "observed", "schema", "index", "bypass", "time",
]  # fmt: skip
Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
Row = tuple[Any, ...]

MAX_SHOWN = 20
"""Differing rows kept in a divergence; the rest is counted."""
MAX_PAIRWISE = 300
"""Rows that differ by key are matched one by one up to this many."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that only one half has, how many both have, and the names of the columns that differ."""

    columns: tuple[str, ...]
    only_sqlite: tuple[Row, ...] = ()
    only_postgres: tuple[Row, ...] = ()
    both: int = 0
    differing: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Divergence:
    """One place where the halves differ.

    ``position`` orders the divergences of a pair by when they happened; what is seen only at the end
    (state, outcome) comes last. ``swallowed`` marks an error that the application did not let out. ``note``
    marks rows that differ in generated keys alone, consistently, and tables that one half only did not get
    to write because it ended before (``cut-short``).
    """

    kind: Kind
    severity: Severity
    message: str
    sqlite: Statement | None = None
    postgres: Statement | None = None
    table: str | None = None
    position: int = 0
    difference: Difference | None = None
    swallowed: bool = False
    note: Literal["", "generated-keys", "cut-short"] = ""

    @property
    def site_statement(self) -> Statement | None:
        """The statement that says where in the application this happened."""
        return self.postgres if self.sqlite is None or self.sqlite.site is None else self.sqlite


@dataclass(frozen=True, slots=True)
class Context:
    """What comparing needs to know beside the two recordings, each by backend."""

    templates: Mapping[str, Mapping[str, TableState]] = field(default_factory=dict)
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    template_catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    same_value: SameValue | None = None


def compare(sqlite: Recording, postgres: Recording, context: Context | None = None) -> tuple[Divergence, ...]:
    """Return the divergences between the two halves of a test, in the order in which they happened."""
    comparison = _Comparison(sqlite, postgres, context or Context())
    return tuple(comparison.run())


def failed(recording: Recording) -> bool:
    return recording.outcome in ("failed", "error")


# ----------------------------------------------------------------------------------------------- alignment

Pair = tuple[Statement | None, Statement | None]


def align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Pair the statements of two halves: by call site and statement, then by what stands between those.

    A statement that only one half issued is paired with None. Threads are aligned apart.
    """
    threads = _by_thread(left), _by_thread(right)
    if len(threads[0]) <= 1 and len(threads[1]) <= 1:
        return _align(left, right)
    pairs: list[Pair] = []
    for first, second in _pair_threads(*threads):
        pairs += _align(first, second)
    return pairs


def _pair_threads(
    left: list[list[Statement]], right: list[list[Statement]]
) -> Iterator[tuple[list[Statement], list[Statement]]]:
    """Pair the threads that issued the same; what a pool dealt out otherwise is matched by statement.

    Which of several threads comes first is a matter of chance, and so is which one takes a task.
    """
    rest = list(right)
    unpaired = []
    for one in left:
        best = max(rest, key=lambda other: _likeness(one, other), default=None)
        if best is None or not _likeness(one, best):
            unpaired.append(one)
            continue
        rest.remove(best)
        yield one, best
    if len(unpaired) <= 1 and len(rest) <= 1:
        yield from itertools.zip_longest(unpaired, rest, fillvalue=[])
        return
    waiting: dict[Any, list[Statement]] = {}
    for statement in itertools.chain(*rest):
        waiting.setdefault(_identity(statement), []).append(statement)
    left_over = []
    for thread in unpaired:
        alone = []
        for statement in thread:
            same = waiting.get(_identity(statement))
            if same:
                yield [statement], [same.pop(0)]
            else:
                alone.append(statement)
        left_over.append(alone)
    others = {id(statement) for same in waiting.values() for statement in same}
    still = [[statement for statement in thread if id(statement) in others] for thread in rest]
    yield from itertools.zip_longest(left_over, still, fillvalue=[])


def _likeness(one: Sequence[Statement], other: Sequence[Statement]) -> int:
    """Return how many statements two threads share to the parameter; 0 unless they are the same otherwise."""
    if [_key(s) for s in one] != [_key(s) for s in other]:
        return 0
    return 1 + sum(_identity(a) == _identity(b) for a, b in zip(one, other, strict=True))


def _identity(statement: Statement) -> tuple[Any, str]:
    return _key(statement), repr(_positional(statement))


def _answered(statement: Statement) -> tuple[Any, ...]:
    """Return the identity of a statement with what it gave: the same id may be of another row."""
    first = repr(row_values(statement.rows[0])) if statement.rows else ""
    return (*_identity(statement), statement.error is None, len(statement.rows), first)


def _by_thread(statements: Sequence[Statement]) -> list[list[Statement]]:
    threads: dict[int, list[Statement]] = {}
    for statement in statements:
        threads.setdefault(statement.thread, []).append(statement)
    return list(threads.values())


def _align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    keys = [_key(s) for s in left], [_key(s) for s in right]
    if keys[0] == keys[1]:
        return list(zip(left, right, strict=True))
    batched = _batched(left, right, keys)
    if batched:
        left, right = ([s for s in side if s.error or _key(s) not in batched] for side in (left, right))
        keys = [_key(s) for s in left], [_key(s) for s in right]
    own, others = ([s for s in side if s.kind not in _ENDS] for side in (left, right))
    counts = Counter(map(_key, own)), Counter(map(_key, others))

    def first(statement: Statement) -> tuple[Any, ...]:
        # which round of a loop only one half made is seen by what it asked and was told
        key = _key(statement)
        return key if counts[0][key] == counts[1][key] else _answered(statement)

    return _with_ends(_matched(own, others, (first, _key)), left, right)


_ENDS = frozenset({"commit", "rollback"})


def _matched(
    left: Sequence[Statement], right: Sequence[Statement], keys: Sequence[Callable[[Statement], Any]]
) -> list[Pair]:
    """Pair statements by the first key; what is left between those by the next."""
    if not left or not right or not keys:
        return list(_pair_gap(left, right))
    pairs: list[Pair] = []
    matcher = difflib.SequenceMatcher(
        None, [keys[0](s) for s in left], [keys[0](s) for s in right], autojunk=False
    )
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            pairs += zip(left[i:j], right[k:m], strict=True)
        else:
            pairs += _matched(left[i:j], right[k:m], keys[1:])
    return pairs


def _with_ends(pairs: Sequence[Pair], left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Put the ends of transactions behind the statements that they followed; one half may have more of them.

    They look alike everywhere: statements matched by them would be those of other moments.
    """
    behind = _ends_behind(left), _ends_behind(right)
    found: list[Pair] = _pair_ends(behind[0].get(0, []), behind[1].get(0, []))
    for one, other in pairs:
        found.append((one, other))
        found += _pair_ends(behind[0].get(id(one), []), behind[1].get(id(other), []))
    return found


def _pair_ends(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    found: list[Pair] = []
    for one, other in itertools.zip_longest(left, right):
        if one is not None and other is not None and one.kind != other.kind:
            found += [(one, None), (None, other)]
        else:
            found.append((one, other))
    return found


def _ends_behind(statements: Sequence[Statement]) -> dict[int, list[Statement]]:
    """Return the ends of transactions by the id of the statement before them, 0 for those before any."""
    found: dict[int, list[Statement]] = {}
    last = 0
    for statement in statements:
        if statement.kind in _ENDS:
            found.setdefault(last, []).append(statement)
        else:
            last = id(statement)
    return found


def _batched(
    left: Sequence[Statement], right: Sequence[Statement], keys: tuple[list[Any], list[Any]]
) -> frozenset[Any]:
    """Return the inserts that a library sends in batches of different size: the state tells of their rows."""
    first, second = Counter(keys[0]), Counter(keys[1])
    return frozenset(
        key
        for statements, own in ((left, keys[0]), (right, keys[1]))
        for statement, key in zip(statements, own, strict=True)
        if statement.via in _CONVERTERS and first[key] != second[key] and min(first[key], second[key]) > 0
        and syntax.family(statement.sql) == "INSERT"
    )  # fmt: skip


def _key(statement: Statement) -> tuple[Any, ...]:
    """Return what two statements must share to be the same one: place, verb and tables, not the text."""
    site = statement.site
    where = None if site is None else (site.path, site.line)
    if statement.kind in ("execute", "executemany"):
        return (where, syntax.family(statement.sql), syntax.tables(statement.sql))
    return (where, statement.kind)


def _pair_gap(left: Sequence[Statement], right: Sequence[Statement]) -> Iterator[Pair]:
    """Pair what stands between the statements that both issued: the branches of a dialect switch."""
    waiting = list(right)
    for one in left:
        other = next((s for s in waiting if _same_branch(one, s)), None)
        if other is None:
            yield one, None
            continue
        while waiting[0] is not other:
            yield None, waiting.pop(0)
        waiting.pop(0)
        yield one, other
    for rest in waiting:
        yield None, rest


def _same_branch(one: Statement, other: Statement) -> bool:
    """Return whether two statements of one function do the same kind of thing in two dialects."""
    if one.site is None or other.site is None or one.site.function != other.site.function:
        return False
    if syntax.is_about_schema(one.sql) or syntax.is_about_schema(other.sql):
        return False
    return one.site.path == other.site.path and syntax.family(one.sql) == syntax.family(other.sql)


# -------------------------------------------------------------------------------------------- the comparison


class _Comparison:
    """One run over a pair; holds what is learnt on the way."""

    def __init__(self, sqlite: Recording, postgres: Recording, context: Context) -> None:
        self.recordings: dict[Backend, Recording] = {"sqlite": sqlite, "postgres": postgres}
        self.context = context
        self.equality = Equality((sqlite.window, postgres.window), context.same_value)
        self.position = 0
        self.missed: frozenset[str] = frozenset()
        self.told: set[str] = set()
        """The kinds of what the application was told differently so far."""

    def run(self) -> Iterator[Divergence]:
        sqlite, postgres = self.recordings["sqlite"], self.recordings["postgres"]
        yield from self._bypasses()
        pairs = align(sqlite.statements, postgres.statements)
        counts = [Counter(map(_key, r.statements)) for r in (sqlite, postgres)] if len(pairs) > 1 else []
        for self.position, (left, right) in enumerate(pairs, start=1):
            if left is not None and right is not None:
                for divergence in self._pair(left, right):
                    self.told.add(divergence.kind)
                    yield divergence
            else:
                yield from self._alone(left, right, counts)
        self.position = len(pairs) + 1
        self.missed = self._missed(pairs)
        yield from self._observed()
        self.position += 1
        yield from self._state()
        self.position += 1
        yield from self._outcome()

    def _missed(self, pairs: Sequence[Pair]) -> frozenset[str]:
        """Return the tables that only one half wrote at the end, because the other had ended by then."""
        found: set[str] = set()
        sides = [failed(self.recordings[backend]) for backend in BACKENDS]
        if sides[0] == sides[1]:
            return frozenset()
        for pair in reversed(pairs):
            ended, went_on = pair if sides[0] else (pair[1], pair[0])
            if ended is not None and ended.error is None and ended.kind not in ("commit", "rollback"):
                break
            if went_on is not None:
                found |= syntax.written_tables(went_on.sql) | syntax.defined_tables(went_on.sql)
        return frozenset(found)

    # ------------------------------------------------------------------------------------------ statements

    def _bypasses(self) -> Iterator[Divergence]:
        """Yield the statements of the PostgreSQL half that went to SQLite, one for each call site.

        Another SQLite database that the SQLite half reached from the same line is the application's own
        choice, not a bypass. Nor is the end of a transaction on a connection that did nothing else: a pool of
        an earlier half gives its connections back when it is collected, whenever that is.
        """
        worked = {
            s.connection for s in self.recordings["postgres"].bypasses if s.kind not in ("commit", "rollback")
        }
        usual = {(s.site, s.database) for s in self.recordings["sqlite"].bypasses}
        seen: Counter[Any] = Counter()
        first: dict[Any, Statement] = {}
        for statement in self.recordings["postgres"].bypasses:
            if statement.connection in worked and (statement.site, statement.database) not in usual:
                seen[statement.site] += 1
                first.setdefault(statement.site, statement)
        for site, statement in first.items():
            count = seen[site]
            noun = "statement" if count == 1 else "statements"
            yield Divergence(
                "bypass", "critical", f"{count} {noun} of the PostgreSQL half went to SQLite ({statement.database})",
                postgres=statement,
            )  # fmt: skip

    def _alone(
        self, left: Statement | None, right: Statement | None, counts: list[Counter[Any]]
    ) -> Iterator[Divergence]:
        """Yield a divergence for a statement of one half only, if the application meant it for both.

        A branch for one dialect is not meant for both, nor is what a library asks about the schema; a loop
        that runs once more is.
        """
        statement = left or right
        assert statement is not None
        if statement.kind in ("commit", "rollback"):
            return
        other: Backend = "postgres" if right is None else "sqlite"
        if statement.error is not None:
            yield self._error_divergence(left, right)
            return
        key = _key(statement)
        if failed(self.recordings[other]) or not all(count[key] for count in counts):
            return
        if syntax.family(statement.sql) == "INSERT" and self._inserted(key, "sqlite") == self._inserted(
            key, "postgres"
        ):
            return  # the same rows, in other batches
        ours = "SQLite" if right is None else "PostgreSQL"
        yield Divergence(
            "statements", "low", f"the {ours} half issued this statement more often", left, right,
            position=self.position,
        )  # fmt: skip

    def _inserted(self, key: tuple[Any, ...], backend: Backend) -> int:
        """Return how many rows the statements of that key wrote."""
        return sum(s.rowcount for s in self.recordings[backend].statements if _key(s) == key)

    def _pair(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        if left.error is not None or right.error is not None:
            yield from self._errors(left, right)
            return
        self._learn(left, right)
        # what only one half fetched says nothing: the other failed before, or asks in another way
        if left.fetched != "none" and right.fetched != "none":
            yield from self._results(left, right)
        yield from self._counts(left, right)

    def _learn(self, left: Statement, right: Statement) -> None:
        """Learn from parameters that differ: what the halves say of their own accord depends on the run.

        Until they have been told different things they can't but have it from the run. Later a text may come
        of what they were told (of 2.50 and 2.5), so that only what looks like one of the run is learnt.
        """
        if left.params == right.params:
            return
        sets = [_sets(statement) for statement in (left, right)]
        if list(map(len, sets[0])) != list(map(len, sets[1])):
            return
        for first, second in zip(*sets, strict=True):
            for index, (one, other) in enumerate(zip(first, second, strict=True)):
                if one is other or (type(one) is type(other) and one == other):
                    continue
                of_run = self.equality.of_run(one, other)
                if of_run or "type" not in self.told or self.told & _LOUD or not isinstance(one, str):
                    self.equality.learn(one, other)
                number = isinstance(one, int | float | Decimal)
                if of_run or self.told - ({"type"} if number else set()):
                    continue
                column = syntax.parameter_columns(left.sql, "sqlite")[index : index + 1]
                if column and column[0] and not self._is_key(column[0]):
                    self.equality.learn_for(column[0], one, other)

    def _is_key(self, column: str) -> bool:
        """Return whether a column of that name is a key somewhere: numbers in it come from the database."""
        if column.lower() == "id" or column.lower().endswith(("_id", "_key")):
            return True
        tables = [table for catalog in self.context.catalogs.values() for table in catalog.tables.values()]
        return any(
            column.lower()
            in map(
                str.lower, (*table.primary_key, *itertools.chain(*(k.columns for k in table.foreign_keys)))
            )
            for table in tables
        )

    def _errors(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        if left.error is None or right.error is None:
            yield self._error_divergence(left, right)
        elif left.error.dbapi != right.error.dbapi and not _kin(left.error, right.error):
            yield Divergence(
                "error", "medium",
                f"sqlite raises {left.error.short_name}, postgres {right.error.short_name}", left, right,
                position=self.position,
            )  # fmt: skip

    def _error_divergence(self, left: Statement | None, right: Statement | None) -> Divergence:
        side: Backend = "sqlite" if left is not None and left.error is not None else "postgres"
        statement = left if side == "sqlite" else right
        assert statement is not None and statement.error is not None
        let_out = self._let_out(side, statement)
        name = "SQLite" if side == "sqlite" else "PostgreSQL"
        return Divergence(
            "error", "critical" if let_out else "high",
            f"fails on {name} only: {statement.error.short_name}: {_first_line(statement.error.message)}",
            left, right, position=self.position, swallowed=not let_out,
        )  # fmt: skip

    def _let_out(self, side: Backend, statement: Statement) -> bool:
        """Return whether this error is the one that ended its half, and only its half."""
        recording = self.recordings[side]
        other = self.recordings["postgres" if side == "sqlite" else "sqlite"]
        if not failed(recording) or failed(other):
            return False
        failure = recording.failure
        if failure is None or failure.database is None:
            return recording.statements[-1:] == (statement,)
        return failure.database.message == (statement.error.message if statement.error else "")

    def _counts(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        read = "rowcount" in left.read or "rowcount" in right.read
        if "script" in (left.kind, right.kind):
            return
        if left.rowcount != right.rowcount and syntax.verb(left.sql) == syntax.verb(right.sql):
            writes = syntax.verb(left.sql) in syntax.WRITES and left.columns is None and right.columns is None
            if read or (writes and min(left.rowcount, right.rowcount) >= 0):
                yield Divergence(
                    "rowcount", "medium" if read else "low",
                    f"rowcount is {left.rowcount} on SQLite, {right.rowcount} on PostgreSQL", left, right,
                    position=self.position,
                )  # fmt: skip
        if "lastrowid" in left.read and "lastrowid" in right.read and left.lastrowid != right.lastrowid:
            yield Divergence(
                "rowcount", "medium",
                f"lastrowid is {left.lastrowid} on SQLite, {right.lastrowid} on PostgreSQL", left, right,
                position=self.position,
            )  # fmt: skip

    # --------------------------------------------------------------------------------------------- results

    def _results(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        columns = left.columns or right.columns or ()
        if (left.columns is None) != (right.columns is None):
            if not left.rows and not right.rows:
                return  # sqlite3 describes what ALTER TABLE gives, which is nothing
            side = "SQLite" if right.columns is None else "PostgreSQL"
            yield self._divergence("rows", "high", f"only {side} returns a result", left, right)
            return
        if left.columns != right.columns:
            yield from self._columns(left, right)
        if left.digest is not None or right.digest is not None:
            if left.digest == right.digest:
                return
        elif left.rows is right.rows or (left.rows == right.rows and _types_agree(left.rows, right.rows)):
            return
        ignored = frozenset(
            index for index, name in enumerate(columns) if name.lower() in self.context.ignore
        )
        first, second = left.values, right.values
        outcome = self._compare_rows(first, second, columns, ignored)
        if outcome is None:
            yield from self._types(first, second, columns, ignored, left, right)
        elif outcome == "order":
            yield from self._order(first, second, left, right)
            yield from self._types(first, second, columns, ignored, left, right)
        else:
            yield from self._rows(outcome, left, right)

    def _divergence(
        self, kind: Kind, severity: Severity, message: str, left: Statement, right: Statement,
        difference: Difference | None = None,
    ) -> Divergence:  # fmt: skip
        return Divergence(kind, severity, message, left, right, None, self.position, difference)

    def _columns(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        names = left.columns or (), right.columns or ()
        if len(names[0]) != len(names[1]):
            message = f"{len(names[0])} columns on SQLite, {len(names[1])} on PostgreSQL"
            yield self._divergence("columns", "high", message, left, right)
            return
        if not (left.named or right.named):
            return
        message = ", ".join(f"{a} / {b}" for a, b in zip(*names, strict=True) if a != b)
        mapping = "mapping" in (left.named, right.named)
        yield self._divergence(
            "columns", "medium" if mapping else "low", f"column names differ: {message}", left, right
        )

    def _compare_rows(
        self, first: Sequence[Row], second: Sequence[Row], columns: Sequence[str], ignored: frozenset[int]
    ) -> Difference | Literal["order"] | None:
        """Return None for the same rows, "order" for the same rows in another order, else the difference."""
        if len(first) == len(second):
            mark = self.equality.mark()
            if all(self._same_row(a, b, columns, ignored) for a, b in zip(first, second, strict=True)):
                return None
            self.equality.forget(mark)
        only_first, only_second, both = self._unmatched(first, second, columns, ignored)
        if not only_first and not only_second:
            return "order"
        return Difference(
            tuple(columns), tuple(only_first[:MAX_SHOWN]), tuple(only_second[:MAX_SHOWN]), both,
            self._differing(only_first, only_second, columns, ignored),
        )  # fmt: skip

    def _same_row(self, one: Row, other: Row, columns: Sequence[str], ignored: frozenset[int]) -> bool:
        if len(one) != len(other):
            return False
        mark = self.equality.mark()
        for index, (a, b) in enumerate(zip(one, other, strict=True)):
            if index in ignored or self.equality.same(a, b, columns[index] if index < len(columns) else ""):
                continue
            self.equality.forget(mark)
            return False
        return True

    def _unmatched(
        self, first: Sequence[Row], second: Sequence[Row], columns: Sequence[str], ignored: frozenset[int]
    ) -> tuple[list[Row], list[Row], int]:
        """Return the rows of each side without a partner, by key first, then one by one."""

        def key(row: Row) -> tuple[Any, ...]:
            return tuple(None if i in ignored else loose_key(value) for i, value in enumerate(row))

        # keys are looser than values: text that reads as the same moment or document still has to be the same
        groups: dict[tuple[Any, ...], list[int]] = {}
        for index in range(len(second) - 1, -1, -1):
            groups.setdefault(key(second[index]), []).append(index)
        left: list[Row] = []
        taken: set[int] = set()
        for row in first:
            group = groups.get(key(row), [])
            for position in range(len(group) - 1, -1, -1):
                if self._same_row(row, second[group[position]], columns, ignored):
                    taken.add(group.pop(position))
                    break
            else:
                left.append(row)
        right = [row for index, row in enumerate(second) if index not in taken]
        if left and right and len(left) <= MAX_PAIRWISE and len(right) <= MAX_PAIRWISE:
            remaining = []
            for row in left:
                partner = next((r for r in right if self._same_row(row, r, columns, ignored)), None)
                if partner is None:
                    remaining.append(row)
                else:
                    right.remove(partner)
            left = remaining
        return left, right, len(first) - len(left)

    def _differing(
        self, first: Sequence[Row], second: Sequence[Row], columns: Sequence[str], ignored: frozenset[int]
    ) -> tuple[str, ...]:
        """Return the columns in which rows of the same place differ; all of them where counts differ."""
        if len(first) != len(second) or not first:
            return ()
        width = min(len(columns), *(len(row) for row in (*first, *second)))
        return tuple(
            columns[index]
            for index in range(width)
            if index not in ignored
            and any(
                not self.equality.same(a[index], b[index], columns[index])
                for a, b in zip(first, second, strict=True)
            )
        )

    def _types(
        self, first: Sequence[Row], second: Sequence[Row], columns: Sequence[str], ignored: frozenset[int],
        left: Statement, right: Statement,
    ) -> Iterator[Divergence]:  # fmt: skip
        """Yield one divergence for each column whose values are the same but of another Python type."""
        differing: dict[int, tuple[Any, Any]] = {}
        for one, other in zip(first, second, strict=False):
            for index, (a, b) in enumerate(zip(one, other, strict=False)):
                if index not in differing and index not in ignored and not same_type(a, b):
                    differing[index] = (a, b)
        for index, (a, b) in sorted(differing.items()):
            if left.via in _CONVERTERS and left.via == right.via and _representation(a, b):
                continue
            name = columns[index] if index < len(columns) else str(index)
            message = f"{name}: {_type_name(a)} / {_type_name(b)}"
            difference = Difference((name,), ((a,),), ((b,),), 0, (name,))
            yield self._divergence("type", "low", f"Python types differ: {message}", left, right, difference)

    def _order(
        self, first: Sequence[Row], second: Sequence[Row], left: Statement, right: Statement
    ) -> Iterator[Divergence]:
        arranged = syntax.shape(right.sql, "postgres", right.columns or ())
        difference = Difference(
            right.columns or (), tuple(first[:MAX_SHOWN]), tuple(second[:MAX_SHOWN]), len(first)
        )
        if not arranged.ordered:
            message = "rows come in another order; the statement asks for none"
            yield self._divergence("order", "low", message, left, right, difference)
        elif self._arranged_by_chance(first, second, arranged):
            self.equality.normalised.add("order-of-run")
        elif arranged.keys and self._ties(first, second, arranged.keys):
            message = "rows with equal sort keys come in another order"
            yield self._divergence("order", "low", message, left, right, difference)
        else:
            yield self._divergence("order", "medium", "rows come in another order", left, right, difference)

    def _arranged_by_chance(
        self, first: Sequence[Row], second: Sequence[Row], arranged: syntax.Shape
    ) -> bool:
        """Return whether the rows are sorted by values that depend on the run: keys made at random, durations."""
        for key in arranged.keys:
            if key.name in self.equality.measured:
                return True
            if key.column is not None and any(
                key.column < min(len(a), len(b))
                and self.equality.depends_on_run(a[key.column], b[key.column])
                for a, b in zip(first, second, strict=False)
            ):
                return True
        return False

    def _ties(self, first: Sequence[Row], second: Sequence[Row], keys: Sequence[syntax.SortKey]) -> bool:
        """Return whether both sides show the same sequence of sort keys, so that only ties differ."""
        indexes = [key.column for key in keys]
        if any(index is None or index >= len(first[0]) for index in indexes):
            return False
        return all(
            self.equality.same(a[index], b[index])
            for a, b in zip(first, second, strict=True)
            for index in indexes
            if index is not None
        )

    def _rows(self, difference: Difference, left: Statement, right: Statement) -> Iterator[Divergence]:
        arranged = syntax.shape(right.sql, "postgres", right.columns or ())
        more = right.rowcount > len(right.rows) or arranged.limited
        cut = more and left.fetched != "none" and right.fetched != "none"
        if cut and len(left.rows) == len(right.rows) and self._other_records(difference):
            message = "other rows are first" + (
                "" if arranged.ordered else "; the statement asks for no order"
            )
            yield self._divergence("order", "medium", message, left, right, difference)
            return
        if self._of_the_run(difference, left, right, arranged):
            self.equality.normalised.add("made-of-run")
            return
        if self._generated_keys_only(difference, left, right):
            message = f"generated keys differ in {', '.join(difference.differing)}"
            found = self._divergence("rows", "low", message, left, right, difference)
            yield replace(found, note="generated-keys")
            return
        yield self._divergence(
            "rows", "high", _rows_message(difference, left, right), left, right, difference
        )

    def _of_the_run(
        self, difference: Difference, left: Statement, right: Statement, arranged: syntax.Shape
    ) -> bool:
        """Return whether what differs is made of values of the run: the first of random keys, a mean of durations."""
        if not difference.differing or len(left.rows) != len(right.rows):
            return False
        if arranged.limited and self._arranged_by_chance(left.values, right.values, arranged):
            return True
        for name in difference.differing:
            index = difference.columns.index(name)
            sources = syntax.sources(right.sql, "postgres", index)
            if sources & self.equality.measured:
                continue
            if not re.search(r"\b(?:min|max)\s*\(", right.sql, re.I) or not all(
                a[index] is not None
                and b[index] is not None
                and self.equality.depends_on_run(a[index], b[index])
                for a, b in zip(difference.only_sqlite, difference.only_postgres, strict=True)
            ):
                return False
        return True

    def _other_records(self, difference: Difference) -> bool:
        """Return whether the rows of each half are in the other's database too, only not first."""
        return self._known("postgres", difference.only_sqlite) and self._known(
            "sqlite", difference.only_postgres
        )

    def _known(self, backend: Backend, rows: Sequence[Row]) -> bool:
        known = self._contents(backend)
        return all(loose_key(value) in known for row in rows for value in row if value is not None)

    def _contents(self, backend: Backend) -> frozenset[Any]:
        tables = {**self.context.templates.get(backend, {}), **self.recordings[backend].state}
        return frozenset(loose_key(v) for table in tables.values() for row in table.rows for v in row)

    def _generated_keys_only(self, difference: Difference, left: Statement, right: Statement) -> bool:
        """Return whether the rows differ in generated keys alone, consistently in the whole test."""
        if not difference.differing or len(difference.only_sqlite) != len(difference.only_postgres):
            return False
        names = syntax.tables(left.sql) | syntax.tables(right.sql)
        if not all(self._is_generated(name, names) for name in difference.differing):
            return False
        return self._rename_keys(difference)

    def _is_generated(self, column: str, tables: frozenset[str]) -> bool:
        catalog = self.context.catalogs.get("postgres")
        if catalog is None:
            return False
        for name in tables:
            table = catalog.table(name)
            found = None if table is None else table.column(column)
            if table is not None and found is not None:
                references = any(column.lower() in map(str.lower, key.columns) for key in table.foreign_keys)
                return found.generated_key or references
        return False

    def _rename_keys(self, difference: Difference) -> bool:
        indexes = [difference.columns.index(name) for name in difference.differing]
        rows = (*difference.only_sqlite, *difference.only_postgres)
        if any(row[index] is None for row in rows for index in indexes):
            return False
        return all(
            self.equality.rename((difference.columns[i].lower(), a[i]), (difference.columns[i].lower(), b[i]))
            for a, b in zip(difference.only_sqlite, difference.only_postgres, strict=True)
            for i in indexes
        )

    # -------------------------------------------------------------------------------------- the other facts

    def _observed(self) -> Iterator[Divergence]:
        sides = [_by_occurrence(self.recordings[backend].observed) for backend in BACKENDS]
        for key in sides[0].keys() | sides[1].keys():
            if key in sides[0] and key in sides[1]:
                left, right = sides[0][key], sides[1][key]
                if self.equality.same(left, right, key[0]) or self.equality.same_measure(left, right):
                    if not same_type(left, right):
                        message = f"observed {key[0]!r}: {_type_name(left)} / {_type_name(right)}"
                        yield Divergence("type", "low", message, position=self.position)
                    continue
                difference = Difference((key[0],), ((left,),), ((right,),), 0, (key[0],))
                message = (
                    f"observed {key[0]!r} differs: {_short(left)} on SQLite, {_short(right)} on PostgreSQL"
                )
                yield self._observed_divergence(message, difference)
            elif not any(failed(recording) for recording in self.recordings.values()):
                side = "SQLite" if key in sides[0] else "PostgreSQL"
                yield self._observed_divergence(f"{key[0]!r} was observed on {side} only", None)

    def _observed_divergence(self, message: str, difference: Difference | None) -> Divergence:
        return Divergence("observed", "high", message, position=self.position, difference=difference)

    def _state(self) -> Iterator[Divergence]:
        states = {backend: self.recordings[backend].state for backend in BACKENDS}
        for name in sorted(states["sqlite"].keys() | states["postgres"].keys()):
            left, right = (self._table(backend, name) for backend in BACKENDS)
            if left is None or right is None:
                present = right if left is None else left
                if present is not None and (
                    present.rows or present.count > 0 or name not in self._expected()
                ):
                    side = "PostgreSQL" if left is None else "SQLite"
                    yield self._state_divergence(name, "high", f"table {name} exists on {side} only", None)
                continue
            yield from self._table_state(name, left, right)

    def _expected(self) -> frozenset[str]:
        return frozenset(
            name for catalog in self.context.template_catalogs.values() for name in catalog.tables
        )

    def _table(self, backend: Backend, name: str) -> TableState | None:
        """Return a table's contents after the half: its own record, or the template's if it was not touched."""
        own = self.recordings[backend].state.get(name)
        if own is not None:
            return own
        template = self.context.templates.get(backend, {}).get(name)
        if template is not None:
            return template
        catalog = self.recordings[backend].catalog or self.context.catalogs.get(backend)
        table = None if catalog is None else catalog.table(name)
        return None if table is None else TableState(tuple(c.name for c in table.columns), ())

    def _table_state(self, name: str, left: TableState, right: TableState) -> Iterator[Divergence]:
        if left == right and _types_agree(left.rows, right.rows):
            return
        if left.digest or right.digest:
            if (left.count, left.digest) != (right.count, right.digest) and left.count != right.count:
                message = f"{left.count} rows on SQLite, {right.count} on PostgreSQL"
                yield self._state_divergence(name, "high", f"table {name}: {message}", None)
            return
        names = [column.lower() for column in left.columns], [column.lower() for column in right.columns]
        shared = [column for column in names[0] if column in names[1] and column not in self.context.ignore]
        rows = [
            [tuple(row[index] for index in map(own.index, shared)) for row in table.rows]
            for own, table in zip(names, (left, right), strict=True)
        ]
        outcome = self._compare_rows(rows[0], rows[1], shared, frozenset())
        if outcome is None or outcome == "order":
            return
        if self._keys_only_in_state(name, outcome):
            message = f"generated keys differ in {', '.join(outcome.differing)}"
            found = self._state_divergence(name, "low", f"table {name}: {message}", outcome)
            yield replace(found, note="generated-keys")
            return
        yield self._state_divergence(
            name, "high", f"table {name}: {_state_message(outcome, left, right)}", outcome
        )

    def _keys_only_in_state(self, name: str, difference: Difference) -> bool:
        if not difference.differing or len(difference.only_sqlite) != len(difference.only_postgres):
            return False
        if not all(self._is_generated(column, frozenset({name})) for column in difference.differing):
            return False
        return not self._referenced_elsewhere(name, difference) and self._rename_keys(difference)

    def _referenced_elsewhere(self, name: str, difference: Difference) -> bool:
        """Return whether another table holds one of the two keys: a reference would then point elsewhere.

        References are often undeclared, so a column counts as one when it has the key's name.
        """
        sides: tuple[tuple[Backend, tuple[Row, ...]], ...] = (
            ("sqlite", difference.only_sqlite), ("postgres", difference.only_postgres),
        )  # fmt: skip
        for backend, rows in sides:
            for other, table in self.recordings[backend].state.items():
                lowered = [column.lower() for column in table.columns]
                for column in difference.differing:
                    keys = {loose_key(row[difference.columns.index(column)]) for row in rows}
                    for candidate in self._referring(other, name, column.lower()) & set(lowered):
                        held = {loose_key(row[lowered.index(candidate)]) for row in table.rows}
                        if held & keys and not self._reference_follows(candidate, other):
                            return True
        return False

    def _referring(self, other: str, name: str, column: str) -> set[str]:
        """Return the columns of another table that refer to a column, by declaration or by name."""
        if other == name:
            return set()
        found = {f"{name.removesuffix('s')}_{column}", f"{name}_{column}"}
        catalog = self.context.catalogs.get("postgres")
        table = None if catalog is None else catalog.table(other)
        if table is None:
            return found
        for key in table.foreign_keys:
            if key.table.lower() == name:
                found.update(own.lower() for own in key.columns)
        own_key = {key.lower() for key in table.primary_key}
        own = table.column(column)
        if own is not None and not own.generated_key and column not in own_key:
            found.add(column)
        return found

    def _reference_follows(self, column: str, table: str) -> bool:
        """Return whether the referencing column itself differs between the halves."""
        sides = []
        for backend in BACKENDS:
            state = self._table(backend, table)
            lowered = [] if state is None else [c.lower() for c in state.columns]
            if state is None or column not in lowered:
                return False
            sides.append(Counter(loose_key(row[lowered.index(column)]) for row in state.rows))
        return sides[0] != sides[1]

    def _state_divergence(
        self, table: str, severity: Severity, message: str, difference: Difference | None
    ) -> Divergence:
        writers = {backend: self._writer(backend, table) for backend in BACKENDS}
        note: Literal["", "cut-short"] = "cut-short" if table in self.missed else ""
        return Divergence(
            "state", severity, message, writers["sqlite"], writers["postgres"], table, self.position, difference,
            note=note,
        )  # fmt: skip

    def _writer(self, backend: Backend, table: str) -> Statement | None:
        """Return the last statement of the half that wrote the table, as far as its text tells."""
        found = (
            s for s in reversed(self.recordings[backend].statements) if table in syntax.written_tables(s.sql)
        )
        return next(found, None)

    def _outcome(self) -> Iterator[Divergence]:
        sqlite, postgres = self.recordings["sqlite"], self.recordings["postgres"]
        if failed(sqlite) == failed(postgres):
            return
        side = "PostgreSQL" if failed(postgres) else "SQLite"
        failure = (postgres if failed(postgres) else sqlite).failure
        detail = "" if failure is None else f": {failure.name}: {_first_line(failure.message)}"
        yield Divergence("outcome", "critical", f"fails on {side} only{detail}", position=self.position)


# --------------------------------------------------------------------------------------------------- wording


def _by_occurrence(observed: Sequence[tuple[str, Any]]) -> dict[tuple[str, int], Any]:
    counts: Counter[str] = Counter()
    found = {}
    for name, value in observed:
        found[name, counts[name]] = value
        counts[name] += 1
    return found


_KIN = (
    frozenset({"OperationalError", "ProgrammingError"}),
    frozenset({"OperationalError", "ProgrammingError", "NotSupportedError"}),
)


def _kin(left: Failure, right: Failure) -> bool:
    """Return whether the two classes are what the drivers call one thing (a missing table, bad syntax)."""
    return any({left.dbapi, right.dbapi} <= kin for kin in _KIN)


def _positional(statement: Statement) -> Any:
    """Return the parameters in the order of the statement's placeholders, those of each set for executemany."""
    if statement.kind == "executemany":
        return [_in_order(statement.sql, params) for params in statement.params or ()]
    return _in_order(statement.sql, statement.params)


def _in_order(sql: str, params: Any) -> Any:
    if not isinstance(params, Mapping):
        return params
    names = [first or second for first, second in _NAMED.findall(sql)]
    return (
        [params[name] for name in names]
        if names and all(name in params for name in names)
        else list(params.values())
    )


_NAMED = re.compile(r"%\((\w+)\)s|(?<!:):(\w+)")


def _sets(statement: Statement) -> list[Sequence[Any]]:
    """Return the sets of parameters of a statement, one but for executemany."""
    found = _positional(statement)
    sets = found if statement.kind == "executemany" else [found]
    return [one if isinstance(one, list | tuple) else [one] for one in sets]


_LOUD: frozenset[str] = frozenset({"rows", "rowcount", "order", "error", "statements", "columns"})


def _types_agree(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether equal rows have equal types too, looking at a sample of a large result.

    ``(1,) == (True,)`` holds, so equality alone does not tell.
    """
    if first is second or not first:
        return True
    step = max(1, len(first) // 200)
    for index in range(0, len(first), step):
        one, other = first[index], second[index]
        if isinstance(one, Mapping):
            one, other = one.values(), other.values()
        if list(map(type, one)) != list(map(type, other)):
            return all(map(same_type, one, other))
    return True


_CONVERTERS = frozenset({"sqlalchemy", "django", "peewee", "pony"})
"""Libraries that turn what a driver gives into the types of their columns."""


def _representation(left: Any, right: Any) -> bool:
    """Return whether a column's type says that the two are to become one Python value."""
    pair = {type(left), type(right)}
    if pair <= {bool, int} or pair <= {float, Decimal} or pair <= {bytes, memoryview}:
        return True
    return str in pair and isinstance(
        right if type(left) is str else left, date | time | timedelta | UUID | dict | list
    )


def _type_name(value: Any) -> str:
    if hasattr(value, "tzinfo") and value.tzinfo is not None:
        return f"{type(value).__name__} with zone"
    return type(value).__name__


def _rows_message(difference: Difference, left: Statement, right: Statement) -> str:
    if len(left.rows) != len(right.rows):
        return f"{_count(len(left.rows), 'row')} on SQLite, {len(right.rows)} on PostgreSQL"
    if difference.differing:
        return f"values differ in {', '.join(difference.differing)}"
    return "rows differ"


def _state_message(difference: Difference, left: TableState, right: TableState) -> str:
    if len(left.rows) != len(right.rows):
        return f"{_count(len(left.rows), 'row')} on SQLite, {len(right.rows)} on PostgreSQL"
    if difference.differing:
        return f"stored values differ in {', '.join(difference.differing)}"
    return "stored rows differ"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


__all__ = [
    "SEVERITIES", "Context", "Difference", "Divergence", "Kind", "Severity", "align", "compare", "failed",
    "instant", "same_value",
]  # fmt: skip
