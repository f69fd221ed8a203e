"""The probe's output as typed data. Pure; parsers take what is there and never raise on what is not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field

_HEADING = re.compile(r"^== ([a-z-]+)$")


def sections(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Name -> lines. Of an output that was cut short the last section is dropped: half a section proves nothing."""
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    last = ""
    for line in lines:
        if match := _HEADING.match(line):
            last = match[1]
            current = found.setdefault(last, [])
        elif current is not None and line:
            current.append(line)
    if last != "end":
        found.pop(last, None)
    return {name: tuple(body) for name, body in found.items() if name != "end"}


@dataclass(frozen=True)
class Listener:
    """A listening TCP port and the program that has it (``?`` where the probe was not root)."""

    port: int
    program: str


@dataclass(frozen=True)
class HostReport:
    """What the probe read. ``None`` means not probed, never zero or no. Sizes are MiB."""

    kernel: str | None = None
    machine: str | None = None
    system: str | None = None
    cpu: str | None = None
    processors: int | None = None
    memory: int | None = None
    root: bool | None = None
    time: int | None = None
    cgroup_controllers: frozenset[str] | None = None
    devices: frozenset[str] | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    free: dict[str, int] = field(default_factory=dict)
    listeners: tuple[Listener, ...] | None = None
    roles: frozenset[str] | None = None
    containerd: dict[str, str] | None = None
    """Of the containerd that containerd.service runs: program, version, and why it refuses its configuration."""

    @classmethod
    def parse(cls, lines: Sequence[str]) -> HostReport:
        """From the probe's lines."""
        found = sections(lines)
        uname = _words(found.get("uname"))
        release = _assignments(found.get("os-release", ()))
        cpu = _assignments(found.get("cpuinfo", ()), ":")
        memory = _assignments(found.get("meminfo", ()), ":")
        parameters = _assignments(found.get("sysfs", ()))
        controllers = parameters.get("/sys/fs/cgroup/cgroup.controllers")
        return cls(
            kernel=uname[1] if len(uname) > 2 else None,
            machine=uname[2] if len(uname) > 2 else None,
            system=release.get("PRETTY_NAME"),
            cpu=cpu.get("model name"),
            processors=_number(cpu.get("processors")),
            memory=_mebibytes(memory.get("MemTotal")),
            root=None if not found.get("user") else found["user"][0].strip() == "0",
            time=_number(found["time"][0]) if found.get("time") else None,
            cgroup_controllers=(
                frozenset(controllers.split()) if controllers is not None else frozenset() if "sysfs" in found else None
            ),
            devices=frozenset(found["devices"]) if "devices" in found else None,
            parameters={key: value for key, value in parameters.items() if key.startswith("/sys/module/")},
            free=_free(found.get("disk", ())),
            listeners=_listeners(found["listeners"]) if "listeners" in found else None,
            roles=frozenset(found["state"]) if "state" in found else None,
            containerd=_assignments(found["containerd"]) if "containerd" in found else None,
        )


def _words(lines: Sequence[str] | None) -> list[str]:
    return lines[0].split() if lines else []


def _assignments(lines: Sequence[str], separator: str = "=") -> dict[str, str]:
    pairs = (line.partition(separator) for line in lines)
    return {key.strip(): value.strip().strip('"') for key, found, value in pairs if found}


def _number(text: str | None) -> int | None:
    digits = (text or "").strip()
    return int(digits) if digits.isascii() and digits.isdigit() and len(digits) < 20 else None


def _mebibytes(text: str | None) -> int | None:
    kibibytes = _number((text or "").removesuffix("kB"))
    return None if kibibytes is None else kibibytes >> 10


def _free(lines: Sequence[str]) -> dict[str, int]:
    found = {}
    for line in lines:
        words = line.split()
        if len(words) >= 6 and (kibibytes := _number(words[4])) is not None:
            found[words[0]] = kibibytes >> 10
    return found


def _listeners(lines: Sequence[str]) -> tuple[Listener, ...]:
    found = []
    for line in lines:
        words = line.split()
        if len(words) < 4 or (port := _number(words[3].rpartition(":")[2])) is None:
            continue
        program = re.search(r'\(\("([^"]+)"', line)
        found.append(Listener(port, program[1] if program else "?"))
    return tuple(found)
