"""Rules about true and false: a type of its own on PostgreSQL, an integer (or any text) on SQLite."""

from __future__ import annotations

import re

from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    Pair,
    bare,
    declared,
    explained,
    family,
    is_number,
    missing_function,
    missing_operator,
    pairs,
    renderings,
    said,
    sole_error,
    suspects,
)

_ACCOUNTS = (
    "CREATE TABLE accounts (id INTEGER PRIMARY KEY, active BOOLEAN, visits INTEGER);"
    " INSERT INTO accounts VALUES (1, TRUE, 3), (2, FALSE, 0);"
)


class BooleanInteger(Rule):
    """A number where PostgreSQL wants a boolean, or a boolean where it wants a number.

    What differs:
        `active = 1`, `WHERE visits`, `VALUES (1)` for a boolean column, `coalesce(active, 0)` and arithmetic
        with booleans work on SQLite and fail on PostgreSQL (42883 operator does not exist: boolean = integer,
        42804 argument of WHERE must be type boolean, column is of type boolean but expression is of type
        integer).

    Why:
        SQLite has no boolean type: TRUE and FALSE are 1 and 0, and every number is a condition. PostgreSQL's
        boolean is a type of its own, without implicit conversion to or from numbers.

    Instead:
        The words, and comparisons that give a boolean:

            SELECT id FROM accounts WHERE active = TRUE AND visits <> 0
            INSERT INTO accounts (id, active) VALUES (3, TRUE)

        As parameters pass True and False, never 1 and 0.

    References:
        https://www.sqlite.org/datatype3.html#boolean_datatype
        https://www.postgresql.org/docs/current/datatype-boolean.html
    """

    name = "boolean-integer"
    title = "numbers are not booleans on PostgreSQL"
    instead = "TRUE and FALSE (parameters True and False), visits <> 0 as condition"
    kinds = frozenset({"error", "outcome"})
    priority = 1
    specimens = (
        Specimen(["SELECT id FROM accounts WHERE active = 1"], _ACCOUNTS),
        Specimen([("SELECT id FROM accounts WHERE active = ?", (1,))], _ACCOUNTS),
        Specimen(["SELECT id FROM accounts WHERE visits"], _ACCOUNTS),
        Specimen(["INSERT INTO accounts (id, active) VALUES (3, 1)"], _ACCOUNTS),
        Specimen(["SELECT coalesce(active, 0) FROM accounts"], _ACCOUNTS),
        Specimen(["SELECT id FROM accounts WHERE active IN (0, 1)"], _ACCOUNTS),
        Specimen(["UPDATE accounts SET visits = (visits > 1)"], _ACCOUNTS),
    )
    near_misses = (
        Specimen([("SELECT id FROM accounts WHERE active = ? AND visits <> 0", (True,))], _ACCOUNTS),
        Specimen(["INSERT INTO accounts (id, active) VALUES (3, TRUE)", "COMMIT"], _ACCOUNTS),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42804", "42846", "42725", "22P02")
        if said(failure, r'invalid input syntax for type boolean: "-?\d'):
            return True
        if said(
            failure,
            r"must be type boolean, not type (smallint|integer|bigint|numeric|"
            r"double precision|real)",
        ):
            return True
        if said(
            failure,
            r"is of type (boolean\b.* type (smallint|integer|bigint|numeric|double)|"
            r"(smallint|integer|bigint|numeric|double|real)\b.* type boolean)",
        ):
            return True
        if said(failure, r"types? (boolean and \w+|[\w ]+ and boolean) cannot be matched"):
            return True
        if said(
            failure,
            r"cannot cast type (boolean to (smallint|bigint|numeric|double|real)|(smallint|bigint|"
            r"numeric|double precision) to boolean)",
        ):
            return True
        missing = missing_operator(failure)
        if missing is None or missing.symbol in ("==", "<=>", "!"):
            return False
        return "boolean" in (missing.left, missing.right)


class BooleanAggregate(Rule):
    """SUM, AVG, MIN or MAX of a condition or a boolean column.

    What differs:
        SQLite adds conditions up as ones and zeros; PostgreSQL fails (42883, function sum(boolean) does not
        exist).

    Why:
        A comparison is an integer on SQLite and a boolean on PostgreSQL, for which it defines bool_and,
        bool_or and count only.

    Instead:
        Count with CASE, or with FILTER (SQLite 3.30 and later):

            SELECT sum(CASE WHEN visits > 0 THEN 1 ELSE 0 END) FROM accounts
            SELECT count(*) FILTER (WHERE visits > 0) FROM accounts

    References:
        https://www.sqlite.org/lang_aggfunc.html
        https://www.postgresql.org/docs/current/functions-aggregate.html
    """

    name = "boolean-aggregate"
    title = "SUM and MAX of a condition fail on PostgreSQL"
    instead = "sum(CASE WHEN condition THEN 1 ELSE 0 END)"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    specimens = (
        Specimen(["SELECT sum(visits > 0) FROM accounts"], _ACCOUNTS),
        Specimen(["SELECT max(active) FROM accounts"], _ACCOUNTS),
    )
    near_misses = (Specimen(["SELECT sum(CASE WHEN visits > 0 THEN 1 ELSE 0 END) FROM accounts"], _ACCOUNTS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(sole_error(evidence, "postgres", "42883"))
        return missing is not None and missing.arguments == ("boolean",)


_WORDS = {"true", "false", "t", "f", "yes", "no", "y", "n", "on", "off", "1", "0"}


class BooleanText(Rule):
    """The word 'true' or 'false' as text in a boolean column, a DEFAULT or a condition.

    What differs:
        PostgreSQL reads 'true', 't', 'yes', 'on', '1' (and their opposites) as booleans. SQLite keeps the
        text 'false' as it is: it is neither 0 nor FALSE, `WHERE active = FALSE` misses it, and bool('false')
        is True in Python. CAST('true' AS BOOLEAN) is 0 there.

    Why:
        BOOLEAN has the affinity NUMERIC on SQLite, which keeps text that is no number. PostgreSQL converts
        the literal by its input function.

    Instead:
        The keywords without quotes, and Python's booleans as parameters:

            CREATE TABLE accounts (id INTEGER PRIMARY KEY, active BOOLEAN DEFAULT FALSE)
            SELECT id FROM accounts WHERE active = TRUE

    References:
        https://www.sqlite.org/datatype3.html#boolean_datatype
        https://www.postgresql.org/docs/current/datatype-boolean.html
    """

    name = "boolean-text"
    title = "'false' as text stays text on SQLite"
    instead = "TRUE and FALSE without quotes; True and False as parameters"
    kinds = frozenset({"rows", "state", "rowcount", "order"})
    priority = 3
    specimens = (
        Specimen(["INSERT INTO accounts (id, active) VALUES (3, 'false')", "COMMIT"], _ACCOUNTS),
        Specimen(
            ["INSERT INTO flags (id) VALUES (1)", "SELECT on_sale FROM flags", "COMMIT"],
            "CREATE TABLE flags (id INTEGER PRIMARY KEY, on_sale BOOLEAN DEFAULT 'false');",
        ),
        Specimen(["SELECT id FROM accounts WHERE active = 'true'"], _ACCOUNTS),
        Specimen(["SELECT CAST('true' AS BOOLEAN) AS yes"]),
        Specimen([("SELECT id FROM accounts WHERE active = ?", ("f",))], _ACCOUNTS),
    )
    near_misses = (
        Specimen([("INSERT INTO accounts (id, active) VALUES (3, ?)", (False,)), "COMMIT"], _ACCOUNTS),
        Specimen(["SELECT id FROM accounts WHERE active = '1'"], _ACCOUNTS),
    )

    def matches(self, evidence: Evidence) -> bool:
        if explained(evidence, self._word):
            return True
        if any(re.search(r"\bAS\s+BOOL", bare(one.sql), re.I) for one in suspects(evidence, "sqlite")):
            return explained(evidence, lambda p: isinstance(p.postgres, bool) and is_number(p.sqlite))
        for backend in BACKENDS:
            for statement in suspects(evidence, backend):
                if self._compares(evidence, statement.sql, statement.params):
                    return True
        return self._stored(evidence)

    def _word(self, pair: Pair) -> bool:
        return (
            isinstance(pair.postgres, bool) and isinstance(pair.sqlite, str) and pair.sqlite.lower() in _WORDS
        )

    def _compares(self, evidence: Evidence, sql: str, params: object) -> bool:
        """Return whether a boolean column is compared with one of the words."""
        flat = (
            params.values()
            if isinstance(params, dict)
            else params
            if isinstance(params, list | tuple)
            else ()
        )
        bound = any(isinstance(value, str) and value.lower() in _WORDS - {"1", "0"} for value in flat)
        for name, word in re.findall(
            r"\"?(\w+)\"?\s*(?:=|<>|!=|IS|IN\s*\()\s*('\w+'|\?|%s|:\w+|%\(\w+\)s)", sql, re.I
        ):
            column = evidence.column(name, "postgres")
            if column is None or family(column.type) != "boolean":
                continue
            if word.strip("'").lower() in _WORDS - {"1", "0"} or (bound and not word.startswith("'")):
                return True
        return False

    def _stored(self, evidence: Evidence) -> bool:
        """Return whether the condition reads a boolean column that holds one of the words on SQLite."""
        for name in set(re.findall(r"\w+", bare(evidence.text))):
            column = evidence.column(name, "postgres")
            if column is None or family(column.type) != "boolean":
                continue
            for table in {*evidence.recordings["sqlite"].state, *evidence.templates.get("sqlite", {})}:
                contents = evidence.contents(table, "sqlite")
                columns = [] if contents is None else [one.lower() for one in contents.columns]
                if contents is not None and name.lower() in columns:
                    index = columns.index(name.lower())
                    if any(isinstance(row[index], str) for row in contents.rows):
                        return True
        return False


class TextCondition(Rule):
    """Text as a condition: WHERE name, NOT name, CASE WHEN name.

    What differs:
        SQLite converts text to a number for a condition ('abc' is 0, so false); PostgreSQL fails (42804,
        argument of WHERE must be type boolean, not type text).

    Why:
        Every value is a condition on SQLite, true when it is a number other than zero.

    Instead:
        Say what is meant:

            SELECT id FROM people WHERE name IS NOT NULL AND name <> ''

    References:
        https://www.sqlite.org/lang_expr.html#booleanexpr
        https://www.postgresql.org/docs/current/datatype-boolean.html
    """

    name = "text-condition"
    title = "text as a condition fails on PostgreSQL"
    instead = "name IS NOT NULL AND name <> ''"
    kinds = frozenset({"error", "outcome"})
    _PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Ada');"
    specimens = (
        Specimen(["SELECT id FROM people WHERE name"], _PEOPLE),
        Specimen(["SELECT CASE WHEN name THEN 1 ELSE 0 END FROM people"], _PEOPLE),
    )
    near_misses = (Specimen(["SELECT id FROM people WHERE name IS NOT NULL AND name <> ''"], _PEOPLE),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42804", "22P02")
        if said(failure, r"must be type boolean, not type"):
            return True
        return said(failure, r"invalid input syntax for type boolean") is not None


class BooleanType(Rule):
    """A boolean that the application reads: 1 on SQLite, True on PostgreSQL.

    What differs:
        The Python type: int on SQLite, bool on PostgreSQL. Equal as values, not as text: str() and JSON show
        1 here and true there, and `is True` holds on one side only.

    Why:
        SQLite stores booleans as integers, and comparisons give integers; psycopg2 converts PostgreSQL's
        boolean to bool.

    Instead:
        Convert once where rows become objects: bool(row["active"]). In SQL, nothing needs to change:

            SELECT active FROM accounts

    References:
        https://www.sqlite.org/datatype3.html#boolean_datatype
        https://www.postgresql.org/docs/current/datatype-boolean.html
    """

    name = "boolean-as-integer"
    title = "booleans are int on SQLite, bool on PostgreSQL"
    instead = "bool(value) where rows become objects"
    kinds = frozenset({"type", "observed"})
    specimens = (
        Specimen(["SELECT active FROM accounts"], _ACCOUNTS),
        Specimen(["SELECT visits > 1 FROM accounts"], _ACCOUNTS),
        Specimen(
            [lambda db: db.observe("body", str(db.fetchone("SELECT active FROM accounts")[0]))], _ACCOUNTS
        ),
    )
    near_misses = (Specimen(["SELECT CASE WHEN active THEN 1 ELSE 0 END FROM accounts"], _ACCOUNTS),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "observed":
            return "boolean" in renderings(evidence)
        return any(isinstance(p.postgres, bool) and is_number(p.sqlite) for p in pairs(evidence)) or bool(
            said_types(evidence, "int", "bool")
        )


def said_types(evidence: Evidence, sqlite: str, postgres: str) -> bool:
    """Return whether a divergence without rows (an observed value) names these two Python types."""
    return evidence.kind == "type" and f": {sqlite} / {postgres}" in evidence.divergence.message


class BooleanStored(Rule):
    """A number other than 0 and 1, or an expression's number, stored where PostgreSQL holds a boolean.

    What differs:
        SQLite keeps 2 or -1 in a BOOLEAN column; PostgreSQL holds TRUE.

    Why:
        BOOLEAN is only a name for the affinity NUMERIC on SQLite.

    Instead:
        Store the result of a comparison, and let both check it:

            CREATE TABLE accounts (id INTEGER PRIMARY KEY, active BOOLEAN CHECK (active IN (TRUE, FALSE)))

    References:
        https://www.sqlite.org/datatype3.html#boolean_datatype
        https://www.postgresql.org/docs/current/datatype-boolean.html
    """

    name = "boolean-number-stored"
    title = "SQLite keeps any number in a BOOLEAN column"
    instead = "bool(value) as the parameter; CHECK (active IN (TRUE, FALSE))"
    kinds = frozenset({"rows", "state"})
    specimens = (
        Specimen(
            [{"sqlite": ("UPDATE accounts SET active = ? WHERE id = 1", (2,)),
              "postgres": ("UPDATE accounts SET active = CAST(? AS boolean) WHERE id = 1", (2,))}, "COMMIT"],
            _ACCOUNTS,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen([("UPDATE accounts SET active = ? WHERE id = 1", (False,)), "COMMIT"], _ACCOUNTS),
    )

    def matches(self, evidence: Evidence) -> bool:
        return explained(evidence, lambda p: self._other_number(evidence, p))

    def _other_number(self, evidence: Evidence, pair: Pair) -> bool:
        if not isinstance(pair.postgres, bool) or not is_number(pair.sqlite) or pair.sqlite in (0, 1):
            return False
        return any(family(column.type) == "boolean" for column in declared(evidence, pair.column, "postgres"))
