"""Probes as files: ``DIR/<host>/<section>``, a support bundle that can be judged again without any host.

A host's folder also has the file ``probe`` with the schema's number. Folders that people put together by hand from
sections need none, as long as sections are half of what lies in them: /usr/bin has a ``uname`` too. They are taken for the
schema that this version writes.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from strongroom.errors import ConfigError
from strongroom.model.explain import nearest
from strongroom.probe.report import SECTIONS
from strongroom.probe.sections import HEADER, SCHEMA

MARK = "probe"
# A section is capped at 48 KiB by the probe; a file far beyond that is none.
_MOST_BYTES = 1 << 20


def save(folder: Path, host: str, sections: Mapping[str, Sequence[str]]) -> Path:
    """Write a host's sections, in place of those of an earlier probe; returns the host's folder.

    Raises:
        ConfigError: the folder cannot be written, or has something of that name that is no probe.
    """
    place, new = folder / host, folder / f".{host}.new"
    if place.exists() and not (place / MARK).is_file():
        raise ConfigError(f"{place}: exists and is no saved probe", hint="choose another folder for --save")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        (new / MARK).write_text(f"== strongroom-probe {SCHEMA}\n", encoding="utf-8")
        for name, lines in sections.items():
            text = "".join(f"{line}\n" for line in lines)
            (new / name).write_text(text, encoding="utf-8", errors="surrogateescape")
        if place.exists():
            shutil.rmtree(place)
        new.rename(place)
    except OSError as error:
        raise ConfigError(
            f"{error.filename or folder}: {error.strerror}", hint="choose another folder for --save"
        ) from error
    return place


def load(folder: Path) -> dict[str, dict[str, tuple[str, ...]]]:
    """Hosts by name, each with its sections. A folder that is itself one host's is taken as that.

    Raises:
        ConfigError: the folder is missing, has no probe in it, or one of a newer schema; one line each.
    """
    if not folder.is_dir():
        what = "not a folder" if folder.exists() else "no such folder"
        raise ConfigError(f"{folder}: {what}", hint="give --replay the folder that --save wrote")
    hosts = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")}
    found = {name: sections for name, path in hosts.items() if (sections := _host(path)) is not None}
    if not found and (own := _host(folder)) is not None:
        found = {folder.resolve().name: own}
    if not found:
        raise ConfigError(
            f"{folder}: not a probe: no host's folder with sections such as {', '.join(SECTIONS[:3])} in it",
            hint="give --replay the folder that --save wrote: DIR/<host>/<section>",
        )
    return found


def passed_over(folder: Path) -> list[str]:
    """A line for each host's folder with files that are named like no section: :func:`load` does not take them."""
    lines = []
    for place in (folder, *(path for path in sorted(folder.iterdir()) if path.is_dir())):
        files = sorted(path.name for path in place.iterdir() if path.is_file() and not path.name.startswith("."))
        strange = [name for name in files if name not in (*SECTIONS, MARK)]
        if strange:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            near = next((text for name in strange if (text := nearest(Path(name).stem, SECTIONS))), "")
            lines.append(f"{place}: passed over, being no section's name: {', '.join(strange[:3])}{more}{near}")
    return lines


def _host(path: Path) -> dict[str, tuple[str, ...]] | None:
    """A host's sections, or None where a folder is no host's."""
    marked = _schema(path / MARK)
    files = [file for name in SECTIONS if (file := path / name).is_file()]
    if not marked and (not files or 2 * len(files) < len(list(path.iterdir()))):
        return None
    return {file.name: _lines(file) for file in files}


def _schema(path: Path) -> bool:
    if not path.is_file():
        return False
    lines = _lines(path)
    match = HEADER.match(lines[0].strip()) if lines else None
    if match is None:
        found = lines[0][:40] if lines else ""
        raise ConfigError(f"{path}: not a probe: found {found!r}, allowed is '== strongroom-probe {SCHEMA}'")
    if int(match[1]) > SCHEMA:
        raise ConfigError(
            f"{path}: schema {match[1]} is newer than this version's, which is {SCHEMA}",
            hint="replay it with the strongroom that saved it, or a newer one",
        )
    return True


def _lines(path: Path) -> tuple[str, ...]:
    try:
        with path.open("rb") as file:
            data = file.read(_MOST_BYTES)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", hint="make the folder readable") from error
    return tuple(line for line in data.decode("utf-8", "surrogateescape").split("\n") if line)
