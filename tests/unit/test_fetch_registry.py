"""Pulls from a registry and `bundle create`, against a registry on loopback that wants a token."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, create, lockfile, pinning, registry
from strongroom.fetch.http import Client, RefusedError
from strongroom.model.lock import Lock
from tests.unit.test_chart import fake_helm, objects
from tests.unit.test_fetch import DATA, SHA, Reply, Server, serve


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield from serve()


@pytest.fixture
def client() -> Client:
    return Client(tries=3, sleep=lambda _: None, timeout=10)


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
        assert registry.resolve(image.reference, "amd64", client) == image.index

    @pytest.mark.parametrize(
        ("body", "told"),
        [
            (b"{}", "is text/plain, not an image's manifest"),
            (b'{"manifests": []}', "has no image for linux/amd64"),
            (b'{"manifests": null}', "its manifests are no list of objects"),
            (b'{"manifests": [1]}', "its manifests are no list of objects"),
            (b'{"manifests": [{"platform": null}]}', "has no image for linux/amd64"),
            (b"[" * 100_000, "is no JSON"),
        ],
    )
    def test_what_is_no_image_of_the_architecture_gets_no_pin(
        self, server: Server, client: Client, body: bytes, told: str
    ) -> None:
        kind = "application/vnd.oci.image.index.v1+json" if b"manifests" in body else "text/plain"
        for name in ("1", digest(body)):
            server.replies[f"/v2/a/b/manifests/{name}"] = Reply(body, headers={"Content-Type": kind})
        with pytest.raises(StrongroomError, match=told):
            registry.resolve(f"{server.url.removeprefix('http://')}/a/b:1", "amd64", client)

    @pytest.mark.parametrize("layers", [b"null", b"3", b'["x"]'])
    def test_a_manifest_without_a_list_of_layers_is_refused(
        self, server: Server, client: Client, tmp_path: Path, layers: bytes
    ) -> None:
        body = b'{"config": {}, "layers": %s}' % layers
        kind = {"Content-Type": "application/vnd.oci.image.manifest.v1+json"}
        server.replies[f"/v2/a/b/manifests/{digest(body)}"] = Reply(body, headers=kind)
        reference = f"{server.url.removeprefix('http://')}/a/b:1"
        with pytest.raises(StrongroomError, match="its layers are no list of objects"):
            registry.pull(reference, digest(body), "amd64", tmp_path / "i.tar", client)

    def test_no_file_of_this_machine_is_taken_for_a_token(self, server: Server, client: Client, tmp_path: Path) -> None:
        (tmp_path / "own.json").write_text('{"access_token": "of another service"}')
        realm = f'Bearer realm="file://{tmp_path}/own.json#"'
        server.replies["/v2/a/b/manifests/1"] = Reply(status=401, headers={"WWW-Authenticate": realm})
        with pytest.raises(StrongroomError, match="sends for its token to file://"):
            registry.resolve(f"{server.url.removeprefix('http://')}/a/b:1", "amd64", client)
        assert [headers.get("Authorization") for _, headers in server.asked] == [None]

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
            registry.resolve(f"{server.url.removeprefix('http://')}/a/b:1", "amd64", client)

    def test_a_token_that_does_not_help_is_refused(self, image: Image, client: Client) -> None:
        image.server.replies["/token?service=reg&scope=repository%3Ateam%2Fpause%3Apull"] = Reply(b'{"token": "no"}')
        with pytest.raises(RefusedError, match="401"):
            registry.resolve(image.reference, "amd64", client)


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


CHART = b"a chart, packed"


@pytest.fixture
def charted(lock: Path, image: Image, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A lock with an optional component that is a chart and an image; `helm` is looked for in the test's folder."""
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    server = image.server
    server.replies["/chart.tgz"], server.replies["/kube-apiserver"] = Reply(CHART), Reply(DATA[1:])
    content = lockfile.load(lock).model_dump(mode="json")
    # The fake registry forgets one pull's token when another asks for its own: only one image is pulled.
    content["artifacts"] = [one for one in content["artifacts"] if one["component"] != "pause"]
    del content["default"]["pause"]
    kubernetes = {"url": f"{server.url}/kube-apiserver", "sha256": hashlib.sha256(DATA[1:]).hexdigest()}
    content["artifacts"] += [
        entry("cilium", kind="manifest", url=f"{server.url}/chart.tgz", sha256=hashlib.sha256(CHART).hexdigest()),
        entry("cilium-agent", kind="image", image=image.reference, digest=image.index),
        entry("kube-apiserver", kind="binary", **kubernetes) | {"version": "1.36.3"},
    ]
    content["artifacts"].sort(key=lambda one: str(one["component"]))
    content["default"] = dict(sorted({**content["default"], "kube-apiserver": "1.36.3"}.items()))
    lock.write_text(lockfile.dump(Lock.model_validate(content)))
    return lock


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

    @pytest.mark.parametrize("pack", ["w:xz", "w:gz", "w"])
    def test_some_files_of_an_archive(
        self, lock: Path, image: Image, client: Client, tmp_path: Path, pack: str
    ) -> None:
        firmware = self.firmware(pack, "amd/sev-a.sbin", "amd/sev-b.sbin", "other/huge.bin")
        only = ("amd/sev-a.sbin", "amd/sev-b.sbin")
        self.with_firmware(lock, image, firmware, only)
        made = bundle.verify(create.create(tmp_path / "b", lock, "amd64", {"firmware": "1.0"}, client))
        found = made.manifest.of("firmware")
        assert [(file.path, file.mode) for file in found.files] == [(name, "0644") for name in only]
        assert found.file == "firmware-1.0-amd64.tar"
        assert "2 files of fw-1.0.tar" in found.source
        assert not list((tmp_path / "b").rglob("fw*"))
        for file in found.files:
            assert file.sha256 == hashlib.sha256(file.path.encode()).hexdigest()

    def test_a_file_that_the_archive_has_not_is_named(
        self, lock: Path, image: Image, client: Client, tmp_path: Path
    ) -> None:
        self.with_firmware(lock, image, self.firmware("w:xz", "amd/sev-a.sbin"), ("amd/sev-a.sbin", "amd/sev-c.sbin"))
        with pytest.raises(StrongroomError, match=r"firmware-1\.0\.tar\.xz: has no file fw-1\.0/amd/sev-c\.sbin"):
            create.create(tmp_path / "b", lock, "amd64", {"firmware": "1.0"}, client)
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize("part", [0.2, 0.6, 0.95])
    def test_an_archive_that_was_pinned_when_it_was_cut(
        self, lock: Path, image: Image, client: Client, tmp_path: Path, part: float
    ) -> None:
        names = [f"amd/sev-{number}.sbin" for number in range(200)]
        whole = self.firmware("w:xz", *names)
        self.with_firmware(lock, image, whole[: int(len(whole) * part)], tuple(names))
        with pytest.raises(StrongroomError, match=r"firmware-1\.0\.tar\.xz: (is no archive|has no file)") as caught:
            create.create(tmp_path / "b", lock, "amd64", {"firmware": "1.0"}, client)
        assert "\n" not in str(caught.value)

    @staticmethod
    def firmware(pack: Any, *names: str) -> bytes:
        """Files that have their own names in them."""
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode=pack) as tar:
            for name in names:
                info = tarfile.TarInfo(f"fw-1.0/{name}")
                info.size, info.mode = len(name), 0o644
                tar.addfile(info, io.BytesIO(name.encode()))
        return out.getvalue()

    @staticmethod
    def with_firmware(lock: Path, image: Image, data: bytes, only: tuple[str, ...]) -> None:
        image.server.replies["/fw-1.0.tar.xz"] = Reply(data)
        content = lockfile.load(lock).model_dump(mode="json")
        url, sha256 = f"{image.server.url}/fw-1.0.tar.xz", hashlib.sha256(data).hexdigest()
        content["artifacts"].insert(
            0, entry("firmware", kind="archive", url=url, sha256=sha256, prefix="fw-1.0", only=only)
        )
        lock.write_text(lockfile.dump(Lock.model_validate(content)))

    def test_a_chart_is_verified_rendered_and_not_kept(
        self, charted: Path, image: Image, client: Client, tmp_path: Path
    ) -> None:
        fake_helm(tmp_path, objects(image.reference))
        versions = {"cilium": "1.0", "cilium-agent": "1.0"}
        made = bundle.verify(create.create(tmp_path / "b", charted, "amd64", versions, client))
        cilium = made.manifest.of("cilium")
        assert (cilium.kind, cilium.files) == ("manifest", ())
        assert made.path(cilium).read_text() == objects(image.reference)
        assert "--kube-version 1.36.3 " in (tmp_path / "helm.arguments").read_text()
        assert "/chart.tgz" in image.server.paths()
        assert not [path for path in (tmp_path / "b").rglob("*") if path.suffix == ".tgz" and "kata" not in path.name]

    def test_without_being_asked_for_no_chart_is_taken(
        self, charted: Path, image: Image, client: Client, tmp_path: Path
    ) -> None:
        made = bundle.verify(create.create(tmp_path / "b", charted, "amd64", {}, client))
        assert "cilium" not in [artifact.component for artifact in made.manifest.artifacts]
        assert "/chart.tgz" not in image.server.paths()

    def test_a_chart_needs_helm_before_anything_is_asked(
        self, charted: Path, image: Image, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
        image.server.asked.clear()
        with pytest.raises(StrongroomError, match="helm: not on the PATH"):
            create.create(tmp_path / "b", charted, "amd64", {"cilium": "1.0", "cilium-agent": "1.0"}, client)
        assert image.server.asked == []
        assert not (tmp_path / "b").exists()

    @pytest.mark.parametrize(
        ("spoil", "versions", "told"),
        [
            ("chart", {"cilium": "1.0", "cilium-agent": "1.0"}, "its SHA-256 is"),
            ("", {"cilium": "1.0"}, "cilium 1.0: its manifest names the image .*/team/pause:3\\.10\\.2"),
        ],
    )
    def test_a_changed_chart_or_one_without_its_images_is_no_bundle(
        self,
        charted: Path,
        image: Image,
        client: Client,
        tmp_path: Path,
        spoil: str,
        versions: dict[str, str],
        told: str,
    ) -> None:
        fake_helm(tmp_path, objects(f"{image.reference}.2"))
        if spoil:
            image.server.replies["/chart.tgz"] = Reply(b"!" + CHART[1:])
        with pytest.raises(StrongroomError, match=told):
            create.create(tmp_path / "b", charted, "amd64", versions, client)
        assert not (tmp_path / "b").exists()

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
        updated, failed = pinning.update(lockfile.load(lock), None, (), client)
        kata, pause, runc = updated.artifacts
        assert (runc.sha256, runc.size, pause.digest) == (SHA, len(DATA), image.index)
        assert not kata.pinned
        assert len(failed) == 1
        assert "kata 1.0 amd64: " in failed[0]
        assert "404" in failed[0]
