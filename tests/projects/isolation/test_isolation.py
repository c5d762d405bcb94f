"""Every test leaves a mess of its own, and finds nothing of the others'."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import signal
import sqlite3
import threading
import time

import psycopg2
import psycopg2.extras
import pytest
import sqlalchemy

ISOLATION = os.environ.get("ISOLATION", "reset")
REFUSED = (sqlite3.Error, psycopg2.Error, sqlalchemy.exc.DBAPIError) if ISOLATION == "rollback" else ()
"""What can't be done within a transaction fails there."""
LEAKED = []
"""What the application forgot to close; stays until the process ends."""
SEEN = {}
"""A digest of the catalogs of PostgreSQL as the first half finds them."""


def driver(db):
    return sqlite3 if db.backend == "sqlite" else psycopg2


def open_own(db, **arguments):
    """Open a connection as an application does, without the fixture's help; with `rollback`, by the fixture's."""
    if db.backend == "sqlite":
        arguments.setdefault("timeout", 0.2)
    if ISOLATION == "rollback":
        return db.connect(**arguments)
    return driver(db).connect(db.path or db.dsn, **arguments)


def digest(db):
    """Return a digest of each catalog: what is in it, apart from what TRUNCATE and VACUUM change."""
    physical = "relfilenode|relpages|reltuples|relallvisible|relallfrozen|relfrozenxid|relminmxid"
    big = "attribute|class|collation|depend|description|operator|proc|rewrite|type"
    columns = (
        "SELECT string_agg(quote_ident(attname), ',' ORDER BY attnum) FROM pg_attribute"
        f" WHERE attrelid = c.oid AND attnum > 0 AND attname !~ '^({physical})$'"
    )
    tables = db.fetchall(
        f"SELECT c.oid::regclass::text, ({columns}) FROM pg_class c"
        " WHERE relkind = 'r' AND relname ~ '^pg_' AND oid < 16384 AND NOT relisshared ORDER BY 1"
    )
    parts = [
        f"SELECT '{name}', sum(hashtext(row({listed})::text))"
        + (f" FILTER (WHERE {listed.split(',')[0]} >= 16384)" if re.fullmatch(f"pg_({big})", name) else "")
        + f", count(*) FROM {name}"
        + (" WHERE nspname !~ '^pg_(toast_)?temp_'" if name == "pg_namespace" else "")
        for name, listed in tables
    ]
    found = db.fetchall(" UNION ALL ".join(parts))
    shared = db.fetchall(
        "SELECT 'settings', setrole::text, setconfig::text FROM pg_db_role_setting JOIN pg_database d ON d.oid = setdatabase"
        " WHERE datname = current_database() UNION ALL"
        " SELECT 'database', datacl::text, datconnlimit::text FROM pg_database WHERE datname = current_database() UNION ALL"
        " SELECT 'comment', description, '' FROM pg_shdescription JOIN pg_database d ON d.oid = objoid WHERE datname = current_database()"
    )
    return found, shared


def run(connection, *texts):
    cursor = connection.cursor()
    for text in texts:
        cursor.execute(text)
    return cursor


@pytest.fixture(autouse=True)
def fresh(db):
    """Look at everything that another test could have left."""
    assert db.tables() == ["audit", "child", "model", "seed"]
    # without an order: as a fresh table gives them
    assert db.fetchall("SELECT id, name, amount FROM seed") == [(1, "c", 0), (2, "a", 0), (3, "b", 0)]
    assert db.fetchall("SELECT id, seed_id FROM child") == [(1, 2)]
    assert db.fetchall("SELECT what FROM audit") == [("child",)]
    assert db.fetchall("SELECT id, name FROM model") == [(1, "first"), (2, "second")]
    assert db.fetchall("SELECT name FROM names ORDER BY name") == [("a",), ("b",), ("c",)]
    if db.backend == "sqlite":
        assert dict(db.fetchall("SELECT name, seq FROM sqlite_sequence")) == {"seed": 3, "child": 1}
        objects = "SELECT type, name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%' ORDER BY 2"
        assert db.fetchall(objects) == [
            ("table", "audit"), ("table", "child"), ("index", "child_seed"), ("table", "model"), ("view", "names"),
            ("table", "seed"), ("trigger", "seed_audit"),
        ]  # fmt: skip
        pragmas = {
            "user_version": 0,
            "application_id": 0,
            "foreign_keys": 0,
            "query_only": 0,
            "freelist_count": 0,
            "page_size": 4096,
            "auto_vacuum": 0,
            "locking_mode": "normal",
            "busy_timeout": 5000,
        }
        assert {name: db.scalar(f"PRAGMA {name}") for name in pragmas} == pragmas
        assert [row[1] for row in db.fetchall("PRAGMA database_list")] == ["main"]
        if WAL not in LEAKED:
            # it stays while an application holds a connection that is in this mode and has to go on working
            assert db.scalar("PRAGMA journal_mode") == "delete"
        assert db.connection.row_factory is None
        assert db.connection.text_factory is str
        assert db.scalar("SELECT upper('x')") == "X"
    else:
        assert db.scalar("SELECT last_value FROM seed_id_seq") == 3
        assert db.scalar("SELECT last_value FROM child_id_seq") == 1
        assert db.scalar("SELECT last_value FROM model_id_seq") == 2
        for query, expected in {
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace": 13,
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace": 1,
            "SELECT count(*) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')": 1,
            "SELECT count(*) FROM pg_namespace WHERE nspname !~ '^pg_|^information_schema$'": 1,
            "SELECT count(*) FROM pg_largeobject_metadata": 0,
            "SELECT count(*) FROM pg_description WHERE objoid = 'seed'::regclass": 0,
            "SELECT count(*) FROM pg_policy": 0,
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'seed'::regclass AND attnum > 0": 3,
            "SELECT count(*) FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f')": 5,
            "SELECT count(*) FROM pg_trigger WHERE NOT tgisinternal": 1,
            "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
            " AND datname = current_database()": 0,
            "SELECT current_setting('search_path') || current_user": db.scalar(
                "SELECT '\"$user\", public' || session_user"
            ),
        }.items():
            assert db.scalar(query) == expected, query
        now = digest(db)
        assert now == SEEN.setdefault("digest", now)
        assert db.scalar("SHOW transaction_isolation") == "read committed"
        assert (db.connection.autocommit, db.connection.isolation_level) == (False, None)
    db.connection.rollback()
    db.connection.close()
    db._connection = None


def on_both(*texts):
    """Return a mess that the application's own connection commits."""

    def mess(db):
        connection = open_own(db)
        run(connection, *texts)
        connection.commit()
        connection.close()

    return mess


def fixture_connection(db):
    with db.transaction():
        db.execute("INSERT INTO seed (name) VALUES ('own')")
        db.execute("DELETE FROM model")


def uncommitted(db):
    db.execute("INSERT INTO seed (name) VALUES ('own')")


def thread(db):
    thread = threading.Thread(target=on_both("INSERT INTO seed (name) VALUES ('thread')"), args=(db,))
    thread.start()
    thread.join()


def open_transaction(db):
    connection = open_own(db)
    run(connection, "INSERT INTO seed (name) VALUES ('open')", "UPDATE seed SET amount = 5")
    LEAKED.append(connection)


def open_transaction_in_a_thread(db):
    def work():
        connection = open_own(db)
        run(connection, "INSERT INTO seed (name) VALUES ('open')")
        LEAKED.append(connection)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()


def pending_select(db):
    connection = open_own(db)
    cursor = run(connection, "SELECT * FROM seed")
    cursor.fetchone()
    LEAKED.append(cursor)
    on_both("INSERT INTO audit VALUES ('pending')")(db) if db.backend == "postgres" else None


def pending_returning(db):
    connection = open_own(db)
    cursor = run(connection, "INSERT INTO seed (name) VALUES ('x'), ('y') RETURNING id")
    cursor.fetchone()
    LEAKED.append(cursor)


def committed_pending(db):
    connection = open_own(db)
    run(connection, "DELETE FROM seed WHERE id = 1")
    connection.commit()
    cursor = run(connection, "SELECT * FROM seed")
    cursor.fetchone()
    LEAKED.append((connection, cursor))


def named_cursor(db):
    if db.backend == "postgres":
        connection = open_own(db)
        cursor = connection.cursor("named", withhold=True)
        cursor.execute("SELECT * FROM seed")
        cursor.fetchone()
        connection.commit()
        LEAKED.append(cursor)


def failed_transaction(db):
    connection = open_own(db)
    with contextlib.suppress(Exception):
        run(connection, "INSERT INTO seed (name) VALUES ('x')", "SELECT * FROM nothing")
    LEAKED.append(connection)


def savepoint(db):
    connection = open_own(db)
    run(connection, "BEGIN", "SAVEPOINT one", "INSERT INTO seed (name) VALUES ('x')")
    LEAKED.append(connection)


def rolled_back_ids(db):
    for _ in range(3):
        run(
            connection := open_own(db),
            "INSERT INTO seed (name) VALUES ('x')",
            "INSERT INTO child (seed_id) VALUES (1)",
        )
        connection.rollback()
        connection.close()


def ids_start_again(db):
    with db.transaction():
        assert db.scalar("INSERT INTO seed (name) VALUES ('next') RETURNING id") == 4
        assert db.scalar("INSERT INTO child (seed_id) VALUES (4) RETURNING id") == 2
        assert db.scalar("INSERT INTO model (name) VALUES ('third') RETURNING id") == 3


def physical_order(db):
    with db.transaction():
        for name in "abc":
            db.execute("UPDATE seed SET amount = amount + 1 WHERE name = ?", (name,))
        db.execute("DELETE FROM seed WHERE id = 2")
        db.execute("INSERT INTO seed (id, name) VALUES (2, 'again')")
    on_both("INSERT INTO seed (name) VALUES ('more')")(db)


def temporary_table(db):
    connection = open_own(db)
    run(connection, "CREATE TEMPORARY TABLE seed (n INTEGER)", "INSERT INTO seed VALUES (1)")
    connection.commit()
    LEAKED.append(connection)


def vacuum(db):
    connection = open_own(db)
    if db.backend == "postgres":
        connection.autocommit = True
    run(connection, "DELETE FROM audit")
    connection.commit()
    run(connection, "VACUUM")
    connection.close()


def settings(db):
    connection = open_own(db)
    if db.backend == "sqlite":
        run(
            connection, "PRAGMA user_version = 5", "PRAGMA application_id = 7", "PRAGMA foreign_keys = ON",
            "PRAGMA case_sensitive_like = ON", "PRAGMA query_only = ON",
        )  # fmt: skip
    else:
        run(
            connection, "SET search_path = pg_catalog", "SET TimeZone = 'Asia/Tokyo'", "SET ROLE pg_monitor",
            "SELECT pg_advisory_lock(7)", "LISTEN channel", "PREPARE p AS SELECT 1", "SET statement_timeout = '1s'",
        )  # fmt: skip
    connection.commit()
    LEAKED.append(connection)


def settings_of_the_database(db):
    if db.backend == "sqlite":
        run(open_own(db), "PRAGMA user_version = 9", "PRAGMA auto_vacuum = FULL").connection.close()


def settings_of_the_file(db):
    if db.backend == "sqlite":
        connection = open_own(db, isolation_level=None)
        run(connection, "PRAGMA page_size = 8192", "PRAGMA auto_vacuum = FULL", "VACUUM").connection.close()
    else:
        database, role = db.scalar("SELECT quote_ident(current_database())"), db.scalar("SELECT session_user")
        on_both(
            f"ALTER DATABASE {database} SET search_path = pg_catalog", f"COMMENT ON DATABASE {database} IS 'x'",
            f"GRANT CONNECT ON DATABASE {database} TO pg_monitor", f"ALTER DATABASE {database} CONNECTION LIMIT 90",
            f"ALTER ROLE {role} IN DATABASE {database} SET TimeZone = 'Asia/Tokyo'",
        )(db)  # fmt: skip


def wal_closed(db):
    if db.backend == "sqlite":
        connection = open_own(db)
        run(connection, "PRAGMA journal_mode = WAL", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        connection.close()


def persistent_journal(db):
    if db.backend == "sqlite":
        connection = open_own(db)
        run(connection, "PRAGMA journal_mode = PERSIST", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        connection.close()


WAL = object()


def wal(db):
    if db.backend == "sqlite":
        connection = open_own(db)
        run(connection, "PRAGMA journal_mode = WAL", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        LEAKED.extend([connection, WAL])


def wal_with_a_reader(db):
    if db.backend == "sqlite":
        connection, reader = open_own(db), open_own(db)
        run(connection, "PRAGMA journal_mode = WAL", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        cursor = run(reader, "BEGIN", "SELECT * FROM seed")
        cursor.fetchone()
        run(connection, "INSERT INTO seed (name) VALUES ('more')")
        connection.commit()
        LEAKED.extend([connection, reader, cursor, WAL])


def attach(db):
    if db.backend == "sqlite":
        connection = open_own(db)
        run(connection, "ATTACH ':memory:' AS other", "CREATE TABLE other.seed (n)")
        connection.create_function("upper", 1, lambda text: "mine")
        LEAKED.append(connection)


def exclusive(db):
    if db.backend == "sqlite":
        connection = open_own(db, isolation_level=None)
        run(connection, "BEGIN EXCLUSIVE", "INSERT INTO seed (name) VALUES ('locked')")
        LEAKED.append(connection)
    else:
        connection = open_own(db)
        run(connection, "LOCK TABLE seed IN ACCESS EXCLUSIVE MODE")
        LEAKED.append(connection)


def catalog(db):
    if db.backend == "postgres":
        on_both(
            "CREATE SCHEMA other CREATE TABLE other.t (n int)", "CREATE TYPE mood AS ENUM ('ok')",
            "CREATE DOMAIN positive AS int CHECK (VALUE > 0)", "CREATE SEQUENCE extra", "COMMENT ON TABLE seed IS 'x'",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql AS 'SELECT 1'", "CREATE POLICY p ON seed",
            "CREATE STATISTICS s ON id, name FROM seed", "CREATE MATERIALIZED VIEW m AS SELECT 1 AS n",
            "GRANT SELECT ON seed TO PUBLIC", "CREATE RULE r AS ON DELETE TO audit DO INSTEAD NOTHING",
        )(db)  # fmt: skip


def extensions(db):
    if db.backend == "postgres":
        on_both(
            "CREATE EXTENSION pg_trgm", "CREATE EXTENSION hstore SCHEMA public", "DROP EXTENSION plpgsql CASCADE",
        )(db)  # fmt: skip
    else:
        on_both("CREATE VIRTUAL TABLE words USING fts5(text)", "INSERT INTO words VALUES ('x')")(db)


def enum_value(db):
    if db.backend == "postgres":
        on_both("ALTER TYPE size ADD VALUE 'huge'")(db)
        on_both("ALTER TYPE size RENAME VALUE 'small' TO 'little'")(db)


def comments(db):
    if db.backend == "postgres":
        on_both("COMMENT ON COLUMN seed.name IS 'x'", "COMMENT ON SCHEMA public IS 'y'")(db)


def statistics(db):
    on_both("ANALYZE")(db)


def default_privileges(db):
    if db.backend == "postgres":
        on_both(
            "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO PUBLIC", "ALTER TABLE seed ENABLE ROW LEVEL SECURITY",
            "ALTER TABLE seed REPLICA IDENTITY FULL", "ALTER FUNCTION log() COST 5", "REVOKE ALL ON SCHEMA public FROM PUBLIC",
            "CREATE PUBLICATION p FOR TABLE seed", "CREATE CAST (size AS int) WITH INOUT", "CREATE COLLATION c FROM \"C\"",
        )(db)  # fmt: skip


def rolled_back_schema(db):
    connection = open_own(db)
    run(connection, "BEGIN") if db.backend == "sqlite" else None
    run(
        connection,
        "CREATE TABLE more (n INTEGER)",
        "DROP TABLE child",
        "ALTER TABLE audit ADD COLUMN n INTEGER",
    )
    connection.rollback()
    connection.close()


def role(db):
    if db.backend == "postgres":
        name = f"leaked_{secrets.token_hex(4)}"  # on a server that was given it stays, which the summary says
        on_both(f"CREATE ROLE {name} LOGIN", f"GRANT SELECT ON seed TO {name}", f"SET ROLE {name}")(db)


def deferred(db):
    """Leave a transaction whose deferred constraint is violated."""
    connection = open_own(db)
    if db.backend == "sqlite":
        run(connection, "PRAGMA foreign_keys = ON", "BEGIN", "PRAGMA defer_foreign_keys = ON")
    else:
        run(connection, "ALTER TABLE child ALTER CONSTRAINT child_seed_id_fkey DEFERRABLE INITIALLY DEFERRED")
        connection.commit()
    run(connection, "INSERT INTO child (seed_id) VALUES (90)")
    LEAKED.append(connection)


def modes_of_the_connection(db):
    connection = open_own(db)
    if db.backend == "sqlite":
        connection.row_factory = sqlite3.Row
        connection.text_factory = bytes
        connection.isolation_level = "IMMEDIATE"
        connection.create_function("upper", 1, lambda text: "mine")
        run(
            connection,
            "PRAGMA locking_mode = EXCLUSIVE",
            "PRAGMA cache_size = 10",
            "PRAGMA case_sensitive_like = ON",
        )
    else:
        connection.rollback()
        connection.set_session(isolation_level="SERIALIZABLE", readonly=True, deferrable=True)
        connection.cursor_factory = psycopg2.extras.DictCursor
        run(connection, "SELECT 1")
        connection.rollback()
        connection.autocommit = True
    LEAKED.append(connection)


def modes_of_the_fixture(db):
    """Change the connection that the next half may get from the fixture."""
    if db.backend == "sqlite":
        db.connection.row_factory = sqlite3.Row
        db.connection.isolation_level = None
    else:
        db.connection.autocommit = True
        db.connection.isolation_level = "SERIALIZABLE"
        db.execute("SELECT pg_advisory_lock(9)")
        db.execute("SET session_replication_role = replica")
        db.execute("SET default_transaction_isolation = 'serializable'")
    db.execute("INSERT INTO seed (name) VALUES ('modes')")


def attached_file(db):
    """Reach the database through another one."""
    if db.backend == "sqlite":
        connection = open_own(db) if ISOLATION == "rollback" else sqlite3.connect(":memory:")
        run(connection, f"ATTACH '{db.path}' AS other", "INSERT INTO other.seed (name) VALUES ('attached')")
        connection.commit()
        LEAKED.append(connection)


def running_thread(db):
    """Leave a thread that is in the middle of a statement when the test ends."""

    def work():
        with contextlib.suppress(Exception):
            run(connection, "SELECT pg_sleep(60)" if db.backend == "postgres" else ENDLESS)

    connection = open_own(db, **({} if db.backend == "postgres" else {"check_same_thread": False}))
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    time.sleep(0.05)
    LEAKED.append(connection)


ENDLESS = "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 500000000) SELECT count(*) FROM n, seed"


def crashed_backend(db):
    """Take the connections of all workers down: PostgreSQL starts again within itself."""
    if db.backend == "postgres" and os.environ.get("CRASH") and ISOLATION != "rollback":
        connection = open_own(db)
        run(connection, "INSERT INTO seed (name) VALUES ('crashed')")
        connection.commit()
        os.kill(connection.get_backend_pid(), signal.SIGKILL)
        LEAKED.append(connection)


def large_object(db):
    if db.backend == "postgres":
        on_both("SELECT lo_from_bytea(0, 'x')")(db)


def sequence(db):
    if db.backend == "postgres":
        on_both("SELECT setval('seed_id_seq', 100, false)", "ALTER SEQUENCE child_id_seq RESTART WITH 50")(db)
    else:
        on_both("UPDATE sqlite_sequence SET seq = 100 WHERE name = 'seed'")(db)


def truncate(db):
    if db.backend == "postgres":
        on_both("TRUNCATE seed, child RESTART IDENTITY CASCADE")(db)
    else:
        on_both("DELETE FROM child", "DELETE FROM seed", "DELETE FROM sqlite_sequence")(db)


def constraints(db):
    if db.backend == "postgres":
        on_both(
            "ALTER TABLE seed DROP CONSTRAINT seed_name_key", "ALTER TABLE child DISABLE TRIGGER ALL",
            "ALTER TABLE seed ALTER amount SET DEFAULT 9", "ALTER TABLE audit ADD CHECK (what <> 'x')",
        )(db)  # fmt: skip


def killed_backend(db):
    if db.backend == "postgres":
        first, second = open_own(db), open_own(db)
        run(first, "INSERT INTO seed (name) VALUES ('killed')")
        run(second, f"SELECT pg_terminate_backend({first.get_backend_pid()})")
        LEAKED.extend([first, second])


def used_after_its_test(db):
    """Write with whatever connections earlier tests have left."""
    for leaked in LEAKED:
        for one in leaked if isinstance(leaked, tuple) else (leaked,):
            with contextlib.suppress(Exception):
                run(getattr(one, "connection", one), "INSERT INTO seed (name) VALUES ('from before')")
            with contextlib.suppress(Exception):
                getattr(one, "connection", one).commit()


def engine(db):
    engine = sqlalchemy.create_engine(db.url.replace("postgresql:", "postgresql+psycopg2:"))
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("INSERT INTO model (name) VALUES ('engine')"))
    LEAKED.append(engine)  # its pool keeps the connection


def reset_within(db):
    with db.transaction():
        db.execute("DELETE FROM child")
        db.execute("INSERT INTO seed (name) VALUES ('x')")
    db.reset()
    assert db.fetchall("SELECT id, seed_id FROM child") == [(1, 2)]
    assert db.scalar("INSERT INTO seed (name) VALUES ('again') RETURNING id") == 4
    db.connection.commit()


def script(db):
    db.executescript("INSERT INTO seed (name) VALUES ('script'); CREATE TABLE scripted (n INTEGER);")


def many_rows(db):
    with db.transaction():
        db.executemany("INSERT INTO seed (name) VALUES (?)", [(f"n{n}",) for n in range(3000)])


MESSES = [
    fixture_connection, uncommitted, thread, open_transaction, open_transaction_in_a_thread, pending_select,
    pending_returning, committed_pending, named_cursor, failed_transaction, savepoint, rolled_back_ids, ids_start_again,
    physical_order, temporary_table, vacuum, settings, settings_of_the_database, wal, wal_with_a_reader, attach, exclusive,
    settings_of_the_file, wal_closed, persistent_journal, extensions, enum_value, comments, statistics, default_privileges,
    rolled_back_schema, role, deferred, modes_of_the_connection, modes_of_the_fixture, attached_file, running_thread,
    crashed_backend, catalog, large_object, sequence, truncate, constraints, killed_backend, used_after_its_test, engine, reset_within,
    script, many_rows,
]  # fmt: skip
TEXTS = {
    "inserted": ["INSERT INTO seed (name) VALUES ('x')"],
    "seed deleted": ["DELETE FROM child", "DELETE FROM seed WHERE id = 2"],
    "seed changed": [
        "UPDATE seed SET name = 'z', amount = 7 WHERE id = 1",
        "UPDATE model SET name = 'other'",
    ],
    "all deleted": ["DELETE FROM child", "DELETE FROM seed", "DELETE FROM model", "DELETE FROM audit"],
    "explicit ids": ["INSERT INTO seed (id, name) VALUES (4, 'x'), (90, 'y')"],
    "table": ["CREATE TABLE more (n INTEGER)", "INSERT INTO more VALUES (1)"],
    "table dropped": ["DROP VIEW names", "DROP TABLE child", "DROP TABLE seed"],
    "table made anew": ["DROP TABLE model", "CREATE TABLE model (id INTEGER PRIMARY KEY, name TEXT)"],
    "column": ["ALTER TABLE seed ADD COLUMN more TEXT DEFAULT 'x'", "UPDATE seed SET more = 'y'"],
    "column renamed": ["ALTER TABLE audit RENAME COLUMN what TO happened"],
    "table renamed": ["ALTER TABLE model RENAME TO models"],
    "index": ["CREATE INDEX more ON seed (amount)", "DROP INDEX child_seed"],
    "view": ["DROP VIEW names", "CREATE VIEW more AS SELECT 1 AS n"],
    "rows by a trigger": ["INSERT INTO child (seed_id) VALUES (1)"],
    "one row": ["INSERT INTO audit VALUES ('x')"],
}


@pytest.mark.parametrize("mess", MESSES, ids=lambda mess: mess.__name__)
def test_function(db, mess):
    # a leaked connection that is in WAL mode keeps the file in it, which not every mess goes with
    locked = (sqlite3.OperationalError,) if WAL in LEAKED else ()
    with contextlib.suppress(*REFUSED, *locked):
        mess(db)


@pytest.mark.parametrize("name", TEXTS)
def test_text(db, name):
    with contextlib.suppress(*REFUSED):
        on_both(*TEXTS[name])(db)


@pytest.mark.parametrize("n", range(3))
def test_nothing(db, n):
    pass
