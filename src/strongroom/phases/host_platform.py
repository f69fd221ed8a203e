"""What the platform of a host adds to the host phase; nothing where the platform is none."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.catalog.load import hosts as catalogue
from strongroom.model.cluster import Host
from strongroom.model.host_setup import PlatformSetup
from strongroom.model.platform import Platform
from strongroom.phases.base import Context
from strongroom.plan.artifacts import Component
from strongroom.plan.devices import Attestation, DeviceRights, Firmware, LockedMemory, SystemGroup
from strongroom.plan.files import File
from strongroom.plan.kernel_options import KernelOptions, option
from strongroom.plan.reboot import ReadAtBoot, Reboot
from strongroom.plan.resource import Resource
from strongroom.plan.system import Module
from strongroom.plan.traces import Traces

MODPROBE = "/etc/modprobe.d/strongroom.conf"
# Folders that distributions have or have not.
_FOLDERS = (
    "/etc/default/grub.d",
    "/lib/firmware/updates",
    "/lib/firmware/updates/amd",
    "/etc/systemd/system/containerd.service.d",
)
# Every display controller of NVIDIA's is vfio-pci's (vendor 10de, class 03).
_ON_VFIO = (
    '[ -z "$(for d in /sys/bus/pci/devices/*; do read -r v < $d/vendor; read -r c < $d/class;'
    ' case $v$c in 0x10de0x03*) case $(readlink $d/driver) in */vfio-pci) ;; *) echo $d;; esac;; esac; done)" ]'
)


def platform_resources(context: Context, host: Host) -> list[Resource]:
    """In the order they are carried out; the reboot, where one is due, comes last."""
    if host.platform in (Platform.NONE, Platform.VTPM):
        return []
    settings, setup = context.inventory.cluster.host, catalogue().of(host.platform)
    asked = tuple(option(word, "asked for by the inventory") for word in settings.kernel_options)
    names = {one.name.replace("-", "_") for one in asked}
    own = tuple(one for one in setup.options if one.name.replace("-", "_") not in names)
    kernel = KernelOptions(own + asked, setup.refused)
    at_boot: list[ReadAtBoot] = []
    wanted: list[Resource] = [Traces("host-platform", folders=_FOLDERS)]
    wanted += [SystemGroup(group.name, group.vendors) for group in setup.groups]
    if setup.devices:
        wanted.append(DeviceRights(setup.devices))
    if setup.modules:
        names_of = "".join(f"{name}\n" for name in setup.modules)
        wanted += [
            File("/etc/modules-load.d/strongroom-platform.conf", names_of.encode()),
            *(Module(name) for name in setup.modules),
        ]
    ids = settings.vfio_pci_ids if host.platform is Platform.GPU else ()
    if lines := _modprobe(setup, ids):
        file = File(MODPROBE, lines)
        wanted.append(file)
        at_boot.append(ReadAtBoot(file, file.path, _ON_VFIO if ids else "true"))
    firmware = _firmware(context, setup)
    wanted += firmware
    at_boot += [ReadAtBoot(one, one.path) for one in firmware if isinstance(one, Firmware)]
    if settings.memlock == "unlimited" and host in context.inventory.runtime_hosts:
        wanted.append(LockedMemory("containerd.service"))
    wanted += [Attestation(service) for service in setup.services]
    return [*wanted, kernel, Reboot(kernel, tuple(at_boot), allowed=settings.reboot == "when-needed")]


def _modprobe(setup: PlatformSetup, ids: Sequence[str]) -> bytes:
    lines = [*setup.modprobe, *([f"options vfio-pci ids={','.join(ids)}"] if ids else [])]
    return "".join(f"{line}\n" for line in ["# Managed by strongroom.", *lines]).encode() if lines else b""


def _firmware(context: Context, setup: PlatformSetup) -> list[Resource]:
    """The bundle's firmware, where it has some: none is fetched from elsewhere, and none is flashed."""
    for artifact in context.bundle.manifest.artifacts:
        if artifact.component == setup.firmware:
            component = Component(artifact, context.bundle.path(artifact))
            files = [entry for entry in artifact.files if entry.sha256]
            return [
                component,
                *(
                    Firmware(
                        f"amd/{entry.path.rpartition('/')[2]}", f"{component.prefix}/{entry.path}", entry.sha256 or ""
                    )
                    for entry in files
                ),
            ]
    return []
