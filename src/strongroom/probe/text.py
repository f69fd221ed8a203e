"""Small readers that all parsers share. They take what is there and never raise."""

from __future__ import annotations

from collections.abc import Iterable

_DIGITS = 40  # longer numbers are no numbers of ours, and int() of a long text is slow


def number(text: str | None) -> int | None:
    """A decimal number of ASCII digits."""
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def hexadecimal(text: str | None) -> int | None:
    """A hexadecimal number, with or without ``0x``."""
    digits = (text or "").strip().lower().removeprefix("0x")
    if not digits or len(digits) > _DIGITS or not all(char in "0123456789abcdef" for char in digits):
        return None
    return int(digits, 16)


def assignments(lines: Iterable[str], separator: str = "=") -> dict[str, str]:
    """``key=value`` lines; a key that comes again has its values joined by newlines, as files of many lines have."""
    found: dict[str, str] = {}
    for line in lines:
        key, mark, value = line.partition(separator)
        if mark:
            key, value = key.strip(), value.strip().strip('"')
            found[key] = f"{found[key]}\n{value}" if key in found else value
    return found


def version(text: str | None) -> tuple[int, ...]:
    """The leading numbers of a version: ``1.55.38`` -> (1, 55, 38); an empty tuple where there are none."""
    parts: list[int] = []
    for part in (text or "").strip().split("."):
        digits = ""
        for char in part:
            if not (char.isascii() and char.isdigit()):
                break
            digits += char
        if not digits or len(digits) > 9:
            break
        parts.append(int(digits))
        if len(digits) != len(part):
            break
    return tuple(parts)


def truth(text: str | None) -> bool | None:
    """A module parameter or a tool's word as yes or no: kernels print ``Y`` and ``N``, older ones ``1`` and ``0``."""
    return {
        "y": True, "1": True, "yes": True, "true": True, "on": True, "enabled": True,
        "n": False, "0": False, "no": False, "false": False, "off": False, "disabled": False,
    }.get((text or "").strip().lower())  # fmt: skip


def bits(value: int, high: int, low: int) -> int:
    """Bits ``high`` to ``low`` of a value, both included."""
    return (value >> low) & ((1 << (high - low + 1)) - 1)


def bit(value: int, position: int) -> bool:
    """One bit of a value."""
    return bool(value >> position & 1)
