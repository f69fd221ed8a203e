"""Whether a host is the platform that the inventory asks for.

Only what needs no TEE can be affirmed here: `none`. Everything else takes the TEE checks, which this version does not
have, so the answer is unknown and a host that must have a TEE is refused rather than believed.
"""

from __future__ import annotations

from strongroom.checks.verdict import CheckResult, Outcome
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport


def judge(report: HostReport, platform: Platform) -> CheckResult:
    """The check HOST-PLATFORM."""
    if platform is Platform.NONE:
        return CheckResult("HOST-PLATFORM", Outcome.INFO, "no TEE asked for", "none")
    hints = [name.rpartition("/")[2] + "=" + value for name, value in sorted(report.parameters.items())]
    seen = "cannot be confirmed by this version" + (f" (kernel says {', '.join(hints)})" if hints else "")
    return CheckResult(
        "HOST-PLATFORM", Outcome.FAIL, seen, f"{platform} ready", "set platform: none, and claim: none, until it can"
    )
