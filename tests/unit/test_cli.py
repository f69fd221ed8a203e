"""What a user gets for bad input: one line that names it, the designed exit code, no traceback, nothing connected."""

from __future__ import annotations

import hashlib
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.fetch.bundle import write_manifest
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest

STRONGROOM = Path(sys.executable).with_name("strongroom")
INVENTORY = """\
control_plane = [("cp1", {{"ssh_hostname": "127.0.0.1", "ssh_port": {port}, "ssh_user": "root",
                          "ssh_known_hosts_file": "/dev/null", "ssh_strict_host_key_checking": "yes",
                          "address": "10.0.0.1"{host}}})]
cluster = {{"name": "x", "claim": "none", "bundle": "{bundle}"{cluster}}}
all = (control_plane, {{"cluster": cluster}})
"""


def strongroom(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([STRONGROOM, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    content = b"a program"
    digest = hashlib.sha256(content).hexdigest()
    artifact = Artifact(
        component="runc",
        version="1",
        arch="amd64",
        kind="binary",
        file="runc",
        size=len(content),
        sha256=digest,
        licence="Apache-2.0",
        source="https://example.org",
        files=(BundledFile(path="bin/runc", sha256=digest, mode="0755"),),
    )
    folder = tmp_path / "bundle"
    (folder / "artifacts").mkdir(parents=True)
    (folder / "artifacts" / "runc").write_bytes(content)
    write_manifest(
        BundleManifest(arch="amd64", origin="upstream", digest=f"sha256:{digest}", artifacts=(artifact,)), folder
    )
    return folder


def inventory(tmp_path: Path, bundle: Path, *, port: int = 1, host: str = "", cluster: str = "") -> Path:
    file = tmp_path / "inventory.py"
    file.write_text(INVENTORY.format(port=port, bundle=bundle, host=host, cluster=cluster))
    return file


def test_an_unknown_key(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("apply", inventory(tmp_path, bundle, cluster=', "kuberntes": {}'))
    assert done.returncode == 2
    assert "cluster: kuberntes: unknown key" in done.stderr
    assert "did you mean 'kubernetes'" in done.stderr


def test_an_unreachable_host(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("apply", inventory(tmp_path, bundle, port=free_port()))
    assert done.returncode == 1
    assert "strongroom: cp1: cannot connect:" in done.stderr


def test_a_flipped_byte_in_the_bundle_stops_before_anything_connects(tmp_path: Path, bundle: Path) -> None:
    file = bundle / "artifacts" / "runc"
    file.write_bytes(b"A" + file.read_bytes()[1:])
    done = strongroom("apply", inventory(tmp_path, bundle, port=free_port()))
    assert done.returncode == 1
    assert str(file) in done.stderr
    assert "cannot connect" not in done.stderr


def test_no_bundle(tmp_path: Path, bundle: Path) -> None:
    done = strongroom("plan", inventory(tmp_path, tmp_path / "nothing"))
    assert done.returncode == 1
    assert "nothing/bundle.json" in done.stderr


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("control_plane = [", "SyntaxError|never closed"),
        ("x = 1 / 0", ":1: ZeroDivisionError"),
        ("", "allowed is a dict"),
    ],
)
def test_an_inventory_that_cannot_be_read(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "inventory.py"
    file.write_text(text)
    done = strongroom("plan", file)
    assert done.returncode == 2
    assert any(word in done.stderr for word in words.split("|"))


def test_no_inventory_and_no_such_phase(tmp_path: Path, bundle: Path) -> None:
    assert strongroom("plan", tmp_path / "none.py").returncode == 2
    assert strongroom("plan").returncode == 2
    assert strongroom("nonsense").returncode == 2
    assert strongroom("--version").returncode == 0


def test_init_writes_a_valid_sample_once(tmp_path: Path, bundle: Path) -> None:
    file = tmp_path / "mine.py"
    assert strongroom("init", file).returncode == 0
    before = file.read_text()
    again = strongroom("init", file)
    assert again.returncode == 2
    assert "stays as it is" in again.stderr
    assert file.read_text() == before
    done = strongroom("render", file, "nobody", "--bundle", bundle)
    assert done.returncode == 2
    assert "allowed are cp1, w1, w2" in done.stderr
