"""A strict decoder of the CBOR that attestation tokens are made of (RFC 8949), and the few heads that signatures cover.

Strict means section 4.2.1's core deterministic encoding where it concerns lengths: every head in its shortest form,
definite lengths alone, no key twice in a map, no byte left over. Floats, simple values other than false, true and null,
and maps keyed by anything but integers, text and bytes have no place in a token and are refused.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader

_DEEPEST: Final = 16  # tokens nest four deep
_SIMPLE: Final = {20: False, 21: True, 22: None}
UNSIGNED, NEGATIVE, BYTES, TEXT, ARRAY, MAP, TAG, SIMPLE = range(8)


@dataclass(frozen=True)
class Tag:
    """A tagged value (section 3.4): the number says what the value means."""

    number: int
    value: object


def decode(data: bytes, what: str) -> object:
    """One data item and nothing behind it.

    Returns:
        int, bytes, str, bool, None, list, dict or :class:`Tag`.

    Raises:
        Refused: the bytes are not one item in the strict form; the field is ``what`` with the part that is not.
    """
    reader = Reader(data, what, "big")
    item = _item(reader, what, 0)
    reader.end()
    return item


def head(major: int, argument: int) -> bytes:
    """The shortest head of a data item (section 3)."""
    if argument < 24:
        return bytes([major << 5 | argument])
    size = 0 if argument < 1 << 8 else 1 if argument < 1 << 16 else 2 if argument < 1 << 32 else 3
    return bytes([major << 5 | 24 + size]) + argument.to_bytes(1 << size, "big")


def byte_string(value: bytes) -> bytes:
    """A byte string with its head."""
    return head(BYTES, len(value)) + value


def _argument(reader: Reader, what: str) -> tuple[int, int]:
    first = reader.u8("head")
    major, short = first >> 5, first & 31
    if short < 24:
        return major, short
    if short > 27 or major == SIMPLE:
        refuse(
            f"{what}.head", f"the head is {first:#04x}, allowed are definite lengths of at most 8 bytes, and no floats"
        )
    size = 1 << short - 24
    value = int.from_bytes(reader.take(size, "head"), "big")
    least = 24 if size == 1 else 1 << 4 * size
    if value < least:
        refuse(f"{what}.head", f"{value} is written in {size} bytes, allowed is the shortest form")
    return major, value


def _item(reader: Reader, what: str, depth: int) -> object:
    require(depth <= _DEEPEST, what, f"items nest deeper than {_DEEPEST}")
    major, value = _argument(reader, what)
    if major == UNSIGNED:
        return value
    if major == NEGATIVE:
        return -1 - value
    if major == BYTES:
        return reader.take(value, "bytes")
    if major == TEXT:
        return _text(reader.take(value, "text"), what)
    if major == ARRAY:
        _room(reader, value, what)
        return [_item(reader, what, depth + 1) for _ in range(value)]
    if major == MAP:
        _room(reader, 2 * value, what)
        return _map(reader, value, what, depth)
    if major == TAG:
        return Tag(value, _item(reader, what, depth + 1))
    if value not in _SIMPLE:
        refuse(f"{what}.simple", f"simple value {value}, allowed are false, true and null")
    return _SIMPLE[value]


def _room(reader: Reader, items: int, what: str) -> None:
    """An item takes a byte at least, so that a count cannot make us allocate more than the input's size."""
    require(items <= reader.left, f"{what}.head", f"{items} items are announced, {reader.left} bytes follow")


def _text(raw: bytes, what: str) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        refuse(f"{what}.text", "text is not UTF-8")


def _map(reader: Reader, pairs: int, what: str, depth: int) -> dict[int | str | bytes, object]:
    found: dict[int | str | bytes, object] = {}
    for _ in range(pairs):
        key = _item(reader, what, depth + 1)
        if isinstance(key, bool) or not isinstance(key, int | str | bytes):
            refuse(f"{what}.key", f"a map is keyed by {type(key).__name__}, allowed are integers, text and bytes")
        require(key not in found, f"{what}.key", f"key {key!r} is in the map twice")
        found[key] = _item(reader, what, depth + 1)
    return found
