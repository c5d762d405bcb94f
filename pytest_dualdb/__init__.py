"""pytest-dualdb: run each database test on SQLite and on PostgreSQL, and report where they disagree."""

from __future__ import annotations

__version__ = "0.1.0"
