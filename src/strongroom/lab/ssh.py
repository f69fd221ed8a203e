"""SSH to a lab's hosts: always with the host key that the lab made, never with one that a host offers."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from strongroom.lab.state import Lab, LabHost


def known_hosts(pins: Sequence[tuple[int, str]]) -> str:
    """The text of the lab's known_hosts file, of ``(port, public key)`` pairs."""
    return "".join(f"[127.0.0.1]:{port} {public}\n" for port, public in pins)


def command(lab: Lab, host: LabHost, *, patience: int = 20) -> list[str]:
    """``ssh`` to a host as root, without the user's own configuration; append a command.

    Args:
        patience: seconds until a connection must stand.
    """
    options = {
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "UserKnownHostsFile": f'"{_plain(lab.known_hosts)}"',
        "GlobalKnownHostsFile": "/dev/null",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "ConnectTimeout": str(patience),
        "ServerAliveInterval": "15",
        "ServerAliveCountMax": "8",
        "LogLevel": "ERROR",
    }
    settings = [part for key, value in options.items() for part in ("-o", f"{key}={value}")]
    return ["ssh", "-F", "none", "-p", str(host.ssh_port), "-i", _plain(lab.ssh_key), *settings, "root@127.0.0.1"]


def _plain(path: Path) -> str:
    """A path in which ssh expands nothing."""
    return str(path).replace("%", "%%")


def run(lab: Lab, host: LabHost, script: str, *, seconds: float = 120) -> subprocess.CompletedProcess[str]:
    """Run a shell command on a host, without a terminal and without input.

    Raises:
        subprocess.TimeoutExpired: it took longer than `seconds`.
    """
    return subprocess.run(
        [*command(lab, host), "--", script],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
