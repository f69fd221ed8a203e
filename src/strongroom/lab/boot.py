"""Waiting for hosts: a host is up when somebody could log in, and only a real login shows that."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from strongroom.errors import StrongroomError
from strongroom.lab import processes, qemu, ssh
from strongroom.lab.state import Lab, LabHost
from strongroom.report.progress import progress

SECONDS = 600.0
"""Three hosts at once on two slow cores need about two minutes under TCG."""

_WRONG = ("Host key verification failed", "REMOTE HOST IDENTIFICATION HAS CHANGED", "Permission denied")
"""What waiting doesn't cure: sshd starts after the host's keys are placed."""


def wait_for_login(lab: Lab, hosts: Sequence[LabHost], seconds: float = SECONDS) -> None:
    """Wait until root can log in to all hosts, in parallel, with a line of progress for each.

    Raises:
        StrongroomError: a host died, refuses the lab's key or shows another host key, or the time is over;
            names the host, with the last lines of its logs.
    """
    deadline = time.monotonic() + seconds
    with ThreadPoolExecutor(max_workers=max(1, len(hosts))) as pool:
        waits = [pool.submit(_wait, lab, host, deadline) for host in hosts]
    errors = [error for wait in waits if isinstance(error := wait.exception(), StrongroomError)]
    for wait in waits:
        if (error := wait.exception()) and not isinstance(error, StrongroomError):
            raise error
    if errors:
        raise StrongroomError("\n".join(map(str, errors)), hint=errors[0].hint)


def _wait(lab: Lab, host: LabHost, deadline: float) -> None:
    started = time.monotonic()
    said, refusals = "", 0
    while time.monotonic() < deadline:
        pid = qemu.running(lab, host)
        if pid is None or not processes.alive(pid):
            raise StrongroomError(f"lab {lab.name}: {host.name}: QEMU ended early\n{qemu.last_words(lab, host)}")
        try:
            # sshd punishes addresses that connect without logging in, so each try is a whole login.
            done = ssh.run(lab, host, "true", seconds=60)
        except subprocess.TimeoutExpired:
            said = "a login hangs"
            continue
        if done.returncode == 0:
            progress.say(f"{host.name}: login after {time.monotonic() - started:.0f} s")
            return
        said = (done.stderr.strip().splitlines() or [f"ssh ended with {done.returncode}"])[-1]
        refusals += any(wrong in done.stderr for wrong in _WRONG)
        if refusals >= 3:
            break
        time.sleep(1.0)
    waited = time.monotonic() - started
    raise StrongroomError(
        f"lab {lab.name}: {host.name}: no login after {waited:.0f} s: {said}\n{qemu.last_words(lab, host)}",
        hint=f"look at {lab.host_folder(host) / 'serial.log'}",
    )
