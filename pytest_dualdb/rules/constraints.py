"""Why keys, checks and defaults hold on one database only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Column, Failure, Table
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import OTHER, bare, said, values_at
from pytest_dualdb.values import loose_key

_VIOLATIONS = {
    "23505": "unique",
    "23P01": "unique",
    "23514": "check",
    "23502": "null",
    "23503": "foreign",
    "23001": "foreign",
}
_WORDS = {"UNIQUE": "unique", "CHECK": "check", "NOT NULL": "null", "FOREIGN KEY": "foreign"}


def violation(failure: Failure | None) -> str:
    """Return which kind of constraint an error reports: unique, check, null, foreign; else an empty text."""
    if failure is None:
        return ""
    if failure.sqlstate is not None:
        return _VIOLATIONS.get(failure.sqlstate, "")
    found = said(failure, r"^(UNIQUE|CHECK|NOT NULL|FOREIGN KEY) constraint failed")
    return _WORDS[found[1].upper()] if found else ""


def violated_columns(failure: Failure) -> tuple[str, ...]:
    """Return the lower-case columns that a unique or not-null error names, as far as it does."""
    found = re.search(r"constraint failed: (.+)", failure.message)
    if found:
        return tuple(part.strip().rpartition(".")[2].lower() for part in found[1].split(","))
    if "column" in failure.fields:
        return (failure.fields["column"].lower(),)
    found = re.search(r"\((.+?)\)=\(", failure.message)
    return tuple(part.strip().strip('"').lower() for part in found[1].split(",")) if found else ()


def violated_table(evidence: Evidence, backend: Backend, table: str = "") -> Table | None:
    """Return that backend's description of the table whose constraint was violated on either backend."""
    catalog = evidence.catalogs.get(backend)
    if catalog is None:
        return None
    for side in BACKENDS:
        failure = evidence.raised(side)
        if failure is not None:
            said_by_sqlite = re.search(r"constraint failed: (\w+)\.", failure.message)
            named = said_by_sqlite[1] if said_by_sqlite else failure.fields.get("table")
            if named:
                return catalog.table(named)
    written = syntax.written_tables(evidence.sql("postgres")) | syntax.written_tables(evidence.sql("sqlite"))
    return next((found for name in written if (found := catalog.table(name)) is not None), None)


def contents_differ(evidence: Evidence, table: str) -> bool:
    """Return whether the two backends hold other rows in the table, as far as that is recorded."""
    held = []
    for backend in BACKENDS:
        state = evidence.contents(table, backend)
        rows = () if state is None else state.rows
        # of a large table those that the half changed are told, and the number of all
        count = state.count if state is not None and state.held == "changed" else None
        held.append((count, Counter(tuple(map(loose_key, row)) for row in rows)))
    return held[0] != held[1]


def _keys(table: Table) -> Iterator[frozenset[str]]:
    for columns in (
        table.primary_key,
        *table.uniques,
        *(index.columns for index in table.indexes if index.unique),
    ):
        yield frozenset(column.lower() for column in columns)


class NullInPrimaryKey(Rule):
    """NULL in a primary key.

    What differs:
        PostgreSQL refuses the row (23502); SQLite stores it, and any number of them.
    Why:
        An old mistake that SQLite keeps for compatibility: PRIMARY KEY does not imply NOT NULL, except for
        INTEGER PRIMARY KEY, WITHOUT ROWID and STRICT tables.
    Instead:
        Say it: ``CREATE TABLE city (code TEXT NOT NULL PRIMARY KEY, name TEXT)``.
    References:
        https://www.sqlite.org/quirks.html
        https://www.sqlite.org/lang_createtable.html
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-PRIMARY-KEYS
    """

    name = "null-in-primary-key"
    title = "NULL in a primary key, which SQLite allows"
    instead = "NOT NULL beside PRIMARY KEY"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen(
            [("INSERT INTO city (name) VALUES (?)", ("Rome",)), "ROLLBACK"],
            schema="CREATE TABLE city (code TEXT PRIMARY KEY, name TEXT)",
        ),
        Specimen(
            ["INSERT INTO visit (a) VALUES (1)", "ROLLBACK"],
            schema="CREATE TABLE visit (a INTEGER, b INTEGER, PRIMARY KEY (a, b))",
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "ROLLBACK"],
            schema="CREATE TABLE city (code TEXT NOT NULL PRIMARY KEY, name TEXT)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or violation(failure) != "null":
            return False
        table = violated_table(evidence, "sqlite")
        if table is None:
            return False
        columns = violated_columns(failure)
        keys = {name.lower() for name in table.primary_key}
        described = [table.column(name) for name in columns]
        return set(columns) <= keys and all(one is not None and not one.generated_key for one in described)


class IntegerPrimaryKey(Rule):
    """INTEGER PRIMARY KEY as a key that the database makes.

    What differs:
        An INSERT without the key gets the next number on SQLite; PostgreSQL refuses it (23502), or takes the
        column's DEFAULT, which SQLite ignores.
    Why:
        SQLite's INTEGER PRIMARY KEY is the rowid under another name. In PostgreSQL only a column with a
        sequence (GENERATED ... AS IDENTITY, SERIAL) makes values.
    Instead:
        ``id INTEGER GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY`` in the PostgreSQL schema, or give the key:
        ``INSERT INTO city (id, name) VALUES (1, 'Rome')``.
    References:
        https://www.sqlite.org/lang_createtable.html#rowid
        https://www.postgresql.org/docs/current/ddl-identity-columns.html
    """

    name = "integer-primary-key"
    title = "INTEGER PRIMARY KEY makes keys on SQLite only"
    instead = "GENERATED BY DEFAULT AS IDENTITY in the PostgreSQL schema"
    kinds = ERROR | {"rows", "state"}
    priority = 5
    specimens = (
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "ROLLBACK"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT)",
        ),
        Specimen(
            [("INSERT INTO city VALUES (?, ?)", (None, "Rome")), "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT)",
                "postgres": "CREATE TABLE city (id SERIAL PRIMARY KEY, name TEXT)",
            },
        ),
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "SELECT id, name FROM city", "COMMIT"],
            schema="CREATE TABLE city (id INTEGER DEFAULT 100 PRIMARY KEY, name TEXT)",
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city (id, name) VALUES (1, 'Rome')", "COMMIT"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind in ("rows", "state"):
            return bool(self._ignored_default(evidence))
        failure = evidence.raised("postgres")
        if failure is None or violation(failure) != "null":
            return False
        table = violated_table(evidence, "sqlite")
        columns = violated_columns(failure)
        if table is None or len(columns) != 1:
            return False
        column = table.column(columns[0])
        return column is not None and column.generated_key

    def advice(self, evidence: Evidence) -> str:
        name = "" if evidence.kind == "error" else self._ignored_default(evidence)
        return (
            f"no DEFAULT for {name}: SQLite ignores that of an INTEGER PRIMARY KEY" if name else self.instead
        )

    def _ignored_default(self, evidence: Evidence) -> str:
        """Return the key that SQLite made where PostgreSQL took the column's default; empty if there is none."""
        difference = evidence.divergence.difference
        named = evidence.divergence.table
        tables = (
            [named] if named else sorted(syntax.tables(evidence.text) | syntax.written_tables(evidence.text))
        )
        for index, name in enumerate(() if difference is None else difference.columns):
            key, other = (evidence.column(name, backend, tables) for backend in BACKENDS)
            default = _default(other)
            if difference is None or key is None or not key.generated_key or default is None:
                continue
            if any(_is_default(value, default) for value in values_at(difference.only_postgres, index)):
                return name
        return ""


class SerialOnSqlite(Rule):
    """A key column that makes no keys on SQLite, such as SERIAL or BIGINT PRIMARY KEY.

    What differs:
        PostgreSQL's sequence fills the column. SQLite stores NULL, or refuses the row if the column is
        NOT NULL.
    Why:
        Only a column declared exactly ``INTEGER PRIMARY KEY`` is SQLite's rowid. SERIAL, BIGSERIAL, BIGINT
        and INT are to SQLite types like any other.
    Instead:
        ``id INTEGER PRIMARY KEY`` in the SQLite schema; it holds 64 bits there.
    References:
        https://www.sqlite.org/lang_createtable.html#rowid
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-SERIAL
    """

    name = "serial-on-sqlite"
    title = "key column that makes no keys on SQLite"
    instead = "id INTEGER PRIMARY KEY in the SQLite schema"
    kinds = frozenset({"error", "rows", "state"})
    notes = frozenset({"generated-keys"})
    severity = "high"
    priority = 5
    specimens = (
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "COMMIT"],
            schema="CREATE TABLE city (id SERIAL PRIMARY KEY, name TEXT)",
        ),
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "SELECT id, name FROM city", "ROLLBACK"],
            schema="CREATE TABLE city (id BIGSERIAL PRIMARY KEY, name TEXT)",
        ),
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (id BIGINT NOT NULL PRIMARY KEY, name TEXT)",
                "postgres": "CREATE TABLE city (id BIGSERIAL PRIMARY KEY, name TEXT)",
            },
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city (name) VALUES ('Rome')", "SELECT id, name FROM city", "COMMIT"],
            schema={
                "sqlite": "CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT)",
                "postgres": "CREATE TABLE city (id SERIAL PRIMARY KEY, name TEXT)",
            },
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            failure = evidence.raised("sqlite")
            if failure is None or violation(failure) != "null":
                return False
            found = re.search(r"NOT NULL constraint failed: (\S+)\.(\S+)", failure.message)
            return found is not None and self._made_by_postgres(evidence, found[1], found[2])
        difference = evidence.divergence.difference
        if difference is None:
            return False
        named = evidence.divergence.table
        tables = [named] if named else sorted(syntax.tables(evidence.text))
        for index, column in enumerate(difference.columns):
            if None not in values_at(difference.only_sqlite, index):
                continue
            if None in values_at(difference.only_postgres, index):
                continue
            if any(self._made_by_postgres(evidence, table, column) for table in tables):
                return True
        return False

    def _made_by_postgres(self, evidence: Evidence, table: str, column: str) -> bool:
        sqlite, postgres = (evidence.column(column, backend, [table]) for backend in BACKENDS)
        return (
            sqlite is not None
            and postgres is not None
            and postgres.generated_key
            and not sqlite.generated_key
        )


class ConstraintOnOneSide(Rule):
    """A constraint that only one of the two schemas has.

    What differs:
        One backend refuses the row (unique, not null, check or foreign key), the other stores it.
    Why:
        The two schemas differ: the other table has no such constraint.
    Instead:
        The same constraint in both schemas, such as ``CREATE TABLE city (code TEXT NOT NULL UNIQUE)``.
    References:
        https://www.sqlite.org/lang_createtable.html
        https://www.postgresql.org/docs/current/ddl-constraints.html
    """

    name = "constraint-on-one-side"
    title = "constraint that only one of the two schemas has"
    instead = "declare the constraint in both schemas"
    kinds = ERROR
    specimens = (
        Specimen(
            ["INSERT INTO city VALUES ('a')", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (code TEXT); INSERT INTO city VALUES ('a');",
                "postgres": "CREATE TABLE city (code TEXT UNIQUE); INSERT INTO city VALUES ('a');",
            },
        ),
        Specimen(
            ["INSERT INTO city VALUES (NULL)", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (code TEXT NOT NULL);",
                "postgres": "CREATE TABLE city (code TEXT);",
            },
        ),
        Specimen(
            ["INSERT INTO city VALUES ('')", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (code TEXT CHECK (code <> ''));",
                "postgres": "CREATE TABLE city (code TEXT);",
            },
        ),
        Specimen(
            ["INSERT INTO road VALUES (5)", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE city (id INTEGER PRIMARY KEY); CREATE TABLE road (city INTEGER);",
                "postgres": "CREATE TABLE city (id INTEGER PRIMARY KEY);"
                "CREATE TABLE road (city INTEGER REFERENCES city (id));",
            },
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city VALUES ('a')", "ROLLBACK"],
            schema="CREATE TABLE city (code TEXT NOT NULL UNIQUE); INSERT INTO city VALUES ('a');",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        for backend in BACKENDS:
            failure = evidence.raised(backend)
            kind = violation(failure)
            if failure is None or not kind:
                continue
            table = violated_table(evidence, OTHER[backend])
            return table is not None and not self._has(table, kind, violated_columns(failure))
        return False

    def _has(self, table: Table, kind: str, columns: tuple[str, ...]) -> bool:
        """Return whether the table has that constraint too, or it can't be told."""
        if kind == "check":
            return bool(table.checks)
        if kind == "foreign":
            return bool(table.foreign_keys)
        if not columns:
            return True
        if kind == "unique":
            return any("<expression>" in key or key == frozenset(columns) for key in _keys(table))
        described = [table.column(column) for column in columns]
        keys = {column.lower() for column in table.primary_key}
        return any(one is None or not one.nullable or one.name.lower() in keys for one in described)


class CheckDiffers(Rule):
    """A CHECK that one database finds true and the other false.

    What differs:
        One backend refuses the row, the other stores it, though both tables have a CHECK.
    Why:
        The condition is an expression like any other: LIKE ignores case on SQLite, a text compares greater
        than every number there, ``length`` counts padding differently, ``typeof`` sees SQLite's storage.
    Instead:
        A condition of plain comparisons of one type: ``CHECK (state IN ('new', 'done'))``,
        ``CHECK (amount >= 0)``, ``CHECK (lower(code) LIKE 'a%')``.
    References:
        https://www.sqlite.org/lang_createtable.html#check_constraints
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-CHECK-CONSTRAINTS
    """

    name = "check-differs"
    title = "CHECK that is true on one database and false on the other"
    instead = "plain comparisons of one type in CHECK"
    kinds = ERROR
    priority = -5
    specimens = (
        Specimen(
            ["INSERT INTO city VALUES ('ab')", "ROLLBACK"],
            schema="CREATE TABLE city (code TEXT CHECK (code LIKE 'A%'))",
        ),
        Specimen(
            ["INSERT INTO city VALUES ('ab')", "ROLLBACK"],
            schema="CREATE TABLE city (code TEXT CHECK (code NOT LIKE 'A%'))",
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city VALUES ('x')", "ROLLBACK", "INSERT INTO city VALUES ('new')", "COMMIT"],
            schema="CREATE TABLE city (state TEXT CHECK (state IN ('new', 'done')))",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        for backend in BACKENDS:
            if violation(evidence.raised(backend)) == "check":
                table = violated_table(evidence, OTHER[backend])
                return table is not None and bool(table.checks)
        return False


class DefaultType(Rule):
    """A default value of another type than its column.

    What differs:
        PostgreSQL refuses the table (42804, 22P02), for example ``BOOLEAN DEFAULT 1``; SQLite creates it.
    Why:
        PostgreSQL converts the default to the column's type when the table is made. SQLite uses it as it is.
    Instead:
        ``CREATE TABLE task (done BOOLEAN NOT NULL DEFAULT FALSE, size INTEGER DEFAULT 0)`` runs on both.
    References:
        https://www.sqlite.org/datatype3.html
        https://www.postgresql.org/docs/current/ddl-default.html
    """

    name = "default-type"
    title = "DEFAULT of another type than its column, refused by PostgreSQL"
    instead = "a default of the column's type: DEFAULT FALSE, DEFAULT 0"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["CREATE TABLE task (done BOOLEAN NOT NULL DEFAULT 1)"]),
        Specimen(["CREATE TABLE task (size INTEGER DEFAULT '')"]),
        Specimen(["CREATE TABLE task (size INTEGER DEFAULT FALSE)"]),
    )
    near_misses = (
        Specimen(["CREATE TABLE task (done BOOLEAN NOT NULL DEFAULT FALSE, size INTEGER DEFAULT '0')"]),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None:
            return False
        if failure.sqlstate == "42804":
            return said(failure, "but default expression is of type") is not None
        if failure.sqlstate not in ("22P02", "22007", "22008", "22003"):
            return False
        return has(evidence.sql("postgres"), r"\b(CREATE|ALTER)\s+(TEMP\w*\s+)?TABLE\b.*\bDEFAULT\b")


class DefaultOnOneSide(Rule):
    """A default that the two schemas do not share.

    What differs:
        A row written without the column gets the default on one backend; on the other it gets NULL or
        another default, or is refused because the column is NOT NULL.
    Why:
        The two schemas differ.
    Instead:
        The same default in both schemas: ``CREATE TABLE task (state TEXT NOT NULL DEFAULT 'new')``.
    References:
        https://www.sqlite.org/lang_createtable.html#the_default_clause
        https://www.postgresql.org/docs/current/ddl-default.html
    """

    name = "default-on-one-side"
    title = "default that the two schemas do not share"
    instead = "the same DEFAULT in both schemas"
    kinds = frozenset({"error", "rows", "state"})
    notes = frozenset({"generated-keys"})
    priority = 6
    specimens = (
        Specimen(
            ["INSERT INTO task (id) VALUES (1)", "SELECT state FROM task", "COMMIT"],
            schema={
                "sqlite": "CREATE TABLE task (id INTEGER, state TEXT DEFAULT 'new')",
                "postgres": "CREATE TABLE task (id INTEGER, state TEXT)",
            },
        ),
        Specimen(
            ["INSERT INTO task (id) VALUES (1)", "ROLLBACK"],
            schema={
                "sqlite": "CREATE TABLE task (id INTEGER, state TEXT NOT NULL DEFAULT 'new')",
                "postgres": "CREATE TABLE task (id INTEGER, state TEXT NOT NULL)",
            },
        ),
        Specimen(
            ["INSERT INTO task (id) VALUES (1)", "COMMIT"],
            schema={
                "sqlite": "CREATE TABLE task (id INTEGER, size INTEGER DEFAULT 1)",
                "postgres": "CREATE TABLE task (id INTEGER, size INTEGER DEFAULT 2)",
            },
        ),
        Specimen(
            ["INSERT INTO task (id) VALUES (1)", "SELECT id FROM task WHERE open", "COMMIT"],
            schema={
                "sqlite": "CREATE TABLE task (id INTEGER, open BOOLEAN DEFAULT TRUE)",
                "postgres": "CREATE TABLE task (id INTEGER, open BOOLEAN DEFAULT FALSE)",
            },
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO task (id) VALUES (1)", "SELECT state FROM task", "COMMIT"],
            schema="CREATE TABLE task (id INTEGER, state TEXT NOT NULL DEFAULT 'new')",
        ),
        Specimen(
            [
                "INSERT INTO task (id, state) VALUES (1, 'New')",
                "SELECT open, id FROM task WHERE state LIKE 'n%' AND NOT open",
                "COMMIT",
            ],
            schema={
                "sqlite": "CREATE TABLE task (id INTEGER, state TEXT, open BOOLEAN DEFAULT 0)",
                "postgres": "CREATE TABLE task (id INTEGER, state TEXT, open BOOLEAN DEFAULT FALSE)",
            },
            also=("like-case",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            return any(self._refused(evidence, backend) for backend in BACKENDS)
        difference = evidence.divergence.difference
        if difference is None:
            return False
        named = evidence.divergence.table
        tables = [named] if named else sorted(syntax.tables(evidence.text))
        for index, name in enumerate(difference.columns):
            columns = [evidence.column(name, backend, tables) for backend in BACKENDS]
            defaults = [_default(column) for column in columns]
            if None in columns or defaults[0] == defaults[1] or name not in difference.differing:
                continue
            sides = (values_at(rows, index) for rows in (difference.only_sqlite, difference.only_postgres))
            if any(
                _is_default(one, defaults[0]) and _is_default(other, defaults[1])
                for one, other in zip(*sides, strict=False)
            ):
                return True
        return evidence.kind == "rows" and any(self._decides(evidence, table) for table in tables)

    def _decides(self, evidence: Evidence, table: str) -> bool:
        """Return whether the statement chooses by a column that holds the one default here and the other there."""
        deciding = re.split(r"\b(?:WHERE|HAVING)\b", bare(evidence.text), flags=re.I)[1:]
        for name in set(re.findall(r"\w+", " ".join(deciding))):
            columns = [evidence.column(name, backend, [table]) for backend in BACKENDS]
            defaults = [_default(column) for column in columns]
            if None in columns or defaults[0] == defaults[1]:
                continue
            held = []
            for backend in BACKENDS:
                state = evidence.contents(table, backend)
                place = [c.lower() for c in (() if state is None else state.columns)]
                held.append(
                    [] if state is None or name.lower() not in place
                    else [row[place.index(name.lower())] for row in state.rows]
                )  # fmt: skip
            if any(
                _is_default(one, defaults[0]) and _is_default(other, defaults[1])
                for one, other in zip(*held, strict=False)
            ):
                return True
        return False

    def _refused(self, evidence: Evidence, backend: Backend) -> bool:
        failure = evidence.raised(backend)
        if failure is None or violation(failure) != "null":
            return False
        here, there = (violated_table(evidence, side) for side in (backend, OTHER[backend]))
        columns = violated_columns(failure)
        if here is None or there is None or len(columns) != 1:
            return False
        own, other = here.column(columns[0]), there.column(columns[0])
        if own is None or other is None or own.generated_key or other.generated_key:
            return False
        return own.default is None and other.default is not None


_TRUTH = {"true": "1", "false": "0"}


def _default(column: Column | None) -> str | None:
    """Return a column's default without quotes and casts, true as 1; None for none and for a generated key."""
    if column is None or column.default is None or column.generated_key:
        return None
    plain = re.sub(r"::[\w ]+(\(\d+\))?$", "", column.default.strip().strip("()"))
    plain = plain[1:-1] if plain.startswith("'") else plain
    return _TRUTH.get(plain.lower(), plain)


def _is_default(value: Any, default: str | None) -> bool:
    if value is None or default is None:
        return value is None and default is None
    one, other = str(value).lower(), default.lower()
    return _TRUTH.get(one, one) == _TRUTH.get(other, other)


class DefaultExpression(Rule):
    """A default that is an expression in one database's words.

    What differs:
        SQLite takes a function only in parentheses, knows no casts (``'x'::text``), and looks the function up
        when a row is written (``unknown function: now()``). PostgreSQL does not know SQLite's functions
        (42883) and takes ``DEFAULT "x"`` for a column (0A000), where SQLite reads a text.
    Why:
        A default is part of the schema in the database's own language.
    Instead:
        Constants and the standard names: ``CREATE TABLE event (at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state
        TEXT DEFAULT 'new')``. Make the rest in the application.
    References:
        https://www.sqlite.org/lang_createtable.html#the_default_clause
        https://www.postgresql.org/docs/current/ddl-default.html
    """

    name = "default-expression"
    title = "DEFAULT expression that only one database understands"
    instead = "a constant or CURRENT_TIMESTAMP as default"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["CREATE TABLE event (at TIMESTAMP DEFAULT now())"]),
        Specimen(["CREATE TABLE event (at TEXT DEFAULT (datetime('now')))"]),
        Specimen(["CREATE TABLE event (state TEXT DEFAULT 'new'::text)"]),
        Specimen(['CREATE TABLE event (state TEXT DEFAULT "new")']),
        Specimen(
            ["INSERT INTO event (id) VALUES (1)", "ROLLBACK"],
            schema="CREATE TABLE event (id INTEGER, at TIMESTAMP DEFAULT (now()))",
        ),
    )
    near_misses = (
        Specimen(["CREATE TABLE event (at TIMESTAMP DEFAULT CURRENT_TIMESTAMP, state TEXT DEFAULT 'new')"]),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
        if said(sqlite, r"^unknown function: \w+\(\)"):
            return True
        text = evidence.sql("sqlite" if postgres is None else "postgres")
        if not has(text, r"\b(CREATE|ALTER)\s+(TEMP\w*\s+)?TABLE\b.*\bDEFAULT\b"):
            return False
        if sqlite is not None:
            if at(sqlite) == "(":
                return has(text, r"\bDEFAULT\s+[\w.]+\s*\(")
            return said(sqlite, "unrecognized token|syntax error") is not None and has(
                text, r"\bDEFAULT\s+[^,]*?(::|\bAT\s+TIME\b|\bINTERVAL\b)"
            )
        assert postgres is not None
        if postgres.sqlstate == "0A000":
            return said(postgres, "column reference in DEFAULT") is not None
        return postgres.sqlstate in ("42883", "42704") and has(text, r"\bDEFAULT\s*\(")
