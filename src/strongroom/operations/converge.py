"""A phase as a pyinfra operation: observes when it runs, and yields only the steps that are needed."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from pyinfra.api.command import FileUploadCommand, StringCommand
from pyinfra.api.exceptions import OperationError
from pyinfra.api.operation import operation
from pyinfra.context import host, state

from strongroom.errors import StrongroomError
from strongroom.facts.observation import ScriptOutput
from strongroom.fetch.packing import ASK, packed
from strongroom.phases.base import Context, HostPhase
from strongroom.plan.resource import Step
from strongroom.plan.script import STATE, carry_out, observe, parse_observation


@operation()
def converge(phase: HostPhase, context: Context) -> Generator[Any, None, None]:
    """Bring this host to what a phase wants.

    A change can bring forth another (a new configuration a restart), so the host is read again until nothing is left;
    three rounds are plenty, and a fourth would mean that something else changes it back.
    """
    resources = phase.resources(context, context.inventory.host(host.name))
    for _ in range(4):
        lines = list(host.get_fact(ScriptOutput, _stdin=observe(resources)))
        try:
            seen = parse_observation(resources, lines)
            steps = [step for resource in resources for step in resource.steps(seen[resource.key])]
        except (ValueError, StrongroomError) as error:
            raise OperationError(f"{phase.name}: {error}") from error
        if not steps:
            host.noop(f"{phase.name}: nothing to do")
            return
        for step in steps:
            host.log(f"{phase.name}: {step.sentence}")
            if step.reboot:
                # pyinfra runs hosts side by side; that only one of a cluster is down at a time is apply's to see to.
                raise OperationError(
                    f"{phase.name}: {step.sentence}: reboot it and run this again, or use strongroom apply"
                )
            yield from _commands(step, context)
    raise OperationError(f"{phase.name}: {steps[0].sentence}: still pending after it was done three times")


def _commands(step: Step, context: Context) -> Generator[Any, None, None]:
    unpacks = False
    if step.uploads:
        yield StringCommand("mkdir", "-p", "-m", "0700", f"{STATE}/incoming")
        unpacks = "packed=zstd" in host.get_fact(ScriptOutput, _stdin=ASK)
    for upload in step.uploads:
        if unpacks and (smaller := packed(upload.source, upload.sha256)):
            yield FileUploadCommand(str(smaller), f"{upload.incoming}.zst")
        else:
            yield FileUploadCommand(str(upload.source), upload.incoming)
    given = None
    if step.leader_input is not None:
        leader = state.inventory.get_host(context.inventory.leader.name)
        given = " ".join(leader.get_fact(ScriptOutput, _stdin=step.leader_input))
    yield StringCommand("sh", "-s", _stdin=carry_out([step], given))
