from datetime import date

import pytest
from fieldservice.errors import Conflict, InvalidTransition
from samples import MONDAY, done_order, order, stocked_part


@pytest.fixture
def invoice(app):
    return app.billing.bill(done_order(app, minutes=60).id, MONDAY)


def test_bill_working_time_and_parts(app):
    work, warehouse = done_order(app, minutes=50), stocked_part(app, "BRN-1", 10, price_cents=1250)
    app.fieldwork.use_part(work.id, "BRN-1", warehouse, 2, MONDAY)
    invoice = app.billing.bill(work.id, MONDAY)
    assert [(line["quantity"], line["unit_price_cents"]) for line in app.billing.lines(invoice.id)] == [
        (4, 2200),
        (2, 1250),
    ]
    assert invoice.total_cents == 11300


def test_bill_sets_number_and_due_date(app, invoice):
    assert (invoice.number, invoice.status) == ("2026-0001", "draft")
    assert (invoice.issued_on, invoice.due_on) == (MONDAY, date(2026, 3, 16))


def test_bill_closes_the_work_order(app, invoice):
    assert app.dispatch.order(invoice.work_order_id).status == "invoiced"
    assert app.billing.invoice_for(invoice.work_order_id) == invoice


def test_bill_needs_work_that_is_done(app):
    work = order(app)
    with pytest.raises(InvalidTransition):
        app.billing.bill(work.id, MONDAY)
    assert app.billing.invoice_for(work.id) is None


def test_send_once(app, invoice):
    assert app.billing.send(invoice.id).status == "sent"
    with pytest.raises(InvalidTransition):
        app.billing.send(invoice.id)


def test_paid_in_parts(app, invoice):
    app.billing.send(invoice.id)
    assert app.billing.pay(invoice.id, 800, MONDAY, "T-1").status == "sent"
    assert app.billing.open_cents(invoice.id) == 8000
    assert app.billing.pay(invoice.id, 8000, MONDAY, "T-2").status == "paid"


def test_payment_entered_twice(app, invoice):
    app.billing.pay(invoice.id, 800, MONDAY, "T-1")
    with pytest.raises(Conflict):
        app.billing.pay(invoice.id, 800, MONDAY, "T-1")
    assert app.billing.open_cents(invoice.id) == 8000


def test_paid_too_much(app, invoice):
    with pytest.raises(Conflict):
        app.billing.pay(invoice.id, 8801, MONDAY, "T-1")
    assert app.billing.open_cents(invoice.id) == 8800


def test_overdue_from_the_day_after(app, invoice):
    app.billing.send(invoice.id)
    assert app.billing.overdue(date(2026, 3, 16)) == []
    assert [late.id for late in app.billing.overdue(date(2026, 3, 17))] == [invoice.id]
