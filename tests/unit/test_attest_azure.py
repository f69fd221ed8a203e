"""Azure's evidence on TDX, forged as a whole: no genuine one has collateral of its date beside it."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attest import hcl, policy, registry
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from tests import forge_tdx
from tests.forge_tdx import NOW, Forge
from tests.forge_tpm import Tpm, b64, booted, dumps


@pytest.fixture(autouse=True)
def _intel() -> Iterator[None]:
    with forge_tdx.pinned():
        yield


def jwk(tpm: Tpm, which: str, name: str) -> dict[str, Any]:
    numbers = tpm.key(which).public_key().public_numbers()
    return {"kid": name, "kty": "RSA", "e": "AQAB", "n": b64(numbers.n.to_bytes(256, "big"))}


def runtime(tpm: Tpm, **more: Any) -> bytes:
    return dumps({"keys": [jwk(tpm, "ak", "HCLAkPub"), jwk(tpm, "ek", "HCLEkPub")], "user-data": "00", **more})


def td_area(forge: Forge, covered: bytes, report_type: int = 0x81) -> bytes:
    """The TDREPORT of the TD that the forged quote is of."""
    body = forge.quote()[48 : 48 + 584]
    tcb = (bytes(8) + body[:112]).ljust(239, b"\0")
    info = (body[120:520]).ljust(512, b"\0")
    hashes = hashlib.sha384(tcb).digest() + hashlib.sha384(info).digest()
    head = bytes((report_type,)) + bytes(31) + hashes + covered.ljust(64, b"\0") + bytes(64)
    return head + tcb + bytes(17) + info


def report(data: bytes, *, kind: int = 4, report_type: int = 0x81, covered: bytes | None = None, **more: int) -> bytes:
    """An HCL report around a TDREPORT."""
    digest = hashlib.sha256(data).digest() if covered is None else covered
    td = td_area(Forge(), digest, report_type)
    head = struct.pack("<4sIIII12x", b"HCLA", 2, 1236 + len(data), more.get("request", 2), more.get("status", 0))
    inner = struct.pack("<IIIII", len(data) + 20, 1, kind, more.get("hash_type", 1), len(data))
    return (head + td.ljust(1184, b"\0") + inner + data).ljust(2600, b"\0")


def evidence(tpm: Tpm, data: bytes | None = None, forge: Forge | None = None, **more: Any) -> dict[str, Any]:
    data = runtime(tpm) if data is None else data
    forge = forge or Forge(report_data=hashlib.sha256(data).digest().ljust(64, b"\0"))
    quote = tpm.evidence()["tpm_quote"]
    return {"version": 1, "hcl_report": b64(report(data)), "td_quote": b64(forge.quote()), "tpm_quote": quote, **more}


def refused(whole: Any, collateral: Collateral | None = None) -> str:
    with pytest.raises(Refused) as caught:
        registry.authenticate("azure-tdx", dumps(whole), collateral or Forge().collateral(), None, NOW)
    assert "defect" not in caught.value.reason
    return caught.value.field


def test_genuine() -> None:
    tpm = booted()
    whole = evidence(tpm, event_log=b64(tpm.log))
    said = registry.authenticate("azure-tdx", dumps(whole), Forge().collateral(), None, NOW)
    wanted = {
        "measurements": {name: [value.hex()] for name, value in said.facts.measurements.items()},
        "identities": [forge_tdx.PPID.hex()],
        "nonce": b"nonce".hex(),
        "azure-tdx": {"event_log": "required", "secure_boot": True},
    }
    registry.verify("azure-tdx", dumps(whole), Forge().collateral(), policy.make(wanted), NOW)
    for field, changed in (
        ("report_data", {"nonce": "00"}),
        ("measurements.pcr7", {"measurements": {**wanted["measurements"], "pcr7": ["00" * 32]}}),  # type: ignore[dict-item]
        ("measurements.mrtd", {"measurements": {**wanted["measurements"], "mrtd": ["00" * 48]}}),  # type: ignore[dict-item]
        ("identity", {"identities": ["00" * 16]}),
        ("tcb_info.tcbEvaluationDataNumber", {"tdx": {"evaluation_data_number": 19}}),
        ("quote.selections", {"azure-tdx": {"pcrs": [25]}}),
    ):
        with pytest.raises(Refused) as caught:
            registry.verify("azure-tdx", dumps(whole), Forge().collateral(), policy.make({**wanted, **changed}), NOW)
        assert caught.value.field == field


def test_what_is_bound_to_what() -> None:
    tpm, other = booted(), booted(name="two")
    whole, foreign = evidence(tpm), evidence(other)
    assert refused(evidence(tpm, forge=Forge())) == "hardware.report_data"
    assert refused({**whole, "tpm_quote": foreign["tpm_quote"]}) == "quote.signature"
    assert refused({**whole, "hcl_report": foreign["hcl_report"]}) == "hardware.report_data"
    assert refused({**whole, "td_quote": foreign["td_quote"]}) == "hardware.report_data"
    assert refused({**whole, "hcl_report": b64(report(runtime(tpm), covered=bytes(32)))}) == "td_report.report_data"
    assert refused(whole, NOTHING) == "root_crl"
    for name, field in (
        ("td_quote", "td_quote"),
        ("hcl_report", "evidence.report"),
        ("tpm_quote", "evidence.quote"),
    ):
        assert refused({key: value for key, value in whole.items() if key != name}) == field
    debug = Forge(report_data=hashlib.sha256(runtime(tpm)).digest().ljust(64, b"\0"), attributes=1)
    assert refused(evidence(tpm, forge=debug)) == "report.attributes.debug"


def test_the_td_report_says_what_the_quote_says() -> None:
    """Every byte of it but what the MAC is for: subtype, version, CPUSVN, reserved bytes and the MAC itself."""
    tpm = booted()
    whole, data = evidence(tpm), report(runtime(tpm))
    free = {*range(33, 64), *range(32 + 192, 32 + 256)}
    for place in range(32, 32 + 1184, 7):
        flipped = data[:place] + bytes((data[place] ^ 1,)) + data[place + 1 :]
        if place not in free:
            assert refused({**whole, "hcl_report": b64(flipped)}).startswith(("td_report", "hcl_report")), place
    other = Forge(tee_tcb_svn=(7, 1, 3, *[0] * 13), report_data=hashlib.sha256(runtime(tpm)).digest().ljust(64, b"\0"))
    assert refused(evidence(tpm, forge=other)) == "td_report.tee_tcb_svn"
    attributes = replace(other, tee_tcb_svn=forge_tdx.TDX_SVNS, attributes=1 << 28 | 1 << 30)
    assert refused(evidence(tpm, forge=attributes)) == "td_report.attributes"


def test_forms_of_a_report() -> None:
    data = runtime(booted())
    for form, field in (
        (report(data, kind=2), "hcl_report.runtime.report_type"),
        (report(data, kind=3), "hcl_report.runtime.report_type"),
        (report(data, report_type=0), "td_report.type"),
        (report(data, request=1), "hcl_report.request"),
        (report(data, status=1), "hcl_report.status"),
        (report(data, hash_type=4), "hcl_report.runtime.hash_type"),
        (report(data, hash_type=2), "td_report.report_data"),
        (report(data) + b"\1", "hcl_report.padding"),
        (report(b"[]"), "runtime_data"),
        (b"HCLB" + report(data)[4:], "hcl_report.signature"),
        (report(data)[:1000], "hcl_report.report"),
    ):
        assert refused({**evidence(booted()), "hcl_report": b64(form)}) == field


@pytest.mark.parametrize(
    "keys",
    [
        [],
        "HCLAkPub",
        [{"kid": "HCLAkPub"}],
        [{"kid": "HCLAkPub", "kty": "EC"}],
        [{"kid": "HCLAkPub", "kty": "RSA", "n": "AQ", "e": "AQAB"}],
        [{"kid": "HCLAkPub", "kty": "RSA", "n": 5, "e": "AQAB"}],
        [{"kid": "HCLAkPub", "kty": "RSA", "n": "AQ", "e": "AQAB"}] * 2,
    ],
)
def test_keys_of_the_runtime_data(keys: Any) -> None:
    tpm = booted()
    data = runtime(tpm, keys=keys)
    assert refused(evidence(tpm, data)).startswith("runtime_data.keys")


def test_a_bare_report_with_the_rest_beside_it() -> None:
    tpm = booted()
    whole = evidence(tpm)
    data = report(runtime(tpm))
    genuine = Forge().collateral()
    td = Forge(report_data=hashlib.sha256(runtime(tpm)).digest().ljust(64, b"\0")).quote()
    documents = {**genuine.documents, "tpm_quote": dumps(whole["tpm_quote"]), "td_quote": td}
    registry.authenticate("azure-tdx", data, Collateral(genuine.certificates, genuine.crls, documents), None, NOW)
    with pytest.raises(Refused) as caught:
        registry.authenticate("azure-tdx", data, genuine, None, NOW)
    assert caught.value.field == "tpm_quote"
    assert registry.find("azure-tdx").show(data, NOTHING)["hardware"] == "TDX"
    assert registry.guess(data) == registry.guess(dumps(whole)) == ("azure-tdx",)


@given(st.binary(max_size=100), st.integers(0, 1400))
def test_bytes_that_are_no_report(tail: bytes, keep: int) -> None:
    data = report(json.dumps({"keys": []}).encode())[:keep] + tail
    with pytest.raises(Refused) as caught:
        hcl.key(hcl.parse(data), "HCLAkPub")
    assert "defect" not in caught.value.reason
