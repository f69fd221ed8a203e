"""The Kata shims that strongroom knows, as the catalogue describes them."""

from __future__ import annotations

from pydantic import Field

from strongroom.errors import ConfigError
from strongroom.model.cluster import Frozen, nearest
from strongroom.model.platform import Platform


class Shim(Frozen):
    """One Kata variant: where its runtime and configuration lie, and what a pod under it costs on top.

    Source: kata-containers 4.1.0, kata-deploy's Helm chart (values.yaml, templates/runtimeclasses.yaml).
    """

    name: str
    handler: str = Field(description="containerd handler and RuntimeClass, kata-<name>")
    runtime_type: str
    runtime_path: str
    config_path: str
    platform: Platform
    overhead_memory: str
    overhead_cpu: str
    annotations: tuple[str, ...] = ("io.katacontainers.*",)


def find_shim(shims: dict[str, Shim], name: str) -> Shim:
    """The shim of that name.

    Raises:
        ConfigError: no such shim; the message has the names that there are.
    """
    if name in shims:
        return shims[name]
    raise ConfigError(
        f"cluster: runtime.shims: found {name!r}, allowed are {', '.join(sorted(shims))}{nearest(name, sorted(shims))}"
    )
