"""A reset gives what a new clone gives, rows in the same order, whatever the halves before did.

`DUALDB_HALVES` sets how many halves of each kind are compared; with it they do other things each time.
"""

from __future__ import annotations

import contextlib
import os
import random
import secrets
import sqlite3
import time
from collections.abc import Iterator
from typing import Any

import pytest
from halves import ROOT, half
from hypothesis import given
from hypothesis import strategies as st

from pytest_dualdb import config
from pytest_dualdb.backends import large
from pytest_dualdb.backends.pages import Image, Original
from pytest_dualdb.compare import Context, compare
from pytest_dualdb.database import Database
from pytest_dualdb.recording import Backend, Recording, TableState
from pytest_dualdb.server import Server
from pytest_dualdb.worker import Half, Worker

HALVES = int(os.environ.get("DUALDB_HALVES") or 12)
SEED = random.SystemRandom().random() if "DUALDB_HALVES" in os.environ else 1
LARGE = 20_040
"""Rows: the last page has room for some more."""


def setup(db: Database, rows_of_large: int = LARGE) -> None:
    db.executescript(
        "CREATE TABLE empty (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);"
        "CREATE TABLE small (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);"
        "CREATE TABLE large (id INTEGER PRIMARY KEY, name TEXT, amount INTEGER);"
        "CREATE INDEX small_name ON small (name); CREATE INDEX large_name ON large (name);"
    )
    for table, count in (("small", 300), ("large", rows_of_large)):
        rows = [f"({number}, 'row {number} of {table}', {number % 97})" for number in range(count)]
        for start in range(0, count, 5_000):
            with db.transaction():
                db.execute(f"INSERT INTO {table} VALUES " + ", ".join(rows[start : start + 5_000]))


@contextlib.contextmanager
def opened(server: Server, isolation: str, rows_of_large: int) -> Iterator[Worker]:
    settings = config.resolve(
        lambda setting: isolation if setting.ini == "dualdb_isolation" else None,
        lambda setting: None,
        ROOT,
        {},
    )
    name = f"{secrets.token_hex(4)}_test"
    worker = Worker(settings, name, lambda: server, lambda db: setup(db, rows_of_large))
    try:
        yield worker
    finally:
        worker.close()


@pytest.fixture(scope="module")
def resetting(postgres_server: Server) -> Iterator[Worker]:
    with opened(postgres_server, "reset", LARGE) as worker:
        yield worker


def change(db: Database, tables: tuple[str, ...], seed: Any, most: int = 120) -> None:
    """Write like a test with many updates: several transactions, reads between them, some undone."""
    choose = random.Random(repr(seed))
    number = LARGE
    for _ in range(choose.randint(1, 6)):
        with db.connection as connection:
            cursor = connection.cursor()
            for _ in range(choose.randint(1, 5)):
                table, first = choose.choice(tables), choose.randrange(350)
                span = f"id BETWEEN {first} AND {first + choose.choice((0, 3, most))}"
                number += 1
                cursor.execute(
                    choose.choice((
                        f"UPDATE {table} SET amount = amount + 1 WHERE {span}",
                        f"UPDATE {table} SET amount = amount WHERE {span}",
                        f"UPDATE {table} SET name = name || '{'x' * choose.choice((1, 40))}' WHERE {span}",
                        f"DELETE FROM {table} WHERE {span}",
                        f"INSERT INTO {table} VALUES ({number}, 'new', 1)",
                        f"INSERT INTO {table} SELECT {number} + 1000 * id, name, 7 FROM {table} WHERE {span}",
                    ))
                )  # fmt: skip
                cursor.execute(f"SELECT * FROM {choose.choice(tables)} WHERE {span}")
                cursor.fetchall()
            if choose.random() < 0.2:
                connection.rollback()


def contents(db: Database, tables: tuple[str, ...]) -> dict[str, Any]:
    return {table: db.fetchall(f"SELECT * FROM {table}") for table in tables}


def outcome(worker: Worker, tables: tuple[str, ...], number: int) -> dict[str, Any]:
    with half(worker, "postgres") as made:
        change(made.database, tables, (SEED, tables, number))
        found = contents(made.database, tables)
    # a transaction that is open anywhere on the server keeps dead rows for longer
    backend: Any = worker.backend("postgres")
    backend._settle()
    return found


def test_rows_come_in_the_order_that_a_new_clone_gives(postgres_server: Server) -> None:
    tables = ("empty", "small")
    with opened(postgres_server, "reset", 0) as resetting, opened(postgres_server, "clone", 0) as cloning:
        differing = [
            number
            for number in range(HALVES)
            if outcome(resetting, tables, number) != outcome(cloning, tables, number)
        ]
    print(f"{len(differing)} of {HALVES} halves differ, seed {SEED}")
    assert differing == []


def test_rows_come_in_the_order_that_a_new_clone_gives_with_a_large_table(
    resetting: Worker,
) -> None:
    tables = ("empty", "small", "large")
    found = [outcome(resetting, tables, number) for number in range(HALVES)]
    backend: Any = resetting.backend("postgres")
    differing = []
    for number in range(HALVES):
        backend._clone()
        if found[number] != outcome(resetting, tables, number):
            differing.append(number)
    print(f"{len(differing)} of {HALVES} halves differ, seed {SEED}")
    assert differing == []


def test_a_large_table_is_brought_back_in_its_place(
    resetting: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # on a machine with much else to do, a half may take longer
    monkeypatch.setattr(large, "HOLD", large.HOLD.replace("'3s'", "'60s'"))
    query = "SELECT ctid::text, * FROM large"
    with half(resetting, "postgres") as made:
        then = made.database.fetchall(query)
        database = made.database.scalar("SELECT oid FROM pg_database WHERE datname = current_database()")
    clones = 0
    for number in range(HALVES):
        with half(resetting, "postgres") as made:
            change(made.database, ("large",), (SEED, "place", number), most=1)
        with half(resetting, "postgres") as made:
            db = made.database
            assert db.fetchall(query) == then
            now = db.scalar("SELECT oid FROM pg_database WHERE datname = current_database()")
            clones, database = clones + (now != database), now
            # its indexes know the rows, too
            db.execute("SET enable_seqscan = off")
            assert db.fetchall("SELECT id FROM large WHERE id < 400 ORDER BY id") == [
                (n,) for n in range(400)
            ]
            named = db.fetchall(
                "SELECT id FROM large WHERE name >= 'row 1' AND name < 'row 2' ORDER BY name, id"
            )
            assert {row[0] for row in named} == {row[1] for row in then if row[2].startswith("row 1")}
    # where a few rows need another page
    assert clones <= HALVES // 3


def test_rows_that_the_server_could_have_removed_come_from_a_new_clone(
    resetting: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What keeps them ends by itself, so that a test can't wait for it without end."""
    monkeypatch.setattr(large, "HOLD", large.HOLD.replace("'3s'", "'20ms'"))
    for number in range(3):
        with half(resetting, "postgres") as made, made.database.transaction():
            time.sleep(0.1)
            assert made.database.scalar("SELECT count(*) FROM large WHERE amount = 0") == LARGE // 97 + 1
            made.database.execute("UPDATE large SET amount = 0 WHERE id BETWEEN 1 AND ?", (5 + number,))


def state(made: Half) -> Any:
    return made.recording(
        test="t", nodeid="t", outcome="passed", failure=None, seconds=0.0, reason="", marks={}
    ).state


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
def test_of_a_large_table_the_changed_rows_are_told(resetting: Worker, backend: Backend) -> None:
    with half(resetting, backend) as made, made.database.transaction():
        made.database.execute("UPDATE large SET amount = 5 WHERE id IN (5, 7)")  # 5 is what one of them holds
        made.database.execute("UPDATE large SET name = 'other' WHERE id = 19000")
        made.database.execute("DELETE FROM large WHERE id = 3")
        made.database.execute("INSERT INTO large VALUES (30001, 'new', 1), (30002, 'new', 1)")
    told = state(made)["large"]
    assert (told.count, told.held) == (LARGE + 1, "changed")
    assert sorted(told.rows) == [
        (7, "row 7 of large", 5), (19000, "other", 19000 % 97), (30001, "new", 1), (30002, "new", 1)
    ]  # fmt: skip
    with half(resetting, backend) as made:
        assert made.database.scalar("SELECT count(*) FROM large") == LARGE
    assert "large" not in state(made)


@pytest.mark.parametrize("backend", ["sqlite", "postgres"])
@pytest.mark.parametrize("end", ["DELETE FROM large", "UPDATE large SET amount = 1"])
def test_a_large_table_that_was_changed_as_a_whole_comes_back(
    resetting: Worker, backend: Backend, end: str
) -> None:
    with half(resetting, backend) as made, made.database.transaction():
        made.database.execute(end)
    assert state(made)["large"].count == (0 if "DELETE" in end else LARGE)
    with half(resetting, backend) as made:
        rows = made.database.fetchall("SELECT * FROM large")
    assert [row[0] for row in rows] == list(range(LARGE))


def test_the_halves_of_a_large_table_are_compared_by_what_changed(resetting: Worker) -> None:
    found: dict[str, Recording] = {}
    for backend, number in (("sqlite", 8), ("postgres", 9)):
        with half(resetting, backend) as made, made.database.transaction():  # type: ignore[arg-type]
            made.database.execute("UPDATE large SET amount = 0 WHERE id = ?", (number,))
        found[backend] = Recording("t", "t", backend, state=state(made))  # type: ignore[arg-type]
    assert [divergence.kind for divergence in compare(found["sqlite"], found["postgres"])] == ["state"]


def test_what_changed_in_a_large_table_is_compared_with_an_untouched_one() -> None:
    def half_of(backend: Backend, rows: tuple[Any, ...] | None, count: int = 9000) -> Recording:
        state = {} if rows is None else {"t": TableState(("a",), rows, count, "changed")}
        return Recording("t", "t", backend, state=state)

    seed = TableState(("a",), tuple((f"seed {n}",) for n in range(9000)), 9000)
    context = Context(templates={"sqlite": {"t": seed}, "postgres": {"t": seed}})
    for left, right, found in (
        (half_of("sqlite", None), half_of("postgres", ()), []),
        (half_of("sqlite", (("a",), ("b",))), half_of("postgres", (("b",), ("a",))), []),
        (half_of("sqlite", (("a",),)), half_of("postgres", (("b",),)), ["stored values differ in a"]),
        (
            half_of("sqlite", (("a",),)),
            half_of("postgres", None),
            ["1 changed row on SQLite, 0 on PostgreSQL"],
        ),
        (half_of("sqlite", (), 8999), half_of("postgres", None), ["8999 rows on SQLite, 9000 on PostgreSQL"]),
    ):
        assert [one.message for one in compare(left, right, context)] == [f"table t: {one}" for one in found]


OPERATIONS = st.lists(
    st.tuples(st.sampled_from("iudl"), st.integers(0, 900), st.integers(0, 9_000)), max_size=12
)


@given(OPERATIONS)
def test_the_pages_of_a_file_tell_of_every_row_that_differs(operations: list[tuple[str, int, int]]) -> None:
    with sqlite3.connect(":memory:") as connection:
        connection.execute("PRAGMA page_size = 512")
        connection.executescript(
            "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT); CREATE INDEX i ON t (a); CREATE TABLE other (a TEXT)"
        )
        connection.executemany("INSERT INTO t VALUES (?, ?)", [(n, "x" * (n % 50)) for n in range(-9, 600)])
        connection.commit()
        before, rows = connection.serialize(), dict(connection.execute("SELECT * FROM t"))
        for kind, number, size in operations:
            text = "y" * (size % 300 if kind != "l" else size)
            connection.execute("INSERT INTO other VALUES (?)", (text,))
            if kind in "il":
                connection.execute("INSERT OR REPLACE INTO t VALUES (?, ?)", (number, text))
            elif kind == "u":
                connection.execute("UPDATE t SET a = ? WHERE id BETWEEN ? AND ?", (text, number, number + 5))
            else:
                connection.execute("DELETE FROM t WHERE id BETWEEN ? AND ?", (number, number + size // 50))
        connection.commit()
        now, after = connection.serialize(), dict(connection.execute("SELECT * FROM t"))
        roots = dict(connection.execute("SELECT rootpage, name FROM sqlite_master"))
    found = Original(image_of(before), roots).differing(image_of(now), frozenset({"t"}))
    differing = {n for n in rows.keys() | after.keys() if rows.get(n) != after.get(n)}
    longest = max(map(len, [*rows.values(), *after.values(), *("y" * size for _, _, size in operations)]))
    if longest < 300:
        assert found is not None
    if found is not None:
        assert found["t"] >= differing


def image_of(data: bytes) -> Image:
    return Image(lambda count, at: data[at : at + count], len(data))
