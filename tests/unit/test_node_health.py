"""When a node is well after a switch: with a cluster whose answers are given, and a clock that goes on by what is slept."""

from __future__ import annotations

from typing import Any

import pytest

from strongroom.errors import StrongroomError
from strongroom.phases.node_health import NodeHealth
from strongroom.phases.verify import VerifyPhase, pod
from strongroom.report.progress import Progress
from tests.unit.test_shims import KNOWN, context, everything, inventory

HANDLER = "kata-qemu"


def node(ready: str = "True", *handlers: str, message: str = "") -> dict[str, Any]:
    conditions = [{"type": "MemoryPressure", "status": "False"}, {"type": "Ready", "status": ready, "message": message}]
    return {"status": {"conditions": conditions, "runtimeHandlers": [{"name": name} for name in handlers]}}


class Cluster:
    """Answers in turn, the last one for ever."""

    def __init__(self, *answers: dict[str, Any]) -> None:
        self.answers, self.applied = list(answers), list[str]()

    def get(self, *_: str) -> dict[str, Any]:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    def apply(self, manifest: dict[str, Any]) -> None:
        self.applied.append(f"{manifest['kind']} {manifest['metadata']['name']}")


@pytest.fixture
def proofs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pods that were run: handler, and whether on a cordoned node."""
    found: list[Any] = []

    def proof(
        self: Any, ctx: Any, session: Any, cluster: Any, host: Any, shim: Any, progress: Any, *, cordoned: bool
    ) -> None:
        found.append((host.name, shim.handler, cordoned))

    monkeypatch.setattr(VerifyPhase, "proof", proof)
    return found


def health(cluster: Cluster) -> tuple[NodeHealth, list[float], Any]:
    made = context(inventory("qemu"), *everything())
    slept: list[float] = []
    how = NodeHealth(
        made, None, cluster, Progress(), minutes=1, sleep=slept.append, clock=lambda: sum(slept),  # type: ignore[arg-type]
    )  # fmt: skip
    return how, slept, made.inventory


def test_a_fresh_node_runs_a_pod_under_each_handler_while_it_is_cordoned(proofs: list[Any]) -> None:
    cluster = Cluster(node("False"), node("True", "runc"), node("True", "runc", HANDLER))
    look, slept, ours = health(cluster)
    look(ours.host("w1"), True)
    assert proofs == [("w1", HANDLER, True)]
    assert cluster.applied == ["Namespace strongroom"]
    assert len(slept) == 2


def test_a_node_that_went_back_is_only_looked_at(proofs: list[Any]) -> None:
    look, _, ours = health(Cluster(node("True", HANDLER)))
    look(ours.host("w1"), False)
    look(ours.host("cp1"), True)  # it carries no shim
    assert proofs == []


def test_one_that_falls_ill_after_its_pod_ran_is_not_well(proofs: list[Any]) -> None:
    cluster = Cluster(node("True", HANDLER), node("False", HANDLER, message="container runtime is down"))
    look, _, ours = health(cluster)
    with pytest.raises(
        StrongroomError, match=r"^w1: not Ready: container runtime is down, 1 minutes after the switch$"
    ):
        look(ours.host("w1"), True)
    assert len(proofs) == 1


def test_a_handler_that_never_comes_is_named(proofs: list[Any]) -> None:
    look, slept, ours = health(Cluster(node("True", "runc")))
    with pytest.raises(StrongroomError, match=r"^w1: containerd has no handler kata-qemu, 1 minutes after the switch$"):
        look(ours.host("w1"), True)
    assert proofs == []
    assert sum(slept) > 60


def test_only_an_upgrades_pod_goes_to_a_cordoned_node() -> None:
    host = inventory("qemu").host("w1")
    assert "tolerations" not in pod(KNOWN["qemu"], host, "x")["spec"]
    (one,) = pod(KNOWN["qemu"], host, "x", cordoned=True)["spec"]["tolerations"]
    assert (one["key"], one["effect"]) == ("node.kubernetes.io/unschedulable", "NoSchedule")
