"""One NVIDIA device: its transcript's signature, its certificates to NVIDIA's root, and what its own layers say of it."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from strongroom.attest import certificates, crl, dice, nvidia_opaque, ocsp, spdm
from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.crl import Crl
from strongroom.attest.marks import Mark
from strongroom.attest.nvidia_evidence import Device
from strongroom.attest.nvidia_opaque import Opaque
from strongroom.attest.ocsp import Response
from strongroom.attest.signatures import SHA384, Scheme, ecdsa_der, verify_signature
from strongroom.attest.spdm import Transcript

# SHA-256 of SubjectPublicKeyInfo of "NVIDIA Device Identity CA", from 2021-11-05 on: verifier_device_root.pem in NVIDIA's
# nvtrust repository (guest_tools/gpu_verifiers/local_gpu_verifier/src/verifier/certs). GPUs and switches end in it alike.
ROOTS: Final = frozenset({"a90c4eb5acfd3e3d03a25db6a26b84f720ad0503196c627c21ddd48dd85b06a4"})
_SCHEME: Final = Scheme("ECDSA P-384 with SHA-384", "ecdsa", SHA384)
_UNSAFE: Final = ("not secure", "recovery", "debug")
_SWITCH: Final = re.compile(r"LS_?\d+ ")
_MOST_CANDIDATES: Final = 256


@dataclass(frozen=True)
class Attested:
    """A device whose signature and chain hold.

    Attributes:
        transcript: what it signed.
        opaque: the vendor's part of it.
        chain: certificates, leaf first, up to the root.
        model: the leaf's common name up to its first blank: the chip, for instance ``GH100``.
        tcb: what the leaf's DICE extension says.
    """

    transcript: Transcript
    opaque: Opaque
    chain: tuple[Certificate, ...]
    model: str
    tcb: dice.Tcb

    @property
    def identity(self) -> bytes:
        """SHA-256 of SubjectPublicKeyInfo of the key that NVIDIA certified in the die, which issued the leaf.

        The leaf's own key changes with the firmware; this one is the device's for life.
        """
        return hashlib.sha256(self.chain[1].spki).digest()

    @property
    def is_switch(self) -> bool:
        """Whether it is an NVSwitch, by the name that NVIDIA certified for its boot ROM (``LS_10 A01 FSP BROM``).

        What the device's own data lack is no guide: a Blackwell GPU whose FSP answers says nothing of a driver either.
        """
        return _SWITCH.match(self.chain[1].name) is not None

    @property
    def unsafe(self) -> tuple[str, ...]:
        """What its own certificate says against it: that it is not secure, in recovery or under debug."""
        return tuple(flag for flag in self.tcb.flags if flag in _UNSAFE)

    @property
    def measurements(self) -> dict[int, bytes]:
        """By index from 0, as manifests count them; SPDM's blocks count from 1."""
        return {index - 1: value for index, (_, value) in sorted(self.transcript.blocks.items())}


def attest(
    device: Device, given: tuple[Certificate, ...], now: datetime, what: str, permit_debug: bool = False
) -> Attested:
    """Authenticate one device.

    Args:
        device: its transcript, and its chain where the evidence has it.
        given: certificates from collateral.
        now: when every certificate has to be valid.
        what: for reasons.
        permit_debug: whether a device is taken whose certificate says that it is not secure.

    Raises:
        Refused: form, signature, chain, a leaf that is no firmware's, firmware id, or a layer that says it is not secure.
    """
    transcript = spdm.parse(device.transcript, f"{what}spdm")
    opaque = nvidia_opaque.parse(transcript.opaque)
    own = certificates.load(device.chain, f"{what}certificate") if device.chain is not None else ()
    leaf = _signer(transcript, own[:1] or _leaves(given), f"{what}spdm.signature")
    chain = certificates.chain(leaf, (*own, *given), ROOTS, now, f"{what}certificate")
    require(
        len(chain) > 2, f"{what}certificate", f"the chain has {len(chain)} certificates, a device's has its own two"
    )
    require(certificates.may_sign_data(leaf), f"{what}certificate", f"{leaf.name} may not sign measurements")
    require(not leaf.authority[0], f"{what}certificate", f"{leaf.name} is an authority, not a device's firmware")
    if device.nonce is not None:
        require(
            device.nonce == transcript.nonce,
            f"{what}nonce",
            f"the evidence says it was asked with {device.nonce.hex()}, the device answered {transcript.nonce.hex()}",
        )
    found = Attested(transcript, opaque, chain, leaf.name.partition(" ")[0], _tcb(leaf, opaque, what))
    if found.unsafe and not permit_debug:
        refuse(
            f"{what}certificate.tcb.flags", f"the device's firmware is {', '.join(found.unsafe)}, allowed is none of it"
        )
    return found


def _leaves(given: tuple[Certificate, ...]) -> tuple[Certificate, ...]:
    """Certificates that may be the signer's: those of collateral that are no authorities."""
    leaves = tuple(certificate for certificate in given[:_MOST_CANDIDATES] if not certificate.authority[0])
    require(bool(leaves), "collateral.certificates", "the device's certificate chain is not given")
    return leaves


def _signer(transcript: Transcript, candidates: tuple[Certificate, ...], what: str) -> Certificate:
    size = spdm.SIGNATURE // 2
    raw = ecdsa_der(transcript.signature[:size], transcript.signature[size:], "big", what)
    failure = Refused("there is no certificate to check it with", what)
    for candidate in candidates:
        try:
            require(
                getattr(getattr(candidate.key, "curve", None), "name", "") == "secp384r1",
                what,
                f"the key of {candidate.name} is not on P-384",
            )
            verify_signature(candidate.key, _SCHEME, raw, transcript.covered, what)
        except Refused as refused:
            failure = refused
        else:
            return candidate
    raise failure


def _tcb(leaf: Certificate, opaque: Opaque, what: str) -> dice.Tcb:
    """The measured firmware has to be that for which the leaf's key was made.

    A leaf that names no firmware is no device's: Hopper, LS10, Blackwell (its FSP too) and Rubin all name theirs,
    and without it whatever else NVIDIA's authorities certify, an OCSP responder's key for instance, would be a device.
    """
    found = [leaf.extensions[oid].value for oid in dice.OIDS if oid in leaf.extensions]
    if not found:
        refuse(f"{what}certificate.tcb", f"{leaf.name} has no DICE extension, as every device's own certificate has")
    tcb = dice.parse(found[0], f"{what}certificate.tcb")
    measured = opaque.values.get("fwid")
    if measured is not None:
        fwids = [fwid for fwid in tcb.fwids if any(fwid)]
        require(
            measured in fwids,
            f"{what}spdm.opaque.fwid",
            f"the firmware id is {measured.hex()}, the certificate's key is of"
            f" {' or '.join(fwid.hex() for fwid in fwids) or 'none'}",
        )
    return tcb


@dataclass(frozen=True)
class Revocation:
    """What is known of a chain: names of certificates of which nothing speaks, notes, and the numbers of CRLs that were used."""

    unasked: tuple[str, ...]
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]


def revocation(
    chain: tuple[Certificate, ...],
    first: int,
    roots: frozenset[str],
    responses: tuple[Response, ...],
    lists: tuple[Crl, ...],
    now: datetime,
    grace: timedelta,
    what: str,
) -> Revocation:
    """Refuse a chain of which a certificate was revoked.

    Args:
        chain: verified, leaf first.
        first: index of the first certificate to ask for; a device's leaf is issued by the device itself, who revokes none.
        roots: pins of the chain's root.
        responses: OCSP responses, any number of any certificates.
        lists: revocation lists, likewise.
        now: the controller's time.
        grace: how long collateral may be used beyond its date.
        what: for reasons.

    Raises:
        Refused: one is revoked, or what speaks of it is not authentic or out of date.
    """
    unasked: list[str] = []
    notes: list[str] = []
    marks: list[Mark] = []
    for number, certificate in enumerate(chain[first:-1], first):
        issuers = chain[number + 1 :]
        field = f"{what}certificate.{number}.revocation"
        said = ocsp.status(responses, certificate, issuers, roots, now, field, grace=grace)
        listed = crl.of_issuer(lists, issuers[0])
        if listed is not None:
            notes += crl.check(listed, issuers[0], now, field, grace=grace)
            crl.not_revoked(listed, certificate, field)
            # An authority that has a new key may count anew under its old name.
            marks.append(listed.mark(issuers[0], f"{field}.crl", by_key=True))
        if said is None and listed is None:
            unasked.append(certificate.name)
        notes += said or ()
    return Revocation(tuple(unasked), tuple(notes), tuple(marks))
