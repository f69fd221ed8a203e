"""What a check says of one host, and what all of them together say of its platforms."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from strongroom.model.checks import Role
from strongroom.model.platform import Platform


class CheckVerdict(StrEnum):
    """A check's verdict. ``unknown`` is what was not probed and never a pass; ``skip`` is what a failed parent hides."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    UNKNOWN = "unknown"
    INFO = "info"


class State(StrEnum):
    """A platform on a host: all of it works, the hardware could, there is none, or it could not be read."""

    READY = "ready"
    CAPABLE = "capable"
    ABSENT = "absent"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """What a judging function returns. ``cause`` names one of the check's ``remedies`` where the evidence tells which."""

    verdict: CheckVerdict
    seen: str
    cause: str | None = None


def passed(seen: str) -> Finding:
    """As wanted."""
    return Finding(CheckVerdict.PASS, seen)


def failed(seen: str, cause: str | None = None) -> Finding:
    """Not as wanted, and the evidence says so."""
    return Finding(CheckVerdict.FAIL, seen, cause)


def warned(seen: str, cause: str | None = None) -> Finding:
    """Works, and should not stay so."""
    return Finding(CheckVerdict.WARN, seen, cause)


def unknown(why: str) -> Finding:
    """Nothing to judge by."""
    return Finding(CheckVerdict.UNKNOWN, why)


def noted(seen: str) -> Finding:
    """For the record."""
    return Finding(CheckVerdict.INFO, seen)


@dataclass(frozen=True)
class CheckResult:
    """One check on one host: what was seen, what is wanted, and the one sentence that says what to do.

    ``platform`` is ``none`` for checks that belong to no platform. ``blocked_by`` is the failed check that a ``skip``
    is due to, ``waived`` the inventory's reason for accepting a failure, ``doc`` the check's page.
    """

    id: str
    verdict: CheckVerdict
    seen: str
    wanted: str = ""
    remedy: str = ""
    platform: Platform = Platform.NONE
    role: Role = Role.HOST
    blocked_by: str | None = None
    waived: str | None = None
    doc: str = ""
    title: str = ""

    @property
    def refuses(self) -> bool:
        """Whether this is a failure that nobody waived."""
        return self.verdict is CheckVerdict.FAIL and self.waived is None


@dataclass(frozen=True)
class PlatformResult:
    """A platform's state, the ids of the checks that keep it from ready (the causes first), and a sentence."""

    platform: Platform
    state: State
    because: tuple[str, ...] = ()
    sentence: str = ""


@dataclass(frozen=True)
class Capacity:
    """What a host can carry as it is: Kata shims, confidential VMs of the host's own QEMU, guests at the same time."""

    shims: tuple[str, ...] = ()
    cvm: tuple[Platform, ...] = ()
    guests: Mapping[Platform, int] = field(default_factory=dict)


@dataclass(frozen=True)
class HostJudgement:
    """Everything that preflight says of one host. ``platforms`` are those of ``role``'s side."""

    role: Role
    platforms: Mapping[Platform, PlatformResult]
    checks: tuple[CheckResult, ...]
    capacity: Capacity = Capacity()

    def check(self, name: str) -> CheckResult | None:
        """The first result of that id."""
        return next((result for result in self.checks if result.id == name), None)

    def state(self, platform: Platform) -> State:
        """The state of a platform; unknown where nothing judged it."""
        return self.platforms[platform].state if platform in self.platforms else State.UNKNOWN


def waive(results: list[CheckResult], waivers: Mapping[str, str]) -> list[CheckResult]:
    """The results, with the reason on every failed check that the inventory waives."""
    return [
        replace(result, waived=waivers[result.id])
        if result.id in waivers and result.verdict is CheckVerdict.FAIL
        else result
        for result in results
    ]
