"""What verify found, for people."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from strongroom.model.verdict import Verdict

if TYPE_CHECKING:
    from strongroom.phases.verify import Proof


def show(console: Console, proofs: Sequence[Proof], verdict: Verdict) -> None:
    """One row a pod, then the verdict on a line of its own."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("NODE", "RUNTIME CLASS", "POD", "SHIM"):
        table.add_column(heading, overflow="fold")
    for proof in proofs:
        shim = f"{proof.shim_path} ({'stand-in' if proof.stand_in else 'pinned'})"
        table.add_row(proof.node, proof.handler, proof.pod, shim)
    console.print(table)
    console.print(f"Verdict: {verdict}", markup=False, style="bold")
