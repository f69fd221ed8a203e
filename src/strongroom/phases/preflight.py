"""Preflight: read every host once, and stop before anything changes anywhere if one of them won't do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib.resources import files
from time import time
from typing import TYPE_CHECKING

from rich.console import Console

from strongroom.catalog.load import checks as catalogue
from strongroom.checks import containerd, platform
from strongroom.checks import needs as needed
from strongroom.checks.judge import judge
from strongroom.checks.verdict import HostJudgement, waive
from strongroom.errors import PreflightRefused
from strongroom.model.checks import Role
from strongroom.model.cluster import Host, Mode
from strongroom.model.platform import Platform
from strongroom.phases.base import Context
from strongroom.plan.resource import Step
from strongroom.probe.report import HostReport
from strongroom.probe.sections import END, split
from strongroom.report import preflight as table
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

# kubeadm's minimum for a control plane is 1700 MiB (kubeadm, preflight ControlPlaneMem); a worker runs with less.
_MEMORY = {True: 1700, False: 700}
_CONTROL_PLANE_PORTS = {
    2379: "etcd",
    2380: "etcd",
    6443: "kube-apiserver",
    10257: "kube-controller",  # the kernel keeps 15 characters of a program's name
    10259: "kube-scheduler",
}


def probe_script() -> str:
    """The probe, as packed with strongroom."""
    return files("strongroom").joinpath("probe", "probe.sh").read_text(encoding="utf-8")


def probed(lines: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """The probe's sections by name, with one of our own: when its output arrived, by the controller's clock."""
    return {**split(lines), "controller": (f"arrived={int(time())}", END)}


def needs(context: Context, host: Host, report: HostReport) -> needed.Needs:
    """What the wanted cluster takes of a host; one that has its share already needs only room to breathe."""
    plane = host == context.inventory.leader
    artifacts = [artifact.size >> 20 for artifact in context.bundle.manifest.artifacts]
    installed = report.roles is not None and bool(report.roles & {"node", "control-plane"})
    room = 200 if installed else sum(artifacts)
    return needed.Needs(
        arch=context.bundle.manifest.arch,
        memory=_MEMORY[plane],
        free={"/opt": room, "/var/lib": room if installed else 2 * room},
        ports={**(_CONTROL_PLANE_PORTS if plane else {}), 10250: "kubelet"},
    )


# In this mode hosts carry guests: a TEE asked for is asked of the metal. In the other, control plane and workers are guests.
_EXPECTED = {Mode.CONTAINERS: Role.HOST}


def judge_host(context: Context, host: Host, report: HostReport) -> HostJudgement:
    """Everything that preflight says of a host: what the inventory asks first, then every check of the catalogue."""
    inventory = context.inventory
    waivers = inventory.cluster.waive
    expected = None if host.platform is Platform.NONE else _EXPECTED.get(inventory.cluster.mode)
    judgement = judge(report, catalogue(), waivers=waivers, expected_role=expected)
    asked = [platform.judge(judgement, host.platform), *needed.judge(report, needs(context, host, report))]
    if inventory.cluster.runtime.containerd == "distribution":
        asked.append(containerd.judge(report))
    return replace(judgement, checks=(*waive(asked, waivers), *judgement.checks))


class PreflightPhase:
    """Reads and judges; never changes anything.

    After ``run``: ``sections`` is what each host printed (to be saved), ``reports`` the same as typed data, and
    ``judgements`` what was said of it. Only checks that the inventory asks for refuse; HOST-PLATFORM stands for the rest.
    """

    name = "preflight"
    title = "Preflight"

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.sections: dict[str, dict[str, tuple[str, ...]]] = {}
        self.reports: dict[str, HostReport] = {}
        self.judgements: dict[str, HostJudgement] = {}

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        hosts = context.inventory.hosts
        read = session.each(hosts, lambda _, remote: probed(remote.run(probe_script(), doing="probing", timeout=60)))
        for host, found in zip(hosts, read, strict=True):
            self.sections[host.name] = found
            self.reports[host.name] = HostReport.of(found)
            self.judgements[host.name] = judge_host(context, host, self.reports[host.name])
        asked = {check.id for check in catalogue().checks if check.inventory}
        results = {
            name: [check for check in judgement.checks if check.id in asked]
            for name, judgement in self.judgements.items()
        }
        table.show(self.console or progress.console, self.reports, results)
        refusing = [(name, check) for name, checks in results.items() for check in checks if check.refuses]
        if refusing:
            raise PreflightRefused(
                "\n".join(f"{name}: {check.id}: {check.seen}; wanted: {check.wanted}" for name, check in refusing),
                hint=f"{refusing[0][1].remedy}; nothing was changed",
            )
        return []
