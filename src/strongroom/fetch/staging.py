"""Folders that appear complete or not at all, and that one process at a time makes.

A folder is made in ``.making-<name>`` beside its final place, which is also what is locked; a process that was killed
leaves that folder behind, and the next one empties it, or goes on in it where what lies there can be told good from bad.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.report.progress import progress


def appear(
    final: Path, make: Callable[[Path], None], usable: Callable[[Path], bool] | None = None, *, resume: bool = False
) -> Path:
    """Make a folder, unless a usable one is there.

    Args:
        final: the folder; those above it are made.
        make: fills an empty folder; with ``resume`` what an earlier one that failed left may be in it.
        usable: says whether what is at ``final`` is good, once nobody else is making it; may remove it. None: whatever is
            there is not to be touched.

    Returns:
        ``final``.

    Raises:
        StrongroomError: something else is at ``final``, or it cannot be written. Whatever ``make`` raises.
    """
    work = final.parent / f".making-{final.name}"
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        with _exclusive(work, keep=resume):
            if usable is not None and final.exists() and usable(final):
                return final
            refuse_existing(final)
            folder = work / "folder"
            folder.mkdir(exist_ok=resume)
            make(folder)
            folder.rename(final)
    except OSError as error:
        raise StrongroomError(f"{error.filename or final}: cannot be written: {error.strerror}") from error
    return final


def refuse_existing(folder: Path) -> None:
    """Raise StrongroomError if something is there: a folder of the user's is never replaced."""
    if folder.exists() or folder.is_symlink():
        raise StrongroomError(f"{folder}: is there already", hint="name a folder that doesn't exist")


@contextmanager
def _exclusive(work: Path, *, keep: bool) -> Iterator[None]:
    """Hold a lock on a folder, which is emptied before and gone afterwards; with ``keep`` only after success."""
    while True:
        work.mkdir(exist_ok=True)
        try:
            # Not through a link, which in a folder like /tmp may be anybody's: what is below is removed.
            handle = os.open(work, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            continue  # who held the lock removed it just now
        try:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                progress.say(f"waiting for another process that makes {work.name.removeprefix('.making-')}")
                fcntl.flock(handle, fcntl.LOCK_EX)
            if not _still_there(work, handle):
                continue  # who held the lock removed the folder that we waited for
            for left in () if keep else work.iterdir():
                shutil.rmtree(left)
            done = False
            try:
                yield
                done = True
            finally:
                if done or not keep:
                    shutil.rmtree(work, ignore_errors=True)
            return
        finally:
            os.close(handle)


def _still_there(folder: Path, handle: int) -> bool:
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False
