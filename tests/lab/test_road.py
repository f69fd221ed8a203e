"""The whole road on a real host: broken in the middle, applied, applied again, spoiled and mended, and given back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.lab import state
from tests import fingerprint, torture
from tests.torture import INVENTORY, on_host, pyinfra, strongroom

pytestmark = pytest.mark.lab


@pytest.fixture(scope="module")
def bare(road: state.Lab) -> fingerprint.Fingerprint:
    """The host as it was; comes before all else that is done to it."""
    return fingerprint.take(road)


def test_a_bare_host_has_changes_pending(road: state.Lab, bare: fingerprint.Fingerprint) -> None:
    done = strongroom("plan", "--exit-code", str(INVENTORY))
    assert done.returncode == 3, done.stderr
    assert "kubernetes: cp1: start the control plane" in done.stdout


def test_preflight_is_truthful_about_a_host_without_any_tee(road: state.Lab, tmp_path: Path) -> None:
    done = strongroom("preflight", str(INVENTORY), "--output", "json", "--save", str(tmp_path / "saved"))
    assert done.returncode == 0, done.stderr
    (host,) = json.loads(done.stdout)["hosts"]
    assert {platform["state"] for platform in host["platforms"].values()} <= {"absent", "unknown"}
    replayed = strongroom("preflight", str(INVENTORY), "--output", "json", "--replay", str(tmp_path / "saved"))
    assert json.loads(replayed.stdout)["hosts"] == [host]


def test_a_host_key_that_is_not_the_pinned_one_is_refused(road: state.Lab) -> None:
    pinned = road.known_hosts.read_text()
    try:
        # Another key of the same kind: the public key of the lab's own login.
        fields = (
            road.ssh_key.with_suffix(".pub").read_text().split() if road.ssh_key.with_suffix(".pub").exists() else []
        )
        other = fields[1] if fields else "AAAAC3NzaC1lZDI1NTE5AAAAIJqJ5pM0Qm2Y3VxZ0kq0m6y0m3m0bTn5C0wq5o7hZ3aB"
        road.known_hosts.write_text(
            "".join(f"{line.split()[0]} {line.split()[1]} {other}\n" for line in pinned.splitlines())
        )
        done = strongroom("apply", str(INVENTORY))
    finally:
        road.known_hosts.write_text(pinned)
    assert done.returncode == 1
    assert "cp1: cannot connect" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_in_use_stops_everything_before_anything_changes(road: state.Lab) -> None:
    on_host(road, "systemd-run --unit=squatter -q socat TCP-LISTEN:10250,fork SYSTEM:true; sleep 3")
    try:
        done = strongroom("apply", str(INVENTORY))
        assert done.returncode == 4, done.stderr
        assert "cp1: HOST-PORT: port 10250 is in use by socat" in done.stderr
        assert on_host(road, "ls -d /var/lib/strongroom /opt/strongroom 2>/dev/null") == ""
    finally:
        on_host(road, "systemctl stop squatter")


def test_a_full_disk_stops_everything_before_anything_changes(road: state.Lab) -> None:
    on_host(road, "fallocate -l $(($(df -Pk / | sed -n '2s/  */ /gp' | cut -d' ' -f4) - 204800))K /filler; sync")
    try:
        done = strongroom("apply", str(INVENTORY))
        assert done.returncode == 4, done.stderr
        assert "HOST-DISK" in done.stderr
        assert on_host(road, "ls -d /var/lib/strongroom /opt/strongroom 2>/dev/null") == ""
    finally:
        on_host(road, "rm -f /filler")


def test_broken_in_the_middle_it_converges(road: state.Lab) -> None:
    case = torture.choose(1)
    print(case)
    assert torture.breaking(road, case)
    torture.converges(road)


def test_applied_again_nothing_changes_and_the_budget_holds(road: state.Lab) -> None:
    times = "systemctl show containerd kubelet strongroom-pod-routes -p ActiveEnterTimestampMonotonic"
    before = [on_host(road, times, host.name) for host in road.hosts]
    done = strongroom("apply", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["changes"] == []
    assert [on_host(road, times, host.name) for host in road.hosts] == before
    # The operator lock, then at most 2 for each of the 8 phases.
    assert all(count <= 1 + 2 * 8 for count in result["executions"].values()), result["executions"]


def test_the_verdict_is_what_it_is(road: state.Lab) -> None:
    done = strongroom("verify", str(INVENTORY))
    assert done.returncode == 0, done.stderr
    assert "Verdict: NOT CONFIDENTIAL (stand-in)" in done.stdout


def test_status_fits_a_terminal(road: state.Lab) -> None:
    done = strongroom("status", str(INVENTORY))
    assert done.returncode == 0, done.stderr
    assert "Ready" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_the_kubeconfig_is_the_owners_alone_and_never_written_over(road: state.Lab) -> None:
    file = road.folder / "kubeconfig"
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


def test_every_drift_is_named_alone_and_mended(road: state.Lab) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.drift", "--quick"], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    # One host has more than this; fewer would mean that something was passed over.
    counted = [json.loads(line).get("count", 0) for line in done.stdout.splitlines()]
    assert sum(counted) > 45
    on_host(road, "rm /drift.swap")


def test_plain_pyinfra_does_the_same_work(road: state.Lab) -> None:
    on_host(road, "echo '# by hand' >> /etc/sysctl.d/60-strongroom.conf; systemctl disable -q kubelet")
    done = pyinfra()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict: NOT CONFIDENTIAL (stand-in)" in done.stdout + done.stderr
    left = strongroom("plan", "--exit-code", str(INVENTORY))
    assert left.returncode == 0, left.stdout + left.stderr


def test_a_cluster_keeps_the_pod_network_that_it_was_made_with(road: state.Lab, tmp_path: Path) -> None:
    # What an API server says to Cilium's objects is in test_apiserver.py; this is kubeadm's own record of a real cluster.
    file = tmp_path / "cilium.py"
    file.write_text(INVENTORY.read_text().replace('"kubernetes": {', '"kubernetes": {"cni": "cilium", '))
    done = strongroom("plan", str(file))
    assert done.returncode == 1, done.stderr
    assert "found 'cilium', and this cluster was started with no pod subnet" in done.stderr


def test_pods_on_the_runtime_keep_it_from_being_taken_down(road: state.Lab) -> None:
    refused = strongroom("destroy", "--yes", "--phase", "runtime", str(INVENTORY))
    assert refused.returncode == 4, refused.stderr
    assert "pods run on /opt/strongroom" in refused.stderr
    assert on_host(road, "systemctl is-active containerd kubelet") == "active\nactive\n"


def test_the_host_is_given_back(road: state.Lab, bare: fingerprint.Fingerprint) -> None:
    """After all of the above, a power cut and every drift among it."""
    assert torture.given_back(road, {"cp1": bare}) == ""
    assert strongroom("plan", "--destroy", "--exit-code", str(INVENTORY)).returncode == 0
