"""``snphost ok``: a tree of tests, one a line, ``[ PASS ] - caption: value``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

_LINE = re.compile(r"^\[\s*(PASS|FAIL|SKIP|WARN)\s*\]\s*-\s+(.+?)\s*$")


class Answer(NamedTuple):
    """One line's verdict (PASS, FAIL, SKIP, WARN) and what stands behind its caption's colon."""

    verdict: str
    value: str


@dataclass(frozen=True)
class Snphost:
    """Caption -> answer. The tool reads CPU 0 alone, so its word on a register is no proof for the others."""

    answers: Mapping[str, Answer] = field(default_factory=dict)

    def get(self, caption: str) -> Answer | None:
        """The answer whose caption begins so."""
        return next((answer for key, answer in self.answers.items() if key.startswith(caption)), None)

    def passed(self, caption: str) -> bool | None:
        """Whether that line is PASS; None where there is no such line, or it was skipped."""
        answer = self.get(caption)
        return None if answer is None or answer.verdict not in ("PASS", "FAIL") else answer.verdict == "PASS"


def parse(lines: Sequence[str]) -> Snphost:
    """The lines that are tests; tails such as TCB values are left out."""
    found: dict[str, Answer] = {}
    for line in lines:
        if match := _LINE.match(line.strip()):
            caption, _, value = match[2].partition(": ")
            found.setdefault(caption.strip(), Answer(match[1], value.strip()))
    return Snphost(found)
