"""OCSP responses (RFC 6960) as bytes that somebody else asked for, read strictly.

The responder's certificate comes with the response. RFC 6960 section 4.2.2.2 lets the issuer of the certificate in
question answer itself, or a responder that has the extended key usage for it; a responder is taken from any authority
on the chain of that issuer, for a vendor runs one responder for several of its authorities.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Final

from strongroom.attest import certificates, der
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.crl import current
from strongroom.attest.der import Der
from strongroom.attest.signatures import Scheme, scheme_of, verify_signature

_BASIC: Final = "1.3.6.1.5.5.7.48.1.1"
_OCSP_SIGNING: Final = "1.3.6.1.5.5.7.3.9"
_NONCE: Final = "1.3.6.1.5.5.7.48.1.2"
_HASHES: Final = {
    "1.3.14.3.2.26": "sha1",  # names a certificate here, and secures nothing
    "2.16.840.1.101.3.4.2.1": "sha256",
    "2.16.840.1.101.3.4.2.2": "sha384",
    "2.16.840.1.101.3.4.2.3": "sha512",
}
_REASONS: Final = {0: "unspecified", 1: "key compromise", 2: "CA compromise", 3: "affiliation changed", 4: "superseded",
                   5: "cessation of operation", 6: "certificate hold", 9: "privilege withdrawn", 10: "AA compromise"}  # fmt: skip
_GOOD, _REVOKED, _UNKNOWN = 0x80, 0xA1, 0x82
_LARGEST: Final = 1 << 17
_MOST: Final = 64


@dataclass(frozen=True)
class Single:
    """What is said of one certificate, named by hashes of its issuer's name and key and by its serial number."""

    hash: str
    issuer_name: bytes
    issuer_key: bytes
    serial: int
    status: str
    this_update: datetime
    next_update: datetime | None

    def of(self, certificate: Certificate, issuer: Certificate) -> bool:
        """Whether it speaks of that certificate."""
        return (
            self.serial == certificate.serial
            and self.issuer_name == hashlib.new(self.hash, certificate.issuer).digest()
            and self.issuer_key == hashlib.new(self.hash, _key_bits(issuer)).digest()
        )


@dataclass(frozen=True, eq=False)
class Response:
    """A response as its bytes say; nothing in it is trusted before :func:`status` checked who signed it."""

    tbs: bytes
    singles: tuple[Single, ...]
    scheme: Scheme
    signature: bytes
    certificates: tuple[Certificate, ...]


def looks_like(document: bytes) -> bool:
    """The outward form alone: a long SEQUENCE, or the short one of a responder's error; not hex digits, which start alike."""
    return document[:2] in (b"\x30\x81", b"\x30\x82", b"\x30\x83") or document[:4] == b"\x30\x03\x0a\x01"


@lru_cache(maxsize=256)
def load(data: bytes, what: str = "ocsp") -> Response:
    """One DER response, the whole of the bytes.

    Raises:
        Refused: it is not strict, is no success, or has a critical extension that is not understood.
    """
    require(len(data) <= _LARGEST, what, f"{len(data)} bytes, allowed are {_LARGEST}")
    outer = Der(data, what)
    body = outer.sub("response")
    outer.end()
    status = body.small("status", der.ENUMERATED)
    require(status == 0, f"{what}.status", f"the responder answered with status {status}, allowed is 0 (successful)")
    wrapper = body.sub("bytes", 0xA0)
    body.end()
    typed = wrapper.sub("typed")
    wrapper.end()
    kind = typed.oid("type")
    require(kind == _BASIC, f"{what}.type", f"the response is of type {kind}, allowed is {_BASIC} (basic)")
    inner = Der(typed.take(der.OCTET_STRING, "basic"), what)
    typed.end()
    basic = inner.sub("basic")
    inner.end()
    tag, content, whole = basic.element("tbs")
    require(tag == der.SEQUENCE, f"{what}.tbs", "not a SEQUENCE")
    scheme = scheme_of(basic.take(der.SEQUENCE, "algorithm"), f"{what}.algorithm")
    signature = basic.bits("signature")
    found: list[Certificate] = []
    if basic.more:
        listed = basic.sub("certificates", 0xA0).sub("list")
        while listed.more and len(found) < _MOST:
            found.append(certificates.parse(listed.element("certificate")[2], f"{what}.certificate"))
        listed.end()
    basic.end()
    return Response(whole, _singles(Der(content, what), what), scheme, signature, tuple(found))


def _singles(tbs: Der, what: str) -> tuple[Single, ...]:
    if tbs.peek() == 0xA0:
        require(tbs.sub("version", 0xA0).small("value") == 0, f"{what}.version", "allowed is version 1")
    tag, _, _ = tbs.element("responder")
    require(tag in (0xA1, 0xA2), f"{what}.responder", f"the responder's id has tag {tag:#04x}")
    tbs.time("producedAt")
    listed = tbs.sub("responses")
    found: list[Single] = []
    while listed.more:
        require(len(found) < _MOST, f"{what}.responses", f"more than {_MOST} responses")
        found.append(_single(listed.sub("single"), what))
    _extensions(tbs, 0xA1, what)
    tbs.end()
    return tuple(found)


def _single(entry: Der, what: str) -> Single:
    name = entry.sub("certID")
    algorithm = name.sub("hash")
    oid = algorithm.oid("algorithm")
    algorithm.optional(der.NULL, "parameters")
    algorithm.end()
    require(oid in _HASHES, f"{what}.certID", f"hash is {oid}, allowed are {', '.join(_HASHES.values())}")
    issuer_name, issuer_key = name.take(der.OCTET_STRING, "nameHash"), name.take(der.OCTET_STRING, "keyHash")
    serial = name.integer("serial")
    name.end()
    tag, content, _ = entry.element("status")
    status = _status(tag, content, what)
    this_update = entry.time("thisUpdate")
    next_update = entry.sub("nextUpdate", 0xA0).time("value") if entry.peek() == 0xA0 else None
    _extensions(entry, 0xA1, what)
    entry.end()
    return Single(_HASHES[oid], issuer_name, issuer_key, serial, status, this_update, next_update)


def _status(tag: int, content: bytes, what: str) -> str:
    if tag == _GOOD and not content:
        return "good"
    if tag == _UNKNOWN and not content:
        return "unknown"
    if tag != _REVOKED:
        refuse(f"{what}.status", f"the certificate's status has tag {tag:#04x}")
    revoked = Der(content, f"{what}.revoked")
    when = revoked.time("time")
    reason = revoked.sub("reason", 0xA0).small("value", der.ENUMERATED) if revoked.more else 0
    revoked.end()
    return f"revoked on {when:%Y-%m-%d %H:%M} UTC ({_REASONS.get(reason, f'reason {reason}')})"


def _extensions(reader: Der, tag: int, what: str) -> None:
    """None has to be understood: a nonce answers one who asked on line, and we read what was asked before."""
    if reader.peek() != tag:
        return
    listed = reader.sub("extensions", tag).sub("list")
    while listed.more:
        one = listed.sub("extension")
        oid = one.oid("id")
        critical = one.boolean("critical") if one.peek() == der.BOOLEAN else False
        require(not critical or oid == _NONCE, f"{what}.extensions", f"critical extension {oid} is not understood")
        one.take(der.OCTET_STRING, "value")
        one.end()


def _key_bits(certificate: Certificate) -> bytes:
    """The content of subjectPublicKey, which a CertID hashes."""
    outer = Der(certificate.spki, "certificate.key")
    info = outer.sub("info")
    info.take(der.SEQUENCE, "algorithm")
    return info.bits("bits")


def status(
    responses: Iterable[Response],
    certificate: Certificate,
    chain: tuple[Certificate, ...],
    pins: Collection[str],
    now: datetime,
    field: str,
    *,
    grace: timedelta = timedelta(0),
) -> tuple[str, ...] | None:
    """Refuse a certificate that any response of these calls other than good.

    Args:
        responses: of any certificates.
        certificate: the one in question.
        chain: its issuer first, up to the root; verified by the caller.
        pins: of the root.
        now: the controller's time.
        field: for reasons.
        grace: how long a response may be used beyond its date.

    Returns:
        Notes; None where no response speaks of it.

    Raises:
        Refused: it is revoked or unknown, or a response that speaks of it is not signed by one who may, or out of date.
    """
    notes: tuple[str, ...] | None = None
    for response in responses:
        for single in response.singles:
            if single.of(certificate, chain[0]):
                _signed(response, chain, pins, now, field)
                require(single.status == "good", field, f"{certificate.name} is {single.status}, allowed is good")
                what = f"the OCSP response on {certificate.name}"
                said = current(what, single.this_update, single.next_update, now, field, grace=grace)
                notes = (*(notes or ()), *said)
    return notes


def _signed(
    response: Response, chain: tuple[Certificate, ...], pins: Collection[str], now: datetime, field: str
) -> None:
    for signer in response.certificates:
        if signer.spki == chain[0].spki or _OCSP_SIGNING not in (signer.purposes or ()):
            continue
        path = certificates.chain(signer, (*response.certificates, *chain), pins, now, f"{field}.responder")
        issuer = path[min(1, len(path) - 1)]
        require(
            any(issuer.der == authority.der for authority in chain),
            f"{field}.responder",
            f"{signer.name} was issued by none of the certificate's issuers",
        )
        verify_signature(signer.key, response.scheme, response.signature, response.tbs, f"{field}.signature")
        return
    verify_signature(chain[0].key, response.scheme, response.signature, response.tbs, f"{field}.signature")
