"""What one half did, as plain data that crosses processes.

This module must know neither pytest nor a driver: the recorder fills these types in a worker, the
controller compares them, and ``dualdb compare`` reads them back from a file years later. Everything here
has a JSON form of plain values, because pytest-xdist carries nothing else (execnet refuses ``Decimal`` and
``datetime``); `encoding` has that of values and rows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from pytest_dualdb.encoding import (
    Packed,
    row_values,
    rows_from_json,
    rows_to_json,
    value_from_json,
    value_to_json,
)

Backend = Literal["sqlite", "postgres"]
BACKENDS: tuple[Backend, Backend] = ("sqlite", "postgres")
TITLES: Mapping[Backend, str] = {"sqlite": "SQLite", "postgres": "PostgreSQL"}
"""What the databases are called in text for people."""
POSTGRES = "postgresql:"
"""Begins the name of a PostgreSQL database that is not the test's, where that of a SQLite database is a path."""

Outcome = Literal["passed", "failed", "error", "skipped", "xfailed", "xpassed"]

MAX_STATEMENT_CHARACTERS = 20_000
"""Statements longer than this are cut in the JSON form; a generated IN list can have megabytes."""
MAX_PARAMETERS = 200
"""Parameters beyond this many are left out of the JSON form."""


@dataclass(frozen=True, slots=True)
class Site:
    """A line of the application: path relative to rootdir, 1-based line, function name."""

    path: str
    line: int
    function: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Failure:
    """An exception as the application saw it.

    ``name`` is the qualified class (``psycopg2.errors.UniqueViolation``), ``dbapi`` the PEP 249 class it
    is a kind of (``IntegrityError``; empty for other exceptions), ``sqlstate`` PostgreSQL's five
    characters (None elsewhere). ``fields`` holds what PostgreSQL says apart from the message, whose language
    the server's ``lc_messages`` chooses: ``routine`` (the C function that raised it), ``table``, ``column``
    and ``constraint``, each only if it is given
    (https://www.postgresql.org/docs/current/protocol-error-fields.html).
    """

    name: str
    dbapi: str
    sqlstate: str | None
    message: str
    fields: Mapping[str, str] = field(default_factory=dict)

    @property
    def short_name(self) -> str:
        return self.name.rpartition(".")[2]


@dataclass(frozen=True, slots=True)
class Statement:
    """One thing that a half asked of a database, with what the application saw of the answer.

    ``kind`` is ``execute``, ``executemany``, ``script``, ``copy``, ``callproc``, ``commit``, ``rollback``
    or ``connect`` (a connection that could not be opened). ``rows`` are the fetched rows only, in fetch
    order, as sequences or mappings of values; ``fetched`` says how far the application read: ``none``,
    ``one`` (fetchone, once), ``some`` or ``all``. ``columns`` is None for a statement without a result.
    Very many rows are `Packed`, here and in a `TableState`.
    ``database`` is empty for the test's own database, the fixture's name for a further one, else the SQLite path
    that was reached instead, or `POSTGRES` and the name of a PostgreSQL database.
    ``named`` says how the rows can be read: ``""`` by index only, ``row`` by index and name, ``mapping`` by
    name only; ``read`` names the cursor attributes that the application looked at (``rowcount``,
    ``lastrowid``, ``description``). ``via`` is the library that called the driver for the application, such
    as ``sqlalchemy``; empty if the application did so itself. ``aborted`` marks a statement sent to an aborted transaction.
    """

    kind: str
    sql: str
    params: Any
    site: Site | None
    columns: tuple[str, ...] | None = None
    rows: Sequence[Any] = ()
    fetched: Literal["none", "one", "some", "all"] = "none"
    rowcount: int = -1
    lastrowid: int | None = None
    error: Failure | None = None
    seconds: float = 0.0
    connection: int = 0
    thread: int = 0
    database: str = ""
    in_transaction: bool = False
    aborted: bool = False
    named: Literal["", "row", "mapping"] = ""
    read: tuple[str, ...] = ()
    via: str = ""

    def elsewhere(self, backend: Backend, *, named: bool = False) -> str:
        """Return the words for what a statement of a half on ``backend`` reached instead of the test's database."""
        found: Backend = "postgres" if self.database.startswith(POSTGRES) else "sqlite"
        name = self.database.removeprefix(POSTGRES) or "a temporary one"
        if found != backend:
            return f"{TITLES[found]} ({name})" if named else TITLES[found]
        return f"another {TITLES[found]} database ({name})"

    @property
    def values(self) -> Sequence[tuple[Any, ...]]:
        """Return the rows as tuples of values, whatever row factory made them."""
        if isinstance(self.rows, Packed):
            return self.rows
        return [row_values(row) for row in self.rows]


@dataclass(frozen=True, slots=True)
class TableState:
    """The contents of one table after a half: column names and rows; ``count`` is -1 if it is not known.

    ``rows`` are all rows, or of a large table those that the template does not hold ("changed").
    """

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]
    count: int = -1
    held: Literal["all", "changed"] = "all"


@dataclass(frozen=True, slots=True)
class Column:
    """One column as its database describes it. ``type`` is the declared type, upper case.

    ``computed`` says that its values come from an expression over the row (GENERATED ALWAYS AS).
    """

    name: str
    type: str
    nullable: bool = True
    default: str | None = None
    generated_key: bool = False
    collation: str | None = None
    computed: bool = False


@dataclass(frozen=True, slots=True)
class ForeignKey:
    """A reference: own columns, the table and columns referenced, and the two actions."""

    columns: tuple[str, ...]
    table: str
    references: tuple[str, ...]
    on_delete: str = "NO ACTION"
    on_update: str = "NO ACTION"
    deferrable: bool = False


@dataclass(frozen=True, slots=True)
class Index:
    """An index by what it does; ``columns`` holds ``<expression>`` where it is not a plain column."""

    name: str
    columns: tuple[str, ...]
    unique: bool = False
    partial: bool = False


@dataclass(frozen=True, slots=True)
class Table:
    name: str
    columns: tuple[Column, ...]
    primary_key: tuple[str, ...] = ()
    uniques: tuple[tuple[str, ...], ...] = ()
    indexes: tuple[Index, ...] = ()
    foreign_keys: tuple[ForeignKey, ...] = ()
    checks: tuple[str, ...] = ()
    triggers: tuple[str, ...] = ()
    sql: str = ""

    def column(self, name: str) -> Column | None:
        """Return the column of that name, compared without case, or None."""
        lowered = name.lower()
        return next((column for column in self.columns if column.name.lower() == lowered), None)


@dataclass(frozen=True, slots=True)
class Catalog:
    """The tables of one database, by lower-case name."""

    tables: Mapping[str, Table] = field(default_factory=dict)

    def table(self, name: str) -> Table | None:
        return self.tables.get(name.lower())


@dataclass(frozen=True, slots=True)
class TestFailure:
    """Why a half did not pass: the phase, the exception, and the last lines of its report."""

    __test__ = False

    phase: Literal["setup", "call", "teardown"]
    name: str
    message: str
    site: Site | None = None
    database: Failure | None = None
    """The database error that the exception is or was raised from, when there is one."""


@dataclass(frozen=True, slots=True)
class Recording:
    """Everything that one half did.

    ``state`` holds the tables that this half may have changed, and ``catalog`` the schema if it changed
    that. ``cleared`` names the tables that were emptied or dropped at the end: their state is the one before.
    ``undone`` holds the tables with what was rolled back after the test, or never committed. ``template`` (the
    tables that have rows) and ``template_catalog`` are what each half starts with: the first recording of each
    worker has them. ``window`` is the half's start and end in seconds since the epoch. ``repeat`` marks the
    second run of a half on its backend. ``zone`` is the server's time zone, empty where there is no such thing.
    """

    test: str
    nodeid: str
    backend: Backend
    outcome: Outcome = "passed"
    failure: TestFailure | None = None
    seconds: float = 0.0
    statements: tuple[Statement, ...] = ()
    observed: tuple[tuple[str, Any], ...] = ()
    state: Mapping[str, TableState] = field(default_factory=dict)
    template: Mapping[str, TableState] | None = None
    template_catalog: Catalog | None = None
    catalog: Catalog | None = None
    bypasses: tuple[Statement, ...] = ()
    window: tuple[float, float] = (0.0, 0.0)
    version: str = ""
    marks: Mapping[str, Any] = field(default_factory=dict)
    leaks: tuple[str, ...] = ()
    reason: str = ""
    repeat: bool = False
    zone: str = ""
    cleared: frozenset[str] = frozenset()
    undone: Mapping[str, TableState] = field(default_factory=dict)

    @property
    def sql_seconds(self) -> float:
        return sum(statement.seconds for statement in self.statements)

    def to_json(self) -> dict[str, Any]:
        return _to_json(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Recording:
        return _recording_from_json(data)


# ------------------------------------------------------------------------------------- JSON of the records


def cut_params(params: Any) -> Any:
    """Return parameters with at most `MAX_PARAMETERS` entries; what is left out is said in the last."""
    if isinstance(params, (list, tuple)) and len(params) > MAX_PARAMETERS:
        return [*params[:MAX_PARAMETERS], f"... {len(params) - MAX_PARAMETERS} more"]
    return params


def _site(data: Sequence[Any] | None) -> Site | None:
    return None if data is None else Site(*data)


def _site_json(site: Site | None) -> list[Any] | None:
    return None if site is None else [site.path, site.line, site.function]


def _failure_json(failure: Failure | None) -> list[Any] | None:
    if failure is None:
        return None
    fields = [dict(failure.fields)] if failure.fields else []
    return [failure.name, failure.dbapi, failure.sqlstate, failure.message, *fields]


def _failure(data: Sequence[Any] | None) -> Failure | None:
    return None if data is None else Failure(*data)


def _statement_json(s: Statement) -> dict[str, Any]:
    return {
        "kind": s.kind,
        "sql": s.sql[:MAX_STATEMENT_CHARACTERS],
        "params": value_to_json(cut_params(s.params)),
        "site": _site_json(s.site),
        "columns": None if s.columns is None else list(s.columns),
        "rows": rows_to_json(s.rows),
        "fetched": s.fetched,
        "rowcount": s.rowcount,
        "lastrowid": s.lastrowid,
        "error": _failure_json(s.error),
        "seconds": s.seconds,
        "connection": s.connection,
        "thread": s.thread,
        "database": s.database,
        "in_transaction": s.in_transaction,
        "aborted": s.aborted,
        "named": s.named,
        "read": list(s.read),
        "via": s.via,
    }


def _statement(d: Mapping[str, Any]) -> Statement:
    return Statement(
        kind=d["kind"], sql=d["sql"], params=value_from_json(d["params"]), site=_site(d["site"]),
        columns=None if d["columns"] is None else tuple(d["columns"]), rows=rows_from_json(d["rows"]),
        fetched=d["fetched"], rowcount=d["rowcount"], lastrowid=d["lastrowid"], error=_failure(d["error"]),
        seconds=d["seconds"], connection=d["connection"], thread=d["thread"], database=d["database"],
        in_transaction=d["in_transaction"], aborted=d["aborted"],
        named=d["named"], read=tuple(d["read"]), via=d["via"],
    )  # fmt: skip


def state_to_json(state: Mapping[str, TableState]) -> dict[str, Any]:
    return {
        name: {"columns": list(t.columns), "rows": rows_to_json(t.rows), "count": t.count, "held": t.held}
        for name, t in state.items()
    }


def state_from_json(data: Mapping[str, Any]) -> dict[str, TableState]:
    return {
        name: TableState(tuple(t["columns"]), rows_from_json(t["rows"]), t["count"], t["held"])
        for name, t in data.items()
    }


def catalog_to_json(catalog: Catalog) -> list[Any]:
    """Return the JSON form of a catalog: a list with one mapping for each table."""
    return [
        {
            "name": t.name,
            "columns": [
                [c.name, c.type, c.nullable, c.default, c.generated_key, c.collation, c.computed]
                for c in t.columns
            ],
            "primary_key": list(t.primary_key),
            "uniques": [list(unique) for unique in t.uniques],
            "indexes": [[i.name, list(i.columns), i.unique, i.partial] for i in t.indexes],
            "foreign_keys": [
                [list(k.columns), k.table, list(k.references), k.on_delete, k.on_update, k.deferrable]
                for k in t.foreign_keys
            ],
            "checks": list(t.checks),
            "triggers": list(t.triggers),
            "sql": t.sql,
        }
        for t in catalog.tables.values()
    ]


def catalog_from_json(data: Iterable[Mapping[str, Any]]) -> Catalog:
    """Return the catalog that `catalog_to_json` wrote."""
    tables = {}
    for t in data:
        tables[t["name"].lower()] = Table(
            name=t["name"],
            columns=tuple(Column(*column) for column in t["columns"]),
            primary_key=tuple(t["primary_key"]),
            uniques=tuple(tuple(unique) for unique in t["uniques"]),
            indexes=tuple(Index(name, tuple(cols), *rest) for name, cols, *rest in t["indexes"]),
            foreign_keys=tuple(
                ForeignKey(tuple(cols), table, tuple(refs), *rest)
                for cols, table, refs, *rest in t["foreign_keys"]
            ),
            checks=tuple(t["checks"]),
            triggers=tuple(t["triggers"]),
            sql=t["sql"],
        )
    return Catalog(tables)


def _to_json(r: Recording) -> dict[str, Any]:
    failure = r.failure
    return {
        "test": r.test,
        "nodeid": r.nodeid,
        "backend": r.backend,
        "outcome": r.outcome,
        "failure": None
        if failure is None
        else [
            failure.phase, failure.name, failure.message, _site_json(failure.site),
            _failure_json(failure.database),
        ],
        "seconds": r.seconds,
        "statements": [_statement_json(s) for s in r.statements],
        "observed": [[name, value_to_json(value)] for name, value in r.observed],
        "state": state_to_json(r.state),
        "template": None if r.template is None else state_to_json(r.template),
        "template_catalog": None if r.template_catalog is None else catalog_to_json(r.template_catalog),
        "catalog": None if r.catalog is None else catalog_to_json(r.catalog),
        "bypasses": [_statement_json(s) for s in r.bypasses],
        "window": list(r.window),
        "version": r.version,
        "marks": dict(r.marks),
        "leaks": list(r.leaks),
        "cleared": sorted(r.cleared),
        "undone": state_to_json(r.undone),
        "reason": r.reason,
        "repeat": r.repeat,
        "zone": r.zone,
    }  # fmt: skip


def _recording_from_json(d: Mapping[str, Any]) -> Recording:
    failure = d["failure"]
    return Recording(
        test=d["test"],
        nodeid=d["nodeid"],
        backend=d["backend"],
        outcome=d["outcome"],
        failure=None
        if failure is None
        else TestFailure(failure[0], failure[1], failure[2], _site(failure[3]), _failure(failure[4])),
        seconds=d["seconds"],
        statements=tuple(_statement(s) for s in d["statements"]),
        observed=tuple((name, value_from_json(value)) for name, value in d["observed"]),
        state=state_from_json(d["state"]),
        template=None if d["template"] is None else state_from_json(d["template"]),
        template_catalog=None if d["template_catalog"] is None else catalog_from_json(d["template_catalog"]),
        catalog=None if d["catalog"] is None else catalog_from_json(d["catalog"]),
        bypasses=tuple(_statement(s) for s in d["bypasses"]),
        window=(d["window"][0], d["window"][1]),
        version=d["version"],
        marks=d["marks"],
        leaks=tuple(d["leaks"]),
        cleared=frozenset(d.get("cleared", ())),
        undone=state_from_json(d.get("undone", {})),
        reason=d["reason"],
        repeat=d["repeat"],
        zone=d["zone"],
    )
