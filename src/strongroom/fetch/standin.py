"""A bundle from Go modules whose Kata stand-in has another version, so that lab hosts can be upgraded.

Everything else is the default bundle's, file by file. The stand-in is compiled from the same source with another build id, so
that two versions are two programs, as those of two releases are, and it has a version file, as a release has.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from strongroom import paths
from strongroom.errors import ConfigError
from strongroom.fetch import bundle, go_modules, staging
from strongroom.fetch.go_recipe import GoRecipe, recipe
from strongroom.fetch.hashing import sha256_bytes
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import Arch, BundleManifest

COMPONENT = "kata"
VERSION_FILE = "opt/kata/VERSION"
_SUFFIX = "-standin"
_PATTERN = re.compile(r"[0-9]+(\.[0-9]+){2}" + _SUFFIX)


def build(
    versions: dict[str, str],
    out: Path | None = None,
    network: Mapping[str, str] | None = None,
    arch: Arch | None = None,
    sysroot: Path | None = None,
) -> Path:
    """The bundle with these versions, built or found in the cache; the default one where none is asked for.

    Args:
        versions: component -> version, where not the lock's.
        out, network, arch, sysroot: as of :func:`strongroom.fetch.go_modules.build_from_go_modules`.

    Raises:
        ConfigError: a component that is built in one version only, or a version that does not say what it is.
        StrongroomError: as :func:`strongroom.fetch.go_modules.build_from_go_modules`.
    """
    version = _wanted(versions)
    if out is not None:
        staging.refuse_existing(out)
    base = go_modules.build_from_go_modules(network=network, arch=arch, sysroot=sysroot)
    if version is None or version == bundle.load(base).manifest.of(COMPONENT).version:
        return base if out is None else bundle.copy(base, out)
    source = recipe(network=network, arch=arch, sysroot=sysroot)
    digest = sha256_bytes(f"{source.digest}\n{COMPONENT} {version}\n".encode())
    wanted = replace(source, digest=f"sha256:{digest}")
    final = paths.cache_dir() / "bundles" / digest
    staging.appear(
        final, lambda folder: _build_into(wanted, base, version, folder),
        lambda folder: go_modules.usable(folder, wanted.digest),
    )  # fmt: skip
    return final if out is None else bundle.copy(final, out)


def _wanted(versions: dict[str, str]) -> str | None:
    if other := sorted(set(versions) - {COMPONENT}):
        raise ConfigError(
            f"--set {other[0]}={versions[other[0]]}: found {other[0]!r}, allowed with --from go-modules is {COMPONENT} alone:"
            " everything else is built in the one version that go-modules.lock pins"
        )
    version = versions.get(COMPONENT)
    if version is not None and not _PATTERN.fullmatch(version):
        raise ConfigError(
            f"--set {COMPONENT}={version}: found {version!r}, allowed is a version with {_SUFFIX} behind it, such as"
            f" 4.2.0{_SUFFIX}: what is built here is a stand-in under any number"
        )
    return version


def _build_into(wanted: GoRecipe, base: Path, version: str, folder: Path) -> None:
    default = bundle.load(base)
    component = next(one for one in wanted.lock.components if one.component == COMPONENT)
    module = wanted.lock.module(component.module)
    module = module.model_copy(update={"ldflags": (*module.ldflags, f"-buildid=strongroom/{version}")})
    modules = tuple(module if one.name == module.name else one for one in wanted.lock.modules)
    (folder / "artifacts").mkdir()
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        made = go_modules.build_component(
            replace(wanted, lock=wanted.lock.model_copy(update={"modules": modules})),
            component.model_copy(update={"version": version}),
            Path(work, COMPONENT),
            folder,
            [Member(VERSION_FILE, 0o644, data=f"{version}\n".encode())],
        )
    artifacts = tuple(made if one.component == COMPONENT else one for one in default.manifest.artifacts)
    for one in artifacts:
        if one is not made:
            shutil.copyfile(default.path(one), folder / "artifacts" / one.file)
    manifest = BundleManifest(
        arch=default.manifest.arch, origin=default.manifest.origin, digest=wanted.digest, artifacts=artifacts
    )
    bundle.write_manifest(manifest, folder)
