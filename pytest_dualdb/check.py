"""The command ``dualdb check``: can both databases be reached, and do they do what a test needs.

A walk of steps, each of which either works or says what to do; `pytest_dualdb.cli` prints them. What reaches
a database for the other commands is here too.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pytest_dualdb import config
from pytest_dualdb.recording import Backend

if TYPE_CHECKING:
    from pytest_dualdb.server import RunningServer, Server

CONNECT_SECONDS = 10


class UsageError(Exception):
    """What the user asked for can't be done; the message is one line that says what was expected."""


def reach_server(settings: config.Settings) -> RunningServer:
    """Find or start PostgreSQL. Raises ServerError, and UsageError for a value that means nothing."""
    from pytest_dualdb.server import ServerError, open_server

    try:
        return open_server(
            settings.postgres, listen=settings.listen, locale=settings.locale or None,
            report=lambda text: print(f"{text} ...", file=sys.stderr),
        )  # fmt: skip
    except ServerError as error:
        if str(error).startswith("unknown "):
            raise UsageError(f"{settings.sources['postgres']}: {error}") from None
        raise


@contextlib.contextmanager
def postgres_database(server: Server) -> Iterator[str]:
    """Make an empty database, give its connection string, and drop it; no other database is written to."""
    import psycopg2

    from pytest_dualdb.backends.ownership import claim

    name = f"dualdb_{secrets.token_hex(4)}_check"
    with contextlib.closing(
        psycopg2.connect(server.dsn(server.maintenance), connect_timeout=CONNECT_SECONDS)
    ) as admin:
        admin.autocommit = True
        cursor = admin.cursor()
        claim(cursor, name)
        try:
            # within the try: an interrupt that comes now is raised when the database is there
            cursor.execute(f"CREATE DATABASE {name} {server.database_options or 'TEMPLATE template0'}")
            yield server.dsn(name)
        finally:
            try:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            except psycopg2.Error as error:
                print(f"the database {name} could not be dropped: {first_line(error)}", file=sys.stderr)


@contextlib.contextmanager
def sqlite_folder(wanted: Path | None = None) -> Iterator[Path]:
    """Make a folder for SQLite files, below ``wanted`` or where tests have theirs, and remove it."""
    if wanted is None:
        from pytest_dualdb.worker import database_folder

        folder, _ = database_folder("check")
    else:
        folder = Path(tempfile.mkdtemp(prefix="dualdb-check-", dir=wanted))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of ``dualdb check``: what was tried, and what came of it; if it failed, also what to do.

    ``seconds`` is what it took, None where that means nothing.
    """

    name: str
    ok: bool
    text: str
    seconds: float | None = None


Walk = Generator[Step, None, None]


@dataclass(frozen=True, slots=True)
class _Place:
    """A database that only this command knows: how to connect, a query that reads it, its driver's words."""

    connect: Callable[[], Any]
    query: str
    placeholder: str
    errors: tuple[type[Exception], ...]
    advice: str


class _WrongAnswer(Exception):
    """A database works, but not as it must."""


def _check_sqlite(settings: config.Settings, path: Path | None, facts: dict[str, Any]) -> Walk:
    facts["version"] = sqlite3.sqlite_version
    advice = "check that the folder can be written to and has space, or name another with --sqlite=FOLDER"
    errors = (sqlite3.Error, OSError)
    wanted = path if path is not None and path.is_dir() else None
    if path is not None and wanted is None:
        expected = "name your application's SQLite file or a folder with --sqlite"
        yield _step("your file", errors, expected, lambda: _look_at(path))
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(sqlite_folder(wanted))
        except OSError as error:
            yield Step("reached", False, f"{error}\nwhat to do: {advice}")
            return
        place = _Place(
            lambda: sqlite3.connect(folder / "check.sqlite3", timeout=30),
            "SELECT count(*) FROM sqlite_master", "?", errors, advice,
        )  # fmt: skip
        facts["source"] = f"a file of its own in {folder.parent}"
        reached = _step("reached", errors, advice, lambda: _sqlite_reached(place, facts))
        yield reached
        if not reached.ok:
            return
        facts["collation"] = "BINARY"
        yield Step("collation", True, "BINARY: text sorts by its bytes")
        yield from _work(place, "from open")
        yield from _schema(settings, "sqlite", None)


def _sqlite_reached(place: _Place, facts: Mapping[str, Any]) -> str:
    with contextlib.closing(place.connect()) as connection:
        connection.execute("PRAGMA user_version = 1")  # makes the file
    return f"SQLite {facts['version']}, {facts['source']}"


def _look_at(path: Path) -> str:
    """Say what an application's SQLite file holds, in a way that leaves no trace beside it."""
    if not path.is_file():
        raise OSError(f"no file {path}")
    address = f"{path.resolve().as_uri()}?mode=ro&immutable=1"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as connection:
        try:
            cursor = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'")
            (tables,) = cursor.fetchone()
        except sqlite3.DatabaseError as error:
            raise OSError(f"{path}: {error}") from None
    wal = path.with_name(path.name + "-wal")
    apart = f", besides what is still in {wal.name}" if wal.exists() and wal.stat().st_size else ""
    return f"{path}: {tables} table{'' if tables == 1 else 's'}{apart}; only read"


def _check_postgres(settings: config.Settings, _: Path | None, facts: dict[str, Any]) -> Walk:
    from pytest_dualdb.server import ServerError

    begin = time.perf_counter()
    with contextlib.ExitStack() as stack:
        try:
            import psycopg2

            server = stack.enter_context(reach_server(settings)).server
        except (ServerError, ImportError) as error:
            yield Step("reached", False, with_advice(str(error), advice_to_reach(settings)))
            return
        facts.update(version=server.version, source=server.source, collation=server.collation)
        yield Step("reached", True, "\n".join(_reached(settings, server)))
        yield Step("collation", True, collation_of(server.collation))
        try:
            dsn = stack.enter_context(postgres_database(server))
        except psycopg2.Error as error:
            advice = f"make sure that {server.user} may create databases there, and that there is space"
            yield Step("new database", False, with_advice(first_line(error), advice))
            return
        place = _Place(
            lambda: psycopg2.connect(dsn, connect_timeout=CONNECT_SECONDS), "SELECT 1", "%s",
            (psycopg2.Error,), "look at the server's log, and try another server with --db-postgres",
        )  # fmt: skip
        what = "from start" if server.owned else "from connect"
        yield from _work(place, what, begin)
        yield from _schema(settings, "postgres", server)


STEPS: Mapping[Backend, Callable[[config.Settings, Path | None, dict[str, Any]], Walk]] = {
    "sqlite": _check_sqlite, "postgres": _check_postgres,
}  # fmt: skip


def _reached(settings: config.Settings, server: Server) -> Iterator[str]:
    """Say which server answers, who asked for it, and what was tried before it."""
    wanted, asked = settings.postgres, settings.sources["postgres"]
    if server.source == "url":
        asked = "DUALDB_POSTGRES" if wanted == "auto" else asked
        yield f"PostgreSQL {server.version} at {server.host}:{server.port} ({asked})"
        return
    by = f"{wanted} by default" if asked == "default" else f"{asked}={wanted}"
    yield f"PostgreSQL {server.version}, {server.source} ({by})"
    if wanted != "auto" or server.source.startswith("system"):
        return
    from pytest_dualdb.server import ServerError, candidates

    usable, rejected = candidates.system(os.environ)
    for binaries in usable:
        yield f"tried {binaries.source}: --db-postgres=system:{binaries.major} says why it did not start"
    for reason in rejected:
        yield f"tried system: {reason}"
    if server.source.startswith("docker"):
        try:
            candidates.embedded()
            yield "tried embedded: --db-postgres=embedded says why it did not start"
        except ServerError as error:
            yield f"tried embedded: {error}"


def advice_to_reach(settings: config.Settings) -> str:
    if settings.postgres in ("auto", "embedded"):
        return 'pip install "pytest-dualdb[embedded]", or name a server with --db-postgres=postgresql://...'
    return (
        "check that the server runs and that host, port, user, password and database are right,"
        " or take another one: --db-postgres=embedded"
    )


def collation_of(name: str) -> str:
    if name.partition(".")[0] in ("C", "POSIX"):
        return f"{name}: text sorts by its code points, as on SQLite"
    return f"{name}: text sorts otherwise than on SQLite (dualdb_locale chooses another)"


def _work(place: _Place, what: str, begin: float | None = None) -> Iterator[Step]:
    """Use a database as an application does: a first query, a round trip, several connections at once."""
    yield _step("first query", place.errors, place.advice, lambda: _first_query(place, what, begin))
    errors = (*place.errors, _WrongAnswer)
    yield _step("round trip", errors, place.advice, lambda: _round_trip(place))
    yield _step("five connections", errors, place.advice, lambda: _several(place, 5, 10))


def _first_query(place: _Place, what: str, begin: float | None) -> str:
    def query() -> float:
        start = time.perf_counter()
        with contextlib.closing(place.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute(place.query)
            cursor.fetchone()
            return start

    start = query()
    done = time.perf_counter()
    again = query()
    further = time.perf_counter() - again
    return f"{milliseconds(done - (begin or start))} {what}, {milliseconds(further)} on a further connection"


_TEXT = ("plain", "Zoë, Łukasz, 東京 🎈", "Zoë, 京")


def _round_trip(place: _Place) -> str:
    """Create a table, insert, select, update, delete; each committed and read on another connection."""
    mark = place.placeholder
    start = time.perf_counter()

    def write(sql: str, *sets: tuple[Any, ...]) -> None:
        with contextlib.closing(place.connect()) as connection:
            cursor = connection.cursor()
            for values in sets or ((),):
                cursor.execute(sql.replace("?", mark), values)
            connection.commit()

    def expect(*rows: tuple[int, str]) -> None:
        with contextlib.closing(place.connect()) as connection:
            cursor = connection.cursor()
            cursor.execute("SELECT id, name FROM dualdb_check ORDER BY id")
            found = [tuple(row) for row in cursor.fetchall()]
        if found != list(rows):
            raise _WrongAnswer(f"read {found!r} where {list(rows)!r} was written")

    write("CREATE TABLE dualdb_check (id INTEGER PRIMARY KEY, name VARCHAR(40) NOT NULL)")
    write("INSERT INTO dualdb_check (id, name) VALUES (?, ?)", (1, _TEXT[0]), (2, _TEXT[1]))
    expect((1, _TEXT[0]), (2, _TEXT[1]))
    write("UPDATE dualdb_check SET name = ? WHERE id = ?", (_TEXT[2], 1))
    expect((1, _TEXT[2]), (2, _TEXT[1]))
    write("DELETE FROM dualdb_check WHERE id = ?", (2,))
    expect((1, _TEXT[2]))
    write("DROP TABLE dualdb_check")
    return f"create, insert, select, update, delete: {milliseconds(time.perf_counter() - start)}"


def _several(place: _Place, threads: int, rows: int) -> str:
    """Have several threads write and read at once, each on a connection of its own."""
    with contextlib.closing(place.connect()) as connection:
        connection.cursor().execute("CREATE TABLE dualdb_check (thread INTEGER, number INTEGER)")
        connection.commit()
    together = threading.Barrier(threads, timeout=CONNECT_SECONDS)
    problems: list[Exception] = []

    def work(thread: int) -> None:
        try:
            with contextlib.closing(place.connect()) as connection:
                cursor = connection.cursor()
                cursor.execute("SELECT 1")
                together.wait()
                for number in range(rows):
                    sql = "INSERT INTO dualdb_check (thread, number) VALUES (?, ?)"
                    cursor.execute(sql.replace("?", place.placeholder), (thread, number))
                    connection.commit()
                sql = "SELECT count(*) FROM dualdb_check WHERE thread = ?"
                cursor.execute(sql.replace("?", place.placeholder), (thread,))
                (count,) = cursor.fetchone()
                if count != rows:
                    raise _WrongAnswer(f"a connection reads {count} of the {rows} rows that it wrote")
        except threading.BrokenBarrierError:
            pass  # another thread says why
        except Exception as error:  # of any kind: it is raised where the step can report it
            problems.append(error)
            together.abort()

    start = time.perf_counter()
    workers = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    if problems:
        raise problems[0]
    if together.broken:
        raise _WrongAnswer(f"{threads} connections could not be opened within {CONNECT_SECONDS} s")
    return f"each wrote and read {rows} rows: {milliseconds(time.perf_counter() - start)}"


def _schema(settings: config.Settings, backend: Backend, server: Server | None) -> Iterator[Step]:
    """Load the files of ``dualdb_schema`` as a run of pytest does, if there are any."""
    if not settings.schema:
        return
    from pytest_dualdb.backends import SchemaError
    from pytest_dualdb.worker import Worker

    def own() -> Server:
        assert server is not None
        return server

    def load() -> str:
        files = settings.schema_files(backend)
        worker = Worker(settings, f"{secrets.token_hex(4)}_check", own)
        try:
            tables = len(worker.backend(backend).tables())
        finally:
            worker.close()
        return f"{', '.join(path.name for path in files)}: {tables} table{'' if tables == 1 else 's'}"

    errors = (SchemaError, config.SettingError, OSError, UnicodeError)
    yield _step("schema", errors, "correct the files of dualdb_schema", load)


def _step(name: str, errors: tuple[type[Exception], ...], advice: str, act: Callable[[], str]) -> Step:
    start = time.perf_counter()
    try:
        text = act()
    except errors as error:
        return Step(name, False, with_advice(str(error).strip() or type(error).__name__, advice))
    return Step(name, True, text, round(time.perf_counter() - start, 6))


def with_advice(message: str, advice: str) -> str:
    from pytest_dualdb.report import without_passwords

    message = without_passwords(message)
    return message if "what to do: " in message else f"{message}\nwhat to do: {advice}"


def first_line(error: Exception) -> str:
    from pytest_dualdb.report import without_passwords

    return without_passwords(" / ".join(str(error).split("\n")).strip(" /"))


def milliseconds(seconds: float) -> str:
    digits = 2 if seconds < 0.001 else 1 if seconds < 0.1 else 0
    return f"{seconds * 1000:.{digits}f} ms"
