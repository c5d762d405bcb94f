"""Plain DB-API through a thin adapter, as an application that grew from scripts has it."""

from __future__ import annotations

import collections
import concurrent.futures
import threading

import pytest


class Adapter:
    """What such an application has: one class that knows the placeholder, and nothing else of the database."""

    def __init__(self, db):
        self.db = db
        self.connection = db.connect()
        if db.backend == "sqlite":
            self.connection.execute("PRAGMA foreign_keys=ON")

    def run(self, sql, *params):
        cursor = self.connection.cursor()
        cursor.execute(sql.replace("?", self.db.placeholder), params)
        return cursor

    def rows(self, sql, *params):
        return self.run(sql, *params).fetchall()

    def value(self, sql, *params):
        return self.run(sql, *params).fetchone()[0]

    def dicts(self, sql, *params):
        cursor = self.run(sql, *params)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def many(self, sql, sets):
        cursor = self.connection.cursor()
        cursor.executemany(sql.replace("?", self.db.placeholder), sets)
        return cursor

    def commit(self):
        self.connection.commit()

    def rollback(self):
        self.connection.rollback()


@pytest.fixture
def app(db):
    return Adapter(db)


def test_life_of_a_row(app):
    number = app.value("INSERT INTO employee (name, salary) VALUES (?, ?) RETURNING id", "barbara", 650)
    app.commit()
    assert app.rows("SELECT name, salary FROM employee WHERE id = ?", number) == [("barbara", 650)]
    assert app.run("UPDATE employee SET salary = salary + ? WHERE id = ?", 50, number).rowcount == 1
    assert app.run("UPDATE employee SET note = NULL, active = 0 WHERE salary < ?", 600).rowcount == 1
    app.commit()
    assert app.dicts("SELECT id, name, salary, active FROM employee WHERE id = ?", number) == [
        {"id": number, "name": "barbara", "salary": 700, "active": 1}
    ]
    assert app.run("DELETE FROM employee WHERE id = ?", number).rowcount == 1
    assert app.run("DELETE FROM employee WHERE id = ?", number).rowcount == 0
    app.commit()


def test_insert_of_several_rows(app):
    app.run(
        "INSERT INTO product (sku, title, price) VALUES (?, ?, ?), (?, ?, ?)",
        "d1",
        "chair",
        4000,
        "d2",
        "shelf",
        6000,
    )
    app.run(
        "INSERT INTO product (sku, title, price) SELECT sku || 'x', title, price * 2 FROM product WHERE price > ?",
        5000,
    )
    app.commit()
    assert app.value("SELECT count(*) FROM product") == 9
    app.dicts("SELECT sku, title, price, worth FROM product ORDER BY sku")
    assert app.run("DELETE FROM product WHERE sku LIKE ?", "%x").rowcount == 2
    app.commit()


def test_returning(app):
    assert app.rows("UPDATE product SET price = price + 1 WHERE sku = ? RETURNING sku, price", "a1") == [
        ("a1", 6)
    ]
    assert app.rows("DELETE FROM product WHERE sku = ? RETURNING title", "c1") == [("ink",)]
    assert app.rows("DELETE FROM product WHERE sku = ? RETURNING title", "nothing") == []
    app.commit()


def test_upserts(app):
    for stock in (1, 2, 3):
        app.run(
            "INSERT INTO product (sku, title, price, stock) VALUES (?, ?, ?, ?) ON CONFLICT (sku)"
            " DO UPDATE SET stock = product.stock + excluded.stock, title = excluded.title", "e1", f"cup {stock}", 300, stock,
        )  # fmt: skip
    app.run("INSERT INTO department (id, name) VALUES (?, ?) ON CONFLICT (name) DO NOTHING", 9, "sales")
    app.run(
        "INSERT INTO department (id, name) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET name = excluded.name"
        " WHERE department.name <> excluded.name", 4, "laboratory",
    )  # fmt: skip
    app.commit()
    assert app.rows("SELECT title, stock FROM product WHERE sku = ?", "e1") == [("cup 3", 6)]
    app.rows("SELECT id, name FROM department ORDER BY id")


def test_cascade_and_set_null(app):
    order = app.value(
        "INSERT INTO purchase (number, buyer, placed) VALUES (?, ?, ?) RETURNING id", "1", "ada", "2024-01-01"
    )
    app.many(
        "INSERT INTO line (purchase_id, sku, quantity) VALUES (?, ?, ?)", [(order, "a1", 2), (order, "a2", 1)]
    )
    app.commit()
    assert app.value("SELECT count(*) FROM line") == 2
    app.rows(
        "SELECT p.number, sum(l.quantity * x.price) FROM purchase p JOIN line l ON l.purchase_id = p.id"
        " JOIN product x ON x.sku = l.sku GROUP BY p.id, p.number"
    )
    app.run("DELETE FROM purchase WHERE id = ?", order)
    app.run("DELETE FROM employee WHERE department_id = ?", 4)
    app.run("DELETE FROM department WHERE id = ?", 4)
    app.commit()
    assert app.value("SELECT count(*) FROM line") == 0
    app.rows("SELECT name, department_id FROM employee ORDER BY id")


@pytest.mark.parametrize(
    ("sql", "params"),
    [
        ("INSERT INTO line (purchase_id, sku, quantity) VALUES (?, ?, ?)", (77, "a1", 1)),
        ("INSERT INTO department (id, name) VALUES (?, ?)", (1, "again")),
        ("INSERT INTO department (id, name) VALUES (?, ?)", (10, None)),
        ("UPDATE department SET name = ? WHERE id = 3", ("research",)),
        ("UPDATE product SET stock = stock - ? WHERE sku = 'b1'", (4,)),
        ("INSERT INTO employee (name, salary) VALUES (?, ?)", ("x", -1)),
        ("DELETE FROM product WHERE sku IN (SELECT sku FROM line) OR sku = ?", ("a1",)),
    ],
)
def test_refused(app, sql, params):
    app.run(
        "INSERT INTO purchase (id, number, buyer, placed) VALUES (?, ?, ?, ?)",
        500,
        "500",
        "ada",
        "2024-01-01",
    )
    app.run("INSERT INTO line (purchase_id, sku, quantity) VALUES (?, ?, ?)", 500, "a1", 1)
    app.commit()
    with pytest.raises(Exception, match=r"(?i)constraint|violates"):
        app.run(sql, *params)
    app.rollback()
    app.rows("SELECT count(*), sum(stock) FROM product")
    assert app.value("SELECT count(*) FROM line") == 1


def test_refused_and_gone_on(app):
    app.run("INSERT INTO department (id, name) VALUES (?, ?)", 20, "twenty")
    for number, name in ((21, "sales"), (22, "new"), (20, "again")):
        if app.db.backend == "sqlite" and not app.connection.in_transaction:
            app.run("BEGIN")
        app.run("SAVEPOINT one")
        try:
            app.run("INSERT INTO department (id, name) VALUES (?, ?)", number, name)
        except Exception:
            app.run("ROLLBACK TO SAVEPOINT one")
        app.run("RELEASE SAVEPOINT one")
    app.commit()
    assert app.rows("SELECT id, name FROM department WHERE id >= 20 ORDER BY id") == [
        (20, "twenty"),
        (22, "new"),
    ]


def test_gaps_after_refused_rows(app):
    ids = []
    for name, salary in (("a", 1), ("b", -1), ("c", 3), ("d", -4), ("e", 5)):
        try:
            ids.append(
                app.value("INSERT INTO employee (name, salary) VALUES (?, ?) RETURNING id", name, salary)
            )
            app.commit()
        except Exception:
            app.rollback()
    assert ids == sorted(ids)
    for number in ids:
        app.rows("SELECT name FROM employee WHERE id = ?", number)
        app.run("UPDATE employee SET note = ? WHERE id = ?", f"made {number}", number)
    app.commit()
    app.rows("SELECT name, note FROM employee WHERE salary < 10 ORDER BY id")
    app.rows("SELECT id, name FROM employee WHERE salary < 10 ORDER BY id")


def test_rollback_of_everything(app):
    app.run("UPDATE employee SET salary = 1")
    app.run("DELETE FROM employee WHERE name = ?", "ada")
    assert app.value("SELECT count(*) FROM employee") == 4
    app.rollback()
    assert app.value("SELECT count(*) FROM employee WHERE salary > 1") == 5


def test_nested_savepoints(app):
    app.run("UPDATE product SET price = 1 WHERE sku = 'a1'")
    app.run("SAVEPOINT outer_one")
    app.run("UPDATE product SET price = 2 WHERE sku = 'a1'")
    app.run("SAVEPOINT inner_one")
    app.run("UPDATE product SET price = 3 WHERE sku = 'a1'")
    app.run("ROLLBACK TO SAVEPOINT inner_one")
    assert app.value("SELECT price FROM product WHERE sku = 'a1'") == 2
    app.run("ROLLBACK TO SAVEPOINT outer_one")
    app.run("RELEASE SAVEPOINT outer_one")
    app.commit()
    assert app.value("SELECT price FROM product WHERE sku = 'a1'") == 1


def test_triggers(app):
    for stock in (90, 80, 80):
        app.run("UPDATE product SET stock = ? WHERE sku = 'a1'", stock)
    app.run("UPDATE product SET price = price WHERE sku = 'a1'")
    app.commit()
    app.rows("SELECT what FROM audit ORDER BY id")
    assert app.value("SELECT worth FROM product WHERE sku = 'a1'") == 400


def test_batch_in_one_transaction(app):
    app.many(
        "INSERT INTO department (id, name, parent_id) VALUES (?, ?, ?)",
        [(n, f"team {n:03}", 1) for n in range(100, 200)],
    )
    app.commit()
    assert app.value("SELECT count(*) FROM department") == 105
    page, last = 0, 0
    while rows := app.rows("SELECT id, name FROM department WHERE id > ? ORDER BY id LIMIT 25", last):
        page, last = page + 1, rows[-1][0]
    assert page == 5


def test_cursor_read_in_parts(app):
    cursor = app.run("SELECT id, name FROM employee ORDER BY id")
    assert cursor.fetchone() == (1, "ada")
    assert [row[0] for row in cursor.fetchmany(2)] == [2, 3]
    assert [name for _, name in cursor] == ["edith", "alan"]
    assert cursor.fetchone() is None
    cursor.execute("SELECT sku FROM product ORDER BY sku")
    assert next(iter(cursor)) == ("a1",)


def test_cursor_left_open(app):
    cursor = app.run("SELECT name FROM employee ORDER BY id")
    cursor.fetchone()
    other = app.run("SELECT title FROM product ORDER BY sku")
    assert other.fetchone() == ("pencil",)


def test_two_connections(db):
    first, second = Adapter(db), Adapter(db)
    first.run("UPDATE product SET stock = 7 WHERE sku = 'b1'")
    assert second.value("SELECT stock FROM product WHERE sku = 'b1'") == 3
    second.rollback()
    first.commit()
    assert second.value("SELECT stock FROM product WHERE sku = 'b1'") == 7
    second.connection.close()


def test_rows_by_name(db):
    Person = collections.namedtuple("Person", "name salary")
    app = Adapter(db)
    people = [Person(*row) for row in app.rows("SELECT name, salary FROM employee ORDER BY id")]
    assert people[0].salary == 900
    if db.backend == "sqlite":
        import sqlite3

        app.connection.row_factory = sqlite3.Row
        cursor = app.connection.cursor()
    else:
        import psycopg2.extras

        cursor = app.connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor)
    cursor.execute("SELECT name, salary FROM employee WHERE salary > 700 ORDER BY id")
    assert [row["name"] for row in cursor.fetchall()] == ["ada", "grace", "edith"]
    cursor.execute(
        "SELECT d.id AS id, count(e.id) AS people FROM department d LEFT JOIN employee e ON e.department_id = d.id GROUP BY d.id ORDER BY d.id"
    )
    db.observe("people", {row["id"]: row["people"] for row in cursor})


def test_one_thread_after_another(db):
    def work(number):
        app = Adapter(db)
        app.run("INSERT INTO department (id, name) VALUES (?, ?)", 50 + number, f"thread {number}")
        app.commit()
        assert app.rows("SELECT name FROM department WHERE id = ?", 50 + number) == [(f"thread {number}",)]
        app.connection.close()

    for number in range(6):
        thread = threading.Thread(target=work, args=(number,))
        thread.start()
        thread.join()
    assert db.scalar("SELECT count(*) FROM department WHERE id >= 50") == 6


def test_threads_at_once(db):
    barrier = threading.Barrier(4)

    def work(number):
        app = Adapter(db)
        barrier.wait()
        for round_ in range(3):
            app.rows("SELECT name FROM employee WHERE id = ?", 1 + (number + round_) % 5)
        app.connection.close()

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert db.scalar("SELECT count(*) FROM employee") == 5


def test_pool_of_threads(db):
    lock = threading.Lock()

    def work(sku):
        with lock:
            app = Adapter(db)
            price = app.value("SELECT price FROM product WHERE sku = ?", sku)
            app.run("UPDATE product SET price = ? WHERE sku = ?", price + 1, sku)
            app.commit()
            app.connection.close()
        return sku, price

    with concurrent.futures.ThreadPoolExecutor(3) as pool:
        prices = dict(pool.map(work, ["a1", "a2", "b1", "b2", "c1"]))
    db.observe("prices", prices)
    db.fetchall("SELECT sku, price FROM product ORDER BY sku")


def test_tables_of_its_own(app):
    app.run("CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT NOT NULL, pinned INTEGER DEFAULT 0)")
    app.run("CREATE UNIQUE INDEX note_body ON note (body)")
    app.commit()
    app.many("INSERT INTO note (id, body) VALUES (?, ?)", [(1, "one"), (2, "two"), (3, "three")])
    app.run("ALTER TABLE note ADD COLUMN colour TEXT DEFAULT 'red'")
    app.run("UPDATE note SET colour = 'blue' WHERE id > ?", 1)
    app.commit()
    app.dicts("SELECT id, body, pinned, colour FROM note ORDER BY id")
    app.run("ALTER TABLE note RENAME COLUMN colour TO color")
    app.run("ALTER TABLE note RENAME TO remark")
    app.commit()
    app.rows("SELECT color, count(*) FROM remark GROUP BY color ORDER BY color")
    app.run("CREATE VIEW pinned AS SELECT body FROM remark WHERE pinned = 1")
    app.commit()
    app.rows("SELECT body FROM pinned")
    app.run("DROP VIEW pinned")
    app.run("DROP TABLE remark")
    app.commit()


TEXTS = [
    "",
    " ",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "日本語",
    "\U0001f469\u200d\U0001f4bb",
    "a\tb\nc",
    "'\"`",
    "%s ?",
    "\\",
    "x" * 5000,
    "null",
]


@pytest.mark.parametrize("start", range(0, len(TEXTS), 7))
def test_texts(app, start):
    for number, text in enumerate(TEXTS[start : start + 7]):
        app.run("INSERT INTO event (id, kind, payload) VALUES (?, ?, ?)", f"k{number}", "text", text)
        assert app.value("SELECT payload FROM event WHERE id = ?", f"k{number}") == text
        assert app.value("SELECT count(*) FROM event WHERE payload = ?", text) == 1
        assert app.value("SELECT length(payload) FROM event WHERE id = ?", f"k{number}") == len(text)
    app.commit()


def test_numbers(app):
    for number in (0, -1, 2**31 - 1, -(2**31)):
        app.run("UPDATE employee SET department_id = NULL, active = ? WHERE name = 'ada'", number)
        assert app.value("SELECT active FROM employee WHERE name = 'ada'") == number
    for number in (0.1, -0.0, 1e-300, 1.7976931348623157e308, 1 / 3, 123456789.123456789):
        app.run("UPDATE employee SET rating = ? WHERE name = 'ada'", number)
        assert app.value("SELECT rating FROM employee WHERE name = 'ada'") == number
    app.commit()


def test_bytes(app):
    for number, salt in enumerate((b"", b"\x00", bytes(range(256)), b"text")):
        app.run("INSERT INTO login (token, owner, salt) VALUES (?, ?, ?)", f"t{number}", "ada", salt)
        assert bytes(app.value("SELECT salt FROM login WHERE token = ?", f"t{number}")) == salt
        assert app.value("SELECT length(salt) FROM login WHERE token = ?", f"t{number}") == len(salt)
    app.commit()
