"""Render a Helm chart into one manifest of Kubernetes objects that depends on nothing but chart, values and version.

The values are ours (``catalog/charts/<component>.yaml``) and say nothing of an inventory, so a manifest is part of the
bundle like every other artifact. ``helm`` runs with an empty home: no plugin, repository or cluster of the operator's
has a say in it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.model import manifest
from strongroom.model.bundle import Artifact

#: Where the charts of cluster add-ons put what they don't place themselves.
NAMESPACE = "kube-system"


def values(component: str) -> Path:
    """Our values for a component's chart."""
    return paths.catalog("charts", f"{component}.yaml")


def helm_on_path() -> str:
    """The operator's ``helm``.

    Raises:
        StrongroomError: there is none.
    """
    found = shutil.which("helm")
    if found is None:
        raise StrongroomError(
            "helm: not on the PATH; it renders the charts of optional components",
            hint="install Helm 3 or 4 on this machine, or leave the component out of --set",
        )
    return found


def render(helm: str, chart: Path, component: str, kube_version: str, out: Path) -> None:
    """Write a chart's objects to ``out``.

    Args:
        helm: the program.
        chart: a folder, or the archive that helm packs charts in.
        component: names the release and our values.
        kube_version: Kubernetes version that it is for, without ``v``.

    Raises:
        StrongroomError: helm failed, or the objects would differ at every rendering.
    """
    command = [
        helm, "template", component, str(chart), "--namespace", NAMESPACE, "--kube-version", kube_version,
        "--include-crds", "--values", str(values(component)),
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as home:
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": home, "KUBECONFIG": f"{home}/none"}
        done = subprocess.run(command, env=environment, cwd=home, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip()] or ["no output"]
        raise StrongroomError(f"{component}: helm template of {chart.name}: {lines[-1].strip()[:300]}")
    for item in manifest.parse(done.stdout, f"{component}: helm template of {chart.name}"):
        if item["kind"] == "Secret":
            raise StrongroomError(
                f"{component}: helm template of {chart.name}: makes the {manifest.key(item)}; secrets have no place in a"
                " bundle, and charts generate them anew each time",
                hint=f"switch it off in {values(component).name}",
            )
    out.write_text(done.stdout, encoding="utf-8")


def check_images(artifacts: Iterable[Artifact], folder: Path) -> None:
    """Check that a bundle has every image that its manifests name.

    Raises:
        StrongroomError: one is missing; the line names the component and the image.
    """
    listed = tuple(artifacts)
    there = {artifact.image for artifact in listed}
    for artifact in listed:
        if artifact.kind != "manifest":
            continue
        text = (folder / artifact.file).read_text(encoding="utf-8")
        for image in manifest.images(manifest.parse(text, artifact.file)):
            if image not in there:
                raise StrongroomError(
                    f"{artifact.component} {artifact.version}: its manifest names the image {image}, and the bundle has"
                    f" no such image",
                    hint=f"`--set {artifact.component}=VERSION` takes the images along; is one of them set apart?",
                )
