"""The JSON report, format version 1. Other programs read it: what it holds changes only with the version.

A run on one backend adds the key ``recordings``, from which ``dualdb compare`` makes the report of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pytest_dualdb.compare import Divergence
from pytest_dualdb.encoding import row_values, value_to_json
from pytest_dualdb.recording import (
    MAX_STATEMENT_CHARACTERS,
    Site,
    Statement,
    TableState,
    catalog_to_json,
    cut_params,
    state_to_json,
)
from pytest_dualdb.report import FORMAT_VERSION, Allowance, Half, Issue, Report, TestResult, without_passwords
from pytest_dualdb.rules import Diagnosis

MAX_ROWS = 50
"""Rows of a statement shown in the report."""


def render(report: Report) -> str:
    """Return the report as JSON text that any encoding of Unicode can hold."""
    data = as_dict(report)
    text = json.dumps(data, ensure_ascii=False, indent=1)
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair: SQLite stores such text, no file can
        text = json.dumps(data, indent=1)
    return text + "\n"


def as_dict(report: Report) -> dict[str, Any]:
    """Return the report as plain JSON values."""
    meta = report.meta
    data: dict[str, Any] = {
        "format_version": FORMAT_VERSION,
        "meta": {
            "version": meta.version,
            "started": meta.started,
            "seconds": round(meta.seconds, 3),
            "sqlite": {"version": meta.sqlite},
            "postgres": {
                "version": meta.postgres,
                "source": without_passwords(meta.source),
                "collation": meta.collation,
            },
            "isolation": meta.isolation,
        },
        "totals": {
            "pairs": len(report.tests),
            "agree": report.count("agree"),
            "disagree": report.count("disagree"),
            "not_comparable": report.count("not-comparable"),
            "issues": report.severities(),
        },
        "issues": [_issue(issue) for issue in report.issues],
        "tests": [_test(test) for test in report.tests],
    }
    if report.only:
        data["only"] = [_test(test) for test in report.only]
    if report.stale:
        data["stale_allowances"] = [
            {"rule": one.rule, "reason": one.reason, "where": one.where} for one in report.stale
        ]
    if report.recordings:
        data["backends"] = list(meta.backends)
        data["recordings"] = [_masked(recording.to_json()) for recording in report.recordings]
        templates: Mapping[str, Mapping[str, TableState]] = report.context.get("templates", {})
        data["templates"] = {backend: _masked(state_to_json(state)) for backend, state in templates.items()}
        data["catalogs"] = {
            backend: catalog_to_json(catalog)
            for backend, catalog in report.context.get("catalogs", {}).items()
        }
    return data


def _masked(data: Any) -> Any:
    """Return plain JSON values with the passwords in all their texts replaced."""
    if isinstance(data, str):
        return without_passwords(data)
    if isinstance(data, list):
        return [_masked(item) for item in data]
    if isinstance(data, dict):
        return {key: _masked(item) for key, item in data.items()}
    return data


def _issue(issue: Issue) -> dict[str, Any]:
    return {
        "rule": issue.rule,
        "severity": issue.severity,
        "title": issue.title,
        "message": without_passwords(issue.message),
        "instead": issue.instead,
        "sites": [_site(site) for site in issue.sites],
        "tests": list(issue.tests),
        "hides": issue.hides,
    }


def _test(test: TestResult) -> dict[str, Any]:
    return {
        "id": test.id,
        "verdict": test.verdict,
        "reason": without_passwords(test.reason),
        "sqlite": _half(test.sqlite),
        "postgres": _half(test.postgres),
        "divergences": [_divergence(diagnosis, test.allowance(diagnosis)) for diagnosis in test.diagnoses],
        **({"unsteady": list(test.unsteady)} if test.unsteady else {}),
        **({"shared": list(test.shared)} if test.shared else {}),
    }


def _half(half: Half | None) -> dict[str, Any] | None:
    if half is None:
        return None
    return {
        "nodeid": half.nodeid,
        "outcome": half.outcome,
        "seconds": round(half.seconds, 6),
        "sql_seconds": round(half.sql_seconds, 6),
        "statements": half.statements,
        "failure": None if half.failure is None else without_passwords(half.failure),
    }


def _divergence(diagnosis: Diagnosis, allowance: Allowance | None) -> dict[str, Any]:
    divergence = diagnosis.divergence
    data: dict[str, Any] = {
        "kind": divergence.kind,
        "severity": diagnosis.severity,
        "rule": diagnosis.rule,
        "primary": diagnosis.primary,
        "table": divergence.table,
        "statement": _pair(divergence),
        "message": without_passwords(divergence.message),
    }
    if allowance is not None:
        data["allowed"] = allowance.reason
    return data


def _pair(divergence: Divergence) -> dict[str, Any] | None:
    shown = divergence.site_statement
    if shown is None:
        return None
    return {
        "site": _site(shown.site),
        "sqlite": _statement(divergence.sqlite),
        "postgres": _statement(divergence.postgres),
    }


def _site(site: Site | None) -> dict[str, Any] | None:
    return None if site is None else {"path": site.path, "line": site.line, "function": site.function}


def _statement(statement: Statement | None) -> dict[str, Any] | None:
    if statement is None:
        return None
    error = statement.error
    return {
        "sql": without_passwords(statement.sql[:MAX_STATEMENT_CHARACTERS]),
        "params": _masked(value_to_json(cut_params(statement.params))),
        "columns": None if statement.columns is None else _masked(list(statement.columns)),
        "rows": [[_masked(value_to_json(v)) for v in row_values(row)] for row in statement.rows[:MAX_ROWS]],
        "rowcount": statement.rowcount,
        "error": None
        if error is None
        else {
            "class": error.short_name,
            "sqlstate": error.sqlstate,
            "message": without_passwords(error.message),
        },
    }
