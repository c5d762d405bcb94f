"""Classes of `unittest` that ask for the database, in each way there is."""

from __future__ import annotations

import unittest

import pytest

SEEN = []


class Plain(unittest.TestCase):
    def test_plain(self):
        pass


@pytest.mark.usefixtures("db")
class Marked(unittest.TestCase):
    def test_marked(self):
        self.assertEqual(self._testMethodName, "test_marked")
        self.assertTrue(self.id().endswith("Marked.test_marked"))


class MarkedMethod(unittest.TestCase):
    @pytest.mark.usefixtures("db")
    def test_marked_method(self):
        pass

    def test_unmarked_method(self):
        pass


class Base(unittest.TestCase):
    @pytest.fixture(autouse=True)
    def _database(self, db):
        self.db = db


class Everything(Base):
    classes = 0

    @classmethod
    def setUpClass(cls):
        cls.classes += 1

    @classmethod
    def tearDownClass(cls):
        cls.classes -= 1

    def setUp(self):
        self.db.execute("INSERT INTO person VALUES (3, 'Grace')")

    def tearDown(self):
        self.db.execute("DELETE FROM person WHERE id = 3")

    def test_set_up(self):
        self.assertEqual(self.classes, 1)
        self.assertEqual(self.db.scalar("SELECT count(*) FROM person"), 3)

    def test_again(self):
        self.assertEqual(self.classes, 1)
        self.assertEqual(self.db.scalar("SELECT count(*) FROM person"), 3)

    def test_like(self):
        self.db.fetchall("SELECT name FROM person WHERE name LIKE 'a%' ORDER BY id")

    def test_fails_on_postgres(self):
        self.assertEqual(len(self.db.fetchall("SELECT name FROM person WHERE name LIKE 'a%'")), 2)

    @unittest.skip("not today")
    def test_skipped(self):
        pass

    @pytest.mark.dualdb(only="postgres", reason="arrays")
    def test_only(self):
        self.assertEqual(self.db.scalar("SELECT (ARRAY[1, 2])[1]"), 1)

    @pytest.mark.dualdb(xfail="postgres", raises=AssertionError, reason="case")
    def test_expected(self):
        self.assertEqual(len(self.db.fetchall("SELECT name FROM person WHERE name LIKE 'a%'")), 2)


class Subtests(Base):
    def test_subtests(self):
        for n in (1, 2):
            with self.subTest(n=n):
                self.assertEqual(self.db.scalar("SELECT ?", (n,)), n)

    def test_a_subtest_fails_on_postgres(self):
        for pattern, count in (("a%", 2), ("%n", 1)):
            with self.subTest(pattern=pattern):
                found = self.db.fetchall("SELECT name FROM person WHERE name LIKE ?", (pattern,))
                self.assertEqual(len(found), count)


class Asynchronous(unittest.IsolatedAsyncioTestCase):
    @pytest.fixture(autouse=True)
    def _database(self, db):
        self.db = db

    async def asyncSetUp(self):
        self.db.execute("INSERT INTO person VALUES (3, 'Grace')")

    async def test_asynchronous(self):
        self.assertEqual(self.db.scalar("SELECT count(*) FROM person"), 3)


class OneMethod(Base):
    def runTest(self):
        self.assertEqual(self.db.scalar("SELECT 1"), 1)
