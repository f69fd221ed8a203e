"""Numbers by which collateral never goes back: TCB evaluation data numbers and CRL numbers, each with whose it is.

Verifiers say which they rested on; whoever keeps them (``strongroom.fetch.collateral_seen``) refuses lower ones. Nothing is
kept here.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Mark:
    """One numbered piece of collateral that was verified.

    Attributes:
        name: what it is, and whose.
        field: which number it is, for reasons.
        number: evaluation data number or CRL number; None in a CRL that has none.
        issued: with a time zone; what counts where there is no number.
    """

    name: str
    field: str
    number: int | None
    issued: datetime

    def __str__(self) -> str:
        what = "no number" if self.number is None else f"number {self.number}"
        return f"{what} of {self.issued:%Y-%m-%d %H:%M} UTC"

    def before(self, other: Mark) -> bool:
        """Whether this one is older than the other."""
        if other.number is not None:
            return self.number is None or self.number < other.number
        return self.number is None and self.issued < other.issued
