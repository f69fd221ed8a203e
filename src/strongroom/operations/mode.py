"""A whole mode for plain pyinfra: the phases that change hosts, as deploys; the rest through late Python calls."""

from __future__ import annotations

from pyinfra import logger
from pyinfra.api.deploy import deploy
from pyinfra.context import ctx_inventory, host, inventory
from pyinfra.operations import python

from strongroom.engine.inventory import from_pyinfra
from strongroom.engine.plain import run_on_controller
from strongroom.operations.converge import converge
from strongroom.phases.base import Context, ControllerPhase, HostPhase
from strongroom.phases.context import make_context
from strongroom.phases.modes import phases_of
from strongroom.phases.pod_network import refuse_missing_images

_contexts: dict[int, Context] = {}


def _context() -> Context:
    # The deploy file runs once a host; inventory and bundle are read and verified once a run.
    key = id(ctx_inventory.get())  # type: ignore[no-untyped-call]
    if key not in _contexts:
        _contexts[key] = make_context(from_pyinfra(inventory))
        refuse_missing_images(_contexts[key])
    return _contexts[key]


@deploy("strongroom")
def run_mode(*only: str) -> None:
    """The phases of the inventory's mode, in order, on this host; preflight and those that are named, if any are."""
    context = _context()
    for phase in phases_of(context.inventory, only):
        if isinstance(phase, HostPhase):
            for number, wave in enumerate(phase.waves(context.inventory), 1):
                if any(host.name == member.name for member in wave):
                    converge(name=f"{phase.title} (wave {number})", phase=phase, context=context)
        elif isinstance(phase, ControllerPhase) and host.name == context.inventory.leader.name:
            python.call(name=phase.title, function=run_on_controller, phase=phase, context=context)
    logger.debug("strongroom: all phases are laid out on %s", host.name)
