"""The probe's output as typed data. Pure; parsers take what is there and never raise on what is not."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from strongroom.probe import clock as clocks
from strongroom.probe import cpuid as cpuids
from strongroom.probe import dmesg, efivar, linux, nvidia, paste
from strongroom.probe import firmware as psp
from strongroom.probe import msr as msrs
from strongroom.probe import sgx as sgxtools
from strongroom.probe import snphost as snphosts
from strongroom.probe import units as systemd
from strongroom.probe import virt as virts
from strongroom.probe.sections import Section, section, split
from strongroom.probe.text import assignments, number

SECTIONS = (
    "uname", "os-release", "virt", "cpuinfo", "cpuid", "msr", "cmdline", "kconfig", "dmesg", "sysfs", "modules", "devices",
    "meminfo", "iomem", "dmi", "units", "qemu", "firmware-files", "nvidia-gpu-tools", "nvidia-smi-conf-compute", "lspci",
    "snphost", "sev-status", "sgx-status", "efivars", "sysctl", "user", "disk", "listeners", "state", "containerd", "time", "controller",
)  # fmt: skip
"""Every section there is. All but ``controller`` are the probe's; that one is ours: when the output arrived."""


# A processor's first name -> its vendor's letters.
_VENDORS = {"amd": "AuthenticAMD", "hygon": "HygonGenuine", "intel(r)": "GenuineIntel"}


@dataclass(frozen=True)
class Listener:
    """A listening TCP port and the program that has it (``?`` where the probe was not root)."""

    port: int
    program: str


@dataclass(frozen=True)
class HostReport:
    """What the probe read. ``None`` means not probed, never zero or no. Sizes are MiB unless a field says otherwise.

    ``section(name)`` tells whether a section is there and whole: only then does something that it lacks prove anything.
    """

    kernel: str | None = None
    machine: str | None = None
    system: str | None = None
    distribution: tuple[str | None, str | None] = (None, None)
    memory: int | None = None
    root: bool | None = None
    cgroup_controllers: frozenset[str] | None = None
    free: dict[str, int] = field(default_factory=dict)
    listeners: tuple[Listener, ...] | None = None
    roles: frozenset[str] | None = None
    containerd: Mapping[str, str] | None = None
    """Of the containerd that containerd.service runs: program, version, and why it refuses its configuration."""

    processor: linux.Cpu = field(default_factory=linux.Cpu)
    cpuid: cpuids.Cpuid = field(default_factory=cpuids.Cpuid)
    msr: msrs.Msr = field(default_factory=msrs.Msr)
    command_line: linux.CommandLine = field(default_factory=linux.CommandLine)
    kconfig: Mapping[str, str] = field(default_factory=dict)
    log: dmesg.Log = field(default_factory=dmesg.Log)
    sysfs: Mapping[str, str] = field(default_factory=dict)
    modules: frozenset[str] = frozenset()
    nodes: Mapping[str, linux.Node] = field(default_factory=dict)
    absent: frozenset[str] = frozenset()
    contents: Mapping[str, str] = field(default_factory=dict)
    ram: linux.Memory = field(default_factory=linux.Memory)
    dmi: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, systemd.Unit] = field(default_factory=dict)
    qemu: linux.Qemu = field(default_factory=linux.Qemu)
    firmware_files: frozenset[str] = frozenset()
    gpus: Mapping[str, nvidia.Device] = field(default_factory=dict)
    smi: nvidia.Smi = field(default_factory=nvidia.Smi)
    snphost: snphosts.Snphost = field(default_factory=snphosts.Snphost)
    firmware: psp.Firmware = field(default_factory=psp.Firmware)
    sgx: sgxtools.SgxTool = field(default_factory=sgxtools.SgxTool)
    registration: efivar.Registration = field(default_factory=efivar.Registration)
    sysctl: Mapping[str, str] = field(default_factory=dict)
    virt: Mapping[str, str] = field(default_factory=dict)
    clock: clocks.Clock = field(default_factory=clocks.Clock)
    arrived: int | None = None
    sections: Mapping[str, Section] = field(default_factory=dict)

    @property
    def cpu(self) -> str | None:
        """The processor's name."""
        return self.processor.name or self.cpuid.brand

    @property
    def processors(self) -> int | None:
        """How many logical CPUs there are."""
        return self.processor.processors

    @property
    def time(self) -> int | None:
        """The host's clock when it was probed, in seconds since 1970."""
        return self.clock.seconds

    @property
    def vendor(self) -> str | None:
        """The CPU vendor's twelve letters, or the architecture's own name where CPUs have no such thing. Whose a CPU is can
        be told by its name, too, which is all that people show of theirs."""
        told = self.processor.vendor or self.cpuid.vendor
        return told or _VENDORS.get((self.cpu or "").partition(" ")[0].lower())

    def section(self, name: str) -> Section:
        """A section's state; one that was not probed is neither present nor complete."""
        return self.sections.get(name, Section())

    def lacks(self, path: str) -> bool:
        """Whether a device file is not there: ls says so (of a pattern, too), or all that there are were listed."""
        missed = any(fnmatchcase(path, pattern) for pattern in self.absent)
        return path not in self.nodes and (missed or self.section("devices").complete)

    @classmethod
    def parse(cls, lines: Sequence[str]) -> HostReport:
        """From the probe's lines."""
        return cls.of(split(lines))

    @classmethod
    def of(cls, raw: Mapping[str, Sequence[str]]) -> HostReport:
        """From sections by name, as they were saved."""
        found = {name: section(name, raw) for name in raw}

        def lines(name: str) -> tuple[str, ...]:
            return found[name].lines if name in found else ()

        def whole(name: str) -> bool:
            return name in found and found[name].complete

        kernel, machine = linux.uname(lines("uname"))
        processor = linux.cpu(lines("cpuinfo"))
        release = assignments(lines("os-release"))
        memory = assignments(lines("meminfo"), ":")
        sysfs = linux.sysfs(lines("sysfs"))
        controllers = sysfs.get("/sys/fs/cgroup/cgroup.controllers")
        options = linux.command_line(lines("cmdline"), whole=whole("cmdline"))
        log = dmesg.parse(lines("dmesg"), complete=whole("dmesg"), present="dmesg" in found)
        return cls(
            kernel=kernel,
            machine=machine or processor.architecture,
            system=release.get("PRETTY_NAME"),
            distribution=(release.get("ID"), release.get("VERSION_ID")),
            memory=_mebibytes(memory.get("MemTotal")),
            root=None if not lines("user") else lines("user")[0].strip() == "0",
            cgroup_controllers=(
                frozenset(controllers.split()) if controllers is not None else frozenset() if whole("sysfs") else None
            ),
            free=_free(lines("disk")),
            listeners=_listeners(lines("listeners"))
            if "listeners" in found and not found["listeners"].reasons
            else None,
            roles=frozenset(lines("state")) if "state" in found else None,
            containerd=assignments(lines("containerd")) if "containerd" in found else None,
            processor=processor,
            cpuid=cpuids.parse(lines("cpuid")),
            msr=msrs.parse(lines("msr"), whole("msr")),
            command_line=options if options.present else _from_log(log),
            kconfig=paste.kconfig(lines("kconfig")),
            log=log,
            sysfs=sysfs,
            modules=frozenset(name for line in lines("modules") for name in line.split()[:1]),
            nodes=linux.devices(lines("devices")),
            absent=linux.absent(lines("devices")),
            contents=linux.contents(lines("devices")),
            ram=linux.memory(lines("iomem")),
            dmi=assignments(lines("dmi")),
            units=systemd.parse(lines("units")),
            qemu=linux.qemu(lines("qemu")),
            firmware_files=frozenset(lines("firmware-files")),
            gpus=nvidia.merge(nvidia.tools(lines("nvidia-gpu-tools")), nvidia.lspci(lines("lspci"))),
            smi=nvidia.smi(lines("nvidia-smi-conf-compute")),
            snphost=snphosts.parse(lines("snphost")),
            firmware=psp.parse(lines("sev-status")),
            sgx=sgxtools.parse(lines("sgx-status")),
            registration=efivar.registration(efivar.parse(lines("efivars")), (*lines("efivars"), *lines("units"))),
            sysctl=assignments(lines("sysctl")),
            virt=virts.parse(lines("virt")),
            clock=clocks.parse(lines("time")),
            arrived=number(assignments(lines("controller")).get("arrived")),
            sections=found,
        )


_BOOT = re.compile(r"(?:^|[\]:] )(?:Kernel command line|Command line): (.*)")


def _from_log(log: dmesg.Log) -> linux.CommandLine:
    match = log.find(_BOOT)
    return linux.command_line([match[1]], whole=False) if match else linux.CommandLine()


def _mebibytes(text: str | None) -> int | None:
    kibibytes = number((text or "").removesuffix("kB"))
    return None if kibibytes is None else kibibytes >> 10


def _free(lines: Sequence[str]) -> dict[str, int]:
    found = {}
    for line in lines:
        parts = line.split()
        if len(parts) >= 6 and (kibibytes := number(parts[4])) is not None:
            found[parts[0]] = kibibytes >> 10
    return found


def _listeners(lines: Sequence[str]) -> tuple[Listener, ...]:
    found = []
    for line in lines:
        parts = line.split()
        if len(parts) < 4 or (port := number(parts[3].rpartition(":")[2])) is None:
            continue
        program = re.search(r'\(\("([^"]+)"', line)
        found.append(Listener(port, program[1] if program else "?"))
    return tuple(found)
