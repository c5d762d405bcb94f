"""The controller's side of a run: it starts the server, takes the records, and shows what came of them.

What is done with the records is in `pytest_dualdb.session`, imported when the first one comes.
"""

from __future__ import annotations

import os
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytest_dualdb import __version__, config, distribution
from pytest_dualdb.collection import (
    nodeid_of,
    without_group,
)
from pytest_dualdb.halves import Halves, complain, own_rules

if TYPE_CHECKING:
    from pytest_dualdb.report import Report
    from pytest_dualdb.session import Session

_ENDINGS = ("sqlite]", "postgres]")
_BOUND = "if that is bound at import, set dualdb_pin_workers = true and run with -n 2"

_NOT_ASKED = "no test asks for the fixture db, or dualdb where the project has a db of its own"


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
            _check_report_path(path, pytest_config.invocation_params.dir, settings.sources["report"])

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
            here = all(getattr(spec, "popen", False) for spec in specs)
            server = self.halves.server.shared() if here else self.halves.server.get().to_json()
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
            complain(self.config, f"{recording.test} is lost: {type(error).__name__}: {error}")

    def _note_missing(self, report: pytest.TestReport) -> None:
        """Take note of why a half may have no recording: it never had its database."""
        if report.skipped:
            text = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            reason = str(text).removeprefix("Skipped: ")
            why = f"was skipped: {reason}" if reason else "was skipped"
        elif report.when in ("setup", "call", "teardown"):
            refused = re.search(
                r"^pytest-dualdb: (?:.+ see the first error, )?(.+)$", report.longreprtext, re.M
            )
            why = "failed before it asked for its database"
            if refused is not None:
                why = f"got no database: {refused[1]}"
        else:
            why = "crashed its worker"
        self._missing.setdefault(without_group(report.nodeid), why)

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        self._nodeids.update(map(nodeid_of, session.items))

    @pytest.hookimpl(optionalhook=True)
    def pytest_xdist_node_collection_finished(self, ids: Sequence[str]) -> None:
        self._nodeids.update(map(without_group, ids))
        if self.halves.server.started:
            self.halves.server.get()  # that there is none is said once, and not by each test

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
            complain(self.config, f"pytest_dualdb_report failed: {type(error).__name__}: {error}")
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
            ran = any(terminalreporter.stats.get(outcome) for outcome in ("passed", "failed", "error"))
            if ran and len(self.settings.backends) == 2:
                terminalreporter.write_sep("=", "database parity")
                terminalreporter.write("NOTHING WAS COMPARED: ", red=True)
                terminalreporter.write_line(_NOT_ASKED)
            return
        if len(self.settings.backends) == 2:
            terminalreporter.write_sep("=", "database parity")
            try:
                self._show(terminalreporter, self._report)
            except Exception as error:  # the reports and pytest's own summary must still come
                complain(self.config, f"the summary failed: {type(error).__name__}: {error}")
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


def _check_report_path(given: Path, folder: Path, source: str) -> None:
    """Refuse a report file that can't be written now, rather than after the tests."""
    from pytest_dualdb.report.formats import FORMATS

    path = folder / given
    if path.suffix.lower() not in FORMATS:
        expected = ", ".join(FORMATS)
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={given}: unknown report format; expected one of {expected}"
        )
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    usable = not path.is_dir() and os.access(existing, os.W_OK) and (existing == path or existing.is_dir())
    if not usable:
        raise pytest.UsageError(
            f"pytest-dualdb: {source}={given}: the report can't be written there; expected a file in a folder"
            " that exists or can be made"
        )
