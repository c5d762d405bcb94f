"""Customers and everything that is theirs."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from fieldservice.adapters import Adapter
from fieldservice.errors import Conflict, NotFound
from fieldservice.repositories.assets import Asset, AssetRepository
from fieldservice.repositories.customers import Contact, Customer, CustomerRepository, Site


@dataclass(frozen=True, slots=True)
class Imported:
    """How many rows of a file were added, and how many were known already."""

    added: int
    skipped: int


class Directory:
    """Keeps customers, contacts, sites and assets."""

    def __init__(self, db: Adapter) -> None:
        self._db = db
        self._customers = CustomerRepository(db)
        self._assets = AssetRepository(db)

    def register(self, number: str, name: str, region_code: str, email: str | None = None) -> Customer:
        """Add a customer; the number must be new."""
        try:
            with self._db.transaction():
                customer_id = self._customers.add(number, name, region_code, email)
        except self._db.integrity_error as error:
            raise Conflict(f"customer {number} can't be added") from error
        return self.customer(customer_id)

    def customer(self, customer_id: int) -> Customer:
        """Return a customer."""
        customer = self._customers.get(customer_id)
        if customer is None:
            raise NotFound(f"customer {customer_id}")
        return customer

    def find(self, number: str) -> Customer | None:
        """Return the customer with this number, or None."""
        return self._customers.by_number(number)

    def search(self, text: str) -> list[Customer]:
        """Return the customers whose name contains `text`, by number."""
        return self._customers.search(text.strip()) if text.strip() else []

    def in_region(self, region_code: str) -> list[Customer]:
        """Return the customers of a region that are not archived, by number."""
        return self._customers.in_region(region_code)

    def rename(self, customer_id: int, name: str) -> Customer:
        """Change a customer's name."""
        with self._db.transaction():
            if not self._customers.rename(customer_id, name):
                raise NotFound(f"customer {customer_id}")
        return self.customer(customer_id)

    def archive(self, customer_id: int) -> None:
        """Hide a customer from the lists."""
        with self._db.transaction():
            if not self._customers.archive(customer_id):
                raise NotFound(f"customer {customer_id}")

    def add_contact(self, customer_id: int, name: str, email: str, phone: str | None = None) -> Contact:
        """Add a contact; the address must be new for this customer."""
        try:
            with self._db.transaction():
                contact_id = self._customers.add_contact(customer_id, name, email.lower(), phone)
        except self._db.integrity_error as error:
            raise Conflict(f"{email} is a contact already") from error
        return Contact(contact_id, customer_id, name, email.lower(), phone)

    def contacts(self, customer_id: int) -> list[Contact]:
        """Return a customer's contacts, oldest first."""
        return self._customers.contacts(customer_id)

    def remove_contact(self, contact_id: int) -> bool:
        """Remove a contact and return whether there was one."""
        with self._db.transaction():
            return self._customers.remove_contact(contact_id) == 1

    def import_contacts(self, customer_id: int, people: Iterable[tuple[str, str]]) -> Imported:
        """Add the people of a file, name and address each; those who are known already are skipped."""
        added = skipped = 0
        with self._db.transaction():
            for name, email in people:
                try:
                    self._customers.add_contact(customer_id, name, email.lower())
                    added += 1
                except self._db.integrity_error:
                    skipped += 1
        return Imported(added, skipped)

    def add_site(self, customer_id: int, name: str, street: str, city: str) -> Site:
        """Add a place where the customer wants work done."""
        with self._db.transaction():
            site_id = self._customers.add_site(customer_id, name, street, city)
        return Site(site_id, customer_id, name, street, city)

    def sites(self, customer_id: int) -> list[Site]:
        """Return a customer's sites, oldest first."""
        return self._customers.sites(customer_id)

    def close_site(self, site_id: int) -> None:
        """Remove a site with its assets."""
        with self._db.transaction():
            if not self._customers.remove_site(site_id):
                raise NotFound(f"site {site_id}")

    def cities(self) -> dict[str, int]:
        """Return each city with its number of sites, most sites first."""
        return {row["city"]: row["places"] for row in self._customers.cities()}

    def install(
        self, site_id: int, kind: str, serial_number: str, installed_on: date, **attributes: Any
    ) -> Asset:
        """Add an asset; the serial number must be new."""
        try:
            with self._db.transaction():
                self._assets.add(site_id, kind, serial_number, installed_on, attributes)
        except self._db.integrity_error as error:
            raise Conflict(f"asset {serial_number} can't be added") from error
        return self.asset(serial_number)

    def asset(self, serial_number: str) -> Asset:
        """Return the asset with this serial number."""
        asset = self._assets.by_serial_number(serial_number)
        if asset is None:
            raise NotFound(f"asset {serial_number}")
        return asset

    def assets(self, site_id: int) -> list[Asset]:
        """Return a site's assets, oldest installation first."""
        return self._assets.at_site(site_id)

    def installed_in(self, year: int) -> list[Asset]:
        """Return the assets installed in a year, oldest first."""
        return self._assets.installed_between(date(year, 1, 1), date(year, 12, 31))

    def attributes(self, asset_id: int) -> dict[str, Any]:
        """Return what was noted about an asset when it was installed."""
        return self._assets.attributes(asset_id)

    def set_service_interval(self, asset_id: int, days: int) -> None:
        """Change how often an asset is serviced."""
        with self._db.transaction():
            if not self._assets.set_service_interval(asset_id, days):
                raise NotFound(f"asset {asset_id}")

    def next_service(self, serial_number: str) -> date:
        """Return the day of an asset's first service."""
        asset = self.asset(serial_number)
        return asset.installed_on + timedelta(days=asset.service_interval_days)
