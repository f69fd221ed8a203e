"""Charts become manifests: what helm is told, and what of its output is refused. A fake `helm` prints what it is given."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.fetch import chart, lockfile
from strongroom.model import manifest
from strongroom.model.bundle import Artifact

IMAGES = ("quay.io/cilium/cilium:v1.19.6", "quay.io/cilium/operator-generic:v1.19.6")


def objects(*images: str) -> str:
    """A manifest like Cilium's, whose pods have the images."""
    containers = [{"name": f"c{number}", "image": image} for number, image in enumerate(images)]
    made: list[dict[str, Any]] = [
        {"apiVersion": "apps/v1", "kind": "DaemonSet", "spec": {"template": {"spec": {"containers": containers}}}},
        {"apiVersion": "v1", "kind": "ConfigMap", "data": {"a": "b"}},
    ]
    for item in made:
        item["metadata"] = {"name": "cilium", "namespace": "kube-system"}
    return yaml.safe_dump_all(made)


def fake_helm(folder: Path, text: str) -> Path:
    """A `helm` that prints a text for any chart that is there, and keeps its arguments and environment beside it."""
    program = folder / "helm"
    program.write_text(
        f'#!/bin/sh\necho "$@" > {folder}/helm.arguments\nenv > {folder}/helm.environment\n'
        '[ -e "$3" ] || { echo "Error: path not found" >&2; exit 1; }\n'
        f"cat <<'END_OF_MANIFEST'\n{text}END_OF_MANIFEST\n"
    )
    program.chmod(0o755)
    return program


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "chart").mkdir()
    return tmp_path / "chart"


def test_helm_is_told_all_that_decides_its_output(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HELM_PLUGINS", "/plugins")
    monkeypatch.setenv("KUBECONFIG", "/mine")
    helm = fake_helm(tmp_path, objects(*IMAGES))
    chart.render(str(helm), source, "cilium", "1.36.3", tmp_path / "out.yaml")
    assert (tmp_path / "out.yaml").read_text() == objects(*IMAGES)
    told = (tmp_path / "helm.arguments").read_text()
    assert f"template cilium {source} --namespace kube-system --kube-version 1.36.3" in told
    assert f"--values {paths.catalog('charts', 'cilium.yaml')}" in told
    environment = (tmp_path / "helm.environment").read_text()
    assert "HELM_PLUGINS" not in environment
    assert "KUBECONFIG=/mine" not in environment


def test_what_helm_says_is_what_the_user_reads(tmp_path: Path) -> None:
    helm = fake_helm(tmp_path, objects())
    with pytest.raises(StrongroomError, match="cilium: helm template of none: Error: path not found"):
        chart.render(str(helm), tmp_path / "none", "cilium", "1.36.3", tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("apiVersion: v1\nkind: Secret\nmetadata: {name: cilium-ca, namespace: kube-system}\n", "cilium-ca"),
        ("Just words\n", "no Kubernetes object"),
        ("", "has no Kubernetes objects"),
    ],
)
def test_what_would_differ_each_time_is_refused(source: Path, tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(StrongroomError, match=told):
        chart.render(str(fake_helm(tmp_path, text)), source, "cilium", "1.36.3", tmp_path / "out.yaml")
    assert not (tmp_path / "out.yaml").exists()


def test_without_helm_there_is_a_hint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StrongroomError, match="helm: not on the PATH") as caught:
        chart.helm_on_path()
    assert "install Helm" in (caught.value.hint or "")
    fake_helm(tmp_path, "")
    assert chart.helm_on_path() == str(tmp_path / "helm")


def artifact(folder: Path, component: str, **more: Any) -> Artifact:
    file = folder / component
    sha = "ab" * 32
    fields: dict[str, Any] = {"component": component, "version": "1", "arch": "amd64", "sha256": sha, **more}
    return Artifact(
        **fields, file=component, size=os.stat(file).st_size if file.exists() else 0, licence="x", source="x"
    )


def test_a_bundle_without_an_image_of_its_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cilium").write_text(objects(*IMAGES))
    digest = f"sha256:{'ab' * 32}"
    listed = [artifact(tmp_path, "cilium", kind="manifest")]
    listed.append(artifact(tmp_path, "agent", kind="image", image=IMAGES[0], image_digest=digest))
    with pytest.raises(StrongroomError, match=f"cilium 1: its manifest names the image {IMAGES[1]}"):
        chart.check_images(listed, tmp_path)
    listed.append(artifact(tmp_path, "operator", kind="image", image=IMAGES[1], image_digest=digest))
    chart.check_images(listed, tmp_path)


def test_there_are_values_for_every_chart() -> None:
    charts = {c.component for c in lockfile.load_go().components if c.kind == "manifest"}
    charts |= {entry.component for entry in lockfile.load().artifacts if entry.kind == "manifest"}
    assert charts == {path.stem for path in paths.catalog("charts").iterdir()}
    for component in charts:
        assert isinstance(yaml.safe_load(chart.values(component).read_text()), dict)


def test_the_locks_images_are_those_that_the_tests_use() -> None:
    assert manifest.images(manifest.parse(objects(*IMAGES), "x")) == IMAGES
    assert {e.image for e in lockfile.load().artifacts if e.component.startswith("cilium-")} == set(IMAGES)
