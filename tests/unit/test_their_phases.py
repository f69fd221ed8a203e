"""Somebody else's cluster through the phases: whose kubeconfig is read, what goes to hosts and the API, and what is taken back."""

from __future__ import annotations

import os
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from strongroom.errors import Exit, PreflightRefused, StrongroomError
from strongroom.kube import access
from strongroom.model.distribution import distributions
from strongroom.phases import their_objects
from strongroom.phases.preflight import PreflightPhase
from strongroom.phases.runtime import RuntimePhase
from strongroom.phases.runtime_classes import refuse_others
from strongroom.phases.their_objects import TheirRuntimeClassesPhase
from strongroom.phases.verify import VerifyPhase
from strongroom.plan.containerd import CONFIG, DROP_IN
from strongroom.plan.files import File
from strongroom.plan.service import Service, awaited
from strongroom.plan.their_containerd import TheirRegistration
from strongroom.plan.through import ImageThrough, through
from strongroom.probe.report import HostReport
from strongroom.probe.script import probe_script
from strongroom.report.progress import Progress
from tests.reference import make
from tests.unit.test_existing_clusters import HANDLER
from tests.unit.test_preflight_phase import FakeSession
from tests.unit.test_registration import DEBIAN, SHIM, Host
from tests.unit.test_shims import KNOWN, archive, context, everything, inventory

THEIRS = [name for name, one in distributions().items() if not one.installed_by_us]


def theirs(name: str, *shims: str, platforms: tuple[str, ...] = ("none",), **runtime: Any) -> Any:
    return inventory(*(shims or ("qemu",)), platforms=platforms, kubernetes={"distribution": name}, runtime=runtime)


# an existing cluster's containerd


@pytest.fixture
def host(tmp_path: Path) -> Host:
    made = Host(tmp_path)
    made.resource = TheirRegistration("", (SHIM,))
    return made


def test_containerd_1_7_of_theirs_gets_the_handlers_alone_and_is_given_back(host: Host) -> None:
    host.config.write_text(DEBIAN)
    assert host.apply() == ["merge into /etc/containerd/config.toml: kata-x"]
    found = tomllib.loads(host.config.read_text())["plugins"]["io.containerd.grpc.v1.cri"]
    before = tomllib.loads(DEBIAN)["plugins"]["io.containerd.grpc.v1.cri"]
    assert found == {**before, "containerd": {"runtimes": {"kata-x": HANDLER}}}
    host.destroy()
    assert host.config.read_text() == DEBIAN


def test_containerd_2_of_theirs_that_imports_the_folder_gets_a_drop_in_and_keeps_its_file(host: Host) -> None:
    host.version = "2.2.0"
    text = 'version = 3\nimports = ["/etc/containerd/conf.d/*.toml"]\n'
    host.config.write_text(text)
    host.apply()
    assert host.config.read_text() == text
    document = tomllib.loads(host.drop_in.read_text())
    assert document == {
        "version": 3,
        "plugins": {"io.containerd.cri.v1.runtime": {"containerd": {"runtimes": {"kata-x": HANDLER}}}},
    }
    host.destroy()
    assert host.config.read_text() == text
    assert not host.drop_in.exists()


# hosts


@pytest.mark.parametrize("name", THEIRS)
def test_a_host_gets_kata_its_handlers_and_the_image_of_verify_and_nothing_of_kubernetes(name: str) -> None:
    pod = archive("verify-pod", "x").model_copy(
        update={"kind": "image", "files": (), "image": "x/verify:1", "image_digest": f"sha256:{'0' * 64}"}
    )
    made = context(theirs(name), *everything(), pod)
    keys = [one.key for one in RuntimePhase().resources(made, made.inventory.host("w1"))]
    assert [key for key in keys if key.startswith("component")] == ["component kata 4.1.0"]
    assert not [key for key in keys if "kubelet" in key or "cni" in key or "runc" in key or "pause" in key]
    assert keys[:2] == ["place /opt/strongroom", "traces of runtime"]
    assert keys[-1] == "pods on /opt/strongroom/kata"
    image = next(
        one for one in RuntimePhase().resources(made, made.inventory.host("w1")) if isinstance(one, ImageThrough)
    )
    assert image.ctr == distributions()[name].ctr
    assert RuntimePhase().resources(made, made.inventory.host("cp1")) == []


@pytest.mark.parametrize(("name", "root"), [("k0s", "/var/lib/k0s/kubelet"), ("k3s", None), ("existing", None)])
def test_the_go_runtime_is_told_of_another_kubelets_folder(name: str, root: str | None) -> None:
    made = context(theirs(name, "qemu", "qemu-runtime-rs"), *everything())
    found = {
        one.path: one for one in RuntimePhase().resources(made, made.inventory.host("w1")) if isinstance(one, File)
    }
    said = {
        shim: tomllib.loads(found[f"/opt/strongroom/kata/4.1.0/{KNOWN[shim].drop_in}"].content.decode())
        for shim in ("qemu", "qemu-runtime-rs")
    }
    assert said["qemu"].get("runtime", {}).get("kubelet_root_dir") == root
    assert "runtime" not in said["qemu-runtime-rs"]


def test_hosts_of_the_control_plane_are_restarted_one_at_a_time_and_left_alone_where_there_are_workers() -> None:
    ours = theirs("k3s", platforms=("none", "none"))
    assert [[host.name for host in wave] for wave in RuntimePhase().waves(ours)] == [["w1", "w2"]]
    both = ours.model_copy(
        update={"hosts": tuple(h.model_copy(update={"roles": frozenset({"control_plane"})}) for h in ours.hosts)}
    )
    assert [[host.name for host in wave] for wave in RuntimePhase().waves(both)] == [["cp1"], ["w1"], ["w2"]]


def test_what_is_restarted_is_what_reads_the_files() -> None:
    made = context(theirs("existing"), *everything())
    (service,) = [one for one in RuntimePhase().resources(made, made.inventory.host("w1")) if isinstance(one, Service)]
    assert (service.units, service.files) == (("containerd.service",), (CONFIG, DROP_IN))


def test_ctr_of_a_distribution_is_every_ctr_of_a_script() -> None:
    assert through("ctr", "ctr version") == "ctr version"
    script = through("echo k0s ctr", "ctr -n k8s.io images ls; timeout 5 ${CTR:-ctr} tasks")
    said = subprocess.run(["sh"], input=script, capture_output=True, text=True, check=True).stdout
    assert said == "k0s ctr -n k8s.io images ls\nk0s ctr tasks\n"


def test_a_containerd_that_its_distribution_starts_anew_is_waited_for(tmp_path: Path) -> None:
    """A real process: /proc has when it was started, and a file that is older needs nothing more."""
    program = tmp_path / "containerd"
    program.write_bytes(Path("/bin/sleep").read_bytes())
    program.chmod(0o755)
    (tmp_path / "systemctl").write_text('#!/bin/sh\necho "$@" >> ' + f"{tmp_path}/log\n")
    (tmp_path / "systemctl").chmod(0o755)
    running = subprocess.Popen([str(program), "60"])
    try:
        for since, restarted in (("1", False), ("99999999999", True)):
            script = f'PATH={tmp_path}:$PATH; fail() {{ echo "$1" >&2; exit 1; }}\nsleep() {{ :; }}\nsince={since}\n'
            script += awaited(str(program), ("k0sworker.service",), "true")
            done = subprocess.run(["sh"], input=script, capture_output=True, text=True, timeout=120, check=False)
            assert done.returncode == 0, done.stderr
            assert (
                "show k0sworker.service" in (tmp_path / "log").read_text() if (tmp_path / "log").exists() else False
            ) == restarted
    finally:
        running.kill()
        running.wait()


# preflight


def refused(name: str, state: tuple[str, ...]) -> PreflightRefused:
    machine = {**make("snp"), "state": (*state, "#end")}
    session = FakeSession({"cp1": machine, "w1": machine})
    made = context(theirs(name), *everything())
    with pytest.raises(PreflightRefused) as caught:
        PreflightPhase(Console(quiet=True)).run(made, session, Progress(), hands=True)  # type: ignore[arg-type]
    assert caught.value.exit is Exit.PREFLIGHT
    return caught.value


def test_a_host_of_another_cluster_is_refused_by_its_name_before_anything_changes() -> None:
    error = refused("kubeadm", ("unit:k3s-agent",))
    assert "w1: HOST-DISTRIBUTION: k3s-agent.service is active, and kubernetes.distribution says 'kubeadm'" in str(
        error
    )
    assert "nothing was changed" in str(error.hint)
    assert "HOST-DISTRIBUTION: kubelet.service active" in str(refused("rke2", ("unit:kubelet",)))


def test_the_probe_tells_which_units_run(tmp_path: Path) -> None:
    systemctl = tmp_path / "systemctl"
    systemctl.write_text(
        '#!/bin/sh\n[ "$1 $2 $3" = "show -p ActiveState" ] || exit 0\nshift 3\n'
        "for unit; do case $unit in k3s-agent|crio) echo ActiveState=active;; *) echo ActiveState=inactive;; esac; echo; done\n"
    )
    systemctl.chmod(0o755)
    script = probe_script().replace("[ -d /run/systemd/system ]", "true")  # this machine may run none
    environment = {**os.environ, "PROBE_PATH": f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"}
    done = subprocess.run(
        ["sh", "-s"], input=script, capture_output=True, text=True, env=environment, check=True, timeout=120
    )
    report = HostReport.parse(done.stdout.splitlines())
    assert {line for line in report.roles or () if line.startswith("unit:")} == {"unit:k3s-agent", "unit:crio"}
    assert report.section("state").complete


def test_a_host_that_runs_what_is_said_has_no_port_and_no_memory_asked_of_it() -> None:
    machine = {**make("snp"), "state": ("unit:k3s", "#end")}
    phase = PreflightPhase(Console(quiet=True))
    made = context(theirs("k3s"), *everything())
    phase.run(made, FakeSession({"cp1": machine, "w1": machine}), Progress(), hands=True)  # type: ignore[arg-type]
    assert phase.outcome is not None
    ids = {check.id for check in phase.outcome.judgements["w1"].checks}
    assert "HOST-DISTRIBUTION" in ids
    assert not ids & {"HOST-PORT", "HOST-CONTAINERD"}


# the API


@pytest.mark.parametrize("name", list(distributions()))
def test_the_kubeconfig_is_read_where_the_distribution_keeps_it(name: str) -> None:
    asked: list[str] = []

    def run(script: str, **_: Any) -> list[str]:
        asked.append(script)
        return ["clusters:", "- cluster: {server: https://127.0.0.1:6443}", "  name: default"]

    session = SimpleNamespace(leader=SimpleNamespace(run=run), inventory=theirs(name))
    text = access.admin_kubeconfig(session)  # type: ignore[arg-type]
    assert asked == [f"cat {distributions()[name].kubeconfig} 2>/dev/null || :"]
    assert "https://10.0.0.1:6443" in str(text)


class Api:
    """A cluster that keeps what it is told, and notes it."""

    def __init__(self) -> None:
        self.there = {
            ("RuntimeClass", "kata-qemu"): {"metadata": {"name": "kata-qemu"}},
            ("Namespace", "strongroom"): {},
            ("Node", "w1"): {"labels": True},
        }
        self.done: list[str] = []

    def wait_ready(self, *_: Any) -> None:
        return

    def list(self, _: str, kind: str, **query: str) -> Sequence[Any]:
        assert query == {"label_selector": "app.kubernetes.io/managed-by=strongroom"}
        return [item for (one, _), item in self.there.items() if one == kind]

    def get(self, _: str, kind: str, name: str) -> Any:
        return self.there.get((kind, name))

    def difference(self, item: dict[str, Any]) -> str | None:
        return "labels" if self.there[item["kind"], item["metadata"]["name"]] else None

    def apply(self, item: dict[str, Any]) -> None:
        assert item == {"apiVersion": "v1", "kind": "Node", "metadata": {"name": "w1"}}
        self.there["Node", "w1"] = {}
        self.done.append("bare w1")

    def delete(self, _: str, kind: str, name: str) -> None:
        del self.there[kind, name]
        self.done.append(f"delete {kind} {name}")


def test_what_was_put_to_their_api_is_taken_back_once(monkeypatch: pytest.MonkeyPatch) -> None:
    cluster = Api()
    monkeypatch.setattr(their_objects, "api", lambda _: cluster)
    made = context(theirs("k3s"), *everything())
    phase = TheirRuntimeClassesPhase()
    undo: Callable[[bool], Any] = lambda hands: phase.undo(made, None, Progress(), hands)  # type: ignore[arg-type]  # noqa: E731
    listed = [step.sentence for step in undo(False)]
    assert cluster.done == []
    assert [step.sentence for step in undo(True)] == listed
    assert cluster.done == ["delete RuntimeClass kata-qemu", "delete Namespace strongroom", "bare w1"]
    assert undo(True) == []


def test_a_cluster_without_the_admins_kubeconfig_is_named_with_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(their_objects, "api", lambda _: None)
    made = context(theirs("rke2"), *everything())
    with pytest.raises(StrongroomError, match=r"cp1: /etc/rancher/rke2/rke2\.yaml: there is none"):
        TheirRuntimeClassesPhase().run(made, None, Progress(), hands=True)  # type: ignore[arg-type]


def test_verify_says_that_it_cannot_look_into_cri_o() -> None:
    made = context(theirs("existing", engine="crio"), *everything())
    with pytest.raises(StrongroomError, match=r"runtime\.engine: found 'crio', verify needs 'containerd'"):
        VerifyPhase().run(made, None, Progress(), hands=True)  # type: ignore[arg-type]


class _WithClass(Api):
    """A cluster in which somebody has a RuntimeClass of our name."""

    def __init__(self, *managers: str, **labels: str) -> None:
        super().__init__()
        fields = [{"manager": one, "operation": "Update"} for one in managers]
        metadata = {"name": "kata-qemu-coco-dev", "labels": labels, "managedFields": fields}
        self.there = {("RuntimeClass", "kata-qemu-coco-dev"): {"metadata": metadata}}

    def list(self, _: str, kind: str, **query: str) -> Sequence[Any]:
        assert query == {}  # somebody else's has no label of ours
        return [item for (one, _), item in self.there.items() if one == kind]


@pytest.mark.parametrize(
    ("cluster", "theirs"),
    [
        (_WithClass("kubectl-create"), "kubectl-create"),
        (_WithClass("helm", "kubectl-edit", **{"app.kubernetes.io/managed-by": "Helm"}), "helm"),
        (_WithClass("kubectl-edit", "strongroom"), None),  # ours, with its label taken off: drift
        (_WithClass("kubectl-create", **{"app.kubernetes.io/managed-by": "strongroom"}), None),  # handed over
        (_WithClass(), None),
    ],
)
def test_a_runtime_class_of_somebody_elses_is_not_taken_over(cluster: _WithClass, theirs: str | None) -> None:
    made = context(inventory("qemu-coco-dev"), *everything())
    if theirs is None:
        refuse_others(made, cluster)  # type: ignore[arg-type]
        return
    with pytest.raises(StrongroomError) as caught:
        refuse_others(made, cluster)  # type: ignore[arg-type]
    assert str(caught.value) == (
        f"RuntimeClass kata-qemu-coco-dev: is there already, and not strongroom's ({theirs} made it)"
    )
    assert "kubectl label runtimeclass NAME app.kubernetes.io/managed-by=strongroom" in str(caught.value.hint)
