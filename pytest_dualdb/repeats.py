"""What differs between two runs of the same half on the same backend, and so says nothing of the other backend.

Pure, like the comparison that it uses. A divergence of a pair is settled by a repeat where a half differs
from its own second run at the same place, in the same way and in no fewer columns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from pytest_dualdb.compare import compare
from pytest_dualdb.divergence import Context, Divergence, Kind
from pytest_dualdb.recording import BACKENDS, Backend, Recording, Statement

_COVERED: Mapping[Kind, frozenset[Kind]] = {
    "rows": frozenset({"rows", "order", "rowcount", "type"}),
    "error": frozenset({"error", "rows", "rowcount"}),
}
"""What a difference between two runs may show as between the backends, beside the same kind."""


def unsteady(first: Recording, again: Recording, context: Context) -> tuple[Divergence, ...]:
    """Return where two runs of one half differ; on the SQLite side of each stands the first run."""
    own = first.backend
    alone = replace(
        context,
        templates={backend: context.templates.get(own, {}) for backend in BACKENDS},
        catalogs={backend: context.catalogs[own] for backend in BACKENDS if own in context.catalogs},
        template_catalogs={
            backend: context.template_catalogs[own]
            for backend in BACKENDS
            if own in context.template_catalogs
        },
    )
    found = compare(first, replace(again, bypasses=first.bypasses), alone)
    return tuple(divergence for divergence in found if divergence.kind != "time")


def steady(
    divergences: Sequence[Divergence], noise: Mapping[Backend, Sequence[Divergence]]
) -> tuple[Divergence, ...]:
    """Return the divergences that differences between two runs on one backend do not account for."""
    return tuple(
        divergence
        for divergence in divergences
        if divergence.kind == "outcome"
        or not any(_accounts(one, backend, divergence) for backend, found in noise.items() for one in found)
    )


def _accounts(noise: Divergence, backend: Backend, divergence: Divergence) -> bool:
    if divergence.kind not in _COVERED.get(noise.kind, frozenset({noise.kind})):
        return False
    statement = divergence.sqlite if backend == "sqlite" else divergence.postgres
    if noise.table is not None or divergence.table is not None:
        if noise.table != divergence.table:
            return False
    elif noise.kind == "observed":
        if _columns(noise) != _columns(divergence):
            return False
    elif statement is None or noise.sqlite is None or not _alike(noise.sqlite, statement):
        return False
    if noise.difference is None or not noise.difference.differing:
        return True
    own = None if divergence.difference is None else divergence.difference.differing
    return (
        own is not None
        and set(noise.difference.differing) >= set(own)
        and (bool(own) or noise.kind == "order")
    )


def _alike(one: Statement, other: Statement) -> bool:
    return one is other or (one.site, one.sql, one.params) == (other.site, other.sql, other.params)


def _columns(divergence: Divergence) -> tuple[str, ...]:
    return () if divergence.difference is None else divergence.difference.columns


def named(noise: Mapping[Backend, Sequence[Divergence]]) -> tuple[str, ...]:
    """Return a line for each thing that differs between two runs, with the backends on which it does."""
    found: dict[str, dict[Backend, None]] = {}
    for backend, divergences in noise.items():
        for divergence in divergences:
            found.setdefault(_what(divergence), {})[backend] = None
    names = {"sqlite": "SQLite alone", "postgres": "PostgreSQL alone"}
    return tuple(
        f"{what} on {'both' if len(backends) > 1 else names[min(backends)]}"
        for what, backends in found.items()
    )


def _what(divergence: Divergence) -> str:
    if divergence.kind == "outcome":
        return "passes or fails"
    differing = "" if divergence.difference is None else ", ".join(divergence.difference.differing)
    columns = f" ({differing})" if differing else ""
    if divergence.table is not None:
        return f"{divergence.kind} of table {divergence.table}{columns}"
    statement = divergence.site_statement
    if statement is None or statement.site is None:
        return f"{divergence.kind}{columns}"
    return f"{divergence.kind} at {statement.site}{columns}"


def flaky(
    sqlite: Recording, postgres: Recording, noise: Mapping[Backend, Sequence[Divergence]]
) -> Backend | None:
    """Return the backend on which it is a matter of chance that only one of the halves failed."""
    if sqlite.outcome == postgres.outcome:
        return None
    return next(
        (backend for backend, found in noise.items() if any(one.kind == "outcome" for one in found)), None
    )
