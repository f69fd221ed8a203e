"""From an inventory to the context of its phases: the bundle is verified here, before anything connects."""

from __future__ import annotations

from pathlib import Path

from strongroom import paths, yaml_text
from strongroom.errors import ConfigError
from strongroom.fetch import bundle as bundles
from strongroom.model.cluster import Inventory
from strongroom.model.shims import Shim
from strongroom.phases import kata, network
from strongroom.phases.base import Context
from strongroom.phases.choice import choose
from strongroom.phases.pod_network import pod_network
from strongroom.phases.runtime import refuse_stand_ins


def shims() -> dict[str, Shim]:
    """The catalogue's shims by name."""
    content = yaml_text.load(paths.catalog("shims.yaml").read_text(encoding="utf-8"))
    return {name: Shim.model_validate({"name": name, **fields}) for name, fields in content.items()}


def make_context(inventory: Inventory, bundle: Path | None = None) -> Context:
    """Everything that phases may know.

    Raises:
        ConfigError: no bundle is named, a shim that there is not or that no host can have, no manifest of the pod network,
            or a stand-in where none is allowed.
        StrongroomError: the bundle is damaged; the line names the file.
    """
    chosen = choose(inventory, shims())
    network.refuse_unfit(inventory)
    folder = bundle or (paths.written(inventory.cluster.bundle) if inventory.cluster.bundle else None)
    if folder is None:
        raise ConfigError(
            "cluster: bundle: missing; it says which folder of artifacts to install from",
            hint="make one with `strongroom bundle build` and set bundle in the inventory, or give --bundle",
        )
    context = Context(inventory, bundles.verify(folder), chosen)
    kata.refuse_unfit(context)
    pod_network(context)
    for host in inventory.hosts:
        refuse_stand_ins(context, host)
    return context
