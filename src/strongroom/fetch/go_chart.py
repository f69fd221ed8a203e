"""Manifests on the road from Go modules: the chart out of a module's zip, rendered by a ``helm`` that is built here.

The module with the chart is only downloaded and compared with its sum, never compiled: its own hundreds of
dependencies stay out of it, and can't disagree with helm's.
"""

from __future__ import annotations

import json
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.fetch import chart
from strongroom.fetch.go_recipe import GoRecipe
from strongroom.model.bundle import Artifact
from strongroom.model.lock import GoComponent


def build(wanted: GoRecipe, component: GoComponent, work: Path, folder: Path) -> Artifact:
    """Render a component's chart into ``folder/artifacts``.

    Raises:
        StrongroomError: the module's zip has another sum, it has no such chart, or helm can't be built or fails.
    """
    assert component.chart is not None
    folder_of_chart = _chart(wanted, component)
    module_of_helm = wanted.lock.module(component.chart.helm_module)
    helm = wanted.compile(module_of_helm, component.chart.helm_package, work / "helm", here=True)
    kubernetes = wanted.lock.version("kube-apiserver")
    path = folder / "artifacts" / f"{component.component}-{component.version}-{wanted.arch}.yaml"
    chart.render(str(helm), folder_of_chart, component.component, kubernetes, path)
    helm.unlink()
    module = wanted.lock.module(component.module)
    source = component.source or module.source
    return wanted.artifact(component, path, f"{source} (chart of the Go module, rendered for Kubernetes {kubernetes})")


def _chart(wanted: GoRecipe, component: GoComponent) -> Path:
    assert component.chart is not None
    name, version = component.chart.go_module, f"v{component.version}"
    folder = wanted.root / component.module
    # With a version, this one module is downloaded and nothing of its graph.
    told = json.loads(wanted.toolchain.run(["mod", "download", "-json", f"{name}@{version}"], folder))
    if f"{name} {version} {told.get('Sum')}" not in (folder / "go.sum").read_text(encoding="utf-8").splitlines():
        raise StrongroomError(
            f"{name} {version}: its sum is {told.get('Sum')}, and {component.module}/go.sum doesn't pin that",
            hint="the module proxy serves another zip than the one that was pinned: don't use it",
        )
    found = Path(told["Dir"]) / component.chart.path
    if not (found / "Chart.yaml").is_file():
        raise StrongroomError(f"{name} {version}: has no chart at {component.chart.path}")
    return found
