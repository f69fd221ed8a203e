"""Other installers of Kata: what they leave is found in a real shell on a scratch root, named, and never touched."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from strongroom.errors import StrongroomError
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan.leftovers import Leftovers
from strongroom.plan.resource import Observed
from strongroom.plan.script import observe, parse_observation
from tests.unit.test_shims import context, everything, inventory

# As kata-deploy 4.1.0 writes it (kata-containers, tools/packaging/kata-deploy/binary/src/runtime/containerd.rs).
KATA_DEPLOY = """\
[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp]
runtime_type = "io.containerd.kata-qemu-snp.v2"
runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"
privileged_without_host_devices = true
pod_annotations = ["io.katacontainers.*"]
snapshotter = "nydus-for-kata-tee"

[plugins."io.containerd.cri.v1.runtime".containerd.runtimes.kata-qemu-snp.options]
ConfigPath = "/opt/kata/share/defaults/kata-containers/runtimes/qemu-snp/configuration-qemu-snp.toml"
"""
# As kata-deploy's binary/src/runtime/crio.rs writes it.
CRIO = """\
[crio.runtime.runtimes.kata-qemu-snp]
\truntime_path = "/opt/kata/bin/containerd-shim-kata-v2"
\truntime_type = "vm"
\truntime_root = "/run/vc"
"""
# Contrast's node-installer adds a table to the file that it is told of (contrast, nodeinstaller; issue 1264 has the type).
CONTRAST = """\
version = 2
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes."contrast-cc-metal-qemu-snp-0a1b2c3d"]
    runtime_type = "io.containerd.contrast-cc.v2"
    runtime_path = "/opt/edgeless/contrast-cc-metal-qemu-snp-0a1b2c3d/bin/containerd-shim-contrast-cc-v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""
RUNTIMES = '[plugins."io.containerd.grpc.v1.cri".containerd.runtimes]'
PLACES = re.compile(r"(?<![\w/.*])/(opt|etc|var)/")
OURS = Leftovers(("kata-qemu-snp",))


class Host:
    """A scratch root."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in ("opt", "etc", "var"):
            (root / name).mkdir()

    def path(self, name: str) -> Path:
        path = self.root / name.removeprefix("/")
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def file(self, name: str, text: str) -> None:
        self.path(name).write_text(text)

    def seen(self, resource: Leftovers = OURS) -> Observed:
        script = PLACES.sub(
            lambda found: f"{self.root}{found[0]}", observe([resource]).replace("/run/", f"{self.root}/")
        )
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, env=os.environ, check=False)
        assert done.returncode == 0, done.stderr
        lines = [line.replace(str(self.root), "") for line in done.stdout.splitlines()]
        return parse_observation([resource], lines)[resource.key]

    def everything(self) -> list[tuple[str, bytes]]:
        return sorted((str(path), path.read_bytes()) for path in self.root.rglob("*") if path.is_file())

    def refusal(self) -> StrongroomError:
        before = self.everything()
        with pytest.raises(StrongroomError) as caught:
            OURS.steps(self.seen())
        assert caught.value.hint
        assert [one for one in self.everything() if not one[0].endswith(".lock")] == [
            one for one in before if not one[0].endswith(".lock")
        ]
        return caught.value


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


def test_a_host_without_any_is_left_alone(host: Host) -> None:
    seen = host.seen()
    assert (OURS.steps(seen), OURS.notes(seen), OURS.undo(seen)) == ([], [], [])


def test_what_is_ours_is_nobody_elses(host: Host) -> None:
    host.path("/opt/strongroom/kata/4.1.0/bin").mkdir(parents=True)
    host.path("/opt/kata").symlink_to("/opt/strongroom/kata/4.1.0")
    ours = f"# Managed by strongroom: handlers for Kata, and what they need.\nversion = 3\n{KATA_DEPLOY}"
    host.file("/etc/containerd/conf.d/10-strongroom.toml", ours)
    host.file("/etc/crio/crio.conf.d/60-strongroom.conf", f"# Managed by strongroom: handlers for Kata.\n{CRIO}")
    host.file(
        "/var/lib/rancher/k3s/agent/etc/containerd/config-v3.toml.tmpl", f"# Managed by strongroom: x\n{KATA_DEPLOY}"
    )
    # The version of containerd that has no drop-ins: our record names what is ours in the main configuration.
    host.file("/etc/containerd/config.toml", f"version = 2\n{KATA_DEPLOY}")
    host.file(
        "/var/lib/strongroom/original/containerd/record.json", '{"settings": [["is", ["a", "kata-qemu-snp"], 1]]}'
    )
    seen = host.seen()
    assert (OURS.steps(seen), OURS.notes(seen)) == ([], [])


def test_a_drop_in_of_ours_that_somebody_spoiled_is_drift_and_no_conflict(host: Host) -> None:
    host.file("/etc/k0s/containerd.d/10-strongroom.toml", KATA_DEPLOY)
    assert OURS.steps(host.seen()) == []


@pytest.mark.parametrize(
    ("file", "text", "who"),
    [
        ("/etc/containerd/conf.d/kata-deploy.toml", KATA_DEPLOY, "kata-deploy"),
        ("/var/lib/rancher/rke2/agent/etc/containerd/config-v3.toml.d/kata-deploy.toml", KATA_DEPLOY, "kata-deploy"),
        ("/etc/k0s/containerd.d/kata-deploy.toml", KATA_DEPLOY, "kata-deploy"),
        ("/etc/crio/crio.conf.d/99-kata-deploy", CRIO, "kata-deploy"),
        ("/etc/containerd/config.toml", f"version = 3\n{KATA_DEPLOY}", "somebody"),
        ("/etc/containerd/config.toml", KATA_DEPLOY.replace("kata-qemu-snp]", "'kata-qemu-snp'] # x", 1), "somebody"),
        ("/etc/containerd/config.toml", f"{RUNTIMES}\n  kata-qemu-snp = {{runtime_type = 'x'}}\n", "somebody"),
        ("/etc/containerd/config.toml", f'{RUNTIMES}\n"kata-qemu-snp".runtime_type = "x"\n', "somebody"),
    ],
)
def test_a_handler_of_the_same_name_is_refused_with_its_file(host: Host, file: str, text: str, who: str) -> None:
    host.file(file, text)
    assert str(host.refusal()).startswith(f"{file}: registers the handler kata-qemu-snp as well ({who})")


def test_kata_deploys_folder_is_refused(host: Host) -> None:
    host.path("/opt/kata/bin").mkdir(parents=True)
    error = host.refusal()
    assert str(error).startswith("/opt/kata: is a folder (kata-deploy's")
    assert "helm uninstall kata-deploy" in str(error.hint)


def test_a_link_of_somebody_elses_is_refused_and_one_that_was_bent_is_drift(host: Host) -> None:
    host.path("/opt/kata").symlink_to("/data/kata")
    assert str(host.refusal()).startswith("/opt/kata: is somebody else's link to /data/kata")
    host.path("/opt/strongroom/kata").mkdir(parents=True)
    assert OURS.steps(host.seen()) == []


def test_what_does_no_harm_is_a_note(host: Host) -> None:
    host.file("/etc/containerd/config.toml", CONTRAST)
    host.file("/etc/containerd/conf.d/kata-deploy.toml", KATA_DEPLOY.replace("kata-qemu-snp", "kata-clh"))
    host.file("/opt/edgeless/contrast-cc-metal-qemu-snp-0a1b2c3d/bin/containerd-shim-contrast-cc-v2", "")
    host.file("/etc/systemd/system/nydus-for-kata-tee.service", "")
    host.file("/var/log/pods/kube-system_kata-deploy-x7k2p_1-2-3/kube-kata/0.log", "")
    seen = host.seen()
    assert OURS.steps(seen) == []
    assert [note.split("; ")[0] for note in OURS.notes(seen)] == [
        "/etc/containerd/config.toml: has a handler contrast-cc-metal-qemu-snp-0a1b2c3d of Contrast's node-installer",
        "/etc/containerd/conf.d/kata-deploy.toml: has a handler kata-clh of kata-deploy",
        "/opt/edgeless: is of Contrast's node-installer",
        "/etc/systemd/system/nydus-for-kata-tee.service: is of kata-deploy",
        "/var/log/pods/kube-system_kata-deploy-x7k2p_1-2-3: is of kata-deploy",
    ]
    assert "writes its files again" in OURS.notes(seen)[-1]


def test_a_host_that_gets_no_kata_has_no_conflict(host: Host) -> None:
    host.path("/opt/kata/bin").mkdir(parents=True)
    assert Leftovers(()).steps(host.seen(Leftovers(()))) == []


@pytest.mark.parametrize("distribution", ["kubeadm", "existing", "k3s", "rke2", "k0s"])
def test_the_runtime_phase_looks_for_them_on_every_host_that_gets_kata(distribution: str) -> None:
    made = context(inventory("qemu", kubernetes={"distribution": distribution}), *everything())
    found = RuntimePhase().resources(made, made.inventory.host("w1"))
    assert [one.handlers for one in found if isinstance(one, Leftovers)] == [("kata-qemu",)]
    assert not [one for one in RuntimePhase().resources(made, made.inventory.host("cp1")) if isinstance(one, Leftovers)]


def test_nothing_is_ever_removed(host: Host) -> None:
    host.file("/etc/containerd/conf.d/kata-deploy.toml", KATA_DEPLOY)
    assert OURS.undo(host.seen()) == []
