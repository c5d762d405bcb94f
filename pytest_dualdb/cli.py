"""The command ``dualdb``: check, bench, compare, explain.

It turns what it is given into calls and prints what comes back: how to reach a server, compare recordings or
measure is known elsewhere. Drivers, the parser and the report's code are imported by the command that needs
them, so that the others start at once.
"""

from __future__ import annotations

import argparse
import configparser
import contextlib
import json
import os
import secrets
import shutil
import sqlite3
import sys
import tempfile
import textwrap
import threading
import time
import tomllib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_dualdb import __version__, benchmark, config
from pytest_dualdb.recording import BACKENDS, Backend, Recording, catalog_from_json, state_from_json

if TYPE_CHECKING:
    from pytest_dualdb.report import Report
    from pytest_dualdb.rules import Rule
    from pytest_dualdb.server import RunningServer, Server

TITLES: Mapping[Backend, str] = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
_CONNECT_SECONDS = 10


class UsageError(Exception):
    """What the user asked for can't be done; the message is one line that says what was expected."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command; return its exit status: 0 fine, 1 a problem was found, 2 wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            # a terminal that can't show a character still shows the rest
            stream.reconfigure(errors="backslashreplace")
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:
        return int(stop.code or 0)
    try:
        status: int = arguments.run(arguments)
        sys.stdout.flush()
    except (UsageError, config.SettingError) as error:
        print(f"dualdb {arguments.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # the reader has seen enough (`| head`); nothing may be written when Python ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dualdb", description="SQLite and PostgreSQL side by side: the tools beside pytest --db=both."
    )
    parser.add_argument("--version", action="version", version=f"dualdb {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
        made.set_defaults(run=run)
        return made

    check = command("check", _check,
                    "say whether both databases can be reached and used, and what to do if not")  # fmt: skip
    bench = command("bench", _bench, "time INSERT, SELECT, UPDATE and DELETE on both databases")
    for one in (check, bench):
        one.add_argument(
            "--db-postgres", dest="dualdb_postgres", metavar="auto|embedded|system|docker|URL",
            help="where PostgreSQL comes from (default: DUALDB_POSTGRES, else dualdb_postgres in pytest's"
            " configuration file, else auto)",
        )  # fmt: skip
        one.add_argument("--json", action="store_true", help="print JSON")
    check.add_argument(
        "--sqlite", metavar="PATH", type=Path,
        help="your application's SQLite file, which is only read, or a folder to work in",
    )  # fmt: skip
    for option, default in (("--rows", benchmark.ROWS), ("--repeat", benchmark.REPEAT)):
        bench.add_argument(option, type=_count, default=default, metavar="N", help="default: %(default)s")
    compare = command("compare", _compare, "join the JSON reports of a SQLite run and a PostgreSQL run")
    compare.add_argument("reports", nargs=2, type=Path, metavar="REPORT.json", help="of --db-report=...")
    compare.add_argument(
        "--report", action="append", default=[], type=Path, metavar="PATH",
        help="write the parity report to this file, in the format of its ending; repeatable",
    )  # fmt: skip
    compare.add_argument(
        "--fail-on", dest="dualdb_fail_on", choices=config.FAIL_ON, metavar="LEVEL",
        help=f"exit with 1 on an issue of this severity or above: {', '.join(config.FAIL_ON)}"
        " (default: DUALDB_FAIL_ON, else dualdb_fail_on, else high)",
    )  # fmt: skip
    compare.add_argument("-v", "--verbose", action="count", default=0, help="show details of every issue")
    explain = command("explain", _explain, "list the rules, or say what one means and what to write instead")
    explain.add_argument("rule", nargs="?", metavar="RULE", help="such as like-case")
    return parser


def _count(text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number from 1, not {text!r}")
    return number


# ------------------------------------------------------------------------------------------------ settings


def _settings(arguments: argparse.Namespace) -> config.Settings:
    """Resolve the settings as pytest would in this folder. Raises SettingError."""
    rootdir, values = _ini(Path.cwd())

    def ini(setting: config.Setting) -> Any:
        value = values.get(setting.ini)
        if setting.kind == "string" or isinstance(value, list):
            return value
        return str(value or "").splitlines()

    return config.resolve(lambda setting: getattr(arguments, setting.ini, None), ini, rootdir)


def _ini(folder: Path) -> tuple[Path, Mapping[str, Any]]:
    """Return the folder of pytest's configuration file and its values, found as pytest finds it."""
    for place in (folder, *folder.parents):
        for name in ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini", "pyproject.toml", "tox.ini",
                     "setup.cfg"):  # fmt: skip
            path = place / name
            if path.is_file() and (values := _ini_values(path)) is not None:
                return place, values
    return folder, {}


def _ini_values(path: Path) -> Mapping[str, Any] | None:
    """Return what a configuration file says to pytest, None if nothing. Raises SettingError."""
    own = path.name.startswith(("pytest.", ".pytest."))
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".toml":
            data = tomllib.loads(text)
            if own:
                values: Mapping[str, Any] = data.get("pytest", {})
                return values
            values = data.get("tool", {}).get("pytest", {})
            return values.get("ini_options") or values or None
        parser = configparser.ConfigParser(interpolation=None, strict=False)
        parser.read_string(text)
    except (OSError, ValueError, configparser.Error) as error:
        raise config.SettingError(f"{path} can't be read: {' '.join(str(error).split())}") from None
    section = "tool:pytest" if path.name == "setup.cfg" else "pytest"
    if parser.has_section(section):
        return dict(parser[section])
    return {} if own else None


def _open_server(settings: config.Settings) -> RunningServer:
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
def _postgres_database(server: Server) -> Iterator[str]:
    """Make an empty database, give its connection string, and drop it; no other database is written to."""
    import psycopg2

    name = f"dualdb_{secrets.token_hex(4)}_check"
    with contextlib.closing(
        psycopg2.connect(server.dsn(server.maintenance), connect_timeout=_CONNECT_SECONDS)
    ) as admin:
        admin.autocommit = True
        cursor = admin.cursor()
        try:
            # within the try: an interrupt that comes now is raised when the database is there
            cursor.execute(f"CREATE DATABASE {name} {server.database_options or 'TEMPLATE template0'}")
            yield server.dsn(name)
        finally:
            try:
                cursor.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            except psycopg2.Error as error:
                print(f"the database {name} could not be dropped: {_line(error)}", file=sys.stderr)


@contextlib.contextmanager
def _sqlite_folder(wanted: Path | None = None) -> Iterator[Path]:
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


# --------------------------------------------------------------------------------------------------- check


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


def _check(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    found: dict[str, Any] = {}
    failed = total = 0
    for backend in BACKENDS:
        facts: dict[str, Any] = {}
        steps: list[Step] = []
        walk = _STEPS[backend](settings, arguments.sqlite, facts)
        if not arguments.json:
            print(_painted(TITLES[backend], "bold"))
        with contextlib.closing(walk):
            for step in walk:
                steps.append(step)
                if not arguments.json:
                    _print_step(step)
        if not arguments.json:
            print()
        wrong = sum(not step.ok for step in steps)
        failed, total = failed + wrong, total + len(steps)
        found[backend] = {"ok": not wrong, **facts, "checks": [asdict(step) for step in steps]}
    if arguments.json:
        print(json.dumps({"ok": not failed, **found}, ensure_ascii=False, indent=1))
    elif failed:
        print(_painted(f"{failed} of {total} checks failed", "red"))
    else:
        print(_painted(f"{total} checks, all ok: pytest --db=both has what it needs", "green"))
    return 1 if failed else 0


def _print_step(step: Step) -> None:
    mark = _painted("ok  ", "green") if step.ok else _painted("FAIL", "red")
    start, indent = f"  {step.name:<17} {mark}  ", " " * 26
    width = max(_width() - len(indent), 40)
    for line in step.text.expandtabs(1).splitlines():
        wrapped = textwrap.wrap(
            line, width, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False
        )
        for part in wrapped:
            print(start + part, flush=True)
            start = indent


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
            folder = stack.enter_context(_sqlite_folder(wanted))
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

            server = stack.enter_context(_open_server(settings)).server
        except (ServerError, ImportError) as error:
            yield Step("reached", False, _with_advice(str(error), _advice_to_reach(settings)))
            return
        facts.update(version=server.version, source=server.source, collation=server.collation)
        yield Step("reached", True, "\n".join(_reached(settings, server)))
        yield Step("collation", True, _collation(server.collation))
        try:
            dsn = stack.enter_context(_postgres_database(server))
        except psycopg2.Error as error:
            advice = f"make sure that {server.user} may create databases there, and that there is space"
            yield Step("new database", False, _with_advice(_line(error), advice))
            return
        place = _Place(
            lambda: psycopg2.connect(dsn, connect_timeout=_CONNECT_SECONDS), "SELECT 1", "%s",
            (psycopg2.Error,), "look at the server's log, and try another server with --db-postgres",
        )  # fmt: skip
        what = "from start" if server.owned else "from connect"
        yield from _work(place, what, begin)
        yield from _schema(settings, "postgres", server)


_STEPS: Mapping[Backend, Callable[[config.Settings, Path | None, dict[str, Any]], Walk]] = {
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


def _advice_to_reach(settings: config.Settings) -> str:
    if settings.postgres in ("auto", "embedded"):
        return 'pip install "pytest-dualdb[embedded]", or name a server with --db-postgres=postgresql://...'
    return (
        "check that the server runs and that host, port, user, password and database are right,"
        " or take another one: --db-postgres=embedded"
    )


def _collation(name: str) -> str:
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
    return f"{_ms(done - (begin or start))} {what}, {_ms(further)} on a further connection"


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
    return f"create, insert, select, update, delete: {_ms(time.perf_counter() - start)}"


def _several(place: _Place, threads: int, rows: int) -> str:
    """Have several threads write and read at once, each on a connection of its own."""
    with contextlib.closing(place.connect()) as connection:
        connection.cursor().execute("CREATE TABLE dualdb_check (thread INTEGER, number INTEGER)")
        connection.commit()
    together = threading.Barrier(threads, timeout=_CONNECT_SECONDS)
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
        raise _WrongAnswer(f"{threads} connections could not be opened within {_CONNECT_SECONDS} s")
    return f"each wrote and read {rows} rows: {_ms(time.perf_counter() - start)}"


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
        return Step(name, False, _with_advice(str(error).strip() or type(error).__name__, advice))
    return Step(name, True, text, round(time.perf_counter() - start, 6))


def _with_advice(message: str, advice: str) -> str:
    from pytest_dualdb.report import without_passwords

    message = without_passwords(message)
    return message if "what to do: " in message else f"{message}\nwhat to do: {advice}"


def _line(error: Exception) -> str:
    from pytest_dualdb.report import without_passwords

    return without_passwords(" / ".join(str(error).split("\n")).strip(" /"))


def _ms(seconds: float) -> str:
    digits = 2 if seconds < 0.001 else 1 if seconds < 0.1 else 0
    return f"{seconds * 1000:.{digits}f} ms"


# --------------------------------------------------------------------------------------------------- bench


def _bench(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    import psycopg2

    from pytest_dualdb.server import ServerError

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(_open_server(settings)).server
            dsn = stack.enter_context(_postgres_database(server))
            postgres = stack.enter_context(contextlib.closing(psycopg2.connect(dsn)))
            folder = stack.enter_context(_sqlite_folder())
            sqlite = sqlite3.connect(folder / "bench.sqlite3", isolation_level=None)
            stack.enter_context(contextlib.closing(sqlite))
        except (ServerError, OSError, sqlite3.Error, psycopg2.Error) as error:
            message = _with_advice(str(error).strip(), _advice_to_reach(settings))
            print(f"dualdb bench: {message}", file=sys.stderr)
            return 1
        postgres.autocommit = True
        promises = {name: _show(postgres, name) for name in ("fsync", "synchronous_commit")}
        durable = "off" not in promises.values()
        # the same promise on both sides: to wait for the disk at each commit, or not to
        synchronous = "FULL" if durable else "OFF"
        sqlite.execute(f"PRAGMA synchronous = {synchronous}")
        facts: dict[str, dict[str, Any]] = {
            "sqlite": {"version": sqlite3.sqlite_version, "place": f"a file in {folder.parent}",
                       "settings": {"synchronous": synchronous}},
            "postgres": {"version": server.version, "place": _where(server), "settings": promises},
        }  # fmt: skip
        sides = benchmark.Side("sqlite", sqlite, "?"), benchmark.Side("postgres", postgres, "%s")
        try:
            results = benchmark.run(*sides, rows=arguments.rows, repeat=arguments.repeat)
        except (benchmark.BenchmarkError, sqlite3.Error, psycopg2.Error) as error:
            print(f"dualdb bench: {_line(error)}", file=sys.stderr)
            return 1
    if arguments.json:
        print(json.dumps({**facts, "durable": durable, **_bench_json(results)}, ensure_ascii=False, indent=1))
    else:
        _print_bench(results, facts, durable)
    return 0


def _show(connection: Any, name: str) -> str:
    cursor = connection.cursor()
    cursor.execute(f"SHOW {name}")
    return str(cursor.fetchone()[0])


def _where(server: Server) -> str:
    from pytest_dualdb.server.address import is_socket_folder

    if is_socket_folder(server.host):
        return f"{server.source}, over a Unix socket"
    return f"{server.source}, over TCP to {server.host}:{server.port}"


def _print_bench(results: benchmark.Results, facts: Mapping[str, Any], durable: bool) -> None:
    for backend in BACKENDS:
        fact = facts[backend]
        settings = ", ".join(f"{name}={value}" for name, value in fact["settings"].items())
        print(f"{TITLES[backend]} {fact['version']}: {fact['place']}; {settings}")
    print()
    print(_painted(f"{'':<16}{'SQLite':>14}{'PostgreSQL':>14}{'ratio':>9}", "bold"))
    for timing in results.timings:
        speeds = "".join(f"{timing.per_second(side):>12,.0f}/s" for side in results.sides)
        print(f"{timing.operation:<16}{speeds}{results.ratio(timing):>8.1f}x")
    count = {timing.operation: timing.count for timing in results.timings}
    notes = [
        "ratio: how many times longer PostgreSQL takes",
        f"each statement reads or writes one row by its key; {count['INSERT']:,} of them in one transaction,",
        f"the last line: {count['INSERT, COMMIT']:,} transactions of one INSERT",
        f"median of {results.repeat} rounds, in turns, one connection each",
        "every commit waits for the disk, on both sides"
        if durable
        else "no commit waits for the disk, on either side: as in tests, not as in production",
    ]
    print("\n" + "\n".join(notes))


def _bench_json(results: benchmark.Results) -> dict[str, Any]:
    operations = []
    for timing in results.timings:
        sides: dict[str, Any] = {
            side: {"seconds": timing.median(side), "per_second": timing.per_second(side)}
            for side in results.sides
        }
        operations.append(
            {"operation": timing.operation, "count": timing.count, **sides, "ratio": results.ratio(timing)}
        )
    return {"rows": results.rows, "repeat": results.repeat, "operations": operations}


# ------------------------------------------------------------------------------------------------- compare


def _compare(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    for path in arguments.report:
        _refuse_report(path)
    halves = {backend: (path, data) for path in arguments.reports for backend, data in (_load(path),)}
    if len(halves) < 2:
        first, second = arguments.reports
        (backend,) = halves
        raise UsageError(f"{first} and {second} are both of {TITLES[backend]}; expected one of each backend")
    report = _joined(halves, settings)
    from pytest_dualdb.report import renderer
    from pytest_dualdb.report.terminal import lines

    print(_painted(" database parity ".center(_width(), "="), "bold"))
    for line in lines(report, width=_width(), verbose=arguments.verbose):
        print("".join(_painted(text, style) for text, style in line))
    for path in arguments.report:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(renderer(path)(report), encoding="utf-8", errors="backslashreplace")
        except OSError as error:
            raise UsageError(f"{path} could not be written: {error.strerror}") from None
        print(f"Wrote parity report to {path}")
    if not any(test.sqlite and test.postgres for test in report.tests):
        print(_painted("nothing was compared: no test is in both files", "red"))
        return 1
    levels = config.FAIL_ON
    reached = report.worst is not None and levels.index(report.worst) <= levels.index(settings.fail_on)
    return 1 if reached and settings.fail_on != "never" else 0


def _refuse_report(path: Path) -> None:
    """Refuse a report file that can't be written, before the work. Raises UsageError."""
    from pytest_dualdb.report.formats import FORMATS

    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"--report={path}: unknown report format; expected one of {', '.join(FORMATS)}")
    existing = path
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if path.is_dir() or not os.access(existing, os.W_OK) or not (existing == path or existing.is_dir()):
        raise UsageError(f"--report={path} can't be written; expected a file in a folder that is writable")


def _load(path: Path) -> tuple[Backend, dict[str, Any]]:
    """Read one run's JSON report; return its backend and content, with recordings made. Raises UsageError."""
    from pytest_dualdb.report import FORMAT_VERSION

    def refuse(what: str) -> NoReturn:
        raise UsageError(f"{path}: {what}")

    expected = "expected the JSON report of a run on one backend (pytest --db=sqlite --db-report=FILE.json)"
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        refuse(f"can't be read: {error.strerror}; {expected}")
    except (ValueError, RecursionError) as error:
        refuse(f"not JSON ({' '.join(str(error).split())}); {expected}")
    if not isinstance(data, dict) or "format_version" not in data:
        refuse(f"not a report of pytest-dualdb; {expected}")
    if data["format_version"] != FORMAT_VERSION:
        version = repr(data["format_version"])[:40]
        refuse(f"has format_version {version}, expected {FORMAT_VERSION}: use one pytest-dualdb for all")
    backends = data.get("backends")
    if not data.get("recordings"):
        if data.get("tests") or backends == list(BACKENDS):
            refuse(f"is of a run on both backends, which is compared already; {expected}")
        refuse(f"holds no recordings: no test of that run asked for db; {expected}")
    if not isinstance(backends, list) or len(backends) != 1 or backends[0] not in BACKENDS:
        refuse(f"has backends {str(backends)[:60]}; {expected}")
    backend: Backend = backends[0]
    try:
        # a test that was run again is in the file twice: its last run counts
        recordings = {one.test: one for one in map(Recording.from_json, data["recordings"])}
        data["recordings"] = list(recordings.values())
        data["templates"] = {name: state_from_json(state) for name, state in data["templates"].items()}
        data["catalogs"] = {name: catalog_from_json(catalog) for name, catalog in data["catalogs"].items()}
        data["meta"]["started"], data["meta"]["seconds"], data["meta"]["sqlite"], data["meta"]["postgres"]
    except Exception as error:  # anything: the file is what it is
        meta = data.get("meta")
        by = str(meta.get("version"))[:20] if isinstance(meta, dict) else "?"
        what = f"{type(error).__name__}: {error}"[:80]
        refuse(f"damaged, or written by another pytest-dualdb ({by}, this is {__version__}): {what}")
    if any(recording.backend != backend for recording in recordings.values()):
        refuse(f"says {backend} and holds recordings of another backend; {expected}")
    return backend, data


def _joined(halves: Mapping[Backend, tuple[Path, Mapping[str, Any]]], settings: config.Settings) -> Report:
    """Make the report that one run on both backends gives."""
    from pytest_dualdb.session import Session

    session = Session(BACKENDS, ignore=settings.ignore)
    metas = []
    for backend in BACKENDS:
        _, data = halves[backend]
        metas.append(data["meta"])
        session.templates.update(data["templates"])
        session.catalogs.update(data["catalogs"])
    for backend in BACKENDS:
        for recording in halves[backend][1]["recordings"]:
            session.add(recording)
    sqlite, postgres = metas
    isolations = dict.fromkeys(meta.get("isolation", "") for meta in metas)
    report = session.report(
        version=__version__, sqlite=sqlite["sqlite"]["version"], postgres=postgres["postgres"]["version"],
        source=postgres["postgres"].get("source", ""), collation=postgres["postgres"].get("collation", ""),
        isolation=" / ".join(isolations),
    )  # fmt: skip
    started = min(meta["started"] for meta in metas)
    seconds = sum(meta["seconds"] for meta in metas)
    return replace(report, meta=replace(report.meta, started=started, seconds=seconds))


# ------------------------------------------------------------------------------------------------- explain


_UNEXPLAINED = """\
unexplained: the databases differ here, and no rule says why

The difference is real: both halves ran, and this is what they saw. It counts with the severity of its kind,
like any other. Compare the two statements and results in the summary (pytest -v shows all of them).

A rule of your own can claim it: see the hook pytest_dualdb_rules."""


def _explain(arguments: argparse.Namespace) -> int:
    from pytest_dualdb.rules import UNEXPLAINED, all_rules, rule_named

    if not arguments.rule:
        _list_rules(all_rules())
        return 0
    if arguments.rule == UNEXPLAINED:
        print(_wrapped(_UNEXPLAINED, min(_width(), 100), ""))
        return 0
    rule = rule_named(arguments.rule)
    if rule is None:
        import difflib

        names = [one.name for one in all_rules()]
        near = difflib.get_close_matches(arguments.rule.lower(), names, n=3, cutoff=0.5)
        hint = f"nearest: {', '.join(near)}" if near else "dualdb explain lists them all"
        raise UsageError(f"unknown rule {arguments.rule!r}; {hint}")
    width = min(_width(), 100)
    print(_painted(rule.name, "bold") + f": {rule.title}")
    for heading, text in type(rule).sections().items():
        if text:
            print()
            if heading:
                print(_painted(heading, "bold"))
            print(_wrapped(text, width, "  " if heading else ""))
    return 0


def _list_rules(rules: Sequence[Rule]) -> None:
    families: dict[str, list[Rule]] = {}
    for rule in rules:
        families.setdefault(type(rule).__module__.rpartition(".")[2], []).append(rule)
    column = max((len(rule.name) for rule in rules), default=0)
    for family in sorted(families):
        print(_painted(family, "bold"))
        for rule in sorted(families[family], key=lambda rule: rule.name):
            print(f"  {rule.name:<{column}}  {rule.title}")
        print()
    print(f"{len(rules)} rules; dualdb explain RULE says what differs, why, and what to write instead")


def _wrapped(text: str, width: int, indent: str) -> str:
    """Wrap the paragraphs of a docstring's section; what is indented, a list or a link stays as it is."""
    blocks = []
    for block in text.split("\n\n"):
        rows = block.splitlines()
        if any(row.startswith((" ", "- ", "* ", "http")) for row in rows):
            blocks.append(textwrap.indent(block, indent))
            continue
        wrapper = textwrap.TextWrapper(
            width, initial_indent=indent, subsequent_indent=indent, break_long_words=False,
            break_on_hyphens=False,
        )  # fmt: skip
        blocks.append(wrapper.fill(" ".join(rows)))
    return "\n\n".join(blocks).replace("``", "`")


# -------------------------------------------------------------------------------------------------- output

_CODES = {"bold": 1, "light": 2, "red": 31, "green": 32, "yellow": 33, "blue": 34, "purple": 35, "cyan": 36}


def _width() -> int:
    """Return the terminal's columns, within what can be read."""
    return min(max(shutil.get_terminal_size().columns, 40), 200)


def _painted(text: str, style: str) -> str:
    """Return text with a terminal's codes for a style, if standard output is a terminal that has colours."""
    codes = [str(_CODES[word]) for word in style.split() if word in _CODES]
    plain = not sys.stdout.isatty() or "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    return text if plain or not codes else f"\x1b[{';'.join(codes)}m{text}\x1b[0m"
