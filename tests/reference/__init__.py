"""Complete machines of every platform, written from the catalogue and the captures: every section whole, all in order.

A machine is its sections by name, as the probe prints them. ``edit`` and ``without`` make faulty ones of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from textwrap import dedent

from strongroom.model.platform import Platform

Sections = Mapping[str, tuple[str, ...]]
END = "#end"


def whole(**texts: str) -> dict[str, tuple[str, ...]]:
    """Sections from texts; underscores in a name stand for dashes. Each is closed by the mark of a whole section."""
    return {
        name.replace("_", "-"): (*(line for line in dedent(text).strip("\n").split("\n") if line), END)
        for name, text in texts.items()
    }


def edit(sections: Sections, name: str, old: str, new: str) -> Sections:
    """With every ``old`` in a section replaced, which must be there."""
    text = "\n".join(sections[name])
    assert old in text, f"{name} has no {old!r}"
    return {**sections, name: tuple(line for line in text.replace(old, new).split("\n") if line)}


def add(sections: Sections, name: str, *lines: str) -> Sections:
    """With lines at a section's end."""
    return {**sections, name: (*sections[name][:-1], *lines, END)}


def without(sections: Sections, name: str, start: str) -> Sections:
    """Without the lines of a section that begin so; there must be some."""
    kept = tuple(line for line in sections[name] if not line.startswith(start))
    assert kept != tuple(sections[name]), f"{name} has no line that begins with {start!r}"
    return {**sections, name: kept}


COMMON = whole(
    user="0",
    disk="/opt /dev/sda 100000000 5000000 90000000 6% /\n/var/lib /dev/sda 100000000 5000000 90000000 6% /",
    listeners='LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))',
    state="",
    meminfo="MemTotal:       395000000 kB\nMemAvailable:   380000000 kB\nSwapTotal:              0 kB",
    sysctl="kernel.dmesg_restrict=0\nmemlock=unlimited",
    time="""
        1760000000
        synchronised=yes
        service=chronyd
        clocksource=tsc
        nameserver 10.0.0.53
        resolver=/etc/resolv.conf
    """,
    controller="arrived=1760000001",
    lspci="00:00.0 Host bridge [0600]: Advanced Micro Devices, Inc. [AMD] Device [1022:14a4] (rev 01)",
    nvidia_gpu_tools="",
    nvidia_smi_conf_compute="",
    snphost="",
    sgx_status="",
    virt="vm=none\ncvm=none",
)

Machine = Callable[[], Sections]
MACHINES: dict[str, tuple[Platform, Machine]] = {}
"""Name -> the platform that is ready on it, and how it is made."""


def machine(name: str, platform: Platform) -> Callable[[Machine], Machine]:
    """Register a machine."""

    def register(make: Machine) -> Machine:
        MACHINES[name] = (platform, make)
        return make

    return register


def make(name: str) -> Sections:
    """A machine by name."""
    from tests.reference import guests, hosts  # noqa: F401 - they register themselves

    return MACHINES[name][1]()


def names() -> list[str]:
    """All machines."""
    from tests.reference import guests, hosts  # noqa: F401

    return list(MACHINES)
