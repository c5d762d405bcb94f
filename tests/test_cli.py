"""The command ``dualdb``, run as a user runs it, against real databases."""

from __future__ import annotations

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from pytest_dualdb.cli import main
from pytest_dualdb.rules import all_rules
from pytest_dualdb.server import Server, open_server

CHECKS = ["reached", "collation", "first query", "round trip", "five connections"]


def environment(**more: str) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "DUALDB", "PYTEST"))
    }
    return {**kept, "COLUMNS": "80", "PYTHONIOENCODING": "utf-8", **more}


def dualdb(*arguments: object, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest_dualdb", *map(str, arguments)],
        cwd=cwd, env=environment(**more), capture_output=True, encoding="utf-8", timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    """A server as a team has one: it listens on TCP, and the command is given its address."""
    with open_server("embedded", listen="tcp") as running:
        yield running.server


def query(server: Server, sql: str) -> list[Any]:
    with closing(psycopg2.connect(server.dsn("postgres"))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            return cursor.fetchall() if cursor.description else []


def databases(server: Server) -> list[str]:
    return [name for (name,) in query(server, "SELECT datname FROM pg_database ORDER BY 1")]


# ------------------------------------------------------------------------------------------------ the command


def test_the_start_imports_no_driver_parser_or_report(tmp_path: Path) -> None:
    code = (
        "import sys; from pytest_dualdb.cli import main; main(['--help'])\n"
        "heavy = {'psycopg2', 'sqlglot', 'pytest', 'xdist', 'pytest_dualdb.report', 'pytest_dualdb.rules'}\n"
        "print('imported:', sorted(heavy & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines()[-1] == "imported: []"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "required: COMMAND"),
        (["chek"], "invalid choice: 'chek'"),
        (["bench", "--rows", "0"], "expected a whole number from 1, not '0'"),
        (["bench", "--repeat", "many"], "expected a whole number from 1, not 'many'"),
        (["compare", "a.json"], "REPORT.json"),
        (["compare", "a.json", "b.json", "--fail-on", "worst"], "invalid choice: 'worst'"),
    ],
)
def test_wrong_usage_is_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_help_and_version_are_fine(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"dualdb \d+\.\d+\.\d+\S*\n", capsys.readouterr().out)
    assert main(["bench", "--help"]) == 0
    assert "--db-postgres" in capsys.readouterr().out


# ------------------------------------------------------------------------------------------------------ check


def test_check_of_an_empty_machine(tmp_path: Path) -> None:
    run = dualdb("check", "--db-postgres=embedded", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    heading = [line for line in run.stdout.splitlines() if line and not line.startswith(" ")]
    assert heading == ["SQLite", "PostgreSQL", "10 checks, all ok: pytest --db=both has what it needs"]
    steps = re.findall(r"^  (\w+(?: \w+)*) +(ok|FAIL) +\S", run.stdout, re.M)
    assert steps == [(name, "ok") for name in CHECKS] * 2
    assert f"SQLite {sqlite3.sqlite_version}, " in run.stdout
    assert re.search(r"PostgreSQL \d+\.\d+, embedded \(--db-postgres=embedded\)", run.stdout)
    assert re.search(
        r"first query +ok    [\d.]+ ms from start, [\d.]+ ms on a further connection", run.stdout
    )
    assert max(map(len, run.stdout.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == []


def test_check_of_a_given_server_leaves_no_trace(tmp_path: Path, server: Server) -> None:
    query(server, "CREATE DATABASE mine")
    before = databases(server)
    run = dualdb("check", f"--db-postgres={server.url('mine')}", "--json", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert found["ok"] is True
    for backend in ("sqlite", "postgres"):
        assert [step["name"] for step in found[backend]["checks"]] == CHECKS
        assert all(step["ok"] for step in found[backend]["checks"])
    assert found["sqlite"]["version"] == sqlite3.sqlite_version
    assert found["postgres"]["version"] == server.version
    assert found["postgres"]["collation"] == server.collation
    assert f"at 127.0.0.1:{server.port} (--db-postgres)" in found["postgres"]["checks"][0]["text"]
    assert server.password not in run.stdout + run.stderr
    assert databases(server) == before
    with closing(psycopg2.connect(server.dsn("mine"))) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT sum(n_tup_ins) FROM pg_stat_user_tables")
        assert cursor.fetchone() == (None,)


def test_check_says_what_to_do_about_an_unreachable_server(tmp_path: Path) -> None:
    run = dualdb("check", "--db-postgres=postgresql://me:secret@127.0.0.1:1/app", cwd=tmp_path)
    assert run.returncode == 1
    assert "  reached           FAIL  can't connect to 127.0.0.1:1: " in run.stdout
    assert "what to do: check that the server runs" in run.stdout
    assert run.stdout.splitlines()[-1] == "1 of 6 checks failed"
    assert "secret" not in run.stdout + run.stderr
    assert "Traceback" not in run.stderr


def test_check_reports_an_unreachable_server_as_json(tmp_path: Path) -> None:
    run = dualdb("check", "--json", cwd=tmp_path, DUALDB_POSTGRES="postgresql://me:secret@127.0.0.1:1/app")
    assert run.returncode == 1
    found = json.loads(run.stdout)
    assert (found["ok"], found["sqlite"]["ok"], found["postgres"]["ok"]) == (False, True, False)
    (step,) = found["postgres"]["checks"]
    assert (step["name"], step["ok"]) == ("reached", False)
    assert "what to do: " in step["text"]


def test_check_names_every_place_that_was_tried(tmp_path: Path) -> None:
    run = dualdb("check", "--db-postgres=system:99", cwd=tmp_path)
    assert run.returncode == 1
    assert "no usable PostgreSQL" in run.stdout
    assert "system: no binaries of PostgreSQL 99" in run.stdout
    assert run.stdout.count("what to do: ") == 1


def test_check_refuses_a_word_that_means_nothing(tmp_path: Path) -> None:
    run = dualdb("check", "--db-postgres=embeded", cwd=tmp_path)
    assert run.returncode == 2
    assert run.stderr.startswith(
        "dualdb check: --db-postgres: unknown PostgreSQL server 'embeded': expected auto,"
    )
    assert len(run.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("role", "options", "step", "message"),
    [
        ("plain", "LOGIN PASSWORD 'p' NOCREATEDB", "reached", "may not create databases"),
        ("few", "LOGIN PASSWORD 'p' CREATEDB CONNECTION LIMIT 4", "five connections", "too many connections"),
    ],
)
def test_check_names_what_a_role_may_not_do(
    tmp_path: Path, server: Server, role: str, options: str, step: str, message: str
) -> None:
    query(server, f"CREATE ROLE {role} {options}")
    before = databases(server)
    run = dualdb("check", "--json", cwd=tmp_path,
                 DUALDB_POSTGRES=f"postgresql://{role}:p@127.0.0.1:{server.port}/postgres")  # fmt: skip
    assert run.returncode == 1
    wrong = [one for one in json.loads(run.stdout)["postgres"]["checks"] if not one["ok"]]
    assert [one["name"] for one in wrong] == [step]
    assert message in wrong[0]["text"]
    assert databases(server) == before


def test_check_only_reads_an_applications_sqlite_file(tmp_path: Path) -> None:
    file = tmp_path / "app.db"
    with closing(sqlite3.connect(file)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE users (id INTEGER)")
        connection.commit()
    before = file.read_bytes(), file.stat().st_mtime_ns
    run = dualdb("check", f"--sqlite={file}", "--db-postgres=postgresql://127.0.0.1:1/app", cwd=tmp_path)
    assert f"your file ok {file}: 1 table; only read" in " ".join(run.stdout.split())
    assert (file.read_bytes(), file.stat().st_mtime_ns) == before
    assert [path.name for path in tmp_path.iterdir()] == ["app.db"]


def test_check_works_in_a_folder_of_ones_choice(tmp_path: Path) -> None:
    run = dualdb(
        "check", f"--sqlite={tmp_path}", "--json", "--db-postgres=postgresql://127.0.0.1:1/x", cwd=tmp_path
    )
    found = json.loads(run.stdout)["sqlite"]
    assert found["ok"] is True
    assert found["source"] == f"a file of its own in {tmp_path}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no file "), (b"this is no database, whatever its name says", "not a database")],
)
def test_check_says_what_is_wrong_with_a_sqlite_file(
    tmp_path: Path, content: bytes | None, message: str
) -> None:
    file = tmp_path / "app.db"
    if content is not None:
        file.write_bytes(content)
    run = dualdb(
        "check", f"--sqlite={file}", "--json", "--db-postgres=postgresql://127.0.0.1:1/x", cwd=tmp_path
    )
    first, *rest = json.loads(run.stdout)["sqlite"]["checks"]
    assert (first["name"], first["ok"]) == ("your file", False)
    assert message in first["text"]
    assert "what to do: " in first["text"]
    assert all(step["ok"] for step in rest)


def test_check_loads_the_schema_and_names_what_fails(tmp_path: Path, server: Server) -> None:
    Path(tmp_path, "pytest.ini").write_text("[pytest]\ndualdb_schema =\n    schema.{backend}.sql\n")
    Path(tmp_path, "schema.sqlite.sql").write_text("CREATE TABLE a (id INTEGER PRIMARY KEY AUTOINCREMENT);\n")
    Path(tmp_path, "schema.postgres.sql").write_text(
        "CREATE TABLE a (id INTEGER PRIMARY KEY);\nCREATE TABLE b (id INTEGER PRIMARY KEY AUTOINCREMENT);\n"
    )
    before = databases(server)
    run = dualdb("check", "--json", f"--db-postgres={server.url('postgres')}", cwd=tmp_path)
    assert run.returncode == 1
    found = json.loads(run.stdout)
    assert found["sqlite"]["checks"][-1]["text"] == "schema.sqlite.sql: 1 table"
    last = found["postgres"]["checks"][-1]
    assert (last["name"], last["ok"]) == ("schema", False)
    assert "schema.postgres.sql:2: " in last["text"]
    assert 'syntax error at or near "AUTOINCREMENT"' in last["text"]
    assert databases(server) == before


INI = {
    "pytest.ini": "[pytest]\ndualdb_postgres = {}\n",
    "tox.ini": "[tox]\nenvlist = py\n[pytest]\ndualdb_postgres = {}\n",
    "setup.cfg": "[metadata]\nname = x\n[tool:pytest]\ndualdb_postgres = {}\n",
    "pyproject.toml": '[tool.pytest.ini_options]\ndualdb_postgres = "{}"\n',
    "pytest.toml": '[pytest]\ndualdb_postgres = "{}"\n',
}


@pytest.mark.parametrize("name", INI)
def test_pytests_configuration_file_is_read(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str],
                                            monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    # an address that nothing answers at says which setting was taken
    Path(tmp_path, name).write_text(INI[name].format("postgresql://127.0.0.1:1/x"))
    folder = tmp_path / "src" / "app"
    folder.mkdir(parents=True)
    Path(tmp_path, "src", "tox.ini").write_text("[tox]\n")  # says nothing to pytest: the search goes on
    monkeypatch.chdir(folder)
    monkeypatch.delenv("DUALDB_POSTGRES", raising=False)
    assert main(["check"]) == 1
    assert "can't connect to 127.0.0.1:1:" in capsys.readouterr().out
    monkeypatch.setenv("DUALDB_POSTGRES", "postgresql://127.0.0.1:2/x")
    assert main(["check"]) == 1
    assert "can't connect to 127.0.0.1:2:" in capsys.readouterr().out
    assert main(["check", "--db-postgres=postgresql://127.0.0.1:3/x"]) == 1
    assert "can't connect to 127.0.0.1:3:" in capsys.readouterr().out


@pytest.mark.parametrize("name", INI)
def test_a_broken_configuration_file_is_named(tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str],
                                              monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    Path(tmp_path, name).write_text("[pytest\n")
    monkeypatch.chdir(tmp_path)
    assert main(["check"]) == 2
    message = capsys.readouterr().err
    assert f"{name} can't be read: " in message
    assert len(message.splitlines()) == 1


# ------------------------------------------------------------------------------------------------------ bench


def test_bench_prints_both_speeds_and_their_ratio(tmp_path: Path) -> None:
    start = time.monotonic()
    run = dualdb("bench", "--db-postgres=embedded", cwd=tmp_path)
    assert run.returncode == 0, run.stdout + run.stderr
    assert time.monotonic() - start < 15  # on a machine that does much else; alone it is 2
    rows = re.findall(r"^([A-Z, ]+?) +([\d,]+)/s +([\d,]+)/s +([\d.]+)x$", run.stdout, re.M)
    assert [row[0] for row in rows] == ["INSERT", "SELECT", "UPDATE", "DELETE", "INSERT, COMMIT"]
    for _, sqlite, postgres, ratio in rows:
        speeds = int(sqlite.replace(",", "")), int(postgres.replace(",", ""))
        assert speeds[0] / speeds[1] == pytest.approx(float(ratio), abs=0.1)
    assert re.search(r"^SQLite \S+: a file in \S+; synchronous=OFF$", run.stdout, re.M)
    assert "fsync=off, synchronous_commit=off" in run.stdout
    assert "as in tests, not as in production" in run.stdout


def test_bench_json_and_a_server_that_waits_for_the_disk(tmp_path: Path, server: Server) -> None:
    query(server, "CREATE ROLE durable LOGIN SUPERUSER PASSWORD 'p'")
    query(server, "ALTER ROLE durable SET synchronous_commit = on")
    before = databases(server)
    run = dualdb("bench", "--rows=20", "--repeat=2", "--json", cwd=tmp_path,
                 DUALDB_POSTGRES=f"postgresql://durable:p@127.0.0.1:{server.port}/postgres")  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    found = json.loads(run.stdout)
    assert (found["rows"], found["repeat"]) == (20, 2)
    # the server runs with fsync=off: whatever the role says, nothing waits for the disk there
    assert found["postgres"]["settings"] == {"fsync": "off", "synchronous_commit": "on"}
    assert found["durable"] is False
    assert found["sqlite"]["settings"] == {"synchronous": "OFF"}
    assert len(found["operations"]) == 5
    for one in found["operations"]:
        assert one["ratio"] == pytest.approx(one["postgres"]["seconds"] / one["sqlite"]["seconds"])
        assert one["sqlite"]["per_second"] == pytest.approx(1 / one["sqlite"]["seconds"])
    assert databases(server) == before


def test_bench_without_a_server_says_so(tmp_path: Path) -> None:
    run = dualdb("bench", "--db-postgres=postgresql://me:secret@127.0.0.1:1/app", cwd=tmp_path)
    assert (run.returncode, run.stdout) == (1, "")
    assert run.stderr.startswith("dualdb bench: can't connect to 127.0.0.1:1: ")
    assert "what to do: " in run.stderr
    assert "secret" not in run.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send to one process")
def test_an_interrupted_bench_drops_its_database(tmp_path: Path, server: Server) -> None:
    before = databases(server)
    process = subprocess.Popen(
        [sys.executable, "-m", "pytest_dualdb", "bench", "--rows=1000000"], cwd=tmp_path, text=True,
        env=environment(DUALDB_POSTGRES=server.url("postgres")), stderr=subprocess.PIPE,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while databases(server) == before and time.monotonic() < deadline:
        time.sleep(0.05)
    assert databases(server) != before
    process.send_signal(signal.SIGINT)
    assert "Traceback" not in process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert databases(server) == before


# ---------------------------------------------------------------------------------------------------- compare

PROJECT = {
    "pytest.ini": "[pytest]\ndualdb_schema = schema.sql\ndualdb_ignore = token\n",
    "schema.sql": "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT, score NUMERIC(6,2), token TEXT);\n"
    "INSERT INTO users VALUES (1, 'Ada', 1.5, 'x'), (2, 'alan', NULL, 'y');\n",
    "app.py": """
        def find(db, pattern):
            return db.fetchall("SELECT id, name, score FROM users WHERE name LIKE ?", (pattern,))

        def by_score(db):
            return db.fetchall("SELECT id, score FROM users ORDER BY score")
        """,
    "test_app.py": """
        import pytest
        import app

        @pytest.mark.parametrize("pattern", ["a%", "g%"])
        def test_search(db, pattern):
            app.find(db, pattern)

        def test_order(db):
            assert len(app.by_score(db)) == 2

        def test_writes(db):
            db.execute(f"INSERT INTO users VALUES (?, ?, ?, '{db.backend}')", (7, "Zoë", "2.5"))
            db.connection.commit()
            assert db.scalar("SELECT count(*) FROM users WHERE name = ?", ("Zoë",)) == 1

        def test_deletes_on_sqlite_only(db):
            db.execute("DELETE FROM users WHERE name LIKE ?", ("ALAN",))
            db.connection.commit()

        def test_observes(db):
            rows = db.fetchall("SELECT id FROM users ORDER BY id")
            db.observe("body", {"users": [list(row) for row in rows]})

        def test_fails_on_postgres(db):
            db.execute("INSERT OR IGNORE INTO users (id, name) VALUES (?, ?)", (1, "again"))

        def test_fails_on_both(db):
            assert db.scalar("SELECT 1") == 2

        def test_uses_nothing(db):
            pass

        @pytest.mark.skip(reason="later")
        def test_skipped(db):
            pass
        """,
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory, server: Server) -> Path:
    """A folder with the reports of three runs: sqlite.json, postgres.json, both.json."""
    folder = tmp_path_factory.mktemp("runs")
    for name, text in PROJECT.items():
        Path(folder, name).write_text(textwrap.dedent(text), encoding="utf-8")
    for backend in ("sqlite", "postgres", "both"):
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--db={backend}",
             f"--db-report={backend}.json"],
            cwd=folder, env=environment(DUALDB_POSTGRES=server.url("postgres")), capture_output=True,
            encoding="utf-8", timeout=120, check=False,
        )  # fmt: skip
        assert Path(folder, f"{backend}.json").is_file(), run.stdout + run.stderr
        Path(folder, f"{backend}.txt").write_text(run.stdout, encoding="utf-8")
    return folder


def timeless(data: Any) -> Any:
    """Return a report without what differs between any two runs: times."""
    if isinstance(data, dict):
        return {
            name: 0 if name in ("seconds", "sql_seconds", "started") else timeless(value)
            for name, value in data.items()
        }
    if isinstance(data, list):
        return [timeless(value) for value in data]
    return data


@pytest.mark.parametrize("order", [("sqlite", "postgres"), ("postgres", "sqlite")])
def test_compare_gives_the_report_of_one_run_on_both(
    runs: Path, tmp_path: Path, order: tuple[str, str]
) -> None:
    joined = tmp_path / "new" / "joined.json"
    run = dualdb("compare", *(f"{name}.json" for name in order), f"--report={joined}", cwd=runs)
    assert run.returncode == 1, run.stdout + run.stderr
    report = json.loads(joined.read_text(encoding="utf-8"))
    both = json.loads(Path(runs, "both.json").read_text(encoding="utf-8"))
    assert timeless(report) == timeless(both)
    assert report["totals"]["disagree"] >= 4
    # a column that the configuration file leaves out, and a table that one half left as the template has it
    verdicts = {test["id"]: test for test in report["tests"]}
    assert verdicts["test_app.py::test_writes"]["verdict"] == "agree"
    kinds = [one["kind"] for one in verdicts["test_app.py::test_deletes_on_sqlite_only"]["divergences"]]
    assert "state" in kinds
    assert report["meta"]["seconds"] > 0
    # the summary too, except for the times
    summary = Path(runs, "both.txt").read_text(encoding="utf-8").partition("database parity")[2]
    shown = run.stdout.partition("database parity")[2]
    lines = [line for line in shown.splitlines()[1:] if "SQL time" not in line and "Wrote" not in line]
    assert lines
    assert [line for line in lines if line not in summary.splitlines()] == []
    assert f"Wrote parity report to {joined}" in run.stdout


def test_compare_writes_every_format(runs: Path, tmp_path: Path) -> None:
    run = dualdb("compare", "sqlite.json", "postgres.json", f"--report={tmp_path / 'a.json'}",
                 f"--report={tmp_path / 'a.md'}", cwd=runs)  # fmt: skip
    assert run.returncode == 1, run.stderr
    assert json.loads(Path(tmp_path, "a.json").read_text(encoding="utf-8"))["format_version"] == 1
    assert "like-case" in Path(tmp_path, "a.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("level", "status"), [("critical", 1), ("never", 0)])
def test_compare_fails_from_a_severity_on(runs: Path, level: str, status: int) -> None:
    assert (
        dualdb("compare", "sqlite.json", "postgres.json", "--fail-on", level, cwd=runs).returncode == status
    )


@pytest.fixture
def one_test(runs: Path, tmp_path: Path) -> Path:
    """A folder with both reports cut down to the test whose halves differ in order only (medium)."""
    for backend in ("sqlite", "postgres"):
        data = json.loads(Path(runs, f"{backend}.json").read_text(encoding="utf-8"))
        data["recordings"] = [one for one in data["recordings"] if one["test"] == "test_app.py::test_order"]
        Path(tmp_path, f"{backend}.json").write_text(json.dumps(data), encoding="utf-8")
    return tmp_path


def test_compare_takes_the_level_from_option_environment_and_file(one_test: Path) -> None:
    reports = "compare", "sqlite.json", "postgres.json"
    assert dualdb(*reports, cwd=one_test).returncode == 0
    Path(one_test, "pytest.ini").write_text("[pytest]\ndualdb_fail_on = medium\n")
    assert dualdb(*reports, cwd=one_test).returncode == 1
    assert dualdb(*reports, cwd=one_test, DUALDB_FAIL_ON="critical").returncode == 0
    assert dualdb(*reports, "--fail-on=low", cwd=one_test, DUALDB_FAIL_ON="critical").returncode == 1


def test_compare_counts_the_last_of_a_test_that_was_run_again(one_test: Path) -> None:
    file = one_test / "postgres.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    first = {**data["recordings"][0], "outcome": "failed"}
    file.write_text(json.dumps({**data, "recordings": [first, *data["recordings"]]}), encoding="utf-8")
    run = dualdb("compare", "sqlite.json", "postgres.json", "--report=joined.json", cwd=one_test)
    assert run.returncode == 0
    (test,) = json.loads(Path(one_test, "joined.json").read_text(encoding="utf-8"))["tests"]
    assert (test["verdict"], test["postgres"]["outcome"]) == ("disagree", "passed")


def test_compare_does_not_pass_when_nothing_was_compared(one_test: Path) -> None:
    file = one_test / "postgres.json"
    data = json.loads(file.read_text(encoding="utf-8"))
    data["recordings"][0]["test"] = "elsewhere.py::test_order"
    file.write_text(json.dumps(data), encoding="utf-8")
    run = dualdb("compare", "sqlite.json", "postgres.json", cwd=one_test)
    assert run.returncode == 1
    assert run.stdout.splitlines()[-1] == "nothing was compared: no test is in both files"


def broken(data: dict[str, Any], **changes: Any) -> str:
    return json.dumps({**data, **changes})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: None, "bad.json: can't be read: No such file"),
        (lambda data: "", "bad.json: not JSON (Expecting value: line 1"),
        (lambda data: json.dumps(data)[:-200], "bad.json: not JSON ("),
        (lambda data: "[" * 100_000, "bad.json: not JSON ("),
        (lambda data: "[1, 2]", "bad.json: not a report of pytest-dualdb"),
        (lambda data: '{"results": []}', "bad.json: not a report of pytest-dualdb"),
        (lambda data: broken(data, format_version=2), "bad.json: has format_version 2, expected 1"),
        (lambda data: broken(data, format_version="1"), "bad.json: has format_version '1', expected 1"),
        (lambda data: broken(data, recordings=[]), "bad.json: holds no recordings: no test of that run"),
        (lambda data: broken(data, recordings=[{"test": "x"}]), "bad.json: damaged, or written by another"),
        (lambda data: broken(data, recordings={"a": 1}), "bad.json: damaged, or written by another"),
        (lambda data: broken(data, templates=None), "bad.json: damaged, or written by another"),
        (lambda data: broken(data, meta={}), "bad.json: damaged, or written by another"),
        (lambda data: broken(data, backends=["oracle"]), "bad.json: has backends ['oracle']"),
        (lambda data: broken(data, backends=["postgres"]), "bad.json: says postgres and holds recordings of"),
    ],
)
def test_compare_refuses_what_is_no_report_in_one_line(one_test: Path, change: Any, message: str) -> None:
    text = change(json.loads(Path(one_test, "sqlite.json").read_text(encoding="utf-8")))
    if text is not None:
        Path(one_test, "bad.json").write_text(text, encoding="utf-8")
    run = dualdb("compare", "bad.json", "postgres.json", cwd=one_test)
    assert (run.returncode, run.stdout) == (2, "")
    assert run.stderr.startswith(f"dualdb compare: {message}")
    assert len(run.stderr.splitlines()) == 1


def test_compare_refuses_two_of_a_kind_and_one_of_both(runs: Path) -> None:
    run = dualdb("compare", "sqlite.json", "sqlite.json", cwd=runs)
    assert run.returncode == 2
    assert "sqlite.json and sqlite.json are both of SQLite; expected one of each backend" in run.stderr
    run = dualdb("compare", "both.json", "postgres.json", cwd=runs)
    assert run.returncode == 2
    assert "both.json: is of a run on both backends, which is compared already" in run.stderr


@pytest.mark.parametrize(
    ("report", "message"),
    [
        ("parity.docx", "--report=parity.docx: unknown report format; expected one of .json, "),
        ("pytest.ini/parity.json", "--report=pytest.ini/parity.json can't be written"),
        (".", "unknown report format"),
    ],
)
def test_compare_refuses_a_report_before_the_work(runs: Path, report: str, message: str) -> None:
    run = dualdb("compare", "sqlite.json", "postgres.json", f"--report={report}", cwd=runs)
    assert (run.returncode, run.stdout) == (2, "")
    assert message in run.stderr


# ---------------------------------------------------------------------------------------------------- explain


def test_explain_lists_each_rule_once(tmp_path: Path) -> None:
    run = dualdb("explain", cwd=tmp_path)
    assert run.returncode == 0
    listed = re.findall(r"^  (\S+)  +(\S.*)$", run.stdout, re.M)
    assert sorted(listed) == sorted((rule.name, rule.title) for rule in all_rules())
    assert run.stdout.splitlines()[-1].startswith(f"{len(listed)} rules; ")


@pytest.mark.parametrize("name", [rule.name for rule in all_rules()])
def test_explain_says_what_why_and_what_to_write(name: str, capsys: pytest.CaptureFixture[str],
                                                 monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("COLUMNS", "72")
    assert main(["explain", name]) == 0
    text = capsys.readouterr().out
    assert text.startswith(f"{name}: ")
    headings = [
        line for line in text.splitlines()[1:] if line in ("What differs", "Why", "Instead", "References")
    ]
    assert headings == ["What differs", "Why", "Instead", "References"]
    assert "``" not in text
    prose = [line for line in text.splitlines()[3:] if not line.startswith("    ") and "://" not in line]
    assert max(map(len, prose)) <= 72


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("like-cas", "nearest: like-case"),
        ("LIKE-CASE", "nearest: like-case"),
        ("zzz", "dualdb explain lists them all"),
    ],
)
def test_explain_names_the_nearest_rules(name: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", name]) == 2
    message = capsys.readouterr().err
    assert message.startswith(f"dualdb explain: unknown rule {name!r}; {hint}")
    assert len(message.splitlines()) == 1


def test_explain_tells_of_what_no_rule_claims(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", "unexplained"]) == 0
    assert "no rule" in capsys.readouterr().out


@pytest.mark.skipif(sys.platform == "win32", reason="a closed pipe is another error there")
def test_a_reader_that_has_seen_enough_is_no_error(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pytest_dualdb", "explain"], cwd=tmp_path, env=environment(),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.close()
    assert process.stderr.read() == ""
    process.stderr.close()
    assert process.wait(timeout=30) == 0
