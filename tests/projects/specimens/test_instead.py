"""Every statement that a rule says to write instead, run on both: with the tables of the rule's own specimens."""

import re

import pytest

from pytest_dualdb.rules import all_rules

VERB = r"(?:SELECT|INSERT|UPDATE|DELETE|WITH|CREATE|ALTER|DROP|VALUES)\b"
ONE_SIDE = {
    # part of one backend's set-up, as the text around it says
    "SELECT setval(pg_get_serial_sequence('item', 'id'), (SELECT max(id) FROM item))",
    "DELETE FROM sqlite_sequence WHERE name = 'item'",
    "CREATE EXTENSION citext",
}
TABLES = """
CREATE TABLE accounts (id INTEGER PRIMARY KEY, active BOOLEAN);
CREATE TABLE bills (id INTEGER PRIMARY KEY, total NUMERIC(8, 2), paid NUMERIC(8, 2));
CREATE TABLE booking (id INTEGER PRIMARY KEY, first_night TEXT, last_night TEXT);
CREATE TABLE city (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE item (id INTEGER PRIMARY KEY, code TEXT, key TEXT);
CREATE TABLE item_tag (item_id INTEGER, tag TEXT);
CREATE TABLE orders (id INTEGER PRIMARY KEY, price INTEGER, amount INTEGER);
CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT, name_folded TEXT, first TEXT, last TEXT);
CREATE TABLE periods (year INTEGER, month INTEGER);
CREATE TABLE readings (id INTEGER PRIMARY KEY, value NUMERIC);
CREATE TABLE sales (id INTEGER PRIMARY KEY, city TEXT, amount INTEGER);
CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT);
CREATE TABLE visits (id INTEGER PRIMARY KEY, at TEXT, code TEXT);
"""
"""Tables as advice takes them for granted, where the specimens have others."""
VALUES = (7, "2024-05-01", "a", '{"a": 1}', "8d5c4b5e-3f0e-4c5e-9f0a-5d1b1f3c2a10")
"""What stands for each parameter, the first that is taken."""
PARAMETERS = {"INSERT INTO files (id, body) VALUES (?, ?)": (7, b"a")}


def advised(rule):
    """Yield the statements in the section: within a line, or on indented lines of their own."""
    text = type(rule).sections()["Instead"]
    code = "\n".join(line for line in text.splitlines() if line.startswith("    "))
    for statement in (
        *re.findall(r"``([^`]+)``", text),
        *re.split(rf"\n(?=    {VERB})", code),
    ):
        statement = " ".join(statement.split())
        if re.match(rf"{VERB} .*\w", statement) and not statement.isupper() and statement not in ONE_SIDE:
            yield statement


ADVICE = [
    pytest.param(rule, statements, id=rule.name)
    for rule in all_rules()
    if (statements := list(advised(rule)))
]


@pytest.mark.parametrize(("rule", "statements"), ADVICE)
def test_instead(db, rule, statements):
    schemas = []
    for specimen in (*rule.near_misses, *rule.specimens):
        one = specimen.schema if isinstance(specimen.schema, str) else specimen.schema[db.backend]
        if one not in schemas:
            schemas.append(one)
    left = set(statements)
    errors = []
    for schema in (*schemas, TABLES, ""):
        if left:
            db.reset()
            db.executescript(schema)
            left -= {
                statement for statement in statements if statement in left and runs(db, statement, errors)
            }
    assert not left, errors


def runs(db, statement, errors):
    for value in VALUES if "?" in statement else VALUES[:1]:
        try:
            db.execute(statement, PARAMETERS.get(statement, (value,) * statement.count("?")))
            db.connection.commit()
        except Exception as error:
            errors.append(f"{statement}: {error}")
            db.connection.rollback()
        else:
            return True
    return False
