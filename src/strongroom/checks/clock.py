"""Time and names: what certificates, tokens and collateral are dated by, and who tells a host where things are."""

from __future__ import annotations

from ipaddress import ip_address

from strongroom.checks import role
from strongroom.checks.registry import judges
from strongroom.checks.verdict import Finding, failed, passed, unknown, warned
from strongroom.model.checks import Check, Role
from strongroom.probe.report import HostReport


@judges("C-CLOCK")
def skew(report: HostReport, check: Check) -> Finding:
    """The host's clock against the controller's at the moment when the probe's output arrived."""
    if report.time is None or report.arrived is None:
        return unknown(report.section("time" if report.time is None else "controller").why)
    off = report.time - report.arrived
    seen = f"{abs(off)} s {'ahead' if off > 0 else 'behind' if off < 0 else 'apart'}"
    if abs(off) < check.number("warn"):
        return passed(seen)
    return failed(seen) if abs(off) >= check.number("fail") else warned(seen)


@judges("C-TIMESRC")
def time_source(report: HostReport, check: Check) -> Finding:
    """Whether a time service keeps the clock. What it ticks by is told along: a guest's may be the host's to bend."""
    clock = report.clock
    ticks = f", by {clock.source}" if clock.source else ""
    if clock.synchronised is None:
        return unknown(report.section("time").why)
    who = clock.service or "a time service"
    return passed(f"synchronised by {who}{ticks}") if clock.synchronised else warned(f"not synchronised{ticks}")


@judges("C-RESOLVER")
def resolver(report: HostReport, check: Check) -> Finding:
    """Servers that are neither local nor private get questions in clear text and answer what they like. For a guest of a
    TEE the host's network is not private either."""
    if not report.clock.resolver_read:
        return unknown(report.section("time").why)
    if not report.clock.nameservers:
        return passed("no resolver")
    guest = role.role(report) is Role.GUEST and bool(role.kinds(report))
    foreign = [server for server in report.clock.nameservers if not _trusted(server, guest)]
    seen = ", ".join(report.clock.nameservers)
    return warned(f"{', '.join(foreign)} answers names") if foreign else passed(seen)


def _trusted(server: str, guest: bool) -> bool:
    try:
        address = ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return address.is_loopback or (not guest and (address.is_private or address.is_link_local))
