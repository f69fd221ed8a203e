"""What an inventory may say of a cluster that somebody else runs: less than of one that strongroom sets up."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from strongroom.model.cluster import Inventory

# How strongroom sets a cluster up; whoever runs this one has decided it already.
_SET_UP = (
    "pod_cidr", "service_cidr", "cni", "dns", "key_algorithm", "timeout_minutes", "etcd_heartbeat_ms", "lease_seconds",
)  # fmt: skip


def problems(inventory: Inventory) -> list[str]:
    """A line for each thing that has no effect on such a cluster, and for hosts that cannot be told apart."""
    cluster = inventory.cluster
    kubernetes, runtime = cluster.kubernetes, cluster.runtime
    name = kubernetes.distribution
    found = []
    if not inventory.role("control_plane"):
        found.append(
            f"group control_plane: found no host, needed is one: {kubernetes.of.kubeconfig} is read there, for the API"
        )
    for key in _SET_UP:
        value, default = getattr(kubernetes, key), type(kubernetes).model_fields[key].default
        if value != default:
            found.append(
                f"cluster: kubernetes.{key}: found {value!r}, allowed with kubernetes.distribution 'kubeadm' only: whoever"
                f" runs this {name} cluster has set it"
            )
    if runtime.engine not in kubernetes.of.engines:
        found.append(
            f"cluster: runtime.engine: found {runtime.engine!r}, allowed with kubernetes.distribution {name!r} is"
            f" {' or '.join(map(repr, kubernetes.of.engines))}"
        )
    addresses: dict[str, str] = {}
    for host in inventory.hosts:
        if host.pod_subnet:
            found.append(
                f"host {host.name}: pod_subnet: found {host.pod_subnet!r}, allowed with kubernetes.distribution 'kubeadm' only"
            )
        if host.address in addresses:
            found.append(
                f"host {host.name}: address: {host.address} is {addresses[host.address]}'s as well; give each its own"
            )
        addresses.setdefault(host.address, host.name)
    if cluster.network.on_hosts:
        found.append(
            "cluster: network.on_hosts: found True, allowed with kubernetes.distribution 'kubeadm' only: how containerd of"
            f" this {name} cluster reaches registries is its owner's matter"
        )
    if cluster.kubeconfig is not None:
        found.append(
            "cluster: kubeconfig: allowed with kubernetes.distribution 'kubeadm' only: strongroom hands out no credential of"
            " a cluster that is not its own"
        )
    return found
