"""Start a server of our own from a folder of binaries, fast and without a trace.

What costs time, initdb, is done once: the result is kept as one file in the user's cache folder, named by
what it depends on. Everything else (unpacking it, starting, stopping, removing) happens in the guard
process; here is decided what it shall do. Nothing but the cache folder and fresh run folders is written.
"""

from __future__ import annotations

import hashlib
import marshal
import os
import re
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from . import guard
from .address import Server, ServerError
from .candidates import Binaries, describe, machine_locales

SUPERUSER = "postgres"
"""The superuser of each cluster of ours, and the database to connect to first."""

_SOCKET_PORT = 5432
_TMPFS_ROOM = 1 << 30
"""Bytes that must be free in memory-backed storage before a cluster, which tests let grow, goes there."""
_SETTINGS = {
    # Durability: nothing here outlives the run.
    "fsync": "off",
    "full_page_writes": "off",
    "synchronous_commit": "off",
    "max_wal_senders": "0",
    # Speed of a reset: TRUNCATE searches all shared buffers, and wal_level=minimal syncs its new files.
    "shared_buffers": "16MB",
    "wal_level": "replica",
    "wal_writer_delay": "10s",
    "bgwriter_delay": "10s",
    "update_process_title": "off",
    "max_wal_size": "256MB",
    "wal_init_zero": "off",
    "checkpoint_timeout": "1h",
    "bgwriter_lru_maxpages": "0",
    # Repeatability: no work behind the test's back, and rows always in the same order.
    "autovacuum": "off",
    "synchronize_seqscans": "off",
    "max_parallel_workers_per_gather": "0",
    "jit": "off",
    # Room for many workers with pools; nothing that stays in the system when the process is killed.
    "max_connections": "200",
    "max_logical_replication_workers": "0",
    "dynamic_shared_memory_type": "mmap" if sys.platform != "win32" else "windows",
    "huge_pages": "off",
    # The log says why a start failed; the errors that tests provoke would only fill memory.
    "log_min_messages": "log",
    "log_min_error_statement": "panic",
}
_PASSED_ON = {
    *("PATH", "TZ", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "LOCPATH", "LOCALE_ARCHIVE", "ICU_DATA"),
    *("SYSTEMROOT", "SYSTEMDRIVE", "WINDIR", "TEMP", "TMP", "USERPROFILE", "COMSPEC"),
}
_BOOT = "import sys; sys.path.append(sys.argv[1]); import guard; guard.main()"


class OwnServer:
    """A server that we started, and the guard process that ends it."""

    def __init__(
        self, process: subprocess.Popen[bytes], bases: list[str], account: tuple[int, int] | None
    ) -> None:
        self._process = process
        self._owner = os.getpid()
        self.folder = ""
        self._bases = bases
        self._account = account

    def stop(self, archive: str = "") -> None:
        """Stop the server and remove its folder; again, or in a forked process, do nothing.

        ``archive``: a file to keep its databases in. Raises ServerError if that can't be written.
        """
        if os.getpid() != self._owner or self._process.returncode is not None:
            return
        failure = self._archive(archive) if archive else ""
        self._end()
        if failure:
            raise ServerError(f"the databases of PostgreSQL were not kept in {archive}: {failure}")

    def _archive(self, archive: str) -> str:
        """Have the guard end the server in peace and keep its cluster; return what went wrong."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(os.fsencode(archive) + b"\n")
            self._process.stdin.close()
        except OSError:
            return "the process that guards the server is gone"
        word, *reasons = self._process.stdout.readline().decode(errors="replace").rstrip("\n").split("\t")
        return "" if word == "kept" else next(iter(reasons), "the process that guards the server ended early")

    def _end(self) -> None:
        with suppress(OSError, ValueError):  # the guard may be gone, or told already
            assert self._process.stdin is not None
            # to close the pipe is not enough: a process that a test forked may still hold it
            self._process.stdin.write(b"\0")
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe:
                with suppress(OSError):
                    pipe.close()
        try:
            status = self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        # the guard was killed: PostgreSQL's own processes hold the folder's lock until they are gone, too
        for _ in range(30 if status else 0):
            guard.sweep(self._bases, self._account)
            if not os.path.lexists(self.folder):
                break
            time.sleep(0.1)


def start(
    binaries: Binaries,
    *,
    tcp: bool,
    locale: str | None,
    environment: Mapping[str, str],
    report: Callable[[str], None],
    kept: str = "",
) -> tuple[Server, OwnServer]:
    """Start a server and wait until it answers a query. Raises ServerError with the reason.

    ``kept``: an archive that a run kept, to start on a copy of its databases.
    """
    account = _account()
    if account:
        binaries = _readable_binaries(binaries, account, environment)
    bases = _bases(environment, account)
    job: guard.Job = {
        "parent": os.getpid(),
        "bases": bases,
        "archive": kept or _archive(binaries, locale, environment),
        "kept": bool(kept),
        "version": binaries.version,
        "postgres": _postgres_command(binaries, tcp),
        "initdb": _initdb_commands(binaries, locale),
        "socket": not tcp,
        "port": 0,
        "account": account,
        "environment": {**_environment(environment), "LC_ALL": "C"},
    }
    if not os.path.isfile(job["archive"]):
        report(f"preparing PostgreSQL {binaries.version}, which is done once")
    for attempts_left in (2, 1, 0):
        job["port"] = _free_port() if tcp else _SOCKET_PORT
        own = _launch(job)
        try:
            server = _await(own, job, binaries)
            return server, own[1]
        except ServerError as error:
            own[1].stop()
            # Another process may take the port between our look and the server's.
            if attempts_left and tcp and "could not create any TCP/IP sockets" in str(error):
                continue
            if locale and "locale" in str(error):
                raise ServerError(
                    f"can't offer the collation {locale} ({error}): this machine has {machine_locales()}"
                ) from None
            raise
        except BaseException:
            own[1].stop()
            raise
    raise ServerError("no free port")


def _launch(job: guard.Job) -> tuple[subprocess.Popen[bytes], OwnServer]:
    python = getattr(sys, "_base_executable", None) or sys.executable
    if not python:
        raise ServerError(
            "this Python doesn't know its own program (sys.executable), which guards the server"
        )
    options = ["-I", "-S", *(["-B"] if sys.dont_write_bytecode else [])]
    port = ["-p", str(job["port"]), "-c", f"listen_addresses={'' if job['socket'] else '127.0.0.1'}"]
    job = {**job, "postgres": [*job["postgres"], *port]}
    try:
        process = subprocess.Popen(
            [python, *options, "-c", _BOOT, os.path.dirname(guard.__file__)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=os.path.abspath(os.sep),
            # Ctrl-C in the terminal is for pytest alone: its teardown still needs the database.
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
            | getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise ServerError(f"{python} can't be started: {error.strerror}") from None
    own = OwnServer(process, job["bases"], job["account"])
    values: Any = job
    message = marshal.dumps(values)
    assert process.stdin is not None
    try:
        process.stdin.write(len(message).to_bytes(8, "big") + message)
        process.stdin.flush()
    except OSError:
        own.stop()
        raise ServerError(f"{python} ended at once") from None
    return process, own


def _await(own: tuple[subprocess.Popen[bytes], OwnServer], job: guard.Job, binaries: Binaries) -> Server:
    """Wait for the guard's word, then ask the server itself."""
    import psycopg2

    process = own[0]
    assert process.stdout is not None
    word, *values = process.stdout.readline().decode(errors="replace").rstrip("\n").split("\t")
    if word != "ready":
        raise ServerError(values[0] if values else "the process that guards the server ended early")
    _, folder, password = values
    own[1].folder = folder
    server = Server(
        host=folder if job["socket"] else "127.0.0.1",
        port=job["port"],
        user=SUPERUSER,
        password="" if job["socket"] else password,
        maintenance=SUPERUSER,
        version=binaries.version,
        version_number=0,
        source=binaries.source,
        collation="",
        owned=True,
    )
    try:
        connection = psycopg2.connect(server.dsn(SUPERUSER), connect_timeout=10)
        try:
            facts = describe(connection)
        finally:
            connection.close()
    except psycopg2.Error as error:
        raise ServerError(f"the server started, but {str(error).strip()}") from None
    return replace(
        server, version=facts.version, version_number=facts.version_number, collation=facts.collation
    )


def _postgres_command(binaries: Binaries, tcp: bool) -> list[str]:
    settings = dict(_SETTINGS)
    if binaries.major >= 18:
        settings["io_method"] = "sync"  # three processes less to start
    command = [binaries.program("postgres")]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def _initdb_commands(binaries: Binaries, locale: str | None) -> list[list[str]]:
    """Answer the ways to build a cluster, in order; a later one is for machines without the locale."""
    command = [
        binaries.program("initdb"),
        f"--username={SUPERUSER}",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
        "--encoding=UTF8",
        "--no-sync",
        "--no-instructions",
        "--wal-segsize=1",
        "--lc-messages=C",  # rules read the messages
    ]
    if binaries.major >= 18:
        command.append("--no-data-checksums")
    if locale in (None, "C.UTF-8", "C.utf8") and binaries.major >= 17:
        return [[*command, "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--locale=C"]]
    if locale is None:
        return [[*command, "--locale=C.UTF-8"], [*command, "--locale=C"]]
    kind, _, name = locale.rpartition(":")
    if kind == "icu":
        if binaries.major < 15:
            raise ServerError(
                f"no ICU collation such as {locale} before PostgreSQL 15, this is {binaries.version}"
            )
        return [[*command, "--locale-provider=icu", f"--icu-locale={name}", "--locale=C"]]
    return [[*command, f"--locale={locale}"]]


def _archive(binaries: Binaries, locale: str | None, environment: Mapping[str, str]) -> str:
    """Answer the path of the archived cluster for these binaries and wishes, empty without a cache folder.

    The binaries count by what they are, not by where they are, so that all environments of a machine
    share one: size, and both ends of the file, where the linker leaves the build's identity.
    """
    folder = _cache_folder(environment)
    if not folder:
        return ""
    digest = hashlib.sha256(guard.MAGIC)
    with open(binaries.program("postgres"), "rb") as file:
        digest.update(file.read(1 << 16))
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - (1 << 16)))
        digest.update(file.read())
    # initdb writes the machine's time zone into the cluster.
    zone = ("/etc/localtime", os.path.realpath("/etc/localtime"), environment.get("TZ"), time.tzname)
    digest.update(repr((size, binaries.version, _initdb_commands(binaries, locale)[0][1:], zone)).encode())
    return os.path.join(folder, digest.hexdigest()[:24] + ".cluster")


def _cache_folder(environment: Mapping[str, str]) -> str:
    """Answer a folder of ours that outlives the run, or nothing."""
    path = environment.get("DUALDB_CACHE") or os.path.join(
        _system_cache() or _user_cache(environment), "pytest-dualdb"
    )
    path = os.path.abspath(os.path.expanduser(path))
    return path if _make_cache(path) else ""


def _make_cache(path: str) -> bool:
    """Make a cache folder, which the server's account can enter if we are root; tell if it can be used."""
    try:
        if not os.path.isdir(path):
            os.makedirs(path)
            if _system_cache():
                os.chmod(path, 0o755)
        # In a folder of others could be a cluster that others made.
        owned = not hasattr(os, "geteuid") or os.stat(path).st_uid == os.geteuid()
    except OSError:
        return False
    return owned and os.access(path, os.R_OK | os.X_OK)


def _system_cache() -> str:
    """Answer the machine's cache folder if we are root: the home folder may be that of another user."""
    if not hasattr(os, "geteuid") or os.geteuid() != 0:
        return ""
    return "/Library/Caches" if sys.platform == "darwin" else "/var/cache"


def _user_cache(environment: Mapping[str, str]) -> str:
    home = environment.get("HOME") or os.path.expanduser("~")
    if sys.platform == "win32":
        return environment.get("LOCALAPPDATA") or os.path.join(home, "AppData", "Local")
    if sys.platform == "darwin":
        return os.path.join(home, "Library", "Caches")
    return environment.get("XDG_CACHE_HOME") or os.path.join(home, ".cache")


def _bases(environment: Mapping[str, str], account: tuple[int, int] | None) -> list[str]:
    """Answer the folders in which a run folder can be made, best first."""
    wishes = [environment.get("TMPDIR", ""), tempfile.gettempdir(), "/tmp", "/var/tmp"]
    memory = "/dev/shm"
    if sys.platform != "win32" and os.access(memory, os.W_OK):
        room = os.statvfs(memory)
        if room.f_bavail * room.f_frsize >= _TMPFS_ROOM:
            wishes.insert(0, memory)
    bases = [os.path.realpath(path) for path in wishes if os.path.isabs(path) and os.path.isdir(path)]
    usable = [path for path in dict.fromkeys(bases) if account is None or _reaches(account, path)]
    if not usable:
        raise ServerError("no folder for temporary files that the server's account can reach")
    return usable


def _environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Answer the variables for the server's processes: what programs need, and no one's secrets."""
    return {name: value for name, value in environment.items() if name.upper() in _PASSED_ON}


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# Root: PostgreSQL refuses to run as root, so it runs as an account without rights.


def _account() -> tuple[int, int] | None:
    """Answer user and group id for the server's processes; None if they can be our own."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    for name in ("postgres", "nobody", "daemon"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        if entry.pw_uid != 0:
            return entry.pw_uid, entry.pw_gid
    raise ServerError(
        "PostgreSQL refuses to run as root, and there is no account postgres or nobody to run it as"
    )


def _reaches(account: tuple[int, int], path: str) -> bool:
    """Tell by the mode bits whether an account can read a file or enter a folder, and all above it."""
    real = Path(os.path.realpath(path))
    try:
        for place in (real, *real.parents):
            status = place.stat()
            mode = status.st_mode
            if status.st_uid == account[0]:
                mode >>= 6
            elif status.st_gid == account[1]:
                mode >>= 3
            wanted = 5 if place == real else 1
            if stat.S_ISREG(status.st_mode) and not os.access(place, os.X_OK):
                wanted = 4
            if mode & wanted != wanted:
                return False
    except OSError:
        return False
    return True


def _readable_binaries(
    binaries: Binaries, account: tuple[int, int], environment: Mapping[str, str]
) -> Binaries:
    """Answer the binaries, or where the account can't read them a copy that it can."""
    prefix = Path(os.path.realpath(binaries.folder)).parent
    needed = [Path(binaries.program(name)) for name in ("postgres", "initdb")]
    needed += [path for path in (prefix / "lib", prefix / "share") if path.is_dir()]
    if all(_reaches(account, str(path)) for path in needed):
        return binaries
    identity = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in needed]
    name = "binaries-" + hashlib.sha256(repr(identity).encode()).hexdigest()[:24]
    caches = [_cache_folder(environment), os.path.join(_system_cache(), "pytest-dualdb")]
    cache = next((path for path in caches if path and _make_cache(path) and _reaches(account, path)), None)
    if not cache:
        raise ServerError(
            f"the account that runs the server instead of root can't read {binaries.folder}, and there is no "
            "folder for a copy: name one that every account can enter with DUALDB_CACHE"
        )
    target = Path(cache, name)
    if not target.is_dir():
        _copy_installation(prefix, target)
    with suppress(OSError):
        os.utime(target)  # in use: see _copy_installation
    folder = target / prefix.parent.name / prefix.name / Path(os.path.realpath(binaries.folder)).name
    return Binaries(str(folder), binaries.source, binaries.version)


def _copy_installation(prefix: Path, target: Path) -> None:
    """Copy what postgres and initdb need, beside its place first. Raises ServerError."""
    for old in target.parent.glob("binaries-*"):
        if time.time() - old.stat().st_mtime > guard.UNUSED_SECONDS:
            shutil.rmtree(old, ignore_errors=True)
    # Wheels keep the libraries that they bring along beside the package (Linux) or within it (macOS).
    package, libraries = prefix.parent, prefix.parent.with_name(f"{prefix.parent.name}.libs")
    partial = Path(tempfile.mkdtemp(prefix=target.name + ".", suffix=".partial", dir=target.parent))
    try:
        for source in (prefix, package / ".dylibs", libraries):
            if source.is_dir():
                copy = partial / source.relative_to(package.parent)
                shutil.copytree(source, copy, ignore=_not_needed, copy_function=shutil.copyfile)
        for folder, _, names in os.walk(partial):
            os.chmod(folder, 0o755)
            for name in names:
                os.chmod(os.path.join(folder, name), 0o755 if Path(folder).name == "bin" else 0o644)
        os.rename(partial, target)
    except OSError as error:
        # Another run may have been first; its copy is as good.
        if not target.is_dir():
            raise ServerError(f"copying {prefix} to {target.parent}: {error.strerror}") from None
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _not_needed(folder: str, names: list[str]) -> set[str]:
    if Path(folder).name == "bin":
        return {name for name in names if name not in ("postgres", "initdb", "pg_ctl")}
    return {name for name in names if re.search(r"^(include|doc|man|pgxs|pkgconfig|locale)$|\.a$", name)}
