"""The way from an inventory to its cluster's API: the admin kubeconfig, read over SSH and kept in memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from strongroom.kube.client import Api, with_server

if TYPE_CHECKING:
    from strongroom.engine.session import Session


def admin_kubeconfig(session: Session) -> str | None:
    """The cluster's admin kubeconfig, its server as the controller reaches it; ``None`` before the cluster exists."""
    path = session.inventory.cluster.kubernetes.of.kubeconfig
    lines = session.leader.run(f"cat {path} 2>/dev/null || :", doing="reading the kubeconfig")
    text = "\n".join(lines)
    return with_server(text, session.inventory.leader.api()) if "clusters:" in text else None


def api(session: Session) -> Api | None:
    """The cluster's API, or ``None`` before the cluster exists."""
    kubeconfig = admin_kubeconfig(session)
    return Api(kubeconfig) if kubeconfig else None
