"""Reports of preflight: what each form says, that it can be read, and that nothing a host says gets out of hand."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Mapping
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import CheckVerdict, State
from strongroom.errors import ConfigError, Exit
from strongroom.model.platform import Platform
from strongroom.phases.preflight import judge_alone
from strongroom.probe.report import HostReport
from strongroom.report import document, saved
from strongroom.report.changes import changes
from strongroom.report.document import Judged, PreflightDocument
from strongroom.report.html import html
from strongroom.report.junit import junit
from strongroom.report.preflight import show
from tests.reference import Sections, make
from tests.reference.faults import FAULTS

STRONGROOM = Path(sys.executable).with_name("strongroom")
MACHINES = ("snp", "tdx", "sgx", "cca", "se", "gpu", "guest-snp", "guest-tdx", "guest-vtpm")


def faulty(name: str) -> Sections:
    return FAULTS[name].change(make(FAULTS[name].machine))


def made(wanted: Platform = Platform.NONE, **machines: Sections) -> PreflightDocument:
    return made_of(machines, wanted)


def made_of(machines: Mapping[str, Sections], wanted: Platform = Platform.NONE) -> PreflightDocument:
    judged = []
    for name, sections in machines.items():
        report = HostReport.of(sections)
        judged.append(Judged(name, wanted, report, judge(report, catalogue())))
    return document.make(judged, (), catalogue())


def text(said: PreflightDocument, width: int = 80) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    show(console, said)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_all_platforms_side_by_side_fit_80_columns() -> None:
    bare = {"uname": ("Linux 6.12.0 x86_64", "#end")}
    said = made_of({"nobody-knows-it": bare, **{name: make(name) for name in MACHINES}}, Platform.SNP)
    lines = text(said).splitlines()
    assert max(map(len, lines)) <= 80
    assert "…" not in text(said)
    assert not [
        platform for platform in Platform if platform.value.upper() not in lines[0] and platform.value != "none"
    ]


@pytest.mark.parametrize("machine", MACHINES)
def test_a_terminal_of_80_columns_is_enough(machine: str) -> None:
    for said in (made(a=make(machine)), made(a=make(machine), b=faulty("SNP-IOMMU"), c=faulty("TDX-CPU"))):
        lines = text(said).splitlines()
        assert max(map(len, lines)) <= 80
        assert not [line for line in lines if "…" in line]


def test_one_host_leads_with_what_is_open_and_what_to_do() -> None:
    lines = text(made(epyc=faulty("SNP-IOMMU"))).splitlines()
    first = next(number for number, line in enumerate(lines) if "SNP-IOMMU fail:" in line and line.startswith("epyc"))
    assert "SEV-SNP Support" in " ".join(lines[first : first + 4])
    assert first < next(number for number, line in enumerate(lines) if "C-ARCH" in line)


def test_the_same_failure_on_many_hosts_is_said_once() -> None:
    said = text(made_of({f"h{number:02}": faulty("SNP-IOMMU") for number in range(12)}))
    assert said.count("SNP-IOMMU fail:") == 1
    assert "h00, h01, h02, h03, h04, h05, h06, h07 and 4 more: SNP-IOMMU" in said


def test_a_platform_that_is_not_there_troubles_nobody_unless_it_is_asked_for() -> None:
    absent = faulty("SNP-CPUID")
    assert made(a=absent).hosts[0].state(Platform.SNP) is State.ABSENT
    assert [check.id for check in made(a=absent).hosts[0].open] == []
    assert "SNP-CPUID" in [check.id for check in made(Platform.SNP, a=absent).hosts[0].open]
    assert "-!" in text(made(Platform.SNP, a=absent, b=make("snp")))


def test_a_waiver_shows_with_its_reason() -> None:
    report = HostReport.of(faulty("SNP-CFG"))
    judged = Judged("a", report=report, judgement=judge(report, catalogue(), waivers={"SNP-CFG": "VLEKs come later"}))
    said = document.make([judged, judged], (), catalogue())
    assert "waived: VLEKs come later" in text(said)
    assert "VLEKs come later" in html(said)
    assert "waived: VLEKs come later" in junit(said)
    assert "<failure" not in junit(said)


def test_json_is_what_the_contract_names_and_can_be_read_again(tmp_path: Path) -> None:
    said = made(Platform.SNP, epyc=faulty("SNP-IOMMU"), guest=make("guest-snp"))
    found = json.loads(said.json_text())
    assert found["schema"] == "strongroom.dev/preflight/v1"
    host, guest = found["hosts"]
    assert (host["name"], host["role"], guest["role"]) == ("epyc", "host", "guest")
    assert set(host["platforms"]) == {"sev", "snp", "tdx", "sgx", "cca", "se", "gpu", "vtpm"}
    assert host["platforms"]["snp"]["state"] == "capable"
    (check,) = [check for check in host["checks"] if check["id"] == "SNP-SYSCFG"]
    wanted = {"id", "platform", "verdict", "seen", "wanted", "remedy", "blocked_by", "doc"}
    assert wanted <= set(check)
    assert check["blocked_by"] == "SNP-IOMMU"
    file = tmp_path / "old.json"
    file.write_text(said.json_text())
    assert document.load(file) == said


@pytest.mark.parametrize("content", ["", "[]", '{"schema": "strongroom.dev/preflight/v2"}', "\xff", '{"hosts": 1}'])
def test_a_report_of_another_kind_is_refused_in_one_line(content: str, tmp_path: Path) -> None:
    file = tmp_path / "old.json"
    file.write_text(content)
    with pytest.raises(ConfigError) as caught:
        document.load(file)
    assert len(str(caught.value).splitlines()) == 1
    assert str(file) in str(caught.value)


def test_junit_counts_what_it_has() -> None:
    root = ET.fromstring(junit(made(epyc=faulty("SNP-IOMMU"), xeon=make("tdx"))))
    epyc, xeon = root
    assert [case.get("name", "").split()[0] for case in epyc.iter("testcase") if case.find("failure") is not None] == [
        "SNP-IOMMU"
    ]
    assert (epyc.get("failures"), xeon.get("failures")) == ("1", "0")
    assert int(epyc.get("tests", 0)) == len(epyc.findall("testcase"))


def test_an_unreachable_host_hides_no_other() -> None:
    report = HostReport.of(make("snp"))
    judged = [Judged("a", report=report, judgement=judge(report, catalogue())), Judged("b", failure="no route to host")]
    said = document.make(judged, (), catalogue())
    assert "b: not read: no route to host" in text(said)
    assert "no route to host" in html(said)
    (case,) = ET.fromstring(junit(said)).findall("testsuite[@name='b']/testcase")
    assert case.find("error") is not None


def test_what_was_not_read_is_not_called_absent() -> None:
    nobody = document.make([Judged("a", failure="no route to host")], (), catalogue())
    assert "absent" not in text(nobody)
    page = html(nobody)
    assert "Absent" not in page
    assert "Nothing." not in page
    report = HostReport.of(make("snp"))
    some = document.make(
        [Judged("a", failure="no route"), Judged("b", report=report, judgement=judge(report, catalogue()))],
        (),
        catalogue(),
    )
    assert "absent on the hosts that were read: " in text(some)


def test_a_machine_of_which_nothing_tells_what_it_is_has_no_absent_platform() -> None:
    (host,) = made(a={"dmesg": make("snp")["dmesg"]}).hosts
    assert host.state(Platform.VTPM) is State.UNKNOWN


def test_a_platform_whose_cause_is_no_open_check_says_why_it_is_not_ready() -> None:
    cut = {**make("snp"), "msr": tuple(line for line in make("snp")["msr"] if line != "#end")}
    said = made(a=cut, b=make("snp"))
    assert not said.open
    line = "a: snp unknown: the section msr is not whole"
    assert line in text(said)
    assert "the section msr is not whole" in html(said).split("<section>")[0]


class Tags(HTMLParser):
    """The page's elements, and everything in it that would be fetched."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.fetched: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.fetched += [
            value for name, value in attrs if value and name in ("src", "href") and not value.startswith("#")
        ]


def test_the_page_needs_nothing_from_anywhere() -> None:
    page = html(made(epyc=faulty("SNP-IOMMU"), xeon=make("tdx")))
    tags = Tags()
    tags.feed(page)
    assert tags.fetched == []
    assert not {"script", "link", "img", "iframe"} & tags.tags
    assert "url(" not in page
    assert "@import" not in page


@settings(max_examples=50, deadline=None)
@given(st.text(st.characters(codec=None), max_size=60))
def test_whatever_a_host_says_stays_text(words: str) -> None:
    said = f"{words}<script>alert(1)</script>[red]\x1b[2J\udcff"
    sections = {**make("snp"), "dmi": (f"sys_vendor={said}", "product_name=x", "#end")}
    document_ = made(a=sections, b=faulty("SNP-IOMMU"))
    tags = Tags()
    page = html(document_)
    tags.feed(page)
    assert "script" not in tags.tags
    assert "\x1b" not in page + document_.json_text() + text(document_) + text(made(a=sections))
    ET.fromstring(junit(document_))
    PreflightDocument.model_validate_json(document_.json_text().encode())


def test_what_changed_is_named_host_by_host() -> None:
    found = changes(made(a=faulty("SNP-IOMMU"), gone=make("tdx")), made(a=make("snp"), new=make("tdx")))
    said = [str(change) for change in found]
    assert "a: snp: capable -> ready (every required check passes)" in said
    assert [line for line in said if line.startswith("a: SNP-IOMMU: fail -> pass")]
    assert "gone: host: there -> -" in said
    assert "new: host: - -> there" in said
    assert changes(made(a=make("snp")), made(a=make("snp"))) == []


def test_hosts_of_one_product_that_differ_are_named() -> None:
    older = {**make("snp"), "uname": ("Linux 6.11.0-1 x86_64", "#end")}
    said = judge_alone({"a": make("snp"), "b": make("snp"), "c": older}).document
    kernel = next(one for one in said.differences if one.what == "kernel")
    assert list(kernel.values.values()) == [("a", "b"), ("c",)]
    assert "kernel differs:" in text(said)
    assert "6.11.0-1" in html(said)


def strongroom(*words: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([STRONGROOM, *map(str, words)], capture_output=True, text=True, timeout=120, check=False)
    assert "Traceback" not in done.stderr
    return done


INVENTORY = """\
control_plane = [("cp1", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "address": "10.0.0.1"})]
workers = [("w1", {"ssh_hostname": "127.0.0.1", "ssh_port": 1, "address": "10.0.0.2", "platform": "snp"})]
all = (control_plane + workers, {"cluster": {"name": "x", "claim": "none"}})
"""


def test_what_was_saved_is_judged_without_any_host(tmp_path: Path) -> None:
    saved.save(tmp_path / "rack", "cp1", make("tdx"))
    saved.save(tmp_path / "rack", "w1", faulty("SNP-IOMMU"))
    done = strongroom("preflight", "--replay", tmp_path / "rack")
    assert done.returncode == Exit.OK, done.stderr
    assert "w1: SNP-IOMMU fail" in done.stdout
    inventory = tmp_path / "inventory.py"
    inventory.write_text(INVENTORY)
    done = strongroom("preflight", inventory, "--replay", tmp_path / "rack", "--output", "json")
    assert done.returncode == Exit.PREFLIGHT, done.stderr
    assert "w1: HOST-PLATFORM: snp capable" in done.stderr
    old = tmp_path / "old.json"
    old.write_text(done.stdout)
    saved.save(tmp_path / "rack", "w1", make("snp"))
    done = strongroom("preflight", inventory, "--replay", tmp_path / "rack", "--diff", old)
    assert done.returncode == Exit.OK, done.stderr
    assert "w1: snp: capable -> ready" in done.stdout


def test_hosts_that_are_not_in_the_folder_are_named(tmp_path: Path) -> None:
    saved.save(tmp_path / "rack", "cp1", make("tdx"))
    inventory = tmp_path / "inventory.py"
    inventory.write_text(INVENTORY)
    done = strongroom("preflight", inventory, "--replay", tmp_path / "rack")
    assert done.returncode == Exit.FAILED
    assert f"strongroom: w1: not in {tmp_path / 'rack'}" in done.stderr
    assert "cp1" in done.stdout


def test_hosts_that_do_not_answer_are_reported_and_end_with_1(tmp_path: Path) -> None:
    inventory = tmp_path / "inventory.py"
    inventory.write_text(INVENTORY)
    done = strongroom("preflight", inventory, "--output", "json")
    assert done.returncode == Exit.FAILED
    assert [line.split(": ")[:3] for line in done.stderr.splitlines() if line.startswith("strongroom:")] == [
        ["strongroom", "cp1", "cannot connect"],
        ["strongroom", "w1", "cannot connect"],
    ]
    assert all("cannot connect" in host["unreachable"] for host in json.loads(done.stdout)["hosts"])
    done = strongroom("preflight", inventory)
    assert "w1: not read: cannot connect" in done.stdout
    assert [line for line in done.stdout.splitlines() if line.endswith(" ")] == []


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ((), "INVENTORY: missing"),
        (("--replay", "/nowhere"), "/nowhere: no such folder"),
        (("--replay", "/usr"), "/usr: not a probe"),
        (("--replay", "x", "--save", "y"), "--save: not with --replay"),
        (("--replay", "x", "--diff", "/nowhere.json"), "/nowhere.json: cannot be read"),
        (("x.py", "--save", "/etc/passwd"), "/etc/passwd: not a folder"),
        (("--diff", "x", "--output", "html"), "--output: found 'html', allowed with --diff is 'text'"),
    ],
)
def test_words_that_make_no_sense_are_refused_in_one_line(words: tuple[str, ...], line: str) -> None:
    done = strongroom("preflight", *words)
    assert done.returncode == Exit.USAGE
    assert done.stderr.startswith(f"strongroom: {line}")


def test_pages_and_schema_in_docs_are_those_of_the_catalogue() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, root / "tools" / "docs.py", "--check"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_verdict_that_needs_a_hand_says_what_to_do() -> None:
    for name in FAULTS:
        host = made(Platform(next(c.platform for c in catalogue().checks if c.id == name)), a=faulty(name)).hosts[0]
        assert [c.id for c in host.open if c.verdict is CheckVerdict.FAIL and not c.remedy] == []


def test_a_report_whose_words_are_no_words_is_refused_as_any_other(tmp_path: Path) -> None:
    told = json.loads(made(a=make("snp")).json_text())
    told["hosts"][0]["checks"][0]["seen"] = None
    file = tmp_path / "old.json"
    file.write_text(json.dumps(told))
    with pytest.raises(ConfigError, match=r"checks\.0\.seen"):
        document.load(file)
