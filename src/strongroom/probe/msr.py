"""Model specific registers: ``<hex number> <hex value> [cpu list]``, one line for each value that a register has.

A line without a CPU list holds for every CPU. Registers that differ between CPUs come on several lines with lists. Of what
people paste, the value below a command ``rdmsr`` is that of one CPU, unless ``-a`` asked all of them, and so is what
canonical/tdx's system-report.sh prints. What ``-f`` cut out is a field and no register: its value can show that something
is off, and not that all of a register is as it should be.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.probe.text import bit, bits, hexadecimal

_LINE = re.compile(r"^\s*(?:0x)?([0-9a-fA-F]{1,8})[\s:=]+(?:0x)?([0-9a-fA-F]{1,16})(?:\s+([0-9,-]{1,4096}))?\s*$")
_RDMSR = re.compile(r"\brdmsr ((?:\S{1,24} ?){1,8})$")
_MCHECK = re.compile(r"^SGX_AND_MCHECK_STATUS: ([0-9a-fA-F]{1,16})\b")
# What else system-report.sh says: caption and field, hexadecimal. canonical/tdx's README and Ubuntu's guide to TDX have
# people ask for the same fields by hand, with rdmsr -f.
_REPORTED = re.compile(r"^(?:[-*] )?(\w{1,20})(?: (?:lock )?bit)?: (?:0x)?([0-9a-fA-F]{1,16})(?:\s|$)")
_CAPTIONS = {
    "MK_TME_ENABLED": (0x982, 1, 1),
    "HW_ENCRYPT_ENABLE": (0x982, 1, 1),
    "SEAM_RR": (0x1401, 11, 11),
    "SEAMRR": (0x1401, 10, 10),  # issue 425: "SEAMRR lock bit"
    "NUM_TDX_PRIV_KEYS": (0x87, 63, 32),
}
_PRODUCTION = re.compile(r"^Production platform: (Pre-production|Production)\b")
_VALUE = re.compile(r"^\s*(?:0x)?([0-9a-fA-F]{1,16})\s*$")


Field = tuple[int, int, int]
"""A register's number, and the highest and the lowest of some of its bits."""


@dataclass(frozen=True)
class Register:
    """The values of one register, each with the CPUs that have it (None: all of them)."""

    values: tuple[tuple[int, str | None], ...]
    whole: bool

    @property
    def uniform(self) -> int | None:
        """The value, when every CPU has the same and none is left out."""
        return self.values[0][0] if self.whole and len({value for value, _ in self.values}) == 1 else None

    def bits(self, high: int, low: int) -> frozenset[int]:
        """What the CPUs have in these bits."""
        return frozenset(bits(value, high, low) for value, _ in self.values)

    def all_set(self, position: int) -> bool:
        """Whether the bit is set on every CPU that was read."""
        return all(bit(value, position) for value, _ in self.values)

    def __str__(self) -> str:
        return ", ".join(f"0x{value:x}" + (f" on CPUs {cpus}" if cpus else "") for value, cpus in self.values)


@dataclass(frozen=True)
class Msr:
    """All registers that were read."""

    registers: Mapping[int, Register] = field(default_factory=dict)
    fields: tuple[tuple[Field, int], ...] = ()

    def seen(self, number: int, high: int, low: int) -> frozenset[int]:
        """What these bits were seen to be, on any CPU, in the register or in a field that was cut out of it."""
        register = self.get(number)
        cut = {
            bits(value, high - bottom, low - bottom)
            for (other, top, bottom), value in self.fields
            if other == number and top >= high and bottom <= low
        }
        return frozenset(cut) | (register.bits(high, low) if register else frozenset())

    def get(self, number: int) -> Register | None:
        """A register, None where it was not read."""
        return self.registers.get(number)

    @property
    def differing(self) -> tuple[int, ...]:
        """Registers that do not have the same value on every CPU."""
        return tuple(sorted(number for number, one in self.registers.items() if len({v for v, _ in one.values}) > 1))


@dataclass(frozen=True)
class _Question:
    """What a command ``rdmsr`` asked: a register or a field of it, of one CPU or (None) of all."""

    number: int
    cpu: str | None = "0"
    field: Field | None = None


def _question(words: Sequence[str]) -> _Question | None:
    """The arguments of ``rdmsr`` in any order; None for what prints no hexadecimal number."""
    cpu: str | None = "0"
    cut = ""
    number: int | None = None
    left = list(words)
    while left:
        word = left.pop(0)
        if word in ("-p", "--processor") and left:
            cpu = left.pop(0)
        elif word in ("-f", "--bitfield") and left:
            cut = left.pop(0)
        elif word == "--all" or re.fullmatch(r"-[axXc0]{1,5}", word):
            cpu = None if "a" in word else cpu
        elif number is None and not word.startswith("-"):
            number = hexadecimal(word)
        else:
            return None
    if number is None:
        return None
    if not cut:
        return _Question(number, cpu)
    ends = re.fullmatch(r"(\d{1,2}):(\d{1,2})", cut)
    return _Question(number, cpu, (number, int(ends[1]), int(ends[2]))) if ends else None


def parse(lines: Sequence[str], complete: bool) -> Msr:
    """Registers of a section; ``complete`` is whether all of its lines are here."""
    found: dict[int, list[tuple[int, str | None]]] = {}
    fields: list[tuple[Field, int]] = []
    asked: _Question | None = None
    for line in lines:
        if match := _LINE.match(line):
            found.setdefault(int(match[1], 16), []).append((int(match[2], 16), match[3]))
        elif match := _MCHECK.match(line):
            found.setdefault(0xA0, []).append((int(match[1], 16), "0"))
        elif (match := _REPORTED.match(line)) and match[1] in _CAPTIONS:
            fields.append((_CAPTIONS[match[1]], int(match[2], 16)))
        elif match := _PRODUCTION.match(line):
            fields.append(((0xCE, 27, 27), int(match[1] != "Production")))
        elif asked and (match := _VALUE.match(line)):
            if asked.field:
                fields.append((asked.field, int(match[1], 16)))
            else:
                found.setdefault(asked.number, []).append((int(match[1], 16), asked.cpu))
            continue
        command = _RDMSR.search(line.rstrip())
        asked = _question(command[1].split()) if command else None
    return Msr(
        {
            # A value for some CPUs says nothing of the others when the lines for those may be missing.
            number: Register(tuple(dict.fromkeys(values)), complete or any(cpus is None for _, cpus in values))
            for number, values in found.items()
        },
        tuple(dict.fromkeys(fields)),
    )
