"""Databases of failed halves are kept as they were left, on files and on both kinds of server."""

from __future__ import annotations

import contextlib
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import psycopg2
import pytest
from projects import Projects, Run, environment

from pytest_dualdb import kept
from pytest_dualdb.server import Server, ServerError

OWN = "--db-postgres=auto"
FAILED = {
    "test_fails[a b-sqlite]": [1, 3],
    "test_fails[a b-postgres]": [1, 3],
    r"test_fails[\xfc-sqlite]": [1, 3],
    r"test_fails[\xfc-postgres]": [1, 3],
    "test_fails_on_postgres[postgres]": [1, 4],
    "test_fails_at_its_end[sqlite]": [1, 5],
    "test_fails_at_its_end[postgres]": [1, 5],
    "test_unchanged[postgres]": [1],
}
"""The numbers in the table `seed` of each half that failed: what was committed."""


def commands(run: Run) -> dict[str, list[str]]:
    """Return the commands of the summary by the half that they belong to."""
    lines = iter(run.output[run.output.index("kept databases ==") :].splitlines()[1:])
    found = {}
    for line in lines:
        if not line.startswith("test_kept.py::"):
            break
        found[line.removeprefix("test_kept.py::")] = shlex.split(next(lines))
    return found


def numbers(run: Run, command: list[str]) -> list[int]:
    """Return what is in the table `seed`, by the command that the summary gives."""
    query = "SELECT n FROM seed ORDER BY n"
    if command[0] == "sqlite3":
        with contextlib.closing(sqlite3.connect(run.folder / command[1])) as connection:
            return [n for (n,) in connection.execute(query)]
    if command[0] == "psql":
        with contextlib.closing(psycopg2.connect(command[1])) as server, server.cursor() as cursor:
            cursor.execute(query)
            return [n for (n,) in cursor.fetchall()]
    done = subprocess.run(
        [sys.executable, "-m", "pytest_dualdb", *command[1:]], input=f"COPY ({query}) TO STDOUT", cwd=run.folder,
        env=environment(), capture_output=True, encoding="utf-8", timeout=60, check=True,
    )  # fmt: skip
    return [int(word) for word in done.stdout.split()]


@pytest.mark.parametrize(
    ("arguments", "samples"),
    [((), 8), (("-n2", "--db-isolation=clone"), 2), (("--db-isolation=rollback",), 2)],
    ids=["reset", "clone-n2", "rollback"],
)
def test_failed_halves_are_kept_of_a_server_of_ours(
    projects: Projects, arguments: tuple[str, ...], samples: int
) -> None:
    run = projects.run("kept", "--db=both", OWN, *arguments, server=False)
    assert "6 failed, 6 passed, 2 xfailed, 2 errors" in run.output
    found = commands(run)
    assert set(found) == set(FAILED), run.output
    for test in [*FAILED][-samples:]:
        assert numbers(run, found[test]) == FAILED[test], test
    (folder,) = (path for path in (run.folder / kept.FOLDER).iterdir() if path.is_dir())
    assert "They stay until the next run that keeps some (.pytest_dualdb)." in run.output
    assert (folder.parent / ".gitignore").read_text().endswith("\n*\n")


def names(server: Server) -> set[str]:
    dsn = server.dsn(server.maintenance)
    with contextlib.closing(psycopg2.connect(dsn)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE starts_with(datname, 'dualdb_kept_')")
        return {name for (name,) in cursor.fetchall()}


def test_failed_halves_are_kept_on_a_given_server_until_the_next(
    projects: Projects, postgres_server: Server
) -> None:
    before = names(postgres_server)
    run = projects.run("kept", "--db=postgres")
    found = commands(run)
    assert set(found) == {test for test in FAILED if "postgres" in test}
    assert {test: numbers(run, command) for test, command in found.items()} == {t: FAILED[t] for t in found}
    first = names(postgres_server) - before
    assert len(first) == len(found)

    def again(*arguments: str) -> set[str]:
        """Run once more in the same folder; return the databases that are kept then."""
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--db=postgres",
             f"--db-postgres={projects.postgres}", *arguments],
            cwd=run.folder, env=environment(), capture_output=True, timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode in (0, 1)
        return names(postgres_server) - before

    assert again("-k", "passes") == first, "a run that keeps nothing takes nothing away"
    (second,) = again("-k", "on_postgres")
    assert second not in first
    with contextlib.closing(psycopg2.connect(postgres_server.dsn(second))):
        third = again("-k", "unchanged")
        assert second in third, "somebody looks at it"
    (fourth,) = again("-k", "unchanged")
    with contextlib.closing(psycopg2.connect(postgres_server.dsn(postgres_server.maintenance))) as server:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(f'DROP DATABASE "{fourth}"')


def test_all_halves_are_kept_if_asked_for(projects: Projects) -> None:
    run = projects.run("kept", "--db=sqlite", "--db-keep=all", "-k", "passes or unchanged")
    assert {test: numbers(run, command) for test, command in commands(run).items()} == {
        "test_passes[sqlite]": [1, 2], "test_unchanged[sqlite]": [1],
    }  # fmt: skip


def test_what_can_not_be_kept_is_said(projects: Projects, tmp_path: Path) -> None:
    folder = projects.copy("kept")
    (folder / kept.FOLDER).write_text("a file is in the way")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--db=sqlite"],
        cwd=folder, env=environment(), capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip
    assert "test_kept.py::test_fails[a b-sqlite] and 2 more: not kept: [Errno" in done.stdout, done.stdout


def test_a_worker_keeps_no_more_than_is_of_use(tmp_path: Path) -> None:
    shelf = kept.Shelf(tmp_path, "0123abcd", lambda run, folder: True)
    assert {shelf.place("sqlite") for _ in range(kept.MOST)} == {tmp_path / kept.FOLDER / "0123abcd"}
    assert shelf.place("sqlite") is None
    assert shelf.place("postgres") is not None
    shelf.close()


def test_only_folders_of_finished_runs_go(tmp_path: Path) -> None:
    shelves = [
        kept.Shelf(tmp_path, run, lambda run, folder: run != "cccccccc")
        for run in ("aaaaaaaa", "bbbbbbbb", "cccccccc", "dddddddd")
    ]
    for number, shelf in enumerate(shelves):
        shelf.place("sqlite")
        if number:
            shelf.close()
    (tmp_path / kept.FOLDER / "notes").mkdir()
    kept.Shelf(tmp_path, "eeeeeeee", lambda run, folder: run != "cccccccc").place("sqlite")
    left = {path.name for path in (tmp_path / kept.FOLDER).iterdir()}
    assert left == {".gitignore", "notes", "aaaaaaaa", "cccccccc", "eeeeeeee"}
    shelves[0].close()


def test_a_file_that_holds_no_cluster(tmp_path: Path) -> None:
    for content, words in ((None, "can't be read: No such file"), (b"x", "holds no databases of yours")):
        path = tmp_path / "postgres.cluster"
        if content:
            path.write_bytes(content)
        with pytest.raises(ServerError, match=words):
            kept.open_cluster(path)
