"""k0s (k0sproject/k0s, docs/runtime.md and pkg/component/worker/containerd).

It watches its folder of drop-ins and restarts containerd by itself, as long as its configuration begins with the line below.
Until it came with containerd 2 it merged what concerns CRI, key by key, into a file of its own; since then it imports the
folder.
"""

from strongroom.model.distribution import Distribution

DISTRIBUTION = Distribution(
    name="k0s",
    kubeconfig="/var/lib/k0s/pki/admin.conf",
    services=("k0scontroller.service", "k0sworker.service"),
    config="/etc/k0s/containerd.toml",
    drop_ins={2: "/etc/k0s/containerd.d", 3: "/etc/k0s/containerd.d"},
    ctr="k0s ctr",
    containerd="/var/lib/k0s/bin/containerd",
    managed="# k0s_managed=true",
    merged="/run/k0s/containerd-cri.toml",
    kubelet_root="/var/lib/k0s/kubelet",
)
