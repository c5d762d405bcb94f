"""What tests share: the server, and a closing line that says how many of them reached it."""

from __future__ import annotations

import os
import secrets
import signal
from collections.abc import Generator, Iterator
from contextlib import closing

import halves
import hypothesis
import psycopg2
import pytest
from projects import Projects

from pytest_dualdb import config
from pytest_dualdb.server import Server, open_server
from pytest_dualdb.worker import Half, Worker

pytest_plugins = ["pytester"]

LIVE = "postgres_server"
WANTED = os.environ.get("DUALDB_POSTGRES") or "auto"

if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
):  # started in the background by a shell: children inherit it
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples in each run, so that a failure belongs to the change that it comes with; new ones are looked
# for with --hypothesis-profile=default. How long an example takes to be drawn is the machine's matter.
hypothesis.settings.register_profile(
    "repeatable",
    derandomize=True,
    deadline=None,
    suppress_health_check=[hypothesis.HealthCheck.too_slow],
)
hypothesis.settings.load_profile("repeatable")

# What pytest prints depends on these. Inner runs print the same wherever the outer one is, on a continuous
# integration server too; a test that wants one of them sets it for itself.
for name in (
    "CI",
    "BUILD_NUMBER",
    "COLUMNS",
    "FORCE_COLOR",
    "NO_COLOR",
    "PY_COLORS",
    "PYTEST_ADDOPTS",
    "PYTEST_THEME",
):
    os.environ.pop(name, None)


@pytest.fixture(autouse=True)
def plain_inner_runs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep out of inner runs what changes every run where it is installed, but for test_other_plugins.py.

    And the address of a given server, which is not for tests that end the server that they find.
    """
    if "pytester" in request.fixturenames:
        request.getfixturevalue("pytester")  # it takes the variable away
        monkeypatch.delenv("DUALDB_POSTGRES", raising=False)
    monkeypatch.setenv("PYTEST_ADDOPTS", "-p no:randomly -p no:django")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Server]:
    """A server for tests that need any: the one of DUALDB_POSTGRES, else what this machine has.

    Not to reach one is an error, never a skip. Its `url("postgres")` is an address for inner runs.
    """
    with open_server(WANTED) as running:
        yield running.server


@pytest.fixture(scope="session")
def postgres_dsn(postgres_server: Server) -> Iterator[str]:
    """The libpq connection string of an empty scratch database, dropped afterwards."""
    name = f"dualdb_test_{secrets.token_hex(4)}"
    options = postgres_server.database_options or "TEMPLATE template0"
    with closing(psycopg2.connect(postgres_server.dsn(postgres_server.maintenance))) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {name} {options}")
            try:
                yield postgres_server.dsn(name)
            finally:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def projects(tmp_path_factory: pytest.TempPathFactory, postgres_server: Server) -> Projects:
    """Runs the projects in tests/projects; equal runs are made once."""
    return Projects(tmp_path_factory.mktemp("projects"), postgres_server.url(postgres_server.maintenance))


@pytest.fixture(scope="module")
def worker(postgres_server: Server) -> Iterator[Worker]:
    """The databases of one process, from the template of `halves.setup`."""
    settings = config.resolve(lambda setting: None, lambda setting: None, halves.ROOT, {})
    made = Worker(settings, f"{secrets.token_hex(4)}_test", lambda: postgres_server, halves.setup)
    yield made
    made.close()


@pytest.fixture
def sqlite(worker: Worker) -> Iterator[Half]:
    with halves.half(worker, "sqlite") as made:
        yield made


@pytest.fixture
def postgres(worker: Worker) -> Iterator[Half]:
    with halves.half(worker, "postgres") as made:
        yield made


@pytest.fixture(params=halves.BACKENDS)
def either(worker: Worker, request: pytest.FixtureRequest) -> Iterator[Half]:
    with halves.half(worker, request.param) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if LIVE in getattr(item, "fixturenames", ()):
        report.user_properties.append((LIVE, report.when))
        if report.skipped and not hasattr(report, "wasxfail"):
            report.outcome = "failed"
            report.longrepr = f"{item.nodeid} needs PostgreSQL and must not be skipped: {report.longrepr}"
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say how many tests ran on the server; continuous integration refuses a run without any."""
    passed = [
        report
        for report in terminalreporter.getreports("passed")
        if report.when == "call" and (LIVE, "call") in report.user_properties
    ]
    terminalreporter.write_line(f"{len(passed)} tests passed on a live PostgreSQL")
