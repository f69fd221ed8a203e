"""Cordons and evictions put to a real API server: who holds a cordon, and what a disruption budget says.

Nothing schedules, and no kubelet runs: the test itself lets evicted pods end, and keeps the budget's numbers.
"""

# ruff: noqa: F811 - fixtures are named twice by their nature: imported, and asked for
from __future__ import annotations

from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.kube import drain
from strongroom.kube.client import Api
from strongroom.phases.runtime_classes import RuntimeClassesPhase
from tests.apiserver import ApiServer
from tests.lab.test_apiserver import Cluster, bundle, cluster, server, somebody  # noqa: F401 - fixtures

pytestmark = pytest.mark.apiserver
NODE: dict[str, Any] = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1"}}
LABELS = {"app": "db"}


@pytest.fixture
def node(cluster: Cluster) -> Api:
    somebody(cluster, NODE)
    return cluster.api


def cordoned(api: Api) -> bool:
    return drain.is_cordoned(api.get("v1", "Node", "cp1") or {})


def test_a_cordon_is_given_back(node: Api) -> None:
    assert drain.cordon(node, "cp1") is False
    assert cordoned(node)
    assert drain.is_ours(node.get("v1", "Node", "cp1") or {})
    assert drain.cordon(node, "cp1") is False, "a run that goes on where one was cut off"
    assert drain.release(node, "cp1") is False
    assert not cordoned(node)
    assert not drain.is_ours(node.get("v1", "Node", "cp1") or {})


def test_a_cordon_of_somebody_else_stays(cluster: Cluster, node: Api) -> None:
    somebody(cluster, {**NODE, "spec": {"unschedulable": True}})
    assert drain.cordon(node, "cp1") is True
    assert drain.release(node, "cp1") is True
    assert cordoned(node)
    somebody(cluster, NODE)
    assert not cordoned(node)


def test_one_that_somebody_joins_meanwhile_stays_too(cluster: Cluster, node: Api) -> None:
    drain.cordon(node, "cp1")
    somebody(cluster, {**NODE, "spec": {"unschedulable": True}})
    assert drain.release(node, "cp1") is True
    somebody(cluster, NODE)
    assert not cordoned(node)


def test_no_node_is_made_by_a_cordon(node: Api) -> None:
    with pytest.raises(StrongroomError, match="w9: is no node of the cluster"):
        drain.cordon(node, "w9")
    assert drain.release(node, "w9") is False
    assert node.get("v1", "Node", "w9") is None


def test_labels_of_ours_outlive_it_and_apply_gives_it_back(cluster: Cluster, node: Api) -> None:
    cluster.run(RuntimeClassesPhase(), hands=True)
    drain.cordon(node, "cp1")
    assert cluster.run(RuntimeClassesPhase(), hands=False) == ["cordon of cp1"]
    assert cordoned(node)
    assert cluster.run(RuntimeClassesPhase(), hands=True) == ["cordon of cp1"]
    assert not cordoned(node)
    assert cluster.run(RuntimeClassesPhase(), hands=True) == []


def pod(api: Api, name: str) -> None:
    spec = {
        "nodeName": "cp1",
        "containers": [{"name": "a", "image": "example/a:1"}],
        "automountServiceAccountToken": False,
    }
    metadata = {"name": name, "namespace": "shop", "labels": LABELS}
    manifest = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata}
    api.apply({**manifest, "spec": spec})
    # A pod that does not run yet may always be evicted, whatever a budget says.
    running = {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]}
    _status(api, manifest, running)


def _status(api: Api, manifest: dict[str, Any], status: dict[str, Any]) -> None:
    """What a kubelet or a controller would say of an object."""
    api._resource(manifest).subresources["status"].patch(
        body={**manifest, "status": status},
        name=manifest["metadata"]["name"],
        namespace="shop",
        content_type="application/merge-patch+json",
    )


def budget(api: Api, server: ApiServer, allowed: int) -> None:
    """A budget, and its status as the controller would keep it."""
    metadata = {"name": "db", "namespace": "shop"}
    selector = {"matchLabels": LABELS}
    manifest = {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": metadata}
    made = api.apply({**manifest, "spec": {"minAvailable": 1, "selector": selector}})
    status = {
        "observedGeneration": made["metadata"]["generation"], "disruptionsAllowed": allowed,
        "currentHealthy": 1 + allowed, "desiredHealthy": 1, "expectedPods": 1 + allowed,
    }  # fmt: skip
    _status(api, manifest, status)


def test_a_budget_keeps_a_pod_and_is_named_and_then_lets_it_go(node: Api, server: ApiServer) -> None:
    node.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    account = {"name": "default", "namespace": "shop"}
    node.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": account})
    pod(node, "db-0")
    budget(node, server, 0)
    assert [str(one) for one in drain.pods_on(node, "cp1")] == ["shop/db-0"]
    said: list[str] = []
    times = iter(range(0, 10000, 30))

    def away(sleep: Any) -> drain.Drain:
        return drain.Drain(node, 1, said.append, sleep=sleep, clock=lambda: float(next(times)))

    with pytest.raises(StrongroomError) as caught:
        away(lambda _: None)(["cp1"])
    assert str(caught.value).startswith("cp1: not drained after 1 minutes, because of shop/db-0 (")
    assert "disruption budget db needs 1 healthy pods" in str(caught.value)
    assert len(said) == 1, "told once, not at every turn"
    budget(node, server, 1)
    # A pod that no kubelet has started is gone at once, or ends when its kubelet says so.
    away(lambda _: node.delete("v1", "Pod", "db-0", "shop"))(["cp1"])
    assert drain.pods_on(node, "cp1") == []
    assert node.evict("shop", "db-0") is None, "one that is gone needs no eviction"
