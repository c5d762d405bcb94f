"""Other plugins in the same run: halves stay halves, and pairs are joined once."""

from __future__ import annotations

import re

import pytest
from projects import Projects, Run
from test_plugin import WORKERS


def run(projects: Projects, *arguments: str) -> Run:
    return projects.run("plugins", "--db=both", "-p", "pytest_asyncio.plugin", *arguments)


def verdicts(run: Run) -> dict[str, str]:
    return {test["id"].rpartition("::")[2]: test["verdict"] for test in run.report["tests"]}


@WORKERS
def test_asyncio_and_anyio(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_async.py", "-p", "no:randomly", *workers)
    assert done.status == 0, done.text
    assert verdicts(done) == {"test_asyncio": "agree", "test_anyio[asyncio]": "agree"}


@WORKERS
def test_a_repeated_half_counts_once_as_it_was_last(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_flaky.py", "--reruns=1", *workers)
    assert done.status == 0, done.text
    assert "2 rerun" in done.output
    assert verdicts(done) == {"test_flaky[sqlite]": "agree", "test_flaky[postgres]": "agree"}, done.text


@pytest.mark.parametrize("workers", [("-n2",), ()], ids=["n2", "n0"])
def test_a_timeout_is_a_failing_half(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_slow.py", "--timeout-method=signal", *workers)
    assert done.status == 1
    assert verdicts(done) == {"test_slow": "disagree", "test_after": "agree"}, done.text
    assert "Timeout" in done.test("test_slow")["postgres"]["failure"]


def test_a_timeout_that_ends_the_worker_is_said(projects: Projects) -> None:
    done = run(projects, "test_slow.py", "--timeout-method=thread", "-n2")
    assert done.status == 1
    assert done.test("test_slow")["reason"] == "the PostgreSQL half crashed its worker", done.text
    assert verdicts(done)["test_after"] == "agree"


@WORKERS
def test_coverage(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_many.py", "--cov=app", *workers)
    assert done.status == 0, done.text
    assert set(verdicts(done).values()) == {"agree"}
    assert re.search(r"^app\.py .* \d+%", done.output, re.MULTILINE)


def test_groups_of_pytest_split_hold_whole_pairs(projects: Projects) -> None:
    groups = [run(projects, "test_many.py", "--splits=3", f"--group={number}") for number in (1, 2, 3)]
    found = [set(verdicts(group)) for group in groups]
    assert sum(map(len, found)) == len(set.union(*found)) == 8
    assert all(group.status == 0 and set(verdicts(group).values()) <= {"agree"} for group in groups)


@WORKERS
def test_a_mocked_driver_says_nothing(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_mocked.py", *workers)
    assert done.status == 0, done.text
    assert verdicts(done) == {"test_mocked": "not-comparable", "test_drivers_are_back": "agree"}
    assert done.test("test_mocked")["reason"].startswith(
        "no statement reached either database: none was sent, or through a mock"
    )


@pytest.mark.parametrize("mode", ["load", "loadscope", "loadfile", "loadgroup", "worksteal", "each"])
def test_modes_of_distribution(projects: Projects, mode: str) -> None:
    number = ("--tx=2*popen",) if mode == "each" else ("-n2",)
    done = run(projects, "test_many.py", "test_async.py", *number, f"--dist={mode}", "-p", "no:randomly")
    assert done.status == 0, done.text
    assert len(verdicts(done)) == 10
    assert set(verdicts(done).values()) == {"agree"}, done.text


@WORKERS
def test_web_servers_in_threads(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(projects, "test_web.py", *workers)
    assert done.status == 0, done.text
    assert verdicts(done) == {"test_a_server_in_a_thread": "agree"}
    assert done.test("test_a_server_in_a_thread")["sqlite"]["statements"] > 0


@WORKERS
def test_shuffled_halves_are_joined(projects: Projects, workers: tuple[str, ...]) -> None:
    done = run(
        projects, "test_many.py", "test_mocked.py", "-p", "pytest_randomly", "-p", "no:xprocess", *workers
    )
    assert done.status == 0, done.text
    assert "randomly-seed=" in done.output
    assert sorted(set(verdicts(done).values())) == ["agree", "not-comparable"]
    assert len(verdicts(done)) == 10


@WORKERS
def test_pytest_django_without_a_project_is_not_in_the_way(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch, workers: tuple[str, ...]
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makepyfile("def test_it(db): assert db.scalar('SELECT 1') == 1")
    result = pytester.runpytest_subprocess("--db=both", "-p", "no:randomly", *workers)
    result.assert_outcomes(passed=2)
    result.stdout.fnmatch_lines(["1 pair: agrees*"])


def test_pytest_django_keeps_its_db_for_its_project(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nDJANGO_SETTINGS_MODULE = settings_of_the_project")
    pytester.makepyfile(
        settings_of_the_project="""
        DATABASES = {"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}}
        """
    )
    pytester.syspathinsert()
    pytester.makepyfile(
        """
        from django.db import connection

        def test_it(db):
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                assert cursor.fetchone() == (1,)
        """
    )
    result = pytester.runpytest_subprocess("-p", "no:randomly")
    result.assert_outcomes(passed=1)
    result = pytester.runpytest_subprocess("--db=both")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*the plugin pytest-django has a fixture db as well; * add -p no:*"])
