"""Where the application finds its database and its files, read from the environment at each call."""

from __future__ import annotations

import os
from pathlib import Path

SQLITE_PREFIX = "sqlite:///"


def data_dir() -> Path:
    """Return the directory for files that the application keeps next to its database."""
    return Path(os.environ.get("FIELDSERVICE_DATA_DIR", "."))


def database_url() -> str:
    """Return the database to use, `sqlite:///PATH` or `postgresql://...`."""
    return os.environ.get("FIELDSERVICE_DATABASE_URL") or f"{SQLITE_PREFIX}{data_dir() / 'fieldservice.db'}"


def sqlite_path() -> str:
    """Return the file of the SQLite database."""
    url = database_url()
    if url.startswith(SQLITE_PREFIX):
        return url.removeprefix(SQLITE_PREFIX)
    return str(data_dir() / "fieldservice.db")
