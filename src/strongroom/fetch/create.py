"""Make a bundle from upstream's releases: everything that the lock names, each byte checked against its pin."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from strongroom import paths
from strongroom.errors import ConfigError
from strongroom.fetch import bundle, chart, contents, lockfile, registry, staging, tarball
from strongroom.fetch.go_toolchain import machine_arch
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.fetch.http import Client
from strongroom.model.bundle import Artifact, BundledFile, BundleManifest
from strongroom.model.lock import Lock, LockEntry
from strongroom.report.progress import progress

#: `kubernetes=1.36.4` and `cilium=1.19.6` stand for these: they are released together.
TOGETHER = {
    "cilium": ("cilium", "cilium-agent", "cilium-operator"),
    "kubernetes": (
        "kubelet", "kubeadm", "kubectl", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy",
    ),
}  # fmt: skip
_AT_ONCE = 4


def parse_versions(settings: Sequence[str]) -> dict[str, str]:
    """``component=version`` arguments as a dict; ``kubernetes=...`` and the like set all of :data:`TOGETHER`.

    Raises:
        ConfigError: not of that form.
    """
    versions = {}
    for setting in settings:
        component, equals, version = setting.partition("=")
        if not component or not equals or not version:
            raise ConfigError(f"--set {setting}: is not of the form component=version")
        versions.update(dict.fromkeys(TOGETHER.get(component, (component,)), version))
    return versions


def selection(lock: Lock, arch: str, versions: dict[str, str], where: str) -> tuple[LockEntry, ...]:
    """What goes into the bundle.

    Raises:
        ConfigError: unknown component or version, or an entry has no pin yet.
    """
    chosen = lock.select(arch, versions)
    if unpinned := [entry for entry in chosen if not entry.pinned]:
        words = " ".join(f"--component {entry.component}" for entry in unpinned)
        raise ConfigError(
            f"{where}: {len(unpinned)} of {len(chosen)} artifacts are unpinned: {', '.join(map(str, unpinned))}",
            hint=f"`strongroom lock update --lock FILE --arch {arch} {words}` pins them on a machine with a network; then"
            " `bundle create --lock FILE`",
        )
    return chosen


def create(
    out: Path | None = None,
    lock_path: Path | None = None,
    arch: str | None = None,
    versions: dict[str, str] | None = None,
    client: Client | None = None,
) -> Path:
    """Download a bundle; it appears complete, or not at all.

    Args:
        out: the folder, which must not exist yet. None: below the cache, under the digest of what is selected.
        lock_path: another lock than the packaged one.
        arch: ``amd64`` or ``arm64``; None is this machine's.
        versions: component -> version, where not the lock's default, and for components that it has no default of.

    Raises:
        ConfigError: a bad lock, an unknown version, an unpinned artifact.
        StrongroomError: a download failed or has another digest; a chart is wanted and there is no ``helm``.
    """
    lock, wanted_arch = lockfile.load(lock_path), arch or machine_arch()
    chosen = selection(lock, wanted_arch, versions or {}, (lock_path or lockfile.artifacts_path()).name)
    lines = [entry.model_dump_json() for entry in chosen]
    lines += [sha256_file(chart.values(entry.component)) for entry in chosen if entry.kind == "manifest"]
    digest = sha256_bytes("".join(f"{line}\n" for line in lines).encode())
    final = out or paths.cache_dir() / "bundles" / digest

    def fill(folder: Path) -> None:
        (folder / "artifacts").mkdir()
        artifacts = _download_all(chosen, folder / "artifacts", client or Client())
        chart.check_images(artifacts, folder / "artifacts")
        manifest = BundleManifest.model_validate(
            {"arch": wanted_arch, "origin": "upstream", "digest": f"sha256:{digest}", "artifacts": artifacts}
        )
        bundle.write_manifest(manifest, folder)
        with progress.step("reading what was downloaded"):
            contents.check(bundle.load(folder))

    def usable(folder: Path) -> bool:
        return bundle.load(folder).manifest.digest == f"sha256:{digest}"

    return staging.appear(final, fill, usable if out is None else None)


def _download_all(chosen: Sequence[LockEntry], folder: Path, client: Client) -> tuple[Artifact, ...]:
    helm = chart.helm_on_path() if any(entry.kind == "manifest" for entry in chosen) else ""
    kubernetes = next((entry.version for entry in chosen if entry.component == "kube-apiserver"), "")
    with progress.step(f"downloading {len(chosen)} artifacts"), ThreadPoolExecutor(_AT_ONCE) as pool:
        futures = [
            pool.submit(_rendered, entry, folder, client, helm, kubernetes)
            if entry.kind == "manifest"
            else pool.submit(_picked if entry.only else _download, entry, folder, client)
            for entry in chosen
        ]
        try:
            return tuple(future.result() for future in futures)
        finally:
            for future in futures:
                future.cancel()


def _rendered(entry: LockEntry, folder: Path, client: Client, helm: str, kubernetes: str) -> Artifact:
    """Download a chart and render it; the chart itself doesn't go into the bundle."""
    assert entry.url is not None
    assert entry.sha256 is not None
    path = folder / f"{entry.component}-{entry.version}-{entry.arch}.yaml"
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        archive = Path(work, f"{entry.component}-{entry.version}{_suffix(entry.url)}")
        client.fetch(entry.url, archive, entry.sha256, entry.size)
        chart.render(helm, archive, entry.component, kubernetes, path)
    progress.say(f"{entry}: {path.stat().st_size} bytes, rendered for Kubernetes {kubernetes}")
    return _listed(entry, path, f" (chart, rendered for Kubernetes {kubernetes})")


def _picked(entry: LockEntry, folder: Path, client: Client) -> Artifact:
    """Download an archive and keep the files of it that are wanted; the rest doesn't go into the bundle."""
    assert entry.url is not None
    assert entry.sha256 is not None
    path = folder / f"{entry.component}-{entry.version}-{entry.arch}.tar"
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        archive = Path(work, f"{entry.component}-{entry.version}{_suffix(entry.url)}")
        client.fetch(entry.url, archive, entry.sha256, entry.size)
        tarball.pick(archive, entry.prefix, entry.only, path)
    progress.say(f"{entry}: {path.stat().st_size} bytes, {len(entry.only)} files of {Path(entry.url).name}")
    files = tarball.listing(path, 0, entry.subdir)
    return _listed(entry, path, f" ({len(entry.only)} files of {Path(entry.url).name})", files=files)


def _download(entry: LockEntry, folder: Path, client: Client) -> Artifact:
    strip, files, image_digest = 0, tuple[BundledFile, ...](), None
    if entry.kind == "image":
        assert entry.image is not None
        assert entry.digest is not None
        path = folder / f"{entry.component}-{entry.version}-{entry.arch}.oci.tar"
        image_digest = registry.pull(entry.image, entry.digest, entry.arch, path, client)
    else:
        assert entry.url is not None
        assert entry.sha256 is not None
        suffix = "" if entry.kind == "binary" else _suffix(entry.url)
        path = folder / f"{entry.component}-{entry.version}-{entry.arch}{suffix}"
        client.fetch(entry.url, path, entry.sha256, entry.size)
        if entry.kind == "binary":
            path.chmod(0o755)
            files = (BundledFile(path=f"bin/{entry.component}", sha256=entry.sha256, mode="0755"),)
        else:
            strip = tarball.strip_for(path, entry.prefix)
            files = tarball.listing(path, strip, entry.subdir)
    progress.say(f"{entry}: {path.stat().st_size} bytes")
    return _listed(entry, path, "", strip=strip, files=files, image_digest=image_digest)


def _listed(entry: LockEntry, path: Path, how: str, **more: Any) -> Artifact:
    return Artifact(
        component=entry.component,
        version=entry.version,
        arch=entry.arch,
        kind=entry.kind,
        file=path.name,
        size=path.stat().st_size,
        sha256=sha256_file(path),
        licence=entry.licence,
        source=entry.source + how,
        stand_in=entry.stand_in,
        subdir=entry.subdir,
        image=entry.image,
        **more,
    )


def _suffix(url: str) -> str:
    """``.tar.gz``, ``.tgz``, ``.tar.zst``: what a host's tar goes by."""
    name = Path(urlsplit(url).path)
    return "".join(name.suffixes[-2:]) if name.suffixes[-2:-1] == [".tar"] else name.suffix
