"""Evidence and verdicts for people: 80 columns, no character of a stranger's that steers a terminal."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping

from strongroom.attest.base import plain, printable

WIDTH = 80
_INDENT = 2
_HEX_BREAK = 32  # digits that stay together in a wrapped line, at least


def lines(fields: Mapping[str, object], depth: int = 0) -> Iterator[str]:
    """A tree of facts, a line a leaf, wrapped."""
    for name, value in plain(fields).items():
        yield from _line(str(name), value, depth)


def _line(name: str, value: object, depth: int) -> Iterator[str]:
    pad = " " * (_INDENT * depth)
    label = f"{pad}{printable(name)}:"
    if isinstance(value, dict) and value:
        yield label
        for inner, member in value.items():
            yield from _line(str(inner), member, depth + 1)
    elif isinstance(value, list) and any(isinstance(one, dict | list) for one in value):
        yield label
        for number, member in enumerate(value):
            yield from _line(str(number), member, depth + 1)
    else:
        yield from _leaf(label, _text(value), len(pad) + _INDENT)


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value) or "none"
    if value in (None, "", {}):
        return "none"
    return printable(str(value))


def _leaf(label: str, text: str, indent: int) -> Iterator[str]:
    if len(label) + 1 + len(text) <= WIDTH:
        yield f"{label} {text}"
        return
    yield label
    pad = " " * min(indent, WIDTH // 2)
    width = WIDTH - len(pad)
    if " " not in text:
        width -= width % _HEX_BREAK
    for part in textwrap.wrap(text, max(width, _HEX_BREAK), break_on_hyphens=False) or [text]:
        yield pad + part
