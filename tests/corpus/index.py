"""The index of real evidence: what each file must give. The files are read where they lie."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tests.corpus import ROOT

EVIDENCE = ROOT / "evidence"
WHY_NOT = f"no evidence at {EVIDENCE}; set STRONGROOM_CORPUS"

# Rows that a test takes by the start of their verdict, kind by kind; an empty start is every row of the kind.
BY_VERDICT: Mapping[str, tuple[str, ...]] = {
    "azure-vtpm": ("VALID quote signature", "part of the same", "SIGNATURES VALID"),
    "ccel": ("CCEL; replays", "VALID: replay", "SIGNATURES VALID"),
    "certs": ("trust anchor",),
    "nvidia": ("VALID SPDM", "signature+chain"),
    "other": ("",),
    "snp": ("VALID", "certificate (leaf or ASK,ARK order)"),
    "tdx": (
        "VALID UpToDate",
        "SIGNATURES VALID",
        "REFUSE",
        "SGX v3",
        "collateral bundle",
        "signed collateral JSON",
        "CRL",
    ),
    "tpm": ("event log; replay", "parser must refuse", "TPMS_ATTEST only", "VALID RSASSA", "go-tpm-tools"),
}
# Rows that are read beside another, under a name that is made of the other's.
BESIDE: Mapping[str, str] = {
    "ccel/trustee-CCEL_data_grub_gke_out.json": "ccel/trustee-CCEL_data_grub_gke",
    "ccel/trustee-CCEL_data_ovmf_out.json": "ccel/trustee-CCEL_data_ovmf",
    "tpm/own-ovmf2022-stub262-direct.pcrs.json": "tpm/own-ovmf2022-stub262-direct.eventlog.bin",
    "tpm/own-ovmf2022-stub262-sdboot.pcrs.json": "tpm/own-ovmf2022-stub262-sdboot.eventlog.bin",
}
# Rows that no test opens, and why; every other row is one of the above, or a test has its name.
NOT_OPENED: Mapping[str, str] = {}


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
    """Rows of these kinds, of all where none is named; none where there is no corpus."""
    if not EVIDENCE.is_dir():
        return
    with (EVIDENCE / "INDEX.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if not kinds or row["kind"] in kinds:
                yield Entry(row["file"], row["kind"], row["should verify to"], row["fields"] or "")


def read(path: str) -> bytes:
    """A file's bytes, by its path in the index."""
    return (EVIDENCE / path).read_bytes()
