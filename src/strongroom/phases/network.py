"""The inventory's network settings on a host: what containerd pulls pods' images with. Nothing where it isn't asked for.

Hosts are provisioned from the bundle and need none of this; it is for the images of whoever uses the cluster.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from strongroom import paths
from strongroom.errors import ConfigError
from strongroom.model.cluster import Inventory
from strongroom.model.network import Network, is_reference, overrides, server
from strongroom.plan.files import File
from strongroom.plan.resource import Resource
from strongroom.plan.stale import MARK, Stale

CERTS = "/etc/containerd/certs.d"
CA = f"{CERTS}/strongroom-ca.pem"
UNIT_FOLDER = "/etc/systemd/system/containerd.service.d"
DROP_IN = f"{UNIT_FOLDER}/20-strongroom-network.conf"
#: A unit's environment is read at its start only; hosts.toml are read at each pull.
_FORGET = "systemctl daemon-reload; systemctl try-restart containerd.service"


@dataclass(frozen=True)
class HostNetwork:
    """Files for containerd: ``before`` its unit is looked at, and what of them a restart is for."""

    files: tuple[File, ...]
    folders: tuple[str, ...]
    restart_on: tuple[str, ...]
    config_path: str | None

    def resources(self) -> Sequence[Resource]:
        """The files, and that no others of ours are left."""
        places = (DROP_IN, f"{CERTS}/*/hosts.toml", CA)
        wanted = tuple(file.path for file in self.files)
        return [Stale("network settings", places, wanted, ((DROP_IN, _FORGET),)), *self.files]


def on_host(inventory: Inventory) -> HostNetwork:
    """What the inventory asks for on every host that has containerd.

    Raises:
        ConfigError: the CA's file can't be read, or is none.
    """
    network = inventory.cluster.network
    if not network.on_hosts:
        return HostNetwork((), (), (), None)
    files: list[File] = []
    if variables := _variables(inventory):
        files.append(File(DROP_IN, variables, keep=True))
    ca = _ca(network)
    if ca is not None and network.mirrors:
        files.append(File(CA, ca))
    files += [
        File(f"{CERTS}/{registry}/hosts.toml", hosts_toml(registry, mirrors, ca is not None), keep=True)
        for registry, mirrors in sorted(network.mirrors.items())
    ]
    folders = tuple(sorted({file.path.rpartition("/")[0] for file in files} | ({CERTS} if network.mirrors else set())))
    restart_on = tuple(file.path for file in files if file.path == DROP_IN)
    return HostNetwork(tuple(files), folders, restart_on, CERTS if network.mirrors else None)


def refuse_unfit(inventory: Inventory) -> None:
    """All that can be refused before anything connects: a proxy's password on a host, where every user of it could read the
    unit's environment, and a CA that is none.

    Raises:
        ConfigError: a proxy is given as a reference, and wanted on hosts; or as :func:`on_host`.
    """
    cluster, proxy = inventory.cluster, inventory.cluster.network.proxy
    for key, text in (("http", proxy.http), ("https", proxy.https)):
        if cluster.network.on_hosts and text is not None and is_reference(text):
            raise ConfigError(
                f"cluster: network.proxy.{key}: found {text!r}, allowed with network.on_hosts is http://HOST:PORT only: a"
                " unit's environment is no place for a password",
                hint="let the proxy know the hosts by their addresses, or leave on_hosts out",
            )
    on_host(inventory)


def _variables(inventory: Inventory) -> bytes:
    proxy = inventory.cluster.network.proxy
    if proxy.http is None and proxy.https is None:
        return b""
    kubernetes = inventory.cluster.kubernetes
    own = ["localhost", "127.0.0.1", "::1", kubernetes.pod_cidr, kubernetes.service_cidr, ".svc", ".cluster.local"]
    past = dict.fromkeys([*own, *(host.address for host in inventory.hosts), *proxy.no_proxy])
    found = {"HTTP_PROXY": proxy.http, "HTTPS_PROXY": proxy.https, "NO_PROXY": ",".join(past)}
    # systemd expands % in units; nothing else that it would read differently is let into these values.
    lines = [f'Environment="{key}={value.replace("%", "%%")}"' for key, value in found.items() if value]
    return "\n".join([f"{MARK}: how containerd reaches registries.", "[Service]", *lines, ""]).encode()


def hosts_toml(registry: str, mirrors: Sequence[str], private_ca: bool) -> bytes:
    """containerd's ``hosts.toml`` of a registry (containerd, docs/hosts.md): mirrors in order, then the registry itself."""
    lines = [f"{MARK}: where images of {registry} are asked for.", f"server = {json.dumps(server(registry))}"]
    for mirror in mirrors:
        lines += ["", f"[host.{json.dumps(mirror)}]", 'capabilities = ["pull", "resolve"]']
        if private_ca and mirror.startswith("https:"):
            lines.append(f"ca = {json.dumps(CA)}")
        if overrides(mirror):
            lines.append("override_path = true")
    return ("\n".join(lines) + "\n").encode()


def _ca(network: Network) -> bytes | None:
    if network.ca_file is None:
        return None
    path = paths.written(network.ca_file)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cluster: network.ca_file: {path}: cannot be read: {error.strerror}") from error
    if b"PRIVATE KEY" in content or b"-----BEGIN CERTIFICATE-----" not in content:
        what = "has a private key in it" if b"PRIVATE KEY" in content else "has no certificate in PEM"
        raise ConfigError(f"cluster: network.ca_file: {path}: {what}; allowed are certificates alone")
    return f"{MARK}: the private CA of registries.\n".encode() + content
