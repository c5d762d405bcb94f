"""Messages to technicians, kept until the gateway fetches them.

The gateway is a program of its own that reads the table, so this module keeps no connection open.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing

from fieldservice.settings import sqlite_path

TABLE = """
CREATE TABLE IF NOT EXISTS notifications (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    recipient TEXT NOT NULL,
    subject TEXT NOT NULL,
    is_sent BOOLEAN NOT NULL DEFAULT 0
)
"""


def notify(recipient: str, subject: str) -> None:
    """Add a message for a technician's address."""
    with closing(sqlite3.connect(sqlite_path())) as connection, connection:
        connection.execute(TABLE)
        connection.execute(
            "INSERT INTO notifications (recipient, subject) VALUES (?, ?)", (recipient, subject)
        )


def pending() -> list[tuple[str, str]]:
    """Return recipient and subject of the messages that were not sent, oldest first."""
    with closing(sqlite3.connect(sqlite_path())) as connection:
        return connection.execute(
            "SELECT recipient, subject FROM notifications WHERE is_sent = 0 ORDER BY id"
        ).fetchall()


def mark_sent(recipient: str) -> int:
    """Mark the messages to a recipient as sent and return how many there were."""
    with closing(sqlite3.connect(sqlite_path())) as connection, connection:
        cursor = connection.execute(
            "UPDATE notifications SET is_sent = 1 WHERE recipient = ? AND is_sent = 0", (recipient,)
        )
        return cursor.rowcount
