"""Somebody else's containerd with our handlers, read by the bundle's own: no host, the program's `config dump` alone."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from strongroom.model.distribution import distributions
from strongroom.phases.context import shims
from strongroom.plan import containerd
from strongroom.plan.handlers import Handlers
from strongroom.plan.snapshots import SOCKET
from strongroom.plan.toml_settings import merge
from tests.lab.test_containerd2 import program  # noqa: F401 - a fixture
from tests.unit.test_existing_clusters import V2_CLOSED, V3, V3_CLOSED

pytestmark = pytest.mark.lab


@pytest.mark.parametrize("per_shim", [False, True])
@pytest.mark.parametrize(
    ("name", "config"),
    [("k3s", V3), ("k0s", 'imports = ["/etc/k0s/containerd.d/*.toml"]\nversion = 3\n')],
)
def test_the_program_reads_a_distributions_configuration_with_our_drop_in(
    program: Path,  # noqa: F811
    tmp_path: Path,
    name: str,
    config: str,
    per_shim: bool,
) -> None:
    """The form of configuration that k3s and k0s write, its folder of drop-ins moved here; nothing of theirs may change."""
    of, chosen = distributions()[name], tuple(shims()[one] for one in ("qemu-coco-dev", "qemu", "fc"))
    (file,) = Handlers(of, chosen, per_shim).preview()
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "10-strongroom.toml").write_bytes(file.content)
    text = config.replace(of.drop_ins[3], str(tmp_path / "d"))
    before, after = dump(program, tmp_path, config), dump(program, tmp_path, text)
    runtimes = after["plugins"]["io.containerd.cri.v1.runtime"]["containerd"]["runtimes"]
    for shim in chosen:
        made = runtimes.pop(shim.handler)
        assert (made["runtime_type"], made["runtime_path"]) == (shim.runtime_type, shim.runtime_path)
        assert made["options"] == {"ConfigPath": shim.config_path}
        asked = {"qemu-coco-dev": "strongroom-nydus", "fc": "devmapper"}.get(shim.name, "") if per_shim else ""
        assert made["snapshotter"] == asked
    assert after["plugins"]["io.containerd.cri.v1.runtime"] == before["plugins"]["io.containerd.cri.v1.runtime"]
    if per_shim:
        proxy = after["proxy_plugins"]["strongroom-nydus"]
        assert (proxy["type"], proxy["address"]) == ("snapshot", SOCKET)
        platforms = after["plugins"]["io.containerd.cri.v1.images"]["runtime_platforms"]
        assert {one: found["snapshotter"] for one, found in platforms.items()} == {
            "kata-qemu-coco-dev": "strongroom-nydus",
            "kata-fc": "devmapper",
        }
    else:
        assert after["plugins"]["io.containerd.cri.v1.images"] == before["plugins"]["io.containerd.cri.v1.images"]


@pytest.mark.parametrize(("config", "version"), [(V3_CLOSED, (2, 0)), (V2_CLOSED, (1, 7))])
def test_the_program_reads_what_an_older_k3s_renders_of_our_template(
    program: Path,  # noqa: F811
    tmp_path: Path,
    config: str,
    version: tuple[int, int],
) -> None:
    shim = shims()["qemu-coco-dev"]
    ours = merge("", containerd.handlers_alone(version, tomllib.loads(config), (shim,)), "template")
    runtimes = dump(program, tmp_path, config + ours)["plugins"]["io.containerd.cri.v1.runtime"]["containerd"][
        "runtimes"
    ]
    assert sorted(runtimes) == [shim.handler, "runc"]
    assert runtimes[shim.handler]["runtime_path"] == shim.runtime_path


def dump(containerd_: Path, folder: Path, config: str) -> dict[str, Any]:
    """What the program makes of a configuration."""
    (folder / "config.toml").write_text(config)
    done = subprocess.run(
        [str(containerd_), "--config", str(folder / "config.toml"), "config", "dump"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return tomllib.loads(done.stdout)
