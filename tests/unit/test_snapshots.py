"""A handler's snapshotter: only where it is asked for, at every place that containerd's versions look, with nydus beside it."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import ConfigError, StrongroomError
from strongroom.model.distribution import distributions
from strongroom.phases import kata
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan import containerd, snapshots
from strongroom.plan.artifacts import Component
from strongroom.plan.files import File
from strongroom.plan.handlers import Handlers
from strongroom.plan.registration import Registration
from strongroom.plan.resource import Observed, Resource
from strongroom.plan.system import Unit
from strongroom.plan.toml_settings import merge
from strongroom.plan.traces import Traces
from tests.unit.test_existing_clusters import V3_CLOSED, k3s
from tests.unit.test_registration import DEBIAN, Host
from tests.unit.test_shims import KNOWN, archive, context, everything, inventory

COCO, PLAIN, FC = KNOWN["qemu-coco-dev"], KNOWN["qemu"], KNOWN["fc"]
NYDUS = archive("nydus-snapshotter", "bin/containerd-nydus-grpc", "bin/nydus-overlayfs", version="0.15.15")
ASKED = {"snapshotters": "per-shim"}


def said(version: int, *shims: Any) -> dict[str, Any]:
    return tomllib.loads(merge("", snapshots.settings({"version": version}, shims), "x"))


def test_what_containerd_is_told_is_what_kata_deploy_tells_it() -> None:
    """kata-deploy 4.1.0, binary/src/runtime/containerd.rs and artifacts/snapshotters.rs, with our names and socket."""
    proxy = {
        "strongroom-nydus": {
            "type": "snapshot",
            "address": "/run/strongroom-nydus/containerd-nydus-grpc.sock",
            "exports": {"root": "/var/lib/strongroom-nydus"},
        }
    }
    handler = {COCO.handler: {"snapshotter": "strongroom-nydus"}}
    assert said(3, COCO, PLAIN) == {
        "plugins": {
            "io.containerd.cri.v1.runtime": {"containerd": {"runtimes": handler}},
            "io.containerd.cri.v1.images": {"runtime_platforms": handler, "disable_snapshot_annotations": False},
        },
        "proxy_plugins": proxy,
    }
    assert said(2, COCO, PLAIN) == {
        "plugins": {
            "io.containerd.grpc.v1.cri": {"containerd": {"runtimes": handler, "disable_snapshot_annotations": False}}
        },
        "proxy_plugins": proxy,
    }


def test_devmapper_is_containerds_own_and_a_shim_without_any_is_left_alone() -> None:
    assert said(2, FC) == {
        "plugins": {
            "io.containerd.grpc.v1.cri": {"containerd": {"runtimes": {"kata-fc": {"snapshotter": "devmapper"}}}}
        }
    }
    assert said(3, PLAIN) == {}


def resources(*names: str, bundle: tuple[Any, ...] = (NYDUS,), **cluster: Any) -> list[Resource]:
    ours = inventory(*names, **cluster)
    made = context(ours, *everything(), *bundle)
    kata.refuse_unfit(made)
    return list(RuntimePhase().resources(made, ours.host("w1")))


def by_path(found: list[Resource]) -> dict[str, File]:
    return {one.path: one for one in found if isinstance(one, File)}


def test_not_asked_for_nothing_is_added() -> None:
    assert resources("qemu-coco-dev") == resources("qemu-coco-dev", bundle=())
    drop_in = by_path(resources("qemu-coco-dev"))[containerd.DROP_IN].content
    assert b"snapshotter" not in drop_in
    asked = resources("qemu", runtime=ASKED)
    assert not [one for one in asked if "nydus" in one.key]


def test_asked_for_nydus_runs_before_containerd_hears_of_it() -> None:
    found = resources("qemu-coco-dev", "qemu", runtime=ASKED)
    keys = [one.key for one in found]
    assert keys.index("component nydus-snapshotter 0.15.15") < keys.index("unit strongroom-nydus.service")
    assert keys.index("unit strongroom-nydus.service") < keys.index("unit containerd.service")
    files = by_path(found)
    document = tomllib.loads(files[containerd.DROP_IN].content.decode())
    runtimes = document["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]
    assert runtimes["kata-qemu-coco-dev"]["snapshotter"] == "strongroom-nydus"
    assert runtimes["kata-qemu-coco-dev"]["options"] == {"ConfigPath": COCO.config_path}
    assert "snapshotter" not in runtimes["kata-qemu"]
    assert document["proxy_plugins"]["strongroom-nydus"]["address"] == snapshots.SOCKET
    own = tomllib.loads(files[snapshots.SETTINGS].content.decode())
    assert own["daemon_mode"] == "none"
    assert own["daemon"] == {"fs_driver": "proxy"}
    assert (own["root"], own["address"]) == (snapshots.ROOT, snapshots.SOCKET)
    prefix = "/opt/strongroom/nydus-snapshotter/0.15.15/bin"
    assert own["snapshot"] == {"enable_kata_volume": True, "nydus_overlayfs_path": f"{prefix}/nydus-overlayfs"}
    unit = files["/etc/systemd/system/strongroom-nydus.service"].content.decode().splitlines()
    assert f"ExecStart={prefix}/containerd-nydus-grpc --config /etc/strongroom-nydus.toml --log-to-stdout" in unit
    assert {"Before=containerd.service", "WantedBy=containerd.service"} <= set(unit)
    (nydus,) = [one for one in found if isinstance(one, Unit) and one.name == "strongroom-nydus.service"]
    assert set(nydus.restart_on) == {snapshots.SETTINGS, "/etc/systemd/system/strongroom-nydus.service"}
    (traces,) = [one for one in found if isinstance(one, Traces)]
    assert snapshots.ROOT in traces.data  # with containerd's own records, which name what is in it


@pytest.mark.parametrize("name", ["k3s", "rke2", "k0s", "existing"])
def test_on_somebody_elses_cluster_it_runs_before_their_service_and_its_data_stays(name: str) -> None:
    found = resources("qemu-coco-dev", runtime=ASKED, kubernetes={"distribution": name})
    assert any(isinstance(one, Component) and one.artifact.component == "nydus-snapshotter" for one in found)
    unit = by_path(found)["/etc/systemd/system/strongroom-nydus.service"].content.decode()
    service = "containerd.service" if name == "existing" else distributions()[name].services[0]
    assert f"Before={service}" in unit
    assert not any(isinstance(one, Traces) and snapshots.ROOT in one.data for one in found)
    handlers = [one for one in found if isinstance(one, Handlers | Registration)]
    assert "strongroom-nydus" in (
        handlers[0].preview() if isinstance(handlers[0], Registration) else handlers[0].preview()[0].content.decode()
    )


@pytest.mark.parametrize(
    "of", [{}, {"kubernetes": {"distribution": "k3s"}}, {"kubernetes": {"distribution": "existing"}}]
)
def test_no_longer_asked_for_it_goes_behind_what_named_it(of: dict[str, Any]) -> None:
    def stale(runtime: dict[str, Any]) -> list[Resource]:
        return [one for one in resources("qemu-coco-dev", runtime=runtime, **of) if one.key == "files of snapshotters"]

    assert stale(ASKED) == []
    (there,) = stale({})
    keys = [one.key for one in resources("qemu-coco-dev", runtime={}, **of)]
    served = next(key for key in keys if key.startswith(("unit containerd", "service ")))
    assert keys.index(served) < keys.index(there.key)
    assert there.steps(Observed()) == there.undo(Observed()) == []
    unit = "/etc/systemd/system/strongroom-nydus.service"
    seen = Observed((f"file={unit}", f"file={snapshots.SETTINGS}"))
    steps = there.steps(seen)
    assert [step.sentence for step in steps] == [
        f"remove {path}, which the inventory no longer asks for" for path in (unit, snapshots.SETTINGS)
    ]
    stopped, removed = (
        steps[0].script.index(what) for what in ("disable -q --now strongroom-nydus.service", f"rm -f {unit}")
    )
    assert stopped < removed
    assert "rm -rf /opt/strongroom/nydus-snapshotter" in steps[1].script
    assert there.undo(seen) == steps


def test_cri_o_has_no_snapshotters_and_is_told_by_a_key() -> None:
    cluster = {"kubernetes": {"distribution": "existing"}, "runtime": {**ASKED, "engine": "crio"}}
    found = resources("qemu-coco-dev", "qemu", bundle=(), **cluster)
    drop_in = tomllib.loads(by_path(found)["/etc/crio/crio.conf.d/60-strongroom.conf"].content.decode())
    runtimes = drop_in["crio"]["runtime"]["runtimes"]
    assert runtimes["kata-qemu-coco-dev"]["runtime_pull_image"] is True
    assert "runtime_pull_image" not in runtimes["kata-qemu"]


@pytest.mark.parametrize(
    ("bundle", "said_of_it"),
    [
        ((), "bundle has no nydus-snapshotter"),
        ((archive("nydus-snapshotter", "bin/containerd-nydus-grpc"),), "has no bin/nydus-overlayfs"),
    ],
)
def test_a_bundle_without_nydus_is_refused_in_one_line(bundle: tuple[Any, ...], said_of_it: str) -> None:
    with pytest.raises(ConfigError) as caught:
        resources("qemu-coco-dev", bundle=bundle, runtime=ASKED)
    assert "runtime.snapshotters: found 'per-shim', and qemu-coco-dev needs nydus" in str(caught.value)
    assert said_of_it in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    resources("qemu", bundle=bundle, runtime=ASKED)  # which needs none


def test_two_ways_to_pull_an_image_are_refused() -> None:
    runtime = {**ASKED, "settings": {"qemu-coco-dev": {"image_pull": "guest"}}}
    with pytest.raises(ConfigError, match=r"settings\.qemu-coco-dev\.image_pull: found 'guest', allowed with"):
        resources("qemu-coco-dev", runtime=runtime)


def test_merged_into_containerd_1_7_and_given_back_to_the_byte(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.resource = snapshots.SnapshotRegistration("example/pause:1", (COCO,), per_shim=True)
    host.config.write_text(DEBIAN)
    host.apply()
    document = tomllib.loads(host.config.read_text())
    cri = document["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]
    assert cri["runtimes"][COCO.handler]["snapshotter"] == "strongroom-nydus"
    assert cri["disable_snapshot_annotations"] is False
    assert document["proxy_plugins"]["strongroom-nydus"]["type"] == "snapshot"
    host.destroy()
    assert host.config.read_text() == DEBIAN


def test_a_registration_that_is_not_asked_is_the_same_as_ever(tmp_path: Path) -> None:
    host = Host(tmp_path)
    host.config.write_text(DEBIAN)
    plain = [step.script for step in host.steps()]
    host.resource = snapshots.SnapshotRegistration("example/pause:1", host.resource.shims)
    assert [step.script for step in host.steps()] == plain


def test_a_template_cannot_change_the_table_of_images_and_says_so(tmp_path: Path) -> None:
    node = k3s(tmp_path, V3_CLOSED, "v2.0.5-k3s2")
    asked = Handlers(distributions()["k3s"], (COCO,), per_shim=True)
    with pytest.raises(StrongroomError, match=r"which runtime\.snapshotters 'per-shim' needs"):
        node.steps(asked)
    assert node.steps(Handlers(distributions()["k3s"], (PLAIN,), per_shim=True))
