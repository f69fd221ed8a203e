"""What the records of an event log say, and which of their sayings a digest holds.

Types are those of the TCG PC Client Platform Firmware Profile, 10.4.1. Of some types the digest is the hash of the data
in the record, or of the variable's value in it; where that must be so and is not, the log lies and is refused. Of the
others (an image's Authenticode hash, firmware volumes, ACPI tables, a boot loader's own words) the text is no more than
what the host says of a digest.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from strongroom.attest.base import Refused, refuse
from strongroom.attest.eventlog import Event, EventLog
from strongroom.attest.hashes import BY_NAME
from strongroom.attest.reader import Reader

EV_SEPARATOR, EV_EFI_ACTION = 0x00000004, 0x80000007
EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_BOOT2 = 0x80000001, 0x80000002, 0x8000000C
EV_EFI_VARIABLE_AUTHORITY = 0x800000E0

NAMES: Mapping[int, str] = {
    0x00000000: "EV_PREBOOT_CERT",
    0x00000001: "EV_POST_CODE",
    0x00000003: "EV_NO_ACTION",
    EV_SEPARATOR: "EV_SEPARATOR",
    0x00000005: "EV_ACTION",
    0x00000006: "EV_EVENT_TAG",
    0x00000007: "EV_S_CRTM_CONTENTS",
    0x00000008: "EV_S_CRTM_VERSION",
    0x00000009: "EV_CPU_MICROCODE",
    0x0000000A: "EV_PLATFORM_CONFIG_FLAGS",
    0x0000000B: "EV_TABLE_OF_DEVICES",
    0x0000000C: "EV_COMPACT_HASH",
    0x0000000D: "EV_IPL",
    0x0000000E: "EV_IPL_PARTITION_DATA",
    0x0000000F: "EV_NONHOST_CODE",
    0x00000010: "EV_NONHOST_CONFIG",
    0x00000011: "EV_NONHOST_INFO",
    0x00000012: "EV_OMIT_BOOT_DEVICE_EVENTS",
    0x00000013: "EV_POST_CODE2",
    EV_EFI_VARIABLE_DRIVER_CONFIG: "EV_EFI_VARIABLE_DRIVER_CONFIG",
    EV_EFI_VARIABLE_BOOT: "EV_EFI_VARIABLE_BOOT",
    0x80000003: "EV_EFI_BOOT_SERVICES_APPLICATION",
    0x80000004: "EV_EFI_BOOT_SERVICES_DRIVER",
    0x80000005: "EV_EFI_RUNTIME_SERVICES_DRIVER",
    0x80000006: "EV_EFI_GPT_EVENT",
    EV_EFI_ACTION: "EV_EFI_ACTION",
    0x80000008: "EV_EFI_PLATFORM_FIRMWARE_BLOB",
    0x80000009: "EV_EFI_HANDOFF_TABLES",
    0x8000000A: "EV_EFI_PLATFORM_FIRMWARE_BLOB2",
    0x8000000B: "EV_EFI_HANDOFF_TABLES2",
    EV_EFI_VARIABLE_BOOT2: "EV_EFI_VARIABLE_BOOT2",
    0x8000000D: "EV_EFI_GPT_EVENT2",
    0x80000010: "EV_EFI_HCRTM_EVENT",
    EV_EFI_VARIABLE_AUTHORITY: "EV_EFI_VARIABLE_AUTHORITY",
    0x800000E1: "EV_EFI_SPDM_FIRMWARE_BLOB",
    0x800000E2: "EV_EFI_SPDM_FIRMWARE_CONFIG",
}
# The hash of the data is the digest; firmware that measures something else under these types would hide what it is.
# EV_EFI_VARIABLE_AUTHORITY ought to be one of them: shim logs other data there than it measures, lengths included.
_HELD = (EV_SEPARATOR, EV_EFI_ACTION, EV_EFI_VARIABLE_DRIVER_CONFIG)
# The hash of the data, or of the variable's value alone: firmware does either (10.4.1, note on EV_EFI_VARIABLE_BOOT).
_HELD_EITHER_WAY = (EV_EFI_VARIABLE_BOOT, EV_EFI_VARIABLE_BOOT2)
_VARIABLES = (*_HELD_EITHER_WAY, EV_EFI_VARIABLE_DRIVER_CONFIG, EV_EFI_VARIABLE_AUTHORITY)


class Holds(StrEnum):
    """What the digest holds of the record's data."""

    DATA = "data"
    VALUE = "value"
    NOTHING = "nothing"


@dataclass(frozen=True)
class Variable:
    """UEFI_VARIABLE_DATA (10.2.6): the vendor's GUID as 16 bytes, the name, and the value."""

    vendor: bytes
    name: str
    value: bytes


def type_name(number: int) -> str:
    """The type's name, or its number where the profile has none."""
    return NAMES.get(number, f"0x{number:08x}")


def variable(event: Event) -> Variable:
    """The variable in a record of one of the EV_EFI_VARIABLE types.

    Raises:
        Refused: lengths that are not those of the data.
    """
    reader = Reader(event.data, event.field)
    vendor = reader.take(16, "vendor")
    characters, size = reader.u64("name"), reader.u64("value")
    name = reader.take(2 * characters, "name")
    try:
        text = name.decode("utf-16-le")
    except UnicodeDecodeError:
        refuse(f"{event.field}.name", f"{name[:16].hex()} is not UTF-16")
    found = Variable(vendor, text, reader.take(size, "value"))
    reader.end()
    return found


def holds(event: Event, algorithm: str) -> Holds:
    """What the record's digest of that algorithm holds of its data."""
    digest, found = event.digests[algorithm], BY_NAME[algorithm]
    if found.digest(event.data) == digest:
        return Holds.DATA
    if event.type in _HELD_EITHER_WAY:
        try:
            return Holds.VALUE if found.digest(variable(event).value) == digest else Holds.NOTHING
        except Refused:
            return Holds.NOTHING
    return Holds.NOTHING


def require_honest(log: EventLog, algorithm: str) -> None:
    """Refuse a log in which a record's data are not what was measured, where its type says that they are.

    Args:
        log: a log whose replay was compared with signed registers.
        algorithm: the bank of that comparison.

    Raises:
        Refused: naming the record.
    """
    for event in log.events:
        if event.type in (*_HELD, *_HELD_EITHER_WAY) and holds(event, algorithm) is Holds.NOTHING:
            refuse(event.field, f"the data of this {type_name(event.type)} are not what was measured")


def separators(algorithm: str) -> frozenset[bytes]:
    """Digests of the separators: of a boot that goes on (0 or 0xffffffff), and of one with an error (1)."""
    return frozenset(BY_NAME[algorithm].digest(value) for value in (bytes(4), b"\xff" * 4, b"\1\0\0\0"))


def secure_boot(log: EventLog, register: int, algorithm: str) -> bool | None:
    """Whether the firmware measured SecureBoot=1; None where it measured no such variable.

    A record's type is measured by nothing, so a host could call SecureBoot=0 something else and measure a flattering
    variable of its own later. Hence digests alone count, and of them those before the register's first separator, which
    the firmware writes when it hands over to what it boots.

    Args:
        log: one that leads to signed registers.
        register: 7 for a PCR, 1 for RTMR 0.
        algorithm: the bank.
    """
    found = BY_NAME[algorithm]
    ends = separators(algorithm)
    values = {found.digest(_SECURE_BOOT + len(value).to_bytes(8, "little") + _NAME + value): value for value in _VALUES}
    said: set[bytes] = set()
    for event in log.events:
        if event.register != register or not event.extends:
            continue
        digest = event.digests[algorithm]
        if digest in ends:
            return said == {b"\1"} if said else None
        if digest in values:
            said.add(values[digest])
    return None


# UEFI_VARIABLE_DATA of SecureBoot in the vendor GUID 8be4df61-93ca-11d2-aa0d-00e098032b8c, EFI_GLOBAL_VARIABLE.
_NAME = "SecureBoot".encode("utf-16-le")
_SECURE_BOOT = bytes.fromhex("61dfe48bca93d211aa0d00e098032b8c") + (10).to_bytes(8, "little")
_VALUES = (b"\0", b"\1", b"")


def lines(log: EventLog, algorithm: str) -> Iterator[Mapping[str, object]]:
    """Every record, decoded as far as it goes, for people and JSON."""
    for event in log.events:
        line: dict[str, object] = {"register": event.register, "type": type_name(event.type)}
        if event.extends:
            line |= {"digest": event.digests[algorithm], "holds": holds(event, algorithm)}
        yield line | {"says": _text(event)}


def _text(event: Event) -> str | bytes:
    if event.type in _VARIABLES:
        try:
            found = variable(event)
        except Refused:
            return event.data[:64]
        value = found.value[:32].hex() + ("..." if len(found.value) > 32 else "")
        return f"{found.name}={value}"
    text = event.data.rstrip(b"\0")
    if text and all(32 <= byte < 127 for byte in text):
        return text.decode("ascii")
    return event.data[:64]
