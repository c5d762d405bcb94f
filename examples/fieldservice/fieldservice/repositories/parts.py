"""Spare parts, where they are, and what was used."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class Part:
    """A spare part; `unit_cost` is what it costs us, in euros, `price_cents` what a customer pays."""

    id: int
    sku: str
    name: str
    unit_cost: Decimal
    price_cents: int


class PartRepository:
    """Reads and writes parts, warehouses, stock and usage."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def add(self, sku: str, name: str, unit_cost: Decimal, price_cents: int, reorder_point: int) -> int:
        """Insert a part and return its id."""
        return self._db.insert(
            "INSERT INTO parts (sku, name, unit_cost, price_cents, reorder_point) VALUES (?, ?, ?, ?, ?)",
            (sku, name, unit_cost, price_cents, reorder_point),
        )

    def by_sku(self, sku: str) -> Part | None:
        """Return the part with this stock-keeping unit, or None."""
        row = self._db.one("SELECT id, sku, name, unit_cost, price_cents FROM parts WHERE sku = ?", (sku,))
        return None if row is None else Part(**row)

    def set_price(self, part_id: int, price_cents: int) -> int:
        """Change the price of a part and return the number of rows changed."""
        cursor = self._db.execute("UPDATE parts SET price_cents = ? WHERE id = ?", (price_cents, part_id))
        return int(cursor.rowcount)

    def add_warehouse(self, code: str, name: str) -> int:
        """Insert a warehouse and return its id."""
        return self._db.insert("INSERT INTO warehouses (code, name) VALUES (?, ?)", (code, name))

    def receive(self, warehouse_id: int, part_id: int, quantity: int) -> None:
        """Add to the stock of a part."""
        self._db.execute(
            "INSERT INTO stock_levels (warehouse_id, part_id, quantity) VALUES (?, ?, ?)"
            " ON CONFLICT (warehouse_id, part_id)"
            " DO UPDATE SET quantity = stock_levels.quantity + excluded.quantity",
            (warehouse_id, part_id, quantity),
        )

    def withdraw(self, warehouse_id: int, part_id: int, quantity: int) -> int:
        """Take from the stock of a part and return the number of rows changed: 0 if there is not enough."""
        cursor = self._db.execute(
            "UPDATE stock_levels SET quantity = quantity - ?"
            " WHERE warehouse_id = ? AND part_id = ? AND quantity >= ?",
            (quantity, warehouse_id, part_id, quantity),
        )
        return int(cursor.rowcount)

    def on_hand(self, part_id: int) -> int:
        """Return the quantity of a part over all warehouses."""
        return self._db.scalar(
            "SELECT COALESCE(SUM(quantity), 0) AS quantity FROM stock_levels WHERE part_id = ?", (part_id,)
        )

    def stock(self, part_id: int) -> list[Row]:
        """Return the quantity of a part in each warehouse, by the warehouse's code."""
        return self._db.all(
            "SELECT w.code, s.quantity FROM stock_levels s JOIN warehouses w ON w.id = s.warehouse_id"
            " WHERE s.part_id = ? ORDER BY w.code",
            (part_id,),
        )

    def to_reorder(self) -> list[Row]:
        """Return the parts of which there are fewer than their reorder point, by stock-keeping unit."""
        return self._db.all(
            "SELECT p.sku, COALESCE(SUM(s.quantity), 0) AS quantity, p.reorder_point"
            " FROM parts p LEFT JOIN stock_levels s ON s.part_id = p.id"
            " GROUP BY p.id, p.sku, p.reorder_point"
            " HAVING COALESCE(SUM(s.quantity), 0) < p.reorder_point ORDER BY p.sku"
        )

    def add_usage(
        self, work_order_id: int, part_id: int, warehouse_id: int, quantity: int, used_on: date
    ) -> int:
        """Write down that a work order used a part, and return the entry's id."""
        return self._db.insert(
            "INSERT INTO part_usages (work_order_id, part_id, warehouse_id, quantity, used_on)"
            " VALUES (?, ?, ?, ?, ?)",
            (work_order_id, part_id, warehouse_id, quantity, used_on),
        )

    def used(self, work_order_id: int) -> list[Row]:
        """Return the parts that a work order used, with name, quantity and price, by stock-keeping unit."""
        return self._db.all(
            "SELECT p.sku, p.name, SUM(u.quantity) AS quantity, p.price_cents"
            " FROM part_usages u JOIN parts p ON p.id = u.part_id WHERE u.work_order_id = ?"
            " GROUP BY p.sku, p.name, p.price_cents ORDER BY p.sku",
            (work_order_id,),
        )
