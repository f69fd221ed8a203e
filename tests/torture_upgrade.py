"""Kills the controller, or pulls the plug, inside a named step of an upgrade of the runtime; then upgrades again.

``python -m tests.torture_upgrade --seed 1 --runs 10``: a cluster is made with the bundle from Go modules, and a checkpoint of
its disk taken, with a pod running under Kata that a drain leaves alone. An unbroken upgrade to a second stand-in leaves the
end state that all others are held to. Each run takes the checkpoint, breaks one step chosen by its seed, looks that every
handler's program is there, and holds the next upgrade to that end state. At the end the host is given back, and compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace

from strongroom.fetch import standin
from strongroom.lab import state, vm
from tests import fingerprint
from tests.lab.test_upgrade import NEW, SHIM, in_use, uid, workload
from tests.torture import (
    INVENTORY,
    KUBECTL,
    Break,
    Case,
    Checkpoints,
    breaking,
    choose,
    converges,
    differing,
    given_back,
    on_host,
    strongroom,
)

STEPS = (
    Break("upgrade", "install kata"),
    Break("upgrade", "cordon node", 1.0),
    Break("upgrade", "draining", 5.0),
    Break("upgrade", "note the versions in use", 0.5),
    Break("upgrade", "link /opt/kata", 0.5),
    Break("upgrade", "see that node", 20.0),
    Break("upgrade", "end the switch", 0.5),
    Break("upgrade", "uncordon node", 0.5),
)
_AGENT = "agent"


def end(lab: state.Lab, words: Sequence[str], bundle: str) -> dict[str, str]:
    """Upgrade, and the end state of it: nothing left to do for either verb, the node in service, the pod running."""
    found = converges(lab, words, "--bundle", bundle)
    assert in_use(lab) == NEW
    cordoned = on_host(lab, f"{KUBECTL} get node cp1 -o jsonpath='{{.spec.unschedulable}}'")
    assert cordoned == "", "the node stays cordoned"
    uid(lab, _AGENT)
    return found


def one_run(
    lab: state.Lab, case: Case, words: Sequence[str], bundle: str, expected: dict[str, str]
) -> tuple[bool, str]:
    """Whether the step was reached, and what is wrong afterwards."""
    reached = breaking(lab, case, words)
    if on_host(lab, f"readlink -e /opt/kata/{SHIM}") == "":
        return reached, "the handler's program is missing"
    try:
        return reached, differing(end(lab, words, bundle), expected)
    except AssertionError as error:
        return reached, str(error)


def main() -> None:
    """The long run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=int, default=10)
    arguments = parser.parse_args()
    os.environ.setdefault("STRONGROOM_LAB", "torture-upgrade")
    bundle = str(standin.build({"kata": NEW}))
    words = ("upgrade", str(INVENTORY), "--bundle", bundle)
    started = time.monotonic()
    lab = vm.up(os.environ["STRONGROOM_LAB"], ("cp1",))
    lab = vm.reset(lab.name)
    bare = {host.name: fingerprint.take(lab, host.name) for host in lab.hosts}
    (lab.folder / "kubeconfig").unlink(missing_ok=True)
    checkpoints = Checkpoints(lab)
    done = strongroom("apply", str(INVENTORY))
    assert done.returncode == 0, done.stderr[-3000:]
    on_host(lab, f"{KUBECTL} create -f - <<'END'\n{json.dumps(workload('DaemonSet', _AGENT))}\nEND")
    uid(lab, _AGENT)
    checkpoints.save("made")
    expected = end(lab, words, bundle)
    print(json.dumps({"unbroken": True, "seconds": round(time.monotonic() - started)}), flush=True)
    failed = 0
    for seed in range(arguments.seed, arguments.seed + arguments.runs):
        # What a killed controller leaves is shown on folders (tests/unit/test_upgrade_whole.py); here the host goes too.
        case, started = (
            replace(choose(seed, STEPS), how=("power cut", "both")[seed // len(STEPS) % 2]),
            time.monotonic(),
        )
        print(f"seed {seed}: {case.how} in {case.phase}: {case.step!r} after {case.after:.1f} s", flush=True)
        checkpoints.restore("made")
        reached, problem = one_run(lab, case, words, bundle, expected)
        ok = reached and not problem
        failed += not ok
        result = {"seed": seed, "step": case.step, "how": case.how, "reached": reached, "ok": ok}
        print(json.dumps({**result, "seconds": round(time.monotonic() - started)}), flush=True)
        if problem:
            print(problem, flush=True)
    print(f"{arguments.runs - failed} passed, {failed} failed", flush=True)
    # By the inventory's bundle, which is not the one whose versions are in use by now.
    problem = given_back(lab, bare)
    failed += bool(problem)
    print(json.dumps({"destroyed": True, "as_before": not problem}), problem, flush=True)
    vm.down(lab.name)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
