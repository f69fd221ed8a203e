"""A new lab on paper: names, addresses, ports, keys and folder; nothing is started here."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from strongroom.errors import ConfigError
from strongroom.lab import keys, ports, ssh, state, switch
from strongroom.lab.locks import exclusive
from strongroom.lab.rootfs import GIB, Recipe
from strongroom.lab.state import Accelerator, Lab, LabHost

MEMORY, CPUS, DISK = 4096, 2, 20
"""Defaults: MiB, virtual CPUs, GiB."""

_FIRST = 11
"""The last octet of the first host's address, and of its MACs: fixed, so that no stale neighbour entry can mislead."""


def host_names(hosts: Sequence[str] | int | None) -> tuple[str, ...]:
    """Names of a lab's hosts; a number gives ``cp1``, ``w1``, ``w2`` and so on.

    Raises:
        ConfigError: a name can't be a host name, comes twice, or there are none or too many.
    """
    if hosts is None:
        hosts = 1
    names = tuple(["cp1", *(f"w{n}" for n in range(1, hosts))][:hosts]) if isinstance(hosts, int) else tuple(hosts)
    for name in names:
        state.check_label(name, "host name")
        if names.count(name) > 1:
            raise ConfigError(f"host name: {name!r} comes {names.count(name)} times; each host needs its own")
        if name == "localhost":
            raise ConfigError("host name: 'localhost'; every host is that to itself already")
    if not 1 <= len(names) <= switch.PORTS:
        raise ConfigError(f"hosts: {len(names)} of them; a lab has 1 to {switch.PORTS}")
    return names


def parse_hosts(text: str) -> Sequence[str] | int:
    """The value of ``--hosts``: a number, or names with commas between."""
    text = text.strip()
    return int(text) if text.isdecimal() else [part.strip() for part in text.split(",")]


def parse_packages(text: str) -> tuple[str, ...]:
    """The value of ``--packages``: names with commas between; empty is none beyond those that every lab has."""
    return tuple(sorted({part.strip() for part in text.split(",")})) if text.strip() else ()


def check_sizes(memory: int, cpus: int, disk: int) -> None:
    """Check MiB of memory, virtual CPUs and GiB of disk.

    Raises:
        ConfigError: one is outside what a host can have.
    """
    smallest = Recipe().size // GIB
    allowed = {
        "memory": (memory, 512, 1 << 20, "MiB"),
        "cpus": (cpus, 1, 64, "CPUs"),
        "disk": (disk, smallest, 4096, "GiB"),
    }
    if wrong := [
        f"{key}: {found}; wanted {low} to {high} {unit}"
        for key, (found, low, high, unit) in allowed.items()
        if not low <= found <= high
    ]:
        raise ConfigError(*wrong)


def make(
    name: str,
    names: Sequence[str],
    memory: int,
    cpus: int,
    disk: int,
    accelerator: Accelerator,
    root: str,
    packages: Sequence[str] = (),
    *,
    tpm: bool = False,
    uki: bool = False,
) -> Lab:
    """Make a lab's folder with keys, promised ports and ``lab.json``, which comes last.

    Args:
        memory: MiB of each host.
        disk: GiB of each host.
        root: identity of the root file system.
        packages: what it has beyond the packages of every lab.
        tpm: whether its hosts boot by UEFI and have a TPM.
        uki: whether they boot a unified kernel image.
    """
    folder = state.folder_of(name)
    if folder.exists():  # without lab.json: never finished, or half removed
        remove(folder)
    folder.mkdir(mode=0o700, parents=True)
    operator = keys.generate()
    state.write(folder / "id_ed25519", operator.private)
    state.write(folder / "id_ed25519.pub", f"{operator.public} strongroom-lab-{name}\n", 0o644)
    host_keys = []
    for host in names:
        (folder / "hosts" / host).mkdir(mode=0o700, parents=True)
        host_keys.append(keys.generate())
        state.write(folder / "hosts" / host / "host_key", host_keys[-1].private)
    with exclusive("lab-ports", "another lab that takes its ports"):
        taken = ports.pick(2 * len(names), ports.promised())
        hosts = tuple(
            LabHost(
                name=host,
                address=f"10.77.0.{_FIRST + index}",
                ssh_port=taken[2 * index],
                api_port=taken[2 * index + 1],
                memory=memory,
                cpus=cpus,
                mac_ssh=f"52:54:00:76:00:{_FIRST + index:02x}",
                mac_lan=f"52:54:00:77:00:{_FIRST + index:02x}",
            )
            for index, host in enumerate(names)
        )
        pins = [(host.ssh_port, key.public) for host, key in zip(hosts, host_keys, strict=True)]
        state.write(folder / "known_hosts", ssh.known_hosts(pins))
        lab = Lab(
            name=name,
            hosts=hosts,
            ssh_key=folder / "id_ed25519",
            known_hosts=folder / "known_hosts",
            folder=folder,
            sockets=switch.choose_socket_folder(folder),
            disk=disk,
            accelerator=accelerator,
            rootfs=root,
            packages=tuple(packages),
            tpm=tpm,
            uki=uki,
        )
        state.save(lab)
    return lab


def remove(folder: Path) -> None:
    """Remove all files of a lab that has no process any more; ``lab.json`` goes first, so that a rest is no lab."""
    (folder / "lab.json").unlink(missing_ok=True)
    switch.remove_socket_folder(folder)
    shutil.rmtree(folder)
