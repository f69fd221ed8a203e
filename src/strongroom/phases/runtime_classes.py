"""Runtime classes: what a pod names to get a Kata guest, and the node labels that its selector looks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from strongroom.kube.access import api
from strongroom.kube.client import Api
from strongroom.model.shims import Shim
from strongroom.phases.base import Context
from strongroom.phases.objects import converge
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

LABEL = "strongroom.dev/runtime"
# Tools beside us look for Kata's own label, so we set it as well (kata-deploy, helm chart, nodeSelector).
KATA_LABEL = "katacontainers.io/kata-runtime"


def runtime_class(shim: Shim) -> dict[str, Any]:
    """The RuntimeClass (node.k8s.io/v1) of a shim: its overhead, and the nodes that have it."""
    return {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": shim.handler, "labels": {"app.kubernetes.io/managed-by": "strongroom"}},
        "handler": shim.handler,
        "overhead": {"podFixed": {"memory": shim.overhead_memory, "cpu": shim.overhead_cpu}},
        "scheduling": {"nodeSelector": {LABEL: "true"}},
    }


def node_labels(name: str) -> dict[str, Any]:
    """The labels of a node that carries the runtime, as an object for server-side apply."""
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {LABEL: "true", KATA_LABEL: "true"}},
    }


class RuntimeClassesPhase:
    """RuntimeClasses and node labels, by server-side apply."""

    name = "runtime-classes"
    title = "Create runtime classes"

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        manifests = [runtime_class(shim) for shim in context.shims]
        manifests += [node_labels(host.name) for host in context.inventory.runtime_hosts]
        cluster = api(session)
        if cluster is not None:
            cluster.wait_ready(progress)
            for host in context.inventory.runtime_hosts if hands else ():
                cluster.wait(f"node {host.name}", partial(_is_there, cluster, host.name), progress)
        return converge(cluster, manifests, progress, hands)


def _is_there(cluster: Api, node: str) -> bool:
    return cluster.get("v1", "Node", node) is not None
