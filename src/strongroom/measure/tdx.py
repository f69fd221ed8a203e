"""What a TD's registers have to be on QEMU: MRTD of the firmware, RTMR1 and RTMR2 of what it boots.

MRTD (Intel TDX Module specification, TDH.MEM.PAGE.ADD and TDH.MR.EXTEND): one SHA-384 over a 128-byte record for each page
that is added, and for each measured 256 bytes a record and the bytes. RTMRs are extended like PCRs, with SHA-384. RTMR0 is
not computed: it holds the TD's memory map, its variables and QEMU's ACPI tables; judge it by the event log.
"""

from __future__ import annotations

import hashlib
from typing import Final

from strongroom.measure import pe, registers
from strongroom.measure.ovmf import PAGE, Firmware, TdxSection

SIZE: Final = 48
_EXTEND: Final = 1 << 0  # attributes of a section: its contents are measured
_AUGMENTED: Final = 1 << 1  # its pages are added at run time, and by nobody's record
_CHUNK: Final = 256


def mrtd(firmware: Firmware, *, two_pass: bool = False) -> bytes:
    """MRTD of a TD started with this image, 48 bytes.

    Args:
        firmware: a TDVF image (Debian: ovmf-inteltdx), whole.
        two_pass: add all pages of a section before measuring it, as QEMU before 9 does; later ones do both page by page.

    Raises:
        ConfigError: the image has no TDX metadata.
    """
    digest = hashlib.sha384()
    for section in firmware.tdx_sections:
        if section.attributes & _AUGMENTED:
            continue
        pages = range(section.address, section.address + section.size, PAGE)
        if two_pass:
            for page in pages:
                digest.update(_record("MEM.PAGE.ADD", page))
            for page in pages:
                _measure(digest, section, page)
        else:
            for page in pages:
                digest.update(_record("MEM.PAGE.ADD", page))
                _measure(digest, section, page)
    return digest.digest()


def _measure(digest: hashlib._Hash, section: TdxSection, page: int) -> None:
    if not section.attributes & _EXTEND:
        return
    contents = section.raw[page - section.address : page - section.address + PAGE].ljust(PAGE, b"\0")
    for offset in range(0, PAGE, _CHUNK):
        digest.update(_record("MR.EXTEND", page + offset) + contents[offset : offset + _CHUNK])


def _record(name: str, address: int) -> bytes:
    return name.encode().ljust(16, b"\0") + address.to_bytes(8, "little") + bytes(104)


def direct(kernel: bytes, initrd: bytes | None, cmdline: str) -> dict[str, dict[str, bytes]]:
    """RTMR1 and RTMR2 where QEMU starts the kernel directly, each by what it depends on.

    The kernel is measured as an EFI image before the boot starts (PCR 4 of a TPM), command line and initrd by its stub
    (PCR 9). Later OVMF has a separator in RTMR1, earlier none. QEMU may edit the kernel's setup header as it loads it:
    give the kernel as QEMU passes it on.

    Args:
        kernel: an EFI image.
        initrd: its bytes; None where there is none, and its stub measures none.
        cmdline: as the kernel gets it.
    """
    image = pe.authenticode(kernel, "sha384")
    first = {
        name: registers.extend("sha384", [image, *registers.boot_events("sha384", separator=separator), *_exit()])
        for name, separator in (("no separator", False), ("separator", True))
    }
    second = [registers.load_options("sha384", cmdline)]
    if initrd is not None:
        second.append(hashlib.sha384(initrd).digest())
    return {"rtmr1": first, "rtmr2": {"direct": registers.extend("sha384", second)}}


def unified(
    image: bytes, *, gpt: bytes | None, loader: bytes | None, attempts: int, phases: tuple[str, ...]
) -> dict[str, dict[str, bytes]]:
    """RTMR1 and RTMR2 where the firmware boots a unified kernel image from a disk, each by what it depends on.

    Args:
        image: the UKI.
        gpt: the boot disk's first sectors (header and entries of its partition table), or None for a disk that has none.
        loader: systemd-boot, where it starts the UKI.
        attempts: how many failed boot options before it are allowed for.
        phases: words that systemd extends in the initrd and later.
    """
    first: dict[str, bytes] = {}
    images = registers.image_events("sha384", [part for part in (loader, image) if part is not None])
    table = [registers.gpt_event("sha384", gpt)] if gpt is not None else []
    for failed in range(attempts + 1):
        for name, separator in (("no separator", False), ("separator", True)):
            events = registers.boot_events("sha384", separator=separator, failed=failed)
            for kernel, digests in images.items():
                label = f"{name}, {failed} failed attempts{kernel}"
                first[label] = registers.extend("sha384", [*events, *table, *digests, *_exit()])
    uki = pe.parse(image)
    second = [*registers.section_events("sha384", uki), *registers.kernel_events("sha384", uki)]
    later = [hashlib.sha384(phase.encode()).digest() for phase in phases]
    return {"rtmr1": first, "rtmr2": {"unified": registers.extend("sha384", second + later)}}


def _exit() -> list[bytes]:
    return [
        hashlib.sha384(text).digest()
        for text in (b"Exit Boot Services Invocation", b"Exit Boot Services Returned with Success")
    ]
