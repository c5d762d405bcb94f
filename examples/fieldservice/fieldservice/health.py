"""What the status page shows about the database."""

from __future__ import annotations

from fieldservice.adapters import Adapter

REQUIRED = {"customers", "work_orders", "appointments", "technicians", "parts", "invoices"}


class Health:
    """Looks at the database as a whole."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def missing_tables(self) -> list[str]:
        """Return the tables without which the application can't work, in alphabetical order."""
        rows = self._db.all("SELECT name FROM sqlite_master WHERE type = 'table'")
        return sorted(REQUIRED - {row["name"] for row in rows})

    def is_seeded(self) -> bool:
        """Return whether the lookup tables are filled."""
        tables = ("regions", "priorities")
        return all(self._db.scalar(f"SELECT COUNT(*) AS entries FROM {table}") > 0 for table in tables)
