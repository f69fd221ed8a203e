"""What systemd-detect-virt says of a machine: the probe's facts, its words as people show them, and hostnamectl's."""

from __future__ import annotations

import re
from collections.abc import Sequence

from strongroom.probe.text import assignments

# systemd-detect-virt(1): words for a virtual machine, without those for containers, which say nothing of the machine below.
MACHINES = frozenset((
    "acrn", "amazon", "apple", "bhyve", "bochs", "google", "kvm", "microsoft", "oracle", "parallels", "powervm", "qemu", "qnx",
    "sre", "uml", "vmware", "xen", "zvm",
))  # fmt: skip
KINDS = frozenset(("sev", "sev-es", "sev-snp", "tdx", "protvirt", "cca"))
_COMMAND = re.compile(r"\bsystemd-detect-virt\b(.*)")
_CAPTION = re.compile(r"^Virtualization: (\S{1,32})$")


def parse(lines: Sequence[str]) -> dict[str, str]:
    """``vm`` and ``cvm``. A word that stands alone is told by what it is; ``none`` only by the command above it."""
    found = assignments(lines)
    asked = None
    for line in map(str.strip, lines):
        if match := _COMMAND.search(line):
            asked = "cvm" if "--cvm" in match[1] else "vm"
        elif match := _CAPTION.match(line):
            found.setdefault("vm", match[1])
        elif line in KINDS:
            found.setdefault("cvm", line)
        elif line in MACHINES:
            found.setdefault("vm", line)
        elif line == "none" and asked:
            found.setdefault(asked, line)
    return found
