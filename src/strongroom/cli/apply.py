"""``strongroom apply``: make it so."""

from __future__ import annotations

from rich.console import Console

from strongroom.cli.common import BundleFolder, InventoryFile, Only, Skip, print_changes, running
from strongroom.cli.output import Output, OutputForm
from strongroom.phases.base import Context, Phase
from strongroom.phases.modes import phases_of
from strongroom.phases.pod_network import PodNetworkPhase, refuse_missing_images
from strongroom.phases.verify import VerifyPhase
from strongroom.report.progress import progress
from strongroom.report.verification import show


def apply(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    phase: Only = None,
    skip_phase: Skip = None,
    output: OutputForm = Output.TEXT,
) -> None:
    """Bring every host and the cluster to what INVENTORY says, then verify. Safe to repeat, also after a crash."""
    chosen: list[Phase] = []

    def choose(context: Context) -> None:
        chosen.extend(phases_of(context.inventory, phase or (), skip_phase or ()))
        if any(isinstance(one, PodNetworkPhase) for one in chosen):
            refuse_missing_images(context)

    with running(inventory, bundle, hands=True, before=choose) as run:
        changes = run.phases(chosen)
        executions = {name: remote.executions for name, remote in run.session.remotes.items()}
    progress.where_time_went()
    for one in chosen:
        if isinstance(one, VerifyPhase) and one.verdict and output is Output.TEXT:
            show(Console(), one.proofs, one.verdict)
    print_changes(changes, output, done=True, executions=executions)
