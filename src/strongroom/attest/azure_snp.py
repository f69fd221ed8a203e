"""Azure confidential VMs on SEV-SNP; :mod:`strongroom.attest.azure` says how their evidence holds together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from strongroom.attest import azure, hcl, snp
from strongroom.attest.azure import Detail
from strongroom.attest.base import Authentic, Facts, authentic, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.policy import Policy
from strongroom.attest.registry import kind
from strongroom.attest.snp_policy import SnpPolicy
from strongroom.attest.tpm import QuoteSection
from strongroom.model.platform import Platform


class AzureSnpSection(QuoteSection):
    """The policy's section ``azure-snp``; the SNP report is judged by the section ``snp``."""

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """The SNP report's section, then the vTPM quote."""
        detail: Detail = facts.detail
        policy.section("snp").appraise(detail.hardware, policy)
        self.appraise_quote(facts, policy, detail.log, detail.bank)


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of the evidence, decoded and not verified."""
    report, parts, fields = azure.shown(evidence, collateral)
    certificates = collateral.with_certificates(*(part for name, part in parts.items() if name == "vcek"))
    return {**fields, "snp_report": snp.show(report.report, certificates)}


@kind(
    "azure-snp",
    Platform.SNP,
    section=AzureSnpSection,
    show=show,
    measures=lambda name: name in snp.MEASUREMENTS or name.startswith("pcr"),
    looks_like=lambda evidence: azure.looks_like(evidence, hcl.SNP),
    reads_json=True,
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """Evidence of an SEV-SNP confidential VM.

    Args:
        evidence: as :mod:`strongroom.attest.azure` says; the VCEK in it, or among the collateral.
        collateral: what :func:`strongroom.attest.snp.examine` needs.
        policy: its sections ``azure-snp`` and ``snp``.
        now: the controller's time.

    Raises:
        Refused: something does not hold or is missing.
    """
    section = policy.section_as("azure-snp", AzureSnpSection) if policy else AzureSnpSection()
    found = azure.read(evidence, collateral)
    require(found.report.kind == hcl.SNP, "hcl_report.runtime.report_type", "a report of TDX, needed is one of SEV-SNP")
    certificates = collateral.with_certificates(*(part for name, part in found.parts.items() if name == "vcek"))
    allowed = policy.section_as("snp", SnpPolicy) if policy else SnpPolicy()
    grace = policy.grace if policy else timedelta(0)
    hardware = snp.examine(found.report.report, certificates, allowed, now, grace=grace)
    return authentic(azure.bind(found, hardware, "azure-snp", Platform.SNP, section), policy)
