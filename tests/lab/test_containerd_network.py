"""The bundle's own containerd pulls an image with the files that we lay down: by a mirror of a private CA, and a proxy.

No host: the daemon runs in a folder, and names of registries are known to the proxy alone. CRI takes no part: containerd's
client is told the folder that CRI is told by `config_path`.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from strongroom.phases import network
from tests import bundled, private_ca
from tests.unit.test_network import tunnelling
from tests.unit.test_shims import inventory

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this machine"),
]
ARCH = {"x86_64": "amd64", "aarch64": "arm64"}.get(os.uname().machine, "amd64")
REFERENCE = "registry.example/team/thing:1"


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """containerd and ctr of the bundle."""
    folder = tmp_path_factory.mktemp("programs")
    for name in ("containerd", "ctr"):
        bundled.program("containerd", name, folder)
    return folder


def image() -> dict[str, tuple[str, bytes]]:
    """What a registry has of an image of one file: path -> media type and bytes."""
    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        info = tarfile.TarInfo("hello")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    blobs = [gzip.compress(layer.getvalue(), mtime=0)]
    diff = f"sha256:{hashlib.sha256(layer.getvalue()).hexdigest()}"
    config = {"architecture": ARCH, "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff]}, "config": {}}
    blobs.append(json.dumps(config).encode())
    kinds = ("application/vnd.oci.image.layer.v1.tar+gzip", "application/vnd.oci.image.config.v1+json")
    parts = [
        {"mediaType": kind, "size": len(blob), "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}"}
        for kind, blob in zip(kinds, blobs, strict=True)
    ]
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = json.dumps({"schemaVersion": 2, "mediaType": kind, "config": parts[1], "layers": [parts[0]]}).encode()
    found = {
        f"/blobs/{part['digest']}": (str(part["mediaType"]), blob) for part, blob in zip(parts, blobs, strict=True)
    }
    for name in ("1", f"sha256:{hashlib.sha256(manifest).hexdigest()}"):
        found[f"/manifests/{name}"] = (kind, manifest)
    return found


class Registry(ThreadingHTTPServer):
    """One image below a path of its own, over TLS; notes what it was asked."""

    def __init__(self, below: str, certificate: Path) -> None:
        self.below, self.content, self.asked = below, image(), list[str]()
        super().__init__(("127.0.0.1", 0), _Handler)
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(certificate)
        self.socket = tls.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    def handle_error(self, *_: Any) -> None:
        """A client that doesn't trust us hangs up."""


class _Handler(BaseHTTPRequestHandler):
    server: Registry

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        found = self.server.content.get(path.removeprefix(self.server.below))
        if not path.startswith(self.server.below) or found is None:
            self.send_error(404)
            return
        kind, body = found
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", f"sha256:{hashlib.sha256(body).hexdigest()}")
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[Registry]:
    """At mirror.example, below the path of a Harbor project."""
    _, certificate = private_ca.issue(tmp_path, "mirror.example")
    server = Registry("/v2/project/team/thing", certificate)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def lay_down(folder: Path, settings: dict[str, Any]) -> tuple[Path, dict[str, str]]:
    """Our files below a folder: where hosts.toml lie, and the unit's environment."""
    ours = network.on_host(inventory("qemu", network={**settings, "on_hosts": True}))
    environment: dict[str, str] = {}
    for file in ours.files:
        text = file.content.decode().replace(network.CERTS, f"{folder}{network.CERTS}")
        path = folder / file.path[1:]
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        if file.path == network.DROP_IN:
            environment = dict(line.split("=", 1) for line in re.findall(r'^Environment="(.*)"$', text, re.MULTILINE))
    return folder / network.CERTS[1:], environment


def pull(programs: Path, folder: Path, certs: Path, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Start the daemon in the folder, pull, and stop it."""
    # Names are looked up by nobody but the proxy: a direct way there is not.
    script = """
import subprocess, sys, time
programs, folder, certs, reference = sys.argv[1:]
(config := open(folder + "/config.toml", "w")).write(f'''version = 3
root = "{folder}/root"
state = "{folder}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri", "io.containerd.cri.v1.runtime", "io.containerd.cri.v1.images"]
[grpc]
address = "{folder}/sock"
[ttrpc]
address = "{folder}/ttrpc"
''')
config.close()
daemon = subprocess.Popen([programs + "/containerd", "--config", folder + "/config.toml"], stderr=open(folder + "/log", "w"))
ctr = [programs + "/ctr", "--address", folder + "/sock"]
for _ in range(300):
    if subprocess.run([*ctr, "version"], capture_output=True).returncode == 0:
        break
    time.sleep(0.1)
done = subprocess.run([*ctr, "images", "pull", "--hosts-dir", certs, reference])
listed = subprocess.run([*ctr, "images", "ls", "-q"])
daemon.terminate()
daemon.wait()
sys.exit(done.returncode)
"""
    (folder / "run").mkdir()
    command = ["unshare", "--mount", "--propagation", "private", sys.executable, "-c", script]
    clean = {key: value for key, value in os.environ.items() if "proxy" not in key.lower()}
    return subprocess.run(
        [*command, str(programs), str(folder), str(certs), REFERENCE],
        env={**clean, "PATH": f"{programs}:{os.environ['PATH']}", **environment},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def settings(tmp_path: Path, port: int, proxy: int, *, ca: bool = True) -> dict[str, Any]:
    mirrors = {"registry.example": [f"https://mirror.example:{port}/v2/project"]}
    wanted: dict[str, Any] = {"mirrors": mirrors, "proxy": {"https": f"http://127.0.0.1:{proxy}"}}
    return {**wanted, "ca_file": str(tmp_path / "ca.pem")} if ca else wanted


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's side knows mirror.example."""
    connect = socket.create_connection

    def known(address: tuple[str, int], *rest: Any, **more: Any) -> socket.socket:
        if address[0] == "registry.example":
            raise OSError("nobody is there")
        host = "127.0.0.1" if address[0] == "mirror.example" else address[0]
        return connect((host, address[1]), *rest, **more)

    monkeypatch.setattr(socket, "create_connection", known)


@pytest.mark.usefixtures("names")
def test_it_pulls_by_the_mirror_through_the_proxy_and_trusts_the_ca(
    programs: Path, tmp_path: Path, registry: Registry
) -> None:
    with tunnelling(None) as (proxy, asked):
        certs, environment = lay_down(tmp_path / "host", settings(tmp_path, registry.server_port, proxy))
        (tmp_path / "daemon").mkdir()
        done = pull(programs, tmp_path / "daemon", certs, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert REFERENCE in done.stdout
    assert {line.split()[1] for line in asked} == {f"mirror.example:{registry.server_port}"}
    assert "/v2/project/team/thing/manifests/1" in registry.asked
    assert len([path for path in registry.asked if "/blobs/" in path]) >= 2


@pytest.mark.usefixtures("names")
def test_without_the_ca_it_does_not(programs: Path, tmp_path: Path, registry: Registry) -> None:
    with tunnelling(None) as (proxy, _):
        certs, environment = lay_down(tmp_path / "host", settings(tmp_path, registry.server_port, proxy, ca=False))
        (tmp_path / "daemon").mkdir()
        done = pull(programs, tmp_path / "daemon", certs, environment)
    assert done.returncode != 0
    assert registry.asked == []
