"""Kubernetes that strongroom sets up itself, by kubeadm."""

from strongroom.model.distribution import Distribution

DISTRIBUTION = Distribution(
    name="kubeadm", kubeconfig="/etc/kubernetes/admin.conf", services=("kubelet.service",), installed_by_us=True, rank=0
)
