"""Outward forms of evidence: bytes, hex or base64 text, and JSON that holds either in a member."""

from __future__ import annotations

import base64
import binascii
import re

from strongroom.attest import jsontext
from strongroom.attest.base import refuse

LARGEST = 16 * 1024 * 1024  # bytes of any evidence
_HEX = re.compile(rb"(?:0x)?([0-9A-Fa-f]+)")
_BASE64 = re.compile(rb"([A-Za-z0-9+/_-]+)={0,2}")
_SHORTEST_BASE64 = 8


def binary(data: bytes) -> bytes:
    """Bytes out of hex or base64 (also its URL form) that stands alone in a text; other bytes as they are.

    Raises:
        Refused: more than 16 MiB.
    """
    if len(data) > LARGEST:
        refuse("evidence", f"{len(data)} bytes, allowed are {LARGEST}")
    decoded = _decoded(data)
    return data if decoded is None else decoded


def _decoded(text: bytes) -> bytes | None:
    packed = b"".join(text.split())
    if (digits := _HEX.fullmatch(packed)) and len(digits[1]) % 2 == 0:
        return binascii.unhexlify(digits[1])
    if len(packed) >= _SHORTEST_BASE64 and (letters := _BASE64.fullmatch(packed)):
        standard = letters[1].translate(bytes.maketrans(b"-_", b"+/"))
        try:
            return base64.b64decode(standard + b"=" * (-len(standard) % 4), validate=True)
        except binascii.Error:
            return None
    return None


def is_json(data: bytes) -> bool:
    """Whether the bytes begin as a JSON object or list does."""
    return data.lstrip()[:1] in (b"{", b"[")


def as_bytes(value: object, field: str, *, size: int | None = None) -> bytes:
    """Bytes from a JSON value: hex or base64 text, or a list of numbers.

    Raises:
        Refused: it is neither, or not of that size.
    """
    found: bytes | None = None
    if isinstance(value, str) and value.isascii():
        found = _decoded(value.encode("ascii"))
    elif isinstance(value, list) and all(type(byte) is int and 0 <= byte <= 255 for byte in value):
        found = bytes(value)
    if found is None:
        refuse(field, f"{type(value).__name__}, needed are bytes as hex, base64 or a list of numbers")
    if size is not None and len(found) != size:
        refuse(field, f"{len(found)} bytes, needed are {size}")
    return found


def member(data: bytes, names: tuple[str, ...], field: str = "evidence") -> bytes | None:
    """The bytes in the first of these members that a JSON object has, as text or numbers; None where it has none.

    Raises:
        Refused: not JSON, or the member's text is neither hex nor base64.
    """
    value = jsontext.loads(data, field)
    if isinstance(value, dict):
        for name in names:
            found = value.get(name)
            if isinstance(found, str) or (isinstance(found, list) and found and type(found[0]) is int):
                return as_bytes(found, f"{field}.{name}")
    return None
