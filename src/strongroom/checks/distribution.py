"""Whether the Kubernetes that runs on a host is the one that the inventory says: nobody's cluster is taken for another's."""

from __future__ import annotations

from strongroom.checks.verdict import CheckResult, CheckVerdict
from strongroom.model.distribution import Distribution, distributions
from strongroom.probe.report import HostReport

_ID = "HOST-DISTRIBUTION"
_UNIT = "unit:"
_OURS = "strongroom-kubelet"


def judge(report: HostReport, said: Distribution, engine: str) -> CheckResult | None:
    """The check HOST-DISTRIBUTION; None where strongroom sets Kubernetes up and no other is there."""
    beside = "" if said.config else f" and {engine}.service"
    wanted = (
        "no other Kubernetes" if said.installed_by_us else f"{said.name}: {' or '.join(said.services)}{beside} active"
    )
    if report.roles is None:
        return None if said.installed_by_us else CheckResult(_ID, CheckVerdict.UNKNOWN, "not probed", wanted)
    active = {line.removeprefix(_UNIT) for line in report.roles if line.startswith(_UNIT)}

    def failed(seen: str, remedy: str) -> CheckResult:
        return CheckResult(_ID, CheckVerdict.FAIL, seen, wanted, remedy)

    for other in distributions().values():
        if other.name == said.name or not other.config:  # kubeadm's unit is nobody's own
            continue
        if running := [unit for unit in other.services if unit.removesuffix(".service") in active]:
            return failed(
                f"{running[0]} is active, and kubernetes.distribution says {said.name!r}",
                f"set kubernetes.distribution to {other.name!r}, or correct the host's address",
            )
    if said.installed_by_us:
        return None
    mine = [unit for unit in said.services if unit.removesuffix(".service") in active]
    if not mine:
        there = ", ".join(f"{unit}.service" for unit in sorted(active)) or "no unit of any"
        return failed(
            f"{there} active, and kubernetes.distribution says {said.name!r}",
            f"start {said.name} there, correct kubernetes.distribution, or take the host out of the inventory",
        )
    if not said.config and _OURS in report.roles:
        return failed(
            f"its kubelet is strongroom's, and kubernetes.distribution says {said.name!r}",
            "set kubernetes.distribution to 'kubeadm': strongroom has set this cluster up",
        )
    if not said.config and engine not in active:
        return failed(
            f"{engine}.service is not active, and runtime.engine says {engine!r}",
            "correct runtime.engine: it is what runs this host's containers",
        )
    return CheckResult(_ID, CheckVerdict.PASS, f"{mine[0]} active", wanted)
