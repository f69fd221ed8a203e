"""The modes, as literal lists of phases."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from strongroom.errors import ConfigError
from strongroom.model.cluster import Inventory, Mode
from strongroom.model.explain import nearest
from strongroom.phases import base
from strongroom.phases.base import Phase
from strongroom.phases.host import HostPhase
from strongroom.phases.kubeconfig import KubeconfigPhase
from strongroom.phases.kubernetes import KubernetesPhase
from strongroom.phases.pod_network import PodNetworkPhase
from strongroom.phases.preflight import PlatformPhase, PreflightPhase
from strongroom.phases.runtime import RuntimePhase
from strongroom.phases.runtime_classes import RuntimeClassesPhase
from strongroom.phases.their_objects import TheirRuntimeClassesPhase
from strongroom.phases.verify import VerifyPhase

CONFIDENTIAL_CONTAINERS: tuple[Callable[[], Phase], ...] = (
    PreflightPhase,
    HostPhase,
    PlatformPhase,
    RuntimePhase,
    KubernetesPhase,
    KubeconfigPhase,
    PodNetworkPhase,
    RuntimeClassesPhase,
    VerifyPhase,
)

# From the runtime phase on (DESIGN section 1): hosts, Kubernetes and its admin's credential are their owner's.
ON_EXISTING_CLUSTERS: tuple[Callable[[], Phase], ...] = (
    PreflightPhase,
    RuntimePhase,
    TheirRuntimeClassesPhase,
    VerifyPhase,
)

MODES = {Mode.CONTAINERS: CONFIDENTIAL_CONTAINERS}


def phases(mode: Mode, only: Sequence[str] = (), skip: Sequence[str] = (), *, existing: bool = False) -> list[Phase]:
    """The phases of a mode, in order; preflight always comes first, for nothing changes before every host was read.

    ``existing`` says that somebody else runs the cluster.

    Raises:
        ConfigError: the mode is not built yet, or ``only`` or ``skip`` name a phase that it has not.
    """
    if mode not in MODES:
        raise ConfigError(
            f"cluster: mode: found {mode.value!r}, allowed in this version is {', '.join(m.value for m in MODES)}"
        )
    all_phases = [make() for make in (ON_EXISTING_CLUSTERS if existing else MODES[mode])]
    names = [phase.name for phase in all_phases]
    for name in (*only, *skip):
        if name not in names:
            left_out = " on a cluster that somebody else runs" if existing else ""
            raise ConfigError(f"phase: found {name!r}, allowed{left_out} are {', '.join(names)}{nearest(name, names)}")
    chosen = [phase for phase in all_phases if (not only or phase.name in only) and phase.name not in skip]
    if only and "preflight" not in only and "preflight" not in skip:
        chosen.insert(0, all_phases[0])
    both = {"host", "platform"} <= {phase.name for phase in chosen}
    for phase in chosen:
        if isinstance(phase, PreflightPhase):
            # A host that only has to be set up is let through to be set up, and to nothing else.
            phase.set_up = both or {"host"} == {one.name for one in chosen} - {"preflight"}
            phase.ahead = tuple(one for one in chosen if isinstance(one, base.HostPhase))
    return chosen


def phases_of(inventory: Inventory, only: Sequence[str] = (), skip: Sequence[str] = ()) -> list[Phase]:
    """The phases of an inventory's mode, on its own cluster or on somebody else's.

    Raises:
        ConfigError: as :func:`phases`.
    """
    cluster = inventory.cluster
    return phases(cluster.mode, only, skip, existing=not cluster.kubernetes.of.installed_by_us)
