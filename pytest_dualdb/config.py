"""What a run is to do: every setting resolved once, together with where it came from.

Option beats environment beats ini file beats default. Each setting is declared once, in `SETTINGS`: the
command line option, the ini key and the environment variable follow from that.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Formatter
from typing import TYPE_CHECKING, Any, Literal, cast

if TYPE_CHECKING:
    # only for the checker: this module is read in every run of pytest, also without a database
    from pytest_dualdb.recording import Backend

FAIL_ON = ("critical", "high", "medium", "low", "never")
ISOLATIONS = ("reset", "clone", "rollback")
KEEP = ("never", "failed", "all")
LISTEN = ("auto", "socket", "tcp")
BACKENDS: tuple[Backend, Backend] = ("sqlite", "postgres")


class SettingError(ValueError):
    """A setting has a value that it can't have; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: how it is called in the three places, and what it may be."""

    name: str
    default: Any
    help: str
    option: str = ""
    metavar: str = ""
    environment: str = ""
    choices: tuple[str, ...] = ()
    kind: Literal["string", "lines", "paths", "truth"] = "string"

    @property
    def ini(self) -> str:
        return f"dualdb_{self.name}"


SETTINGS = (
    Setting("backend", "sqlite", "run each test that asks for db on sqlite, on postgres or on both",
            "--db", "sqlite|postgres|both", "DUALDB_BACKEND", ("sqlite", "postgres", "both")),
    Setting("postgres", "auto", "where PostgreSQL comes from: auto, embedded, system, system:16, docker or postgresql://...",
            "--db-postgres", "auto|embedded|system|docker|URL", "DUALDB_POSTGRES"),
    Setting("isolation", "reset", "how each test gets a fresh database: reset undoes what the last one changed, clone copies the template,"
            " rollback undoes one transaction",
            "--db-isolation", "reset|clone|rollback", "DUALDB_ISOLATION", ISOLATIONS),
    Setting("keep", "never", "keep the databases of tests that failed, or of all, and say how to open them",
            "--db-keep", "|".join(KEEP), choices=KEEP),
    Setting("fail_on", "high", "fail the run on an issue of this severity or above: critical, high, medium, low, never",
            "--db-fail-on", "|".join(FAIL_ON), "DUALDB_FAIL_ON", FAIL_ON),
    Setting("report", (), "write the parity report to this file, .json or .md; repeatable",
            "--db-report", "PATH", kind="paths"),
    Setting("schema", (), "SQL files for the database, one a line; {backend} becomes sqlite or postgres", kind="lines"),
    Setting("env", (), "the application's environment, one a line: NAME=template or NAME[postgres]=template, such as DATABASE_URL={url}",
            kind="lines"),
    Setting("redirect", (), "SQLite files whose paths the application has built in, one a line: to open one opens the test's database", kind="lines"),
    Setting("repeat", "false", "run each test twice on each database: what differs between two runs on one is no difference between the two",
            "--db-repeat", kind="truth"),
    Setting("listen", "auto", "how a started server listens: auto, socket or tcp", choices=LISTEN),
    Setting("locale", "", "collation of the PostgreSQL databases, such as en_US.UTF-8"),
    Setting("ignore", (), "columns that are not compared, one a line", kind="lines"),
    Setting("pin_workers", "false", "with --db=both -n 2 or more, each worker serves one database only: for"
            " applications that are bound to theirs when they are imported", kind="truth"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of ``dualdb_env``: for one backend, or for both where ``backend`` is empty."""

    name: str
    backend: str
    template: str

    @property
    def fields(self) -> frozenset[str]:
        """The names in braces; raises ValueError for a template that can't be read."""
        return frozenset(field for _, field, _, _ in Formatter().parse(self.template) if field is not None)


@dataclass(frozen=True, slots=True)
class Settings:
    """The resolved settings of a run. ``sources`` says for each name where its value came from."""

    backend: str
    postgres: str
    isolation: str
    keep: str
    fail_on: str
    report: tuple[Path, ...]
    schema: tuple[str, ...]
    env: tuple[Variable, ...]
    redirect: tuple[str, ...]
    listen: str
    locale: str
    ignore: tuple[str, ...]
    pin_workers: bool
    repeat: bool
    rootdir: Path
    sources: Mapping[str, str] = field(default_factory=dict)

    @property
    def backends(self) -> tuple[Backend, ...]:
        return ("sqlite", "postgres") if self.backend == "both" else (cast("Backend", self.backend),)

    @property
    def chosen(self) -> bool:
        """Whether the user chose a backend in any way, so that a database may be prepared early."""
        return self.sources.get("backend") != "default"

    def environment(self, backend: Backend, fields: Mapping[str, str]) -> dict[str, str | None]:
        """Return the variables of ``dualdb_env`` for a backend; None is for one that is not set there.

        That is a variable whose lines are for the other backend only.
        """
        return filled_in(self.env, backend, fields)

    def schema_files(self, backend: Backend, only: Sequence[str] | None = None) -> list[Path]:
        """Return the schema files of a backend; raises SettingError for one that is missing."""
        found = []
        for line in self.schema if only is None else only:
            path = self.rootdir / line.replace("{backend}", backend)
            if not path.is_file():
                where = (
                    "database_fixture" if only is not None else self.sources.get("schema", "dualdb_schema")
                )
                raise SettingError(f"{where}: no schema file {path}; expected a file of SQL for {backend}")
            found.append(path)
        return found


def filled_in(
    variables: Sequence[Variable], backend: Backend, fields: Mapping[str, str]
) -> dict[str, str | None]:
    """Return the values of variables for a backend; None is for one that is not set there."""
    found: dict[str, str | None] = {variable.name: None for variable in variables}
    for which in ("", backend):  # a line for the backend wins
        for variable in variables:
            if variable.backend == which:
                found[variable.name] = variable.template.format(**fields)
    return found


def resolve(
    option: Callable[[Setting], Any],
    ini: Callable[[Setting], Any],
    rootdir: Path,
    environment: Mapping[str, str] = os.environ,
) -> Settings:
    """Resolve every setting; ``option`` and ``ini`` give what the user wrote, None or empty for nothing."""
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for setting in SETTINGS:
        for source, found in (
            (setting.option, option(setting) if setting.option else None),
            (setting.environment, environment.get(setting.environment) if setting.environment else None),
            (setting.ini, ini(setting)),
        ):
            if found:
                values[setting.name], sources[setting.name] = found, source
                break
        else:
            values[setting.name], sources[setting.name] = setting.default, "default"
        value = values[setting.name]
        if setting.kind == "truth":
            values[setting.name] = _truth(str(value), sources[setting.name])
        if setting.choices and value not in setting.choices:
            expected = ", ".join(setting.choices)
            raise SettingError(
                f"{sources[setting.name]}: unknown value {value!r}; expected one of {expected}"
            )
    values["report"] = tuple(Path(path) for path in values["report"])
    values["env"] = tuple(parsed(line, "dualdb_env") for line in values["env"] if line.strip())
    asked = frozenset[str]().union(*(variable.fields for variable in values["env"]))
    if values["listen"] == "auto" and {"host", "password"} <= asked:
        # put together by hand, a folder makes no URL
        values["listen"], sources["listen"] = "tcp", "dualdb_env"
    for name in ("schema", "redirect", "ignore"):
        values[name] = tuple(line.strip() for line in values[name] if line.strip())
    for path in values["redirect"]:
        _check_redirected(path, rootdir)
    return Settings(rootdir=rootdir, sources=sources, **values)


def _check_redirected(path: str, rootdir: Path) -> None:
    expected = "expected the path of a SQLite file, as the application opens it"
    if path.startswith((":", "file:")):
        raise SettingError(f"dualdb_redirect: {path!r} is no file; {expected}")
    if path.endswith(("/", os.sep)) or (rootdir / path).is_dir():
        raise SettingError(f"dualdb_redirect: {path!r} is a folder; {expected}")


def _truth(text: str, source: str) -> bool:
    if text.lower() in ("true", "yes", "on", "1"):
        return True
    if text.lower() in ("false", "no", "off", "0"):
        return False
    raise SettingError(f"{source}: unknown value {text!r}; expected true or false")


_FIELDS = (
    "url", "sqlalchemy_url", "psycopg_url", "async_url", "dsn", "path", "host", "port", "user", "password",
    "database", "backend",
)  # fmt: skip


def parsed(line: str, source: str) -> Variable:
    """Return the variable that a line defines; raises SettingError, which names ``source``."""
    left, equals, template = (part.strip() for part in line.partition("="))
    name, bracket, backend = left.removesuffix("]").partition("[")
    if not equals or not name or bool(bracket) != left.endswith("]"):
        raise SettingError(
            f"{source}: {line!r} is not NAME=template or NAME[backend]=template, such as DATABASE_URL={{url}}"
        )
    if bracket and backend.strip() not in BACKENDS:
        raise SettingError(f"{source}: {line!r}: unknown backend; expected {' or '.join(BACKENDS)}")
    variable = Variable(name.strip(), backend.strip(), template)
    expected = " ".join(f"{{{field}}}" for field in _FIELDS)
    try:
        unknown = sorted(variable.fields.difference(_FIELDS))
    except ValueError as error:
        raise SettingError(f"{source}: {line!r}: {error}; expected text with {expected}") from None
    if unknown:
        raise SettingError(f"{source}: {line!r}: {unknown[0]!r} is not known; expected {expected}")
    return variable
