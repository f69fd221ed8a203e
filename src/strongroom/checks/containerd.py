"""Whether a host has the containerd that an inventory counts on when it says ``runtime.containerd: distribution``."""

from __future__ import annotations

from strongroom.checks.verdict import CheckResult, CheckVerdict
from strongroom.errors import StrongroomError
from strongroom.plan.containerd import OLDEST, parse_version
from strongroom.probe.report import HostReport

_OURS = "/opt/strongroom/"


def judge(report: HostReport) -> CheckResult:
    """The check HOST-CONTAINERD."""
    oldest = ".".join(map(str, OLDEST))
    wanted = f"the distribution's containerd, {oldest} or newer, as containerd.service"

    def failed(seen: str, remedy: str) -> CheckResult:
        return CheckResult("HOST-CONTAINERD", CheckVerdict.FAIL, seen, wanted, remedy)

    if report.containerd is None:
        return CheckResult("HOST-CONTAINERD", CheckVerdict.UNKNOWN, "not probed", wanted)
    found = report.containerd
    if "program" not in found:
        return failed(
            "no containerd.service", "install the distribution's containerd, or set runtime.containerd to bundle"
        )
    if found["program"].startswith(_OURS):
        return failed(
            f"containerd.service runs {found['program']}, of a bundle",
            "take it away first: strongroom destroy --phase runtime, with runtime.containerd set to bundle",
        )
    try:
        version = parse_version(found.get("version") or "?")
    except StrongroomError as error:
        return failed(str(error).removeprefix("containerd: "), str(error.hint))
    if "refused" in found:
        return failed(f"it refuses its configuration: {found['refused']}", "mend /etc/containerd/config.toml")
    return CheckResult(
        "HOST-CONTAINERD", CheckVerdict.PASS, f"{'.'.join(map(str, version))}, {found['program']}", wanted
    )
