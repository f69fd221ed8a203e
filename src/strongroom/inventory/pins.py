"""Host keys of machines that Vagrant made, pinned when a machine is first seen and never read again.

What that is worth, plainly: the first reading goes over Vagrant's own connection, which trusts whatever answers. Whoever
could answer in the machine's place on this computer's own bridge at that moment would be pinned. From then on the keys must
be those, whatever Vagrant would accept. A machine that was destroyed and made again has another id, and is read anew; one
that only changed its address keeps its keys.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from strongroom.errors import ConfigError
from strongroom.report.progress import progress

#: What is run on a machine to read its keys.
READ = "cat /etc/ssh/ssh_host_*_key.pub"
_FILE = "strongroom.known_hosts"
Keys = tuple[tuple[str, str], ...]


def pin(folder: Path, addresses: Mapping[str, tuple[str, int]], read: Callable[[str], str]) -> Path:
    """Bring the pins of a Vagrantfile's machines up to date.

    Args:
        folder: where the Vagrantfile lies.
        addresses: machine -> (address, port) of its SSH server.
        read: runs :data:`READ` on a machine and returns what it printed.

    Returns:
        A file in the form of known_hosts.

    Raises:
        ConfigError: a machine has no id or no keys, or the file cannot be written.
    """
    private = folder / os.environ.get("VAGRANT_DOTFILE_PATH", ".vagrant")
    file = private / _FILE
    known = _load(file)
    pinned: dict[tuple[str, str], Keys] = {}
    for name in addresses:
        machine = (name, _identity(private, name))
        if machine in known:
            pinned[machine] = known[machine]
            continue
        pinned[machine] = parse_keys(name, read(name))
        for kind, key in pinned[machine]:
            progress.say(f"vagrant: {name}: pinned as first seen: {kind} {_fingerprint(key)}")
    lines = [
        f"{_place(*addresses[name])} {kind} {key} {name} {identity}\n"
        for (name, identity), keys in pinned.items()
        for kind, key in keys
    ]
    _write(file, "".join(lines))
    return file


def parse_keys(name: str, text: str) -> Keys:
    """``(type, base64)`` of the public keys that a machine printed.

    Raises:
        ConfigError: there is none, or one is no key.
    """
    keys = []
    for line in text.splitlines():
        words = line.split()
        if len(words) < 2:
            continue
        try:
            blob = base64.b64decode(words[1], validate=True)
        except (binascii.Error, ValueError):
            continue
        # RFC 4253, section 6.6: the blob starts with its type, as a string with its length in four bytes before it.
        if blob[4 : 4 + int.from_bytes(blob[:4], "big")] == words[0].encode():
            keys.append((words[0], words[1]))
    if not keys:
        raise ConfigError(
            f"vagrant: {name}: no SSH host key in what `{READ}` printed", hint=f"look yourself: vagrant ssh {name}"
        )
    return tuple(keys)


def _identity(private: Path, name: str) -> str:
    """Vagrant's id of a machine, another one for every machine that it makes."""
    found = [file.read_text(encoding="utf-8").strip() for file in sorted((private / "machines" / name).glob("*/id"))]
    if len(found) != 1 or len(found[0].split()) != 1:
        raise ConfigError(f"vagrant: {name}: found {len(found)} ids below {private}/machines/{name}, allowed is one")
    return found[0]


def _load(file: Path) -> dict[tuple[str, str], Keys]:
    known: dict[tuple[str, str], Keys] = {}
    if file.is_file():
        for line in file.read_text(encoding="utf-8").splitlines():
            words = line.split()
            if len(words) == 5:
                known[words[3], words[4]] = (*known.get((words[3], words[4]), ()), (words[1], words[2]))
    return known


def _place(address: str, port: int) -> str:
    return address if port == 22 else f"[{address}]:{port}"


def _fingerprint(key: str) -> str:
    """As ``ssh-keygen -l`` prints it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(base64.b64decode(key)).digest()).decode().rstrip("=")


def _write(file: Path, text: str) -> None:
    if file.is_file() and file.read_text(encoding="utf-8") == text:
        return
    beside = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        beside.chmod(0o600)
        beside.replace(file)
    except OSError as error:
        raise ConfigError(f"{file}: cannot be written: {error.strerror}") from error
