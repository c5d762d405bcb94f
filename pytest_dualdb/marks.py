"""The marker `dualdb`: what a user says about a test's halves, checked by calling a signature with it.

It reads the marks of one test and knows no more of a run than the names of its rules, which it asks for only
if a mark names one.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest

from pytest_dualdb.recording import BACKENDS

USAGE = (
    'dualdb(only="postgres", xfail="postgres", raises=Error, allow="like-case", ignore=["created_at"], reason=...):'
    " run on that backend only; expect that backend's half to fail; accept what those rules say; don't compare"
    " those columns. All but ignore need a reason."
)


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
        where = test_name(item) if node is item else node.nodeid
        try:
            read_one = _dualdb(*_keywords_only(mark), **mark.kwargs)
            _check_rules(read_one.allow, rules)
        except (MarkError, TypeError) as error:
            raise MarkError(f"{where}: @pytest.mark.dualdb({_shown(mark)}): {_plain(error)}") from None
        found.append(_placed(read_one, where))
    if not found:
        return None
    marks = Marks(tuple(found))
    _check_together(marks, test_name(item))
    return marks


def test_name(item: pytest.Function) -> str:
    """Return the node id of a test without its parameters."""
    assert item.parent is not None
    return f"{item.parent.nodeid}::{item.originalname}"


# pytest collects by name in whatever imports this
test_name.__test__ = False  # type: ignore[attr-defined]


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
        # pytest.RaisesExc and RaisesGroup have `matches`
        if not all(isinstance(c, type) and issubclass(c, BaseException) for c in classes) and not hasattr(raises, "matches"):
            raise MarkError(f"raises={raises!r}: expected a class of exceptions or a tuple of them")
    return mark


def _keywords_only(mark: pytest.Mark) -> tuple[()]:
    if mark.args:
        raise MarkError(f"{mark.args[0]!r} has no name; expected one of only=, xfail=, allow=, ignore=, with a reason=")
    unknown = [name for name in mark.kwargs if name not in _ARGUMENTS]
    if unknown:
        raise MarkError(f"unknown argument {unknown[0]!r}{_suggested(unknown[0], _ARGUMENTS)}")
    return ()


_ARGUMENTS = ("only", "xfail", "raises", "allow", "ignore", "reason")


def _backend(argument: str, given: Any) -> str:
    if given == "" or given in BACKENDS:
        return str(given)
    raise MarkError(f"{argument}={given!r}: unknown backend; expected {' or '.join(map(repr, BACKENDS))}")


def _names(argument: str, given: Any, what: str) -> tuple[str, ...]:
    names = (given,) if isinstance(given, str) else given
    if isinstance(names, (list, tuple, set, frozenset)) and all(isinstance(n, str) and n.strip() for n in names):
        return tuple(names)
    raise MarkError(f"{argument}={given!r}: expected {what}: a text or a list of texts")


def _check_rules(allowed: tuple[str, ...], rules: Callable[[], Iterable[str]]) -> None:
    if not allowed:
        return
    known = sorted({"unexplained", *rules()})
    for name in allowed:
        if name not in known:
            raise MarkError(f"allow={name!r}: unknown rule{_suggested(name, known, 'the name that the summary shows')}")


def _check_together(marks: Marks, test: str) -> None:
    backends = dict.fromkeys(mark.only for mark in marks.marks if mark.only)
    if len(backends) > 1:
        raise MarkError(f"{test}: its marks say only={' and only='.join(map(repr, backends))}; expected one of them")
    never = [mark.xfail for mark in marks.marks if backends and mark.xfail and mark.xfail not in backends]
    if never:
        raise MarkError(
            f"{test}: its marks say xfail={never[0]!r} and only={next(iter(backends))!r}; expected an xfail of a half that runs"
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


def _plain(error: Exception) -> str:
    return " ".join(str(error).split())


def _placed(mark: Mark, where: str) -> Mark:
    return Mark(mark.only, mark.xfail, mark.raises, mark.allow, mark.ignore, mark.reason, where)


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
