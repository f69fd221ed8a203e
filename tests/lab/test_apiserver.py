"""Phases against a real API server: it takes every object, a second apply changes nothing, and drift is named alone.

Needs the bundle from Go modules in the cache (`strongroom bundle build --from go-modules`); no host and no network.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.fetch import bundle as bundles
from strongroom.fetch import go_recipe, lockfile
from strongroom.fetch.bundle import Bundle
from strongroom.kube.client import Api
from strongroom.model import manifest
from strongroom.model.cluster import Inventory, validate
from strongroom.phases.base import Context, ControllerPhase
from strongroom.phases.context import shims
from strongroom.phases.kubernetes import kubeadm_config
from strongroom.phases.pod_network import PodNetworkPhase, pod_network
from strongroom.phases.runtime_classes import RuntimeClassesPhase
from strongroom.report.progress import Progress
from tests import apiserver
from tests.apiserver import ApiServer

pytestmark = pytest.mark.apiserver
CONFIG = ("v1", "ConfigMap", "cilium-config", "kube-system")


@pytest.fixture(scope="session")
def bundle() -> Bundle:
    """The bundle from Go modules, where somebody built it; building it takes too long for a test."""
    try:
        folder = paths.cache_dir() / "bundles" / go_recipe.recipe().digest.removeprefix("sha256:")
        return bundles.load(folder)
    except StrongroomError as error:
        pytest.skip(f"no bundle from Go modules ({error}): strongroom bundle build --from go-modules")


@pytest.fixture(scope="module")
def server(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with apiserver.running(bundle, tmp_path_factory.mktemp("apiserver")) as running:
        yield running


@dataclass
class Leader:
    """The control plane host as controller phases see it: it hands out the kubeconfig."""

    kubeconfig: str

    def run(self, script: str, *, doing: str) -> list[str]:
        assert "admin.conf" in script
        return self.kubeconfig.splitlines()


@dataclass
class Cluster:
    """What a controller phase is run with, and the API behind it."""

    context: Context
    inventory: Inventory
    leader: Leader
    api: Api

    def run(self, phase: ControllerPhase, *, hands: bool) -> list[str]:
        """The resources of a phase's steps; with hands they were carried out."""
        steps = phase.run(self.context, self, Progress(), hands)  # type: ignore[arg-type]
        return [step.resource for step in steps]


@pytest.fixture(scope="module")
def cluster(server: ApiServer, bundle: Bundle) -> Cluster:
    hosts: dict[str, Any] = {"cp1": (["control_plane"], {"address": "10.0.0.1", "api_address": server.address})}
    inventory = validate({"name": "x", "claim": "none", "kubernetes": {"cni": "cilium"}}, hosts)
    context = Context(inventory, bundle, (shims()["qemu-coco-dev"],))
    return Cluster(context, inventory, Leader(server.kubeconfig), Api(server.kubeconfig))


def somebody(cluster: Cluster, item: dict[str, Any]) -> None:
    """Apply an object as somebody who isn't strongroom."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("strongroom.kube.client.FIELD_MANAGER", "somebody")
        cluster.api.apply(item)


def test_the_plan_of_the_pod_network_is_every_object_and_changes_nothing(cluster: Cluster) -> None:
    network = pod_network(cluster.context)
    assert network is not None
    keys = [manifest.key(item) for item in network.objects]
    assert len(keys) == len(set(keys)) > 10
    assert {"DaemonSet kube-system/cilium", "Deployment kube-system/cilium-operator"} <= set(keys)
    assert cluster.run(PodNetworkPhase(), hands=False) == keys
    assert cluster.api.get(*CONFIG) is None


def test_it_is_applied_once_and_then_left_alone(cluster: Cluster) -> None:
    pending = cluster.run(PodNetworkPhase(), hands=False)
    assert cluster.run(PodNetworkPhase(), hands=True) == pending
    assert cluster.api.get(*CONFIG) is not None
    assert cluster.run(PodNetworkPhase(), hands=True) == cluster.run(PodNetworkPhase(), hands=False) == []


def test_what_somebody_changed_is_named_alone_and_mended(cluster: Cluster) -> None:
    cluster.run(PodNetworkPhase(), hands=True)
    config = cluster.api.get(*CONFIG)
    assert config is not None
    good = config["data"]["ipam"]
    change = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": CONFIG[2], "namespace": CONFIG[3]}}
    somebody(cluster, {**change, "data": {"ipam": "cluster-pool"}})
    assert cluster.run(PodNetworkPhase(), hands=False) == ["ConfigMap kube-system/cilium-config"]
    assert cluster.run(PodNetworkPhase(), hands=True) == ["ConfigMap kube-system/cilium-config"]
    mended = cluster.api.get(*CONFIG)
    assert mended is not None
    assert mended["data"]["ipam"] == good == "kubernetes"
    assert cluster.run(PodNetworkPhase(), hands=False) == []


def test_what_the_api_server_would_not_take_is_named_by_the_plan(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = pod_network(cluster.context)
    assert network is not None
    broken = dict(network.objects[-1])
    broken["metadata"] = {**broken["metadata"], "name": "not-there-yet"}
    broken["spec"] = {**broken["spec"], "replicas": "many"}
    monkeypatch.setattr("strongroom.phases.pod_network.pod_network", lambda _: _Changed((*network.objects, broken)))
    with pytest.raises(StrongroomError, match=r"^Deployment kube-system/not-there-yet: API server: .*replicas"):
        cluster.run(PodNetworkPhase(), hands=False)


def uploaded(cluster: Cluster, cni: str, folder: Path) -> None:
    """Have the bundle's kubeadm keep our configuration in the cluster, as `kubeadm init` does."""
    choice = cluster.inventory.cluster.model_copy(
        update={"kubernetes": cluster.inventory.cluster.kubernetes.model_copy(update={"cni": cni})}
    )
    context = replace(cluster.context, inventory=cluster.inventory.model_copy(update={"cluster": choice}))
    (folder / "kubeadm.yaml").write_bytes(kubeadm_config(context, cluster.inventory.leader))
    (folder / "kubeconfig").write_text(cluster.leader.kubeconfig)
    kubeadm = context.bundle.path(context.bundle.manifest.of("kubeadm"))
    files = ["--config", str(folder / "kubeadm.yaml"), "--kubeconfig", str(folder / "kubeconfig")]
    done = subprocess.run(
        [kubeadm, "init", "phase", "upload-config", "kubeadm", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_what_kubeadm_keeps_decides_whether_the_network_fits(cluster: Cluster, tmp_path: Path) -> None:
    try:
        uploaded(cluster, "ptp", tmp_path)
        with pytest.raises(StrongroomError, match="this cluster was started with no pod subnet"):
            cluster.run(PodNetworkPhase(), hands=True)
        uploaded(cluster, "cilium", tmp_path)
        cluster.run(PodNetworkPhase(), hands=True)
        assert cluster.run(PodNetworkPhase(), hands=False) == []
    finally:
        cluster.api.delete("v1", "ConfigMap", "kubeadm-config", "kube-system")


def test_the_objects_name_the_images_that_the_lock_has_and_only_one_namespace(cluster: Cluster) -> None:
    network = pod_network(cluster.context)
    assert network is not None
    assert set(network.images) == {e.image for e in lockfile.load().artifacts if e.component.startswith("cilium-")}
    assert {item["metadata"].get("namespace", "kube-system") for item in network.objects} == {"kube-system"}
    assert "Secret" not in {item["kind"] for item in network.objects}


@dataclass
class _Changed:
    objects: tuple[dict[str, Any], ...]


def test_runtime_classes_and_labels_the_same_way(cluster: Cluster) -> None:
    keys = ["RuntimeClass kata-qemu-coco-dev", "Node cp1"]
    assert cluster.run(RuntimeClassesPhase(), hands=False) == keys
    somebody(cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1"}})  # the kubelet's part
    assert cluster.run(RuntimeClassesPhase(), hands=True) == keys
    assert cluster.run(RuntimeClassesPhase(), hands=True) == []
    labels = {"strongroom.dev/runtime": "false", "other": "kept"}
    somebody(cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1", "labels": labels}})
    assert cluster.run(RuntimeClassesPhase(), hands=False) == ["Node cp1"]
    assert cluster.run(RuntimeClassesPhase(), hands=True) == ["Node cp1"]
    node = cluster.api.get("v1", "Node", "cp1")
    assert node is not None
    assert (node["metadata"]["labels"]["strongroom.dev/runtime"], node["metadata"]["labels"]["other"]) == (
        "true",
        "kept",
    )
