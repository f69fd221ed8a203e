"""One command on one host whose answer is a stranger's: bytes, no more than so many, within so many seconds."""

from __future__ import annotations

import time

from paramiko import SSHException
from pyinfra.api.host import Host as PyinfraHost

from strongroom.engine.remote import Remote
from strongroom.errors import ConnectionLost, StrongroomError
from strongroom.model.cluster import STRICT

_BLOCK = 1 << 16


def require_pinned(host: PyinfraHost) -> None:
    """Refuse a host whose key would be taken as it is offered.

    Raises:
        StrongroomError: the inventory does not pin its key.
    """
    found = host.data.get(STRICT)
    if found != "yes":
        raise StrongroomError(
            f"{host.name}: {STRICT}: found {found!r}, allowed is 'yes': evidence has to come from"
            " the host that was meant",
            hint="set it, and ssh_known_hosts_file, in the inventory",
        )


def ask(remote: Remote, command: str, script: str, *, largest: int, seconds: float) -> bytes:
    """What a command prints that gets a script on stdin; how it ends is not looked at, for the answer says it.

    Args:
        remote: a host over SSH.
        command: for its shell.
        script: all of stdin.
        largest: bytes of an answer; one more is returned where there are more, and the rest is not read.
        seconds: until it has to be whole.

    Raises:
        ConnectionLost: the connection ended.
        StrongroomError: no end in time, or the host is not reached by SSH.
    """
    client = getattr(remote.host.connector, "client", None)
    transport = client.get_transport() if client else None
    if transport is None:
        raise StrongroomError(f"{remote.name}: is not connected by SSH; evidence is asked for over SSH alone")
    remote.executions += 1
    sudo = "sudo -n " if remote.host.data.get("_sudo") else ""
    until = time.monotonic() + seconds
    found = bytearray()
    try:
        channel = transport.open_session(timeout=seconds)
        try:
            channel.settimeout(seconds)
            channel.exec_command(sudo + command)
            channel.sendall(script.encode())
            channel.shutdown_write()
            while len(found) <= largest:
                channel.settimeout(max(0.01, until - time.monotonic()))
                block = channel.recv(min(_BLOCK, largest + 1 - len(found)))
                if not block:
                    break
                found += block
        finally:
            channel.close()
    except TimeoutError as error:
        raise StrongroomError(f"{remote.name}: the evidence command: no end after {seconds:.0f} s") from error
    except (OSError, SSHException, EOFError) as error:
        raise ConnectionLost(f"{remote.name}: the evidence command: connection lost ({error})") from error
    if not found and not transport.is_active():
        raise ConnectionLost(f"{remote.name}: the evidence command: connection lost")
    return bytes(found)
