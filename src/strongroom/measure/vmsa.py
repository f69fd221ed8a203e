"""Initial registers of a SEV-SNP vCPU: the page (VMSA) that a launch measures, AMD64 APM volume 2 table B-4.

Values are those at reset (APM volume 2 section 14.1.3) as the VMM loads them; VMMs differ in a few.
"""

from __future__ import annotations

import re
from typing import Final, Literal, NamedTuple

from strongroom.errors import ConfigError

FIRST_VCPU: Final = 0xFFFFFFF0  # the reset vector
_PAGE: Final = 4096


class _Vmm(NamedTuple):
    code: int
    stack: int
    task: int
    rdx: int | None  # None: the CPU's signature, as after a reset
    mxcsr: int
    fcw: int
    pat: int


_PAT: Final = 0x0007040600070406
_VMMS: Final = {
    "qemu": _Vmm(0x9B, 0x93, 0x8B, None, 0x1F80, 0x37F, _PAT),
    "ec2": _Vmm(0x9B, 0x92, 0x83, 0x600, 0, 0, _PAT),
    "gce": _Vmm(0x9B, 0x93, 0x8B, 0x600, 0, 0, 0x00070106),
}
_EC2_FIRST_CODE: Final = 0x9A
_DATA, _TABLE = 0x93, 0x82

# Family, model, stepping of QEMU's EPYC models (target/i386/cpu.c); versions and aliases of a model share them.
_MODELS: Final = {
    "EPYC": (23, 1, 2),
    "EPYC-IBPB": (23, 1, 2),
    "EPYC-Rome": (23, 49, 0),
    "EPYC-Milan": (25, 1, 1),
    "EPYC-Genoa": (25, 17, 0),
    "EPYC-Turin": (26, 0, 0),
}
_VERSION: Final = re.compile(r"-v\d{1,2}$")


def signature(model: str) -> int:
    """CPUID Fn0000_0001_EAX of a QEMU model, or of ``family:model:stepping``, or as a number in hex (``0x...``).

    Raises:
        ConfigError: it is none of these.
    """
    if re.fullmatch(r"0x[0-9a-fA-F]{1,8}", model):
        return int(model, 16)
    name = _VERSION.sub("", model)
    if name in _MODELS:
        return _signature(*_MODELS[name])
    parts = model.split(":")
    if len(parts) == 3 and all(part.isascii() and part.isdigit() and len(part) < 4 for part in parts):
        family, number, stepping = map(int, parts)
        if family < 271 and number < 256 and stepping < 16:
            return _signature(family, number, stepping)
    allowed = f"{', '.join(_MODELS)}, family:model:stepping and 0x..."
    raise ConfigError(f"vcpu model: found {model!r}, allowed are {allowed}")


def _signature(family: int, model: int, stepping: int) -> int:
    """AMD CPUID specification (25481), Fn0000_0001_EAX."""
    base, extended = min(family, 15), max(family - 15, 0)
    return extended << 20 | (model >> 4) << 16 | base << 8 | (model & 15) << 4 | stepping


def page(start: int, cpu: int, features: int, vmm: Literal["qemu", "ec2", "gce"]) -> bytes:
    """The page of one vCPU.

    Args:
        start: its first instruction's address.
        cpu: its signature.
        features: SEV_FEATURES.
        vmm: whose values.
    """
    values = _VMMS[vmm]
    code = _EC2_FIRST_CODE if vmm == "ec2" and start == FIRST_VCPU else values.code
    save = bytearray(_PAGE)
    segments = {
        0x00: (0, _DATA, 0),  # ES
        0x10: (0xF000, code, start & 0xFFFF0000),  # CS
        0x20: (0, values.stack, 0),  # SS
        0x30: (0, _DATA, 0),  # DS
        0x40: (0, _DATA, 0),  # FS
        0x50: (0, _DATA, 0),  # GS
        0x60: (0, 0, 0),  # GDTR
        0x70: (0, _TABLE, 0),  # LDTR
        0x80: (0, 0, 0),  # IDTR
        0x90: (0, values.task, 0),  # TR
    }
    for offset, (selector, attributes, base) in segments.items():
        save[offset : offset + 16] = (
            selector.to_bytes(2, "little")
            + attributes.to_bytes(2, "little")
            + (0xFFFF).to_bytes(4, "little")
            + base.to_bytes(8, "little")
        )
    registers = {
        0x0D0: (8, 0x1000),  # EFER: SVME, which KVM sets
        0x148: (8, 0x40),  # CR4: MCE, likewise
        0x158: (8, 0x10),  # CR0
        0x160: (8, 0x400),  # DR7
        0x168: (8, 0xFFFF0FF0),  # DR6
        0x170: (8, 0x2),  # RFLAGS
        0x178: (8, start & 0xFFFF),  # RIP
        0x268: (8, values.pat),
        0x310: (8, cpu if values.rdx is None else values.rdx),  # RDX
        0x3B0: (8, features),
        0x3E8: (8, 0x1),  # XCR0
        0x408: (4, values.mxcsr),
        0x410: (2, values.fcw),
    }
    for offset, (size, value) in registers.items():
        save[offset : offset + size] = value.to_bytes(size, "little")
    return bytes(save)
