"""Whether a node is well after its runtime was switched: Ready, its handlers there, and a pod running under each."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from strongroom.errors import StrongroomError
from strongroom.kube.client import Api
from strongroom.model.cluster import Host
from strongroom.phases.base import Context
from strongroom.phases.verify import NAMESPACE, VerifyPhase
from strongroom.report.progress import Progress

if TYPE_CHECKING:
    from strongroom.engine.session import Session

_MINUTES = 15


def why_not(node: dict[str, Any], handlers: Sequence[str]) -> str | None:
    """What is wrong with a node; None where it is Ready and reports these handlers.

    containerd 1.7 reports no handlers at all: there its configuration, which was read on the host, and a pod must do.
    """
    status = node.get("status", {})
    ready = next((one for one in status.get("conditions") or () if one["type"] == "Ready"), None)
    if ready is None or ready["status"] != "True":
        said = (ready or {}).get("message")
        return f"not Ready{f': {said}' if said else ''}"
    reported = {one.get("name") for one in status.get("runtimeHandlers") or ()}
    missing = [one for one in handlers if one not in reported] if reported else []
    return f"containerd has no handler {', '.join(missing)}" if missing else None


class NodeHealth:
    """Waits until nodes are well, for so many minutes each."""

    def __init__(
        self,
        context: Context,
        session: Session,
        cluster: Api,
        progress: Progress,
        *,
        minutes: int = _MINUTES,
        sleep: Callable[[float], object] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.context, self.session, self.cluster, self.progress = context, session, cluster, progress
        self.minutes, self.sleep, self.clock = minutes, sleep, clock

    def __call__(self, host: Host, fresh: bool) -> None:
        """Wait for a node; with ``fresh`` also run a pod under each handler, by the bundle's own program.

        A kubelet tells of a dead containerd half a minute late, so Ready alone says little just after a switch: a pod that
        came to run has gone through kubelet, containerd and shim.

        Raises:
            StrongroomError: it is not well in time; the line says what is wrong.
        """
        shims = self.context.shims_of(host)
        self._wait(host, [shim.handler for shim in shims])
        if fresh and shims:
            self.cluster.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        for shim in shims if fresh else ():
            VerifyPhase().proof(self.context, self.session, self.cluster, host, shim, self.progress, cordoned=True)
        self._wait(host, [shim.handler for shim in shims])

    def _wait(self, host: Host, handlers: Sequence[str]) -> None:
        end = self.clock() + 60 * self.minutes
        while why := why_not(self.cluster.get("v1", "Node", host.name) or {}, handlers):
            if self.clock() > end:
                raise StrongroomError(f"{host.name}: {why}, {self.minutes} minutes after the switch")
            self.sleep(2)
