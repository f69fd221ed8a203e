"""Taking a cluster down: the phases of a mode backwards, as far as there is something of theirs to undo."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.errors import ConfigError, PreflightRefused
from strongroom.model.cluster import Host, Inventory, Mode
from strongroom.model.explain import nearest
from strongroom.phases.base import Context, HostPhase, Phase, Undoable
from strongroom.phases.modes import phases
from strongroom.phases.own import OwnPhase
from strongroom.phases.runtime import RuntimePhase

if TYPE_CHECKING:
    from strongroom.engine.remote import Remote
    from strongroom.engine.session import Session


def undo_phases(mode: Mode, only: Sequence[str] = (), force: bool = False, *, existing: bool = False) -> list[Phase]:
    """The phases to undo, in the order of undoing; with all of them, strongroom's own folders go last.

    Raises:
        ConfigError: ``only`` names a phase that has nothing to undo.
    """
    everything = [
        phase for phase in reversed(phases(mode, existing=existing)) if isinstance(phase, HostPhase | Undoable)
    ]
    names = [phase.name for phase in everything]
    for name in only:
        if name not in names:
            raise ConfigError(f"phase: found {name!r}, allowed are {', '.join(names)}{nearest(name, names)}")
    chosen = [phase for phase in everything if not only or phase.name in only]
    for phase in chosen:
        if isinstance(phase, RuntimePhase):
            phase.force = force
    last: list[Phase] = [OwnPhase()] if len(chosen) == len(everything) else []
    return [*chosen, *last]


def undo_phases_of(inventory: Inventory, only: Sequence[str] = (), force: bool = False) -> list[Phase]:
    """The phases to undo of an inventory's cluster, its own or somebody else's.

    Raises:
        ConfigError: as :func:`undo_phases`.
    """
    cluster = inventory.cluster
    return undo_phases(cluster.mode, only, force, existing=not cluster.kubernetes.of.installed_by_us)


def refuse_while_pods_run(chosen: Sequence[Phase], context: Context, session: Session) -> None:
    """Look at every host before any is changed, where the runtime goes and the cluster on it stays.

    Raises:
        PreflightRefused: pods run that would lose their runtime; a line for each host.
    """
    runtime = next((phase for phase in chosen if isinstance(phase, RuntimePhase)), None)
    if runtime is None or runtime.force or any(phase.name == "kubernetes" for phase in chosen):
        return
    guard = runtime.no_pods(context)

    def look(host: Host, remote: Remote) -> str | None:
        why = guard.why_not(remote.observe([guard])[guard.key])
        return f"{host.name}: {why}" if why else None

    refusing = list(filter(None, session.each(context.inventory.hosts, look)))
    if refusing:
        raise PreflightRefused("\n".join(refusing), hint="nothing was changed")
