"""Preflight: read every host once, and stop before anything changes anywhere if one of them won't do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, TypeVar

from rich.console import Console

from strongroom.catalog.load import checks as catalogue
from strongroom.catalog.load import hosts as setups
from strongroom.checks import consistency, containerd, distribution, host_kernel, platform
from strongroom.checks import needs as needed
from strongroom.checks.judge import judge
from strongroom.checks.verdict import CheckResult, HostJudgement, waive
from strongroom.errors import PreflightRefused, StrongroomError
from strongroom.model.bundle import BundleManifest
from strongroom.model.checks import Role
from strongroom.model.cluster import Host, Inventory, Mode
from strongroom.model.host_setup import PlatformSetup
from strongroom.model.platform import Platform
from strongroom.phases import existing
from strongroom.phases.base import Context, HostPhase
from strongroom.plan import command_line
from strongroom.plan.kernel_options import for_vendor
from strongroom.plan.resource import Guard, Step
from strongroom.probe.report import HostReport
from strongroom.probe.script import probe_script, probed
from strongroom.report import document, preflight
from strongroom.report.document import Judged, PreflightDocument
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.remote import Remote
    from strongroom.engine.session import Session

T = TypeVar("T")
Sections = Mapping[str, tuple[str, ...]]

# kubeadm's minimum for a control plane is 1700 MiB (kubeadm, preflight ControlPlaneMem); a worker runs with less.
_MEMORY = {True: 1700, False: 700}
_CONTROL_PLANE_PORTS = {
    2379: "etcd",
    2380: "etcd",
    6443: "kube-apiserver",
    10257: "kube-controller",  # the kernel keeps 15 characters of a program's name
    10259: "kube-scheduler",
}


def read(
    session: Session, hosts: Sequence[Host], look: Callable[[Host, Sections], T]
) -> tuple[dict[str, T], dict[str, str]]:
    """What ``look`` makes of every host's sections, and why the others could not be read.

    One execution each, all hosts at a time. A host is asked as soon as it is connected and looked at as soon as it has
    answered, while others still work: a probe's time is another host's handshake.
    """

    def one(host: Host, remote: Remote) -> tuple[T | None, str]:
        try:
            remote.connect()
            return look(host, probed(remote.run(probe_script(), doing="probing", timeout=60))), ""
        except StrongroomError as error:
            return None, str(error).removeprefix(f"{host.name}: ")

    found, unread = {}, {}
    for host, (seen, why) in zip(hosts, session.each(hosts, one), strict=True):
        if seen is None:
            unread[host.name] = why
        else:
            found[host.name] = seen
    return found, unread


def needs(inventory: Inventory, host: Host, report: HostReport, manifest: BundleManifest | None) -> needed.Needs:
    """What the wanted cluster takes of a host; one that has its share already needs only room to breathe.

    Without a bundle's manifest nobody knows the architecture and how much room: neither is asked for.
    """
    if existing.is_theirs(inventory):
        return existing.needs(manifest)
    plane = host == inventory.leader
    ports = {**(_CONTROL_PLANE_PORTS if plane else {}), 10250: "kubelet"}
    if manifest is None:
        return needed.Needs(arch=None, memory=_MEMORY[plane], free={}, ports=ports)
    installed = report.roles is not None and bool(report.roles & {"node", "control-plane"})
    room = 200 if installed else sum(artifact.size >> 20 for artifact in manifest.artifacts)
    free = {"/opt": room, "/var/lib": room if installed else 2 * room}
    return needed.Needs(arch=manifest.arch, memory=_MEMORY[plane], free=free, ports=ports)


# In this mode hosts carry guests: a TEE asked for is asked of the metal. In the other, control plane and workers are guests.
_EXPECTED = {Mode.CONTAINERS: Role.HOST}


def set_up_by_us(setup: PlatformSetup, report: HostReport) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The checks that the host phase mends on a host, and those that it makes known.

    An option that the kernel was booted with has done what it can: what fails all the same is not ours to mend.
    """
    line = " ".join(key if value is None else f"{key}={value}" for key, value in report.command_line.options)
    words = command_line.parse(line)
    options = [one for one in for_vendor(setup.options, report.vendor or "") if not command_line.held(one, words)]
    mends = (*setup.mends, *(check for one in options for check in one.mends))
    return mends, tuple(check for one in options for check in one.untold)


def judge_host(
    inventory: Inventory, host: Host, report: HostReport, manifest: BundleManifest | None, *, set_up: bool = True
) -> HostJudgement:
    """Everything that preflight says of a host: what the inventory asks first, then every check of the catalogue.

    ``set_up`` says that the host phase is still to come: what it mends does not refuse a host.
    """
    waivers = inventory.cluster.waive
    expected = None if host.platform is Platform.NONE else _EXPECTED.get(inventory.cluster.mode)
    judgement = judge(report, catalogue(), waivers=waivers, expected_role=expected)
    setup = setups().of(host.platform)
    mends, untold = set_up_by_us(setup, report) if set_up else ((), ())
    asked = [
        platform.judge(judgement, host.platform, mends, untold),
        *needed.judge(report, needs(inventory, host, report, manifest)),
    ]
    kubernetes, runtime = inventory.cluster.kubernetes, inventory.cluster.runtime
    if (theirs := distribution.judge(report, kubernetes.of, runtime.engine)) is not None:
        asked.append(theirs)
    # k3s and the like bring their own containerd; of an existing cluster it is the distribution's, as where we ask for that.
    own = kubernetes.of.installed_by_us and runtime.containerd == "bundle"
    if not own and not kubernetes.of.config and runtime.engine == "containerd":
        asked.append(containerd.judge(report))
    if setup.floors:
        asked.append(host_kernel.judge(report, host.platform, judgement.state(host.platform), setup.floors))
    return replace(judgement, checks=(*waive(asked, waivers), *judgement.checks))


@dataclass(frozen=True)
class Examined:
    """What was read of a host, and what is said of it."""

    sections: Sections
    report: HostReport
    judgement: HostJudgement


def examine(
    inventory: Inventory, manifest: BundleManifest | None, *, set_up: bool = True
) -> Callable[[Host, Sections], Examined]:
    """What looks at the hosts of an inventory; ``set_up`` is for :func:`judge_host`."""

    def look(host: Host, sections: Sections) -> Examined:
        report = HostReport.of(sections)
        return Examined(sections, report, judge_host(inventory, host, report, manifest, set_up=set_up))

    return look


@dataclass(frozen=True)
class Outcome:
    """What was read of hosts and what was said of it. ``asked`` are the inventory's own checks that nobody waived."""

    document: PreflightDocument
    judgements: Mapping[str, HostJudgement]
    refusing: Sequence[tuple[str, CheckResult]] = field(default_factory=tuple)

    def refuse(self) -> None:
        """Raise what stands in the way.

        Raises:
            PreflightRefused: a line for each check of the inventory's that failed.
        """
        if self.refusing:
            raise PreflightRefused(
                "\n".join(f"{name}: {check.id}: {check.seen}; wanted: {check.wanted}" for name, check in self.refusing),
                hint=f"{self.refusing[0][1].remedy}; nothing was changed",
            )


def judge_inventory(
    inventory: Inventory, examined: Mapping[str, Examined], unread: Mapping[str, str] | None = None
) -> Outcome:
    """What is said of an inventory's hosts together; ``unread`` are those that could not be read, and why.

    Only checks that the inventory asks for refuse; HOST-PLATFORM stands for the rest.
    """
    asked = {check.id for check in catalogue().checks if check.inventory}
    judged, refusing = [], []
    for host in inventory.hosts:
        if unread and host.name in unread:
            judged.append(Judged(host.name, host.platform, failure=unread[host.name]))
            continue
        found = examined[host.name].judgement
        judged.append(Judged(host.name, host.platform, examined[host.name].report, found))
        refusing += [(host.name, check) for check in found.checks if check.id in asked and check.refuses]
    # Alike should be the hosts that carry the same work: those of one platform that run pods.
    groups: dict[str, list[str]] = {}
    for host in inventory.runtime_hosts:
        groups.setdefault(host.platform, []).append(host.name)
    reports = {name: one.report for name, one in examined.items()}
    judgements = {name: one.judgement for name, one in examined.items()}
    return Outcome(document.make(judged, _differences(reports, groups), catalogue()), judgements, refusing)


def judge_alone(sections: Mapping[str, Sections]) -> Outcome:
    """Judge hosts that no inventory asks anything of; those of one product are held to be alike."""
    reports = {name: HostReport.of(found) for name, found in sections.items()}
    judgements = {name: judge(report, catalogue()) for name, report in reports.items()}
    judged = [Judged(name, report=reports[name], judgement=judgements[name]) for name in sections]
    groups: dict[str, list[str]] = {}
    for name, report in reports.items():
        if product := report.dmi.get("product_name"):
            groups.setdefault(product, []).append(name)
    return Outcome(document.make(judged, _differences(reports, groups), catalogue()), judgements)


def _differences(
    reports: Mapping[str, HostReport], groups: Mapping[str, Sequence[str]]
) -> list[consistency.Difference]:
    alike = [{name: reports[name] for name in names if name in reports} for names in groups.values()]
    return [difference for group in alike if len(group) > 1 for difference in consistency.compare(group)]


class PreflightPhase:
    """Reads and judges; never changes anything. ``outcome`` is there after ``run``, also where it refuses."""

    name = "preflight"
    title = "Preflight"

    def __init__(self, console: Console | None = None) -> None:
        self.console = console
        self.outcome: Outcome | None = None
        self.set_up = True
        """Whether the host phase, and the judgement after it, are still to come in this run."""
        self.ahead: Sequence[HostPhase] = ()
        """The phases that are to change hosts after it."""

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        inventory = context.inventory
        look = examine(inventory, context.bundle.manifest, set_up=self.set_up)
        examined, unread = read(session, inventory.hosts, look)
        if unread:
            raise StrongroomError("\n".join(f"{name}: {why}" for name, why in sorted(unread.items())))
        self.outcome = judge_inventory(inventory, examined)
        preflight.overview(self.console or progress.console, self.outcome.document)
        self.outcome.refuse()
        refuse_ahead(self.ahead, context, session)
        return []


def refuse_ahead(phases: Sequence[HostPhase], context: Context, session: Session) -> None:
    """What would stop phases on some host later, looked at on all hosts before anything changes on one.

    Raises:
        PreflightRefused: a line for each host and what stands in the way there.
    """

    def look(host: Host, remote: Remote) -> list[StrongroomError]:
        mine = [phase for phase in phases if any(host in wave for wave in phase.waves(context.inventory))]
        guards = [one for phase in mine for one in phase.resources(context, host) if isinstance(one, Guard)]
        seen = remote.observe(guards) if guards else {}
        refusing = []
        for guard in guards:
            try:
                guard.steps(seen[guard.key])
            except StrongroomError as error:
                refusing.append(StrongroomError(f"{host.name}: {error}", hint=error.hint))
        return refusing

    refusing = [error for found in session.each(context.inventory.hosts, look) for error in found]
    if refusing:
        raise PreflightRefused("\n".join(map(str, refusing)), hint=f"{refusing[0].hint}; nothing was changed")


class PlatformPhase:
    """Judges hosts with a platform again once they are set up: nothing is registered on a host that is not ready.

    A plan has nothing to judge: what it lists was not done.
    """

    name = "platform"
    title = "Judge the platforms as they are set up"

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        inventory = context.inventory
        hosts = tuple(host for host in inventory.hosts if host.platform not in (Platform.NONE, Platform.VTPM))
        if not hands or not hosts:
            return []
        examined, unread = read(session, hosts, examine(inventory, context.bundle.manifest, set_up=False))
        if unread:
            raise StrongroomError("\n".join(f"{name}: {why}" for name, why in sorted(unread.items())))
        first = [(name, found.judgement.checks[0]) for name, found in examined.items()]
        refusing = [(name, check) for name, check in first if check.refuses]
        if refusing:
            raise PreflightRefused(
                "\n".join(f"{name}: {check.id}: {check.seen}; wanted: {check.wanted}" for name, check in refusing),
                hint=f"{refusing[0][1].remedy}; the hosts are set up, and nothing was registered on them",
            )
        return []
