"""The probe's parsers take anything, and the checks never pass what was not probed."""

from __future__ import annotations

import subprocess
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.catalog.load import checks as catalogue
from strongroom.checks import needs, platform
from strongroom.checks.judge import judge
from strongroom.checks.verdict import CheckVerdict, waive
from strongroom.model.platform import Platform
from strongroom.probe.report import HostReport, Listener

GOOD = """\
== uname
Linux 6.12.0 x86_64
== os-release
PRETTY_NAME="Debian GNU/Linux 13 (trixie)"
== meminfo
MemTotal:        4014000 kB
== sysfs
/sys/fs/cgroup/cgroup.controllers=cpuset cpu io memory pids
== user
0
== disk
/opt /dev/vda 100 50 20000000 50% /
/var/lib /dev/vda 100 50 20000000 50% /
== listeners
LISTEN 0 128 0.0.0.0:22 0.0.0.0:* users:(("sshd",pid=1,fd=3))
== state
== end
""".splitlines()
NEEDS = needs.Needs("amd64", 1700, {"/opt": 800, "/var/lib": 1600}, {6443: "kube-apiserver", 10250: "kubelet"})


def test_a_good_host_passes_every_check() -> None:
    assert {check.verdict for check in needs.judge(HostReport.parse(GOOD), NEEDS)} == {CheckVerdict.PASS}


@pytest.mark.parametrize(
    ("old", "new", "check"),
    [
        ("x86_64", "aarch64", "HOST-ARCH"),
        ("memory pids", "pids", "HOST-CGROUP2"),
        ("4014000 kB", "1014000 kB", "HOST-MEMORY"),
        ("/opt /dev/vda 100 50 20000000", "/opt /dev/vda 100 50 20000", "HOST-DISK"),
        ("0.0.0.0:22 ", "[::]:6443 ", "HOST-PORT"),
        ("\n0\n", "\n1000\n", "HOST-ROOT"),
    ],
)
def test_each_fault_fails_its_own_check_alone(old: str, new: str, check: str) -> None:
    lines = "\n".join(GOOD).replace(old, new).splitlines()
    failed = [
        result for result in needs.judge(HostReport.parse(lines), NEEDS) if result.verdict is not CheckVerdict.PASS
    ]
    assert [(result.id, result.verdict) for result in failed] == [(check, CheckVerdict.FAIL)]
    assert failed[0].remedy


def test_a_port_that_its_own_user_holds_is_no_fault() -> None:
    report = HostReport(listeners=(Listener(6443, "kube-apiserver"), Listener(10250, "nginx")))
    verdicts = {result.seen: result.verdict for result in needs.judge(report, NEEDS) if result.id == "HOST-PORT"}
    assert verdicts == {
        "port 6443 is kube-apiserver's": CheckVerdict.PASS,
        "port 10250 is in use by nginx": CheckVerdict.FAIL,
    }


@given(cut=st.integers(0, len(GOOD) - 1))
def test_what_was_cut_off_is_unknown_and_never_a_pass_it_was_not(cut: int) -> None:
    whole = {(r.id, r.wanted): r.verdict for r in needs.judge(HostReport.parse(GOOD), NEEDS)}
    for result in needs.judge(HostReport.parse(GOOD[:cut]), NEEDS):
        assert result.verdict in (whole[result.id, result.wanted], CheckVerdict.UNKNOWN)


@given(st.lists(st.text() | st.sampled_from([*GOOD, "== listeners", "== disk", "== meminfo"])))
def test_the_parser_never_raises(lines: list[str]) -> None:
    needs.judge(HostReport.parse(lines), NEEDS)


def test_a_parameter_alone_makes_no_platform() -> None:
    for asked in Platform:
        report = HostReport(sysfs={"/sys/module/kvm_amd/parameters/sev_snp": "Y"})
        result = platform.judge(judge(report, catalogue()), asked)
        assert result.verdict is (CheckVerdict.INFO if asked is Platform.NONE else CheckVerdict.FAIL)


def test_a_waived_check_no_longer_refuses_and_says_why() -> None:
    lines = "\n".join(GOOD).replace("4014000", "14000").splitlines()
    results = waive(needs.judge(HostReport.parse(lines), NEEDS), {"HOST-MEMORY": "a test", "HOST-ARCH": "not failed"})
    assert not any(result.refuses for result in results)
    assert [result.waived for result in results if result.waived] == ["a test"]


def test_the_probe_itself_runs_here_without_changing_anything() -> None:
    script = files("strongroom").joinpath("probe", "probe.sh").read_text()
    done = subprocess.run(["sh", "-s"], input=script, capture_output=True, text=True, timeout=60, check=False)
    report = HostReport.parse(done.stdout.splitlines())
    assert done.stderr == ""
    assert report.kernel
    assert report.memory
    assert set(report.free) == {"/opt", "/var/lib"}
    assert report.roles is not None
