"""The kernel's command line as text: read, judged against what is wanted, edited without touching the rest.

The kernel's own rules (lib/cmdline.c, kernel/params.c): blanks part options except between double quotes, a dash in a
name is an underscore, what comes after ``--`` is for init.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from strongroom.model.host_setup import KernelOption, RefusedOption

_WORD = re.compile(r'(?:[^\s"]|"[^"]*(?:"|\Z))+')


@dataclass(frozen=True)
class Word:
    """One option as it stands there: ``value`` None where it has none."""

    name: str
    value: str | None
    text: str
    start: int
    end: int


def parse(line: str) -> list[Word]:
    """The kernel's options, without those after ``--``."""
    found = []
    for match in _WORD.finditer(line):
        if match[0] == "--":
            break
        name, mark, value = match[0].replace('"', "").partition("=")
        found.append(Word(name.replace("-", "_"), value if mark else None, match[0], *match.span()))
    return found


def named(words: Iterable[Word], name: str) -> list[Word]:
    """The words that set an option."""
    same = name.replace("-", "_")
    return [word for word in words if word.name == same]


def means(option: KernelOption, value: str | None) -> bool:
    """Whether a value is the one that is wanted."""
    return value == option.value or (value is not None and value in option.alike)


def held(option: KernelOption, words: Iterable[Word]) -> bool:
    """Whether an option is there as wanted, and nowhere otherwise."""
    found = named(words, option.name)
    return bool(found) and all(means(option, word.value) for word in found)


def missing(wanted: Iterable[KernelOption], line: str) -> list[KernelOption]:
    """The options that a command line has not."""
    words = parse(line)
    return [option for option in wanted if not named(words, option.name)]


@dataclass(frozen=True)
class Contradiction:
    """A word that somebody else has put there, and that does not go with what is wanted."""

    text: str
    why: str
    instead: str
    """What to do with it."""


def contradictions(wanted: Sequence[KernelOption], refused: Sequence[RefusedOption], line: str) -> list[Contradiction]:
    """All of them, each once."""
    words, found = parse(line), {}
    for option in wanted:
        for word in named(words, option.name):
            if not means(option, word.value):
                found[word.text] = Contradiction(word.text, option.why, f"make it {option.text}, or take it out")
    for one in refused:
        for word in named(words, one.name):
            # The kernel takes a list, and each word of it counts (arch/x86/kernel/pci-dma.c, iommu_setup).
            if not one.values or not set(one.values).isdisjoint((word.value or "").split(",")):
                found[word.text] = Contradiction(word.text, one.why, "take it out")
    return list(found.values())


def add(line: str, options: Sequence[str]) -> str:
    """The line with options at the end of the kernel's part; all else to the byte."""
    if not options:
        return line
    words = parse(line)
    at = words[-1].end if words else len(line) - len(line.lstrip())
    before, after = line[:at], line[at:]
    gap = " " if words else ""
    return f"{before}{gap}{' '.join(options)}{' ' if not words and after.strip() else ''}{after}"


def remove(line: str, options: Sequence[str]) -> str:
    """The line without exactly these words, and without the blanks in front of each; all else to the byte."""
    for word in reversed(parse(line)):
        if word.text in options:
            start = len(line[: word.start].rstrip(" \t"))
            end = word.end
            if not line[:start].strip():  # the first word: the blanks behind it go
                start, end = word.start, len(line) - len(line[word.end :].lstrip(" \t"))
            line = line[:start] + line[end:]
    return line
