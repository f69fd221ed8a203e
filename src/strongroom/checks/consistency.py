"""Hosts that should be alike and are not: firmware, microcode, BIOS, kernel and TCB across a group. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from strongroom.checks import snp, tdx
from strongroom.checks.evidence import dotted
from strongroom.probe.report import HostReport


@dataclass(frozen=True)
class Difference:
    """One thing that differs: each value with the hosts that have it, the commonest first, and hosts that told none."""

    what: str
    values: Mapping[str, tuple[str, ...]]
    unknown: tuple[str, ...] = ()

    def __str__(self) -> str:
        parts = [f"{value} on {', '.join(hosts)}" for value, hosts in self.values.items()]
        return f"{self.what} differs: {'; '.join(parts)}"


def _joined(*parts: str | None) -> str | None:
    known = [part for part in parts if part]
    return " ".join(known) or None


def _tdx_module(report: HostReport) -> str | None:
    version = tdx.module(report)
    return dotted(version) if version else None


# What is compared, and how it is read; None where a host did not tell.
TRAITS: Mapping[str, Callable[[HostReport], str | None]] = {
    "CPU": lambda report: report.cpu,
    "board": lambda report: _joined(report.dmi.get("sys_vendor"), report.dmi.get("product_name")),
    "BIOS": lambda report: _joined(report.dmi.get("bios_version"), report.dmi.get("bios_date")),
    "microcode": lambda report: ", ".join(sorted(report.processor.microcode)) or None,
    "kernel": lambda report: report.kernel,
    "kernel command line's TEE options": lambda report: _options(report),
    "SEV firmware": lambda report: dotted(api) if (api := snp.api(report)) else None,
    "SEV-SNP TCB": lambda report: report.firmware.snp.tcb.hex() if report.firmware.snp else None,
    "SEV-SNP reported TCB": lambda report: report.firmware.snp.reported_tcb.hex() if report.firmware.snp else None,
    "TDX module": _tdx_module,
}

_TEE_MODULES = (
    "kvm_amd.",
    "kvm_intel.",
    "kvm.",
    "ccp.",
    "mem_encrypt",
    "iommu",
    "amd_iommu",
    "intel_iommu",
    "nohibernate",
)


def _options(report: HostReport) -> str | None:
    if not report.command_line.present:
        return None
    found = [
        key if value is None else f"{key}={value}"
        for key, value in report.command_line.options
        if key.replace("-", "_").startswith(_TEE_MODULES)
    ]
    return " ".join(sorted(found)) or "none"


def compare(reports: Mapping[str, HostReport]) -> list[Difference]:
    """What differs between hosts of one group, in the order of ``TRAITS``; what a host did not tell is no difference."""
    differences = []
    for what, read in TRAITS.items():
        told: dict[str, list[str]] = {}
        silent = []
        for host in sorted(reports):
            value = read(reports[host])
            if value is None:
                silent.append(host)
            else:
                told.setdefault(value, []).append(host)
        if len(told) > 1:
            ordered = sorted(told.items(), key=lambda pair: (-len(pair[1]), pair[0]))
            differences.append(Difference(what, {value: tuple(hosts) for value, hosts in ordered}, tuple(silent)))
    return differences
