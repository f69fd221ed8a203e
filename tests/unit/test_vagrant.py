"""Machines of Vagrant: its own words are read, host keys pinned once, and what is missing said in one line.

No machine is started here. Where `vagrant` is installed, the Vagrantfile is validated by it; a small program in its place
plays machines that run.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import paramiko
import pytest

from strongroom import paths
from strongroom.errors import ConfigError
from strongroom.inventory import pins, vagrant
from strongroom.lab import keys
from tests.unit.test_cli import strongroom

FILES = ("Vagrantfile", "vagrant.py", vagrant.SETTINGS)
MACHINES = ("cp1", "w1", "w2")
# As templates/commands/ssh_config/config.erb of Vagrant 2.3.4 prints it, with its blank lines.
SSH_CONFIG = """\
Host {name}
  HostName {address}
  User vagrant
  Port {port}
  UserKnownHostsFile /dev/null
  StrictHostKeyChecking no
  PasswordAuthentication no

  IdentityFile "{folder}/my keys/{name}"

  IdentitiesOnly yes
  LogLevel FATAL

"""
STAND_IN = """\
#!/bin/sh
echo "$*" >> "$0.log"
case $1 in
    status) cat "$0.status" ;;
    ssh-config) cat "$0.ssh-config" ;;
    ssh) cat "$0.keys.$2" ;;
esac
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sample, laid down as a user has it."""
    place = tmp_path / "vms"
    place.mkdir()
    for name in FILES:
        shutil.copy(paths.data("inventories", name), place / name)
    return place


class Playing:
    """A program in Vagrant's place, and the machines that it tells of."""

    def __init__(self, folder: Path, program: Path) -> None:
        self.folder, self.program = folder, program
        program.write_text(STAND_IN)
        program.chmod(0o755)
        self.keys = {name: keys.generate().public for name in MACHINES}
        self.ids = {name: f"id-{name}" for name in MACHINES}
        self.play()

    def play(self, *, states: dict[str, str] | None = None, port: int = 22) -> None:
        states = states or dict.fromkeys(MACHINES, "running")
        lines = [f"179,{name},metadata,provider,libvirt\n179,{name},state,{state}\n" for name, state in states.items()]
        self._beside(
            ".status", "".join(lines) + "179,,ui,info,Current machine states:\\n\\ncp1 running%!(VAGRANT_COMMA) x\n"
        )
        settings = {"folder": self.folder, "port": port}
        self._beside(
            ".ssh-config",
            "".join(
                SSH_CONFIG.format(name=name, address=f"192.168.121.{at}", **settings)
                for at, name in enumerate(MACHINES, 9)
            ),
        )
        for name in MACHINES:
            self._beside(f".keys.{name}", f"{self.keys[name]} root@{name}\r\necdsa-sha2-nistp256 not-a-key x\r\n")
            place = self.folder / ".vagrant" / "machines" / name / "libvirt"
            place.mkdir(parents=True, exist_ok=True)
            (place / "id").write_text(self.ids[name])

    def _beside(self, suffix: str, text: str) -> None:
        self.program.with_name(self.program.name + suffix).write_text(text)

    def asked(self, verb: str) -> int:
        """How often it was called with a verb."""
        return sum(line.split()[0] == verb for line in Path(f"{self.program}.log").read_text().splitlines())


@pytest.fixture
def playing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Playing:
    programs = tmp_path / "bin"
    programs.mkdir()
    monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    monkeypatch.delenv("VAGRANT_DOTFILE_PATH", raising=False)
    return Playing(folder, programs / "vagrant")


def known(groups: dict[str, list[tuple[str, dict[str, Any]]]]) -> paramiko.HostKeys:
    return paramiko.HostKeys(groups["control_plane"][0][1]["ssh_known_hosts_file"])


def test_machines_become_hosts_by_vagrants_own_words(folder: Path, playing: Playing) -> None:
    groups = vagrant.hosts(folder)
    assert [name for name, _ in groups["workers"]] == ["w1", "w2"]
    ((name, data),) = groups["control_plane"]
    assert (name, data) == (
        "cp1",
        {
            "ssh_hostname": "192.168.121.9",
            "ssh_port": 22,
            "ssh_user": "vagrant",
            "ssh_key": f"{folder}/my keys/cp1",
            "ssh_known_hosts_file": str(folder / ".vagrant" / "strongroom.known_hosts"),
            "ssh_strict_host_key_checking": "yes",
            "_sudo": True,
            "address": "192.168.57.11",
        },
    )


def test_keys_are_pinned_once_in_a_form_that_paramiko_reads(folder: Path, playing: Playing) -> None:
    first = vagrant.hosts(folder)
    pinned = known(first).lookup("192.168.121.10")
    assert pinned is not None
    assert f"ssh-ed25519 {pinned['ssh-ed25519'].get_base64()}" == playing.keys["w1"]
    assert list(pinned) == ["ssh-ed25519"]
    file = Path(first["workers"][0][1]["ssh_known_hosts_file"])
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_text()
    playing.keys = {name: keys.generate().public for name in MACHINES}
    playing.play()
    vagrant.hosts(folder)
    assert file.read_text() == before
    assert playing.asked("ssh") == len(MACHINES)


def test_a_machine_that_was_made_again_is_read_again_and_no_other(folder: Path, playing: Playing) -> None:
    vagrant.hosts(folder)
    old, new = playing.keys["w2"], keys.generate().public
    playing.keys["w1"], playing.keys["w2"], playing.ids["w1"] = new, new, "another"
    playing.play()
    text = Path(vagrant.hosts(folder)["workers"][0][1]["ssh_known_hosts_file"]).read_text()
    assert f"192.168.121.10 {new} w1 another\n" in text
    assert f"192.168.121.11 {old} w2 id-w2\n" in text


def test_a_machine_that_moved_keeps_its_keys(folder: Path, playing: Playing) -> None:
    vagrant.hosts(folder)
    playing.play(port=2201)
    moved = known(vagrant.hosts(folder)).lookup("[192.168.121.9]:2201")
    assert moved is not None
    assert f"ssh-ed25519 {moved['ssh-ed25519'].get_base64()}" == playing.keys["cp1"]
    assert playing.asked("ssh") == len(MACHINES)


@pytest.mark.parametrize("text", ["", "bash: no such file", "ssh-ed25519 AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAA"])
def test_a_machine_without_a_key_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="no SSH host key"):
        pins.parse_keys("w1", text)


@pytest.mark.parametrize(
    ("states", "words"),
    [
        ({"cp1": "running", "w1": "shutoff", "w2": "shutoff"}, "vagrant: hosts w1, w2: shutoff, allowed is running"),
        ({"cp1": "running", "w1": "running", "other": "running"}, "vagrant: host w2: unknown to Vagrant"),
    ],
)
def test_machines_that_are_not_up(folder: Path, playing: Playing, states: dict[str, str], words: str) -> None:
    playing.play(states=states)
    with pytest.raises(ConfigError) as caught:
        vagrant.hosts(folder)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.hint == f"in {folder}: vagrant up"


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (
            "echo 'no libvirt' >&2; echo here >&2; exit 1",
            "vagrant status --machine-readable: failed with 1: no libvirt here",
        ),
        ("exit 3", "failed with 3: said nothing"),
        ("[ $1 = status ] && cat $0.status || echo Host x", "hosts cp1, w1, w2: not in what `vagrant ssh-config` says"),
        (
            "[ $1 = status ] && cat $0.status || printf 'Host cp1\\nHost w1\\nHost w2\\n'",
            "does not say hostname, port, user",
        ),
        (
            "[ $1 = status ] && cat $0.status || sed 's/LogLevel.*/ProxyCommand ssh x/' $0.ssh-config",
            "reached through ProxyCommand",
        ),
        ("[ $1 = status ] && cat $0.status || sed 's/Port.*/Port x/' $0.ssh-config", "found port 'x'"),
    ],
)
def test_a_vagrant_that_fails_or_says_too_little(folder: Path, playing: Playing, body: str, words: str) -> None:
    playing.program.write_text(f"#!/bin/sh\n{body}\n")
    with pytest.raises(ConfigError) as caught:
        vagrant.hosts(folder)
    assert words in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_machine_without_an_id_is_refused(folder: Path, playing: Playing) -> None:
    (folder / ".vagrant/machines/w1/libvirt/id").unlink()
    with pytest.raises(ConfigError, match="w1: found 0 ids"):
        vagrant.hosts(folder)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (
            "group: workers",
            "group: wokers",
            "w1: group: found 'wokers', allowed is 'control_plane' or 'workers'; did you mean",
        ),
        ("memory: 8192", "memry: 8192", "w1: memry: unknown key"),
        ("tpm: false", "tpm: true", "tpm with uefi"),
        ("cpus: 4", "cpus: many", "cpus: found 'many'"),
        ("defaults:", "default:", "allowed are the keys defaults and hosts"),
        ("{address: 192.168.57.11, group: control_plane}", "[1]", "cp1: found [1]"),
        ("  cpus: 2", "  # cpus: 2", "cp1: cpus: missing; it says how many CPUs it has"),
    ],
)
def test_wrong_settings_are_named(folder: Path, old: str, new: str, words: str) -> None:
    file = folder / vagrant.SETTINGS
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError) as caught:
        vagrant.settings(file)
    assert words in str(caught.value)
    assert str(file) in str(caught.value)


@pytest.mark.parametrize("text", ["defaults:\nhosts: [cp1, w1]\n", "defaults: [cp1, w1]\nhosts:\n"])
def test_a_list_in_place_of_keys_is_named(tmp_path: Path, text: str) -> None:
    file = tmp_path / vagrant.SETTINGS
    file.write_text(text)
    with pytest.raises(ConfigError, match=rf"^{file}: (hosts|defaults): found \['cp1', 'w1'\], allowed are keys$"):
        vagrant.settings(file)


def test_the_command_says_it_in_one_line(
    folder: Path, tmp_path: Path, playing: Playing, monkeypatch: pytest.MonkeyPatch
) -> None:
    playing.play(states=dict.fromkeys(MACHINES, "poweroff"))
    done = strongroom("plan", folder / "vagrant.py")
    assert done.returncode == 2
    assert "strongroom: vagrant: hosts cp1, w1, w2: poweroff, allowed is running\n" in done.stderr
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    done = strongroom("plan", folder / "vagrant.py")
    assert done.returncode == 2
    assert "strongroom: vagrant: no such program on the PATH\n" in done.stderr


# ── By Vagrant itself ──

needs_vagrant = pytest.mark.skipif(
    shutil.which("vagrant") is None,
    reason="no vagrant on the PATH (tools/system-packages.sh installs it where apt has it)",
)


@pytest.fixture
def real(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("VAGRANT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("VAGRANT_CHECKPOINT_DISABLE", "1")
    for name in ("VAGRANT_DEFAULT_PROVIDER", "VAGRANT_DOTFILE_PATH", "VAGRANT_CWD"):
        monkeypatch.delenv(name, raising=False)
    return folder


def by_vagrant(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = ["vagrant", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=600, check=False)


def has_libvirt(folder: Path) -> bool:
    return "vagrant-libvirt" in by_vagrant(folder, "plugin", "list").stdout


@needs_vagrant
def test_vagrant_validates_the_vagrantfile(real: Path) -> None:
    # Without the plugin Vagrant cannot look into the provider's settings, and validates the rest.
    options = [] if has_libvirt(real) else ["--ignore-provider"]
    done = by_vagrant(real, "validate", *options)
    assert done.returncode == 0, done.stderr
    settings = real / vagrant.SETTINGS
    settings.write_text(settings.read_text().replace("uefi: false", "uefi: true").replace("tpm: false", "tpm: true"))
    done = by_vagrant(real, "validate", *options)
    assert done.returncode == 0, done.stderr


@needs_vagrant
def test_vagrant_refuses_a_wrong_vagrantfile(real: Path) -> None:
    file = real / "Vagrantfile"
    libvirt = has_libvirt(real)
    old, new = ("libvirt.tpm_model", "libvirt.tpm_modle") if libvirt else ("machine.vm.box", "machine.vm.bax")
    file.write_text(file.read_text().replace(old, new))
    settings = real / vagrant.SETTINGS
    settings.write_text(settings.read_text().replace("tpm: false", "tpm: true"))
    assert by_vagrant(real, "validate", *([] if libvirt else ["--ignore-provider"])).returncode != 0


@needs_vagrant
def test_machines_that_were_never_made(real: Path) -> None:
    if not has_libvirt(real):
        pytest.skip("vagrant has no plugin vagrant-libvirt: it knows no state of such machines")
    done = strongroom("plan", real / "vagrant.py")
    assert done.returncode == 2
    assert "strongroom: vagrant: hosts cp1, w1, w2: not_created, allowed is running\n" in done.stderr
