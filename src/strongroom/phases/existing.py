"""Kata alone, on the nodes of a cluster that somebody else runs: its files, its handlers, and a restart where they are new."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.checks.needs import Needs
from strongroom.model.bundle import BundleManifest
from strongroom.model.cluster import Host, Inventory
from strongroom.model.shims import Shim
from strongroom.phases import kata, readiness, snapshots
from strongroom.phases.base import Context
from strongroom.plan import registration, service
from strongroom.plan.artifacts import PREFIX
from strongroom.plan.containerd import CONFIG, DROP_IN
from strongroom.plan.handlers import Handlers
from strongroom.plan.leftovers import Leftovers
from strongroom.plan.place import Place
from strongroom.plan.pods import NoPods
from strongroom.plan.resource import Resource
from strongroom.plan.service import Service
from strongroom.plan.snapshots import needing
from strongroom.plan.their_containerd import CRIO, CRIO_READY, CRIO_UNIT, CrioHandlers, TheirRegistration, crio
from strongroom.plan.through import ImageThrough, NoPodsThrough
from strongroom.plan.traces import Traces

_SHIMS = f"{PREFIX}/kata"


def is_theirs(inventory: Inventory) -> bool:
    """Whether somebody else runs the cluster."""
    return not inventory.cluster.kubernetes.of.installed_by_us


def waves(inventory: Inventory) -> Sequence[Sequence[Host]]:
    """Hosts that carry the runtime: those of the control plane one at a time, then the others together. Where there are
    workers, the control plane is left alone, and so is what restarts it."""
    hosts = inventory.runtime_hosts
    planes = [[host] for host in hosts if "control_plane" in host.roles]
    others = [host for host in hosts if "control_plane" not in host.roles]
    return [*planes, *([others] if others else [])]


def needs(manifest: BundleManifest | None) -> Needs:
    """What Kata takes of a node that runs already; ports and memory of Kubernetes are its owner's matter."""
    if manifest is None:
        return Needs(arch=None, memory=0, free={}, ports={})
    size = sum(artifact.size for artifact in manifest.artifacts if artifact.component in kata.ARCHIVES) >> 20
    # Archives hold a third of what comes out of them, and lie beside it until they are unpacked.
    return Needs(arch=manifest.arch, memory=0, free={"/opt": 3 * size, "/var/lib": 200 + size}, ports={})


def resources(context: Context, host: Host, force: bool) -> Sequence[Resource]:
    """In the order they are carried out; a host that runs no pods of ours gets nothing."""
    if host not in context.inventory.runtime_hosts:
        return []
    shims = context.shims_of(host)
    handlers, folders = _registered(context, host)
    pod = (
        [one for one in context.bundle.manifest.images() if one.component == "verify-pod"] if _has_ctr(context) else []
    )
    ctr = context.inventory.cluster.kubernetes.of.ctr
    return [
        *readiness.guards(shims),
        Place(PREFIX, context.bundle.manifest.arch),
        Traces("runtime", folders=folders),
        leftovers(shims),
        *kata.resources(context, shims),
        *handlers,
        *(ImageThrough(image, context.bundle.path(image), ctr=ctr) for image in pod),
        no_pods(context, force),
    ]


def leftovers(shims: Sequence[Shim]) -> Leftovers:
    """That other installers are not in the way of these shims."""
    return Leftovers(tuple(shim.handler for shim in shims))


def _has_ctr(context: Context) -> bool:
    return context.inventory.cluster.runtime.engine == "containerd"


def no_pods(context: Context, force: bool) -> NoPods:
    """That nothing runs on our shims."""
    return NoPodsThrough(_SHIMS, force, ctr=context.inventory.cluster.kubernetes.of.ctr)


def _registered(context: Context, host: Host) -> tuple[list[Resource], tuple[str, ...]]:
    """What registers the handlers and makes them known, and the folders that may come with it."""
    cluster, shims = context.inventory.cluster, context.shims_of(host)
    theirs = cluster.kubernetes.of
    if cluster.runtime.engine == "crio":
        made_for_it = needing(shims) if snapshots.per_shim(context.inventory) else ()
        inside = [
            shim.name for shim in shims if shim in made_for_it or kata.settings_of(context, shim).image_pull == "guest"
        ]
        file = CrioHandlers(CRIO, crio(shims, inside))
        return [file, Service(CRIO_UNIT, (CRIO,), CRIO_READY)], ("/etc/crio/crio.conf.d",)
    per_shim = snapshots.per_shim(context.inventory)
    if not theirs.drop_ins:
        nydus = snapshots.resources(context, shims, ("containerd.service",))
        one = TheirRegistration("", shims, per_shim=per_shim)
        unit = Service(("containerd.service",), (CONFIG, DROP_IN), registration.READY)
        return [*nydus, one, unit, *snapshots.unneeded(context, shims)], ("/etc/containerd/conf.d",)
    nydus = snapshots.resources(context, shims, theirs.services)
    handlers = Handlers(theirs, shims, per_shim)
    unit = Service(theirs.services, handlers.files, service.answers(theirs.ctr), theirs.containerd)
    return [*nydus, handlers, unit, *snapshots.unneeded(context, shims)], tuple(dict.fromkeys(theirs.drop_ins.values()))
