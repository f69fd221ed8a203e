"""A hundred hosts at once: real SSH servers on loopback, each with an address of its own, and one execution for each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from strongroom.probe.script import probe_script
from tests.ssh_servers import answering, make_keys, serving

COUNT = 100
PORT = 2200
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: the servers need a mount namespace for root's keys"),
    pytest.mark.skipif(shutil.which("dropbear") is None, reason="no dropbear on this machine (dropbear-bin)"),
]


@contextmanager
def rack(folder: Path) -> Iterator[Path]:
    """An inventory of a hundred hosts that answer."""
    addresses = [f"127.7.0.{number}" for number in range(1, COUNT + 1)]
    make_keys(folder, [f"[{one}]:{PORT}" for one in addresses])
    hosts = [
        (
            f"h{number:03}",
            {
                "ssh_hostname": one,
                "ssh_port": PORT,
                "ssh_user": "root",
                "ssh_key": str(folder / "id"),
                "ssh_known_hosts_file": str(folder / "known_hosts"),
                "ssh_strict_host_key_checking": "yes",
                "ssh_look_for_keys": False,
                "ssh_allow_agent": False,
                "address": f"10.77.0.{number}",
            },
        )
        for number, one in enumerate(addresses, 1)
    ]
    file = folder / "inventory.py"
    file.write_text(
        f"control_plane = {hosts[:1]!r}\nworkers = {hosts[1:]!r}\n"
        "all = (control_plane + workers, {'cluster': {'name': 'rack', 'claim': 'none'}})\n"
    )
    with serving(folder, [f"{one}:{PORT}" for one in addresses]):
        yield file


def ask(inventory: Path) -> dict[str, Any]:
    """What preflight of the rack took and found; every host was asked once."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.many_hosts", inventory], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["unread"] == {}
    assert found["executions"] == [1] * COUNT
    assert len(found["checks"]) == COUNT
    assert min(found["checks"]) > 100
    return found


def test_each_host_is_asked_once_and_all_at_the_same_time(tmp_path: Path) -> None:
    with rack(tmp_path) as inventory:
        found = ask(inventory)
    print(f"{COUNT} hosts on these processors: ssh true {found['bare']:.1f} s, preflight {found['preflight']:.1f} s")


def test_a_rack_whose_hosts_have_processors_of_their_own(tmp_path: Path) -> None:
    # A hundred hosts that share the controller's processors measure the probe a hundred times over. Here each server takes
    # as long as one probe of this machine, to hand out what that one said, and all of them keep to one processor while the
    # controller has another. It stands in for a rack.
    processors = sorted(os.sched_getaffinity(0))
    # Asked before they are there: a hundred listening servers would be in the answer.
    started = time.monotonic()
    said = subprocess.run(["sh", "-s"], input=probe_script(), capture_output=True, text=True, timeout=60, check=True)
    seconds = time.monotonic() - started
    try:
        os.sched_setaffinity(0, processors[-1:])
        with rack(tmp_path) as inventory:
            answering(tmp_path, said.stdout, seconds)
            os.sched_setaffinity(0, processors[:1])
            found = ask(inventory)
    finally:
        os.sched_setaffinity(0, processors)
    print(
        f"{COUNT} hosts that take {seconds:.2f} s each: ssh true {found['bare']:.1f} s, preflight {found['preflight']:.1f} s:"
        f" {found['preflight'] / found['bare']:.2f} times"
    )
