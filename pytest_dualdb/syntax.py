"""What the text of a statement says: its verb, its tables, whether it orders or cuts its rows.

sqlglot parses, and only where something differs: it is imported on the first parse. What it cannot read is
answered from the text by the plainest means. Nothing here knows recordings, drivers or pytest.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from pytest_dualdb.recording import Backend

if TYPE_CHECKING:
    from sqlglot import expressions as exp

MAX_PARSED_CHARACTERS = 20_000
"""Longer statements are generated: they are not parsed, which would take seconds, and only begun to be read."""

_Answer = TypeVar("_Answer")
_Rest = ParamSpec("_Rest")


def _remembered(
    function: Callable[Concatenate[str, _Rest], _Answer],
) -> Callable[Concatenate[str, _Rest], _Answer]:
    """Keep answers by statement; of a long one only the beginning is read, and nothing is kept."""
    cached = functools.lru_cache(maxsize=1024)(function)

    @functools.wraps(function)
    def answer(sql: str, /, *args: _Rest.args, **kwargs: _Rest.kwargs) -> _Answer:
        if len(sql) > MAX_PARSED_CHARACTERS:
            return function(sql[:MAX_PARSED_CHARACTERS], *args, **kwargs)
        return cached(sql, *args, **kwargs)  # type: ignore[arg-type]

    return answer


_LEADING = re.compile(r"(?:\s+|--[^\n]*(?:\n|$)|/\*.*?\*/|\()*", re.S)
_VERB = re.compile(r"[A-Za-z]+")
WRITES = frozenset({"INSERT", "UPDATE", "DELETE", "REPLACE", "MERGE"})
DEFINES = frozenset({"CREATE", "ALTER", "DROP", "COMMENT", "TRUNCATE", "REINDEX", "GRANT", "REVOKE"})
_WITH_WRITE = re.compile(r"\)\s*(INSERT|UPDATE|DELETE|REPLACE|MERGE)\b", re.I)


@_remembered
def verb(sql: str) -> str:
    """Return the first word of a statement in upper case; for WITH the verb of what follows it."""
    start = _LEADING.match(sql)
    word = _VERB.match(sql, start.end() if start else 0)
    found = word[0].upper() if word else ""
    if found == "WITH":
        write = _WITH_WRITE.search(sql)
        return write[1].upper() if write else "SELECT"
    return found


_FAMILIES = {"REPLACE": "INSERT", "VALUES": "SELECT", "TABLE": "SELECT", "START": "BEGIN", "END": "COMMIT"}


def family(sql: str) -> str:
    """Return the verb, the same for the dialects' words for one thing."""
    word = verb(sql)
    return _FAMILIES.get(word, word)


_ABOUT_SCHEMA = re.compile(
    r"^\s*(?:pragma|show|set|explain)\b"
    r"|\b(?:pg_catalog\.|pg_(?:type|class|namespace|attribute|index|constraint|enum|tables|indexes)\b"
    r"|information_schema\.|sqlite_(?:master|schema|temp_master)\b)"
    r"|^\s*select\s+(?:pg_catalog\.)?(?:version|current_schema|sqlite_version)\s*\(\s*\)\s*$",
    re.I,
)


@_remembered
def is_about_schema(sql: str) -> bool:
    """Return whether the statement asks about the database itself, in words that one side alone has."""
    return _ABOUT_SCHEMA.search(sql) is not None


@_remembered
def parse(sql: str, backend: Backend) -> tuple[exp.Expr, ...]:
    """Parse a statement as that backend's dialect; one that can't be read gives an empty tuple.

    The placeholders of psycopg2 (``%s``, ``%(name)s``, ``%%``) are read as ``?``, ``:name`` and ``%``, those of
    asyncpg (``$1``) as ``?``.
    """
    if len(sql) >= MAX_PARSED_CHARACTERS:
        return ()
    import logging

    import sqlglot

    # its warnings about syntax it only passes through are of no use to the user
    logging.getLogger("sqlglot").setLevel(logging.CRITICAL)
    text = sql
    if backend == "postgres":
        text = re.sub(r"(?<![\w$])\$[1-9]\d*\b", "?", text)
        text = re.sub(r"%\((\w+)\)s", r":\1", text)
        text = text.replace("%s", "?").replace("%%", "%")
    try:
        parsed = sqlglot.parse(text, read=backend)
    except Exception:  # a tokenizer or parser error of any kind: the text has to do
        bare = untyped(sql)  # it does not read LIMIT $1::INTEGER
        return () if bare == sql else parse(bare, backend)
    return tuple(tree for tree in parsed if tree is not None)


@dataclass(frozen=True, slots=True)
class SortKey:
    """One ORDER BY term: an index into the result's columns or None, and whether it is descending or random()."""

    column: int | None
    descending: bool
    name: str = ""
    random: bool = False


@dataclass(frozen=True, slots=True)
class Shape:
    """How a query arranges its result."""

    ordered: bool
    limited: bool
    keys: tuple[SortKey, ...] = ()


@_remembered
def shape(sql: str, backend: Backend, columns: tuple[str, ...] = ()) -> Shape:
    """Return whether the outermost query orders and limits its rows, and by which result columns."""
    trees = parse(sql, backend)
    if not trees:
        tail = sql.rpartition(")")[2]
        ordered = bool(re.search(r"\border\s+by\b", tail, re.I))
        return Shape(ordered, bool(re.search(r"\blimit\b|\bfetch\s+first\b", tail, re.I)))
    from sqlglot import expressions as exp

    tree: Any = trees[-1]
    order = tree.args.get("order")
    limited = tree.args.get("limit") is not None
    if order is None:
        return Shape(False, limited)
    keys = tuple(
        SortKey(
            _position(term.this, tree, columns, exp),
            bool(term.args.get("desc")),
            term.this.name.lower() if isinstance(term.this, exp.Column) else "",
            term.this.find(exp.Rand) is not None,
        )
        for term in order.expressions
    )
    return Shape(True, limited, keys)


def _position(term: Any, tree: Any, columns: tuple[str, ...], exp: Any) -> int | None:
    if isinstance(term, exp.Literal) and not term.is_string:
        return int(term.this) - 1 if term.this.isdigit() else None
    lowered = [column.lower() for column in columns]
    if isinstance(term, exp.Column) and term.name.lower() in lowered:
        return lowered.index(term.name.lower())
    for index, selected in enumerate(tree.selects if hasattr(tree, "selects") else ()):
        if selected.unalias() == term:
            return index
    return None


@_remembered
def sources(sql: str, backend: Backend, column: int) -> frozenset[str]:
    """Return the lower-case names of the table columns that a result column is computed from."""
    trees = parse(sql, backend)
    selected = trees[-1].selects if trees and hasattr(trees[-1], "selects") else ()
    if column >= len(selected):
        return frozenset()
    from sqlglot import expressions as exp

    return frozenset(found.name.lower() for found in selected[column].find_all(exp.Column))


@_remembered
def parameter_columns(sql: str, backend: Backend, table: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return for each placeholder the column that an INSERT or UPDATE writes it to, empty for any other.

    ``table`` are the table's columns, for an INSERT that names none.
    """
    if verb(sql) not in WRITES:
        return ()
    trees = parse(sql, backend)
    if len(trees) != 1:
        return ()
    from sqlglot import expressions as exp

    tree: Any = trees[0]
    inserted = (
        [column.name for column in tree.this.expressions]
        if isinstance(tree.this, exp.Schema)
        else list(table)
    )
    names = []
    for node in tree.dfs():
        if not isinstance(node, exp.Placeholder):
            continue
        parent = node.parent
        name = ""
        if isinstance(parent, exp.Tuple) and isinstance(parent.parent, exp.Values) and node.index is not None:
            name = inserted[node.index] if node.index < len(inserted) else ""
        elif (
            isinstance(parent, exp.EQ)
            and isinstance(parent.parent, exp.Update)
            and isinstance(parent.this, exp.Column)
        ):
            name = parent.this.name
        names.append(name)
    return tuple(names)


_TABLE_WORD = re.compile(
    r"\b(?:from|join|into|update|table|references|truncate|exists|only)\s+(?:(?:if\s+(?:not\s+)?exists|only|or\s+\w+)\s+)?"
    r"((?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])(?:\s*\.\s*(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\]))?)",
    re.I,
)


def _bare(name: str) -> str:
    """Return a table's name in lower case, without its schema and quotes."""
    return name.rpartition(".")[2].strip().strip('"`[]').lower()


@_remembered
def main_table(sql: str) -> str:
    """Return the lower-case name that stands first where a table does, empty if none does."""
    match = _TABLE_WORD.search(_NO_TABLE.sub(" ", sql))
    return "" if match is None else _bare(match[1])


_NO_TABLE = re.compile(
    r"\bextract\s*\(\s*'?\w+'?\s+from\b|\bdistinct\s+from\b|\b(?:trim|substring|overlay)\s*\([^()]*?\sfrom\b"
    r"|\b(?:for(?:\s+no\s+key)?|on|before|after|of|or)\s+update\b(?:\s+or\b)?",
    re.I,
)
"""FROM and UPDATE where they name no table: a lock, an action of a foreign key, a trigger's event."""


@_remembered
def tables(sql: str) -> frozenset[str]:
    """Return the lower-case names that the statement uses as tables, as far as the text tells."""
    names = set()
    for match in _TABLE_WORD.finditer(_NO_TABLE.sub(" ", sql)):
        name = _bare(match[1])
        if name not in {"select", "set", "only", "if", "not"}:
            names.add(name)
    return frozenset(names)


_WRITTEN = re.compile(
    r"\b(?:insert\s+(?:or\s+\w+\s+)?into|replace\s+into|update(?:\s+or\s+\w+)?(?:\s+only)?"
    r"|delete\s+from(?:\s+only)?|merge\s+into|copy)\s+"
    r"((?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])(?:\s*\.\s*(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\]))?)",
    re.I,
)


@_remembered
def written_tables(sql: str) -> frozenset[str]:
    """Return the lower-case names of the tables that the statement writes, triggers and cascades apart."""
    found = (_bare(match[1]) for match in _WRITTEN.finditer(_NO_TABLE.sub(" ", sql)))
    return frozenset(name for name in found if name != "set")


_DEFINED = re.compile(
    r"^\s*(?:create|drop|alter)\s+(?:(?:temp|temporary|unlogged)\s+)?table\s+(?:if\s+(?:not\s+)?exists\s+)?"
    r"((?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\])(?:\s*\.\s*(?:[\w$]+|\"[^\"]+\"|`[^`]+`|\[[^\]]+\]))?)",
    re.I,
)


@_remembered
def defined_tables(sql: str) -> frozenset[str]:
    """Return the lower-case name of the table that the statement creates, alters or drops."""
    match = _DEFINED.search(sql)
    return frozenset() if match is None else frozenset({_bare(match[1])})


_DEFINED_KIND = re.compile(
    r"^\s*(?:create|drop|alter)\s+(?:or\s+replace\s+)?"
    r"(?:(?:temp|temporary|unlogged|unique|virtual|materialized|recursive|constraint|foreign)\s+)*(\w+)",
    re.I,
)


@_remembered
def defined_kind(sql: str) -> str:
    """Return what kind of object the statement creates, alters or drops, as ``TABLE``; empty if none."""
    match = _DEFINED_KIND.search(sql)
    return "" if match is None else match[1].upper()


_CAST = (
    r"(?:::[A-Z][A-Z0-9_]*(?: VARYING| PRECISION)?(?:\(\d+(?:, ?\d+)?\))?"
    r"(?: WITH(?:OUT)? TIME ZONE)?(?:\[\])*(?![A-Za-z0-9_]))?"
)
"""How SQLAlchemy tells a driver that binds on the server the type of a parameter: ``$1::VARCHAR``."""
_TYPED = re.compile(rf"(%\(\w+\)s|\$\d+){_CAST}")
PLACEHOLDER = re.compile(rf"(?:%\(\w+\)s|\$\d+){_CAST}|%s|\?\d*|(?<!:):\w+")
"""A placeholder of any driver, with the cast that SQLAlchemy puts behind it."""


@_remembered
def skeleton(sql: str) -> str:
    """Return the text without what differs between drivers: placeholders, white space, letter case."""
    text = PLACEHOLDER.sub("?", sql.replace("%%", "%"))
    return " ".join(text.lower().split())


@_remembered
def untyped(sql: str) -> str:
    """Return a statement of SQLAlchemy's without the casts that it puts behind placeholders."""
    return _TYPED.sub(r"\1", sql)
