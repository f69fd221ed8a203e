"""Runtime classes: what a pod names to get a Kata guest, and the node labels that its selector looks for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from strongroom import paths, yaml_text
from strongroom.errors import StrongroomError
from strongroom.kube.access import api
from strongroom.kube.client import FIELD_MANAGER, Api
from strongroom.kube.drain import is_ours, release
from strongroom.model.cluster import Host
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.shims import Shim
from strongroom.phases.base import Context
from strongroom.phases.kata import settings_of
from strongroom.phases.objects import converge
from strongroom.plan.resource import Step
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

LABEL = "strongroom.dev/runtime"
PLATFORM_LABEL = "strongroom.dev/platform"
"""The platform whose confidential handlers a node has; nodes without such handlers don't carry it."""
# Tools beside us look for Kata's own label, so we set it as well (kata-deploy, helm chart, nodeSelector).
KATA_LABEL = "katacontainers.io/kata-runtime"
MANAGED = {"app.kubernetes.io/managed-by": "strongroom"}
_KIND = ("node.k8s.io/v1", "RuntimeClass")


def overhead_memory(shim: Shim, settings: ShimSettings) -> str:
    """What a pod is charged beside its limits, ``<n>Mi``.

    The Go runtime starts a guest of a static shim with default_memory on top of the pod's limits (src/runtime/pkg/oci/utils.go),
    so where upstream's overhead has room for that, it moves along with the setting. The Rust runtime adds a sum of its own.
    """
    shipped = int(shim.overhead_memory.removesuffix("Mi"))
    if settings.memory_mib is None or shim.runtime != "go" or not shim.static or (shim.memory or 0) > shipped:
        return shim.overhead_memory
    return f"{shipped - (shim.memory or 0) + settings.memory_mib}Mi"


def runtime_class(shim: Shim, settings: ShimSettings | None = None, nfd: bool = False) -> dict[str, Any]:
    """The RuntimeClass (node.k8s.io/v1) of a shim: its overhead, and the nodes that have it."""
    platform = {PLATFORM_LABEL: str(shim.host_platform)} if shim.confidential else {}
    overhead = {"memory": overhead_memory(shim, settings or ShimSettings()), "cpu": shim.overhead_cpu}
    return {
        "apiVersion": _KIND[0],
        "kind": _KIND[1],
        "metadata": {"name": shim.handler, "labels": dict(MANAGED)},
        "handler": shim.handler,
        "overhead": {"podFixed": {**overhead, **(shim.nfd_resources if nfd else {})}},
        "scheduling": {
            "nodeSelector": {
                LABEL: "true",
                **platform,
                **shim.node_selector,
                **(shim.nfd_selector if nfd else {}),
            }
        },
    }


def node_labels(name: str, platform: str | None = None) -> dict[str, Any]:
    """The labels of a node that carries the runtime, as an object for server-side apply."""
    labels = {LABEL: "true", KATA_LABEL: "true", **({PLATFORM_LABEL: platform} if platform else {})}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}}


def bare_node(name: str) -> dict[str, Any]:
    """A node without labels: applied by us, it takes back those that we had applied, and no others."""
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name}}


def keys_rule() -> dict[str, Any]:
    """The NodeFeatureRule that advertises TEE keys as extended resources."""
    rule: dict[str, Any] = yaml_text.load(paths.catalog("nfd.yaml").read_text(encoding="utf-8"))
    return rule


def objects(context: Context) -> list[dict[str, Any]]:
    """All that the phase wants, in the order to apply it: what advertises a resource before what asks for it."""
    nfd = context.inventory.cluster.runtime.nfd
    rules = [keys_rule()] if nfd and _asks_for_keys(context) else []
    classes = [runtime_class(shim, settings_of(context, shim), nfd) for shim in context.shims]
    return [*rules, *classes, *(_labels(context, host) for host in context.inventory.runtime_hosts)]


def _labels(context: Context, host: Host) -> dict[str, Any]:
    confidential = any(shim.confidential for shim in context.shims_of(host))
    return node_labels(host.name, str(host.platform) if confidential else None)


def _asks_for_keys(context: Context) -> bool:
    return any(shim.nfd_resources for shim in context.shims)


class RuntimeClassesPhase:
    """RuntimeClasses and node labels, by server-side apply; those of ours that nobody asks for any more go."""

    name = "runtime-classes"
    title = "Create runtime classes"

    def run(self, context: Context, session: Session, progress: Progress, hands: bool) -> Sequence[Step]:
        cluster = api(session)
        if cluster is not None:
            cluster.wait_ready(progress)
            refuse_others(context, cluster)
            for host in context.inventory.runtime_hosts if hands else ():
                cluster.wait(f"node {host.name}", partial(_is_there, cluster, host.name), progress)
        steps = converge(cluster, objects(context), progress, hands)
        if cluster is None:
            return steps
        return [
            *steps,
            *remove_stale(context, cluster, progress, hands),
            *uncordon_left(context, cluster, progress, hands),
        ]


def refuse_others(context: Context, cluster: Api) -> None:
    """A RuntimeClass of a name of ours that somebody else has made is theirs: applied over, it would go with us one day.

    Raises:
        StrongroomError: there is one; a line for each, with who made it.
    """
    found = []
    there = {item["metadata"]["name"]: item["metadata"] for item in cluster.list(*_KIND)}
    for shim in context.shims:
        metadata = there.get(shim.handler, {})
        makers = [str(one.get("manager")) for one in metadata.get("managedFields") or ()]
        # The label is not enough: one that somebody has taken off ours is drift, and the manager is still there.
        labelled = MANAGED.items() <= (metadata.get("labels") or {}).items()
        if makers and not labelled and FIELD_MANAGER not in makers:
            found.append(f"RuntimeClass {shim.handler}: is there already, and not strongroom's ({makers[0]} made it)")
    if found:
        label = ",".join(f"{key}={value}" for key, value in MANAGED.items())
        hint = f"delete it, or hand it over: kubectl label runtimeclass NAME {label}; no RuntimeClass was changed"
        raise StrongroomError("\n".join(found), hint=hint)


def uncordon_left(context: Context, cluster: Api, progress: Progress, hands: bool) -> list[Step]:
    """Nodes that an upgrade has cordoned and, cut off, not given back: by now their runtime is as it should be."""
    steps = []
    for host in context.inventory.hosts:
        if is_ours(cluster.get("v1", "Node", host.name) or {}):
            sentence = f"uncordon node {host.name} (an upgrade that was broken off has cordoned it)"
            steps.append(Step(f"cordon of {host.name}", sentence, ""))
            if hands:
                progress.say(sentence)
                release(cluster, host.name)
    return steps


def remove_stale(context: Context, cluster: Api, progress: Progress, hands: bool) -> list[Step]:
    """RuntimeClasses of ours whose shim is no longer chosen, and the rule where NFD was switched off: it goes last, when no
    class asks for what it advertises."""
    wanted = {shim.handler for shim in context.shims}
    selector = ",".join(f"{key}={value}" for key, value in MANAGED.items())
    there = [item["metadata"]["name"] for item in cluster.list(*_KIND, label_selector=selector)]
    stale = [(*_KIND, name, "its shim is not in runtime.shims") for name in sorted(there) if name not in wanted]
    rule = keys_rule()
    # Only where shims have keys at all: elsewhere there was never a rule, and asking for an unknown kind is slow.
    if not context.inventory.cluster.runtime.nfd and _asks_for_keys(context):
        name = (rule["apiVersion"], rule["kind"], rule["metadata"]["name"])
        if cluster.get(*name) is not None:
            stale.append((*name, "runtime.nfd is off"))
    steps = []
    for version, kind, name_, why in stale:
        steps.append(Step(f"{kind} {name_}", f"delete {kind} {name_} ({why})", ""))
        if hands:
            progress.say(steps[-1].sentence)
            cluster.delete(version, kind, name_)
    return steps


def _is_there(cluster: Api, node: str) -> bool:
    return cluster.get("v1", "Node", node) is not None
