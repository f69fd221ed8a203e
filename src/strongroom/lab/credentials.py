"""What makes a host of a lab that host: systemd credentials, handed over in SMBIOS type 11 strings.

Nothing is written to the image, no image is mounted, and no secret is on QEMU's command line: each string comes from a
file that only its owner reads. systemd in the host turns them into files at every boot, so that a power cut can't lose
the host key.
"""

from __future__ import annotations

import base64
from collections.abc import Iterable
from dataclasses import dataclass

from strongroom.errors import StrongroomError
from strongroom.lab.keys import KeyPair
from strongroom.lab.state import LabHost

_PREFIX = "io.systemd.credential.binary:"
_LIMIT = 60_000
"""Bytes of one string; an SMBIOS structure table of the older kind ends at 64 KiB."""


@dataclass(frozen=True)
class PlacedFile:
    """A file that the host gets at boot."""

    path: str
    mode: int
    content: str


def render(name: str, content: str) -> str:
    """One SMBIOS string: a credential of that name.

    Raises:
        StrongroomError: the credential is too large for SMBIOS.
    """
    text = f"{_PREFIX}{name}={base64.b64encode(content.encode()).decode()}"
    if len(text) > _LIMIT:
        raise StrongroomError(f"lab: credential {name}: {len(text)} bytes; SMBIOS takes {_LIMIT}")
    return text


def parse(text: str) -> tuple[str, str]:
    """``(name, content)`` of one SMBIOS string that :func:`render` made.

    Raises:
        ValueError: the text is no binary credential.
    """
    name, equals, encoded = text.removeprefix(_PREFIX).partition("=")
    if not text.startswith(_PREFIX) or not equals or not name:
        raise ValueError(f"no credential: {text[:40]!r}")
    return name, base64.b64decode(encoded, validate=True).decode()


def tmpfiles(files: Iterable[PlacedFile]) -> str:
    """Files as tmpfiles.d lines: ``f+`` writes them anew at every boot, ``~`` says that the content is base64."""
    lines = ["d /root/.ssh 0700 root root -"]
    for file in files:
        encoded = base64.b64encode(file.content.encode()).decode()
        lines.append(f"f+~ {file.path} {file.mode:04o} root root - {encoded}")
    return "\n".join(lines) + "\n"


def ssh_network(host: LabHost) -> str:
    """networkd's file for the interface that the controller's ports lead to (QEMU's user network)."""
    return (
        f"[Match]\nMACAddress={host.mac_ssh}\n\n[Network]\nAddress=10.0.2.15/24\nGateway=10.0.2.2\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )


def lan_network(host: LabHost) -> str:
    """networkd's file for the interface between the hosts of the lab."""
    return (
        f"[Match]\nMACAddress={host.mac_lan}\n\n[Network]\nAddress={host.address}/24\n"
        "LinkLocalAddressing=no\nIPv6AcceptRA=no\n"
    )


def hosts_file(hosts: Iterable[LabHost]) -> str:
    """/etc/hosts of every host of a lab."""
    names = "".join(f"{host.address} {host.name}\n" for host in hosts)
    return f"127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{names}"


def of_host(host: LabHost, hosts: Iterable[LabHost], host_key: KeyPair, operator: str) -> dict[str, str]:
    """All credentials of a host, as ``{name: SMBIOS string}``.

    Args:
        host: the host.
        hosts: all hosts of its lab.
        host_key: its SSH host key.
        operator: the public key that may log in as root.
    """
    files = [
        PlacedFile("/root/.ssh/authorized_keys", 0o600, f"{operator} strongroom-lab\n"),
        PlacedFile("/etc/ssh/ssh_host_ed25519_key", 0o600, host_key.private),
        PlacedFile("/etc/ssh/ssh_host_ed25519_key.pub", 0o644, f"{host_key.public} {host.name}\n"),
        PlacedFile("/etc/hosts", 0o644, hosts_file(hosts)),
    ]
    contents = {
        "tmpfiles.extra": tmpfiles(files),
        "network.network.10-ssh": ssh_network(host),
        "network.network.20-lan": lan_network(host),
    }
    return {name: render(name, content) for name, content in contents.items()}
