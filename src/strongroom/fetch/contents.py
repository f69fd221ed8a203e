"""What is in a bundle's artifacts: whole archives that hold what is listed, and programs of the bundle's architecture.

Sums say that a file is the one that was pinned; this says that it is of use. It reads every archive to its end, so it is done
where a bundle is made, fetched or verified, not at every apply.
"""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

from strongroom.errors import StrongroomError
from strongroom.fetch import tarball
from strongroom.fetch.bundle import MANIFEST, Bundle
from strongroom.model.bundle import Artifact, BundledFile

#: e_machine of an ELF header's bytes 18 and 19 (System V ABI; the header says in byte 5 which end comes first).
_MACHINES = {3: "386", 21: "ppc64", 22: "s390x", 40: "arm", 62: "amd64", 183: "arm64", 243: "riscv64"}
_HEAD = 20
#: Only what is below these is started on a host: Kata's archives also carry firmware of other machines for QEMU, as ELF.
_PROGRAMS = ("bin", "sbin", "libexec")


def machine(head: bytes) -> str | None:
    """The architecture of an ELF file by its first 20 bytes, as Go names it; None where it is no ELF file."""
    if len(head) < _HEAD or head[:4] != b"\x7fELF":
        return None
    number = int.from_bytes(head[18:20], "big" if head[5] == 2 else "little")
    return _MACHINES.get(number, f"ELF machine {number}")


def check(bundle: Bundle) -> None:
    """Read all that a bundle's hosts would unpack, start or import.

    Raises:
        StrongroomError: an archive is truncated or holds other files than are listed, or a program or image is made for
            another architecture; the line names the file.
    """
    for artifact in bundle.manifest.artifacts:
        path = bundle.path(artifact)
        if artifact.kind == "binary":
            with path.open("rb") as file:
                _refuse_other(artifact, path, artifact.files[0].path, machine(file.read(_HEAD)))
        elif artifact.kind == "archive":
            _archive(artifact, path)
        elif artifact.kind == "image":
            _refuse_other(artifact, path, "its configuration", _image_arch(artifact, path))


def _archive(artifact: Artifact, path: Path) -> None:
    def look(entry: BundledFile, head: bytes) -> None:
        if int(entry.mode, 8) & 0o111 and entry.path.split("/")[-2:-1] and entry.path.split("/")[-2] in _PROGRAMS:
            _refuse_other(artifact, path, entry.path, machine(head))

    found = tarball.listing(path, artifact.strip, artifact.subdir, look)
    listed = {entry.path: entry for entry in artifact.files}
    there = {entry.path: entry for entry in found}
    for name in sorted(listed.keys() | there.keys()):
        if name not in there:
            raise StrongroomError(
                f"{path}: has no {name}, and {MANIFEST} lists it: it is truncated, or another archive"
            )
        if listed.get(name) != there[name]:
            raise StrongroomError(f"{path}: its {name} is not as {MANIFEST} lists it")


def _image_arch(artifact: Artifact, path: Path) -> str | None:
    """The architecture that an OCI layout's one image says it is for; None where it says nothing.

    Raises:
        StrongroomError: it is no whole OCI layout, or of another image than is listed.
    """
    try:
        with tarfile.open(path) as tar:
            entry = _json(tar, "index.json")["manifests"][0]
            names = (entry["annotations"]["io.containerd.image.name"], entry["digest"])
            manifest = _json(tar, _blob(entry))
            config = _json(tar, _blob(manifest["config"]))
            for layer in manifest["layers"]:
                if tar.getmember(_blob(layer)).size != layer["size"]:
                    raise ValueError(f"{layer['digest']} is of another size")
    except (tarfile.TarError, EOFError, OSError, KeyError, IndexError, TypeError, ValueError, RecursionError) as error:
        told = str(error).strip("'\"") or type(error).__name__
        raise StrongroomError(f"{path}: is no whole image archive: {told.splitlines()[0]}") from error
    if names != (artifact.image, artifact.image_digest):  # a host would import it, and never see what it waits for
        raise StrongroomError(
            f"{path}: its image is {' '.join(map(str, names))}, and {MANIFEST} lists {artifact.image} {artifact.image_digest}"
        )
    found = config.get("architecture")
    return found if isinstance(found, str) else None


def _json(tar: tarfile.TarFile, name: str) -> dict[str, Any]:
    file = tar.extractfile(name)
    content = json.loads(file.read()) if file else None
    if not isinstance(content, dict):
        raise ValueError(f"{name} is no JSON object")
    return content


def _blob(descriptor: dict[str, Any]) -> str:
    return "blobs/" + str(descriptor["digest"]).replace(":", "/", 1)


def _refuse_other(artifact: Artifact, path: Path, what: str, found: str | None) -> None:
    if found is not None and found != artifact.arch:
        raise StrongroomError(
            f"{path}: {what} is for {found}, and {MANIFEST} says {artifact.arch}",
            hint=f"make the bundle with the {artifact.component} of {artifact.arch}; no host was touched",
        )
