"""The network between the hosts of a lab: one VDE switch, an ordinary process, so no root and no bridge is needed."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.lab import processes, tools
from strongroom.lab.state import Lab

PROGRAM = "vde_switch"
PORTS = 128
"""Most hosts that one switch joins."""

_ELSEWHERE = "strongroom-"
_SUN_PATH = 107
"""Bytes that the path of a Unix socket may have."""
_LONGEST_NAME = len("/hostname-of-at-most-32-characters.qmp")


def fits(folder: Path) -> bool:
    """Whether the lab's sockets can lie in that folder: their whole paths are short enough."""
    return len(bytes(folder)) + _LONGEST_NAME <= _SUN_PATH


def choose_socket_folder(folder: Path) -> Path:
    """Where a new lab's sockets go: ``run`` in its folder, else a new private folder with a short path.

    ``run`` is then a link to that folder, made before it, so that whatever happens the folder is found and removed.
    """
    inside = folder / "run"
    if fits(inside):
        return inside
    elsewhere = Path(tempfile.gettempdir()) / f"{_ELSEWHERE}{secrets.token_hex(6)}"
    inside.symlink_to(elsewhere)
    elsewhere.mkdir(mode=0o700)  # not `exist_ok`: a folder that is there is somebody else's
    return elsewhere


def remove_socket_folder(folder: Path) -> None:
    """Remove the sockets of the lab in that folder, whatever state the lab is in."""
    inside = folder / "run"
    if inside.is_symlink():
        elsewhere = Path(os.readlink(inside))
        if elsewhere.name.startswith(_ELSEWHERE) and elsewhere.is_dir() and not elsewhere.is_symlink():
            shutil.rmtree(elsewhere)
        inside.unlink()
    elif inside.exists():
        shutil.rmtree(inside)


def pid_file(lab: Lab) -> Path:
    """The argument that makes a switch this lab's."""
    return lab.folder / "switch.pid"


def plug(lab: Lab) -> Path:
    """What hosts connect to."""
    return lab.socket_folder / "lan"


def command(lab: Lab) -> list[str]:
    """The switch's command line."""
    return [
        tools.find(PROGRAM) or PROGRAM,
        "--daemon",
        *("--pidfile", str(pid_file(lab))),
        *("--sock", str(plug(lab))),
        *("--mode", "0600"),
        *("--dirmode", "0700"),
        *("--numports", str(PORTS)),
    ]


def running(lab: Lab) -> int | None:
    """The switch's process id; None when it doesn't run."""
    return processes.find(PROGRAM, pid_file(lab))


def start(lab: Lab) -> bool:
    """Start the switch unless it runs.

    Returns:
        Whether it was started; hosts that ran before are then unplugged and need a new start.

    Raises:
        StrongroomError: it doesn't start.
    """
    if running(lab):
        return False
    lab.socket_folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Of a switch that was killed; it ends without a word when its pid file is there already.
    pid_file(lab).unlink(missing_ok=True)
    if plug(lab).exists():
        shutil.rmtree(plug(lab))
    # It reads commands from its terminal unless it is a daemon, and ends when there is none.
    done = subprocess.run(
        command(lab),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        start_new_session=True,
    )
    for _ in range(100):
        if done.returncode == 0 and running(lab) and (plug(lab) / "ctl").exists():
            return True
        if done.returncode:
            break
        time.sleep(0.05)
    said = (done.stderr or done.stdout).strip().splitlines()
    raise StrongroomError(f"lab {lab.name}: {PROGRAM} doesn't start: {said[-1] if said else 'it said nothing'}")
