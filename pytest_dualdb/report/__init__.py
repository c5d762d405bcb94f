"""The report of a run: the one model that every rendering shows.

`Report` holds totals, issues and tests, grouped and ordered once, by `build`; `excerpt` chooses what to show
of an issue; the renderings in this package (`terminal`, `json`, `markdown`) are pure and only lay it out. No
pytest and no driver here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from pytest_dualdb.compare import SEVERITIES, Divergence, Severity
from pytest_dualdb.recording import BACKENDS, Backend, Recording, Site
from pytest_dualdb.report.formats import FORMATS
from pytest_dualdb.rules import UNEXPLAINED, Diagnosis, Rule, all_rules

FORMAT_VERSION = 1
"""The JSON report's version. 1: the first."""

Verdict = Literal["agree", "disagree", "not-comparable"]

ASIDE = "no statement reached either database, they"
"""Begins the reason of tests whose statements all went to other databases, in both halves."""


@dataclass(frozen=True, slots=True)
class Half:
    """One half of a pair as reports show it; ``failure`` is the first line of why it did not pass."""

    nodeid: str
    outcome: str
    seconds: float
    sql_seconds: float
    statements: int
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Allowance:
    """What a mark accepts: a rule's diagnoses in the tests under ``where``, a node id.

    ``tests`` is how many tests that are, 0 if it is not known.
    """

    rule: str
    reason: str
    where: str
    tests: int = 0


@dataclass(frozen=True, slots=True)
class TestResult:
    """One test with both halves; a half that did not run is None. ``reason`` explains not-comparable."""

    __test__ = False

    id: str
    verdict: Verdict
    reason: str = ""
    sqlite: Half | None = None
    postgres: Half | None = None
    diagnoses: tuple[Diagnosis, ...] = ()
    leaks: tuple[str, ...] = ()
    allowances: tuple[Allowance, ...] = ()
    unsteady: tuple[str, ...] = ()
    """What differs between two runs of a half on one database, and so is no divergence."""
    shared: tuple[str, ...] = ()
    """The databases that other tests had used before, by the names of their fixtures."""

    def allowance(self, diagnosis: Diagnosis) -> Allowance | None:
        """Return what accepts a diagnosis of this test, None if nothing does."""
        return next((one for one in self.allowances if one.rule == diagnosis.rule), None)


@dataclass(frozen=True, slots=True)
class Issue:
    """One root cause: a rule at a call site, with every test that it touches, worst severity first.

    ``hides`` counts the statements that the failing halves did not get to because of it. ``example`` is
    the divergence to show, ``example_of`` the test that it is from. ``follows`` holds the divergences folded
    under it, like ones once, each with the number of tests that show it.
    """

    rule: str
    severity: Severity
    title: str
    message: str
    instead: str
    sites: tuple[Site, ...]
    tests: tuple[str, ...]
    hides: int
    example: Divergence
    example_of: TestResult | None = None
    follows: tuple[tuple[Divergence, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Meta:
    """What a report says of the run: versions, the server's source and collation, start (ISO 8601, UTC)."""

    version: str
    started: str
    seconds: float
    sqlite: str = ""
    postgres: str = ""
    source: str = ""
    collation: str = ""
    isolation: str = ""
    backends: tuple[Backend, ...] = BACKENDS


@dataclass(frozen=True, slots=True)
class Report:
    """All that a run found; ``recordings`` are those of a run on one backend, to be joined later.

    ``only`` are the tests that by their mark run on one backend, so that there is no pair.
    """

    meta: Meta
    issues: tuple[Issue, ...]
    tests: tuple[TestResult, ...]
    recordings: tuple[Recording, ...] = ()
    context: Mapping[str, Any] = field(default_factory=dict)
    only: tuple[TestResult, ...] = ()

    def count(self, verdict: Verdict) -> int:
        return sum(test.verdict == verdict for test in self.tests)

    def severities(self) -> dict[Severity, int]:
        return {level: sum(issue.severity == level for issue in self.issues) for level in SEVERITIES}

    def sql_seconds(self, backend: Backend) -> float:
        halves = (test.sqlite if backend == "sqlite" else test.postgres for test in self.tests)
        return sum(half.sql_seconds for half in halves if half is not None)

    def statements(self, backend: Backend) -> int:
        """Return how many statements reached the tests' databases of a backend."""
        halves = (test.sqlite if backend == "sqlite" else test.postgres for test in self.tests)
        return sum(half.statements for half in halves if half is not None)

    @property
    def one_sided(self) -> str:
        """Why nothing was compared although tests ran: one side did not, or both went elsewhere. Else empty."""
        if len(self.meta.backends) < 2 or any(test.verdict != "not-comparable" for test in self.tests):
            return ""
        reasons: dict[str, int] = {}
        for test in self.tests:
            if _ran(test.sqlite) != _ran(test.postgres) or test.reason.startswith(ASIDE):
                reasons[test.reason] = reasons.get(test.reason, 0) + 1
        if not reasons:
            return ""
        reason, count = max(reasons.items(), key=lambda item: item[1])
        advice = "; tell the application its address: dualdb_env, dualdb_redirect or db.url"
        return f"{reason} ({count} of {len(self.tests)} tests){advice if reason.startswith(ASIDE) else ''}"

    @property
    def ratio(self) -> float | None:
        """How many times the SQL time on SQLite PostgreSQL took; None where there is too little to tell."""
        sqlite, postgres = self.sql_seconds("sqlite"), self.sql_seconds("postgres")
        return postgres / sqlite if sqlite >= 0.001 and postgres >= 0.001 else None

    @property
    def not_comparable(self) -> dict[str, tuple[str, ...]]:
        """The ids of the tests that say nothing, by the reason, the most frequent first."""
        reasons: dict[str, list[str]] = {}
        for test in self.tests:
            if test.verdict == "not-comparable":
                reasons.setdefault(test.reason, []).append(test.id)
        return {why: tuple(ids) for why, ids in sorted(reasons.items(), key=lambda item: -len(item[1]))}

    @property
    def allowed(self) -> dict[Allowance, tuple[str, ...]]:
        """The ids of the tests in which an allowance accepts something."""
        found: dict[Allowance, dict[str, None]] = {}
        for test in self.tests:
            for diagnosis in test.diagnoses:
                allowance = test.allowance(diagnosis)
                if allowance is not None:
                    found.setdefault(allowance, {})[test.id] = None
        return {allowance: tuple(ids) for allowance, ids in found.items()}

    @property
    def stale(self) -> tuple[Allowance, ...]:
        """The allowances that accept nothing any more: all their tests were compared and none needs them."""
        compared: dict[Allowance, int] = {}
        for test in self.tests:
            for allowance in dict.fromkeys(test.allowances):
                compared[allowance] = compared.get(allowance, 0) + (test.verdict != "not-comparable")
        needed = self.allowed
        return tuple(
            one for one, tests in compared.items() if tests and tests == one.tests and one not in needed
        )

    @property
    def leaks(self) -> dict[str, tuple[str, ...]]:
        """The ids of the tests that left something open, by what it was, the most frequent first."""
        return _by_frequency((test.id, test.leaks) for test in self.tests)

    @property
    def unsteady(self) -> dict[str, tuple[str, ...]]:
        """The ids of the tests that differ from run to run, by what does, the most frequent first."""
        return _by_frequency((test.id, test.unsteady) for test in self.tests)

    @property
    def rules(self) -> Sequence[Rule]:
        """The user's own rules of this run."""
        return tuple(self.context.get("rules", ()))

    @property
    def worst(self) -> Severity | None:
        return self.issues[0].severity if self.issues else None


def _ran(half: Half | None) -> bool:
    """Return whether a half did something with its database."""
    return half is not None and half.statements > 0 and half.outcome not in ("skipped", "xfailed")


def _by_frequency(said: Iterable[tuple[str, Sequence[str]]]) -> dict[str, tuple[str, ...]]:
    """Return the ids of tests by what is said of them, the most frequent first."""
    found: dict[str, list[str]] = {}
    for test, sayings in said:
        for saying in sayings:
            found.setdefault(saying, []).append(test)
    return {saying: tuple(ids) for saying, ids in sorted(found.items(), key=lambda item: -len(item[1]))}


def build(
    meta: Meta,
    tests: Iterable[TestResult],
    recordings: Sequence[Recording] = (),
    only: Iterable[TestResult] = (),
    **context: Any,
) -> Report:
    """Group the tests' diagnoses into issues, worst first, and return the report."""
    ordered = tuple(sorted(tests, key=lambda test: test.id))
    # the rule modules are imported when there is something to explain
    found = any(test.diagnoses for test in ordered)
    issues = _issues(ordered, all_rules(context.get("rules", ()))) if found else []
    alone = tuple(sorted(only, key=lambda test: test.id))
    return Report(meta, tuple(issues), ordered, tuple(recordings), context, alone)


def _issues(tests: Sequence[TestResult], catalogue: Iterable[Rule]) -> list[Issue]:
    groups: dict[Any, list[tuple[TestResult, int]]] = {}
    for test in tests:
        for index, diagnosis in enumerate(test.diagnoses):
            if diagnosis.primary and test.allowance(diagnosis) is None:
                groups.setdefault(_group(diagnosis), []).append((test, index))
    rules: dict[str, Rule] = {}
    for rule in catalogue:
        rules.setdefault(rule.name, rule)
    issues = []
    for (name, *_), members in groups.items():
        diagnoses = [test.diagnoses[index] for test, index in members]
        severity = min((d.severity for d in diagnoses), key=SEVERITIES.index)
        test, index = next((t, i) for t, i in members if t.diagnoses[i].severity == severity)
        example = test.diagnoses[index].divergence
        known = rules.get(name)
        sites: dict[Site, None] = {}
        for diagnosis in diagnoses:
            if diagnosis.divergence.site is not None:
                sites[diagnosis.divergence.site] = None
        issues.append(
            Issue(
                rule=name, severity=severity,
                title=known.title if known is not None else _plain_title(example),
                message=example.message, instead=test.diagnoses[index].instead,
                sites=tuple(sites), tests=tuple(dict.fromkeys(test.id for test, _ in members)),
                hides=sum(_hidden(test, index) for test, index in members), example=example,
                example_of=test, follows=_follows(members),
            )
        )  # fmt: skip
    issues.sort(
        key=lambda issue: (SEVERITIES.index(issue.severity), -len(issue.tests), issue.rule, str(issue.sites))
    )
    return issues


def _group(diagnosis: Diagnosis) -> tuple[Any, ...]:
    """Return what makes two diagnoses the same issue: the rule and the call site; without one, the table.

    The call site is that of what both go back to, where the rule knows it.
    """
    divergence = diagnosis.divergence
    site = divergence.site
    if diagnosis.origin is not None:
        return (diagnosis.rule, "origin", diagnosis.origin)
    if diagnosis.rule != UNEXPLAINED:
        return (diagnosis.rule, site if site is not None else divergence.table or divergence.kind)
    if divergence.kind == "outcome" or site is None:
        # what nothing explains is not known to have one cause
        return (UNEXPLAINED, divergence.kind, divergence.table, _scrubbed(divergence.message))
    return (UNEXPLAINED, divergence.kind, site)


def _follows(members: Iterable[tuple[TestResult, int]]) -> tuple[tuple[Divergence, int], ...]:
    """Return what is folded under these diagnoses, like divergences once with the number of their tests."""
    found: dict[Any, tuple[Divergence, set[str]]] = {}
    for test, index in members:
        for diagnosis in test.diagnoses:
            if diagnosis.cause == index:
                divergence = diagnosis.divergence
                site = divergence.site
                what = _scrubbed(divergence.message) if site is None else ""
                key = (divergence.kind, site, divergence.table, what)
                found.setdefault(key, (divergence, set()))[1].add(test.id)
    return tuple((divergence, len(ids)) for divergence, ids in found.values())


def _scrubbed(message: str) -> str:
    return re.sub(r"0x[0-9a-f]+|\d+", "#", message)


_TITLES = {
    "outcome": "the test fails on {side} only", "error": "the statement fails on {side} only",
    "rows": "rows differ", "order": "rows come in another order", "type": "Python types differ",
    "columns": "columns differ", "rowcount": "the cursor's counts differ",
    "statements": "a statement is issued on one side only", "state": "stored rows differ",
    "observed": "observed values differ", "schema": "schemas differ", "index": "indexes differ",
    "bypass": "statements went to the wrong database", "time": "one side is much slower",
}  # fmt: skip


def _plain_title(divergence: Divergence) -> str:
    failing = [s is not None and s.error is not None for s in (divergence.sqlite, divergence.postgres)]
    if divergence.kind == "error" and all(failing):
        return "the statement raises another class of error"
    sqlite = failing[0] or divergence.message.startswith("fails on SQLite")
    return _TITLES[divergence.kind].format(side="SQLite" if sqlite else "PostgreSQL")


def _hidden(test: TestResult, index: int) -> int:
    """Return how many statements the failing half did not get to because of this diagnosis."""
    diagnosis = test.diagnoses[index]
    if diagnosis.severity != "critical" or test.sqlite is None or test.postgres is None:
        return 0
    return max(0, abs(test.sqlite.statements - test.postgres.statements) - 1)


# ---------------------------------------------------------------------------------------------- rendering


def renderer(path: Path) -> Callable[[Report], str]:
    """Return the rendering for a report file; raises ValueError with one line for an unknown ending."""
    import importlib

    name = FORMATS.get(path.suffix.lower())
    if name is None:
        raise ValueError(
            f"{path}: unknown report format {path.suffix!r}; expected one of {', '.join(FORMATS)}"
        )
    render: Callable[[Report], str] = importlib.import_module(f"{__name__}.{name}").render
    return render


# A column of that name is no password: unquoted, a value counts only where "=" stands without spaces, and
# placeholders stay.
_PASSWORD = re.compile(
    r"(\b[a-z][a-z0-9+.-]*://[^\s:/@]*:)[^\s@]+(@)"
    r"|(\b(?:pg|ssl)?password(?:\s*=\s*|\s+)(?=')|\b(?:pg|ssl)?password=(?![?%:$]))('(?:[^'\\]|\\.)*'|[^\s'\"&]+)",
    re.I,
)


def without_passwords(text: str) -> str:
    """Return text with the passwords of URLs, connection strings and role statements replaced by ``***``."""
    if "://" not in text and "password" not in text.lower():
        return text
    return _PASSWORD.sub(lambda m: f"{m[1]}***{m[2]}" if m[1] else f"{m[3]}***", text)
