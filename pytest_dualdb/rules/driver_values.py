"""Why the drivers take and give other Python values: parameters, rows and the types of results."""

from __future__ import annotations

import datetime
import decimal
import re
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.encoding import Opaque
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.ddl import ERROR, has
from pytest_dualdb.rules.driver import alone, run, served
from pytest_dualdb.rules.facts import OTHER, bare, explained, near, said

_ITEM = "CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO item VALUES (1, 'a');"


class RowAccess(Rule):
    """Rows read by index where they are mappings, or by name where they are tuples.

    What differs:
        ``row[0]`` is a KeyError with psycopg2's RealDictCursor; ``row["code"]`` is a TypeError with its
        default cursor, and so is ``dict(row)``. sqlite3.Row takes all of them, and no ``row.code``.
    Why:
        The kind of row is the row factory's, and each driver has its own.
    Instead:
        Rows that take both: ``sqlite3.Row`` and ``psycopg2.extras.DictCursor``; or build dicts from
        cursor.description after ``SELECT id, code FROM item``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3.Row
        https://www.psycopg.org/docs/extras.html#connection-and-cursor-subclasses
    """

    name = "row-access"
    title = "row read by index or name where its kind takes the other only"
    instead = "sqlite3.Row and psycopg2.extras.DictCursor, which take both"
    kinds = frozenset({"outcome"})
    priority = 20
    specimens = (
        Specimen([lambda db: _by_name(db)], _ITEM),
        Specimen([lambda db: dict(_row(db))], _ITEM),
        Specimen([lambda db: "{code}".format(**_row(db))], _ITEM),
        Specimen([lambda db: _by_attribute(db)], _ITEM),
    )
    near_misses = (Specimen([lambda db: run(db, "SELECT id, code FROM item").fetchone()[1]], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failed = alone(evidence)
        if failed is None:
            return False
        backend, name, message = failed
        named = [s.named for s in evidence.recordings[backend].statements if s.fetched != "none"]
        others = [s.named for s in evidence.recordings[OTHER[backend]].statements if s.fetched != "none"]
        if not named:
            return False
        if name == "KeyError":
            return "mapping" in named and re.fullmatch(r"'?-?\d+'?|slice\(.*\)", message) is not None
        if name in ("TypeError", "ValueError"):
            wanted = re.search(
                r"^(tuple|list) indices must be integers or slices, not str|argument after \*\* must be a mapping, not tuple"
                r"|dictionary update sequence element #0",
                message,
            )
            return "" in named and wanted is not None and any(others)
        if name == "AttributeError":
            by_name = re.match(r"'(?:[\w.]*Row|tuple)' object has no attribute '(\w+)'", message)
            columns = {name for s in evidence.recordings[backend].statements for name in s.columns or ()}
            if by_name is not None and by_name[1] in columns:
                return True
            missing = re.match(
                r"'(tuple|list)' object has no attribute '(keys|items|values|get|_asdict|_mapping)'", message
            )
            return "" in named and missing is not None and any(others)
        return name == "IndexError" and "No item with that key" in message


def _by_name(db: Any) -> None:
    assert _row(db)["code"]


def _row(db: Any) -> Any:
    """Return a row that sqlite3 gives as `sqlite3.Row`, and psycopg2 as a tuple."""
    import sqlite3

    connection = db.connection
    if db.backend == "sqlite":
        connection.row_factory = sqlite3.Row
    return run(db, "SELECT id, code FROM item").fetchone()


def _by_attribute(db: Any) -> None:
    if db.backend == "sqlite":
        assert _row(db).code
        return
    from psycopg2.extras import NamedTupleCursor

    with db.connection.cursor(cursor_factory=NamedTupleCursor) as cursor:
        cursor.execute("SELECT id, code FROM item")
        assert cursor.fetchone().code


class UnadaptedParameter(Rule):
    """A parameter of a type that only one driver can bind.

    What differs:
        psycopg2 fails with ``can't adapt type 'dict'`` (also UUID and classes of the application); sqlite3
        fails with ``type 'Decimal' is not supported`` (also list, UUID, tuple, timedelta). asyncpg takes for each
        column its own Python type only (``invalid input for query argument $1: '12'``).
    Why:
        Each driver has its own list of types that it converts, and its own way to extend it.
    Instead:
        Convert in the application: json.dumps() for a dict, str() for a UUID or Decimal, one placeholder for
        each element of a list: ``SELECT code FROM item WHERE id IN (?, ?)``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3-adapters
        https://www.psycopg.org/docs/usage.html#adaptation-of-python-values-to-sql-types
    """

    name = "unadapted-parameter"
    title = "parameter of a type that only one driver can bind"
    instead = "json.dumps(), str(), or sqlite3.register_adapter()"
    kinds = frozenset({"error", "outcome"})
    specimens = (Specimen([("SELECT CAST(? AS TEXT)", (decimal.Decimal("1.5"),))]),)
    near_misses = (Specimen([("SELECT code FROM item WHERE id IN (?, ?)", (1, 2))], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        words = r"type '.+' is not supported|Error binding parameter|unsupported type|can(no|')t adapt type"
        words += r"|invalid input for query argument \$\d+"
        return any(said(evidence.raised(backend), words) for backend in BACKENDS)


class TupleParameter(Rule):
    """A tuple or list as the whole of an IN list.

    What differs:
        psycopg2 writes a tuple as ``(1, 2)``, so that ``IN %s`` works; SQLite fails with ``near "?"``, psycopg 3
        with a syntax error at ``$1`` or a list compared to a number.
    Why:
        psycopg2 puts values into the text; SQLite and psycopg 3 bind one value to one placeholder.
    Instead:
        One placeholder for each value: ``SELECT code FROM item WHERE id IN (?, ?)``.
    References:
        https://www.psycopg.org/docs/usage.html#tuples-adaptation
        https://www.sqlite.org/lang_expr.html#the_in_and_not_in_operators
    """

    name = "tuple-parameter"
    title = "IN with one placeholder for a tuple works with psycopg2 only"
    instead = "IN (?, ?, ...) with a placeholder for each value"
    kinds = ERROR
    priority = 5
    specimens = (
        Specimen([("SELECT code FROM item WHERE id IN ?", ((1, 2),))], _ITEM),
        Specimen([lambda db: _in_tuple(db, "IN %s")], _ITEM),
        Specimen([lambda db: _in_tuple(db, "IN (%s)")], _ITEM),
    )
    near_misses = (Specimen([("SELECT code FROM item WHERE id IN (?, ?)", (1, 2))], _ITEM),)

    def matches(self, evidence: Evidence) -> bool:
        failure = evidence.raised("postgres")
        if failure is not None:
            return (
                evidence.raised("sqlite") is None
                and failure.sqlstate in ("42601", "42883")
                and said(failure, r'at or near "\$\d+"|\w\[\]') is not None
                and any(isinstance(value, tuple | list) for value in params_of(evidence.postgres))
                and has(evidence.sql("postgres"), r"\bIN\s*\(?\s*(%s|%\(\w+\)s|\$\d+)")
            )
        if evidence.raised("sqlite") is None:
            return False
        if not any(isinstance(value, tuple | list) for value in params_of(evidence.sqlite)):
            return False
        return has(evidence.sql("sqlite"), r"\bIN\s*(\?|:\w+)")


def _in_tuple(db: Any, condition: str) -> None:
    values = [1, 2] if "(" in condition else (1, 2)
    parameters = (1, 2) if db.backend == "sqlite" else (values,)
    served(
        db,
        f"SELECT code FROM item WHERE id {condition} ORDER BY id",
        parameters,
        "SELECT code FROM item WHERE id IN (?, ?) ORDER BY id",
    )


def _type_pairs(evidence: Evidence) -> list[tuple[str, str]]:
    """Return the names of the Python types that differ, SQLite's and PostgreSQL's."""
    difference = evidence.divergence.difference
    if difference is None:
        return re.findall(r": (\w+)(?: with zone)? / (\w+)", evidence.divergence.message)
    rows = zip(difference.only_sqlite, difference.only_postgres, strict=False)
    return [(_type(a), _type(b)) for one, other in rows for a, b in zip(one, other, strict=False)]


def _type(value: Any) -> str:
    return value.type if isinstance(value, Opaque) else type(value).__name__


class BytesType(Rule):
    """Bytes that the application reads.

    What differs:
        The Python type: bytes from sqlite3, memoryview from psycopg2. It has no decode(), and is not equal to
        the bytes in a set or as a key.
    Why:
        psycopg2 does not copy large values.
    Instead:
        ``bytes(row[0])`` after ``SELECT data FROM file``, on both.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3-types
        https://www.psycopg.org/docs/usage.html#binary-adaptation
    """

    name = "memoryview-for-bytes"
    title = "bytes are memoryview objects with psycopg2"
    instead = "bytes(value)"
    kinds = frozenset({"type"})
    _FILE: ClassVar[Mapping[str, str]] = {
        "sqlite": "CREATE TABLE file (data BLOB); INSERT INTO file VALUES (x'6162');",
        "postgres": "CREATE TABLE file (data BYTEA); INSERT INTO file VALUES ('\\x6162');",
    }
    specimens = (Specimen(["SELECT data FROM file"], _FILE),)
    near_misses = (Specimen([("SELECT count(*) FROM file WHERE data = ?", (b"ab",))], _FILE),)

    def matches(self, evidence: Evidence) -> bool:
        return any(pair in (("bytes", "memoryview"), ("str", "memoryview")) for pair in _type_pairs(evidence))


class UuidType(Rule):
    """UUIDs that the application reads, or gives to a column of SQLAlchemy's as text.

    What differs:
        The Python type: text (or bytes) from sqlite3, uuid.UUID from psycopg2 with register_uuid() and from
        psycopg 3. Given as text, SQLAlchemy's Uuid passes it on to PostgreSQL, and fails for SQLite:
        ``'str' object has no attribute 'hex'``.
    Why:
        SQLite has no type for them, and sqlite3 no converter: SQLAlchemy converts each value itself.
    Instead:
        ``str(value)`` or ``uuid.UUID(str(value))`` after ``SELECT key FROM item``, on both;
        ``uuid.UUID(text)`` before it is given to a column of that type.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3-types
        https://www.psycopg.org/docs/extras.html#uuid-data-type
    """

    name = "uuid-type"
    title = "UUIDs are text with sqlite3, uuid.UUID with psycopg"
    instead = "uuid.UUID(str(value))"
    kinds = frozenset({"type", "outcome"})
    specimens = (
        Specimen([lambda db: _read_uuid(db)], "CREATE TABLE token (key UUID)"),
        Specimen([lambda db: _uuid_as_text(db)], "CREATE TABLE token (key UUID)"),
    )
    near_misses = (
        Specimen(["SELECT key FROM token"], "CREATE TABLE token (key TEXT); INSERT INTO token VALUES ('a');"),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "outcome":
            failure = evidence.failure("sqlite")
            return failure is not None and "'str' object has no attribute 'hex'" in failure.message
        return any(b == "UUID" and a in ("str", "bytes") for a, b in _type_pairs(evidence))


def _uuid_as_text(db: Any) -> None:
    import sqlalchemy

    token = sqlalchemy.table("token", sqlalchemy.column("key", sqlalchemy.Uuid()))
    with db.engine().connect() as connection:
        connection.execute(sqlalchemy.select(token.c.key).where(token.c.key == str(uuid.UUID(int=7)))).all()


def _read_uuid(db: Any) -> None:
    connection = db.connection
    if db.backend == "postgres":
        from psycopg2.extras import register_uuid

        register_uuid(conn_or_curs=connection)  # type: ignore[no-untyped-call]
    cursor = connection.cursor()
    cursor.execute(f"INSERT INTO token VALUES ({db.placeholder}) RETURNING key", (str(uuid.UUID(int=7)),))
    cursor.fetchall()


class ArrayType(Rule):
    """Arrays that the application reads.

    What differs:
        The Python type: a list from psycopg2; from SQLite the text that was stored (``{1,2}``, ``[1, 2]``).
    Why:
        SQLite has no arrays; it accepts ``INTEGER[]`` as the name of a type and stores text.
    Instead:
        A table of its own for the elements: ``SELECT tag FROM item_tag WHERE item_id = 1 ORDER BY tag``.
    References:
        https://www.sqlite.org/datatype3.html
        https://www.postgresql.org/docs/current/arrays.html
    """

    name = "array-column"
    title = "array column is a list on PostgreSQL, text on SQLite"
    instead = "a table of its own for the elements"
    kinds = frozenset({"type", "rows", "state"})
    priority = 5
    specimens = (
        Specimen(
            ["SELECT tags FROM item"],
            "CREATE TABLE item (tags INTEGER[]); INSERT INTO item VALUES ('{1,2}');",
        ),
    )
    near_misses = (
        Specimen(
            ["SELECT tags FROM item"], "CREATE TABLE item (tags TEXT); INSERT INTO item VALUES ('{1,2}');"
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        difference = evidence.divergence.difference
        if difference is None:
            return False
        for one, other in zip(difference.only_sqlite, difference.only_postgres, strict=False):
            for name, a, b in zip(difference.columns, one, other, strict=False):
                if difference.differing and name not in difference.differing:
                    continue
                if isinstance(b, list) and isinstance(a, str):
                    column = evidence.column(name, "postgres")
                    if a.startswith("{") or (column is not None and column.type.endswith("[]")):
                        return True
        return False


class PostgresOnlyType(Rule):
    """Values of types that SQLite does not have, such as ranges, arrays and search vectors.

    What differs:
        The value: an object of the driver on PostgreSQL, which also brings it to its canonical form; on SQLite
        the text that was stored. The type's operators (``@>``, ``<<``, ``&&``) and functions (``upper``) fail on
        SQLite, or do something else with the text. SQLAlchemy refuses some types for SQLite (CompileError).
    Why:
        SQLite accepts any name as the type of a column, INT4RANGE too, and stores what it is given.
    Instead:
        Columns of the simple types that make up the value:
        ``SELECT first_night, last_night FROM booking WHERE id = 1``.
    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/rangetypes.html
        https://docs.sqlalchemy.org/en/20/core/type_basics.html
    """

    name = "postgres-only-type"
    title = "a type that SQLite does not have: text there, or refused"
    instead = "columns of simple types that make up the value"
    kinds = frozenset({"type", "rows", "state", "error", "outcome"})
    priority = 5
    _BOOKING = """
        CREATE TABLE booking (id INTEGER PRIMARY KEY, nights INT4RANGE);
        INSERT INTO booking VALUES (1, '[1,3]'), (2, '[2,8]');
    """
    specimens = (
        Specimen(["SELECT id, nights FROM booking WHERE id = 1"], _BOOKING),
        # without an order, but the same row
        Specimen(["SELECT id, nights FROM booking LIMIT 1"], _BOOKING),
        Specimen(["SELECT id FROM booking WHERE nights @> 5"], _BOOKING),
        Specimen(["SELECT count(*) FROM booking WHERE booking.nights << '[5,8]'"], _BOOKING),
        Specimen(["SELECT upper(nights) - lower(nights) AS n FROM booking ORDER BY id"], _BOOKING),
        Specimen([lambda db: _create_array(db)]),
    )
    near_misses = (
        Specimen(
            ["SELECT id, nights FROM booking WHERE id = 1"],
            "CREATE TABLE booking (id INTEGER PRIMARY KEY, nights TEXT); INSERT INTO booking VALUES (1, '[1,3]');",
        ),
        Specimen(
            ["SELECT 1 << id AS bit FROM booking WHERE id = 32"],
            "CREATE TABLE booking (id INTEGER PRIMARY KEY, nights INT4RANGE); INSERT INTO booking VALUES (32, NULL);",
            also=("bit-width",),
        ),
    )
    _REFUSED = r"can't render element of type (\w+)"
    _OWN = re.compile(
        r"^(?:\w+RANGE|TSVECTOR|TSQUERY|L(?:TREE|QUERY|TXTQUERY)|HSTORE|INET|CIDR|MACADDR8?|XML|BIT|VECTOR"
        r"|POINT|LINE|LSEG|BOX|PATH|POLYGON|CIRCLE|GEOMETRY|GEOGRAPHY)\b",
        re.I,
    )
    """Types with operators of their own. Arrays and JSON have rules of their own, too."""

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "outcome":
            failed = alone(evidence)
            if failed is None or failed[0] != "sqlite":
                return False
            return failed[1].endswith(("CompileError", "CompilationError")) and (
                re.search(self._REFUSED, failed[2]) is not None
            )
        if evidence.kind == "error":
            return near(evidence.raised("sqlite")) is not None and self._operates(evidence)
        if explained(
            evidence, lambda pair: isinstance(pair.sqlite, str) and not isinstance(pair.postgres, _SIMPLE)
        ):
            return True
        return evidence.kind == "rows" and self._operates(evidence)

    def advice(self, evidence: Evidence) -> str:
        if evidence.kind != "outcome":
            return self.instead
        failure = evidence.failure("sqlite")
        refused = re.search(self._REFUSED, "" if failure is None else failure.message)
        if refused is None:
            return self.instead
        plain = "JSON" if refused[1] in ("ARRAY", "HSTORE", "JSONB") else "Text"
        return f"{plain}().with_variant({refused[1]}(...), 'postgresql')"

    def _operates(self, evidence: Evidence) -> bool:
        """Return whether the statement applies an operator or a function to a column of such a type."""
        text = bare(evidence.sql("postgres"))
        catalog = evidence.catalogs.get("postgres")
        tables = [] if catalog is None else [catalog.table(name) for name in syntax.tables(text)]
        for column in (column for table in tables if table is not None for column in table.columns):
            if not self._OWN.match(column.type):
                continue
            name = rf'(?:[\w"]+\.)?"?{re.escape(column.name)}"?'
            symbol = r"[-+*/<>=~!@#%^&|?]+"
            if re.search(rf"\w\s*\(\s*{name}\s*[,)]|{name}\s*{symbol}|{symbol}\s*{name}(?!\w)", text, re.I):
                return True
        return False


def _create_array(db: Any) -> None:
    import sqlalchemy
    from sqlalchemy.dialects.postgresql import ARRAY

    metadata = sqlalchemy.MetaData()
    sqlalchemy.Table("post", metadata, sqlalchemy.Column("tags", ARRAY(sqlalchemy.Text))).create(db.engine())


class SqlText(Rule):
    """A test that compares the text of a statement.

    What differs:
        The text: each driver has its placeholders (``?``, ``%s``, ``$1``), each dialect its quotes, reserved words,
        types and LIMIT. What a library writes for one database is not what it writes for the other.
    Why:
        The test expects what the library writes for the database that it was written on.
    Instead:
        Compare what the statement gives: ``SELECT code FROM item WHERE id = 1``; or the text for one dialect,
        ``str(statement.compile(dialect=sqlite.dialect()))``.
    References:
        https://docs.python.org/3/library/sqlite3.html#sqlite3-placeholders
        https://www.psycopg.org/docs/usage.html#passing-parameters-to-sql-queries
        https://docs.sqlalchemy.org/en/20/faq/sqlexpressions.html
    """

    name = "sql-text"
    title = "the test expects the SQL text of one dialect"
    instead = "compare what the statement gives, or compile it for one dialect"
    kinds = frozenset({"outcome"})
    specimens = (
        Specimen([lambda db: _expect_text(db, f"SELECT code FROM item WHERE id = {db.placeholder}")], _ITEM),
    )
    near_misses = (Specimen([lambda db: _expect_text(db, "SELECT code FROM item WHERE id = ?")], _ITEM),)
    _SQL = re.compile(
        r"\bSELECT\b.+?\bFROM\b|\bINSERT\s+INTO\s+\S+|\bUPDATE\s+\S+\s+SET\b|\bDELETE\s+FROM\s+\S+"
        r"|\b(?:CREATE|ALTER|DROP)\s+(?:UNIQUE\s+)?(?:TABLE|INDEX|VIEW|TYPE)\b|\bORDER BY \S+|\bWHERE \S+"
        r"|[\w)] (?:MATCH|LIKE|ILIKE|IN|=|<|>) \(?(?:\?|%s|%\(\w+\)s|\$\d)",
        re.S,
    )

    def matches(self, evidence: Evidence) -> bool:
        failed = alone(evidence)
        if failed is None or failed[1] != "AssertionError":
            return False
        failure = evidence.failure(failed[0])
        return (
            failure is not None
            and failure.database is None
            and self._SQL.search(failed[2].replace("\\n", " ")) is not None
        )


def _expect_text(db: Any, text: str) -> None:
    run(db, "SELECT code FROM item")
    if text != "SELECT code FROM item WHERE id = ?":
        raise AssertionError(f"assert {text!r} == 'SELECT code FROM item WHERE id = ?'")


_SIMPLE = (
    type(None), str, bytes, memoryview, int, float, decimal.Decimal, datetime.date, datetime.time, datetime.timedelta,
    uuid.UUID, list, tuple, dict,
)  # fmt: skip
