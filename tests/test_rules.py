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
from pytest_dualdb.recording import Failure
from pytest_dualdb.report.catalogue import pages
from pytest_dualdb.rules import UNEXPLAINED, Rule, Specimen, all_rules
from pytest_dualdb.rules.messages import in_english

RULES = all_rules()
SPECIMENS = [
    pytest.param(rule, specimen, f"{rule.name}-specimen-{number}", id=f"{rule.name}-{number}")
    for rule in RULES
    for number, specimen in enumerate(rule.specimens)
]
NEAR_MISSES = [
    pytest.param(rule, near_miss, f"{rule.name}-near-miss-{number}", id=f"{rule.name}-{number}")
    for rule in RULES
    for number, near_miss in enumerate(rule.near_misses)
]
WITHOUT_SQL = set(
    """
    autoincrement-ddl begin-mode check-differs concurrent-update database-locked driver-method empty-query
    execute-returns-cursor identity-column outside-transaction-block placeholder-style savepoint-transaction
    serial-on-sqlite session-setting sqlite-command transaction-nesting trigger-syntax wrong-database
    """.split()
)
"""Rules whose advice is about schemas, transactions, the driver or the application: no statement of it stands alone."""


@pytest.fixture(scope="module")
def specimens(projects: Projects) -> Run:
    run = projects.run("specimens", "--db=both", "test_specimens.py")
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


def test_rows_that_a_cascade_removed_point_at_the_delete(specimens: Run) -> None:
    [found] = divergences(specimens, "foreign-keys-not-enforced-specimen-6")
    assert found["kind"] == "state"
    assert found["statement"]["postgres"]["sql"] == "DELETE FROM city WHERE id = 1"


@pytest.mark.parametrize(("rule", "near_miss", "case"), NEAR_MISSES)
def test_rule_is_silent_on_a_near_miss(rule: Rule, near_miss: Specimen, case: str, specimens: Run) -> None:
    found = [(d["rule"], d["severity"], d["kind"], d["message"]) for d in divergences(specimens, case)]
    names = {name for name, *_ in found}
    loud = {name for name, severity, *_ in found if severity != "low"}
    assert rule.name not in names
    assert loud <= {*near_miss.also} <= names, found


def test_no_rule_explains_a_coincidence(projects: Projects) -> None:
    """Each of these statements has a pattern that some rule knows, and rows that differ for no such reason."""
    tests = projects.run("specimens", "--db=both", "test_coincidences.py").report["tests"]
    wrong = [
        (test["id"], d["rule"], d["message"])
        for test in tests
        for d in test["divergences"]
        if d["rule"] not in (UNEXPLAINED, "seed-rows") and d["severity"] != "low"
    ]
    assert len(tests) > 100
    assert all(test["verdict"] == "disagree" for test in tests)
    assert not wrong


def test_what_rules_say_to_write_instead_runs_on_both(projects: Projects) -> None:
    run = projects.run("specimens", "--db=both", "test_instead.py")
    failing = {
        test["id"]: (test["sqlite"]["failure"], test["postgres"]["failure"])
        for test in run.report["tests"]
        if {test[backend]["outcome"] for backend in ("sqlite", "postgres")} != {"passed"}
    }
    assert not failing, run.text
    advised = {test["id"].partition("[")[2].rstrip("]") for test in run.report["tests"]}
    assert {rule.name for rule in RULES} - advised == WITHOUT_SQL


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


def failure(sqlstate: str, routine: str, message: str) -> Failure:
    return Failure("psycopg2.Error", "Error", sqlstate, message, {"routine": routine})


@pytest.mark.parametrize(
    ("sqlstate", "routine", "message", "english"),
    [
        ("42P01", "parserOpenTable", "la relation « item » n'existe pas", 'relation "item" does not exist'),
        ("42P01", "parserOpenTable", "no existe la relación «item»", 'relation "item" does not exist'),
        ("42P01", "errorMissingRTE", 'invalid reference to FROM-clause entry for table "a"',
         'invalid reference to FROM-clause entry for table "a"'),
        ("42P01", "errorMissingRTE", "fehlender Eintrag in FROM-Klausel für Tabelle »a«",
         'missing FROM-clause entry for table "a"'),
        ("42703", "errorMissingColumn", "列\"t.n\"は存在しません", 'column "t.n" does not exist'),
        ("42703", "errorMissingColumn", "Spalte t.n existiert nicht", 'column "t.n" does not exist'),
        ("42601", "scanner_yyerror", "FEHLER:  Syntaxfehler bei »OR«", 'syntax error at or near "OR"'),
        ("42601", "scanner_yyerror", "\"OR\"またはその近辺で構文エラー", 'syntax error at or near "OR"'),
        ("42601", "scanner_yyerror", "Syntaxfehler am Ende der Eingabe", "syntax error at end of input"),
        ("42883", "op_error", "оператор не существует: text + integer", "operator does not exist: text + integer"),
        ("42883", "ParseFuncOrColumn", "関数instr(text, unknown)は存在しません", "function instr(text, unknown) does not exist"),
        ("42804", "transformAssignedExpr", "列\"done\"は型booleanですが、式は型integerでした",
         'column "done" is of type boolean but expression is of type integer'),
        ("42804", "select_common_type", "los tipos integer y text no son coincidentes en CASE",
         "CASE types integer and text cannot be matched"),
        ("42804", "coerce_to_boolean", "Argument von CASE/WHEN muss Typ boolean haben, nicht Typ text",
         "argument of CASE/WHEN must be type boolean, not type text"),
        ("22P02", "pg_strtoint32", "sintaxis de entrada no válida para tipo integer: «12abc»",
         'invalid input syntax for type integer: "12abc"'),
        ("22001", "varchar", "Wert zu lang für Typ character varying(5)", "value too long for type character varying(5)"),
        ("42883", "op_error", "operator does not exist: integer = text", "operator does not exist: integer = text"),
        ("42883", "ParseFuncOrColumn", "procedure f() does not exist", "procedure f() does not exist"),
        ("42804", "select_common_type", "FEHLER:  etwas Neues", "FEHLER:  etwas Neues"),
        ("XX000", "anything", "FEHLER:  etwas {Neues}", "FEHLER:  etwas {Neues}"),
    ],
)  # fmt: skip
def test_messages_of_a_server_that_speaks_another_language(
    sqlstate: str, routine: str, message: str, english: str
) -> None:
    """The wordings are those of PostgreSQL's own translations."""
    assert in_english(failure(sqlstate, routine, message)) == english
