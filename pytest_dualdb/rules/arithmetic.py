"""Rules about arithmetic: division, rounding, remainders, aggregates, and the functions for numbers."""

from __future__ import annotations

import math
import re
from typing import Any

from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    bare,
    calls,
    differ_in_numbers,
    is_number,
    missing_function,
    missing_operator,
    numbers_apart,
    pairs,
    said,
    sole_error,
    stored_rows,
    suspects,
    texts,
)

VALUE_KINDS = frozenset({"rows", "state", "order"})


class IntegerDivision(Rule):
    """A division whose operands are whole numbers on one side only.

    What differs:
        10 / 4 is 2 where both are integers. A NUMERIC column that holds 10 holds an integer on SQLite, and a
        decimal on PostgreSQL: there the result is 2.5. The same holds for averages made by hand.

    Why:
        SQLite divides by what the values are (the affinity NUMERIC stores 10.0 as the integer 10);
        PostgreSQL divides by the declared types.

    Instead:
        Make one operand a floating-point number on both:

            SELECT CAST(total AS DOUBLE PRECISION) / parts FROM bills

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-math.html
    """

    name = "integer-division"
    title = "a division is whole on one side only"
    instead = "CAST(a AS DOUBLE PRECISION) / b"
    kinds = VALUE_KINDS | {"rowcount"}
    priority = 2
    _BILLS = (
        "CREATE TABLE bills (id INTEGER PRIMARY KEY, total NUMERIC(8, 2), parts INTEGER);"
        " INSERT INTO bills VALUES (1, 10, 4);"
    )
    specimens = (
        Specimen(["SELECT total / parts AS share FROM bills"], _BILLS),
        Specimen(["SELECT id FROM bills WHERE total / parts > 2"], _BILLS),
        Specimen(["UPDATE bills SET total = total / parts", "COMMIT"], _BILLS),
    )
    near_misses = (
        Specimen(["SELECT CAST(total AS DOUBLE PRECISION) / parts AS share FROM bills"], _BILLS),
        Specimen(["SELECT parts / 3 FROM bills"], _BILLS),
    )

    def matches(self, evidence: Evidence) -> bool:
        if not any("/" in text for text in texts(evidence)):
            return False
        if differ_in_numbers(evidence):
            return numbers_apart(evidence, lambda _, a, b: _whole(a) != _whole(b) or self._decimal(evidence))
        return not pairs(evidence) and self._decimal(evidence)

    def _decimal(self, evidence: Evidence) -> bool:
        """Return whether a column is an operand that is decimal on PostgreSQL, with whole numbers in it."""
        for text in texts(evidence):
            for left, right in re.findall(r"(\w+)\"?\)*\s*/\s*\(*\"?(?:\w+\"?\.\"?)?(\w+)", text):
                for name in (left, right):
                    column = evidence.column(name, "postgres")
                    if column is not None and re.match("NUMERIC|DECIMAL", column.type):
                        held = {row.get(name.lower()) for row in stored_rows(evidence, evidence.text)} - {
                            None
                        }
                        return not held or any(type(value) is int for value in held)
        return False


def _whole(value: float) -> bool:
    return math.isfinite(value) and value == int(value)


class DivisionByZero(Rule):
    """A division, or a remainder, by zero.

    What differs:
        SQLite gives NULL; PostgreSQL fails (22012, division by zero).

    Why:
        SQLite chose NULL for every arithmetic that has no result; the standard asks for an error.

    Instead:
        Make the zero NULL, on both:

            SELECT total / nullif(parts, 0) FROM bills

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-conditional.html#FUNCTIONS-NULLIF
    """

    name = "division-by-zero"
    title = "division by zero is NULL on SQLite, an error on PostgreSQL"
    instead = "a / nullif(b, 0)"
    kinds = frozenset({"error", "outcome"})
    _BILLS = (
        "CREATE TABLE bills (id INTEGER PRIMARY KEY, total INTEGER, parts INTEGER); INSERT"
        " INTO bills VALUES (1, 10, 0);"
    )
    specimens = (
        Specimen(["SELECT total / parts FROM bills"], _BILLS),
        Specimen([("SELECT total % ? FROM bills", (0,))], _BILLS),
    )
    near_misses = (Specimen(["SELECT total / nullif(parts, 0) FROM bills"], _BILLS),)

    def matches(self, evidence: Evidence) -> bool:
        return sole_error(evidence, "postgres", "22012") is not None


class RoundDouble(Rule):
    """round(x, digits) of a floating-point number.

    What differs:
        SQLite rounds any number to so many digits; PostgreSQL has the form with digits for numeric only and
        fails (42883, function round(double precision, integer) does not exist). trunc() likewise.

    Why:
        A binary fraction has no decimal digits to round to, so PostgreSQL asks for a conversion first.

    Instead:
        Convert to NUMERIC, which both accept:

            SELECT round(CAST(value AS NUMERIC), 2) FROM readings

    References:
        https://www.sqlite.org/lang_corefunc.html#round
        https://www.postgresql.org/docs/current/functions-math.html#FUNCTIONS-MATH-FUNC-TABLE
    """

    name = "round-double"
    title = "round(double, digits) does not exist on PostgreSQL"
    instead = "round(CAST(x AS NUMERIC), digits)"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    _READINGS = (
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, value DOUBLE PRECISION); INSERT"
        " INTO readings VALUES (1, 1.26);"
    )
    specimens = (
        Specimen(["SELECT round(value, 1) FROM readings"], _READINGS),
        Specimen([("SELECT round(avg(value), ?) FROM readings", (1,))], _READINGS),
    )
    near_misses = (Specimen(["SELECT round(CAST(value AS NUMERIC), 1) FROM readings"], _READINGS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(sole_error(evidence, "postgres", "42883"))
        return missing is not None and missing.name in ("round", "trunc") and len(missing.arguments) == 2


class HalfRounding(Rule):
    """round() of a number that ends in a half, or of a binary fraction near one.

    What differs:
        SQLite rounds halves away from zero. PostgreSQL does so for numeric, and to the even neighbour for
        double precision: round(2.5) is 3 on SQLite and 2 there. Conversions to INTEGER follow suit.

    Why:
        PostgreSQL leaves double precision to the platform's rint(), which is IEEE's round half to even.

    Instead:
        Convert to NUMERIC first, which rounds halves away from zero:

            SELECT round(CAST(value AS NUMERIC)) FROM readings

    References:
        https://www.sqlite.org/lang_corefunc.html#round
        https://www.postgresql.org/docs/current/functions-math.html
    """

    name = "half-rounding"
    title = "round() of a half goes to the even number on PostgreSQL"
    instead = "round(CAST(x AS NUMERIC))"
    kinds = VALUE_KINDS
    priority = 2
    _READINGS = (
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, value DOUBLE PRECISION); INSERT"
        " INTO readings VALUES (1, 2.5), (2, 3.5);"
    )
    specimens = (
        Specimen(["SELECT id, round(value) AS whole FROM readings ORDER BY id"], _READINGS),
        Specimen(["UPDATE readings SET value = round(value)", "COMMIT"], _READINGS),
    )
    near_misses = (
        Specimen(["SELECT round(CAST(value AS NUMERIC)) AS whole FROM readings ORDER BY id"], _READINGS),
    )

    def matches(self, evidence: Evidence) -> bool:
        if not any(calls(text, "round") for text in texts(evidence)):
            return False
        return numbers_apart(evidence, lambda _, a, b: 0 < abs(a - b) <= 1)


class RoundDigits(Rule):
    """round() to tens, hundreds or thousands: a negative number of digits.

    What differs:
        round(1234, -2) is 1200 on PostgreSQL. SQLite takes a negative number of digits for 0.

    Why:
        SQLite rounds by writing the number with so many decimals.

    Instead:
        Divide, round, multiply:

            SELECT round(CAST(value AS NUMERIC) / 100.0) * 100 FROM readings

    References:
        https://www.sqlite.org/lang_corefunc.html#round
        https://www.postgresql.org/docs/current/functions-math.html#FUNCTIONS-MATH-FUNC-TABLE
    """

    name = "round-digits"
    title = "round(x, -2) rounds to hundreds on PostgreSQL only"
    instead = "round(x / 100.0) * 100"
    kinds = VALUE_KINDS
    priority = 3
    _READINGS = (
        "CREATE TABLE readings (id INTEGER PRIMARY KEY, value NUMERIC(10, 2)); INSERT"
        " INTO readings VALUES (1, 1234.5);"
    )
    specimens = (
        Specimen(["SELECT round(value, -2) AS about FROM readings"], _READINGS),
        Specimen([("SELECT round(value, ?) AS about FROM readings", (-1,))], _READINGS),
        Specimen(["UPDATE readings SET value = round(value, -3)", "COMMIT"], _READINGS),
    )
    near_misses = (
        Specimen(["SELECT round(CAST(value AS NUMERIC) / 100.0) * 100 AS about FROM readings"], _READINGS),
    )

    def matches(self, evidence: Evidence) -> bool:
        statements = [s for b in BACKENDS for s in suspects(evidence, b) if calls(s.sql, "round")]
        negative = any(
            is_number(value) and value < 0 for statement in statements for value in params_of(statement)
        )
        if not negative and not any(re.search(r",\s*-\s*\d+\s*\)", bare(s.sql)) for s in statements):
            return False
        return differ_in_numbers(evidence)


class CastToNumber(Rule):
    """CAST to a number of text that is no number, or of a fraction to a whole number.

    What differs:
        SQLite reads the longest number at the start ('12abc' is 12, 'abc' is 0) and cuts fractions off (2.7
        is 2); PostgreSQL refuses the text (22P02) and rounds the fraction (2.7 is 3).

    Why:
        A SQLite CAST never fails. PostgreSQL's uses the type's input function, and its conversion of
        fractions rounds.

    Instead:
        Check before converting, and say which whole number is meant:

            SELECT CAST(floor(CAST(value AS NUMERIC)) AS INTEGER) FROM readings

        floor() needs SQLite 3.35 with math functions; elsewhere convert in the application.

    References:
        https://www.sqlite.org/lang_expr.html#castexpr
        https://www.postgresql.org/docs/current/datatype-numeric.html
    """

    name = "cast-to-number"
    title = "CAST cuts off on SQLite, rounds or fails on PostgreSQL"
    instead = "check the text first; round() or floor() before CAST(x AS INTEGER)"
    kinds = VALUE_KINDS | {"error", "outcome", "rowcount"}
    priority = 3
    _RAW = (
        "CREATE TABLE raw (id INTEGER PRIMARY KEY, body TEXT, value DOUBLE PRECISION); INSERT"
        " INTO raw VALUES (1, '12abc', 2.7);"
    )
    specimens = (
        Specimen(["SELECT CAST(body AS INTEGER) FROM raw"], _RAW),
        Specimen(["SELECT CAST(value AS INTEGER) AS whole FROM raw"], _RAW),
        Specimen(["SELECT id FROM raw WHERE CAST(value AS INTEGER) = 2"], _RAW),
        Specimen(
            ["SELECT CAST(value AS INTEGER) AS whole, count(*) FROM raw GROUP BY 1 ORDER BY 1"],
            _RAW + " INSERT INTO raw VALUES (2, '', 2.2);",
        ),
    )
    near_misses = (Specimen(["SELECT CAST(substr(body, 1, 2) AS INTEGER) FROM raw"], _RAW),)

    def matches(self, evidence: Evidence) -> bool:
        number = r"(?:\bAS\s+|::\s*)(SIGNED|(BIG|SMALL)?INT(EGER|\d)?|NUMERIC|DECIMAL|REAL|DOUBLE|FLOAT)\b"
        if not any(re.search(number, text, re.I) for text in texts(evidence)):
            return False
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "postgres", "22P02")
            return (
                said(failure, r"for type (smallint|integer|bigint|numeric|double precision|real)") is not None
            )
        if differ_in_numbers(evidence):
            return numbers_apart(evidence, lambda _, a, b: _whole(a) and 0 < abs(a - b) <= 1)
        # what a library casts in its INSERTs does not explain which rows there are
        return evidence.kind != "state" and not pairs(evidence) and self._chooses(evidence)

    def _chooses(self, evidence: Evidence) -> bool:
        """Return whether a number that was cut to an integer decides which rows there are."""
        from sqlglot import expressions as exp

        deciding = (exp.Where, exp.Having, exp.Join, exp.Group, exp.Distinct)
        return any(
            node.args["to"].this in exp.DataType.INTEGER_TYPES
            and (node.find_ancestor(*deciding) is not None or self._groups_by(node))
            for node in evidence.find(exp.Cast)
        )

    def _groups_by(self, node: Any) -> bool:
        """Return whether a query is grouped by the column that the node is part of, by its number or its alias."""
        from sqlglot import expressions as exp

        query = node.find_ancestor(exp.Select)
        group = None if query is None else query.args.get("group")
        if query is None or group is None:
            return False
        for place, selected in enumerate(query.selects, start=1):
            if any(node is part for part in selected.walk()):
                names = {str(place), selected.alias.lower()} - {""}
                return any(key.name.lower() in names for key in group.expressions)
        return False


class RemainderOfFraction(Rule):
    """The remainder operator % with a fraction, or ^, #, |/ and other arithmetic of one side.

    What differs:
        SQLite's % cuts both operands to whole numbers; PostgreSQL's numeric % keeps the fraction, and for
        double precision there is none (42883). `^` is a power on PostgreSQL and unknown to SQLite.

    Why:
        % is defined for integers in SQLite, for integers and numeric in PostgreSQL.

    Instead:
        Whole numbers on both sides, and functions for the rest:

            SELECT CAST(seconds AS INTEGER) % 60 FROM runs

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-math.html
    """

    name = "remainder-of-fraction"
    title = "% cuts fractions off on SQLite only"
    instead = "CAST(x AS INTEGER) % n"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 4
    _RUNS = (
        "CREATE TABLE runs (id INTEGER PRIMARY KEY, seconds DOUBLE PRECISION, cost NUMERIC(8,"
        " 2)); INSERT INTO runs VALUES (1, 61.25, 7.5);"
    )
    specimens = (
        Specimen(["SELECT seconds % 60 FROM runs"], _RUNS),
        Specimen(["SELECT cost % 2 AS rest FROM runs"], _RUNS),
        Specimen(["SELECT id FROM runs WHERE cost % 1 = 0"], _RUNS),
    )
    near_misses = (Specimen(["SELECT CAST(seconds AS INTEGER) % 60 FROM runs"], _RUNS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883"))
        if missing is not None:
            return missing.symbol == "%" and {missing.left, missing.right} <= _NUMBER_TYPES
        from sqlglot import expressions as exp

        if evidence.kind in ("error", "outcome") or not any(True for _ in evidence.find(exp.Mod)):
            return False
        if differ_in_numbers(evidence):
            return numbers_apart(evidence, lambda _, a, b: _whole(a) and not _whole(b))
        return not pairs(evidence) and self._of_fraction(evidence)

    def _of_fraction(self, evidence: Evidence) -> bool:
        """Return whether an operand is a column that holds fractions."""
        from sqlglot import expressions as exp

        names = {c.name.lower() for node in evidence.find(exp.Mod) for c in node.find_all(exp.Column)}
        values = (row.get(name) for row in stored_rows(evidence, evidence.text) for name in names)
        return any(value is not None and is_number(value) and not _whole(float(value)) for value in values)


_NUMBER_TYPES = {"smallint", "integer", "bigint", "numeric", "double precision", "real", "unknown"}


class ScalarMax(Rule):
    """max() or min() with several arguments sent to PostgreSQL.

    What differs:
        SQLite's max(a, b) takes the larger of its arguments; PostgreSQL knows max and min as aggregates of
        one argument and fails (42883, function max(integer, integer) does not exist).

    Why:
        SQLite overloads the names by the number of arguments; the standard's names are GREATEST and LEAST,
        which SQLite lacks.

    Instead:
        CASE, on both:

            SELECT CASE WHEN a > b THEN a ELSE b END FROM points

    References:
        https://www.sqlite.org/lang_corefunc.html#max_scalar
        https://www.postgresql.org/docs/current/functions-conditional.html#FUNCTIONS-GREATEST-LEAST
    """

    name = "scalar-max"
    title = "max(a, b) and min(a, b) exist on SQLite only"
    instead = "CASE WHEN a > b THEN a ELSE b END"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    _POINTS = (
        "CREATE TABLE points (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER); INSERT INTO"
        " points VALUES (1, 5, 7);"
    )
    specimens = (
        Specimen(["SELECT max(a, b) FROM points"], _POINTS),
        Specimen([("UPDATE points SET a = min(a, ?, b)", (3,))], _POINTS),
    )
    near_misses = (Specimen(["SELECT CASE WHEN a > b THEN a ELSE b END FROM points"], _POINTS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(sole_error(evidence, "postgres", "42883"))
        return missing is not None and missing.name in ("max", "min") and len(missing.arguments) > 1


class Greatest(Rule):
    """GREATEST or LEAST sent to SQLite, or their other treatment of NULL.

    What differs:
        SQLite has no GREATEST and LEAST (no such function); its max(a, b) and min(a, b) are NULL as soon as
        one argument is, where PostgreSQL's GREATEST and LEAST leave NULLs out.

    Why:
        GREATEST ignores NULL by PostgreSQL's own decision; SQLite's scalar max follows the rule that NULL
        makes everything NULL.

    Instead:
        CASE with the NULLs decided, on both:

            SELECT CASE WHEN b IS NULL OR a > b THEN a ELSE b END FROM points

    References:
        https://www.sqlite.org/lang_corefunc.html#max_scalar
        https://www.postgresql.org/docs/current/functions-conditional.html#FUNCTIONS-GREATEST-LEAST
    """

    name = "greatest-least"
    title = "GREATEST and LEAST: unknown to SQLite, and they skip NULL"
    instead = "CASE WHEN b IS NULL OR a > b THEN a ELSE b END"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 2
    _POINTS = (
        "CREATE TABLE points (id INTEGER PRIMARY KEY, a INTEGER, b INTEGER); INSERT INTO"
        " points VALUES (1, 5, NULL);"
    )
    specimens = (
        Specimen(["SELECT GREATEST(a, b) FROM points"], _POINTS),
        Specimen(
            [
                {
                    "sqlite": "SELECT max(a, b) AS top FROM points",
                    "postgres": "SELECT greatest(a, b) AS top FROM points",
                }
            ],
            _POINTS,
        ),
    )
    near_misses = (Specimen(["SELECT CASE WHEN b IS NULL OR a > b THEN a ELSE b END FROM points"], _POINTS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(sole_error(evidence, "sqlite"))
        if missing is not None:
            return missing.name in ("greatest", "least")
        if not any(calls(s.sql, "greatest", "least") for s in suspects(evidence, "postgres")):
            return False
        return any(p.sqlite is None and p.postgres is not None for p in pairs(evidence))


class SumOfText(Rule):
    """SUM, AVG, arithmetic or abs() of text.

    What differs:
        SQLite converts text to a number where it can, and to 0 where it can't; PostgreSQL fails (42883,
        function sum(text) does not exist; operator does not exist: text + integer).

    Why:
        Arithmetic applies numeric affinity on SQLite. PostgreSQL converts no text column by itself.

    Instead:
        Store numbers as numbers, or convert where all texts are numbers:

            SELECT sum(CAST(amount AS NUMERIC)) FROM lines

    References:
        https://www.sqlite.org/lang_aggfunc.html#sumunc
        https://www.postgresql.org/docs/current/functions-aggregate.html
    """

    name = "arithmetic-on-text"
    title = "sums and arithmetic of text fail on PostgreSQL"
    instead = "a numeric column, or sum(CAST(amount AS NUMERIC))"
    kinds = frozenset({"error", "outcome"})
    priority = 1
    _LINES = (
        "CREATE TABLE lines (id INTEGER PRIMARY KEY, amount TEXT); INSERT INTO lines VALUES"
        " (1, '2'), (2, '3');"
    )
    specimens = (
        Specimen(["SELECT sum(amount) FROM lines"], _LINES),
        Specimen(["SELECT amount + 1 FROM lines"], _LINES),
        Specimen(["SELECT 'a' + 'b'"]),
        Specimen(["SELECT abs(amount) FROM lines"], _LINES),
    )
    near_misses = (Specimen(["SELECT sum(CAST(amount AS INTEGER)) FROM lines"], _LINES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42725")
        missing = missing_operator(failure)
        if missing is not None:
            texts = {"text", "character varying", "character", "unknown"}
            return missing.symbol in "+-*/%" and bool({missing.left, missing.right} & texts) and (
                {missing.left, missing.right} <= texts | _NUMBER_TYPES | {""}
            )  # fmt: skip
        function = missing_function(failure)
        if function is None or function.name not in (
            "sum",
            "avg",
            "total",
            "abs",
            "ceil",
            "floor",
            "round",
            "sqrt",
        ):
            return False
        return bool(set(function.arguments) & {"text", "character varying", "character"})


class FloatArithmetic(Rule):
    """Decimal arithmetic, or exact comparison, on numbers that SQLite holds as binary fractions.

    What differs:
        0.1 + 0.2 = 0.3 is false on SQLite and true on PostgreSQL (numeric). Sums of prices compared with
        `=`, `>=` or in HAVING part by the last digit.

    Why:
        SQLite has only IEEE doubles; PostgreSQL takes a literal with a point for an exact numeric.

    Instead:
        Whole units (cents), or a tolerance:

            SELECT id FROM bills WHERE abs(total - paid) < 0.005

    References:
        https://www.sqlite.org/floatingpoint.html
        https://www.postgresql.org/docs/current/datatype-numeric.html#DATATYPE-NUMERIC-DECIMAL
    """

    name = "float-arithmetic"
    title = "decimals are exact on PostgreSQL, binary on SQLite"
    instead = "whole units (cents) as BIGINT, or abs(a - b) < tolerance"
    kinds = VALUE_KINDS | {"rowcount"}
    _BILLS = (
        "CREATE TABLE bills (id INTEGER PRIMARY KEY, a NUMERIC(8, 2), b NUMERIC(8, 2)); INSERT"
        " INTO bills VALUES (1, 0.1, 0.2);"
    )
    specimens = (
        Specimen(["SELECT id FROM bills WHERE a + b = 0.3"], _BILLS),
        Specimen(["SELECT id FROM bills GROUP BY id HAVING sum(a + b) <= 0.3"], _BILLS),
    )
    near_misses = (Specimen(["SELECT id FROM bills WHERE abs(a + b - 0.3) < 0.005"], _BILLS),)

    def matches(self, evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        if differ_in_numbers(evidence) and not numbers_apart(
            evidence, lambda _, a, b: math.isclose(a, b, rel_tol=1e-6)
        ):
            return False
        for node in evidence.find(exp.EQ, exp.NEQ, exp.LT, exp.GT, exp.LTE, exp.GTE, exp.In, exp.Between):
            if isinstance(node.parent, exp.Update):
                continue  # assigns, does not compare
            arithmetic = any(True for _ in node.find_all(exp.Add, exp.Sub, exp.Mul, exp.Sum, exp.Avg))
            if arithmetic and self._decimals(evidence, node):
                return True
        return False

    def _decimals(self, evidence: Evidence, node: Any) -> bool:
        from sqlglot import expressions as exp

        names = {column.name for column in node.find_all(exp.Column)}
        found = [one for name in names for one in [evidence.column(name, "postgres")] if one is not None]
        literals = any("." in literal.name for literal in node.find_all(exp.Literal) if not literal.is_string)
        return any(re.match("NUMERIC|DECIMAL", one.type) for one in found) or (literals and not names)
