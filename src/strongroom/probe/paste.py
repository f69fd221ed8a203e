"""What people paste with the output of a command: the prompt at which they typed it, fences, and the file that grep names."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import dropwhile, takewhile

_TOOLS = (
    "cat|zcat|find|dmesg|journalctl|e?grep|zgrep|ls|less|head|tail|lscpu|cpuid|rdmsr|modprobe|lsmod|systemd-detect-virt"
)
# A prompt of sh, csh and zsh, or none; a tool's own complaint begins with its name and a colon.
_BEFORE = r"^(?:[^\"'`]{0,80}?[#$%>\u276f] ?|➜ .{1,60} )?(?:sudo )?"
PROMPT = re.compile(r"^(?:\[\S{1,64}@\S{1,64} [^\]]{1,64}\]|\S{0,80})[#$] ")
"""The start of a line at which something was typed, whatever it was."""
_COMMAND = re.compile(rf"{_BEFORE}((?:{_TOOLS})(?:\s[^:].*)?)$")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_CONFIG = re.compile(r"^(?:[^\s:]{1,120}:)?(?:\d{1,6}:)?(?:(CONFIG_\w{1,80})=(.*)|# (CONFIG_\w{1,80}) is not set)\s*$")
_BEFORE_OPTIONS = re.compile(r"^.*?\b(?:Kernel c|C)ommand line: ")

# A sentence that quotes what the kernel says, or does not say; the kernel's own lines have a stamp or begin with their subject.
_SENTENCE = re.compile(r"^[A-Za-z][A-Za-z' ,:;()-]{1,80} [\"'`“*]{1,3}(?:virt/|[a-z0-9_]{2,12}: |\w{3,20} )")


def spoken(line: str) -> bool:
    """Whether somebody wrote a line, at a prompt or about the log, that has no stamp: what it names was not printed there."""
    return bool(_COMMAND.match(line.rstrip()) or _SENTENCE.match(line))


def command(line: str) -> str | None:
    """What was typed, where the line is a command and no answer."""
    match = _COMMAND.match(line.rstrip())
    return match[1] if match else None


def answers(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Lines that are no commands and no fences, each with the command above it, or an empty string."""
    asked = ""
    for line in lines:
        if typed := command(line):
            asked = typed
        elif line.strip() and not _FENCE.match(line):
            yield asked, line


def options(lines: Sequence[str]) -> str:
    """The kernel's command line on one line, as it is read, shown at a prompt, folded by a mail, or quoted by the log."""
    below = dropwhile(PROMPT.match, (line for _, line in answers(lines)))
    said = takewhile(lambda line: not PROMPT.match(line), below)
    return _BEFORE_OPTIONS.sub("", " ".join(line.strip() for line in said))


def kconfig(lines: Sequence[str]) -> dict[str, str]:
    """A kernel's configuration, of which grep may have named the file and the line; what is not set is ``n``."""
    found = (match for line in lines if (match := _CONFIG.match(line.strip())))
    return {match[1] or match[3]: (match[2] or "").strip('"') if match[1] else "n" for match in found}
