"""Rules about what a column keeps: affinity on SQLite, a checked type on PostgreSQL."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    affinity,
    bare,
    declared,
    explained,
    family,
    is_number,
    pairs,
    said,
    sole_error,
)

VALUE_KINDS = frozenset({"rows", "state", "order", "rowcount"})
NUMERIC_LOOKING = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.I)


class NumericAffinity(Rule):
    """Text in a column whose declared type gives it a numeric affinity on SQLite.

    What differs:
        A column declared UUID, STRING, DATETIME, INET, JSON or any name that SQLite has no rule for has the
        affinity NUMERIC: text that looks like a number becomes one. '007' is stored as 7, '1e5' as 100000.0,
        and a UUID of digits and one e as Infinity. PostgreSQL keeps the text. In an INTEGER column it is the
        other way round: SQLite keeps text that is no number.

    Why:
        SQLite decides by parts of the type's name (INT, CHAR, CLOB, TEXT, BLOB, REAL, FLOA, DOUB), and
        everything else is NUMERIC.

    Instead:
        A name that both read as text:

            CREATE TABLE items (id TEXT PRIMARY KEY, code VARCHAR(20))

    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/datatype-character.html
    """

    name = "numeric-affinity"
    title = "a column's declared type turns text into numbers on SQLite"
    instead = "TEXT or VARCHAR(n) as the declared type on SQLite"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 3
    _ITEMS: Mapping[str, str] = {
        "sqlite": "CREATE TABLE items (id INTEGER PRIMARY KEY, code STRING);",
        "postgres": "CREATE TABLE items (id INTEGER PRIMARY KEY, code TEXT);",
    }
    specimens = (
        Specimen([("INSERT INTO items VALUES (?, ?)", (1, "007")), "COMMIT"], _ITEMS),
        Specimen(
            [("INSERT INTO items VALUES (?, ?)", (1, "1e5")), "SELECT code FROM items", "COMMIT"], _ITEMS
        ),
        Specimen(
            [
                ("INSERT INTO edges VALUES (?)", ("52387145236845619823641872364187",)),
                "SELECT id FROM edges",
                "COMMIT",
            ],
            "CREATE TABLE edges (id UUID PRIMARY KEY);",
        ),
        Specimen(
            [
                "INSERT INTO items VALUES (1, '0042')",
                "SELECT id FROM items WHERE code || '' = '0042'",
                "COMMIT",
            ],
            _ITEMS,
        ),
    )
    near_misses = (
        Specimen(
            [("INSERT INTO items VALUES (?, ?)", (1, "a7")), "SELECT code FROM items", "COMMIT"], _ITEMS
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if pairs(evidence):
            return explained(evidence, lambda pair: self._converted(evidence, *pair))
        if evidence.kind in ("error", "outcome"):
            return False
        return any(self._holds_converted(evidence, name) for name in self._names(evidence))

    def _names(self, evidence: Evidence) -> set[str]:
        text = bare(evidence.sql("sqlite") or evidence.text)
        return set(re.findall(r"\w+", text.lower()))

    def _numeric(self, evidence: Evidence, column: str) -> bool:
        """Return whether SQLite gives the column a numeric affinity where PostgreSQL holds text."""
        ours = [affinity(one.type) for one in declared(evidence, column, "sqlite")]
        theirs = [family(one.type) for one in declared(evidence, column, "postgres")]
        if not any(one in ("numeric", "integer", "real") for one in ours):
            return False
        return not theirs or any(one in ("text", "char", "uuid", "other", "json", "time") for one in theirs)

    def _converted(self, evidence: Evidence, column: str, left: Any, right: Any) -> bool:
        """Return whether SQLite's number is what the text on PostgreSQL reads as."""
        if not is_number(left) or right is None or is_number(right):
            return False
        texts = (str(right), str(right).replace("-", ""))
        return any(NUMERIC_LOOKING.fullmatch(text) for text in texts) and self._numeric(evidence, column)

    def _holds_converted(self, evidence: Evidence, column: str) -> bool:
        """Return whether SQLite holds numbers in a column where PostgreSQL holds other texts."""
        if not self._numeric(evidence, column):
            return False
        sides: list[list[Any]] = []
        for backend in BACKENDS:
            found: list[Any] = []
            for table in syntax.tables(evidence.text):
                contents = evidence.contents(table, backend)
                names = [] if contents is None else [one.lower() for one in contents.columns]
                if contents is not None and column in names:
                    found += [row[names.index(column)] for row in contents.rows]
            sides.append(found)
        numbers = {str(value) for value in sides[0] if is_number(value)}
        return bool(numbers) and bool({value for value in sides[1] if isinstance(value, str)} - numbers)


class InvalidText(Rule):
    """A text that is no value of the column's or the operand's type.

    What differs:
        SQLite stores 'abc' in an INTEGER column and compares it as text; PostgreSQL fails (22P02, invalid
        input syntax for type integer: "abc"), also for UUID and enum columns and in comparisons.

    Why:
        A declared type is only an affinity on SQLite (STRICT tables excepted). PostgreSQL reads every
        untyped literal and every text parameter of psycopg2 by the type at its place.

    Instead:
        Check in the application before the statement, and let SQLite check, too:

            CREATE TABLE visits (id INTEGER PRIMARY KEY, count INTEGER CHECK (count >= 0 AND count < 1000))

    References:
        https://www.sqlite.org/datatype3.html#type_affinity
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-CONSTANTS-GENERIC
    """

    name = "invalid-text"
    title = "text that is no number, uuid or enum value fails on PostgreSQL"
    instead = "validate in the application; CHECK or STRICT on SQLite"
    kinds = frozenset({"error", "outcome"})
    _VISITS = (
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, visits INTEGER); INSERT INTO visits VALUES (1, 3);"
    )
    specimens = (
        Specimen([("UPDATE visits SET visits = ?", ("many",))], _VISITS),
        Specimen([("SELECT id FROM visits WHERE visits = ?", ("abc",))], _VISITS),
        Specimen(["SELECT coalesce(visits, 'none') FROM visits"], _VISITS),
        Specimen(
            [("SELECT id FROM things WHERE id = ?", ("not-a-uuid",))],
            "CREATE TABLE things (id UUID PRIMARY KEY);",
        ),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE visits = ?", ("3",))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22P02")
        return said(failure, r"invalid input (syntax for type (?!json)|value for enum)") is not None


class EmptyText(Rule):
    """An empty string where a number, a date or another typed value belongs.

    What differs:
        SQLite stores '' in any column and compares it as text; PostgreSQL fails (22P02, invalid input syntax
        for type integer: "", or 22007 for dates).

    Why:
        An empty text is a value like any other on SQLite; for PostgreSQL it is no number and no date.

    Instead:
        NULL for what is not there (None as the parameter):

            UPDATE visits SET visits = NULL WHERE id = 1

    References:
        https://www.sqlite.org/datatype3.html#type_affinity
        https://www.postgresql.org/docs/current/errcodes-appendix.html
    """

    name = "empty-text"
    title = "'' is no number and no date on PostgreSQL"
    instead = "NULL (None as the parameter); nullif(?, '') in SQL"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    _VISITS = (
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, visits INTEGER, day DATE); INSERT INTO"
        " visits VALUES (1, 3, NULL);"
    )
    specimens = (
        Specimen([("UPDATE visits SET visits = ?", ("",))], _VISITS),
        Specimen([("UPDATE visits SET day = ?", ("",))], _VISITS),
        Specimen(["SELECT id FROM visits WHERE visits <> ''"], _VISITS),
    )
    near_misses = (Specimen([("UPDATE visits SET visits = ?, day = ?", (None, None)), "COMMIT"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22P02", "22007")
        return said(failure, r'invalid input (syntax for type|value for enum) [\w ]+: "\s*"') is not None


class MixedTypes(Rule):
    """Different types in one place: CASE, coalesce, UNION, VALUES, or an expression stored in a column.

    What differs:
        PostgreSQL fails (42804: CASE types text and integer cannot be matched, UNION types integer and text
        cannot be matched, column "at" is of type timestamp but expression is of type integer). SQLite lets
        every row have its own type.

    Why:
        Each result column and each column of a table has one type on PostgreSQL; on SQLite the value has the
        type, not the column.

    Instead:
        Convert to the one type that is meant:

            SELECT CAST(count AS TEXT) FROM visits UNION SELECT name FROM visits

    References:
        https://www.sqlite.org/datatype3.html
        https://www.postgresql.org/docs/current/typeconv-union-case.html
    """

    name = "mixed-types"
    title = "different types in one column fail on PostgreSQL"
    instead = "CAST all of them to one type"
    kinds = frozenset({"error", "outcome"})
    _VISITS = (
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, name TEXT, count INTEGER, at"
        " TIMESTAMP); INSERT INTO visits VALUES (1, 'a', 3, NULL);"
    )
    specimens = (
        Specimen(["SELECT count FROM visits UNION SELECT name FROM visits"], _VISITS),
        Specimen(["SELECT CASE WHEN id = 1 THEN name ELSE count END FROM visits"], _VISITS),
        Specimen(["UPDATE visits SET count = name"], _VISITS),
    )
    near_misses = (
        Specimen(
            ["SELECT CAST(count AS TEXT) FROM visits UNION SELECT name FROM visits ORDER BY 1"], _VISITS
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42804")
        if said(failure, "default expression|bytea"):
            return False
        return said(failure, r"cannot be matched|but expression is of type|but [\w ]+ is of type") is not None


_NUMERIC = frozenset({"integer", "decimal", "float"})


class ColumnType(Rule):
    """A column that holds text in one schema and numbers or booleans in the other.

    What differs:
        The values: '01067' stays text on one side and is 1067 on the other. Sorting and comparing: as text
        '9' comes after '100'.

    Why:
        The two schemas differ: TEXT here, INTEGER there.

    Instead:
        The same kind of type in both schemas:

            CREATE TABLE places (id INTEGER PRIMARY KEY, zip TEXT)

    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/datatype.html
    """

    name = "column-type"
    title = "the schemas give a column another kind of type"
    instead = "the same kind of type in both schemas"
    kinds = VALUE_KINDS | {"rowcount", "error", "outcome"}
    notes = frozenset({"generated-keys"})
    priority = -4
    _PLACES: Mapping[str, str] = {
        "sqlite": "CREATE TABLE places (id INTEGER PRIMARY KEY, zip TEXT);"
        " INSERT INTO places VALUES (1, '9'), (2, '100');",
        "postgres": "CREATE TABLE places (id INTEGER PRIMARY KEY, zip INTEGER);"
        " INSERT INTO places VALUES (1, '9'), (2, '100');",
    }
    specimens = (
        Specimen([("INSERT INTO places VALUES (?, ?)", (3, "01067")), "COMMIT"], _PLACES),
        Specimen(["SELECT zip FROM places ORDER BY id"], _PLACES),
        Specimen(["SELECT id FROM places ORDER BY zip"], _PLACES),
        Specimen(["SELECT id FROM places WHERE zip = (SELECT max(zip) FROM places)"], _PLACES),
    )
    near_misses = (
        Specimen(
            [
                ("INSERT INTO places VALUES (?, ?)", (3, "01067")),
                "SELECT zip FROM places ORDER BY zip",
                "COMMIT",
            ],
            "CREATE TABLE places (id INTEGER PRIMARY KEY, zip TEXT);",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "postgres", "22P02", "42804", "42883", "22003")
            return failure is not None and any(
                re.search(rf"\b{re.escape(name)}\b", evidence.text, re.I) for name in self._apart(evidence)
            )
        apart = self._apart(evidence)
        if not apart:
            return False
        if evidence.kind != "order" and explained(
            evidence, lambda pair: isinstance(pair.sqlite, str) != isinstance(pair.postgres, str)
        ):
            return evidence.kind != "state" or bool(apart & {pair.column.lower() for pair in pairs(evidence)})
        words = set(re.findall(r"\w+", bare(evidence.text).lower()))
        return evidence.kind != "state" and bool(apart & words)

    def _apart(self, evidence: Evidence) -> set[str]:
        """Return the columns of the tables at hand that hold text on one side only, in lower case."""
        table = evidence.divergence.table
        text = evidence.text
        names = {table} if table is not None else syntax.tables(text) | syntax.written_tables(text)
        catalogs = [evidence.catalogs.get(backend) for backend in BACKENDS]
        found = set()
        for name in names:
            sides = [catalog.table(name) if catalog is not None else None for catalog in catalogs]
            if sides[0] is None or sides[1] is None:
                continue
            for left in sides[0].columns:
                right = sides[1].column(left.name)
                if right is not None and self._other_kind(left.type, right.type):
                    found.add(left.name.lower())
        return found

    def _other_kind(self, sqlite: str, postgres: str) -> bool:
        if affinity(sqlite) == "text":
            return family(postgres) in _NUMERIC | {"boolean"}
        return affinity(sqlite) in ("integer", "real") and family(postgres) in ("text", "char")
