"""``strongroom bundle``: make, check and show the folder that hosts are provisioned from."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom.fetch import bundle, create, standin
from strongroom.fetch.http import Client

app = typer.Typer(help="Make, check and show bundles: all that hosts need, in one folder.", no_args_is_help=True)

_NOTES = {"manifest": "Kubernetes objects"}
_HEADING = ("COMPONENT", "VERSION", "KIND", "MIB", "IMAGE OR NOTE")


class Road(StrEnum):
    """Where a bundle comes from."""

    GO_MODULES = "go-modules"
    UPSTREAM = "upstream"


class Arch(StrEnum):
    """Architectures of hosts."""

    AMD64 = "amd64"
    ARM64 = "arm64"


class Format(StrEnum):
    """How ``show`` prints."""

    TEXT = "text"
    JSON = "json"


Out = Annotated[Path | None, typer.Option("--out", help="Folder to make; it must not exist. Default: in the cache.")]
LockFile = Annotated[Path | None, typer.Option("--lock", help="Lock file to use in place of the packaged one.")]
ForArch = Annotated[Arch | None, typer.Option("--arch", help="Architecture of the hosts. Default: this machine's.")]
Versions = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="component=version, where not the lock's default; repeatable. cilium=VERSION adds Cilium."
    ),
]
BuiltVersions = Annotated[
    list[str] | None,
    typer.Option("--set", help="component=version; from Go modules only kata=VERSION-standin, to try upgrades with."),
]
CaFile = Annotated[
    Path | None, typer.Option("--ca-file", help="PEM file of a private CA to trust besides the system's.")
]


@app.command("build")
def build(
    road: Annotated[Road, typer.Option("--from", help="Build from Go modules, or download releases.")],
    out: Out = None,
    versions: BuiltVersions = None,
) -> None:
    """Build a bundle and print its folder; one that is in the cache already is found at once."""
    wanted = create.parse_versions(versions or [])
    made = standin.build(wanted, out) if road is Road.GO_MODULES else create.create(out, versions=wanted)
    typer.echo(made)


@app.command("create")
def create_(
    out: Out = None,
    lock: LockFile = None,
    arch: ForArch = None,
    versions: Versions = None,
    ca_file: CaFile = None,
) -> None:
    """Download everything that the lock pins, and print the bundle's folder."""
    client = Client(ca_file=ca_file)
    typer.echo(create.create(out, lock, arch.value if arch else None, create.parse_versions(versions or []), client))


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="The bundle's folder.")]) -> None:
    """Hash every file of a bundle and compare with its bundle.json."""
    checked = bundle.verify(folder)
    size = sum(artifact.size for artifact in checked.manifest.artifacts)
    typer.echo(f"{folder}: {len(checked.manifest.artifacts)} artifacts, {size} bytes, every SHA-256 as listed")


@app.command("show")
def show(
    folder: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    output: Annotated[Format, typer.Option("--output", help="text or json.")] = Format.TEXT,
) -> None:
    """Print what a bundle holds; checks names and sizes only."""
    manifest = bundle.load(folder).manifest
    if output is Format.JSON:
        typer.echo(manifest.model_dump_json(indent=2))
        return
    rows = [_HEADING]
    for a in manifest.artifacts:
        note = a.image or ("stand-in: isolates nothing" if a.stand_in else _NOTES.get(a.kind, ""))
        rows.append((a.component, a.version, a.kind, f"{a.size / 2**20:.1f}", note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    typer.echo(f"{manifest.origin} {manifest.arch} {manifest.digest}")
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
