"""Two recordings of one test -> the divergences between them.

Pure functions over recordings: no database, no pytest, no rule. `align` finds the statements that belong
together, `rows` compares what they gave, `state` what the databases held at the end; this module goes through
a pair in the order of what happened and says what each difference is.
"""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, datetime, time, timedelta, tzinfo
from decimal import Decimal
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pytest_dualdb import syntax
from pytest_dualdb.align import CONVERTERS, Pair, align, parameter_sets, statement_key
from pytest_dualdb.divergence import (
    MAX_SHOWN,
    SEVERITIES,
    Context,
    Difference,
    Divergence,
    Kind,
    Row,
    Severity,
)
from pytest_dualdb.encoding import Packed, kept
from pytest_dualdb.recording import BACKENDS, Backend, Failure, Recording, Statement
from pytest_dualdb.rows import MAX_GATHERED, compare_rows, counted, types_agree
from pytest_dualdb.state import State
from pytest_dualdb.values import Equality, instant, looks_random, loose_key, same_type, same_value

SLOWER = 10
"""How many times as long as on the other side a statement takes that is reported as slow."""
SLOWER_SECONDS = 1.0
"""And how many seconds more: a busy machine may stop a statement for a good part of one."""
MAX_ALIKE = 20
"""How often one line may fail in one way, or issue one statement too many, until the rest goes without saying."""


def compare(sqlite: Recording, postgres: Recording, context: Context | None = None) -> tuple[Divergence, ...]:
    """Return the divergences between the two halves of a test, in the order in which they happened."""
    comparison = _Comparison(sqlite, postgres, context or Context())
    return tuple(comparison.run())


def _in_short(statement: Statement | None) -> tuple[Any, ...]:
    """Return what makes a statement and its error alike to those of another round of a loop."""
    if statement is None:
        return ()
    error = statement.error
    return statement.site, statement.sql, None if error is None else (error.name, error.sqlstate)


def _clears(sql: str, cleared: frozenset[str]) -> bool:
    """Return whether a statement only empties or drops tables of those names, or asks about the schema."""
    if syntax.is_about_schema(sql):
        return True
    named = syntax.tables(sql)
    return bool(named) and syntax.family(sql) in ("DROP", "DELETE", "TRUNCATE") and named <= cleared


def failed(recording: Recording) -> bool:
    return recording.outcome in ("failed", "error")


# -------------------------------------------------------------------------------------------- the comparison


class _Comparison:
    """One run over a pair; holds what is learnt on the way."""

    def __init__(self, sqlite: Recording, postgres: Recording, context: Context) -> None:
        self.recordings: dict[Backend, Recording] = {"sqlite": sqlite, "postgres": postgres}
        self.context = context
        self.equality = Equality(
            (sqlite.window, postgres.window),
            context.same_value,
            _session_zone(postgres),
            functools.cache(self._shown),
        )
        self.state = State(self.recordings, context, self.equality)
        self.position = 0
        self.missed: frozenset[str] = frozenset()
        self.told: set[str] = set()
        """The kinds of what the application was told differently so far."""
        self.alike: Counter[Any] = Counter()

    def run(self) -> Iterator[Divergence]:
        sqlite, postgres = self.recordings["sqlite"], self.recordings["postgres"]
        yield from self._bypasses()
        pairs = align(sqlite.statements, postgres.statements)
        counts = (
            [Counter(map(statement_key, r.statements)) for r in (sqlite, postgres)] if len(pairs) > 1 else []
        )
        refused = self._refused_alike(pairs)
        for self.position, (left, right) in enumerate(pairs, start=1):
            if id(left or right) in refused:
                continue
            if any(one is not None and _takes_rows(one) for one in (left, right)):
                self.equality.forget_keys()
            if left is not None and right is not None:
                for divergence in self._pair(left, right):
                    self.told.add(divergence.kind)
                    if self._is_news(divergence):
                        yield divergence
            else:
                yield from filter(self._is_news, self._alone(left, right, counts))
        self.position = len(pairs) + 1
        self.missed = self._missed(pairs)
        yield from self._observed()
        self.position += 1
        yield from self.state.compare(self.position, self.missed)
        self.position += 1
        yield from self._outcome()

    def _is_news(self, divergence: Divergence) -> bool:
        """Return whether to report this: a loop, such as one that waits for a lock, fails alike thousands of times."""
        if divergence.kind not in ("error", "statements"):
            return True
        key = divergence.kind, *map(_in_short, (divergence.sqlite, divergence.postgres))
        self.alike[key] += 1
        return self.alike[key] <= MAX_ALIKE

    def _shown(self, side: int) -> frozenset[Any]:
        """Return the random-looking values that a half was given or saw, and those that it began with."""
        backend = BACKENDS[side]
        recording = self.recordings[backend]
        tables = (*self.context.templates.get(backend, {}).values(), *recording.state.values())
        results = (s.rows for s in recording.statements)
        values = itertools.chain(
            itertools.chain.from_iterable(
                row
                for rows in (*(t.rows for t in tables), *results)
                if not isinstance(rows, Packed)
                for row in rows
            ),
            itertools.chain.from_iterable(
                itertools.chain.from_iterable(map(parameter_sets, recording.statements))
            ),
        )
        return frozenset(loose_key(value) for value in values if looks_random(value))

    def _missed(self, pairs: Sequence[Pair]) -> frozenset[str]:
        """Return the tables that only one half wrote at the end, because the other had ended by then."""
        found: set[str] = set()
        sides = [failed(self.recordings[backend]) for backend in BACKENDS]
        if sides[0] == sides[1]:
            return frozenset()
        cleared = self.recordings["sqlite"].cleared | self.recordings["postgres"].cleared
        for pair in reversed(pairs):
            ended, went_on = pair if sides[0] else (pair[1], pair[0])
            if ended is not None and ended.error is None and ended.kind not in ("commit", "rollback"):
                # a fixture cleans up after a half that has ended, too
                if went_on is not None and _clears(ended.sql, cleared):
                    continue
                break
            if went_on is not None:
                found |= syntax.written_tables(went_on.sql) | syntax.defined_tables(went_on.sql)
        return frozenset(found)

    # ------------------------------------------------------------------------------------------ statements

    def _bypasses(self) -> Iterator[Divergence]:
        """Yield the statements of the PostgreSQL half that went to another database, one for each call site.

        Another database that the SQLite half reached from the same line is the application's own choice, not
        a bypass: the same one, or with the same statement one of another name, as a file in a temporary folder
        has. Nor is the end of a transaction on a connection that did nothing else: a pool of an earlier half
        gives its connections back when it is collected, whenever that is.
        """
        worked = {
            s.connection for s in self.recordings["postgres"].bypasses if s.kind not in ("commit", "rollback")
        }
        aside = self.recordings["sqlite"].bypasses
        usual = {(s.site, s.database) for s in aside} | {(s.site, statement_key(s)) for s in aside}
        seen: Counter[Any] = Counter()
        first: dict[Any, Statement] = {}
        for statement in self.recordings["postgres"].bypasses:
            own = {(statement.site, statement.database), (statement.site, statement_key(statement))}
            if statement.connection in worked and usual.isdisjoint(own):
                seen[statement.site] += 1
                first.setdefault(statement.site, statement)
        for site, statement in first.items():
            count = seen[site]
            noun = "statement" if count == 1 else "statements"
            where = statement.elsewhere("postgres", named=True)
            message = f"{count} {noun} of the PostgreSQL half went to {where}"
            yield Divergence("bypass", "critical", message, postgres=statement)

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
        if failed(self.recordings[other]):
            return  # what one half went on to do is no reason for the end of the other
        if statement.error is not None:
            # an earlier statement of the pipeline failed, and has been compared
            if statement.error.short_name != "PipelineAborted":
                yield self._error_divergence(left, right)
            return
        key = statement_key(statement)
        if not all(count[key] for count in counts):
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

    def _refused_alike(self, pairs: Sequence[Pair]) -> frozenset[int]:
        """Return the ids of statements that a constraint refuses in both halves, each in a module of its own.

        Where an application has a module for each database, no call site of one half is in the other.
        """
        paths = [{s.site.path for s in self.recordings[b].statements if s.site} for b in BACKENDS]
        waiting: dict[Any, list[Statement]] = {}
        found: set[int] = set()
        for side in (0, 1):
            for statement in (pair[side] for pair in pairs if pair[1 - side] is None):
                assert statement is not None
                error, site = statement.error, statement.site
                if (
                    error is None
                    or error.dbapi != "IntegrityError"
                    or not site
                    or site.path in paths[1 - side]
                ):
                    continue
                alike = waiting.setdefault(syntax.family(statement.sql), [])
                if side == 0:
                    alike.append(statement)
                elif alike:
                    found |= {id(alike.pop(0)), id(statement)}
        return frozenset(found)

    def _inserted(self, key: tuple[Any, ...], backend: Backend) -> int:
        """Return how many rows the statements of that key wrote."""
        return sum(s.rowcount for s in self.recordings[backend].statements if statement_key(s) == key)

    def _pair(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        if left.error is not None or right.error is not None:
            yield from self._errors(left, right)
            return
        self._learn(left, right)
        # what only one half fetched says nothing: the other failed before, or asks in another way
        if left.fetched != "none" and right.fetched != "none":
            yield from self._results(left, right)
        yield from self._counts(left, right)
        yield from self._time(left, right)

    def _time(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        """Yield a divergence for a statement that takes very much longer on one side.

        What a connection sends first pays for opening it and for cold caches.
        """
        slow, quick = max(left.seconds, right.seconds), min(left.seconds, right.seconds)
        if slow < quick * SLOWER or slow - quick < SLOWER_SECONDS:
            return
        slower: Backend = "sqlite" if left.seconds > right.seconds else "postgres"
        statement = left if slower == "sqlite" else right
        first = next(s for s in self.recordings[slower].statements if s.connection == statement.connection)
        if first is statement or statement.kind not in ("execute", "executemany"):
            return
        times = "" if quick < 0.001 else f", {slow / quick:.0f} times as long"
        message = f"takes {left.seconds:.3f} s on SQLite, {right.seconds:.3f} s on PostgreSQL{times}"
        yield self._divergence("time", "low", message, left, right)

    def _learn(self, left: Statement, right: Statement) -> None:
        """Learn from parameters that differ: what the halves say of their own accord depends on the run.

        Until they have been told different things they can't but have it from the run. Later a text may come
        of what they were told (of 2.50 and 2.5), so that only what looks like one of the run is learnt.
        """
        if left.params == right.params:
            return
        sets = [parameter_sets(statement) for statement in (left, right)]
        for first, second in itertools.islice(zip(*sets, strict=False), MAX_SHOWN):
            self.equality.learn_clock(first, second)
        if list(map(len, sets[0])) != list(map(len, sets[1])):
            self.equality.learn_clock(*(list(itertools.chain.from_iterable(side)) for side in sets))
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
                column = self._written_columns(left.sql)[index : index + 1]
                if column and column[0] and not self._is_key(column[0]):
                    self.equality.learn_for(column[0], one, other)

    def _written_columns(self, sql: str) -> tuple[str, ...]:
        """Return for each placeholder of SQLite's statement the column that it is written to, or an empty text."""
        catalog = self.context.catalogs.get("sqlite")
        written = [] if catalog is None else [catalog.table(name) for name in syntax.written_tables(sql)]
        columns = written[0].columns if len(written) == 1 and written[0] is not None else ()
        names = tuple(column.name for column in columns if not column.computed)
        return syntax.parameter_columns(sql, "sqlite", names)

    def _is_key(self, column: str) -> bool:
        """Return whether a column of that name is a key somewhere: numbers in it come from the database."""
        if column.lower() == "id" or column.lower().endswith(("_id", "key")):
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
            writes = syntax.verb(left.sql) in syntax.WRITES
            returned = left.columns is not None and right.columns is not None
            untold = returned or min(left.rowcount, right.rowcount) < 0
            if writes and untold and left.via in CONVERTERS and right.via in CONVERTERS:
                return  # it looks at every count, also where a driver tells none
            writes = writes and left.columns is None and right.columns is None
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
        if "mapping" in (left.named, right.named):
            left = _by_name(left)
            right = _arranged_as(left, _by_name(right))
        columns = left.columns or right.columns or ()
        if (left.columns is None) != (right.columns is None):
            if not left.rows and not right.rows:
                return  # sqlite3 describes what ALTER TABLE gives, which is nothing
            side = "SQLite" if right.columns is None else "PostgreSQL"
            yield self._divergence("rows", "high", f"only {side} returns a result", left, right)
            return
        if left.columns != right.columns:
            yield from self._columns(left, right)
            if len(left.columns or ()) != len(right.columns or ()):
                return  # then the rows differ as well
        if left.rows is right.rows or (left.rows == right.rows and types_agree(left.rows, right.rows)):
            return
        ignored = frozenset(
            index for index, name in enumerate(columns) if name.lower() in self.context.ignore
        )
        first, second = left.values, right.values
        outcome = compare_rows(self.equality, first, second, columns, ignored)
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
        return Divergence(
            kind,
            severity,
            message,
            left,
            right,
            None,
            self.position,
            None if difference is None else difference.cut(),
        )

    def _columns(self, left: Statement, right: Statement) -> Iterator[Divergence]:
        names = left.columns or (), right.columns or ()
        if len(names[0]) != len(names[1]):
            message = f"{len(names[0])} columns on SQLite, {len(names[1])} on PostgreSQL"
            # a model may need further columns on one backend, and makes one value of them
            fewer, more = sorted(({*map(str.lower, side)} for side in names), key=len)
            model = fewer < more and left.via in CONVERTERS and right.via in CONVERTERS
            yield self._divergence("columns", "low" if model else "high", message, left, right)
            return
        read = any("description" in side.read and side.via not in CONVERTERS for side in (left, right))
        mapping = "mapping" in (left.named, right.named)
        if not (mapping or read or (left.named and right.named)):
            return  # one can only be read by index, and the other can be, too
        message = ", ".join(f"{a} / {b}" for a, b in zip(*names, strict=True) if a != b)
        yield self._divergence(
            "columns", "medium" if mapping else "low", f"column names differ: {message}", left, right
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
            if left.via in CONVERTERS and left.via == right.via and _representation(a, b):
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
        elif arranged.keys and _ties(self.equality, first, second, arranged.keys):
            message = "rows with equal sort keys come in another order"
            yield self._divergence("order", "low", message, left, right, difference)
        else:
            yield self._divergence("order", "medium", "rows come in another order", left, right, difference)

    def _arranged_by_chance(
        self, first: Sequence[Row], second: Sequence[Row], arranged: syntax.Shape
    ) -> bool:
        """Return whether the rows are sorted by what depends on the run: random(), keys made at random, durations."""
        for key in arranged.keys:
            if key.random or key.name in self.equality.measured:
                return True
            if key.column is not None and any(
                key.column < min(len(a), len(b))
                and self.equality.depends_on_run(a[key.column], b[key.column])
                for a, b in zip(first, second, strict=False)
            ):
                return True
        return False

    def _rows(self, difference: Difference, left: Statement, right: Statement) -> Iterator[Divergence]:
        arranged = syntax.shape(right.sql, "postgres", right.columns or ())
        unknown = right.rowcount < 0 and right.fetched in ("one", "some")
        more = unknown or right.rowcount > len(right.rows) or arranged.limited
        cut = more and left.fetched != "none" and right.fetched != "none"
        if cut and len(left.rows) == len(right.rows) and self._other_records(difference):
            if any(key.random for key in arranged.keys):
                self.equality.normalised.add("order-of-run")
                return
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
        return self.state.holds("postgres", difference.only_sqlite) and self.state.holds(
            "sqlite", difference.only_postgres
        )

    def _generated_keys_only(self, difference: Difference, left: Statement, right: Statement) -> bool:
        """Return whether the rows differ in generated keys alone, consistently in the whole test."""
        if not difference.differing or len(difference.only_sqlite) != len(difference.only_postgres):
            return False
        names = syntax.tables(left.sql) | syntax.tables(right.sql)
        if not all(self.state.is_generated(name, names) for name in difference.differing):
            return False
        if self.state.means_other_rows(difference, names):
            return False
        return self.state.rename_keys(difference, names, {})

    # -------------------------------------------------------------------------------------- the other facts

    def _observed(self) -> Iterator[Divergence]:
        sides = [_by_occurrence(self.recordings[backend].observed) for backend in BACKENDS]
        for key in dict.fromkeys((*sides[0], *sides[1])):
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
                documents = _document(left), _document(right)
                same = None not in documents and self.equality.same(*documents, key[0])
                yield self._observed_divergence(message, difference, "low" if same else "high")
            elif not any(failed(recording) for recording in self.recordings.values()):
                side = "SQLite" if key in sides[0] else "PostgreSQL"
                yield self._observed_divergence(f"{key[0]!r} was observed on {side} only", None)

    def _observed_divergence(
        self, message: str, difference: Difference | None, severity: Severity = "high"
    ) -> Divergence:
        return Divergence("observed", severity, message, position=self.position, difference=difference)

    def _outcome(self) -> Iterator[Divergence]:
        sqlite, postgres = self.recordings["sqlite"], self.recordings["postgres"]
        if failed(sqlite) == failed(postgres):
            return
        side = "PostgreSQL" if failed(postgres) else "SQLite"
        failure = (postgres if failed(postgres) else sqlite).failure
        detail = "" if failure is None else f": {failure.name}: {_first_line(failure.message)}"
        yield Divergence(
            "outcome", "critical", f"fails on {side} only{detail}", position=self.position,
            failed_at=None if failure is None else failure.site,
        )  # fmt: skip


# --------------------------------------------------------------------------------------------------- wording


def _document(value: Any) -> Any:
    """Return what a text that is a JSON document holds, None for any other value."""
    if not isinstance(value, str) or value[:1] not in ("{", "["):
        return None
    try:
        return json.loads(value)
    except ValueError:
        return None


def _by_occurrence(observed: Sequence[tuple[str, Any]]) -> dict[tuple[str, int], Any]:
    counts: Counter[str] = Counter()
    found = {}
    for name, value in observed:
        found[name, counts[name]] = value
        counts[name] += 1
    return found


def _takes_rows(statement: Statement) -> bool:
    """Return whether a statement may undo or remove rows whose keys SQLite then gives again."""
    return statement.kind == "rollback" or syntax.family(statement.sql) in _TAKES_ROWS


_TAKES_ROWS = frozenset({"ROLLBACK", "DELETE", "TRUNCATE", "DROP"})
_KIN = (
    frozenset({"OperationalError", "ProgrammingError"}),
    frozenset({"OperationalError", "ProgrammingError", "NotSupportedError"}),
)


def _by_name(statement: Statement) -> Statement:
    """Return a statement with its rows as mappings show them: of columns with one name there is the last only."""
    names = statement.columns or ()
    last = {name: index for index, name in enumerate(names)}
    if len(last) == len(names):
        return statement
    rows = (
        tuple(row[index] for index in last.values()) if len(row) == len(names) else row
        for row in statement.values
    )
    return replace(statement, columns=tuple(last), rows=kept(rows, MAX_GATHERED))


def _arranged_as(left: Statement, right: Statement) -> Statement:
    """Return the right statement with its columns in the left one's order, if they have the same names."""
    names, own = left.columns or (), right.columns or ()
    if names == own or sorted(names) != sorted(own):
        return right
    indexes = list(map(own.index, names))
    rows = (tuple(row[i] for i in indexes) if len(row) == len(own) else row for row in right.values)
    return replace(right, columns=names, rows=kept(rows, MAX_GATHERED))


_SET_ZONE = re.compile(
    r"^\s*set\s+(?:session\s+|local\s+)?(?:time\s+zone\s+|timezone\s*(?:to|=)\s*)'([^']+)'", re.I
)


def _session_zone(recording: Recording) -> tzinfo | None:
    """Return the time zone of a half's sessions: the server's, or the last that the application set."""
    set_by = (found[1] for s in reversed(recording.statements) if (found := _SET_ZONE.match(s.sql)))
    name = next(set_by, recording.zone)
    try:
        return ZoneInfo(name) if name else None
    except (
        ValueError,
        OSError,
        ZoneInfoNotFoundError,
    ):  # a zone of PostgreSQL's own, or no database of zones
        return None


def _kin(left: Failure, right: Failure) -> bool:
    """Return whether the two classes are what the drivers call one thing (a missing table, bad syntax)."""
    return any({left.dbapi, right.dbapi} <= kin for kin in _KIN)


def _ties(
    equality: Equality, first: Sequence[Row], second: Sequence[Row], keys: Sequence[syntax.SortKey]
) -> bool:
    """Return whether both sides show the same sequence of sort keys, so that only ties differ."""
    indexes = [key.column for key in keys]
    if any(index is None or index >= len(first[0]) for index in indexes):
        return False
    return all(
        equality.same(a[index], b[index])
        for a, b in zip(first, second, strict=True)
        for index in indexes
        if index is not None
    )


_LOUD: frozenset[str] = frozenset({"rows", "rowcount", "order", "error", "statements", "columns"})


def _representation(left: Any, right: Any) -> bool:
    """Return whether a column's type says that the two are to become one Python value."""
    pair = {type(left), type(right)}
    if type(left) is int and isinstance(right, datetime | timedelta):
        return True  # microseconds, which SQL alone makes of nothing
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
        return f"{counted(len(left.rows), 'row')} on SQLite, {len(right.rows)} on PostgreSQL"
    if difference.differing:
        return f"values differ in {', '.join(difference.differing)}"
    return "rows differ"


def _first_line(text: str) -> str:
    return text.strip().splitlines()[0] if text.strip() else ""


def _short(value: Any, width: int = 60) -> str:
    text = repr(value)
    return text if len(text) <= width else text[: width - 3] + "..."


__all__ = [
    "SEVERITIES", "Context", "Difference", "Divergence", "Kind", "Severity", "align", "compare", "failed",
    "instant", "same_value",
]  # fmt: skip
