"""Spare parts and the warehouses that hold them."""

from __future__ import annotations

from decimal import Decimal

from fieldservice.adapters import Adapter
from fieldservice.errors import Conflict, NotFound
from fieldservice.repositories.parts import Part, PartRepository


class Inventory:
    """Keeps parts, prices and stock."""

    def __init__(self, db: Adapter) -> None:
        self._db = db
        self._parts = PartRepository(db)

    def add_part(
        self,
        sku: str,
        name: str,
        price_cents: int,
        unit_cost: Decimal = Decimal(0),
        reorder_point: int = 0,
    ) -> Part:
        """Add a part; the stock-keeping unit must be new."""
        try:
            with self._db.transaction():
                self._parts.add(sku, name, unit_cost, price_cents, reorder_point)
        except self._db.integrity_error as error:
            raise Conflict(f"part {sku} exists") from error
        return self.part(sku)

    def part(self, sku: str) -> Part:
        """Return the part with this stock-keeping unit."""
        part = self._parts.by_sku(sku)
        if part is None:
            raise NotFound(f"part {sku}")
        return part

    def set_price(self, sku: str, price_cents: int) -> Part:
        """Change what customers pay for a part."""
        part = self.part(sku)
        with self._db.transaction():
            self._parts.set_price(part.id, price_cents)
        return self.part(sku)

    def cost_of(self, sku: str, quantity: int) -> Decimal:
        """Return what a quantity of a part costs us, in euros."""
        return self.part(sku).unit_cost * quantity

    def add_warehouse(self, code: str, name: str) -> int:
        """Add a warehouse and return its id."""
        with self._db.transaction():
            return self._parts.add_warehouse(code, name)

    def receive(self, warehouse_id: int, sku: str, quantity: int) -> int:
        """Put parts into a warehouse and return how many there are now, over all warehouses."""
        part = self.part(sku)
        with self._db.transaction():
            self._parts.receive(warehouse_id, part.id, quantity)
        return self._parts.on_hand(part.id)

    def transfer(self, sku: str, source_id: int, target_id: int, quantity: int) -> None:
        """Move parts between warehouses, all of them or none."""
        part = self.part(sku)
        with self._db.transaction():
            self._parts.receive(target_id, part.id, quantity)
            if not self._parts.withdraw(source_id, part.id, quantity):
                raise Conflict(f"fewer than {quantity} of part {sku} in stock")

    def stock(self, sku: str) -> dict[str, int]:
        """Return the quantity of a part in each warehouse that ever held it, by the warehouse's code."""
        return {row["code"]: row["quantity"] for row in self._parts.stock(self.part(sku).id)}

    def to_reorder(self) -> list[str]:
        """Return the parts of which there are too few, by stock-keeping unit."""
        return [row["sku"] for row in self._parts.to_reorder()]
