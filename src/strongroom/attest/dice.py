"""The TCB of the layer that a DICE certificate vouches for (TCG DICE Attestation Architecture 1.1, sections 6.1 and 6.2).

Devices carry it in two forms: the CompositeDeviceID of early drafts (Hopper, NVSwitch), which is a key and one firmware
id, and TcbInfo (Blackwell, under a longer identifier), which has several firmware ids and operational flags.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from strongroom.attest import der
from strongroom.attest.base import refuse, require
from strongroom.attest.der import Der

OIDS: Final = ("2.23.133.5.4.1", "2.23.133.5.4.1.1")
_SIZES: Final = {
    "2.16.840.1.101.3.4.2.1": 32,
    "2.16.840.1.101.3.4.2.2": 48,
    "2.16.840.1.101.3.4.2.3": 64,
}
_FLAGS: Final = {
    0: "not configured",
    1: "not secure",
    2: "recovery",
    3: "debug",
    4: "not replay protected",
    5: "not integrity protected",
    31: "fixed width",
}
_FWIDS, _FLAG_BITS = 0xA6, 0x87
_TEXTS: Final = {0x80: "vendor", 0x81: "model", 0x82: "version"}


@dataclass(frozen=True)
class Tcb:
    """Firmware ids (digests), the operational flags that are set, and the texts of TcbInfo."""

    fwids: tuple[bytes, ...]
    flags: tuple[str, ...] = ()
    texts: tuple[tuple[str, str], ...] = ()


def parse(value: bytes, field: str) -> Tcb:
    """Read the extension's value in either form.

    Raises:
        Refused: it is neither.
    """
    outer = Der(value, field)
    info = outer.sub("info")
    outer.end()
    if info.peek() == der.INTEGER:
        info.integer("version")
        info.take(der.SEQUENCE, "key")
        found = Tcb((_fwid(info.sub("fwid")),))
        info.end()
        return found
    return _tcb_info(info, field)


def _tcb_info(info: Der, field: str) -> Tcb:
    fwids: list[bytes] = []
    flags: tuple[str, ...] = ()
    texts: list[tuple[str, str]] = []
    last = 0
    while info.more:
        tag, content, _ = info.element("field")
        # Implicit context tags, each once and in their order, whatever the universal type behind it.
        require(
            tag & 0xC0 == 0x80 and tag & 0x1F >= last, field, f"element {tag:#04x} is not TcbInfo's, or out of order"
        )
        last = (tag & 0x1F) + 1
        if tag == _FWIDS:
            listed = Der(content, f"{field}.fwids")
            while listed.more:
                fwids.append(_fwid(listed.sub("fwid")))
        elif tag == _FLAG_BITS:
            flags = _flags(content, f"{field}.flags")
        elif tag in _TEXTS:
            texts.append((_TEXTS[tag], content[:64].decode("ascii", "replace")))
    return Tcb(tuple(fwids), flags, tuple(texts))


def _fwid(entry: Der) -> bytes:
    algorithm = entry.oid("hash")
    digest = entry.take(der.OCTET_STRING, "digest")
    entry.end()
    if _SIZES.get(algorithm) != len(digest):
        refuse(entry.what, f"hash {algorithm} with {len(digest)} bytes, allowed are SHA-256, SHA-384 and SHA-512")
    return digest


def _flags(content: bytes, field: str) -> tuple[str, ...]:
    if not 1 <= len(content) <= 5 or content[0] > 7:
        refuse(field, "they are no bit string of up to 32 bits")
    bits = "".join(f"{byte:08b}" for byte in content[1:])
    return tuple(_FLAGS.get(number, f"flag {number}") for number, bit in enumerate(bits) if bit == "1")
