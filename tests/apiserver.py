"""A real API server on this machine: etcd and kube-apiserver of a bundle, as processes on loopback, in a folder.

What they are started with is what kubeadm would give them (flags: kube-apiserver 1.36, etcd 3.6), less what needs nodes.
There is no controller and no scheduler, so objects are kept and nothing comes of them.
"""

from __future__ import annotations

import datetime
import ipaddress
import json
import socket
import subprocess
import tarfile
import time
from base64 import b64encode
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from strongroom.fetch.bundle import Bundle
from strongroom.kube.client import Api

_SECONDS = 180


@dataclass(frozen=True)
class ApiServer:
    """A running API server: ``host:port``, and a kubeconfig of its administrator."""

    address: str
    kubeconfig: str


def program(bundle: Bundle, component: str, out: Path) -> Path:
    """Take a component's program out of its image: the entry point of the one uncompressed layer that we make."""
    with tarfile.open(bundle.path(bundle.manifest.of(component))) as image:

        def blob(digest: str) -> bytes:
            file = image.extractfile(f"blobs/sha256/{digest.removeprefix('sha256:')}")
            assert file is not None
            return file.read()

        index = image.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        entrypoint = json.loads(blob(manifest["config"]["digest"]))["config"]["Entrypoint"][0]
        (layer,) = manifest["layers"]
        with tarfile.open(fileobj=image.extractfile(f"blobs/sha256/{layer['digest'][7:]}")) as files:
            content = files.extractfile(entrypoint.lstrip("/"))
            assert content is not None
            with out.open("wb") as file:
                while chunk := content.read(1 << 20):
                    file.write(chunk)
    out.chmod(0o755)
    return out


class Authority:
    """A certificate authority for one test, on P-256."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = _name("test-ca")
        self.certificate = self._builder(self.name, self.key.public_key(), ca=True).sign(self.key, hashes.SHA256())

    def _builder(self, subject: x509.Name, key: ec.EllipticCurvePublicKey, *, ca: bool) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.UTC)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self.key.public_key()), critical=False)
        )

    def issue(self, name: str, group: str = "") -> tuple[bytes, bytes]:
        """Certificate and key (PEM) of a user in a group, also good for a server on 127.0.0.1."""
        key = ec.generate_private_key(ec.SECP256R1())
        usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH]
        loopback = [x509.IPAddress(ipaddress.IPv4Address("127.0.0.1"))]
        builder = (
            self._builder(_name(name, group), key.public_key(), ca=False)
            .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
            .add_extension(x509.SubjectAlternativeName(loopback), critical=False)
        )
        return pem(builder.sign(self.key, hashes.SHA256())), private_pem(key)


def _name(name: str, group: str = "") -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.COMMON_NAME, name)]
    return x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, group), *attributes] if group else attributes)


def pem(certificate: x509.Certificate) -> bytes:
    """A certificate as PEM."""
    return certificate.public_bytes(serialization.Encoding.PEM)


def private_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    """A private key as PEM, not encrypted, in SEC 1's form: kube-apiserver takes no other for service accounts."""
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )


def free_ports(count: int) -> list[int]:
    """Ports that nobody listens on now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [int(one.getsockname()[1]) for one in sockets]


@contextmanager
def _process(command: list[str], log: Path) -> Iterator[subprocess.Popen[bytes]]:
    with log.open("wb") as out, subprocess.Popen(command, stdout=out, stderr=out, cwd=log.parent) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()


@contextmanager
def running(bundle: Bundle, folder: Path) -> Iterator[ApiServer]:
    """An API server until the end of the block; its state, keys and logs are below ``folder``.

    Raises:
        RuntimeError: it was not ready within three minutes, or ended; with the end of its log.
    """
    client, peer, secure = free_ports(3)
    authority, account = Authority(), ec.generate_private_key(ec.SECP256R1())
    serving, admin = authority.issue("kube-apiserver"), authority.issue("admin", "system:masters")
    files = {"ca.crt": pem(authority.certificate), "tls.crt": serving[0], "tls.key": serving[1]}
    for name, content in {**files, "account.key": private_pem(account)}.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(0o600)
    store, url = f"http://127.0.0.1:{client}", f"https://127.0.0.1:{secure}"
    etcd = [
        str(program(bundle, "etcd", folder / "etcd")),
        f"--data-dir={folder}/etcd.data", "--unsafe-no-fsync", f"--listen-client-urls={store}",
        f"--advertise-client-urls={store}", f"--listen-peer-urls=http://127.0.0.1:{peer}",
        f"--initial-advertise-peer-urls=http://127.0.0.1:{peer}", f"--initial-cluster=default=http://127.0.0.1:{peer}",
    ]  # fmt: skip
    server = [
        str(program(bundle, "kube-apiserver", folder / "kube-apiserver")),
        f"--etcd-servers={store}", "--bind-address=127.0.0.1", f"--secure-port={secure}", f"--cert-dir={folder}",
        f"--tls-cert-file={folder}/tls.crt", f"--tls-private-key-file={folder}/tls.key",
        f"--client-ca-file={folder}/ca.crt", "--authorization-mode=Node,RBAC",
        "--allow-privileged=true", "--service-cluster-ip-range=10.96.0.0/16",
        f"--service-account-issuer={url}", f"--service-account-key-file={folder}/account.key",
        f"--service-account-signing-key-file={folder}/account.key",
        # It would publish its own address, and a loopback address may not be published.
        "--endpoint-reconciler-type=none",
    ]  # fmt: skip
    kubeconfig = _kubeconfig(url, pem(authority.certificate), *admin)
    with _process(etcd, folder / "etcd.log"), _process(server, folder / "kube-apiserver.log") as process:
        _wait(Api(kubeconfig), process, folder / "kube-apiserver.log")
        yield ApiServer(f"127.0.0.1:{secure}", kubeconfig)


def _wait(api: Api, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + _SECONDS
    while not api.ready():
        if process.poll() is not None or time.monotonic() > end:
            raise RuntimeError("kube-apiserver is not ready: " + "\n".join(log.read_text().splitlines()[-8:]))
        time.sleep(0.3)


def _kubeconfig(url: str, ca: bytes, certificate: bytes, key: bytes) -> str:
    def inline(content: bytes) -> str:
        return b64encode(content).decode()

    user = {"client-certificate-data": inline(certificate), "client-key-data": inline(key)}
    content = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": url, "certificate-authority-data": inline(ca)}}],
        "users": [{"name": "admin", "user": user}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "admin"}}],
        "current-context": "test",
    }
    return yaml.safe_dump(content)
