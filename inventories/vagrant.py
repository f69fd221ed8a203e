"""The machines of the Vagrantfile beside this file, after `vagrant up`: virtual machines to rehearse on, which claim nothing.

Names, addresses and groups are those of vagrant-hosts.yaml; how to reach a machine is what `vagrant ssh-config` says.
"""

from pathlib import Path as _Path

from strongroom.inventory.vagrant import hosts as _hosts

_groups = _hosts(_Path(__file__).parent)
control_plane = _groups["control_plane"]
workers = _groups["workers"]

cluster = {
    "name": "vagrant",
    "mode": "confidential-containers",
    "claim": "none",
    "bundle": "bundle",  # strongroom bundle create --out bundle
    "kubernetes": {"timeout_minutes": 15},
    "runtime": {"containerd": "bundle", "shims": ["qemu-coco-dev"]},
}
all = (control_plane + workers, {"cluster": cluster})
