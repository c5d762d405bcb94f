"""Own the PostgreSQL process and its folder, so that nothing outlives pytest.

This file runs as a process of its own between pytest and PostgreSQL. Its standard input is a pipe that
pytest holds: when the pipe closes, or the parent process changes, however pytest ended, it stops the server
and removes the folder. It also unpacks or builds the cluster, so that pytest's own process stays free to
collect tests meanwhile.

Its start is on the way to the first query: one file, and only modules that cost nothing to import (typing,
contextlib, subprocess and shutil are 2 to 9 ms each). It must not know where PostgreSQL comes from or what
it is for: everything arrives as one job.
"""

# ruff: noqa: SIM105 - contextlib.suppress would import contextlib

from __future__ import annotations

import marshal
import mmap
import os
import select
import signal
import stat
import sys
import time

if sys.platform != "win32":
    import fcntl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from typing import TypedDict

    class Job(TypedDict):
        """What pytest asks for; plain values, because they travel through marshal."""

        parent: int
        bases: list[str]
        archive: str
        kept: bool
        version: str
        postgres: list[str]
        initdb: list[list[str]]
        socket: bool
        port: int
        account: tuple[int, int] | None
        environment: dict[str, str]


PREFIX = "dualdb-"
"""What the names of run folders begin with."""
MARKER = "pytest-dualdb.lock"
"""The file by which we recognise our own run folders; the guard holds a lock on it while it lives."""
MAGIC = b"pytest-dualdb cluster 1\n"
"""First line of an archived cluster; the number is the version of the format."""
UNUSED_SECONDS = 14 * 24 * 3600.0
"""After this time what nobody used is removed from the cache folder."""

_POLL = 0.002
_INITDB_SECONDS = 120.0
_START_SECONDS = 60.0
_STOP_SECONDS = 3.0
_SOCKET_PATH_LIMIT = 103

_prctl: Callable[..., object] | None = None
_wish = b""
"""What pytest has written since the job: a file in which to keep the cluster, ended by a line feed."""


class Gone(BaseException):
    """Pytest is gone, or asks to stop."""


class Failure(Exception):
    """A step failed, with the reason as its text."""

    @property
    def lacks_space(self) -> bool:
        """Whether another folder may have the room that this one lacked."""
        return "No space left" in str(self) or "quota exceeded" in str(self)


def main() -> None:
    """Read the job from standard input, serve it, and leave nothing behind."""
    job: Job = marshal.loads(_read_exactly(int.from_bytes(_read_exactly(8), "big")))
    os.umask(0o077)
    if sys.platform != "win32":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, _on_signal)
    reasons = []
    try:
        for base in job["bases"]:
            try:
                with RunFolder(base, job["account"], job["socket"]) as folder:
                    _serve(job, folder)
            except OSError as error:
                reasons.append(f"{base}: {error.strerror or error}")
            except Failure as error:
                reasons.append(f"{base}: {error}" if error.lacks_space else str(error))
                if not error.lacks_space:
                    break
        _tell("failed", " ".join("; ".join(reasons).split()) or "no folder for temporary files")
    except Gone:
        pass


class RunFolder:
    """One run's folder, mode 0700, with the marker whose lock says that we live."""

    def __init__(self, base: str, account: tuple[int, int] | None, wants_socket: bool) -> None:
        self.path = _make_folder(base)
        self.socket = ""
        self.stop: Callable[[], None] = lambda: None
        self.finish: Callable[[], None] = lambda: None
        try:
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL
            self._lock = os.open(os.path.join(self.path, MARKER), flags, 0o600)
            if sys.platform != "win32":
                fcntl.flock(self._lock, fcntl.LOCK_EX)
            if wants_socket:
                self.socket = self._socket_folder()
                os.write(self._lock, self.socket.encode())
            if account and sys.platform != "win32":
                for path in {self.path, self.socket or self.path}:
                    _hand_over(path, account)
        except BaseException:
            remove(self.path)
            raise

    def _socket_folder(self) -> str:
        if len(os.fsencode(self.path)) + len("/.s.PGSQL.65535") <= _SOCKET_PATH_LIMIT:
            return self.path
        return _make_folder("/tmp")  # the shortest path there is; a fresh folder of mode 0700

    @property
    def data(self) -> str:
        return os.path.join(self.path, "data")

    @property
    def log(self) -> str:
        return os.path.join(self.path, "log")

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *exception: object) -> None:
        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
        try:
            self.stop()
        finally:
            if sys.platform == "win32":
                os.close(self._lock)
            if self.socket and self.socket != self.path:
                remove(self.socket)
            _remove_run(self.path)
        if sys.platform != "win32":
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, _on_signal)
            os.close(self._lock)


def _serve(job: Job, folder: RunFolder) -> None:
    """Start the server in the folder and keep it until pytest is gone. Raises Gone, Failure or OSError."""
    password = _start_from_archive(job, folder)
    parts: list[bytes] = []
    if password is None:
        password = _build(job, folder)
        if job["archive"]:
            parts = list(pack(folder.data, job["version"], password))
        _start(job, folder)
    _tell("ready", folder.path, folder.socket, password)
    if parts:
        _save(job["archive"], parts)
        parts.clear()
    sweep(job["bases"], job["account"])
    try:
        while True:
            _attend(job["parent"], 0.5)
            if sys.platform != "win32":
                _reap(folder)
    except Gone:
        if _wish.endswith(b"\n"):
            _keep(os.fsdecode(_wish[:-1]), folder, job["version"], password)
        raise


def _keep(archive: str, folder: RunFolder, version: str, password: str) -> None:
    """End the server in peace and keep its cluster as one file."""
    folder.finish()
    folder.stop = lambda: None
    try:
        with open(archive, "xb") as file:
            file.writelines(pack(folder.data, version, password))
        _tell("kept")
    except OSError as error:
        _unlink(archive)
        _tell("failed", error.strerror or str(error))


def _start_from_archive(job: Job, folder: RunFolder) -> str | None:
    """Start on the archived cluster; answer its password, or None if there is no usable archive."""
    try:
        archive = os.open(job["archive"], os.O_RDONLY | getattr(os, "O_BINARY", 0))
    except OSError as error:
        if job["kept"]:
            raise Failure(error.strerror) from None
        return None
    try:
        head = read_head(archive)
        if head is None:
            raise Failure("the archived cluster is incomplete")
        _in_child(job, folder, lambda: unpack(archive, folder.data), _START_SECONDS)
        _start(job, folder)
    except Failure as error:
        if error.lacks_space or "TCP/IP" in str(error) or job["kept"]:
            raise
        # Whatever is wrong with the archive, building the cluster anew is the answer.
        folder.stop()
        folder.stop = lambda: None
        remove(folder.data)
        _unlink(job["archive"])
        return None
    finally:
        os.close(archive)
    try:
        os.utime(job["archive"])  # in use: see _save
    except OSError:
        pass
    return head[1]


def _build(job: Job, folder: RunFolder) -> str:
    """Run initdb; answer the random password of the superuser."""
    password = os.urandom(18).hex()
    secret = os.path.join(folder.path, "password")
    with open(secret, "w", encoding="ascii") as file:
        file.write(password + "\n")
    if job["account"] and sys.platform != "win32":
        _hand_over(secret, job["account"])
    try:
        for position, arguments in enumerate(job["initdb"]):
            command = [*arguments, f"--pwfile={secret}", f"--pgdata={folder.data}"]
            try:
                _run(job, folder, command, _INITDB_SECONDS)
                break
            except Failure as error:
                remove(folder.data)
                if position + 1 == len(job["initdb"]) or "locale" not in str(error):
                    raise
    finally:
        _unlink(secret)
    return password


# Archived clusters: one file, replaced in one step, so that there is never half of one.


def pack(data: str, version: str, password: str) -> Iterator[bytes]:
    """Read a stopped cluster; yield the parts of its archive, of which the first is the head."""
    lines: list[str] = []
    paths: list[str] = []
    total = 0
    for folder, folders, names in os.walk(data):
        folders.sort()
        relative = os.path.relpath(folder, data).replace(os.sep, "/")
        lines.append(f"- {relative}\n")
        for name in sorted(set(names) - {"postmaster.pid"}):  # which a server that was killed leaves
            paths.append(os.path.join(folder, name))
            size = os.stat(paths[-1]).st_size
            lines.append(f"{size} {relative}/{name}\n")
            total += size
    yield MAGIC + f"{version}\n{password}\n{total}\n{''.join(lines)}\n".encode()
    for path in paths:
        with open(path, "rb") as file:
            yield file.read()


def read_head(archive: int) -> tuple[str, str, int] | None:
    """Answer version, password and where the contents begin; None if anything is missing or not ours."""
    status = os.fstat(archive)
    if hasattr(os, "getuid") and status.st_uid not in (os.getuid(), 0):
        return None
    head = b""
    while b"\n\n" not in head:
        block = os.read(archive, 1 << 16)
        if not block or len(head) > 1 << 22:
            return None
        head += block
        if not head.startswith(MAGIC[: len(head)]):
            return None
    begin = head.index(b"\n\n") + 2
    version, password, total = head[len(MAGIC) : begin].split(b"\n", 3)[:3]
    if not total.isdigit() or status.st_size != begin + int(total):
        return None
    return version.decode(), password.decode(), begin


def unpack(archive: int, data: str) -> None:
    """Write the archived cluster to a new folder. Raises OSError."""
    with mmap.mmap(archive, 0, access=mmap.ACCESS_READ) as content, memoryview(content) as view:
        begin = content.find(b"\n\n") + 2
        lines = content[len(MAGIC) : begin - 1].decode().splitlines()[3:]
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        for line in lines:
            size, _, name = line.partition(" ")
            path = os.path.join(data, name)
            if size == "-":
                os.mkdir(path if name != "." else data, 0o700)
                continue
            file = os.open(path, flags, 0o600)
            try:
                end = begin + int(size)
                while begin < end:
                    begin += os.write(file, view[begin:end])
            finally:
                os.close(file)


def _save(archive: str, parts: list[bytes]) -> None:
    """Put an archive in place in one step and drop those that nobody used for long; failing is no harm."""
    folder = os.path.dirname(archive)
    partial = f"{archive}.{os.getpid()}.partial"
    try:
        with open(partial, "wb") as file:
            file.writelines(parts)
            file.flush()
            # After a power cut the name must not stand for a file whose blocks never reached the disk.
            os.fsync(file.fileno())
        os.replace(partial, archive)
        for name in os.listdir(folder):
            path = os.path.join(folder, name)
            unused = time.time() - os.stat(path).st_mtime > UNUSED_SECONDS
            if unused and name.endswith((".cluster", ".partial")):
                os.unlink(path)
    except OSError:
        _unlink(partial)


# Processes


if sys.platform != "win32":

    def _run(job: Job, folder: RunFolder, command: list[str], seconds: float) -> None:
        """Run a program to its end. Raises Failure with what it said."""
        _in_child(job, folder, lambda: os.execve(command[0], command, job["environment"]), seconds)

    def _in_child(job: Job, folder: RunFolder, action: Callable[[], object], seconds: float) -> None:
        """Do something as the server's account in a process of its own, and wait for its end."""
        _unlink(folder.log)
        child = _fork(job, folder.log, action)
        _find_prctl()
        deadline = time.monotonic() + seconds
        try:
            while True:
                pid, status = os.waitpid(child, os.WNOHANG)
                if pid:
                    break
                if time.monotonic() > deadline:
                    raise Failure(f"no end after {seconds:.0f} s: {_last_words(folder.log)}")
                _attend(job["parent"], _POLL)
        except BaseException:
            # initdb has children of its own, and they remove their shared memory when asked to end.
            _end(child, (signal.SIGTERM, signal.SIGKILL), group=True)
            raise
        if status:
            raise Failure(_last_words(folder.log))

    def _start(job: Job, folder: RunFolder) -> None:
        """Start the server and wait until it accepts connections. Raises Failure with what its log says."""
        command = [*job["postgres"], "-D", folder.data, "-k", folder.socket]
        _unlink(folder.log)
        child = _fork(job, folder.log, lambda: os.execve(command[0], command, job["environment"]))
        folder.stop = lambda: _end(child, (signal.SIGQUIT, signal.SIGKILL))
        folder.finish = lambda: _end(child, (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL))
        deadline = time.monotonic() + _START_SECONDS
        while not _is_ready(folder.data):
            if os.waitpid(child, os.WNOHANG)[0]:
                folder.stop = lambda: None
                raise Failure(_last_words(folder.log))
            if time.monotonic() > deadline:
                raise Failure(f"not ready after {_START_SECONDS:.0f} s: {_last_words(folder.log)}")
            _attend(job["parent"], _POLL)

    def _fork(job: Job, log: str, action: Callable[[], object]) -> int:
        """Do something as the server's account, its output in the log; answer the process id at once."""
        guard = os.getpid()
        child = os.fork()
        if child:
            _group(child)
            return child
        status = 1
        try:
            _group(0)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            nothing = os.open(os.devnull, os.O_RDWR)
            os.dup2(nothing, 0)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), 1)
            os.dup2(1, 2)
            if job["account"]:
                _become(*job["account"])
            os.chdir("/")
            if _prctl:
                _prctl(1, int(signal.SIGQUIT), 0, 0, 0)  # PR_SET_PDEATHSIG of <linux/prctl.h>
            if os.getppid() == guard:
                action()
                status = 0
        except BaseException as error:
            text = str(error) if isinstance(error, Failure) else getattr(error, "strerror", None)
            os.write(2, f"{text or repr(error)}\n".encode())
        os._exit(status)

    def _group(pid: int) -> None:
        """Give a process its own group; parent and child both do it, so that neither has to wait."""
        try:
            os.setpgid(pid, pid)
        except OSError:
            pass

    def _become(uid: int, gid: int) -> None:
        try:
            os.setgroups([])
            os.setgid(gid)
            os.setuid(uid)
        except OSError as error:
            raise _refused(uid, error) from None

    def _hand_over(path: str, account: tuple[int, int]) -> None:
        """Give a folder or file of ours to the server's account."""
        try:
            os.chown(path, *account)
        except OSError as error:
            raise _refused(account[0], error) from None

    def _refused(uid: int, error: OSError) -> Failure:
        """Name what happens in containers whose root is a plain user outside."""
        return Failure(f"PostgreSQL refuses root, and root can't become user {uid} here ({error.strerror})")

    def _find_prctl() -> None:
        """Find the call by which a Linux process is told to quit when its parent, this guard, is killed.

        Called while a child is at work, because importing ctypes takes a few milliseconds.
        """
        global _prctl
        if _prctl is None and sys.platform.startswith("linux"):
            try:
                import ctypes

                _prctl = ctypes.CDLL(None).prctl
            except (ImportError, OSError, AttributeError):
                pass

    def _end(pid: int, signals: Sequence[int], *, group: bool = False) -> None:
        """End a process of ours by one signal after the other, and wait for it."""
        for number in signals:
            if number == signal.SIGKILL:
                # A stopped backend doesn't hear its postmaster.
                for child in _children(pid):
                    _kill(child, number)
            _kill(-pid if group else pid, number)
            deadline = time.monotonic() + _STOP_SECONDS
            while time.monotonic() < deadline:
                try:
                    if os.waitpid(pid, os.WNOHANG)[0]:
                        return
                except ChildProcessError:
                    if not _lives(pid):
                        return
                time.sleep(_POLL)

    def _children(pid: int) -> list[int]:
        try:
            with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
                return [int(word) for word in file.read().split()]
        except OSError:
            pass
        pairs = (line.split() for line in _ps("-A", "-o", "pid=,ppid=").splitlines())
        return [int(pair[0]) for pair in pairs if len(pair) == 2 and pair[1] == str(pid)]

    def _kill(pid: int, number: int) -> None:
        try:
            os.kill(pid, number)
        except (ProcessLookupError, PermissionError):
            pass

    def _lives(pid: int) -> bool:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return True

    def _reap(folder: RunFolder) -> None:
        """Notice the end of a server that someone killed: its number may soon be another process."""
        try:
            if os.waitpid(-1, os.WNOHANG)[0]:
                folder.stop = folder.finish = lambda: None
        except ChildProcessError:
            pass

    def _attend(parent: int, seconds: float) -> None:
        """Wait, but no longer than pytest lives and wants the server. Raises Gone."""
        if select.select([0], [], [], seconds)[0]:
            _listen()
        # A process forked by pytest may hold the pipe for longer than pytest lives.
        if os.getppid() != parent:
            raise Gone

else:

    def _run(job: Job, folder: RunFolder, command: list[str], seconds: float) -> None:
        """Run a program to its end. Raises Failure with what it said."""
        import subprocess

        with open(folder.log, "wb") as log:
            try:
                status = subprocess.call(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=job["environment"],
                    timeout=seconds,
                    creationflags=subprocess.CREATE_NO_WINDOW,
                )
            except subprocess.TimeoutExpired:
                raise Failure(f"no end after {seconds:.0f} s: {_last_words(folder.log)}") from None
        if status:
            raise Failure(_last_words(folder.log))

    def _in_child(job: Job, folder: RunFolder, action: Callable[[], object], seconds: float) -> None:
        action()

    def _start(job: Job, folder: RunFolder) -> None:
        """Start the server by pg_ctl, which gives up the rights that PostgreSQL refuses to run with."""
        import subprocess

        control = os.path.join(os.path.dirname(job["postgres"][0]), "pg_ctl.exe")
        log = os.path.join(folder.path, "server.log")
        options = subprocess.list2cmdline(job["postgres"][1:])
        command = [control, "start", "-w", "-D", folder.data, "-l", log, "-o", options]
        stop = [control, "stop", "-D", folder.data, "-m"]
        folder.stop = lambda: _run(job, folder, [*stop, "immediate"], _START_SECONDS)
        folder.finish = lambda: _run(job, folder, [*stop, "fast"], _START_SECONDS)
        try:
            _run(job, folder, command, _START_SECONDS)
        except Failure:
            raise Failure(_last_words(log)) from None

    def _attend(parent: int, seconds: float) -> None:
        """Wait until pytest closes the pipe; Windows closes it however pytest ends. Raises Gone."""
        _listen()


def _listen() -> None:
    """Take what pytest says. Raises Gone when it has said all."""
    global _wish
    text = os.read(0, 4096)
    _wish += text
    # a process that a test forked may hold the pipe open
    if not text or _wish.endswith((b"\n", b"\0")):
        raise Gone


def _is_ready(data: str) -> bool:
    """Read the status line that PostgreSQL 10 and later keep in postmaster.pid (miscadmin.h: line 8)."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return False
    return len(lines) >= 8 and lines[7].strip() == "ready"


def _last_words(log: str) -> str:
    """Answer the line of a log that says why, or the last one."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            lines = [line.strip() for line in file.read().splitlines() if line.strip()]
    except OSError:
        lines = []
    for line in reversed(lines):
        for mark in ("error:", "FATAL:", "PANIC:"):
            if mark in line:
                return line[line.index(mark) + len(mark) :].strip()
    return lines[-1] if lines else "it said nothing"


# Folders


def sweep(bases: Sequence[str], account: tuple[int, int] | None) -> None:
    """Remove what dead runs left: folders of ours whose marker nobody holds, and the servers in them."""
    users = {os.getuid() if hasattr(os, "getuid") else 0, *(account[:1] if account else ())}
    for base in bases:
        try:
            names = [name for name in os.listdir(base) if name.startswith(PREFIX)]
        except OSError:
            continue
        for name in names:
            path = os.path.join(base, name)
            try:
                status = os.lstat(path)
                if stat.S_ISDIR(status.st_mode) and status.st_uid in users:
                    _sweep_folder(path, users)
            except OSError:
                continue


def _sweep_folder(path: str, users: set[int]) -> None:
    marker = os.path.join(path, MARKER)
    if sys.platform == "win32":
        os.unlink(marker)  # refused while its guard has it open
        _remove_run(path)
    else:
        lock = os.open(marker, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # refused while its guard lives
            pid = _server_in(os.path.join(path, "data"))
            if pid:
                _end(pid, (signal.SIGQUIT, signal.SIGKILL))
            socket = os.read(lock, 4096).decode(errors="replace")
            apart = socket != path and os.path.basename(socket).startswith(PREFIX)
            if apart and os.path.isdir(socket) and os.lstat(socket).st_uid in users:
                remove(socket)
            _remove_run(path)
        finally:
            os.close(lock)


def _server_in(data: str) -> int:
    """Answer the process id of the server that still runs on a data folder, or 0."""
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            pid = int(file.readline())
    except (OSError, ValueError):
        return 0
    try:
        # PostgreSQL works in its data folder; a later process with this number doesn't.
        return pid if pid > 1 and os.readlink(f"/proc/{pid}/cwd") == data else 0
    except OSError:
        pass
    return pid if pid > 1 and f"-D {data}" in _ps("-o", "command=", "-p", str(pid)) else 0


def _ps(*arguments: str) -> str:
    import subprocess

    try:
        done = subprocess.run(["ps", *arguments], capture_output=True, text=True, timeout=2, check=False)
        return done.stdout
    except (OSError, subprocess.SubprocessError):
        return ""


def _remove_run(path: str) -> None:
    """Remove a run folder; its marker goes last, so that an interrupted removal is found again."""
    data = os.path.join(path, "data")
    _free_memory(data)
    remove(data)
    remove(path)


def _free_memory(data: str) -> None:
    """Remove the shared memory of a server that was killed; one that was stopped has done so itself.

    PostgreSQL keeps key and id of its System V segment in line 7 of postmaster.pid (miscadmin.h).
    """
    try:
        with open(os.path.join(data, "postmaster.pid"), encoding="utf-8", errors="replace") as file:
            key, segment = file.read().splitlines()[6].split()
        with open("/proc/sysvipc/shm", encoding="ascii") as file:
            ours = any(line.split()[:2] == [key, segment] for line in file)
        if ours:
            import ctypes

            ctypes.CDLL(None).shmctl(int(segment), 0, None)  # IPC_RMID of <sys/ipc.h>
    except (OSError, ValueError, IndexError, ImportError, AttributeError):
        pass


def remove(path: str) -> None:
    """Remove a folder of ours with all that is in it; what is still being written is tried again."""
    import shutil

    for _ in range(20):
        shutil.rmtree(path, ignore_errors=True)
        if not os.path.lexists(path):
            return
        time.sleep(0.05)


def _make_folder(base: str) -> str:
    while True:
        path = os.path.join(base, PREFIX + os.urandom(6).hex())
        try:
            os.mkdir(path, 0o700)
            return path
        except FileExistsError:
            continue


def _unlink(path: str) -> None:
    try:
        os.unlink(path)
    except OSError:
        pass


# The conversation with pytest


def _tell(*words: str) -> None:
    line = "\t".join(words) + "\n"
    try:
        os.write(1, line.encode())
    except BrokenPipeError:
        raise Gone from None


def _read_exactly(size: int) -> bytes:
    parts = b""
    while len(parts) < size:
        block = os.read(0, size - len(parts))
        if not block:
            raise SystemExit
        parts += block
    return parts


def _on_signal(number: int, frame: object) -> None:
    raise Gone
