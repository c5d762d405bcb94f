"""PostgreSQL's messages in English, whatever language a given server speaks.

``lc_messages`` chooses the language of a server, and only a superuser may change it, for the application too.
What is not translated says enough: the SQLSTATE, the C function that raised the error, and the names, types and
SQL words inside the message. From these the English sentence is put together again, for the errors that rules
read. No rule and no database is known here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from pytest_dualdb.recording import Failure

_QUOTED = re.compile(r"»(.*?)«|«[\s\xa0]?(.*?)[\s\xa0]?»|„(.*?)[“”]|“(.*?)”|\"(.*?)\"")
_ENGLISH = re.compile(r"(?<![\w-])(not|must|cannot|does|is|of|at|by|for|violates|exists)(?![\w-])")
"""Words that English messages have outside of quotation marks, and those of other languages have not."""
# in some languages a name stands among letters without a space, so only ASCII ends it
_TYPE = re.compile(
    r"(?<![\w-])(?:(?:timestamp|time) with(?:out)? time zone|double precision"
    r"|(?:character|bit)(?: varying)?(?:\(\d+\))?|boolean|smallint|integer|bigint|numeric|real|money|text"
    r"|bytea|date|time|timestamp|interval|uuid|jsonb?|unknown|record)(?:\[\])?(?![\w-])",
    re.A,
)
_SQL_WORDS = re.compile(r"(?<![\w-])[A-Z]{2,}(?:[/ ][A-Z]{2,})*(?!\w)", re.A)
_CALL = re.compile(r"[\w.]+\([^()]*(?:\(\d+\)[^()]*)*\)", re.A)
_DOTTED = re.compile(r"\w+(?:\.\w+)+", re.A)
_OPERATION = re.compile(r".*[:：]\s*(.+)$")

_SENTENCES: Mapping[tuple[str, str], str] = {
    ("0A000", "transformColumnRef"): "cannot use column reference in {words[0]} expression",
    ("21000", "ExecOnConflictUpdate"): "ON CONFLICT DO UPDATE command cannot affect row a second time",
    ("22001", ""): "value too long for type {types[0]}",
    ("22003", "apply_typmod"): "numeric field overflow",
    ("22003", "pg_strtoint"): 'value "{quoted[0]}" is out of range for type {types[0]}',
    ("22003", ""): "{types[0]} out of range",
    ("22007", ""): 'invalid input syntax for type {types[0]}: "{last[0]}"',
    ("22008", ""): 'date/time field value out of range: "{quoted[0]}"',
    ("22025", ""): "LIKE pattern must not end with escape character",
    ("22021", ""): "invalid byte sequence for encoding",
    ("2201W", ""): "LIMIT must not be negative",
    ("2201X", ""): "OFFSET must not be negative",
    ("22P02", "json"): "invalid input syntax for type json",
    ("22P02", "enum_in"): 'invalid input value for enum {words[0]}: "{quoted[0]}"',
    ("22P02", ""): 'invalid input syntax for type {types[0]}: "{last[0]}"',
    ("42601", "base_yyparse"): "LIMIT #,# syntax is not supported",
    ("42601", "findTargetlistEntrySQL92"): "non-integer constant in {words[0]}",
    ("42601", "transformOnConflictArbiter"): (
        "ON CONFLICT DO UPDATE requires inference specification or constraint name"
    ),
    ("42601", "typenameTypeMod"): 'type modifier is not allowed for type "{quoted[0]}"',
    ("42601", "scanner_yyerror"): 'syntax error at or near "{quoted[0]}"',
    ("42702", "colNameToVar"): 'column reference "{quoted[0]}" is ambiguous',
    ("42703", "errorMissingColumn"): 'column "{names[0]}" does not exist',
    ("42703", "transformColumnNameList"): (
        'column "{quoted[0]}" referenced in foreign key constraint does not exist'
    ),
    ("42703", ""): 'column "{quoted[0]}" of relation "{quoted[1]}" does not exist',
    ("42704", "get_collation_oid"): 'collation "{quoted[0]}" for encoding "{quoted[1]}" does not exist',
    ("42704", "typenameType"): 'type "{quoted[0]}" does not exist',
    ("42725", "op_error"): "operator is not unique: {operations[0]}",
    ("42725", "ParseFuncOrColumn"): "function {calls[0]} is not unique",
    ("42803", "check_ungrouped_columns_walker"): (
        'column "{names[0]}" must appear in the GROUP BY clause or be used in an aggregate function'
    ),
    ("42804", "ATAddForeignKeyConstraint"): "foreign key constraint cannot be implemented",
    ("42804", "coerce_to_boolean"): "argument of {words[0]} must be type boolean, not type {others[0]}",
    ("42804", "coerce_to_specific_type_typmod"): (
        "argument of {words[0]} must be type {types[0]}, not type {types[1]}"
    ),
    ("42804", "cookDefault"): (
        'column "{quoted[0]}" is of type {types[0]} but default expression is of type {types[1]}'
    ),
    ("42804", "enforce_generic_type_consistency"): (
        "could not determine polymorphic type because input has type {types[0]}"
    ),
    ("42804", "select_common_type"): "{words[0]} types {types[0]} and {types[1]} cannot be matched",
    ("42804", "transformAssignedExpr"): (
        'column "{quoted[0]}" is of type {types[0]} but expression is of type {types[1]}'
    ),
    ("42883", "ParseFuncOrColumn"): "function {calls[0]} does not exist",
    ("42883", "get_sort_group_operators"): "could not identify an equality operator for type {types[0]}",
    ("42883", "op_error"): "operator does not exist: {operations[0]}",
    ("42P01", "errorMissingRTE"): 'missing FROM-clause entry for table "{quoted[0]}"',
    ("42P01", ""): 'relation "{names[0]}" does not exist',
    ("42P07", ""): 'relation "{quoted[0]}" already exists',
    ("42P10", "transformDistinctClause"): (
        "for SELECT DISTINCT, ORDER BY expressions must appear in select list"
    ),
    ("3F000", ""): 'schema "{quoted[0]}" does not exist',
}
"""English by SQLSTATE and routine, the nearest first; a routine is given by its beginning."""


def in_english(failure: Failure) -> str:
    """Return the first line of an error's message, in English as far as that can be told."""
    line = failure.message.strip().partition("\n")[0]
    routine = failure.fields.get("routine")
    bare = _QUOTED.sub("", line)
    if routine is None or _ENGLISH.search(bare):
        return line
    quoted = ["".join(found) for found in _QUOTED.findall(line)]
    if routine == "scanner_yyerror" and not quoted:
        return "syntax error at end of input"
    if routine == "scanner_yyerror" and '""' in line:
        return "zero-length delimited identifier"
    sentence = next(
        (
            sentence
            for (sqlstate, beginning), sentence in _SENTENCES.items()
            if sqlstate == failure.sqlstate and routine.startswith(beginning)
        ),
        None,
    )
    if sentence is None:
        return line
    types = _TYPE.findall(line)
    text = bare.partition(":  ")[2] or bare  # behind the severity, which psycopg2 leaves if it is not "ERROR"
    try:
        return sentence.format(
            quoted=quoted,
            last=quoted[-1:],
            names=[*quoted, *_DOTTED.findall(text)],
            types=types,
            others=[one for one in types if one != "boolean"],
            words=_SQL_WORDS.findall(text),
            calls=_CALL.findall(text),
            operations=_OPERATION.findall(line),
        )
    except IndexError:  # the wording has none of what this sentence needs
        return line
