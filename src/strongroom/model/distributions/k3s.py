"""k3s (docs.k3s.io, "Configuring containerd"; k3s-io/k3s, pkg/agent/templates and pkg/agent/containerd)."""

from strongroom.model.distribution import of_rancher

DISTRIBUTION = of_rancher("k3s", ("k3s.service", "k3s-agent.service"), "k3s ctr")
