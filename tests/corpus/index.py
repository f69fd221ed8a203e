"""The index of real evidence: what each file is and what it has to give."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.corpus import ROOT

EVIDENCE = ROOT / "evidence"
NO_EVIDENCE = f"no evidence at {EVIDENCE}; set STRONGROOM_CORPUS"


@dataclass(frozen=True)
class Vector:
    """One line of INDEX.tsv."""

    file: str
    kind: str
    wanted: str
    fields: str

    def __str__(self) -> str:
        return self.file

    @property
    def data(self) -> bytes:
        """The file."""
        return (EVIDENCE / self.file).read_bytes()


def vectors(kind: str) -> Iterator[Vector]:
    """Rows of a kind, or none where there is no corpus."""
    if not EVIDENCE.is_dir():
        return
    for line in (EVIDENCE / "INDEX.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        file, found, _, _, _, wanted, fields = (*line.split("\t"), "", "")[:7]
        if found == kind:
            yield Vector(file, found, wanted, fields)


def read(file: str) -> bytes:
    """A file of the corpus."""
    return (EVIDENCE / file).read_bytes()
