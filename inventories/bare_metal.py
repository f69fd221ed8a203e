"""A cluster of bare-metal hosts. Edit the names and addresses, then:

strongroom preflight THIS_FILE    reads every host and says what stands in the way; changes nothing
strongroom plan THIS_FILE         lists what apply would do
strongroom apply THIS_FILE        does it, and verifies the result; safe to repeat
"""

# Data that every host shares. All of it is pyinfra's own; see its documentation on the SSH connector.
_ssh = {
    "ssh_user": "root",  # or another user with "_sudo": True and sudo without a password
    # Host keys are pinned. Collect them over a channel you trust: a first contact is not one.
    "ssh_known_hosts_file": "~/.ssh/known_hosts",
    "ssh_strict_host_key_checking": "yes",
}

# One control plane host. It stays outside the TEE in the mode confidential-containers.
control_plane = [
    ("cp1", {**_ssh, "ssh_hostname": "192.0.2.11", "address": "10.0.0.11"}),
]

# The hosts that run pods. `address` is the host's own on the network between the hosts; its last number picks the
# host's /24 of the pod network, unless `pod_subnet` says otherwise.
workers = [
    ("w1", {**_ssh, "ssh_hostname": "192.0.2.21", "address": "10.0.0.21"}),
    ("w2", {**_ssh, "ssh_hostname": "192.0.2.22", "address": "10.0.0.22"}),
    # "platform": "snp" asks for a TEE. A host that cannot be shown to have it stops everything (exit code 4).
]

cluster = {
    "name": "example",
    "mode": "confidential-containers",
    # What you say this cluster is. `verify` ends with 0 only if it is what was found: "confidential" takes verified
    # evidence, "none" claims nothing.
    "claim": "none",
    # Everything that hosts get, in one folder: strongroom bundle create --out bundle
    "bundle": "bundle",
    # Where the admin kubeconfig goes. An existing file is never overwritten.
    # "kubeconfig": "~/.kube/example",
    "kubernetes": {
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
        # The pod network, for the cluster's whole life: "ptp" is plain routes between hosts of one layer-2 network;
        # "cilium" needs a bundle with Cilium: strongroom bundle create --set cilium=1.19.6
        "cni": "ptp",
    },
    # How hosts are set up. What each platform needs of the kernel is strongroom's to know; see docs/host.md.
    "host": {
        # Hosts with a platform are rebooted when their kernel has to read new options, one at a time once they are in a
        # cluster. "never": strongroom says when a reboot is due, and stops there.
        "reboot": "when-needed",
        "reboot_timeout_minutes": 30,  # servers with much memory take their time
        # Further options of the kernel's command line, on hosts with a platform.
        # "kernel_options": ["kvm_amd.ciphertext_hiding_asids=8"],
        # "hugepages": 1024,  # huge pages to keep for guests, of the kernel's own size (2 MiB on x86)
        # "inotify_instances": 8192,
        # "memlock": "unchanged",  # or "unlimited", the default on hosts with a platform
        # "vfio_pci_ids": ["10de:2331"],  # GPUs to hand to guests, on hosts with platform gpu: lspci -nn -d 10de:
    },
    "runtime": {
        "containerd": "bundle",  # or "distribution": what the host has, 1.7 or newer; see docs/runtime.md
        "shims": ["qemu-coco-dev"],  # Kata shims, by name; each host gets those that its platform allows
        # Settings of a shim, where the release's own won't do; docs/runtime.md has them all.
        # "settings": {"qemu-coco-dev": {"memory_mib": 4096, "image_pull": "guest", "kbs": "https://kbs.example:8080"}},
        # "nfd": True,  # Node Feature Discovery runs: pods of SNP and TDX shims ask for one of the host's keys
    },
    # Preflight checks to waive, with the reason that every report then shows.
    "waive": {},
}

# pyinfra gives this data to every host.
all = (control_plane + workers, {"cluster": cluster})
