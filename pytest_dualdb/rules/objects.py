"""Why indexes, triggers and other objects can be made, changed and dropped on one database only."""

from __future__ import annotations

import re
from typing import ClassVar

from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import said


class IndexOption(Rule):
    """An index definition with options that only PostgreSQL has.

    What differs:
        SQLite refuses CONCURRENTLY, USING, INCLUDE, operator classes, NULLS FIRST, NULLS NOT DISTINCT and
        an index without a name; PostgreSQL creates the index.
    Why:
        SQLite has one kind of index and builds it within the statement.
    Instead:
        ``CREATE INDEX IF NOT EXISTS city_name ON city (name)`` runs on both, also with an expression or a
        WHERE clause. Keep what tunes PostgreSQL in its own schema file.
    References:
        https://www.sqlite.org/lang_createindex.html
        https://www.postgresql.org/docs/current/sql-createindex.html
    """

    name = "index-option"
    title = "index options that only PostgreSQL has"
    instead = "CREATE INDEX name ON table (columns); the rest in the PostgreSQL schema"
    kinds = ERROR
    both_fail = True
    priority = 10
    specimens = (
        Specimen(
            ["CREATE INDEX city_name ON city USING btree (name)"], schema="CREATE TABLE city (name TEXT)"
        ),
        Specimen(
            ["CREATE INDEX city_name ON city (name text_pattern_ops)"], schema="CREATE TABLE city (name TEXT)"
        ),
        Specimen(
            ["CREATE INDEX city_name ON city (name DESC NULLS LAST)"], schema="CREATE TABLE city (name TEXT)"
        ),
        Specimen(["CREATE INDEX ON city (name)"], schema="CREATE TABLE city (name TEXT)"),
        Specimen(
            ["CREATE INDEX CONCURRENTLY city_name ON city (name)"], schema="CREATE TABLE city (name TEXT)"
        ),
    )
    near_misses = (
        Specimen(
            ["CREATE INDEX IF NOT EXISTS city_name ON city (name DESC) WHERE name > ''"],
            schema="CREATE TABLE city (name TEXT)",
        ),
    )
    _only: ClassVar[str] = (
        r"\bCONCURRENTLY\b|\bON\s+(ONLY\s+)?\S+\s+USING\b|\bINCLUDE\s*\(|\w+_ops\b|\bNULLS\s+(NOT|FIRST|LAST|DISTINCT)"
        r"|\bINDEX\s+ON\b|\bWITH\s*\(|\bTABLESPACE\b|\bON\s+ONLY\b|\bgin_|::"
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None or not said(failure, "syntax error|unsupported use of NULLS|unrecognized token"):
            return False
        if not has(evidence.sql("sqlite"), r"^\s*(CREATE\s+(UNIQUE\s+)?|DROP\s+)INDEX\b"):
            return False
        return has(evidence.sql("sqlite"), self._only)


class IndexExpression(Rule):
    """An expression as an index key without parentheses of its own.

    What differs:
        CREATE INDEX i ON t (n + 1) works on SQLite; PostgreSQL fails (42601, syntax error at or near "+").
    Why:
        PostgreSQL's grammar takes a column, a function call, or an expression in parentheses.
    Instead:
        A second pair of parentheses, which both take: ``CREATE INDEX size ON box ((n + 1))``.
    References:
        https://www.sqlite.org/expridx.html
        https://www.postgresql.org/docs/current/indexes-expressional.html
    """

    name = "index-expression"
    title = "an expression in an index needs its own parentheses on PostgreSQL"
    instead = "CREATE INDEX name ON table ((a + b))"
    kinds = ERROR
    specimens = (
        Specimen(["CREATE INDEX size ON box (n + 1)"], schema="CREATE TABLE box (n INTEGER, name TEXT)"),
        Specimen(
            ["CREATE INDEX label ON box (name || '!')"], schema="CREATE TABLE box (n INTEGER, name TEXT)"
        ),
    )
    near_misses = (
        Specimen(
            ["CREATE INDEX size ON box ((n + 1), lower(name))"],
            schema="CREATE TABLE box (n INTEGER, name TEXT)",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.raised("sqlite") is not None or not has(
            evidence.sql("postgres"), r"^\s*CREATE\s+(UNIQUE\s+)?INDEX\b"
        ):
            return False
        return (
            re.fullmatch(r"[-+*/%|<>=]+|CASE|CAST|NOT|IN|IS", at(evidence.raised("postgres")) or "")
            is not None
        )


class AlterTableForm(Rule):
    """A form of ALTER TABLE that SQLite does not have.

    What differs:
        SQLite refuses ADD CONSTRAINT, ALTER COLUMN, DROP CONSTRAINT, IF EXISTS, several changes in one
        statement, and a new column that is UNIQUE, NOT NULL without a default, or has a default that is
        not constant. PostgreSQL does all of it.
    Why:
        SQLite keeps a table's definition as text and changes only what leaves the stored rows valid.
    Instead:
        Declare constraints in CREATE TABLE, add plain columns one by one
        (``ALTER TABLE city ADD COLUMN note TEXT``), and for the rest create the new table, copy the rows,
        drop the old one, rename; migration tools call it batch mode.
    References:
        https://www.sqlite.org/lang_altertable.html
        https://www.postgresql.org/docs/current/sql-altertable.html
    """

    name = "alter-table-form"
    title = "form of ALTER TABLE that SQLite does not have"
    instead = "constraints in CREATE TABLE, or a new table with copied rows (batch mode)"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["ALTER TABLE city ADD CONSTRAINT u UNIQUE (name)"], schema="CREATE TABLE city (name TEXT)"),
        Specimen(["ALTER TABLE city ALTER COLUMN n TYPE BIGINT"], schema="CREATE TABLE city (n INTEGER)"),
        Specimen(
            ["ALTER TABLE city ADD COLUMN IF NOT EXISTS n INTEGER"], schema="CREATE TABLE city (name TEXT)"
        ),
        Specimen(["ALTER TABLE city ADD COLUMN n INTEGER UNIQUE"], schema="CREATE TABLE city (name TEXT)"),
        Specimen(
            ["ALTER TABLE city DROP COLUMN id"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY, n INTEGER)",
        ),
    )
    near_misses = (
        Specimen(
            ["ALTER TABLE city ADD COLUMN note TEXT", "ALTER TABLE city RENAME COLUMN note TO remark"],
            schema="CREATE TABLE city (name TEXT)",
        ),
        Specimen(["ALTER TABLE nowhere ADD COLUMN note TEXT"]),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None:
            return False
        if not has(
            evidence.sql("sqlite"), r"\bALTER\s+(TABLE|INDEX|SEQUENCE|TYPE|VIEW|DATABASE|SCHEMA|ROLE)\b"
        ):
            return False
        return (
            said(failure, r"syntax error|^Cannot add|^cannot drop|^error in|unrecognized token") is not None
        )


class TriggerSyntax(Rule):
    """A trigger written for the other database.

    What differs:
        SQLite's trigger holds its statements between BEGIN and END; PostgreSQL's calls a function
        (EXECUTE FUNCTION) and is dropped with ``DROP TRIGGER name ON table``. Each refuses the other's form.
    Why:
        PostgreSQL's triggers belong to a table and run a function in any language; SQLite's are statements.
    Instead:
        One schema file for each backend. ``DROP TABLE`` takes the triggers with it on both.
    References:
        https://www.sqlite.org/lang_createtrigger.html
        https://www.postgresql.org/docs/current/sql-createtrigger.html
    """

    name = "trigger-syntax"
    title = "trigger in the syntax of one database"
    instead = "the trigger in each backend's schema file"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(
            ["CREATE TRIGGER note AFTER INSERT ON city BEGIN UPDATE city SET n = 1; END"],
            schema="CREATE TABLE city (n INTEGER)",
        ),
        Specimen(
            [{"sqlite": "CREATE TRIGGER note AFTER INSERT ON city FOR EACH ROW EXECUTE FUNCTION stamp()",
              "postgres": "CREATE TRIGGER note AFTER INSERT ON city FOR EACH ROW "
                          "EXECUTE FUNCTION suppress_redundant_updates_trigger()"}],
            schema="CREATE TABLE city (n INTEGER)",
        ),
        Specimen(["DROP TRIGGER IF EXISTS note ON city"], schema="CREATE TABLE city (n INTEGER)"),
        Specimen(["DROP TRIGGER IF EXISTS note"], schema="CREATE TABLE city (n INTEGER)"),
    )  # fmt: skip
    near_misses = (Specimen(["DROP TABLE city"], schema="CREATE TABLE city (n INTEGER)"),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            text = evidence.sql("postgres")
            if failure.sqlstate != "42601":
                return False
            if has(text, r"\bCREATE\s+(TEMP\w*\s+)?TRIGGER\b"):
                return has(text, r"\bTRIGGER\s+IF\b|\bBEGIN\b|\bRAISE\s*\(")
            return has(text, r"^\s*DROP\s+TRIGGER\b") and not has(text, r"\bON\b")
        text = evidence.sql("sqlite")
        if evidence.raised("sqlite") is None:
            return False
        if has(text, r"^\s*DROP\s+TRIGGER\b"):
            return has(text, r"\bON\b")
        return has(text, r"\bTRIGGER\b.*\bEXECUTE\s+(FUNCTION|PROCEDURE)\b")


class PostgresOnlyObject(Rule):
    """A kind of object that only PostgreSQL has.

    What differs:
        SQLite refuses to create, change or drop sequences, types, domains, extensions, schemas, functions,
        materialized views, roles and policies, CREATE OR REPLACE, COMMENT ON, GRANT and DO.
    Why:
        A SQLite database holds tables, views, indexes and triggers, nothing else, and has no users.
    Instead:
        Keep these statements in the PostgreSQL schema. A CHECK stands in for an enumerated type:
        ``CREATE TABLE task (state TEXT CHECK (state IN ('new', 'done')))``; DROP VIEW and CREATE VIEW for
        CREATE OR REPLACE VIEW.
    References:
        https://www.sqlite.org/lang.html
        https://www.postgresql.org/docs/current/sql-commands.html
    """

    name = "postgres-only-object"
    title = "statement about an object that SQLite does not have"
    instead = "keep it in the PostgreSQL schema; CHECK (x IN (...)) for an enum"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["CREATE TYPE mood AS ENUM ('sad', 'glad')"]),
        Specimen(["CREATE SEQUENCE counter"]),
        Specimen(["CREATE SCHEMA app"]),
        Specimen(["CREATE FUNCTION one() RETURNS int AS $$ SELECT 1 $$ LANGUAGE sql"]),
        Specimen(["CREATE OR REPLACE VIEW names AS SELECT 1 AS n"]),
        Specimen(["DO $$ BEGIN END $$"]),
        Specimen(["DROP SEQUENCE IF EXISTS counter"]),
    )
    near_misses = (
        Specimen(["CREATE TABLE task (state TEXT CHECK (state IN ('new', 'done')))"]),
        Specimen(["CREATE VIEW names AS SELECT 1 AS n", "DROP VIEW names"]),
    )
    _only: ClassVar[str] = (
        r"(?:^|;)\s*(?:(?:CREATE|DROP|ALTER)\s+(?:OR\s+REPLACE\b|(?:SEQUENCE|TYPE|DOMAIN|EXTENSION"
        r"|SCHEMA|FUNCTION|PROCEDURE|AGGREGATE|OPERATOR|CAST|COLLATION|MATERIALIZED|ROLE|USER|GROUP|POLICY|RULE"
        r"|STATISTICS|SERVER|FOREIGN|PUBLICATION|SUBSCRIPTION|DATABASE|TABLESPACE|LANGUAGE|EVENT|CONSTRAINT"
        r"|OWNED|TEMP\w*\s+SEQUENCE|RECURSIVE)\b)|(?:COMMENT\s+ON|GRANT|REVOKE|DO|CLUSTER|REFRESH|REASSIGN)\b)"
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None:
            return False
        if not said(failure, "syntax error|unrecognized token|incomplete input|one statement at a time"):
            return False
        return has(evidence.sql("sqlite"), self._only)


class SqliteOnlyObject(Rule):
    """A kind of object, or a way to create one, that only SQLite has.

    What differs:
        PostgreSQL refuses CREATE VIRTUAL TABLE, CREATE VIEW IF NOT EXISTS and ATTACH with a syntax error.
    Why:
        Virtual tables and attached files are parts of SQLite's library. PostgreSQL replaces a view instead.
    Instead:
        ``DROP VIEW IF EXISTS names`` and ``CREATE VIEW names AS SELECT 1 AS n`` run on both. Full-text search
        needs a module in SQLite and a tsvector in PostgreSQL: a schema file for each.
    References:
        https://www.sqlite.org/lang_createvtab.html
        https://www.sqlite.org/lang_createview.html
        https://www.postgresql.org/docs/current/sql-createview.html
    """

    name = "sqlite-only-object"
    title = "statement about an object that PostgreSQL does not have"
    instead = "keep it in the SQLite schema; DROP VIEW IF EXISTS, then CREATE VIEW"
    kinds = frozenset({"error", "state"})
    priority = 7
    specimens = (
        Specimen(["CREATE VIRTUAL TABLE page USING fts5(body)"]),
        Specimen(["CREATE VIEW IF NOT EXISTS names AS SELECT 1 AS n"]),
        Specimen(["ATTACH DATABASE ':memory:' AS other"]),
    )
    near_misses = (Specimen(["DROP VIEW IF EXISTS names", "CREATE VIEW names AS SELECT 1 AS n"]),)
    _only: ClassVar[str] = (
        r"(?:^|;)\s*(?:CREATE\s+VIRTUAL\s+TABLE|CREATE\s+(?:TEMP\w*\s+)?VIEW\s+IF\s+NOT|(?:AT|DE)TACH)\b"
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "state":
            return self._shadow(evidence)
        if at(evidence.raised("postgres")) not in ("VIRTUAL", "NOT", "ATTACH", "DETACH", "IF"):
            return False
        return has(evidence.sql("postgres"), self._only)

    def _shadow(self, evidence: Evidence) -> bool:
        """Return whether the table that only SQLite has is virtual, or holds a virtual table's data."""
        table = evidence.divergence.table or ""
        if evidence.divergence.difference is not None:
            return False
        for statement in evidence.recordings["sqlite"].statements:
            for found in re.finditer(
                r"\bVIRTUAL\s+TABLE\s+(?:IF\s+NOT\s+EXISTS\s+)?[\"`\[]?(\w+)", statement.sql, re.I
            ):
                if table == found[1].lower() or table.startswith(found[1].lower() + "_"):
                    return True
        return False


class DropCascade(Rule):
    """DROP with CASCADE or RESTRICT, or of something that others depend on.

    What differs:
        SQLite refuses the words CASCADE and RESTRICT. Without them PostgreSQL refuses to drop what a view, a
        foreign key or another object depends on (2BP01), where SQLite drops it.
    Why:
        PostgreSQL keeps track of dependencies. SQLite finds a broken view only when it is used.
    Instead:
        Drop in the order of dependence, views and referencing tables first: ``DROP VIEW IF EXISTS names``,
        then ``DROP TABLE IF EXISTS city``.
    References:
        https://www.sqlite.org/lang_droptable.html
        https://www.postgresql.org/docs/current/ddl-depend.html
    """

    name = "drop-cascade"
    title = "DROP: CASCADE and dependencies exist on PostgreSQL only"
    instead = "drop dependent objects first, without CASCADE"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["DROP TABLE IF EXISTS city CASCADE"], schema="CREATE TABLE city (n INTEGER)"),
        Specimen(
            ["DROP TABLE city"],
            schema="CREATE TABLE city (id INTEGER PRIMARY KEY);"
            "CREATE TABLE road (c INTEGER REFERENCES city (id));",
        ),
    )
    near_misses = (
        Specimen(
            ["DROP VIEW IF EXISTS names", "DROP TABLE IF EXISTS city"],
            schema="CREATE TABLE city (n INTEGER); CREATE VIEW names AS SELECT n FROM city;",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            return failure.sqlstate == "2BP01"
        if at(evidence.raised("sqlite")) not in ("CASCADE", "RESTRICT", ","):
            return False
        return has(evidence.sql("sqlite"), r"^\s*DROP\s+\w+\s.*(\b(CASCADE|RESTRICT)\b|,)")


class NameScope(Rule):
    """A name that is taken on one database only.

    What differs:
        The name of a UNIQUE or PRIMARY KEY constraint is the name of an index in PostgreSQL, one of a kind
        in the schema (42P07); SQLite does not look at it. A trigger's name is one of a kind in a SQLite
        database, but in PostgreSQL only for its table.
    Why:
        The databases have other namespaces.
    Instead:
        Put the table into the name: ``CREATE TABLE city (code TEXT, CONSTRAINT city_code_key UNIQUE
        (code))``.
    References:
        https://www.sqlite.org/lang_createtrigger.html
        https://www.postgresql.org/docs/current/sql-createtable.html
    """

    name = "name-scope"
    title = "name that only one database holds to be taken"
    instead = "names with the table's name in them"
    kinds = ERROR
    specimens = (
        Specimen(
            ["CREATE TABLE road (code TEXT, CONSTRAINT code_key UNIQUE (code))"],
            schema="CREATE TABLE city (code TEXT, CONSTRAINT code_key UNIQUE (code));",
        ),
    )
    near_misses = (
        Specimen(
            ["CREATE TABLE road (code TEXT, CONSTRAINT road_code_key UNIQUE (code))"],
            schema="CREATE TABLE city (code TEXT, CONSTRAINT city_code_key UNIQUE (code));",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            taken = said(failure, r'^relation "(.+?)" already exists')
            if taken is None:
                return False
            return has(evidence.sql("postgres"), rf"\bCONSTRAINT\s+\"?{re.escape(taken[1])}\b")
        return said(evidence.raised("sqlite"), r"^trigger \S+ already exists") is not None
