"""The whole road on a real host: broken in the middle, applied, applied again, spoiled, mended, taken down."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.lab import state, vm
from tests import torture
from tests.torture import INVENTORY, on_host, strongroom

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def lab() -> Iterator[state.Lab]:
    """A lab of its own: its own state, the shared cache."""
    folder = tempfile.mkdtemp(prefix="sr-")
    before = {name: os.environ.get(name) for name in ("XDG_STATE_HOME", "STRONGROOM_LAB")}
    os.environ.update(XDG_STATE_HOME=folder, STRONGROOM_LAB="road")
    try:
        yield vm.up("road")
    finally:
        vm.down("road")
        left = [
            path
            for path in Path(folder).rglob("*")
            if path.is_file() and path.name != ".lock" and path.suffix != ".lock"
        ]
        shutil.rmtree(folder)
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
        assert left == [], "down left files behind"


def pending(lab: state.Lab) -> list[tuple[str, str | None]]:
    """Resource and cause of every step that plan lists."""
    done = strongroom("plan", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, done.stderr
    return [(change["resource"], change["because"]) for change in json.loads(done.stdout)["changes"]]


def test_a_bare_host_has_changes_pending(lab: state.Lab) -> None:
    done = strongroom("plan", "--exit-code", str(INVENTORY))
    assert done.returncode == 3, done.stderr
    assert "kubernetes: cp1: start the control plane" in done.stdout


def test_a_host_key_that_is_not_the_pinned_one_is_refused(lab: state.Lab) -> None:
    pinned = lab.known_hosts.read_text()
    try:
        # Another key of the same kind: the public key of the lab's own login.
        fields = lab.ssh_key.with_suffix(".pub").read_text().split() if lab.ssh_key.with_suffix(".pub").exists() else []
        other = fields[1] if fields else "AAAAC3NzaC1lZDI1NTE5AAAAIJqJ5pM0Qm2Y3VxZ0kq0m6y0m3m0bTn5C0wq5o7hZ3aB"
        lab.known_hosts.write_text(
            "".join(f"{line.split()[0]} {line.split()[1]} {other}\n" for line in pinned.splitlines())
        )
        done = strongroom("apply", str(INVENTORY))
    finally:
        lab.known_hosts.write_text(pinned)
    assert done.returncode == 1
    assert "cp1: cannot connect" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_stops_everything_before_anything_changes(lab: state.Lab) -> None:
    on_host(lab, "systemd-run --unit=squatter -q socat TCP-LISTEN:10250,fork SYSTEM:true; sleep 3")
    try:
        done = strongroom("apply", str(INVENTORY))
        assert done.returncode == 4, done.stderr
        assert "cp1: HOST-PORT: port 10250 is in use by socat" in done.stderr
        assert on_host(lab, "ls -d /var/lib/strongroom /opt/strongroom 2>/dev/null") == ""
    finally:
        on_host(lab, "systemctl stop squatter")


def test_a_full_disk_stops_everything_before_anything_changes(lab: state.Lab) -> None:
    on_host(lab, "fallocate -l $(($(df -Pk / | sed -n '2s/  */ /gp' | cut -d' ' -f4) - 204800))K /filler; sync")
    try:
        done = strongroom("apply", str(INVENTORY))
        assert done.returncode == 4, done.stderr
        assert "HOST-DISK" in done.stderr
        assert on_host(lab, "ls -d /var/lib/strongroom /opt/strongroom 2>/dev/null") == ""
    finally:
        on_host(lab, "rm -f /filler")


def test_broken_in_the_middle_it_converges(lab: state.Lab) -> None:
    case = torture.choose(1)
    print(case)
    assert torture.breaking(lab, case)
    torture.converges(lab)


def test_applied_again_nothing_changes_and_the_budget_holds(lab: state.Lab) -> None:
    times = "systemctl show containerd kubelet -p ActiveEnterTimestampMonotonic"
    before = on_host(lab, times)
    done = strongroom("apply", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["changes"] == []
    assert on_host(lab, times) == before
    # The operator lock, then at most 2 for each of the 7 phases.
    assert result["executions"]["cp1"] <= 1 + 2 * 7


def test_the_verdict_is_what_it_is(lab: state.Lab) -> None:
    done = strongroom("verify", str(INVENTORY))
    assert done.returncode == 0, done.stderr
    assert "Verdict: NOT CONFIDENTIAL (stand-in)" in done.stdout


def test_status_fits_a_terminal(lab: state.Lab) -> None:
    done = strongroom("status", str(INVENTORY))
    assert done.returncode == 0, done.stderr
    assert "Ready" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_kubeconfig_is_the_owners_alone_and_never_written_over(lab: state.Lab) -> None:
    file = lab.folder / "kubeconfig"
    assert file.stat().st_mode & 0o777 == 0o600
    good = file.read_text()
    file.write_text("mine")
    try:
        done = strongroom("apply", "--phase", "kubeconfig", str(INVENTORY))
        assert done.returncode == 1
        assert "stays as it is" in done.stderr
        assert file.read_text() == "mine"
    finally:
        file.write_text(good)


DRIFTS = [
    ("echo x >> /etc/sysctl.d/60-strongroom.conf", "file /etc/sysctl.d/60-strongroom.conf"),
    ("chmod 0600 /etc/modules-load.d/strongroom.conf", "file /etc/modules-load.d/strongroom.conf"),
    ("echo '# x' >> /etc/containerd/conf.d/10-strongroom.toml", "file /etc/containerd/conf.d/10-strongroom.toml"),
    ("echo '# x' >> /etc/systemd/system/kubelet.service", "file /etc/systemd/system/kubelet.service"),
    ("sysctl -qw fs.inotify.max_user_instances=1024", "sysctl fs.inotify.max_user_instances"),
    ("systemctl disable -q kubelet", "unit kubelet.service"),
    ("systemctl stop strongroom-pod-routes", "unit strongroom-pod-routes.service"),
    ("ln -sfn /bin/false /usr/local/bin/kubeadm", "link /usr/local/bin/kubeadm"),
    ("echo x >> $(readlink -f /opt/cni/bin/portmap)", "component cni-plugins 1.9.1"),
    (
        "KUBECONFIG=/etc/kubernetes/admin.conf kubectl label node cp1 strongroom.dev/runtime=false --overwrite",
        "Node cp1",
    ),
]


def test_every_drift_is_named_alone_and_mended(lab: state.Lab) -> None:
    for command, resource in DRIFTS:
        on_host(lab, command)
        found = pending(lab)
        own = [key for key, because in found if because is None]
        assert own == [resource], f"after {command}: {found}"
        done = strongroom("apply", "--skip-phase", "verify", str(INVENTORY))
        assert done.returncode == 0, done.stderr
    assert pending(lab) == []


def test_a_cluster_keeps_the_pod_network_that_it_was_made_with(lab: state.Lab, tmp_path: Path) -> None:
    # What an API server says to Cilium's objects is in test_apiserver.py; this is kubeadm's own record of a real cluster.
    file = tmp_path / "cilium.py"
    file.write_text(INVENTORY.read_text().replace('"kubernetes": {', '"kubernetes": {"cni": "cilium", '))
    done = strongroom("plan", str(file))
    assert done.returncode == 1, done.stderr
    assert "found 'cilium', and this cluster was started with no pod subnet" in done.stderr
    assert pending(lab) == []
