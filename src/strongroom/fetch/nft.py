"""The controller's own ``nft`` and the shared libraries it needs, as members of an image's layer.

kube-proxy in nftables mode runs ``nft``, which is C and in no Go module. Debian's package is what the controller has.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from strongroom.errors import StrongroomError
from strongroom.fetch.hashing import sha256_bytes, sha256_file
from strongroom.fetch.tarball import Member

# "libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x...)" and "/lib64/ld-linux-x86-64.so.2 (0x...)"
_LIBRARY = re.compile(r"^\s*(?:\S+ => )?(/\S+) \(0x[0-9a-f]+\)$")
_MISSING = re.compile(r"^\s*(\S+) => not found$")


@dataclass(frozen=True)
class Closure:
    """``nft`` with its libraries at the paths the loader looks for, and the package's version."""

    members: tuple[Member, ...]
    version: str

    @property
    def digest(self) -> str:
        """SHA-256 over names and contents; part of a bundle's recipe."""
        lines = [f"{member.name} {sha256_file(member.path)}\n" for member in self.members if member.path]
        return sha256_bytes("".join(lines).encode())


def parse_ldd(output: str) -> list[str]:
    """Absolute paths of libraries and loader in the output of ldd(1).

    Raises:
        StrongroomError: a library is missing.
    """
    found = []
    for line in output.splitlines():
        if missing := _MISSING.match(line):
            raise StrongroomError(f"nft: its library {missing[1]} is not found on this machine")
        if library := _LIBRARY.match(line):
            found.append(library[1])
    return found


def closure() -> Closure:
    """Find ``nft`` on this machine.

    Raises:
        StrongroomError: it isn't installed, or a library is missing.
    """
    search = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    binary = shutil.which("nft", path=search)
    if binary is None:
        raise StrongroomError("nft: not on this machine; kube-proxy's image needs it", hint="apt-get install nftables")
    libraries = parse_ldd(subprocess.run(["ldd", binary], capture_output=True, text=True, check=True).stdout)
    query = ["dpkg-query", "--show", "--showformat", "${Version}", "nftables"]
    try:
        version = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # not Debian, or not from a package: nft knows its own version
        version = subprocess.run([binary, "--version"], capture_output=True, text=True, check=True).stdout.split()[1]
    members = [Member("usr/sbin/nft", 0o755, path=Path(binary).resolve())]
    members += [Member(path.lstrip("/"), 0o755, path=Path(path).resolve()) for path in sorted(libraries)]
    return Closure(tuple(members), version)
