"""NVIDIA confidential computing: GPUs and switches on the host, driver and state in the guest."""

from __future__ import annotations

import re

from strongroom.checks import role
from strongroom.checks.evidence import dotted
from strongroom.checks.registry import judges
from strongroom.checks.verdict import CheckVerdict, Finding, failed, noted, passed, unknown, warned
from strongroom.model.checks import Check, Role
from strongroom.probe.nvidia import Device
from strongroom.probe.report import HostReport
from strongroom.probe.text import version

DRIVER = "/proc/driver/nvidia/version"
_KERNEL_MODULE = re.compile(r"NVIDIA UNIX .*?Kernel Module\b.*?\s(\d{3}(?:\.\d{1,4}){1,2})\b")
# src/nvidia/src/kernel/gpu/conf_compute/conf_compute.c: the driver asks this of a GPU only where the kernel is in a TEE.
_NO_CC_HERE = re.compile(
    r"\bNVRM: .*\bGPU (?:confidential compute capability is not enabled|does not support confidential compute)\b"
)
# kernel-open/nvidia/libspdm_internal_crypt_lib.c: built against a kernel that lacks what it calls, or has it under another name.
_STUBS = re.compile(r"\blibspdm expects LKCA but found stubs\b")
_GOOD_DRIVER = "vfio-pci"


def gpus(report: HostReport) -> list[Device]:
    """All GPUs that lspci or the tools named, by address."""
    return [device for _, device in sorted(report.gpus.items()) if not device.switch]


def switches(report: HostReport) -> list[Device]:
    """All NVSwitches."""
    return [device for _, device in sorted(report.gpus.items()) if device.switch]


def _identify(report: HostReport, check: Check) -> Finding:
    found = gpus(report)
    if not found:
        section = report.section("lspci")
        return noted("no NVIDIA GPU") if section.complete else unknown(section.why)
    known = check.table("ids")
    strange = [device for device in found if not any(device.device_id.startswith(prefix) for prefix in known)]
    if strange:
        return failed(", ".join(f"{device.address} is {device.device_id}" for device in strange))
    names = dict.fromkeys(str(known[prefix]) for d in found for prefix in known if d.device_id.startswith(prefix))
    return passed(f"{len(found)} x {', '.join(names)}")


@judges("GPU-ID")
def identity(report: HostReport, check: Check) -> Finding:
    """By PCI device id: the table is data, for a table that is out of date hides GPUs."""
    return _identify(report, check)


@judges("G-GPU")
def guest_identity(report: HostReport, check: Check) -> Finding:
    """The same, of the GPUs that the guest was given, all of them."""
    found, section = _identify(report, check), report.section("lspci")
    return unknown(section.why) if found.verdict is CheckVerdict.PASS and not section.complete else found


@judges("GPU-MODE")
def mode(report: HostReport, check: Check) -> Finding:
    """On every GPU: on, or off under protected PCIe. A mode that waits for a reset is not the mode."""
    found = gpus(report)
    if not found:
        return unknown(report.section("nvidia-gpu-tools").why)
    for device in found:
        if device.pending and device.pending.startswith("CC "):
            return failed(f"{device.address}: {device.pending} waits for a reset", "pending")
        if device.cc in ("devtools", "invalid", "unsupported") or (device.cc == "off" and device.ppcie != "on"):
            return failed(f"{device.address}: CC mode {device.cc}", device.cc)
    untold = [device.address for device in found if device.cc is None]
    if untold:
        return unknown(f"{len(untold)} of {len(found)} GPUs not told: {untold[0]}")
    return passed(f"{len(found)} GPUs: " + ("protected PCIe" if found[0].cc == "off" else "on"))


@judges("GPU-PPCIE")
def protected_pcie(report: HostReport, check: Check) -> Finding:
    """With switches, all of GPUs and switches in protected PCIe with CC off, or none of them. Without, none."""
    found = [*gpus(report), *switches(report)]
    on = [device.address for device in found if device.ppcie == "on"]
    if not switches(report):
        if on:
            return failed(f"{on[0]}: protected PCIe without an NVSwitch", "single")
        return passed("no NVSwitch") if report.section("lspci").complete else unknown(report.section("lspci").why)
    if both := [device.address for device in found if device.ppcie == "on" and device.cc == "on"]:
        return failed(f"{both[0]}: CC and protected PCIe at once", "both")
    if not gpus(report):
        return unknown(report.section("lspci").why)
    off = [device for device in found if device.ppcie in ("off", "unsupported")]
    if on and off:
        cause = "firmware" if any(device.ppcie == "unsupported" for device in off) else None
        return failed(f"{off[0].address} is {off[0].ppcie}, {on[0]} is on", cause)
    untold = [device.address for device in found if device.ppcie is None]
    if untold:
        return unknown(f"{len(untold)} of {len(found)} devices not told: {untold[0]}")
    return passed(f"{len(found)} devices {'in' if on else 'not in'} protected PCIe")


@judges("GPU-VFIO")
def driver(report: HostReport, check: Check) -> Finding:
    """Handed to guests by vfio-pci; that the host's nvidia-smi then sees no card is as it should be. Under protected PCIe a
    guest gets the switches, too; otherwise they may stay with the host, whose fabric manager parts them."""
    found = [*gpus(report), *(device for device in switches(report) if device.ppcie == "on")]
    wrong = [device for device in found if device.driver not in (None, _GOOD_DRIVER)]
    if wrong:
        return failed(", ".join(f"{device.address} is {device.driver}'s" for device in wrong))
    if report.sysfs.get("/sys/kernel/iommu_groups") == "0":
        return failed("no IOMMU groups", "iommu")
    if not found or not report.section("lspci").complete:
        return unknown(report.section("lspci").why)
    if unbound := [device.address for device in found if device.driver is None]:
        return failed(f"{', '.join(unbound)} has no driver")
    return passed(f"{len(found)} x {_GOOD_DRIVER}")


@judges("GPU-VBIOS")
def vbios(report: HostReport, check: Check) -> Finding:
    """Parts of the version are hexadecimal."""
    found, floor = report.smi.vbios, str(check.data["floor"])
    if not found:
        return unknown(report.smi.get("vbios version") or report.section("nvidia-smi-conf-compute").why)
    old = [one for one in found if _hexadecimal(one) < _hexadecimal(floor)]
    return failed(f"{', '.join(old)}, before {floor}") if old else passed(", ".join(found))


def _hexadecimal(version: str) -> tuple[int, ...]:
    return tuple(int(part, 16) for part in version.split("."))


@judges("GPU-DRV")
def kernel_driver(report: HostReport, check: Check) -> Finding:
    """The open kernel module, new enough, and not of a branch that is known to fail: by its own file, or by what it said
    when it was loaded. nvidia-smi tells the version alone."""
    text = report.sysfs.get(DRIVER)
    match = _KERNEL_MODULE.search(text.splitlines()[0]) if text else report.log.find(_KERNEL_MODULE)
    told = match[1] if match else report.smi.driver
    if told is None:
        return unknown(report.section("sysfs").why)
    if match and "Open Kernel Module" not in match[0]:
        return failed(f"{told}, the proprietary module", "proprietary")
    if version(told) < check.numbers("floor"):
        return failed(f"{told}, before {dotted(check.numbers('floor'))}")
    if reason := check.text("suspect", told):
        return warned(f"{told}: {reason}")
    return passed(f"{told}, open") if match else unknown(f"{told}; open or proprietary is not told")


# Caption of nvidia-smi conf-compute -> what it should say, in small letters.
_STATE = {"cc environment": "production", "cc gpus ready state": "ready", "devtools mode": "off"}


@judges("GPU-SMI")
def guest_state(report: HostReport, check: Check) -> Finding:
    """On, or off under protected PCIe; for production, ready, without developer tools. That nvidia-smi finds no GPU is as it
    should be on a host, which gave its GPUs away."""
    smi = report.smi
    told = smi.get("cc state")
    if told is None and (refused := report.log.find(_NO_CC_HERE)):
        return failed(refused[0], "off")
    if smi.refused is not None:
        return failed(smi.refused, "driver") if role.role(report) is Role.GUEST else unknown(smi.refused)
    if not smi.values:
        return unknown(report.section("nvidia-smi-conf-compute").why)
    protected = "protected pcie" in (smi.get("multi-gpu mode") or "").lower()
    if told is not None and told.lower() != "on" and not protected:
        return failed(f"CC is {told}", "off")
    for caption, wanted in _STATE.items():
        value = smi.get(caption)
        if value is not None and value.lower() != wanted:
            return failed(f"{caption} is {value}", caption)
    untold = [caption for caption in ("cc environment", "cc gpus ready state") if smi.get(caption) is None]
    if told is None or untold:
        return unknown(f"not told: {', '.join(untold or ['cc state'])}")
    return passed("protected PCIe, ready" if protected else "on, ready")


@judges("GPU-PERS")
def persistence(report: HostReport, check: Check) -> Finding:
    """Without it the session with the GPU dies with its last user, and only a function level reset brings it back."""
    unit, section = report.units.get("nvidia-persistenced.service"), report.section("units")
    if unit is None or unit.load == "not-found":
        return failed("no nvidia-persistenced") if section.complete or unit else unknown(section.why)
    if unit.active != "active":
        return failed(f"nvidia-persistenced {unit.active}") if unit.active else unknown(section.why)
    if unit.command is None:
        return unknown("its command was not read")
    wanted = str(check.data["option"])
    if wanted in unit.command:
        return passed(f"active with {wanted}")
    # A pager cuts what is longer than the terminal, and puts a mark there or not.
    last = unit.command.split()[-1].rstrip(">…")
    if unit.command.endswith((">", "…")) or (last.startswith("--") and wanted.startswith(last)):
        return unknown(f"its command was cut: {unit.command}")
    return failed(f"active without {wanted}")


@judges("GPU-LKCA")
def crypto_modules(report: HostReport, check: Check) -> Finding:
    """Linux's own elliptic curves, which the open driver calls."""
    if stubs := report.log.find(_STUBS):
        return failed(stubs[0], "stubs")
    missing = [
        names
        for names, option in check.table("modules").items()
        if not any(name in report.modules for name in names.split("|")) and report.kconfig.get(str(option)) != "y"
    ]
    if not missing:
        return passed("loaded or built in")
    # What is built in is no module; whether it is cannot be told where the configuration could not be read.
    unread = report.section("kconfig").reasons
    section = report.section("modules")
    if section.complete and not unread:
        return failed(f"without {', '.join(missing)}")
    return unknown("; ".join(unread) if section.complete else section.why)
