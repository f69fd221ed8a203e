"""COSE_Sign1 messages and EC2 keys (RFC 9052 sections 4.2 and 7, RFC 9053 sections 2.1 and 7.1.1), no more than tokens use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature

from strongroom.attest import cbor
from strongroom.attest.base import refuse, require

SIGN1: Final = 18  # the tag of a COSE_Sign1
_ALG, _CRIT, _KID = 1, 2, 4

# The curve is bound to the algorithm, as the fully specified names of RFC 9864 (-9, -51, -52) have it.
_P256: tuple[ec.EllipticCurve, hashes.HashAlgorithm] = (ec.SECP256R1(), hashes.SHA256())
_P384: tuple[ec.EllipticCurve, hashes.HashAlgorithm] = (ec.SECP384R1(), hashes.SHA384())
_P521: tuple[ec.EllipticCurve, hashes.HashAlgorithm] = (ec.SECP521R1(), hashes.SHA512())
_ALGORITHMS: Final = {-7: _P256, -9: _P256, -35: _P384, -51: _P384, -36: _P521, -52: _P521}
_CURVES: Final[Mapping[int, ec.EllipticCurve]] = {1: ec.SECP256R1(), 2: ec.SECP384R1(), 3: ec.SECP521R1()}


@dataclass(frozen=True)
class Sign1:
    """A parsed COSE_Sign1; nothing in it is authentic before :meth:`verify` returned."""

    what: str
    algorithm: int
    protected: bytes
    payload: bytes
    signature: bytes

    def verify(self, key: ec.EllipticCurvePublicKey) -> None:
        """Check the signature over Sig_structure (RFC 9052 section 4.4), without external data.

        Raises:
            Refused: the key's curve is not the algorithm's, or the signature is not the key's.
        """
        curve, digest = _ALGORITHMS[self.algorithm]
        require(
            key.curve.name == curve.name,
            f"{self.what}.alg",
            f"algorithm {self.algorithm} asks for a key on {curve.name}, the key is on {key.curve.name}",
        )
        size = (curve.key_size + 7) // 8
        require(
            len(self.signature) == 2 * size,
            f"{self.what}.signature",
            f"the signature has {len(self.signature)} bytes, allowed is {2 * size}",
        )
        r, s = (int.from_bytes(half, "big") for half in (self.signature[:size], self.signature[size:]))
        covered = b"".join(
            (
                cbor.head(cbor.ARRAY, 4),
                cbor.head(cbor.TEXT, 10) + b"Signature1",
                cbor.byte_string(self.protected),
                cbor.byte_string(b""),
                cbor.byte_string(self.payload),
            )
        )
        try:
            key.verify(encode_dss_signature(r, s), covered, ec.ECDSA(digest))
        except InvalidSignature:
            refuse(f"{self.what}.signature", "the signature is not that of the key over this token")


def sign1(item: object, what: str) -> Sign1:
    """Read a COSE_Sign1, tagged or not.

    Raises:
        Refused: it is none, its algorithm is not ECDSA, or a header is critical or unprotected (but a key id).
    """
    if isinstance(item, cbor.Tag):
        require(item.number == SIGN1, f"{what}.tag", f"the tag is {item.number}, allowed is {SIGN1} (COSE_Sign1)")
        item = item.value
    if not (isinstance(item, list) and len(item) == 4):
        refuse(what, "it is no COSE_Sign1 of four parts")
    protected, unprotected, payload, signature = item
    if not (isinstance(protected, bytes) and isinstance(payload, bytes) and isinstance(signature, bytes)):
        refuse(what, "protected headers, payload and signature have to be byte strings")
    # Nobody signed the unprotected headers: a key id is a hint that we don't take, all else would be a statement.
    if not isinstance(unprotected, dict) or not set(unprotected) <= {_KID}:
        refuse(f"{what}.unprotected", "unprotected headers, allowed is a key id alone")
    headers = cbor.decode(protected, f"{what}.protected")
    if not isinstance(headers, dict):
        refuse(f"{what}.protected", "the protected headers are no map")
    require(_CRIT not in headers, f"{what}.crit", "there are critical headers, allowed is none")
    algorithm = headers.get(_ALG)
    if not isinstance(algorithm, int) or algorithm not in _ALGORITHMS:
        refuse(f"{what}.alg", f"algorithm {algorithm!r}, allowed are {', '.join(map(str, _ALGORITHMS))} (ECDSA)")
    return Sign1(what, algorithm, protected, payload, signature)


def key(encoded: bytes, what: str) -> ec.EllipticCurvePublicKey:
    """A COSE_Key of type EC2 with both coordinates.

    Raises:
        Refused: it is none, or its point is not on the curve.
    """
    parts = cbor.decode(encoded, what)
    if not isinstance(parts, dict):
        refuse(what, "a COSE_Key is a map")
    require(parts.get(1) == 2, f"{what}.kty", f"key type {parts.get(1)!r}, allowed is 2 (EC2)")
    number, x, y = parts.get(-1), parts.get(-2), parts.get(-3)
    if not isinstance(number, int) or isinstance(number, bool) or number not in _CURVES:
        refuse(f"{what}.crv", f"curve {number!r}, allowed are 1 (P-256), 2 (P-384) and 3 (P-521)")
    if not (isinstance(x, bytes) and isinstance(y, bytes)):
        refuse(f"{what}.point", "both coordinates have to be byte strings")
    return point(_CURVES[number], x, y, what)


def point(curve: ec.EllipticCurve, x: bytes, y: bytes, what: str) -> ec.EllipticCurvePublicKey:
    """A public key from its coordinates, big-endian, each of the curve's width; Refused where they are no point of it."""
    size = (curve.key_size + 7) // 8
    require(
        len(x) == len(y) == size, f"{what}.point", f"coordinates of {len(x)} and {len(y)} bytes, allowed is {size} each"
    )
    return uncompressed(curve, b"\x04" + x + y, what)


def uncompressed(curve: ec.EllipticCurve, encoded: bytes, what: str) -> ec.EllipticCurvePublicKey:
    """A public key from an uncompressed point (SEC 1 section 2.3.4); Refused where it is not on the curve."""
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(curve, encoded)
    except ValueError:
        refuse(f"{what}.point", f"the point is not on {curve.name}")


def fingerprint(public: ec.EllipticCurvePublicKey) -> bytes:
    """SHA-256 of the key's DER SubjectPublicKeyInfo, by which policies and pins name it."""
    der = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).digest()
