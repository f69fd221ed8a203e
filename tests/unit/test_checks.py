"""The catalogue on complete machines: ready as they are, and with one fault exactly that one failure."""

from __future__ import annotations

import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from strongroom.catalog.load import checks as catalogue
from strongroom.checks import platform as asked_platform
from strongroom.checks.judge import judge, order, required
from strongroom.checks.registry import registered
from strongroom.checks.verdict import CheckResult, CheckVerdict, HostJudgement, State
from strongroom.model.checks import Check, Role
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport
from tests.corpus import ROOT, rows
from tests.reference import MACHINES, Sections, make, names
from tests.reference.faults import FAULTS

CHECKS = {check.id: check for check in catalogue().checks if not check.inventory}


def judged(sections: Sections, *, host_expected: bool = False) -> HostJudgement:
    return judge(HostReport.of(sections), catalogue(), expected_role=Role.HOST if host_expected else None)


def below(name: str) -> set[str]:
    """Checks that have this one among their parents, or their parents' parents."""
    found = {check.id for check in CHECKS.values() if name in check.parents}
    return found.union(*(below(child) for child in found)) if found else found


def test_every_check_has_one_function_and_every_function_a_check() -> None:
    assert set(registered()) == {check.id for check in CHECKS.values() if not check.composite}


def test_no_check_depends_on_itself() -> None:
    assert {check.id for check in order(catalogue())} == set(CHECKS)


@pytest.mark.parametrize("check", CHECKS.values(), ids=lambda check: check.id)
def test_an_entry_says_what_is_wanted_and_what_to_do(check: Check) -> None:
    assert check.title
    assert check.wanted
    assert bool(check.remedy) == (check.worst != "info")


@pytest.mark.parametrize("name", names())
def test_a_complete_machine_is_ready(name: str) -> None:
    platform, _ = MACHINES[name]
    judgement = judged(make(name))
    if platform is Platform.NONE:
        assert State.READY not in {one.state for one in judgement.platforms.values()}
        return
    assert judgement.platforms[platform].state is State.READY, judgement.platforms[platform]
    assert judgement.role is (Role.GUEST if name.startswith("guest") else Role.HOST)
    if judgement.role is Role.HOST and platform in (Platform.SNP, Platform.TDX):
        assert judgement.capacity.cvm
        assert judgement.capacity.guests[platform] > 0
        assert judgement.capacity.shims


def test_every_check_has_its_fault() -> None:
    assert set(FAULTS) == set(CHECKS)


@pytest.mark.parametrize("name", FAULTS)
def test_one_fault_is_one_failure_and_its_children_are_skipped(name: str) -> None:
    fault = FAULTS[name]
    sections = make(fault.machine)
    before = {result.id: result for result in judged(sections, host_expected=True).checks}
    judgement = judged(fault.change(sections), host_expected=True)
    after = {result.id: result for result in judgement.checks}
    assert after[name].verdict == fault.verdict, after[name]
    if fault.verdict not in ("fail", "warn"):
        return
    changed = [result for result in after.values() if result.verdict != before[result.id].verdict and result.id != name]
    # On another side of the machine (a guest's checks, once it is a guest) there is nothing to compare with.
    changed = [result for result in changed if before[result.id].verdict is not CheckVerdict.SKIP]
    assert [result for result in changed if result.verdict is not CheckVerdict.SKIP] == []
    assert {result.blocked_by for result in changed} <= {name}
    if fault.verdict == "fail":
        assert all(after[child].verdict is CheckVerdict.SKIP for child in below(name))
        assert after[name].remedy
        needing = [
            file.platform
            for file in catalogue().files
            if file.role is judgement.role and name in required(file) and file.platform is not Platform.NONE
        ]
        assert all(judgement.platforms[platform].state is not State.READY for platform in needing)


def ready(sections: Sections) -> set[Platform]:
    return {name for name, one in judged(sections).platforms.items() if one.state is State.READY}


_SOURCES: dict[str, Sections] = {
    **{name: make(name) for name in names()},
    **{f"{fault.machine} with {name} failed": fault.change(make(fault.machine)) for name, fault in FAULTS.items()},
    **{row.path: row.sections() for row in rows()},
}


@settings(max_examples=600)
@given(data=st.data(), source=st.sampled_from(sorted(_SOURCES)))
def test_nothing_that_is_missing_makes_a_platform_ready(data: st.DataObject, source: str) -> None:
    sections = _SOURCES[source]
    if not sections:
        return
    name = data.draw(st.sampled_from(sorted(sections)))
    keep = data.draw(st.none() | st.integers(0, len(sections[name])))
    less = {other: lines for other, lines in sections.items() if other != name}
    if keep is not None:
        less[name] = tuple(sections[name][:keep])
    assert ready(less) <= ready(sections)


@pytest.mark.parametrize("name", sorted(_SOURCES))
def test_no_section_left_out_or_cut_makes_a_platform_ready(name: str) -> None:
    """The same without chance: each section of each source left out; of faulty ones, the faulty section cut everywhere."""
    sections, had = _SOURCES[name], ready(_SOURCES[name])
    whole = make(FAULTS[name.partition(" with ")[2].split()[0]].machine) if " with " in name else {}
    for section, lines in sections.items():
        rest = {other: body for other, body in sections.items() if other != section}
        cuts = range(len(lines)) if not whole or lines != whole.get(section) else ()
        for less in (rest, *({**rest, section: lines[:cut]} for cut in cuts)):
            assert ready(less) <= had, (section, len(less.get(section, ())))


def test_a_waived_failure_stays_one_and_hides_nothing() -> None:
    sections = FAULTS["SNP-FW"].change(make("snp"))
    judgement = judge(HostReport.of(sections), catalogue(), waivers={"SNP-FW": "a test", "SNP-INIT": "did not fail"})
    failed = judgement.check("SNP-FW")
    assert isinstance(failed, CheckResult)
    assert failed.waived == "a test"
    assert not failed.refuses
    child = judgement.check("SNP-INIT")
    assert child is not None
    assert (child.verdict, child.waived) == (CheckVerdict.PASS, None)
    assert judgement.state(Platform.SNP) is State.CAPABLE


@pytest.mark.parametrize("name", names())
def test_the_inventorys_platform_passes_where_it_is_ready_and_nowhere_else(name: str) -> None:
    judgement = judged(make(name))
    for asked in Platform:
        result = asked_platform.judge(judgement, asked)
        if asked is Platform.NONE:
            assert result.verdict is CheckVerdict.INFO
        else:
            ready_here = judgement.state(asked) is State.READY
            assert result.verdict is (CheckVerdict.PASS if ready_here else CheckVerdict.FAIL)
            assert ready_here or result.remedy


@pytest.mark.parametrize("name", [name for name, fault in FAULTS.items() if fault.verdict == "fail"])
def test_the_inventorys_platform_fails_with_the_causes_remedy(name: str) -> None:
    platform, _ = MACHINES[FAULTS[name].machine]
    judgement = judged(FAULTS[name].change(make(FAULTS[name].machine)))
    if platform is Platform.NONE or judgement.state(platform) is not State.CAPABLE:
        return
    result = asked_platform.judge(judgement, platform)
    cause = judgement.check(name)
    assert cause is not None
    assert (result.verdict, result.remedy) == (CheckVerdict.FAIL, cause.remedy)


def test_a_platform_whose_only_obstacle_is_waived_is_taken_and_not_called_ready() -> None:
    sections = FAULTS["SNP-CFG"].change(make("snp"))
    judgement = judge(HostReport.of(sections), catalogue(), waivers={"SNP-CFG": "VLEKs come later"})
    result = asked_platform.judge(judgement, Platform.SNP)
    assert (result.verdict, result.refuses, judgement.state(Platform.SNP)) == (CheckVerdict.WARN, False, State.CAPABLE)


def test_every_row_of_the_reference_is_a_check_or_says_why_not() -> None:
    known = {*CHECKS, *catalogue().not_checked}
    assert {"SNP-RAPL", "SNP-CXL", "SNP-TSME", "SNP-CERT", "TDX-DIMM", "CCA-CAP", "G-COCO"} == set(
        catalogue().not_checked
    )
    reference = ROOT.parent / "reference" / "tee_checks.md"
    if not reference.is_file():
        pytest.skip(f"no reference catalogue at {reference}")
    rows_there = re.findall(r"(?m)^\| ((?:C|SEV|SNP|TDX|SGX|CCA|SE|GPU|G)-[A-Z0-9]+)[ /|]", reference.read_text())
    assert len(rows_there) > 95
    assert set(rows_there) - known == set()
