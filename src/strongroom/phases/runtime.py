"""Runtime: containerd, runc, CNI plugins, and the Kata shims as containerd handlers."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.errors import ConfigError
from strongroom.model.bundle import Artifact
from strongroom.model.cluster import Host, Inventory
from strongroom.phases.base import Context, template
from strongroom.plan.artifacts import Component, Image, install_prefix
from strongroom.plan.files import File, Link
from strongroom.plan.resource import Resource
from strongroom.plan.system import Unit

_READY = "ctr --connect-timeout 5s version"


def links(artifact: Artifact, folder: str = "/usr/local/bin") -> list[Resource]:
    """One link for each program of a component, from a folder on the PATH into its versioned prefix."""
    prefix = install_prefix(artifact)
    return [
        Link(f"{folder}/{entry.path.rpartition('/')[2]}", f"{prefix}/{entry.path}")
        for entry in artifact.files
        if entry.path.startswith("bin/")
    ]


def component(context: Context, name: str) -> Component:
    """A component of the bundle as a resource."""
    artifact = context.bundle.manifest.of(name)
    return Component(artifact, context.bundle.path(artifact))


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


class RuntimePhase:
    """containerd and Kata under versioned prefixes, registered without touching what is not ours."""

    name = "runtime"
    title = "Install the runtime"

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        return [inventory.hosts]

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        refuse_stand_ins(context, host)
        runc = component(context, "runc")
        wanted: list[Resource] = [runc, *links(runc.artifact)]
        if context.inventory.cluster.kubernetes.cni == "ptp":
            # Cilium brings its own plugins, and replaces links of this name with files: its init container doesn't see
            # what they point to (install-plugin.sh of cilium 1.19).
            cni = component(context, "cni-plugins")
            wanted += [cni, *links(cni.artifact, "/opt/cni/bin")]
        containerd = component(context, "containerd")
        wanted += [containerd, *links(containerd.artifact)]
        carries_pods = host in context.inventory.runtime_hosts
        if carries_pods:
            kata = component(context, "kata")
            # Kata's configuration names everything below /opt/kata, so the switch between versions is this one link.
            wanted += [kata, Link("/opt/kata", kata.prefix)]
        wanted += self._containerd(context, carries_pods)
        pause = context.bundle.manifest.of("pause")
        return [*wanted, Image(pause, context.bundle.path(pause))]

    def _containerd(self, context: Context, carries_pods: bool) -> list[Resource]:
        values = {
            "sandbox_image": context.bundle.manifest.of("pause").image,
            "shims": context.shims if carries_pods else (),
        }
        drop_in = File("/etc/containerd/conf.d/10-strongroom.toml", template("containerd/drop-in-2.toml.j2", **values))
        unit = File("/etc/systemd/system/containerd.service", template("containerd/containerd.service"))
        main = File("/etc/containerd/config.toml", template("containerd/config-2.toml"))
        restart_on = (main.path, drop_in.path, unit.path, "/usr/local/bin/containerd")
        return [main, drop_in, unit, Unit("containerd.service", restart_on=restart_on, ready=_READY)]
