"""The launch digest of a SEV-SNP guest: SEV-SNP Firmware ABI (56860) section 8.17.2, over what QEMU and others add.

The digest starts at zero, and each page that is added replaces it by the SHA-384 of a PAGE_INFO: the digest so far, the
page's contents' SHA-384, its type and its guest address. Pages are: the firmware, the sections that its metadata asks for
(among them the page with the kernel's hashes), and one page of initial registers (VMSA) for each vCPU.
"""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from itertools import product
from typing import Final, Literal

from strongroom.measure import ovmf, vmsa
from strongroom.measure.layout import cannot
from strongroom.measure.ovmf import CPUID, KERNEL_HASHES, PAGE, SECRETS, Firmware

SIZE: Final = 48
_NORMAL, _VMSA, _ZERO, _UNMEASURED, _SECRETS, _CPUID = range(1, 7)
_VMSA_ADDRESS: Final = 0xFFFFFFFFF000  # the page before 2**48, where the firmware records every VMSA
_NOTHING: Final = bytes(SIZE)
_MOST_VCPUS: Final = 4096
_TABLE, _CMDLINE, _INITRD, _KERNEL = (
    "9438d606-4f22-4cc9-b479-a793d411fd21",
    "97d02dd8-bd20-4c94-aa78-e7714d36ab2a",
    "44baf731-3a2f-4bd7-9af1-41e29169781d",
    "4de79437-abd2-427f-b835-d5b172d2045b",
)
Vmm = Literal["qemu", "ec2", "gce"]


@dataclass(frozen=True)
class DirectBoot:
    """What QEMU boots without a boot loader; their hashes are part of the launch digest."""

    kernel: bytes
    initrd: bytes = b""
    cmdline: str = ""


class _Digest:
    def __init__(self, start: bytes) -> None:
        self.value = start

    def page(self, form: int, address: int, contents: bytes = _NOTHING) -> None:
        """Add a page by the digest of its contents. PAGE_INFO is 0x70 bytes; no permissions for other VMPLs."""
        info = self.value + contents + (0x70).to_bytes(2, "little") + bytes([form]) + bytes(5)
        self.value = hashlib.sha384(info + address.to_bytes(8, "little")).digest()

    def pages(self, form: int, address: int, size: int) -> None:
        for offset in range(0, size, PAGE):
            self.page(form, address + offset)

    def memory(self, address: int, data: bytes) -> None:
        for offset in range(0, len(data), PAGE):
            self.page(_NORMAL, address + offset, hashlib.sha384(data[offset : offset + PAGE]).digest())


def firmware_digest(firmware: Firmware) -> bytes:
    """The digest after the firmware's own pages alone, 48 bytes: what a launch of the same image starts from."""
    digest = _Digest(_NOTHING)
    digest.memory(firmware.address, firmware.data)
    return digest.value


def launch_digest(
    firmware: Firmware,
    *,
    vcpus: int,
    signature: int,
    features: int = 0x1,
    boot: DirectBoot | None = None,
    vmm: Vmm = "qemu",
    start: bytes | None = None,
) -> bytes:
    """The measurement that a report of this guest has, 48 bytes.

    Args:
        firmware: the image that the guest is started with.
        vcpus: their number at launch.
        signature: CPUID Fn0000_0001_EAX of the vCPU model, see :func:`strongroom.measure.vmsa.signature`.
        features: SEV_FEATURES of the VMSA: 0x1 SNP alone; newer QEMU and KVM may set 0x21 (debug swap).
        boot: kernel, initrd and command line where they are started directly; needs an image with a place for hashes.
        vmm: whose initial registers and order of pages.
        start: digest of the firmware's pages where the image at hand is only its end; computed where it isn't given.

    Raises:
        ConfigError: the image has no metadata for such a launch, or no place for the kernel's hashes.
    """
    if not 1 <= vcpus <= _MOST_VCPUS:
        cannot("vcpus", f"{vcpus}, allowed are 1 to {_MOST_VCPUS}")
    digest = _Digest(firmware_digest(firmware) if start is None else start)
    _sections(digest, firmware, boot, vmm)
    first = hashlib.sha384(vmsa.page(vmsa.FIRST_VCPU, signature, features, vmm)).digest()
    other = b""
    if vcpus > 1:
        other = hashlib.sha384(vmsa.page(firmware.reset_address, signature, features, vmm)).digest()
    for number in range(vcpus):
        digest.page(_VMSA, _VMSA_ADDRESS, other if number else first)
    return digest.value


def _sections(digest: _Digest, firmware: Firmware, boot: DirectBoot | None, vmm: Vmm) -> None:
    sections = firmware.sev_sections
    if boot and not any(section.type == KERNEL_HASHES for section in sections):
        cannot(
            "firmware",
            "it has no section for kernel hashes, so that a kernel started directly would not be measured;"
            " take an image of OvmfPkg/AmdSev (Debian: ovmf-amdsev)",
        )
    # EC2 adds the CPUID page last.
    late = [section for section in sections if section.type == CPUID] if vmm == "ec2" else []
    for section in [*(section for section in sections if section not in late), *late]:
        if section.type == SECRETS:
            digest.page(_SECRETS, section.address)
        elif section.type == CPUID:
            digest.page(_CPUID, section.address)
        elif section.type == KERNEL_HASHES and boot:
            digest.memory(section.address, hashes_page(boot, firmware.hashes_address % PAGE, section.size))
        elif vmm == "gce" and section.type == ovmf.ZERO:
            digest.pages(_UNMEASURED, section.address, section.size)
        else:  # plain memory, a calling area, or the place for hashes that there are none of: zeros
            digest.pages(_ZERO, section.address, section.size)


def hashes_page(boot: DirectBoot, offset: int, size: int) -> bytes:
    """The page with the hashes that QEMU writes (qemu target/i386/sev.c): command line with its NUL, initrd, kernel."""
    entries = b""
    for guid, data in ((_CMDLINE, boot.cmdline.encode() + b"\0"), (_INITRD, boot.initrd), (_KERNEL, boot.kernel)):
        entries += _entry(guid, hashlib.sha256(data).digest())
    table = _entry(_TABLE, entries)
    table += bytes(-len(table) % 16)
    if offset + len(table) > size:
        cannot("firmware", "its place for kernel hashes reaches beyond its section")
    return bytes(offset) + table + bytes(size - offset - len(table))


def _entry(guid: str, data: bytes) -> bytes:
    return uuid.UUID(guid).bytes_le + (len(data) + 18).to_bytes(2, "little") + data


def allowed(
    firmware: Firmware,
    *,
    vcpus: tuple[int, ...],
    signatures: tuple[int, ...],
    features: tuple[int, ...],
    boot: DirectBoot | None = None,
    vmm: Vmm = "qemu",
) -> dict[str, bytes]:
    """Digests of every combination, by what makes them; the firmware's pages are hashed once.

    Raises:
        ConfigError: see :func:`launch_digest`, or more than 1,024 combinations.
    """
    if len(vcpus) * len(signatures) * len(features) > 1024:
        cannot(
            "combinations", "more than 1024 of vCPU counts, models and features; a policy of so many allows anything"
        )
    start = firmware_digest(firmware)
    return {
        f"vcpus={count} signature={signature:#x} features={feature:#x}": launch_digest(
            firmware, vcpus=count, signature=signature, features=feature, boot=boot, vmm=vmm, start=start
        )
        for count, signature, feature in product(vcpus, signatures, features)
    }
