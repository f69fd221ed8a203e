"""Snapshotters where the inventory asks for them: nydus as a service of the bundle, and handlers that name it.

Where it isn't asked for, nothing here adds anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import TYPE_CHECKING

from strongroom.errors import ConfigError
from strongroom.model.cluster import Inventory
from strongroom.model.shims import Shim
from strongroom.phases.base import Context, template
from strongroom.plan import containerd, snapshots
from strongroom.plan.artifacts import PREFIX, Component
from strongroom.plan.files import File
from strongroom.plan.registration import Registration
from strongroom.plan.resource import Resource
from strongroom.plan.snapshots import SnapshotRegistration
from strongroom.plan.stale import Stale
from strongroom.plan.system import Unit

if TYPE_CHECKING:
    from strongroom.phases.containerd import Source


_UNIT_FILE = f"/etc/systemd/system/{snapshots.UNIT}"


def per_shim(inventory: Inventory) -> bool:
    """Whether handlers get the snapshotter that their shim is made for."""
    return inventory.cluster.runtime.snapshotters == "per-shim"


def refuse_unfit(context: Context) -> None:
    """What cannot come to be, before anything connects.

    Raises:
        ConfigError: a shim needs nydus and the bundle has none, or an image is to be pulled in two ways.
    """
    cluster = context.inventory.cluster
    wanted = snapshots.needing(context.shims)
    if not per_shim(context.inventory) or not wanted:
        return
    for shim in wanted:
        own = cluster.runtime.settings.get(shim.name)
        if own is not None and own.image_pull is not None:
            raise ConfigError(
                f"cluster: runtime.settings.{shim.name}.image_pull: found {own.image_pull!r}, allowed with runtime.snapshotters"
                " 'unchanged' only: its snapshotter has the image pulled in the guest"
            )
    if cluster.runtime.engine == "crio":  # has no snapshotters, and is told by a key of the handler
        return
    there = next((one for one in context.bundle.manifest.artifacts if one.component == snapshots.COMPONENT), None)
    missing = {snapshots.PROGRAM, snapshots.OVERLAY} - {entry.path for entry in there.files} if there else set()
    if there is None or missing:
        what = f"its {snapshots.COMPONENT} has no {sorted(missing)[0]}" if missing else f"has no {snapshots.COMPONENT}"
        raise ConfigError(
            f"cluster: runtime.snapshotters: found 'per-shim', and {wanted[0].name} needs nydus, of which the bundle {what}",
            hint=f"add the component to the bundle, or leave snapshotters 'unchanged' and set runtime.settings.{wanted[0].name}"
            ".image_pull to 'guest', which does without it",
        )


def resources(context: Context, shims: Sequence[Shim], services: Sequence[str]) -> list[Resource]:
    """nydus, running before the services that use it; nothing where no shim of the host needs it."""
    if not per_shim(context.inventory) or not snapshots.needing(shims):
        return []
    artifact = context.bundle.manifest.of(snapshots.COMPONENT)
    program = Component(artifact, context.bundle.path(artifact))
    values = {
        "program": f"{program.prefix}/{snapshots.PROGRAM}",
        "overlay": f"{program.prefix}/{snapshots.OVERLAY}",
        "folder": snapshots.NAME,
        "root": snapshots.ROOT,
        "socket": snapshots.SOCKET,
        "settings": snapshots.SETTINGS,
        "services": " ".join(services),
    }
    settings = File(snapshots.SETTINGS, template("containerd/nydus-snapshotter.toml.j2", **values))
    unit = File(_UNIT_FILE, template("containerd/nydus-snapshotter.service.j2", **values))
    ready = f"[ -S {snapshots.SOCKET} ]"
    return [program, settings, unit, Unit(snapshots.UNIT, restart_on=(settings.path, unit.path), ready=ready)]


def unneeded(context: Context, shims: Sequence[Shim]) -> list[Resource]:
    """That nydus goes where no shim of the host needs it any more; comes behind what still names it to containerd.

    Its data stays: containerd's records name the snapshots.
    """
    if per_shim(context.inventory) and snapshots.needing(shims):
        return []
    stop = f"systemctl disable -q --now {snapshots.UNIT} || true"
    forget = f"rm -rf {PREFIX}/{snapshots.COMPONENT}"
    places = (_UNIT_FILE, snapshots.SETTINGS)
    return [Stale("snapshotters", places, (), ((snapshots.SETTINGS, forget),), ((_UNIT_FILE, stop),))]


def registration(context: Context, one: Registration) -> Registration:
    """The registration, with the snapshotters of its shims."""
    if not per_shim(context.inventory):
        return one
    own = {field.name: getattr(one, field.name) for field in fields(one)}
    return SnapshotRegistration(**own, per_shim=True)


def added(context: Context, shims: Sequence[Shim], source: Source) -> Source:
    """A source of containerd with the snapshotters of these shims."""
    if not per_shim(context.inventory):
        return replace(source, service=[*source.service, *unneeded(context, shims)])
    service: list[Resource] = []
    for one in source.service:
        if isinstance(one, File) and one.path == containerd.DROP_IN:
            text = snapshots.tables({"version": 3}, shims, one.content.decode(), one.path)
            service.append(replace(one, content=text.encode()))
        else:
            service.append(registration(context, one) if isinstance(one, Registration) else one)
    nydus = resources(context, shims, ("containerd.service",))
    # containerd's records name the snapshots: they go together, or both stay.
    data = (*source.data, snapshots.ROOT) if nydus and source.data else source.data
    return replace(
        source, programs=[*source.programs, *nydus], service=[*service, *unneeded(context, shims)], data=data
    )
