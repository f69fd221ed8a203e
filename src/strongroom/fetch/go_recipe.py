"""The recipe of a bundle from Go modules, and the digest that names it in the cache."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.fetch import chart, go_cross, lockfile, nft
from strongroom.fetch.go_toolchain import Toolchain, machine_arch, toolchain
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.model.bundle import Arch, Artifact
from strongroom.model.lock import GoComponent, GoLock, GoModule

#: Raise it when the same sources are packed differently than before.
PACKING = 1
#: What runc is linked with, and the Debian package that has it.
_LIBRARIES = {"libc.a": "libc6-dev", "libseccomp.a": "libseccomp-dev"}


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
        """The architecture it is for."""
        return self.toolchain.arch

    @property
    def here(self) -> bool:
        """Whether this machine can start what is built."""
        return self.arch == machine_arch()

    def compile(self, module: GoModule, package: str, out: Path, *, here: bool = False) -> Path:
        """Compile a package of a wrapper module to ``out``; ``here`` for this machine, to be started.

        Raises:
            StrongroomError: it doesn't compile, or a source can't be had.
        """
        arguments = ["build", "-ldflags", " ".join(("-s", "-w", *module.ldflags)), "-o", str(out)]
        if module.tags:
            arguments += ["-tags", ",".join(module.tags)]
        go = replace(self.toolchain, arch=machine_arch(), c={}) if here else self.toolchain
        go.run([*arguments, package], self.root / module.name, cgo=module.cgo)
        return out

    def artifact(self, component: GoComponent, path: Path, source: str, **more: Any) -> Artifact:
        """A component's built file as the manifest lists it; ``more`` is what its kind adds."""
        return Artifact(
            component=component.component,
            version=component.version,
            arch=self.arch,
            kind=component.kind,
            file=path.name,
            size=path.stat().st_size,
            sha256=sha256_file(path),
            licence=component.licence or self.lock.module(component.module).licence,
            source=source,
            **more,
        )


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
    """The C compiler, and the static libraries that runc is linked with by their SHA-256, in one line.

    Raises:
        StrongroomError: one is missing.
    """
    if shutil.which("gcc") is None:
        raise StrongroomError("gcc: not on the PATH; runc is built with cgo", hint="apt-get install gcc")
    said = [subprocess.run(["gcc", "--version"], capture_output=True, text=True, check=True).stdout.splitlines()[0]]
    for name, package in _LIBRARIES.items():
        asked = subprocess.run(["gcc", f"-print-file-name={name}"], capture_output=True, text=True, check=True)
        library = Path(asked.stdout.strip())
        if not library.is_absolute():  # gcc prints the bare name when it doesn't find the file
            raise StrongroomError(
                f"{name}: gcc doesn't find it; runc is linked with it", hint=f"apt-get install {package}"
            )
        said.append(f"{name} {sha256_file(library.resolve())[:16]}")
    return ", ".join(said)


def recipe(
    lock_path: Path | None = None,
    root: Path | None = None,
    network: Mapping[str, str] | None = None,
    arch: Arch | None = None,
    sysroot: Path | None = None,
) -> GoRecipe:
    """Read the lock, check the pins, find the tools, and compute the digest.

    Args:
        network: variables of proxies and a private CA, for Go's toolchain.
        arch: None is this machine's; for another one ``sysroot`` has its libraries.

    Raises:
        ConfigError: the lock is not of its schema, or another architecture is wanted without a sysroot.
        StrongroomError: a pin differs, or a tool is missing.
    """
    root = root or paths.catalog("go")
    lock = lockfile.load_go(lock_path)
    for module in lock.modules:
        check_pins(module, root)
    tree = None if arch is None or arch == machine_arch() else go_cross.checked(arch, sysroot)
    go = toolchain(lock, root / lock.modules[0].name, network)
    if arch is None or tree is None:
        closure, compiler = nft.closure(), c_compiler()
    else:
        go = replace(go, arch=arch, c=go_cross.environment(arch, tree))
        closure, compiler = go_cross.nft_closure(arch, tree), go_cross.compiler(arch, tree)
    lines = [f"packing {PACKING}", f"arch {go.arch}", f"go {go.version}", f"cc {compiler}", f"nft {closure.digest}"]
    lines.append(f"lock {sha256_bytes(lock.model_dump_json().encode())}")
    lines += [f"{path.relative_to(root)} {sha256_file(path)}" for path in sources(root)]
    charts = [chart.values(component.component) for component in lock.components if component.chart]
    lines += [f"charts/{path.name} {sha256_file(path)}" for path in charts]
    digest = sha256_bytes("".join(f"{line}\n" for line in lines).encode())
    return GoRecipe(lock, root, go, closure, compiler, f"sha256:{digest}")
