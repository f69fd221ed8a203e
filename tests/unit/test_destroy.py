"""Undoing: what was there before comes back, what others did since stays, and nobody is asked twice or not at all."""

# ruff: noqa: F811 - a fixture is named twice by its nature: imported, and asked for
from __future__ import annotations

import os
import pty
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from strongroom.errors import ConfigError
from strongroom.model.bundle import Artifact
from strongroom.model.cluster import Mode
from strongroom.phases.destroy import undo_phases
from strongroom.plan.artifacts import Image
from strongroom.plan.files import File
from strongroom.plan.home import Home
from strongroom.plan.kubeadm import ControlPlane, Worker
from strongroom.plan.pods import NoPods
from strongroom.plan.resource import Observed, Resource, Step
from strongroom.plan.script import carry_out, observe, parse_observation
from strongroom.plan.system import SwapOff, Sysctl, Unit
from strongroom.plan.traces import Traces
from tests.unit.test_cli import bundle, inventory  # noqa: F401 - a fixture
from tests.unit.test_plan import OWNER, look, make, run

IMAGE = Artifact(
    component="pause",
    version="1",
    arch="amd64",
    kind="image",
    file="pause",
    size=1,
    sha256="0" * 64,
    licence="Apache-2.0",
    source="https://example.org",
    image="example/pause:1",
    image_digest=f"sha256:{'1' * 64}",
)
STRONGROOM = Path(sys.executable).with_name("strongroom")


def undo(resource: Resource, root: Path) -> list[str]:
    """Undo until nothing is left; the sentences."""
    steps = resource.undo(look([resource], root)[resource.key])
    done = run(carry_out(steps), root)
    assert done.returncode == 0, done.stderr
    assert resource.undo(look([resource], root)[resource.key]) == []
    return [step.sentence for step in steps]


# files and folders


def test_a_file_that_was_there_before_us_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "conf"
    path.write_text("theirs\n")
    path.chmod(0o640)
    wanted = File(str(path), b"ours\n", "0600", OWNER, keep=True)
    make(wanted, tmp_path)
    path.write_text("somebody's drift\n")
    make(wanted, tmp_path)
    assert path.read_text() == "ours\n"
    undo(wanted, tmp_path)
    assert (path.read_text(), path.stat().st_mode & 0o777) == ("theirs\n", 0o640)
    assert not list((tmp_path / "state").rglob("conf*")), "nothing is kept that is back in its place"


def test_a_file_that_was_not_there_goes(tmp_path: Path) -> None:
    wanted = File(str(tmp_path / "conf"), b"ours\n", "0600", OWNER, keep=True)
    make(wanted, tmp_path)
    (tmp_path / "conf").write_text("drift")
    make(wanted, tmp_path)
    undo(wanted, tmp_path)
    assert not (tmp_path / "conf").exists()


def traces(tmp_path: Path) -> Traces:
    data, folders = (tmp_path / "data", tmp_path / "old"), (tmp_path / "a", tmp_path / "a" / "b")
    return Traces("test", data=tuple(map(str, data)), folders=tuple(map(str, folders)))


def test_what_came_with_us_goes_and_what_was_there_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").mkdir()
    resource = traces(tmp_path)
    _as_anybody(monkeypatch)
    make(resource, tmp_path)
    assert resource.steps(look([resource], tmp_path)[resource.key]) == []
    for folder in ("data/deep", "a/b", "old/theirs"):
        (tmp_path / folder).mkdir(parents=True)
    # Noted once: what is there at the second time came with us.
    assert resource.steps(look([resource], tmp_path)[resource.key]) == []
    undo(resource, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name not in ("state", "lock")) == ["old"]


def test_a_folder_that_others_have_put_something_into_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    resource = traces(tmp_path)
    _as_anybody(monkeypatch)
    make(resource, tmp_path)
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "theirs").write_text("")
    undo(resource, tmp_path)
    assert (tmp_path / "a" / "theirs").exists()
    assert not (tmp_path / "a" / "b").exists()


def test_nothing_that_is_mounted_is_removed(tmp_path: Path) -> None:
    resource = Traces("test", data=("/dev",))
    (step,) = resource.undo(Observed(("noted=absent /dev", "there=/dev")))
    assert step.script.index("/proc/self/mounts") < step.script.index("rm -rf")


def test_what_was_never_noted_is_not_ours_to_remove(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert traces(tmp_path).undo(look([traces(tmp_path)], tmp_path)["traces of test"]) == []


def test_own_folders_stay_as_long_as_something_of_the_owners_is_in_them() -> None:
    (step,) = Home().undo(Observed(("there=/var/lib/strongroom", "kept=/var/lib/strongroom/original/swap")))
    assert "holds what was not brought back" in step.script
    assert Home().undo(Observed()) == []


def _as_anybody(monkeypatch: pytest.MonkeyPatch) -> None:
    """A note's owner is root on a host, and whoever runs the test here."""
    monkeypatch.setattr("tests.unit.test_plan._local", _local)


@pytest.mark.parametrize(("name", "goes"), [("swap", False), ("containerd.service.new", True)])
def test_a_copy_that_was_cut_off_keeps_nothing_back(tmp_path: Path, name: str, goes: bool) -> None:
    (tmp_path / "state" / "original").mkdir(parents=True)
    (tmp_path / "state" / "original" / name).touch()
    (step,) = Home().undo(Observed(("there=/var/lib/strongroom",)))
    script = _local(carry_out([step]), tmp_path).replace("/opt/strongroom", str(tmp_path / "opt"))
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
    assert (done.returncode == 0) is goes
    assert (tmp_path / "state").exists() is not goes


def _local(script: str, root: Path) -> str:
    script = script.replace("root:root", f"{os.getuid()}:{os.getgid()}")
    return script.replace("/var/lib/strongroom", str(root / "state")).replace(
        "/run/strongroom.lock", str(root / "lock")
    )


# kernel and systemd


@pytest.mark.parametrize(
    ("lines", "sentences"),
    [
        (("value=1",), []),
        (("value=1", "kept=0"), ["set net.ipv4.ip_forward back to 0"]),
        (("value=2", "kept=0"), ["leave net.ipv4.ip_forward at 2, which somebody else set"]),
    ],
)
def test_a_kernel_parameter_goes_back_unless_others_set_it_since(lines: tuple[str, ...], sentences: list[str]) -> None:
    assert [step.sentence for step in Sysctl("net.ipv4.ip_forward", "1").undo(Observed(lines))] == sentences


def test_the_value_before_the_first_change_is_kept_and_no_later_one(tmp_path: Path) -> None:
    """With files in the place of /proc/sys and a sysctl that writes to them."""
    (tmp_path / "sys").mkdir()
    (tmp_path / "sys" / "x").write_text("7\n")
    (tmp_path / "sysctl").write_text(f'#!/bin/sh\necho "${{2#x=}}" > {tmp_path}/sys/x\n')
    (tmp_path / "sysctl").chmod(0o755)
    resource = Sysctl("x", "9")

    def local(script: str) -> str:
        script = _local(script, tmp_path).replace("/proc/sys", str(tmp_path / "sys"))
        return script.replace(" PATH=", f" PATH={tmp_path}:").replace("sysctl -qw", f"{tmp_path}/sysctl -qw")

    for now in ("7", "8"):
        (tmp_path / "sys" / "x").write_text(f"{now}\n")
        (step,) = resource.steps(Observed((f"value={now}",)))
        done = subprocess.run(["sh", "-s"], input=local(carry_out([step])), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "state" / "original" / "sysctl" / "x").read_text() == "7\n"
    (tmp_path / "sysctl").write_text(f"#!/bin/sh\necho 5 > {tmp_path}/sys/x\n")  # as much as it has room for
    done = subprocess.run(["sh", "-s"], input=local(carry_out([step])), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.partition(":")[0]) == (1, "x")
    assert "asked for 9, and the kernel has made it 5" in done.stderr
    (tmp_path / "sysctl").write_text(
        f"#!/bin/sh\nprintf '4096\\t9\\n' > {tmp_path}/sys/x\n"
    )  # several values, as the kernel shows them
    (step,) = Sysctl("x", "4096 9").steps(Observed(("value=4096 8",)))
    done = subprocess.run(["sh", "-s"], input=local(carry_out([step])), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_swap_is_only_brought_back_where_we_switched_it_off() -> None:
    assert SwapOff().undo(Observed()) == []
    assert SwapOff().steps(Observed(("kept=yes",))) == []
    (step,) = SwapOff().undo(Observed(("kept=yes",)))
    assert "s/^# strongroom: //" in step.script


@pytest.mark.parametrize("linked", [False, True])
def test_fstab_is_the_same_to_the_byte_after_swap_was_off_and_on(tmp_path: Path, linked: bool) -> None:
    fstab = tmp_path / "fstab"
    if linked:
        (tmp_path / "elsewhere").mkdir()
        fstab.symlink_to("elsewhere/fstab")
    before = (
        "# theirs\nUUID=1 / ext4 defaults 0 1\nUUID=2 none swap sw 0 0\n#UUID=3 none swap sw 0 0\n  UUID=4 none swap"
    )
    fstab.write_text(before)
    fstab.chmod(0o640)
    (tmp_path / "there").touch()
    (tmp_path / "swaps").write_text(f"Filename Type Size\n/dev/none partition 1\n{tmp_path}/there file 1\n")
    for name in ("swapoff", "swapon", "systemctl"):
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >> {tmp_path}/log\n')
        (tmp_path / name).chmod(0o755)

    def local(script: str) -> str:
        script = (
            _local(script, tmp_path).replace("/etc/fstab", str(fstab)).replace("/proc/swaps", str(tmp_path / "swaps"))
        )
        return script.replace(" PATH=", f" PATH={tmp_path}:")

    def seen() -> Observed:
        done = subprocess.run(
            ["sh", "-s"], input=local(observe([SwapOff()])), capture_output=True, text=True, check=False
        )
        return parse_observation([SwapOff()], done.stdout.splitlines())[SwapOff().key]

    def perform(steps: list[Step]) -> str:
        done = subprocess.run(["sh", "-s"], input=local(carry_out(steps)), capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return steps[0].sentence

    assert perform(SwapOff().steps(seen())).startswith("switch swap off")
    assert "# strongroom: UUID=2 none swap" in fstab.read_text()
    assert fstab.read_text().endswith("\n# strongroom:   UUID=4 none swap")
    (tmp_path / "swaps").write_text("Filename Type Size\n")
    assert SwapOff().steps(seen()) == []
    assert perform(SwapOff().undo(seen())) == "bring swap back as it was, but for /dev/none, gone since"
    assert fstab.is_symlink() == linked
    assert (fstab.read_text(), fstab.stat().st_mode & 0o777) == (before, 0o640)
    log = (tmp_path / "log").read_text()
    assert f"swapon {tmp_path}/there\n" in log
    assert "swapon /dev/none" not in log


@pytest.mark.parametrize(
    ("state", "foreign", "count"),
    [
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}, False, 1),
        ({"LoadState": "loaded", "ActiveState": "activating", "UnitFileState": "enabled"}, False, 1),
        ({"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "enabled"}, False, 1),
        ({"LoadState": "loaded", "ActiveState": "inactive", "UnitFileState": "disabled"}, False, 0),
        ({"LoadState": "not-found", "ActiveState": "inactive"}, False, 0),
        ({"LoadState": "loaded", "ActiveState": "active", "UnitFileState": "enabled"}, True, 0),
    ],
)
def test_a_unit_is_stopped_unless_it_was_there_before_us(state: dict[str, str], foreign: bool, count: int) -> None:
    seen = Observed(tuple(f"{key}={value}" for key, value in state.items()))
    assert len(Unit("a.service", foreign=foreign).undo(seen)) == count


# Kubernetes and pods


@pytest.mark.parametrize("resource", [ControlPlane(), Worker("w1", "10.0.0.2")])
def test_only_a_node_of_our_own_making_is_reset(resource: Resource) -> None:
    assert resource.undo(Observed()) == []
    assert resource.undo(Observed(("ours=yes",))) == []
    assert resource.undo(Observed(("started=yes", "joined=yes"))) == [], "somebody else's kubeadm made it"
    (step,) = resource.undo(Observed(("joined=yes", "ours=yes")))
    assert "kubeadm reset --force" in step.script
    assert step.journal
    assert resource.undo(Observed(("ours=yes",), interrupted=True)), "a reset that was cut off is done again"


def test_a_shim_that_runs_is_found_by_its_program_and_keeps_the_runtime(tmp_path: Path) -> None:
    program = tmp_path / "kata" / "4" / "bin" / "containerd-shim-kata-v2"
    program.parent.mkdir(parents=True)
    shutil.copy(shutil.which("dash") or "/bin/sh", program)
    resource = NoPods(str(tmp_path / "kata"))
    command = [str(program), "-c", "read x", "-namespace", "k8s.io", "-id", "0123456789abcdef"]
    shim = subprocess.Popen(command, stdin=subprocess.PIPE)
    try:
        seen = look([resource], tmp_path)[resource.key]
    finally:
        shim.communicate()
    assert resource.why_not(seen) == (f"1 pod runs on {tmp_path}/kata (0123456789abc): end them first, or give --force")
    (step,) = resource.undo(seen)
    done = run(carry_out([step]), tmp_path)
    assert (done.returncode, done.stderr.strip()) == (1, resource.why_not(seen))
    (step,) = NoPods(str(tmp_path / "kata"), force=True).undo(seen)
    assert step.sentence.startswith("end the pods")
    assert resource.why_not(look([resource], tmp_path)[resource.key]) is None


@pytest.mark.parametrize(
    ("names", "removed"),
    [
        (["example/pause:1"], "example/pause:1"),
        (["example/pause:1", "sha256:abc"], "sha256:abc example/pause:1"),
        (["example/pause:1", "sha256:abc", "theirs/pause:2"], "example/pause:1"),
    ],
)
def test_an_image_goes_with_the_name_that_cri_gave_it_unless_others_use_it(
    tmp_path: Path, names: list[str], removed: str
) -> None:
    image = Image(IMAGE, tmp_path / "pause")
    (step,) = image.undo(Observed((f"digest={IMAGE.image_digest}", "pinned=yes", "imported=yes")))
    listed = " ".join(names)
    (tmp_path / "ctr").write_text(
        f'#!/bin/sh\ncase "$*" in *" ls "*) printf "%s\\n" {listed};; *) echo "$*" > {tmp_path}/said;; esac\n'
    )
    (tmp_path / "ctr").chmod(0o755)
    script = _local(carry_out([step]), tmp_path).replace(" PATH=", f" PATH={tmp_path}:")
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "said").read_text() == f"-n k8s.io images rm --sync {removed}\n"


def test_an_image_that_was_there_before_us_stays(tmp_path: Path) -> None:
    image = Image(IMAGE, tmp_path / "pause")
    assert image.undo(Observed((f"digest={IMAGE.image_digest}", "pinned=yes"))) == []
    assert image.undo(Observed()) == []


# the verb


def test_phases_are_undone_backwards_and_our_own_folders_last() -> None:
    mode = Mode.CONTAINERS
    assert [phase.name for phase in undo_phases(mode)] == ["kubeconfig", "kubernetes", "runtime", "host", "own"]
    assert [phase.name for phase in undo_phases(mode, ["host", "runtime"])] == ["runtime", "host"]
    with pytest.raises(ConfigError, match="phase: found 'verify', allowed are kubeconfig, kubernetes, runtime, host"):
        undo_phases(mode, ["verify"])


def test_without_a_terminal_yes_has_to_be_said(tmp_path: Path, bundle: Path) -> None:
    file = inventory(tmp_path, bundle)
    done = subprocess.run(
        [STRONGROOM, "destroy", file], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "destroy: no terminal to ask on" in done.stderr
    assert "cannot connect" not in done.stderr


@pytest.mark.parametrize(
    ("typed", "said"), [("y\n", "found 'y', wanted 'x'; nothing was changed"), ("x\n", "cannot connect")]
)
def test_on_a_terminal_the_clusters_name_is_asked_for(
    tmp_path: Path,
    bundle: Path,
    typed: str,
    said: str,
) -> None:
    ours, theirs = pty.openpty()
    try:
        process = subprocess.Popen(
            [STRONGROOM, "destroy", inventory(tmp_path, bundle)], stdin=theirs, stderr=subprocess.PIPE, text=True
        )
        os.write(ours, typed.encode())
        _, told = process.communicate(timeout=120)
    finally:
        os.close(ours)
        os.close(theirs)
    assert process.returncode == 1
    assert "on cp1. Type the cluster's name to go on: " in told
    assert said in told


def test_a_plan_to_destroy_takes_no_skipped_phase(tmp_path: Path, bundle: Path) -> None:
    done = subprocess.run(
        [STRONGROOM, "plan", "--destroy", "--skip-phase", "host", inventory(tmp_path, bundle)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert "--skip-phase goes with apply's plan only" in done.stderr


_PODS_RUN = """
import contextlib, sys
from strongroom.cli import common
from strongroom.cli.main import main
from strongroom.phases.runtime import RuntimePhase
from strongroom.plan.pods import NoPods
from strongroom.plan.resource import Observed

class Host:  # on which one pod runs, and nothing else is
    name, notes, executions = "cp1", [], 1
    def observe(self, resources):
        return {one.key: Observed(("pod=0123456789abcdef",) if one.key.startswith("pods on") else ()) for one in resources}

class Session:
    remotes = {"cp1": Host()}
    def each(self, hosts, function):
        return [function(host, self.remotes[host.name]) for host in hosts]

RuntimePhase.no_pods = lambda self, context: NoPods("/opt/strongroom", self.force)
RuntimePhase.resources = lambda self, context, host: [self.no_pods(context)]
common.session_of = lambda *_, hands: contextlib.nullcontext(Session())
main()
"""


@pytest.mark.parametrize(
    ("words", "code", "told"),
    [((), 4, "strongroom: cp1: 1 pod runs on /opt/strongroom"), (("--force",), 0, "runtime: cp1: end the pods on")],
)
def test_the_plan_refuses_what_destroy_would(
    tmp_path: Path, bundle: Path, words: tuple[str, ...], code: int, told: str
) -> None:
    file = str(inventory(tmp_path, bundle))
    command = [sys.executable, "-c", _PODS_RUN, "plan", "--destroy", "--phase", "runtime", file]
    done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr[-500:] if code != done.returncode else "") == (code, "")
    assert told in done.stdout + done.stderr
