"""Artifacts packed for the way to a host: SSH costs more there than unpacking does, most of all on an emulated host."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from strongroom import paths

#: zstd at level 6 keeps a third of a Go binary and takes a second for 100 MB.
_LEVEL = "-6"
_PACKED = (".gz", ".tgz", ".zst", ".xz")
#: Made, or read to their end, by this process.
_whole: set[Path] = set()

ASK = "command -v zstd >/dev/null && echo packed=zstd || :"
"""POSIX sh that prints ``packed=zstd`` on a host which can unpack."""


def packed(source: Path, sha256: str) -> Path | None:
    """The file packed by zstd, kept in the cache under the digest of what it unpacks to.

    What a host unpacks is verified against that digest there. So nothing bad comes of what lies in the cache; but a file that
    is cut (a power cut, a full disk) would be refused there for ever, so one that was found is read before it is sent.

    Returns:
        ``None`` where packing gains nothing, or zstd is not on the PATH: then the file goes as it is.
    """
    if source.name.endswith(_PACKED) or shutil.which("zstd") is None:
        return None
    target = paths.cache_dir() / "packed" / f"{sha256}.zst"
    if target not in _whole and not _reads(target):
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=target.parent, prefix=".new-")
        os.close(handle)
        new = Path(name)
        try:
            command = ["zstd", "-q", "-f", _LEVEL, "-T0", "-o", name, os.fspath(source)]
            if subprocess.run(command, capture_output=True, check=False).returncode:
                return None
            new.rename(target)
        finally:
            new.unlink(missing_ok=True)
    _whole.add(target)
    return target if target.stat().st_size < source.stat().st_size * 9 // 10 else None


def _reads(file: Path) -> bool:
    """Whether a packed file is there and whole, by the checksum that zstd puts at its end."""
    return file.exists() and not subprocess.run(["zstd", "-tq", str(file)], capture_output=True, check=False).returncode
