"""What a stranger may do to bytes: one bit of a byte, whichever a seed says, and an end before the end."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator

from strongroom.attest.base import Refused


def flips(data: bytes, places: Iterable[int] | None = None, seed: int = 1) -> Iterator[tuple[int, bytes]]:
    """Each place with the bytes that have one bit of it flipped; of every byte where no places are given."""
    draw = random.Random(seed)
    for place in range(len(data)) if places is None else places:
        yield place, data[:place] + bytes((data[place] ^ 1 << draw.randrange(8),)) + data[place + 1 :]


def refuses(verify: Callable[[bytes], object], data: bytes) -> bool:
    """Whether it refuses, for a reason of its own and not for a defect."""
    try:
        verify(data)
    except Refused as refusal:
        return "defect" not in refusal.reason
    return False


def taken(data: bytes, verify: Callable[[bytes], object], places: Iterable[int] | None = None) -> list[int]:
    """Places whose flip it does not refuse."""
    return [place for place, flipped in flips(data, places) if not refuses(verify, flipped)]


def cuts_taken(data: bytes, verify: Callable[[bytes], object]) -> list[int]:
    """Lengths, of all that are shorter, at which it does not refuse."""
    return [length for length in range(len(data)) if not refuses(verify, data[:length])]
