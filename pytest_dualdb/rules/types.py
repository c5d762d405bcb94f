"""Rules about types: what a column keeps, what a comparison converts, what an expression may mix."""

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
    declared,
    evaluate,
    explained,
    family,
    is_number,
    missing_function,
    missing_operator,
    near,
    pairs,
    queries,
    said,
    sole_error,
    stored_rows,
    suspects,
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
        Specimen([("INSERT INTO items VALUES (?, ?)", (1, "1e5")), "SELECT code FROM items", "COMMIT"], _ITEMS),
        Specimen(
            [("INSERT INTO edges VALUES (?)", ("52387145236845619823641872364187",)), "SELECT id FROM edges", "COMMIT"],
            "CREATE TABLE edges (id UUID PRIMARY KEY);",
        ),
        Specimen(["INSERT INTO items VALUES (1, '0042')", "SELECT id FROM items WHERE code || '' = '0042'", "COMMIT"], _ITEMS),
    )
    near_misses = (Specimen([("INSERT INTO items VALUES (?, ?)", (1, "a7")), "SELECT code FROM items", "COMMIT"], _ITEMS),)

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
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY, visits INTEGER); INSERT INTO visits VALUES (1, 3);"
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
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY, visits INTEGER, day DATE); INSERT INTO visits VALUES (1, 3, NULL);"
    specimens = (
        Specimen([("UPDATE visits SET visits = ?", ("",))], _VISITS),
        Specimen([("UPDATE visits SET day = ?", ("",))], _VISITS),
        Specimen(["SELECT id FROM visits WHERE visits <> ''"], _VISITS),
    )
    near_misses = (Specimen([("UPDATE visits SET visits = ?, day = ?", (None, None)), "COMMIT"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22P02", "22007")
        return said(failure, r'invalid input (syntax for type|value for enum) [\w ]+: "\s*"') is not None


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
        """Return whether one operand is text that looks like a number, the other an expression that is one."""
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
        return (ours is None or affinity(ours.type) == "blob") and family(theirs.type) in ("integer", "decimal", "float")

    def _text(self, node: Any) -> bool:
        from sqlglot import expressions as exp

        texts = (exp.Lower, exp.Upper, exp.Substring, exp.DPipe, exp.Trim, exp.TimeToStr, exp.JSONExtractScalar)
        return isinstance(node, texts)


def _comparisons(evidence: Evidence) -> Iterator[tuple[Any, Any, Mapping[str, Any]]]:
    """Yield both operands of every comparison of the divergence's statements, with their parameters."""
    from sqlglot import expressions as exp

    for statement in suspects(evidence, "sqlite"):
        for query in queries(statement, "sqlite"):
            for node in query.tree.find_all(exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Between, exp.In):
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
            [("SELECT id FROM visits WHERE at = ?", (5,))], "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP);"
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
        https://www.sqlite.org/datatype3.html#datatypes_in_sqlite
        https://www.postgresql.org/docs/current/typeconv-union-case.html
    """

    name = "mixed-types"
    title = "different types in one column fail on PostgreSQL"
    instead = "CAST all of them to one type"
    kinds = frozenset({"error", "outcome"})
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY, name TEXT, count INTEGER, at TIMESTAMP); INSERT INTO visits VALUES (1, 'a', 3, NULL);"
    specimens = (
        Specimen(["SELECT count FROM visits UNION SELECT name FROM visits"], _VISITS),
        Specimen(["SELECT CASE WHEN id = 1 THEN name ELSE count END FROM visits"], _VISITS),
        Specimen(["UPDATE visits SET count = name"], _VISITS),
    )
    near_misses = (Specimen(["SELECT CAST(count AS TEXT) FROM visits UNION SELECT name FROM visits"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42804")
        if said(failure, "default expression|bytea"):
            return False
        return said(failure, r"cannot be matched|but expression is of type|but [\w ]+ is of type") is not None


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
    _VISITS = "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP); INSERT INTO visits VALUES (1, '2024-05-01 08:00:00');"
    specimens = (
        Specimen(["SELECT substr(at, 1, 10) FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE length(id) = 1"], _VISITS),
        Specimen(["SELECT upper(id) FROM visits"], _VISITS),
    )
    near_misses = (Specimen(["SELECT substr(CAST(at AS TEXT), 1, 10), lower(CAST(id AS TEXT)) FROM visits"], _VISITS),)
    _SHARED = frozenset(
        "lower upper length max min substr substring replace trim ltrim rtrim btrim strpos left right lpad rpad reverse repeat"
        " ascii chr split_part to_char to_date to_timestamp date_trunc date_part extract abs ceil ceiling floor round"
        " trunc sum avg mod power pow sqrt exp ln log sign octet_length char_length position concat_ws string_agg"
        " array_agg nullif date make_date age char_length character_length encode decode md5 initcap translate"
        " sin cos tan asin acos atan degrees radians regexp_replace count coalesce format".split()
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
        https://www.sqlite.org/lang_expr.html#parameters
        https://www.postgresql.org/docs/current/typeconv.html
    """

    name = "untyped-parameter"
    title = "PostgreSQL cannot tell the type of a parameter"
    instead = "CAST(? AS type)"
    kinds = frozenset({"error", "outcome"})
    specimens = (Specimen([{"sqlite": "SELECT json_array(NULL)", "postgres": "SELECT array_to_json(NULL)"}]),)
    near_misses = (Specimen([("SELECT id FROM t WHERE CAST(? AS INTEGER) IS NULL OR id = ?", (None, 1))], "CREATE TABLE t (id INTEGER);"),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42P18", "42P08", "42804", "42725")
        return said(failure, r"could not determine (data|polymorphic) type|inconsistent types deduced") is not None


class OperatorSpelling(Rule):
    """An operator that one database spells otherwise: ==, IS 5, ^, ::, ->, !.

    What differs:
        `==` and `IS`/`IS NOT` between values work on SQLite only (42883 operator does not exist: integer ==
        integer; 42601 at or near the value). `::type`, `^` (power), `@`, `|/`, `!~` and `#` are
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
        https://www.sqlite.org/lang_expr.html#operators
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
            plain = r"\bIS\s+(?:NOT\s+)?(?!NOT\b|NULL\b|TRUE\b|FALSE\b|UNKNOWN\b|DISTINCT\b|JSON\b|DOCUMENT\b|NORMALIZED\b|NF\w+\b)[\w'\"%:(?-]"
            return re.search(plain, text, re.I) is not None
        token = near(sole_error(evidence, "sqlite"))
        if token is None:
            return False
        text = bare(evidence.sql("sqlite"))
        return (token == ":" and "::" in text) or token in ("^", "@", "/", "|/", "||/")


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
        if said(failure, r"no such (function: (any|all|some|unnest|array_(?!agg)\w+)|table: unnest|column: ARRAY)$"):
            return True
        if said(failure, r"type 'list' is not supported|Error binding parameter.*(unsupported type|type 'list')"):
            return True
        return near(failure) is not None and re.search(r"\bARRAY\s*\[|[=<>]\s*(ANY|ALL|SOME)\s*\(|\]\s*::|\w\s*\[", text, re.I) is not None


class BlobLiteral(Rule):
    """X'...' as bytes, or bytes and text compared.

    What differs:
        x'41' is bytes on SQLite and a bit string on PostgreSQL: stored into BYTEA it fails (42804, column is
        of type bytea but expression is of type bit), selected it reads '01000001'. A text equals bytes never
        on SQLite; PostgreSQL reads the literal as bytes.

    Why:
        The standard's X'...' is a binary string on SQLite; PostgreSQL had taken the notation for bits.

    Instead:
        bytes as a parameter, on both:

            INSERT INTO files (id, body) VALUES (?, ?)

    References:
        https://www.sqlite.org/lang_expr.html#literal_values_constants_
        https://www.postgresql.org/docs/current/datatype-binary.html
    """

    name = "blob-literal"
    title = "X'..' is bytes on SQLite, a bit string on PostgreSQL"
    instead = "bytes as a parameter"
    kinds = frozenset({"error", "outcome", "rows", "state"})
    priority = 1
    _FILES: Mapping[str, str] = {
        "sqlite": "CREATE TABLE files (id INTEGER PRIMARY KEY, body BLOB); INSERT INTO files VALUES (1, x'41');",
        "postgres": "CREATE TABLE files (id INTEGER PRIMARY KEY, body BYTEA); INSERT INTO files VALUES (1, '\\x41');",
    }
    specimens = (
        Specimen(["INSERT INTO files VALUES (2, x'4142')"], _FILES),
        Specimen(["SELECT x'41' AS b"], _FILES),
        Specimen(["SELECT id FROM files WHERE body = X'41'"], _FILES),
        Specimen([("SELECT id FROM files WHERE body = ?", ("A",))], _FILES),
    )
    near_misses = (Specimen([("SELECT id FROM files WHERE body = ?", (b"A",))], _FILES),)

    def matches(self, evidence: Evidence) -> bool:
        literal = re.search(r"(?<!\w)[xX]''", bare(evidence.text)) is not None
        failure = sole_error(evidence, "postgres", "42804", "42883", "22P02")
        if failure is not None:
            return literal and said(failure, r"\bbit\b") is not None or said(failure, r"type bytea but") is not None
        if evidence.kind in ("error", "outcome"):
            return False
        if literal:
            return True
        return any(self._bytes(left, right, params, evidence) for left, right, params in _comparisons(evidence))

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
    _THINGS: Mapping[str, str] = {
        "sqlite": "CREATE TABLE things (id TEXT PRIMARY KEY, name TEXT); INSERT INTO things VALUES ('0f8fad5b-d9cb-469f-a165-70867728950e', 'a');",
        "postgres": "CREATE TABLE things (id UUID PRIMARY KEY, name TEXT); INSERT INTO things VALUES ('0f8fad5b-d9cb-469f-a165-70867728950e', 'a');",
    }
    specimens = (
        Specimen([("SELECT name FROM things WHERE id = ?", ("0F8FAD5B-D9CB-469F-A165-70867728950E",))], _THINGS),
        Specimen([("DELETE FROM things WHERE id = ?", ("0f8fad5bd9cb469fa16570867728950e",)), "COMMIT"], _THINGS),
    )
    near_misses = (Specimen([("SELECT name FROM things WHERE id = ?", ("0f8fad5b-d9cb-469f-a165-70867728950e",))], _THINGS),)

    def matches(self, evidence: Evidence) -> bool:
        for left, right, params in _comparisons(evidence):
            for one, other in ((left, right), (right, left)):
                column = evidence.column(one.name, "postgres", sorted(syntax.tables(evidence.text))) if one.name else None
                if column is None or family(column.type) != "uuid":
                    continue
                try:
                    value = evaluate(other, {}, params)
                except Unreadable:
                    continue
                stored = {row.get(column.name.lower()) for row in stored_rows(evidence, evidence.text)}
                plain = str(value).replace("-", "").strip("{}").lower()
                if any(plain == str(own).replace("-", "").lower() and str(value) != str(own) for own in stored):
                    return True
        return False
