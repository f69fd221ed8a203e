"""Hostile text for the probe's parsers: they never raise, and none takes long.

``python -m tests.hostile --seed 1 --count 1000000`` runs any number of inputs and prints seed, count and the slowest one;
the tests run a thousand. An input is a whole probe output, made from complete machines, captures and noise by a seed.
"""

from __future__ import annotations

import argparse
import random
import time
from dataclasses import dataclass

from strongroom.catalog.load import checks as catalogue
from strongroom.checks import consistency
from strongroom.checks.judge import judge
from strongroom.probe.report import SECTIONS, HostReport
from strongroom.probe.sections import split
from tests.corpus import rows
from tests.reference import make, names

_NOISE = (
    "", "\x00", "=", ":", "[", "]", "[ ", "[    0.0", "0x", "0x" + "f" * 5000, "9" * 5000, "-1", "#end", "#cut", "#unreadable:",
    "== end", "== dmesg", "\udcff\udcfe", "\u202e", "ASIDs 1 - ", "(ASIDs 99999999999999999999 - 1)", " " * 2000, "a=" * 1000,
    '"' * 501, "GPU " * 300, "[SL ZZ]", "CPUID " * 200, "eax=" * 300, "\t" * 999, "(" * 999, "SEV " * 500, "\r", "\x1b[31m",
    "virt/tdx: " * 200, "nameserver " * 200, "Id=" * 300, "- " * 999, "::::" * 500, "1." * 900,
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """How a run went; ``slowest`` is in seconds of CPU time, with the number of its input."""

    seed: int
    count: int
    slowest: float
    slowest_input: int
    seconds: float

    def __str__(self) -> str:
        return (
            f"seed {self.seed}: {self.count} inputs in {self.seconds:.1f} s,"
            f" slowest {self.slowest * 1000:.1f} ms (input {self.slowest_input})"
        )


def _pool() -> list[str]:
    lines = {line for name in names() for body in make(name).values() for line in body}
    lines |= {line for row in rows() for body in row.sections().values() for line in body}
    return sorted(lines)


def _spoil(draw: random.Random, line: str) -> str:
    kind = draw.randrange(6)
    if kind == 0 or not line:
        return draw.choice(_NOISE)
    at = draw.randrange(len(line))
    if kind == 1:
        return line[:at]
    if kind == 2:
        return line[:at] + draw.choice(_NOISE) + line[at:]
    if kind == 3:
        return line[:at] + chr(draw.choice((0, 9, 32, 127, 255, 0x2028, 0x1F600, 0xDCFF))) + line[at + 1 :]
    if kind == 4:
        return line * draw.randrange(2, 30)
    return line[at:] + line[:at]


def hostile(draw: random.Random, pool: list[str]) -> list[str]:
    """One input: a few sections of lines that are right, spoiled, or of another section."""
    lines = ["== strongroom-probe 1"]
    for name in draw.sample(SECTIONS, draw.randrange(1, 6)):
        lines.append(f"== {name}")
        for _ in range(draw.randrange(12)):
            line = draw.choice(pool)
            lines.append(_spoil(draw, line) if draw.random() < 0.7 else line)
        lines += draw.choice((["#end"], [], ["#cut"], ["#unreadable: " + draw.choice(_NOISE), "#end"]))
    return [*lines, "== end"] if draw.random() < 0.7 else lines


def run(seed: int, count: int, judge_every: int = 1) -> Outcome:
    """Parse so many inputs of a seed, and judge one in ``judge_every``; an exception names its input."""
    pool, began, slowest, slowest_input = _pool(), time.perf_counter(), 0.0, 0
    entries = catalogue()
    for number in range(count):
        lines = hostile(random.Random(f"{seed}/{number}"), pool)
        started = time.process_time()  # a busy machine is not a slow parser
        try:
            report = HostReport.of(split(lines))
            if number % judge_every == 0:
                judge(report, entries)
                consistency.compare({"a": report, "b": HostReport()})
        except Exception as error:
            raise AssertionError(f"seed {seed}, input {number}: {error!r}\n" + "\n".join(lines)) from error
        took = time.process_time() - started
        if took > slowest:
            slowest, slowest_input = took, number
    return Outcome(seed, count, slowest, slowest_input, time.perf_counter() - began)


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=1_000_000)
    arguments = parser.parse_args()
    # Judging takes ten times as long as parsing, and what is hostile is the text.
    print(run(arguments.seed, arguments.count, judge_every=16), flush=True)


if __name__ == "__main__":
    main()
