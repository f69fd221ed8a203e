"""Real virtual machines: they start, reach each other, survive a power cut, and leave nothing behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.lab import accel, keys, ports, processes, qemu, rootfs, ssh, state, status, switch, tools, vm
from strongroom.lab.state import Lab

pytestmark = pytest.mark.lab

NAME = "test-vm"


@pytest.fixture(scope="module")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of its own, with the user's cache: the root file system takes minutes to build."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(folder))
        patch.delenv(state.SETTING, raising=False)
        yield folder


@pytest.fixture(scope="module")
def lab(state_home: Path) -> Iterator[Lab]:
    """Two hosts that run; the test of `down` ends them."""
    try:
        yield vm.up(NAME, ["cp1", "w1"], memory=1024)
    finally:
        vm.down(NAME)


def on(lab: Lab, host: str, script: str) -> str:
    """What a script on a host prints; it has to succeed."""
    done = ssh.run(lab, lab.host(host), script)
    assert done.returncode == 0, done.stderr
    return done.stdout


def processes_of(folder: Path) -> list[str]:
    """Command lines that name the folder; a zombie has none."""
    found = [processes.command_line(int(entry.name)) for entry in Path("/proc").iterdir() if entry.name.isdecimal()]
    return [" ".join(line) for line in found if any(str(folder) in argument for argument in line)]


def mounts_of(folder: Path) -> list[str]:
    return [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(folder) in line]


def test_an_up_that_was_killed_is_continued(state_home: Path) -> None:
    rootfs.ensure()
    script = f"from strongroom.lab import vm; vm.up({NAME!r}, ['cp1', 'w1'], memory=1024)"
    killed = subprocess.Popen([sys.executable, "-c", script], stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not (state.exists(NAME) and qemu.running(state.load(NAME), first(NAME))):
            time.sleep(0.01)
    finally:
        killed.send_signal(signal.SIGKILL)
        killed.wait()
    before = state.load(NAME)
    pid = qemu.running(before, before.hosts[0])
    lab = vm.up(NAME)
    assert lab == before
    assert qemu.running(lab, lab.hosts[0]) == pid, "the host that ran already was left alone"
    assert len([line for line in processes_of(lab.folder) if qemu.PROGRAM in line]) == 2


def first(name: str) -> state.LabHost:
    return state.load(name).hosts[0]


def test_hosts_are_what_the_lab_says(lab: Lab) -> None:
    for host in lab.hosts:
        told = on(lab, host.name, "hostname; ip -o -4 address show eth1; nproc; cat /proc/cmdline; cat /etc/machine-id")
        assert told.startswith(f"{host.name}\n")
        assert f" {host.address}/24 " in told
        assert f"systemd.hostname={host.name}" in told
    ids = {on(lab, host.name, "cat /etc/machine-id /sys/class/dmi/id/product_uuid") for host in lab.hosts}
    assert len(ids) == 2, "no two hosts are the same machine"
    assert on(lab, "cp1", "systemctl is-system-running --wait || systemctl --failed") == "running\n"
    assert int(on(lab, "cp1", "df --output=size -BG / | tail -n 1").strip(" G\n")) >= 19, "it grew to its disk"


def test_hosts_reach_each_other_and_nothing_else(lab: Lab) -> None:
    assert " 0% packet loss" in on(lab, "cp1", "ping -c 3 -W 10 w1")
    assert " 0% packet loss" in on(lab, "w1", "ping -c 3 -W 10 10.77.0.11")
    # A port of this machine that surely listens: the forwarded SSH port of the other host.
    port = lab.host("w1").ssh_port
    blocked = ssh.run(lab, lab.host("cp1"), f"timeout 5 bash -c 'echo > /dev/tcp/10.0.2.2/{port}'")
    assert blocked.returncode != 0


def test_the_image_holds_no_key_but_the_labs_own(lab: Lab) -> None:
    files = on(lab, "cp1", "ls /etc/ssh/ssh_host_* /root/.ssh; cut -d: -f2 /etc/shadow | grep '^\\$' || true; ls /boot")
    assert files.split()[:2] == ["/etc/ssh/ssh_host_ed25519_key", "/etc/ssh/ssh_host_ed25519_key.pub"]
    assert "id_" not in files
    assert "$" not in files
    assert "config-" in files


def test_another_host_key_is_refused(lab: Lab, tmp_path: Path) -> None:
    host = lab.host("cp1")
    wrong = tmp_path / "known_hosts"
    wrong.write_text(ssh.known_hosts([(host.ssh_port, keys.generate().public)]))
    refused = ssh.run(lab.model_copy(update={"known_hosts": wrong}), host, "true")
    assert refused.returncode == 255
    assert "Host key verification failed" in refused.stderr
    wrong.write_text("")
    assert ssh.run(lab.model_copy(update={"known_hosts": wrong}), host, "true").returncode == 255
    assert on(lab, "cp1", "echo in") == "in\n"


def test_the_command_line_logs_in_and_tells_the_state(lab: Lab) -> None:
    program = [sys.executable, "-c", "from strongroom.cli.lab import app; app()"]
    done = subprocess.run([*program, "ssh", "--name", NAME, "w1", "--", "hostname"], capture_output=True, text=True)
    assert done.stdout == "w1\n", done.stderr
    done = subprocess.run([*program, "ssh", "--name", NAME, "--", "hostname"], capture_output=True, text=True)
    assert done.stdout == "cp1\n", done.stderr
    narrow = {**os.environ, "COLUMNS": "80"}
    done = subprocess.run([*program, "status", "--name", NAME], capture_output=True, text=True, env=narrow)
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["host", "cp1", "w1"]
    assert all(len(line) <= 80 for line in done.stdout.splitlines())
    done = subprocess.run([*program, "status", "--name", NAME, "--output", "json"], capture_output=True, text=True)
    assert [host["state"] for host in json.loads(done.stdout)["hosts"]] == ["up", "up"]


def test_a_power_cut_keeps_what_was_synced(lab: Lab) -> None:
    boot = on(lab, "cp1", "cat /proc/sys/kernel/random/boot_id")
    on(
        lab,
        "cp1",
        "head -c 3000000 /dev/urandom > /srv/kept; sync /srv/kept; sync -f /srv; sha256sum /srv/kept > /srv/sum; sync",
    )
    other = qemu.running(lab, lab.host("w1"))
    vm.power_off(lab, "cp1")
    assert [host.state for host in status.of(lab)] == ["off", "up"]
    vm.power_on(lab, "cp1")
    assert on(lab, "cp1", "sha256sum --check --status /srv/sum && echo whole") == "whole\n"
    assert on(lab, "cp1", "cat /proc/sys/kernel/random/boot_id") != boot
    assert qemu.running(lab, lab.host("w1")) == other, "the other host noticed nothing"
    assert " 0% packet loss" in on(lab, "cp1", "ping -c 2 -W 10 w1")


def test_a_reset_gives_a_fresh_disk_with_the_same_keys(lab: Lab) -> None:
    on(lab, "cp1", "echo x > /srv/gone; sync")
    again = vm.reset(NAME, ["cp1"])
    assert again == lab
    assert on(lab, "cp1", "test ! -e /srv/gone && echo fresh") == "fresh\n"


def test_a_host_that_dies_early_is_named_with_its_last_words(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    vm.power_off(lab, "w1")
    monkeypatch.setattr(qemu, "machine", lambda *rest, **named: ["-no-such-option"])
    with pytest.raises(StrongroomError, match=r"w1: QEMU ended early\n  qemu\.log: .*no-such-option"):
        vm.power_on(lab, "w1")


def test_hosts_are_plugged_into_a_new_switch_when_theirs_has_ended(lab: Lab) -> None:
    assert processes.end(switch.PROGRAM, switch.pid_file(lab))
    assert vm.up(NAME) == lab
    assert " 0% packet loss" in on(lab, "cp1", "ping -c 3 -W 10 w1")


def test_down_leaves_no_process_no_mount_and_no_file(lab: Lab, state_home: Path) -> None:
    assert any(switch.PROGRAM in line for line in processes_of(lab.folder))
    promised = [port for host in lab.hosts for port in (host.ssh_port, host.api_port)]
    assert vm.down(NAME)
    assert processes_of(state_home) == []
    assert mounts_of(state_home) == []
    assert [path for path in state_home.rglob("*") if not path.is_dir()] == []
    assert not state.labs_folder().exists()
    assert not lab.socket_folder.exists()
    assert all(ports.is_free(port) for port in promised)
    assert rootfs.ensure().folder.is_relative_to(paths.cache_dir())
    assert not vm.down(NAME), "once more is nothing"


def test_a_trial_boot_reaches_user_space() -> None:
    """With TCG, which works wherever QEMU does: what makes the trial of KVM say yes is really there."""
    tools.check()
    works, seen = accel.trial(rootfs.ensure(), "tcg", seconds=120)
    assert works, seen
