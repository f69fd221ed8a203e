"""What we write for containerd 2.x, read by the bundle's own containerd: no host, the program's `config dump` alone."""

from __future__ import annotations

import subprocess
import tomllib
from pathlib import Path

import pytest

from strongroom.phases.context import shims
from strongroom.plan import containerd
from strongroom.plan.containerd import CONFIG, IMPORT
from strongroom.plan.toml_settings import merge
from tests import bundled

pytestmark = pytest.mark.lab

DEBIAN = """\
version = 2
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "/usr/lib/cni"
  conf_dir = "/srv/cni"
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle's containerd."""
    return bundled.program("containerd", "containerd", tmp_path_factory.mktemp("containerd"))


@pytest.mark.parametrize(
    "config",
    [
        None,
        DEBIAN,
        "version = 3\n",
        'version = 3\n[plugins."io.containerd.cri.v1.runtime".cni]\nbin_dirs = ["/usr/lib/cni"]\n',
        'version = 4\ndisabled_plugins = ["io.containerd.cri.v1.images"]\n',
        'disabled_plugins = ["cri"]\n',
    ],
)
def test_the_program_reads_the_drop_in_beside_any_main_configuration(
    program: Path, tmp_path: Path, config: str | None
) -> None:
    version = (2, 3)
    text = containerd.empty_config(version) if config is None else config
    document = tomllib.loads(text)
    shim = shims()["qemu-coco-dev"]
    handlers = containerd.handler_settings(version, document, "example/pause:1", (shim,), "/etc/containerd/certs.d")
    main = merge(text, containerd.main_settings(version, document, handlers), CONFIG)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d" / "10-strongroom.toml").write_bytes(containerd.drop_in(document, handlers))
    assert IMPORT in main
    (tmp_path / "config.toml").write_text(main.replace(IMPORT, str(tmp_path / "conf.d" / "*.toml")))
    done = subprocess.run(
        [program, "--config", tmp_path / "config.toml", "config", "dump"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    dump = tomllib.loads(done.stdout)
    runtime = dump["plugins"]["io.containerd.cri.v1.runtime"]
    handler = runtime["containerd"]["runtimes"]["kata-qemu-coco-dev"]
    assert handler["runtime_path"] == shim.runtime_path
    assert handler["options"]["ConfigPath"] == shim.config_path
    assert runtime["containerd"]["runtimes"]["runc"]["options"]["SystemdCgroup"] is True
    assert dump["plugins"]["io.containerd.cri.v1.images"]["pinned_images"]["sandbox"] == "example/pause:1"
    assert dump["plugins"]["io.containerd.cri.v1.images"]["registry"]["config_path"] == "/etc/containerd/certs.d"
    folders = {runtime["cni"].get("bin_dir"), *(runtime["cni"].get("bin_dirs") or [])}
    assert "/opt/cni/bin" in folders
    assert not [name for name in dump.get("disabled_plugins", []) if "cri" in name]
    if config == DEBIAN:
        assert runtime["cni"]["conf_dir"] == "/srv/cni", "the owner's own key is still there"
