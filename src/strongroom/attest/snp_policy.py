"""What a policy may say of SEV-SNP reports, and the comparison. Everything that is not allowed by name refuses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from pydantic import Field, StrictBool, StrictInt, field_validator

from strongroom.attest.amd import PRODUCTS, SPLS, Leaf
from strongroom.attest.base import Facts, refuse, require
from strongroom.attest.policy import Policy, Section
from strongroom.attest.snp_report import Report
from strongroom.model.frozen import Frozen

# What a guest's policy may permit its host, and the section's key that allows it.
_RISKS: Mapping[str, str] = {"smt": "SMT", "migration": "migration", "debug": "debugging", "cxl": "CXL memory"}
_FLOORED = ("reported_tcb", "committed_tcb", "launch_tcb")

PolicyBit = Literal["single_socket", "mem_aes_256_xts", "rapl_disabled", "ciphertext_hiding_dram", "page_swap_disabled"]
PlatformBit = Literal["tsme", "ecc", "rapl_disabled", "ciphertext_hiding_dram", "alias_check_complete", "tio"]


class TcbFloor(Frozen):
    """Least security patch levels; a level that is not named has no floor."""

    fmc: StrictInt = Field(0, ge=0, le=255, description="first mutable code; Turin alone")
    bootloader: StrictInt = Field(0, ge=0, le=255)
    tee: StrictInt = Field(0, ge=0, le=255)
    snp: StrictInt = Field(0, ge=0, le=255)
    microcode: StrictInt = Field(0, ge=0, le=255)


class SnpPolicy(Section):
    """The ``snp`` section of a policy."""

    minimum_tcb: dict[str, TcbFloor] = Field(
        default_factory=dict, description="TCB floor by product: Milan, Genoa, Turin; other products refuse"
    )
    minimum_firmware: str | None = Field(
        None, pattern=r"^\d{1,3}\.\d{1,3}\.\d{1,3}$", description="least firmware, major.minor.build"
    )
    minimum_guest_svn: StrictInt = Field(0, ge=0, description="least security version of the guest")
    vmpl: tuple[StrictInt, ...] = Field((0,), min_length=1, description="privilege levels that may have asked")
    debug: StrictBool = Field(False, description="whether the host may debug the guest, so read and write all of it")
    smt: StrictBool = Field(False, description="whether the guest may run where SMT is on")
    migration: StrictBool = Field(False, description="whether a migration agent may move the guest")
    cxl: StrictBool = Field(False, description="whether CXL memory may be used")
    provisional_firmware: StrictBool = Field(
        False, description="whether firmware may run that is not committed, so that it can go back"
    )
    policy_requires: tuple[PolicyBit, ...] = Field((), description="bits that the guest's policy must have")
    platform_requires: tuple[PlatformBit, ...] = Field((), description="bits that the platform's information must have")
    csp_ids: tuple[str, ...] = Field((), description="providers whose VLEK may sign; without them a VCEK alone may")
    crl: StrictBool = Field(False, description="whether AMD's revocation list has to be there")

    @field_validator("minimum_tcb")
    @classmethod
    def _products(cls, value: dict[str, TcbFloor]) -> dict[str, TcbFloor]:
        if unknown := sorted(set(value) - set(PRODUCTS)):
            raise ValueError(f"one of {', '.join(map(repr, PRODUCTS))}, not {unknown[0]!r}")
        return value

    @field_validator("vmpl")
    @classmethod
    def _levels(cls, value: tuple[int, ...]) -> tuple[int, ...]:
        if any(not 0 <= level <= 3 for level in value):
            raise ValueError("levels 0 to 3")
        return value

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """Compare a report that was authenticated with this section; Refused where something is not as it asks."""
        report, leaf = facts.detail
        if not isinstance(report, Report) or not isinstance(leaf, Leaf):
            raise TypeError("no facts of an SEV-SNP report")
        self._bits(report)
        self._versions(report)
        if leaf.role == "VLEK" and leaf.csp_id not in self.csp_ids:
            allowed = " or ".join(self.csp_ids) or "a VCEK alone"
            refuse("certificate.csp_id", f"signed by the VLEK of {leaf.csp_id}, allowed is {allowed}")
        if not policy.passes_over("minimum_tcb"):
            self._floor(report, leaf)

    def _bits(self, report: Report) -> None:
        if report.vmpl not in self.vmpl:
            allowed = " or ".join(map(str, self.vmpl))
            refuse("report.vmpl", f"asked for at VMPL {report.vmpl}, allowed is {allowed}")
        for name, what in _RISKS.items():
            if report.has(name) and not getattr(self, name):
                refuse(
                    f"report.policy.{name}",
                    f"the guest's policy {report.policy:#x} permits {what}, which is not allowed",
                )
        for bit in self.policy_requires:
            require(report.has(bit), f"report.policy.{bit}", f"the guest's policy {report.policy:#x} lacks {bit}")
        for flag in self.platform_requires:
            require(
                report.platform_has(flag), f"report.platform_info.{flag}", f"{report.platform_info:#x} lacks {flag}"
            )

    def _versions(self, report: Report) -> None:
        require(
            report.guest_svn >= self.minimum_guest_svn,
            "report.guest_svn",
            f"guest SVN is {report.guest_svn}, allowed is {self.minimum_guest_svn} and above",
        )
        if self.minimum_firmware is not None:
            floor = tuple(map(int, self.minimum_firmware.split(".")))
            for name, found in (("current", report.current), ("committed", report.committed)):
                shown = ".".join(map(str, found))
                require(
                    found >= floor,
                    f"report.{name}",
                    f"firmware is {shown}, allowed is {self.minimum_firmware} and above",
                )
        if not self.provisional_firmware:
            committed = report.current == report.committed and report.current_tcb == report.committed_tcb
            require(committed, "report.committed_tcb", "the firmware that runs is not committed, it can go back")

    def _floor(self, report: Report, leaf: Leaf) -> None:
        floor = self.minimum_tcb.get(leaf.product.name)
        if floor is None:
            refuse(
                "policy.snp.minimum_tcb",
                f"the policy names no TCB floor for {leaf.product.name}; name one, or list minimum_tcb under not_compared",
            )
        for which in _FLOORED:
            for name, found in report.tcb(which, leaf.product).items():
                least = getattr(floor, name) if name in SPLS else 0
                if found < least:
                    refuse(f"report.{which}.{name}", f"level is {found}, allowed is {least} and above")
