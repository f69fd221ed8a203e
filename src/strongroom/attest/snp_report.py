"""The ATTESTATION_REPORT of SEV-SNP, versions 2 to 5, as its bytes say.

Source: "SEV Secure Nested Paging Firmware ABI Specification", AMD 56860: table ATTESTATION_REPORT (section 7.3), guest
policy (section 4.3), TCB_VERSION (section 2.2), signature (chapter "Digital Signatures"). All integers, and the
signature's r and s, are little-endian.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strongroom.attest.amd import MILAN, PRODUCTS, Product
from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader
from strongroom.attest.signatures import ecdsa_der

SIZE = 1184
SIGNED = 0x2A0  # bytes before the signature
VERSIONS = range(2, 6)
_COMPONENT = 72  # bytes of r and of s
_P384 = 48
_ECDSA_P384_SHA384 = 1

POLICY_BITS: Mapping[str, int] = MappingProxyType(
    {
        "smt": 16,
        "migration": 18,
        "debug": 19,
        "single_socket": 20,
        "cxl": 21,
        "mem_aes_256_xts": 22,
        "rapl_disabled": 23,
        "ciphertext_hiding_dram": 24,
        "page_swap_disabled": 25,
    }
)
_POLICY_ALWAYS_ONE = 17
_POLICY_KNOWN = 0xFFFF | 1 << _POLICY_ALWAYS_ONE | sum(1 << bit for bit in POLICY_BITS.values())
PLATFORM_BITS: Mapping[str, int] = MappingProxyType(
    {
        "smt": 0,
        "tsme": 1,
        "ecc": 2,
        "rapl_disabled": 3,
        "ciphertext_hiding_dram": 4,
        "alias_check_complete": 5,
        "tio": 7,
    }
)
SIGNERS: Mapping[int, str] = MappingProxyType({0: "VCEK", 1: "VLEK", 7: "none"})
TCBS = ("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb")


@dataclass(frozen=True)
class Report:
    """A report's fields; bytes as they lie there, integers decoded, TCBs raw because their layout is the product's.

    Attributes:
        policy: the guest's policy, 64 bits; bits 7:0 and 15:8 are the least ABI minor and major.
        signer: 0x48: bit 0 author key enabled, bit 1 chip key masked, bits 4:2 the signing key.
        vmpl: 0 to 3; a report that the host asked for has 0xffffffff.
        current, committed: firmware's (major, minor, build).
        cpuid: (family, model, stepping), zeros before version 3.
        mitigations: launch and current mitigation vectors, zeros before version 5.
        reserved: bytes of reserved fields that are not zero, by offset; the firmware signed them.
    """

    version: int
    guest_svn: int
    policy: int
    family_id: bytes
    image_id: bytes
    vmpl: int
    signature_algorithm: int
    current_tcb: bytes
    platform_info: int
    signer: int
    report_data: bytes
    measurement: bytes
    host_data: bytes
    id_key_digest: bytes
    author_key_digest: bytes
    report_id: bytes
    report_id_ma: bytes
    reported_tcb: bytes
    cpuid: tuple[int, int, int]
    chip_id: bytes
    committed_tcb: bytes
    current: tuple[int, int, int]
    committed: tuple[int, int, int]
    launch_tcb: bytes
    mitigations: tuple[int, int]
    reserved: Mapping[str, bytes]
    signed: bytes
    r: bytes
    s: bytes

    def has(self, name: str) -> bool:
        """Whether a bit of the guest's policy is set, by its name in POLICY_BITS."""
        return bool(self.policy >> POLICY_BITS[name] & 1)

    def platform_has(self, name: str) -> bool:
        """Whether a bit of the platform's information is set, by its name in PLATFORM_BITS."""
        return bool(self.platform_info >> PLATFORM_BITS[name] & 1)

    @property
    def abi(self) -> tuple[int, int]:
        """The least ABI version (major, minor) that the guest's policy asks of the firmware."""
        return self.policy >> 8 & 0xFF, self.policy & 0xFF

    @property
    def signing_key(self) -> int:
        """Which key signed: 0 VCEK, 1 VLEK, 7 none."""
        return self.signer >> 2 & 7

    def tcb(self, which: str, product: Product) -> dict[str, int]:
        """Security patch levels of one of TCBS by name, in the product's layout."""
        raw: bytes = getattr(self, which)
        return dict(zip(product.tcb, raw, strict=True))

    def signature(self) -> bytes:
        """The signature in DER."""
        return ecdsa_der(self.r, self.s, "little", "report.signature")


def parse(data: bytes) -> Report:
    """A report from exactly its 1,184 bytes.

    Raises:
        Refused: another length, an unknown version or signature algorithm, a policy bit of no known meaning, or
            padding of the signature (which nothing signs) that is not zero.
    """
    if len(data) > SIZE:
        refuse("report", f"{len(data)} bytes, a report has {SIZE}; {len(data) - SIZE} are too many")
    reader, reserved = Reader(data, "report"), {}

    def skip(n: int, offset: int) -> None:
        if any(found := reader.take(n, f"reserved_{offset:03x}")):
            reserved[f"{offset:03x}"] = found

    def firmware(name: str, offset: int) -> tuple[int, int, int]:
        build, minor, major = reader.u8(f"{name}.build"), reader.u8(f"{name}.minor"), reader.u8(f"{name}.major")
        skip(1, offset)
        return major, minor, build

    version = reader.u32("version")
    if version not in VERSIONS:
        refuse("report.version", f"version is {version}, allowed are {VERSIONS[0]} to {VERSIONS[-1]}")
    guest_svn, policy = reader.u32("guest_svn"), reader.u64("policy")
    family_id, image_id = reader.take(16, "family_id"), reader.take(16, "image_id")
    vmpl, algorithm = reader.u32("vmpl"), reader.u32("signature_algorithm")
    current_tcb, platform_info, signer = (
        reader.take(8, "current_tcb"),
        reader.u64("platform_info"),
        reader.u32("signer"),
    )
    skip(4, 0x4C)
    report_data, measurement, host_data = (
        reader.take(64, "report_data"),
        reader.take(48, "measurement"),
        reader.take(32, "host_data"),
    )
    id_key, author_key = reader.take(48, "id_key_digest"), reader.take(48, "author_key_digest")
    report_id, report_id_ma = reader.take(32, "report_id"), reader.take(32, "report_id_ma")
    reported_tcb = reader.take(8, "reported_tcb")
    cpuid = reader.u8("cpuid.family"), reader.u8("cpuid.model"), reader.u8("cpuid.stepping")
    skip(21, 0x18B)
    chip_id, committed_tcb = reader.take(64, "chip_id"), reader.take(8, "committed_tcb")
    current, committed = firmware("current", 0x1EB), firmware("committed", 0x1EF)
    launch_tcb = reader.take(8, "launch_tcb")
    mitigations = reader.u64("launch_mitigations"), reader.u64("current_mitigations")
    skip(SIGNED - reader.position, reader.position)
    r, s = _component(reader, "r"), _component(reader, "s")
    reader.zeros(SIZE - reader.position, "signature.padding")
    reader.end()
    require(
        algorithm == _ECDSA_P384_SHA384,
        "report.signature_algorithm",
        f"signature algorithm is {algorithm}, allowed is {_ECDSA_P384_SHA384} (ECDSA P-384 with SHA-384)",
    )
    unknown = policy & ~_POLICY_KNOWN
    require(not unknown, "report.policy", f"policy {policy:#x} has bits of no known meaning: {unknown:#x}")
    require(
        bool(policy >> _POLICY_ALWAYS_ONE & 1), "report.policy", f"policy {policy:#x} lacks bit 17, which is always 1"
    )
    return Report(
        version, guest_svn, policy, family_id, image_id, vmpl, algorithm, current_tcb, platform_info, signer, report_data,
        measurement, host_data, id_key, author_key, report_id, report_id_ma, reported_tcb, cpuid, chip_id, committed_tcb,
        current, committed, launch_tcb, mitigations, MappingProxyType(reserved), bytes(data[:SIGNED]), r, s,
    )  # fmt: skip


def _component(reader: Reader, name: str) -> bytes:
    value = reader.take(_P384, f"signature.{name}")
    reader.zeros(_COMPONENT - _P384, f"signature.{name}.padding")
    return value


def guessed_product(report: Report) -> Product:
    """The product by CPUID, for people: which layout to show TCBs in when no certificate says."""
    family, model, _ = report.cpuid
    for product in PRODUCTS.values():
        if product.family == family and (product is not MILAN or model < 0x10):
            return product
    return MILAN


def decoded(report: Report, product: Product) -> dict[str, object]:
    """Every field by its name, for people and JSON."""
    family, model, stepping = report.cpuid
    return {
        "version": report.version,
        "guest_svn": report.guest_svn,
        "policy": {
            "value": f"{report.policy:#x}",
            "abi": f"{report.abi[0]}.{report.abi[1]}",
            **{name: report.has(name) for name in POLICY_BITS},
        },
        "family_id": report.family_id,
        "image_id": report.image_id,
        "vmpl": report.vmpl,
        "signature_algorithm": "ECDSA P-384 with SHA-384",
        "platform_info": {
            "value": f"{report.platform_info:#x}",
            **{name: report.platform_has(name) for name in PLATFORM_BITS},
            "unknown_bits": f"{report.platform_info & ~sum(1 << bit for bit in PLATFORM_BITS.values()):#x}",
        },
        "signer": {
            "key": SIGNERS.get(report.signing_key, f"reserved ({report.signing_key})"),
            "author_key_enabled": bool(report.signer & 1),
            "chip_key_masked": bool(report.signer >> 1 & 1),
        },
        "report_data": report.report_data,
        "measurement": report.measurement,
        "host_data": report.host_data,
        "id_key_digest": report.id_key_digest,
        "author_key_digest": report.author_key_digest,
        "report_id": report.report_id,
        "report_id_ma": report.report_id_ma,
        "chip_id": report.chip_id,
        "cpuid": {"family": f"{family:#x}", "model": f"{model:#x}", "stepping": stepping},
        "tcb": {
            which.removesuffix("_tcb"): {
                name: level for name, level in report.tcb(which, product).items() if level or not name.startswith("spl")
            }
            for which in TCBS
        },
        "firmware": {
            "current": ".".join(map(str, report.current)),
            "committed": ".".join(map(str, report.committed)),
        },
        "mitigations": {"launch": f"{report.mitigations[0]:#x}", "current": f"{report.mitigations[1]:#x}"},
        "reserved": dict(report.reserved),
        "signature": {"r": report.r, "s": report.s},
    }
