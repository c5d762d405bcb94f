"""Invoices, their lines and their payments; all amounts are in cents."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a customer owes for one work order."""

    id: int
    number: str
    customer_id: int
    work_order_id: int
    status: str
    issued_on: date
    due_on: date
    total_cents: int


INVOICE = "id, number, customer_id, work_order_id, status, issued_on, due_on, total_cents"


class InvoiceRepository:
    """Reads and writes invoices."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def next_number(self, year: int) -> str:
        """Return the number for the next invoice of a year."""
        issued = self._db.scalar(
            "SELECT COUNT(*) AS issued FROM invoices WHERE issued_on BETWEEN ? AND ?",
            (date(year, 1, 1), date(year, 12, 31)),
        )
        return f"{year}-{issued + 1:04d}"

    def add(self, number: str, customer_id: int, work_order_id: int, issued_on: date, due_on: date) -> int:
        """Insert a draft and return its id."""
        return self._db.insert(
            "INSERT INTO invoices (number, customer_id, work_order_id, issued_on, due_on)"
            " VALUES (?, ?, ?, ?, ?)",
            (number, customer_id, work_order_id, issued_on, due_on),
        )

    def get(self, invoice_id: int) -> Invoice | None:
        """Return an invoice, or None."""
        row = self._db.one(f"SELECT {INVOICE} FROM invoices WHERE id = ?", (invoice_id,))
        return None if row is None else Invoice(**row)

    def of_work_order(self, work_order_id: int) -> Invoice | None:
        """Return the invoice of a work order that is not void, or None."""
        row = self._db.one(
            f"SELECT {INVOICE} FROM invoices WHERE work_order_id = ? AND status <> 'void'", (work_order_id,)
        )
        return None if row is None else Invoice(**row)

    def overdue(self, today: date) -> list[Invoice]:
        """Return the invoices that are not paid and were due before `today`, oldest first."""
        rows = self._db.all(
            f'SELECT {INVOICE} FROM invoices WHERE status = "sent" AND due_on < ? ORDER BY due_on, id',
            (today,),
        )
        return [Invoice(**row) for row in rows]

    def set_status(self, invoice_id: int, status: str) -> None:
        """Change the status of an invoice."""
        self._db.execute("UPDATE invoices SET status = ? WHERE id = ?", (status, invoice_id))

    def add_line(
        self, invoice_id: int, line_number: int, description: str, quantity: int, unit_price_cents: int
    ) -> int:
        """Insert a line and return its id."""
        return self._db.insert(
            "INSERT INTO invoice_lines (invoice_id, line_number, description, quantity, unit_price_cents)"
            " VALUES (?, ?, ?, ?, ?)",
            (invoice_id, line_number, description, quantity, unit_price_cents),
        )

    def lines(self, invoice_id: int) -> list[Row]:
        """Return the lines of an invoice in their order."""
        return self._db.all(
            "SELECT line_number, description, quantity, unit_price_cents FROM invoice_lines"
            " WHERE invoice_id = ? ORDER BY line_number",
            (invoice_id,),
        )

    def add_up(self, invoice_id: int) -> None:
        """Set the total of an invoice to the sum of its lines."""
        self._db.execute(
            "UPDATE invoices SET total_cents = (SELECT COALESCE(SUM(quantity * unit_price_cents), 0)"
            " FROM invoice_lines WHERE invoice_id = ?) WHERE id = ?",
            (invoice_id, invoice_id),
        )

    def add_payment(self, invoice_id: int, amount_cents: int, received_on: date, reference: str) -> int:
        """Insert a payment and return its id."""
        return self._db.insert(
            "INSERT INTO payments (invoice_id, amount_cents, received_on, reference) VALUES (?, ?, ?, ?)",
            (invoice_id, amount_cents, received_on, reference),
        )

    def paid_cents(self, invoice_id: int) -> int:
        """Return what was paid for an invoice."""
        return self._db.scalar(
            "SELECT COALESCE(SUM(amount_cents), 0) AS paid FROM payments WHERE invoice_id = ?", (invoice_id,)
        )
