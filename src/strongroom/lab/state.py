"""What a lab is: its hosts, addresses, ports and keys, and the folder that holds them.

``lab.json`` is the last thing written when a lab is made and the first thing removed when it goes, so a folder without
it is a lab that was never finished or is half gone, and may be removed.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from strongroom import paths
from strongroom.errors import ConfigError, StrongroomError

DEFAULT_NAME = "default"
SETTING = "STRONGROOM_LAB"

Accelerator = Literal["kvm", "tcg"]

_LABEL = re.compile(r"[a-z]([a-z0-9-]{0,30}[a-z0-9])?")


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class LabHost(_Frozen):
    """One virtual machine. Fields are fixed for the life of the lab."""

    name: str
    address: str
    """IPv4 address in the network between the hosts of the lab."""
    ssh_port: int
    """Port of 127.0.0.1 that leads to the host's port 22."""
    api_port: int
    """Port of 127.0.0.1 that leads to the host's port 6443."""
    memory: int
    """MiB."""
    cpus: int
    mac_ssh: str
    """Of the interface that the two ports lead to."""
    mac_lan: str
    """Of the interface that has `address`."""


class Lab(_Frozen):
    """A set of hosts that share a network, and how to reach them."""

    name: str
    hosts: tuple[LabHost, ...]
    ssh_key: Path
    known_hosts: Path
    folder: Path
    sockets: Path = Path()
    """Folder of the lab's Unix sockets; elsewhere when `folder` is too long for them. Empty: ``folder/run``."""
    disk: int = 20
    """GiB of each host's disk."""
    accelerator: Accelerator = "tcg"
    tpm: bool = False
    """Whether hosts boot by UEFI and have a TPM."""
    uki: bool = False
    """Whether they boot a unified kernel image from a disk, and not a kernel that QEMU loads."""
    packages: tuple[str, ...] = ()
    """Debian packages in the root file system beyond those that every lab has, sorted."""
    rootfs: str = ""
    """Identity of the built root file system that the overlays lie on."""

    def host(self, name: str) -> LabHost:
        """The host of that name.

        Raises:
            ConfigError: there is none.
        """
        for host in self.hosts:
            if host.name == name:
                return host
        names = [host.name for host in self.hosts]
        near = difflib.get_close_matches(name, names, 1)
        raise ConfigError(
            f"lab {self.name}: no host {name!r}; it has {', '.join(names)}",
            hint=f"did you mean {near[0]!r}?" if near else None,
        )

    def host_folder(self, host: LabHost) -> Path:
        """Where the overlay, the logs and the process id of a host are."""
        return self.folder / "hosts" / host.name

    @property
    def socket_folder(self) -> Path:
        """Where the lab's Unix sockets are."""
        return self.sockets if self.sockets != Path() else self.folder / "run"


def default_name() -> str:
    """The lab that is meant when none is named: ``$STRONGROOM_LAB``, else ``default``."""
    return os.environ.get(SETTING) or DEFAULT_NAME


def check_label(name: str, where: str) -> str:
    """Return a name that can be a host name, a folder and a part of a lock's name.

    Raises:
        ConfigError: it can't.
    """
    if not _LABEL.fullmatch(name):
        raise ConfigError(
            f"{where}: {name!r}; wanted 1 to 32 lower-case letters, digits and '-', a letter first and no '-' last"
        )
    return name


def labs_folder() -> Path:
    """The folder of all labs of this user."""
    return paths.state_dir() / "labs"


def folder_of(name: str) -> Path:
    """The folder of a lab, whether there is one or not."""
    return labs_folder() / check_label(name, "lab name")


def exists(name: str) -> bool:
    """Whether a finished lab of that name is there."""
    return (folder_of(name) / "lab.json").is_file()


def names() -> list[str]:
    """Names of all finished labs, sorted."""
    return sorted(file.parent.name for file in labs_folder().glob("*/lab.json"))


def load(name: str | None = None) -> Lab:
    """Read a lab.

    Raises:
        StrongroomError: there is none, or its file is damaged.
    """
    name = name or default_name()
    file = folder_of(name) / "lab.json"
    option = "" if name == DEFAULT_NAME else f" --name {name}"
    try:
        return Lab.model_validate_json(file.read_bytes())
    except FileNotFoundError:
        raise StrongroomError(f"lab {name}: there is none", hint=f"strongroom lab up{option}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "content"
        raise StrongroomError(
            f"{file}: {where}: {first['msg']}",
            hint=f"strongroom lab down{option}, then strongroom lab up{option}",
        ) from None


def save(lab: Lab) -> None:
    """Write ``lab.json``, all of it or nothing."""
    write(lab.folder / "lab.json", lab.model_dump_json(indent=2) + "\n")


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Write a file of a lab, all of it or nothing, with its mode from the first byte on."""
    new = file.with_name(f".{file.name}.new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as handle:
        handle.write(text)
        handle.flush()
        os.fsync(handle.fileno())
    new.rename(file)
