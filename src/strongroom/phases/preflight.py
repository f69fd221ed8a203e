"""Preflight: read every host once, and stop before anything changes anywhere if one of them won't do."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from typing import TYPE_CHECKING

from rich.console import Console

from strongroom.checks import common, containerd, platform
from strongroom.checks.verdict import CheckResult, waive
from strongroom.errors import PreflightRefused
from strongroom.model.cluster import Host
from strongroom.phases.base import Context
from strongroom.plan.resource import Step
from strongroom.probe.report import HostReport
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


def needs(context: Context, host: Host, report: HostReport) -> common.Needs:
    """What the wanted cluster takes of a host; one that has its share already needs only room to breathe."""
    plane = host == context.inventory.leader
    artifacts = [artifact.size >> 20 for artifact in context.bundle.manifest.artifacts]
    installed = report.roles is not None and bool(report.roles & {"node", "control-plane"})
    room = 200 if installed else sum(artifacts)
    return common.Needs(
        arch=context.bundle.manifest.arch,
        memory=_MEMORY[plane],
        free={"/opt": room, "/var/lib": room if installed else 2 * room},
        ports={**(_CONTROL_PLANE_PORTS if plane else {}), 10250: "kubelet"},
    )


class PreflightPhase:
    """Reads and judges; never changes anything."""

    name = "preflight"
    title = "Preflight"

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.reports: dict[str, HostReport] = {}
        self.results: dict[str, list[CheckResult]] = {}

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        hosts = context.inventory.hosts
        read = session.each(
            hosts, lambda _, remote: HostReport.parse(remote.run(probe_script(), doing="probing", timeout=60))
        )
        for host, report in zip(hosts, read, strict=True):
            checks = [platform.judge(report, host.platform), *common.judge(report, needs(context, host, report))]
            if context.inventory.cluster.runtime.containerd == "distribution":
                checks.append(containerd.judge(report))
            self.reports[host.name] = report
            self.results[host.name] = waive(checks, context.inventory.cluster.waive)
        table.show(self.console or progress.console, self.reports, self.results)
        refusing = [(name, check) for name, checks in self.results.items() for check in checks if check.refuses]
        if refusing:
            raise PreflightRefused(
                "\n".join(f"{name}: {check.id}: {check.seen}; wanted: {check.wanted}" for name, check in refusing),
                hint=f"{refusing[0][1].remedy}; nothing was changed",
            )
        return []
