"""An AMD of our own: roots, leaves and reports, signed anew for every change that a test wants."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.x509.oid import NameOID

from strongroom.attest import amd, certificates, roots, snp_report
from strongroom.attest.amd import PRODUCTS, Product
from strongroom.attest.collateral import Collateral

NOW = datetime(2026, 6, 1, tzinfo=UTC)
START = NOW - timedelta(days=10)
PSS = padding.PSS(padding.MGF1(hashes.SHA384()), 48)
CHIP = bytes(range(1, 65))
_SPLS = ("bootloader", "tee", "snp", "spl4", "spl5", "spl6", "spl7", "microcode", "fmc")
_ARCS = {name: f"3.{arc}" for arc, name in enumerate(_SPLS, 1)}


@cache
def rsa_key(name: str) -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def leaf_key(name: str) -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP384R1())


def named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(subject: str, issuer: str, days: int = 20) -> x509.CertificateBuilder:
    builder = x509.CertificateBuilder().subject_name(named(subject)).issuer_name(named(issuer))
    return builder.not_valid_before(START).not_valid_after(START + timedelta(days=days)).serial_number(1)


@cache
def authority(name: str, root: str) -> bytes:
    """DER of an ARK, ASK or ASVK; its serial number is 1."""
    builder = _builder(name, root).public_key(rsa_key(name).public_key())
    builder = builder.add_extension(x509.BasicConstraints(True, 0 if name != root else None), critical=True)
    return builder.sign(rsa_key(root), hashes.SHA384(), rsa_padding=PSS).public_bytes(serialization.Encoding.DER)


def text(value: str) -> bytes:
    return b"\x16" + bytes([len(value)]) + value.encode()


def number(value: int) -> bytes:
    return b"\x02\x01" + bytes([value]) if value < 128 else b"\x02\x02\0" + bytes([value])


@dataclass
class Machine:
    """A chip with its leaf, and the reports that its firmware would sign."""

    product: Product = field(default_factory=lambda: PRODUCTS["Milan"])
    role: str = "VCEK"
    tcb: Mapping[str, int] = field(default_factory=lambda: {"bootloader": 4, "tee": 0, "snp": 200, "microcode": 213})
    csp_id: str = "CN=cc-example.org"
    chip: bytes = CHIP
    wrapped_hwid: bool = False
    missing: tuple[str, ...] = ()

    @property
    def issuer(self) -> str:
        return f"SEV-{'VLEK-' if self.role == 'VLEK' else ''}{self.product.name}"

    @property
    def hwid(self) -> bytes:
        return self.chip[: self.product.hwid]

    def leaf(self, **changes: bytes) -> bytes:
        """DER of the leaf; changes replace an extension's value by its last arcs, as 3_1."""
        values = {"1": number(0), "2": text(f"{self.product.name}-B0")}
        values |= {_ARCS[name]: number(self.tcb.get(name, 0)) for name in self.product.tcb}
        hwid = b"\x04" + bytes([len(self.hwid)]) + self.hwid if self.wrapped_hwid else self.hwid
        values |= {"4": hwid} if self.role == "VCEK" else {"5": text(self.csp_id)}
        values |= {arc.replace("_", "."): value for arc, value in changes.items()}
        builder = _builder(f"SEV-{self.role}", self.issuer).public_key(leaf_key(self.role).public_key())
        for arc, value in values.items():
            if arc not in self.missing:
                oid = x509.ObjectIdentifier(f"1.3.6.1.4.1.3704.1.{arc}")
                builder = builder.add_extension(x509.UnrecognizedExtension(oid, value), critical=False)
        signed = builder.sign(rsa_key(self.issuer), hashes.SHA384(), rsa_padding=PSS)
        return signed.public_bytes(serialization.Encoding.DER)

    def collateral(self, *more: bytes, crls: tuple[bytes, ...] = ()) -> Collateral:
        return Collateral((self.leaf(), *more), crls)

    def report(self, **fields: object) -> bytes:
        """A report; fields by their names in LAYOUT, integers or bytes."""
        tcb = bytes(self.tcb.get(name, 0) for name in self.product.tcb)
        chip = self.hwid + bytes(64 - self.product.hwid)
        values: dict[str, object] = {
            "version": 5 if self.product.family == 0x1A else 3,
            "policy": 0x20000,
            "signature_algorithm": 1,
            "signer": 4 if self.role == "VLEK" else 0,
            "report_data": b"\1" * 64,
            "measurement": b"\2" * 48,
            "cpuid_family": self.product.family,
            "chip_id": chip,
            **dict.fromkeys(("current_tcb", "reported_tcb", "committed_tcb", "launch_tcb"), tcb),
            **dict.fromkeys(("current", "committed"), bytes((40, 55, 1, 0))),
        }
        return self.sign({**values, **fields})

    def sign(self, values: Mapping[str, object]) -> bytes:
        out = bytearray(snp_report.SIGNED)
        for name, value in values.items():
            offset, size = LAYOUT[name]
            out[offset : offset + size] = (
                value.to_bytes(size, "little") if isinstance(value, int) else bytes(value)  # type: ignore[call-overload]
            )
        r, s = decode_dss_signature(leaf_key(self.role).sign(bytes(out), ec.ECDSA(hashes.SHA384())))
        return bytes(out) + r.to_bytes(72, "little") + s.to_bytes(72, "little") + bytes(368)


LAYOUT = {
    "version": (0, 4), "guest_svn": (4, 4), "policy": (8, 8), "vmpl": (0x30, 4), "signature_algorithm": (0x34, 4),
    "current_tcb": (0x38, 8), "platform_info": (0x40, 8), "signer": (0x48, 4), "report_data": (0x50, 64),
    "measurement": (0x90, 48), "host_data": (0xC0, 32), "reported_tcb": (0x180, 8), "cpuid_family": (0x188, 1),
    "chip_id": (0x1A0, 64), "committed_tcb": (0x1E0, 8), "current": (0x1E8, 4), "committed": (0x1EC, 4),
    "launch_tcb": (0x1F0, 8), "launch_mitigations": (0x1F8, 8), "reserved": (0x208, 4),
}  # fmt: skip


def crl(product: Product, *serials: int, days: int = 20, number: int | None = None) -> bytes:
    """A list of the product's ARK."""
    root = f"ARK-{product.name}"
    builder = x509.CertificateRevocationListBuilder(named(root), START, START + timedelta(days=days))
    if number is not None:
        builder = builder.add_extension(x509.CRLNumber(number), critical=False)
    for serial in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(START).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(rsa_key(root), hashes.SHA384(), rsa_padding=PSS).public_bytes(serialization.Encoding.DER)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Trust these roots in place of AMD's."""
    made = {}
    for product in PRODUCTS:
        made[f"ARK-{product}"] = authority(f"ARK-{product}", f"ARK-{product}")
        for name in (f"SEV-{product}", f"SEV-VLEK-{product}"):
            made[name] = authority(name, f"ARK-{product}")
    parsed = {name: certificates.parse(der) for name, der in made.items()}
    pins = {one.spki_sha256: name for name, one in parsed.items()}
    monkeypatch.setattr(roots, "shipped", lambda _: tuple(parsed.values()))
    monkeypatch.setattr(amd, "ROOTS", {pin: name for pin, name in pins.items() if name.startswith("ARK")})
    monkeypatch.setattr(amd, "INTERMEDIATES", {pin: name for pin, name in pins.items() if name.startswith("SEV")})


def certificate_table(*certificates_: bytes) -> bytes:
    """As SNP extended guest requests give it, GUIDs in the order of RFC 9562."""
    guids = (
        "63da758de6644564adc5f4b93be8accd",
        "4ab7b379bbac4fe4a02f05aef327c782",
        "c0b406a4a80349529743" + "3fb6014cd0ae",
    )
    offset, header, body = 24 * (len(certificates_) + 1), b"", b""
    for guid, blob in zip(guids, certificates_, strict=False):
        header += bytes.fromhex(guid) + struct.pack("<II", offset + len(body), len(blob))
        body += blob
    return header + bytes(24) + body + bytes(-(offset + len(body)) % 4096)
