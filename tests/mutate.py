"""Break every condition of the rules once, and list what no specimen notices.

    python tests/mutate.py                      every family
    python tests/mutate.py text keys            these families
    python tests/mutate.py --rule like-case     one rule, and what only it calls

The specimens, near misses and coincidences, and the portable project, run once on each of the live databases. Their
recordings are diagnosed again for each mutant, in this process, which takes milliseconds. A mutant that
survives is a condition that nothing tests: it lacks a near miss, or it is not needed. What is broken, one at a
time: whether a rule matches, each branch, each operand of ``and`` and ``or``, each filter of a comprehension,
and with ``--words`` each of the constants that ``in`` looks among. Exit status 1 if a mutant survives.

This is no part of the test suite: pytest does not collect it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import functools
import importlib
import itertools
import shutil
import signal
import sys
import tempfile
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from projects import Projects

from pytest_dualdb import rules as catalogue
from pytest_dualdb.cli import _load
from pytest_dualdb.compare import Context, Divergence, compare
from pytest_dualdb.recording import BACKENDS, Catalog, Recording
from pytest_dualdb.rules import Evidence, Rule, all_rules
from pytest_dualdb.server import open_server
from pytest_dualdb.session import Session

HERE = Path(__file__).parent
RULES = Path(catalogue.__file__).parent
PROJECTS = ("specimens", "portable")
SECONDS = 30
"""Longer than any mutant takes that does not loop."""

Answers = dict[tuple[int, str], bool]

# ---------------------------------------------------------------------------------------------- recordings


@dataclass
class Case:
    """The two halves of one test, what differs, what each rule says of it, and what must come out."""

    name: str
    session: Session
    halves: Mapping[str, Recording]
    catalogs: Mapping[str, Catalog]
    divergences: tuple[Divergence, ...]
    expected: frozenset[str]
    """The rules to be found."""
    quiet: bool
    """Whether others may be found as long as they are `low`."""
    silent: str = ""
    """The rule that must not be found."""
    answers: Answers = field(default_factory=dict)

    def ask(self, rules: Sequence[Rule]) -> Answers:
        """Return what the rules say of each divergence that they are asked about. Raises what they raise."""
        answers = {}
        for index, divergence in enumerate(self.divergences):
            evidence = Evidence(divergence, self.halves, self.catalogs, self.session.templates)
            for rule in rules:
                if rule.concerns(divergence):
                    try:
                        answers[index, rule.name] = bool(rule.matches(evidence))
                    except Exception as error:
                        where = f"{self.name}, {divergence.kind}: {rule.name} raises {type(error).__name__}"
                        raise Raises(f"{where}: {error}") from error
        return answers

    def complaint(self, answers: Answers) -> str:
        """Return what is wrong with the diagnoses that follow from these answers, empty if nothing is."""
        asked = itertools.count()

        def first_match(_: Evidence, rules: Sequence[Rule]) -> Rule | None:
            index = next(asked)
            return next((rule for rule in rules if answers.get((index, rule.name))), None)

        real = catalogue.first_match
        catalogue.first_match = first_match  # type: ignore[assignment]
        try:
            found = self.session.judge(self.halves["sqlite"], self.halves["postgres"]).diagnoses
        finally:
            catalogue.first_match = real
        names = {one.rule for one in found}
        loud = {one.rule for one in found if not self.quiet or one.severity != "low"}
        right = loud <= self.expected <= names and self.silent not in names
        return "" if right else f"{self.name}: found {sorted(names)}"


class Raises(Exception):
    """A rule that fails instead of answering: the catalogue passes over it, so no specimen would show it."""


def record(folder: Path) -> None:
    """Run the projects once on each backend and keep the reports, if anything is newer than those kept."""
    sources = [*HERE.glob("projects/*/*.*"), *RULES.parent.rglob("*.py")]
    marker = folder / "complete"
    if marker.exists() and marker.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return
    print(f"recording {' and '.join(PROJECTS)} into {folder} ...", flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, open_server("auto") as running:
        projects = Projects(Path(scratch), running.server.url(running.server.maintenance))
        for project, backend in itertools.product(PROJECTS, BACKENDS):
            run = projects.run(project, f"--db={backend}", "--ignore=test_instead.py")
            if not run.report:
                sys.exit(run.text)
            shutil.copy(run.folder / "report.json", folder / f"{project}-{backend}.json")
    marker.touch()


def cases(folder: Path) -> Iterator[Case]:
    """Yield every test of the projects in which anything differs or must differ."""
    wanted: dict[str, tuple[frozenset[str], bool, str]] = {}
    for rule in all_rules():
        for number, specimen in enumerate(rule.specimens):
            wanted[f"{rule.name}-specimen-{number}"] = frozenset({rule.name, *specimen.also}), False, ""
        for number, specimen in enumerate(rule.near_misses):
            wanted[f"{rule.name}-near-miss-{number}"] = frozenset(specimen.also), True, rule.name
    for project in PROJECTS:
        session = Session(BACKENDS)
        halves: dict[str, dict[str, Recording]] = {}
        for backend in BACKENDS:
            _, data = _load(folder / f"{project}-{backend}.json")
            session.templates.update(data["templates"])
            session.catalogs.update(data["catalogs"])
            halves[backend] = {recording.test: recording for recording in data["recordings"]}
        for test in halves["sqlite"].keys() & halves["postgres"].keys():
            pair: dict[str, Recording] = {backend: halves[backend][test] for backend in BACKENDS}
            catalogs: dict[str, Catalog] = {
                b: pair[b].catalog or session.catalogs.get(b, Catalog()) for b in BACKENDS
            }
            context = Context(session.templates, catalogs, session.catalogs)
            divergences = compare(pair["sqlite"], pair["postgres"], context)
            coincidence = frozenset({"unexplained"} if "test_coincidences.py" in test else ())
            own = wanted.get(test.partition("[")[2].rstrip("]"), (coincidence, True, ""))
            if divergences or own[0]:
                yield Case(test, session, pair, catalogs, divergences, *own)


# ------------------------------------------------------------------------------------------------- mutants


@dataclass(frozen=True)
class Mutant:
    function: str
    line: int
    what: str
    code: types.CodeType


def functions(tree: ast.Module) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Yield the module's functions and methods by qualified name."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            yield node.name, node
        elif isinstance(node, ast.ClassDef):
            for inner in node.body:
                if isinstance(inner, ast.FunctionDef):
                    yield f"{node.name}.{inner.name}", inner


def changes(function: ast.FunctionDef, words: bool) -> Iterator[tuple[ast.AST, str, Any, int | None, str]]:
    """Yield (node, field, value, index, description) for each way to break a function."""
    for node in ast.walk(function):
        if isinstance(node, ast.If | ast.IfExp | ast.While):
            for value in (False,) if isinstance(node, ast.While) or narrows(node.test) else (True, False):
                yield node, "test", ast.Constant(value), None, f"{ast.unparse(node.test)} -> {value}"
        elif isinstance(node, ast.BoolOp):
            neutral = isinstance(node.op, ast.And)
            for index, operand in enumerate(node.values):
                if not narrows(operand):
                    yield node, "values", ast.Constant(neutral), index, f"{ast.unparse(operand)} -> {neutral}"
        elif isinstance(node, ast.comprehension):
            for index, test in enumerate(node.ifs):
                if not narrows(test):
                    yield node, "ifs", ast.Constant(True), index, f"if {ast.unparse(test)} -> True"
        elif isinstance(node, ast.Return) and isinstance(function.returns, ast.Name):
            if function.returns.id == "bool" and not isinstance(node.value, ast.Constant):
                for value in (True, False):
                    what = f"return {ast.unparse(node.value or node)} -> {value}"
                    yield node, "value", ast.Constant(value), None, what
        elif (
            words and isinstance(node, ast.Compare) and isinstance(node.comparators[-1], ast.Tuple | ast.Set)
        ):
            listed = node.comparators[-1]
            for index, one in enumerate(listed.elts):
                if isinstance(one, ast.Constant) and len(listed.elts) > 1:
                    yield listed, "elts", ast.Constant("\0"), index, f"without {ast.unparse(one)}"


def narrows(test: ast.expr) -> bool:
    """Return whether a condition only asks if a name is None, which the type checker wants to know."""
    if not isinstance(test, ast.Compare) or not isinstance(test.ops[0], ast.Is | ast.IsNot):
        return False
    none = isinstance(test.comparators[0], ast.Constant) and test.comparators[0].value is None
    return none and isinstance(test.left, ast.Name | ast.Attribute)


def mutants(path: Path, words: bool) -> Iterator[Mutant]:
    """Yield each function of a module broken in each way."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for name, function in functions(tree):
        if name.endswith((".advice", ".__init__")) or "cached_property" in ast.dump(function):
            continue
        body = function.body
        if name.endswith(".matches") and ast.unparse(body[-1]) != "return True":
            for value in (True, False):
                function.body = [ast.Return(ast.Constant(value))]
                yield Mutant(name, function.lineno, f"always {value}", compiled(tree, path, name))
            function.body = body
        for node, attribute, value, index, what in list(changes(function, words)):
            before = getattr(node, attribute)
            if index is None:
                setattr(node, attribute, value)
            else:
                setattr(node, attribute, [*before[:index], value, *before[index + 1 :]])
            # a comprehension has no line of its own
            line: int = getattr(node if hasattr(node, "lineno") else before[index or 0], "lineno", 0)
            yield Mutant(name, line, what, compiled(tree, path, name))
            setattr(node, attribute, before)


def compiled(tree: ast.Module, path: Path, name: str) -> types.CodeType:
    """Return the code of one function of a module."""
    whole = compile(ast.fix_missing_locations(copy.deepcopy(tree)), str(path), "exec", dont_inherit=True)
    return next(code for code in codes(whole) if code.co_qualname == name)


def codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from codes(constant)


def function_of(module: types.ModuleType, name: str) -> Any:
    """Return the function behind a qualified name, without what decorates it."""
    found: Any = module
    for part in name.split("."):
        found = vars(found)[part]
    while hasattr(found, "__wrapped__") or hasattr(found, "fget") or isinstance(found, classmethod):
        found = getattr(found, "__wrapped__", None) or getattr(found, "fget", None) or found.__func__
    return found


def reached(rule: Rule) -> set[types.CodeType]:
    """Return the code of all functions of the catalogue that a rule can call."""
    waiting: list[Any] = (
        [function_of(sys.modules[type(rule).__module__], f"{type(rule).__name__}.matches")]
        if "matches" in vars(type(rule))
        else [type(rule).matches]
    )
    waiting.append(type(rule).advice)
    found: dict[types.CodeType, Any] = {}
    while waiting:
        function = waiting.pop()
        while hasattr(function, "__wrapped__"):
            function = function.__wrapped__
        if not isinstance(function, types.FunctionType) or function.__code__ in found:
            continue
        if not function.__module__.startswith(catalogue.__name__):
            continue
        found[function.__code__] = function
        for name in {name for code in codes(function.__code__) for name in code.co_names}:
            for place in (function.__globals__, {**vars(Evidence), **vars(type(rule))}):
                one = place.get(name)
                waiting.append(one.fget if isinstance(one, property) else one)
                if isinstance(one, type):
                    waiting += [getattr(v, "fget", v) for v in vars(one).values()]
    return set(found)


@contextlib.contextmanager
def broken(function: types.FunctionType, code: types.CodeType) -> Iterator[None]:
    """Run the block with another body in a function; no cache remembers it."""
    real = function.__code__
    function.__code__ = code
    forget()
    try:
        yield
    finally:
        function.__code__ = real
        forget()


def forget() -> None:
    """Empty the caches of the catalogue's functions."""
    for module in list(sys.modules.values()):
        if module.__name__.startswith(catalogue.__name__):
            for one in vars(module).values():
                if isinstance(one, functools._lru_cache_wrapper):
                    one.cache_clear()


class Looping(Exception):
    """A mutant that does not end."""


def noticed(tests: Sequence[Case], rules: Sequence[Rule]) -> str:
    """Return which test notices that these rules answer otherwise than they should; empty if none does."""
    for case in tests:
        try:
            answers = case.ask(rules)
        except (Raises, Looping) as error:
            return str(error) or "does not end"
        if any(case.answers[key] != answer for key, answer in answers.items()):
            wrong = case.complaint({**case.answers, **answers})
            if wrong:
                return wrong
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("family", nargs="*", help="module of pytest_dualdb/rules")
    parser.add_argument("--rule", help="only what this rule calls and no other does")
    parser.add_argument(
        "--words", action="store_true", help="leave out each constant that `in` looks among, too"
    )
    parser.add_argument(
        "--recordings", type=Path, default=HERE.parent / ".mutate", help="folder that keeps them"
    )
    arguments = parser.parse_args()

    rules = all_rules()
    record(arguments.recordings)
    tests = list(cases(arguments.recordings))
    failing = []
    for case in tests:
        for rule in rules:
            try:
                case.answers.update(case.ask([rule]))
            except Raises as error:
                failing.append(str(error))
    failing += [wrong for case in tests if (wrong := case.complaint(case.answers))]
    if failing:
        sys.exit("\n".join(["these fail without a mutant:", *failing]))
    callers = {rule.name: reached(rule) for rule in rules}
    if hasattr(signal, "SIGALRM"):
        signal.signal(signal.SIGALRM, lambda *_: (_ for _ in ()).throw(Looping()))

    made, survived = 0, 0
    names = arguments.family or sorted(
        path.stem for path in RULES.glob("*.py") if path.stem not in ("__init__", "base")
    )
    for name in names:
        module = importlib.import_module(f"{catalogue.__name__}.{name}")
        for mutant in mutants(RULES / f"{name}.py", arguments.words):
            function = function_of(module, mutant.function)
            asked = [rule for rule in rules if function.__code__ in callers[rule.name]]
            if arguments.rule and [rule.name for rule in asked] != [arguments.rule]:
                continue
            if not asked:  # what a specimen does
                continue
            own = {rule.name for rule in asked}
            ordered = sorted(tests, key=lambda case: not own & {case.silent, *case.expected})
            made += 1
            with broken(function, mutant.code):
                if hasattr(signal, "SIGALRM"):
                    signal.alarm(SECONDS)
                wrong = noticed(ordered, asked)
                if hasattr(signal, "SIGALRM"):
                    signal.alarm(0)
            if not wrong:
                survived += 1
                print(f"{name}.py:{mutant.line}: {mutant.function}: {mutant.what}", flush=True)
    print(f"{made} mutants, {survived} survived")
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())
