"""What preflight says, as a document: the published JSON schema, and what every other form is made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, ConfigDict, Field, ValidationError

from strongroom import __version__
from strongroom.checks.consistency import Difference
from strongroom.checks.verdict import CheckVerdict, HostJudgement, State
from strongroom.errors import ConfigError
from strongroom.model.checks import CheckCatalogue, Role
from strongroom.model.frozen import Frozen
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport

# What an operator has to look at, the worst first.
OPEN = (CheckVerdict.FAIL, CheckVerdict.WARN, CheckVerdict.UNKNOWN)


class PlatformEntry(Frozen):
    """A platform on a host."""

    state: State
    sentence: str = Field(description="why, in a sentence")
    because: tuple[str, ...] = Field((), description="ids of the checks that keep it from ready, the causes first")


def _printable(text: object) -> object:
    """What a host said, safe for a terminal, XML and UTF-8: control characters and stray bytes are shown, not sent."""
    if not isinstance(text, str) or text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable()
        else char.encode("utf-8", "backslashreplace").decode()
        if ord(char) > 127
        else f"\\x{ord(char):02x}"
        for char in text
    )


class CheckEntry(Frozen):
    """One check on one host."""

    # Taken from a CheckResult as it is: a rack has ten thousand.
    model_config = ConfigDict(from_attributes=True)

    id: str
    platform: Platform = Field(description="'none' for a check that belongs to no platform")
    role: Role
    title: str
    verdict: CheckVerdict
    seen: Annotated[str, BeforeValidator(_printable)]
    wanted: str
    remedy: str = Field(description="the one thing to do; empty where there is nothing to do")
    blocked_by: str | None = Field(None, description="the failed check that this one waits for")
    waived: str | None = Field(None, description="the inventory's reason for accepting a failure")
    doc: str = Field(description="the check's page, relative to the project's root")


class Machine(Frozen):
    """What a host is; null is what was not read."""

    system: str | None = None
    kernel: str | None = None
    cpu: str | None = None
    processors: int | None = None
    memory_mib: int | None = None
    board: str | None = None
    bios: str | None = None


class CapacityEntry(Frozen):
    """What a host can carry as it is."""

    shims: tuple[str, ...] = Field((), description="Kata shims")
    cvm: tuple[Platform, ...] = Field(
        (), description="platforms of confidential VMs that the host's own QEMU can start"
    )
    guests: dict[Platform, int] = Field(default_factory=dict, description="guests at a time, by ASIDs or key ids")


class HostEntry(Frozen):
    """One host. An unreachable one has no platforms and no checks."""

    name: str
    role: Role
    wanted: Platform = Field(Platform.NONE, description="the platform that the inventory asks for")
    unreachable: str | None = Field(None, description="why the host could not be read")
    machine: Machine = Machine()
    platforms: dict[Platform, PlatformEntry] = Field(default_factory=dict)
    capacity: CapacityEntry = CapacityEntry()
    checks: tuple[CheckEntry, ...] = ()

    def matters(self, check: CheckEntry) -> bool:
        """Whether a check that did not pass concerns anybody: those of a platform that is not there do not."""
        if check.verdict not in OPEN:
            return False
        entry = self.platforms.get(check.platform)
        return entry is None or entry.state is not State.ABSENT or check.platform is self.wanted

    @property
    def open(self) -> tuple[CheckEntry, ...]:
        """The checks to look at, the worst first."""
        found = [check for check in self.checks if self.matters(check)]
        return tuple(sorted(found, key=lambda check: OPEN.index(check.verdict)))

    def state(self, platform: Platform) -> State:
        """A platform's state; unknown where nothing judged it."""
        return self.platforms[platform].state if platform in self.platforms else State.UNKNOWN


class DifferenceEntry(Frozen):
    """Something that differs between hosts that should be alike."""

    what: str
    values: dict[str, tuple[str, ...]] = Field(description="value -> hosts that have it, the commonest first")
    unknown: tuple[str, ...] = Field((), description="hosts that did not tell")


class PreflightDocument(Frozen):
    """All of it."""

    model_config = ConfigDict(populate_by_name=True, title="strongroom preflight")

    schema_: Literal["strongroom.dev/preflight/v1"] = Field("strongroom.dev/preflight/v1", alias="schema")
    strongroom: str = Field(__version__, description="the version that judged")
    judged: datetime = Field(description="when, by the controller's clock")
    hosts: tuple[HostEntry, ...]
    differences: tuple[DifferenceEntry, ...] = ()

    @property
    def there(self) -> tuple[Platform, ...]:
        """Platforms that some host has or should have: the columns of a matrix."""
        read = [host for host in self.hosts if not host.unreachable]
        return tuple(
            one
            for one in Platform
            if one is not Platform.NONE
            and any(host.wanted is one or host.state(one) is not State.ABSENT for host in read)
        )

    @property
    def nowhere(self) -> tuple[Platform, ...]:
        """The other platforms, as far as hosts were read."""
        if all(host.unreachable for host in self.hosts):
            return ()
        return tuple(one for one in Platform if one not in self.there and one is not Platform.NONE)

    @property
    def unread(self) -> tuple[HostEntry, ...]:
        """The hosts that could not be read."""
        return tuple(host for host in self.hosts if host.unreachable)

    @property
    def unsaid(self) -> tuple[tuple[Platform, PlatformEntry, tuple[str, ...]], ...]:
        """Platforms that are not ready and whose cause is no open check, with the hosts on which they are so."""
        found: dict[tuple[Platform, str], tuple[PlatformEntry, list[str]]] = {}
        for host in self.hosts:
            named = {check.id for check in host.open}
            for platform, entry in host.platforms.items():
                if entry.state in (State.CAPABLE, State.UNKNOWN) and not named & set(entry.because):
                    found.setdefault((platform, entry.sentence), (entry, []))[1].append(host.name)
        return tuple((platform, entry, tuple(names)) for (platform, _), (entry, names) in found.items())

    @property
    def open(self) -> tuple[tuple[CheckEntry, tuple[str, ...]], ...]:
        """Every open check once, the worst first, with the hosts on which the same was seen."""
        found: dict[tuple[CheckVerdict, str, str, str | None], tuple[CheckEntry, list[str]]] = {}
        for host in self.hosts:
            for check in host.open:
                key = (check.verdict, check.id, check.seen, check.waived)
                found.setdefault(key, (check, []))[1].append(host.name)
        ordered = sorted(found.values(), key=lambda pair: OPEN.index(pair[0].verdict))
        return tuple((check, tuple(names)) for check, names in ordered)

    def json_text(self) -> str:
        """As JSON, by the published schema."""
        return self.model_dump_json(by_alias=True, indent=2) + "\n"


@dataclass(frozen=True)
class Judged:
    """A host as it comes from the probe and the judge; ``failure`` where it could not be read."""

    name: str
    wanted: Platform = Platform.NONE
    report: HostReport | None = None
    judgement: HostJudgement | None = None
    failure: str | None = None


def make(
    judged: Sequence[Judged], differences: Sequence[Difference], catalogue: CheckCatalogue, now: datetime | None = None
) -> PreflightDocument:
    """The document of hosts in the given order."""
    titles = {check.id: check.title for check in catalogue.checks}
    return PreflightDocument(
        judged=(now or datetime.now(UTC)).replace(microsecond=0),
        hosts=tuple(_host(one, titles) for one in judged),
        differences=tuple(
            DifferenceEntry(what=one.what, values=dict(one.values), unknown=one.unknown) for one in differences
        ),
    )


def _host(judged: Judged, titles: Mapping[str, str]) -> HostEntry:
    report, judgement = judged.report, judged.judgement
    if report is None or judgement is None:
        return HostEntry(name=judged.name, role=Role.HOST, wanted=judged.wanted, unreachable=judged.failure)
    return HostEntry(
        name=judged.name,
        role=judgement.role,
        wanted=judged.wanted,
        machine=Machine(
            system=report.system,
            kernel=report.kernel,
            cpu=report.cpu,
            processors=report.processors,
            memory_mib=report.memory,
            board=_joined(report, "sys_vendor", "product_name"),
            bios=_joined(report, "bios_vendor", "bios_version", "bios_date"),
        ),
        platforms={
            platform: PlatformEntry(state=found.state, sentence=found.sentence, because=found.because)
            for platform, found in judgement.platforms.items()
        },
        capacity=CapacityEntry(
            shims=judgement.capacity.shims, cvm=judgement.capacity.cvm, guests=dict(judgement.capacity.guests)
        ),
        checks=tuple(
            check if check.title else replace(check, title=titles.get(check.id, check.id)) for check in judgement.checks
        ),
    )


def _joined(report: HostReport, *keys: str) -> str | None:
    return " ".join(part for key in keys if (part := report.dmi.get(key, "").strip())) or None


def load(path: Path) -> PreflightDocument:
    """A document that ``preflight --output json`` wrote.

    Raises:
        ConfigError: it cannot be read, or is of another schema; one line.
    """
    try:
        return PreflightDocument.model_validate_json(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot be read: {error.strerror}", hint="give --diff a saved JSON report"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(
            f"{path}: {where}: {first['msg']}; allowed is a report of strongroom preflight",
            hint="make one with `strongroom preflight INVENTORY --output json`",
        ) from error
