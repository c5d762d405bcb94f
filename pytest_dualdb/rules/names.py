"""Rules about names: letter case, quotes, reserved words, length, and what columns of a result are called."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS, Backend
from pytest_dualdb.rules.base import Evidence, Rule, Specimen
from pytest_dualdb.rules.facts import OTHER, bare, near, pairs, said, sole_error, suspects

ERRORS = frozenset({"error", "outcome"})
_USERS = "CREATE TABLE users (id INTEGER PRIMARY KEY, name TEXT); INSERT INTO users VALUES (1, 'Ada');"
_MIXED = (
    'CREATE TABLE "Users" ("userId" INTEGER PRIMARY KEY, "fullName" TEXT); INSERT INTO "Users"'
    " VALUES (1, 'Ada');"
)

_MISSING = (
    r"(?:relation|column|table|constraint|"
    r'index) "?(?:\w+"?\."?)?([^".]+)"?(?: of relation "?[^"]+"?)? does not exist|'
    r'missing FROM-clause entry for table "([^"]+)"'
)


def _missing_name(evidence: Evidence) -> str | None:
    """Return the name that PostgreSQL does not find, None for another error."""
    found = said(sole_error(evidence, "postgres", "42703", "42P01", "42704"), _MISSING)
    return next((part for part in found.groups() if part), None) if found else None


def _known_names(evidence: Evidence, backend: Backend) -> Iterator[str]:
    """Yield the names of the backend's tables and of their columns, as they are written there."""
    catalog = evidence.catalogs.get(backend)
    for table in () if catalog is None else catalog.tables.values():
        yield table.name
        yield from (column.name for column in table.columns)
    for contents in evidence.recordings[backend].state.values():
        yield from contents.columns


class NameCase(Rule):
    """A name in mixed case that is quoted in one place and not in another.

    What differs:
        PostgreSQL turns unquoted names into small letters and takes quoted ones as they are: userId means
        userid, and a column made as "userId" is not found (42703, 42P01). SQLite finds every spelling.

    Why:
        Names are compared without case on SQLite, quoted or not.

    Instead:
        Names in small letters with underscores, unquoted everywhere:

            SELECT name FROM users WHERE id = 1

    References:
        https://www.sqlite.org/lang_keywords.html
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    """

    name = "name-case"
    title = "names with capitals need the same quotes on PostgreSQL"
    instead = "names in small letters, or the quoted name everywhere"
    kinds = ERRORS
    priority = 3
    specimens = (
        Specimen(['SELECT userId FROM "Users"'], _MIXED),
        Specimen(["SELECT * FROM Users"], _MIXED),
        Specimen(['SELECT "NAME" FROM users'], _USERS),
        Specimen(["UPDATE \"USERS\" SET name = 'x'"], _USERS),
        Specimen(['INSERT INTO "Users" (userId) VALUES (2)'], _MIXED),
    )
    near_misses = (
        Specimen(["SELECT NAME FROM Users WHERE ID = 1"], _USERS),
        Specimen(['SELECT "userId" FROM "Users"'], _MIXED),
    )

    def matches(self, evidence: Evidence) -> bool:
        name = _missing_name(evidence)
        if name is None:
            return False
        known = {*_known_names(evidence, "postgres"), *_known_names(evidence, "sqlite")}
        made = [
            re.findall(r'"(\w+)"', s.sql)
            for s in evidence.before("postgres")
            if syntax.verb(s.sql) == "CREATE"
        ]
        known |= {one for names in made for one in names}
        if any(one != name and one.lower() == name.lower() for one in known):
            return True
        written = re.findall(rf"\b{re.escape(name)}\b", evidence.sql("postgres"), re.I)
        return any(word != name for word in written) and any(one.lower() == name.lower() for one in known)


class DoubleQuotedLiteral(Rule):
    """Text in double quotes.

    What differs:
        SQLite takes "active" for the text active when there is no such column; PostgreSQL fails (42703,
        column "active" does not exist).

    Why:
        Double quotes are for names. SQLite forgives a wrong name for compatibility with old MySQL, which also
        hides misspelt columns.

    Instead:
        Single quotes, or a parameter:

            SELECT id FROM users WHERE name = 'Ada'

    References:
        https://www.sqlite.org/quirks.html#dblquote
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS
    """

    name = "double-quoted-literal"
    title = "text in double quotes is a name on PostgreSQL"
    instead = "single quotes, or a parameter"
    kinds = ERRORS
    priority = 2
    specimens = (
        Specimen(['SELECT id FROM users WHERE name = "Ada"'], _USERS),
        Specimen(['INSERT INTO users (id, name) VALUES (2, "Bo B")'], _USERS),
        Specimen(['UPDATE users SET name = "" WHERE id = 1'], _USERS),
        Specimen(['SELECT "nme" FROM users'], _USERS),
    )
    near_misses = (Specimen(['SELECT "id" FROM users WHERE "name" = \'Ada\''], _USERS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42703", "42601", "0A000")
        if said(failure, "zero-length delimited identifier"):
            return True
        found = said(
            failure, r'column "(.*)" does not exist|cannot use column reference in DEFAULT expression'
        )
        if not found:
            return False
        if found[1] is None:
            return re.search(r"\bDEFAULT\s*\(?\s*\"", evidence.sql("postgres"), re.I) is not None
        quoted = f'"{found[1]}"' in evidence.sql("postgres")
        known = {name.lower() for name in _known_names(evidence, "sqlite")}
        return quoted and (found[1].lower() not in known or evidence.column(
            found[1], "sqlite", sorted(syntax.tables(evidence.sql("postgres")))) is None)  # fmt: skip


class OtherQuotes(Rule):
    """Names in backticks, in brackets, or in single quotes.

    What differs:
        SQLite takes `name`, [name] and, where no text can stand, 'name'; PostgreSQL fails (42601, syntax
        error).

    Why:
        They are the quotes of MySQL, SQL Server and Access, which SQLite accepts for compatibility. The
        standard has double quotes for names.

    Instead:
        No quotes, or double quotes:

            SELECT name AS label FROM users

    References:
        https://www.sqlite.org/lang_keywords.html
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    """

    name = "other-quotes"
    title = "`name`, [name] and AS 'name' are known to SQLite only"
    instead = 'name without quotes, or "name"'
    kinds = ERRORS
    priority = 2
    specimens = (
        Specimen(["SELECT `name` FROM `users`"], _USERS),
        Specimen(["SELECT [name] FROM [users]"], _USERS),
        Specimen(["SELECT name AS 'label' FROM users"], _USERS),
        Specimen(["SELECT id FROM 'users'"], _USERS),
        Specimen(["INSERT INTO users ('id', 'name') VALUES (2, 'Bo')"], _USERS),
        Specimen(["CREATE TABLE `tags` (`id` INTEGER)"]),
    )
    near_misses = (Specimen(['SELECT "name" AS label FROM users'], _USERS),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42601", "42883", "42703", "42P01")
        if failure is None:
            return False
        text = bare(evidence.sql("postgres"))
        if re.search(r"`\w[^`]*`", text):
            return True
        if failure.sqlstate != "42601":
            return False
        if near(failure) == "[" or re.search(r"(?<![\w\])\"])\s*\[[A-Za-z_]\w*\]", text):
            return re.search(r"\[[A-Za-z_][\w ]*\]", text) is not None
        token = near(failure) or ""
        return token.startswith("'") and re.search(
            r"(\bAS|\bFROM|\bJOIN|\bINTO|\bUPDATE|\bTABLE|\bEXISTS|\bINDEX|\bON|\bSET|\bCOLUMN|"
                r"[\w\")]\s*\(|,)\s*''", text, re.I
        ) is not None  # fmt: skip


_POSTGRES_RESERVED = frozenset(
    [
        "all",
        "analyse",
        "analyze",
        "and",
        "any",
        "array",
        "as",
        "asc",
        "asymmetric",
        "authorization",
        "binary",
        "both",
        "case",
        "cast",
        "check",
        "collate",
        "collation",
        "column",
        "concurrently",
        "constraint",
        "create",
        "cross",
        "current_catalog",
        "current_date",
        "current_role",
        "current_schema",
        "current_time",
        "current_timestamp",
        "current_user",
        "default",
        "deferrable",
        "desc",
        "distinct",
        "do",
        "else",
        "end",
        "except",
        "false",
        "fetch",
        "for",
        "foreign",
        "freeze",
        "from",
        "full",
        "grant",
        "group",
        "having",
        "ilike",
        "in",
        "initially",
        "inner",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "lateral",
        "leading",
        "left",
        "like",
        "limit",
        "localtime",
        "localtimestamp",
        "natural",
        "not",
        "notnull",
        "null",
        "offset",
        "on",
        "only",
        "or",
        "order",
        "outer",
        "overlaps",
        "placing",
        "primary",
        "references",
        "returning",
        "right",
        "select",
        "session_user",
        "similar",
        "some",
        "symmetric",
        "system_user",
        "table",
        "tablesample",
        "then",
        "to",
        "trailing",
        "true",
        "union",
        "unique",
        "user",
        "using",
        "variadic",
        "verbose",
        "when",
        "where",
        "window",
        "with",
    ]
)
_SQLITE_RESERVED = frozenset(
    [
        "add",
        "all",
        "alter",
        "and",
        "as",
        "autoincrement",
        "between",
        "case",
        "check",
        "collate",
        "commit",
        "constraint",
        "create",
        "default",
        "deferrable",
        "delete",
        "distinct",
        "drop",
        "else",
        "escape",
        "except",
        "exists",
        "foreign",
        "from",
        "group",
        "having",
        "if",
        "in",
        "index",
        "insert",
        "intersect",
        "into",
        "is",
        "isnull",
        "join",
        "limit",
        "not",
        "nothing",
        "notnull",
        "null",
        "on",
        "or",
        "order",
        "primary",
        "references",
        "returning",
        "select",
        "set",
        "table",
        "then",
        "to",
        "transaction",
        "union",
        "unique",
        "update",
        "using",
        "values",
        "when",
        "where",
    ]
)


class ReservedWord(Rule):
    """A reserved word as the name of a table, a column or an alias.

    What differs:
        user, end, desc, offset, analyse, window and others are reserved on PostgreSQL only, index, exists,
        values, set, if and add on SQLite only: a syntax error there (42601, near "index").

    Why:
        Each database has its own list.

    Instead:
        Another name, or the name in double quotes everywhere:

            CREATE TABLE spans ("end" DATE, begins DATE)

    References:
        https://www.sqlite.org/lang_keywords.html
        https://www.postgresql.org/docs/current/sql-keywords-appendix.html
    """

    name = "reserved-word"
    title = "a name that is a reserved word on one side"
    instead = "another name, or double quotes around it everywhere"
    kinds = ERRORS
    specimens = (
        Specimen(["CREATE TABLE user (id INTEGER)"]),
        Specimen(["CREATE TABLE spans (id INTEGER, end DATE)"]),
        Specimen(["ALTER TABLE users ADD COLUMN offset INTEGER"], _USERS),
        Specimen(["CREATE TABLE books (id INTEGER, index INTEGER)"]),
        Specimen(
            ["UPDATE logins SET user = 'x'"],
            "CREATE TABLE logins (id INTEGER, \"user\" TEXT); INSERT INTO logins VALUES (1, 'a');",
        ),
        Specimen(["SELECT id offset FROM users"], _USERS),
    )
    near_misses = (
        Specimen(['CREATE TABLE spans ("end" DATE, begins DATE)', "COMMIT"]),
        Specimen(["CREATE TABLE pairs (key TEXT, value TEXT, type TEXT, name TEXT)", "COMMIT"]),
    )

    def matches(self, evidence: Evidence) -> bool:
        for backend, reserved in (("postgres", _POSTGRES_RESERVED), ("sqlite", _SQLITE_RESERVED)):
            failure = sole_error(evidence, backend, *(("42601", "42939") if backend == "postgres" else ()))  # type: ignore[arg-type]
            token = near(failure)
            if token is None:
                continue
            text = bare(evidence.sql(backend))  # type: ignore[arg-type]
            if token.lower() in reserved and self._as_name(token, text):
                return True
            alias = rf"[\w\")]\s+({'|'.join(reserved)})\s+{re.escape(token)}\b"
            found = re.search(alias, text, re.I)
            if (
                found
                and token.lower() in ("from", "where", ",")
                and found[1].lower() in ("offset", "window", "limit", "user")
            ):
                return True
            before = re.findall(rf"([A-Za-z_]+)\s*{re.escape(token)}", text) if token else []
            if any(self._own(word, reserved) and self._as_name(word, text) for word in before):
                return True
        return False

    def _own(self, word: str, reserved: frozenset[str]) -> bool:
        other = _SQLITE_RESERVED if reserved is _POSTGRES_RESERVED else _POSTGRES_RESERVED
        return word.lower() in reserved - other

    def _as_name(self, word: str, text: str) -> bool:
        """Return whether the word stands where a name belongs."""
        name = re.escape(word)
        places = (
            rf"\b(TABLE|INTO|UPDATE|FROM|JOIN|INDEX|VIEW|EXISTS|COLUMN|TO|REFERENCES|ON|SET|AS|BY|SELECT|RETURNING|WHERE|AND|OR)\s+{name}\b|"
            rf"[,(.]\s*{name}\b"
        )
        return re.search(places, text, re.I) is not None


class UserKeyword(Rule):
    """A column or table called user (or another word that PostgreSQL takes for a function).

    What differs:
        Unquoted, user is the name of the connected role on PostgreSQL, without any error: SELECT user FROM
        logins returns 'postgres' for each row, WHERE user = ? finds nothing, FROM user is one row of the
        role. SQLite reads the column.

    Why:
        user, current_user, session_user and current_role are functions without brackets in the standard.
        SQLite does not know them.

    Instead:
        Double quotes, a table name before it, or another name:

            SELECT l.user FROM logins AS l WHERE l.user = 'ada'

    References:
        https://www.sqlite.org/lang_keywords.html
        https://www.postgresql.org/docs/current/functions-info.html
    """

    name = "user-keyword"
    title = "user is the connected role on PostgreSQL"
    instead = 'table.user, "user", or another name'
    kinds = frozenset({"rows", "state", "order", "rowcount", "columns", "error", "type"})
    priority = 8
    _LOGINS = (
        'CREATE TABLE logins (id INTEGER PRIMARY KEY, "user" TEXT); INSERT INTO logins'
        " VALUES (1, 'ada'), (2, 'bo');"
    )
    specimens = (
        Specimen(["SELECT user FROM logins ORDER BY id"], _LOGINS),
        Specimen([("SELECT id FROM logins WHERE user = ?", ("ada",))], _LOGINS),
        Specimen(["DELETE FROM logins WHERE user = 'ada'", "COMMIT"], _LOGINS),
        Specimen(
            ["SELECT * FROM user"],
            'CREATE TABLE "user" (id INTEGER PRIMARY KEY); INSERT INTO "user" VALUES (1), (2);',
        ),
    )
    near_misses = (
        Specimen(["SELECT l.user FROM logins AS l WHERE l.user = 'ada'"], _LOGINS),
        Specimen(
            [{"sqlite": "SELECT price FROM user", "postgres": 'SELECT price FROM "user"'}],
            'CREATE TABLE "user" (id INTEGER PRIMARY KEY, price NUMERIC(8, 2)); INSERT INTO "user" VALUES (1, 2.5);',
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "error":
            return False
        known = {name.lower() for name in _known_names(evidence, "sqlite")}
        word = (
            r"(?<![.\"\w`\[:@$])(user|current_user|session_user|current_role|"
            r"current_catalog)(?![\"\w`\]]|\s*\()"
        )
        # a library quotes the name for PostgreSQL alone
        return any(
            known & {one.lower() for one in re.findall(word, bare(statement.sql), re.I)}
            for statement in suspects(evidence, "postgres")
        )


class LongName(Rule):
    """A name of more than 63 bytes.

    What differs:
        PostgreSQL cuts it to 63 bytes, with a notice only: two names with the same beginning become one
        (42P07, 42701), and the column of a result has another name. SQLite keeps the whole name.

    Why:
        Names in PostgreSQL's catalog have a fixed width (NAMEDATALEN - 1).

    Instead:
        Names of at most 63 bytes, which is also where ORM-generated names should be cut:

            SELECT id AS short_name FROM users

    References:
        https://www.sqlite.org/limits.html
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-IDENTIFIERS
    """

    name = "long-name"
    title = "names are cut to 63 bytes on PostgreSQL"
    instead = "names of at most 63 bytes"
    kinds = ERRORS | {"columns", "state"}
    priority = 20
    _LONG = "a" * 64
    specimens = (
        Specimen(
            [f"CREATE TABLE {_LONG}x (id INTEGER)", f"CREATE TABLE {_LONG}y (id INTEGER)"],
        ),
    )
    near_misses = (Specimen([f"CREATE TABLE {'a' * 60}x (id INTEGER)", "COMMIT"]),)

    def matches(self, evidence: Evidence) -> bool:
        long = re.findall(r"\w{64,}", bare(evidence.sql("postgres")))
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "postgres", "42P07", "42701", "42710", "42712", "42P01", "42703")
            return failure is not None and any(name[:63] in failure.message for name in long)
        if evidence.kind == "columns":
            return bool(long)
        table = evidence.divergence.table or ""
        return len(table) >= 63


def _by_name(db: Any, sql: str) -> Any:
    """Read rows by name: one factory on either side is enough to make the names count."""
    if db.backend == "sqlite":
        db.connection.row_factory = lambda cursor, row: dict(
            zip((c[0] for c in cursor.description), row, strict=True)
        )
    return db.fetchall(sql)


def _other_attribute(db: Any) -> None:
    """Fail on PostgreSQL for an attribute, in the words of an exception that has a column's name by chance."""
    db.fetchall("SELECT 1 AS id" if db.backend == "sqlite" else "SELECT 1 AS n")
    if db.backend == "postgres":
        raise AttributeError("'str' object has no attribute 'hex'\n[SQL: SELECT id FROM users]")


class ExpressionName(Rule):
    """The column name of an expression without an alias, or an alias with capitals.

    What differs:
        count(*) is called "count(*)" on SQLite and "count" on PostgreSQL, max(n) "max(n)" and "max", n + 1
        "n + 1" and "?column?"; an unquoted alias userId arrives as userid. Rows that are read by name, as
        dict or by a row factory, miss the key on one side.

    Why:
        The standard leaves the names of expressions to the database. PostgreSQL folds unquoted aliases to
        small letters.

    Instead:
        An alias in small letters:

            SELECT count(*) AS total FROM users

    References:
        https://www.sqlite.org/c3ref/column_name.html
        https://www.postgresql.org/docs/current/queries-select-lists.html#QUERIES-COLUMN-LABELS
    """

    name = "expression-name"
    title = "expressions without an alias have other column names"
    instead = "AS name, in small letters"
    kinds = frozenset({"columns", "observed", "outcome"})
    priority = 1
    specimens = (
        Specimen([lambda db: _by_name(db, "SELECT count(*) FROM users")], _USERS),
        Specimen([lambda db: _by_name(db, "SELECT id AS userId FROM users")], _USERS),
    )
    near_misses = (
        Specimen([lambda db: _by_name(db, "SELECT count(*) AS total FROM users")], _USERS),
        Specimen([lambda db: _other_attribute(db)], _USERS, also=("unexplained",)),
    )

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "columns":
            left = evidence.sqlite.columns if evidence.sqlite else None
            right = evidence.postgres.columns if evidence.postgres else None
            return left is not None and right is not None and len(left) == len(right)
        if evidence.kind == "observed":
            return self._other_keys(evidence)
        for backend in BACKENDS:
            failure = evidence.failure(backend)
            if (
                failure is None
                or evidence.failure(OTHER[backend]) is not None
                or failure.database is not None
            ):
                continue
            wanted = re.search(
                r"KeyError|IndexError|AttributeError|NoSuchColumn", failure.name + failure.message
            )
            if wanted and self._named(failure.message, self._unshared(evidence, OTHER[backend])):
                return True
        return False

    def _named(self, message: str, names: Iterable[str]) -> bool:
        """Return whether the exception quotes one of the names; SQLAlchemy's messages go on with all of the SQL."""
        line = message.strip().partition("\n")[0]
        return any(f"{mark}{name}{mark}" in line for name in names if name for mark in "'\"")

    def _unshared(self, evidence: Evidence, backend: Backend) -> set[str]:
        """Return the column names that only this half's results had."""
        sides = {b: {c for s in evidence.recordings[b].statements for c in s.columns or ()} for b in BACKENDS}
        return sides[backend] - sides[OTHER[backend]]

    def _other_keys(self, evidence: Evidence) -> bool:
        """Return whether observed mappings differ in keys that are column names of one side only."""
        for pair in pairs(evidence):
            rows = (
                (pair.sqlite, pair.postgres)
                if isinstance(pair.sqlite, list)
                else ([pair.sqlite], [pair.postgres])
            )
            for one, other in zip(*rows, strict=False):
                if isinstance(one, dict) and isinstance(other, dict) and one.keys() != other.keys():
                    return len(one) == len(other) and one.keys() - other.keys() <= self._unshared(
                        evidence, "sqlite"
                    )
        return False


class AdjacentLiteral(Rule):
    """Two literals one after the other, or a literal after a name.

    What differs:
        SQLite takes the second for an alias ('a' 'b' is one column called b); PostgreSQL joins them if a line
        break is between, takes the first word for a type, or fails (42601): SELECT name 'x' is the text x.

    Why:
        SQLite allows text as a name where a name must follow; the standard joins literals across lines.

    Instead:
        || or one literal, and AS for an alias:

            SELECT 'a' || 'b' AS joined FROM users

    References:
        https://www.sqlite.org/lang_select.html
        https://www.postgresql.org/docs/current/sql-syntax-lexical.html#SQL-SYNTAX-STRINGS
    """

    name = "adjacent-literal"
    title = "a literal after a name or literal is an alias on SQLite"
    instead = "AS alias, or || between literals"
    kinds = frozenset({"rows", "error", "outcome", "columns"})
    priority = 3
    specimens = (
        Specimen(["SELECT name 'x' FROM users"], _USERS),
        Specimen(["SELECT 'a' 'b'"]),
        Specimen(["SELECT 'a'\n'b'"]),
    )
    near_misses = (Specimen(["SELECT 'a' || 'b' AS joined FROM users"], _USERS),)

    def matches(self, evidence: Evidence) -> bool:
        if (
            evidence.kind in ("error", "outcome")
            and sole_error(evidence, "postgres", "42601", "42704") is None
        ):
            return False
        text = bare(evidence.sql("postgres"))
        if re.search(r"''\s+''", text):
            return True
        listed = re.match(r"\s*SELECT\b(.*?)\bFROM\b", text, re.I | re.S)
        named = re.search(r"(?:^|,)\s*\w+\s+''\s*(?:,|$)", listed[1].strip() if listed else "", re.I)
        return named is not None and not re.search(
            r"\b(DATE|TIME|TIMESTAMP|TIMESTAMPTZ|INTERVAL|AS)\s+''", text, re.I
        )
