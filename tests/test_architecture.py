"""Imports go one way, and what is pure knows no pytest, no driver and no backend by name."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "pytest_dualdb"

# Each part of the package, a module or a folder, may import what stands in a line above its own.
LAYERS = [
    line.split()
    for line in """
        encoding benchmark server
        recording values config
        syntax dialect divergence marks distribution
        recorder align rows collection
        backends state
        database glances kept compare
        rules further repeats
        report worker
        session check hookspecs
        halves
        controller
        plugin cli
        __main__
    """.split("\n")
    if line.strip()
]
RANK = {part: rank for rank, parts in enumerate(LAYERS) for part in parts}

PURE = {
    "align", "compare", "divergence", "encoding", "recording", "repeats", "report", "rows", "rules", "state", "syntax",
    "values",
}  # fmt: skip
FOREIGN = {
    "pytest",
    "_pytest",
    "pluggy",
    "xdist",
    "psycopg2",
    "psycopg",
    "asyncpg",
    "aiosqlite",
    "sqlalchemy",
}
BY_BACKEND = {
    "backends", "recorder", "dialect", "rules",
    "syntax",  # reads both dialects
    "worker",  # makes the backends
    "database",  # sqlite3 begins no transaction by itself
}  # fmt: skip

MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"]
"""All but the package's own name, which gives users what they import from it."""


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).with_suffix("").parts[0]


def at_run_time(tree: ast.AST) -> Iterator[ast.AST]:
    """Yield the nodes of a module, without what stands there for the type checker or as a specimen."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        # a function on a database is a specimen's: what it imports, an application imports
        if isinstance(node, ast.FunctionDef) and [one.arg for one in node.args.args][:1] == ["db"]:
            continue
        yield node
        yield from at_run_time(node)


def imported(path: Path) -> set[str]:
    """Return the dotted names of the modules that a module imports, anywhere in it."""
    found: set[str] = set()
    for node in at_run_time(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join(path.relative_to(PACKAGE.parent).parts[: -node.level]) if node.level else ""
            module = ".".join(filter(None, (base, node.module)))
            found.add(module)
            found.update(f"{module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_imports_go_one_way(path: Path) -> None:
    own = part_of(path)
    parts = {name.split(".")[1] for name in imported(path) if name.startswith("pytest_dualdb.")}
    below = {part for part in parts & RANK.keys() if part != own}
    assert own in RANK
    assert {part for part in below if RANK[part] >= RANK[own]} == set()


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part_of(path) in PURE], ids=lambda path: path.name
)
def test_what_is_pure_knows_no_pytest_and_no_driver(path: Path) -> None:
    assert {name.partition(".")[0] for name in imported(path)} & FOREIGN == set()


@pytest.mark.parametrize(
    "path", [path for path in MODULES if part_of(path) not in BY_BACKEND], ids=lambda path: path.name
)
def test_no_decision_by_a_backends_name(path: Path) -> None:
    tests = (
        node.test
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.If)
    )
    compared = [
        ast.unparse(node)
        for test in tests
        for node in ast.walk(test)
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], ast.Eq | ast.NotEq)
        and isinstance(right := node.comparators[0], ast.Constant) and right.value in ("sqlite", "postgres")
    ]  # fmt: skip
    assert compared == []


def test_every_part_has_its_layer() -> None:
    assert {part_of(path) for path in MODULES} == RANK.keys()
