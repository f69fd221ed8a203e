"""OVMF's own tables: the list of GUIDed entries at its end, and the sections that SEV-SNP and TDX launches are made of.

The list ends 32 bytes before the end of the image (the reset vector), and is read backwards: each entry is its data, its
length with this header in 2 bytes, and its GUID (edk2 OvmfPkg/ResetVector/Ia16/ResetVectorVtf0.asm).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Final

from strongroom.measure.layout import cannot, cut, number

PAGE: Final = 4096
_END: Final = 1 << 32  # firmware is mapped up to 4 GiB
_FOOTER: Final = "96b582de-1fb2-45f7-baea-a366c55a082d"
_RESET: Final = "00f771de-1a7e-4fcb-890e-68c77e2fb44e"  # SEV-ES reset block: where other vCPUs start
_HASHES: Final = "7255371f-3a3b-4b04-927b-1da6efa8d454"  # where QEMU puts the table of kernel hashes
_SEV: Final = "dc886566-984a-4798-a75e-5585a7bf67cc"
_TDX: Final = "e47a6535-984a-4798-865e-4685a7bf8ec2"
_HEADER: Final = 18
_LARGEST: Final = 64 * 1024 * 1024

ZERO, SECRETS, CPUID, CALLING_AREA, KERNEL_HASHES = 1, 2, 3, 4, 0x10
_SEV_TYPES: Final = {ZERO, SECRETS, CPUID, CALLING_AREA, KERNEL_HASHES}


@dataclass(frozen=True)
class SevSection:
    """Memory that a SEV-SNP launch adds beside the firmware: guest address, bytes, and how."""

    address: int
    size: int
    type: int


@dataclass(frozen=True)
class TdxSection:
    """Memory that a TD launch adds (TDVF design guide, section 11): ``raw`` is what the image has for it."""

    raw: bytes
    address: int
    size: int
    type: int
    attributes: int


@dataclass(frozen=True)
class Firmware:
    """An image, and what its tables say."""

    data: bytes
    entries: Mapping[str, bytes]

    @property
    def address(self) -> int:
        """Where the image starts in the guest."""
        return _END - len(self.data)

    @property
    def reset_address(self) -> int:
        """Where vCPUs other than the first start."""
        return number(self._entry(_RESET, "the SEV-ES reset block"), 0, 4, "firmware")

    @property
    def hashes_address(self) -> int:
        """Where the table of kernel hashes goes."""
        return number(self._entry(_HASHES, "an address for kernel hashes"), 0, 4, "firmware")

    def _entry(self, guid: str, what: str) -> bytes:
        if guid not in self.entries:
            cannot("firmware", f"it has no {what} (entry {guid}); take an image built for confidential guests")
        return self.entries[guid]

    @cached_property
    def sev_sections(self) -> tuple[SevSection, ...]:
        """Sections of a SEV-SNP launch, in their order (edk2 OvmfPkg/ResetVector/X64/OvmfSevMetadata.asm)."""
        start = self._metadata(_SEV, "SEV metadata", b"ASEV")
        found = []
        for position in range(number(self.data, start + 12, 4, "firmware.sev")):
            at = start + 16 + 12 * position
            section = SevSection(*(number(self.data, at + 4 * part, 4, "firmware.sev") for part in range(3)))
            if section.type not in _SEV_TYPES:
                cannot("firmware.sev", f"section of type {section.type:#x}, known are {sorted(_SEV_TYPES)}")
            if section.address % PAGE or section.size % PAGE:
                cannot("firmware.sev", f"section at {section.address:#x} is not of whole pages")
            found.append(section)
        return tuple(found)

    @cached_property
    def tdx_sections(self) -> tuple[TdxSection, ...]:
        """Sections of a TD launch, in their order."""
        start = self._metadata(_TDX, "TDX metadata", b"TDVF")
        found = []
        for position in range(number(self.data, start + 12, 4, "firmware.tdx")):
            at = start + 16 + 32 * position
            offset, raw_size = (number(self.data, at + 4 * part, 4, "firmware.tdx") for part in range(2))
            address, size = (number(self.data, at + 8 + 8 * part, 8, "firmware.tdx") for part in range(2))
            form, attributes = (number(self.data, at + 24 + 4 * part, 4, "firmware.tdx") for part in range(2))
            if address % PAGE or size % PAGE or size > _LARGEST * 64 or raw_size > size:
                cannot(
                    "firmware.tdx", f"section at {address:#x} of {size:#x} bytes is not of whole pages, or too large"
                )
            raw = cut(self.data, offset, raw_size, "firmware.tdx")
            found.append(TdxSection(raw, address, size, form, attributes))
        return tuple(found)

    def _metadata(self, guid: str, what: str, signature: bytes) -> int:
        """Start of a metadata block, whose distance from the image's end the entry gives."""
        start = len(self.data) - number(self._entry(guid, what), 0, 4, "firmware")
        if cut(self.data, start, 4, "firmware") != signature or number(self.data, start + 8, 4, "firmware") != 1:
            cannot("firmware", f"its {what} has another signature or version than {signature.decode()} 1")
        if number(self.data, start + 12, 4, "firmware") > 256:
            cannot("firmware", f"its {what} announces more than 256 sections")
        return start


def parse(data: bytes) -> Firmware:
    """Read an image's tables.

    Raises:
        ConfigError: it is no OVMF image of whole pages with such tables.
    """
    if not 0 < len(data) <= _LARGEST or len(data) % PAGE:
        cannot("firmware", f"{len(data)} bytes, allowed are whole pages of {PAGE} up to {_LARGEST}")
    end = len(data) - 32
    size, guid = _header(data, end)
    if guid != _FOOTER:
        cannot(
            "firmware",
            "it has no table of entries at its end; it is no OVMF image, or its variables are in a file apart",
        )
    start, position = end - size, end - _HEADER
    entries: dict[str, bytes] = {}
    cut(data, start, size, "firmware")
    while position - start >= _HEADER:
        size, guid = _header(data, position)
        if size < _HEADER or position - size < start:
            cannot("firmware", f"entry {guid} has a length of {size}, which its table does not hold")
        entries.setdefault(guid, data[position - size : position - _HEADER])
        position -= size
    return Firmware(data, MappingProxyType(entries))


def _header(data: bytes, end: int) -> tuple[int, str]:
    raw = cut(data, end - _HEADER, _HEADER, "firmware")
    return int.from_bytes(raw[:2], "little"), str(uuid.UUID(bytes_le=raw[2:]))
