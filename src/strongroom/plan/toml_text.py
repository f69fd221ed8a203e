"""One key of a TOML text changed or taken out, and every other byte left as it was.

A text can be written in many ways (tables, dotted keys, inline tables, tables in several places), and no single way of
editing serves them all. So each edit has several ways, tomlkit's first; a result counts only if the standard library reads
from it exactly what was meant, and if it differs from the text in one place alone.
"""

from __future__ import annotations

import contextlib
import copy
import re
import tomllib
from collections.abc import Callable, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import TOMLKitError
from tomlkit.items import AbstractTable, InlineTable, SingleKey

from strongroom.errors import StrongroomError

Path = tuple[str, ...]
MISSING: Any = object()
"""What :func:`get` finds where there is nothing."""

MARK = "strongroom"
"""The comment behind keys that we add: it says whose they are, and goes with them."""

# What tomlkit raises, or its own mistakes do, where it meets a form that it cannot edit; tomllib's error is a ValueError.
_CANNOT = (TOMLKitError, LookupError, TypeError, ValueError, AttributeError)
_LONGEST = 50
"""Lines of one value; longer ones are not looked at."""
_BARE = re.compile(r"[A-Za-z0-9_-]+")
_COMMENT = re.compile(r"""(?:[^"'#]|"(?:\\.|[^"\\])*"|'[^']*')*(#.*)""")
"""The comment at the end of a line, a line of an array too; no ``#`` in a string begins one."""


class Unmergeable(StrongroomError):
    """The file is no TOML, or has something else where a setting should go; nothing was changed."""


def dotted(path: Path) -> str:
    """A path as TOML writes it."""
    return ".".join(part if _BARE.fullmatch(part) else SingleKey(part).as_string() for part in path)


def parse(text: str, where: str) -> dict[str, Any]:
    """What a text says.

    Raises:
        Unmergeable: it is no TOML; the line says where.
    """
    if text.startswith("\ufeff"):
        # containerd 1.7 passes over one (go-toml 1), 2.x refuses it (go-toml 2, "invalid character at start of key").
        raise Unmergeable(
            f"{where}:1: not valid TOML: it begins with a byte order mark, which cannot be seen and containerd 2 does not take",
            hint="save the file as UTF-8 without one; it was not changed",
        )
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        said = re.match(r"(.*?) \(at (?:line (\d+), column \d+|end of document)\)$", str(error), re.DOTALL)
        line = (said and said[2]) or str(text.count("\n") + 1)
        raise Unmergeable(
            f"{where}:{line}: not valid TOML: {said[1] if said else error}", hint="mend the file; it was not changed"
        ) from error


def get(document: Any, path: Path) -> Any:
    """The value at a path, or :data:`MISSING`."""
    for part in path:
        if not isinstance(document, dict) or part not in document:
            return MISSING
        document = document[part]
    return document


def put(text: str, path: Path, value: Any, where: str) -> str:
    """The text with a key at that value.

    Raises:
        Unmergeable: something that is no table is in the way, or the text is written in a way that cannot be edited.
    """
    wanted = copy.deepcopy(parse(text, where))
    table: Any = wanted
    for depth, part in enumerate(path[:-1], 1):
        table = table.setdefault(part, {})
        if not isinstance(table, dict):
            found = f"{dotted(path[:depth])}: found {type(table).__name__}, allowed is a table"
            raise Unmergeable(f"{where}: {found}", hint="mend the file; it was not changed")
    table[path[-1]] = value
    ways = [lambda: _put_by_tomlkit(text, path, value), lambda: _put_line(text, path, value)]
    if isinstance(value, list):
        ways = [lambda: _put_items(text, path, value), lambda: _drop_items(text, path, value), *ways]
    # A table that has no place of its own yet gets one at the end, where all of ours stand together.
    ways.insert(len(ways) if _has_place(text, path[:-1]) else 0, lambda: _append_table(text, path, value))
    return _first_right(text, wanted, ways, path, where, keep_comment=True)


def drop(text: str, path: Path, where: str) -> str:
    """The text without a key.

    Raises:
        Unmergeable: it cannot be taken out without touching something else.
    """
    ways = [lambda: _drop_line(text, path), lambda: _drop_by_tomlkit(text, path)]
    return _first_right(text, _less(parse(text, where), path), ways, path, where, keep_comment=False)


def drop_tables(text: str, top: Path, bottom: Path, where: str) -> str:
    """The text without an empty table ``bottom`` and those above it, up to ``top``, which hold nothing else.

    Raises:
        Unmergeable: as :func:`drop`.
    """
    ways = [lambda: _drop_headers(text, top, bottom), lambda: _drop_by_tomlkit(text, top)]
    return _first_right(text, _less(parse(text, where), top), ways, top, where, keep_comment=False)


def _less(document: dict[str, Any], path: Path) -> dict[str, Any]:
    result = copy.deepcopy(document)
    del get(result, path[:-1])[path[-1]]
    return result


def _first_right(
    text: str, wanted: Any, ways: Sequence[Callable[[], str]], path: Path, where: str, *, keep_comment: bool
) -> str:
    for way in ways:
        try:
            result = way()
            if tomllib.loads(result) == wanted and _is_local(text, result, keep_comment):
                return result
        except _CANNOT:
            continue
    raise Unmergeable(
        f"{where}: {dotted(path)}: cannot be changed without touching what is not strongroom's",
        hint="write that part of the file as plain [tables], then run it again",
    )


def _is_local(old: str, new: str, keep_comment: bool) -> bool:
    """Whether two texts differ in one place, and no comment was lost there."""
    before, after = old.splitlines(), new.splitlines()
    start = 0
    while start < min(len(before), len(after)) and before[start] == after[start]:
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and before[-1 - end] == after[-1 - end]:
        end += 1
    gone, come = before[start : len(before) - end], "\n".join(after[start : len(after) - end])
    if any(line.lstrip().startswith("#") for line in gone):
        return False
    return not keep_comment or all(_comment(line) in come for line in gone)


def _comment(line: str) -> str:
    found = _COMMENT.match(line)
    return found[1].rstrip() if found else ""


def _table(document: Any, path: Path) -> Any:
    for part in path:
        document = document[part]
    return document


def _has_place(text: str, path: Path) -> bool:
    """Whether a table stands in the text itself, rather than being implied by the tables below it."""
    try:
        table = _table(tomlkit.parse(text), path)
    except _CANNOT:
        return False
    return not getattr(table, "is_super_table", lambda: False)()


def _line(path: Path, value: Any) -> str:
    return f"{dotted(path[-1:])} = {tomlkit.item(value).as_string()} # {MARK}"


def _put_by_tomlkit(text: str, path: Path, value: Any) -> str:
    document = tomlkit.parse(text)
    table: Any = document
    for part in path[:-1]:
        if part not in table:
            table[part] = tomlkit.inline_table() if isinstance(table, InlineTable) else tomlkit.table()
        table = table[part]
    if path[-1] in table:
        # A boolean comes out of a table as Python's own, which knows nothing of the comment behind it.
        container: Any = table.value if isinstance(table, AbstractTable) else table
        old, new = container.item(path[-1]).trivia, tomlkit.item(value)
        new.trivia.indent, new.trivia.comment_ws = old.indent, old.comment_ws
        new.trivia.comment, new.trivia.trail = old.comment, old.trail
        table[path[-1]] = new
    elif isinstance(table, InlineTable):  # there is no room for a comment inside one
        table[path[-1]] = value
    else:
        table[path[-1]] = tomlkit.item(value).comment(MARK)
    return tomlkit.dumps(document)


def _put_items(text: str, path: Path, value: Sequence[Any]) -> str:
    """A list with items more or less, where the others stay as they stand, each with its comment.

    The list's own lines are edited alone where it has any: tomlkit rewrites tables elsewhere that stand out of order.
    """
    lines = text.splitlines(keepends=True)
    with contextlib.suppress(LookupError):
        _, row, end = _find(lines, path)
        if row is not None and len(lines[row:end]) < len(lines):
            lines[row:end] = [_put_items("".join(lines[row:end]), path[-1:], value)]
            return "".join(lines)
    document = tomlkit.parse(text)
    array: Any = _table(document, path)
    for item in [item for item in array if item not in value]:
        array.remove(item)
    for place, item in enumerate(value):
        if place == len(array) or array[place] != item:
            array.insert(place, item)
    return tomlkit.dumps(document)


def _drop_items(text: str, path: Path, value: Sequence[Any]) -> str:
    """A list with items less, where also their comments stay."""
    lines = text.splitlines(keepends=True)
    _, row, end = _find(lines, path)
    found = "".join(lines[row:end])
    for item in _table(tomllib.loads(text), path):
        if item not in value:
            found = re.sub(rf"""(["']){re.escape(item)}\1[ \t]*,?[ \t]*""", "", found, count=1)
    lines[row:end] = [found]
    return "".join(lines)


def _append_table(text: str, path: Path, value: Any) -> str:
    if len(path) == 1:
        raise ValueError("the root table cannot be continued at the end of a file")
    start = text if not text or text.endswith("\n") else text + "\n"
    return f"{start}\n[{dotted(path[:-1])}]\n{_line(path, value)}\n"


def _put_line(text: str, path: Path, value: Any) -> str:
    lines = text.splitlines(keepends=True)
    if lines and not lines[-1].endswith("\n"):
        lines[-1] += "\n"
    header, row, end = _find(lines, path)
    if row is None:
        lines.insert(header + 1, f"{_line(path, value)}\n")
    else:
        lines[row:end] = [_put_by_tomlkit("".join(lines[row:end]), path[-1:], value)]
    return "".join(lines)


def _drop_line(text: str, path: Path) -> str:
    lines = text.splitlines(keepends=True)
    _, row, end = _find(lines, path)
    if row is None:
        raise LookupError(path)
    del lines[row:end]
    return "".join(lines)


def _drop_headers(text: str, top: Path, bottom: Path) -> str:
    """Without the headers of empty tables, and the blank line before each, which came with it."""
    lines = text.splitlines(keepends=True)
    for depth in range(len(bottom), len(top) - 1, -1):
        with contextlib.suppress(LookupError):  # a table that is only implied has no header
            header, _, _ = _find(lines, (*bottom[:depth], ""))
            start = header - (header > 0 and not lines[header - 1].strip())
            del lines[start : header + 1]
    return "".join(lines)


def _drop_by_tomlkit(text: str, path: Path) -> str:
    document = tomlkit.parse(text)
    del _table(document, path[:-1])[path[-1]]
    return tomlkit.dumps(document)


def _find(lines: Sequence[str], path: Path) -> tuple[int, int | None, int]:
    """The line of a table's header (-1: the root's), and first line and end of a key in it that has lines of its own."""
    current: Path = ()
    header = -1 if len(path) == 1 else None
    for number, line in enumerate(lines):
        if line.lstrip().startswith("["):
            current = _header(line) or current
            header = number if current == path[:-1] else header
        elif current == path[:-1] and (end := _end(lines, number, path[-1])):
            return (header if header is not None else -1), number, end
    if header is None:
        raise LookupError(path)
    return header, None, 0


def _header(line: str) -> Path | None:
    try:
        table: Any = tomllib.loads(line)
    except tomllib.TOMLDecodeError:
        return None
    path: list[str] = []
    while isinstance(table, dict) and table:
        ((part, table),) = table.items()
        path.append(part)
    return tuple(path) if table == {} else None


def _end(lines: Sequence[str], start: int, key: str) -> int:
    """Where a key's value ends that begins on a line (an array may have many); 0: the line is not this key's."""
    for end in range(start + 1, min(len(lines), start + _LONGEST) + 1):
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return end if list(tomllib.loads("".join(lines[start:end]))) == [key] else 0
    return 0
