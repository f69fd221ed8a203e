"""CPUID in the forms that people have: ``cpuid -1 -r``, AIDA64 / InstLatx64 dumps, and ``cpuid`` decoded.

A leaf is four 32 bit registers, found by (leaf, sub-leaf). Decoded output has captions instead of registers; they are
kept as they are said, for checks that have nothing better.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_RAW = re.compile(
    r"^\s*0x([0-9a-fA-F]{8}) 0x([0-9a-fA-F]{2}): eax=0x([0-9a-fA-F]{8}) ebx=0x([0-9a-fA-F]{8})"
    r" ecx=0x([0-9a-fA-F]{8}) edx=0x([0-9a-fA-F]{8})"
)
_DUMP = re.compile(
    r"^\s*CPUID ([0-9a-fA-F]{8}): ([0-9a-fA-F]{8})-([0-9a-fA-F]{8})-([0-9a-fA-F]{8})-([0-9a-fA-F]{8})"
    r"(?:.*?\[SL ([0-9a-fA-F]{2})\])?"
)
# A dump in a comment or in a mail has its marks before the captions.
_SAID = re.compile(r"^[\s/#>*|]*([^\s/#>*|][^=]{2,80}?)\s*=\s*(true|false)\b")
_VALUE = re.compile(r"^[\s/#>*|]*([^\s/#>*|][^=]{2,80}?)\s*=\s*(?:0x[0-9a-fA-F]{1,16} \((\d{1,12})\)|(\d{1,12}))\s*$")


class Registers(NamedTuple):
    """What a leaf returned."""

    eax: int
    ebx: int
    ecx: int
    edx: int


@dataclass(frozen=True)
class Cpuid:
    """Leaves of the first logical CPU, and captions of decoded output (in small letters)."""

    leaves: Mapping[tuple[int, int], Registers] = field(default_factory=dict)
    said: Mapping[str, bool] = field(default_factory=dict)
    values: Mapping[str, int] = field(default_factory=dict)

    def leaf(self, number: int, sub: int = 0) -> Registers | None:
        """A leaf's registers, None where it was not read."""
        return self.leaves.get((number, sub))

    def beyond(self, number: int) -> bool:
        """Whether the CPU's highest leaf of that range is below ``number``: then the leaf does not exist."""
        top = self.leaf(number & 0x80000000)
        return top is not None and top.eax < number

    def says(self, *captions: str) -> bool | None:
        """What decoded output says: of the first caption that begins with one of ``captions``."""
        for caption in captions:
            for key, value in self.said.items():
                if key.startswith(caption.lower()):
                    return value
        return None

    @property
    def vendor(self) -> str | None:
        """The vendor's twelve letters (leaf 0: EBX, EDX, ECX)."""
        leaf = self.leaf(0)
        return text(leaf.ebx, leaf.edx, leaf.ecx) if leaf else None

    @property
    def brand(self) -> str | None:
        """The processor's name (leaves 80000002 to 80000004)."""
        leaves = [self.leaf(0x80000002 + number) for number in range(3)]
        if any(leaf is None for leaf in leaves):
            return None
        return text(*(register for leaf in leaves if leaf for register in leaf)).strip()

    @property
    def family_model(self) -> tuple[int, int] | None:
        """Display family and model (leaf 1 EAX; Intel SDM volume 2A, CPUID)."""
        leaf = self.leaf(1)
        if leaf is None:
            return None
        family, model = leaf.eax >> 8 & 0xF, leaf.eax >> 4 & 0xF
        if family in (6, 15):
            model |= leaf.eax >> 12 & 0xF0
        if family == 15:
            family += leaf.eax >> 20 & 0xFF
        return family, model


def text(*registers: int) -> str:
    """The letters that registers hold, four in each."""
    data = b"".join(register.to_bytes(4, "little") for register in registers)
    return "".join(chr(byte) if 32 <= byte < 127 else "" for byte in data)


def parse(lines: Sequence[str]) -> Cpuid:
    """Any mixture of the forms; of several CPUs the first that shows a leaf counts."""
    leaves: dict[tuple[int, int], Registers] = {}
    said: dict[str, bool] = {}
    values: dict[str, int] = {}
    for line in lines:
        if match := _RAW.match(line):
            leaf, sub, *registers = (int(group, 16) for group in match.groups())
            leaves.setdefault((leaf, sub), Registers(*registers))
        elif match := _DUMP.match(line):
            leaf, *registers = (int(group, 16) for group in match.groups()[:5])
            leaves.setdefault((leaf, int(match[6] or "0", 16)), Registers(*registers))
        elif match := _SAID.match(line):
            said.setdefault(match[1].lower(), match[2] == "true")
        elif match := _VALUE.match(line):
            values.setdefault(match[1].lower(), int(match[2] or match[3]))
    return Cpuid(leaves, said, values)
