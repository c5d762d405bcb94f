from datetime import date

from samples import MONDAY, at, customer, done_order, order, technician


def test_orders_by_status(app):
    bakery = customer(app)
    for title in ("a", "b", "c"):
        work = app.dispatch.open(bakery.id, title)
    app.dispatch.move_to(work.id, "cancelled")
    assert app.reports.orders_by_status() == {"cancelled": 1, "new": 2}


def test_repeat_customers(app):
    bakery, inn = customer(app, "C-100", "Harbour Bakery"), customer(app, "C-200", "Mill Inn")
    app.dispatch.open(bakery.id, "Oven does not heat")
    app.dispatch.open(bakery.id, "Oven smells")
    app.dispatch.open(inn.id, "Ice machine leaks")
    [found] = app.reports.repeat_customers()
    assert (found["name"], found["orders"], found["last_title"]) == ("Harbour Bakery", 2, "Oven smells")


def test_minutes_by_team(app):
    work, ada, ben = order(app), technician(app, "Ada"), technician(app, "Ben")
    app.fieldwork.log_time(work.id, ada.id, at(8), 30)
    app.fieldwork.log_time(work.id, ben.id, at(8), 45)
    app.fieldwork.log_time(work.id, ben.id, at(9), 15)
    assert app.reports.minutes_by_team() == [
        {"team": "Team Ben", "minutes": 60},
        {"team": "Team Ada", "minutes": 30},
    ]


def test_revenue_of_a_month(app):
    invoice = app.billing.bill(done_order(app, minutes=60).id, MONDAY)
    app.billing.pay(invoice.id, 3000, date(2026, 3, 31), "T-1")
    app.billing.pay(invoice.id, 1000, date(2026, 4, 1), "T-2")
    assert app.reports.revenue_cents(date(2026, 3, 1), date(2026, 3, 31)) == 3000


def test_every_region_is_counted(app, db):
    customer(app, "C-100")
    customer(app, "C-200")
    counted = app.reports.customers_by_region()
    db.observe("customers by region", counted)
    assert [(row["code"], row["customers"]) for row in counted] == [("north", 2), ("south", 0), ("west", 0)]


def test_busiest_technician(app):
    work, ada, ben = order(app), technician(app, "Ada"), technician(app, "Ben")
    app.dispatch.schedule(work.id, ada.id, at(8), at(9))
    app.dispatch.schedule(work.id, ben.id, at(8), at(9))
    app.dispatch.schedule(work.id, ben.id, at(10), at(11))
    assert app.reports.busiest_technician() == "Ben"
