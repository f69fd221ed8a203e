"""What evidence does not bring along: certificates, CRLs and signed documents, as bytes that somebody else read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Collateral:
    """Collateral of any kind; nothing in it is trusted before a pinned root vouches for it.

    Attributes:
        certificates: PEM texts (one or more certificates each) or single DER certificates.
        crls: PEM texts or DER of certificate revocation lists.
        documents: by name: TCB info, QE identity, RIMs, event logs, an AK's public part, an HCL report, a nonce.
            Each kind's module says which names it looks for.
    """

    certificates: tuple[bytes, ...] = ()
    crls: tuple[bytes, ...] = ()
    documents: Mapping[str, bytes] = field(default_factory=dict)

    def with_certificates(self, *more: bytes) -> Collateral:
        """The same, with certificates that came with the evidence put first."""
        return Collateral((*more, *self.certificates), self.crls, self.documents)


NOTHING = Collateral()
