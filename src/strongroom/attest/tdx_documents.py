"""Intel's signed JSON: TCB info version 3 and QE identity version 2, with signature and dates.

Intel PCS API version 4, "Get TDX TCB Info" and "Get TDX QE Identity". The signature covers the object's bytes as they
stand in the answer, so they are cut out of it before anything reads them; r and s are big-endian.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum

from strongroom.attest import jsontext
from strongroom.attest.base import refuse, require

_DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
_LARGEST = 1 << 20
_MOST_LEVELS = 1024


class TcbStatus(StrEnum):
    """What Intel says of a TCB level, in its own words."""

    UP_TO_DATE = "UpToDate"
    SW_HARDENING = "SWHardeningNeeded"
    CONFIGURATION = "ConfigurationNeeded"
    CONFIGURATION_AND_SW_HARDENING = "ConfigurationAndSWHardeningNeeded"
    OUT_OF_DATE = "OutOfDate"
    OUT_OF_DATE_CONFIGURATION = "OutOfDateConfigurationNeeded"
    REVOKED = "Revoked"


@dataclass(frozen=True)
class Signed:
    """A document as its signer signed it: the object's bytes, r and s of 32 bytes each, and the object."""

    raw: bytes
    signature: bytes
    values: Mapping[str, object]


@dataclass(frozen=True)
class SvnLevel:
    """A level of one security version (QE, TDX module): what holds from ``isvsvn`` on."""

    isvsvn: int
    date: datetime
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True)
class PlatformLevel:
    """A level of the platform: 16 SGX components, PCESVN, 16 TDX components."""

    sgx: tuple[int, ...]
    pcesvn: int
    tdx: tuple[int, ...]
    date: datetime
    status: TcbStatus
    advisories: tuple[str, ...]


@dataclass(frozen=True)
class Module:
    """A TDX module's identity: SHA-384 of its signer's key, attributes of 64 bits under a mask, and its levels."""

    id: str
    mrsigner: bytes
    attributes: bytes
    mask: bytes
    levels: tuple[SvnLevel, ...]


@dataclass(frozen=True)
class TcbInfo:
    """TCB info of one FMSPC."""

    issued: datetime
    next_update: datetime
    fmspc: bytes
    pceid: bytes
    evaluation: int
    module: Module
    modules: tuple[Module, ...]
    levels: tuple[PlatformLevel, ...]


@dataclass(frozen=True)
class QeIdentity:
    """What the quoting enclave has to be."""

    issued: datetime
    next_update: datetime
    evaluation: int
    miscselect: bytes
    miscselect_mask: bytes
    attributes: bytes
    attributes_mask: bytes
    mrsigner: bytes
    isvprodid: int
    levels: tuple[SvnLevel, ...]


def cut(data: bytes, name: str, field: str) -> Signed:
    """The object of that name out of ``{"<name>": {...}, "signature": "<hex>"}``, byte by byte.

    Raises:
        Refused: the text is not of exactly that form.
    """
    require(len(data) <= _LARGEST, field, f"{len(data)} bytes, allowed is up to {_LARGEST}")
    whole = jsontext.document(data, field)
    require(set(whole) == {name, "signature"}, field, f"keys {', '.join(whole)}, needed are {name}, signature")
    text = data.decode("utf-8")
    start = re.match(rf'\s*\{{\s*"{name}"\s*:\s*', text)
    if start is None:
        refuse(field, f"{name} is not the first in it")
    _, end = json.JSONDecoder().raw_decode(text, start.end())
    raw = text[start.end() : end].encode("utf-8")
    values = jsontext.table(whole[name], f"{field}.{name}")
    return Signed(raw, jsontext.unhex(whole["signature"], f"{field}.signature", 64), values)


def tcb_info(values: Mapping[str, object]) -> TcbInfo:
    """TCB info of TDX, version 3.

    Raises:
        Refused: another version or TEE, a key missing, or a value not of its form.
    """
    at = "tcb_info"
    _is(values, at, "id", "TDX")
    _is(values, at, "version", 3)
    _is(values, at, "tcbType", 0)  # how components are compared: one by one
    module = jsontext.table(jsontext.get(values, "tdxModule", at), f"{at}.tdxModule")
    listed = jsontext.items(values.get("tdxModuleIdentities", []), f"{at}.tdxModuleIdentities")
    levels = _list(values, "tcbLevels", at)
    return TcbInfo(
        _date(values, "issueDate", at),
        _date(values, "nextUpdate", at),
        _hex(values, "fmspc", at, 6),
        _hex(values, "pceId", at, 2),
        jsontext.number(values, "tcbEvaluationDataNumber", at, 1 << 31),
        _module(module, f"{at}.tdxModule", False),
        tuple(
            _module(jsontext.table(one, f"{at}.tdxModuleIdentities"), f"{at}.tdxModuleIdentities[{index}]", True)
            for index, one in enumerate(listed)
        ),
        tuple(_platform_level(one, f"{at}.tcbLevels[{index}]") for index, one in enumerate(levels)),
    )


def qe_identity(values: Mapping[str, object]) -> QeIdentity:
    """Identity of the TD quoting enclave, version 2.

    Raises:
        Refused: another version or enclave, a key missing, or a value not of its form.
    """
    at = "qe_identity"
    _is(values, at, "id", "TD_QE")
    _is(values, at, "version", 2)
    return QeIdentity(
        _date(values, "issueDate", at),
        _date(values, "nextUpdate", at),
        jsontext.number(values, "tcbEvaluationDataNumber", at, 1 << 31),
        _hex(values, "miscselect", at, 4),
        _hex(values, "miscselectMask", at, 4),
        _hex(values, "attributes", at, 16),
        _hex(values, "attributesMask", at, 16),
        _hex(values, "mrsigner", at, 32),
        jsontext.number(values, "isvprodid", at, 65535),
        _svn_levels(values, at),
    )


def _module(values: Mapping[str, object], at: str, named: bool) -> Module:
    return Module(
        jsontext.text(values, "id", at) if named else "",
        _hex(values, "mrsigner", at, 48),
        _hex(values, "attributes", at, 8),
        _hex(values, "attributesMask", at, 8),
        _svn_levels(values, at) if named else (),
    )


def _svn_levels(values: Mapping[str, object], at: str) -> tuple[SvnLevel, ...]:
    found = []
    for index, one in enumerate(_list(values, "tcbLevels", at)):
        field = f"{at}.tcbLevels[{index}]"
        level = jsontext.table(one, field)
        tcb = jsontext.table(jsontext.get(level, "tcb", field), f"{field}.tcb")
        found.append(SvnLevel(jsontext.number(tcb, "isvsvn", f"{field}.tcb", 65535), *_verdict(level, field)))
    return tuple(found)


def _platform_level(one: object, field: str) -> PlatformLevel:
    level = jsontext.table(one, field)
    tcb = jsontext.table(jsontext.get(level, "tcb", field), f"{field}.tcb")
    return PlatformLevel(
        _components(tcb, "sgxtcbcomponents", f"{field}.tcb"),
        jsontext.number(tcb, "pcesvn", f"{field}.tcb", 65535),
        _components(tcb, "tdxtcbcomponents", f"{field}.tcb"),
        *_verdict(level, field),
    )


def _components(tcb: Mapping[str, object], name: str, field: str) -> tuple[int, ...]:
    listed = jsontext.items(jsontext.get(tcb, name, field), f"{field}.{name}")
    require(len(listed) == 16, f"{field}.{name}", f"{len(listed)} components, needed are 16")
    at = f"{field}.{name}"
    return tuple(jsontext.number(jsontext.table(one, at), "svn", at, 255) for one in listed)


def _verdict(level: Mapping[str, object], field: str) -> tuple[datetime, TcbStatus, tuple[str, ...]]:
    name = jsontext.text(level, "tcbStatus", field)
    if name not in {status.value for status in TcbStatus}:
        refuse(f"{field}.tcbStatus", f"{name[:40]}, which is no status that is known here")
    advisories = jsontext.items(level.get("advisoryIDs", []), f"{field}.advisoryIDs")
    return _date(level, "tcbDate", field), TcbStatus(name), tuple(str(one) for one in advisories)


def _list(values: Mapping[str, object], name: str, at: str) -> list[object]:
    listed = jsontext.items(jsontext.get(values, name, at), f"{at}.{name}")
    require(0 < len(listed) <= _MOST_LEVELS, f"{at}.{name}", f"{len(listed)} of them, allowed is 1 to {_MOST_LEVELS}")
    return listed


def _is(values: Mapping[str, object], at: str, name: str, wanted: str | int) -> None:
    found = jsontext.get(values, name, at)
    if type(found) is not type(wanted) or found != wanted:
        refuse(f"{at}.{name}", f"{str(found)[:24]}, allowed is {wanted}")


def _hex(values: Mapping[str, object], name: str, at: str, size: int) -> bytes:
    return jsontext.unhex(jsontext.get(values, name, at), f"{at}.{name}", size)


def _date(values: Mapping[str, object], name: str, at: str) -> datetime:
    text = jsontext.text(values, name, at)
    try:
        if not _DATE.fullmatch(text):
            raise ValueError
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        refuse(f"{at}.{name}", f"{text[:32]!r} is not a time as Intel writes it")
