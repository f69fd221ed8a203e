"""KVM or TCG: decided by booting the lab's own kernel.

A /dev/kvm that is there may still die with a real guest. The result is kept in the cache for this boot of the machine
and this kernel.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from pathlib import Path
from typing import Literal

from strongroom import paths
from strongroom.errors import StrongroomError
from strongroom.lab import processes, qemu, state
from strongroom.lab.rootfs import RootFs
from strongroom.lab.state import Accelerator
from strongroom.report.progress import progress

Wanted = Literal["auto", "kvm", "tcg"]

MARKER = "Loading, please wait..."
"""What the initrd's first program prints: the kernel came up, and user space runs."""
FAULTS = ("KVM internal error", "failed to initialize kvm", "Could not access KVM", "Kernel panic")
SECONDS = 20.0
"""A machine with a working KVM needs one or two."""


def judge(console: str, log: str) -> bool | None:
    """What a trial boot shows so far.

    Args:
        console: the guest's serial console.
        log: what QEMU wrote to stderr.

    Returns:
        True when user space was reached, False when the boot failed, None when it is too early to say.
    """
    if any(fault in text for fault in FAULTS for text in (console, log)):
        return False
    return True if MARKER in console else None


def trial(root: RootFs, accelerator: Accelerator, seconds: float = SECONDS) -> tuple[bool, str]:
    """Boot the lab's kernel and initrd, without a disk, and see whether user space is reached.

    Returns:
        Whether it was, and one sentence on what was seen.
    """
    with tempfile.TemporaryDirectory(prefix="strongroom-trial-") as name:
        folder = Path(name)
        console, log, pid_file = folder / "serial.log", folder / "qemu.log", folder / "qemu.pid"
        command = [
            qemu.PROGRAM,
            *("-name", "guest=strongroom-trial"),
            *qemu.machine(accelerator, memory=1024, cpus=2),
            *("-serial", f"file:{console}"),
            *("-kernel", str(root.kernel), "-initrd", str(root.initrd)),
            # It stops for orders where the initrd would look for a disk; none come.
            *("-append", "console=ttyS0 break=top panic=-1"),
            *("-no-reboot", "-pidfile", str(pid_file)),
        ]
        pid = processes.start(command, log)
        deadline = time.monotonic() + seconds
        try:
            while time.monotonic() < deadline:
                running = processes.alive(pid)
                verdict = judge(_text(console), _text(log))
                if verdict:
                    # A fault in user space shows at once or not at all.
                    time.sleep(1.0)
                    verdict = processes.alive(pid) and judge(_text(console), _text(log))
                    return bool(verdict), "user space was reached" if verdict else "it died in user space"
                if verdict is False or not running:
                    return False, next(iter(_text(log).splitlines()), "QEMU ended without a word")
                time.sleep(0.1)
            return False, f"no user space within {seconds:.0f} s"
        finally:
            processes.end(qemu.PROGRAM, pid_file)


def choose(wanted: Wanted, root: RootFs) -> Accelerator:
    """The accelerator to use.

    Raises:
        StrongroomError: KVM was asked for by name and doesn't work here.
    """
    if wanted == "tcg":
        return "tcg"
    works, seen = _kvm(root)
    if works:
        return "kvm"
    if wanted == "kvm":
        raise StrongroomError(f"lab: KVM doesn't work here: {seen}", hint="use --accel tcg")
    return "tcg"


def _kvm(root: RootFs) -> tuple[bool, str]:
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False, "/dev/kvm isn't there or isn't ours to open"
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    file = paths.cache_dir() / "kvm" / f"{boot}-{root.kernel_digest()[:16]}.json"
    try:
        known = json.loads(file.read_bytes())
        return bool(known["works"]), str(known["seen"])
    except (OSError, ValueError, KeyError, TypeError):
        pass
    progress.say("trial boot of the lab's kernel with KVM")
    works, seen = trial(root, "kvm")
    progress.say(f"KVM {'works' if works else 'does not work'}: {seen}")
    file.parent.mkdir(parents=True, exist_ok=True)
    state.write(file, json.dumps({"works": works, "seen": seen}) + "\n")
    return works, seen


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""
