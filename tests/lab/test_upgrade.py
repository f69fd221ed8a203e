"""A lab host is upgraded under a running pod, goes back, a bad version is stopped and taken back, and the host given back.

With the bundle's containerd, and with the distribution's own 1.7. Kata's versions are stand-ins of one source under
different numbers (``bundle build --set kata=…``); the control plane is the only node, so what a drain evicts waits until the
node is back.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from strongroom.fetch import bundle as bundles
from strongroom.fetch import lockfile, standin, tarball
from strongroom.fetch.go_modules import build_from_go_modules
from strongroom.fetch.hashing import sha256_file
from strongroom.fetch.tarball import Member
from strongroom.lab import state
from strongroom.phases.verify import shim_script
from tests import fingerprint
from tests.lab.conftest import own_lab
from tests.torture import INVENTORY, KUBECTL, LEFTOVERS, on_host, strongroom

pytestmark = pytest.mark.lab

SHIM = "bin/containerd-shim-kata-v2"
NEW, BAD = "4.2.0-standin", "4.3.0-standin"
OLD = lockfile.load_go().version("kata")


@dataclass(frozen=True)
class Cluster:
    """A cluster of one host: its inventory, and the host as it was before."""

    lab: state.Lab
    inventory: str
    before: fingerprint.Fingerprint
    exceptions: Mapping[str, str]


@pytest.fixture(scope="module", params=["bundle", "distribution"])
def cluster(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """One with the bundle's containerd, and one with the distribution's."""
    theirs = request.param == "distribution"
    text = INVENTORY.read_text()
    assert '"containerd": "bundle"' in text
    file = tmp_path_factory.mktemp("inventory") / "inventory.py"
    file.write_text(text.replace('"containerd": "bundle"', f'"containerd": "{request.param}"'))
    exceptions = fingerprint.LAB
    if theirs:
        exceptions = {**exceptions, "/var/lib/containerd": "the database and the layers of a containerd that stays"}
    for lab in own_lab("upgrade", ("cp1",), packages=["containerd"] if theirs else []):
        made = Cluster(lab, str(file), fingerprint.take(lab), exceptions)
        done = strongroom("apply", made.inventory)
        assert done.returncode == 0, done.stderr[-3000:]
        yield made


@pytest.fixture
def lab(cluster: Cluster) -> state.Lab:
    return cluster.lab


@pytest.fixture
def inventory(cluster: Cluster) -> str:
    return cluster.inventory


@pytest.fixture(scope="module")
def new() -> str:
    """A bundle with another stand-in."""
    return str(standin.build({"kata": NEW}))


def upgrade(inventory: str, bundle: str, *words: str) -> tuple[int, list[str], str]:
    """Exit code, sentences, and what was said."""
    done = strongroom("upgrade", inventory, "--bundle", bundle, "--output", "json", *words)
    changes = json.loads(done.stdout)["changes"] if done.returncode == 0 else []
    return done.returncode, [change["sentence"] for change in changes], done.stderr


def in_use(lab: state.Lab) -> str:
    return on_host(lab, "readlink /opt/kata").strip().rpartition("/")[2]


def there(lab: state.Lab) -> list[str]:
    return on_host(lab, "ls /opt/strongroom/kata").split()


def cordoned(lab: state.Lab) -> str:
    return on_host(lab, f"{KUBECTL} get node cp1 -o jsonpath='{{.spec.unschedulable}}'")


def workload(kind: str, name: str) -> dict[str, Any]:
    """A DaemonSet, which a drain leaves alone, or a Deployment, whose pod it moves; under the Kata handler."""
    image = str(bundles.load(build_from_go_modules()).manifest.of("verify-pod").image)
    spec = {
        "runtimeClassName": "kata-qemu-coco-dev",
        "terminationGracePeriodSeconds": 5,
        "containers": [{"name": "pod", "image": image, "imagePullPolicy": "Never"}],
    }
    labels = {"app": name}
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"selector": {"matchLabels": labels}, "template": template},
    }


def uid(lab: state.Lab, name: str) -> str:
    """The uid of the one running pod of a workload; waits for it."""
    found = on_host(
        lab,
        f"for i in $(seq 120); do {KUBECTL} wait pod -l app={name} --for=condition=Ready --timeout=5s >/dev/null 2>&1 && break;"
        f" sleep 2; done; {KUBECTL} get pod -l app={name} -o jsonpath='{{.items[*].metadata.uid}}'",
    ).split()
    assert len(found) == 1, found
    return found[0]


def shim(lab: state.Lab, of: str) -> str:
    """The version whose folder a pod's shim runs from."""
    found = dict(line.split("=", 1) for line in on_host(lab, shim_script(of)).splitlines() if "=" in line)
    return found["exe"].removeprefix("/opt/strongroom/kata/").partition("/")[0]


def test_apply_refuses_another_version_and_changes_nothing(lab: state.Lab, inventory: str, new: str) -> None:
    done = strongroom("apply", inventory, "--bundle", new)
    assert done.returncode == 4, done.stderr
    assert f"strongroom: cp1: kata {OLD} is in use, the bundle has {NEW}" in done.stderr
    assert (in_use(lab), there(lab)) == (OLD, [OLD])
    assert strongroom("plan", "--exit-code", inventory).returncode == 0


def test_a_pod_that_belongs_to_nobody_is_refused_before_anything_changes(
    lab: state.Lab, inventory: str, new: str
) -> None:
    item = workload("DaemonSet", "alone")["spec"]["template"]
    item = {"apiVersion": "v1", "kind": "Pod", **item, "metadata": {"name": "alone", "namespace": "default"}}
    item["spec"] |= {"nodeName": "cp1"}
    on_host(lab, f"{KUBECTL} create -f - <<'END'\n{json.dumps(item)}\nEND")
    try:
        code, _, said = upgrade(inventory, new)
        assert code == 4, said
        assert "cp1: default/alone: belongs to no controller" in said
        assert there(lab) == [OLD]
    finally:
        on_host(lab, f"{KUBECTL} delete pod alone --grace-period=0 --force")


def test_upgraded_under_a_running_pod(lab: state.Lab, inventory: str, new: str) -> None:
    for kind, name in (("DaemonSet", "agent"), ("Deployment", "app")):
        on_host(lab, f"{KUBECTL} create -f - <<'END'\n{json.dumps(workload(kind, name))}\nEND")
    agent, app = uid(lab, "agent"), uid(lab, "app")
    assert (shim(lab, agent), shim(lab, app)) == (OLD, OLD)
    planned = strongroom("plan", "--upgrade", inventory, "--bundle", new, "--output", "json")
    assert planned.returncode == 0, planned.stderr
    assert (in_use(lab), there(lab), cordoned(lab)) == (OLD, [OLD], "")
    started = on_host(lab, "systemctl show containerd -p ActiveEnterTimestampMonotonic")
    code, sentences, said = upgrade(inventory, new)
    assert code == 0, said[-3000:]
    wanted = [change["sentence"] for change in json.loads(planned.stdout)["changes"]]
    assert [one for one in sentences if one in wanted] == wanted, "what was planned was done, in its order"
    assert (in_use(lab), there(lab), cordoned(lab)) == (NEW, sorted([OLD, NEW]), "")
    assert uid(lab, "agent") == agent, "the pod that a drain leaves alone is the same"
    assert shim(lab, agent) == OLD
    assert uid(lab, "app") != app
    assert shim(lab, uid(lab, "app")) == NEW
    # Kata alone has another version: nothing of containerd changed.
    assert on_host(lab, "systemctl show containerd -p ActiveEnterTimestampMonotonic") == started
    on_host(lab, f"{KUBECTL} delete pod -l app=agent")
    assert shim(lab, uid(lab, "agent")) == NEW


def test_a_second_time_nothing_changes(lab: state.Lab, inventory: str, new: str) -> None:
    assert upgrade(inventory, new)[:2] == (0, [])
    done = strongroom("apply", inventory, "--bundle", new, "--output", "json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["changes"] == []
    assert on_host(lab, f"{LEFTOVERS} || true") == ""


def test_rolled_back_by_hand(lab: state.Lab, inventory: str, new: str) -> None:
    agent = uid(lab, "agent")
    code, sentences, said = upgrade(inventory, new, "--rollback")
    assert code == 0, said[-3000:]
    (back,) = [one for one in sentences if one.startswith("switch back to")]
    assert f"kata {OLD}" in back
    assert (in_use(lab), cordoned(lab)) == (OLD, "")
    assert shim(lab, agent) == NEW
    assert shim(lab, uid(lab, "app")) == OLD, "a pod that came after it runs by what is in use again"
    assert upgrade(inventory, new, "--rollback")[:2] == (0, [])
    done = strongroom("plan", "--exit-code", inventory)
    assert done.returncode == 0, done.stdout


def bad(folder: Path) -> str:
    """A bundle whose Kata does not start: the shim is a program that ends at once."""
    made = bundles.copy(standin.build({"kata": BAD}), folder)
    found = bundles.load(made)
    kata = found.manifest.of("kata")
    below = f"opt/kata/{SHIM}"
    members = [
        Member(
            f"opt/kata/{file.path}",
            int(file.mode, 8),
            data=tarball.member(found.path(kata), kata.strip, kata.subdir, file),
        )
        for file in kata.files
        if file.path != SHIM
    ]
    with found.path(kata).open("wb") as out:
        tarball.write([*members, Member(below, 0o755, data=b"#!/bin/sh\nexit 1\n")], out)
    fields = {
        "size": found.path(kata).stat().st_size,
        "sha256": sha256_file(found.path(kata)),
        "files": tarball.listing(found.path(kata), kata.strip),
    }
    artifacts = tuple(one.model_copy(update=fields) if one == kata else one for one in found.manifest.artifacts)
    (made / "bundle.json").unlink()
    bundles.write_manifest(found.manifest.model_copy(update={"artifacts": artifacts}), made)
    return str(made)


def test_a_version_that_does_not_run_is_taken_back(lab: state.Lab, inventory: str, tmp_path: Path) -> None:
    before = in_use(lab)
    code, _, said = upgrade(inventory, bad(tmp_path / "bad"))
    assert code == 1, said[-3000:]
    line = next(line for line in said.splitlines() if line.startswith("strongroom: "))
    assert "verify-qemu-coco-dev-cp1" in line
    assert line.endswith("; cp1 was rolled back")
    assert (in_use(lab), cordoned(lab)) == (before, "")
    assert uid(lab, "app")
    done = strongroom("verify", inventory)
    assert done.returncode == 0, done.stderr[-3000:]


def test_a_version_that_nothing_uses_goes_with_the_next_upgrade(lab: state.Lab, inventory: str, new: str) -> None:
    assert BAD in there(lab)
    assert upgrade(inventory, new)[0] == 0
    assert there(lab) == sorted([OLD, NEW])


def test_the_host_is_given_back(cluster: Cluster, lab: state.Lab, inventory: str) -> None:
    """With its pods, after versions came, went and were taken back."""
    refused = strongroom("destroy", "--yes", "--phase", "runtime", inventory)
    assert refused.returncode == 4, refused.stderr
    assert "pods run on /opt/strongroom" in refused.stderr
    done = strongroom("destroy", "--yes", inventory)
    assert done.returncode == 0, done.stderr[-3000:]
    found = fingerprint.differences(cluster.before, fingerprint.take(lab), cluster.exceptions)
    assert not found, "\n".join(found)
    assert strongroom("plan", "--destroy", "--exit-code", inventory).returncode == 0
