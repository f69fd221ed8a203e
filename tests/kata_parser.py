"""Kata's own parser and configurations, from the Go module of its runtime: the referee for what we render.

The newest version that Go's module proxy was seen to have is of August 2025, between the releases 3.20 and 3.21; the module has no
tags, and that of 4.1.0 is not to be had by its commit. So the Go shims are judged by that parser and that release's templates,
rendered by upstream's own Makefile. ``src/runtime-rs`` is no Go module: ``STRONGROOM_KATA_SOURCE`` names a checkout of
kata-containers where its templates are to be compared as well.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from strongroom import paths
from strongroom.fetch import lockfile, staging
from strongroom.fetch.go_toolchain import environment, machine_arch
from strongroom.fetch.hashing import sha256_bytes

SOURCES = Path(__file__).parent / "kata-config"
MODULE = "github.com/kata-containers/kata-containers/src/runtime"
GENERATED = "pkg/katautils/config-settings.go"
"""The file that the module lacks: upstream's Makefile makes it."""
#: That release left QEMU and firmware of TDX to the distribution, by names that its installer replaced; since 4.0 they are Kata's own.
_OF_THE_DISTRIBUTION = (
    "QEMUTDXPATH={prefix}/bin/qemu-system-x86_64",
    "FIRMWARETDVFPATH={prefix}/share/ovmf/OVMF.inteltdx.fd",
)


class Unavailable(Exception):
    """There is no Go, or the module can't be had: the one reason not to ask the parser."""


def _run(command: Sequence[str], cwd: Path, env: dict[str, str] | None = None) -> str:
    done = subprocess.run(
        ["nice", "-n", "19", *command], cwd=cwd, env=env, capture_output=True, text=True, timeout=3600, check=False
    )
    if done.returncode:
        raise AssertionError(f"{' '.join(command)}: {done.stderr[-2000:]}")
    return done.stdout


@dataclass(frozen=True)
class Kata:
    """The module's folder, and the program that parses."""

    source: Path
    program: Path
    version: str

    def templates(self) -> dict[str, Path]:
        """Name of a shim -> its template."""
        found = sorted(self.source.glob("config/configuration-*.toml.in"))
        return {path.name.removeprefix("configuration-").removesuffix(".toml.in"): path for path in found}

    def render(self, names: Sequence[str], prefix: Path, arch: str, work: Path) -> dict[str, str]:
        """Configurations as upstream's Makefile makes them, for an installation below ``prefix``."""
        _copy_makefiles(self.source, work)
        targets = [f"config/configuration-{name}.toml" for name in names]
        fixed = [one.format(prefix=prefix) for one in _OF_THE_DISTRIBUTION]
        _run(["make", "-s", f"ARCH={arch}", f"PREFIX={prefix}", *fixed, *targets], work)
        return {name: (work / target).read_text() for name, target in zip(names, targets, strict=True)}

    def parse(self, files: Sequence[Path]) -> list[dict[str, Any]]:
        """What the runtime would take from each configuration, with the drop-ins beside it."""
        lines = _run([str(self.program), *map(str, files)], files[0].parent).splitlines()
        return [json.loads(line) for line in lines]


def _copy_makefiles(source: Path, work: Path) -> None:
    for name in ("Makefile", "golang.mk", "arch", "config", "data", "pkg/katautils/config-settings.go.in"):
        target = work / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_dir():
            shutil.copytree(source / name, target, dirs_exist_ok=True, copy_function=shutil.copyfile)
        else:
            shutil.copyfile(source / name, target)
    for path in [work, *work.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)  # a module's files and folders are read-only
    (work / "VERSION").write_text("0\n")
    (work / ".git-commit").write_text("")


def kata() -> Kata:
    """Download the module and build the parser, or find it in the cache by what it was built from.

    Raises:
        Unavailable: no Go, or no module.
    """
    if shutil.which("go") is None:
        raise Unavailable("go is not on the PATH")
    go = lockfile.load_go().go
    env = {**environment(go, machine_arch()), "CGO_ENABLED": "0"}
    done = subprocess.run(
        ["nice", "-n", "19", "go", "mod", "download", "-json", MODULE],
        cwd=SOURCES, env=env, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = [line for line in (done.stdout + done.stderr).splitlines() if "rror" in line or "go:" in line]
        raise Unavailable(f"{MODULE} can't be downloaded: {' '.join(lines)[-300:] or 'go said nothing'}")
    module = json.loads(done.stdout)
    source = Path(module["Dir"])
    parts = [go, *(path.read_text() for path in sorted(SOURCES.iterdir()) if path.is_file())]
    final = paths.cache_dir() / "kata-config" / sha256_bytes("\0".join(parts).encode())
    program = final / "kata-config"
    staging.appear(final, lambda folder: _build(source, folder, env), lambda _: program.is_file())
    return Kata(source, program, module["Version"])


def _build(source: Path, folder: Path, env: dict[str, str]) -> None:
    """Go replaces no file in its module cache (``go help build``, -overlay), so the dependencies are copied before."""
    work = folder / "work"
    shutil.copytree(SOURCES, work)
    _run(["go", "mod", "vendor"], work, env)
    made = folder / "made"
    _copy_makefiles(source, made)
    _run(["make", "-s", "PREFIX=/opt/kata", GENERATED], made)
    overlay = {"Replace": {str(work / "vendor" / MODULE / GENERATED): str(made / GENERATED)}}
    (folder / "overlay.json").write_text(json.dumps(overlay))
    output = ["-o", str(folder / "kata-config"), "."]
    _run(["go", "build", "-p", "1", "-mod=vendor", "-overlay", str(folder / "overlay.json"), *output], work, env)
    for one in (work, made):
        shutil.rmtree(one)


def lay_down(configuration: str, prefix: Path) -> None:
    """The files that a configuration names below the prefix: the parser wants them there, and an image not empty."""
    for name in set(re.findall(rf'"({re.escape(str(prefix))}/[^"]+)"', configuration)):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            path.write_bytes(b"image" if path.suffix == ".img" else b"")


def rust_templates() -> dict[str, Path]:
    """Name of a shim -> the Rust runtime's template, of the checkout that ``STRONGROOM_KATA_SOURCE`` names; else nothing."""
    root = os.environ.get("STRONGROOM_KATA_SOURCE")
    found = sorted(Path(root).glob("src/runtime-rs/config/configuration-*.toml.in")) if root else []
    return {path.name.removeprefix("configuration-").removesuffix(".toml.in"): path for path in found}


def rust_makefile() -> str:
    """What fills the Rust runtime's templates in: its makefile, of that checkout."""
    path = Path(os.environ.get("STRONGROOM_KATA_SOURCE", "/nonexistent"), "src/runtime-rs/Makefile")
    return path.read_text() if path.is_file() else ""


class Makefile:
    """A makefile's variables for an installation below ``/opt/kata``, as far as they depend on no condition: one that it gives
    several values is left as it stands, since which of them counts would take make and all that it includes."""

    def __init__(self, text: str) -> None:
        self.values: dict[str, set[str]] = {}
        for name, value in re.findall(r"^[ ]*(\w+)[ ]*[:?]?=[ \t]*(.*?)[ \t]*$", text, flags=re.MULTILINE):
            if f"$({name})" not in value:  # of itself: upstream's SHAREDIR is assigned to SHAREDIR
                self.values.setdefault(name, set()).add(value)
        self.values |= {"PREFIX": {"/opt/kata"}, "EXEC_PREFIX": {"$(PREFIX)"}}

    def expanded(self, text: str) -> str:
        """A text with the variables in it replaced, as many as are known."""

        def known(match: re.Match[str]) -> str:
            values = self.values.get(match[1], set())
            return self.expanded(next(iter(values))) if len(values) == 1 else match[0]

        return re.sub(r"\$\((\w+)\)", known, text).replace('\\"', '"')

    def filled(self, value: Any) -> Any:
        """What a placeholder of :func:`template_tables` becomes; any other value as it is."""
        if not (isinstance(value, str) and (match := re.fullmatch(r"<(\w+)>", value))):
            return value
        text = self.expanded(f"$({match[1]})")
        with contextlib.suppress(tomllib.TOMLDecodeError):
            return tomllib.loads(f"x = {text}")["x"]
        return text


def template_tables(text: str) -> dict[str, Any]:
    """A template as TOML: what its makefile would fill in becomes a string, ``<NAME>``; keys that are there as a comment count."""
    filled = re.sub(r'"@(\w+)@"', r'"<\1>"', text)
    filled = re.sub(r"\[agent\.@\w+@(\.\w+)?\]", r"[agent.kata\1]", filled)
    filled = re.sub(r"^(\s*\w+\s*=\s*)@(\w+)@\s*$", r'\1"<\2>"', filled, flags=re.MULTILINE)
    found = tomllib.loads(filled)
    table = found
    for line in filled.splitlines():
        if match := re.match(r"^\[([\w.-]+)\]", line):
            table = functools.reduce(lambda inside, part: inside.get(part, {}), match[1].split("."), found)
        elif match := re.match(r"^#\s?(\w+) ?= ?(\S.*)$", line):
            with contextlib.suppress(tomllib.TOMLDecodeError):
                table.setdefault(match[1], tomllib.loads(f"x = {match[2]}")["x"])
    return found
