"""What attests TDX and SGX on a host: registration with Intel, the quote generation service and its collateral cache."""

from __future__ import annotations

import re
from collections.abc import Sequence

from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, noted, passed, unknown
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport

QCNL = "/etc/sgx_default_qcnl.conf:pccs_url"
# quote3_error_t (0xE0..), sgx_qcnl_error_t (0xB0..) and tee_att_error_t (0x110..) of SGXDataCenterAttestationPrimitives, but
# for 0x1100F: that no key is there yet is what the first quote begins with.
_ERROR = re.compile(r"\b0x(?:e0[0-9a-f]{2}|b0[0-9a-f]{2}|110(?!0f)[0-9a-f]{2})\b", re.IGNORECASE)
_NO_CERTIFICATE = re.compile(r"\bNo certificate data for this platform\b")  # QPL's words for 0xe011
_QUOTE_MADE = re.compile(r"\btee_att_get_quote return success\b", re.IGNORECASE)
_LOCAL = ("localhost", "127.0.0.1", "[::1]")


@judges("TDX-QGS")
def quote_service(report: HostReport, check: Check) -> Finding:
    """Active proves nothing by itself: its journal tells whether it could make a quote."""
    section = report.section("units")
    unit = report.units.get("qgsd.service")
    if unit is None or unit.load == "not-found":
        return failed("no qgsd", "missing") if section.complete or unit else unknown(section.why)
    if errors := _errors(unit.log):
        # 0x11001 is what every failure ends in; the code that has a remedy of its own is the cause.
        cause = next((code for code in errors if code in check.remedies), errors[0])
        return failed(f"qgsd logged {', '.join(errors)}", cause)
    if unit.active is None:
        return unknown(section.why)
    if unit.active != "active":
        return failed(f"qgsd {unit.state}", "missing" if unit.active == "inactive" else None)
    if any(_QUOTE_MADE.search(line) for line in unit.log):
        return passed("qgsd active, and no error since it made a quote")
    return passed("qgsd active, no error in its journal") if section.complete else unknown(f"active; {section.why}")


def _errors(log: Sequence[str]) -> list[str]:
    """The errors since the last quote that was made, each once."""
    made = [number for number, line in enumerate(log) if _QUOTE_MADE.search(line)]
    since = log[made[-1] + 1 :] if made else log
    codes = (
        match[0].lower() if (match := _ERROR.search(line)) else "0xe011" if _NO_CERTIFICATE.search(line) else ""
        for line in since
    )
    return [code for code in dict.fromkeys(codes) if code]


# What PCCS's log (pcs_client.js of confidential-computing.tee.dcap.pccs) tells of the cache itself, and the remedy. That Intel
# does not know a platform (404) is not one of them: a cache may be asked for any host of its site.
_PCCS_ERRORS = (
    (re.compile(r"\bIntel PCS server returns error\(40[13]\).*"), "key"),
    (
        re.compile(r"\[error\]: .*\b(?:ENOTFOUND|EAI_AGAIN|ETIMEDOUT|ECONNREFUSED|EHOSTUNREACH|ENETUNREACH)\b.*"),
        "network",
    ),
    (re.compile(r"\bEADDRINUSE\b.*"), "port"),
)
_PCCS_UP = re.compile(r"\bHTTPS Server is running on\b")


def _cache_error(log: Sequence[str]) -> Finding | None:
    """The last of PCCS's complaints since it was started."""
    for line in reversed(log):
        if _PCCS_UP.search(line):
            return None
        for pattern, cause in _PCCS_ERRORS:
            if match := pattern.search(line):
                return failed(f"pccs logged {match[0]}", cause)
    return None


@judges("TDX-PCCS")
def collateral_cache(report: HostReport, check: Check) -> Finding:
    """Where the quote library looks, and the service when that is this host. Nothing is fetched."""
    url = report.sysfs.get(QCNL)
    unit, section = report.units.get("pccs.service"), report.section("units")
    if unit and (error := _cache_error(unit.log)):
        return error
    if url is None:
        if report.section("sysfs").complete:
            return failed("no pccs_url in sgx_default_qcnl.conf")
        if unit is not None and unit.load == "loaded" and unit.active in ("failed", "activating"):
            return failed(f"pccs is installed here, and {unit.state}")
        return unknown(report.section("sysfs").why)
    if not url.startswith("https://"):
        return failed(f"pccs_url is {url}")
    if not any(host in url for host in _LOCAL):
        return noted(f"{url}, not asked")
    if unit is None or unit.active is None:
        return failed(f"{url}, and no pccs here") if section.complete else unknown(section.why)
    return passed(f"{url}, pccs active") if unit.active == "active" else failed(f"{url}, pccs {unit.active}")


@judges("TDX-MPA")
def registration(report: HostReport, check: Check) -> Finding:
    """The BIOS's own record. Complete with an error is not complete; the tool's unit is inactive when all is well."""
    found = report.registration
    if found.complete is None or found.error is None:
        return unknown(report.section("efivars").why)
    seen = f"registration {'complete' if found.complete else 'not complete'}, error 0x{found.error:x}"
    if found.complete and not found.error:
        return passed(seen)
    if found.indirect:
        return unknown(f"{seen}; registered indirectly, which the BIOS does not see")
    return failed(seen, f"0x{found.error:x}" if found.error else found.cause)


@judges("TDX-MPAIND")
def registration_flow(report: HostReport, check: Check) -> Finding:
    """Direct registration keeps keys with Intel; indirect ones are kept by the site's own cache."""
    if report.registration.indirect is None:
        return unknown(report.section("efivars").why)
    return noted("indirect, by PCKIDRetrievalTool and PCCS" if report.registration.indirect else "direct")
