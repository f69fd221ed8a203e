"""Forms in which SEV-SNP reports come: with certificates behind them, in the answer of a driver, in JSON.

Sources: certificate table of SNP extended guest requests, "Guest Hypervisor Communication Block Standardization", AMD
56421, section "SNP Extended Guest Request"; answer of SNP_GET_REPORT, AMD 56860, table MSG_REPORT_RSP.
"""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

from strongroom.attest import forms, jsontext, snp_report
from strongroom.attest.base import refuse, require
from strongroom.attest.collateral import Collateral
from strongroom.attest.reader import Reader

_ENTRY = 24  # bytes: GUID, offset, length
_MOST_ENTRIES = 32
_CERTIFICATES = frozenset(
    UUID(guid)
    for guid in (
        "63da758d-e664-4564-adc5-f4b93be8accd",  # VCEK
        "a8074bc2-a25a-483e-aae6-39c045a0b8a1",  # VLEK
        "4ab7b379-bbac-4fe4-a02f-05aef327c782",  # ASK or ASVK
        "c0b406a4-a803-4952-9743-3fb6014cd0ae",  # ARK
    )
)
_CRL = UUID("92f81bc3-5811-4d3d-97ff-d19f88dc67ea")
_RESPONSE_HEADER = 32
_REPORTS = ("attestation_report", "report", "snp_report", "attestation", "evidence", "quote")
_CHAINS = ("cert_chain", "certificates", "certs", "auxblob", "vcek", "vlek", "vcek_cert", "vlek_cert")


def _known(guid: bytes) -> UUID | None:
    """A GUID by its bytes, in the order of RFC 9562 or in that of UEFI; both are in use."""
    for found in (UUID(bytes=guid), UUID(bytes_le=guid)):
        if found in _CERTIFICATES or found == _CRL:
            return found
    return None


def is_table(data: bytes) -> bool:
    """Whether bytes begin as a certificate table."""
    return len(data) >= _ENTRY and _known(data[:16]) is not None


def table(data: bytes) -> Collateral:
    """Certificates and lists of a certificate table, which may be padded with zeros.

    Raises:
        Refused: an entry reaches beyond the bytes or into the table's header, or bytes are left that none names.
    """
    reader = Reader(data, "certificate_table")
    entries: list[tuple[UUID | None, int, int]] = []
    while True:
        guid, offset, length = reader.take(16, "guid"), reader.u32("offset"), reader.u32("length")
        if not any(guid) and not offset and not length:
            break
        require(len(entries) < _MOST_ENTRIES, "certificate_table", f"more than {_MOST_ENTRIES} entries")
        entries.append((_known(guid), offset, length))
    used, certificates, crls = bytearray(data), [], []
    used[: reader.position] = bytes(reader.position)
    for kind, offset, length in entries:
        inside = reader.position <= offset and offset + length <= len(data)
        require(inside, "certificate_table.offset", f"an entry of {length} bytes at {offset} lies beyond the table")
        used[offset : offset + length] = bytes(length)
        if kind in _CERTIFICATES and length:
            certificates.append(data[offset : offset + length])
        elif kind == _CRL and length:
            crls.append(data[offset : offset + length])
    require(not any(used), "certificate_table.end", "bytes are left that no entry names")
    return Collateral(tuple(certificates), tuple(crls))


def unwrap(data: bytes, collateral: Collateral) -> tuple[bytes, Collateral]:
    """The report out of whatever it came in, and the collateral with what came beside it.

    Raises:
        Refused: the wrapping is damaged. What is no wrapping is returned as it is, for the report's parser to refuse.
    """
    if forms.is_json(data):
        return _json(jsontext.loads(data, "evidence"), collateral)
    return _binary(forms.binary(data), collateral)


def _binary(data: bytes, collateral: Collateral) -> tuple[bytes, Collateral]:
    size = snp_report.SIZE
    if len(data) > size and is_table(data[size:]):
        return data[:size], _with(collateral, table(data[size:]))
    if data[:8] == bytes(4) + size.to_bytes(4, "little"):
        return _response(data), collateral
    if data[:4] == _SCALE:
        return _scale(data, collateral)
    return data, collateral


def _with(collateral: Collateral, more: Collateral) -> Collateral:
    both = collateral.with_certificates(*more.certificates)
    return Collateral(both.certificates, (*more.crls, *both.crls), both.documents)


def _response(data: bytes) -> bytes:
    """MSG_REPORT_RSP, as the guest driver's ioctl gives it, in a buffer that may be padded with zeros."""
    reader = Reader(data, "response")
    reader.take(8, "header")
    reader.zeros(_RESPONSE_HEADER - 8, "reserved")
    report = reader.take(snp_report.SIZE, "report")
    reader.zeros(reader.left, "padding")
    return report


# dstack's VersionedAttestation in SCALE encoding: version 0, its SEV-SNP variant, a vector of 1,184 bytes.
_SCALE = b"\x00\x03" + (snp_report.SIZE << 2 | 1).to_bytes(2, "little")


def _scale(data: bytes, collateral: Collateral) -> tuple[bytes, Collateral]:
    """The report and certificates; what follows them is the wrapper's own and is read to its end, not believed."""
    reader = Reader(data, "attestation")
    reader.take(len(_SCALE), "header")
    report = reader.take(snp_report.SIZE, "report")
    certificates = [_vector(reader, "certificate") for _ in range(_compact(reader, "certificates", _MOST_ENTRIES))]
    _vector(reader, "configuration")
    for _ in range(2 * _compact(reader, "events", 1 << 16)):
        _vector(reader, "event")
    reader.take(64, "report_data")
    _vector(reader, "settings")
    reader.end()
    return report, collateral.with_certificates(*certificates)


def _compact(reader: Reader, field: str, most: int) -> int:
    """SCALE's compact integer: the low two bits of its first byte tell its size."""
    first = reader.u8(field)
    size = (1, 2, 4, 0)[first & 3]
    require(size > 0, f"attestation.{field}", "a number beyond 30 bits")
    value = int.from_bytes(bytes([first]) + reader.take(size - 1, field), "little") >> 2
    require(value <= most, f"attestation.{field}", f"{value} of them, allowed are {most}")
    return value


def _vector(reader: Reader, field: str) -> bytes:
    return reader.take(_compact(reader, field, 1 << 24), field)


def _json(value: object, collateral: Collateral) -> tuple[bytes, Collateral]:
    if not isinstance(value, dict):
        refuse("evidence", f"a JSON {type(value).__name__}, needed is an object")
    name = next((name for name in _REPORTS if name in value), None)
    if name is None and "measurement" in value and "signature" in value:
        return _from_fields(value), collateral
    if name is None:
        refuse("evidence", f"a JSON text without {' or '.join(_REPORTS)}")
    for chain in _CHAINS:
        for certificate in _certificates(value.get(chain), f"evidence.{chain}"):
            more = table(certificate) if is_table(certificate) else Collateral((certificate,))
            collateral = _with(collateral, more)
    inner = value[name]
    if isinstance(inner, dict):
        return _from_fields(inner), collateral
    if isinstance(inner, str) and inner.lstrip()[:1] == "{":
        return _from_fields(jsontext.loads(inner.encode(), f"evidence.{name}")), collateral
    return _binary(forms.as_bytes(inner, f"evidence.{name}"), collateral)


def _certificates(value: object, field: str) -> list[bytes]:
    if value is None or value in ("", []):
        return []
    if isinstance(value, str) and "-----BEGIN" in value:
        return [value.encode()]
    if isinstance(value, list) and not all(isinstance(one, int) for one in value):
        return [blob for one in value for blob in _certificates(one, field)]
    if isinstance(value, dict):
        return _certificates(value.get("data"), f"{field}.data")
    return [forms.as_bytes(value, field)]


_TCB = ("fmc", "bootloader", "tee", "snp", "microcode")


def _from_fields(value: object) -> bytes:
    """A report's bytes out of its fields by name, as the `sev` crate of virtee writes them in JSON.

    Reserved fields are not in such a text and are taken as zero; where they were not, the signature does not verify.
    """
    if not isinstance(value, dict):
        refuse("evidence", f"a JSON {type(value).__name__} where a report's fields have to be")
    fields = {str(name).lstrip("_"): member for name, member in value.items()}
    version = _number(fields, "version", 4)
    modern = int.from_bytes(version, "little") >= 3
    cpuid = [_number(fields, f"cpuid_{part}", 1) if modern else bytes(1) for part in ("fam_id", "mod_id", "step")]
    turin = modern and cpuid[0] == b"\x1a"
    mitigation = [_number(fields, f"{which}_mit_vector", 8, missing=0) for which in ("launch", "current")]
    out = b"".join(
        (
            version, _number(fields, "guest_svn", 4), _number(fields, "policy", 8), _bytes(fields, "family_id", 16),
            _bytes(fields, "image_id", 16), _number(fields, "vmpl", 4), _number(fields, "sig_algo", 4),
            _tcb(fields, "current_tcb", turin), _number(fields, "plat_info", 8), _signer(fields), bytes(4),
            _bytes(fields, "report_data", 64), _bytes(fields, "measurement", 48), _bytes(fields, "host_data", 32),
            _bytes(fields, "id_key_digest", 48), _bytes(fields, "author_key_digest", 48),
            _bytes(fields, "report_id", 32), _bytes(fields, "report_id_ma", 32), _tcb(fields, "reported_tcb", turin),
            *cpuid, bytes(21), _bytes(fields, "chip_id", 64), _tcb(fields, "committed_tcb", turin),
            _firmware(fields, "current"), _firmware(fields, "committed"), _tcb(fields, "launch_tcb", turin), *mitigation,
        )
    )  # fmt: skip
    out += bytes(snp_report.SIGNED - len(out))
    signature = fields.get("signature")
    if not isinstance(signature, dict):
        refuse("evidence.signature", "needed are r and s")
    out += _bytes(signature, "r", 72) + _bytes(signature, "s", 72)
    return out + bytes(snp_report.SIZE - len(out))


def _bytes(fields: Mapping[str, object], name: str, size: int) -> bytes:
    return forms.as_bytes(fields.get(name), f"evidence.{name}", size=size)


def _number(fields: Mapping[str, object], name: str, size: int, *, missing: int | None = None) -> bytes:
    value = fields.get(name, missing)
    if isinstance(value, dict):
        value = next(iter(value.values()), None)
    if value is None and missing is not None:
        value = missing
    if type(value) is not int or not 0 <= value < 1 << (8 * size):
        refuse(f"evidence.{name}", f"{type(value).__name__}, needed is a number of {size} bytes")
    return value.to_bytes(size, "little")


def _signer(fields: Mapping[str, object]) -> bytes:
    """The flags at 0x48; older texts have the author key's bit alone, under a name of its own."""
    name = "key_info" if "key_info" in fields else "author_key_en"
    if isinstance(fields.get(name), bool):
        return int(bool(fields[name])).to_bytes(4, "little")
    return _number(fields, name, 4)


def _tcb(fields: Mapping[str, object], name: str, turin: bool) -> bytes:
    value = fields.get(name)
    if not isinstance(value, dict):
        refuse(f"evidence.{name}", "needed are the levels by name")
    levels = [_number(value, part, 1, missing=0 if part == "fmc" else None) for part in _TCB]
    fmc, bootloader, tee, snp, microcode = levels
    if turin:
        return fmc + bootloader + tee + snp + bytes(3) + microcode
    return bootloader + tee + bytes(4) + snp + microcode


def _firmware(fields: Mapping[str, object], name: str) -> bytes:
    """build, minor, major and a reserved byte; as an object, or as members of the report."""
    value = fields.get(name)
    if isinstance(value, dict):
        return b"".join(_number(value, part, 1) for part in ("build", "minor", "major")) + bytes(1)
    return b"".join(_number(fields, f"{name}_{part}", 1) for part in ("build", "minor", "major")) + bytes(1)
