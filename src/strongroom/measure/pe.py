"""EFI images (PE/COFF): their sections, and the Authenticode digest by which firmware measures and checks them.

Microsoft PE format and "Windows Authenticode Portable Executable Signature Format" (2008), section "Calculating the PE
image hash"; TCG PC Client Platform Firmware Profile 1.06 section 10.2.3 measures the same digest.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from strongroom.measure.layout import cannot, cut, number

_OPTIONAL: Final = {
    0x10B: (128, 92),
    0x20B: (144, 108),
}  # magic: offsets of the certificate entry and of the entries' number
_CHECKSUM: Final = 64  # offset in the optional header, 4 bytes
_MOST_SECTIONS: Final = 96


@dataclass(frozen=True)
class Section:
    """A section: ``data`` is what is in memory, as long as its virtual size."""

    name: str
    data: bytes


@dataclass(frozen=True)
class _Layout:
    optional: int
    certificate: int | None
    headers: int
    table: int
    sections: int


def _layout(data: bytes) -> _Layout:
    if data[:2] != b"MZ":
        cannot("image", "it is no EFI image: it does not start with MZ")
    header = number(data, 0x3C, 4, "image")
    if cut(data, header, 4, "image") != b"PE\0\0":
        cannot("image", "it is no EFI image: it has no PE header")
    sections = number(data, header + 6, 2, "image")
    size = number(data, header + 20, 2, "image")
    optional = header + 24
    magic = number(data, optional, 2, "image")
    if magic not in _OPTIONAL or sections > _MOST_SECTIONS:
        cannot(
            "image",
            f"optional header {magic:#x} with {sections} sections, allowed are PE32 and PE32+ with {_MOST_SECTIONS}",
        )
    certificate, entries = _OPTIONAL[magic]
    has = size >= certificate + 8 and number(data, optional + entries, 4, "image") > 4
    headers = number(data, optional + 60, 4, "image")
    table = optional + size
    if not table + 40 * sections <= headers <= len(data):
        cannot("image", f"its headers end at {headers:#x}, which is not within the image")
    return _Layout(optional, optional + certificate if has else None, headers, table, sections)


def parse(data: bytes) -> tuple[Section, ...]:
    """Sections in their order.

    Raises:
        ConfigError: it is no PE image, or a section is not within it.
    """
    layout, found = _layout(data), []
    for position in range(layout.sections):
        at = layout.table + 40 * position
        name = cut(data, at, 8, "image").rstrip(b"\0").decode("ascii", "replace")
        size, _, raw, offset = (number(data, at + 8 + 4 * part, 4, "image") for part in range(4))
        contents = cut(data, offset, min(size, raw), f"image.{name}")
        if size - len(contents) > 1 << 28:
            cannot(f"image.{name}", f"{size} bytes in memory of {raw} in the file")
        found.append(Section(name, contents.ljust(size, b"\0")))
    return tuple(found)


def authenticode(data: bytes, algorithm: str) -> bytes:
    """The image's digest without its checksum, its certificate entry and its certificates.

    Args:
        data: the file, whole.
        algorithm: ``sha256`` or ``sha384``.

    Raises:
        ConfigError: it is no PE image, or its sections overlap or are not within it.
    """
    layout = _layout(data)
    digest = hashlib.new(algorithm)
    checksum = layout.optional + _CHECKSUM
    digest.update(data[:checksum])
    if layout.certificate is None:
        digest.update(data[checksum + 4 : layout.headers])
        certificates = 0
    else:
        digest.update(data[checksum + 4 : layout.certificate])
        digest.update(data[layout.certificate + 8 : layout.headers])
        certificates = number(data, layout.certificate + 4, 4, "image")
    hashed = layout.headers
    raw = []
    for position in range(layout.sections):
        at = layout.table + 40 * position
        size, offset = number(data, at + 16, 4, "image"), number(data, at + 20, 4, "image")
        if size:
            raw.append((offset, size))
    for offset, size in sorted(raw):
        digest.update(cut(data, offset, size, "image"))
        hashed += size
    if hashed + certificates > len(data):
        cannot("image", "its sections and certificates are larger than the file")
    digest.update(data[hashed : len(data) - certificates])
    return digest.digest()
