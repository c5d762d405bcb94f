"""What one process does for its tests: it owns their databases and runs halves on them.

A worker of pytest-xdist and a run without it are the same here. It knows settings, backends and the
recorder; pytest and the controller's `pytest_dualdb.session` it does not know.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

from pytest_dualdb import config
from pytest_dualdb.backends import Backend, Isolation, Kept, SchemaError
from pytest_dualdb.config import Settings
from pytest_dualdb.database import Database
from pytest_dualdb.dialect import ScriptError, split_script
from pytest_dualdb.further import Further, Wanted
from pytest_dualdb.glances import Glances
from pytest_dualdb.kept import MOST, Shelf, name_of
from pytest_dualdb.recorder import Recorder, activate, current, database_error
from pytest_dualdb.recording import Backend as Name
from pytest_dualdb.recording import Recording, Statement, TableState, TestFailure
from pytest_dualdb.server import Server, ServerError

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

_MEMORY = Path("/dev/shm")
_ENOUGH = 256 * 1024 * 1024
"""Free bytes that a file system in memory must have to hold databases."""


class Worker:
    """The databases of one process, made when a test first needs them."""

    def __init__(
        self,
        settings: Settings,
        name: str,
        server: Callable[[], Server],
        setup: Callable[[Database], None] = lambda database: None,
    ) -> None:
        """``name`` is unique among runs and workers; ``server`` gives the run's server and may wait for it."""
        self.settings = settings
        self.name = name
        self._server = server
        self._setup = setup
        self._made: dict[Name, Backend] = {}
        self._backends: dict[Name, Backend] = {}
        self._failed: dict[Name, Exception] = {}
        self._sent: set[tuple[Name, str]] = set()
        self._removers: list[subprocess.Popen[bytes]] = []
        self._process = os.getpid()
        self._further: dict[tuple[Name, str], Backend] = {}
        self.shared: list[Further] = []
        self._building: dict[Name, Backend] = {}
        self._shelf = Shelf(settings.rootdir, name.partition("_")[0], self._remove_kept)
        if settings.redirect:
            from pytest_dualdb.recorder import sqlite3 as recorded

            recorded.redirects = {
                os.path.realpath(settings.rootdir / path): self._redirected for path in settings.redirect
            }

    def _redirected(self) -> str:
        """Return the file that a path of ``dualdb_redirect`` opens, also in a half on PostgreSQL.

        Never the application's own: between halves it is the test's database as it is then.
        """
        recorder = current()
        if recorder is None or "sqlite" in self._building:
            if "sqlite" not in self._backends and "sqlite" not in self._building:
                self.first_environment("sqlite")
            found = self._backends.get("sqlite") or self._building.get("sqlite") or self._made["sqlite"]
            return found.address.path
        recorder.paused += 1
        try:
            return self.backend("sqlite").address.path
        finally:
            recorder.paused -= 1

    @property
    def forked(self) -> bool:
        """Whether this is a copy in a process that a test forked: the databases are not its own."""
        return os.getpid() != self._process

    def backend(self, name: Name) -> Backend:
        """Return the worker's databases of that kind, with the template built. Raises what that raised."""
        if name in self._failed:
            if isinstance(self._failed[name], ServerError):
                raise self._failed[name]
            first = str(self._failed[name]).partition("\n")[0]
            raise SchemaError(f"no {name} database: see the first error, {first}") from self._failed[name]
        if name not in self._backends:
            try:
                self._backends[name] = self._open(name)
            except Exception as error:
                # every further test would wait for the same failure again
                self._failed[name] = error
                raise
        return self._backends[name]

    def first_environment(self, name: Name) -> dict[str, str | None]:
        """Return the variables of ``dualdb_env`` for a backend, before there is a template."""
        if name not in self._made:
            self._made[name] = self._make(name)
            self._made[name].prepare()
        return self.environment(self._made[name])

    @staticmethod
    def set_environment(variables: Mapping[str, str | None]) -> None:
        """Set environment variables, remove those whose value is None."""
        for name, value in variables.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value

    def _open(self, name: Name) -> Backend:
        files = self.settings.schema_files(name)
        backend = self._made.pop(name, None) or self._make(name)
        self._building[name] = backend
        try:
            backend.build(lambda: self._build(backend, files, self._setup, self.environment(backend)))
        except BaseException:
            backend.close()
            raise
        finally:
            del self._building[name]
        return backend

    def further(self, backend: Name, name: str, wanted: Wanted) -> Further:
        """Begin to use a further database, fresh; it is made when it is first wanted."""
        if (backend, name) not in self._further:
            files = self.settings.schema_files(backend, wanted.schema)
            setup = wanted.setup or (lambda database: None)
            # what rollback isolation does not commit could not be read while others use the database
            isolation = "reset" if wanted.scope != "function" else self.settings.isolation
            made = self._make(backend, f"{self.name}_{len(self._further)}", isolation)
            try:
                made.build(lambda: self._build(made, files, setup, self._filled_in(made, wanted)))
            except BaseException:
                made.close()
                raise
            self._further[backend, name] = made
        found = self._further[backend, name]
        found.start_half()
        env = self._filled_in(found, wanted)
        return Further(name, found, Database(found, _given(env)), env, shared=wanted.scope != "function")

    def _make(self, name: Name, own: str = "", isolation: str = "") -> Backend:
        own = own or self.name
        kind = cast(Isolation, isolation or self.settings.isolation)
        if name == "sqlite":
            from pytest_dualdb.backends.sqlite import SQLiteBackend

            folder, in_memory = database_folder(own)
            self._removers.append(remove_with_us(folder))
            return SQLiteBackend(folder, kind, durable_folder=not in_memory)
        from pytest_dualdb.backends.postgres import PostgresBackend

        return PostgresBackend(self._server(), f"dualdb_{own}", kind)

    def _build(
        self,
        backend: Backend,
        files: list[Path],
        setup: Callable[[Database], None],
        environment: Mapping[str, str | None],
    ) -> None:
        scripts = [(path, path.read_text(encoding="utf-8")) for path in files]
        for path, text in scripts:
            try:
                backend.run_script(text)
            except Exception as error:
                raise SchemaError(self._failures(backend, scripts) or f"{path}: {error}") from error
        before = {name: os.environ.get(name) for name in environment}
        database = Database(backend, _given(environment))
        self.set_environment(environment)
        try:
            setup(database)
        finally:
            self.set_environment(before)
            database._close()

    def _failures(self, backend: Backend, scripts: list[tuple[Path, str]]) -> str:
        """Return a line for each statement of the schema files that fails, all of them."""
        statements = []
        for path, text in scripts:
            try:
                statements += [(path, one) for one in split_script(text, backend.name)]
            except ScriptError as error:
                return f"{_shown(path, self.settings)}: {error}"
        lines: list[str] = []
        results = backend.try_statements([one.text for _, one in statements])
        for (path, one), failed in zip(statements, results, strict=True):
            if failed is not None:
                reason = next(iter(str(failed).strip().splitlines()), type(failed).__name__)
                lines.append(
                    f"{_shown(path, self.settings)}:{one.line}: {_shortened(one.text)}\n    {reason}"
                )
        if not lines:
            return ""
        noun = "statement fails" if len(lines) == 1 else f"of {len(statements)} statements fail"
        return f"schema for {backend.name}: {len(lines)} {noun}\n" + "\n".join(lines)

    def environment(self, backend: Backend) -> dict[str, str | None]:
        """Return the variables of ``dualdb_env`` for a backend, None for those that it has none of."""
        return self.settings.environment(backend.name, _fields(backend))

    @staticmethod
    def _filled_in(backend: Backend, wanted: Wanted) -> dict[str, str | None]:
        return config.filled_in(wanted.env, backend.name, _fields(backend))

    def start(self, name: Name) -> Half:
        """Begin a half on a fresh database: recording is on from here."""
        backend = self.backend(name)
        if self.settings.redirect and name != "sqlite" and "sqlite" in self._backends:
            # an earlier half may have written to it by a path that is redirected
            self._backends["sqlite"].start_half()
        try:
            backend.start_half()
        except ServerError as error:
            self._failed[name] = error
            raise
        return Half(self, backend)

    def template(self, backend: Backend, further: Iterable[Further] = ()) -> dict[str, Any]:
        """Return what the first recording of this worker tells of the templates, empty from then on."""
        new = [one for one in further if (backend.name, one.name) not in self._sent]
        if not new and (backend.name, "") in self._sent:
            return {}
        self._sent |= {(backend.name, ""), *((backend.name, one.name) for one in new)}
        template, catalog = dict(backend.template_state()), backend.template_catalog()
        for one in new:
            template.update(one.named(one.backend.template_state()))
            catalog = one.catalog(catalog)
        return {"template": template, "template_catalog": catalog}

    def keep(self, backend: Backend, nodeid: str) -> Kept | str:
        """Set a held database aside, to outlive the run; return how to reach it, or why it was not kept."""
        try:
            folder = self._shelf.place(backend.name)
            if folder is None:
                return f"not kept: {MOST} for each worker and backend are enough"
            return backend.keep(folder, name_of(nodeid))
        except Exception as error:  # its test has a result already
            lines = str(error).strip().splitlines()
            return f"not kept: {lines[0] if lines else type(error).__name__}"

    def _remove_kept(self, run: str, folder: Path) -> bool:
        """Drop what an earlier run kept, as far as that is not in its folder; say whether nothing is left."""
        try:
            return all(self.backend(name).remove_kept(run, folder) for name in self.settings.backends)
        except Exception:  # a later run may reach what this one does not
            return False

    def discard(self, backend: Backend) -> None:
        """Give up databases that are in an unknown state; the next half builds new ones."""
        self._backends.pop(backend.name, None)
        backend.close()

    def close(self) -> None:
        if self.settings.redirect:
            from pytest_dualdb.recorder import sqlite3 as recorded

            recorded.redirects = {}
        if self.forked:
            return
        for backend in (*self._backends.values(), *self._made.values(), *self._further.values()):
            backend.close()
        self._further.clear()
        self._backends.clear()
        self._made.clear()
        for remover in self._removers:
            # to close the pipe is not enough: a process that a test forked may still hold it
            remover.communicate(b"\n")
        self._removers.clear()
        self._shelf.close()


class Half:
    """One test on one backend, from the first use of `db` to its end."""

    def __init__(self, worker: Worker, backend: Backend) -> None:
        self.backend = backend
        self._worker = worker
        self._environment = worker.environment(backend)
        self._before = {name: os.environ.get(name) for name in self._environment}
        worker.set_environment(self._environment)
        self.recorder = Recorder(backend.name, backend.own, str(worker.settings.rootdir))
        self.database = Database(backend, _given(self._environment), self.recorder)
        self._found: dict[str, Any] = {}
        self._children = _children()
        self._further: list[Further] = []
        self._glances = Glances(self.recorder, backend)
        for shared in worker.shared:
            if shared.backend.name == backend.name:
                self._use(shared)
        activate(self.recorder)

    def further(self, name: str, wanted: Wanted) -> Database:
        """Return a further database of the half."""
        found = self._worker.further(self.backend.name, name, wanted)
        self._use(found)
        for variable in found.env:
            self._before.setdefault(variable, os.environ.get(variable))
        self._worker.set_environment(found.env)
        return found.database

    def _use(self, further: Further) -> None:
        self._further.append(further)
        self.recorder.further[further.backend.own] = further.name
        further.database._recorder = self.recorder

    @property
    def shared(self) -> dict[str, str]:
        """What was done before on the databases that this half shares, by their names."""
        return {one.name: one.history() for one in self._further if one.shared}

    def _end_further(self, statements: Sequence[Statement]) -> tuple[dict[str, TableState], list[str]]:
        state: dict[str, TableState] = {}
        leaks: list[str] = []
        for one in self._further:
            one.database._recorder = None
            if one.shared:
                state.update(one.named(one.backend.contents()))
                continue
            one.database._close()
            if _children() != self._children:
                one.backend.expect_any_change()
            end = one.backend.end_half([s for s in statements if s.database == one.name])
            state.update(one.named(end.state))
            leaks += [f"{one.name}: {leak}" for leak in end.leaks]
        return state, leaks

    def tested(self) -> None:
        """Take note that from here on the test cleans up."""
        self.recorder.ending = True

    def finish(self) -> None:
        """Stop recording, end what the test left open, and read what it left behind."""
        if self._worker.forked:
            return
        activate(None)
        self._worker.set_environment(self._before)
        self._glances.look_at_the_rest()
        working = self.backend.interrupt()
        self.database._close()
        statements = self.recorder.statements()
        bypasses = tuple(entry.freeze() for entry in self.recorder.bypasses)
        if _children() != self._children:
            self.backend.expect_any_change()
        own = statements if not self._further else tuple(s for s in statements if not s.database)
        end = self.backend.end_half(own, hold=self._worker.settings.keep != "never")
        state, leaks = self._end_further(statements)
        end, cleared = self._glances.completed(end, statements)
        self._found = {
            "statements": statements,
            "bypasses": bypasses,
            "observed": tuple(self.recorder.observed),
            "state": {**end.state, **state},
            "catalog": end.catalog,
            "cleared": cleared,
            "undone": self._glances.undone,
            "leaks": tuple(dict.fromkeys([*working, *end.leaks, *leaks])),
            "window": (self.recorder.started, time.time()),
            "version": self.backend.version,
            "zone": self.backend.zone,
        }

    def settle(self, nodeid: str, failed: bool) -> Kept | str | None:
        """Keep the database if that was asked for such a half, then let go of it; to be called once at its end."""
        keep = self._worker.settings.keep
        if keep == "never" or "statements" not in self._found:
            return None
        kept = self._worker.keep(self.backend, nodeid) if failed or keep == "all" else None
        self.backend.release()
        return kept

    def template(self) -> dict[str, Any]:
        """Return what the record needs of the templates: for the record that is handed over, not a repeated half's."""
        return {} if self._worker.forked else self._worker.template(self.backend, self._further)

    def abandon(self, error: Exception) -> None:
        """Take note that the half could not be finished; the next one gets a new database."""
        self._found.setdefault("leaks", (f"the record is incomplete: {type(error).__name__}: {error}",))
        self._worker.discard(self.backend)

    def failure(self, phase: Any, error: BaseException) -> TestFailure:
        """Return the record of what a phase of the test failed with."""
        return TestFailure(
            phase, f"{type(error).__module__}.{type(error).__qualname__}".removeprefix("builtins."), str(error),
            self.recorder.site_of(error), database_error(error),
        )  # fmt: skip

    def recording(self, **facts: Any) -> Recording:
        """Return the record of the finished half; ``facts`` are what pytest knows of it."""
        return Recording(backend=self.backend.name, **self._found, **facts)


def _given(environment: Mapping[str, str | None]) -> dict[str, str]:
    return {name: value for name, value in environment.items() if value is not None}


def _fields(backend: Backend) -> dict[str, str]:
    return {**asdict(backend.address), "backend": backend.name}


def _children() -> tuple[float, ...]:
    """Return what processes that were started here and have ended used: it changes with each of them."""
    if resource is None:
        return ()
    return tuple(resource.getrusage(resource.RUSAGE_CHILDREN))


def database_folder(name: str) -> tuple[Path, bool]:
    """Make a folder of our own for database files; say whether it is in memory."""
    try:
        in_memory = (
            _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > _ENOUGH
        )
    except OSError:
        in_memory = False
    base = str(_MEMORY) if in_memory else None
    return Path(tempfile.mkdtemp(prefix=f"dualdb-{name}-", dir=base)), in_memory


def remove_with_us(folder: Path) -> subprocess.Popen[bytes]:
    """Have a folder removed when this process ends in whatever way, also when it is killed.

    A process of its own waits on a pipe that only we hold: that it is closed means that we are gone.
    """
    if os.name == "nt":
        program = [sys.executable, "-I", "-S", "-c", _REMOVE, str(folder)]
    else:
        program = ["/bin/sh", "-c", 'read -r _; rm -rf -- "$1"', "sh", str(folder)]
    return subprocess.Popen(
        program,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


_REMOVE = "import shutil, sys; sys.stdin.read(); shutil.rmtree(sys.argv[1], ignore_errors=True)"


def _shown(path: Path, settings: Settings) -> str:
    try:
        return path.relative_to(settings.rootdir).as_posix()
    except ValueError:
        return str(path)


def _shortened(sql: str, width: int = 100) -> str:
    text = " ".join(sql.split())
    return text if len(text) <= width else text[: width - 3] + "..."
