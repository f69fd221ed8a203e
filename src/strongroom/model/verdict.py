"""The verdict on a cluster. CONFIDENTIAL is made of verified evidence and of nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Word = Literal["CONFIDENTIAL", "NOT CONFIDENTIAL"]


@dataclass(frozen=True)
class Verdict:
    """What a cluster is, and why.

    There is no verifier of evidence in this version, so nothing here can make the word CONFIDENTIAL: that is decided by
    what is missing, not by a flag that somebody could set.
    """

    word: Word
    reason: str

    @classmethod
    def without_evidence(cls, stand_ins: bool) -> Verdict:
        """The verdict where no evidence was verified."""
        return cls("NOT CONFIDENTIAL", "stand-in" if stand_ins else "no verified evidence")

    def __str__(self) -> str:
        return f"{self.word} ({self.reason})"

    def equals(self, claim: str) -> bool:
        """Whether the inventory's claim (``confidential`` or ``none``) is what the cluster is."""
        return (self.word == "CONFIDENTIAL") == (claim == "confidential")
