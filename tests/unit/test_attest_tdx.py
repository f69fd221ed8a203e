"""TDX on a forged platform: statuses, attributes, floors and revocations that no genuine quote at hand has."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import quote as percents

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attest import policy, registry, tdx_collateral, tdx_documents, tdx_quote
from strongroom.attest.base import Authentic, Refused, Verified
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tdx_documents import TcbStatus
from strongroom.attest.tdx_tcb import converge
from strongroom.cli import attest_files
from tests import forge_tdx
from tests.forge_tdx import CA, DAY, NOW, PCK, ROOT, SIGNER, Forge, level, module, svn_level
from tests.forge_tpm import event_log


@pytest.fixture(autouse=True)
def _intel() -> Iterator[None]:
    with forge_tdx.pinned():
        yield


def authenticate(forge: Forge, values: dict[str, Any] | None = None) -> Authentic:
    wanted = policy.make(values) if values is not None else None
    return registry.authenticate("tdx", forge.quote(), forge.collateral(), wanted, NOW)


def refused(forge: Forge, values: dict[str, Any] | None = None) -> str:
    with pytest.raises(Refused) as caught:
        authenticate(forge, values)
    assert "defect" not in caught.value.reason
    return caught.value.field


def verify(forge: Forge, **section: Any) -> Verified:
    said = authenticate(forge)
    measured = {name: [value.hex()] for name, value in said.facts.measurements.items()}
    wanted = {
        "measurements": measured,
        "identities": [forge_tdx.PPID.hex()],
        "report_data": "ee" * 64,
        "tdx": section,
    }
    return registry.verify("tdx", forge.quote(), forge.collateral(), policy.make(wanted), NOW)


@pytest.mark.parametrize(("version", "td15"), [(4, False), (5, False), (5, True)])
def test_genuine(version: int, td15: bool) -> None:
    forge = Forge(version=version, td15=td15)
    said = verify(forge)
    assert said.facts.fields["td_version"] == ("1.5" if td15 else "1.0")
    assert said.facts.identity == forge_tdx.PPID
    assert said.facts.measurements["mrtd"] == b"\1" * 48
    assert said.facts.measurements["rtmr3"] == b"\x08" * 48
    assert said.facts.measurements["mrconfigid"] == b"\2" * 48
    assert not said.facts.notes


def expecting(report_data: bytes | None, **more: Any) -> policy.Policy:
    """Everything that the forged quote says, and what it was asked to cover."""
    facts = authenticate(Forge()).facts
    wanted = {"measurements": {name: [value.hex()] for name, value in facts.measurements.items()}, **more}
    covered = {} if report_data is None else {"report_data": report_data.hex()}
    return policy.make({**wanted, "identities": [facts.identity.hex()], **covered})


@pytest.mark.parametrize(
    ("covered", "field"),
    [(b"\xee" * 64, ""), (bytes(64), "report_data"), (b"\xee" * 63, "report_data"),
     (None, "policy.report_data")],
)  # fmt: skip
def test_a_quote_or_a_log_for_another_nonce_is_refused(covered: bytes | None, field: str) -> None:
    forge = Forge()
    given = forge.collateral()
    beside = replace(given, documents={**given.documents, "quote": forge.quote()})
    log, wanted = event_log([], banks=("sha384",)), expecting(covered, ccel={"beyond_log": [0, 1, 2, 3]})
    for kind, evidence, collateral in (("tdx", forge.quote(), given), ("ccel", log, beside)):
        if not field:
            assert isinstance(registry.verify(kind, evidence, collateral, wanted, NOW), Verified)
            continue
        with pytest.raises(Refused) as caught:
            registry.verify(kind, evidence, collateral, wanted, NOW)
        assert caught.value.field == field


def test_a_log_at_another_time_is_refused() -> None:
    forge = Forge()
    given = forge.collateral()
    beside = replace(given, documents={**given.documents, "quote": forge.quote()})
    log, lax = event_log([], banks=("sha384",)), policy.make({"ccel": {"beyond_log": [0, 1, 2, 3]}})
    assert isinstance(registry.authenticate("ccel", log, beside, lax, NOW), Authentic)
    for now in (NOW - 4000 * DAY, NOW + 40 * DAY, NOW + 4000 * DAY):
        with pytest.raises(Refused, match=r"valid|ended|begins|until|current"):
            registry.authenticate("ccel", log, beside, lax, now)


def test_debug_is_no_production() -> None:
    forge = Forge(attributes=1 << 28 | 1)
    assert refused(forge) == "report.attributes.debug"
    assert refused(Forge(attributes=1 << 28 | 2)) == "report.attributes.debug"  # the rest of the group TUD
    said = authenticate(forge, {"tdx": {"debug": True}})
    assert any("debug" in note for note in said.facts.notes)


@pytest.mark.parametrize(
    ("forge", "section", "field"),
    [
        (Forge(attributes=0), {"sept_ve_disable": False}, "report.attributes.sept_ve_disable"),
        (Forge(attributes=1 << 28 | 1 << 29), {"migratable": True}, "report.attributes"),
        (Forge(attributes=1 << 28 | 1 << 63), {"attributes": ["sept_ve_disable", "perfmon"]}, "report.attributes"),
        (Forge(attributes=1 << 28 | 1 << 40), {"attributes": ["sept_ve_disable", "bit40"]}, "report.attributes"),
        (Forge(flags=(False, False, True)), {"platform": ["smt"]}, "pck.configuration"),
        (Forge(flags=(True, True, False)), {"platform": ["dynamic-platform", "cached-keys"]}, "pck.configuration"),
    ],
)
def test_allowances(forge: Forge, section: dict[str, Any], field: str) -> None:
    """Each refuses by default, and passes where the policy says so."""
    with pytest.raises(Refused) as caught:
        verify(forge)
    assert caught.value.field == field
    verify(forge, **section)


@pytest.mark.parametrize(
    ("section", "field"),
    [
        ({"evaluation_data_number": 19}, "tcb_info.tcbEvaluationDataNumber"),
        ({"tee_tcb_svn": "06010400000000000000000000000000"}, "report.tee_tcb_svn"),
        ({"tee_tcb_svn": "0601"}, "report.tee_tcb_svn"),
    ],
)
def test_floors(section: dict[str, Any], field: str) -> None:
    with pytest.raises(Refused) as caught:
        verify(Forge(), **section)
    assert caught.value.field == field
    verify(Forge(), evaluation_data_number=18, tee_tcb_svn="06010300000000000000000000000000")


def test_a_service_td_has_to_be_known() -> None:
    said = authenticate(Forge(version=5, td15=True, mrservicetd=b"\7" * 48))
    assert "mrservicetd" in said.facts.must_compare
    assert "mrservicetd" not in authenticate(Forge(version=5, td15=True)).facts.must_compare


@pytest.mark.parametrize("name", ["rtmr3", "mrconfigid", "mrowner", "mrownerconfig"])
def test_what_the_td_says_of_its_owner_has_to_be_spoken_of(name: str) -> None:
    said = authenticate(Forge())
    values = {
        "measurements": {one: [value.hex()] for one, value in said.facts.measurements.items() if one != name},
        "identities": [forge_tdx.PPID.hex()],
        "report_data": "ee" * 64,
    }
    with pytest.raises(Refused, match=f"the policy says nothing of {name}"):
        registry.verify("tdx", Forge().quote(), Forge().collateral(), policy.make(values), NOW)
    wanted = policy.make({**values, "not_compared": [name]})
    registry.verify("tdx", Forge().quote(), Forge().collateral(), wanted, NOW)


def test_zeros_are_nobodys_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forge_tdx, "PPID", bytes(16))
    said = authenticate(Forge())
    assert (said.facts.identity, said.facts.aliases) == (forge_tdx.INSTANCE, ())
    monkeypatch.setattr(forge_tdx, "INSTANCE", bytes(16))
    assert authenticate(Forge()).facts.identity == b""
    monkeypatch.setattr(forge_tdx, "PPID", b"\1" * 16)
    said = authenticate(Forge())
    assert (said.facts.identity, said.facts.aliases) == (b"\1" * 16, ())


LOW = level(tuple(svn - (at == 0) for at, svn in enumerate(forge_tdx.SGX_SVNS)), tcbStatus="OutOfDate")


@pytest.mark.parametrize("status", [one.value for one in TcbStatus if one is not TcbStatus.UP_TO_DATE])
def test_status_of_the_platform(status: str) -> None:
    forge = Forge(levels=(level(tcbStatus=status, advisoryIDs=["INTEL-SA-1"]),))
    assert refused(forge) == "tcb.status"
    if status == "Revoked":
        return
    said = authenticate(forge, {"tdx": {"tcb_status": ["UpToDate", status]}})
    assert any("INTEL-SA-1" in note for note in said.facts.notes)
    with pytest.raises(Refused):
        registry.verify(
            "tdx",
            forge.quote(),
            forge.collateral(),
            policy.make({"tdx": {"tcb_status": [status], "advisories": []}, "not_compared": ["mrtd"]}),
            NOW,
        )


def test_the_first_level_that_is_reached_counts() -> None:
    worse = Forge(levels=(level(), LOW), svns=(2, *forge_tdx.SGX_SVNS[1:]))
    assert refused(worse) == "tcb.status"
    assert authenticate(Forge(levels=(level(), LOW))).facts.fields["tcb"]["status"] == "UpToDate"  # type: ignore[index]
    assert refused(Forge(levels=(level(),), pcesvn=12)) == "tcb.level"
    assert refused(Forge(svns=(0, *forge_tdx.SGX_SVNS[1:]))) == "tcb.level"
    assert refused(Forge(tee_tcb_svn=(6, 1, 2, *[0] * 13))) == "tcb.level"


def test_the_module_is_judged_by_its_own_identity() -> None:
    outdated = Forge(modules=(module("TDX_01", svn_level(7), svn_level(5, "OutOfDate")),))
    assert refused(outdated) == "tcb.status"
    said = authenticate(outdated, {"tdx": {"tcb_status": ["OutOfDate"]}})
    assert said.facts.fields["tcb"]["module"] == "OutOfDate"  # type: ignore[index]
    assert refused(Forge(modules=(module("TDX_03", svn_level(5)),))) == "tcb.module"
    assert refused(Forge(modules=(module("TDX_01", svn_level(7)),))) == "tcb.module"
    assert refused(Forge(modules=())) == "tcb.module"
    assert refused(Forge(mrsignerseam=b"\1" * 48)) == "report.mrsignerseam"
    assert refused(Forge(seam_attributes=1)) == "report.seam_attributes"
    first = Forge(tee_tcb_svn=(6, 0, 3, *[0] * 13), levels=(level(tdx=(6, 0, 3, *[0] * 13)),), modules=())
    assert authenticate(first).facts.fields["tcb"]["module"] == "UpToDate"  # type: ignore[index]
    assert refused(replace(first, levels=(level(tdx=(7, 0, 3, *[0] * 13)),))) == "tcb.level"


def test_the_quoting_enclave() -> None:
    assert refused(Forge(qe_signer=bytes(32))) == "qe_report.mrsigner"
    assert refused(Forge(qe_product=1)) == "qe_report.isvprodid"
    assert refused(Forge(qe_svn=3)) == "tcb.enclave"
    assert refused(Forge(qe_attributes=bytes.fromhex("13" + "00" * 15))) == "qe_report.attributes"
    assert refused(Forge(qe_bound=False)) == "qe_report.report_data"
    assert refused(Forge(qe_levels=(svn_level(4, "OutOfDate"),))) == "tcb.status"
    assert refused(Forge(qe_levels=(svn_level(4, "Revoked"),))) == "tcb.status"
    assert refused(Forge(qe_levels=(svn_level(4, "ConfigurationNeeded"),))) == "tcb.status"


def test_converge_never_makes_better() -> None:
    """Intel's quote verification library, TCB status convergence."""
    order = list(TcbStatus)
    for platform in order:
        assert converge(platform, TcbStatus.UP_TO_DATE) is platform
        assert converge(platform, TcbStatus.REVOKED) is TcbStatus.REVOKED
        outdated = converge(platform, TcbStatus.OUT_OF_DATE)
        assert outdated is platform or "OutOfDate" in outdated.value
        assert ("Configuration" in outdated.value) == ("Configuration" in platform.value)


@pytest.mark.parametrize(
    ("revoked", "field"),
    [({ROOT: (CA,)}, "pck.issuer"), ({CA: (PCK,)}, "pck.certificate"), ({ROOT: (SIGNER,)}, "tcb_info.signer")],
)
def test_revocation(revoked: dict[str, tuple[str, ...]], field: str) -> None:
    assert refused(Forge(revoked=revoked)) == field


@pytest.mark.parametrize(
    ("forge", "field"),
    [
        (Forge(info={"fmspc": "00" * 6}), "tcb_info.fmspc"),
        (Forge(info={"pceId": "0001"}), "tcb_info.pceId"),
        (Forge(info={"id": "SGX"}), "tcb_info.id"),
        (Forge(info={"version": 2}), "tcb_info.version"),
        (Forge(info={"version": True}), "tcb_info.version"),
        (Forge(info={"tcbType": 1}), "tcb_info.tcbType"),
        (Forge(info={"tcbLevels": []}), "tcb_info.tcbLevels"),
        (Forge(info={"tcbLevels": [1]}), "tcb_info.tcbLevels[0]"),
        (Forge(levels=(level(tcbStatus="Fine"),)), "tcb_info.tcbLevels[0].tcbStatus"),
        (Forge(levels=(level((1,)),)), "tcb_info.tcbLevels[0].tcb.sgxtcbcomponents"),
        (Forge(info={"issueDate": forge_tdx.stamp(NOW + DAY)}), "tcb_info.nextUpdate"),
        (Forge(info={"nextUpdate": forge_tdx.stamp(NOW - DAY)}), "tcb_info.nextUpdate"),
        (Forge(info={"nextUpdate": "2026-13-01T00:00:00Z"}), "tcb_info.nextUpdate"),
        (Forge(identity={"nextUpdate": forge_tdx.stamp(NOW - DAY)}), "qe_identity.nextUpdate"),
        (Forge(identity={"id": "QE"}), "qe_identity.id"),
        (Forge(identity={"version": 3}), "qe_identity.version"),
    ],
)
def test_documents(forge: Forge, field: str) -> None:
    assert refused(forge) == field


def test_documents_by_another_signer() -> None:
    genuine = Forge().collateral()
    info = tdx_documents.cut(genuine.documents["tcb_info"], "tcbInfo", "x").values
    for signer, certificate in (
        (ROOT, genuine.certificates[0]),
        ("Other", forge_tdx.certificate("Other", ROOT, ca=False)),
    ):
        documents = {**genuine.documents, "tcb_info": forge_tdx.document("tcbInfo", dict(info), signer)}
        collateral = Collateral((certificate, *genuine.certificates), genuine.crls, documents)
        with pytest.raises(Refused) as caught:
            registry.authenticate("tdx", Forge().quote(), collateral, None, NOW)
        assert caught.value.field == "tcb_info.signature"


def test_another_root_is_refused() -> None:
    forge = Forge()
    quote, collateral = forge.quote(), forge.collateral()
    with patch.object(tdx_collateral, "INTEL_ROOTS", frozenset()), pytest.raises(Refused) as caught:
        registry.authenticate("tdx", quote, collateral, None, NOW)
    assert caught.value.field == "tcb_info.signer"


def test_json_around_a_quote() -> None:
    quote = Forge().quote()
    for value in (quote.hex(), b64encode(quote).decode(), list(quote)):
        for name in ("quote", "td_quote", "report"):
            assert registry.unwrap("tdx", json.dumps({"other": 1, name: value}).encode(), NOTHING)[0] == quote
    for wrong, why in (
        ({"blob": quote.hex()}, "without quote or td_quote"),
        ([quote.hex()], "without quote or td_quote"),
        ({"quote": {"data": quote.hex()}}, "without quote or td_quote"),
        ({"quote": [1, 256]}, "list of numbers"),
    ):
        with pytest.raises(Refused, match=why):
            registry.unwrap("tdx", json.dumps(wrong).encode(), NOTHING)


def test_files_as_services_answer(tmp_path: Path) -> None:
    """A PCCS gives CRLs in hex, and the issuer chain stands percent-encoded in a header."""
    forge = Forge()
    given = forge.collateral()
    for number, one in enumerate(given.crls):
        (tmp_path / f"{number}.crl").write_text(one.hex() + "\n")
    chain = x509.load_der_x509_certificate(given.certificates[0]).public_bytes(Encoding.PEM)
    (tmp_path / "chain").write_text(percents(chain))
    for name, document in given.documents.items():
        (tmp_path / f"{name}.json").write_bytes(document)
    found = attest_files.gather((), [str(tmp_path)])
    assert set(found.crls) == set(given.crls)
    assert isinstance(registry.authenticate("tdx", forge.quote(), found, None, NOW), Authentic)


def test_a_log_takes_the_quote_in_any_form() -> None:
    forge = Forge()
    log = event_log([(1, 4, b"\0" * 4, b"\0" * 4)], banks=("sha384",))
    for form in (forge.quote(), forge.quote().hex().encode(), json.dumps({"quote": forge.quote().hex()}).encode()):
        collateral = forge.collateral()
        given = replace(collateral, documents={**collateral.documents, "quote": form})
        with pytest.raises(Refused, match="the log leads to"):
            registry.authenticate("ccel", log, given, None, NOW)


def test_zeros_may_follow_and_nothing_else() -> None:
    forge = Forge()
    registry.authenticate("tdx", forge.quote() + bytes(3000), forge.collateral(), None, NOW)
    with pytest.raises(Refused) as caught:
        registry.authenticate("tdx", forge.quote() + b"\0\0text", forge.collateral(), None, NOW)
    assert caught.value.field == "quote.end"


FORM = Forge(version=5, td15=True)


@cache
def form() -> tuple[bytes, Collateral, int]:
    """One quote, its collateral, and where its PCK chain starts; signatures are not the same twice."""
    quote = FORM.quote()
    return quote, FORM.collateral(), quote.index(b"-----BEGIN")


@given(st.data())
def test_signed_bytes(data: st.DataObject) -> None:
    """Any bit of header, body, signatures, key, QE report and authentication data."""
    with forge_tdx.pinned():
        quote, collateral, end = form()
        place = data.draw(st.integers(0, 8 * end - 1))
        flipped = bytearray(quote)
        flipped[place // 8] ^= 1 << place % 8
        with pytest.raises(Refused):
            registry.authenticate("tdx", bytes(flipped), collateral, None, NOW)


@given(st.binary(max_size=2000), st.integers(0, 700))
def test_bytes_that_are_no_quote(tail: bytes, keep: int) -> None:
    data = form()[0][:keep] + tail
    with pytest.raises(Refused) as caught:
        registry.authenticate("tdx", data, NOTHING, None, NOW)
    assert "defect" not in caught.value.reason


@given(st.text(max_size=60))
def test_texts_that_are_no_document(text: str) -> None:
    for data in (text.encode("utf-8", "surrogatepass"), f'{{"tcbInfo":{text},"signature":"{"00" * 64}"}}'.encode()):
        try:
            tdx_documents.tcb_info(tdx_documents.cut(data, "tcbInfo", "x").values)
        except (Refused, UnicodeEncodeError):
            continue
        raise AssertionError(data)


def test_documents_are_cut_as_they_stand() -> None:
    """White space and order are the signer's; what stands outside of the object is not part of what was signed."""
    raw = '{"id" : "TDX", "a":[1,2, {"b":"}"}]}'
    found = tdx_documents.cut(f' {{ "tcbInfo" : {raw} , "signature" : "{"ab" * 64}" }} '.encode(), "tcbInfo", "x")
    assert found.raw == raw.encode()
    for wrong in (
        f'{{"tcbInfo":{raw},"tcbInfo":{raw},"signature":"{"ab" * 64}"}}',
        f'{{"tcbInfo":{raw},"signature":"{"ab" * 63}"}}',
        f'{{"tcbInfo":{raw},"signature":"{"ab" * 64}","more":1}}',
        f'{{"signature":"{"ab" * 64}","tcbInfo":{raw}}}',
        f'{{"tcbInfo":{raw}}}',
        "[" * 100000,
        '{"tcbInfo":' * 100000,
    ):
        with pytest.raises(Refused):
            tdx_documents.cut(wrong.encode(), "tcbInfo", "x")


def test_an_sgx_quote_or_another_form_is_refused() -> None:
    quote = Forge().quote()
    for place, value, field in (
        (0, 3, "quote.version"),
        (2, 3, "quote.key_type"),
        (4, 0, "quote.tee_type"),
        (12, 0, "quote.vendor"),
    ):
        with pytest.raises(Refused) as caught:
            tdx_quote.parse(quote[:place] + bytes((value,)) + quote[place + 1 :])
        assert caught.value.field == field
