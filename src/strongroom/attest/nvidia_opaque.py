"""The opaque data of an NVIDIA device's measurements: a list of type, length and value, little-endian.

From Rubin on a header of 12 bytes stands before the list (``NVDAOD``, a profile, the form's version), and each entry has the
form of its value between type and length.

Types and their names are those of NVIDIA's nvtrust and attestation SDK (OPAQUE_FIELD_ID_*). Unknown types are shown by
their number: newer firmware adds some, the signature covers all, and none can change what a known one says.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader

_NAMES: Final = {
    1: "cert_issuer_name",
    2: "cert_authority_key_identifier",
    3: "driver_version",
    4: "gpu_info",
    5: "sku",
    6: "vbios_version",
    7: "manufacturer_id",
    8: "tamper_detection",
    9: "smc",
    10: "vpr",
    11: "nvdec0_status",
    12: "measurement_counts",
    13: "cpr_info",
    14: "board_id",
    15: "chip_sku",
    16: "chip_sku_mod",
    17: "project",
    18: "project_sku",
    19: "project_sku_mod",
    20: "fwid",
    21: "protected_pcie_status",
    22: "switch_pdis",
    23: "floorswept_ports",
    24: "position_id",
    25: "lock_switch_status",
    32: "gpu_link_connections",
    33: "sys_enable_status",
    34: "opaque_data_version",
    35: "chip_info",
    36: "feature_flag",
}
_TEXTS: Final = frozenset({"driver_version", "chip_sku", "chip_sku_mod", "project", "project_sku", "project_sku_mod"})
_ENABLED, _DISABLED = 0xAA, 0x55
_MODES: Final = {0: "single GPU", 1: "multiple GPUs", 2: "protected PCIe"}
_PDI: Final = 8
_HEADER: Final = b"NVDAOD"
_LATEST: Final = 2  # the newest major version whose list is known here


@dataclass(frozen=True)
class Opaque:
    """Values by name, as their bytes."""

    values: Mapping[str, bytes]

    def text(self, name: str) -> str:
        """ASCII up to its NULs; empty where it isn't there, Refused where it is no text."""
        raw = self.values.get(name, b"").rstrip(b"\0")
        if not all(32 <= byte < 127 for byte in raw):
            refuse(f"spdm.opaque.{name}", f"{raw[:20].hex()} is no text")
        return raw.decode("ascii")

    def switch(self, name: str) -> bool | None:
        """Whether a status is enabled (0xAA) or disabled (0x55); None where it isn't there, Refused where it is neither."""
        raw = self.values.get(name)
        if raw is None:
            return None
        require(
            raw in (bytes([_ENABLED]), bytes([_DISABLED])),
            f"spdm.opaque.{name}",
            f"{raw[:8].hex()}, allowed are aa (enabled) and 55 (disabled)",
        )
        return raw[0] == _ENABLED

    @property
    def vbios(self) -> str:
        """The VBIOS's version as manifests write it, for instance ``96.00.9F.00.01``.

        A GPU gives eight bytes: four of the version's numbers, reversed, then the fifth; a switch gives text.
        """
        raw = self.values.get("vbios_version", b"")
        if len(raw) == 8:
            numbers = (*raw[3::-1], raw[4])
            return ".".join(f"{number:02X}" for number in numbers)
        return self.text("vbios_version").upper()

    @property
    def mode(self) -> str | None:
        """How the device takes part in confidential computing, where its firmware says so."""
        raw = self.values.get("feature_flag")
        if raw is None:
            return None
        number = int.from_bytes(raw[:8], "little")
        return _MODES.get(number, f"mode {number}")

    @property
    def pdis(self) -> tuple[bytes, ...]:
        """Identifiers of the switches that a GPU is linked to, and of a switch itself, 8 bytes each; Refused where one is cut."""
        raw = self.values.get("switch_pdis", b"")
        require(len(raw) % _PDI == 0, "spdm.opaque.switch_pdis", f"{len(raw)} bytes, allowed are multiples of {_PDI}")
        return tuple(dict.fromkeys(raw[start : start + _PDI] for start in range(0, len(raw), _PDI)))

    def fields(self) -> dict[str, object]:
        """All of it, decoded where it is text."""
        shown: dict[str, object] = {
            name: self.text(name) if name in _TEXTS else value for name, value in self.values.items()
        }
        if "switch_pdis" in shown:
            shown["switch_pdis"] = list(self.pdis)
        return {**shown, "vbios_version": self.vbios, **({"mode": self.mode} if self.mode else {})}


def parse(data: bytes) -> Opaque:
    """Read the list, with or without a header before it.

    Raises:
        Refused: an entry is cut off or there twice, or a header is of another profile or a later version.
    """
    reader = Reader(data, "spdm.opaque", "little")
    typed = data.startswith(_HEADER)
    if typed:
        _header(reader)
    found: dict[str, bytes] = {}
    while reader.left:
        number = reader.u16("type")
        name = _NAMES.get(number, f"type_{number}")
        require(name not in found, f"spdm.opaque.{name}", "it is there twice")
        if typed:
            reader.u16(f"{name}.form")  # of the value: text, number, digest; what its type says already
        found[name] = reader.take(reader.u16(name), name)
    return Opaque(found)


def _header(reader: Reader) -> None:
    reader.take(len(_HEADER), "header")
    profile, major = reader.u16("profile"), reader.u8("version")
    reader.u8("version")  # the minor one changes nothing of what is read here
    require(profile == 0, "spdm.opaque.profile", f"profile {profile}, allowed is 0")
    require(major <= _LATEST, "spdm.opaque.version", f"version {major}, allowed is up to {_LATEST}")
    reader.zeros(2, "reserved")
