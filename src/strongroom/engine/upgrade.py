"""Upgrades the runtime of a running cluster, host by host, and rolls it back.

Every batch is cordoned, drained, switched, looked at and uncordoned. The first bad node stops it: its batch goes back to
the versions that it had. What is in use, what was before, and who cordoned a node is read from hosts and cluster each time,
so a run that was broken off anywhere is simply run again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from strongroom.checks.needs import ARCHITECTURES
from strongroom.engine.remote import Remote
from strongroom.engine.runner import Run, naming, pending
from strongroom.errors import PreflightRefused, StrongroomError
from strongroom.kube import drain
from strongroom.model.cluster import Host
from strongroom.phases.base import HostPhase
from strongroom.phases.kubernetes import same_version
from strongroom.phases.runtime import RuntimePhase, switches
from strongroom.phases.upgrade import NAME, BackPhase, SettlePhase, StagePhase, SwitchPhase, TidyPhase
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.system import Unit
from strongroom.plan.versions import Former, SameVersions, Settled

Health = Callable[[Host, bool], None]
"""Raises StrongroomError unless a node is well; the second argument says that it runs the bundle's versions."""


@dataclass(frozen=True)
class Options:
    """How an upgrade goes about it: workers at a time, minutes that a drain may take, whether lone pods are ended."""

    batch: int = 1
    drain_minutes: int = 10
    force: bool = False


@dataclass
class Upgrade:
    """One upgrade, or rollback, over a run's session."""

    run: Run
    cluster: drain.Cluster
    health: Health
    options: Options = Options()
    drain: Callable[[Sequence[str]], None] | None = None
    done: list[Host] = field(default_factory=list)
    going_back: dict[str, set[str]] = field(default_factory=dict)
    """Host -> the links and files that a rollback changes, which are one step of it."""

    def __post_init__(self) -> None:
        if self.drain is None:
            self.drain = drain.Drain(self.cluster, self.options.drain_minutes, self.run.progress.say)

    def forward(self) -> None:
        """Bring all hosts to the bundle's versions.

        Raises:
            PreflightRefused: a host is no member of the cluster, or has pods that would be lost; nothing was changed.
            StrongroomError: a node did not get well, or could not be drained; its batch is as it was before.
        """
        hosts = self.run.context.inventory.hosts
        behind = self._behind(hosts)
        self._refuse_lone_pods(behind)
        if behind:
            self._host_phase(StagePhase(behind))
        self._all(behind, SwitchPhase, fresh=True)
        with self.run.progress.step(TidyPhase.title):
            self.run.host_phase(TidyPhase([host for host in hosts if host not in behind]), pending)
            self.run.host_phase(TidyPhase(behind, ahead=not self.run.hands), pending)
        self._release_left(hosts, behind)

    def back(self) -> None:
        """Bring all hosts to the versions that were in use before the last upgrade.

        Raises:
            PreflightRefused: pods would be lost; nothing was changed.
            StrongroomError: a former version is gone, or a node did not get well.
        """
        hosts = self.run.context.inventory.hosts
        ahead = self._ahead(hosts)
        self._refuse_lone_pods(ahead)
        self._all(ahead, BackPhase, fresh=False)
        self._release_left(hosts, ahead)

    # What there is to do

    def _behind(self, hosts: Sequence[Host]) -> list[Host]:
        arch = self.run.context.bundle.manifest.arch

        def look(host: Host, remote: Remote) -> bool | str:
            runtime, kubernetes = SameVersions(switches(self.run.context, host)), same_version(self.run.context)
            found = remote.observe([runtime, kubernetes])
            seen = found[runtime.key]
            now = seen.fields()
            if "member" not in now:
                return (
                    f"{host.name}: is no member of the cluster yet (strongroom apply, with the bundle in use, joins it)"
                )
            if ARCHITECTURES.get(machine := now.get("machine", ""), machine) != arch:
                return f"{host.name}: its processor is {machine}, and the bundle is for {arch}"
            if other := kubernetes.others(found[kubernetes.key]):
                return f"{host.name}: {other} ({kubernetes.hint})"
            return bool(runtime.others(seen)) or "switching" in now

        found = dict(zip(hosts, self.run.session.each(hosts, look), strict=True))
        if strange := [one for one in found.values() if isinstance(one, str)]:
            raise PreflightRefused("\n".join(strange), hint="nothing was changed")
        return [host for host, behind in found.items() if behind]

    def _ahead(self, hosts: Sequence[Host]) -> list[Host]:
        def look(host: Host, remote: Remote) -> bool:
            former = Former()
            seen = remote.observe([former])[former.key]
            with naming(host.name):
                former.steps(seen)
            self.going_back[host.name] = former.changes(seen)
            return "note" in seen.fields()

        return [host for host, ahead in zip(hosts, self.run.session.each(hosts, look), strict=True) if ahead]

    def _refuse_lone_pods(self, hosts: Sequence[Host]) -> None:
        if lost := self._lone_pods(hosts):
            raise PreflightRefused("\n".join(lost), hint="end it yourself, or give --force; nothing was changed")

    def _lone_pods(self, hosts: Sequence[Host]) -> list[str]:
        lost = []
        for host in () if self.options.force else hosts:
            lone = [str(pod) for pod in drain.pods_on(self.cluster, host.name) if pod.lone and not pod.ending]
            if lone:
                lost.append(
                    f"{host.name}: {', '.join(lone)}: belongs to no controller, so a drain would end it for good"
                )
        return lost

    # Batches

    def batches(self, hosts: Sequence[Host]) -> list[list[Host]]:
        """Control plane hosts one at a time, then the others, so many together."""
        planes = self.run.context.inventory.role("control_plane")
        others = [host for host in hosts if host not in planes]
        size = self.options.batch
        chunks = [others[at : at + size] for at in range(0, len(others), size)]
        return [*([host] for host in hosts if host in planes), *chunks]

    def _all(self, hosts: Sequence[Host], phase: type[SwitchPhase | BackPhase], *, fresh: bool) -> None:
        for batch in self.batches(hosts):
            with self.run.progress.step(f"{phase.title} {_names(batch)}"):
                self._batch(batch, phase(batch), fresh=fresh)
            self.done += batch
        if not self.run.hands:
            # What is installed beforehand is still pending for the switch when nobody has installed it: said once.
            self.run.changes[:] = dict.fromkeys(self.run.changes)

    def _batch(self, batch: Sequence[Host], phase: HostPhase, *, fresh: bool) -> None:
        self._out_of_service(batch)
        try:
            self.run.host_phase(phase, pending)
            self._restarts(batch)
            for host in batch:
                self._do(host, "health", f"see that node {host.name} is well", lambda h: self.health(h, fresh))
        except StrongroomError as error:
            if not self.run.hands:
                raise
            raise StrongroomError(self._failed(batch, error, roll_back=fresh), hint=error.hint) from error
        try:
            self.run.host_phase(SettlePhase(batch), pending)
            for host in batch:
                self._settles(host)
                self._release(host)
        except StrongroomError as error:
            said = f"{_names(batch)} is well, and may stay cordoned until this is run again"
            raise StrongroomError(f"{_line(error)}; {said}{self._before()}", hint=error.hint) from error

    def _out_of_service(self, batch: Sequence[Host]) -> None:
        try:
            for host in batch:
                self._do(host, "cordon", f"cordon node {host.name}", self._cordon)
            # Once more: other hosts' turns took their time, and none comes from here on.
            if lost := self._lone_pods(batch):
                raise StrongroomError("; ".join(lost), hint="end it yourself, or give --force")
            for host in batch:
                pods = ", ".join(map(str, drain.pods_on(self.cluster, host.name))) or "no pod to move"
                self.run.record(NAME, host.name, [Step("drain", f"drain node {host.name} ({pods})", "")])
            if self.run.hands and self.drain is not None:
                self.run.progress.say(f"draining {_names(batch)}")
                self.drain([host.name for host in batch])
        except StrongroomError as error:
            said = "; ".join(self._given_back(host) for host in batch)
            raise StrongroomError(
                f"{_line(error)}; nothing was switched; {said}{self._before()}", hint=error.hint
            ) from error

    def _given_back(self, host: Host) -> str:
        try:
            self._release(host)
        except StrongroomError as error:
            return f"{host.name} stays cordoned ({_line(error)})"
        return f"{host.name} is in service again"

    def _failed(self, batch: Sequence[Host], error: StrongroomError, *, roll_back: bool) -> str:
        """The one line of a batch that is not well; with ``roll_back`` after bringing back what it had."""
        if not roll_back:
            return f"{_line(error)}; {_names(batch)} stays cordoned{self._before()}"
        said = []
        for host in batch:
            try:
                self.run.host_phase(BackPhase([host]), pending)
                self.run.host_phase(SettlePhase([host]), pending)
                self.health(host, False)
                self._release(host)
                said.append(f"{host.name} was rolled back")
            except StrongroomError as second:
                said.append(f"{host.name} could not be rolled back and stays cordoned ({_line(second)})")
        return f"{_line(error)}; {'; '.join(said)}{self._before()}"

    def _before(self) -> str:
        return f"; done before: {_names(self.done)}" if self.done else ""

    # Single things

    def _do(self, host: Host, resource: str, sentence: str, function: Callable[[Host], object]) -> None:
        self.run.record(NAME, host.name, [Step(resource, sentence, "")])
        if self.run.hands:
            self.run.progress.say(f"{host.name}: {sentence}")
            function(host)

    def _cordon(self, host: Host) -> None:
        if drain.cordon(self.cluster, host.name):
            self.run.progress.say(f"{host.name}: somebody else has cordoned it as well, and it will stay so")

    def _release(self, host: Host) -> None:
        def give_back(host: Host) -> None:
            if drain.release(self.cluster, host.name):
                self.run.progress.say(f"{host.name}: stays cordoned, by somebody else")

        self._do(host, "cordon", f"uncordon node {host.name}", give_back)

    def _release_left(self, hosts: Sequence[Host], handled: Sequence[Host]) -> None:
        """Cordons that a run has left which was cut off just before it gave them back."""
        for host in hosts:
            if host not in handled and drain.is_ours(self.cluster.get("v1", "Node", host.name) or {}):
                self._release(host)

    def _settles(self, host: Host) -> None:
        """Without hands there is no note yet whose end would be seen."""
        if not self.run.hands:
            self.run.record(NAME, host.name, Settled().steps(Observed(("switching=yes",))))

    def _restarts(self, batch: Sequence[Host]) -> None:
        """Without hands nothing has changed that a restart would be read from; with them it was done."""
        if self.run.hands:
            return
        for host in batch:
            changed = {one.step.resource for one in self.run.changes if (one.phase, one.host) == (NAME, host.name)}
            changed |= self.going_back.get(host.name, set())
            for unit in _units(RuntimePhase(switching=True).resources(self.run.context, host)):
                because = [path for path in unit.restart_on if changed & {f"link {path}", f"file {path}"}]
                if because and unit.key not in changed:
                    step = Step(unit.key, f"restart {unit.name} ({because[0]} changes)", "", because=because[0])
                    self.run.record(NAME, host.name, [step])

    def _host_phase(self, phase: StagePhase) -> None:
        with self.run.progress.step(phase.title):
            self.run.host_phase(phase, pending)


def _units(resources: Sequence[Resource]) -> list[Unit]:
    return [one for one in resources if isinstance(one, Unit)]


def _names(hosts: Sequence[Host]) -> str:
    return ", ".join(host.name for host in hosts)


def _line(error: StrongroomError) -> str:
    return "; ".join(str(error).splitlines())
