"""Kata's shims: which hosts get them, what is refused of them, and that a confidential one comes to no host that isn't ready."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

import pytest

from strongroom.errors import ConfigError
from strongroom.fetch.bundle import Bundle
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from strongroom.model.cluster import validate
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.platform import Platform
from strongroom.model.shims import find_shim
from strongroom.phases import kata
from strongroom.phases.base import Context, template
from strongroom.phases.choice import choose, refuse_other_arch
from strongroom.phases.context import shims
from strongroom.phases.readiness import guards
from strongroom.phases.runtime import RuntimePhase
from strongroom.phases.runtime_classes import keys_rule, node_labels, objects, overhead_memory, runtime_class
from strongroom.plan.artifacts import Component
from strongroom.plan.containerd import handler_settings
from strongroom.plan.files import Link
from strongroom.plan.readiness import Ready
from strongroom.plan.resource import Observed
from strongroom.plan.toml_settings import merge
from tests.reference import Sections, make
from tests.reference.faults import FAULTS

KNOWN = shims()
GO, RUST = "bin/containerd-shim-kata-v2", "runtime-rs/bin/containerd-shim-kata-v2"
DEFAULTS = "share/defaults/kata-containers"


def inventory(*names: str, platforms: tuple[str, ...] = ("none",), **cluster: Any) -> Any:
    hosts: dict[str, Any] = {"cp1": (["control_plane"], {"address": "10.0.0.1"})}
    for number, platform in enumerate(platforms, 1):
        hosts[f"w{number}"] = (["workers"], {"address": f"10.0.0.{number + 1}", "platform": platform})
    runtime = {"shims": names, **cluster.pop("runtime", {})}
    return validate({"name": "a", "claim": "none", "runtime": runtime, **cluster}, hosts)


def archive(component: str, *paths: str, version: str = "4.1.0", stand_in: bool = False, **sums: str) -> Artifact:
    files = tuple(
        BundledFile(path=path, sha256=sums.get("sum", "a") * 64, mode="0755" if "bin/" in path else "0644")
        for path in paths
    )
    return Artifact(
        component=component, version=version, arch="amd64", kind="archive", file=f"{component}.tar", size=1,
        sha256="b" * 64, licence="x", source="x", files=files, stand_in=stand_in,
    )  # fmt: skip


def others() -> list[Artifact]:
    """What the runtime phase needs beside Kata."""
    image = Artifact(
        component="pause", version="1", arch="amd64", kind="image", file="pause.tar", size=1, sha256="0" * 64,
        licence="x", source="x", image="example/pause:1", image_digest=f"sha256:{'0' * 64}",
    )  # fmt: skip
    programs = ("cni-plugins", "containerd", "runc")
    return [*(archive(name, f"bin/{name}", version="1") for name in programs), image]


def context(ours: Any, *parts: Artifact) -> Context:
    manifest = BundleManifest(
        arch="amd64", origin="upstream", digest=f"sha256:{'0' * 64}", artifacts=(*parts, *others())
    )
    return Context(ours, Bundle(Path("/nowhere"), manifest), choose(ours, KNOWN))


def everything(version: str = "4.1.0") -> tuple[Artifact, ...]:
    """Archives of a release with every shim: one until 4.0, two from 4.1 on."""
    go = [shim.packaged for shim in KNOWN.values() if shim.runtime == "go"]
    rust = [shim.packaged for shim in KNOWN.values() if shim.runtime == "rust"]
    if version < "4.1":
        return (archive("kata", GO, RUST, *go, *rust, version=version),)
    return archive("kata", RUST, *rust, version=version), archive("kata-go", GO, *go, version=version)


# the catalogue


def test_the_catalogue_has_every_shim_of_the_release() -> None:
    assert len(KNOWN) == 26
    assert sum(shim.runtime == "go" for shim in KNOWN.values()) == 13
    for name, shim in KNOWN.items():
        assert (shim.handler, shim.runtime_type) == (f"kata-{name}", f"io.containerd.kata-{name}.v2")
        assert (shim.runtime == "rust") == name.endswith("-runtime-rs") or name == "dragonball"
        assert shim.config_path.startswith("/opt/kata/share/defaults/kata-containers/")
        assert shim.hypervisor != "clh" or not shim.confidential
    assert {name for name, shim in KNOWN.items() if shim.platform is Platform.SNP} == {
        "qemu-snp", "qemu-snp-runtime-rs", "qemu-nvidia-gpu-snp", "qemu-nvidia-gpu-snp-runtime-rs",
    }  # fmt: skip
    assert len({shim.handler for shim in KNOWN.values()}) == 26


def test_a_debug_variant_is_a_handler_of_its_own() -> None:
    shim, variant = KNOWN["qemu-snp-runtime-rs"], find_shim(KNOWN, "qemu-snp-runtime-rs-debug")
    assert variant.handler == "kata-qemu-snp-runtime-rs-debug"
    assert (variant.runtime_path, variant.packaged, variant.requires) == (
        shim.runtime_path,
        shim.packaged,
        shim.requires,
    )
    assert variant.config_path == (
        "/opt/kata/share/defaults/kata-containers/custom-runtimes/kata-qemu-snp-runtime-rs-debug/"
        "configuration-qemu-snp-runtime-rs.toml"
    )
    assert variant.drop_in != shim.drop_in


# choice


def test_each_host_gets_the_shims_of_its_platform() -> None:
    ours = inventory("qemu", "qemu-snp", "qemu-tdx", platforms=("snp", "tdx", "none"))
    made = context(ours, *everything())
    names = {host.name: [shim.name for shim in made.shims_of(host)] for host in ours.hosts}
    assert names == {"cp1": [], "w1": ["qemu", "qemu-snp"], "w2": ["qemu", "qemu-tdx"], "w3": ["qemu"]}


@pytest.mark.parametrize(
    ("names", "platforms", "more", "words"),
    [
        (("qemu-snpp",), ("snp",), {}, ["runtime.shims: found 'qemu-snpp'", "did you mean 'qemu-snp'?"]),
        (("cloud-hypervisor",), ("none",), {}, ["found 'cloud-hypervisor', allowed are clh,"]),
        (("cloud-hypervisor",), ("none",), {}, ["did you mean 'clh-runtime-rs'?"]),
        (("firecracker",), ("none",), {}, ["did you mean 'fc'?"]),
        (("qemu-sev",), ("sev",), {}, ["found 'qemu-sev', allowed are clh,", "NAME-debug; Kata 4.1 has it no more"]),
        (("qemu-cca-debug",), ("cca",), {}, ["NAME-debug; Kata 4.1 has it no more"]),
        (("clh-tdx",), ("tdx",), {}, ["found 'clh-tdx': Cloud Hypervisor has no TEE", "did you mean 'qemu-tdx'?"]),
        (("clh-snp-runtime-rs",), ("snp",), {}, ["Cloud Hypervisor has no TEE", "'qemu-snp-runtime-rs'?"]),
        (("clh",), ("snp",), {}, ["host w1: platform: snp, and its shims (clh) are Cloud Hypervisor's", "qemu-snp"]),
        (("clh-runtime-rs", "qemu-tdx"), ("snp", "tdx"), {}, ["host w1: platform: snp, and its shims (clh-runtime-rs)"]),
        (("qemu-tdx",), ("snp",), {}, ["host w1: platform: snp, and shim qemu-tdx needs tdx"]),
        (("qemu-snp",), ("none", "vtpm"), {}, ["w1: platform: none, and shim", "w2: platform: vtpm, and shim"]),
        (("qemu-snp",), ("snp", "none"), {}, ["host w2: platform: none, and none of runtime.shims (qemu-snp)"]),
        (("qemu-nvidia-gpu-snp",), ("snp",), {}, ["shim qemu-nvidia-gpu-snp needs gpu"]),
        (
            ("qemu-nvidia-gpu-snp", "qemu-nvidia-gpu-tdx-runtime-rs"), ("gpu", "gpu"), {},
            ["qemu-nvidia-gpu-snp and qemu-nvidia-gpu-tdx-runtime-rs are for the same hosts", "no CPU has snp and tdx"],
        ),
        (
            ("qemu-snp-debug",), ("snp",), {"claim": "confidential"},
            ["qemu-snp-debug opens the guest's debug console to the host", "take qemu-snp, or claim none"],
        ),
        (
            ("qemu",), ("none",), {"runtime": {"settings": {"qemu-tdx": {}}}},
            ["runtime.settings: found 'qemu-tdx', allowed are those of runtime.shims: qemu"],
        ),
        (
            ("qemu",), ("none",), {"runtime": {"settings": {"qemu": {"kbs": "http://kbs:8080"}}}},
            ["runtime.settings.qemu.kbs: found 'http://kbs:8080'", "no guest components"],
        ),
        (
            ("fc",), ("none",), {"runtime": {"settings": {"fc": {"image_pull": "guest"}}}},
            ["runtime.settings.fc.image_pull: found 'guest'"],
        ),
        (
            ("remote",), ("none",), {"runtime": {"settings": {"remote": {"kernel_params": ["quiet"]}}}},
            ["runtime.settings.remote.kernel_params: allowed with every shim but remote"],
        ),
    ],
)  # fmt: skip
def test_each_refusal_is_a_line_that_names_it(
    names: tuple[str, ...], platforms: tuple[str, ...], more: dict[str, Any], words: list[str]
) -> None:
    ours = inventory(*names, platforms=platforms, **more)
    with pytest.raises(ConfigError) as caught:
        choose(ours, KNOWN)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"memory": 4096}, ["runtime.settings.qemu.memory: unknown key", "did you mean 'memory_mib'?"]),
        ({"memory_mib": 1}, ["runtime.settings.qemu.memory_mib: found 1"]),
        ({"vcpus": "two"}, ["runtime.settings.qemu.vcpus: found 'two'"]),
        ({"kernel_params": ['a" b']}, ["runtime.settings.qemu.kernel_params.0: found"]),
        ({"kernel_params": ["a=\N{SLIGHTLY SMILING FACE}"]}, ["runtime.settings.qemu.kernel_params.0: found"]),
        ({"kernel_params": ["a=\0"]}, ["runtime.settings.qemu.kernel_params.0: found"]),
        ({"kbs": "kbs:8080"}, ["runtime.settings.qemu.kbs: found 'kbs:8080'"]),
        ({"image_pull": "guests"}, ["image_pull: found 'guests'", "did you mean 'guest'?"]),
        ({"kernel_params": ["agent.aa_kbc_params=x"]}, ["agent.aa_kbc_params is what kbs sets"]),
    ],
)
def test_settings_are_typed(settings: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        inventory("qemu", runtime={"settings": {"qemu": settings}})
    for word in words:
        assert word in str(caught.value)


def test_a_shim_that_is_not_made_for_the_bundles_architecture_is_refused() -> None:
    with pytest.raises(ConfigError, match="qemu-snp is made for amd64, and the bundle is for arm64"):
        refuse_other_arch([KNOWN["qemu"], KNOWN["qemu-snp"]], "arm64")
    refuse_other_arch([KNOWN["qemu"], KNOWN["qemu-nvidia-cpu"]], "arm64")
    with pytest.raises(ConfigError, match="qemu-se is made for s390x, and the bundle is for amd64"):
        kata.refuse_unfit(context(inventory("qemu-se", platforms=("se",)), *everything()))


# archives


@pytest.mark.parametrize("version", ["3.32.0", "4.1.0"])
@pytest.mark.parametrize("name", sorted(KNOWN))
def test_every_shim_is_laid_out_from_both_generations_of_archives(name: str, version: str) -> None:
    shim = KNOWN[name]
    platform = str(shim.host_platform)
    made = context(inventory(name, platforms=(platform,)), *everything(version))
    first, *rest = kata.resources(made, made.shims)
    assert isinstance(first, Component)
    assert first.prefix == f"/opt/strongroom/kata/{version}"
    assert len(first.others) == (version >= "4.1" and shim.runtime == "go")
    copied, drop_in, link = rest
    assert copied.key == f"file {first.prefix}/{shim.in_place}"
    assert drop_in.key == f"file {first.prefix}/{shim.drop_in}"
    assert link == Link("/opt/kata", first.prefix, "/opt/strongroom/kata")
    assert f"/opt/kata/{shim.in_place}" == shim.config_path


def test_what_a_bundle_has_no_archive_for_is_refused() -> None:
    rust, _go = everything()
    with pytest.raises(
        ConfigError, match=r"qemu-snp needs bin/containerd-shim-kata-v2.* kata 4.1.0 does not have"
    ) as said:
        kata.refuse_unfit(context(inventory("qemu-snp", platforms=("snp",)), rust))
    assert "qemu-snp-runtime-rs, or a bundle with kata-go" in str(said.value.hint)
    old = archive("kata", GO, f"{DEFAULTS}/configuration-qemu-tdx.toml", version="3.30.0")
    with pytest.raises(ConfigError, match=r"Kata 3.30.0 .* it has configurations of qemu-tdx; did you mean 'qemu-tdx'"):
        kata.refuse_unfit(context(inventory("qemu-snp", platforms=("snp",)), old))
    with pytest.raises(ConfigError, match=r"kata-go is 4.2.0 and kata is 4.1.0"):
        kata.merged([rust, archive("kata-go", GO, version="4.2.0")])
    with pytest.raises(ConfigError, match=r"share/ovmf/AMDSEV.fd of kata-go 4.1.0 is not the one of kata"):
        kata.merged([archive("kata", "share/ovmf/AMDSEV.fd"), archive("kata-go", "share/ovmf/AMDSEV.fd", sum="c")])
    assert len(kata.merged([archive("kata", "share/ovmf/AMDSEV.fd"), archive("kata-go", "share/ovmf/AMDSEV.fd")])) == 1


def test_the_sum_that_verify_compares_with_is_of_the_archive_that_has_the_runtime() -> None:
    rust, go = everything()
    go = go.model_copy(update={"files": tuple(f.model_copy(update={"sha256": "d" * 64}) for f in go.files)})
    made = context(inventory("qemu", "qemu-runtime-rs"), rust, go)
    assert kata.pinned(made, KNOWN["qemu"]) == ("d" * 64, False)
    assert kata.pinned(made, KNOWN["qemu-runtime-rs"]) == ("a" * 64, False)


def test_a_host_without_a_platform_gets_what_it_got_before_there_were_other_shims() -> None:
    """The lab's bundle: a stand-in with its configuration in place. Nothing beside the archive and the link."""
    stand_in = archive("kata", GO, KNOWN["qemu-coco-dev"].in_place, stand_in=True)
    made = context(inventory("qemu-coco-dev"), stand_in)
    assert kata.resources(made, made.shims) == [
        Component(stand_in, Path("/nowhere/artifacts/kata.tar")),
        Link("/opt/kata", "/opt/strongroom/kata/4.1.0", "/opt/strongroom/kata"),
    ]
    keys = [one.key for one in RuntimePhase().resources(made, made.inventory.host("w1")) if "installers" not in one.key]
    assert keys == [
        "place /opt/strongroom", "versions in use of runc, containerd, cni-plugins, kata", "traces of runtime", "component runc 1",
        "link /usr/local/bin/runc",
        "component containerd 1", "link /usr/local/bin/containerd", "component cni-plugins 1", "link /opt/cni/bin/cni-plugins",
        "component kata 4.1.0", "link /opt/kata", "file /etc/containerd/config.toml",
        "file /etc/containerd/conf.d/10-strongroom.toml", "file /etc/systemd/system/containerd.service",
        "files of network settings", "unit containerd.service", "files of snapshotters", "image example/pause:1", "note of the former versions",
        "versions of the runtime", "pods on /opt/strongroom",
    ]  # fmt: skip
    assert runtime_class(KNOWN["qemu-coco-dev"]) == {
        "apiVersion": "node.k8s.io/v1",
        "kind": "RuntimeClass",
        "metadata": {"name": "kata-qemu-coco-dev", "labels": {"app.kubernetes.io/managed-by": "strongroom"}},
        "handler": "kata-qemu-coco-dev",
        "overhead": {"podFixed": {"memory": "160Mi", "cpu": "250m"}},
        "scheduling": {"nodeSelector": {"strongroom.dev/runtime": "true"}},
    }
    assert objects(made)[-1] == node_labels("w1")
    assert node_labels("w1")["metadata"]["labels"] == {
        "strongroom.dev/runtime": "true",
        "katacontainers.io/kata-runtime": "true",
    }


# readiness


def seen(sections: Sections) -> Observed:
    """What the guard's reader prints on such a machine."""
    lines = ["== strongroom-probe 1"]
    for name, body in sections.items():
        if name != "controller":
            lines += [f"== {name}", *body]
    return Observed(tuple(f"|{line}" for line in [*lines, "== end"]))


def guard(*names: str) -> Ready:
    (found,) = guards([KNOWN[name] for name in names])
    assert isinstance(found, Ready)
    return found


@pytest.mark.parametrize(
    ("name", "machine"),
    [("qemu-snp", "snp"), ("qemu-snp-runtime-rs", "snp"), ("qemu-tdx", "tdx"), ("qemu-tdx-runtime-rs", "tdx")],
)
def test_a_confidential_handler_comes_to_a_ready_host(name: str, machine: str) -> None:
    assert guard(name).steps(seen(make(machine))) == []


@pytest.mark.parametrize(
    ("name", "observed", "why"),
    [
        ("qemu-snp-runtime-rs", seen(make("tdx")), "snp is absent"),
        ("qemu-tdx", seen(make("snp")), "tdx is absent"),
        ("qemu-snp", Observed(), "snp was not probed"),
        ("qemu-snp", Observed(("|== strongroom-probe 1",)), "snp is"),
        ("qemu-nvidia-gpu-snp", seen(make("snp")), "gpu is"),
        ("qemu-snp", seen(make("guest-snp")), "it is a guest"),
    ],
)
def test_a_confidential_handler_comes_to_no_other_host(name: str, observed: Observed, why: str) -> None:
    (step,) = guard(name).steps(observed)
    assert f"{name}: not registered, because the host is not ready for it: " in step.script
    assert why in step.script
    assert guard(name).undo(observed) == []


@pytest.mark.parametrize("fault", ["SNP-RMPMSR", "SNP-INIT", "SNP-STATE", "SNP-KVM", "C-BARE", "C-LOGCOV"])
def test_one_fault_of_the_platform_keeps_its_handlers_away(fault: str) -> None:
    broken = FAULTS[fault].change(make(FAULTS[fault].machine))
    assert guard("qemu-snp-runtime-rs").why_not(seen(broken)) is not None


def test_the_guard_stands_before_everything_else_of_the_phase_whatever_was_skipped() -> None:
    made = context(inventory("qemu", "qemu-snp", platforms=("snp", "none")), *everything())
    for source in ("bundle", "distribution"):
        runtime = made.inventory.cluster.runtime.model_copy(update={"containerd": source})
        cluster = made.inventory.cluster.model_copy(update={"runtime": runtime})
        again = Context(made.inventory.model_copy(update={"cluster": cluster}), made.bundle, made.shims)
        first, *rest = RuntimePhase().resources(again, again.inventory.host("w1"))
        assert isinstance(first, Ready)
        assert first.shims == ("qemu-snp",)
        assert not any(isinstance(one, Ready) for one in rest)
        assert not any(isinstance(one, Ready) for one in RuntimePhase().resources(again, again.inventory.host("w2")))


# runtime classes


def test_a_runtime_class_selects_the_nodes_that_have_its_handler() -> None:
    made = context(inventory("qemu", "qemu-snp", platforms=("snp", "none")), *everything())
    found = {item["metadata"]["name"]: item for item in objects(made)}
    assert found["kata-qemu"]["scheduling"]["nodeSelector"] == {"strongroom.dev/runtime": "true"}
    selector = found["kata-qemu-snp"]["scheduling"]["nodeSelector"]
    assert selector == {"strongroom.dev/runtime": "true", "strongroom.dev/platform": "snp"}
    assert found["w1"]["metadata"]["labels"].items() >= selector.items()
    assert "strongroom.dev/platform" not in found["w2"]["metadata"]["labels"]
    assert found["kata-qemu-snp"]["overhead"]["podFixed"] == {"memory": "2048Mi", "cpu": "1.0"}


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_keys_are_asked_for_only_with_the_rule_that_advertises_them(name: str) -> None:
    platforms = (str(KNOWN[name].host_platform),)
    rule = keys_rule()
    advertised = {key for one in rule["spec"]["rules"] for key in one["extendedResources"]}
    labelled = {key for one in rule["spec"]["rules"] for key in one["labels"]}
    for nfd in (False, True):
        made = context(inventory(name, platforms=platforms, runtime={"nfd": nfd}), *everything())
        found = objects(made)
        (the_class,) = [item for item in found if item["kind"] == "RuntimeClass"]
        asked = set(the_class["overhead"]["podFixed"]) - {"memory", "cpu"}
        assert asked == (set(KNOWN[name].nfd_resources) if nfd else set())
        assert asked <= advertised
        assert (rule in found) == bool(asked)
        assert found.index(the_class) >= (rule in found)  # the rule comes first
        keys = set(the_class["scheduling"]["nodeSelector"])
        assert bool(keys & labelled) == bool(asked)


def test_the_overhead_moves_along_with_the_memory_where_the_guest_has_both() -> None:
    more = ShimSettings(memory_mib=4096)
    assert overhead_memory(KNOWN["qemu-snp"], more) == "4096Mi"
    assert overhead_memory(KNOWN["qemu-nvidia-gpu-snp"], more) == f"{10240 - 8192 + 4096}Mi"
    for name in ("qemu-snp-runtime-rs", "qemu", "qemu-coco-dev"):
        assert overhead_memory(KNOWN[name], more) == KNOWN[name].overhead_memory
    assert overhead_memory(KNOWN["qemu-snp"], ShimSettings()) == "2048Mi"


# containerd, and the page


def test_every_shim_and_its_debug_variant_is_a_handler_for_containerd() -> None:
    everyone = tuple(one for shim in KNOWN.values() for one in (shim, shim.variant()))
    rendered = template("containerd/drop-in-2.toml.j2", sandbox_image="x", shims=everyone, config_path=None)
    plugin = tomllib.loads(rendered.decode())["plugins"]["io.containerd.cri.v1.runtime"]
    handlers = plugin["containerd"]["runtimes"]
    settings = handler_settings((1, 7), {"version": 2}, "x", everyone)
    merged = tomllib.loads(merge("version = 2\n", settings, "config.toml"))
    runtimes = merged["plugins"]["io.containerd.grpc.v1.cri"]["containerd"]["runtimes"]
    for shim in everyone:
        for found in (handlers[shim.handler], runtimes[shim.handler]):
            assert found["runtime_type"] == shim.runtime_type
            assert found["runtime_path"] == shim.runtime_path
            assert found["options"] == {"ConfigPath": shim.config_path}
    assert len(handlers) == len(runtimes) == 1 + 2 * 26


def test_the_page_has_every_shim_as_the_catalogue_has_it() -> None:
    text = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text()
    for name, shim in KNOWN.items():
        tee = f"{shim.platform}{' + gpu' if shim.gpu else ''}" if shim.confidential else "gpu" if shim.gpu else "-"
        overhead = f"{shim.overhead_memory}, {shim.overhead_cpu}"
        row = f"| `{name}` | {shim.runtime} | {shim.hypervisor} | {tee} | {', '.join(shim.arches)} | {overhead} |"
        assert row in text, row
    for field in ShimSettings.model_fields:
        assert f"| `{field}` |" in text
