"""``strongroom upgrade``: the runtime of a running cluster, host by host."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, print_changes, running
from strongroom.cli.output import Output, OutputForm
from strongroom.engine.runner import Run
from strongroom.engine.upgrade import Options, Upgrade
from strongroom.errors import ConfigError, StrongroomError
from strongroom.kube.access import api
from strongroom.phases.existing import is_theirs
from strongroom.phases.node_health import NodeHealth
from strongroom.report.progress import progress

Batch = Annotated[int, typer.Option("--batch", min=1, metavar="N", help="Workers at a time.")]
DrainTimeout = Annotated[
    int, typer.Option("--drain-timeout", min=1, metavar="MINUTES", help="How long pods of a batch may take to leave.")
]
Force = Annotated[
    bool, typer.Option("--force", help="Also end pods that belong to no controller: nothing makes them anew.")
]
Rollback = Annotated[
    bool, typer.Option("--rollback", help="Go back to the versions before the last upgrade, which hosts have kept.")
]


def prepare(run: Run, options: Options) -> Upgrade:
    """An upgrade over a connected run.

    Raises:
        ConfigError: somebody else runs the cluster.
        StrongroomError: there is no cluster.
    """
    if is_theirs(run.context.inventory):
        raise ConfigError(
            f"cluster: kubernetes.distribution: {run.context.inventory.cluster.kubernetes.distribution}: upgrade is for"
            " clusters that strongroom installs",
            hint="containerd is its owner's; apply brings the bundle's Kata",
        )
    cluster = api(run.session)
    if cluster is None:
        raise StrongroomError(
            f"{run.context.inventory.leader.name}: there is no cluster to upgrade",
            hint="strongroom apply INVENTORY makes one",
        )
    cluster.wait_ready(progress)
    return Upgrade(run, cluster, NodeHealth(run.context, run.session, cluster, progress), options)


def upgrade(
    inventory: InventoryFile,
    bundle: BundleFolder = None,
    batch: Batch = 1,
    drain_timeout: DrainTimeout = 10,
    force: Force = False,
    rollback: Rollback = False,
    output: OutputForm = Output.TEXT,
) -> None:
    """Bring containerd, runc, CNI plugins and Kata of a cluster to the bundle's versions, its pods moved away meanwhile."""
    with running(inventory, bundle, hands=True) as run:
        work = prepare(run, Options(batch, drain_timeout, force))
        work.back() if rollback else work.forward()
        executions = {name: remote.executions for name, remote in run.session.remotes.items()}
    if bundle is not None and run.changes and not rollback:
        progress.say(f"set bundle in the inventory to {bundle}: apply refuses other versions than those in use")
    progress.where_time_went()
    print_changes(run.changes, output, done=True, executions=executions)
