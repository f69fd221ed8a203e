"""``strongroom preflight``: read the hosts and judge them."""

from __future__ import annotations

from rich.console import Console

from strongroom.cli.common import BundleFolder, InventoryFile, running
from strongroom.phases.preflight import PreflightPhase


def preflight(inventory: InventoryFile, bundle: BundleFolder = None) -> None:
    """Read every host once and say what stands in the way; nothing is changed. Ends with 4 when something does."""
    with running(inventory, bundle, hands=False) as run:
        run.phases([PreflightPhase(Console())])
