"""RKE2 (docs.rke2.io, "Configuring containerd"); it embeds k3s' agent, and has ctr outside the PATH."""

from strongroom.model.distribution import of_rancher

DISTRIBUTION = of_rancher(
    "rke2",
    ("rke2-server.service", "rke2-agent.service"),
    "/var/lib/rancher/rke2/bin/ctr -a /run/k3s/containerd/containerd.sock",
)
