"""A TDREPORT, held against the TD quote that was made of it.

Intel TDX Module ABI, "TDREPORT_STRUCT": REPORTMACSTRUCT (256 bytes), TEE_TCB_INFO (239, padded to 256), TDINFO_STRUCT (512);
little-endian. Its MAC can be checked on its own machine alone, so a TDREPORT proves nothing: what it says has to be what a
quote says, which Intel's keys sign.
"""

from __future__ import annotations

import hashlib

from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader
from strongroom.attest.tdx_quote import TdReport

SIZE = 1024
_TDX = 0x81


def report_data(data: bytes) -> bytes:
    """The report data of a TDREPORT, 64 bytes.

    Args:
        data: of 1024 bytes, or more that are zero.

    Raises:
        Refused: it is no TDREPORT of a TD, or its hashes do not hold its parts together.
    """
    reader = Reader(data, "td_report")
    kind = reader.u8("type")
    require(kind == _TDX, "td_report.type", f"0x{kind:02x}, allowed is 0x81, TDX")
    reader.take(31, "head")  # subtype, version, reserved, CPUSVN
    tcb_hash, info_hash = reader.take(48, "tee_tcb_info_hash"), reader.take(48, "tee_info_hash")
    found = reader.take(64, "report_data")
    reader.take(64, "mac")  # reserved, and the MAC
    tcb = reader.take(239, "tee_tcb_info")
    reader.zeros(17, "reserved")
    info = reader.take(512, "td_info")
    reader.zeros(reader.left, "padding")
    for name, part, wanted in (("tee_tcb_info", tcb, tcb_hash), ("td_info", info, info_hash)):
        if hashlib.sha384(part).digest() != wanted:
            refuse(f"td_report.{name}", f"its SHA-384 is not {wanted.hex()[:16]}.., which the report has of it")
    return found


def require_same(data: bytes, quoted: TdReport) -> None:
    """Refuse a TDREPORT that says something else than a quote.

    Args:
        data: one that :func:`report_data` has read.
        quoted: the body of a verified quote.

    Raises:
        Refused: naming what differs.
    """
    reader = Reader(data, "td_report")
    reader.take(256 + 8, "valid")
    found = {"tee_tcb_svn": reader.take(16, "tee_tcb_svn"), "mrseam": reader.take(48, "mrseam")}
    found["mrsignerseam"] = reader.take(48, "mrsignerseam")
    reader.take(512 - reader.position, "rest")
    numbers = {"attributes": reader.u64("attributes"), "xfam": reader.u64("xfam")}
    found |= {name: reader.take(48, name) for name in ("mrtd", "mrconfigid", "mrowner", "mrownerconfig")}
    rtmrs = tuple(reader.take(48, f"rtmr{number}") for number in range(4))
    for name, value in (*found.items(), *numbers.items(), ("rtmrs", rtmrs)):
        if value != getattr(quoted, name):
            refuse(f"td_report.{name}", "it is not what the TD quote says")
