"""An upgrade of the runtime: whole runs over scratch hosts in a real shell, and a cluster that answers as an API server does."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from strongroom.engine.runner import Run
from strongroom.engine.upgrade import Options, Upgrade
from strongroom.errors import PreflightRefused, StrongroomError
from strongroom.kube import drain
from strongroom.model.bundle import Artifact
from strongroom.model.cluster import Host as OurHost
from strongroom.phases import kata
from strongroom.phases.base import Context
from strongroom.phases.kubernetes import same_version
from strongroom.phases.node_health import why_not
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation
from strongroom.plan.system import Sysctl, Unit
from strongroom.plan.versions import SWITCHING, FormerUnit, SameVersions, Switch, in_use
from strongroom.report.progress import Progress
from tests.unit.test_kata_layout import Host, shipped
from tests.unit.test_shims import GO, KNOWN, inventory

SHIM = "qemu-coco-dev"


class Box(Host):
    """A scratch host of a cluster, as the engine reaches one; the link to its programs lies in the scratch folder too."""

    def __init__(self, root: Path, name: str) -> None:
        root.mkdir()
        super().__init__(root)
        self.name, self.notes = name, list[str]()
        self.cut: str | None = None
        kubelet = root / "host/etc/kubernetes/kubelet.conf"
        kubelet.parent.mkdir(parents=True)
        kubelet.write_text("")

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for path in ("/etc/kubernetes", "/usr/local/bin/kubelet"):
            script = script.replace(path, f"{self.root}/host{path}")
        return super().run(script)

    def observe(self, resources: Sequence[Resource]) -> dict[str, Observed]:
        return parse_observation(resources, self.run(observe(resources)).stdout.splitlines())

    def perform(self, steps: Sequence[Step], given: str | None = None) -> None:
        for step in steps:
            if self.cut and self.cut in step.sentence:
                raise StrongroomError(f"{self.name}: {step.sentence}: connection lost")
            for upload in step.uploads:
                incoming = Path(f"{self.root}/host{upload.incoming}")
                incoming.parent.mkdir(parents=True, exist_ok=True)
                incoming.write_bytes(upload.source.read_bytes())
            done = self.run(carry_out([step]))
            if done.returncode:
                raise StrongroomError(f"{self.name}: {step.sentence}: {done.stderr}")

    @property
    def used(self) -> str:
        return os.readlink(self.root / "host/opt/kata").rpartition("/")[2]

    @property
    def there(self) -> list[str]:
        return sorted(path.name for path in (self.root / "host/opt/strongroom/kata").iterdir())


class Session:
    def __init__(self, boxes: dict[str, Box]) -> None:
        self.boxes = boxes

    def each(self, hosts: Sequence[OurHost], function: Callable[[OurHost, Any], Any]) -> list[Any]:
        return [function(host, self.boxes[host.name]) for host in hosts]


class Cluster:
    """Nodes whose cordon has owners, and pods that leave when they are evicted, unless ``kept`` says why not."""

    def __init__(self, *names: str) -> None:
        self.nodes: dict[str, dict[str, Any]] = {name: {"metadata": {"annotations": {}}, "spec": {}} for name in names}
        self.owners: dict[str, set[str]] = {name: set() for name in names}
        self.pods: list[dict[str, Any]] = []
        self.kept: dict[str, str] = {}
        self.log: list[str] = []

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        node = self.nodes.get(name)
        return {**node, "spec": {"unschedulable": True} if self.owners[name] else {}} if node else None

    def list(self, api_version: str, kind: str, **query: Any) -> list[dict[str, Any]]:
        node = query["field_selector"].removeprefix("spec.nodeName=")
        return [pod for pod in self.pods if pod["spec"]["nodeName"] == node]

    def apply(self, manifest: dict[str, Any], *, dry_run: bool = False, manager: str | None = None) -> dict[str, Any]:
        name, held = manifest["metadata"]["name"], "spec" in manifest
        self.log.append(f"{'cordon' if held else 'uncordon'} {name}")
        (self.owners[name].add if held else self.owners[name].discard)(str(manager))
        self.nodes[name]["metadata"]["annotations"] = manifest["metadata"].get("annotations", {})
        return {}

    def evict(self, namespace: str, name: str) -> str | None:
        if name in self.kept:
            return self.kept[name]
        self.log.append(f"evict {name}")
        self.pods = [pod for pod in self.pods if pod["metadata"]["name"] != name]
        return None


def pod(name: str, node: str, kind: str | None = "ReplicaSet", **metadata: Any) -> dict[str, Any]:
    owners = [{"kind": kind, "controller": True}] if kind else []
    return {
        "metadata": {"name": name, "namespace": "default", "ownerReferences": owners, **metadata},
        "spec": {"nodeName": node},
        "status": {"phase": "Running"},
    }


def image(component: str) -> Artifact:
    return Artifact(
        component=component, version="1", arch="amd64", kind="image", file="x.tar", size=1, sha256="0" * 64, licence="x",
        source="x", image=f"example/{component}:1", image_digest=f"sha256:{'0' * 64}",
    )  # fmt: skip


class World:
    """A control plane and two workers, on scratch hosts with Kata alone; what needs containerd is left out."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.maker = Host(root / "maker")
        self.inventory = inventory(SHIM, platforms=("none", "none"))
        self.boxes = {host.name: Box(root / host.name, host.name) for host in self.inventory.hosts}
        self.cluster = Cluster(*self.boxes)
        self.ill: dict[str, str] = {}

        def resources(context: Context, host: OurHost) -> list[Resource]:
            return list(kata.resources(context, context.shims)) if context.shims_of(host) else []

        def switches(context: Context, host: OurHost) -> tuple[Switch, ...]:
            wanted = Switch("kata", context.bundle.manifest.of("kata").version, kata.IN_USE)
            return (wanted,) if context.shims_of(host) else ()

        monkeypatch.setattr("strongroom.phases.upgrade._runtime", resources)
        monkeypatch.setattr("strongroom.phases.upgrade.switches", switches)
        monkeypatch.setattr("strongroom.engine.upgrade.switches", switches)
        monkeypatch.setattr("strongroom.phases.upgrade.Image", lambda *_: Sysctl("kernel.ostype", "Linux"))
        monkeypatch.setattr("strongroom.engine.upgrade.RuntimePhase.resources", lambda *_: [])

    def release(self, version: str) -> Context:
        files = {GO: f"go {version}".encode(), KNOWN[SHIM].packaged: shipped(SHIM), "VERSION": version.encode()}
        made = self.maker.context((self.maker.pack("kata", version, files), image("verify-pod")), [SHIM])
        return Context(self.inventory, made.bundle, made.shims)

    def install(self, version: str) -> None:
        context = self.release(version)
        for name in ("w1", "w2"):
            self.boxes[name].apply(kata.resources(context, context.shims))

    def work(self, version: str, *, hands: bool = True, batch: int = 1, force: bool = False) -> Upgrade:
        def health(host: OurHost, fresh: bool) -> None:
            used = self.boxes[host.name].used
            self.cluster.log.append(f"health {host.name} {used}")
            if self.ill.get(host.name) == used:
                raise StrongroomError(f"{host.name}: not Ready, 15 minutes after the switch")

        run = Run(self.release(version), cast(Any, Session(self.boxes)), Progress(), hands)
        clock = [0.0]

        def sleep(seconds: float) -> None:
            clock[0] += seconds

        away = drain.Drain(self.cluster, 10, run.progress.say, sleep, lambda: clock[0])
        return Upgrade(run, self.cluster, health, Options(batch, force=force), away)

    def forward(self, version: str, **options: Any) -> list[str]:
        work = self.work(version, **options)
        work.forward()
        return [f"{one.host}: {one.step.sentence}" for one in work.run.changes]

    @property
    def used(self) -> list[str]:
        return [self.boxes[name].used for name in ("w1", "w2")]

    @property
    def cordoned(self) -> list[str]:
        return [name for name, owners in self.cluster.owners.items() if owners]


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path, monkeypatch)
    made.install("3.1")
    return made


def test_host_by_host_and_then_nothing_is_left_to_do(world: World) -> None:
    world.cluster.pods = [
        pod("app", "w1"),
        pod("other", "w2"),
        pod("agent", "w1", "DaemonSet"),
        pod("api", "w1", "Node"),
    ]
    said = world.forward("3.2")
    assert world.used == ["3.2", "3.2"]
    assert world.cluster.log == [
        "cordon w1", "evict app", "health w1 3.2", "uncordon w1",
        "cordon w2", "evict other", "health w2 3.2", "uncordon w2",
    ]  # fmt: skip
    assert "w1: drain node w1 (default/app)" in said
    assert world.cordoned == []
    assert world.boxes["w1"].there == ["3.1", "3.2"], "the former one is kept"
    assert world.forward("3.2") == []


def test_a_plan_says_the_same_and_touches_nothing(world: World) -> None:
    world.cluster.pods = [pod("app", "w1")]
    planned = world.forward("3.2", hands=False)
    assert (world.used, world.cluster.log, world.boxes["w1"].there) == (["3.1", "3.1"], [], ["3.1"])
    done = world.forward("3.2")
    assert "w1: cordon node w1" in planned
    assert done == planned


def test_workers_go_in_batches(world: World) -> None:
    world.forward("3.2", batch=2)
    assert world.cluster.log == [
        "cordon w1", "cordon w2", "health w1 3.2", "health w2 3.2", "uncordon w1", "uncordon w2",
    ]  # fmt: skip


def test_the_control_plane_goes_alone_and_first(world: World) -> None:
    hosts = world.inventory.hosts
    found = world.work("3.2", batch=5).batches(hosts)
    assert [[host.name for host in batch] for batch in found] == [["cp1"], ["w1", "w2"]]


def test_the_first_bad_node_stops_it_and_its_batch_goes_back(world: World) -> None:
    world.ill = {"w2": "3.2"}
    with pytest.raises(StrongroomError) as caught:
        world.forward("3.2")
    assert str(caught.value) == "w2: not Ready, 15 minutes after the switch; w2 was rolled back; done before: w1"
    assert world.used == ["3.2", "3.1"]
    assert world.cordoned == []
    world.ill = {}
    world.forward("3.2")
    assert world.used == ["3.2", "3.2"]


def test_a_node_that_is_ill_with_either_version_stays_cordoned(world: World) -> None:
    work = world.work("3.2")

    def health(host: OurHost, fresh: bool) -> None:
        raise StrongroomError(f"{host.name}: not Ready")

    work.health = health
    with pytest.raises(StrongroomError, match="w1: not Ready; w1 could not be rolled back and stays cordoned"):
        work.forward()
    assert world.cordoned == ["w1"]
    assert world.used == ["3.1", "3.1"]
    world.forward("3.2")
    assert (world.used, world.cordoned) == (["3.2", "3.2"], [])


@pytest.mark.parametrize("at", ["install kata", "note the versions", "link /opt/kata", "end the switch"])
def test_broken_off_anywhere_it_is_run_again(world: World, at: str) -> None:
    world.boxes["w1"].cut = at
    with pytest.raises(StrongroomError, match="connection lost"):
        world.forward("3.2")
    world.boxes["w1"].cut = None
    world.forward("3.2")
    assert (world.used, world.cordoned) == (["3.2", "3.2"], [])
    assert world.forward("3.2") == []
    world.work("3.2").back()
    assert world.used == ["3.1", "3.1"], "what was in use before is still known"


@pytest.mark.parametrize("at", ["end the switch", "uncordon"])
def test_a_host_that_is_lost_when_all_is_well_is_named_as_such(
    world: World, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    def lost(*_: object) -> bool:
        raise StrongroomError("w2: connection lost")

    if at == "uncordon":
        given_back = drain.release
        monkeypatch.setattr(
            drain, "release", lambda cluster, name: lost() if name == "w2" else given_back(cluster, name)
        )
    else:
        world.boxes["w2"].cut = at
    with pytest.raises(StrongroomError) as caught:
        world.forward("3.2")
    assert str(caught.value).endswith(
        "connection lost; w2 is well, and may stay cordoned until this is run again; done before: w1"
    )
    assert (world.used, world.cordoned) == (["3.2", "3.2"], ["w2"])


def test_rolled_back_by_hand_and_forth_again(world: World) -> None:
    world.forward("3.2")
    world.cluster.log.clear()
    world.work("3.2").back()
    assert (world.used, world.cordoned) == (["3.1", "3.1"], [])
    assert world.cluster.log[:3] == ["cordon w1", "health w1 3.1", "uncordon w1"]
    world.forward("3.2")
    assert world.used == ["3.2", "3.2"]


def test_a_former_version_that_is_gone_is_refused_before_anything_changes(world: World) -> None:
    world.forward("3.2")
    world.cluster.log.clear()
    subprocess.run(["rm", "-r", world.boxes["w2"].root / "host/opt/strongroom/kata/3.1"], check=True)
    with pytest.raises(StrongroomError, match=r"^w2: /opt/strongroom/kata/3\.1: is gone"):
        world.work("3.2").back()
    assert (world.used, world.cluster.log) == (["3.2", "3.2"], [])


def test_older_versions_go_when_nothing_runs_from_them(world: World) -> None:
    world.forward("3.2")
    sleeper = world.boxes["w2"].root / "host/opt/strongroom/kata/3.1/bin/sleeper"
    sleeper.write_bytes(Path("/bin/sleep").read_bytes())
    sleeper.chmod(0o755)
    shim = subprocess.Popen([sleeper, "600"])
    try:
        world.forward("3.3")
        assert world.boxes["w1"].there == ["3.2", "3.3"]
        assert world.boxes["w2"].there == ["3.1", "3.2", "3.3"]
    finally:
        shim.kill()
        shim.wait()
    world.forward("3.3")
    assert world.boxes["w2"].there == ["3.2", "3.3"]


def test_pods_that_nothing_makes_anew_are_refused_before_anything_changes(world: World) -> None:
    world.cluster.pods = [pod("alone", "w2", None)]
    with pytest.raises(PreflightRefused, match=r"^w2: default/alone: belongs to no controller"):
        world.forward("3.2")
    assert (world.used, world.cluster.log) == (["3.1", "3.1"], [])
    world.forward("3.2", force=True)
    assert "evict alone" in world.cluster.log


def test_a_lone_pod_that_came_meanwhile_is_not_ended_either(world: World) -> None:
    work = world.work("3.2")
    well = work.health

    def health(host: OurHost, fresh: bool) -> None:
        well(host, fresh)
        world.cluster.pods = [pod("mine", "w2", None)]

    work.health = health
    with pytest.raises(StrongroomError) as caught:
        work.forward()
    assert str(caught.value) == (
        "w2: default/mine: belongs to no controller, so a drain would end it for good; nothing was switched;"
        " w2 is in service again; done before: w1"
    )
    assert "evict mine" not in world.cluster.log
    assert (world.used, world.cordoned) == (["3.2", "3.1"], [])
    world.forward("3.2", force=True)
    assert "evict mine" in world.cluster.log


def test_a_budget_that_is_never_met_is_named_and_the_node_is_given_back(world: World) -> None:
    world.cluster.pods = [pod("db", "w1")]
    world.cluster.kept = {"db": "The disruption budget db needs 1 healthy pods and has 1 currently"}
    with pytest.raises(StrongroomError) as caught:
        world.forward("3.2")
    assert str(caught.value) == (
        "w1: not drained after 10 minutes, because of default/db (The disruption budget db needs 1 healthy pods and has 1"
        " currently); nothing was switched; w1 is in service again"
    )
    assert (world.used, world.cordoned) == (["3.1", "3.1"], [])


def test_a_cordon_of_somebody_else_stays(world: World) -> None:
    world.cluster.owners["w1"].add("kubectl-cordon")
    world.forward("3.2")
    assert world.used == ["3.2", "3.2"]
    assert world.cluster.owners == {"cp1": set(), "w1": {"kubectl-cordon"}, "w2": set()}


def test_a_host_outside_the_cluster_is_refused(world: World) -> None:
    (world.boxes["w2"].root / "host/etc/kubernetes/kubelet.conf").unlink()
    with pytest.raises(PreflightRefused, match="w2: is no member of the cluster yet"):
        world.forward("3.2")


def test_a_bundle_with_another_kubernetes_is_refused(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def install(box: Box, version: str) -> None:
        program = box.root / f"host/opt/strongroom/kubelet/{version}/bin/kubelet"
        program.parent.mkdir(parents=True)
        program.touch()
        link = box.root / "host/usr/local/bin/kubelet"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(program)

    for box in world.boxes.values():
        install(box, "1")
    install(world.boxes["w2"], "0.9")
    kubelet = image("kubelet")
    made = world.release

    def release(version: str) -> Context:
        context = made(version)
        manifest = context.bundle.manifest
        manifest = manifest.model_copy(update={"artifacts": (*manifest.artifacts, kubelet)})
        return replace(context, bundle=replace(context.bundle, manifest=manifest))

    monkeypatch.setattr(world, "release", release)
    with pytest.raises(PreflightRefused) as caught:
        world.forward("3.2")
    assert str(caught.value) == (
        "w2: kubelet 0.9 is in use, the bundle has 1 (strongroom doesn't upgrade Kubernetes: make a bundle with the version"
        " in use)"
    )
    assert (world.used, world.cluster.log) == (["3.1", "3.1"], [])
    same = same_version(release("3.2"))
    box = world.boxes["w2"]
    (box.root / f"host{SWITCHING}").mkdir(parents=True)
    with pytest.raises(StrongroomError, match=r"^kubelet 0\.9 is in use, the bundle has 1$"):
        same.steps(box.observe([same])[same.key])
    assert same.steps(world.boxes["w1"].observe([same])[same.key]) == []


def test_apply_does_not_switch_under_running_pods(world: World) -> None:
    same = SameVersions((Switch("kata", "3.2", kata.IN_USE),))
    box = world.boxes["w1"]
    with pytest.raises(StrongroomError, match=r"^kata 3\.1 is in use, the bundle has 3\.2$") as caught:
        same.steps(box.observe([same])[same.key])
    assert "strongroom upgrade" in str(caught.value.hint)
    known = SameVersions((Switch("kata", "3.1", kata.IN_USE),))
    assert known.steps(box.observe([known])[known.key]) == []
    (box.root / f"host{SWITCHING}").mkdir(parents=True)
    assert same.steps(box.observe([same])[same.key]) == [], "its pods were moved before"


def test_what_is_not_ours_is_no_version() -> None:
    assert in_use(Observed(("use=kata /srv/kata", "use=runc /opt/strongroom/kata/1"))) == {}


@pytest.mark.parametrize(
    ("ready", "handlers", "why"),
    [
        ("True", ["kata-a"], None),
        ("True", [], None),  # containerd 1.7 reports none
        ("True", ["runc"], "containerd has no handler kata-a"),
        ("False", ["kata-a"], "not Ready: plugin"),
    ],
)
def test_health_is_ready_and_its_handlers(ready: str, handlers: list[str], why: str | None) -> None:
    conditions = [{"type": "Ready", "status": ready, "message": "plugin"}]
    node = {"status": {"conditions": conditions, "runtimeHandlers": [{"name": name} for name in handlers]}}
    assert why_not(node, ["kata-a"]) == why
    assert why_not({}, ["kata-a"]) == "not Ready"


def test_a_unit_that_the_former_configuration_did_not_have_is_not_missed() -> None:
    gone = Observed(("LoadState=not-found", "ActiveState=inactive", "UnitFileState="))
    assert Unit("x.service").steps(gone)
    assert FormerUnit("x.service").steps(gone) == []
    stopped = Observed(("LoadState=loaded", "ActiveState=inactive", "UnitFileState=enabled"))
    assert FormerUnit("x.service").steps(stopped) == Unit("x.service").steps(stopped) != []
