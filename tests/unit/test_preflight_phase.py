"""The phase: every host probed by one execution, and a host that is not what the inventory asks for refuses the run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from strongroom.errors import Exit, PreflightRefused, StrongroomError
from strongroom.fetch.bundle import Bundle
from strongroom.model.bundle import BundleManifest
from strongroom.model.cluster import Host, Inventory, Mode, validate
from strongroom.phases.base import Context
from strongroom.phases.modes import phases
from strongroom.phases.preflight import PreflightPhase, refuse_ahead
from strongroom.plan.resource import Guard, Observed, Resource, Step
from strongroom.plan.system import Sysctl
from strongroom.report.progress import Progress
from tests.reference import Sections, make
from tests.reference.faults import FAULTS


class FakeSession:
    """Hosts that answer the probe with a machine's sections, and count how often they are asked."""

    def __init__(self, machines: dict[str, Sections]) -> None:
        self.machines = machines
        self.asked: list[str] = []

    def each(self, hosts: Sequence[Host], function: Callable[[Host, Any], Any]) -> list[Any]:
        return [
            function(
                host, SimpleNamespace(connect=lambda: None, run=lambda script, name=host.name, **_: self.run(name))
            )
            for host in hosts
        ]

    def run(self, name: str) -> list[str]:
        self.asked.append(name)
        lines = ["== strongroom-probe 1"]
        for section, body in self.machines[name].items():
            if section != "controller":
                lines += ["", f"== {section}", *body]
        return [*lines, "", "== end"]


def context(platform: str, **cluster: Any) -> Context:
    hosts = {
        "cp1": (["control_plane"], {"address": "10.0.0.1"}),
        "w1": (["workers"], {"address": "10.0.0.2", "platform": platform}),
    }
    inventory = validate({"name": "a", "claim": "none", **cluster}, hosts)
    manifest = BundleManifest.model_construct(arch="amd64", origin="upstream", digest="0" * 64, artifacts=())
    return Context(inventory, Bundle(Path("/nowhere"), manifest), ())


def run(platform: str, machine: Sections, **cluster: Any) -> tuple[PreflightPhase, FakeSession]:
    session = FakeSession({"cp1": make("snp"), "w1": machine})
    phase = PreflightPhase(Console(quiet=True))
    phase.run(context(platform, **cluster), session, Progress(), hands=True)  # type: ignore[arg-type]
    return phase, session


@pytest.mark.parametrize(
    ("platform", "machine"), [("snp", "snp"), ("sev", "snp"), ("tdx", "tdx"), ("none", "tdx"), ("gpu", "gpu")]
)
def test_a_host_that_is_what_is_asked_for_passes(platform: str, machine: str) -> None:
    phase, session = run(platform, make(machine))
    assert sorted(session.asked) == ["cp1", "w1"]
    assert phase.outcome is not None
    assert phase.outcome.judgements["w1"].checks[0].id == "HOST-PLATFORM"


def refusal(platform: str, machine: Sections, **cluster: Any) -> PreflightRefused:
    with pytest.raises(PreflightRefused) as caught:
        run(platform, machine, **cluster)
    assert caught.value.exit is Exit.PREFLIGHT
    return caught.value


def test_a_host_that_could_be_and_is_not_is_refused_with_what_to_do() -> None:
    error = refusal("snp", FAULTS["SNP-IOMMU"].change(make("snp")))
    assert str(error).startswith("w1: HOST-PLATFORM: snp capable: SNP-IOMMU fail")
    assert "SEV-SNP Support" in str(error.hint)


def test_a_host_of_another_kind_is_refused() -> None:
    assert "tdx absent: another CPU (AuthenticAMD)" in str(refusal("tdx", make("snp")))


def test_a_virtual_machine_is_no_host_of_a_tee() -> None:
    assert "w1: HOST-PLATFORM: snp" in str(refusal("snp", make("guest-vtpm")))


def test_what_could_not_be_read_is_refused_too() -> None:
    error = refusal("snp", {**make("snp"), "msr": ("#unreadable: needs root", "#end"), "user": ("1000", "#end")})
    assert "snp unknown" in str(error)
    assert str(error.hint).startswith("connect as root")
    # What to do is of the check that the line names.
    error = refusal("snp", {name: lines for name, lines in make("snp").items() if name != "msr"})
    assert "w1: HOST-PLATFORM: snp unknown: SEV-SMEE unknown: " in str(error)
    assert str(error.hint).startswith("make SEV-SMEE known: MSR c0010010: ")


def test_a_waiver_of_the_only_obstacle_lets_the_host_through() -> None:
    phase, _ = run("snp", FAULTS["SNP-CFG"].change(make("snp")), waive={"SNP-CFG": "VLEKs come later"})
    assert phase.outcome is not None
    result = phase.outcome.judgements["w1"].check("SNP-CFG")
    assert result is not None
    assert result.waived == "VLEKs come later"


def test_a_fault_of_a_platform_that_nobody_asks_for_refuses_nothing() -> None:
    run("none", FAULTS["SNP-IOMMU"].change(make("snp")))


@dataclass(frozen=True)
class Refusing(Guard):
    why: str

    @property
    def key(self) -> str:
        return "refusing"

    def read(self) -> str:
        return ""

    def steps(self, seen: Observed) -> list[Step]:
        if self.why in seen.lines:
            raise StrongroomError(self.why, hint="take it away")
        return []


class Late:
    """A phase of the second host only, with a guard and something that is none."""

    name = title = "late"

    def waves(self, inventory: Inventory) -> list[tuple[Host, ...]]:
        return [(), inventory.hosts[1:]]

    def resources(self, context: Context, host: Host) -> list[Resource]:
        return [Refusing(f"{host.name} is full"), Sysctl("kernel.ostype", "Linux")]


class Observing(FakeSession):
    """Hosts that tell of themselves what ``said`` has."""

    said: tuple[str, ...] = ()

    def each(self, hosts: Sequence[Host], function: Any) -> list[Any]:
        return [function(host, self) for host in hosts]

    def observe(self, resources: Sequence[Resource]) -> dict[str, Observed]:
        assert [type(one) for one in resources] == [Refusing]
        return {one.key: Observed(self.said) for one in resources}


def test_what_would_stop_a_later_phase_on_one_host_stops_all_before_anything_changes() -> None:
    session = Observing({})
    made = context("none")
    refuse_ahead([Late()], made, session)  # type: ignore[arg-type]
    session.said = ("cp1 is full", "w1 is full")
    with pytest.raises(PreflightRefused) as caught:
        refuse_ahead([Late()], made, session)  # type: ignore[arg-type]
    assert (str(caught.value), caught.value.hint) == ("w1: w1 is full", "take it away; nothing was changed")


def test_only_the_phases_of_this_run_are_looked_ahead_to() -> None:
    (preflight, *_) = phases(Mode.CONTAINERS)
    assert isinstance(preflight, PreflightPhase)
    assert [phase.name for phase in preflight.ahead] == ["host", "runtime", "kubernetes"]
    (preflight, *_) = phases(Mode.CONTAINERS, only=["runtime-classes"])
    assert isinstance(preflight, PreflightPhase)
    assert list(preflight.ahead) == []
