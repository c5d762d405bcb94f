"""Why statements that meet each other, or their own rows, differ: locks and moments of checking."""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.constraints import violated_columns, violated_table, violation
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import OTHER, bare, said

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE); INSERT INTO item VALUES (1, 'a');"
_TWO = "CREATE TABLE item (id INTEGER PRIMARY KEY);INSERT INTO item VALUES (2); INSERT INTO item VALUES (1);"


class DatabaseLocked(Rule):
    """Two connections that write at the same time.

    What differs:
        SQLite fails with ``database is locked`` (or ``database table is locked``); PostgreSQL lets both write
        as long as it is not the same row.
    Why:
        A SQLite file has one writer at a time, and a lock held across a read keeps others from writing.
    Instead:
        Short transactions, read rows to the end, one writing connection; ``PRAGMA journal_mode = WAL`` and a
        longer ``timeout`` on the SQLite side help.
    References:
        https://www.sqlite.org/lockingv3.html
        https://www.sqlite.org/wal.html
        https://www.postgresql.org/docs/current/explicit-locking.html
    """

    name = "database-locked"
    title = "SQLite has one writer at a time: database is locked"
    instead = "short transactions and one writing connection; a longer timeout"
    kinds = frozenset({"error", "outcome"})
    specimens = (
        Specimen([lambda db: _two_writers(db)], _ITEM + "INSERT INTO item VALUES (5, 'e');"),
        Specimen([lambda db: _drop_while_reading(db)], _ITEM + "INSERT INTO item VALUES (5, 'e');"),
    )
    near_misses = (Specimen(["UPDATE item SET code = 'b'", "COMMIT", "DELETE FROM item", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return said(evidence.raised("sqlite"), r"database (table |schema )?is locked") is not None


def _two_writers(db: Any) -> None:
    arguments = {"timeout": 0.01} if db.backend == "sqlite" else {}
    first, second = db.connect(**arguments), db.connect(**arguments)
    first.cursor().execute("UPDATE item SET code = 'x' WHERE id = 1")
    try:
        second.cursor().execute("UPDATE item SET code = 'y' WHERE id = 5")
    except Exception:
        first.rollback()
    second.rollback()


def _drop_while_reading(db: Any) -> None:
    reader = db.connection.cursor()
    reader.execute("SELECT id FROM item")
    reader.fetchone()
    try:
        db.connection.cursor().execute("DROP TABLE item")
    finally:
        reader.close()
        db.connection.rollback()


class SelectForUpdate(Rule):
    """SELECT ... FOR UPDATE or LOCK TABLE.

    What differs:
        SQLite refuses both with a syntax error; PostgreSQL locks the rows or the table.
    Why:
        SQLite locks the whole file, from the first write of a transaction on.
    Instead:
        On SQLite leave it out: whoever writes first holds the file. Or check while writing, on both:
        ``UPDATE item SET code = 'b' WHERE id = 1 AND code = 'a'`` and look at rowcount.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://www.postgresql.org/docs/current/sql-select.html#SQL-FOR-UPDATE-SHARE
    """

    name = "select-for-update"
    title = "row and table locks exist on PostgreSQL only"
    instead = "leave FOR UPDATE out on SQLite, or check in the UPDATE's WHERE"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["SELECT id FROM item WHERE id = 1 FOR UPDATE SKIP LOCKED", "ROLLBACK"], _ITEM),
        Specimen(["LOCK TABLE item IN EXCLUSIVE MODE", "ROLLBACK"], _ITEM),
    )
    near_misses = (Specimen(["UPDATE item SET code = 'b' WHERE id = 1 AND code = 'a'", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        word = at(evidence.raised("sqlite"))
        if word not in ("FOR", "UPDATE", "SHARE", "LOCK", "NO", "KEY"):
            return False
        return has(evidence.sql("sqlite"), r"\bFOR\s+(UPDATE|SHARE|NO\s+KEY|KEY\s+SHARE)\b|^\s*LOCK\b")


class ConcurrentUpdate(Rule):
    """Transactions that get in each other's way on PostgreSQL.

    What differs:
        PostgreSQL fails with a serialization failure (40001), a deadlock (40P01), or a lock that was not to
        be had (55P03, 57014); on SQLite one waits for the other.
    Why:
        PostgreSQL locks rows and runs writers at the same time. SQLite runs them one after the other.
    Instead:
        Try the transaction again after 40001 and 40P01, take locks in one order, end transactions before
        another connection needs their rows, or drops their tables: a SELECT holds its table until then.
    References:
        https://www.sqlite.org/isolation.html
        https://www.postgresql.org/docs/current/mvcc-serialization-failure-handling.html
        https://www.postgresql.org/docs/current/explicit-locking.html#LOCKING-DEADLOCKS
    """

    name = "concurrent-update"
    title = "serialization failure, deadlock or lock timeout on PostgreSQL"
    instead = "retry the transaction; take locks in one order"
    kinds = frozenset({"error", "outcome"})
    specimens = (Specimen([lambda db: _same_row(db)], _ITEM),)
    near_misses = (
        Specimen(["UPDATE item SET code = 'b'", "COMMIT", "UPDATE item SET code = 'c'", "COMMIT"], _ITEM),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        return failure is not None and failure.sqlstate in ("40001", "40P01", "55P03", "57014")

    def advice(self, evidence: Evidence) -> str:
        failure = evidence.raised("postgres")
        if failure is not None and failure.sqlstate == "55P03":
            return "commit, roll back or close the other connection's transaction first"
        return self.instead


def _same_row(db: Any) -> None:
    first, second = db.connect(), db.connect()
    if db.backend == "postgres":
        first.set_session(isolation_level="REPEATABLE READ")
    reader = first.cursor()
    reader.execute("SELECT id FROM item")
    reader.fetchall()
    second.cursor().execute("UPDATE item SET code = 'x'")
    second.commit()
    try:
        first.cursor().execute("UPDATE item SET code = 'y'")
    finally:
        first.rollback()


class DeferredConstraint(Rule):
    """A foreign key that one database checks at the commit.

    What differs:
        One refuses the statement at once, the other only the commit, or nothing because the parent came in
        between.
    Why:
        DEFERRABLE INITIALLY DEFERRED is declared in one of the schemas only. SQLite has no ALTER or SET
        CONSTRAINTS to change it.
    Instead:
        The same in both schemas: ``CREATE TABLE road (city_id INTEGER REFERENCES city (id) DEFERRABLE
        INITIALLY DEFERRED)``; or write parents first.
    References:
        https://www.sqlite.org/foreignkeys.html#fk_deferred
        https://www.postgresql.org/docs/current/sql-set-constraints.html
    """

    name = "deferred-constraint"
    title = "foreign key that only one database checks at the commit"
    instead = "DEFERRABLE INITIALLY DEFERRED in both schemas, or parents first"
    kinds = ERROR
    priority = 12
    _SCHEMA: ClassVar[dict[str, str]] = {
        "sqlite": "CREATE TABLE city (id INTEGER PRIMARY KEY);"
        "CREATE TABLE road (city INTEGER REFERENCES city (id));",
        "postgres": "CREATE TABLE city (id INTEGER PRIMARY KEY);"
        "CREATE TABLE road (city INTEGER REFERENCES city (id) DEFERRABLE INITIALLY DEFERRED);",
    }
    specimens = (
        Specimen([lambda db: _check_foreign_keys(db), "INSERT INTO road VALUES (5)", "ROLLBACK"], _SCHEMA),
        Specimen(["SET CONSTRAINTS ALL DEFERRED", "ROLLBACK"], _SCHEMA),
    )
    near_misses = (
        Specimen(
            [
                {"sqlite": "PRAGMA foreign_keys = ON"},
                "INSERT INTO road VALUES (5)",
                "INSERT INTO city VALUES (5)",
                "COMMIT",
            ],
            _SCHEMA["postgres"],
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
        if at(sqlite) == "SET":
            return has(evidence.sql("sqlite"), r"^\s*SET\s+CONSTRAINTS\b")
        if violation(sqlite or postgres) != "foreign":
            return False
        tables = [violated_table(evidence, backend) for backend in OTHER]
        deferrable = [
            table is not None and any(key.deferrable for key in table.foreign_keys) for table in tables
        ]
        return deferrable[0] != deferrable[1] and None not in tables


def _check_foreign_keys(db: Any) -> None:
    if db.backend == "sqlite":
        db.connection.execute("PRAGMA foreign_keys = ON")


class UniquePerRow(Rule):
    """An UPDATE that moves unique values over each other.

    What differs:
        It fails on one database (23505, ``UNIQUE constraint failed``) and works on the other.
    Why:
        Both check a unique index row by row while they update, and they come to the rows in another order:
        SQLite by rowid or an index, PostgreSQL as the rows lie in the table.
    Instead:
        Two steps over values that are free: ``UPDATE item SET id = -id - 1``, then
        ``UPDATE item SET id = -id WHERE id < 0``.
    References:
        https://www.sqlite.org/lang_update.html
        https://www.postgresql.org/docs/current/sql-createtable.html
    """

    name = "unique-per-row"
    title = "UPDATE over its own unique values depends on the order of rows"
    instead = "two UPDATEs over values that are free"
    kinds = ERROR
    specimens = (
        Specimen(
            ["UPDATE item SET id = id + 1", "ROLLBACK"],
            _TWO,
        ),
    )
    near_misses = (
        Specimen(
            ["UPDATE item SET id = -id - 1", "UPDATE item SET id = -id WHERE id < 0", "COMMIT"],
            _TWO,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        for backend, other in OTHER.items():
            failure = evidence.raised(backend)
            if failure is None or evidence.raised(other) is not None or violation(failure) != "unique":
                continue
            text = bare(evidence.sql(backend))
            columns = violated_columns(failure)
            return any(
                re.search(
                    rf"\bSET\b.*\b{re.escape(c)}\"?\s*=\s*(?:[^,]*\b{re.escape(c)}\b|CASE\b)",
                    text,
                    re.I | re.S,
                )
                for c in columns
            )
        return False


class NamedCursor(Rule):
    """A server-side cursor whose transaction has ended.

    What differs:
        Fetching on after a commit fails on PostgreSQL (34000, ``named cursor isn't valid anymore``), and in
        autocommit mode such a cursor is refused from the start. sqlite3's cursors go on.
    Why:
        A named cursor is declared inside a transaction and ends with it, unless it is declared WITH HOLD.
        sqlite3 has no cursors on a server.
    Instead:
        Commit after the last row, fetch all rows first, write over a second connection, or
        ``connection.cursor("name", withhold=True)``. Reading in portions needs no cursor:
        ``SELECT id FROM item WHERE id > 100 ORDER BY id LIMIT 50``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.fetchmany
        https://www.psycopg.org/docs/usage.html#server-side-cursors
        https://www.postgresql.org/docs/current/sql-declare.html
    """

    name = "named-cursor"
    title = "a named cursor ends with its transaction on PostgreSQL"
    instead = "commit after the last row, or withhold=True"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen([lambda db: _fetch_over_commit(db)], _TWO),
        Specimen([lambda db: _fetch_over_commit(db, autocommit=True)], _TWO),
    )
    near_misses = (Specimen([lambda db: _fetch_over_commit(db, withhold=True)], _TWO),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None:
            return False
        if failure.sqlstate == "34000":
            return True
        return (
            said(
                failure,
                "named cursor isn't valid|can't use a named cursor outside|DECLARE CURSOR can only be used in",
            )
            is not None
        )


def _fetch_over_commit(db: Any, *, autocommit: bool = False, withhold: bool = False) -> None:
    connection = db.connection
    if db.backend == "postgres":
        connection.autocommit = autocommit
        cursor = connection.cursor("items", withhold=withhold)
    else:
        cursor = connection.cursor()
    cursor.execute("SELECT id FROM item ORDER BY id")
    cursor.fetchone()
    connection.commit()
    cursor.fetchone()


class OutsideTransactionBlock(Rule):
    """A statement that must not be inside a transaction.

    What differs:
        PostgreSQL refuses VACUUM, CREATE DATABASE, CREATE INDEX CONCURRENTLY and the like in a transaction
        (25001), and psycopg2 opens one before every statement; sqlite3 does not.
    Why:
        These statements commit on their own.
    Instead:
        A connection with autocommit for them, on both.
    References:
        https://www.sqlite.org/lang_vacuum.html
        https://www.postgresql.org/docs/current/sql-vacuum.html
        https://www.psycopg.org/docs/connection.html#connection.autocommit
    """

    name = "outside-transaction-block"
    title = "statement that must run outside of a transaction"
    instead = "a connection with autocommit for VACUUM and the like"
    kinds = ERROR
    specimens = (Specimen(["VACUUM"]),)
    near_misses = (Specimen(["ANALYZE"]),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            return failure.sqlstate == "25001"
        return said(evidence.raised("sqlite"), "from within a transaction|inside a transaction") is not None
