"""Two sets of rows -> what only one side has: in order first, then by value, then one by one.

It knows rows and when values are the same, not where rows come from: a statement's result and a table's
contents compare alike.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pytest_dualdb.divergence import MAX_SHOWN, Difference, Row
from pytest_dualdb.values import Equality, loose_key, same_type

MAX_PAIRWISE = 300
"""Rows that differ by key are matched one by one up to this many."""


def compare_rows(
    equality: Equality,
    first: Sequence[Row],
    second: Sequence[Row],
    columns: Sequence[str],
    ignored: frozenset[int],
) -> Difference | Literal["order"] | None:
    """Return None for the same rows, "order" for the same rows in another order, else the difference."""
    if len(first) == len(second):
        mark = equality.mark()
        if all(_same_row(equality, a, b, columns, ignored) for a, b in zip(first, second, strict=True)):
            return None
        equality.forget(mark)
    only_first, only_second, both = _unmatched(equality, first, second, columns, ignored)
    if not only_first and not only_second:
        return "order"
    return Difference(
        tuple(columns), tuple(only_first[:MAX_SHOWN]), tuple(only_second[:MAX_SHOWN]), both,
        _differing(equality, only_first, only_second, columns, ignored),
    )  # fmt: skip


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
) -> tuple[list[Row], list[Row], int]:
    """Return the rows of each side without a partner, by key first, then one by one."""

    def key(row: Row) -> tuple[Any, ...]:
        return tuple(None if i in ignored else loose_key(value) for i, value in enumerate(row))

    # keys are looser than values: text that reads as the same moment or document still has to be the same
    groups: dict[tuple[Any, ...], list[int]] = {}
    for index in range(len(second) - 1, -1, -1):
        groups.setdefault(key(second[index]), []).append(index)
    left: list[Row] = []
    taken: set[int] = set()
    for row in first:
        group = groups.get(key(row), [])
        for position in range(len(group) - 1, -1, -1):
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
    return left, right, len(first) - len(left)


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
