"""Rules about LIKE and the other pattern operators: case, escapes, types, and what only one side knows."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import Backend
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    Query,
    Unreadable,
    bare,
    evaluate,
    missing_operator,
    near,
    queries,
    said,
    sole_error,
    stored_rows,
    suspects,
)

RESULT_KINDS = frozenset({"rows", "order", "rowcount", "state"})

_PEOPLE = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT);"
_NAMES = _PEOPLE + " INSERT INTO people VALUES (1, 'Ada'), (2, 'alan'), (3, 'Grace');"


class _Pattern:
    """One LIKE: the node, the escape character if it names one, its query and that query's text."""

    def __init__(self, node: Any, escape: str | None, query: Query, sql: str) -> None:
        self.node, self.escape, self.query, self.sql = node, escape, query, sql


def _patterns(evidence: Evidence, backend: Backend) -> Iterator[_Pattern]:
    """Yield the LIKEs of every statement that can be behind the divergence, views made before included."""
    from sqlglot import expressions as exp

    for statement in suspects(evidence, backend):
        texts = [statement]
        used = syntax.tables(statement.sql)
        for earlier in evidence.recordings[backend].statements:
            made = re.match(r"\s*CREATE\s+(?:TEMP(?:ORARY)?\s+)?(?:VIEW|TRIGGER)\s+(\w+)", earlier.sql, re.I)
            if made and (made[1].lower() in used or evidence.kind == "state"):
                texts.append(earlier)
        for text in texts:
            for query in queries(text, backend):
                for node in query.tree.find_all(exp.Like):
                    parent = node.parent
                    escaped = isinstance(parent, exp.Escape) and isinstance(parent.expression, exp.Literal)
                    yield _Pattern(node, parent.expression.this if escaped else None, query, text.sql)


@functools.lru_cache(maxsize=512)
def _regex(pattern: str, escape: str | None, fold: bool) -> re.Pattern[str]:
    """Translate a LIKE pattern; ``fold`` ignores the case of the ASCII letters, as SQLite does."""
    out, index = "", 0
    while index < len(pattern):
        char = pattern[index]
        if escape and char == escape and index + 1 < len(pattern):
            index += 1
            out += re.escape(pattern[index])
        else:
            out += ".*" if char == "%" else "." if char == "_" else re.escape(char)
        index += 1
    return re.compile(out, re.S | (re.I | re.A if fold else re.S))


def _like(text: Any, pattern: Any, escape: str | None, fold: bool) -> bool:
    if text is None or not isinstance(pattern, str):
        return False
    return _regex(pattern, escape, fold).fullmatch(str(text)) is not None


def _reads(pattern: _Pattern, evidence: Evidence) -> Iterator[tuple[Any, Any]]:
    """Yield (text, pattern) of each known row; nothing where the values can't be known."""
    for params in pattern.query.sets or ({},):
        for row in stored_rows(evidence, pattern.sql):
            try:
                yield _operands(pattern, row, params)
            except Unreadable:
                continue


def _operands(pattern: _Pattern, row: Mapping[str, Any], params: Mapping[str, Any]) -> tuple[Any, Any]:
    return evaluate(pattern.node.this, row, params), evaluate(pattern.node.expression, row, params)


class LikeCase(Rule):
    """LIKE in a condition over text that holds both cases of a letter.

    What differs:
        SQLite's LIKE ignores the case of the letters A to Z; PostgreSQL's does not. A search finds rows on
        SQLite that PostgreSQL leaves out (with NOT LIKE the reverse).

    Why:
        SQLite implements LIKE by a function that folds ASCII letters unless PRAGMA case_sensitive_like is on.
        The SQL standard, and PostgreSQL, compare the characters as they are; ILIKE is PostgreSQL's own.

    Instead:
        Fold both sides, which means the same on both:

            SELECT name FROM people WHERE lower(name) LIKE lower('a%')

        For a search that respects case write `substr(name, 1, 1) = 'a'` or, on SQLite, GLOB.

    References:
        https://www.sqlite.org/lang_expr.html#like
        https://www.postgresql.org/docs/current/functions-matching.html#FUNCTIONS-LIKE
    """

    name = "like-case"
    title = "LIKE ignores case on SQLite only"
    instead = "lower(column) LIKE lower(pattern)"
    kinds = RESULT_KINDS
    priority = 5
    specimens = (
        Specimen(["SELECT name FROM people WHERE name LIKE 'a%' ORDER BY id"], _NAMES),
        Specimen([("SELECT count(*) FROM people p WHERE p.name LIKE ?", ("%A%",))], _NAMES),
        Specimen(["SELECT name FROM people WHERE name NOT LIKE 'ADA' ORDER BY id"], _NAMES),
        Specimen([("DELETE FROM people WHERE name LIKE ?", ("ADA",)), "COMMIT"], _NAMES),
        Specimen([("SELECT id FROM people WHERE name LIKE '%' || ? || '%'", ("D",))], _NAMES),
    )
    near_misses = (
        Specimen([("SELECT name FROM people WHERE lower(name) LIKE lower(?) ORDER BY id", ("A%",))], _NAMES),
        Specimen(["SELECT name FROM people WHERE name LIKE 'Ad%'"], _NAMES),
    )

    def matches(self, evidence: Evidence) -> bool:
        if re.search(r"\bILIKE\b", evidence.sql("postgres"), re.I):
            return False
        for pattern in _patterns(evidence, "sqlite"):
            known = False
            for text, wanted in _reads(pattern, evidence):
                known = True
                folded = _like(text, wanted, pattern.escape, fold=True)
                if folded and not _like(text, wanted, pattern.escape, fold=False):
                    return True
            if not known and self._more_on_sqlite(evidence, pattern):
                return True
        return False

    def _more_on_sqlite(self, evidence: Evidence, pattern: _Pattern) -> bool:
        """Return whether the rows part as this LIKE would part them, where its values can't be read."""
        difference = evidence.divergence.difference
        letters = any(isinstance(v, str) and re.search("[A-Za-z]", v) for v in pattern.query.first.values())
        if difference is None or not (letters or re.search(r"LIKE\s+'[^']*[A-Za-z]", evidence.text, re.I)):
            return False
        return bool(difference.only_sqlite) and not difference.only_postgres


class LikeEscape(Rule):
    r"""A backslash in the pattern of a LIKE without ESCAPE.

    What differs:
        On PostgreSQL a backslash in a LIKE pattern escapes the character after it; on SQLite it stands for
        itself unless the condition says ESCAPE. '10\%' finds '10%' on PostgreSQL and '10\...' on SQLite.

    Why:
        PostgreSQL's LIKE has the backslash as its default escape character; SQLite has none.

    Instead:
        Name the escape character, preferably one that needs no quoting anywhere:

            SELECT label FROM prices WHERE label LIKE '10!%' ESCAPE '!'

    References:
        https://www.sqlite.org/lang_expr.html#like
        https://www.postgresql.org/docs/current/functions-matching.html#FUNCTIONS-LIKE
    """

    name = "like-escape"
    title = "a backslash escapes in LIKE on PostgreSQL only"
    instead = "LIKE pattern ESCAPE '!'"
    kinds = RESULT_KINDS | {"error"}
    priority = 6
    _PRICES = (
        "CREATE TABLE prices (id INTEGER PRIMARY KEY, label TEXT);"
        " INSERT INTO prices VALUES (1, '10%'), (2, '100'), (3, '10\\x');"
    )
    specimens = (
        Specimen([("SELECT label FROM prices WHERE label LIKE ?", ("10\\%",))], _PRICES),
        Specimen([r"SELECT count(*) FROM prices WHERE label LIKE '10\_'"], _PRICES),
        Specimen([("SELECT label FROM prices WHERE label LIKE ?", ("10\\",))], _PRICES),
    )
    near_misses = (
        Specimen([("SELECT label FROM prices WHERE label LIKE ? ESCAPE '!'", ("10!%",))], _PRICES),
        Specimen([("SELECT label FROM prices WHERE label LIKE ? ESCAPE '\\'", ("10\\%",))], _PRICES),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            return said(sole_error(evidence, "postgres", "22025"), "LIKE pattern must not end") is not None
        for pattern in _patterns(evidence, "postgres"):
            if pattern.escape is not None:
                continue
            for text, wanted in _reads(pattern, evidence):
                if "\\" not in str(wanted):
                    continue
                if _like(text, wanted, None, fold=True) != _like(text, wanted, "\\", fold=False):
                    return True
        return False


class LikeOnNonText(Rule):
    """LIKE on a column that is not text.

    What differs:
        SQLite turns numbers and stored timestamps into text and matches that; PostgreSQL has no LIKE for
        these types and fails (42883, operator does not exist: timestamp without time zone ~~ unknown).

    Why:
        SQLite's LIKE is a function over text that converts its arguments; PostgreSQL resolves the operator
        by the types of its operands and converts nothing to text by itself.

    Instead:
        Compare by range, which can use an index, or convert explicitly:

            SELECT id FROM visits WHERE at >= '2024-05-01' AND at < '2024-06-01'
            SELECT id FROM visits WHERE CAST(code AS TEXT) LIKE '12%'

    References:
        https://www.sqlite.org/lang_expr.html#like
        https://www.postgresql.org/docs/current/functions-matching.html#FUNCTIONS-LIKE
    """

    name = "like-on-non-text"
    title = "LIKE on a column that is not text fails on PostgreSQL"
    instead = "a range (at >= ? AND at < ?), or CAST(column AS TEXT) LIKE ?"
    kinds = frozenset({"error", "outcome"})
    _VISITS = (
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP, code INTEGER);"
        " INSERT INTO visits VALUES (1, '2024-05-01 08:00:00', 123);"
    )
    specimens = (
        Specimen([("SELECT id FROM visits WHERE at LIKE ?", ("2024-05%",))], _VISITS),
        Specimen(["SELECT id FROM visits WHERE code NOT LIKE '9%'"], _VISITS),
    )
    near_misses = (
        Specimen(["SELECT id FROM visits WHERE CAST(code AS TEXT) LIKE '12%'"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE at >= '2024-05-01' AND at < '2024-06-01'"], _VISITS),
    )

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883"))
        return missing is not None and missing.symbol in ("~~", "!~~", "~~*", "!~~*")


class PostgresPattern(Rule):
    """ILIKE, the regular-expression operators or SIMILAR TO sent to SQLite.

    What differs:
        PostgreSQL's ILIKE, ~, ~*, !~, !~* and SIMILAR TO are syntax errors on SQLite.

    Why:
        They are PostgreSQL's own. SQLite's LIKE ignores ASCII case already, and its REGEXP needs a function
        that the application registers.

    Instead:
        Fold both sides of a LIKE; it means the same on both:

            SELECT name FROM people WHERE lower(name) LIKE lower('a%')

        Do what needs a regular expression in the application, or branch by backend.

    References:
        https://www.sqlite.org/lang_expr.html#like
        https://www.postgresql.org/docs/current/functions-matching.html
    """

    name = "ilike-on-sqlite"
    title = "ILIKE, ~ and SIMILAR TO are unknown to SQLite"
    instead = "lower(column) LIKE lower(pattern)"
    kinds = frozenset({"error", "outcome"})
    specimens = (
        Specimen([("SELECT name FROM people WHERE name ILIKE ?", ("a%",))], _NAMES),
        Specimen(["SELECT name FROM people WHERE name NOT ILIKE 'a%'"], _NAMES),
        Specimen(["SELECT name FROM people WHERE name ~ '^A'"], _NAMES),
        Specimen(["SELECT name FROM people WHERE name !~* '^a'"], _NAMES),
        Specimen(["SELECT name FROM people WHERE name SIMILAR TO '(A|G)%'"], _NAMES),
    )
    near_misses = (Specimen(["SELECT name FROM people WHERE lower(name) LIKE 'a%' ORDER BY id"], _NAMES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if near(failure) is None:
            return False
        text = bare(evidence.sql("sqlite"))
        return (
            re.search(r"\bILIKE\b|\bSIMILAR\s+TO\b|[\w\"')\s]!?~\*?\s*('|\?|:|\(|\"|\w)", text, re.I)
            is not None
        )


class SqlitePattern(Rule):
    """GLOB, REGEXP or MATCH sent to PostgreSQL.

    What differs:
        SQLite knows GLOB, and REGEXP and MATCH where the application or full-text search provides them.
        PostgreSQL reads the words as names and fails with a syntax error (42601).

    Why:
        They are SQLite's own operators, each a call of a function with the operands in reverse.

    Instead:
        LIKE with its own wildcards; keep the letter case apart by comparing the part itself:

            SELECT name FROM people WHERE lower(name) LIKE 'a%'
            SELECT name FROM people WHERE substr(name, 1, 1) = 'A'

    References:
        https://www.sqlite.org/lang_expr.html#like
        https://www.postgresql.org/docs/current/functions-matching.html
    """

    name = "glob-on-postgres"
    title = "GLOB, REGEXP and MATCH are unknown to PostgreSQL"
    instead = "LIKE with % and _, or ~ on PostgreSQL in a branch"
    kinds = frozenset({"error", "outcome"})
    specimens = (
        Specimen(["SELECT name FROM people WHERE name GLOB 'A*'"], _NAMES),
        Specimen([("SELECT name FROM people WHERE name NOT GLOB ?", ("A*",))], _NAMES),
    )
    near_misses = (Specimen(["SELECT name FROM people WHERE substr(name, 1, 1) = 'A'"], _NAMES),)

    def matches(self, evidence: Evidence) -> bool:
        if sole_error(evidence, "postgres", "42601", "42703", "42883") is None:
            return False
        return re.search(r"\s(GLOB|REGEXP|MATCH)\s+[^\s,]", bare(evidence.sql("postgres")), re.I) is not None
