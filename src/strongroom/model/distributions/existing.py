"""A cluster that somebody else made with kubeadm or by hand: the kubelet is a service, and so is the container runtime."""

from strongroom.model.distribution import Distribution

DISTRIBUTION = Distribution(
    name="existing",
    kubeconfig="/etc/kubernetes/admin.conf",
    services=("kubelet.service",),
    engines=("containerd", "crio"),
    rank=2,
)
