"""What a server is to the rest of the project: an address, and what is in force there.

The same object stands for a server that we started and for one that was given. It must not know how the
server came to be, and it imports no driver.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import quote


class ServerError(Exception):
    """No usable PostgreSQL: names each candidate tried with its reason, and what to do next."""


@dataclass(frozen=True, slots=True)
class Server:
    """A PostgreSQL server that answers."""

    host: str
    """Folder of the Unix socket, or a host name or address."""
    port: int
    user: str
    password: str = field(repr=False)
    """Empty when none is needed."""
    maintenance: str
    """The database to connect to for CREATE DATABASE; nothing is ever written to it."""
    version: str
    """As PostgreSQL says it, such as `18.6`."""
    version_number: int
    """As `server_version_num` says it, such as 180006."""
    source: str
    """Where it came from, for the header, such as `system, /usr/lib/postgresql/15/bin`."""
    collation: str
    """The collation of a database created with `database_options`: `C.UTF-8`, `en_US.UTF-8`, `icu:en-US`."""
    owned: bool
    """Started by us: we are superuser, durability is off, and nothing in it is of value."""
    superuser: bool = True
    """Whether `user` is a superuser, which a database's reset needs."""
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Further libpq parameters that a given address carried, such as sslmode."""
    database_options: str = ""
    """What CREATE DATABASE needs for `collation`, as SQL (`TEMPLATE template0 LOCALE 'de_DE.UTF-8'`);
    empty where it is what a database gets anyway."""

    def isolation(self, wanted: str) -> str:
        """Answer the isolation in force on this server, with the reason where it is another than was asked for."""
        if wanted == "clone" or (self.superuser and self.version_number >= 150000):
            return wanted
        if self.version_number < 150000:
            return f"clone, because {wanted} needs PostgreSQL 15"
        return wanted if wanted == "rollback" else f"clone, because {self.user} is no superuser"

    def dsn(self, database: str) -> str:
        """Answer the libpq connection string (key=value) of a database on this server."""
        values = {"host": self.host, "port": str(self.port), "user": self.user, "password": self.password}
        values = {key: value for key, value in values.items() if value}
        return " ".join(
            f"{key}={_quoted(value)}" for key, value in {**values, "dbname": database, **self.options}.items()
        )

    def url(self, database: str) -> str:
        """Answer the URL of a database on this server, as libpq and SQLAlchemy read it."""
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        query = dict(self.options)
        place = ""
        if is_socket_folder(self.host):
            query = {"host": self.host, "port": str(self.port), **query}
        else:
            host = f"[{self.host}]" if ":" in self.host else quote(self.host, safe="")
            place = f"{host}:{self.port}"
        text = "&".join(f"{key}={quote(value, safe='/')}" for key, value in query.items())
        return f"postgresql://{login}@{place}/{quote(database, safe='')}" + (f"?{text}" if text else "")

    def to_json(self) -> dict[str, Any]:
        """Answer plain JSON values, from which `from_json` makes an equal server."""
        return {**asdict(self), "options": dict(self.options)}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Server:
        return cls(**values)


def is_socket_folder(host: str) -> bool:
    """Tell a folder with a Unix socket from a host name, as libpq does: absolute path, or abstract (@)."""
    return host.startswith(("/", "@")) or re.match(r"[A-Za-z]:[\\/]", host) is not None


def is_address(text: str) -> bool:
    """Tell an address (URL or key=value) from a word."""
    return "://" in text or re.match(r"\s*\w+\s*=", text) is not None


def connection_string(address: str) -> str:
    """Answer a libpq connection string for an address as users write it. Raises ServerError.

    The messages quote nothing of the address: libpq's own show pieces of a password with an unescaped
    character in it.
    """
    if "://" not in address:
        return address
    scheme, _, rest = address.partition("://")
    if not re.fullmatch(r"postgres(ql)?(\+\w+)?", scheme):
        raise ServerError(f"a PostgreSQL address begins with postgresql://, not {scheme}://")
    place = rest.partition("?")[0]
    if place.count("@") > 1 or "@" in place.partition("/")[2]:
        raise ServerError(
            "the PostgreSQL address can't be read: percent-encode special characters in its user and "
            "password (@ is %40, / is %2F, : is %3A)"
        )
    return f"postgresql://{rest}"


def _quoted(value: str) -> str:
    """Quote a value for a libpq connection string (libpq manual, 'Keyword/Value Connection Strings')."""
    if re.fullmatch(r"[\w./:@%+-]+", value, re.ASCII):
        return value
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"
