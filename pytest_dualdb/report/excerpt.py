"""What to show of a divergence: the statements, the rows and the values that differ, and no more.

Every rendering lays out the same `Excerpt`, so that they show the same. All texts in it are printable (no
control characters, no line breaks but those of a statement) and free of passwords; cutting a line to a
width is the renderings' business, `cut` is how.
"""

from __future__ import annotations

import datetime
import decimal
import functools
import re
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pytest_dualdb import syntax
from pytest_dualdb.compare import Difference, Divergence
from pytest_dualdb.encoding import Opaque
from pytest_dualdb.recording import BACKENDS, Backend, Failure, Statement
from pytest_dualdb.report import Issue, without_passwords
from pytest_dualdb.values import Equality, same_value

MAX_TEXT = 4_000
"""Characters of a statement or a value that are looked at; what is longer is cut before anything else."""
MAX_SEQUENCE = 12
"""Rows of an ordered result that are shown from where the orders part."""
_NO_WINDOW = ((0.0, 0.0), (0.0, 0.0))


@dataclass(frozen=True, slots=True)
class Text:
    """A statement as one side sent it; ``backend`` is None where both sent the same.

    ``focus`` is the place in `line` that matters, such as the word at which it fails; None without one.
    """

    backend: Backend | None
    sql: str
    focus: int | None = None

    @property
    def line(self) -> str:
        """The statement in one line, white space collapsed."""
        return _collapsed(self.sql)


@dataclass(frozen=True, slots=True)
class Cell:
    """A value as text; ``parts`` is where it begins to differ from its counterpart, None without one."""

    text: str
    parts: int | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A row that one side has, or ``both``; ``more`` counts further rows like it that are not shown."""

    side: Backend | Literal["both"]
    cells: tuple[Cell, ...]
    more: int = 0


@dataclass(frozen=True, slots=True)
class Excerpt:
    """What to show of one divergence; empty parts are not there to be shown.

    ``subject`` names what the rows are of where no statement does. ``columns`` heads the rows and is empty
    where the statement has only that column. ``errors`` are those of the statement, ``failure`` is how the
    half ends where that is not one of them. ``note`` is what nothing else here says.
    """

    site: str = ""
    statements: tuple[Text, ...] = ()
    params: tuple[tuple[Backend | None, str], ...] = ()
    errors: tuple[tuple[Backend, str], ...] = ()
    subject: str = ""
    columns: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    sequence: bool = False
    failure: tuple[Backend, str] | None = None
    note: str = ""


def excerpt(issue: Issue, *, rows: int = 4) -> Excerpt:
    """Return what to show of an issue's example, with at most ``rows`` rows of each side."""
    divergence = issue.example
    statements = _statements(divergence)
    errors = _errors(divergence)
    failure = _failure(issue, errors)
    if divergence.kind == "outcome" and failure is not None:
        errors, failure = (failure,), None
    subject, columns, shown = _rows(divergence, rows)
    return Excerpt(
        site=_site(divergence), statements=statements, params=_params(divergence, len(statements) == 2),
        errors=errors, subject=subject, columns=columns, rows=shown, sequence=divergence.kind == "order",
        failure=failure, note=_note(divergence, bool(errors), bool(shown)),
    )  # fmt: skip


def brief(divergence: Divergence) -> str:
    """Return the divergence's message without what every message of its kind begins with."""
    return clean(divergence.message.removeprefix("Python types differ: "))


# --------------------------------------------------------------------------------------------------- texts


def clean(text: str) -> str:
    """Return text in one printable line, without passwords; control characters are written as escapes."""
    return printable(without_passwords(" ".join(text.splitlines())))


def printable(text: str, keep: str = "") -> str:
    """Return text with escapes for what a terminal does not print, but for the characters to keep."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else c.encode("unicode_escape").decode() for c in text)


def cells(text: str) -> int:
    """Return how many columns of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_character_cells, text))


@functools.cache
def _character_cells(character: str) -> int:
    if unicodedata.category(character) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def cut(text: str, width: int, around: int | None = None) -> str:
    """Return text in at most ``width`` columns: its middle left out, or all that is far from ``around``.

    ``around`` 0 keeps the beginning. What is left out shows as three dots.
    """
    if cells(text) <= width:
        return text
    if width <= 3:
        return "." * max(0, width)
    if around is None:
        tail = _first(text[::-1], (width - 3) // 2)[::-1]
        return f"{_first(text, width - 3 - cells(tail))}...{tail}"
    if width < 10 or cells(text[:around]) + min(12, width // 3) <= width - 3:
        return f"{_first(text, width - 3)}..."
    rest = text[around:]
    before = _first(text[:around][::-1], max((width - 6) // 3, width - 3 - cells(rest)))[::-1]
    if cells(before + rest) <= width - 3:
        return f"...{before}{rest}"
    return f"...{_first(before + rest, max(0, width - 6))}..."


def _first(text: str, width: int) -> str:
    """Return as much of the text's beginning as takes at most ``width`` columns."""
    if text.isascii():
        return text[:width]
    used = 0
    for index, character in enumerate(text):
        used += _character_cells(character)
        if used > width:
            return text[:index]
    return text


def value_text(value: Any, exact: bool = False) -> str:
    """Return a value as one printable text; ``exact`` as Python writes it, type included."""
    try:
        if not exact and isinstance(value, _PLAIN):
            text = str(value)
        else:
            text = repr(bytes(value) if isinstance(value, memoryview | bytearray) else value)
    except Exception:  # a value of the application's own class: its repr is not ours to mend
        text = f"<{type(value).__name__}>"
    return clean(text)


_PLAIN = (decimal.Decimal, datetime.date, datetime.time, datetime.timedelta, uuid.UUID, Opaque)


def _parting(left: str, right: str) -> int:
    """Return the first place at which two texts differ, which may be the end of the shorter one."""
    start = 0
    while left[start : start + MAX_TEXT] == right[start : start + MAX_TEXT] and start < len(left):
        start += MAX_TEXT
    pairs = zip(left[start : start + MAX_TEXT], right[start : start + MAX_TEXT], strict=False)
    found = next((index for index, (a, b) in enumerate(pairs) if a != b), None)
    return min(len(left), len(right)) if found is None else start + found


def _window(text: str, around: int) -> tuple[str, int]:
    """Return a long text cut to what is near ``around``, and where that is then."""
    if len(text) <= MAX_TEXT:
        return text, around
    start = max(0, around - MAX_TEXT // 2)
    dots = "..." if start else ""
    end = "..." if start + MAX_TEXT < len(text) else ""
    return f"{dots}{text[start : start + MAX_TEXT]}{end}", around - start + len(dots)


# ---------------------------------------------------------------------------------------------- statements


def _site(divergence: Divergence) -> str:
    site = divergence.site
    if site is None:
        return ""
    text = f"{site} in {site.function}"
    other = divergence.postgres.site if divergence.postgres is not None else None
    if other is not None and other != site:
        text += f" (postgres: {other})" if other.path != site.path else f" (postgres: line {other.line})"
    return clean(text)


def _sides(divergence: Divergence) -> list[tuple[Backend, Statement]]:
    statements = divergence.sqlite, divergence.postgres
    return [(backend, s) for backend, s in zip(BACKENDS, statements, strict=True) if s is not None]


def _sql(statement: Statement) -> str:
    text = statement.sql if statement.sql.strip() else statement.kind
    text = without_passwords(text.replace("\r\n", "\n").replace("\r", "\n"))
    return printable(text, keep="\n\t").strip()


def _statements(divergence: Divergence) -> tuple[Text, ...]:
    sides = _sides(divergence)
    if not sides:
        return ()
    texts = [_sql(statement) for _, statement in sides]
    error = next((statement.error for _, statement in sides if statement.error is not None), None)
    if len(sides) == 2 and syntax.skeleton(texts[0]) == syntax.skeleton(texts[1]):
        return (_text(None, texts[0], error),)
    if len(sides) == 1:
        return (_text(None, texts[0], error),)
    places = _first_other_words(*map(_collapsed, texts))
    return tuple(
        Text(backend, text[:MAX_TEXT], place)
        for (backend, _), text, place in zip(sides, texts, places, strict=True)
    )


def _first_other_words(left: str, right: str) -> tuple[int, int]:
    """Return where two statements in one line have their first word, placeholders apart, that differs."""
    places = [0, 0]
    for one, other in zip(left.split(" "), right.split(" "), strict=False):
        if syntax.skeleton(one) != syntax.skeleton(other):
            break
        places[0] += len(one) + 1
        places[1] += len(other) + 1
    return min(places[0], len(left)), min(places[1], len(right))


def _text(backend: Backend | None, sql: str, error: Failure | None) -> Text:
    """Return the statement; a very long one (a script) cut to what is near the place of the error."""
    found = None if error is None else _focus(sql, error.message)
    if len(sql) > MAX_TEXT:
        sql, _ = _window(sql, found or 0)
    line = _collapsed(sql)
    return Text(backend, sql, None if error is None else _focus(line, error.message))


def _collapsed(sql: str) -> str:
    """Return a statement in one line."""
    return " ".join(re.sub(r"(?<=\()\s*\n\s*|\s*\n\s*(?=\))", "", sql).split())


_NAMED = re.compile(r'"([^"]+)"|\b(?:function|column|table|type|operator[^:]*):? ([^\s(),;"]+)')


def _focus(sql: str, message: str) -> int | None:
    """Return where the statement has the first word that the database's message names, None if nowhere."""
    lowered = sql.lower()
    for match in _NAMED.finditer(message.partition("\n")[0]):
        word = (match[1] or match[2]).lower()
        found = re.search(rf"(?<!\w){re.escape(word)}(?!\w)", lowered)
        if found:
            return found.start()
    return None


def _params(divergence: Divergence, apart: bool) -> tuple[tuple[Backend | None, str], ...]:
    """Return the parameters: once where they are the same value for value, else for each side."""
    sides = _sides(divergence)
    texts = [_params_text(statement) for _, statement in sides]
    if not any(texts):
        return ()
    params = [statement.params for _, statement in sides]
    if len(set(texts)) == 1 or (not apart and Equality(_NO_WINDOW).same(*params)):
        return ((None, texts[0]),)
    return tuple((backend, text) for (backend, _), text in zip(sides, texts, strict=True) if text)


def _params_text(statement: Statement) -> str:
    params = statement.params
    if not isinstance(params, Mapping | Sequence) or isinstance(params, str | bytes) or not params:
        return ""
    if statement.kind == "executemany" and not isinstance(params, Mapping):
        more = f", ... {len(params) - 2} more" if len(params) > 2 else ""
        return f"[{', '.join(map(_set_text, params[:2]))}{more}]"
    return _set_text(params)


def _set_text(params: Any, limit: int = 30) -> str:
    if isinstance(params, Mapping):
        items = [f"{value_text(k, True)}: {value_text(v, True)}" for k, v in list(params.items())[:limit]]
        return "{" + ", ".join(items) + (", ..." if len(params) > limit else "") + "}"
    if isinstance(params, str | bytes) or not isinstance(params, Sequence):
        return value_text(params, True)
    items = [cut(value_text(value, True), 120) for value in params[:limit]]
    if len(params) > limit:
        items.append(f"... {len(params) - limit} more")
    return f"({items[0]},)" if len(items) == 1 else f"({', '.join(items)})"


def _errors(divergence: Divergence) -> tuple[tuple[Backend, str], ...]:
    sides = _sides(divergence)
    return tuple((backend, _error(s.error)) for backend, s in sides if s.error is not None)


def _error(error: Failure) -> str:
    code = "" if error.sqlstate is None else f" {error.sqlstate}"
    message = error.message.strip()
    return clean(f"{error.short_name}{code}" + (f": {message.splitlines()[0]}" if message else ""))


def _failure(issue: Issue, errors: Iterable[tuple[Backend, str]]) -> tuple[Backend, str] | None:
    """Return how the one failing half of the example's test ends, unless the errors say it already."""
    test = issue.example_of
    if test is None or issue.severity != "critical":
        return None
    halves = zip(BACKENDS, (test.sqlite, test.postgres), strict=True)
    failing = [(backend, half) for backend, half in halves if half and half.outcome in ("failed", "error")]
    if len(failing) != 1 or not failing[0][1].failure:
        return None
    backend, text = failing[0][0], clean(failing[0][1].failure)
    message = text.partition(": ")[2]
    if any(side == backend and message and error.endswith(message) for side, error in errors):
        return None
    # psycopg2.errors.UndefinedTable: the module says nothing that the class does not
    return backend, re.sub(r"^(?:\w+\.)+(?=\w+(?::|$))", "", text)


# --------------------------------------------------------------------------------------------------- rows


def _rows(divergence: Divergence, limit: int) -> tuple[str, tuple[str, ...], tuple[Row, ...]]:
    """Return what the rows are of, their columns, and the rows to show."""
    difference = divergence.difference
    subject = "" if divergence.table is None else f"table {clean(divergence.table)}"
    if divergence.kind == "order":
        return _order(divergence)
    if difference is None or not (difference.only_sqlite or difference.only_postgres):
        return "", (), ()
    if divergence.kind == "observed":
        return _observed(difference)
    exact = divergence.kind == "type"
    pairs = _pairs(difference)
    chosen = _chosen(difference, pairs)
    headed = len(difference.columns) > 1 or subject
    names = tuple(clean(difference.columns[i]) for i in chosen) if headed else ()

    def pick(row: Sequence[Any]) -> list[Any]:
        return [row[i] for i in chosen if i < len(row)]

    rows: list[Row] = []
    if pairs:
        for one, other in pairs[:limit]:
            left, right = _cell_pair(pick(one), pick(other), exact)
            rows += [Row("sqlite", left), Row("postgres", right)]
        rows[-1] = Row("postgres", rows[-1].cells, difference.totals[0] - min(limit, len(pairs)))
    else:
        sides: tuple[tuple[Backend, Sequence[Any]], ...] = (
            ("sqlite", difference.only_sqlite), ("postgres", difference.only_postgres),
        )  # fmt: skip
        for (backend, only), total in zip(sides, difference.totals, strict=True):
            for row in only[:limit]:
                rows.append(Row(backend, tuple(_cell(v, exact) for v in pick(row))))
            if only:
                rows[-1] = Row(backend, rows[-1].cells, total - min(limit, len(only)))
    if difference.both and divergence.kind == "rows":
        shared = _shared(divergence, difference)
        if shared is not None:
            rows.append(Row("both", tuple(map(_cell, pick(shared))), difference.both - 1))
    return subject, names, tuple(rows)


def _pairs(difference: Difference) -> list[tuple[Sequence[Any], Sequence[Any]]]:
    """Pair the rows of the two sides by likeness; empty where their numbers differ or nothing is alike."""
    if difference.totals[0] != difference.totals[1] or not difference.only_sqlite:
        return []
    waiting: list[Sequence[Any]] = list(difference.only_postgres)
    found: list[tuple[Sequence[Any], Sequence[Any]]] = []
    for row in difference.only_sqlite:
        partner = max(waiting, key=lambda other: sum(map(same_value, row, other)))
        waiting.remove(partner)
        found.append((row, partner))
    return found


_IDENTIFYING = re.compile(r"^(id|.*_id|name|key|code|number|email|title|slug|uuid)$", re.I)


def _chosen(difference: Difference, pairs: Sequence[tuple[Sequence[Any], Sequence[Any]]]) -> list[int]:
    """Return the columns to show: of paired rows those that differ, after one that tells the rows apart."""
    count = len(difference.columns)
    if not pairs:
        return list(range(count))
    names = set(difference.differing or difference.columns)
    known = [i for i, name in enumerate(difference.columns) if name in names]
    differing = [i for i in known if any(not _same_at(one, other, i) for one, other in pairs)] or known
    steady = [
        i for i in range(count)
        if i not in differing and all(_same_at(a, b, i) and a[i] is not None for a, b in pairs)
    ]  # fmt: skip

    def telling(index: int) -> tuple[bool, bool, int]:
        name = difference.columns[index]
        return name.lower() != "id", _IDENTIFYING.match(name) is None, index

    steady.sort(key=telling)
    return [*steady[:1], *differing]


def _same_at(one: Sequence[Any], other: Sequence[Any], index: int) -> bool:
    return index < len(one) and index < len(other) and same_value(one[index], other[index])


def _cell_pair(
    left: Sequence[Any], right: Sequence[Any], exact: bool
) -> tuple[tuple[Cell, ...], tuple[Cell, ...]]:
    """Return the texts of two rows, with the place from which the texts of each two values differ."""
    texts = [[value_text(v, exact) for v in row] for row in (left, right)]
    if texts[0] == texts[1]:
        # different values that print alike: only their types can tell them apart
        texts = [[f"{value_text(v, True)} ({type(v).__name__})" for v in row] for row in (left, right)]
    found: tuple[list[Cell], list[Cell]] = ([], [])
    for one, other in zip(*texts, strict=False):
        place = None if one == other else _parting(one, other)
        for cells_, text in zip(found, (one, other), strict=True):
            cells_.append(Cell(_window(text, 0)[0]) if place is None else Cell(*_window(text, place)))
    return tuple(found[0]), tuple(found[1])


def _cell(value: Any, exact: bool = False) -> Cell:
    return Cell(_window(value_text(value, exact), 0)[0])


def _shared(divergence: Divergence, difference: Difference) -> Sequence[Any] | None:
    """Return a row that both sides have."""
    statement = divergence.sqlite
    if statement is None or len(statement.rows) != difference.totals[0] + difference.both:
        return None
    return next((row for row in statement.values if row not in difference.only_sqlite), None)


def _order(divergence: Divergence) -> tuple[str, tuple[str, ...], tuple[Row, ...]]:
    """Return both sequences of rows from where they part, each in one line."""
    difference = divergence.difference
    sides: list[Sequence[Sequence[Any]]] = [
        () if s is None else s.values for s in (divergence.sqlite, divergence.postgres)
    ]
    if difference is not None and not (sides[0] and sides[1]):
        sides = [difference.only_sqlite, difference.only_postgres]
    if difference is None or not (sides[0] and sides[1]):
        return "", (), ()
    start = next(
        (i for i, (a, b) in enumerate(zip(*sides, strict=False)) if not all(map(same_value, a, b))), 0
    )  # fmt: skip
    columns = difference.columns
    keys: list[int] = []
    if divergence.postgres is not None:
        arranged = syntax.shape(divergence.postgres.sql, "postgres", tuple(columns))
        keys = [key.column for key in arranged.keys if key.column is not None and key.column < len(columns)]
    names = [columns[i] for i in keys] or [name for name in columns if _IDENTIFYING.match(name)][:1]
    chosen = list(dict.fromkeys(columns.index(name) for name in names)) or list(range(len(columns)))
    if len({_sequence(side[start : start + MAX_SEQUENCE], chosen) for side in sides}) == 1:
        # the keys alone look the same on both sides: what tells the rows apart has to be shown as well
        chosen = [*chosen, *(i for i in range(len(columns)) if i not in chosen)]
    total = max(map(len, sides))
    subject = f"from row {start + 1} of {total}"
    if len(columns) > 1:
        subject += f" ({', '.join(clean(columns[i]) for i in chosen)})"
    lines = [_sequence(side[start : start + MAX_SEQUENCE], chosen) for side in sides]
    rest = [", ..." if len(side) > start + MAX_SEQUENCE else "" for side in sides]
    rows = (
        Row("sqlite", (Cell(lines[0] + rest[0], 0),)), Row("postgres", (Cell(lines[1] + rest[1], 0),)),
    )  # fmt: skip
    return subject, (), rows


def _sequence(rows: Sequence[Sequence[Any]], chosen: Sequence[int]) -> str:
    def one(row: Sequence[Any]) -> str:
        texts = [cut(value_text(row[i]), 60) for i in chosen if i < len(row)]
        return texts[0] if len(texts) == 1 else f"({', '.join(texts)})"

    return ", ".join(map(one, rows))


def _observed(difference: Difference) -> tuple[str, tuple[str, ...], tuple[Row, ...]]:
    """Return the two observed values, of nested ones only the first member that differs."""
    left, right = difference.only_sqlite[0][0], difference.only_postgres[0][0]
    path = ""
    while True:
        step = _member(left, right)
        if step is None:
            break
        path += f"[{value_text(step[0], True)}]"
        left, right = step[1], step[2]
    subject = f"observed {clean(difference.columns[0])!r}" + (f" at {path}" if path else "")
    one, other = _cell_pair([left], [right], False)
    return subject, (), (Row("sqlite", one), Row("postgres", other))


def _member(left: Any, right: Any) -> tuple[Any, Any, Any] | None:
    """Return the first member of two containers that differs, with its key; None where they have no such."""
    pairs: Iterable[tuple[Any, Any, Any]]
    if isinstance(left, Mapping) and isinstance(right, Mapping) and left.keys() == right.keys():
        pairs = ((key, left[key], right[key]) for key in left)
    elif isinstance(left, list | tuple) and isinstance(right, list | tuple) and len(left) == len(right):
        pairs = ((index, a, b) for index, (a, b) in enumerate(zip(left, right, strict=True)))
    else:
        return None
    same: Callable[[Any, Any], bool] = same_value
    return next((step for step in pairs if not same(step[1], step[2])), None)


def _note(divergence: Divergence, errors: bool, rows: bool) -> str:
    """Return what the message says beyond the errors and rows that are shown, often nothing."""
    kind, message = divergence.kind, clean(divergence.message)
    if kind == "error":
        notes = ["the application swallows this error"] if divergence.swallowed else []
        sides = _sides(divergence)
        if len(sides) == 1:
            notes.append(f"only the {sides[0][0]} half issues this statement")
        return "; ".join(notes)
    if kind == "outcome":
        return "" if errors else message
    if kind == "order":
        if not rows:
            return message
        rest = message.removeprefix("rows come in another order")
        return (
            "the statement asks for no order" if rest.endswith("asks for none") else rest.removeprefix("; ")
        )
    return "" if rows and "generated keys differ" not in message else message
