"""Rules about stored numbers: width, scale, and the Python type that arrives."""

from __future__ import annotations

import decimal
import itertools
import math
import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    bare,
    calls,
    declared,
    differ_in_numbers,
    family,
    is_number,
    numbers_apart,
    pairs,
    renderings,
    said,
    sole_error,
    stored_rows,
    texts,
)

VALUE_KINDS = frozenset({"rows", "state", "order"})


class IntegerWidth(Rule):
    """A whole number that does not fit the column's or the expression's integer type.

    What differs:
        SQLite stores up to 8 bytes in every integer column; PostgreSQL's INTEGER ends at 2147483647 and
        SMALLINT at 32767, and it fails (22003, integer out of range). Milliseconds since 1970 and large
        identifiers are the usual victims, and products of two INTEGER columns.

    Why:
        A declared type is an affinity on SQLite. On PostgreSQL it is a width, and arithmetic on two 4-byte
        integers is done in 4 bytes.

    Instead:
        Declare BIGINT where numbers can grow, and widen before multiplying:

            CREATE TABLE events (id BIGINT, at_ms BIGINT)
            SELECT CAST(price AS BIGINT) * amount FROM orders

    References:
        https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-INT
    """

    name = "integer-width"
    title = "INTEGER has 4 bytes on PostgreSQL, 8 on SQLite"
    instead = "BIGINT for the column; CAST(a AS BIGINT) * b"
    kinds = frozenset({"error", "outcome", "rows", "state"})
    priority = 1
    _EVENTS = (
        "CREATE TABLE events (id INTEGER PRIMARY KEY, at_ms INTEGER); INSERT INTO events"
        " VALUES (1, 2000000000);"
    )
    specimens = (
        Specimen([("INSERT INTO events VALUES (?, ?)", (2, 1700000000000))], _EVENTS),
        Specimen(["SELECT at_ms * 2 FROM events"], _EVENTS),
        Specimen(["SELECT CAST('3000000000' AS INTEGER)"]),
    )
    near_misses = (
        Specimen([("INSERT INTO events VALUES (?, ?)", (2, 1700000000)), "COMMIT"], _EVENTS),
        Specimen(["SELECT CAST(at_ms AS BIGINT) * 2 FROM events"], _EVENTS),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22003")
        if said(
            failure,
            r"(smallint|integer|bigint|int\d) out of range|out of range for type (smallint|integer|"
            r"bigint|int)",
        ):
            return True
        overflow = said(
            sole_error(evidence, "sqlite"), "too large to convert to SQLite INTEGER|integer overflow"
        )
        return overflow is not None


class NumericScale(Rule):
    """A number with more digits than NUMERIC(precision, scale), or INTEGER, holds.

    What differs:
        PostgreSQL rounds to the declared scale when it stores (0.00004 becomes 0.00 in NUMERIC(10, 2)) and
        into an INTEGER column it rounds to a whole number; it refuses what exceeds the precision (22003,
        numeric field overflow). SQLite stores the number as it is given.

    Why:
        SQLite reads NUMERIC(10, 2) as the affinity NUMERIC and ignores the two numbers.

    Instead:
        Round before storing, with the same rule for both databases (decimal.Decimal.quantize), or store the
        smallest unit as an integer:

            CREATE TABLE prices (id INTEGER PRIMARY KEY, cents BIGINT)

    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-NUMERIC-DECIMAL
    """

    name = "numeric-scale"
    title = "NUMERIC(p, s) rounds and limits on PostgreSQL only"
    instead = "round in the application, or store whole units as BIGINT"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 3
    _PRICES = "CREATE TABLE prices (id INTEGER PRIMARY KEY, price NUMERIC(6, 2));"
    specimens = (
        Specimen(
            [("INSERT INTO prices VALUES (?, ?)", (1, 0.00004)), "SELECT price FROM prices", "COMMIT"],
            _PRICES,
        ),
        Specimen([("INSERT INTO prices VALUES (?, ?)", (1, 12345.5))], _PRICES),
        Specimen(
            [("UPDATE visits SET n = ?", (3.7,)), "COMMIT"],
            "CREATE TABLE visits (n INTEGER); INSERT INTO visits VALUES (1);",
        ),
        Specimen(
            [("INSERT INTO prices VALUES (?, ?)", (1, 2.005)), "SELECT sum(price) FROM prices"], _PRICES
        ),
    )
    near_misses = (Specimen([("INSERT INTO prices VALUES (?, ?)", (1, 2.5)), "COMMIT"], _PRICES),)

    def matches(self, evidence: Evidence) -> bool:
        if said(sole_error(evidence, "postgres", "22003"), "numeric field overflow"):
            return True
        summed = 1000 if any(calls(text, "sum", "total", "avg") for text in texts(evidence)) else 1
        if summed > 1 and not self._holds_finer(evidence):
            return False
        return numbers_apart(
            evidence, lambda column, a, b: abs(a - b) < summed * self._half_unit(evidence, column)
        )

    def _holds_finer(self, evidence: Evidence) -> bool:
        """Return whether a column may hold a number with more digits than its type on PostgreSQL has."""
        tables = sorted(syntax.tables(evidence.text))
        known = False
        for row in stored_rows(evidence, evidence.text):
            for name, value in row.items():
                column = evidence.column(name, "postgres", tables)
                scale = None if column is None else self._scale(column.type)
                if scale is not None and is_number(value):
                    known = True
                    if isinstance(value, float) and abs(value - round(value, scale)) > 1e-9:
                        return True
        return not known

    def _half_unit(self, evidence: Evidence, column: str) -> float:
        """Return by how much rounding to the column's declared scale can change a number."""
        found = declared(evidence, column, "postgres")
        scales = [self._scale(one.type) for one in found]
        if any(one.name.lower() == column.lower() and family(one.type) == "integer" for one in found):
            scales.append(0)
        return max((0.51 * 10.0**-scale for scale in scales if scale is not None), default=0.0)

    def _scale(self, type_name: str) -> int | None:
        found = re.match(r"(?:NUMERIC|DECIMAL)\s*\(\s*\d+\s*(?:,\s*(-?\d+)\s*)?\)", type_name, re.I)
        return int(found[1] or 0) if found else None


class RealWidth(Rule):
    """A number in a REAL or FLOAT(24) column.

    What differs:
        REAL has 8 bytes on SQLite and 4 on PostgreSQL, which keeps some six digits: 123456.789 is read back
        as 123456.79, and `= 0.1` finds nothing there.

    Why:
        PostgreSQL's real is IEEE single precision. SQLite has one kind of floating-point number.

    Instead:
        DOUBLE PRECISION, which is 8 bytes on both:

            CREATE TABLE readings (id INTEGER PRIMARY KEY, value DOUBLE PRECISION)

    References:
        https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-FLOAT
    """

    name = "real-width"
    title = "REAL has 4 bytes on PostgreSQL, 8 on SQLite"
    instead = "DOUBLE PRECISION"
    kinds = VALUE_KINDS | {"rowcount"}
    priority = 3
    _READINGS = (
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, value REAL); INSERT INTO readings"
        " VALUES (1, 123456.789);"
    )
    specimens = (
        Specimen(["SELECT value FROM readings"], _READINGS),
        Specimen([("INSERT INTO readings VALUES (?, ?)", (2, 1.23456789)), "COMMIT"], _READINGS),
        Specimen([("SELECT id FROM readings WHERE value = ?", (123456.789,))], _READINGS),
    )
    near_misses = (
        Specimen(["SELECT value FROM readings"], _READINGS.replace("REAL", "DOUBLE PRECISION")),
        Specimen(
            [("INSERT INTO readings VALUES (?, ?)", (2, 0.5)), "SELECT value FROM readings WHERE id = 2"],
            "CREATE TABLE readings (id INTEGER PRIMARY KEY, value REAL);",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if differ_in_numbers(evidence):
            return numbers_apart(
                evidence, lambda c, a, b: self._single(evidence, c) and math.isclose(a, b, rel_tol=1e-5)
            )
        if evidence.kind == "state" or pairs(evidence):
            return False
        compared = re.findall(
            r"\"?(\w+)\"?\s*(?:=|<>|!=|<=|>=|<|>|IN\b|BETWEEN\b)", bare(evidence.text), re.I
        )
        return any(self._single(evidence, name) for name in compared)

    def _single(self, evidence: Evidence, column: str) -> bool:
        found = declared(evidence, column, "postgres")
        return any(re.match(r"(REAL|FLOAT4|FLOAT\((\d|1\d|2[0-4])\))$", one.type.upper()) for one in found)


class DecimalType(Rule):
    """A number that the application reads as float or int from SQLite and as Decimal from PostgreSQL.

    What differs:
        The Python type: NUMERIC columns, sums of BIGINT, every average and EXTRACT are Decimal on PostgreSQL;
        SQLite gives int or float. Decimal and float do not mix in arithmetic (TypeError), and JSON encoders
        refuse Decimal.

    Why:
        SQLite has no decimal type. PostgreSQL sums 8-byte integers and averages integers as numeric.

    Instead:
        Convert in SQL where a float will do:

            SELECT CAST(avg(visits) AS DOUBLE PRECISION) FROM accounts

        or in one place where rows become objects: Decimal(str(value)).

    References:
        https://www.sqlite.org/lang_aggfunc.html
        https://www.postgresql.org/docs/current/functions-aggregate.html
    """

    name = "decimal-type"
    title = "numbers are Decimal on PostgreSQL, float or int on SQLite"
    instead = "CAST(x AS DOUBLE PRECISION), or Decimal(str(value)) in one place"
    kinds = frozenset({"type", "observed", "outcome"})
    _ACCOUNTS = (
        "CREATE TABLE accounts (id INTEGER PRIMARY KEY, visits BIGINT, balance NUMERIC(8, 2), rate NUMERIC(30, 20));"
        " INSERT INTO accounts (id, visits, balance) VALUES (1, 3, 2.5), (2, 4, 1.5);"
    )
    specimens = (
        Specimen(["SELECT sum(visits) FROM accounts"], _ACCOUNTS),
        Specimen(["SELECT balance FROM accounts ORDER BY id"], _ACCOUNTS),
        Specimen(["SELECT avg(visits) AS mean FROM accounts"], _ACCOUNTS),
        Specimen(
            [
                lambda db: db.observe(
                    "body", {"total": str(db.fetchone("SELECT sum(balance) FROM accounts")[0])}
                )
            ],
            _ACCOUNTS,
        ),
        Specimen(
            [
                lambda db: db.observe(
                    "line",
                    ",".join(
                        str(v)
                        for row in db.fetchall("SELECT id, balance FROM accounts ORDER BY id")
                        for v in row
                    ),
                )
            ],
            _ACCOUNTS,
        ),
        Specimen([lambda db: _exact(db, "0.700000000000001")], _ACCOUNTS),
    )
    near_misses = (Specimen(["SELECT CAST(avg(visits) AS DOUBLE PRECISION) FROM accounts"], _ACCOUNTS),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "outcome":
            return self._nearly_equal(evidence)
        if evidence.kind == "observed":
            return "number" in renderings(evidence)
        found = [
            p for p in pairs(evidence) if isinstance(p.postgres, decimal.Decimal) and is_number(p.sqlite)
        ]
        return bool(found) or re.search(r": (int|float) / Decimal", evidence.divergence.message) is not None

    def _nearly_equal(self, evidence: Evidence) -> bool:
        """Return whether the failing assertion compares Decimals that a float apart, where PostgreSQL has the exact one."""
        failure = evidence.failure("sqlite")
        if failure is None or not failure.name.endswith("AssertionError"):
            return False
        found = [
            decimal.Decimal(text)
            for text in re.findall(r"\bDecimal\('(-?[\d.]+(?:E[+-]?\d+)?)'\)", failure.message)
        ]
        apart = any(a != b and math.isclose(a, b, rel_tol=1e-12) for a, b in itertools.pairwise(found))
        return apart and any(
            isinstance(value, decimal.Decimal) and value in found
            for statement in evidence.recordings["postgres"].statements
            for row in statement.values
            for value in row
        )


def _exact(db: Any, price: str) -> None:
    exact = decimal.Decimal(price)
    db.execute(f"INSERT INTO accounts (id, rate) VALUES (9, {price})")
    rate = {"sqlite": "rate", "postgres": "accounts.rate"}[db.backend]
    # as a library asks that has a module for each database: nothing is seen but the outcome
    stored = db.scalar(f"SELECT {rate} FROM accounts WHERE id = 9")
    given = stored if isinstance(stored, decimal.Decimal) else decimal.Decimal(f"{stored:.20f}")
    if given != exact:
        raise AssertionError(f"assert {given!r} == {exact!r}")


class IntegerOrFloat(Rule):
    """A number that is a float on one side and a whole number on the other.

    What differs:
        The Python type: total(), round() and arithmetic give floats on SQLite where PostgreSQL gives int or
        Decimal; a NUMERIC or DOUBLE PRECISION column can hold integers on SQLite. 2 and 2.0 are equal, and
        are written differently as text and in JSON.

    Why:
        SQLite keeps the storage class of the value, PostgreSQL the type of the expression.

    Instead:
        Say the type:

            SELECT CAST(round(CAST(value AS NUMERIC)) AS INTEGER) FROM readings

    References:
        https://www.sqlite.org/datatype3.html#type_affinity
        https://www.postgresql.org/docs/current/datatype-numeric.html
    """

    name = "integer-or-float"
    title = "a number is int on one side, float on the other"
    instead = "CAST(x AS INTEGER) or CAST(x AS DOUBLE PRECISION)"
    kinds = frozenset({"type"})
    priority = -1
    _SCHEMA: Mapping[str, str] = {
        "sqlite": "CREATE TABLE readings (id INTEGER PRIMARY KEY, value NUMERIC); INSERT INTO"
        " readings VALUES (1, 2);",
        "postgres": "CREATE TABLE readings (id INTEGER PRIMARY KEY, value DOUBLE PRECISION); INSERT"
        " INTO readings VALUES (1, 2);",
    }
    specimens = (Specimen(["SELECT value FROM readings"], _SCHEMA),)
    near_misses = (
        Specimen(["SELECT CAST(value AS INTEGER) FROM readings"], _SCHEMA),
        Specimen(
            ["SELECT pause FROM breaks"],
            {
                "sqlite": "CREATE TABLE breaks (pause TEXT); INSERT INTO breaks VALUES ('1970-01-01 01:30:00');",
                "postgres": "CREATE TABLE breaks (pause INTERVAL); INSERT INTO breaks VALUES ('1 hour 30 minutes');",
            },
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if any({type(p.sqlite), type(p.postgres)} == {int, float} for p in pairs(evidence)):
            return True
        return re.search(r": (int / float|float / int)", evidence.divergence.message) is not None
