"""What the verbs share: their options, and the way from an inventory file to a connected run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer

from strongroom.cli.output import Output
from strongroom.engine import inventory as inventories
from strongroom.engine.runner import Change, Run
from strongroom.engine.session import Session, connect
from strongroom.model.cluster import Inventory
from strongroom.phases.base import Context
from strongroom.phases.context import make_context
from strongroom.report.progress import progress

InventoryFile = Annotated[
    Path, typer.Argument(metavar="INVENTORY", help="A pyinfra inventory, or an Ansible one in YAML.")
]
BundleFolder = Annotated[
    Path | None, typer.Option("--bundle", metavar="DIR", help="Artifacts to install from; overrides the inventory.")
]
Only = Annotated[
    list[str] | None,
    typer.Option("--phase", metavar="NAME", help="Only this phase (repeatable); preflight comes first."),
]
Skip = Annotated[list[str] | None, typer.Option("--skip-phase", metavar="NAME", help="Not this phase (repeatable).")]


def read(inventory: Path, bundle: Path | None) -> tuple[Any, Inventory, Context]:
    """Inventory and bundle, validated: all that can be refused before anything connects."""
    pyinfra_inventory, ours = inventories.load(inventory)
    with progress.step("Check the bundle"):
        context = make_context(ours, bundle)
    return pyinfra_inventory, ours, context


def session_of(pyinfra_inventory: Any, ours: Inventory, *, hands: bool) -> AbstractContextManager[Session]:
    """Connections to all hosts; a run with hands holds the operator lock."""
    return connect(pyinfra_inventory, ours, lock=hands)


@contextmanager
def running(
    inventory: Path, bundle: Path | None, *, hands: bool, before: Callable[[Context], None] = lambda _: None
) -> Iterator[Run]:
    """A run over a connected inventory; ``before`` may still refuse it, before anything connects."""
    pyinfra_inventory, ours, context = read(inventory, bundle)
    before(context)
    with session_of(pyinfra_inventory, ours, hands=hands) as session:
        yield Run(context, session, progress, hands)


def print_changes(
    changes: Sequence[Change], form: Output, *, done: bool, executions: dict[str, int] | None = None
) -> None:
    """The result of plan and apply: a line a step, then a count; or JSON."""
    if form is Output.JSON:
        steps = [
            {
                "phase": change.phase,
                "host": change.host,
                "resource": change.step.resource,
                "sentence": change.step.sentence,
                "because": change.step.because,
            }
            for change in changes
        ]
        print(
            json.dumps(
                {"schema": "strongroom.dev/changes/v1", "done": done, "changes": steps, "executions": executions}
            )
        )
        return
    if not done:
        for change in changes:
            print(f"{change.phase}: {change.host}: {change.step.sentence}")
    print(f"{len(changes)} changes" + ("" if done else " pending"))
