"""The application as its users see it: services on one database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

from fieldservice.adapters import Adapter, connect
from fieldservice.health import Health
from fieldservice.repositories.reports import ReportRepository
from fieldservice.services.billing import Billing
from fieldservice.services.directory import Directory
from fieldservice.services.dispatch import Dispatch
from fieldservice.services.fieldwork import Fieldwork
from fieldservice.services.inventory import Inventory


class App:
    """Every service, sharing one connection."""

    def __init__(self, db: Adapter) -> None:
        self.directory = Directory(db)
        self.dispatch = Dispatch(db)
        self.fieldwork = Fieldwork(db)
        self.inventory = Inventory(db)
        self.billing = Billing(db)
        self.reports = ReportRepository(db)
        self.health = Health(db)


@contextmanager
def open_app(url: str | None = None) -> Iterator[App]:
    """Open the application on a database, by default the one of the settings."""
    with closing(connect(url)) as db:
        yield App(db)
