"""Which shims an inventory asks for, and all that can be refused of them before anything connects."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from strongroom.errors import ConfigError
from strongroom.model.cluster import Inventory
from strongroom.model.explain import gathered, nearest
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.platform import Platform
from strongroom.model.shims import Shim, find_shim


def choose(inventory: Inventory, known: Mapping[str, Shim]) -> tuple[Shim, ...]:
    """The shims of ``runtime.shims``, each once.

    Raises:
        ConfigError: a line for every shim that there is not, that no host can have, or that would not do what the inventory
            says; and for every setting that a shim has no use for.
    """
    runtime = inventory.cluster.runtime
    problems: list[str] = []
    chosen: list[Shim] = []
    for name in dict.fromkeys(runtime.shims):
        try:
            chosen.append(find_shim(known, name))
        except ConfigError as error:
            problems.append(str(error))
    problems += [line for shim in chosen for line in _hosts(inventory, shim)]
    if not problems:
        problems += _torn(chosen)
        problems += _without(inventory, chosen)
        problems += _claims(inventory, chosen)
    names = [shim.name for shim in chosen]
    for name, settings in runtime.settings.items():
        shim = next((one for one in chosen if one.name == name), None)
        if shim is not None:
            problems += [f"cluster: runtime.settings.{name}.{line}" for line in _useless(shim, settings)]
        elif names and name not in runtime.shims:
            problems.append(
                f"cluster: runtime.settings: found {name!r}, allowed are those of runtime.shims: {', '.join(names)}"
                f"{nearest(name, names)}"
            )
    if problems:
        raise ConfigError(*problems)
    return tuple(chosen)


def refuse_other_arch(shims: Sequence[Shim], arch: str) -> None:
    """What is not made for the bundle's architecture.

    Raises:
        ConfigError: a line for each such shim.
    """
    wrong = [
        f"cluster: runtime.shims: {shim.name} is made for {', '.join(shim.arches)}, and the bundle is for {arch}"
        for shim in shims
        if arch not in shim.arches
    ]
    if wrong:
        raise ConfigError(*wrong)


def _hosts(inventory: Inventory, shim: Shim) -> Iterator[str]:
    """A shim that fits no host: a line for each of them."""
    hosts = inventory.runtime_hosts
    if shim.host_platform is Platform.NONE or any(shim.host_platform is host.platform for host in hosts):
        return
    yield from gathered(
        [(host.name, f"platform: {host.platform}, and shim {shim.name} needs {shim.host_platform}") for host in hosts]
    )


def _torn(shims: Sequence[Shim]) -> Iterator[str]:
    """Shims of two CPUs' TEEs for the same hosts: all hosts of a platform get the same ones, and no CPU has both."""
    for platform in dict.fromkeys(shim.host_platform for shim in shims if shim.confidential):
        wanted = {shim.platform: shim.name for shim in shims if shim.host_platform is platform}
        if len(wanted) > 1:
            yield (
                f"cluster: runtime.shims: {' and '.join(wanted.values())} are for the same hosts, those of platform {platform},"
                f" and no CPU has {' and '.join(wanted)}; take those of one, and make a cluster of each kind of host"
            )


def _without(inventory: Inventory, shims: Sequence[Shim]) -> Iterator[str]:
    """Hosts that would get no shim at all, or, asked for a TEE, none but Cloud Hypervisor's."""
    lacking = []
    for host in inventory.runtime_hosts:
        own = [shim for shim in shims if shim.host_platform in (Platform.NONE, host.platform)]
        names = ", ".join(shim.name for shim in own or shims)
        if not own:
            problem = (
                f"platform: {host.platform}, and none of runtime.shims ({names}) is for it; add one that is, or take it out of"
                " the group"
            )
            lacking.append((host.name, problem))
        elif not host.platform.admits_stand_in and all(shim.hypervisor == "clh" for shim in own):
            problem = (
                f"platform: {host.platform}, and its shims ({names}) are Cloud Hypervisor's, which has no TEE"
                f" in Kata: no pod there would be protected; add qemu-{host.platform} or the like to runtime.shims"
            )
            lacking.append((host.name, problem))
    yield from gathered(lacking)


def _claims(inventory: Inventory, shims: Sequence[Shim]) -> Iterator[str]:
    """A debug console lets the host into the guest."""
    if inventory.cluster.claim == "confidential":
        for shim in shims:
            if shim.debug and shim.confidential:
                yield (
                    f"cluster: runtime.shims: {shim.name} opens the guest's debug console to the host, and the cluster's claim"
                    f" is confidential; take {shim.base}, or claim none"
                )


def _useless(shim: Shim, settings: ShimSettings) -> Iterator[str]:
    """Settings that this shim's guest would not heed."""
    what = "its guest image has no guest components (attestation agent, confidential data hub)"
    if settings.kbs is not None and not shim.coco_guest:
        yield f"kbs: found {settings.kbs!r}, allowed with coco-dev and TEE shims only: {what}"
    if settings.image_pull == "guest" and not shim.coco_guest:
        yield f"image_pull: found 'guest', allowed with coco-dev and TEE shims only: {what}"
    if not shim.starts_guests:
        for key in ("memory_mib", "vcpus", "kernel_params", "kbs", "image_pull"):
            if getattr(settings, key):
                yield f"{key}: allowed with every shim but remote, whose guest is started elsewhere and by other means"
    if shim.debug and settings.runtime_debug is False:
        yield f"runtime_debug: found False, allowed is True or nothing: {shim.name} is the debug variant"
