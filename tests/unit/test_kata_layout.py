"""Kata's archives and configurations on a host: both generations, carried out in a real shell on a scratch folder."""

from __future__ import annotations

import hashlib
import os
import subprocess
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from strongroom.engine.runner import Run
from strongroom.errors import StrongroomError
from strongroom.fetch import tarball
from strongroom.fetch.bundle import Bundle
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from strongroom.model.cluster import Mode
from strongroom.model.kata_settings import ShimSettings
from strongroom.phases import kata
from strongroom.phases.base import Context
from strongroom.phases.choice import choose
from strongroom.phases.modes import phases
from strongroom.phases.readiness import guards
from strongroom.plan.kata import tables
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation
from strongroom.report.progress import Progress
from tests.unit.test_plan import OWNER
from tests.unit.test_shims import DEFAULTS, GO, KNOWN, RUST, context, everything, inventory

PARAMS = "cgroup_no_v1=all systemd.unified_cgroup_hierarchy=1"


def shipped(name: str) -> bytes:
    """The start of a configuration as a release has it."""
    return f'[hypervisor.{KNOWN[name].hypervisor}]\nkernel_params = "{PARAMS}"\n'.encode()


class Host:
    """A scratch host that is handed archives."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "bundle" / "artifacts").mkdir(parents=True)

    def pack(self, component: str, version: str, files: dict[str, bytes]) -> Artifact:
        """An archive in the release's layout, below ./opt/kata."""
        name = f"{component}-{version}.tar"
        path = self.root / "bundle" / "artifacts" / name
        members = [
            Member(f"opt/kata/{file}", 0o755 if "/bin/" in f"/{file}" else 0o644, data=data)
            for file, data in files.items()
        ]
        with path.open("wb") as out:
            tarball.write(members, out)
        return Artifact(
            component=component, version=version, arch="amd64", kind="archive", file=name, size=path.stat().st_size,
            sha256=hashlib.sha256(path.read_bytes()).hexdigest(), licence="x", source="x", strip=2,
            files=tarball.listing(path, 2),
        )  # fmt: skip

    def release(self, version: str, names: Sequence[str]) -> tuple[Artifact, ...]:
        """One archive until 4.0, two from 4.1 on."""
        go = {KNOWN[one].packaged: shipped(one) for one in names if KNOWN[one].runtime == "go"}
        rust = {KNOWN[one].packaged: shipped(one) for one in names if KNOWN[one].runtime == "rust"}
        common = {"share/ovmf/AMDSEV.fd": b"firmware"}
        if version < "4.1":
            return (self.pack("kata", version, {GO: b"go", RUST: b"rust", **go, **rust, **common}),)
        return (
            self.pack("kata", version, {RUST: f"rust {version}".encode(), **rust, **common}),
            self.pack("kata-go", version, {GO: f"go {version}".encode(), **go, **common}),
        )

    def context(self, parts: Sequence[Artifact], names: Sequence[str], **runtime: Any) -> Context:
        ours = inventory(*names, runtime=runtime)
        manifest = BundleManifest(arch="amd64", origin="upstream", digest=f"sha256:{'0' * 64}", artifacts=tuple(parts))
        return Context(ours, Bundle(self.root / "bundle", manifest), choose(ours, KNOWN))

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        for path in ("/opt/strongroom", "/opt/kata", "/opt/.kata", "/var/lib/strongroom", "/run/strongroom.lock"):
            script = script.replace(path, f"{self.root}/host{path}")
        script = script.replace("root:root", OWNER)
        (self.root / "host" / "run").mkdir(parents=True, exist_ok=True)
        (self.root / "host" / "opt").mkdir(parents=True, exist_ok=True)
        done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=False)
        done.stdout = done.stdout.replace(OWNER, "root:root").replace(f"{self.root}/host", "")
        return done

    def plan(self, resources: Sequence[Resource]) -> list[Any]:
        done = self.run(observe(resources))
        seen = parse_observation(resources, done.stdout.splitlines())
        return [step for resource in resources for step in resource.steps(seen[resource.key])]

    def apply(self, resources: Sequence[Resource]) -> list[str]:
        """As the engine does it: until nothing is left; the sentences."""
        said: list[str] = []
        for _ in range(3):
            steps = self.plan(resources)
            if not steps:
                return said
            for step in steps:
                for upload in step.uploads:
                    incoming = Path(f"{self.root}/host{upload.incoming}")
                    incoming.parent.mkdir(parents=True, exist_ok=True)
                    incoming.write_bytes(upload.source.read_bytes())
                done = self.run(carry_out([step]))
                assert done.returncode == 0, done.stderr
                said.append(step.sentence)
        raise AssertionError(f"still pending: {self.plan(resources)}")

    def undo(self, resources: Sequence[Resource]) -> None:
        done = self.run(observe(resources))
        seen = parse_observation(resources, done.stdout.splitlines())
        for resource in reversed(resources):
            for step in resource.undo(seen[resource.key]):
                done = self.run(carry_out([step]))
                assert done.returncode == 0, done.stderr

    def read(self, path: str) -> bytes:
        """A file as a program on the host would find it; the link in use points to an absolute path."""
        target = os.readlink(self.root / "host/opt/kata").removeprefix(str(self.root / "host"))
        return Path(f"{self.root}/host{target}/{path.removeprefix('/opt/kata/')}").read_bytes()


@pytest.fixture
def host(tmp_path: Path) -> Host:
    return Host(tmp_path)


NAMES = ("qemu", "clh", "qemu-runtime-rs", "qemu-coco-dev")


@pytest.mark.parametrize("version", ["3.32.0", "4.1.0"])
def test_many_shims_of_both_generations_are_laid_out_and_then_left_alone(host: Host, version: str) -> None:
    made = host.context(host.release(version, NAMES), [*NAMES, "qemu-debug"])
    resources = kata.resources(made, made.shims)
    said = host.apply(resources)
    assert said[0].startswith(f"install kata {version}")
    assert said[-1].startswith("link /opt/kata")
    for shim in made.shims:
        assert host.read(shim.config_path) == shipped(shim.base)
        folder = shim.config_path.rpartition("/")[0]
        assert b"Managed by strongroom" in host.read(f"{folder}/config.d/50-strongroom.toml")
        assert host.read(shim.runtime_path).startswith(b"rust" if shim.runtime == "rust" else b"go")
    debug = tomllib.loads(host.read(f"/opt/kata/{made.shims[-1].drop_in}").decode())
    assert debug["hypervisor"]["qemu"] == {
        "kernel_params": f"{PARAMS} agent.log=debug initcall_debug",
        "enable_debug": True,
    }
    assert debug["agent"]["kata"] == {"enable_debug": True, "debug_console_enabled": True}
    assert debug["runtime"] == {"enable_debug": True}
    assert host.plan(resources) == []
    host.undo(resources)
    assert not [path for path in (host.root / "host/opt").rglob("*") if path.is_file() or path.is_symlink()]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.write_text("other"), ["content differs"]),
        (lambda path: path.unlink(), ["absent"]),
        (lambda path: path.chmod(0o600), ["mode 0600"]),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), ["link is in its place"]),
        (lambda path: (path.parent / f".{path.name}.strongroom-new").write_text("half"), ["half-written"]),
    ],
)
@pytest.mark.parametrize("which", ["in_place", "drop_in"])
def test_each_drift_of_a_shims_configuration_is_named_alone(
    host: Host, which: str, spoil: Any, words: list[str]
) -> None:
    made = host.context(host.release("4.1.0", NAMES), NAMES)
    resources = kata.resources(made, made.shims)
    host.apply(resources)
    path = f"/opt/strongroom/kata/4.1.0/{getattr(KNOWN['clh'], which)}"
    spoil(Path(f"{host.root}/host{path}"))
    (step,) = host.plan(resources)
    assert path in step.sentence or Path(path).name in step.sentence
    assert all(word in step.sentence for word in words)
    assert len(host.apply(resources)) == 1


def test_versions_lie_side_by_side_and_one_link_switches_all_shims(host: Host) -> None:
    old = host.context(host.release("3.32.0", NAMES), NAMES, settings={"qemu": {"memory_mib": 512}})
    new = host.context(host.release("4.1.0", NAMES), NAMES, settings={"qemu": {"memory_mib": 1024}})
    host.apply(kata.resources(old, old.shims))
    before = host.plan(kata.resources(new, new.shims))
    assert [step.sentence.split(" (")[0] for step in before][-1] == "link /opt/kata to /opt/strongroom/kata/4.1.0"
    *first, switch = before
    for step in first:  # all that comes before the switch leaves the old version whole
        for upload in step.uploads:
            incoming = Path(f"{host.root}/host{upload.incoming}")
            incoming.write_bytes(upload.source.read_bytes())
        assert host.run(carry_out([step])).returncode == 0
        assert host.read(KNOWN["qemu"].runtime_path) == b"go"
        assert b"512" in host.read(f"/opt/kata/{KNOWN['qemu'].drop_in}")
    assert host.run(carry_out([switch])).returncode == 0
    assert host.read(KNOWN["qemu"].runtime_path) == b"go 4.1.0"
    assert host.read(KNOWN["qemu-runtime-rs"].runtime_path) == b"rust 4.1.0"
    assert b"1024" in host.read(f"/opt/kata/{KNOWN['qemu'].drop_in}")
    back = host.apply(kata.resources(old, old.shims))  # nothing of the old version has to be made again
    assert [sentence.split(" (")[0] for sentence in back] == ["link /opt/kata to /opt/strongroom/kata/3.32.0"]


def test_settings_that_are_taken_back_are_gone_from_the_host(host: Host) -> None:
    parts = host.release("4.1.0", NAMES)
    with_ = host.context(parts, NAMES, settings={"qemu-coco-dev": {"kbs": "http://kbs.example:8080"}})
    host.apply(kata.resources(with_, with_.shims))
    path = f"/opt/kata/{KNOWN['qemu-coco-dev'].drop_in}"
    assert f"{PARAMS} agent.aa_kbc_params=cc_kbc::http://kbs.example:8080".encode() in host.read(path)
    without = host.context(parts, NAMES)
    (sentence,) = host.apply(kata.resources(without, without.shims))
    assert "50-strongroom.toml (content differs)" in sentence
    assert tomllib.loads(host.read(path).decode()) == {}


def test_a_truncated_archive_leaves_nothing_behind(host: Host) -> None:
    made = host.context(host.release("4.1.0", NAMES), NAMES)
    component = kata.resources(made, made.shims)[0]
    (step,) = host.plan([component])
    for number, upload in enumerate(step.uploads):
        incoming = Path(f"{host.root}/host{upload.incoming}")
        incoming.parent.mkdir(parents=True, exist_ok=True)
        content = upload.source.read_bytes()
        incoming.write_bytes(content[: len(content) // 2] if number else content)
    done = host.run(carry_out([step]))
    assert done.returncode != 0
    assert "arrived damaged" in done.stderr
    assert not (host.root / "host/opt/strongroom").exists()


def test_kernel_parameters_come_from_the_archive_that_the_bundle_pins(host: Host) -> None:
    (part,) = host.release("3.32.0", ["qemu"])
    archive = host.root / "bundle" / "artifacts" / part.file
    assert kata.kernel_params(archive, part, KNOWN["qemu"].packaged, "qemu") == PARAMS
    files = tuple(
        BundledFile(path=one.path, sha256="0" * 64, mode=one.mode) if one.path.endswith(".toml") else one
        for one in part.files
    )
    with pytest.raises(StrongroomError, match=r"has no .*configuration-qemu.toml with the SHA-256"):
        kata.kernel_params(archive, part.model_copy(update={"files": files}), KNOWN["qemu"].packaged, "qemu")


def test_the_guard_probes_the_host_itself_and_stops_what_comes_behind_it(host: Host) -> None:
    """Here, where there is no SEV-SNP host: read by the real probe, in the engine's own observation."""
    (guard,) = guards([KNOWN["qemu-snp-runtime-rs"]])
    done = host.run(observe([guard]))
    seen = parse_observation([guard], done.stdout.split("\n"))[guard.key]
    assert [line[:5] for line in seen.lines] == ["|== s"], done.stderr  # one line, so none of it passes for a marker
    assert "\x1e== uname\x1e" in seen.lines[0]
    (step,) = guard.steps(seen)
    made = host.context(host.release("4.1.0", NAMES), NAMES)
    behind = kata.resources(made, made.shims)[-1].steps(seen)
    done = host.run(carry_out([step, *behind]))
    assert done.returncode != 0
    assert "qemu-snp-runtime-rs: not registered" in done.stderr
    assert not (host.root / "host/opt/kata").is_symlink()


class Remote:
    """The connection to a scratch host: reads and carries out in its shell, and counts what it was told to do."""

    name = "w1"

    def __init__(self, host: Host) -> None:
        self.host = host
        self.performed = 0

    def observe(self, resources: Sequence[Resource]) -> dict[str, Any]:
        # Its own resources are read for real; the rest would look at this machine's /etc.
        done = self.host.run(observe(resources[:1]))
        seen = parse_observation(resources[:1], done.stdout.splitlines())
        return {**{one.key: Observed() for one in resources}, **seen}

    def perform(self, steps: Sequence[Step], given: str | None = None) -> None:
        self.performed += 1
        done = self.host.run(carry_out(steps, given))
        if done.returncode:
            raise StrongroomError(done.stderr)


class Session:
    """One host."""

    def __init__(self, remote: Remote) -> None:
        self.remote = remote

    def each(self, hosts: Sequence[Any], function: Callable[[Any, Remote], Any]) -> list[Any]:
        return [function(host, self.remote) if host.name == "w1" else [] for host in hosts]


def test_skipping_preflight_registers_nothing_on_a_host_that_is_not_ready(host: Host) -> None:
    """`apply --phase runtime --skip-phase preflight` on a worker that says snp, and here is not."""
    made = context(inventory("qemu", "qemu-snp-runtime-rs", platforms=("snp",)), *everything())
    chosen = phases(Mode.CONTAINERS, only=["runtime"], skip=["preflight"])
    assert [phase.name for phase in chosen] == ["runtime"]
    remote = Remote(host)
    run = Run(made, Session(remote), Progress(), hands=True)  # type: ignore[arg-type]
    with pytest.raises(StrongroomError, match="qemu-snp-runtime-rs: not registered, because the host is not ready"):
        run.phases(chosen)
    assert remote.performed == 1
    assert not [path for path in (host.root / "host").rglob("*") if path.is_file() and path.stat().st_size]
    assert not (host.root / "host/opt/kata").is_symlink()


def test_what_a_drop_in_says_lies_where_each_runtime_looks() -> None:
    settings = ShimSettings(
        memory_mib=4096, vcpus=2, kernel_params=("quiet",), image_pull="guest", kbs="https://kbs:8080",
        annotations=("cc_init_data",), runtime_debug=True, create_timeout_seconds=600,
    )  # fmt: skip
    hypervisor = {
        "default_memory": 4096,
        "default_vcpus": 2,
        "enable_annotations": ["cc_init_data"],
        "kernel_params": "a=b quiet agent.aa_kbc_params=cc_kbc::https://kbs:8080",
    }
    assert tables(KNOWN["qemu-snp"], settings, "a=b") == {
        "hypervisor.qemu": hypervisor,
        "runtime": {"enable_debug": True, "experimental_force_guest_pull": True, "create_container_timeout": 600},
    }
    assert tables(KNOWN["qemu-snp-runtime-rs"], settings, "a=b") == {
        "hypervisor.qemu": hypervisor,
        "agent.kata": {"create_container_timeout": 600},
        "runtime": {"enable_debug": True, "experimental": ["force_guest_pull"]},
    }
    assert tables(KNOWN["qemu-snp"], ShimSettings()) == {}
    assert DEFAULTS in KNOWN["qemu-snp"].drop_in
