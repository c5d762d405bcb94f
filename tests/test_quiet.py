"""The second half of the promise: nothing is reported where the databases agree.

`projects/portable` is an application's data access as both databases want it. Its halves may show their
drivers' types, gaps in generated keys and rows that nobody ordered, each `low`; its values of the run (times,
tokens, hashes, durations) must not show at all.
"""

from __future__ import annotations

import datetime
import hashlib
import uuid
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from projects import Projects, Run

from pytest_dualdb import syntax
from pytest_dualdb.compare import Context, align, compare
from pytest_dualdb.recording import (
    BACKENDS,
    Backend,
    Catalog,
    Column,
    Failure,
    Recording,
    Site,
    Statement,
    Table,
    TableState,
    TestFailure,
)
from pytest_dualdb.values import Equality, loose_key, same_value

STATEMENTS = 300
"""Different statements that the application sends at the least."""
REPRESENTATION = {
    "boolean-as-integer", "decimal-type", "integer-or-float", "json-decoded", "memoryview-for-bytes", "timestamp-as-text",
}  # fmt: skip
"""Rules about the Python type in which the drivers give one value."""


@pytest.fixture(scope="module", params=[(), ("-n2", "--db-isolation=clone")], ids=["n0", "n2-clone"])
def run(request: pytest.FixtureRequest, projects: Projects) -> Run:
    made = projects.run("portable", "--db=both", "--db-fail-on=medium", *request.param)
    assert made.report, made.text
    return made


def test_a_portable_application_is_left_alone(run: Run) -> None:
    loud = [
        (test["id"], d["kind"], d["severity"], d["message"])
        for test in run.report["tests"]
        for d in test["divergences"]
        if d["severity"] != "low"
    ]
    assert loud == []
    assert run.status == 0, run.text
    assert run.report["totals"]["not_comparable"] == 0
    assert run.report["totals"]["disagree"] < run.report["totals"]["agree"]


def test_what_is_low_is_about_types_keys_and_unasked_order(run: Run) -> None:
    found = {
        (test["id"].partition("::")[2], d["kind"], d["rule"])
        for test in run.report["tests"]
        for d in test["divergences"]
        if not (d["kind"] == "type" and d["rule"] in REPRESENTATION)
        and not (d["kind"] == "order" and d["rule"] == "unordered-rows")
        and not (d["kind"] in ("rows", "state") and "generated keys differ" in d["message"])
    }
    assert found == set()


@pytest.mark.parametrize(
    "name",
    [
        "test_token_and_what_a_trigger_writes_of_it", "test_duration", "test_duration_in_milliseconds",
        "test_payload_with_ids_and_times", "test_member_of_a_payload", "test_etag_of_content_with_a_time",
        "test_mail_with_a_link", "test_log_lines", "test_times_of_the_application", "test_expiry", "test_signed_value",
        "test_random_choice", "test_order_by_a_random_key", "test_order_by_the_random_function",
        "test_keys_of_the_application_referred_to",
        "test_number_with_date_and_random_part", "test_one_thread_after_another", "test_threads_at_once",
        "test_pool_of_threads", "test_triggers", "test_texts[7]", "test_numbers", "test_two_connections",
        "test_refused_and_gone_on", "test_cascade_and_set_null", "test_upserts", "test_session", "test_bulk",
        "test_loading[joinedload]", "test_many_to_many", "test_queries[0]", "test_clock_that_was_set",
        "test_types_of_the_application_by_a_clock_that_was_set",
    ],
)  # fmt: skip
def test_halves_that_differ_in_nothing_agree(run: Run, name: str) -> None:
    found = [test for test in run.report["tests"] if test["id"].endswith(f"::{name}")]
    # two files of the project have a test_queries
    assert "agree" in {test["verdict"] for test in found}, found


def test_the_application_is_large_enough_to_say_something(projects: Projects) -> None:
    made = projects.run("portable", "--db=postgres")
    sent = {s["sql"] for recording in made.report["recordings"] for s in recording["statements"]}
    assert len(sent) >= STATEMENTS


# ------------------------------------------------------------------------------------------------ in the small

START = 1_700_000_123.25
WINDOWS = ((START, START + 0.5), (START + 7, START + 7.5))
HASHES = hashlib.sha256(b"one").hexdigest(), hashlib.sha256(b"two").hexdigest()


def moment(seconds: float, side: int = 0) -> datetime.datetime:
    """Return a time that many seconds after the start of a half."""
    return datetime.datetime.fromtimestamp(WINDOWS[side][0] + seconds, datetime.UTC)


def both(text: str, seconds: float = 0.25) -> tuple[str, str]:
    """Return a text with a format of strftime in it, as each half writes it."""
    return moment(seconds).strftime(text), moment(seconds, 1).strftime(text)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        both("%Y-%m-%dT%H:%M:%S.%fZ"), both("at %Y-%m-%d %H:%M:%S+00:00: done"), both("%a, %d %b %Y %H:%M:%S GMT"),
        both("%Y%m%d%H%M%S"), both("%H:%M:%S"), both("Mon %H:%M:%S, again"), both("until %Y-%m-%d %H:%M."),
        both('{"exp": "%Y-%m-%dT%H:%M:%S"}', 3600), both("%Y-%m-%d %H:%M:%S", 30 * 86400), both("%Y-%m-%dT%H:%M:%S", -900),
        both("%Y-%m-%d %H:%M:%S", 100),
        (str(int(START)), str(int(START + 7))), (f"?t={START:.3f}&x", f"?t={START + 7:.3f}&x"),
        (int(START * 1e9), int((START + 7) * 1e9)), (moment(600), moment(600, 1)),
        HASHES, (f'W/"{HASHES[0][:16]}"', f'W/"{HASHES[1][:16]}"'), (f"v1${HASHES[0]}$x", f"v1${HASHES[1]}$x"),
        ({"tag": HASHES[0], "n": 1}, {"tag": HASHES[1], "n": 1}), ({HASHES[0]: 1}, {HASHES[1]: 1}),
        ({HASHES[0], "x"}, {HASHES[1], "x"}), ([HASHES[0]], f'["{HASHES[1]}"]'),
        ("id aZ3-kQ9xW_v7Lm2TyB4n.", "id Qx8Rt-2bNc5VwE7_hJ1k."),
        (f"<{uuid.UUID(int=1)}@example.com>", f"<{uuid.UUID(int=2)}@example.com>"),
    ],
)  # fmt: skip
def test_a_value_of_the_run_is_known_without_being_told(left: Any, right: Any) -> None:
    assert Equality(WINDOWS).same(left, right)


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("2024-01-01 10:00:00", "2024-01-01 10:00:01"), ("2024-01-01 10:00:00", "2024-01-01 15:00:00"),
        both("%Y-%m-%d %H:%M:%S", 27 * 3600 + 10), (moment(3600), moment(7200, 1)), (moment(0), moment(3600, 1)),
        ("12:00:00", "12:00:07"), ("20240101000000", "20240101000001"), (str(int(START - 60)), str(int(START + 7))),
        ("Ada", "Grace"), ("2.50", "2.5"), ("a1b2", "c3d4"), ("deadbeef", "cafebabe"), (HASHES[0], HASHES[0].upper()),
        (HASHES[0], HASHES[1][:40]), ("CustomerNameOne1", "CustomerNameTwo2"), ("1234567890123456", "6543210987654321"),
        (f"a {HASHES[0]}", f"b {HASHES[1]}"), ({"a": HASHES[0]}, {"b": HASHES[1]}), ({HASHES[0]: 1}, {HASHES[1]: 2}),
        ("x-very-long-word-in-a-name", "x-very-tall-word-in-a-name"), (0.25, 0.5), (1, 2), (b"1" * 16, b"2" * 16),
        ('{"a":1}', '{"a": 1}'), ({"a"}, {"b"}), ([1, 2], [2, 1]), ("1970-01-01 00:00:01", datetime.timedelta(seconds=2)),
    ],
)  # fmt: skip
def test_other_values_still_differ(left: Any, right: Any) -> None:
    assert not Equality(WINDOWS).same(left, right)


def test_a_moment_that_a_database_has_cut_is_no_reading_of_a_clock() -> None:
    equality = Equality(((START, START + 0.5), (START + 0.1, START + 0.6)))
    later = moment(30 * 86400 + 0.2)
    assert equality.same(f"{later:%Y-%m-%d %H:%M:%S}.4500004", later.replace(microsecond=550_000))
    assert not equality.same(f"{later:%Y-%m-%d %H:%M:%S}.4500009", later.replace(microsecond=450_001))


def test_a_wrong_reference_is_found_in_whatever_text() -> None:
    equality = Equality(WINDOWS)
    assert equality.same(f"made {HASHES[0]}", f"made {HASHES[1]}")
    other = hashlib.sha256(b"three").hexdigest()
    assert not equality.same(f"uses {HASHES[0]}", f"uses {other}")
    assert not equality.same({"uses": other}, {"uses": HASHES[1]})
    assert not equality.same([other, HASHES[0]], [HASHES[1], other])
    assert equality.same([HASHES[0]], [HASHES[1]])


def test_what_was_tried_in_vain_is_not_learnt() -> None:
    equality = Equality(WINDOWS)
    assert not equality.same(f"{HASHES[0]} Ada", f"{HASHES[1]} Grace")
    assert equality.same(HASHES[0], hashlib.sha256(b"three").hexdigest())


def test_pieces_of_a_parameter_are_known_again() -> None:
    equality = Equality(WINDOWS)
    equality.learn("key=abcdef/x+y==;n=1", "key=uvwxyz/p+q==;n=1")
    assert equality.same("abcdef", "uvwxyz")
    assert equality.same("ABCDEF", "UVWXYZ")
    assert equality.same("bcde", "vwxy")
    assert equality.same("sent key=abcdef/x+y==;n=1 to Ada", "sent key=uvwxyz/p+q==;n=1 to Ada")
    assert not equality.same("bcde", "wxyz")
    assert not equality.same("abc", "uvw")
    assert not equality.same("sent key=abcdef/x+y==;n=1 to Ada", "sent key=uvwxyz/p+q==;n=1 to Kay")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ((1, 2), [1, 3]), ((1,), [1, 2]), ([1], (1, 2)), ({1, 2}, {1, 3}), ({1}, {1, 2}), (frozenset({1}), frozenset({2})),
        (datetime.date(2024, 1, 1), datetime.datetime(2024, 1, 2)), ("x", datetime.timedelta(0)), ("x", datetime.date(2024, 1, 1)),
        (uuid.UUID(int=1), b"\0" * 16), (uuid.UUID(int=1), "x"), (None, [None]), ({"a": 1}, {"a": 1, "b": 2}), (1.5, None),
    ],
)  # fmt: skip
def test_near_misses_of_one_value(left: Any, right: Any) -> None:
    assert not Equality(WINDOWS).same(left, right)
    assert not Equality(WINDOWS[::-1]).same(right, left)


def test_a_set_is_compared_by_value() -> None:
    assert same_value({1, Decimal("2.5")}, {1.0, 2.5})
    assert same_value((1, 2), [True, 2.0])
    assert not same_value({1, 2}, {1, 3})


def test_only_floats_that_can_stand_for_themselves_are_learnt() -> None:
    equality = Equality(WINDOWS)
    equality.learn(0.12345678, 0.87654321)
    equality.learn(0.5, 0.25)
    equality.learn(7, 8)
    equality.learn("x", b"y")
    assert equality.same(0.12345678, 0.87654321)
    assert not equality.same(0.5, 0.25)
    assert not equality.same(7, 8)
    assert not equality.same("x", b"y")


def test_what_is_learnt_for_a_column_is_of_its_type() -> None:
    equality = Equality(WINDOWS)
    for left, right in ((True, False), (None, 1), (1, "2"), (1, 1.0)):
        equality.learn_for("a", left, right)
        assert left == right or not equality.same(left, right, "a")
    equality.learn_for("A", 3, 4)
    equality.learn_for("b", "red", "blue")
    assert equality.same(3, 4, "a")
    assert not equality.same(3, 4, "b")
    assert equality.same("red", "blue", "B")
    assert equality.measured == {"a"}


def test_an_interval_as_sqlalchemy_keeps_it() -> None:
    assert same_value("1970-01-02 01:00:00.500000", datetime.timedelta(days=1, hours=1, milliseconds=500))
    assert loose_key("1970-01-01 00:00:01") == loose_key(datetime.timedelta(seconds=1))


@pytest.mark.parametrize(
    ("text", "interval"),
    [
        ("1 day", datetime.timedelta(days=1)),
        ("1 day 02:30", datetime.timedelta(days=1, hours=2, minutes=30)),
        ("-1 days, 1:00:00.5", datetime.timedelta(days=-1, hours=1, milliseconds=500)),
        ("90 minutes", datetime.timedelta(minutes=90)),
        ("-00:00:01", datetime.timedelta(seconds=-1)),
        (str(datetime.timedelta(weeks=3, seconds=7)), datetime.timedelta(weeks=3, seconds=7)),
    ],
)
def test_an_interval_as_it_is_written(text: str, interval: datetime.timedelta) -> None:
    assert same_value(text, interval)
    assert not same_value(text, interval + datetime.timedelta(microseconds=1))
    assert not same_value(text + " x", interval)


def sent(sql: str, params: Any, rows: list[Any] | None = None, line: int = 1, thread: int = 0) -> Statement:
    columns = None if rows is None else tuple("ab"[: len(rows[0])])
    return Statement(
        "execute", sql, params, Site("app.py", line, "f"), columns, rows or (), "none" if rows is None else "all",
        -1 if rows is None else len(rows), thread=thread,
    )  # fmt: skip


def end(kind: str) -> Statement:
    return Statement(kind, kind.upper(), None, None)


def compared(
    left: list[Statement], right: list[Statement], **tables: tuple[list[Any], list[Any]]
) -> list[tuple[str, str]]:
    """Compare two halves; ``tables`` are the rows of one column `a` that each leaves behind."""
    sides = [
        Recording(
            "t", "t", backend, statements=tuple(statements), window=WINDOWS[side],
            state={name: TableState(("a",), tuple((v,) for v in rows[side]), len(rows[side])) for name, rows in tables.items()},
        )
        for side, (backend, statements) in enumerate(zip(BACKENDS, (left, right), strict=True))
    ]  # fmt: skip
    return [(d.kind, d.severity) for d in compare(sides[0], sides[1])]


WRITE = "INSERT INTO t (a) VALUES (?)"
READ = "SELECT a FROM t"


def test_numbers_that_the_halves_measured() -> None:
    left, right = [sent(WRITE, (12,)), sent(WRITE, (15,))], [sent(WRITE, (9,)), sent(WRITE, (31,))]
    assert compared(left, right, t=([12, 15], [9, 31])) == []
    assert compared([*left, sent(READ, (), [(12,), (15,)])], [*right, sent(READ, (), [(9,), (31,)])]) == []
    mean = "SELECT avg(a) FROM t"
    assert compared([*left, sent(mean, (), [(13.5,)])], [*right, sent(mean, (), [(20,)])]) == []
    assert compared(left, right, t=([12, 15], [9, 32])) == [("state", "high")]
    count = "SELECT count(*) FROM t"
    assert compared([*left, sent(count, (), [(2,)])], [*right, sent(count, (), [(1,)])]) == [("rows", "high")]
    assert compared(left, right, u=([12, 15], [9, 31])) == []


def test_numbers_that_the_halves_were_told() -> None:
    left = [sent(READ, (), [(1,)]), sent(WRITE, (12,))]
    right = [sent(READ, (), [(2,)]), sent(WRITE, (9,))]
    assert ("state", "high") in compared(left, right, t=([12], [9]))
    key = "INSERT INTO t (owner_id) VALUES (?)"
    assert compared([sent(key, (3,))], [sent(key, (0,))], t=([3], [0])) == [("state", "high")]


def test_text_that_comes_of_another_type() -> None:
    left = [sent(READ, (), [(2.5,)]), sent(WRITE, ("2.5 EUR",))]
    right = [sent(READ, (), [(Decimal("2.50"),)]), sent(WRITE, ("2.50 EUR",))]
    assert compared(left, right, t=(["2.5 EUR"], ["2.50 EUR"])) == [("type", "low"), ("state", "high")]


def test_rows_sorted_by_a_random_key() -> None:
    left, right = [sent(WRITE, (x,)) for x in ("k1", "k2")], [sent(WRITE, (x,)) for x in ("z9", "b3")]
    sort = READ + " ORDER BY a"
    assert (
        compared([*left, sent(sort, (), [("k1",), ("k2",)])], [*right, sent(sort, (), [("b3",), ("z9",)])])
        == []
    )
    first = sort + " LIMIT 1"
    assert compared([*left, sent(first, (), [("k1",)])], [*right, sent(first, (), [("b3",)])]) == []
    found = compared([*left, sent(READ, (), [("k1",)])], [*right, sent(READ, (), [("b3",)])])
    assert found == [("rows", "high")]
    plain = [sent(sort, (), [("a",), ("B",)])], [sent(sort, (), [("B",), ("a",)])]
    assert compared(*plain) == [("order", "medium")]


def test_threads_are_paired_by_what_they_do() -> None:
    tasks = [
        [sent(READ + " WHERE b = ?", (n,), [(n,)], thread=n), sent(READ, (), [(n,)], 2, n)] for n in range(3)
    ]
    assert compared([*tasks[0], *tasks[1], *tasks[2]], [*tasks[2], *tasks[0], *tasks[1]]) == []
    # a pool gives the third task to whichever thread is free
    pool = [[replace(s, thread=which) for s in tasks[n][:1]] for n, which in ((0, 0), (1, 1), (2, 0))]
    other = [[replace(s, thread=which) for s in tasks[n][:1]] for n, which in ((1, 0), (0, 1), (2, 1))]
    assert compared([s for t in pool for s in t], [s for t in other for s in t]) == []
    wrong = [replace(s, rows=[(7,)]) for s in tasks[1]]
    assert len(compared([*tasks[0], *tasks[1], *tasks[2]], [*tasks[2], *tasks[0], *wrong])) == 2


def test_ends_of_transactions_do_not_decide_what_is_paired() -> None:
    bad = Failure("psycopg2.errors.DatatypeMismatch", "ProgrammingError", "42804", "is of type boolean")
    left = [
        sent(WRITE, (1,)),
        end("commit"),
        sent(WRITE, (-7,)),
        end("commit"),
        sent(WRITE, (2,)),
        end("commit"),
    ]
    right = [
        sent(WRITE, (1,)), end("commit"), replace(sent(WRITE, (-7,)), error=bad), end("rollback"), sent(WRITE, (2,)), end("commit"),
    ]  # fmt: skip
    pairs = align(left, right)
    assert [(a.params, b.params) for a, b in pairs if a and b and a.kind == "execute"] == [
        ((1,),) * 2,
        ((-7,),) * 2,
        ((2,),) * 2,
    ]
    assert compared(left, right) == [("error", "high")]


def test_a_batch_more_leaves_the_others_where_they_are() -> None:
    reads = [sent(READ + " WHERE b = ?", (n,), [(n,)]) for n in range(4)]
    assert compared(reads, reads[1:]) == [("statements", "low")]
    assert compared(reads[1:], reads) == [("statements", "low")]


def test_from_without_a_table() -> None:
    sql = "SELECT EXTRACT(year FROM p.born), trim(BOTH FROM p.name), substring(p.a from 2) FROM p WHERE p.a IS DISTINCT FROM p.b"
    assert syntax.tables(sql) == {"p"}


def test_a_branch_of_one_half_leaves_the_keys_of_the_others_apart() -> None:
    left = [
        sent("PRAGMA foreign_keys=ON", None, line=9),
        *(sent(READ + " WHERE id = ?", (n,), [(n,)]) for n in (1, 2, 3)),
    ]
    right = [sent(READ + " WHERE id = ?", (n,), [(m,)]) for n, m in ((1, 1), (3, 2), (5, 3))]
    assert compared(left, right) == []


def test_batches_of_a_library_may_be_cut_otherwise() -> None:
    sql = "INSERT INTO t (a) VALUES (?)"
    left = [replace(sent(sql, (n,)), via="sqlalchemy", rowcount=1) for n in (1, 2, 3)]
    right = [replace(sent(sql, [(1,), (2,)]), kind="executemany", via="sqlalchemy", rowcount=-1), left[2]]
    assert compared(left, right) == []
    assert [a for a, b in align(left, right)] == []
    own = [replace(s, via="") for s in left], [replace(s, via="") for s in right]
    assert ("statements", "low") in compared(*own)


def test_scripts_and_copies_are_paired_by_their_place() -> None:
    for kind in ("script", "copy", "callproc"):
        left, right = (replace(sent(f"CREATE TABLE {name} (n)", None), kind=kind) for name in "ab")
        assert align([left], [right]) == [(left, right)]
        assert align([left], [replace(right, kind="execute")]) != [(left, right)]


def test_questions_about_the_schema_are_each_sides_own() -> None:
    left = [sent("SELECT name FROM sqlite_master", (), [("t",)], 4)]
    right = [sent("SELECT table_name FROM information_schema.tables", (), [("t",), ("u",)], 7)]
    assert compared(left, right) == []
    asked = [replace(sent(f"SELECT {n} AS a", (), [(n,)], n), columns=("a",)) for n in (1, 2)]
    assert compared([asked[0]], [asked[1]]) == [("rows", "high")]


@pytest.mark.parametrize("failing", BACKENDS)
def test_what_a_half_did_not_get_to_write(failing: str) -> None:
    error = TestFailure("call", "AssertionError", "no")
    first, second, last = (
        sent(READ, (), [(1,)]),
        sent("INSERT INTO t (a) VALUES (1)", ()),
        sent("INSERT INTO u (a) VALUES (1)", ()),
    )
    table = {"t": TableState(("a",), ((1,),), 1), "u": TableState(("a",), ((1,),), 1)}
    whole = Recording("t", "t", "sqlite", statements=(first, second, end("commit"), last), state=table)
    empty = {name: TableState(("a",), (), 0) for name in table}
    for count, notes in (
        (1, {"t": "cut-short", "u": "cut-short"}),
        (2, {"t": "", "u": "cut-short"}),
        (4, {"t": "", "u": ""}),
    ):
        cut = replace(
            whole, outcome="failed", failure=error, statements=whole.statements[:count], state=empty
        )
        sides = [replace(cut if backend == failing else whole, backend=backend) for backend in BACKENDS]
        found = compare(sides[0], sides[1])
        assert {d.table: d.note for d in found if d.kind == "state"} == notes
        both = [replace(side, outcome="failed", failure=error) for side in sides]
        assert {d.note for d in compare(both[0], both[1])} == {""}


def test_a_result_that_only_one_driver_describes() -> None:
    plain = sent("ALTER TABLE t ADD COLUMN b TEXT", ())
    assert compared([replace(plain, columns=(), fetched="all")], [replace(plain, fetched="all")]) == []
    rows = sent("UPDATE t SET a = 1 RETURNING a", (), [(1,)])
    assert compared([rows], [replace(rows, columns=None, rows=())]) == [("rows", "high")]


def test_what_one_half_alone_observed_or_made() -> None:
    seen, missing = Recording("t", "t", "sqlite", observed=(("x", 1),)), Recording("t", "t", "postgres")
    assert [(d.kind, d.severity) for d in compare(seen, missing)] == [("observed", "high")]
    failing = replace(missing, outcome="failed", failure=TestFailure("call", "E", "no"))
    assert [d.kind for d in compare(seen, failing)] == ["outcome"]
    template = {"sqlite": Catalog(), "postgres": Catalog({"t": Table("t", (Column("a", "INTEGER"),))})}
    for name, rows, found in (("t", (), []), ("t", ((1,),), ["high"]), ("other", (), ["high"])):
        made = replace(missing, backend="sqlite", state={name: TableState(("a",), rows, len(rows))})
        context = Context(template_catalogs=template)
        assert [d.severity for d in compare(made, missing, context) if d.kind == "state"] == found


def keyed(backend: Backend, statements: list[Statement], **tables: tuple[tuple[Any, ...], ...]) -> Recording:
    """Return a half that leaves rows of ``item`` (id, name) and ``note`` (id, item_id), both with generated keys."""
    names = {"item": ("id", "name"), "note": ("id", "item_id")}
    state = {name: TableState(names[name], rows, len(rows)) for name, rows in tables.items()}
    window = WINDOWS[BACKENDS.index(backend)]
    return Recording("t", "t", backend, statements=tuple(statements), state=state, window=window)


def told(left: Recording, right: Recording) -> list[tuple[str, str, str]]:
    catalog = Catalog(
        {
            name: Table(name, (Column("id", "INTEGER", generated_key=True), Column(other, kind)), ("id",))
            for name, other, kind in (("item", "name", "TEXT"), ("note", "item_id", "INTEGER"))
        }
    )
    context = Context(catalogs={"sqlite": catalog, "postgres": catalog})
    return [(d.kind, d.severity, d.note) for d in compare(left, right, context)]


def found_ids(*ids: int) -> list[Statement]:
    return [
        replace(
            sent("SELECT id FROM item WHERE name > 'b' ORDER BY id", (), [(i,) for i in ids]), columns=("id",)
        )
    ]


def test_keys_of_rows_that_both_have_are_no_renaming() -> None:
    rows = ((1, "a"), (2, "b"), (3, "c"))
    halves = keyed("sqlite", found_ids(2, 3), item=rows), keyed("postgres", found_ids(1, 2), item=rows)
    assert told(*halves) == [("rows", "high", "")]
    # a gap in the keys: the same row under another one, next to one that both have
    gap = ((1, "a"), (2, "b"), (4, "c"))
    halves = keyed("sqlite", found_ids(2, 3), item=rows), keyed("postgres", found_ids(2, 4), item=gap)
    assert ("rows", "low", "generated-keys") in told(*halves)
    # rows that are all alike tell nothing, whatever their keys
    alike = [tuple((i, "a") for i in ids) for ids in ((1, 2, 3, 4), (2, 3, 4, 5))]
    halves = keyed("sqlite", found_ids(2), item=alike[0]), keyed("postgres", found_ids(3), item=alike[1])
    assert ("rows", "low", "generated-keys") in told(*halves)


def test_a_reference_by_name_follows_the_key() -> None:
    items = ((1, "a"),), ((2, "a"),)
    halves = [
        keyed(backend, [], item=items[side], note=((1, side + 1),)) for side, backend in enumerate(BACKENDS)
    ]
    assert {severity for _, severity, _ in told(*halves)} == {"low"}
    both = ((1, "a"), (2, "b"))
    halves = [keyed(backend, [], item=both, note=((1, side + 1),)) for side, backend in enumerate(BACKENDS)]
    assert told(*halves) == [("state", "high", "")]


def test_rows_read_by_name_have_no_order_of_columns() -> None:
    left = replace(sent("SELECT * FROM t", (), [(1, 2), (3, 4)]), columns=("a", "b"))
    right = replace(left, columns=("b", "a"), rows=[(2, 1), (4, 3)])
    assert compared([left], [right]) == [("rows", "high")]
    named = [replace(left, named="row")], [replace(right, named="mapping")]
    assert compared(*named) == []
    wrong = replace(right, rows=[(2, 1), (5, 3)], named="mapping")
    assert compared(named[0], [wrong]) == [("rows", "high")]
