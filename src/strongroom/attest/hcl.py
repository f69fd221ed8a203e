"""The HCL report of an Azure confidential VM: a hardware report and the runtime data that it covers.

Microsoft, "Guest attestation design" (Azure confidential VMs, vTPM NV index 0x01400001): a header of 32 bytes, 1184 bytes for
the hardware's report, then the runtime data with a header of their own; every number is little-endian. The first half of the
report's report data is the hash of the runtime data's JSON, and names in it the vTPM's keys as JSON Web Keys.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric import rsa

from strongroom.attest import jsontext
from strongroom.attest.base import refuse, require
from strongroom.attest.reader import Reader
from strongroom.attest.tpm_structures import rsa_key

SIGNATURE = b"HCLA"
SNP, TDX = 2, 4
NAMES = {SNP: "SEV-SNP", TDX: "TDX"}
REPORT_AREA = 1184  # an SNP report fills it
_VERSIONS = (1, 2)
_ATTESTATION = 2  # request type
_HASHES = {1: "sha256", 2: "sha384", 3: "sha512"}
_LARGEST = 1 << 16


@dataclass(frozen=True)
class HclReport:
    """What the paravisor hands out.

    Attributes:
        kind: 2 SEV-SNP, 4 TDX.
        report: the hardware's report, 1184 bytes; a TDREPORT and zeros for TDX.
        runtime_data: the JSON text as it was hashed.
        digest: of the runtime data, by the algorithm that the report names.
        claims: the JSON object.
    """

    kind: int
    report: bytes
    runtime_data: bytes
    digest: bytes
    claims: Mapping[str, object]


def parse(data: bytes) -> HclReport:
    """An HCL report; zeros may follow it up to the end of its NV index.

    Raises:
        Refused: it is not exactly of this form.
    """
    require(len(data) <= _LARGEST, "hcl_report", f"{len(data)} bytes, allowed is up to {_LARGEST}")
    reader = Reader(data, "hcl_report")
    require(reader.take(4, "signature") == SIGNATURE, "hcl_report.signature", "not HCLA")
    version = reader.u32("version")
    require(version in _VERSIONS, "hcl_report.version", f"{version}, allowed is 1 or 2")
    size, request, status = reader.u32("size"), reader.u32("request"), reader.u32("status")
    require(request == _ATTESTATION, "hcl_report.request", f"{request}, allowed is {_ATTESTATION}")
    require(status == 0, "hcl_report.status", f"{status}, allowed is 0")
    reader.zeros(12, "reserved")
    report = reader.take(REPORT_AREA, "report")
    length, runtime_version, kind = (reader.u32(f"runtime.{name}") for name in ("size", "version", "report_type"))
    algorithm, variable = reader.u32("runtime.hash_type"), reader.u32("runtime.data_size")
    require(runtime_version == 1, "hcl_report.runtime.version", f"{runtime_version}, allowed is 1")
    require(kind in NAMES, "hcl_report.runtime.report_type", f"{kind}, allowed is 2 (SEV-SNP) or 4 (TDX)")
    require(algorithm in _HASHES, "hcl_report.runtime.hash_type", f"{algorithm}, allowed is 1, 2 or 3")
    require(length == variable + 20, "hcl_report.runtime.size", f"{length}, needed is {variable + 20}")
    runtime = reader.take(variable, "runtime.data")
    require(size == reader.position, "hcl_report.size", f"{size}, needed is {reader.position}: all but the padding")
    reader.zeros(reader.left, "padding")
    digest = hashlib.new(_HASHES[algorithm], runtime).digest()
    return HclReport(kind, report, runtime, digest, jsontext.document(runtime, "runtime_data"))


def require_covered(found: HclReport, report_data: bytes, field: str) -> None:
    """Refuse report data that are not the hash of the runtime data, padded with zeros to 64 bytes."""
    wanted = found.digest.ljust(64, b"\0")
    if report_data != wanted:
        refuse(field, f"{report_data.hex()}, the hash of the runtime data is {found.digest.hex()}")


def key(found: HclReport, name: str) -> rsa.RSAPublicKey:
    """One of the vTPM's keys: ``HCLAkPub`` or ``HCLEkPub``.

    Raises:
        Refused: it is not there exactly once, or no RSA key.
    """
    listed = jsontext.items(jsontext.get(found.claims, "keys", "runtime_data"), "runtime_data.keys")
    tables = [jsontext.table(one, "runtime_data.keys") for one in listed]
    named = [one for one in tables if one.get("kid") == name]
    at = f"runtime_data.keys.{name}"
    require(len(named) == 1, at, f"there {len(named)} times, needed is once")
    require(named[0].get("kty") == "RSA", at, "not an RSA key")
    modulus, exponent = (jsontext.unbase64(jsontext.get(named[0], part, at), f"{at}.{part}") for part in "ne")
    return rsa_key(int.from_bytes(modulus, "big"), int.from_bytes(exponent, "big"), at)
