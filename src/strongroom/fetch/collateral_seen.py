"""The highest numbers of collateral that were ever seen, kept in the state folder: collateral never goes back.

An older TCB info or CRL may be in date still, and signed; who can choose which one is used could hide what the newer one
says. Numbers are written before the cache is, so that a crash leaves the stricter of the two.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path

from strongroom import paths
from strongroom.attest.base import Refused
from strongroom.attest.marks import Mark
from strongroom.errors import StrongroomError

SCHEMA = "strongroom.dev/collateral-seen/v1"


def path(folder: Path | None = None) -> Path:
    """The file that keeps them: in that folder, or in the user's state folder."""
    return (folder or paths.state_dir() / "collateral") / "seen.json"


def advance(marks: Iterable[Mark], folder: Path | None = None) -> None:
    """Keep these numbers, or refuse all of them when one of them goes back. No marks touch nothing.

    Args:
        marks: of collateral that holds.
        folder: where they are kept; the user's state folder unless told.

    Raises:
        Refused: a number is lower than the highest that was seen; both are named.
        StrongroomError: the file is damaged or can't be written; without it nothing can be said.
    """
    file, marks = path(folder), tuple(marks)
    if not marks:
        return
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (file.parent / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = _read(file)
            seen = dict(before)
            for mark in marks:
                old = seen.get(mark.name)
                if old is not None and mark.before(old):
                    raise Refused(
                        f"{mark.name} has {mark}, and {old} was seen before; going back is refused",
                        mark.field,
                        hint=f"what was seen is kept in {file}",
                    )
                seen[mark.name] = mark
            if seen != before:
                _write(file, seen)
    except OSError as error:
        raise StrongroomError(f"{file}: {error.strerror or error}") from error


def _read(file: Path) -> dict[str, Mark]:
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise _damaged(file) from error
    try:
        value = json.loads(text)
        if value["schema"] != SCHEMA:
            raise ValueError
        return {name: _mark(name, one) for name, one in value["seen"].items()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise _damaged(file) from error


def _mark(name: str, value: Mapping[str, object]) -> Mark:
    field, number, issued = value["field"], value["number"], datetime.fromisoformat(str(value["issued"]))
    if not isinstance(field, str) or not (number is None or type(number) is int) or issued.tzinfo is None:
        raise ValueError
    return Mark(name, field, number, issued)


def _damaged(file: Path) -> StrongroomError:
    return StrongroomError(
        f"{file}: is not what was written there; without it, collateral that goes back can't be told",
        hint="restore it; whoever removes it accepts any collateral that is in date",
    )


def _write(file: Path, seen: Mapping[str, Mark]) -> None:
    marks = {
        name: {"field": one.field, "number": one.number, "issued": one.issued.isoformat()} for name, one in seen.items()
    }
    text = json.dumps({"schema": SCHEMA, "seen": dict(sorted(marks.items()))}, indent=2)
    new = file.with_name(f".{file.name}.new")
    with new.open("w", encoding="utf-8") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    new.replace(file)
