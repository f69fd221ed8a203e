"""What a check says."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum


class Outcome(StrEnum):
    """A check's verdict. ``unknown`` is not a pass: it is what was not probed."""

    PASS = "pass"  # noqa: S105 - a verdict, not a password
    FAIL = "fail"
    WARN = "warn"
    SKIP = "skip"
    UNKNOWN = "unknown"
    INFO = "info"


@dataclass(frozen=True)
class CheckResult:
    """One check on one host: what was seen, what is wanted, and the one sentence that says what to do."""

    id: str
    outcome: Outcome
    seen: str
    wanted: str = ""
    remedy: str = ""
    waived: str | None = None

    @property
    def refuses(self) -> bool:
        """Whether apply must stop here."""
        return self.outcome is Outcome.FAIL and self.waived is None


def waive(results: list[CheckResult], waivers: dict[str, str]) -> list[CheckResult]:
    """The results, with the reason on every failed check that the inventory waives."""
    return [
        replace(result, waived=waivers[result.id])
        if result.id in waivers and result.outcome is Outcome.FAIL
        else result
        for result in results
    ]
