"""Downloads, registry pulls and `bundle create`, against servers on loopback that do what real ones do at times."""

from __future__ import annotations

import datetime
import gzip
import hashlib
import io
import ipaddress
import json
import ssl
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, create, lockfile, registry
from strongroom.fetch.http import Client, RefusedError
from strongroom.model.lock import Lock

DATA = bytes(range(256)) * 5000  # more than one chunk
SHA = hashlib.sha256(DATA).hexdigest()


@dataclass
class Reply:
    """One answer; ``cut`` ends the connection after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None


@dataclass
class Server:
    """Answers by path; a list of answers is given in turn, the last one from then on."""

    url: str
    replies: dict[str, Reply | list[Reply] | Callable[[dict[str, str]], Reply]] = field(default_factory=dict)
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    http: ThreadingHTTPServer | None = None

    def answer(self, path: str, headers: dict[str, str]) -> Reply:
        self.asked.append((path, headers))
        found = self.replies.get(path, Reply(b"no such thing", 404))
        if isinstance(found, list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found if isinstance(found, Reply) else found(headers)

    def paths(self) -> list[str]:
        return [path for path, _ in self.asked]


def serve() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reply = served.answer(self.path, dict(self.headers.items()))
            self.send_response(reply.status)
            for key, value in {"Content-Length": str(len(reply.body)), **reply.headers}.items():
                self.send_header(key, value)
            self.end_headers()
            self.wfile.write(reply.body if reply.cut is None else reply.body[: reply.cut])

        def log_message(self, *_: object) -> None:
            """Quiet."""

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that hangs up on too much is what some tests are about."""

    http = Quiet(("127.0.0.1", 0), Handler)
    served = Server(f"http://127.0.0.1:{http.server_port}", http=http)
    thread = threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    yield served
    http.shutdown()
    http.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from serve()


@pytest.fixture
def other(server: Server) -> Iterator[Server]:
    yield from serve()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(waits: list[float]) -> Client:
    return Client(tries=3, sleep=waits.append, timeout=10)


class TestDownload:
    """`Client.fetch`."""

    def test_good(self, server: Server, client: Client, tmp_path: Path) -> None:
        server.replies["/f"] = Reply(DATA)
        assert client.fetch(f"{server.url}/f", tmp_path / "out", SHA, len(DATA)) == len(DATA)
        assert (tmp_path / "out").read_bytes() == DATA
        assert client.measure(f"{server.url}/f") == (SHA, len(DATA))

    def test_redirects_are_followed_without_the_token(
        self, server: Server, other: Server, client: Client, tmp_path: Path
    ) -> None:
        server.replies["/f"] = Reply(status=307, headers={"Location": f"{other.url}/g"})
        other.replies["/g"] = Reply(DATA)
        client.fetch(f"{server.url}/f", tmp_path / "out", SHA, headers={"Authorization": "Bearer secret"})
        assert server.asked[0][1]["Authorization"] == "Bearer secret"
        assert "Authorization" not in other.asked[0][1]

    def test_a_truncated_answer_is_tried_again(
        self, server: Server, client: Client, waits: list[float], tmp_path: Path
    ) -> None:
        server.replies["/f"] = [Reply(DATA, cut=1000), Reply(b"busy", 503), Reply(DATA)]
        client.fetch(f"{server.url}/f", tmp_path / "out", SHA)
        assert (tmp_path / "out").read_bytes() == DATA
        assert waits == [1, 2]

    @pytest.mark.parametrize(
        ("reply", "told", "times"),
        [
            (Reply(DATA, cut=1000), f"ended after 1000 of {len(DATA)} bytes (3 tries)", 3),
            (Reply(b"busy", 503), "the server answered 503", 3),
            (Reply(b"", 404), "the server answered 404", 1),
            (Reply(b"", 403), "the server answered 403", 1),
            (Reply(DATA[:-1] + b"!"), "its SHA-256 is", 1),
            (Reply(DATA + b"!"), f"is more than the {len(DATA)} bytes", 1),
            (Reply(DATA[:-1]), f"is {len(DATA) - 1} bytes, and the lock wants {len(DATA)}", 1),
        ],
    )
    def test_what_is_refused_leaves_nothing(
        self, server: Server, client: Client, tmp_path: Path, reply: Reply, told: str, times: int
    ) -> None:
        server.replies["/f"] = reply
        with pytest.raises(StrongroomError) as caught:
            client.fetch(f"{server.url}/f", tmp_path / "out", SHA, len(DATA))
        assert told in str(caught.value)
        assert f"{server.url}/f" in str(caught.value)
        assert len(server.asked) == times
        assert list(tmp_path.iterdir()) == []

    def test_a_wrong_sum_keeps_what_was_there(self, server: Server, client: Client, tmp_path: Path) -> None:
        server.replies["/f"] = Reply(b"other")
        (tmp_path / "out").write_bytes(b"old")
        with pytest.raises(StrongroomError, match=hashlib.sha256(b"other").hexdigest()):
            client.fetch(f"{server.url}/f", tmp_path / "out", SHA)
        assert (tmp_path / "out").read_bytes() == b"old"

    def test_nobody_there(self, client: Client, tmp_path: Path, waits: list[float]) -> None:
        with pytest.raises(StrongroomError, match=r"refused \(3 tries\)"):
            client.fetch("http://127.0.0.1:9/f", tmp_path / "out", SHA)
        assert len(waits) == 2

    def test_the_proxy_of_the_environment_is_used(
        self, server: Server, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTP_PROXY", server.url)
        monkeypatch.setenv("http_proxy", server.url)
        server.replies["http://releases.example.org/f"] = Reply(DATA)
        client.fetch("http://releases.example.org/f", tmp_path / "out", SHA)
        assert server.paths() == ["http://releases.example.org/f"]

    def test_a_ca_file_has_to_be_one(self, tmp_path: Path) -> None:
        (tmp_path / "ca.pem").write_text("no certificate")
        for name in ("ca.pem", "none.pem"):
            with pytest.raises(ConfigError, match=f"--ca-file .*{name}"):
                Client(ca_file=tmp_path / name).get("https://127.0.0.1:9/")

    def test_a_small_document_is_small(self, server: Server, client: Client) -> None:
        server.replies["/f"] = Reply(DATA)
        assert client.get(f"{server.url}/f")[0] == DATA
        with pytest.raises(StrongroomError, match="more than 1000 bytes"):
            client.get(f"{server.url}/f", limit=1000)

    def test_https_never_becomes_http(self) -> None:
        import urllib.request
        from email.message import Message

        from strongroom.fetch.http import _SameOrBetter

        request = urllib.request.Request("https://a.example/f")
        with pytest.raises(StrongroomError, match="not https"):
            _SameOrBetter().redirect_request(request, io.BytesIO(), 302, "Found", Message(), "http://b.example/f")


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


@dataclass
class Image:
    """An image of two architectures in a fake registry that wants a token."""

    server: Server
    index: str = ""
    manifests: dict[str, str] = field(default_factory=dict)
    layer: bytes = gzip.compress(b"layer", mtime=0)
    token_seen: int = 0

    @property
    def reference(self) -> str:
        return f"{self.server.url.removeprefix('http://')}/team/pause:3.10"

    def protect(self, body: bytes, media_type: str) -> Callable[[dict[str, str]], Reply]:
        realm = f'Bearer realm="{self.server.url}/token",service="reg",scope="repository:team/pause:pull"'

        def reply(headers: dict[str, str]) -> Reply:
            if headers.get("Authorization") != f"Bearer t{self.token_seen}" or not self.token_seen:
                return Reply(status=401, headers={"WWW-Authenticate": realm})
            return Reply(body, headers={"Content-Type": media_type})

        return reply

    def add(self, kind: str, name: str, body: bytes, media_type: str = "application/octet-stream") -> str:
        self.server.replies[f"/v2/team/pause/{kind}/{name}"] = self.protect(body, media_type)
        return name

    def publish(self) -> None:
        def token(_: dict[str, str]) -> Reply:
            self.token_seen += 1
            return Reply(json.dumps({"token": f"t{self.token_seen}"}).encode())

        self.server.replies["/token?service=reg&scope=repository%3Ateam%2Fpause%3Apull"] = token
        self.add("blobs", digest(self.layer), self.layer)
        entries = []
        for arch in ("amd64", "arm64"):
            config = json.dumps({"architecture": arch, "os": "linux"}).encode()
            self.add("blobs", digest(config), config)
            part: dict[str, Any] = {"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip"}
            manifest = json.dumps(
                {
                    "schemaVersion": 2,
                    "mediaType": "application/vnd.oci.image.manifest.v1+json",
                    "config": {**part, "digest": digest(config), "size": len(config)},
                    "layers": 2 * [{**part, "digest": digest(self.layer), "size": len(self.layer)}],
                }
            ).encode()
            self.manifests[arch] = self.add("manifests", digest(manifest), manifest)
            platform = {"architecture": arch, "os": "linux"}
            entries.append({"digest": digest(manifest), "size": len(manifest), "platform": platform})
        index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
        media_type = "application/vnd.docker.distribution.manifest.list.v2+json"
        self.index = self.add("manifests", digest(index), index, media_type)
        self.add("manifests", "3.10", index, media_type)


@pytest.fixture
def image(server: Server) -> Image:
    made = Image(server)
    made.publish()
    return made


def blobs(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {i.name: tar.extractfile(i).read() for i in tar if i.isfile()}  # type: ignore[union-attr]


class TestRegistry:
    """`registry.pull` and `registry.resolve`."""

    def test_one_architecture_of_an_index(self, image: Image, client: Client, tmp_path: Path) -> None:
        found = registry.pull(image.reference, image.index, "arm64", tmp_path / "i.tar", client)
        assert found == image.manifests["arm64"]
        files = blobs(tmp_path / "i.tar")
        (entry,) = json.loads(files["index.json"])["manifests"]
        assert entry["digest"] == found
        assert entry["annotations"]["io.containerd.image.name"] == image.reference
        manifest = json.loads(files[f"blobs/sha256/{found[7:]}"])
        for part in (manifest["config"], *manifest["layers"]):
            assert digest(files[f"blobs/sha256/{part['digest'][7:]}"]) == part["digest"]
        assert image.token_seen == 1  # one token for all

    def test_a_manifest_by_its_own_digest(self, image: Image, client: Client, tmp_path: Path) -> None:
        wanted = image.manifests["amd64"]
        assert registry.pull(image.reference, wanted, "amd64", tmp_path / "i.tar", client) == wanted
        first = (tmp_path / "i.tar").read_bytes()
        registry.pull(image.reference, wanted, "amd64", tmp_path / "i2.tar", client)
        assert (tmp_path / "i2.tar").read_bytes() == first

    def test_a_tag_resolves_to_the_index(self, image: Image, client: Client) -> None:
        assert registry.resolve(image.reference, client) == image.index

    def test_a_token_that_grew_old_is_renewed(self, image: Image, client: Client) -> None:
        repository, _ = registry.Repository.of(image.reference, client)
        repository.manifest(image.index)
        image.token_seen += 1  # the registry forgets the token
        repository.manifest(image.index)
        assert image.token_seen == 3

    def test_changed_bytes_are_refused(self, image: Image, client: Client, tmp_path: Path) -> None:
        image.add("blobs", digest(image.layer), image.layer[:-1] + b"!")
        with pytest.raises(StrongroomError, match="its SHA-256 is"):
            registry.pull(image.reference, image.index, "amd64", tmp_path / "i.tar", client)
        image.add("manifests", image.manifests["amd64"], b'{"config": {}}')
        with pytest.raises(StrongroomError, match=f"and {image.manifests['amd64']} was asked for"):
            registry.pull(image.reference, image.index, "amd64", tmp_path / "i.tar", client)
        image.add("manifests", image.index, b'{"manifests": []}')
        with pytest.raises(StrongroomError, match=f"and {image.index} was asked for"):
            registry.pull(image.reference, image.index, "amd64", tmp_path / "i.tar", client)
        assert list(tmp_path.iterdir()) == []

    def test_another_architecture_is_refused(self, image: Image, client: Client, tmp_path: Path) -> None:
        with pytest.raises(StrongroomError, match="no image for linux/s390x"):
            registry.pull(image.reference, image.index, "s390x", tmp_path / "i.tar", client)

    @pytest.mark.parametrize(
        ("challenge", "told"),
        [('Basic realm="x"', "asks for Basic"), ("", "asks for no"), ("Bearer", "asks for Bearer")],
    )
    def test_other_authentication_is_refused(self, server: Server, client: Client, challenge: str, told: str) -> None:
        server.replies["/v2/a/b/manifests/1"] = Reply(status=401, headers={"WWW-Authenticate": challenge})
        with pytest.raises(StrongroomError, match=told):
            registry.resolve(f"{server.url.removeprefix('http://')}/a/b:1", client)

    def test_a_token_that_does_not_help_is_refused(self, image: Image, client: Client) -> None:
        image.server.replies["/token?service=reg&scope=repository%3Ateam%2Fpause%3Apull"] = Reply(b'{"token": "no"}')
        with pytest.raises(RefusedError, match="401"):
            registry.resolve(image.reference, client)


def tgz(**files: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"./opt/kata/bin/{name}")
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


KATA = tgz(shim=b"a shim", qemu=b"a vmm")


def entry(component: str, **more: Any) -> dict[str, Any]:
    return {
        "component": component,
        "version": "1.0",
        "arch": "amd64",
        "licence": "Apache-2.0",
        "source": "https://example.org/",
        **more,
    }


@pytest.fixture
def lock(image: Image, tmp_path: Path) -> Path:
    server = image.server
    server.replies["/runc"], server.replies["/kata.tgz"] = Reply(DATA), Reply(KATA)
    sum_of_kata = hashlib.sha256(KATA).hexdigest()
    content = {
        "default": {"kata": "1.0", "pause": "1.0", "runc": "1.0"},
        "artifacts": [
            entry("kata", kind="archive", url=f"{server.url}/kata.tgz", sha256=sum_of_kata, prefix="opt/kata"),
            entry("pause", kind="image", image=image.reference, digest=image.index),
            entry("runc", kind="binary", url=f"{server.url}/runc", sha256=SHA, size=len(DATA)),
        ],
    }
    path = tmp_path / "a.lock"
    path.write_text(lockfile.dump(Lock.model_validate(content)))
    return path


class TestCreate:
    """`bundle create`."""

    def test_a_whole_bundle(self, lock: Path, image: Image, client: Client, tmp_path: Path) -> None:
        made = bundle.verify(create.create(tmp_path / "b", lock, "amd64", {}, client)).manifest
        assert (made.origin, made.arch) == ("upstream", "amd64")
        assert made.of("runc").files[0].path == "bin/runc"
        kata = made.of("kata")
        assert (kata.strip, [file.path for file in kata.files]) == (3, ["bin/qemu", "bin/shim"])
        assert kata.file.endswith(".tgz")
        assert made.of("pause").image == image.reference
        assert made.of("pause").image_digest == image.manifests["amd64"]
        assert sorted(path.name for path in tmp_path.iterdir()) == ["a.lock", "b"]

    def test_in_the_cache_it_is_found_again(
        self, lock: Path, image: Image, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
        made = create.create(None, lock, "amd64", {}, client)
        asked = len(image.server.asked)
        assert create.create(None, lock, "amd64", {}, client) == made
        assert len(image.server.asked) == asked

    @pytest.mark.parametrize("path", ["/runc", "/kata.tgz"])
    def test_one_bad_byte_and_there_is_no_bundle(
        self, lock: Path, image: Image, client: Client, tmp_path: Path, path: str
    ) -> None:
        image.server.replies[path] = Reply(b"!" + DATA[1:])
        with pytest.raises(StrongroomError, match=path):
            create.create(tmp_path / "b", lock, "amd64", {}, client)
        assert [found.name for found in tmp_path.iterdir()] == ["a.lock"]

    def test_it_replaces_nothing(self, lock: Path, client: Client, tmp_path: Path) -> None:
        (tmp_path / "b").mkdir()
        with pytest.raises(StrongroomError, match="there already"):
            create.create(tmp_path / "b", lock, "amd64", {}, client)

    def test_unpinned_is_refused_before_anything_is_asked(self, image: Image, client: Client, tmp_path: Path) -> None:
        image.server.asked.clear()
        with pytest.raises(ConfigError, match=r"artifacts\.lock: \d+ of \d+ artifacts are unpinned"):
            create.create(tmp_path / "b", None, "amd64", {}, client)
        assert image.server.asked == []
        assert list(tmp_path.iterdir()) == []

    def test_update_pins_images_and_files_and_says_what_failed(self, lock: Path, image: Image, client: Client) -> None:
        text = lock.read_text().replace(SHA, "unpinned").replace(image.index, "unpinned")
        lock.write_text(text.replace(hashlib.sha256(KATA).hexdigest(), "unpinned"))
        image.server.replies["/kata.tgz"] = Reply(status=404)
        updated, failed = create.update(lockfile.load(lock), None, (), client)
        kata, pause, runc = updated.artifacts
        assert (runc.sha256, runc.size, pause.digest) == (SHA, len(DATA), image.index)
        assert not kata.pinned
        assert len(failed) == 1
        assert "kata 1.0 amd64: " in failed[0]
        assert "404" in failed[0]


def authority(folder: Path) -> tuple[Path, Path]:
    """A private CA's certificate, and a file with a key and a certificate of it for 127.0.0.1."""
    now = datetime.datetime.now(datetime.UTC)
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(2)]
    names = [x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]) for name in ("a private CA", "server")]
    made = []
    for key, subject, is_ca in ((keys[0], names[0], True), (keys[1], names[1], False)):
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(names[0])
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        )
        made.append(builder.sign(keys[0], hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
    pkcs8, plain = serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ca, both = folder / "ca.pem", folder / "server.pem"
    ca.write_bytes(made[0])
    both.write_bytes(keys[1].private_bytes(serialization.Encoding.PEM, pkcs8, plain) + made[1])
    return ca, both


class TestPrivateCa:
    """A server whose certificate is of a private CA."""

    @pytest.fixture
    def ca(self, tmp_path: Path, server: Server) -> Path:
        """Puts TLS before the server, and returns the CA's certificate."""
        ca, both = authority(tmp_path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(both)
        assert server.http is not None
        server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
        server.url = server.url.replace("http:", "https:")
        server.replies["/f"] = Reply(b"secret")
        return ca

    def test_it_is_refused(self, ca: Path, server: Server, client: Client) -> None:
        with pytest.raises(StrongroomError, match="its certificate is not trusted") as caught:
            client.get(f"{server.url}/f")
        assert "--ca-file" in (caught.value.hint or "")
        assert server.asked == []

    def test_it_is_trusted_by_argument(self, ca: Path, server: Server) -> None:
        assert Client(ca_file=ca).get(f"{server.url}/f")[0] == b"secret"

    def test_it_is_trusted_by_environment(self, ca: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SSL_CERT_FILE", str(ca))
        assert Client().get(f"{server.url}/f")[0] == b"secret"
