"""What the machine needs installed for a lab, and one line for what is missing."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from strongroom.errors import StrongroomError

QEMU = "qemu-system-x86_64"
MINIMUM_QEMU = (10, 0)
"""QEMU 7.2 double-faults with a 6.12 kernel under TCG; 10.0 is the first that was found stable."""

TO_BUILD = {"mmdebstrap": "mmdebstrap", "mkfs.ext4": "e2fsprogs", "tar": "tar"}
TO_RUN = {QEMU: "qemu-system-x86", "qemu-img": "qemu-utils", "vde_switch": "vde2", "ssh": "openssh-client"}
"""Program to the Debian package that has it."""

Finder = Callable[[str], str | None]


def find(program: str) -> str | None:
    """Path of a program; the sbin folders count too, which are not on every user's PATH."""
    sbin = os.pathsep.join(["/usr/local/sbin", "/usr/sbin", "/sbin"])
    return shutil.which(program) or shutil.which(program, path=sbin)


def release(os_release: str) -> tuple[str, str]:
    """``(ID, VERSION_CODENAME)`` of the text of /etc/os-release; empty where it has none."""
    fields = dict(re.findall(r"""^(ID|VERSION_CODENAME)=["']?([^"'\n]*)["']?$""", os_release, re.MULTILINE))
    return fields.get("ID", ""), fields.get("VERSION_CODENAME", "")


def machine_release() -> tuple[str, str]:
    """``(ID, VERSION_CODENAME)`` of this machine."""
    try:
        return release(Path("/etc/os-release").read_text())
    except OSError:
        return "", ""


def require(programs: Mapping[str, str], finder: Finder = find) -> None:
    """Check that all programs are there.

    Raises:
        StrongroomError: names every one that is missing, and the command that installs them.
    """
    if missing := [name for name in programs if finder(name) is None]:
        packages = " ".join(sorted({programs[name] for name in missing}))
        raise StrongroomError(
            f"lab: this machine has no {', '.join(missing)}; a lab needs {', '.join(sorted(programs))}",
            hint=f"apt-get install {packages}",
        )


def qemu_version(text: str) -> tuple[int, int] | None:
    """``(major, minor)`` of what ``qemu-system-x86_64 --version`` prints; None if it says nothing of the kind."""
    found = re.search(r"version (\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else None


def judge_qemu(text: str, codename: str) -> None:
    """Check the version of QEMU.

    Args:
        text: what ``qemu-system-x86_64 --version`` prints.
        codename: this machine's Debian release, for the hint.

    Raises:
        StrongroomError: it is too old.
    """
    version = qemu_version(text)
    if version is None or version < MINIMUM_QEMU:
        found = ".".join(map(str, version)) if version else (text.strip().splitlines() or ["nothing"])[0]
        raise StrongroomError(
            f"lab: {QEMU} is {found}; a lab needs {'.'.join(map(str, MINIMUM_QEMU))} or newer",
            hint=f"apt-get install -t {codename or 'RELEASE'}-backports qemu-system-x86",
        )


def judge_architecture(machine: str) -> None:
    """Check the architecture of this machine (as ``uname -m`` says it)."""
    if machine != "x86_64":
        raise StrongroomError(f"lab: this machine is {machine}; a lab's hosts run on x86_64 only")


def check(programs: Iterable[Mapping[str, str]] = (TO_RUN,)) -> None:
    """Check this machine: architecture, programs, version of QEMU.

    Raises:
        StrongroomError: one line that names all that is missing.
    """
    judge_architecture(platform.machine())
    wanted = {name: package for group in programs for name, package in group.items()}
    if os.geteuid() != 0 and "mmdebstrap" in wanted:
        wanted["fakeroot"] = "fakeroot"
    require(wanted)
    if QEMU in wanted:
        said = subprocess.run([QEMU, "--version"], capture_output=True, text=True, check=False).stdout
        judge_qemu(said, machine_release()[1])
