"""A TPM in a few lines: public areas, quotes, ActivateCredential and event logs, each of them as a test wants it.

ActivateCredential is written here from the specification's side of the TPM, not from the code under test.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms

AK_ATTRIBUTES = 0x00050072  # fixedTPM, fixedParent, sensitiveDataOrigin, userWithAuth, restricted, sign
EK_ATTRIBUTES = 0x000300B2  # fixedTPM, fixedParent, sensitiveDataOrigin, adminWithPolicy, restricted, decrypt
NUMBERS = {"sha1": 4, "sha256": 0xB, "sha384": 0xC, "sha512": 0xD}
_HASH: Mapping[str, hashes.HashAlgorithm] = {
    "sha1": hashes.SHA1(),
    "sha256": hashes.SHA256(),
    "sha384": hashes.SHA384(),
}


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    """One key for each name in a run; RSA keys take too long for more."""
    return rsa.generate_private_key(65537, 2048)


@cache
def ec_key(name: str) -> ec.EllipticCurvePrivateKey:
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


def sized(data: bytes) -> bytes:
    return struct.pack(">H", len(data)) + data


def public_area(
    key: Any, attributes: int, *, storage: bool, scheme: bytes = b"\0\x10", name_hash: str = "sha256"
) -> bytes:
    """TPMT_PUBLIC."""
    symmetric = struct.pack(">HHH", 0x0006, 128, 0x0043) if storage else b"\0\x10"
    head = struct.pack(">HI", NUMBERS[name_hash], attributes) + sized(b"")
    numbers = key.public_key().public_numbers()
    if isinstance(key, rsa.RSAPrivateKey):
        modulus = numbers.n.to_bytes(256, "big")
        return b"\0\1" + head + symmetric + scheme + struct.pack(">HI", 2048, 0) + sized(modulus)
    point = sized(numbers.x.to_bytes(32, "big")) + sized(numbers.y.to_bytes(32, "big"))
    return b"\0\x23" + head + symmetric + scheme + struct.pack(">HH", 3, 0x10) + point


def attest(
    pcr_digest: bytes,
    nonce: bytes,
    selections: Iterable[tuple[str, Iterable[int]]] = (("sha256", range(24)),),
    **more: int,
) -> bytes:
    """TPMS_ATTEST of a quote."""
    out = (
        struct.pack(">IH", more.get("magic", 0xFF544347), more.get("kind", 0x8018))
        + sized(b"\0\x0b" + bytes(32))
        + sized(nonce)
    )
    out += struct.pack(">QIIBQ", 1000, more.get("reset", 7), more.get("restart", 0), more.get("safe", 1), 0x20260101)
    chosen = list(selections)
    out += struct.pack(">I", len(chosen))
    for bank, pcrs in chosen:
        out += struct.pack(">HB", NUMBERS[bank], 3) + sum(1 << pcr for pcr in pcrs).to_bytes(3, "little")
    return out + sized(pcr_digest)


def signed(key: Any, message: bytes, scheme: int, bank: str = "sha256") -> bytes:
    """TPMT_SIGNATURE."""
    head, digest = struct.pack(">HH", scheme, NUMBERS[bank]), _HASH[bank]
    if scheme == 0x18:
        r, s = decode_dss_signature(key.sign(message, ec.ECDSA(digest)))
        return head + sized(r.to_bytes(32, "big")) + sized(s.to_bytes(32, "big"))
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    return head + sized(key.sign(message, pss if scheme == 0x16 else padding.PKCS1v15(), digest))


@dataclass
class Tpm:
    """A TPM: kind of its keys, PCRs, and the records of its log."""

    kind: str = "rsa"
    scheme: int = 0x14
    name: str = "one"
    pcrs: dict[int, bytes] = field(default_factory=lambda: {pcr: bytes(32) for pcr in range(24)})
    log: bytes = b""

    def key(self, which: str) -> Any:
        return rsa_key(f"{self.name}-{which}") if self.kind == "rsa" else ec_key(f"{self.name}-{which}")

    @property
    def ak(self) -> bytes:
        """TPMT_PUBLIC of the AK."""
        return public_area(self.key("ak"), AK_ATTRIBUTES, storage=False, scheme=struct.pack(">HH", self.scheme, 0xB))

    @property
    def ek(self) -> bytes:
        """TPMT_PUBLIC of the EK."""
        return public_area(self.key("ek"), EK_ATTRIBUTES, storage=True)

    def evidence(self, nonce: Any = b"nonce", **more: Any) -> dict[str, Any]:
        """JSON of a quote of all PCRs, with the log where there is one."""
        digest = hashlib.sha256(b"".join(self.pcrs[pcr] for pcr in range(24))).digest()
        message = attest(digest, nonce)
        quote = {
            "message": b64(message),
            "signature": b64(signed(self.key("ak"), message, self.scheme)),
            "pcrs": [self.pcrs[pcr].hex() for pcr in range(24)],
        }
        log = {"event_log": b64(self.log)} if self.log else {}
        return {"tpm_quote": quote, "ak_public": b64(self.ak), **log, **more}

    def activate(self, blob: bytes, secret: bytes, name: bytes) -> bytes:
        """TPM2_ActivateCredential (part 3); raises ValueError where the TPM answers with an integrity error."""
        seed = self._seed(secret)
        inner = blob[2:]
        size = int.from_bytes(inner[:2], "big")
        mac, identity = inner[2 : 2 + size], inner[2 + size :]
        storage = _kdfa(seed, b"STORAGE\0" + name, 128)
        integrity = _kdfa(seed, b"INTEGRITY\0", 256)
        if hmac.new(integrity, identity + name, "sha256").digest() != mac:
            raise ValueError("TPM_RC_INTEGRITY")
        decryptor = Cipher(algorithms.AES(storage), CFB(bytes(16))).decryptor()
        plain = decryptor.update(identity) + decryptor.finalize()
        return plain[2 : 2 + int.from_bytes(plain[:2], "big")]

    def _seed(self, secret: bytes) -> bytes:
        key = self.key("ek")
        if self.kind == "rsa":
            oaep = padding.OAEP(padding.MGF1(hashes.SHA256()), hashes.SHA256(), b"IDENTITY\0")
            return bytes(key.decrypt(secret[2:], oaep))
        x, y = secret[4:36], secret[38:70]
        peer = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        shared = key.exchange(ec.ECDH(), peer.public_key())
        own = key.public_key().public_numbers().x.to_bytes(32, "big")
        return hashlib.sha256(b"\0\0\0\1" + shared + b"IDENTITY\0" + x + own).digest()


def _kdfa(seed: bytes, label_and_context: bytes, bits: int) -> bytes:
    return hmac.new(seed, b"\0\0\0\1" + label_and_context + struct.pack(">I", bits), "sha256").digest()[: bits // 8]


def b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def dumps(value: Any) -> bytes:
    return json.dumps(value).encode()


def event_log(
    events: Iterable[tuple[int, int, bytes, bytes]],
    banks: Iterable[str] = ("sha1", "sha256"),
    signature: bytes = b"Spec ID Event03\0",
) -> bytes:
    """A log of records (register, type, what is measured, data)."""
    names = list(banks)
    spec = signature + bytes(4) + b"\0\2\0\2" + struct.pack("<I", len(names))
    spec += b"".join(struct.pack("<HH", NUMBERS[name], hashlib.new(name).digest_size) for name in names) + b"\0"
    out = struct.pack("<II", 0, 3) + bytes(20) + struct.pack("<I", len(spec)) + spec
    for register, kind, measured, data in events:
        out += struct.pack("<III", register, kind, len(names))
        for name in names:
            digest = hashlib.new(name, measured).digest() if kind != 3 else bytes(hashlib.new(name).digest_size)
            out += struct.pack("<H", NUMBERS[name]) + digest
        out += struct.pack("<I", len(data)) + data
    return out


def variable(name: str, value: bytes) -> bytes:
    """UEFI_VARIABLE_DATA."""
    return (
        bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c")
        + struct.pack("<QQ", len(name), len(value))
        + name.encode("utf-16-le")
        + value
    )


def booted(count: int = 150, secure_boot: bytes = b"\1", banks: Iterable[str] = ("sha1", "sha256"), **more: Any) -> Tpm:
    """A TPM after a boot of so many records, its PCRs as the log has them."""
    events = [(0, 3, b"", b"StartupLocality\0\3"), (7, 0x80000001, d := variable("SecureBoot", secure_boot), d)]
    events += [(pcr, 4, bytes(4), bytes(4)) for pcr in range(8)]
    events += [(4 + at % 8, 0xD, f"image {at}".encode(), b"a name") for at in range(count - len(events))]
    pcrs = {pcr: b"\xff" * 32 if 17 <= pcr <= 22 else bytes(32) for pcr in range(24)}
    pcrs[0] = bytes(31) + b"\3"
    for register, kind, measured, _ in events:
        if kind != 3:
            pcrs[register] = hashlib.sha256(pcrs[register] + hashlib.sha256(measured).digest()).digest()
    return Tpm(pcrs=pcrs, log=event_log(events, banks), **more)
