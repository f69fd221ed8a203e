"""Event logs of measured boot in the crypto-agile form, and their replay.

TCG PC Client Platform Firmware Profile, section 10 ("Event Logging"): every number is little-endian. The first record has
the old form, one SHA-1 digest of zeros, and says which algorithms the records after it carry. A CC event log (UEFI
section 38.4, "CCEL") has the same form, with an RTMR's number and one in the place of a PCR's.

A log is a claim of the host. What it gains by replay is this alone: these digests, in this order, are what was extended.
Whether a record's data belong to its digest is the question of :mod:`strongroom.attest.events`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strongroom.attest.base import refuse, require
from strongroom.attest.hashes import ALGORITHMS, BY_NAME, Algorithm, name_of
from strongroom.attest.reader import Reader

LOG = "event_log"
EV_NO_ACTION = 0x00000003
SIGNATURE = b"Spec ID Event03\0"
LOCALITY = b"StartupLocality\0"
# A firmware's log area is some hundred KiB; one CC event log in the field is handed out as 1 MiB, unused part included.
MAX_SIZE = 8 << 20
# What EV_NO_ACTION may name where it names no register. Devices' certificates and nonces are extended into NV indices
# (PC Client Platform Firmware Profile 1.06, 10.4.5, NvIndexInstance and NvIndexDynamic; edk2's Tcg2Dxe), whose handles
# begin with TPM_HT_NV_INDEX (TPM 2.0 Library, part 2, 7.2); Windows' boot loader logs its trust points under PCR -1.
NV_INDICES = range(0x01000000, 0x02000000)
NO_REGISTER = 0xFFFFFFFF
# Where TPM2_Startup comes from, or what H-CRTM leaves behind (PC Client Platform Firmware Profile, 10.4.5.3).
STARTUP_LOCALITIES = (0, 3, 4)
_MOST_ALGORITHMS = 16


@dataclass(frozen=True)
class Event:
    """One record: the register it went into (PCR number, or RTMR number plus one), its type, digests and data."""

    number: int
    register: int
    type: int
    digests: Mapping[str, bytes]
    data: bytes

    @property
    def extends(self) -> bool:
        """EV_NO_ACTION is a note in the log; everything else was extended."""
        return self.type != EV_NO_ACTION

    @property
    def field(self) -> str:
        """The name of this record in a reason."""
        return f"{LOG}.events[{self.number}]"


@dataclass(frozen=True)
class EventLog:
    """A parsed log: algorithms that every record carries, the records, and the locality of TPM2_Startup if told."""

    algorithms: tuple[str, ...]
    events: tuple[Event, ...]
    startup_locality: int | None

    def replay(self, algorithm: str) -> Mapping[int, bytes]:
        """Every register that the log extends, by number, as the extends leave it, starting from zeros.

        PCR 0 starts with the startup locality in its last byte (TPM 2.0 Library, part 3, TPM2_Startup).

        Raises:
            Refused: the log does not carry the algorithm.
        """
        known = ", ".join(self.algorithms)
        require(algorithm in self.algorithms, f"{LOG}.algorithms", f"the bank is {algorithm}, the log has {known}")
        found = BY_NAME[algorithm]
        registers: dict[int, bytes] = {}
        for event in self.events:
            if event.extends:
                register = registers.get(event.register, self._start(event.register, found))
                registers[event.register] = found.extend(register, event.digests[algorithm])
        return MappingProxyType(registers)

    def _start(self, register: int, algorithm: Algorithm) -> bytes:
        locality = (self.startup_locality or 0) if register == 0 else 0
        return bytes(algorithm.size - 1) + bytes((locality,))


def parse(data: bytes, *, registers: Collection[int], notes: bool = False) -> EventLog:
    """Read a whole log.

    Args:
        data: the log; zeros or 0xFF up to its end are the unused part of the firmware's log area.
        registers: the numbers that a record may name.
        notes: whether records that extend none of them may name an NV index or nothing, as in a TPM's log.

    Raises:
        Refused: a TPM 1.2 log, one without SHA-256, SHA-384 or SHA-512, or whatever is not exactly a log.
    """
    require(len(data) <= MAX_SIZE, LOG, f"{len(data)} bytes, allowed is up to {MAX_SIZE}")
    reader = Reader(data, LOG)
    sizes = _header(reader)
    events: list[Event] = []
    locality: int | None = None
    started = False
    while not _filling(data, reader.position):
        event = _record(reader, len(events), sizes, registers, notes)
        if not event.extends and event.data.startswith(LOCALITY):
            require(
                locality is None and not started and event.register == 0,
                event.field,
                "a startup locality that is not the first, not PCR 0's, or comes after PCR 0 was extended",
            )
            locality = _locality(event)
        started = started or (event.extends and event.register == 0)
        events.append(event)
    return EventLog(tuple(map(name_of, sizes)), tuple(events), locality)


def announced(data: bytes) -> tuple[str, ...]:
    """The algorithms that bytes announce where they start as a log does; empty where they do not."""
    if data[4:8] != b"\3\0\0\0" or data[32:48] != SIGNATURE:
        return ()
    count = min(int.from_bytes(data[56:60], "little"), _MOST_ALGORITHMS)
    return tuple(name_of(int.from_bytes(data[60 + 4 * at : 62 + 4 * at], "little")) for at in range(count))


def _header(reader: Reader) -> dict[int, int]:
    """TCG_PCClientPCREvent with a TCG_EfiSpecIdEvent (10.4.5.1): digest sizes in bytes by algorithm number."""
    reader.u32("header.register")
    kind = reader.u32("header.type")
    digest = reader.take(20, "header.digest")
    spec = reader.sub(reader.u32("header.size"), "header")
    # Whatever the first record of a TPM 1.2 log is, it is not this one.
    if kind != EV_NO_ACTION or spec.rest[:16] != SIGNATURE:
        refuse(f"{LOG}.header", "not a crypto-agile log; a log of SHA-1 alone, as TPM 1.2 has it, proves nothing")
    require(not any(digest), f"{LOG}.header.digest", f"{digest.hex()}, allowed is zeros: this record is not extended")
    spec.take(16, "signature")
    spec.take(8, "version")  # platform class, minor, major, errata, size of UINTN
    count = spec.u32("algorithms")
    require(0 < count <= _MOST_ALGORITHMS, f"{LOG}.header.algorithms", f"{count}, allowed is 1 to {_MOST_ALGORITHMS}")
    sizes: dict[int, int] = {}
    for _ in range(count):
        number, length = spec.u16("algorithms"), spec.u16("algorithms")
        known = ALGORITHMS.get(number)
        if number in sizes or not length or (known and known.size != length):
            refuse(f"{LOG}.header.algorithms", f"{name_of(number)} twice, or with {length} bytes")
        sizes[number] = length
    if not any(number in sizes for number, known in ALGORITHMS.items() if known.strong):
        refuse(f"{LOG}.header.algorithms", f"{', '.join(map(name_of, sizes))}, needed is sha256, sha384 or sha512")
    spec.take(spec.u8("vendor"), "vendor")
    spec.end()
    return sizes


def _record(reader: Reader, number: int, sizes: Mapping[int, int], registers: Collection[int], notes: bool) -> Event:
    """TCG_PCR_EVENT2 (10.2.2), with one digest of every algorithm that the header names."""
    field = f"events[{number}]"
    register, kind = reader.u32(f"{field}.register"), reader.u32(f"{field}.type")
    note = notes and kind == EV_NO_ACTION and (register in NV_INDICES or register == NO_REGISTER)
    if register not in registers and not note:
        known = f"{min(registers)} to {max(registers)}"
        refuse(f"{LOG}.{field}.register", f"register {register}, allowed is {known}")
    count = reader.u32(f"{field}.digests")
    if count != len(sizes):
        refuse(f"{LOG}.{field}.digests", f"{count} digests, the log's header names {len(sizes)} algorithms")
    digests: dict[str, bytes] = {}
    for _ in range(count):
        algorithm = reader.u16(f"{field}.digests")
        name = name_of(algorithm)
        if algorithm not in sizes or name in digests:
            refuse(f"{LOG}.{field}.digests", f"{name}, which is there twice or is not in the log's header")
        digests[name] = reader.take(sizes[algorithm], f"{field}.digests")
    data = reader.take(reader.u32(f"{field}.size"), f"{field}.data")
    return Event(number, register, kind, MappingProxyType(digests), data)


def _locality(event: Event) -> int:
    value = event.data[len(LOCALITY) :]
    if len(value) != 1 or value[0] not in STARTUP_LOCALITIES:
        refuse(event.field, f"startup locality {value.hex() or 'empty'}, allowed is {STARTUP_LOCALITIES}")
    return value[0]


def _filling(data: bytes, position: int) -> bool:
    """Whether nothing but one filling byte is left. A record is never of that form, for it carries a digest count."""
    start = data[position : position + 12]
    if start not in (bytes(len(start)), b"\xff" * len(start)):
        return False
    return not data[position:].strip(start[:1] or b"\0")
