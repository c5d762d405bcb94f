import json
import multiprocessing
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import app
import pytest

fork = pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork")


def program(table, name):
    subprocess.run([sys.executable, "app.py", table, name], check=True)


def test_a_program_writes(db):
    program("item", "Ada")


def test_a_program_writes_something_else(db):
    program("item", f"Ada on {db.backend}")


def test_a_program_writes_where_the_test_does_not(db):
    app.add("item", "Ada")
    program("other", f"Grace on {db.backend}")


def test_threads(db):
    with ThreadPoolExecutor(1) as pool:
        list(pool.map(lambda name: app.add("item", name), ["Ada", "Grace"]))
    assert db.scalar("SELECT count(*) FROM item") == 2


@fork
@pytest.mark.parametrize("number", range(2))
def test_a_forked_process_writes(db, number):
    app.add("item", "Ada")
    child = os.fork()
    if child == 0:
        try:
            app.add("other", "Grace")
        finally:
            os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    app.add("item", "Alan")
    assert db.fetchall("SELECT name FROM other") == [("Grace",)]


def leave(place):
    try:
        sys.exit("as a program does")
    finally:
        with open(place, "w") as file:
            json.dump(os.getpid(), file)


@fork
def test_a_forked_process_exits(db, tmp_path):
    app.add("item", "Ada")
    child = multiprocessing.get_context("fork").Process(target=leave, args=(tmp_path / "pid",))
    child.start()
    child.join()
    app.add("item", "Grace")
    assert db.scalar("SELECT count(*) FROM item") == 2


@fork
@pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="it would speak for the worker")
def test_a_forked_process_goes_on_as_pytest(db):
    app.add("item", "Ada")
    child = os.fork()
    if child == 0:
        # ends this test in the copy, too: whatever pytest does there must not reach the databases
        import _thread

        _thread.interrupt_main()
        raise SystemExit
    os.waitpid(child, 0)
    assert db.scalar("SELECT count(*) FROM item") == 1


@fork
def test_a_forked_process_is_left_behind(db):
    app.add("item", "Ada")
    child = os.fork()
    if child == 0:
        time.sleep(300)
        os._exit(0)
    with open(f"left-{child}", "w"):
        pass
