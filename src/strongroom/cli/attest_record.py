"""The record of verdicts as files in the state folder: one a cluster, appended to, with the digest of its last line beside."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO

from strongroom import paths
from strongroom.attest import record
from strongroom.attest.base import Refused
from strongroom.attest.record import Given, Judged
from strongroom.errors import ConfigError, StrongroomError

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_BLOCK = 1 << 16
LONGEST = 256 << 20  # bytes of a line


def file_of(name: str) -> Path:
    """The record's file.

    Raises:
        ConfigError: the name is none.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(f"record: found {name!r}, allowed is a name of a-z, 0-9 and - (a cluster's)")
    return paths.state_dir() / "attestation" / f"{name}.jsonl"


def _head_of(file: Path) -> Path:
    return file.with_suffix(".head")


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with file.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
    except OSError as error:
        raise StrongroomError(f"{file}: {error.strerror or error}") from error


def append(name: str, given: Given, results: Iterable[Judged], now: datetime) -> str:
    """Append what one call found; returns the digest of the last line.

    The digest of the last line is written beside before and after: cut at any moment, the two agree.

    Raises:
        ConfigError: the name is none.
        StrongroomError: it can't be written, or what is there is not what was written last; nothing is appended then.
    """
    file = file_of(name)
    with _locked(file):
        digest, number = _last(file)
        new = list(record.lines(given, results, digest, number + 1, now))
        if longest := [line for line in new if len(line) > LONGEST]:
            raise StrongroomError(f"{file}: a line of {len(longest[0])} bytes, allowed are {LONGEST}")
        after = record.digest(new[-1])
        _write_head(file, [digest, after])
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        with os.fdopen(handle, "ab") as out:
            before = out.tell()
            try:
                out.write(b"".join(new))
                out.flush()
                os.fsync(out.fileno())
            except OSError:
                os.ftruncate(out.fileno(), before)  # a full disk leaves no half a line
                raise
        _write_head(file, [after])
    return after


def _write_head(file: Path, digests: list[str]) -> None:
    new = file.with_suffix(".head.new")
    with new.open("w", encoding="utf-8") as out:
        json.dump({"last": digests}, out)
        out.flush()
        os.fsync(out.fileno())
    new.replace(_head_of(file))


def _read_head(file: Path) -> list[str] | None:
    try:
        found = json.loads(_head_of(file).read_text(encoding="utf-8"))["last"]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, LookupError, RecursionError):
        return []
    good = isinstance(found, list) and all(isinstance(one, str) and _DIGEST.fullmatch(one) for one in found)
    return found if good else []


def _last(file: Path) -> tuple[str, int]:
    """Digest and number of the last line, when it is the one that was written last."""
    line, head = _tail(file), _read_head(file)
    hint = "`strongroom attest audit` says more; move the damaged record away to begin another"
    try:
        digest, number = record.last(line) if line else (record.FIRST, 0)
    except Refused as refused:
        raise StrongroomError(f"{file}: {refused.reason}", hint=hint) from refused
    if head is None and not line:
        return digest, number
    if head is None or digest not in head:
        raise StrongroomError(f"{file}: ends otherwise than it was written", hint=hint)
    return digest, number


def _tail(file: Path) -> bytes:
    """The last line, with its line feed where it has one; empty where there is none."""
    try:
        with file.open("rb") as source:
            end = position = source.seek(0, os.SEEK_END)
            found = b""
            while position and end - position <= LONGEST:
                step = min(_BLOCK, position)
                position -= step
                source.seek(position)
                found = source.read(step) + found
                if b"\n" in found[:-1]:
                    break
            return found[found.rfind(b"\n", 0, len(found) - 1) + 1 :]
    except FileNotFoundError:
        return b""


def opened(text: str) -> tuple[BinaryIO, list[str] | None]:
    """A record by its name, or a file with a record by its path (which has a slash or ends in .jsonl), and its head.

    Returns:
        The file, and the digests that its last line may have; None where it is a file from elsewhere.

    Raises:
        ConfigError: there is none, or it can't be read.
        Refused: there was one.
    """
    by_path = "/" in text or text.endswith(".jsonl")
    file = Path(text) if by_path else file_of(text)
    head = None if by_path else _read_head(file)
    if head is not None and not file.exists():
        raise Refused(f"{file} was removed: the digest of its last line is there still", "record")
    try:
        return file.open("rb"), None if by_path else (head or [])
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror or error}") from error


def lines(source: BinaryIO) -> Iterator[bytes]:
    """The lines of a record; one that is too long is given in part, which no line of a record is.

    Raises:
        ConfigError: it can't be read.
    """
    try:
        while line := source.readline(LONGEST + 1):
            yield line
            if len(line) > LONGEST:
                return
    except OSError as error:
        raise ConfigError(f"record: {error.strerror or error}") from error
