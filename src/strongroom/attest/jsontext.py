"""JSON from strangers: one value, no key twice, no NaN, no half a character, no abyss; whatever else goes wrong is Refused."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import NoReturn

from strongroom.attest.base import Refused, refuse, require

_DECODER_ERRORS = (ValueError, RecursionError)
_DEEPEST = 64  # containers in containers; real evidence and collateral have 10 at most


def loads(data: bytes, field: str) -> object:
    """The value of a JSON text in UTF-8.

    Raises:
        Refused: not UTF-8, not one JSON value, a key twice in one object, a constant that JSON has not, text with half
            of a surrogate pair in it, or containers more than 64 deep.
    """
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_once, parse_constant=_constant)
    except Refused as error:
        refuse(field, error.reason)
    except _DECODER_ERRORS as error:
        refuse(field, f"not JSON: {' '.join(str(error).split())[:120]}")
    _bounded(value, field)
    return value


def document(data: bytes, field: str) -> Mapping[str, object]:
    """The same, where the value has to be an object."""
    return table(loads(data, field), field)


def table(value: object, field: str) -> Mapping[str, object]:
    """The value, if it is an object; else Refused."""
    if not isinstance(value, dict):
        refuse(field, f"{_type(value)}, needed is an object")
    return value


def items(value: object, field: str) -> list[object]:
    """The value, if it is a list; else Refused."""
    if not isinstance(value, list):
        refuse(field, f"{_type(value)}, needed is a list")
    return value


def get(source: Mapping[str, object], name: str, field: str) -> object:
    """A member that has to be there; else Refused."""
    if name not in source:
        refuse(f"{field}.{name}", "it is missing")
    return source[name]


def text(source: Mapping[str, object], name: str, field: str) -> str:
    """A member that has to be there and text; else Refused."""
    value = get(source, name, field)
    if not isinstance(value, str):
        refuse(f"{field}.{name}", f"{_type(value)}, needed is text")
    return value


def number(source: Mapping[str, object], name: str, field: str, most: int) -> int:
    """A member that has to be there and a whole number from 0 to ``most``; else Refused."""
    value = get(source, name, field)
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        refuse(f"{field}.{name}", f"{str(value)[:24]}, needed is a number from 0 to {most}")
    return value


def unhex(value: object, field: str, size: int | None = None) -> bytes:
    """Bytes from hex digits; ``size`` is their number in bytes where it is fixed. Anything else is Refused."""
    try:
        if not isinstance(value, str) or not value.isascii() or any(map(str.isspace, value)):
            raise ValueError
        found = bytes.fromhex(value)
    except ValueError:
        refuse(field, "not hex digits")
    require(size is None or len(found) == size, field, f"{len(found)} bytes, needed are {size}")
    return found


def unbase64(value: object, field: str) -> bytes:
    """Bytes from base64, in either alphabet, padded or not; Refused where anything else is between, or bits are left over."""
    if not isinstance(value, str) or not value.isascii():
        refuse(field, "not base64")
    plain = value.rstrip("=").replace("-", "+").replace("_", "/")
    try:
        found = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (binascii.Error, ValueError):
        refuse(field, "not base64")
    # Unused bits of the last digit must be zero, and the padding none or complete: one spelling for one value.
    require(base64.b64encode(found).decode().rstrip("=") == plain, field, "base64 with bits left over")
    require(len(value) == len(plain) or len(value) % 4 == 0, field, "base64 with a broken padding")
    return found


def octets(value: object, field: str) -> bytes:
    """Bytes from a list of numbers 0 to 255, as Rust's serde writes them; Refused where it is none."""
    found = items(value, field)
    if not all(isinstance(one, int) and not isinstance(one, bool) and 0 <= one <= 255 for one in found):
        refuse(field, "not a list of bytes")
    return bytes(found)  # type: ignore[arg-type]


def _bounded(value: object, field: str) -> None:
    """Refuse what the decoder lets pass and its readers trip over: depth to recurse in, and text that no UTF-8 spells.

    An escape as ``\\ud800`` is JSON by its grammar (RFC 8259, section 8.2), and half of a character.
    """
    layer, depth = [value], 0
    while layer:
        inside: list[object] = []
        for one in layer:
            if isinstance(one, dict | list):
                if depth == _DEEPEST:
                    refuse(field, f"nested deeper than {_DEEPEST} lists or objects")
                inside += one
                inside += one.values() if isinstance(one, dict) else ()
            elif isinstance(one, str) and not _encodes(one):
                refuse(field, "text with half of a surrogate pair in it, which is no character")
        layer, depth = inside, depth + 1


def _encodes(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        refuse("json", "a key stands twice in one object")
    return found


def _constant(name: str) -> NoReturn:
    refuse("json", f"{name} is not JSON")


def _type(value: object) -> str:
    return "null" if value is None else type(value).__name__
