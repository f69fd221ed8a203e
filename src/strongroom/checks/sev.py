"""AMD SEV and SEV-ES on the host."""

from __future__ import annotations

from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, passed, unknown
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport


@judges("SEV-CPU")
def cpu(report: HostReport, check: Check) -> Finding:
    """By the processor's name."""
    name = report.cpu
    if name is None:
        if report.snphost.passed("AMD CPU"):
            return passed("snphost: AMD CPU")
        return unknown(report.section("cpuinfo").why)
    return passed(name) if str(check.data["brand"]) in name else failed(name)
