"""``strongroom plan``: apply without hands."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, Only, Skip, print_changes, running
from strongroom.cli.output import Output, OutputForm
from strongroom.errors import ConfigError, Exit
from strongroom.phases.destroy import undo_phases_of
from strongroom.phases.modes import phases_of


def plan(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    phase: Only = None,
    skip_phase: Skip = None,
    destroy: Annotated[bool, typer.Option("--destroy", help="List what destroy would do instead.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when changes are pending.")] = False,
    output: OutputForm = Output.TEXT,
) -> int:
    """List what apply (or destroy) would do, host by host; nothing is changed."""
    if destroy and skip_phase:
        raise ConfigError("plan: --skip-phase goes with apply's plan only; found with --destroy", hint="use --phase")
    with running(inventory, bundle, hands=False) as run:
        ours = run.context.inventory
        chosen = undo_phases_of(ours, phase or ()) if destroy else phases_of(ours, phase or (), skip_phase or ())
        changes = run.undo(chosen) if destroy else run.phases(chosen)
        executions = {name: remote.executions for name, remote in run.session.remotes.items()}
    print_changes(changes, output, done=False, executions=executions)
    return Exit.PENDING if changes and exit_code else Exit.OK
