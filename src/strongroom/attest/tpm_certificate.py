"""What a TPM's certificate is for: a CA certifies many keys, and only those that it calls a TPM's vouch for one.

TCG EK Credential Profile (for TPM 2.0, 2.5, section 3.2) and TCG Infrastructure WG OIDs: an endorsement key's certificate
may say tcg-kp-EKCertificate and says that the key decrypts, an attestation key's tcg-kp-AIKCertificate. Vendors also leave
extensions out, so that what is there has to be right, and what isn't there is not asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import KEY_USAGE, Certificate

_EK, _AK = "2.23.133.8.1", "2.23.133.8.3"
_DIGITAL_SIGNATURE, _KEY_ENCIPHERMENT, _KEY_AGREEMENT = 0, 2, 4  # bits of keyUsage


def require_endorsement(leaf: Certificate, field: str) -> None:
    """Refuse a certificate that vouches for no endorsement key.

    Raises:
        Refused: it is a CA's, is for another purpose, or its keyUsage lets the key neither encipher nor agree on keys.
    """
    _no_authority(leaf, field)
    purposes = leaf.purposes
    if purposes is not None and _EK not in purposes:
        refuse(field, f"{_name(leaf)} is for {_listed(purposes)}, needed is {_EK} (endorsement keys)")
    if not (leaf.may(_KEY_ENCIPHERMENT) or leaf.may(_KEY_AGREEMENT)):
        refuse(field, f"{_name(leaf)}'s key may neither encipher nor agree on keys, as an endorsement key has to")


def require_attestation(leaf: Certificate, field: str) -> None:
    """Refuse a certificate that vouches for no attestation key.

    Raises:
        Refused: it is a CA's, is for another purpose, or its keyUsage does not let the key sign.
    """
    _no_authority(leaf, field)
    require(leaf.may(_DIGITAL_SIGNATURE), field, f"{_name(leaf)}'s key may not sign, as an attestation key has to")
    purposes = leaf.purposes
    if purposes is None or _AK in purposes:
        return
    # Google's CA of virtual TPMs calls an AK's certificate one for an EK, and says in keyUsage that the key signs, which no
    # EK's does (the AK of go-tpm-tools' captures from Compute Engine): that pair is taken, the purpose alone is not.
    if not (_EK in purposes and KEY_USAGE in leaf.extensions):
        refuse(field, f"{_name(leaf)} is for {_listed(purposes)}, needed is {_AK} (attestation keys)")


# By the part of the evidence that has the certificate.
USES: Final[Mapping[str, Callable[[Certificate, str], None]]] = MappingProxyType(
    {"ek_certificate": require_endorsement, "ak_certificate": require_attestation}
)


def _no_authority(leaf: Certificate, field: str) -> None:
    require(not leaf.authority[0], field, f"{_name(leaf)} is an authority, not a TPM's key")


def _name(leaf: Certificate) -> str:
    return leaf.name or "the certificate"  # the subject of an EK's is often empty


def _listed(purposes: frozenset[str]) -> str:
    return ", ".join(sorted(purposes))[:200] or "no purpose"
