"""Arm CCA: the realm management monitor on the host, a realm on the guest's side."""

from __future__ import annotations

import re

from strongroom.checks.registry import judges
from strongroom.checks.role import REALM
from strongroom.checks.verdict import Finding, failed, passed, unknown, warned
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import bits, hexadecimal

# KVM's in the out-of-tree series; the later ones moved it to arch/arm64/kernel/rmi.c, where it has no "kvm [1]: ".
RMI = re.compile(r"\bRMI ABI version (\d{1,3})\.(\d{1,3})")
RMI_REFUSED = re.compile(r"\bUnsupported RMI ABI .*")
# arch/arm64/kernel/rmi.c of the later series sets the RMM up after it printed the version; before it, a console's log has
# what Trusted Firmware-A's rmmd_main.c said.
RMM_FAILED = re.compile(
    r"\bRMM (?:config set|activate) failed|\bRMM init failed: -?\d{1,10}|\bUnsupported PAGE_SIZE for RMM|\bGPT Level1 table missing for .*"
    r"|\bNo RMM image provided by BL2\b.*|\bGranule tracking for region isn.{1,6}t fine/conventional.*"
)
RSI_REFUSED = re.compile(r"\bRME: (?:RMM doesn't support RSI version .*|RSI version \S{1,12} not supported)")
PFR0 = "/sys/devices/system/cpu/cpu0/regs/identification/id_aa64pfr0_el1"


@judges("CCA-RME")
def realm_extension(report: HostReport, check: Check) -> Finding:
    """ID_AA64PFR0_EL1.RME, bits 55:52, where the kernel shows the register."""
    value = hexadecimal(report.sysfs.get(PFR0))
    if value is None:
        return unknown(report.section("sysfs").why)
    rme = bits(value, 55, 52)
    return passed(f"RME {rme}") if rme else warned("RME 0")


@judges("CCA-RMI")
def realm_manager(report: HostReport, check: Check) -> Finding:
    """KVM found a realm management monitor that speaks its language."""
    if refused := report.log.find(RMI_REFUSED):
        return failed(refused[0], "version")
    if broken := report.log.find(RMM_FAILED):
        return failed(broken[0], "set-up")
    match = report.log.find(RMI)
    if match is None:
        return failed("KVM found no RMM") if report.log.whole else unknown(report.section("dmesg").why)
    return passed(match[0]) if (int(match[1]), int(match[2])) >= check.numbers("floor") else failed(match[0])


@judges("G-CCA")
def realm(report: HostReport, check: Check) -> Finding:
    """The guest's kernel talks to the realm services interface."""
    if refused := report.log.find(RSI_REFUSED):
        return failed(refused[0], "version")
    match = report.log.find(REALM)
    if match is not None:
        return passed(match[0])
    return (
        failed("no word of the realm services interface") if report.log.whole else unknown(report.section("dmesg").why)
    )
