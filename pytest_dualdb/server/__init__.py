"""The PostgreSQL server of a run: find one, start it, stop it.

`open_server` is the way in. One server serves the whole run; its address, a `Server`, travels to the
workers of pytest-xdist as JSON. This package knows nothing of pytest, of databases or of isolation.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from types import TracebackType

from .address import Server, ServerError, is_address

__all__ = ["RunningServer", "Server", "ServerError", "open_server"]

_EXPECTED = (
    "expected auto, embedded, system, system:16, docker or postgresql://user:password@host:port/database"
)
_NEXT = (
    'what to do: pip install "pytest-dualdb[embedded]", or name a server with --db-postgres=postgresql://...'
)


class RunningServer:
    """A server that answers, for as long as the context lasts; one that was given is left running."""

    def __init__(self, server: Server, stop: Callable[[str], None] = lambda archive: None) -> None:
        self.server = server
        self._stop = stop

    def stop(self, archive: str = "") -> None:
        """Stop the server if it is ours and wait until nothing of it is left; again, do nothing.

        ``archive``: a file to keep its databases in. Raises ServerError if that can't be written.
        """
        stop, self._stop = self._stop, lambda archive: None
        stop(archive)

    def __enter__(self) -> RunningServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()


def open_server(
    wanted: str,
    *,
    listen: str = "auto",
    locale: str | None = None,
    environment: Mapping[str, str] = os.environ,
    report: Callable[[str], None] | None = None,
) -> RunningServer:
    """Find or start a PostgreSQL server and wait until it answers. Raises ServerError.

    wanted: `auto`, `embedded`, `system`, `system:16`, `docker`, or an address (URL or key=value).
    listen: `socket` (a folder of mode 0700), `tcp` (127.0.0.1 with a random password) or `auto`; for
        servers that are started here.
    locale: the collation of its databases, such as `en_US.UTF-8`, `C` or `icu:en-US`; without one, C.UTF-8
        where it exists, and what a given server has.
    report: is told in a few words what takes long.

    May run in a thread beside other work: it changes nothing of the process.
    """
    tcp = _wants_tcp(listen)
    if locale is not None and not re.fullmatch(r"(icu:)?[A-Za-z0-9_.@-]+", locale):
        raise ServerError(
            f"unknown locale {locale!r}: expected a name such as C.UTF-8, en_US.UTF-8 or icu:en-US"
        )
    report = report or (lambda text: None)
    address = environment.get("DUALDB_POSTGRES", "")
    if is_address(wanted):
        return _given(wanted, locale)
    if wanted == "auto" and is_address(address):
        return _given(address, locale)
    match = re.fullmatch(r"(auto|embedded|system|docker)(?:(?<=system):(\d+))?", wanted)
    if not match:
        shown = re.sub(r":.*@", ":***@", wanted)  # an address that misses its scheme may hold a password
        raise ServerError(f"unknown PostgreSQL server {shown!r}: {_EXPECTED}")

    from . import candidates, cluster

    kind, major = match[1], int(match[2]) if match[2] else None
    reasons: list[str] = []

    def own(binaries: candidates.Binaries) -> RunningServer | None:
        try:
            server, process = cluster.start(
                binaries, tcp=tcp, locale=locale, environment=environment, report=report
            )
        except ServerError as error:
            reasons.append(f"{binaries.source}: {error}")
            return None
        return RunningServer(server, process.stop)

    if kind in ("auto", "system"):
        found, rejected = candidates.system(environment, major)
        for binaries in found:
            if running := own(binaries):
                return running
        reasons += [f"system: {reason}" for reason in rejected]
    if kind in ("auto", "embedded"):
        try:
            if running := own(candidates.embedded()):
                return running
        except ServerError as error:
            reasons.append(f"embedded: {error}")
    if kind in ("auto", "docker"):
        try:
            return RunningServer(*candidates.docker(environment, locale, report))
        except ServerError as error:
            reasons.append(f"docker: {error}")
    raise ServerError("\n".join(["no usable PostgreSQL", *(f"  {reason}" for reason in reasons), _NEXT]))


def _given(address: str, locale: str | None) -> RunningServer:
    from . import candidates

    return RunningServer(candidates.given(address, locale))


def _wants_tcp(listen: str) -> bool:
    if listen not in ("auto", "socket", "tcp"):
        raise ServerError(f"unknown dualdb_listen {listen!r}: expected auto, socket or tcp")
    return listen == "tcp" or (listen == "auto" and os.name == "nt")
