"""What a host is told at boot comes out again as it went in, and holds no more than it needs."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
from hypothesis import given
from hypothesis import strategies as st

from strongroom.errors import StrongroomError
from strongroom.lab import credentials, keys, qemu, rootfs, ssh
from strongroom.lab.state import Lab, LabHost

HOST = LabHost(
    name="cp1",
    address="10.77.0.11",
    ssh_port=20001,
    api_port=20002,
    memory=2048,
    cpus=2,
    mac_ssh="52:54:00:76:00:0b",
    mac_lan="52:54:00:77:00:0b",
)
OTHER = HOST.model_copy(update={"name": "w1", "address": "10.77.0.12", "mac_lan": "52:54:00:77:00:0c"})


@given(st.from_regex(r"[a-z]+(\.[a-z0-9-]+)*", fullmatch=True), st.text(max_size=2000))
def test_a_credential_comes_out_as_it_went_in(name: str, content: str) -> None:
    assert credentials.parse(credentials.render(name, content)) == (name, content)


@pytest.mark.parametrize("text", ["", "x=YQ==", "io.systemd.credential.binary:=YQ==", "io.systemd.credential.binary:a"])
def test_other_strings_are_no_credentials(text: str) -> None:
    with pytest.raises(ValueError):
        credentials.parse(text)


def test_a_credential_that_smbios_cannot_hold_is_refused() -> None:
    with pytest.raises(StrongroomError, match="credential big"):
        credentials.render("big", "x" * 60_000)


def test_a_host_gets_its_keys_its_neighbours_and_its_networks() -> None:
    host_key, operator = keys.generate(), keys.generate()
    strings = credentials.of_host(HOST, (HOST, OTHER), host_key, operator.public)
    parsed = dict(credentials.parse(text) for text in strings.values())
    assert list(parsed) == ["tmpfiles.extra", "network.network.10-ssh", "network.network.20-lan"] == list(strings)

    placed = {}
    for line in parsed["tmpfiles.extra"].splitlines()[1:]:
        kind, path, mode, user, group, _, content = line.split(" ")
        assert (kind, user, group) == ("f+~", "root", "root")
        placed[path] = (mode, base64.b64decode(content).decode())
    assert placed["/etc/ssh/ssh_host_ed25519_key"] == ("0600", host_key.private)
    assert placed["/root/.ssh/authorized_keys"] == ("0600", f"{operator.public} strongroom-lab\n")
    assert "10.77.0.12 w1\n" in placed["/etc/hosts"][1]
    assert operator.private not in "".join(parsed.values()) + "".join(text for _, text in placed.values())

    assert "MACAddress=52:54:00:77:00:0b\n" in parsed["network.network.20-lan"]
    assert "Address=10.77.0.11/24\n" in parsed["network.network.20-lan"]
    assert "MACAddress=52:54:00:76:00:0b\n" in parsed["network.network.10-ssh"]


def test_keys_are_openssh_keys() -> None:
    pair = keys.generate()
    assert isinstance(load_ssh_private_key(pair.private.encode(), None), Ed25519PrivateKey)
    load_ssh_public_key(pair.public.encode())
    assert keys.load(pair.private).public == pair.public
    assert keys.generate().public != pair.public
    assert "PRIVATE" not in repr(pair)


def lab_in(folder: Path) -> Lab:
    return Lab(
        name="one",
        hosts=(HOST, OTHER),
        ssh_key=folder / "id",
        known_hosts=folder / "known",
        folder=folder,
        rootfs="d/b",
    )


def test_no_secret_is_on_a_command_line_and_hosts_stay_offline(tmp_path: Path) -> None:
    lab = lab_in(tmp_path)
    host_key, operator = keys.generate(), keys.generate()
    lab.host_folder(HOST).mkdir(parents=True)
    (lab.host_folder(HOST) / "host_key").write_text(host_key.private)
    lab.ssh_key.write_text(operator.private)
    strings = qemu.write_credentials(lab, HOST)
    assert all(file.stat().st_mode & 0o077 == 0 for file in strings)
    command = qemu.command(lab, HOST, rootfs.RootFs(tmp_path / "root"), strings)
    text = " ".join(command)
    assert base64.b64encode(host_key.private.encode()).decode() not in text
    assert "restrict=on" in text
    assert "hostfwd=tcp:127.0.0.1:20001-:22" in text
    assert command.count("-smbios") == 3
    assert str(qemu.pid_file(lab, HOST)) in command


def test_a_comma_in_a_path_does_not_end_an_option(tmp_path: Path) -> None:
    lab = lab_in(tmp_path / "a,b")
    command = qemu.command(lab, HOST, rootfs.RootFs(tmp_path), [])
    drive = command[command.index("-drive") + 1]
    assert f"file={tmp_path}/a,,b/hosts/cp1/overlay.qcow2,format=qcow2" in drive


def test_ssh_trusts_the_pinned_key_alone(tmp_path: Path) -> None:
    command = ssh.command(lab_in(tmp_path / "50%"), HOST)
    assert "StrictHostKeyChecking=yes" in command
    assert f'UserKnownHostsFile="{tmp_path}/50%%/known"' in command
    assert command[-1] == "root@127.0.0.1"


def test_a_recipe_has_its_own_digest() -> None:
    recipe = rootfs.Recipe()
    assert recipe.digest == rootfs.Recipe().digest
    for other in (rootfs.Recipe(suite="forky"), rootfs.Recipe(packages=("dbus",)), rootfs.Recipe(customise="true")):
        assert other.digest != recipe.digest


def test_an_overlay_is_not_put_on_another_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = rootfs.folder_of("0123456789abcdef")
    folder.mkdir(parents=True)
    (folder / "build").write_text("first\n")
    identity = rootfs.RootFs(folder).identity
    assert rootfs.of_identity(identity) == rootfs.RootFs(folder)
    (folder / "build").write_text("second\n")
    assert rootfs.of_identity(identity) is None
    assert rootfs.of_identity("gone/first") is None


def test_mounts_inside_a_build_are_seen() -> None:
    mountinfo = (
        "21 1 254:0 / / rw - ext4 /dev/vda rw\n"
        "30 21 0:5 / /cache/.b.building/root/dev rw - devtmpfs x rw\n"
        "31 21 0:6 / /cache/.b.building-not rw - tmpfs x rw\n\n"
    )
    assert rootfs.mounts_under(Path("/cache/.b.building"), mountinfo) == ["/cache/.b.building/root/dev"]
