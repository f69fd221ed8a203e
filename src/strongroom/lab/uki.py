"""A host that boots one measured file: a unified kernel image on an EFI system partition, in place of QEMU's own loader.

The image is systemd's stub with the root file system's kernel and initrd, and a command line, as further sections (UAPI
Group, "Unified Kernel Image"). QEMU shows a folder as the partition (its driver vvfat), so that nothing has to be formatted.
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.lab import tools
from strongroom.lab.rootfs import RootFs
from strongroom.lab.state import Lab, LabHost

TO_RUN = {"debugfs": "e2fsprogs"}
STUB = "/usr/lib/systemd/boot/efi/linuxx64.efi.stub"
OS_RELEASE = "/usr/lib/os-release"
# Where firmware looks on a disk that no boot entry names (UEFI 2.10, section 3.5.1.1).
_IMAGE = Path("EFI", "BOOT", "BOOTX64.EFI")
_SLOT = "0x1e"  # the bus's last free slot: Linux numbers virtio disks by slots, and the root disk has to stay the first

_READ_ONLY_DATA = 0x40000040  # IMAGE_SCN_CNT_INITIALIZED_DATA, IMAGE_SCN_MEM_READ
_ENTRY = 40  # bytes of a section's entry in the table


def unify(stub: bytes, sections: Mapping[str, bytes]) -> bytes:
    """The stub with further sections (Microsoft PE format, sections 3 and 4).

    Args:
        stub: an EFI image with room for more entries in its section table.
        sections: by name, of at most eight bytes; they follow the stub's own in this order.

    Raises:
        StrongroomError: it is no PE image, or has no room.
    """

    def number(at: int, size: int) -> int:
        return int.from_bytes(made[at : at + size], "little")

    def put(at: int, value: int, size: int = 4) -> None:
        made[at : at + size] = value.to_bytes(size, "little")

    made = bytearray(stub)
    header = number(0x3C, 4)
    if made[:2] != b"MZ" or made[header : header + 4] != b"PE\0\0":
        raise StrongroomError(f"lab: {STUB} of the root file system is no EFI image")
    optional = header + 24
    table, count = optional + number(header + 20, 2), number(header + 6, 2)
    alignment, file_alignment = number(optional + 32, 4), number(optional + 36, 4)
    if table + _ENTRY * (count + len(sections)) > number(optional + 60, 4):
        raise StrongroomError(f"lab: {STUB}: no room for {len(sections)} more sections beside its {count}")
    entries = [table + _ENTRY * position for position in range(count)]
    address = max(number(at + 12, 4) + number(at + 8, 4) for at in entries)
    for place, (name, data) in enumerate(sections.items(), count):
        address = _up(address, alignment)
        made += bytes(_up(len(made), file_alignment) - len(made))
        size = _up(len(data), file_alignment)
        at = table + _ENTRY * place
        made[at : at + _ENTRY] = name.encode().ljust(8, b"\0") + bytes(_ENTRY - 8)
        for offset, value in ((8, len(data)), (12, address), (16, size), (20, len(made)), (36, _READ_ONLY_DATA)):
            put(at + offset, value)
        made += data.ljust(size, b"\0")
        address += len(data)
    put(header + 6, count + len(sections), 2)
    put(optional + 8, number(optional + 8, 4) + sum(_up(len(data), file_alignment) for data in sections.values()))
    put(optional + 56, _up(address, alignment))
    put(optional + 64, 0)  # the checksum, which firmware does not look at
    return bytes(made)


def _up(value: int, step: int) -> int:
    return -(-value // step) * step


def make(root: RootFs, cmdline: str) -> bytes:
    """The image of a root file system's own stub, kernel and initrd.

    Raises:
        StrongroomError: the root file system has no stub.
    """
    sections = {
        ".osrel": _file(root, OS_RELEASE),
        ".cmdline": cmdline.encode(),
        ".linux": root.kernel.read_bytes(),
        ".initrd": root.initrd.read_bytes(),
    }
    return unify(_file(root, STUB), sections)


def _file(root: RootFs, path: str) -> bytes:
    """A file out of the root file system's disk, which is not mounted for it."""
    program = tools.find("debugfs") or "debugfs"
    done = subprocess.run([program, "-R", f"cat {path}", str(root.disk)], capture_output=True, check=False)
    if done.returncode or not done.stdout:
        said = (done.stderr.decode(errors="replace").strip().splitlines() or ["is empty"])[-1]
        raise StrongroomError(f"lab: {root.disk}: {path}: {said}", hint="strongroom lab reset makes a new one")
    return done.stdout


def image(lab: Lab, host: LabHost) -> Path:
    """The file that the host's firmware starts."""
    return _partition(lab, host) / _IMAGE


def _partition(lab: Lab, host: LabHost) -> Path:
    return lab.host_folder(host) / "esp"


def ensure(lab: Lab, host: LabHost, root: RootFs, cmdline: str) -> None:
    """Write the host's image unless it has one."""
    file = image(lab, host)
    if file.exists():
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    new = lab.host_folder(host) / ".uki.new"  # outside: the guest's firmware should not see it
    new.write_bytes(make(root, cmdline))
    new.rename(file)


def arguments(lab: Lab, host: LabHost) -> list[str]:
    """What QEMU needs: the partition as a disk that cannot be written, and the first that firmware tries."""
    folder = str(_partition(lab, host)).replace(",", ",,")
    return [
        *("-drive", f"if=none,id=esp,format=raw,readonly=on,file=fat:{folder}"),
        *("-device", f"virtio-blk-pci,drive=esp,bootindex=0,addr={_SLOT}"),
    ]
