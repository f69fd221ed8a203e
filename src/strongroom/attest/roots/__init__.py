"""Vendors' published root and intermediate certificates, shipped as PEM; the code pins their keys."""

from __future__ import annotations

from functools import cache
from importlib import resources

from strongroom.attest import certificates
from strongroom.attest.certificates import Certificate


@cache
def shipped(name: str) -> tuple[Certificate, ...]:
    """The certificates of this package's ``<name>.pem``."""
    return certificates.load((resources.files(__name__) / f"{name}.pem").read_bytes(), f"roots.{name}")
