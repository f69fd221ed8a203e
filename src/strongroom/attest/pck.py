"""The SGX extension of a PCK certificate: what Intel's CA says of the platform and of its TCB.

Intel SGX PCK Certificate and Certificate Revocation List Profile Specification, 1.3 ("SGX Extensions"), OID
1.2.840.113741.1.13.1.
"""

from __future__ import annotations

from dataclasses import dataclass

from strongroom.attest.base import refuse, require
from strongroom.attest.certificates import Certificate
from strongroom.attest.der import ENUMERATED, OCTET_STRING, Der

SGX_EXTENSION = "1.2.840.113741.1.13.1"
_PPID, _TCB, _PCEID, _FMSPC, _TYPE, _INSTANCE, _CONFIGURATION = (f"{SGX_EXTENSION}.{number}" for number in range(1, 8))
_PCESVN, _CPUSVN = f"{_TCB}.17", f"{_TCB}.18"
_FLAGS = {1: "dynamic-platform", 2: "cached-keys", 3: "smt"}


@dataclass(frozen=True)
class Pck:
    """The extension's values.

    Attributes:
        ppid: 16 bytes, the platform's own; 0 where Intel withholds it.
        components: the 16 SVNs of the TCB, each one byte.
        pcesvn: of the provisioning certification enclave.
        cpusvn: 16 bytes, opaque.
        pceid: 2 bytes; fmspc: 6 bytes, family, model, stepping, platform type and custom SKU.
        sgx_type: 0 standard, 1 scalable, 2 scalable with integrity.
        instance: 16 bytes of the platform instance; empty in a certificate of the processor CA.
        flags: of ``dynamic-platform``, ``cached-keys`` and ``smt``, those that hold; in a certificate of the processor
            CA Intel says nothing of them.
    """

    ppid: bytes
    components: tuple[int, ...]
    pcesvn: int
    cpusvn: bytes
    pceid: bytes
    fmspc: bytes
    sgx_type: int
    instance: bytes
    flags: tuple[str, ...]


def parse(certificate: Certificate) -> Pck:
    """The extension of a PCK certificate.

    Raises:
        Refused: it is not there, an element is missing, there twice, or not of its form.
    """
    extension = certificate.extensions.get(SGX_EXTENSION)
    if extension is None:
        refuse(
            "pck.extension", f"{certificate.name or 'the certificate'} has no SGX extension: it is no PCK certificate"
        )
    outer = Der(extension.value, "pck.extension")
    found = _pairs(outer.sub("value"))
    outer.end()
    tcb = _pairs(_need(found, _TCB).sub("tcb"))
    components = tuple(_small(_need(tcb, f"{_TCB}.{number}"), 255) for number in range(1, 17))
    return Pck(
        _octets(_need(found, _PPID), 16),
        components,
        _small(_need(tcb, _PCESVN), 65535),
        _octets(_need(tcb, _CPUSVN), 16),
        _octets(_need(found, _PCEID), 2),
        _octets(_need(found, _FMSPC), 6),
        _need(found, _TYPE).small("value", ENUMERATED),
        _octets(found[_INSTANCE], 16) if _INSTANCE in found else b"",
        _flags(_pairs(found[_CONFIGURATION].sub("configuration"))) if _CONFIGURATION in found else (),
    )


def _pairs(reader: Der) -> dict[str, Der]:
    """A SEQUENCE of pairs of OID and value."""
    found: dict[str, Der] = {}
    while reader.more:
        pair = reader.sub("pair")
        oid = pair.oid("id")
        require(oid not in found, f"{reader.what}.{oid}", "there twice")
        found[oid] = Der(pair.element("value")[2], f"{reader.what}.{oid}")
        pair.end()
    return found


def _need(found: dict[str, Der], oid: str) -> Der:
    if oid not in found:
        refuse(f"pck.extension.{oid}", "it is missing")
    return found[oid]


def _octets(value: Der, size: int) -> bytes:
    content = value.take(OCTET_STRING, "value")
    require(len(content) == size, value.what, f"{len(content)} bytes, needed are {size}")
    return content


def _small(value: Der, most: int) -> int:
    number = value.small("value")
    require(number <= most, value.what, f"{number}, allowed is up to {most}")
    return number


def _flags(found: dict[str, Der]) -> tuple[str, ...]:
    return tuple(
        name
        for number, name in _FLAGS.items()
        if f"{_CONFIGURATION}.{number}" in found and found[f"{_CONFIGURATION}.{number}"].boolean("value")
    )
