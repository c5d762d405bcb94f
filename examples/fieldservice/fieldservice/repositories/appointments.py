"""Who is where and when, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class Appointment:
    """A visit of one technician for one work order, times in UTC."""

    id: int
    work_order_id: int
    technician_id: int
    starts_at: datetime
    ends_at: datetime


APPOINTMENT = "id, work_order_id, technician_id, starts_at, ends_at"


class AppointmentRepository:
    """Reads and writes appointments and time entries."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def add(self, work_order_id: int, technician_id: int, starts_at: datetime, ends_at: datetime) -> int:
        """Insert an appointment and return its id."""
        return self._db.insert(
            "INSERT INTO appointments (work_order_id, technician_id, starts_at, ends_at) VALUES (?, ?, ?, ?)",
            (work_order_id, technician_id, starts_at, ends_at),
        )

    def get(self, appointment_id: int) -> Appointment | None:
        """Return an appointment, or None."""
        row = self._db.one(f"SELECT {APPOINTMENT} FROM appointments WHERE id = ?", (appointment_id,))
        return None if row is None else Appointment(**row)

    def overlapping(self, technician_id: int, starts_at: datetime, ends_at: datetime) -> list[Appointment]:
        """Return a technician's appointments that touch the time between the two, earliest first."""
        rows = self._db.all(
            f"SELECT {APPOINTMENT} FROM appointments"
            " WHERE technician_id = ? AND starts_at < ? AND ends_at > ? ORDER BY starts_at",
            (technician_id, ends_at, starts_at),
        )
        return [Appointment(**row) for row in rows]

    def on_day(self, day: date) -> list[Appointment]:
        """Return the appointments that start on a day, earliest first."""
        rows = self._db.all(
            f"SELECT {APPOINTMENT} FROM appointments WHERE starts_at LIKE ? ORDER BY starts_at, id",
            (f"{day}%",),
        )
        return [Appointment(**row) for row in rows]

    def move(self, appointment_id: int, starts_at: datetime, ends_at: datetime) -> None:
        """Change the time of an appointment."""
        self._db.execute(
            "UPDATE appointments SET starts_at = ?, ends_at = ? WHERE id = ?",
            (starts_at, ends_at, appointment_id),
        )

    def cancel(self, appointment_id: int) -> int:
        """Delete an appointment and return the number of rows deleted."""
        return int(self._db.execute("DELETE FROM appointments WHERE id = ?", (appointment_id,)).rowcount)

    def add_time(
        self, work_order_id: int, technician_id: int, started_at: datetime, minutes: int, is_billable: bool
    ) -> int:
        """Insert a time entry and return its id."""
        return self._db.insert(
            "INSERT INTO time_entries (work_order_id, technician_id, started_at, minutes, is_billable)"
            " VALUES (?, ?, ?, ?, ?)",
            (work_order_id, technician_id, started_at, minutes, is_billable),
        )

    def minutes(self, work_order_id: int) -> int:
        """Return the minutes worked on a work order."""
        return self._db.scalar(
            "SELECT COALESCE(SUM(minutes), 0) AS minutes FROM time_entries WHERE work_order_id = ?",
            (work_order_id,),
        )

    def billable_minutes(self, work_order_id: int) -> int:
        """Return the minutes worked on a work order that the customer pays."""
        return self._db.scalar(
            "SELECT COALESCE(SUM(minutes), 0) AS minutes FROM time_entries"
            " WHERE work_order_id = ? AND is_billable = ?",
            (work_order_id, True),
        )

    def payroll(self, technician_id: int) -> list[Row]:
        """Return a technician's time entries, earliest first."""
        return self._db.all(
            "SELECT started_at, minutes FROM time_entries WHERE technician_id = ? ORDER BY started_at, id",
            (technician_id,),
        )
