"""What sums can't say: that an archive is whole as listed, and that programs and images are of the bundle's architecture."""

from __future__ import annotations

import gzip
import io
import struct
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from strongroom.cli.bundle import app
from strongroom.errors import StrongroomError
from strongroom.fetch import bundle, contents, oci_image, tarball
from strongroom.fetch.go_toolchain import machine_arch
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import BundleManifest


def elf(number: int, order: str = "<", more: bytes = b"") -> bytes:
    """The header of a 64-bit executable for an e_machine, by the System V ABI."""
    ident = b"\x7fELF" + bytes([2, 1 if order == "<" else 2, 1]) + b"\0" * 9
    return ident + struct.pack(f"{order}HHI", 2, number, 1) + b"\0" * 40 + more


AMD64, ARM64 = elf(62), elf(183)


class Maker:
    """A folder that becomes a bundle."""

    def __init__(self, folder: Path, arch: str = "amd64") -> None:
        self.folder, self.arch = folder, arch
        self.artifacts: list[dict[str, Any]] = []
        (folder / "artifacts").mkdir(parents=True)

    def add(self, component: str, kind: str, name: str, data: bytes, **more: Any) -> Path:
        path = self.folder / "artifacts" / name
        path.write_bytes(data)
        self.artifacts.append(
            {"component": component, "version": "1", "arch": self.arch, "kind": kind, "file": name, "size": len(data),
             "sha256": sha256_bytes(data), "licence": "x", "source": "x", **more}
        )  # fmt: skip
        return path

    def binary(self, data: bytes) -> Path:
        files = [{"path": "bin/runc", "sha256": sha256_bytes(data), "mode": "0755"}]
        return self.add("runc", "binary", "runc-1", data, files=files)

    def archive(self, *members: Member, name: str = "kata.tar", pack: Any = bytes) -> Path:
        out = io.BytesIO()
        tarball.write(members, out)
        path = self.add("kata", "archive", name, pack(out.getvalue()), strip=0)
        self.artifacts[-1]["files"] = [entry.model_dump() for entry in tarball.listing(path, 0)]
        return path

    def image(self, arch: str) -> Path:
        path = self.folder / "artifacts" / "pause.tar"
        digest = oci_image.build(oci_image.Recipe("r/pause:1", arch, (Member("p", 0o755, data=b"x"),), ("/p",)), path)
        return self.add("pause", "image", "pause.tar", path.read_bytes(), image="r/pause:1", image_digest=digest)

    def check(self) -> None:
        content = {"arch": self.arch, "origin": "upstream", "digest": f"sha256:{'0' * 64}", "artifacts": self.artifacts}
        bundle.write_manifest(BundleManifest.model_validate(content), self.folder)
        contents.check(bundle.verify(self.folder))


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path / "b")


def test_a_good_one_is_good(maker: Maker) -> None:
    maker.binary(AMD64)
    maker.archive(Member("bin/shim", 0o755, data=AMD64), Member("bin/script", 0o755, data=b"#!/bin/sh\n"))
    maker.image("amd64")
    maker.check()


def test_a_program_of_another_architecture(maker: Maker) -> None:
    path = maker.binary(ARM64)
    with pytest.raises(StrongroomError, match=f"{path}: bin/runc is for arm64, and bundle.json says amd64"):
        maker.check()


@pytest.mark.parametrize("name", ["bin/shim", "sbin/shim", "libexec/virtiofsd", "opt/kata/bin/qemu"])
def test_a_program_in_an_archive(maker: Maker, name: str) -> None:
    path = maker.archive(Member("bin/first", 0o755, data=AMD64), Member(name, 0o755, data=ARM64))
    with pytest.raises(StrongroomError, match=f"{path}: {name} is for arm64, and bundle.json says amd64"):
        maker.check()


def test_the_firmware_that_qemu_has_of_other_machines_is_no_program(maker: Maker) -> None:
    maker.archive(
        Member("share/qemu/s390-ccw.img", 0o644, data=elf(22, ">")),
        Member("share/qemu/hppa-firmware.img", 0o755, data=elf(15, ">")),
        Member("bin/shim", 0o755, data=AMD64),
    )
    maker.check()


def test_an_image_of_another_architecture(maker: Maker) -> None:
    path = maker.image("arm64")
    with pytest.raises(StrongroomError, match=f"{path}: its configuration is for arm64, and bundle.json says amd64"):
        maker.check()


@pytest.mark.parametrize(
    ("key", "value"), [("image", "r/other:1"), ("image_digest", f"sha256:{'0' * 64}")], ids=["name", "digest"]
)
def test_an_image_that_is_not_the_one_that_is_listed(maker: Maker, key: str, value: str) -> None:
    path = maker.image("amd64")
    maker.artifacts[-1][key] = value
    with pytest.raises(
        StrongroomError, match=rf"{path}: its image is r/pause:1 sha256:\w+, and bundle\.json lists .*{value}"
    ):
        maker.check()


@pytest.mark.parametrize("keep", [0, 1, 600, 5000, None])
def test_a_truncated_image(maker: Maker, keep: int | None) -> None:
    path = maker.image("amd64")
    if keep is None:  # the last byte of the last blob; zeros that fill a tar up are missed by nobody
        with tarfile.open(path) as tar:
            last = tar.getmembers()[-1]
        keep = last.offset_data + last.size - 1
    data = path.read_bytes()[:keep]
    path.write_bytes(data)
    maker.artifacts[-1] |= {"size": len(data), "sha256": sha256_bytes(data)}
    with pytest.raises(StrongroomError, match=r"pause\.tar: is no whole image archive"):
        maker.check()


@pytest.mark.parametrize("name", ["kata.tar", "kata.tar.gz"])
@pytest.mark.parametrize("part", [0.0, 0.1, 0.5, 0.7])
def test_an_archive_that_was_cut(maker: Maker, name: str, part: float) -> None:
    pack = gzip.compress if name.endswith("gz") else bytes
    noise = bytes(sha256_bytes(str(n).encode())[0].encode()[0] ^ (n * 7 & 255) for n in range(30_000))
    path = maker.archive(Member("bin/a", 0o755, data=AMD64), Member("share/b", data=noise), name=name, pack=pack)
    data = path.read_bytes()[: int(path.stat().st_size * part)]
    path.write_bytes(data)
    maker.artifacts[-1] |= {"size": len(data), "sha256": sha256_bytes(data)}  # pinned as the half that it is
    with pytest.raises(
        StrongroomError, match=rf"{name}: (is no archive|has no (bin/a|share/b), and bundle\.json)"
    ) as caught:
        maker.check()
    assert "\n" not in str(caught.value)


def test_an_archive_cut_between_two_members_is_no_archive_error_but_lacks_a_file(maker: Maker) -> None:
    path = maker.archive(Member("a", data=b"x"), Member("b", data=b"y"))
    with tarfile.open(path) as tar:
        end = tar.getmember("b").offset
    data = path.read_bytes()[:end]
    path.write_bytes(data)
    maker.artifacts[-1] |= {"size": len(data), "sha256": sha256_bytes(data)}
    with pytest.raises(StrongroomError, match=r"kata\.tar: has no b, and bundle\.json lists it"):
        maker.check()


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda files: files.pop(), "its b is not as"),
        (lambda files: files[1].update(mode="0755"), "its b is not as"),
        (lambda files: files[1].update(sha256="0" * 64), "its b is not as"),
        (lambda files: files[1].update(path="c"), "its b is not as"),
    ],
)
def test_a_listing_that_is_not_the_archives(maker: Maker, change: Any, told: str) -> None:
    maker.archive(Member("a", data=b"x"), Member("b", data=b"y"))
    change(maker.artifacts[-1]["files"])
    with pytest.raises(StrongroomError, match=told):
        maker.check()


@given(st.binary(max_size=64))
def test_any_bytes_are_a_machine_or_none(head: bytes) -> None:
    found = contents.machine(head)
    assert (found is None) == (len(head) < 20 or head[:4] != b"\x7fELF")


def test_this_machines_own_program() -> None:
    with Path(sys.executable).resolve().open("rb") as file:
        assert contents.machine(file.read(64)) == machine_arch()


def test_both_ends_of_a_number() -> None:
    assert contents.machine(elf(22, ">")) == "s390x"
    assert contents.machine(elf(22)) == "s390x"
    assert contents.machine(elf(258)) == "ELF machine 258"


def test_the_verb_refuses(maker: Maker) -> None:
    maker.binary(AMD64)
    maker.check()
    good = CliRunner().invoke(app, ["verify", str(maker.folder)])
    assert good.exit_code == 0, good.output
    assert good.output.splitlines()[-1] == f"bundle.json: {sha256_file(maker.folder / 'bundle.json')}"
    maker.image("arm64")
    with pytest.raises(StrongroomError):
        maker.check()
    assert "arm64" in str(CliRunner().invoke(app, ["verify", str(maker.folder)]).exception)
