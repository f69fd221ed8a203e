"""Pod network: the Kubernetes objects of a network that runs as pods, and the images that it must not come without."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from strongroom.errors import ConfigError, StrongroomError
from strongroom.kube.access import api
from strongroom.kube.client import Api
from strongroom.model import manifest
from strongroom.model.bundle import Artifact
from strongroom.phases.base import Context
from strongroom.phases.objects import converge
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

#: The component whose manifest makes the network, by ``kubernetes.cni``; a network of files on hosts has none.
MANIFESTS = {"cilium": "cilium"}


@dataclass(frozen=True)
class PodNetwork:
    """A network's objects in the order to apply them, and the images that their containers name."""

    artifact: Artifact
    text: str
    objects: tuple[dict[str, Any], ...]
    images: tuple[str, ...]


def pod_network(context: Context) -> PodNetwork | None:
    """The network of the inventory's choice, or ``None`` where it has no objects.

    Raises:
        ConfigError: the bundle has no manifest of it.
    """
    component = MANIFESTS.get(context.inventory.cluster.kubernetes.cni)
    if component is None:
        return None
    there = [artifact for artifact in context.bundle.manifest.artifacts if artifact.kind == "manifest"]
    for artifact in there:
        if artifact.component == component:
            return _read(context.bundle.path(artifact), artifact)
    raise ConfigError(
        f"cluster: kubernetes.cni: found {component!r}, and the bundle has no manifest of it",
        hint=_how_to_make(component, "VERSION"),
    )


@lru_cache(maxsize=4)
def _read(path: Path, artifact: Artifact) -> PodNetwork:
    text = path.read_text(encoding="utf-8")
    objects = manifest.parse(text, artifact.file)
    return PodNetwork(artifact, text, objects, manifest.images(objects))


def _how_to_make(component: str, version: str) -> str:
    return f"make a bundle with it: strongroom bundle create --set {component}={version}"


def refuse_missing_images(context: Context) -> None:
    """Refuse to begin what can't end: hosts fetch nothing, so an image that isn't in the bundle never runs.

    Raises:
        ConfigError: the network's manifest names images that the bundle has not.
    """
    network = pod_network(context)
    if network is None:
        return
    there = {image.image for image in context.bundle.manifest.images()}
    if missing := [image for image in network.images if image not in there]:
        artifact = network.artifact
        raise ConfigError(
            f"cluster: kubernetes.cni: found {artifact.component!r}, and the bundle has no image {', '.join(missing)}",
            hint=f"{_how_to_make(artifact.component, artifact.version)}; plan and render work without it",
        )


class PodNetworkPhase:
    """The objects of the pod network, by server-side apply."""

    name = "pod-network"
    title = "Set up the pod network"

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        network = pod_network(context)
        if network is None:
            return []
        cluster = api(session)
        if cluster is not None:
            cluster.wait_ready(progress)
            _refuse_another_choice(context, cluster)
        return converge(cluster, network.objects, progress, hands)


def _refuse_another_choice(context: Context, cluster: Api) -> None:
    # kubeadm keeps the configuration that a cluster began with. Without a pod subnet in it no node was ever given
    # addresses for pods, and agents would wait for them for ever.
    found = cluster.get("v1", "ConfigMap", "kubeadm-config", "kube-system")
    if found is None:
        return
    began_with = yaml.safe_load(found["data"]["ClusterConfiguration"]).get("networking", {}).get("podSubnet")
    kubernetes = context.inventory.cluster.kubernetes
    if began_with != kubernetes.pod_cidr:
        raise StrongroomError(
            f"cluster: kubernetes.cni: found {kubernetes.cni!r}, and this cluster was started with"
            f" {f'the pod subnet {began_with}' if began_with else 'no pod subnet'}, not {kubernetes.pod_cidr}",
            hint="a cluster keeps the pod network that it was made with; make it anew to change that",
        )
