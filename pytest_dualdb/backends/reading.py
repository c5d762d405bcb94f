"""Read a PostgreSQL database: its tables, its schema, and rows as psycopg2 gives them to an application.

Everything goes through a cursor that the caller has; what a worker's databases are, and when they are read, is
known elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import psycopg2.extensions as ext

from pytest_dualdb.backends import quoted
from pytest_dualdb.encoding import CHUNK_ROWS
from pytest_dualdb.recorder.optional import Query
from pytest_dualdb.recording import Catalog, Column, ForeignKey, Index, Table

_SYSTEM = "n.nspname NOT IN ('pg_catalog', 'information_schema') AND n.nspname !~ '^pg_'"
TABLES = (
    "SELECT n.nspname, c.relname, format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
    f" WHERE c.relkind IN ('r', 'p') AND {_SYSTEM} ORDER BY 1, 2"
)
_COLUMNS = f"""
SELECT n.nspname, c.relname, a.attname, upper(format_type(a.atttypid, a.atttypmod)), NOT a.attnotnull,
       CASE WHEN a.attgenerated = '' THEN pg_get_expr(d.adbin, d.adrelid) END, a.attidentity <> '' OR coalesce(pg_get_expr(d.adbin, d.adrelid), '') LIKE 'nextval(%',
       co.collname, a.attgenerated <> ''
  FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
  JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
  LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
  LEFT JOIN pg_collation co ON co.oid = a.attcollation AND co.collname <> 'default'
 WHERE c.relkind IN ('r', 'p') AND {_SYSTEM} ORDER BY 1, 2, a.attnum"""
_CONSTRAINTS = f"""
SELECT n.nspname, c.relname, k.contype, f.relname, k.confdeltype, k.confupdtype, k.condeferrable,
       pg_get_constraintdef(k.oid),
       ARRAY(SELECT a.attname::text FROM unnest(k.conkey) WITH ORDINALITY u(n, i)
             JOIN pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = u.n ORDER BY u.i),
       ARRAY(SELECT a.attname::text FROM unnest(k.confkey) WITH ORDINALITY u(n, i)
             JOIN pg_attribute a ON a.attrelid = k.confrelid AND a.attnum = u.n ORDER BY u.i)
  FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
  LEFT JOIN pg_class f ON f.oid = k.confrelid
 WHERE k.contype IN ('p', 'u', 'f', 'c') AND {_SYSTEM} ORDER BY k.oid"""
_INDEXES = f"""
SELECT n.nspname, c.relname, x.relname, i.indisunique, i.indpred IS NOT NULL,
       ARRAY(SELECT coalesce(a.attname::text, '<expression>') FROM unnest(i.indkey::int2[]) WITH ORDINALITY u(n, o)
             LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = u.n AND u.n > 0
             WHERE u.o <= i.indnkeyatts ORDER BY u.o)
  FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_class x ON x.oid = i.indexrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE {_SYSTEM} AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid AND k.contype IN ('p', 'u'))
 ORDER BY 1, 2, 3"""
_TRIGGERS = f"""
SELECT n.nspname, c.relname, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
  JOIN pg_namespace n ON n.oid = c.relnamespace WHERE NOT t.tgisinternal AND {_SYSTEM} ORDER BY t.oid"""
_ACTIONS = {"a": "NO ACTION", "r": "RESTRICT", "c": "CASCADE", "n": "SET NULL", "d": "SET DEFAULT"}
_BOOLEAN, _CHAR, _INET = 16, 1042, 869


def plain_name(table: str) -> str:
    return table.replace('"', "").removeprefix("public.").lower()


class Through:
    """A cursor for what is read here, in a transaction of another driver than psycopg2."""

    def __init__(self, query: Query, casting: Any) -> None:
        """``casting`` is a cursor of psycopg2, in whose place the values are cast."""
        self.casting = casting
        self._query = query
        self._rows: list[tuple[Any, ...]] = []

    @property
    def connection(self) -> Through:
        return self

    def get_transaction_status(self) -> int:
        return ext.TRANSACTION_STATUS_INTRANS

    def execute(self, sql: str, params: Sequence[str] = ()) -> None:
        self._rows = self._query(sql, params)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return self._rows

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return iter(self._rows)


@dataclass(frozen=True, slots=True)
class Reader:
    """How the columns of one table are read as text: the expressions, and psycopg2's casts of the text."""

    columns: tuple[str, ...]
    values: tuple[str, ...]
    casts: tuple[Any, ...]

    @classmethod
    def of(cls, columns: Sequence[tuple[str, int]]) -> Reader:
        # a cast to text would spell booleans out, drop the padding of CHAR(n) and write the mask of each
        # address: format() does not
        values = tuple(
            f"CASE WHEN {quoted(name)} IS NOT NULL THEN format('%s', {quoted(name)}) END"
            if oid in (_BOOLEAN, _CHAR, _INET)
            else f"{quoted(name)}::text"
            for name, oid in columns
        )
        return cls(
            tuple(name for name, _ in columns), values, tuple(ext.string_types.get(oid) for _, oid in columns)
        )

    def row(self, values: Sequence[str | None], cursor: Any) -> tuple[Any, ...]:
        """Return a row as psycopg2 gives it."""
        cursor = getattr(cursor, "casting", cursor)
        return tuple(
            value if cast is None or value is None else cast(value, cursor)
            for value, cast in zip(values, self.casts, strict=True)
        )


def stream(cursor: Any, table: str, reader: Reader) -> Iterator[tuple[Any, ...]]:
    """Yield the rows of a large table, which neither the client nor the server holds as a whole."""
    alone = cursor.connection.get_transaction_status() == ext.TRANSACTION_STATUS_IDLE
    if alone:
        cursor.execute("BEGIN")
    cursor.execute(
        f"DECLARE dualdb_rows NO SCROLL CURSOR FOR SELECT ARRAY[{', '.join(reader.values)}]::text[] FROM {table}"
    )
    while True:
        cursor.execute(f"FETCH {CHUNK_ROWS} FROM dualdb_rows")
        fetched = cursor.fetchall()
        if not fetched:
            break
        for (values,) in fetched:
            yield reader.row(values, cursor)
    cursor.execute("CLOSE dualdb_rows")
    if alone:
        cursor.execute("COMMIT")


def read_catalog(cursor: Any) -> Catalog:
    """Return the schema of the cursor's database."""
    columns: dict[str, list[Column]] = {}
    names: dict[str, str] = {}

    def key(schema: str, table: str) -> str:
        return table.lower() if schema == "public" else f"{schema}.{table}".lower()

    cursor.execute(_COLUMNS)
    for schema, table, *column in cursor.fetchall():
        names[key(schema, table)] = table
        columns.setdefault(key(schema, table), []).append(Column(*column))
    found: dict[str, dict[str, list[Any]]] = {
        name: {"p": [], "u": [], "f": [], "c": [], "index": [], "trigger": []} for name in columns
    }
    cursor.execute(_CONSTRAINTS)
    for schema, table, kind, other, delete, update, deferrable, text, own, referenced in cursor.fetchall():
        made: Any = tuple(own)
        if kind == "f":
            made = ForeignKey(
                tuple(own), other, tuple(referenced), _ACTIONS[delete], _ACTIONS[update], deferrable
            )
        elif kind == "c":
            made = text
        found[key(schema, table)][kind].append(made)
    cursor.execute(_INDEXES)
    for schema, table, name, unique, partial, over in cursor.fetchall():
        if key(schema, table) in found:
            found[key(schema, table)]["index"].append(Index(name, tuple(over), unique, partial))
    cursor.execute(_TRIGGERS)
    for schema, table, text in cursor.fetchall():
        found[key(schema, table)]["trigger"].append(text)
    return Catalog(
        {
            name: Table(
                names[name], tuple(own), next(iter(found[name]["p"]), ()), tuple(found[name]["u"]),
                tuple(found[name]["index"]), tuple(found[name]["f"]), tuple(found[name]["c"]),
                tuple(found[name]["trigger"]),
            )
            for name, own in columns.items()
        }
    )  # fmt: skip


def read_settings(cursor: Any) -> list[str]:
    """Return the statements that give a copy of the cursor's database the settings that CREATE DATABASE leaves out."""
    cursor.execute(
        "SELECT format('ALTER %s DATABASE %I SET %s TO ',"
        "   CASE WHEN setrole = 0 THEN '' ELSE format('ROLE %s IN', setrole::regrole) END, current_database(), name),"
        "  name, value FROM pg_db_role_setting, unnest(setconfig) AS c(text),"
        "  LATERAL (SELECT split_part(text, '=', 1), substr(text, strpos(text, '=') + 1)) AS p(name, value)"
        " WHERE setdatabase = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    return [
        # a list is stored as it is written, with its names quoted (guc.h: GUC_LIST_QUOTE)
        begin.replace("ALTER  DATABASE", "ALTER DATABASE")
        + (value if name in _LISTS and value else ext.adapt(value).getquoted().decode())
        for begin, name, value in cursor.fetchall()
    ]


_LISTS = {"search_path", "temp_tablespaces", "local_preload_libraries", "session_preload_libraries"}
