"""Build a bundle from Go modules: the road for a lab that reaches a Go module proxy and no release site.

The bundle lies in the cache under its recipe's digest, so the second build returns at once. Everything is built in a
temporary folder beside it and renamed when complete; two builds at once do the work once.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.fetch import bundle, contents, go_chart, oci_image, staging, tarball
from strongroom.fetch.go_recipe import GoRecipe, recipe
from strongroom.fetch.hashing import sha256_file
from strongroom.fetch.tarball import Member
from strongroom.model.bundle import Arch, Artifact, BundledFile, BundleManifest
from strongroom.model.lock import GoComponent, GoModule
from strongroom.report.progress import progress


def build_from_go_modules(
    out: Path | None = None,
    network: Mapping[str, str] | None = None,
    arch: Arch | None = None,
    sysroot: Path | None = None,
) -> Path:
    """Build, or find in the cache, the bundle of an architecture.

    Args:
        out: where to copy it to; it must not exist yet. None: it stays in the cache.
        network: variables of proxies and of a private CA, for Go's toolchain.
        arch: None is this machine's; for another one ``sysroot`` has its C libraries.

    Returns:
        The bundle's folder. A bundle found in the cache was checked by names and sizes alone; whoever installs from it
        calls :func:`strongroom.fetch.bundle.verify`.

    Raises:
        StrongroomError: a tool is missing, a pin differs, a build fails.
    """
    if out is not None:
        staging.refuse_existing(out)
    wanted = recipe(network=network, arch=arch, sysroot=sysroot)
    final = paths.cache_dir() / "bundles" / wanted.digest.removeprefix("sha256:")
    staging.appear(final, lambda folder: _build_into(wanted, folder), lambda folder: usable(folder, wanted.digest))
    return final if out is None else bundle.copy(final, out)


def usable(folder: Path, digest: str) -> bool:
    """Whether a complete bundle of this recipe is there; a damaged one is removed, it can be built again."""
    if not folder.exists():
        return False
    try:
        if bundle.load(folder).manifest.digest == digest:
            return True
        reason = "it is of another recipe"
    except StrongroomError as error:
        reason = str(error)
    progress.say(f"building the cached bundle again: {reason}")
    shutil.rmtree(folder)
    return False


def _build_into(wanted: GoRecipe, folder: Path) -> None:
    artifacts = []
    (folder / "artifacts").mkdir()
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        for component in wanted.lock.components:
            with progress.step(f"building {component.component} {component.version}"):
                artifacts.append(build_component(wanted, component, Path(work, component.component), folder))
    _check_image_names(wanted, artifacts, folder)
    manifest = BundleManifest(arch=wanted.arch, origin="go-modules", digest=wanted.digest, artifacts=tuple(artifacts))
    bundle.write_manifest(manifest, folder)
    contents.check(bundle.load(folder))


def _check_image_names(wanted: GoRecipe, artifacts: list[Artifact], folder: Path) -> None:
    """kubeadm asks for images by names of its own making: those have to be the ones in the bundle.

    Raises:
        StrongroomError: an image that kubeadm will ask for isn't there.
    """
    by_name = {artifact.component: artifact for artifact in artifacts}
    kubeadm, apiserver = by_name["kubeadm"], by_name["kube-apiserver"]
    repository = str(apiserver.image).rpartition("/")[0]
    arguments = ["--kubernetes-version", f"v{kubeadm.version}", "--image-repository", repository]
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        program = folder / "artifacts" / kubeadm.file
        if not wanted.here:  # the same source, built so that it can be asked here
            component = next(one for one in wanted.lock.components if one.component == "kubeadm")
            module, package = wanted.lock.module(component.module), component.binaries[0].package
            program = wanted.compile(module, package, Path(work, "kubeadm"), here=True)
        command = [str(program), "config", "images", "list", *arguments]
        asked = subprocess.run(command, capture_output=True, text=True, check=False)
    names = asked.stdout.split()
    if asked.returncode or not names:
        raise StrongroomError(
            f"kubeadm config images list: ended with {asked.returncode}: {asked.stderr.strip()[-200:]}"
        )
    if missing := sorted(set(names) - {str(artifact.image) for artifact in artifacts}):
        raise StrongroomError(
            f"kubeadm {kubeadm.version} asks for the image {missing[0]}, and go-modules.lock makes none"
        )


def build_component(
    wanted: GoRecipe, component: GoComponent, work: Path, folder: Path, extra: Sequence[Member] = ()
) -> Artifact:
    """One component's artifact below ``folder``; ``extra`` is packed with what the lock names."""
    work.mkdir(parents=True)
    if component.chart is not None:
        return go_chart.build(wanted, component, work, folder)
    module = wanted.lock.module(component.module)
    members = [
        Member(binary.path, 0o755, path=wanted.compile(module, binary.package, work / str(number)))
        for number, binary in enumerate(component.binaries)
    ]
    for file in component.files:
        content = wanted.root / file.file if file.file else None
        members.append(Member(file.path, 0o644, path=content) if content else Member(file.path, 0o755))
    members += extra
    return _pack(wanted, module, component, members, folder)


def _pack(wanted: GoRecipe, module: GoModule, component: GoComponent, members: list[Member], folder: Path) -> Artifact:
    """Turn built files into the component's one artifact; binaries move, so nothing is kept twice."""
    name = f"{component.component}-{component.version}-{wanted.arch}"
    source = f"{component.source or module.source} (built from Go modules with {wanted.toolchain.version}"
    files: tuple[BundledFile, ...] = ()
    image = image_digest = None
    if component.kind == "binary":
        path = folder / "artifacts" / name
        assert members[0].path is not None
        members[0].path.rename(path)
        path.chmod(0o755)
        files = (BundledFile(path=members[0].name, sha256=sha256_file(path), mode="0755"),)
    elif component.image is None:
        path = folder / "artifacts" / f"{name}.tar"
        with path.open("wb") as file:
            tarball.write(members, file)
        files = tarball.listing(path, component.strip, component.subdir)
    else:
        path = folder / "artifacts" / f"{name}.oci.tar"
        if component.image.with_nft:
            members += wanted.nft.members
            source += f"; with nft of the package nftables {wanted.nft.version}"
        image = component.image.reference
        image_digest = oci_image.build(
            oci_image.Recipe(image, wanted.arch, tuple(members), component.image.entrypoint, component.image.user), path
        )
    for member in members:
        if member.path is not None and member.path.is_relative_to(folder.parent):
            member.path.unlink(missing_ok=True)
    return wanted.artifact(
        component,
        path,
        f"{source}; {wanted.compiler})" if module.cgo else f"{source})",
        stand_in=component.stand_in,
        strip=component.strip,
        subdir=component.subdir,
        files=files,
        image=image,
        image_digest=image_digest,
    )
