"""The workers of pytest-xdist: what each is told before it starts, and workers pinned to one backend.

A worker must know its databases before it imports a conftest, which is before pytest-xdist hands it anything:
the controller puts what it needs into the environment that the worker starts with. An application bound to its
database at import can't change it within one process, so with pinned workers some never leave SQLite and the
others never leave PostgreSQL.

It knows pytest-xdist's scheduler protocol and no database. pytest-xdist is not imported: what is needed of it
comes through its hooks.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pytest_dualdb.config import BACKENDS

if TYPE_CHECKING:
    from pytest_dualdb.recording import Backend

_VARIABLE = "DUALDB_WORKER"
_BACKEND = "DUALDB_PINNED"


def refusal(dist: str, workers: int) -> str:
    """Return why workers can't be pinned in this run and what to do, empty if they can."""
    instead = "or set dualdb_pin_workers to false"
    if dist == "each":
        return f"--dist=each runs all tests in each worker; expected a mode that shares them out, such as --dist=load, {instead}"
    if workers < 2:
        have = "there is one" if workers == 1 else "there is none"
        return f"needs two workers or more, some for each backend, and {have}: run with -n 2, {instead}"
    return ""


def tell(specs: Sequence[Any], given: Mapping[str, Any]) -> None:
    """Have each worker that is about to start find ``given`` in its environment.

    ``specs`` are the workers' execution specifications: a worker that replaces a crashed one gets the same.
    """
    for spec in specs:
        spec.env[_VARIABLE] = json.dumps(given)


def pin(specs: Sequence[Any]) -> None:
    """Give each worker its backend, PostgreSQL one more if they are odd."""
    for number, spec in enumerate(specs):
        spec.env[_BACKEND] = BACKENDS[(number + 1) % 2]


def told() -> dict[str, Any] | None:
    """Return what the controller tells this worker and take it out of the environment; None in any other process.

    ``backend`` is that of a pinned worker, else None.
    """
    text = os.environ.pop(_VARIABLE, None)
    if text is None:
        return None
    return {**json.loads(text), "backend": os.environ.pop(_BACKEND, None)}


def _backend(spec: Any) -> Backend:
    backend: Backend = spec.env[_BACKEND]
    return backend


class PinnedScheduling:
    """A scheduler that holds one of pytest-xdist's own for each backend and passes on by node.

    To each of them its workers are all there are, and their collections equal.
    """

    def __init__(
        self, make: Callable[[], Any], specs: Sequence[Any], collected: Callable[[int], None]
    ) -> None:
        """``make`` gives a scheduler of the mode that was asked for; ``collected`` takes how many halves there are."""
        self._sides: dict[Backend, Any] = {backend: make() for backend in BACKENDS}
        for backend, side in self._sides.items():
            side.numnodes = sum(_backend(spec) == backend for spec in specs)
        self.config = self._sides["sqlite"].config  # pytest-rerunfailures looks for it here
        self._counts: dict[Backend, int] = {}
        self._collected = collected

    @property
    def nodes(self) -> list[Any]:
        return [node for side in self._sides.values() for node in side.nodes]

    @property
    def collection_is_completed(self) -> bool:
        return all(side.collection_is_completed for side in self._sides.values())

    @property
    def tests_finished(self) -> bool:
        return all(side.tests_finished for side in self._sides.values())

    @property
    def has_pending(self) -> bool:
        return any(side.has_pending for side in self._sides.values())

    def add_node(self, node: Any) -> None:
        self._sides[_backend(node.gateway.spec)].add_node(node)

    def add_node_collection(self, node: Any, collection: Sequence[str]) -> None:
        self._sides[_backend(node.gateway.spec)].add_node_collection(node, collection)
        self._counts[_backend(node.gateway.spec)] = len(collection)
        self._collected(sum(self._counts.values()))

    def schedule(self) -> None:
        for side in self._sides.values():
            side.schedule()

    def mark_test_complete(self, node: Any, item_index: int, duration: float = 0) -> None:
        self._sides[_backend(node.gateway.spec)].mark_test_complete(node, item_index, duration)

    def mark_test_pending(self, item: str) -> None:
        for side in self._sides.values():
            if item in (getattr(side, "collection", None) or ()):
                side.mark_test_pending(item)

    def remove_pending_tests_from_node(self, node: Any, indices: Sequence[int]) -> None:
        self._sides[_backend(node.gateway.spec)].remove_pending_tests_from_node(node, indices)

    def remove_node(self, node: Any) -> Any:
        return self._sides[_backend(node.gateway.spec)].remove_node(node)
