"""What every host is asked first: which machine it is, and whether what it says can be relied on."""

from __future__ import annotations

from strongroom.checks import role
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown
from strongroom.model.checks import Check, Role
from strongroom.probe.report import HostReport

_X86 = (None, "x86_64")


@judges("C-ARCH")
def arch(report: HostReport, check: Check) -> Finding:
    """By the CPU's vendor on x86, by the machine's name elsewhere."""
    if report.machine in check.words("machines"):
        return passed(str(report.machine))
    if report.vendor is None and report.machine in _X86:
        return unknown(report.section("cpuinfo").why)
    seen = report.vendor or str(report.machine)
    return passed(seen) if seen in check.words("vendors") else failed(seen)


@judges("C-BARE")
def bare(report: HostReport, check: Check) -> Finding:
    """A guest is no failure by itself: its own side is judged instead."""
    side = role.role(report)
    if side is Role.HOST:
        return passed("no hypervisor below")
    if side is Role.GUEST:
        kinds = ", ".join(sorted(role.kinds(report)))
        return noted(f"a virtual machine ({kinds or report.virt.get('vm', 'hypervisor below')}); judged as a guest")
    return unknown(report.section("cpuinfo").why)


@judges("C-LOGCOV")
def log_coverage(report: HostReport, check: Check) -> Finding:
    """Never a failure: a lost beginning only means that a line which is not there may have been."""
    log, why = report.log, report.section("dmesg").why
    if not log.present or not log.lines:
        return unknown(why)
    if log.from_start is False:
        return unknown("the log's start was lost")
    if log.whole:
        return passed(f"{len(log.lines)} lines from the boot's first on")
    return unknown("only a part of the log" if log.from_start else "nothing says where the log starts")


@judges("C-MSR")
def registers(report: HostReport, check: Check) -> Finding:
    """Never a failure: under lockdown nothing can be read, and nothing is wrong with the host."""
    if report.machine not in _X86:
        return noted(f"{report.machine} has no such registers")
    count = len(report.msr.registers)
    if not count:
        return unknown(report.section("msr").why)
    differing = ", ".join(f"{number:x}" for number in report.msr.differing)
    return passed(f"{count} read" + (f"; CPUs differ in {differing}" if differing else ""))


@judges("C-BIOS")
def bios(report: HostReport, check: Check) -> Finding:
    """For the record."""
    keys = ("sys_vendor", "product_name", "board_name", "bios_version", "bios_date", "chassis_asset_tag")
    known = [report.dmi[key] for key in keys if report.dmi.get(key)]
    return noted(", ".join(known)) if known else unknown(report.section("dmi").why)


@judges("C-UCODE")
def microcode(report: HostReport, check: Check) -> Finding:
    """One revision on all CPUs; the probe lists every one that it finds."""
    found = sorted(report.processor.microcode)
    if report.machine not in _X86:
        return noted(f"{report.machine} has no such revision")
    if not found:
        return unknown(report.section("cpuinfo").why)
    if len(found) > 1:
        return failed(f"CPUs differ: {', '.join(found)}")
    return passed(found[0]) if report.section("cpuinfo").complete else unknown(f"{found[0]}; not every CPU is here")


@judges("C-MEMLOCK")
def memlock(report: HostReport, check: Check) -> Finding:
    """For the record: the login's limit is not the VMM's."""
    value = report.sysctl.get("memlock")
    answer = report.snphost.get("Memlock resource limit")
    seen = answer.value if answer else value
    return unknown(report.section("sysctl").why) if seen is None else noted(seen)
