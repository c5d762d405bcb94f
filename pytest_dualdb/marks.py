"""The marker `dualdb`: what a user says about a test's halves, checked by calling a signature with it.

It reads the marks of one test and knows no more of a run than the names of its rules, which it asks for only
if a mark names one.
"""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import pytest

from pytest_dualdb.recording import BACKENDS


class MarkError(ValueError):
    """A mark says what it can't; the message is one line for the user."""


@dataclass(frozen=True, slots=True)
class Mark:
    """What one mark says. ``where`` is the node id of what it is on, without parameters."""

    only: str
    xfail: str
    raises: Any
    allow: tuple[str, ...]
    ignore: tuple[str, ...]
    reason: str
    where: str = ""


@dataclass(frozen=True, slots=True)
class Marks:
    """What all marks of a test say, its own before those of its class and module."""

    marks: tuple[Mark, ...]

    @property
    def only(self) -> Mark | None:
        """The mark that names the one backend of the test, None if it runs on both."""
        return next((mark for mark in self.marks if mark.only), None)

    @property
    def ignored(self) -> list[str]:
        return [column for mark in self.marks for column in mark.ignore]

    @property
    def allowances(self) -> list[tuple[str, str, str]]:
        """Rule, reason and where it is said, for each rule that the test allows."""
        return [(rule, mark.reason, mark.where) for mark in self.marks for rule in mark.allow]

    def expected_failures(self, backend: str) -> list[pytest.MarkDecorator]:
        """Return pytest's own marks for the half on a backend: strict, with the exceptions given."""
        return [
            pytest.mark.xfail(
                reason=mark.reason, strict=True, **({} if mark.raises is None else {"raises": mark.raises})
            )
            for mark in self.marks
            if mark.xfail == backend
        ]


def read(item: pytest.Function, rules: Callable[[], Iterable[str]]) -> Marks | None:
    """Return what a test's marks say, None if it has none; raises MarkError.

    ``rules`` gives the names that an allowance may have.
    """
    found: list[Mark] = []
    for node, mark in item.iter_markers_with_node("dualdb"):
        where = name_of(item) if node is item else node.nodeid
        try:
            _check_arguments(mark)
            said = _dualdb(**mark.kwargs)
            _check_rules(said.allow, rules)
        except MarkError as error:
            raise MarkError(f"{where}: @pytest.mark.dualdb({_shown(mark)}): {error}") from None
        found.append(replace(said, where=where))
    if not found:
        return None
    marks = Marks(tuple(found))
    _check_together(marks, name_of(item))
    return marks


def name_of(item: pytest.Function) -> str:
    """Return the node id of a test without its parameters."""
    assert item.parent is not None
    return f"{item.parent.nodeid}::{item.originalname}"


def _dualdb(
    *, only: str = "", xfail: str = "", raises: Any = None,
    allow: Any = (), ignore: Any = (), reason: str = "",
) -> Mark:  # fmt: skip
    """Say of a test what is known of its halves. The marker's arguments are this function's."""
    mark = Mark(
        _backend("only", only), _backend("xfail", xfail), raises,
        _names("allow", allow, "rule names"), _names("ignore", ignore, "column names"), reason,
    )  # fmt: skip
    if not isinstance(reason, str):
        raise MarkError(f"reason={reason!r} is no text")
    needing = [name for name in ("only", "xfail", "allow") if getattr(mark, name)]
    if not needing and not mark.ignore:
        raise MarkError("says nothing; expected one of only=, xfail=, allow=, ignore=")
    if needing and not reason.strip():
        raise MarkError(f'{needing[0]}= needs a reason; expected reason="why"')
    if raises is not None:
        if not mark.xfail:
            raise MarkError("raises= belongs to xfail=; expected the backend that raises it, as xfail=")
        classes = raises if isinstance(raises, tuple) else (raises,)
        plain = classes and all(isinstance(cls, type) and issubclass(cls, BaseException) for cls in classes)
        if not plain and not hasattr(raises, "matches"):  # as pytest.RaisesExc and RaisesGroup have
            raise MarkError(f"raises={raises!r}: expected a class of exceptions or a tuple of them")
    return mark


def _check_arguments(mark: pytest.Mark) -> None:
    if mark.args:
        raise MarkError(f"{mark.args[0]!r} has no name; expected one of only=, xfail=, allow=, ignore=")
    known = list(inspect.signature(_dualdb).parameters)
    for name in mark.kwargs:
        if name not in known:
            raise MarkError(f"unknown argument {name!r}{_suggested(name, known)}")


def _backend(argument: str, given: Any) -> str:
    if given == "" or given in BACKENDS:
        return str(given)
    raise MarkError(f"{argument}={given!r}: unknown backend; expected {' or '.join(map(repr, BACKENDS))}")


def _names(argument: str, given: Any, what: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if isinstance(names, (list, tuple)) and all(isinstance(name, str) and name.strip() for name in names):
        return tuple(names)
    raise MarkError(f"{argument}={given!r}: expected {what}: a text or a list of texts")


def _check_rules(allowed: tuple[str, ...], rules: Callable[[], Iterable[str]]) -> None:
    if not allowed:
        return
    known = sorted({"unexplained", *rules()})
    for name in allowed:
        if name not in known:
            otherwise = "the name of a rule as the summary shows it"
            raise MarkError(f"allow={name!r}: unknown rule{_suggested(name, known, otherwise)}")


def _check_together(marks: Marks, test: str) -> None:
    backends = dict.fromkeys(mark.only for mark in marks.marks if mark.only)
    if len(backends) > 1:
        both = " and only=".join(map(repr, backends))
        raise MarkError(f"{test}: its marks say only={both}; expected one of them")
    for mark in marks.marks:
        if backends and mark.xfail and mark.xfail not in backends:
            only = next(iter(backends))
            raise MarkError(f"{test}: only={only!r} leaves no half to fail as xfail={mark.xfail!r} expects")
        unneeded = next((name for name in ("allow", "ignore") if getattr(mark, name)), "")
        if unneeded and marks.only is not None and mark.where in (test, marks.only.where):
            raise MarkError(
                f"{test}: only={marks.only.only!r} leaves nothing to compare; expected no {unneeded}= beside it"
            )


def _suggested(name: str, known: Iterable[str], otherwise: str = "") -> str:
    close = difflib.get_close_matches(name, list(known), n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; expected {otherwise or 'one of ' + ', '.join(known)}"


def _shown(mark: pytest.Mark) -> str:
    parts = [*map(repr, mark.args), *(f"{name}={value!r}" for name, value in mark.kwargs.items())]
    text = " ".join(", ".join(parts).split())
    return text if len(text) <= 100 else f"{text[:97]}..."


def to_json(marks: Marks | None, counts: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """Return what a recording carries of its test's marks, as plain JSON values.

    ``counts`` says how many tests an allowance (rule, where) is for; 0 if that is not known.
    """
    if marks is None:
        return {}
    data: dict[str, Any] = {}
    if marks.only is not None:
        data["only"] = marks.only.reason
    if marks.ignored:
        data["ignore"] = marks.ignored
    if marks.allowances:
        data["allow"] = [
            [rule, reason, where, counts.get((rule, where), 0)] for rule, reason, where in marks.allowances
        ]
    return data
