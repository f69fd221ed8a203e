"""Every row of the index of kind tdx, and of other kinds where a TD quote is in it, as it is written there."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime, timedelta
from functools import cache

import pytest

from strongroom.attest import ccel, certificates, crl, policy, registry, tdx, tdx_collateral, tdx_documents, tdx_quote
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tdx_collateral import INTEL_ROOTS
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

TODAY = datetime(2026, 11, 24, tzinfo=UTC)
# Rows that say of a platform that it is covered by no level name the bundle by its month alone.
BUNDLES = {"90C0": "dcapqvl-tdx_quote_outdated_collateral.json"}
# The file is a sample of go-tdx-guest's with 39 bytes of text behind the quote, which no signature covers. The quote in
# it has valid signatures, as the row says; the file as it stands is refused.
TEXT_BEHIND_THE_QUOTE = "tdx/gotdxguest-tdx_prod_quote_SPR_E4.dat"
# Rows of another TEE. No kind verifies SGX: the project isolates pods in virtual machines, and an enclave of SGX is none.
# What is asked of such a quote is a refusal by its version, and of its collateral one by its id.
OF_SGX = ("tdx/dcapqvl-sgx_quote", "tdx/dcapqvl-sgx_quote_collateral.json")
# The row says v4, and td_attributes=01..: this TD is under debug, although the notes know of no debug TD.
UNDER_DEBUG = "tdx/trustee-tdx_quote_4.dat"


def quote_of(file: str) -> bytes:
    """The quote's bytes: bare, in hex, or in a JSON object."""
    data = read(file)
    if file.endswith(".json"):
        data = json.loads(data)["quote"].encode()
    text = data.strip().removeprefix(b"0x")
    return bytes.fromhex(text.decode()) if re.fullmatch(rb"[0-9a-fA-F]+", text) else data


@cache
def bundle(name: str) -> Collateral:
    return tdx_collateral.from_bundle(read(f"tdx/{name}"))


def rows(start: str) -> list[Entry]:
    """Rows of any kind whose verdict starts so."""
    kinds = ("tdx", "ccel", "azure-vtpm")
    return [one for kind in kinds for one in entries(kind) if one.verdict.startswith(start)]


def quotes() -> list[Entry]:
    return [one for kind in ("tdx", "ccel", "azure-vtpm") for one in entries(kind) if "mrtd=" in one.fields]


def window(collateral: Collateral) -> datetime:
    """A time in which all of the bundle holds."""
    info = json.loads(collateral.documents["tcb_info"])["tcbInfo"]
    return datetime.fromisoformat(info["issueDate"]) + timedelta(days=6)


def test_every_row_is_looked_at() -> None:
    told = ("VALID UpToDate", "SIGNATURES VALID", "REFUSE", "SGX v3", "collateral bundle", "signed collateral", "CRL")
    for one in entries("tdx"):
        assert one.verdict.startswith((*told, "auxiliary")), one


@pytest.mark.parametrize("vector", quotes(), ids=str)
def test_fields(vector: Entry) -> None:
    """The decoded fields are those of the index, which shortens some of them."""
    shown = registry.find("tdx").show(quote_of(vector.path), NOTHING)
    report = shown["report"]
    assert isinstance(report, dict)
    found = re.findall(r"(\w+)=([0-9a-f]+)", vector.fields)
    assert {"fmspc", "mrtd", "rtmr3", "report_data"} <= {name for name, _ in found}
    for name, value in found:
        if name == "fmspc":
            assert shown["pck"]["fmspc"].hex() == value  # type: ignore[index]
        elif name == "td_attributes":
            assert int(report["attributes"], 16).to_bytes(8, "little").hex() == value
        elif name == "body":
            assert shown["td_version"] == {"2": "1.0", "3": "1.5"}[value]
        else:
            assert report[name].hex().startswith(value)
    assert f"v{shown['version']} " in vector.fields
    assert ("debug" in report["attribute_names"]) == (vector.path == UNDER_DEBUG)


def test_another_verifiers_claims() -> None:
    """What trustee reads in one of its quotes and in the log that it was given beside, field by field."""
    claims = json.loads(read("tdx/trustee-parse_tdx_claims_expected.json"))
    quote = tdx_quote.parse(read("tdx/trustee-tdx_quote_4.dat"))
    body, report = claims["quote"]["body"], quote.report
    told = {name.replace("_", ""): value for name, value in body.items()}
    names = ("mrconfigid", "mrowner", "mrownerconfig", "mrseam", "mrtd", "mrsignerseam", "reportdata")
    ours = {name: getattr(report, "report_data" if name == "reportdata" else name).hex() for name in names}
    ours |= {f"rtmr{number}": value.hex() for number, value in enumerate(report.rtmrs)}
    numbers = {"seamattributes": report.seam_attributes, "tdattributes": report.attributes, "xfam": report.xfam}
    ours |= {name: value.to_bytes(8, "little").hex() for name, value in numbers.items()}
    ours["tcbsvn"] = report.tee_tcb_svn.hex()
    assert ours == told
    assert claims["report_data"] == report.report_data.hex()
    assert {name for name, is_set in claims["td_attributes"].items() if is_set} == {"debug", "septve_disable"}
    assert {name.replace("-", "_") for name in report.attribute_names} == {"debug", "sept_ve_disable"}
    log = ccel.parse(read("ccel/trustee-CCEL_data"))
    digests = [one["digests"][0]["digest"] for one in claims["uefi_event_logs"]]
    assert [event.digests[ccel.BANK].hex() for event in log.events] == digests


@pytest.mark.parametrize("vector", rows("VALID UpToDate"), ids=str)
def test_valid_at_its_date_and_refused_today(vector: Entry) -> None:
    day, name = re.findall(r"at (\S+) with (\S+json)", vector.verdict)[0]
    now = datetime.fromisoformat(f"{day}T00:00:00+00:00")
    said = registry.authenticate("tdx", quote_of(vector.path), bundle(name), None, now)
    assert said.facts.fields["tcb"]["status"] == "UpToDate"  # type: ignore[index]
    assert not said.facts.notes
    wanted = policy.make(
        {
            "measurements": {name: [said.facts.measurements[name].hex()] for name in said.facts.must_compare},
            "identities": [said.facts.identity.hex()],
            "report_data": said.facts.report_data.hex(),
            "tdx": {"platform": ["dynamic-platform", "cached-keys", "smt"]},
        }
    )
    registry.verify("tdx", quote_of(vector.path), bundle(name), wanted, now)
    with pytest.raises(Refused) as caught:
        registry.authenticate("tdx", quote_of(vector.path), bundle(name), None, TODAY)
    assert caught.value.field in ("root_crl", "pck_crl", "tcb_info.nextUpdate", "tcb_info.signer")


@pytest.mark.parametrize("vector", rows("SIGNATURES VALID"), ids=str)
def test_signatures_valid_and_refused_for_want_of_collateral(vector: Entry) -> None:
    data = quote_of(vector.path)
    quote = tdx_quote.parse(data)
    until = re.findall(r"until (\S+)\)", vector.verdict)[0]
    path = tdx.signatures(quote, datetime(2026, 2, 25, tzinfo=UTC))
    assert f"{path[0].not_after:%Y-%m-%d}" == until
    if vector.path == TEXT_BEHIND_THE_QUOTE:
        with pytest.raises(Refused) as caught:
            registry.authenticate("tdx", data, NOTHING, None, TODAY)
        assert caught.value.field == "quote.end"
        data = data[: len(data) - len(quote.trailing)]
    with pytest.raises(Refused) as caught:
        registry.authenticate("tdx", data, NOTHING, None, TODAY)
    assert caught.value.field == "root_crl"


@pytest.mark.parametrize("vector", rows("REFUSE"), ids=str)
def test_refused_at_any_time(vector: Entry) -> None:
    name = next((one for one in (*re.findall(r"with (\S+json)", vector.verdict), *BUNDLES.values()) if one), "")
    collateral = bundle(name)
    field = "pck.chain" if "root" in vector.verdict else "tcb.level"
    for now in (window(collateral), TODAY):
        with pytest.raises(Refused) as caught:
            registry.authenticate("tdx", quote_of(vector.path), collateral, None, now)
        assert caught.value.field == field or now == TODAY


@pytest.mark.parametrize("vector", rows("SGX v3"), ids=str)
def test_another_tee_is_refused(vector: Entry) -> None:
    assert vector.path in OF_SGX
    with pytest.raises(Refused) as caught:
        registry.authenticate("tdx", vector.read(), NOTHING, None, datetime(2025, 6, 25, tzinfo=UTC))
    assert caught.value.field == "quote.version"


@pytest.mark.parametrize("vector", rows("collateral bundle"), ids=str)
def test_bundles(vector: Entry) -> None:
    collateral = tdx_collateral.from_bundle(vector.read())
    text = tdx_documents.cut(collateral.documents["tcb_info"], "tcbInfo", "tcb_info")
    fmspc, start, end, number = re.findall(r"fmspc=(\S+) tcbInfo (\S+?Z)\.\.(\S+Z) eval=(\d+)", vector.fields)[0]
    assert vector.fields.startswith("SGX") == (vector.path in OF_SGX)
    if vector.path in OF_SGX:
        with pytest.raises(Refused) as caught:
            tdx_documents.tcb_info(text.values)
        assert caught.value.field == "tcb_info.id"
        return
    info = tdx_documents.tcb_info(text.values)
    assert info.fmspc.hex() == fmspc.lower()
    assert (info.issued, info.next_update) == (datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert info.evaluation == int(number)
    assert info.next_update < TODAY


@pytest.mark.parametrize("vector", rows("signed collateral JSON"), ids=str)
def test_signed_documents(vector: Entry) -> None:
    """They parse, have the dates of the index, and are signed by the certificate that signs all of Intel's."""
    fmspc, start, end = re.findall(r"fmspc=(\S+) (\S+?Z)\.\.(\S+Z)", vector.fields)[0]
    name = "enclaveIdentity" if fmspc == "None" else "tcbInfo"
    text = tdx_documents.cut(vector.read(), name, "document")
    found = tdx_documents.tcb_info(text.values) if name == "tcbInfo" else tdx_documents.qe_identity(text.values)
    assert (found.issued, found.next_update) == (datetime.fromisoformat(start), datetime.fromisoformat(end))
    assert not isinstance(found, tdx_documents.TcbInfo) or found.fmspc.hex() == fmspc.lower()
    assert found.next_update < TODAY


@pytest.mark.parametrize("vector", rows("CRL"), ids=str)
def test_lists(vector: Entry) -> None:
    start, end, count = re.findall(r" (\S+)\.\.(\S+) revoked=(\d+)", vector.fields)[0]
    found = crl.load(vector.read())
    assert found.next_update is not None
    assert (f"{found.this_update:%Y-%m-%d}", f"{found.next_update:%Y-%m-%d}") == (start, end)
    assert len(found.revoked) == int(count)
    root = certificates.load(read("certs/intel_sgx_root_ca.pem"))[0]
    if root.subject == found.issuer:
        with pytest.raises(Refused):
            crl.check(found, root, TODAY, "crl")
        crl.check(found, root, found.this_update, "crl")


def test_intel_root_is_the_pinned_one() -> None:
    vector = next(one for one in entries("certs") if one.path.endswith("intel_sgx_root_ca.pem"))
    root = certificates.load(vector.read())[0]
    assert root.spki_sha256 in INTEL_ROOTS
    assert f"{root.name} " in vector.fields
    assert f"until {root.not_after:%Y-%m-%d}" in vector.fields
    assert f"sha256={hashlib.sha256(root.der).hexdigest()}" in vector.fields
    certificates.chain(root, (), INTEL_ROOTS, TODAY, "root")
