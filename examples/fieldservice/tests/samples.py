"""Records that many tests start from, made through the services."""

from __future__ import annotations

from datetime import date, datetime

from fieldservice.app import App
from fieldservice.repositories.customers import Customer
from fieldservice.repositories.technicians import Technician
from fieldservice.repositories.work_orders import WorkOrder

MONDAY = date(2026, 3, 2)


def at(hour: int, minute: int = 0, day: date = MONDAY) -> datetime:
    return datetime(day.year, day.month, day.day, hour, minute)


def customer(app: App, number: str = "C-100", name: str = "Harbour Bakery") -> Customer:
    return app.directory.register(number, name, "north")


def technician(app: App, name: str = "Ada") -> Technician:
    team = app.dispatch.add_team(f"Team {name}", "north")
    return app.dispatch.hire(team, name, f"{name.lower()}@example.com", date(2020, 1, 15))


def order(app: App, title: str = "Oven does not heat") -> WorkOrder:
    return app.dispatch.open(customer(app).id, title)


def done_order(app: App, minutes: int = 0) -> WorkOrder:
    work = order(app)
    if minutes:
        app.fieldwork.log_time(work.id, technician(app).id, at(8), minutes)
    for status in ("scheduled", "in_progress", "done"):
        work = app.dispatch.move_to(work.id, status)
    return work


def stocked_part(app: App, sku: str, quantity: int, price_cents: int = 500) -> int:
    app.inventory.add_part(sku, f"Part {sku}", price_cents)
    warehouse = app.inventory.add_warehouse(f"W-{sku}", f"Warehouse for {sku}")
    app.inventory.receive(warehouse, sku, quantity)
    return warehouse
