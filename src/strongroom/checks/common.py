"""What every host is asked, whatever its platform."""

from __future__ import annotations

from strongroom.checks import role
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown
from strongroom.model.checks import Check, Role
from strongroom.probe.report import HostReport


@judges("C-ARCH")
def arch(report: HostReport, check: Check) -> Finding:
    """By the CPU's vendor on x86, by the machine's name elsewhere."""
    if report.machine in check.words("machines"):
        return passed(str(report.machine))
    if report.vendor is None and report.machine in (None, "x86_64"):
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
