"""Reference values as a document: what was computed, out of which inputs, and who signed it.

``measurements`` has the form of a policy's table of that name, so that it can be taken into one as it is; ``variants``
says of each value what it depends on, for whoever wants to allow fewer.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from strongroom.errors import ConfigError

SCHEMA: Final = "strongroom.dev/reference-values/v1"
_HASHES: Final[Mapping[str, hashes.HashAlgorithm]] = {
    "secp256r1": hashes.SHA256(),
    "secp384r1": hashes.SHA384(),
    "secp521r1": hashes.SHA512(),
}
PrivateKey = ed25519.Ed25519PrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Input:
    """A file that values were computed from: what it is, where it was, and its contents."""

    name: str
    path: str
    data: bytes

    def plain(self) -> dict[str, object]:
        """Its path, size and SHA-256; never its contents."""
        return {
            "name": self.name,
            "path": self.path,
            "size": len(self.data),
            "sha256": hashlib.sha256(self.data).hexdigest(),
        }


def document(
    kind: str,
    values: Mapping[str, Mapping[str, bytes]],
    inputs: tuple[Input, ...],
    parameters: Mapping[str, object],
    notes: tuple[str, ...] = (),
) -> bytes:
    """The document, UTF-8 JSON with a line feed at its end; the same inputs give the same bytes.

    Args:
        kind: ``snp``, ``tpm`` or ``tdx``: the kind of evidence that has these measurements.
        values: by measurement, digests by what they depend on.
        inputs: files.
        parameters: everything else that values were computed from.
        notes: what was not computed.
    """
    content = {
        "schema": SCHEMA,
        "kind": kind,
        "measurements": {
            name: list(dict.fromkeys(value.hex() for value in variants.values())) for name, variants in values.items()
        },
        "variants": {
            name: {label: value.hex() for label, value in variants.items()} for name, variants in values.items()
        },
        "inputs": [entry.plain() for entry in inputs],
        "parameters": dict(parameters),
        "notes": list(notes),
    }
    return (json.dumps(content, indent=2, ensure_ascii=False) + "\n").encode()


def private_key(pem: bytes, where: str) -> PrivateKey:
    """A key to sign with: Ed25519, or ECDSA on P-256, P-384 or P-521, as PEM without a passphrase.

    Raises:
        ConfigError: it is none.
    """
    try:
        key = serialization.load_pem_private_key(pem, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        # What the library says of it may be a page with addresses of its manual.
        why = re.split(r"[.(\n]", str(error))[0].strip()
        raise ConfigError(f"{where}: not a private key in PEM without a passphrase: {why}") from None
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key
    if isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in _HASHES:
        return key
    raise ConfigError(f"{where}: found a {type(key).__name__}, allowed are Ed25519 and ECDSA on {', '.join(_HASHES)}")


def sign(data: bytes, key: PrivateKey) -> bytes:
    """A detached signature over the document's bytes: Ed25519's 64 bytes, or ECDSA's in DER with the curve's SHA-2."""
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return key.sign(data)
    return key.sign(data, ec.ECDSA(_HASHES[key.curve.name]))


def check(data: bytes, signature: bytes, public: bytes, where: str) -> None:
    """Refuse a document that the key did not sign.

    Args:
        data: the document's bytes.
        signature: detached, as :func:`sign` makes it.
        public: the key as PEM.
        where: for the message.

    Raises:
        ConfigError: the key is none of those that sign, or the signature is not its over these bytes.
    """
    try:
        key = serialization.load_pem_public_key(public)
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(signature, data)
            return
        if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in _HASHES:
            key.verify(signature, data, ec.ECDSA(_HASHES[key.curve.name]))
            return
    except InvalidSignature:
        raise ConfigError(f"{where}: the signature is not that of the key over this document") from None
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{where}: not a public key in PEM: {error}") from None
    raise ConfigError(f"{where}: found a {type(key).__name__}, allowed are Ed25519 and ECDSA on {', '.join(_HASHES)}")
