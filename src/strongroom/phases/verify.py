"""Verify: a pod really runs under every handler, by the binary that was pinned for it; and the verdict."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from strongroom.errors import AttestationRefused, StrongroomError
from strongroom.kube.access import api
from strongroom.kube.client import Api
from strongroom.model.cluster import Host
from strongroom.model.shims import Shim
from strongroom.model.verdict import Verdict
from strongroom.phases.base import Context
from strongroom.phases.kata import pinned
from strongroom.plan.resource import Step
from strongroom.plan.through import through
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

NAMESPACE = "strongroom"


@dataclass(frozen=True)
class Proof:
    """What was seen of one pod under one handler on one node."""

    node: str
    handler: str
    pod: str
    shim_path: str
    shim_sha256: str
    stand_in: bool


_ON_CORDONED = [{"key": "node.kubernetes.io/unschedulable", "operator": "Exists", "effect": "NoSchedule"}]


def pod(shim: Shim, host: Host, image: str, *, cordoned: bool = False) -> dict[str, Any]:
    """The pod that verify runs: no rights, no token, no restart, bound to one node, on request to a cordoned one too."""
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": f"verify-{shim.name}-{host.name}", "namespace": NAMESPACE},
        "spec": {
            "runtimeClassName": shim.handler,
            "nodeSelector": {"kubernetes.io/hostname": host.name},
            **({"tolerations": _ON_CORDONED} if cordoned else {}),
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "terminationGracePeriodSeconds": 5,
            "containers": [
                {
                    "name": "pod",
                    "image": image,
                    "imagePullPolicy": "Never",
                    "securityContext": {
                        "allowPrivilegeEscalation": False,
                        "capabilities": {"drop": ["ALL"]},
                        "readOnlyRootFilesystem": True,
                    },
                }
            ],
        },
    }


def shim_script(uid: str) -> str:
    """Prints path and sum of the program behind the shim process of a pod: ``sandbox=``, ``exe=``, ``sha256=``.

    The shim is found by the sandbox id in its arguments and read through /proc/PID/exe: the running file itself, not what
    lies at its path by now.
    """
    return (
        f'id=$(ctr -n k8s.io containers ls -q \'labels."io.kubernetes.pod.uid"=={uid},'
        'labels."io.cri-containerd.kind"==sandbox\')\n'
        '[ -n "$id" ] || { echo "no sandbox of the pod in containerd" >&2; exit 1; }\necho sandbox=$id\n'
        "for p in /proc/[0-9]*; do\n"
        "    if tr '\\0' ' ' < $p/cmdline 2>/dev/null | grep -q -e \"-id $id \"; then\n"
        "        echo exe=$(readlink $p/exe); echo sha256=$(sha256sum < $p/exe | cut -c1-64); exit 0\n"
        '    fi\ndone\necho "no shim process for sandbox $id" >&2; exit 1\n'
    )


class VerifyPhase:
    """Runs a pod under each handler on each node that carries the runtime, and judges what it found."""

    name = "verify"
    title = "Verify"

    def __init__(self) -> None:
        self.proofs: list[Proof] = []
        self.verdict: Verdict | None = None

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        if not hands:
            return []  # verify changes nothing, so a plan has nothing to list
        if context.inventory.cluster.runtime.engine == "crio":
            raise StrongroomError(
                "cluster: runtime.engine: found 'crio', verify needs 'containerd': it asks containerd which process keeps a"
                " pod, and brings the pod's image there",
                hint="apply with --skip-phase verify; docs/existing-clusters.md says what to look at by hand",
            )
        cluster = api(session)
        if cluster is None:
            raise StrongroomError(
                f"{context.inventory.leader.name}: there is no cluster to verify",
                hint="strongroom apply INVENTORY makes one",
            )
        cluster.wait_ready(progress)
        cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for host in context.inventory.runtime_hosts:
            self._node(cluster, host, context.shims_of(host), progress)
            for shim in context.shims_of(host):
                self.proofs.append(self.proof(context, session, cluster, host, shim, progress))
        self.verdict = Verdict.without_evidence(any(proof.stand_in for proof in self.proofs))
        claim = context.inventory.cluster.claim
        if not self.verdict.equals(claim):
            raise AttestationRefused(
                f"{context.inventory.cluster.name}: {self.verdict}, and the inventory claims {claim}",
                hint="this version has no verified evidence to offer; claim none until it has",
            )
        return []

    def _node(self, cluster: Api, host: Host, shims: Sequence[Shim], progress: Progress) -> None:
        def ready() -> bool:
            node = cluster.get("v1", "Node", host.name) or {}
            conditions = {item["type"]: item["status"] for item in node.get("status", {}).get("conditions", [])}
            return conditions.get("Ready") == "True"

        cluster.wait(f"node {host.name} to be Ready", ready, progress)
        node = cluster.get("v1", "Node", host.name) or {}
        # containerd 1.7 reports no handlers at all; then the running pod is the only, and sufficient, proof.
        reported = {item.get("name") for item in node["status"].get("runtimeHandlers") or []}
        for shim in shims:
            if reported and shim.handler not in reported:
                raise StrongroomError(
                    f"node {host.name}: containerd has no handler {shim.handler}; it has {', '.join(sorted(filter(None, reported)))}"
                )
            if cluster.get("node.k8s.io/v1", "RuntimeClass", shim.handler) is None:
                raise StrongroomError(
                    f"cluster: there is no RuntimeClass {shim.handler}", hint="apply --phase runtime-classes"
                )

    def proof(
        self,
        context: Context,
        session: Session,
        cluster: Api,
        host: Host,
        shim: Shim,
        progress: Progress,
        *,
        cordoned: bool = False,
    ) -> Proof:
        """Run a pod under one handler on one node, and see which program keeps it.

        Raises:
            StrongroomError: it does not run, or by another program than the bundle's.
        """
        image = str(context.bundle.manifest.of("verify-pod").image)
        manifest = pod(shim, host, image, cordoned=cordoned)
        name = manifest["metadata"]["name"]

        def state() -> dict[str, Any]:
            return cluster.get("v1", "Pod", name, NAMESPACE) or {}

        def running() -> bool:
            phase = state().get("status", {}).get("phase")
            if phase in ("Failed", "Succeeded"):
                raise StrongroomError(f"node {host.name}: pod {NAMESPACE}/{name} under {shim.handler} ended: {phase}")
            return bool(phase == "Running")

        if state():  # a pod of an earlier run proves nothing about this one
            cluster.delete("v1", "Pod", name, NAMESPACE)
            cluster.wait(f"the last pod {name} to go", lambda: not state(), progress)
        _create_pod(cluster, manifest)
        try:
            cluster.wait(f"pod {NAMESPACE}/{name} to run under {shim.handler}", running, progress, timeout=600)
            uid = state()["metadata"]["uid"]
        except StrongroomError as error:
            needs = f"{shim.name} needs {shim.needs}, which strongroom does not set up" if shim.needs else None
            raise StrongroomError(f"{error}{_why(cluster, name)}", hint=needs or error.hint) from error
        script = through(context.inventory.cluster.kubernetes.of.ctr, shim_script(uid))
        lines = session.remote(host).run(script, doing=f"looking for the shim of {name}")
        found = dict(line.split("=", 1) for line in lines if "=" in line)
        return self._judged(context, host, shim, name, found)

    def _judged(self, context: Context, host: Host, shim: Shim, name: str, found: dict[str, str]) -> Proof:
        wanted, stand_in = pinned(context, shim)
        if found.get("sha256") != wanted:
            raise StrongroomError(
                f"node {host.name}: the shim of pod {name} is {found.get('exe')} with SHA-256 {found.get('sha256')};"
                f" {shim.runtime_path} is pinned as {wanted}",
                hint="another runtime answers for this handler: look at containerd config dump on the host",
            )
        return Proof(host.name, shim.handler, f"{NAMESPACE}/{name}", found["exe"], wanted, stand_in)


def _create_pod(cluster: Api, manifest: dict[str, Any]) -> None:
    # The service account of a namespace that was just made appears a moment later.
    for attempt in range(60):
        try:
            cluster.apply(manifest)
            return
        except Exception as error:
            if attempt == 59 or "serviceaccount" not in str(error).lower():
                raise StrongroomError(f"pod {manifest['metadata']['name']}: {str(error)[:300]}") from error
            time.sleep(2)


def _why(cluster: Api, name: str) -> str:
    events = cluster.list("v1", "Event", namespace=NAMESPACE, field_selector=f"involvedObject.name={name}")
    messages = [event.get("message", "") for event in events if event.get("type") == "Warning"]
    return f" ({messages[-1][:300]})" if messages else ""
