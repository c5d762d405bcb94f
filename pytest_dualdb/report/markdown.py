"""The results document: every issue with what differs, where, why and what to write instead.

It is meant to be read on GitHub or in an editor, so it is plain GitHub-flavoured Markdown: nothing that a
database or a test holds can end a table, a code span or a fence.
"""

from __future__ import annotations

import html
import inspect
import re
from collections.abc import Iterable, Iterator, Sequence

from pytest_dualdb.compare import SEVERITIES
from pytest_dualdb.report import Half, Issue, Report, TestResult
from pytest_dualdb.report.excerpt import Excerpt, brief, clean, cut, excerpt
from pytest_dualdb.rules import rule_named

MAX_ROWS = 10
"""Rows of each side shown in a table."""
MAX_LINE = 160
"""Characters of a row shown in a table, shared by its columns."""
MAX_FAILURE = 120
"""Characters of a failure shown in the appendix."""
MAX_LISTED = 200
"""Tests listed under an issue or a reason; the rest is counted."""
_SIDES = {"sqlite": "SQLite", "postgres": "PostgreSQL", "both": "both"}


def render(report: Report) -> str:
    """Return the report as a Markdown document."""
    return "\n".join(_Document(report).lines()).rstrip("\n") + "\n"


class _Document:
    """One document in the making."""

    def __init__(self, report: Report) -> None:
        self.report = report
        self.explained: set[str] = set()

    def lines(self) -> Iterator[str]:
        yield "# Database parity"
        yield ""
        yield from self._meta()
        yield from self._totals()
        for severity in SEVERITIES:
            issues = [issue for issue in self.report.issues if issue.severity == severity]
            if issues:
                yield f"## {severity.capitalize()}"
                yield ""
                for issue in issues:
                    yield from self._issue(issue)
        yield from self._grouped("Not comparable", "Why", self.report.not_comparable)
        stale: dict[str, tuple[str, ...]] = {}
        for one in self.report.stale:
            said = f"{one.rule}: {one.reason}"
            stale[said] = (*stale.get(said, ()), one.where)
        yield from self._grouped("Allowances that no longer apply", "What", stale)
        yield from self._grouped("Left open", "What", self.report.leaks)
        yield from self._grouped("Changed from run to run", "What", self.report.unsteady)
        yield from self._verdicts()

    # ------------------------------------------------------------------------------------------- the frame

    def _meta(self) -> Iterator[str]:
        meta = self.report.meta
        server = ", ".join(part for part in (meta.source, meta.collation) if part)
        sides = {
            "sqlite": f"SQLite {meta.sqlite}".strip(),
            "postgres": f"PostgreSQL {meta.postgres}".strip() + (f" ({server})" if server else ""),
        }
        yield "**" + " and ".join(_escaped(clean(sides[backend])) for backend in meta.backends) + "**"
        yield ""
        facts = [f"pytest-dualdb {meta.version}", f"started {meta.started}", f"{meta.seconds:.1f} s"]
        if meta.isolation:
            facts.append(f"isolation: {meta.isolation}")
        yield _escaped(clean(", ".join(facts)))
        yield ""

    def _totals(self) -> Iterator[str]:
        report = self.report
        if not report.tests:
            yield "No test ran on both databases: there is nothing to compare."
            yield ""
            return
        counts = [
            len(report.tests),
            report.count("agree"),
            report.count("disagree"),
            report.count("not-comparable"),
        ]
        yield from _table(("pairs", "agree", "disagree", "not comparable"), [list(map(str, counts))])
        if report.one_sided:
            yield f"**Nothing was compared:** {_escaped(clean(report.one_sided))}"
            yield ""
        severities = report.severities()
        if report.issues:
            yield from _table(
                ("issues", *severities), [list(map(str, (len(report.issues), *severities.values())))]
            )
        times = ", ".join(
            f"{_SIDES[b]} {report.sql_seconds(b):.2f} s for {report.statements(b)} statements"
            for b in report.meta.backends
        )
        ratio = "" if report.ratio is None else f" ({report.ratio:.1f}x)"
        yield f"SQL time: {times}{ratio}"
        yield ""
        if not report.issues and report.count("agree") == len(report.tests):
            yield "Every pair agrees."
            yield ""

    def _grouped(self, title: str, heading: str, groups: dict[str, tuple[str, ...]]) -> Iterator[str]:
        if not groups:
            return
        yield f"## {title}"
        yield ""
        yield from _table(
            (heading, "tests"),
            [[_escaped(clean(text) or "-"), _many(tests)] for text, tests in groups.items()],
        )

    def _verdicts(self) -> Iterator[str]:
        """Yield the appendix: the tests whose halves disagree, each with its halves and its issues' rules."""
        tests = [test for test in self.report.tests if test.verdict == "disagree"]
        if not tests:
            return
        yield "## Tests that disagree"
        yield ""
        yield "<details>"
        yield f"<summary>{_count(len(tests), 'test')}</summary>"
        yield ""
        rows = [
            [_code(test.id, table=True), _half(test.sqlite), _half(test.postgres), _rules(test)]
            for test in tests
        ]
        yield from _table(("test", "SQLite", "PostgreSQL", "rules"), rows)
        yield "</details>"
        yield ""

    # ------------------------------------------------------------------------------------------- one issue

    def _issue(self, issue: Issue) -> Iterator[str]:
        shown = excerpt(issue, rows=MAX_ROWS)
        yield f"### {_code(issue.rule)}: {_escaped(clean(issue.title))}"
        yield ""
        hides = f", hides {_count(issue.hides, 'statement')}" if issue.hides else ""
        yield f"{issue.severity.capitalize()}, {_count(len(issue.tests), 'test')}{hides}"
        yield ""
        if issue.sites:
            sites = [f"{_code(str(site))} in {_code(site.function)}" for site in issue.sites]
            if len(sites) == 1:
                yield f"**Where:** {sites[0]}"
            else:
                yield "**Where:**"
                yield ""
                yield from (f"- {site}" for site in sites)
            yield ""
        yield from self._differs(shown)
        yield from self._why(issue)
        follows = [(d, tests) for d, tests in issue.follows if d.kind != "outcome"]
        if follows:
            yield "**Follows from it:**"
            yield ""
            for divergence, tests in follows[:MAX_ROWS]:
                site = "" if divergence.site is None else f"{_code(str(divergence.site))}: "
                yield f"- {site}{_escaped(brief(divergence))} ({_count(tests, 'test')})"
            if len(follows) > MAX_ROWS:
                yield f"- and {len(follows) - MAX_ROWS} more"
            yield ""
        yield "<details>"
        yield f"<summary>{_count(len(issue.tests), 'test')}</summary>"
        yield ""
        yield from (f"- {_code(test)}" for test in issue.tests[:MAX_LISTED])
        if len(issue.tests) > MAX_LISTED:
            yield f"- and {len(issue.tests) - MAX_LISTED} more"
        yield ""
        yield "</details>"
        yield ""

    def _differs(self, shown: Excerpt) -> Iterator[str]:
        """Yield what differs: the statements, their errors, and the rows as a table."""
        for text in shown.statements:
            if text.backend is not None:
                yield f"{_SIDES[text.backend]}:"
                yield ""
            yield from _fence(text.sql, "sql")
        for side, params in shown.params:
            where = "" if side is None else f" on {_SIDES[side]}"
            yield f"Parameters{where}: {_code(cut(params, 400))}"
            yield ""
        for side, error in shown.errors:
            yield f"**{_SIDES[side]}:** {_code(error)}"
            yield ""
        if shown.rows:
            yield from self._rows(shown)
        if shown.note:
            yield _escaped(_sentence(shown.note))
            yield ""
        if shown.failure is not None:
            yield f"The test then fails on {_SIDES[shown.failure[0]]}: {_code(shown.failure[1])}"
            yield ""

    def _rows(self, shown: Excerpt) -> Iterator[str]:
        if shown.subject:
            yield _escaped(f"F{shown.subject[1:]}:") if shown.sequence else f"{_code(shown.subject)}:"
            yield ""
        width = max(len(row.cells) for row in shown.rows)
        names = shown.columns or ("rows" if shown.sequence else "value",) * width
        room = MAX_LINE // len(names)
        one_sided = len({row.side for row in shown.rows} - {"both"}) == 1
        rows = []
        for row in shown.rows:
            side = _SIDES[row.side] + (" only" if one_sided and row.side != "both" else "")
            texts = [_code(cut(cell.text, room, cell.parts), table=True) for cell in row.cells]
            rows.append([side, *texts, *[""] * (len(names) - len(texts))])
            if row.more:
                rows.append(["", f"and {row.more} more", *[""] * (len(names) - 1)])
        yield from _table(("", *map(_escaped, names)), rows)

    def _why(self, issue: Issue) -> Iterator[str]:
        """Yield why such things differ and what to write instead, for each rule once."""
        rule = rule_named(issue.rule, self.report.rules)
        if rule is None:
            return
        if issue.rule in self.explained:
            yield f"Why, and what to write instead: see {_code(issue.rule)} above."
            yield ""
            return
        self.explained.add(issue.rule)
        sections = type(rule).sections()
        if sections.get("Why"):
            yield from _prose("**Why:** ", sections["Why"])
        if sections.get("Instead") or issue.instead:
            yield from _prose("**Instead:** ", sections.get("Instead") or clean(issue.instead))
        links = re.findall(r"https?://\S+", sections.get("References", ""))
        if links:
            yield "References: " + ", ".join(f"<{link}>" for link in links)
            yield ""


# ---------------------------------------------------------------------------------------------------- parts


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _many(tests: Sequence[str]) -> str:
    listed = "<br>".join(_code(test, table=True) for test in tests[:MAX_LISTED])
    return listed + (f"<br>and {len(tests) - MAX_LISTED} more" if len(tests) > MAX_LISTED else "")


def _half(half: Half | None) -> str:
    if half is None:
        return "did not run"
    text = f"{half.outcome}, {_count(half.statements, 'statement')}"
    if half.failure and half.outcome in ("failed", "error"):
        text += f"<br>{_code(cut(clean(half.failure), MAX_FAILURE, 0), table=True)}"
    return text


def _rules(test: TestResult) -> str:
    found = dict.fromkeys(
        (d.rule, d.severity) for d in test.diagnoses if d.primary and test.allowance(d) is None
    )
    return ", ".join(f"{_code(rule, table=True)} ({severity})" for rule, severity in found)


def _table(heading: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(heading)} |"
    yield "|" + " --- |" * len(heading)
    yield from (f"| {' | '.join(row)} |" for row in rows)
    yield ""


_SPECIAL = re.compile(r"[\\`*\[\]<>|#~&]|(?<!\w)_|_(?!\w)|^[-+](?=\s)|(?<=^\d)[.)](?=\s)")


def _escaped(text: str) -> str:
    """Return one line of text so that Markdown shows it as it is."""
    return _SPECIAL.sub(lambda m: html.escape(m[0]) if m[0] in "<>&" else f"\\{m[0]}", text)


def _code(text: str, table: bool = False) -> str:
    """Return one line of text as a code span; in a table a pipe has to be escaped even there."""
    text = clean(text) or " "
    if table:
        text = text.replace("|", r"\|")
    ticks = "`" * (max(map(len, re.findall("`+", text)), default=0) + 1)
    # one space at each end is taken off, and lets the text begin or end with a backtick
    pad = " " if text[0] in "` " or text[-1] in "` " else ""
    return f"{ticks}{pad}{text}{pad}{ticks}"


def _fence(text: str, language: str) -> Iterator[str]:
    ticks = "`" * max(3, max(map(len, re.findall("`+", text)), default=0) + 1)
    yield f"{ticks}{language}"
    yield from text.split("\n")
    yield ticks
    yield ""


def _prose(label: str, text: str) -> Iterator[str]:
    """Yield a section of a docstring: paragraphs in one line each, indented blocks as SQL."""
    for index, block in enumerate(re.split(r"\n(?:[ \t]*\n)+", text)):
        lines = block.splitlines()
        if all(line.startswith("    ") for line in lines):
            yield from _fence(inspect.cleandoc("\n".join(lines)), "sql")
            continue
        joined = re.sub(r"::$", ":", " ".join(line.strip() for line in lines))
        parts = re.split(r"(``.+?``|`[^`]+`)", joined)
        yield (label if index == 0 else "") + "".join(
            _code(part.strip("`")) if place % 2 else _escaped(part) for place, part in enumerate(parts)
        )
        yield ""
