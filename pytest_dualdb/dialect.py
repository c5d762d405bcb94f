"""What must be said differently to SQLite and to PostgreSQL: placeholders, scripts and functions.

`Database.execute` takes `?` and `:name` on both backends, `executescript` and schema files take many
statements in one text, and `Database.functions` writes the SQL that the two spell differently. All three read
SQL by the same tokenizer, so that literals, quoted names, comments and dollar bodies are left alone
everywhere. This module works on text only: it knows no driver, no connection, no pytest and no parser, and it
never imports one.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn

if TYPE_CHECKING:
    from pytest_dualdb.recording import Backend

Parameters = Sequence[Any] | Mapping[str, Any] | None
Unit = Literal["seconds", "minutes", "hours", "days", "months", "years"]


class PlaceholderError(ValueError):
    """Say in one line why the parameters do not fit the placeholders of a statement."""


class ScriptError(ValueError):
    """Say in one line why a script can't be run without the database's own shell.

    `line` is the 1-based line of the script, `reason` the message without it.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(f"line {line}: {reason}")
        self.line = line
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ScriptStatement:
    """Hold one statement of a script: its text without the `;`, and the 1-based line on which it starts."""

    text: str
    line: int


# --- tokens ---


class _Token(NamedTuple):
    kind: str
    start: int
    end: int
    text: str


# Letters, _ and all that is not ASCII, then digits and $ too. Written as what they are not: a range up to the
# last character takes re 15 ms to compile.
_WORD = r"[^\x00-@\[-^`{-\x7f][^\x00-\#%-/:-@\[-^`{-\x7f]*"
_TAG = r"(?:[^\x00-@\[-^`{-\x7f][^\x00-/:-@\[-^`{-\x7f]*)?"
_QUOTED = {
    # https://www.postgresql.org/docs/current/sql-syntax-lexical.html: backslashes escape in
    # E'...' only, and a string goes on after a line break.
    # https://www.sqlite.org/lang_keywords.html: [x] and `x` quote names.
    "postgres": rf"""
        (?P<blank>[ \t\n\r\f\v\ufeff]+|--[^\n\r]*)
      | (?P<comment>/\*)
      | (?P<string>[eE]'(?:[^'\\]+|\\.|''|'[ \t\r\f\v]*\n[ \t\n\r\f\v]*')*+(?:'|\\?\Z)
          | (?:[bBxXnN]|[uU]&)?'(?:[^']+|'')*+(?:'|\Z)
          | \$(?P<tag>{_TAG})\$.*?(?:\$(?P=tag)\$|\Z))
      | (?P<name>(?:[uU]&)?"(?:[^"]+|"")*+(?:"|\Z))
      | (?P<meta>\\[^\n]*)
    """,
    "sqlite": r"""
        (?P<blank>[ \t\n\r\f\v\ufeff]+|--[^\n]*|/\*.*?(?:\*/|\Z))
      | (?P<string>[xX]?'(?:[^']+|'')*+(?:'|\Z))
      | (?P<name>"(?:[^"]+|"")*+(?:"|\Z)|`(?:[^`]+|``)*+(?:`|\Z)|\[[^\]]*(?:\]|\Z))
    """,
}


@functools.cache
def _pattern(backend: Backend) -> re.Pattern[str]:
    return re.compile(
        rf"""{_QUOTED[backend]}
      | (?P<value>\$\d+|[$@]{_WORD}|\.?\d[0-9A-Za-z_]*(?:\.\d*[0-9A-Za-z_]*)?(?:(?<=[eE])[+-]\d+)?)
      | (?P<word>{_WORD})
      | (?P<cast>::)
      | (?P<named>:{_WORD})
      | (?P<question>\?\d*)
      | (?P<open>[(\[])
      | (?P<close>[)\]])
      | (?P<semicolon>;)
      | (?P<dot>\.)
      | (?P<operator>:=|(?:(?!--|/\*)[~!@\#^&|`+\-*/%<>=])+)
      | (?P<other>.)""",
        re.VERBOSE | re.DOTALL,
    )


_COMMENT_EDGE = re.compile(r"/\*|\*/")

_KEYWORDS = frozenset(
    """
    all and any array as asc at attach between both by call case check collate cross date default desc
    distinct do else escape except execute exists fetch filter following for from full glob group having ilike
    in inner intersect interval into is isnull join lateral leading like limit match natural not notnull nulls
    offset on or order outer over partition placing preceding regexp returning rlike row rows select set
    similar some symmetric then time timestamp timestamptz to trailing union using values when where window
    with zone
    """.split()
)
"""Words that are no operand: an operand is wanted after most of them, and none of them starts a right
operand. Names that columns often have (key, value, first, next) are left out; what stands after the `?`
decides there."""

_PREFIX_WORDS = frozenset({"array", "case", "date", "interval", "row", "time", "timestamp", "timestamptz"})
_JSON_AND_GEOMETRIC = frozenset({"|", "||", "&", "#", "-", "-|"})


def _tokens(sql: str, backend: Backend) -> Iterator[_Token]:
    """Yield the tokens of code; blanks and comments are passed over."""
    match = _pattern(backend).match
    position, end = 0, len(sql)
    while position < end:
        found = match(sql, position)
        assert found is not None  # the pattern ends in "any character"
        assert found.lastgroup is not None
        kind, start, position = found.lastgroup, position, found.end()
        if kind == "comment":
            position = _comment_end(sql, start)
        elif kind != "blank":
            yield _Token(kind, start, position, found[0])


def _comment_end(sql: str, start: int) -> int:
    """Return where the block comment ends; they nest in PostgreSQL (and don't in SQLite)."""
    depth = 0
    for edge in _COMMENT_EDGE.finditer(sql, start):
        depth += 1 if edge[0] == "/*" else -1
        if not depth:
            return edge.end()
    return len(sql)


# --- placeholders ---


@dataclass(frozen=True, slots=True)
class _Template:
    plain: str
    """The text for the driver when no parameters go with it."""
    bound: str
    """The text for the driver when parameters go with it."""
    count: int
    names: tuple[str, ...]


def bind(sql: str, params: Parameters, backend: Backend) -> tuple[str, Sequence[Any] | dict[str, Any] | None]:
    """Return the text and the parameters that the backend's driver takes for a portable statement.

    `?` takes a sequence, `:name` a mapping, which may hold more than the statement needs. sqlite3 knows both
    and gets the text as it is; psycopg2 gets `%s` and `%(name)s`, and every other `%` doubled. Without
    placeholders the parameters are what the driver takes for "none", `()` for sqlite3 and `None` for
    psycopg2, which otherwise reads `%` even for an empty tuple (psycopg2 2.9).

    On PostgreSQL a `?` between two operands is the JSON operator, as are `?|` and `?&` after an operand; `??`
    is always the operator. Raise PlaceholderError, on both backends alike, if the parameters don't fit.
    """
    template = _template(sql, backend)
    fitted = _fit(template, sql, params, backend)
    if fitted is None:
        return template.plain, () if backend == "sqlite" else None
    return template.bound, fitted


def bind_many(
    sql: str, rows: Iterable[Parameters], backend: Backend
) -> tuple[str, list[Sequence[Any] | dict[str, Any]]]:
    """Return the text and the list of parameters that the backend's driver takes for `executemany`.

    All rows are checked before any is sent. Raise PlaceholderError, which names the row, if one doesn't fit.
    """
    template = _template(sql, backend)
    fitted: list[Sequence[Any] | dict[str, Any]] = []
    for number, row in enumerate(rows, 1):
        try:
            fitted.append(_fit(template, sql, row, backend) or ())
        except PlaceholderError as error:
            raise PlaceholderError(f"row {number} of executemany: {error}") from None
    return template.bound, fitted


def _fit(
    template: _Template, sql: str, params: Parameters, backend: Backend
) -> Sequence[Any] | dict[str, Any] | None:
    """Return the parameters as the drivers take them, None for none."""
    if isinstance(params, Mapping):
        if template.names:
            # A mapping that is no dict would count as a sequence with sqlite3.
            given = params if isinstance(params, dict) else dict(params)
            if all(name in given for name in template.names):
                return given
        elif not template.count and not (params and _native(sql, backend)):
            return None
    elif params is None:
        if not template.count and not template.names:
            return None
    elif not template.names and _is_sequence(params) and len(params) == template.count:
        if not template.count:
            return None
        return params if isinstance(params, tuple | list) else tuple(params)
    return _refuse(template, sql, params, backend)


def _is_sequence(params: Any) -> bool:
    if isinstance(params, tuple | list):
        return True
    if isinstance(params, str | bytes | bytearray | memoryview):
        return False
    return hasattr(params, "__len__") and hasattr(params, "__getitem__")


def _refuse(template: _Template, sql: str, params: Any, backend: Backend) -> NoReturn:
    """Raise the PlaceholderError that says what does not fit."""
    wanted = f"{template.count} placeholder{'' if template.count == 1 else 's'}"
    if isinstance(params, Mapping):
        missing = [f":{name}" for name in template.names if name not in params]
        given = ", ".join(str(name) for name in params) or "nothing"
        reason = f"no value for {', '.join(missing)} (given: {given})"
        if not template.names:
            reason = (
                f"{wanted} ?, but the parameters are a mapping ({given}): write :name, or pass a sequence"
            )
    elif params is not None and not _is_sequence(params):
        reason = f"parameters must be a sequence or a mapping, not {type(params).__name__}: write (value,)"
    else:
        count = 0 if params is None else len(params)
        given = f"{count} parameter{'' if count == 1 else 's'}"
        reason = f"{wanted}, but {given}"
        if template.names:
            names = ", ".join(f":{name}" for name in template.names)
            reason = f"{names} wanted, but {given} in a sequence: pass a mapping"
    if not template.names and params and (native := _native(sql, backend)):
        reason = f"{native} is psycopg2's own placeholder, write ? or :name on both backends: {reason}"
    raise PlaceholderError(f"{reason}: {_shortened(sql)}")


def _native(sql: str, backend: Backend) -> str:
    """Return the first placeholder in psycopg2's own spelling, "" if there is none in the code."""
    for token in _tokens(sql, backend):
        if token.kind == "operator" and token.text.endswith("%"):
            found = re.compile(r"%(?:\(\w+\))?s\b").match(sql, token.end - 1)
            if found:
                return found[0]
    return ""


def _shortened(sql: str) -> str:
    line = " ".join(sql.split())
    return line if len(line) <= 70 else line[:67] + "..."


def _template(sql: str, backend: Backend) -> _Template:
    if not isinstance(sql, str):
        kind = type(sql).__name__
        raise PlaceholderError(
            f"a statement must be str, not {kind}: use connect() for the driver's own objects"
        )
    # A long text is generated and seldom repeats: keeping it would only hold memory.
    return (_cached_template if len(sql) <= 10_000 else _new_template)(sql, backend)


def _new_template(sql: str, backend: Backend) -> _Template:
    spots = _spots(sql, backend) if "?" in sql or ":" in sql else []
    names = tuple(dict.fromkeys(text[1:] for _, _, text in spots if text[0] == ":"))
    count = sum(text == "?" for _, _, text in spots)
    if names and count:
        raise PlaceholderError(f"? and :{names[0]} in one statement, use one kind: {_shortened(sql)}")
    if backend == "sqlite":
        return _Template(sql, sql, count, names)
    plain: list[str] = []
    bound: list[str] = []
    position = 0
    for start, end, text in spots:
        between = sql[position:start]
        plain += (between, "?" if text == "??" else text)
        native = {"?": "%s", "??": "?"}.get(text) or f"%({text[1:]})s"
        bound += (between.replace("%", "%%"), native)
        position = end
    rest = sql[position:]
    return _Template("".join((*plain, rest)), "".join((*bound, rest.replace("%", "%%"))), count, names)


_cached_template = functools.lru_cache(maxsize=1024)(_new_template)


def _spots(sql: str, backend: Backend) -> list[tuple[int, int, str]]:
    """Return start, end and text of each placeholder (`?`, `:name`) and of each escaped operator (`??`)."""
    spots: list[tuple[int, int, str]] = []
    tokens = list(_tokens(sql, backend))
    operand = before_last = False  # does the last token, the one before it, end an operand?
    subscripts = 0
    index = 0
    while index < len(tokens):
        token = tokens[index]
        last = tokens[index - 1] if index else _Token("semicolon", 0, 0, ";")
        following = tokens[index + 1] if index + 1 < len(tokens) else None
        adjacent = following is not None and following.start == token.end
        ends_operand = False
        if token.kind == "question":
            if token.text != "?":
                raise PlaceholderError(
                    f"{token.text} is known to SQLite only: write ? or :name: {_shortened(sql)}"
                )
            if following and adjacent and following.text == "?":
                spots.append((token.start, following.end, "??"))
                index += 1
            elif (
                last.kind == "dot"
                or (last.text == "@" and before_last and last.end == token.start)
                or (operand and following and adjacent and following.text in _JSON_AND_GEOMETRIC)
                or (operand and following and _starts_operand(following))
            ):
                pass  # an operator, left as it is
            else:
                spots.append((token.start, token.end, "?"))
                ends_operand = True
        elif token.kind == "named":
            # A slice (a[1:n]) or a key of JSON_OBJECT('k':v): no placeholder follows an operand so closely.
            colon = operand and (subscripts or (last.kind != "word" and last.end == token.start))
            if not colon:
                spots.append((token.start, token.end, token.text))
            ends_operand = True
        elif token.kind == "word":
            ends_operand = last.kind in ("dot", "cast") or token.text.lower() not in _KEYWORDS
        else:
            ends_operand = token.kind in ("string", "name", "value", "close")
            if token.text == "[":
                subscripts += 1
            elif token.text == "]":
                subscripts -= 1
        before_last, operand = operand, ends_operand
        index += 1
    return spots


def _starts_operand(token: _Token) -> bool:
    if token.kind == "word":
        return token.text.lower() in _PREFIX_WORDS or token.text.lower() not in _KEYWORDS
    return token.kind in ("string", "name", "value", "named", "question") or token.text == "("


# --- scripts ---

_TRIGGER = re.compile(r"create (?:temp |temporary )?trigger\b")
_ROUTINE = re.compile(r"create (?:or replace )?(?:function|procedure)\b")
_RULE = re.compile(r"create (?:or replace )?rule\b")
# pg_dump writes this pair around every plain dump since August 2025; it means something to psql only.
_DUMP_GUARD = re.compile(r"\\(?:un)?restrict\b")


def split_script(sql: str, backend: Backend) -> list[ScriptStatement]:
    """Return the statements of a script in order, without separators and without the comments around them.

    A `;` separates, except in literals, quoted names, comments and dollar bodies, in the body of a trigger on
    SQLite, and in `BEGIN ATOMIC ... END` and the parentheses of a rule on PostgreSQL. Statements without code
    are dropped. Raise ScriptError for what only a shell understands: commands of psql (`\\connect`) and of
    sqlite3 (`.read`), and data after `COPY ... FROM stdin`.
    """
    statements: list[ScriptStatement] = []
    current: list[_Token] = []
    line, counted = 1, 0

    def flush() -> None:
        if current:
            text = sql[current[0].start : current[-1].end]
            statements.append(ScriptStatement(text, line))
        current.clear()

    body = _Body(backend)
    for token in _tokens(sql, backend):
        if not current:
            line, counted = line + sql.count("\n", counted, token.start), token.start
            body = _Body(backend)
            at_line_start = not sql[sql.rfind("\n", 0, token.start) + 1 : token.start].strip(" \t\ufeff")
            if backend == "sqlite" and token.kind == "dot" and at_line_start:
                command = sql[token.start :].splitlines()[0]
                raise ScriptError(line, f"{_shortened(command)} is for the sqlite3 shell, not SQL: remove it")
        if token.kind == "meta":
            if not current and _DUMP_GUARD.match(token.text):
                continue
            at = line + sql.count("\n", counted, token.start)
            raise ScriptError(at, f"{_shortened(token.text)} is for psql, not SQL: remove it")
        if token.kind == "semicolon" and not body.inside:
            if body.copies:
                raise ScriptError(line, "COPY ... FROM stdin needs psql: write INSERT (pg_dump --inserts)")
            flush()
            continue
        body.read(token)
        current.append(token)
    flush()
    return statements


class _Body:
    """Follow one statement and tell whether a `;` here belongs to its body."""

    __slots__ = ("_backend", "_depth", "_head", "_kind", "_last", "copies", "inside")

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._head: list[str] = []
        self._kind = ""
        self._depth = 0
        self._last = ""
        self.inside = False
        self.copies = False

    def read(self, token: _Token) -> None:
        text = token.text.lower() if token.kind in ("word", "semicolon", "open", "close") else ""
        if len(self._head) < 4:
            self._head.append(text)
            head = " ".join(self._head)
            if self._backend == "sqlite":
                self._kind = "trigger" if _TRIGGER.match(head) else ""
            else:
                self._kind = "routine" if _ROUTINE.match(head) else "rule" if _RULE.match(head) else ""
        if self._kind == "trigger":
            # As sqlite3_complete() does: the body ends at an END that starts a statement, as that of
            # CASE never does.
            self.inside = (self.inside or text == "begin") and not (self._last == ";" and text == "end")
        elif self._kind == "routine":
            if text == "atomic" and self._last == "begin":
                self._depth = 1
            elif self._depth:
                self._depth += (text == "case") - (text == "end")
            self.inside = self._depth > 0
        elif self._kind == "rule":
            self._depth += (text == "(") - (text == ")")
            self.inside = self._depth > 0
        self.copies = self.copies or (self._head[0] == "copy" and self._last == "from" and text == "stdin")
        self._last = text


# --- names and literals ---

_BARE_NAME = re.compile(r"[a-z_][a-z0-9_]*", re.ASCII)
_RESERVED = frozenset(
    """
    add all alter analyse analyze and any array as asc asymmetric authorization autoincrement between binary
    both case cast check collate collation column commit concurrently constraint create cross
    current_catalog current_date current_role current_schema current_time current_timestamp current_user
    default deferrable delete desc distinct do drop else end escape except exists false fetch for foreign
    freeze from full grant group having if ilike in index initially inner insert intersect into is isnull
    join lateral leading left like limit localtime localtimestamp natural not nothing notnull null offset on
    only or order outer overlaps placing primary raise references returning right rowid select session_user
    set similar some symmetric system_user table tablesample then to trailing transaction true union unique
    update user using values variadic verbose when where window with
    """.split()
)
"""Words that PostgreSQL 15 or 18 or SQLite refuses as the bare name of a table or column (tried)."""


def quote_name(name: str) -> str:
    """Return a name as SQL of both backends: bare if it is plain, lower case and not reserved, else quoted.

    A bare lower-case name and the same name in quotes are one name, so that nothing changes by quoting more.
    Raise ValueError for a name that no database takes.
    """
    if not name or "\0" in name:
        raise ValueError(f"{name!r} is no name of a table or column: it must be text without NUL, not empty")
    if _BARE_NAME.fullmatch(name) and name not in _RESERVED:
        return name
    return '"' + name.replace('"', '""') + '"'


def quote_text(text: str) -> str:
    """Return a string literal of both backends. Raise ValueError if the text holds a NUL."""
    if "\0" in text:
        raise ValueError(f"{text!r} can't be a literal: PostgreSQL has no NUL in text")
    return "'" + text.replace("'", "''") + "'"


# --- functions ---


@dataclass(frozen=True, slots=True)
class Functions:
    """Write functions that the two databases spell differently as SQL text, with equal results on both.

    Arguments named `expression` (or so) are SQL text: a column, a literal, `?`, `:name`. Placeholders keep
    the order of the arguments. They are not quoted or checked; never pass what a user typed. All works on
    SQLite 3.34 and PostgreSQL 14 or later.

    Moments are UTC, to the second. On SQLite they are text (`2024-01-31 10:20:30`), on PostgreSQL `timestamp`
    without time zone, which goes into columns of type timestamp, date and text; `timestamp_text` gives the
    same text on both. Moments given as text or in columns are taken as UTC and carry no offset.
    """

    backend: Backend

    def now(self) -> str:
        """Return the moment at which the statement started (not the transaction, as PostgreSQL's now())."""
        if self.backend == "sqlite":
            return "CURRENT_TIMESTAMP"
        return "date_trunc('second', timezone('UTC', statement_timestamp()))"

    def current_date(self) -> str:
        """Return today in UTC: text `2024-01-31` on SQLite, `date` on PostgreSQL."""
        if self.backend == "sqlite":
            return "CURRENT_DATE"
        return "CAST(timezone('UTC', statement_timestamp()) AS date)"

    def timestamp_text(self, moment: str) -> str:
        """Return a moment as text `2024-01-31 10:20:30` on both; fractions of a second are cut off."""
        if self.backend == "sqlite":
            return f"datetime({moment})"
        return f"to_char(CAST({moment} AS timestamp), 'YYYY-MM-DD HH24:MI:SS')"

    def date_text(self, moment: str) -> str:
        """Return the day of a moment as text `2024-01-31` on both."""
        if self.backend == "sqlite":
            return f"date({moment})"
        return f"to_char(CAST({moment} AS timestamp), 'YYYY-MM-DD')"

    def add(self, moment: str, amount: int | str, unit: Unit) -> str:
        """Return a moment moved by a whole number of units; `amount` is an int or SQL text, maybe negative.

        Months and years end on the last day of the month where the day does not exist (31 January and a month
        give 28 or 29 February), as on PostgreSQL; plain SQLite would go on to March. With months and years
        the moment can't be an aggregate on SQLite. Raise ValueError for another unit.
        """
        units = ("seconds", "minutes", "hours", "days", "months", "years")
        if unit not in units:
            raise ValueError(f"{unit!r} is no unit of time: use one of {', '.join(units)}")
        if self.backend == "postgres":
            start = f"date_trunc('second', CAST({moment} AS timestamp))"
            return f"({start} + ({amount}) * interval '1 {unit[:-1]}')"
        if unit not in ("months", "years"):
            return f"datetime({moment}, ({amount}) || ' {unit}')"
        months = "n" if unit == "months" else "n * 12"
        last_day = f"date(v, 'start of month', ({months} + 1) || ' months', '-1 day')"
        return (
            f"(SELECT min(datetime(v, ({months}) || ' months'), {last_day} || ' ' || time(v))"
            f" FROM (SELECT {moment} AS v, {amount} AS n))"
        )

    def seconds_between(self, start: str, end: str) -> str:
        """Return the whole seconds from one moment to another as an integer, negative if `end` is earlier."""
        if self.backend == "sqlite":
            return f"(-CAST(strftime('%s', {start}) AS integer) + CAST(strftime('%s', {end}) AS integer))"
        first, last = (f"date_trunc('second', CAST({moment} AS timestamp))" for moment in (start, end))
        return f"CAST(-extract(epoch FROM {first} - {last}) AS bigint)"

    def substring(self, expression: str, start: int | str, length: int | str | None = None) -> str:
        """Return a part of a text, from the 1-based `start`, to the end if no `length` is given.

        Both may be SQL text. Raise ValueError for a `start` below 1 or a negative `length`: the databases
        disagree about them.
        """
        if (isinstance(start, int) and start < 1) or (isinstance(length, int) and length < 0):
            raise ValueError(
                f"substring from {start}, length {length}: start must be 1 or more, length 0 or more"
            )
        rest = "" if length is None else f", {length}"
        return f"substr(CAST({expression} AS text), {start}{rest})"

    def position(self, expression: str, part: str) -> str:
        """Return where `part` first occurs in a text, 1-based; 0 if it does not, 1 if it is empty."""
        function = "instr" if self.backend == "sqlite" else "strpos"
        return f"{function}(CAST({expression} AS text), CAST({part} AS text))"

    def concat(self, *expressions: str) -> str:
        """Return the texts joined; NULL if any of them is NULL. Raise ValueError without arguments."""
        if not expressions:
            raise ValueError("concat needs at least one expression")
        return "(" + " || ".join(f"CAST({expression} AS text)" for expression in expressions) + ")"

    def ilike(self, expression: str, pattern: str, escape: str = "\\") -> str:
        """Return whether a text matches a LIKE pattern (`%`, `_`), where case counts for nothing.

        Only A-Z and a-z are folded, as SQLite does, whatever the collation of the database: `É` does not
        match `é`. Raise ValueError if `escape` is not one character, or a letter.
        """
        if len(escape) != 1 or escape.isalpha() or escape in "%_\0":
            raise ValueError(f"{escape!r} can't escape in a pattern: use one character, not a letter, % or _")
        collation = "" if self.backend == "sqlite" else ' COLLATE "C"'
        text, like = (f"lower(CAST({operand} AS text){collation})" for operand in (expression, pattern))
        return f"({text} LIKE {like} ESCAPE {quote_text(escape)})"

    def string_agg(self, expression: str, separator: str = ",", *, rows: str = "", order_by: str = "") -> str:
        """Return the texts of several rows in one, NULLs left out; NULL if nothing is left.

        Without `rows` it is an aggregate, for GROUP BY, and the order is not defined on either database
        (SQLite orders inside an aggregate since 3.44 only). With `rows`, SQL text that goes after FROM (`book
        b WHERE b.author = a.id`), it is a subquery, ordered by `order_by` or else by the texts themselves in
        the order of their characters' codes. Text in `order_by` follows the collation of the database.
        `separator` is the text itself. The expression can't hold placeholders with `rows`. Raise ValueError
        for `order_by` alone.
        """
        text, between = f"CAST({expression} AS text)", quote_text(separator)
        if not rows:
            if order_by:
                raise ValueError(
                    "string_agg: order_by needs rows, as SQLite before 3.44 can't order an aggregate"
                )
            return f"{'group_concat' if self.backend == 'sqlite' else 'string_agg'}({text}, {between})"
        if self.backend == "sqlite":
            ordered = f"SELECT {text} AS v FROM {rows} ORDER BY {order_by or 'v COLLATE BINARY'}"
            return f"(SELECT group_concat(v, {between}) FROM ({ordered}))"
        order = order_by or f'{text} COLLATE "C"'
        return f"(SELECT string_agg({text}, {between} ORDER BY {order}) FROM {rows})"

    def boolean(self, value: bool) -> str:
        """Return a boolean literal, for columns that are boolean on PostgreSQL (SQLite stores 1 and 0)."""
        return "TRUE" if value else "FALSE"

    def json_text(self, expression: str, *path: str | int) -> str:
        """Return the member of a JSON document at a path of keys and 0-based indexes, as text.

        true and false are `true` and `false` on both; JSON null and a missing member are NULL. Numbers are
        equal on both as Python's json writes them, from 0.0001 to 1e15. For an object or an array the text
        differs in blanks and order of keys. On SQLite the document can't be an aggregate. Raise ValueError
        for an empty path, a negative index, or a key with `"` or a backslash, which SQLite has no way to
        write.
        """
        wrong = [s for s in path if ('"' in s or "\\" in s if isinstance(s, str) else s < 0)]
        if wrong or not path:
            raise ValueError(
                f'{path!r} is no JSON path: give keys without " or backslash, and indexes from 0'
            )
        if self.backend == "postgres":
            steps = [quote_text(step) if isinstance(step, str) else str(int(step)) for step in path]
            inner = "".join(f" -> {step}" for step in steps[:-1])
            return f"(CAST({expression} AS jsonb){inner} ->> {steps[-1]})"
        steps = [f'."{step}"' if isinstance(step, str) else f"[{int(step)}]" for step in path]
        at = quote_text("$" + "".join(steps))
        return (
            f"(SELECT CASE json_type(v, {at}) WHEN 'true' THEN 'true' WHEN 'false' THEN 'false'"
            f" ELSE CAST(json_extract(v, {at}) AS text) END FROM (SELECT {expression} AS v))"
        )

    def insert_or_ignore(self, table: str, columns: Sequence[str]) -> str:
        """Return an INSERT with a `?` per column that leaves an existing row (any unique key) as it is.

        NOT NULL and CHECK still raise, unlike with SQLite's INSERT OR IGNORE. `table` may be `schema.table`.
        Raise ValueError without columns.
        """
        return f"{self._insert(table, columns)} ON CONFLICT DO NOTHING"

    def upsert(
        self, table: str, columns: Sequence[str], conflict: Sequence[str], update: Sequence[str] | None = None
    ) -> str:
        """Return an INSERT with a `?` per column that updates the row with equal `conflict` columns instead.

        `conflict` must be the columns of one unique key. `update` defaults to all other columns; without any
        the existing row stays as it is. Raise ValueError for names that are not among `columns`.
        """
        if update is None:
            update = [column for column in columns if column not in conflict]
        unknown = [name for name in (*conflict, *update) if name not in columns]
        if unknown or not conflict:
            wrong = f"unknown columns {unknown}" if unknown else "no conflict columns"
            raise ValueError(f"upsert into {table}: {wrong}: give some of {[*columns]}")
        target = ", ".join(map(quote_name, conflict))
        changes = ", ".join(f"{name} = excluded.{name}" for name in map(quote_name, update))
        action = f"UPDATE SET {changes}" if changes else "NOTHING"
        return f"{self._insert(table, columns)} ON CONFLICT ({target}) DO {action}"

    def _insert(self, table: str, columns: Sequence[str]) -> str:
        if not columns or isinstance(columns, str):
            raise ValueError(f"insert into {table}: columns must be a sequence of names, not {columns!r}")
        name = ".".join(map(quote_name, table.split(".")))
        marks = ", ".join("?" for _ in columns)
        return f"INSERT INTO {name} ({', '.join(map(quote_name, columns))}) VALUES ({marks})"
