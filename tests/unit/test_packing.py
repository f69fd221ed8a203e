"""Artifacts go packed to hosts that can unpack, and what arrives is held to the digest of what they unpack to."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from strongroom import paths
from strongroom.fetch import packing
from strongroom.fetch.packing import packed
from strongroom.plan.resource import Step, Upload
from strongroom.plan.script import carry_out

pytestmark = pytest.mark.skipif(shutil.which("zstd") is None, reason="zstd is not installed: `make setup-system`")


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def artifact(folder: Path, content: bytes, name: str = "kubelet") -> tuple[Path, str]:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(content)
    return folder / name, hashlib.sha256(content).hexdigest()


def test_it_is_packed_once_and_found_again(tmp_path: Path) -> None:
    source, digest = artifact(tmp_path / "bundle", b"program " * 10000)
    first = packed(source, digest)
    assert first is not None
    assert first.stat().st_size < source.stat().st_size // 2
    before = first.stat().st_mtime_ns
    assert packed(source, digest) == first
    assert first.stat().st_mtime_ns == before
    assert [path.name for path in (paths.cache_dir() / "packed").iterdir()] == [f"{digest}.zst"]


@pytest.mark.parametrize("part", [0, 0.5])
def test_one_that_was_cut_is_packed_anew_by_the_next_run(tmp_path: Path, part: float) -> None:
    source, digest = artifact(tmp_path / "bundle", b"program " * 10000)
    first = packed(source, digest)
    assert first is not None
    good = first.read_bytes()
    first.write_bytes(good[: int(len(good) * part)])
    packing._whole.clear()
    assert packed(source, digest) == first
    assert first.read_bytes() == good


def test_what_would_not_shrink_goes_as_it_is(tmp_path: Path) -> None:
    noise = bytes(hashlib.sha256(bytes([n, m])).digest()[0] for n in range(64) for m in range(64))
    assert packed(*artifact(tmp_path / "bundle", noise)) is None
    assert packed(*artifact(tmp_path / "bundle", b"a" * 1000, "kata.tar.zst")) is None


@pytest.mark.parametrize("spoiled", [False, True])
def test_a_host_unpacks_it_and_takes_nothing_else(tmp_path: Path, spoiled: bool) -> None:
    source, digest = artifact(tmp_path / "bundle", b"program " * 10000)
    other, _ = artifact(tmp_path / "bundle", b"another " * 10000, "other")
    file = packed(other if spoiled else source, digest)
    assert file is not None
    incoming = tmp_path / "state" / "incoming"
    incoming.mkdir(parents=True)
    shutil.copy(file, incoming / f"{digest}.zst")
    upload = Upload(source, digest, source.stat().st_size)
    script = carry_out([Step("x", "x", f"cp {upload.incoming} {tmp_path}/installed", uploads=(upload,))])
    script = script.replace("/var/lib/strongroom", str(tmp_path / "state")).replace(
        "/run/strongroom.lock", str(tmp_path / "lock")
    )
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=False)
    assert list(incoming.iterdir()) == []
    if spoiled:
        assert done.returncode != 0
        assert "arrived damaged" in done.stderr
        assert not (tmp_path / "installed").exists()
    else:
        assert done.returncode == 0, done.stderr
        assert (tmp_path / "installed").read_bytes() == source.read_bytes()
