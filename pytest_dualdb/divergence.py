"""What a comparison says: divergences, and what it needs to know beside the two recordings.

The words that the comparison, the rules and the reports share. A divergence is a fact ("the halves differ
here"); why they differ and what to do about it is the business of `pytest_dualdb.rules`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_dualdb.recording import Catalog, Site, Statement, TableState
from pytest_dualdb.values import SameValue

Kind = Literal[
    "outcome", "error", "rows", "order", "type", "columns", "rowcount", "statements", "state",
    "observed", "schema", "index", "bypass", "time",
]  # fmt: skip
Severity = Literal["critical", "high", "medium", "low"]
SEVERITIES: tuple[Severity, ...] = ("critical", "high", "medium", "low")
Row = tuple[Any, ...]

MAX_SHOWN = 20
"""Differing rows kept in a divergence; the rest is counted."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Rows that only one half has, how many both have, and the names of the columns that differ.

    ``more_sqlite`` and ``more_postgres`` count rows that are not there; a divergence has the first `MAX_SHOWN`.
    """

    columns: tuple[str, ...]
    only_sqlite: tuple[Row, ...] = ()
    only_postgres: tuple[Row, ...] = ()
    both: int = 0
    differing: tuple[str, ...] = ()
    more_sqlite: int = 0
    more_postgres: int = 0

    @property
    def totals(self) -> tuple[int, int]:
        """How many rows only SQLite has, and how many only PostgreSQL."""
        return len(self.only_sqlite) + self.more_sqlite, len(self.only_postgres) + self.more_postgres

    def cut(self) -> Difference:
        """Return the difference with no more rows than a divergence keeps."""
        only = self.only_sqlite[:MAX_SHOWN], self.only_postgres[:MAX_SHOWN]
        more = (total - len(rows) for total, rows in zip(self.totals, only, strict=True))
        return Difference(self.columns, *only, self.both, self.differing, *more)


@dataclass(frozen=True, slots=True)
class Divergence:
    """One place where the halves differ.

    ``position`` orders the divergences of a pair by when they happened; what is seen only at the end
    (state, outcome) comes last. ``swallowed`` marks an error that the application did not let out. ``note``
    marks rows that differ in generated keys alone, consistently, and tables that one half only did not get
    to write because it ended before (``cut-short``). ``undone`` marks contents that were rolled back or never
    committed, as they were before. ``failed_at`` is where the exception left the user's code that ends a half.
    """

    kind: Kind
    severity: Severity
    message: str
    sqlite: Statement | None = None
    postgres: Statement | None = None
    table: str | None = None
    position: int = 0
    difference: Difference | None = None
    swallowed: bool = False
    note: Literal["", "generated-keys", "cut-short"] = ""
    undone: bool = False
    failed_at: Site | None = None

    @property
    def site(self) -> Site | None:
        """The line of the application where this happened, if that is known."""
        statement = self.site_statement
        return self.failed_at if statement is None else statement.site

    @property
    def site_statement(self) -> Statement | None:
        """The statement that says where in the application this happened."""
        return self.postgres if self.sqlite is None or self.sqlite.site is None else self.sqlite


@dataclass(frozen=True, slots=True)
class Context:
    """What comparing needs to know beside the two recordings, each by backend."""

    templates: Mapping[str, Mapping[str, TableState]] = field(default_factory=dict)
    catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    template_catalogs: Mapping[str, Catalog] = field(default_factory=dict)
    ignore: frozenset[str] = frozenset()
    same_value: SameValue | None = None
