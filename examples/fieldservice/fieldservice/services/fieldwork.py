"""What technicians write down on site."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime

from fieldservice.adapters import Adapter, Row
from fieldservice.errors import Conflict, NotFound
from fieldservice.repositories.appointments import AppointmentRepository
from fieldservice.repositories.parts import PartRepository
from fieldservice.repositories.work_orders import Note, WorkOrderRepository


class Fieldwork:
    """Keeps notes, tags, checklists, working time and used parts."""

    def __init__(self, db: Adapter) -> None:
        self._db = db
        self._orders = WorkOrderRepository(db)
        self._appointments = AppointmentRepository(db)
        self._parts = PartRepository(db)

    def add_note(self, work_order_id: int, author: str, body: str) -> int:
        """Write a note and return its id."""
        with self._db.transaction():
            return self._orders.add_note(work_order_id, author, body.strip())

    def note(self, note_id: int) -> Note:
        """Return a note."""
        note = self._orders.note(note_id)
        if note is None:
            raise NotFound(f"note {note_id}")
        return note

    def notes(self, work_order_id: int) -> list[Note]:
        """Return a work order's notes, oldest first."""
        return self._orders.notes(work_order_id)

    def tag(self, work_order_id: int, *names: str) -> list[str]:
        """Tag a work order and return all its tags; a tag that it has already stays."""
        with self._db.transaction():
            for name in names:
                self._orders.add_tag(work_order_id, self._orders.ensure_tag(name.lower()))
        return self._orders.tags(work_order_id)

    def set_checklist(self, work_order_id: int, labels: Iterable[str]) -> None:
        """Add the steps of a work order; it must not have any yet."""
        try:
            with self._db.transaction():
                for line_number, label in enumerate(labels, start=1):
                    self._orders.add_checklist_item(work_order_id, line_number, label)
        except self._db.integrity_error as error:
            raise Conflict(f"work order {work_order_id} has a checklist") from error

    def tick(self, work_order_id: int, line_number: int) -> int:
        """Mark a step as done and return the number of steps that are left."""
        with self._db.transaction():
            if not self._orders.tick(work_order_id, line_number):
                raise NotFound(f"step {line_number} of work order {work_order_id}")
            return self._orders.open_steps(work_order_id)

    def checklist(self, work_order_id: int) -> list[Row]:
        """Return the steps of a work order in their order."""
        return self._orders.checklist(work_order_id)

    def log_time(
        self,
        work_order_id: int,
        technician_id: int,
        started_at: datetime,
        minutes: int,
        is_billable: bool = True,
    ) -> None:
        """Write down working time in minutes."""
        if minutes <= 0:
            raise ValueError(f"minutes must be positive, not {minutes}")
        with self._db.transaction():
            self._appointments.add_time(work_order_id, technician_id, started_at, minutes, is_billable)

    def minutes(self, work_order_id: int) -> int:
        """Return the minutes worked on a work order."""
        return self._appointments.minutes(work_order_id)

    def billable_minutes(self, work_order_id: int) -> int:
        """Return the minutes worked on a work order that the customer pays."""
        return self._appointments.billable_minutes(work_order_id)

    def payroll_lines(self, technician_id: int) -> list[str]:
        """Return a technician's time entries as lines of the payroll file, earliest first."""
        return [f"{row['started_at']};{row['minutes']}" for row in self._appointments.payroll(technician_id)]

    def use_part(self, work_order_id: int, sku: str, warehouse_id: int, quantity: int, used_on: date) -> None:
        """Take a part from a warehouse for a work order."""
        with self._db.transaction():
            part = self._parts.by_sku(sku)
            if part is None:
                raise NotFound(f"part {sku}")
            if not self._parts.withdraw(warehouse_id, part.id, quantity):
                raise Conflict(f"fewer than {quantity} of part {sku} in stock")
            self._parts.add_usage(work_order_id, part.id, warehouse_id, quantity, used_on)

    def used_parts(self, work_order_id: int) -> list[Row]:
        """Return the parts that a work order used, by stock-keeping unit."""
        return self._parts.used(work_order_id)
