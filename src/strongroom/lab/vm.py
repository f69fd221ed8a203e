"""The life of a lab of virtual machines: up, down, reset, and pulling the plug.

Every function can be killed at any point and called again: what is there is kept, what is missing is made.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager

from strongroom.errors import ConfigError, StrongroomError
from strongroom.lab import accel, boot, making, processes, qemu, rootfs, state, switch, tools, tpm, uki
from strongroom.lab.locks import exclusive
from strongroom.lab.state import Lab, LabHost
from strongroom.report.progress import progress


def up(
    name: str | None = None,
    hosts: Sequence[str] | int | None = None,
    *,
    memory: int | None = None,
    cpus: int | None = None,
    disk: int | None = None,
    packages: Sequence[str] | None = None,
    measured: bool | None = None,
    unified: bool | None = None,
    accelerator: accel.Wanted = "auto",
) -> Lab:
    """Bring a lab up and wait until root can log in to every host; what runs already is left alone.

    Args:
        name: the lab; None is ``$STRONGROOM_LAB`` or ``default``.
        hosts: names, or how many; None is what the lab has, or one host ``cp1``.
        memory: MiB of each host.
        cpus: virtual CPUs of each host.
        disk: GiB of each host.
        packages: Debian packages beyond those that every lab has; None is what the lab has, or none.
        measured: whether hosts boot by UEFI and have a TPM; None is what the lab has, or no.
        unified: whether they boot a unified kernel image, which is measured as a whole; None as before. With it they are
            measured.
        accelerator: ``auto`` takes KVM where a trial boot in it works.

    Raises:
        ConfigError: an argument is wrong, or isn't what the lab that is there has.
        StrongroomError: a tool is missing, or a host doesn't come up.
    """
    name = name or state.default_name()
    state.folder_of(name)
    names = making.host_names(hosts)
    making.check_sizes(memory or making.MEMORY, cpus or making.CPUS, disk or making.DISK)
    extra = None if packages is None else tuple(sorted(set(packages)))
    recipe = rootfs.with_packages(extra or ())
    tools.check([tools.TO_RUN])
    measured = measured or unified
    if measured:
        tpm.check()
    if unified:
        tools.require(uki.TO_RUN)
    with _lock(name):
        if state.exists(name):
            lab = state.load(name)
            _check_same(lab, names if hosts is not None else None, memory, cpus, disk, extra, measured, unified)
            root = _root(lab)
            if accelerator not in ("auto", lab.accelerator) and _any_on(lab):
                raise ConfigError(
                    f"lab {name}: accel: {accelerator} asked for; its hosts run with {lab.accelerator}",
                    hint=f"strongroom lab down --name {name} ends it",
                )
        else:
            root = rootfs.ensure(recipe)
            chosen = accel.choose(accelerator, root)
            sizes = (memory or making.MEMORY, cpus or making.CPUS, disk or making.DISK)
            boots = {"tpm": bool(measured), "uki": bool(unified)}
            lab = making.make(name, names, *sizes, chosen, root.identity, extra or (), **boots)
        if not _any_on(lab):
            lab = _with(lab, accelerator=accel.choose(accelerator, root))
        with progress.step(f"lab {name}: start {len(lab.hosts)} host(s) with {lab.accelerator}"):
            _start(lab, lab.hosts, root)
            boot.wait_for_login(lab, lab.hosts)
    return lab


def down(name: str | None = None) -> bool:
    """End a lab: no process, no socket and no file of it stays, only the cache does.

    Returns:
        Whether there was anything to end.
    """
    name = name or state.default_name()
    folder = state.folder_of(name)
    with _lock(name):
        if not folder.exists():
            return False
        for host in sorted((folder / "hosts").glob("*")):
            processes.end(qemu.PROGRAM, host / "qemu.pid")
            tpm.end(host)
        processes.end(switch.PROGRAM, folder / "switch.pid", gently=True)
        # lab.json isn't read: it may be damaged or of another version, and the lab has to go all the same.
        making.remove(folder)
    with contextlib.suppress(OSError):
        state.labs_folder().rmdir()
    return True


def all_names() -> list[str]:
    """Names of all labs of this user, finished or half made or half gone."""
    return sorted(folder.name for folder in state.labs_folder().glob("[a-z]*") if folder.is_dir())


def reset(name: str | None = None, hosts: Sequence[str] = ()) -> Lab:
    """Give hosts fresh disks and boot them, with the keys, addresses and ports that they had.

    Args:
        name: the lab; None is ``$STRONGROOM_LAB`` or ``default``.
        hosts: names; empty means all.
    """
    tools.check([tools.TO_RUN])
    name = name or state.default_name()
    with _lock(name):
        lab = state.load(name)
        chosen = [lab.host(host) for host in hosts] or list(lab.hosts)
        fresh = len(chosen) == len(lab.hosts)
        root = rootfs.ensure(rootfs.with_packages(lab.packages)) if fresh else _root(lab)
        with progress.step(f"lab {name}: fresh disks for {', '.join(host.name for host in chosen)}"):
            for host in chosen:
                qemu.kill(lab, host)
                qemu.disk(lab, host).unlink(missing_ok=True)
                uki.image(lab, host).unlink(missing_ok=True)
            lab = _with(lab, rootfs=root.identity)
            _start(lab, chosen, root)
            boot.wait_for_login(lab, chosen)
    return lab


def power_cut(lab: Lab, host: LabHost | str) -> None:
    """Pull a host's plug, plug it in again and wait for a login: what wasn't synced may be gone."""
    found = _host(lab, host)
    with progress.step(f"lab {lab.name}: cut the power of {found.name}"):
        power_off(lab, found)
        power_on(lab, found)


def power_off(lab: Lab, host: LabHost | str) -> None:
    """Pull a host's plug (SIGKILL to its QEMU); a host that is off stays off."""
    with _lock(lab.name):
        qemu.kill(lab, _host(lab, host))


def power_on(lab: Lab, host: LabHost | str) -> None:
    """Start a host on the disk that it has and wait for a login; a host that is on stays on."""
    found = _host(lab, host)
    with _lock(lab.name):
        _start(lab, [found], _root(lab))
    boot.wait_for_login(lab, [found])


def _start(lab: Lab, hosts: Sequence[LabHost], root: rootfs.RootFs) -> None:
    """Start the switch and those hosts that are off."""
    if switch.start(lab):
        # QEMU doesn't plug in again by itself.
        for host in lab.hosts:
            if qemu.kill(lab, host):
                progress.say(f"{host.name}: the lab's switch had ended; the host is started anew")
                qemu.start(lab, host, root)
    for host in hosts:
        if qemu.running(lab, host) is None:
            qemu.start(lab, host, root)


def _any_on(lab: Lab) -> bool:
    return any(qemu.running(lab, host) for host in lab.hosts)


def _host(lab: Lab, host: LabHost | str) -> LabHost:
    return lab.host(host if isinstance(host, str) else host.name)


def _with(lab: Lab, **changes: object) -> Lab:
    """The lab with changes, written down if they are any."""
    changed = lab.model_copy(update=changes)
    if changed != lab:
        state.save(changed)
    return changed


def _root(lab: Lab) -> rootfs.RootFs:
    """The root file system that a lab's disks lie on."""
    root = rootfs.of_identity(lab.rootfs)
    if root is None:
        raise StrongroomError(
            f"lab {lab.name}: the root file system under its disks has gone from the cache ({lab.rootfs})",
            hint=f"strongroom lab reset --name {lab.name} gives fresh disks",
        )
    return root


def _lock(name: str) -> AbstractContextManager[int]:
    """One change to a lab at a time. Users with several state folders have several labs of one name."""
    folder = state.folder_of(name)
    place = hashlib.sha256(bytes(folder)).hexdigest()[:12]
    return exclusive(f"lab-{name}-{place}", f"another command on the lab {name}")


def _check_same(
    lab: Lab,
    names: Sequence[str] | None,
    memory: int | None,
    cpus: int | None,
    disk: int | None,
    packages: Sequence[str] | None,
    measured: bool | None,
    unified: bool | None,
) -> None:
    """Refuse to take a lab for another: what it is made of can't change while it lives."""
    first = lab.hosts[0]
    has: dict[str, tuple[object, object]] = {
        "hosts": (names and ",".join(names), ",".join(host.name for host in lab.hosts)),
        "memory": (memory, first.memory),
        "cpus": (cpus, first.cpus),
        "disk": (disk, lab.disk),
        "tpm": ("yes" if measured else None, "yes" if lab.tpm else "no"),
        "uki": ("yes" if unified else None, "yes" if lab.uki else "no"),
        "packages": (
            None if packages is None else ",".join(packages) or "none",
            ",".join(lab.packages) or "none",
        ),
    }
    wrong = [
        f"lab {lab.name}: {key}: {asked} asked for; it has {found}"
        for key, (asked, found) in has.items()
        if asked not in (None, found)
    ]
    if wrong:
        raise ConfigError(*wrong, hint=f"strongroom lab down --name {lab.name} ends it; or choose another --name")
