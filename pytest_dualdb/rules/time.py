"""Rules about stored dates and times: text on SQLite, types of their own on PostgreSQL."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    Pair,
    bare,
    explained,
    family,
    is_number,
    pairs,
    renderings,
    said,
    sole_error,
    stored_rows,
    suspects,
)
from pytest_dualdb.values import instant

READ_KINDS = frozenset({"rows", "order", "rowcount", "state"})

_VISITS = (
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP, day DATE);"
    " INSERT INTO visits VALUES (1, '2024-05-01 08:00:00', '2024-05-01'), (2, '2024-05-02"
    " 00:00:00', '2024-05-02');"
)


# ----------------------------------------------------------------------------------- timestamps that are text


def _as_text(value: Any) -> str | None:
    """Return the text that SQLite compares for a value that is a time, None for another value."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value if isinstance(value, str) and instant(value) is not None else None


def _texts(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Return the times that SQLite holds as text in the statement's columns, and those asked for."""
    sql = evidence.sql("sqlite") or evidence.text
    tables = sorted(syntax.tables(sql) | ({evidence.divergence.table or ""} - {""}))
    names = set()
    for backend in BACKENDS:
        for statement in suspects(evidence, backend):
            for word in set(re.findall(r"\w+", bare(statement.sql).lower())):
                column = evidence.column(word, "postgres", tables)
                if column is not None and family(column.type) == "time":
                    names.add(column.name.lower())
    stored = {
        text for row in stored_rows(evidence, sql) for name in names if (text := _as_text(row.get(name)))
    }
    asked = [_as_text(value) for statement in suspects(evidence, "sqlite") for value in params_of(statement)]
    asked += [_as_text(literal) for literal in re.findall(r"'([^']*)'", sql)]
    if re.search(r"CURRENT_TIMESTAMP|datetime\s*\(\s*'now'", sql, re.I):
        asked.append(datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return (sorted(stored), sorted({text for text in asked if text is not None})) if names else ([], [])


_FINER = re.compile(r"\.\d{7,}")
"""More digits of a second than PostgreSQL keeps."""
_ZONE = re.compile(r"(Z|[+-]\d\d(?::?\d\d)?)$")


def _clashes(evidence: Evidence) -> Iterator[str]:
    """Yield why two times compare otherwise as text than as times: zone, separator, date or precision."""
    if evidence.kind == "state":
        if any(isinstance(pair.postgres, datetime.date) for pair in pairs(evidence)):
            return  # a stored time itself differs: no comparison did that
        if not any(re.search(r"\bWHERE\b", s.sql, re.I) for s in suspects(evidence, "sqlite")):
            return
    stored, asked = _texts(evidence)
    for left in stored:
        for right in asked or stored:
            first, second = instant(left), instant(right)
            if first is None or second is None:
                continue
            if (left < right) == (first < second) and (left == right) == (first == second):
                continue
            zones = [found[0] if (found := _ZONE.search(text[10:])) else "" for text in (left, right)]
            if zones[0] != zones[1]:
                yield "zone"
            elif len(left) > 10 and len(right) > 10 and left[10] != right[10]:
                yield "separator"
            elif (len(left) == 10) != (len(right) == 10):
                yield "date"
            else:
                yield "precision"


class TimestampSeparator(Rule):
    """Timestamps written with T between date and time, and others with a blank.

    What differs:
        SQLite compares them as text: '2024-05-01T00:00' is greater than every '2024-05-01 ...' because T
        comes after the blank. Range searches and sorting part from PostgreSQL, which compares times.

    Why:
        SQLite has no type for times. isoformat() and JSON write T; sqlite3's adapter for datetime,
        CURRENT_TIMESTAMP and datetime() write a blank.

    Instead:
        One form everywhere: pass datetime objects, or value.isoformat(" ", "seconds"):

            SELECT id FROM visits WHERE at >= '2024-05-01 00:00:00'

    References:
        https://www.sqlite.org/lang_datefunc.html#time_values
        https://www.postgresql.org/docs/current/datatype-datetime.html
    """

    name = "timestamp-separator"
    title = "T and blank in timestamps sort apart on SQLite"
    instead = 'one form everywhere: value.isoformat(" ", "seconds")'
    kinds = READ_KINDS
    priority = 2
    _MIXED = _VISITS + " INSERT INTO visits VALUES (3, '2024-05-01T06:00:00', NULL);"
    specimens = (
        Specimen([("SELECT id FROM visits WHERE at >= ? ORDER BY id", ("2024-05-01T00:00:00",))], _VISITS),
        Specimen(["SELECT id FROM visits WHERE id <> 2 ORDER BY at"], _MIXED),
        Specimen([("DELETE FROM visits WHERE at < ?", ("2024-05-01T00:00:00",)), "COMMIT"], _VISITS),
        Specimen(
            [
                {
                    "sqlite": "SELECT id FROM log WHERE at >= datetime('2024-05-01 08:00:00', '+1 hour')",
                    "postgres": "SELECT id FROM log WHERE at >= to_char(timestamp '2024-05-01"
                    " 09:00:00', 'YYYY-MM-DD\"T\"HH24:MI:SS')",
                }
            ],
            "CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT); INSERT INTO log VALUES (1,"
            " '2024-05-01T08:30:00');",
        ),
    )
    near_misses = (
        Specimen([("SELECT id FROM visits WHERE at >= ? ORDER BY id", ("2024-05-01 00:00:00",))], _VISITS),
        Specimen(["SELECT id FROM visits ORDER BY at"], _VISITS),
    )

    def matches(self, evidence: Evidence) -> bool:
        return "separator" in set(_clashes(evidence)) or self._function(evidence)

    def _function(self, evidence: Evidence) -> bool:
        """Return whether SQLite compares text with a T to what one of its functions writes with a blank."""
        sql = bare(evidence.sql("sqlite"))
        written = re.findall(
            r"(\w+)\"?\s*(?:[<>]=?|=|<>|!=|BETWEEN)\s*(?:datetime\s*\(|CURRENT_TIMESTAMP)", sql, re.I
        )
        written += re.findall(
            r"(?:datetime\s*\([^()]*\)|CURRENT_TIMESTAMP)\s*(?:[<>]=?|=)\s*(?:\w+\.)?\"?(\w+)", sql, re.I
        )
        stored = (str(row.get(name.lower()) or "") for row in stored_rows(evidence, sql) for name in written)
        return any(re.match(r"\d{4}-\d\d-\d\dT", text) for text in stored)


class TimestampZone(Rule):
    """Timestamps with and without a zone, or with different zones, compared or sorted.

    What differs:
        SQLite compares the text, so that '2024-05-01 10:00:00+02:00' comes after '2024-05-01 09:00:00+00:00';
        PostgreSQL compares moments (timestamptz), or drops the offset (timestamp).

    Why:
        SQLite has no type for times, and sqlite3 writes an aware datetime with its offset.

    Instead:
        Convert to UTC before storing and before searching, and write all in one form:

            SELECT id FROM visits WHERE at < '2024-05-01 08:00:00'

        with `value.astimezone(UTC).replace(tzinfo=None)`.

    References:
        https://www.sqlite.org/lang_datefunc.html#time_values
        https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-TIMEZONES
    """

    name = "timestamp-zone"
    title = "timestamps with different zones sort as text on SQLite"
    instead = "store and search UTC, all in one form"
    kinds = READ_KINDS
    priority = 3
    _ZONED: Mapping[str, str] = {
        backend: f"CREATE TABLE visits (id INTEGER PRIMARY KEY, at {kind});"
        " INSERT INTO visits VALUES (1, '2024-05-01 10:00:00+02:00'), (2, '2024-05-01 09:00:00+00:00');"
        for backend, kind in (("sqlite", "TIMESTAMP"), ("postgres", "TIMESTAMPTZ"))
    }
    specimens = (
        Specimen(["SELECT id FROM visits ORDER BY at"], _ZONED),
        Specimen([("SELECT id FROM visits WHERE at > ?", ("2024-05-01 08:30:00+00:00",))], _ZONED),
    )
    near_misses = (Specimen(["SELECT id FROM visits ORDER BY id"], _ZONED),)

    def matches(self, evidence: Evidence) -> bool:
        return "zone" in set(_clashes(evidence))


class DateAgainstTimestamp(Rule):
    """A date compared with a timestamp.

    What differs:
        As text, '2024-05-01' is less than '2024-05-01 00:00:00' and never equal to it; PostgreSQL takes the
        date for midnight. `at <= '2024-05-02'` misses midnight on SQLite only, `at = date` finds nothing.

    Why:
        SQLite compares two texts of different length; PostgreSQL compares two times.

    Instead:
        A half-open range with whole timestamps:

            SELECT id FROM visits WHERE at >= '2024-05-02 00:00:00' AND at < '2024-05-03 00:00:00'

    References:
        https://www.sqlite.org/lang_datefunc.html#time_values
        https://www.postgresql.org/docs/current/functions-datetime.html
    """

    name = "date-against-timestamp"
    title = "a date is less than its midnight on SQLite"
    instead = "at >= '... 00:00:00' AND at < the next day's '... 00:00:00'"
    kinds = READ_KINDS
    priority = 2
    specimens = (
        Specimen([("SELECT id FROM visits WHERE at = ?", ("2024-05-02",))], _VISITS),
        Specimen(
            ["SELECT id FROM visits WHERE at BETWEEN '2024-05-01' AND '2024-05-02' ORDER BY id"], _VISITS
        ),
        Specimen([("SELECT id FROM visits WHERE day = ?", ("2024-05-02 00:00:00",))], _VISITS),
    )
    near_misses = (
        Specimen(
            ["SELECT id FROM visits WHERE at >= '2024-05-02 00:00:00' AND at < '2024-05-03 00:00:00'"],
            _VISITS,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return "date" in set(_clashes(evidence))


class TimestampPrecision(Rule):
    """Timestamps with and without seconds or a fraction.

    What differs:
        As text '08:00' and '08:00:00.000' are different times, and '08:00:00.5' sorts after '08:00:00' but
        before '08:00:01'; equality and range ends part from PostgreSQL, which reads them as times.

    Why:
        sqlite3 writes a datetime with a fraction only when there is one; HTML forms write no seconds.

    Instead:
        One precision: value.isoformat(" ", "seconds"), or always microseconds:

            SELECT id FROM visits WHERE at = '2024-05-01 08:00:00'

    References:
        https://www.sqlite.org/lang_datefunc.html#time_values
        https://www.postgresql.org/docs/current/datatype-datetime.html
    """

    name = "timestamp-precision"
    title = "08:00 and 08:00:00 are different times on SQLite"
    instead = 'one precision: value.isoformat(" ", "seconds")'
    kinds = READ_KINDS
    priority = 1
    specimens = (
        Specimen([("SELECT id FROM visits WHERE at = ?", ("2024-05-01 08:00",))], _VISITS),
        Specimen(
            [("SELECT id FROM visits WHERE at >= ? ORDER BY id", ("2024-05-01 08:00:00.000",))], _VISITS
        ),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE at = ?", ("2024-05-01 08:00:00",))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        return "precision" in set(_clashes(evidence))


# ------------------------------------------------------------------------------------------------- functions


# --------------------------------------------------------------------------------------------- what is stored


class InvalidDate(Rule):
    """Text that is no date, a number or a boolean, in a date or timestamp column.

    What differs:
        SQLite stores '2024-02-30', '31.12.2024', 'soon' and 1700000000 alike; PostgreSQL refuses text that
        is no date (22007, 22008), numbers and booleans (42804), and reads 'now' or 'today' as a moment.

    Why:
        A type such as TIMESTAMP is the affinity NUMERIC on SQLite and checks nothing.

    Instead:
        datetime and date objects as parameters, parsed and checked in the application:

            UPDATE visits SET at = ? WHERE id = 1

    References:
        https://www.sqlite.org/datatype3.html#date_and_time_datatype
        https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-DATETIME-INPUT
    """

    name = "invalid-date"
    title = "text that is no date is refused by PostgreSQL only"
    instead = "parse in the application, pass datetime objects"
    kinds = frozenset({"error", "outcome", "rows", "rowcount", "state"})
    priority = 1
    specimens = (
        Specimen([("UPDATE visits SET day = ?", ("2024-02-30",))], _VISITS),
        Specimen([("SELECT id FROM visits WHERE at = ?", ("soon",))], _VISITS),
        Specimen([("UPDATE visits SET at = ?", (1700000000,))], _VISITS),
        Specimen([("UPDATE visits SET at = ?", (True,))], _VISITS),
        Specimen([("UPDATE visits SET day = ? WHERE id = 1", ("May 3, 2024",)), "COMMIT"], _VISITS),
        Specimen([("SELECT id FROM visits WHERE day >= ? ORDER BY id", ("2024-5-1",))], _VISITS),
        Specimen(
            ["SELECT id FROM visits WHERE day = (SELECT max(day) FROM visits)"],
            _VISITS + " INSERT INTO visits VALUES (8, NULL, '2031-10-01'), (9, NULL, '2031-9-30');",
        ),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "UPDATE visits SET at = 1600000000000000 WHERE id = 1",
                    "postgres": "UPDATE visits SET at = '2021-05-01 10:00:00' WHERE id = 1",
                },
                "COMMIT",
            ],
            _VISITS,
            ("unexplained",),
        ),
        Specimen(
            [("UPDATE visits SET day = ?", (datetime.date(2024, 2, 29).isoformat(),)), "COMMIT"], _VISITS
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22007", "22008", "22009", "42804")
        if failure is not None:
            if failure.sqlstate == "42804":
                pattern = (
                    r"is of type (timestamp|date|time)\b.* is of type (small|big)?(integer|"
                    r"int|numeric|double|boolean)"
                )
                return (
                    said(failure, pattern) is not None
                    or said(failure, r"is of type (timestamp|date|time).* type bigint") is not None
                )
            return True
        return explained(evidence, self._unread) or self._asked(evidence)

    def _asked(self, evidence: Evidence) -> bool:
        """Return whether times are compared with a date that only PostgreSQL can read, or hold one: 2024-5-1."""
        if evidence.kind not in ("rows", "rowcount"):
            return False
        tables = sorted(syntax.tables(evidence.text))
        columns = [
            evidence.column(name, "postgres", tables) for name in re.findall(r"\w+", bare(evidence.text))
        ]
        times = {c.name.lower() for c in columns if c is not None and family(c.type) == "time"}
        values = [value for s in suspects(evidence, "sqlite") for value in params_of(s)]
        values += re.findall(r"'([^']*)'", evidence.text)
        rows = stored_rows(evidence, evidence.sql("sqlite") or evidence.text)
        values += [row.get(name) for row in rows for name in times]
        dates = [v for v in values if isinstance(v, str) and re.match(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}", v)]
        return bool(times) and any(instant(date) is None for date in dates)

    def _unread(self, pair: Pair) -> bool:
        """Return whether PostgreSQL read a time where SQLite kept something that is none."""
        times = datetime.date | datetime.time
        if pair.sqlite is None or is_number(pair.sqlite):  # which PostgreSQL refuses
            return False
        return isinstance(pair.postgres, times) and _as_text(pair.sqlite) is None


_MOMENTS = {"sqlite": "2024-05-01 08:30:00.482220", "postgres": "2024-05-01 08:30:00.688095"}


class DateColumnTime(Rule):
    """A time of day in a DATE column, a zone in a column without one, or more digits than fit.

    What differs:
        PostgreSQL keeps what the type holds: a DATE column drops the time, TIMESTAMP WITHOUT TIME ZONE
        drops the offset without converting, both round to microseconds. SQLite keeps the text as it was
        passed.

    Why:
        A declared type has no effect on text in SQLite.

    Instead:
        Pass what the column holds: value.date() for DATE, UTC without an offset for TIMESTAMP:

            INSERT INTO visits (id, at, day) VALUES (3, '2024-05-03 08:00:00', '2024-05-03')

    References:
        https://www.sqlite.org/datatype3.html#date_and_time_datatype
        https://www.postgresql.org/docs/current/datatype-datetime.html
    """

    name = "date-column-time"
    title = "DATE drops the time, TIMESTAMP the zone on PostgreSQL only"
    instead = "value.date() for DATE, UTC without an offset for TIMESTAMP"
    kinds = frozenset({"rows", "state", "order"})
    priority = 4
    specimens = (
        Specimen([("UPDATE visits SET day = ? WHERE id = 1", ("2024-05-01 08:30:00",)), "COMMIT"], _VISITS),
        Specimen(
            [("UPDATE visits SET at = ? WHERE id = 1", ("2024-05-01 10:00:00.123456789",)), "COMMIT"], _VISITS
        ),
        Specimen(
            [("INSERT INTO visits (id, at) VALUES (?, ?)", (3, "2024-05-01T10:00:00+02:00")), "COMMIT"],
            _VISITS,
        ),
        Specimen(
            [
                ("UPDATE visits SET at = ? WHERE id = 1", ("2024-05-01 10:00:00+02:00",)),
                "SELECT at FROM visits WHERE id = 1",
            ],
            _VISITS,
        ),
    )
    near_misses = (
        Specimen([("UPDATE visits SET day = ? WHERE id = 1", ("2024-05-03",)), "COMMIT"], _VISITS),
        Specimen(
            [
                lambda db: db.execute(f"UPDATE visits SET at = '{_MOMENTS[db.backend]}' WHERE id = 1"),
                "COMMIT",
            ],
            _VISITS,
            also=("unexplained",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return explained(evidence, lambda p: self._cut(p.sqlite, p.postgres))

    def _cut(self, left: Any, right: Any) -> bool:
        if not isinstance(left, str) or not isinstance(right, datetime.date):
            return False
        if isinstance(right, datetime.datetime):
            first, second = instant(left), instant(right)
            if first is not None and second is not None and abs((first - second).total_seconds()) < 1:
                # cut to seconds, to their thousandths or millionths on one side; else the two are other moments
                return not (first.microsecond % 1000 and second.microsecond % 1000) or bool(
                    _FINER.search(left)
                )
            if right.tzinfo is not None or not _ZONE.search(left[10:]):
                return False
            return instant(_ZONE.sub("", left)) == right
        moment = instant(_ZONE.sub("", left) if len(left) > 10 else left)
        return moment is not None and moment.date() == right and len(left) > 10


class SessionTimeZone(Rule):
    """A time without a zone stored in TIMESTAMP WITH TIME ZONE, or now() outside UTC.

    What differs:
        PostgreSQL takes a time without a zone for one in the session's TimeZone and converts it; SQLite
        keeps the text, and its CURRENT_TIMESTAMP and date('now') are UTC. The moments are some hours apart.

    Why:
        TimeZone comes from the server's configuration, the client's PGTZ or SET; SQLite has no session zone.

    Instead:
        Aware datetimes in UTC as parameters, and SET TIME ZONE 'UTC' on connecting:

            INSERT INTO visits (id, at) VALUES (3, '2024-05-03 08:00:00+00:00')

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-TIMEZONES
    """

    name = "session-time-zone"
    title = "a time without zone is the session's on PostgreSQL, UTC else"
    instead = "aware datetimes in UTC, and SET TIME ZONE 'UTC' on connecting"
    kinds = frozenset({"rows", "state", "order"})
    priority = 3
    _ZONED: Mapping[str, str] = {
        "sqlite": "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP);",
        "postgres": "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMPTZ);",
    }
    specimens = (
        Specimen(
            [{"sqlite": "SELECT 1", "postgres": "SELECT 1 FROM set_config('TimeZone', 'Asia/Tokyo', false)"},
             ("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 08:00:00")),
             "SELECT at FROM visits", "COMMIT"],
            _ZONED,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen(
            [
                ("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 08:00:00+00:00")),
                "SELECT at FROM visits",
                "COMMIT",
            ],
            _ZONED,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        return explained(evidence, lambda p: self._shifted(p.sqlite, p.postgres))

    def _shifted(self, left: Any, right: Any) -> bool:
        if not isinstance(right, datetime.datetime) or not isinstance(left, str) or _ZONE.search(left[10:]):
            return False
        first, second = instant(left), instant(right)
        if first is None or second is None:
            return False
        seconds = abs((first - second).total_seconds())
        return 0 < seconds <= 14 * 3600 and seconds % 900 == 0


_HALVES_APART = datetime.timedelta(minutes=14)


class OffsetDropped(Rule):
    """An aware datetime whose offset SQLite's side does not keep.

    What differs:
        PostgreSQL's TIMESTAMP WITH TIME ZONE keeps the moment. On SQLite the clock time is stored without its
        offset, so that 10:00+02:00 comes back as 10:00, two hours late for whoever takes it for UTC.
    Why:
        SQLAlchemy's DateTime, and what else formats by hand, writes the year to the second, also with
        ``timezone=True``: SQLite has no type for the rest.
    Instead:
        Convert to UTC before it is stored, ``value.astimezone(datetime.UTC)``:
        ``INSERT INTO visits (id, at) VALUES (3, '2024-05-03 08:00:00+00:00')``.
    References:
        https://www.sqlite.org/datatype3.html#date_and_time_datatype
        https://docs.sqlalchemy.org/en/20/dialects/sqlite.html#sqlalchemy.dialects.sqlite.DATETIME
        https://www.postgresql.org/docs/current/datatype-datetime.html#DATATYPE-TIMEZONES
    """

    name = "offset-dropped"
    title = "the offset of an aware datetime is lost on SQLite"
    instead = "value.astimezone(datetime.UTC) before it is stored"
    kinds = frozenset({"rows", "state", "order"})
    priority = 4
    _AT: ClassVar[datetime.datetime] = datetime.datetime.fromisoformat("2024-05-01T10:00:00+02:00")
    specimens = (
        Specimen(
            [{"sqlite": ("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 10:00:00")),
              "postgres": ("INSERT INTO visits VALUES (?, ?)", (1, _AT))},
             "SELECT at FROM visits", "COMMIT"],
            SessionTimeZone._ZONED,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen(
            [
                ("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 08:00:00+00:00")),
                "SELECT at FROM visits",
                "COMMIT",
            ],
            SessionTimeZone._ZONED,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        given = [
            value
            for statement in evidence.recordings["postgres"].statements
            for value in params_of(statement)
            if isinstance(value, datetime.datetime) and value.utcoffset()
        ]

        def dropped(pair: Pair) -> bool:
            if not isinstance(pair.postgres, datetime.datetime) or not isinstance(pair.sqlite, str):
                return False
            if pair.postgres.tzinfo is None or _ZONE.search(pair.sqlite[10:]):
                return False
            stored = instant(pair.sqlite)
            clocks = [instant(v.replace(tzinfo=None)) for v in given if v == pair.postgres]
            # now() is another moment in each half
            return stored is not None and any(c and abs(stored - c) < _HALVES_APART for c in clocks)

        return bool(given) and explained(evidence, dropped)


# ------------------------------------------------------------------------------------------- Python's types


def _age(db: Any) -> None:
    at = db.fetchone("SELECT at FROM zoned")[0]
    at = datetime.datetime.fromisoformat(at) if isinstance(at, str) else at
    assert datetime.datetime.now() > at


def _iso(value: Any) -> str:
    return str(value.isoformat() if hasattr(value, "isoformat") else value)


class TimestampType(Rule):
    """A date or time that the application reads: text from SQLite, datetime from PostgreSQL.

    What differs:
        The Python type: str on SQLite, datetime.datetime, date, time or timedelta on PostgreSQL. Comparing
        with a datetime or calling .isoformat() fails on SQLite (TypeError, AttributeError), parsing fails
        on PostgreSQL; JSON encoders take the text only. PostgreSQL's timestamptz arrives with a zone, so
        that comparing with a datetime without one fails on one backend (TypeError, offset-naive and
        offset-aware).

    Why:
        SQLite returns what it stores, which is text, unless sqlite3.connect(detect_types=...) converts it.

    Instead:
        Convert in one place where rows become objects:
        `value if isinstance(value, datetime) else datetime.fromisoformat(value)`.

            SELECT id, at FROM visits

    References:
        https://www.sqlite.org/datatype3.html#date_and_time_datatype
        https://www.postgresql.org/docs/current/datatype-datetime.html
    """

    name = "timestamp-as-text"
    title = "times are str on SQLite, datetime on PostgreSQL"
    instead = "datetime.fromisoformat(value) where rows become objects"
    kinds = frozenset({"type", "observed"})
    specimens = (
        Specimen(["SELECT at FROM visits WHERE id = 1"], _VISITS),
        Specimen(
            [lambda db: _age(db)],
            {
                "sqlite": "CREATE TABLE zoned (at TIMESTAMP); INSERT INTO zoned VALUES ('2024-05-01 10:00:00');",
                "postgres": "CREATE TABLE zoned (at TIMESTAMPTZ); INSERT INTO zoned VALUES ('2024-05-01 10:00:00');",
            },
        ),
        Specimen(["SELECT max(day) FROM visits"], _VISITS),
        Specimen(
            [lambda db: db.observe("at", _iso(db.fetchone("SELECT at FROM visits WHERE id = 1")[0]))], _VISITS
        ),
    )
    near_misses = (Specimen(["SELECT id FROM visits ORDER BY at"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "observed":
            return "time" in renderings(evidence)
        times = (datetime.date, datetime.time, datetime.timedelta)
        if any(isinstance(p.postgres, times) and not isinstance(p.sqlite, bytes) for p in pairs(evidence)):
            return True
        return (
            re.search(
                r": \w+ / (datetime|date|time|timedelta)|datetime( with zone)? / datetime",
                evidence.divergence.message,
            )
            is not None
        )

    def advice(self, evidence: Evidence) -> str:
        if "with zone" in evidence.divergence.message:
            return (
                "fromisoformat(value).replace(tzinfo=UTC) on SQLite, or TIMESTAMP without zone on PostgreSQL"
            )
        return self.instead
