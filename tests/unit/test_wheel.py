"""The wheel carries templates, deploys, inventories and catalogue, and works outside the checkout."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import strongroom, sys
from strongroom import paths
from strongroom.phases.base import template
from strongroom.phases.context import shims
from strongroom.probe.script import probe_script
assert strongroom.__file__.startswith(sys.argv[1]), strongroom.__file__
assert str(paths.data("deploys", "confidential_containers.py")).startswith(sys.argv[1])
assert b"containerd" in template("containerd/containerd.service")
assert "qemu-coco-dev" in shims()
assert "section" in probe_script()
from strongroom.catalog.load import checks
assert checks().check("SNP-RMPMSR").remedy
assert paths.catalog("artifacts.lock").is_file() and paths.catalog("go", "kubernetes", "go.sum").is_file()
from strongroom.cli.main import main
sys.argv[1:] = ["init", "sample.py"]
main()
"""


def test_the_wheel_works_outside_the_checkout(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path)]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(unpacked)
    run = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(unpacked)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(unpacked)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert (tmp_path / "sample.py").is_file()
