"""The pod network as a choice: what is refused before anything connects, what hosts get, and what the phase does."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle as bundles
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from strongroom.model.cluster import validate
from strongroom.phases import pod_network
from strongroom.phases.base import Context
from strongroom.phases.kubernetes import KubernetesPhase, kubeadm_config
from strongroom.phases.modes import phases
from strongroom.phases.pod_network import PodNetworkPhase, refuse_missing_images
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan.resource import Resource
from strongroom.report.progress import Progress
from tests.unit.test_chart import IMAGES, objects
from tests.unit.test_cli import free_port, inventory, strongroom

PROGRAMS = ("containerd", "kubeadm", "kubectl", "kubelet", "runc")
# What the shim qemu-coco-dev is made of.
KATA = (
    "bin/containerd-shim-kata-v2",
    "share/defaults/kata-containers/runtimes/qemu-coco-dev/configuration-qemu-coco-dev.toml",
)
CONTAINERS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "pause",
    "verify-pod",
)
KEYS = ["ConfigMap kube-system/cilium", "DaemonSet kube-system/cilium"]
PLANE, WORKER = "cp1", "w1"


def make_bundle(folder: Path, *images: str, manifest: bool = True) -> Path:
    """A bundle of tiny files: what the phases look for, Cilium's manifest, and images of it."""
    (folder / "artifacts").mkdir(parents=True)
    artifacts = []

    def add(component: str, kind: str, content: bytes, **more: Any) -> None:
        (folder / "artifacts" / component).write_bytes(content)
        sha = hashlib.sha256(content).hexdigest()
        files = [] if kind in ("image", "manifest") else [BundledFile(path=f"bin/{component}", sha256=sha, mode="0755")]
        fields: dict[str, Any] = {"component": component, "kind": kind, "sha256": sha, "files": files, **more}
        artifacts.append(
            Artifact(version="1", arch="amd64", file=component, size=len(content), licence="x", source="x", **fields)
        )

    for program in PROGRAMS:
        add(program, "binary", program.encode())
    add("cni-plugins", "archive", b"plugins")
    files = [BundledFile(path=path, sha256="0" * 64, mode="0755") for path in KATA]
    add("kata", "archive", b"kata", files=files)
    digest = f"sha256:{'ab' * 32}"
    for name in CONTAINERS:
        add(name, "image", name.encode(), image=f"strongroom.dev/lab/{name}:1", image_digest=digest)
    for number, image in enumerate(images):
        add(f"cilium-{number}", "image", image.encode(), image=image, image_digest=digest)
    if manifest:
        add("cilium", "manifest", objects(*IMAGES).encode())
    bundles.write_manifest(
        BundleManifest(arch="amd64", origin="upstream", digest=digest, artifacts=tuple(artifacts)), folder
    )
    return folder


def context(folder: Path, cni: str = "cilium") -> Context:
    cluster = {"name": "x", "claim": "none", "kubernetes": {"cni": cni, "pod_cidr": "10.99.0.0/16"}}
    hosts = {
        PLANE: (["control_plane"], {"address": "10.0.0.1"}),
        WORKER: (["workers"], {"address": "10.0.0.2"}),
    }
    return Context(validate(cluster, hosts), bundles.verify(folder), ())


class FakeApi:
    """An API server of plain dicts; refuses objects by key, and keeps what it was asked in order."""

    def __init__(self) -> None:
        self.objects: dict[str, dict[str, Any]] = {}
        self.asked: list[str] = []
        self.applied: list[str] = []
        self.refuses: tuple[str, ...] = ()

    def wait_ready(self, progress: Progress) -> None:
        """It is."""

    def get(self, api_version: str, kind: str, name: str, namespace: str | None = None) -> dict[str, Any] | None:
        return self.objects.get(f"{kind} {namespace}/{name}")

    def difference(self, item: dict[str, Any]) -> str | None:
        key = self._key(item)
        self.asked.append(key)
        if key in self.refuses:
            raise StrongroomError("API server: 422: no such field")
        if key not in self.objects:
            return "absent"
        return None if self.objects[key] == item else "data.a is 'c', wanted 'b'"

    def apply(self, item: dict[str, Any]) -> None:
        self.applied.append(self._key(item))
        self.objects[self._key(item)] = item

    @staticmethod
    def _key(item: dict[str, Any]) -> str:
        return f"{item['kind']} {item['metadata']['namespace']}/{item['metadata']['name']}"


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> FakeApi:
    fake = FakeApi()
    monkeypatch.setattr(pod_network, "api", lambda session: fake)
    return fake


def run(context: Context, *, hands: bool) -> list[str]:
    steps = PodNetworkPhase().run(context, None, Progress(), hands)  # type: ignore[arg-type]
    assert [step.sentence.split(" (")[0] for step in steps] == [f"apply {step.resource}" for step in steps]
    return [step.resource for step in steps]


class TestPhase:
    """`PodNetworkPhase`."""

    def test_plan_asks_for_every_object_and_applies_none(self, tmp_path: Path, cluster: FakeApi) -> None:
        made = context(make_bundle(tmp_path / "b"))
        assert run(made, hands=False) == KEYS
        assert cluster.asked == KEYS
        assert cluster.applied == []

    def test_apply_goes_in_order_and_once(self, tmp_path: Path, cluster: FakeApi) -> None:
        made = context(make_bundle(tmp_path / "b"))
        assert run(made, hands=True) == KEYS
        assert cluster.applied == KEYS
        assert run(made, hands=True) == run(made, hands=False) == []
        assert cluster.applied == KEYS

    def test_a_changed_object_is_named_alone(self, tmp_path: Path, cluster: FakeApi) -> None:
        made = context(make_bundle(tmp_path / "b"))
        run(made, hands=True)
        cluster.objects[KEYS[0]] = {**cluster.objects[KEYS[0]], "data": {"a": "c"}}
        assert run(made, hands=False) == KEYS[:1]
        assert run(made, hands=True) == KEYS[:1]
        assert cluster.objects[KEYS[0]]["data"] == {"a": "b"}

    @pytest.mark.parametrize("hands", [True, False])
    def test_a_refused_object_is_named_and_stops_it(self, tmp_path: Path, cluster: FakeApi, hands: bool) -> None:
        cluster.refuses = (KEYS[1],)
        with pytest.raises(StrongroomError, match=r"^DaemonSet kube-system/cilium: API server: 422: no such field$"):
            run(context(make_bundle(tmp_path / "b")), hands=hands)

    def test_without_an_api_server_everything_is_pending(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pod_network, "api", lambda session: None)
        made = context(make_bundle(tmp_path / "b"))
        assert run(made, hands=False) == KEYS
        (first, *_) = PodNetworkPhase().run(made, None, Progress(), False)  # type: ignore[arg-type]
        assert "there is no API server yet" in first.sentence

    @pytest.mark.parametrize("hands", [True, False])
    def test_with_routes_between_hosts_nothing_is_asked(self, tmp_path: Path, hands: bool) -> None:
        made = context(make_bundle(tmp_path / "b", manifest=False), "ptp")
        assert run(made, hands=hands) == []  # no API server was patched in: asking would fail

    @pytest.mark.parametrize(
        ("networking", "told"),
        [({}, "with no pod subnet, not 10.99.0.0/16"), ({"podSubnet": "10.1.0.0/16"}, "the pod subnet 10.1.0.0/16")],
    )
    def test_a_cluster_that_began_with_another_network_is_left_alone(
        self, tmp_path: Path, cluster: FakeApi, networking: dict[str, str], told: str
    ) -> None:
        text = yaml.safe_dump({"networking": {"serviceSubnet": "10.96.0.0/16", **networking}})
        cluster.objects["ConfigMap kube-system/kubeadm-config"] = {"data": {"ClusterConfiguration": text}}
        with pytest.raises(StrongroomError, match=told):
            run(context(make_bundle(tmp_path / "b")), hands=True)
        assert cluster.applied == []
        right = yaml.safe_dump({"networking": {"podSubnet": "10.99.0.0/16"}})
        cluster.objects["ConfigMap kube-system/kubeadm-config"] = {"data": {"ClusterConfiguration": right}}
        assert run(context(tmp_path / "b"), hands=True) == KEYS

    def test_it_comes_when_there_is_an_api_server_and_before_pods_are_run(self, tmp_path: Path) -> None:
        mode = context(make_bundle(tmp_path / "b")).inventory.cluster.mode
        names = [phase.name for phase in phases(mode)]
        assert names.index("kubernetes") < names.index("pod-network") < names.index("verify")


def keys(wanted: list[Resource]) -> set[str]:
    return {resource.key for resource in wanted}


class TestHosts:
    """What hosts get, by the choice of the network."""

    def test_kubeadm_gives_out_pod_subnets_only_where_the_inventory_does_not(self, tmp_path: Path) -> None:
        folder = make_bundle(tmp_path / "b")
        for cni, wanted in (("cilium", "10.99.0.0/16"), ("ptp", None)):
            made = context(folder, cni)
            documents = yaml.safe_load_all(kubeadm_config(made, made.inventory.leader))
            networking = next(one for one in documents if one["kind"] == "ClusterConfiguration")["networking"]
            assert networking["serviceSubnet"] == "10.96.0.0/16"
            assert networking.get("podSubnet") == wanted

    @pytest.mark.parametrize("name", [PLANE, WORKER])
    def test_every_host_gets_the_images_and_no_files_of_another_network(self, tmp_path: Path, name: str) -> None:
        made = context(make_bundle(tmp_path / "b", *IMAGES))
        host = made.inventory.host(name)
        wanted = keys([*RuntimePhase().resources(made, host), *KubernetesPhase().resources(made, host)])
        assert {f"image {image}" for image in IMAGES} <= wanted
        assert not [key for key in wanted if "cni" in key or "pod-routes" in key]

        routed = replace(made, inventory=context(tmp_path / "b", "ptp").inventory)
        wanted = keys([*RuntimePhase().resources(routed, host), *KubernetesPhase().resources(routed, host)])
        assert not {f"image {image}" for image in IMAGES} & wanted
        assert {"unit strongroom-pod-routes.service", "component cni-plugins 1"} <= wanted

    def test_a_plan_does_without_images(self, tmp_path: Path) -> None:
        made = context(make_bundle(tmp_path / "b"))
        wanted = keys(list(KubernetesPhase().resources(made, made.inventory.leader)))
        assert not [key for key in wanted if "cilium" in key]
        assert "image strongroom.dev/lab/etcd:1" in wanted


class TestRefusals:
    """Before anything connects."""

    def test_each_missing_image_is_named(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"the bundle has no image {', '.join(IMAGES)}$"):
            refuse_missing_images(context(make_bundle(tmp_path / "none")))
        with pytest.raises(ConfigError, match=f"the bundle has no image {IMAGES[1]}$") as caught:
            refuse_missing_images(context(make_bundle(tmp_path / "one", IMAGES[0])))
        assert "bundle create --set cilium=1" in (caught.value.hint or "")
        refuse_missing_images(context(make_bundle(tmp_path / "both", *IMAGES)))
        refuse_missing_images(context(tmp_path / "none", "ptp"))

    def cilium(self, tmp_path: Path, folder: Path) -> Path:
        """An inventory that wants Cilium of a host that nobody is."""
        return inventory(tmp_path, folder, port=free_port(), cluster=', "kubernetes": {"cni": "cilium"}')

    def test_apply_is_refused_and_plan_is_not(self, tmp_path: Path) -> None:
        file = self.cilium(tmp_path, make_bundle(tmp_path / "b", IMAGES[0]))
        refused = strongroom("apply", file)
        assert refused.returncode == 2
        assert f"strongroom: cluster: kubernetes.cni: found 'cilium', and the bundle has no image {IMAGES[1]}\n" in (
            refused.stderr
        )
        assert "hint: make a bundle with it" in refused.stderr
        assert "cannot connect" not in refused.stderr
        for verb in (["plan", file], ["apply", "--skip-phase", "pod-network", file]):
            let_through = strongroom(*verb)
            assert "cp1: cannot connect" in let_through.stderr, verb
            assert let_through.returncode == 1

    def test_a_bundle_without_the_manifest_does_for_nothing(self, tmp_path: Path) -> None:
        file = self.cilium(tmp_path, make_bundle(tmp_path / "b", manifest=False))
        for verb in (["plan", file], ["apply", file], ["render", file, PLANE]):
            refused = strongroom(*verb)
            assert refused.returncode == 2
            assert "found 'cilium', and the bundle has no manifest of it" in refused.stderr

    def test_a_wrong_phase_is_told_before_anything_connects(self, tmp_path: Path) -> None:
        file = inventory(tmp_path, make_bundle(tmp_path / "b"), port=free_port())
        refused = strongroom("apply", "--phase", "pod-net", file)
        assert refused.returncode == 2
        assert "did you mean 'pod-network'" in refused.stderr

    def test_render_shows_the_objects(self, tmp_path: Path) -> None:
        file = self.cilium(tmp_path, make_bundle(tmp_path / "b"))
        assert strongroom("render", "--pod-network", file).stdout == objects(*IMAGES)
        assert "podSubnet: 10.244.0.0/16" in strongroom("render", file, PLANE).stdout
        file = inventory(tmp_path, tmp_path / "b")
        routed = strongroom("render", "--pod-network", file)
        assert routed.returncode == 2
        assert "ptp has no Kubernetes objects" in routed.stderr
        nobody = strongroom("render", file)
        assert nobody.returncode == 2
        assert "allowed are cp1" in nobody.stderr
