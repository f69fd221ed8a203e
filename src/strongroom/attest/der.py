"""Strict DER (ITU-T X.690): definite minimal lengths, one-byte tags, no byte left over; nesting is the caller's.

Nothing here recurses, so that no input is too deep. Every violation is Refused.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from strongroom.attest.base import refuse

BOOLEAN, INTEGER, BIT_STRING, OCTET_STRING, NULL, OID = 0x01, 0x02, 0x03, 0x04, 0x05, 0x06
ENUMERATED, UTF8_STRING, PRINTABLE_STRING, T61_STRING, IA5_STRING = 0x0A, 0x0C, 0x13, 0x14, 0x16
UTC_TIME, GENERALIZED_TIME, SEQUENCE, SET = 0x17, 0x18, 0x30, 0x31

_LONGEST_OID = 64  # bytes; what vendors use is below 20
_TIMES = {UTC_TIME: re.compile(rb"\d{12}Z"), GENERALIZED_TIME: re.compile(rb"\d{14}Z")}


class Der:
    """A cursor over the elements of one DER content.

    Args:
        data: the elements.
        what: dotted name of what they are; fields' names start with it.
    """

    __slots__ = ("_data", "_position", "what")

    def __init__(self, data: bytes, what: str) -> None:
        self._data = data
        self._position = 0
        self.what = what

    @property
    def more(self) -> bool:
        """Whether an element follows."""
        return self._position < len(self._data)

    def peek(self) -> int | None:
        """The next element's tag, or None at the end."""
        return self._data[self._position] if self.more else None

    def element(self, field: str) -> tuple[int, bytes, bytes]:
        """The next element: its tag, its content, and the whole of it with its header (X.690, section 8.1).

        Raises:
            Refused: it is cut off, its tag is of the long form, or its length indefinite or not in its shortest form.
        """
        name, data, start = f"{self.what}.{field}", self._data, self._position
        if len(data) - start < 2:
            refuse(name, f"{len(data) - start} bytes are left where an element has to be; it is cut off")
        tag, length, position = data[start], data[start + 1], start + 2
        if tag & 0x1F == 0x1F:
            refuse(name, f"tag {tag:#04x} has a long form, allowed are one-byte tags")
        if length > 0x84 or length == 0x80:
            refuse(name, f"length byte {length:#04x}, allowed is a definite length of up to 4 bytes")
        if length & 0x80:
            size = length & 0x7F
            length = int.from_bytes(data[position : position + size], "big")
            if len(data) - position < size or length < 0x80 or length >> (8 * (size - 1)) == 0:
                refuse(name, "the length is cut off or not in its shortest form")
            position += size
        if length > len(data) - position:
            refuse(name, f"{length} bytes are announced, {len(data) - position} are there; it is cut off")
        self._position = position + length
        return tag, data[position : self._position], data[start : self._position]

    def take(self, tag: int, field: str) -> bytes:
        """The content of the next element, which has to have that tag; Refused where it has another."""
        found, content, _ = self.element(field)
        if found != tag:
            refuse(f"{self.what}.{field}", f"tag is {found:#04x}, allowed is {tag:#04x}")
        return content

    def optional(self, tag: int, field: str) -> bytes | None:
        """The content of the next element where it has that tag, else None, and nothing is read."""
        return self.take(tag, field) if self.peek() == tag else None

    def sub(self, field: str, tag: int = SEQUENCE) -> Der:
        """A cursor over the content of the next element, which has to have that tag."""
        return Der(self.take(tag, field), f"{self.what}.{field}")

    def integer(self, field: str, tag: int = INTEGER) -> int:
        """A signed integer in its shortest form (X.690, section 8.3); Refused where it is not."""
        content = self.take(tag, field)
        if not content or (len(content) > 1 and (content[0], content[1] >> 7) in ((0x00, 0), (0xFF, 1))):
            refuse(f"{self.what}.{field}", "the integer is empty or not in its shortest form")
        return int.from_bytes(content, "big", signed=True)

    def small(self, field: str, tag: int = INTEGER) -> int:
        """A non-negative integer below 2**63; Refused where it is not."""
        value = self.integer(field, tag)
        if not 0 <= value < 1 << 63:
            refuse(f"{self.what}.{field}", "the integer is negative or beyond 63 bits")
        return value

    def oid(self, field: str) -> str:
        """An object identifier in dotted form."""
        return dotted(self.take(OID, field), f"{self.what}.{field}")

    def boolean(self, field: str) -> bool:
        """A boolean: 00 or ff (X.690, section 11.1); Refused where it is another byte."""
        content = self.take(BOOLEAN, field)
        if content not in (b"\x00", b"\xff"):
            refuse(f"{self.what}.{field}", f"boolean is {content[:8].hex()}, allowed are 00 and ff")
        return content == b"\xff"

    def bits(self, field: str) -> bytes:
        """A bit string of whole bytes, the highest bit first; Refused where bits are left over."""
        content = self.take(BIT_STRING, field)
        if content[:1] != b"\x00":
            refuse(f"{self.what}.{field}", "the bit string is not of whole bytes")
        return content[1:]

    def time(self, field: str) -> datetime:
        """UTCTime or GeneralizedTime as RFC 5280 section 4.1.2.5 allows them: in seconds, in Z; Refused where it is neither."""
        tag, content, _ = self.element(field)
        form = _TIMES.get(tag)
        if form is None or not form.fullmatch(content):
            refuse(f"{self.what}.{field}", f"time is {content[:20]!r}, allowed are UTCTime and GeneralizedTime in Z")
        text = content.decode("ascii")
        if tag == UTC_TIME:
            text = ("19" if text >= "5" else "20") + text
        try:
            return datetime.strptime(text, "%Y%m%d%H%M%SZ").replace(tzinfo=UTC)
        except ValueError:
            refuse(f"{self.what}.{field}", f"time is {text}, which no calendar has")

    def end(self, field: str = "end") -> None:
        """Refuse trailing bytes."""
        if self.more:
            refuse(f"{self.what}.{field}", f"{len(self._data) - self._position} bytes follow, allowed is none")


def dotted(content: bytes, field: str) -> str:
    """An object identifier's content in dotted form (X.690, section 8.19); Refused where it is not in its shortest form."""
    if not content or len(content) > _LONGEST_OID or content[-1] & 0x80:
        refuse(field, f"object identifier of {len(content)} bytes is empty, cut off or too long")
    arcs, value = [], 0
    for byte in content:
        if value == 0 and byte == 0x80:
            refuse(field, "object identifier is not in its shortest form")
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))
