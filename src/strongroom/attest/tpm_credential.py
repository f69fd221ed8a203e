"""Binding an attestation key to an endorsement key: MakeCredential, and the check of what ActivateCredential gave back.

TPM 2.0 Library, part 1, 24 ("Credential Protection") and 11.4.10 (KDFa, KDFe); part 3, TPM2_ActivateCredential. The one
who holds the EK can open the credential only in the TPM that also holds an object of the name in it: so who returns the
secret has both keys in one TPM. Nothing here draws random numbers; they are arguments.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

from strongroom.attest.base import refuse, require
from strongroom.attest.hashes import Algorithm
from strongroom.attest.tpm_structures import (
    DECRYPT,
    FIXED_PARENT,
    FIXED_TPM,
    RESTRICTED,
    SENSITIVE_DATA_ORIGIN,
    SIGN,
    Public,
)

try:  # cryptography 49 moved the mode; the old place goes away some day
    from cryptography.hazmat.decrepit.ciphers.modes import CFB
except ImportError:
    from cryptography.hazmat.primitives.ciphers.modes import CFB

_HASHES: dict[str, type[hashes.HashAlgorithm]] = {
    "sha256": hashes.SHA256,
    "sha384": hashes.SHA384,
    "sha512": hashes.SHA512,
}


@dataclass(frozen=True)
class Credential:
    """What TPM2_ActivateCredential takes: the TPM2B_ID_OBJECT and the TPM2B_ENCRYPTED_SECRET, sizes included."""

    blob: bytes
    secret: bytes


def make_credential(
    ek: Public, name: bytes, secret: bytes, *, seed: bytes, ephemeral: ec.EllipticCurvePrivateKey | None = None
) -> Credential:
    """Encrypt a secret so that only the TPM of this EK gives it back, and only for an object of this name.

    Args:
        ek: the endorsement key's public area; a restricted decryption key with AES.
        name: of the attestation key: two bytes of the algorithm, then the digest.
        secret: at most as long as the EK's name algorithm's digest.
        seed: fresh random bytes, as long as that digest; used with an RSA EK alone.
        ephemeral: a fresh private key on the EK's curve; used with an ECC EK alone.

    Raises:
        Refused: the EK is no endorsement key, or an argument has a length that it may not have.
    """
    require_endorsement(ek)
    algorithm = ek.name_algorithm
    require(0 < len(secret) <= algorithm.size, "credential.secret", f"{len(secret)} bytes, up to {algorithm.size}")
    if isinstance(ek.key, rsa.RSAPublicKey):
        require(len(seed) == algorithm.size, "credential.seed", f"{len(seed)} bytes, needed are {algorithm.size}")
        hash_ = _HASHES[algorithm.name]
        oaep = padding.OAEP(padding.MGF1(hash_()), hash_(), b"IDENTITY\0")
        encrypted = _sized(ek.key.encrypt(seed, oaep))
    else:
        seed, encrypted = _agree(ek.key, ephemeral, algorithm)
    key = kdfa(algorithm, seed, "STORAGE", name, b"", ek.symmetric_bits)
    mac_key = kdfa(algorithm, seed, "INTEGRITY", b"", b"", 8 * algorithm.size)
    encryptor = Cipher(algorithms.AES(key), CFB(bytes(16))).encryptor()
    identity = encryptor.update(_sized(secret)) + encryptor.finalize()
    mac = hmac.digest(mac_key, identity + name, algorithm.name)
    return Credential(_sized(_sized(mac) + identity), encrypted)


def require_endorsement(ek: Public) -> None:
    """Refuse what is no EK: it has to be a restricted decryption key that cannot leave its TPM, with an AES key in it."""
    if not ek.has(FIXED_TPM, FIXED_PARENT, RESTRICTED, DECRYPT) or ek.has(SIGN):
        refuse(
            "ek.attributes", f"0x{ek.attributes:08x}, needed is fixedTPM, fixedParent, restricted, decrypt, not sign"
        )
    require(ek.symmetric_bits in (128, 256), "ek.symmetric", f"AES of {ek.symmetric_bits} bits, allowed is 128 or 256")


def require_attestation(ak: Public) -> None:
    """Refuse what is no AK: only a restricted signing key signs nothing that looks like a quote and is none."""
    if not ak.has(FIXED_TPM, FIXED_PARENT, SENSITIVE_DATA_ORIGIN, RESTRICTED, SIGN) or ak.has(DECRYPT):
        refuse(
            "ak.attributes",
            f"0x{ak.attributes:08x}, needed is fixedTPM, fixedParent, sensitiveDataOrigin, restricted, sign, not decrypt",
        )


def require_activated(expected: bytes, returned: bytes) -> None:
    """Refuse an AK whose TPM did not give back the secret that :func:`make_credential` was given for it."""
    if not expected or not hmac.compare_digest(expected, returned):
        refuse("ak.activation", "the TPM did not give back the secret: the AK is not in the TPM of this EK")


def kdfa(algorithm: Algorithm, key: bytes, label: str, u: bytes, v: bytes, bits: int) -> bytes:
    """KDFa (part 1, 11.4.10.2): SP 800-108 in counter mode with HMAC; ``bits`` is a whole number of bytes."""
    fixed = label.encode() + b"\0" + u + v + bits.to_bytes(4, "big")
    return _counted(bits, lambda counter: hmac.digest(key, counter + fixed, algorithm.name))


def kdfe(algorithm: Algorithm, z: bytes, label: str, u: bytes, v: bytes, bits: int) -> bytes:
    """KDFe (part 1, 11.4.10.3): SP 800-56A with a hash, over the x coordinate of the shared point."""
    fixed = z + label.encode() + b"\0" + u + v
    return _counted(bits, lambda counter: algorithm.digest(counter + fixed))


def _agree(
    peer: ec.EllipticCurvePublicKey, ephemeral: ec.EllipticCurvePrivateKey | None, algorithm: Algorithm
) -> tuple[bytes, bytes]:
    """The seed, and the ephemeral point as TPM2B_ENCRYPTED_SECRET (part 1, C.6.4)."""
    if ephemeral is None or ephemeral.curve.name != peer.curve.name:
        refuse("credential.ephemeral", f"a fresh key on {peer.curve.name} is needed for this EK")
    size = (peer.curve.key_size + 7) // 8
    own, theirs = ephemeral.public_key().public_numbers(), peer.public_numbers()
    shared = ephemeral.exchange(ec.ECDH(), peer)
    x, y = own.x.to_bytes(size, "big"), own.y.to_bytes(size, "big")
    seed = kdfe(algorithm, shared, "IDENTITY", x, theirs.x.to_bytes(size, "big"), 8 * algorithm.size)
    return seed, _sized(_sized(x) + _sized(y))


def _counted(bits: int, block: Callable[[bytes], bytes]) -> bytes:
    """Blocks of counters from 1 on, cut to the length."""
    made = b""
    for counter in range(1, 1 + bits // 8):
        made += block(counter.to_bytes(4, "big"))
        if 8 * len(made) >= bits:
            break
    return made[: bits // 8]


def _sized(data: bytes) -> bytes:
    """A TPM2B: two bytes of length, then the data."""
    return len(data).to_bytes(2, "big") + data
