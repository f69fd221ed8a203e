"""Reading fixed binary layouts: every shortage and every byte too many is Refused, with the name of the field."""

from __future__ import annotations

from typing import Literal

from strongroom.attest.base import refuse


class Reader:
    """A cursor over bytes that never reads past their end.

    Args:
        data: what to read.
        what: what it is, for reasons ("report", "quote"); the fields' names start with it.
        byteorder: of every integer; AMD and Intel structures are little-endian, TPM's are big-endian.
    """

    __slots__ = ("_byteorder", "_data", "_end", "_position", "_what")

    def __init__(self, data: bytes, what: str, byteorder: Literal["little", "big"] = "little") -> None:
        self._data = memoryview(data).toreadonly()
        self._what = what
        self._byteorder: Literal["little", "big"] = byteorder
        self._position = 0
        self._end = len(self._data)

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._position

    @property
    def left(self) -> int:
        """Bytes not yet read."""
        return self._end - self._position

    @property
    def rest(self) -> bytes:
        """What was not yet read; reading it does not move the cursor."""
        return bytes(self._data[self._position :])

    def take(self, n: int, field: str) -> bytes:
        """The next ``n`` bytes; Refused where fewer are left."""
        if n < 0 or n > self.left:
            refuse(
                f"{self._what}.{field}",
                f"{n} bytes are needed at offset {self._position}, {self.left} are there; it is cut off",
            )
        start = self._position
        self._position += n
        return bytes(self._data[start : self._position])

    def _number(self, size: int, field: str) -> int:
        return int.from_bytes(self.take(size, field), self._byteorder)

    def u8(self, field: str) -> int:
        """An unsigned integer of 1 byte."""
        return self._number(1, field)

    def u16(self, field: str) -> int:
        """An unsigned integer of 2 bytes."""
        return self._number(2, field)

    def u32(self, field: str) -> int:
        """An unsigned integer of 4 bytes."""
        return self._number(4, field)

    def u64(self, field: str) -> int:
        """An unsigned integer of 8 bytes."""
        return self._number(8, field)

    def sub(self, n: int, field: str) -> Reader:
        """A reader of the next ``n`` bytes, in the same byte order, named after the field."""
        return Reader(self.take(n, field), f"{self._what}.{field}", self._byteorder)

    def zeros(self, n: int, field: str) -> None:
        """Padding: the next ``n`` bytes have to be zero; else Refused."""
        if any(found := self.take(n, field)):
            refuse(f"{self._what}.{field}", f"padding holds {found.lstrip(bytes(1))[:8].hex()}, allowed is zero")

    def end(self, field: str = "end") -> None:
        """Refuse trailing bytes."""
        if self.left:
            refuse(f"{self._what}.{field}", f"{self.left} bytes follow at offset {self._position}, allowed is none")
