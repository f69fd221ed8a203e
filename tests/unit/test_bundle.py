"""Bundles: the manifest's schema, and that no change of any file goes unseen."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from typer.testing import CliRunner

from strongroom.cli.bundle import app
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle
from strongroom.fetch.hashing import sha256_bytes
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest

SHA = "cd" * 32
DIGEST = f"sha256:{SHA}"
CONTENTS = {"runc": b"a program", "kubelet": b"\0" * 4096, "kubeadm": bytes(range(256)) * 9}


def artifact(component: str, data: bytes, **more: Any) -> dict[str, Any]:
    return {
        "component": component,
        "version": "1",
        "arch": "amd64",
        "kind": "binary",
        "file": f"{component}-1",
        "size": len(data),
        "sha256": sha256_bytes(data),
        "licence": "Apache-2.0",
        "source": "https://example.org/",
        "files": [{"path": f"bin/{component}", "sha256": sha256_bytes(data), "mode": "0755"}],
        **more,
    }


def manifest(*artifacts: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"arch": "amd64", "origin": "go-modules", "digest": DIGEST, "artifacts": list(artifacts), **more}


def make(folder: Path) -> Path:
    (folder / "artifacts").mkdir(parents=True)
    for component, data in CONTENTS.items():
        (folder / "artifacts" / f"{component}-1").write_bytes(data)
    listed = [artifact(component, data) for component, data in CONTENTS.items()]
    (folder / "bundle.json").write_text(json.dumps(manifest(*listed)))
    return folder


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return make(tmp_path / "b")


def test_a_good_one_verifies(good: Path) -> None:
    checked = bundle.verify(good)
    assert checked.path(checked.manifest.of("runc")).read_bytes() == CONTENTS["runc"]
    assert checked.manifest.images() == ()


def test_a_missing_component_is_named_with_what_is_there(good: Path) -> None:
    with pytest.raises(ConfigError, match="'kata'; it has kubeadm, kubelet, runc"):
        bundle.load(good).manifest.of("kata")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_flipped_bit_anywhere_is_found(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = make(tmp_path_factory.mktemp("flip") / "b")
    component = data.draw(st.sampled_from(sorted(CONTENTS)))
    offset = data.draw(st.integers(0, len(CONTENTS[component]) - 1))
    bit = data.draw(st.integers(0, 7))
    path = folder / "artifacts" / f"{component}-1"
    changed = bytearray(CONTENTS[component])
    changed[offset] ^= 1 << bit
    path.write_bytes(changed)
    with pytest.raises(StrongroomError) as caught:
        bundle.verify(folder)
    assert str(path) in str(caught.value)
    assert sha256_bytes(bytes(changed)) in str(caught.value)
    assert sha256_bytes(CONTENTS[component]) in str(caught.value)
    bundle.load(folder)  # names and sizes are as listed: that is why load is no proof


def _symlink(folder: Path) -> None:
    path = folder / "artifacts" / "runc-1"
    path.rename(folder.parent / "elsewhere")
    path.symlink_to(folder.parent / "elsewhere")


def _symlinked_folder(folder: Path) -> None:
    (folder / "artifacts").rename(folder.parent / "elsewhere")
    (folder / "artifacts").symlink_to(folder.parent / "elsewhere")


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda folder: (folder / "artifacts/runc-1").unlink(), "runc-1: is missing"),
        (
            lambda folder: (folder / "artifacts/runc-1").write_bytes(b"short"),
            "runc-1: is 5 bytes, and bundle.json says 9",
        ),
        (lambda folder: (folder / "artifacts/extra").touch(), "extra: is not listed"),
        (lambda folder: (folder / "notes.txt").touch(), "notes.txt: is not listed"),
        (lambda folder: os.mkfifo(folder / "artifacts/pipe"), "pipe: is no plain file"),
        (_symlink, "runc-1: is no plain file"),
        (_symlinked_folder, "artifacts: is no plain file"),
        (lambda folder: (folder / "bundle.json").unlink(), "no bundle there (bundle.json is missing)"),
        (lambda folder: (folder / "bundle.json").write_text("{"), "bundle.json"),
    ],
)
def test_changed_folders_are_refused(good: Path, change: Callable[[Path], object], told: str) -> None:
    change(good)
    for check in (bundle.load, bundle.verify):
        with pytest.raises(StrongroomError) as caught:
            check(good)
        assert told in str(caught.value)
        assert "\n" not in str(caught.value)


RUNC = artifact("runc", b"x")
IMAGE = artifact("pause", b"x", kind="image", files=[], image="r/p:1", image_digest=DIGEST)
OBJECTS = artifact("cilium", b"x", kind="manifest", files=[])


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (manifest(RUNC, colour="red"), "colour"),
        (manifest({**RUNC, "colour": "red"}), "artifacts.0.colour"),
        (manifest({**RUNC, "file": "../../etc/passwd"}), "escapes"),
        (manifest({**RUNC, "file": "/etc/passwd"}), "no plain relative path"),
        (manifest({**RUNC, "file": "a/../b"}), "no plain relative path"),
        (manifest({**RUNC, "file": ""}), "no plain relative path"),
        (manifest({**RUNC, "version": "../../etc"}), "artifacts.0.version"),
        (manifest(artifact("x", b"", kind="archive", subdir="../up")), "escapes"),
        (manifest(artifact("x", b"", kind="archive", files=[])), "some files"),
        (manifest({**RUNC, "files": [{"path": "bin/other", "sha256": SHA, "mode": "0755"}]}), "exactly bin/runc"),
        (manifest({**RUNC, "sha256": SHA.upper()}), "sha256"),
        (manifest({**RUNC, "image": "r/p:1"}), "image"),
        (manifest({**IMAGE, "image_digest": None}), "image"),
        (manifest({**OBJECTS, "files": RUNC["files"]}), "a manifest has no files"),
        (manifest({**OBJECTS, "image": "r/p:1"}), "image"),
        (manifest({**IMAGE, "files": RUNC["files"]}), "no files"),
        (manifest(RUNC, RUNC), "twice"),
        (manifest({**RUNC, "arch": "arm64"}), "not for amd64"),
        (
            manifest(RUNC, schema_version=2),
            "schema_version: found 2, allowed is 1: a newer strongroom made this bundle",
        ),
        ({"schema_version": 7, "parts": "of another form"}, "found 7, allowed is 1: a newer strongroom"),
        (manifest(RUNC, schema_version=0), "schema_version"),
        (manifest(RUNC, origin="somewhere"), "origin"),
    ],
)
def test_manifests_are_refused(good: Path, content: dict[str, Any], told: str) -> None:
    (good / "bundle.json").write_text(json.dumps(content))
    with pytest.raises(StrongroomError) as caught:
        bundle.load(good)
    assert told in str(caught.value)
    assert str(good / "bundle.json") in str(caught.value)


@pytest.mark.parametrize(
    "entry",
    [
        {"path": "a"},
        {"path": "a", "sha256": SHA, "target": "b"},
        {"path": "a", "target": "/etc/passwd"},
        {"path": "a/b", "target": "../../c"},
        {"path": "../a", "sha256": SHA},
        {"path": "./a", "sha256": SHA},
        {"path": "a\nSTRONGROOM_END\nreboot\n", "sha256": SHA},
        {"path": "a", "sha256": SHA, "mode": "rwx"},
    ],
)
def test_files_stay_below_their_prefix(entry: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        BundledFile.model_validate({"mode": "0755", **entry})


def test_a_link_may_point_within(good: Path) -> None:
    assert BundledFile(path="a/b", mode="0777", target="../c/d").target == "../c/d"


def test_models_are_frozen(good: Path) -> None:
    with pytest.raises(ValidationError):
        bundle.load(good).manifest.arch = "arm64"  # type: ignore[misc]


def test_what_is_written_is_what_is_read(good: Path, tmp_path: Path) -> None:
    before = bundle.load(good).manifest
    bundle.write_manifest(before, good)
    assert bundle.verify(good).manifest == before
    assert BundleManifest.model_validate_json(before.model_dump_json()) == before
    assert Artifact.model_validate(IMAGE).image_digest == DIGEST
    assert Artifact.model_validate(OBJECTS).kind == "manifest"


def test_a_copy_is_complete_or_not_there(good: Path, tmp_path: Path) -> None:
    out = bundle.copy(good, tmp_path / "new" / "c")
    assert bundle.verify(out).manifest == bundle.load(good).manifest
    with pytest.raises(StrongroomError, match="there already"):
        bundle.copy(good, out)
    (good / "artifacts/runc-1").write_bytes(b"A program")
    with pytest.raises(StrongroomError, match="SHA-256"):
        bundle.copy(good, tmp_path / "new" / "d")
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["c"]


class TestCommands:
    """`bundle verify` and `bundle show`."""

    def test_verify(self, good: Path) -> None:
        done = CliRunner().invoke(app, ["verify", str(good)])
        assert done.exit_code == 0, done.output
        assert "3 artifacts" in done.output
        shutil.rmtree(good / "artifacts")
        assert isinstance(CliRunner().invoke(app, ["verify", str(good)]).exception, StrongroomError)

    def test_show(self, good: Path) -> None:
        text = CliRunner().invoke(app, ["show", str(good)])
        assert text.exit_code == 0, text.output
        assert "kubelet" in text.output
        shown = CliRunner().invoke(app, ["show", str(good), "--output", "json"])
        assert BundleManifest.model_validate_json(shown.output) == bundle.load(good).manifest
