"""What SGX tools print: test-sgx (old and 2.x), Gramine's is-sgx-available, Fortanix's sgx-detect and Open Enclave's oesgx."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from strongroom.probe.text import bit, hexadecimal, truth

_EPC = re.compile(r"EPC\[\d{1,4}\]:.*\bsize: ([0-9a-fA-F]{1,16})")
_OLD_EPC = re.compile(r"^size of EPC section in Processor Reserved Memory, (\d{1,9}) ?M$")
_CONTROL = re.compile(r"^Raw IA32_FEATURE_CONTROL: ([0-9a-fA-F]{1,16})$")
_CONTROL_BIT = re.compile(r"^IA32_FEATURE_CONTROL\.\w{3,30}\[bit (\d{1,2})\].{0,60}: ([01])$")
_ECX = re.compile(r"\becx: ([0-9a-fA-F]{1,8})\b")
_ANSWER = re.compile(r"^(.{3,120}?)\s*:\s*(true|false|0|1)$")

# sgx-detect: marks under headings, words where colours are off; a question mark is no answer. Of a cache that is not marked
# as found the size is no answer either: older versions do not know the kind of section that servers have.
_MARK = re.compile(r"(✔|✘|yes|no )\s+(\S.*)")
_DETECTED_EPC = re.compile(r"^Total EPC size: (\d{1,7}\.\d)([MG])iB\b")
_DETECTED = {
    ("SGX instruction set", "CPU support"): "supported",
    ("Flexible launch control", "CPU support"): "launch_control",
    ("SGX instruction set", "Enclave Page Cache"): "sgx1",
    ("SGX system software", "SGX kernel device"): "driver",
    ("SGX system software", "SGX kernel device (/dev/sgx_enclave)"): "driver",
}
_HEADINGS = ("SGX instruction set", "Flexible launch control", "SGX system software")
_NOEXEC = re.compile(r'"/dev" mounted with `noexec` option')

# oesgx: what it does not say the CPU supports, the CPU does not (openenclave docs/GettingStartedDocs).
_OESGX = re.compile(r"^CPU supports (?:SGX_F?LC:(?P<launch>)|Software Guard Extensions:SGX(?P<level>[12])$)")
_OESGX_EPC = re.compile(r"^EPC size on the platform: (\d{1,15})$")

# Which tool's caption answers which question; the caption begins the line.
_CAPTIONS = {
    "supported": ("SGX supported by CPU", "sgx available"),
    "launch_control": ("SGX Launch Configuration (SGX_LC)", "Flexible Launch Control", "sgx launch control"),
    "sgx1": ("SGX1 (ECREATE", "SGX1 leaf instructions", "sgx 1 supported"),
    "sgx2": ("SGX2 (EAUG", "SGX2 leaf instructions", "sgx 2 supported"),
    "driver": ("SGX driver loaded",),
    "aesmd": ("AESMD installed",),
}


@dataclass(frozen=True)
class SgxTool:
    """Answers of such a tool; None where it gave none. ``epc`` is in bytes, ``control`` are bits of IA32_FEATURE_CONTROL."""

    supported: bool | None = None
    launch_control: bool | None = None
    sgx1: bool | None = None
    sgx2: bool | None = None
    driver: bool | None = None
    aesmd: bool | None = None
    noexec: bool = False
    epc: int | None = None
    control: Mapping[int, bool] = field(default_factory=dict)


def parse(lines: Sequence[str]) -> SgxTool:
    """Any of the forms; the first answer to a question counts."""
    answers: dict[str, bool | None] = dict.fromkeys(_CAPTIONS)
    epc: int | None = None
    control: dict[int, bool] = {}
    feature_bits: int | None = None
    heading = section = ""
    for raw in lines:
        line = raw.strip()
        heading = line if line.endswith(")") else heading
        section = next((name for name in _HEADINGS if line.endswith(f" {name}")), section)
        if mark := _MARK.match(line):
            if (question := _DETECTED.get((section, mark[2]))) and answers[question] is None:
                answers[question] = mark[1] in ("✔", "yes")
        elif (match := _DETECTED_EPC.match(line)) and answers["sgx1"]:
            epc = int(float(match[1]) * (1 << (20 if match[2] == "M" else 30)))
        elif line in ("Supports SGX", "Does not support SGX", "CPU does not support SGX"):
            answers["supported"] = line == "Supports SGX"
        elif match := _EPC.match(line):
            epc = (epc or 0) + (hexadecimal(match[1]) or 0)
        elif match := _CONTROL.match(line):
            control |= {position: bit(int(match[1], 16), position) for position in range(64)}
        elif match := _CONTROL_BIT.match(line):
            control[int(match[1])] = match[2] == "1"
        elif match := _OESGX.match(line):
            answers["supported"] = True
            answers["launch_control"] = match["launch"] is not None or bool(answers["launch_control"])
            answers["sgx1"] = match["level"] is not None or answers["sgx1"]
            answers["sgx2"] = match["level"] == "2" or answers["sgx2"]
        elif match := _OESGX_EPC.match(line):
            epc = int(match[1])
        elif match := _OLD_EPC.match(line):
            epc = (epc or 0) + (int(match[1]) << 20)
        elif line.startswith("EPC size:"):
            epc = hexadecimal(line.partition(":")[2])
        elif heading.startswith("Extended feature bits") and (match := _ECX.search(line)):
            feature_bits = hexadecimal(match[1]) if feature_bits is None else feature_bits
        elif match := _ANSWER.match(line):
            for question, captions in _CAPTIONS.items():
                if match[1].startswith(captions) and answers[question] is None:
                    answers[question] = truth(match[2])
    if answers["launch_control"] is None and feature_bits is not None:
        # The old test-sgx prints leaf 7 and no word on launch control: ECX bit 30 is it.
        answers["launch_control"] = bool(feature_bits >> 30 & 1)
    noexec = any(_NOEXEC.search(line) for line in lines)
    return SgxTool(**answers, noexec=noexec, epc=epc, control=control)
