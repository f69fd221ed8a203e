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
_RESET = re.compile(r"was reset to apply the new (CC|PPCIe) mode")
_SETTING = re.compile(r"\b(enable|enable-devtools) = ([01])\b")
_SETTINGS = re.compile(r"\bCC settings:")
_REGISTER = re.compile(r"\bBAR0 read (0x[0-9a-f]{1,8}) = (0x[0-9a-f]{1,8})", re.IGNORECASE)
_GROUP = r"(?:IOMMU Group \d{1,4}:? )?"  # of scripts that list a host's groups by lspci -nns
_LSPCI = re.compile(rf"^{_GROUP}{_BDF} (.{{1,80}}?) \[([0-9a-f]{{4}})\]: .*\[{VENDOR}:([0-9a-f]{{4}})\]", re.IGNORECASE)
# The same without -nn: a kind of device for its class, and a number only where lspci knows no name.
_NAMED = re.compile(
    rf"^{_GROUP}{_BDF} (3D controller|VGA compatible controller|Bridge): NVIDIA Corporation (?:Device )?(.{{1,80}}?)(?: \(rev |$)"
)
_DRIVER = re.compile(r"^\s+Kernel driver in use: (\S{1,64})")
# nvidia-smi conf-compute -f and -grs say in other words what -q says.
_CAPTIONS = {
    "cc status": "cc state",
    "cc mode": "cc state",
    "cc feature": "cc state",
    "confidential compute gpus ready state": "cc gpus ready state",
}
_NO_CC = re.compile(r"\bNo CC capable devices found", re.IGNORECASE)
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
    """``nvidia-smi conf-compute`` and ``nvidia-smi -q``, as captions in small letters with their words."""

    values: Mapping[str, str] = field(default_factory=dict)

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
    """NVIDIA's GPUs and NVSwitches of ``lspci``, best ``-nnk``, by address, with the driver in use."""
    found: dict[str, Device] = {}
    current: str | None = None
    for line in lines:
        if match := _LSPCI.match(line):
            gpu = match[3] in _GPU_CLASSES
            current = _address(match[1]) if gpu or match[3] == "0680" else None  # 0680: bridges, NVSwitches are
            if current:
                found.setdefault(current, Device(current, not gpu, match[4].lower()))
        elif match := _NAMED.match(line):
            current = _address(match[1])
            found.setdefault(current, Device(current, match[2] == "Bridge", match[3].lower()))
        elif line[:1] not in (" ", "\t"):
            current = None
        elif current and (driver := _DRIVER.match(line)):
            found[current] = replace(found[current], driver=driver[1])
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
    for line in lines:
        if _NO_CC.search(line):
            values.setdefault("cc state", "not to be had: no CC capable devices found")
        caption, mark, value = line.partition(":")
        key = " ".join(caption.lower().split())
        key = _CAPTIONS.get(key, key)
        text = value.strip()
        if not mark or not key or len(key) > 60:
            continue
        if key in values and text not in values[key].split(", "):
            values[key] = f"{values[key]}, {text}"
        else:
            values.setdefault(key, text)
    return Smi(values)
