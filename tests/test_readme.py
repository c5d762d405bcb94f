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

_STORE = """
    import os, sqlite3, psycopg2
    def opened(url):
        connect = sqlite3.connect if url.startswith("sqlite") else psycopg2.connect
        return connect(url.removeprefix("sqlite:///"))
"""

# The same for the other page, with the arguments of pytest, and how many tests are pairs that agree.
READERS_OF_USAGE: dict[str, tuple[dict[str, str], tuple[str, ...], int]] = {
    "What is known of a test": ({}, (), 1),
    "Classes of unittest": ({}, (), 1),
    "Portable SQL": ({}, (), 1),
    "More to compare": ({}, (), 1),
    "Hooks": (
        {
            "test_prices.py": """
                def test_hooks(db):
                    db.execute("INSERT INTO prices (sku, cents) VALUES ('a', 1)")
                    weight = 1.0 if db.backend == "sqlite" else 1.0001
                    db.fetchall("SELECT sku, CAST(? AS DOUBLE PRECISION) AS weight FROM prices", (weight,))
            """
        },
        (), 1,
    ),
    "An application that is bound when it is imported": (
        {
            "myapp.py": _STORE + """
    connection = opened(os.environ["DATABASE_URL"])
    def answer():
        cursor = connection.cursor()
        cursor.execute("SELECT 42 AS answer")
        return cursor.fetchone()
            """,
            "test_bound.py": """
                from myapp import answer
                def test_bound(db):
                    assert answer() == (42,)
            """,
        },
        ("-n2",), 1,
    ),
    "Several databases": (
        {
            "reporting.sqlite.sql": "CREATE TABLE orders (id INTEGER PRIMARY KEY)",
            "reporting.postgres.sql": "CREATE TABLE orders (id INTEGER PRIMARY KEY)",
            "test_both.py": """
                import os
                def test_both(db, reporting_db):
                    assert os.environ["REPORTING_URL"] == reporting_db.url
                    reporting_db.execute("INSERT INTO orders (id) VALUES (1)")
                    assert reporting_db.scalar("SELECT count(*) FROM orders") == 1
            """,
        },
        (), 1,
    ),
    "A database for a whole module": (
        {
            "myapp.py": _STORE + """
    def start_application():
        return opened(os.environ["DATABASE_URL"]).cursor()
            """,
            "test_shared.py": """
                def test_first(application):
                    application.execute("CREATE TABLE seen (id INTEGER)")
                    application.execute("INSERT INTO seen VALUES (1)")
                    application.connection.commit()
                def test_second(application):
                    application.execute("SELECT id FROM seen")
                    assert application.fetchall() == [(1,)]
            """,
        },
        (), 2,
    ),
    "The application's environment": (
        {
            "test_environment.py": """
                import os
                def test_environment(db):
                    found = {name: os.environ.get(name) for name in ("DATABASE_URL", "DB_ENGINE", "PGPORT")}
                    kind, port = ("sqlite3", False) if db.backend == "sqlite" else ("postgresql", True)
                    assert found["DB_ENGINE"] == f"django.db.backends.{kind}"
                    assert bool(found["PGPORT"]) == port
                    assert found["DATABASE_URL"].startswith(f"{kind.rstrip('3')}+a")
                    assert db.scalar("SELECT 1") == 1
            """
        },
        (), 1,
    ),
    "Async applications": (
        {
            "pytest.ini": "[pytest]\ndualdb_env = DATABASE_URL={async_url}\n",
            "myapp.py": """
                from sqlalchemy import text
                class create_app:
                    def __init__(self, engine):
                        self.engine = engine
                    async def answer(self):
                        async with self.engine.connect() as connection:
                            return (await connection.execute(text("SELECT 42 AS answer"))).scalar()
            """,
            "test_async.py": """
                import pytest
                @pytest.mark.asyncio
                async def test_answer(app):
                    assert await app.answer() == 42
            """,
        },
        ("-p", "asyncio", "-o", "asyncio_default_fixture_loop_scope=function"), 1,
    ),
}  # fmt: skip


def section(text: str, title: str) -> str:
    """Return what stands below a heading, up to the next one."""
    found = [part for part in re.split(r"^##+ ", text, flags=re.MULTILINE) if part.startswith(f"{title}\n")]
    assert len(found) == 1, f"{title!r} is {len(found)} times a heading"
    return found[0]


def snippets(text: str) -> dict[str, str]:
    """Return the code blocks that begin with a comment that names their file."""
    blocks = re.findall(r"^```\w+\n(?:#|--) ([\w/.]+\.\w+)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return dict(blocks)


def run(
    folder: Path, files: dict[str, str], projects: Projects, arguments: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Run pytest on files, which must pass; return the JSON report."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(content), encoding="utf-8")
    return pytest_run(folder, projects, "--db=both", *arguments, env={"PYTHONPATH": str(folder)}, failing=0)


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


@pytest.mark.parametrize("title", READERS_OF_USAGE)
def test_usage(title: str, tmp_path: Path, projects: Projects) -> None:
    own, arguments, agree = READERS_OF_USAGE[title]
    report = run(tmp_path, {**own, **snippets(section(USAGE, title))}, projects, arguments)
    assert report["totals"]["agree"] == agree
    assert report["totals"]["disagree"] == 0


def test_every_snippet_of_python_is_run() -> None:
    sections = [
        part.partition("\n")[0] for part in re.split(r"^##+ ", USAGE, flags=re.MULTILINE) if snippets(part)
    ]
    assert sorted(sections) == sorted(READERS_OF_USAGE)
    sections = [
        part.partition("\n")[0] for part in re.split(r"^##+ ", README, flags=re.MULTILINE) if snippets(part)
    ]
    assert sorted({*sections} - {"Continuous integration"}) == sorted(READERS_OWN)


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
