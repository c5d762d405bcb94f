"""The summary in the terminal: what broke, where, and what to write instead, issue by issue.

`lines` is pure: it returns text with the names of styles, and whoever prints it decides what they look like.
Nothing here knows pytest or a terminal. No line is wider than the width, and each reads as well without
its styles.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

from pytest_dualdb.compare import Divergence
from pytest_dualdb.report import Issue, Report
from pytest_dualdb.report.excerpt import Excerpt, Row, Text, brief, cells, clean, cut, excerpt
from pytest_dualdb.rules import UNEXPLAINED

Segment = tuple[str, str]
Line = tuple[Segment, ...]
"""One line: texts, each with the name of its style, which is one of pytest's markup, or none."""

MIN_WIDTH, MAX_WIDTH = 40, 200
MAX_LOW = 10
"""Low issues shown without ``-v``; also the most that each other list has without it."""
MAX_REASONS = 3
MAX_WRAPPED = 3
"""Lines that a message may take; a statement has as many as it needs with ``-v``, up to `MAX_STATEMENT`."""
MAX_STATEMENT = 12
_STYLES = {"critical": "red", "high": "yellow", "medium": "cyan", "low": "light"}
_SIDES = {"sqlite": ("-", "red"), "postgres": ("+", "green"), "both": (" ", "light")}
_LABEL = 10
"""Columns of a label (``postgres  ``, ``instead   ``) and of a severity."""


def lines(report: Report, *, width: int, verbose: int = 0) -> list[Line]:
    """Return the summary's lines, none wider than ``width`` columns (40 to 200), without its heading."""
    return _Summary(report, max(MIN_WIDTH, min(MAX_WIDTH, width)), verbose).lines()


def plain(line: Line) -> str:
    """Return a line without its styles."""
    return "".join(text for text, _ in line)


class _Summary:
    """One summary in the making."""

    def __init__(self, report: Report, width: int, verbose: int) -> None:
        self.report = report
        self.width = width
        self.verbose = verbose > 0
        self.advised: set[tuple[str, str]] = set()
        self.found: list[Line] = []

    def lines(self) -> list[Line]:
        self._versions()
        if not self.report.tests:
            self._nothing()
            return self.found
        self._totals()
        full = [issue for issue in self.report.issues if issue.severity != "low" or self.verbose]
        for issue in full:
            self._gap()
            self._issue(issue)
        if not self.verbose:
            self._low([issue for issue in self.report.issues if issue.severity == "low"])
        marked = self.report.stale or (self.verbose and (self.report.only or self.report.allowed))
        if self.report.not_comparable or self.report.leaks or self.report.unsteady or marked:
            self._gap()
            self._not_comparable()
            self._said("left something open", self.report.leaks)
            self._said("changed from run to run", self.report.unsteady)
            self._marked()
        self._shared()
        self._last()
        return self.found

    # ------------------------------------------------------------------------------------------- the frame

    def _add(self, *segments: Segment) -> None:
        """Add a line, cut to the width; texts without a style lose their white space at the end of it."""
        room = self.width
        kept = []
        for text, style in segments:
            shown = cut(text, room, 0)
            room -= cells(shown)
            if shown:
                kept.append((shown, style))
        while kept and not kept[-1][0].rstrip():
            kept.pop()
        if kept:
            kept[-1] = (kept[-1][0].rstrip(), kept[-1][1])
        self.found.append(tuple(kept))

    def _gap(self) -> None:
        if self.found and self.found[-1]:
            self.found.append(())

    def _wrapped(self, first: Sequence[Segment], text: str, style: str = "", most: int = MAX_WRAPPED) -> None:
        """Add text after a label, its further lines below its first; what does not fit is cut."""
        indent = sum(cells(label) for label, _ in first)
        parts = _wrap(text, self.width - indent, most)
        self._add(*first, (parts[0], style))
        for part in parts[1:]:
            self._add((" " * indent, ""), (part, style))

    def _versions(self) -> None:
        meta = self.report.meta
        server = ", ".join(clean(part) for part in (meta.source, meta.collation) if part)
        sides = {
            "sqlite": f"SQLite {meta.sqlite}".strip(),
            "postgres": f"PostgreSQL {meta.postgres}".strip() + (f" ({server})" if server else ""),
        }
        text = " <-> ".join(sides[backend] for backend in meta.backends)
        self._wrapped([], clean(text))

    def _nothing(self) -> None:
        backends = self.report.meta.backends
        if self.report.only:
            text = f"no pair: {_count(len(self.report.only), 'test')} with a mark to run on one backend only"
        elif len(backends) == 1:
            text = f"no pair: the tests ran on {backends[0]} only; --db=both runs them on both and compares"
        else:
            text = "no pair: no test that uses a database ran on either backend"
        self._wrapped([], text, "yellow")

    def _totals(self) -> None:
        report = self.report
        count = len(report.tests)
        pairs = _count(count, "pair")
        numbers = (f"{backend} {report.statements(backend)}" for backend in report.meta.backends)
        received = f"statements: {', '.join(numbers)}"
        if report.count("agree") == count:
            self._beside([(f"{pairs}: ", ""), ("all agree" if count > 1 else "agrees", "green")], received)
            return
        parts: list[Segment] = []
        for verdict, style in (("agree", "green"), ("disagree", "red"), ("not-comparable", "yellow")):
            number = report.count(verdict)  # type: ignore[arg-type]
            if number:
                parts += [(", " if parts else "", ""), (f"{number} {verdict.replace('-', ' ')}", style)]
        self._beside([(f"{pairs}: ", ""), *parts], received)
        if report.one_sided:
            self._wrapped([("NOTHING WAS COMPARED: ", "red")], clean(report.one_sided))

    def _last(self) -> None:
        report = self.report
        counts: list[Segment] = []
        for level, number in report.severities().items():
            if number:
                counts += [(", " if counts else "", ""), (f"{number} {level}", _STYLES[level])]
        times = {backend: report.sql_seconds(backend) for backend in report.meta.backends}
        sql = "SQL time: " + ", ".join(f"{backend} {_seconds(time)}" for backend, time in times.items())
        if report.ratio is not None:
            sql += f" ({report.ratio:.1f}x)"
        if not counts:
            self._add((sql, "light"))
            return
        self._beside([(f"{_count(len(report.issues), 'issue')}: ", "bold"), *counts], sql)

    def _beside(self, left: list[Segment], right: str) -> None:
        """Add a line with a remark at its right, which gets a line of its own where there is no room."""
        used = sum(cells(text) for text, _ in left)
        if used + 3 + cells(right) <= self.width:
            self._add(*left, (" " * min(7, self.width - used - cells(right)), ""), (right, "light"))
        else:
            self._add(*left)
            self._add((right, "light"))

    # ------------------------------------------------------------------------------------------- one issue

    def _issue(self, issue: Issue) -> None:
        shown = excerpt(issue, rows=20 if self.verbose else 4)
        self._heading(issue)
        self._where(issue, shown)
        self._statements(shown)
        for backend, error in shown.errors:
            self._wrapped([("    ", ""), (f"{backend:<{_LABEL}}", "bold")], error)
        self._rows(shown)
        if shown.note:
            self._wrapped([("    ", "")], shown.note)
        if shown.failure is not None:
            backend, text = shown.failure
            self._wrapped([("  ", ""), (f"{'fails':<{_LABEL}}", "red")], f"on {backend}: {text}", most=2)
        if issue.instead and (issue.rule, issue.instead) not in self.advised:
            self.advised.add((issue.rule, issue.instead))
            self._wrapped([("  ", ""), (f"{'instead':<{_LABEL}}", "green")], clean(issue.instead))
        if self.verbose:
            self._follows(issue.follows)
        self._tests(issue)

    def _heading(self, issue: Issue) -> None:
        severity = (f"{issue.severity.upper():<{_LABEL}}", _STYLES[issue.severity])
        rule, title = clean(issue.rule), clean(issue.title)
        tests = _count(len(issue.tests), "test")
        room = self.width - _LABEL - len(tests) - 2
        for pad in (20, cells(rule) + 2):
            head = rule + " " * max(2, pad - cells(rule))
            if cells(head) + cells(title) <= room:
                gap = " " * (room + 2 - cells(head) - cells(title))
                self._add(severity, (head, "bold"), (title, ""), (gap, ""), (tests, ""))
                return
        name = cut(rule, room)
        self._add(severity, (name, "bold"), (" " * (room + 2 - cells(name)), ""), (tests, ""))
        self._wrapped([("  ", "")], title)

    def _where(self, issue: Issue, shown: Excerpt) -> None:
        if not shown.site:
            return
        more = len(issue.sites) - 1
        suffix = f" and {_count(more, 'more place')}" if more > 0 and not self.verbose else ""
        self._add(("  ", ""), (_path(shown.site, self.width - 2 - cells(suffix)), "cyan"), (suffix, ""))
        if self.verbose:
            for site in issue.sites:
                text = clean(f"{site} in {site.function}")
                if text != shown.site:
                    self._add(("  ", ""), (_path(text, self.width - 2), "cyan"))

    def _statements(self, shown: Excerpt) -> None:
        room = self.width - 4
        inline = len(shown.statements) == 1 and len(shown.params) == 1 and shown.params[0][0] is None
        for text in shown.statements:
            label = f"{text.backend:<{_LABEL}}" if text.backend is not None else ""
            if self.verbose and cells(text.line) > room - cells(label):
                self._wrapped([("    ", ""), (label, "bold")], text.line, most=MAX_STATEMENT)
                continue
            line = _one_line(text, room - cells(label))
            if inline and cells(line) + 6 + cells(shown.params[0][1]) <= room:
                self._add((f"    {line}", ""), (f"      {shown.params[0][1]}", "light"))
                return
            self._add(("    ", ""), (label, "bold"), (line, ""))
        for backend, params in shown.params:
            label = f"{backend:<{_LABEL}}" if backend is not None else ""
            values = cut(f"with {params}", room - cells(label) - 2)
            self._add(("    " if label else "      ", ""), (label, "bold"), (values, "light"))

    def _rows(self, shown: Excerpt) -> None:
        if not shown.rows:
            return
        if shown.subject:
            self._add((f"    {shown.subject}", ""))
        indent = 6 + _LABEL
        widths = _column_widths(shown, self.width - indent)
        if shown.columns:
            names = [
                _padded(cut(name, width), width) for name, width in zip(shown.columns, widths, strict=False)
            ]
            hidden = len(shown.columns) - len(widths)
            extra = f"  (+{_count(hidden, 'column')})" if hidden else ""
            self._add((" " * indent + "  ".join(names).rstrip() + extra, "light"))
        for row in shown.rows:
            self._row(row, widths)

    def _row(self, row: Row, widths: Sequence[int]) -> None:
        mark, style = _SIDES[row.side]
        texts = [cut(cell.text, width, cell.parts) for cell, width in zip(row.cells, widths, strict=False)]
        padded = [_padded(text, width) for text, width in zip(texts, widths, strict=False)]
        text = "  ".join(padded).rstrip()
        more = f"  (and {row.more} more)" if row.more else ""
        start = [(f"  {mark}   ", style), (f"{row.side:<{_LABEL}}", style)]
        if 6 + _LABEL + cells(text + more) <= self.width:
            self._add(*start, (text, ""), (more, "light"))
            return
        self._add(*start, (text, ""))
        if more:
            self._add((" " * (6 + _LABEL), ""), (more.strip(), "light"))

    def _follows(self, follows: Sequence[tuple[Divergence, int]]) -> None:
        # how the half ends is said already
        follows = [(divergence, tests) for divergence, tests in follows if divergence.kind != "outcome"]
        for index, (divergence, tests) in enumerate(follows[: 2 * MAX_LOW]):
            label = "folded" if index == 0 else ""
            site = "" if divergence.site is None else f"{divergence.site}: "
            text = clean(site) + brief(divergence) + (f" ({_count(tests, 'test')})" if tests > 1 else "")
            self._wrapped([("  ", ""), (f"{label:<{_LABEL}}", "light")], text, most=2)
        if len(follows) > 2 * MAX_LOW:
            self._add((" " * (2 + _LABEL), ""), (f"and {len(follows) - 2 * MAX_LOW} more", "light"))

    def _tests(self, issue: Issue) -> None:
        hides = f"; hides {_count(issue.hides, 'statement')}" if issue.hides else ""
        if self.verbose:
            for index, test in enumerate(issue.tests):
                last = hides if index == len(issue.tests) - 1 else ""
                self._add(("  ", ""), (cut(clean(test), self.width - 2 - cells(last)) + last, "light"))
            return
        everything = ", ".join(map(clean, issue.tests)) + hides
        if len(issue.tests) <= 2 and cells(everything) <= self.width - 2:
            self._add(("  ", ""), (everything, "light"))
            return
        more = f" and {len(issue.tests) - 1} more" if len(issue.tests) > 1 else ""
        first, rest = clean(issue.tests[0]), (more + hides).lstrip(" ;")
        if cells(first + more + hides) <= self.width - 2:
            self._add(("  ", ""), (first + more + hides, "light"))
            return
        # a test's id stays whole as long as it can: people copy it
        self._add(("  ", ""), (cut(first, self.width - 2), "light"))
        if rest:
            self._add(("  ", ""), (rest, "light"))

    # --------------------------------------------------------------------------------------------- the rest

    def _low(self, issues: Sequence[Issue]) -> None:
        """Add one line for each low issue, those of one rule together."""
        groups: dict[tuple[str, str], list[Issue]] = {}
        for issue in issues:
            what = brief(issue.example) if issue.rule == UNEXPLAINED else ""
            groups.setdefault((issue.rule, what), []).append(issue)
        if not groups:
            return
        self._gap()
        shown = list(groups.values())
        if len(shown) > MAX_LOW:
            shown = shown[: MAX_LOW - 1]
        pad = max(20 if self.width >= 100 else 0, *(cells(clean(group[0].rule)) + 2 for group in shown))
        pad = min(pad, self.width // 3)
        for group in shown:
            self._low_line(group, pad)
        rest = sum(map(len, groups.values())) - sum(map(len, shown))
        if rest:
            self._add((f"{'LOW':<{_LABEL}}", _STYLES["low"]), (f"and {rest} more; -v shows all", ""))

    def _low_line(self, group: Sequence[Issue], pad: int) -> None:
        issue = group[0]
        tests = _count(len({test for one in group for test in one.tests}), "test")
        rule = cut(clean(issue.rule), pad - 2)
        room = self.width - _LABEL - pad - cells(tests) - 2
        more = f" +{len(group) - 1} more" if len(group) > 1 else ""
        site = clean(str(issue.sites[0])) if issue.sites else ""
        message = brief(issue.example)
        if site:
            shortest = cells(site.rpartition("/")[2])
            wanted = max(shortest, room - cells(message) - cells(more) - 2)
            site = _path(site, min(wanted, room - cells(more))) + more
        left = room - cells(site) - 2 if site else room
        message = cut(message, left, 0) if left >= 8 else ""
        text = f"{site}  {message}".strip() if site else message
        text = cut(text, room, 0)
        self._add(
            (f"{'LOW':<{_LABEL}}", _STYLES["low"]), (rule + " " * (pad - cells(rule)), "bold"), (text, ""),
            (" " * (room + 2 - cells(text)), ""), (tests, ""),
        )  # fmt: skip

    def _not_comparable(self) -> None:
        reasons = self.report.not_comparable
        if not reasons:
            return
        self._listed(f"{self.report.count('not-comparable')} not comparable: ", reasons)

    def _shared(self) -> None:
        tests = [test for test in self.report.tests if test.shared]
        if tests:
            names = ", ".join(sorted({name for test in tests for name in test.shared}))
            what = f"{_count(len(tests), 'test')} on a shared database ({clean(names)})"
            self._wrapped([], f"{what}: what one leaves, the next finds", "light")

    def _listed(self, label: str, reasons: Mapping[str, Sequence[str]]) -> None:
        """Add tests by what there is to say of them, all of them with ``-v``."""
        blank = " " * len(label)
        groups = list(reasons.items())
        shown = groups if self.verbose or len(groups) <= MAX_REASONS + 1 else groups[:MAX_REASONS]
        for index, (reason, tests) in enumerate(shown):
            head = [(blank, "") if index else (label, "yellow")]
            why = clean(reason)
            if self.verbose:
                self._wrapped(head, f"{why}:" if why else "")
                for test in tests:
                    self._add((blank, ""), (cut(clean(test), self.width - len(blank)), "light"))
                continue
            tail = f" and {len(tests) - 1} more" if len(tests) > 1 else ""
            self._wrapped(
                head, f"{clean(tests[0])}{tail}" + (f" ({why})" if why else ""), most=MAX_WRAPPED + 1
            )
        rest = sum(len(tests) for _, tests in groups[len(shown) :])
        if rest:
            self._add((blank, ""), (f"and {rest} more; -v shows all", ""))

    def _marked(self) -> None:
        """Add what marks say that no longer holds, and with ``-v`` what they leave out."""
        stale: dict[str, list[str]] = {}
        for one in self.report.stale:
            stale.setdefault(f"{one.rule}: {one.reason}", []).append(one.where)
        if stale:
            count = len(self.report.stale)
            verb = "no longer applies" if count == 1 else "no longer apply"
            self._listed(f"{_count(count, 'allowance')} {verb}: ", stale)
        if not self.verbose:
            return
        allowed: dict[str, list[str]] = {}
        for one, tests in self.report.allowed.items():
            allowed.setdefault(f"{one.rule}: {one.reason}", []).extend(tests)
        if allowed:
            self._listed("allowed: ", allowed)
        if self.report.only:
            only: dict[str, list[str]] = {}
            for test in self.report.only:
                only.setdefault(test.reason, []).append(test.id)
            self._listed(f"{_count(len(self.report.only), 'test')} on one backend only: ", only)

    def _said(self, what: str, said: Mapping[str, Sequence[str]]) -> None:
        """Say how many tests did something, and of the first of each kind what that was."""
        count = len({test for tests in said.values() for test in tests})
        if not count:
            return
        label = f"{_count(count, 'test')} {what}: "
        parts = []
        for saying, tests in said.items():
            some = tests if self.verbose else tests[:1]
            more = f" and {len(tests) - len(some)} more" if len(tests) > len(some) else ""
            parts.append(f"{', '.join(map(clean, some))}{more} ({clean(saying)})")
        most = len(parts) * 2 + count if self.verbose else MAX_WRAPPED
        indent = label if self.width >= 60 else "  "
        if indent == label:
            self._wrapped([(label, "yellow")], ", ".join(parts), most=most)
        else:
            self._add((label, "yellow"))
            self._wrapped([(indent, "")], ", ".join(parts), most=most)


# --------------------------------------------------------------------------------------------------- layout


def _padded(text: str, width: int) -> str:
    return text + " " * (width - cells(text))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _seconds(time: float) -> str:
    if time < 0.1:
        return f"{time * 1000:.0f} ms"
    return f"{time:.2f} s" if time < 10 else f"{time:.0f} s"


def _wrap(text: str, width: int, most: int) -> list[str]:
    """Return text in lines of at most ``width`` columns, at most ``most`` of them, the last one cut."""
    if cells(text) <= width:
        return [text]
    if not text.isascii():
        # textwrap counts characters; half the width holds wide ones, and cutting does the rest
        wide = max(1, width * len(text) // max(cells(text), len(text)))
        parts = textwrap.wrap(text, wide, break_on_hyphens=False)
    else:
        parts = textwrap.wrap(text, width, break_on_hyphens=False)
    parts = [cut(part, width, 0) for part in parts] or [""]
    if len(parts) > most:
        parts = [*parts[: most - 1], cut(f"{parts[most - 1]} ...", width, 0)]
    return parts


def _path(text: str, width: int) -> str:
    """Return a site in at most ``width`` columns: of a long path the end is what tells."""
    if cells(text) <= width:
        return text
    path, colon, rest = text.partition(":")
    while "/" in path:
        path = path.partition("/")[2]
        for shorter in (f".../{path}{colon}{rest}", f"{path}{colon}{rest}"):
            if cells(shorter) <= width and (shorter.startswith(".") or "/" not in path):
                return shorter
    return cut(path + colon + rest, width)


def _one_line(text: Text, width: int) -> str:
    """Return a statement in one line of at most ``width`` columns, cut where it tells least."""
    line = text.line
    if cells(line) <= width:
        return line
    if text.focus is not None:
        head = " ".join(line.split(" ", 3)[:3]) + " "
        if text.focus < width - 20 or len(head) > min(text.focus, width // 2):
            return cut(line, width, text.focus)
        return head + cut(line[len(head) :], width - cells(head), text.focus - len(head))
    verb = line.partition(" ")[0].upper()
    place = line.upper().find(" FROM ")
    if verb == "SELECT" and place > 0:
        rest = line[place:]
        room = width - cells(rest)
        if room >= len("SELECT ..."):
            return (cut(line[:place], room, 0) if room >= 20 else "SELECT ...") + rest
        return cut(f"SELECT ...{rest}", width)
    return cut(line, width, None if verb in ("UPDATE", "DELETE", "WITH") else 0)


def _column_widths(shown: Excerpt, room: int) -> list[int]:
    """Return the widths of the columns that fit, the widest made narrower first."""
    count = max(len(row.cells) for row in shown.rows)
    wanted = [
        max(
            *(cells(row.cells[i].text) for row in shown.rows if i < len(row.cells)),
            cells(shown.columns[i]) if i < len(shown.columns) else 0,
        )
        for i in range(count)
    ]
    fitting = count
    while fitting > 1 and sum(min(width, 16) + 2 for width in wanted[:fitting]) - 2 > room:
        fitting -= 1
    found = _narrowed(wanted[:fitting], room)
    heading = sum(width + 2 for width in found[:-1]) + cells(
        shown.columns[fitting - 1] if shown.columns else ""
    )
    note = len("  (+99 columns)")
    return found if fitting == count or heading + note <= room else _narrowed(found, room - note)


def _narrowed(widths: Iterable[int], room: int) -> list[int]:
    found = list(widths)
    excess = sum(w + 2 for w in found) - 2 - room
    while excess > 0:
        widest = max(found)
        if widest <= 1:
            break
        found[found.index(widest)] -= 1
        excess -= 1
    return found
