"""The forms that a TPM's evidence comes in: JSON of several agents, or a bare quote with the rest among the collateral.

JSON: an object with ``tpm_quote`` (or ``quote``), which holds ``message`` (TPMS_ATTEST), ``signature`` (TPMT_SIGNATURE, or
the bare bytes of RSASSA) and ``pcrs``; beside it ``ak_public``, ``ak_certificate``, ``ek_public``, ``ek_certificate``,
``event_log`` and ``activated``, each in base64, where they are there. Message and signature are base64, hex or lists of
bytes, as the agents write them. What is not named here is not read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from strongroom.attest import jsontext
from strongroom.attest.base import refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.hashes import BY_NAME

MAGIC = b"\xffTCG"
LARGEST = 16 << 20
# What may come with the evidence or, under the same name, with the collateral.
PARTS = ("ak_public", "ak_certificate", "ek_public", "ek_certificate", "event_log", "activated")
_MOST_PCRS = 32

Banks = Mapping[str, Mapping[int, bytes]]


@dataclass(frozen=True)
class TpmEvidence:
    """A quote's bytes, its signature, the values of PCRs by bank and number (None: not given), and the other parts."""

    message: bytes
    signature: bytes
    pcrs: Banks | None
    parts: Mapping[str, bytes]


def is_quote(evidence: bytes) -> bool:
    """Whether bytes start as TPMS_ATTEST does."""
    return evidence.startswith(MAGIC)


def read(evidence: bytes, collateral: Collateral) -> TpmEvidence:
    """Evidence of either form; a part that the evidence has is not looked for among the collateral.

    Raises:
        Refused: it is of neither form, or something that is always needed is missing.
    """
    require(len(evidence) <= LARGEST, "evidence", f"{len(evidence)} bytes, allowed is up to {LARGEST}")
    beside = {name: collateral.documents[name] for name in PARTS if name in collateral.documents}
    if is_quote(evidence):
        if "signature" not in collateral.documents:
            refuse("signature", "a bare quote, and no signature among the collateral")
        pcrs = banks(jsontext.loads(collateral.documents["pcrs"], "pcrs")) if "pcrs" in collateral.documents else None
        return TpmEvidence(evidence, collateral.documents["signature"], pcrs, MappingProxyType(beside))
    whole = jsontext.document(evidence, "evidence")
    message, signature, values = quoted(whole)
    own = {name: jsontext.unbase64(whole[name], f"evidence.{name}") for name in PARTS if whole.get(name) is not None}
    return TpmEvidence(message, signature, values, MappingProxyType(beside | own))


def quoted(whole: Mapping[str, object]) -> tuple[bytes, bytes, Banks | None]:
    """Message, signature and PCRs of the member ``tpm_quote`` or ``quote``."""
    name = "tpm_quote" if "tpm_quote" in whole else "quote"
    at = f"evidence.{name}"
    found = jsontext.table(jsontext.get(whole, name, "evidence"), at)
    message, signature = jsontext.get(found, "message", at), jsontext.get(found, "signature", at)
    # A quote starts with ff544347: in hex with these digits, in base64 never.
    if isinstance(message, list):
        pair = jsontext.octets(message, f"{at}.message"), jsontext.octets(signature, f"{at}.signature")
    elif isinstance(message, str) and message[:8].lower() == MAGIC.hex():
        pair = jsontext.unhex(message, f"{at}.message"), jsontext.unhex(signature, f"{at}.signature")
    else:
        pair = jsontext.unbase64(message, f"{at}.message"), jsontext.unbase64(signature, f"{at}.signature")
    return *pair, banks(found["pcrs"]) if found.get("pcrs") is not None else None


def banks(value: object) -> Banks:
    """PCRs by bank and number.

    Args:
        value: a list from PCR 0 on, or a table by number, of the SHA-256 bank; or a table of such tables by bank. Each
            PCR is hex, or a list of bytes.

    Raises:
        Refused: a bank that is not known, a number that is none, or a digest that has not the bank's length.
    """
    if isinstance(value, dict) and value and all(name in BY_NAME for name in value):
        return MappingProxyType({name: _bank(name, one) for name, one in value.items()})
    return MappingProxyType({"sha256": _bank("sha256", value)})


def _bank(name: str, value: object) -> Mapping[int, bytes]:
    size = BY_NAME[name].size
    if isinstance(value, list):
        pairs = list(enumerate(value))
    else:
        table = jsontext.table(value, f"pcrs.{name}")
        for key in table:
            right = key.isascii() and key.isdigit() and str(int(key)) == key if len(key) <= 2 else False
            require(right, f"pcrs.{name}", f"{key[:16]!r} is no number of a PCR")
        pairs = [(int(key), one) for key, one in table.items()]
    found = {}
    for number, one in pairs:
        field = f"pcrs.{name}.{number}"
        require(number < _MOST_PCRS, field, f"allowed is up to {_MOST_PCRS - 1}")
        found[number] = jsontext.octets(one, field) if isinstance(one, list) else jsontext.unhex(one, field)
        require(len(found[number]) == size, field, f"{len(found[number])} bytes, needed are {size}")
    return MappingProxyType(found)
