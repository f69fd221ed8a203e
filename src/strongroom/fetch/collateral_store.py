"""Sets of collateral as flat folders that ``attest verify --collateral`` takes, in the cache and outside.

``snp`` is one set for all chips; a platform of Intel's has a set of its own, ``tdx-<FMSPC>-<CA>``, because the documents of two
of them have the same names.
"""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Mapping
from pathlib import Path

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError

NAMES = re.compile(r"snp|tdx-[0-9a-f]{12}-(?:platform|processor)")


def root() -> Path:
    """The cache's folder; it may be deleted at any time."""
    return paths.cache_dir() / "collateral"


def cached(kind: str | None = None, fmspc: str | None = None) -> dict[str, Path]:
    """Sets of the cache by name, of one kind or one FMSPC where these are given."""
    folder = root()
    names = sorted(one.name for one in folder.iterdir() if one.is_dir()) if folder.is_dir() else []
    wanted = [
        name
        for name in names
        if NAMES.fullmatch(name)
        and kind in (None, name.partition("-")[0])
        and (fmspc is None or name.startswith(f"tdx-{fmspc.lower()}-"))
    ]
    return {name: folder / name for name in wanted}


def read(name: str, file: str) -> bytes | None:
    """A file of a cached set, or None."""
    try:
        return (root() / name / file).read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StrongroomError(f"{root() / name / file}: {error.strerror or error}") from error


def write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put files into a folder, each whole or not at all.

    Raises:
        StrongroomError: it can't be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            handle, temporary = tempfile.mkstemp(dir=folder, prefix=f".{name[:32]}-")
            try:
                with os.fdopen(handle, "wb") as out:
                    out.write(content)
                os.chmod(temporary, 0o644)
                os.replace(temporary, folder / name)
            finally:
                Path(temporary).unlink(missing_ok=True)
    except OSError as error:
        raise StrongroomError(f"{folder}: {error.strerror or error}") from error


def empty(folder: Path) -> None:
    """Refuse a folder that has something in it: what else lies there, a verifier would take for collateral too.

    Raises:
        ConfigError: it isn't empty, or is no folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(f"{folder}: is not an empty folder")


def copy(sets: Mapping[str, Path], into: Path, *, flat: bool) -> None:
    """Copy sets of the cache into an empty folder: one of them flat, or each into a folder of its name."""
    for name, source in sets.items():
        try:
            files = {one.name: one.read_bytes() for one in sorted(source.iterdir()) if not one.name.startswith(".")}
        except OSError as error:
            raise StrongroomError(f"{source}: {error.strerror or error}") from error
        write(into if flat else into / name, files)
