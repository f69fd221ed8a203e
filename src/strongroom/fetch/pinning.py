"""Record the pins that are missing, and hold pins against the sums that publishers publish."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

from strongroom.errors import StrongroomError
from strongroom.fetch import registry
from strongroom.fetch.http import Client
from strongroom.model.lock import UNPINNED, Lock, LockEntry
from strongroom.report.progress import progress

# "<sum>", "<sum>  name", "<sum> *name" (sha256sum) and "SHA256 (name) = <sum>" (BSD)
_GNU = re.compile(r"([0-9A-Fa-f]{64})(?:[ \t]+\*?(\S.*))?")
_BSD = re.compile(r"SHA256 ?\((.+)\) ?= ?([0-9A-Fa-f]{64})")
_LARGEST = 4 << 20


def published(text: str, name: str) -> str | None:
    """The SHA-256 that a publisher's sums file has for a file; a file of one bare sum is for the file that it lies beside."""
    bare: list[str] = []
    for line in text.splitlines():
        if found := _BSD.fullmatch(line.strip()):
            sha256, whose = found[2], found[1]
        elif found := _GNU.fullmatch(line.strip()):
            sha256, whose = found[1], found[2] or ""
        else:
            continue
        if not whose:
            bare.append(sha256.lower())
        elif PurePosixPath(whose.strip()).name == name:
            return sha256.lower()
    return bare[0] if len(bare) == 1 else None


def differs(entry: LockEntry, sha256: str, client: Client) -> str | None:
    """What is wrong with a sum by the publisher's own file; None where it is the same, or the lock names no such file.

    Raises:
        StrongroomError: the file can't be had.
    """
    if entry.sums is None or entry.url is None:
        return None
    name = PurePosixPath(unquote(urlsplit(entry.url).path)).name
    text = client.get(entry.sums, limit=_LARGEST)[0].decode(errors="replace")
    theirs = published(text, name)
    if theirs is None:
        return f"{entry.sums}: has no SHA-256 of {name}"
    if theirs != sha256:
        return f"its SHA-256 is {sha256}, and its publisher says {theirs} ({entry.sums})"
    return None


def check(lock: Lock, client: Client) -> Iterator[str]:
    """A line for each pin that its publisher's sums file contradicts, or whose file can't be had."""
    for entry in lock.artifacts:
        if entry.sums is None or not entry.pinned or entry.sha256 is None:
            continue
        try:
            problem = differs(entry, entry.sha256, client)
        except StrongroomError as error:
            problem = str(error)
        if problem is not None:
            yield f"{entry}: {problem}"


def update(
    lock: Lock,
    arch: str | None,
    components: Sequence[str],
    client: Client,
    save: Callable[[Lock, LockEntry], None] = lambda lock, entry: None,
) -> tuple[Lock, tuple[str, ...]]:
    """Pin what is unpinned, by downloading it (files) or asking for its digest now (images).

    Pins that are there stay. An entry that can't be had, or that its publisher's sums file contradicts, stays unpinned.

    Args:
        save: is given the lock after each new pin, and the entry that was pinned.

    Returns:
        The new lock, and one line for each entry that could not be pinned.
    """
    failed = []
    for number, entry in enumerate(lock.artifacts):
        if entry.pinned or (arch and entry.arch != arch) or (components and entry.component not in components):
            continue
        try:
            pinned = _pin(entry, client)
        except StrongroomError as error:
            failed.append(f"{entry}: {error}")
            continue
        entries = (*lock.artifacts[:number], pinned, *lock.artifacts[number + 1 :])
        lock = lock.model_copy(update={"artifacts": entries})
        save(lock, pinned)
    return lock, tuple(failed)


def _pin(entry: LockEntry, client: Client) -> LockEntry:
    with progress.step(f"pinning {entry}"):
        if entry.image is not None:
            changes: dict[str, object] = {"digest": registry.resolve(entry.image, entry.arch, client)}
        else:
            assert entry.url is not None
            sha256, size = client.measure(entry.url)
            if problem := differs(entry, sha256, client):
                raise StrongroomError(problem)
            changes = {"sha256": sha256, "size": size}
    pinned = LockEntry.model_validate({**entry.model_dump(), **changes})
    assert UNPINNED not in (pinned.sha256, pinned.digest)
    return pinned
