"""What a rule is: why SQLite and PostgreSQL differ, told from the evidence of one divergence.

A rule is one class in a module of this package. Writing the class is all there is to do: the registry, the
documentation page, ``dualdb explain`` and the tests on both live databases follow from it. Rules know
recordings, divergences and parsed SQL; they know no driver, no pytest and no report.
"""

from __future__ import annotations

import inspect
import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import (
    Backend,
    Catalog,
    Column,
    Failure,
    Recording,
    Statement,
    TableState,
    TestFailure,
)

if TYPE_CHECKING:
    from sqlglot import expressions as exp

    from pytest_dualdb.compare import Divergence, Severity


@dataclass(frozen=True, slots=True)
class Specimen:
    """SQL that shows a rule on live databases, or comes near and must not.

    ``schema`` is a script; ``steps`` run in order, each a text, a ``(text, params)`` pair, or a mapping
    with one of those for each backend (``{"sqlite": ..., "postgres": ...}``). Placeholders are ``?``.
    ``"COMMIT"`` and ``"ROLLBACK"`` go through the connection. Every result is fetched whole. A step that
    fails on either backend is swallowed, as ``try: ... except: pass`` would, and the next one runs.
    ``schema`` may likewise be a mapping by backend. ``also`` names other rules that must be found too, and
    what no rule claims by ``unexplained``; where it is empty, a near miss differs in nothing above `low`.

    What no SQL shows (a cursor attribute, a row's type, a second connection) is a step that is a function
    of the test's `Database`; an exception that leaves such a step fails the half, as it would in a test.
    """

    steps: Sequence[Any]
    schema: str | Mapping[str, str] = ""
    also: tuple[str, ...] = ()


class Rule:
    """One reason why the two databases differ.

    Subclasses set the class attributes and `matches`. The docstring has the sections *What differs*,
    *Why*, *Instead* and *References*, each a line ending in a colon followed by indented text.
    """

    name: ClassVar[str] = ""
    """Kebab-case; states the pattern, reads after "allow"."""
    title: ClassVar[str] = ""
    """One line for the summary: what the pattern does on which backend."""
    instead: ClassVar[str] = ""
    """One line for the summary: what to write instead."""
    kinds: ClassVar[frozenset[str]] = frozenset()
    """The kinds of divergence that the rule can explain."""
    notes: ClassVar[frozenset[str]] = frozenset()
    """The notes (`Divergence.note`) of divergences that the rule is asked about beside those without one."""
    of_commits: ClassVar[bool] = False
    """Whether the reason is what was committed and what was not: then contents before a rollback don't show it."""
    both_fail: ClassVar[bool] = False
    """Whether the rule is asked about statements that fail on both, too: an error else is of one backend alone."""
    severity: ClassVar[Severity | None] = None
    """A severity that replaces the one of the divergence's kind; None keeps it."""
    priority: ClassVar[int] = 0
    """Rules of higher priority are asked first; raise it for a rule that is a special case of another."""
    specimens: ClassVar[tuple[Specimen, ...]] = ()
    near_misses: ClassVar[tuple[Specimen, ...]] = ()

    def concerns(self, divergence: Divergence) -> bool:
        """Return whether `matches` is to be asked about a divergence."""
        # that a statement is slow has nothing to do with what a rule reads in its text, unless it says so
        if (self.kinds or divergence.kind == "time") and divergence.kind not in self.kinds:
            return False
        if (divergence.note and divergence.note not in self.notes) or (divergence.undone and self.of_commits):
            return False
        halves = divergence.sqlite, divergence.postgres
        both = all(statement is not None and statement.error is not None for statement in halves)
        return self.both_fail or divergence.kind != "error" or not both

    def matches(self, evidence: Evidence) -> bool:
        """Return whether this rule is the reason for the divergence: a ladder of early returns."""
        raise NotImplementedError

    def advice(self, evidence: Evidence) -> str:
        """Return what to write instead, for this divergence: `instead`, or better where the evidence tells."""
        return self.instead

    def origin(self, evidence: Evidence) -> Statement | None:
        """Return the statement that all such divergences go back to, None if each stands for itself.

        One CREATE that nobody commits makes statements fail at many places: that is one issue.
        """
        return None

    @classmethod
    def sections(cls) -> dict[str, str]:
        """Return the docstring's sections by title, the leading text under the empty key."""
        found: dict[str, list[str]] = {"": []}
        current = found[""]
        for line in inspect.cleandoc(cls.__doc__ or "").splitlines():
            heading = re.fullmatch(r"(What differs|Why|Instead|References):", line)
            if heading:
                current = found.setdefault(heading[1], [])
            else:
                current.append(line)
        return {title: textwrap.dedent("\n".join(lines)).strip() for title, lines in found.items()}


class Evidence:
    """All that a rule may look at for one divergence; what is costly is made on first use."""

    def __init__(
        self,
        divergence: Divergence,
        recordings: Mapping[str, Recording],
        catalogs: Mapping[str, Catalog] | None = None,
        templates: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.divergence = divergence
        self.recordings = recordings
        self.catalogs: Mapping[str, Catalog] = catalogs or {}
        self.templates: Mapping[str, Mapping[str, TableState]] = templates or {}
        self.rule_errors: dict[str, Exception] = {}

    @property
    def kind(self) -> str:
        return self.divergence.kind

    @property
    def sqlite(self) -> Statement | None:
        return self.divergence.sqlite

    @property
    def postgres(self) -> Statement | None:
        return self.divergence.postgres

    def statement(self, backend: Backend) -> Statement | None:
        return self.divergence.sqlite if backend == "sqlite" else self.divergence.postgres

    def sql(self, backend: Backend) -> str:
        """Return the statement's text on that backend, empty if it issued none."""
        statement = self.statement(backend)
        return "" if statement is None else text_of(statement)

    @property
    def text(self) -> str:
        """The text of either statement, PostgreSQL's first; upper and lower case as written."""
        return self.sql("postgres") or self.sql("sqlite")

    def error(self, backend: Backend) -> Failure | None:
        """Return the database error of this divergence on that backend.

        That is the statement's own; for an outcome, the one that the failing half's exception came from.
        """
        statement = self.statement(backend)
        if statement is not None:
            return statement.error
        failure = self.failure(backend)
        return None if failure is None else failure.database

    def raised(self, backend: Backend) -> Failure | None:
        """Return the error of the divergence's own statement on that backend; for an outcome, the half's."""
        if self.kind == "outcome":
            return self.error(backend)
        statement = self.statement(backend)
        return None if statement is None else statement.error

    def failure(self, backend: Backend) -> TestFailure | None:
        """Return why the half on that backend did not pass, None if it did."""
        recording = self.recordings.get(backend)
        return None if recording is None else recording.failure

    def before(self, backend: Backend) -> Sequence[Statement]:
        """Return the statements that this half issued before the one of the divergence, oldest first."""
        statements = self.recordings[backend].statements
        own = self.statement(backend)
        for index, statement in enumerate(statements):
            if statement is own:
                return statements[:index]
        return statements

    def trees(self, backend: Backend) -> tuple[exp.Expr, ...]:
        """Return the parsed statements of the divergence on that backend; empty where it can't be parsed."""
        return syntax.parse(self.sql(backend), backend)

    def find(self, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
        """Yield the nodes of those kinds in the statement: as SQLite reads it, else as PostgreSQL does."""
        for tree in self.trees("sqlite") or self.trees("postgres"):
            yield from tree.find_all(*kinds)

    def contents(self, table: str, backend: Backend) -> TableState | None:
        """Return what the table holds after the half (or held before it, if the half did not change it)."""
        if self.divergence.undone and (undone := self.recordings[backend].undone.get(table.lower())):
            return undone
        own = self.recordings[backend].state.get(table.lower())
        return own if own is not None else self.templates.get(backend, {}).get(table.lower())

    def column(self, name: str, backend: Backend, tables: Sequence[str] = ()) -> Column | None:
        """Return the column of that name in the catalog, looked for in ``tables`` first, or None."""
        catalog = self.catalogs.get(backend)
        if catalog is None:
            return None
        for table_name in tables:
            table = catalog.table(table_name)
            if table is not None and table.column(name) is not None:
                return table.column(name)
        if tables:
            return None
        found = [c for table in catalog.tables.values() if (c := table.column(name)) is not None]
        return found[0] if found else None


def text_of(statement: Statement) -> str:
    """Return a statement's text as the application meant it."""
    return syntax.untyped(statement.sql) if statement.via == "sqlalchemy" else statement.sql


def params_of(statement: Statement | None) -> list[Any]:
    """Return a statement's parameters as a flat list of values, those of each set for executemany."""
    if statement is None or statement.params is None:
        return []
    params = statement.params
    sets = params if statement.kind == "executemany" else [params]
    flat: list[Any] = []
    for one in sets:
        flat.extend(one.values() if isinstance(one, Mapping) else one)
    return flat
