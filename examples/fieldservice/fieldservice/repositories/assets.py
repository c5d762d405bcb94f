"""Machines at customers' sites, with free attributes such as pressure or refrigerant."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import date
from typing import Any

from fieldservice.adapters import Adapter


@dataclass(frozen=True, slots=True)
class Asset:
    """A machine that is serviced at an interval in days."""

    id: int
    site_id: int
    kind: str
    serial_number: str
    installed_on: date
    service_interval_days: int


ASSET = "id, site_id, kind, serial_number, installed_on, service_interval_days"


class AssetRepository:
    """Reads and writes assets."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def add(
        self, site_id: int, kind: str, serial_number: str, installed_on: date, attributes: dict[str, Any]
    ) -> int:
        """Insert an asset and return its id."""
        return self._db.insert(
            "INSERT INTO assets (site_id, kind, serial_number, installed_on, attributes)"
            " VALUES (?, ?, ?, ?, ?)",
            (site_id, kind, serial_number, installed_on, json.dumps(attributes)),
        )

    def by_serial_number(self, serial_number: str) -> Asset | None:
        """Return the asset with this serial number, or None."""
        row = self._db.one(f"SELECT {ASSET} FROM assets WHERE serial_number = ?", (serial_number,))
        return None if row is None else Asset(**row)

    def at_site(self, site_id: int) -> list[Asset]:
        """Return a site's assets, oldest installation first."""
        rows = self._db.all(
            f"SELECT {ASSET} FROM assets WHERE site_id = ? ORDER BY installed_on, id", (site_id,)
        )
        return [Asset(**row) for row in rows]

    def installed_between(self, first: date, last: date) -> list[Asset]:
        """Return the assets installed on these days or between, oldest first."""
        rows = self._db.all(
            f"SELECT {ASSET} FROM assets WHERE installed_on BETWEEN ? AND ? ORDER BY installed_on, id",
            (first, last),
        )
        return [Asset(**row) for row in rows]

    def set_service_interval(self, asset_id: int, days: int) -> int:
        """Change an asset's interval and return the number of rows changed."""
        cursor = self._db.execute(
            "UPDATE assets SET service_interval_days = ? WHERE id = ?", (days, asset_id)
        )
        return int(cursor.rowcount)

    def attributes(self, asset_id: int) -> dict[str, Any]:
        """Return an asset's attributes; empty if there is no such asset."""
        stored = self._db.scalar("SELECT attributes FROM assets WHERE id = ?", (asset_id,))
        return {} if stored is None else json.loads(stored)
