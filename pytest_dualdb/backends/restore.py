"""Bring a PostgreSQL database back to its template state at a cost that follows what a half changed.

Works on a kept superuser connection in the half's own database, and must not know pytest, the recorder or
SQLite. For each half: `changes` tells what differs from the template, `restore` undoes it, or `script` and
`absorb` do so without waiting. Where `Change.clone` says why, the caller makes a new clone instead.

The cumulative statistics tell which tables changed: PostgreSQL 15 or later (earlier ones report with a
delay). The sessions that wrote must have published theirs (``pg_stat_force_next_flush``) or be gone.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg2.extensions import connection, cursor

from pytest_dualdb.backends import large
from pytest_dualdb.backends.large import Large, Repair

BIG = 256 * 1024
"""Bytes of seed rows in a table above which they are not loaded again: see `pytest_dualdb.backends.large`."""

_PG_CLASS, _PG_NAMESPACE, _PG_PROC, _PG_DEPEND = 1259, 2615, 1255, 2608
_TEMPORARY = "nspname ~ '^pg_(toast_)?temp_'"
_TEMPORARY_FUNCTIONS = (
    f"SELECT p.oid FROM pg_proc p JOIN pg_namespace n ON n.oid = pronamespace WHERE {_TEMPORARY}"
)
_LASTING = {
    # The namespaces of temporary tables stay after their first use.
    _PG_NAMESPACE: f"NOT ({_TEMPORARY})",
    # `large.describe` makes temporary functions.
    _PG_PROC: f"oid NOT IN ({_TEMPORARY_FUNCTIONS})",
    _PG_DEPEND: f"NOT (classid = {_PG_PROC} AND objid IN ({_TEMPORARY_FUNCTIONS}))",
}
"""The rows of a catalog that can be compared with another database's."""
_FILES = (
    "SELECT oid::int8, relfilenode::int8 FROM pg_class"
    " WHERE relkind IN ('r', 'm', 'S') AND oid >= 16384 AND relpersistence <> 't'"
)

# Rows ever written in a table, also by transactions that were rolled back.
_WRITTEN = " + ".join(f"pg_stat_get{{0}}_tuples_{what}(o)" for what in ("inserted", "updated", "deleted"))

# What ALTER DATABASE, GRANT and COMMENT ON DATABASE leave outside of the database, in catalogs that all share.
_SETTINGS = (
    "(SELECT concat_ws(' ', datacl, datconnlimit, datallowconn, datdba, shobj_description(oid, 'pg_database'),"
    " (SELECT string_agg(s::text, ' ' ORDER BY setrole) FROM pg_db_role_setting s WHERE setdatabase = {0}))"
    " FROM pg_database WHERE oid = {0})"
)

# Columns of pg_class that TRUNCATE, VACUUM and hint bits change, and no DDL: not part of its fingerprint.
_PHYSICAL = (
    "relfilenode",
    "relpages",
    "reltuples",
    "relallvisible",
    "relallfrozen",
    "relfrozenxid",
    "relminmxid",
)


@dataclass(frozen=True, slots=True)
class Seed:
    """The rows of one table in the template: COPY's binary form, in physical order."""

    columns: str
    rows: bytes


@dataclass(frozen=True, slots=True)
class Counters:
    """What the statistics say at one moment: numbers as text, in the order of `Base`'s fields."""

    tables: tuple[str, ...]
    sequences: tuple[str, ...]
    catalogs: tuple[str, ...]
    reset_at: str
    settings: str = ""
    backends: tuple[int, ...] = field(compare=False, default=())


@dataclass(frozen=True, slots=True)
class Base:
    """The template state of one database, and the counters that belong to it."""

    tables: tuple[int, ...]
    names: Mapping[int, str]
    triggered: frozenset[int]
    statistics: Mapping[int, tuple[int, float, int]]
    seeds: Mapping[int, Seed]
    big: frozenset[int]
    large: Mapping[int, Large]
    sequences: tuple[int, ...]
    values: Mapping[int, tuple[int, bool]]
    catalogs: tuple[int, ...]
    files: Mapping[int, int]
    counters: Counters


@dataclass(frozen=True, slots=True)
class Change:
    """What a half left different from the template."""

    tables: tuple[int, ...] = ()
    sequences: tuple[int, ...] = ()
    clone: str = ""
    counters: Counters | None = None
    repairs: Mapping[int, Repair] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.written or self.sequences or self.clone)

    @property
    def written(self) -> tuple[int, ...]:
        """Return all tables that were written."""
        return (*self.tables, *self.repairs)


def capture(admin: connection) -> Base:
    """Describe a fresh clone. Call `normalise` on the template before the first clone."""
    with admin.cursor() as cur:
        cur.execute(
            "DEALLOCATE ALL; SET stats_fetch_consistency = none; SET synchronize_seqscans = off;"
            " SET search_path = ''"
        )
        cur.execute(
            "SELECT c.oid::int8, c.oid::regclass::text, c.relhastriggers, c.relpages, c.reltuples,"
            " c.relallvisible, pg_relation_size(c.oid), s.columns, c.relkind"
            " FROM pg_class c, LATERAL (SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum)"
            "  AS columns FROM pg_attribute"
            "  WHERE attrelid = c.oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '') s"
            " WHERE c.relkind IN ('r', 'm') AND c.oid >= 16384 AND c.relpersistence <> 't' ORDER BY c.oid"
        )
        found = cur.fetchall()
        seeds = {}
        for oid, name, _, _, _, _, size, columns, kind in found:
            if kind == "r" and 0 < size <= BIG:
                rows = io.BytesIO()
                cur.copy_expert(f"COPY {name} ({columns}) TO STDOUT (FORMAT binary)", rows)
                seeds[oid] = Seed(columns, rows.getvalue())
        cur.execute(
            "SELECT oid::int8, oid::regclass::text FROM pg_class WHERE relkind = 'S' AND oid >= 16384"
            " AND relpersistence <> 't' ORDER BY pg_class.oid"
        )
        values: dict[int, tuple[int, bool]] = {}
        for oid, name in cur.fetchall():
            cur.execute(f"SELECT last_value, is_called FROM {name}")
            values[oid] = cur.fetchone()  # type: ignore[assignment]
        cur.execute(
            "SELECT oid::int8 FROM pg_class WHERE relkind = 'r' AND oid < 16384 AND NOT relisshared"
            " ORDER BY pg_class.oid"
        )
        catalogs = tuple(row[0] for row in cur.fetchall())
        tables, sequences = tuple(row[0] for row in found), tuple(values)
        big = {row[0]: row for row in found if row[6] > BIG or row[8] == "m"}
        pages = large.describe(cur, {oid: row[1] for oid, row in big.items() if row[8] == "r"})
        written = _WRITTEN.format("")
        cur.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        database = cur.fetchone()[0]  # type: ignore[index]
        cur.execute(
            # The backends come first: one that is gone by then has reported before.
            "PREPARE dualdb_counters AS SELECT ARRAY(SELECT pid FROM pg_stat_get_activity(NULL)"
            f" WHERE datid = {database} AND backend_type = 'client backend'),"
            # VACUUM writes no rows, but what the planner sees.
            f" ARRAY(SELECT {written} + pg_stat_get_vacuum_count(o)"
            f" + pg_stat_get_autovacuum_count(o) FROM unnest({_oids(tables)}) o)::text,"
            # nextval and setval read a page of the sequence; last_value alone misses setval(..., false).
            f" ARRAY(SELECT pg_stat_get_blocks_fetched(o) FROM unnest({_oids(sequences)}) o)::text,"
            f" ARRAY(SELECT {written} FROM unnest({_oids(catalogs)}) o)::text,"
            f" pg_stat_get_db_stat_reset_time({database})::text, {_SETTINGS.format(database)}"
        )
        cur.execute(_FILES)
        files = dict(cur.fetchall())
        cur.execute("SELECT pg_stat_force_next_flush()")
        return Base(
            tables,
            {row[0]: row[1] for row in found},
            frozenset(row[0] for row in found if row[2]),
            {row[0]: row[3:6] for row in found if row[3:6] != (0, -1.0, 0)},
            seeds,
            frozenset(big),
            pages,
            sequences,
            values,
            catalogs,
            files,
            _counters(cur),
        )


def changes(
    admin: connection,
    base: Base,
    template: Callable[[], connection],
    settled: Callable[[tuple[int, ...]], bool] = lambda backends: True,
    held: Callable[[], bool] = lambda: False,
) -> Change:
    """Compare with the template: one round trip, more only where a catalog or a large table was written.

    ``template`` gives a connection to the template database, to tell whether a catalog differs from it, and
    ``held`` tells whether `large.HOLD` was in force all the time.
    A backend reports what it wrote when it ends, a moment after its client is gone: ``settled`` is asked
    with the process ids of the database's backends and returns False after waiting for one, to look again.
    """
    with admin.cursor() as cur:
        now, then = _counters(cur), base.counters
        while not settled(now.backends):
            now = _counters(cur)
        if now == then:
            return Change()
        tables = set(_differing(base.tables, then.tables, now.tables))
        sequences = set(_differing(base.sequences, then.sequences, now.sequences))
        if now.reset_at != then.reset_at:
            return Change(base.tables, clone="the statistics were reset")
        if now.settings != then.settings:
            return Change(tuple(sorted(tables)), clone="the settings of the database were changed")
        catalogs = _differing(base.catalogs, then.catalogs, now.catalogs)
        # Temporary tables, rolled back DDL and TRUNCATE write to catalogs and leave them as they were.
        if catalogs:
            with template().cursor() as reference:
                for oid in catalogs:
                    if _fingerprint(cur, oid) != _fingerprint(reference, oid):
                        return Change(tuple(sorted(tables)), clone=f"{_name(cur, oid)} was changed")
        if catalogs:
            cur.execute(_FILES)
            moved = {oid for oid, file in cur.fetchall() if base.files[oid] != file}
            tables |= moved & set(base.tables)
            sequences |= moved & set(base.sequences)
        repairs: dict[int, Repair] = {}
        for oid in sorted(tables & base.big):
            found = large.examine(cur, template(), base.large[oid]) if oid in base.large else None
            if found is None or (found.missing and not held()):
                why = "a materialized view or a table with many seed rows was changed"
                return Change(tuple(sorted(tables)), clone=why)
            repairs[oid] = found
        return Change(
            tuple(sorted(tables - base.big)), tuple(sorted(sequences)), counters=now, repairs=repairs
        )


def restore(admin: connection, base: Base, change: Change, template: Callable[[], connection]) -> Base | None:
    """Undo a change; returns the same template with the counters that now belong to it, None if that failed."""
    if not change or change.counters is None:
        return base
    with admin.cursor() as cur:
        for oid, one in change.repairs.items():
            if not large.repair(cur, template(), base.large[oid], one):
                return None
        seeded = [oid for oid in change.tables if oid in base.seeds]
        if seeded:
            cur.execute(";".join([*_emptied(base, change), "SET LOCAL session_replication_role = replica"]))
            for oid in seeded:
                seed = base.seeds[oid]
                cur.copy_expert(
                    f"COPY {base.names[oid]} ({seed.columns}) FROM STDIN (FORMAT binary)",
                    io.BytesIO(seed.rows),
                )
            cur.execute(";".join(_finished(base, change)))
        else:
            cur.execute(script(base, change))
        row = cur.fetchone()
    assert row is not None
    after = absorb(base, change, row)
    if not change.repairs:
        return after
    # the rows that were deleted, and the VACUUM
    added = tuple(len(one.surplus) + 1 for one in change.repairs.values())
    tables = _added(base.tables, after.counters.tables, tuple(change.repairs), added)
    vacuumed = {
        oid: replace(one, vacuums=one.vacuums + 1) if oid in change.repairs else one
        for oid, one in after.large.items()
    }
    return replace(after, large=vacuumed, counters=replace(after.counters, tables=tables))


def can_be_sent(base: Base, change: Change) -> bool:
    """Return whether `script` alone undoes the change: seed rows need a COPY of their own."""
    # VACUUM is refused in a transaction, and beside other statements
    return (
        change.counters is not None
        and not change.repairs
        and not any(oid in base.seeds for oid in change.tables)
    )


def script(base: Base, change: Change) -> str:
    """Return the statements that undo a change without seed rows; `absorb` takes the row that they give."""
    return ";".join([*_emptied(base, change), *_finished(base, change)])


def _emptied(base: Base, change: Change) -> list[str]:
    script = ["BEGIN"]
    if change.tables:
        # TRUNCATE of a table that another one references is refused, or spreads to that one, and it fires
        # triggers. Both look at relhastriggers only, and no one else sees the value: it is one transaction.
        hidden = _oids(oid for oid in change.tables if oid in base.triggered)
        script.append(f"UPDATE pg_class SET relhastriggers = false WHERE oid = ANY ({hidden})")
        script.append("TRUNCATE " + ", ".join(f"ONLY {base.names[oid]}" for oid in change.tables))
        script.append(f"UPDATE pg_class SET relhastriggers = true WHERE oid = ANY ({hidden})")
    if change.sequences:
        values = ("setval({}::regclass, {}, {})".format(oid, *base.values[oid]) for oid in change.sequences)
        script.append("SELECT " + ", ".join(values))
    return script


def _finished(base: Base, change: Change) -> list[str]:
    script = [
        "UPDATE pg_class SET relpages = {}, reltuples = {}, relallvisible = {} WHERE oid = {}".format(
            *base.statistics[oid], oid
        )
        for oid in change.written
        if oid in base.statistics
    ]
    own = _WRITTEN.format("_xact")
    tables, sequences = _oids(change.tables), _oids(change.sequences)
    # This session's own writes are published when it becomes idle; `absorb` adds them to what was read before.
    return [
        *script,
        "COMMIT",
        f"SELECT ARRAY(SELECT {own} FROM unnest({tables}) o),"
        f" ARRAY(SELECT pg_stat_get_xact_blocks_fetched(o) FROM unnest({sequences}) o),"
        f" (SELECT {own} FROM (VALUES ({_PG_CLASS}::oid)) AS v(o)),"
        f" ARRAY(SELECT c.relfilenode::int8 FROM unnest({tables} || {sequences}) WITH ORDINALITY u(o, i)"
        " JOIN pg_class c ON c.oid = o ORDER BY i), pg_stat_force_next_flush()",
    ]


def absorb(base: Base, change: Change, row: Sequence[Any]) -> Base:
    """Return the template with the counters after `script`, from the row that it gave."""
    assert change.counters is not None
    tables, sequences, now = change.tables, change.sequences, change.counters
    rows, reads, catalogs, files, _ = row
    return replace(
        base,
        counters=replace(
            now,
            tables=_added(base.tables, now.tables, tables, rows),
            sequences=_added(base.sequences, now.sequences, sequences, reads),
            catalogs=_added(base.catalogs, now.catalogs, (_PG_CLASS,), (catalogs,)),
        ),
        files={**base.files, **dict(zip(tables + sequences, files, strict=True))},
    )


@dataclass(frozen=True, slots=True)
class Own:
    """What the current transaction wrote so far: counts by table, sequence and catalog."""

    tables: Mapping[int, int]
    sequences: Mapping[int, int]
    catalogs: Mapping[int, int]


def own_writes(cur: cursor, base: Base) -> Own:
    """Return what the session's open transaction wrote; it will count as written even when rolled back."""
    own = _WRITTEN.format("_xact").replace("pg_stat", "pg_catalog.pg_stat")
    cur.execute(
        f"SELECT ARRAY(SELECT {own} FROM unnest({_oids(base.tables)}) o),"
        f" ARRAY(SELECT pg_catalog.pg_stat_get_xact_blocks_fetched(o) FROM unnest({_oids(base.sequences)}) o),"
        f" ARRAY(SELECT {own} FROM unnest({_oids(base.catalogs)}) o)"
    )
    row = cur.fetchone()
    assert row is not None
    kinds = (base.tables, base.sequences, base.catalogs)
    return Own(*(
        {oid: count for oid, count in zip(oids, counts, strict=True) if count}
        for oids, counts in zip(kinds, row, strict=True)
    ))  # fmt: skip


def excused(base: Base, own: Own) -> Base:
    """Return the template with counters that expect what a transaction wrote before it was rolled back."""
    then = base.counters
    return replace(
        base,
        counters=replace(
            then,
            tables=_added(base.tables, then.tables, tuple(own.tables), tuple(own.tables.values())),
            sequences=_added(
                base.sequences, then.sequences, tuple(own.sequences), tuple(own.sequences.values())
            ),
            catalogs=_added(base.catalogs, then.catalogs, tuple(own.catalogs), tuple(own.catalogs.values())),
        ),
    )


def normalise(admin: connection) -> None:
    """Rewrite the tables of a template as `restore` does, so that a clone and a reset are the same.

    TRUNCATE leaves other sizes in pg_class for indexes than CREATE INDEX, and COPY leaves no gaps.
    """
    base = capture(admin)
    small = tuple(oid for oid in base.tables if oid not in base.big)
    restore(admin, base, Change(small, counters=base.counters), lambda: admin)
    if base.large:
        with admin.cursor() as cur:
            names = ", ".join(table.name for table in base.large.values())
            cur.execute(f"VACUUM (FREEZE, INDEX_CLEANUP ON) {names}")


def _counters(cur: cursor) -> Counters:
    cur.execute("EXECUTE dualdb_counters")
    backends, tables, sequences, catalogs, reset_at, settings = cur.fetchone()  # type: ignore[misc]
    return Counters(
        _split(tables), _split(sequences), _split(catalogs), str(reset_at), settings, tuple(backends)
    )


def _split(array: str) -> tuple[str, ...]:
    return tuple(array[1:-1].split(",")) if array != "{}" else ()


def _differing(oids: tuple[int, ...], then: tuple[str, ...], now: tuple[str, ...]) -> list[int]:
    return [oid for oid, a, b in zip(oids, then, now, strict=True) if a != b]


def _added(
    oids: tuple[int, ...], counts: tuple[str, ...], changed: Sequence[int], more: Sequence[int]
) -> tuple[str, ...]:
    own = dict(zip(changed, more, strict=True))
    return tuple(
        str(int(count) + own[oid]) if oid in own else count for oid, count in zip(oids, counts, strict=True)
    )


def _fingerprint(cur: cursor, oid: int) -> str:
    """Hash the rows of a catalog without what is no DDL, whatever their order."""
    row, where = "c::text", _LASTING.get(oid, "TRUE")
    if oid == _PG_CLASS:
        cur.execute(
            "SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
            " WHERE attrelid = %s AND attnum > 0 AND attname <> ALL (%s)",
            (oid, list(_PHYSICAL)),
        )
        row = f"row({cur.fetchone()[0]})::text"  # type: ignore[index]
    cur.execute(
        f"SELECT sum(hashtextextended({row}, 0))::text || ' ' || count(*)"
        f" FROM {_name(cur, oid)} c WHERE {where}"
    )
    return str(cur.fetchone()[0])  # type: ignore[index]


def _name(cur: cursor, oid: int) -> str:
    cur.execute("SELECT %s::regclass::text", (oid,))
    return str(cur.fetchone()[0])  # type: ignore[index]


def _oids(oids: Iterable[int]) -> str:
    return "'{" + ",".join(map(str, oids)) + "}'::oid[]"
