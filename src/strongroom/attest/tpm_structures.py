"""Structures of a TPM 2.0 as the library specification, part 2, lays them out; every number is big-endian.

TPMS_ATTEST of a quote (10.12.12), TPMT_SIGNATURE (11.3.4), TPMT_PUBLIC (12.2.4) and an object's name (part 1, 16).
"""

from __future__ import annotations

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import ec, rsa

from strongroom.attest.base import refuse, require
from strongroom.attest.hashes import Algorithm, strong
from strongroom.attest.reader import Reader

ALG_RSA, ALG_ECC, ALG_NULL = 0x0001, 0x0023, 0x0010
ALG_RSASSA, ALG_RSAES, ALG_RSAPSS, ALG_OAEP, ALG_ECDSA, ALG_ECDAA = 0x0014, 0x0015, 0x0016, 0x0017, 0x0018, 0x001A
ATTEST_QUOTE = 0x8018
MAGIC = 0xFF544347  # TPM_GENERATED: a restricted key signs nothing of a stranger's that starts with it
CURVES: dict[int, type[ec.EllipticCurve]] = {0x0003: ec.SECP256R1, 0x0004: ec.SECP384R1, 0x0005: ec.SECP521R1}

# TPMA_OBJECT bits (8.3)
FIXED_TPM, FIXED_PARENT, SENSITIVE_DATA_ORIGIN = 1 << 1, 1 << 4, 1 << 5
RESTRICTED, DECRYPT, SIGN = 1 << 16, 1 << 17, 1 << 18


@dataclass(frozen=True)
class Selection:
    """TPMS_PCR_SELECTION: PCRs of one bank."""

    bank: Algorithm
    pcrs: tuple[int, ...]


@dataclass(frozen=True)
class Quote:
    """TPMS_ATTEST with TPMS_QUOTE_INFO.

    Attributes:
        signer: qualified name of the key that signed.
        extra_data: the qualifying data, as the one who asked chose them.
        clock: milliseconds that the TPM has been powered, as it counts them.
        reset_count: TPM resets since the last clear: one more after every boot.
        restart_count: restarts and resumes since the last reset.
        safe: whether the clock surely never showed a later value before.
        firmware: the TPM's own firmware version, in the vendor's coding.
        selections: what was quoted, in the order of the digest.
        pcr_digest: hash over the values of those PCRs.
    """

    signer: bytes
    extra_data: bytes
    clock: int
    reset_count: int
    restart_count: int
    safe: bool
    firmware: int
    selections: tuple[Selection, ...]
    pcr_digest: bytes


@dataclass(frozen=True)
class Signature:
    """TPMT_SIGNATURE of an asymmetric key: the scheme, its hash, and what the scheme yields (for ECDSA r and s)."""

    scheme: int
    hash: Algorithm
    values: tuple[bytes, ...]


@dataclass(frozen=True)
class Public:
    """TPMT_PUBLIC of an RSA or ECC key: its bytes, name algorithm, attributes, symmetric parameters and the key."""

    raw: bytes
    name_algorithm: Algorithm
    attributes: int
    symmetric_bits: int
    key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey

    @property
    def name(self) -> bytes:
        """Two bytes of the name algorithm, then its hash over the public area (part 1, 16)."""
        return self.name_algorithm.number.to_bytes(2, "big") + self.name_algorithm.digest(self.raw)

    def has(self, *bits: int) -> bool:
        """Whether all these attributes are set."""
        return all(self.attributes & bit for bit in bits)


def parse_quote(data: bytes) -> Quote:
    """TPMS_ATTEST of a quote, as TPM2_Quote returns it inside its TPM2B.

    Raises:
        Refused: another kind of attestation, a bank without a hash to rest on, a length that is not exactly right.
    """
    reader = Reader(data, "quote", "big")
    magic, kind = reader.u32("magic"), reader.u16("type")
    require(magic == MAGIC, "quote.magic", f"0x{magic:08x}, allowed is 0x{MAGIC:08x}")
    require(kind == ATTEST_QUOTE, "quote.type", f"0x{kind:04x}, allowed is 0x{ATTEST_QUOTE:04x}, a quote")
    signer, extra = _sized(reader, "signer"), _sized(reader, "extra_data")
    clock, resets, restarts = reader.u64("clock"), reader.u32("reset_count"), reader.u32("restart_count")
    safe = reader.u8("safe")
    require(safe <= 1, "quote.safe", f"{safe}, allowed is 0 or 1")
    firmware = reader.u64("firmware")
    count = reader.u32("selections")
    require(1 <= count <= 8, "quote.selections", f"{count}, allowed is 1 to 8")
    selections = tuple(_selection(reader) for _ in range(count))
    banks = [selection.bank.name for selection in selections]
    require(len(set(banks)) == count, "quote.selections", f"a bank is selected twice: {', '.join(banks)}")
    digest = _sized(reader, "pcr_digest")
    reader.end()
    return Quote(signer, extra, clock, resets, restarts, safe == 1, firmware, selections, digest)


def _selection(reader: Reader) -> Selection:
    bank = strong(reader.u16("selections.hash"), "quote.selections.hash")
    size = reader.u8("selections.size")
    require(size <= 4, "quote.selections.size", f"{size} bytes, allowed is up to 4")
    bits = int.from_bytes(reader.take(size, "selections.pcrs"), "little")  # PCR n is bit n % 8 of byte n // 8
    return Selection(bank, tuple(pcr for pcr in range(8 * size) if bits >> pcr & 1))


def parse_signature(data: bytes, key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> Signature:
    """A signature as TPMT_SIGNATURE, or the bare bytes of RSASSA with SHA-256, as some tools print them.

    Args:
        data: as long as the RSA key where it is bare.
        key: that it is to be checked with; it tells the two forms apart.

    Raises:
        Refused: neither form, or a scheme that is not the key's.
    """
    if isinstance(key, rsa.RSAPublicKey) and len(data) == (key.key_size + 7) // 8:
        return Signature(ALG_RSASSA, strong(0x000B, "signature.hash"), (data,))
    reader = Reader(data, "signature", "big")
    scheme = reader.u16("scheme")
    allowed = (ALG_RSASSA, ALG_RSAPSS) if isinstance(key, rsa.RSAPublicKey) else (ALG_ECDSA,)
    if scheme not in allowed:
        schemes = " or ".join(f"0x{one:04x}" for one in allowed)
        refuse("signature.scheme", f"0x{scheme:04x}, the key's is {schemes}")
    algorithm = strong(reader.u16("hash"), "signature.hash")
    values = tuple(_sized(reader, "value") for _ in range(2 if scheme == ALG_ECDSA else 1))
    reader.end()
    return Signature(scheme, algorithm, values)


def parse_public(data: bytes, what: str) -> Public:
    """TPMT_PUBLIC, or TPM2B_PUBLIC around it, of an RSA key from 2048 bits or an ECC key on a NIST curve.

    Raises:
        Refused: any other key, or a length that is not exactly right.
    """
    # TPMT_PUBLIC starts with the type, 0x0001 or 0x0023; no public area is as short as that.
    if len(data) > 2 and int.from_bytes(data[:2], "big") == len(data) - 2:
        data = data[2:]
    reader = Reader(data, what, "big")
    kind = reader.u16("type")
    if kind not in (ALG_RSA, ALG_ECC):
        refuse(f"{what}.type", f"0x{kind:04x}, allowed is RSA (0x0001) or ECC (0x0023)")
    name_algorithm = strong(reader.u16("name_algorithm"), f"{what}.name_algorithm")
    attributes = reader.u32("attributes")
    _sized(reader, "policy")
    bits = 0
    if reader.u16("symmetric") != ALG_NULL:
        bits = reader.u16("symmetric.bits")
        reader.u16("symmetric.mode")
    scheme = reader.u16("scheme")
    if scheme not in (ALG_NULL, ALG_RSAES):
        reader.u16("scheme.hash")
        if scheme == ALG_ECDAA:
            reader.u16("scheme.count")
    key = _rsa(reader, what) if kind == ALG_RSA else _ecc(reader, what)
    reader.end()
    return Public(data, name_algorithm, attributes, bits, key)


def _rsa(reader: Reader, what: str) -> rsa.RSAPublicKey:
    bits = reader.u16("bits")
    exponent = reader.u32("exponent") or 65537
    modulus = int.from_bytes(_sized(reader, "modulus"), "big")
    require(modulus.bit_length() == bits, f"{what}.modulus", f"{modulus.bit_length()} bits, the key says {bits}")
    return rsa_key(modulus, exponent, what)


def rsa_key(modulus: int, exponent: int, what: str) -> rsa.RSAPublicKey:
    """An RSA key from its numbers.

    Raises:
        Refused: fewer than 2048 bits or more than 8192, an exponent below 65537, or numbers that make no key.
    """
    bits = modulus.bit_length()
    require(2048 <= bits <= 8192, f"{what}.modulus", f"{bits} bits, allowed is 2048 to 8192")
    require(65537 <= exponent < 1 << 32, f"{what}.exponent", f"{exponent}, allowed is 65537 and more")
    try:
        return rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except ValueError:
        refuse(f"{what}.modulus", "numbers that make no RSA key")


def _ecc(reader: Reader, what: str) -> ec.EllipticCurvePublicKey:
    curve = reader.u16("curve")
    if curve not in CURVES:
        refuse(f"{what}.curve", f"0x{curve:04x}, allowed is NIST P-256, P-384 or P-521")
    if reader.u16("kdf") != ALG_NULL:
        reader.u16("kdf.hash")
    x, y = (int.from_bytes(_sized(reader, name), "big") for name in ("x", "y"))
    try:
        return ec.EllipticCurvePublicNumbers(x, y, CURVES[curve]()).public_key()
    except ValueError:
        refuse(f"{what}.point", "a point that is not on the curve")


def _sized(reader: Reader, field: str) -> bytes:
    """A TPM2B: two bytes of length, then so many."""
    return reader.take(reader.u16(f"{field}.size"), field)
