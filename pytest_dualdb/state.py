"""What the databases held at the end of the two halves: table by table, and the keys that rows refer by.

A part of the comparison of its own, because it asks nothing of statements but who wrote a table. It also
answers what the comparison of results has to know of the databases' contents.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import replace
from typing import Any, Literal

from pytest_dualdb import syntax
from pytest_dualdb.divergence import Context, Difference, Divergence, Row, Severity
from pytest_dualdb.encoding import kept
from pytest_dualdb.recording import BACKENDS, Backend, Catalog, Recording, Statement, TableState
from pytest_dualdb.rows import MAX_GATHERED, compare_rows, counted, types_agree
from pytest_dualdb.values import Equality, loose_key

KeyedRows = Mapping[Any, Mapping[str, str]]


class State:
    """The contents and the catalogs that belong to a pair of recordings."""

    def __init__(self, recordings: Mapping[Backend, Recording], context: Context, equality: Equality) -> None:
        self.recordings = recordings
        self.context = context
        self.equality = equality
        self._position = 0
        self._missed: frozenset[str] = frozenset()
        self._rows: dict[tuple[str, str], tuple[KeyedRows, KeyedRows]] = {}
        self._names: dict[str, set[tuple[str, str]]] | None = None
        """The generated keys by the names that a column gets which refers to them."""

    def compare(self, position: int, missed: frozenset[str]) -> Iterator[Divergence]:
        """Yield the tables that differ; ``missed`` are those that one half did not get to write."""
        self._position, self._missed = position, missed
        states = {backend: self.recordings[backend].state for backend in BACKENDS}
        names = states["sqlite"].keys() | states["postgres"].keys()
        # what is equal has no keys to learn, and is nearly everything
        apart = {name for name in names if self._table("sqlite", name) != self._table("postgres", name)}
        for name in (*sorted(names - apart), *self._referred_first(apart)):
            left, right = (self._table(backend, name) for backend in BACKENDS)
            if left is not None and right is not None and "changed" in (left.held, right.held):
                left, right = (
                    replace(state, rows=(), held="changed")
                    if name not in self.recordings[backend].state
                    else state
                    for backend, state in zip(BACKENDS, (left, right), strict=True)
                )
            if left is None or right is None:
                if name in self._cleared():
                    continue  # seen before its end on one side alone, where DDL is not held back by a transaction
                present = right if left is None else left
                if present is not None and (
                    present.rows or present.count > 0 or name not in self._expected()
                ):
                    side = "PostgreSQL" if left is None else "SQLite"
                    found = self._state_divergence(name, "high", f"table {name} exists on {side} only", None)
                    if left is None:
                        yield replace(found, postgres=self._definition("postgres", name) or found.postgres)
                    else:
                        yield replace(found, sqlite=self._definition("sqlite", name) or found.sqlite)
                continue
            yield from self._table_state(name, left, right)
        undone = [self.recordings[backend].undone for backend in BACKENDS]
        for name in self._referred_first(undone[0].keys() & undone[1].keys()):
            for divergence in self._table_state(name, undone[0][name], undone[1][name]):
                message = f"{divergence.message}, before it was rolled back"
                yield replace(divergence, message=message, undone=True)

    def _cleared(self) -> frozenset[str]:
        return self.recordings["sqlite"].cleared | self.recordings["postgres"].cleared

    def _referred_first(self, names: Set[str]) -> list[str]:
        """Return the names of tables with those before them that they refer to: keys are learnt where they are made."""
        if len(names) < 2:
            return list(names)
        catalog = self.context.catalogs.get("postgres") or Catalog()
        found: dict[str, None] = {}
        waiting = sorted(names, reverse=True)
        seen: set[str] = set()
        while waiting:
            name = waiting[-1]
            table = catalog.table(name)
            keys = itertools.chain.from_iterable(
                self._keys(column.name, frozenset({name})) for column in (table.columns if table else ())
            )
            referred = {other for other, _ in keys} - {name}
            before = sorted((referred & names) - seen - found.keys()) if name not in seen else []
            seen.add(name)
            if before:
                waiting += before
            else:
                found[waiting.pop()] = None
        return list(found)

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
        if left == right and types_agree(left.rows, right.rows):
            return
        if not left.rows and not right.rows and left.held == right.held == "all":
            return
        if not left.held == right.held == "all" and (left.count != right.count or left.held != right.held):
            if left.count != right.count:
                message = f"{left.count} rows on SQLite, {right.count} on PostgreSQL"
                yield self._state_divergence(name, "high", f"table {name}: {message}", None)
            return
        names = [column.lower() for column in left.columns], [column.lower() for column in right.columns]
        shared = [column for column in names[0] if column in names[1] and column not in self.context.ignore]
        rows = [
            _picked(table, list(map(own.index, shared)))
            for own, table in zip(names, (left, right), strict=True)
        ]
        outcome = compare_rows(self.equality, rows[0], rows[1], shared, frozenset())
        if outcome is None or outcome == "order":
            return
        if self._dealt_out(name, shared, (left, right)):
            self.equality.normalised.add("order-of-run")
            return
        if self._keys_only_in_state(name, outcome):
            message = f"generated keys differ in {', '.join(outcome.differing)}"
            found = self._state_divergence(name, "low", f"table {name}: {message}", outcome)
            yield replace(found, note="generated-keys")
            return
        yield self._state_divergence(
            name, "high", f"table {name}: {_state_message(outcome, left, right)}", outcome
        )

    def _dealt_out(self, name: str, columns: Sequence[str], sides: tuple[TableState, TableState]) -> bool:
        """Return whether tasks or threads side by side inserted the same rows: who came first has the first key."""
        given = [column for column in columns if not self.is_generated(column, frozenset({name}))]
        if len(given) == len(columns) or not given:
            return False
        lanes = [
            {s.thread for s in self.recordings[backend].statements if name in syntax.written_tables(s.sql)}
            for backend in BACKENDS
        ]
        if max(map(len, lanes)) < 2:
            return False
        rows = [
            _picked(side, [[c.lower() for c in side.columns].index(one) for one in given]) for side in sides
        ]
        mark = self.equality.mark()
        if compare_rows(self.equality, rows[0], rows[1], given, frozenset()) in (None, "order"):
            return True
        self.equality.forget(mark)
        return False

    def _keys_only_in_state(self, name: str, difference: Difference) -> bool:
        if not difference.differing or len(difference.only_sqlite) != len(difference.only_postgres):
            return False
        if not all(self.is_generated(column, frozenset({name})) for column in difference.differing):
            return False
        steady = self._steady(name, difference)
        return not self._referenced_elsewhere(name, difference) and self.rename_keys(
            difference, frozenset({name}), steady
        )

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
        found = _reference_names(name, column)
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
        apart = None if difference is None else len({*difference.totals}) > 1
        parents = frozenset() if apart is False else self._parents(table)
        writers = {backend: self._writer(backend, table, parents) for backend in BACKENDS}
        if table in self._cleared():
            message += ", before the test cleared it"
        note: Literal["", "cut-short"] = "cut-short" if table in self._missed else ""
        return Divergence(
            "state", severity, message, writers["sqlite"], writers["postgres"], table, self._position,
            None if difference is None else difference.cut(), note=note,
        )  # fmt: skip

    def _writer(self, backend: Backend, table: str, parents: frozenset[str]) -> Statement | None:
        """Return the last statement of the half that wrote the table, as far as its text tells.

        One that removes rows of ``parents`` may remove the table's as well. What cleans up is none of them.
        """
        cleared = self.recordings[backend].cleared
        for statement in reversed(self.recordings[backend].statements):
            written = syntax.written_tables(statement.sql)
            if written & cleared and _CLEANS.match(statement.sql):
                continue
            if table in written or (written & parents and _REMOVES.match(statement.sql)):
                return statement
        return None

    def _definition(self, backend: Backend, table: str) -> Statement | None:
        """Return the statement of the half that made the table, None if the half found it there."""
        for statement in self.recordings[backend].statements:
            if statement.error is None and table in syntax.defined_tables(statement.sql):
                return statement
        return None

    def _parents(self, table: str) -> frozenset[str]:
        """Return the tables whose rows take rows of the table with them when they are deleted."""
        catalog = self.context.catalogs.get("postgres")
        own = None if catalog is None else catalog.table(table)
        keys = () if own is None else own.foreign_keys
        return frozenset(key.table.lower() for key in keys if key.on_delete == "CASCADE")

    def holds(self, backend: Backend, rows: Sequence[Row]) -> bool:
        """Return whether each value of the rows is somewhere in the backend's database."""
        wanted = {loose_key(value) for row in rows for value in row if value is not None}
        tables = {**self.context.templates.get(backend, {}), **self.recordings[backend].state}
        for table in tables.values():
            for row in table.rows:
                if not wanted:
                    return True
                wanted.difference_update(map(loose_key, row))
        return not wanted

    def is_generated(self, column: str, tables: frozenset[str]) -> bool:
        """Return whether a column of one of the tables holds keys that the database made."""
        return bool(self._keys(column, tables))

    def _keys(self, column: str, tables: frozenset[str]) -> set[tuple[str, str]]:
        """Return the keys that a column of that name holds, as table and column: its own, or those it refers to."""
        found: set[tuple[str, str]] = set()
        catalog = self.context.catalogs.get("postgres")
        for name in tables if catalog is not None else ():
            assert catalog is not None
            table = catalog.table(name)
            own = None if table is None else table.column(column)
            if table is None or own is None:
                continue
            references = [key for key in table.foreign_keys if column.lower() in map(str.lower, key.columns)]
            for key in references:
                place = [one.lower() for one in key.columns].index(column.lower())
                other = catalog.table(key.table)
                referred = key.references or (() if other is None else other.primary_key)
                if place < len(referred):
                    found.add((key.table.lower(), referred[place].lower()))
            if own.generated_key and not references:
                found.add((name, column.lower()))
            elif not references:
                found |= self._named_after(column)
        return found

    def _named_after(self, column: str) -> set[tuple[str, str]]:
        """Return the generated key that a column refers to by its name alone: ``user_id`` to the id of users.

        References are often undeclared. A name that could mean two tables means none.
        """
        if self._names is None:
            self._names = {}
            catalog = self.context.catalogs.get("postgres") or Catalog()
            for name, table in catalog.tables.items():
                for key in table.primary_key:
                    if (own := table.column(key)) is not None and own.generated_key:
                        for called in _reference_names(name, key.lower()):
                            self._names.setdefault(called, set()).add((name, key.lower()))
        found = self._names.get(column.lower(), set())
        return found if len(found) == 1 else set()

    def means_other_rows(self, difference: Difference, tables: frozenset[str]) -> bool:
        """Return whether keys that differ are those of two rows, not of one row that has another key."""
        for name in difference.differing:
            index = difference.columns.index(name)
            keys = self._keys(name, tables)
            for a, b in zip(difference.only_sqlite, difference.only_postgres, strict=True):
                if keys and all(self._are_other_rows(key, a[index], b[index]) for key in keys):
                    return True
        return False

    def _are_other_rows(self, key: tuple[str, str], sqlite: Any, postgres: Any) -> bool:
        if key not in self._rows:
            sides = (self._table(backend, key[0]) for backend in BACKENDS)
            left, right = ({} if side is None else rows_by_key(side, key[1]) for side in sides)
            self._rows[key] = left, right
        left, right = self._rows[key]
        return are_other_rows(left, right, sqlite, postgres)

    def rename_keys(
        self, difference: Difference, tables: frozenset[str], steady: Mapping[tuple[str, str], frozenset[Any]]
    ) -> bool:
        """Learn which key stands for which in rows that differ in keys alone; False if one contradicts another.

        ``steady`` are keys of rows that both halves have under that key: they stand for themselves.
        """
        rows = (*difference.only_sqlite, *difference.only_postgres)
        for name in difference.differing:
            index = difference.columns.index(name)
            if any(row[index] is None for row in rows):
                return False
            keys = self._keys(name, tables)
            key = next(iter(keys)) if len(keys) == 1 else ("", name.lower())
            own = steady.get(key, frozenset())
            for a, b in zip(difference.only_sqlite, difference.only_postgres, strict=True):
                if a[index] != b[index] and (loose_key(a[index]) in own or loose_key(b[index]) in own):
                    return False
                if not self.equality.rename_key(key, a[index], b[index]):
                    return False
        return True

    def _steady(self, name: str, difference: Difference) -> dict[tuple[str, str], frozenset[Any]]:
        """Return of the keys that a table refers to those that name the same row in both halves."""
        found = {}
        for column in difference.differing:
            for table, key in self._keys(column, frozenset({name})) - {(name, column.lower())}:
                sides = [self._table(backend, table) for backend in BACKENDS]
                rows = [_by_key(side, key) for side in sides if side is not None]
                if len(rows) == 2:
                    names = sides[0].columns if sides[0] is not None else ()
                    mark = self.equality.mark()
                    found[table, key] = frozenset(
                        value
                        for value, one in rows[0].items()
                        if (other := rows[1].get(value)) is not None
                        and len(one) == len(other) == len(names)
                        and all(map(self.equality.same, one, other, names))
                    )
                    self.equality.forget(mark)
        return found


_CLEANS = re.compile(r"\s*(?:DROP|TRUNCATE|DELETE\s+FROM\s+\S+\s*;?\s*$)", re.I)
_REMOVES = re.compile(r"\s*(?:DELETE|REPLACE|INSERT\s+OR\s+REPLACE|UPDATE\s+OR\s+REPLACE)\b", re.I)


def _reference_names(table: str, key: str) -> set[str]:
    """Return the names that a column gets which refers to that key of that table."""
    return {f"{table.removesuffix('s')}_{key}", f"{table}_{key}"}


def _by_key(table: TableState, column: str) -> dict[Any, Row]:
    names = [name.lower() for name in table.columns]
    if column not in names:
        return {}
    return {loose_key(row[names.index(column)]): row for row in table.rows[:MAX_GATHERED]}


def rows_by_key(table: TableState, column: str) -> KeyedRows:
    """Return the rows of a table by `loose_key` of that column, each as texts by the names of the other columns."""
    names = [name.lower() for name in table.columns]
    return {
        key: {name: _as_text(value) for name, value in zip(names, row, strict=True) if name != column}
        for key, row in _by_key(table, column).items()
    }


def _as_text(value: Any) -> str:
    """Return a text that is equal for the same value, also for 9 and '9'."""
    key = loose_key(value)
    return str(key[1]) if isinstance(key, tuple) else str(key)


def are_other_rows(left: KeyedRows, right: KeyedRows, sqlite: Any, postgres: Any) -> bool:
    """Return whether two keys that differ belong to two rows: one of them has its own row in the other half, too.

    That is so where a row is more like the one under its own key than like the one that is to be the same row.
    """
    first, second = loose_key(sqlite), loose_key(postgres)
    if first == second or first not in left or second not in right:
        return False
    own = max(_likeness(left[first], right.get(first, {})), _likeness(left.get(second, {}), right[second]))
    return own > _likeness(left[first], right[second])


def _likeness(one: Mapping[str, str], other: Mapping[str, str]) -> int:
    """Return how many columns of two rows hold the same value."""
    return sum(other.get(name) == value for name, value in one.items())


def _picked(table: TableState, indexes: Sequence[int]) -> Sequence[Row]:
    """Return some columns of a table's rows."""
    if indexes == list(range(len(table.columns))):
        return table.rows
    return kept((tuple(row[index] for index in indexes) for row in table.rows), MAX_GATHERED)


def _state_message(difference: Difference, left: TableState, right: TableState) -> str:
    if len(left.rows) != len(right.rows):
        noun = "row" if left.held == "all" else "changed row"
        return f"{counted(len(left.rows), noun)} on SQLite, {len(right.rows)} on PostgreSQL"
    if difference.differing:
        return f"stored values differ in {', '.join(difference.differing)}"
    return "stored rows differ"
