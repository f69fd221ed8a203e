"""Intel TDX: a quote, judged with its PCK chain, CRLs, TCB info and QE identity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Literal

from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import Field, StrictBool, StrictInt

from strongroom.attest import certificates, pck, pem, tdx_collateral, tdx_quote, tdx_tcb
from strongroom.attest.base import Authentic, Facts, authentic, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import Collateral
from strongroom.attest.pck import Pck
from strongroom.attest.policy import Hex, Policy, Section
from strongroom.attest.registry import kind
from strongroom.attest.signatures import PublicKey, ecdsa_der, verify_signature
from strongroom.attest.tdx_collateral import ECDSA, INTEL_ROOTS, Checked
from strongroom.attest.tdx_documents import TcbStatus
from strongroom.attest.tdx_quote import DEBUG_GROUP, Quote
from strongroom.attest.tdx_tcb import Tcb
from strongroom.model.platform import Platform

Status = Literal[
    "UpToDate", "SWHardeningNeeded", "ConfigurationNeeded", "ConfigurationAndSWHardeningNeeded",
    "OutOfDate", "OutOfDateConfigurationNeeded",
]  # fmt: skip
MEASUREMENTS = (
    "mrtd", "rtmr0", "rtmr1", "rtmr2", "rtmr3", "mrconfigid", "mrowner", "mrownerconfig", "mrseam", "mrservicetd",
)  # fmt: skip
# Where these are not zero, the policy has to know them: whom the TD serves and under which settings, what it measured at
# run time, and service TDs, which may migrate it or bind to it.
_SPOKEN_OF = ("rtmr3", "mrconfigid", "mrowner", "mrownerconfig", "mrservicetd")


class TdxSection(Section):
    """The policy's section ``tdx``; every default is the strict one."""

    tcb_status: tuple[Status, ...] = Field(
        ("UpToDate",), min_length=1, description="statuses of the TCB; never Revoked"
    )
    evaluation_data_number: StrictInt = Field(
        0, ge=0, description="least tcbEvaluationDataNumber of Intel's collateral"
    )
    tee_tcb_svn: Hex | None = Field(None, description="least TEE TCB SVN, 16 bytes, each component by itself")
    debug: StrictBool = Field(False, description="whether the TD may be under debug")
    migratable: StrictBool = Field(False, description="whether the TD may be migrated by a service TD")
    sept_ve_disable: StrictBool = Field(True, description="whether the attribute is required, as Linux guests need it")
    attributes: tuple[str, ...] = Field(
        ("sept_ve_disable", "pks"), description="other attributes that may be set; debug and migratable have their keys"
    )
    platform: tuple[Literal["dynamic-platform", "cached-keys", "smt"], ...] = Field(
        (), description="what the PCK certificate may say of the platform"
    )
    advisories: tuple[str, ...] | None = Field(
        None, description="Intel advisories that may apply; unset: any that the allowed statuses bring along"
    )

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """Attributes, platform flags and floors, Refused where not allowed; the TCB status was judged with the collateral."""
        evidence: Evidence = facts.detail
        self._attributes(evidence.quote)
        extra = [flag for flag in evidence.pck.flags if flag not in self.platform]
        require(not extra, "pck.configuration", f"{', '.join(extra)}, which tdx.platform does not allow")
        least = self.evaluation_data_number
        for name, number in (
            ("tcb_info", evidence.checked.info.evaluation),
            ("qe_identity", evidence.checked.identity.evaluation),
        ):
            require(number >= least, f"{name}.tcbEvaluationDataNumber", f"{number}, allowed is {least} and more")
        if self.tee_tcb_svn is not None:
            found = evidence.quote.report.tee_tcb_svn
            right = len(self.tee_tcb_svn) == 16 and all(a >= b for a, b in zip(found, self.tee_tcb_svn, strict=True))
            require(right, "report.tee_tcb_svn", f"{found.hex()}, allowed is {self.tee_tcb_svn.hex()} and more")
        if self.advisories is not None:
            new = [one for one in evidence.tcb.advisories if one not in self.advisories]
            require(not new, "tcb.advisories", f"{', '.join(new)}, which tdx.advisories does not name")

    def _attributes(self, quote: Quote) -> None:
        names = quote.report.attribute_names
        allowed = {*self.attributes, *(["migratable"] if self.migratable else []), *(["debug"] if self.debug else [])}
        extra = [name for name in names if name not in allowed]
        require(not extra, "report.attributes", f"{', '.join(extra)} set, which the policy does not allow")
        if self.sept_ve_disable:
            require("sept_ve_disable" in names, "report.attributes.sept_ve_disable", "not set; the policy requires it")


@dataclass(frozen=True)
class Evidence:
    """A quote and what was found of it."""

    quote: Quote
    leaf: Certificate
    pck: Pck
    checked: Checked
    tcb: Tcb


def signatures(quote: Quote, now: datetime) -> tuple[Certificate, ...]:
    """The quote's own chain of signatures: Intel's root, PCK, quoting enclave, attestation key, quote.

    Says nothing of revocation and TCB, and so nothing that may be trusted by itself.

    Returns:
        The path from the PCK certificate to Intel's root.

    Raises:
        Refused: a signature that does not hold, a certificate out of date, or a root that is not Intel's.
    """
    blocks = pem.blocks(quote.pck_chain, "CERTIFICATE", "pck.chain", alone=True)
    own = tuple(certificates.parse(block, "pck.chain") for block in blocks)
    path = certificates.chain(own[0], own, INTEL_ROOTS, now, "pck.chain")
    require(len(path) == 3, "pck.chain", f"{len(path)} certificates, needed are PCK, its CA and the root")
    _verify(path[0].key, quote.qe_report_signature, quote.qe_report.raw, "qe_report.signature")
    bound = hashlib.sha256(quote.attestation_key + quote.qe_auth_data).digest() + bytes(32)
    found = quote.qe_report.report_data
    require(found == bound, "qe_report.report_data", f"{found.hex()}, which does not bind the attestation key")
    x, y = (int.from_bytes(half, "big") for half in (quote.attestation_key[:32], quote.attestation_key[32:]))
    try:
        key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
    except ValueError:
        refuse("quote.attestation_key", "a point that is not on P-256")
    _verify(key, quote.signature, quote.signed, "quote.signature")
    return path


def _verify(key: PublicKey, signature: bytes, data: bytes, field: str) -> None:
    verify_signature(key, ECDSA, ecdsa_der(signature[:32], signature[32:], "big", field), data, field)


def verify_quote(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Facts:
    """Facts of a quote whose signatures, collateral, TCB status and production hold.

    Args:
        evidence: the quote; zeros may follow it.
        collateral: CRLs, ``tcb_info``, ``qe_identity`` and their issuer chain; all of them are needed.
        policy: whose allowances of ``tdx.tcb_status``, ``tdx.debug`` and the grace hold.
        now: the controller's time.

    Raises:
        Refused: something does not hold or is missing.
    """
    allowed = policy.section_as("tdx", TdxSection) if policy else TdxSection()
    quote = tdx_quote.parse(evidence)
    tdx_quote.require_padding(quote)
    extra = certificates.load_all(collateral.certificates)
    path = signatures(quote, now)
    grace = policy.grace if policy else timedelta(0)
    checked = tdx_collateral.check(path, (*path, *extra), collateral, now, grace)
    platform = pck.parse(path[0])
    tcb = tdx_tcb.evaluate(platform, quote.report, quote.qe_report, checked.info, checked.identity)
    _status(tcb, allowed)
    debug = quote.report.attributes & DEBUG_GROUP
    require(not debug or allowed.debug, "report.attributes.debug", "the TD is under debug: the host reads its memory")
    notes = [*checked.notes]
    if tcb.status is not TcbStatus.UP_TO_DATE:
        notes.append(
            f"the TCB is {tcb.status.value}, which the policy allows: {', '.join(tcb.advisories) or 'no advisory'}"
        )
    if debug:
        notes.append("the TD is under debug, which the policy allows")
    return _facts(Evidence(quote, path[0], platform, checked, tcb), tuple(notes))


def _status(tcb: Tcb, allowed: TdxSection) -> None:
    if tcb.status is TcbStatus.REVOKED or tcb.status.value not in allowed.tcb_status:
        why = f"platform {tcb.platform.value}, TDX module {tcb.module.value}, quoting enclave {tcb.enclave.value}"
        refuse("tcb.status", f"{tcb.status.value} ({why}), allowed is {', '.join(allowed.tcb_status)}")


def _facts(evidence: Evidence, notes: tuple[str, ...]) -> Facts:
    report, platform, tcb, checked = evidence.quote.report, evidence.pck, evidence.tcb, evidence.checked
    measurements = measured(evidence.quote)
    fields = described(evidence.quote) | {
        "pck": asdict(platform),
        "tcb": asdict(tcb),
        "collateral": {
            "tcb_info": {"issued": checked.info.issued, "next_update": checked.info.next_update},
            "qe_identity": {"issued": checked.identity.issued, "next_update": checked.identity.next_update},
            "tcb_evaluation_data_number": checked.info.evaluation,
            "qe_evaluation_data_number": checked.identity.evaluation,
            "crl_numbers": checked.crl_numbers,
        },
    }
    # Zeros name nobody: Intel withholds the PPID where a platform asks for that.
    names = tuple(name for name in (platform.ppid, platform.instance) if any(name))
    return Facts(
        "tdx",
        Platform.TDX,
        report.report_data,
        measurements,
        names[0] if names else b"",
        fields,
        notes,
        ("mrtd", "rtmr0", "rtmr1", "rtmr2", *(name for name in _SPOKEN_OF if any(measurements[name]))),
        names[1:],
        evidence,
        checked.marks,
    )


def measured(quote: Quote) -> dict[str, bytes]:
    """The measurements of a quote by name, 48 bytes each; a TD report of version 1.0 has no service TDs."""
    report = quote.report
    values = (
        report.mrtd,
        *report.rtmrs,
        report.mrconfigid,
        report.mrowner,
        report.mrownerconfig,
        report.mrseam,
        report.mrservicetd or bytes(48),
    )
    return dict(zip(MEASUREMENTS, values, strict=True))


def described(quote: Quote) -> dict[str, object]:
    """A quote's fields, decoded; nothing of it is verified."""
    report = quote.report
    return {
        "version": quote.version,
        "td_version": "1.5" if report.mrservicetd is not None else "1.0",
        "report": {
            "tee_tcb_svn": report.tee_tcb_svn,
            "tee_tcb_svn2": report.tee_tcb_svn2,
            "mrsignerseam": report.mrsignerseam,
            "seam_attributes": f"{report.seam_attributes:#018x}",
            "attributes": f"{report.attributes:#018x}",
            "attribute_names": report.attribute_names,
            "xfam": f"{report.xfam:#018x}",
            "report_data": report.report_data,
            **measured(quote),
        },
        "qe": {
            "mrenclave": quote.qe_report.mrenclave,
            "mrsigner": quote.qe_report.mrsigner,
            "isvprodid": quote.qe_report.isvprodid,
            "isvsvn": quote.qe_report.isvsvn,
            "attributes": quote.qe_report.attributes,
        },
        "user_data": quote.user_data,
        "attestation_key": quote.attestation_key,
    }


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of a quote, decoded and not verified."""
    quote = tdx_quote.parse(evidence)
    blocks = pem.blocks(quote.pck_chain, "CERTIFICATE", "pck.chain")
    leaf = certificates.parse(blocks[0], "pck.chain")
    certificate = {"name": leaf.name, "not_before": leaf.not_before, "not_after": leaf.not_after}
    platform = asdict(pck.parse(leaf))
    return {**described(quote), "certificate": certificate, "pck": platform, "trailing_bytes": len(quote.trailing)}


@kind(
    "tdx",
    Platform.TDX,
    section=TdxSection,
    show=show,
    measures=MEASUREMENTS.__contains__,
    unbundle=tdx_collateral.unbundle,
    looks_like=lambda evidence: evidence[:1] in (b"\4", b"\5") and evidence[4:8] == b"\x81\0\0\0",
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """A quote of version 4 or 5 with its collateral; :func:`verify_quote` says what is judged."""
    return authentic(verify_quote(evidence, collateral, policy, now), policy)
