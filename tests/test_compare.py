"""Comparison: laws on recordings, and each kind of divergence on live databases through the plugin."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from projects import Projects, Run

from pytest_dualdb.compare import Divergence, align, compare
from pytest_dualdb.recording import BACKENDS, Backend, Failure, Recording, Site, Statement, TableState

# --------------------------------------------------------------------------------------------------- laws

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.sampled_from([1.5, -0.0, 1e300]),
    st.text('ab{"1-: ', max_size=4),
    st.dates(),
    st.datetimes(),
    st.uuids(),
    st.binary(max_size=2),
    st.decimals(0, 9, places=2),
    st.lists(st.integers(0, 2), max_size=2),
    st.dictionaries(st.sampled_from("ab"), st.integers(0, 2), max_size=2),
)
ROWS = st.lists(st.tuples(VALUES, VALUES), max_size=4).map(tuple)
QUERIES = st.sampled_from(
    [
        "SELECT a, b FROM t",
        "SELECT a, b FROM t ORDER BY a",
        "SELECT a, b FROM t ORDER BY 2 DESC LIMIT 3",
        "not SQL (",
        "WITH x AS (SELECT 1) SELECT a, b FROM x",
    ]
)
WRITES = st.sampled_from(
    ["INSERT INTO t VALUES (1, 2)", "UPDATE t SET a = 1", "DELETE FROM t", "CREATE TABLE t (a, b)"]
)
ERRORS = st.sampled_from(
    [
        None,
        None,
        None,
        Failure("sqlite3.OperationalError", "OperationalError", None, "no such table: t"),
        Failure("psycopg2.errors.UniqueViolation", "IntegrityError", "23505", "duplicate key"),
        Failure("builtins.IndexError", "", None, "tuple index out of range"),
    ]
)
SITES = st.one_of(st.none(), st.builds(Site, st.just("app.py"), st.integers(1, 6), st.sampled_from("fg")))


def statement(
    sql: str, error: Failure | None, rows: Any, site: Site | None, fetched: Any, count: int, thread: int
) -> Statement:
    query = sql[0] in "SWn"
    if error is not None or not query:
        rows, fetched = (), "none"
    return Statement(
        "execute",
        sql,
        (),
        site,
        ("a", "b") if query and error is None else None,
        rows if fetched != "none" else (),
        fetched,
        len(rows) if query else count,
        error=error,
        thread=thread,
    )


STATEMENTS = st.builds(
    statement,
    st.one_of(QUERIES, WRITES),
    ERRORS,
    ROWS,
    SITES,
    st.sampled_from(["none", "one", "some", "all"]),
    st.integers(0, 3),
    st.integers(0, 1),
)
STATES = st.dictionaries(
    st.sampled_from(["t", "u"]), ROWS.map(lambda rows: TableState(("a", "b"), rows, len(rows))), max_size=2
)
RECORDINGS = st.builds(
    Recording,
    test=st.just("t"),
    nodeid=st.just("t"),
    backend=st.just("sqlite"),
    outcome=st.sampled_from(["passed", "passed", "failed"]),
    statements=st.lists(STATEMENTS, max_size=6).map(tuple),
    observed=st.lists(st.tuples(st.sampled_from("xy"), VALUES), max_size=3).map(tuple),
    state=STATES,
    window=st.just((1e9, 1e9 + 1)),
)


def on(backend: Backend, recording: Recording) -> Recording:
    return replace(recording, backend=backend)


def kinds(divergences: tuple[Divergence, ...]) -> Counter[tuple[str, str]]:
    return Counter((d.kind, d.severity) for d in divergences)


@given(RECORDINGS)
def test_a_recording_agrees_with_itself(recording: Recording) -> None:
    assert compare(recording, on("postgres", recording)) == ()


@given(RECORDINGS)
def test_a_recording_agrees_with_itself_after_it_has_travelled(recording: Recording) -> None:
    assert compare(recording, on("postgres", Recording.from_json(recording.to_json()))) == ()


@given(RECORDINGS, RECORDINGS)
def test_mirrored_sides_show_the_same_kinds(left: Recording, right: Recording) -> None:
    forward = compare(left, on("postgres", right))
    assert kinds(compare(on("sqlite", right), on("postgres", left))) == kinds(forward)


@given(RECORDINGS, RECORDINGS)
def test_comparing_does_not_depend_on_the_journey(left: Recording, right: Recording) -> None:
    there = [Recording.from_json(recording.to_json()) for recording in (left, on("postgres", right))]
    assert kinds(compare(there[0], there[1])) == kinds(compare(left, on("postgres", right)))


@given(st.lists(STATEMENTS, max_size=8), st.lists(STATEMENTS, max_size=8))
def test_alignment_loses_no_statement_and_uses_none_twice(
    left: list[Statement], right: list[Statement]
) -> None:
    pairs = align(left, right)
    for side, given_side in ((0, left), (1, right)):
        found = [id(pair[side]) for pair in pairs if pair[side] is not None]
        assert sorted(found) == sorted(map(id, given_side))
    assert all(pair != (None, None) for pair in pairs)


@given(RECORDINGS, st.data())
def test_a_changed_value_is_always_seen(recording: Recording, data: st.DataObject) -> None:
    read = [index for index, s in enumerate(recording.statements) if s.rows and s.error is None]
    if not read:
        return
    index = data.draw(st.sampled_from(read))
    original = recording.statements[index]
    row = data.draw(st.integers(0, len(original.rows) - 1))
    rows = [list(values) for values in original.rows]
    rows[row][0] = "a value of its own"
    changed = replace(original, rows=tuple(map(tuple, rows)))
    statements = (*recording.statements[:index], changed, *recording.statements[index + 1 :])
    found = compare(recording, on("postgres", replace(recording, statements=statements)))
    assert {d.kind for d in found} & {"rows", "order"}


def two(first: Any, second: Any, sql: str = "SELECT a FROM t ORDER BY a") -> tuple[Divergence, ...]:
    sides = [
        Recording(
            "t",
            "t",
            backend,
            statements=(
                Statement(
                    "execute",
                    sql,
                    (),
                    Site("app.py", 1, "f"),
                    ("a",),
                    [(value,) for value in rows],
                    "all",
                    len(rows),
                ),
            ),
        )
        for backend, rows in zip(BACKENDS, (first, second), strict=True)
    ]
    return compare(sides[0], sides[1])


@pytest.mark.parametrize(
    ("left", "right"),
    [('{"a":1}', '{"a": 1}'), ("2024-01-01T10:00:00", "2024-01-01 10:00:00"), ("[1]", "[1 ]")],
)
def test_text_that_reads_alike_is_no_matter_of_order(left: str, right: str) -> None:
    assert kinds(two([left], [right])) == {("rows", "high"): 1}
    assert kinds(two([left, "x"], ["x", right])) == {("rows", "high"): 1}


def test_documents_of_another_kind_differ() -> None:
    assert kinds(two([[]], [{}])) == {("rows", "high"): 1}
    assert kinds(two(["[]"], [{}])) == {("rows", "high"): 1}
    assert kinds(two(["[1]"], [[1]])) == {("type", "low"): 1}


def test_many_equal_rows_are_counted() -> None:
    assert two(["a"] * 2000, ["a"] * 2000) == ()
    (found,) = two(["a"] * 2000, ["a"] * 1999)
    assert found.kind == "rows"
    assert found.difference is not None
    assert found.difference.only_sqlite == (("a",),)
    assert found.difference.both == 1999


# ------------------------------------------------------------------------------------------------ live pairs


@pytest.fixture(scope="module", params=[(), ("-n2",)], ids=["n0", "n2"])
def run(request: pytest.FixtureRequest, projects: Projects) -> Run:
    made = projects.run("kinds", "--db=both", *request.param)
    assert made.report, made.text
    return made


KINDS: dict[str, set[tuple[str, str]]] = {
    "test_outcome": {("outcome", "critical")},
    "test_outcome_in_setup": {("outcome", "critical")},
    "test_error": {("error", "critical")},
    "test_error_swallowed": {("error", "high")},
    "test_error_class": {("error", "medium")},
    "test_rows": {("rows", "high")},
    "test_order": {("order", "medium")},
    "test_order_cut": {("order", "medium")},
    "test_order_not_asked_for": {("order", "low")},
    "test_type": {("type", "low")},
    "test_column_names": {("columns", "low")},
    "test_rowcount": {("rowcount", "medium")},
    "test_lastrowid": {("rowcount", "medium")},
    "test_statements": {("statements", "low")},
    "test_module_for_each_database_differs": {("rows", "high")},
    "test_table_of_one_half": {("state", "high")},
    "test_state": {("state", "high")},
    "test_state_never_committed": {("state", "high")},
    "test_observed": {("observed", "high")},
    "test_bypass": {("bypass", "critical")},
    "test_time": {("time", "low")},
    "test_description": {("columns", "low")},
    "test_column_count": {("columns", "high")},
    "test_unrelated_failure": {("type", "low"), ("outcome", "critical")},
    "test_failure_of_a_converted_value": {("type", "low"), ("outcome", "critical")},
    "test_related_failure": {("type", "critical")},
    "test_committed_after_an_error": {("error", "high")},
}


@pytest.mark.parametrize("name", KINDS)
def test_each_kind_is_found_on_live_databases(run: Run, name: str) -> None:
    assert run.kinds(name) == KINDS[name]
    assert run.test(name)["verdict"] == "disagree"


@pytest.mark.parametrize(
    "name",
    [
        "test_agree",
        "test_module_for_each_database",
        "test_only_observed",
        "test_ignored_column",
        "test_leak",
        "test_after_a_leak",
        "test_names_twice",
        "test_only_asked_whether_there_are_rows",
    ],
)
def test_halves_that_agree(run: Run, name: str) -> None:
    test = run.test(name)
    assert (test["verdict"], test["reason"], test["divergences"]) == ("agree", "", [])


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("test_fails_on_both", "fails on both"),
        ("test_skipped_on_one", "the PostgreSQL half was skipped: not there yet"),
        ("test_expected_failure", "the PostgreSQL half was xfailed"),
        ("test_no_statement", "no statement reached either database"),
        (
            "test_reaches_the_wrong_database",
            "0 statements reached PostgreSQL, 1 went to SQLite at test_kinds.py:",
        ),
        (
            "test_databases_of_its_own",
            "no statement reached either database, they went to SQLite at test_kinds.py:",
        ),
        (
            "test_keeps_to_a_database_of_its_own",
            "no statement reached either database, they went to SQLite at test_kinds.py:",
        ),
    ],
)
def test_halves_that_say_nothing_about_each_other(run: Run, name: str, reason: str) -> None:
    test = run.test(name)
    assert test["verdict"] == "not-comparable"
    assert test["reason"].startswith(reason)


def test_another_database_of_the_server_is_no_sqlite_database(run: Run) -> None:
    test = run.test("test_another_database_of_the_server")
    assert (
        "0 statements reached PostgreSQL, 1 went to another PostgreSQL database (postgres)" in test["reason"]
    )
    assert run.kinds("test_another_database_of_the_server") == {("bypass", "critical")}


def test_what_went_to_the_wrong_database_is_reported_also_where_nothing_else_can_be(run: Run) -> None:
    assert run.kinds("test_reaches_the_wrong_database") == {("bypass", "critical")}


def test_statement_and_site_of_a_divergence(run: Run) -> None:
    (found,) = run.test("test_rows")["divergences"]
    text = (run.folder / "test_kinds.py").read_text(encoding="utf-8").splitlines()
    site = found["statement"]["site"]
    assert site["path"] == "test_kinds.py"
    assert site["function"] == "test_rows"
    assert "LIKE 'a%'" in text[site["line"] - 1]
    assert found["statement"]["sqlite"]["rows"] == [["Ada"], ["alan"]]
    assert found["statement"]["postgres"]["rows"] == [["alan"]]
    assert found["statement"]["postgres"]["error"] is None
    assert found["rule"] == "like-case"


def test_a_table_of_one_half_is_where_it_was_made(run: Run) -> None:
    (found,) = run.test("test_table_of_one_half")["divergences"]
    assert found["statement"]["postgres"]["sql"] == "CREATE TABLE extra (a INTEGER)"


def test_what_is_refused_with_its_pipeline_is_no_divergence_of_its_own() -> None:
    errors = [
        Failure("psycopg.errors.UniqueViolation", "IntegrityError", "23505", "duplicate key"),
        Failure("psycopg.errors.PipelineAborted", "OperationalError", None, "pipeline aborted"),
    ]
    sent = tuple(
        Statement("execute", f"INSERT INTO t VALUES ({n})", (), Site("a.py", n, "f"), error=error)
        for n, error in enumerate(errors)
    )
    found = compare(Recording("t", "t", "sqlite"), Recording("t", "t", "postgres", statements=sent))
    assert [d.message for d in found] == ["fails on PostgreSQL only: UniqueViolation: duplicate key"]


@pytest.mark.parametrize(("via", "expected"), [("sqlalchemy", []), ("", ["rowcount"])])
def test_a_library_reads_the_count_of_what_it_also_has_the_rows_of(via: str, expected: list[str]) -> None:
    def half(backend: Backend, count: int) -> Recording:
        changed = Statement(
            "execute", "UPDATE t SET a = 1 RETURNING a", (), None, ("a",), ((1,),), "all", count
        )
        return Recording("t", "t", backend, statements=(replace(changed, via=via, read=("rowcount",)),))

    assert [d.kind for d in compare(half("sqlite", 0), half("postgres", 1))] == expected


def test_a_failure_that_lies_elsewhere_is_not_explained(run: Run) -> None:
    for name, rule in (
        ("test_unrelated_failure", "decimal-type"), ("test_failure_of_a_converted_value", "json-decoded"),
    ):  # fmt: skip
        by_kind = {d["kind"]: d for d in run.test(name)["divergences"]}
        assert (by_kind["outcome"]["rule"], by_kind["type"]["rule"]) == ("unexplained", rule)


def test_what_an_aborted_transaction_refused_is_folded_under_it(run: Run) -> None:
    found = run.test("test_committed_after_an_error")["divergences"]
    assert [(d["kind"], d["rule"]) for d in found] == [("error", "aborted-transaction")] * 2 + [
        ("state", "aborted-transaction")
    ]
    assert [d["primary"] for d in found] == [True, False, False]


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ((0.0, 1.1), ["low"]),
        ((2.0, 0.1), ["low"]),
        ((0.0, 0.9), []),  # a busy machine
        ((1.0, 5.0), []),  # four seconds more, and yet not ten times as long
        ((0.2, 1.3), []),
    ],
)
def test_only_what_is_very_much_slower_is_slow(seconds: tuple[float, float], expected: list[str]) -> None:
    def half(backend: Backend, last: float) -> Recording:
        read = Statement("execute", "SELECT 1", (), Site("app.py", 1, "f"), ("a",), ((1,),), "all")
        return Recording(
            "t", "t", backend, statements=(replace(read, seconds=9.0), replace(read, seconds=last))
        )

    found = compare(half("sqlite", seconds[0]), half("postgres", seconds[1]))
    assert [d.severity for d in found if d.kind == "time"] == expected
    first = replace(half("sqlite", 0.0), statements=half("sqlite", 0.0).statements[:1])
    assert (
        compare(
            first, on("postgres", replace(first, statements=(replace(first.statements[0], seconds=0.0),)))
        )
        == ()
    )


def test_the_error_of_a_failing_half(run: Run) -> None:
    test = run.test("test_error")
    assert test["sqlite"]["outcome"] == "passed"
    assert test["postgres"]["outcome"] == "failed"
    assert test["postgres"]["failure"].startswith("psycopg2.errors.UndefinedFunction: function group_concat")
    (primary,) = [d for d in test["divergences"] if d["primary"]]
    assert primary["statement"]["postgres"]["error"]["sqlstate"] == "42883"
    assert primary["statement"]["postgres"]["error"]["class"] == "UndefinedFunction"


def test_a_failing_fixture_is_an_error_of_its_half(run: Run) -> None:
    test = run.test("test_outcome_in_setup")
    assert (test["sqlite"]["outcome"], test["postgres"]["outcome"]) == ("error", "passed")


def test_state_names_the_table_and_who_wrote_it(run: Run) -> None:
    (found,) = run.test("test_state")["divergences"]
    assert found["table"] == "pet"
    assert found["rule"] == "foreign-keys-not-enforced"


def test_what_a_test_left_open_is_named(run: Run) -> None:
    assert "1 test left something open: test_kinds.py::test_leak (SQLite: an open transaction)" in " ".join(
        run.output.split()
    )
