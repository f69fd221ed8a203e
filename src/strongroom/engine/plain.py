"""Controller phases inside a plain pyinfra run."""

from __future__ import annotations

import sys

from pyinfra.context import ctx_state

from strongroom.engine.remote import Remote
from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.phases.base import Context, ControllerPhase
from strongroom.phases.verify import VerifyPhase
from strongroom.report.progress import progress


def run_on_controller(phase: ControllerPhase, context: Context) -> None:
    """Run a phase that works from the controller, over pyinfra's own connections.

    Raises:
        StrongroomError: as the phase; pyinfra then fails the host that it runs for.
    """
    # The state itself: pyinfra's own name for it is a proxy, which as its own content would ask itself for ever.
    state = ctx_state.get()
    hosts = {host.name: host for host in state.inventory}
    remotes = {one.name: Remote(state, hosts[one.name]) for one in context.inventory.hosts}
    try:
        phase.run(context, Session(context.inventory, state, remotes), progress, True)
    except StrongroomError as error:
        print(f"strongroom: {error}", file=sys.stderr)
        raise
    if isinstance(phase, VerifyPhase) and phase.verdict:
        print(f"Verdict: {phase.verdict}")
