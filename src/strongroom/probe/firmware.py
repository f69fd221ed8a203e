"""AMD's secure processor: what SEV_PLATFORM_STATUS and SNP_PLATFORM_STATUS returned, as hexadecimal bytes or as
``sevtool --platform_status`` tells the first.

Sources: include/uapi/linux/psp-sev.h (struct sev_user_data_status, struct sev_user_data_snp_status); SEV-SNP Firmware ABI
Specification, SNP_PLATFORM_STATUS (byte 3: bit 0 the RMP is initialised, bit 1 the alias check completed).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from strongroom.probe.text import assignments, number

_SEV_BYTES = 12
_SNP_BYTES = 32


@dataclass(frozen=True)
class Sev:
    """SEV platform status. ``state``: 0 uninitialised, 1 initialised, 2 working."""

    api: tuple[int, int, int]
    state: int
    es: bool
    guests: int


@dataclass(frozen=True)
class Snp:
    """SNP platform status. ``state``: 0 uninitialised, 1 initialised. TCB versions are raw, eight bytes each."""

    api: tuple[int, int, int]
    state: int
    rmp_initialised: bool
    alias_checked: bool
    mask_chip_id: bool
    mask_chip_key: bool
    vlek: bool
    hiding: bool
    guests: int
    tcb: bytes
    reported_tcb: bytes


@dataclass(frozen=True)
class Firmware:
    """Both states and the chip's id; None where a command was not issued or failed."""

    sev: Sev | None = None
    snp: Snp | None = None
    chip_id: str | None = None


def _bytes(text: str | None, length: int) -> bytes | None:
    digits = "".join((text or "").split()).removeprefix("0x")
    if len(digits) < 2 * length or len(digits) > 4096:
        return None
    try:
        return bytes.fromhex(digits)
    except ValueError:
        return None


def _sevtool(lines: Sequence[str]) -> Sev | None:
    """AMDESE/sev-tool, one number a line; the build for SEV-SNP counts no guests."""
    told = {key: number(value) for key, value in assignments(lines, ":").items()}
    major, minor, build, state = (told.get(key) for key in ("api_major", "api_minor", "build", "platform_state"))
    if major is None or minor is None or build is None or state is None:
        return None
    return Sev((major, minor, build), state, bool(told.get("config")), told.get("guest_count") or 0)


def parse(lines: Sequence[str]) -> Firmware:
    """``platform_status=``, ``snp_platform_status=`` and ``chip_id=`` with hexadecimal bytes."""
    found = assignments(lines)
    sev, snp = _sevtool(lines), None
    if raw := _bytes(found.get("platform_status"), _SEV_BYTES):
        flags = int.from_bytes(raw[3:7], "little")
        sev = Sev((raw[0], raw[1], raw[7]), raw[2], bool(flags & 0x100), int.from_bytes(raw[8:12], "little"))
    if raw := _bytes(found.get("snp_platform_status"), _SNP_BYTES):
        flags = int.from_bytes(raw[8:12], "little")
        snp = Snp(
            api=(raw[0], raw[1], int.from_bytes(raw[4:8], "little")),
            state=raw[2],
            rmp_initialised=bool(raw[3] & 1),
            alias_checked=bool(raw[3] & 2),
            mask_chip_id=bool(flags & 1),
            mask_chip_key=bool(flags & 2),
            vlek=bool(flags & 4),
            hiding=bool(flags & 64),
            guests=int.from_bytes(raw[12:16], "little"),
            tcb=raw[16:24],
            reported_tcb=raw[24:32],
        )
    chip = found.get("chip_id", "")
    return Firmware(sev, snp, chip if chip and all(char in "0123456789abcdefABCDEF" for char in chip) else None)
