"""The index of real evidence: what each file must give. The files are read where they lie."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass

from tests.corpus import ROOT

EVIDENCE = ROOT / "evidence"
WHY_NOT = f"no evidence at {EVIDENCE}; set STRONGROOM_CORPUS"


@dataclass(frozen=True)
class Entry:
    """One line of INDEX.tsv: a file, its kind, what it should verify to, and what is known of its fields."""

    path: str
    kind: str
    verdict: str
    fields: str

    def __str__(self) -> str:
        return self.path

    def read(self) -> bytes:
        """The file's bytes."""
        return (EVIDENCE / self.path).read_bytes()


def entries(*kinds: str) -> Iterator[Entry]:
    """Rows of these kinds, or none where there is no corpus."""
    if not EVIDENCE.is_dir():
        return
    with (EVIDENCE / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["kind"] in kinds:
                yield Entry(row["file"], row["kind"], row["should verify to"], row["fields"] or "")


def read(path: str) -> bytes:
    """A file's bytes, by its path in the index."""
    return (EVIDENCE / path).read_bytes()
