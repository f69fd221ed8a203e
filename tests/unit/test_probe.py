"""The probe's parsers take anything, and the checks never pass what was not probed."""

from __future__ import annotations

import subprocess
from importlib.resources import files

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.checks import common, platform
from strongroom.checks.verdict import Outcome, waive
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
NEEDS = common.Needs("amd64", 1700, {"/opt": 800, "/var/lib": 1600}, {6443: "kube-apiserver", 10250: "kubelet"})


def test_a_good_host_passes_every_check() -> None:
    assert {check.outcome for check in common.judge(HostReport.parse(GOOD), NEEDS)} == {Outcome.PASS}


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
    failed = [result for result in common.judge(HostReport.parse(lines), NEEDS) if result.outcome is not Outcome.PASS]
    assert [(result.id, result.outcome) for result in failed] == [(check, Outcome.FAIL)]
    assert failed[0].remedy


def test_a_port_that_its_own_user_holds_is_no_fault() -> None:
    report = HostReport(listeners=(Listener(6443, "kube-apiserver"), Listener(10250, "nginx")))
    outcomes = {result.seen: result.outcome for result in common.judge(report, NEEDS) if result.id == "HOST-PORT"}
    assert outcomes == {"port 6443 is kube-apiserver's": Outcome.PASS, "port 10250 is in use by nginx": Outcome.FAIL}


@given(cut=st.integers(0, len(GOOD) - 1))
def test_what_was_cut_off_is_unknown_and_never_a_pass_it_was_not(cut: int) -> None:
    whole = {(r.id, r.wanted): r.outcome for r in common.judge(HostReport.parse(GOOD), NEEDS)}
    for result in common.judge(HostReport.parse(GOOD[:cut]), NEEDS):
        assert result.outcome in (whole[result.id, result.wanted], Outcome.UNKNOWN)


@given(st.lists(st.text() | st.sampled_from([*GOOD, "== listeners", "== disk", "== meminfo"])))
def test_the_parser_never_raises(lines: list[str]) -> None:
    common.judge(HostReport.parse(lines), NEEDS)


def test_a_tee_is_never_believed_yet() -> None:
    for asked in Platform:
        result = platform.judge(HostReport(parameters={"/sys/module/kvm_amd/parameters/sev_snp": "Y"}), asked)
        assert result.outcome is (Outcome.INFO if asked is Platform.NONE else Outcome.FAIL)


def test_a_waived_check_no_longer_refuses_and_says_why() -> None:
    lines = "\n".join(GOOD).replace("4014000", "14000").splitlines()
    results = waive(common.judge(HostReport.parse(lines), NEEDS), {"HOST-MEMORY": "a test", "HOST-ARCH": "not failed"})
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
