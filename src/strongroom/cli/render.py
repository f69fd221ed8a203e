"""``strongroom render``: what would be laid on a host, without any host."""

from __future__ import annotations

from typing import Annotated

import typer

from strongroom.cli.common import BundleFolder, InventoryFile, read
from strongroom.errors import ConfigError
from strongroom.phases.base import HostPhase
from strongroom.phases.modes import phases
from strongroom.plan.containerd import CONFIG
from strongroom.plan.files import Block, File
from strongroom.plan.registration import Registration


def render(
    inventory: InventoryFile,
    host: Annotated[str, typer.Argument(metavar="HOST", help="A host of the inventory.")],
    bundle: BundleFolder = None,
) -> None:
    """Print every file that strongroom manages on HOST, as it would be written. Connects to nothing."""
    _, ours, context = read(inventory, bundle)
    names = [one.name for one in ours.hosts]
    if host not in names:
        raise ConfigError(f"host: found {host!r}, allowed are {', '.join(names)}")
    for phase in phases(ours.cluster.mode):
        if not isinstance(phase, HostPhase):
            continue
        for resource in phase.resources(context, ours.host(host)):
            if isinstance(resource, File):
                print(f"### {resource.path} ({resource.mode} {resource.owner})\n{resource.content.decode()}")
            elif isinstance(resource, Registration):
                print(f"### merged into {CONFIG}, or a drop-in from containerd 2.0 on\n{resource.preview()}")
            elif isinstance(resource, Block):
                print(f"### block in {resource.path}\n{resource.text}")
