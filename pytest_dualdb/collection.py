"""How a collected test becomes its halves: parametrised, or for `unittest` one item for each backend.

It knows pytest's items and the marks on them, not what a half does. Everything a half needs to be told apart
later is on the item: `backend_of` and `key_of` read it.
"""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import pytest

if TYPE_CHECKING:
    from pytest_dualdb.marks import Marks

DB = "dualdb"
SCOPES = ("session", "package", "module", "class", "function")
"""From the widest on."""
BACKEND = "_dualdb_backend"
"""The fixture that gives a half its backend."""

AGAIN = "-again"
"""What the parameter of a half's second run ends in."""

TESTED = pytest.StashKey[Callable[[], None]]()
"""To be called when a test's own part is over and what cleans up begins."""
_HALF_OF = pytest.StashKey[str]()
_MARKS = pytest.StashKey["Marks"]()
_ELSEWHERE = pytest.StashKey[bool]()


def _half_of(item: pytest.Item) -> str | None:
    callspec = getattr(item, "callspec", None)
    found = None if callspec is None else callspec.params.get(BACKEND)
    return item.stash.get(_HALF_OF, None) if found is None else str(found)


def backend_of(item: pytest.Item) -> str | None:
    """Return the backend of a half, None for what is no half."""
    found = _half_of(item)
    return None if found is None else found.removesuffix(AGAIN)


def is_repeat(item: pytest.Item) -> bool:
    """Return whether the half is the second run of one on the same backend."""
    return (_half_of(item) or "").endswith(AGAIN)


def key_of(item: pytest.Item, backend: str) -> str:
    """Return the node id without the backend, which is the last of the test's parameters."""
    if _HALF_OF in item.stash:
        assert item.parent is not None
        return f"{item.parent.nodeid}::{cast(pytest.Function, item).originalname}"
    callspec = getattr(item, "callspec", None)
    if callspec is None:
        return nodeid_of(item)
    rest = callspec.id.removesuffix(AGAIN).removesuffix(backend).removesuffix("-")
    start = nodeid_of(item).removesuffix(f"[{callspec.id}]")
    return f"{start}[{rest}]" if rest else start


def nodeid_of(item: pytest.Item) -> str:
    """Return the node id as it is everywhere: to that of a worker, --dist=loadgroup adds the group."""
    return item.nodeid if item.parent is None else f"{item.parent.nodeid}::{item.name}"


def without_group(nodeid: str) -> str:
    """Return the node id of a half, as workers send it, without the group of --dist=loadgroup."""
    start, bracket, end = nodeid.rpartition("]")
    return start + bracket if end.startswith("@") else nodeid


class Failures(dict[Any, bool]):
    """The failures that --lf runs again: a half is among them if its partner is."""

    def __contains__(self, nodeid: object) -> bool:
        if super().__contains__(nodeid):
            return True
        text = str(nodeid)
        for one, other in (("sqlite]", "postgres]"), ("postgres]", "sqlite]")):
            if text.endswith(one):
                partner = text.removesuffix(one) + other
                # a parsed id from pytest 9.2 on
                parse = getattr(type(nodeid), "parse", str)
                return super().__contains__(parse(partner))
        return False


def fail_in_pairs(config: pytest.Config) -> None:
    """Have --lf and --ff take both halves of a test of which one failed."""
    plugin: Any = config.pluginmanager.get_plugin("lfplugin")
    if getattr(plugin, "lastfailed", None):
        plugin.lastfailed = Failures(plugin.lastfailed)


class Collection:
    """Makes halves of the tests of one process as they are collected."""

    def __init__(
        self,
        backends: Sequence[str],
        rules: Callable[[], Iterable[str]],
        pinned: str | None = None,
        *,
        repeat: bool = False,
    ) -> None:
        """Make halves for ``backends``, of which a pinned worker keeps its own, two of each if ``repeat``.

        ``rules`` gives the names that an allowance may have; it is asked only if there is one.
        """
        self.backends = tuple(backends)
        self._halves_of = (*backends, *(f"{backend}{AGAIN}" for backend in backends if repeat))
        self._pinned = pinned
        self._sharing = False
        self._rules = rules
        self._known: frozenset[str] | None = None
        self._counts: dict[tuple[str, str], int] = {}

    def parametrize(self, metafunc: pytest.Metafunc) -> bool:
        """Parametrise a test function that asks for the database; say whether it does."""
        shared = shared_among(metafunc.fixturenames, getattr(metafunc, "_arg2fixturedefs", {}))
        if shared:
            return self._parametrize_sharing(metafunc, shared)
        if BACKEND not in metafunc.fixturenames:
            known = getattr(metafunc, "_arg2fixturedefs", {})
            if not _overridden(metafunc.fixturenames, known, metafunc.definition):
                return False
            metafunc.fixturenames.append(BACKEND)
        metafunc.parametrize(BACKEND, self._halves_of, indirect=True, ids=self._halves_of)
        return True

    def _parametrize_sharing(self, metafunc: pytest.Metafunc, shared: Mapping[str, str]) -> bool:
        """Parametrise a test on a shared database: all its halves on one backend, then those on the other."""
        self._sharing = True
        if BACKEND not in metafunc.fixturenames:
            metafunc.fixturenames.append(BACKEND)
        wanted = (BACKEND, *shared)
        metafunc.parametrize(
            wanted, [(backend,) * len(wanted) for backend in self.backends], indirect=True, ids=self.backends,
            scope=min(shared.values(), key=SCOPES.index),  # type: ignore[arg-type]
        )  # fmt: skip
        return True

    def divide(self, report: pytest.CollectReport) -> bool:
        """Put the halves of `unittest` methods in their place, and do what marks say of any half.

        A bad mark makes the report a failed one. Return whether there are halves of `unittest` methods.
        """
        found: list[Any] = []
        wrong: dict[str, None] = {}
        made = False
        for item in report.result or ():
            if not isinstance(item, pytest.Function):
                found.append(item)
                continue
            try:
                marks = self._marks(item)
            except ValueError as error:
                wrong[str(error)] = None
                continue
            if self._sharing:
                _ask_for_db(item)
            for half in self._halves(item):
                made = made or half is not item
                if marks is not None and not self._apply(marks, half):
                    if len(self.backends) > 1:
                        continue
                    half.stash[_ELSEWHERE] = True
                found.append(half)
        report.result = found
        if wrong:
            report.outcome = "failed"
            report.longrepr = "\n".join(wrong)
            report.result = []
        return made

    def _marks(self, item: pytest.Function) -> Marks | None:
        if item.get_closest_marker("dualdb") is None:
            return None
        from pytest_dualdb import marks

        return marks.read(item, self._rule_names)

    def _rule_names(self) -> frozenset[str]:
        if self._known is None:
            self._known = frozenset(self._rules())
        return self._known

    @staticmethod
    def _apply(marks: Marks, half: pytest.Function) -> bool:
        """Do what the marks say of a half; return whether it runs at all."""
        half.stash[_MARKS] = marks
        backend = backend_of(half)
        if backend is None:
            return True
        if marks.only is not None and marks.only.only != backend:
            return False
        for mark in marks.expected_failures(backend):
            half.add_marker(mark)
        return True

    def _halves(self, item: pytest.Function) -> Iterator[pytest.Function]:
        """Yield an item for each backend in place of a `unittest` method that asks for the database."""
        unittest = sys.modules.get("unittest")
        if unittest is None or item.cls is None or not issubclass(item.cls, unittest.TestCase):
            yield item
            return
        if BACKEND not in item.fixturenames:
            known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
            if not _overridden(item.fixturenames, known, item):
                yield item
                return
        kind = cast(type[pytest.Function], type(type(item).__name__, (_NamedHalf, type(item)), {}))
        name = item.originalname
        for backend in self._halves_of:
            method = getattr(cast(pytest.Class, item.parent).obj(name), name)
            half: pytest.Function = kind.from_parent(item.parent, name=f"{name}[{backend}]", callobj=method)
            half.originalname = name
            half.stash[_HALF_OF] = backend
            yield half

    def finish(self, items: list[pytest.Item], config: pytest.Config) -> None:
        """Deselect what runs on the other backend only, and count the tests that an allowance is for."""
        if self._pinned is not None:
            # what is no half runs once, on the first backend's side
            default = self.backends[0]
            items[:] = [item for item in items if (backend_of(item) or default) == self._pinned]
        elsewhere = [item for item in items if _ELSEWHERE in item.stash]
        if elsewhere:
            config.hook.pytest_deselected(items=elsewhere)
            items[:] = [item for item in items if _ELSEWHERE not in item.stash]
        under: dict[tuple[str, str], set[str]] = {}
        for item in items:
            marks = item.stash.get(_MARKS, None)
            backend = backend_of(item)
            if marks is None or backend is None or marks.only is not None:
                continue
            for rule, _, where in marks.allowances:
                under.setdefault((rule, where), set()).add(key_of(item, backend))
        if any("::" in str(argument) for argument in config.args):
            return  # there may be more than what was asked for
        self._counts = {key: len(tests) for key, tests in under.items()}

    @staticmethod
    def keep_pairs(collected: Sequence[pytest.Item], items: list[pytest.Item], config: pytest.Config) -> None:
        """Put the halves of a pair into the same group of pytest-split: that of the first half."""
        first: dict[str, pytest.Item] = {}
        for item in collected:
            backend = backend_of(item)
            if backend is not None:
                first.setdefault(key_of(item, backend), item)
        chosen = set(items)
        items[:] = [
            item for item in collected if first.get(key_of(item, backend_of(item) or ""), item) in chosen
        ]
        left_out = [item for item in chosen if item not in set(items)]
        if left_out:
            config.hook.pytest_deselected(items=left_out)

    def finish_late(
        self, collected: Sequence[pytest.Item], items: list[pytest.Item], config: pytest.Config
    ) -> None:
        """Do what marks say that a conftest or another plugin has put on collected tests."""
        wrong: dict[str, str] = {}
        elsewhere = []
        counts: dict[tuple[str, str], set[str]] = {}
        for item in items:
            if not isinstance(item, pytest.Function):
                continue
            known = item.stash.get(_MARKS, None)
            if sum(1 for _ in item.iter_markers("dualdb")) == (0 if known is None else len(known.marks)):
                continue
            try:
                marks = self._marks(item)
            except ValueError as error:
                wrong[str(error)] = nodeid_of(item)
                continue
            assert marks is not None
            if not self._apply(marks, item):
                elsewhere.append(item)
            for rule, _, where in marks.allowances if marks.only is None else ():
                counts.setdefault((rule, where), set()).add(key_of(item, backend_of(item) or ""))
        for message, nodeid in wrong.items():
            config.hook.pytest_collectreport(report=pytest.CollectReport(nodeid, "failed", message, []))
        if len(items) == len(collected):  # else others may have been left out before they had the mark
            self._counts = {**{key: len(tests) for key, tests in counts.items()}, **self._counts}
        if elsewhere:
            config.hook.pytest_deselected(items=elsewhere)
            items[:] = [item for item in items if item not in set(elsewhere)]

    def marks(self, item: pytest.Item) -> Mapping[str, Any]:
        """Return what the recording of a half carries of its marks, as plain JSON values."""
        found = item.stash.get(_MARKS, None)
        if found is None:
            return {}
        from pytest_dualdb.marks import to_json

        return to_json(found, self._counts)


class _NamedHalf(pytest.Function):
    """A `unittest` method whose item has another name: `unittest` looks for the method by the item's."""

    @property
    def id(self) -> Any:
        """The parsed node id, as pytest has it from 9.2 on: --lf needs the parameter apart from the name."""
        found = super().id
        parse = getattr(type(found), "parse", None)
        return found if parse is None else parse(str(found))

    def setup(self) -> None:
        name, self.name = self.name, self.originalname
        try:
            # makes the instance, also the new one of a repeated run
            _ = self.obj
            super().setup()
        finally:
            self.name = name

    def runtest(self) -> None:
        name, self.name = self.name, self.originalname
        method: Any = self.obj
        case = method.__self__
        # pytest gives the instance what `obj` is, but for a coroutine function
        self.obj = ending_with(method, self.stash.get(TESTED, lambda: None))
        setattr(case, self.originalname, self.obj)
        try:
            super().runtest()
        finally:
            self.name, self.obj = name, method
            vars(case).pop(self.originalname, None)


def ending_with(method: Callable[..., Any], then: Callable[[], None]) -> Callable[..., Any]:
    """Return a method that calls ``then`` at its end, however it ends."""
    if inspect.iscoroutinefunction(method):

        @functools.wraps(method)
        async def awaited(*args: Any, **kwargs: Any) -> Any:
            try:
                return await method(*args, **kwargs)
            finally:
                then()

        return awaited

    @functools.wraps(method)
    def called(*args: Any, **kwargs: Any) -> Any:
        try:
            return method(*args, **kwargs)
        finally:
            then()

    return called


def _overridden(names: Iterable[str], known: Mapping[str, Sequence[Any]], item: pytest.Item) -> bool:
    """Return whether a test asks for db through a fixture that overrides another of its own name.

    pytest before version 9 leaves what the overridden fixture asks for out of ``fixturenames``.
    """
    if all(len(found) < 2 for found in known.values()):
        return False
    lookup = getattr(getattr(item.session, "_fixturemanager", None), "getfixturedefs", None)
    waiting = [(name, -1) for name in names]
    seen = set(waiting)
    while waiting:
        name, index = waiting.pop()
        if name == BACKEND:
            return True
        found = known.get(name) or (lookup(name, item) if lookup is not None else None) or ()
        if len(found) < -index:
            continue
        for wanted in found[index].argnames:
            entry = (wanted, index - 1 if wanted == name else -1)
            if entry not in seen:
                seen.add(entry)
                waiting.append(entry)
    return False


def _ask_for_db(item: pytest.Function) -> None:
    """Have a test on a shared database begin its half, before the first fixture that is its alone."""
    known = getattr(getattr(item, "_fixtureinfo", None), "name2fixturedefs", {})
    names = item.fixturenames
    if DB not in names and shared_among(names, known):
        own = (i for i, name in enumerate(names) if name in known and known[name][-1].scope == "function")
        names.insert(next(own, len(names)), DB)


def shared_among(names: Sequence[str], known: Mapping[str, Sequence[Any]]) -> dict[str, str]:
    """Return the scopes of the shared databases that a test asks for, by the names of their fixtures."""
    found = {}
    for name in names:
        function = getattr(known[name][-1], "func", None) if known.get(name) else None
        scope = getattr(function, "dualdb_scope", None)
        if scope is not None:
            found[name] = scope
    return found
