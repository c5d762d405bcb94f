"""Rules about what stands between a statement and the tables: views and triggers."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import bare, said, sole_error

_NOTES = (
    "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO note VALUES (1, 'a'), (2, 'b');"
    " CREATE VIEW notes AS SELECT * FROM note;"
)
_BOTH = frozenset({"rows", "state", "rowcount", "error", "outcome"})


class ViewWrite(Rule):
    """INSERT, UPDATE or DELETE on a view.

    What differs:
        PostgreSQL writes through a view of one table; SQLite fails (cannot modify notes because it is a
        view).

    Why:
        Views are read-only in SQLite unless INSTEAD OF triggers say what a write means.

    Instead:
        The table itself:

            UPDATE note SET body = ? WHERE id = ?

    References:
        https://www.sqlite.org/lang_createview.html
        https://www.postgresql.org/docs/current/sql-createview.html#SQL-CREATEVIEW-UPDATABLE-VIEWS
    """

    name = "view-write"
    title = "writing through a view works on PostgreSQL only"
    instead = "write the table; or an INSTEAD OF trigger in the SQLite schema"
    kinds = frozenset({"error", "outcome"})
    specimens = (
        Specimen([("INSERT INTO notes (id, body) VALUES (?, ?)", (3, "c")), "COMMIT"], _NOTES),
        Specimen(["DELETE FROM notes WHERE id = 1", "COMMIT"], _NOTES),
    )
    near_misses = (Specimen(["DELETE FROM note WHERE id = 1", "COMMIT"], _NOTES),)

    def matches(self, evidence: Evidence) -> bool:
        return said(sole_error(evidence, "sqlite"), r"^cannot modify .* because it is a view") is not None


class ViewColumns(Rule):
    """A view whose table got another column, or whose column got another name, after the view was made.

    What differs:
        On SQLite a view with * shows the new column at once, and a renamed column's new name; on PostgreSQL
        the view keeps the columns and the names that it had.

    Why:
        SQLite keeps a view as text and reads it anew. PostgreSQL keeps what the text meant.

    Instead:
        Columns by name, in the view and from it, and the view made again after ALTER TABLE:

            SELECT id, body FROM notes

    References:
        https://www.sqlite.org/lang_createview.html
        https://www.postgresql.org/docs/current/sql-createview.html
    """

    name = "view-columns"
    title = "a view follows later changes of its table on SQLite only"
    instead = "name the columns in the view, and make it again after ALTER TABLE"
    kinds = frozenset({"columns", "rows", "observed", "error", "outcome"})
    priority = 2
    specimens = (
        Specimen(["ALTER TABLE note ADD COLUMN n INTEGER", "SELECT * FROM notes", "COMMIT"], _NOTES),
        Specimen(["ALTER TABLE note RENAME COLUMN body TO text", "SELECT text FROM notes", "COMMIT"], _NOTES),
    )
    near_misses = (
        Specimen(
            ["ALTER TABLE note ADD COLUMN n INTEGER", "SELECT id, body FROM notes ORDER BY id", "COMMIT"],
            _NOTES,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        read = syntax.tables(evidence.text)
        catalogs = [evidence.catalogs.get(backend) for backend in BACKENDS]
        views = {name for name in read if all(c is not None and c.table(name) is None for c in catalogs)}
        if not views or not any(_altered(evidence)):
            return False
        if evidence.kind in ("error", "outcome"):
            return any(said(sole_error(evidence, b), "column") is not None for b in BACKENDS)
        left, right = (evidence.statement(backend) for backend in BACKENDS)
        return left is not None and right is not None and left.columns != right.columns


class ViewText(Rule):
    """Rows from a view that differ.

    What differs:
        A view gives other rows on one side, though the statement only reads it.

    Why:
        The two schemas define the view in different words, or its text holds an expression that the
        databases read differently; a report shows the statement, not the view's text.

    Instead:
        Compare the two definitions (`dualdb schema`), and run the view's own query in a test, so that its
        expressions are seen:

            SELECT id, body FROM note WHERE body <> 'b'

    References:
        https://www.sqlite.org/lang_createview.html
        https://www.postgresql.org/docs/current/sql-createview.html
    """

    name = "view-text"
    title = "a view gives other rows"
    instead = "compare the view's two definitions, and test its own query"
    kinds = frozenset({"rows", "order"})
    priority = -15
    _OPEN: Mapping[str, str] = {
        backend: "CREATE TABLE note (id INTEGER PRIMARY KEY, body TEXT); INSERT INTO note VALUES (1, 'a'), (2, 'b');"
        f" CREATE VIEW open_note AS SELECT id FROM note WHERE {condition};"
        for backend, condition in (("sqlite", "body <> 'b'"), ("postgres", "body <> 'a'"))
    }
    specimens = (
        Specimen(["SELECT id FROM open_note"], _OPEN),
        Specimen(["SELECT count(*) AS n, max(id) AS last FROM open_note"], _OPEN),
    )
    near_misses = (
        Specimen(["SELECT id FROM note ORDER BY id"], _OPEN),
        Specimen(
            [{"sqlite": "WITH n AS (SELECT 1 AS x) SELECT x FROM n",
              "postgres": "WITH n AS (SELECT 2 AS x) SELECT x FROM n"}], _OPEN,
            ("dialect-branch",),
        ),
    )  # fmt: skip

    def matches(self, evidence: Evidence) -> bool:
        statements = [evidence.sql(backend) for backend in BACKENDS]
        if not all(statements) or syntax.tables(statements[0]) != syntax.tables(statements[1]):
            return False
        catalogs = [evidence.catalogs.get(backend) for backend in BACKENDS]
        if not all(catalog is not None and catalog.tables for catalog in catalogs):
            return False
        text = bare(statements[0])
        common = r"(\w+)\W*(?:\([^()]*\)\s*)?\bAS\s+(?:NOT\s+|MATERIALIZED\s+)*\("
        made = {name.lower() for name in re.findall(common, text, re.I)}
        for backend in BACKENDS:
            for statement in evidence.recordings[backend].statements:
                made |= syntax.defined_tables(statement.sql)
        return any(
            all(catalog is not None and catalog.table(name) is None for catalog in catalogs)
            and not name.startswith(("sqlite_", "pg_"))
            and re.search(rf"(?<![\w.]){re.escape(name)}\b\"?(?!\s*[.(])", text, re.I)
            for name in syntax.tables(statements[0]) - made
        )


def _altered(evidence: Evidence) -> Iterator[bool]:
    for backend in BACKENDS:
        for statement in evidence.before(backend):
            yield re.match(r"\s*ALTER\s+TABLE\b.*\b(ADD|RENAME)\b", statement.sql, re.I | re.S) is not None


_PLAIN = (
    "CREATE TABLE stock (id INTEGER PRIMARY KEY, n INTEGER); CREATE TABLE log (what TEXT);"
    " INSERT INTO stock VALUES (1, 5), (2, 7);"
)
_FUNCTION = (
    " CREATE FUNCTION noted() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {body} END $$;"
    " CREATE TRIGGER noted {when} FOR EACH {each} EXECUTE FUNCTION noted();"
)
_COUNTED = {
    "sqlite": _PLAIN + " CREATE TRIGGER noted AFTER UPDATE ON stock BEGIN INSERT INTO log VALUES ('u'); END;",
    "postgres": _PLAIN
    + _FUNCTION.format(
        body="INSERT INTO log VALUES ('u'); RETURN NULL;", when="AFTER UPDATE ON stock", each="STATEMENT"
    ),
}
_ONE_SIDE = {
    "sqlite": _PLAIN,
    "postgres": _PLAIN
    + _FUNCTION.format(body="NEW.n := 0; RETURN NEW;", when="BEFORE UPDATE ON stock", each="ROW"),
}
_REFUSED = {
    "sqlite": _PLAIN + " CREATE TRIGGER noted BEFORE DELETE ON stock BEGIN SELECT RAISE(IGNORE); END;",
    "postgres": _PLAIN
    + _FUNCTION.format(body="RAISE EXCEPTION 'kept';", when="BEFORE DELETE ON stock", each="ROW"),
}
_SAME = {
    "sqlite": _PLAIN + " CREATE TRIGGER noted AFTER DELETE ON stock BEGIN INSERT INTO log VALUES ('d'); END;",
    "postgres": _PLAIN
    + _FUNCTION.format(
        body="INSERT INTO log VALUES ('d'); RETURN NULL;", when="AFTER DELETE ON stock", each="ROW"
    ),
}


class TriggerDiffers(Rule):
    """A trigger that does another thing on the other database, or is there on one only.

    What differs:
        What a write leaves behind, what it counts or returns, or whether it is refused: SQLite's triggers run
        for each row, PostgreSQL's for each row or once for each statement; RETURNING shows what an AFTER
        trigger changes on neither, what a BEFORE trigger changes on PostgreSQL; RAISE(IGNORE) leaves a row
        out silently, RAISE EXCEPTION fails (P0001).

    Why:
        Triggers are written once for each database, in two languages.

    Instead:
        The same trigger on both, for each row and at the same time, or what it does in the application:

            INSERT INTO log SELECT 'u' FROM stock WHERE n > 5

    References:
        https://www.sqlite.org/lang_createtrigger.html
        https://www.postgresql.org/docs/current/sql-createtrigger.html
    """

    name = "trigger-differs"
    title = "a trigger does another thing on the other database"
    instead = "FOR EACH ROW and the same timing on both, or do it in the application"
    kinds = _BOTH
    priority = -20
    specimens = (
        Specimen(["UPDATE stock SET n = n + 1", "SELECT count(*) AS n FROM log", "COMMIT"], _COUNTED),
        Specimen(["UPDATE stock SET n = 3 WHERE id = 1", "COMMIT"], _ONE_SIDE),
        Specimen(["DELETE FROM stock WHERE id = 1", "COMMIT"], _REFUSED),
    )
    near_misses = (
        Specimen(["DELETE FROM stock WHERE id = 1", "SELECT what FROM log", "COMMIT"], _SAME),
        Specimen(["UPDATE stock SET n = 0 WHERE id = 1", "COMMIT"], _ONE_SIDE),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind in ("error", "outcome"):
            return self._raised(evidence)
        concerned = syntax.tables(evidence.text)
        if evidence.divergence.table is not None:
            concerned |= {evidence.divergence.table}
        fired = self._triggered(evidence) & self._written(evidence)
        return any(table in concerned or self._reached(evidence, table, concerned) for table in fired)

    def _triggered(self, evidence: Evidence) -> set[str]:
        """Return the tables that have a trigger on either backend."""
        return {
            name.lower()
            for catalog in evidence.catalogs.values()
            for name, table in catalog.tables.items()
            if table.triggers
        }

    def _written(self, evidence: Evidence) -> set[str]:
        """Return the tables that the halves wrote."""
        written: set[str] = set()
        for recording in evidence.recordings.values():
            for statement in recording.statements:
                written |= syntax.written_tables(statement.sql)
        return written

    def _reached(self, evidence: Evidence, table: str, concerned: frozenset[str]) -> bool:
        """Return whether the trigger's text names a table concerned; PostgreSQL's is in a function."""
        texts = [
            text.lower()
            for catalog in evidence.catalogs.values()
            if (found := catalog.table(table)) is not None
            for text in found.triggers
        ]
        return any(name in syntax.written_tables(text) for text in texts for name in concerned) or not any(
            name in self._written(evidence) for name in concerned
        )

    def _raised(self, evidence: Evidence) -> bool:
        if sole_error(evidence, "postgres", "P0001") is not None:
            return True
        failure = sole_error(evidence, "sqlite")
        if failure is None or failure.short_name != "IntegrityError" or said(failure, "constraint failed"):
            return False
        return bool(syntax.written_tables(evidence.text) & self._triggered(evidence))
