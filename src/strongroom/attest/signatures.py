"""Signatures by the algorithm that a certificate or a structure names, and public keys of bounded size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import load_der_public_key

from strongroom.attest.base import Refused, refuse
from strongroom.attest.der import NULL, Der

PublicKey: TypeAlias = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

SHA256, SHA384, SHA512 = hashes.SHA256(), hashes.SHA384(), hashes.SHA512()
_RSA_BITS = range(2048, 8193)
_RSA_PSS, _MGF1 = "1.2.840.113549.1.1.10", "1.2.840.113549.1.1.8"
_HASHES: MappingProxyType[str, hashes.HashAlgorithm] = MappingProxyType(
    {
        "2.16.840.1.101.3.4.2.1": SHA256,
        "2.16.840.1.101.3.4.2.2": SHA384,
        "2.16.840.1.101.3.4.2.3": SHA512,
    }
)


@dataclass(frozen=True)
class Scheme:
    """How something is signed.

    Attributes:
        name: for people.
        family: ``rsa-pss``, ``rsa-pkcs1``, ``ecdsa``, ``ed25519`` or ``ed448``.
        hash: of the data; None for EdDSA.
        salt: bytes of RSA-PSS's salt.
    """

    name: str
    family: str
    hash: hashes.HashAlgorithm | None = None
    salt: int = 0


_SCHEMES: MappingProxyType[str, Scheme] = MappingProxyType(
    {
        "1.2.840.113549.1.1.11": Scheme("sha256WithRSAEncryption", "rsa-pkcs1", SHA256),
        "1.2.840.113549.1.1.12": Scheme("sha384WithRSAEncryption", "rsa-pkcs1", SHA384),
        "1.2.840.113549.1.1.13": Scheme("sha512WithRSAEncryption", "rsa-pkcs1", SHA512),
        "1.2.840.10045.4.3.2": Scheme("ecdsa-with-SHA256", "ecdsa", SHA256),
        "1.2.840.10045.4.3.3": Scheme("ecdsa-with-SHA384", "ecdsa", SHA384),
        "1.2.840.10045.4.3.4": Scheme("ecdsa-with-SHA512", "ecdsa", SHA512),
        "1.3.101.112": Scheme("Ed25519", "ed25519"),
        "1.3.101.113": Scheme("Ed448", "ed448"),
    }
)


def scheme_of(algorithm: bytes, field: str) -> Scheme:
    """The scheme that an AlgorithmIdentifier's content names.

    Args:
        algorithm: content of the SEQUENCE: an OID and its parameters.
        field: for reasons.

    Raises:
        Refused: it is none that is used here; SHA-1 and MD5 are not.
    """
    reader = Der(algorithm, field)
    oid = reader.oid("algorithm")
    if oid == _RSA_PSS:
        scheme = _pss(reader.sub("parameters"))
    elif oid in _SCHEMES:
        scheme = _SCHEMES[oid]
        if scheme.family == "rsa-pkcs1":
            _null(reader)
    else:
        refuse(field, f"signature algorithm is {oid}, allowed are RSA, ECDSA and EdDSA with SHA-256, 384 or 512")
    reader.end()
    return scheme


def _null(reader: Der) -> None:
    content = reader.optional(NULL, "parameters")
    if content:
        refuse(f"{reader.what}.parameters", "NULL has content")


def _hash(reader: Der) -> hashes.HashAlgorithm:
    oid = reader.oid("hash")
    _null(reader)
    reader.end()
    if oid not in _HASHES:
        refuse(reader.what, f"hash is {oid}, allowed are SHA-256, SHA-384 and SHA-512")
    return _HASHES[oid]


def _pss(reader: Der) -> Scheme:
    """RSASSA-PSS-params, RFC 4055 section 3.1; the defaults are SHA-1's, so hash and mask have to be there."""
    digest = _hash(reader.sub("hashAlgorithm", 0xA0).sub("identifier"))
    mask = reader.sub("maskGenAlgorithm", 0xA1).sub("identifier")
    if mask.oid("algorithm") != _MGF1 or _hash(mask.sub("hash")).name != digest.name:
        refuse(reader.what, f"mask generation is not MGF1 with {digest.name}")
    mask.end()
    salt = reader.sub("saltLength", 0xA2).small("value") if reader.peek() == 0xA2 else 20
    if reader.peek() == 0xA3 and reader.sub("trailerField", 0xA3).small("value") != 1:
        refuse(reader.what, "trailer field is not 1")
    reader.end()
    if salt != digest.digest_size:
        refuse(reader.what, f"salt of {salt} bytes, allowed is {digest.digest_size}")
    return Scheme(f"RSASSA-PSS {digest.name}", "rsa-pss", digest, salt)


@lru_cache(maxsize=4096)
def load_key(spki: bytes, field: str) -> PublicKey:
    """A public key from its DER SubjectPublicKeyInfo.

    Raises:
        Refused: it is no key, or none of RSA with 2,048 to 8,192 bits, ECDSA or EdDSA.
    """
    try:
        key = load_der_public_key(spki)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        refuse(field, f"not a public key: {error}")
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        if key.key_size not in _RSA_BITS or numbers.e < 3 or numbers.e >> 64:
            refuse(field, f"RSA key of {key.key_size} bits, allowed are 2048 to 8192 with a small exponent")
        return key
    if isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
        return key
    raise Refused(f"public key is a {type(key).__name__}, allowed are RSA, ECDSA and EdDSA", field)


def _verify_pss(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, rsa.RSAPublicKey) or scheme.hash is None:
        return False
    key.verify(signature, data, padding.PSS(padding.MGF1(scheme.hash), scheme.salt), scheme.hash)
    return True


def _verify_pkcs1(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, rsa.RSAPublicKey) or scheme.hash is None:
        return False
    key.verify(signature, data, padding.PKCS1v15(), scheme.hash)
    return True


def _verify_ecdsa(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, ec.EllipticCurvePublicKey) or scheme.hash is None:
        return False
    key.verify(signature, data, ec.ECDSA(scheme.hash))
    return True


def _verify_ed25519(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, ed25519.Ed25519PublicKey):
        return False
    key.verify(signature, data)
    return True


def _verify_ed448(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes) -> bool:
    if not isinstance(key, ed448.Ed448PublicKey):
        return False
    key.verify(signature, data)
    return True


_VERIFY: MappingProxyType[str, Callable[[PublicKey, Scheme, bytes, bytes], bool]] = MappingProxyType(
    {
        "rsa-pss": _verify_pss,
        "rsa-pkcs1": _verify_pkcs1,
        "ecdsa": _verify_ecdsa,
        "ed25519": _verify_ed25519,
        "ed448": _verify_ed448,
    }
)


def verify_signature(key: PublicKey, scheme: Scheme, signature: bytes, data: bytes, field: str) -> None:
    """Refuse unless the key signed the data by that scheme.

    Args:
        key: the signer's.
        scheme: the algorithm.
        signature: as X.509 has it; ECDSA's is DER (for raw r and s see :func:`ecdsa_der`).
        data: what was signed, whole.
        field: for reasons.
    """
    try:
        fits = _VERIFY[scheme.family](key, scheme, signature, data)
    except (InvalidSignature, ValueError, UnsupportedAlgorithm):
        refuse(field, f"the {scheme.name} signature does not verify")
    if not fits:
        refuse(field, f"signed by {scheme.name}, but the signer's key is a {type(key).__name__}")


def ecdsa_der(r: bytes, s: bytes, byteorder: str, field: str) -> bytes:
    """A DER ECDSA signature from raw r and s; AMD's are little-endian, Intel's and SPDM's big-endian.

    Raises:
        Refused: one of them is zero.
    """
    order = "little" if byteorder == "little" else "big"
    first, second = int.from_bytes(r, order), int.from_bytes(s, order)  # type: ignore[arg-type]
    if not first or not second:
        refuse(field, "the signature's r or s is zero")
    return encode_dss_signature(first, second)
