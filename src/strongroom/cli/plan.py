"""``strongroom plan``: apply without hands."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, Only, Skip, print_changes, running
from strongroom.cli.output import Output, OutputForm
from strongroom.cli.upgrade import Batch, Rollback, prepare
from strongroom.engine.upgrade import Options
from strongroom.errors import ConfigError, Exit
from strongroom.phases.base import Context, Phase
from strongroom.phases.destroy import refuse_while_pods_run, undo_phases_of
from strongroom.phases.modes import phases_of


def plan(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    phase: Only = None,
    skip_phase: Skip = None,
    destroy: Annotated[bool, typer.Option("--destroy", help="List what destroy would do instead.")] = False,
    upgrade: Annotated[bool, typer.Option("--upgrade", help="List what upgrade would do instead.")] = False,
    rollback: Rollback = False,
    batch: Batch = 1,
    force: Annotated[bool, typer.Option("--force", help="As --force of destroy or upgrade, whose plan it is.")] = False,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="End with 3 when changes are pending.")] = False,
    output: OutputForm = Output.TEXT,
) -> int:
    """List what apply (or destroy, or upgrade) would do, host by host; nothing is changed."""
    if destroy and skip_phase:
        raise ConfigError("plan: --skip-phase goes with apply's plan only; found with --destroy", hint="use --phase")
    if upgrade and (destroy or phase or skip_phase):
        raise ConfigError("plan: --upgrade goes with none of --destroy, --phase and --skip-phase")
    if not upgrade and (rollback or batch != 1):
        raise ConfigError("plan: --rollback and --batch go with --upgrade only")
    if force and not (upgrade or destroy):
        raise ConfigError("plan: --force goes with --upgrade and --destroy only")
    chosen: list[Phase] = []

    def choose(context: Context) -> None:
        ours = context.inventory
        if destroy:
            chosen.extend(undo_phases_of(ours, phase or (), force))
        elif not upgrade:
            chosen.extend(phases_of(ours, phase or (), skip_phase or ()))

    with running(inventory, bundle, hands=False, before=choose) as run:
        if upgrade:
            work = prepare(run, Options(batch, force=force))
            work.back() if rollback else work.forward()
            changes = run.changes
        elif destroy:
            refuse_while_pods_run(chosen, run.context, run.session)
            changes = run.undo(chosen)
        else:
            changes = run.phases(chosen)
        executions = {name: remote.executions for name, remote in run.session.remotes.items()}
    print_changes(changes, output, done=False, executions=executions)
    return Exit.PENDING if changes and exit_code else Exit.OK
