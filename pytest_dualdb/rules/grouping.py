"""Rules about grouping and the parts of a query: what may stand where, and which forms one side refuses."""

from __future__ import annotations

import re

from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import bare, missing_function, near, said, sole_error

ERRORS = frozenset({"error", "outcome"})
_SALES = (
    "CREATE TABLE sales (id INTEGER PRIMARY KEY, city TEXT, amount INTEGER);"
    " INSERT INTO sales VALUES (1, 'Oslo', 5), (2, 'Oslo', 7), (3, 'Rome', 2);"
)


class BareColumn(Rule):
    """A column beside an aggregate that is not in GROUP BY.

    What differs:
        SQLite takes the value from some row of the group (for min() and max() from that row); PostgreSQL
        fails (42803, column must appear in the GROUP BY clause or be used in an aggregate function).

    Why:
        The standard forbids it unless the group determines the column (PostgreSQL knows that of a primary key
        only); SQLite allows it as an extension.

    Instead:
        Name the column in GROUP BY, or say which value is meant:

            SELECT city, max(amount) FROM sales GROUP BY city
            SELECT s.id, s.city FROM sales s
            WHERE s.amount = (SELECT max(o.amount) FROM sales o WHERE o.city = s.city)

    References:
        https://www.sqlite.org/lang_select.html#bareagg
        https://www.postgresql.org/docs/current/queries-table-expressions.html#QUERIES-GROUP
    """

    name = "bare-column"
    title = "a column outside GROUP BY is allowed on SQLite only"
    instead = "add the column to GROUP BY, or use min(column)"
    kinds = ERRORS
    specimens = (
        Specimen(["SELECT city, count(*) FROM sales"], _SALES),
        Specimen(["SELECT city, amount, count(*) FROM sales GROUP BY city"], _SALES),
        Specimen(["SELECT city FROM sales GROUP BY city ORDER BY amount"], _SALES),
        Specimen(["SELECT s.*, sum(s.amount) FROM sales s GROUP BY s.city"], _SALES),
        Specimen(["SELECT city, count(*) FROM sales GROUP BY city HAVING amount > 1"], _SALES),
    )
    near_misses = (
        Specimen(["SELECT city, count(*) FROM sales GROUP BY city ORDER BY city"], _SALES),
        Specimen(["SELECT id, city, count(*) FROM sales GROUP BY id ORDER BY id"], _SALES),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42803")
        return (
            said(
                failure,
                r"must appear in the GROUP BY clause|ungrouped column|aggregate functions are not allowed",
            )
            is not None
        )


class AliasScope(Rule):
    """The alias of a selected expression in WHERE, HAVING or within an expression of ORDER BY.

    What differs:
        SQLite knows result aliases everywhere; PostgreSQL only alone in GROUP BY and ORDER BY, and fails
        otherwise (42703, column "total" does not exist).

    Why:
        By the standard WHERE and HAVING are evaluated before the selected expressions have names.

    Instead:
        Repeat the expression, or name it in a subquery:

            SELECT city, sum(amount) AS total FROM sales GROUP BY city HAVING sum(amount) > 3
            SELECT id FROM (SELECT id, amount * 2 AS twice FROM sales) AS s WHERE twice > 10

    References:
        https://www.sqlite.org/lang_select.html#whereclause
        https://www.postgresql.org/docs/current/queries-select-lists.html#QUERIES-COLUMN-LABELS
    """

    name = "alias-scope"
    title = "an alias in WHERE or HAVING is known to SQLite only"
    instead = "repeat the expression, or select from a subquery"
    kinds = ERRORS
    priority = 2
    specimens = (
        Specimen(["SELECT amount * 2 AS twice FROM sales WHERE twice > 10"], _SALES),
        Specimen(["SELECT city, sum(amount) AS total FROM sales GROUP BY city HAVING total > 3"], _SALES),
        Specimen(["SELECT id, amount AS a FROM sales ORDER BY a + 1"], _SALES),
        Specimen(['SELECT amount AS "Twice" FROM sales WHERE "Twice" > 10'], _SALES),
    )
    near_misses = (
        Specimen(
            [
                "SELECT city, sum(amount) AS total FROM sales GROUP BY city HAVING sum(amount) > 3"
                " ORDER BY total"
            ],
            _SALES,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42703")
        found = said(failure, r'column "?([^"]+?)"? does not exist')
        if not found:
            return False
        from sqlglot import expressions as exp

        named = {alias.alias.lower() for alias in evidence.find(exp.Alias) if alias.alias}
        return found[1].lower() in named


class DistinctOrder(Rule):
    """SELECT DISTINCT sorted by something that is not selected.

    What differs:
        SQLite sorts by the value of some row; PostgreSQL fails (42P10, for SELECT DISTINCT, ORDER BY
        expressions must appear in select list).

    Why:
        Several rows with different values of the other column become one, so that there is no one value to
        sort by.

    Instead:
        Group, and say which value counts:

            SELECT city FROM sales GROUP BY city ORDER BY min(amount)

    References:
        https://www.sqlite.org/lang_select.html#orderby
        https://www.postgresql.org/docs/current/sql-select.html#SQL-DISTINCT
    """

    name = "distinct-order-by"
    title = "DISTINCT with ORDER BY of another column fails on PostgreSQL"
    instead = "GROUP BY the selected columns and ORDER BY min(other)"
    kinds = ERRORS
    specimens = (
        Specimen(["SELECT DISTINCT city FROM sales ORDER BY amount"], _SALES),
        Specimen(["SELECT DISTINCT s.city FROM sales s ORDER BY lower(s.city)"], _SALES),
    )
    near_misses = (
        Specimen(["SELECT DISTINCT city FROM sales ORDER BY city"], _SALES),
        Specimen(["SELECT city FROM sales GROUP BY city ORDER BY min(amount)"], _SALES),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42P10")
        return (
            said(failure, "ORDER BY expressions must (appear in|match)|in an aggregate with DISTINCT")
            is not None
        )


class SetPrecedence(Rule):
    """INTERSECT beside UNION or EXCEPT in one compound query.

    What differs:
        PostgreSQL evaluates INTERSECT first, SQLite from left to right: other rows come.

    Why:
        The standard gives INTERSECT the higher precedence; SQLite's compound operators are equal.

    Instead:
        Bind by a subquery:

            SELECT id FROM sales UNION SELECT id FROM (SELECT 9 AS id INTERSECT SELECT id FROM sales) AS shared

    References:
        https://www.sqlite.org/lang_select.html#compound
        https://www.postgresql.org/docs/current/queries-union.html
    """

    name = "set-precedence"
    title = "INTERSECT binds tighter than UNION on PostgreSQL only"
    instead = "a subquery for the part that comes first"
    kinds = frozenset({"rows", "order"})
    priority = 3
    specimens = (Specimen(["SELECT 1 AS n UNION SELECT 2 INTERSECT SELECT 3"]),)
    near_misses = (Specimen(["SELECT 1 AS n INTERSECT SELECT 1"]),)

    def matches(self, evidence: Evidence) -> bool:
        text = bare(evidence.text)
        later = r"\b(UNION|EXCEPT)\b.*\bINTERSECT\b"
        return re.search(later, text, re.I | re.S) is not None


class SetForm(Rule):
    """Parentheses around the parts of a compound query, INTERSECT ALL, or their ORDER BY and LIMIT.

    What differs:
        SQLite fails with a syntax error at "(" or at ALL, or asks for ORDER BY after the last part (ORDER BY
        clause should come after UNION not before).

    Why:
        SQLite's grammar has simple SELECTs as parts, and ALL for UNION only.

    Instead:
        Subqueries in FROM:

            SELECT * FROM (SELECT id FROM sales ORDER BY id LIMIT 1) AS first UNION ALL SELECT 9

    References:
        https://www.sqlite.org/lang_select.html#compound
        https://www.postgresql.org/docs/current/queries-union.html
    """

    name = "set-form"
    title = "(SELECT ...) UNION and INTERSECT ALL fail on SQLite"
    instead = "SELECT * FROM (SELECT ... LIMIT 1) AS a UNION ..."
    kinds = ERRORS
    specimens = (
        Specimen(["(SELECT id FROM sales) UNION (SELECT 9)"], _SALES),
        Specimen(["SELECT id FROM sales INTERSECT ALL SELECT 1"], _SALES),
    )
    near_misses = (
        Specimen(
            ["SELECT * FROM (SELECT id FROM sales ORDER BY id LIMIT 1) AS a UNION ALL SELECT 9"], _SALES
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if said(failure, r"(ORDER BY|LIMIT) clause should come after"):
            return True
        text = bare(evidence.sql("sqlite"))
        if near(failure) == "(":
            return re.search(r"^\s*\(|\b(UNION|EXCEPT|INTERSECT)(\s+ALL)?\s*\(", text, re.I) is not None
        return near(failure) == "ALL" and re.search(r"\b(EXCEPT|INTERSECT)\s+ALL\b", text, re.I) is not None


class LimitForm(Rule):
    """LIMIT and OFFSET in a form that one database does not take.

    What differs:
        LIMIT 10, 5 and a negative LIMIT (for "all") are SQLite's: PostgreSQL fails (42601 LIMIT #,# syntax is
        not supported, 2201W LIMIT must not be negative). OFFSET without LIMIT, LIMIT ALL and FETCH FIRST are
        PostgreSQL's: syntax errors on SQLite. So are NULL (no limit) and fractions, a datatype mismatch there.

    Why:
        None of them is in the other's grammar.

    Instead:
        LIMIT with OFFSET, both with numbers; for "all" a large limit:

            SELECT id FROM sales ORDER BY id LIMIT 5 OFFSET 10

    References:
        https://www.sqlite.org/lang_select.html#limitoffset
        https://www.postgresql.org/docs/current/queries-limit.html
    """

    name = "limit-form"
    title = "LIMIT a, b, LIMIT -1, FETCH FIRST work on one side only"
    instead = "LIMIT n OFFSET m, both with numbers"
    kinds = ERRORS
    priority = 1
    specimens = (
        Specimen([("SELECT id FROM sales ORDER BY id LIMIT ?, ?", (1, 2))], _SALES),
        Specimen(["SELECT id FROM sales ORDER BY id LIMIT -1"], _SALES),
        Specimen(["SELECT id FROM sales ORDER BY id OFFSET 1"], _SALES),
        Specimen(["SELECT id FROM sales ORDER BY id FETCH FIRST 2 ROWS ONLY"], _SALES),
        Specimen(["SELECT id FROM sales ORDER BY id LIMIT ALL"], _SALES),
        Specimen([("SELECT id FROM sales ORDER BY id LIMIT ?", (None,))], _SALES),
    )
    near_misses = (Specimen([("SELECT id FROM sales ORDER BY id LIMIT ? OFFSET ?", (2, 1))], _SALES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42601", "2201W", "2201X", "22P02")
        if said(
            failure,
            r"LIMIT #,#|(LIMIT|OFFSET|row count) .*must not be negative|FETCH .* must not be negative",
        ):
            return True
        text = bare(evidence.sql("sqlite"))
        if said(sole_error(evidence, "sqlite"), "^datatype mismatch"):
            return re.search(r"\b(LIMIT|OFFSET)\b", text, re.I) is not None
        if near(sole_error(evidence, "sqlite")) is None:
            return False
        if re.search(
            r"\bLIMIT\s+ALL\b|\bFETCH\s+(FIRST|NEXT)\b|\bOFFSET\s+\S+\s+ROWS?\b|\bOFFSET\s+\S+\s+LIMIT\b",
            text,
            re.I,
        ):
            return True
        return re.search(r"\bOFFSET\b", text, re.I) is not None and not re.search(r"\bLIMIT\b", text, re.I)


class EmptyIn(Rule):
    """IN () with an empty list.

    What differs:
        SQLite takes it (no row is in it); PostgreSQL fails (42601, syntax error at or near ")").

    Why:
        The standard's grammar asks for one value at least; SQLite allows none.

    Instead:
        Ask the application first, and leave the query out when the list is empty:

            SELECT id FROM sales WHERE id IN (?, ?)

    References:
        https://www.sqlite.org/lang_expr.html#in_op
        https://www.postgresql.org/docs/current/functions-comparisons.html
    """

    name = "empty-in"
    title = "IN () is a syntax error on PostgreSQL"
    instead = "no query for an empty list"
    kinds = ERRORS
    priority = 1
    specimens = (
        Specimen(["SELECT id FROM sales WHERE id IN ()"], _SALES),
        Specimen(["DELETE FROM sales WHERE id NOT IN ( )"], _SALES),
    )
    near_misses = (Specimen([("SELECT id FROM sales WHERE id IN (?, ?) ORDER BY id", (1, 2))], _SALES),)

    def matches(self, evidence: Evidence) -> bool:
        if near(sole_error(evidence, "postgres", "42601")) != ")":
            return False
        return re.search(r"\bIN\s*\(\s*\)", bare(evidence.sql("postgres")), re.I) is not None


class PostgresQuery(Rule):
    """DISTINCT ON, LATERAL, ROLLUP, GROUPING SETS, TABLE name and others sent to SQLite.

    What differs:
        SQLite fails: near "ON": syntax error, no such function: ROLLUP, row value misused.

    Why:
        SQLite implements a part of the standard's queries, and none of PostgreSQL's own.

    Instead:
        A window function for DISTINCT ON and LATERAL, UNION ALL for the levels of ROLLUP:

            SELECT city, amount FROM (
                SELECT city, amount, row_number() OVER (PARTITION BY city ORDER BY amount DESC, id) AS place
                FROM sales
            ) AS ranked WHERE place = 1

    References:
        https://www.sqlite.org/lang_select.html
        https://www.postgresql.org/docs/current/sql-select.html
    """

    name = "postgres-query-form"
    title = "DISTINCT ON, LATERAL, ROLLUP are unknown to SQLite"
    instead = "row_number() OVER (PARTITION BY ...) in a subquery"
    kinds = ERRORS
    priority = 1
    specimens = (
        Specimen(["SELECT DISTINCT ON (city) city, amount FROM sales ORDER BY city, amount"], _SALES),
        Specimen(["SELECT city, sum(amount) FROM sales GROUP BY ROLLUP (city)"], _SALES),
        Specimen(["SELECT city, sum(amount) FROM sales GROUP BY GROUPING SETS ((city), ())"], _SALES),
        Specimen(["SELECT s.id, x.n FROM sales s CROSS JOIN LATERAL (SELECT s.amount AS n) x"], _SALES),
        Specimen(["SELECT count(DISTINCT (city, amount)) FROM sales"], _SALES),
    )
    near_misses = (
        Specimen(
            [
                "SELECT city FROM (SELECT city, row_number() OVER (PARTITION BY city ORDER BY id)"
                " AS n FROM sales) AS s WHERE n = 1 ORDER BY city"
            ],
            _SALES,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        missing = missing_function(failure)
        if missing is not None:
            return missing.name in ("rollup", "cube", "grouping")
        text = bare(evidence.sql("sqlite"))
        if said(failure, "row value misused"):
            return re.search(r"\bDISTINCT\s*\(", text, re.I) is not None
        if near(failure) is None:
            return False
        forms = (
            r"\bDISTINCT\s+ON\b|\bLATERAL\b|\bGROUPING\s+SETS\b|^\s*TABLE\s|\bTABLESAMPLE\b|"
            r"\bWITH\s+ORDINALITY\b|"
            r"\bWITHIN\s+GROUP\b|\bWITH\s+TIES\b|\bAS\s+(NOT\s+)?MATERIALIZED\b|\bROWS\s+FROM\b|"
            r"\bFROM\s+ONLY\b|\bSYMMETRIC\b|"
            r"\(\s*VALUES\b.*\)\s*(AS\s+)?\w+\s*\("
        )
        return re.search(forms, text, re.I | re.S) is not None


class SqliteQuery(Rule):
    """INDEXED BY, a literal as a sort key, or another form of a query that only SQLite takes.

    What differs:
        INDEXED BY and NOT INDEXED are syntax errors on PostgreSQL (42601), a text as ORDER BY is one too
        (non-integer constant in ORDER BY), and a JOIN without ON or a misplaced comma likewise.

    Why:
        They are extensions of SQLite, or things that it tolerates.

    Instead:
        The statement without them; PostgreSQL chooses indexes itself:

            SELECT id FROM sales ORDER BY city, id

    References:
        https://www.sqlite.org/lang_indexedby.html
        https://www.postgresql.org/docs/current/sql-select.html
    """

    name = "sqlite-query-form"
    title = "INDEXED BY, JOIN without ON: forms that only SQLite takes"
    instead = "leave the hint out; ORDER BY a column; JOIN ... ON or CROSS JOIN"
    kinds = ERRORS
    priority = -1
    specimens = (
        Specimen(["SELECT id FROM sales NOT INDEXED WHERE id = 1"], _SALES),
        Specimen(["SELECT id FROM sales ORDER BY 'city'"], _SALES),
        Specimen(["SELECT count(*) FROM sales a JOIN sales b"], _SALES),
    )
    near_misses = (Specimen(["SELECT count(*) FROM sales a CROSS JOIN sales b"], _SALES),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42601")
        if failure is None:
            return False
        if said(failure, "non-integer constant in (ORDER|GROUP) BY|subquery in FROM must have an alias"):
            return True
        text = bare(evidence.sql("postgres"))
        if re.search(r"\b(NOT\s+INDEXED|INDEXED\s+BY)\b", text, re.I):
            return True
        joins = len(re.findall(r"(?<!CROSS )(?<!NATURAL )\bJOIN\b", text, re.I))
        return joins > len(re.findall(r"\b(ON|USING)\b", text, re.I))
