"""Build for another architecture than this machine's: Go does that by itself, C needs a compiler and a tree of libraries.

The tree (``sysroot``) is Debian's of that architecture, unpacked and never started: runc is linked with its libseccomp and C
library, and kube-proxy's image gets its ``nft``.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch.hashing import sha256_file
from strongroom.fetch.nft import Closure
from strongroom.fetch.tarball import Member

TRIPLETS = {"amd64": "x86_64-linux-gnu", "arm64": "aarch64-linux-gnu"}
_GCC = {"amd64": "gcc-x86-64-linux-gnu", "arm64": "gcc-aarch64-linux-gnu"}
#: What runc is linked with, by the folders of Debian's multiarch.
_LIBRARIES = ("libc.a", "libseccomp.a")
_NEEDED = re.compile(r"\(NEEDED\)\s+Shared library: \[([^\]/]+)\]")
_INTERPRETER = re.compile(r"\[Requesting program interpreter: (/[^\]]+)\]")


def recommended(arch: str) -> str:
    """The command that makes a sysroot (Debian 12's, of which this was tried)."""
    return (
        f"mmdebstrap --variant=extract --arch={arch} --include=libc6-dev,libseccomp-dev,nftables bookworm DIR"
        f" makes one; and apt-get install {_GCC[arch]} pkg-config"
    )


def environment(arch: str, sysroot: Path) -> dict[str, str]:
    """Variables for Go's toolchain: the C compiler, and where pkg-config looks."""
    folder = f"{sysroot}/usr/lib/{TRIPLETS[arch]}/pkgconfig"
    return {
        "CC": f"{TRIPLETS[arch]}-gcc --sysroot={sysroot}",
        "PKG_CONFIG_SYSROOT_DIR": str(sysroot),
        "PKG_CONFIG_LIBDIR": folder,
    }


def checked(arch: str, sysroot: Path | None) -> Path:
    """The sysroot, absolute, once all that is needed of it and beside it is there.

    Raises:
        ConfigError: none was named, or its path has a blank, which compilers' settings can't carry.
        StrongroomError: a program or a library is missing.
    """
    if sysroot is None:
        raise ConfigError(
            f"--arch {arch}: this machine is another one, and --sysroot is missing: runc and kube-proxy's nft take C libraries of"
            f" {arch}",
            hint=recommended(arch),
        )
    root = paths.written(str(sysroot)).resolve()
    if re.search(r"[\s'\"]", str(root)):
        raise ConfigError(f"--sysroot {root}: has a blank or a quote in it, and compilers' settings are split there")
    for program in (f"{TRIPLETS[arch]}-gcc", f"{TRIPLETS[arch]}-readelf", "pkg-config"):
        if shutil.which(program) is None:
            raise StrongroomError(f"{program}: not on the PATH; runc is built with cgo", hint=recommended(arch))
    for name in (*(f"usr/lib/{TRIPLETS[arch]}/{one}" for one in _LIBRARIES), "usr/sbin/nft"):
        if not (root / name).is_file():
            raise ConfigError(
                f"--sysroot: {root / name} is not there; is this a tree of {arch}?", hint=recommended(arch)
            )
    return root


def compiler(arch: str, sysroot: Path) -> str:
    """The C compiler, and the static libraries that runc is linked with by their SHA-256, in one line."""
    said = subprocess.run([f"{TRIPLETS[arch]}-gcc", "--version"], capture_output=True, text=True, check=True).stdout
    libraries = [sysroot / "usr/lib" / TRIPLETS[arch] / name for name in _LIBRARIES]
    return ", ".join([said.splitlines()[0], *(f"{path.name} {sha256_file(path.resolve())[:16]}" for path in libraries)])


def nft_closure(arch: str, sysroot: Path) -> Closure:
    """``nft`` of the tree and all that it loads: ldd's work, on programs that this machine can't start.

    Raises:
        StrongroomError: a library is missing.
    """
    found = {"usr/sbin/nft": _inside(sysroot, "usr/sbin/nft")}
    todo = list(found.values())
    while todo:
        command = [f"{TRIPLETS[arch]}-readelf", "--wide", "--dynamic", "--program-headers", str(todo.pop())]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        names = [match.lstrip("/") for match in _INTERPRETER.findall(said)]
        names += [_library(arch, sysroot, name) for name in _NEEDED.findall(said)]
        for name in names:
            if name not in found:
                found[name] = _inside(sysroot, name)
                todo.append(found[name])
    query = [
        "dpkg-query",
        f"--admindir={sysroot}/var/lib/dpkg",
        "--show",
        "--showformat",
        "${Version}",
        f"nftables:{arch}",
    ]
    asked = subprocess.run(query, capture_output=True, text=True, check=False)
    # A tree that was only unpacked has no list of packages: then its own sum says which nft it is.
    version = asked.stdout.strip() or f"with the SHA-256 {sha256_file(found['usr/sbin/nft'])}"
    return Closure(tuple(Member(name, 0o755, path=path) for name, path in sorted(found.items())), version)


def _library(arch: str, sysroot: Path, name: str) -> str:
    # Where Debian's loader looks without a cache of its own.
    for folder in (f"lib/{TRIPLETS[arch]}", f"usr/lib/{TRIPLETS[arch]}", "lib", "usr/lib"):
        if (sysroot / folder / name).exists():
            return f"{folder}/{name}"
    raise StrongroomError(f"nft: its library {name} is not found below {sysroot}", hint=recommended(arch))


def _inside(sysroot: Path, name: str) -> Path:
    """The file of a name, through links; one that leads out of the tree is this machine's, and none of the tree's."""
    path = (sysroot / name).resolve()
    if not path.is_relative_to(sysroot) or not path.is_file():
        raise StrongroomError(f"{sysroot / name}: leads to {path}, which is no file of that tree", hint="make it anew")
    return path
