"""Kubernetes distributions that somebody else runs: what a node of each looks like, and where a runtime is registered on it.

A distribution is one module of :mod:`strongroom.model.distributions`; importing it registers nothing, its ``DISTRIBUTION``
is found there. All of it is data, so that a further one is a further file.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from types import MappingProxyType


@dataclass(frozen=True)
class Distribution:
    """How one distribution lays out its nodes; paths are on a host.

    ``rank`` orders the names where they are listed: what strongroom sets up itself comes first.
    """

    name: str
    kubeconfig: str
    """The admin's, on a host of ``control_plane``."""
    services: tuple[str, ...] = ()
    """Units of which a node runs one; restarting it makes the container runtime read its configuration anew."""
    config: str = ""
    """What its containerd reads; written by the distribution, never by us."""
    drop_ins: Mapping[int, str] = field(default_factory=dict)
    """The folder that such a configuration imports, by the configuration's version."""
    templates: Mapping[int, str] = field(default_factory=dict)
    """Where a template of the configuration may be put, by the version that it renders; the highest version counts."""
    ctr: str = "ctr"
    """The command that talks to its containerd."""
    containerd: str = ""
    """The containerd that it starts, where that one is restarted without the service."""
    managed: str = ""
    """How ``config`` begins while the distribution writes it; without it drop-ins are not read."""
    merged: str = ""
    """What it merges drop-ins into by itself, key by key and whatever its containerd does, and then imports."""
    kubelet_root: str = "/var/lib/kubelet"
    engines: tuple[str, ...] = ("containerd",)
    installed_by_us: bool = False
    rank: int = 1


@cache
def distributions() -> Mapping[str, Distribution]:
    """Every distribution by its name."""
    package = import_module("strongroom.model.distributions")
    modules = [import_module(f"{package.__name__}.{module.name}") for module in iter_modules(package.__path__)]
    found = sorted((module.DISTRIBUTION for module in modules), key=lambda one: (one.rank, one.name))
    return MappingProxyType({one.name: one for one in found})


def of_rancher(name: str, services: tuple[str, ...], ctr: str) -> Distribution:
    """k3s and RKE2 are laid out alike, and share the place of containerd's socket.

    Since k3s' pull request 13680 (February 2026) the configuration that they write imports a folder for each of its versions.
    Before, a template is the only way in; one that begins with their own ("base") came with their releases of September 2023.
    """
    folder = f"/var/lib/rancher/{name}/agent/etc/containerd"
    return Distribution(
        name=name,
        kubeconfig=f"/etc/rancher/{name}/{name}.yaml",
        services=services,
        config=f"{folder}/config.toml",
        drop_ins={2: f"{folder}/config.toml.d", 3: f"{folder}/config-v3.toml.d"},
        templates={2: f"{folder}/config.toml.tmpl", 3: f"{folder}/config-v3.toml.tmpl"},
        ctr=ctr,
    )
