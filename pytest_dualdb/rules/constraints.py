"""Why keys, foreign keys, checks and defaults hold on one database only."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Failure, ForeignKey, Table
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import OTHER, said
from pytest_dualdb.values import loose_key

_VIOLATIONS = {"23505": "unique", "23514": "check", "23502": "null", "23503": "foreign", "23001": "foreign"}
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
    found = re.search(r"Key \((.+?)\)=", failure.message) or re.search(r'value in column "(.+?)"', failure.message)
    return tuple(part.strip().strip('"').lower() for part in found[1].split(",")) if found else ()


def violated_table(evidence: Evidence, backend: Backend, table: str = "") -> Table | None:
    """Return that backend's description of the table whose constraint was violated on either backend."""
    catalog = evidence.catalogs.get(backend)
    if catalog is None:
        return None
    for side in BACKENDS:
        failure = evidence.raised(side)
        if failure is not None:
            named = re.search(r'constraint ".+?" on table "(.+?)"', failure.message) or re.search(
                r'(?:relation|on table) "(.+?)"', failure.message
            )
            named = named or re.search(r"constraint failed: (\w+)\.", failure.message)
            if named:
                return catalog.table(named[1])
    written = syntax.written_tables(evidence.sql("postgres")) | syntax.written_tables(evidence.sql("sqlite"))
    return next((found for name in written if (found := catalog.table(name)) is not None), None)


def _keys(table: Table) -> Iterator[frozenset[str]]:
    for columns in (table.primary_key, *table.uniques, *(index.columns for index in table.indexes if index.unique)):
        yield frozenset(column.lower() for column in columns)


class ForeignKeyType(Rule):
    """A foreign key whose type is not that of the key it references.

    What differs:
        PostgreSQL refuses the table (42804) when the two types can't be compared, such as VARCHAR and
        INTEGER; SQLite creates it.
    Why:
        SQLite compares values of any types. PostgreSQL needs an equality operator for the two columns.
    Instead:
        The same type in both tables: ``CREATE TABLE road (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES
        city (id))``.
    References:
        https://www.sqlite.org/foreignkeys.html
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
    """

    name = "foreign-key-type"
    title = "foreign key of another type than its key, refused by PostgreSQL"
    instead = "the same type for the foreign key as for the key"
    kinds = ERROR
    specimens = (
        Specimen(
            ["CREATE TABLE road (id INTEGER PRIMARY KEY, city_id VARCHAR(20) REFERENCES city (id))"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY)",
        ),
    )
    near_misses = (
        Specimen(
            ["CREATE TABLE road (id INTEGER PRIMARY KEY, city_id BIGINT REFERENCES city (id))"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "42804" or evidence.raised("sqlite") is not None:
            return False
        return said(failure, "^foreign key constraint") is not None


class ForeignKeyTarget(Rule):
    """A foreign key to columns that are not unique.

    What differs:
        PostgreSQL refuses the table (42830). SQLite creates it, and with foreign keys switched on refuses
        every later write to it (``foreign key mismatch``).
    Why:
        A reference has to point at one row. SQLite looks at the referenced table only when it must.
    Instead:
        Reference the primary key, or make the columns unique:
        ``CREATE TABLE city (id INTEGER PRIMARY KEY, code TEXT NOT NULL UNIQUE)``.
    References:
        https://www.sqlite.org/foreignkeys.html#fk_indexes
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
    """

    name = "foreign-key-target"
    title = "foreign key to columns that are not unique"
    instead = "reference a primary key or UNIQUE columns"
    kinds = ERROR
    specimens = (
        Specimen(
            ["CREATE TABLE road (id INTEGER PRIMARY KEY, code TEXT REFERENCES city (code))"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, code TEXT)",
        ),
    )
    near_misses = (
        Specimen(
            ["CREATE TABLE road (id INTEGER PRIMARY KEY, code TEXT REFERENCES city (code))"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, code TEXT UNIQUE)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if said(evidence.raised("sqlite"), "^foreign key mismatch"):
            return True
        failure = evidence.raised("postgres")
        return failure is not None and failure.sqlstate == "42830" and evidence.raised("sqlite") is None


class ForeignKeyOrder(Rule):
    """A foreign key to a table or column that is not there yet.

    What differs:
        PostgreSQL refuses the table (42P01, 42703); SQLite creates it.
    Why:
        SQLite looks the referenced table up when rows are written, and only with foreign keys switched on.
    Instead:
        Create the referenced table first: ``CREATE TABLE city (id INTEGER PRIMARY KEY)``, then
        ``CREATE TABLE road (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id))``. For a circle of
        references, ALTER TABLE ... ADD CONSTRAINT in the PostgreSQL schema.
    References:
        https://www.sqlite.org/foreignkeys.html
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
    """

    name = "foreign-key-order"
    title = "foreign key to a table or column that does not exist (yet)"
    instead = "create the referenced table first"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["CREATE TABLE road (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id))"]),
        Specimen(
            ["CREATE TABLE road (id INTEGER PRIMARY KEY, c INTEGER, FOREIGN KEY (c) REFERENCES city (nr))"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY)",
        ),
    )
    near_misses = (
        Specimen(
            [
                "CREATE TABLE city (id INTEGER PRIMARY KEY)",
                "CREATE TABLE road (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id))",
            ]
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or evidence.raised("sqlite") is not None:
            return False
        if failure.sqlstate == "42703":
            return said(failure, "referenced in foreign key constraint does not exist") is not None
        missing = said(failure, r'^relation "(.+?)" does not exist') if failure.sqlstate == "42P01" else None
        if missing is None:
            return False
        name = re.escape(missing[1].rpartition(".")[2])
        return has(evidence.sql("postgres"), rf"\bREFERENCES\s+(?:\"?\w+\"?\.)?\"?{name}\b")


def _orphans(evidence: Evidence, table: str) -> bool:
    """Return whether SQLite's table holds references to rows that are not there."""
    for key in _foreign_keys(evidence, table):
        child, parent = evidence.contents(table, "sqlite"), evidence.contents(key.table, "sqlite")
        if child is None or parent is None or len(key.columns) != len(key.references):
            continue
        held = {_picked(parent.columns, row, key.references) for row in parent.rows}
        for row in child.rows:
            value = _picked(child.columns, row, key.columns)
            if value is not None and value not in held:
                return True
    return False


def _foreign_keys(evidence: Evidence, table: str) -> Sequence[ForeignKey]:
    """Return the foreign keys that both backends declare for the table, as PostgreSQL describes them."""
    described = [catalog.table(table) for catalog in evidence.catalogs.values()]
    if len(described) < 2 or any(one is None or not one.foreign_keys for one in described):
        return ()
    postgres = evidence.catalogs["postgres"].table(table)
    return () if postgres is None else postgres.foreign_keys


def _picked(columns: Sequence[str], row: Sequence[Any], wanted: Sequence[str]) -> tuple[Any, ...] | None:
    lowered = [column.lower() for column in columns]
    if any(name.lower() not in lowered for name in wanted):
        return None
    values = [row[lowered.index(name.lower())] for name in wanted]
    return None if None in values else tuple(map(loose_key, values))


def _enforced(evidence: Evidence) -> bool:
    """Return whether the SQLite half switched foreign keys on before this."""
    return any(
        re.search(r"\bPRAGMA\s+(?:\w+\.)?foreign_keys\s*(=|\()\s*('?ON|TRUE|YES|1)", s.sql, re.I)
        for s in evidence.before("sqlite")
    )


class ForeignKeysNotEnforced(Rule):
    """Foreign keys that SQLite declares but does not check.

    What differs:
        PostgreSQL refuses a row without its parent and the deletion of a parent that has rows (23503), and
        carries out ON DELETE and ON UPDATE. SQLite does neither: the rows stay as they are.
    Why:
        SQLite checks foreign keys only on connections that ask for it; the default is off.
    Instead:
        Switch them on for each SQLite connection, before its first transaction:
        ``PRAGMA foreign_keys = ON``. Then write parents first and delete children first:
        ``DELETE FROM road WHERE city_id = 1`` before ``DELETE FROM city WHERE id = 1``.
    References:
        https://www.sqlite.org/foreignkeys.html#fk_enable
        https://www.postgresql.org/docs/current/ddl-constraints.html#DDL-CONSTRAINTS-FK
    """

    name = "foreign-keys-not-enforced"
    title = "foreign keys are checked by PostgreSQL only"
    instead = "PRAGMA foreign_keys = ON for each SQLite connection"
    kinds = frozenset({"error", "rows", "state", "rowcount", "order"})
    severity = "high"
    _SCHEMA: ClassVar[str] = (
        "CREATE TABLE city (id INTEGER PRIMARY KEY);"
        "CREATE TABLE road (id INTEGER PRIMARY KEY, city_id INTEGER REFERENCES city (id) ON DELETE CASCADE);"
        "INSERT INTO city VALUES (1); INSERT INTO road VALUES (1, 1);"
    )
    specimens = (
        Specimen([("INSERT INTO road (id, city_id) VALUES (?, ?)", (2, 99)), "ROLLBACK"], schema=_SCHEMA),
        Specimen(["DELETE FROM city WHERE id = 1", "COMMIT"], schema=_SCHEMA),
        Specimen(["DELETE FROM city", "SELECT id FROM road", "COMMIT"], schema=_SCHEMA),
        Specimen(["UPDATE road SET city_id = 7", "ROLLBACK"], schema=_SCHEMA),
        Specimen(
            ["DELETE FROM city WHERE id = 1", "ROLLBACK"],
            schema=_SCHEMA.replace(" ON DELETE CASCADE", ""),
        ),
        Specimen(
            ["DELETE FROM city WHERE id = 1", "ROLLBACK"],
            schema=_SCHEMA.replace("CASCADE", "RESTRICT"),
        ),
    )
    near_misses = (
        Specimen(["DELETE FROM road WHERE city_id = 1", "DELETE FROM city WHERE id = 1", "COMMIT"], schema=_SCHEMA),
        Specimen([{"sqlite": "PRAGMA foreign_keys = ON"}, "DELETE FROM city", "COMMIT"], schema=_SCHEMA),
    )

    def matches(self, evidence: Evidence) -> bool:
        if _enforced(evidence):
            return False
        if evidence.kind == "error":
            if violation(evidence.raised("postgres")) != "foreign" or evidence.raised("sqlite") is not None:
                return False
            table = violated_table(evidence, "sqlite")
            return table is None or bool(table.foreign_keys)
        names = {evidence.divergence.table} if evidence.kind == "state" else syntax.tables(evidence.text)
        return any(name is not None and _orphans(evidence, name) for name in names)


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
        if failure is None or violation(failure) != "null" or evidence.raised("sqlite") is not None:
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
        An INSERT without the key gets the next number on SQLite; PostgreSQL refuses it (23502).
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
    kinds = ERROR
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
    )
    near_misses = (
        Specimen(
            ["INSERT INTO city (id, name) VALUES (1, 'Rome')", "COMMIT"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or violation(failure) != "null" or evidence.raised("sqlite") is not None:
            return False
        table = violated_table(evidence, "sqlite")
        columns = violated_columns(failure)
        if table is None or len(columns) != 1:
            return False
        column = table.column(columns[0])
        return column is not None and column.generated_key


class SerialOnSqlite(Rule):
    """A key column that makes no keys on SQLite, such as SERIAL or BIGINT PRIMARY KEY.

    What differs:
        PostgreSQL's sequence fills the column. SQLite stores NULL, or refuses the row if the column is
        NOT NULL.
    Why:
        Only a column declared exactly ``INTEGER PRIMARY KEY`` is SQLite's rowid. SERIAL, BIGSERIAL, BIGINT and
        INT are to SQLite types like any other.
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
            if failure is None or violation(failure) != "null" or evidence.raised("postgres") is not None:
                return False
            found = re.search(r"NOT NULL constraint failed: (\S+)\.(\S+)", failure.message)
            return found is not None and self._made_by_postgres(evidence, found[1], found[2])
        difference = evidence.divergence.difference
        if difference is None:
            return False
        named = evidence.divergence.table
        tables = [named] if named else sorted(syntax.tables(evidence.text))
        for index, column in enumerate(difference.columns):
            nulls = any(row[index] is None for row in difference.only_sqlite)
            if nulls and not any(row[index] is None for row in difference.only_postgres):
                if any(self._made_by_postgres(evidence, table, column) for table in tables):
                    return True
        return False

    def _made_by_postgres(self, evidence: Evidence, table: str, column: str) -> bool:
        sqlite, postgres = (evidence.column(column, backend, [table]) for backend in BACKENDS)
        return sqlite is not None and postgres is not None and postgres.generated_key and not sqlite.generated_key


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
            if failure is None or not kind or evidence.raised(OTHER[backend]) is not None:
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
            return any(not key <= frozenset({"<expression>"}) and key == frozenset(columns) for key in _keys(table))
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
            if violation(evidence.raised(backend)) == "check" and evidence.raised(OTHER[backend]) is None:
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
    near_misses = (Specimen(["CREATE TABLE task (done BOOLEAN NOT NULL DEFAULT FALSE, size INTEGER DEFAULT '0')"]),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or evidence.raised("sqlite") is not None:
            return False
        if failure.sqlstate == "42804":
            return said(failure, "but default expression is of type") is not None
        if failure.sqlstate not in ("22P02", "22007", "22008", "22003"):
            return False
        return has(evidence.sql("postgres"), r"\b(CREATE|ALTER)\s+(TEMP\w*\s+)?TABLE\b.*\bDEFAULT\b")


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
        if (sqlite is None) == (postgres is None):
            return False
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
