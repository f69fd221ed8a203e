"""The transcript of an SPDM GET_MEASUREMENTS exchange (DMTF DSP0274 version 1.1, section 10.11), as NVIDIA devices give it.

Evidence is the request and the response, one behind the other. In version 1.1 the signature is over exactly these bytes
up to the signature; from 1.2 on it covers more than evidence of this form holds, so other versions are refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.attest.base import require
from strongroom.attest.reader import Reader

VERSION_1_1: Final = 0x11
_GET_MEASUREMENTS, _MEASUREMENTS = 0xE0, 0x60
_WITH_SIGNATURE, _ALL = 0x01, 0xFF
_DMTF: Final = 0x01
NONCE: Final = 32
SIGNATURE: Final = 96  # ECDSA P-384: r and s, big-endian
_LARGEST: Final = 1 << 17


@dataclass(frozen=True)
class Transcript:
    """A parsed exchange; nothing in it is authentic before the signature over ``covered`` was checked.

    Attributes:
        nonce: what the requester chose.
        answer: the nonce that the device added.
        slot: whose slot's certificate chain signs.
        blocks: measurement by block index (1 to 254): its kind byte and its value.
        opaque: the vendor's own data.
        covered: what the signature is over.
        signature: r and s.
    """

    nonce: bytes
    answer: bytes
    slot: int
    blocks: Mapping[int, tuple[int, bytes]]
    opaque: bytes
    covered: bytes
    signature: bytes


def parse(data: bytes, what: str = "spdm") -> Transcript:
    """Read a request of 37 bytes and its response.

    Raises:
        Refused: a length, a code, a version or a block is not as the specification has it, or bytes follow.
    """
    require(len(data) <= _LARGEST, what, f"{len(data)} bytes, allowed are {_LARGEST}")
    reader = Reader(data, what, "little")
    _code(reader, what, "request", _GET_MEASUREMENTS)
    attributes, operation = reader.u8("request.attributes"), reader.u8("request.operation")
    require(
        attributes == _WITH_SIGNATURE and operation == _ALL,
        f"{what}.request",
        f"attributes {attributes:#04x} and operation {operation:#04x}, allowed are 0x01 and 0xff (all, signed)",
    )
    nonce = reader.take(NONCE, "request.nonce")
    slot = reader.u8("request.slot")
    require(slot < 8, f"{what}.request.slot", f"slot {slot}, allowed are 0 to 7")
    _code(reader, what, "response", _MEASUREMENTS)
    reader.take(2, "response.parameters")
    count = reader.u8("response.blocks")
    record = reader.sub(int.from_bytes(reader.take(3, "response.length"), "little"), "response.record")
    blocks = _blocks(record, count, f"{what}.response")
    answer = reader.take(NONCE, "response.nonce")
    opaque = reader.take(reader.u16("response.opaque_length"), "response.opaque")
    covered = data[: reader.position]
    signature = reader.take(SIGNATURE, "response.signature")
    reader.end()
    return Transcript(nonce, answer, slot, blocks, opaque, covered, signature)


def _code(reader: Reader, what: str, part: str, code: int) -> None:
    version = reader.u8(f"{part}.version")
    require(version == VERSION_1_1, f"{what}.{part}.version", f"version {version:#04x}, allowed is 0x11 (SPDM 1.1)")
    found = reader.u8(f"{part}.code")
    require(found == code, f"{what}.{part}.code", f"code {found:#04x}, allowed is {code:#04x}")


def _blocks(record: Reader, count: int, what: str) -> dict[int, tuple[int, bytes]]:
    """Measurement blocks (table 45): index, specification, size, and the DMTF form of the value within."""
    blocks: dict[int, tuple[int, bytes]] = {}
    for _ in range(count):
        index = record.u8("index")
        require(1 <= index <= 254, f"{what}.index", f"block index {index}, allowed are 1 to 254")
        require(index not in blocks, f"{what}.index", f"block {index} is there twice")
        specification = record.u8("specification")
        require(
            specification == _DMTF,
            f"{what}.specification",
            f"block {index} is of {specification:#04x}, allowed is DMTF",
        )
        value = record.sub(record.u16("size"), "block")
        form = value.u8("type")
        blocks[index] = form, value.take(value.u16("size"), "value")
        value.end()
    record.end()
    require(bool(blocks), f"{what}.blocks", "there are no measurements")
    return blocks
