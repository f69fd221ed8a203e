"""A CC event log of a TD, replayed against the RTMRs of a quote; without a quote nobody signed anything.

UEFI 2.10, section 38.4 ("Confidential Computing"): records name measurement register 0 for MRTD, which nothing extends at run
time, and 1 to 4 for RTMR 0 to 3. The digests are SHA-384.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Self

from pydantic import Field, StrictBool, StrictInt, model_validator

from strongroom.attest import eventlog, events, registry, tdx
from strongroom.attest.base import Authentic, Facts, authentic, refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.eventlog import EventLog
from strongroom.attest.events import type_name
from strongroom.attest.policy import Hex, Policy, Section
from strongroom.attest.registry import kind
from strongroom.model.platform import Platform

BANK = "sha384"
REGISTERS = range(5)
RTMRS = range(4)


class CcelSection(Section):
    """The policy's section ``ccel``; the quote is judged by the section ``tdx``."""

    beyond_log: tuple[StrictInt, ...] = Field((), description="RTMRs that are extended after the firmware's log ended")
    secure_boot: StrictBool = Field(False, description="whether the log has to say that Secure Boot is on")
    rtmr0_digests: tuple[Hex, ...] = Field(
        (),
        description="digests that records of RTMR 0 may have (TD HOB, firmware variables, ACPI tables); where any are"
        " named, every record of it has to have one of them, separators aside",
    )

    @model_validator(mode="after")
    def _confirmed(self) -> Self:
        if 0 in self.beyond_log and (self.secure_boot or self.rtmr0_digests):
            raise ValueError(
                "secure_boot and rtmr0_digests are read from RTMR 0, and beyond_log lets its log say anything; take 0 out of it"
            )
        return self

    def appraise(self, facts: Facts, policy: Policy) -> None:
        """The quote's section, Secure Boot, and the records of RTMR 0; Refused where one of them is not as asked."""
        evidence: Evidence = facts.detail
        policy.section("tdx").appraise(evidence.td, policy)
        if self.secure_boot:
            said = events.secure_boot(evidence.log, 1, BANK)
            require(
                said is True, "event_log.secure_boot", "Secure Boot is off or not in the log; the policy asks for it"
            )
        # By digests alone: a record's type and data are the host's words, whatever its digest holds of them.
        allowed = {*self.rtmr0_digests, *events.separators(BANK)}
        for event in evidence.log.events if self.rtmr0_digests else ():
            if event.extends and event.register == 1 and event.digests[BANK] not in allowed:
                digest = event.digests[BANK].hex()
                refuse(event.field, f"{type_name(event.type)} of {digest}, which ccel.rtmr0_digests does not name")


@dataclass(frozen=True)
class Evidence:
    """The facts of the quote, and the log that leads to its RTMRs."""

    td: Facts
    log: EventLog


def parse(data: bytes) -> EventLog:
    """A CC event log.

    Raises:
        Refused: it is no log with SHA-384, or a record extends what nothing extends at run time.
    """
    log = eventlog.parse(data, registers=REGISTERS)
    require(BANK in log.algorithms, "event_log.algorithms", f"{', '.join(log.algorithms)}, needed is {BANK}")
    for event in log.events:
        require(not event.extends or event.register != 0, event.field, "it extends MRTD, which nothing can")
    return log


def replay(log: EventLog) -> tuple[bytes, ...]:
    """RTMR 0 to 3 as the log leaves them."""
    registers = log.replay(BANK)
    return tuple(registers.get(number + 1, bytes(48)) for number in RTMRS)


def explain(log: EventLog, rtmrs: Collection[bytes], beyond: Collection[int] = ()) -> tuple[str, ...]:
    """Refuse a log that does not lead to the RTMRs, or whose records lie.

    Args:
        log: of the TD's boot.
        rtmrs: the four registers of a verified quote.
        beyond: RTMRs whose replay may differ, since they are extended after the firmware's log ended.

    Returns:
        A note for each RTMR of ``beyond`` that the log does not lead to: what the log says of it, nothing confirms.

    Raises:
        Refused: naming the RTMR or the record.
    """
    notes = []
    for number, (found, quoted) in enumerate(zip(replay(log), rtmrs, strict=True)):
        if found == quoted:
            continue
        if number not in beyond:
            refuse(f"event_log.rtmr{number}", f"the log leads to {found.hex()}, quoted is {quoted.hex()}")
        notes.append(f"the log does not lead to RTMR {number}, as the policy permits (beyond_log)")
    events.require_honest(log, BANK)
    return tuple(notes)


def show(evidence: bytes, collateral: Collateral) -> Mapping[str, object]:
    """Every record, decoded, and the RTMRs that they lead to; nothing of it is verified."""
    log = parse(evidence)
    found = {f"rtmr{number}": value for number, value in enumerate(replay(log))}
    return {"algorithms": log.algorithms, "replay": found, "events": list(events.lines(log, BANK))}


@kind(
    "ccel",
    Platform.TDX,
    section=CcelSection,
    show=show,
    measures=tdx.MEASUREMENTS.__contains__,
    looks_like=lambda evidence: eventlog.announced(evidence) == (BANK,),
)
def verify(evidence: bytes, collateral: Collateral, policy: Policy | None, now: datetime) -> Authentic:
    """A CC event log under a TDX quote.

    Args:
        evidence: the log, its unused part included.
        collateral: the document ``quote`` in any of its forms, and all that :func:`strongroom.attest.tdx.verify_quote` needs.
        policy: its sections ``ccel`` and ``tdx``.
        now: the controller's time.

    Raises:
        Refused: no quote, a quote that does not hold, or a log that does not lead to its RTMRs.
    """
    section = policy.section_as("ccel", CcelSection) if policy else CcelSection()
    log = parse(evidence)
    if "quote" not in collateral.documents:
        refuse("quote", "no quote is given: a log that no signed register confirms says nothing")
    quote, _ = registry.unwrap("tdx", collateral.documents["quote"], collateral)
    td = tdx.verify_quote(quote, collateral, policy, now)
    notes = explain(log, td.detail.quote.report.rtmrs, section.beyond_log)
    fields = {**td.fields, "events": list(events.lines(log, BANK))}
    facts = replace(td, kind="ccel", fields=fields, notes=(*td.notes, *notes), detail=Evidence(td, log))
    return authentic(facts, policy)
