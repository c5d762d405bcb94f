"""The part of a run that executes tests: their halves from collection to the record that travels with a report.

It runs in each worker of pytest-xdist, or in the one process there is. What a half does to databases is in
`pytest_dualdb.worker`, imported when a test asks for `db`, not before.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_dualdb import config
from pytest_dualdb.collection import (
    TESTED,
    Collection,
    backend_of,
    is_repeat,
    key_of,
    nodeid_of,
)

if TYPE_CHECKING:
    from pytest_dualdb.database import Database
    from pytest_dualdb.further import Wanted
    from pytest_dualdb.recording import Backend, Recording
    from pytest_dualdb.rules import Rule
    from pytest_dualdb.server import RunningServer, Server
    from pytest_dualdb.worker import Half, Worker

_Made = TypeVar("_Made")
_HALF = pytest.StashKey["Half"]()
_PHASES = pytest.StashKey[dict[str, Any]]()
_REFUSED = pytest.StashKey[bool]()
_WIDER = (
    "db is fresh for each test. For a fixture that lasts longer, make a database that lasts as long in conftest.py:"
    ' app_db = pytest_dualdb.database_fixture(scope="module", schema=..., env=...), and ask for that one.'
)


class Halves:
    """The part of a run that executes tests: in each worker, or in the one process there is."""

    def __init__(
        self, config: pytest.Config, settings: config.Settings, given: dict[str, Any] | None
    ) -> None:
        self.config = config
        self.settings = settings
        self.run = given["run"] if given else os.urandom(4).hex()
        self.server = ServerSource(settings, given["server"] if given else None)
        self.pinned: Backend | None = given.get("backend") if given else None
        self.collection = Collection(settings.backends, self._rule_names, self.pinned, repeat=settings.repeat)
        self.deselected: set[str] = set()
        self._worker: Worker | None = None
        self._before: dict[str, str | None] = {}

    def set_environment(self) -> None:
        """Set the variables of `dualdb_env` for what is imported before the first half: its own values."""
        variables = self.worker().first_environment(self.pinned or self.settings.backends[0])
        self._before = {name: os.environ.get(name) for name in variables}
        self.worker().set_environment(variables)

    def worker(self) -> Worker:
        if self._worker is None:
            from pytest_dualdb.worker import Worker

            worker_id = os.environ.get("PYTEST_XDIST_WORKER", "main")
            self._worker = Worker(
                self.settings, f"{self.run}_{worker_id}", self.server.get,
                lambda database: self.config.hook.pytest_dualdb_setup(db=database),
            )  # fmt: skip
        return self._worker

    def start(self, item: pytest.Item, backend: str) -> Half:
        item.stash[_REFUSED] = True
        half = _refused_in_one_line(lambda: self.worker().start(backend))  # type: ignore[arg-type]
        del item.stash[_REFUSED]
        item.stash[_HALF] = half
        item.stash[TESTED] = half.tested
        for shared in self.worker().shared:
            shared.tests.append(key_of(item, backend))
        return half

    def further(self, item: pytest.Item, name: str, wanted: Wanted) -> Database:
        """Return a further database for the half that runs."""
        half = item.stash.get(_HALF, None)
        if half is None:
            raise pytest.UsageError(
                f"{name} belongs to a test with the fixture dualdb of pytest-dualdb; expected a fixture dualdb that asks"
                " for the one that it overrides"
            )
        return _refused_in_one_line(lambda: half.further(name, wanted))

    def shared(self, backend: Backend, name: str, wanted: Wanted) -> Iterator[Database]:
        """Give a database that several tests share, for as long as they last."""
        shared = _refused_in_one_line(lambda: self.worker().further(backend, name, wanted))
        before = {variable: os.environ.get(variable) for variable in shared.env}
        self.worker().set_environment(shared.env)
        self.worker().shared.append(shared)
        yield shared.database
        self.worker().shared.remove(shared)
        self.worker().set_environment(before)
        shared.database._close()
        shared.backend.end_half(())

    @pytest.hookimpl(trylast=True)
    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        if self.collection.parametrize(metafunc):
            self._prepare()

    @pytest.hookimpl(wrapper=True)
    def pytest_make_collect_report(
        self, collector: pytest.Collector
    ) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
        report = yield
        holds_tests = isinstance(collector, (pytest.Module, pytest.Class))
        if holds_tests and self.collection.divide(report):
            self._prepare()
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Generator[None]:
        self.collection.finish(items, self.config)
        collected = list(items)
        yield
        self.collection.finish_late(collected, items, self.config)
        if self.config.getoption("splits", None):
            self.collection.keep_pairs(collected, items, self.config)

    def _prepare(self) -> None:
        if "postgres" in self.settings.backends and not self.config.option.collectonly:
            # from here on there is a use for it: it starts while the rest is collected
            self.server.start()

    def _rule_names(self) -> list[str]:
        from pytest_dualdb.rules import all_rules

        return [rule.name for rule in all_rules(own_rules(self.config))]

    @pytest.hookimpl(tryfirst=True)
    def pytest_deselected(self, items: Sequence[pytest.Item]) -> None:
        self.deselected.update(nodeid_of(item) for item in items if backend_of(item) is not None)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.server.started:
            self.server.wait()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self.deselected and hasattr(self.config, "workeroutput"):
            self.config.workeroutput["dualdb_deselected"] = list(self.deselected)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> None:
        tested = item.stash.get(TESTED, None)
        if tested is not None:
            tested()
            del item.stash[TESTED]

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        half = item.stash.get(_HALF, None)
        if half is not None and call.excinfo is not None:
            _end_at_the_user(call.excinfo.value)
        report = yield
        if call.excinfo is not None and "function scoped fixture db with a" in str(call.excinfo.value):
            report.sections.append(("pytest-dualdb", _WIDER))
        if half is not None and self.worker().forked:
            return report
        if half is None:
            if _REFUSED in item.stash and hasattr(report, "wasxfail"):
                # that there is no database is no failure that anyone expected
                report.outcome = "failed"
                del report.wasxfail
            return report
        try:
            phases = item.stash.setdefault(_PHASES, {})
            phase = _phase(report, call, half)
            if phases.get(report.when, ("passed",))[0] != "failed":  # as a subtest of this phase was
                phases[report.when] = phase
            if report.when == "teardown":
                marks = self.collection.marks(item)
                if half.shared:
                    marks = {**marks, "shared": half.shared}
                report.dualdb = _recording(item, half, phases, marks)  # type: ignore[attr-defined]
                report.dualdb_half = half  # type: ignore[attr-defined]
                del item.stash[_HALF], item.stash[_PHASES]
                kept = half.settle(item.nodeid, any(phase[0] == "failed" for phase in phases.values()))
                if kept is not None:
                    report.dualdb_kept = kept if isinstance(kept, str) else asdict(kept)  # type: ignore[attr-defined]
        except Exception as error:  # never in the way of the test's own result
            complain(self.config, f"{item.nodeid}: its record was lost: {type(error).__name__}: {error}")
        return report

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Add the templates to the first record that is handed over: that of a half which is repeated is not."""
        half: Half | None = vars(report).pop("dualdb_half", None)
        if half is not None and (template := half.template()):
            report.dualdb = replace(vars(report)["dualdb"], **template)  # type: ignore[attr-defined]

    @pytest.hookimpl(wrapper=True)
    def pytest_report_to_serializable(
        self, report: Any
    ) -> Generator[None, dict[str, Any] | None, dict[str, Any] | None]:
        recording: Recording | None = vars(report).pop("dualdb", None)
        data = yield
        if recording is not None:
            report.dualdb = recording
            if data is not None:
                # as one text: execnet refuses half a surrogate pair, and takes long over small objects
                data["dualdb"] = json.dumps(recording.to_json())
        return data

    @pytest.hookimpl(wrapper=True)
    def pytest_report_from_serializable(self, data: dict[str, Any]) -> Generator[None, Any, Any]:
        plain = data.pop("dualdb", None)
        report = yield
        if plain is not None and report is not None:
            from pytest_dualdb.recording import Recording

            report.dualdb = Recording.from_json(json.loads(plain))
        return report

    def pytest_unconfigure(self) -> None:
        self.close()

    def close(self, archive: str = "") -> None:
        """Remove the databases and stop the server; ``archive`` is a file to keep those of the server in."""
        if self._worker is not None:
            self._worker.close()
            self._worker.set_environment(self._before)
            self._worker = None
        if archive:
            from pytest_dualdb.backends.ownership import drop_run

            drop_run(self.server.get(), self.run)
        self.server.stop(archive)


def own_rules(pytest_config: pytest.Config) -> list[Rule]:
    """Return the rules that the user's conftest and other plugins add."""
    return [rule for found in pytest_config.hook.pytest_dualdb_rules() for rule in found]


def _refused_in_one_line(make: Callable[[], _Made]) -> _Made:
    """Return what ``make`` returns; what hinders that fails the test with its message alone."""
    from pytest_dualdb.backends import SchemaError
    from pytest_dualdb.server import ServerError

    try:
        return make()
    except (ServerError, SchemaError, config.SettingError) as error:
        message = f"pytest-dualdb: {error}"
    # not in the except clause: pytest shows the whole chain of an exception
    pytest.fail(message, pytrace=False)


def _end_at_the_user(error: BaseException) -> None:
    """Take this package's frames off the end of a traceback: the driver has none either."""
    package = str(Path(__file__).parent) + os.sep
    seen: set[int] = set()
    found: BaseException | None = error
    while found is not None and id(found) not in seen:
        seen.add(id(found))
        last = trace = found.__traceback__
        while trace is not None:
            if not trace.tb_frame.f_code.co_filename.startswith(package):
                last = trace
            trace = trace.tb_next
        if last is not None:
            last.tb_next = None
        found = found.__cause__ or found.__context__


def _phase(report: pytest.TestReport, call: pytest.CallInfo[None], half: Half) -> tuple[str, Any, float, str]:
    """Return of one phase: its outcome, the failure if any, seconds, and a skip's reason."""
    outcome: str = report.outcome
    if hasattr(report, "wasxfail"):
        outcome = "xfailed" if report.outcome == "skipped" else "xpassed"
    elif isinstance(report.longrepr, str) and report.longrepr.startswith("[XPASS(strict)]"):
        # the test passed, which is what there is to compare
        outcome = "xpassed"
    failure = None
    reason = ""
    if call.excinfo is not None and outcome == "failed":
        failure = half.failure(report.when, call.excinfo.value)
    elif report.outcome == "skipped" and isinstance(report.longrepr, tuple):
        reason = str(report.longrepr[2]).removeprefix("Skipped: ")
    elif outcome == "xfailed":
        reason = str(report.wasxfail).removeprefix("reason: ")
    return outcome, failure, report.duration, reason


def _recording(item: pytest.Item, half: Half, phases: dict[str, Any], marks: Mapping[str, Any]) -> Recording:
    setup, call, teardown = (phases.get(when) for when in ("setup", "call", "teardown"))
    outcome, failure = "passed", None
    if setup is not None and setup[0] != "passed":
        outcome, failure = ("error" if setup[0] == "failed" else setup[0]), setup[1]
    elif call is not None and call[0] != "passed":
        outcome, failure = call[0], call[1]
    elif teardown is not None and teardown[0] == "failed":
        outcome, failure = "error", teardown[1]
    return half.recording(
        test=key_of(item, half.backend.name), nodeid=nodeid_of(item), outcome=outcome, failure=failure,
        seconds=sum(phase[2] for phase in phases.values()),
        reason=next((phase[3] for phase in phases.values() if phase[3]), ""),
        marks=marks, repeat=is_repeat(item),
    )  # fmt: skip


def complain(pytest_config: pytest.Config, message: str) -> None:
    """Say that something of the plugin's own went wrong, without touching any test."""
    print(f"pytest-dualdb: {message}", file=sys.__stderr__)


_WORKERS = 128
"""How many workers may ask at once while the server starts: macOS refuses those beyond the queue's length."""


class ServerSource:
    """The run's PostgreSQL server: started in the background, or given to a worker by the controller."""

    def __init__(self, settings: config.Settings, given: dict[str, Any] | None) -> None:
        self._settings = settings
        self._given = given
        self._thread: threading.Thread | None = None
        self._running: RunningServer | None = None
        self._error: Exception | None = None
        self._server: Server | None = None
        self._listener: Any = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin to start the server; `get` waits for it."""
        if self._thread is None and self._server is None:
            self._thread = threading.Thread(target=self._open, name="dualdb-server", daemon=True)
            self._thread.start()

    def _open(self) -> None:
        try:
            if self._given is not None:
                self._server = self._shared()
                return
            from pytest_dualdb.server import open_server

            self._running = open_server(
                self._settings.postgres, listen=self._settings.listen, locale=self._settings.locale or None
            )
        except Exception as error:
            self._error = error

    def get(self) -> Server:
        """Return the server; raises UsageError with what was tried if there is none."""
        if self._server is None:
            self.start()
            assert self._thread is not None
            self._thread.join()
            if self._running is not None:
                self._server = self._running.server
            elif self._server is None:
                source = self._settings.sources.get("postgres", "default")
                where = "" if source == "default" else f" from {source}"
                raise pytest.UsageError(f"pytest-dualdb: no PostgreSQL{where}: {self._error}")
        return self._server

    def wait(self) -> None:
        """Wait for the server; in a worker, that there is none is the controller's to say."""
        if self._given is None:
            self.get()
        elif self._thread is not None:
            self._thread.join()

    def shared(self) -> dict[str, Any]:
        """Return for workers where to ask for the server: it starts when the first one does."""
        from multiprocessing.connection import Listener

        key = os.urandom(16)
        try:
            # a socket in a folder of this user's, a named pipe on Windows: nobody else gets to ask, nor to wait
            self._listener = Listener(backlog=_WORKERS, authkey=key)
        except OSError:  # no room for the socket's path
            return self.get().to_json()
        threading.Thread(target=self._answer, name="dualdb-share", daemon=True).start()
        return {"address": self._listener.address, "key": key.hex()}

    def _answer(self) -> None:
        from multiprocessing import AuthenticationError

        while (listener := self._listener) is not None:
            # whoever goes before the answer comes, or is none of ours
            with contextlib.suppress(OSError, EOFError, AuthenticationError), listener.accept() as asking:
                try:
                    answer = self.get().to_json()
                except pytest.UsageError:
                    answer = {"error": str(self._error)}
                asking.send_bytes(json.dumps(answer).encode())

    def _shared(self) -> Server:
        """Return the server that the controller has, or is about to start. Raises ServerError."""
        from multiprocessing.connection import Client

        from pytest_dualdb.server import Server, ServerError

        assert self._given is not None
        answer = self._given
        if "address" in answer:
            with Client(answer["address"], authkey=bytes.fromhex(answer["key"])) as connection:
                answer = json.loads(connection.recv_bytes())
        if "error" in answer:
            raise ServerError(answer["error"])
        return Server.from_json(answer)

    def stop(self, archive: str = "") -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            from multiprocessing.connection import Client

            with contextlib.suppress(OSError):
                Client(listener.address).close()  # ends the wait for the next
            listener.close()
        if self._thread is not None:
            self._thread.join()
        if self._running is not None:
            running, self._running = self._running, None
            running.stop(archive)
