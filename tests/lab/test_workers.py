"""A control plane host and a worker. `make workers` runs it; an emulated machine of two cores is too slow for both at once."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

import pytest

from strongroom.lab import state, vm
from tests.lab.conftest import own_lab
from tests.torture import HOSTS, INVENTORY, KUBECTL, on_host, pyinfra, strongroom

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def road() -> Iterator[state.Lab]:
    """A cluster of two hosts."""
    yield from own_lab("workers", HOSTS)


def test_a_worker_joins(road: state.Lab) -> None:
    done = strongroom("apply", str(INVENTORY))
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_pod_on_the_worker_is_reached_from_the_other_host(road: state.Lab) -> None:
    pod = "verify-qemu-coco-dev-w1"
    address = on_host(road, f"{KUBECTL} -n strongroom get pod {pod} -o jsonpath='{{.status.podIP}}'")
    assert address.startswith("10.244.12."), address
    assert " 0% packet loss" in on_host(road, f"ping -c 3 -W 10 {address}")
    # The API server's virtual address, which only kube-proxy on the worker itself makes reachable.
    reached = on_host(road, "timeout 20 bash -c 'echo > /dev/tcp/10.96.0.1/443' && echo reached", "w1")
    assert reached == "reached\n"


def test_every_drift_is_named_alone_and_mended(road: state.Lab) -> None:
    done = subprocess.run([sys.executable, "-m", "tests.drift"], capture_output=True, text=True, check=False)
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    # Two hosts have far more than this; fewer would mean that something was passed over.
    counted = [json.loads(line).get("count", 0) for line in done.stdout.splitlines()]
    assert sum(counted) > 120


def test_plain_pyinfra_does_the_same_work(road: state.Lab) -> None:
    on_host(road, f"{KUBECTL} delete node w1; echo '# by hand' >> /etc/sysctl.d/60-strongroom.conf")
    vm.reset(road.name, ["w1"])
    done = pyinfra()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Verdict: NOT CONFIDENTIAL (stand-in)" in done.stdout + done.stderr
    left = strongroom("plan", "--exit-code", str(INVENTORY))
    assert left.returncode == 0, left.stdout + left.stderr
    again = pyinfra()
    assert again.returncode == 0, again.stdout + again.stderr
