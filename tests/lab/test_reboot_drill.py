"""A reboot over SSH: the server dies with everything on it and comes back with another boot id, and the lock is ours again."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ssh_servers import make_keys

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="not root: the server needs a mount namespace"),
    pytest.mark.skipif(shutil.which("dropbear") is None, reason="no dropbear on this machine (dropbear-bin)"),
]

# One boot after another: a new /run and a new boot id each, in a mount namespace and a process group of its own.
MACHINE = r"""
n=0
while n=$((n+1)); do
    echo "boot-$n" > "$1/boot_id"
    setsid unshare --mount --pid --fork --kill-child sh -c '
        mount --bind "$1/home" /root && mount --bind "$1/boot_id" /proc/sys/kernel/random/boot_id && mount -t tmpfs none /run &&
        exec dropbear -F -E -s -P "$1/pid" -r "$1/host_key" -p 127.7.1.1:2201' sh "$1" 2>/dev/null &
    echo $! > "$1/machine"
    wait
    sleep 8
done
"""


def test_the_engine_sees_a_host_through_its_reboot(tmp_path: Path) -> None:
    make_keys(tmp_path, ["[127.7.1.1]:2201"])
    data = {
        "ssh_hostname": "127.7.1.1", "ssh_port": 2201, "ssh_user": "root", "ssh_key": str(tmp_path / "id"),
        "ssh_known_hosts_file": str(tmp_path / "known_hosts"), "ssh_strict_host_key_checking": "yes", "address": "10.0.0.1",
    }  # fmt: skip
    inventory = tmp_path / "inventory.py"
    inventory.write_text(
        f'control_plane = [("cp1", {data!r})]\ncluster = {{"name": "x", "claim": "none", "host": {{"reboot_timeout_minutes": 2}}}}\n'
        'all = (control_plane, {"cluster": cluster})\n'
    )
    machine = subprocess.Popen(["sh", "-c", MACHINE, "sh", str(tmp_path)], start_new_session=True)
    try:
        # In a PID namespace nothing can kill its first process from within; the drill asks the machine outside.
        order = f"touch {tmp_path}/order"
        killer = subprocess.Popen(
            [
                "sh",
                "-c",
                f"until [ -e {tmp_path}/order ]; do sleep 0.2; done; sleep 2; kill -9 $(cat {tmp_path}/machine)",
            ]
        )
        done = subprocess.run(
            [sys.executable, "-m", "tests.reboot_drill", str(inventory), order],
            capture_output=True, text=True, timeout=240, check=False, cwd=Path(__file__).parents[2],
        )  # fmt: skip
        killer.kill()
    finally:
        os.killpg(machine.pid, signal.SIGTERM)
        subprocess.run(["sh", "-c", f"kill -9 $(cat {tmp_path}/machine)"], check=False, capture_output=True)
        machine.wait()
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["before"], result["after"], result["held"]) == (["boot-1"], ["boot-2"], ["held"])
    assert " since " in result["owner"][0]
