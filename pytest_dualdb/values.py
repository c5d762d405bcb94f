"""When two values from two databases are the same value.

Values compare by what they mean, types apart: ``1`` and ``True``, ``Decimal("2.50")`` and ``2.5``, a timestamp
and its ISO text, JSON text and the decoded object are the same value in another type. What depends on the
run (the time of it, keys made for it) is recognised by rules that are named here, never by ignoring a
column. Pure: no recording, no driver.
"""

from __future__ import annotations

import datetime
import json
import math
import re
import uuid
from collections.abc import Callable, Hashable, Mapping
from decimal import Decimal
from typing import Any

from pytest_dualdb.recording import Opaque

_ISO = re.compile(
    r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:[+-]\d\d(?::?\d\d)?|Z))?"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_NUMBERS = (int, float, Decimal)
WINDOW_SLACK = 2.0
"""Seconds around a half in which a time counts as the time of that half: clocks are truncated to seconds."""


def instant(value: Any) -> datetime.datetime | None:
    """Return a comparable UTC instant (without zone) for a datetime, a date or ISO text; else None."""
    if isinstance(value, str):
        if len(value) > 40 or not _ISO.fullmatch(value):
            return None
        try:
            value = datetime.datetime.fromisoformat(value.replace("Z", "+00:00"))
        except ValueError:
            return None
    if isinstance(value, datetime.datetime):
        if value.tzinfo is not None:
            try:
                return value.astimezone(datetime.UTC).replace(tzinfo=None)
            except OverflowError:
                return value.replace(tzinfo=None)
        return value
    if isinstance(value, datetime.date):
        return datetime.datetime(value.year, value.month, value.day)
    return None


def plain(value: Any) -> Any:
    """Return the value without a wrapper that only a driver puts around it."""
    return bytes(value) if isinstance(value, (memoryview, bytearray)) else value


def same_number(left: Any, right: Any) -> bool:
    """Return whether two numbers are equal, floats to within 12 significant digits."""
    if _is_nan(left) or _is_nan(right):
        return _is_nan(left) and _is_nan(right)
    if isinstance(left, float) or isinstance(right, float):
        return math.isclose(_as_float(left), _as_float(right), rel_tol=1e-12, abs_tol=1e-15)
    return bool(left == right)


def _is_nan(number: Any) -> bool:
    return number.is_nan() if isinstance(number, Decimal) else isinstance(number, float) and math.isnan(number)


def _as_float(number: Any) -> float:
    """Return a number as float, one too large for that as infinity."""
    try:
        return float(number)
    except OverflowError:
        return math.inf if number > 0 else -math.inf


def same_value(left: Any, right: Any) -> bool:
    """Return whether the two are the same value, types apart."""
    if left is right:
        return True
    if left is None or right is None:
        return False
    left, right = plain(left), plain(right)
    if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
        return same_number(left, right)
    if type(left) is type(right):
        if isinstance(left, list | tuple):
            return len(left) == len(right) and all(map(same_value, left, right))
        if isinstance(left, dict):
            return left.keys() == right.keys() and all(same_value(left[key], right[key]) for key in left)
        if isinstance(left, datetime.datetime):
            return instant(left) == instant(right)
        return bool(left == right)
    return _same_across(left, right) or _same_across(right, left)


def _same_across(text: Any, other: Any) -> bool:
    """Return whether ``text`` is how SQLite stores the value that ``other`` is."""
    if isinstance(text, list | tuple) and isinstance(other, list | tuple):
        return len(text) == len(other) and all(map(same_value, text, other))
    if isinstance(text, datetime.date) and isinstance(other, datetime.date):
        return instant(text) == instant(other)
    if isinstance(text, uuid.UUID) and isinstance(other, bytes):
        return text.bytes == other
    if isinstance(text, Mapping) and isinstance(other, Mapping):
        return same_value(dict(text), dict(other))
    if not isinstance(text, str):
        return False
    if isinstance(other, datetime.date):
        moment = instant(text)
        return moment is not None and moment == instant(other)
    if isinstance(other, datetime.time):
        return text in {other.isoformat(), other.isoformat("minutes")}
    if isinstance(other, uuid.UUID):
        return text.replace("-", "").lower() == other.hex
    if isinstance(other, dict | list):
        try:
            return same_value(json.loads(text), other)
        except ValueError:
            return False
    if isinstance(other, Opaque):
        return text == other.text
    return False


def same_type(left: Any, right: Any) -> bool:
    """Return whether the two have one Python type; NULL has every type."""
    if left is None or right is None:
        return True
    if isinstance(left, datetime.datetime) and isinstance(right, datetime.datetime):
        return (left.tzinfo is None) == (right.tzinfo is None)
    return type(left) is type(right)


def loose_key(value: Any) -> Hashable:
    """Return a key that is equal for the same value in whatever type; a hash for `same_value`."""
    value = plain(value)
    if isinstance(value, _NUMBERS):
        if _is_nan(value):
            return ("n", "nan")
        number = _as_float(value)
        return ("n", f"{number + 0.0:.11g}" if abs(number) < 1e15 else str(value))
    moment = instant(value)
    if moment is not None:
        return ("t", moment)
    if isinstance(value, str):
        if value[:1] in "{[" and value[-1:] in "}]":
            try:
                return ("j", _json_key(json.loads(value)))
            except ValueError:
                return ("s", value)
        return ("s", value.replace("-", "").lower() if _UUID.fullmatch(value) else value)
    if isinstance(value, dict | list | tuple):
        return ("j", _json_key(value))
    if isinstance(value, uuid.UUID):
        return ("s", value.hex)
    if isinstance(value, Opaque):
        return ("s", value.text)
    return ("o", str(value)) if not isinstance(value, bytes) else ("b", value)


def _json_key(value: Any) -> Hashable:
    """Return a key for a list or mapping, by the keys of what is in it."""
    if isinstance(value, Mapping):
        return frozenset((str(key), _json_key(item)) for key, item in value.items())
    if isinstance(value, list | tuple):
        return tuple(_json_key(item) for item in value)
    return loose_key(value)


SameValue = Callable[[Any, Any, str], bool | None]
"""The user's own comparison: (SQLite's value, PostgreSQL's value, column name) -> verdict, or None."""


class Equality:
    """Decides whether values of one pair agree, knowing what of them depends on the run.

    ``windows`` are the two halves' start and end in seconds since the epoch. Values that the application
    made for itself and passed as parameters (uuids, tokens, hashes) are learnt with `rename`: from then on
    the one side's value stands for the other's, and for nothing else.
    """

    def __init__(
        self,
        windows: tuple[tuple[float, float], tuple[float, float]],
        custom: SameValue | None = None,
    ) -> None:
        self.windows = windows
        self.custom = custom
        self.normalised: set[str] = set()
        self._to_postgres: dict[Hashable, Hashable] = {}
        self._to_sqlite: dict[Hashable, Hashable] = {}

    def rename(self, left: Any, right: Any) -> bool:
        """Learn that ``left`` in the SQLite half is ``right`` in the other; False if that contradicts."""
        first, second = loose_key(left), loose_key(right)
        if self._to_postgres.get(first, second) != second or self._to_sqlite.get(second, first) != first:
            return False
        self._to_postgres[first] = second
        self._to_sqlite[second] = first
        return True

    def learn(self, left: Any, right: Any) -> None:
        """Learn from a pair of parameters that the application passed at the same place."""
        if isinstance(left, str | uuid.UUID | bytes) and type(left) is type(right) and left != right:
            self.rename(left, right)

    def same(self, left: Any, right: Any, column: str = "") -> bool:
        """Return whether the SQLite half's value and the PostgreSQL half's are the same value."""
        if self.custom is not None:
            verdict = self.custom(left, right, column)
            if verdict is not None:
                return verdict
        if same_value(left, right):
            return True
        if left is None or right is None:
            return False
        if isinstance(left, list | tuple) and isinstance(right, list | tuple):
            return len(left) == len(right) and all(
                self.same(one, other, column) for one, other in zip(left, right, strict=True)
            )
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return left.keys() == right.keys() and all(self.same(left[key], right[key], str(key)) for key in left)
        if self._to_postgres and self._to_postgres.get(loose_key(left)) == loose_key(right):
            self.normalised.add("renamed")
            return True
        if self._now_clocks(left, 0) & self._now_clocks(right, 1):
            self.normalised.add("time-of-run")
            return True
        if _looks_random(left) and _looks_random(right) and self.rename(left, right):
            self.normalised.add("uuid")
            return True
        return False

    def _now_clocks(self, value: Any, side: int) -> frozenset[str]:
        """Return by which clocks (``utc``, ``local``) the value is a time of that side's half."""
        start, end = self.windows[side]
        if isinstance(value, _NUMBERS) and not isinstance(value, bool):
            number = float(value)
            if any(start - WINDOW_SLACK <= number / unit <= end + WINDOW_SLACK for unit in (1.0, 1e3, 1e6)):
                return frozenset({"epoch"})
            return frozenset()
        moment = instant(value)
        if moment is None or abs(moment.timestamp() - start) > 2 * 86400:
            return frozenset()
        found = set()
        for clock, zone in (("utc", datetime.UTC), ("local", None)):
            first = datetime.datetime.fromtimestamp(start - WINDOW_SLACK, zone).replace(tzinfo=None)
            last = datetime.datetime.fromtimestamp(end + WINDOW_SLACK, zone).replace(tzinfo=None)
            whole_day = moment.time() == datetime.time() and moment.date() in (first.date(), last.date())
            if whole_day or first <= moment <= last:
                found.add(clock)
        return frozenset(found)


def _looks_random(value: Any) -> bool:
    return isinstance(value, uuid.UUID) or (isinstance(value, str) and _UUID.fullmatch(value) is not None)
