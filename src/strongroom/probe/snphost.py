"""``snphost ok`` and ``sevctl ok``: a tree of tests, one a line, ``[ PASS ] - caption: value``; and ``snpguest ok``, which has
the same form and tells a guest's SEV_STATUS.

Sources: virtee/snphost src/ok, whose captions changed in 2025, and which since 2026 has ``--verbose`` (by category, without
the dash) and ``--output json``; virtee/sevctl src/ok.rs, which has the older captions still; virtee/snpguest src/ok.rs.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

# In a list, a table or a journal it has something before it, and marks behind it.
_LINE = re.compile(r"\[\s*(PASS|FAIL|SKIP|WARN)\s*\]\s*(?:-\s+)?([^\s`*|].*)$")
_MARKS = " \t`*|"

_VERSION = re.compile(r"\bfirmware version: (\d{1,3}(?:\.\d{1,3}){1,2})$", re.IGNORECASE)

# Captions of other versions -> the caption that the checks ask for. SME and SNP stand before what the MSR says.
_CAPTIONS = {
    "SME": "SME in MSR",
    "SNP": "SNP in MSR",
    "SEV Firmware Version": "SEV firmware version",
    "SEV INIT": "SEV initialized",
    "SEV-ES INIT": "SEV-ES initialized",
    "SNP INIT": "SNP initialized",
    "Reading /dev/sev": "/dev/sev readable",
    "Writing /dev/sev": "/dev/sev writable",
}
# snpguest's words; where snphost says SNP, "in MSR" stands behind it.
_GUEST = re.compile(r"\[\s*(?:PASS|FAIL)\s*\]\s*-\s+(SEV|SEV-ES|SNP): (ENABLED|DISABLED)$")
# A test that fails for one of these has read nothing: the tool was run without root, or without the msr module.
_UNREAD = ("unable to open /dev/sev", "Permission denied", "MSR read failed", "Error Reading MSR")


class Answer(NamedTuple):
    """One line's verdict (PASS, FAIL, SKIP, WARN) and what stands behind its caption's colon."""

    verdict: str
    value: str


@dataclass(frozen=True)
class Snphost:
    """Caption -> answer. The tool reads CPU 0 alone, so its word on a register is no proof for the others. ``guest`` is
    snpguest's word on SEV, SEV-ES and SNP, of CPU 0, too."""

    answers: Mapping[str, Answer] = field(default_factory=dict)
    guest: Mapping[str, bool] = field(default_factory=dict)

    def get(self, caption: str) -> Answer | None:
        """The answer whose caption begins so."""
        return next((answer for key, answer in self.answers.items() if key.startswith(caption)), None)

    def passed(self, caption: str) -> bool | None:
        """Whether that line is PASS; None where there is no such line, or where it was skipped or could read nothing."""
        answer = self.get(caption)
        if answer is None or answer.verdict not in ("PASS", "FAIL"):
            return None
        if answer.verdict == "FAIL" and any(words in answer.value for words in _UNREAD):
            return None
        return answer.verdict == "PASS"


def _plain(lines: Sequence[str]) -> Sequence[str]:
    """``--output json`` as the lines that the tool prints without it; other lines as they are."""
    text = "\n".join(lines)
    try:
        tests = json.loads(text[text.index("{") : text.rindex("}") + 1])["tests"]
        return [line for test in tests for line in _sentence(test).split("\n")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return lines


def _sentence(test: dict[str, object]) -> str:
    # The message of the TCB's test is an object, whose values nobody asks for.
    message = test.get("message")
    said = f"{test['name']}: {message}" if isinstance(message, str) else str(test["name"])
    return f"[ {str(test['status']).upper()} ] - {said}"


def parse(lines: Sequence[str]) -> Snphost:
    """The lines that are tests; tails such as TCB values are left out."""
    found: dict[str, Answer] = {}
    guest: dict[str, bool] = {}
    for line in (text.rstrip(_MARKS) for text in _plain(lines)):
        if match := _GUEST.search(line):
            guest[match[1]] = match[2] == "ENABLED"
        elif match := _LINE.search(line):
            caption, _, value = match[2].partition(": ")
            caption = _CAPTIONS.get(caption.strip(), caption.strip())
            found.setdefault(caption, Answer(match[1], value.strip()))
        # One that is too old is told in a sentence, whose end is on the next line.
        if (told := _VERSION.search(line)) and (said := found.get("SEV firmware version")):
            found["SEV firmware version"] = said._replace(value=told[1])
    return Snphost(found, guest)
