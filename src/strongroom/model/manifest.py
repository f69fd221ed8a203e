"""Kubernetes objects of a bundle's manifest: read from YAML, named, put in order, and searched for their images."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from strongroom import yaml_text
from strongroom.errors import StrongroomError

#: The order to create kinds in: what others refer to is there before them, and what runs comes last. Kinds that are not
#: listed come after those that are, but before pods are made.
_FIRST = (
    "Namespace", "CustomResourceDefinition", "PriorityClass", "ServiceAccount", "ClusterRole", "ClusterRoleBinding",
    "Role", "RoleBinding", "ConfigMap", "Secret", "Service",
)  # fmt: skip
_LAST = ("DaemonSet", "Deployment", "StatefulSet", "Job", "CronJob")
_CONTAINERS = ("initContainers", "containers", "ephemeralContainers")


def parse(text: str, where: str) -> tuple[dict[str, Any], ...]:
    """The objects of a manifest in the order to apply them; empty documents don't count.

    Raises:
        StrongroomError: no YAML, a document that is no object, or none at all; the line begins with ``where``.
    """
    # libyaml's loader is ten times faster, and PyYAML can be built without it.
    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        yaml_text.refuse_endless(text)
        documents = [document for document in yaml.load_all(text, Loader=loader) if document is not None]
    except yaml.YAMLError as error:
        raise StrongroomError(f"{where}: is no YAML: {' '.join(str(error).split())}") from error
    for number, document in enumerate(documents, 1):
        metadata = document.get("metadata") if isinstance(document, dict) else None
        if not isinstance(metadata, dict) or not all(
            (document.get("apiVersion"), document.get("kind"), metadata.get("name"))
        ):
            raise StrongroomError(
                f"{where}: document {number} is no Kubernetes object (apiVersion, kind, metadata.name)"
            )
    if not documents:
        raise StrongroomError(f"{where}: has no Kubernetes objects")
    return in_order(documents)


def key(item: dict[str, Any]) -> str:
    """What an object is called: ``Kind name``, or ``Kind namespace/name``."""
    metadata = item["metadata"]
    namespace = metadata.get("namespace")
    return f"{item['kind']} {namespace + '/' if namespace else ''}{metadata['name']}"


def in_order(objects: Sequence[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """The objects in the order to apply them; those of one kind stay as they were."""

    def rank(item: dict[str, Any]) -> int:
        kind = item["kind"]
        if kind in _FIRST:
            return _FIRST.index(kind)
        return len(_FIRST) + (1 + _LAST.index(kind) if kind in _LAST else 0)

    return tuple(sorted(objects, key=rank))


def images(objects: Sequence[dict[str, Any]]) -> tuple[str, ...]:
    """Every image that a container of the objects names, sorted, each once."""
    return tuple(sorted(set(_images(list(objects)))))


def _images(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name in _CONTAINERS:
            containers = value.get(name)
            for container in containers if isinstance(containers, list) else ():
                if isinstance(container, dict) and isinstance(container.get("image"), str):
                    yield container["image"]
        for inner in value.values():
            yield from _images(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _images(inner)
