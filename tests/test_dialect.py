"""Placeholders, scripts and functions: what the text becomes, and that both live databases agree about it."""

from __future__ import annotations

import datetime
import sqlite3
import types
from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, get_args

import psycopg2
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from pytest_dualdb.dialect import (
    Functions,
    PlaceholderError,
    ScriptError,
    Unit,
    bind,
    bind_many,
    quote_name,
    quote_text,
    split_script,
)
from pytest_dualdb.recording import Backend

BACKENDS: tuple[Backend, ...] = ("sqlite", "postgres")
Both = Callable[..., list[tuple[Any, ...]]]


@pytest.fixture(scope="module")
def connections(postgres_dsn: str) -> Iterator[dict[Backend, Any]]:
    postgres = psycopg2.connect(postgres_dsn)
    postgres.autocommit = True
    with postgres.cursor() as cursor:
        # Another zone than UTC must change nothing.
        cursor.execute("SET TimeZone = 'America/New_York'; SET search_path = pg_temp")
    sqlite = sqlite3.connect(":memory:")
    yield {"sqlite": sqlite, "postgres": postgres}
    postgres.close()
    sqlite.close()


def run(connection: Any, backend: Backend, sql: str, params: Any = ()) -> list[tuple[Any, ...]]:
    """Execute what `bind` makes of a statement, as `Database.execute` does."""
    cursor = connection.cursor()
    try:
        cursor.execute(*bind(sql, params, backend))
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        cursor.close()


@pytest.fixture
def both(connections: dict[Backend, Any]) -> Both:
    """Run a statement, or what a function makes of `Functions`, on both; fail unless the rows are equal."""

    def execute(sql: str | Callable[[Functions], str], params: Any = ()) -> list[tuple[Any, ...]]:
        rows = {}
        for backend in BACKENDS:
            text = sql if isinstance(sql, str) else sql(Functions(backend))
            rows[backend] = run(connections[backend], backend, text, params)
        assert rows["sqlite"] == rows["postgres"]
        return rows["sqlite"]

    return execute


def postgres_text(sql: str, params: Any) -> str:
    return bind(sql, params, "postgres")[0]


# --- placeholders ---


@pytest.mark.parametrize(
    ("sql", "count", "expected"),
    [
        ("SELECT ?", 1, "SELECT %s"),
        ("SELECT ?::text, a::int FROM t WHERE b=?", 2, "SELECT %s::text, a::int FROM t WHERE b=%s"),
        ("SELECT '?', \"a?\", ? -- why?\n/* ? /* ? */ ? */", 1, None),
        ("SELECT $$ ? $$, $x$ ? $$ ? $x$, ?", 1, "SELECT $$ ? $$, $x$ ? $$ ? $x$, %s"),
        ("SELECT E'it\\'s ?', 'it''s ?', U&'?', ?", 1, "SELECT E'it\\'s ?', 'it''s ?', U&'?', %s"),
        ("SELECT e'a'\n  'b\\' ?', ?", 1, "SELECT e'a'\n  'b\\' ?', %s"),
        ("WHERE name LIKE ? || '%'", 1, "WHERE name LIKE %s || '%%'"),
        ("SELECT ?||'x', 10 % ?, a%b", 2, "SELECT %s||'x', 10 %% %s, a%%b"),
        ("WHERE x IN (?, ?) AND ? = 1 OR NOT ?", 4, "WHERE x IN (%s, %s) AND %s = 1 OR NOT %s"),
        ("CASE WHEN ? THEN ? ELSE ? END", 3, "CASE WHEN %s THEN %s ELSE %s END"),
        ("LIMIT ? OFFSET ?", 2, "LIMIT %s OFFSET %s"),
        ("FETCH FIRST ? ROWS ONLY", 1, "FETCH FIRST %s ROWS ONLY"),
        ("VALUES (?), (?) RETURNING ? x", 3, "VALUES (%s), (%s) RETURNING %s x"),
        ("SELECT ? AS a, ? b, ? FROM t", 3, "SELECT %s AS a, %s b, %s FROM t"),
        ("now() - INTERVAL ? AND d = DATE ?", 2, "now() - INTERVAL %s AND d = DATE %s"),
        ("a BETWEEN ? AND ? ESCAPE ?", 3, "a BETWEEN %s AND %s ESCAPE %s"),
        ("substring(a FROM ? FOR ?) AT TIME ZONE ?", 3, "substring(a FROM %s FOR %s) AT TIME ZONE %s"),
        ("ROWS BETWEEN ? PRECEDING AND ? FOLLOWING", 2, "ROWS BETWEEN %s PRECEDING AND %s FOLLOWING"),
        ("ARRAY[?, ?], a[?], a[?:?]", 5, "ARRAY[%s, %s], a[%s], a[%s:%s]"),
        ("x = ANY(?) AND flags = ?&4 AND ?|1 = 3", 3, "x = ANY(%s) AND flags = %s&4 AND %s|1 = 3"),
        ("a>?AND b<=?AND c<>?", 3, "a>%sAND b<=%sAND c<>%s"),
        ("doc @@? AND box <@? AND doc @>?", 3, "doc @@%s AND box <@%s AND doc @>%s"),
        # the JSON and geometric operators
        ("data ? 'key'", 0, "data ? 'key'"),
        ("data->'a' ? ?", 1, "data->'a' ? %s"),
        ("data ?| ? AND (data) ?& ARRAY[?]", 2, "data ?| %s AND (data) ?& ARRAY[%s]"),
        ("data ?| array['a'] AND 1 = ?", 1, "data ?| array['a'] AND 1 = %s"),
        ("?::jsonb ? 'k'", 1, "%s::jsonb ? 'k'"),
        ("? ? ?", 2, "%s ? %s"),
        ("WHERE data ? name AND data->>'a' = ?", 1, "WHERE data ? name AND data->>'a' = %s"),
        ("t.date ? 'k' AND x::date ? (?)", 1, "t.date ? 'k' AND x::date ? (%s)"),
        ("data ?? 'k' AND data ??| ? AND a = ?", 2, "data ? 'k' AND data ?| %s AND a = %s"),
        ("data @? '$.a' AND data @?? AND 1 = ?", 1, None),
        ("data OPERATOR(pg_catalog.?) 'k' AND a = ?", 1, "data OPERATOR(pg_catalog.?) 'k' AND a = %s"),
        (
            "data ? CASE WHEN ? THEN 'a' END AND @? > @ ?",
            3,
            "data ? CASE WHEN %s THEN 'a' END AND @%s > @ %s",
        ),
        ("a ?|| b AND c ?# d AND e ?-| ?", 1, "a ?|| b AND c ?# d AND e ?-| %s"),
    ],
)
def test_question_marks(sql: str, count: int, expected: str | None) -> None:
    params = tuple(range(count))
    assert bind(sql, params, "postgres")[1] == (params or None)
    if expected is not None:
        assert postgres_text(sql, params) == expected
    with pytest.raises(PlaceholderError):
        bind(sql, (*params, 0), "postgres")
    if "$$" not in sql and "e'" not in sql.lower() and "[" not in sql and "/* ? /*" not in sql:
        assert bind(sql, params, "sqlite") == (sql, params)


@pytest.mark.parametrize(
    ("sql", "names", "expected"),
    [
        ("a = :a AND b=:b OR a>:a", "ab", "a = %(a)s AND b=%(b)s OR a>%(a)s"),
        ("SELECT :a::text, x::int, ':b'", "a", "SELECT %(a)s::text, x::int, ':b'"),
        ("f(x := :x, y:=:y)", "xy", "f(x := %(x)s, y:=%(y)s)"),
        ("TIME '12:30' < :t AND a[1:2] = a[1:n] AND a[x:n] = a[:i]", "ti", None),
        ("SELECT json_object('k':v, 'a' : :a)", "a", "SELECT json_object('k':v, 'a' : %(a)s)"),
        ("data ? :k AND note LIKE '%x:y%'", "k", "data ? %(k)s AND note LIKE '%%x:y%%'"),
        ("SELECT :é, :a1_b", ["é", "a1_b"], "SELECT %(é)s, %(a1_b)s"),
    ],
)
def test_names(sql: str, names: list[str], expected: str | None) -> None:
    params = dict.fromkeys(names, 1) | {"unused": 2}
    if expected is not None:
        assert postgres_text(sql, params) == expected
    for name in names:
        with pytest.raises(PlaceholderError, match=f"no value for :{name} "):
            bind(sql, {key: value for key, value in params.items() if key != name}, "postgres")


def test_percent_is_only_doubled_where_psycopg2_reads_it() -> None:
    sql = "SELECT 10 % 3, 'a%s', '%(x)s'"
    assert (
        bind(sql, (), "postgres") == bind(sql, None, "postgres") == bind(sql, {}, "postgres") == (sql, None)
    )
    assert bind(sql, {"x": 1}, "postgres") == (sql, None)
    assert bind(sql, [], "sqlite") == bind(sql, None, "sqlite") == (sql, ())


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("sql", "params", "message"),
    [
        ("SELECT ?, ?", (1,), "2 placeholders, but 1 parameter: SELECT ?, ?"),
        ("SELECT ?", (), "1 placeholder, but 0 parameters: SELECT ?"),
        ("SELECT ?", None, "1 placeholder, but 0 parameters: SELECT ?"),
        ("SELECT 1", [1, 2], "0 placeholders, but 2 parameters: SELECT 1"),
        ("SELECT :a, :b, :a", {"b": 1}, "no value for :a (given: b): SELECT :a, :b, :a"),
        ("SELECT :a", {}, "no value for :a (given: nothing): SELECT :a"),
        ("SELECT :a", (1,), ":a wanted, but 1 parameter in a sequence: pass a mapping: SELECT :a"),
        (
            "SELECT ?",
            {"a": 1},
            "1 placeholder ?, but the parameters are a mapping (a): "
            "write :name, or pass a sequence: SELECT ?",
        ),
        ("SELECT ?, :a", (1,), "? and :a in one statement, use one kind: SELECT ?, :a"),
        ("SELECT ?", "x", "parameters must be a sequence or a mapping, not str: write (value,): SELECT ?"),
        ("SELECT ?", 1, "parameters must be a sequence or a mapping, not int: write (value,): SELECT ?"),
        ("SELECT ?", {1}, "parameters must be a sequence or a mapping, not set: write (value,): SELECT ?"),
        ("SELECT ?1", (1,), "?1 is known to SQLite only: write ? or :name: SELECT ?1"),
        (
            "SELECT %s",
            (1,),
            "%s is psycopg2's own placeholder, write ? or :name on both backends: "
            "0 placeholders, but 1 parameter: SELECT %s",
        ),
    ],
)
def test_what_does_not_fit_is_said_in_one_line(backend: Backend, sql: str, params: Any, message: str) -> None:
    with pytest.raises(PlaceholderError) as raised:
        bind(sql, params, backend)
    assert str(raised.value) == message


@pytest.mark.parametrize("backend", BACKENDS)
def test_native_names_and_long_statements_in_messages(backend: Backend) -> None:
    with pytest.raises(PlaceholderError, match=r"%\(a\)s is psycopg2's own placeholder"):
        bind("SELECT %(a)s", {"a": 1}, backend)
    with pytest.raises(PlaceholderError) as raised:
        bind("SELECT\n  " + "a, " * 9000 + "?", (), backend)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 150
    with pytest.raises(PlaceholderError, match="must be str, not bytes"):
        bind(b"SELECT 1", (), backend)  # type: ignore[arg-type]


@pytest.mark.parametrize("backend", BACKENDS)
def test_many(backend: Backend) -> None:
    text, rows = bind_many("INSERT INTO t VALUES (?, '%')", iter([(1,), [2]]), backend)
    assert text == (
        "INSERT INTO t VALUES (%s, '%%')" if backend == "postgres" else "INSERT INTO t VALUES (?, '%')"
    )
    assert rows == [(1,), [2]]
    assert bind_many("SELECT ?", [], backend)[1] == []
    with pytest.raises(
        PlaceholderError, match=r"^row 2 of executemany: 1 placeholder, but 2 parameters: SELECT"
    ):
        bind_many("SELECT ?", [(1,), (1, 2)], backend)


def test_drivers_take_what_bind_gives(both: Both, connections: dict[Backend, Any]) -> None:
    assert both("SELECT ?, '?%', 'a''?', ? -- ?%\n", (1, "x%s")) == [(1, "?%", "a'?", "x%s")]
    assert both("SELECT :é, :b /* :c % */", OrderedDict(b=2, é="%")) == [("%", 2)]
    assert both("SELECT :a", types.MappingProxyType({"a": 1})) == [(1,)]
    assert both("SELECT ?, ?", range(2)) == [(0, 1)]
    assert both("SELECT 7 % 4, '%s%%'", ()) == both("SELECT 7 % 4, '%s%%'", {"a": 1}) == [(3, "%s%%")]
    both("CREATE TABLE many (a integer, b text)")
    for backend, connection in connections.items():
        cursor = connection.cursor()
        cursor.executemany(*bind_many("INSERT INTO many VALUES (:a, '%:a?')", [{"a": 1}, {"a": 2}], backend))
        cursor.executemany(*bind_many("INSERT INTO many VALUES (3, '%')", [(), None, {}], backend))
    assert both("SELECT * FROM many ORDER BY a") == [(1, "%:a?"), (2, "%:a?"), *[(3, "%")] * 3]


@pytest.mark.parametrize(
    ("sql", "params", "expected"),
    [
        ("""SELECT '{"a": 1}'::jsonb ? 'a', ?::jsonb ? ?""", ('{"b": 1}', "b"), (True, True)),
        (
            """SELECT d ?| ARRAY[?, 'z'], d ?& ARRAY['a', ?] FROM (SELECT '["a"]'::jsonb AS d) t""",
            "ab",
            (True, False),
        ),
        ("""SELECT '{"a": 1}'::jsonb @? '$.a', '{"a": 1}'::jsonb ?? ?""", ("a",), (True, True)),
        ("SELECT (ARRAY[1, ?, 3])[2:3], $x$ ? % $x$ || ?", (5, "y"), ([5, 3], " ? % y")),
        ("SELECT now() - INTERVAL ? < now(), 'ab' LIKE ?||'%'", ("1 day", "a"), (True, True)),
    ],
)
def test_operators_of_postgres(connections: dict[Backend, Any], sql: str, params: Any, expected: Any) -> None:
    assert run(connections["postgres"], "postgres", sql, tuple(params)) == [expected]


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=20)
MARKS = st.text("?:%'\"$a1 \\\n-/*;[]`", max_size=12) | TEXT


def hidden(backend: Backend) -> st.SearchStrategy[str]:
    """Make text in which nothing is code: literals, quoted names, comments, dollar bodies."""
    kinds = [
        MARKS.map(quote_text),
        MARKS.map(lambda text: '"' + text.replace('"', '""') + '"'),
        MARKS.map(lambda text: "--" + text.replace("\n", "").replace("\r", "") + "\n"),
        MARKS.map(lambda text: "/*" + text.replace("*", "").replace("/", "") + "*/"),
    ]
    if backend == "sqlite":
        kinds += [
            MARKS.map(lambda text: "[" + text.replace("]", "") + "]"),
            MARKS.map(lambda text: "`" + text.replace("`", "``") + "`"),
            MARKS.map(lambda text: "/*" + text.replace("*", "") + "/* " + "*/"),
        ]
    else:
        kinds += [
            MARKS.map(lambda text: "E'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"),
            MARKS.map(lambda text: "$q$" + text.replace("$", "") + "$q$"),
            MARKS.map(lambda text: "$$" + text.replace("$", "") + "$$"),
            MARKS.map(lambda text: "/* /*" + text.replace("*", "").replace("/", "") + "*/ ? */"),
        ]
    return st.one_of(kinds)


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_what_is_no_code_stays_as_it_is(backend: Backend, data: st.DataObject) -> None:
    parts = data.draw(st.lists(hidden(backend), max_size=5))
    named = data.draw(st.booleans())
    marks = [f":p{number}" if named else "?" for number in range(len(parts))]
    sql = "SELECT " + ", ".join(f"{mark} = {part}\n" for mark, part in zip(marks, parts, strict=True))
    params: Any = dict.fromkeys((mark[1:] for mark in marks), 0) if named else [0] * len(parts)
    text, bound = bind(sql, params, backend)
    if not parts or backend == "sqlite":
        assert text == sql
    else:
        # psycopg2's own formatting gives the statement back.
        assert text % ({mark[1:]: mark for mark in marks} if named else tuple(marks)) == sql
        assert bound == params
    assert bind("".join(parts), (), backend)[0] == "".join(parts)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(literals=st.lists(MARKS, min_size=1, max_size=4), values=st.lists(MARKS, max_size=4))
def test_values_and_literals_arrive_unchanged(both: Both, literals: list[str], values: list[str]) -> None:
    sql = "SELECT " + ", ".join([*map(quote_text, literals), *["CAST(? AS text)"] * len(values)])
    assert both(sql, values) == [(*literals, *values)]


# --- scripts ---


def texts(sql: str, backend: Backend) -> list[str]:
    return [statement.text for statement in split_script(sql, backend)]


SHARED = [
    "SELECT 1",
    "INSERT INTO t VALUES ('a;b', \"c;d\") -- x;\n, (2)",
    "SELECT /* ; */ 'it''s;' AS x",
    "CREATE TABLE t (id integer PRIMARY KEY, -- the key; of it\n name text DEFAULT ';')",
    "BEGIN",
    "COMMIT",
    "UPDATE t SET a = CASE WHEN b THEN 1 ELSE 2 END",
]
OWN: dict[Backend, list[str]] = {
    "sqlite": [
        "CREATE TRIGGER a AFTER INSERT ON t BEGIN SELECT 1; UPDATE t SET a = CASE b WHEN 1 THEN 2 END; END",
        "create temp trigger if not exists a after update on t when new.x = ';' begin select [;], `;`; end",
        "CREATE TABLE trigger_log ([a;b] text, `c;` text)",
        "SELECT /* /* */ 1",
        "SELECT 1 AS E, 'a\\'",
    ],
    "postgres": [
        "CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$",
        "DO $body$ BEGIN PERFORM $$;$$; END; $body$",
        "CREATE OR REPLACE FUNCTION g(a int) RETURNS int LANGUAGE sql BEGIN ATOMIC SELECT 1; "
        "SELECT CASE a WHEN 1 THEN 2 ELSE 3 END; END",
        "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); NOTIFY u;)",
        "CREATE TRIGGER a BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION f()",
        "SELECT E'\\';', U&'\\0441;' /* /* ; */ ; */, $1",
        "COPY t TO stdout",
    ],
}
GAPS = [";", "; ", ";\n", "; -- c;'\n", ";/* ; */", ";;\n\n;", "\n;\n"]


@pytest.mark.parametrize("backend", BACKENDS)
@given(data=st.data())
def test_scripts_come_apart_where_they_were_joined(backend: Backend, data: st.DataObject) -> None:
    wanted = data.draw(st.lists(st.sampled_from(SHARED + OWN[backend]), max_size=6))
    before = data.draw(st.sampled_from(["", "\n", "\ufeff", "-- it's;\n", "/* ' ; */ ;\n"]))
    script = before
    lines = []
    for text in wanted:
        lines.append(script.count("\n") + 1)
        script += text + data.draw(st.sampled_from(GAPS))
    found = split_script(script, backend)
    assert [statement.text for statement in found] == wanted
    assert [statement.line for statement in found] == lines
    if wanted:
        assert texts(wanted[-1], backend) == wanted[-1:]


@pytest.mark.parametrize("backend", BACKENDS)
@given(script=st.text("ab'\"$;-/*\n ()[]E", max_size=40))
@example(script="--E\nE;/*E*/E")
def test_nothing_but_separators_and_comments_is_lost(backend: Backend, script: str) -> None:
    position = 0
    between = []
    for text in texts(script, backend):
        start = script.index(text, position)
        while texts(script[position:start] + text, backend) != [text]:  # found in a comment before it
            start = script.index(text, start + 1)
        between.append(script[position:start])
        position = start + len(text)
        assert texts(text, backend) == [text]
    between.append(script[position:])
    assert texts(";".join(between), backend) == []


def test_scripts_run(connections: dict[Backend, Any]) -> None:
    script = {
        "sqlite": """
            CREATE TABLE "s;1" (a integer); -- ;
            CREATE TRIGGER tr AFTER INSERT ON "s;1" WHEN new.a < 3 BEGIN
              INSERT INTO "s;1" VALUES (CASE WHEN new.a = 1 THEN 10 END); SELECT ';';
            END;
            INSERT INTO "s;1" VALUES (1)""",
        "postgres": """
            CREATE TABLE "s;1" (a integer); /* ; /* ; */ ; */
            CREATE FUNCTION pg_temp.f() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN
              INSERT INTO "s;1" VALUES (10); RETURN NULL; END; $f$;
            CREATE TRIGGER tr AFTER INSERT ON "s;1" FOR EACH ROW WHEN (new.a < 3)
              EXECUTE FUNCTION pg_temp.f();
            CREATE FUNCTION pg_temp.g(a int) RETURNS int LANGUAGE sql
              BEGIN ATOMIC SELECT 1; SELECT CASE a WHEN 1 THEN 2 END; END;
            INSERT INTO "s;1" VALUES (1);""",
    }
    for backend, connection in connections.items():
        for statement in split_script(script[backend], backend):
            connection.cursor().execute(statement.text)
        assert run(connection, backend, 'SELECT a FROM "s;1" ORDER BY a') == [(1,), (10,)]


def test_dump_guards_are_passed_over() -> None:
    script = "-- dump\n\\restrict abc'd\n\nSET x = 1;\n\\unrestrict abc'd\n"
    assert [(s.text, s.line) for s in split_script(script, "postgres")] == [("SET x = 1", 4)]


@pytest.mark.parametrize(
    ("backend", "script", "line", "message"),
    [
        (
            "postgres",
            "SELECT 1;\n\\connect app\n",
            2,
            r"line 2: \connect app is for psql, not SQL: remove it",
        ),
        ("postgres", "SELECT 1\n\\gexec\n", 2, r"line 2: \gexec is for psql, not SQL: remove it"),
        (
            "postgres",
            "\n\nCOPY t (a, b) FROM stdin;\n1\tit's\n\\.\n",
            3,
            "line 3: COPY ... FROM stdin needs psql: write INSERT (pg_dump --inserts)",
        ),
        ("sqlite", ".read x.sql\n", 1, "line 1: .read x.sql is for the sqlite3 shell, not SQL: remove it"),
    ],
)
def test_shell_commands_are_refused(backend: Backend, script: str, line: int, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        split_script(script, backend)
    assert str(raised.value) == message
    assert (raised.value.line, raised.value.reason) == (line, message.partition(": ")[2])


# --- functions ---


def test_now_is_this_second_in_utc(both: Both, connections: dict[Backend, Any]) -> None:
    for backend, connection in connections.items():
        f = Functions(backend)
        before = datetime.datetime.now(datetime.UTC).replace(microsecond=0, tzinfo=None)
        sql = f"SELECT {f.timestamp_text(f.now())}, {f.date_text(f.current_date())}"
        [(now, today)] = run(connection, backend, sql)
        after = datetime.datetime.now(datetime.UTC).replace(tzinfo=None)
        # SQLite's clock can be a few milliseconds behind.
        assert before - datetime.timedelta(seconds=1) <= datetime.datetime.fromisoformat(now) <= after
        assert today in (str(before.date()), str(after.date()))
    assert both(lambda f: f"SELECT {f.seconds_between(f.now(), f.now())}") == [(0,)]


def test_now_goes_into_columns_of_every_type(both: Both, connections: dict[Backend, Any]) -> None:
    both("CREATE TABLE moments (stamp timestamp, day date, words text)")
    both(lambda f: f"INSERT INTO moments VALUES ({f.now()}, {f.current_date()}, {f.now()})")
    for backend, connection in connections.items():
        f = Functions(backend)
        same = f"{f.timestamp_text('stamp')} = words, {f.date_text('day')} = substr(words, 1, 10)"
        assert run(connection, backend, f"SELECT {same} FROM moments") == [(True, True)]


MOMENTS = st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(microsecond=0).isoformat(" ")
)


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(moment=MOMENTS, amount=st.integers(-600, 600), unit=st.sampled_from(get_args(Unit)), other=MOMENTS)
def test_date_arithmetic(both: Both, moment: str, amount: int, unit: Unit, other: str) -> None:
    literal = both(lambda f: f"SELECT {f.timestamp_text(f.add(quote_text(moment), amount, unit))}")
    assert both(lambda f: f"SELECT {f.timestamp_text(f.add('?', '?', unit))}", (moment, amount)) == literal
    [(seconds,)] = both(lambda f: f"SELECT {f.seconds_between('?', '?')}", (moment, other))
    [(text,)] = both(lambda f: f"SELECT {f.timestamp_text(f.add('?', '?', 'seconds'))}", (moment, seconds))
    assert text == other


def test_date_arithmetic_in_figures(both: Both) -> None:
    def added(moment: str, amount: int, unit: Unit) -> Any:
        return both(lambda f: f"SELECT {f.timestamp_text(f.add('?', amount, unit))}", (moment,))[0][0]

    assert added("2024-01-31 10:20:30", 1, "months") == "2024-02-29 10:20:30"
    assert added("2024-02-29", -1, "years") == "2023-02-28 00:00:00"
    assert added("2024-02-28 23:59:59.9", 1, "days") == "2024-02-29 23:59:59"
    # 10 March 2024 has 23 hours in the time zone of the PostgreSQL connection.
    assert added("2024-03-10 01:30:00", 2, "hours") == "2024-03-10 03:30:00"
    both("CREATE TABLE event (v integer, n integer, at timestamp)")
    both("INSERT INTO event VALUES (3, 2, '2024-01-31 00:00:00'), (1, 1, NULL)")
    moved = both(lambda f: f"SELECT v, {f.date_text(f.add('at', 'n * v', 'months'))} FROM event ORDER BY v")
    assert moved == [(1, None), (3, "2024-07-31")]
    with pytest.raises(ValueError, match="'weeks' is no unit of time: use one of seconds, minutes"):
        Functions("sqlite").add("x", 1, "weeks")  # type: ignore[arg-type]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(text=TEXT, start=st.integers(1, 25), length=st.none() | st.integers(0, 25), part=TEXT)
def test_text(both: Both, text: str, start: int, length: int | None, part: str) -> None:
    stop = None if length is None else start - 1 + length
    assert both(lambda f: f"SELECT {f.substring('?', start, length)}", (text,)) == [(text[start - 1 : stop],)]
    for piece in (part, text[start:stop]):
        expected = text.find(piece) + 1
        assert both(lambda f: f"SELECT {f.position('?', '?')}", (text, piece)) == [(expected,)]
    assert both(lambda f: f"SELECT {f.concat('?', '1', '?')}", (text, part)) == [(f"{text}1{part}",)]


def test_text_of_null_and_numbers(both: Both) -> None:
    assert both(
        lambda f: (
            f"SELECT {f.concat('NULL', '?')}, {f.concat('12', '3')}, {f.substring('12345', '?', '?')},"
            f" {f.position('NULL', '?')}"
        ),
        ("a", 2, 3, "x"),
    ) == [(None, "123", "234", None)]
    with pytest.raises(ValueError, match="at least one"):
        Functions("sqlite").concat()
    for start, length in ((0, 1), (-1, None), (1, -1)):
        with pytest.raises(ValueError, match="start must be 1 or more, length 0 or more"):
            Functions("postgres").substring("x", start, length)


@pytest.mark.parametrize(
    ("text", "pattern", "expected"),
    [
        ("Ada", "aD%", True),
        ("Ada", "a_", False),
        ("50%", "50\\%", True),
        ("505", "50\\%", False),
        ("a_b", "A\\_B", True),
        ("É", "é", False),
        ("É", "É", True),
        ("straße", "STRA_E", True),
    ],
)
def test_ilike(both: Both, text: str, pattern: str, expected: bool) -> None:
    assert both(lambda f: f"SELECT {f.ilike('?', '?')}", (text, pattern)) == [(expected,)]
    other = pattern.replace("\\", "!")
    assert both(lambda f: f"SELECT {f.ilike('?', '?', '!')}", (text, other)) == [(expected,)]
    assert both(lambda f: f"SELECT 1 WHERE NOT {f.ilike('?', '?')}", (text, pattern)) == [(1,)] * (
        not expected
    )


def test_ilike_refuses_an_escape_that_lower_would_change() -> None:
    for escape in ("", "ab", "A", "%"):
        with pytest.raises(ValueError, match="can't escape in a pattern"):
            Functions("sqlite").ilike("x", "y", escape)


def test_string_agg(both: Both, connections: dict[Backend, Any]) -> None:
    both("CREATE TABLE book (author integer, title text, price integer)")
    both("INSERT INTO book VALUES (1, 'b', 3), (1, 'É', 1), (1, 'Z', 2), (1, NULL, 0), (2, NULL, 1)")
    alone = both(
        lambda f: f"SELECT author, {f.string_agg('price', '%;')} FROM book GROUP BY author ORDER BY author"
    )
    assert (alone[0][0], sorted(alone[0][1].split("%;"))) == (1, ["0", "1", "2", "3"])
    assert alone[1] == (2, "1")

    def titles(order_by: str = "") -> Any:
        rows = "book b WHERE b.author = t.a"
        authors = "(SELECT 1 AS a UNION SELECT 2 UNION SELECT 3) t ORDER BY a"
        return both(
            lambda f: f"SELECT a, {f.string_agg('title', ', ', rows=rows, order_by=order_by)} FROM {authors}"
        )

    assert titles() == [(1, "Z, b, É"), (2, None), (3, None)]
    assert titles("price DESC") == [(1, "b, Z, É"), (2, None), (3, None)]
    run(connections["sqlite"], "sqlite", "CREATE TABLE word (w text COLLATE NOCASE)")
    run(connections["postgres"], "postgres", "CREATE TABLE word (w text)")
    both("INSERT INTO word VALUES ('b'), ('C'), ('a')")
    assert both(lambda f: f"SELECT {f.string_agg('w', '', rows='word')}") == [("Cab",)]
    for backend in BACKENDS:
        with pytest.raises(ValueError, match="order_by needs rows"):
            Functions(backend).string_agg("x", order_by="x")


def test_boolean(both: Both) -> None:
    both("CREATE TABLE flag (on_ boolean)")
    both(lambda f: f"INSERT INTO flag VALUES ({f.boolean(True)}), ({f.boolean(False)})")
    assert both(lambda f: f"SELECT count(*), min(1) FROM flag WHERE on_ = {f.boolean(True)}") == [(1, 1)]


@pytest.mark.parametrize(
    ("document", "path", "expected"),
    [
        ('{"a": {"b c": ["x", "é"]}}', ("a", "b c", 1), "é"),
        ('{"a": true}', ("a",), "true"),
        ('{"a": false}', ("a",), "false"),
        ('{"a": null}', ("a",), None),
        ('{"a": "true"}', ("a",), "true"),
        ('{"a": "1"}', ("a",), "1"),
        ('{"a": 9007199254740993}', ("a",), "9007199254740993"),
        ('{"a": 1.5}', ("a",), "1.5"),
        ('{"a": -1.0}', ("a",), "-1.0"),
        ('{"it\'s": 1}', ("it's",), "1"),
        ('{"0": "key"}', (0,), None),
        ('["x"]', ("0",), None),
        ('["x"]', (0,), "x"),
        ('["x"]', (1,), None),
        ('"x"', ("a",), None),
        ('{"a": ""}', ("a",), ""),
        (None, ("a",), None),
    ],
)
def test_json_text(
    both: Both, document: str | None, path: tuple[str | int, ...], expected: str | None
) -> None:
    assert both(lambda f: f"SELECT {f.json_text('?', *path)}", (document,)) == [(expected,)]


def test_json_text_of_a_column(both: Both, connections: dict[Backend, Any]) -> None:
    run(connections["sqlite"], "sqlite", "CREATE TABLE doc (v json, id integer)")
    run(connections["postgres"], "postgres", "CREATE TABLE doc (v json, id integer)")
    both("""INSERT INTO doc VALUES ('{"on": true}', 1), ('{"on": "x"}', 2)""")
    selected = both(lambda f: f"SELECT id FROM doc WHERE {f.json_text('doc.v', 'on')} = ?", ("true",))
    assert selected == [(1,)]
    for path in ((), ('a"b',), ("a\\b",), (-1,)):
        with pytest.raises(ValueError, match="is no JSON path"):
            Functions("postgres").json_text("x", *path)


def test_insert_or_ignore_and_upsert(both: Both) -> None:
    both('CREATE TABLE item (id integer PRIMARY KEY, "order" text, "Name" text NOT NULL)')
    columns = ["id", "order", "Name"]
    both(lambda f: f.insert_or_ignore("item", columns), (1, "a", "first"))
    both(lambda f: f.insert_or_ignore("item", columns), (1, "b", "second"))
    assert both("SELECT * FROM item") == [(1, "a", "first")]
    both(lambda f: f.upsert("item", columns, ["id"], ["order"]), (1, "c", "third"))
    both(lambda f: f.upsert("item", columns, ["id"]), (2, "d", "fourth"))
    assert both("SELECT * FROM item ORDER BY id") == [(1, "c", "first"), (2, "d", "fourth")]
    both(lambda f: f.upsert("item", columns, ["id"]), (2, "e", "fifth"))
    both(lambda f: f.upsert("item", columns, ["id"], []), (2, "f", "sixth"))
    assert both("SELECT * FROM item WHERE id = 2") == [(2, "e", "fifth")]
    for backend in BACKENDS:
        f = Functions(backend)
        assert (
            f.insert_or_ignore("app.Order", ["a"])
            == 'INSERT INTO app."Order" (a) VALUES (?) ON CONFLICT DO NOTHING'
        )
        with pytest.raises(ValueError, match=r"unknown columns \['x'\]: give some of \['a'\]"):
            f.upsert("t", ["a"], ["x"])
        with pytest.raises(ValueError, match="no conflict columns"):
            f.upsert("t", ["a"], [])
        with pytest.raises(ValueError, match="columns must be a sequence of names, not 'a'"):
            f.insert_or_ignore("t", "a")


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    name=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=9)
)
def test_any_name_is_quoted_so_that_both_take_it(both: Both, name: str) -> None:
    quoted = quote_name(name)
    both(f"CREATE TABLE {quoted} ({quoted} integer PRIMARY KEY, {quote_name(name + '2')} integer)")
    try:
        both(f"INSERT INTO {quoted} ({quoted}) VALUES (?)", (1,))
        if "." not in name:
            both(lambda f: f.upsert(name, [name, f"{name}2"], [name]), (1, 2))
            assert both(f"SELECT {quoted}.{quote_name(name + '2')} FROM {quoted} WHERE {quoted} = 1") == [
                (2,)
            ]
    finally:
        both(f"DROP TABLE {quoted}")


def test_reserved_words_are_quoted(connections: dict[Backend, Any]) -> None:
    words = [
        word for (word,) in run(connections["postgres"], "postgres", "SELECT word FROM pg_get_keywords()")
    ]
    for backend, connection in connections.items():
        columns = ", ".join(f"{quote_name(word)} integer" for word in words)
        run(connection, backend, f"CREATE TABLE every_word ({columns})")
        run(connection, backend, Functions(backend).insert_or_ignore("every_word", words), [1] * len(words))
        for word in words:
            run(connection, backend, f"SELECT {quote_name(word)} FROM every_word AS {quote_name(word)}")
    with pytest.raises(ValueError, match="is no name"):
        quote_name("")
