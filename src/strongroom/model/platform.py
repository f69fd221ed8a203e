"""The one list of platforms, in configuration, reports and evidence."""

from __future__ import annotations

from enum import StrEnum


class Platform(StrEnum):
    """What isolates a workload on a host (or, with ``role: guest``, what the guest itself runs in)."""

    SEV = "sev"
    SNP = "snp"
    TDX = "tdx"
    SGX = "sgx"
    CCA = "cca"
    SE = "se"
    GPU = "gpu"
    VTPM = "vtpm"
    NONE = "none"

    @property
    def admits_stand_in(self) -> bool:
        """Whether a stand-in, a lab part that isolates nothing, may be installed where this is claimed."""
        return self in (Platform.VTPM, Platform.NONE)
