"""Hosts that cannot hold what the bundle has, with real mounts in a mount namespace of the test's own."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from strongroom.errors import StrongroomError
from strongroom.fetch import tarball
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import Artifact
from strongroom.plan.artifacts import PREFIX, Component
from strongroom.plan.place import MACHINES, Place
from strongroom.plan.resource import Observed, Resource
from strongroom.plan.script import STATE, carry_out, observe, parse_observation

MACHINE = os.uname().machine
ARCH = next((arch for arch, machine in MACHINES.items() if machine == MACHINE), "amd64")
ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def inside(root: Path, mount: str, script: str) -> subprocess.CompletedProcess[str]:
    """Run a host's script with its folders below a root, after a mount, in a namespace that ends with it."""
    local = script.replace(PREFIX, f"{root}{PREFIX}").replace(STATE, f"{root}{STATE}")
    local = local.replace("/run/strongroom", f"{root}/strongroom").replace("S=/var", f"S={root}/var")
    for folder in (PREFIX, STATE):
        (root / folder[1:]).mkdir(parents=True, exist_ok=True)
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", f"{mount}\nexec sh -s"]
    return subprocess.run(command, input=local, capture_output=True, text=True, timeout=60, check=False)


def look(root: Path, mount: str, resource: Resource) -> Observed:
    done = inside(root, mount, observe([resource]))
    assert done.returncode == 0, done.stderr
    text = done.stdout.replace(str(root), "")
    return parse_observation([resource], text.splitlines())[resource.key]


@ROOT
class TestMounts:
    """What a host's mounts say."""

    def test_a_host_as_it_should_be(self, tmp_path: Path) -> None:
        place = Place(PREFIX, ARCH)
        assert place.steps(look(tmp_path, f"mount -t tmpfs tmpfs {tmp_path}/opt", place)) == []

    @pytest.mark.parametrize(
        ("options", "told", "remedy"),
        [
            ("noexec", "/opt is mounted noexec, allowed is rw and exec", "remount,exec /opt"),
            ("ro", "/opt is mounted ro, allowed is rw and exec", "remount,rw /opt"),
            ("ro,noexec", "/opt is mounted ro and noexec, allowed is rw and exec", "remount,rw,exec /opt"),
        ],
    )
    def test_where_programs_cannot_be(self, tmp_path: Path, options: str, told: str, remedy: str) -> None:
        place = Place(PREFIX, ARCH)
        seen = look(tmp_path, f"mount -t tmpfs -o {options} tmpfs {tmp_path}/opt", place)
        with pytest.raises(StrongroomError) as caught:
            place.steps(seen)
        assert str(caught.value).startswith(f"{PREFIX}: {told}")
        assert remedy in (caught.value.hint or "")

    def test_a_bind_mount_that_is_read_only(self, tmp_path: Path) -> None:
        place, folder = Place(PREFIX, ARCH), f"{tmp_path}/opt"
        seen = look(tmp_path, f"mount --bind {folder} {folder}; mount -o remount,bind,ro {folder}", place)
        with pytest.raises(StrongroomError, match="/opt is mounted ro"):
            place.steps(seen)

    def test_the_uppermost_mount_counts(self, tmp_path: Path) -> None:
        place, folder = Place(PREFIX, ARCH), f"{tmp_path}/opt"
        assert place.steps(look(tmp_path, f"mount -t tmpfs -o ro x {folder}; mount -t tmpfs y {folder}", place)) == []
        (tmp_path / "other").mkdir()
        assert place.steps(look(tmp_path, f"mount -t tmpfs -o ro x {tmp_path}/other", place)) == []

    def test_a_link_leads_to_the_mount_that_counts(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        (tmp_path / "opt").symlink_to(tmp_path / "data")
        place = Place(PREFIX, ARCH)
        with pytest.raises(StrongroomError, match="/data is mounted noexec"):
            place.steps(look(tmp_path, f"mount -t tmpfs -o noexec x {tmp_path}/data", place))

    def test_notes_need_to_be_written_not_started(self, tmp_path: Path) -> None:
        place = Place(PREFIX, ARCH)
        assert place.steps(look(tmp_path, f"mount -t tmpfs -o noexec x {tmp_path}/var", place)) == []
        seen = Observed((f"machine={MACHINE}", f"{PREFIX}=/ rw,rw", f"{STATE}=/var ro,relatime,rw"))
        with pytest.raises(StrongroomError, match=r"/var/lib/strongroom: /var is mounted ro, allowed is rw:"):
            place.steps(seen)


def test_a_bundle_of_another_architecture_is_refused() -> None:
    seen = Observed((f"machine={MACHINES['arm64']}", f"{PREFIX}=/ rw,rw", f"{STATE}=/ rw,rw"))
    assert Place(PREFIX, "arm64").steps(seen) == []
    with pytest.raises(StrongroomError, match="its processor is aarch64, allowed is x86_64: the bundle is for amd64"):
        Place(PREFIX, "amd64").steps(seen)


def test_what_could_not_be_read_refuses_nothing() -> None:
    assert Place(PREFIX, "amd64").steps(Observed()) == []


def test_it_is_read_on_a_real_host_without_root() -> None:
    done = subprocess.run(["sh", "-c", Place(PREFIX, ARCH).read()], capture_output=True, text=True, check=True)
    fields = Observed(tuple(done.stdout.splitlines())).fields()
    assert fields["machine"] == MACHINE
    assert fields[PREFIX].startswith("/")


def component(root: Path, version: str, size: int, kind: str = "archive") -> Component:
    data = os.urandom(size)
    name = f"tool-{version}" + (".tar" if kind == "archive" else "")
    path = root / name
    if kind == "archive":
        with path.open("wb") as out:
            tarball.write([Member("bin/tool", 0o755, data=data)], out)
        files = tarball.listing(path, 0)
    else:
        path.write_bytes(data)
        files = ({"path": "bin/tool", "sha256": hashlib.sha256(data).hexdigest(), "mode": "0755"},)  # type: ignore[assignment]
    artifact = Artifact(
        component="tool", version=version, arch="amd64", kind=kind, file=name, size=path.stat().st_size,
        sha256=hashlib.sha256(path.read_bytes()).hexdigest(), licence="x", source="x", files=files,
    )  # fmt: skip
    return Component(artifact, path)


@ROOT
@pytest.mark.parametrize("kind", ["archive", "binary"])
def test_a_disk_that_fills_while_unpacking_leaves_the_old_version(tmp_path: Path, kind: str) -> None:
    old, new = component(tmp_path, "1", 100_000), component(tmp_path, "2", 3_000_000, kind)
    incoming = tmp_path / STATE[1:] / "incoming"
    incoming.mkdir(parents=True)
    for one in (old, new):
        (incoming / one.artifact.sha256).write_bytes(one.source.read_bytes())
    first = carry_out(old.steps(Observed()))
    second = carry_out(new.steps(Observed()))
    check = f"cd {PREFIX}/tool && find . | sort && cat 1/bin/tool | sha256sum"
    script = f"({first}) || exit 90\n({second})\necho code=$?\n{check}"
    done = inside(tmp_path, f"mount -t tmpfs -o size=1m tmpfs {tmp_path}/opt", script)
    lines = done.stdout.splitlines()
    assert lines[0] == "code=1"
    assert lines[1:-1] == [".", "./1", "./1/bin", "./1/bin/tool"], "nothing half done"
    assert str(old.artifact.files[0].sha256) in lines[-1]
    assert list(incoming.iterdir()) == [], "on a full disk the upload takes room too"
    (said,) = done.stderr.splitlines()
    assert f"{new.artifact.file}: cannot be unpacked below" in said
    assert "0 MiB free on" in said
    # tar's and install's words for a full disk
    assert "Wrote only" in said or "Cannot write" in said or "No space left on device" in said


@ROOT
def test_a_truncated_archive_leaves_the_old_version(tmp_path: Path) -> None:
    """The pinned sum is that of a half: what was pinned is no archive."""
    old, whole = component(tmp_path, "1", 1000), component(tmp_path, "2", 100_000)
    half = whole.source.read_bytes()[:50_000]
    digest = hashlib.sha256(half).hexdigest()
    incoming = tmp_path / STATE[1:] / "incoming"
    incoming.mkdir(parents=True)
    (incoming / digest).write_bytes(half)
    (incoming / old.artifact.sha256).write_bytes(old.source.read_bytes())
    cut = Component(whole.artifact.model_copy(update={"sha256": digest, "size": len(half)}), whole.source)
    script = f"({carry_out(old.steps(Observed()))}) || exit 90\n({carry_out(cut.steps(Observed()))})\necho code=$?\nls {PREFIX}/tool"
    done = inside(tmp_path, "true", script)
    assert done.stdout.split() == ["code=1", "1"]
    assert "tool-2.tar: cannot be unpacked below" in done.stderr
    assert "Unexpected EOF" in done.stderr


def test_a_quote_in_a_files_name_is_no_end_of_a_word() -> None:
    artifact = Artifact(
        component="tool", version="1", arch="amd64", kind="archive", file="a';b.tar", size=1, sha256="0" * 64, licence="x",
        source="x", files=({"path": "bin/tool", "sha256": "0" * 64, "mode": "0755"},),
    )  # fmt: skip
    script = carry_out(Component(artifact, Path("a")).steps(Observed()))
    done = subprocess.run(["sh", "-n"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
