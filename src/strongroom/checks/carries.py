"""What a host can carry as it is: Kata shims, confidential VMs, and how many guests at a time."""

from __future__ import annotations

import re
from collections.abc import Mapping

from strongroom.checks.verdict import Capacity, CheckResult, CheckVerdict, PlatformResult, State
from strongroom.model.checks import CheckCatalogue, Role
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
from strongroom.probe.text import bits, number

_ASIDS = re.compile(r"\bSEV(?P<kind>|-ES|-SNP) enabled \(ASIDs (?P<first>\d{1,6}) - (?P<last>\d{1,6})\)")
_KEYS = re.compile(r"BIOS enabled: private KeyID range \[(\d{1,6}), (\d{1,6})\)")
# The TDX module keeps one private key for itself (arch/x86/virt/vmx/tdx/tdx.c, the global KeyID).
_TDX_OWN_KEYS = 1
_IDS = {"": Platform.SEV, "-SNP": Platform.SNP}
_CVM_CHECKS = ("C-QEMU", "C-OVMF")


def capacity(
    report: HostReport,
    catalogue: CheckCatalogue,
    platforms: Mapping[Platform, PlatformResult],
    results: Mapping[str, CheckResult],
    side: Role,
) -> Capacity:
    """Of ready platforms alone; a guest carries nothing."""
    if side is Role.GUEST:
        return Capacity()
    ready = [one for one, result in platforms.items() if result.state is State.READY]
    shims: list[str] = []
    for one in ready:
        file = catalogue.file(one, side)
        # A GPU's shims come with the CPU's platform in their name: qemu-nvidia-gpu-snp needs SNP.
        shims += [
            shim for shim in (file.shims if file else ()) if one is not Platform.GPU or shim.rsplit("-", 1)[1] in ready
        ]
    tools = all(name in results and results[name].verdict is CheckVerdict.PASS for name in _CVM_CHECKS)
    cvm = tuple(one for one in ready if tools and one in (Platform.SEV, Platform.SNP, Platform.TDX))
    return Capacity(tuple(shims), cvm, {one: count for one, count in guests(report).items() if one in ready})


def guests(report: HostReport) -> dict[Platform, int]:
    """Guests that can run at the same time, by ASIDs and key ids; platforms that nothing was said of are not in it."""
    found: dict[Platform, int] = {}
    for match in report.log.all(_ASIDS):
        if match["kind"] in _IDS:
            found[_IDS[match["kind"]]] = max(0, int(match["last"]) - int(match["first"]) + 1)
    if leaf := report.cpuid.leaf(0x8000001F):
        found.setdefault(Platform.SEV, max(0, leaf.ecx - leaf.edx + 1))
        found.setdefault(Platform.SNP, max(0, leaf.edx - 1))
    keys: int | None = None
    if partition := report.msr.get(0x87):
        keys = None if partition.uniform is None else bits(partition.uniform, 63, 32)
    elif said := report.log.find(_KEYS):
        keys = int(said[2]) - int(said[1])
    if keys is not None:
        found[Platform.TDX] = max(0, keys - _TDX_OWN_KEYS)
    if (most := number(report.sysfs.get("/sys/firmware/uv/query/max_guests"))) is not None:
        found[Platform.SE] = most
    return found
