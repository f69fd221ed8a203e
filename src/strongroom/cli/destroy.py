"""``strongroom destroy``: hosts as they were before."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, print_changes, read, session_of
from strongroom.cli.output import Output, OutputForm
from strongroom.engine.runner import Run
from strongroom.errors import ConfigError, StrongroomError
from strongroom.phases.destroy import refuse_while_pods_run, undo_phases_of
from strongroom.report.progress import progress

Chosen = Annotated[
    list[str] | None,
    typer.Option("--phase", metavar="NAME", help="Only what this phase brought (repeatable); all phases unless told."),
]
Force = Annotated[bool, typer.Option("--force", help="End pods that still run, where they would stop a phase.")]


def destroy(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    phase: Chosen = None,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    force: Force = False,
    output: OutputForm = Output.TEXT,
) -> None:
    """Take the cluster down and give every host back as it was: all that strongroom brought goes, in reverse order."""
    pyinfra_inventory, ours, context = read(inventory, bundle)
    chosen = undo_phases_of(ours, phase or (), force)
    if not yes:
        _confirm(ours.cluster.name, [host.name for host in ours.hosts], [one.name for one in chosen])
    with session_of(pyinfra_inventory, ours, hands=True) as session:
        refuse_while_pods_run(chosen, context, session)
        changes = Run(context, session, progress, hands=True).undo(chosen)
        executions = {name: remote.executions for name, remote in session.remotes.items()}
    progress.where_time_went()
    print_changes(changes, output, done=True, executions=executions)


def _confirm(name: str, hosts: list[str], phases: list[str]) -> None:
    if not sys.stdin.isatty():
        raise ConfigError("destroy: no terminal to ask on", hint="give --yes if you mean it")
    print(
        f"This undoes {', '.join(phases)} on {', '.join(hosts)}. Type the cluster's name to go on: ",
        end="",
        file=sys.stderr,
    )
    sys.stderr.flush()
    if (typed := sys.stdin.readline().strip()) != name:
        raise StrongroomError(f"destroy: found {typed!r}, wanted {name!r}; nothing was changed")
