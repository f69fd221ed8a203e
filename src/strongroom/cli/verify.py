"""``strongroom verify``: is the cluster what the inventory claims?"""

from __future__ import annotations

from rich.console import Console

from strongroom.cli.common import BundleFolder, InventoryFile, running
from strongroom.phases.verify import VerifyPhase
from strongroom.report.verification import show


def verify(inventory: InventoryFile, bundle: BundleFolder = None) -> None:
    """Run a pod under every handler on every node, and give the verdict. Ends with 0 only when it equals the claim."""
    phase = VerifyPhase()
    try:
        with running(inventory, bundle, hands=True) as run:
            run.phases([phase])
    finally:
        if phase.verdict:
            show(Console(), phase.proofs, phase.verdict)
