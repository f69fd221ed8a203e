"""A TPM quote held against its signature, the PCR values said to be quoted, and the event log said to explain them."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from strongroom.attest import events, pem
from strongroom.attest.base import refuse
from strongroom.attest.eventlog import EventLog
from strongroom.attest.signatures import ecdsa_der, load_key
from strongroom.attest.tpm_evidence import Banks
from strongroom.attest.tpm_structures import ALG_RSAPSS, Public, Quote, Selection, parse_public, parse_signature

PCRS = range(24)
_DRTM = range(17, 23)  # start as all ones; the others as zeros (PC Client Platform TPM Profile, 4.6.2)
_HASHES: Mapping[str, hashes.HashAlgorithm] = MappingProxyType(
    {"sha256": hashes.SHA256(), "sha384": hashes.SHA384(), "sha512": hashes.SHA512()}
)


@dataclass(frozen=True)
class Key:
    """A public key of a TPM: the key, SHA-256 of its SubjectPublicKeyInfo, and its public area where that is known."""

    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    spki_sha256: bytes
    public: Public | None = None


def key_of(data: bytes, what: str) -> Key:
    """A key from TPMT_PUBLIC or TPM2B_PUBLIC, or from a SubjectPublicKeyInfo in DER or PEM.

    Raises:
        Refused: none of these, or a key that is not RSA from 2048 bits or ECC.
    """
    if data[:1] == b"\x30" or data.lstrip()[:5] == b"-----":
        der = data if data[:1] == b"\x30" else pem.blocks(data, "PUBLIC KEY", what)[0]
        return key_from_spki(der, what)
    public = parse_public(data, what)
    return Key(public.key, spki_digest(public.key), public)


def key_from_spki(der: bytes, what: str) -> Key:
    """A key from a DER SubjectPublicKeyInfo; Refused where it is neither RSA nor ECDSA."""
    key = load_key(der, what)
    if not isinstance(key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey):
        refuse(what, f"a {type(key).__name__}, allowed are RSA and ECDSA")
    return Key(key, spki_digest(key))


def spki_digest(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the key's SubjectPublicKeyInfo: how a policy names EKs and AKs."""
    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()


def verify_quote(message: bytes, signature: bytes, quote: Quote, key: Key, pcrs: Banks) -> Mapping[str, bytes]:
    """Signature over the quote, and the quote's digest over the values of its PCRs.

    Args:
        message: TPMS_ATTEST as it was signed; ``quote`` is the same, parsed.
        signature: as :func:`~strongroom.attest.tpm_structures.parse_signature` takes it.
        key: the attestation key.
        pcrs: values by bank and number; those that are not quoted are not looked at.

    Returns:
        The quoted PCRs as measurements: ``pcr<n>``; where several banks are quoted, those beside the first are
        ``pcr<n>.<bank>``.

    Raises:
        Refused: one of the two does not hold, or a quoted PCR has no value.
    """
    parsed = parse_signature(signature, key.key)
    digest = _HASHES[parsed.hash.name]
    try:
        if isinstance(key.key, rsa.RSAPublicKey):
            pss = parsed.scheme == ALG_RSAPSS
            # A TPM's salt is as long as the digest or as the key allows (part 1, B.7).
            scheme = padding.PSS(padding.MGF1(digest), padding.PSS.AUTO) if pss else padding.PKCS1v15()
            key.key.verify(parsed.values[0], message, scheme, digest)
        else:
            raw = ecdsa_der(parsed.values[0], parsed.values[1], "big", "quote.signature")
            key.key.verify(raw, message, ec.ECDSA(digest))
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        refuse("quote.signature", "the quote is not signed by this AK")
    found = [(selection, pcr, _value(pcrs, selection, pcr)) for selection in quote.selections for pcr in selection.pcrs]
    digested = parsed.hash.digest(b"".join(value for _, _, value in found))
    if digested != quote.pcr_digest:
        refuse("quote.pcr_digest", f"{quote.pcr_digest.hex()}, the values of the PCRs give {digested.hex()}")
    first = quote.selections[0].bank.name
    return MappingProxyType(
        {
            f"pcr{pcr}" if selection.bank.name == first else f"pcr{pcr}.{selection.bank.name}": value
            for selection, pcr, value in found
        }
    )


def _value(pcrs: Banks, selection: Selection, pcr: int) -> bytes:
    found = pcrs.get(selection.bank.name, {}).get(pcr)
    if found is None:
        refuse(f"pcrs.{selection.bank.name}.{pcr}", "it is quoted, and no value is given for it")
    return found


def explain(log: EventLog, quote: Quote, pcrs: Banks, beyond: Collection[int]) -> tuple[str, ...]:
    """Refuse a log that does not lead to the quoted PCRs, or whose records lie.

    Args:
        log: of the boot.
        quote: verified, with the values ``pcrs``.
        beyond: PCRs that are extended after the firmware's log ended (10 by IMA): their replay may differ.

    Returns:
        A note for each PCR of ``beyond`` that the log does not lead to: what the log says of it, nothing confirms.

    Raises:
        Refused: naming the PCR or the record.
    """
    notes = []
    for selection in quote.selections:
        bank = selection.bank
        replayed = log.replay(bank.name)
        for pcr in selection.pcrs:
            value = _value(pcrs, selection, pcr)
            start = (bytes(bank.size), b"\xff" * bank.size) if pcr in _DRTM else (bytes(bank.size),)
            allowed = (replayed[pcr],) if pcr in replayed else start
            if value in allowed:
                continue
            if pcr not in beyond:
                refuse(f"event_log.pcr{pcr}", f"the log leads to {allowed[0].hex()}, quoted is {value.hex()}")
            notes.append(f"the log does not lead to PCR {pcr}, as the policy permits (beyond_log)")
        events.require_honest(log, bank.name)
    return tuple(dict.fromkeys(notes))


def replayed_pcrs(log: EventLog, quote: Quote) -> Banks:
    """Values that a log leads to, where the evidence brings no PCRs along: the quote's digest says whether they hold."""
    return MappingProxyType(
        {
            selection.bank.name: {pcr: bytes(selection.bank.size) for pcr in selection.pcrs}
            | {pcr: b"\xff" * selection.bank.size for pcr in selection.pcrs if pcr in _DRTM}
            | dict(log.replay(selection.bank.name))
            for selection in quote.selections
        }
    )
