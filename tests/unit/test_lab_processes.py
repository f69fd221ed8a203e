"""Only a process of the lab is ended, and never one that got its number."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from strongroom.lab import accel, locks, processes, qemu, status
from strongroom.report.progress import progress

PROGRAM = os.path.basename(sys.executable)
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def ours(tmp_path: Path) -> Iterator[int]:
    pid = processes.start([sys.executable, "-c", SLEEP, str(tmp_path / "pid")], tmp_path / "log")
    yield pid
    processes.end(PROGRAM, tmp_path / "pid")


def test_a_process_is_found_by_its_argument_and_ended(ours: int, tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    assert processes.find(PROGRAM, pid_file) == ours, "without its pid file"
    pid_file.write_text("1\n")
    assert processes.find(PROGRAM, pid_file) == ours, "with a stale one"
    pid_file.write_text(f"{ours}\n")
    assert processes.find(PROGRAM, pid_file) == ours
    assert processes.end(PROGRAM, pid_file)
    assert not processes.alive(ours)
    assert processes.find(PROGRAM, pid_file) is None
    assert not processes.end(PROGRAM, pid_file)


def test_a_foreign_process_with_our_number_is_left_alone(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    foreign = subprocess.Popen([sys.executable, "-c", SLEEP])
    try:
        pid_file.write_text(f"{foreign.pid}\n")
        assert processes.find(PROGRAM, pid_file) is None
        assert not processes.end(PROGRAM, pid_file)
        assert foreign.poll() is None
    finally:
        foreign.kill()
        foreign.wait()


def test_another_program_with_our_argument_is_left_alone(ours: int, tmp_path: Path) -> None:
    (tmp_path / "pid").write_text(f"{ours}\n")
    assert processes.find(qemu.PROGRAM, tmp_path / "pid") is None
    assert not processes.end(qemu.PROGRAM, tmp_path / "pid")
    assert processes.alive(ours)


def test_a_process_that_became_another_is_left_alone(
    ours: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The number changes hands between finding the process and ending it."""
    monkeypatch.setattr(processes, "find", lambda program, pid_file: ours)
    assert not processes.end(PROGRAM, tmp_path / "another-pid")
    assert processes.alive(ours)


@pytest.mark.parametrize(
    ("arguments", "verdict"),
    [
        (["/usr/bin/qemu", "-pidfile", "/lab/qemu.pid"], True),
        (["/usr/bin/qemu", "-pidfile", "/lab/qemu.pid2"], False),
        (["vi", "/lab/qemu.pid"], False),
        (["/lab/qemu.pid"], False),
        ([], False),
    ],
)
def test_identity(arguments: list[str], verdict: bool) -> None:
    assert processes.is_ours(arguments, "qemu", Path("/lab/qemu.pid")) is verdict


def test_a_process_inherits_nothing_and_has_its_own_session(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(writer, True)
    pid = processes.start([sys.executable, "-c", SLEEP, str(tmp_path / "pid")], tmp_path / "log")
    try:
        assert os.getsid(pid) == pid
        assert sorted(int(fd.name) for fd in Path(f"/proc/{pid}/fd").iterdir() if int(fd.name) < 100)[:3] == [0, 1, 2]
        held = {os.readlink(fd) for fd in Path(f"/proc/{pid}/fd").iterdir()}
        assert os.readlink(f"/proc/self/fd/{writer}") not in held
    finally:
        processes.end(PROGRAM, tmp_path / "pid")
        os.close(reader)
        os.close(writer)


def test_a_gentle_end_comes_to_the_same(ours: int, tmp_path: Path) -> None:
    started = time.monotonic()
    assert processes.end(PROGRAM, tmp_path / "pid", gently=True)
    assert time.monotonic() - started < 4, "SIGTERM was enough"


def test_uptime(ours: int) -> None:
    assert 0 <= (processes.uptime(ours) or 0) < 30
    assert (processes.uptime(1) or 0) >= (processes.uptime(ours) or 0)
    assert processes.uptime(2**22 + 1) is None


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0m 00s"), (245.9, "4m 05s"), (11100, "3h 05m"), (93600, "1d 2h")]
)
def test_durations(seconds: float | None, text: str) -> None:
    assert status.duration(seconds) == text


def test_two_holders_of_a_lock_take_turns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with locks.exclusive("one", "nobody"):
        file = tmp_path / "strongroom" / "locks" / "one.lock"
        assert file.read_text() == f"{os.getpid()}\n"
        with file.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with locks.exclusive("two", "nobody"):
            pass
    script = (
        "import sys, time\nfrom strongroom.lab import locks\n"
        "with locks.exclusive('one', 'x'):\n  print('held', flush=True)\n  time.sleep(0.5)\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        said: list[str] = []
        monkeypatch.setattr(progress, "say", said.append)
        with locks.exclusive("one", "the other"):
            assert child.wait() == 0
        assert said == [f"waiting for the other (process {child.pid})"]


# KVM


BOOTED = "[    1.2] Run /init as init process\r\nLoading, please wait...\r\n"


@pytest.mark.parametrize(
    ("console", "log", "verdict"),
    [
        (BOOTED, "", True),
        ("", "", None),
        ("[    0.0] Linux version 6.12\r\n", "", None),
        ("", "KVM internal error. Suberror: 1\nemulation failure\n", False),
        (BOOTED, "KVM internal error. Suberror: 1\n", False),
        ("", "qemu: failed to initialize kvm: No such file or directory", False),
        ("[    0.3] Kernel panic - not syncing: Attempted to kill init!", "", False),
    ],
)
def test_kvm_works_when_user_space_runs(console: str, log: str, verdict: bool | None) -> None:
    assert accel.judge(console, log) is verdict
