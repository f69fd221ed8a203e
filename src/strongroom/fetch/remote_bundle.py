"""Fetch a bundle that another machine serves: its ``bundle.json`` by SHA-256, and by that every file of it.

What was fetched and verified when a run ended early lies in ``.making-<name>`` beside the folder, and is not fetched again.
"""

from __future__ import annotations

import re
from pathlib import Path
from urllib.parse import urlsplit

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError
from strongroom.fetch import bundle, contents, staging
from strongroom.fetch.bundle import MANIFEST
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.fetch.http import Client
from strongroom.fetch.serving import url_of
from strongroom.model.bundle import BundleManifest
from strongroom.report.progress import progress

#: A bundle.json of all Kata shims is about 1 MB; it is held in memory before it can be believed.
_LARGEST = 64 << 20


def fetch(url: str, digest: str, out: Path | None, client: Client) -> Path:
    """Fetch a bundle; it appears complete and verified, or not at all.

    Args:
        url: where ``bundle serve`` says that it is.
        digest: SHA-256 of ``bundle.json``, 64 hexadecimal digits, also with ``sha256:`` before them.
        out: the folder, which must not exist yet. None: below the cache, under the digest.

    Raises:
        ConfigError: the URL or the digest is none.
        StrongroomError: the server can't be reached or refuses, or any byte is another.
    """
    base, wanted = _base(url), _digest(digest)
    final = out or paths.cache_dir() / "bundles" / f"fetched-{wanted}"

    def fill(folder: Path) -> None:
        text, _ = client.get(f"{base}/{MANIFEST}", limit=_LARGEST)
        if (found := sha256_bytes(text)) != wanted:
            raise StrongroomError(
                f"{base}/{MANIFEST}: its SHA-256 is {found}, and {wanted} was asked for",
                hint="it is another bundle, or something between changes it; `bundle serve` says which it serves",
            )
        manifest = bundle.parse_manifest(text, f"{base}/{MANIFEST}")
        _download(manifest, base, folder, client)
        (folder / MANIFEST).write_bytes(text)
        contents.check(bundle.verify(folder))

    def usable(folder: Path) -> bool:
        return sha256_bytes((folder / MANIFEST).read_bytes()) == wanted and bool(bundle.verify(folder))

    return staging.appear(final, fill, usable if out is None else None, resume=True)


def _download(manifest: BundleManifest, base: str, folder: Path, client: Client) -> None:
    artifacts = folder / "artifacts"
    wanted = {f"artifacts/{one.file}": one for one in manifest.artifacts}
    _keep_only(folder, set(wanted))
    artifacts.mkdir(exist_ok=True)
    total = sum(one.size for one in manifest.artifacts)
    with progress.step(f"fetching {len(wanted)} artifacts, {total >> 20} MiB"):
        for name, one in wanted.items():
            path = folder / name
            if path.exists() and path.stat().st_size == one.size and sha256_file(path) == one.sha256:
                progress.say(f"{one.file}: there already")
                continue
            path.parent.mkdir(parents=True, exist_ok=True)
            client.fetch(f"{base}/{url_of(one.file)}", path, one.sha256, one.size, pinned_by=MANIFEST)
            if one.kind == "binary":
                path.chmod(0o755)
            progress.say(f"{one.file}: {one.size} bytes")


def _keep_only(folder: Path, names: set[str]) -> None:
    """Remove what an earlier run left and this bundle has not: another bundle's files, and halves."""
    for path in sorted(folder.rglob("*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()):
                path.rmdir()
        elif path.is_symlink() or str(path.relative_to(folder)) not in names:
            path.unlink()


def _digest(text: str) -> str:
    found = text.strip().lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{64}", found):
        raise ConfigError(
            f"--digest: found {text!r}, allowed is the SHA-256 of {MANIFEST}, 64 hexadecimal digits",
            hint="`strongroom bundle serve`, `show` and `verify` print it where the bundle is",
        )
    return found


def _base(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not (parts.query or parts.fragment)
        _ = parts.port
    except ValueError:
        good, parts = False, urlsplit("")
    if not good or re.search(r"[\s\0]", url):
        raise ConfigError(f"URL: found {url!r}, allowed is http://HOST:PORT or https://HOST:PORT, as serve prints it")
    if parts.username is not None or parts.password is not None:
        raise ConfigError("URL: has a user name or password in it, which would stand in the list of processes")
    return url.rstrip("/").removesuffix(f"/{MANIFEST}")
