"""What a half had stored before it was cleaned up: fixtures that empty or drop tables leave nothing to compare.

Suites of one database often make their tables in a fixture and drop or empty them after each test. The contents
are looked at just before; what is committed by then counts as what the test left behind.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from pytest_dualdb import syntax
from pytest_dualdb.backends import Backend, HalfEnd
from pytest_dualdb.recorder import Entry, Recorder
from pytest_dualdb.recording import Catalog, Statement, TableState

_DROPPED = re.compile(r"""\s*DROP\s+TABLE\s+(?:IF\s+EXISTS\s+)?([^;]+)""", re.I)


class Glances:
    """What was seen of the tables while a half went on."""

    def __init__(self, recorder: Recorder, backend: Backend) -> None:
        self._recorder = recorder
        self._backend = backend
        self._seen = 0
        self._states: dict[str, TableState] = {}
        self._catalog = Catalog()
        self._at_end: frozenset[str] = frozenset()
        self._undone_on: dict[str, int] = {}
        recorder.before_clearing = self._look
        recorder.before_rollback = self._look_through
        self.undone: dict[str, TableState] = {}
        """What a connection had written when it was rolled back, or closed, after the test."""

    def _look(self) -> None:
        entries = self._recorder.entries
        news = entries[self._seen :]
        self._seen = len(entries)
        if self._at_end or not any(map(_stores, news)):
            return
        self._recorder.paused += 1
        try:
            states, catalog = self._backend.look()
        except Exception:
            return
        finally:
            self._recorder.paused -= 1
        self._states.update(states)
        self._catalog = Catalog({**self._catalog.tables, **catalog.tables})
        if self._recorder.ending:
            self._at_end = frozenset(states)

    def _look_through(self, connection: Any, number: int) -> None:
        wrote: set[str] = set()
        for entry in reversed(self._recorder.entries):
            if entry.connection != number or entry.database:
                continue
            if entry.kind in ("commit", "rollback"):
                break
            if _stores(entry) and entry.error is None:
                wrote |= syntax.written_tables(entry.sql)
        if not wrote:
            return
        tables = self._backend.template_catalog().tables
        # a foreign key's action carries a change further
        wrote |= {
            name
            for name, table in tables.items()
            if any(key.table.lower() in wrote for key in table.foreign_keys)
        }
        self._recorder.paused += 1
        try:
            found = self._backend.look_through(connection, wrote)
        except Exception:  # the transaction ends now whatever it is in
            return
        finally:
            self._recorder.paused -= 1
        for name, contents in found.items():
            if self._undone_on.setdefault(name, number) == number:
                self.undone[name] = contents
            else:  # each transaction has its own, and the other half may have done it all in one
                self.undone.pop(name, None)
                self._undone_on[name] = -1

    def look_at_the_rest(self) -> None:
        """Look through the connections that are still open: what they have not committed is about to go."""
        for connection, number in self._recorder.connections():
            self._look_through(connection, number)

    def completed(self, end: HalfEnd, statements: Sequence[Statement]) -> tuple[HalfEnd, frozenset[str]]:
        """Return the end of the half with what was there before the clean-up, and the tables of which that is so."""
        if not self._states:
            return end, frozenset()
        present = end.catalog or self._backend.template_catalog()
        dropped = {name for name in _dropped(statements) & self._states.keys() if present.table(name) is None}
        at_end = {**self._backend.template_state(), **end.state}
        emptied = {
            name
            for name in self._at_end - dropped
            if present.table(name) is not None
            and at_end.get(name, replace(self._states[name], rows=(), count=0)) != self._states[name]
        }
        found = dropped | emptied
        if not found:
            return end, frozenset()
        state = {**end.state, **{name: self._states[name] for name in found}}
        lost = {name: self._catalog.tables[name] for name in dropped if name in self._catalog.tables}
        catalog = Catalog({**present.tables, **lost}) if lost else end.catalog
        return replace(end, state=state, catalog=catalog), frozenset(found)


def _stores(entry: Entry) -> bool:
    """Return whether a call may have stored something."""
    if entry.kind == "execute":
        return syntax.verb(entry.sql) in syntax.WRITES
    return entry.kind not in ("commit", "rollback")


def _dropped(statements: Sequence[Statement]) -> set[str]:
    """Return the names, in lower case and without schema, of the tables that statements dropped."""
    found = set()
    for statement in statements:
        named = _DROPPED.match(statement.sql) if statement.error is None else None
        for name in named[1].split(",") if named is not None else ():
            word = re.match(
                r'\s*(?:[\w"`\[\]]+\.)?["`\[]?([\w$ ]+?)["`\]]?\s*(?:\b(?:CASCADE|RESTRICT)\b.*)?$',
                name,
                re.I | re.S,
            )
            if word is not None:
                found.add(word[1].lower())
    return found
