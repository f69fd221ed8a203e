"""What a phase is: which hosts, in which order, and which resources it wants on each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from strongroom import paths
from strongroom.fetch.bundle import Bundle
from strongroom.model.cluster import Host, Inventory
from strongroom.model.platform import Platform
from strongroom.model.shims import Shim
from strongroom.plan.resource import Resource, Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session


@dataclass(frozen=True)
class Context:
    """Everything a phase may know: the inventory, the bundle, and the catalogue's shims."""

    inventory: Inventory
    bundle: Bundle
    shims: tuple[Shim, ...]

    def shims_of(self, host: Host) -> tuple[Shim, ...]:
        """The chosen shims that a host gets: those without a TEE, and those of its own platform; none without pods."""
        if host not in self.inventory.runtime_hosts:
            return ()
        return tuple(shim for shim in self.shims if shim.host_platform in (Platform.NONE, host.platform))


@runtime_checkable
class HostPhase(Protocol):
    """A phase that changes hosts: it only says what it wants; the engine observes, plans and carries out."""

    name: str
    title: str

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        """Hosts in the order they are changed: the hosts of a wave together, wave after wave."""
        ...

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        """What this phase wants on a host, in the order it is carried out."""
        ...


@runtime_checkable
class ControllerPhase(Protocol):
    """A phase that works from the controller: through the Kubernetes API, or by looking across hosts."""

    name: str
    title: str

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        """Do the work (with ``hands``) or only say what there is to do; returns the steps."""
        ...


@runtime_checkable
class Undoable(Protocol):
    """A phase that works from the controller and has something to take back there."""

    name: str
    title: str

    def undo(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        """Take it back (with ``hands``) or only say what there is to take back; returns the steps."""
        ...


Phase = HostPhase | ControllerPhase


def template(name: str, **values: object) -> bytes:
    """Render a file of ``templates/``; an undefined name is an error, never an empty string."""
    root: Path = paths.data("templates")
    environment = Environment(
        loader=FileSystemLoader(root),
        undefined=StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
        autoescape=False,  # noqa: S701 - these are units and TOML, not HTML; values are quoted by filters
    )
    return environment.get_template(name).render(**values).encode()
