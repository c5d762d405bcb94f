"""What the evidence of one divergence says: who failed and how, which values differ, what a condition reads.

Rules ask in these words, so that a ladder of `matches` stays short. Everything here states a fact of the
recordings; no function here knows a rule.
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend, Column, Failure, Statement
from pytest_dualdb.rules.base import Evidence, text_of
from pytest_dualdb.rules.messages import in_english
from pytest_dualdb.values import instant, same_value

MAX_ROWS = 2_000
"""Rows of a table that are looked at for a value that explains a difference."""
MAX_STATEMENTS = 200
"""Statements before the divergence that are read for the rows that they inserted."""
MAX_SETS = 50
"""Parameter sets of one executemany that are looked at."""

OTHER: Mapping[Backend, Backend] = {"sqlite": "postgres", "postgres": "sqlite"}


# ------------------------------------------------------------------------------------------------- errors


def sole_error(evidence: Evidence, backend: Backend, *sqlstates: str) -> Failure | None:
    """Return the error that this backend raised, of one of those SQLSTATEs if any are named."""
    failure = evidence.error(backend) if evidence.kind in ("error", "outcome") else None
    if failure is None or (sqlstates and failure.sqlstate not in sqlstates):
        return None
    return failure


def said(failure: Failure | None, pattern: str) -> re.Match[str] | None:
    """Search the first line of an error's message, letter case apart, in English on any server."""
    return None if failure is None else re.search(pattern, in_english(failure), re.I)


class MissingFunction(NamedTuple):
    """A function that the backend does not know: lower-case name, and the types where it names them."""

    name: str
    arguments: tuple[str, ...]


def missing_function(failure: Failure | None) -> MissingFunction | None:
    """Return the function that the error says does not exist, None for another error."""
    found = said(failure, r'function (?:pg_catalog\.)?"?([\w.]+)"?\((.*)\) does not exist')
    if found:
        return MissingFunction(found[1].lower(), tuple(found[2].split(", ")) if found[2] else ())
    found = said(failure, r"no such (?:table-valued )?function: (\w+)")
    return MissingFunction(found[1].lower(), ()) if found else None


class MissingOperator(NamedTuple):
    """An operator that PostgreSQL does not know for these types; ``left`` is empty for a prefix operator."""

    left: str
    symbol: str
    right: str


def missing_operator(failure: Failure | None) -> MissingOperator | None:
    """Return the operator that the error says does not exist (42883) or is ambiguous (42725)."""
    found = said(
        failure, r"operator (?:does not exist|is not unique): (?:(.+?) )??([-+*/<>=~!@#%^&|`?]+) (.+)$"
    )
    return MissingOperator(found[1] or "", found[2], found[3]) if found else None


def near(failure: Failure | None) -> str | None:
    """Return the token at which a syntax error was found, as written."""
    found = said(failure, r'near "(.*)": syntax error|unrecognized token: "(.*)"|at or near "(.*)"')
    return next(part for part in found.groups() if part is not None) if found else None


# --------------------------------------------------------------------------------------------------- text

_NOISE = re.compile(r"'(?:[^']|'')*'|--[^\n]*|/\*.*?\*/", re.S)


@functools.lru_cache(maxsize=1024)
def bare(sql: str) -> str:
    """Return the statement with its literals emptied and its comments gone; quoted names stay."""
    return _NOISE.sub(lambda m: "''" if m[0].startswith("'") else " ", sql)


def calls(sql: str, *names: str) -> bool:
    """Return whether the statement's text calls one of these functions."""
    return re.search(rf"\b(?:{'|'.join(names)})\s*\(", bare(sql), re.I) is not None


def suspects(evidence: Evidence, backend: Backend) -> list[Statement]:
    """Return the statements that can be at the bottom of it, first the divergence's own.

    That is the statement; for stored rows every statement of the half that wrote the table.
    """
    own = evidence.statement(backend)
    found = [] if own is None else [own]
    table = evidence.divergence.table
    if table is not None:
        statements = evidence.recordings[backend].statements
        found += [s for s in statements if s is not own and table in syntax.written_tables(s.sql)]
    return found


def texts(evidence: Evidence) -> list[str]:
    """Return the bare texts of all statements of both halves that can be behind the divergence."""
    return [bare(text_of(statement)) for backend in BACKENDS for statement in suspects(evidence, backend)]


# ------------------------------------------------------------------------------------------- bound queries


@dataclass(frozen=True, slots=True)
class Query:
    """A parsed statement with the values of its placeholders, one mapping for each set of parameters."""

    tree: Any
    sets: tuple[Mapping[str, Any], ...]

    @property
    def first(self) -> Mapping[str, Any]:
        return self.sets[0] if self.sets else {}


_TOKEN = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|--[^\n]*|/\*.*?\*/|%%|%\((\w+)\)s|(%s)|(\?\d*)|"
    r"(?<![:\w])[:@$]([A-Za-z_]\w*)|(?<![\w$])\$(\d+)",
    re.S,
)


@functools.lru_cache(maxsize=1024)
def _numbered(sql: str, backend: Backend, bound: bool) -> str:
    """Give every placeholder a name (``:p1``, ``:p2`` by position), which sqlglot keeps."""
    count = 0

    def name(match: re.Match[str]) -> str:
        nonlocal count
        text = match[0]
        if text[0] in "'\"-/":
            return text.replace("%%", "%") if backend == "postgres" and bound else text
        if text == "%%":
            return "%"
        if match[1]:
            return f":{match[1]}"
        if match[2] or (match[3] and backend == "sqlite"):
            count += 1
            return f":p{match[3][1:] if match[3] and len(match[3]) > 1 else count}"
        if match[5]:  # asyncpg's, and one that sqlite3 takes for a name
            return f":p{match[5]}"
        return f":{match[4]}" if match[4] and backend == "sqlite" else text

    return _TOKEN.sub(name, sql)


def queries(statement: Statement | None, backend: Backend) -> list[Query]:
    """Return the parsed statements of a text with their parameters; empty where it can't be parsed."""
    if statement is None:
        return []
    params = statement.params
    sets = [] if params is None else list(params)[:MAX_SETS] if statement.kind == "executemany" else [params]
    named = tuple(
        one if isinstance(one, Mapping) else {f"p{i}": value for i, value in enumerate(one, 1)}
        for one in sets
    )
    text = _numbered(text_of(statement), backend, params is not None)
    return [Query(tree, named) for tree in syntax.parse(text, backend)]


class Unreadable(LookupError):
    """Say that a value can't be known from the recordings."""


def evaluate(node: Any, row: Mapping[str, Any], params: Mapping[str, Any]) -> Any:
    """Return the value of a simple expression for one row (by lower-case column name).

    Raises `Unreadable` for what is not a column, a parameter, a literal, or lower, upper, trim, cast,
    coalesce and concatenation of those.
    """
    from sqlglot import expressions as exp

    if isinstance(node, exp.Placeholder):
        if node.name in params:
            return params[node.name]
        raise Unreadable(node.name)
    if isinstance(node, exp.Literal):
        return node.this if node.is_string else float(node.this) if "." in node.this else int(node.this)
    if isinstance(node, exp.Null):
        return None
    if isinstance(node, exp.Boolean):
        return bool(node.this)
    if isinstance(node, exp.Column):
        if node.name.lower() in row:
            return row[node.name.lower()]
        raise Unreadable(node.name)
    if isinstance(node, exp.Lower | exp.Upper | exp.Trim):
        text = evaluate(node.this, row, params)
        if not isinstance(text, str):
            return text
        return (
            text.lower()
            if isinstance(node, exp.Lower)
            else text.upper()
            if isinstance(node, exp.Upper)
            else text.strip()
        )
    if isinstance(node, exp.Paren | exp.Cast | exp.Collate | exp.Escape):
        return evaluate(node.this, row, params)
    if isinstance(node, exp.Coalesce):
        found = (evaluate(part, row, params) for part in (node.this, *node.expressions))
        return next((value for value in found if value is not None), None)
    if isinstance(node, exp.DPipe):
        parts = [evaluate(part, row, params) for part in (node.left, node.right)]
        return None if None in parts else "".join(map(str, parts))
    if isinstance(node, exp.Concat):
        parts = [evaluate(part, row, params) for part in node.expressions]
        return "".join("" if part is None else str(part) for part in parts)
    raise Unreadable(type(node).__name__)


def stored_rows(evidence: Evidence, sql: str) -> Iterator[Mapping[str, Any]]:
    """Yield the known rows of the statement's tables, of both backends, by lower-case column name.

    Rows that the statement itself returned count too: what it deleted or changed is in no table any more.
    """
    own = evidence.divergence.table
    for table in sorted(syntax.tables(sql) | ({own} if own else set())):
        for backend in BACKENDS:
            now = evidence.recordings[backend].state.get(table)
            before = evidence.templates.get(backend, {}).get(table)
            for state in (now, before):
                if state is not None:
                    columns = [column.lower() for column in state.columns]
                    yield from (dict(zip(columns, row, strict=False)) for row in state.rows[:MAX_ROWS])
    for backend in BACKENDS:
        for statement in evidence.before(backend)[-MAX_STATEMENTS:]:
            if syntax.tables(statement.sql) & syntax.tables(sql) and statement.columns is None:
                yield from inserted_rows(statement, backend)
    if evidence.divergence.difference is not None:
        columns = [column.lower() for column in evidence.divergence.difference.columns]
        for row in (
            *evidence.divergence.difference.only_sqlite,
            *evidence.divergence.difference.only_postgres,
        ):
            yield dict(zip(columns, row, strict=False))


def inserted_rows(statement: Statement, backend: Backend) -> Iterator[Mapping[str, Any]]:
    """Yield what an INSERT with a column list put in, as far as its values can be read."""
    from sqlglot import expressions as exp

    if syntax.verb(statement.sql) not in ("INSERT", "REPLACE"):
        return
    for query in queries(statement, backend):
        if not isinstance(query.tree, exp.Insert) or not isinstance(query.tree.this, exp.Schema):
            continue
        names = [column.name.lower() for column in query.tree.this.expressions]
        values = query.tree.expression
        if not isinstance(values, exp.Values):
            continue
        for params in query.sets or ({},):
            for one in values.expressions:
                row = {}
                for name, node in zip(
                    names, one.expressions if isinstance(one, exp.Tuple) else [one], strict=False
                ):
                    try:
                        row[name] = evaluate(node, {}, params)
                    except Unreadable:
                        continue
                yield row


# ------------------------------------------------------------------------------------------ differing values


class Pair(NamedTuple):
    """Two values of one place that are not the same value."""

    column: str
    sqlite: Any
    postgres: Any


def pairs(evidence: Evidence) -> list[Pair]:
    """Return the values that differ, rows paired by likeness; empty where the numbers of rows differ."""
    difference = evidence.divergence.difference
    if difference is None or len(difference.only_sqlite) != len(difference.only_postgres):
        return []
    waiting = list(difference.only_postgres)
    found = []
    for row in difference.only_sqlite:
        partner = max(waiting, key=lambda other: sum(map(same_value, row, other)))
        waiting.remove(partner)
        for column, a, b in zip(difference.columns, row, partner, strict=False):
            if difference.differing and column not in difference.differing:
                continue  # what depends on the run is no difference
            if evidence.kind == "type" or not same_value(a, b):
                found.append(Pair(column, a, b))
    return found


def values_at(rows: Iterable[Sequence[Any]], index: int) -> list[Any]:
    """Return one column of some rows; a half whose statement gives fewer columns has none of it."""
    return [row[index] for row in rows if index < len(row)]


def in_place(evidence: Evidence) -> list[Pair]:
    """Return the values that differ in rows of the same place, where both halves got as many in an asked order.

    Likeness pairs a value with the one that another row changed to, such as 9 of 8 and 9 that became 9 and 10.
    """
    left, right, difference = evidence.sqlite, evidence.postgres, evidence.divergence.difference
    if evidence.kind != "rows" or left is None or right is None or difference is None:
        return []
    rows = left.values, right.values
    if len(rows[0]) != len(rows[1]) or len(rows[0]) > MAX_ROWS:
        return []
    if not syntax.shape(right.sql, "postgres", right.columns or ()).ordered:
        return []
    return [
        Pair(column, a, b)
        for one, other in zip(*rows, strict=True)
        for column, a, b in zip(difference.columns, one, other, strict=False)
        if (not difference.differing or column in difference.differing) and not same_value(a, b)
    ]


def single(evidence: Evidence) -> bool:
    """Return whether both halves got one row with one value, such as a count."""
    difference = evidence.divergence.difference
    if difference is None:
        return False
    return len(difference.only_sqlite) == len(difference.only_postgres) == 1 == len(difference.columns)


def leaves(left: Any, right: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the values that differ inside two nested values, such as the bodies of two responses.

    Two texts that are JSON documents count as what they hold; lists of different length yield nothing.
    """
    if same_value(left, right) and type(left) is type(right):
        return
    if isinstance(left, str) and isinstance(right, str) and left[:1] in ("{", "[") and right[:1] == left[:1]:
        try:
            left, right = json.loads(left), json.loads(right)
        except ValueError:
            yield left, right
            return
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        for key in left.keys() & right.keys():
            yield from leaves(left[key], right[key])
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple):
        if len(left) == len(right):
            for one, other in zip(left, right, strict=True):
                yield from leaves(one, other)
    else:
        yield left, right


def observed_leaves(evidence: Evidence) -> list[tuple[Any, Any]]:
    """Return the differing values inside an observed value; empty for another kind of divergence."""
    if evidence.kind != "observed":
        return []
    return [leaf for pair in pairs(evidence) for leaf in leaves(pair.sqlite, pair.postgres)]


_RENDERED = re.compile(
    r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?)?(?:Z|[+-]\d\d(?::?\d\d)?)?|[\w.:+-]+"
)
_NUMBER_OF = {"true": "1", "false": "0"}


def renderings(evidence: Evidence) -> frozenset[str]:
    """Return as what observed values differ though they say the same: "number", "boolean", "time".

    Looks into texts: a line of a CSV file holds 1.5 on one side and 1.50 on the other. Empty if anything
    else differs, too.
    """
    found = set()
    for left, right in observed_leaves(evidence):
        texts = str(left), str(right)
        sides = [_RENDERED.findall(text) for text in texts]
        if len(sides[0]) != len(sides[1]) or _RENDERED.sub("", texts[0]) != _RENDERED.sub("", texts[1]):
            return frozenset()
        for one, other in zip(*sides, strict=True):
            kind = "" if one == other else _rendering(one, other)
            if kind is None:
                return frozenset()
            found.add(kind)
    return frozenset(found - {""})


def _rendering(left: str, right: str) -> str | None:
    """Return what kind of value two different texts are both ways to write, None if they are not."""
    if _NUMBER_OF.get(right.lower()) == left:
        return "boolean"
    if instant(left) is not None and instant(left) == instant(right):
        return "time"
    try:
        same = math.isclose(float(left), float(right), rel_tol=1e-12)
    except ValueError:
        return None
    return "number" if same else None


def declared(evidence: Evidence, column: str, backend: Backend) -> list[Column]:
    """Return the catalog's columns that a result column is or is made of."""
    tables = evidence.divergence.table
    names = sorted(syntax.tables(evidence.sql(backend)) if tables is None else {tables})
    own = evidence.column(column, backend, names)
    if own is not None:
        return [own]
    from sqlglot import expressions as exp

    found = []
    for tree in evidence.trees(backend):
        selected = getattr(tree, "selects", ())
        chosen = [node for node in selected if node.alias_or_name.lower() == column.lower()] or selected
        for node in chosen:
            for part in node.find_all(exp.Column):
                one = evidence.column(part.name, backend, names)
                if one is not None and one not in found:
                    found.append(one)
    return found


_FAMILIES = (
    ("boolean", r"^BOOL"),
    ("time", r"^(TIMESTAMP|DATE|TIME|INTERVAL)"),
    ("integer", r"^(SMALL|BIG)?(INT|SERIAL)|^INT\d|^SERIAL"),
    ("decimal", r"^(NUMERIC|DECIMAL|MONEY)"),
    ("float", r"^(REAL|DOUBLE|FLOAT)"),
    ("json", r"^JSON"),
    ("uuid", r"^UUID"),
    ("bytes", r"^(BYTEA|BLOB)"),
    ("char", r"^(CHARACTER|CHAR|BPCHAR|NCHAR)(?! ?VARYING)\b"),
    ("text", r"CHAR|TEXT|CLOB|NAME|UNKNOWN"),
)


@functools.cache
def family(type_name: str) -> str:
    """Return what kind of value a PostgreSQL type holds: text, char, integer, decimal, time, ... or other."""
    upper = type_name.strip().upper()
    return next((name for name, pattern in _FAMILIES if re.search(pattern, upper)), "other")


@functools.cache
def affinity(type_name: str) -> str:
    """Return the affinity that SQLite gives a declared type, by the five tests of its manual."""
    upper = type_name.upper()
    if "INT" in upper:
        return "integer"
    if any(part in upper for part in ("CHAR", "CLOB", "TEXT")):
        return "text"
    if "BLOB" in upper or not upper.strip():
        return "blob"
    if any(part in upper for part in ("REAL", "FLOA", "DOUB")):
        return "real"
    return "numeric"


def is_number(value: Any) -> bool:
    """Return whether a value is a number, and not a boolean."""
    import decimal

    return isinstance(value, int | float | decimal.Decimal) and not isinstance(value, bool)


def families(evidence: Evidence, column: str) -> set[str]:
    """Return the kinds of values that PostgreSQL's columns behind a result column hold."""
    return {family(one.type) for one in declared(evidence, column, "postgres")}


def explained(evidence: Evidence, test: Callable[[Pair], bool]) -> bool:
    """Return whether in some column every differing pair of values passes the test.

    One cause explains a column as a whole; another column of the same rows can have another cause.
    """
    for found in (pairs(evidence), in_place(evidence)):
        columns: dict[str, list[Pair]] = {}
        for pair in found:
            columns.setdefault(pair.column, []).append(pair)
        if any(all(map(test, group)) for group in columns.values()):
            return True
    return False


def differ_in_numbers(evidence: Evidence) -> bool:
    """Return whether a number differs from a number in some place."""
    return any(is_number(pair.sqlite) and is_number(pair.postgres) for pair in pairs(evidence))


def numbers_apart(evidence: Evidence, test: Callable[[str, float, float], bool]) -> bool:
    """Return whether in some column all that differs is numbers that pass: column, SQLite's, PostgreSQL's."""

    def passes(pair: Pair) -> bool:
        if not is_number(pair.sqlite) or not is_number(pair.postgres):
            return False
        return test(pair.column, float(pair.sqlite), float(pair.postgres))

    return explained(evidence, passes)
