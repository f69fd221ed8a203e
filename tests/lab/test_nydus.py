"""nydus itself with our settings, and the bundle's containerd that finds it by our drop-in: two daemons in folders, no host.

nydus comes from its Go module, in the version that the lock names, and is built once for the user's cache.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom import paths
from strongroom.fetch import lockfile, staging
from strongroom.fetch.go_toolchain import environment, machine_arch
from strongroom.fetch.hashing import sha256_bytes
from strongroom.phases.base import template
from strongroom.phases.context import shims
from strongroom.plan import containerd, snapshots
from tests import bundled

pytestmark = [
    pytest.mark.lab,
    pytest.mark.skipif(os.geteuid() != 0, reason="containerd needs root"),
    pytest.mark.skipif(shutil.which("unshare") is None, reason="no unshare on this machine"),
]
SOURCES = Path(__file__).parents[1] / "nydus"
MODULE = "github.com/containerd/nydus-snapshotter"
# containerd makes /etc/cni/net.d where there is none.
FOLDERS = (snapshots.ROOT, str(Path(snapshots.SOCKET).parent), "/etc/cni")
CONFIG = """\
version = 3
root = "{folder}/root"
state = "{folder}/state"
imports = ["{folder}/conf.d/*.toml"]
[grpc]
address = "{folder}/containerd.sock"
"""


@pytest.fixture(scope="module")
def nydus() -> Path:
    """A folder with nydus' two programs."""
    go = lockfile.load_go().go
    parts = [go, *(path.read_text() for path in sorted(SOURCES.iterdir()))]
    final = paths.cache_dir() / "nydus" / sha256_bytes("\0".join(parts).encode())
    commands = [f"{MODULE}/cmd/{Path(name).name}" for name in (snapshots.PROGRAM, snapshots.OVERLAY)]

    def build(folder: Path) -> None:
        env = {**environment(go, machine_arch()), "CGO_ENABLED": "0"}
        done = subprocess.run(
            ["go", "build", "-o", f"{folder}/bin/", *commands],
            cwd=SOURCES, env=env, capture_output=True, text=True, timeout=3600, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-2000:]

    staging.appear(final, build, lambda folder: (folder / snapshots.PROGRAM).is_file())
    return final


def test_the_lock_names_the_version_that_is_tested() -> None:
    (version,) = lockfile.load().versions(snapshots.COMPONENT)
    assert f"{MODULE} v{version} " in (SOURCES / "go.mod").read_text()


def test_containerd_asks_nydus_which_hands_the_image_to_the_guest(nydus: Path, tmp_path: Path) -> None:
    for name in ("containerd", "ctr"):
        bundled.program("containerd", name, tmp_path)
    values = {"root": snapshots.ROOT, "socket": snapshots.SOCKET, "overlay": str(nydus / snapshots.OVERLAY)}
    (tmp_path / "nydus.toml").write_bytes(template("containerd/nydus-snapshotter.toml.j2", **values))
    shim, document = shims()["qemu-coco-dev"], {"version": 3}
    handlers = containerd.handler_settings((2, 3), document, "example/pause:1", (shim,), "/etc/containerd/certs.d")
    text = containerd.drop_in(document, handlers).decode()
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/10-strongroom.toml").write_text(snapshots.tables(document, (shim,), text, "drop-in"))
    (tmp_path / "config.toml").write_text(CONFIG.format(folder=tmp_path))
    # Our paths are absolute: the daemons get file systems of their own there, which end with them.
    absent = [name for name in FOLDERS if not Path(name).exists()]
    for name in absent:
        Path(name).mkdir()
    try:
        mounts = " && ".join(f"mount -t tmpfs none {name}" for name in FOLDERS)
        inside = [sys.executable, "-m", "tests.lab.test_nydus", str(tmp_path), str(nydus / snapshots.PROGRAM)]
        done = subprocess.run(
            ["unshare", "--mount", "--net", "sh", "-c", f'{mounts} && exec "$@"', "sh", *inside],
            capture_output=True, text=True, timeout=600, check=False,
        )  # fmt: skip
    finally:
        for name in absent:
            Path(name).rmdir()
    assert done.returncode == 0, done.stdout + done.stderr
    assert "one " in done.stdout, "the snapshot is listed"
    said = (tmp_path / "nydus.log").read_text()
    assert "FsDriver: proxy" in said
    assert '\\"volume_type\\":\\"image_guest_pull\\"' in said


def _inside(folder: Path, nydus: str) -> None:
    """Both daemons, in namespaces of their own, and one snapshot asked of them."""
    daemons = []
    try:
        for name, command, socket in (
            ("nydus", [nydus, "--config", f"{folder}/nydus.toml", "--log-to-stdout"], Path(snapshots.SOCKET)),
            (
                "containerd",
                [f"{folder}/containerd", "--config", f"{folder}/config.toml"],
                folder / "containerd.sock",
            ),
        ):
            with (folder / f"{name}.log").open("w") as log:
                daemons.append(subprocess.Popen(command, stdout=log, stderr=log))
            for _ in range(600):
                if socket.exists() or daemons[-1].poll() is not None:
                    break
                time.sleep(0.1)
        ctr = [f"{folder}/ctr", "--address", f"{folder}/containerd.sock", "snapshots", "--snapshotter", snapshots.NAME]
        subprocess.run([*ctr, "prepare", "one", ""], check=True)
        subprocess.run([*ctr, "ls"], check=True)
    finally:
        for daemon in daemons:
            daemon.terminate()
            daemon.wait()


if __name__ == "__main__":
    _inside(Path(sys.argv[1]), sys.argv[2])
