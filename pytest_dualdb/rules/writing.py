"""Why INSERT, UPDATE and DELETE, and what they give back, differ."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import Statement
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import said

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER);"
_ITEM_1 = _ITEM + "INSERT INTO item VALUES (1, 'a', 1);"
_KEYED = {
    "sqlite": "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE);",
    "postgres": "CREATE TABLE item (id SERIAL PRIMARY KEY, code TEXT UNIQUE);",
}


class OrConflictClause(Rule):
    """INSERT OR REPLACE, INSERT OR IGNORE, REPLACE INTO, UPDATE OR ...

    What differs:
        PostgreSQL refuses the statement with a syntax error (42601); SQLite resolves the conflict.
    Why:
        The OR clause is SQLite's own. ON CONFLICT is what both have, and it names the conflict.
    Instead:
        ``INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT DO NOTHING`` for OR IGNORE, and
        ``INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n`` for OR
        REPLACE, which deletes the old row first: columns that the statement leaves out get their defaults.
    References:
        https://www.sqlite.org/lang_conflict.html
        https://www.sqlite.org/lang_upsert.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "or-conflict-clause"
    title = "OR REPLACE, OR IGNORE and REPLACE INTO exist on SQLite only"
    instead = "INSERT ... ON CONFLICT DO NOTHING, or ON CONFLICT (key) DO UPDATE SET ..."
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(
            [("INSERT OR IGNORE INTO item (id, code, n) VALUES (?, ?, ?)", (1, "b", 2)), "ROLLBACK"], _ITEM_1
        ),
        Specimen(["insert or replace into item values (1, 'b', 2)", "ROLLBACK"], _ITEM_1),
        Specimen(["REPLACE INTO item (id, code) VALUES (1, 'b')", "ROLLBACK"], _ITEM_1),
        Specimen(["UPDATE OR IGNORE item SET code = 'b'", "ROLLBACK"], _ITEM_1),
        Specimen(["CREATE TABLE tag (name TEXT UNIQUE ON CONFLICT IGNORE)"]),
    )
    near_misses = (
        Specimen(
            [
                "INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT DO NOTHING",
                "INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
                "SELECT code FROM item WHERE replace(code, 'a', 'b') = 'b' OR n = 1",
                "COMMIT",
            ],
            _ITEM_1,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        word = at(evidence.raised("postgres"))
        if word not in ("OR", "REPLACE", "ON", "CONFLICT", "IGNORE"):
            return False
        text = evidence.sql("postgres")
        if has(
            text,
            r"\b(INSERT|UPDATE)\s+OR\s+(REPLACE|IGNORE|ABORT|FAIL|ROLLBACK)\b|(^|;|\))\s*REPLACE\s+INTO\b",
        ):
            return True
        return has(text, r"\bCREATE\b.*\bON\s+CONFLICT\s+(REPLACE|IGNORE|ABORT|FAIL|ROLLBACK)\b")


class ConflictTarget(Rule):
    """An ON CONFLICT clause whose target only one database accepts.

    What differs:
        PostgreSQL wants columns after ON CONFLICT when it is to update (42601) and a unique constraint on
        just these (42P10); SQLite takes DO UPDATE without a target, but no ON CONSTRAINT name.
    Why:
        PostgreSQL infers one index from the target before it starts. SQLite tries all of its indexes.
    Instead:
        Name the columns of a unique constraint that both schemas have:
        ``INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n``.
    References:
        https://www.sqlite.org/lang_upsert.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "conflict-target"
    title = "ON CONFLICT target that only one database accepts"
    instead = "ON CONFLICT (columns of a unique constraint of both schemas)"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(
            ["INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT DO UPDATE SET n = 2", "ROLLBACK"], _ITEM_1
        ),
        Specimen(
            ["INSERT INTO item (id) VALUES (1) ON CONFLICT ON CONSTRAINT item_pkey DO NOTHING", "ROLLBACK"],
            _ITEM_1,
        ),
        Specimen(
            ["INSERT INTO tag (name) VALUES ('a') ON CONFLICT (name) DO NOTHING", "ROLLBACK"],
            {"sqlite": "CREATE TABLE tag (name TEXT UNIQUE)", "postgres": "CREATE TABLE tag (name TEXT)"},
        ),
    )
    near_misses = (
        Specimen(
            [
                "INSERT INTO item (id, n) VALUES (1, 2) ON CONFLICT (id) DO UPDATE SET n = excluded.n",
                "COMMIT",
            ],
            _ITEM_1,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
        if sqlite is not None:
            if said(sqlite, "ON CONFLICT clause does not match"):
                return True
            return at(sqlite) in ("ON", "CONSTRAINT") and has(
                evidence.sql("sqlite"), r"\bCONFLICT\s+ON\s+CONSTRAINT\b"
            )
        if postgres is None or not has(evidence.sql("postgres"), r"\bON\s+CONFLICT\b"):
            return False
        return (
            postgres.sqlstate == "42P10"
            or said(postgres, "ON CONFLICT DO UPDATE requires inference") is not None
        )


class UpsertOfSelect(Rule):
    """INSERT ... SELECT ... ON CONFLICT without a WHERE.

    What differs:
        SQLite fails with ``near "DO": syntax error``; PostgreSQL runs the statement.
    Why:
        After ``FROM t`` SQLite's parser takes ON for the beginning of a join condition.
    Instead:
        Give the SELECT a WHERE, if only a true one:
        ``INSERT INTO item (id) SELECT id FROM item WHERE true ON CONFLICT (id) DO NOTHING``.
    References:
        https://www.sqlite.org/lang_upsert.html#parsing_ambiguity
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "upsert-of-select"
    title = "INSERT ... SELECT ... ON CONFLICT needs a WHERE on SQLite"
    instead = "INSERT ... SELECT ... WHERE true ON CONFLICT ..."
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(
            ["INSERT INTO item (id) SELECT id FROM item ON CONFLICT (id) DO NOTHING", "ROLLBACK"], _ITEM_1
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO item (id) SELECT id FROM item WHERE true ON CONFLICT (id) DO NOTHING", "COMMIT"],
            _ITEM_1,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if at(evidence.raised("sqlite")) != "DO":
            return False
        return has(evidence.sql("sqlite"), r"\bINSERT\b.*\bSELECT\b.*\bFROM\b.*\bON\s+CONFLICT\b")


class UpsertAmbiguousColumn(Rule):
    """A bare column name in ON CONFLICT DO UPDATE.

    What differs:
        PostgreSQL fails (42702: ambiguous); SQLite takes the column of the row that is there.
    Why:
        Two rows are in scope, the table's and ``excluded``. PostgreSQL does not guess.
    Instead:
        Put the table's name before it:
        ``INSERT INTO item (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = item.n + 1``.
    References:
        https://www.sqlite.org/lang_upsert.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "upsert-ambiguous-column"
    title = "bare column in ON CONFLICT DO UPDATE is ambiguous on PostgreSQL"
    instead = "the table's name before the column: SET n = item.n + 1"
    kinds = ERROR
    specimens = (
        Specimen(
            ["INSERT INTO item (id) VALUES (1) ON CONFLICT (id) DO UPDATE SET n = n + 1", "ROLLBACK"], _ITEM_1
        ),
        Specimen(
            [
                (
                    "INSERT INTO item (id) VALUES (?) ON CONFLICT (id) DO UPDATE SET n = coalesce(n, 1)",
                    (1,),
                ),
                "ROLLBACK",
            ],
            _ITEM_1,
        ),
    )
    near_misses = (
        Specimen(
            [
                "INSERT INTO item (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = item.n + 1",
                "COMMIT",
            ],
            _ITEM_1,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "42702":
            return False
        return has(evidence.sql("postgres"), r"\bON\s+CONFLICT\b.*\bDO\s+UPDATE\b")


class UpsertTwice(Rule):
    """An upsert that meets the same row twice.

    What differs:
        PostgreSQL fails (21000: cannot affect row a second time); SQLite applies one after the other.
    Why:
        Within one PostgreSQL command a row has one new version.
    Instead:
        Make the keys of the rows unique before, in the application or with GROUP BY, or upsert them one by
        one: ``INSERT INTO item (id, n) VALUES (7, 4) ON CONFLICT (id) DO UPDATE SET n = excluded.n``.
    References:
        https://www.sqlite.org/lang_upsert.html
        https://www.postgresql.org/docs/current/sql-insert.html#SQL-ON-CONFLICT
    """

    name = "upsert-twice"
    title = "upsert meets one row twice, which PostgreSQL refuses"
    instead = "unique keys within one statement, or one statement for each row"
    kinds = ERROR
    specimens = (
        Specimen(
            [
                "INSERT INTO item (id, n) VALUES (7, 3), (7, 4) ON CONFLICT (id) DO UPDATE SET n = 5",
                "ROLLBACK",
            ],
            _ITEM,
        ),
    )
    near_misses = (
        Specimen(
            [
                "INSERT INTO item (id, n) VALUES (7, 3), (8, 4) ON CONFLICT (id) DO UPDATE SET n = 5",
                "COMMIT",
            ],
            _ITEM,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "21000":
            return False
        return said(failure, "a second time") is not None


class RowcountOfResult(Rule):
    """rowcount of a statement that returns rows.

    What differs:
        sqlite3 says -1 for SELECT and for statements that begin with WITH, and for RETURNING a number that
        is right only after the rows are fetched; psycopg2 says how many rows there are.
    Why:
        SQLite computes rows while they are fetched; psycopg2 has them all at the client.
    Instead:
        ``SELECT count(*) FROM item``, or count the fetched rows.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.rowcount
        https://www.sqlite.org/c3ref/changes.html
        https://www.psycopg.org/docs/cursor.html#cursor.rowcount
    """

    name = "rowcount-of-result"
    title = "rowcount of a statement with a result is not known on SQLite"
    instead = "count the fetched rows, or SELECT count(*)"
    kinds = frozenset({"rowcount", "observed"})
    priority = 20  # -1 is no count, whatever the statement could count differently
    specimens = (
        Specimen([lambda db: _rowcount(db, "SELECT id FROM item")], _ITEM_1),
        Specimen(
            [
                lambda db: _rowcount(
                    db, "WITH x AS (SELECT 1 AS k) DELETE FROM item WHERE id IN (SELECT k FROM x)"
                ),
                "COMMIT",
            ],
            _ITEM_1,
        ),
        Specimen(
            [
                lambda db: _rowcount(
                    db,
                    "WITH x AS (SELECT 1 AS k) UPDATE item SET n = 2 WHERE state > 'a' AND id IN (SELECT k FROM x)",
                ),
                "COMMIT",
            ],
            {
                "sqlite": _ITEM_1 + "ALTER TABLE item ADD COLUMN state TEXT DEFAULT 'b';",
                "postgres": "CREATE TYPE state AS ENUM ('a', 'b');"
                + _ITEM_1
                + "ALTER TABLE item ADD COLUMN state state DEFAULT 'b';",
            },
        ),
    )
    near_misses = (
        Specimen([lambda db: _rowcount(db, "UPDATE item SET n = n + 1"), "ROLLBACK"], _ITEM_1),
        Specimen(
            [lambda db: _rowcount(db, "UPDATE item SET n = 5 WHERE code LIKE 'A' RETURNING id"), "COMMIT"],
            _ITEM_1,
            ("like-case",),
        ),
        Specimen(
            [lambda db: _rowcount(db, "UPDATE item SET n = n + 1"), "COMMIT"],
            {"sqlite": _ITEM_1, "postgres": _ITEM_1 + "INSERT INTO item VALUES (2, 'b', 2);"},
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "observed":
            difference = evidence.divergence.difference
            return difference is not None and any(
                "rowcount" in a.read and difference.only_sqlite == ((a.rowcount,),) and self._unknown(a)
                for a in evidence.recordings["sqlite"].statements
            )
        if (
            not evidence.divergence.message.startswith("rowcount")
            or evidence.sqlite is None
            or evidence.postgres is None
        ):
            return False
        if evidence.sqlite.rowcount != -1 and len(evidence.sqlite.rows) != len(evidence.postgres.rows):
            return False
        return evidence.postgres.rowcount > evidence.sqlite.rowcount and self._unknown(evidence.sqlite)

    def _unknown(self, statement: Statement) -> bool:
        if statement.rowcount == -1:
            return statement.kind != "script"
        seen = statement.fetched == "none" or len(statement.rows) > statement.rowcount
        return seen and has(statement.sql, r"\bRETURNING\b")


def _rowcount(db: Any, sql: str) -> None:
    cursor = db.connection.cursor()
    cursor.execute(sql)
    assert cursor.rowcount is not None
    if cursor.description is not None:
        cursor.fetchall()


class LimitedWrite(Rule):
    """UPDATE or DELETE with ORDER BY or LIMIT.

    What differs:
        PostgreSQL refuses the statement (42601). SQLite takes it where it was built to, as on Debian and
        Ubuntu; on macOS, Windows and elsewhere it does not.
    Why:
        LIMIT belongs to queries; SQLite has it for writes as a compile-time option.
    Instead:
        ``DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 1)``.
    References:
        https://www.sqlite.org/lang_delete.html
        https://www.postgresql.org/docs/current/sql-delete.html
    """

    name = "limited-write"
    title = "UPDATE or DELETE with ORDER BY or LIMIT, refused by PostgreSQL"
    instead = "WHERE id IN (SELECT id ... ORDER BY ... LIMIT n)"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen([{"sqlite": "DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 1)",
                   "postgres": "DELETE FROM item ORDER BY id LIMIT 1"}, "ROLLBACK"], _ITEM_1),
        Specimen(
            [{"sqlite": "UPDATE item SET n = 1", "postgres": "UPDATE item SET n = 1 LIMIT 1"}, "ROLLBACK"],
            _ITEM_1,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen(
            ["DELETE FROM item WHERE id IN (SELECT id FROM item ORDER BY id LIMIT 1)", "COMMIT"], _ITEM_1
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if at(evidence.raised("postgres")) not in ("LIMIT", "ORDER"):
            return False
        return syntax.verb(evidence.sql("postgres")) in ("UPDATE", "DELETE")


class PostgresOnlyWrite(Rule):
    """A form of INSERT, UPDATE or DELETE that only PostgreSQL has.

    What differs:
        SQLite refuses DELETE ... USING, DEFAULT among values, OVERRIDING, INSERT or UPDATE inside WITH,
        MERGE, SELECT INTO, ONLY, ROW(...) in SET, and an alias without AS.
    Why:
        SQLite's grammar is closer to the standard's core, with its own additions.
    Instead:
        ``DELETE FROM item WHERE id IN (SELECT id FROM item WHERE n = 1)`` for USING,
        ``UPDATE item AS i SET n = 2 WHERE i.id = 1`` with AS, ``CREATE TABLE copy AS SELECT id FROM item``
        for SELECT INTO, and leave a column out for its default.
    References:
        https://www.sqlite.org/lang_delete.html
        https://www.sqlite.org/lang_insert.html
        https://www.postgresql.org/docs/current/sql-delete.html
        https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-MODIFYING
    """

    name = "postgres-only-write"
    title = "form of INSERT, UPDATE or DELETE that SQLite does not have"
    instead = "subqueries for USING and for writes in WITH; AS before an alias"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["DELETE FROM item USING item AS i WHERE item.id = i.id", "ROLLBACK"], _ITEM_1),
        Specimen(
            ["WITH x AS (INSERT INTO item VALUES (9, 'u', 1) RETURNING id) SELECT id FROM x", "ROLLBACK"],
            _ITEM_1,
        ),
        Specimen(["UPDATE item i SET n = 4 WHERE i.id = 1", "ROLLBACK"], _ITEM_1),
        Specimen(["UPDATE item SET n = DEFAULT", "ROLLBACK"], _ITEM_1),
        Specimen(["SELECT id INTO other FROM item", "ROLLBACK"], _ITEM_1),
    )
    near_misses = (
        Specimen(
            [
                "UPDATE item AS i SET n = 2 WHERE i.id = 1",
                "DELETE FROM item WHERE id IN (SELECT id FROM item WHERE n = 1)",
                "COMMIT",
            ],
            _ITEM_1,
        ),
    )  # fmt: skip
    _forms: ClassVar[Sequence[tuple[str, str]]] = (
        ("USING", r"\bDELETE\b.*\bUSING\b"),
        ("DEFAULT", r"\b(VALUES|SET)\b.*\bDEFAULT\b"),
        ("OVERRIDING", r"\bOVERRIDING\b"),
        (
            "INSERT|UPDATE|DELETE",
            r"\bWITH\b.*\bAS\s+((NOT\s+)?MATERIALIZED\s+)?\(\s*(INSERT|UPDATE|DELETE)\b",
        ),
        ("MERGE", r"^\s*MERGE\b"),
        ("INTO", r"\bSELECT\b.*\bINTO\b"),
        ("TABLE", r"(^|\(|;)\s*TABLE\s"),
        (r".+", r"\b(UPDATE|DELETE\s+FROM)\s+ONLY\s"),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None:
            return False
        text = evidence.sql("sqlite")
        if said(failure, r"^\d+ columns assigned 1 values"):
            return has(text, r"=\s*ROW\s*\(")
        word = at(failure)
        if not word:
            return False
        if any(re.fullmatch(words, word) and has(text, form) for words, form in self._forms):
            return True
        return has(
            text,
            rf"\b(UPDATE\s+\S+\s+\"?{re.escape(word)}\"?\s+SET|DELETE\s+FROM\s+\S+\s+\"?{re.escape(word)}\b)",
        )


class Truncate(Rule):
    """TRUNCATE.

    What differs:
        SQLite fails with ``near "TRUNCATE": syntax error``; PostgreSQL empties the table.
    Why:
        SQLite has no such statement; its DELETE without WHERE is as fast.
    Instead:
        ``DELETE FROM item``. For RESTART IDENTITY, ``DELETE FROM sqlite_sequence WHERE name = 'item'`` on the
        SQLite side.
    References:
        https://www.sqlite.org/lang_delete.html#the_truncate_optimization
        https://www.postgresql.org/docs/current/sql-truncate.html
    """

    name = "truncate"
    title = "TRUNCATE exists on PostgreSQL only"
    instead = "DELETE FROM table"
    kinds = ERROR
    priority = 10
    specimens = (Specimen(["TRUNCATE TABLE item RESTART IDENTITY CASCADE", "ROLLBACK"], _ITEM_1),)
    near_misses = (Specimen(["DELETE FROM item", "COMMIT"], _ITEM_1),)

    def matches(self, evidence: Evidence) -> bool:
        return at(evidence.raised("sqlite")) == "TRUNCATE"
