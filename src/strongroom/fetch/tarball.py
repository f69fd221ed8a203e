"""Tar archives whose bytes depend on nothing but their content: no time, no user, sorted."""

from __future__ import annotations

import hashlib
import io
import lzma
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from strongroom.errors import StrongroomError
from strongroom.model.bundle import BundledFile

#: What reading a damaged archive raises; the decompressors' own errors come through in the middle of a member.
_BROKEN = (tarfile.TarError, EOFError, OSError, lzma.LZMAError, zlib.error)


@dataclass(frozen=True)
class Member:
    """One entry: a file (from a path, or its bytes), a folder (neither), or a symbolic link (``target``)."""

    name: str
    mode: int = 0o644
    path: Path | None = None
    data: bytes | None = None
    target: str | None = None

    def info(self) -> tarfile.TarInfo:
        """Its header, without time and user."""
        info = tarfile.TarInfo(self.name)
        info.mode, info.mtime, info.uid, info.gid, info.uname, info.gname = self.mode, 0, 0, 0, "", ""
        if self.target is not None:
            info.type, info.linkname, info.mode = tarfile.SYMTYPE, self.target, 0o777
        elif self.path is not None:
            info.size = self.path.stat().st_size
        elif self.data is not None:
            info.size = len(self.data)
        else:
            info.type = tarfile.DIRTYPE
        return info

    @contextmanager
    def content(self) -> Iterator[BinaryIO | None]:
        """What follows the header."""
        if self.path is not None:
            with self.path.open("rb") as file:
                yield file
        else:
            yield None if self.data is None else io.BytesIO(self.data)


def with_parents(members: Iterable[Member]) -> list[Member]:
    """The members and every folder above them (0755 unless given), sorted, so that a folder is before what it holds."""
    by_name = {member.name: member for member in members}
    for name in list(by_name):
        parts = name.split("/")[:-1]
        for depth in range(1, len(parts) + 1):
            folder = "/".join(parts[:depth])
            by_name.setdefault(folder, Member(folder, 0o755))
    return [by_name[name] for name in sorted(by_name)]


def write(members: Iterable[Member], out: BinaryIO) -> None:
    """Write an uncompressed tar of the members, sorted, with their folders."""
    with tarfile.open(fileobj=out, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for member in with_parents(members):
            with member.content() as content:
                tar.addfile(member.info(), content)


Look = Callable[[BundledFile, bytes], None]
"""Is shown each regular file of an archive, with its first bytes."""


def listing(archive: Path, strip: int, subdir: str = "", look: Look | None = None) -> tuple[BundledFile, ...]:
    """What ``tar --strip-components=STRIP`` makes of an archive in SUBDIR: its files and links, sorted by path.

    Folders are left out. Understands what :mod:`tarfile` reads, and ``.tar.zst`` through the program ``zstd``.

    Raises:
        StrongroomError: it is no archive, ``zstd`` is missing, or a member would leave the folder.
    """
    found: dict[str, BundledFile] = {}
    try:
        with _open(archive) as tar:
            for info in tar:
                path = _unpacked(info.name, strip, subdir)
                if path and not info.isdir():
                    found[path] = _listed(tar, info, path, found.get(_unpacked(info.linkname, strip, subdir)), look)
    except (*_BROKEN, ValidationError) as error:
        raise StrongroomError(f"{archive.name}: is no archive to install from: {_first_line(error)}") from error
    return tuple(found[path] for path in sorted(found))


def member(archive: Path, strip: int, subdir: str, wanted: BundledFile) -> bytes:
    """One file of an archive, which must be the one that the bundle lists.

    Raises:
        StrongroomError: it is not there, or not that one.
    """
    try:
        with _open(archive) as tar:
            for info in tar:
                if info.isreg() and _unpacked(info.name, strip, subdir) == wanted.path:
                    file = tar.extractfile(info)
                    content = file.read() if file else b""
                    if hashlib.sha256(content).hexdigest() != wanted.sha256:
                        break
                    return content
    except _BROKEN as error:
        raise StrongroomError(f"{archive.name}: is no archive to install from: {_first_line(error)}") from error
    raise StrongroomError(
        f"{archive.name}: has no {wanted.path} with the SHA-256 that the bundle lists",
        hint="the file is damaged or was changed: make the bundle again",
    )


def pick(archive: Path, prefix: str, names: Iterable[str], out: Path) -> None:
    """Write a tar of some files of an archive, by their names below a prefix.

    Raises:
        StrongroomError: it is no archive, or one of them is not there or no regular file.
    """
    wanted = {f"{prefix}/{name}" if prefix else name: name for name in names}
    found: dict[str, Member] = {}
    try:
        with _open(archive) as tar:
            for info in tar:
                name = wanted.get(info.name.removeprefix("./"))
                file = tar.extractfile(info) if name and info.isreg() else None
                if name and file:
                    found[name] = Member(name, 0o755 if info.mode & 0o100 else 0o644, data=file.read())
    except _BROKEN as error:
        raise StrongroomError(f"{archive.name}: is no archive to install from: {_first_line(error)}") from error
    if missing := sorted(set(wanted.values()) - set(found)):
        raise StrongroomError(f"{archive.name}: has no file {prefix + '/' if prefix else ''}{missing[0]}")
    with out.open("wb") as file:
        write(found.values(), file)


def strip_for(archive: Path, prefix: str) -> int:
    """How many leading components GNU tar has to strip, so that what is below ``prefix`` comes to the top.

    A leading ``./`` counts as one, so this has to be read from the archive.

    Raises:
        StrongroomError: a member isn't below the prefix, or some begin with ``./`` and others don't.
    """
    if not prefix:
        return 0
    dotted = set()
    try:
        with _open(archive) as tar:
            for info in tar:
                if info.isdir():
                    continue
                if not info.name.removeprefix("./").startswith(f"{prefix}/"):
                    raise StrongroomError(f"{archive.name}: its member {info.name} is not below {prefix}/")
                dotted.add(info.name.startswith("./"))
    except _BROKEN as error:
        raise StrongroomError(f"{archive.name}: is no archive to install from: {_first_line(error)}") from error
    if len(dotted) != 1:
        raise StrongroomError(f"{archive.name}: has no files, or only some of their names begin with ./")
    return len(prefix.split("/")) + int(dotted.pop())


def _unpacked(name: str, strip: int, subdir: str) -> str:
    """Where tar puts a member; "" when it is stripped away altogether."""
    kept = [part for part in name.split("/")[strip:] if part not in ("", ".")]
    return "/".join([*filter(None, [subdir]), *kept]) if kept else ""


def _first_line(error: Exception) -> str:
    if isinstance(error, ValidationError):
        return error.errors()[0]["msg"].removeprefix("Value error, ")
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _listed(
    tar: tarfile.TarFile, info: tarfile.TarInfo, path: str, linked: BundledFile | None, look: Look | None
) -> BundledFile:
    if info.issym():
        return BundledFile(path=path, mode="0777", target=info.linkname)
    if info.islnk():
        if linked is None:
            raise tarfile.TarError(f"{info.name}: is a hard link to {info.linkname}, which is not before it")
        return linked.model_copy(update={"path": path})
    content = tar.extractfile(info) if info.isreg() else None
    if content is None:
        raise tarfile.TarError(f"{info.name}: is neither file, link nor folder")
    hashed, head = hashlib.sha256(), b""
    while chunk := content.read(1 << 20):
        hashed.update(chunk)
        head = head or chunk[:64]
    entry = BundledFile(path=path, sha256=hashed.hexdigest(), mode=f"0{info.mode & 0o7777:03o}")
    if look is not None:
        look(entry, head)
    return entry


@contextmanager
def _open(archive: Path) -> Iterator[tarfile.TarFile]:
    with archive.open("rb") as file:
        is_zstd = file.read(4) == b"\x28\xb5\x2f\xfd"
    if not is_zstd:
        with tarfile.open(archive) as tar:
            yield tar
        return
    if shutil.which("zstd") is None:
        raise StrongroomError(f"{archive.name}: is zstd, and zstd is not on the PATH", hint="apt-get install zstd")
    with subprocess.Popen(["zstd", "-dcq", "--", str(archive)], stdout=subprocess.PIPE) as process:
        with tarfile.open(fileobj=process.stdout, mode="r|") as tar:
            yield tar
        while process.stdout and process.stdout.read(1 << 20):
            pass  # to its end, also where the reader has seen enough: what zstd then says is of the whole archive
        process.communicate()
        if process.returncode:
            raise StrongroomError(f"{archive.name}: zstd ended with {process.returncode}")
