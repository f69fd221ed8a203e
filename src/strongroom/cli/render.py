"""``strongroom render``: what would be laid on a host, or put to the API server, without either of them."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, read
from strongroom.errors import ConfigError
from strongroom.phases.base import Context, HostPhase
from strongroom.phases.modes import phases_of
from strongroom.phases.pod_network import pod_network
from strongroom.plan.containerd import CONFIG
from strongroom.plan.files import Block
from strongroom.plan.kata import Copy
from strongroom.plan.kernel_options import KernelOptions
from strongroom.plan.registration import Registration
from strongroom.plan.rendered import files


def render(
    inventory: InventoryFile,
    host: Annotated[str | None, typer.Argument(metavar="[HOST]", help="A host of the inventory.")] = None,
    bundle: BundleFolder = None,
    objects: Annotated[
        bool,
        typer.Option("--pod-network", help="The Kubernetes objects of the pod network, in place of a host's files."),
    ] = False,
) -> None:
    """Print every file that strongroom manages on HOST, as it would be written. Connects to nothing."""
    _, ours, context = read(inventory, bundle)
    names = [one.name for one in ours.hosts]
    if objects:
        _print_pod_network(context)
        return
    if host is None:
        raise ConfigError(f"HOST: missing, allowed are {', '.join(names)}; or give --pod-network")
    if host not in names:
        raise ConfigError(f"HOST: found {host!r}, allowed are {', '.join(names)}")
    for phase in phases_of(ours):
        if not isinstance(phase, HostPhase):
            continue
        for resource in phase.resources(context, ours.host(host)):
            for file in files(resource):
                print(f"### {file.path} ({file.mode} {file.owner})\n{file.content.decode()}")
            if isinstance(resource, KernelOptions):
                print(f"### kernel options, through the host's boot loader\n{resource.preview()}")
            elif isinstance(resource, Registration):
                print(f"### merged into {CONFIG}, or a drop-in from containerd 2.0 on\n{resource.preview()}")
            elif isinstance(resource, Copy):
                print(f"### {resource.path}: a copy of {resource.source}\n")
            elif isinstance(resource, Block):
                print(f"### block in {resource.path}\n{resource.text}")


def _print_pod_network(context: Context) -> None:
    network = pod_network(context)
    if network is None:
        cni = context.inventory.cluster.kubernetes.cni
        raise ConfigError(
            f"cluster: kubernetes.cni: {cni} has no Kubernetes objects, only files: render INVENTORY HOST"
        )
    print(network.text, end="")
