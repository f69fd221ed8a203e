"""X.509 certificates (RFC 5280), read strictly, and chains to pinned keys.

The parser is our own on :mod:`strongroom.attest.der`, and `cryptography` gets public keys and signatures alone: AMD
gives every VCEK and VLEK the serial number 0, which a future `cryptography` refuses to load (pyca/cryptography#13287).
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from types import MappingProxyType

from strongroom.attest import der, pem
from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.der import Der
from strongroom.attest.signatures import PublicKey, Scheme, load_key, scheme_of, verify_signature

BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE = "2.5.29.19", "2.5.29.15", "2.5.29.37"
_UNDERSTOOD = frozenset({BASIC_CONSTRAINTS, KEY_USAGE, EXTENDED_KEY_USAGE})
_COMMON_NAME = "2.5.4.3"
_DIGITAL_SIGNATURE, _CERTIFICATE_SIGN, _CRL_SIGN = 0, 5, 6
_LONGEST_CHAIN = 10
_LARGEST = 64 * 1024  # bytes of one certificate
_LARGEST_TEXT = 16 * 1024 * 1024  # bytes of one PEM text: a rack's leaves in one file
_TEXT = {der.UTF8_STRING: "utf-8", der.PRINTABLE_STRING: "ascii", der.IA5_STRING: "ascii", der.T61_STRING: "latin-1"}


@dataclass(frozen=True)
class Extension:
    """One extension: whether who does not know it must refuse, and its value's bytes."""

    critical: bool
    value: bytes


@dataclass(frozen=True, eq=False)
class Certificate:
    """A certificate as its bytes say; nothing in it is trusted before a chain is.

    Attributes:
        der: the whole; tbs: what is signed.
        serial: may be 0 or negative here, AMD's is 0.
        issuer, subject: DER of the names; they are compared as bytes.
        not_before, not_after: inclusive.
        spki: DER of SubjectPublicKeyInfo.
    """

    der: bytes
    tbs: bytes
    serial: int
    issuer: bytes
    subject: bytes
    not_before: datetime
    not_after: datetime
    spki: bytes
    scheme: Scheme
    signature: bytes
    extensions: Mapping[str, Extension] = field(default_factory=dict)

    @cached_property
    def name(self) -> str:
        """The subject's common name; empty where it has none."""
        return common_name(self.subject, "certificate.subject")

    @cached_property
    def spki_sha256(self) -> str:
        """SHA-256 of the DER SubjectPublicKeyInfo in hex: what pins name."""
        return hashlib.sha256(self.spki).hexdigest()

    @property
    def key(self) -> PublicKey:
        """The public key."""
        return load_key(self.spki, "certificate.key")

    @cached_property
    def authority(self) -> tuple[bool, int | None]:
        """basicConstraints: whether it is a CA, and how many CAs may follow it (None: any number)."""
        extension = self.extensions.get(BASIC_CONSTRAINTS)
        if extension is None:
            return False, None
        reader = Der(extension.value, "certificate.basicConstraints")
        content = reader.sub("value")
        reader.end()
        is_ca = content.boolean("cA") if content.peek() == der.BOOLEAN else False
        length = content.small("pathLen") if content.more else None
        content.end()
        return is_ca, length

    @cached_property
    def purposes(self) -> frozenset[str] | None:
        """extendedKeyUsage: OIDs of what the key is for alone; None where there is no such extension."""
        extension = self.extensions.get(EXTENDED_KEY_USAGE)
        if extension is None:
            return None
        reader = Der(extension.value, "certificate.extendedKeyUsage")
        listed, found = reader.sub("purposes"), set()
        reader.end()
        while listed.more:
            found.add(listed.oid("purpose"))
        return frozenset(found)

    def may(self, bit: int) -> bool:
        """keyUsage: whether the bit of that number (RFC 5280 section 4.2.1.3) is set; True where there is no such extension.

        Raises:
            Refused: the extension is no bit string of up to 9 bits.
        """
        extension = self.extensions.get(KEY_USAGE)
        if extension is None:
            return True
        reader = Der(extension.value, "certificate.keyUsage")
        content = reader.take(der.BIT_STRING, "value")
        reader.end()
        require(1 < len(content) <= 3 and content[0] < 8, "certificate.keyUsage", "not a bit string of up to 9 bits")
        return bit // 8 + 1 < len(content) and bool(content[1 + bit // 8] >> (7 - bit % 8) & 1)


def common_name(name: bytes, field: str) -> str:
    """The last common name in a DER Name; empty where it has none or is not text."""
    found = ""
    outer = Der(name, field)
    sets = outer.sub("name")
    outer.end()
    while sets.more:
        attributes = sets.sub("rdn", der.SET)
        while attributes.more:
            attribute = attributes.sub("attribute")
            oid = attribute.oid("type")
            tag, content, _ = attribute.element("value")
            attribute.end()
            if oid == _COMMON_NAME:
                found = content.decode(_TEXT.get(tag, "ascii"), errors="replace")
    return found


@lru_cache(maxsize=4096)
def parse(data: bytes, what: str = "certificate") -> Certificate:
    """One DER certificate, the whole of the bytes.

    Raises:
        Refused: it is not strict DER, has bytes too many, or a signature algorithm that is not used here.
    """
    require(len(data) <= _LARGEST, what, f"{len(data)} bytes, allowed are {_LARGEST}")
    outer = Der(data, what)
    body = outer.sub("certificate")
    outer.end()
    _, content, whole = body.element("tbs")
    algorithm = body.take(der.SEQUENCE, "signatureAlgorithm")
    signature = body.bits("signature")
    body.end()
    require(whole[0] == der.SEQUENCE, f"{what}.tbs", "not a SEQUENCE")
    tbs = Der(content, what)
    version = tbs.sub("version", 0xA0).small("value") if tbs.peek() == 0xA0 else 0
    require(version <= 2, f"{what}.version", f"version {version + 1}, allowed is up to 3")
    serial = tbs.integer("serial")
    require(tbs.take(der.SEQUENCE, "signature") == algorithm, f"{what}.signature", "two different algorithms are named")
    issuer = tbs.element("issuer")[2]
    validity = tbs.sub("validity")
    not_before, not_after = validity.time("notBefore"), validity.time("notAfter")
    validity.end()
    subject, spki = tbs.element("subject")[2], tbs.element("key")[2]
    extensions = _extensions(tbs, 0xA3, what) if tbs.more else {}
    tbs.end()
    require(not extensions or version == 2, f"{what}.version", "extensions in a certificate before version 3")
    scheme = scheme_of(algorithm, f"{what}.signatureAlgorithm")
    common_name(subject, f"{what}.subject")
    return Certificate(
        data,
        whole,
        serial,
        issuer,
        subject,
        not_before,
        not_after,
        spki,
        scheme,
        signature,
        MappingProxyType(extensions),
    )


def _extensions(reader: Der, tag: int, what: str) -> dict[str, Extension]:
    wrapper = reader.sub("extensions", tag)
    listed = wrapper.sub("list")
    wrapper.end()
    found: dict[str, Extension] = {}
    while listed.more:
        one = listed.sub("extension")
        oid = one.oid("id")
        critical = one.boolean("critical") if one.peek() == der.BOOLEAN else False
        require(oid not in found, f"{what}.extensions", f"extension {oid} is there twice")
        found[oid] = Extension(critical, one.take(der.OCTET_STRING, "value"))
        one.end()
    return found


@lru_cache(maxsize=2048)
def load(blob: bytes, what: str = "certificates") -> tuple[Certificate, ...]:
    """Every certificate of a PEM text, or the one of DER bytes.

    Raises:
        Refused: none is in it, one is malformed, or it is too long.
    """
    require(len(blob) <= _LARGEST_TEXT, what, f"{len(blob)} bytes, allowed are {_LARGEST_TEXT}")
    if blob[:1] == b"\x30":
        return (parse(blob, what),)
    return tuple(parse(block, what) for block in pem.blocks(blob, "CERTIFICATE", what))


def load_all(blobs: Iterable[bytes], what: str = "certificates") -> tuple[Certificate, ...]:
    """Every certificate of several blobs, in their order, each once."""
    found = {certificate.der: certificate for blob in blobs for certificate in load(blob, what)}
    return tuple(found.values())


def valid_at(certificate: Certificate, now: datetime, field: str) -> None:
    """Refuse a certificate outside its dates."""
    dates = f"{certificate.not_before:%Y-%m-%d %H:%M} to {certificate.not_after:%Y-%m-%d %H:%M} UTC"
    if not certificate.not_before <= now <= certificate.not_after:
        refuse(field, f"{certificate.name or 'the certificate'} is valid {dates}, the time is {now:%Y-%m-%d %H:%M} UTC")


@lru_cache(maxsize=4096)
def _signed(child: bytes, parent: bytes, field: str) -> None:
    issued, issuer = parse(child), parse(parent)
    verify_signature(issuer.key, issued.scheme, issued.signature, issued.tbs, field)


def issued_by(child: Certificate, parent: Certificate, field: str, *, understood: Collection[str] = ()) -> None:
    """Refuse unless the parent is a CA of the child's issuer name that may sign certificates, and signed it.

    Args:
        child: the certificate.
        parent: its issuer's.
        field: for reasons.
        understood: OIDs of critical extensions that the caller judges itself.
    """
    require(child.issuer == parent.subject, field, f"{child.name} was not issued by {parent.name}")
    require(parent.authority[0], field, f"{parent.name} is no CA")
    require(parent.may(_CERTIFICATE_SIGN), field, f"{parent.name} may not sign certificates")
    for certificate in (child, parent):
        _critical(certificate, field, understood)
    _signed(child.der, parent.der, field)


def _critical(certificate: Certificate, field: str, understood: Collection[str]) -> None:
    known = _UNDERSTOOD | set(understood)
    if unknown := sorted(
        oid for oid, extension in certificate.extensions.items() if extension.critical and oid not in known
    ):
        refuse(field, f"{certificate.name} has the critical extension {unknown[0]}, which is not understood")


def may_sign_crls(certificate: Certificate) -> bool:
    """keyUsage cRLSign; True where there is no keyUsage."""
    return certificate.may(_CRL_SIGN)


def may_sign_data(certificate: Certificate) -> bool:
    """keyUsage digitalSignature, or no keyUsage, and no extendedKeyUsage.

    Whose key is for some purpose alone (an OCSP responder's, a TLS server's) signs neither measurements nor reference
    values: RFC 5280, 4.2.1.12, and no purpose that it lists is these. NVIDIA's and Intel's real signers have no such extension.
    """
    return certificate.may(_DIGITAL_SIGNATURE) and certificate.purposes is None


def chain(
    leaf: Certificate,
    candidates: Iterable[Certificate],
    pins: Collection[str],
    now: datetime,
    field: str,
    *,
    understood: Collection[str] = (),
) -> tuple[Certificate, ...]:
    """The path from a leaf to a self-issued root whose key is pinned, leaf first.

    Args:
        leaf: the certificate to vouch for.
        candidates: certificates to build the path of; unused ones do no harm.
        pins: SHA-256 of SubjectPublicKeyInfo of trusted roots, in hex.
        now: when each of the path has to be valid.
        field: for reasons.
        understood: OIDs of critical extensions that the caller judges itself.

    Raises:
        Refused: there is no such path, or something on it does not hold.
    """
    by_subject: dict[bytes, list[Certificate]] = {}
    for candidate in candidates:
        by_subject.setdefault(candidate.subject, []).append(candidate)
    path = [leaf]
    while len(path) <= _LONGEST_CHAIN:
        last = path[-1]
        valid_at(last, now, field)
        if last.issuer == last.subject:
            issued_by(last, last, field, understood=understood)
            require(last.spki_sha256 in pins, field, f"the chain ends in {last.name}, whose key is not a pinned root's")
            _lengths(path, field)
            return tuple(path)
        path.append(_issuer(last, by_subject.get(last.issuer, []), field, understood))
    raise Refused(f"the chain is longer than {_LONGEST_CHAIN} certificates", field)


def _issuer(child: Certificate, candidates: list[Certificate], field: str, understood: Collection[str]) -> Certificate:
    failure: Refused | None = None
    for parent in candidates:
        try:
            issued_by(child, parent, field, understood=understood)
        except Refused as refused:
            failure = refused
        else:
            return parent
    name = common_name(child.issuer, field) or "its issuer"
    raise failure or Refused(f"no certificate of {name} is given, which issued {child.name}", field)


def _lengths(path: list[Certificate], field: str) -> None:
    for below, authority in enumerate(path[1:]):
        length = authority.authority[1]
        require(
            length is None or below <= length, field, f"{authority.name} may have {length} CAs below it, has {below}"
        )
