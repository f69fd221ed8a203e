"""Reading fixed layouts out of files that the operator chose: what doesn't fit is a usage error that names the file's part."""

from __future__ import annotations

from typing import NoReturn

from strongroom.errors import ConfigError


def cannot(what: str, why: str) -> NoReturn:
    """Raise :class:`ConfigError`: this can't be measured."""
    raise ConfigError(f"{what}: {why}")


def cut(data: bytes, start: int, size: int, what: str) -> bytes:
    """``size`` bytes from ``start``, all of them.

    Raises:
        ConfigError: they reach beyond the data.
    """
    if start < 0 or size < 0 or start + size > len(data):
        cannot(what, f"{size} bytes at offset {start:#x} reach beyond the {len(data)} that there are")
    return data[start : start + size]


def number(data: bytes, start: int, size: int, what: str) -> int:
    """A little-endian unsigned integer."""
    return int.from_bytes(cut(data, start, size, what), "little")
