"""Drivers that an application may or may not have: recorded once it imports them, never imported from here.

Each has a module in this package that is loaded with the driver and not before. What isolation asks of the
driver's connections is the same for all of them: `Sessions`.
"""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any, Protocol, cast

_RECORDERS = {
    "aiosqlite": "pytest_dualdb.recorder.aiosqlite",
    "asyncpg": "pytest_dualdb.recorder.asyncpg",
    "psycopg": "pytest_dualdb.recorder.psycopg",
}
"""The driver's module, and the one of ours that records it."""


Query = Callable[[str, Sequence[str]], "list[tuple[Any, ...]]"]
"""Runs a query, with parameters for ``%s``, and returns its rows."""


class Sessions(Protocol):
    """What a driver's connections to one database are asked at the end of a half, by database name."""

    def intercept(self) -> Callable[[], None]:
        """Record what is opened from here on; return what ends that."""

    def end_sessions(self, database: str) -> tuple[list[str], list[int]]:
        """End what a half left open; return what that was, and the process ids of backends still at work."""

    def reading(self, connection: Any) -> Query | None:
        """Return how to read in the transaction that a connection is in, None if that can't be done from here."""

    def backends(self, database: str) -> list[int]:
        """Return the process ids of the backends of all connections, kept ones too."""

    def disconnect(self, database: str) -> None:
        """Leave the database: it goes away, and comes back under the same name."""

    def reconnect(self, database: str) -> None:
        """Connect again what `disconnect` took from the application."""


class _Finder(importlib.abc.MetaPathFinder):
    """Has a driver recorded as soon as the application has imported it."""

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _RECORDERS:
            return None
        for finder in sys.meta_path:
            find = getattr(finder, "find_spec", None)
            spec = None if finder is self or find is None else find(name, path, target)
            if spec is not None:
                _follow(spec)
                return cast(importlib.machinery.ModuleSpec, spec)
        return None


def _follow(spec: importlib.machinery.ModuleSpec) -> None:
    """Have the driver recorded after its module has run."""
    loader: Any = spec.loader
    run = getattr(loader, "exec_module", None)
    if run is None:
        return

    def exec_module(module: ModuleType) -> None:
        loader.exec_module = run
        run(module)
        if module.__name__ in _RECORDERS and _finder in sys.meta_path:
            _record(module.__name__)

    loader.exec_module = exec_module


_finder = _Finder()
_undo: dict[str, Callable[[], None]] = {}
_wanted = 0
"""How many backends want the drivers recorded."""


def _record(driver: str) -> None:
    if driver in _undo:
        return
    try:
        recorder = cast(Sessions, importlib.import_module(_RECORDERS[driver]))
        _undo[driver] = recorder.intercept()
    except Exception as error:  # a version of the driver that is not known here: the application works on
        print(
            f"pytest-dualdb: {driver} is not recorded: {type(error).__name__}: {error}", file=sys.__stderr__
        )


def intercept() -> Callable[[], None]:
    """Record the drivers that are imported, and each other one from its import on; return what ends that."""
    global _wanted
    _wanted += 1
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for driver in _RECORDERS:
        if driver in sys.modules:
            _record(driver)
    return _release


def _release() -> None:
    global _wanted
    _wanted -= 1
    if _wanted:
        return
    if _finder in sys.meta_path:
        sys.meta_path.remove(_finder)
    while _undo:
        _undo.popitem()[1]()


def recorded() -> list[Sessions]:
    """Return the drivers that are recorded now."""
    return [cast(Sessions, sys.modules[_RECORDERS[driver]]) for driver in _undo]
