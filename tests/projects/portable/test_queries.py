"""Queries that both databases answer alike: each must give the same rows, and nothing may be reported."""

from __future__ import annotations

import pytest

FILTERS = [
    "SELECT name FROM employee WHERE salary = 800 ORDER BY name",
    "SELECT name FROM employee WHERE salary <> 800 ORDER BY name",
    "SELECT name FROM employee WHERE salary BETWEEN 700 AND 800 ORDER BY name",
    "SELECT name FROM employee WHERE NOT salary > 700 ORDER BY name",
    "SELECT name FROM employee WHERE salary > 600 AND (department_id = 2 OR department_id = 3) ORDER BY id",
    "SELECT name FROM employee WHERE department_id IN (2, 4) ORDER BY name",
    "SELECT name FROM employee WHERE department_id NOT IN (2, 4) ORDER BY name",
    "SELECT name FROM employee WHERE department_id IS NULL",
    "SELECT name FROM employee WHERE department_id IS NOT NULL ORDER BY name",
    "SELECT name FROM employee WHERE email IS NULL OR note IS NULL ORDER BY name",
    "SELECT name FROM employee WHERE note = '' ORDER BY name",
    "SELECT name FROM employee WHERE note <> '' ORDER BY name",
    "SELECT name FROM employee WHERE lower(name) LIKE 'a%' ORDER BY name",
    "SELECT name FROM employee WHERE lower(name) LIKE '%a%' ORDER BY name",
    "SELECT name FROM employee WHERE lower(name) NOT LIKE '%a_' ORDER BY name",
    "SELECT name FROM employee WHERE lower(email) LIKE lower('A%@EXAMPLE.COM') ORDER BY name",
    "SELECT name FROM employee WHERE lower(note) LIKE '%!%%' ESCAPE '!' ORDER BY name",
    "SELECT name FROM employee WHERE hired >= '2020-01-01' AND hired < '2022-01-01' ORDER BY hired",
    "SELECT name FROM employee WHERE substr(hired, 1, 4) = '2020'",
    "SELECT name FROM employee WHERE length(name) = 3 ORDER BY name",
    "SELECT name FROM employee WHERE rating > 3.5 ORDER BY rating DESC",
    "SELECT name FROM employee WHERE active = 1 ORDER BY name",
    "SELECT name FROM employee WHERE (salary, active) = (800, 1) ORDER BY name",
    "SELECT DISTINCT salary FROM employee ORDER BY salary",
    "SELECT DISTINCT department_id, active FROM employee WHERE department_id IS NOT NULL ORDER BY department_id, active",
    "SELECT name FROM employee WHERE 1 = 0",
    "SELECT count(*) FROM employee WHERE 1 = 0",
    "SELECT name FROM product WHERE price > 100 ORDER BY price".replace("name", "title"),
    "SELECT title FROM product WHERE worth = 0",
    "SELECT title, worth FROM product ORDER BY worth, sku",
]  # fmt: skip
ORDERS = [
    "SELECT name, note FROM employee ORDER BY note NULLS FIRST, name",
    "SELECT name, note FROM employee ORDER BY note DESC NULLS LAST, name",
    "SELECT name, rating FROM employee ORDER BY rating NULLS LAST",
    "SELECT name FROM employee ORDER BY department_id NULLS FIRST, salary DESC, name",
    "SELECT name FROM employee ORDER BY salary DESC, name ASC",
    "SELECT name FROM employee ORDER BY length(name), name",
    "SELECT name, salary * 12 AS yearly FROM employee ORDER BY yearly, name",
    "SELECT name, salary FROM employee ORDER BY 2 DESC, 1",
    "SELECT name FROM employee ORDER BY CASE WHEN note IS NULL THEN 1 ELSE 0 END, name",
    "SELECT name FROM employee ORDER BY id LIMIT 2",
    "SELECT name FROM employee ORDER BY id LIMIT 2 OFFSET 2",
    "SELECT name FROM employee ORDER BY id LIMIT 2 OFFSET 99",
    "SELECT name FROM employee ORDER BY salary DESC, id LIMIT 1",
    "SELECT sku FROM product ORDER BY price % 7, sku",
    "SELECT sku FROM product ORDER BY stock = 0, sku",
]
EXPRESSIONS = [
    "SELECT 1",
    "SELECT 7 / 2, 7 % 2, -7 / 2, 7.0 / 2",
    "SELECT 2 + 3 * 4, (2 + 3) * 4, 10 - 4 - 3",
    "SELECT abs(-5), abs(2.5)",
    "SELECT round(2.345, 2), round(0.125, 2)",
    "SELECT 'a' || 'b' || 'c'",
    "SELECT name || ' <' || email || '>' FROM employee WHERE email IS NOT NULL ORDER BY id",
    "SELECT upper(name), lower(name) FROM employee ORDER BY id",
    "SELECT length('abc'), length('')",
    "SELECT trim('  a  '), ltrim('  a'), rtrim('a  ')",
    "SELECT replace(email, '@example.com', '') FROM employee WHERE email IS NOT NULL ORDER BY id",
    "SELECT substr(name, 1, 2), substr(name, 2) FROM employee ORDER BY id",
    "SELECT coalesce(note, 'none'), coalesce(email, note, name) FROM employee ORDER BY id",
    "SELECT nullif(note, ''), nullif(salary, 800) FROM employee ORDER BY id",
    "SELECT CASE salary WHEN 900 THEN 'high' WHEN 800 THEN 'middle' ELSE 'low' END FROM employee ORDER BY id",
    "SELECT CASE WHEN salary >= 800 THEN 'a' WHEN salary >= 600 THEN 'b' END FROM employee ORDER BY id",
    "SELECT CAST(salary AS TEXT), CAST('12' AS INTEGER) FROM employee ORDER BY id",
    "SELECT CAST(salary AS DOUBLE PRECISION) / 7 FROM employee ORDER BY id",
    "SELECT salary + 1, salary - 1, salary * 2, -salary FROM employee ORDER BY id",
    "SELECT NULL, coalesce(NULL, 1)",
    "SELECT salary IS NULL, email IS NULL FROM employee ORDER BY id",
    "SELECT name, salary > 700 AS good FROM employee ORDER BY id",
    "SELECT id, EXISTS (SELECT 1 FROM employee e WHERE e.department_id = d.id) FROM department d ORDER BY id",
    "SELECT 'it''s', '\"quoted\"', 'back\\slash', '%s'",
    "SELECT 'é', 'ß', 'e\u0301', '\U0001f469\u200d\U0001f4bb', '日本'",
    "SELECT length('é'), length('日本'), length('e\u0301')",
    "SELECT 'abc' < 'abd', 'a' = 'A'",
    "SELECT 9007199254740993, -9223372036854775807",
    "SELECT CAST(0.1 AS DOUBLE PRECISION) + CAST(0.2 AS DOUBLE PRECISION)",
    "SELECT 5 & 3, 5 | 3, 1 << 4",
]
AGGREGATES = [
    "SELECT count(*), count(email), count(DISTINCT salary) FROM employee",
    "SELECT min(salary), max(salary), sum(salary) FROM employee",
    "SELECT min(name), max(name) FROM employee",
    "SELECT min(hired), max(hired) FROM employee",
    "SELECT sum(rating), avg(rating) FROM employee",
    "SELECT avg(salary) FROM employee",
    "SELECT round(avg(salary), 2) FROM employee WHERE department_id = 2",
    "SELECT sum(salary) FROM employee WHERE 1 = 0",
    "SELECT coalesce(sum(salary), 0) FROM employee WHERE 1 = 0",
    "SELECT department_id, count(*) FROM employee WHERE department_id IS NOT NULL GROUP BY department_id ORDER BY department_id",
    "SELECT department_id, sum(salary) AS total FROM employee GROUP BY department_id ORDER BY department_id NULLS LAST",
    "SELECT department_id FROM employee GROUP BY department_id HAVING count(*) > 1",
    "SELECT salary, count(*) FROM employee GROUP BY salary HAVING sum(active) >= 1 ORDER BY salary",
    "SELECT active, max(salary) - min(salary) FROM employee GROUP BY active ORDER BY active",
    "SELECT length(name), count(*) FROM employee GROUP BY length(name) ORDER BY length(name)",
    "SELECT sum(CASE WHEN active = 1 THEN salary ELSE 0 END), sum(CASE WHEN active = 0 THEN 1 ELSE 0 END) FROM employee",
    "SELECT count(*) FILTER (WHERE active = 1), count(*) FILTER (WHERE active = 0) FROM employee",
    "SELECT count(*) FROM (SELECT DISTINCT department_id FROM employee) AS d",
    "SELECT max(total) FROM (SELECT sum(salary) AS total FROM employee GROUP BY department_id) AS t",
    "SELECT substr(hired, 1, 4) AS year, count(*) FROM employee WHERE hired IS NOT NULL GROUP BY substr(hired, 1, 4) ORDER BY year",
]
JOINS = [
    "SELECT e.name, d.name FROM employee e JOIN department d ON d.id = e.department_id ORDER BY e.name",
    "SELECT e.name, d.name FROM employee e LEFT JOIN department d ON d.id = e.department_id ORDER BY e.name",
    "SELECT d.name, e.name FROM department d LEFT JOIN employee e ON e.department_id = d.id ORDER BY d.name, e.name",
    "SELECT d.name FROM department d LEFT JOIN employee e ON e.department_id = d.id WHERE e.id IS NULL ORDER BY d.name",
    "SELECT c.name, p.name FROM department c JOIN department p ON p.id = c.parent_id ORDER BY c.name",
    "SELECT a.name, b.name FROM employee a JOIN employee b ON a.salary = b.salary AND a.id < b.id ORDER BY a.name, b.name",
    "SELECT count(*) FROM employee CROSS JOIN department",
    "SELECT count(*) FROM employee, department WHERE employee.department_id = department.id",
    "SELECT e.name FROM employee e WHERE e.department_id IN (SELECT id FROM department WHERE parent_id = 1) ORDER BY e.name",
    "SELECT e.name FROM employee e WHERE EXISTS (SELECT 1 FROM department d WHERE d.id = e.department_id AND d.name = 'lab')",
    "SELECT d.name FROM department d WHERE NOT EXISTS (SELECT 1 FROM employee e WHERE e.department_id = d.id) ORDER BY d.name",
    "SELECT name FROM employee e WHERE salary = (SELECT max(salary) FROM employee WHERE department_id = e.department_id) ORDER BY name",
    "SELECT name, (SELECT name FROM department d WHERE d.id = e.department_id) AS team FROM employee e ORDER BY e.name",
    "SELECT d.name, t.n FROM department d JOIN (SELECT department_id, count(*) AS n FROM employee GROUP BY department_id) AS t"
    " ON t.department_id = d.id ORDER BY d.name",
    "SELECT department.name, people FROM department JOIN payroll ON payroll.department = department.name ORDER BY department.name",
    "SELECT * FROM payroll ORDER BY department",
    "SELECT department, total FROM payroll WHERE total > 0 ORDER BY total DESC, department",
    "SELECT sum(people) FROM payroll",
]  # fmt: skip
SETS = [
    "SELECT name FROM employee UNION SELECT name FROM department ORDER BY name",
    "SELECT salary FROM employee UNION ALL SELECT salary FROM employee ORDER BY salary",
    "SELECT id FROM department INTERSECT SELECT department_id FROM employee ORDER BY id",
    "SELECT id FROM department EXCEPT SELECT department_id FROM employee ORDER BY id",
    "SELECT 'e' AS kind, name FROM employee UNION ALL SELECT 'd', name FROM department ORDER BY kind, name",
    "SELECT name FROM employee WHERE salary > 700 UNION SELECT name FROM employee WHERE active = 0 ORDER BY 1 LIMIT 3",
    "SELECT count(*) FROM (SELECT name FROM employee UNION SELECT name FROM department) AS x",
    "VALUES (1, 'a'), (2, 'b')",
    "SELECT column1 FROM (VALUES (1), (2), (3)) AS v WHERE column1 > 1 ORDER BY column1",
]
COMMON_TABLES = [
    "WITH t AS (SELECT name, salary FROM employee WHERE active = 1) SELECT name FROM t WHERE salary > 700 ORDER BY name",
    "WITH a AS (SELECT 1 AS n), b AS (SELECT n + 1 AS n FROM a) SELECT a.n, b.n FROM a, b",
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < 10) SELECT n FROM c ORDER BY n",
    "WITH RECURSIVE c (n) AS (SELECT 1 UNION ALL SELECT n * 2 FROM c WHERE n < 100) SELECT sum(n), count(*) FROM c",
    "WITH RECURSIVE tree (id, name, depth) AS (SELECT id, name, 0 FROM department WHERE parent_id IS NULL UNION ALL"
    " SELECT d.id, d.name, tree.depth + 1 FROM department d JOIN tree ON d.parent_id = tree.id)"
    " SELECT name, depth FROM tree ORDER BY depth, name",
    "WITH RECURSIVE up (id, parent_id) AS (SELECT id, parent_id FROM department WHERE name = 'lab' UNION"
    " SELECT d.id, d.parent_id FROM department d JOIN up ON d.id = up.parent_id) SELECT id FROM up ORDER BY id",
    "WITH best AS (SELECT department_id, max(salary) AS top FROM employee GROUP BY department_id)"
    " SELECT e.name FROM employee e JOIN best ON best.department_id = e.department_id AND best.top = e.salary ORDER BY e.name",
]
WINDOWS = [
    "SELECT name, row_number() OVER (ORDER BY salary DESC, id) FROM employee ORDER BY id",
    "SELECT name, rank() OVER (ORDER BY salary DESC) AS place FROM employee ORDER BY place, name",
    "SELECT name, dense_rank() OVER (ORDER BY salary) FROM employee ORDER BY name",
    "SELECT name, sum(salary) OVER (ORDER BY id) FROM employee ORDER BY id",
    "SELECT name, sum(salary) OVER (ORDER BY id ROWS BETWEEN 1 PRECEDING AND CURRENT ROW) FROM employee ORDER BY id",
    "SELECT name, count(*) OVER (PARTITION BY department_id) FROM employee ORDER BY id",
    "SELECT name, max(salary) OVER (PARTITION BY active) - salary FROM employee ORDER BY id",
    "SELECT name, lag(name) OVER (ORDER BY id), lead(name, 1, 'nobody') OVER (ORDER BY id) FROM employee ORDER BY id",
    "SELECT name, first_value(name) OVER (PARTITION BY department_id ORDER BY salary, id) FROM employee ORDER BY id",
    "SELECT name, ntile(2) OVER (ORDER BY id) FROM employee ORDER BY id",
    "SELECT name FROM (SELECT name, row_number() OVER (PARTITION BY department_id ORDER BY salary DESC, id) AS n FROM employee)"
    " AS t WHERE n = 1 ORDER BY name",
    "SELECT name, avg(rating) OVER (ORDER BY id ROWS UNBOUNDED PRECEDING) FROM employee WHERE rating IS NOT NULL ORDER BY id",
    "SELECT name, sum(salary) OVER w FROM employee WINDOW w AS (PARTITION BY active ORDER BY id) ORDER BY id",
]
PARAMETERS = [
    ("SELECT name FROM employee WHERE id = ?", (1,)),
    ("SELECT name FROM employee WHERE name = ? AND salary > ?", ("ada", 100)),
    ("SELECT name FROM employee WHERE name IN (?, ?, ?) ORDER BY name", ("ada", "kay", "x")),
    (
        "SELECT name FROM employee WHERE salary = :low OR salary = :high ORDER BY name",
        {"low": 500, "high": 900},
    ),
    ("SELECT name FROM employee WHERE lower(name) LIKE ? ORDER BY name", ("%a%",)),
    ("SELECT name FROM employee WHERE rating > ? ORDER BY name", (3.9,)),
    ("SELECT name FROM employee WHERE hired BETWEEN ? AND ? ORDER BY name", ("2020-01-01", "2021-12-31")),
    ("SELECT name FROM employee WHERE note = ?", ("",)),
    ("SELECT name FROM employee ORDER BY id LIMIT ? OFFSET ?", (2, 1)),
    ("SELECT name FROM employee WHERE id > ? ORDER BY id LIMIT 2", (3,)),
    ("SELECT name FROM employee WHERE (salary, id) > (?, ?) ORDER BY salary, id LIMIT 2", (700, 3)),
    ("SELECT coalesce(email, ?) FROM employee ORDER BY id", ("unknown",)),
    ("SELECT name FROM employee WHERE name = ?", ("x' OR '1'='1",)),
    ("SELECT name FROM employee WHERE name = ?", ("100%",)),
    ("SELECT CASE WHEN salary > ? THEN 'rich' ELSE 'poor' END FROM employee ORDER BY id", (750,)),
    ("SELECT title FROM product WHERE price * 2 < ? ORDER BY title", (100,)),
]

QUERIES = [*FILTERS, *ORDERS, *EXPRESSIONS, *AGGREGATES, *JOINS, *SETS, *COMMON_TABLES, *WINDOWS]


@pytest.mark.parametrize("number", range(0, len(QUERIES), 10))
def test_queries(db, number):
    for sql in QUERIES[number : number + 10]:
        db.fetchall(sql)


@pytest.mark.parametrize("sql", QUERIES[::9])
def test_query_alone(db, sql):
    db.observe("rows", len(db.fetchall(sql)))


def test_parameters(db):
    for sql, params in PARAMETERS:
        db.fetchall(sql, params)
        db.fetchone(sql, params)


def test_no_order_and_a_set(db):
    assert {name for (name,) in db.fetchall("SELECT name FROM employee WHERE salary > 100")} >= {"ada", "kay"}
    assert sorted(db.fetchall("SELECT DISTINCT active FROM employee")) == [(0,), (1,)]
    db.observe("departments", {name for (name,) in db.fetchall("SELECT name FROM department")})
