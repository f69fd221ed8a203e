"""The one family of errors that a user meets, and the exit codes they end with.

Every error is one line that names where (host, file or key), what was found and what is allowed, plus an optional
hint that says what to do. The command line prints exactly that, and a traceback only with ``--debug``.
"""

from __future__ import annotations

from enum import IntEnum
from typing import NoReturn


class Exit(IntEnum):
    """Exit codes of every verb (the table is in docs/command-line.md)."""

    OK = 0
    FAILED = 1
    USAGE = 2
    PENDING = 3
    PREFLIGHT = 4
    ATTESTATION = 5
    INTERRUPTED = 130


class StrongroomError(Exception):
    """Something failed; ``str(error)`` is the one line for the user, ``hint`` the one thing to do."""

    exit = Exit.FAILED

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


class ConnectionLost(StrongroomError):
    """A host could not be reached any more: what it was told last may have been done or not."""


class ConfigError(StrongroomError):
    """The inventory, a file or an argument is wrong; nothing was connected to."""

    exit = Exit.USAGE

    def __init__(self, *messages: str, hint: str | None = None) -> None:
        super().__init__("\n".join(messages), hint=hint)


class PreflightRefused(StrongroomError):
    """A host is not what the inventory asks for; nothing was changed on any host."""

    exit = Exit.PREFLIGHT


class AttestationRefused(StrongroomError):
    """A claim of confidentiality has no verified evidence behind it."""

    exit = Exit.ATTESTATION


def die(message: str, *, hint: str | None = None) -> NoReturn:
    """Raise :class:`StrongroomError`."""
    raise StrongroomError(message, hint=hint)
