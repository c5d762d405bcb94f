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
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence, Set
from decimal import Decimal
from typing import Any

from pytest_dualdb.encoding import Opaque

_ISO = re.compile(r"\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?)?(?: ?(?:[+-]\d\d(?::?\d\d)?|Z))?")
_UUID = re.compile(r"[0-9a-fA-F]{8}-?(?:[0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_UUID_BYTES = 16
_NUMBERS = (int, float, Decimal)
_EPOCH = datetime.datetime(1970, 1, 1)
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
    return (
        number.is_nan() if isinstance(number, Decimal) else isinstance(number, float) and math.isnan(number)
    )


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
        if isinstance(left, set | frozenset):
            return bool(left == right) or Counter(map(loose_key, left)) == Counter(map(loose_key, right))
        if isinstance(left, datetime.datetime):
            return instant(left) == instant(right)
        return bool(left == right)
    return _same_across(left, right) or _same_across(right, left)


_CLOCK = re.compile(r"\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?(?:[-+]\d\d:\d\d)?")


def _clock(text: str) -> datetime.time | None:
    """Read a time of day, with the zeros that SQLAlchemy writes behind it; None for any other text."""
    if len(text) > 21 or _CLOCK.fullmatch(text) is None:
        return None
    try:
        return datetime.time.fromisoformat(text)
    except ValueError:
        return None


_INTERVAL_PART = re.compile(
    r"\s*([-+]?)(?:(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?"
    r"|(\d+(?:\.\d+)?)\s*(weeks?|days?|hours?|min(?:ute)?s?|sec(?:ond)?s?)),?(?=\s|$)",
    re.I,
)
_INTERVAL_UNITS = {"we": 604_800, "da": 86_400, "ho": 3_600, "mi": 60, "se": 1}
_MAX_INTERVAL = 64


def _interval(text: str) -> datetime.timedelta | None:
    """Read ``1 day 02:30:00``, as PostgreSQL takes and Python writes intervals; None for any other text."""
    if not 0 < len(text) <= _MAX_INTERVAL:
        return None
    seconds, end = Decimal(0), 0
    while end < len(text):
        part = _INTERVAL_PART.match(text, end)
        if part is None:
            return None
        sign, hours, minutes, rest, count, unit = part.groups()
        size = (
            Decimal(count) * _INTERVAL_UNITS[unit[:2].lower()]
            if unit
            else int(hours) * 3600 + int(minutes) * 60 + Decimal(rest or 0)
        )
        seconds += -size if sign == "-" else size
        end = part.end()
    return datetime.timedelta(microseconds=int(seconds * 1_000_000))


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
        return _clock(text) == other
    if isinstance(other, datetime.timedelta):
        # SQLAlchemy and others keep an interval as the moment that long after the epoch
        moment = instant(text)
        return (moment - _EPOCH if moment is not None else _interval(text)) == other
    if isinstance(other, uuid.UUID):
        return text.replace("-", "").lower() == other.hex
    if isinstance(other, dict | list):
        try:
            return same_value(json.loads(text), other)
        except ValueError:
            return False
    if isinstance(other, Opaque):
        return text == other.text
    return not isinstance(other, _PLAIN) and text == str(other)


def _stands_for(number: Any, value: Any) -> bool:
    """Return whether a number that SQLite keeps counts the interval, or the time since the epoch, that PostgreSQL has.

    Models count microseconds or seconds, also of moments with a zone. A converter makes the Decimal that a float
    is written as.
    """
    if isinstance(number, Decimal) and isinstance(value, Decimal):
        return number == Decimal(repr(_as_float(value)))
    if type(number) not in (int, float):
        return False
    if isinstance(value, datetime.datetime) and value.tzinfo is not None:
        value -= _EPOCH.replace(tzinfo=datetime.UTC)
    if not isinstance(value, datetime.timedelta):
        return False
    return value // datetime.timedelta(microseconds=1) == number or same_number(number, value.total_seconds())


_PLAIN = (str, bytes, tuple, set, frozenset, Mapping, *_NUMBERS)
"""Types that are no text by themselves; an address or a range of a driver's own class is."""


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
        if abs(number) < 1e15:
            return ("n", f"{number + 0.0:.11g}")
        # an int, a float and a Decimal of this size are written in three ways
        return ("n", str(int(value) if abs(number) < 1e300 and value == int(value) else value))
    moment = instant(value)
    if moment is not None:
        return ("t", moment)
    if isinstance(value, str):
        if value[:1] in "{[" and value[-1:] in "}]":
            try:
                return ("j", _json_key(json.loads(value)))
            except ValueError:
                return ("s", value)
        clock = _clock(value)
        if clock is not None:
            return ("s", str(clock))
        return ("s", value.replace("-", "").lower() if _UUID.fullmatch(value) else value)
    if isinstance(value, dict | list | tuple):
        return ("j", _json_key(value))
    if isinstance(value, uuid.UUID):
        return ("s", value.hex)
    if isinstance(value, datetime.timedelta):
        try:
            return ("t", _EPOCH + value)
        except OverflowError:
            return ("o", str(value))
    if isinstance(value, set | frozenset):
        return ("j", frozenset(map(loose_key, value)))
    if isinstance(value, Opaque):
        return ("s", value.text)
    if isinstance(value, bytes):
        # of this length it may be a UUID, which has more than one spelling
        return ("s", value.hex()) if len(value) == _UUID_BYTES else ("b", value)
    return ("s", str(value))


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
    made for itself and passed as parameters (uuids, tokens, hashes) are learnt with `learn`: from then on
    the one side's value stands for the other's, and for nothing else. What cannot stand for one other value
    alone, such as a duration or a choice at random, is learnt for its column.
    """

    def __init__(
        self,
        windows: tuple[tuple[float, float], tuple[float, float]],
        custom: SameValue | None = None,
        zone: datetime.tzinfo | None = None,
        shown: Callable[[int], Set[Hashable]] | None = None,
    ) -> None:
        """``zone`` is that of the PostgreSQL half's sessions, if it is known: what is local there.

        ``shown`` gives the keys of the uuids that a side (0 or 1) showed or was given.
        """
        self.windows = windows
        self.zone = zone
        self._shown = shown
        self.custom = custom
        self.normalised: set[str] = set()
        self.measured: set[str] = set()
        """Lower-case names of the columns into which the halves wrote other numbers of their own accord."""
        self._to_postgres: dict[Hashable, Hashable] = {}
        self._to_sqlite: dict[Hashable, Hashable] = {}
        self._renamed: list[tuple[Hashable, Hashable]] = []
        self._generated: set[Hashable] = set()
        self._texts: dict[tuple[str, str], None] = {}
        self._told: set[tuple[str, Hashable, Hashable]] = set()
        self._clocks: set[datetime.timedelta] = set()
        """By how much the readings of a clock differ from half to half."""

    def rename(self, left: Any, right: Any) -> bool:
        """Learn that ``left`` in the SQLite half is ``right`` in the other; False if that contradicts."""
        first, second = loose_key(left), loose_key(right)
        if self._to_postgres.get(first, second) != second or self._to_sqlite.get(second, first) != first:
            return False
        if first not in self._to_postgres:
            self._to_postgres[first] = second
            self._to_sqlite[second] = first
            self._renamed.append((first, second))
        return True

    def _of_one_run(self, left: Any, right: Any) -> bool:
        """Learn that two random values stand for each other, unless one is in both halves: that is no chance."""
        if self._shown is not None and (
            loose_key(left) in self._shown(1) or loose_key(right) in self._shown(0)
        ):
            return False
        return self.rename(left, right)

    def mark(self) -> int:
        """Return the point to which `forget` goes back: what is learnt while trying must not stay."""
        return len(self._renamed)

    def forget(self, mark: int) -> None:
        while len(self._renamed) > mark:
            first, second = self._renamed.pop()
            del self._to_postgres[first], self._to_sqlite[second]

    def rename_key(self, key: tuple[str, str], left: Any, right: Any) -> bool:
        """Learn which generated key of a table's column is which; False if that contradicts."""
        first, second = (*key, left), (*key, right)
        self._generated.add(loose_key(first))
        return self.rename(first, second)

    def forget_keys(self) -> None:
        """Forget which generated key is which: SQLite gives those of rows that are gone to other rows."""
        if not self._generated:
            return
        kept = [pair for pair in self._renamed if pair[0] not in self._generated]
        self._generated.clear()
        self.forget(0)
        for first, second in kept:
            self._to_postgres[first], self._to_sqlite[second] = second, first
        self._renamed = kept

    def learn(self, left: Any, right: Any) -> None:
        """Learn from a pair of parameters that the application passed at the same place."""
        # SQLAlchemy passes the bytes of one column as a memoryview to sqlite3, as bytes to psycopg2
        left, right = plain(left), plain(right)
        if isinstance(left, float) and isinstance(right, float):
            if min(_digits(left), _digits(right)) > 5:
                self.rename(left, right)
        elif type(left) is not type(right):
            if _random_uuids(left, right):
                self.rename(left, right)
        elif isinstance(left, str | uuid.UUID | bytes):
            if left == right or not self.rename(left, right):
                return
            if not isinstance(left, str) or not isinstance(right, str):
                return
            self._texts[left, right] = None
            first, second = _PART.findall(left), _PART.findall(right)
            if 1 < len(first) == len(second):
                for one, other in zip(first, second, strict=True):
                    if one != other and min(len(one), len(other)) >= _FRAGMENT:
                        self.learn(one, other)

    def learn_clock(self, left: Sequence[Any], right: Sequence[Any]) -> None:
        """Learn from two sets of parameters how far a clock had gone on each side.

        Tests set the clock to some day and let it go on from there: its readings are as far apart as the
        halves came to them sooner or later, to the microsecond. What both sides passed is no reading.
        """
        readings = [{moment for value in side for moment in _readings(value)} for side in (left, right)]
        if len(readings[0]) * len(readings[1]) > _MAX_READINGS:
            return
        longest = datetime.timedelta(seconds=max(end - start for start, end in self.windows))
        for one in readings[0] - readings[1]:
            for other in readings[1] - readings[0]:
                if abs(one - other) <= longest:
                    self._clocks.add(one - other)

    def of_run(self, left: Any, right: Any) -> bool:
        """Return whether two different values look like ones of the run by themselves: random, or times of it."""
        if isinstance(left, str) and isinstance(right, str):
            mark = self.mark()
            same = self._same_text(left, right)
            self.forget(mark)
            return same
        if isinstance(left, uuid.UUID | bytes):
            return type(left) is type(right) or _random_uuids(left, right)
        return self._same_time(left, right)

    def learn_for(self, column: str, left: Any, right: Any) -> None:
        """Learn a pair of parameters that differ though both halves had seen the same, for one column."""
        if (
            None not in (left, right)
            and not isinstance(left, bool)
            and type(left) is type(right)
            and left != right
        ):
            self._told.add((column.lower(), loose_key(left), loose_key(right)))
            if isinstance(left, _NUMBERS) and isinstance(right, _NUMBERS):
                self.measured.add(column.lower())

    def depends_on_run(self, left: Any, right: Any) -> bool:
        """Return whether both are known values of the run, whether or not they stand for each other."""
        return loose_key(left) in self._to_postgres and loose_key(right) in self._to_sqlite

    def same(self, left: Any, right: Any, column: str = "") -> bool:
        """Return whether the SQLite half's value and the PostgreSQL half's are the same value."""
        if self.custom is not None:
            verdict = self.custom(left, right, column)
            if verdict is not None:
                return verdict
        if same_value(left, right) or _stands_for(left, right):
            return True
        if left is None or right is None:
            return False
        if isinstance(left, list | tuple) and isinstance(right, list | tuple):
            return len(left) == len(right) and self._same_list(left, right, column)
        if isinstance(left, Mapping) and isinstance(right, Mapping):
            return self._same_mapping(left, right)
        if isinstance(left, set | frozenset) and isinstance(right, set | frozenset):
            return len(left) == len(right) and self._matched(list(left - right), list(right - left), column)
        if isinstance(left, Mapping | list) != isinstance(right, Mapping | list):
            documents = _document(left), _document(right)
            return None not in documents and self.same(*documents, column)
        return self._same_of_run(left, right, column)

    def _same_of_run(self, left: Any, right: Any, column: str) -> bool:
        keys = loose_key(left), loose_key(right)
        if self._to_postgres and self._to_postgres.get(keys[0]) == keys[1]:
            self.normalised.add("renamed")
            return True
        if self._told and (column.lower(), *keys) in self._told:
            self.normalised.add("passed-so")
            return True
        if self._same_time(left, right):
            self.normalised.add("time-of-run")
            return True
        if isinstance(left, str) and isinstance(right, str):
            mark = self.mark()
            if self._same_text(left, right):
                return True
            self.forget(mark)
            return False
        if _random_uuids(left, right) and self._of_one_run(left, right):
            self.normalised.add("uuid")
            return True
        return False

    def same_measure(self, left: Any, right: Any) -> bool:
        """Return whether both numbers are durations that were measured within their half, to all digits."""
        return all(
            isinstance(value, float) and 0 < value <= end - start and _digits(value) > 8
            for value, (start, end) in zip((left, right), self.windows, strict=True)
        ) and not math.isclose(left, right, rel_tol=1e-4)

    def _same_list(self, left: Sequence[Any], right: Sequence[Any], column: str) -> bool:
        mark = self.mark()
        if all(self.same(one, other, column) for one, other in zip(left, right, strict=True)):
            return True
        self.forget(mark)
        # sorted by what depends on the run, the two are in different order
        if not all(map(self.depends_on_run, left, right)):
            return False
        return self._matched(list(left), list(right), column)

    def _same_mapping(self, left: Mapping[Any, Any], right: Mapping[Any, Any]) -> bool:
        if len(left) != len(right):
            return False
        shared = left.keys() & right.keys()
        others = [[key for key in side if key not in shared] for side in (left, right)]
        return all(self.same(left[key], right[key], str(key)) for key in left if key in shared) and all(
            self.same(one, other) and self.same(left[one], right[other])
            for one, other in zip(*others, strict=True)
        )

    def _matched(self, left: list[Any], right: list[Any], column: str) -> bool:
        """Return whether each value has a partner in the other list, in whatever order."""
        for value in left:
            partner = next((other for other in right if self.same(value, other, column)), None)
            if partner is None:
                return False
            right.remove(partner)
        return not right

    def _same_text(self, left: str, right: str) -> bool:
        """Return whether two texts are the same but for what in them depends on the run."""
        if len(self._texts) <= _MAX_TEXTS:
            for known, other in self._texts:
                if len(known) > _FRAGMENT and known in left:
                    left = left.replace(known, other)
            if left == right or self._fragment(left, right):
                self.normalised.add("renamed")
                return True
        if _UUID.fullmatch(left) and _UUID.fullmatch(right) and not _random_uuids(left, right):
            return False  # somebody made them up, of a few digits
        for pattern in (_PART, _WIDE_PART):
            first, second = pattern.findall(left), pattern.findall(right)
            if len(first) == len(second):
                return all(a == b or self._same_part(a, b) for a, b in zip(first, second, strict=True))
        return False

    def _same_part(self, left: str, right: str) -> bool:
        start = _shared_start(left, right)
        end = -_shared_start(left[start:][::-1], right[start:][::-1]) or None
        for one, other in {(left, right): None, (left[start:end], right[start:end]): None}:
            if not one or not other:
                continue
            if self._to_postgres.get(loose_key(one)) == loose_key(other) or self._fragment(one, other):
                self.normalised.add("renamed")
                return True
            if self._same_time(one, other):
                self.normalised.add("time-of-run")
                return True
            # one token in two cases is a difference of the databases, not of the runs
            if one.lower() != other.lower() and _random_texts(one, other) and self._of_one_run(one, other):
                self.normalised.add("uuid" if _UUID.fullmatch(one) else "token")
                return True
        return False

    def _fragment(self, left: str, right: str) -> bool:
        """Return whether the two are one piece of texts that stand for each other, in whatever case."""
        size = len(left)
        if size < _FRAGMENT or len(self._texts) > _MAX_TEXTS:
            return False
        for known, other in self._texts:
            for change in (str, str.lower, str.upper):
                one, two = change(known), change(other)
                at = one.find(left)
                if at >= 0 and size == len(right) and two[at : at + size] == right:
                    return True
                if one == left and two == right:
                    return True
        return False

    def _same_time(self, left: Any, right: Any) -> bool:
        if self._clocks:
            one, other = _reading(left), _reading(right)
            if one is not None and other is not None and one - other in self._clocks:
                return True
        clocks = self._now_clocks(left, 0), self._now_clocks(right, 1)
        if clocks[0] & clocks[1]:
            return True
        # a moment that names its zone is now by every clock
        if all(clocks) and _has_zone(left) != _has_zone(right) and "epoch" not in clocks[0] | clocks[1]:
            return True
        # what each side calls today by a clock of its own
        if all(clocks) and _is_date(left) and _is_date(right):
            return True
        offsets = self._offset(left, 0), self._offset(right, 1)
        if offsets[0] is None or offsets[1] is None:
            return False
        # no moment that is written in a test lies so near to its run
        if abs(offsets[0]) <= _NEAR >= abs(offsets[1]):
            longest = max(end - start for start, end in self.windows)
            return abs(offsets[0] - offsets[1]) <= longest + _STEP_SLACK
        if abs(offsets[0] + self.windows[0][0] - offsets[1] - self.windows[1][0]) < _CUT:
            return False  # one moment, cut by a database: two readings of a clock are farther apart
        steps = self._steps(offsets[0], 0), self._steps(offsets[1], 1)
        return steps[0] is not None and steps[0] == steps[1]

    def _offset(self, value: Any, side: int) -> float | None:
        """Return how many seconds after the start of its half a moment lies."""
        moment = _moment(value)
        start, _ = self.windows[side]
        return (
            moment.replace(tzinfo=datetime.UTC).timestamp() - start if moment is not None and start else None
        )

    def _steps(self, offset: float, side: int) -> int | None:
        """Return how many times `_STEP` a moment lies before or after its half, if a whole number."""
        start, end = self.windows[side]
        steps = round(offset / _STEP)
        within = -_STEP_SLACK <= offset - steps * _STEP <= end - start + _STEP_SLACK
        return steps if steps and within else None

    def _is_clock_time(self, value: datetime.time, side: int) -> bool:
        """Return whether a time of day with a zone is one of that side's half."""
        first, last = (
            datetime.datetime.fromtimestamp(second, value.tzinfo).time()
            for second in (self.windows[side][0] - WINDOW_SLACK, self.windows[side][1] + WINDOW_SLACK)
        )
        return first <= value.replace(tzinfo=None) <= last

    def _now_clocks(self, value: Any, side: int) -> frozenset[str]:
        """Return by which clocks (``utc``, ``local``) the value is a time of that side's half."""
        start, end = self.windows[side]
        if isinstance(value, str) and _EPOCHS.fullmatch(value):
            value = float(value)
        if isinstance(value, _NUMBERS) and not isinstance(value, bool):
            number = _as_float(value)
            units = (1.0, 1e3, 1e6, 1e9)
            now = any(start - WINDOW_SLACK <= number / unit <= end + WINDOW_SLACK for unit in units)
            julian = (number - _JULIAN_EPOCH) * 86400
            now = now or start - WINDOW_SLACK <= julian <= end + WINDOW_SLACK
            return frozenset({"epoch"} if now else ())
        if isinstance(value, datetime.time):
            if value.tzinfo is not None:
                return frozenset({"utc"} if self._is_clock_time(value, side) else ())
            value = value.isoformat()
        clock_time = isinstance(value, str) and _CLOCK.fullmatch(value) is not None
        moment = None if clock_time else _moment(value)
        if not clock_time and (moment is None or abs(moment.timestamp() - start) > 2 * 86400):
            return frozenset()
        found = set()
        clocks: list[tuple[str, datetime.tzinfo | None]] = [("utc", datetime.UTC), ("local", None)]
        if side == 1 and self.zone is not None:
            clocks.append(("local", self.zone))
        for clock, zone in clocks:
            first = datetime.datetime.fromtimestamp(start - WINDOW_SLACK, zone).replace(tzinfo=None)
            last = datetime.datetime.fromtimestamp(end + WINDOW_SLACK, zone).replace(tzinfo=None)
            if moment is None:
                if first.time().isoformat() <= value <= last.time().isoformat():
                    found.add(clock)
                continue
            if isinstance(value, str) and not moment.second and not moment.microsecond:
                first = first.replace(second=0, microsecond=0)  # written to the minute
            whole_day = moment.time() == datetime.time() and moment.date() in (first.date(), last.date())
            if whole_day or first <= moment <= last:
                found.add(clock)
        return frozenset(found)


_STEP = 30
"""Seconds; expiry times and the like lie whole multiples of this before or after the run."""
_STEP_SLACK = 1.0
"""Seconds by which such times may be cut."""
_CUT = 0.0009
"""Seconds by which a database changes a moment that has more digits than it keeps."""
_NEAR = 26 * 3600
"""Seconds around a half, by any zone's clock, in which moments that lie as far from both halves are the run's."""
_FRAGMENT = 4
"""Characters that a piece of a value of the run must have to be known again."""
_MAX_TEXTS = 500
"""Texts of the run are looked for in other texts up to this many."""
_MAX_READINGS = 400
"""Pairs of moments in one set of parameters that may be of a clock: a list of very many is of none."""
_DATE_TIME = r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?(?: ?(?:[+-]\d\d:?\d\d|Z))?"
_FRACTIONED = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d\.\d+(?:[+-]\d\d:?\d\d|Z)?")
_HTTP = r"[A-Z][a-z]{2}, \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"
_PART = re.compile(rf"{_DATE_TIME}|{_HTTP}|\d\d:\d\d:\d\d(?:[.,]\d+)?|\d+\.\d+|[\w-]+|.", re.S)
_WIDE_PART = re.compile(rf"{_DATE_TIME}|{_HTTP}|[\w+/=-]+|.", re.S)
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
_JULIAN_EPOCH = 2440587.5
"""The Julian day number of the start of 1970."""
_CLOCK = re.compile(r"\d\d:\d\d:\d\d(?:[.,]\d+)?")
_EPOCHS = re.compile(r"\d{10}(?:\.\d+)?|\d{13}|\d{16}|\d{19}")
_HEX = re.compile(r"[0-9a-f]{16,}|[0-9A-F]{16,}")
_TOKEN = re.compile(r"[\w+/=-]{16,}", re.A)
_CLASS_CHANGE = re.compile(r"(?<=[a-z])(?=[A-Z0-9])|(?<=[A-Z])(?=[0-9])|(?<=[0-9])(?=[A-Za-z])")
"""Where a text goes from one class of characters to another, other than words in camel case do."""


def looks_random(value: Any) -> bool:
    """Return whether a value is a UUID, and not one that somebody made up of a few digits."""
    text = str(value) if isinstance(value, uuid.UUID) else value
    return isinstance(text, str) and _UUID.fullmatch(text) is not None and len(set(text.lower())) > 6


def _random_uuids(left: Any, right: Any) -> bool:
    """Return whether both are UUIDs, at least one of them written as such and not as 16 bytes."""
    spelled = [looks_random(value) for value in (left, right)]
    binary = [
        isinstance(plain(value), bytes) and len(value) == _UUID_BYTES and len(set(plain(value))) > 5
        for value in (left, right)
    ]
    return any(spelled) and all(map(max, spelled, binary))


def _random_texts(left: str, right: str) -> bool:
    """Return whether two texts look like uuids, hashes or tokens, and not like one in two spellings."""
    if _UUID.fullmatch(left) and _UUID.fullmatch(right):
        return True
    if left.lower() == right.lower():
        return False
    if _HEX.fullmatch(left) and _HEX.fullmatch(right):
        return len(left) == len(right) and all(
            len(set(text)) > 5 and not text.isdigit() and not text.isalpha() for text in (left, right)
        )
    return all(
        _TOKEN.fullmatch(text)
        and any(map(str.isdigit, text))
        and len(_CLASS_CHANGE.findall(text)) > 0.2 * len(text)
        for text in (left, right)
    )


def _is_date(value: Any) -> bool:
    if isinstance(value, str):
        return _DATE.fullmatch(value) is not None
    return isinstance(value, datetime.date) and not isinstance(value, datetime.datetime)


def _has_zone(value: Any) -> bool:
    if isinstance(value, str):
        return _ZONED.search(value) is not None
    return getattr(value, "tzinfo", None) is not None


_ZONED = re.compile(r"\d(?: ?[+-]\d\d(?::?\d\d)?|Z| GMT)$")


def _shared_start(left: str, right: str) -> int:
    """Return the length of the common start, up to its last separator."""
    start = 0
    for index, (one, other) in enumerate(zip(left, right, strict=False)):
        if one != other:
            break
        if one in "-_:/.+=":
            start = index + 1
    return start


def _moment(value: Any) -> datetime.datetime | None:
    """Return the `instant` of a value that may also be written as HTTP does, or without separators."""
    if isinstance(value, str):
        for pattern in ("%a, %d %b %Y %H:%M:%S GMT", "%Y%m%d%H%M%S"):
            if len(value) in (14, 29):
                try:
                    return datetime.datetime.strptime(value, pattern)
                except ValueError:
                    continue
    return instant(value)


def _reading(value: Any) -> datetime.datetime | None:
    """Return a moment with a fraction of a second, also one counted since the epoch; else None."""
    if isinstance(value, int | float) and 1e8 < value < 1e17:
        unit = 1e6 if value > 1e14 else 1e3 if value > 1e11 else 1.0
        if isinstance(value, float) or unit > 1:
            value = _EPOCH + datetime.timedelta(microseconds=round(value * (1e6 / unit)))
    moment = instant(value)
    return moment if moment is not None and moment.microsecond else None


def _readings(value: Any) -> Iterator[datetime.datetime]:
    """Yield the moments with a fraction of a second that a value is, or that a text such as JSON holds."""
    parts = _FRACTIONED.findall(value) if isinstance(value, str) else [value]
    yield from filter(None, map(_reading, parts))


def _document(value: Any) -> Any:
    """Return a list or mapping as it is, JSON text decoded, None for anything else."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    return value if isinstance(value, Mapping | list) else None


def _digits(number: float) -> int:
    """Return how many significant digits a number is written with."""
    return len(repr(number).partition("e")[0].replace(".", "").strip("-0"))
