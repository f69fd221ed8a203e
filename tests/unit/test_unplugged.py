"""A bundle that one machine serves is fetched, verified and planned with where nothing but loopback is reached."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from strongroom.fetch.tarball import Member
from strongroom.phases.context import shims
from strongroom.plan.place import MACHINES
from tests.unit.test_contents import Maker, elf

MISSING = [name for name in ("dropbear", "dropbearkey", "ssh-keygen", "unshare", "ip") if shutil.which(name) is None]
NUMBERS = {"amd64": 62, "arm64": 183}
ARCH = next((arch for arch, machine in MACHINES.items() if machine == os.uname().machine), "amd64")


def bundle(folder: Path) -> None:
    """What the runtime phase takes, with programs that are nothing but headers."""
    program = elf(NUMBERS[ARCH])
    shim = shims()["qemu-coco-dev"]
    maker = Maker(folder, ARCH)
    maker.binary(program)
    for component, name in (("containerd", "containerd"), ("cni-plugins", "ptp")):
        maker.archive(Member(f"bin/{name}", 0o755, data=program), name=f"{component}.tar")
        maker.artifacts[-1]["component"] = component
    below = shim.runtime_path.removeprefix("/opt/kata/")
    maker.archive(Member(below, 0o755, data=program), Member(shim.in_place, data=b"[hypervisor.qemu]\n"))
    maker.artifacts[-1]["stand_in"] = True
    maker.image(ARCH)
    maker.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces need root")
@pytest.mark.skipif(bool(MISSING), reason=f"needs {', '.join(MISSING)}")
def test_from_serving_to_a_plan_with_the_network_unplugged(tmp_path: Path) -> None:
    bundle(tmp_path / "bundle")
    command = ["unshare", "--net", "--mount", "--propagation", "private", sys.executable, "-m", "tests.unplugged"]
    done = subprocess.run(
        [*command, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parents[2],
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["routes"] == ""
    assert found["outside"] == "Network is unreachable"
    for step in ("fetch", "verify", "plan"):
        assert found[step]["code"] == 0, f"{step}: {found[step]['err']}"
    assert found["fetch"]["out"].strip() == str(tmp_path / "fetched")
    assert "5 artifacts" in found["verify"]["out"]
    planned = json.loads(found["plan"]["out"])
    installs = {change["sentence"] for change in planned["changes"] if change["resource"].startswith("component ")}
    assert {f"install {name} 1 (absent)" for name in ("runc", "containerd", "cni-plugins", "kata")} <= installs
    assert planned["executions"] == {"cp1": 1}
    refused = found["noexec"]
    assert (refused["code"], refused["out"]) == (1, "")
    lines = [line for line in refused["err"].splitlines() if line.startswith("strongroom: ")]
    assert len(lines) == 1
    assert lines[0].startswith("strongroom: cp1: /opt/strongroom: /opt is mounted noexec, allowed is rw and exec")
