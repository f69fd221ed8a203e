"""The option that gives a verb that downloads the network settings of an inventory."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from strongroom.model.network import Network

NetworkOf = Annotated[
    Path | None,
    typer.Option(
        "--network-of", metavar="INVENTORY", help="Use the proxy, mirrors and CA of this inventory's cluster.network."
    ),
]


def network_of(inventory: Path | None) -> Network:
    """The settings of an inventory, or none; errors as :func:`strongroom.engine.inventory.load`."""
    if inventory is None:
        return Network()
    # Here, because it brings pyinfra and with it patched sockets: most runs need neither.
    from strongroom.engine import inventory as inventories

    return inventories.load(inventory)[1].cluster.network
