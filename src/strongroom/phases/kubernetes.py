"""Kubernetes: kubelet, control plane and workers by kubeadm, and a pod network of plain routes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import yaml

from strongroom.model.cluster import Host, Inventory
from strongroom.phases.base import Context, template
from strongroom.phases.containerd import component, links
from strongroom.phases.pod_network import pod_network
from strongroom.plan.artifacts import Image
from strongroom.plan.files import File
from strongroom.plan.kubeadm import CONFIG, LOG, ControlPlane, NodeFiles, Worker
from strongroom.plan.resource import Resource
from strongroom.plan.system import Route, Unit
from strongroom.plan.traces import Traces
from strongroom.plan.versions import SameVersions, Switch

CONTROL_PLANE_IMAGES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
NODE_IMAGES = ("kube-proxy",)
# What kubeadm, the kubelet, etcd and the CNI plugins make for themselves, and what we put files into.
DATA = (
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/var/lib/kubelet",
    "/var/lib/cni",
    "/var/log/pods",
    "/var/log/containers",
    "/usr/libexec/kubernetes",
    LOG,
)
FOLDERS = ("/etc/cni", "/etc/cni/net.d", "/etc/strongroom")
_SOCKET = "unix:///run/containerd/containerd.sock"


def _arguments(**values: str) -> list[dict[str, str]]:
    return [{"name": name.replace("_", "-"), "value": value} for name, value in values.items()]


def same_version(context: Context) -> SameVersions:
    """That a member of a cluster runs the bundle's Kubernetes: its upgrade is kubeadm's, a step at a time, and not ours."""
    found = [one.version for one in context.bundle.manifest.artifacts if one.component == "kubelet"]
    return SameVersions(
        tuple(Switch("kubelet", version, "/usr/local/bin/kubelet") for version in found),
        hint="strongroom doesn't upgrade Kubernetes: make a bundle with the version in use",
        upgraded=False,
    )


def kubeadm_config(context: Context, host: Host) -> bytes:
    """kubeadm's configuration for a host (kubeadm.k8s.io/v1beta4), as YAML documents.

    The first control plane host starts the cluster with it; on every host it says what kubeadm's own files should be.
    """
    inventory, manifest = context.inventory, context.bundle.manifest
    leader = inventory.leader
    kubernetes = inventory.cluster.kubernetes
    wait = f"{kubernetes.timeout_minutes}m0s"
    lease = kubernetes.lease_seconds
    leases = _arguments(
        leader_elect_lease_duration=f"{lease}s",
        leader_elect_renew_deadline=f"{lease * 2 // 3}s",
        leader_elect_retry_period=f"{max(2, lease // 7)}s",
    )
    repository = str(manifest.of("kube-apiserver").image).rpartition("/")[0]
    init: dict[str, Any] = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "InitConfiguration",
        "localAPIEndpoint": {"advertiseAddress": host.address, "bindPort": 6443},
        "nodeRegistration": {
            "name": host.name,
            "criSocket": _SOCKET,
            "imagePullPolicy": "IfNotPresent",
            # Where there are no workers, pods go to the control plane: it must not repel them.
            "taints": [] if host in inventory.runtime_hosts else None,
            "kubeletExtraArgs": _arguments(node_ip=host.address),
        },
        "timeouts": dict.fromkeys(
            (
                "controlPlaneComponentHealthCheck",
                "kubeletHealthCheck",
                "kubernetesAPICall",
                "etcdAPICall",
                "tlsBootstrap",
                "discovery",
            ),
            wait,
        ),
    }
    if init["nodeRegistration"]["taints"] is None:
        del init["nodeRegistration"]["taints"]
    cluster = {
        "apiVersion": "kubeadm.k8s.io/v1beta4",
        "kind": "ClusterConfiguration",
        "clusterName": inventory.cluster.name,
        "kubernetesVersion": f"v{manifest.of('kubelet').version}",
        "imageRepository": repository,
        "encryptionAlgorithm": kubernetes.key_algorithm,
        "controlPlaneEndpoint": f"{leader.address}:6443",
        "networking": _networking(context),
        "apiServer": {"certSANs": sorted({leader.address, leader.name, leader.api().rpartition(":")[0], "127.0.0.1"})},
        "controllerManager": {"extraArgs": leases},
        "scheduler": {"extraArgs": leases},
        "etcd": {
            "local": {
                "extraArgs": _arguments(
                    heartbeat_interval=str(kubernetes.etcd_heartbeat_ms),
                    election_timeout=str(kubernetes.etcd_heartbeat_ms * 10),
                )
            }
        },
    }
    if host != leader:
        # A worker has the CA without its key, and kubeadm would stop at that where it only renders the kubelet's files.
        cluster["certificatesDir"] = "/etc/strongroom/no-certificates"
    kubelet = {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {"x509": {"clientCAFile": "/etc/kubernetes/pki/ca.crt"}},
        "cgroupDriver": "systemd",
    }
    proxy = {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "nftables",
        "clusterCIDR": kubernetes.pod_cidr,
    }
    return b"# Managed by strongroom.\n" + yaml.safe_dump_all([init, cluster, kubelet, proxy], sort_keys=False).encode()


def _networking(context: Context) -> dict[str, str]:
    kubernetes = context.inventory.cluster.kubernetes
    subnets = {"serviceSubnet": kubernetes.service_cidr}
    # With it the controller manager gives each node a /24 of its own; with plain routes that is the inventory's task.
    return subnets if kubernetes.cni == "ptp" else {**subnets, "podSubnet": kubernetes.pod_cidr}


def routes_between(inventory: Inventory, host: Host) -> list[Resource]:
    """CNI without any image: each pod on a veth of its own, a /24 a host, plain routes between the hosts."""
    conflist = {
        "cniVersion": "1.0.0",
        "name": "strongroom",
        "plugins": [
            {
                "type": "ptp",
                "ipMasq": True,
                "ipam": {
                    "type": "host-local",
                    "ranges": [[{"subnet": inventory.pod_subnet(host)}]],
                    "routes": [{"dst": "0.0.0.0/0"}],
                },
            },
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ],
    }
    routes = [(inventory.pod_subnet(other), other.address) for other in inventory.hosts if other != host]
    unit = File(
        "/etc/systemd/system/strongroom-pod-routes.service", template("cni/pod-routes.service.j2", routes=routes)
    )
    return [
        File("/etc/cni/net.d/10-strongroom.conflist", json.dumps(conflist, indent=2).encode() + b"\n", mode="0600"),
        unit,
        Unit("strongroom-pod-routes.service", restart_on=(unit.path,)),
        *(Route(subnet, address) for subnet, address in routes),
    ]


class KubernetesPhase:
    """The control plane first, then all workers together."""

    name = "kubernetes"
    title = "Set up Kubernetes"

    def waves(self, inventory: Inventory) -> Sequence[Sequence[Host]]:
        planes = inventory.role("control_plane")
        workers = tuple(host for host in inventory.role("workers") if host not in planes)
        return [*([plane] for plane in planes), *([workers] if workers else [])]

    def resources(self, context: Context, host: Host) -> Sequence[Resource]:
        inventory, manifest = context.inventory, context.bundle.manifest
        plane = host == inventory.leader
        dns = inventory.cluster.kubernetes.dns and any(
            artifact.component == "coredns" for artifact in manifest.artifacts
        )
        names = [*(CONTROL_PLANE_IMAGES if plane else ()), *NODE_IMAGES, *(["coredns"] if dns and plane else [])]
        wanted: list[Resource] = [same_version(context), Traces(self.name, data=DATA, folders=FOLDERS)]
        programs: list[str] = []
        for name in ("kubelet", "kubeadm", *(["kubectl"] if plane else [])):
            program = component(context, name)
            wanted += [program, *links(program.artifact)]
            programs.append(f"{program.prefix}/bin")
        unit = File("/etc/systemd/system/kubelet.service", template("kubernetes/kubelet.service"))
        wanted.append(unit)
        if inventory.cluster.kubernetes.cni == "ptp":
            wanted += routes_between(inventory, host)
        if host in inventory.runtime_hosts:
            names.append("verify-pod")
        if network_of_pods := pod_network(context):
            names += [image.component for image in manifest.images() if image.image in network_of_pods.images]
        images = [manifest.of(name) for name in names]
        wanted += [Image(image, context.bundle.path(image)) for image in images]
        wanted.append(File(CONFIG, kubeadm_config(context, host), mode="0600"))
        if plane:
            wanted.append(ControlPlane(skip_phases=() if dns else ("addon/coredns",)))
        else:
            wanted.append(Worker(host.name, host.address))
        # kubeadm starts the kubelet and writes what it runs with; from then on both are ours to keep as they should be.
        files = NodeFiles(control_plane=plane, programs=tuple(programs))
        kubelets = [path for path in files.paths if path.startswith("/var/lib/kubelet/")]
        return [*wanted, files, Unit("kubelet.service", restart_on=(unit.path, "/usr/local/bin/kubelet", *kubelets))]
