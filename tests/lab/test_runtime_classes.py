"""RuntimeClasses of every shim, on a real API server: taken as they are, changed with the inventory, and gone with their shims."""

# ruff: noqa: F811 - fixtures are named twice by their nature: imported, and asked for
from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.model.kata_settings import ShimSettings
from strongroom.phases.context import shims
from strongroom.phases.runtime_classes import MANAGED, RuntimeClassesPhase, keys_rule
from strongroom.report.progress import Progress
from tests.lab.test_apiserver import Cluster, bundle, cluster, server, somebody  # noqa: F401 - fixtures

pytestmark = pytest.mark.apiserver
KNOWN = shims()
# What Node Feature Discovery brings, as far as an object has to be taken.
CRD: dict[str, Any] = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "nodefeaturerules.nfd.k8s-sigs.io"},
    "spec": {
        "group": "nfd.k8s-sigs.io",
        "scope": "Cluster",
        "names": {"kind": "NodeFeatureRule", "plural": "nodefeaturerules", "singular": "nodefeaturerule"},
        "versions": [
            {
                "name": "v1alpha1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {"spec": {"type": "object", "x-kubernetes-preserve-unknown-fields": True}},
                    }
                },
            }
        ],
    },
}


def with_shims(cluster: Cluster, *names: str, **runtime: Any) -> Cluster:
    """The cluster under an inventory with other shims."""
    ours = cluster.context.inventory
    changed = ours.cluster.runtime.model_copy(update={"shims": names, **runtime})
    inventory = ours.model_copy(update={"cluster": ours.cluster.model_copy(update={"runtime": changed})})
    context = replace(cluster.context, inventory=inventory, shims=tuple(KNOWN[name] for name in names))
    return replace(cluster, context=context, inventory=inventory)


def test_every_shims_class_is_taken_and_goes_with_its_shim(cluster: Cluster) -> None:
    somebody(cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1"}})
    everything = with_shims(cluster, *KNOWN)
    keys = [f"RuntimeClass {shim.handler}" for shim in KNOWN.values()]
    assert everything.run(RuntimeClassesPhase(), hands=True) == [*keys, "Node cp1"]
    assert everything.run(RuntimeClassesPhase(), hands=True) == []
    theirs = {"apiVersion": "node.k8s.io/v1", "kind": "RuntimeClass", "metadata": {"name": "theirs"}, "handler": "x"}
    somebody(cluster, theirs)
    one = with_shims(cluster, "qemu", settings={"qemu": ShimSettings(memory_mib=4096)})
    stale = sorted(set(keys) - {"RuntimeClass kata-qemu"})
    assert one.run(RuntimeClassesPhase(), hands=False) == stale
    assert one.run(RuntimeClassesPhase(), hands=True) == stale
    assert one.run(RuntimeClassesPhase(), hands=True) == []
    assert cluster.api.get("node.k8s.io/v1", "RuntimeClass", "theirs") is not None


def test_a_class_of_our_name_that_somebody_else_made_is_theirs_until_they_hand_it_over(cluster: Cluster) -> None:
    somebody(cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1"}})
    kind = ("node.k8s.io/v1", "RuntimeClass")
    theirs = {"apiVersion": kind[0], "kind": kind[1], "metadata": {"name": "kata-fc"}, "handler": "kata-fc"}
    somebody(cluster, theirs)
    one = with_shims(cluster, "clh", "fc")
    for hands in (False, True):
        with pytest.raises(
            StrongroomError, match=r"^RuntimeClass kata-fc: is there already, and not strongroom's \(somebody"
        ):
            one.run(RuntimeClassesPhase(), hands=hands)
    assert cluster.api.get(*kind, "kata-clh") is None
    somebody(cluster, {**theirs, "metadata": {"name": "kata-fc", "labels": MANAGED}})
    assert {"RuntimeClass kata-clh", "RuntimeClass kata-fc"} <= set(one.run(RuntimeClassesPhase(), hands=True))
    assert one.run(RuntimeClassesPhase(), hands=True) == []
    found = cluster.api.get(*kind, "kata-fc")
    assert found is not None
    assert found["overhead"]["podFixed"]["memory"]


def test_keys_and_their_rule_come_and_go_together(cluster: Cluster) -> None:
    somebody(cluster, {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "cp1"}})
    off, on = with_shims(cluster, "qemu-snp"), with_shims(cluster, "qemu-snp", nfd=True)
    off.run(RuntimeClassesPhase(), hands=True)  # also where nobody knows such rules
    with pytest.raises(StrongroomError, match=r"NodeFeatureRule strongroom-tee-keys: API server: has no kind"):
        on.run(RuntimeClassesPhase(), hands=True)
    cluster.api.apply(CRD)
    cluster.api.wait("the definition", lambda: _served(cluster), Progress())
    rule, the_class = "NodeFeatureRule strongroom-tee-keys", "RuntimeClass kata-qemu-snp"
    assert on.run(RuntimeClassesPhase(), hands=True) == [rule, the_class]
    assert on.run(RuntimeClassesPhase(), hands=True) == []
    assert _asked(cluster) == {"memory", "cpu", "sev-snp.amd.com/esids"}
    assert off.run(RuntimeClassesPhase(), hands=False) == [the_class, rule]
    assert off.run(RuntimeClassesPhase(), hands=True) == [the_class, rule]
    assert off.run(RuntimeClassesPhase(), hands=True) == []
    assert _asked(cluster) == {"memory", "cpu"}
    item = keys_rule()
    assert cluster.api.get(item["apiVersion"], item["kind"], item["metadata"]["name"]) is None


def _served(cluster: Cluster) -> bool:
    try:
        cluster.api.list("nfd.k8s-sigs.io/v1alpha1", "NodeFeatureRule")
    except StrongroomError:
        return False
    return True


def _asked(cluster: Cluster) -> set[str]:
    item = cluster.api.get("node.k8s.io/v1", "RuntimeClass", "kata-qemu-snp")
    assert item is not None
    return set(item["overhead"]["podFixed"])
