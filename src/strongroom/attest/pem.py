"""PEM blocks (RFC 7468), read strictly: of one label, closed, and of base64 alone."""

from __future__ import annotations

import base64
import binascii
import re

from strongroom.attest.base import refuse, require

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]{1,40})-----[ \t]*\r?\n([A-Za-z0-9+/=\s]*?)-----END \1-----")


def blocks(data: bytes, label: str, field: str, *, alone: bool = False) -> list[bytes]:
    """Contents of the PEM blocks (RFC 7468) of that label.

    Args:
        data: the text.
        label: for instance ``CERTIFICATE``.
        field: for reasons.
        alone: nothing but white space may stand between and after the blocks (NULs may follow the last), as it has to
            be inside evidence; in a file, text may stand beside them.

    Raises:
        Refused: a block of another label, one that is not base64 or not closed, or text where none may be.
    """
    found, position, beside = [], 0, bytearray()
    for match in _PEM.finditer(data):
        beside += data[position : match.start()]
        position = match.end()
        told = match[1].decode("ascii")
        require(told == label, field, f"PEM block is a {told}, allowed is {label}")
        try:
            found.append(base64.b64decode(b"".join(match[2].split()), validate=True))
        except binascii.Error as error:
            refuse(field, f"PEM block is not base64: {error}")
    beside += data[position:].rstrip(b"\0") if alone else data[position:]
    require(b"-----BEGIN" not in beside, field, "a PEM block is not closed or holds other characters than base64's")
    require(not alone or not beside.strip(), field, f"{len(beside.strip())} bytes stand beside the PEM blocks")
    require(bool(found), field, f"no {label} in it")
    return found
