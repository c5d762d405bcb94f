"""Alignment: which statement of one half is which of the other, whatever happened between."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from pytest_dualdb import syntax
from pytest_dualdb.align import Pair, align, parameter_sets
from pytest_dualdb.recording import Site, Statement


def asked(
    line: int, sql: str = "SELECT a FROM t", params: Any = (), rows: Sequence[Any] = (), **facts: Any
) -> Statement:
    site = Site("app.py", line, facts.pop("function", "f"))
    return Statement(facts.pop("kind", "execute"), sql, params, site, ("a",), tuple(rows), "all", **facts)


def commit(line: int = 9) -> Statement:
    return asked(line, "", kind="commit")


def lines(pairs: Sequence[Pair]) -> list[tuple[int | None, int | None]]:
    return [tuple(s and s.site and s.site.line for s in pair) for pair in pairs]  # type: ignore[misc]


def params(pairs: Sequence[Pair]) -> list[tuple[Any, Any]]:
    return [tuple(s and s.params for s in pair) for pair in pairs]  # type: ignore[misc]


STATEMENTS = st.builds(
    asked,
    st.integers(1, 4),
    st.sampled_from(["SELECT a FROM t", "INSERT INTO t VALUES (?)", "UPDATE u SET a = ?"]),
    st.tuples(st.integers(0, 3)),
    thread=st.integers(0, 1),
    connection=st.integers(0, 2),
)
HALVES = st.lists(STATEMENTS, max_size=10)


@given(HALVES, HALVES)
def test_no_statement_is_lost_or_used_twice(left: list[Statement], right: list[Statement]) -> None:
    pairs = align(left, right)
    for side, given_side in enumerate((left, right)):
        assert sorted(id(s) for pair in pairs if (s := pair[side]) is not None) == sorted(map(id, given_side))
    assert all(pair != (None, None) for pair in pairs)


@given(HALVES)
def test_a_half_is_aligned_with_itself(half: list[Statement]) -> None:
    pairs = align(half, [replace(s) for s in half])
    assert all(one == other for one, other in pairs)


@given(HALVES, st.randoms(use_true_random=False))
def test_the_order_of_statements_is_no_difference(half: list[Statement], chance: random.Random) -> None:
    other = [replace(s) for s in half]
    chance.shuffle(other)
    for one, two in align(half, other):
        assert one is not None
        assert two is not None
        assert (one.site, one.sql, one.params) == (two.site, two.sql, two.params)


@given(st.lists(st.integers(1, 9), max_size=8, unique=True), st.data())
def test_a_statement_of_one_half_alone_moves_no_other(places: list[int], data: st.DataObject) -> None:
    half = [asked(line) for line in places]
    alone = asked(99, "SELECT version()")
    at = data.draw(st.integers(0, len(half)))
    expected: list[tuple[int | None, int | None]] = [(line, line) for line in places]
    expected.insert(at, (99, None))
    assert lines(align([*half[:at], alone, *half[at:]], half)) == expected
    assert lines(align(half, [*half[:at], alone, *half[at:]])) == [(b, a) for a, b in expected]


@given(st.integers(0, 6), st.integers(0, 6))
def test_loops_of_different_length(first: int, second: int) -> None:
    left, right = (
        [asked(1), *(asked(2, params=(n,)) for n in range(count)), asked(3)] for count in (first, second)
    )
    both = [((n,), (n,)) for n in range(min(first, second))]
    alone = [((n,), None) if first > second else (None, (n,)) for n in range(len(both), max(first, second))]
    assert params(align(left, right)) == [((), ()), *both, *alone, ((), ())]


def test_a_round_that_only_one_half_made_is_seen_by_what_it_asked() -> None:
    left = [asked(2, params=(n,), rows=[(n,)]) for n in (1, 2, 3, 4)]
    right = [asked(2, params=(n,), rows=[(n,)]) for n in (1, 3, 4)]
    assert params(align(left, right)) == [((1,), (1,)), ((2,), None), ((3,), (3,)), ((4,), (4,))]


def test_rounds_in_another_order_are_paired_by_what_they_ask() -> None:
    left = [asked(2, params=(name,)) for name in ("a", "b", "c")]
    right = [asked(2, params=(name,)) for name in ("c", "a", "b")]
    assert params(align(left, right)) == [(("a",), ("a",)), (("b",), ("b",)), (("c",), ("c",))]


def test_rounds_with_values_of_their_own_stay_in_order() -> None:
    # keys that the two databases gave: 2 stands for 3 here, not for 2
    left = [asked(2, params=(n,)) for n in (1, 2, 3)]
    right = [asked(2, params=(n,)) for n in (2, 3, 4)]
    assert params(align(left, right)) == [((1,), (2,)), ((2,), (3,)), ((3,), (4,))]


def test_concurrent_tasks_that_interleave_otherwise() -> None:
    one, two = ([asked(line, connection=c) for line in (10 * c + 1, 10 * c + 2)] for c in (0, 1))
    left = [one[0], two[0], one[1], two[1]]
    right = [two[0], two[1], one[0], one[1]]
    assert all(a is b for a, b in align(left, right))


def test_another_connection_for_the_same_statement() -> None:
    left = [asked(1, connection=0), asked(2, connection=0)]
    right = [asked(1, connection=0), asked(2, connection=1)]
    assert lines(align(left, right)) == [(1, 1), (2, 2)]


def test_threads_that_start_in_another_order() -> None:
    work = {name: [asked(line, params=(name,)) for line in (1, 2)] for name in "ab"}
    left = [*work["a"], *(replace(s, thread=1) for s in work["b"])]
    right = [*work["b"], *(replace(s, thread=1) for s in work["a"])]
    assert all(one == other for one, other in params(align(left, right)))


@given(st.permutations(range(6)), st.lists(st.integers(0, 2), min_size=6, max_size=6))
def test_tasks_that_a_pool_deals_out_otherwise(order: list[int], threads: list[int]) -> None:
    tasks = [[asked(line, params=(task,)) for line in (1, 2)] for task in range(6)]
    left = [replace(s, thread=task % 2) for task in range(6) for s in tasks[task]]
    right = [
        replace(s, thread=thread) for task, thread in zip(order, threads, strict=True) for s in tasks[task]
    ]
    for one, other in align(left, right):
        assert one is not None
        assert other is not None
        assert (one.site, one.params) == (other.site, other.params)


def test_branches_for_one_dialect_each() -> None:
    left = [asked(1), asked(3, "SELECT group_concat(a) FROM t"), asked(9)]
    right = [asked(1), asked(5, "SELECT string_agg(a, ',') FROM t"), asked(9)]
    assert lines(align(left, right)) == [(1, 1), (3, 5), (9, 9)]


def test_a_branch_of_another_function_or_kind_is_none_of_the_same() -> None:
    left = [asked(1), asked(3, function="for_sqlite"), asked(9)]
    assert lines(align(left, [asked(1), asked(5, function="for_postgres"), asked(9)])) == [
        (1, 1), (3, None), (None, 5), (9, 9),
    ]  # fmt: skip
    left = [asked(1), asked(3, "PRAGMA foreign_keys = ON"), asked(9)]
    assert lines(align(left, [asked(1), asked(5, "SET search_path = app"), asked(9)])) == [
        (1, 1), (3, None), (None, 5), (9, 9),
    ]  # fmt: skip


def test_a_module_for_each_database() -> None:
    def half(path: str, line: int) -> list[Statement]:
        texts = {"find": "SELECT a FROM t", "count": "SELECT count(*) FROM t", "items": "SELECT a FROM u"}
        found = [asked(line + n, text, function=name) for n, (name, text) in enumerate(texts.items())]
        return [asked(1), *(replace(s, site=replace(s.site, path=path)) for s in found if s.site), asked(2)]

    found = align(half("on_sqlite.py", 20), half("on_postgres.py", 40))
    assert lines(found) == [(1, 1), (20, 40), (21, 41), (22, 42), (2, 2)]
    other = [replace(s, sql="SELECT a FROM x") for s in half("on_postgres.py", 40)[1:-1]]
    assert all(None in pair for pair in align(half("on_sqlite.py", 20)[1:-1], other))


def test_an_object_of_another_kind_is_another_statement() -> None:
    left = [asked(3, f"CREATE {unique}INDEX i{n} ON t (a)") for n, unique in enumerate(("", "UNIQUE "))]
    right = [asked(3, "CREATE TYPE e AS ENUM ('a')"), *left]
    assert align(left, right) == [(None, right[0]), *zip(left, left, strict=True)]


def test_a_lock_of_one_dialect_does_not_make_another_statement() -> None:
    left = [asked(5, "SELECT a FROM t WHERE b = ?", (1,))]
    for lock in ("UPDATE SKIP LOCKED", "NO KEY UPDATE OF t NOWAIT"):
        right = [asked(5, f"SELECT a FROM t WHERE b = %s FOR {lock}", (1,))]
        assert align(left, right) == [(left[0], right[0])]
        assert syntax.tables(right[0].sql) == {"t"}
        assert not syntax.written_tables(right[0].sql)
    made = "CREATE TABLE a (b INTEGER REFERENCES c (d) ON UPDATE CASCADE ON DELETE SET NULL)"
    assert syntax.tables(made) == {"a", "c"}
    assert syntax.written_tables("UPDATE OR IGNORE t SET a = 1") == {"t"}
    body = "CREATE TRIGGER x AFTER UPDATE OF a ON t BEGIN UPDATE u SET n = 1; END"
    assert syntax.written_tables(body) == {"u"}


def test_the_same_line_with_another_text_for_each_dialect() -> None:
    left = [asked(4, "SELECT a FROM t WHERE a LIKE ?", ("x",))]
    right = [asked(4, "SELECT a FROM t WHERE a ILIKE %s", ("x",))]
    assert lines(align(left, right)) == [(4, 4)]


def test_one_half_commits_more_often() -> None:
    left = [asked(1), commit(), asked(2), asked(3), commit()]
    right = [asked(1), commit(), asked(2), commit(), asked(3), commit()]
    assert lines(align(left, right)) == [(1, 1), (9, 9), (2, 2), (None, 9), (3, 3), (9, 9)]


def test_what_follows_the_end_of_one_half() -> None:
    left = [asked(line) for line in (1, 2, 3)]
    assert lines(align(left, left[:1])) == [(1, 1), (2, None), (3, None)]


def test_batches_of_a_library_are_left_to_the_state() -> None:
    sql = "INSERT INTO t VALUES (?)"
    left = [asked(1, sql, kind="executemany", via="sqlalchemy"), asked(2)]
    right = [*(asked(1, sql, via="sqlalchemy") for _ in range(3)), asked(2)]
    assert lines(align(left, right)) == [(2, 2)]


def test_parameters_by_name_are_put_in_the_order_of_the_statement() -> None:
    one = asked(1, "SELECT a FROM t WHERE a = :a AND b = :b", {"b": 2, "a": 1})
    other = asked(1, "SELECT a FROM t WHERE a = %(a)s AND b = %(b)s", {"a": 1, "b": 2})
    assert parameter_sets(one) == parameter_sets(other) == [[1, 2]]
    many = asked(1, "INSERT INTO t VALUES (:a)", [{"a": 1}, {"a": 2}], kind="executemany")
    assert parameter_sets(many) == [[1], [2]]


def test_halves_that_poll_are_aligned_in_time_that_grows_with_them() -> None:
    def seconds(count: int) -> float:
        left = [asked(1 + i % 2, "BEGIN" if i % 2 else "SELECT a FROM t", (i,)) for i in range(2 * count)]
        right = [asked(3, "SET x = 1", (i,), function="g") for i in range(count)]
        started = time.process_time()
        align(left, right)
        return time.process_time() - started

    # eight times as many would take 64 times as long if each was compared with each
    assert min(seconds(8_000), seconds(8_000)) < 25 * max(seconds(1_000), seconds(1_000), 0.001)


def of_module(path: str, line: int, function: str, sql: str, params: Any = ()) -> Statement:
    return replace(asked(line, sql, params), site=Site(path, line, function))


def test_modules_of_one_database_each_are_paired_by_function_and_statement() -> None:
    left = [
        of_module("lite.py", 3, "add", "INSERT INTO t (a) VALUES (?)", (1,)),
        of_module("lite.py", 8, "column", "SELECT extra FROM t WHERE a = ?", (1,)),
        of_module("lite.py", 8, "column", "SELECT a FROM t WHERE a = ?", (1,)),
        asked(20, "SELECT b FROM u"),
    ]
    right = [
        of_module("pg.py", 5, "add", "INSERT INTO t (a) VALUES ($1) RETURNING id", (1,)),
        of_module("pg.py", 9, "column", "SELECT a FROM t WHERE a = $1", [1]),
        asked(20, "SELECT b FROM u"),
    ]
    assert lines(align(left, right)) == [(3, 5), (8, None), (8, 9), (20, 20)]


def test_a_module_of_one_half_is_not_paired_with_one_that_both_run() -> None:
    left = [
        asked(1, "SELECT a FROM t"),
        asked(2, "SELECT a FROM t"),
        of_module("lite.py", 3, "f", "SELECT a FROM t"),
    ]
    right = [asked(1, "SELECT a FROM t"), asked(4, "SELECT a FROM t", function="g")]
    assert (3, 4) not in lines(align(left, right))


def test_a_sequence_that_one_database_needs_is_no_index_that_both_make() -> None:
    indexes = [asked(1, "CREATE INDEX i ON t (a)"), asked(1, "CREATE UNIQUE INDEX j ON t (b)")]
    pairs = align(indexes, [asked(1, "CREATE SEQUENCE s"), *indexes])
    assert [(one is not None, other is not None) for one, other in pairs] == [
        (False, True), (True, True), (True, True),
    ]  # fmt: skip
