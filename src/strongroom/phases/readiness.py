"""Which platforms must be ready on a host before its handlers are registered; see :mod:`strongroom.plan.readiness`."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import State
from strongroom.model.checks import Role
from strongroom.model.platform import Platform
from strongroom.model.shims import Shim
from strongroom.plan.readiness import Ready
from strongroom.plan.resource import Resource
from strongroom.probe.report import HostReport
from strongroom.probe.script import probe_script, probed


def not_ready(lines: Sequence[str]) -> dict[Platform, str | None]:
    """Why each platform is not ready on the host that a probe read, None where it is.

    No waiver counts here: a waiver lets a host in, it does not make its hardware protect anything. A guest is no host,
    whatever it runs in itself.
    """
    judgement = judge(HostReport.of(probed(lines)), catalogue(), expected_role=Role.HOST)
    if judgement.role is not Role.HOST:
        return dict.fromkeys(Platform, "is what this machine may run in, not what it can offer: it is a guest")
    return {
        one: None if result.state is State.READY else f"is {result.state}: {result.sentence}"
        for one, result in judgement.platforms.items()
    }


def guards(shims: Sequence[Shim]) -> list[Resource]:
    """The guard of a host that gets these shims; none where no guest of theirs runs in a TEE."""
    confidential = [shim for shim in shims if shim.confidential]
    if not confidential:
        return []
    platforms = tuple(dict.fromkeys(one for shim in confidential for one in shim.requires))
    return [Ready(platforms, tuple(shim.name for shim in confidential), probe_script(), not_ready)]
