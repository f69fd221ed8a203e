"""AMD SEV-SNP on the host."""

from __future__ import annotations

from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, passed, unknown
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import truth

_PARAMETER = "/sys/module/kvm_amd/parameters/sev_snp"


@judges("SNP-KVM")
def kvm(report: HostReport, check: Check) -> Finding:
    """By KVM's own parameter: it is cleared where the module found that SNP is not to be had."""
    value = report.sysfs.get(_PARAMETER)
    if value is not None:
        return passed(f"sev_snp={value}") if truth(value) else failed(f"sev_snp={value}")
    said = report.snphost.passed("SEV-SNP enabled in KVM")
    if said is not None:
        return passed("snphost: enabled") if said else failed("snphost: not enabled")
    return unknown(report.section("sysfs").why)
