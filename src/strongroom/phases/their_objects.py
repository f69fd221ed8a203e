"""What strongroom puts to the API server of somebody else's cluster, and takes back there: theirs does not go with us."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from strongroom.errors import StrongroomError
from strongroom.kube.access import api
from strongroom.phases.base import Context
from strongroom.phases.runtime_classes import MANAGED, RuntimeClassesPhase, bare_node, keys_rule
from strongroom.phases.verify import NAMESPACE
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session


class TheirRuntimeClassesPhase(RuntimeClassesPhase):
    """The same, and with a way back."""

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        _refuse_no_api(context, session)
        return super().run(context, session, progress, hands)

    def undo(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        """RuntimeClasses of ours, our labels on nodes, the rule and the namespace of verify's pods go."""
        cluster = api(session)
        if cluster is None:
            _refuse_no_api(context, session)
            return []
        cluster.wait_ready(progress)
        selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
        kind = ("node.k8s.io/v1", "RuntimeClass")
        classes = sorted(item["metadata"]["name"] for item in cluster.list(*kind, label_selector=selector))
        gone = [(*kind, name) for name in classes]
        rule = keys_rule()
        named = (rule["apiVersion"], rule["kind"], rule["metadata"]["name"])
        if context.inventory.cluster.runtime.nfd and cluster.get(*named) is not None:
            gone.append(named)
        if cluster.get("v1", "Namespace", NAMESPACE) is not None:
            gone.append(("v1", "Namespace", NAMESPACE))
        steps = []
        for version, what, name in gone:
            steps.append(Step(f"{what} {name}", f"delete {what} {name}", ""))
            if hands:
                progress.say(steps[-1].sentence)
                cluster.delete(version, what, name)
        for host in context.inventory.runtime_hosts:
            if cluster.get("v1", "Node", host.name) is None or cluster.difference(bare_node(host.name)) is None:
                continue
            steps.append(Step(f"Node {host.name}", f"take our labels off node {host.name}", ""))
            if hands:
                progress.say(steps[-1].sentence)
                cluster.apply(bare_node(host.name))
        return steps


def _refuse_no_api(context: Context, session: Session) -> None:
    """An own cluster comes into being during a run; somebody else's has to be there.

    Raises:
        StrongroomError: no kubeconfig where the distribution keeps it.
    """
    theirs, leader = context.inventory.cluster.kubernetes.of, context.inventory.leader
    if api(session) is None:
        raise StrongroomError(
            f"{leader.name}: {theirs.kubeconfig}: there is none, needed is the admin's of this {theirs.name} cluster",
            hint="put a host of its control plane into group control_plane, or correct kubernetes.distribution",
        )
