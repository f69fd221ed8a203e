"""The last that goes when all is taken away: strongroom's own folders."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.model.cluster import Host, Inventory
from strongroom.phases.base import Context
from strongroom.plan.home import Home
from strongroom.plan.resource import Resource


class OwnPhase:
    """Only ever undone, after everything else was."""

    name = "own"
    title = "Strongroom's own"

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        return [inventory.hosts]

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        return [Home()]
