"""Kills the controller, or pulls the host's plug, inside a named running step; then applies until it converges.

``python -m tests.torture --seed 1 --runs 10``: each run takes a fresh host, breaks one step chosen by the seed, and holds
the next apply to the end state of an unbroken run. What the choice was is printed first, so a failure can be run again.
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
from dataclasses import dataclass
from pathlib import Path

from strongroom.lab import state, vm

INVENTORY = Path(__file__).parents[1] / "inventories" / "lab.py"
STRONGROOM = Path(sys.executable).with_name("strongroom")
# What must not be left behind: half-written files, uploads nobody verified, steps that never ended.
LEFTOVERS = (
    "find / -xdev -name '*.strongroom-new' -o -xdev -name '*.strongroom-old' 2>/dev/null;"
    " ls /var/lib/strongroom/journal /var/lib/strongroom/incoming 2>/dev/null | grep -v -e '^$' -e ':$'"
)
# What the hosts of two runs must have in common: kind, mode, owner and content of every path that strongroom manages.
STATE = (
    "for p in /etc/modules-load.d/strongroom.conf /etc/sysctl.d/60-strongroom.conf /etc/containerd /etc/cni /opt/strongroom"
    " /opt/kata /opt/cni /usr/local/bin /etc/strongroom /etc/systemd/system/containerd.service"
    " /etc/systemd/system/kubelet.service /etc/systemd/system/strongroom-pod-routes.service; do find $p -xdev; done | sort |"
    " while read -r f; do printf '%s ' \"$(stat -c '%F %a %U:%G %N' \"$f\")\";"
    ' [ -f "$f" ] && [ ! -L "$f" ] && sha256sum < "$f" || echo; done'
)


@dataclass(frozen=True)
class Case:
    """What one run breaks: the first step whose sentence has these words, and how, after so many seconds in it."""

    step: str
    how: str
    after: float


# A step of every phase that changes hosts or the cluster, the ones that are not atomic above all.
STEPS = (
    "load the module",
    "install containerd",
    "start containerd.service",
    "import the image strongroom.dev/lab/kube-apiserver",
    "install kubelet",
    "start the control plane",
    "apply RuntimeClass",
    "waiting for pod",
)


def choose(seed: int) -> Case:
    """The case of a seed: every step comes up once in as many seeds, and how and when are drawn."""
    draw = random.Random(seed)
    step = STEPS[(seed + 4) % len(STEPS)]
    return Case(
        step, draw.choice(("power cut", "SIGKILL", "both")), draw.uniform(0.0, 20.0 if "control plane" in step else 3.0)
    )


def strongroom(*words: str, timeout: int = 3600) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would."""
    return subprocess.run([STRONGROOM, *words], capture_output=True, text=True, timeout=timeout, check=False)


def on_host(lab: state.Lab, command: str) -> str:
    """What a shell command prints on the first host."""
    host = lab.hosts[0]
    ssh = ["ssh", "-i", lab.ssh_key, "-o", f"UserKnownHostsFile={lab.known_hosts}", "-o", "StrictHostKeyChecking=yes"]
    ssh += ["-o", "BatchMode=yes", "-o", "LogLevel=ERROR", "-p", str(host.ssh_port), "root@127.0.0.1", command]
    return subprocess.run(list(map(str, ssh)), capture_output=True, text=True, timeout=600, check=False).stdout


def breaking(lab: state.Lab, case: Case) -> bool:
    """Start an apply and break it in its step; whether the step was reached before the run ended."""
    process = subprocess.Popen(
        [STRONGROOM, "apply", INVENTORY], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
    assert process.stderr is not None
    reached = any(case.step in line for line in process.stderr)
    if reached:
        time.sleep(case.after)
        if case.how in ("SIGKILL", "both"):
            process.send_signal(signal.SIGKILL)
        if case.how in ("power cut", "both"):
            vm.power_cut(lab, lab.hosts[0])
    # Nobody reads the pipe any more: closed, so that a run that goes on cannot hang on it.
    process.stderr.close()
    try:
        process.wait(600)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return reached


def converges(lab: state.Lab) -> str:
    """Apply, then hold the host to what every unbroken run leaves; returns the fingerprint of the end state."""
    done = strongroom("apply", str(INVENTORY), "--output", "json")
    assert done.returncode == 0, f"apply after the break ended with {done.returncode}:\n{done.stderr[-3000:]}"
    pending = strongroom("plan", "--exit-code", str(INVENTORY))
    assert pending.returncode == 0, f"plan after apply still wants:\n{pending.stdout}{pending.stderr[-2000:]}"
    left = on_host(lab, LEFTOVERS)
    assert left == "", f"left behind:\n{left}"
    return on_host(lab, STATE)


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    os.environ.setdefault("STRONGROOM_LAB", "torture")
    lab = vm.up(os.environ["STRONGROOM_LAB"])
    expected: str | None = None
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        case, started = choose(seed), time.monotonic()
        print(f"seed {seed}: {case.how} in {case.step!r} after {case.after:.1f} s", flush=True)
        lab = vm.reset(lab.name)
        (lab.folder / "kubeconfig").unlink(missing_ok=True)
        reached = breaking(lab, case)
        end = converges(lab)
        expected = expected or end
        assert end == expected, "the end state differs from that of the first run"
        result = {
            "seed": seed,
            "step": case.step,
            "how": case.how,
            "reached": reached,
            "seconds": round(time.monotonic() - started),
        }
        print(json.dumps(result), flush=True)
    vm.down(lab.name)


if __name__ == "__main__":
    main()
