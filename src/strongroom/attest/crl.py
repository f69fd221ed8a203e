"""Certificate revocation lists (RFC 5280 section 5), read strictly."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from types import MappingProxyType

from strongroom.attest import der, pem
from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate, Extension, common_name, may_sign_crls
from strongroom.attest.der import Der
from strongroom.attest.marks import Mark
from strongroom.attest.signatures import Scheme, scheme_of, verify_signature

CRL_NUMBER, AUTHORITY_KEY_ID, ISSUING_POINT = "2.5.29.20", "2.5.29.35", "2.5.29.28"
_LARGEST = 16 * 1024 * 1024
_NONE = timedelta(0)


@dataclass(frozen=True, eq=False)
class Crl:
    """A list as its bytes say; ``next_update`` is None where it has none, ``number`` too."""

    tbs: bytes
    issuer: bytes
    this_update: datetime
    next_update: datetime | None
    revoked: Mapping[int, datetime]
    scheme: Scheme
    signature: bytes
    number: int | None

    def mark(self, issuer: Certificate, field: str, *, by_key: bool = False) -> Mark:
        """The number by which this list, verified as its issuer's, never goes back.

        Args:
            issuer: whose list it is.
            field: dotted name of the list.
            by_key: tell issuers of one name apart by their keys: those that are not pinned, or may count anew with a new one.
        """
        key = f" ({issuer.spki_sha256[:16]})" if by_key else ""
        return Mark(f"{issuer.name}{key}'s revocation list", f"{field}.number", self.number, self.this_update)


@lru_cache(maxsize=64)
def load(blob: bytes, what: str = "crl") -> Crl:
    """One list, PEM or DER, the whole of the bytes.

    Raises:
        Refused: it is not strict, or has a critical extension that is not understood (a delta or a partial list).
    """
    require(len(blob) <= _LARGEST, what, f"{len(blob)} bytes, allowed are {_LARGEST}")
    if blob[:1] != b"\x30":
        blocks = pem.blocks(blob, "X509 CRL", what)
        require(len(blocks) == 1, what, f"{len(blocks)} lists in one text, allowed is one")
        blob = blocks[0]
    outer = Der(blob, what)
    body = outer.sub("list")
    outer.end()
    tag, content, whole = body.element("tbs")
    algorithm, signature = body.take(der.SEQUENCE, "signatureAlgorithm"), body.bits("signature")
    body.end()
    require(tag == der.SEQUENCE, f"{what}.tbs", "not a SEQUENCE")
    tbs = Der(content, what)
    version = tbs.small("version") if tbs.peek() == der.INTEGER else 0
    require(version <= 1, f"{what}.version", f"version {version + 1}, allowed is up to 2")
    require(tbs.take(der.SEQUENCE, "signature") == algorithm, f"{what}.signature", "two different algorithms are named")
    issuer = tbs.element("issuer")[2]
    common_name(issuer, f"{what}.issuer")
    this_update = tbs.time("thisUpdate")
    next_update = tbs.time("nextUpdate") if tbs.peek() in (der.UTC_TIME, der.GENERALIZED_TIME) else None
    entries = tbs.sub("revokedCertificates") if tbs.peek() == der.SEQUENCE else None
    revoked = MappingProxyType(_entries(entries, what) if entries else {})
    number = _number(tbs.sub("extensions", 0xA0), what) if tbs.more else None
    tbs.end()
    scheme = scheme_of(algorithm, f"{what}.signatureAlgorithm")
    return Crl(whole, issuer, this_update, next_update, revoked, scheme, signature, number)


def _entries(entries: Der, what: str) -> dict[int, datetime]:
    revoked = {}
    while entries.more:
        entry = entries.sub("entry")
        serial, date = entry.integer("serial"), entry.time("date")
        for oid, extension in (_extensions(entry, what) if entry.more else {}).items():
            require(not extension.critical, f"{what}.entry", f"critical extension {oid} is not understood")
        entry.end()
        revoked[serial] = date
    return revoked


def _extensions(reader: Der, what: str) -> dict[str, Extension]:
    listed, found = reader.sub("extensions"), {}
    while listed.more:
        one = listed.sub("extension")
        oid = one.oid("id")
        critical = one.boolean("critical") if one.peek() == der.BOOLEAN else False
        require(oid not in found, f"{what}.extensions", f"extension {oid} is there twice")
        found[oid] = Extension(critical, one.take(der.OCTET_STRING, "value"))
        one.end()
    return found


def _number(reader: Der, what: str) -> int | None:
    found = _extensions(reader, what)
    reader.end()
    for oid, extension in found.items():
        require(
            not extension.critical,
            f"{what}.extensions",
            f"critical extension {oid}: a delta or partial list is no list",
        )
    if CRL_NUMBER not in found:
        return None
    value = Der(found[CRL_NUMBER].value, f"{what}.number")
    number = value.integer("value")
    value.end()
    return number


def current(
    what: str, issued: datetime, expires: datetime | None, now: datetime, field: str, *, grace: timedelta = _NONE
) -> tuple[str, ...]:
    """Refuse collateral outside its dates; within the policy's grace beyond them, say so in a note.

    Args:
        what: its name in a sentence.
        issued, expires: its dates, inclusive; collateral that names no end refuses.
        now: the controller's time.
        field: for reasons.
        grace: how long it may be used beyond its date.
    """
    if now < issued:
        refuse(field, f"{what} is of {issued:%Y-%m-%d %H:%M} UTC, the time is {now:%Y-%m-%d %H:%M} UTC")
    if expires is None:
        refuse(field, f"{what} names no date of its end")
    if now <= expires:
        return ()
    late = f"{what} ended {expires:%Y-%m-%d %H:%M} UTC, the time is {now:%Y-%m-%d %H:%M} UTC"
    if now - expires > grace:
        refuse(field, f"{late}, and the grace is {int(grace.total_seconds() // 3600)} hours")
    return (f"{late}; within the policy's grace of {int(grace.total_seconds() // 3600)} hours",)


def check(crl: Crl, issuer: Certificate, now: datetime, field: str, *, grace: timedelta = _NONE) -> tuple[str, ...]:
    """Refuse a list that its issuer did not sign or that is out of date; returns notes.

    Args:
        crl: the list.
        issuer: whose chain was verified already.
        now: the controller's time.
        field: for reasons.
        grace: how long it may be used beyond its date.
    """
    require(crl.issuer == issuer.subject, field, f"the list is {common_name(crl.issuer, field)}'s, not {issuer.name}'s")
    require(may_sign_crls(issuer), field, f"{issuer.name} may not sign revocation lists")
    verify_signature(issuer.key, crl.scheme, crl.signature, crl.tbs, field)
    return current(f"{issuer.name}'s revocation list", crl.this_update, crl.next_update, now, field, grace=grace)


def of_issuer(crls: Iterable[Crl], issuer: Certificate) -> Crl | None:
    """The newest list that names this issuer, or None."""
    mine = [crl for crl in crls if crl.issuer == issuer.subject]
    return max(mine, key=lambda crl: crl.this_update) if mine else None


def not_revoked(crl: Crl, certificate: Certificate, field: str) -> None:
    """Refuse a certificate that a verified list of its issuer names."""
    if certificate.issuer == crl.issuer and certificate.serial in crl.revoked:
        refuse(field, f"{certificate.name} was revoked on {crl.revoked[certificate.serial]:%Y-%m-%d %H:%M} UTC")
