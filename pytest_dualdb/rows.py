"""Two sets of rows -> what only one side has: in order first, then by value, then one by one.

It knows rows and when values are the same, not where rows come from: a statement's result and a table's
contents compare alike.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytest_dualdb.divergence import Difference, Row
from pytest_dualdb.values import Equality, loose_key, same_type

MAX_PAIRWISE = 300
"""Rows that differ by key are matched one by one up to this many."""
MAX_GATHERED = 20_000
"""Rows of each side that are compared by value; of larger sets those that have no equal on the other side."""
_SAMPLE = 100
"""Rows by which columns are found whose values depend on the run."""
_BUCKETS = 1 << 16


def compare_rows(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
) -> Difference | Literal["order"] | None:
    """Return None for the same rows, "order" for the same rows in another order, else the difference."""
    mark = equality.mark()
    if len(first) == len(second):
        if all(_same_row(equality, a, b, columns, ignored) for a, b in zip(first, second, strict=True)):
            return None
        equality.forget(mark)
    loose = ignored | _of_run(equality, first, second, columns, ignored)
    totals = len(first), len(second)
    sets = first, second
    cut = False
    if max(totals) > MAX_GATHERED:
        first, second = _apart(first, second, loose) or _moved(equality, first, second, columns, ignored)
        cut = max(len(first), len(second)) == MAX_GATHERED
    only_first, only_second = _unmatched(equality, first, second, columns, ignored, loose)
    if cut:
        # the equal of a row may not have been gathered
        only_first, only_second = _not_in(only_first, sets[1], loose), _not_in(only_second, sets[0], loose)
    if not only_first and not only_second and not cut:
        return "order"
    # what was not gathered counts as equal: where too much differs, there are at least so many rows
    both = min(totals[0] - len(only_first), totals[1] - len(only_second))
    return Difference(
        tuple(columns), tuple(only_first), tuple(only_second), both,
        _differing(equality, only_first, only_second, columns, ignored),
        totals[0] - both - len(only_first), totals[1] - both - len(only_second),
    )  # fmt: skip


def _key(row: Row, left_out: frozenset[int]) -> tuple[Any, ...]:
    return tuple(None if i in left_out else loose_key(value) for i, value in enumerate(row))


def _of_run(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
) -> frozenset[int]:
    """Return the columns whose values are the same only because they depend on the run: no key tells them apart."""
    mark = equality.mark()
    found = set()
    for one, other in itertools.islice(zip(first, second, strict=False), _SAMPLE):
        for index, (a, b) in enumerate(zip(one, other, strict=False)):
            if index in found or index in ignored or a is None or b is None:
                continue
            name = columns[index] if index < len(columns) else ""
            if loose_key(a) != loose_key(b) and equality.same(a, b, name):
                found.add(index)
    equality.forget(mark)
    return frozenset(found)


def _apart(
    first: Sequence[Row], second: Sequence[Row], left_out: frozenset[int]
) -> tuple[list[Row], list[Row]] | None:
    """Return of two large sets the rows that may have no equal in the other, the first `MAX_GATHERED` of each.

    None if all have one.

    Rows are summed up in buckets by their keys, so that memory does not grow with them. What shares a bucket
    with a row that differs comes along.
    """
    sums = [array("Q", bytes(8 * _BUCKETS)) for _ in range(2)]
    for side, rows in enumerate((first, second)):
        for row in rows:
            number = hash(_key(row, left_out))
            bucket = number % _BUCKETS
            sums[side][bucket] = (sums[side][bucket] + number) & 0xFFFFFFFFFFFFFFFF
    differing = frozenset(bucket for bucket in range(_BUCKETS) if sums[0][bucket] != sums[1][bucket])
    if not differing:
        return None
    found: list[list[Row]] = [[], []]
    for side, rows in enumerate((first, second)):
        suspects = (row for row in rows if hash(_key(row, left_out)) % _BUCKETS in differing)
        found[side] = list(itertools.islice(suspects, MAX_GATHERED))
    return found[0], found[1]


def _moved(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
) -> tuple[list[Row], list[Row]]:
    """Return of two large sets with the same keys the rows that differ from the one in their place.

    A few may have keys that are equal and values that are not; very many only stand in another order.
    """
    mark = equality.mark()
    pairs = (
        (a, b) for a, b in zip(first, second, strict=True) if not _same_row(equality, a, b, columns, ignored)
    )
    found = list(itertools.islice(pairs, MAX_GATHERED))
    equality.forget(mark)
    return ([], []) if len(found) == MAX_GATHERED else ([a for a, _ in found], [b for _, b in found])


def _not_in(only: list[Row], rows: Sequence[Row], left_out: frozenset[int]) -> list[Row]:
    """Return those of some rows that have no equal among ``rows``."""
    waiting = {_key(row, left_out) for row in only}
    waiting.difference_update(_key(row, left_out) for row in rows)
    return [row for row in only if _key(row, left_out) in waiting]


def _same_row(
    equality: Equality, one: Row, other: Row, columns: Sequence[str], ignored: frozenset[int]
) -> bool:
    if len(one) != len(other):
        return False
    mark = equality.mark()
    for index, (a, b) in enumerate(zip(one, other, strict=True)):
        if index in ignored or equality.same(a, b, columns[index] if index < len(columns) else ""):
            continue
        equality.forget(mark)
        return False
    return True


def _unmatched(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
    left_out: frozenset[int],
) -> tuple[list[Row], list[Row]]:
    """Return the rows of each side without a partner: by key, which ``left_out`` is no part of, then one by one."""
    # keys are looser than values: text that reads as the same moment or document still has to be the same
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in range(len(second) - 1, -1, -1):
        groups.setdefault(_key(second[index], left_out), []).append(index)
    left: list[Row] = []
    taken: set[int] = set()
    for row in first:
        group = groups.get(_key(row, left_out), [])
        for position in range(len(group) - 1, max(-1, len(group) - 1 - MAX_PAIRWISE), -1):
            if _same_row(equality, row, second[group[position]], columns, ignored):
                taken.add(group.pop(position))
                break
        else:
            left.append(row)
    right = [row for index, row in enumerate(second) if index not in taken]
    if left and right and len(left) <= MAX_PAIRWISE and len(right) <= MAX_PAIRWISE:
        remaining = []
        for row in left:
            partner = next((r for r in right if _same_row(equality, row, r, columns, ignored)), None)
            if partner is None:
                remaining.append(row)
            else:
                right.remove(partner)
        left = remaining
    return left, right


def _differing(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
) -> tuple[str, ...]:
    """Return the columns in which rows of the same place differ; all of them where counts differ."""
    if len(first) != len(second) or not first:
        return ()
    width = min(len(columns), *(len(row) for row in (*first, *second)))
    return tuple(
        columns[index]
        for index in range(width)
        if index not in ignored
        and any(
            not equality.same(a[index], b[index], columns[index]) for a, b in zip(first, second, strict=True)
        )
    )


def types_agree(first: Sequence[Any], second: Sequence[Any]) -> bool:
    """Return whether equal rows have equal types too, looking at a sample of a large result.

    ``(1,) == (True,)`` holds, so equality alone does not tell.
    """
    if first is second or not first:
        return True
    step = max(1, len(first) // 200)
    for index in range(0, len(first), step):
        one, other = first[index], second[index]
        if isinstance(one, Mapping):
            one, other = one.values(), other.values()
        if list(map(type, one)) != list(map(type, other)):
            return all(map(same_type, one, other))
    return True


def counted(number: int, noun: str) -> str:
    """Return a number with its noun, in the plural where it needs one."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
