"""Single settings in a TOML file that belongs to somebody else: merged in, and taken out again.

Only the keys that a setting names are looked at; all else in the file is its owner's and stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from strongroom.plan.toml_text import MISSING, Path, Unmergeable, dotted, drop, drop_tables, get, parse, put

Value = str | bool | int | tuple[str, ...]
Kind = Literal["is", "has", "lacks"]


@dataclass(frozen=True)
class Setting:
    """What one key must be: it ``is`` a value, or, a list of strings, ``has`` or ``lacks`` an item."""

    kind: Kind
    path: Path
    value: Value

    def __str__(self) -> str:
        return dotted(self.path)

    def holds(self, document: dict[str, Any]) -> bool:
        """Whether a document has it so."""
        now = get(document, self.path)
        if self.kind == "is":
            # 1 == True in Python, and not in TOML.
            return bool(now == _plain(self.value) and type(now) is type(_plain(self.value)))
        return (isinstance(now, list) and self.value in now) == (self.kind == "has")


def wanting(document: dict[str, Any], settings: Iterable[Setting]) -> list[Setting]:
    """The settings that a document does not have."""
    return [setting for setting in settings if not setting.holds(document)]


def merge(text: str, settings: Sequence[Setting], where: str) -> str:
    """The text with all settings in it; the same text when it has them already.

    Raises:
        Unmergeable: it is no TOML, or something else is where a setting should go.
    """
    for setting in wanting(parse(text, where), settings):
        now = get(parse(text, where), setting.path)
        text = put(text, setting.path, _wanted(now, setting, where), where)
    return text


def unmerge(text: str, original: str, settings: Sequence[Setting], where: str) -> str:
    """The text without our settings: what they replaced in ``original`` is put back, what they added is taken out.

    A key that somebody else has changed since is theirs by now, and stays.
    """
    before = parse(original, where)
    for setting in reversed(settings):
        document = parse(text, where)
        now, then = get(document, setting.path), get(before, setting.path)
        if not setting.holds(document) or setting.holds(before) or (now is MISSING and setting.kind == "is"):
            continue
        back = _restored(now, then, setting)
        text = put(text, setting.path, back, where) if back is not MISSING else _without(text, before, setting, where)
    return text


def _plain(value: Value) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _wanted(now: Any, setting: Setting, where: str) -> Any:
    if setting.kind == "is":
        return _plain(setting.value)
    if now is MISSING:
        return [setting.value]
    if not isinstance(now, list):
        raise Unmergeable(
            f"{where}: {setting}: found {type(now).__name__}, allowed is a list",
            hint="mend the file; it was not changed",
        )
    return [item for item in now if item != setting.value] + [setting.value] * (setting.kind == "has")


def _restored(now: Any, then: Any, setting: Setting) -> Any:
    """The value that an undone setting leaves behind; MISSING: none."""
    if setting.kind == "is":
        return then
    if setting.kind == "has":
        rest = [item for item in now if item != setting.value]
        return rest if rest or then is not MISSING else MISSING
    rest = [] if now is MISSING else now
    place = then.index(setting.value)
    return [*rest[:place], setting.value, *rest[place:]]


def _without(text: str, before: dict[str, Any], setting: Setting, where: str) -> str:
    """Without the key, and without the tables that are empty now and were not there before."""
    text = drop(text, setting.path, where)
    document, bottom = parse(text, where), setting.path[:-1]
    top = bottom
    while top and _only(document, top) and get(before, top) is MISSING:
        top = top[:-1]
    if len(top) == len(bottom):
        return text
    try:
        return drop_tables(text, bottom[: len(top) + 1], bottom, where)
    except Unmergeable:  # written in a way that cannot be taken apart; an empty table does no harm
        return text


def _only(document: dict[str, Any], path: Path) -> bool:
    """Whether a table holds nothing, or nothing but an empty table that holds nothing, and so on."""
    table = get(document, path)
    while isinstance(table, dict) and len(table) == 1:
        (table,) = table.values()
    return bool(table == {})
