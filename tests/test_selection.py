"""Choosing tests and turning parts of pytest off: halves stay halves, and pairs are joined."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from projects import Projects
from test_plugin import WORKERS


@pytest.fixture
def folder(pytester: pytest.Pytester) -> Path:
    pytester.makeconftest(
        """
        def pytest_dualdb_setup(db):
            db.executescript("CREATE TABLE item (id INTEGER)")
        """
    )
    pytester.makepyfile(
        """
        import pytest

        def test_first(db):
            assert db.scalar("SELECT count(*) FROM item") == 0

        @pytest.mark.slow
        @pytest.mark.parametrize("value", ["sqlite", "postgres", "a@b"])
        def test_fails_on_postgres(db, value):
            assert db.scalar("SELECT count(*) FROM item") == 0
            assert db.backend == "sqlite" or value != "a@b"

        @pytest.mark.parametrize("value", ["x-sqlite", "x-postgres"])
        def test_plain(value):
            assert value
        """
    )
    pytester.makeini("[pytest]\nmarkers = slow: it takes long\n")
    return pytester.path


@WORKERS
def test_a_failing_half_brings_its_partner(
    pytester: pytest.Pytester, projects: Projects, folder: Path, workers: tuple[str, ...]
) -> None:
    given = ("--db=both", f"--db-postgres={projects.postgres}", "--db-report=report.json", *workers)
    pytester.runpytest_subprocess(*given).assert_outcomes(passed=9, failed=1)
    result = pytester.runpytest_subprocess(*given, "--lf")
    result.assert_outcomes(passed=1, failed=1)
    report = json.loads((folder / "report.json").read_text())
    assert [test["verdict"] for test in report["tests"]] == ["disagree"]
    # the partner was no failure, and does not become one
    result = pytester.runpytest_subprocess(*given, "--lf", "-k", "sqlite and not plain")
    result.assert_outcomes(passed=1)
    cached = json.loads((folder / ".pytest_cache" / "v" / "cache" / "lastfailed").read_text())
    assert list(cached) == ["test_a_failing_half_brings_its_partner.py::test_fails_on_postgres[a@b-postgres]"]
    if not workers:
        result = pytester.runpytest_subprocess(*given, "--ff", "-v")
        order = [
            line.split()[0].rpartition("::")[2]
            for line in result.outlines
            if " PASSED " in line or " FAILED " in line
        ]
        assert order[:3] == [
            "test_fails_on_postgres[a@b-sqlite]", "test_fails_on_postgres[a@b-postgres]", "test_first[sqlite]",
        ]  # fmt: skip


@WORKERS
@pytest.mark.parametrize(
    ("arguments", "passed", "failed", "pairs", "alone"),
    [
        (("-p", "no:cacheprovider"), 9, 1, 4, 0),
        (("-p", "no:terminal"), 9, 1, 4, 0),
        (("-q",), 9, 1, 4, 0),
        (("-m", "slow"), 5, 1, 3, 0),
        (("-m", "not slow"), 4, 0, 1, 0),
        (("-k", "first"), 2, 0, 1, 0),
        (("--deselect", "{file}::test_fails_on_postgres[a@b-postgres]"), 9, 0, 4, 1),
        (("-k", "first and postgres"), 1, 0, 1, 1),
    ],
)
def test_selections(
    pytester: pytest.Pytester, projects: Projects, folder: Path, workers: tuple[str, ...],
    arguments: tuple[str, ...], passed: int, failed: int, pairs: int, alone: int,
) -> None:  # fmt: skip
    file = next(folder.glob("test_*.py")).name
    given = ("--db=both", f"--db-postgres={projects.postgres}", "--db-report=report.json", *workers)
    result = pytester.runpytest_subprocess(*given, *(one.replace("{file}", file) for one in arguments))
    assert result.ret == (1 if failed else 0), result.stdout.str()
    if "no:terminal" not in arguments:
        result.assert_outcomes(passed=passed, failed=failed, deselected=None)
    report = json.loads((folder / "report.json").read_text())
    assert report["totals"]["pairs"] == pairs
    reasons = [test["reason"] for test in report["tests"] if test["verdict"] == "not-comparable"]
    assert len(reasons) == alone
    assert all(reason.endswith("half was deselected") for reason in reasons)


@WORKERS
def test_exitfirst_ends_with_what_there_is(
    pytester: pytest.Pytester, projects: Projects, workers: tuple[str, ...]
) -> None:
    pytester.makepyfile(
        """
        def test_it(db):
            assert db.scalar("SELECT 2") == 1

        def test_later(db):
            assert db.scalar("SELECT 1") == 1
        """
    )
    given = ("--db=both", f"--db-postgres={projects.postgres}", "-x", *workers)
    result = pytester.runpytest_subprocess(*given)
    assert result.ret != 0
    assert "database parity" in result.stdout.str()
    assert "INTERNALERROR" not in result.stdout.str()
    if not workers:
        result.stdout.fnmatch_lines(["*NOTHING WAS COMPARED: the PostgreSQL half did not run*"])


@pytest.mark.parametrize(
    "arguments", [("--setup-plan",), ("--setup-only",), ("--setup-show",), ("-p", "no:xdist")]
)
def test_modes_of_pytest(
    pytester: pytest.Pytester, projects: Projects, folder: Path, arguments: tuple[str, ...]
) -> None:
    result = pytester.runpytest_subprocess(
        "--db=both", f"--db-postgres={projects.postgres}", *arguments, "-v"
    )
    assert "INTERNALERROR" not in result.stdout.str() + result.stderr.str()
    assert result.ret == (1 if arguments[0] in ("--setup-show", "-p") else 0), result.stdout.str()


def test_a_half_by_its_node_id(pytester: pytest.Pytester, projects: Projects, folder: Path) -> None:
    file = next(folder.glob("test_*.py")).name
    given = ("--db=both", f"--db-postgres={projects.postgres}", "-v")
    result = pytester.runpytest_subprocess(
        *given, f"{file}::test_first[postgres]", f"{file}::test_first[sqlite]"
    )
    result.stdout.fnmatch_lines(["1 pair: agrees*"])
