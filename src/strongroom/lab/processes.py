"""The processes of a lab: found and ended by their own command line, never by a number alone.

A process id may belong to somebody else by the time that it is used. A process of a lab is recognised by an argument
that no other has: the path of its pid file, inside the lab's folder.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from strongroom.errors import StrongroomError

_PROC = Path("/proc")
_children: dict[int, subprocess.Popen[bytes]] = {}
"""Started by this very process: they need a wait() after their end, or they stay as zombies."""


def command_line(pid: int, proc: Path = _PROC) -> list[str]:
    """Arguments of a process; empty when it is gone, a zombie, or a thread of the kernel."""
    try:
        raw = (proc / str(pid) / "cmdline").read_bytes()
    except OSError:
        return []
    return [part.decode(errors="surrogateescape") for part in raw.split(b"\0")[:-1]]


def is_ours(arguments: Sequence[str], program: str, pid_file: Path) -> bool:
    """Whether these are the arguments of the `program` that was started with that pid file."""
    named = {str(pid_file), f"file={pid_file}"}
    return bool(arguments) and os.path.basename(arguments[0]) == program and not named.isdisjoint(arguments[1:])


def find(program: str, pid_file: Path, proc: Path = _PROC) -> int | None:
    """The id of the running process; None when it isn't running.

    The pid file is only a hint: it may be stale, or not written yet when the controller was killed.
    """
    with contextlib.suppress(OSError, ValueError):
        pid = int(pid_file.read_text())
        if is_ours(command_line(pid, proc), program, pid_file):
            return pid
    for entry in proc.iterdir():
        if entry.name.isdecimal() and is_ours(command_line(int(entry.name), proc), program, pid_file):
            return int(entry.name)
    return None


def start(command: Sequence[str], log: Path) -> int:
    """Start a process that outlives this one: own session, no terminal, no inherited file but its log.

    Returns:
        Its process id.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(
            list(command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            start_new_session=True,
            close_fds=True,
        )
    _children[child.pid] = child
    # The kernel shows the arguments a moment after the start, and until then the process is nobody's.
    while child.poll() is None and not command_line(child.pid):
        time.sleep(0.001)
    return child.pid


def alive(pid: int) -> bool:
    """Whether a process that was found or started here still runs; one that ended is waited for."""
    if child := _children.get(pid):
        if child.poll() is None:
            return True
        del _children[pid]
        return False
    return bool(command_line(pid))


def end(program: str, pid_file: Path, *, gently: bool = False, seconds: float = 10.0) -> bool:
    """End the process that was started with that pid file, and wait until it is gone.

    Args:
        program: base name of its executable.
        pid_file: the argument that makes it ours.
        gently: SIGTERM first, and SIGKILL after half of the time.
        seconds: how long to wait.

    Returns:
        Whether there was one.

    Raises:
        StrongroomError: it can't be ended.
    """
    pid = find(program, pid_file)
    if pid is None:
        return False
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        # From here on the handle means one process for ever; was it still ours when the handle was made?
        if not is_ours(command_line(pid), program, pid_file):
            return False
        stages = [signal.SIGTERM, signal.SIGKILL] if gently else [signal.SIGKILL]
        for number in stages:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(handle, number)
            if select.select([handle], [], [], seconds / len(stages))[0]:
                break
        else:
            raise StrongroomError(f"lab: process {pid} ({program}) doesn't end after SIGKILL and {seconds:.0f} s")
    except PermissionError:
        raise StrongroomError(f"lab: process {pid} ({program}) belongs to another user") from None
    finally:
        os.close(handle)
        alive(pid)
    return True


def uptime(pid: int, proc: Path = _PROC) -> float | None:
    """Seconds since a process started; None when it is gone."""
    try:
        after_name = (proc / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    started = int(after_name[19]) / os.sysconf("SC_CLK_TCK")
    return max(0.0, time.clock_gettime(time.CLOCK_BOOTTIME) - started)
