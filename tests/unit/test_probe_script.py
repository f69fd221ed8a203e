"""The probe itself, run here: by several shells, as root and not, and its programs on machines that it is told of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from strongroom.catalog.load import checks as catalogue
from strongroom.checks.judge import judge
from strongroom.checks.verdict import State
from strongroom.probe.report import SECTIONS, HostReport
from strongroom.probe.script import probe_script
from strongroom.probe.sections import END, HEADER, RECORD, SCHEMA, split
from tests.unit import test_spellings, test_spellings_gpu, test_spellings_host

SCRIPT = probe_script()
CAP = 256 << 10
SHELLS = [
    words for words in (["dash", "-s"], ["bash", "-s"], ["busybox", "sh", "-s"], ["sh", "-s"]) if shutil.which(words[0])
]
UNPRIVILEGED = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


def run(words: list[str], **environment: str) -> list[str]:
    """Run the probe as it is run on a host: given on stdin. Its output's lines."""
    done = subprocess.run(
        words, input=SCRIPT, capture_output=True, text=True, errors="surrogateescape", timeout=60, check=False,
        env={**os.environ, **environment}, cwd="/",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.encode(errors="surrogateescape")) <= CAP
    assert done.stdout.endswith(f"{RECORD}\n")
    assert done.stdout.count("\n") == 1
    return done.stdout[:-2].split(RECORD)


def check(lines: list[str]) -> HostReport:
    """What every run must be: a header, every section once, each whole or saying why not, and an end."""
    header = HEADER.match(lines[0])
    assert header
    assert int(header[1]) == SCHEMA
    assert lines[-1] == "== end"
    found = split(lines)
    assert set(found) == set(SECTIONS) - {"controller"}
    headings = [line for line in lines if line.startswith("== ")]
    assert len(headings) == len(set(headings)) == len(found) + 2
    assert all(body[-1] in (END, "#cut") for body in found.values())
    return HostReport.of(found)


@pytest.mark.parametrize("words", SHELLS, ids=" ".join)
def test_it_runs_in_every_shell(words: list[str]) -> None:
    report = check(run(words))
    assert report.kernel
    assert report.memory
    assert set(report.free) == {"/opt", "/var/lib"}
    assert report.time is not None
    assert abs(report.time - time.time()) < 60
    assert State.READY not in {
        one.state for name, one in judge(report, catalogue()).platforms.items() if name != "vtpm"
    }  # no machine of ours has a TEE


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become somebody else")
@pytest.mark.parametrize("words", SHELLS, ids=" ".join)
def test_without_root_it_says_what_it_could_not_read(words: list[str]) -> None:
    report = check(run([*UNPRIVILEGED, *words]))
    assert report.root is False
    assert report.section("iomem").why == "needs root"
    judgement = judge(report, catalogue())
    assert State.READY not in {one.state for one in judgement.platforms.values()}


@pytest.fixture(scope="module")
def applets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with nothing but busybox's applets in it."""
    folder = tmp_path_factory.mktemp("applets")
    for name in subprocess.run(["busybox", "--list"], capture_output=True, text=True, check=True).stdout.split():
        (folder / name).symlink_to(str(shutil.which("busybox")))
    return folder


@pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox here")
def test_busyboxs_tools_alone_will_do(applets: Path) -> None:
    report = check(run([str(applets / "sh"), "-s"], PROBE_PATH=str(applets)))
    assert report.kernel
    assert report.memory
    assert set(report.free) == {"/opt", "/var/lib"}
    assert report.section("virt").why == "no systemd-detect-virt"


@pytest.mark.skipif(not shutil.which("busybox"), reason="no busybox here")
def test_without_awk_the_processor_is_not_known(applets: Path, tmp_path: Path) -> None:
    for one in applets.iterdir():
        if one.name != "awk":
            (tmp_path / one.name).symlink_to(one.readlink())
    report = check(run(["/bin/sh", "-s"], PROBE_PATH=str(tmp_path)))
    assert report.section("cpuinfo").why == "no awk, or no /proc/cpuinfo"
    assert not report.section("cpuinfo").complete


def test_it_leaves_nothing_behind(tmp_path: Path) -> None:
    before = set(Path("/tmp").iterdir())
    run(["sh", "-s"], TMPDIR=str(tmp_path), HOME=str(tmp_path))
    assert list(tmp_path.iterdir()) == []
    # Others work on this machine too: what is new must not be the probe's.
    assert not [path for path in set(Path("/tmp").iterdir()) - before if "probe" in path.name]
    commands = re.findall(
        r"(?m)(?:^|[;&|({]|then|do) *(mktemp|rm|mkdir|mv|cp|ln|chmod|chown|tee|modprobe|touch)\b", _code()
    )
    assert commands == []
    assert set(re.findall(r"(?<![0-9&<])>>?\s*([\"$/\w]\S*)", _code())) <= {"/dev/null"}


def _code() -> str:
    """The shell's part of the script, without comments and the programs in it."""
    without_programs = re.sub(r"(?ms)^\w+_program='.*?^'$", "", SCRIPT)
    return "\n".join(line for line in without_programs.splitlines() if not line.lstrip().startswith("#"))


def test_a_section_that_is_too_long_is_cut_at_a_lines_end_and_says_so(tmp_path: Path) -> None:
    loud = tmp_path / "uname"
    loud.write_text("#!/bin/sh\nfor n in 1 2 3 4 5 6 7 8 9 10; do echo Linux 6.$n $(printf %0100d 0) x86_64; done\n")
    loud.chmod(0o755)
    body = split(run(["sh", "-s"], PROBE_PATH=f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"))["uname"]
    assert body[-1] == "#cut"
    assert all(line.endswith("x86_64") for line in body[:-1])
    assert not HostReport.of({"uname": body}).section("uname").complete


def test_bytes_that_are_no_text_do_not_leave_the_host(tmp_path: Path) -> None:
    loud = tmp_path / "uname"
    loud.write_text("#!/bin/sh\nprintf 'Linux 6.1-\\377\\033[31m\\342\\202\\254 x86_64\\n'\n")
    loud.chmod(0o755)
    body = split(run(["sh", "-s"], PROBE_PATH=f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"))["uname"]
    assert body == ("Linux 6.1-??[31m??? x86_64", END)


def test_tools_that_hang_cost_one_wait_for_all_of_them(tmp_path: Path) -> None:
    for name in ("nvidia-smi", "nvidia_gpu_tools", "qemu-system-x86_64"):
        (tmp_path / name).write_text("#!/bin/sh\nsleep 30\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:/usr/sbin:/usr/bin:/sbin:/bin"
    report = HostReport.parse(run(["sh", "-s"], PROBE_PATH=path))
    assert "took longer" in report.section("nvidia-gpu-tools").why
    assert not report.section("qemu").complete
    assert report.kernel


# Runs one of the script's programs where the machine is what MACHINE says: a dict of files and what a read gives.
_HARNESS = """
import errno, os, sys
machine = {machine}
handles = []
def opened(path, flags):
    if path not in machine: raise OSError(errno.ENXIO, "No such device or address")
    if isinstance(machine[path], int): raise OSError(machine[path], os.strerror(machine[path]))
    handles.append(machine[path])
    return len(handles) - 1 + 1000
def pread(file, size, offset):
    value = handles[file - 1000].get(offset)
    if value is None: raise OSError(errno.EIO, "Input/output error")
    return value.to_bytes(size, "little")
os.open, os.pread, os.close = opened, pread, lambda file: None
os.listdir = lambda path: sorted({{path.split("/")[3] for path in machine}}) + ["microcode"]
sys.argv[1:] = {arguments}
exec({program})
"""


def program(name: str, machine: dict[str, object], *arguments: str) -> list[str]:
    """What a program of the script prints on such a machine."""
    source = re.search(rf"(?ms)^{name}_program='\n(.*?)^'$", SCRIPT)
    assert source is not None
    code = _HARNESS.format(machine=repr(machine), arguments=repr(list(arguments)), program=repr(source[1]))
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()


def test_registers_of_512_cpus_are_collapsed_where_they_are_equal() -> None:
    machine: dict[str, object] = {
        f"/dev/cpu/{cpu}/msr": {0xC0010010: 0x3FC0000, 0xC0010132: 0 if cpu == 300 else 0x601D200000}
        for cpu in range(512)
    }
    started = time.monotonic()
    lines = program("msr", machine, "c0010010", "c0010015", "c0010132")
    print(f"512 CPUs: {time.monotonic() - started:.2f} s")
    assert lines == ["c0010010 3fc0000", "c0010132 601d200000 0-299,301-511", "c0010132 0 300"]
    report = HostReport.of({"msr": (*lines, END)})
    assert report.msr.differing == (0xC0010132,)
    assert report.msr.get(0xC0010015) is None


def test_cpus_that_are_offline_are_left_out_and_faults_are_told() -> None:
    machine: dict[str, object] = {
        "/dev/cpu/0/msr": {0x3A: 5, 0x982: 3},
        "/dev/cpu/1/msr": 6,  # ENXIO
        "/dev/cpu/2/msr": {0x3A: 5},
        "/dev/cpu/3/msr": 1,  # EPERM
    }
    lines = program("msr", machine, "3a", "982")
    assert lines == ["3a 5", "982 3", "#unreadable: CPU 3: Operation not permitted", "#unreadable: MSR 982 on CPU 2"]
    assert not HostReport.of({"msr": (*lines, END)}).section("msr").complete


def test_cpuid_leaves_beyond_the_highest_are_not_asked() -> None:
    leaves = {0: 0x0D, 1: 0xA00F11, 7: 1, 7 | 1 << 32: 2, 0x80000000: 0x80000008, 0x80000002: 5, 0x80000008: 9}
    leaves |= {0x80000001: 1, 0x80000003: 1, 0x80000004: 1}
    lines = program("cpuid", {"/dev/cpu/0/cpuid": leaves})
    report = HostReport.of({"cpuid": tuple(lines)})
    assert report.cpuid.leaf(0x12) is None
    assert report.cpuid.beyond(0x12)
    assert report.cpuid.beyond(0x8000001F)
    assert report.cpuid.leaf(7, 1) == (2, 0, 0, 0)


def test_the_secure_processors_status_is_asked_by_commands_that_only_read() -> None:
    issued = re.findall(r'told\("\w+", (\d+), |issue\((\d+), struct', SCRIPT)
    # psp-sev.h: 1 PLATFORM_STATUS, 9 SNP_PLATFORM_STATUS, 8 GET_ID2; 0 is FACTORY_RESET, 10 SNP_COMMIT.
    assert sorted(int(a or b) for a, b in issued) == [1, 8, 9]


def test_the_log_is_not_cut_of_what_a_check_understands() -> None:
    settings = "\n".join(line for line in SCRIPT.splitlines() if line.startswith("words="))
    asked = f'{settings}\ngrep -viE "$words" <<END\n%s\nEND\n'
    lines = [
        line
        for kernel in (
            test_spellings.test_a_line_of_the_kernels_log_is_understood,
            test_spellings_gpu.test_what_the_driver_says_in_the_kernels_log,
            test_spellings_host.test_a_bios_that_takes_virtualisation_away_leaves_no_kvm,
        )
        for line, *told in vars(kernel)["pytestmark"][0].args[1]
        if "unknown" not in told
    ]
    done = subprocess.run(
        ["sh"], input=asked % "\n".join(lines), capture_output=True, text=True, timeout=60, check=False
    )
    assert (len(lines) > 50, done.stdout, done.stderr) == (True, "", "")
