"""Azure confidential VMs: a vTPM's quote, bound by the HCL report's runtime data to the hardware's own evidence.

The paravisor (HCL) runs in the TEE and carries the vTPM. It puts the hash of a JSON text, with the vTPM's AK in it, into the
report data of the hardware's report; the AK then signs quotes with the nonce of the one who asks. So three things are held
together: hardware evidence over the runtime data, the AK out of the runtime data, and a quote by that AK.

Evidence is JSON as Trustee's attesters write it, in its first form (lists of bytes) and the later one (``version`` 1); or an
HCL report, with ``tpm_quote`` (the JSON of a quote) and for TDX ``td_quote`` among the collateral's documents.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from strongroom.attest import hcl, jsontext, td_report, tdx, tdx_quote, tpm, tpm_quote
from strongroom.attest.base import Authentic, Facts, authentic, refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.eventlog import EventLog
from strongroom.attest.hcl import HclReport
from strongroom.attest.policy import Policy
from strongroom.attest.registry import kind
from strongroom.attest.tpm import QuoteSection
from strongroom.attest.tpm_evidence import LARGEST, TpmEvidence, quoted
from strongroom.attest.tpm_quote import Key
from strongroom.attest.tpm_structures import parse_quote
from strongroom.model.platform import Platform

AK, EK = "HCLAkPub", "HCLEkPub"


@dataclass(frozen=True)
class AzureEvidence:
    """The parts: HCL report, vTPM quote, and what the hardware's evidence needs beside (a TD quote, a VCEK)."""

    report: HclReport
    quote: TpmEvidence
    parts: Mapping[str, bytes]


@dataclass(frozen=True)
class Detail:
    """For the policy's section: facts of the hardware's evidence, the log behind the PCRs, the quote's bank."""

    hardware: Facts
    log: EventLog | None
    bank: str


def read(evidence: bytes, collateral: Collateral) -> AzureEvidence:
    """Evidence of either form.

    Raises:
        Refused: it is of neither form, or a part that is always needed is missing.
    """
    require(len(evidence) <= LARGEST, "evidence", f"{len(evidence)} bytes, allowed is up to {LARGEST}")
    documents = collateral.documents
    log = {"event_log": documents["event_log"]} if "event_log" in documents else {}
    if evidence.startswith(hcl.SIGNATURE):
        if "tpm_quote" not in documents:
            refuse("tpm_quote", "an HCL report, and no vTPM quote among the collateral")
        whole: Mapping[str, object] = {"quote": jsontext.loads(documents["tpm_quote"], "tpm_quote")}
        report = evidence
        parts = {name: documents[name] for name in ("td_quote", "vcek") if name in documents}
    else:
        whole = jsontext.document(evidence, "evidence")
        name = "hcl_report" if "hcl_report" in whole else "report"
        report = _bytes(jsontext.get(whole, name, "evidence"), f"evidence.{name}")
        parts = {}
        if whole.get("td_quote") is not None:
            parts["td_quote"] = _bytes(whole["td_quote"], "evidence.td_quote")
        if whole.get("vcek") is not None:
            parts["vcek"] = _certificate(whole["vcek"])
        if whole.get("event_log") is not None:
            log = {"event_log": _bytes(whole["event_log"], "evidence.event_log")}
    message, signature, pcrs = quoted(whole)
    return AzureEvidence(hcl.parse(report), TpmEvidence(message, signature, pcrs, log), parts)


def _bytes(value: object, field: str) -> bytes:
    return jsontext.octets(value, field) if isinstance(value, list) else jsontext.unbase64(value, field)


def _certificate(value: object) -> bytes:
    """PEM text, or DER in base64."""
    if isinstance(value, str) and value.lstrip().startswith("-----BEGIN"):
        return value.encode()
    return _bytes(value, "evidence.vcek")


def bind(evidence: AzureEvidence, hardware: Facts, name: str, platform: Platform, section: QuoteSection) -> Facts:
    """The vTPM's quote under the AK that the hardware's evidence covers.

    Args:
        evidence: the parts.
        hardware: facts of authentic hardware evidence.
        name: of the kind.
        platform: what isolates the VM.
        section: whose PCRs beyond the log hold.

    Raises:
        Refused: the hardware's evidence does not cover the runtime data, or the quote does not hold under their AK.
    """
    hcl.require_covered(evidence.report, hardware.report_data, "hardware.report_data")
    key = hcl.key(evidence.report, AK)
    ak = Key(key, tpm_quote.spki_digest(key))
    checked = tpm.check(evidence.quote, ak, section.beyond_log)
    fields = {
        "quote": tpm.described(checked.quote),
        "runtime_data": evidence.report.claims,
        "ak_sha256": ak.spki_sha256,
        "ek_sha256": tpm_quote.spki_digest(hcl.key(evidence.report, EK)),
        "hardware": hardware.fields,
    }
    return replace(
        hardware,
        kind=name,
        platform=platform,
        report_data=checked.quote.extra_data,
        measurements={**hardware.measurements, **checked.measurements},
        fields=fields,
        notes=(*hardware.notes, *checked.notes),
        detail=Detail(hardware, checked.log, checked.quote.selections[0].bank.name),
    )


class AzureTdxSection(QuoteSection):
    """The policy's section ``azure-tdx``; the TD quote is judged by the section ``tdx``."""

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """The TD quote's section, then the vTPM quote."""
        detail: Detail = facts.detail
        policy.section("tdx").appraise(detail.hardware, policy)
        self.appraise_quote(facts, policy, detail.log, detail.bank)


def shown(evidence: bytes, collateral: Collateral) -> tuple[HclReport, Mapping[str, bytes], dict[str, object]]:
    """For ``show``: the HCL report, the parts beside it, and every field but the hardware's own; nothing is verified."""
    if evidence.startswith(hcl.SIGNATURE) and "tpm_quote" not in collateral.documents:
        report = hcl.parse(evidence)
        return report, {}, _claims(report)
    found = read(evidence, collateral)
    return found.report, found.parts, _claims(found.report) | _quote(found)


def _claims(report: HclReport) -> dict[str, object]:
    return {
        "hardware": hcl.NAMES[report.kind],
        "runtime_data": report.claims,
        "runtime_data_digest": report.digest,
    }


def _quote(evidence: AzureEvidence) -> dict[str, object]:
    banks = (evidence.quote.pcrs or {}).items()
    pcrs = {bank: {str(number): value for number, value in one.items()} for bank, one in banks}
    return {"quote": tpm.described(parse_quote(evidence.quote.message)), "pcrs": pcrs}


def show_tdx(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of the evidence, decoded and not verified."""
    _, parts, fields = shown(evidence, collateral)
    td = parts.get("td_quote")
    return {**fields, "td_quote": tdx.described(tdx_quote.parse(td)) if td else "not given"}


def looks_like(evidence: bytes, number: int) -> bool:
    """Whether bytes are an HCL report of that hardware, or JSON with a part that only such evidence has."""
    if evidence.startswith(hcl.SIGNATURE):
        return evidence[1224:1228] == number.to_bytes(4, "little")
    quoted = b'"quote"' in evidence or b'"tpm_quote"' in evidence
    return evidence.lstrip()[:1] == b"{" and quoted and {hcl.SNP: b'"vcek"', hcl.TDX: b'"td_quote"'}[number] in evidence


@kind(
    "azure-tdx",
    Platform.TDX,
    section=AzureTdxSection,
    show=show_tdx,
    measures=lambda name: name in tdx.MEASUREMENTS or name.startswith("pcr"),
    looks_like=lambda evidence: looks_like(evidence, hcl.TDX),
    reads_json=True,
)
def verify_tdx(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """Evidence of a TDX confidential VM.

    Args:
        evidence: as the module says.
        collateral: what :func:`strongroom.attest.tdx.verify_quote` needs for the TD quote.
        policy: its sections ``azure-tdx`` and ``tdx``.
        now: the controller's time.

    Raises:
        Refused: something does not hold or is missing.
    """
    section = policy.section_as("azure-tdx", AzureTdxSection) if policy else AzureTdxSection()
    found = read(evidence, collateral)
    require(found.report.kind == hcl.TDX, "hcl_report.runtime.report_type", "a report of SEV-SNP, needed is one of TDX")
    hcl.require_covered(found.report, td_report.report_data(found.report.report), "td_report.report_data")
    if "td_quote" not in found.parts:
        refuse("td_quote", "no TD quote is given, and nothing else signs the runtime data")
    hardware = tdx.verify_quote(found.parts["td_quote"], collateral, policy, now)
    td_report.require_same(found.report.report, hardware.detail.quote.report)
    return authentic(bind(found, hardware, "azure-tdx", Platform.TDX, section), policy)
