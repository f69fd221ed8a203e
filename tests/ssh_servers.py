"""Keys for real SSH servers on loopback (dropbear), whose root logs in by a key of the test's own."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def run(*words: str) -> str:
    """What a command prints; it has to succeed."""
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


def make_keys(folder: Path, servers: Sequence[str]) -> None:
    """Write ``id``, ``host_key``, ``known_hosts`` for servers such as ``[127.7.0.1]:2200``, and root's ``home``."""
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(folder / "id"))
    run("dropbearkey", "-t", "ed25519", "-f", str(folder / "host_key"))
    said = run("dropbearkey", "-y", "-f", str(folder / "host_key")).splitlines()
    public = " ".join(next(line for line in said if line.startswith("ssh-ed25519")).split()[:2])
    keys = folder / "home" / ".ssh"
    keys.mkdir(parents=True, mode=0o700)
    shutil.copy(folder / "id.pub", keys / "authorized_keys")
    os.chmod(folder / "home", 0o700)
    (folder / "known_hosts").write_text("".join(f"{server} {public}\n" for server in servers))
