"""Rules about the shape of a query: subqueries, joins by comma, operators in a row, recursion."""

from __future__ import annotations

import re

from pytest_dualdb import syntax
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import bare, explained, is_number, near, said, sole_error, texts

ERRORS = frozenset({"error", "outcome"})
_BOOKS = (
    "CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT); CREATE TABLE book (id INTEGER PRIMARY KEY,"
    " author_id INTEGER, title TEXT); INSERT INTO author VALUES (1, 'Ada');"
    " INSERT INTO book VALUES (1, 1, 'First'), (2, 1, 'Second');"
)
_TREE = (
    "CREATE TABLE node (id INTEGER PRIMARY KEY, parent INTEGER, name VARCHAR(20));"
    " INSERT INTO node VALUES (1, NULL, 'root'), (2, 1, 'leaf');"
)


class ManyRowSubquery(Rule):
    """A subquery in the place of one value that finds several rows.

    What differs:
        SQLite takes the first row that it comes to; PostgreSQL fails (21000, more than one row returned by a
        subquery used as an expression).

    Why:
        The standard asks for an error. SQLite adds a silent LIMIT 1.

    Instead:
        Say which row is meant, by an aggregate or by ORDER BY and LIMIT 1:

            SELECT name, (SELECT min(title) FROM book WHERE author_id = author.id) FROM author

    References:
        https://www.sqlite.org/lang_expr.html#subquery_expressions
        https://www.postgresql.org/docs/current/sql-expressions.html#SQL-SYNTAX-SCALAR-SUBQUERIES
    """

    name = "many-row-subquery"
    title = "a subquery used as one value finds several rows: SQLite takes the first"
    instead = "min(x), or ORDER BY key LIMIT 1 in the subquery"
    kinds = ERRORS
    specimens = (
        Specimen(["SELECT name, (SELECT title FROM book WHERE author_id = author.id) FROM author"], _BOOKS),
        Specimen(["SELECT id FROM book WHERE id = (SELECT id FROM book)"], _BOOKS),
        Specimen(["UPDATE author SET name = (SELECT title FROM book)", "ROLLBACK"], _BOOKS),
    )
    near_misses = (
        Specimen(
            ["SELECT name, (SELECT min(title) FROM book WHERE author_id = author.id) FROM author"], _BOOKS
        ),
        Specimen(["SELECT id FROM book WHERE id = (SELECT id FROM book ORDER BY id LIMIT 1)"], _BOOKS),
    )

    def matches(self, evidence: Evidence) -> bool:
        return said(sole_error(evidence, "postgres", "21000"), "more than one row returned") is not None


class CommaJoin(Rule):
    """A table before a comma that the ON of a later JOIN refers to, or another table out of sight.

    What differs:
        FROM a, b JOIN c ON c.a_id = a.id runs on SQLite; PostgreSQL fails (42P01, invalid reference to
        FROM-clause entry for table "a").

    Why:
        JOIN binds more strongly than the comma: the ON of b JOIN c sees b and c. SQLite treats the comma as
        one more join, from left to right.

    Instead:
        JOIN throughout:

            SELECT author.name FROM author JOIN book ON book.author_id = author.id

    References:
        https://www.sqlite.org/lang_select.html#fromclause
        https://www.postgresql.org/docs/current/sql-select.html#SQL-FROM
    """

    name = "comma-join"
    title = "the ON of a JOIN refers to a table before a comma"
    instead = "CROSS JOIN or JOIN ... ON in place of the comma"
    kinds = ERRORS
    specimens = (
        Specimen(
            ["SELECT a.name FROM author a, book b LEFT JOIN book c ON c.author_id = a.id WHERE b.id = 1"],
            _BOOKS,
        ),
    )
    near_misses = (
        Specimen(
            ["SELECT a.name FROM author a CROSS JOIN book b LEFT JOIN book c ON c.author_id = a.id"], _BOOKS
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42P01", "42P10")
        found = said(failure, r'(?:missing|invalid reference to) FROM-clause entry for table "(.+?)"')
        if found is None:
            return False
        # it is there, but out of sight
        named = rf"(?:\bFROM|,|\bJOIN)\s+(?:[\w.]+\s+(?:AS\s+)?)?{re.escape(found[1])}\b"
        return re.search(named, bare(evidence.sql("postgres")), re.I) is not None


class ChainedComparison(Rule):
    """Two comparisons in a row, such as 1 < n < 3.

    What differs:
        PostgreSQL fails (42601, syntax error at or near the second comparison). SQLite compares the truth of
        the first, 0 or 1, with the last value: 1 < n < 3 is true for every n.

    Why:
        Comparisons have no order among themselves on PostgreSQL; SQLite reads them from left to right.

    Instead:
        Two conditions:

            SELECT id FROM book WHERE 1 < id AND id < 3

    References:
        https://www.sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-PRECEDENCE
    """

    name = "chained-comparison"
    title = "two comparisons in a row, which PostgreSQL refuses"
    instead = "two conditions: 1 < n AND n < 3"
    kinds = ERRORS
    specimens = (
        Specimen(["SELECT id FROM book WHERE 1 < id < 3"], _BOOKS),
        Specimen([("SELECT id FROM book WHERE id = author_id = ?", (1,))], _BOOKS),
    )
    near_misses = (Specimen(["SELECT id FROM book WHERE 1 < id AND id < 3 ORDER BY id"], _BOOKS),)

    def matches(self, evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        compares = (exp.LT, exp.LTE, exp.GT, exp.GTE, exp.EQ, exp.NEQ)
        if near(sole_error(evidence, "postgres", "42601")) not in ("<", "<=", ">", ">=", "=", "<>", "!="):
            return False
        trees = syntax.parse(evidence.sql("sqlite") or evidence.text, "sqlite")
        return any(isinstance(node.this, compares) for tree in trees for node in tree.find_all(*compares))


_OPERATOR = r"(?:[-+*/]|%(?!s\b|\())"
_OPERAND = r"(?:[\w.\"]+(?:\([^()]*\))?|''|\?|%s|[:$]\w+|\([^()]*\))"


class ConcatBeforeArithmetic(Rule):
    """Arithmetic beside || without parentheses.

    What differs:
        2 * 3 || ' EUR' is '6 EUR' on PostgreSQL. SQLite joins first and computes with the text: 2 * '3 EUR' is
        the number 6.

    Why:
        On SQLite || binds more strongly than every other operator with two sides, on PostgreSQL less strongly
        than arithmetic.

    Instead:
        Parentheses:

            SELECT (id * author_id) || ' pages' FROM book

    References:
        https://www.sqlite.org/lang_expr.html#operators_and_parse_affecting_attributes
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-PRECEDENCE
    """

    name = "concat-before-arithmetic"
    title = "|| comes before arithmetic on SQLite, after it on PostgreSQL"
    instead = "parentheses: (price * amount) || ' EUR'"
    kinds = frozenset({"rows", "state"})
    specimens = (
        Specimen(["SELECT id * 2 || ' pages' FROM book ORDER BY id"], _BOOKS),
        Specimen(["SELECT 'number ' || id + 1 FROM book ORDER BY id"], _BOOKS),
    )
    near_misses = (
        Specimen(["SELECT (id * 2) || ' pages', 'number ' || (id + 1) FROM book ORDER BY id"], _BOOKS),
    )

    def matches(self, evidence: Evidence) -> bool:
        shape = rf"{_OPERATOR}\s*{_OPERAND}\s*\|\||\|\|\s*{_OPERAND}\s*{_OPERATOR}"
        if not any(re.search(shape, text) for text in texts(evidence)):
            return False
        return explained(evidence, lambda p: is_number(p.sqlite) and isinstance(p.postgres, str))


class RecursiveQuery(Rule):
    """A recursive WITH in a form that one database does not take.

    What differs:
        Without the word RECURSIVE PostgreSQL does not find the name (42P01). It refuses ORDER BY and LIMIT
        in the recursive part (0A000), two references to the name (42P19), and a column whose type is another
        in the recursive part, such as VARCHAR(20) and TEXT (42804). SQLite takes all of it.

    Why:
        RECURSIVE is noise to SQLite, columns have no type there, and it runs the recursion as a queue whose
        order can be asked for.

    Instead:
        WITH RECURSIVE, the types of the first part made those of the second, and the order outside:

            WITH RECURSIVE walk(id, path) AS (
                SELECT id, CAST(name AS TEXT) FROM node WHERE parent IS NULL
                UNION ALL SELECT node.id, walk.path || '/' || node.name
                FROM node JOIN walk ON node.parent = walk.id
            ) SELECT id, path FROM walk ORDER BY id

    References:
        https://www.sqlite.org/lang_with.html
        https://www.postgresql.org/docs/current/queries-with.html#QUERIES-WITH-RECURSIVE
    """

    name = "recursive-query"
    title = "a recursive WITH in a form that one database does not take"
    instead = "WITH RECURSIVE, one reference, the same types in both parts, ORDER BY outside"
    kinds = ERRORS
    priority = 6
    _PATH = (
        " AS (SELECT id, {name} FROM node WHERE parent IS NULL UNION ALL SELECT node.id, walk.path || '/' ||"
        " node.name FROM node JOIN walk ON node.parent = walk.id {order}) SELECT id, path FROM walk"
    )
    specimens = (
        Specimen(["WITH n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < 3) SELECT x FROM n"]),
        Specimen(["WITH RECURSIVE walk(id, path)" + _PATH.format(name="name", order="")], _TREE),
        Specimen(
            [
                "WITH RECURSIVE walk(id, path)"
                + _PATH.format(name="CAST(name AS TEXT)", order="ORDER BY 1 DESC")
            ],
            _TREE,
        ),
    )
    near_misses = (
        Specimen(
            [
                "WITH RECURSIVE walk(id, path)"
                + _PATH.format(name="CAST(name AS TEXT)", order="")
                + " ORDER BY id"
            ],
            _TREE,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres")
        if failure is not None:
            if failure.sqlstate == "42P19" or said(failure, "recursive (query|reference)"):
                return True
            missing = said(failure, r'^relation "(.+)" does not exist')
            if missing is None:
                return False
            text = bare(evidence.sql("postgres") or evidence.text)
            name = rf"\b{re.escape(missing[1])}\b\"?\s*(\([^()]*\)\s*)?AS\s*(NOT\s+)?(MATERIALIZED\s*)?\("
            return re.search(name, text, re.I) is not None
        failure = sole_error(evidence, "sqlite")
        return said(failure, "recursive (table|reference|aggregate)|circular reference") is not None
