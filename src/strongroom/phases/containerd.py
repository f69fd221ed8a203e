"""Where containerd comes from: a function each, chosen by the inventory's ``runtime.containerd``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from strongroom.model.bundle import Artifact
from strongroom.model.shims import Shim
from strongroom.phases import network
from strongroom.phases.base import Context, template
from strongroom.phases.snapshots import added
from strongroom.plan import containerd, registration
from strongroom.plan.artifacts import ON_PATH, PREFIX, Component, install_prefix, versions_folder
from strongroom.plan.files import File, Link
from strongroom.plan.registration import Registration
from strongroom.plan.resource import Resource
from strongroom.plan.system import Unit

UNIT = "containerd.service"


@dataclass(frozen=True)
class Source:
    """What one source of containerd means for a host."""

    programs: Sequence[Resource]
    """What is installed before anything is configured."""
    service: Sequence[Resource]
    """Configuration and unit, in this order."""
    shims: str
    """Below it lie the shims that stop being served when the runtime is taken away."""
    data: tuple[str, ...] = ()
    """Folders that this containerd fills, and that go with it."""
    folders: tuple[str, ...] = field(default=("/etc/containerd/conf.d",))


def links(artifact: Artifact, folder: str = ON_PATH) -> list[Resource]:
    """One link for each program of a component, from a folder on the PATH into its versioned prefix."""
    prefix = install_prefix(artifact)
    return [
        Link(f"{folder}/{entry.path.rpartition('/')[2]}", f"{prefix}/{entry.path}", versions_folder(artifact))
        for entry in artifact.files
        if entry.path.startswith("bin/")
    ]


def component(context: Context, name: str) -> Component:
    """A component of the bundle as a resource."""
    artifact = context.bundle.manifest.of(name)
    return Component(artifact, context.bundle.path(artifact))


def bundled(context: Context, shims: tuple[Shim, ...]) -> Source:
    """containerd 2.x and runc of the bundle, under our own unit and configuration."""
    runc, program = component(context, "runc"), component(context, "containerd")
    wanted = network.on_host(context.inventory)
    values = {
        "sandbox_image": context.bundle.manifest.of("pause").image,
        "shims": shims,
        "config_path": wanted.config_path,
    }
    drop_in = File(containerd.DROP_IN, template("containerd/drop-in-2.toml.j2", **values))
    unit = File(f"/etc/systemd/system/{UNIT}", template("containerd/containerd.service"), keep=True)
    main = File(containerd.CONFIG, template("containerd/config-2.toml"), keep=True)
    restart_on = (main.path, drop_in.path, unit.path, "/usr/local/bin/containerd", *wanted.restart_on)
    return Source(
        programs=[runc, *links(runc.artifact), program, *links(program.artifact)],
        service=[main, drop_in, unit, *wanted.resources(), Unit(UNIT, restart_on=restart_on, ready=registration.READY)],
        shims=PREFIX,
        data=("/var/lib/containerd", "/opt/containerd"),
        # containerd itself makes the folder of CNI configurations, when it starts.
        folders=("/etc/containerd/conf.d", "/etc/containerd", "/etc/cni/net.d", "/etc/cni", *wanted.folders),
    )


def of_the_distribution(context: Context, shims: tuple[Shim, ...]) -> Source:
    """containerd and runc that the host has; ours are only the handlers in its configuration."""
    image = str(context.bundle.manifest.of("pause").image)
    wanted = network.on_host(context.inventory)
    restart_on = (containerd.CONFIG, containerd.DROP_IN, *wanted.restart_on)
    return Source(
        programs=[],
        service=[
            Registration(image, shims, wanted.config_path),
            *wanted.resources(),
            Unit(UNIT, restart_on=restart_on, ready=registration.READY, foreign=True),
        ],
        shims=f"{PREFIX}/kata",
        folders=("/etc/containerd/conf.d", *wanted.folders),
    )


SOURCES: dict[str, Callable[[Context, tuple[Shim, ...]], Source]] = {
    "bundle": bundled,
    "distribution": of_the_distribution,
}


def source(context: Context, shims: tuple[Shim, ...]) -> Source:
    """The source that the inventory names."""
    return added(context, shims, SOURCES[context.inventory.cluster.runtime.containerd](context, shims))
