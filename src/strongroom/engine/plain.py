"""Controller phases inside a plain pyinfra run."""

from __future__ import annotations

import sys
from typing import Any

from strongroom.engine.remote import Remote
from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.phases.base import Context, ControllerPhase
from strongroom.phases.verify import VerifyPhase
from strongroom.report.progress import progress


def run_on_controller(phase: ControllerPhase, context: Context, state_: Any) -> None:
    """Run a phase that works from the controller, over pyinfra's own connections.

    Raises:
        StrongroomError: as the phase; pyinfra then fails the host that it runs for.
    """
    state = getattr(state_, "_module", None) or state_
    hosts = {host.name: host for host in state.inventory}
    remotes = {one.name: Remote(state, hosts[one.name]) for one in context.inventory.hosts}
    try:
        phase.run(context, Session(context.inventory, state, remotes), progress, True)
    except StrongroomError as error:
        print(f"strongroom: {error}", file=sys.stderr)
        raise
    if isinstance(phase, VerifyPhase) and phase.verdict:
        print(f"Verdict: {phase.verdict}")
