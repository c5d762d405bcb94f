"""The pytest plugin: options, the `db` fixture, and how a half's record reaches the summary.

This module is glue. What a process does for its tests is in `pytest_dualdb.worker`, what the controller does
with the records in `pytest_dualdb.session`; both are imported when a test asks for `db`, not before.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import pytest

from pytest_dualdb import __version__, config, distribution, hookspecs
from pytest_dualdb.collection import (
    AGAIN,
    Collection,
    backend_of,
    fail_in_pairs,
    is_repeat,
    key_of,
    nodeid_of,
    without_group,
)

if TYPE_CHECKING:
    from pytest_dualdb.database import Database
    from pytest_dualdb.further import Wanted
    from pytest_dualdb.recording import Backend, Recording
    from pytest_dualdb.report import Report
    from pytest_dualdb.rules import Rule
    from pytest_dualdb.server import RunningServer, Server
    from pytest_dualdb.session import Session
    from pytest_dualdb.worker import Half, Worker

_Made = TypeVar("_Made")
_SETTINGS = pytest.StashKey[config.Settings]()
_HALVES = pytest.StashKey["Halves"]()
_HALF = pytest.StashKey["Half"]()
_PHASES = pytest.StashKey[dict[str, Any]]()
_REFUSED = pytest.StashKey[bool]()
_ENDINGS = ("sqlite]", "postgres]")
_WIDER = (
    "db is fresh for each test. For a fixture that lasts longer, make a database that lasts as long in conftest.py:"
    ' app_db = pytest_dualdb.database_fixture(scope="module", schema=..., env=...), and ask for that one.'
)
_BOUND = "if that is bound at import, set dualdb_pin_workers = true and run with -n 2"

# ------------------------------------------------------------------------------------------------- options


def pytest_addoption(parser: pytest.Parser) -> None:
    groups = [*getattr(parser, "_groups", ()), getattr(parser, "_anonymous", None)]
    options = [option for group in groups for option in getattr(group, "options", ())]
    # pytest before version 9 sees a conflict only when it parses, and then says it with a traceback
    taken = {name for option in options if hasattr(option, "names") for name in option.names()}
    group = parser.getgroup("dualdb", "dual-database parity (pytest-dualdb)")
    for setting in config.SETTINGS:
        kind = "linelist" if setting.kind in ("lines", "paths") else "string"
        parser.addini(setting.ini, setting.help, type=kind, default=None)  # type: ignore[arg-type]
        if not setting.option:
            continue
        try:
            if setting.option in taken:
                raise ValueError("the option exists")
            how: dict[str, Any] = {"metavar": setting.metavar}
            if setting.kind == "truth":
                how = {"action": "store_const", "const": "true"}
            elif setting.kind == "paths":
                how["action"] = "append"
            group.addoption(
                setting.option,
                dest=setting.ini,
                **how,
                help=f"{setting.help} (default: {setting.default})" if setting.default else setting.help,
            )
        except (ValueError, argparse.ArgumentError) as error:
            raise pytest.UsageError(
                f"pytest-dualdb: another plugin already owns {setting.option} ({error});"
                " expected it to be free: disable that plugin with -p no:NAME"
            ) from None


def pytest_addhooks(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.add_hookspecs(hookspecs)


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Resolve the settings and be in place before a conftest imports the application."""
    settings = _resolve(early_config, early_config.known_args_namespace)
    owner = _owner_of_db(early_config.pluginmanager)
    if owner is None or (settings.chosen and owner[1] == "django" and not _has_django_settings(early_config)):
        # of two fixtures the one that is registered later counts
        early_config.pluginmanager.register(Fixtures(), "dualdb-fixtures")
    elif settings.chosen:
        source = settings.sources["backend"]
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={settings.backend}: the plugin {owner[0]} has a fixture db as well;"
            f" expected one plugin to have it: add -p no:{owner[1]} to leave that one out,"
            f" or run without {source}"
        )
    if settings.chosen or settings.redirect:
        from pytest_dualdb.recorder import sqlite3 as recorded

        # an application's early `from sqlite3 import connect` must get ours
        recorded.intercept()
    given = distribution.told()
    if given is not None or settings.env or settings.redirect:
        early_config.stash[_HALVES] = halves = Halves(early_config, settings, given)
        if settings.env:
            halves.set_environment()
        elif settings.redirect:
            halves.worker()


def _resolve(pytest_config: pytest.Config, options: Any) -> config.Settings:
    try:
        settings = config.resolve(
            lambda setting: getattr(options, setting.ini, None),
            lambda setting: pytest_config.getini(setting.ini),
            pytest_config.rootpath,
        )
    except config.SettingError as error:
        raise pytest.UsageError(f"pytest-dualdb: {error}") from None
    pytest_config.stash[_SETTINGS] = settings
    return settings


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "dualdb(only='postgres', xfail='postgres', raises=..., allow='like-case', ignore=['created_at'],"
        " reason=...): what is known of the test on the two databases; all but ignore need a reason",
    )
    settings = config.stash.get(_SETTINGS, None) or _resolve(config, config.option)
    halves = config.stash.get(_HALVES, None)
    if halves is None:
        config.stash[_HALVES] = halves = Halves(config, settings, None)
        if settings.env:
            halves.set_environment()
    config.pluginmanager.register(halves, "dualdb-halves")
    if len(settings.backends) == 2:
        fail_in_pairs(config)
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(Controller(config, settings, halves), "dualdb-controller")


# --------------------------------------------------------------------------------- the tests' side: fixtures


def _owner_of_db(plugins: pytest.PytestPluginManager) -> tuple[str, str] | None:
    """Return another plugin that has a fixture called db: its name for people, and for ``-p no:``."""
    kind = type(Fixtures.db)
    projects = {id(plugin): dist.project_name for plugin, dist in plugins.list_plugin_distinfo()}
    for name, plugin in plugins.list_name_plugin():
        members = {**vars(type(plugin)), **getattr(plugin, "__dict__", {})}
        for attribute, member in members.items():
            if type(member) is not kind:
                continue
            # the first is pytest's name from version 8.4 on, the second its name until then
            for known in ("_fixture_function_marker", "_pytestfixturefunction"):
                fixture = getattr(member, known, None)
                if fixture is not None and (fixture.name or attribute) == "db":
                    return projects.get(id(plugin), name), name
    return None


def _has_django_settings(early_config: pytest.Config) -> bool:
    """Return whether pytest-django has a project to work for, by the ways its documentation names."""
    name = "DJANGO_SETTINGS_MODULE"
    given = getattr(early_config.known_args_namespace, "ds", None)
    return bool(given or os.environ.get(name) or early_config.getini(name))


class Fixtures:
    """The fixtures, unless another plugin has one called db: then it must work as if we were not there."""

    @pytest.fixture
    def _dualdb_backend(self, request: pytest.FixtureRequest) -> str:
        """The backend of this half; parametrised by the plugin."""
        # the parameter of a test on a shared database belongs to what shares it: there the node is no test
        parameter = str(getattr(request, "param", "")).removesuffix(AGAIN)
        backend = parameter or backend_of(request.node)
        if backend is not None:
            return backend
        backends = request.config.stash[_SETTINGS].backends
        if len(backends) == 1:
            return backends[0]
        raise pytest.UsageError(
            f"{request.node.nodeid} asks for db through request.getfixturevalue only; expected it as an"
            " argument of the test or of a fixture, so that the test can run once on each database"
        )

    @pytest.fixture
    def db(self, request: pytest.FixtureRequest, _dualdb_backend: str) -> Iterator[Database]:
        """The test's database, fresh: a `Database` on SQLite in one half, on PostgreSQL in the other."""
        half = request.config.stash[_HALVES].start(request.node, _dualdb_backend)
        yield half.database
        try:
            half.finish()
        except Exception as error:
            # a failure of the plugin's own must not turn a test's result around
            half.abandon(error)


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
        for shared in self.worker().shared:
            shared.tests.append(key_of(item, backend))
        return half

    def further(self, item: pytest.Item, name: str, wanted: Wanted) -> Database:
        """Return a further database for the half that runs."""
        half = item.stash.get(_HALF, None)
        if half is None:
            raise pytest.UsageError(
                f"{name} belongs to a test with the fixture db of pytest-dualdb; expected a fixture db that asks for"
                " the one that it overrides"
            )
        return _refused_in_one_line(lambda: half.further(name, wanted))

    def shared(self, backend: Backend, name: str, wanted: Wanted) -> Iterator[Database]:
        """Give a database that several tests share, for as long as they last."""
        shared = _refused_in_one_line(lambda: self.worker().further(backend, name, wanted))
        before = {variable: os.environ.get(variable) for variable in shared.env}
        os.environ.update(shared.env)
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

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        if self.server.started:
            self.server.get()

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self) -> None:
        if self.deselected and hasattr(self.config, "workeroutput"):
            self.config.workeroutput["dualdb_deselected"] = list(self.deselected)

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
            half.recorder.ending = half.recorder.ending or report.when == "call"
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
            _complain(self.config, f"{item.nodeid}: its record was lost: {type(error).__name__}: {error}")
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
            from pytest_dualdb.backends.postgres import drop_run

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
    # outside of the handler: pytest shows the whole chain of an exception
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


def _complain(pytest_config: pytest.Config, message: str) -> None:
    """Say that something of the plugin's own went wrong, without touching any test."""
    print(f"pytest-dualdb: {message}", file=sys.__stderr__)


# ------------------------------------------------------------------------------- the controller's side


class ServerSource:
    """The run's PostgreSQL server: started in the background, or given to a worker by the controller."""

    def __init__(self, settings: config.Settings, given: dict[str, Any] | None) -> None:
        self._settings = settings
        self._given = given
        self._thread: threading.Thread | None = None
        self._running: RunningServer | None = None
        self._error: Exception | None = None
        self._server: Server | None = None

    @property
    def started(self) -> bool:
        return self._thread is not None

    def start(self) -> None:
        """Begin to start the server; `get` waits for it."""
        if self._thread is None and self._given is None:
            self._thread = threading.Thread(target=self._open, name="dualdb-server", daemon=True)
            self._thread.start()

    def _open(self) -> None:
        try:
            from pytest_dualdb.server import open_server

            self._running = open_server(
                self._settings.postgres, listen=self._settings.listen, locale=self._settings.locale or None
            )
        except Exception as error:
            self._error = error

    def get(self) -> Server:
        """Return the server; raises UsageError with what was tried if there is none."""
        if self._server is None:
            if self._given is not None:
                from pytest_dualdb.server import Server

                self._server = Server.from_json(self._given)
            else:
                self.start()
                assert self._thread is not None
                self._thread.join()
                if self._running is None:
                    raise pytest.UsageError(f"pytest-dualdb: no PostgreSQL: {self._error}")
                self._server = self._running.server
        return self._server

    def stop(self, archive: str = "") -> None:
        if self._thread is not None:
            self._thread.join()
        if self._running is not None:
            running, self._running = self._running, None
            running.stop(archive)


class Controller:
    """The part of a run that sees every test's report: pairs, compares, and says what differs."""

    def __init__(self, pytest_config: pytest.Config, settings: config.Settings, halves: Halves) -> None:
        self.config = pytest_config
        self.settings = settings
        self.halves = halves
        self._session: Session | None = None
        self._report: Report | None = None
        self._missing: dict[str, str] = {}
        self._again: set[str] = set()
        self._nodeids: set[str] = set()
        self._specs: Sequence[Any] = ()
        self._asking = False
        self.pins = settings.pin_workers and len(settings.backends) == 2
        dist = pytest_config.getoption("dist", "no")
        if self.pins and dist == "no" and not pytest_config.option.collectonly:
            self._refuse_to_pin(dist, 0)
        self._kept: list[tuple[str, Any]] = []
        for path in settings.report:
            _check_report_path(pytest_config.invocation_params.dir / path, settings.sources["report"])

    def session(self) -> Session:
        if self._session is None:
            from pytest_dualdb.session import Session

            custom = self.config.hook.pytest_dualdb_same_value
            self._session = Session(
                self.settings.backends,
                keep_recordings=bool(self.settings.report),
                repeat=self.settings.repeat,
                ignore=self.settings.ignore,
                rules=own_rules(self.config),
                same_value=(lambda left, right, column: custom(left=left, right=right, column=column))
                if custom.get_hookimpls()
                else None,
                advice=_BOUND if self.settings.env and not self.pins else "",
            )
        return self._session

    def pytest_report_header(self) -> str | None:
        if not self.settings.chosen:
            return None
        sources = self.settings.sources
        pinned = f", workers pinned ({sources['pin_workers']})" if self.pins else ""
        return f"dualdb: {self.settings.backend} ({sources['backend']}){pinned}"

    def pytest_report_collectionfinish(self) -> str | None:
        if not self.settings.chosen or not self.halves.server.started or self.config.get_verbosity() < 0:
            return None
        return f"dualdb: {self._databases()}"

    def _databases(self) -> str:
        import sqlite3

        parts = []
        if "sqlite" in self.settings.backends:
            parts.append(f"SQLite {sqlite3.sqlite_version}")
        if "postgres" in self.settings.backends:
            server = self.halves.server.get()
            parts.append(f"PostgreSQL {server.version} ({server.source}, {server.collation})")
        source = self.settings.sources["isolation"]
        return f"{' <-> '.join(parts)}, isolation {self.settings.isolation} ({source}){self._replaced()}"

    def _replaced(self) -> str:
        """Return what PostgreSQL does instead of the isolation that is set, if it does."""
        if "postgres" not in self.settings.backends:
            return ""
        in_force = self.halves.server.get().isolation(self.settings.isolation)
        return "" if in_force == self.settings.isolation else f", on PostgreSQL {in_force}"

    def pytest_sessionstart(self, session: pytest.Session) -> None:
        self._pytest_session = session

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_setupnodes(self, specs: Sequence[Any]) -> None:
        """Give the workers of pytest-xdist the run's name and server, and each its backend if they are pinned."""
        self._specs = specs
        if self.pins:
            self._refuse_to_pin(self.config.getoption("dist"), len(specs))
            distribution.pin(specs)
        server = None
        if "postgres" in self.settings.backends and not self.config.option.collectonly:
            self.halves.server.start()
            server = self.halves.server.get().to_json()
        distribution.tell(specs, {"run": self.halves.run, "server": server})

    def _refuse_to_pin(self, dist: str, workers: int) -> None:
        refused = distribution.refusal(dist, workers)
        if refused:
            raise pytest.UsageError(f"pytest-dualdb: {self.settings.sources['pin_workers']}: {refused}")

    @pytest.hookimpl(optionalhook=True, wrapper=True)
    def pytest_xdist_make_scheduler(self, config: pytest.Config, log: Any) -> Generator[None, Any, Any]:
        made = yield
        if not self.pins or self._asking:
            return made
        self._asking = True  # for one scheduler for each backend, whoever makes them
        make = config.hook.pytest_xdist_make_scheduler
        return distribution.PinnedScheduling(
            lambda: make(config=config, log=log), self._specs, self._collected
        )

    def _collected(self, halves: int) -> None:
        # of one worker pytest-xdist says it itself
        self._pytest_session.testscollected = halves

    def pytest_runtest_logreport(self, report: Any) -> None:
        if hasattr(report, "dualdb_kept"):
            self._kept.append((report.nodeid, report.dualdb_kept))
        recording = vars(report).pop("dualdb", None)
        if report.outcome == "rerun":  # of pytest-rerunfailures: the half comes once more
            self._again.add(report.nodeid)
        elif report.when == "setup":
            self._again.discard(report.nodeid)
        if recording is not None and report.nodeid in self._again:
            self.session().learn(recording)
            return
        if recording is None:
            if report.outcome == "rerun":
                return
            if not report.passed and without_group(report.nodeid).endswith(_ENDINGS):
                self._note_missing(report)
            return
        try:
            self.session().add(recording)
        except Exception as error:  # a failure of ours must not take the run down
            _complain(self.config, f"{recording.test} is lost: {type(error).__name__}: {error}")

    def _note_missing(self, report: pytest.TestReport) -> None:
        """Take note of why a half may have no recording: it never had its database."""
        if report.skipped:
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            reason = str(text).removeprefix("Skipped: ")
            why = f"was skipped: {reason}" if reason else "was skipped"
        elif report.when in ("setup", "call", "teardown"):
            why = "failed before it asked for its database"
        else:
            why = "crashed its worker"
        self._missing.setdefault(without_group(report.nodeid), why)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._nodeids.update(map(nodeid_of, session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._nodeids.update(map(without_group, ids))

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any) -> None:
        self.halves.deselected.update(getattr(node, "workeroutput", {}).get("dualdb_deselected", ()))

    def _say_what_is_missing(self) -> None:
        missing = self.session().missing
        for nodeid in self.session().awaited():
            if nodeid in self._missing:
                missing[nodeid] = self._missing[nodeid]
            elif nodeid in self.halves.deselected:
                missing[nodeid] = "was deselected"
            elif nodeid not in self._nodeids:
                missing[nodeid] = "was not collected"

    def _one_side_was_asked_for(self) -> bool:
        """Return whether the user chose tests in a way that may leave one side out."""
        option = self.config.option
        chosen = (option.keyword, option.markexpr, option.deselect)
        return any(chosen) or any("::" in str(argument) for argument in self.config.args)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        if self._session is None:
            return
        self._say_what_is_missing()
        self._report = self._build()
        try:
            self.config.hook.pytest_dualdb_report(report=self._report)
        except Exception as error:  # the tests' own results must still come
            _complain(self.config, f"pytest_dualdb_report failed: {type(error).__name__}: {error}")
            session.exitstatus = exitstatus or pytest.ExitCode.INTERNAL_ERROR
        worst, limit = self._report.worst, self.settings.fail_on
        reached = worst is not None and limit != "never"
        reached = reached and config.FAIL_ON.index(worst or limit) <= config.FAIL_ON.index(limit)
        reached = reached or bool(self._session.undecided)
        reached = reached or bool(self._report.one_sided and not self._one_side_was_asked_for())
        if exitstatus == pytest.ExitCode.OK and reached:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if not self.config.pluginmanager.has_plugin("terminalreporter"):
            for path in self.settings.report:
                self._write(path)

    def _build(self) -> Report:
        import sqlite3

        server = self.halves.server.get() if "postgres" in self.settings.backends else None
        return self.session().report(
            version=__version__, sqlite=sqlite3.sqlite_version if "sqlite" in self.settings.backends else "",
            postgres=server.version if server else "", source=server.source if server else "",
            collation=server.collation if server else "", isolation=self.settings.isolation + self._replaced(),
        )  # fmt: skip

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._report is None:
            return
        if len(self.settings.backends) == 2:
            terminalreporter.write_sep("=", "database parity")
            try:
                self._show(terminalreporter, self._report)
            except Exception as error:  # the reports and pytest's own summary must still come
                _complain(self.config, f"the summary failed: {type(error).__name__}: {error}")
        for path in self.settings.report:
            problem = self._write(path)
            terminalreporter.write_line(problem or f"Wrote parity report to {path}", red=bool(problem))
        if self._kept:
            terminalreporter.write_sep("=", "kept databases")
            self._show_kept(terminalreporter)

    def _show_kept(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how to open what was kept, once it can be opened."""
        from pytest_dualdb.backends import Kept
        from pytest_dualdb.kept import FOLDER, command
        from pytest_dualdb.server import ServerError

        kept = [(nodeid, Kept(**one)) for nodeid, one in self._kept if not isinstance(one, str)]
        missing: dict[str, list[str]] = {}
        for nodeid, one in self._kept:
            if isinstance(one, str):
                missing.setdefault(one, []).append(nodeid)
        archive = next((one.place for _, one in kept if one.database), "")
        if archive:
            try:
                self.halves.close(archive)
            except ServerError as error:
                missing[str(error)] = [nodeid for nodeid, one in kept if one.database]
                kept = [(nodeid, one) for nodeid, one in kept if not one.database]
        folder = self.config.invocation_params.dir
        for nodeid, one in kept:
            terminalreporter.write_line(nodeid)
            terminalreporter.write_line(f"  {command(one, folder)}")
        for why, nodeids in missing.items():
            more = f" and {len(nodeids) - 1} more" if len(nodeids) > 1 else ""
            terminalreporter.write_line(f"{nodeids[0]}{more}: {why}", yellow=True)
        if kept:
            terminalreporter.write_line(f"They stay until the next run that keeps some ({FOLDER}).")

    def _show(self, terminalreporter: pytest.TerminalReporter, report: Report) -> None:
        from pytest_dualdb.report.terminal import lines

        width = terminalreporter._tw.fullwidth
        for line in lines(report, width=width, verbose=self.config.get_verbosity()):
            for text, style in line:
                terminalreporter.write(text, **({style: True} if style else {}))
            terminalreporter.write("\n")

    def _write(self, path: Path) -> str:
        """Write the report to a file; return why that failed, empty if it did not."""
        from pytest_dualdb.report import renderer

        assert self._report is not None
        target = self.config.invocation_params.dir / path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(renderer(path)(self._report), encoding="utf-8")
        except OSError as error:
            return f"parity report {path} could not be written: {error}"
        return ""


def _check_report_path(path: Path, source: str) -> None:
    """Refuse a report file that can't be written now, rather than after the tests."""
    from pytest_dualdb.report.formats import FORMATS

    if path.suffix.lower() not in FORMATS:
        expected = ", ".join(FORMATS)
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={path}: unknown report format; expected one of {expected}"
        )
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    usable = not path.is_dir() and os.access(existing, os.W_OK) and (existing == path or existing.is_dir())
    if not usable:
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={path}: the report can't be written there; expected a file in a folder"
            " that exists or can be made"
        )
