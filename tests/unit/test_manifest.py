"""Kubernetes objects of a manifest: what is one, what it is called, the order, and the images."""

from __future__ import annotations

import random
from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.model import manifest


def item(kind: str, name: str = "x", namespace: str | None = None, **more: Any) -> dict[str, Any]:
    place = {"namespace": namespace} if namespace else {}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, **place}, **more}


def test_what_others_refer_to_is_there_before_them_and_pods_come_last() -> None:
    kinds = ["Namespace", "ServiceAccount", "ClusterRole", "ClusterRoleBinding", "ConfigMap", "Widget", "DaemonSet"]
    for seed in range(20):
        shuffled = random.Random(seed).sample(kinds, len(kinds))
        assert [o["kind"] for o in manifest.in_order([item(kind) for kind in shuffled])] == kinds


def test_objects_of_one_kind_stay_as_they_were() -> None:
    objects = [item("ConfigMap", name) for name in "bac"]
    assert [o["metadata"]["name"] for o in manifest.in_order(objects)] == ["b", "a", "c"]


def test_empty_documents_do_not_count() -> None:
    text = "---\n# Source: a\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a, namespace: b}\n---\n"
    (only,) = manifest.parse(text, "m.yaml")
    assert manifest.key(only) == "ConfigMap b/a"
    assert manifest.key(item("Node", "n")) == "Node n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [", "is no YAML"),
        ("[" * 50_000, "nested deeper than 100 levels"),
        ("", "has no Kubernetes objects"),
        ("- a", "document 1 is no Kubernetes object"),
        ("kind: A\nmetadata: {name: a}", "document 1"),
        ("apiVersion: v1\nkind: A\nmetadata: {name: a}\n---\napiVersion: v1\nkind: A\nmetadata: a", "document 2"),
        ("apiVersion: v1\nkind: A\nmetadata: {namespace: a}", "document 1"),
    ],
)
def test_what_is_no_manifest_is_refused_in_one_line(text: str, told: str) -> None:
    with pytest.raises(StrongroomError) as caught:
        manifest.parse(text, "m.yaml")
    assert str(caught.value).startswith("m.yaml: ")
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_container_counts_and_nothing_else() -> None:
    pod = {
        "initContainers": [{"name": "i", "image": "r/init:1"}, {"name": "same", "image": "r/main:1"}],
        "containers": [{"name": "m", "image": "r/main:1"}],
    }
    objects = [
        item("DaemonSet", spec={"template": {"spec": pod}}),
        item("CronJob", spec={"jobTemplate": {"spec": {"template": {"spec": {"containers": [{"image": "r/job:1"}]}}}}}),
        item("ConfigMap", data={"containers": "[{image: r/no:1}]", "image": "r/no:2"}),
    ]
    assert manifest.images(objects) == ("r/init:1", "r/job:1", "r/main:1")
