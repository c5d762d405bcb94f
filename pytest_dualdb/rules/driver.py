"""Why the same calls of sqlite3 and psycopg differ: placeholders, methods, exceptions, types."""

from __future__ import annotations

import contextlib
import re
import sqlite3
import tempfile
import threading
from typing import Any, ClassVar

from pytest_dualdb.recording import BACKENDS, Backend, Statement
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at
from pytest_dualdb.rules.facts import OTHER, bare, said

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO item VALUES (1, 'a');"
_QMARK = re.compile(r"\?\d*|(?<![:\w])[:@$]\w+")
_FORMAT = re.compile(r"%s|%\(\w+\)s|%%")


def run(db: Any, sql: str, params: Any = None) -> Any:
    """Execute as written, without the plugin's translation, and return the cursor."""
    cursor = db.connection.cursor()
    if params is None:
        cursor.execute(sql)
    else:
        cursor.execute(sql, params)
    return cursor


def served(db: Any, sql: str, params: Any, sqlite: str = "") -> None:
    """Execute with psycopg 3 on PostgreSQL, whose server binds the parameters; read all rows."""
    if db.backend == "sqlite":
        run(db, sqlite or sql, params).fetchall()
        return
    import psycopg

    with psycopg.connect(db.dsn) as connection:
        connection.execute(sql, params).fetchall()


def alone(evidence: Evidence) -> tuple[Backend, str, str] | None:
    """Return which half alone failed, with the exception's name and message; None if both or none did."""
    failures = [evidence.failure(backend) for backend in BACKENDS]
    if (failures[0] is None) == (failures[1] is None):
        return None
    backend: Backend = "sqlite" if failures[1] is None else "postgres"
    failure = failures[0] or failures[1]
    assert failure is not None
    return backend, failure.name.rpartition(".")[2], failure.message


class PlaceholderStyle(Rule):
    """Placeholders of the other driver.

    What differs:
        psycopg does not replace ``?`` and ``:name`` (``not all arguments converted``, ``the query has 0
        placeholders``, or a syntax error from the server); sqlite3 does not replace ``%s`` and ``%(name)s`` (``near "%": syntax error``).
    Why:
        PEP 249 lets each driver choose: sqlite3 takes qmark and named, psycopg format and pyformat.
    Instead:
        Write the placeholder once for both, as SQLAlchemy's text() does, or take it from the connection:
        ``f"SELECT code FROM item WHERE id = {placeholder}"`` with ``?`` or ``%s``.
    References:
        https://docs.python.org/3/library/sqlite3.html#how-to-use-placeholders-to-bind-values-in-sql-queries
        https://www.psycopg.org/docs/usage.html#passing-parameters-to-sql-queries
        https://peps.python.org/pep-0249/#paramstyle
    """

    name = "placeholder-style"
    title = "placeholders of the other driver"
    instead = "? for sqlite3 and %s for psycopg, chosen in one place"
    kinds = frozenset({"error", "outcome"})
    priority = 20
    specimens = (
        Specimen([lambda db: run(db, "SELECT code FROM item WHERE id = ?", (1,)).fetchall()], _ITEM),
        Specimen(
            [lambda db: run(db, "SELECT code FROM item WHERE id = :id AND 1 = 1", {"id": 1}).fetchall()],
            _ITEM,
        ),
        Specimen([lambda db: run(db, "SELECT code FROM item WHERE id = %s", (1,)).fetchall()], _ITEM),
        Specimen(
            [lambda db: run(db, "SELECT code FROM item WHERE id = %(id)s", {"id": 1}).fetchall()], _ITEM
        ),
        Specimen([lambda db: served(db, "SELECT code FROM item WHERE id = ?", (1,))], _ITEM),
    )
    near_misses = (
        Specimen([("SELECT code FROM item WHERE id = ? AND code <> '?'", (1,))], _ITEM),
        Specimen([("SELECT code FROM item WHERE id = :id", {"id": 1})], _ITEM),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
        if postgres is not None:
            text = bare(evidence.sql("postgres"))
            if not _QMARK.search(text) or evidence.postgres is None or evidence.postgres.params is None:
                return False
            if said(postgres, r"not all arguments converted|the query has 0 placeholders"):
                return True
            return postgres.sqlstate in ("42601", "42883", "42703", "42P02") and not _FORMAT.search(text)
        text = evidence.sql("sqlite")
        return at(sqlite) == "%" and _FORMAT.search(bare(text)) is not None


class PlaceholderPosition(Rule):
    """A placeholder where the server takes a literal only.

    What differs:
        psycopg 3 fails (``syntax error at or near "$1"``) for ``INTERVAL %s``, ``DATE %s`` and for placeholders
        in DDL and SET; psycopg2 puts the value into the text. What SQLite is sent there has another form.
    Why:
        psycopg 3 and asyncpg send the values apart from the statement, and the server takes them only where an
        expression may stand.
    Instead:
        A cast: ``SELECT CAST(? AS TEXT) AS span`` (on PostgreSQL ``CAST(%s AS INTERVAL)``); for DDL,
        psycopg.sql.Literal.
    References:
        https://www.psycopg.org/psycopg3/docs/basic/from_pg2.html#server-side-binding
        https://www.postgresql.org/docs/current/sql-expressions.html#SQL-EXPRESSIONS-PARAMETERS-POSITIONAL
        https://www.sqlite.org/lang_expr.html#parameters
    """

    name = "placeholder-position"
    title = "placeholder where PostgreSQL takes a literal only"
    instead = "CAST(%s AS INTERVAL), or psycopg.sql.Literal in DDL"
    kinds = ERROR
    priority = -5
    specimens = (
        Specimen(
            [lambda db: served(db, "SELECT 1 WHERE INTERVAL %s > '1 hour'", ("1 day",), "SELECT 1 WHERE ?")]
        ),
    )
    near_misses = (
        Specimen([lambda db: served(db, "SELECT 1 WHERE 1 = %s::int", (1,), "SELECT 1 WHERE 1 = ?")]),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "42601" or evidence.raised("sqlite") is not None:
            return False
        return said(failure, r'at or near "\$\d+"') is not None


class PercentLiteral(Rule):
    """A percent sign in a statement that has parameters.

    What differs:
        psycopg takes it for a placeholder (IndexError, TypeError, ValueError; with psycopg 3 a
        ProgrammingError); sqlite3 leaves it alone.
    Why:
        psycopg looks for placeholders as soon as any parameters are given, an empty tuple included.
    Instead:
        Pass the pattern as a parameter: ``SELECT code FROM item WHERE code LIKE ?`` (``%s``) with ``'a%'``;
        or double it for psycopg alone.
    References:
        https://www.psycopg.org/docs/usage.html#passing-parameters-to-sql-queries
        https://docs.python.org/3/library/sqlite3.html#how-to-use-placeholders-to-bind-values-in-sql-queries
    """

    name = "percent-literal"
    title = "% in a statement with parameters is a placeholder to psycopg"
    instead = "pass the pattern as a parameter, or double the % for psycopg"
    kinds = frozenset({"error", "outcome"})
    priority = 10
    specimens = (
        Specimen([lambda db: run(db, "SELECT code FROM item WHERE code LIKE 'a%'", ()).fetchall()], _ITEM),
        Specimen([lambda db: run(db, "SELECT id % 2 FROM item", ()).fetchall()], _ITEM),
        Specimen([lambda db: run(db, f"SELECT '%sa', {db.placeholder}", (1,)).fetchall()]),
        Specimen([lambda db: run(db, "SELECT '100%'", ()).fetchall()], _ITEM),
        Specimen([lambda db: served(db, "SELECT code FROM item WHERE code LIKE 'a%'", ())], _ITEM),
    )  # fmt: skip
    near_misses = (
        Specimen([("SELECT code FROM item WHERE code LIKE ?", ("a%",))], _ITEM),
        Specimen([lambda db: run(db, "SELECT code FROM item WHERE code LIKE 'a%'").fetchall()], _ITEM),
    )
    _errors: ClassVar[str] = (
        r"(tuple|list) index out of range|dict is not a sequence|not enough arguments"
        r"|unsupported format character|argument formats can't be mixed|incomplete (format|placeholder)"
        r"|only '%s'|not all arguments converted|the query has \d+ placeholders?|list indices must be"
        r"|format requires a mapping"
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate is not None:
            return False
        if not said(failure, self._errors) and failure.short_name != "KeyError":
            return False
        text = evidence.sql("postgres")
        if re.search(r"%(?!s|%|\(\w+\)s)", text):
            return True
        return any("%s" in literal or "%(" in literal for literal in re.findall(r"'(?:[^']|'')*'", text))


class ParameterLimit(Rule):
    """More parameters or terms than a database takes.

    What differs:
        SQLite refuses more than 32,766 parameters (250,000 as Debian builds it, 999 before 3.32),
        expressions nested deeper than 1,000 and more than 500 terms of a compound SELECT. PostgreSQL takes
        65,535 when the server binds; psycopg2 writes values into the text and has no limit.
    Why:
        Limits that protect SQLite's parser.
    Instead:
        Batches of some hundred: ``SELECT code FROM item WHERE id IN (?, ?, ?)``; or a temporary table
        filled by executemany and joined.
    References:
        https://www.sqlite.org/limits.html
        https://www.postgresql.org/docs/current/limits.html
    """

    name = "parameter-limit"
    title = "more parameters or terms than one database takes"
    instead = "batches of some hundred values, or a temporary table"
    kinds = ERROR
    specimens = (
        Specimen(
            [("SELECT code FROM item WHERE id IN (" + "?, " * 260_000 + "?)", tuple(range(260_001)))], _ITEM
        ),
        Specimen(["SELECT 1" + " + 1" * 1100]),
    )
    near_misses = (
        Specimen([("SELECT code FROM item WHERE id IN (" + "?, " * 500 + "?)", tuple(range(501)))], _ITEM),
    )

    def matches(self, evidence: Evidence) -> bool:
        words = (
            r"too many SQL variables|variable number must be between|too many terms in compound SELECT"
            r"|Expression tree is too large|parser stack overflow|string or blob too big"
            r"|query string is too large|at most \d+ tables in a join"
        )
        if said(evidence.raised("sqlite"), words):
            return True
        failure = evidence.raised("postgres")
        if failure is None:
            return False
        return failure.sqlstate in ("54000", "54001", "54011", "54023") or said(
            failure, r"number of parameters must be between|number of query arguments cannot exceed"
        ) is not None  # fmt: skip


_SQLITE_NAMES = (
    r"execute|executemany|executescript|row_factory|text_factory|isolation_level|in_transaction|total_changes|iterdump|backup"
    r"|interrupt|create_(function|aggregate|collation|window_function)|set_(trace_callback|authorizer|progress_handler)"
    r"|enable_load_extension|load_extension|serialize|deserialize|blobopen|setlimit|getlimit|getconfig|setconfig"
)
_POSTGRES_NAMES = (
    r"autocommit|set_session|set_isolation_level|set_client_encoding|dsn|info|status|closed|copy_(expert|from|to)|copy|mogrify"
    r"|query|statusmessage|notices|notifies|get_backend_pid|get_transaction_status|get_dsn_parameters|server_version|encoding"
    r"|poll|lobject|cancel|reset|cursor_factory|callproc|itersize|withhold|scroll|scrollable|pgresult_ptr|pgconn|pgconn_ptr|name"
    r"|__enter__|__exit__|nextset|stream|pipeline|prepare_threshold|fileno|xid|tpc_\w+"
)


class DriverMethod(Rule):
    """A method, attribute or argument that only one driver has.

    What differs:
        AttributeError or TypeError on the other backend: psycopg2's connections have no execute() and no
        row_factory, its cursors no executescript(); sqlite3 has no copy_expert(), mogrify() or callproc(),
        and its cursor() takes no cursor_factory. connect() takes other arguments.
    Why:
        They are additions of the drivers to PEP 249.
    Instead:
        What PEP 249 has: connection.cursor(), then ``cursor.execute("SELECT code FROM item")``; scripts split
        into statements.
    References:
        https://peps.python.org/pep-0249/
        https://docs.python.org/3/library/sqlite3.html#sqlite3-connection-shortcuts
        https://www.psycopg.org/docs/connection.html
    """

    name = "driver-method"
    title = "method or argument that only one of the drivers has"
    instead = "connection.cursor().execute(), as in PEP 249"
    kinds = frozenset({"outcome", "error"})
    priority = 20
    specimens = (
        Specimen([lambda db: db.connection.execute("SELECT code FROM item").fetchall()], _ITEM),
        Specimen([lambda db: db.connection.cursor().executescript("CREATE TABLE other (id INTEGER);")]),
        Specimen(["SELECT code FROM item", lambda db: db.connection.cursor().mogrify("SELECT 1")], _ITEM),
        Specimen(["SELECT code FROM item", lambda db: _ask_dialect(db)], _ITEM),
    )
    near_misses = (Specimen([lambda db: run(db, "SELECT code FROM item").fetchall()], _ITEM),)

    _DIALECT = r"'(?:SQLite|PG)\w*' object has no attribute"

    def advice(self, evidence: Evidence) -> str:
        failed = alone(evidence)
        if failed is not None and re.match(self._DIALECT, failed[2]):
            return "sqlalchemy.inspect(connection), or a branch on connection.dialect.name"
        return self.instead

    def matches(self, evidence: Evidence) -> bool:
        failed = alone(evidence)
        if failed is None:
            return False
        backend, _, message = failed
        if re.match(self._DIALECT, message):
            return True
        names = _SQLITE_NAMES if backend == "postgres" else _POSTGRES_NAMES
        missing = re.match(
            r"'(?:\w+\.)*\w*(?:connection|cursor)\w*' object (?:has no attribute '(\w+)'|attribute '(\w+)')",
            message,
            re.I,
        )
        if missing:
            return re.fullmatch(names, missing[1] or missing[2]) is not None
        if re.search(r"does not support the context manager protocol", message):
            return "ursor" in message
        given = re.search(
            r"unexpected keyword argument '(\w+)'|'(\w+)' is an invalid keyword argument"
            r'|invalid connection option "(\w+)"',
            message,
        )
        if given is None:
            return False
        option = next(part for part in given.groups() if part)
        if backend == "postgres":
            return option in (
                "check_same_thread",
                "timeout",
                "detect_types",
                "isolation_level",
                "uri",
                "cached_statements",
                "factory",
                "database",
                "autocommit",
            )
        return option in (
            "host",
            "port",
            "user",
            "password",
            "dbname",
            "dsn",
            "cursor_factory",
            "name",
            "options",
            "sslmode",
            "connect_timeout",
            "application_name",
            "row_factory",
        )


def _ask_dialect(db: Any) -> None:
    with db.engine().connect() as connection:
        assert not connection.dialect.has_type(connection, "mood")


class ExecuteReturnsCursor(Rule):
    """The result of cursor.execute().

    What differs:
        sqlite3's execute() returns the cursor; psycopg2's returns None, so that a call on it is an
        AttributeError and a loop over it a TypeError.
    Why:
        PEP 249 leaves the result undefined.
    Instead:
        Two steps: ``cursor.execute("SELECT code FROM item")``, then ``cursor.fetchall()``.
    References:
        https://peps.python.org/pep-0249/#cursor-methods
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.execute
        https://www.psycopg.org/docs/cursor.html#cursor.execute
    """

    name = "execute-returns-cursor"
    title = "cursor.execute() returns the cursor with sqlite3, None with psycopg2"
    instead = "cursor.execute(...), then cursor.fetchall()"
    kinds = frozenset({"outcome", "rows"})
    priority = 20
    specimens = (
        Specimen([lambda db: db.connection.cursor().execute("SELECT code FROM item").fetchall()], _ITEM),
        Specimen([lambda db: list(db.connection.cursor().execute("SELECT code FROM item"))], _ITEM),
    )
    near_misses = (Specimen([lambda db: run(db, "SELECT code FROM item").fetchall()], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failed = alone(evidence)
        if failed is None or failed[0] != "postgres":
            return False
        if evidence.kind == "rows" and (evidence.postgres is None or evidence.postgres.fetched != "none"):
            return False
        if re.match(
            r"'NoneType' object has no attribute '(fetch\w+|lastrowid|rowcount|description|close|execute)'",
            failed[2],
        ):
            return True
        if not re.match(r"'NoneType' object is not (iterable|an iterator|subscriptable)", failed[2]):
            return False
        last = evidence.recordings["postgres"].statements[-1:]
        return bool(last) and last[0].columns is not None and last[0].fetched == "none"


class SeveralStatements(Rule):
    """Several statements in one execute().

    What differs:
        sqlite3 refuses them (``You can only execute one statement at a time``); psycopg2 runs all and gives
        the result of the last.
    Why:
        psycopg2 sends the text as it is, unless the server binds the parameters.
    Instead:
        One execute() for each: ``UPDATE item SET code = 'b'``, then ``SELECT code FROM item``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.execute
        https://www.postgresql.org/docs/current/protocol-flow.html#PROTOCOL-FLOW-MULTI-STATEMENT
    """

    name = "several-statements"
    title = "several statements in one execute(), refused by sqlite3"
    instead = "one execute() for each statement"
    kinds = ERROR
    specimens = (Specimen(["UPDATE item SET code = 'b'; SELECT code FROM item", "ROLLBACK"], _ITEM),)
    near_misses = (Specimen(["SELECT ';' AS c FROM item;"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        if said(evidence.raised("sqlite"), "You can only execute one statement at a time"):
            return True
        return (
            said(evidence.raised("postgres"), "cannot insert multiple commands into a prepared") is not None
        )


class EmptyQuery(Rule):
    """A statement without any SQL in it.

    What differs:
        psycopg2 refuses it (``can't execute an empty query``); sqlite3 does nothing.
    Why:
        The server answers an empty query with nothing, which psycopg2 holds to be a mistake.
    Instead:
        Leave out empty parts when splitting a script: ``if statement.strip()``.
    References:
        https://www.psycopg.org/docs/cursor.html#cursor.execute
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.execute
    """

    name = "empty-query"
    title = "statement without any SQL, refused by psycopg2"
    instead = "leave out the empty parts of a script"
    kinds = ERROR
    specimens = (Specimen(["-- nothing to do"]), Specimen([" "]))
    near_misses = (Specimen(["-- the first\nSELECT code FROM item"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return said(evidence.raised("postgres"), "can't execute an empty query") is not None


class NoResultsToFetch(Rule):
    """Fetching after a statement without a result.

    What differs:
        psycopg2 raises ProgrammingError (``no results to fetch``); sqlite3 gives None or an empty list.
    Why:
        PEP 249 asks for the error; sqlite3 is lenient.
    Instead:
        Fetch only if ``cursor.description`` is not None, or ask for rows:
        ``UPDATE item SET code = 'b' WHERE id = 1 RETURNING code``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Cursor.fetchone
        https://www.psycopg.org/docs/cursor.html
    """

    name = "no-results-to-fetch"
    title = "fetch after a statement without a result fails with psycopg2"
    instead = "fetch only if cursor.description is not None, or RETURNING"
    kinds = frozenset({"error", "outcome"})
    specimens = (Specimen([lambda db: run(db, "UPDATE item SET code = 'b'").fetchone()], _ITEM),)
    near_misses = (Specimen(["UPDATE item SET code = 'b' WHERE id = 1 RETURNING code", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return (
            said(evidence.raised("postgres"), "no results to fetch|the last operation didn't produce")
            is not None
        )


class ExceptionClass(Rule):
    """An exception class that the application knows of one driver only.

    What differs:
        The statement fails on both, with another class: ``except sqlite3.IntegrityError`` does not catch
        psycopg2's UniqueViolation. Or the classes of PEP 249 differ: what is an OperationalError here is a
        ProgrammingError there.
    Why:
        The drivers' exceptions have no common base below Exception, and each sorts errors in its own way.
    Instead:
        Catch the driver's own class by its PEP 249 name, taken from the connection or from a tuple of both:
        ``except (sqlite3.IntegrityError, psycopg2.IntegrityError)``; or avoid the error:
        ``INSERT INTO item (id) VALUES (1) ON CONFLICT DO NOTHING``.
    References:
        https://peps.python.org/pep-0249/#exceptions
        https://docs.python.org/3/library/sqlite3.html#sqlite3-exceptions
        https://www.psycopg.org/docs/errors.html
    """

    name = "exception-class"
    title = "both fail, with exceptions of another class"
    instead = "except (sqlite3.IntegrityError, psycopg2.IntegrityError)"
    kinds = frozenset({"error", "outcome"})
    both_fail = True
    priority = -20
    specimens = (
        Specimen([lambda db: _catch_sqlite(db)], _ITEM),
        Specimen([lambda db: _use_closed(db)], _ITEM),
        Specimen(["RELEASE SAVEPOINT nothing", "ROLLBACK"]),
    )
    near_misses = (
        Specimen(["INSERT INTO item (id) VALUES (1)", "ROLLBACK"], _ITEM),
        Specimen(["INSERT INTO item (id) VALUES (1) ON CONFLICT DO NOTHING", "COMMIT"], _ITEM),
        Specimen(
            ["SELECT code FROM item", lambda db: 1 // (db.backend == "sqlite")], _ITEM, also=("unexplained",)
        ),
        Specimen(
            ["SELECT nothing FROM item", "ROLLBACK", lambda db: 1 // (db.backend == "sqlite")],
            _ITEM,
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            return evidence.raised("sqlite") is not None and evidence.raised("postgres") is not None
        failed = alone(evidence)
        if failed is None:
            return False
        failure = evidence.error(failed[0])
        if failure is None:
            return False
        own = [s for s in evidence.recordings[failed[0]].statements if s.error == failure]
        others = evidence.recordings[OTHER[failed[0]]].statements
        if not own:  # psycopg2 refuses the cursor of a closed connection, before there is a statement
            closed = [s.error for s in others if s.error is not None and said(s.error, r"\bclosed\b")]
            return said(failure, r"\bclosed\b") is not None and any(e.dbapi != failure.dbapi for e in closed)
        return any(
            self._same_place(one, other) and other.error is not None for one in own for other in others
        )

    def advice(self, evidence: Evidence) -> str:
        classes = []
        for backend in BACKENDS:
            failure = evidence.raised(backend)
            if failure is None or not failure.dbapi:
                return self.instead
            driver, _, rest = failure.name.partition(".")
            # asyncpg's classes are of its own
            classes.append(f"{driver}.{failure.dbapi if driver != 'asyncpg' else rest.rpartition('.')[2]}")
        return f"except ({', '.join(classes)})"

    def _same_place(self, one: Statement, other: Statement) -> bool:
        return one.site == other.site and one.kind == other.kind


def _catch_sqlite(db: Any) -> None:
    import sqlite3

    try:
        run(db, "INSERT INTO item (id) VALUES (1)")
    except sqlite3.IntegrityError:
        pass
    finally:
        db.connection.rollback()


def _use_closed(db: Any) -> None:
    import sqlite3

    connection = db.connect()
    run(db, "SELECT code FROM item").fetchall()
    connection.close()
    with contextlib.suppress(sqlite3.ProgrammingError):
        if db.backend == "sqlite":
            connection.execute("SELECT 1")
        else:
            connection.cursor().execute("SELECT 1")


class ThreadCheck(Rule):
    """A connection used in another thread.

    What differs:
        sqlite3 refuses it (``SQLite objects created in a thread can only be used in that same thread``);
        psycopg2's connections are shared by threads.
    Why:
        sqlite3 checks by default, as SQLite can be built without locks.
    Instead:
        A connection for each thread; or ``check_same_thread=False`` and a lock of one's own around
        ``UPDATE item SET code = 'b'``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.connect
        https://www.sqlite.org/threadsafe.html
        https://www.psycopg.org/docs/usage.html#thread-and-process-safety
    """

    name = "thread-check"
    title = "sqlite3 connection used in another thread"
    instead = "a connection for each thread, or check_same_thread=False"
    kinds = frozenset({"error", "outcome"})
    priority = 20
    specimens = (
        Specimen([lambda db: _in_thread(db)], _ITEM),
        Specimen([lambda db: _connection_in_thread(db)], _ITEM),
    )
    near_misses = (Specimen(["SELECT code FROM item"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        words = "SQLite objects created in a thread can only be used in that same thread"
        if said(evidence.raised("sqlite"), words):
            return True
        failed = alone(evidence) if evidence.kind == "outcome" else None
        return failed is not None and words in failed[2]


def _in_thread(db: Any) -> None:
    cursor = db.connection.cursor()
    raised: list[Exception] = []

    def use() -> None:
        try:
            cursor.execute("SELECT code FROM item")
        except Exception as error:
            raised.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    if raised:
        raise raised[0]


def _connection_in_thread(db: Any) -> None:
    connection = db.connection

    def use() -> None:
        with contextlib.suppress(sqlite3.ProgrammingError):
            connection.cursor().execute("SELECT code FROM item")

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()


def _beside(db: Any) -> None:
    """Write to the test's database, and in the PostgreSQL half to a SQLite database as well."""
    run(db, "INSERT INTO item (id, code) VALUES (2, 'b')")
    if db.backend == "postgres":
        with contextlib.closing(sqlite3.connect(":memory:")) as connection:
            connection.execute("SELECT 1")


def _cache(db: Any) -> None:
    """Keep something in a SQLite file of a new name, in both halves."""
    run(db, "INSERT INTO item (id, code) VALUES (2, 'b')")
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.closing(sqlite3.connect(f"{folder}/cache")) as connection,
    ):
        connection.execute("CREATE TABLE cached (key TEXT)")


class WrongDatabase(Rule):
    """A statement of the PostgreSQL half that goes to another database.

    What differs:
        The test runs on PostgreSQL, and a part of the application talks to a SQLite database, or to another one
        of PostgreSQL: its rows are not where the rest of the application looks for them.
    Why:
        The module has an address of its own: ``sqlite3.connect`` with a fixed file, or a default that is used
        when a setting is missing. A database that both halves use aside, such as a cache in a temporary
        folder, is the application's choice and nothing to report.
    Instead:
        Take the connection from where the rest of the application takes it: ``DATABASE_URL``, or the
        application's own pool.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.connect
        https://www.psycopg.org/docs/module.html#psycopg2.connect
    """

    name = "wrong-database"
    title = "statements of the PostgreSQL half go elsewhere"
    instead = "take the connection from where the rest of the application takes it"
    kinds = frozenset({"bypass"})
    specimens = (Specimen([_beside], _ITEM),)
    near_misses = (Specimen([_cache], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return True
