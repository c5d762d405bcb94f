"""The rule catalogue: the registry and `diagnose`, over one module for each family of rules.

Adding a rule means writing its class in a family module: everything else follows from `all_rules`.
"""

from __future__ import annotations

import builtins
import functools
import importlib
import pkgutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pytest_dualdb import syntax
from pytest_dualdb.compare import SEVERITIES, Divergence, Severity, failed
from pytest_dualdb.recording import Catalog, Recording, Site
from pytest_dualdb.rules.base import Evidence, Rule, Specimen

__all__ = ["UNEXPLAINED", "Diagnosis", "Evidence", "Rule", "Specimen", "all_rules", "diagnose", "rule_named"]

UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """A divergence with its rule and severity; ``primary`` unless it follows from another one.

    ``cause`` is the index of that other one in the pair's diagnoses, None for a primary one. ``instead``
    is what the rule says to write here. ``origin`` is where the application does what this goes back to, if that
    is another place than the divergence's.
    """

    divergence: Divergence
    rule: str
    severity: Severity
    primary: bool = True
    cause: int | None = None
    instead: str = ""
    origin: Site | None = None


@functools.cache
def _built_in() -> tuple[Rule, ...]:
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
    found = [cls for cls in _subclasses(Rule) if cls.name and cls.__module__.startswith(__name__)]
    return tuple(cls() for cls in sorted(found, key=lambda cls: (-cls.priority, cls.__module__, cls.name)))


def _subclasses(base: type[Rule]) -> list[type[Rule]]:
    return [cls for sub in base.__subclasses__() for cls in (sub, *_subclasses(sub))]


def all_rules(extra: Iterable[Rule] = ()) -> tuple[Rule, ...]:
    """Return every rule in the order of asking: the user's own first, they know their application."""
    return (*extra, *_built_in())


def rule_named(name: str, extra: Iterable[Rule] = ()) -> Rule | None:
    """Return the rule of that name, or None."""
    return next((rule for rule in all_rules(extra) if rule.name == name), None)


def diagnose(
    divergences: Sequence[Divergence],
    sqlite: Recording,
    postgres: Recording,
    catalogs: Mapping[str, Catalog] | None = None,
    templates: Mapping[str, Mapping[str, object]] | None = None,
    extra: Iterable[Rule] = (),
) -> tuple[Diagnosis, ...]:
    """Return one diagnosis for each divergence: its rule, its severity, and what it follows from.

    What no rule claims is `UNEXPLAINED`. A divergence that follows from an earlier one is folded under it,
    and the divergence that explains a failing half is as severe as the failure.
    """
    if not divergences:
        return ()
    recordings = {"sqlite": sqlite, "postgres": postgres}
    rules = all_rules(extra)
    names, advice, origins = [], [], []
    severities: list[Severity] = []
    for divergence in divergences:
        evidence = Evidence(divergence, recordings, catalogs, templates)
        rule = first_match(evidence, rules)
        names.append(UNEXPLAINED if rule is None else rule.name)
        advice.append("" if rule is None else _advice(rule, evidence))
        origins.append(None if rule is None else _origin(rule, evidence))
        own = None if rule is None else rule.severity
        severities.append(divergence.severity if own is None else own)
    causes = _fold(divergences, names)
    for index, cause in enumerate(causes):
        if cause is not None:
            names[index] = names[cause]
    if failed(sqlite) != failed(postgres):
        culprit = _culprit(divergences, names, causes, recordings)
        if (
            culprit is not None
            and divergences[culprit].kind not in ("error", "bypass")
            and _unrelated(recordings)
        ):
            culprit = None
        outcome = next(i for i, d in enumerate(divergences) if d.kind == "outcome")
        if (
            culprit is not None
            and divergences[culprit].kind != "error"
            and names[outcome] not in (UNEXPLAINED, names[culprit])
        ):
            culprit = None  # the failure itself says more
        for index, divergence in enumerate(divergences):
            if divergence.note == "cut-short" and causes[index] is None:
                causes[index] = outcome if culprit is None else culprit
                names[index] = names[outcome if culprit is None else culprit]
        if culprit is not None:
            severities[culprit] = "critical"
            for index, divergence in enumerate(divergences):
                if divergence.kind == "outcome" and index != culprit:
                    causes[index] = culprit
                    names[index] = names[culprit]
    return tuple(
        Diagnosis(
            divergence,
            names[index],
            severities[index],
            causes[index] is None,
            causes[index],
            advice[index],
            origins[index],
        )
        for index, divergence in enumerate(divergences)
    )


def _advice(rule: Rule, evidence: Evidence) -> str:
    try:
        return rule.advice(evidence)
    except Exception as error:  # as in first_match: the general advice serves too
        evidence.rule_errors[rule.name] = error
        return rule.instead


def _origin(rule: Rule, evidence: Evidence) -> Site | None:
    try:
        statement = rule.origin(evidence)
    except Exception as error:  # as in first_match: the divergence then stands for itself
        evidence.rule_errors[rule.name] = error
        return None
    return None if statement is None else statement.site


def first_match(evidence: Evidence, rules: Iterable[Rule]) -> Rule | None:
    """Return the first rule that explains the divergence, None if none does.

    A rule whose `matches` raises is passed over and noted in ``evidence.rule_errors``: a mistake in one
    rule must not hide the divergence.
    """
    for rule in rules:
        if not rule.concerns(evidence.divergence):
            continue
        try:
            if rule.matches(evidence):
                return rule
        except Exception as error:
            evidence.rule_errors[rule.name] = error
    return None


def _fold(divergences: Sequence[Divergence], names: Sequence[str]) -> list[int | None]:
    """Return for each divergence the index of the one that it follows from, None for a first cause."""
    causes: list[int | None] = [None] * len(divergences)
    for index, divergence in enumerate(divergences):
        for earlier in range(index):
            if causes[earlier] is None and _follows(
                divergence, names[index], divergences[earlier], names[earlier]
            ):
                causes[index] = earlier
                break
    return causes


def _follows(late: Divergence, late_rule: str, early: Divergence, early_rule: str) -> bool:
    """Return whether the later divergence is a consequence of the earlier one."""
    if late.position < early.position or early.kind in ("type", "columns", "time"):
        return False
    if late.kind == "outcome":
        return False
    if late.note == early.note == "generated-keys":
        return True
    if early.kind == "error" and (late.postgres is not None and late.postgres.aborted):
        return True
    refused = early.kind == "error" and early.postgres is not None and early.postgres.aborted
    if refused and late.kind in ("state", "rows", "rowcount"):
        return True
    if early.kind == "error" and late.kind == "state" and late.table in _tables(early):
        return True
    if late_rule not in (UNEXPLAINED, early_rule):
        return False
    if early_rule == UNEXPLAINED and early.severity == "low":
        return False
    if late.kind == "error" and not late.swallowed and late_rule != UNEXPLAINED and early.kind != "error":
        return False  # what ended the half, explained by itself, is shown where it happened
    if early.kind == "bypass":
        return True
    if late.kind in ("rows", "order", "rowcount", "statements", "observed", "type", "error"):
        if early.kind in ("error", "bypass"):
            return True
        if late.kind == "observed":
            return early.kind in ("rows", "order", "columns", "rowcount")
        return early.kind in ("rows", "rowcount", "state") and bool(_tables(late) & _tables(early))
    if late.kind == "state":
        return early.kind in ("error", "rows", "rowcount") and (
            early.kind == "error" or late.table in _tables(early)
        )
    return False


def _tables(divergence: Divergence) -> frozenset[str]:
    found = frozenset() if divergence.table is None else frozenset({divergence.table})
    for statement in (divergence.sqlite, divergence.postgres):
        if statement is not None:
            found |= syntax.tables(statement.sql) | syntax.defined_tables(statement.sql)
    return found


_STRENGTH = (
    "bypass",
    "error",
    "rows",
    "state",
    "observed",
    "order",
    "columns",
    "rowcount",
    "statements",
    "type",
)


_ELSEWHERE = frozenset(
    {
        found.__name__
        for found in vars(builtins).values()
        if isinstance(found, type) and issubclass(found, (OSError, ImportError, NameError, MemoryError, SyntaxError))
    }
)  # fmt: skip
"""Built-in exceptions that no value of a database's raises: a file, a network, a module that is not there."""


def _unrelated(recordings: Mapping[str, Recording]) -> bool:
    """Return whether the half that failed did so for a reason that lies outside of any database."""
    failure = next((r.failure for r in recordings.values() if failed(r)), None)
    return failure is not None and failure.database is None and failure.name in _ELSEWHERE


def _converted(divergence: Divergence, recordings: Mapping[str, Recording]) -> bool:
    """Return whether the failing half shows a value as the type of the other half: its own was no obstacle."""
    difference = divergence.difference
    if divergence.kind != "type" or difference is None:
        return False
    sides = difference.only_sqlite, difference.only_postgres
    own, other = sides if failed(recordings["sqlite"]) else sides[::-1]
    failure = next(r.failure for r in recordings.values() if failed(r))
    if failure is None or not own or not other or isinstance(other[0][0], str | int | float):
        return False
    return repr(other[0][0]) in failure.message and repr(own[0][0]) not in failure.message


def _culprit(
    divergences: Sequence[Divergence],
    names: Sequence[str],
    causes: Sequence[int | None],
    recordings: Mapping[str, Recording],
) -> int | None:
    """Return the index of the divergence that explains the failing half, None if only the outcome differs.

    An error that left the application comes first, then what could have changed the test's mind: the
    strongest kind, explained before unexplained, the last before the end.
    """
    best: tuple[tuple[bool, int, bool, int], int] | None = None
    for index, divergence in enumerate(divergences):
        if divergence.kind not in _STRENGTH or divergence.note == "cut-short" or causes[index] is not None:
            continue
        if divergence.kind in ("type", "statements") and names[index] == UNEXPLAINED:
            continue
        if _converted(divergence, recordings):
            continue
        let_out = divergence.kind == "error" and not divergence.swallowed
        rank = (let_out, -_STRENGTH.index(divergence.kind), names[index] != UNEXPLAINED, divergence.position)
        if best is None or rank > best[0]:
            best = rank, index
    return None if best is None else best[1]


def worst(severities: Iterable[Severity]) -> Severity | None:
    """Return the worst of some severities, None of none."""
    return min(severities, key=SEVERITIES.index, default=None)
