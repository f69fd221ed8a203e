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
    inthe_way = [result for name in found.because if (result := judgement.check(name))]
    seen = f"{platform} {found.state}: {found.sentence}"
    if inthe_way and all(result.waived for result in inthe_way):
        waived = ", ".join(result.id for result in inthe_way)
        return CheckResult(
            _ID, CheckVerdict.WARN, seen, wanted, f"mend {waived} (waived)", platform=platform, doc=_doc()
        )
    cause = next((result for result in inthe_way if result.remedy and not result.waived), None)
    remedy = cause.remedy if cause else f"make {inthe_way[0].id} known" if inthe_way else "use another host"
    return CheckResult(_ID, CheckVerdict.FAIL, seen, wanted, remedy, platform=platform, doc=_doc())


def _doc() -> str:
    return f"docs/checks/{_ID}.md"
