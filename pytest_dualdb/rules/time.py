"""Rules about dates and times: text on SQLite, types with functions of their own on PostgreSQL."""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    Pair,
    bare,
    calls,
    explained,
    family,
    missing_function,
    missing_operator,
    near,
    pairs,
    said,
    sole_error,
    stored_rows,
    suspects,
)
from pytest_dualdb.values import instant

READ_KINDS = frozenset({"rows", "order", "rowcount", "state"})

_VISITS = (
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP, day DATE);"
    " INSERT INTO visits VALUES (1, '2024-05-01 08:00:00', '2024-05-01'), (2, '2024-05-02 00:00:00', '2024-05-02');"
)


# ------------------------------------------------------------------------------------ timestamps that are text


def _as_text(value: Any) -> str | None:
    """Return the text that SQLite compares for a value that is a time, None for another value."""
    if isinstance(value, datetime.datetime):
        return value.isoformat(" ")
    if isinstance(value, datetime.date):
        return value.isoformat()
    return value if isinstance(value, str) and instant(value) is not None else None


def _texts(evidence: Evidence) -> tuple[list[str], list[str]]:
    """Return the times that SQLite holds as text in the statement's columns, and those that it is asked for."""
    sql = evidence.sql("sqlite") or evidence.text
    tables = sorted(syntax.tables(sql) | ({evidence.divergence.table or ""} - {""}))
    names = set()
    for backend in BACKENDS:
        for statement in suspects(evidence, backend):
            for word in set(re.findall(r"\w+", bare(statement.sql).lower())):
                column = evidence.column(word, "postgres", tables)
                if column is not None and family(column.type) == "time":
                    names.add(column.name.lower())
    stored = {text for row in stored_rows(evidence, sql) for name in names if (text := _as_text(row.get(name)))}
    asked = [_as_text(value) for statement in suspects(evidence, "sqlite") for value in params_of(statement)]
    asked += [_as_text(literal) for literal in re.findall(r"'([^']*)'", sql)]
    if re.search(r"CURRENT_TIMESTAMP|datetime\s*\(\s*'now'", sql, re.I):
        asked.append(datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"))
    return (sorted(stored), sorted({text for text in asked if text is not None})) if names else ([], [])


_ZONE = re.compile(r"(Z|[+-]\d\d(?::?\d\d)?)$")


def _clashes(evidence: Evidence) -> Iterator[str]:
    """Yield why two times compare otherwise as text than as times: zone, separator, date or precision."""
    if evidence.kind == "state" and any(isinstance(pair.postgres, datetime.date) for pair in pairs(evidence)):
        return  # a stored time itself differs: no comparison did that
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
        SQLite compares them as text: '2024-05-01T00:00' is greater than every '2024-05-01 ...' because T comes
        after the blank. Range searches and sorting part from PostgreSQL, which compares times.

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
            [{"sqlite": "SELECT id FROM log WHERE at >= datetime('2024-05-01 08:00:00', '+1 hour')",
              "postgres": "SELECT id FROM log WHERE at >= to_char(timestamp '2024-05-01 09:00:00', 'YYYY-MM-DD\"T\"HH24:MI:SS')"}],
            "CREATE TABLE log (id INTEGER PRIMARY KEY, at TEXT); INSERT INTO log VALUES (1, '2024-05-01T08:30:00');",
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
        written = re.findall(r"(\w+)\"?\s*(?:[<>]=?|=|<>|!=|BETWEEN)\s*(?:datetime\s*\(|CURRENT_TIMESTAMP)", sql, re.I)
        written += re.findall(r"(?:datetime\s*\([^()]*\)|CURRENT_TIMESTAMP)\s*(?:[<>]=?|=)\s*(?:\w+\.)?\"?(\w+)", sql, re.I)
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
        As text, '2024-05-01' is less than '2024-05-01 00:00:00' and never equal to it; PostgreSQL takes the date
        for midnight. `at <= '2024-05-02'` misses midnight on SQLite only, `at = date` finds nothing.

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
        Specimen(["SELECT id FROM visits WHERE at BETWEEN '2024-05-01' AND '2024-05-02' ORDER BY id"], _VISITS),
        Specimen([("SELECT id FROM visits WHERE day = ?", ("2024-05-02 00:00:00",))], _VISITS),
    )
    near_misses = (
        Specimen(["SELECT id FROM visits WHERE at >= '2024-05-02 00:00:00' AND at < '2024-05-03 00:00:00'"], _VISITS),
    )

    def matches(self, evidence: Evidence) -> bool:
        return "date" in set(_clashes(evidence))


class TimestampPrecision(Rule):
    """Timestamps with and without seconds or a fraction.

    What differs:
        As text '08:00' and '08:00:00.000' are different times, and '08:00:00.5' sorts after '08:00:00' but before
        '08:00:01'; equality and range ends part from PostgreSQL, which reads them as times.

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
        Specimen([("SELECT id FROM visits WHERE at >= ? ORDER BY id", ("2024-05-01 08:00:00.000",))], _VISITS),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE at = ?", ("2024-05-01 08:00:00",))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        return "precision" in set(_clashes(evidence))


# ------------------------------------------------------------------------------------------------- functions


class SqliteDateFunction(Rule):
    """datetime(), strftime(), julianday(), unixepoch(), or date() and time() with modifiers, on PostgreSQL.

    What differs:
        PostgreSQL fails (42883, function datetime(unknown) does not exist; 42601 for time('now')).

    Why:
        SQLite keeps times as text and has its own functions, with modifiers such as '-7 days', for them.

    Instead:
        Compute the moment in the application and pass it:

            SELECT id FROM visits WHERE at >= ?

        CURRENT_TIMESTAMP and CURRENT_DATE exist on both.

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/functions-datetime.html
    """

    name = "sqlite-date-function"
    title = "datetime(), strftime() and others are SQLite's own"
    instead = "the moment as a parameter, CURRENT_TIMESTAMP for now"
    kinds = frozenset({"error", "outcome"})
    priority = 3
    specimens = (
        Specimen(["SELECT id FROM visits WHERE at < datetime('now', '-7 days') ORDER BY id"], _VISITS),
        Specimen(["SELECT strftime('%Y', at) FROM visits"], _VISITS),
        Specimen(["SELECT julianday(at) FROM visits"], _VISITS),
        Specimen([("SELECT id FROM visits WHERE day > date('now', ?)", ("-1 day",))], _VISITS),
        Specimen(["SELECT time('now') < '24'"]),
        Specimen(["INSERT INTO visits (id, at) VALUES (3, datetime('now'))"], _VISITS),
    )
    near_misses = (Specimen(["SELECT id FROM visits WHERE at < CURRENT_TIMESTAMP ORDER BY id"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "42601", "22007", "42703")
        missing = missing_function(failure)
        if missing is not None:
            return missing.name in ("datetime", "strftime", "julianday", "unixepoch", "date", "time", "timediff")
        if near(failure) is not None:
            return calls(evidence.sql("postgres"), "time", "datetime", "timestamp")
        return False


class PostgresDateFunction(Rule):
    """date_trunc, EXTRACT, INTERVAL, now(), to_char, AT TIME ZONE or a typed literal, on SQLite.

    What differs:
        SQLite fails: no such function: date_trunc; near "FROM": syntax error; no such column: interval.

    Why:
        They need types for times and intervals, which SQLite has not.

    Instead:
        Compute the moment in the application and pass it; take dates apart there, too:

            SELECT id FROM visits WHERE at >= ? AND at < ?

        CURRENT_TIMESTAMP stands for now() on both.

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/functions-datetime.html
    """

    name = "postgres-date-function"
    title = "date_trunc, EXTRACT, INTERVAL, now() are PostgreSQL's own"
    instead = "the moment as a parameter, CURRENT_TIMESTAMP for now()"
    kinds = frozenset({"error", "outcome"})
    priority = 6
    specimens = (
        Specimen(["SELECT date_trunc('month', at) FROM visits"], _VISITS),
        Specimen(["SELECT EXTRACT(YEAR FROM at) FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE at < now()"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE at < CURRENT_TIMESTAMP - INTERVAL '7 days'"], _VISITS),
        Specimen(["SELECT to_char(at, 'YYYY-MM') FROM visits"], _VISITS),
        Specimen(["SELECT at AT TIME ZONE 'UTC' FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE day = DATE '2024-05-01'"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE at < LOCALTIMESTAMP"], _VISITS),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE at >= ? AND at < CURRENT_TIMESTAMP", ("2024-05-02 00:00:00",))], _VISITS),)
    _NAMES = frozenset(
        "date_trunc date_part to_char to_date to_timestamp age now make_date make_timestamp make_time make_interval"
        " clock_timestamp statement_timestamp transaction_timestamp timeofday date_bin extract isfinite"
        " justify_days justify_hours justify_interval timezone make_timestamptz interval timestamp"
        " localtimestamp localtime date_add date_subtract".split()
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if failure is None:
            return False
        missing = missing_function(failure)
        if missing is not None:
            return missing.name in self._NAMES
        if said(failure, r"no such column: (interval|date|time|timestamp|timestamptz|localtimestamp|localtime)$"):
            return True
        if near(failure) is None:
            return False
        text = bare(evidence.sql("sqlite"))
        pattern = (
            r"\bextract\s*\(|\bAT\s+TIME\s+ZONE\b|\bINTERVAL\s*''|\b(DATE|TIME|TIMESTAMP|TIMESTAMPTZ)\s+''|"
            r"\b(CURRENT_TIMESTAMP|CURRENT_TIME|LOCALTIMESTAMP)\s*\(|\bINTERVAL\s+[?:%$\d]|\bOVERLAPS\b"
        )
        return re.search(pattern, text, re.I) is not None


class DateArithmetic(Rule):
    """A date or timestamp plus or minus something.

    What differs:
        SQLite reads the text as a number, which is the year: '2024-05-01' + 1 is 2025, and the difference of two
        dates is the difference of the years. PostgreSQL counts days and intervals, or fails (42883, operator
        does not exist: timestamp without time zone + integer).

    Why:
        Arithmetic makes numbers of text on SQLite, up to the first character that is no digit.

    Instead:
        Compute in the application, on both sides of the comparison:

            SELECT id, at FROM visits WHERE at >= ?

    References:
        https://www.sqlite.org/lang_expr.html#operators
        https://www.postgresql.org/docs/current/functions-datetime.html#OPERATORS-DATETIME-TABLE
    """

    name = "date-arithmetic"
    title = "+ and - on dates count years on SQLite"
    instead = "datetime and timedelta in the application"
    kinds = READ_KINDS | {"error", "outcome"}
    priority = 4
    specimens = (
        Specimen(["SELECT day + 1 AS next FROM visits WHERE id = 1"], _VISITS),
        Specimen(["SELECT day - '2024-04-01' AS days FROM visits WHERE id = 1"], _VISITS),
        Specimen(["SELECT at + 1 FROM visits"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE day - 1 = '2024-05-01'"], _VISITS),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE at >= ?", ("2024-05-02 00:00:00",))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "22007", "22008", "42725")
        missing = missing_operator(failure)
        if missing is not None:
            return missing.symbol in ("+", "-", "*", "/") and re.search("date|time|interval", missing.left + missing.right) is not None
        if evidence.kind in ("error", "outcome") and (failure is None or failure.sqlstate == "42883"):
            return False
        from sqlglot import expressions as exp

        tables = sorted(syntax.tables(evidence.text))
        for node in evidence.find(exp.Add, exp.Sub):
            for column in node.find_all(exp.Column):
                found = evidence.column(column.name, "postgres", tables)
                if found is not None and family(found.type) == "time":
                    return True
        return False


# --------------------------------------------------------------------------------------------- what is stored


class InvalidDate(Rule):
    """Text that is no date, or a number, in a date or timestamp column.

    What differs:
        SQLite stores '2024-02-30', '31.12.2024', 'soon' and 1700000000 alike; PostgreSQL refuses text that is no
        date (22007, 22008) and numbers (42804), and reads 'now' or 'today' as a moment.

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
    kinds = frozenset({"error", "outcome", "rows", "state"})
    priority = 1
    specimens = (
        Specimen([("UPDATE visits SET day = ?", ("2024-02-30",))], _VISITS),
        Specimen([("SELECT id FROM visits WHERE at = ?", ("soon",))], _VISITS),
        Specimen([("UPDATE visits SET at = ?", (1700000000,))], _VISITS),
        Specimen([("UPDATE visits SET day = ? WHERE id = 1", ("May 3, 2024",)), "COMMIT"], _VISITS),
    )
    near_misses = (Specimen([("UPDATE visits SET day = ?", (datetime.date(2024, 2, 29).isoformat(),)), "COMMIT"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "22007", "22008", "22009", "42804")
        if failure is not None:
            if failure.sqlstate == "42804":
                pattern = r"is of type (timestamp|date|time)\b.* is of type (small|big)?(integer|int|numeric|double)"
                return said(failure, pattern) is not None or said(failure, r"is of type (timestamp|date|time).* type bigint") is not None
            return True
        return explained(evidence, self._unread)

    def _unread(self, pair: Pair) -> bool:
        """Return whether PostgreSQL read a time where SQLite kept something that is none."""
        times = datetime.date | datetime.time
        return isinstance(pair.postgres, times) and pair.sqlite is not None and _as_text(pair.sqlite) is None


class DateColumnTime(Rule):
    """A time of day in a DATE column, a zone in a column without one, or more digits than fit.

    What differs:
        PostgreSQL keeps what the type holds: a DATE column drops the time, TIMESTAMP WITHOUT TIME ZONE drops the
        offset without converting, both round to microseconds. SQLite keeps the text as it was passed.

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
        Specimen([("INSERT INTO visits (id, at) VALUES (?, ?)", (3, "2024-05-01T10:00:00+02:00")), "COMMIT"], _VISITS),
        Specimen(
            [("UPDATE visits SET at = ? WHERE id = 1", ("2024-05-01 10:00:00+02:00",)), "SELECT at FROM visits WHERE id = 1"],
            _VISITS,
        ),
    )
    near_misses = (Specimen([("UPDATE visits SET day = ? WHERE id = 1", ("2024-05-03",)), "COMMIT"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        return explained(evidence, lambda p: self._cut(p.sqlite, p.postgres))

    def _cut(self, left: Any, right: Any) -> bool:
        if not isinstance(left, str) or not isinstance(right, datetime.date):
            return False
        if isinstance(right, datetime.datetime):
            first, second = instant(left), instant(right)
            if first is not None and second is not None and abs((first - second).total_seconds()) < 1:
                return True
            if right.tzinfo is not None or not _ZONE.search(left[10:]):
                return False
            return instant(_ZONE.sub("", left)) == right
        moment = instant(_ZONE.sub("", left) if len(left) > 10 else left)
        return moment is not None and moment.date() == right and len(left) > 10


class SessionTimeZone(Rule):
    """A time without a zone stored in TIMESTAMP WITH TIME ZONE, or now() outside UTC.

    What differs:
        PostgreSQL takes a time without a zone for one in the session's TimeZone and converts it; SQLite keeps the
        text, and its CURRENT_TIMESTAMP and date('now') are UTC. The moments are some hours apart.

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
             ("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 08:00:00")), "SELECT at FROM visits", "COMMIT"],
            _ZONED,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen([("INSERT INTO visits VALUES (?, ?)", (1, "2024-05-01 08:00:00+00:00")), "SELECT at FROM visits", "COMMIT"], _ZONED),
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


# ---------------------------------------------------------------------------------------------- now, and types


class TransactionTime(Rule):
    """CURRENT_TIMESTAMP or now() several times in one transaction.

    What differs:
        On PostgreSQL they are the start of the transaction: all rows of one transaction have the same time. On
        SQLite the clock goes on. Sorting by the time of creation, and counting distinct times, part.

    Why:
        The standard lets a transaction see one time; SQLite evaluates the clock in each statement.

    Instead:
        Take the time in the application, one for each row, and sort by the key as well:

            SELECT id FROM visits ORDER BY at, id

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT
    """

    name = "transaction-time"
    title = "now() stands still within a transaction on PostgreSQL"
    instead = "datetime.now(UTC) as a parameter; ORDER BY at, id"
    kinds = frozenset({"rows", "order"})
    priority = 3
    _BUSY = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000) SELECT count(*) FROM c"
    _INSERT: Mapping[str, str] = {
        "sqlite": "INSERT INTO visits (id, at) SELECT coalesce(max(id), 0) + 1, strftime('%Y-%m-%d %H:%M:%f', 'now') FROM visits",
        "postgres": "INSERT INTO visits (id, at) SELECT coalesce(max(id), 0) + 1, now() FROM visits",
    }
    _ZONED = SessionTimeZone._ZONED
    specimens = (
        Specimen([_INSERT, _BUSY, _INSERT, "SELECT count(DISTINCT at) FROM visits"], _ZONED),
    )
    near_misses = (Specimen([_INSERT, _INSERT, "SELECT id FROM visits ORDER BY id"], _ZONED),)

    def matches(self, evidence: Evidence) -> bool:
        if not _clocked(evidence):
            return False
        counts = [_distinct(evidence, backend) for backend in BACKENDS]
        return any(ours > theirs for ours, theirs in zip(*counts, strict=False))


class ClockPrecision(Rule):
    """Sorting, comparing or counting by a time of creation that the database made.

    What differs:
        SQLite's CURRENT_TIMESTAMP has whole seconds, PostgreSQL's microseconds: rows made within a second have the
        same time on SQLite, and sort in no order; on PostgreSQL they are apart.

    Why:
        SQLite writes 'YYYY-MM-DD HH:MM:SS' unless strftime('%f') is asked for.

    Instead:
        Sort by the key as well, or take the time in the application:

            SELECT id FROM visits ORDER BY at DESC, id DESC

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/functions-datetime.html#FUNCTIONS-DATETIME-CURRENT
    """

    name = "clock-precision"
    title = "CURRENT_TIMESTAMP has whole seconds on SQLite"
    instead = "ORDER BY at DESC, id DESC; or datetime.now(UTC) as a parameter"
    kinds = frozenset({"rows", "order"})
    priority = 2
    _LOG: Mapping[str, str] = {
        "sqlite": "CREATE TABLE log (id INTEGER PRIMARY KEY, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);",
        "postgres": "CREATE TABLE log (id INTEGER PRIMARY KEY, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP);",
    }
    specimens = (
        Specimen(
            ["INSERT INTO log (id) VALUES (1)", "COMMIT", "INSERT INTO log (id) VALUES (2)", "COMMIT",
             "INSERT INTO log (id) VALUES (3)", "COMMIT", "SELECT id FROM log ORDER BY at DESC"], _LOG,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen(
            ["INSERT INTO log (id) VALUES (1)", "COMMIT", "INSERT INTO log (id) VALUES (2)", "COMMIT",
             "SELECT id FROM log ORDER BY at DESC, id DESC"], _LOG,
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        if not _clocked(evidence):
            return False
        counts = [_distinct(evidence, backend) for backend in BACKENDS]
        return any(ours < theirs for ours, theirs in zip(*counts, strict=False))


_CLOCK = r"CURRENT_TIMESTAMP|CURRENT_TIME\b|\bnow\s*\(|'now'|LOCALTIMESTAMP|(transaction|statement|clock)_timestamp"


def _clocked(evidence: Evidence) -> bool:
    """Return whether a table of the statement has times that the database's clock made."""
    names = syntax.tables(evidence.text)
    for backend in BACKENDS:
        for statement in evidence.recordings[backend].statements:
            if re.search(_CLOCK, statement.sql, re.I) and (syntax.tables(statement.sql) & names or not names):
                return True
        catalog = evidence.catalogs.get(backend)
        for name in names:
            table = None if catalog is None else catalog.table(name)
            for column in () if table is None else table.columns:
                if column.default and re.search(_CLOCK, column.default, re.I):
                    return True
    return False


def _distinct(evidence: Evidence, backend: Any) -> list[int]:
    """Return for each time column of the statement's tables how many different times the backend holds."""
    found = _counted(evidence, backend)
    for table in () if found else sorted(syntax.tables(evidence.text)):
        other = evidence.contents(table, "postgres")
        contents = evidence.contents(table, backend)
        if contents is None or other is None:
            continue
        for index, name in enumerate(contents.columns):
            column = evidence.column(name, "postgres", [table])
            if column is not None and family(column.type) == "time":
                found.append(len({str(row[index]) for row in contents.rows}))
    return found


def _counted(evidence: Evidence, backend: Any) -> list[int]:
    """Return the number that the half got, where it counted distinct times itself."""
    statement = evidence.statement(backend)
    if statement is None or not re.search(r"count\s*\(\s*distinct", statement.sql, re.I):
        return []
    return [value for row in statement.values for value in row if isinstance(value, int)][:1]


class TimestampType(Rule):
    """A date or time that the application reads: text from SQLite, datetime from PostgreSQL.

    What differs:
        The Python type: str on SQLite, datetime.datetime, date, time or timedelta on PostgreSQL. Comparing with
        a datetime or calling .isoformat() fails on SQLite (TypeError, AttributeError), parsing fails on
        PostgreSQL; JSON encoders take the text only. PostgreSQL's timestamptz arrives with a zone.

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
    kinds = frozenset({"type"})
    specimens = (
        Specimen(["SELECT at FROM visits WHERE id = 1"], _VISITS),
        Specimen(["SELECT max(day) FROM visits"], _VISITS),
    )
    near_misses = (Specimen(["SELECT id FROM visits ORDER BY at"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        times = (datetime.date, datetime.time, datetime.timedelta)
        if any(isinstance(p.postgres, times) and not isinstance(p.sqlite, bytes) for p in pairs(evidence)):
            return True
        return re.search(r": \w+ / (datetime|date|time|timedelta)|datetime( with zone)? / datetime", evidence.divergence.message) is not None


class CastToDate(Rule):
    """CAST(x AS DATE) or CAST(x AS TIMESTAMP), date() or max() as a value.

    What differs:
        SQLite casts to NUMERIC, which leaves the year: CAST('2024-05-01' AS DATE) is 2024. PostgreSQL gives the
        date.

    Why:
        DATE and TIMESTAMP have the affinity NUMERIC on SQLite, and a cast applies it.

    Instead:
        Take the date apart in the application, or cut the text where it is text:

            SELECT substr(CAST(at AS TEXT), 1, 10) FROM visits

    References:
        https://www.sqlite.org/lang_expr.html#castexpr
        https://www.postgresql.org/docs/current/datatype-datetime.html
    """

    name = "cast-to-date"
    title = "CAST(x AS DATE) gives the year on SQLite"
    instead = "substr(CAST(at AS TEXT), 1, 10), or .date() in the application"
    kinds = READ_KINDS
    priority = 5
    specimens = (
        Specimen(["SELECT CAST(at AS DATE) AS d FROM visits WHERE id = 1"], _VISITS),
        Specimen(["SELECT id FROM visits WHERE CAST(at AS DATE) = '2024-05-01'"], _VISITS),
        Specimen(["SELECT CAST(at AS DATE) AS d, count(*) FROM visits GROUP BY CAST(at AS DATE)"], _VISITS),
    )
    near_misses = (Specimen(["SELECT substr(CAST(at AS TEXT), 1, 10) AS d FROM visits WHERE id = 1"], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        texts = [bare(s.sql) for b in BACKENDS for s in suspects(evidence, b)]
        return any(re.search(r"\bCAST\s*\(.*?\bAS\s+(DATE|TIMESTAMP|TIME)\b", text, re.I | re.S) for text in texts)

