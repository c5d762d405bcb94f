"""Bring a PostgreSQL database back to its template state at a cost that follows what a half changed.

Works on one kept superuser connection (`admin`, autocommit) in the half's own database. It must not know
pytest, the recorder or SQLite. The order for each half:

    release(connection)             on every kept connection of the application; other backends are gone
    change = changes(admin, base)   what differs from the template
    if change.clone: ...            catalogs or big tables differ: the caller makes a new clone
    base = restore(admin, base, change)

The cumulative statistics give the tables: PostgreSQL 15 or later (earlier versions report with a delay).
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from psycopg2.extensions import TRANSACTION_STATUS_IDLE, connection, cursor

BIG = 256 * 1024
"""Bytes of seed rows in a table above which a new clone is cheaper than loading them again."""

_PG_CLASS, _PG_NAMESPACE = 1259, 2615
_FILES = (
    "SELECT oid::int8, relfilenode::int8 FROM pg_class"
    " WHERE relkind IN ('r', 'm', 'S') AND oid >= 16384 AND relpersistence <> 't'"
)

# Rows ever written in a table, also by transactions that were rolled back.
_WRITTEN = " + ".join(f"pg_stat_get{{0}}_tuples_{what}(o)" for what in ("inserted", "updated", "deleted"))

# Columns of pg_class that TRUNCATE, VACUUM and hint bits change, and no DDL: not part of its fingerprint.
_PHYSICAL = (
    "relfilenode", "relpages", "reltuples", "relallvisible", "relallfrozen", "relfrozenxid", "relminmxid",
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


@dataclass(frozen=True, slots=True)
class Base:
    """The template state of one database, and the counters that belong to it."""

    tables: tuple[int, ...]
    names: Mapping[int, str]
    triggered: frozenset[int]
    statistics: Mapping[int, tuple[int, float, int]]
    seeds: Mapping[int, Seed]
    big: frozenset[int]
    sequences: tuple[int, ...]
    values: Mapping[int, tuple[int, bool]]
    catalogs: tuple[int, ...]
    fingerprints: Mapping[int, str]
    files: Mapping[int, int]
    counters: Counters


@dataclass(frozen=True, slots=True)
class Change:
    """What a half left different from the template."""

    tables: tuple[int, ...] = ()
    sequences: tuple[int, ...] = ()
    clone: str = ""
    counters: Counters | None = None

    def __bool__(self) -> bool:
        return bool(self.tables or self.sequences or self.clone)


def release(used: connection) -> None:
    """End what the application left open on a kept connection, and publish its statistics."""
    if used.info.transaction_status != TRANSACTION_STATUS_IDLE:
        used.rollback()
    used.autocommit = True
    with used.cursor(cursor_factory=cursor) as cur:
        cur.execute("DISCARD ALL")
        # Statistics leave a backend when it becomes idle, at most once a second unless asked for.
        cur.execute("SELECT pg_stat_force_next_flush()")


def capture(admin: connection) -> Base:
    """Describe a fresh clone. Call `normalise` on the template before the first clone."""
    with admin.cursor() as cur:
        cur.execute("DEALLOCATE ALL; SET stats_fetch_consistency = none; SET synchronize_seqscans = off;"
                    " SET search_path = ''")
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
        cur.execute("SELECT oid::int8, oid::regclass::text FROM pg_class WHERE relkind = 'S' AND oid >= 16384"
                    " AND relpersistence <> 't' ORDER BY pg_class.oid")
        values: dict[int, tuple[int, bool]] = {}
        for oid, name in cur.fetchall():
            cur.execute(f"SELECT last_value, is_called FROM {name}")
            values[oid] = cur.fetchone()  # type: ignore[assignment]
        cur.execute("SELECT oid::int8 FROM pg_class WHERE relkind = 'r' AND oid < 16384 AND NOT relisshared"
                    " ORDER BY pg_class.oid")
        catalogs = tuple(row[0] for row in cur.fetchall())
        tables, sequences = tuple(row[0] for row in found), tuple(values)
        written, own = _WRITTEN.format(""), _WRITTEN.format("_xact")
        cur.execute("SELECT oid FROM pg_database WHERE datname = current_database()")
        database = cur.fetchone()[0]  # type: ignore[index]
        cur.execute(
            # VACUUM writes no rows, but what the planner sees.
            f"PREPARE dualdb_counters AS SELECT ARRAY(SELECT {written} + pg_stat_get_vacuum_count(o)"
            f" + pg_stat_get_autovacuum_count(o) FROM unnest({_oids(tables)}) o)::text,"
            # nextval and setval read a page of the sequence; last_value alone misses setval(..., false).
            f" ARRAY(SELECT pg_stat_get_blocks_fetched(o) FROM unnest({_oids(sequences)}) o)::text,"
            f" ARRAY(SELECT {written} FROM unnest({_oids(catalogs)}) o)::text,"
            f" pg_stat_get_db_stat_reset_time({database})::text;"
            f"PREPARE dualdb_own (oid[], oid[]) AS SELECT ARRAY(SELECT {own} FROM unnest($1) o),"
            " ARRAY(SELECT pg_stat_get_xact_blocks_fetched(o) FROM unnest($2) o),"
            f" (SELECT {own} FROM (VALUES ({_PG_CLASS}::oid)) AS v(o)),"
            " ARRAY(SELECT pg_relation_filenode(o)::int8 FROM unnest($1 || $2) o),"
            " pg_stat_force_next_flush();"
            "PREPARE dualdb_triggers (bool, oid[]) AS"
            " UPDATE pg_class SET relhastriggers = $1 WHERE oid = ANY ($2)"
        )
        fingerprints = {oid: _fingerprint(cur, oid) for oid in catalogs}
        cur.execute(_FILES)
        files = dict(cur.fetchall())
        cur.execute("SELECT pg_stat_force_next_flush()")
        return Base(
            tables, {row[0]: row[1] for row in found}, frozenset(row[0] for row in found if row[2]),
            {row[0]: row[3:6] for row in found if row[3:6] != (0, -1.0, 0)}, seeds,
            frozenset(row[0] for row in found if row[6] > BIG or row[8] == "m"), sequences, values, catalogs,
            fingerprints, files, _counters(cur),
        )


def changes(admin: connection, base: Base) -> Change:
    """Compare with the template: one round trip, a second one only where a catalog was written."""
    with admin.cursor() as cur:
        now, then = _counters(cur), base.counters
        if now == then:
            return Change()
        tables = set(_differing(base.tables, then.tables, now.tables))
        sequences = set(_differing(base.sequences, then.sequences, now.sequences))
        if now.reset_at != then.reset_at:
            return Change(clone="the statistics were reset")
        catalogs = _differing(base.catalogs, then.catalogs, now.catalogs)
        # Temporary tables, rolled back DDL and TRUNCATE write to catalogs and leave them as they were.
        for oid in catalogs:
            if _fingerprint(cur, oid) != base.fingerprints[oid]:
                return Change(clone=f"{_name(cur, oid)} was changed")
        if catalogs:
            cur.execute(_FILES)
            moved = {oid for oid, file in cur.fetchall() if base.files[oid] != file}
            tables |= moved & set(base.tables)
            sequences |= moved & set(base.sequences)
        if tables & base.big:
            return Change(clone="a materialized view or a table with many seed rows was changed")
        return Change(tuple(sorted(tables)), tuple(sorted(sequences)), counters=now)


def restore(admin: connection, base: Base, change: Change) -> Base:
    """Undo a change in one transaction; returns the same template with the counters that now belong to it."""
    if change.counters is None:
        return base
    if not change:
        return replace(base, counters=change.counters)
    tables, sequences = change.tables, change.sequences
    seeded = [oid for oid in tables if oid in base.seeds]
    # The statements of one call are one transaction; COPY needs calls of its own.
    script = ["BEGIN"] if seeded else []
    if tables:
        # TRUNCATE of a table that another one references is refused, or spreads to that one, and it fires
        # triggers. Both look at relhastriggers only, and no one else sees the value: it is one transaction.
        hidden = _oids(oid for oid in tables if oid in base.triggered)
        script.append(f"EXECUTE dualdb_triggers (false, {hidden})")
        script.append("TRUNCATE " + ", ".join(f"ONLY {base.names[oid]}" for oid in tables))
        script.append(f"EXECUTE dualdb_triggers (true, {hidden})")
    if sequences:
        script.append("SELECT " + ", ".join("setval({}::regclass, {}, {})".format(oid, *base.values[oid])
                                            for oid in sequences))
    with admin.cursor() as cur:
        if seeded:
            cur.execute(";".join([*script, "SET LOCAL session_replication_role = replica"]))
            for oid in seeded:
                seed = base.seeds[oid]
                cur.copy_expert(f"COPY {base.names[oid]} ({seed.columns}) FROM STDIN (FORMAT binary)",
                                io.BytesIO(seed.rows))
            script = []
        for oid in tables:
            if oid in base.statistics:
                script.append("UPDATE pg_class SET relpages = {}, reltuples = {}, relallvisible = {}"
                              " WHERE oid = {}".format(*base.statistics[oid], oid))
        # This connection's own writes are published when it becomes idle; add them to what was read before.
        script += ["COMMIT"] if seeded else []
        cur.execute(";".join([*script, f"EXECUTE dualdb_own ({_oids(tables)}, {_oids(sequences)})"]))
        rows, reads, catalogs, files, _ = cur.fetchone()  # type: ignore[misc]
    now = change.counters
    return replace(base, counters=replace(
        now, tables=_added(base.tables, now.tables, tables, rows),
        sequences=_added(base.sequences, now.sequences, sequences, reads),
        catalogs=_added(base.catalogs, now.catalogs, (_PG_CLASS,), (catalogs,)),
    ), files={**base.files, **dict(zip(tables + sequences, files, strict=True))})


def normalise(admin: connection) -> None:
    """Rewrite the tables of a template as `restore` does, so that a clone and a reset are the same.

    TRUNCATE leaves other sizes in pg_class for indexes than CREATE INDEX, and COPY leaves no gaps.
    """
    base = capture(admin)
    small = tuple(oid for oid in base.tables if oid not in base.big)
    restore(admin, base, Change(small, counters=base.counters))


def _counters(cur: cursor) -> Counters:
    cur.execute("EXECUTE dualdb_counters")
    tables, sequences, catalogs, reset_at = cur.fetchone()  # type: ignore[misc]
    return Counters(_split(tables), _split(sequences), _split(catalogs), str(reset_at))


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
    row, where = "c::text", "TRUE"
    if oid == _PG_CLASS:
        cur.execute("SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) FROM pg_attribute"
                    " WHERE attrelid = %s AND attnum > 0 AND attname <> ALL (%s)", (oid, list(_PHYSICAL)))
        row = f"row({cur.fetchone()[0]})::text"  # type: ignore[index]
    elif oid == _PG_NAMESPACE:
        # The namespaces of temporary tables stay after their first use.
        where = "nspname !~ '^pg_(toast_)?temp_'"
    cur.execute(f"SELECT sum(hashtextextended({row}, 0))::text || ' ' || count(*)"
                f" FROM {_name(cur, oid)} c WHERE {where}")
    return str(cur.fetchone()[0])  # type: ignore[index]


def _name(cur: cursor, oid: int) -> str:
    cur.execute("SELECT %s::regclass::text", (oid,))
    return str(cur.fetchone()[0])  # type: ignore[index]


def _oids(oids: Iterable[int]) -> str:
    return "'{" + ",".join(map(str, oids)) + "}'::oid[]"
