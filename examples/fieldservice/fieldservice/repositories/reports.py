"""Figures for the office, read only."""

from __future__ import annotations

from datetime import date

from fieldservice.adapters import Adapter, Row


class ReportRepository:
    """Adds up what the other repositories write."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def orders_by_status(self) -> dict[str, int]:
        """Return the number of work orders in each status that occurs."""
        rows = self._db.all(
            "SELECT status, COUNT(*) AS orders FROM work_orders GROUP BY status ORDER BY status"
        )
        return {row["status"]: row["orders"] for row in rows}

    def repeat_customers(self) -> list[Row]:
        """Return the customers with several work orders, most work orders first, with the last title."""
        return self._db.all(
            "SELECT c.name, w.title AS last_title, MAX(w.id) AS last_order_id, COUNT(*) AS orders"
            " FROM work_orders w JOIN customers c ON c.id = w.customer_id"
            " GROUP BY c.name HAVING COUNT(*) > 1 ORDER BY orders DESC, c.name"
        )

    def minutes_by_team(self) -> list[Row]:
        """Return the minutes that each team worked, most minutes first."""
        return self._db.all(
            "SELECT tm.name AS team, SUM(e.minutes) AS minutes FROM time_entries e"
            " JOIN technicians t ON t.id = e.technician_id JOIN teams tm ON tm.id = t.team_id"
            " GROUP BY tm.name ORDER BY minutes DESC, tm.name"
        )

    def revenue_cents(self, first: date, last: date) -> int:
        """Return the payments that were received on these days or between."""
        return self._db.scalar(
            "SELECT COALESCE(SUM(amount_cents), 0) AS cents FROM payments WHERE received_on BETWEEN ? AND ?",
            (first, last),
        )

    def customers_by_region(self) -> list[Row]:
        """Return every region with its number of customers, by the region's code."""
        return self._db.all(
            "SELECT r.code, COUNT(c.id) AS customers FROM regions r"
            " LEFT JOIN customers c ON c.region_code = r.code GROUP BY r.code ORDER BY r.code"
        )

    def busiest_technician(self) -> str | None:
        """Return who has most appointments; of several the one who came first."""
        return self._db.scalar(
            "SELECT t.name FROM technicians t JOIN appointments a ON a.technician_id = t.id"
            " GROUP BY t.id, t.name ORDER BY COUNT(*) DESC, t.id LIMIT 1"
        )
