"""pytest-dualdb: run each database test on SQLite and on PostgreSQL, and report where they disagree."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec, PathFinder

__version__ = "0.1.0"


class _AsWritten:
    """Import this package's modules as they are compiled.

    pytest rewrites the assertions of every module of a plugin. Nothing here is a test, and where the result
    can't be kept (a read-only installation, PYTHONDONTWRITEBYTECODE) each run would take a second for it.
    """

    @staticmethod
    def find_spec(name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        return PathFinder.find_spec(name, path) if name.startswith(f"{__name__}.") else None


if "pytest" in sys.modules:
    sys.meta_path.insert(0, _AsWritten)
