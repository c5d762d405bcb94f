"""The rule catalogue as documentation: one page for each family, from the docstrings of the rules."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable

from pytest_dualdb.rules import Rule


def families(rules: Iterable[Rule]) -> dict[str, list[Rule]]:
    """Return the rules by the name of their module, each family and all families in order of name."""
    found: dict[str, list[Rule]] = {}
    for rule in sorted(rules, key=lambda rule: rule.name):
        found.setdefault(type(rule).__module__.rpartition(".")[2], []).append(rule)
    return dict(sorted(found.items()))


def pages(rules: Iterable[Rule]) -> dict[str, str]:
    """Return Markdown pages by file name: ``README.md`` with the list, and one for each family."""
    grouped = families(rules)
    count = sum(map(len, grouped.values()))
    index = [
        "# Rules",
        "",
        f"Why SQLite and PostgreSQL differ: {count} rules. `dualdb explain RULE` shows the same in a terminal.",
    ]
    made = {}
    for family, members in grouped.items():
        module = inspect.getdoc(sys.modules[type(members[0]).__module__]) or ""
        summary = " ".join(module.partition("\n\n")[0].split())
        title = family.replace("_", " ").capitalize()
        index += ["", f"## [{title}]({family}.md)", "", summary, "", "| rule | |", "| --- | --- |"]
        page = [f"# {title}", "", summary]
        for rule in members:
            index.append(f"| [`{rule.name}`]({family}.md#{rule.name}) | {_cell(rule.title)} |")
            page += ["", f"## {rule.name}", "", f"**{_sentence(rule.title)}**"]
            for heading, text in type(rule).sections().items():
                if text:
                    page += ["", f"### {heading}" if heading else "", "", _section(heading, text)]
        made[f"{family}.md"] = "\n".join(_without_gaps(page)) + "\n"
    made["README.md"] = "\n".join(index) + "\n"
    return made


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + "."


def _section(heading: str, text: str) -> str:
    text = text.replace("``", "`")
    if heading != "References":
        return text
    return "\n".join(f"- <{line.strip()}>" for line in text.splitlines() if line.strip())


def _without_gaps(lines: Iterable[str]) -> Iterable[str]:
    """Yield lines with at most one empty one in a row."""
    empty = False
    for line in lines:
        if line or not empty:
            yield line
        empty = not line
