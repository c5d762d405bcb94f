"""Every test leaves a mess of its own, and finds nothing of the others'."""

from __future__ import annotations

import contextlib
import sqlite3
import threading

import psycopg2
import pytest
import sqlalchemy

LEAKED = []
"""What the application forgot to close; stays until the process ends."""


def driver(db):
    return sqlite3 if db.backend == "sqlite" else psycopg2


def open_own(db, **arguments):
    """Open a connection as an application does, without the fixture's help."""
    if db.backend == "sqlite":
        arguments.setdefault("timeout", 0.2)
    return driver(db).connect(db.path or db.dsn, **arguments)


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
        }
        assert {name: db.scalar(f"PRAGMA {name}") for name in pragmas} == pragmas
        assert [row[1] for row in db.fetchall("PRAGMA database_list")] == ["main"]
        # the journal's mode may stay: a pool's connection in WAL mode has to go on working
    else:
        assert db.scalar("SELECT last_value FROM seed_id_seq") == 3
        assert db.scalar("SELECT last_value FROM child_id_seq") == 1
        assert db.scalar("SELECT last_value FROM model_id_seq") == 2
        for query, expected in {
            "SELECT count(*) FROM pg_class WHERE relnamespace = 'public'::regnamespace": 13,
            "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace": 1,
            "SELECT count(*) FROM pg_type WHERE typnamespace = 'public'::regnamespace AND typtype IN ('e', 'd', 'r')": 0,
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


def wal(db):
    if db.backend == "sqlite":
        connection = open_own(db)
        run(connection, "PRAGMA journal_mode = WAL", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        LEAKED.append(connection)


def wal_with_a_reader(db):
    if db.backend == "sqlite":
        connection, reader = open_own(db), open_own(db)
        run(connection, "PRAGMA journal_mode = WAL", "INSERT INTO seed (name) VALUES ('wal')")
        connection.commit()
        cursor = run(reader, "BEGIN", "SELECT * FROM seed")
        cursor.fetchone()
        run(connection, "INSERT INTO seed (name) VALUES ('more')")
        connection.commit()
        LEAKED.extend([connection, reader, cursor])


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
    catalog, large_object, sequence, truncate, constraints, killed_backend, used_after_its_test, engine, reset_within,
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
    mess(db)


@pytest.mark.parametrize("name", TEXTS)
def test_text(db, name):
    on_both(*TEXTS[name])(db)


@pytest.mark.parametrize("n", range(3))
def test_nothing(db, n):
    pass
