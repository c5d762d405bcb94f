"""Why a row in conflict ends otherwise: SQLite's OR clauses against ON CONFLICT, NULLs in a unique key."""

from __future__ import annotations

import re
from collections.abc import Iterator

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.constraints import violation
from pytest_dualdb.rules.ddl import ERROR, has

_REPLACES = r"\b(INSERT|UPDATE)\s+OR\s+REPLACE\b|(^|;|\))\s*REPLACE\s+INTO\b"
_IGNORES = r"\b(INSERT|UPDATE)\s+OR\s+IGNORE\b"
_STOCK = (
    "CREATE TABLE stock (code TEXT PRIMARY KEY, n INTEGER, seen INTEGER DEFAULT 0);"
    " INSERT INTO stock VALUES ('a', 1, 7);"
)
_PARTS = (
    "CREATE TABLE shelf (id INTEGER PRIMARY KEY, name TEXT);"
    " CREATE TABLE part (id INTEGER PRIMARY KEY, shelf INTEGER REFERENCES shelf (id) ON DELETE {action});"
    " INSERT INTO shelf VALUES (1, 'top'); INSERT INTO part VALUES (5, 1);"
)
_UPSERT = "INSERT INTO {0} ON CONFLICT ({1}) DO UPDATE SET {2} = excluded.{2}"


def _shelf(values: str) -> dict[str, str]:
    return {
        "sqlite": f"INSERT OR REPLACE INTO shelf (id, name) VALUES ({values})",
        "postgres": _UPSERT.format(f"shelf (id, name) VALUES ({values})", "id", "name"),
    }


class ReplaceOrUpdate(Rule):
    """INSERT OR REPLACE on SQLite where PostgreSQL has ON CONFLICT DO UPDATE.

    What differs:
        Columns that the statement does not name are back at their defaults on SQLite, a generated key is a new
        one, and rows of other tables that refer to the row are gone (ON DELETE CASCADE) or cut off (SET
        NULL). Where the new row is in conflict with two old ones, SQLite removes both and PostgreSQL fails
        (23505).
    Why:
        REPLACE deletes what is in conflict and inserts a new row; DO UPDATE changes the row that is there.
    Instead:
        DO UPDATE on both, which SQLite has since 3.24:
        ``INSERT INTO stock (code, n) VALUES ('a', 2) ON CONFLICT (code) DO UPDATE SET n = excluded.n``.
    References:
        https://www.sqlite.org/lang_conflict.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "replace-or-update"
    title = "OR REPLACE deletes the row that ON CONFLICT DO UPDATE changes"
    instead = "INSERT ... ON CONFLICT (key) DO UPDATE SET ... on both"
    kinds = frozenset({"error", "outcome", "rows", "state"})
    notes = frozenset({"generated-keys"})
    priority = 14
    specimens = (
        Specimen(
            [
                {
                    "sqlite": "INSERT OR REPLACE INTO stock (code, n) VALUES ('a', 2)",
                    "postgres": _UPSERT.format("stock (code, n) VALUES ('a', 2)", "code", "n"),
                },
                "SELECT seen FROM stock",
                "COMMIT",
            ],
            _STOCK,
        ),
        *(
            Specimen(
                [{"sqlite": "PRAGMA foreign_keys = ON"}, _shelf("1, 'low'"), "COMMIT"],
                _PARTS.format(action=action),
            )
            for action in ("CASCADE", "SET NULL")
        ),
        Specimen(
            [
                {
                    "sqlite": "REPLACE INTO pair (a, b) VALUES (1, 2)",
                    "postgres": _UPSERT.format("pair (a, b) VALUES (1, 2)", "a", "b"),
                },
                "ROLLBACK",
            ],
            "CREATE TABLE pair (a INTEGER UNIQUE, b INTEGER UNIQUE); INSERT INTO pair VALUES (1, 1), (2, 2);",
        ),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "INSERT OR REPLACE INTO stock (code, n, seen) VALUES ('a', 2, 8)",
                    "postgres": "INSERT INTO stock (code, n, seen) VALUES ('a', 2, 8)"
                    " ON CONFLICT (code) DO UPDATE SET n = excluded.n, seen = excluded.seen",
                },
                "COMMIT",
            ],
            _STOCK,
        ),
        Specimen([_shelf("1, 'low'"), "COMMIT"], _PARTS.format(action="CASCADE")),
        Specimen(
            [
                {
                    "sqlite": "INSERT OR REPLACE INTO shelf (id, name) VALUES (1, 'low')",
                    "postgres": _UPSERT.format("shelf (id, name) VALUES (1, 'mid')", "id", "name"),
                },
                "COMMIT",
            ],
            _PARTS.format(action="CASCADE"),
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind in ("error", "outcome"):
            return violation(evidence.raised("postgres")) in ("unique", "null") and has(
                evidence.sql("sqlite"), _REPLACES
            )
        named = evidence.divergence.table
        replaced = dict(self._replaced(evidence))
        if not replaced:
            return False
        asked = {named} if named else syntax.tables(evidence.text)
        if any(self._untouched(evidence, replaced[table]) for table in asked & replaced.keys()):
            return True
        return any(self._cascaded(evidence, table, frozenset(replaced)) for table in asked if table)

    def _replaced(self, evidence: Evidence) -> Iterator[tuple[str, frozenset[str]]]:
        """Yield the tables that SQLite replaces rows of, with the columns that PostgreSQL sets there."""
        from sqlglot import expressions as exp

        halves = {
            backend: evidence.recordings[backend].statements
            if evidence.kind == "state"
            else evidence.before(backend)
            for backend in BACKENDS
        }
        tables = {
            table for s in halves["sqlite"] if has(s.sql, _REPLACES) for table in syntax.written_tables(s.sql)
        }
        for statement in halves["postgres"]:
            for table in tables & syntax.written_tables(statement.sql):
                if not has(statement.sql, r"\bDO\s+UPDATE\b"):
                    continue
                for tree in syntax.parse(statement.sql, "postgres"):
                    conflict = tree.args.get("conflict")
                    sets = () if conflict is None else conflict.expressions
                    yield (
                        table,
                        frozenset(
                            column.name.lower() for one in sets for column in one.this.find_all(exp.Column)
                        ),
                    )

    def _untouched(self, evidence: Evidence, written: frozenset[str]) -> bool:
        difference = evidence.divergence.difference
        if difference is None:
            return False
        # a rule for one row's columns; where the table's own number of rows differs something else happened
        same = difference.totals[0] == difference.totals[1]
        columns = {column.lower() for column in difference.differing or difference.columns}
        return same and bool(columns - written)

    def _cascaded(self, evidence: Evidence, table: str, replaced: frozenset[str]) -> bool:
        difference = evidence.divergence.difference
        catalog = evidence.catalogs.get("sqlite")
        own = None if catalog is None else catalog.table(table)
        if own is None or difference is None:
            return False
        for key in own.foreign_keys:
            if key.table.lower() not in replaced:
                continue
            if key.on_delete == "CASCADE" and difference.totals[0] < difference.totals[1]:
                return True
            if key.on_delete.startswith("SET") and {c.lower() for c in key.columns} & {
                c.lower() for c in difference.differing
            }:
                return True
        return False


class IgnoreOrNothing(Rule):
    """INSERT OR IGNORE on SQLite where PostgreSQL has ON CONFLICT DO NOTHING.

    What differs:
        A row with NULL in a NOT NULL column, one that fails a CHECK, or one in conflict with another key than
        ON CONFLICT names is left out silently by SQLite; PostgreSQL fails (23502, 23514, 23505).
    Why:
        OR IGNORE covers NOT NULL, CHECK and every unique key. DO NOTHING covers unique keys, and only the one
        that it names if it names one.
    Instead:
        ``INSERT INTO stock (code, n) VALUES ('a', 2) ON CONFLICT DO NOTHING`` on both, and values that are
        checked before.
    References:
        https://www.sqlite.org/lang_conflict.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "ignore-or-nothing"
    title = "OR IGNORE leaves out rows that ON CONFLICT DO NOTHING fails on"
    instead = "INSERT ... ON CONFLICT DO NOTHING on both, and values checked before"
    kinds = ERROR
    priority = -1
    specimens = (
        *(
            Specimen(
                [
                    {
                        "sqlite": f"INSERT OR IGNORE INTO badge (a, b) VALUES {values}",
                        "postgres": f"INSERT INTO badge (a, b) VALUES {values} ON CONFLICT {target} DO NOTHING",
                    },
                    "ROLLBACK",
                ],
                "CREATE TABLE badge (a INTEGER UNIQUE NOT NULL CHECK (a > 0), b INTEGER UNIQUE);"
                " INSERT INTO badge VALUES (1, 1);",
            )
            for values, target in (("(NULL, 2)", ""), ("(-1, 2)", ""), ("(2, 1)", "(a)"))
        ),
        Specimen(
            [
                {"sqlite": "UPDATE OR IGNORE badge SET b = 1", "postgres": "UPDATE badge SET b = 1"},
                "ROLLBACK",
            ],
            "CREATE TABLE badge (a INTEGER, b INTEGER UNIQUE); INSERT INTO badge VALUES (1, 1), (2, 2);",
        ),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "INSERT OR IGNORE INTO stock (code, n) VALUES ('a', 2)",
                    "postgres": "INSERT INTO stock (code, n) VALUES ('a', 2) ON CONFLICT DO NOTHING",
                },
                "COMMIT",
            ],
            _STOCK,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.raised("sqlite") is not None or not has(evidence.sql("sqlite"), _IGNORES):
            return False
        return violation(evidence.raised("postgres")) in ("null", "check", "unique")


class NullsNotDistinct(Rule):
    """NULLs in a unique key that counts them as equal.

    What differs:
        The second row with NULL is stored by SQLite; PostgreSQL refuses it (23505).
    Why:
        NULLS NOT DISTINCT is PostgreSQL's own (since 15). Without these words NULLs are never equal to each
        other in a unique key, on both.
    Instead:
        A value in place of NULL, or UNIQUE without the words: ``CREATE TABLE badge (code TEXT UNIQUE)``.
    References:
        https://www.sqlite.org/lang_createtable.html#unique_constraints
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-UNIQUE-CONSTRAINTS
    """

    name = "nulls-not-distinct"
    title = "UNIQUE NULLS NOT DISTINCT, which SQLite does not have"
    instead = "a value in place of NULL, or UNIQUE without NULLS NOT DISTINCT"
    kinds = ERROR
    priority = -1
    specimens = (
        Specimen(
            ["INSERT INTO badge VALUES (1, NULL), (1, NULL)", "ROLLBACK"],
            {
                "sqlite": "CREATE TABLE badge (a INTEGER, b TEXT, UNIQUE (a, b))",
                "postgres": "CREATE TABLE badge (a INTEGER, b TEXT, UNIQUE NULLS NOT DISTINCT (a, b))",
            },
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO badge VALUES (1, NULL), (1, NULL)", "COMMIT"],
            "CREATE TABLE badge (a INTEGER, b TEXT, UNIQUE (a, b))",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or violation(failure) != "unique":
            return False
        found = re.search(r"\(.+?\)=\((.+)\)", failure.message)
        return found is not None and "null" in found[1].split(", ")


class ComputedColumn(Rule):
    """A column that only one of the two schemas computes.

    What differs:
        The column has the computed value on one backend; on the other it has what was written, or NULL. A
        value that is written to it is refused where it is computed.
    Why:
        The two schemas differ: GENERATED ALWAYS AS (...) stands in one of them.
    Instead:
        The same in both schemas: ``CREATE TABLE crate (a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED)``.
    References:
        https://www.sqlite.org/gencol.html
        https://www.postgresql.org/docs/current/ddl-generated-columns.html
    """

    name = "computed-column"
    title = "column that only one of the two schemas computes"
    instead = "GENERATED ALWAYS AS (...) STORED in both schemas"
    kinds = frozenset({"error", "outcome", "rows", "state"})
    notes = frozenset({"generated-keys"})
    priority = 8
    _PLAIN = "CREATE TABLE crate (a INTEGER, b INTEGER)"
    _COMPUTED = "CREATE TABLE crate (a INTEGER, b INTEGER GENERATED ALWAYS AS (a * 2) STORED)"
    specimens = (
        *(
            Specimen([insert, "SELECT b FROM crate", "COMMIT"], {"sqlite": one, "postgres": other})
            for one, other in ((_PLAIN, _COMPUTED), (_COMPUTED, _PLAIN))
            for insert in ("INSERT INTO crate (a) VALUES (4)", "INSERT INTO crate (a, b) VALUES (4, 5)")
        ),
    )
    near_misses = (
        Specimen(["INSERT INTO crate (a) VALUES (4)", "SELECT b FROM crate", "COMMIT"], _COMPUTED),
        Specimen(["INSERT INTO crate (a, b) VALUES (4, 5)", "ROLLBACK"], _COMPUTED),
    )

    def matches(self, evidence: Evidence) -> bool:
        named = evidence.divergence.table
        tables = [named] if named else sorted(syntax.tables(evidence.text))
        if evidence.kind in ("error", "outcome"):
            return self._refused(evidence)
        difference = evidence.divergence.difference
        if difference is None:
            return False
        differing = difference.differing or difference.columns
        return any(self._one_sided(evidence, column, tables) for column in differing)

    def _one_sided(self, evidence: Evidence, column: str, tables: list[str]) -> bool:
        sides = [evidence.column(column, backend, tables) for backend in BACKENDS]
        return None not in sides and len({one.computed for one in sides if one is not None}) == 2

    def _refused(self, evidence: Evidence) -> bool:
        failures = {backend: evidence.raised(backend) for backend in BACKENDS}
        sqlite, postgres = failures["sqlite"], failures["postgres"]
        if sqlite is not None:
            return re.search(r"cannot (INSERT into|UPDATE) generated column", sqlite.message) is not None
        if postgres is None or postgres.sqlstate not in ("428C9", "42601"):
            return False
        written = syntax.written_tables(evidence.sql("postgres"))
        catalog = evidence.catalogs.get("postgres")
        described = [] if catalog is None else [catalog.table(name) for name in written]
        return any(
            column.computed and column.name.lower() in evidence.sql("postgres").lower()
            for table in described
            if table is not None
            for column in table.columns
        )
