"""PCRs of a machine that boots a unified kernel image under UEFI: 4, 7, 9, 11 and 12, SHA-256.

Each value is given with what it depends on: PCR 4 on how many boot options failed before and on the stub's age, PCR 7 on
Secure Boot's variables. PCRs 0 to 3 are the firmware's and are recorded, not computed.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from strongroom.measure import pe, registers
from strongroom.measure.layout import cannot

ALGORITHM: Final = "sha256"
_GLOBAL: Final = uuid.UUID("8be4df61-93ca-11d2-aa0d-00e098032b8c").bytes_le
_SECURITY: Final = uuid.UUID("d719b2cb-3d3a-4596-a3bc-dad00e67656f").bytes_le
_MOST_ATTEMPTS: Final = 16


@dataclass(frozen=True)
class SecureBoot:
    """Secure Boot's variables: whether it is on, and the contents of PK, KEK, db and dbx (signature lists, or nothing).

    ``authority`` are the digests of EV_EFI_VARIABLE_AUTHORITY that follow the separator where images were checked.
    """

    enabled: bool = False
    pk: bytes = b""
    kek: bytes = b""
    db: bytes = b""
    dbx: bytes = b""
    authority: tuple[bytes, ...] = ()


OFF: Final = SecureBoot()


def pcr4(images: Sequence[bytes], attempts: int = 2) -> dict[str, bytes]:
    """PCR 4 by the number of boot options that failed before, and by who loads the kernel in the image.

    Args:
        images: EFI images in the order that they are started: the UKI, or systemd-boot and the UKI.
        attempts: the largest number of failed ones that is allowed for.
    """
    if not 0 <= attempts <= _MOST_ATTEMPTS:
        cannot("attempts", f"{attempts}, allowed are 0 to {_MOST_ATTEMPTS}")
    return {
        f"{failed} failed attempts{kernel}": registers.extend(
            ALGORITHM, [*registers.boot_events(ALGORITHM, failed=failed), *digests]
        )
        for kernel, digests in registers.image_events(ALGORITHM, images).items()
        for failed in range(attempts + 1)
    }


def pcr7(state: SecureBoot = OFF) -> bytes:
    """PCR 7 (section 3.3.4.8 of the profile): SecureBoot, PK, KEK, db, dbx, a separator, then who vouched for images.

    Raises:
        ConfigError: Secure Boot is on and nobody vouched: the images' own signatures are not read here.
    """
    if state.enabled and not state.authority:
        cannot("secure boot", "it is on; give the authority's digests from the event log of an approved first boot")
    variables = (
        (_GLOBAL, "SecureBoot", b"\1" if state.enabled else b"\0"),
        (_GLOBAL, "PK", state.pk),
        (_GLOBAL, "KEK", state.kek),
        (_SECURITY, "db", state.db),
        (_SECURITY, "dbx", state.dbx),
    )
    digests = [registers.variable_event(ALGORITHM, *variable) for variable in variables]
    digests.append(hashlib.sha256(registers.SEPARATOR).digest())
    return registers.extend(ALGORITHM, [*digests, *state.authority])


def pcr9(image: bytes) -> bytes:
    """PCR 9: command line and initrds, as the kernel's EFI stub measures them."""
    return registers.extend(ALGORITHM, registers.kernel_events(ALGORITHM, pe.parse(image)))


def pcr11(image: bytes, phases: Sequence[str] = ()) -> dict[str, bytes]:
    """PCR 11 by phase: after the stub (``stub``), and after each word that systemd extends, in their order."""
    digests = registers.section_events(ALGORITHM, pe.parse(image))
    found = {"stub": registers.extend(ALGORITHM, digests)}
    for phase in phases:
        if phase in found:
            cannot("phases", f"{phase} is there twice")
        digests.append(hashlib.sha256(phase.encode()).digest())
        found[phase] = registers.extend(ALGORITHM, digests)
    return found


def pcr12() -> bytes:
    """PCR 12 without credentials, extensions, addons and a command line of its own: nothing is measured."""
    return bytes(32)


def predict(
    image: bytes,
    *,
    loader: bytes | None = None,
    attempts: int = 2,
    phases: Sequence[str] = (),
    secure_boot: SecureBoot = OFF,
) -> dict[str, dict[str, bytes]]:
    """All of them by name (``pcr4`` ...), each value by what it depends on.

    Args:
        image: the unified kernel image.
        loader: systemd-boot, where it starts the image.
        attempts: for PCR 4.
        phases: for PCR 11.
        secure_boot: for PCR 7.

    Raises:
        ConfigError: a file is no such image.
    """
    images = [part for part in (loader, image) if part is not None]
    return {
        "pcr4": pcr4(images, attempts),
        "pcr7": {"secure boot on" if secure_boot.enabled else "secure boot off": pcr7(secure_boot)},
        "pcr9": {"stub": pcr9(image)},
        "pcr11": pcr11(image, phases),
        "pcr12": {"nothing added": pcr12()},
    }
