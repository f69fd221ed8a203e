"""What NVIDIA's tools and lspci say of GPUs: nvidia_gpu_tools (and gpu_cc_tool), nvidia-smi conf-compute, lspci -nnk.

Source of the messages: NVIDIA/gpu-admin-tools, cli/per_gpu.py and cli/per_gpu_nvswitch.py. The mode register is BAR0
0x1182cc on Hopper and 0x590 from Blackwell on; bits 1:0 are 00 off, 01 on, 11 devtools, 10 half-written.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from strongroom.probe.text import hexadecimal

VENDOR = "10de"
_MODES = {0: "off", 1: "on", 2: "invalid", 3: "devtools"}
_MODE_REGISTERS = (0x1182CC, 0x590)
_BDF = r"((?:[0-9a-f]{4,8}:)?[0-9a-f]{2}:[0-9a-f]{2}\.[0-7])"
_DEVICE = re.compile(rf"\b(GPU|NvSwitch|Nvidia) {_BDF} .{{0,60}}?(0x[0-9a-f]{{4}})\b", re.IGNORECASE)
_HAS = re.compile(r"\bhas (CC|PPCIe) mode (on|off|devtools|invalid)\b")
_IS = re.compile(r"\b(CC|PPCIe) mode is (on|off|devtools|invalid)\b")
_SET = re.compile(r"\b(CC|PPCIe) mode set to (\w{2,12})\. It will be active after")
_UNEXPECTED = re.compile(r"\bUnexpected CC state 0x[0-9a-f]{1,8}\b")
_NO_CC_MODE = re.compile(
    r"\b(?:Querying CC (?:mode|settings) is|Configuring CC|Enabling CC) not supported on (?:GPU|Nvidia) "
)
_IN_USE = re.compile(r"\bThe nvidia driver appears to be using (?:GPU|Nvidia) ")
_STUCK = re.compile(r"\bfailed to switch to (CC|PPCIe) mode \w{2,12}, current mode is (on|off|devtools|invalid)\b")
_NO_PPCIE = re.compile(r"\bdoes not support PPCIe on current FW\b")
_RESET = re.compile(r"was reset to apply the new (CC|PPCIe) mode")
_SETTING = re.compile(r"\b(enable|enable-devtools) = ([01])\b")
_SETTINGS = re.compile(r"\bCC settings:")
_REGISTER = re.compile(r"\bBAR0 read (0x[0-9a-f]{1,8}) = (0x[0-9a-f]{1,8})", re.IGNORECASE)
# Of scripts that list a host's groups by lspci -nns, and of grep -n.
_GROUP = r"(?:IOMMU Group \d{1,4}:? |\d{1,3}[:-])?"
_LSPCI = re.compile(rf"^{_GROUP}{_BDF} .{{1,80}}? \[([0-9a-f]{{4}})\]: .*\[{VENDOR}:([0-9a-f]{{4}})\]", re.IGNORECASE)
# lspci -n, whose older versions say Class. The same without -nn: a kind of device for its class, and a number only where lspci knows no name.
_NUMBERS = re.compile(rf"^{_GROUP}{_BDF} (?:Class )?([0-9a-f]{{4}}): {VENDOR}:([0-9a-f]{{4}})\b", re.IGNORECASE)
_NAMED = re.compile(
    rf"^{_GROUP}{_BDF} (3D controller|VGA compatible controller|Bridge): NVIDIA Corporation (?:Device )?(.{{1,80}}?)(?: \(rev |$)"
)
_ANOTHER = re.compile(rf"^{_GROUP}{_BDF} ", re.IGNORECASE)
_DETAIL = re.compile(r"^(?:\d{1,3}[:-]\s*)?[A-Z][A-Za-z ]{2,24}: ")
_FOLD = 60  # narrower than any mail
_DRIVER = re.compile(r"^(?:\d{1,3}[:-]\s*)?Kernel driver in use: (\S{1,64})")
# nvidia-smi conf-compute -f and -grs say in other words what -q says.
_CAPTIONS = {
    "cc status": "cc state",
    "cc mode": "cc state",
    "cc feature": "cc state",
    "confidential compute gpus ready state": "cc gpus ready state",
}
# nvidia-smi, and the local verifier of NVIDIA/nvtrust.
_NO_CC = re.compile(
    r"\bNo CC capable devices found|\bconfidential compute feature (?:and PPCIE mode )?is disabled", re.IGNORECASE
)
# In the table that nvidia-smi prints without arguments, in its lists, and in what a verifier read.
_SMI_DRIVER = re.compile(r"\bDriver Version(?: fetched)?\s*: (\d{3}(?:\.\d{1,4}){1,2})\b", re.IGNORECASE)
_VBIOS = re.compile(r"(?<![\w.])[0-9A-F]{2}(?:\.[0-9A-F]{2}){4}(?![\w.])", re.IGNORECASE)
# nvidia-smi, whatever it was asked, where its driver gives it no GPU.
_NO_ANSWER = re.compile(
    r"^(?:No devices were found|NVIDIA-SMI has failed because|Failed to initialize NVML: |Unable to determine the device handle ).*"
)
_GPU_CLASSES = ("0300", "0302")


@dataclass(frozen=True)
class Device:
    """A GPU or NVSwitch: PCI address, device id, modes and driver where they were told.

    The device id is four hexadecimal digits, or lspci's name in small letters where it printed no number.
    A mode that was set and waits for a reset is ``pending``: the mode that counts is still the old one.
    """

    address: str
    switch: bool
    device_id: str
    cc: str | None = None
    ppcie: str | None = None
    pending: str | None = None
    driver: str | None = None


@dataclass(frozen=True)
class Smi:
    """``nvidia-smi conf-compute`` and ``nvidia-smi -q``, as captions in small letters with their words, and what it said
    last instead of an answer."""

    values: Mapping[str, str] = field(default_factory=dict)
    refused: str | None = None
    driver: str | None = None
    vbios: tuple[str, ...] = ()

    def get(self, caption: str) -> str | None:
        """What stands behind a caption."""
        return self.values.get(caption)


def _address(text: str) -> str:
    # The tools print the domain, lspci leaves 0000 out.
    return text.lower() if text.count(":") > 1 else f"0000:{text.lower()}"


def tools(lines: Sequence[str]) -> dict[str, Device]:
    """Devices by address, each with the last state that a line gives it."""
    found: dict[str, Device] = {}
    current: str | None = None
    in_settings = False
    for line in lines:
        if match := _DEVICE.search(line):
            current = _address(match[2])
            in_settings = False
            found.setdefault(current, Device(current, match[1].lower() == "nvswitch", match[3][2:].lower()))
        if current is None:
            continue
        device = found[current]
        if mode := _HAS.search(line) or _IS.search(line):
            device = _with(device, mode[1], mode[2].lower())
        elif mode := _SET.search(line):
            device = replace(device, pending=f"{mode[1]} {mode[2].lower()}")
        elif stuck := _STUCK.search(line):
            device = replace(_with(device, stuck[1], stuck[2]), pending=None)
        elif _NO_PPCIE.search(line):
            device = replace(device, ppcie="unsupported")
        elif (reset := _RESET.search(line)) and device.pending and device.pending.startswith(reset[1]):
            device = replace(_with(device, reset[1], device.pending.split()[1]), pending=None)
        elif _UNEXPECTED.search(line):
            # How versions before v2024.12.06 end where newer ones say that the mode is invalid.
            device = replace(device, cc="invalid")
        elif _NO_CC_MODE.search(line):
            device = replace(device, cc="unsupported")
        elif _IN_USE.search(line):
            device = replace(device, driver="nvidia")
        elif _SETTINGS.search(line):
            in_settings = True
        elif in_settings and (setting := _SETTING.search(line)):
            # Settings are what the next reset brings, and a guest begins with one; they contradict a mode, they do not make one.
            if setting[1] == "enable-devtools" and setting[2] == "1":
                device = replace(device, pending="CC devtools")
            elif setting[1] == "enable" and setting[2] == "0":
                device = replace(device, cc="off")
        elif register := _REGISTER.search(line):
            number, value = hexadecimal(register[1]), hexadecimal(register[2])
            if number in _MODE_REGISTERS and value is not None:
                device = replace(device, cc=_MODES[value & 3])
        found[current] = device
    return found


def _with(device: Device, kind: str, mode: str) -> Device:
    return replace(device, cc=mode) if kind == "CC" else replace(device, ppcie=mode)


def lspci(lines: Sequence[str]) -> dict[str, Device]:
    """NVIDIA's GPUs and NVSwitches of ``lspci``, best ``-nnk``, by address, with the driver in use. A paste may have indented
    all of it, or nothing."""
    found: dict[str, Device] = {}
    current: str | None = None
    for line in _unfolded(lines):
        if match := _LSPCI.match(line) or _NUMBERS.match(line):
            gpu = match[2] in _GPU_CLASSES
            current = _address(match[1]) if gpu or match[2] == "0680" else None  # 0680: bridges, NVSwitches are
            if current:
                found.setdefault(current, Device(current, not gpu, match[3].lower()))
        elif match := _NAMED.match(line):
            current = _address(match[1])
            found.setdefault(current, Device(current, match[2] == "Bridge", match[3].lower()))
        elif _ANOTHER.match(line):
            current = None
        elif current and (driver := _DRIVER.match(line)):
            found[current] = replace(found[current], driver=driver[1])
    return found


def _unfolded(lines: Sequence[str]) -> list[str]:
    """A device's own line is as long as its name, and mails fold it: what lost its number would be a GPU less."""
    found: list[str] = []
    for line in map(str.strip, lines):
        long = bool(found) and len(found[-1]) >= _FOLD and _ANOTHER.match(found[-1]) and not found[-1].endswith(")")
        if long and not (_ANOTHER.match(line) or _DETAIL.match(line)):
            found[-1] += line
        else:
            found.append(line)
    return found


def merge(first: Mapping[str, Device], second: Mapping[str, Device]) -> dict[str, Device]:
    """Devices of both, what the tools say of modes joined with the driver that lspci saw."""
    merged = dict(first)
    for address, device in second.items():
        known = merged.get(address)
        merged[address] = device if known is None else replace(known, driver=device.driver or known.driver)
    return merged


def smi(lines: Sequence[str]) -> Smi:
    """Captions and values; of several GPUs the worst is not known here, so differing values are joined by commas."""
    values: dict[str, str] = {}
    refused = driver = None
    vbios: list[str] = []
    for line in lines:
        if match := _SMI_DRIVER.search(line):
            driver = match[1]
        vbios += (one.upper() for one in _VBIOS.findall(line))
        if match := _NO_ANSWER.match(line.strip()):
            refused = match[0]
            continue
        if match := _NO_CC.search(line):
            values.setdefault("cc state", f"not to be had: {match[0]}")
        caption, mark, value = line.partition(":")
        key = " ".join(caption.lower().split())
        key = _CAPTIONS.get(key, key)
        text = value.strip()
        if not mark or not key or len(key) > 60:
            continue
        refused = None if key == "cc state" else refused
        if key in values and text not in values[key].split(", "):
            values[key] = f"{values[key]}, {text}"
        else:
            values.setdefault(key, text)
    return Smi(values, refused, driver, tuple(dict.fromkeys(vbios)))
