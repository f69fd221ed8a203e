"""Reboots a host and waits until it is back, over a connection that is expected to drop on the way.

Whether a host has been down is told by its boot id alone. An answer that never came says nothing: the order may have
arrived or not, so it is given again only to a host that was seen up, unchanged, for long enough.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Protocol

import gevent
from gevent.lock import BoundedSemaphore

from strongroom.errors import ConnectionLost, StrongroomError
from strongroom.plan.reboot import BOOT_ID
from strongroom.plan.resource import Step

_POLL = 5
# A kubelet that lets its pods end may hold a shutdown for minutes.
_GRACE = 300
_ORDERS = 2
# sshd answers before the units that a plan asks about have started.
_SETTLE = "timeout 300 systemctl is-system-running --wait >/dev/null 2>&1 || true"


class Target(Protocol):
    """A host to reboot."""

    @property
    def name(self) -> str:
        """Its name in the inventory."""
        ...

    def run(self, script: str, *, doing: str, timeout: int = 900) -> list[str]:
        """Run a script and return its output's lines."""
        ...

    def carry_out(self, step: Step) -> None:
        """Carry one step out."""
        ...

    def reconnect(self) -> None:
        """Connect anew, with all that holds of a connection."""
        ...


@dataclass
class Reboots:
    """All reboots of one run.

    ``around`` is entered for a host while it is a member of a running cluster (to cordon and drain it before, and to let
    pods back after); one host at a time, and none after one that did not come back.
    """

    minutes: int
    around: Callable[[str], AbstractContextManager[object]] = nullcontext
    sleep: Callable[[float], object] = gevent.sleep
    clock: Callable[[], float] = time.monotonic
    lost: str | None = None
    _turn: BoundedSemaphore = field(default_factory=BoundedSemaphore)

    def perform(self, target: Target, step: Step) -> None:
        """Reboot a host, and return when it is back.

        Raises:
            StrongroomError: it did not go down, or did not come back, in time; or another host before it did not.
        """
        if step.reboot != "alone":
            self._reboot(target, step)
            return
        with self._turn:
            if self.lost:
                raise StrongroomError(
                    f"{target.name}: not rebooted, for {self.lost} did not come back from its reboot",
                    hint=f"bring {self.lost} back, then apply again",
                )
            with self.around(target.name):
                try:
                    self._reboot(target, step)
                except StrongroomError:
                    self.lost = target.name
                    raise

    def _reboot(self, target: Target, step: Step) -> None:
        before = self._boot_id(target)
        deadline = self.clock() + 60 * self.minutes
        orders, ordered = 0, float("-inf")
        reachable = True
        while True:
            if reachable and orders < _ORDERS and self.clock() - ordered > _GRACE:
                self._order(target, step)
                orders, ordered = orders + 1, self.clock()
            self.sleep(_POLL)
            now = self._look(target)
            if now is not None and now != before:
                break
            reachable = now is not None
            if self.clock() > deadline:
                what = "is up and was not rebooted" if reachable else "is not back"
                raise StrongroomError(
                    f"{target.name}: {what} after {self.minutes} minutes",
                    hint="look at its console, then apply again; host.reboot_timeout_minutes is how long to wait",
                )
        target.run(_SETTLE, doing="waiting for its services", timeout=400)

    @staticmethod
    def _order(target: Target, step: Step) -> None:
        # The order may have gone through all the same: what the host does next tells.
        with suppress(ConnectionLost):
            target.carry_out(step)

    @staticmethod
    def _boot_id(target: Target) -> str:
        lines = target.run(BOOT_ID, doing="asking for the boot id", timeout=30)
        if not lines or not lines[0].strip():
            raise StrongroomError(f"{target.name}: does not tell its boot id")
        return lines[0].strip()

    def _look(self, target: Target) -> str | None:
        """The boot id of a host that answers, over a new connection where the old one is gone."""
        try:
            return self._boot_id(target)
        except StrongroomError:
            pass
        try:
            target.reconnect()
        except ConnectionLost:
            return None
        try:
            return self._boot_id(target)
        except StrongroomError:  # answers and doesn't work yet, or no more
            return None
