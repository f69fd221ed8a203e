"""The recipe of a bundle from Go modules, and the digest that names it in the cache."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.fetch import lockfile, nft
from strongroom.fetch.go_toolchain import Toolchain, toolchain
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.model.bundle import Arch
from strongroom.model.lock import GoLock, GoModule

#: Raise it when the same sources are packed differently than before.
PACKING = 1


@dataclass(frozen=True)
class GoRecipe:
    """All that decides the bytes of a bundle from Go modules."""

    lock: GoLock
    root: Path
    toolchain: Toolchain
    nft: nft.Closure
    compiler: str
    digest: str

    @property
    def arch(self) -> Arch:
        """The architecture it is for: this machine's, because runc is linked with its C library."""
        return self.toolchain.arch


def sources(root: Path) -> list[Path]:
    """The files of the wrapper modules, sorted."""
    return sorted(path for path in root.rglob("*") if path.is_file())


def check_pins(module: GoModule, root: Path) -> None:
    """Compare a wrapper module's go.mod and go.sum with the lock.

    Raises:
        StrongroomError: a file is missing or another one.
    """
    for name, wanted in (("go.mod", module.go_mod), ("go.sum", module.go_sum)):
        path = root / module.name / name
        try:
            found = sha256_file(path)
        except OSError as error:
            raise StrongroomError(f"{path}: {error.strerror}") from error
        if found != wanted:
            raise StrongroomError(
                f"{path}: its SHA-256 is {found}, and go-modules.lock pins {wanted}",
                hint="restore the file, or accept it with `strongroom lock update --go-modules`",
            )


def c_compiler() -> str:
    """The C compiler and the C library that runc is linked with: ``name and version, libc.a SHA-256``.

    Raises:
        StrongroomError: one is missing.
    """
    hint = "apt-get install gcc libc6-dev"
    if shutil.which("gcc") is None:
        raise StrongroomError("gcc: not on the PATH; runc is built with cgo", hint=hint)
    version = subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]
    asked = subprocess.run(["gcc", "-print-file-name=libc.a"], capture_output=True, text=True, check=True)
    library = Path(asked.stdout.strip())
    if not library.is_absolute():  # gcc prints the bare name when it doesn't find the file
        raise StrongroomError("libc.a: gcc doesn't find it; runc is linked statically", hint=hint)
    return f"{version.strip()}, libc.a {sha256_file(library.resolve())[:16]}"


def recipe(lock_path: Path | None = None, root: Path | None = None) -> GoRecipe:
    """Read the lock, check the pins, find the tools, and compute the digest.

    Raises:
        ConfigError: the lock is not of its schema.
        StrongroomError: a pin differs, or a tool is missing.
    """
    root = root or paths.catalog("go")
    lock = lockfile.load_go(lock_path)
    for module in lock.modules:
        check_pins(module, root)
    go, closure, compiler = toolchain(lock, root / lock.modules[0].name), nft.closure(), c_compiler()
    lines = [f"packing {PACKING}", f"arch {go.arch}", f"go {go.version}", f"cc {compiler}", f"nft {closure.digest}"]
    lines.append(f"lock {sha256_bytes(lock.model_dump_json().encode())}")
    lines += [f"{path.relative_to(root)} {sha256_file(path)}" for path in sources(root)]
    digest = sha256_bytes("".join(f"{line}\n" for line in lines).encode())
    return GoRecipe(lock, root, go, closure, compiler, f"sha256:{digest}")
