"""Bring a PostgreSQL table with many seed rows back page by page, at a cost that follows the change.

What COPY or a clone restores costs what the table holds. Here the visibility map (pg_visibility) tells which
pages were written since the template's VACUUM: rows that are new there are deleted, and rows that were updated
or deleted are made alive where they were (pg_surgery), so that rows come in the template's order again.

A dead row is still there, and in the indexes, as long as some snapshot is older than its end: `HOLD` takes one
before the half. All that this module does is checked afterwards against the template's own pages.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from psycopg2.errors import InsufficientPrivilege, UndefinedFile
from psycopg2.extensions import connection, cursor

_MAX_PAGES = 200
"""Pages that are looked at to tell which rows changed; above, they are too many."""
HOLD = (
    "ROLLBACK; BEGIN ISOLATION LEVEL REPEATABLE READ; SET LOCAL idle_in_transaction_session_timeout = '3s';"
    " SELECT pg_catalog.pg_current_snapshot()"
)
"""Keeps dead rows; CREATE INDEX CONCURRENTLY waits for such a transaction, so it ends by itself."""


@dataclass(frozen=True, slots=True)
class Large:
    """A table whose pages are all marked as unchanged; ``end`` is the number of its pages.

    ``rewritable`` if deleting rows does nothing else, and its indexes are ordered whatever was in them meanwhile;
    ``revivable`` if its dead rows can be made alive as well: none of them has parts in another table.
    """

    oid: int
    name: str
    end: int
    vacuums: int
    file: int
    rewritable: bool
    revivable: bool


@dataclass(frozen=True, slots=True)
class Repair:
    """What brings a large table back: its positions that hold other rows than the template's, and no row."""

    pages: tuple[int, ...]
    surplus: tuple[str, ...]
    missing: tuple[str, ...]


def describe(cur: cursor, tables: Mapping[int, str]) -> dict[int, Large]:
    """Describe tables of a fresh clone and prepare the session; nothing where it can't look at pages.

    Up to PostgreSQL 18 only VACUUM marks a page in the visibility map, and every written row unmarks it.
    """
    if not tables or cur.connection.server_version >= 190000:
        return {}
    pages = (
        "CREATE FUNCTION pg_temp.dualdb_pages(regclass, OUT page int8, OUT unchanged bool, OUT frozen bool)"
        " RETURNS SETOF record LANGUAGE c STRICT AS '$libdir/pg_visibility', 'pg_visibility_map_rel'"
    )
    revive = (
        "CREATE FUNCTION pg_temp.dualdb_revive(regclass, tid[]) RETURNS void LANGUAGE c STRICT"
        " AS '$libdir/pg_surgery', 'heap_force_freeze'"
    )
    if not _made(cur, pages):
        return {}
    can_revive = _made(cur, revive)
    found = {}
    for oid, name in tables.items():
        cur.execute(
            f"SELECT pg_relation_size({oid}) / current_setting('block_size')::int, {_vacuums(oid)},"
            " relfilenode::int8, NOT relhasrules AND NOT EXISTS (SELECT FROM pg_index JOIN pg_class i ON"
            f" i.oid = indexrelid JOIN pg_am a ON a.oid = i.relam WHERE indrelid = {oid} AND amname <> 'btree')"
            f" AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = {oid} AND tgenabled = 'A'),"
            f" %s AND (reltoastrelid = 0 OR pg_relation_size(reltoastrelid) = 0) FROM pg_class WHERE oid = {oid}"
            f" AND NOT EXISTS (SELECT FROM pg_inherits WHERE {oid} IN (inhrelid, inhparent))",
            (can_revive,),
        )
        row = cur.fetchone()
        if row is not None:
            found[oid] = Large(oid, name, *row)
    return found


def _made(cur: cursor, function: str) -> bool:
    try:
        cur.execute(function)
    except (UndefinedFile, InsufficientPrivilege):
        return False
    return True


def _vacuums(oid: int) -> str:
    return f"pg_stat_get_vacuum_count({oid}) + pg_stat_get_autovacuum_count({oid})"


def changed_pages(cur: cursor, table: Large) -> tuple[int, ...] | None:
    """Return the pages where rows may differ from the template's; None if they are too many, or nothing tells."""
    cur.execute(
        f"SELECT {_vacuums(table.oid)}, (SELECT relfilenode::int8 FROM pg_class WHERE oid = {table.oid}),"
        f" ARRAY(SELECT page FROM pg_temp.dualdb_pages({table.oid}) WHERE NOT unchanged LIMIT {_MAX_PAGES + 1})"
    )
    vacuums, file, pages = cur.fetchone()  # type: ignore[misc]
    told = (vacuums, file) == (table.vacuums, table.file) and len(pages) <= _MAX_PAGES
    return tuple(pages) if told else None


def select(columns: str, table: str, pages: Iterable[int]) -> str:
    """Return the query for the rows on those pages, in the order of their positions."""
    # with its header, a row takes at least 28 bytes of a page
    return (
        f"{_BY_POSITION}; SELECT {columns} FROM ONLY {table} t WHERE"
        " ctid = ANY (ARRAY(SELECT format('(%s,%s)', page, item)::tid"
        f" FROM unnest('{{{','.join(map(str, pages))}}}'::int8[]) page,"
        " generate_series(1, current_setting('block_size')::int / 28) item))"
    )


# the planner takes each position for a page of its own; a scan of the table would also remove dead rows
_BY_POSITION = "SET LOCAL enable_seqscan = off"


def examine(cur: cursor, template: connection, table: Large) -> Repair | None:
    """Return what brings the table back, None if nothing here does."""
    pages = changed_pages(cur, table) if table.rewritable else None
    if pages is None:
        return None
    grown = pages[-1] + 1 - table.end if pages else 0
    if 0 < grown < min(1_000, (table.end + grown) // 16):
        return None  # VACUUM does not give back so few pages
    query = select("ctid::text", table.name, pages)
    cur.execute(query)
    now = {row[0] for row in cur.fetchall()}
    with template.cursor() as other:
        other.execute(query)
        then = {row[0] for row in other.fetchall()}
    missing = tuple(sorted(then - now))
    return Repair(pages, tuple(sorted(now - then)), missing) if table.revivable or not missing else None


def repair(cur: cursor, template: connection, table: Large, change: Repair) -> bool:
    """Bring the table back; False if it is not as the template has it, whatever the reason.

    Publishes what it counts: the deleted rows and one VACUUM.
    """
    # first of all, before anything reads the pages and removes what is dead
    if change.missing:
        cur.execute("SELECT pg_temp.dualdb_revive(%s, %s::tid[])", (table.oid, list(change.missing)))
    cur.execute(
        f"{_BY_POSITION}; SET LOCAL session_replication_role = replica;"
        f" DELETE FROM ONLY {table.name} WHERE ctid = ANY (%s::tid[]); SELECT pg_stat_force_next_flush()",
        (list(change.surplus),),
    )
    cur.execute(f"VACUUM (INDEX_CLEANUP ON, PARALLEL 0) {table.name}")
    query = select("ctid::text, t::text", table.name, change.pages)
    cur.execute(query)
    now = cur.fetchall()
    with template.cursor() as other:
        other.execute(query)
        then = other.fetchall()
    cur.execute(
        f"SELECT pg_relation_size({table.oid}) / current_setting('block_size')::int,"
        f" EXISTS (SELECT FROM pg_temp.dualdb_pages({table.oid}) WHERE NOT unchanged)"
    )
    return now == then and cur.fetchone() == (table.end, False)
