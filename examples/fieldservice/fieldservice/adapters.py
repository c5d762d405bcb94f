"""One adapter per database: connection, placeholder, the current time, transactions.

Repositories write SQL with `?` and know nothing else of the database.
"""

from __future__ import annotations

import re
import sqlite3
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar

import psycopg2
from psycopg2.extras import RealDictCursor

from fieldservice import settings

Row = dict[str, Any]


class Adapter(ABC):
    """A connection with the same few verbs on every database."""

    placeholder: ClassVar[str]
    now: ClassVar[str]
    integrity_error: ClassVar[type[Exception]]

    def __init__(self, url: str) -> None:
        self._connection = self._connect(url)

    @abstractmethod
    def _connect(self, url: str) -> Any:
        """Open the driver's connection, with rows that can be read by column name."""

    def execute(self, sql: str, params: Sequence[object] = ()) -> Any:
        """Run one statement and return the driver's cursor."""
        cursor = self._connection.cursor()
        cursor.execute(sql.replace("?", self.placeholder), params)
        return cursor

    def all(self, sql: str, params: Sequence[object] = ()) -> list[Row]:
        """Return every row as a dictionary."""
        return [dict(row) for row in self.execute(sql, params).fetchall()]

    def one(self, sql: str, params: Sequence[object] = ()) -> Row | None:
        """Return the first row, or None."""
        row = self.execute(sql, params).fetchone()
        return None if row is None else dict(row)

    def scalar(self, sql: str, params: Sequence[object] = ()) -> Any:
        """Return the only column of the first row, or None."""
        row = self.one(sql, params)
        return None if row is None else next(iter(row.values()))

    def insert(self, sql: str, params: Sequence[object] = ()) -> int:
        """Insert one row and return its id."""
        [row] = self.all(f"{sql} RETURNING id", params)
        return int(row["id"])

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit what the block did, or undo all of it when it raises."""
        try:
            yield
        except BaseException:
            self._connection.rollback()
            raise
        self._connection.commit()

    def close(self) -> None:
        """Close the connection; what was not committed is lost."""
        self._connection.close()


class SqliteAdapter(Adapter):
    """SQLite through the standard library, with dates, booleans and decimals as Python types."""

    placeholder = "?"
    now = "CURRENT_TIMESTAMP"
    integrity_error = sqlite3.IntegrityError

    def _connect(self, url: str) -> sqlite3.Connection:
        path = url.removeprefix(settings.SQLITE_PREFIX)
        connection = sqlite3.connect(path, detect_types=sqlite3.PARSE_DECLTYPES)
        connection.row_factory = sqlite3.Row
        return connection


class PostgresAdapter(Adapter):
    """PostgreSQL through psycopg2; times are kept in UTC without a zone."""

    placeholder = "%s"
    now = "(now() AT TIME ZONE 'utc')"
    integrity_error = psycopg2.IntegrityError

    def _connect(self, url: str) -> psycopg2.extensions.connection:
        return psycopg2.connect(
            re.sub(r"^postgresql\+\w+:", "postgresql:", url), cursor_factory=RealDictCursor
        )


def connect(url: str | None = None) -> Adapter:
    """Open the database of `url`, by default the one of the settings."""
    url = url or settings.database_url()
    adapter = SqliteAdapter if url.startswith(settings.SQLITE_PREFIX) else PostgresAdapter
    return adapter(url)


sqlite3.register_adapter(Decimal, str)
sqlite3.register_adapter(date, date.isoformat)
sqlite3.register_adapter(datetime, lambda value: value.isoformat(sep=" "))
sqlite3.register_converter("BOOLEAN", lambda raw: raw != b"0")
sqlite3.register_converter("DATE", lambda raw: date.fromisoformat(raw.decode()))
sqlite3.register_converter("NUMERIC", lambda raw: Decimal(raw.decode()))
sqlite3.register_converter("TIMESTAMP", lambda raw: datetime.fromisoformat(raw.decode()))
