"""Intel TDX quotes of version 4 and 5, taken apart; every number is little-endian, nothing is judged here.

Intel TDX DCAP Quote Generation Library and Quote Verification Library, appendix A ("Quote Format"): header (A.3.1), TD report
1.0 (A.3.2) and 1.5 (A.4.2), ECDSA signature data (A.3.8), QE report certification data (A.3.11).
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader

TEE_TDX = 0x81
ECDSA_P256 = 2
INTEL_QE = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")  # QE vendor id (A.3.1)
TD_10, TD_15 = 2, 3  # body types of version 5 (A.4.1)
QE_CERTIFICATION, PCK_CHAIN = 6, 5  # certification data types (A.3.9)
HEADER_SIZE, QE_REPORT_SIZE = 48, 384
BODY_SIZES = {TD_10: 584, TD_15: 648}
_LARGEST = 64 * 1024  # configfs-tsm hands out at most 32 KiB

# TDATTRIBUTES (TDX module ABI, "TD attributes"); the lowest byte is the group TUD: the TD is under debug.
DEBUG_GROUP = 0xFF
ATTRIBUTES = {
    0: "debug",
    27: "lass",
    28: "sept_ve_disable",
    29: "migratable",
    30: "pks",
    31: "kl",
    62: "tpa",
    63: "perfmon",
}


@dataclass(frozen=True)
class TdReport:
    """The quote's body.

    Attributes:
        tee_tcb_svn: 16 bytes; byte 0 is the TDX module's security version, byte 1 its major version.
        mrseam, mrsignerseam: SHA-384 of the TDX module and of its signer's key (zeros: Intel).
        seam_attributes, attributes, xfam: 64 bits each.
        mrtd: SHA-384 of the TD's first pages.
        mrconfigid, mrowner, mrownerconfig: 48 bytes that the host chose at the TD's start.
        rtmrs: the four runtime measurement registers, SHA-384.
        report_data: 64 bytes that the TD chose.
        tee_tcb_svn2: version 1.5 alone: that of the module now loaded; the other is that of the TD's start.
        mrservicetd: version 1.5 alone: SHA-384 over the service TDs bound to it, zeros where there is none.
    """

    tee_tcb_svn: bytes
    mrseam: bytes
    mrsignerseam: bytes
    seam_attributes: int
    attributes: int
    xfam: int
    mrtd: bytes
    mrconfigid: bytes
    mrowner: bytes
    mrownerconfig: bytes
    rtmrs: tuple[bytes, bytes, bytes, bytes]
    report_data: bytes
    tee_tcb_svn2: bytes | None = None
    mrservicetd: bytes | None = None

    @property
    def attribute_names(self) -> tuple[str, ...]:
        """The attributes that are set, by name, or by bit where they have none here."""
        bits = (bit for bit in range(64) if self.attributes >> bit & 1)
        return tuple(ATTRIBUTES.get(bit, f"bit{bit}") for bit in bits)


@dataclass(frozen=True)
class QeReport:
    """SGX REPORTBODY of the quoting enclave (Intel SDM volume 3D, 38.15): what QE identity speaks of."""

    raw: bytes
    miscselect: bytes
    attributes: bytes
    mrenclave: bytes
    mrsigner: bytes
    isvprodid: int
    isvsvn: int
    report_data: bytes


@dataclass(frozen=True)
class Quote:
    """One quote.

    Attributes:
        version: 4 or 5.
        signed: header and body, what the attestation key signed.
        report: the body.
        user_data: 20 bytes of the header, the QE's own.
        signature: r and s, 32 bytes each, big-endian.
        attestation_key: x and y on P-256, 32 bytes each, big-endian.
        qe_report: of the quoting enclave, and its signature by the PCK, as ``signature``.
        qe_auth_data: what the QE hashed into its report beside the key.
        pck_chain: PEM of the PCK certificate and its issuers.
        trailing: what follows the quote in the buffer.
    """

    version: int
    signed: bytes
    report: TdReport
    user_data: bytes
    signature: bytes
    attestation_key: bytes
    qe_report: QeReport
    qe_report_signature: bytes
    qe_auth_data: bytes
    pck_chain: bytes
    trailing: bytes


def parse(data: bytes) -> Quote:
    """A TDX quote; the buffer that it came in may be longer, which :func:`require_padding` judges.

    Raises:
        Refused: it is no TDX quote of version 4 or 5 with ECDSA on P-256 and a PCK chain in it, or is cut off.
    """
    require(len(data) <= _LARGEST, "quote", f"{len(data)} bytes, allowed is up to {_LARGEST}")
    reader = Reader(data, "quote")
    version, key_type, tee = reader.u16("version"), reader.u16("key_type"), reader.u32("tee_type")
    require(version in (4, 5), "quote.version", f"{version}, allowed is 4 or 5")
    require(tee == TEE_TDX, "quote.tee_type", f"0x{tee:x}, allowed is 0x{TEE_TDX:x}, TDX")
    require(key_type == ECDSA_P256, "quote.key_type", f"{key_type}, allowed is {ECDSA_P256}, ECDSA on P-256")
    reader.take(4, "reserved")  # SVNs of QE and PCE in older versions; signed, and the reports say them better
    vendor = reader.take(16, "vendor")
    require(vendor == INTEL_QE, "quote.vendor", f"{vendor.hex()}, allowed is {INTEL_QE.hex()}, Intel's")
    user_data = reader.take(20, "user_data")
    kind, size = (reader.u16("body_type"), reader.u32("body_size")) if version == 5 else (TD_10, BODY_SIZES[TD_10])
    if BODY_SIZES.get(kind) != size:
        refuse("quote.body_type", f"type {kind} of {size} bytes, allowed is {TD_10} (584) or {TD_15} (648)")
    report = _report(Reader(reader.take(size, "body"), "report"), kind)
    signed = data[: reader.position]
    signature = reader.sub(reader.u32("signature_size"), "signature")
    return _signature(signature, version, signed, report, user_data, reader.rest)


def require_padding(quote: Quote) -> None:
    """Refuse bytes behind the quote that are not the zeros of its buffer: no signature covers them."""
    if any(quote.trailing):
        found = len(quote.trailing)
        refuse("quote.end", f"{found} bytes follow the quote that are not padding with zeros")


def _signature(
    reader: Reader, version: int, signed: bytes, report: TdReport, user_data: bytes, trailing: bytes
) -> Quote:
    own, key = reader.take(64, "value"), reader.take(64, "attestation_key")
    kind = reader.u16("certification_type")
    require(kind == QE_CERTIFICATION, "quote.signature.certification_type", f"{kind}, allowed is {QE_CERTIFICATION}")
    inner = reader.sub(reader.u32("certification_size"), "certification")
    reader.end()
    qe_report = _qe_report(inner.take(QE_REPORT_SIZE, "qe_report"))
    qe_signature = inner.take(64, "qe_report_signature")
    auth = inner.take(inner.u16("auth_size"), "auth_data")
    kind = inner.u16("pck_type")
    require(kind == PCK_CHAIN, "quote.signature.pck_type", f"{kind}, allowed is {PCK_CHAIN}, a PCK chain in PEM")
    chain = inner.take(inner.u32("pck_size"), "pck_chain")
    inner.end()
    return Quote(version, signed, report, user_data, own, key, qe_report, qe_signature, auth, chain, trailing)


def _report(reader: Reader, kind: int) -> TdReport:
    svn, mrseam, signer = reader.take(16, "tee_tcb_svn"), reader.take(48, "mrseam"), reader.take(48, "mrsignerseam")
    seam_attributes, attributes, xfam = reader.u64("seam_attributes"), reader.u64("attributes"), reader.u64("xfam")
    mrtd, config = reader.take(48, "mrtd"), reader.take(48, "mrconfigid")
    owner, owner_config = reader.take(48, "mrowner"), reader.take(48, "mrownerconfig")
    first, second, third, fourth = (reader.take(48, f"rtmr{number}") for number in range(4))
    data = reader.take(64, "report_data")
    later = (reader.take(16, "tee_tcb_svn2"), reader.take(48, "mrservicetd")) if kind == TD_15 else (None, None)
    reader.end()
    return TdReport(
        svn,
        mrseam,
        signer,
        seam_attributes,
        attributes,
        xfam,
        mrtd,
        config,
        owner,
        owner_config,
        (first, second, third, fourth),
        data,
        *later,
    )


def _qe_report(raw: bytes) -> QeReport:
    reader = Reader(raw, "qe_report")
    reader.take(16, "cpusvn")
    miscselect = reader.take(4, "miscselect")
    reader.take(28, "reserved")
    attributes, mrenclave = reader.take(16, "attributes"), reader.take(32, "mrenclave")
    reader.take(32, "reserved")
    mrsigner = reader.take(32, "mrsigner")
    reader.take(96, "reserved")
    product, version = reader.u16("isvprodid"), reader.u16("isvsvn")
    reader.take(60, "reserved")
    data = reader.take(64, "report_data")
    reader.end()
    return QeReport(raw, miscselect, attributes, mrenclave, mrsigner, product, version, data)
