"""SGX registration variables of the BIOS, as efivarfs gives them: four bytes of attributes, then the variable. Without them,
what the registration agent said of them.

Source: SGXDataCenterAttestationPrimitives, tools/SGXPlatformRegistration/include/UefiVar.h: a status variable has
u16 version, u16 size, u16 status flags (bit 0 registration complete, bit 1 package info complete) and u8 error code; a
configuration variable has u16 version, u16 size, u16 flags (bit 0: the registration server does not save keys). The agent's
words are those of RegistrationService.cpp and of the management tool's main.cpp beside it, and of tools/PCKRetrievalTool.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

_ATTRIBUTES = 4
STATUS = "SgxRegistrationStatus"
CONFIGURATION = "SgxRegistrationConfiguration"
_DONE = re.compile(
    r"\b(?:PLATFORM_ESTABLISHMENT or TCB_RECOVERY|ADD_REQUEST) passed successfully"
    r"|\bregistration is completed successfully|\bdata has been sent to cache server successfu"
)
# The flag alone: the error code is asked for by itself. Agents up to 1.8 do not look at it.
_COMPLETE = re.compile(
    r"\bRegistration process completed successfully|\bRegistration status indicates registration is complete\."
)
# The PCK certificate ID tool, for indirect registration: it marks the BIOS's record as complete even where nothing was sent.
_NOT_SENT = re.compile(
    r"\bdata couldn't be sent to cache server|\b(?:unexpected|network) error\b.{1,60}\bcache server\b"
)
# What the agent says where it then writes an error of its own into the BIOS's record: MPA_AG_NETWORK_ERROR and
# MPA_AG_BIOS_PROTOCOL_ERROR of MultiPackageDefs.h.
_AGENT_ERRORS = (
    (re.compile(r"\bFailed to send request to server, error: \d"), 0x82),
    (re.compile(r"\bRegistration Flow - (?:get(?:Registration|AddPackage)Request failed|Unknown_request)"), 0x86),
)
_NO_VARIABLE = re.compile(
    r"\bSgxRegistrationStatus UEFI variable was not found|\bgetRegistrationStatus failed, error: 4\b"
)
_NOT_DONE = re.compile(
    r"\bRegistration is in progress\.|\bRegistration Flow - (?:(?:.{1,40} or TCB_RECOVERY|ADD_REQUEST) failed"
    r"|getRegistrationStatus failed|Registration not complete)"
)
_ERROR = re.compile(
    r"\bBIOS/MCHECK failed, reported error: 0x([0-9A-F]{2})\b|\bregistration error code: ([0-9a-f]{1,2})$"
)
_ERROR_NUMBER = re.compile(r"\bregistration is completed unsuccessfully, and the error code is (\d{1,3})")
_INDIRECT = re.compile(r"\bRegistration Server won't save encrypted platform keys")


@dataclass(frozen=True)
class Registration:
    """The platform's registration with Intel; None where a variable is not there or too short."""

    complete: bool | None = None
    error: int | None = None
    indirect: bool | None = None
    cause: str | None = None
    """Why it is not complete, as the catalogue names remedies, where that was told."""


# What shows a file's bytes: hexdump -C, xxd, od -t x1 (with od's octal addresses), and hexdump's or od -x's words of two bytes.
_FILE = r"(?:\S{0,80}/)?(Sgx\w{3,60})-[0-9a-f-]{36}\S?"
_DUMPED = re.compile(rf"\b(hexdump|hd|xxd|od)\b(.*?) {_FILE}$")
_PIPED = re.compile(rf"\bcat {_FILE} ?\| ?(?:sudo )?(hexdump|hd|xxd|od)\b(.*)$")
_ROW = re.compile(
    r"^[0-9a-f]{6,8}:?\s+((?:[0-9a-f]{2,4} {1,2}){1,16}[0-9a-f]{0,4})(?:\s|$)|^ ((?:[0-9a-f]{2} ?){1,16})$"
)


def _row(text: str, swapped: bool) -> bytes:
    """The bytes of a dump's row; a word of two bytes that was not asked for by byte has its low byte first."""
    words = [bytes.fromhex(word) for word in text.split() if len(word) % 2 == 0]
    return b"".join(word[::-1] if swapped else word for word in words)


def dumped(lines: Sequence[str]) -> dict[str, bytes]:
    """Variables as people show them: the rows below the command that dumps a file of efivarfs."""
    found: dict[str, bytes] = {}
    name, swapped = "", False
    for line in lines:
        if match := _DUMPED.search(line.rstrip()) or _PIPED.search(line.rstrip()):
            tool, arguments, name = match.groups() if match.re is _DUMPED else (match[2], match[3], match[1])
            swapped = tool in ("hexdump", "od") and not re.search(r"-C|x1", arguments)
        elif name and (row := _ROW.match(line.lower().rstrip())):
            found[name] = found.get(name, b"") + _row(row[1] or row[2], swapped)
        else:
            name = name if re.fullmatch(r"[0-9a-fA-F]{6,8}", line.strip()) else ""
    return found


def parse(lines: Sequence[str]) -> dict[str, bytes]:
    """``name=hex bytes`` lines (attributes included) -> name without its GUID -> bytes; what is no hex is left out."""
    found = dumped(lines)
    for line in lines:
        name, mark, text = line.strip().partition("=")
        digits = "".join(text.split())
        if not mark or len(digits) % 2 or len(digits) > 1 << 16:
            continue
        try:
            found.setdefault(name.rpartition("/")[2].partition("-")[0], bytes.fromhex(digits))
        except ValueError:
            continue
    return found


def told(lines: Sequence[str]) -> Registration:
    """The last words of the registration agent's log, or of its management tool."""
    found = Registration()
    for line in lines:
        if _DONE.search(line):
            found = replace(found, complete=True, error=0, cause=None)
        elif _COMPLETE.search(line):
            found = replace(found, complete=True, error=found.error or 0)
        elif match := _ERROR.search(line.rstrip()):
            if code := int(match[1] or match[2], 16):
                found = replace(found, complete=False, error=code)
        elif match := _ERROR_NUMBER.search(line):
            found = replace(found, complete=True, error=int(match[1]))
        elif _NO_VARIABLE.search(line) or _NOT_SENT.search(line):
            found = replace(found, complete=False, error=0, cause="sent" if _NOT_SENT.search(line) else "variable")
        elif code := next((code for pattern, code in _AGENT_ERRORS if pattern.search(line)), 0):
            found = replace(found, complete=False, error=code)
        elif _NOT_DONE.search(line):
            found = replace(found, complete=False, error=found.error or 0)
        elif _INDIRECT.search(line):
            found = Registration(complete=False, error=0, indirect=True)
    return found


def registration(variables: Mapping[str, bytes], lines: Sequence[str] = ()) -> Registration:
    """What the two variables say, or without them the agent's lines."""
    if STATUS not in variables and CONFIGURATION not in variables:
        return told(lines)
    status = variables.get(STATUS, b"")[_ATTRIBUTES:]
    configuration = variables.get(CONFIGURATION, b"")[_ATTRIBUTES:]
    return Registration(
        complete=bool(status[4] & 1) if len(status) >= 7 else None,
        error=status[6] if len(status) >= 7 else None,
        indirect=bool(configuration[4] & 1) if len(configuration) >= 6 else None,
    )
