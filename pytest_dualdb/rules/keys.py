"""Why generated keys, and how an application learns them, differ."""

from __future__ import annotations

import contextlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Column, Statement
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.constraints import violated_columns, violated_table, violation
from pytest_dualdb.rules.ddl import ERROR, at, has
from pytest_dualdb.rules.facts import bare, explained, said, suspects, values_at
from pytest_dualdb.state import are_other_rows, rows_by_key
from pytest_dualdb.values import same_value

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE, n INTEGER);"
_ITEM_1 = _ITEM + "INSERT INTO item VALUES (1, 'a', 1);"
_KEYED = {
    "sqlite": "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT UNIQUE);",
    "postgres": "CREATE TABLE item (id SERIAL PRIMARY KEY, code TEXT UNIQUE);",
}


_REFERRING = {
    name: schema
    + f"CREATE TABLE part (id {key} PRIMARY KEY, item_id INTEGER REFERENCES item (id));"
    + f"CREATE TABLE note (id {key} PRIMARY KEY, item_nr INTEGER);"
    for (name, schema), key in zip(_KEYED.items(), ("INTEGER", "SERIAL"), strict=True)
}
_LATER = {
    **_KEYED,
    "postgres": "CREATE SEQUENCE numbers START 1000;"
    " CREATE TABLE item (id INTEGER PRIMARY KEY DEFAULT nextval('numbers'), code TEXT UNIQUE);",
}
_GAP = ("INSERT INTO item (code) VALUES ('a')", "ROLLBACK", "INSERT INTO item (code) VALUES ('b')", "COMMIT")


class ReturningMissing(Rule):
    """RETURNING on a SQLite that does not have it.

    What differs:
        SQLite before 3.35 fails with ``near "RETURNING": syntax error``; sqlite3's executemany refuses
        statements with a result.
    Why:
        SQLite has had RETURNING since March 2021; Python uses the library of the system.
    Instead:
        A newer SQLite, or a second statement by a key that the application knows:
        ``SELECT id FROM item WHERE code = 'a'``.
    References:
        https://www.sqlite.org/lang_returning.html
        https://www.postgresql.org/docs/current/dml-returning.html
    """

    name = "returning-missing"
    title = "RETURNING that this SQLite or executemany does not take"
    instead = "SQLite 3.35 or later, one execute for each row"
    kinds = ERROR
    specimens = (Specimen([lambda db: _many(db, "SELECT id FROM item WHERE id = {}")], _ITEM_1),)
    near_misses = (Specimen([("INSERT INTO item (id) VALUES (?) RETURNING id", (2,)), "COMMIT"], _ITEM_1),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("sqlite")
        if failure is None:
            return False
        if said(failure, r"executemany\(\) can only execute DML"):
            return True
        return at(failure) == "RETURNING"


def _many(db: Any, sql: str) -> None:
    db.connection.cursor().executemany(sql.format(db.placeholder), [(1,), (2,)])


class ReturningUnfetched(Rule):
    """RETURNING whose rows are not fetched before the commit.

    What differs:
        SQLite refuses the commit (``cannot commit transaction - SQL statements in progress``); PostgreSQL
        has the rows at the client already and commits.
    Why:
        A SQLite statement is unfinished until its last row is fetched or its cursor is closed.
    Instead:
        Fetch before the commit: ``INSERT INTO item (id) VALUES (2) RETURNING id``, fetchone, then commit.
        With fetchone also close the cursor, or use fetchall.
    References:
        https://www.sqlite.org/lang_returning.html
        https://docs.python.org/3/library/sqlite3.html
        https://www.postgresql.org/docs/current/dml-returning.html
    """

    name = "returning-unfetched"
    title = "commit before the rows of RETURNING are fetched"
    instead = "fetch all rows of RETURNING before the commit"
    kinds = frozenset({"error", "state"})
    specimens = (
        Specimen([lambda db: _commit_unfetched(db)], _ITEM_1),
        Specimen([lambda db: _commit_swallowed(db)], _ITEM_1),
    )
    near_misses = (Specimen(["INSERT INTO item (id) VALUES (2) RETURNING id", "COMMIT"], _ITEM_1),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            if not said(evidence.raised("sqlite"), "SQL statements in progress"):
                return False
            return any(has(s.sql, r"\bRETURNING\b") and s.fetched != "all" for s in evidence.before("sqlite"))
        return any(
            said(s.error, "SQL statements in progress") and s.kind == "commit"
            for s in evidence.recordings["sqlite"].statements
        )


def _commit_swallowed(db: Any) -> None:
    with contextlib.suppress(Exception):
        _commit_unfetched(db)


def _commit_unfetched(db: Any) -> None:
    cursor = db.connection.cursor()
    cursor.execute("INSERT INTO item (id) VALUES (2) RETURNING id")
    db.connection.commit()


class Lastrowid(Rule):
    """cursor.lastrowid as the key of the new row.

    What differs:
        sqlite3 gives the key of the inserted row; psycopg2 gives 0 (the OID that tables no longer have),
        psycopg 3 has no such attribute.
    Why:
        PEP 249 leaves lastrowid to the driver. PostgreSQL tells a new key only to who asks for it.
    Instead:
        ``INSERT INTO item (code) VALUES ('a') RETURNING id`` and fetchone.
    References:
        https://www.sqlite.org/lang_returning.html
        https://www.postgresql.org/docs/current/dml-returning.html
        https://www.psycopg.org/docs/cursor.html#cursor.lastrowid
    """

    name = "lastrowid"
    title = "cursor.lastrowid is the new key on SQLite only"
    instead = "INSERT ... RETURNING id, then fetchone"
    kinds = frozenset({"rowcount", "observed", "rows", "state", "error", "outcome"})
    notes = frozenset({"generated-keys"})
    priority = 20
    specimens = (
        Specimen([lambda db: _use_lastrowid(db, "SELECT code FROM item WHERE id = {}")], _KEYED),
        Specimen(
            [lambda db: _use_lastrowid(db, "INSERT INTO part (item_id) VALUES ({})"), "COMMIT"],
            {name: schema + "CREATE TABLE part (item_id INTEGER);" for name, schema in _KEYED.items()},
        ),
        Specimen([lambda db: _lastrowid_of_psycopg(db)], _KEYED),
        Specimen([lambda db: db.observe("key", _use_lastrowid(db, "SELECT {}"))], _KEYED),
    )
    near_misses = (
        Specimen([("INSERT INTO item (code) VALUES (?) RETURNING id", ("a",)), "COMMIT"], _KEYED),
        Specimen(
            [
                lambda db: _insert(db).lastrowid if db.backend == "postgres" else _insert(db),
                lambda db: db.observe("items", db.scalar("SELECT count(*) FROM item WHERE id > 4")),
                lambda db: db.fetchall("SELECT code FROM item WHERE id > ? ORDER BY code", (4,)),
                "COMMIT",
            ],
            {
                "sqlite": _KEYED["sqlite"] + "INSERT INTO item VALUES (5, 'x');",
                "postgres": _KEYED["postgres"] + "INSERT INTO item VALUES (5, 'y'), (6, 'z');",
            },
            ("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.divergence.message.startswith("lastrowid is"):
            return True
        if evidence.kind == "outcome":
            failure = evidence.failure("postgres")
            missing = failure is not None and failure.message.endswith("has no attribute 'lastrowid'")
            return missing and evidence.failure("sqlite") is None
        made = _read_lastrowids(evidence)
        if not made:
            return False
        difference = evidence.divergence.difference
        if evidence.kind in ("observed", "state") and difference is not None:
            rows = zip(difference.only_sqlite, difference.only_postgres, strict=False)
            return any(_lost(a, b, made) for one, other in rows for a, b in zip(one, other, strict=False))
        sides = params_of(evidence.sqlite), params_of(evidence.postgres)
        return any(_lost(a, b, made) for a, b in zip(*sides, strict=False))


def _lastrowid_of_psycopg(db: Any) -> None:
    if db.backend == "sqlite":
        cursor = db.connection.cursor()
        cursor.execute("INSERT INTO item (code) VALUES ('a')")
        assert cursor.lastrowid
        db.connection.rollback()
        return
    import psycopg

    with psycopg.connect(db.dsn) as connection:
        connection.execute("INSERT INTO item (code) VALUES ('a')").lastrowid  # type: ignore[attr-defined]  # noqa: B018


def _read_lastrowids(evidence: Evidence) -> frozenset[Any]:
    """Return the values that the SQLite half read from lastrowid where the other read none."""
    if not any("lastrowid" in s.read and not s.lastrowid for s in evidence.recordings["postgres"].statements):
        return frozenset()
    return frozenset(s.lastrowid for s in evidence.before("sqlite") if "lastrowid" in s.read)


def _lost(sqlite: Any, postgres: Any, made: frozenset[Any]) -> bool:
    return isinstance(sqlite, int) and sqlite in made and postgres in (0, None)


def _insert(db: Any) -> Any:
    cursor = db.connection.cursor()
    cursor.execute(f"INSERT INTO item (code) VALUES ({db.placeholder})", ("a",))
    return cursor


def _use_lastrowid(db: Any, sql: str) -> Any:
    cursor = _insert(db)
    cursor.execute(sql.format(db.placeholder), (cursor.lastrowid,))
    if cursor.description is not None:
        cursor.fetchall()
    return cursor.lastrowid


class RowidColumn(Rule):
    """rowid, or a system column of PostgreSQL, used as a column.

    What differs:
        PostgreSQL has no ``rowid``, ``oid`` or ``_rowid_`` (42703); SQLite has no ``ctid`` or ``xmin``.
    Why:
        They show how one database stores its rows.
    Instead:
        The declared primary key: ``SELECT id FROM item ORDER BY id``.
    References:
        https://www.sqlite.org/rowidtable.html
        https://www.postgresql.org/docs/current/ddl-system-columns.html
    """

    name = "rowid-column"
    title = "rowid or a system column of one database"
    instead = "the table's primary key"
    kinds = ERROR
    specimens = (
        Specimen(["SELECT rowid, code FROM item"], _ITEM_1),
        Specimen(['DELETE FROM "item" WHERE "item"."_rowid_" = 1'], _ITEM_1),
        Specimen(["SELECT ctid FROM item"], _ITEM_1),
    )
    near_misses = (Specimen(["SELECT id AS rowid FROM item ORDER BY id"], _ITEM_1),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            if failure.sqlstate not in ("42703", "42P10"):
                return False
            return (
                said(
                    failure, r'column "?(?:\w+\.)?(?:rowid|oid|_rowid_)"?(?: of relation .+)? does not exist'
                )
                is not None
            )
        found = said(
            evidence.raised("sqlite"), r"no such column: (?:\w+\.)?(ctid|xmin|xmax|cmin|cmax|tableoid)$"
        )
        return found is not None


def _key_pairs(evidence: Evidence) -> Iterator[tuple[str, Any, Any]]:
    """Yield (table, SQLite's key, PostgreSQL's key) where generated keys of the same row differ.

    That is in the rows of the divergence, or in the tables that a query looked into for such a key.
    """
    difference = evidence.divergence.difference
    if difference is None:
        return
    named = evidence.divergence.table
    tables = [named] if named else sorted(syntax.tables(evidence.text))
    for name in difference.differing:
        index = difference.columns.index(name)
        sides = [values_at(rows, index) for rows in (difference.only_sqlite, difference.only_postgres)]
        if Counter(map(repr, sides[0])) == Counter(map(repr, sides[1])):
            continue  # the same keys, of rows that are not beside their own
        found = {
            (one[index], other[index])
            for one, other in zip(difference.only_sqlite, difference.only_postgres, strict=False)
            if index < min(len(one), len(other)) and _whole(one[index]) and _whole(other[index])
            if _alike(one, other, index)
        }
        makers = dict.fromkeys(made for table in tables for made in _makers(evidence, table, name))
        # a reference that no schema declares holds keys that differ in some table in the same way
        others = [] if makers else [o for o in _written(evidence) if found <= _renamed(evidence, o)]
        for table in (*makers, *others):
            for sqlite, postgres in found:
                if not _are_other_rows(evidence, table, sqlite, postgres):
                    yield table, sqlite, postgres
    if named is None:
        asked = {value for value in params_of(evidence.sqlite) if isinstance(value, int)}
        for table in tables:
            for sqlite, postgres in _renamed(evidence, table):
                if sqlite != postgres and asked & {sqlite, postgres}:
                    yield table, sqlite, postgres


def _alike(one: Sequence[Any], other: Sequence[Any], key: int) -> bool:
    """Return whether two rows with different keys can be one: most have more than a key in common, if they have more."""
    rest = [
        (a, b) for i, (a, b) in enumerate(zip(one, other, strict=False)) if i != key and None not in (a, b)
    ]
    return not rest or any(same_value(a, b) for a, b in rest) or len(rest) == 1


def _whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _written(evidence: Evidence) -> list[str]:
    return sorted(evidence.recordings["sqlite"].state)


def _renamed(evidence: Evidence, table: str) -> set[tuple[int, int]]:
    """Return SQLite's and PostgreSQL's generated key of each row of a table, paired by their order."""
    return set(zip(*(_stored_keys(evidence, table, backend) for backend in BACKENDS), strict=False))


def _are_other_rows(evidence: Evidence, table: str, sqlite: Any, postgres: Any) -> bool:
    """Return whether two generated keys of the table belong to two rows, not to one with another key."""
    states = [evidence.contents(table, backend) for backend in BACKENDS]
    for column in () if states[0] is None else states[0].columns:
        if _generated(evidence, table, column) is not None:
            rows = [{} if state is None else rows_by_key(state, column.lower()) for state in states]
            return are_other_rows(rows[0], rows[1], sqlite, postgres)
    return False


def _makers(evidence: Evidence, table: str, column: str) -> Iterator[str]:
    """Yield the tables whose generated keys a column holds: its own, or the ones that it refers to."""
    if _generated(evidence, table, column) is not None:
        yield table
    for backend in BACKENDS:
        described = evidence.catalogs[backend].table(table)
        for key in () if described is None else described.foreign_keys:
            if column.lower() in (one.lower() for one in key.columns):
                other = evidence.catalogs[backend].table(key.table)
                names = key.references or (() if other is None else other.primary_key)
                if any(_generated(evidence, key.table, name) is not None for name in names):
                    yield key.table.lower()


def _stored_keys(evidence: Evidence, table: str, backend: Backend) -> list[int]:
    """Return the generated keys that the table holds, in their order."""
    state = evidence.contents(table, backend)
    for index, column in enumerate(() if state is None else state.columns):
        if state is not None and _generated(evidence, table, column) is not None:
            return sorted(row[index] for row in state.rows if isinstance(row[index], int))
    return []


def _generated(evidence: Evidence, table: str, column: str) -> Column | None:
    """Return SQLite's description of a column for which both databases make the keys."""
    sqlite, postgres = (evidence.column(column, backend, [table]) for backend in BACKENDS)
    both = sqlite is not None and postgres is not None and sqlite.generated_key and postgres.generated_key
    return sqlite if both else None


def _writes(evidence: Evidence, backend: Backend, table: str, *verbs: str) -> list[tuple[int, Statement]]:
    return [
        (index, s)
        for index, s in enumerate(evidence.recordings[backend].statements)
        if syntax.verb(s.sql) in verbs and table in syntax.written_tables(s.sql)
    ]


class RowidReuse(Rule):
    """Keys that SQLite gives again after the last row was deleted.

    What differs:
        After the row with the highest key is deleted SQLite gives its key to the next row; PostgreSQL's
        sequence goes on. What still holds the old key then points at the new row.
    Why:
        Without AUTOINCREMENT SQLite takes the highest key in the table plus one.
    Instead:
        ``id INTEGER PRIMARY KEY AUTOINCREMENT`` in the SQLite schema, GENERATED BY DEFAULT AS IDENTITY in
        PostgreSQL's; or keys that the application makes: ``INSERT INTO item (id, code) VALUES (2, 'b')``.
    References:
        https://www.sqlite.org/autoinc.html
        https://www.postgresql.org/docs/current/functions-sequence.html
    """

    name = "rowid-reuse"
    notes = frozenset({"generated-keys"})
    title = "SQLite gives a deleted key to the next row"
    instead = "INTEGER PRIMARY KEY AUTOINCREMENT in the SQLite schema"
    kinds = frozenset({"rows", "state", "rowcount", "order"})
    priority = 5
    specimens = (
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "DELETE FROM item",
                "INSERT INTO item (code) VALUES ('b')",
                "COMMIT",
            ],
            _KEYED,
        ),
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "DELETE FROM item WHERE code = 'a'",
                "INSERT INTO item (code) VALUES ('b') RETURNING id",
                "ROLLBACK",
            ],
            _KEYED,
        ),
    )
    near_misses = (
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "DELETE FROM item",
                "INSERT INTO item (code) VALUES ('b')",
                "COMMIT",
            ],
            {
                **_KEYED,
                "sqlite": "CREATE TABLE item (id INTEGER PRIMARY KEY AUTOINCREMENT, code TEXT UNIQUE);",
            },
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        for table, sqlite, postgres in _key_pairs(evidence):
            described = evidence.catalogs["sqlite"].table(table)
            if sqlite >= postgres or described is None or has(described.sql, r"\bAUTOINCREMENT\b"):
                continue
            deleted = _writes(evidence, "sqlite", table, "DELETE")
            inserted = _writes(evidence, "sqlite", table, "INSERT", "REPLACE")
            if deleted and inserted and deleted[0][0] < inserted[-1][0]:
                return True
        return False


class GeneratedKeyGaps(Rule):
    """Generated keys after a statement that failed, was rolled back or met a conflict, or of a sequence that begins later.

    What differs:
        PostgreSQL's sequence leaves a gap, or begins where START or setval() says; SQLite's next key follows
        the highest one in the table.
    Why:
        A sequence is never rolled back, so that sessions do not wait for each other, and knows no table.
    Instead:
        Rely on the keys' being unique, not on their values: ``SELECT id FROM item WHERE code = 'a'``, or take
        them from RETURNING.
    References:
        https://www.sqlite.org/autoinc.html
        https://www.postgresql.org/docs/current/functions-sequence.html
    """

    name = "generated-key-gaps"
    notes = frozenset({"generated-keys"})
    title = "generated keys differ: a PostgreSQL sequence leaves gaps"
    instead = "take keys from RETURNING, do not expect their values"
    kinds = frozenset({"rows", "state", "order"})
    specimens = (
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "ROLLBACK",
                "INSERT INTO item (code) VALUES ('b')",
                "COMMIT",
            ],
            _KEYED,
        ),
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "INSERT INTO item (code) VALUES ('a') ON CONFLICT DO NOTHING",
                "INSERT INTO item (code) VALUES ('b') RETURNING id",
                "ROLLBACK",
            ],
            _KEYED,
        ),
        Specimen(
            [
                {"sqlite": "BEGIN"},
                "SAVEPOINT attempt",
                "INSERT INTO item (code) VALUES ('a')",
                "ROLLBACK TO SAVEPOINT attempt",
                "INSERT INTO item (code) VALUES ('b')",
                "COMMIT",
            ],
            _KEYED,
        ),
        Specimen([*_GAP, "UPDATE item SET code = 'item/' || id", "COMMIT"], _REFERRING),
        Specimen([*_GAP, "INSERT INTO part (item_id) SELECT id FROM item", "COMMIT"], _REFERRING),
        Specimen([*_GAP, "INSERT INTO note (item_nr) SELECT id FROM item", "COMMIT"], _REFERRING),
        Specimen(["INSERT INTO item (code) VALUES ('a')", "SELECT 'no. ' || id FROM item", "COMMIT"], _LATER),
        Specimen(["INSERT INTO item (code) VALUES ('a')", "COMMIT"], _LATER),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO item (code) VALUES ('a')", "INSERT INTO item (code) VALUES ('b')", "COMMIT"], _KEYED
        ),
        Specimen(
            [
                {
                    "sqlite": "INSERT INTO item (id, code) VALUES (1, 'a')",
                    "postgres": "INSERT INTO item (id, code) VALUES (2, 'a')",
                },
                "COMMIT",
            ],
            _KEYED,
        ),
        Specimen(
            [
                "INSERT INTO item (code) VALUES ('a')",
                "COMMIT",
                "INSERT INTO part (item_id) VALUES (1)",
                "ROLLBACK",
                {
                    "sqlite": "INSERT INTO item (id, code) VALUES (5, 'b')",
                    "postgres": "INSERT INTO item (id, code) VALUES (6, 'b')",
                },
                "COMMIT",
            ],
            _REFERRING,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return self._in_text(evidence) or any(
            sqlite < postgres and self._spent(evidence, table)
            for table, sqlite, postgres in _key_pairs(evidence)
        )

    def _in_text(self, evidence: Evidence) -> bool:
        """Return whether what differs is a lower number inside text made of a table's rows, such as ``item/2``."""
        if not explained(evidence, lambda pair: _lower_inside(pair.sqlite, pair.postgres)):
            return False
        read = {table for one in suspects(evidence, "postgres") for table in syntax.tables(one.sql)}
        return any(self._spent(evidence, table) for table in read)

    def _spent(self, evidence: Evidence, table: str) -> bool:
        """Return whether the PostgreSQL half drew a key for this table that no row got, or its sequence begins later."""
        statements = evidence.recordings["postgres"].statements
        if self._begins_later(evidence, table):
            return True
        for index, insert in _writes(evidence, "postgres", table, "INSERT"):
            if insert.error is not None or has(insert.sql, r"\bON\s+CONFLICT\b"):
                return True
            for later in statements[index + 1 :]:
                if later.connection == insert.connection and later.kind in ("commit", "rollback"):
                    if later.kind == "rollback" or later.aborted:
                        return True
                    break
                if re.match(r"\s*ROLLBACK\b", later.sql, re.I):
                    return True
        return False

    def _begins_later(self, evidence: Evidence, table: str) -> bool:
        sqlite, postgres = (_stored_keys(evidence, table, backend) for backend in BACKENDS)
        inserts = _writes(evidence, "postgres", table, "INSERT")
        if not sqlite or not postgres or not inserts or sqlite[0] >= postgres[0]:
            return False
        described = evidence.catalogs["postgres"].table(table)
        keys = set() if described is None else {key.lower() for key in described.primary_key}
        return all(
            given is not None and not keys & given for given in map(_given, (s.sql for _, s in inserts))
        )


def _given(sql: str) -> frozenset[str] | None:
    """Return the columns that an INSERT names, None if it names none."""
    listed = re.search(
        r"\bINTO\s+\S+?\s*\(([^()]*)\)\s*(?:OVERRIDING|VALUES|SELECT|WITH|RETURNING)", bare(sql), re.I
    )
    return frozenset(part.strip().strip('"').lower() for part in listed[1].split(",")) if listed else None


def _lower_inside(left: Any, right: Any) -> bool:
    """Return whether two texts differ in numbers alone, SQLite's the lower ones."""
    if not isinstance(left, str) or not isinstance(right, str):
        return False
    sides = [re.split(r"(\d+)", text) for text in (left, right)]
    if sides[0][::2] != sides[1][::2]:
        return False
    numbers = zip(sides[0][1::2], sides[1][1::2], strict=True)
    return all(int(one) < int(other) for one, other in numbers if one != other) and left != right


class SequenceBehind(Rule):
    """A generated key after rows with explicit keys.

    What differs:
        PostgreSQL's sequence gives a key that is taken already (23505) or lower than those given; SQLite
        gives the one after the highest.
    Why:
        A sequence does not notice keys that were inserted with a value.
    Instead:
        Leave keys to the database, or set the sequence in the PostgreSQL part of the set-up:
        ``SELECT setval(pg_get_serial_sequence('item', 'id'), (SELECT max(id) FROM item))``. On both runs
        ``INSERT INTO item (id, code) SELECT max(id) + 1, 'c' FROM item``.
    References:
        https://www.sqlite.org/autoinc.html
        https://www.postgresql.org/docs/current/functions-sequence.html
    """

    name = "sequence-behind"
    title = "PostgreSQL's sequence does not know of explicitly given keys"
    instead = "setval() after rows with explicit keys, or no explicit keys"
    kinds = frozenset({"error", "rows", "state", "order"})
    notes = frozenset({"generated-keys"})
    priority = 5
    specimens = (
        Specimen(
            [
                "INSERT INTO item (id, code) VALUES (1, 'a')",
                "INSERT INTO item (code) VALUES ('b')",
                "ROLLBACK",
            ],
            _KEYED,
        ),
        Specimen(
            [("INSERT INTO item (code) VALUES (?) RETURNING id", ("b",)), "ROLLBACK"],
            {name: schema + "INSERT INTO item VALUES (1, 'a');" for name, schema in _KEYED.items()},
        ),
        Specimen(
            [
                "INSERT INTO item (id, code) VALUES (100, 'a')",
                "INSERT INTO item (code) VALUES ('b') RETURNING id",
                "ROLLBACK",
            ],
            _KEYED,
        ),
    )
    near_misses = (
        Specimen(
            ["INSERT INTO item (id, code) SELECT max(id) + 1, 'c' FROM item", "COMMIT"],
            {name: schema + "INSERT INTO item VALUES (1, 'a');" for name, schema in _KEYED.items()},
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind != "error":
            # SQLite's key follows the highest one, PostgreSQL's is below a key that was given
            return any(
                sqlite > postgres and max(_stored_keys(evidence, table, "postgres") or [sqlite]) >= sqlite - 1
                for table, sqlite, postgres in _key_pairs(evidence)
            )
        failure = evidence.raised("postgres")
        if failure is None or violation(failure) != "unique":
            return False
        table, columns = violated_table(evidence, "postgres"), violated_columns(failure)
        if table is None:
            return False
        if not columns:
            # the detail can be missing: the constraint of a primary key is named after its table
            if failure.fields.get("constraint") != f"{table.name}_pkey" or len(table.primary_key) != 1:
                return False
            columns = table.primary_key
        column = table.column(columns[0]) if len(columns) == 1 else None
        if column is None or not column.generated_key:
            return False
        given = _given(evidence.sql("postgres"))
        if given is None:
            return has(evidence.sql("postgres"), r"\bDEFAULT\b")
        return column.name.lower() not in given


class GeneratedAlways(Rule):
    """An explicit key for a GENERATED ALWAYS column.

    What differs:
        PostgreSQL refuses the value (428C9); SQLite stores it.
    Why:
        GENERATED ALWAYS AS IDENTITY makes PostgreSQL the only one to give keys.
    Instead:
        GENERATED BY DEFAULT AS IDENTITY in the PostgreSQL schema, or no key in the statement:
        ``INSERT INTO item (code) VALUES ('a')``.
    References:
        https://www.sqlite.org/lang_createtable.html#rowid
        https://www.postgresql.org/docs/current/ddl-identity-columns.html
    """

    name = "generated-always"
    title = "explicit key for a GENERATED ALWAYS column of PostgreSQL"
    instead = "GENERATED BY DEFAULT AS IDENTITY, or no explicit key"
    kinds = ERROR
    _SCHEMA: ClassVar[dict[str, str]] = {
        **_KEYED,
        "postgres": "CREATE TABLE item (id INT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, code TEXT);",
    }
    specimens = (Specimen(["INSERT INTO item (id, code) VALUES (5, 'a')", "ROLLBACK"], _SCHEMA),)
    near_misses = (Specimen(["INSERT INTO item (code) VALUES ('a')", "COMMIT"], _SCHEMA),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        return failure is not None and failure.sqlstate == "428C9"
