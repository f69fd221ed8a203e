"""Host: the kernel as containers, the kubelet and the host's platform need it."""

from __future__ import annotations

from collections.abc import Sequence

from strongroom.model.cluster import Host, Inventory
from strongroom.phases.base import Context
from strongroom.phases.host_platform import platform_resources
from strongroom.plan.files import File
from strongroom.plan.resource import Resource
from strongroom.plan.system import Module, SwapOff, Sysctl

# vhost_vsock and vhost_net carry Kata's agent and network (Kata 4.1, docs/installation.md); the rest is the kubelet's.
MODULES = ("overlay", "br_netfilter", "vhost_vsock", "vhost_net")
SYSCTLS = {
    "net.ipv4.ip_forward": "1",
    "net.bridge.bridge-nf-call-iptables": "1",
    "net.bridge.bridge-nf-call-ip6tables": "1",
    "fs.inotify.max_user_instances": "8192",
}


class HostPhase:
    """Modules, kernel parameters and swap, now and after every reboot; where there is a platform, all it needs of the host."""

    name = "host"
    title = "Prepare hosts"

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        return [inventory.hosts]

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        settings = context.inventory.cluster.host
        parameters = {**SYSCTLS, "fs.inotify.max_user_instances": str(settings.inotify_instances)}
        if settings.hugepages and host in context.inventory.runtime_hosts:
            parameters["vm.nr_hugepages"] = str(settings.hugepages)
        modules = "".join(f"{name}\n" for name in MODULES).encode()
        sysctls = "".join(f"{name} = {value}\n" for name, value in parameters.items()).encode()
        return [
            File("/etc/modules-load.d/strongroom.conf", modules),
            *(Module(name) for name in MODULES),
            File("/etc/sysctl.d/60-strongroom.conf", sysctls),
            *(Sysctl(name, value) for name, value in parameters.items()),
            SwapOff(),
            *platform_resources(context, host),
        ]
