"""What a TDX quote needs beside itself: two CRLs, TCB info and QE identity, each signed under Intel's root and in date.

Documents of a :class:`Collateral`: ``tcb_info`` and ``qe_identity`` are Intel PCS's answers, byte for byte; their issuer chain
(the header ``TCB-Info-Issuer-Chain`` of the answer) is among the certificates; the CRLs are those of the root CA and of the
PCK CA that issued the platform's certificate.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from strongroom.attest import certificates, crl, jsontext
from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.collateral import Collateral
from strongroom.attest.crl import Crl
from strongroom.attest.marks import Mark
from strongroom.attest.signatures import SHA256, Scheme, ecdsa_der, verify_signature
from strongroom.attest.tdx_documents import QeIdentity, Signed, TcbInfo, cut, qe_identity, tcb_info

# SHA-256 of the SubjectPublicKeyInfo of "Intel SGX Root CA", valid to 2049-12-31, as Intel publishes it at
# https://certificates.trustedservices.intel.com/Intel_SGX_Provisioning_Certification_RootCA.pem.
INTEL_ROOTS = frozenset({"a0af031289f5d5d4132f9186068a7fc13628633ba235777472e29b6b6c67a49e"})
TCB_SIGNER = "Intel SGX TCB Signing"
ECDSA = Scheme("ECDSA P-256 SHA-256", "ecdsa", SHA256)

_BUNDLE = {
    "pck_crl_issuer_chain", "root_ca_crl", "pck_crl", "tcb_info_issuer_chain", "tcb_info", "tcb_info_signature",
    "qe_identity_issuer_chain", "qe_identity", "qe_identity_signature",
}  # fmt: skip


@dataclass(frozen=True)
class Checked:
    """Collateral that holds: the two documents, numbers of the CRLs, notes of what only the grace lets pass, all numbers."""

    info: TcbInfo
    identity: QeIdentity
    crl_numbers: Mapping[str, int | None]
    notes: tuple[str, ...]
    marks: tuple[Mark, ...]


def check(
    path: tuple[Certificate, ...],
    candidates: Iterable[Certificate],
    collateral: Collateral,
    now: datetime,
    grace: timedelta,
) -> Checked:
    """Everything but the quote.

    Args:
        path: from the PCK certificate to Intel's root; without the first, what a PCK's CA and everybody else needs.
        candidates: certificates that may vouch for the documents.
        collateral: CRLs and documents.
        now: the controller's time.
        grace: how long CRLs and documents may be used beyond their dates.

    Raises:
        Refused: something is missing, out of date, revoked or not signed by whom it has to be.
    """
    *leaves, authority, root = path
    lists = [crl.load(blob, "crls") for blob in collateral.crls]
    of_root, of_authority = _of(lists, root, "root_crl"), _of(lists, authority, "pck_crl")
    notes = [
        *crl.check(of_root, root, now, "root_crl", grace=grace),
        *crl.check(of_authority, authority, now, "pck_crl", grace=grace),
    ]
    crl.not_revoked(of_root, authority, "pck.issuer")
    for leaf in leaves:
        crl.not_revoked(of_authority, leaf, "pck.certificate")
    known = tuple(candidates)
    info_text = _signed(collateral, "tcb_info", "tcbInfo", known, of_root, now)
    identity_text = _signed(collateral, "qe_identity", "enclaveIdentity", known, of_root, now)
    info, identity = tcb_info(info_text.values), qe_identity(identity_text.values)
    notes += crl.current("TCB info", info.issued, info.next_update, now, "tcb_info.nextUpdate", grace=grace)
    notes += crl.current(
        "QE identity", identity.issued, identity.next_update, now, "qe_identity.nextUpdate", grace=grace
    )
    numbers = {"root": of_root.number, "pck": of_authority.number}
    evaluation = "tcbEvaluationDataNumber"
    marks = (
        Mark(f"TCB info of {info.fmspc.hex()}", f"tcb_info.{evaluation}", info.evaluation, info.issued),
        Mark("QE identity of TDX", f"qe_identity.{evaluation}", identity.evaluation, identity.issued),
        of_root.mark(root, "root_crl"),
        of_authority.mark(authority, "pck_crl"),
    )
    return Checked(info, identity, numbers, tuple(notes), marks)


def _of(lists: Iterable[Crl], issuer: Certificate, field: str) -> Crl:
    """The issuer's newest list."""
    found = [one for one in lists if one.issuer == issuer.subject]
    if not found:
        refuse(field, f"no CRL of {issuer.name} is given; without it nothing can be said")
    return max(found, key=lambda one: one.this_update)


def _signed(
    collateral: Collateral, document: str, name: str, known: tuple[Certificate, ...], of_root: Crl, now: datetime
) -> Signed:
    """A document, signed by a TCB signing certificate that Intel's root vouches for and has not revoked."""
    if document not in collateral.documents:
        refuse(document, f"no {document} is given; without it nothing can be said")
    found = cut(collateral.documents[document], name, document)
    failure: Refused | None = None
    for signer in (one for one in known if one.name == TCB_SIGNER):
        field = f"{document}.signature"
        try:
            path = certificates.chain(signer, known, INTEL_ROOTS, now, f"{document}.signer")
            require(len(path) == 2 and path[1].subject == of_root.issuer, f"{document}.signer", "not the root's own")
            require(certificates.may_sign_data(signer), f"{document}.signer", f"{signer.name} may not sign data")
            crl.not_revoked(of_root, signer, f"{document}.signer")
            raw = ecdsa_der(found.signature[:32], found.signature[32:], "big", field)
            verify_signature(signer.key, ECDSA, raw, found.raw, field)
        except Refused as refused:
            failure = refused
        else:
            return found
    raise failure or Refused(f"no certificate of {TCB_SIGNER} is given", f"{document}.signer")


def from_bundle(data: bytes) -> Collateral:
    """Collateral out of one JSON object, the form of sgx_ql_qve_collateral_t that quote verifiers pass around.

    The CRLs are DER in hex or PEM, the chains PEM, the documents the bare signed objects with their signatures beside.

    Raises:
        Refused: a key is missing, or a value is not of its form.
    """
    bundle = jsontext.document(data, "collateral")
    missing = sorted(_BUNDLE - set(bundle))
    require(not missing, "collateral", f"{', '.join(missing)} missing")
    values = {name: jsontext.text(bundle, name, "collateral") for name in _BUNDLE}
    chains = ("pck_crl_issuer_chain", "tcb_info_issuer_chain", "qe_identity_issuer_chain")
    lists = tuple(
        values[name].encode() if "-----BEGIN" in values[name] else jsontext.unhex(values[name], f"collateral.{name}")
        for name in ("root_ca_crl", "pck_crl")
    )
    documents = {
        name: f'{{"{key}":{values[name]},"signature":{json.dumps(values[f"{name}_signature"])}}}'.encode()
        for name, key in (("tcb_info", "tcbInfo"), ("qe_identity", "enclaveIdentity"))
    }
    return Collateral(tuple(values[name].encode() for name in chains), lists, documents)


def unbundle(text: bytes) -> Collateral | None:
    """:func:`from_bundle`, or None of a text that is not of that form.

    Raises:
        Refused: it is of that form, and damaged.
    """
    if text.lstrip()[:1] != b"{" or any(f'"{name}"'.encode() not in text for name in _BUNDLE):
        return None
    return from_bundle(text)
