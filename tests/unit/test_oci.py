"""Archives and images: structure and digests computed anew here, and equal bytes from equal content."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
import time
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.fetch import oci_image, tarball
from strongroom.fetch.tarball import Member


@pytest.fixture
def program(tmp_path: Path) -> Path:
    path = tmp_path / "program"
    path.write_bytes(b"\x7fELF" + bytes(1000))
    return path


def recipe(program: Path) -> oci_image.Recipe:
    members = (Member("usr/local/bin/etcd", 0o755, path=program), Member("etc/hosts", data=b"127.0.0.1 localhost\n"))
    return oci_image.Recipe("strongroom.dev/lab/etcd:3.6.8-0", "arm64", members, ("/usr/local/bin/etcd",), "1:2")


def read(archive: Path) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {info.name: tar.extractfile(info).read() for info in tar if info.isfile()}  # type: ignore[union-attr]


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    """The blob of a descriptor, which must be of the size and digest that the descriptor says."""
    algorithm, digest = descriptor["digest"].split(":")
    data = files[f"blobs/{algorithm}/{digest}"]
    assert hashlib.sha256(data).hexdigest() == digest
    assert len(data) == descriptor["size"]
    return data


class TestImage:
    """`oci_image.build`."""

    def test_every_digest_and_size_is_right(self, program: Path, tmp_path: Path) -> None:
        out = tmp_path / "i.tar"
        digest = oci_image.build(recipe(program), out)
        files = read(out)
        assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
        index = json.loads(files["index.json"])
        (entry,) = index["manifests"]
        assert entry["digest"] == digest
        assert entry["platform"] == {"architecture": "arm64", "os": "linux"}
        assert entry["annotations"] == {
            "io.containerd.image.name": "strongroom.dev/lab/etcd:3.6.8-0",
            "org.opencontainers.image.ref.name": "3.6.8-0",
        }
        manifest = json.loads(blob(files, entry))
        config = json.loads(blob(files, manifest["config"]))
        (layer,) = manifest["layers"]
        content = blob(files, layer)
        assert config["architecture"] == "arm64"
        assert config["config"]["Entrypoint"] == ["/usr/local/bin/etcd"]
        assert config["config"]["User"] == "1:2"
        assert "/usr/local/bin" in config["config"]["Env"][0]
        assert config["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(content).hexdigest()}"]
        assert len(files) == 5  # layout, index, manifest, config, layer

    def test_its_layer_has_what_programs_expect(self, program: Path, tmp_path: Path) -> None:
        oci_image.build(recipe(program), tmp_path / "i.tar")
        files = read(tmp_path / "i.tar")
        layer = max(files.values(), key=len)
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            infos = {info.name: info for info in tar}
        assert infos["tmp"].isdir()
        assert infos["tmp"].mode == 0o1777
        assert infos["usr/local/bin/etcd"].mode == 0o755
        assert "etc/passwd" in infos
        assert list(infos) == sorted(infos)  # folders come before what they hold

    def test_the_same_recipe_gives_the_same_bytes(self, program: Path, tmp_path: Path) -> None:
        first = oci_image.build(recipe(program), tmp_path / "1")
        os.utime(program, (1, 1))
        program.chmod(0o600)
        time.sleep(1.1)  # a time stamp anywhere would be another second by now
        assert oci_image.build(recipe(program), tmp_path / "2") == first
        assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()

    def test_another_byte_gives_another_digest(self, program: Path, tmp_path: Path) -> None:
        first = oci_image.build(recipe(program), tmp_path / "1")
        program.write_bytes(b"\x7fELF" + bytes(999) + b"\1")
        assert oci_image.build(recipe(program), tmp_path / "2") != first


def pack(path: Path, *members: tuple[str, bytes | str | None], mode: str = "w") -> Path:
    """A tar of (name, bytes or link target or None for a folder); a name ending in @ is a hard link."""
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for name, content in members:
            info = tarfile.TarInfo(name.rstrip("@"))
            info.mode = 0o755
            if isinstance(content, bytes):
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
                continue
            info.type = tarfile.DIRTYPE if content is None else tarfile.LNKTYPE if name[-1] == "@" else tarfile.SYMTYPE
            info.linkname = content or ""
            tar.addfile(info)
    return path


class TestArchives:
    """`tarball.write`, `listing` and `strip_for`."""

    def test_headers_have_no_time_and_no_user(self, program: Path, tmp_path: Path) -> None:
        out = io.BytesIO()
        members = [Member("b/x", 0o755, path=program), Member("a", target="b/x"), Member("c")]
        tarball.write(members, out)
        out.seek(0)
        with tarfile.open(fileobj=out) as tar:
            infos = list(tar)
        assert [info.name for info in infos] == ["a", "b", "b/x", "c"]
        assert {(i.mtime, i.uid, i.gid, i.uname, i.gname) for i in infos} == {(0, 0, 0, "", "")}
        assert infos[0].linkname == "b/x"

    @pytest.mark.parametrize(("dot", "strip"), [("", 2), ("./", 3)])
    def test_a_prefix_is_stripped_as_tar_does(self, tmp_path: Path, dot: str, strip: int) -> None:
        path = pack(
            tmp_path / "k.tar",
            (f"{dot}opt/", None),
            (f"{dot}opt/kata/bin/shim", b"x"),
            (f"{dot}opt/kata/bin/link", "shim"),
            (f"{dot}opt/kata/bin/hard@", f"{dot}opt/kata/bin/shim"),
        )
        assert tarball.strip_for(path, "opt/kata") == strip
        listed = {file.path: file for file in tarball.listing(path, strip)}
        assert list(listed) == ["bin/hard", "bin/link", "bin/shim"]
        assert listed["bin/shim"].sha256 == listed["bin/hard"].sha256 == hashlib.sha256(b"x").hexdigest()
        assert listed["bin/link"].target == "shim"
        # and the real tar agrees
        (tmp_path / "out").mkdir()
        assert os.system(f"tar -C {tmp_path}/out -xf {path} --strip-components={strip}") == 0
        assert (tmp_path / "out/bin/shim").read_bytes() == b"x"

    def test_flat_archives_go_to_their_folder(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "cni.tgz", ("./", None), ("./bridge", b"b"), ("./ptp", b"p"), mode="w:gz")
        assert tarball.strip_for(path, "") == 0
        assert [file.path for file in tarball.listing(path, 0, "bin")] == ["bin/bridge", "bin/ptp"]

    @pytest.mark.parametrize(
        ("members", "told"),
        [
            ([("../up", b"x")], "escapes"),
            ([("a", "/etc/passwd")], "escapes"),
            ([("a/b", "../../../x")], "escapes"),
            ([("a@", "b")], "hard link"),
        ],
    )
    def test_members_that_escape_are_refused(self, tmp_path: Path, members: list[Any], told: str) -> None:
        with pytest.raises(StrongroomError, match=rf"^a\.tar: is no archive to install from: .*{told}"):
            tarball.listing(pack(tmp_path / "a.tar", *members), 0)

    def test_what_lies_beside_the_prefix_is_refused(self, tmp_path: Path) -> None:
        path = pack(tmp_path / "a.tar", ("opt/kata/x", b""), ("etc/cron.d/x", b""))
        with pytest.raises(StrongroomError, match=r"etc/cron\.d/x is not below opt/kata/"):
            tarball.strip_for(path, "opt/kata")
        path = pack(tmp_path / "b.tar", ("opt/kata/x", b""), ("./opt/kata/y", b""))
        with pytest.raises(StrongroomError, match="begin with"):
            tarball.strip_for(path, "opt/kata")

    def test_what_is_no_archive_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "a.tar").write_bytes(b"not a tar" * 1000)
        with pytest.raises(StrongroomError, match=r"a\.tar: is no archive"):
            tarball.listing(tmp_path / "a.tar", 0)

    def test_zstd_needs_its_program(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (tmp_path / "a.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd" + bytes(20))
        monkeypatch.setenv("PATH", str(tmp_path))
        with pytest.raises(StrongroomError, match="zstd is not on the PATH"):
            tarball.listing(tmp_path / "a.tar.zst", 0)
