"""Read and verify a bundle: ``bundle.json`` and ``artifacts/<file>``, and nothing else."""

from __future__ import annotations

import json
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import staging
from strongroom.fetch.hashing import sha256_files
from strongroom.fetch.lockfile import one_line
from strongroom.model.bundle import SCHEMA, Artifact, BundleManifest

MANIFEST = "bundle.json"


@dataclass(frozen=True)
class Bundle:
    """A bundle in a folder."""

    folder: Path
    manifest: BundleManifest

    def path(self, artifact: Artifact) -> Path:
        """Where an artifact's file lies."""
        return self.folder / "artifacts" / artifact.file


def load(folder: Path) -> Bundle:
    """Read a bundle and check the names and sizes of its files, not their digests: cheap, and no proof.

    Raises:
        ConfigError: there is no ``bundle.json``.
        StrongroomError: it is not of its schema; a file is missing, unlisted, no plain file, or
            of another size.
    """
    path = folder / MANIFEST
    try:
        text = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"{folder}: no bundle there ({MANIFEST} is missing)",
            hint="name another with --bundle, or make one: strongroom bundle create, or bundle build for a lab",
        ) from error
    except OSError as error:
        raise StrongroomError(
            f"{path}: cannot be read: {error.strerror}", hint="is this the bundle's folder?"
        ) from error
    bundle = Bundle(folder, parse_manifest(text, str(path)))
    _check_names(bundle)
    return bundle


def parse_manifest(text: bytes, where: str) -> BundleManifest:
    """``bundle.json``, read.

    Raises:
        StrongroomError: a newer strongroom made it, or it is not of its schema; the line begins with ``where``.
    """
    if (version := _schema_of(text)) is not None and version > SCHEMA:
        raise StrongroomError(
            f"{where}: schema_version: found {version}, allowed is {SCHEMA}: a newer strongroom made this bundle",
            hint="update strongroom here, or make the bundle with this version",
        )
    try:
        return BundleManifest.model_validate_json(text)
    except ValidationError as error:
        raise StrongroomError(one_line(where, error)) from error


def _schema_of(text: bytes) -> int | None:
    """The schema that a text says it is of; a newer one may have any other form, so nothing else is looked at."""
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        return None
    version = content.get("schema_version") if isinstance(content, dict) else None
    return version if isinstance(version, int) else None


def verify(folder: Path) -> Bundle:
    """Read a bundle and hash every file of it.

    Raises:
        StrongroomError: as :func:`load`, or a file's SHA-256 is another; the line names the file and both sums.
    """
    bundle = load(folder)
    wanted = {bundle.path(artifact): artifact for artifact in bundle.manifest.artifacts}
    try:
        sums = sha256_files(wanted)
    except OSError as error:
        raise StrongroomError(f"{error.filename}: cannot be read: {error.strerror}") from error
    for path, found in sums.items():
        if found != wanted[path].sha256:
            raise StrongroomError(
                f"{path}: its SHA-256 is {found}, and {MANIFEST} says {wanted[path].sha256}",
                hint="the file is damaged or was changed: remove the folder, then make or copy the bundle again",
            )
    return bundle


def _check_names(bundle: Bundle) -> None:
    """Exactly the listed files are there, as plain files of the listed sizes below plain folders."""
    found: dict[str, os.stat_result] = {}
    for parent, folders, names in os.walk(bundle.folder):
        for name in [*folders, *names]:
            path = Path(parent, name)
            status = path.lstat()
            if stat.S_ISLNK(status.st_mode) or not (stat.S_ISDIR(status.st_mode) or stat.S_ISREG(status.st_mode)):
                raise StrongroomError(f"{path}: is no plain file, and a bundle has nothing else")
            if stat.S_ISREG(status.st_mode):
                found[str(path.relative_to(bundle.folder))] = status
    wanted = {f"artifacts/{artifact.file}": artifact for artifact in bundle.manifest.artifacts}
    for name, artifact in wanted.items():
        if name not in found:
            raise StrongroomError(f"{bundle.folder / name}: is missing, and {MANIFEST} lists it")
        if found[name].st_size != artifact.size:
            raise StrongroomError(
                f"{bundle.folder / name}: is {found[name].st_size} bytes, and {MANIFEST} says {artifact.size}"
            )
    if extra := sorted(set(found) - set(wanted) - {MANIFEST}):
        raise StrongroomError(f"{bundle.folder / extra[0]}: is not listed in {MANIFEST}")


def write_manifest(manifest: BundleManifest, folder: Path) -> None:
    """Write ``bundle.json``."""
    (folder / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def copy(source: Path, out: Path) -> Path:
    """Copy a bundle to a folder that doesn't exist yet; it appears complete and verified, or not at all.

    Raises:
        StrongroomError: ``out`` is there already, or the copy differs from its manifest.
    """

    def fill(folder: Path) -> None:
        shutil.copytree(source, folder, dirs_exist_ok=True)
        verify(folder)

    return staging.appear(out, fill)
