"""Events that firmware and systemd-stub extend registers with, as digests of either bank; PCRs and RTMRs are made of them.

TCG PC Client Platform Firmware Profile 1.06 (section 10 for event types), and systemd's documented measurements
(https://systemd.io/TPM2_PCR_MEASUREMENTS). Digests are of the event's data where the data is what is measured.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from strongroom.measure import cpio, pe
from strongroom.measure.layout import cannot, cut, number
from strongroom.measure.pe import Section

# Sections of a unified kernel image in the order that the stub measures them, whatever their order in the file.
MEASURED: Final = (
    ".linux",
    ".osrel",
    ".cmdline",
    ".initrd",
    ".ucode",
    ".splash",
    ".dtb",
    ".dtbauto",
    ".hwids",
    ".uname",
    ".sbat",
    ".pcrpkey",
    ".profile",
    ".efifw",
)
_CALLING: Final = b"Calling EFI Application from Boot Option"
_RETURNING: Final = b"Returning from EFI Application from Boot Option"
SEPARATOR: Final = bytes(4)
# Embedded sections that the stub hands on as files, in the order of its list of initrds.
_EXTRA: Final = {
    ".pcrsig": "tpm2-pcr-signature.json",
    ".pcrpkey": "tpm2-pcr-public-key.pem",
    ".osrel": "os-release",
    ".profile": "profile",
}
_SECTOR: Final = 512


def extend(algorithm: str, digests: Iterable[bytes]) -> bytes:
    """A register after these digests, from zero."""
    value = bytes(hashlib.new(algorithm).digest_size)
    for digest in digests:
        value = hashlib.new(algorithm, value + digest).digest()
    return value


def boot_events(algorithm: str, *, separator: bool = True, failed: int = 0) -> list[bytes]:
    """PCR 4 up to the image: the first attempt, the separator, and each attempt after one that failed."""
    events = [_CALLING, *([SEPARATOR] if separator else []), *([_RETURNING, _CALLING] * failed)]
    return [hashlib.new(algorithm, event).digest() for event in events]


def image_events(algorithm: str, images: Sequence[bytes]) -> dict[str, list[bytes]]:
    """PCR 4 from the first image on, by what it depends on: whether the firmware is asked to load the inner kernel.

    systemd-stub 252 to 257 asks it (LoadImage), so that the kernel is measured once more, by itself; later ones, and 257 of
    some distributions, load it themselves. The image's own digest holds the kernel in either case.

    Args:
        algorithm: of the register's bank.
        images: in the order that they are started; the last is the unified kernel image.
    """
    digests = [pe.authenticode(image, algorithm) for image in images]
    found = {"": digests}
    for section in pe.parse(images[-1]):
        if section.name == ".linux" and section.data.startswith(b"MZ"):
            found[", the kernel by itself too"] = [*digests, pe.authenticode(section.data, algorithm)]
    return found


def section_events(algorithm: str, sections: Sequence[Section]) -> list[bytes]:
    """PCR 11: for each section its name with a NUL, then its contents."""
    digests = []
    for section in _measured(sections):
        digests.append(hashlib.new(algorithm, section.name.encode() + b"\0").digest())
        digests.append(hashlib.new(algorithm, section.data).digest())
    return digests


def _measured(sections: Sequence[Section]) -> list[Section]:
    names = [section.name for section in sections]
    if ".linux" not in names:
        cannot("image", "it is no unified kernel image: it has no .linux")
    doubled = {name for name in MEASURED if names.count(name) > 1}
    if doubled:
        cannot(
            "image",
            f"{', '.join(sorted(doubled))} more than once: an image of several profiles or device trees is not computed",
        )
    return [section for name in MEASURED for section in sections if section.name == name]


def load_options(algorithm: str, cmdline: str) -> bytes:
    """The command line as the kernel's EFI stub measures it: UTF-16, little-endian, with its NUL."""
    return hashlib.new(algorithm, cmdline.encode("utf-16-le") + b"\0\0").digest()


def kernel_events(algorithm: str, sections: Sequence[Section]) -> list[bytes]:
    """PCR 9: the kernel's EFI stub measures the command line and all initrds in one, as systemd-stub hands them on.

    Initrds are, each padded to 4 bytes: microcode, the image's own, then a cpio for each embedded file.
    """
    found = {section.name: section.data for section in sections}
    digests = [load_options(algorithm, mangled(found.get(".cmdline", b"")))]
    archives = [found[name] for name in (".ucode", ".initrd") if name in found]
    archives += [cpio.archive(".extra", name, found[section]) for section, name in _EXTRA.items() if section in found]
    if archives:
        joined = b"".join(archive + bytes(-len(archive) % 4) for archive in archives)
        digests.append(hashlib.new(algorithm, joined).digest())
    return digests


def mangled(section: bytes) -> str:
    """A .cmdline as the stub passes it on: white space and control characters are spaces, none at either end."""
    try:
        text = section.partition(b"\0")[0].decode()
    except UnicodeDecodeError:
        cannot("image.cmdline", "it is not UTF-8")
    return "".join(" " if character <= " " or character == "\x7f" else character for character in text).strip(" ")


def variable_event(algorithm: str, vendor: bytes, name: str, value: bytes) -> bytes:
    """UEFI_VARIABLE_DATA: vendor GUID, lengths of name and value, name in UTF-16 without a NUL, value."""
    encoded = name.encode("utf-16-le")
    data = vendor + (len(encoded) // 2).to_bytes(8, "little") + len(value).to_bytes(8, "little") + encoded + value
    return hashlib.new(algorithm, data).digest()


def gpt_event(algorithm: str, disk: bytes) -> bytes:
    """UEFI_GPT_DATA of a disk's first sectors: its header, the number of entries in use, and those entries.

    Raises:
        ConfigError: there is no partition table, or it is not all there.
    """
    header = cut(disk, _SECTOR, 92, "gpt")
    if header[:8] != b"EFI PART":
        cannot(
            "gpt",
            "the disk's second sector holds no partition table; give the disk's first sectors, with 512 bytes each",
        )
    start, count, size = (number(header, offset, width, "gpt") for offset, width in ((72, 8), (80, 4), (84, 4)))
    if count > 1024 or not 128 <= size <= 4096:
        cannot("gpt", f"{count} entries of {size} bytes")
    entries = [cut(disk, start * _SECTOR + size * position, size, "gpt") for position in range(count)]
    used = [entry for entry in entries if any(entry[:16])]
    return hashlib.new(algorithm, header + len(used).to_bytes(8, "little") + b"".join(used)).digest()
