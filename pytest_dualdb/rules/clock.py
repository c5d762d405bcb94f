"""Rules about date functions, arithmetic with dates, and the database's own clock."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import (
    bare,
    calls,
    family,
    missing_function,
    missing_operator,
    near,
    said,
    sole_error,
    suspects,
)

READ_KINDS = frozenset({"rows", "order", "rowcount", "state"})

_VISITS = (
    "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP, day DATE);"
    " INSERT INTO visits VALUES (1, '2024-05-01 08:00:00', '2024-05-01'), (2, '2024-05-02"
    " 00:00:00', '2024-05-02');"
)


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
            return missing.name in (
                "datetime",
                "strftime",
                "julianday",
                "unixepoch",
                "date",
                "time",
                "timediff",
            )
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
    near_misses = (
        Specimen(
            [("SELECT id FROM visits WHERE at >= ? AND at < CURRENT_TIMESTAMP", ("2024-05-02 00:00:00",))],
            _VISITS,
        ),
    )
    _NAMES = frozenset(
        [
            "date_trunc",
            "date_part",
            "to_char",
            "to_date",
            "to_timestamp",
            "age",
            "now",
            "make_date",
            "make_timestamp",
            "make_time",
            "make_interval",
            "clock_timestamp",
            "statement_timestamp",
            "transaction_timestamp",
            "timeofday",
            "date_bin",
            "extract",
            "isfinite",
            "justify_days",
            "justify_hours",
            "justify_interval",
            "timezone",
            "make_timestamptz",
            "interval",
            "timestamp",
            "localtimestamp",
            "localtime",
            "date_add",
            "date_subtract",
        ]
    )

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "sqlite")
        if failure is None:
            return False
        missing = missing_function(failure)
        if missing is not None:
            return missing.name in self._NAMES
        if said(
            failure, r"no such column: (interval|date|time|timestamp|timestamptz|localtimestamp|localtime)$"
        ):
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
        SQLite reads the text as a number, which is the year: '2024-05-01' + 1 is 2025, and the difference
        of two dates is the difference of the years. PostgreSQL counts days and intervals, or fails (42883,
        operator does not exist: timestamp without time zone + integer).

    Why:
        Arithmetic makes numbers of text on SQLite, up to the first character that is no digit.

    Instead:
        Compute in the application, on both sides of the comparison:

            SELECT id, at FROM visits WHERE at >= ?

    References:
        https://www.sqlite.org/lang_expr.html
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
        Specimen(["SELECT id FROM visits WHERE day < CURRENT_DATE - 7"], _VISITS),
    )
    near_misses = (Specimen([("SELECT id FROM visits WHERE at >= ?", ("2024-05-02 00:00:00",))], _VISITS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883", "22007", "22008", "42725")
        missing = missing_operator(failure)
        if missing is not None:
            return (
                missing.symbol in ("+", "-", "*", "/")
                and re.search("date|time|interval", missing.left + missing.right) is not None
            )
        if evidence.kind in ("error", "outcome") and (failure is None or failure.sqlstate == "42883"):
            return False
        from sqlglot import expressions as exp

        tables = sorted(syntax.tables(evidence.text))
        for node in evidence.find(exp.Add, exp.Sub):
            if node.find(exp.CurrentDate, exp.CurrentTimestamp):
                return True
            for column in node.find_all(exp.Column):
                found = evidence.column(column.name, "postgres", tables)
                if found is not None and family(found.type) == "time":
                    return True
        return False


class TransactionTime(Rule):
    """CURRENT_TIMESTAMP or now() several times in one transaction.

    What differs:
        On PostgreSQL they are the start of the transaction: all rows of one transaction have the same time.
        On SQLite the clock goes on. Sorting by the time of creation, and counting distinct times, part.

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
    _BUSY = (
        "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 200000)"
        " SELECT count(*) FROM c"
    )
    _INSERT: Mapping[str, str] = {
        "sqlite": "INSERT INTO visits (id, at) SELECT coalesce(max(id), 0) + 1, strftime('%Y-%m-%d"
        " %H:%M:%f', 'now') FROM visits",
        "postgres": "INSERT INTO visits (id, at) SELECT coalesce(max(id), 0) + 1, now() FROM visits",
    }
    _ZONED: Mapping[str, str] = {
        "sqlite": "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMP);",
        "postgres": "CREATE TABLE visits (id INTEGER PRIMARY KEY, at TIMESTAMPTZ);",
    }
    specimens = (Specimen([_INSERT, _BUSY, _INSERT, "SELECT count(DISTINCT at) FROM visits"], _ZONED),)
    near_misses = (Specimen([_INSERT, _INSERT, "SELECT id FROM visits ORDER BY id"], _ZONED),)

    def matches(self, evidence: Evidence) -> bool:
        if not _clocked(evidence):
            return False
        counts = [_distinct(evidence, backend) for backend in BACKENDS]
        return any(ours > theirs for ours, theirs in zip(*counts, strict=False))


class ClockPrecision(Rule):
    """Sorting, comparing or counting by a time of creation that the database made.

    What differs:
        SQLite's CURRENT_TIMESTAMP has whole seconds, PostgreSQL's microseconds: rows made within a second
        have the same time on SQLite, and sort in no order; on PostgreSQL they are apart.

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
    priority = 1
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
        Specimen(
            ["INSERT INTO log (id) VALUES (1)", "COMMIT", "INSERT INTO log (id) VALUES (2)", "COMMIT",
             "SELECT id FROM log ORDER BY id"], _LOG,
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        if not _clocked(evidence):
            return False
        counts = [_distinct(evidence, backend) for backend in BACKENDS]
        return any(ours < theirs for ours, theirs in zip(*counts, strict=False))


_CLOCK = (
    r"CURRENT_TIMESTAMP|CURRENT_TIME\b|\bnow\s*\(|'now'|LOCALTIMESTAMP|(transaction|statement|"
    r"clock)_timestamp"
)


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
    """Return for each time column that the statement sorts or filters by how many times the backend holds."""
    found = _counted(evidence, backend)
    # a column that is only selected decides neither which rows come nor in which order
    deciding = re.split(r"\bfrom\b", evidence.text, maxsplit=1, flags=re.I)[-1]
    for table in () if found else sorted(syntax.tables(evidence.text)):
        other = evidence.contents(table, "postgres")
        contents = evidence.contents(table, backend)
        if contents is None or other is None:
            continue
        for index, name in enumerate(contents.columns):
            column = evidence.column(name, "postgres", [table])
            used = re.search(rf"\b{re.escape(name)}\b", deciding, re.I)
            if used and column is not None and family(column.type) == "time":
                found.append(len({str(row[index]) for row in contents.rows}))
    return found


def _counted(evidence: Evidence, backend: Any) -> list[int]:
    """Return the number that the half got, where it counted distinct times itself."""
    statement = evidence.statement(backend)
    if statement is None or not re.search(r"count\s*\(\s*distinct", statement.sql, re.I):
        return []
    return [value for row in statement.values for value in row if isinstance(value, int)][:1]


class CastToDate(Rule):
    """CAST(x AS DATE) or CAST(x AS TIMESTAMP), date() or max() as a value.

    What differs:
        SQLite casts to NUMERIC, which leaves the year: CAST('2024-05-01' AS DATE) is 2024. PostgreSQL gives
        the date.

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
    near_misses = (
        Specimen(["SELECT substr(CAST(at AS TEXT), 1, 10) AS d FROM visits WHERE id = 1"], _VISITS),
    )

    def matches(self, evidence: Evidence) -> bool:
        texts = [bare(s.sql) for b in BACKENDS for s in suspects(evidence, b)]
        return any(
            re.search(r"\bCAST\s*\(.*?\bAS\s+(DATE|TIMESTAMP|TIME)\b", text, re.I | re.S) for text in texts
        )


class DateFunctionResult(Rule):
    """SQLite's date functions in one branch and PostgreSQL's in the other, with other results.

    What differs:
        strftime() gives text with leading zeros ('05'), EXTRACT a number (5), to_char() its own signs: %w
        counts Sunday as 0, D as 1; date('2024-01-31', '+1 month') is the second of March, DATE + INTERVAL
        '1 month' the last of February. julianday() differences are fractions, those of dates are whole
        days.

    Why:
        SQLite adds to the fields and carries over; PostgreSQL stays within the month. The two have no
        function in common beyond CURRENT_DATE and CURRENT_TIMESTAMP.

    Instead:
        Compute in the application, once for both:

            SELECT id FROM visits WHERE at >= ? AND at < ?

    References:
        https://www.sqlite.org/lang_datefunc.html
        https://www.postgresql.org/docs/current/functions-datetime.html
    """

    name = "date-function-result"
    title = "the two databases' date functions give other results"
    instead = "datetime in the application, for both"
    kinds = READ_KINDS
    specimens = (
        Specimen(
            [
                {
                    "sqlite": "SELECT strftime('%m', at) AS m FROM visits WHERE id = 1",
                    "postgres": "SELECT EXTRACT(MONTH FROM at) AS m FROM visits WHERE id = 1",
                }
            ],
            _VISITS,
        ),
        Specimen(
            [
                {
                    "sqlite": "SELECT date('2024-01-31', '+1 month') AS d",
                    "postgres": "SELECT (DATE '2024-01-31' + INTERVAL '1 month')::date AS d",
                }
            ]
        ),
    )
    near_misses = (
        Specimen(
            [
                {
                    "sqlite": "SELECT strftime('%Y', at) AS y FROM visits WHERE id = 1",
                    "postgres": "SELECT to_char(at, 'YYYY') AS y FROM visits WHERE id = 1",
                }
            ],
            _VISITS,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        ours = " ".join(bare(s.sql) for s in suspects(evidence, "sqlite"))
        theirs = " ".join(bare(s.sql) for s in suspects(evidence, "postgres"))
        if not calls(ours, "date", "time", "datetime", "strftime", "julianday", "unixepoch"):
            return False
        names = (
            "extract",
            "date_part",
            "to_char",
            "date_trunc",
            "age",
            "make_interval",
            "now",
            "to_timestamp",
        )
        return (
            calls(theirs, *names)
            or re.search(r"\bINTERVAL\b|::\s*(date|timestamp)|\bDATE\s*''", theirs, re.I) is not None
        )
