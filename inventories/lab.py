"""The lab on this machine: hosts that `strongroom lab up` started. Nothing in it is confidential, and it claims nothing.

The first host is the control plane; further ones are workers.
"""

from strongroom.fetch.go_modules import build_from_go_modules as _bundle
from strongroom.lab.inventory import hosts as _hosts
from strongroom.lab.state import load as _load

_all = _hosts()
control_plane = _all[:1]
workers = _all[1:]

cluster = {
    "name": "lab",
    "mode": "confidential-containers",
    "claim": "none",
    # Built once from Go modules, where the upstream sites cannot be reached, and kept in the cache.
    "bundle": str(_bundle()),
    "kubeconfig": str(_load().folder / "kubeconfig"),
    # A virtual machine without KVM is twenty times slower than the machine it runs on.
    "kubernetes": {"timeout_minutes": 30, "etcd_heartbeat_ms": 500, "lease_seconds": 120, "dns": False},
    "runtime": {"containerd": "bundle", "shims": ["qemu-coco-dev"]},
}
all = (_all, {"cluster": cluster})
