"""As test_cleanup.py, with what unittest calls before the end of a test's call."""

import unittest

import pytest

INSERT = "INSERT INTO note VALUES (2, 'second', 0.004)"


class Base:
    @pytest.fixture(autouse=True)
    def database(self, db):
        self.db = db

    def store(self):
        self.db.execute(INSERT)
        self.db.connection.commit()

    def clear(self):
        self.db.execute("DELETE FROM note")
        self.db.connection.commit()


class TearDown(Base, unittest.TestCase):
    def tearDown(self):
        self.clear()

    def test_emptied_by_tear_down(self):
        self.store()

    def test_emptied_after_subtests(self):
        for n in (2, 3):
            with self.subTest(n=n):
                self.db.execute("INSERT INTO note VALUES (?, 'n', 0.004)", (n,))
                self.db.connection.commit()

    def test_emptied_by_itself_and_equal(self):
        with self.subTest(n=1):
            self.store()
        self.clear()


class RollsBack(Base, unittest.TestCase):
    def tearDown(self):
        self.db.connection.rollback()

    def test_rolled_back_by_tear_down(self):
        self.db.execute(INSERT)


class Cleanup(Base, unittest.TestCase):
    def test_emptied_by_cleanup(self):
        self.addCleanup(self.clear)
        self.store()


class Asynchronous(Base, unittest.IsolatedAsyncioTestCase):
    async def asyncTearDown(self):
        self.clear()

    async def test_emptied_by_async_tear_down(self):
        self.store()


class TestMethods(Base):
    def teardown_method(self):
        self.clear()

    def test_emptied_by_teardown_method(self):
        self.store()
