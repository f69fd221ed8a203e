"""Whether a host is the platform that the inventory asks for."""

from __future__ import annotations

from strongroom.checks.verdict import CheckResult, CheckVerdict, HostJudgement, State
from strongroom.model.platform import Platform

_ID = "HOST-PLATFORM"


def judge(judgement: HostJudgement, platform: Platform) -> CheckResult:
    """The check HOST-PLATFORM: passes only where the platform is ready.

    Where all that is in the way was waived by the inventory, check by check, it warns: the host is taken, and not called
    what it is not.
    """
    if platform is Platform.NONE:
        return CheckResult(_ID, CheckVerdict.INFO, "no TEE asked for", "none", doc=_doc())
    found = judgement.platforms[platform]
    wanted = f"{platform} ready"
    if found.state is State.READY:
        return CheckResult(_ID, CheckVerdict.PASS, f"{platform} ready", wanted, platform=platform, doc=_doc())
    in_the_way = [result for name in found.because if (result := judgement.check(name))]
    seen = f"{platform} {found.state}: {found.sentence}"
    if in_the_way and all(result.waived for result in in_the_way):
        waived = ", ".join(result.id for result in in_the_way)
        return CheckResult(
            _ID, CheckVerdict.WARN, seen, wanted, f"mend {waived} (waived)", platform=platform, doc=_doc()
        )
    cause = next((result for result in in_the_way if result.remedy and not result.waived), None)
    if cause is not None:
        remedy = cause.remedy
    elif found.state is State.ABSENT:
        remedy = "correct platform in the host's data, or use another host"
    else:
        remedy = f"make {in_the_way[0].id} known" if in_the_way else "let the probe read all of the host"
    return CheckResult(_ID, CheckVerdict.FAIL, seen, wanted, remedy, platform=platform, doc=_doc())


def _doc() -> str:
    return f"docs/checks/{_ID}.md"
