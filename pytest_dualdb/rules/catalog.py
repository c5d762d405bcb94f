"""Why questions about the schema, the server and the session work on one database only."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Set
from typing import ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import OTHER, bare, missing_function, said, suspects
from pytest_dualdb.values import loose_key

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO item VALUES (1, 'a');"


class Pragma(Rule):
    """PRAGMA.

    What differs:
        PostgreSQL refuses the statement with a syntax error (42601).
    Why:
        Pragmas are how SQLite is asked about its schema and told its settings.
    Instead:
        Run pragmas on SQLite only. To look for a table or column in a way that both have, select from it:
        ``SELECT * FROM item WHERE 1 = 0`` and the cursor's description. PostgreSQL answers from
        information_schema.
    References:
        https://www.sqlite.org/pragma.html
        https://www.postgresql.org/docs/current/information-schema.html
    """

    name = "pragma"
    title = "PRAGMA exists on SQLite only"
    instead = "PRAGMA on SQLite only; information_schema on PostgreSQL"
    kinds = ERROR
    specimens = (
        Specimen(["PRAGMA table_info(item)"], _ITEM),
        Specimen(["PRAGMA foreign_keys = ON"]),
        Specimen(["SELECT name FROM pragma_table_info('item')"], _ITEM),
    )
    near_misses = (Specimen(["SELECT * FROM item WHERE 1 = 0", {"sqlite": "PRAGMA foreign_keys"}], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None:
            return False
        missing = missing_function(failure)
        return at(failure) == "PRAGMA" or (missing is not None and missing.name.startswith("pragma_"))


class SqliteMaster(Rule):
    """sqlite_master and SQLite's other tables of its own.

    What differs:
        PostgreSQL has no sqlite_master, sqlite_schema or sqlite_sequence (42P01).
    Why:
        Each database describes its schema in tables of its own.
    Instead:
        A probe that both have: ``SELECT * FROM item WHERE 1 = 0``, or SQLAlchemy's inspector. On PostgreSQL
        ``information_schema.tables``.
    References:
        https://www.sqlite.org/schematab.html
        https://www.postgresql.org/docs/current/infoschema-tables.html
    """

    name = "sqlite-master"
    title = "sqlite_master exists on SQLite only"
    instead = "information_schema.tables on PostgreSQL"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen([("SELECT name FROM sqlite_master WHERE type = 'table' AND name = ?", ("item",))], _ITEM),
        Specimen(["SELECT count(*) FROM sqlite_schema"]),
    )
    near_misses = (Specimen(["SELECT * FROM item WHERE 1 = 0"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "42P01":
            return False
        names = r'^relation "((main|temp)\.)?sqlite_(temp_)?(master|schema|sequence|stat\d)" does not exist'
        return said(failure, names) is not None


class SqliteFunction(Rule):
    """A function about what this connection to SQLite did.

    What differs:
        PostgreSQL does not know last_insert_rowid(), changes(), total_changes() or sqlite_version() (42883).
    Why:
        They ask SQLite's library about the connection.
    Instead:
        ``INSERT INTO item (id, code) VALUES (2, 'b') RETURNING id`` for last_insert_rowid(), the cursor's
        rowcount for changes().
    References:
        https://www.sqlite.org/lang_corefunc.html#last_insert_rowid
        https://www.sqlite.org/lang_corefunc.html#changes
        https://www.postgresql.org/docs/current/dml-returning.html
    """

    name = "sqlite-function"
    title = "function about the connection to SQLite"
    instead = "RETURNING for last_insert_rowid(), cursor.rowcount for changes()"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen(["SELECT last_insert_rowid()"]),
        Specimen(["SELECT changes(), total_changes()"]),
        Specimen(["SELECT sqlite_version()"]),
    )
    near_misses = (Specimen(["INSERT INTO item (id, code) VALUES (2, 'b') RETURNING id", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(evidence.raised("postgres"))
        return missing is not None and bool(
            re.fullmatch(r"last_insert_rowid|(total_)?changes|sqlite_\w+", missing.name)
        )


class PostgresCatalog(Rule):
    """information_schema, pg_catalog and PostgreSQL's other tables of its own.

    What differs:
        SQLite has none of them (``no such table``).
    Why:
        Each database describes its schema in tables of its own.
    Instead:
        A probe that both have: ``SELECT * FROM item WHERE 1 = 0``, or SQLAlchemy's inspector. On SQLite
        ``sqlite_master`` and ``PRAGMA table_info``.
    References:
        https://www.sqlite.org/schematab.html
        https://www.postgresql.org/docs/current/information-schema.html
        https://www.postgresql.org/docs/current/catalogs.html
    """

    name = "postgres-catalog"
    title = "information_schema and pg_catalog exist on PostgreSQL only"
    instead = "sqlite_master and PRAGMA table_info on SQLite"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen(
            [("SELECT table_name FROM information_schema.tables WHERE table_name = ?", ("item",))], _ITEM
        ),
        Specimen(["SELECT tablename FROM pg_tables WHERE schemaname = 'public'"], _ITEM),
        Specimen(["SELECT count(*) FROM pg_catalog.pg_class"]),
    )
    near_misses = (Specimen(["SELECT * FROM item WHERE 1 = 0"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return said(evidence.raised("sqlite"), r"^no such table: (information_schema\.|pg_)") is not None


class PostgresFunction(Rule):
    """A function about the PostgreSQL server, its sequences or its locks.

    What differs:
        SQLite does not know version(), current_schema(), nextval(), setval(), to_regclass(),
        pg_advisory_lock() and the like (``no such function``), nor the words CURRENT_USER and SESSION_USER
        (``no such column``).
    Why:
        SQLite has no server, no users, no schemas and no sequences.
    Instead:
        Run them in the PostgreSQL part of the code. Keys: ``INSERT INTO item (id, code) VALUES (2, 'b')
        RETURNING id`` in place of nextval().
    References:
        https://www.sqlite.org/lang_corefunc.html
        https://www.postgresql.org/docs/current/functions-info.html
        https://www.postgresql.org/docs/current/functions-sequence.html
        https://www.postgresql.org/docs/current/functions-admin.html
    """

    name = "postgres-function"
    title = "function about PostgreSQL's server, sequences or locks"
    instead = "the PostgreSQL part of the code only; RETURNING for keys"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen(["SELECT version()"]),
        Specimen(["SELECT current_user"]),
        Specimen(["SELECT pg_advisory_xact_lock(1)", "ROLLBACK"]),
        Specimen(["SELECT nextval('counter')"], {"sqlite": "", "postgres": "CREATE SEQUENCE counter"}),
    )
    near_misses = (Specimen(["INSERT INTO item (id, code) VALUES (2, 'b') RETURNING id", "COMMIT"], _ITEM),)
    _names: ClassVar[str] = (
        r"version|current_(schemas?|database|setting|catalog|query)|set_config|to_reg\w+|nextval|currval|setval|lastval"
        r"|(obj|col|shobj)_description|txid_\w+|has_\w+_privilege|inet_\w+|format_type|row_security_active|pg_\w+"
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None:
            return False
        missing = missing_function(failure)
        if missing is not None:
            return re.fullmatch(self._names, missing.name) is not None
        words = (
            r"^no such column: (current_(user|role|schema|catalog)|session_user|localtimestamp|localtime)$"
        )
        return said(failure, words) is not None


class SessionSetting(Rule):
    """SET, SHOW, RESET or DISCARD.

    What differs:
        SQLite refuses the statement with a syntax error; PostgreSQL reads or changes a setting.
    Why:
        SQLite's settings are pragmas and arguments of connect().
    Instead:
        Pass settings when connecting: ``options='-c statement_timeout=5s'`` to PostgreSQL, ``timeout=5`` to
        sqlite3.
    References:
        https://www.sqlite.org/pragma.html
        https://www.postgresql.org/docs/current/sql-set.html
    """

    name = "session-setting"
    title = "SET and SHOW exist on PostgreSQL only"
    instead = "settings as arguments of connect()"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["SET search_path TO public", "ROLLBACK"]),
        Specimen(["SHOW server_version"]),
        Specimen(["SET LOCAL statement_timeout = 1000", "ROLLBACK"]),
    )
    near_misses = (Specimen(["UPDATE item SET code = 'b'", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        word = at(evidence.raised("sqlite"))
        if word not in ("SET", "SHOW", "RESET", "DISCARD"):
            return False
        return has(evidence.sql("sqlite"), rf"(^|;)\s*{word}\b")


class PostgresCommand(Rule):
    """A command that only PostgreSQL has.

    What differs:
        SQLite refuses LISTEN, NOTIFY, COPY, EXPLAIN ANALYZE, PREPARE, EXECUTE, DECLARE and FETCH, CALL and
        the like with a syntax error.
    Why:
        They concern a server and its sessions.
    Instead:
        The PostgreSQL part of the code only; for COPY an INSERT by executemany:
        ``INSERT INTO item (id, code) VALUES (2, 'b')``.
    References:
        https://www.sqlite.org/lang.html
        https://www.postgresql.org/docs/current/sql-commands.html
    """

    name = "postgres-command"
    title = "command that only PostgreSQL has"
    instead = "the PostgreSQL part of the code only"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["LISTEN news", "ROLLBACK"]),
        Specimen(["EXPLAIN (COSTS OFF) SELECT id FROM item"], _ITEM),
        Specimen(["PREPARE one AS SELECT 1", "ROLLBACK"]),
    )
    near_misses = (Specimen(["INSERT INTO item (id, code) VALUES (2, 'b')", "COMMIT"], _ITEM),)
    _commands: ClassVar[str] = (
        r"(^|;)\s*(LISTEN|UNLISTEN|NOTIFY|COPY|PREPARE|EXECUTE|DEALLOCATE|DECLARE|FETCH|MOVE|CLOSE|CALL|CHECKPOINT|LOAD"
        r"|SECURITY|IMPORT|EXPLAIN\s*\(|EXPLAIN\s+(ANALYZE|VERBOSE)|VACUUM\s*\(|VACUUM\s+(FULL|ANALYZE|FREEZE|VERBOSE)"
        r"|ANALYZE\s+(VERBOSE|\()|REINDEX\s+(\(|TABLE|INDEX|SCHEMA|DATABASE|SYSTEM))"
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None or not at(failure):
            return False
        return has(evidence.sql("sqlite"), self._commands)


class SqliteCommand(Rule):
    """A command that only SQLite has.

    What differs:
        PostgreSQL refuses EXPLAIN QUERY PLAN, VACUUM INTO and REINDEX without a kind of object (42601).
    Why:
        They concern SQLite's planner and its file.
    Instead:
        The SQLite part of the code only. ``ANALYZE`` runs on both.
    References:
        https://www.sqlite.org/lang.html
        https://www.postgresql.org/docs/current/sql-commands.html
    """

    name = "sqlite-command"
    title = "command that only SQLite has"
    instead = "the SQLite part of the code only"
    kinds = ERROR
    priority = 10
    specimens = (
        Specimen(["EXPLAIN QUERY PLAN SELECT id FROM item"], _ITEM),
        Specimen(["REINDEX item"], _ITEM),
    )
    near_misses = (Specimen(["ANALYZE item", "COMMIT"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is None or failure.sqlstate != "42601":
            return False
        return has(
            evidence.sql("postgres"),
            r"^\s*(EXPLAIN\s+QUERY\s+PLAN|VACUUM\s+INTO|VACUUM\s+\w+\s+INTO|REINDEX)\b",
        )


class ExplainOutput(Rule):
    """EXPLAIN.

    What differs:
        The columns and rows of the answer: SQLite lists instructions of its virtual machine, PostgreSQL lines
        of text about its plan.
    Why:
        Each database explains its own way of doing it.
    Instead:
        Do not let the application depend on EXPLAIN's output. ``SELECT count(*) FROM item`` counts on both.
    References:
        https://www.sqlite.org/lang_explain.html
        https://www.postgresql.org/docs/current/sql-explain.html
    """

    name = "explain-output"
    title = "EXPLAIN answers in each database's own words"
    instead = "do not compare the output of EXPLAIN"
    kinds = frozenset({"rows", "columns", "order", "type"})
    severity = "low"
    priority = 20
    specimens = (Specimen(["EXPLAIN SELECT id FROM item"], _ITEM),)
    near_misses = (Specimen(["SELECT count(*) FROM item"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        return syntax.verb(evidence.sql("sqlite")) == "EXPLAIN" == syntax.verb(evidence.sql("postgres"))


class SchemaQualifiedName(Rule):
    """A table named with the schema of one database.

    What differs:
        SQLite has no schema ``public`` (``no such table: public.item``, ``unknown database``); PostgreSQL has
        no schema ``main`` or ``temp`` (42P01, 3F000).
    Why:
        A SQLite schema is an attached file, the first of them is called main.
    Instead:
        The name alone: ``SELECT id FROM item``.
    References:
        https://www.sqlite.org/lang_naming.html
        https://www.postgresql.org/docs/current/ddl-schemas.html
    """

    name = "schema-qualified-name"
    title = "table named with a schema that only one database has"
    instead = "the table's name alone"
    kinds = ERROR
    priority = 4
    specimens = (
        Specimen(["SELECT code FROM public.item"], _ITEM),
        Specimen(['INSERT INTO "main"."item" (id) VALUES (2)', "ROLLBACK"], _ITEM),
        Specimen(["CREATE TABLE main.other (id INTEGER)"]),
    )
    near_misses = (Specimen(["SELECT item.code FROM item"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.raised("sqlite"), evidence.raised("postgres")
        found = said(sqlite, r"^no such table: (\w+)\.(?!sqlite_)(\w+)$") or said(
            sqlite, r"^unknown database:? \"?(\w+)"
        )
        if found:
            return found[1].lower() not in ("main", "temp", "information_schema", "pg_catalog")
        return said(postgres, r'^relation "(main|temp)\.|^schema "(main|temp)" does not exist') is not None


class MissingTable(Rule):
    """A table that only one of the databases has.

    What differs:
        The statement works on one backend and fails on the other (42P01, ``no such table``).
    Why:
        The schemas differ: the table was never created there, or a statement of the schema file failed.
    Instead:
        Create it in both schemas: ``CREATE TABLE IF NOT EXISTS item (id INTEGER PRIMARY KEY)``.
    References:
        https://www.sqlite.org/lang_createtable.html
        https://www.postgresql.org/docs/current/sql-createtable.html
    """

    name = "missing-table"
    title = "table that only one of the databases has"
    instead = "create the table in both schemas"
    kinds = frozenset({"error", "state"})
    priority = 6
    specimens = (
        Specimen(["SELECT id FROM item"], {"sqlite": _ITEM, "postgres": ""}),
        Specimen([("INSERT INTO item (id) VALUES (?)", (3,)), "ROLLBACK"], {"sqlite": "", "postgres": _ITEM}),
    )
    near_misses = (Specimen(["SELECT id FROM item", "SELECT id FROM nowhere"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "state":
            name = evidence.divergence.table or ""
            return evidence.divergence.difference is None and any(
                self._only(evidence, b, name) for b in BACKENDS
            )
        for backend in BACKENDS:
            failure = evidence.raised(backend)
            if failure is None:
                continue
            found = said(
                failure,
                r'^no such table: (?:main\.)?"?(\w+)'
                r'|^(?:relation|table|view) "(?:\w+\.)?(\w+)" does not exist',
            )
            return found is not None and self._only(evidence, OTHER[backend], found[1] or found[2])
        return False

    def _only(self, evidence: Evidence, backend: Backend, name: str) -> bool:
        there, here = evidence.catalogs.get(backend), evidence.catalogs.get(OTHER[backend])
        return (
            there is not None
            and here is not None
            and there.table(name) is not None
            and here.table(name) is None
        )


class MissingColumn(Rule):
    """A column that only one of the databases has.

    What differs:
        The statement works on one backend and fails on the other (42703, ``no such column``).
    Why:
        The schemas differ: the column is missing in that table there.
    Instead:
        The same columns in both schemas: ``ALTER TABLE item ADD COLUMN note TEXT`` runs on both.
    References:
        https://www.sqlite.org/lang_altertable.html
        https://www.postgresql.org/docs/current/sql-altertable.html
    """

    name = "missing-column"
    title = "column that only one of the databases has"
    instead = "the same columns in both schemas"
    kinds = ERROR
    priority = -5
    specimens = (
        Specimen(
            ["SELECT note FROM item"],
            {
                "sqlite": "CREATE TABLE item (id INTEGER, note TEXT)",
                "postgres": "CREATE TABLE item (id INTEGER)",
            },
        ),
        Specimen(
            ["INSERT INTO item (id, note) VALUES (1, 'a')", "ROLLBACK"],
            {
                "sqlite": "CREATE TABLE item (id INTEGER)",
                "postgres": "CREATE TABLE item (id INTEGER, note TEXT)",
            },
        ),
    )
    near_misses = (Specimen(["SELECT nothing FROM item"], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        for backend in BACKENDS:
            failure = evidence.raised(backend)
            if failure is None:
                continue
            found = said(
                failure,
                r'^no such column: (?:\w+\.)*"?(\w+)|^table \S+ has no column named "?(\w+)'
                r'|^column "?(?:\w+\.)?(\w+)"?.* does not exist',
            )
            if found is None:
                return False
            name = next(part for part in found.groups() if part)
            tables = sorted(syntax.tables(evidence.sql(backend)))
            return (
                bool(tables)
                and evidence.column(name, OTHER[backend], tables) is not None
                and evidence.column(name, backend, tables) is None
            )
        return False


class OtherRows(Rule):
    """A table that held other rows from the start, which no statement of the test wrote.

    What differs:
        What the set-up put into the two databases: other values in a row, or a row on one side only.
    Why:
        The schema files or their seed rows are not the same, or a fixture fills only one of the databases.
    Instead:
        The same rows in both: one file for both databases, with ``INSERT INTO item (id, code) VALUES (2,
        'b')`` and nothing of one dialect.
    References:
        https://www.sqlite.org/lang_insert.html
        https://www.postgresql.org/docs/current/dml-insert.html
    """

    name = "seed-rows"
    title = "the two databases began with other rows"
    instead = "the same seed rows for both databases"
    kinds = frozenset({"rows", "state", "order", "rowcount"})
    notes = frozenset({"generated-keys"})
    priority = -20
    _SEEDS: ClassVar[dict[str, str]] = {
        "sqlite": "CREATE TABLE seed (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO seed VALUES (1, 'a'), (2, 'b');",
        "postgres": "CREATE TABLE seed (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO seed VALUES (1, 'a'), (2, 'z');",
    }
    specimens = (
        Specimen(["SELECT code FROM seed ORDER BY id"], _SEEDS),
        Specimen(["SELECT count(*) FROM seed WHERE code = 'b'"], _SEEDS),
        Specimen(["SELECT id FROM seed WHERE code > 'b'"], _SEEDS),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "INSERT INTO item VALUES (2, 'x')",
                    "postgres": "INSERT INTO item VALUES (2, 'y')",
                },
                "COMMIT",
            ],
            _ITEM,
            ("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        table = evidence.divergence.table
        read = {table} if table is not None else syntax.tables(evidence.text)
        written: set[str] = set()
        for backend in BACKENDS:
            for statement in evidence.recordings[backend].statements:
                written |= syntax.written_tables(statement.sql) | syntax.defined_tables(statement.sql)
        if not all(self._plain(evidence, name, read) for name in written):
            return False
        # a table of a further database, or of another schema, is in no template that is known here
        return any(self._began_apart(evidence, name) for name in read - written if "." not in name)

    def _plain(self, evidence: Evidence, name: str, read: Set[str]) -> bool:
        """Return whether a table can be written without another being written with it, by trigger, view or cascade."""
        for catalog in evidence.catalogs.values():
            table = catalog.table(name)
            if table is None or table.triggers:
                return False
            others = [other for one in read if (other := catalog.table(one)) is not None]
            if any(key.table.lower() == name for other in others for key in other.foreign_keys):
                return False
        return True

    def _began_apart(self, evidence: Evidence, table: str) -> bool:
        """Return whether a table holds rows of one side only whose values no database could have converted."""
        for backend in BACKENDS:
            template = evidence.templates.get(backend, {}).get(table)
            half = evidence.recordings[backend]
            made = template is None and half.catalog is not None  # in the half, by a script of a fixture
            own = half.state.get(table)
            if own is not None and not made and own.rows != (() if template is None else template.rows):
                return False  # written in the half, by whatever no statement tells of
        left, right = (evidence.contents(table, backend) for backend in BACKENDS)
        if (
            left is None
            or right is None
            or [*map(str.lower, left.columns)] != [*map(str.lower, right.columns)]
        ):
            return False
        sides = [Counter(tuple(map(loose_key, row)) for row in state.rows) for state in (left, right)]
        only = [side - other for side, other in zip(sides, reversed(sides), strict=True)]
        if len(left.rows) != len(right.rows):
            return True
        for keys in zip(*(map(set, zip(*side, strict=True)) for side in only), strict=True):
            differing = keys[0] ^ keys[1]
            kinds = {key[0] if isinstance(key, tuple) else None for key in differing}
            if len(kinds) > 1 or any("." in str(key[1]) for key in differing if kinds == {"n"}):
                return False
        return bool(only[0])


class ColumnOrder(Rule):
    """SELECT * or INSERT without column names, where the schemas list a table's columns in another order.

    What differs:
        SELECT * gives each database's own order, so that a row read by position has its values in other
        places; INSERT without names puts values into other columns, or fails where the types do not fit.
    Why:
        The order is that of CREATE TABLE, and of every ALTER TABLE since: a column that a migration added is
        the last one there.
    Instead:
        Columns by name: ``SELECT id, first, last FROM person`` and
        ``INSERT INTO person (first, last) VALUES ('Ada', 'Byron')``.
    References:
        https://www.sqlite.org/lang_insert.html
        https://www.postgresql.org/docs/current/sql-insert.html
    """

    name = "column-order"
    title = "the schemas list a table's columns in another order"
    instead = "column names instead of * and in INSERT"
    kinds = frozenset({"rows", "state", "error", "outcome"})
    priority = 5
    _PERSON: ClassVar[dict[str, str]] = {
        "sqlite": "CREATE TABLE person (id INTEGER, first TEXT, last TEXT);",
        "postgres": "CREATE TABLE person (id INTEGER, last TEXT, first TEXT);",
    }
    _LATER: ClassVar[dict[str, str]] = {
        "sqlite": "CREATE TABLE person (id INTEGER, name TEXT, age INTEGER);",
        "postgres": "CREATE TABLE person (id INTEGER, age INTEGER, name TEXT);",
    }
    specimens = (
        Specimen(
            ["INSERT INTO person (first, last) VALUES ('Ada', 'Byron')", "SELECT * FROM person"], _PERSON
        ),
        Specimen(
            ["INSERT INTO person (first, last) VALUES ('Ada', 'Byron')", "SELECT p.* FROM person p"], _PERSON
        ),
        Specimen([("INSERT INTO person VALUES (?, ?, ?)", (1, "Ada", "Byron")), "COMMIT"], _PERSON),
        Specimen([("INSERT INTO person VALUES (?, ?, ?)", (1, "Ada", 36)), "ROLLBACK"], _LATER),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO person (first, last) VALUES ('Ada', 'Byron')", "SELECT first, last FROM person",
             "COMMIT"],
            _PERSON,
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        table = evidence.divergence.table
        error = evidence.kind in ("error", "outcome")
        for text in (bare(s.sql) for backend in BACKENDS for s in suspects(evidence, backend)):
            names = {table} if table is not None else syntax.tables(text) | syntax.written_tables(text)
            if not any(self._rearranged(evidence, name) for name in names):
                continue
            if re.search(r"\bINTO\s+[\w.\"`]+\s*(?:VALUES|SELECT)\b", text, re.I):
                return error or self._same_values(evidence)
            if re.search(r"(?:\bSELECT\s+(?:DISTINCT\s+)?|[.,]\s*)\*(?!\w)", text, re.I):
                return not error and self._same_values(evidence)
        return False

    def _same_values(self, evidence: Evidence) -> bool:
        """Return whether the rows that differ hold the same values in other places."""
        difference = evidence.divergence.difference
        if difference is None:
            return False
        sides = (
            Counter(frozenset(Counter(map(loose_key, row)).items()) for row in rows)
            for rows in (difference.only_sqlite, difference.only_postgres)
        )
        return next(sides) == next(sides)

    def _rearranged(self, evidence: Evidence, name: str) -> bool:
        found = [c.table(name) if (c := evidence.catalogs.get(b)) is not None else None for b in BACKENDS]
        lists = [[column.name.lower() for column in table.columns] for table in found if table is not None]
        return (
            len(lists) == 2
            and [column for column in lists[0] if column in lists[1]]
            != [column for column in lists[1] if column in lists[0]]
        )  # fmt: skip
