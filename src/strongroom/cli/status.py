"""``strongroom status``: what is where, and in which version, on one screen."""

from __future__ import annotations

import json

from rich import box
from rich.console import Console
from rich.table import Table

from strongroom.cli.common import BundleFolder, InventoryFile, running
from strongroom.cli.output import Output, OutputForm
from strongroom.engine.session import Session
from strongroom.errors import StrongroomError
from strongroom.kube.access import api
from strongroom.report.progress import Progress

# Versions as the host has them: where the links on the PATH lead to, not what somebody wrote down.
SCRIPT = r"""
for name in containerd runc kubelet kubeadm; do
    p=$(readlink -f "$(command -v $name 2>/dev/null)" 2>/dev/null) || p=
    case "$p" in
        /opt/strongroom/*) v=${p#/opt/strongroom/*/}; echo "$name=${v%%/*}";;
        ?*) echo "$name=$p (not strongroom's)";;
    esac
done
k=$(readlink /opt/kata) && echo "kata=${k##*/}"
for unit in containerd kubelet; do echo "$unit.service=$(systemctl is-active $unit)"; done
"""
_COLUMNS = ("containerd", "runc", "kata", "kubelet", "containerd.service", "kubelet.service")


def status(inventory: InventoryFile, bundle: BundleFolder = None, output: OutputForm = Output.TEXT) -> None:
    """Show versions and services of every host, and the nodes as the cluster sees them."""
    with running(inventory, bundle, hands=False) as run:
        hosts = run.context.inventory.hosts
        read = run.session.each(hosts, lambda _, remote: remote.run(SCRIPT, doing="reading versions"))
        found = {
            host.name: dict(line.split("=", 1) for line in lines if "=" in line)
            for host, lines in zip(hosts, read, strict=True)
        }
        nodes, classes = _cluster(run.session, run.progress)
    if output is Output.JSON:
        print(
            json.dumps(
                {"schema": "strongroom.dev/status/v1", "hosts": found, "nodes": nodes, "runtimeClasses": classes}
            )
        )
        return
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("HOST", "CONTAINERD", "RUNC", "KATA", "KUBELET", "SERVICES", "NODE"):
        table.add_column(heading, overflow="fold")
    for host in hosts:
        seen = found[host.name]
        services = f"{seen.get('containerd.service', '?')}, {seen.get('kubelet.service', '?')}"
        versions = [seen.get(name, "-") for name in _COLUMNS[:4]]
        table.add_row(host.name, *versions, services, nodes.get(host.name, "-"))
    console = Console()
    console.print(table)
    console.print(f"Runtime classes: {', '.join(classes) or 'none'}", markup=False)


def _cluster(session: Session, progress: Progress) -> tuple[dict[str, str], list[str]]:
    try:
        cluster = api(session)
        if cluster is None:
            return {}, []
        cluster.wait_ready(progress, timeout=60)
        nodes = {}
        for node in cluster.list("v1", "Node"):
            conditions = {item["type"]: item["status"] for item in node["status"].get("conditions", [])}
            nodes[node["metadata"]["name"]] = "Ready" if conditions.get("Ready") == "True" else "not ready"
        classes = sorted(item["metadata"]["name"] for item in cluster.list("node.k8s.io/v1", "RuntimeClass"))
    except StrongroomError as error:
        progress.say(str(error))  # the hosts' part of the answer still stands
        return {}, []
    return nodes, classes
