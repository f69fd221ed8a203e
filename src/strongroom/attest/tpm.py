"""A TPM 2.0: a quote, the event log behind its PCRs, and whose attestation key signed it.

A software TPM quotes as well as a chip, so the key is what counts: an AK is known by its own SHA-256 in the policy, by a
certificate of a CA that the policy names, or by having been activated in the TPM of an EK that one of the two vouches for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from strongroom.attest import (
    certificates,
    crl,
    eventlog,
    events,
    jsontext,
    tpm_certificate,
    tpm_evidence,
    tpm_quote,
)
from strongroom.attest.base import Authentic, Facts, Refused, authentic, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import Collateral
from strongroom.attest.eventlog import EventLog
from strongroom.attest.marks import Mark
from strongroom.attest.policy import Hex, Policy, Section
from strongroom.attest.registry import kind
from strongroom.attest.tpm_credential import require_activated, require_attestation, require_endorsement
from strongroom.attest.tpm_evidence import TpmEvidence
from strongroom.attest.tpm_quote import PCRS, Key
from strongroom.attest.tpm_structures import Quote, parse_quote
from strongroom.model.platform import Platform

# An EK certificate names the TPM's model in a subjectAltName, which is critical where the subject is empty (TCG EK
# Credential Profile, 3.2); certificate policies constrain nothing that is asked here.
_UNDERSTOOD = frozenset({"2.5.29.17", "2.5.29.32"})


class QuoteSection(Section):
    """What a policy asks of any quote and its log."""

    pcrs: tuple[StrictInt, ...] = Field(
        (4, 7, 9, 11, 12), min_length=1, description="PCRs that the quote has to cover and measurements to speak of"
    )
    event_log: Literal["required", "optional"] = Field(
        "optional", description="whether a log has to come along; one that does always has to lead to the PCRs"
    )
    beyond_log: tuple[StrictInt, ...] = Field(
        (10,), description="PCRs extended after the firmware's log ended, as IMA does"
    )
    secure_boot: StrictBool = Field(False, description="whether the log has to say that Secure Boot is on")

    @model_validator(mode="after")
    def _confirmed(self) -> Self:
        if self.secure_boot and 7 in self.beyond_log:
            raise ValueError(
                "secure_boot is read from PCR 7, and beyond_log lets its log say anything; take 7 out of it"
            )
        return self

    def appraise_quote(self, facts: Facts, policy: Policy, log: EventLog | None, bank: str) -> None:
        """Refuse a quote of too few PCRs, PCRs that the policy does not speak of, or a log that lacks what is asked."""
        for pcr in self.pcrs:
            name = f"pcr{pcr}"
            require(name in facts.measurements, "quote.selections", f"PCR {pcr} is not quoted, the policy asks for it")
            if name not in policy.measurements and not policy.passes_over(name, "measurements"):
                value = facts.measurements[name].hex()
                refuse(
                    f"policy.measurements.{name}",
                    f"the policy says nothing of {name}, which is {value};"
                    " name what is allowed, or list it under not_compared",
                )
        if self.event_log == "required":
            require(log is not None, "event_log", "the policy asks for the event log, and none is given")
        if self.secure_boot:
            said = events.secure_boot(log, 7, bank) if log and "pcr7" in facts.measurements else None
            found = {True: "on", False: "off", None: "not in a log that PCR 7 confirms"}[said]
            require(said is True, "event_log.secure_boot", f"Secure Boot is {found}, the policy asks for it")


class TpmSection(QuoteSection):
    """The policy's section ``tpm``."""

    ek_roots: tuple[Hex, ...] = Field((), description="SHA-256 of the keys of CAs that may vouch for an EK")
    ak_roots: tuple[Hex, ...] = Field((), description="SHA-256 of the keys of CAs that may vouch for an AK")

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """The quote, and that somebody vouches for its key; else Refused."""
        evidence: Evidence = facts.detail
        known = facts.identity in policy.identities or any(name in policy.identities for name in facts.aliases)
        if not evidence.vouched and not known:
            refuse("ak", "nobody vouches for the AK: no CA of the policy, no EK, and it is not among the identities")
        self.appraise_quote(facts, policy, evidence.log, evidence.quote.selections[0].bank.name)


@dataclass(frozen=True)
class Evidence:
    """A verified quote, the log that explains it, and who vouches for its key: ``ak``, ``ek`` or neither."""

    quote: Quote
    log: EventLog | None
    vouched: str


@dataclass(frozen=True)
class Vouched:
    """Who vouches for an AK (``ak``, ``ek`` or nobody), the identity that follows, notes, and CRLs' numbers."""

    by: str
    identity: bytes
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]


@dataclass(frozen=True)
class Checked:
    """A quote that holds, whatever its key: the quote, its PCRs as measurements, its log, and what the log leaves open."""

    quote: Quote
    measurements: Mapping[str, bytes]
    log: EventLog | None
    notes: tuple[str, ...]


def check(evidence: TpmEvidence, ak: Key, beyond: tuple[int, ...]) -> Checked:
    """Signature, PCR digest and event log under a key that somebody else has judged.

    Raises:
        Refused: one of them does not hold; neither PCRs nor a log are given.
    """
    quote = parse_quote(evidence.message)
    log = _log(evidence.parts["event_log"]) if "event_log" in evidence.parts else None
    pcrs = evidence.pcrs
    if pcrs is None:
        if log is None:
            refuse("pcrs", "neither the PCRs nor an event log is given: the quote's digest says nothing by itself")
        pcrs = tpm_quote.replayed_pcrs(log, quote)
    measurements = tpm_quote.verify_quote(evidence.message, evidence.signature, quote, ak, pcrs)
    notes = tpm_quote.explain(log, quote, pcrs, beyond) if log is not None else ()
    return Checked(quote, measurements, log, notes)


def _log(data: bytes) -> EventLog:
    return eventlog.parse(data, registers=PCRS, notes=True)


def described(quote: Quote) -> dict[str, object]:
    """A quote's fields for people and JSON."""
    return {
        "qualified_signer": quote.signer,
        "extra_data": quote.extra_data,
        "clock_ms": quote.clock,
        "reset_count": quote.reset_count,
        "restart_count": quote.restart_count,
        "safe": quote.safe,
        "firmware_version": f"{quote.firmware:#018x}",
        "selections": [{"bank": one.bank.name, "pcrs": one.pcrs} for one in quote.selections],
        "pcr_digest": quote.pcr_digest,
    }


def _vouch(
    evidence: TpmEvidence, ak: Key, collateral: Collateral, section: TpmSection, now: datetime, grace: timedelta
) -> Vouched:
    """Who vouches for the AK, and what that rests on."""
    notes: tuple[str, ...] = ()
    marks: tuple[Mark, ...] = ()
    vouched = ""
    if section.ak_roots:
        # A CA may certify keys that sign whatever they are given: what the key may do is in its public area alone.
        require(
            ak.public is not None, "ak_public", "a bare key; the TPM's public area of an AK is needed with ak_roots"
        )
        path, notes, marks = _path(evidence, "ak_certificate", collateral, section.ak_roots, now, grace)
        _same(tpm_quote.key_from_spki(path[0].spki, "ak_certificate"), ak, "ak_certificate")
        vouched = "ak"
    if "credential" in collateral.documents:
        ek = _activated(evidence, ak, collateral.documents["credential"])
        if section.ek_roots:
            path, more, others = _path(evidence, "ek_certificate", collateral, section.ek_roots, now, grace)
            _same(tpm_quote.key_from_spki(path[0].spki, "ek_certificate"), ek, "ek_certificate")
            vouched, notes, marks = "ek", (*notes, *more), (*marks, *others)
        return Vouched(vouched, ek.spki_sha256, notes, marks)
    require(not section.ek_roots, "credential", "the policy names CAs of EKs, and the AK was not activated by an EK")
    return Vouched(vouched, ak.spki_sha256, notes, marks)


def _path(
    evidence: TpmEvidence, name: str, collateral: Collateral, roots: tuple[bytes, ...], now: datetime, grace: timedelta
) -> tuple[tuple[Certificate, ...], tuple[str, ...], tuple[Mark, ...]]:
    """From a TPM's certificate to a CA of the policy, with every CRL that is given for an issuer on it; notes, marks."""
    if name not in evidence.parts:
        refuse(name, "the policy names CAs for it, and none is given")
    blob = evidence.parts[name]
    own = certificates.load(blob, name)
    tpm_certificate.USES[name](own[0], name)
    pins = frozenset(root.hex() for root in roots)
    candidates = (*own, *certificates.load_all(collateral.certificates))
    path = certificates.chain(own[0], candidates, pins, now, name, understood=_UNDERSTOOD)
    notes: tuple[str, ...] = ()
    marks = []
    lists = [crl.load(one, "crls") for one in collateral.crls]
    for child, issuer in pairwise(path):
        for one in (each for each in lists if each.issuer == issuer.subject):
            notes += crl.check(one, issuer, now, f"{name}.crl", grace=grace)
            crl.not_revoked(one, child, name)
            # Any CA may be a TPM vendor's: its name alone does not tell it from another's.
            marks.append(one.mark(issuer, f"{name}.crl", by_key=True))
    return path, notes, tuple(marks)


def _activated(evidence: TpmEvidence, ak: Key, document: bytes) -> Key:
    """The EK in whose TPM the AK is, by the credential that was made for the two and what the TPM gave back.

    The document is the controller's own: ``ek_public`` (TPMT_PUBLIC) and ``secret`` in base64, ``ak_name`` in hex.
    """
    credential = jsontext.document(document, "credential")
    ek = tpm_quote.key_of(jsontext.unbase64(jsontext.get(credential, "ek_public", "credential"), "ek"), "ek")
    name = jsontext.unhex(jsontext.get(credential, "ak_name", "credential"), "credential.ak_name")
    secret = jsontext.unbase64(jsontext.get(credential, "secret", "credential"), "credential.secret")
    if ak.public is None or ek.public is None:
        refuse("ak_public", "a bare key; the TPM's public areas of AK and EK are needed to bind the one to the other")
    require_attestation(ak.public)
    require_endorsement(ek.public)
    found = ak.public.name
    require(found == name, "ak.name", f"{found.hex()}, the credential was made for {name.hex()}")
    require_activated(secret, evidence.parts.get("activated", b""))
    return ek


def _same(one: Key, other: Key, field: str) -> None:
    found, wanted = one.spki_sha256.hex(), other.spki_sha256.hex()
    require(found == wanted, field, f"it is of the key {found}, in use is {wanted}")


def _ak(evidence: TpmEvidence) -> Key:
    if "ak_public" in evidence.parts:
        return tpm_quote.key_of(evidence.parts["ak_public"], "ak_public")
    if "ak_certificate" in evidence.parts:
        leaf = certificates.load(evidence.parts["ak_certificate"], "ak_certificate")[0]
        return tpm_quote.key_from_spki(leaf.spki, "ak_certificate")
    raise Refused("neither the AK's public part nor its certificate is given", "ak_public")


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every field of a quote, or every record of an event log, decoded and not verified."""
    if tpm_evidence.is_quote(evidence):
        return described(parse_quote(evidence))
    if eventlog.announced(evidence):
        log = _log(evidence)
        bank = next(name for name in ("sha256", "sha384", "sha512") if name in log.algorithms)
        replay = {f"pcr{number}": value for number, value in sorted(log.replay(bank).items())}
        return {"algorithms": log.algorithms, "bank": bank, "replay": replay, "events": list(events.lines(log, bank))}
    found = tpm_evidence.read(evidence, collateral)
    values = {bank: {str(number): one for number, one in pcrs.items()} for bank, pcrs in (found.pcrs or {}).items()}
    parts = {f"{name}_sha256": hashlib.sha256(part).digest() for name, part in found.parts.items()}
    return {"quote": described(parse_quote(found.message)), "pcrs": values, **parts}


def _looks_like(evidence: bytes) -> bool:
    """A quote, JSON with a key and a quote in it, or a log with more than the one bank of a CC event log."""
    if evidence.lstrip()[:1] == b"{":
        return b'"ak_' in evidence and b'"message"' in evidence
    return tpm_evidence.is_quote(evidence) or len(eventlog.announced(evidence)) > 1


@kind(
    "tpm",
    Platform.VTPM,
    section=TpmSection,
    show=show,
    measures=lambda name: name.startswith("pcr"),
    looks_like=_looks_like,
    reads_json=True,
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """A quote, its log, and who vouches for its key.

    Args:
        evidence: JSON, or TPMS_ATTEST (see :mod:`strongroom.attest.tpm_evidence`).
        collateral: what the evidence does not bring along; certificates and CRLs of the CAs; ``credential``.
        policy: whose CAs, and whose PCRs beyond the log, hold.
        now: the controller's time.

    Raises:
        Refused: something does not hold or is missing.
    """
    section = policy.section_as("tpm", TpmSection) if policy else TpmSection()
    found = tpm_evidence.read(evidence, collateral)
    ak = _ak(found)
    if ak.public is not None:
        require_attestation(ak.public)
    checked = check(found, ak, section.beyond_log)
    grace = policy.grace if policy else timedelta(0)
    vouched = _vouch(found, ak, collateral, section, now, grace)
    notes, identity = (*checked.notes, *vouched.notes), vouched.identity
    if not vouched.by:
        notes = (*notes, "no CA vouches for the TPM's key: what it says counts as much as the way the key was learnt")
    facts = Facts(
        "tpm",
        Platform.VTPM,
        checked.quote.extra_data,
        checked.measurements,
        identity,
        {"quote": described(checked.quote), "ak_sha256": ak.spki_sha256, "vouched_by": vouched.by or "nobody"},
        notes,
        (),
        () if identity == ak.spki_sha256 else (ak.spki_sha256,),
        Evidence(checked.quote, checked.log, vouched.by),
        vouched.marks,
    )
    return authentic(facts, policy)
