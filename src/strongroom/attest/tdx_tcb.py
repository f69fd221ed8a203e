"""From SVNs to a TCB status: platform, TDX module and quoting enclave, and the three in one.

Intel PCS API version 4, "Get TDX TCB Info", steps of "TCB level determination", and Intel's quote verification library, which
says what becomes of the platform's status where the module's or the enclave's is worse.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from strongroom.attest.base import Refused, refuse, require
from strongroom.attest.pck import Pck
from strongroom.attest.tdx_documents import Module, PlatformLevel, QeIdentity, SvnLevel, TcbInfo, TcbStatus
from strongroom.attest.tdx_quote import QeReport, TdReport

_ENCLAVE_DEBUG = 0x02  # SGX ATTRIBUTES, bit 1 of byte 0
# What a platform's status becomes under a module or an enclave that is out of date.
_OUTDATED = {
    TcbStatus.UP_TO_DATE: TcbStatus.OUT_OF_DATE,
    TcbStatus.SW_HARDENING: TcbStatus.OUT_OF_DATE,
    TcbStatus.CONFIGURATION: TcbStatus.OUT_OF_DATE_CONFIGURATION,
    TcbStatus.CONFIGURATION_AND_SW_HARDENING: TcbStatus.OUT_OF_DATE_CONFIGURATION,
}


@dataclass(frozen=True)
class Tcb:
    """The verdict: the three statuses in one, the three, the oldest date of the three levels, and Intel's advisories."""

    status: TcbStatus
    platform: TcbStatus
    module: TcbStatus
    enclave: TcbStatus
    date: datetime
    advisories: tuple[str, ...]


def evaluate(pck: Pck, report: TdReport, enclave: QeReport, info: TcbInfo, identity: QeIdentity) -> Tcb:
    """The TCB of a quote.

    Raises:
        Refused: TCB info of other hardware, a module or an enclave that is not Intel's, or no level that holds.
    """
    require(info.fmspc == pck.fmspc, "tcb_info.fmspc", f"{info.fmspc.hex()}, the platform's is {pck.fmspc.hex()}")
    require(info.pceid == pck.pceid, "tcb_info.pceId", f"{info.pceid.hex()}, the platform's is {pck.pceid.hex()}")
    platform = _platform(pck, report.tee_tcb_svn, info)
    module = _module(report, info)
    qe = _enclave(enclave, identity)
    levels = [level for level in (platform, module, qe) if level is not None]
    module_status = module.status if module else TcbStatus.UP_TO_DATE
    return Tcb(
        converge(converge(platform.status, module_status), qe.status),
        platform.status,
        module_status,
        qe.status,
        min(level.date for level in levels),
        tuple(dict.fromkeys(one for level in levels for one in level.advisories)),
    )


def converge(platform: TcbStatus, other: TcbStatus) -> TcbStatus:
    """The platform's status under a module's or an enclave's, which can only make it worse.

    Raises:
        Refused: a status that Intel gives neither a module nor an enclave.
    """
    if TcbStatus.REVOKED in (platform, other):
        return TcbStatus.REVOKED
    if other is TcbStatus.UP_TO_DATE:
        return platform
    if other is not TcbStatus.OUT_OF_DATE:
        refuse("tcb.status", f"{other.value}, where UpToDate, OutOfDate or Revoked is allowed")
    return _OUTDATED.get(platform, platform)


def _platform(pck: Pck, tee_tcb_svn: bytes, info: TcbInfo) -> PlatformLevel:
    """The first level that the platform reaches in all components; of a later module the first two are judged apart."""
    first = 2 if tee_tcb_svn[1] else 0
    for level in info.levels:
        if (
            _reaches(pck.components, level.sgx)
            and pck.pcesvn >= level.pcesvn
            and _reaches(tee_tcb_svn[first:], level.tdx[first:])
        ):
            return level
    found = f"SVNs {bytes(pck.components).hex()}, PCESVN {pck.pcesvn}, TDX SVNs {tee_tcb_svn.hex()}"
    raise Refused(f"no TCB level of Intel's covers the platform: {found}", "tcb.level")


def _module(report: TdReport, info: TcbInfo) -> SvnLevel | None:
    """The identity of the module's major version, with its level; version 0 has an identity and no levels of its own."""
    version = report.tee_tcb_svn[1]
    if not version:
        _identity(report, info.module)
        return None
    name = f"TDX_{version:02X}"
    found = [module for module in info.modules if module.id.upper() == name]
    if len(found) != 1:
        known = ", ".join(module.id for module in info.modules) or "none"
        refuse("tcb.module", f"the TDX module is {name}, Intel's TCB info has {known}")
    _identity(report, found[0])
    return _level(found[0].levels, report.tee_tcb_svn[0], "tcb.module")


def _identity(report: TdReport, module: Module) -> None:
    signer = report.mrsignerseam
    require(
        signer == module.mrsigner, "report.mrsignerseam", f"{signer.hex()}, Intel's module is {module.mrsigner.hex()}"
    )
    # Both are read as the quote has them: the JSON spells the bytes in their order in memory.
    found = report.seam_attributes.to_bytes(8, "little")
    masked = _masked(found, module.mask)
    wanted = f"{module.attributes.hex()} under the mask {module.mask.hex()}"
    require(masked == module.attributes, "report.seam_attributes", f"{found.hex()}, allowed is {wanted}")


def _enclave(report: QeReport, identity: QeIdentity) -> SvnLevel:
    """What QE identity asks of the enclave's report, and its level."""
    for name, found, mask, wanted in (
        ("miscselect", report.miscselect, identity.miscselect_mask, identity.miscselect),
        ("attributes", report.attributes, identity.attributes_mask, identity.attributes),
    ):
        right = _masked(found, mask) == _masked(wanted, mask)
        require(right, f"qe_report.{name}", f"{found.hex()}, allowed is {wanted.hex()} under the mask {mask.hex()}")
    require(not report.attributes[0] & _ENCLAVE_DEBUG, "qe_report.attributes", "the quoting enclave is under debug")
    signer, wanted_signer = report.mrsigner, identity.mrsigner
    require(signer == wanted_signer, "qe_report.mrsigner", f"{signer.hex()}, allowed is {wanted_signer.hex()}")
    product = f"{report.isvprodid}, allowed is {identity.isvprodid}"
    require(report.isvprodid == identity.isvprodid, "qe_report.isvprodid", product)
    return _level(identity.levels, report.isvsvn, "tcb.enclave")


def _level(levels: Iterable[SvnLevel], svn: int, field: str) -> SvnLevel:
    for level in levels:
        if svn >= level.isvsvn:
            return level
    raise Refused(f"SVN {svn}, which no level of Intel's covers", field)


def _reaches(found: Iterable[int], wanted: Iterable[int]) -> bool:
    return all(have >= need for have, need in zip(found, wanted, strict=True))


def _masked(value: bytes, mask: bytes) -> bytes:
    return bytes(one & other for one, other in zip(value, mask, strict=True))
