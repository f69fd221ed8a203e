"""``strongroom attest collateral``: fetch what verifying needs, and carry it to where there is no network."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom.attest.base import Refused, printable
from strongroom.cli import attest_files
from strongroom.cli.network import NetworkOf, network_of
from strongroom.errors import ConfigError
from strongroom.fetch import collateral_amd, collateral_intel, collateral_store, network
from strongroom.fetch.collateral_services import Service

app = typer.Typer(help="Fetch collateral, verify and cache it, export and import it.", no_args_is_help=True)


class Kind(StrEnum):
    """Kinds of evidence whose collateral a service has."""

    SNP = "snp"
    TDX = "tdx"


At = Annotated[str | None, typer.Option("--at", metavar="TIME", help="Judge as of a date or a time, in place of now.")]


@app.command("fetch")
def fetch(
    evidence: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Evidence that is to be verified.")],
    kind: Annotated[Kind, typer.Option("--kind", help="What evidence it is.")],
    pccs: Annotated[str | None, typer.Option("--pccs", metavar="URL", help="A PCCS to ask in place of Intel.")] = None,
    kds: Annotated[
        str | None, typer.Option("--kds", metavar="URL", help="A mirror of AMD's key distribution service.")
    ] = None,
    product: Annotated[
        str | None, typer.Option("--product", metavar="NAME", help="Of reports of version 2: Milan, Genoa or Turin.")
    ] = None,
    into: Annotated[
        Path | None, typer.Option("--into", metavar="DIR", help="Put what these files need into an empty folder, too.")
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option("--ca-file", help="PEM file of a private CA to trust besides the system's.")
    ] = None,
    inventory: NetworkOf = None,
    at: At = None,
) -> None:
    """Fetch what these files need, verify it, and keep it in the cache; prints the folders for --collateral."""
    _only(kind, Kind.TDX, {"--pccs": pccs})
    _only(kind, Kind.SNP, {"--kds": kds, "--product": product})
    now = attest_files.moment(at)
    if into is not None:
        collateral_store.empty(into)
    blobs = [attest_files.content(path) for path in evidence]
    client = network.client(network_of(inventory), ca_file, tries=5, delay=2.0)
    if kind is Kind.SNP:
        base = collateral_intel.address("--kds", kds) if kds else None
        sets = collateral_amd.fetch(blobs, Service("amd", base, client), now, product)
    else:
        base = collateral_intel.pccs(pccs) if pccs else None
        sets = collateral_intel.fetch(blobs, Service("intel", base, client), now)
    for name, files in sets.items():
        folder = collateral_store.root() / name
        if into is not None:
            folder = into if len(sets) == 1 else into / name
            collateral_store.write(folder, files)
        typer.echo(f"{folder}: {', '.join(sorted(files))}")


@app.command("export")
def export(
    into: Annotated[Path, typer.Argument(metavar="DIR", help="An empty folder, or one to make.")],
    kind: Annotated[Kind | None, typer.Option("--kind", help="Collateral of this kind alone.")] = None,
    fmspc: Annotated[
        str | None, typer.Option("--fmspc", metavar="HEX", help="Collateral of this platform of Intel's alone.")
    ] = None,
) -> None:
    """Copy the cache into a folder: one set flat, as `attest verify --collateral` takes it, several in folders below."""
    sets = collateral_store.cached(kind, fmspc)
    if not sets:
        raise ConfigError(f"{collateral_store.root()}: the cache has no such collateral")
    collateral_store.empty(into)
    collateral_store.copy(sets, into, flat=len(sets) == 1)
    for name in sets:
        typer.echo(f"{into if len(sets) == 1 else into / name}: {name}")


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(metavar="DIR", help="What `export` made, or a folder of collateral.")],
    kind: Annotated[Kind | None, typer.Option("--kind", help="What a flat folder of collateral is for.")] = None,
    at: At = None,
) -> None:
    """Verify a folder's collateral and put it into the cache; what is out of date or goes back is refused."""
    now = attest_files.moment(at)
    if not source.is_dir():
        raise ConfigError(f"{source}: is no folder")
    below = sorted(one for one in source.iterdir() if one.is_dir() and collateral_store.NAMES.fullmatch(one.name))
    for folder in below or [source]:
        try:
            given = attest_files.gather((), [str(folder)])
            is_snp = kind is Kind.SNP if kind else not given.documents
            admitted = (collateral_amd if is_snp else collateral_intel).admit(given, now)
        except Refused as refused:
            raise Refused(f"{printable(str(folder))}: {refused.reason}", refused.field, hint=refused.hint) from refused
        for name, files in admitted.items():
            typer.echo(f"{name}: {', '.join(sorted(files))}")


def _only(found: Kind, wanted: Kind, options: dict[str, str | None]) -> None:
    if found is not wanted and (given := [name for name, value in options.items() if value is not None]):
        raise ConfigError(f"{given[0]}: goes with --kind {wanted} alone")
