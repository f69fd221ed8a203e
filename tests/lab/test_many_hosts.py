"""A hundred hosts at once: real SSH servers on loopback, each with an address of its own, and one execution for each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.ssh_servers import make_keys, serving

COUNT = 100
pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: the servers need a mount namespace for root's keys"),
    pytest.mark.skipif(shutil.which("dropbear") is None, reason="no dropbear on this machine (dropbear-bin)"),
]


@pytest.fixture(scope="module")
def rack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An inventory of a hundred hosts that answer."""
    folder = tmp_path_factory.mktemp("rack")
    addresses = [f"127.7.0.{number}" for number in range(1, COUNT + 1)]
    make_keys(folder, [f"[{one}]:2200" for one in addresses])
    hosts = [
        (
            f"h{number:03}",
            {
                "ssh_hostname": one,
                "ssh_port": 2200,
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
    with serving(folder, [f"{one}:2200" for one in addresses]):
        yield file


def test_each_host_is_asked_once_and_all_at_the_same_time(rack: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.many_hosts", rack], capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    print(f"{COUNT} hosts: ssh true {found['bare']:.1f} s, preflight {found['preflight']:.1f} s")
    assert found["unread"] == {}
    assert found["executions"] == [1] * COUNT
    assert len(found["checks"]) == COUNT
    assert min(found["checks"]) > 100
