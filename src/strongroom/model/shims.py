"""The Kata shims that strongroom knows, as the catalogue describes them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field, model_validator

from strongroom.errors import ConfigError
from strongroom.model.explain import nearest
from strongroom.model.frozen import Frozen
from strongroom.model.platform import Platform

ROOT = "/opt/kata"
"""Where Kata's configurations say that everything lies; the switch between versions is a link of this name."""
_DEFAULTS = "share/defaults/kata-containers"
_DEBUG = "-debug"
_CLH_TEE = re.compile(r"^(clh|cloud-hypervisor)-(sev|snp|sev-snp|tdx|se|cca)(-runtime-rs)?(-debug)?$")

# Names of older guides (kata-containers 4.1.0, kata-deploy). Their nearest by letters would be another CPU's: qemu-se is IBM's.
_FORMER = {"cloud-hypervisor": "clh-runtime-rs", "firecracker": "fc"}
_GONE = ("qemu-cca", "qemu-sev", "stratovirt")

Hypervisor = Literal["clh", "dragonball", "firecracker", "openvmm", "qemu", "remote"]
"""The name of its table in Kata's configuration: ``[hypervisor.NAME]``."""


class Shim(Frozen):
    """One Kata variant: where its runtime and configuration lie, what it needs, and what a pod under it costs on top.

    Sources are named in the catalogue, ``catalog/shims.yaml``. ``platform`` is the TEE that its guests run in; with ``gpu``
    as well they are given the host's GPUs. ``nfd_selector`` and ``nfd_resources`` count only where Node Feature Discovery
    labels nodes and advertises their keys; a pod that asks for what nobody advertises waits for ever.
    """

    name: str
    runtime: Literal["go", "rust"] = "go"
    hypervisor: Hypervisor = "qemu"
    handler: str = Field(description="containerd handler and RuntimeClass, kata-<name>")
    runtime_type: str
    runtime_path: str
    config_path: str = Field(description="the configuration that the handler names; config.d beside it is read as well")
    platform: Platform
    gpu: bool = False
    coco_guest: bool = Field(False, description="the guest image has confidential containers' guest components")
    arches: tuple[str, ...] = ("amd64", "arm64")
    overhead_memory: str
    overhead_cpu: str
    nfd_resources: dict[str, str] = Field(default_factory=dict)
    nfd_selector: dict[str, str] = Field(default_factory=dict)
    node_selector: dict[str, str] = Field(default_factory=dict)
    annotations: tuple[str, ...] = ("io.katacontainers.*",)
    container_annotations: tuple[str, ...] = Field(
        ("io.kubernetes.container.terminationMessage*",),
        description="by which an agent that shares no files with the host knows the termination message's (kata-deploy 4.1.0)",
    )
    snapshotter: str | None = Field(
        None, description="containerd's snapshotter that it is made for, where not the default"
    )
    guest_pull: bool = Field(False, description="made for images that are pulled inside the guest")
    memory: int | None = Field(None, description="default_memory of the shipped configuration, MiB")
    static: bool = Field(False, description="static_sandbox_resource_mgmt of the shipped configuration")
    debug: bool = Field(False, description="the variant with the guest's debug console and logs")
    needs: str | None = Field(None, description="what it needs of a host that strongroom does not set up")

    @model_validator(mode="before")
    @classmethod
    def _from_its_name(cls, fields: Any) -> Any:
        """The places that follow from name and runtime (kata-deploy 4.1.0, binary/src/utils/system.rs)."""
        if not isinstance(fields, dict) or "name" not in fields:
            return fields
        name, rust = fields["name"], fields.get("runtime") == "rust"
        defaults = {
            "handler": f"kata-{name}",
            "runtime_type": f"io.containerd.kata-{name}.v2",
            "runtime_path": f"{ROOT}/{'runtime-rs/' if rust else ''}bin/containerd-shim-kata-v2",
            "config_path": f"{ROOT}/{_DEFAULTS}/{'runtime-rs/' if rust else ''}runtimes/{name}/configuration-{name}.toml",
        }
        return {**defaults, **fields}

    @property
    def base(self) -> str:
        """The name of the shim that this is the debug variant of; its own name where it is none."""
        return self.name.removesuffix(_DEBUG) if self.debug else self.name

    @property
    def packaged(self) -> str:
        """Where the release has its configuration, below the prefix."""
        return f"{_DEFAULTS}/{'runtime-rs/' if self.runtime == 'rust' else ''}configuration-{self.base}.toml"

    @property
    def in_place(self) -> str:
        """Where its configuration is read from, below the prefix."""
        return self.config_path.removeprefix(f"{ROOT}/")

    @property
    def drop_in(self) -> str:
        """Our settings, below the prefix: Kata reads ``config.d`` beside the configuration, in alphabetical order."""
        return f"{self.in_place.rpartition('/')[0]}/config.d/50-strongroom.toml"

    @property
    def starts_guests(self) -> bool:
        """Whether its guests are started on the host itself, from its configuration."""
        return self.hypervisor != "remote"

    @property
    def confidential(self) -> bool:
        """Whether its guests run in a TEE."""
        return self.platform is not Platform.NONE

    @property
    def host_platform(self) -> Platform:
        """The platform of the hosts that it is for: confidential guests with a GPU need more than their CPU's TEE."""
        return Platform.GPU if self.confidential and self.gpu else self.platform

    @property
    def requires(self) -> tuple[Platform, ...]:
        """The platforms that must be ready on a host before its handler is registered there."""
        if not self.confidential:
            return ()
        return (self.platform, Platform.GPU) if self.gpu else (self.platform,)

    def variant(self) -> Shim:
        """Its debug variant: the same guest with debug console and logs, under a handler of its own (since Kata 4.1)."""
        name = f"{self.name}{_DEBUG}"
        return self.model_copy(
            update={
                "name": name,
                "debug": True,
                "handler": f"kata-{name}",
                "runtime_type": f"io.containerd.kata-{name}.v2",
                "config_path": f"{ROOT}/{_DEFAULTS}/custom-runtimes/kata-{name}/configuration-{self.name}.toml",
            }
        )


def find_shim(shims: Mapping[str, Shim], name: str, key: str = "runtime.shims") -> Shim:
    """The shim of that name, or its debug variant.

    Raises:
        ConfigError: no such shim; the message has the names that there are.
    """
    if name in shims:
        return shims[name]
    if name.removesuffix(_DEBUG) in shims:
        return shims[name.removesuffix(_DEBUG)].variant()
    if match := _CLH_TEE.match(name):
        qemu = f"qemu-{match[2].removeprefix('sev-')}{match[3] or ''}"
        raise ConfigError(
            f"cluster: {key}: found {name!r}: Cloud Hypervisor has no TEE in Kata, its guests are as open to the host as"
            f" any; allowed for one are {', '.join(sorted(one for one, shim in shims.items() if shim.confidential))}"
            f"{nearest(qemu, sorted(shims))}"
        )
    known, base = sorted(shims), name.removesuffix(_DEBUG)
    near = f"; did you mean {_FORMER[base]!r}?" if base in _FORMER else nearest(name, known)
    if base in _GONE:
        near = "; Kata 4.1 has it no more"
    raise ConfigError(
        f"cluster: {key}: found {name!r}, allowed are {', '.join(known)}, each also as NAME{_DEBUG}{near}"
    )
