"""Pull an image by digest from an OCI registry into an OCI layout archive, every byte verified on its way in.

Protocol: OCI distribution specification 1.1, with the Bearer token flow that registries have in common. The digest of
the manifest (or index) is the pin; it has the digests of all else.
"""

from __future__ import annotations

import json
import re
import tempfile
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from strongroom.errors import StrongroomError
from strongroom.fetch.hashing import sha256_bytes
from strongroom.fetch.http import Client, RefusedError
from strongroom.fetch.oci_image import INDEX, MANIFEST, descriptor, names, write_layout
from strongroom.model.network import api_root
from strongroom.report.progress import progress

T = TypeVar("T")
_INDEXES = (INDEX, "application/vnd.docker.distribution.manifest.list.v2+json")
_MANIFESTS = (MANIFEST, "application/vnd.docker.distribution.manifest.v2+json")
_CHALLENGE = re.compile(r'(\w+)="([^"]*)"')
_LOOPBACK = ("localhost", "127.0.0.1", "[::1]")


@dataclass
class Repository:
    """A repository of a registry, and the token that it asked for. Loopback registries speak http, all others https."""

    host: str
    name: str
    client: Client
    mirror: str | None = None
    """URL that is asked in the registry's place."""
    _token: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, reference: str, client: Client) -> tuple[Repository, str]:
        """Split ``host[:port]/name:tag`` into the repository and the tag."""
        rest, _, tag = reference.rpartition(":")
        host, _, name = rest.partition("/")
        return cls(host, name, client), tag

    @classmethod
    def places(cls, reference: str, client: Client) -> tuple[list[Repository], str]:
        """The repository at each of the registry's mirrors, then at the registry itself; and the tag."""
        own, tag = cls.of(reference, client)
        mirrors = [cls(own.host, own.name, client, mirror) for mirror in client.mirrors.get(own.host, ())]
        return [*mirrors, own], tag

    def _url(self, kind: str, reference: str) -> str:
        if self.mirror is not None:
            return f"{api_root(self.mirror)}/{self.name}/{kind}/{reference}"
        scheme = "http" if self.host.rpartition(":")[0] in _LOOPBACK else "https"
        return f"{scheme}://{self.host}/v2/{self.name}/{kind}/{reference}"

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """The bytes of a manifest or index by tag or digest, and its media type; a digest is verified."""
        url = self._url("manifests", reference)
        accept = {"Accept": ", ".join((*_INDEXES, *_MANIFESTS))}
        body, headers = self._with_token(lambda token: self.client.get(url, {**accept, **token}))
        found = f"sha256:{sha256_bytes(body)}"
        if reference.startswith("sha256:") and found != reference:
            raise StrongroomError(f"{url}: its digest is {found}, and {reference} was asked for")
        return body, str(_object(body, url).get("mediaType") or headers.get_content_type())

    def blob(self, digest: str, size: int, out: Path) -> None:
        """Download a blob; verified before it is there."""
        url, sha256 = self._url("blobs", digest), _hex(digest)
        self._with_token(lambda token: self.client.fetch(url, out, sha256, size, token))

    def _with_token(self, request: Callable[[dict[str, str]], T]) -> T:
        """Ask with the token at hand; when the registry wants another (none yet, or too old), get one and ask again."""
        try:
            return request(self._token)
        except RefusedError as refused:
            if refused.status != 401:
                raise
            self._login(refused.headers.get("WWW-Authenticate", ""))
            return request(self._token)

    def _login(self, challenge: str) -> None:
        fields = dict(_CHALLENGE.findall(challenge))
        if not challenge.lower().startswith("bearer ") or "realm" not in fields:
            raise StrongroomError(
                f"{self.host}: asks for {challenge.split(' ')[0] or 'no'} authentication, not for Bearer"
            )
        query = {key: fields[key] for key in ("service", "scope") if key in fields}
        url = f"{fields['realm']}?{urllib.parse.urlencode(query)}"
        # http only where the registry itself speaks it, and nothing else ever: urllib opens file: as well.
        if not url.startswith(("https:", f"{self._url('', '').partition(':')[0]}:")):
            raise StrongroomError(f"{self.host}: sends for its token to {fields['realm']}, which is not https")
        answer = _object(self.client.get(url)[0], url)
        token = answer.get("token") or answer.get("access_token")
        if not isinstance(token, str) or not token:
            raise StrongroomError(f"{url}: gave no token")
        self._token = {"Authorization": f"Bearer {token}"}


def _object(body: bytes, url: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise StrongroomError(f"{url}: is no JSON") from error
    if not isinstance(content, dict):
        raise StrongroomError(f"{url}: is no JSON object")
    return content


def _tables(content: dict[str, Any], key: str, where: str) -> list[dict[str, Any]]:
    """A list of objects; none where the key isn't there."""
    found = content.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise StrongroomError(f"{where}: its {key} are no list of objects")
    return found


def _hex(digest: object) -> str:
    if not isinstance(digest, str) or not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise StrongroomError(f"image: {digest!r} is no SHA-256 digest")
    return digest.removeprefix("sha256:")


def resolve(reference: str, arch: str, client: Client) -> str:
    """The digest (``sha256:...``) that a tag has now, and by which an image of the architecture can be had.

    Raises:
        StrongroomError: unreachable, refused, no image, or none of this architecture.
    """

    def ask(place: Repository) -> str:
        digest = f"sha256:{sha256_bytes(place.manifest(tag)[0])}"
        _for_platform(place, digest, arch)  # a pin never changes, so nothing else than an image may become one
        return digest

    places, tag = Repository.places(reference, client)
    return _first(places, ask)


def _first(places: Sequence[Repository], ask: Callable[[Repository], T]) -> T:
    """What the first place gives that can; the last is the registry, and what it refuses is refused."""
    for place in places[:-1]:
        try:
            return ask(place)
        except StrongroomError as error:
            progress.say(f"the mirror {place.mirror} of {place.host} is of no help: {error}")
    return ask(places[-1])


def _for_platform(repository: Repository, digest: str, arch: str) -> tuple[str, bytes, str]:
    """Digest, bytes and media type of one architecture's manifest, through the index if there is one."""
    body, media_type = repository.manifest(digest)
    if media_type in _INDEXES:
        where = f"{repository.host}/{repository.name}@{digest}"
        entries = [(entry.get("platform"), entry) for entry in _tables(_object(body, where), "manifests", where)]
        wanted = {"os": "linux", "architecture": arch}
        fitting = [
            entry for platform, entry in entries if isinstance(platform, dict) and wanted.items() <= platform.items()
        ]
        if not fitting:
            raise StrongroomError(f"{where}: has no image for linux/{arch}")
        digest = f"sha256:{_hex(fitting[0].get('digest'))}"
        body, media_type = repository.manifest(digest)
    if media_type not in _MANIFESTS:
        raise StrongroomError(f"{repository.host}/{repository.name}@{digest}: is {media_type}, not an image's manifest")
    return digest, body, media_type


def pull(reference: str, digest: str, arch: str, out: Path, client: Client) -> str:
    """Write one architecture of an image as an OCI layout archive that ``ctr images import`` names ``reference``.

    Args:
        reference: ``host/name:tag``; the tag only names, it is not asked for.
        digest: the pin, of the manifest or the index (``sha256:...``).

    Returns:
        Digest of the architecture's manifest, which containerd shows after an import.

    Raises:
        StrongroomError: unreachable, refused, not this architecture, or any byte differs from its digest.
    """
    places, _ = Repository.places(reference, client)
    return _first(places, lambda place: _pull(place, reference, digest, arch, out))


def _pull(repository: Repository, reference: str, digest: str, arch: str, out: Path) -> str:
    manifest_digest, manifest, media_type = _for_platform(repository, digest, arch)
    content = _object(manifest, reference)
    parts = [content.get("config"), *_tables(content, "layers", reference)]
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        blobs: dict[str, bytes | Path] = {_hex(manifest_digest): manifest}
        for part in parts:
            if not isinstance(part, dict) or not isinstance(part.get("size"), int):
                raise StrongroomError(f"{reference}: its manifest has no proper list of config and layers")
            name = _hex(part.get("digest"))
            if name not in blobs:  # equal layers are there once
                blobs[name] = Path(folder, name)
                repository.blob(str(part["digest"]), part["size"], Path(folder, name))
        platform = {"architecture": arch, "os": "linux"}
        entry = descriptor(
            media_type, _hex(manifest_digest), len(manifest), platform=platform, annotations=names(reference)
        )
        write_layout(out, entry, blobs.items())
    return manifest_digest
