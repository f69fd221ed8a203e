"""Real captures and what each must be judged as. They are read where they lie and never copied into the project."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(os.environ.get("STRONGROOM_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
CAPTURES = ROOT / "captures"
WHY_NOT = f"no captures at {CAPTURES}; set STRONGROOM_CORPUS"

# Captures of a bare value: the file that it is the value of.
VALUES = {
    "guest/configfs-tsm-provider-tdx.txt": "/sys/kernel/config/tsm/report/testreport0/provider",
    "se/prot_virt_host-1.txt": "/sys/firmware/uv/prot_virt_host",
}
# Captures that belong to no section of their own, and where their text is read all the same.
SECTIONLESS = {"sgx/test-sgx": "sgx-status", "nvidia/smi-vbios": "nvidia-smi-conf-compute"}


@dataclass(frozen=True)
class Row:
    """One line of EXPECT.tsv."""

    path: str
    section: str
    platform: str
    may_be_ready: str
    expect: tuple[str, ...]

    def __str__(self) -> str:
        return self.path

    def sections(self) -> dict[str, tuple[str, ...]]:
        """The capture as a probe's sections; nothing says that they are whole, for they are not."""
        lines = tuple((CAPTURES / self.path).read_text(encoding="utf-8", errors="replace").split("\n"))
        name, _, form = self.section.partition(":")
        if form == "value":
            return {name: (f"{VALUES[self.path]}={lines[0].strip()}",)}
        if name == "none":
            name = next((section for start, section in SECTIONLESS.items() if self.path.startswith(start)), "")
        return {name: lines} if name else {}


def rows() -> Iterator[Row]:
    """Every row, or none where there is no corpus."""
    if not CAPTURES.is_dir():
        return
    for line in (CAPTURES / "EXPECT.tsv").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            path, section, platform, ready, expect = line.split("\t")
            yield Row(path, section, platform, ready, tuple(expect.split(";")))
