"""Run the pinned Go toolchain so that equal sources give equal bytes, whatever the operator's settings."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.model.bundle import Arch
from strongroom.model.lock import GoLock

#: Where sources come from and where caches lie is the operator's choice; everything else in Go's environment is ours.
_OPERATORS = frozenset(
    {
        "GOPROXY", "GOPRIVATE", "GONOPROXY", "GOSUMDB", "GONOSUMDB", "GOINSECURE", "GOAUTH", "GOVCS",
        "GOPATH", "GOCACHE", "GOMODCACHE", "GOTMPDIR", "GOENV", "GOMAXPROCS", "GOMEMLIMIT",
    }
)  # fmt: skip

_ARCHES: dict[str, Arch] = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


def machine_arch() -> Arch:
    """This machine's architecture, as Go and Kubernetes name it.

    Raises:
        StrongroomError: it is neither amd64 nor arm64.
    """
    found = platform.machine()
    if found not in _ARCHES:
        raise StrongroomError(f"this machine is {found}; bundles are for amd64 and arm64")
    return _ARCHES[found]


def environment(version: str, arch: str, operators: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Environment of a reproducible build with a toolchain (``go1.26.8``).

    ``GOTOOLCHAIN`` takes the toolchain at hand when its version is the pinned one, and else fetches it as a module,
    checked against Go's checksum database.
    """
    kept = {key: value for key, value in operators.items() if key in _OPERATORS or not key.startswith(("GO", "CGO_"))}
    pinned = {"GOTOOLCHAIN": version, "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false", "GOWORK": "off"}
    # Variables set in `go env -w` count unless the environment has them, so levels and experiments are set to nothing.
    target = {
        "GOOS": "linux",
        "GOARCH": arch,
        "GOAMD64": "v1",
        "GOARM64": "v8.0",
        "GOEXPERIMENT": "",
        "GOFIPS140": "off",
    }
    c = {"CC": "gcc", "CGO_CFLAGS": "-O2 -g", "CGO_CPPFLAGS": "", "CGO_LDFLAGS": "-O2 -g"}
    return {**kept, **pinned, **target, **c}


@dataclass(frozen=True)
class Toolchain:
    """A toolchain that answered with the pinned version."""

    version: str
    arch: Arch
    network: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Variables of the inventory's proxies and CA, over the operator's; may have a password in them."""
    c: Mapping[str, str] = field(default_factory=dict)
    """Variables of a C compiler for another architecture."""

    def run(self, arguments: Sequence[str], cwd: Path, cgo: bool = False) -> str:
        """Run ``go`` in a module's folder; its output.

        Raises:
            StrongroomError: it failed; the message has its last line, the hint how to see all.
        """
        env = {**environment(self.version, self.arch), **self.c, **self.network, "CGO_ENABLED": str(int(cgo))}
        done = subprocess.run(["go", *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False)
        if done.returncode:
            lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()] or ["no output"]
            raise StrongroomError(
                f"go {arguments[0]} in {cwd.name}: {lines[-1].strip()}",
                hint=f"cd {cwd} && GOTOOLCHAIN={self.version} CGO_ENABLED={int(cgo)} go {' '.join(arguments[:1])} ...",
            )
        return done.stdout


def toolchain(lock: GoLock, cwd: Path, network: Mapping[str, str] | None = None) -> Toolchain:
    """Find the pinned toolchain; ``network`` are further variables of its environment.

    Raises:
        StrongroomError: there is no ``go``, it is too old to switch, or it can't get the pinned version.
    """
    if shutil.which("go") is None:
        raise StrongroomError("go: not on the PATH", hint=f"install Go 1.21 or newer; it fetches {lock.go} by itself")
    found = Toolchain(lock.go, machine_arch(), network or {})
    version = found.run(["env", "GOVERSION"], cwd).strip()
    if version != lock.go:
        raise StrongroomError(
            f"go: its version is {version}, and the lock wants {lock.go}", hint="install Go 1.21 or newer"
        )
    return found
