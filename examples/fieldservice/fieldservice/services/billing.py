"""Invoices for work that is done, and their payment."""

from __future__ import annotations

from datetime import date, timedelta

from fieldservice.adapters import Adapter, Row
from fieldservice.errors import Conflict, InvalidTransition, NotFound
from fieldservice.repositories.appointments import AppointmentRepository
from fieldservice.repositories.invoices import Invoice, InvoiceRepository
from fieldservice.repositories.parts import PartRepository
from fieldservice.repositories.work_orders import WorkOrderRepository

QUARTER_HOUR_CENTS = 2200
DAYS_TO_PAY = 14


class Billing:
    """Turns working time and parts into invoices; all amounts are in cents."""

    def __init__(self, db: Adapter) -> None:
        self._db = db
        self._invoices = InvoiceRepository(db)
        self._orders = WorkOrderRepository(db)
        self._appointments = AppointmentRepository(db)
        self._parts = PartRepository(db)

    def bill(self, work_order_id: int, issued_on: date) -> Invoice:
        """Write the invoice of a work order that is done; working time counts by the quarter of an hour."""
        with self._db.transaction():
            order = self._orders.get(work_order_id)
            if order is None:
                raise NotFound(f"work order {work_order_id}")
            if order.status != "done":
                raise InvalidTransition(f"{order.number} is {order.status}, not done")
            invoice_id = self._invoices.add(
                self._invoices.next_number(issued_on.year),
                order.customer_id,
                work_order_id,
                issued_on,
                issued_on + timedelta(days=DAYS_TO_PAY),
            )
            quarters = -(-self._appointments.billable_minutes(work_order_id) // 15)
            lines = [("Working time", quarters, QUARTER_HOUR_CENTS)] if quarters else []
            lines += [
                (part["name"], part["quantity"], part["price_cents"])
                for part in self._parts.used(work_order_id)
            ]
            for line_number, (description, quantity, price) in enumerate(lines, start=1):
                self._invoices.add_line(invoice_id, line_number, description, quantity, price)
            self._invoices.add_up(invoice_id)
            self._orders.set_status(work_order_id, "invoiced", closes=True)
            self._orders.add_event(work_order_id, "done", "invoiced")
        return self.invoice(invoice_id)

    def invoice(self, invoice_id: int) -> Invoice:
        """Return an invoice."""
        invoice = self._invoices.get(invoice_id)
        if invoice is None:
            raise NotFound(f"invoice {invoice_id}")
        return invoice

    def invoice_for(self, work_order_id: int) -> Invoice | None:
        """Return the invoice of a work order that is not void, or None."""
        return self._invoices.of_work_order(work_order_id)

    def lines(self, invoice_id: int) -> list[Row]:
        """Return the lines of an invoice in their order."""
        return self._invoices.lines(invoice_id)

    def send(self, invoice_id: int) -> Invoice:
        """Send a draft to the customer."""
        with self._db.transaction():
            invoice = self.invoice(invoice_id)
            if invoice.status != "draft":
                raise InvalidTransition(f"invoice {invoice.number} is {invoice.status}, not a draft")
            self._invoices.set_status(invoice_id, "sent")
        return self.invoice(invoice_id)

    def pay(self, invoice_id: int, amount_cents: int, received_on: date, reference: str) -> Invoice:
        """Enter a payment; an invoice that is paid in full changes its status."""
        try:
            with self._db.transaction():
                invoice = self.invoice(invoice_id)
                if amount_cents > self.open_cents(invoice_id):
                    raise Conflict(f"invoice {invoice.number} is open with less than {amount_cents} cents")
                self._invoices.add_payment(invoice_id, amount_cents, received_on, reference)
                if self.open_cents(invoice_id) == 0:
                    self._invoices.set_status(invoice_id, "paid")
        except self._db.integrity_error as error:
            raise Conflict(f"payment {reference} of {amount_cents} cents") from error
        return self.invoice(invoice_id)

    def open_cents(self, invoice_id: int) -> int:
        """Return what is still to be paid."""
        return self.invoice(invoice_id).total_cents - self._invoices.paid_cents(invoice_id)

    def overdue(self, today: date) -> list[Invoice]:
        """Return the invoices that should have been paid before `today`, oldest first."""
        return self._invoices.overdue(today)
