"""Values as the two databases and their drivers give them: which are the same, which differ, which are of the run."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import secrets
import time
import unicodedata
import uuid
from collections.abc import Callable, Iterator
from typing import Any

import halves
import pytest
from halves import BACKENDS

from pytest_dualdb import config
from pytest_dualdb.database import Database
from pytest_dualdb.report import TestResult
from pytest_dualdb.server import Server
from pytest_dualdb.session import Session
from pytest_dualdb.worker import Worker

Judge = Callable[[Callable[[Database], Any]], TestResult]
COLUMNS = {
    "sqlite": "id INTEGER PRIMARY KEY AUTOINCREMENT, n NUMERIC(10, 2), f DOUBLE PRECISION, b BOOLEAN, t TIMESTAMP,"
    " d DATE, u TEXT, j TEXT, raw BLOB, c CHAR(5), s TEXT",
    "postgres": "id SERIAL PRIMARY KEY, n NUMERIC(10, 2), f DOUBLE PRECISION, b BOOLEAN, t TIMESTAMPTZ, d DATE, u UUID,"
    " j JSONB, raw BYTEA, c CHAR(5), s TEXT",
}


def setup(db: Database) -> None:
    key = COLUMNS[db.backend].partition(",")[0]
    db.executescript(
        f"CREATE TABLE v ({COLUMNS[db.backend]});"
        f"CREATE TABLE a_child ({key}, v_id INTEGER REFERENCES v (id), note TEXT);"
    )


@pytest.fixture(scope="module")
def judge(postgres_server: Server) -> Iterator[Judge]:
    """Run a piece of work as both halves of a test and judge the pair."""
    settings = config.resolve(lambda setting: None, lambda setting: None, halves.ROOT, {})
    worker = Worker(settings, f"{secrets.token_hex(4)}_test", lambda: postgres_server, setup)
    session = Session(BACKENDS)

    def judged(work: Callable[[Database], Any]) -> TestResult:
        result = None
        for backend in BACKENDS:
            with halves.half(worker, backend) as half:
                work(half.database)
            result = session.add(half.recording(test="t", nodeid="t", **half.template()))
        assert result is not None
        return result

    yield judged
    worker.close()


def found(result: TestResult) -> list[tuple[str, str]]:
    """Return kind and severity of what stands for itself."""
    return [(d.divergence.kind, d.severity) for d in result.diagnoses if d.primary]


def store(db: Database, column: str, value: Any, read: str = "") -> None:
    with db.transaction():
        db.execute(f"INSERT INTO v ({column}) VALUES (?)", (value,))
    db.fetchall(f"SELECT {read or column} FROM v ORDER BY id")


def read(db: Database, sqlite: str, postgres: str) -> None:
    cursor = db.connection.cursor()
    cursor.execute(f"SELECT {sqlite if db.backend == 'sqlite' else postgres} AS x")
    cursor.fetchall()


# ------------------------------------------------------------------------------------------------ fixed values


@pytest.mark.parametrize(
    ("column", "value", "types"),
    [
        ("b", True, "int / bool"),
        ("n", "2.50", "float / Decimal"),
        ("f", 0.1 + 0.2, ""),
        ("f", -0.0, ""),
        ("f", 1e300, ""),
        ("d", "2024-02-29", "str / date"),
        ("t", "2024-02-29 10:00:00+00:00", "str / datetime with zone"),
        ("t", "2024-02-29T19:00:00+09:00", "str / datetime with zone"),
        ("u", str(uuid.UUID(int=7)), ""),
        ("j", json.dumps({"a": [1, 2.0, {"b": None, "c": True}], "t": "é"}), "str / dict"),
        ("j", '{"b": 1, "a": [[]]}', "str / dict"),
        ("j", "[1, [2]]", "str / list"),
        ("raw", b"\x00\xff", "bytes / memoryview"),
        ("s", "", ""),
        ("s", "naïve \U0001f600", ""),
        ("s", None, ""),
    ],
)
def test_the_same_value_in_another_type_at_most(judge: Judge, column: str, value: Any, types: str) -> None:
    result = judge(lambda db: store(db, column, value))
    assert found(result) == ([("type", "low")] if types else [])
    assert [d.divergence.message.partition(": ")[2] for d in result.diagnoses] == [
        f"{column}: {types}"
    ] * bool(types)


@pytest.mark.parametrize(
    ("sqlite", "postgres"),
    [
        ("'NaN'", "'nan '"),
        ("NULL", "'NaN'::float8"),
        ("2.5", "2.51"),
        ("1", "'1'"),
        ("'ab'", "'ab'::char(5)"),
        ("x'00ff'", r"'\x00fe'::bytea"),
        ("'2024-05-01 10:00:00'", "timestamptz '2024-05-01 10:00:00+09'"),
        ("'2024-05-01'", "date '2024-05-02'"),
        ("'{\"a\": [1, 2]}'", "'{\"a\": [2, 1]}'::jsonb"),
        ("'{\"a\": null}'", "'{}'::jsonb"),
        (f"'{uuid.UUID(int=7)}'", f"'{uuid.UUID(int=8)}'::uuid"),
        ("'%s'" % unicodedata.normalize("NFC", "é"), "'%s'" % unicodedata.normalize("NFD", "é")),  # noqa: UP031
    ],
)
def test_another_value(judge: Judge, sqlite: str, postgres: str) -> None:
    assert found(judge(lambda db: read(db, sqlite, postgres))) == [("rows", "high")]


# ---------------------------------------------------------------------------------------- values of the run

NOW = [
    ("CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
    ("datetime('now')", "now()"),
    ("datetime('now')", "now()::text"),
    ("datetime('now')", "clock_timestamp()"),
    ("datetime('now')", "statement_timestamp()"),
    ("datetime('now')", "now() AT TIME ZONE 'UTC'"),
    ("datetime('now', 'localtime')", "LOCALTIMESTAMP"),
    ("strftime('%Y-%m-%d %H:%M', 'now', 'localtime')", "to_char(now(), 'YYYY-MM-DD HH24:MI')"),
    (
        "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
        "to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.MS\"Z\"')",
    ),
    ("CURRENT_DATE", "CURRENT_DATE"),
    ("date('now')", "now()::date"),
    ("CURRENT_TIME", "CURRENT_TIME"),
    ("time('now', 'localtime')", "LOCALTIME"),
    ("strftime('%s', 'now')", "extract(epoch FROM now())::bigint"),
    ("unixepoch()", "extract(epoch FROM now())"),
    ("julianday('now')", "extract(epoch FROM now()) / 86400 + 2440587.5"),
    ("datetime('now', '+1 hour')", "now() + interval '1 hour'"),
]


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/St_Johns"])
@pytest.mark.parametrize(("sqlite", "postgres"), NOW)
def test_the_current_time_in_all_its_spellings(judge: Judge, sqlite: str, postgres: str, zone: str) -> None:
    def work(db: Database) -> None:
        if db.backend == "postgres":
            db.connection.cursor().execute(f"SET TIME ZONE '{zone}'")
        else:
            time.sleep(0.01)
        read(db, sqlite, postgres)

    assert set(found(judge(work))) <= {("type", "low")}


@pytest.mark.parametrize(
    ("sqlite", "postgres"),
    [
        ("date('now')", "current_date + 2"),
        ("datetime('now')", "now() + interval '61 seconds'"),
        ("datetime('now')", "(now() AT TIME ZONE 'UTC')::date::timestamp - interval '3 days'"),
        ("time('now')", "(now() AT TIME ZONE 'UTC')::time + interval '7 minutes'"),
    ],
)
def test_another_time(judge: Judge, sqlite: str, postgres: str) -> None:
    assert found(judge(lambda db: read(db, sqlite, postgres))) == [("rows", "high")]


def hashed(db: Database) -> None:
    token = secrets.token_urlsafe(24)
    store(db, "s", token)
    store(db, "s", hashlib.sha256(token.encode()).hexdigest())


def drawn_uuid(db: Database) -> None:
    own = str(uuid.uuid4())
    store(db, "u", own)
    db.observe("url", f"/things/{own}")
    assert db.scalar("SELECT count(*) FROM v WHERE u = ?", (own,)) == 1


def duration(db: Database) -> None:
    start = time.perf_counter()
    time.sleep(0.001)
    store(db, "f", time.perf_counter() - start)


@pytest.mark.parametrize(
    "work",
    [
        hashed,
        drawn_uuid,
        duration,
        lambda db: store(db, "s", str(random.SystemRandom().randint(100_000, 999_999))),
        lambda db: store(db, "s", uuid.uuid4().hex),
        lambda db: store(db, "s", f"order-{secrets.token_hex(6)}"),
        lambda db: store(db, "s", datetime.datetime.now().isoformat()),
        lambda db: store(db, "s", str(time.time())),
        lambda db: store(db, "raw", secrets.token_bytes(16)),
    ],
)
def test_values_that_the_application_makes(judge: Judge, work: Callable[[Database], None]) -> None:
    assert set(found(judge(work))) <= {("type", "low")}


def test_values_that_the_databases_make(judge: Judge) -> None:
    made = "lower(hex(randomblob(16)))", "md5(random()::text)"
    assert found(judge(lambda db: read(db, *made))) == []
    made = "lower(hex(randomblob(16)))", "gen_random_uuid()"
    assert set(found(judge(lambda db: read(db, *made)))) <= {("type", "low")}


# -------------------------------------------------------------------------------------- keys and references


def with_a_gap(db: Database) -> None:
    """Store three rows; PostgreSQL gives the third key to the second, as the one rolled back is not given again."""
    with db.transaction():
        db.execute("INSERT INTO v (s) VALUES ('a')")
    db.connection.cursor().execute("INSERT INTO v (s) VALUES ('lost')")
    db.connection.rollback()
    with db.transaction():
        db.execute("INSERT INTO v (s) VALUES ('c')")


def key_of(db: Database, name: str) -> int:
    found_key: int = db.scalar(f"SELECT id FROM v WHERE s = '{name}'")
    return found_key


def test_a_reference_after_a_gap_follows_its_row(judge: Judge) -> None:
    def work(db: Database) -> None:
        with_a_gap(db)
        with db.transaction():
            db.execute("INSERT INTO a_child (v_id, note) VALUES (?, 'of c')", (key_of(db, "c"),))
        db.fetchall("SELECT a_child.v_id, v.s FROM a_child JOIN v ON v.id = a_child.v_id")

    assert {severity for _, severity in found(judge(work))} == {"low"}


@pytest.mark.parametrize("wrong", ["a", "c"])
def test_a_reference_to_another_row_is_found_among_keys_that_differ(judge: Judge, wrong: str) -> None:
    def work(db: Database) -> None:
        with_a_gap(db)
        other = "c" if wrong == "a" else "a"
        with db.transaction():
            name = wrong if db.backend == "postgres" else other
            db.execute(f"INSERT INTO a_child (v_id, note) SELECT id, 'x' FROM v WHERE s = '{name}'")

    result = judge(work)
    high = [d.divergence for d in result.diagnoses if d.primary and d.severity == "high"]
    assert [(d.kind, d.table) for d in high] == [("state", "a_child")]


def test_a_reference_by_a_key_of_the_run_is_held_to_its_row(judge: Judge) -> None:
    def work(db: Database) -> None:
        first, second = sorted(str(uuid.uuid4()) for _ in range(2))
        store(db, "s", first)
        store(db, "s", second)
        function = "min" if db.backend == "sqlite" else "max"
        with db.transaction():
            db.execute(f"INSERT INTO a_child (note) SELECT {function}(s) FROM v")

    assert ("state", "high") in found(judge(work))


def test_a_key_that_both_halves_have_is_none_of_the_run(judge: Judge) -> None:
    keys = ["3f2c9a5e-7b41-4d0a-9c1e-5a6b7c8d9e0f", "9e1b2c3d-4f5a-4b6c-8d7e-0f1a2b3c4d5e"]

    def work(db: Database) -> None:
        for key in keys:
            store(db, "s", key)
        db.fetchall(f"SELECT {'min' if db.backend == 'sqlite' else 'max'}(s) AS found FROM v")

    assert ("rows", "high") in found(judge(work))
