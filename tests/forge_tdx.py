"""A platform of Intel's that nobody built: a root, a PCK, collateral and quotes, each of them as a test wants it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from unittest.mock import patch

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from strongroom.attest import tdx, tdx_collateral
from strongroom.attest.collateral import Collateral

NOW = datetime(2026, 6, 1, tzinfo=UTC)
DAY = timedelta(days=1)
FMSPC, PCEID, PPID, INSTANCE = bytes.fromhex("90c06f000000"), bytes(2), bytes(range(16)), bytes(range(16, 32))
SGX_SVNS, TDX_SVNS = (3, 3, 2, 2, 4, 1, 0, 5, *[0] * 8), (6, 1, 3, *[0] * 13)
QE_SIGNER = bytes.fromhex("dc9e2a7c6f948f17474e34a7fc43ed030f7c1563f1babddf6340c82e0e54a8c5")


@cache
def key(name: str) -> ec.EllipticCurvePrivateKey:
    """One key for each name, the same in every run of a test."""
    number = int.from_bytes(hashlib.sha256(name.encode()).digest(), "big") >> 1
    return ec.derive_private_key(number, ec.SECP256R1())


def sign(name: str, data: bytes) -> bytes:
    """r and s, 32 bytes each, big-endian."""
    r, s = decode_dss_signature(key(name).sign(data, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def tlv(tag: int, content: bytes) -> bytes:
    length = len(content)
    head = bytes((length,)) if length < 128 else bytes((0x82,)) + length.to_bytes(2, "big")
    return bytes((tag,)) + head + content


_ARC = bytes.fromhex("2a864886f84d010d01")  # 1.2.840.113741.1.13.1


def pair(arcs: bytes, value: bytes) -> bytes:
    return tlv(0x30, tlv(0x06, _ARC + arcs) + value)


def integer(value: int) -> bytes:
    return tlv(0x02, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def sgx_extension(svns: tuple[int, ...], pcesvn: int, flags: tuple[bool, bool, bool]) -> bytes:
    components = b"".join(pair(bytes((2, number)), integer(svn)) for number, svn in enumerate(svns, 1))
    tcb = components + pair(b"\2\x11", integer(pcesvn)) + pair(b"\2\x12", tlv(0x04, bytes(svns)))
    set_ = b"".join(pair(bytes((7, at)), tlv(0x01, b"\xff" if flag else b"\0")) for at, flag in enumerate(flags, 1))
    return tlv(
        0x30,
        pair(b"\1", tlv(0x04, PPID))
        + pair(b"\2", tlv(0x30, tcb))
        + pair(b"\3", tlv(0x04, PCEID))
        + pair(b"\4", tlv(0x04, FMSPC))
        + pair(b"\5", tlv(0x0A, b"\1"))
        + pair(b"\6", tlv(0x04, INSTANCE))
        + pair(b"\7", tlv(0x30, set_)),
    )


def certificate(name: str, issuer: str, *, ca: bool, extension: bytes | None = None, days: int = 365) -> bytes:
    def called(common: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])

    builder = (
        x509.CertificateBuilder()
        .subject_name(called(name))
        .issuer_name(called(issuer))
        .public_key(key(name).public_key())
        .serial_number(serial(name))
        .not_valid_before(NOW - days * DAY)
        .not_valid_after(NOW + days * DAY)
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    if extension is not None:
        oid = x509.ObjectIdentifier("1.2.840.113741.1.13.1")
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension), critical=False)
    return builder.sign(key(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


def serial(name: str) -> int:
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def revocations(issuer: str, *names: str) -> bytes:
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .last_update(NOW - DAY)
        .next_update(NOW + 30 * DAY)
        .add_extension(x509.CRLNumber(7), critical=False)
    )
    for name in names:
        entry = x509.RevokedCertificateBuilder().serial_number(serial(name)).revocation_date(NOW - DAY).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key(issuer), hashes.SHA256()).public_bytes(Encoding.DER)


def stamp(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"


ROOT, CA, PCK, SIGNER = "Root", "PCK CA", "PCK", tdx_collateral.TCB_SIGNER


def level(sgx: tuple[int, ...] = SGX_SVNS, tdx: tuple[int, ...] = TDX_SVNS, **more: Any) -> dict[str, Any]:
    """A platform level."""
    tcb = {
        "sgxtcbcomponents": [{"svn": svn} for svn in sgx],
        "pcesvn": more.pop("pcesvn", 13),
        "tdxtcbcomponents": [{"svn": svn} for svn in tdx],
    }
    return {"tcb": tcb, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": "UpToDate", **more}


def svn_level(isvsvn: int, status: str = "UpToDate", **more: Any) -> dict[str, Any]:
    """A level of a module or an enclave."""
    return {"tcb": {"isvsvn": isvsvn}, "tcbDate": "2026-01-01T00:00:00Z", "tcbStatus": status, **more}


def module(name: str, *levels: dict[str, Any]) -> dict[str, Any]:
    identity = {"mrsigner": "00" * 48, "attributes": "00" * 8, "attributesMask": "FF" * 8}
    return {"id": name, **identity, "tcbLevels": list(levels)}


@dataclass
class Forge:
    """What a test changes; everything else holds."""

    version: int = 4
    td15: bool = False
    tee_tcb_svn: tuple[int, ...] = TDX_SVNS
    attributes: int = 1 << 28
    seam_attributes: int = 0
    mrsignerseam: bytes = bytes(48)
    mrservicetd: bytes = bytes(48)
    report_data: bytes = b"\xee" * 64
    svns: tuple[int, ...] = SGX_SVNS
    pcesvn: int = 13
    flags: tuple[bool, bool, bool] = (False, False, False)
    qe_svn: int = 4
    qe_attributes: bytes = bytes.fromhex("11" + "00" * 15)
    qe_signer: bytes = QE_SIGNER
    qe_product: int = 2
    qe_bound: bool = True
    levels: tuple[dict[str, Any], ...] = (level(),)
    modules: tuple[dict[str, Any], ...] = (module("TDX_01", svn_level(5)),)
    qe_levels: tuple[dict[str, Any], ...] = (svn_level(4),)
    info: dict[str, Any] = field(default_factory=dict)
    identity: dict[str, Any] = field(default_factory=dict)
    revoked: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def chain(self) -> bytes:
        """PEM of PCK, CA and root."""
        leaf = certificate(PCK, CA, ca=False, extension=sgx_extension(self.svns, self.pcesvn, self.flags))
        ders = (leaf, certificate(CA, ROOT, ca=True), certificate(ROOT, ROOT, ca=True))
        return b"".join(x509.load_der_x509_certificate(der).public_bytes(Encoding.PEM) for der in ders)

    def quote(self) -> bytes:
        """The quote's bytes."""
        body = bytes(self.tee_tcb_svn) + b"\xaa" * 48 + self.mrsignerseam
        body += struct.pack("<QQQ", self.seam_attributes, self.attributes, 0xE7)
        body += b"".join(bytes((number,)) * 48 for number in range(1, 9)) + self.report_data
        if self.td15:
            body += bytes(self.tee_tcb_svn) + self.mrservicetd
        head = (
            struct.pack("<HHI4x", self.version, 2, 0x81) + bytes.fromhex("939a7233f79c4ca9940a0db3957f0607") + bytes(20)
        )
        if self.version == 5:
            head += struct.pack("<HI", 3 if self.td15 else 2, len(body))
        signed = head + body
        point = key("attestation").public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)[1:]
        auth = bytes(32)
        bound = hashlib.sha256(point + auth).digest() if self.qe_bound else bytes(32)
        report = bytes(16) + bytes(4) + bytes(28) + self.qe_attributes + b"\xbb" * 32 + bytes(32) + self.qe_signer
        report += bytes(96) + struct.pack("<HH", self.qe_product, self.qe_svn) + bytes(60) + bound + bytes(32)
        chain = self.chain()
        inner = report + sign(PCK, report) + struct.pack("<H", 32) + auth + struct.pack("<HI", 5, len(chain)) + chain
        data = sign("attestation", signed) + point + struct.pack("<HI", 6, len(inner)) + inner
        return signed + struct.pack("<I", len(data)) + data

    def collateral(self) -> Collateral:
        """All that the quote needs."""
        dates = {"issueDate": stamp(NOW - DAY), "nextUpdate": stamp(NOW + 30 * DAY), "tcbEvaluationDataNumber": 18}
        mod = module("", *())
        info = {
            "id": "TDX", "version": 3, **dates, "fmspc": FMSPC.hex(), "pceId": PCEID.hex(), "tcbType": 0,
            "tdxModule": {name: mod[name] for name in ("mrsigner", "attributes", "attributesMask")},
            "tdxModuleIdentities": list(self.modules), "tcbLevels": list(self.levels), **self.info,
        }  # fmt: skip
        identity = {
            "id": "TD_QE", "version": 2, **dates, "miscselect": "00" * 4, "miscselectMask": "FF" * 4,
            "attributes": "11" + "00" * 15, "attributesMask": "FB" + "FF" * 7 + "00" * 8, "mrsigner": QE_SIGNER.hex(),
            "isvprodid": 2, "tcbLevels": list(self.qe_levels), **self.identity,
        }  # fmt: skip
        documents = {"tcb_info": document("tcbInfo", info), "qe_identity": document("enclaveIdentity", identity)}
        lists = tuple(revocations(issuer, *self.revoked.get(issuer, ())) for issuer in (ROOT, CA))
        return Collateral((certificate(SIGNER, ROOT, ca=False),), lists, documents)


def document(name: str, values: dict[str, Any], signer: str = SIGNER) -> bytes:
    """A document as Intel's service answers it."""
    raw = json.dumps(values, separators=(",", ":"))
    return f'{{"{name}":{raw},"signature":"{sign(signer, raw.encode()).hex()}"}}'.encode()


@contextmanager
def pinned() -> Iterator[None]:
    """With the forged root in the place of Intel's."""
    der = key(ROOT).public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    roots = frozenset({hashlib.sha256(der).hexdigest()})
    with patch.object(tdx_collateral, "INTEL_ROOTS", roots), patch.object(tdx, "INTEL_ROOTS", roots):
        yield
