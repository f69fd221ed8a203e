"""Container images from files, without a registry: OCI image layout archives of one layer from scratch.

Formats: OCI image specification 1.1 (image-layout.md, config.md, manifest.md). containerd's import names the image by
the annotation ``io.containerd.image.name`` of the index's descriptor. The layer is not compressed: it goes over no
slow wire, and unpacking is what costs on a slow host.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from strongroom.fetch import tarball
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.fetch.tarball import Member

INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What programs expect of a root file system, and an empty image lacks.
BASE = (
    Member("tmp", 0o1777),
    Member("etc/passwd", data=b"root:x:0:0:root:/:/sbin/nologin\nnobody:x:65534:65534:nobody:/:/sbin/nologin\n"),
    Member("etc/group", data=b"root:x:0:\nnogroup:x:65534:\n"),
    Member("etc/nsswitch.conf", data=b"hosts: files dns\n"),
)


@dataclass(frozen=True)
class Recipe:
    """What goes into an image: its full reference with tag, architecture, files and process."""

    reference: str
    arch: str
    members: tuple[Member, ...]
    entrypoint: tuple[str, ...]
    user: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)


def descriptor(media_type: str, digest: str, size: int, **more: Any) -> dict[str, Any]:
    """An OCI content descriptor; ``digest`` is 64 hexadecimal digits, ``size`` bytes."""
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size, **more}


def canonical(value: Any) -> bytes:
    """JSON with sorted keys and no white space, so that equal content has equal digests."""
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def names(reference: str) -> dict[str, str]:
    """The annotations that give an index entry its name: containerd reads the first, other tools the second."""
    return {
        "io.containerd.image.name": reference,
        "org.opencontainers.image.ref.name": reference.rpartition(":")[2],
    }


def write_layout(out: Path, entry: dict[str, Any], blobs: Iterable[tuple[str, bytes | Path]]) -> None:
    """Write an OCI layout archive: one index entry, and the blobs as ``(hexadecimal digest, content)``."""
    index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}
    members = [
        Member("oci-layout", data=canonical({"imageLayoutVersion": "1.0.0"})),
        Member("index.json", data=canonical(index)),
    ]
    for digest, content in blobs:
        name = f"blobs/sha256/{digest}"
        members.append(Member(name, path=content) if isinstance(content, Path) else Member(name, data=content))
    with out.open("wb") as file:
        tarball.write(members, file)


def build(recipe: Recipe, out: Path) -> str:
    """Write the image as an OCI archive; the same recipe gives the same bytes.

    Returns:
        The manifest's digest (``sha256:...``), which is the image's digest in containerd after an import.
    """
    with tempfile.TemporaryDirectory(dir=out.parent) as folder:
        layer = Path(folder, "layer")
        with layer.open("wb") as file:
            tarball.write((*BASE, *recipe.members), file)
        layer_digest = sha256_file(layer)
        process = {"Entrypoint": list(recipe.entrypoint), "Env": [f"PATH={PATH}"], "WorkingDir": "/"}
        config = canonical(
            {
                "architecture": recipe.arch,
                "os": "linux",
                "config": {
                    **process,
                    **({"User": recipe.user} if recipe.user else {}),
                    **({"Labels": dict(recipe.labels)} if recipe.labels else {}),
                },
                "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
                "history": [{"created_by": "strongroom bundle build"}],
            }
        )
        manifest = canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": descriptor(CONFIG, sha256_bytes(config), len(config)),
                "layers": [descriptor(LAYER, layer_digest, layer.stat().st_size)],
            }
        )
        digest = sha256_bytes(manifest)
        platform = {"architecture": recipe.arch, "os": "linux"}
        entry = descriptor(MANIFEST, digest, len(manifest), platform=platform, annotations=names(recipe.reference))
        write_layout(out, entry, [(digest, manifest), (sha256_bytes(config), config), (layer_digest, layer)])
    return f"sha256:{digest}"
