"""Kata on a host: which shims it gets, and how the archives of a release become one tree with their configurations.

Until 4.0 one archive, kata-static, has both runtimes; from 4.1 on it has the Rust one, and kata-go-static the Go one with
its guest images. Which archive has what is read from the bundle's manifest, so both generations take the same way.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path

from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import tarball
from strongroom.model.bundle import Artifact, BundledFile
from strongroom.model.distribution import Distribution
from strongroom.model.explain import nearest
from strongroom.model.kata_settings import ShimSettings
from strongroom.model.shims import Shim
from strongroom.phases import snapshots
from strongroom.phases.base import Context, template
from strongroom.phases.choice import refuse_other_arch
from strongroom.plan.artifacts import Component, versions_folder
from strongroom.plan.files import File, Link
from strongroom.plan.kata import Copy, needs_base, tables
from strongroom.plan.resource import Resource

ARCHIVES = ("kata", "kata-go")
"""Components of a bundle that make up Kata; the first has a version of its own, the others follow it."""
IN_USE = "/opt/kata"
"""The link to the version in use; Kata's configurations name everything below it."""


def settings_of(context: Context, shim: Shim) -> ShimSettings:
    """What the inventory says of a shim."""
    return context.inventory.cluster.runtime.settings.get(shim.name, ShimSettings())


def archives(context: Context, shims: Sequence[Shim]) -> tuple[Artifact, ...]:
    """The archives that these shims need: the first always, and another where one of their runtimes is only there.

    Raises:
        ConfigError: the bundle has no archive with a shim's runtime or configuration, or has archives that don't belong
            together.
    """
    manifest = context.bundle.manifest
    there = {artifact.component: artifact for artifact in manifest.artifacts}
    first = manifest.of(ARCHIVES[0])
    found = [first]
    for shim in shims:
        wanted = shim.runtime_path.removeprefix("/opt/kata/")
        holder = next((there[one] for one in ARCHIVES if one in there and wanted in _paths(there[one])), None)
        if holder is None:
            raise ConfigError(
                f"cluster: runtime.shims: {shim.name} needs {wanted}, which the bundle's {_names(there)} {first.version}"
                f" {'does' if 'kata-go' not in there else 'do'} not have",
                hint=f"from Kata 4.1 on the Go runtime is in kata-go; take {shim.base}-runtime-rs, or a bundle with kata-go"
                if shim.runtime == "go" and "kata-go" not in there
                else None,
            )
        if holder not in found:
            found.append(holder)
    files = merged(found)
    for shim in shims:
        if shim.packaged not in files and shim.in_place not in files:
            shipped = sorted(
                path.rpartition("configuration-")[2].removesuffix(".toml")
                for path in files
                if path.endswith(".toml") and "configuration-" in path
            )
            raise ConfigError(
                f"cluster: runtime.shims: {shim.name}: Kata {first.version} of the bundle has no {shim.packaged}; it has"
                f" configurations of {', '.join(dict.fromkeys(shipped)) or 'none'}{nearest(shim.base, shipped)}"
            )
    return tuple(found)


def refuse_unfit(context: Context) -> None:
    """What the bundle has nothing for; where it has no Kata, that is for the phase that installs it to say.

    Raises:
        ConfigError: a shim is not made for the bundle's architecture (a stand-in starts no guest, and is for every one), or
            as :func:`archives`.
    """
    snapshots.refuse_unfit(context)
    first = next((one for one in context.bundle.manifest.artifacts if one.component == ARCHIVES[0]), None)
    if first is None:
        return
    if not first.stand_in:
        refuse_other_arch(context.shims, context.bundle.manifest.arch)
    for host in context.inventory.runtime_hosts:
        archives(context, context.shims_of(host))


def _paths(artifact: Artifact) -> frozenset[str]:
    return frozenset(entry.path for entry in artifact.files)


def _names(there: dict[str, Artifact]) -> str:
    return " and ".join(one for one in ARCHIVES if one in there)


def merged(parts: Sequence[Artifact]) -> dict[str, BundledFile]:
    """The files of archives that are unpacked into one tree, by path.

    Raises:
        ConfigError: they are of two versions, or have a file of the same name that is not the same.
    """
    files: dict[str, BundledFile] = {}
    for part in parts:
        if part.version != parts[0].version:
            raise ConfigError(
                f"bundle: {part.component} is {part.version} and {parts[0].component} is {parts[0].version}: both make up"
                " one Kata, and have to be of one release",
                hint=f"strongroom bundle create --set {part.component}={parts[0].version}",
            )
        for entry in part.files:
            if files.setdefault(entry.path, entry) != entry:
                raise ConfigError(
                    f"bundle: {entry.path} of {part.component} {part.version} is not the one of {parts[0].component}; they"
                    " are not of one build, and which of them a guest would start from is nobody's choice",
                    hint="make the bundle again from the release's own archives",
                )
    return files


def resources(context: Context, shims: Sequence[Shim]) -> list[Resource]:
    """Kata with the configurations of these shims, in a prefix of its version, and the link that makes it the one in use."""
    parts = archives(context, shims)
    files = merged(parts)
    others = tuple((part, context.bundle.path(part)) for part in parts[1:])
    kata = Component(parts[0], context.bundle.path(parts[0]), others)
    wanted: list[Resource] = [kata]
    for shim in shims:
        wanted += _configuration(context, shim, parts, files, kata.prefix)
    return [*wanted, Link(IN_USE, kata.prefix, versions_folder(parts[0]))]


def _configuration(
    context: Context, shim: Shim, parts: Sequence[Artifact], files: dict[str, BundledFile], prefix: str
) -> list[Resource]:
    shipped = shim.in_place in files
    source = shim.in_place if shipped else shim.packaged
    settings = settings_of(context, shim)
    base = ""
    if needs_base(shim, settings):
        holder = next(part for part in parts if source in _paths(part))
        base = kernel_params(context.bundle.path(holder), holder, source, shim.hypervisor)
    said = tables(shim, settings, base)
    root = context.inventory.cluster.kubernetes.of.kubelet_root
    if shim.runtime == "go" and root != Distribution.kubelet_root:
        # Where the Go runtime looks for volumes of pods (kata-deploy 4.1.0 writes it for k0s, 22-k0s-kubelet-root.toml).
        said.setdefault("runtime", {})["kubelet_root_dir"] = root
    out: list[Resource] = []
    if not shipped:
        out.append(Copy(f"{prefix}/{shim.in_place}", f"{prefix}/{source}", str(files[source].sha256)))
    # Also without a word in it, or settings that were taken back would stay.
    if said or not shipped:
        out.append(File(f"{prefix}/{shim.drop_in}", template("kata/50-strongroom.toml.j2", shim=shim, tables=said)))
    return out


@cache
def kernel_params(archive: Path, artifact: Artifact, path: str, hypervisor: str) -> str:
    """The guest kernel's parameters as a release ships them in one of its configurations.

    Raises:
        StrongroomError: the configuration in the archive is none.
    """
    wanted = next(entry for entry in artifact.files if entry.path == path)
    content = tarball.member(archive, artifact.strip, artifact.subdir, wanted)
    try:
        table = tomllib.loads(content.decode()).get("hypervisor", {}).get(hypervisor, {})
    except (ValueError, AttributeError) as error:
        raise StrongroomError(f"{archive.name}: {path}: not valid TOML: {error}") from error
    return str(table.get("kernel_params", ""))


def pinned(context: Context, shim: Shim) -> tuple[str, bool]:
    """The sum that the bundle pins for a shim's runtime, and whether that is a stand-in."""
    below = shim.runtime_path.removeprefix("/opt/kata/")
    part = next(part for part in archives(context, [shim]) if below in _paths(part))
    return str(next(entry.sha256 for entry in part.files if entry.path == below)), part.stand_in
