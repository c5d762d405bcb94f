"""What the documentation says is so: its commands, its snippets, its tables, the example's findings."""

from __future__ import annotations

import json
import re
import subprocess
import textwrap
from pathlib import Path
from typing import Any

import pytest
from projects import SECONDS, Projects, command, environment

from pytest_dualdb.config import SETTINGS

REPOSITORY = Path(__file__).parent.parent
README = (REPOSITORY / "README.md").read_text(encoding="utf-8")
USAGE = (REPOSITORY / "docs" / "usage.md").read_text(encoding="utf-8")
EXAMPLE = (REPOSITORY / "examples" / "README.md").read_text(encoding="utf-8")

# What the reader of a section already has: the application that its snippets import.
READERS_OWN = {
    "Plain SQL": {},
    "SQLAlchemy": {
        "myapp/__init__.py": "",
        "myapp/models.py": """
            from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
            class Base(DeclarativeBase): pass
            class User(Base):
                __tablename__ = "users"
                id: Mapped[int] = mapped_column(primary_key=True)
                name: Mapped[str]
        """,
        "test_users.py": """
            from myapp.models import User
            def test_search(session):
                session.add(User(name="Ada"))
                session.commit()
                assert session.query(User.name).filter(User.name.like("a%")).all() != [("Bob",)]
        """,
    },
    "An application that opens its own connections": {
        "myapp.py": """
            import os, sqlite3, psycopg2
            class App:
                def __init__(self, url):
                    connect = sqlite3.connect if url.startswith("sqlite") else psycopg2.connect
                    self.connection = connect(url.removeprefix("sqlite:///"))
                def search(self, pattern):
                    cursor = self.connection.cursor()
                    cursor.execute(f"SELECT name FROM users WHERE name LIKE '{pattern}'")
                    return cursor.fetchall()
                def close(self):
                    self.connection.close()
            def create_app():
                return App(os.environ["DATABASE_URL"])
        """,
        "test_users.py": """
            def test_search(app):
                app.connection.cursor().execute("INSERT INTO users (name) VALUES ('Ada')")
                app.search("a%")
        """,
        "schema.sqlite.sql": "CREATE TABLE users (name TEXT)",
        "schema.postgres.sql": "CREATE TABLE users (name TEXT)",
    },
}


def section(text: str, title: str) -> str:
    """Return what stands below a heading, up to the next one."""
    found = [part for part in re.split(r"^##+ ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n")]
    assert len(found) == 1, f"{title!r} is {len(found)} times a heading"
    return found[0]


def snippets(text: str) -> dict[str, str]:
    """Return the code blocks that begin with a comment that names their file."""
    blocks = re.findall(r"^```\w+\n(?:#|--) ([\w/.]+\.\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(blocks)


def run(folder: Path, files: dict[str, str], projects: Projects) -> dict[str, Any]:
    """Run pytest on files, which must pass; return the JSON report."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(content), encoding="utf-8")
    return pytest_run(folder, projects, "--db=both", env={"PYTHONPATH": str(folder)}, failing=0)


def pytest_run(
    folder: Path, projects: Projects, *arguments: str, env: dict[str, str] | None = None, failing: int
) -> dict[str, Any]:
    file = projects.base / f"{folder.name}.json"
    done = subprocess.run(
        command(*arguments, f"--db-postgres={projects.postgres}", f"--db-report={file}"),
        cwd=folder, env=environment(env), capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL,
        timeout=SECONDS, check=False,
    )  # fmt: skip
    closing = done.stdout.rstrip().rpartition("\n")[2]
    counts = {what: int(count) for count, what in re.findall(r"(\d+) (passed|failed|error)", closing)}
    assert counts.get("failed", 0) == failing, done.stdout + done.stderr
    assert counts.get("passed"), done.stdout + done.stderr
    assert "error" not in counts, done.stdout + done.stderr
    report: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return report


def test_continuous_integration_runs_the_test_command() -> None:
    commands = re.findall(r"^python3 -m venv .*$", README, re.MULTILINE)
    assert len(commands) == 2
    assert f"run '{commands[1]}'\n" in (REPOSITORY / ".ci" / "run").read_text(encoding="utf-8")


def test_options_are_those_that_exist() -> None:
    rows = re.findall(r"^\| (?:`(--[\w-]+)`)? ?\| `(dualdb_\w+)` \| (?:`(\w+)`)? ?\|", README, re.MULTILINE)
    assert sorted(rows) == sorted((one.option, one.ini, one.environment) for one in SETTINGS)


@pytest.mark.parametrize("title", READERS_OWN)
def test_set_up(title: str, tmp_path: Path, projects: Projects) -> None:
    report = run(tmp_path, {**READERS_OWN[title], **snippets(section(README, title))}, projects)
    assert report["totals"]["disagree"] == report["totals"]["pairs"] == 1
    assert [issue["rule"] for issue in report["issues"]] == ["like-case"]


@pytest.mark.parametrize("title", ["Portable SQL", "More to compare"])
def test_usage(title: str, tmp_path: Path, projects: Projects) -> None:
    report = run(tmp_path, snippets(section(USAGE, title)), projects)
    assert report["totals"]["agree"] == report["totals"]["pairs"] == 1


def test_example_finds_what_its_table_says(projects: Projects) -> None:
    folder = REPOSITORY / "examples" / "fieldservice"
    report = pytest_run(folder, projects, "--db=both", "--tb=no", failing=14)
    # each row: place, what is wrong there, tests that fail on PostgreSQL, tests that pass though it differs
    rows = [line.split("|") for line in EXAMPLE.splitlines() if line.count("|") == 5]
    expected = {name for row in rows for name in re.findall(r"`(test_\w+)`", " ".join(row[3:]))}
    assert len(expected) == 25
    differ = {test["id"].rpartition("::")[2] for test in report["tests"] if test["verdict"] != "agree"}
    assert differ == expected
    assert {"pairs": 92, "agree": 67}.items() <= report["totals"].items()

    picture = re.search(r"^```\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)
    assert picture
    shown = re.findall(r"^(?:CRITICAL|HIGH|MEDIUM|LOW) +([a-z][a-z-]+)", picture[1], re.MULTILINE)
    assert shown
    assert set(shown) <= {issue["rule"] for issue in report["issues"]}
