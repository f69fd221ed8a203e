"""``strongroom plan``: apply without hands."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, Only, Output, OutputForm, Skip, print_changes, running
from strongroom.errors import Exit
from strongroom.phases.modes import phases


def plan(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    phase: Only = None,
    skip_phase: Skip = None,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when changes are pending.")] = False,
    output: OutputForm = Output.TEXT,
) -> int:
    """List what apply would do, host by host; nothing is changed."""
    with running(inventory, bundle, hands=False) as run:
        changes = run.phases(phases(run.context.inventory.cluster.mode, phase or (), skip_phase or ()))
        executions = {name: remote.executions for name, remote in run.session.remotes.items()}
    print_changes(changes, output, done=False, executions=executions)
    return Exit.PENDING if changes and exit_code else Exit.OK
