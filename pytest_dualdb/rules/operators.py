"""Rules about operators, functions and literals that the two databases know for other types or not at all."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    Unreadable,
    affinity,
    bare,
    evaluate,
    family,
    is_number,
    missing_function,
    missing_operator,
    near,
    queries,
    said,
    sole_error,
    stored_rows,
    suspects,
)

VALUE_KINDS = frozenset({"rows", "state", "order", "rowcount"})
NUMERIC_LOOKING = re.compile(r"\s*[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?\s*", re.I)


class TextNumberComparison(Rule):
    """Text compared with a number.

    What differs:
        PostgreSQL fails where both have a type (42883, operator does not exist: text = integer) and reads a
        quoted literal by the other operand's type. SQLite converts only where one side is a column with an
        affinity: against an expression such as sum(x) or CASE a text is greater than every number, and the
        condition is always true or always false.

    Why:
        SQLite applies the affinity of a column to the other operand; expressions have none. Text sorts after
        numbers.

    Instead:
        The right type as parameter (int, not str), or a conversion:

            SELECT city FROM sales GROUP BY city HAVING sum(amount) > 100
            SELECT id FROM sales WHERE CAST(code AS INTEGER) = 7

    References:
        https://www.sqlite.org/datatype3.html#comparison_expressions
        https://www.postgresql.org/docs/current/typeconv-oper.html
    """

    name = "text-number-comparison"
    title = "comparing text with a number: error or nonsense"
    instead = "a parameter of the column's type, or CAST(column AS INTEGER)"
    kinds = VALUE_KINDS | {"error", "outcome"}
    priority = 1
    _SALES = (
        "CREATE TABLE sales (id INTEGER PRIMARY KEY, city TEXT, amount INTEGER, code TEXT);"
        " INSERT INTO sales VALUES (1, 'Oslo', 50, '7'), (2, 'Oslo', 60, '8'), (3, 'Rome', 9, '9');"
    )
    specimens = (
        Specimen([("SELECT id FROM sales WHERE code = ?", (7,))], _SALES),
        Specimen(["SELECT s.id FROM sales s JOIN sales o ON s.code = o.amount"], _SALES),
        Specimen([("SELECT city FROM sales GROUP BY city HAVING sum(amount) > ?", ("100",))], _SALES),
        Specimen(["SELECT id FROM sales WHERE amount + 1 = '51'"], _SALES),
        Specimen(["SELECT id FROM sales WHERE code IN (7, 8)"], _SALES),
    )
    near_misses = (
        Specimen([("SELECT city FROM sales GROUP BY city HAVING sum(amount) > ?", (100,))], _SALES),
        Specimen([("SELECT id FROM sales WHERE amount = ?", ("50",))], _SALES),
    )
    _TEXT = frozenset({"text", "character varying", "character"})
    _NUMBER = frozenset({"smallint", "integer", "bigint", "numeric", "double precision", "real"})

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883"))
        if missing is not None:
            kinds = {missing.left, missing.right}
            compares = missing.symbol in ("=", "<>", "<", ">", "<=", ">=", "!=")
            return compares and bool(kinds & self._TEXT) and bool(kinds & self._NUMBER)
        if evidence.kind in ("error", "outcome"):
            return False
        return any(self._mixed(left, right, sets, evidence) for left, right, sets in _comparisons(evidence))

    def _mixed(self, left: Any, right: Any, sets: Mapping[str, Any], evidence: Evidence) -> bool:
        """Return whether one operand is text that looks like a number, the other a numeric expression."""
        for one, other in ((left, right), (right, left)):
            try:
                value = evaluate(one, {}, sets)
            except Unreadable:
                continue
            if isinstance(value, str) and NUMERIC_LOOKING.fullmatch(value) and self._number(other, evidence):
                return True
            if is_number(value) and self._text(other):
                return True
        return False

    def _number(self, node: Any, evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        if isinstance(node, exp.Column):
            return self._untyped(node, evidence)
        kinds = (exp.Sum, exp.Count, exp.Avg, exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Case, exp.Max, exp.Min,
                 exp.Length, exp.Abs, exp.Coalesce, exp.Round, exp.Subquery, exp.Select, exp.Mod, exp.If,
                 exp.Anonymous, exp.Neg, exp.Literal)  # fmt: skip
        while isinstance(node, exp.Paren):
            node = node.this
        return isinstance(node, kinds) and not (isinstance(node, exp.Literal) and node.is_string)

    def _untyped(self, node: Any, evidence: Evidence) -> bool:
        """Return whether the column has no affinity on SQLite, and is a number on PostgreSQL."""
        tables = sorted(syntax.tables(evidence.text))
        ours, theirs = (evidence.column(node.name, backend, tables) for backend in BACKENDS)
        if theirs is None:
            return False
        return (ours is None or affinity(ours.type) == "blob") and family(theirs.type) in (
            "integer",
            "decimal",
            "float",
        )

    def _text(self, node: Any) -> bool:
        from sqlglot import expressions as exp

        texts = (
            exp.Lower,
            exp.Upper,
            exp.Substring,
            exp.DPipe,
            exp.Trim,
            exp.TimeToStr,
            exp.JSONExtractScalar,
        )
        return isinstance(node, texts)


def _comparisons(evidence: Evidence) -> Iterator[tuple[Any, Any, Mapping[str, Any]]]:
    """Yield both operands of every comparison of the divergence's statements, with their parameters."""
    from sqlglot import expressions as exp

    for statement in suspects(evidence, "sqlite"):
        for query in queries(statement, "sqlite"):
            for node in query.tree.find_all(
                exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In
            ):
                if isinstance(node, exp.Between):
                    operands = [node.args["low"], node.args["high"]]
                elif isinstance(node, exp.In):
                    operands = list(node.expressions)
                else:
                    operands = [node.expression]
                for params in query.sets or ({},):
                    yield from ((node.this, operand, params) for operand in operands)


class OperandTypes(Rule):
    """An operator between two types that PostgreSQL does not compare or combine.

    What differs:
        uuid = text, date = integer, jsonb = text, bytea = text and the like fail on PostgreSQL (42883,
        operator does not exist); SQLite compares the stored values, whatever they are.

    Why:
        PostgreSQL chooses an operator by the types of both operands and converts none of them by itself;
        SQLite's operators take every value.

    Instead:
        Give both the same type in the schema, or convert one in the statement:

            SELECT o.id FROM orders o JOIN notes n ON CAST(o.id AS TEXT) = n.target

    References:
        https://www.sqlite.org/datatype3.html#comparison_expressions
        https://www.postgresql.org/docs/current/typeconv-oper.html
    """

    name = "operand-types"
    title = "an operator between different types fails on PostgreSQL"
    instead = "columns of one type, or CAST(a AS type of b)"
    kinds = frozenset({"error", "outcome"})
    priority = -5
    specimens = (
        Specimen(
            ["SELECT o.id FROM orders o JOIN notes n ON o.id = n.target"],
            "CREATE TABLE orders (id UUID PRIMARY KEY); CREATE TABLE notes (id INTEGER, target TEXT);",
        ),
        Specimen(
            [("SELECT id FROM visits WHERE at = ?", (5,))],
            "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP);",
        ),
    )
    near_misses = (
        Specimen(
            ["SELECT o.id FROM orders o JOIN notes n ON CAST(o.id AS TEXT) = n.target"],
            "CREATE TABLE orders (id UUID PRIMARY KEY); CREATE TABLE notes (id INTEGER, target TEXT);",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883"))
        return missing is not None and missing.symbol not in ("==", "<=>", "!")


class FunctionArguments(Rule):
    """A function that PostgreSQL has for other types of arguments.

    What differs:
        lower(5), length(5), substr(at, 1, 10) on a timestamp and replace() on numbers work on SQLite, which
        converts to text; PostgreSQL fails (42883, function substr(timestamp without time zone, integer,
        integer) does not exist).

    Why:
        PostgreSQL finds a function by name and argument types; SQLite's functions take every value.

    Instead:
        Convert explicitly:

            SELECT substr(CAST(at AS TEXT), 1, 10) FROM visits

    References:
        https://www.sqlite.org/lang_corefunc.html
        https://www.postgresql.org/docs/current/typeconv-func.html
    """

    name = "function-arguments"
    title = "a text function on a number or date fails on PostgreSQL"
    instead = "f(CAST(column AS TEXT))"
    kinds = frozenset({"error", "outcome"})
    priority = -1
    _VISITS = (
        "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP); INSERT INTO visits"
        " VALUES (1, '2024-05-01 08:00:00');"
    )
    specimens = (
        Specimen(["SELECT substr(at, 1, 10) FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE length(id) = 1"], _VISITS),
        Specimen(["SELECT upper(id) FROM visits"], _VISITS),
    )
    near_misses = (
        Specimen(["SELECT substr(CAST(at AS TEXT), 1, 10), lower(CAST(id AS TEXT)) FROM visits"], _VISITS),
    )
    _SHARED = frozenset(
        [
            "lower",
            "upper",
            "length",
            "max",
            "min",
            "substr",
            "substring",
            "replace",
            "trim",
            "ltrim",
            "rtrim",
            "btrim",
            "strpos",
            "left",
            "right",
            "lpad",
            "rpad",
            "reverse",
            "repeat",
            "ascii",
            "chr",
            "split_part",
            "to_char",
            "to_date",
            "to_timestamp",
            "date_trunc",
            "date_part",
            "extract",
            "abs",
            "ceil",
            "ceiling",
            "floor",
            "round",
            "trunc",
            "sum",
            "avg",
            "mod",
            "power",
            "pow",
            "sqrt",
            "exp",
            "ln",
            "log",
            "sign",
            "octet_length",
            "char_length",
            "position",
            "concat_ws",
            "string_agg",
            "array_agg",
            "nullif",
            "date",
            "make_date",
            "age",
            "char_length",
            "character_length",
            "encode",
            "decode",
            "md5",
            "initcap",
            "translate",
            "sin",
            "cos",
            "tan",
            "asin",
            "acos",
            "atan",
            "degrees",
            "radians",
            "regexp_replace",
            "count",
            "coalesce",
            "format",
        ]
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42725")
        missing = missing_function(failure)
        if missing is None:
            return said(failure, r"function .* is not unique") is not None
        return missing.name.rpartition(".")[2] in self._SHARED


class UntypedParameter(Rule):
    """A parameter or NULL whose type PostgreSQL cannot tell.

    What differs:
        PostgreSQL fails where nothing says the type (42P18, could not determine data type of parameter $1;
        could not determine polymorphic type; 42725, operator or function is not unique). SQLite needs none.

    Why:
        PostgreSQL resolves functions and operators before it sees values.

    Instead:
        Name the type:

            SELECT id FROM visits WHERE CAST(? AS INTEGER) IS NULL OR id = ?

    References:
        https://www.sqlite.org/lang_expr.html#varparam
        https://www.postgresql.org/docs/current/typeconv.html
    """

    name = "untyped-parameter"
    title = "PostgreSQL cannot tell the type of a parameter"
    instead = "CAST(? AS type)"
    kinds = frozenset({"error", "outcome"})
    specimens = (Specimen([{"sqlite": "SELECT json_array(NULL)", "postgres": "SELECT array_to_json(NULL)"}]),)
    near_misses = (
        Specimen(
            [("SELECT id FROM t WHERE CAST(? AS INTEGER) IS NULL OR id = ?", (None, 1))],
            "CREATE TABLE t (id INTEGER);",
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42P18", "42P08", "42804", "42725")
        return (
            said(failure, r"could not determine (data|polymorphic) type|inconsistent types deduced")
            is not None
        )


class OperatorSpelling(Rule):
    """An operator that one database spells otherwise: ==, IS 5, ^, ::, ->, !.

    What differs:
        `==` and `IS`/`IS NOT` between values work on SQLite only (42883 operator does not exist: integer ==
        integer; 42601 at or near the value), and so does `a NOT NULL`. `::type`, `^` (power), `@`, `|/`, `!~`
        and `#` are
        PostgreSQL's, and unrecognized tokens on SQLite.

    Why:
        SQLite accepts spellings of C, and IS for every value; PostgreSQL's IS takes NULL, TRUE, FALSE,
        UNKNOWN and DISTINCT FROM only.

    Instead:
        The standard's spelling:

            SELECT id FROM visits WHERE id = 1 AND CAST(id AS TEXT) <> ''

        For an equality that treats NULL as a value: `a = b OR (a IS NULL AND b IS NULL)`, or
        `a IS NOT DISTINCT FROM b` (SQLite 3.39 and later).

    References:
        https://www.sqlite.org/lang_expr.html
        https://www.postgresql.org/docs/current/functions-comparison.html
    """

    name = "operator-spelling"
    title = "==, IS value, ::type and others are known to one side"
    instead = "= for ==, CAST(x AS type) for ::, a = b OR both IS NULL for IS"
    kinds = frozenset({"error", "outcome"})
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY, n INTEGER); INSERT INTO visits VALUES (1, 3);"
    specimens = (
        Specimen(["SELECT id FROM visits WHERE n == 3"], _VISITS),
        Specimen([("SELECT id FROM visits WHERE n IS ?", (3,))], _VISITS),
        Specimen(["SELECT id FROM visits WHERE n IS NOT 4"], _VISITS),
        Specimen(["SELECT n::text FROM visits"], _VISITS),
        Specimen(["SELECT n ^ 2 FROM visits"], _VISITS),
        Specimen(["SELECT n # 2 FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE n NOT NULL"], _VISITS),
    )
    near_misses = (
        Specimen([("SELECT id, CAST(n AS TEXT) FROM visits WHERE n = ? AND n IS NOT NULL", (3,))], _VISITS),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42601")
        missing = missing_operator(failure)
        if missing is not None:
            return missing.symbol in ("==", "<=>", "!")
        if near(failure) is not None:
            text = bare(evidence.sql("postgres"))
            plain = (
                r"\bIS\s+(?:NOT\s+)?(?!NOT\b|NULL\b|TRUE\b|FALSE\b|UNKNOWN\b|DISTINCT\b|JSON\b|"
                r"DOCUMENT\b|NORMALIZED\b|NF\w+\b)[\w'\"%:(?-]"
            )
            postfix = r"(?<!\bIS)\s+NOT\s+NULL\b"
            return re.search(plain, text, re.I) is not None or (
                syntax.verb(text) not in syntax.DEFINES and re.search(postfix, text, re.I) is not None
            )
        token = near(sole_error(evidence, "sqlite"))
        if token is None:
            return False
        text = bare(evidence.sql("sqlite"))
        if token == "@" and "@@" in text:
            return False  # full-text search
        return (token == ":" and "::" in text) or token in ("^", "@", "/", "|/", "||/", "#")


class ArraySyntax(Rule):
    """PostgreSQL's arrays sent to SQLite: ARRAY[...], = ANY(...), unnest().

    What differs:
        SQLite has no arrays: ARRAY is a column that does not exist, ANY a function that does not exist, and
        a Python list can't be bound.

    Why:
        A value is a NULL, a number, text or bytes on SQLite.

    Instead:
        IN with one placeholder for each value, on both:

            SELECT id FROM visits WHERE id IN (?, ?, ?)

    References:
        https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes
        https://www.postgresql.org/docs/current/functions-comparisons.html
    """

    name = "array-syntax"
    title = "ARRAY[...] and = ANY(...) are PostgreSQL's own"
    instead = "IN (?, ?, ...) with a placeholder for each value"
    kinds = frozenset({"error", "outcome"})
    priority = 1
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY); INSERT INTO visits VALUES (1);"
    specimens = (
        Specimen(["SELECT id FROM visits WHERE id = ANY(ARRAY[1, 2])"], _VISITS),
        Specimen(["SELECT ARRAY[1, 2]"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE id = ANY('{1,2}')"], _VISITS),
        Specimen([("SELECT id FROM visits WHERE id = ANY(?)", ([1, 2],))], _VISITS),
        Specimen(["SELECT unnest(ARRAY[1, 2])"], _VISITS),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE id IN (?, ?)", (1, 2))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if failure is None:
            return False
        text = bare(evidence.sql("sqlite"))
        if said(
            failure,
            r"no such (function: (any|all|some|unnest|array_(?!agg)\w+)|table: unnest|column: ARRAY)$",
        ):
            return True
        if said(
            failure, r"type 'list' is not supported|Error binding parameter.*(unsupported type|type 'list')"
        ):
            return True
        return (
            near(failure) is not None
            and re.search(r"\bARRAY\s*\[|[=<>]\s*(ANY|ALL|SOME)\s*\(|\]\s*::|\w\s*\[", text, re.I) is not None
        )


class BlobLiteral(Rule):
    """X'...' as bytes, or bytes and text compared.

    What differs:
        x'41' is bytes on SQLite and a bit string on PostgreSQL: stored into BYTEA it fails (42804, column is
        of type bytea but expression is of type bit), selected it reads '01000001', and a text that it is
        appended to is read as bits (22P02, "a" is not a valid binary digit). A text equals bytes never
        on SQLite; PostgreSQL reads the literal as bytes.

    Why:
        The standard's X'...' is a binary string on SQLite; PostgreSQL had taken the notation for bits.

    Instead:
        bytes as a parameter, on both:

            INSERT INTO files (id, body) VALUES (?, ?)

    References:
        https://www.sqlite.org/lang_expr.html#litvalue
        https://www.postgresql.org/docs/current/datatype-binary.html
    """

    name = "blob-literal"
    title = "X'..' is bytes on SQLite, a bit string on PostgreSQL"
    instead = "bytes as a parameter"
    kinds = frozenset({"error", "outcome", "rows", "state"})
    priority = 1
    _FILES: Mapping[str, str] = {
        "sqlite": "CREATE TABLE files (id INTEGER PRIMARY KEY, body BLOB); INSERT INTO files VALUES"
        " (1, x'41');",
        "postgres": "CREATE TABLE files (id INTEGER PRIMARY KEY, body BYTEA); INSERT INTO files"
        " VALUES (1, '\\x41');",
    }
    specimens = (
        Specimen(["INSERT INTO files VALUES (2, x'4142')"], _FILES),
        Specimen(["SELECT x'41' AS b"], _FILES),
        Specimen(["SELECT id FROM files WHERE 'a' || x'0a' || 'b' = 'c'"], _FILES),
        Specimen(["SELECT id FROM files WHERE body = X'41'"], _FILES),
        Specimen([("SELECT id FROM files WHERE body = ?", ("A",))], _FILES),
    )
    near_misses = (Specimen([("SELECT id FROM files WHERE body = ?", (b"A",))], _FILES),)

    def matches(self, evidence: Evidence) -> bool:
        literal = re.search(r"(?<!\w)[xX]''", bare(evidence.text)) is not None
        failure = sole_error(evidence, "postgres", "42804", "42883", "22P02")
        if failure is not None:
            # 'a' || x'0a' has PostgreSQL read the text as bits
            bits = literal and said(failure, r"\bbit\b|is not a valid (binary|hexadecimal) digit") is not None
            return bits or said(failure, r"type bytea but") is not None
        if evidence.kind in ("error", "outcome"):
            return False
        if literal:
            return True
        return any(
            self._bytes(left, right, params, evidence) for left, right, params in _comparisons(evidence)
        )

    def _bytes(self, left: Any, right: Any, params: Mapping[str, Any], evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        for one, other in ((left, right), (right, left)):
            if isinstance(one, exp.Column):
                column = evidence.column(one.name, "postgres", sorted(syntax.tables(evidence.text)))
                if column is not None and family(column.type) == "bytes":
                    try:
                        return isinstance(evaluate(other, {}, params), str)
                    except Unreadable:
                        return False
        return False


class UuidText(Rule):
    """A UUID that is written in another way than it is stored.

    What differs:
        PostgreSQL's uuid ignores case, braces and hyphens; on SQLite a UUID is text (or bytes) and is found
        only as it was written. Searches by an upper-case or unhyphenated key find it on PostgreSQL only.

    Why:
        SQLite has no type for it.

    Instead:
        Write them in one way: str(uuid.UUID(text)) before every statement:

            SELECT id FROM things WHERE id = ?

    References:
        https://www.sqlite.org/datatype3.html#storage_classes_and_datatypes
        https://www.postgresql.org/docs/current/datatype-uuid.html
    """

    name = "uuid-text"
    title = "PostgreSQL reads a uuid in any notation, SQLite as text"
    instead = "str(uuid.UUID(value)) before storing and before searching"
    kinds = VALUE_KINDS
    priority = 4
    _THINGS: Mapping[str, str] = {
        "sqlite": "CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT); INSERT INTO things VALUES"
        " ('0f8fad5b-d9cb-469f-a165-70867728950e', 'a');",
        "postgres": "CREATE TABLE things (id UUID PRIMARY KEY, name TEXT); INSERT INTO things"
        " VALUES ('0f8fad5b-d9cb-469f-a165-70867728950e', 'a');",
    }
    specimens = (
        Specimen(
            [("SELECT name FROM things WHERE id = ?", ("0F8FAD5B-D9CB-469F-A165-70867728950E",))], _THINGS
        ),
        Specimen(
            [("DELETE FROM things WHERE id = ?", ("0f8fad5bd9cb469fa16570867728950e",)), "COMMIT"], _THINGS
        ),
    )
    near_misses = (
        Specimen(
            [("SELECT name FROM things WHERE id = ?", ("0f8fad5b-d9cb-469f-a165-70867728950e",))], _THINGS
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        for left, right, params in _comparisons(evidence):
            for one, other in ((left, right), (right, left)):
                column = (
                    evidence.column(one.name, "postgres", sorted(syntax.tables(evidence.text)))
                    if one.name
                    else None
                )
                if column is None or family(column.type) != "uuid":
                    continue
                try:
                    value = evaluate(other, {}, params)
                except Unreadable:
                    continue
                stored = [row.get(column.name.lower()) for row in stored_rows(evidence, evidence.text)]
                plain = str(value).replace("-", "").strip("{}").lower()
                if any(
                    plain == str(own).replace("-", "").lower() and str(value) != str(own) for own in stored
                ):
                    return True
        return False
