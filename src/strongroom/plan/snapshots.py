"""The snapshotter of a handler: nydus, for images that are pulled inside the guest.

Kata's confidential shims are made for it (kata-containers 4.1.0, kata-deploy's values.yaml): it hands the image's name through
to the guest in place of layers. It is a program of its own beside containerd, which finds it by a socket; so a handler that
names it where it doesn't run starts no pod.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from strongroom.model.shims import Shim
from strongroom.plan import containerd
from strongroom.plan.containerd import CONFIG
from strongroom.plan.registration import Registration
from strongroom.plan.resource import Observed, Step
from strongroom.plan.toml_settings import Setting, merge
from strongroom.plan.toml_text import Path, parse

COMPONENT = "nydus-snapshotter"
"""Of a bundle; its archive has the two programs below."""
PROGRAM, OVERLAY = "bin/containerd-nydus-grpc", "bin/nydus-overlayfs"
NAME = "strongroom-nydus"
ROOT = f"/var/lib/{NAME}"
SOCKET = f"/run/{NAME}/containerd-nydus-grpc.sock"
UNIT = f"{NAME}.service"
SETTINGS = f"/etc/{NAME}.toml"


def needing(shims: Sequence[Shim]) -> tuple[Shim, ...]:
    """The shims that are made for nydus."""
    return tuple(shim for shim in shims if shim.snapshotter == "nydus")


def settings(document: Mapping[str, Any], shims: Sequence[Shim]) -> list[Setting]:
    """What containerd is told of the snapshotters of these shims, where a configuration of the document's version has it
    (kata-deploy 4.1.0, binary/src/runtime/containerd.rs and artifacts/snapshotters.rs).

    From version 3 on the image service is a plugin of its own, and pulls for a handler with its snapshotter only if it is told
    so as well.
    """
    names = {shim.handler: NAME if shim.snapshotter == "nydus" else shim.snapshotter for shim in shims}
    names = {handler: name for handler, name in names.items() if name}
    version = document.get("version", 0)
    split = isinstance(version, int) and version > 2
    runtime: Path = containerd.schema_of(document).runtime
    images: Path = ("plugins", "io.containerd.cri.v1.images") if split else (*runtime, "containerd")
    found = []
    for handler, name in names.items():
        found.append(Setting("is", (*runtime, "containerd", "runtimes", handler, "snapshotter"), str(name)))
        if split:
            found.append(Setting("is", (*images, "runtime_platforms", handler, "snapshotter"), str(name)))
    if needing(shims):
        proxy: Path = ("proxy_plugins", NAME)
        found += [
            # The image's name is one of the annotations.
            Setting("is", (*images, "disable_snapshot_annotations"), False),
            Setting("is", (*proxy, "type"), "snapshot"),
            Setting("is", (*proxy, "address"), SOCKET),
            Setting("is", (*proxy, "exports", "root"), ROOT),
        ]
    return found


def tables(document: Mapping[str, Any], shims: Sequence[Shim], text: str, where: str) -> str:
    """A drop-in's text with them in it."""
    return merge(text, settings(document, shims), where)


@dataclass(frozen=True)
class SnapshotRegistration(Registration):
    """Handlers in a containerd that isn't ours, each with its snapshotter where ``per_shim`` says so."""

    per_shim: bool = False

    def preview(self) -> str:
        text = super().preview()
        return tables(parse(text, CONFIG), self.shims, text, CONFIG) if self.per_shim else text

    def _towards(
        self, seen: Observed, version: tuple[int, int], handlers: list[Setting], wanted: list[Setting]
    ) -> list[Step]:
        if self.per_shim:
            document = parse(self.text(seen, version), CONFIG)
            handlers = [*handlers, *settings(document, self.shims)]
            wanted = containerd.main_settings(version, document, handlers)
        return super()._towards(seen, version, handlers, wanted)
