"""The command ``dualdb``: check, bench, compare, explain, open.

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
import shutil
import signal
import sqlite3
import subprocess
import sys
import textwrap
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from pytest_dualdb import __version__, benchmark, check, config
from pytest_dualdb.check import UsageError
from pytest_dualdb.recording import BACKENDS, TITLES, Backend, Recording, catalog_from_json, state_from_json

if TYPE_CHECKING:
    from pytest_dualdb.report import Report
    from pytest_dualdb.rules import Rule
    from pytest_dualdb.server import Server


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

    checking = command("check", _check,
                    "say whether both databases can be reached and used, and what to do if not")  # fmt: skip
    bench = command("bench", _bench, "time INSERT, SELECT, UPDATE and DELETE on both databases")
    for one in (checking, bench):
        one.add_argument(
            "--db-postgres", dest="dualdb_postgres", metavar="auto|embedded|system|docker|URL",
            help="where PostgreSQL comes from (default: DUALDB_POSTGRES, else dualdb_postgres in pytest's"
            " configuration file, else auto)",
        )  # fmt: skip
        one.add_argument("--json", action="store_true", help="print JSON instead")
    checking.add_argument(
        "--sqlite", metavar="PATH", type=Path,
        help="your application's SQLite file, which is only read, or a folder to work in",
    )  # fmt: skip
    for option, default, text in (
        ("--rows", benchmark.ROWS, "rows to write and read in each round"),
        ("--repeat", benchmark.REPEAT, "rounds, of which the median counts"),
    ):
        bench.add_argument(
            option, type=_count, default=default, metavar="N", help=f"{text} (default: %(default)s)"
        )
    compare = command("compare", _compare, "join the JSON reports of a SQLite run and a PostgreSQL run")
    compare.add_argument(
        "reports",
        nargs=2,
        type=Path,
        metavar="REPORT.json",
        help="the two files, of pytest --db=... --db-report=..., in any order",
    )
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
    explain.add_argument(
        "rule", nargs="?", metavar="RULE", help="such as like-case; without one, all are listed"
    )
    explain.add_argument(
        "--pages", type=Path, metavar="FOLDER", help="write the whole catalogue there, as Markdown"
    )
    opening = command("open", _open, "look into the PostgreSQL databases that a run of pytest --db-keep kept")
    opening.add_argument(
        "file",
        type=Path,
        metavar="FILE",
        help="the file that the run named, such as .pytest_dualdb/.../postgres.cluster",
    )
    opening.add_argument(
        "database",
        nargs="?",
        default="",
        metavar="DATABASE",
        help="the database that the run named; without one, psql lists them all",
    )
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
        if setting.kind not in ("lines", "paths") or isinstance(value, list):
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


# --------------------------------------------------------------------------------------------------- check


def _check(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    found: dict[str, Any] = {}
    failed = total = 0
    for backend in BACKENDS:
        facts: dict[str, Any] = {}
        steps: list[check.Step] = []
        walk = check.STEPS[backend](settings, arguments.sqlite, facts)
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


def _print_step(step: check.Step) -> None:
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


# --------------------------------------------------------------------------------------------------- bench


def _bench(arguments: argparse.Namespace) -> int:
    settings = _settings(arguments)
    import psycopg2

    from pytest_dualdb.server import ServerError

    with contextlib.ExitStack() as stack:
        try:
            server = stack.enter_context(check.reach_server(settings)).server
            # First, as it imports: Python dies of a Ctrl-C that meets it while a dataclass is made, whoever
            # catches it.
            folder = stack.enter_context(check.sqlite_folder())
            sqlite = sqlite3.connect(folder / "bench.sqlite3", isolation_level=None)
            stack.enter_context(contextlib.closing(sqlite))
            dsn = stack.enter_context(check.postgres_database(server))
            postgres = stack.enter_context(contextlib.closing(psycopg2.connect(dsn)))
        except (ServerError, OSError, sqlite3.Error, psycopg2.Error) as error:
            message = check.with_advice(str(error).strip(), check.advice_to_reach(settings))
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
            print(f"dualdb bench: {check.first_line(error)}", file=sys.stderr)
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
        recordings = {(one.test, one.repeat): one for one in map(Recording.from_json, data["recordings"])}
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

    repeated = any(one.repeat for _, data in halves.values() for one in data["recordings"])
    session = Session(BACKENDS, ignore=settings.ignore, repeat=repeated)
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

    if arguments.pages is not None:
        return _write_pages(arguments.pages)
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


def _write_pages(folder: Path) -> int:
    from pytest_dualdb.report.catalogue import pages
    from pytest_dualdb.rules import all_rules

    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in pages(all_rules()).items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise UsageError(
            f"--pages={folder}: {error.strerror}; expected a folder that can be written"
        ) from None
    print(f"Wrote the rules to {folder}")
    return 0


def _list_rules(rules: Sequence[Rule]) -> None:
    from pytest_dualdb.report.catalogue import families

    column = max((len(rule.name) for rule in rules), default=0)
    for family, members in families(rules).items():
        print(_painted(family, "bold"))
        for rule in members:
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


# -------------------------------------------------------------------------------------------------- open


def _open(arguments: argparse.Namespace) -> int:
    """Serve a copy of the databases for as long as psql runs, or without one until the input ends."""
    from pytest_dualdb import kept
    from pytest_dualdb.server import ServerError

    try:
        running, programs = kept.open_cluster(arguments.file)
    except ServerError as error:
        print(f"dualdb open: {error}", file=sys.stderr)
        return 1
    with running:
        url = running.server.url(arguments.database or running.server.maintenance)
        psql = shutil.which("psql", path=os.pathsep.join([programs, os.environ.get("PATH", "")]))
        if psql is None:
            print(f"{url}\nserved until you press Enter", flush=True)
            sys.stdin.readline()
            return 0
        before = signal.signal(signal.SIGINT, lambda *_: None)  # it is psql's, to end a query
        try:
            return subprocess.call([psql, url, *([] if arguments.database else ["--list"])])
        finally:
            signal.signal(signal.SIGINT, before)


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
