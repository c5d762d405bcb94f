"""Complete small projects, and how the tests run them: as a user does, in a process of its own.

A run of one project with the same arguments is made once: tests look at different sides of it.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
FASTER = "-p no:hypothesispytest -p no:pytest_postgresql -p no:asyncio -p no:randomly -p no:django"
"""Plugins that take longer to import than most inner runs take."""
SECONDS = 900
"""Longer than any inner run may take."""


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run of pytest on a copy of a project."""

    folder: Path
    status: int
    output: str
    errors: str
    report: dict[str, Any] = field(default_factory=dict)

    def test(self, name: str) -> dict[str, Any]:
        """Return what the JSON report says of the test whose id ends in ``name``."""
        found = [test for test in self.report["tests"] if test["id"].rpartition("::")[2] == name]
        assert len(found) == 1, f"{name} is {len(found)} times in the report\n{self.output}{self.errors}"
        return found[0]  # type: ignore[no-any-return]

    def kinds(self, name: str) -> set[tuple[str, str]]:
        """Return kind and severity of the divergences that stand for themselves in a test."""
        return {(d["kind"], d["severity"]) for d in self.test(name)["divergences"] if d["primary"]}

    def lines(self, start: str) -> list[str]:
        return [line for line in self.output.splitlines() if line.startswith(start)]

    @property
    def text(self) -> str:
        return self.output + self.errors


class Projects:
    """Copies projects, runs pytest in them, and keeps what came of it."""

    def __init__(self, base: Path, postgres: str) -> None:
        self.base = base
        self.postgres = postgres
        self._runs: dict[Any, Run] = {}

    def run(
        self, name: str, *arguments: str, env: Mapping[str, str] | None = None, server: bool = True
    ) -> Run:
        """Run pytest with a JSON report on the tests' own server; ``server=False`` leaves the server open."""
        key = (name, arguments, tuple((env or {}).items()), server)
        if key not in self._runs:
            self._runs[key] = self._run(self.copy(name), arguments, env or {}, server)
        return self._runs[key]

    def copy(self, name: str) -> Path:
        folder = self.base / f"{name}{len(list(self.base.iterdir()))}"
        shutil.copytree(_HERE / name, folder, ignore=shutil.ignore_patterns("__pycache__"))
        return folder

    def _run(self, folder: Path, arguments: tuple[str, ...], env: Mapping[str, str], server: bool) -> Run:
        given = [f"--db-postgres={self.postgres}"] if server else []
        done = subprocess.run(
            command(*given, "--db-report=report.json", *arguments), cwd=folder, env=environment(env),
            capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, timeout=SECONDS, check=False,
        )  # fmt: skip
        file = folder / "report.json"
        report = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        return Run(folder, done.returncode, done.stdout, done.stderr, report)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of an inner run: nothing of the outer run's settings."""
    outer = ("PYTEST_", "DUALDB_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(outer)}
    return {**kept, "PYTEST_ADDOPTS": FASTER, "PYTHONIOENCODING": "utf-8", "COLUMNS": "100", **(more or {})}
