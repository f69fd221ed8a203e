"""A lab as pyinfra hosts."""

from __future__ import annotations

from typing import Any

from strongroom.lab import state


def hosts(name: str | None = None) -> list[tuple[str, dict[str, Any]]]:
    """The hosts of a lab as ``(name, data)`` pairs, the form of a pyinfra inventory.

    Besides the connection, each has ``address`` (in the network between the hosts) and ``api_address`` (where the
    controller reaches its Kubernetes API).

    Raises:
        StrongroomError: there is no such lab.
    """
    lab = state.load(name)
    return [
        (
            host.name,
            {
                "ssh_hostname": "127.0.0.1",
                "ssh_port": host.ssh_port,
                "ssh_user": "root",
                "ssh_key": str(lab.ssh_key),
                "ssh_known_hosts_file": str(lab.known_hosts),
                "ssh_strict_host_key_checking": "yes",
                "address": host.address,
                "api_address": f"127.0.0.1:{host.api_port}",
            },
        )
        for host in lab.hosts
    ]
