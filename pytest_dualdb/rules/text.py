"""Rules about text: collation, letter case, padding, length, and parts of a text."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Statement
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    Pair,
    Query,
    Unreadable,
    bare,
    calls,
    evaluate,
    explained,
    families,
    missing_operator,
    near,
    pairs,
    queries,
    said,
    sole_error,
    stored_rows,
    suspects,
)

RESULT_KINDS = frozenset({"rows", "order", "rowcount", "state"})

_PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);"
_NAMES = _PEOPLE + " INSERT INTO people VALUES (1, 'Ada'), (2, 'alan'), (3, 'Grace');"


# ------------------------------------------------------------------------------------- collation and case


def _sort_terms(evidence: Evidence, inner: bool = False) -> list[Any]:
    """Return what a statement sorts by; with ``inner`` only in windows, aggregates and subqueries."""
    from sqlglot import expressions as exp

    return [
        term.this if isinstance(term, exp.Ordered) else term
        for order in evidence.find(exp.Order)
        if not inner or (order.parent is not None and order.parent.parent is not None)
        for term in order.expressions
    ]


def _byte_order(values: list[str]) -> bool:
    """Return whether the texts rise, or fall, by their bytes."""
    steps = list(itertools.pairwise(values))
    return all(a <= b for a, b in steps) or all(a >= b for a, b in steps)


class CollationOrder(Rule):
    """ORDER BY text whose letters differ in case, accent or punctuation.

    What differs:
        SQLite sorts text by its bytes (all capitals before all small letters) unless the column or the term
        names NOCASE; PostgreSQL sorts by the collation of the database or the column. The same rows come in
        another order; with LIMIT other rows come. Comparisons by < and >, min and max part the same way.

    Why:
        SQLite's default collation is BINARY. PostgreSQL's default comes from the locale that the database
        was created with, and language locales ignore case and punctuation at first.

    Instead:
        Sort by something that both sort alike, with the exact text as the last word:

            SELECT name FROM people ORDER BY lower(name), name

        or create the database, or the column, with the "C" collation where byte order is wanted.

    References:
        https://www.sqlite.org/datatype3.html#collating_sequences
        https://www.postgresql.org/docs/current/collation.html
    """

    name = "collation-order"
    title = "text sorts by bytes on one side and by collation on the other"
    instead = 'ORDER BY lower(name), name; or a column COLLATE "C" on PostgreSQL'
    kinds = frozenset({"order", "rows"})
    _SCHEMA: Mapping[str, str] = {
        "sqlite": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE);"
        " INSERT INTO people VALUES (1, 'Grace'), (2, 'alan'), (3, 'Bo');",
        "postgres": 'CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE "C");'
        " INSERT INTO people VALUES (1, 'Grace'), (2, 'alan'), (3, 'Bo');",
    }
    specimens = (
        Specimen(["SELECT name FROM people ORDER BY name"], _SCHEMA),
        Specimen(["SELECT id, name FROM people ORDER BY name DESC LIMIT 1"], _SCHEMA),
        Specimen(["SELECT min(name) FROM people"], _SCHEMA),
        Specimen(["SELECT id FROM people WHERE name > 'b' ORDER BY id"], _SCHEMA),
    )
    near_misses = (
        Specimen(["SELECT name FROM people ORDER BY lower(name), id"], _SCHEMA),
        Specimen(["SELECT name FROM people ORDER BY id"], _SCHEMA),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.divergence.difference is None or evidence.postgres is None:
            return False
        return self._sorts(evidence) or self._compares(evidence)

    def _sorts(self, evidence: Evidence) -> bool:
        """Return whether a text sort key of the two results is in byte order on one side only."""
        sqlite, postgres = evidence.sqlite, evidence.postgres
        shape = syntax.shape(evidence.text, "postgres", (postgres.columns if postgres else None) or ())
        if sqlite is None or postgres is None or not shape.ordered:
            return False
        for key in shape.keys:
            if key.column is None or evidence.kind == "rows":
                continue
            sides = [
                [row[key.column] for row in s.values if row[key.column] is not None]
                for s in (sqlite, postgres)
            ]
            if not all(isinstance(value, str) for side in sides for value in side):
                return False
            if sides[0] != sides[1]:
                column = postgres.columns[key.column].lower() if postgres.columns else ""
                stored = [
                    row[column]
                    for row in stored_rows(evidence, evidence.text)
                    if isinstance(row.get(column), str)
                ]
                return _byte_order(sides[0]) != _byte_order(sides[1]) or self._case(
                    [*sides[0], *sides[1], *stored]
                )
        return self._hidden_key(evidence, shape)

    def _hidden_key(self, evidence: Evidence, shape: syntax.Shape) -> bool:
        """Return whether the statement sorts by a column that it does not show, with texts of mixed case."""
        from sqlglot import expressions as exp

        shown = {index for key in shape.keys if (index := key.column) is not None}
        if shown and evidence.kind == "order" and not shape.limited:
            return False
        whole = evidence.kind == "rows" and not shape.limited and not self._begun(evidence)
        for term in _sort_terms(evidence, inner=whole):
            column = term.this if isinstance(term, exp.Collate) else term
            if not isinstance(column, exp.Column):
                continue
            texts = self._texts(evidence, [column.name.lower()])
            if len(texts) > 1 and self._case(texts):
                return True
        return False

    def _begun(self, evidence: Evidence) -> bool:
        """Return whether the application took the first rows of a result only."""
        halves = evidence.sqlite, evidence.postgres
        return any(s is not None and s.fetched in ("one", "some") for s in halves)

    def _compares(self, evidence: Evidence) -> bool:
        """Return whether texts are compared by size, or by min and max, that the two sortings part."""
        from sqlglot import expressions as exp

        if evidence.kind != "rows":
            return False
        for query in queries(evidence.sqlite, "sqlite"):
            for node in query.tree.find_all(exp.LT, exp.GT, exp.LTE, exp.GTE, exp.Between, exp.Min, exp.Max):
                stored = self._texts(evidence, [column.name.lower() for column in node.find_all(exp.Column)])
                if isinstance(node, exp.Min | exp.Max):
                    if stored and any(end(stored) != end(stored, key=_by_language) for end in (min, max)):
                        return True
                    continue
                asked = [
                    p for part in node.find_all(exp.Literal, exp.Placeholder) if (p := _text(part, query))
                ]
                if any((a < b) != (_by_language(a) < _by_language(b)) for a in stored for b in asked):
                    return True
        return False

    def _texts(self, evidence: Evidence, names: list[str]) -> list[str]:
        values = (row.get(name) for row in stored_rows(evidence, evidence.text) for name in names)
        return sorted({value for value in values if isinstance(value, str)})

    def _case(self, texts: list[str]) -> bool:
        """Return whether sorting these by bytes and by language differs."""
        return sorted(texts) != sorted(texts, key=_by_language)


def _by_language(text: str) -> tuple[str, str]:
    """Return a key that sorts roughly as language collations do: letters first, case and signs last."""
    return re.sub(r"\W", "", text).lower(), text


def _text(node: Any, query: Query) -> str | None:
    """Return the text that a literal or a placeholder stands for."""
    try:
        value = evaluate(node, {}, query.first)
    except Unreadable:
        return None
    return value if isinstance(value, str) else None


class CollateNocase(Rule):
    """COLLATE NOCASE (or RTRIM, BINARY) in a statement or in a column's declaration.

    What differs:
        PostgreSQL has no collation of that name and fails (42704). Where the column is declared NOCASE on
        SQLite alone, `=`, IN, UNIQUE, DISTINCT and GROUP BY ignore case there and nowhere else.

    Why:
        NOCASE, RTRIM and BINARY are collations that only SQLite has; PostgreSQL's come from ICU or the
        operating system, and ignoring case needs a nondeterministic collation or the citext extension.

    Instead:
        Compare and index the folded text, on both:

            SELECT id FROM people WHERE lower(name) = lower('ADA')
            CREATE UNIQUE INDEX people_name ON people (lower(name))

    References:
        https://www.sqlite.org/datatype3.html#collating_sequences
        https://www.postgresql.org/docs/current/collation.html#COLLATION-NONDETERMINISTIC
    """

    name = "collate-nocase"
    title = "COLLATE NOCASE exists on SQLite only"
    instead = "lower(column) = lower(?), and a unique index on lower(column)"
    kinds = frozenset({"error", "outcome", "rows", "rowcount", "state"})
    priority = 1
    _SCHEMA: Mapping[str, str] = {
        "sqlite": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT COLLATE NOCASE UNIQUE);"
        " INSERT INTO people VALUES (1, 'Ada'), (2, 'alan');",
        "postgres": "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT UNIQUE);"
        " INSERT INTO people VALUES (1, 'Ada'), (2, 'alan');",
    }
    specimens = (
        Specimen(["SELECT name FROM people ORDER BY name COLLATE NOCASE"], _NAMES),
        Specimen(["CREATE TABLE tags (name TEXT COLLATE NOCASE)"]),
        Specimen([("SELECT id FROM people WHERE name = ?", ("ADA",))], _SCHEMA),
        Specimen([("INSERT INTO people VALUES (3, ?)", ("ADA",)), "COMMIT"], _SCHEMA),
    )
    near_misses = (
        Specimen([("SELECT id FROM people WHERE lower(name) = lower(?)", ("ADA",))], _SCHEMA),
        Specimen([("SELECT id FROM people WHERE name = ?", ("Ada",))], _SCHEMA),
    )

    def matches(self, evidence: Evidence) -> bool:
        if said(
            sole_error(evidence, "postgres", "42704"), r'collation "\w+" (for encoding .* )?does not exist'
        ):
            return True
        folded = self._folded_columns(evidence)
        if not folded:
            return False
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "sqlite")
            found = said(failure, r"UNIQUE constraint failed: (.*)")
            return found is not None and any(f".{name}" in found[1].lower() for name in folded)
        values = [
            value
            for row in stored_rows(evidence, self._text(evidence))
            for n, value in row.items()
            if n in folded
        ]
        words = set(re.findall(r"'([^']+)'", self._text(evidence)))
        for statement in suspects(evidence, "sqlite"):
            for query in queries(statement, "sqlite"):
                words |= {v for params in query.sets for v in params.values() if isinstance(v, str)}
        texts = {value for value in values if isinstance(value, str)}
        asked = any(word.lower() == text.lower() and word != text for word in words for text in texts)
        return asked or len({text.lower() for text in texts}) < len(texts)

    def _text(self, evidence: Evidence) -> str:
        return evidence.sql("sqlite") or evidence.text

    def _folded_columns(self, evidence: Evidence) -> set[str]:
        """Return the columns of the statement's tables that SQLite compares without case."""
        from sqlglot import expressions as exp

        found = set()
        tables = sorted(syntax.tables(self._text(evidence)) | ({evidence.divergence.table or ""} - {""}))
        catalog = evidence.catalogs.get("sqlite")
        for name in tables:
            table = None if catalog is None else catalog.table(name)
            for column in () if table is None else table.columns:
                declared = rf"[(,\s\"]{re.escape(column.name)}\"?\s[^,]*\bCOLLATE\s+\"?NOCASE\b"
                text = "" if table is None else table.sql
                if (column.collation or "").upper() == "NOCASE" or re.search(declared, text, re.I):
                    found.add(column.name.lower())
        for node in evidence.find(exp.Collate):
            found |= {column.name.lower() for column in node.find_all(exp.Column)}
        if not re.search(
            r"\b(WHERE|DISTINCT|GROUP|IN|INSERT|JOIN|UPDATE|UNION)\b", self._text(evidence), re.I
        ):
            return set()
        return found


class CaseBeyondAscii(Rule):
    """lower() or upper() of text with letters beyond A to Z.

    What differs:
        SQLite changes the case of the 26 ASCII letters only: upper('é') is 'é'. PostgreSQL follows the
        collation and gives 'É'. Stored folded text, and searches that fold, part; so does ILIKE.

    Why:
        SQLite is built without Unicode tables unless the ICU extension is loaded; PostgreSQL uses those of
        the locale provider (with the "C" locale of libc it folds ASCII only, too).

    Instead:
        Fold in the application, before storing and before searching, into a column of its own:

            SELECT name FROM people WHERE name_folded = ?

        with `name.casefold()` as the value on both sides.

    References:
        https://www.sqlite.org/lang_corefunc.html#lower
        https://www.postgresql.org/docs/current/functions-string.html
    """

    name = "case-beyond-ascii"
    title = "lower() and upper() know only A to Z on SQLite"
    instead = "fold in the application (str.casefold) and store the folded text"
    kinds = frozenset({"rows", "order", "state", "rowcount"})
    priority = 2
    _SCHEMA = _PEOPLE + " INSERT INTO people VALUES (1, 'Émile'), (2, 'Zoë');"
    specimens = (
        Specimen(["SELECT upper(name) FROM people ORDER BY id"], _SCHEMA),
        Specimen([("SELECT id FROM people WHERE lower(name) = ?", ("émile",))], _SCHEMA),
        Specimen(["UPDATE people SET name = upper(name)", "COMMIT"], _SCHEMA),
    )
    near_misses = (Specimen(["SELECT upper(name) FROM people WHERE id = 3"], _SCHEMA),)

    def matches(self, evidence: Evidence) -> bool:
        texts = [statement.sql for backend in BACKENDS for statement in suspects(evidence, backend)]
        if not any(calls(text, "lower", "upper", "initcap") or "ILIKE" in text.upper() for text in texts):
            return False
        if any(isinstance(p.sqlite, str) and isinstance(p.postgres, str) for p in pairs(evidence)):
            return explained(evidence, self._folded)
        wanted = [
            v
            for b in BACKENDS
            for s in suspects(evidence, b)
            for q in queries(s, b)
            for p in q.sets
            for v in p.values()
        ]
        wanted += [literal for text in texts for literal in re.findall(r"'([^']*)'", text)]
        stored = (v for text in texts[:1] for row in stored_rows(evidence, text) for v in row.values())
        known = [v for v in (*wanted, *stored) if isinstance(v, str) and _beyond(v)]
        return bool(known)

    def _folded(self, pair: Pair) -> bool:
        if not isinstance(pair.sqlite, str) or not isinstance(pair.postgres, str):
            return False
        return pair.sqlite.lower() == pair.postgres.lower() and not (pair.sqlite + pair.postgres).isascii()


def _beyond(text: str) -> bool:
    """Return whether the text has a letter beyond ASCII that has two cases."""
    return any(ord(char) > 127 and char.lower() != char.upper() for char in text)


# ------------------------------------------------------------------------------------------ blanks and length


class CharPadding(Rule):
    """A CHAR(n) column that is compared, measured or read as if it kept its text.

    What differs:
        PostgreSQL fills CHAR(n) with blanks up to n and shows them; SQLite stores the text as it is. What is
        read back differs by trailing blanks, and concatenation differs with it.

    Why:
        SQLite gives CHAR(20) the affinity TEXT and ignores the length. PostgreSQL's character(n) is
        blank-padded; the blanks do not count in comparisons and are removed when it becomes text.

    Instead:
        Declare VARCHAR(n) or TEXT on both:

            CREATE TABLE countries (code VARCHAR(3) PRIMARY KEY)

    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/datatype-character.html
    """

    name = "char-padding"
    title = "CHAR(n) is filled with blanks on PostgreSQL only"
    instead = "VARCHAR(n) or TEXT"
    kinds = frozenset({"rows", "state", "order"})
    priority = 2
    _CODES = "CREATE TABLE codes (id INTEGER PRIMARY KEY, code CHAR(5)); INSERT INTO codes VALUES (1, 'ab');"
    specimens = (
        Specimen(["SELECT code FROM codes"], _CODES),
        Specimen([("INSERT INTO codes VALUES (?, ?)", (2, "xyz")), "COMMIT"], _CODES),
        Specimen(["SELECT id FROM codes WHERE code = 'ab  '"], _CODES),
        Specimen(["SELECT id FROM codes WHERE code LIKE 'ab'"], _CODES),
    )
    near_misses = (
        Specimen(["SELECT code FROM codes"], _CODES.replace("CHAR(5)", "VARCHAR(5)")),
        Specimen(["SELECT id FROM codes WHERE code = 'abcde'"], _CODES.replace("'ab'", "'abcde'")),
    )

    def matches(self, evidence: Evidence) -> bool:
        if explained(evidence, lambda p: self._padded(evidence, p)):
            return True
        if pairs(evidence):
            return False
        from sqlglot import expressions as exp

        tables = sorted(syntax.tables(evidence.text))
        for node in evidence.find(exp.EQ, exp.NEQ, exp.Like, exp.In, exp.Length):
            for column in node.find_all(exp.Column):
                found = evidence.column(column.name, "postgres", tables)
                if found is not None and re.match(r"(CHARACTER|CHAR|BPCHAR)(?! ?VARYING)\b", found.type):
                    return True
        return False

    def _padded(self, evidence: Evidence, pair: Pair) -> bool:
        if not isinstance(pair.sqlite, str) or not isinstance(pair.postgres, str):
            return False
        return pair.sqlite.rstrip(" ") == pair.postgres.rstrip(" ") and "char" in families(
            evidence, pair.column
        )


class DeclaredLength(Rule):
    """Text that is longer than its column is declared.

    What differs:
        PostgreSQL refuses it (22001, value too long for type character varying(10)); SQLite stores it whole.

    Why:
        SQLite reads the declared type for its affinity and ignores the number in brackets. PostgreSQL
        enforces it and shortens nothing except trailing blanks.

    Instead:
        Let both check, and check in the application first:

            CREATE TABLE tags (name VARCHAR(10) CHECK (length(name) <= 10))

        or declare TEXT where the length does not matter.

    References:
        https://www.sqlite.org/datatype3.html#determination_of_column_affinity
        https://www.postgresql.org/docs/current/datatype-character.html
    """

    name = "declared-length"
    title = "VARCHAR(n) limits the length on PostgreSQL only"
    instead = "a longer column or TEXT, and CHECK (length(name) <= n) on both"
    kinds = frozenset({"error", "outcome"})
    _TAGS = "CREATE TABLE tags (id INTEGER PRIMARY KEY, name VARCHAR(5));"
    specimens = (Specimen([("INSERT INTO tags (id, name) VALUES (?, ?)", (1, "overlong"))], _TAGS),)
    near_misses = (Specimen([("INSERT INTO tags (id, name) VALUES (?, ?)", (1, "short")), "COMMIT"], _TAGS),)

    def matches(self, evidence: Evidence) -> bool:
        return said(sole_error(evidence, "postgres", "22001"), "value too long") is not None


class NulCharacter(Rule):
    r"""A NUL character (\0) in text.

    What differs:
        SQLite stores it (and many of its functions stop reading at it); psycopg2 refuses the parameter with
        a ValueError, and PostgreSQL refuses it in JSON and in every other way (22021, 22P05).

    Why:
        PostgreSQL's text types cannot hold the character with code 0; SQLite's text has a length.

    Instead:
        Remove it before storing, or store bytes (BLOB on SQLite, BYTEA on PostgreSQL):

            INSERT INTO notes (id, body) VALUES (2, ?)

        with `body.replace("\0", "")` as the value.

    References:
        https://www.sqlite.org/nulinstr.html
        https://www.postgresql.org/docs/current/datatype-character.html
    """

    name = "nul-character"
    title = "text with a NUL character is refused by PostgreSQL"
    instead = 'text.replace("\\0", "") before storing, or a bytes column'
    kinds = frozenset({"error", "outcome"})
    _NOTES = "CREATE TABLE notes (id INTEGER PRIMARY KEY, body TEXT);"
    specimens = (Specimen([("INSERT INTO notes VALUES (?, ?)", (1, "a\0b"))], _NOTES),)
    near_misses = (Specimen([("INSERT INTO notes VALUES (?, ?)", (1, "ab\x01")), "COMMIT"], _NOTES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres")
        if said(failure, r"NUL \(0x00\)|invalid byte sequence .*0x00|null character not permitted"):
            return True
        return failure is not None and failure.sqlstate == "22P05"


# --------------------------------------------------------------------------------- parts and concatenation


class SubstrStart(Rule):
    """substr() with a start below 1 or a negative length.

    What differs:
        SQLite counts a negative start from the end (substr('abc', -2) is 'bc') and reads a negative length
        as the characters before; PostgreSQL counts positions below 1 in front of the text, so that the same
        call gives 'abc', and refuses a negative length (22011).

    Why:
        The standard defines positions below 1 as empty places; SQLite's counting from the end is its own.

    Instead:
        Compute the start from the length:

            SELECT substr(code, length(code) - 1, 2) FROM parts

    References:
        https://www.sqlite.org/lang_corefunc.html#substr
        https://www.postgresql.org/docs/current/functions-string.html
    """

    name = "substr-start"
    title = "substr() with a start below 1 or a negative length"
    instead = "substr(text, length(text) - n + 1, n) for the last n characters"
    kinds = frozenset({"rows", "state", "error", "outcome", "order", "rowcount"})
    _PARTS = "CREATE TABLE parts (id INTEGER PRIMARY KEY, code TEXT); INSERT INTO parts VALUES (1, 'abc');"
    specimens = (
        Specimen(["SELECT substr(code, -2) FROM parts"], _PARTS),
        Specimen([("SELECT id FROM parts WHERE substr(code, ?, 1) = 'c'", (-1,))], _PARTS),
        Specimen(["SELECT substr(code, 2, -1) FROM parts"], _PARTS),
        Specimen(["UPDATE parts SET code = substring(code, -2, 2)", "COMMIT"], _PARTS),
    )
    near_misses = (
        Specimen(["SELECT substr(code, length(code) - 1, 2), substr(code, 0, 2) FROM parts"], _PARTS),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind in ("error", "outcome"):
            return sole_error(evidence, "postgres", "22011") is not None
        from sqlglot import expressions as exp

        for statement in suspects(evidence, "sqlite"):
            for query in queries(statement, "sqlite"):
                for node in query.tree.find_all(exp.Substring):
                    if any(
                        self._below(node.args.get(part), query, limit)
                        for part, limit in (("start", 1), ("length", 0))
                    ):
                        return True
        return False

    def _below(self, node: Any, query: Query, limit: int) -> bool:
        from sqlglot import expressions as exp

        if node is None:
            return False
        if isinstance(node, exp.Neg):
            return True
        try:
            value = evaluate(node, {}, query.first)
        except Unreadable:
            return False
        return isinstance(value, int) and value < limit


class ConcatNumbers(Rule):
    """|| between two values of which none is text.

    What differs:
        SQLite turns both into text; PostgreSQL has no || for two numbers, dates or booleans and fails
        (42883, operator does not exist: integer || integer).

    Why:
        SQLite's || is always text. PostgreSQL looks for an operator for the operands' types, and needs one
        of them to be text (for arrays and jsonb it means another thing).

    Instead:
        Say that it is text:

            SELECT CAST(year AS TEXT) || '-' || CAST(month AS TEXT) FROM periods

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-string.html
    """

    name = "concat-numbers"
    title = "|| of values that are not text fails on PostgreSQL"
    instead = "CAST(a AS TEXT) || CAST(b AS TEXT)"
    kinds = frozenset({"error", "outcome"})
    _PERIODS = (
        "CREATE TABLE periods (id INTEGER PRIMARY KEY, month INTEGER); INSERT INTO periods VALUES (1, 5);"
    )
    specimens = (
        Specimen(["SELECT id || month FROM periods"], _PERIODS),
        Specimen([("SELECT id || ? FROM periods", (7,))], _PERIODS),
    )
    near_misses = (Specimen(["SELECT id || '-' || month FROM periods"], _PERIODS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883", "42725"))
        return missing is not None and missing.symbol == "||"


class ConcatNull(Rule):
    """concat() on one side and || on the other, with a NULL among the parts.

    What differs:
        `a || b` is NULL when one part is NULL, on both databases; concat(a, b) leaves NULLs out. A branch
        that uses one on each side returns NULL here and text there.

    Why:
        || follows the rule that NULL makes everything NULL; concat() and concat_ws() were made to ignore it.

    Instead:
        || with coalesce, on both:

            SELECT coalesce(first, '') || ' ' || coalesce(last, '') FROM people

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-string.html
    """

    name = "concat-null"
    title = "concat() ignores NULL, || does not"
    instead = "coalesce(a, '') || coalesce(b, '') on both"
    kinds = frozenset({"rows", "state", "order"})
    _FULL = (
        "CREATE TABLE full_names (id INTEGER, first TEXT, last TEXT); INSERT INTO full_names"
        " VALUES (1, 'Ada', NULL);"
    )
    specimens = (
        Specimen(
            [
                {
                    "sqlite": "SELECT first || last AS n FROM full_names",
                    "postgres": "SELECT concat(first, last) AS n FROM full_names",
                }
            ],
            _FULL,
        ),
    )
    near_misses = (
        Specimen(["SELECT coalesce(first, '') || coalesce(last, '') AS n FROM full_names"], _FULL),
    )

    def matches(self, evidence: Evidence) -> bool:
        sides = [
            any(calls(s.sql, "concat", "concat_ws", "format") for s in suspects(evidence, b))
            for b in BACKENDS
        ]
        if sides[0] == sides[1]:
            return False
        plain = BACKENDS[sides.index(False)]
        if not any("||" in statement.sql for statement in suspects(evidence, plain)):
            return False
        return any((p.sqlite is None) != (p.postgres is None) for p in pairs(evidence))


class NumberAsText(Rule):
    """A number, boolean or time that becomes text inside SQL.

    What differs:
        CAST(x AS TEXT), || and storing in a text column write values in each database's own way: 1.0 on
        SQLite is 1 on PostgreSQL (double precision), true is '1' here and 'true' there, a timestamp may
        show a fraction or a zone.

    Why:
        SQLite has no boolean and no decimal type and always writes a real number with a fraction.

    Instead:
        Read the value itself and write it as text in the application; for booleans:

            SELECT CASE WHEN active THEN 'yes' ELSE 'no' END FROM accounts

    References:
        https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes
        https://www.postgresql.org/docs/current/functions-formatting.html
    """

    name = "number-as-text"
    title = "numbers and booleans are written as text differently"
    instead = "return the value and format it in the application"
    kinds = frozenset({"rows", "state", "order"})
    _SCHEMA = (
        "CREATE TABLE rates (id INTEGER PRIMARY KEY, rate DOUBLE PRECISION, active BOOLEAN);"
        " INSERT INTO rates VALUES (1, 2.0, TRUE);"
    )
    specimens = (
        Specimen(["SELECT 'x' || rate FROM rates"], _SCHEMA),
        Specimen(["SELECT CAST(active AS TEXT) FROM rates"], _SCHEMA),
        Specimen(["SELECT 'is' || active FROM rates"], _SCHEMA),
        Specimen([("INSERT INTO people VALUES (?, ?)", (1, True)), "COMMIT"], _PEOPLE),
        Specimen([("INSERT INTO people VALUES (?, ?)", (1, True)), "SELECT name FROM people"], _PEOPLE),
        Specimen([("INSERT INTO people VALUES (?, ?)", (1, 1e20)), "SELECT name FROM people"], _PEOPLE),
    )
    near_misses = (
        Specimen(["SELECT 'x' || id, CAST(id AS TEXT) FROM rates"], _SCHEMA),
        Specimen([("INSERT INTO people VALUES (?, ?)", (1, 2.5)), "SELECT name FROM people"], _PEOPLE),
    )

    def matches(self, evidence: Evidence) -> bool:
        statements = [s for b in BACKENDS for s in (*suspects(evidence, b), *_writers(evidence, b))]
        texts = [s.sql for s in statements]
        numbers = any(isinstance(value, bool | float) for s in statements for value in params_of(s))
        if not numbers and not any(
            re.search(r"\|\||::\s*(text|varchar)|\bCAST\s*\(.*\bAS\s+(TEXT|VARCHAR)", t, re.I | re.S)
            for t in texts
        ):
            return False
        return explained(evidence, lambda p: _same_reading(p.sqlite, p.postgres))


def _writers(evidence: Evidence, backend: Backend) -> list[Statement]:
    """Return the earlier statements of the half that wrote what this one reads."""
    read = syntax.tables(evidence.sql(backend))
    return [s for s in evidence.before(backend) if read & syntax.written_tables(s.sql)]


_NUMBER = re.compile(r"-?\d+(?:\.\d+)?(?:e[+-]?\d+)?", re.I)


def _same_reading(left: Any, right: Any) -> bool:
    """Return whether two texts are the same apart from how a number or a boolean in them is written."""
    if not isinstance(left, str) or not isinstance(right, str):
        return False

    def normal(text: str) -> str:
        words = text.lower().replace("true", "1").replace("false", "0")
        return _NUMBER.sub(lambda m: f"{float(m[0]):.12g}", words)

    return left != right and normal(left) == normal(right)


class StandardTextSyntax(Rule):
    """substring(x FROM n), position(a IN b), trim(BOTH ...), overlay(), E'...' or $$...$$ sent to SQLite.

    What differs:
        SQLite knows these only as plain functions with commas, or not at all, and fails with a syntax error
        (or takes IN for a table: no such table; or E for a column: no such column; $name$ for a parameter).

    Why:
        The standard gives these functions keywords of their own, which SQLite's parser leaves out. E'' and $$ are
        PostgreSQL's own quotes.

    Instead:
        The forms with commas, which both know:

            SELECT substr(name, 1, 3), trim(name, 'x'), replace(name, 'a', 'b') FROM people

    References:
        https://www.sqlite.org/lang_corefunc.html
        https://www.postgresql.org/docs/current/functions-string.html
    """

    name = "standard-text-syntax"
    title = "substring(FROM), position(IN), trim(BOTH), E'' fail on SQLite"
    instead = "substr(text, start, length), trim(text, chars), the character itself"
    kinds = frozenset({"error", "outcome"})
    specimens = (
        Specimen(["SELECT substring(name FROM 1 FOR 2) FROM people"], _NAMES),
        Specimen(["SELECT position('a' IN name) FROM people"], _NAMES),
        Specimen(["SELECT trim(BOTH 'A' FROM name) FROM people"], _NAMES),
        Specimen([r"SELECT id FROM people WHERE name <> E'\n'"], _NAMES),
        Specimen(["SELECT id FROM people WHERE name = $$Ada$$"], _NAMES),
    )
    near_misses = (Specimen(["SELECT substr(name, 1, 2), trim(name, 'A') FROM people ORDER BY id"], _NAMES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if failure is None:
            return False
        text = bare(evidence.sql("sqlite"))
        if said(failure, r"no such column: E$|near \"''?\"?") and re.search(r"\bE''", text):
            return True
        if said(failure, r"bindings? |unrecognized token: \"\$") and re.search(
            r"\$(\w*)\$.*\$\1\$", text, re.S
        ):
            return True
        if said(failure, "no such table") and re.search(r"\bposition\s*\([^()]*\bIN\b", text, re.I):
            return True
        if near(failure) is None:
            return False
        keyword = r"\b(substring|overlay)\s*\([^()]*(\([^()]*\)[^()]*)*\b(FROM|PLACING|FOR|SIMILAR)\b"
        if re.search(keyword, text, re.I) or re.search(r"\bposition\s*\([^()]*\bIN\b", text, re.I):
            return True
        return (
            re.search(r"\btrim\s*\(\s*(BOTH|LEADING|TRAILING)\b|\btrim\s*\([^()]*\bFROM\b", text, re.I)
            is not None
        )
