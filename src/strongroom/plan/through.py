"""containerd of a distribution: its ``ctr`` goes by another name, or has to be told where the socket is."""

from __future__ import annotations

from dataclasses import dataclass, replace

from strongroom.plan.artifacts import Image
from strongroom.plan.pods import NoPods
from strongroom.plan.resource import Observed, Step, quote


def through(ctr: str, script: str) -> str:
    """The script with every ``ctr`` in it being this command."""
    return script if ctr == "ctr" else f'CTR={quote(ctr)}; ctr() {{ $CTR "$@"; }}\n{script}'


def _all_through(ctr: str, steps: list[Step]) -> list[Step]:
    return [replace(step, script=through(ctr, step.script)) for step in steps]


@dataclass(frozen=True)
class ImageThrough(Image):
    """An image in that containerd."""

    ctr: str = "ctr"

    def read(self) -> str:
        return through(self.ctr, super().read())

    def steps(self, seen: Observed) -> list[Step]:
        return _all_through(self.ctr, super().steps(seen))

    def undo(self, seen: Observed) -> list[Step]:
        return _all_through(self.ctr, super().undo(seen))


@dataclass(frozen=True)
class NoPodsThrough(NoPods):
    """No pods on shims of ours, in that containerd."""

    ctr: str = "ctr"

    def undo(self, seen: Observed) -> list[Step]:
        return _all_through(self.ctr, super().undo(seen))
