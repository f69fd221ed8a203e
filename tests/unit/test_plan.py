"""Resources read themselves and plan their steps; here they run in a real shell on a scratch folder."""

from __future__ import annotations

import getpass
import grp
import os
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.model.bundle import Artifact
from strongroom.plan.artifacts import Image
from strongroom.plan.files import Block, File, Link
from strongroom.plan.kubeadm import ControlPlane, NodeFiles, Worker
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation, token
from strongroom.plan.system import Route, Sysctl, Unit

OWNER = f"{getpass.getuser()}:{grp.getgrgid(os.getgid()).gr_name}"


def _local(script: str, root: Path) -> str:
    return script.replace("/var/lib/strongroom", str(root / "state")).replace(
        "/run/strongroom.lock", str(root / "lock")
    )


def run(script: str, root: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-s"], input=_local(script, root), capture_output=True, text=True, timeout=60, check=False
    )


def look(resources: list[Resource], root: Path) -> dict[str, Observed]:
    done = run(observe(resources), root)
    assert done.returncode == 0, done.stderr
    return parse_observation(resources, done.stdout.splitlines())


def steps(resource: Resource, root: Path) -> list[Step]:
    return resource.steps(look([resource], root)[resource.key])


def make(resource: Resource, root: Path) -> None:
    done = run(carry_out(steps(resource, root)), root)
    assert done.returncode == 0, done.stderr


@settings(max_examples=25)
@given(content=st.binary(max_size=300))
def test_a_file_is_written_to_the_byte_and_then_left_alone(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    root = tmp_path_factory.mktemp("file")
    resource = File(str(root / "d" / "it's a file"), content, "0640", OWNER)
    make(resource, root)
    assert Path(resource.path).read_bytes() == content
    assert oct(Path(resource.path).stat().st_mode)[-3:] == "640"
    assert steps(resource, root) == []


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (lambda path: path.write_text("other"), "content differs"),
        (lambda path: path.chmod(0o777), "mode 0777"),
        (lambda path: path.unlink(), "absent"),
        (lambda path: (path.unlink(), path.mkdir()), "other is in its place"),
        (lambda path: (path.unlink(), path.symlink_to("/etc/passwd")), "link is in its place"),
        (lambda path: (path.parent / f".{path.name}.strongroom-new").write_text("half"), "half-written"),
    ],
)
def test_every_drift_of_a_file_is_named_and_mended(tmp_path: Path, spoil: object, why: str) -> None:
    resource = File(str(tmp_path / "conf"), b"wanted\n", "0600", OWNER)
    make(resource, tmp_path)
    spoil(tmp_path / "conf")  # type: ignore[operator]
    found = steps(resource, tmp_path)
    assert len(found) == 1
    assert why in found[0].sentence
    make(resource, tmp_path)
    assert steps(resource, tmp_path) == []
    assert (tmp_path / "conf").read_text() == "wanted\n"
    assert sorted(path.name for path in tmp_path.iterdir() if "strongroom" in path.name) == []


def test_mending_a_mode_keeps_the_time_of_the_content(tmp_path: Path) -> None:
    resource = File(str(tmp_path / "conf"), b"x", "0600", OWNER)
    make(resource, tmp_path)
    before = (tmp_path / "conf").stat().st_mtime_ns
    (tmp_path / "conf").chmod(0o644)
    make(resource, tmp_path)
    assert (tmp_path / "conf").stat().st_mtime_ns == before  # or what reads it would be restarted for nothing


def test_a_link_switches_but_never_replaces_a_strange_file(tmp_path: Path) -> None:
    link = Link(str(tmp_path / "bin" / "tool"), "/opt/v1/tool")
    make(link, tmp_path)
    make(Link(link.path, "/opt/v2/tool"), tmp_path)
    assert os.readlink(link.path) == "/opt/v2/tool"
    Path(link.path).unlink()
    Path(link.path).write_text("mine")
    done = run(carry_out(steps(link, tmp_path)), tmp_path)
    assert done.returncode != 0
    assert "not strongroom's" in done.stderr
    assert Path(link.path).read_text() == "mine"


@pytest.mark.parametrize(("target", "ours"), [("/opt/x/1/tool", True), ("/opt/x/2/tool", True), ("/opt/xy/1", False)])
def test_a_link_to_any_version_of_ours_is_taken_away(target: str, ours: bool) -> None:
    link = Link("/usr/bin/tool", "/opt/x/1/tool", "/opt/x")
    assert bool(link.undo(Observed((f"target={target}",)))) is ours


@settings(max_examples=25)
@given(text=st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=80))
def test_a_block_comes_and_goes_without_touching_a_byte_of_the_rest(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    root = tmp_path_factory.mktemp("block")
    file = root / "config.toml"
    before = f"# {text}\nversion = 2\n"
    file.write_text(before)
    block = Block(str(file), "runtimes", '[a."b"]\nx = 1')
    make(block, root)
    assert file.read_text() == before + block.text
    assert steps(block, root) == []
    undo = block.undo(look([block], root)[block.key])
    assert run(carry_out(undo), root).returncode == 0
    assert file.read_text() == before


def test_an_interrupted_step_is_seen_by_the_next_observation(tmp_path: Path) -> None:
    plane = ControlPlane()
    step = Step(plane.key, "start", "exit 7", journal=True)
    assert run(carry_out([step]), tmp_path).returncode == 7
    assert (tmp_path / "state" / "journal" / token(plane.key)).exists()
    assert look([plane], tmp_path)[plane.key].interrupted
    assert run(carry_out([Step(plane.key, "start", "true", journal=True)]), tmp_path).returncode == 0
    assert not look([plane], tmp_path)[plane.key].interrupted


def test_a_cluster_that_was_started_is_never_reset() -> None:
    started = Observed(("started=yes", "joined=yes"))
    assert ControlPlane().steps(started) == []
    (again,) = ControlPlane().steps(Observed(started.lines, interrupted=True))
    assert "kubeadm reset" in again.script
    (first,) = ControlPlane().steps(Observed())
    assert "kubeadm reset" not in first.script


def test_a_join_credential_is_in_no_sentence_and_no_argument() -> None:
    (step,) = Worker("w1", "10.0.0.2").steps(Observed())
    script = carry_out(
        [step], given="kubeadm join h:1 --token aaaaaa.bbbbbbbbbbbbbbbb --discovery-token-ca-cert-hash sha256:00"
    )
    assert "aaaaaa" in script
    assert "aaaaaa" not in step.sentence + step.script


def test_a_failed_step_stops_the_ones_behind_it(tmp_path: Path) -> None:
    done = run(carry_out([Step("a", "a", "false; echo went-on"), Step("b", "b", "echo second")]), tmp_path)
    assert done.returncode != 0
    assert done.stdout == ""


@settings(max_examples=25)
@given(cut=st.integers(0, 400))
def test_a_cut_observation_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    root = tmp_path_factory.mktemp("cut")
    resources: list[Resource] = [Sysctl("kernel.ostype", "Linux"), File(str(root / "x"), b"")]
    lines = run(observe(resources), root).stdout.splitlines()
    if cut < len(lines):
        with pytest.raises(ValueError, match="observation"):
            parse_observation(resources, lines[:cut])


def unit(**fields: str) -> Observed:
    good = {
        "LoadState": "loaded",
        "ActiveState": "active",
        "UnitFileState": "enabled",
        "NeedDaemonReload": "no",
        "started": "100.5",
    }
    return Observed(tuple(f"{key}={value}" for key, value in {**good, **fields}.items()))


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (unit(), []),
        (unit(ActiveState="failed"), ["start"]),
        (unit(UnitFileState="disabled"), ["enable"]),
        (unit(UnitFileState="masked"), ["enable"]),
        (unit(changed="100.4 /etc/a"), []),
        (unit(changed="100.6 /etc/a"), ["restart"]),
        (unit(NeedDaemonReload="yes"), ["let"]),
    ],
)
def test_a_unit_is_restarted_only_when_what_it_reads_is_younger(seen: Observed, words: list[str]) -> None:
    found = Unit("a.service", restart_on=("/etc/a",)).steps(seen)
    assert [step.sentence.split()[0] for step in found] == words


@pytest.mark.parametrize(
    ("state", "cause"),
    [
        ("UnitFileState=", "file /etc/systemd/system/a.service"),
        ("UnitFileState=bad", "file /etc/systemd/system/a.service"),
        ("UnitFileState=disabled", None),
        ("UnitFileState=masked", None),
    ],
)
def test_a_unit_whose_own_file_is_gone_is_no_change_of_its_own(state: str, cause: str | None) -> None:
    unit = Unit("a.service", restart_on=("/usr/bin/a", "/etc/systemd/system/a.service"))
    (step,) = unit.steps(Observed(("ActiveState=active", state)))
    assert (step.sentence.split()[0], step.because) == ("enable", cause)
    (foreign,) = Unit("a.service").steps(Observed(("ActiveState=active", state)))
    assert foreign.because is None


def test_kubeadms_files_are_named_one_by_one(tmp_path: Path) -> None:
    plane, worker = NodeFiles(control_plane=True), NodeFiles(control_plane=False)
    assert set(worker.paths) < set(plane.paths)
    assert plane.steps(Observed()) == []
    changed = [plane.paths[0], plane.paths[-1]]
    found = plane.steps(Observed(tuple(f"differs={path}" for path in changed)))
    assert [step.resource for step in found] == [f"kubeadm's file {path}" for path in changed]
    (again,) = plane.steps(Observed(("error=no such field",)))
    assert "no such field" in again.sentence
    assert run(carry_out([again]), tmp_path).returncode != 0  # there is no kubeadm configuration on this machine


def test_kubeadms_files_come_from_the_kubeadm_that_is_pinned_not_from_the_path(tmp_path: Path) -> None:
    kubeadm = tmp_path / "kubeadm"
    kubeadm.write_text(f"#!/bin/sh\ntouch {tmp_path}/asked\n")
    kubeadm.chmod(0o755)
    files = NodeFiles(control_plane=True, programs=(str(tmp_path),))
    done = run(carry_out(files.steps(Observed(("error=x",)))), tmp_path)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "asked").exists()


def test_images_of_a_containerd_that_does_not_answer_are_not_taken_for_absent(tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    artifact = Artifact(
        component="pause", version="1", arch="amd64", kind="image", file="pause.tar", size=1, sha256="0" * 64,
        licence="x", source="x", image="strongroom.dev/lab/pause:1", image_digest=digest,
    )  # fmt: skip
    image = Image(artifact, tmp_path / "pause.tar")
    assert image.steps(Observed(("away=yes",))) == []
    assert image.steps(Observed((f"digest={digest}", "pinned=yes"))) == []
    assert ["import" in step.sentence for step in image.steps(Observed())] == [True]
    assert ["pin" in step.sentence for step in image.steps(Observed((f"digest={digest}",)))] == [True]


def test_a_route_is_read_from_the_kernel(tmp_path: Path) -> None:
    route = Route("203.0.113.0/24", "192.0.2.1")
    assert [step.sentence for step in steps(route, tmp_path)] == ["route 203.0.113.0/24 via 192.0.2.1 (is not there)"]
    assert route.steps(Observed(("via=192.0.2.1",))) == []
    assert "(is 192.0.2.9)" in route.steps(Observed(("via=192.0.2.9",)))[0].sentence
