"""The forms in which NVIDIA evidence is passed on: the SPDM transcript itself, in hex, or with its chain in JSON.

JSON comes in three shapes, each of one device or many: the list that NVIDIA's tools write (``evidence`` and
``certificate`` in base64, ``nonce`` in hex), the same list inside an object (Trustee, NVIDIA's remote service), and the
conceptual message wrapper of its newer tools (values are pairs of a media type and base64url).
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode, urlsafe_b64decode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from strongroom.attest import jsontext
from strongroom.attest.base import Refused, refuse, require

_LARGEST: Final = 1 << 22
_MOST_DEVICES: Final = 64
_LISTS: Final = ("device_evidence_list", "evidence_list", "evidences")
_WRAPPER: Final = "__cmwc_t"
_TRANSCRIPT: Final = "application/vnd.nvidia.spdm-measurement-transcript"
_CHAIN: Final = "application/vnd.nvidia.pem-cert-chain"
_OCTETS: Final = "application/octet-stream"
_HEX: Final = re.compile(rb"[0-9A-Fa-f]+")
_SPDM: Final = re.compile(rb"[\x10-\x1f]\xe0")  # any version of GET_MEASUREMENTS; which is taken is the parser's to say
_SPDM_HEX: Final = re.compile(rb"1[0-9a-f]e0", re.IGNORECASE)


@dataclass(frozen=True)
class Device:
    """One device's evidence; what stands beside the transcript is a claim of whoever packed it."""

    transcript: bytes
    chain: bytes | None = None
    nonce: bytes | None = None


def devices(evidence: bytes) -> tuple[Device, ...]:
    """Every device's evidence, in its order.

    Raises:
        Refused: it has none of the forms, or one of its fields isn't encoded as the form asks.
    """
    require(len(evidence) <= _LARGEST, "evidence", f"{len(evidence)} bytes, allowed are {_LARGEST}")
    if _SPDM.match(evidence):
        return (Device(evidence),)
    text = evidence.strip()
    if _SPDM_HEX.match(text):
        if not _HEX.fullmatch(text) or len(text) % 2:
            refuse("evidence", "it starts like a transcript in hex, and is not hex throughout")
        return (Device(bytes.fromhex(text.decode("ascii"))),)
    if text[:1] not in (b"[", b"{"):
        refuse("evidence", f"it starts with {evidence[:4].hex() or 'nothing'}, allowed are a transcript, hex and JSON")
    found = tuple(_devices(jsontext.loads(text, "evidence")))
    require(bool(found), "evidence", "it holds no device's evidence")
    return found


def looks_like(evidence: bytes) -> bool:
    """The outward form alone."""
    start = evidence[:256].lstrip()
    if _SPDM.match(start) or _SPDM_HEX.match(start):
        return True
    return start[:1] in (b"[", b"{") and any(
        mark in evidence[:100_000] for mark in (b'"certificate"', b"pem-cert-chain", b"device_evidence_list")
    )


def _devices(values: Any) -> Iterator[Device]:
    if isinstance(values, dict) and _WRAPPER in values:
        yield from _wrapped(values)
        return
    nonce = None
    if isinstance(values, dict):
        nonce = _nonce(values, "evidence")
        listed = next((values[name] for name in _LISTS if name in values), None)
        values = [values] if listed is None else listed
    if not isinstance(values, list) or not 0 < len(values) <= _MOST_DEVICES:
        refuse("evidence", f"allowed is a list of 1 to {_MOST_DEVICES} devices")
    for number, entry in enumerate(values):
        what = f"evidence.{number}"
        if not isinstance(entry, dict):
            refuse(what, "a device's evidence is an object")
        if "evidence" not in entry:
            refuse(what, f"it has no evidence, it has {', '.join(sorted(map(str, entry))[:5]) or 'nothing'}")
        chain = _base64(entry["certificate"], f"{what}.certificate") if "certificate" in entry else None
        own = _nonce(entry, what)
        yield Device(_base64(entry["evidence"], f"{what}.evidence"), chain, nonce if own is None else own)


def _wrapped(values: Mapping[str, Any]) -> Iterator[Device]:
    """A CMW collection (draft-ietf-rats-msg-wrap) of devices, each a collection of transcript, chain and nonce."""
    common = _typed(values["nonce"], _OCTETS, "evidence.nonce") if "nonce" in values else None
    entries = [(name, entry) for name, entry in values.items() if name not in (_WRAPPER, "nonce")]
    require(len(entries) <= _MOST_DEVICES, "evidence", f"{len(entries)} devices, allowed are {_MOST_DEVICES}")
    for name, entry in entries:
        what = f"evidence.{name[:40]}"
        if not isinstance(entry, dict) or "evidence" not in entry:
            refuse(what, "a device's evidence is an object with evidence in it")
        chain = _typed(entry["certificate"], _CHAIN, f"{what}.certificate") if "certificate" in entry else None
        own = _typed(entry["nonce"], _OCTETS, f"{what}.nonce") if "nonce" in entry else common
        yield Device(_typed(entry["evidence"], _TRANSCRIPT, f"{what}.evidence"), chain, own)


def _typed(value: Any, media: str, what: str) -> bytes:
    if not (isinstance(value, list) and len(value) >= 2 and value[0] == media and isinstance(value[1], str)):
        refuse(what, f"allowed is {media} with base64url")
    try:
        if "=" not in value[1]:
            return urlsafe_b64decode(value[1].encode("ascii") + b"=" * (-len(value[1]) % 4))
    except (ValueError, binascii.Error):
        pass
    raise Refused("it is no base64url without padding", what)


def _base64(value: Any, what: str) -> bytes:
    if not isinstance(value, str):
        refuse(what, f"it is a {type(value).__name__}, allowed is text in base64")
    try:
        return b64decode(value, validate=True)
    except (ValueError, binascii.Error):
        refuse(what, "it is no base64")


def _nonce(values: Mapping[str, Any], what: str) -> bytes | None:
    value = values.get("nonce")
    if value is None:
        return None
    if not isinstance(value, str):
        refuse(f"{what}.nonce", "the nonce is text in hex")
    try:
        return bytes.fromhex(value)
    except ValueError:
        refuse(f"{what}.nonce", "the nonce is text in hex")
