"""Why foreign keys can be declared, and are checked, on one database only."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import ForeignKey
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.constraints import contents_differ, violated_table, violation
from pytest_dualdb.rules.ddl import ERROR, has
from pytest_dualdb.rules.facts import said
from pytest_dualdb.values import loose_key


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
        if failure is None or failure.sqlstate != "42804":
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
        return failure is not None and failure.sqlstate == "42830"


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
        if failure is None:
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
    notes = frozenset({"generated-keys"})
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
        Specimen(
            [
                ("INSERT INTO road (id, city_id) VALUES (?, ?)", (2, 1)),
                "COMMIT",
                "DELETE FROM city WHERE id = 1",
                "COMMIT",
            ],
            schema=_SCHEMA,
        ),
    )
    near_misses = (
        Specimen(
            ["DELETE FROM road WHERE city_id = 1", "DELETE FROM city WHERE id = 1", "COMMIT"], schema=_SCHEMA
        ),
        Specimen([{"sqlite": "PRAGMA foreign_keys = ON"}, "DELETE FROM city", "COMMIT"], schema=_SCHEMA),
    )

    def matches(self, evidence: Evidence) -> bool:
        if _enforced(evidence):
            return False
        if evidence.kind == "error":
            if violation(evidence.raised("postgres")) != "foreign":
                return False
            table = violated_table(evidence, "sqlite")
            return table is None or bool(table.foreign_keys)
        names = {evidence.divergence.table} if evidence.kind == "state" else syntax.tables(evidence.text)
        return any(
            name is not None and _orphans(evidence, name) and contents_differ(evidence, name)
            for name in names
        )
