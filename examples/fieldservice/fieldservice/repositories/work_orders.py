"""Work orders with their history, notes, tags and checklists."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class WorkOrder:
    """A job at a customer; `due_on` is None until somebody has planned it."""

    id: int
    number: str
    customer_id: int
    priority_code: str
    status: str
    title: str
    due_on: date | None


@dataclass(frozen=True, slots=True)
class Event:
    """A change of status."""

    from_status: str | None
    to_status: str
    occurred_at: datetime


@dataclass(frozen=True, slots=True)
class Note:
    """What somebody wrote about a work order."""

    id: int
    work_order_id: int
    author: str
    body: str


WORK_ORDER = "id, number, customer_id, priority_code, status, title, due_on"


class WorkOrderRepository:
    """Reads and writes work orders and what belongs to them."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def next_number(self) -> str:
        """Return the number for the next work order."""
        return f"WO-{self._db.scalar('SELECT COALESCE(MAX(id), 0) + 1 AS next_id FROM work_orders'):05d}"

    def add(
        self,
        number: str,
        customer_id: int,
        priority_code: str,
        title: str,
        due_on: date | None,
        estimated_hours: Decimal,
        crew_size: int,
    ) -> int:
        """Insert a new work order and return its id."""
        return self._db.insert(
            "INSERT INTO work_orders (number, customer_id, priority_code, title, due_on, estimated_hours,"
            f" crew_size, created_at) VALUES (?, ?, ?, ?, ?, ?, ?, {self._db.now})",
            (number, customer_id, priority_code, title, due_on, estimated_hours, crew_size),
        )

    def get(self, work_order_id: int) -> WorkOrder | None:
        """Return a work order, or None."""
        row = self._db.one(f"SELECT {WORK_ORDER} FROM work_orders WHERE id = ?", (work_order_id,))
        return None if row is None else WorkOrder(**row)

    def of_customer(self, customer_id: int) -> list[WorkOrder]:
        """Return a customer's work orders, newest first."""
        rows = self._db.all(
            f"SELECT {WORK_ORDER} FROM work_orders WHERE customer_id = ? ORDER BY id DESC", (customer_id,)
        )
        return [WorkOrder(**row) for row in rows]

    def backlog(self) -> list[WorkOrder]:
        """Return the work orders that nobody has scheduled, in the order in which to plan them."""
        rows = self._db.all(f"SELECT {WORK_ORDER} FROM work_orders WHERE status = 'new' ORDER BY due_on, id")
        return [WorkOrder(**row) for row in rows]

    def by_urgency(self) -> list[WorkOrder]:
        """Return the open work orders, most urgent priority first."""
        rows = self._db.all(
            "SELECT w.id, w.number, w.customer_id, w.priority_code, w.status, w.title, w.due_on"
            " FROM work_orders w JOIN priorities p ON p.code = w.priority_code"
            " WHERE w.closed_at IS NULL ORDER BY p.sort_order, w.id"
        )
        return [WorkOrder(**row) for row in rows]

    def set_status(self, work_order_id: int, status: str, *, closes: bool) -> None:
        """Change the status, and the closing time when the status `closes` the work order."""
        closed_at = self._db.now if closes else "NULL"
        self._db.execute(
            f"UPDATE work_orders SET status = ?, closed_at = {closed_at} WHERE id = ?",
            (status, work_order_id),
        )

    def set_due_on(self, work_order_id: int, due_on: date) -> int:
        """Plan a work order for a day and return the number of rows changed."""
        cursor = self._db.execute("UPDATE work_orders SET due_on = ? WHERE id = ?", (due_on, work_order_id))
        return int(cursor.rowcount)

    def hours_per_person(self, work_order_id: int) -> Any:
        """Return how long each member of the crew works on a work order, in hours."""
        return self._db.scalar(
            "SELECT estimated_hours / crew_size AS hours FROM work_orders WHERE id = ?", (work_order_id,)
        )

    def add_event(self, work_order_id: int, from_status: str | None, to_status: str) -> None:
        """Write a change of status to the history."""
        self._db.execute(
            "INSERT INTO work_order_events (work_order_id, from_status, to_status, occurred_at)"
            f" VALUES (?, ?, ?, {self._db.now})",
            (work_order_id, from_status, to_status),
        )

    def events(self, work_order_id: int) -> list[Event]:
        """Return a work order's changes of status, oldest first."""
        rows = self._db.all(
            "SELECT from_status, to_status, occurred_at FROM work_order_events"
            " WHERE work_order_id = ? ORDER BY id",
            (work_order_id,),
        )
        return [Event(**row) for row in rows]

    def add_note(self, work_order_id: int, author: str, body: str) -> int:
        """Insert a note and return its id."""
        cursor = self._db.execute(
            "INSERT INTO work_order_notes (work_order_id, author, body, created_at)"
            f" VALUES (?, ?, ?, {self._db.now})",
            (work_order_id, author, body),
        )
        return cursor.lastrowid

    def note(self, note_id: int) -> Note | None:
        """Return a note, or None."""
        row = self._db.one(
            "SELECT id, work_order_id, author, body FROM work_order_notes WHERE id = ?", (note_id,)
        )
        return None if row is None else Note(**row)

    def notes(self, work_order_id: int) -> list[Note]:
        """Return a work order's notes, oldest first."""
        rows = self._db.all(
            "SELECT id, work_order_id, author, body FROM work_order_notes"
            " WHERE work_order_id = ? ORDER BY id",
            (work_order_id,),
        )
        return [Note(**row) for row in rows]

    def ensure_tag(self, name: str) -> int:
        """Return the id of a tag, which is added if it is new."""
        known = self._db.scalar("SELECT id FROM tags WHERE name = ?", (name,))
        return self._db.insert("INSERT INTO tags (name) VALUES (?)", (name,)) if known is None else known

    def add_tag(self, work_order_id: int, tag_id: int) -> None:
        """Tag a work order; a tag that it has already stays."""
        self._db.execute(
            "INSERT OR IGNORE INTO work_order_tags (work_order_id, tag_id) VALUES (?, ?)",
            (work_order_id, tag_id),
        )

    def tags(self, work_order_id: int) -> list[str]:
        """Return the names of a work order's tags in alphabetical order."""
        rows = self._db.all(
            "SELECT t.name FROM work_order_tags wt JOIN tags t ON t.id = wt.tag_id"
            " WHERE wt.work_order_id = ? ORDER BY t.name",
            (work_order_id,),
        )
        return [row["name"] for row in rows]

    def add_checklist_item(self, work_order_id: int, line_number: int, label: str) -> int:
        """Insert a step and return its id."""
        return self._db.insert(
            "INSERT INTO checklist_items (work_order_id, line_number, label) VALUES (?, ?, ?)",
            (work_order_id, line_number, label),
        )

    def tick(self, work_order_id: int, line_number: int) -> int:
        """Mark a step as done and return the number of rows changed."""
        cursor = self._db.execute(
            "UPDATE checklist_items SET is_done = ? WHERE work_order_id = ? AND line_number = ?",
            (True, work_order_id, line_number),
        )
        return int(cursor.rowcount)

    def checklist(self, work_order_id: int) -> list[Row]:
        """Return the steps of a work order in their order."""
        return self._db.all(
            "SELECT line_number, label, is_done FROM checklist_items"
            " WHERE work_order_id = ? ORDER BY line_number",
            (work_order_id,),
        )

    def open_steps(self, work_order_id: int) -> int:
        """Return the number of steps that are not done."""
        return self._db.scalar(
            "SELECT COUNT(*) AS steps FROM checklist_items WHERE work_order_id = ? AND is_done = ?",
            (work_order_id, False),
        )
