"""Which statement of one half is which of the other: by call site and what it does, then by what surrounds it.

Pure: it knows statements and what their texts say, not what they gave beyond the first row, and nothing of
divergences. A statement that only one half issued has no partner; a library may send the same rows in other
batches, a thread pool may deal tasks out otherwise, and each dialect may have a branch of its own.
"""

from __future__ import annotations

import bisect
import difflib
import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.encoding import row_values
from pytest_dualdb.recording import Statement

Pair = tuple[Statement | None, Statement | None]


def align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Pair the statements of two halves: by call site and statement, then by what stands between those.

    A statement that only one half issued is paired with None. Threads are aligned apart.
    """
    threads = _by_thread(left), _by_thread(right)
    if len(threads[0]) <= 1 and len(threads[1]) <= 1:
        return _align(left, right)
    pairs: list[Pair] = []
    for first, second in _pair_threads(*threads):
        pairs += _align(first, second)
    return _in_time(_in_another_order(pairs), left, right)


def _in_time(pairs: list[Pair], left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Return the pairs in the order of the first half's statements; others behind what they followed."""
    place = {id(statement): index for index, statement in enumerate(left)}
    partner = {id(other): place[id(one)] for one, other in pairs if one is not None and other is not None}
    last = -1
    for statement in right:
        last = partner.get(id(statement), last)
        partner[id(statement)] = last

    def key(pair: Pair) -> tuple[int, int]:
        one, other = pair
        return (place[id(one)], 0) if one is not None else (partner[id(other)], 1)

    return sorted(pairs, key=key)


def _in_another_order(pairs: list[Pair]) -> list[Pair]:
    """Pair anew what both halves issued as often, each in an order of its own.

    A loop over a set comes by the same names in another order in each process, and concurrent tasks get to
    their statements as their databases answer.
    """
    moved: dict[Any, list[int]] = {}
    for index, (one, other) in enumerate(pairs):
        statement = one or other
        if statement is None or statement.kind in _ENDS:
            continue
        if one is None or other is None or not _asks_alike(one, other):
            moved.setdefault(statement_key(statement), []).append(index)
    found = list(pairs)
    for indexes in moved.values():
        left = [one for i in indexes if (one := pairs[i][0]) is not None]
        right = [other for i in indexes if (other := pairs[i][1]) is not None]
        if len(left) != len(right) or len(indexes) < 2:
            continue
        waiting: dict[Any, list[Statement]] = {}
        for statement in right:
            waiting.setdefault(_identity(statement), []).append(statement)
        same = Counter(map(_identity, left)) == Counter(map(_identity, right))
        if not same and len(indexes) == len(left):
            continue  # in the order in which they came, each with values of its own
        for i in indexes:
            found[i] = (None, None)
        at = [i for i in indexes if pairs[i][0] is not None]
        for i, one, other in zip(at, left, right, strict=True):
            found[i] = (one, waiting[_identity(one)].pop(0) if same else other)
    return [pair for pair in found if pair != (None, None)]


def _asks_alike(one: Statement, other: Statement) -> bool:
    """Return whether two statements that belong together by their place have the same parameters, too."""
    return one.params is other.params or one.params == other.params or _identity(one) == _identity(other)


def _pair_threads(
    left: list[list[Statement]], right: list[list[Statement]]
) -> Iterator[tuple[list[Statement], list[Statement]]]:
    """Pair the threads that issued the same; what a pool dealt out otherwise is matched by statement.

    Which of several threads comes first is a matter of chance, and so is which one takes a task.
    """
    rest = list(right)
    unpaired = []
    for one in left:
        best = max(rest, key=lambda other: _likeness(one, other), default=None)
        if best is None or not _likeness(one, best):
            unpaired.append(one)
            continue
        rest.remove(best)
        yield one, best
    if len(unpaired) <= 1 and len(rest) <= 1:
        yield from itertools.zip_longest(unpaired, rest, fillvalue=[])
        return
    waiting: dict[Any, list[Statement]] = {}
    for statement in itertools.chain(*rest):
        waiting.setdefault(_identity(statement), []).append(statement)
    left_over = []
    for thread in unpaired:
        alone = []
        for statement in thread:
            same = waiting.get(_identity(statement))
            if same:
                yield [statement], [same.pop(0)]
            else:
                alone.append(statement)
        left_over += alone
    others = {id(statement) for same in waiting.values() for statement in same}
    # which thread was to do what is lost: what remains is taken as it came
    yield left_over, [statement for thread in rest for statement in thread if id(statement) in others]


def _likeness(one: Sequence[Statement], other: Sequence[Statement]) -> int:
    """Return how many statements two threads share to the parameter; 0 unless they are the same otherwise.

    The ends of transactions don't count: drivers differ in whether there is one to end.
    """
    one, other = ([s for s in thread if s.kind not in _ENDS] for thread in (one, other))
    if [statement_key(s) for s in one] != [statement_key(s) for s in other]:
        return 0
    return 1 + sum(_identity(a) == _identity(b) for a, b in zip(one, other, strict=True))


def _identity(statement: Statement) -> tuple[Any, str]:
    return statement_key(statement), _given(statement)


def _given(statement: Statement) -> str:
    """Return a text of the parameters, the same for a list, a tuple and a mapping, and for no parameters."""
    return repr([list(one) for one in parameter_sets(statement) if list(one) != [None]])


def _answered(statement: Statement) -> tuple[Any, ...]:
    """Return the identity of a statement with what it gave: the same id may be of another row."""
    first = repr(row_values(statement.rows[0])) if statement.rows else ""
    return (*_identity(statement), statement.error is None, len(statement.rows), first)


def _by_thread(statements: Sequence[Statement]) -> list[list[Statement]]:
    threads: dict[int, list[Statement]] = {}
    for statement in statements:
        threads.setdefault(statement.thread, []).append(statement)
    return list(threads.values())


def _align(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    keys = [statement_key(s) for s in left], [statement_key(s) for s in right]
    if keys[0] == keys[1]:
        return _in_another_order(list(zip(left, right, strict=True)))
    batched = _batched(left, right, keys)
    if batched:
        left, right = (
            [s for s in side if s.error or statement_key(s) not in batched] for side in (left, right)
        )
        keys = [statement_key(s) for s in left], [statement_key(s) for s in right]
    own, others = ([s for s in side if s.kind not in _ENDS] for side in (left, right))
    counts = Counter(map(statement_key, own)), Counter(map(statement_key, others))

    def first(statement: Statement) -> tuple[Any, ...]:
        # which round of a loop only one half made is seen by what it asked and was told
        key = statement_key(statement)
        return key if counts[0][key] == counts[1][key] else _answered(statement)

    keyed = (first, statement_key, *_adapter_keys(own, others))
    pairs = _in_another_order(_matched(own, others, keyed))
    return _with_ends(_with_branches(pairs), left, right)


_ENDS = frozenset({"commit", "rollback"})


def _matched(
    left: Sequence[Statement], right: Sequence[Statement], keys: Sequence[Callable[[Statement], Any]]
) -> list[Pair]:
    """Pair statements by the first key; what is left between those by the next."""
    if not left or not right or not keys:
        return [*((one, None) for one in left), *((None, other) for other in right)]
    pairs: list[Pair] = []
    matcher = difflib.SequenceMatcher(
        None, [keys[0](s) for s in left], [keys[0](s) for s in right], autojunk=False
    )
    for tag, i, j, k, m in matcher.get_opcodes():
        if tag == "equal":
            pairs += zip(left[i:j], right[k:m], strict=True)
        else:
            pairs += _matched(left[i:j], right[k:m], keys[1:])
    return pairs


def _adapter_keys(
    left: Sequence[Statement], right: Sequence[Statement]
) -> tuple[Callable[[Statement], Any], ...]:
    """Return the keys by which statements of modules that only one half ran belong together.

    An application may have a module for each database, with functions of the same names.
    """
    ran = [{s.site.path for s in side if s.site is not None} for side in (left, right)]
    apart = ran[0] ^ ran[1]
    if apart <= ran[0] or apart <= ran[1]:
        return ()

    def asked(statement: Statement) -> Any:
        site, tables = statement.site, syntax.tables(statement.sql)
        if site is None or site.path not in apart or not tables:
            return id(statement)
        return syntax.skeleton(syntax.untyped(statement.sql)), _given(statement)

    def worded(statement: Statement) -> Any:
        key = asked(statement)
        return key[0] if isinstance(key, tuple) else key

    def named(statement: Statement) -> Any:
        key = asked(statement)
        if statement.site is None or not isinstance(key, tuple):
            return key
        sql = statement.sql
        return statement.site.function, syntax.family(sql), syntax.defined_kind(sql), syntax.tables(sql)

    return asked, worded, named


def _with_ends(pairs: Sequence[Pair], left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    """Put the ends of transactions behind the statements that they followed; one half may have more of them.

    They look alike everywhere: statements matched by them would be those of other moments.
    """
    behind = _ends_behind(left), _ends_behind(right)
    found: list[Pair] = _pair_ends(behind[0].get(0, []), behind[1].get(0, []))
    for one, other in pairs:
        found.append((one, other))
        found += _pair_ends(behind[0].get(id(one), []), behind[1].get(id(other), []))
    return found


def _pair_ends(left: Sequence[Statement], right: Sequence[Statement]) -> list[Pair]:
    found: list[Pair] = []
    for one, other in itertools.zip_longest(left, right):
        if one is not None and other is not None and one.kind != other.kind:
            found += [(one, None), (None, other)]
        else:
            found.append((one, other))
    return found


def _ends_behind(statements: Sequence[Statement]) -> dict[int, list[Statement]]:
    """Return the ends of transactions by the id of the statement before them, 0 for those before any."""
    found: dict[int, list[Statement]] = {}
    last = 0
    for statement in statements:
        if statement.kind in _ENDS:
            found.setdefault(last, []).append(statement)
        else:
            last = id(statement)
    return found


def _batched(
    left: Sequence[Statement], right: Sequence[Statement], keys: tuple[list[Any], list[Any]]
) -> frozenset[Any]:
    """Return the inserts that a library sends in batches of different size: the state tells of their rows."""
    first, second = Counter(keys[0]), Counter(keys[1])
    return frozenset(
        key
        for statements, own in ((left, keys[0]), (right, keys[1]))
        for statement, key in zip(statements, own, strict=True)
        if statement.via in CONVERTERS and first[key] != second[key] and min(first[key], second[key]) > 0
        and syntax.family(statement.sql) == "INSERT"
    )  # fmt: skip


def statement_key(statement: Statement) -> tuple[Any, ...]:
    """Return what two statements must share to be the same one: place, verb and tables, not the text.

    One line creates tables, indexes, and the sequences and types that one database alone has.
    """
    site = statement.site
    where = None if site is None else (site.path, site.line)
    if statement.kind in ("execute", "executemany"):
        return (
            where, syntax.family(statement.sql), syntax.defined_kind(statement.sql),
            syntax.main_table(statement.sql), syntax.tables(statement.sql),
        )  # fmt: skip
    return (where, statement.kind)


def _with_branches(pairs: Sequence[Pair]) -> list[Pair]:
    """Pair what stands alone between the statements that both issued, as far as it belongs together."""
    found: list[Pair] = []
    for alone, run in itertools.groupby(pairs, key=lambda pair: None in pair):
        if alone:
            gap = list(run)
            left, right = ([s for pair in gap if (s := pair[side]) is not None] for side in (0, 1))
            found += _pair_gap(left, right)
        else:
            found += run
    return found


def _pair_gap(left: Sequence[Statement], right: Sequence[Statement]) -> Iterator[Pair]:
    """Pair what stands between the statements that both issued: the branches of a dialect switch.

    Where two pairs would cross, the one that comes sooner stays: the halves have equal rights.
    """
    places: tuple[dict[tuple[str, ...], list[int]], ...] = ({}, {})
    for side, found in zip((left, right), places, strict=True):
        for place, statement in enumerate(side):
            if (branch := _branch(statement)) is not None:
                found.setdefault(branch, []).append(place)
    candidates = (
        (i + j, abs(i - j), branch, i, j)
        for branch in places[0].keys() & places[1].keys()
        for i, j in zip(places[0][branch], places[1][branch], strict=False)
    )
    taken = [(-1, -1), (len(left), len(right))]
    for *_, i, j in sorted(candidates):
        after = bisect.bisect(taken, (i, j))
        if taken[after - 1][1] < j < taken[after][1]:
            taken.insert(after, (i, j))
    for (i, j), (k, m) in itertools.pairwise(taken):
        yield from ((one, None) for one in left[i + 1 : k])
        yield from ((None, other) for other in right[j + 1 : m])
        if k < len(left):
            yield left[k], right[m]


def _branch(statement: Statement) -> tuple[str, ...] | None:
    """Return what two statements share that do the same kind of thing in two dialects, in one function."""
    site = statement.site
    if site is None or syntax.is_about_schema(statement.sql):
        return None
    return site.path, site.function, syntax.family(statement.sql), syntax.defined_kind(statement.sql)


def _positional(statement: Statement) -> Any:
    """Return the parameters in the order of the statement's placeholders, those of each set for executemany."""
    if statement.kind == "executemany":
        return [_in_order(statement.sql, params) for params in statement.params or ()]
    return _in_order(statement.sql, statement.params)


def _in_order(sql: str, params: Any) -> Any:
    if not isinstance(params, Mapping):
        numbers = [int(number) - 1 for number in _NUMBERED.findall(sql)]
        if isinstance(params, list | tuple) and numbers and max(numbers) < len(params):
            return type(params)(params[number] for number in numbers)
        return params
    names = [first or second for first, second in _NAMED.findall(sql)]
    return (
        [params[name] for name in names]
        if names and all(name in params for name in names)
        else list(params.values())
    )


_NAMED = re.compile(r"%\((\w+)\)s|(?<!:):(\w+)")
_NUMBERED = re.compile(r"(?<![\w$?])[?$]([1-9]\d*)\b")


def parameter_sets(statement: Statement) -> list[Sequence[Any]]:
    """Return the sets of parameters of a statement, one but for executemany."""
    found = _positional(statement)
    sets = found if statement.kind == "executemany" else [found]
    return [one if isinstance(one, list | tuple) else [one] for one in sets]


CONVERTERS = frozenset({"sqlalchemy", "django", "peewee", "pony"})
"""Libraries that turn what a driver gives into the types of their columns."""
