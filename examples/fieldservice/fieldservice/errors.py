"""What the services raise; no caller needs to know a database driver's exceptions."""

from __future__ import annotations


class FieldServiceError(Exception):
    """Base of all errors of the application."""


class NotFound(FieldServiceError):
    """The named record does not exist."""


class Conflict(FieldServiceError):
    """The change contradicts what is stored."""


class InvalidTransition(FieldServiceError):
    """A record can't go from its present status to the wanted one."""
