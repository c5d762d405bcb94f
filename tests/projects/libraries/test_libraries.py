import contextlib
import datetime
import threading
from decimal import Decimal

import pytest
import store


@pytest.fixture
def items(db):
    key = {"sqlite": "INTEGER PRIMARY KEY", "postgres": "SERIAL PRIMARY KEY"}[db.backend]
    db.executescript(f"CREATE TABLE item (id {key}, price NUMERIC(30, 20), code TEXT)")
    with contextlib.closing(store.connect()) as connection:
        yield connection


def test_first_place(never_committed):
    with contextlib.closing(store.connect()) as other:
        other.cursor().execute("SELECT count(*) FROM draft")


def test_second_place(never_committed):
    with contextlib.closing(store.connect()) as other:
        other.cursor().execute("INSERT INTO draft VALUES (1)")
        other.rollback()


def test_rows_of_two_modules_are_compared(items):
    store.module().add(items, Decimal("1.5"), "Ada")
    store.module().add(items, Decimal("2.5"), "alan")
    store.module().search(items, "a%")


def test_exact_number(items):
    store.module().add(items, Decimal("0.700000000000001"), "a")
    assert store.module().price(items, "a") == Decimal("0.700000000000001")


def test_seconds_for_an_interval(db):
    db.executescript(
        {
            "sqlite": "CREATE TABLE wait (id INTEGER PRIMARY KEY, lasts INTEGER)",
            "postgres": "CREATE TABLE wait (id INTEGER PRIMARY KEY, lasts INTERVAL)",
        }[db.backend]
    )
    lasts = datetime.timedelta(hours=1)
    db.execute("INSERT INTO wait VALUES (1, ?)", (lasts if db.backend == "postgres" else 3600,))
    db.connection.commit()


def test_cleaned_up_after_a_failure(items):
    cursor = items.cursor()
    cursor.execute("INSERT INTO item (code) VALUES ('a')")
    items.commit()
    try:
        assert store.module().__name__ == "store_pg", "the rest is for another day"
        cursor.execute("UPDATE item SET code = 'b'")
        items.commit()
    finally:
        cursor.execute("DROP TABLE item")
        items.commit()


def test_threads_insert_side_by_side(items):
    def insert(code):
        with contextlib.closing(store.connect()) as own:
            own.cursor().execute(f"INSERT INTO item (code) VALUES ('{code}')")
            own.commit()

    codes = "ab" if store.module().__name__ == "store_lite" else "ba"
    for code in codes:
        thread = threading.Thread(target=insert, args=(code,))
        thread.start()
        thread.join()
