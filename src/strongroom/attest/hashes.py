"""Hash algorithms by their TCG identifiers (TPM 2.0 Library, part 2, "TPM_ALG_ID"), and the extend operation."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from strongroom.attest.base import refuse


@dataclass(frozen=True)
class Algorithm:
    """One hash: TCG's number, our name of it, and the length of its digest in bytes."""

    number: int
    name: str
    size: int
    strong: bool = True

    def digest(self, data: bytes) -> bytes:
        """The digest of ``data``."""
        return hashlib.new(self.name, data, usedforsecurity=self.strong).digest()

    def extend(self, register: bytes, digest: bytes) -> bytes:
        """``H(register || digest)``: what extending a PCR or an RTMR makes of it."""
        return self.digest(register + digest)


ALGORITHMS = {
    entry.number: entry
    for entry in (
        Algorithm(0x0004, "sha1", 20, strong=False),
        Algorithm(0x000B, "sha256", 32),
        Algorithm(0x000C, "sha384", 48),
        Algorithm(0x000D, "sha512", 64),
    )
}
BY_NAME = {entry.name: entry for entry in ALGORITHMS.values()}


def name_of(number: int) -> str:
    """The algorithm's name, or its number where it is not known here."""
    return ALGORITHMS[number].name if number in ALGORITHMS else f"0x{number:04x}"


def strong(number: int, field: str) -> Algorithm:
    """The algorithm of that TCG number.

    Raises:
        Refused: SHA-1, which nothing may rest on, or a number that is not known here.
    """
    found = ALGORITHMS.get(number)
    if found is None or not found.strong:
        refuse(field, f"hash algorithm {name_of(number)}, allowed is sha256, sha384 or sha512")
    return found
