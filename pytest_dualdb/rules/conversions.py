"""Rules about values on their way: casts to a size, numbers out of a function's domain, NaN, bytes, enums."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    Pair,
    explained,
    family,
    is_number,
    numbers_apart,
    pairs,
    sole_error,
    suspects,
    texts,
    values_at,
)

VALUE_KINDS = frozenset({"rows", "state", "order", "rowcount"})


class CastSize(Rule):
    """CAST to a type with a size: VARCHAR(3), CHAR, NUMERIC(10, 2).

    What differs:
        PostgreSQL cuts text to the size (CAST AS CHAR means one character) and rounds numbers to the scale.
        SQLite leaves both as they are.

    Why:
        SQLite reads only the affinity of a type's name and ignores the size.

    Instead:
        Say it with functions, which both have:

            SELECT substr(name, 1, 3), round(CAST(price AS NUMERIC), 2) FROM item

    References:
        https://www.sqlite.org/lang_expr.html#castexpr
        https://www.postgresql.org/docs/current/datatype-character.html
    """

    name = "cast-size"
    title = "CAST to a size cuts or rounds on PostgreSQL only"
    instead = "substr(x, 1, n), round(CAST(x AS NUMERIC), n), CAST(x AS TEXT) for CHAR"
    kinds = VALUE_KINDS
    priority = 4
    _ITEM = (
        "CREATE TABLE item (id INTEGER PRIMARY KEY, name TEXT, price DOUBLE PRECISION);"
        " INSERT INTO item VALUES (12, 'abcdef', 2.345);"
    )
    specimens = (
        Specimen(["SELECT CAST(name AS VARCHAR(3)) AS short FROM item"], _ITEM),
        Specimen(["SELECT CAST(id AS CHAR) AS text FROM item"], _ITEM),
        Specimen(["SELECT CAST(price AS DECIMAL(10, 2)) AS price FROM item"], _ITEM),
        Specimen(["SELECT id FROM item WHERE CAST(name AS VARCHAR(3)) = 'abc'"], _ITEM),
    )
    near_misses = (
        Specimen(["SELECT CAST(name AS VARCHAR(30)), CAST(id AS TEXT) FROM item"], _ITEM),
        Specimen(["SELECT round(CAST(price AS NUMERIC), 2) FROM item"], _ITEM),
    )

    _SIZED = re.compile(
        r"(?:\bAS\s+|::\s*)(?:(?:VAR)?CHAR(?:ACTER)?(?:\s+VARYING)?\s*\(|CHAR(?:ACTER)?\b(?!\s+VARYING)|"
        r"(?:NUMERIC|DECIMAL)\s*\()",
        re.I,
    )

    def matches(self, evidence: Evidence) -> bool:
        if not any(self._SIZED.search(text) for text in texts(evidence)):
            return False
        if not pairs(evidence):
            return evidence.kind in ("rows", "rowcount")
        return explained(evidence, self._cut)

    def _cut(self, pair: Pair) -> bool:
        left, right = pair.sqlite, pair.postgres
        if is_number(left) and is_number(right):
            places = len(str(right).partition(".")[2])
            return abs(float(left) - float(right)) <= 0.5 * 10.0**-places * (1 + 1e-9)
        if not isinstance(right, str) or left is None:
            return False
        return str(left) != right and (str(left).startswith(right) or right.rstrip(" ") == str(left))


class MathDomain(Rule):
    """sqrt() of a negative number, ln() of zero, and others that have no result.

    What differs:
        SQLite gives NULL; PostgreSQL fails (2201F, cannot take square root of a negative number; 2201E,
        cannot take logarithm of zero).

    Why:
        SQLite chose NULL for all arithmetic without a result; the standard asks for an error.

    Instead:
        Ask first, on both:

            SELECT CASE WHEN x >= 0 THEN sqrt(x) END FROM reading

    References:
        https://www.sqlite.org/lang_mathfunc.html
        https://www.postgresql.org/docs/current/functions-math.html#FUNCTIONS-MATH-FUNC-TABLE
    """

    name = "math-domain"
    title = "sqrt(-1) and ln(0) are NULL on SQLite, errors on PostgreSQL"
    instead = "CASE WHEN x >= 0 THEN sqrt(x) END"
    kinds = frozenset({"error", "outcome"})
    _READING = "CREATE TABLE reading (id INTEGER PRIMARY KEY, x DOUBLE PRECISION); INSERT INTO reading VALUES (1, -4);"
    specimens = (
        Specimen(["SELECT sqrt(x) FROM reading"], _READING),
        Specimen(["SELECT ln(x) FROM reading"], _READING),
    )
    near_misses = (Specimen(["SELECT CASE WHEN x >= 0 THEN sqrt(x) END FROM reading"], _READING),)

    def matches(self, evidence: Evidence) -> bool:
        return sole_error(evidence, "postgres", "2201E", "2201F", "2201G") is not None


class BitWidth(Rule):
    """<<, >> or ~ on whole numbers of another width.

    What differs:
        1 << 32 is 4294967296 on SQLite, and 1 on PostgreSQL; 1 << 31 is positive there and negative here.

    Why:
        SQLite computes with 64 bits. PostgreSQL computes in the type of the left operand, and takes the
        distance modulo its 32 or 64 bits.

    Instead:
        64 bits on both:

            SELECT CAST(1 AS BIGINT) << n FROM flag

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-math.html#FUNCTIONS-MATH-OP-TABLE
    """

    name = "bit-width"
    title = "<< computes with 64 bits on SQLite, with 32 of an integer on PostgreSQL"
    instead = "CAST(x AS BIGINT) << n"
    kinds = VALUE_KINDS
    priority = 2
    _FLAG = "CREATE TABLE flag (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO flag VALUES (1, 32), (2, 3);"
    specimens = (Specimen(["SELECT 1 << n AS bit FROM flag ORDER BY id"], _FLAG),)
    near_misses = (Specimen(["SELECT CAST(1 AS BIGINT) << n AS bit FROM flag ORDER BY id"], _FLAG),)

    def matches(self, evidence: Evidence) -> bool:
        if not any(re.search(r"<<|(?<![-#])>>", text) for text in texts(evidence)):
            return False
        return numbers_apart(evidence, lambda _, a, b: a == int(a) and b == int(b)) or not pairs(evidence)


class NanAsNull(Rule):
    """NaN stored in a column of numbers.

    What differs:
        SQLite stores NULL; PostgreSQL stores NaN, which is no NULL, equals itself and is larger than every
        other number.

    Why:
        SQLite has no NaN among its values and turns it into NULL.

    Instead:
        None in the application where a number is missing:

            INSERT INTO reading (id, x) VALUES (1, NULL)

    References:
        https://www.sqlite.org/c3ref/bind_blob.html
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-FLOAT
    """

    name = "nan-as-null"
    title = "NaN is stored as NULL on SQLite"
    instead = "None for a missing number; math.isnan(x) before the statement"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 6
    _READING = "CREATE TABLE reading (id INTEGER PRIMARY KEY, x DOUBLE PRECISION);"
    specimens = (
        Specimen([("INSERT INTO reading VALUES (1, ?)", (math.nan,)), "COMMIT"], _READING),
        Specimen(
            [
                ("INSERT INTO reading VALUES (1, ?)", (math.nan,)),
                "SELECT count(*) AS n FROM reading WHERE x IS NULL",
                "COMMIT",
            ],
            _READING,
        ),
    )
    near_misses = (
        Specimen(
            [("INSERT INTO reading VALUES (1, ?)", (math.inf,)), "SELECT x FROM reading", "COMMIT"], _READING
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        found = pairs(evidence)
        if any(pair.sqlite is None and _is_nan(pair.postgres) for pair in found):
            return explained(evidence, lambda pair: pair.sqlite is None and _is_nan(pair.postgres))
        if evidence.kind in ("error", "outcome") and sole_error(evidence, "sqlite") is None:
            return False
        concerned = syntax.tables(evidence.text)
        for backend in BACKENDS:
            for statement in (*evidence.before(backend), *suspects(evidence, backend)):
                if syntax.tables(statement.sql) & concerned and any(map(_is_nan, params_of(statement))):
                    return True
        return False


def _is_nan(value: Any) -> bool:
    return is_number(value) and value != value


class BytesForText(Rule):
    """Bytes in a column of text, or text in a column of bytes.

    What differs:
        SQLite keeps what it is given, bytes as bytes and text as text. PostgreSQL converts to the column's
        type: bytes in a TEXT column become their hexadecimal form ("\\x6162"), text in BYTEA becomes bytes.

    Why:
        A declared type is only a preference on SQLite, and never changes bytes.

    Instead:
        encode() or decode() in the application, so that the value has the column's type:

            INSERT INTO upload (id, name) VALUES (?, ?)

    References:
        https://www.sqlite.org/datatype3.html#type_affinity
        https://www.postgresql.org/docs/current/datatype-binary.html
    """

    name = "bytes-for-text"
    title = "bytes for a text column, or text for bytes, are converted on PostgreSQL only"
    instead = "value.decode() for TEXT, value.encode() for BLOB and BYTEA"
    kinds = VALUE_KINDS
    priority = 4
    _UPLOAD: Mapping[str, str] = {
        "sqlite": "CREATE TABLE upload (id INTEGER PRIMARY KEY, name TEXT, body BLOB);",
        "postgres": "CREATE TABLE upload (id INTEGER PRIMARY KEY, name TEXT, body BYTEA);",
    }
    specimens = (
        Specimen([("INSERT INTO upload (id, name) VALUES (1, ?)", (b"ab",)), "COMMIT"], _UPLOAD),
        Specimen(
            [
                ("INSERT INTO upload (id, body) VALUES (1, ?)", ("ab",)),
                "SELECT body FROM upload",
                "COMMIT",
            ],
            _UPLOAD,
        ),
    )
    near_misses = (
        Specimen(
            [
                ("INSERT INTO upload (id, name, body) VALUES (1, ?, ?)", ("ab", b"ab")),
                "SELECT name, body FROM upload",
                "COMMIT",
            ],
            _UPLOAD,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return explained(evidence, lambda pair: _converted(pair.sqlite, pair.postgres))


def _converted(left: Any, right: Any) -> bool:
    """Return whether PostgreSQL's value is SQLite's bytes as text, or its text as bytes."""
    if isinstance(left, bytes | memoryview) and isinstance(right, str):
        return right in ("\\x" + bytes(left).hex(), bytes(left).decode(errors="replace"))
    return isinstance(left, str) and isinstance(right, bytes | memoryview) and left.encode() == bytes(right)


_KNOWN_TYPES = re.compile(
    r"\[\]|^(BIT|INET|CIDR|MACADDR|MONEY|TS|XML|POINT|LINE|LSEG|BOX|PATH|POLYGON|CIRCLE|OID|REG|PG_|HSTORE|"
    r"INTERVAL|\w*RANGE|CITEXT|VECTOR|GEOMETRY|USER-DEFINED)",
    re.I,
)


class EnumOrder(Rule):
    """An enumerated type sorted or compared by size.

    What differs:
        PostgreSQL sorts the values of an ENUM as its definition lists them, SQLite sorts the same words by
        letter. ORDER BY, <, >, BETWEEN, min() and max() part.

    Why:
        SQLite has no enumerated types, so the column holds text there.

    Instead:
        A number for the rank, or CASE:

            SELECT id FROM task ORDER BY CASE state WHEN 'low' THEN 1 WHEN 'high' THEN 2 END, id

    References:
        https://www.sqlite.org/datatype3.html
        https://www.postgresql.org/docs/current/datatype-enum.html#DATATYPE-ENUM-ORDERING
    """

    name = "enum-order"
    title = "an ENUM sorts by its definition on PostgreSQL, by letter on SQLite"
    instead = "ORDER BY CASE state WHEN 'low' THEN 1 ... END, or a column with the rank"
    kinds = VALUE_KINDS | {"observed"}
    priority = 6
    _TASK: Mapping[str, str] = {
        "sqlite": "CREATE TABLE task (id INTEGER PRIMARY KEY, state TEXT);"
        " INSERT INTO task VALUES (1, 'low'), (2, 'high');",
        "postgres": "CREATE TYPE state AS ENUM ('low', 'high');"
        " CREATE TABLE task (id INTEGER PRIMARY KEY, state state);"
        " INSERT INTO task VALUES (1, 'low'), (2, 'high');",
    }
    specimens = (
        Specimen(["SELECT id FROM task ORDER BY state"], _TASK),
        Specimen(["SELECT id FROM task WHERE state > 'low'"], _TASK),
        Specimen(["SELECT max(state) AS top FROM task"], _TASK),
        Specimen(
            ["SELECT id, state AS s FROM task ORDER BY s", "SELECT state, id FROM task ORDER BY 1"], _TASK
        ),
        Specimen(
            [
                "UPDATE task SET id = 9 WHERE id IN (SELECT id FROM task ORDER BY (task.state) LIMIT 1)",
                "COMMIT",
            ],
            _TASK,
        ),
    )
    near_misses = (
        Specimen(["SELECT id FROM task WHERE state = 'low'", "SELECT state FROM task ORDER BY id"], _TASK),
        Specimen(["SELECT id FROM task ORDER BY CASE state WHEN 'low' THEN 1 ELSE 2 END, id"], _TASK),
        Specimen(
            [
                {
                    "sqlite": "UPDATE task SET id = 8 WHERE id IN (SELECT id FROM task ORDER BY id LIMIT 1)"
                    " RETURNING state",
                    "postgres": "UPDATE task SET id = 9 WHERE id IN (SELECT id FROM task ORDER BY id LIMIT 1)"
                    " RETURNING state",
                },
                "COMMIT",
            ],
            _TASK,
            ("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        names = {name for name in self._enumerated(evidence) if not self._all_equal(evidence, name)}
        by_size = (
            exp.Ordered, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.Max, exp.Min, exp.Greatest, exp.Least,
        )  # fmt: skip
        return bool(names) and any(
            self._column(node, operand).lower() in names
            for node in evidence.find(*by_size)
            for operand in (node.this, *node.expressions, *map(node.args.get, ("expression", "low", "high")))
        )

    def _enumerated(self, evidence: Evidence) -> frozenset[str]:
        """Return the lower-case names of the columns of an ENUM in the statement's tables."""
        catalog = evidence.catalogs.get("postgres")
        tables = [] if catalog is None else map(catalog.table, syntax.tables(evidence.text))
        return frozenset(
            column.name.lower()
            for table in tables
            if table is not None
            for column in table.columns
            if family(column.type) == "other" and not _KNOWN_TYPES.search(column.type)
        )

    def _column(self, node: Any, operand: Any) -> str:
        """Return the name of the column that an operand is by itself, also where a query gives it a name or a place."""
        from sqlglot import expressions as exp

        query = node.find_ancestor(exp.Select)
        if isinstance(node, exp.Ordered) and query is not None:
            places = {str(place): selected for place, selected in enumerate(query.selects, 1)}
            named = {selected.alias: selected for selected in query.selects if selected.alias}
            operand = (places if isinstance(operand, exp.Literal) else named).get(operand.name, operand)
        operand = operand.unalias().unnest() if isinstance(operand, exp.Expression) else operand
        return operand.name if isinstance(operand, exp.Column) else ""

    def _all_equal(self, evidence: Evidence, name: str) -> bool:
        """Return whether the result shows the column with one value only, so that nothing was sorted by it."""
        shown = set()
        for statement in (evidence.sqlite, evidence.postgres):
            columns = [] if statement is None else [column.lower() for column in statement.columns or ()]
            if statement is None or name.lower() not in columns:
                return False
            shown |= {repr(value) for value in values_at(statement.values, columns.index(name.lower()))}
        return len(shown) == 1
