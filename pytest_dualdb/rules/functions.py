"""Rules about functions that only one of the two databases has."""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import bare, calls, missing_function, near, pairs, said, sole_error, suspects

SQLITE_ONLY: Mapping[str, str] = {
    "ifnull": "coalesce(a, b)",
    "iif": "CASE WHEN condition THEN a ELSE b END",
    "if": "CASE WHEN condition THEN a ELSE b END",
    "instr": "strpos(text, part) on PostgreSQL; text LIKE '%' || part || '%' on both",
    "group_concat": "string_agg(x, ',') on PostgreSQL (and SQLite 3.44)",
    "total": "coalesce(sum(x), 0)",
    "printf": "format the value in the application",
    "format": "format the value in the application",
    "hex": "encode(x, 'hex') on PostgreSQL; bytes.hex() in the application",
    "unhex": "decode(x, 'hex') on PostgreSQL; bytes.fromhex() in the application",
    "quote": "quote_literal(x) on PostgreSQL; a parameter instead",
    "char": "chr(n) on PostgreSQL; the character as a parameter",
    "unicode": "ascii(x) on PostgreSQL",
    "like": "a LIKE b",
    "glob": "a LIKE b",
    "log2": "log(2, x)",
    "soundex": "soundex in the application, or PostgreSQL's extension fuzzystrmatch",
    "median": "percentile_cont(0.5) WITHIN GROUP (ORDER BY x) on PostgreSQL",
    "bm25": "ts_rank(vector, query) on PostgreSQL",
    "snippet": "ts_headline(text, query) on PostgreSQL",
    "highlight": "ts_headline(text, query) on PostgreSQL",
}
"""What to write instead of a function that only SQLite has."""

POSTGRES_ONLY: Mapping[str, str] = {
    "concat": "coalesce(a, '') || coalesce(b, '') (SQLite has concat since 3.44)",
    "concat_ws": "coalesce(a, '') || ',' || coalesce(b, '') (SQLite has concat_ws since 3.44)",
    "strpos": "instr(text, part) on SQLite; text LIKE '%' || part || '%' on both",
    "left": "substr(text, 1, n)",
    "right": "substr(text, length(text) - n + 1, n)",
    "lpad": "pad in the application",
    "rpad": "pad in the application",
    "initcap": "str.title() in the application",
    "split_part": "str.split() in the application",
    "string_agg": "group_concat(x, ',') on SQLite (string_agg since 3.44)",
    "array_agg": "one row for each element, collected in the application",
    "bool_or": "max(CASE WHEN condition THEN 1 ELSE 0 END)",
    "bool_and": "min(CASE WHEN condition THEN 1 ELSE 0 END)",
    "every": "min(CASE WHEN condition THEN 1 ELSE 0 END)",
    "regexp_replace": "re.sub() in the application",
    "regexp_match": "re.search() in the application",
    "regexp_matches": "re.findall() in the application",
    "regexp_like": "re.search() in the application",
    "translate": "nested replace() calls",
    "reverse": "text[::-1] in the application",
    "repeat": "text * n in the application",
    "md5": "hashlib in the application",
    "sha256": "hashlib in the application",
    "digest": "hashlib in the application",
    "gen_random_uuid": "str(uuid.uuid4()) as a parameter",
    "uuid_generate_v4": "str(uuid.uuid4()) as a parameter",
    "char_length": "length(text)",
    "character_length": "length(text)",
    "octet_length": "length(CAST(text AS BLOB)) on SQLite (octet_length since 3.43)",
    "chr": "char(n) on SQLite; the character as a parameter",
    "ascii": "unicode(x) on SQLite",
    "btrim": "trim(text, chars)",
    "encode": "bytes.hex() or base64 in the application",
    "decode": "bytes.fromhex() or base64 in the application",
    "quote_literal": "a parameter instead",
    "quote_ident": "quote in the application",
    "to_number": "CAST(text AS NUMERIC)",
    "percentile_cont": "compute in the application",
    "mode": "compute in the application",
    "stddev": "statistics.stdev() in the application",
    "variance": "statistics.variance() in the application",
    "corr": "statistics.correlation() in the application",
    "div": "CAST(a / b AS INTEGER)",
    "cbrt": "power(x, 1.0 / 3)",
    "to_tsvector": "an FTS5 table on SQLite",
    "to_tsquery": "an FTS5 table on SQLite",
    "plainto_tsquery": "an FTS5 table on SQLite",
    "phraseto_tsquery": "an FTS5 table on SQLite",
    "websearch_to_tsquery": "an FTS5 table on SQLite",
    "similarity": "difflib in the application",
    "unaccent": "unicodedata in the application",
    "format": "format the value in the application (SQLite has format with other signs since 3.38)",
    "rollup": "one query for each level, joined by UNION ALL",
    "cube": "one query for each level, joined by UNION ALL",
    "grouping": "one query for each level, joined by UNION ALL",
}
"""What to write instead of a function that only PostgreSQL has."""
_FULL_TEXT = ("to_tsvector", "to_tsquery", "plainto_tsquery", "phraseto_tsquery", "websearch_to_tsquery")

_SEEDS = {
    "sqlite": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Ada');",
    "postgres": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1, 'Bob');",
}
_PEOPLE = (
    "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO people VALUES (1,"
    " 'Ada'), (2, 'alan');"
)


class FunctionOnSqlite(Rule):
    """A function that SQLite has and PostgreSQL has not.

    What differs:
        PostgreSQL fails (42883, function ifnull(integer, integer) does not exist). Frequent ones: ifnull,
        iif, instr, group_concat, total, printf, hex, char, quote; and every function that the application
        registered on its SQLite connection (create_function).

    Why:
        Beyond the standard's few functions each database has grown its own. PostgreSQL runs in another
        process, where functions are made by CREATE FUNCTION.

    Instead:
        Functions of both, or the work in the application:

            SELECT coalesce(name, 'none') FROM people
            SELECT CASE WHEN id > 1 THEN 'many' ELSE 'one' END FROM people
            SELECT coalesce(sum(id), 0) FROM people
            SELECT id FROM people WHERE name LIKE '%' || 'd' || '%'

    References:
        https://www.sqlite.org/lang_corefunc.html
        https://www.postgresql.org/docs/current/functions.html
    """

    name = "function-only-on-sqlite"
    title = "a function that PostgreSQL does not have"
    instead = "coalesce for ifnull, CASE for iif, string_agg for group_concat"
    kinds = frozenset({"error", "outcome"})
    priority = -3
    specimens = (
        Specimen(["SELECT ifnull(name, 'none') FROM people"], _PEOPLE),
        Specimen(["SELECT group_concat(name) FROM people"], _PEOPLE),
        Specimen(["SELECT id FROM people WHERE instr(name, 'd') > 0"], _PEOPLE),
        Specimen([("SELECT printf('%03d', ?) FROM people", (7,))], _PEOPLE),
        Specimen(["SELECT format('%05d', id) FROM people"], _PEOPLE),
        Specimen(["UPDATE people SET name = iif(id > 1, 'many', 'one')"], _PEOPLE),
        Specimen(["SELECT total(id), hex(name) FROM people"], _PEOPLE),
    )
    near_misses = (
        Specimen(
            [
                "SELECT coalesce(name, 'none'), trim(name), abs(id), replace(name, 'a', 'b') FROM"
                " people ORDER BY id"
            ],
            _PEOPLE,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42601", "22023")
        if said(failure, r"format\(\)"):  # which has other directives than SQLite's
            return True
        if failure is not None and failure.sqlstate == "42601":  # a type's name to its parser
            return (
                calls(evidence.sql("postgres"), "char")
                and syntax.verb(evidence.sql("postgres")) not in syntax.DEFINES
            )
        return missing_function(failure) is not None

    def advice(self, evidence: Evidence) -> str:
        missing = missing_function(sole_error(evidence, "postgres"))
        unknown = "compute in the application and pass a parameter, or CREATE FUNCTION on PostgreSQL"
        return SQLITE_ONLY.get(missing.name, unknown) if missing else self.instead


class FunctionOnPostgres(Rule):
    """A function that PostgreSQL has and SQLite has not.

    What differs:
        SQLite fails (no such function: left). Frequent ones: concat, left, right, lpad, initcap, split_part,
        string_agg, array_agg, bool_or, regexp_replace, md5, gen_random_uuid, generate_series, to_tsvector
        and the @@ that goes with it. Some exist in newer SQLite only (concat and string_agg since 3.44),
        some with other numbers of arguments (coalesce with one).

    Why:
        SQLite is small by intention and expects the application to register what it needs
        (sqlite3.Connection.create_function).

    Instead:
        Functions of both, or the work in the application:

            SELECT substr(name, 1, 3) FROM people
            SELECT coalesce(name, '') || ' ' || id FROM people
            SELECT max(CASE WHEN id > 1 THEN 1 ELSE 0 END) FROM people

    References:
        https://www.sqlite.org/lang_corefunc.html
        https://www.postgresql.org/docs/current/functions.html
    """

    name = "function-only-on-postgres"
    title = "a function that SQLite does not have"
    instead = "substr for left and right, || for concat, CASE with max for bool_or"
    kinds = frozenset({"error", "outcome"})
    priority = -3
    specimens = (
        Specimen(["SELECT left(name, 2) FROM people"], _PEOPLE),
        Specimen(["SELECT initcap(name), lpad(name, 5) FROM people"], _PEOPLE),
        Specimen(["SELECT array_agg(name) FROM people"], _PEOPLE),
        Specimen(["SELECT id FROM people WHERE split_part(name, 'd', 1) = 'A'"], _PEOPLE),
        Specimen(["SELECT string_agg(name, ',' ORDER BY id) FROM people"], _PEOPLE),
        Specimen(["SELECT id FROM people WHERE to_tsvector(name) @@ plainto_tsquery('ada')"], _PEOPLE),
        Specimen(["SELECT coalesce(name) FROM people"], _PEOPLE),
    )
    near_misses = (
        Specimen(["SELECT substr(name, 1, 2), upper(name), length(name) FROM people ORDER BY id"], _PEOPLE),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if missing_function(failure) is not None:
            return True
        found = said(failure, r"no such table: (\w+)$")
        if found:
            return calls(evidence.sql("sqlite"), found[1])
        if said(failure, r"wrong number of arguments to function"):
            return True
        text = bare(evidence.sql("sqlite"))
        if near(failure) == "@":  # which SQLite's parser finds before the function
            return calls(text, *_FULL_TEXT)
        if near(failure) == "(":  # LEFT and RIGHT are words of a join to its parser
            return re.search(r"\b(left|right|full)\s*\(", text, re.I) is not None
        return (
            near(failure) == "ORDER"
            and re.search(r"\b\w+_agg\s*\([^()]*(\([^()]*\)[^()]*)*\bORDER\s+BY\b", text, re.I) is not None
        )

    def advice(self, evidence: Evidence) -> str:
        failure = sole_error(evidence, "sqlite")
        missing = missing_function(failure)
        if near(failure) == "(":
            return "substr(text, 1, n)"
        if near(failure) == "@":
            return POSTGRES_ONLY["to_tsvector"]
        if missing is not None:
            return POSTGRES_ONLY.get(
                missing.name, "do it in the application, or register it on the SQLite connection"
            )
        found = said(failure, r"no such table: (\w+)$")
        return POSTGRES_ONLY.get(found[1].lower(), self.instead) if found else self.instead


class RandomRange(Rule):
    """random() as a number, or ORDER BY random().

    What differs:
        SQLite's random() is a 64-bit integer of either sign, PostgreSQL's a fraction from 0 to 1.
        `abs(random()) % 10` and `random() < 0.5` mean something on one side only; ORDER BY random() differs
        by intention.

    Why:
        Neither is in the standard.

    Instead:
        Random numbers from the application:

            SELECT id FROM people ORDER BY id LIMIT 1 OFFSET ?

    References:
        https://www.sqlite.org/lang_corefunc.html#random
        https://www.postgresql.org/docs/current/functions-math.html#FUNCTIONS-MATH-RANDOM-TABLE
    """

    name = "random-function"
    title = "random() is an integer on SQLite, a fraction on PostgreSQL"
    instead = "random numbers from the application, as parameters"
    kinds = frozenset({"rows", "order", "state", "type", "error", "outcome"})
    priority = 5
    specimens = (
        Specimen(["SELECT random() AS r"]),
        Specimen(["SELECT id FROM people WHERE random() BETWEEN 0 AND 1"], _PEOPLE),
        Specimen(["UPDATE people SET name = CAST(abs(random()) AS TEXT)", "COMMIT"], _PEOPLE),
    )
    near_misses = (Specimen(["SELECT id FROM people ORDER BY id LIMIT 1 OFFSET 1"], _PEOPLE),)

    def matches(self, evidence: Evidence) -> bool:
        for backend in BACKENDS:
            for statement in suspects(evidence, backend):
                if calls(statement.sql, "random"):
                    if evidence.kind in ("error", "outcome"):
                        return said(evidence.error("postgres"), r"double precision %|random") is not None
                    return True
        return False


class AggregatedOrder(Rule):
    """group_concat, string_agg or another aggregate whose result depends on the order of its rows.

    What differs:
        The parts of the text come in another order.

    Why:
        Rows reach an aggregate in the order in which they happen to be read, which the two databases choose
        for themselves; an ORDER BY of the query applies to its result, not to the aggregate's input.

    Instead:
        Read ordered rows and join them in the application, or branch:

            SELECT name FROM people ORDER BY name

    References:
        https://www.sqlite.org/lang_aggfunc.html#group_concat
        https://www.postgresql.org/docs/current/sql-expressions.html#SYNTAX-AGGREGATES
    """

    name = "aggregated-order"
    title = "string_agg and group_concat join in no fixed order"
    instead = "string_agg(x, ',' ORDER BY x) in a branch, or join in the application"
    kinds = frozenset({"rows", "state"})
    specimens = (
        Specimen(
            [
                "UPDATE people SET name = 'Adele' WHERE id = 1",
                {"sqlite": "SELECT group_concat(name, ',') AS names FROM people",
                 "postgres": "SELECT string_agg(name, ',') AS names FROM people"},
            ],
            _PEOPLE,
        ),
    )  # fmt: skip
    near_misses = (Specimen(["SELECT name FROM people ORDER BY name"], _PEOPLE),)

    def matches(self, evidence: Evidence) -> bool:
        texts = [s.sql for b in BACKENDS for s in suspects(evidence, b)]
        if not any(calls(text, "group_concat", r"\w+_agg", "json_group_array") for text in texts):
            return False
        return any(
            isinstance(p.sqlite, str) and isinstance(p.postgres, str) and p.sqlite != p.postgres
            and sorted(re.split(r"\W+", p.sqlite)) == sorted(re.split(r"\W+", p.postgres))
            for p in pairs(evidence)
        ) or any(
            isinstance(p.postgres, list)
            and sorted(map(str, p.postgres)) == sorted(re.findall(r"[^\[\]\",\s]+", str(p.sqlite)))
            for p in pairs(evidence)
        )  # fmt: skip


class DialectBranch(Rule):
    """A branch of the application that asks each database another question.

    What differs:
        The statement at this line has one text for SQLite and another for PostgreSQL, and their results part.

    Why:
        Branches by dialect are written by hand, and two texts that look alike (LIKE and ILIKE, GLOB and ~,
        group_concat and string_agg) treat case, NULL, order or types in their own ways.

    Instead:
        One statement for both where there is one:

            SELECT id FROM people WHERE lower(name) LIKE lower('a%')

        Where there is none, compare the two texts part by part with the data of this test.

    References:
        https://www.sqlite.org/lang.html
        https://www.postgresql.org/docs/current/sql.html
    """

    name = "dialect-branch"
    title = "the branch's two statements do not ask the same"
    instead = "one statement for both, or two that mean the same"
    kinds = frozenset({"rows", "order", "rowcount", "columns"})
    priority = -50
    specimens = (
        Specimen(
            [
                {
                    "sqlite": "SELECT name FROM people WHERE name GLOB 'A*'",
                    "postgres": "SELECT name FROM people WHERE name ILIKE 'A%'",
                }
            ],
            _PEOPLE,
        ),
        Specimen(
            [
                {
                    "sqlite": "SELECT * FROM people ORDER BY id",
                    "postgres": "SELECT name FROM people ORDER BY id",
                }
            ],
            _PEOPLE,
        ),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "SELECT name FROM people WHERE name GLOB 'A*'",
                    "postgres": "SELECT name FROM people WHERE name LIKE 'A%'",
                }
            ],
            _PEOPLE,
        ),
        Specimen(
            [{"sqlite": "SELECT name FROM people", "postgres": "select name  from people"}],
            _SEEDS,
            also=("seed-rows",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if any(s.error is not None for backend in BACKENDS for s in evidence.before(backend)):
            return False  # what failed on one side only can have changed the data
        left, right = (self._plain(evidence.sql(backend)) for backend in BACKENDS)
        return bool(left and right) and left != right

    def _plain(self, sql: str) -> str:
        """Return the text without what a library writes for one dialect: quotes, casts, placeholders, OFFSET 0.

        Literals, letter case and white space are gone as well.
        """
        text = re.sub(r"::\s*[\w.]+(\s+varying)?(\(\d+\))?(\[\])*", "", bare(sql))
        text = syntax.PLACEHOLDER.sub("?", text.replace('"', ""))
        text = re.sub(r"\b[a-z_]\w*\.(?=[a-z_*])", "", text, flags=re.I)
        return re.sub(r"\blimit \? offset \?", "limit ?", " ".join(text.lower().split()))
