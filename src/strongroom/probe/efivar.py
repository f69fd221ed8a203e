"""SGX registration variables of the BIOS, as efivarfs gives them: four bytes of attributes, then the variable.

Source: SGXDataCenterAttestationPrimitives, tools/SGXPlatformRegistration/include/UefiVar.h: a status variable has
u16 version, u16 size, u16 status flags (bit 0 registration complete, bit 1 package info complete) and u8 error code; a
configuration variable has u16 version, u16 size, u16 flags (bit 0: the registration server does not save keys).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_ATTRIBUTES = 4
STATUS = "SgxRegistrationStatus"
CONFIGURATION = "SgxRegistrationConfiguration"


@dataclass(frozen=True)
class Registration:
    """The platform's registration with Intel; None where a variable is not there or too short."""

    complete: bool | None = None
    error: int | None = None
    indirect: bool | None = None


def parse(lines: Sequence[str]) -> dict[str, bytes]:
    """``name=hex bytes`` lines (attributes included) -> name without its GUID -> bytes; what is no hex is left out."""
    found: dict[str, bytes] = {}
    for line in lines:
        name, mark, text = line.strip().partition("=")
        digits = "".join(text.split())
        if not mark or len(digits) % 2 or len(digits) > 1 << 16:
            continue
        try:
            found.setdefault(name.rpartition("/")[2].partition("-")[0], bytes.fromhex(digits))
        except ValueError:
            continue
    return found


def registration(variables: Mapping[str, bytes]) -> Registration:
    """What the two variables say."""
    status = variables.get(STATUS, b"")[_ATTRIBUTES:]
    configuration = variables.get(CONFIGURATION, b"")[_ATTRIBUTES:]
    return Registration(
        complete=bool(status[4] & 1) if len(status) >= 7 else None,
        error=status[6] if len(status) >= 7 else None,
        indirect=bool(configuration[4] & 1) if len(configuration) >= 6 else None,
    )
