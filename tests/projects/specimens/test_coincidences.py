"""Statements whose results differ because the rows do, which no difference of the databases explains.

The halves start from other rows, as when each database has seeds of its own. Whatever a statement looks like
that a rule knows, the rule must see that its pattern is not the reason.
"""

import datetime

import pytest

SCHEMA = """
CREATE TABLE author (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, city VARCHAR(40), born {date});
CREATE TABLE book (
    id {key} PRIMARY KEY, author_id INTEGER NOT NULL REFERENCES author (id), title TEXT, pages INTEGER,
    price NUMERIC(8, 2), weight {real}, sold {boolean}, published {timestamp}, extra {json}
);
"""
TYPES = {
    "sqlite": {
        "date": "TEXT", "key": "INTEGER", "real": "REAL", "boolean": "INTEGER", "timestamp": "TEXT",
        "json": "TEXT",
    },
    "postgres": {
        "date": "TEXT", "key": "SERIAL", "real": "DOUBLE PRECISION", "boolean": "INTEGER", "timestamp": "TEXT",
        "json": "TEXT",
    },
}  # fmt: skip
ROWS = {
    "sqlite": """
INSERT INTO author VALUES (1, 'ada', 'london', '1815-12-10'), (2, 'grace', 'york', '1906-12-09');
INSERT INTO book (author_id, title, pages, price, weight, sold, published, extra) VALUES
  (1, 'notes', 100, 10.25, 0.5, 1, '2024-03-01 10:00:00', '{"a": 1}'),
  (1, 'letters', 207, 20.75, 1.5, 0, '2024-03-02 11:30:00', '{"a": 2}'),
  (2, 'compilers', 330, 31.5, 2.25, 1, '2024-04-05 12:45:10', NULL);
""",
    "postgres": """
INSERT INTO author VALUES (1, 'ada', 'london', '1815-12-10'), (2, 'emmy', 'bonn', '1882-03-23');
INSERT INTO book (author_id, title, pages, price, weight, sold, published, extra) VALUES
  (1, 'notes', 100, 10.25, 0.5, 1, '2024-03-01 10:00:00', '{"a": 1}'),
  (1, 'sketches', 411, 22.75, 3.5, 1, '2024-05-20 09:15:00', '{"a": 5}'),
  (2, 'invariants', 520, 44.5, 4.25, 0, '2024-06-07 08:00:20', '{"a": 7}');
""",
}
ONE_MORE = """
INSERT INTO book (author_id, title, pages, price, weight, sold, published, extra) VALUES
  (2, 'theorems', 77, 12.0, 0.75, 1, '2024-07-08 07:30:40', NULL);
"""
"""Differing rows are compared in pairs where both halves have as many: every other test has as many."""

QUERIES = """
SELECT title FROM book ORDER BY title
SELECT id, title, pages FROM book ORDER BY id
SELECT title FROM book WHERE title LIKE '%s' ORDER BY title
SELECT title FROM book WHERE lower(title) LIKE lower('%S') ORDER BY title
SELECT upper(title), length(title) FROM book ORDER BY id
SELECT substr(title, 2, 3) FROM book ORDER BY id
SELECT trim(title) || ' by ' || name FROM book JOIN author ON author.id = author_id ORDER BY book.id
SELECT title || pages FROM book ORDER BY id
SELECT replace(title, 's', 'z') FROM book ORDER BY id
SELECT CAST(pages AS TEXT) FROM book ORDER BY id
SELECT CAST(price AS INTEGER) FROM book ORDER BY id
SELECT count(*) FROM book
SELECT sum(pages), min(pages), max(pages) FROM book
SELECT sum(price) FROM book
SELECT CAST(avg(pages) AS INTEGER) FROM book
SELECT avg(pages) FROM book
SELECT max(weight) FROM book
SELECT pages / 10 FROM book ORDER BY id
SELECT pages * 2 + 1 FROM book ORDER BY id
SELECT pages % 7 FROM book ORDER BY id
SELECT round(weight) FROM book ORDER BY id
SELECT round(CAST(weight AS NUMERIC), 1) FROM book ORDER BY id
SELECT abs(pages - 300) FROM book ORDER BY id
SELECT price FROM book ORDER BY id
SELECT weight FROM book ORDER BY id
SELECT sold FROM book ORDER BY id
SELECT title FROM book WHERE sold = 1 ORDER BY id
SELECT title FROM book WHERE price > 11 ORDER BY id
SELECT title FROM book WHERE pages BETWEEN 100 AND 400 ORDER BY id
SELECT title FROM book WHERE extra IS NULL
SELECT extra FROM book ORDER BY id
SELECT published FROM book ORDER BY published
SELECT substr(published, 1, 10) AS day, count(*) FROM book GROUP BY substr(published, 1, 10) ORDER BY day
SELECT title FROM book WHERE published >= '2024-03-02 00:00:00' ORDER BY published
SELECT max(published) FROM book
SELECT date('2024-03-01') || title FROM book ORDER BY id
SELECT author_id, count(*) AS books FROM book GROUP BY author_id ORDER BY author_id
SELECT author_id, count(*) AS books FROM book GROUP BY author_id HAVING count(*) > 1 ORDER BY author_id
SELECT DISTINCT author_id, sold FROM book ORDER BY author_id, sold
SELECT title FROM book ORDER BY pages DESC LIMIT 2
SELECT title FROM book ORDER BY pages LIMIT 2 OFFSET 1
SELECT title FROM book LIMIT 2
SELECT title FROM book ORDER BY extra, id
SELECT title FROM book ORDER BY sold, title
SELECT CASE WHEN pages > 300 THEN 'long' ELSE 'short' END FROM book ORDER BY id
SELECT coalesce(extra, 'none') FROM book ORDER BY id
SELECT nullif(sold, 0) FROM book ORDER BY id
SELECT name, (SELECT count(*) FROM book WHERE author_id = author.id) FROM author ORDER BY author.id
SELECT name FROM author WHERE EXISTS (SELECT 1 FROM book WHERE author_id = author.id AND pages > 320)
SELECT name FROM author LEFT JOIN book ON author_id = author.id AND pages < 90 WHERE title IS NOT NULL
SELECT title, row_number() OVER (ORDER BY pages) FROM book ORDER BY pages
SELECT title, rank() OVER (PARTITION BY author_id ORDER BY pages DESC) FROM book ORDER BY title
WITH long AS (SELECT title FROM book WHERE pages > 200) SELECT title FROM long ORDER BY title
SELECT name FROM author UNION SELECT title FROM book ORDER BY 1
SELECT name FROM author EXCEPT SELECT 'ada'
SELECT "name" FROM author ORDER BY "name"
SELECT name AS "Name" FROM author ORDER BY 1
SELECT name FROM author WHERE city IN ('york', 'bonn')
SELECT name FROM author WHERE city = 'york'
SELECT name FROM author WHERE born < '1890-01-01' ORDER BY born
UPDATE book SET pages = pages + 1 WHERE pages > 200
UPDATE book SET title = upper(title)
UPDATE book SET sold = 1 - sold
UPDATE book SET price = price * 2
DELETE FROM book WHERE pages > 300
INSERT INTO book (author_id, title) SELECT id, name FROM author
INSERT INTO author (id, name) VALUES (1, 'ada') ON CONFLICT (id) DO UPDATE SET name = excluded.name || '!'
INSERT INTO author (id, name) SELECT id + 10, name || '?' FROM author WHERE true ON CONFLICT DO NOTHING
DELETE FROM book WHERE sold = 1 RETURNING title
UPDATE author SET city = name RETURNING city
SELECT extra || '' FROM book WHERE id = 3
SELECT title || extra FROM book WHERE id > 1 ORDER BY id
SELECT lower(title), upper(name) FROM book JOIN author ON author.id = author_id ORDER BY book.id
SELECT min(title), max(title) FROM book
SELECT min(pages), max(weight) FROM book WHERE id > 1
SELECT CAST(pages AS TEXT) || '' FROM book WHERE id = 3
SELECT substr(title, 0, 4) FROM book WHERE id = 1
SELECT CASE WHEN sold = 1 THEN NULL ELSE title END FROM book WHERE id = 3
SELECT CAST(weight AS TEXT) FROM book WHERE id = 2
SELECT CAST(weight AS INTEGER) FROM book WHERE id = 2
SELECT weight * pages FROM book WHERE id = 3
SELECT price / 2 FROM book WHERE id = 3
SELECT price * 1.1 FROM book WHERE id = 3
SELECT pages / 2 FROM book WHERE id = 3
SELECT -pages / 7 FROM book WHERE id = 2
SELECT round(price, 1) FROM book WHERE id = 2
SELECT avg(price) FROM book WHERE id > 1
SELECT sum(weight) FROM book WHERE id > 1
SELECT count(extra) FROM book
SELECT sold = 1 FROM book WHERE id = 3
SELECT pages > 400 FROM book WHERE id = 2
SELECT title, count(*) FROM book GROUP BY title ORDER BY 1
SELECT title FROM book WHERE author_id = 2 ORDER BY pages LIMIT 1
SELECT first_value(title) OVER (ORDER BY pages DESC) FROM book ORDER BY id
SELECT name FROM author WHERE name >= 'e' ORDER BY name
SELECT published FROM book WHERE id = 2
SELECT substr(published, 12) FROM book WHERE id = 2
UPDATE book SET weight = weight / 3 WHERE id = 2
UPDATE book SET price = 10.005 + id WHERE pages > 300
UPDATE book SET extra = NULL WHERE id = 3
UPDATE book SET published = CURRENT_TIMESTAMP WHERE id = 1
INSERT INTO book (author_id, title, price) VALUES (1, 'new', 1.5)
DELETE FROM book WHERE title = 'letters'
""".strip().splitlines()

BOUND = [
    ("SELECT title FROM book WHERE title LIKE ? ORDER BY id", ("%e%",)),
    ("SELECT title FROM book WHERE pages > ? ORDER BY id", (150,)),
    ("SELECT title FROM book WHERE price < ? ORDER BY id", (25,)),
    ("SELECT title FROM book WHERE weight = ?", (2.25,)),
    ("SELECT title FROM book WHERE published > ? ORDER BY id", ("2024-04-01 00:00:00",)),
    ("SELECT title FROM book WHERE extra = ?", ('{"a": 2}',)),
    ("SELECT title FROM book WHERE sold = ? ORDER BY id", (1,)),
    ("SELECT title FROM book WHERE author_id = ? AND pages <> ? ORDER BY id", (2, 330)),
    ("UPDATE book SET published = ? WHERE author_id = ?", ("2024-01-01 00:00:00", 2)),
]


def start(db, one_more=False):
    db.executescript(SCHEMA.format(**TYPES[db.backend]))
    db.executescript(ROWS[db.backend])
    if one_more and db.backend == "postgres":
        db.executescript(ONE_MORE)


@pytest.mark.parametrize("number", range(len(QUERIES) + len(BOUND)))
def test_coincidence(db, number):
    start(db, one_more=number % 2 == 1)
    sql, params = [*((text, None) for text in QUERIES), *BOUND][number]
    try:
        cursor = db.execute(sql, params)
        if cursor.description:
            cursor.fetchall()
        db.connection.commit()
    except Exception:
        db.connection.rollback()


@pytest.mark.parametrize("column", ["title", "pages", "weight", "sold", "published", "extra"])
def test_response(db, column):
    start(db)
    rows = db.fetchall(f"SELECT {column} FROM book ORDER BY id")
    db.observe("response", {"count": len(rows), "values": [row[0] for row in rows[:3]]})


def test_page_of_a_number(db):
    start(db)
    pages = db.scalar("SELECT sum(pages) FROM book")
    db.execute("SELECT title FROM book WHERE pages < ? ORDER BY id", (pages // 4,)).fetchall()


def test_what_was_made_of_rows(db):
    start(db)
    for (name,) in db.fetchall("SELECT name FROM author ORDER BY id"):
        db.execute("INSERT INTO book (author_id, title, published) VALUES (1, ?, ?)",
                   (name.title(), datetime.datetime(2024, 1, 1).isoformat(" ")))  # fmt: skip
    db.connection.commit()
