"""The rule catalogue: every rule is documented, found by its specimens and silent on its near misses.

One run of `projects/specimens` on both live databases serves all of it, so that what a rule claims is what the
databases do today.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from projects import Projects, Run

from pytest_dualdb.compare import SEVERITIES
from pytest_dualdb.report.catalogue import pages
from pytest_dualdb.rules import UNEXPLAINED, Rule, Specimen, all_rules

RULES = all_rules()
SPECIMENS = [
    pytest.param(rule, specimen, f"{rule.name}-specimen-{number}", id=f"{rule.name}-{number}")
    for rule in RULES
    for number, specimen in enumerate(rule.specimens)
]
NEAR_MISSES = [
    pytest.param(rule, f"{rule.name}-near-miss-{number}", id=f"{rule.name}-{number}")
    for rule in RULES
    for number, _ in enumerate(rule.near_misses)
]


@pytest.fixture(scope="module")
def specimens(projects: Projects) -> Run:
    run = projects.run("specimens", "--db=both")
    assert run.report, run.text
    return run


def divergences(run: Run, case: str) -> list[dict[str, Any]]:
    test = run.test(f"test_specimen[{case}]")
    found: list[dict[str, Any]] = test["divergences"]
    return found


@pytest.mark.parametrize(("rule", "specimen", "case"), SPECIMENS)
def test_specimen_shows_its_rule(rule: Rule, specimen: Specimen, case: str, specimens: Run) -> None:
    found = divergences(specimens, case)
    names = {d["rule"] for d in found}
    assert names == {rule.name, *specimen.also}, [(d["rule"], d["kind"], d["message"]) for d in found]


@pytest.mark.parametrize(("rule", "case"), NEAR_MISSES)
def test_rule_is_silent_on_a_near_miss(rule: Rule, case: str, specimens: Run) -> None:
    found = divergences(specimens, case)
    assert rule.name not in {d["rule"] for d in found}
    loud = [(d["rule"], d["kind"], d["message"]) for d in found if d["severity"] != "low"]
    assert not loud


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_rule_is_documented(rule: Rule) -> None:
    assert re.fullmatch(r"[a-z][a-z0-9]*(-[a-z0-9]+)*", rule.name)
    sections = type(rule).sections()
    assert set(sections) == {"", "What differs", "Why", "Instead", "References"}
    assert all(sections.values())
    # the manual of either side: the database's, or the driver's where that makes the difference
    assert re.search(r"https://(www\.sqlite\.org|docs\.python\.org)/", sections["References"])
    assert re.search(r"https://www\.(postgresql|psycopg)\.org/", sections["References"])
    assert rule.title
    assert rule.instead
    assert "\n" not in rule.title + rule.instead
    assert rule.severity is None or rule.severity in SEVERITIES
    assert rule.kinds
    assert rule.specimens
    assert rule.near_misses


def test_the_pages_are_those_of_the_docstrings() -> None:
    folder = Path(__file__).parent.parent / "docs" / "rules"
    written = {path.name: path.read_text(encoding="utf-8") for path in folder.iterdir()}
    assert written == pages(RULES), "run: dualdb explain --pages docs/rules"


def test_names_are_unique() -> None:
    names = [rule.name for rule in RULES]
    assert len(names) == len(set(names))
    assert UNEXPLAINED not in names
