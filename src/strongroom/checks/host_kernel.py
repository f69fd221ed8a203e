"""Whether a host's kernel is new enough for the platform that the inventory asks for, on its distribution."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.checks.verdict import CheckResult, CheckVerdict, State
from strongroom.model.host_setup import KernelFloor, floor_for, kernel_numbers
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport

_ID = "HOST-KERNEL"


def judge(report: HostReport, platform: Platform, state: State, floors: Sequence[KernelFloor]) -> CheckResult:
    """The check HOST-KERNEL. A host that is ready has proved its kernel: distributions backport what no version tells."""
    name, release = (part or "" for part in report.distribution)
    floor = floor_for(floors, name, release)
    doc = f"docs/checks/{_ID}.md"
    seen = f"{report.kernel or 'no kernel told'} on {name or 'an unknown distribution'} {release}".strip()

    def result(verdict: CheckVerdict, wanted: str, remedy: str = "") -> CheckResult:
        return CheckResult(_ID, verdict, seen, wanted, remedy, platform=platform, doc=doc)

    if floor is None:
        return result(CheckVerdict.INFO, f"nothing known of {platform}")
    if state is State.READY:
        return result(CheckVerdict.PASS, f"{platform} ready")
    if floor.kernel is None:
        return result(CheckVerdict.UNKNOWN, f"a kernel with {platform}'s host side", floor.remedy)
    wanted = f"{floor.kernel} or newer for {platform}"
    if report.kernel is None:
        return result(CheckVerdict.UNKNOWN, wanted, "let the probe read all of the host")
    new = kernel_numbers(report.kernel) >= kernel_numbers(floor.kernel)
    if new or any(word in report.kernel for word in floor.backports):
        return result(CheckVerdict.PASS, wanted)
    return result(CheckVerdict.FAIL, wanted, floor.remedy)
