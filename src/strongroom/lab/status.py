"""What runs of a lab, without a word to its hosts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from strongroom.lab import processes, qemu, switch
from strongroom.lab.state import Lab


@dataclass(frozen=True)
class HostStatus:
    """One host as seen from outside."""

    name: str
    address: str
    ssh_port: int
    api_port: int
    accelerator: str
    state: Literal["up", "off"]
    """``up`` means that its machine runs; whether it answers is for a login to show."""
    uptime: float | None
    """Seconds since its machine was switched on."""


def of(lab: Lab) -> list[HostStatus]:
    """The state of all hosts, in the lab's order."""
    found = []
    for host in lab.hosts:
        pid = qemu.running(lab, host)
        uptime = processes.uptime(pid) if pid else None
        found.append(
            HostStatus(
                name=host.name,
                address=host.address,
                ssh_port=host.ssh_port,
                api_port=host.api_port,
                accelerator=lab.accelerator,
                state="off" if pid is None else "up",
                uptime=uptime,
            )
        )
    return found


def document(lab: Lab) -> dict[str, Any]:
    """The same as data for JSON."""
    return {
        "version": 1,
        "lab": lab.name,
        "network": "up" if switch.running(lab) else "off",
        "hosts": [asdict(host) for host in of(lab)],
    }


def duration(seconds: float | None) -> str:
    """Seconds in the form ``1d 2h``, ``3h 05m``, ``4m 05s``; ``-`` for None."""
    if seconds is None:
        return "-"
    minutes, second = divmod(int(seconds), 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    if days:
        return f"{days}d {hour}h"
    return f"{hours}h {minute:02d}m" if hours else f"{minute}m {second:02d}s"
