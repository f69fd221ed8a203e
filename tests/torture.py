"""Kills the controller, or pulls a host's plug, inside a named running step; then applies until it converges.

``python -m tests.torture --seed 1 --runs 10``: first an unbroken run, which leaves a checkpoint of the disks before each
phase and the end state that all others are held to. Then each run takes the checkpoint before its phase, breaks one step
chosen by its seed, and holds the next apply to that end state. The choice is printed first, so a failure can be run again.
``--worker`` does it with a second host that joins, and breaks that too.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from strongroom.lab import qemu, ssh, state, vm
from tests import fingerprint

INVENTORY = Path(__file__).parents[1] / "inventories" / "lab.py"
STRONGROOM = Path(sys.executable).with_name("strongroom")
HOSTS = ("cp1", "w1")
# What must not be left behind: half-written files, uploads nobody verified, steps that never ended.
LEFTOVERS = (
    "find / -xdev -name '*.strongroom-new' -o -xdev -name '*.strongroom-old' 2>/dev/null;"
    " ls /var/lib/strongroom/journal /var/lib/strongroom/incoming 2>/dev/null | grep -v -e '^$' -e ':$'"
)
KUBECTL = "kubectl --kubeconfig /etc/kubernetes/admin.conf --cache-dir /run/kubectl"
"""On a host, where it would otherwise keep what it asked below /root."""
# What the hosts of two runs must have in common: kind, mode, owner and content of every path that strongroom manages.
STATE = (
    "for p in /etc/modules-load.d/strongroom.conf /etc/sysctl.d/60-strongroom.conf /etc/containerd /etc/cni /opt/strongroom"
    " /opt/kata /opt/cni /usr/local/bin /etc/strongroom /etc/systemd/system/containerd.service"
    " /etc/systemd/system/kubelet.service /etc/systemd/system/strongroom-pod-routes.service"
    " /etc/kubernetes/manifests /var/lib/kubelet/config.yaml /var/lib/kubelet/kubeadm-flags.env;"
    " do find $p -xdev 2>/dev/null; done | sort |"
    " while read -r f; do printf '%s ' \"$(stat -c '%F %a %U:%G %N' \"$f\")\";"
    ' [ -f "$f" ] && [ ! -L "$f" ] && sha256sum < "$f" || echo; done\n'
    "ctr -n k8s.io images ls | grep ^strongroom | sed -E 's/ +/ /g' |"
    " sed -E 's/^([^ ]*) [^ ]* ([^ ]*).*(pinned=[a-z]*).*/\\1 \\2 \\3/' | sort\n"
    "if [ -f /etc/kubernetes/admin.conf ]; then\n"
    f"    {KUBECTL}"
    " get nodes -o jsonpath='{range .items[*]}{.metadata.name} {.metadata.labels}{\"\\n\"}{end}'\n"
    f"    {KUBECTL}"
    " get runtimeclasses -o jsonpath='{range .items[*]}{.metadata.name} {.overhead} {.scheduling}{\"\\n\"}{end}'; fi\n"
)


@dataclass(frozen=True)
class Break:
    """A step to break: of which phase, by the words in its sentence, and how long it may have run (seconds) before."""

    phase: str
    step: str
    within: float = 3.0


# A step of every phase that changes hosts or the cluster, the ones that are not atomic above all.
STEPS = (
    Break("host", "load the module"),
    Break("runtime", "install containerd"),
    Break("runtime", "start containerd.service"),
    Break("kubernetes", "import the image strongroom.dev/lab/kube-apiserver", 20),
    Break("kubernetes", "start the control plane", 60),
    Break("kubernetes", "install kubelet"),
    Break("kubeconfig", "write /", 0.0),
    Break("runtime-classes", "apply RuntimeClass", 0.5),
    Break("verify", "waiting for pod", 10),
)
JOIN = Break("kubernetes", "join the cluster as a worker", 15)
# The phases that are applied before each checkpoint; a run of a step starts from the checkpoint of its phase.
CHECKPOINTS = {"host": (), "runtime": ("host",), "kubernetes": ("runtime",), "kubeconfig": ("kubernetes",)}
_ORDER = ("host", "runtime", "kubernetes", "kubeconfig", "runtime-classes", "verify")


@dataclass(frozen=True)
class Case:
    """What one run breaks, and how, after so many seconds in it."""

    phase: str
    step: str
    how: str
    after: float


def choose(seed: int, steps: Sequence[Break] = STEPS) -> Case:
    """The case of a seed: every step comes up once in as many seeds, and how and when are drawn."""
    draw = random.Random(seed)
    at = steps[(seed + 3) % len(steps)]
    return Case(at.phase, at.step, draw.choice(("power cut", "SIGKILL", "both")), draw.uniform(0.0, at.within))


def strongroom(*words: str, timeout: int = 3600) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    return subprocess.run([STRONGROOM, *words], capture_output=True, text=True, timeout=timeout, check=False)


def pyinfra() -> subprocess.CompletedProcess[str]:
    """Do the same work by plain pyinfra."""
    deploy = INVENTORY.parents[1] / "deploys" / "confidential_containers.py"
    program = STRONGROOM.with_name("pyinfra")
    return subprocess.run([program, "-y", INVENTORY, deploy], capture_output=True, text=True, check=False)


def on_host(lab: state.Lab, command: str, host: str | None = None) -> str:
    """What a shell command prints on a host, the first unless one is named."""
    return ssh.run(lab, lab.host(host) if host else lab.hosts[0], command, seconds=600).stdout


APPLY = ("apply", str(INVENTORY))


def breaking(lab: state.Lab, case: Case, words: Sequence[str] = APPLY) -> bool:
    """Start an apply (or another verb) and break it in its step; whether the step was reached before the run ended."""
    process = subprocess.Popen([STRONGROOM, *words], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    assert process.stderr is not None
    line = next((line for line in process.stderr if case.step in line), None)
    if line is not None:
        # The line names the host that the step runs on; what runs on the controller leans on the first.
        host = next((host for host in lab.hosts if f" {host.name}: " in line), lab.hosts[0])
        time.sleep(case.after)
        if case.how in ("SIGKILL", "both"):
            process.send_signal(signal.SIGKILL)
        if case.how in ("power cut", "both"):
            vm.power_cut(lab, host)
    # Nobody reads the pipe any more: closed, so that a run that goes on cannot hang on it.
    process.stderr.close()
    try:
        process.wait(900)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return line is not None


def converges(lab: state.Lab, words: Sequence[str] = APPLY, *bundle: str) -> dict[str, str]:
    """Apply (or another verb), then hold the hosts to what every unbroken run leaves; returns each host's end state."""
    done = strongroom(*words, "--output", "json")
    assert done.returncode == 0, f"{words[0]} after the break ended with {done.returncode}:\n{done.stderr[-3000:]}"
    pending = strongroom("plan", "--exit-code", str(INVENTORY), *bundle)
    assert pending.returncode == 0, f"plan after apply still wants:\n{pending.stdout}{pending.stderr[-2000:]}"
    for host in lab.hosts:
        left = on_host(lab, LEFTOVERS, host.name)
        assert left == "", f"left behind on {host.name}:\n{left}"
    return {host.name: on_host(lab, STATE, host.name) for host in lab.hosts}


class Checkpoints:
    """Disks of all hosts as they were at some moment, such as before a phase."""

    def __init__(self, lab: state.Lab) -> None:
        self.lab = lab

    def _file(self, name: str, host: state.LabHost) -> Path:
        return self.lab.folder / f"checkpoint-{name}-{host.name}"

    def _copy(self, files: list[tuple[Path, Path]]) -> None:
        for host in self.lab.hosts:
            on_host(self.lab, "sync", host.name)
            vm.power_off(self.lab, host)
        for source, target in files:
            subprocess.run(["cp", "--sparse=always", "--reflink=auto", source, target], check=True)
        vm.up(self.lab.name)

    def save(self, name: str) -> None:
        """Keep the disks as they are now."""
        self._copy([(qemu.disk(self.lab, host), self._file(name, host)) for host in self.lab.hosts])

    def restore(self, name: str) -> None:
        """Boot the hosts on the disks of then."""
        self._copy([(self._file(name, host), qemu.disk(self.lab, host)) for host in self.lab.hosts])


def unbroken(lab: state.Lab, checkpoints: Checkpoints) -> dict[str, str]:
    """The run that all others are held to, on bare hosts."""
    for name, before in CHECKPOINTS.items():
        for phase in before:
            done = strongroom("apply", "--phase", phase, str(INVENTORY))
            assert done.returncode == 0, done.stderr[-3000:]
        checkpoints.save(name)
    return converges(lab)


def differing(end: dict[str, str], expected: dict[str, str]) -> str:
    """The lines in which two end states differ."""
    lines = []
    for host, text in end.items():
        here, there = set(text.splitlines()), set(expected[host].splitlines())
        lines += [f"{host}: + {line}" for line in sorted(here - there)]
        lines += [f"{host}: - {line}" for line in sorted(there - here)]
    return "\n".join(lines)


def given_back(lab: state.Lab, bare: dict[str, fingerprint.Fingerprint]) -> str:
    """Destroy, and the paths in which hosts then differ from what they were before anything was done to them."""
    done = strongroom("destroy", "--yes", str(INVENTORY))
    if done.returncode != 0:
        return f"destroy ended with {done.returncode}:\n{done.stderr[-3000:]}"
    lines = []
    for name, before in bare.items():
        after = fingerprint.take(lab, name)
        lines += [f"{name}: {line}" for line in fingerprint.differences(before, after, fingerprint.LAB)]
    return "\n".join(lines)


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    parser.add_argument("--worker", action="store_true")
    arguments = parser.parse_args()
    os.environ.setdefault("STRONGROOM_LAB", "torture")
    steps = (JOIN, *STEPS) if arguments.worker else STEPS
    lab = vm.up(os.environ["STRONGROOM_LAB"], HOSTS if arguments.worker else HOSTS[:1])
    kubeconfig = lab.folder / "kubeconfig"
    kubeconfig.unlink(missing_ok=True)
    checkpoints, started = Checkpoints(lab), time.monotonic()
    lab = vm.reset(lab.name)
    bare = {host.name: fingerprint.take(lab, host.name) for host in lab.hosts}
    expected = unbroken(lab, checkpoints)
    print(json.dumps({"unbroken": True, "seconds": round(time.monotonic() - started)}), flush=True)
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        case, started = choose(seed, steps), time.monotonic()
        print(f"seed {seed}: {case.how} in {case.phase}: {case.step!r} after {case.after:.1f} s", flush=True)
        kubeconfig.unlink(missing_ok=True)
        checkpoints.restore(case.phase if case.phase in CHECKPOINTS else "kubeconfig")
        reached, problem = breaking(lab, case), ""
        try:
            problem = differing(converges(lab), expected)
        except AssertionError as error:
            problem = str(error)
        result = {"seed": seed, "phase": case.phase, "step": case.step, "how": case.how, "reached": reached}
        ok = reached and not problem
        failed += not ok
        print(json.dumps({**result, "ok": ok, "seconds": round(time.monotonic() - started)}), flush=True)
        if problem:
            print(problem, flush=True)
    print(f"{arguments.runs - failed} passed, {failed} failed", flush=True)
    started = time.monotonic()
    if problem := given_back(lab, bare):
        failed += 1
        print(problem, flush=True)
    took = round(time.monotonic() - started)
    print(json.dumps({"destroyed": True, "as_before": not problem, "seconds": took}), flush=True)
    vm.down(lab.name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
