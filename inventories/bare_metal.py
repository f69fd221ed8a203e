"""A cluster of bare-metal hosts. Edit the names and addresses, then:

strongroom preflight THIS_FILE    reads every host and says what stands in the way; changes nothing
strongroom plan THIS_FILE         lists what apply would do
strongroom apply THIS_FILE        does it, and verifies the result; safe to repeat

Lines that start with `# "` are settings at their defaults, or examples: take the mark away and change them. A key or a value
that is not allowed is refused before anything connects. docs/inventories.md has more, also for Ansible's YAML and Vagrant.
"""

# ── How hosts are reached ─────────────────────────────────────────────────────────────────────────────────────────────
# Data that every host shares. All of it is pyinfra's own; see its documentation on the SSH connector.
_ssh = {
    "ssh_user": "root",  # or another user, with "_sudo" below
    # "_sudo": True,  # sudo without a password; a password is never sent
    # "ssh_port": 22,
    # "ssh_key": "~/.ssh/id_ed25519",  # left out: the keys of your agent, then those in ~/.ssh
    # Host keys are pinned: a host with another key, or with none in this file, is not connected to. Collect them over a
    # channel you trust: a first contact is not one.
    "ssh_known_hosts_file": "~/.ssh/known_hosts",
    "ssh_strict_host_key_checking": "yes",
    # Jump hosts and the like: ~/.ssh/config is read, by `ssh_hostname`.
}

# ── Hosts ─────────────────────────────────────────────────────────────────────────────────────────────────────────────
# One control plane host. It stays outside the TEE in the mode confidential-containers.
control_plane = [
    (
        "cp1",
        {
            **_ssh,
            "ssh_hostname": "192.0.2.11",  # how you reach it: an address, or a name
            "address": "10.0.0.11",  # its own on the network between the hosts
            # "api_address": "cp1.example:6443",  # how you reach its API server, where that is not its address
        },
    ),
]

# What the hosts of a rack share. "platform" is the TEE that a host must have: snp, tdx, sgx, sev, cca, se, gpu; without it
# none is asked for. A host that cannot be shown to have it stops everything (exit code 4).
_rack1 = {
    **_ssh,
    # "platform": "snp",
}

# The hosts that run pods; without any, the control plane runs them.
workers = [
    # With "cni": "ptp" the last number of `address` picks the host's /24 of the pod network, unless `pod_subnet` is there.
    ("w1", {**_rack1, "ssh_hostname": "192.0.2.21", "address": "10.0.0.21"}),
    (
        "w2",
        {
            **_rack1,
            "ssh_hostname": "192.0.2.22",
            "address": "10.0.0.22",
            # "pod_subnet": "10.244.22.0/24",
        },
    ),
]

# ── The cluster ───────────────────────────────────────────────────────────────────────────────────────────────────────
cluster = {
    "name": "example",
    "mode": "confidential-containers",
    # What you say this cluster is. `verify` ends with 0 only if it is what was found: "confidential" takes verified
    # evidence, which no phase of this version collects yet: it ends with 5. "none" claims nothing.
    "claim": "none",
    # Everything that hosts get, in one folder: strongroom bundle create --out bundle. What the lock pins no digest of yet
    # is refused; strongroom lock update pins it where there is a network: docs/bundles.md
    "bundle": "bundle",
    # Where the admin kubeconfig goes. An existing file of another cluster is never overwritten.
    # "kubeconfig": "~/.kube/example",
    "kubernetes": {
        # Whose Kubernetes: "kubeadm" is set up here. Of a cluster that somebody else runs the hosts get Kata alone: "k3s",
        # "rke2", "k0s", or "existing" (kubeadm's and the like); the rest of this part then stays out: docs/existing-clusters.md
        # "distribution": "kubeadm",
        "pod_cidr": "10.244.0.0/16",
        "service_cidr": "10.96.0.0/16",
        # The pod network, for the cluster's whole life: "ptp" is plain routes between hosts of one layer-2 network;
        # "cilium" needs a bundle with Cilium: strongroom bundle create --set cilium=1.19.6
        "cni": "ptp",
        # "dns": True,  # CoreDNS, where the bundle has it
        # "key_algorithm": "ECDSA-P256",  # of the cluster's certificates; also ECDSA-P384, RSA-2048, RSA-3072, RSA-4096
        # "timeout_minutes": 5,  # how long kubeadm waits for each thing it starts
        # "etcd_heartbeat_ms": 100,  # more on slow disks
        # "lease_seconds": 15,  # leader election of controllers and scheduler; more on slow disks
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
        # "memlock": "unlimited",  # what containerd's children may lock, on hosts with a platform; or "unchanged"
        # "vfio_pci_ids": ["10de:2331"],  # GPUs to hand to guests, on hosts with platform gpu: lspci -nn -d 10de:
    },
    "runtime": {
        # "engine": "containerd",  # or, in an existing cluster, "crio"
        "containerd": "bundle",  # or "distribution": what the host has, 1.7 or newer; see docs/runtime.md
        # Kata shims, by name; each host gets those that its platform allows: docs/runtime.md has the list.
        "shims": ["qemu-coco-dev"],
        # Settings of a shim, where the release's own won't do.
        "settings": {
            "qemu-coco-dev": {
                # "memory_mib": 4096,  # that a guest starts with
                # "vcpus": 2,
                # "kernel_params": ["agent.log=debug"],  # words added to the guest kernel's command line
                # "image_pull": "guest",  # inside the guest, or "host": by containerd
                # "kbs": "https://kbs.example:8080",  # Trustee's key broker, as a guest reaches it
                # "annotations": ["default_memory"],  # what pods may change of their guest
                # "runtime_debug": True,  # the shim's own log on the host; the guest stays as it is
                # "create_timeout_seconds": 600,  # for images that are pulled in the guest
            },
        },
        # "snapshotters": "unchanged",  # "per-shim": nydus where a shim is made for it, if the bundle has it; docs/runtime.md
        # "nfd": True,  # Node Feature Discovery runs: pods of SNP and TDX shims ask for one of the host's keys
    },
    # How downloads reach the world, for every tool that downloads: `--network-of THIS_FILE` with bundle, lock and collateral.
    "network": {
        "proxy": {
            # "http": "http://proxy.example:3128",
            # "https": "http://proxy.example:3128",  # one with a password: "env:MY_PROXY", or "file:PATH" (mode 0600)
            # "no_proxy": [".example", "10.0.0.0/8"],
        },
        # Asked before a registry, in this order; a path is kept, and one that begins with /v2 is the API's own (Harbor).
        "mirrors": {
            # "registry.k8s.io": ["https://mirror.example", "https://harbor.example/v2/k8s"],
        },
        # "ca_file": "/etc/ssl/private-ca.pem",  # trusted besides the system's CAs
        # "on_hosts": True,  # containerd pulls your pods' images by the same; hosts themselves are set up from the bundle
    },
    # Preflight checks to waive by their id, with the reason that every report then shows.
    "waive": {
        # "C-CLOCK": "the rack has no route to a time server until June",
    },
}

# pyinfra gives this data to every host.
all = (control_plane + workers, {"cluster": cluster})
