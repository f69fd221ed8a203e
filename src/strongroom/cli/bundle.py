"""``strongroom bundle``: make, check and show the folder that hosts are provisioned from."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import typer

from strongroom.cli.network import NetworkOf, network_of
from strongroom.errors import ConfigError
from strongroom.fetch import bundle, contents, create, network, remote_bundle, serving, standin
from strongroom.fetch.hashing import sha256_file

app = typer.Typer(help="Make, check and show bundles: all that hosts need, in one folder.", no_args_is_help=True)

_NOTES = {"manifest": "Kubernetes objects"}
_HEADING = ("COMPONENT", "VERSION", "KIND", "MIB", "FROM OR NOTE")


class Road(StrEnum):
    """Where a bundle comes from."""

    GO_MODULES = "go-modules"
    UPSTREAM = "upstream"


class Arch(StrEnum):
    """Architectures of hosts."""

    AMD64 = "amd64"
    ARM64 = "arm64"


_ARCHES: dict[Arch, Literal["amd64", "arm64"]] = {Arch.AMD64: "amd64", Arch.ARM64: "arm64"}


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
    arch: ForArch = None,
    sysroot: Annotated[
        Path | None,
        typer.Option("--sysroot", metavar="DIR", help="C libraries of --arch, where this machine is of another one."),
    ] = None,
    inventory: NetworkOf = None,
) -> None:
    """Build a bundle and print its folder; one that is in the cache already is found at once."""
    settings = network_of(inventory)
    wanted = create.parse_versions(versions or [])
    if road is Road.UPSTREAM:
        if sysroot is not None:
            raise ConfigError("--sysroot: goes with --from go-modules only; what is downloaded is built already")
        typer.echo(
            create.create(out, arch=arch.value if arch else None, versions=wanted, client=network.client(settings))
        )
        return
    with network.environment(settings) as variables:
        typer.echo(standin.build(wanted, out, variables, _ARCHES[arch] if arch else None, sysroot))


@app.command("create")
def create_(
    out: Out = None,
    lock: LockFile = None,
    arch: ForArch = None,
    versions: Versions = None,
    ca_file: CaFile = None,
    inventory: NetworkOf = None,
) -> None:
    """Download everything that the lock pins, and print the bundle's folder."""
    client = network.client(network_of(inventory), ca_file)
    typer.echo(create.create(out, lock, arch.value if arch else None, create.parse_versions(versions or []), client))


@app.command("verify")
def verify(folder: Annotated[Path, typer.Argument(help="The bundle's folder.")]) -> None:
    """Hash every file of a bundle and compare with its bundle.json; read what is in the archives, programs and images."""
    checked = bundle.verify(folder)
    contents.check(checked)
    size = sum(artifact.size for artifact in checked.manifest.artifacts)
    typer.echo(f"{folder}: {len(checked.manifest.artifacts)} artifacts, {size} bytes, every SHA-256 as listed")
    typer.echo(f"bundle.json: {sha256_file(folder / bundle.MANIFEST)}")


@app.command("serve")
def serve(
    folder: Annotated[Path, typer.Argument(help="The bundle's folder.")],
    listen: Annotated[
        str, typer.Option("--listen", metavar="ADDR:PORT", help="Where to answer; port 0 takes a free one.")
    ] = "127.0.0.1:8080",
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", help="PEM file of a certificate: answer by https.")
    ] = None,
    tls_key: Annotated[
        Path | None, typer.Option("--tls-key", help="PEM file of its key, where that is not in the same file.")
    ] = None,
) -> None:
    """Verify a bundle, then serve it read-only over HTTP until Ctrl-C. Prints how to fetch it."""
    if tls_key is not None and tls_cert is None:
        raise ConfigError(f"--tls-key {tls_key}: goes with --tls-cert, which is missing")
    where = serving.parse_listen(listen)
    tls = serving.tls_context(tls_cert, tls_key) if tls_cert else None
    with serving.Server(serving.Shelf.of(folder), where, tls) as server:
        artifacts = server.shelf.bundle.manifest.artifacts
        typer.echo(f"{folder}: {len(artifacts)} artifacts at {server.url}; fetch it with:")
        typer.echo(f"strongroom bundle fetch {server.url} --digest {server.shelf.digest}")
        sys.stdout.flush()
        server.serve_forever()


@app.command("fetch")
def fetch(
    url: Annotated[str, typer.Argument(metavar="URL", help="What `bundle serve` prints.")],
    digest: Annotated[
        str,
        typer.Option(
            "--digest", metavar="SHA256", help="SHA-256 of its bundle.json, known by another way than this one."
        ),
    ],
    out: Out = None,
    ca_file: CaFile = None,
    inventory: NetworkOf = None,
) -> None:
    """Fetch a bundle that another machine serves, every byte verified; run again, it goes on where it was broken off."""
    typer.echo(remote_bundle.fetch(url, digest, out, network.client(network_of(inventory), ca_file)))


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
        note = (a.image or "").rpartition("/")[0] or (
            "stand-in: isolates nothing" if a.stand_in else _NOTES.get(a.kind, "")
        )
        rows.append((a.component, a.version, a.kind, f"{a.size / 2**20:.1f}", note))
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADING))]
    typer.echo(f"{manifest.origin} {manifest.arch} {manifest.digest}")
    typer.echo(f"bundle.json {sha256_file(folder / bundle.MANIFEST)}")
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
