"""Runs a mode's phases: observes, plans, and with hands also carries out."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import groupby

from strongroom.engine.remote import Remote
from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.model.cluster import Host
from strongroom.phases.base import Context, ControllerPhase, HostPhase, Phase, Undoable
from strongroom.plan.resource import Resource, Step
from strongroom.report.progress import Progress


@dataclass(frozen=True)
class Change:
    """One step of the plan, with where it belongs."""

    phase: str
    host: str
    step: Step


@dataclass
class Run:
    """One pass over phases: ``hands`` says whether changes are carried out or only listed."""

    context: Context
    session: Session
    progress: Progress
    hands: bool
    changes: list[Change] = field(default_factory=list)

    def phases(self, phases: Sequence[Phase]) -> list[Change]:
        """Run phases in order and return every change made (or, without hands, pending)."""
        for phase in phases:
            with self.progress.step(phase.title):
                before = len(self.changes)
                if isinstance(phase, ControllerPhase):
                    self.record(phase.name, "cluster", phase.run(self.context, self.session, self.progress, self.hands))
                else:
                    self.host_phase(phase, pending)
                if len(self.changes) == before:
                    self.progress.say("nothing to do")
        return self.changes

    def undo(self, phases: Sequence[Phase]) -> list[Change]:
        """Undo phases in the given order, and return every change made (or, without hands, pending)."""
        for phase in phases:
            with self.progress.step(f"Undo: {phase.title}"):
                before = len(self.changes)
                if isinstance(phase, Undoable):
                    undone = phase.undo(self.context, self.session, self.progress, self.hands)
                    self.record(phase.name, "cluster", undone)
                elif isinstance(phase, HostPhase):
                    self.host_phase(phase, leftover)
                if len(self.changes) == before:
                    self.progress.say("nothing to do")
        return self.changes

    def host_phase(self, phase: HostPhase, plan: Plan) -> None:
        """One phase of hosts, wave after wave, by a way to plan it (:func:`pending` or :func:`leftover`)."""
        waves = phase.waves(self.context.inventory)
        for wave in reversed(waves) if plan is leftover else waves:
            done = self.session.each(wave, lambda host, remote: self._converge(phase, host, remote, plan))
            for host, steps in zip(wave, done, strict=True):
                self.record(phase.name, host.name, steps)

    def record(self, phase: str, host: str, steps: Sequence[Step]) -> None:
        """Add what was done, or is to do, to the changes."""
        self.changes += [Change(phase, host, step) for step in steps]

    def _converge(self, phase: HostPhase, host: Host, remote: Remote, plan: Plan) -> list[Step]:
        resources = phase.resources(self.context, host)
        steps = plan(resources, remote)
        for note in remote.notes:
            self.progress.say(f"{host.name}: {note}")
        if self.hands:
            # A change can bring forth another (a new configuration a restart), seen only when read again; what is
            # still pending after that would be pending for ever.
            rounds = 0
            todo = steps
            while todo:
                self._perform(todo, remote)
                todo = plan(resources, remote)
                rounds += 1
                if rounds == _ROUNDS and todo:
                    raise StrongroomError(
                        f"{host.name}: {phase.name}: {todo[0].sentence}: still pending after it was done {rounds} times",
                        hint="something else on the host changes it back",
                    )
                steps += [step for step in todo if step not in steps]
        return steps

    def _perform(self, steps: Sequence[Step], remote: Remote) -> None:
        for alone, batch in groupby(
            steps, key=lambda step: bool(step.uploads or step.journal or step.leader_input or step.reboot)
        ):
            group = list(batch)
            for together in [[step] for step in group] if alone else [group]:
                for step in together:
                    self.progress.say(f"{remote.name}: {step.sentence}")
                if together[0].reboot:
                    self.session.reboots.perform(remote, together[0])
                else:
                    remote.perform(together, self._given(together[0]))

    def _given(self, step: Step) -> str | None:
        if step.leader_input is None:
            return None
        lines = self.session.leader.run(step.leader_input, doing="asking for a join credential")
        return " ".join(lines).strip()


_ROUNDS = 3
Plan = Callable[[Sequence[Resource], Remote], list[Step]]


def pending(resources: Sequence[Resource], remote: Remote) -> list[Step]:
    """What is to do on a host: one execution, then pure planning."""
    seen = remote.observe(resources)
    with naming(remote.name):
        remote.notes = [note for resource in resources for note in resource.notes(seen[resource.key])]
        return [step for resource in resources for step in resource.steps(seen[resource.key])]


def leftover(resources: Sequence[Resource], remote: Remote) -> list[Step]:
    """What is to undo on a host, the last resource first."""
    seen = remote.observe(resources)
    remote.notes = []
    with naming(remote.name):
        return [step for resource in reversed(resources) for step in resource.undo(seen[resource.key])]


@contextmanager
def naming(host: str) -> Iterator[None]:
    """Puts the host in front of what a plan refuses: a resource doesn't know where it is."""
    try:
        yield
    except StrongroomError as error:
        raise StrongroomError(f"{host}: {error}", hint=error.hint) from error
