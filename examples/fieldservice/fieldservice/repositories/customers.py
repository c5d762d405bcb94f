"""Customers, their contacts and their sites."""

from __future__ import annotations

from dataclasses import dataclass

from fieldservice.adapters import Adapter, Row


@dataclass(frozen=True, slots=True)
class Customer:
    """A company that orders work."""

    id: int
    number: str
    name: str
    region_code: str
    email: str | None
    is_archived: bool


@dataclass(frozen=True, slots=True)
class Contact:
    """A person at a customer; the address is unique within the customer."""

    id: int
    customer_id: int
    name: str
    email: str
    phone: str | None


@dataclass(frozen=True, slots=True)
class Site:
    """A place where work is done."""

    id: int
    customer_id: int
    name: str
    street: str
    city: str


CUSTOMER = "id, number, name, region_code, email, is_archived"


class CustomerRepository:
    """Reads and writes customers, contacts and sites."""

    def __init__(self, db: Adapter) -> None:
        self._db = db

    def add(self, number: str, name: str, region_code: str, email: str | None) -> int:
        """Insert a customer and return its id."""
        return self._db.insert(
            "INSERT INTO customers (number, name, region_code, email, created_at)"
            f" VALUES (?, ?, ?, ?, {self._db.now})",
            (number, name, region_code, email),
        )

    def get(self, customer_id: int) -> Customer | None:
        """Return a customer, or None."""
        row = self._db.one(f"SELECT {CUSTOMER} FROM customers WHERE id = ?", (customer_id,))
        return None if row is None else Customer(**row)

    def by_number(self, number: str) -> Customer | None:
        """Return the customer with this number, or None."""
        row = self._db.one(f"SELECT {CUSTOMER} FROM customers WHERE number = ?", (number,))
        return None if row is None else Customer(**row)

    def in_region(self, region_code: str) -> list[Customer]:
        """Return the customers of a region that are not archived, by number."""
        rows = self._db.all(
            f"SELECT {CUSTOMER} FROM customers WHERE region_code = ? AND is_archived = ? ORDER BY number",
            (region_code, False),
        )
        return [Customer(**row) for row in rows]

    def search(self, text: str) -> list[Customer]:
        """Return the customers whose name contains `text`, by number."""
        rows = self._db.all(
            f"SELECT {CUSTOMER} FROM customers WHERE name LIKE ? ORDER BY number", (f"%{text}%",)
        )
        return [Customer(**row) for row in rows]

    def rename(self, customer_id: int, name: str) -> int:
        """Change a customer's name and return the number of rows changed."""
        cursor = self._db.execute("UPDATE customers SET name = ? WHERE id = ?", (name, customer_id))
        return int(cursor.rowcount)

    def archive(self, customer_id: int) -> int:
        """Mark a customer as archived and return the number of rows changed."""
        cursor = self._db.execute("UPDATE customers SET is_archived = ? WHERE id = ?", (True, customer_id))
        return int(cursor.rowcount)

    def add_contact(self, customer_id: int, name: str, email: str, phone: str | None = None) -> int:
        """Insert a contact and return its id."""
        return self._db.insert(
            "INSERT INTO contacts (customer_id, name, email, phone) VALUES (?, ?, ?, ?)",
            (customer_id, name, email, phone),
        )

    def contacts(self, customer_id: int) -> list[Contact]:
        """Return a customer's contacts, oldest first."""
        rows = self._db.all(
            "SELECT id, customer_id, name, email, phone FROM contacts WHERE customer_id = ? ORDER BY id",
            (customer_id,),
        )
        return [Contact(**row) for row in rows]

    def remove_contact(self, contact_id: int) -> int:
        """Delete a contact and return the number of rows deleted."""
        return int(self._db.execute("DELETE FROM contacts WHERE id = ?", (contact_id,)).rowcount)

    def add_site(self, customer_id: int, name: str, street: str, city: str) -> int:
        """Insert a site and return its id."""
        return self._db.insert(
            "INSERT INTO sites (customer_id, name, street, city) VALUES (?, ?, ?, ?)",
            (customer_id, name, street, city),
        )

    def sites(self, customer_id: int) -> list[Site]:
        """Return a customer's sites, oldest first."""
        rows = self._db.all(
            "SELECT id, customer_id, name, street, city FROM sites WHERE customer_id = ? ORDER BY id",
            (customer_id,),
        )
        return [Site(**row) for row in rows]

    def remove_site(self, site_id: int) -> int:
        """Delete a site and return the number of rows deleted."""
        return int(self._db.execute("DELETE FROM sites WHERE id = ?", (site_id,)).rowcount)

    def cities(self) -> list[Row]:
        """Return each city with its number of sites, most sites first."""
        return self._db.all(
            "SELECT city, COUNT(*) AS places FROM sites GROUP BY city ORDER BY places DESC, city"
        )
