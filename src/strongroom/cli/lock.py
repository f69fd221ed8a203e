"""``strongroom lock``: check the pins, and record those that are missing."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from strongroom import paths
from strongroom.cli.network import NetworkOf, network_of
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import lockfile, network, pinning
from strongroom.fetch.go_recipe import check_pins
from strongroom.model.lock import Lock, LockEntry

app = typer.Typer(help="The pins of every remote byte.", no_args_is_help=True)


class Arch(StrEnum):
    """Architectures of hosts."""

    AMD64 = "amd64"
    ARM64 = "arm64"


@app.command("check")
def check(
    lock: Annotated[
        Path | None, typer.Option("--lock", help="Lock file to check in place of the packaged one.")
    ] = None,
    online: Annotated[
        bool, typer.Option("--online", help="Also compare pins with the sums files of their publishers.")
    ] = False,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="PEM file of a private CA to trust.")] = None,
    inventory: NetworkOf = None,
) -> None:
    """Check schema and order of the lock, list what is unpinned, and compare the Go modules with their pins."""
    if not online and (ca_file or inventory):
        raise ConfigError("lock check: --ca-file and --network-of go with --online, without which nothing is asked")
    content = lockfile.load(lock)
    go = lockfile.load_go()
    for module in go.modules:
        check_pins(module, paths.catalog("go"))
    unpinned = content.unpinned()
    for entry in unpinned:
        typer.echo(f"unpinned: {entry} ({entry.image or entry.url})")
    pinned = len(content.artifacts) - len(unpinned)
    typer.echo(
        f"{pinned} artifacts pinned, {len(unpinned)} unpinned; {len(go.modules)} Go modules as pinned, with {go.go}"
    )
    if online:
        wrong = list(pinning.check(content, network.client(network_of(inventory), ca_file)))
        for line in wrong:
            typer.echo(f"differs: {line}")
        held = sum(entry.sums is not None and entry.pinned for entry in content.artifacts)
        if wrong:
            raise StrongroomError(
                f"{len(wrong)} of {held} pins are not what their publishers say; the first: {wrong[0]}"
            )
        typer.echo(f"{held} pins are what their publishers say; the lock names no sums file for the others")


@app.command("update")
def update(
    lock: Annotated[Path, typer.Option("--lock", help="File to write. If it exists, it is what is updated.")],
    arch: Annotated[Arch | None, typer.Option("--arch", help="Only this architecture.")] = None,
    component: Annotated[list[str] | None, typer.Option("--component", help="Only this one; repeatable.")] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="PEM file of a private CA to trust.")] = None,
    inventory: NetworkOf = None,
    modules: Annotated[
        bool, typer.Option("--go-modules", help="Write go-modules.lock in place of artifacts.lock.")
    ] = False,
) -> None:
    """Download what is unpinned and record its digest; pins that are there never change.

    Nothing is written anywhere but to the file that --lock names.
    """
    if modules:
        base = lock if lock.exists() else lockfile.go_modules_path()
        lockfile.load_go(base)
        lockfile.write(lock, lockfile.repin_go(base.read_text(encoding="utf-8"), paths.catalog("go")))
        typer.echo(lock)
        return
    content = lockfile.load(lock if lock.exists() else None)
    known = {entry.component for entry in content.artifacts}
    if unknown := sorted(set(component or ()) - known):
        raise ConfigError(f"--component {unknown[0]}: is not in the lock, which has {', '.join(sorted(known))}")
    client = network.client(network_of(inventory), ca_file)

    def save(so_far: Lock, entry: LockEntry) -> None:
        # After each: a run that is killed keeps what it has downloaded until then.
        lockfile.write(lock, lockfile.dump(so_far))
        typer.echo(f"pinned: {entry} {entry.sha256 or entry.digest}")

    lockfile.write(lock, lockfile.dump(content))
    updated, failed = pinning.update(content, arch.value if arch else None, component or (), client, save)
    typer.echo(
        f"{lock}: pinned {len(content.unpinned()) - len(updated.unpinned())}, unpinned {len(updated.unpinned())}"
    )
    for line in failed:
        typer.echo(f"not pinned: {line}")
    if failed:
        raise StrongroomError(f"{len(failed)} could not be pinned; the first: {failed[0]}")
