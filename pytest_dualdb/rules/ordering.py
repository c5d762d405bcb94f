"""Rules about the order of rows: NULLs first or last, ties, no order at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar

from pytest_dualdb import syntax
from pytest_dualdb.recording import Backend
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import queries, stored_rows, suspects, values_at
from pytest_dualdb.values import loose_key

_TASKS = (
    "CREATE TABLE tasks (id INTEGER PRIMARY KEY, title TEXT, due DATE, weight INTEGER);"
    " INSERT INTO tasks VALUES (1, 'a', NULL, 5), (2, 'b', '2024-05-01', NULL), (3, 'c', '2024-06-01', 5);"
)
_OTHER_TASKS = {
    "sqlite": _TASKS + " INSERT INTO tasks VALUES (4, 'd', '2024-07-01', 6);",
    "postgres": _TASKS + " INSERT INTO tasks VALUES (6, 'f', '2024-08-01', 7);",
}
"""Tasks of which one has another number, for no reason of the databases'."""
_NEVER_KNOWN = {
    backend: script + " ALTER TABLE tasks ADD COLUMN extra INTEGER;"
    for backend, script in _OTHER_TASKS.items()
}


def _trees(evidence: Evidence) -> list[Any]:
    found: list[Any] = []
    for backend in ("sqlite", "postgres"):
        for statement in suspects(evidence, backend):
            found += [query.tree for query in queries(statement, backend)]
    return found


class NullOrdering(Rule):
    """ORDER BY something that can be NULL, without NULLS FIRST or NULLS LAST.

    What differs:
        Ascending, SQLite puts NULLs first and PostgreSQL last; descending the reverse. With LIMIT other rows
        come; in a window function other rows get the numbers.

    Why:
        The standard leaves it to the database. SQLite takes NULL for the smallest value, PostgreSQL for the
        largest.

    Instead:
        Say it (SQLite 3.30 and later):

            SELECT id FROM tasks ORDER BY due NULLS LAST, id

        or, on every version, sort by `due IS NULL` first:

            SELECT id FROM tasks ORDER BY CASE WHEN due IS NULL THEN 1 ELSE 0 END, due, id

    References:
        https://www.sqlite.org/lang_select.html#orderby
        https://www.postgresql.org/docs/current/queries-order.html
    """

    name = "null-ordering"
    title = "NULLs sort first on SQLite, last on PostgreSQL"
    instead = "ORDER BY column NULLS LAST (or NULLS FIRST)"
    kinds = frozenset({"order", "rows", "state", "rowcount"})
    priority = 2
    specimens = (
        Specimen(["SELECT id FROM tasks ORDER BY due"], _TASKS),
        Specimen(["SELECT title FROM tasks ORDER BY weight DESC, id"], _TASKS),
        Specimen(["SELECT t.id FROM tasks AS t ORDER BY t.due LIMIT 1"], _TASKS),
        Specimen(["SELECT id, row_number() OVER (ORDER BY due) AS n FROM tasks ORDER BY id"], _TASKS),
        Specimen(["SELECT weight AS w, count(*) FROM tasks GROUP BY weight ORDER BY 1"], _TASKS),
        Specimen(["SELECT id, lower(due || '') AS d FROM tasks ORDER BY d"], _TASKS),
        Specimen(
            ["SELECT t.id FROM tasks t LEFT JOIN tasks o ON o.id = t.weight ORDER BY o.title, t.id"],
            _TASKS + " INSERT INTO tasks VALUES (5, 'e', NULL, 1), (0, 'z', NULL, NULL);",
        ),
        Specimen(["SELECT 1 AS n UNION SELECT NULL ORDER BY n"]),
        Specimen(
            ["SELECT id FROM tasks WHERE id IN (SELECT id FROM tasks ORDER BY due LIMIT 1) AND id > 1"],
            _TASKS,
        ),
        Specimen([lambda db: db.fetchone("SELECT id FROM tasks ORDER BY due, id")], _TASKS),
        Specimen(["SELECT id FROM tasks ORDER BY CASE WHEN id > 1 THEN id END, id"], _TASKS),
        Specimen(
            ["DELETE FROM tasks WHERE id = (SELECT id FROM tasks ORDER BY due LIMIT 1)", "COMMIT"], _TASKS
        ),
    )
    near_misses = (
        Specimen(["SELECT id FROM tasks ORDER BY due NULLS LAST, id"], _TASKS),
        Specimen(["SELECT id FROM tasks WHERE due IS NOT NULL ORDER BY due DESC"], _TASKS),
        Specimen(["SELECT id FROM tasks ORDER BY coalesce(weight, 0), id"], _TASKS),
        Specimen(["SELECT id FROM tasks ORDER BY due NULLS LAST, id"], _OTHER_TASKS, ("seed-rows",)),
        Specimen(["SELECT id FROM tasks ORDER BY due DESC NULLS FIRST, id"], _OTHER_TASKS, ("seed-rows",)),
        Specimen(["SELECT id FROM tasks ORDER BY coalesce(weight, 0), id"], _OTHER_TASKS, ("seed-rows",)),
        Specimen(["SELECT weight IS NULL AS n, id FROM tasks ORDER BY n, 2"], _OTHER_TASKS, ("seed-rows",)),
        Specimen(["SELECT id FROM tasks ORDER BY extra, id DESC LIMIT 1"], _NEVER_KNOWN, ("seed-rows",)),
        Specimen(
            ["SELECT o.id FROM tasks t LEFT JOIN tasks o ON o.id = t.id ORDER BY t.id"],
            _OTHER_TASKS,
            ("seed-rows",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        from sqlglot import expressions as exp

        for tree in _trees(evidence):
            for order in tree.find_all(exp.Order):
                for term in order.expressions:
                    if isinstance(term, exp.Ordered) and self._null(evidence, tree, term):
                        if evidence.kind == "order":
                            return self._moved(evidence, tree, order)
                        # the order of a whole result has no say in which rows there are
                        whole = order.parent is tree and evidence.kind == "rows" and _whole(evidence)
                        return not whole
        return False

    def _null(self, evidence: Evidence, tree: Any, term: Any) -> bool:
        """Return whether the key says nothing about NULLs and holds one, as far as is known."""
        if self._says_where(evidence, term):
            return False
        from sqlglot import expressions as exp

        node = _resolved(tree, term.this)
        columns = [node] if isinstance(node, exp.Column) else list(node.find_all(exp.Column))
        if isinstance(node, exp.Column) and self._nothing_else(evidence, node.name.lower()):
            return False
        if _shown_null(evidence, tree, term):
            return True
        if isinstance(node, exp.Coalesce | exp.Count | exp.Is | exp.Literal):
            return False
        if isinstance(node, exp.Case) and node.args.get("default") is None:
            return True
        if any(_outer(tree, column) for column in columns):
            return True
        text = evidence.text
        return any(
            row.get(column.name.lower(), "") is None
            for column in columns
            for row in (*stored_rows(evidence, text), *stored_rows(evidence, evidence.sql("sqlite")))
        )

    def _nothing_else(self, evidence: Evidence, column: str) -> bool:
        """Return whether the column holds NULL in every row that is known: then it arranges nothing."""
        known = [row[column] for row in stored_rows(evidence, evidence.text) if column in row]
        return bool(known) and all(value is None for value in known)

    def _says_where(self, evidence: Evidence, term: Any) -> bool:
        """Return whether NULLS FIRST or LAST follows the term: the parser drops what is the default."""
        word = re.escape(term.this.name or term.this.sql())
        return (
            re.search(rf"{word}\"?\)*(\s+(ASC|DESC))?\s+NULLS\s+(FIRST|LAST)", evidence.text, re.I)
            is not None
        )

    def _moved(self, evidence: Evidence, tree: Any, order: Any) -> bool:
        """Return whether the rows with NULL in the key are what moved, where the key is among the columns."""
        sqlite, postgres = evidence.sqlite, evidence.postgres
        if sqlite is None or postgres is None:
            return True
        for side in (sqlite, postgres):
            columns = side.columns or ()
            shape = syntax.shape(side.sql, "postgres", columns)
            if not shape.keys or any(key.column is None for key in shape.keys) or shape.limited:
                return True
            shown = [index for key in shape.keys if (index := key.column) is not None]
            if any(row[index] is None for row in side.values for index in shown if index < len(row)):
                return True
        return False


def _whole(evidence: Evidence) -> bool:
    """Return whether the statement asks for all rows, and the application fetched them."""
    sides = [side for side in (evidence.sqlite, evidence.postgres) if side is not None]
    limited = any(syntax.shape(side.sql, "postgres", side.columns or ()).limited for side in sides)
    return not limited and all(side.fetched == "all" for side in sides)


def _outer(tree: Any, column: Any) -> bool:
    """Return whether the column belongs to the side of an outer join that can be missing."""
    from sqlglot import expressions as exp

    for join in tree.find_all(exp.Join):
        side = (join.side or "").upper()
        if side == "FULL" or (
            side == "LEFT" and column.table and join.this.alias_or_name.lower() == column.table.lower()
        ):
            return True
        if side == "RIGHT" and column.table and join.this.alias_or_name.lower() != column.table.lower():
            return True
    return False


def _resolved(tree: Any, node: Any) -> Any:
    """Return what an ORDER BY term stands for: the selected expression of that number or alias."""
    from sqlglot import expressions as exp

    selects = getattr(tree, "selects", None) or []
    if isinstance(node, exp.Literal) and node.this.isdigit() and 0 < int(node.this) <= len(selects):
        return selects[int(node.this) - 1].unalias()
    if isinstance(node, exp.Column) and not node.table:
        for selected in selects:
            if selected.alias and selected.alias.lower() == node.name.lower():
                return selected.unalias()
    return node


def _shown_null(evidence: Evidence, tree: Any, term: Any) -> bool:
    """Return whether the result shows a NULL in the column that it is sorted by."""
    statement = evidence.sqlite
    if statement is None or not statement.columns:
        return False
    from sqlglot import expressions as exp

    lowered = [column.lower() for column in statement.columns]
    if isinstance(term.this, exp.Literal) and term.this.this.isdigit():
        index = int(term.this.this) - 1
    elif isinstance(term.this, exp.Column) and term.this.name.lower() in lowered:
        index = lowered.index(term.this.name.lower())
    else:
        return False
    sides = [s for s in (evidence.sqlite, evidence.postgres) if s is not None]
    return any(index < len(row) and row[index] is None for side in sides for row in side.values)


class OrderTies(Rule):
    """ORDER BY keys that several rows share.

    What differs:
        Rows with equal keys come in another order, and with LIMIT, OFFSET or fetchone() other rows come.

    Why:
        Neither database promises anything within equal keys; SQLite often shows the order of insertion,
        PostgreSQL that of its plan.

    Instead:
        A last key that is unique:

            SELECT title FROM tasks ORDER BY weight NULLS LAST, id

    References:
        https://www.sqlite.org/lang_select.html#orderby
        https://www.postgresql.org/docs/current/queries-order.html
    """

    name = "order-ties"
    title = "rows with equal sort keys come in any order"
    instead = "a unique last key: ORDER BY weight, id"
    kinds = frozenset({"order", "rows"})
    priority = -2
    _TIES = (
        "CREATE TABLE tasks (id INTEGER PRIMARY KEY, weight INTEGER, title TEXT);"
        " INSERT INTO tasks VALUES (1, 5, 'a'), (2, 5, 'b'), (3, 5, 'c'), (4, 7, 'd');"
    )
    _OTHER_TIES: ClassVar[dict[str, str]] = {
        "sqlite": _TIES + " INSERT INTO tasks VALUES (8, 7, 'e');",
        "postgres": _TIES + " INSERT INTO tasks VALUES (9, 7, 'f');",
    }
    specimens = (
        Specimen(
            [
                "UPDATE tasks SET title = 'z' WHERE id = 1",
                "SELECT id, weight FROM tasks ORDER BY weight",
                "COMMIT",
            ],
            _TIES,
        ),
        Specimen(
            [
                "UPDATE tasks SET title = 'z' WHERE id = 1",
                "SELECT id FROM tasks ORDER BY weight LIMIT 1",
                "COMMIT",
            ],
            _TIES,
        ),
        Specimen(
            [
                "UPDATE tasks SET title = 'z' WHERE id = 1",
                lambda db: db.fetchone("SELECT id FROM tasks ORDER BY weight"),
                "COMMIT",
            ],
            _TIES,
        ),
    )
    near_misses = (
        Specimen(
            [
                "UPDATE tasks SET title = 'z' WHERE id = 1",
                "SELECT id FROM tasks ORDER BY weight, id",
                "COMMIT",
            ],
            _TIES,
        ),
        Specimen(["SELECT id FROM tasks ORDER BY weight"], _OTHER_TIES, ("seed-rows",)),
        Specimen(["SELECT id FROM tasks ORDER BY id DESC LIMIT 1"], _OTHER_TIES, ("seed-rows",)),
        Specimen(["SELECT id FROM tasks ORDER BY weight + id DESC LIMIT 1"], _OTHER_TIES, ("seed-rows",)),
        Specimen(
            [lambda db: db.fetchone("SELECT id FROM tasks ORDER BY title DESC")],
            _OTHER_TIES,
            ("seed-rows",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.sqlite, evidence.postgres
        if sqlite is None or postgres is None:
            return False
        shape = syntax.shape(postgres.sql, "postgres", postgres.columns or ())
        if not shape.ordered:
            return False
        if evidence.kind == "rows" and not shape.limited and sqlite.fetched not in ("one", "some"):
            return False
        if evidence.divergence.severity == "low":
            return True
        return self._tied(evidence)

    def _tied(self, evidence: Evidence) -> bool:
        """Return whether some stored rows share all keys that the statement sorts by."""
        from sqlglot import expressions as exp

        for tree in evidence.trees("sqlite") or evidence.trees("postgres"):
            order = tree.args.get("order")
            keys = [_resolved(tree, term.this) for term in order.expressions] if order else []
            if not keys or not all(isinstance(key, exp.Column) for key in keys):
                continue
            for backend in ("sqlite", "postgres"):
                for table in syntax.tables(evidence.text):
                    contents = evidence.contents(table, backend)
                    columns = [] if contents is None else [one.lower() for one in contents.columns]
                    if contents is None or not all(key.name.lower() in columns for key in keys):
                        continue
                    seen = [
                        tuple(loose_key(row[columns.index(key.name.lower())]) for key in keys)
                        for row in contents.rows
                    ]
                    if len(set(seen)) < len(seen):
                        return True
        return False


class UnorderedRows(Rule):
    """A query without ORDER BY.

    What differs:
        The same rows come in another order; with LIMIT or fetchone() other rows come, the first of a group is
        another one, and row_number() OVER () numbers them otherwise.

    Why:
        Without ORDER BY the order is whatever the plan and the storage give: SQLite often reads by rowid or
        along an index, PostgreSQL reads its heap, where an updated row moves to another place.

    Instead:
        ORDER BY a unique key wherever the order, or which row comes first, matters:

            SELECT title FROM tasks ORDER BY id

    References:
        https://www.sqlite.org/lang_select.html#orderby
        https://www.postgresql.org/docs/current/queries-order.html
    """

    name = "unordered-rows"
    title = "no ORDER BY: rows come in any order"
    instead = "ORDER BY a unique key where the order matters"
    kinds = frozenset({"order", "rows"})
    priority = -1
    _TASKS = OrderTies._TIES
    specimens = (
        Specimen(["UPDATE tasks SET title = 'z' WHERE id = 1", "SELECT title FROM tasks", "COMMIT"], _TASKS),
        Specimen(
            ["UPDATE tasks SET title = 'z' WHERE id = 1", "SELECT title FROM tasks LIMIT 1", "COMMIT"], _TASKS
        ),
        Specimen(["SELECT DISTINCT id % 3 AS n FROM tasks"], _TASKS),
        Specimen(
            [
                "UPDATE tasks SET weight = 7 WHERE id = 1",
                "SELECT id, row_number() OVER () AS n FROM tasks ORDER BY title",
                "COMMIT",
            ],
            _TASKS,
        ),
        Specimen(
            [
                "UPDATE tasks SET title = 'z' WHERE id = 1",
                "SELECT s.title FROM (SELECT title FROM tasks LIMIT 1) AS s ORDER BY s.title",
                lambda db: db.fetchone("SELECT title FROM tasks"),
                "COMMIT",
            ],
            _TASKS,
        ),
    )
    near_misses = (
        Specimen(
            ["UPDATE tasks SET title = 'z' WHERE id = 1", "SELECT title FROM tasks ORDER BY id", "COMMIT"],
            _TASKS,
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        sqlite, postgres = evidence.sqlite, evidence.postgres
        if sqlite is None or postgres is None:
            return False
        shape = syntax.shape(postgres.sql, "postgres", postgres.columns or ())
        if evidence.kind == "rows" and self._window(evidence):
            return True
        if shape.ordered:
            return self._inner(evidence) and evidence.kind == "rows"
        if evidence.kind == "order":
            return True
        if evidence.kind != "rows" or len(sqlite.rows) != len(postgres.rows):
            return False
        cut = shape.limited or (
            sqlite.fetched in ("one", "some") and max(sqlite.rowcount, postgres.rowcount) > 1
        )
        chosen = (cut and self._held(evidence)) or self._inner(evidence)
        return chosen and not self._same_rows(evidence)

    @staticmethod
    def _same_rows(evidence: Evidence) -> bool:
        """Return whether each half got the same rows by their key, with other values in them."""
        difference = evidence.divergence.difference
        if difference is None:
            return False
        keys = {"id"}
        for name in syntax.tables(evidence.sql("postgres")):
            for catalog in evidence.catalogs.values():
                table = catalog.table(name)
                if table is not None and len(table.primary_key) == 1:
                    keys.add(table.primary_key[0].lower())
            # an object-relational mapper selects columns under the name of their table
            keys |= {f"{name}_{key}" for key in tuple(keys)}
        found = [index for index, column in enumerate(difference.columns) if column.lower() in keys]
        return any(
            set(map(loose_key, values_at(difference.only_sqlite, index)))
            == set(map(loose_key, values_at(difference.only_postgres, index)))
            for index in found
        )

    def _held(self, evidence: Evidence) -> bool:
        """Return whether each backend's table holds the rows that only the other one gave, as far as known."""
        difference = evidence.divergence.difference
        tables = syntax.tables(evidence.text)
        if difference is None or len(tables) != 1:
            return True
        sides: tuple[tuple[Backend, Sequence[Any]], ...] = (
            ("sqlite", difference.only_postgres),
            ("postgres", difference.only_sqlite),
        )
        for backend, rows in sides:
            contents = evidence.contents(next(iter(tables)), backend)
            if contents is None or not set(difference.columns) <= set(contents.columns):
                return True
            columns = [contents.columns.index(name) for name in difference.columns]
            held = {tuple(loose_key(row[index]) for index in columns) for row in contents.rows}
            if any(tuple(map(loose_key, row)) not in held for row in rows):
                return False
        return True

    def _window(self, evidence: Evidence) -> bool:
        """Return whether what differs is what window functions say of rows that they do not sort."""
        from sqlglot import expressions as exp

        difference = evidence.divergence.difference
        placed = (exp.RowNumber, exp.FirstValue, exp.LastValue, exp.NthValue, exp.Lag, exp.Lead, exp.Ntile)
        names = {
            selected.alias_or_name.lower()
            for tree in evidence.trees("postgres")
            for selected in getattr(tree, "selects", ())
            for window in selected.find_all(exp.Window)
            if window.args.get("order") is None and isinstance(window.this, placed)
        }
        differing = set() if difference is None else {name.lower() for name in difference.differing}
        return bool(differing) and differing <= names

    def _inner(self, evidence: Evidence) -> bool:
        """Return whether a subquery cuts its rows without an order."""
        from sqlglot import expressions as exp

        for select in evidence.find(exp.Select):
            if (
                select.parent is not None
                and select.args.get("limit") is not None
                and select.args.get("order") is None
            ):
                return True
        return False
