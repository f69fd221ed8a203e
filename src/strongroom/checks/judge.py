"""All checks on one host: parents first, so that one cause gives one failure, then what the platforms make of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from strongroom.checks import carries, role
from strongroom.checks.registry import registered
from strongroom.checks.verdict import (
    CheckResult,
    CheckVerdict,
    Finding,
    HostJudgement,
    PlatformResult,
    State,
    failed,
    passed,
    unknown,
)
from strongroom.model.checks import Check, CheckCatalogue, PlatformChecks, Role, Vendor
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport

_LONGEST_SEEN = 240
_OFF = (CheckVerdict.FAIL, CheckVerdict.WARN, CheckVerdict.SKIP)


@cache
def order(catalogue: CheckCatalogue) -> tuple[Check, ...]:
    """Checks so that every one comes after those it depends on.

    Raises:
        ValueError: checks depend on each other in a circle.
    """
    done: dict[str, Check] = {}
    on_the_way: list[str] = []

    def visit(check: Check) -> None:
        if check.id in done:
            return
        if check.id in on_the_way:
            raise ValueError(f"checks depend on each other: {' > '.join([*on_the_way, check.id])}")
        on_the_way.append(check.id)
        below = [*check.parents, *check.explained_by]
        for platform in check.composite:
            if file := catalogue.file(platform, check.role):
                below += required(file)
        for name in below:
            visit(catalogue.check(name))
        on_the_way.pop()
        done[check.id] = check

    for check in catalogue.checks:
        if not check.inventory:
            visit(check)
    return tuple(done.values())


@cache
def required(file: PlatformChecks) -> tuple[str, ...]:
    """Ids of the checks that have to pass before a platform is ready."""
    return tuple(dict.fromkeys([*file.also, *(check.id for check in file.checks if check.required)]))


@dataclass
class _Court:
    """One host's judgement in the making."""

    report: HostReport
    catalogue: CheckCatalogue
    waivers: Mapping[str, str]
    role: Role | None
    expected: Role | None
    vendor: Vendor | None
    kinds: frozenset[str]
    results: dict[str, CheckResult] = field(default_factory=dict)

    def away(self, file: PlatformChecks) -> tuple[str, str | None] | None:
        """Why a file's checks do not apply to this host, and the check that says so; None where they do."""
        if file.everywhere:
            return None
        if file.role is Role.HOST and self.role is Role.GUEST:
            return "a virtual machine; asked of the machine below", "C-BARE"
        if file.role is Role.GUEST and self.role is Role.HOST:
            return "not a guest", None
        # Arm CPUs have no vendor in letters: their machine's name stands for it.
        cpu = self.report.vendor or (self.report.machine if self.report.machine != "x86_64" else None)
        if file.cpus and cpu is not None and not {cpu, self.report.machine} & set(file.cpus):
            return f"another CPU ({cpu})", self._blame("C-ARCH") if "C-ARCH" in self.results else None
        if file.kinds and (self.kinds - set(file.kinds)) and not self.kinds & set(file.kinds):
            return f"another kind of guest ({', '.join(sorted(self.kinds))})", None
        if file.kinds and role.ordinary(self.report):
            return "an ordinary virtual machine", None
        return None

    def judge(self, check: Check, file: PlatformChecks) -> CheckResult:
        """One check, with the verdicts of its parents already there."""
        if away := self.away(file):
            return self._result(check, Finding(CheckVerdict.SKIP, away[0]), blocked_by=away[1])
        for parent in check.parents:
            above = self.results[parent]
            if parent in file.capability and above.verdict is CheckVerdict.INFO:
                return self._result(check, Finding(CheckVerdict.SKIP, above.seen))
            if above.verdict is CheckVerdict.SKIP and above.blocked_by is None:
                return self._result(check, Finding(CheckVerdict.SKIP, above.seen))
            if (failing := self._blame(parent)) is not None:
                return self._result(check, Finding(CheckVerdict.SKIP, f"{failing} comes first"), blocked_by=failing)
        if check.composite:
            composed, behind = self._composite(check)
            return self._result(check, composed, blocked_by=behind)
        finding = registered()[check.id](self.report, check)
        if check.id == "C-BARE" and self.expected is Role.HOST and self.role is Role.GUEST:
            finding = replace(finding, verdict=CheckVerdict.FAIL)
        if finding.verdict in (CheckVerdict.FAIL, CheckVerdict.WARN):
            for cause in check.explained_by:
                # Only a failure of its own explains another: what is merely absent on this CPU explains nothing.
                if self.results[cause].refuses:
                    seen = f"{finding.seen}; {cause} comes first"
                    return self._result(check, Finding(CheckVerdict.SKIP, seen), blocked_by=cause)
        return self._result(check, finding)

    def _blame(self, name: str) -> str | None:
        """The failed check behind a check that failed or was skipped; None where it stands in nobody's way."""
        result = self.results[name]
        if result.verdict is CheckVerdict.SKIP:
            return result.blocked_by
        return name if result.refuses else None

    def _composite(self, check: Check) -> tuple[Finding, str | None]:
        states = [self.platform(file) for one in check.composite if (file := self.catalogue.file(one, check.role))]
        said = ", ".join(f"{state.platform} {state.state}" for state in states)
        if any(state.state is State.READY for state in states):
            return passed(said), None
        if any(state.state is State.CAPABLE for state in states):
            first = next(state for state in states if state.state is State.CAPABLE)
            blame = first.because[0]
            return Finding(CheckVerdict.SKIP, f"{said}; {blame} comes first"), blame
        # That nothing here can carry it is a failure only where it is known that there is something to carry.
        known = all(self.results[parent].verdict is not CheckVerdict.UNKNOWN for parent in check.parents)
        if known and all(state.state is State.ABSENT for state in states):
            # A failed capability check is the one failure; without one nothing else says that it is missing.
            blamed = next((one for state in states for name in state.because if (one := self._blame(name))), None)
            return (Finding(CheckVerdict.SKIP, said), blamed) if blamed else (failed(said), None)
        return unknown(said), None

    def _result(self, check: Check, finding: Finding, *, blocked_by: str | None = None) -> CheckResult:
        remedy = ""
        if finding.verdict == check.worst or finding.verdict in (CheckVerdict.FAIL, CheckVerdict.WARN):
            item = check.vendors.get(self.vendor) if self.vendor else None
            item = item or next(iter(check.vendors.values()), None)
            remedy = check.remedies.get(finding.cause, check.remedy) if finding.cause else check.remedy
            if item and remedy == check.remedy:
                remedy = f"{remedy}: {item}"
        elif finding.verdict is CheckVerdict.UNKNOWN and self.report.root is False and "needs root" in finding.seen:
            remedy = "connect as root, or set _sudo: True in the host's data, so that it can be read"
        waived = self.waivers.get(check.id) if finding.verdict is CheckVerdict.FAIL else None
        return CheckResult(
            check.id, finding.verdict, finding.seen[:_LONGEST_SEEN], check.wanted, remedy, check.platform, check.role,
            blocked_by, waived, check.doc, check.title,
        )  # fmt: skip

    def platform(self, file: PlatformChecks) -> PlatformResult:
        """A platform's state from the verdicts of its checks."""
        if away := self.away(file):
            return PlatformResult(file.platform, State.ABSENT, (), away[0])
        names = required(file)
        # A check that is not required may stay unknown; one that fails contradicts what makes the platform ready.
        against = [check.id for check in file.checks if self.results[check.id].verdict is CheckVerdict.FAIL]
        results = [self.results[name] for name in dict.fromkeys((*names, *against))]
        for name in file.capability:
            result = self.results[name]
            if result.verdict in (CheckVerdict.FAIL, CheckVerdict.INFO) or (
                result.verdict is CheckVerdict.SKIP and result.blocked_by in file.capability
            ):
                return PlatformResult(file.platform, State.ABSENT, (name,), f"{name}: {result.seen}")
        partial = [name for name in file.sections if not self.report.section(name).complete]
        if all(result.verdict is CheckVerdict.PASS for result in results):
            if not partial:
                return PlatformResult(file.platform, State.READY, (), "every required check passes")
            why = self.report.section(partial[0]).why
            return PlatformResult(file.platform, State.UNKNOWN, (), f"the section {partial[0]} is not whole: {why}")
        off = [result for result in results if result.verdict in _OFF]
        rest = [result for result in results if result.verdict not in (CheckVerdict.PASS, *_OFF)]
        rank = (CheckVerdict.FAIL, CheckVerdict.WARN, CheckVerdict.SKIP)
        off.sort(key=lambda result: rank.index(result.verdict))
        # A skipped check stands for the failed one that blocks it.
        because = tuple(dict.fromkeys(result.blocked_by or result.id for result in (*off, *rest)))
        first = self.results[because[0]]
        able = all(self.results[name].verdict is CheckVerdict.PASS for name in file.capability) and bool(
            file.capability
        )
        state = State.CAPABLE if off and able else State.UNKNOWN
        return PlatformResult(file.platform, state, because, f"{first.id} {first.verdict}: {first.seen}")


def _vendor(report: HostReport, catalogue: CheckCatalogue) -> Vendor | None:
    names = " ".join(report.dmi.get(key, "") for key in ("sys_vendor", "board_vendor", "bios_vendor")).lower()
    return next((vendor for word, vendor in catalogue.vendors.items() if word in names), None)


def judge(
    report: HostReport,
    catalogue: CheckCatalogue,
    *,
    waivers: Mapping[str, str] | None = None,
    expected_role: Role | None = None,
) -> HostJudgement:
    """Judge a host by every check of the catalogue.

    ``waivers`` are check ids with reasons: a waived failure is still one, but hides nothing behind it. ``expected_role``
    is what the inventory takes the machine for; a virtual machine where a host is expected fails C-BARE.
    Nothing here turns what was not probed into a pass, and no platform is ready while a check that it requires is not.
    """
    court = _Court(
        report,
        catalogue,
        waivers or {},
        role.role(report),
        expected_role,
        _vendor(report, catalogue),
        role.kinds(report),
    )
    files = {check.id: file for file in catalogue.files for check in file.checks}
    for check in order(catalogue):
        court.results[check.id] = court.judge(check, files[check.id])
    side = court.role or Role.HOST
    platforms: dict[Platform, PlatformResult] = {
        one: court.platform(file) if (file := catalogue.file(one, side)) else _no_side(one, court)
        for one in Platform
        if one is not Platform.NONE
    }
    results = tuple(court.results[check.id] for check in catalogue.checks if check.id in court.results)
    return HostJudgement(side, platforms, results, carries.capacity(report, catalogue, platforms, court.results, side))


# A guest's kind -> the platform it runs in, where no check looks into that kind of guest.
_UNJUDGED = {"sev": Platform.SEV, "sev-es": Platform.SEV}


def _no_side(platform: Platform, court: _Court) -> PlatformResult:
    # Memory that is encrypted is plain SEV's unless something tells another kind, and that may just not have been read.
    kinds = court.kinds or ({"sev"} if role.encrypted(court.report) else ())
    if any(_UNJUDGED.get(kind) is platform for kind in kinds):
        return PlatformResult(platform, State.UNKNOWN, (), "no check looks into this kind of guest")
    if court.role is None:
        return PlatformResult(platform, State.UNKNOWN, ("C-BARE",), "a host or a guest: nothing that was read tells")
    return PlatformResult(platform, State.ABSENT, (), f"nothing that a {court.role} offers")


def failures(judgement: HostJudgement) -> Sequence[CheckResult]:
    """Failed checks that nobody waived, in the catalogue's order: the causes, each once."""
    return [result for result in judgement.checks if result.refuses]
