"""The distribution's own containerd 1.7: our handlers merged in, a pod under one of them, and all taken out again."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.fetch import bundle as bundles
from strongroom.fetch.go_modules import build_from_go_modules
from strongroom.lab import ssh, state, vm
from strongroom.phases.verify import shim_script
from tests import bundled, fingerprint
from tests.torture import INVENTORY, LEFTOVERS, strongroom

pytestmark = pytest.mark.lab

HANDLER = "kata-qemu-coco-dev"
CONFIG = "/etc/containerd/config.toml"
POD = {
    "metadata": {"name": "pod", "namespace": "default", "uid": "of-the-test", "attempt": 0},
    "labels": {"io.kubernetes.pod.uid": "of-the-test"},  # as the kubelet sets it
    "log_directory": "/tmp/pods",
    "linux": {"security_context": {"namespace_options": {"network": 2}}},
}
CRICTL = "/tmp/crictl -r unix:///run/containerd/containerd.sock -t 300s"
# containerd goes on as the owner's own, so what it writes is its own as well.
EXCEPTIONS = {
    "/var/lib/containerd": "the database and the layers of a containerd that stays; no image of ours is listed"
}


@pytest.fixture(scope="module")
def lab() -> Iterator[state.Lab]:
    """A host with Debian's containerd, with a state folder of its own and the shared cache."""
    folder = tempfile.mkdtemp(prefix="sr-")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", folder)
        patch.setenv("STRONGROOM_LAB", "rt17")
        try:
            yield vm.up("rt17", ["cp1"], memory=2048, cpus=2, packages=["containerd"])
        finally:
            vm.down("rt17")
            shutil.rmtree(folder)


@pytest.fixture(scope="module")
def inventory(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lab's inventory, with the distribution's containerd."""
    text = INVENTORY.read_text()
    assert '"containerd": "bundle"' in text
    file = tmp_path_factory.mktemp("inventory") / "inventory.py"
    file.write_text(text.replace('"containerd": "bundle"', '"containerd": "distribution"'))
    return str(file)


@pytest.fixture(scope="module")
def before(lab: state.Lab) -> fingerprint.Fingerprint:
    """The host as it was."""
    return fingerprint.take(lab)


def on(lab: state.Lab, script: str, *, fails: bool = False) -> str:
    done = ssh.run(lab, lab.hosts[0], script, seconds=900)
    assert (done.returncode != 0) is fails, f"{script}: {done.stdout[-1000:]}{done.stderr[-2000:]}"
    return done.stdout


def apply(inventory: str) -> dict[str, list[dict[str, str]]]:
    done = strongroom("apply", "--phase", "host", "--phase", "runtime", inventory, "--output", "json")
    assert done.returncode == 0, done.stderr[-3000:]
    result: dict[str, list[dict[str, str]]] = json.loads(done.stdout)
    return result


def started(lab: state.Lab) -> str:
    return on(lab, "systemctl show containerd -p ActiveEnterTimestampMonotonic -p NRestarts -p ActiveState")


def crictl(lab: state.Lab, folder: Path) -> None:
    """The bundle's crictl on the host, where nothing stays after a reboot."""
    program = bundled.program("crictl", "crictl", folder)
    command = [*ssh.command(lab, lab.hosts[0]), "cat > /tmp/crictl; chmod 0755 /tmp/crictl; mkdir -p /tmp/pods"]
    with program.open("rb") as file:
        subprocess.run(command, stdin=file, check=True, timeout=900)


def test_a_configuration_that_is_no_toml_is_one_line_and_changes_nothing(
    lab: state.Lab, inventory: str, before: fingerprint.Fingerprint
) -> None:
    on(lab, f"cp -p {CONFIG} /tmp/config.toml; echo 'plugins = ' >> {CONFIG}")
    try:
        done = strongroom("apply", "--phase", "runtime", inventory)
        assert done.returncode == 4, done.stderr
        assert "HOST-CONTAINERD: it refuses its configuration" in done.stderr
        assert f"{CONFIG}: (11, " in done.stderr
        done = strongroom("apply", "--phase", "runtime", "--skip-phase", "preflight", inventory)
        assert done.returncode == 1
        assert f"cp1: {CONFIG}:10: not valid TOML" in done.stderr
    finally:
        on(lab, f"cp -p /tmp/config.toml {CONFIG}")
    assert on(lab, "ls -d /var/lib/strongroom /opt/strongroom 2>/dev/null || true") == ""


def test_handlers_are_merged_and_containerd_is_restarted_once(lab: state.Lab, inventory: str) -> None:
    result = apply(inventory)
    merged = [change for change in result["changes"] if change["resource"] == "containerd configuration"]
    assert [HANDLER in change["sentence"] for change in merged] == [True]
    restarts = [change["sentence"] for change in result["changes"] if change["sentence"].startswith("restart")]
    assert len(restarts) == 1, restarts
    dump = on(lab, "containerd config dump")
    assert f"containerd.runtimes.{HANDLER}]" in dump
    assert 'runtime_path = "/opt/kata/bin/containerd-shim-kata-v2"' in dump
    assert 'sandbox_image = "strongroom.dev/lab/pause:' in dump
    assert 'bin_dir = "/opt/cni/bin"' in dump
    assert "SystemdCgroup = true" in dump
    assert 'path = "/var/lib/containerd/opt"' in dump, "Debian's own key is still there"


def test_applied_again_nothing_changes(lab: state.Lab, inventory: str) -> None:
    was = started(lab)
    assert apply(inventory)["changes"] == []
    assert started(lab) == was
    assert on(lab, f"{LEFTOVERS} || true") == ""


def test_a_pod_runs_under_the_handler_by_the_pinned_shim(lab: state.Lab, inventory: str, tmp_path: Path) -> None:
    crictl(lab, tmp_path)
    on(lab, f"cat > /tmp/pod.json <<'END'\n{json.dumps(POD)}\nEND")
    sandbox = on(lab, f"{CRICTL} runp -r {HANDLER} /tmp/pod.json").strip()
    found = dict(line.split("=", 1) for line in on(lab, shim_script("of-the-test")).splitlines())
    kata = bundles.load(build_from_go_modules()).manifest.of("kata")
    pinned = next(file.sha256 for file in kata.files if file.path == "bin/containerd-shim-kata-v2")
    assert found["sandbox"] == sandbox
    assert found["sha256"] == pinned
    assert found["exe"].startswith("/opt/strongroom/kata/")
    assert '"SANDBOX_READY"' in on(lab, f"{CRICTL} inspectp {sandbox}")


def test_the_runtime_stays_while_a_pod_is_on_it(lab: state.Lab, inventory: str) -> None:
    done = strongroom("destroy", "--yes", "--phase", "runtime", inventory)
    assert done.returncode == 4, done.stderr
    assert "cp1: 1 pod runs on /opt/strongroom/kata" in done.stderr
    assert apply(inventory)["changes"] == []


def test_what_the_owner_adds_by_hand_survives(lab: state.Lab, inventory: str) -> None:
    on(lab, f"cp -p {CONFIG} /tmp/merged.toml; printf '# by hand\\n[debug]\\n  level = \"info\" # mine\\n' >> {CONFIG}")
    changes = apply(inventory)["changes"]
    # The file is younger than the start, so what runs may not be what it says; nothing else is to do.
    assert [change["because"] for change in changes] == [f"file {CONFIG}"]
    on(lab, f"sed -i 's#/opt/cni/bin#/srv/cni#' {CONFIG}")
    sentences = [change["sentence"] for change in apply(inventory)["changes"]]
    assert sentences[0] == f"merge into {CONFIG}: bin_dir"
    text = on(lab, f"cat {CONFIG}")
    assert '# by hand\n[debug]\n  level = "info" # mine\n' in text
    assert 'bin_dir = "/opt/cni/bin"' in text
    ready = on(lab, f"{CRICTL} pods -q --state ready 2>/dev/null").split()
    assert len(ready) == 1, "the pod outlived both restarts"


def test_destroy_by_force_ends_pods_and_takes_out_ours_alone(lab: state.Lab, inventory: str) -> None:
    done = strongroom("destroy", "--yes", "--force", "--phase", "runtime", inventory)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "cp1: end the pods on /opt/strongroom/kata" in done.stderr
    assert on(lab, "ctr -n k8s.io containers ls -q; ctr -n k8s.io tasks ls -q; pgrep -l containerd-shim || true") == ""
    text = on(lab, f"cat {CONFIG}")
    assert '# by hand\n[debug]\n  level = "info" # mine\n' in text
    assert 'bin_dir = "/usr/lib/cni"' in text
    assert "strongroom" not in text
    assert "kata" not in text
    assert on(lab, "systemctl is-active containerd") == "active\n"
    on(lab, f"cp -p /tmp/config.toml {CONFIG}; systemctl restart containerd")


def test_destroy_gives_the_host_back(lab: state.Lab, inventory: str, before: fingerprint.Fingerprint) -> None:
    apply(inventory)
    listed = strongroom("plan", "--destroy", inventory)
    assert f"runtime: cp1: take our handlers out of {CONFIG}" in listed.stdout, listed.stderr
    done = strongroom("destroy", "--yes", inventory)
    assert done.returncode == 0, done.stderr[-3000:]
    assert on(lab, "systemctl is-active containerd") == "active\n"
    assert on(lab, "ctr -n k8s.io images ls -q") == ""
    assert HANDLER not in on(lab, "containerd config dump")
    assert fingerprint.differences(before, fingerprint.take(lab), EXCEPTIONS) == []
    assert strongroom("plan", "--destroy", "--exit-code", inventory).returncode == 0
