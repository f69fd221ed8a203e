"""Whether a host is the platform that the inventory asks for."""

from __future__ import annotations

from collections.abc import Collection

from strongroom.checks.verdict import CheckResult, CheckVerdict, HostJudgement, State
from strongroom.model.platform import Platform

_ID = "HOST-PLATFORM"


def judge(
    judgement: HostJudgement, platform: Platform, mends: Collection[str] = (), untold: Collection[str] = ()
) -> CheckResult:
    """The check HOST-PLATFORM: passes only where the platform is ready.

    ``mends`` are checks whose causes the host phase takes away, ``untold`` those that it makes known: where nothing else
    is in the way of a capable host, it warns, and the host is judged anew, without them, after that phase. Where all that
    is in the way was waived by the inventory, check by check, it warns: the host is taken, and not called what it is not.
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
    left = [
        result
        for result in in_the_way
        if result.id not in mends
        and not (result.id in untold and result.verdict is CheckVerdict.UNKNOWN)
        and not result.waived
    ]
    if found.state is State.CAPABLE and in_the_way and not left:
        mended = ", ".join(name for name in found.because if name in mends)
        remedy = f"nothing: apply sets up what {mended} asks for, and judges the host again"
        return CheckResult(_ID, CheckVerdict.WARN, seen, wanted, remedy, platform=platform, doc=_doc())
    # What will be mended anyway is not what the operator has to read.
    if left and left[0].id != found.because[0]:
        seen = f"{platform} {found.state}: {left[0].id} {left[0].verdict}: {left[0].seen}"
    # The remedy is of the cause that the sentence names: another check's would send people elsewhere.
    if left and (left[0].remedy or left[0].verdict is CheckVerdict.UNKNOWN):
        remedy = left[0].remedy or f"make {left[0].id} known: {left[0].seen}"
    elif found.state is State.ABSENT:
        remedy = "correct platform in the host's data, or use another host"
    else:
        remedy = f"make {in_the_way[0].id} known" if in_the_way else "let the probe read all of the host"
    return CheckResult(_ID, CheckVerdict.FAIL, seen, wanted, remedy, platform=platform, doc=_doc())


def _doc() -> str:
    return f"docs/checks/{_ID}.md"
