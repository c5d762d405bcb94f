"""The folder of databases that a run keeps for its user, and how to open them again.

One folder for each run, below the project's root; the first database that a later run keeps makes the folders
of finished runs go. This module knows files and servers, not pytest and not what is in a database.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from pytest_dualdb.backends import Kept
from pytest_dualdb.server import RunningServer, ServerError

FOLDER = ".pytest_dualdb"
MOST = 10
"""Databases that one worker keeps of each backend: a PostgreSQL one takes some 8 MB, of memory at first."""
_LOCK = "in-use"
_IGNORE = "# databases that pytest --db-keep kept; the next run that keeps some removes them\n*\n"


class Shelf:
    """Where one worker puts the databases that it keeps."""

    def __init__(self, root: Path, run: str, remove: Callable[[str, Path], bool]) -> None:
        """``remove`` is given an earlier run and its folder, drops what that kept elsewhere, and says if it could."""
        self._base = root / FOLDER
        self._run = run
        self._remove = remove
        self._lock: int | None = None
        self._counts: dict[str, int] = {}

    def place(self, backend: str) -> Path | None:
        """Return the run's folder, made at the first call; None if nothing more is to be kept. Raises OSError."""
        self._counts[backend] = self._counts.get(backend, 0) + 1
        if self._counts[backend] > MOST:
            return None
        folder = self._base / self._run
        if self._lock is None:
            folder.mkdir(parents=True, exist_ok=True)
            ignore = self._base / ".gitignore"
            if not ignore.exists():
                ignore.write_text(_IGNORE, encoding="utf-8")
            self._lock = _locked(folder / _LOCK, shared=True)
            self._remove_others()
        return folder

    def _remove_others(self) -> None:
        for other in self._base.iterdir():
            if other.name == self._run or not re.fullmatch("[0-9a-f]{8}", other.name):
                continue
            try:
                lock = _locked(other / _LOCK, shared=False)
            except OSError:  # its run has not ended
                continue
            removable = self._remove(other.name, other)
            os.close(lock)
            if removable:
                shutil.rmtree(other, ignore_errors=True)

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _locked(path: Path, *, shared: bool) -> int:
    """Open a file that says that its folder is in use. Raises OSError if others say so and it is not shared."""
    if sys.platform == "win32":
        if not shared:
            path.unlink(missing_ok=True)  # refused while somebody has it open
        return os.open(path, os.O_RDWR | os.O_CREAT)
    import fcntl

    lock = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def name_of(nodeid: str) -> str:
    """Return a test's id as a name for files and databases: of ASCII letters, digits, ``_`` and ``-``."""
    file, _, rest = nodeid.partition("::")
    return re.sub(r"[^A-Za-z0-9_]+", "-", f"{Path(file).stem}-{rest}").strip("-")[:100]


def command(kept: Kept, folder: Path) -> str:
    """Return what to type in a folder to look into a database."""
    import shlex

    if "://" in kept.place:
        return f"psql {shlex.quote(kept.place)}"
    path = Path(kept.place)
    place = shlex.quote(str(path.relative_to(folder) if path.is_relative_to(folder) else path))
    return f"dualdb open {place} {kept.database}" if kept.database else f"sqlite3 {place}"


def open_cluster(archive: Path) -> tuple[RunningServer, str]:
    """Start a server on a copy of the databases in a file that a run kept; return the folder of its programs, too.

    Raises ServerError.
    """
    from pytest_dualdb.server import candidates, cluster, guard

    try:
        with archive.open("rb") as file:
            head = guard.read_head(file.fileno())
    except OSError as error:
        raise ServerError(f"{archive} can't be read: {error.strerror}") from None
    if head is None:
        raise ServerError(
            f"{archive} holds no databases of yours; expected a file that pytest --db-keep kept"
        )
    major = int(re.split(r"\D", head[0], maxsplit=1)[0])
    found, reasons = candidates.system(os.environ, major)
    try:
        found.append(candidates.embedded())
    except ServerError as error:
        reasons.append(f"embedded: {error}")
    for binaries in found:
        if binaries.major == major:
            server, process = cluster.start(
                binaries, tcp=sys.platform == "win32", locale=None, environment=os.environ,
                report=lambda text: None, kept=str(archive.absolute()),
            )  # fmt: skip
            return RunningServer(server, process.stop), binaries.folder
    raise ServerError(f"{archive} needs PostgreSQL {major}, as the run had: {'; '.join(reasons)}")
