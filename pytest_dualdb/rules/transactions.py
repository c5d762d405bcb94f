"""Why transactions, savepoints and locks behave differently."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Statement
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.constraints import contents_differ
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import OTHER, bare, said

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE); INSERT INTO item VALUES (1, 'a');"
_END = re.compile(r"\s*(COMMIT|END|ROLLBACK|ABORT)\b(?!.*\bTO\b)", re.I | re.S)
_BEGIN = re.compile(r"\s*(BEGIN|START\s+TRANSACTION|SAVEPOINT)\b", re.I)
_PLAIN_WRITE = re.compile(r"(\s|--[^\n]*\n|/\*.*?\*/)*(INSERT|UPDATE|DELETE|REPLACE)\b", re.I | re.S)


def ending(statements: Sequence[Statement], index: int) -> Statement | None:
    """Return the commit or rollback that ended the transaction of a statement, None if nothing did."""
    own = statements[index]
    return next((s for s in statements[index + 1 :] if s.connection == own.connection and _ends(s)), None)


def _ends(statement: Statement) -> bool:
    return statement.kind in ("commit", "rollback") or bool(_END.match(statement.sql))


def kept(end: Statement | None) -> bool:
    """Return whether an end of a transaction kept its work."""
    if end is None or end.error is not None or end.aborted:
        return False
    return end.kind == "commit" or bool(re.match(r"\s*(COMMIT|END)\b", end.sql, re.I))


def in_transaction(statements: Sequence[Statement], index: int) -> bool:
    """Return whether sqlite3 had opened a transaction before this statement.

    The driver opens one before INSERT, UPDATE, DELETE and REPLACE, and for nothing else
    (https://docs.python.org/3/library/sqlite3.html#sqlite3-transaction-control-isolation-level).
    """
    for earlier in reversed(statements[:index]):
        if earlier.connection != statements[index].connection:
            continue
        if _ends(earlier) or earlier.kind == "script":
            return False
        if _BEGIN.match(earlier.sql) or _PLAIN_WRITE.match(earlier.sql):
            return True
    return False


class AbortedTransaction(Rule):
    """A statement after an error in the same transaction.

    What differs:
        PostgreSQL refuses everything up to the rollback (25P02); SQLite goes on.
    Why:
        A failed statement aborts PostgreSQL's transaction. SQLite undoes the statement alone.
    Instead:
        Roll back after an error, or shield the statement that may fail: ``SAVEPOINT attempt``, the statement,
        ``ROLLBACK TO SAVEPOINT attempt`` when it failed, ``RELEASE SAVEPOINT attempt``. For a duplicate,
        ``INSERT INTO item (id, code) VALUES (1, 'a') ON CONFLICT DO NOTHING`` has no error.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://www.postgresql.org/docs/current/tutorial-transactions.html
        https://www.postgresql.org/docs/current/sql-savepoint.html
    """

    name = "aborted-transaction"
    title = "after an error PostgreSQL refuses the rest of the transaction"
    instead = "ROLLBACK, or a SAVEPOINT around what may fail, or ON CONFLICT DO NOTHING"
    kinds = frozenset({"error", "outcome"})
    priority = 30
    specimens = (
        Specimen(["INSERT INTO item VALUES (1, 'a')", "SELECT code FROM item", "ROLLBACK"], _ITEM),
        Specimen(["SELECT nothing FROM item", ("UPDATE item SET code = ?", ("b",)), "ROLLBACK"], _ITEM),
    )
    near_misses = (
        Specimen(["INSERT INTO item VALUES (1, 'a')", "ROLLBACK", "SELECT code FROM item"], _ITEM),
        Specimen(
            [
                "INSERT INTO item VALUES (2, 'b')", "SAVEPOINT attempt", "INSERT INTO item VALUES (1, 'a')",
                "ROLLBACK TO SAVEPOINT attempt", "RELEASE SAVEPOINT attempt", "SELECT code FROM item",
                "COMMIT",
            ],
            _ITEM,
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        return failure is not None and failure.sqlstate == "25P02"


class CommitOfAborted(Rule):
    """A commit after an error that was swallowed.

    What differs:
        PostgreSQL's COMMIT of an aborted transaction is a ROLLBACK, without an error: all work since the
        transaction began is gone. SQLite commits what succeeded.
    Why:
        A failed statement aborts PostgreSQL's transaction; psycopg2's commit() does not look at the answer.
    Instead:
        Let the error out and roll back, or shield the statement that may fail by ``SAVEPOINT attempt`` and
        ``ROLLBACK TO SAVEPOINT attempt``. For a duplicate,
        ``INSERT INTO item (id, code) VALUES (1, 'a') ON CONFLICT DO NOTHING`` has no error.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://www.postgresql.org/docs/current/sql-commit.html
        https://www.postgresql.org/docs/current/sql-savepoint.html
    """

    name = "commit-of-aborted"
    title = "COMMIT after a swallowed error is a ROLLBACK on PostgreSQL"
    instead = "ROLLBACK on error, or a SAVEPOINT around what may fail"
    kinds = frozenset({"state", "rows", "rowcount", "error"})
    of_commits = True
    priority = 25
    specimens = (
        Specimen(["INSERT INTO item VALUES (2, 'b')", "INSERT INTO item VALUES (3, 'a')", "COMMIT"], _ITEM),
        Specimen(
            ["DELETE FROM item", "INSERT INTO nowhere VALUES (1)", "COMMIT", "SELECT count(*) FROM item"],
            _ITEM,
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO item VALUES (2, 'b')", "COMMIT", "INSERT INTO item VALUES (3, 'a')", "ROLLBACK"],
            _ITEM,
        ),
        Specimen(["INSERT INTO item VALUES (2, 'b')", "INSERT INTO item VALUES (3, 'c')", "COMMIT"], _ITEM),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error" and (evidence.postgres is None or evidence.postgres.aborted):
            return False
        named = evidence.divergence.table
        tables = {named} if named else syntax.tables(evidence.text)
        lost = {name for s in self._lost(evidence) for name in tables & syntax.tables(s.sql)}
        return any(contents_differ(evidence, name) for name in lost)

    def _lost(self, evidence: Evidence) -> Iterator[Statement]:
        """Yield the statements of the PostgreSQL half whose work such a commit threw away."""
        statements = (
            evidence.before("postgres")
            if evidence.kind != "state"
            else evidence.recordings["postgres"].statements
        )
        for index, statement in enumerate(statements):
            # what failed here alone is lost by its own error; what was refused after an error is lost by this
            if _writes(statement) and (statement.error is None or statement.error.sqlstate == "25P02"):
                end = ending(statements, index)
                if end is not None and end.aborted and not re.match(r"\s*(ROLLBACK|ABORT)\b", end.sql, re.I):
                    yield statement


def _writes(statement: Statement) -> bool:
    return syntax.verb(statement.sql) in syntax.WRITES | syntax.DEFINES


class TransactionalDdl(Rule):
    """CREATE, ALTER or DROP that a rollback should undo, or that nobody commits.

    What differs:
        sqlite3 runs the statement outside of a transaction: it is final at once. With psycopg2 it is part of
        a transaction: a rollback undoes it, and without a commit it is lost.
    Why:
        sqlite3 opens a transaction by itself only before INSERT, UPDATE, DELETE and REPLACE. The database
        could do more: in a transaction begun by hand SQLite's DDL is transactional too.
    Instead:
        Execute ``BEGIN`` before the DDL on the SQLite connection, and commit afterwards on both:
        ``CREATE TABLE tag (name TEXT)``, then commit.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://docs.python.org/3/library/sqlite3.html#transaction-control
        https://www.postgresql.org/docs/current/sql-begin.html
    """

    name = "transactional-ddl"
    title = "DDL is final at once on SQLite, undone by a rollback on PostgreSQL"
    instead = "BEGIN before the DDL on SQLite, COMMIT after it on both"
    kinds = frozenset({"error", "state", "rows", "columns"})
    of_commits = True
    priority = 15
    specimens = (
        Specimen(["CREATE TABLE tag (name TEXT)", "ROLLBACK", "CREATE TABLE tag (name TEXT)", "COMMIT"]),
        Specimen(["CREATE TABLE tag AS SELECT 'a' AS name", "ROLLBACK"]),
        Specimen(
            ["ALTER TABLE item ADD COLUMN note TEXT", "ROLLBACK", "SELECT note FROM item", "ROLLBACK"], _ITEM
        ),
        Specimen(["DROP TABLE item", "ROLLBACK", "SELECT code FROM item", "ROLLBACK"], _ITEM),
        Specimen(
            [
                "CREATE TABLE tag AS SELECT 'a' AS name",
                "ROLLBACK",
                "CREATE TABLE IF NOT EXISTS tag (name TEXT)",
                "SELECT name FROM tag",
                "ROLLBACK",
            ]
        ),
    )
    near_misses = (
        Specimen(["CREATE TABLE tag (name TEXT)", "COMMIT", "INSERT INTO tag VALUES ('a')", "COMMIT"]),
        Specimen(["CREATE TABLE tag (name TEXT)", "SELECT name FROM tag", "COMMIT"]),
        Specimen(
            [
                {"sqlite": "BEGIN"},
                "CREATE TABLE tag (name TEXT)",
                "ROLLBACK",
                "CREATE TABLE tag (name TEXT)",
                "COMMIT",
            ]
        ),
        Specimen(
            [
                "CREATE TABLE tag (name TEXT)",
                {"sqlite": "SELECT name FROM tag", "postgres": "SELECT name FROM tag WHERE tag.remark = 1"},
                "ROLLBACK",
            ],
            also=("unexplained",),
        ),
        Specimen(
            [
                "CREATE TABLE tag (remark TEXT)",
                "ROLLBACK",
                {"sqlite": "SELECT code FROM item", "postgres": "SELECT remark FROM item"},
                "ROLLBACK",
                "DROP TABLE IF EXISTS tag",
                "COMMIT",
            ],
            _ITEM,
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return bool(self._undone(evidence))

    def advice(self, evidence: Evidence) -> str:
        """Name the DDL: many statements fail elsewhere because of one that nobody commits."""
        made = self.origin(evidence)
        missing = said(evidence.raised("postgres"), r"^(?:relation|table) .* does not exist")
        if evidence.kind != "error" or made is None or made.site is None or missing is None:
            return self.instead
        return f"COMMIT after the {syntax.verb(made.sql)} at {made.site}"

    def origin(self, evidence: Evidence) -> Statement | None:
        return next((s for s in reversed(self._undone(evidence)) if s.site is not None), None)

    def _undone(self, evidence: Evidence) -> list[Statement]:
        """Return the DDL whose work stayed on SQLite without a commit, and not on PostgreSQL, as issued there."""
        if evidence.kind == "error":
            sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
            found = said(
                sqlite,
                r"^(?:table|index|view|trigger|there is already .*?) [\"\[]?([\w.]+)[\"\]]? already exists",
            ) or said(sqlite, r"^(?:no such (?:table|column)|duplicate column name): ([\w.]+)")
            found = found or said(postgres, r'^(?:relation|column|table) "?([\w.]+)"?.* does not exist')
            return [] if found is None else self._undone_of(evidence, found[1].rpartition(".")[2].lower())
        if evidence.kind in ("rows", "columns"):
            return [s for name in syntax.tables(evidence.text) for s in self._undone_of(evidence, name)]
        if evidence.divergence.difference is not None:
            return []
        return self._undone_of(evidence, evidence.divergence.table or "")

    def _undone_of(self, evidence: Evidence, name: str) -> list[Statement]:
        """Return the DDL with this name that stayed on SQLite without a commit, and not on PostgreSQL."""
        at_end = evidence.kind == "state"
        sides: list[list[Statement]] = []
        for backend in BACKENDS:
            statements = evidence.recordings[backend].statements if at_end else evidence.before(backend)
            own = evidence.statement(backend)
            found = []
            for index, statement in enumerate(statements):
                if statement.error is not None or not self._defines(statement.sql, name):
                    continue
                end = ending(statements, index)
                # what its own connection did not end yet is there for it
                seen = (
                    end is None and not at_end and own is not None and own.connection == statement.connection
                )
                final = backend == "sqlite" and in_transaction(statements, index)
                if not kept(end) and not final and (backend == "sqlite" or not seen):
                    found.append(statement)
            sides.append(found)
        return sides[1] if all(sides) else []

    def _defines(self, sql: str, name: str) -> bool:
        """Return whether this makes, changes or drops the table of that name, or adds a column of that name."""
        if syntax.verb(sql) not in ("CREATE", "ALTER", "DROP"):
            return False
        named = rf"^\s*(CREATE|DROP)\b[^(]*?\b{re.escape(name)}\b|^\s*ALTER\b.*\b{re.escape(name)}\b"
        return re.search(named, bare(sql), re.I | re.S) is not None


class UncommittedWork(Rule):
    """Writes that no commit follows.

    What differs:
        One database keeps them, the other loses them.
    Why:
        Nothing commits, and the connections differ in what they do by themselves: one is in autocommit mode
        (``isolation_level=None``), or sqlite3 opens no transaction for the statement, as for one that begins
        with WITH, or its executescript commits what was open.
    Instead:
        End each transaction in the application: commit after ``INSERT INTO item (id, code) VALUES (2, 'b')``,
        with the same autocommit setting on both connections.
    References:
        https://docs.python.org/3/library/sqlite3.html#transaction-control
        https://www.psycopg.org/docs/connection.html#connection.autocommit
        https://www.postgresql.org/docs/current/sql-commit.html
    """

    name = "uncommitted-work"
    title = "work without a commit, kept by one database only"
    instead = "commit, and the same autocommit setting on both connections"
    kinds = frozenset({"state", "rows"})
    of_commits = True
    priority = 12
    specimens = (
        Specimen(["WITH n AS (SELECT 2 AS id) INSERT INTO item (id) SELECT id FROM n", "ROLLBACK"], _ITEM),
        Specimen([lambda db: _autocommit_sqlite(db)], _ITEM),
        Specimen(
            [
                "WITH n AS (SELECT 2 AS id) INSERT INTO item (id) SELECT id FROM n",
                "ROLLBACK",
                "SELECT id FROM item ORDER BY id",
            ],
            _ITEM,
        ),
    )
    near_misses = (
        Specimen(["INSERT INTO item (id, code) VALUES (2, 'b')", "ROLLBACK"], _ITEM),
        Specimen(["WITH n AS (SELECT 2 AS id) INSERT INTO item (id) SELECT id FROM n", "COMMIT"], _ITEM),
        Specimen(
            [
                lambda db: setattr(
                    db.connection,
                    *(("isolation_level", None) if db.backend == "sqlite" else ("autocommit", True)),
                ),
                "CREATE TABLE tag (name TEXT)",
                {"sqlite": "INSERT INTO tag VALUES ('a')", "postgres": "INSERT INTO tag VALUES ('b')"},
            ],
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        named = evidence.divergence.table
        tables = {named} if named else syntax.tables(evidence.text)
        sides: tuple[Backend, Backend] = ("sqlite", "postgres")
        open_ended = [False, False]
        for side, backend in enumerate(sides):
            statements = evidence.recordings[backend].statements if named else evidence.before(backend)
            written = [
                i
                for i, s in enumerate(statements)
                if s.error is None and tables & syntax.written_tables(s.sql)
            ]
            if not written or (not named and ending(statements, written[-1]) is None):
                return False
            open_ended[side] = not kept(ending(statements, written[-1]))
        if not all(open_ended):
            return False
        if named is None:
            return any(contents_differ(evidence, name) for name in tables if name is not None)
        return self._one_changed(evidence, named)

    def _one_changed(self, evidence: Evidence, table: str) -> bool:
        """Return whether only one backend's table has other rows than before, if that is known."""
        changed = []
        for backend in OTHER:
            state, template = (
                evidence.contents(table, backend),
                evidence.templates.get(backend, {}).get(table),
            )
            statements = evidence.recordings[backend].statements
            made = any(table in syntax.defined_tables(s.sql) for s in statements)
            if state is None or (template is None and not made):
                return True
            before = () if template is None else template.rows
            changed.append(sorted(map(repr, state.rows)) != sorted(map(repr, before)))
        return changed[0] != changed[1]


def _autocommit_sqlite(db: Any) -> None:
    connection = db.connection
    if db.backend == "sqlite":
        connection.isolation_level = None
    connection.cursor().execute("UPDATE item SET code = 'z'")


class SavepointTransaction(Rule):
    """A savepoint without a transaction around it.

    What differs:
        On SQLite SAVEPOINT begins a transaction and RELEASE of the outermost one commits it; PostgreSQL
        refuses it in autocommit mode (25P01), and otherwise RELEASE commits nothing.
    Why:
        SQLite's savepoints are nested transactions, also on the outside. sqlite3 does not begin one before
        SAVEPOINT, psycopg2 does.
    Instead:
        Begin and end the outer transaction by name: ``BEGIN`` on SQLite, ``SAVEPOINT attempt``, the work,
        ``RELEASE SAVEPOINT attempt``, then commit on both.
    References:
        https://www.sqlite.org/lang_savepoint.html
        https://www.postgresql.org/docs/current/sql-savepoint.html
    """

    name = "savepoint-transaction"
    title = "a savepoint is a transaction of its own on SQLite only"
    instead = "BEGIN before the savepoint, COMMIT after it"
    kinds = frozenset({"error", "state", "rows"})
    of_commits = True
    priority = 13
    specimens = (
        Specimen(
            [
                "SAVEPOINT attempt",
                "INSERT INTO item VALUES (2, 'b')",
                "RELEASE SAVEPOINT attempt",
                "ROLLBACK",
            ],
            _ITEM,
        ),
        Specimen([lambda db: _savepoint_in_autocommit(db)], _ITEM),
    )
    near_misses = (
        Specimen(
            [
                {"sqlite": "BEGIN"}, "SAVEPOINT attempt", "INSERT INTO item VALUES (2, 'b')",
                "RELEASE SAVEPOINT attempt", "ROLLBACK",
            ],
            _ITEM,
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
            if postgres is not None and postgres.sqlstate in ("25P01", "3B001"):
                return has(evidence.sql("postgres"), r"\bSAVEPOINT\b|^\s*(RELEASE|ROLLBACK\s+TO)\b")
            return said(sqlite, "^no such savepoint") is not None
        statements = (
            evidence.recordings["sqlite"].statements
            if evidence.kind == "state"
            else evidence.before("sqlite")
        )
        named = evidence.divergence.table
        tables = {named} if named else syntax.tables(evidence.text)
        apart = {name for name in tables if contents_differ(evidence, name)}
        releases = any(re.match(r"\s*RELEASE\b", s.sql, re.I) for s in statements)
        for index, statement in enumerate(statements if apart and releases else ()):
            if (
                statement.error is None
                and apart & syntax.written_tables(statement.sql)
                and self._released(statements, index)
            ):
                return not kept(ending(statements, index))
        return False

    def _released(self, statements: Sequence[Statement], index: int) -> bool:
        """Return whether the write is inside an outermost savepoint that was released."""
        own = [s for s in statements[:index] if s.connection == statements[index].connection]
        start = next(
            (i for i in reversed(range(len(own))) if re.match(r"\s*SAVEPOINT\b", own[i].sql, re.I)), None
        )
        if start is None or any(map(_ends, own[start:])) or in_transaction(own, start):
            return False
        return any(re.match(r"\s*RELEASE\b", s.sql, re.I) for s in statements[index:])


def _savepoint_in_autocommit(db: Any) -> None:
    connection = db.connection
    if db.backend == "sqlite":
        connection.isolation_level = None
    else:
        connection.autocommit = True
    try:
        connection.cursor().execute("SAVEPOINT attempt")
    except Exception:
        return


class BeginMode(Rule):
    """BEGIN, COMMIT or ROLLBACK with words of one database.

    What differs:
        PostgreSQL refuses BEGIN IMMEDIATE, EXCLUSIVE and DEFERRED (42601); SQLite refuses BEGIN ISOLATION
        LEVEL, BEGIN READ ONLY, START TRANSACTION, SET TRANSACTION, COMMIT WORK and ABORT.
    Why:
        SQLite's modes say when to lock the file; PostgreSQL's options choose isolation and access.
    Instead:
        Plain ``BEGIN`` and ``COMMIT``. Ask for isolation through the driver, or lock in the PostgreSQL part
        of the code.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://www.postgresql.org/docs/current/sql-begin.html
    """

    name = "begin-mode"
    title = "BEGIN or COMMIT with words of one database"
    instead = "plain BEGIN and COMMIT"
    kinds = ERROR
    priority = 12
    specimens = (
        Specimen(["BEGIN IMMEDIATE", "ROLLBACK"]),
        Specimen(["START TRANSACTION", "ROLLBACK"]),
        Specimen(["SET TRANSACTION ISOLATION LEVEL SERIALIZABLE", "ROLLBACK"]),
    )
    near_misses = (Specimen(["BEGIN", "ROLLBACK"]),)

    def matches(self, evidence: Evidence) -> bool:
        word = at(evidence.raised("postgres"))
        if word in ("IMMEDIATE", "EXCLUSIVE", "DEFERRED", "CONCURRENT"):
            return has(evidence.sql("postgres"), r"^\s*BEGIN\b")
        if not at(evidence.raised("sqlite")):
            return False
        return has(
            evidence.sql("sqlite"),
            r"^\s*(BEGIN\s+(WORK|ISOLATION|READ|NOT|TRANSACTION\s+\w)|START\s+TRANSACTION|(COMMIT|ROLLBACK|END)\s+(WORK|AND)"
            r"|ABORT\b|(COMMIT|ROLLBACK|PREPARE)\s+(PREPARED|TRANSACTION)|SET\s+(LOCAL\s+|SESSION\s+\w+\s+AS\s+)?TRANSACTION)",
        )


class TransactionNesting(Rule):
    """BEGIN inside a transaction, or COMMIT and ROLLBACK outside of one.

    What differs:
        SQLite fails (``cannot start a transaction within a transaction``, ``no transaction is active``);
        PostgreSQL only warns.
    Why:
        The drivers begin transactions by themselves: psycopg2 before every statement, sqlite3 before writes.
    Instead:
        The connection's commit() and rollback(), which do nothing without a transaction, and
        ``SAVEPOINT attempt`` for a nested one.
    References:
        https://www.sqlite.org/lang_transaction.html
        https://docs.python.org/3/library/sqlite3.html#transaction-control
        https://www.postgresql.org/docs/current/sql-begin.html
    """

    name = "transaction-nesting"
    title = "BEGIN within, or COMMIT without a transaction fails on SQLite"
    instead = "connection.commit() and rollback(), SAVEPOINT for nesting"
    kinds = ERROR
    specimens = (
        Specimen(["INSERT INTO item VALUES (2, 'b')", "BEGIN", "ROLLBACK"], _ITEM),
        Specimen(["COMMIT WORK", "END TRANSACTION"], also=("begin-mode",)),
    )
    near_misses = (Specimen(["COMMIT", "ROLLBACK", "BEGIN", "ROLLBACK"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        words = "cannot start a transaction within a transaction|no transaction is active"
        return said(evidence.raised("sqlite"), words) is not None
