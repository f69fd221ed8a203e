"""Ports of 127.0.0.1 for a lab's hosts: free now, and not promised to another lab."""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterable

from strongroom.errors import StrongroomError
from strongroom.lab import state

RANGE = range(20000, 30000)
"""Below the ports that Linux gives to outgoing connections (32768 and up), which come and go."""


def is_free(port: int) -> bool:
    """Whether a server could listen on that port of 127.0.0.1 now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listener:
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen(1)
        except OSError:
            return False
    return True


def promised() -> set[int]:
    """The ports of all labs of this user, running or not; a damaged lab promises none."""
    found: set[int] = set()
    for name in state.names():
        try:
            lab = state.load(name)
        except StrongroomError:
            continue
        found.update(port for host in lab.hosts for port in (host.ssh_port, host.api_port))
    return found


def pick(count: int, taken: Iterable[int], free: Callable[[int], bool] = is_free) -> list[int]:
    """Choose ports. Hold the lock of all labs from here until ``lab.json`` is written.

    The start is random, so that labs of users who don't see each other's state seldom ask for the same ports.

    Raises:
        StrongroomError: there are too few.
    """
    taken = set(taken)
    start = random.randrange(len(RANGE))  # noqa: S311  spreads load, guards nothing
    found: list[int] = []
    for step in range(len(RANGE)):
        if len(found) == count:
            break
        port = RANGE[(start + step) % len(RANGE)]
        if port not in taken and free(port):
            found.append(port)
    if len(found) < count:
        raise StrongroomError(
            f"lab: {len(found)} free ports in 127.0.0.1:{RANGE[0]}-{RANGE[-1]}; {count} are needed",
            hint="end labs with: strongroom lab down",
        )
    return found
