"""The controller's part of a run: pair the recordings, compare, diagnose, and build the report.

It knows recordings and reports, not pytest and no database: `dualdb compare` uses it as the plugin does.
Pairs are compared as soon as both halves are there, and what agrees is dropped at once.
"""

from __future__ import annotations

import datetime
import time
import traceback
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from pytest_dualdb.compare import Context, compare, failed
from pytest_dualdb.recording import BACKENDS, TITLES, Backend, Catalog, Recording, Statement, TableState
from pytest_dualdb.repeats import flaky, named, steady, unsteady
from pytest_dualdb.report import ASIDE, Allowance, Half, Meta, Report, TestResult, Verdict, build
from pytest_dualdb.rules import UNEXPLAINED, Rule, diagnose
from pytest_dualdb.values import SameValue


class Session:
    """Takes the recordings of a run as they come, from this process or from workers."""

    def __init__(
        self,
        backends: Sequence[Backend],
        *,
        keep_recordings: bool = False,
        ignore: Iterable[str] = (),
        rules: Sequence[Rule] = (),
        same_value: SameValue | None = None,
        advice: str = "",
        repeat: bool = False,
    ) -> None:
        """Take two recordings of each half if ``repeat``: what differs between them is no divergence.

        ``advice`` is added to the reason of tests whose statements all went to the wrong database.
        """
        self.advice = advice
        self.backends = tuple(backends)
        self.tests: dict[str, TestResult] = {}
        self.recordings: list[Recording] = []
        self.templates: dict[str, Mapping[str, TableState]] = {}
        self.catalogs: dict[str, Catalog] = {}
        self.missing: dict[str, str] = {}
        """Why a half did not come, by its node id: what is said after "the PostgreSQL half"."""
        self._keep = keep_recordings and len(self.backends) == 1
        self._ignore = frozenset(name.lower() for name in ignore)
        self._rules = tuple(rules)
        self._same_value = same_value
        self._open: dict[str, Recording] = {}
        self._repeat = repeat
        self._pairs: dict[str, tuple[Recording, Recording]] = {}
        self._again: dict[tuple[str, Backend], Recording] = {}
        self.undecided: list[str] = []
        """Tests whose comparison failed: nothing is known of them, so the run must not pass for them."""
        self._started = time.time()

    def add(self, recording: Recording) -> TestResult | None:
        """Take one half; return the test's result if that completes the pair."""
        self.learn(recording)
        backend = recording.backend
        if len(self.backends) < 2:
            if self._keep:
                self.recordings.append(replace(recording, template=None, template_catalog=None))
            return None
        if recording.repeat:
            self._again[recording.test, backend] = recording
            return self._settle(recording.test)
        other = self._open.get(recording.test)
        if other is None or other.backend == backend:
            self._open[recording.test] = recording
            return None
        return self._join(recording, other)

    def learn(self, recording: Recording) -> None:
        """Take what a half tells of the templates, and nothing else of it."""
        backend = recording.backend
        if recording.template is not None:
            # a further database's comes with the first half that uses it
            self.templates[backend] = {**recording.template, **self.templates.get(backend, {})}
        if recording.template_catalog is not None:
            known = self.catalogs.get(backend, Catalog())
            self.catalogs[backend] = Catalog({**recording.template_catalog.tables, **known.tables})

    def _join(self, recording: Recording, other: Recording) -> TestResult | None:
        del self._open[recording.test]
        pair = {recording.backend: recording, other.backend: other}
        self._pairs[recording.test] = pair["sqlite"], pair["postgres"]
        return self._settle(recording.test)

    def _settle(self, test: str, *, last: bool = False) -> TestResult | None:
        """Judge a test whose halves are all there; at the end of the run, with the repeats that came."""
        if test not in self._pairs:
            return None
        if self._repeat and not last and not all((test, backend) in self._again for backend in self.backends):
            return None
        pair = self._pairs.pop(test)
        again = [
            found for backend in BACKENDS if (found := self._again.pop((test, backend), None)) is not None
        ]
        try:
            result = self.judge(*pair, again)
        except Exception as error:  # of ours or of the user's hook: it must not take the run down, nor hide
            result = _undecided(*pair, error)
            self.undecided.append(result.id)
        self.tests[result.id] = result
        return result

    def judge(self, sqlite: Recording, postgres: Recording, again: Sequence[Recording] = ()) -> TestResult:
        """Compare the two halves of one test; ``again`` are second runs of them."""
        catalogs: dict[str, Catalog] = {
            r.backend: r.catalog or self.catalogs.get(r.backend, Catalog()) for r in (sqlite, postgres)
        }
        ignore = self._ignore | {
            name.lower() for r in (sqlite, postgres) for name in r.marks.get("ignore", ())
        }
        context = Context(self.templates, catalogs, self.catalogs, ignore, self._same_value)
        divergences = compare(sqlite, postgres, context)
        first: dict[Backend, Recording] = {"sqlite": sqlite, "postgres": postgres}
        noise = {one.backend: unsteady(first[one.backend], one, context) for one in again}
        divergences = steady(divergences, noise)
        diagnoses = diagnose(divergences, sqlite, postgres, catalogs, self.templates, self._rules)
        reason = _not_comparable(sqlite, postgres)
        if reason == _NOTHING and any(
            d.divergence.kind == "outcome" and d.rule != UNEXPLAINED for d in diagnoses
        ):
            reason = ""  # what one half failed with says it all
        if reason and self.advice and postgres.bypasses and not postgres.statements and sqlite.statements:
            reason += f"; {self.advice}"
        by_chance = flaky(sqlite, postgres, noise)
        if not reason and by_chance is not None:
            reason = f"the {TITLES[by_chance]} half passes or fails from run to run"
        allowances = _allowances(sqlite, postgres)
        allowed = {one.rule for one in allowances}
        verdict: Verdict = "disagree" if any(d.rule not in allowed for d in diagnoses) else "agree"
        if reason:
            verdict = "not-comparable"
            # what two failing or half-run tests differ in says nothing, a bypass does
            diagnoses = tuple(d for d in diagnoses if d.divergence.kind == "bypass")
        leaks = tuple(f"{TITLES[r.backend]}: {leak}" for r in (sqlite, postgres) for leak in r.leaks)
        return TestResult(
            sqlite.test, verdict, reason, _half(sqlite), _half(postgres), diagnoses, leaks, allowances,
            named(noise), tuple(sqlite.marks.get("shared", ())),
        )  # fmt: skip

    def awaited(self) -> list[str]:
        """Return the node ids of the halves whose partners came and they did not."""
        return [
            half_id(test, "postgres" if recording.backend == "sqlite" else "sqlite")
            for test, recording in self._open.items()
        ]

    def report(self, **meta: Any) -> Report:
        """Return the report of all that came in; halves without a partner are not comparable."""
        for test in list(self._pairs):
            self._settle(test, last=True)
        tests = dict(self.tests)
        only = []
        for test, recording in self._open.items():
            if test in tests:  # --dist=each runs a half in each worker
                continue
            other: Backend = "postgres" if recording.backend == "sqlite" else "sqlite"
            halves = {recording.backend: _half(recording)}
            why = self.missing.get(half_id(test, other), "did not run")
            result = TestResult(
                test, "not-comparable", f"the {TITLES[other]} half {why}",
                halves.get("sqlite"), halves.get("postgres"),
            )  # fmt: skip
            if "only" in recording.marks:
                reason = f"{TITLES[recording.backend]} only: {recording.marks['only']}"
                only.append(replace(result, reason=reason))
            else:
                tests[test] = result
        made = Meta(
            started=datetime.datetime.fromtimestamp(self._started, datetime.UTC).isoformat(
                timespec="seconds"
            ),
            seconds=time.time() - self._started,
            backends=self.backends,
            **meta,
        )
        return build(
            made, tests.values(), self.recordings, only,
            rules=self._rules, templates=self.templates, catalogs=self.catalogs,
        )  # fmt: skip


def half_id(test: str, backend: Backend) -> str:
    """Return the node id of a half: the test's with the backend as its last parameter."""
    return f"{test[:-1]}-{backend}]" if test.endswith("]") else f"{test}[{backend}]"


def _allowances(*halves: Recording) -> tuple[Allowance, ...]:
    return tuple(dict.fromkeys(Allowance(*given) for half in halves for given in half.marks.get("allow", ())))


def _undecided(sqlite: Recording, postgres: Recording, error: Exception) -> TestResult:
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}"
    reason = (
        _not_comparable(sqlite, postgres) or f"comparing failed: {type(error).__name__}: {error} ({place})"
    )
    return TestResult(sqlite.test, "not-comparable", reason, _half(sqlite), _half(postgres))


def _half(recording: Recording) -> Half:
    failure = recording.failure
    message = "" if failure is None else failure.message.strip()
    line = message.splitlines()[0] if message else ""
    text = None if failure is None else (f"{failure.name}: {line}" if line else failure.name)
    return Half(
        recording.nodeid, recording.outcome, recording.seconds, recording.sql_seconds,
        len(recording.statements), text,
    )  # fmt: skip


_NOTHING = (
    "no statement reached either database: none was sent, or through a mock or a driver that is not recorded"
)


def _not_comparable(sqlite: Recording, postgres: Recording) -> str:
    """Return why the two halves say nothing about each other, empty if they do."""
    if sqlite.marks.get("shared") != postgres.marks.get("shared"):
        return (
            "other tests had run before on the database that it shares; with -n, --dist=loadfile keeps the tests of a"
            " file together"
        )
    for recording in (sqlite, postgres):
        if recording.outcome in ("skipped", "xfailed"):
            return f"the {TITLES[recording.backend]} half was {recording.outcome}" + (
                f": {recording.reason}" if recording.reason else ""
            )
    if failed(sqlite) and failed(postgres):
        return "fails on both"
    for recording in (sqlite, postgres):
        # what changed without a recorded statement, another process wrote: that can be compared
        if not recording.statements and not recording.state and not failed(recording):
            return _nothing_sent(sqlite, postgres, recording)
    return ""


def _nothing_sent(sqlite: Recording, postgres: Recording, silent: Recording) -> str:
    if not sqlite.statements and not postgres.statements:
        if not sqlite.bypasses and not postgres.bypasses:
            return "" if sqlite.observed or postgres.observed else _NOTHING
        # without a count: what many tests have in common is said once
        return f"{ASIDE}{_went_to(postgres if postgres.bypasses else sqlite)}"
    text = f"0 statements reached {TITLES[silent.backend]}"
    if silent.bypasses:
        text += f", {len(_astray(silent))}{_went_to(silent)}"
    return text


def _astray(half: Recording) -> Sequence[Statement]:
    """Return the statements that went to another database, without the commits after them."""
    return [s for s in half.bypasses if s.kind not in ("commit", "rollback")] or half.bypasses


def _went_to(half: Recording) -> str:
    first = _astray(half)[0]
    where = f" at {first.site}" if first.site is not None else ""
    return f" went to {first.elsewhere(half.backend)}{where}"
