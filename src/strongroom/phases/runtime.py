"""Runtime: containerd, runc, CNI plugins, and the Kata shims as containerd handlers."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.errors import ConfigError
from strongroom.model.cluster import Host, Inventory
from strongroom.phases import existing, kata, readiness
from strongroom.phases.base import Context
from strongroom.phases.containerd import component, links, source
from strongroom.plan.artifacts import PREFIX, Image
from strongroom.plan.containerd import CNI_BIN
from strongroom.plan.place import Place
from strongroom.plan.pods import NoPods
from strongroom.plan.resource import Resource
from strongroom.plan.traces import Traces
from strongroom.plan.versions import SameVersions, Settled, Switch, Versions


def refuse_stand_ins(context: Context, host: Host) -> None:
    """A stand-in isolates nothing: it is only let onto hosts that claim nothing.

    Raises:
        ConfigError: the host's platform, or the cluster's claim, is one that a stand-in would make a lie.
    """
    for artifact in context.bundle.manifest.artifacts:
        if not artifact.stand_in:
            continue
        if not host.platform.admits_stand_in:
            raise ConfigError(
                f"host {host.name}: platform: {host.platform}, and the bundle's {artifact.component} {artifact.version}"
                " is a stand-in, allowed on none and vtpm only",
                hint="make a bundle with the real one: strongroom bundle create",
            )
        if context.inventory.cluster.claim != "none":
            raise ConfigError(
                f"cluster: claim: {context.inventory.cluster.claim}, and the bundle's {artifact.component}"
                f" {artifact.version} is a stand-in, allowed with claim none only"
            )


def switches(context: Context, host: Host) -> tuple[Switch, ...]:
    """The links that say which version of each component of the runtime is in use on a host."""
    manifest, cluster = context.bundle.manifest, context.inventory.cluster
    found = []
    if cluster.runtime.containerd == "bundle":
        found += [("runc", "/usr/local/bin/runc"), ("containerd", "/usr/local/bin/containerd")]
    if cluster.kubernetes.cni == "ptp":
        plugins = [entry.path for entry in manifest.of("cni-plugins").files if entry.path.startswith("bin/")]
        found += [("cni-plugins", f"/opt/cni/{plugins[0]}")] if plugins else []
    if host in context.inventory.runtime_hosts:
        found.append(("kata", kata.IN_USE))
    return tuple(Switch(name, manifest.of(name).version, link) for name, link in found)


class RuntimePhase:
    """containerd and Kata under versioned prefixes, registered without touching what is not ours."""

    name = "runtime"
    title = "Install the runtime"

    def __init__(self, force: bool = False, *, switching: bool = False) -> None:
        self.force = force
        self.switching = switching
        """An upgrade is under way, and sees to versions itself."""

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        return existing.waves(inventory) if existing.is_theirs(inventory) else [inventory.hosts]

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        refuse_stand_ins(context, host)
        if existing.is_theirs(context.inventory):
            return existing.resources(context, host, self.force)
        carries_pods = host in context.inventory.runtime_hosts
        shims = context.shims_of(host)
        chosen = source(context, shims)
        folders = (*chosen.folders, "/opt/cni", CNI_BIN)
        # Before anything else of the phase: a failed step stops the ones behind it.
        wanted: list[Resource] = [*readiness.guards(shims), Place(PREFIX, context.bundle.manifest.arch)]
        switched = switches(context, host)
        if not self.switching:
            wanted.append(SameVersions(switched))
        wanted += [Traces(self.name, data=chosen.data, folders=folders), *chosen.programs]
        if context.inventory.cluster.kubernetes.cni == "ptp":
            # Cilium brings its own plugins, and replaces links of this name with files: its init container doesn't see
            # what they point to (install-plugin.sh of cilium 1.19).
            cni = component(context, "cni-plugins")
            wanted += [cni, *links(cni.artifact, CNI_BIN)]
        if carries_pods:
            wanted += [*kata.resources(context, shims), existing.leftovers(shims)]
        pause = context.bundle.manifest.of("pause")
        wanted += [*chosen.service, Image(pause, context.bundle.path(pause))]
        if not self.switching:
            # What a cut off upgrade has left to do, once all of the above is as it should be.
            wanted.append(Settled())
        return [*wanted, Versions(switched), self.no_pods(context)]

    def no_pods(self, context: Context) -> NoPods:
        """That nothing runs on what this phase would take away; comes last, so that undoing begins with it."""
        if existing.is_theirs(context.inventory):
            return existing.no_pods(context, self.force)
        return NoPods(source(context, ()).shims, self.force)
