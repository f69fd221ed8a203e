"""IBM Secure Execution on s390x: the ultravisor on the host, and the guest below it."""

from __future__ import annotations

import re

from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, passed, unknown
from strongroom.model.checks import Check
from strongroom.probe.report import HostReport
from strongroom.probe.text import hexadecimal, number

RESERVED = re.compile(r"\bprot_virt\S{0,16}: Reserving (\d{1,9})MB as ultravisor base storage")
REFUSED = re.compile(
    r"\bprot_virt\S{0,16}: (?:.*Disabling support for protected virtualization|Failed to reserve \d{1,12} bytes"
    r"|Ultravisor init failed|Protected virtualization not supported by the hardware).*"
)
UV = "/sys/firmware/uv"


@judges("SE-FAC")
def facility(report: HostReport, check: Check) -> Finding:
    """Facilities are whole words: 158 is also the end of 1158. lscpu shows none, and the machine's type, which may be of
    before there was such a facility."""
    found, kind = report.processor.facilities, report.processor.machine_type
    if found is None:
        older = check.text("older", kind or "")
        return failed(f"machine type {kind}, a {older}") if older else unknown(report.section("cpuinfo").why)
    wanted = str(check.number("facility"))
    return passed(f"facility {wanted}") if wanted in found else failed(f"no facility {wanted}")


@judges("SE-HOST")
def host(report: HostReport, check: Check) -> Finding:
    """The kernel's own flag."""
    return _flag(report, "prot_virt_host")


@judges("SE-UV")
def ultravisor(report: HostReport, check: Check) -> Finding:
    """The ultravisor took its memory; command line and facility alone would not tell that it failed."""
    if match := report.log.find(REFUSED):
        return failed(match[0])
    if match := report.log.find(RESERVED):
        return passed(match[0])
    return failed("no ultravisor storage was reserved") if report.log.whole else unknown(report.section("dmesg").why)


@judges("SE-QUERY")
def query(report: HostReport, check: Check) -> Finding:
    """What the ultravisor says of guests and attestation."""
    guests = number(report.sysfs.get(f"{UV}/query/max_guests"))
    versions = hexadecimal(report.sysfs.get(f"{UV}/query/supp_att_req_hdr_ver"))
    if guests is None or versions is None:
        return unknown(report.section("sysfs").why)
    seen = f"{guests} guests, attestation request versions 0x{versions:x}"
    return passed(seen) if guests and versions else failed(seen)


@judges("SE-GUEST")
def guest(report: HostReport, check: Check) -> Finding:
    """The guest's kernel runs under the ultravisor."""
    return _flag(report, "prot_virt_guest")


def _flag(report: HostReport, name: str) -> Finding:
    value = number(report.sysfs.get(f"{UV}/{name}"))
    if value is None:
        return unknown(report.section("sysfs").why)
    return passed(f"{name} is 1") if value == 1 else failed(f"{name} is {value}")
