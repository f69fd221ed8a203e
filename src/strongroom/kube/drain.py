"""Takes nodes out of service and back: cordon, drain by evictions, release.

A cordon is a field (``spec.unschedulable``) that we own by server-side apply, under a manager of its own. So the API server
itself remembers who else has cordoned the node: giving our field back uncordons it only where nobody else holds it. An
annotation goes with it, by which a later run knows that an upgrade was cut off.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from strongroom.errors import StrongroomError

MANAGER = "strongroom-upgrade"
NOTE = "strongroom.dev/cordoned-for"
OWN_NAMESPACE = "strongroom"
"""Pods in it are those of verify, which makes them anew each time."""
_POLL = 5


class Cluster(Protocol):
    """What is needed of :class:`strongroom.kube.client.Api`."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        """An object, or ``None``."""
        ...

    def list(self, api_version: str, kind: str, **query: Any) -> list[dict[str, Any]]:
        """All objects of a kind."""
        ...

    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False, manager: str | None = None) -> dict[str, Any]:
        """Server-side apply."""
        ...

    def evict(self, namespace: str, name: str) -> str | None:
        """``None``, or why not now."""
        ...


def _node(name: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, **fields.pop("metadata", {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": metadata, **fields}


def is_cordoned(node: dict[str, Any]) -> bool:
    """Whether no new pod is scheduled on a node."""
    return bool(node.get("spec", {}).get("unschedulable"))


def is_ours(node: dict[str, Any]) -> bool:
    """Whether an upgrade of ours has cordoned a node, and not given it back yet."""
    return NOTE in (node.get("metadata", {}).get("annotations") or {})


def cordon(cluster: Cluster, name: str) -> bool:
    """Cordon a node; whether it was already, by somebody else.

    Raises:
        StrongroomError: there is no such node.
    """
    node = cluster.get("v1", "Node", name)
    if node is None:
        raise StrongroomError(f"{name}: is no node of the cluster", hint="strongroom apply joins it")
    wanted = _node(name, metadata={"annotations": {NOTE: "upgrade"}}, spec={"unschedulable": True})
    cluster.apply(wanted, manager=MANAGER)
    return is_cordoned(node) and not is_ours(node)


def release(cluster: Cluster, name: str) -> bool:
    """Give our cordon back; whether the node stays cordoned, because somebody else holds it."""
    if not is_ours(cluster.get("v1", "Node", name) or {}):  # also: no such node, which an apply would make
        return False
    # A manager that applies less than before gives the rest up: a field that nobody else holds goes with it.
    cluster.apply(_node(name), manager=MANAGER)
    return is_cordoned(cluster.get("v1", "Node", name) or {})


@dataclass(frozen=True)
class Pod:
    """A pod that a drain has to move away. ``lone``: no controller makes it anew; ``ending``: it is on its way out."""

    node: str
    namespace: str
    name: str
    lone: bool
    ending: bool

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


def to_move(items: Iterable[dict[str, Any]]) -> list[Pod]:
    """The pods among these that a drain moves away: none of a DaemonSet, no static one, none that has ended."""
    found = []
    for item in items:
        metadata = item["metadata"]
        controller = next((one for one in metadata.get("ownerReferences") or () if one.get("controller")), None)
        kind = controller["kind"] if controller else None
        static = kind == "Node" or "kubernetes.io/config.mirror" in (metadata.get("annotations") or {})
        if static or kind == "DaemonSet" or item.get("status", {}).get("phase") in ("Succeeded", "Failed"):
            continue
        lone = kind is None and metadata["namespace"] != OWN_NAMESPACE
        node = item.get("spec", {}).get("nodeName", "")
        ending = bool(metadata.get("deletionTimestamp"))
        found.append(Pod(node, metadata["namespace"], metadata["name"], lone, ending))
    return sorted(found, key=str)


def pods_on(cluster: Cluster, name: str) -> list[Pod]:
    """The pods that a drain of a node moves away."""
    return to_move(cluster.list("v1", "Pod", field_selector=f"spec.nodeName={name}"))


@dataclass(frozen=True)
class Drain:
    """How nodes are drained: within so many minutes, asking again every few seconds."""

    cluster: Cluster
    minutes: int
    say: Callable[[str], None]
    sleep: Callable[[float], object] = time.sleep
    clock: Callable[[], float] = time.monotonic

    def __call__(self, nodes: Sequence[str]) -> None:
        """Evict all that is to be moved from the nodes together, and wait until it is gone.

        Raises:
            StrongroomError: something is still there at the end; the line names each such pod, and what keeps it.
        """
        end = self.clock() + 60 * self.minutes
        told: set[str] = set()
        while True:
            left = {pod: self._ask(pod) for node in nodes for pod in pods_on(self.cluster, node)}
            if not left:
                return
            for pod, why in left.items():
                if why is not None and (line := f"{pod.node}: {pod} is not evicted yet: {why}") not in told:
                    told.add(line)
                    self.say(line)
            if self.clock() >= end:
                raise StrongroomError(_undrained(left, self.minutes))
            self.sleep(_POLL)

    def _ask(self, pod: Pod) -> str | None:
        return None if pod.ending else self.cluster.evict(pod.namespace, pod.name)


def _undrained(left: dict[Pod, str | None], minutes: int) -> str:
    names = ", ".join(sorted({pod.node for pod in left}))
    pods = ", ".join(f"{pod} ({why or 'is still ending'})" for pod, why in left.items())
    return f"{names}: not drained after {minutes} minutes, because of {pods}"
