"""Which report files can be written: apart from the renderings, so that asking imports none of them."""

from __future__ import annotations

FORMATS: dict[str, str] = {".json": "json", ".md": "markdown"}
"""Endings of a report file's name -> the module of this package that renders it."""
