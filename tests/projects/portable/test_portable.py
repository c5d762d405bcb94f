"""An ordinary application's data access, written as both databases want it: nothing may be reported."""

from __future__ import annotations

import datetime
import hashlib
import json
import random
import secrets
import threading
import time
import uuid
from decimal import Decimal

import pytest


def add(db, name, **values):
    columns = {"uid": str(uuid.uuid4()), "name": name, **values}
    names, marks = ", ".join(columns), ", ".join("?" * len(columns))
    sql = f"INSERT INTO customer ({names}) VALUES ({marks}) RETURNING id"
    return db.scalar(sql, tuple(columns.values()))


def pay(db, customer, *totals):
    for total in totals:
        # neither driver of SQLite knows Decimal: its text keeps the value
        db.execute("INSERT INTO invoice (customer_id, total) VALUES (?, ?)", (customer, str(total)))


def test_create_read_update_delete(db):
    with db.transaction():
        first, second = add(db, "Ada"), add(db, "Grace")
    assert (first, second) == (1, 2)
    assert db.fetchall("SELECT id, name FROM customer ORDER BY id") == [(1, "Ada"), (2, "Grace")]
    with db.transaction():
        cursor = db.execute("UPDATE customer SET name = ? WHERE id = ?", ("Ada L.", first))
        assert cursor.rowcount == 1
        assert db.execute("DELETE FROM customer WHERE id = ?", (99,)).rowcount == 0
        db.execute("DELETE FROM customer WHERE id = :id", {"id": second})
    assert db.fetchone("SELECT name FROM customer WHERE id = ?", (first,)) == ("Ada L.",)
    assert db.fetchone("SELECT name FROM customer WHERE id = ?", (second,)) is None


def test_time_of_the_database(db):
    with db.transaction():
        number = add(db, "Ada")
    assert db.scalar("SELECT created FROM customer WHERE id = ?", (number,)) is not None
    assert db.scalar("SELECT CURRENT_TIMESTAMP") is not None
    assert db.scalar(f"SELECT {db.functions.now()}") is not None


def test_time_of_the_application(db):
    now = datetime.datetime.now(datetime.UTC)
    with db.transaction():
        add(db, "Ada", created=now.isoformat(sep=" ", timespec="seconds"))
        add(db, "Grace", created="2024-02-29 10:11:12+00:00")
    db.fetchall("SELECT name, created FROM customer ORDER BY id")
    db.fetchall("SELECT name FROM customer WHERE created > ? ORDER BY id", ("2024-01-01 00:00:00+00:00",))
    db.observe("finished", time.time())


def test_uuids_and_tokens(db):
    with db.transaction():
        number = add(db, "Ada", token=secrets.token_hex(16))
    uid, token = db.fetchone("SELECT uid, token FROM customer WHERE id = ?", (number,))
    assert db.scalar("SELECT id FROM customer WHERE uid = ?", (str(uid),)) == number
    assert db.scalar("SELECT name FROM customer WHERE token = ?", (token,)) == "Ada"
    with db.transaction():
        add(db, "Grace", token=hashlib.sha256(str(random.random()).encode()).hexdigest())
        db.execute("UPDATE customer SET token = ? WHERE id = ?", (secrets.token_urlsafe(20), number))
    db.fetchall("SELECT id, uid, token FROM customer ORDER BY id")


def test_money(db):
    with db.transaction():
        customer = add(db, "Ada")
        pay(db, customer, Decimal("19.99"), Decimal("0.01"), Decimal("100.00"))
    totals = [Decimal(str(row[0])) for row in db.fetchall("SELECT total FROM invoice ORDER BY id")]
    assert sum(totals) == Decimal("120.00")
    assert Decimal(str(db.scalar("SELECT total FROM invoice WHERE total > 20"))) == 100


def test_booleans(db):
    with db.transaction():
        add(db, "Ada", active=True)
        add(db, "Grace", active=False)
    assert [bool(row[0]) for row in db.fetchall("SELECT active FROM customer ORDER BY id")] == [True, False]
    assert db.fetchall("SELECT name FROM customer WHERE active ORDER BY id") == [("Ada",)]


def test_json_text(db):
    settings = {"theme": "dark", "sizes": [1, 2], "nested": {"ok": True, "none": None}, "é": "\u2603"}
    with db.transaction():
        number = add(db, "Ada", settings=json.dumps(settings))
    found = db.scalar("SELECT settings FROM customer WHERE id = ?", (number,))
    assert (json.loads(found) if isinstance(found, str) else found) == settings


def test_bytes(db):
    photo = bytes(range(256))
    with db.transaction():
        number = add(db, "Ada", photo=photo)
    assert bytes(db.scalar("SELECT photo FROM customer WHERE id = ?", (number,))) == photo


def test_unicode(db):
    names = ["Zo\u00eb", "\u4e2d\u6587", "\U0001f600", "a'b\"c", "100%", "back\\slash", "tab\there", ""]
    with db.transaction():
        for name in names:
            add(db, name)
    assert [row[0] for row in db.fetchall("SELECT name FROM customer ORDER BY id")] == names
    assert db.scalar("SELECT id FROM customer WHERE name = ?", ("100%",)) == 5


def test_nulls(db):
    with db.transaction():
        add(db, "Ada", token=None, settings=None)
    assert db.fetchall("SELECT token, settings, photo FROM customer") == [(None, None, None)]
    assert db.scalar("SELECT count(token) FROM customer") == 0
    assert db.scalar("SELECT max(total) FROM invoice") is None


def test_aggregates(db):
    with db.transaction():
        for name, totals in (("Ada", (10, 20)), ("Grace", (5,)), ("Kay", ())):
            pay(db, add(db, name), *map(Decimal, totals))
    rows = db.fetchall(
        "SELECT c.name, count(i.id), coalesce(sum(i.total), 0) FROM customer c LEFT JOIN invoice i ON i.customer_id = c.id"
        " GROUP BY c.id, c.name HAVING count(i.id) < 5 ORDER BY c.name"
    )
    assert [(name, count, int(total)) for name, count, total in rows] == [
        ("Ada", 2, 30),
        ("Grace", 1, 5),
        ("Kay", 0, 0),
    ]
    db.fetchone("SELECT min(total), max(total), count(*), count(DISTINCT customer_id) FROM invoice")


def test_joins_and_subqueries(db):
    with db.transaction():
        for name in ("Ada", "Grace"):
            pay(db, add(db, name), Decimal(len(name)))
    db.fetchall(
        "SELECT c.name, i.total FROM customer c JOIN invoice i ON i.customer_id = c.id WHERE EXISTS"
        " (SELECT 1 FROM invoice x WHERE x.customer_id = c.id AND x.total >= ?) ORDER BY c.name", (3,),
    )  # fmt: skip
    db.fetchall("WITH big AS (SELECT id FROM invoice WHERE total > 3) SELECT count(*) FROM big")
    db.fetchall("SELECT CASE WHEN total > 3 THEN 'big' ELSE 'small' END AS size, id FROM invoice ORDER BY id")


def test_window_functions(db):
    with db.transaction():
        pay(db, add(db, "Ada"), *map(Decimal, (5, 7, 9)))
    assert db.fetchall("SELECT id, row_number() OVER (ORDER BY total DESC) FROM invoice ORDER BY id") == [
        (1, 3),
        (2, 2),
        (3, 1),
    ]


def test_savepoints(db):
    with db.transaction():
        add(db, "Ada")
        with pytest.raises(LookupError), db.transaction():
            add(db, "nobody")
            raise LookupError
        with db.transaction():
            add(db, "Grace")
    assert db.fetchall("SELECT name FROM customer ORDER BY id") == [("Ada",), ("Grace",)]


def test_ids_after_a_rollback(db):
    with pytest.raises(LookupError), db.transaction():
        add(db, "nobody")
        raise LookupError
    with db.transaction():
        number = add(db, "Ada")
        pay(db, number, Decimal(5))
    db.fetchall("SELECT id, name FROM customer ORDER BY id")
    db.fetchall(
        "SELECT c.id, i.customer_id, i.total FROM customer c JOIN invoice i ON i.customer_id = c.id ORDER BY i.id"
    )


def test_constraint_violations(db):
    with db.transaction():
        db.execute("INSERT INTO stock VALUES (?, ?)", ("a", 1))
    for sql, params in (
        ("INSERT INTO stock VALUES (?, ?)", ("a", 2)),
        ("UPDATE stock SET quantity = quantity - ?", (5,)),
        ("INSERT INTO stock VALUES (?, ?)", ("b", None)),
    ):
        with pytest.raises(Exception, match=r"(?i)constraint"), db.transaction():
            db.execute(sql, params)
    assert db.fetchall("SELECT sku, quantity FROM stock") == [("a", 1)]


def test_many_at_once(db):
    with db.transaction():
        db.executemany("INSERT INTO stock VALUES (?, ?)", [(f"sku-{n:03}", n) for n in range(200)])
    assert db.scalar("SELECT sum(quantity) FROM stock") == 19900
    assert len(db.fetchall("SELECT sku FROM stock WHERE quantity IN (?, ?, ?) ORDER BY sku", (1, 2, 3))) == 3


def test_upsert(db):
    with db.transaction():
        for quantity in (1, 2):
            db.execute(
                "INSERT INTO stock VALUES (?, ?) ON CONFLICT (sku) DO UPDATE SET quantity = stock.quantity + excluded.quantity",
                ("a", quantity),
            )
        db.execute("INSERT INTO stock VALUES (?, ?) ON CONFLICT DO NOTHING", ("a", 9))
    assert db.fetchall("SELECT * FROM stock") == [("a", 3)]


def test_pages(db):
    with db.transaction():
        for name in "edcba":
            add(db, name)
    pages = [
        [
            row[0]
            for row in db.fetchall("SELECT name FROM customer ORDER BY name, id LIMIT ? OFFSET ?", (2, start))
        ]
        for start in (0, 2, 4)
    ]
    assert pages == [["a", "b"], ["c", "d"], ["e"]]


def test_threads(db):
    def work(number):
        connection = db.connect()
        cursor = connection.cursor()
        cursor.execute(
            f"INSERT INTO stock VALUES ({db.placeholder}, {db.placeholder})", (f"t{number}", number)
        )
        connection.commit()
        cursor.execute(f"SELECT quantity FROM stock WHERE sku = {db.placeholder}", (f"t{number}",))
        assert cursor.fetchone() == (number,)
        connection.close()

    for number in range(3):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    assert db.scalar("SELECT count(*) FROM stock") == 3


def test_dialect_functions(db):
    with db.transaction():
        add(db, "Ada")
    functions = db.functions
    mark = functions.concat("name", "'!'")
    assert db.scalar(f"SELECT {mark} FROM customer") == "Ada!"
    assert db.scalar(f"SELECT {functions.substring('name', 1, 2)} FROM customer") == "Ad"
    assert (
        db.scalar(f"SELECT count(*) FROM customer WHERE {functions.ilike('name', chr(39) + 'a%' + chr(39))}")
        == 1
    )


def test_rows_without_an_order(db):
    with db.transaction():
        db.executemany("INSERT INTO stock VALUES (?, ?)", [("b", 1), ("a", 1), ("c", 2)])
    assert sorted(db.fetchall("SELECT sku FROM stock")) == [("a",), ("b",), ("c",)]
    assert {row[0] for row in db.fetchall("SELECT DISTINCT quantity FROM stock")} == {1, 2}


def test_update_from_what_was_read(db):
    with db.transaction():
        db.execute("INSERT INTO stock VALUES ('a', 5)")
    for _ in range(3):
        with db.transaction():
            quantity = db.scalar("SELECT quantity FROM stock WHERE sku = 'a'")
            db.execute("UPDATE stock SET quantity = ? WHERE sku = 'a'", (quantity - 1,))
    assert db.scalar("SELECT quantity FROM stock") == 2


def test_floats_and_dates(db):
    with db.transaction():
        customer = add(db, "Ada")
        db.execute(
            "INSERT INTO invoice (customer_id, total, issued, seconds) VALUES (?, ?, ?, ?)",
            (customer, "1.50", "2024-02-29", 0.1 + 0.2),
        )
    issued, seconds = db.fetchone("SELECT issued, seconds FROM invoice")
    assert str(issued) == "2024-02-29"
    assert seconds == 0.1 + 0.2


def test_network_addresses(db):
    kind = "TEXT" if db.backend == "sqlite" else "INET"
    db.executescript(f"CREATE TABLE host (address {kind})")
    db.execute("INSERT INTO host VALUES ('10.0.0.7'), ('10.0.0.0/8')")
    db.connection.commit()


def test_keys_that_are_given_again(db):
    with db.transaction():
        add(db, "Ada")
    for names in (("Grace", "Kay"), ("Alan",), ("Edith", "Grace")):
        with db.transaction():
            for name in names:
                pay(db, add(db, name), 5)
            db.fetchall("SELECT id, name FROM customer ORDER BY name")
            db.fetchall("SELECT customer_id, total FROM invoice ORDER BY customer_id")
            if "Edith" not in names:
                db.connection.rollback()
    with db.transaction():
        db.execute("DELETE FROM invoice")
        db.execute("DELETE FROM customer WHERE name = ?", ("Grace",))
        pay(db, add(db, "Mary"), 7)
    db.fetchall("SELECT id, name FROM customer ORDER BY name")
    db.fetchall("SELECT customer_id, total FROM invoice ORDER BY customer_id")
