"""The key of a CCA platform (CPAK), which no vendor's root vouches for yet: whoever verifies has to bring it.

It is taken from collateral in three forms: a PEM public key, a JWK (RFC 7517), or a CoMID in JSON, whose key holds for
the platform that its environment names (draft-ietf-rats-corim section 5.1.11).
"""

from __future__ import annotations

import binascii
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator, Mapping
from typing import Any, Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from strongroom.attest import cose, jsontext
from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.collateral import Collateral

_CURVES: Final[Mapping[str, ec.EllipticCurve]] = {
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}
_LARGEST: Final = 1 << 20
_PEM: Final = b"-----BEGIN PUBLIC KEY-----"


def given(collateral: Collateral, implementation: bytes, instance: bytes) -> tuple[ec.EllipticCurvePublicKey, ...]:
    """Every key that the collateral gives for this platform.

    Args:
        collateral: documents (of any name) and certificates' texts are looked through.
        implementation: the token's implementation id, 32 bytes.
        instance: the token's instance id, 33 bytes.

    Raises:
        Refused: there is no key, or what looks like one can't be read.
    """
    found: list[ec.EllipticCurvePublicKey] = []
    for name, document in [*collateral.documents.items(), *(("certificates", pem) for pem in collateral.certificates)]:
        found += _keys(document, f"collateral.{name}", implementation, instance)
    require(
        bool(found),
        "collateral.platform_key",
        f"no key is given for the platform {instance.hex()}; give its public key as PEM, JWK or CoMID",
    )
    return tuple(found)


def _keys(document: bytes, what: str, implementation: bytes, instance: bytes) -> Iterator[ec.EllipticCurvePublicKey]:
    start = document[:64].lstrip()
    if len(document) > _LARGEST:
        return
    if start.startswith(_PEM):
        yield _pem(document, what)
    elif start.startswith(b"{"):
        values = jsontext.loads(document, what)
        if isinstance(values, dict) and "kty" in values:
            yield _jwk(values, what)
        elif isinstance(values, dict) and isinstance(values.get("triples"), dict):
            yield from _comid(values["triples"], what, implementation, instance)


def _pem(document: bytes, what: str) -> ec.EllipticCurvePublicKey:
    try:
        key = serialization.load_pem_public_key(document)
    except (ValueError, UnsupportedAlgorithm):
        refuse(what, "the public key can't be read")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        refuse(what, "a platform's key is on an elliptic curve")
    return key


def _jwk(values: dict[str, Any], what: str) -> ec.EllipticCurvePublicKey:
    curve = _CURVES.get(values["crv"]) if isinstance(values.get("crv"), str) else None
    if values["kty"] != "EC" or curve is None:
        refuse(f"{what}.kty", f"a key of type {values['kty']!r}, allowed is EC on {', '.join(_CURVES)}")
    return cose.point(curve, _base64url(values, "x", what), _base64url(values, "y", what), what)


def _base64url(values: dict[str, Any], name: str, what: str) -> bytes:
    text = values.get(name)
    try:
        if isinstance(text, str) and "=" not in text and len(text) < 200:
            return urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        pass
    raise Refused("it is no base64url without padding", f"{what}.{name}")


def _comid(
    triples: dict[str, Any], what: str, implementation: bytes, instance: bytes
) -> Iterator[ec.EllipticCurvePublicKey]:
    """Keys of this platform alone; those of others, and what is not understood, are none of ours."""
    entries = triples.get("attester-verification-keys")
    for entry in entries if isinstance(entries, list) else []:
        if _value(entry, "environment", "class", "id") != implementation:
            continue
        if _value(entry, "environment", "instance") != instance:
            continue
        for key in entry.get("verification-keys", []) if isinstance(entry, dict) else []:
            if isinstance(key, dict) and isinstance(key.get("value"), str):
                try:
                    text = key["value"].encode()
                except UnicodeEncodeError:
                    refuse(what, "the public key can't be read")
                yield _pem(text, what) if text.startswith(_PEM) else _spki(text, what)


def _spki(text: bytes, what: str) -> ec.EllipticCurvePublicKey:
    try:
        der = b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        refuse(what, "the public key is no base64")
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, UnsupportedAlgorithm):
        refuse(what, "the public key can't be read")
    if not isinstance(key, ec.EllipticCurvePublicKey):
        refuse(what, "a platform's key is on an elliptic curve")
    return key


def _value(entry: object, *path: str) -> bytes | None:
    for name in path:
        if not isinstance(entry, dict):
            return None
        entry = entry.get(name)
    text = entry.get("value") if isinstance(entry, dict) else None
    try:
        return b64decode(text, validate=True) if isinstance(text, str) else None
    except (ValueError, binascii.Error):
        return None
