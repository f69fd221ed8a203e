"""One process at a time: advisory locks that end with the process that holds them.

The lock files lie in the cache, so that a lab that is gone leaves nothing behind in the state folder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager

from strongroom import paths
from strongroom.report.progress import progress


@contextmanager
def exclusive(name: str, waiting_for: str) -> Iterator[int]:
    """Hold the lock called `name`; if another process has it, say so once on stderr and wait.

    Args:
        name: file name of the lock, unique in the user's cache.
        waiting_for: what the other process does, for the line ``waiting for …``.

    Yields:
        The lock's file descriptor; a child that inherits it holds the lock until it ends too.
    """
    folder = paths.cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    # Not inheritable (Python's default): a QEMU started under the lock must not keep it.
    handle = os.open(folder / f"{name}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            progress.say(f"waiting for {waiting_for} (process {holder})")
            fcntl.flock(handle, fcntl.LOCK_EX)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield handle
    finally:
        os.close(handle)
