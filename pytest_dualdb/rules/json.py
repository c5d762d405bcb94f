"""Rules about JSON: text with functions on SQLite, a type of its own on PostgreSQL."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.recording import BACKENDS
from pytest_dualdb.rules.base import Evidence, Rule, Specimen, params_of
from pytest_dualdb.rules.facts import (
    bare,
    calls,
    explained,
    families,
    family,
    is_number,
    missing_function,
    missing_operator,
    near,
    pairs,
    said,
    sole_error,
    stored_rows,
    suspects,
)
from pytest_dualdb.values import same_value

_DOCS: Mapping[str, str] = {
    "sqlite": "CREATE TABLE docs (id INTEGER PRIMARY KEY, body JSON, raw TEXT);"
    """ INSERT INTO docs VALUES (1, '{"a":true,"b":null,"c":"x","n":5,"l":[1,2]}', '{"a":1}');""",
    "postgres": "CREATE TABLE docs (id INTEGER PRIMARY KEY, body JSONB, raw TEXT);"
    """ INSERT INTO docs VALUES (1, '{"a":true,"b":null,"c":"x","n":5,"l":[1,2]}', '{"a":1}');""",
}


def _texts(evidence: Evidence) -> list[str]:
    return [s.sql for b in BACKENDS for s in suspects(evidence, b)]


def _reads_json(evidence: Evidence) -> bool:
    """Return whether a statement behind the divergence takes JSON apart."""
    return any(re.search(r"->|#>|\bjsonb?_|\bjson\s*\(|@>", bare(text), re.I) for text in _texts(evidence))


class JsonFunctions(Rule):
    """A JSON function that one of the two databases does not have.

    What differs:
        json_extract, json_each of a column, json_group_array, json_set, json_type, json_valid and json_patch
        are SQLite's (42883 on PostgreSQL); jsonb_build_object, jsonb_set, json_agg, to_jsonb, row_to_json
        and jsonb_array_elements are PostgreSQL's (no such function, or no such table, on SQLite).

    Why:
        Both grew their JSON functions before the standard had any, with other names and other path syntax.

    Instead:
        Read the document whole and take it apart in the application, or use ->> with a plain key, which
        both know (SQLite 3.38 and later; on PostgreSQL of a JSON or JSONB column):

            SELECT body ->> 'c' FROM docs

    References:
        https://www.sqlite.org/json1.html
        https://www.postgresql.org/docs/current/functions-json.html
    """

    name = "json-functions"
    title = "a JSON function that only one side has"
    instead = "body ->> 'key' on both, or json.loads in the application"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    specimens = (
        Specimen(["SELECT json_extract(body, '$.c') FROM docs"], _DOCS),
        Specimen(["SELECT value FROM docs, json_each(docs.body, '$.l')"], _DOCS),
        Specimen(["SELECT json_group_array(id) FROM docs"], _DOCS),
        Specimen(["UPDATE docs SET body = json_set(body, '$.n', 6)"], _DOCS),
        Specimen(["SELECT json_object('a', 1)"]),
        Specimen(["SELECT jsonb_build_object('a', 1)"]),
        Specimen(["SELECT value FROM docs, jsonb_array_elements(body -> 'l')"], _DOCS),
        Specimen(["SELECT json_agg(id) FROM docs"], _DOCS),
        Specimen(["SELECT row_to_json(docs) FROM docs"], _DOCS),
    )
    near_misses = (Specimen(["SELECT body ->> 'c' AS c FROM docs"], _DOCS),)

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_function(sole_error(evidence, "postgres", "42883"))
        if missing is not None:
            return re.match(r"jsonb?(_|$)", missing.name.rpartition(".")[2]) is not None
        failure = sole_error(evidence, "sqlite")
        missing = missing_function(failure)
        if missing is not None:
            return re.match(r"jsonb?(_|$)|to_jsonb?$|row_to_json$|array_to_json$", missing.name) is not None
        if said(failure, r"no such table: jsonb?_|no such column: (jsonb|json)\b"):
            return True
        return said(failure, "no such column") is not None and calls(
            evidence.sql("sqlite"), "row_to_json", "to_jsonb?"
        )


class JsonOperators(Rule):
    """A JSON operator that one database does not know, or knows for another type.

    What differs:
        On PostgreSQL -> and ->> need a JSON or JSONB operand: on a TEXT column they fail (42883, operator
        does not exist: text ->> unknown). @>, <@, ?, ?|, #>, #>>, #- are PostgreSQL's and syntax errors on
        SQLite; so are -> and ->> before SQLite 3.38.

    Why:
        JSON is text on SQLite and a type on PostgreSQL, with operators of its own.

    Instead:
        A JSONB column on PostgreSQL, and ->> with a key:

            SELECT id FROM docs WHERE body ->> 'c' = 'x'

    References:
        https://www.sqlite.org/json1.html#jptr
        https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING
    """

    name = "json-operators"
    title = "a JSON operator that only one side has"
    instead = "a JSONB column and body ->> 'key'"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    specimens = (
        Specimen(["SELECT raw ->> 'a' FROM docs"], _DOCS),
        Specimen(["""SELECT id FROM docs WHERE body @> '{"c":"x"}'"""], _DOCS),
        Specimen(["SELECT body #>> '{l,0}' FROM docs"], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body ? 'a'"], _DOCS),
    )
    near_misses = (Specimen(["SELECT id FROM docs WHERE body ->> 'c' = 'x'"], _DOCS),)
    _OWN = r"@>|<@|#>|#-|@\?|@@|\?\||\?&|[\w\")]\s+\?\s+''"

    def matches(self, evidence: Evidence) -> bool:
        missing = missing_operator(sole_error(evidence, "postgres", "42883", "42725"))
        if missing is not None:
            return missing.symbol in ("->", "->>", "@>", "<@", "?", "#>", "#>>", "#-")
        failure = sole_error(evidence, "sqlite")
        text = bare(evidence.sql("sqlite"))
        if near(failure) is None and not said(failure, "bindings supplied"):
            return False
        if calls(text, "to_tsvector", r"\w*to_tsquery"):
            return False  # there @@ is a full-text search
        if near(failure) == ">" and "->" in text:
            return True
        return re.search(self._OWN, text) is not None


class JsonPath(Rule):
    """A path in SQLite's notation ('$.a.b') given to ->, ->> or #> on PostgreSQL, or the reverse.

    What differs:
        PostgreSQL's -> and ->> take one key or index; '$.a' is a key of that name, which is missing, so the
        result is NULL. SQLite takes a key, an index or a whole path. A negative index counts from the end
        on PostgreSQL only (before SQLite 3.47).

    Why:
        SQLite's operators were made to accept both notations; PostgreSQL has other operators for paths.

    Instead:
        One operator for each step, with plain keys:

            SELECT body -> 'l' ->> 0 FROM docs

    References:
        https://www.sqlite.org/json1.html#path_arguments
        https://www.postgresql.org/docs/current/functions-json.html
    """

    name = "json-path"
    title = "'$.key' is a path on SQLite, a key on PostgreSQL"
    instead = "body -> 'a' ->> 'b', one operator for each step"
    kinds = frozenset({"rows", "state", "order", "rowcount"})
    priority = 5
    specimens = (
        Specimen(["SELECT body ->> '$.c' AS c FROM docs"], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body ->> '$.c' = 'x'"], _DOCS),
        Specimen([("SELECT body ->> ? AS c FROM docs", ("$.c",))], _DOCS),
        Specimen(["SELECT body -> 'l' ->> -1 AS last FROM docs"], _DOCS),
    )
    near_misses = (
        Specimen(["SELECT body ->> 'c' AS c FROM docs"], _DOCS),
        Specimen(
            [
                {
                    "sqlite": ("SELECT body ->> ? AS n FROM docs", ("$.n",)),
                    "postgres": ("SELECT body #>> CAST(? AS text[]) AS n FROM docs", (["n"],)),
                }
            ],
            _DOCS,
            ("json-number",),
        ),
    )

    def matches(self, evidence: Evidence) -> bool:
        # a branch for SQLite alone may well have a path
        for statement in suspects(evidence, "postgres"):
            if re.search(r"->>?\s*'\$|->>?\s*-\s*\d", statement.sql):
                return True
            bound = any(isinstance(value, str) and value.startswith("$") for value in params_of(statement))
            if bound and re.search(r"->>?\s*(\?|%s|:\w|%\(|\$\d)", statement.sql):
                return True
        return False


class JsonNumber(Rule):
    """A number that is taken out of a JSON document.

    What differs:
        SQLite's ->> and json_extract() give a number; PostgreSQL's ->> gives its text: '5'. Comparing it with
        a number fails there (42883, operator does not exist: text > integer), with text finds nothing on
        SQLite, and 12 sorts before 5.

    Why:
        PostgreSQL's ->> is defined to return text, whatever the value.

    Instead:
        Convert, which both do:

            SELECT CAST(body ->> 'n' AS INTEGER) FROM docs WHERE CAST(body ->> 'n' AS INTEGER) > 4

    References:
        https://www.sqlite.org/json1.html#jptr
        https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING
    """

    name = "json-number"
    title = "->> gives numbers as text on PostgreSQL"
    instead = "CAST(body ->> 'n' AS INTEGER)"
    kinds = frozenset({"rows", "state", "order", "rowcount", "error", "outcome"})
    priority = 5
    _NUMBERS: Mapping[str, str] = {
        backend: schema + """ INSERT INTO docs VALUES (2, '{"a":false,"n":12}', '{}');"""
        for backend, schema in _DOCS.items()
    }
    specimens = (
        Specimen(["SELECT body ->> 'n' AS n FROM docs"], _DOCS),
        Specimen([("SELECT id FROM docs WHERE body ->> 'n' = ?", (5,))], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body ->> 'n' > 4"], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body ->> 'n' = '5'"], _DOCS),
        Specimen(["SELECT id, body ->> 'c' AS c FROM docs ORDER BY body ->> 'n'"], _NUMBERS),
        Specimen(["SELECT max(body ->> 'n') AS most FROM docs"], _NUMBERS),
        Specimen(["SELECT sum(body ->> 'n') FROM docs"], _NUMBERS),
    )
    near_misses = (
        Specimen(["SELECT CAST(body ->> 'n' AS INTEGER) AS n FROM docs"], _DOCS),
        Specimen(["SELECT id FROM docs ORDER BY CAST(body ->> 'n' AS INTEGER)"], _NUMBERS),
    )

    def matches(self, evidence: Evidence) -> bool:
        if not _reads_json(evidence) or not any("->>" in text for text in _texts(evidence)):
            return False
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "postgres", "42883")
            missing = missing_operator(failure)
            if missing is not None:
                return (
                    bool({missing.left, missing.right} <= {"text", *_NUMBER_TYPES})
                    and missing.left != missing.right
                )
            function = missing_function(failure)
            return (
                function is not None
                and function.arguments[:1] == ("text",)
                and function.name in ("sum", "avg")
            )
        if evidence.kind == "rows" and pairs(evidence):
            return explained(evidence, lambda p: _number_and_text(p.sqlite, p.postgres))
        if not any(map(self._asked, _texts(evidence))):
            return False
        members = {
            (found[0].lower(), found[1])
            for text in _texts(evidence)
            for found in re.findall(r"(\w+)\"?\s*(?:->\s*'\w+'\s*)*->>\s*'(\w+)'", text)
        }
        return any(
            _holds_number(row.get(column), key)
            for text in _texts(evidence)
            for row in stored_rows(evidence, text)
            for column, key in members
        )

    def _asked(self, text: str) -> bool:
        """Return whether a member is compared or sorted as it is."""
        compared = r"(=|<>|!=|<|>|IN\b|BETWEEN\b)"
        member = r"->>\s*('[^']*'|\?|%s|\d+)\s*\)?\s*"
        return (
            re.search(member + compared, text, re.I) is not None
            or re.search(r"ORDER\s+BY\b[^()]*" + member + r"(ASC|DESC|,|NULLS|LIMIT|;|$)", text, re.I | re.S)
            is not None
        )


_NUMBER_TYPES = ("smallint", "integer", "bigint", "numeric", "real", "double precision")


def _number_and_text(left: Any, right: Any) -> bool:
    """Return whether the one is a number and the other a text of a number of JSON."""
    if not isinstance(right, str) or not is_number(left):
        return False
    try:
        return is_number(json.loads(right))
    except ValueError:
        return False


def _holds_number(document: Any, key: str) -> bool:
    """Return whether a JSON text or the decoded value has a number under that key, at whatever depth."""
    try:
        waiting = [json.loads(document) if isinstance(document, str) else document]
    except ValueError:
        return False
    while waiting:
        value = waiting.pop()
        if isinstance(value, Mapping):
            if is_number(value.get(key)):
                return True
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
    return False


class JsonBoolean(Rule):
    """A JSON true or false that is taken out of a document.

    What differs:
        SQLite gives SQL values: true is 1, false is 0. PostgreSQL's ->> gives text: 'true', 'false'.
        Comparing with 'true' finds nothing on SQLite, comparing with 1 fails or finds nothing on PostgreSQL.

    Why:
        SQLite has no boolean to give; PostgreSQL's ->> is defined to return text.

    Instead:
        Compare -> with JSON text on both (PostgreSQL compares JSONB, SQLite the JSON text):

            SELECT id FROM docs WHERE body -> 'a' = 'true'

    References:
        https://www.sqlite.org/json1.html#jptr
        https://www.postgresql.org/docs/current/functions-json.html#FUNCTIONS-JSON-PROCESSING
    """

    name = "json-boolean"
    title = "JSON true is 1 on SQLite, 'true' on PostgreSQL"
    instead = "body -> 'a' = 'true', which both compare as JSON"
    kinds = frozenset({"rows", "state", "order", "rowcount", "error", "outcome"})
    priority = 4
    specimens = (
        Specimen(["SELECT body ->> 'a' AS a FROM docs"], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body ->> 'a' = 'true'"], _DOCS),
        Specimen(
            [{"sqlite": "SELECT id FROM docs WHERE json_extract(body, '$.a') = 'true'",
              "postgres": "SELECT id FROM docs WHERE body ->> 'a' = 'true'"}], _DOCS,
        ),
    )  # fmt: skip
    near_misses = (Specimen(["SELECT id FROM docs WHERE body -> 'a' = 'true'"], _DOCS),)

    def matches(self, evidence: Evidence) -> bool:
        if not _reads_json(evidence):
            return False
        if evidence.kind in ("error", "outcome"):
            failure = sole_error(evidence, "postgres", "42883", "42804")
            missing = missing_operator(failure)
            if missing is not None:
                return (
                    missing.left == "text"
                    and missing.right in ("integer", "boolean", "numeric", "bigint")
                    and "->>" in evidence.text
                )
            return said(failure, r"type boolean, not type (text|jsonb?)") is not None
        if pairs(evidence):
            return explained(evidence, lambda p: self._scalar(p.sqlite, p.postgres))
        return any(self._compared(evidence, text) for text in _texts(evidence))

    def _scalar(self, left: Any, right: Any) -> bool:
        """Return whether the one is the SQL value and the other the text of one JSON scalar."""
        if isinstance(right, str) and right in ("true", "false"):
            return bool(left in (0, 1) and (left == 1) == (right == "true"))
        if isinstance(right, str) and is_number(left):
            try:
                return bool(json.loads(right) == left)
            except ValueError:
                return False
        return False

    def _compared(self, evidence: Evidence, text: str) -> bool:
        extracted = (
            r"(->>\s*\(?(''|\?|%s|:\w+|%\(\w+\)s|\d+)\)?|"
            r"json_extract\s*\([^()]*\))\s*\)?\s*(=|<>|!=|<|>|IN\b|LIKE\b|IS\b)"
        )
        return re.search(extracted, bare(text), re.I) is not None


class JsonTextForm(Rule):
    """JSON that is compared, searched or read as text.

    What differs:
        JSONB keeps the meaning, not the text: it writes {"a": 1} for {"a":1}, sorts keys and drops duplicate
        keys. SQLite keeps the text that was stored. CAST(body AS TEXT), LIKE and `=` with a literal part.

    Why:
        JSONB is stored parsed. SQLite's JSON column is text; its functions write without blanks.

    Instead:
        Compare members, not documents; where documents must be compared, write them in one form
        (json.dumps(value, sort_keys=True)) and store that in a TEXT column:

            SELECT id FROM docs WHERE body ->> 'c' = 'x'

    References:
        https://www.sqlite.org/json1.html
        https://www.postgresql.org/docs/current/datatype-json.html
    """

    name = "json-text-form"
    title = "JSONB rewrites blanks and key order, SQLite keeps the text"
    instead = "compare members with ->>, or keep the text in a TEXT column"
    kinds = frozenset({"rows", "state", "order", "rowcount", "observed"})
    priority = 4
    specimens = (
        Specimen(["SELECT CAST(body AS TEXT) AS t FROM docs"], _DOCS),
        Specimen(["SELECT length(CAST(body AS TEXT)) AS n FROM docs"], _DOCS),
        Specimen(
            ["""SELECT id FROM docs WHERE body = '{"c": "x", "a": true, "b": null, "l": [1, 2], "n": 5}'"""],
            _DOCS,
        ),
        Specimen(["""SELECT id FROM docs WHERE CAST(body AS TEXT) LIKE '%"n":5%'"""], _DOCS),
        Specimen([lambda db: _observe_document(db)], _DOCS, also=("json-decoded",)),
    )
    near_misses = (Specimen(["SELECT id FROM docs WHERE body ->> 'c' = 'x'"], _DOCS),)

    def matches(self, evidence: Evidence) -> bool:
        if evidence.kind == "observed":
            return explained(evidence, lambda p: _same_json(p.sqlite, p.postgres))
        if pairs(evidence):
            if explained(evidence, lambda p: _same_json(p.sqlite, p.postgres)):
                return True
            return any(self._cast(evidence, text) for text in _texts(evidence))
        names = set(re.findall(r"\w+", bare(evidence.text)))
        columns = [evidence.column(name, "postgres", sorted(syntax.tables(evidence.text))) for name in names]
        if not any(column is not None and family(column.type) == "json" for column in columns):
            return False
        compared = r"(=|<>|!=|\bLIKE|\bIN\s*\()\s*('|\?|%s|:\w|%\()"
        return re.search(compared, evidence.text, re.I) is not None and not re.search(
            r"->", bare(evidence.text)
        )

    def _cast(self, evidence: Evidence, text: str) -> bool:
        """Return whether a JSON column is made text in the statement."""
        word = r'CAST\s*\(\s*(?:\w+\.)?"?(\w+)"?\s+AS\s+(?:TEXT|VARCHAR|CHAR)|(\w+)"?::\s*(?:text|varchar)'
        for cast, colons in re.findall(word, text, re.I):
            column = evidence.column(cast or colons, "postgres", sorted(syntax.tables(text)))
            if column is not None and family(column.type) == "json":
                return True
        return False


def _observe_document(db: Any) -> None:
    body = db.scalar("SELECT body FROM docs")
    db.observe("body", json.dumps(json.loads(body) if isinstance(body, str) else body))


def _same_json(left: Any, right: Any) -> bool:
    """Return whether both are texts of the same JSON document, written differently."""
    if not isinstance(left, str) or not isinstance(right, str) or left[:1] not in "{[" or not left:
        return False
    try:
        return bool(json.loads(left) == json.loads(right))
    except ValueError:
        return False


class JsonDecoded(Rule):
    """A JSON value that the application reads: text from SQLite, decoded from PostgreSQL.

    What differs:
        psycopg2 decodes JSON and JSONB: dict, list, str, number, bool or None arrive. SQLite gives the JSON
        text: '{"a": 1}', and for a text inside the document '"x"' with its quotes, for null 'null'.
        json.loads fails on a dict (TypeError), and a key fails on text.

    Why:
        Decoding is the driver's doing: psycopg2 registers it for the two types. SQLite has no JSON type
        that a driver could recognise.

    Instead:
        Decode in one place, whatever arrived: `value if not isinstance(value, str) else json.loads(value)`,
        or ->> for a text in the document:

            SELECT body ->> 'c' FROM docs

    References:
        https://www.sqlite.org/json1.html
        https://www.postgresql.org/docs/current/datatype-json.html
    """

    name = "json-decoded"
    title = "JSON arrives decoded from PostgreSQL, as text from SQLite"
    instead = "json.loads only where the value is a str; ->> for a text member"
    kinds = frozenset({"type", "rows"})
    priority = 1
    specimens = (
        Specimen(["SELECT body FROM docs"], _DOCS),
        Specimen(["SELECT body -> 'c' AS c FROM docs"], _DOCS),
        Specimen(["SELECT body -> 'b' AS b FROM docs"], _DOCS),
    )
    near_misses = (Specimen(["SELECT body ->> 'c' AS c, raw FROM docs"], _DOCS),)

    def matches(self, evidence: Evidence) -> bool:
        differing = pairs(evidence)
        if evidence.kind == "type":
            decoded = (dict, list)
            if any(isinstance(p.postgres, decoded) and isinstance(p.sqlite, str) for p in differing):
                return True
            return re.search(r": str / (dict|list)", evidence.divergence.message) is not None
        if not _reads_json(evidence) and not any("json" in families(evidence, p.column) for p in differing):
            return False
        return explained(evidence, lambda p: self._text_of(p.sqlite, p.postgres))

    def _text_of(self, left: Any, right: Any) -> bool:
        if not isinstance(left, str):
            return False
        try:
            decoded = json.loads(left)
        except ValueError:
            return False
        return decoded is None if right is None else bool(same_value(decoded, right))


class JsonNull(Rule):
    """A JSON null, or a missing member, that is taken for NULL.

    What differs:
        `body -> 'b'` of {"b": null} is a JSON null on both, which IS NULL denies; `->>` and json_extract()
        give NULL. A branch that uses one on each side finds other rows with IS NULL, coalesce and count.

    Why:
        JSON has a null of its own; only the forms that return SQL values turn it into NULL.

    Instead:
        ->> on both, for which a missing member and a null are NULL:

            SELECT id FROM docs WHERE body ->> 'b' IS NULL

    References:
        https://www.sqlite.org/json1.html#jptr
        https://www.postgresql.org/docs/current/functions-json.html
    """

    name = "json-null"
    title = "a JSON null is not NULL with ->, but with ->> and json_extract"
    instead = "body ->> 'key' IS NULL on both"
    kinds = frozenset({"rows", "order", "rowcount", "state"})
    priority = 5
    specimens = (
        Specimen(
            [{"sqlite": "SELECT id FROM docs WHERE json_extract(body, '$.b') IS NULL",
              "postgres": "SELECT id FROM docs WHERE body -> 'b' IS NULL"}], _DOCS,
        ),
    )  # fmt: skip
    near_misses = (
        Specimen(["SELECT id FROM docs WHERE body ->> 'b' IS NULL AND body ->> 'z' IS NULL"], _DOCS),
    )

    def matches(self, evidence: Evidence) -> bool:
        sides = [" ".join(bare(s.sql) for s in suspects(evidence, backend)) for backend in BACKENDS]
        if not all(re.search(r"\bNULL\b|\bcoalesce\b|\bcount\b|\bnullif\b", side, re.I) for side in sides):
            return False
        scalar = [re.search(r"->>|json_extract|#>>|json_value", side, re.I) is not None for side in sides]
        document = [re.search(r"->(?!>)|#>(?!>)|json_type", side, re.I) is not None for side in sides]
        return (scalar[0] and document[1] and not scalar[1]) or (scalar[1] and document[0] and not scalar[0])


class JsonEquality(Rule):
    """=, DISTINCT, GROUP BY or UNION over a column of type JSON (not JSONB).

    What differs:
        PostgreSQL has no equality for json (42883, could not identify an equality operator for type json);
        SQLite compares the text.

    Why:
        The json type keeps the text, and two texts can mean the same document; only jsonb can be compared.

    Instead:
        JSONB as the column's type on PostgreSQL, or the text:

            SELECT DISTINCT CAST(body AS TEXT) FROM docs

    References:
        https://www.sqlite.org/json1.html
        https://www.postgresql.org/docs/current/datatype-json.html
    """

    name = "json-equality"
    title = "the type JSON cannot be compared on PostgreSQL"
    instead = "JSONB as the column's type"
    kinds = frozenset({"error", "outcome"})
    priority = 2
    _PLAIN = (
        "CREATE TABLE docs (id INTEGER PRIMARY KEY, body JSON); INSERT INTO docs VALUES (1, '{\"a\": 1}');"
    )
    specimens = (
        Specimen(["SELECT DISTINCT body FROM docs"], _PLAIN),
        Specimen([("SELECT id FROM docs WHERE body = ?", ('{"a": 1}',))], _PLAIN),
    )
    near_misses = (Specimen(["SELECT DISTINCT CAST(body AS TEXT) AS t FROM docs"], _PLAIN),)

    def matches(self, evidence: Evidence) -> bool:
        failure = sole_error(evidence, "postgres", "42883")
        if said(failure, r"could not identify an? (equality|ordering) operator for type json\b"):
            return True
        missing = missing_operator(failure)
        return (
            missing is not None
            and "json" in (missing.left, missing.right)
            and missing.symbol in ("=", "<>", "<", ">")
        )


class InvalidJson(Rule):
    """Text that is no JSON in a JSON column or JSON expression.

    What differs:
        PostgreSQL refuses it when it is stored or compared (22P02, invalid input syntax for type json);
        SQLite stores any text and fails (malformed JSON) only when a JSON function reads it.

    Why:
        A column declared JSON has the affinity NUMERIC on SQLite and checks nothing.

    Instead:
        json.dumps(value) for every value, also for plain text and for '' (None for what is not there):

            UPDATE docs SET raw = ? WHERE id = 1

        On SQLite a CHECK (json_valid(body)) makes both refuse it.

    References:
        https://www.sqlite.org/json1.html#jvalid
        https://www.postgresql.org/docs/current/datatype-json.html
    """

    name = "invalid-json"
    title = "text that is no JSON is refused by PostgreSQL at once"
    instead = "json.dumps(value), None for nothing; CHECK (json_valid(body)) on SQLite"
    kinds = frozenset({"error", "outcome"})
    priority = 3
    specimens = (
        Specimen([("UPDATE docs SET body = ?", ("plain",))], _DOCS),
        Specimen([("INSERT INTO docs (id, body) VALUES (2, ?)", ("",))], _DOCS),
        Specimen(["SELECT id FROM docs WHERE body -> 'c' = 'x'"], _DOCS),
    )
    near_misses = (Specimen([("UPDATE docs SET body = ?", ('{"a": 2}',)), "COMMIT"], _DOCS),)

    def matches(self, evidence: Evidence) -> bool:
        if said(sole_error(evidence, "postgres", "22P02"), r"invalid input syntax for type json|json"):
            return True
        return said(sole_error(evidence, "sqlite"), "malformed JSON") is not None
