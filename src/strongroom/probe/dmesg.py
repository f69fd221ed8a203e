"""The kernel's log, whatever printed it: dmesg, journalctl, a serial console, a mail that quotes one.

Timestamps and prefixes are taken off; what the kernel said is left. Spellings of the messages are the checks' business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from strongroom.probe import paste

_LONGEST = 2048  # twice what the kernel prints on a line; patterns search no further in text that somebody else made
_BANNER = re.compile(r"Linux version |Booting Linux on ")
_SUBJECT = re.compile(r"^\w[\w./-]{1,30}(?: [\w.:-]{1,30})?: ")  # what most lines of the kernel begin with
_FOLDED = 50  # mails are folded at 72 and more, of which the stamp is 15
_QUOTE = re.compile(r"^(?:> ?)+")
_BLANKS = re.compile(r"[ \t]{2,}")  # what was pasted into a thread may have more blanks than the kernel printed
_LEVEL = re.compile(r"^<\d{1,3}>")
# "[    1.5]", "[\t0.7]", "[ 10.16]", and "[..][    T0]" of kernels that print the caller.
# dmesg -T (in the words of any locale), dmesg --time-format=iso, and what dmesg -x puts before the stamp.
_CLOCK = re.compile(r"^(?:\[[^\[\]]{5,24} \d\d:\d\d:\d\d \d{4}\]|\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{1,6}[+-]\d\d:\d\d) ")
_FACILITY = re.compile(r"^(?:kern|user|daemon|syslog) *: *(?:emerg|alert|crit|err|warn|notice|info|debug) *: ")
_STAMP = re.compile(r"^\s*\[\s*(\d{1,9})\.(\d{1,9})\s*\](?:\s*\[\s*[TC]\d{1,9}\s*\])?\s?")
# journalctl's short and precise forms, syslog, and journalctl -o short-monotonic once its stamp is off: "host kernel: ".
_SYSLOG = re.compile(
    r"^(?:[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d(?:\.\d{1,6})? |\d{4}-\d\d-\d\dT\S{8,40} )?[\w.-]{1,64} kernel(?:\[\d{1,9}\])?: ?"
)


@dataclass(frozen=True)
class Line:
    """What the kernel said, and when (seconds since it started; None where no stamp is left)."""

    text: str
    seconds: float | None = None


@dataclass(frozen=True)
class Log:
    """The lines that were read. ``from_start`` is whether the first line is the boot's first: None where nothing says.
    ``complete`` is whether the log is also whole to its end."""

    lines: tuple[Line, ...] = ()
    from_start: bool | None = None
    complete: bool = False
    present: bool = False

    @property
    def whole(self) -> bool:
        """Whether a line that is not here was not printed since boot."""
        return self.complete and self.from_start is True

    def find(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """The last line that has the pattern: later lines overrule earlier ones."""
        if pattern not in self._found:
            found = (match for line in reversed(self.lines) if (match := pattern.search(line.text)))
            self._found[pattern] = next(found, None)
        return self._found[pattern]

    @cached_property
    def _found(self) -> dict[re.Pattern[str], re.Match[str] | None]:
        """What was looked for so far: the kind of a guest is asked by many checks, and a log has thousands of lines."""
        return {}

    def all(self, pattern: re.Pattern[str]) -> list[re.Match[str]]:
        """Every line that has the pattern."""
        return [match for line in self.lines if (match := pattern.search(line.text))]

    def since(self, pattern: re.Pattern[str]) -> Log:
        """The lines from the last one on that has the pattern; all of them where none has."""
        starts = [index for index, line in enumerate(self.lines) if pattern.search(line.text)]
        return replace(self, lines=self.lines[starts[-1] :]) if starts else self

    def last(self, *patterns: re.Pattern[str]) -> tuple[int, re.Match[str]] | None:
        """Which of several patterns came last, and its match."""
        for line in reversed(self.lines):
            for index, pattern in enumerate(patterns):
                if match := pattern.search(line.text):
                    return index, match
        return None


def _line(raw: str) -> Line:
    text = _LEVEL.sub("", _QUOTE.sub("", raw[:_LONGEST].rstrip()))
    text = _CLOCK.sub("", _FACILITY.sub("", text))
    seconds = None
    for _ in range(2):  # a syslog prefix may come before the stamp, and a hostname after it
        if stamp := _STAMP.match(text):
            seconds = float(f"{stamp[1]}.{stamp[2]}") if seconds is None else seconds
            text = text[stamp.end() :]
        if prefix := _SYSLOG.match(text):
            text = text[prefix.end() :]
    return Line(_BLANKS.sub(" ", text.strip()), seconds)


def _unfolded(lines: Iterable[Line]) -> tuple[Line, ...]:
    """Where every other line has a stamp, one without, which names no subject, goes on with what a mail folded before it."""
    found: list[Line] = []
    for line in lines:
        last = found[-1] if found else Line("")
        folded = line.seconds is None and not _SUBJECT.match(line.text)
        if folded and last.seconds is not None and _FOLDED <= len(last.text) < _LONGEST:
            found[-1] = replace(last, text=f"{last.text} {line.text}"[:_LONGEST])
        else:
            found.append(line)
    return tuple(found)


def parse(lines: Sequence[str], *, complete: bool = False, present: bool = True) -> Log:
    """A log of lines. Without the probe's end mark it is never whole."""
    parsed = _unfolded(
        line for line in map(_line, lines) if line.text and not (line.seconds is None and paste.spoken(line.text))
    )
    # Of several boots, one after the other in a file, the last is the one that runs.
    boots = [number for number, line in enumerate(parsed) if _BANNER.match(line.text)]
    parsed = parsed[boots[-1] if len(boots) > 1 else 0 :]
    stamped = next((line.seconds for line in parsed if line.seconds is not None), None)
    banner = bool(parsed) and bool(_BANNER.match(parsed[0].text))
    start = None if stamped is None and not banner else banner or stamped == 0.0
    return Log(parsed, start, complete, present)
