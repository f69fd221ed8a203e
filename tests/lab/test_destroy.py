"""A whole cluster with the bundle's containerd, made and taken down again: the host is as it was."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.lab import ssh, state, vm
from tests import fingerprint
from tests.torture import INVENTORY, strongroom

pytestmark = pytest.mark.lab

# Swap that is in use, in fstab and from a unit: bringing it back is part of giving a host back.
SWAP = """set -eu
fallocate -l 64M /swapfile; chmod 0600 /swapfile; mkswap -q /swapfile
printf '# by hand\\n/swapfile none swap sw 0 0\\n' >> /etc/fstab
systemctl daemon-reload; swapon /swapfile
sysctl -qw fs.inotify.max_user_instances=555
"""
EXCEPTIONS = {**fingerprint.LAB, "/swapfile": "what the kernel swaps out is in it"}
KERNEL = (
    "cat /proc/sys/net/ipv4/ip_forward /proc/sys/fs/inotify/max_user_instances; tail -n +2 /proc/swaps | cut -d' ' -f1"
)


@pytest.fixture(scope="module")
def lab() -> Iterator[state.Lab]:
    """A lab of its own: its own state, the shared cache."""
    folder = tempfile.mkdtemp(prefix="sr-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        patch.setenv("STRONGROOM_LAB", "destroy")
        try:
            yield vm.up("destroy")
        finally:
            vm.down("destroy")
            shutil.rmtree(folder)


def on(lab: state.Lab, script: str) -> str:
    done = ssh.run(lab, lab.hosts[0], script, seconds=900)
    assert done.returncode == 0, f"{script}: {done.stderr[-2000:]}"
    return done.stdout


def test_a_cluster_leaves_a_host_as_it_was(lab: state.Lab) -> None:
    on(lab, SWAP)
    before, kernel = fingerprint.take(lab), on(lab, KERNEL)
    done = strongroom("apply", "--skip-phase", "verify", str(INVENTORY))
    assert done.returncode == 0, done.stderr[-3000:]
    assert on(lab, KERNEL) == "1\n8192\n"
    kubeconfig = lab.folder / "kubeconfig"
    assert kubeconfig.exists()

    refused = strongroom("destroy", "--yes", "--phase", "runtime", str(INVENTORY))
    assert refused.returncode == 4, refused.stderr
    assert "pods run on /opt/strongroom" in refused.stderr
    assert on(lab, "systemctl is-active containerd kubelet") == "active\nactive\n"

    done = strongroom("destroy", "--yes", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, done.stderr[-3000:]
    phases = [change["phase"] for change in json.loads(done.stdout)["changes"]]
    assert list(dict.fromkeys(phases)) == ["kubeconfig", "kubernetes", "runtime", "host", "own"]
    assert not kubeconfig.exists()
    assert not Path(f"{kubeconfig}.new").exists()
    found = fingerprint.differences(before, fingerprint.take(lab), EXCEPTIONS)
    assert not found, "\n".join(found)
    assert on(lab, KERNEL) == kernel
    assert on(lab, "pgrep -l 'kube|etcd|containerd' || true; nft list tables | grep kube-proxy || true") == ""
    assert on(lab, "ls -d /opt/strongroom /var/lib/strongroom 2>/dev/null || true") == ""
    assert strongroom("plan", "--destroy", "--exit-code", str(INVENTORY)).returncode == 0


def test_what_is_not_all_of_ours_on_the_controller_stays(lab: state.Lab) -> None:
    """Destroying what is not there touches no kubeconfig, whoever's it is."""
    file = lab.folder / "kubeconfig"
    file.write_text("somebody's")
    try:
        done = strongroom("destroy", "--yes", str(INVENTORY))
        assert done.returncode == 0, done.stderr
        assert done.stdout == "0 changes\n"
        assert file.read_text() == "somebody's"
    finally:
        file.unlink()
