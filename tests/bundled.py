"""Programs of the bundle from Go modules, taken out of it to be run by a test."""

from __future__ import annotations

from pathlib import Path

from strongroom.fetch import bundle as bundles
from strongroom.fetch import tarball
from strongroom.fetch.go_modules import build_from_go_modules


def program(component: str, name: str, folder: Path) -> Path:
    """Unpack one program of a component's archive into a folder; the bundle is built where it is in no cache."""
    bundle = bundles.load(build_from_go_modules())
    artifact = bundle.manifest.of(component)
    wanted = next(entry for entry in artifact.files if entry.path.rpartition("/")[2] == name)
    file = folder / name
    file.write_bytes(tarball.member(bundle.path(artifact), artifact.strip, artifact.subdir, wanted))
    file.chmod(0o755)
    return file
