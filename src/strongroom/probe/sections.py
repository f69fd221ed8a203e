"""The probe's output as named sections, and what is known of each: its lines, whether it is whole, why it is not there.

Inside a section, lines that begin with a marker are the probe's own words; all others are the host's:
``#end`` the section came to its end; ``#cut`` its end was lost to the cap; ``#unreadable: <reason>`` something could not be
read, so that the section is not whole;
``#source: <name>`` where it came from; ``#filter: <regex>`` which lines of the source are here.
Text found in the wild has none of them: what it holds is taken, and what it lacks proves nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

SCHEMA = 1
"""What this version writes and reads: the number in ``== strongroom-probe 1``, the first line of the output."""

HEADER = re.compile(r"^== strongroom-probe (\d{1,9})$")
_HEADING = re.compile(r"^== ([a-z][a-z0-9-]*)$")
END = "#end"
RECORD = "\x1e"
"""What the probe ends a line with, so that all of its output travels as one."""
_CODE = 4
"""By how many blanks Markdown indents code."""
_MARKERS = ("#cut", "#unreadable:", "#source:", "#filter:")


@dataclass(frozen=True)
class Section:
    """One section. ``present`` is whether it was probed at all, ``complete`` whether nothing of it is missing."""

    lines: tuple[str, ...] = ()
    present: bool = False
    complete: bool = False
    reasons: tuple[str, ...] = ()
    source: str | None = None

    @property
    def why(self) -> str:
        """Why something is not here, in the probe's words where it gave some."""
        return "; ".join(self.reasons) or ("not in what was probed" if self.present else "not probed")


_QUOTE = re.compile(r"^(?:> ?)+")
# With its escape; as a terminal or a site shows that; and grep's colours where it was lost.
_COLOUR = re.compile(r"(?:\x1b|\^\[|\ufffd)\[[0-9;]*[A-Za-z]|\[(?:\d\d;\d\d)?m\[K")
_MARGIN = re.compile(r"[ \t]*")
# What a page puts where blanks were, and at the start of a file or within a word.
_UNSEEN = {0xA0: " ", 0x2007: " ", 0x202F: " ", 0x200B: None, 0xFEFF: None}


def clean(line: str) -> str:
    """A line without colours, and with a mark in place of what no terminal and no JSON should be handed: a host's text ends
    up in reports."""
    text = line.rstrip("\r\n")
    if "[K" not in text and (text.isprintable() or text.replace("\t", " ").isprintable()):
        return text
    text = _COLOUR.sub("", text).translate(_UNSEEN)
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in text)


def _unquoted(lines: list[str]) -> list[str]:
    """Without the marks of a quotation, and without the margin of a block of code, where all lines have them: what was pasted
    into a thread is."""
    if all(line.startswith(">") for line in lines if line.strip()):
        lines = [_QUOTE.sub("", line) for line in lines]
    margins = [match[0] for line in lines if line.strip() and (match := _MARGIN.match(line))]
    margin = min(margins, key=len, default="")
    indented = len(margin.expandtabs()) >= _CODE and all(one.startswith(margin) for one in margins)
    return [line.removeprefix(margin) for line in lines] if indented else lines


def split(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name -> lines, markers included, of the probe's output as it came. The last section of an output that was cut short
    is dropped unless it is whole: half a section proves nothing."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    last = ""
    for line in (part for text in lines for part in text.split(RECORD)):
        ours = line.startswith("== ")
        if ours and (match := _HEADING.match(line)):
            last = match[1]
            current = found.setdefault(last, [])
        elif ours and HEADER.match(line):
            current = None
        elif current is not None and line:
            current.append(line)
    if last != "end" and END not in found.get(last, ()):
        found.pop(last, None)
    return {name: tuple(body) for name, body in found.items() if name != "end"}


def section(name: str, sections: Mapping[str, Sequence[str]]) -> Section:
    """A section by name; one that is not there is neither present nor complete."""
    if name not in sections:
        return Section()
    lines: list[str] = []
    reasons: list[str] = []
    complete, cut, source = False, False, None
    for text in _unquoted([clean(line) for line in sections[name]]):
        if text == END:
            complete = True
        elif text.startswith(_MARKERS):
            key, _, value = text.partition(":")
            cut |= key == "#cut"
            if key == "#unreadable":
                reasons.append(value.strip())
            elif key == "#source":
                source = value.strip()
            elif cut:
                reasons.append("cut at the probe's cap")
        elif text:
            lines.append(text)
    return Section(tuple(lines), True, complete and not cut and not reasons, tuple(dict.fromkeys(reasons)), source)
