"""Model specific registers: ``<hex number> <hex value> [cpu list]``, one line for each value that a register has.

A line without a CPU list holds for every CPU. Registers that differ between CPUs come on several lines with lists. Of what
people paste, the value below a command ``rdmsr`` is that of one CPU, unless ``-a`` asked all of them, and so is what
canonical/tdx's system-report.sh prints of a whole register.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.probe.text import bit, bits

_LINE = re.compile(r"^\s*(?:0x)?([0-9a-fA-F]{1,8})[\s:=]+(?:0x)?([0-9a-fA-F]{1,16})(?:\s+([0-9,-]{1,4096}))?\s*$")
_RDMSR = re.compile(r"\brdmsr (?P<options>(?:-[^f\s]\S{0,20} (?:\d{1,5} )?)*)(?:0x)?(?P<number>[0-9a-fA-F]{1,8})\s*$")
_MCHECK = re.compile(r"^SGX_AND_MCHECK_STATUS: ([0-9a-fA-F]{1,16})\b")
_VALUE = re.compile(r"^\s*(?:0x)?([0-9a-fA-F]{1,16})\s*$")


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

    def get(self, number: int) -> Register | None:
        """A register, None where it was not read."""
        return self.registers.get(number)

    @property
    def differing(self) -> tuple[int, ...]:
        """Registers that do not have the same value on every CPU."""
        return tuple(sorted(number for number, one in self.registers.items() if len({v for v, _ in one.values}) > 1))


def _asked_of(options: Sequence[str]) -> str | None:
    """The CPU that rdmsr asked, None for all of them."""
    if "-a" in options:
        return None
    return options[options.index("-p") + 1] if "-p" in options[:-1] else "0"


def parse(lines: Sequence[str], complete: bool) -> Msr:
    """Registers of a section; ``complete`` is whether all of its lines are here."""
    found: dict[int, list[tuple[int, str | None]]] = {}
    asked: re.Match[str] | None = None
    for line in lines:
        if match := _LINE.match(line):
            found.setdefault(int(match[1], 16), []).append((int(match[2], 16), match[3]))
        elif match := _MCHECK.match(line):
            found.setdefault(0xA0, []).append((int(match[1], 16), _asked_of(())))
        elif asked and (match := _VALUE.match(line)):
            found.setdefault(int(asked["number"], 16), []).append(
                (int(match[1], 16), _asked_of(asked["options"].split()))
            )
            continue
        asked = _RDMSR.search(line)
    return Msr(
        {
            # A value for some CPUs says nothing of the others when the lines for those may be missing.
            number: Register(tuple(dict.fromkeys(values)), complete or any(cpus is None for _, cpus in values))
            for number, values in found.items()
        }
    )
