"""Every row of the index of kind azure-vtpm, as it is written there."""

from __future__ import annotations

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom.attest import azure, hcl, policy, registry, td_report, tdx, tdx_quote, tpm, tpm_quote
from strongroom.attest.base import Facts, Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tpm_quote import Key
from strongroom.attest.tpm_structures import parse_quote
from strongroom.model.platform import Platform
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
SNP = ("azure-vtpm/az-snp-evidence-v0.json", "azure-vtpm/az-snp-evidence-v1.json")
TDX = ("azure-vtpm/az-tdx-evidence-v0.json", "azure-vtpm/az-tdx-evidence-v1.json")

# The rows say that the two are part of the same evidence. The quote is another machine's: its signer's name is in no
# other file, its selection is PCRs 0 to 7 and 14, and no AK of the corpus verifies its signature.
ANOTHER_MACHINES = ("azure-vtpm/az-snp-tpm-quote.msg", "azure-vtpm/az-snp-tpm-quote.sig")


def rows(start: str) -> list[Entry]:
    return [one for one in entries("azure-vtpm") if one.verdict.startswith(start)]


def bound(evidence: bytes, collateral: Collateral = NOTHING) -> Facts:
    """All but the hardware's own signature: what the index says of the evidence as a whole."""
    found = azure.read(evidence, collateral)
    covered = (
        found.report.report[80:144] if found.report.kind == hcl.SNP else td_report.report_data(found.report.report)
    )
    hardware = Facts("none", Platform.NONE, covered, {})
    return azure.bind(found, hardware, "azure", Platform.NONE, tpm.TpmSection())


def test_every_row_is_looked_at() -> None:
    for one in entries("azure-vtpm"):
        assert one.verdict.startswith(("VALID quote signature", "part of the same", "SIGNATURES VALID")), one


@pytest.mark.parametrize("entry", rows("VALID quote signature"), ids=str)
def test_quote_runtime_data_and_pcrs(entry: Entry) -> None:
    facts = bound(entry.read())
    quote: Any = facts.fields["quote"]
    assert facts.report_data == b"challenge"
    assert len(facts.measurements) == 24
    assert quote["restart_count"] == 0
    assert quote["selections"] == [{"bank": "sha256", "pcrs": tuple(range(24))}]


@pytest.mark.parametrize("file", SNP)
def test_snp_as_a_whole(file: str) -> None:
    said = registry.authenticate("azure-snp", read(file), NOTHING, None, NOW)
    measured = {name: [said.facts.measurements[name].hex()] for name in said.facts.measurements}
    wanted: dict[str, Any] = {
        "measurements": {name: measured[name] for name in ("measurement", "pcr4", "pcr7", "pcr9", "pcr11", "pcr12")},
        "identities": [said.facts.identity.hex()],
        "nonce": b"challenge".hex(),
        "snp": {"smt": True},
        "not_compared": ["minimum_tcb"],
    }
    registry.verify("azure-snp", read(file), NOTHING, policy.make(wanted), NOW)
    changes: dict[str, dict[str, Any]] = {
        "report_data": {"nonce": b"challenge!".hex()},
        "measurements.pcr9": {"measurements": {**measured, "pcr9": ["00" * 32]}},
        "measurements.measurement": {"measurements": {**measured, "measurement": ["00" * 48]}},
        "identity": {"identities": ["00" * 64]},
        "event_log": {"azure-snp": {"event_log": "required"}},
    }
    for field, changed in changes.items():
        with pytest.raises(Refused) as caught:
            registry.verify("azure-snp", read(file), NOTHING, policy.make({**wanted, **changed}), NOW)
        assert caught.value.field == field


@pytest.mark.parametrize("file", SNP)
@pytest.mark.parametrize("year", [2015, 2040])
def test_snp_at_another_time_is_refused(file: str, year: int) -> None:
    with pytest.raises(Refused, match="valid") as caught:
        registry.authenticate("azure-snp", read(file), NOTHING, None, datetime(year, 1, 1, tzinfo=UTC))
    assert caught.value.field.startswith("certificate")


@pytest.mark.parametrize("file", TDX)
def test_tdx_needs_intels_collateral(file: str) -> None:
    """Its FMSPC is in none of the bundles: all but the collateral holds, and that refuses."""
    with pytest.raises(Refused) as caught:
        registry.authenticate("azure-tdx", read(file), NOTHING, None, NOW)
    assert caught.value.field == "root_crl"
    found = azure.read(read(file), NOTHING)
    quote = tdx_quote.parse(found.parts["td_quote"])
    tdx.signatures(quote, NOW)
    hcl.require_covered(found.report, quote.report.report_data, "td_quote")
    td_report.require_same(found.report.report, quote.report)
    hcl.require_covered(found.report, td_report.report_data(found.report.report), "td_report")


@pytest.mark.parametrize("file", [*SNP, *TDX])
def test_a_kind_takes_no_other_platforms_evidence(file: str) -> None:
    wrong = "azure-tdx" if file in SNP else "azure-snp"
    for kind in (wrong, "tpm", "tdx", "snp", "ccel"):
        with pytest.raises(Refused):
            registry.authenticate(kind, read(file), NOTHING, None, NOW)


@pytest.mark.parametrize("entry", rows("part of the same"), ids=str)
def test_parts(entry: Entry) -> None:
    """Each part that is a file of its own: reports parse, quotes go with their report's AK, certificates load."""
    data = entry.read()
    other = "snp" if "az-snp" in entry.path else "tdx"
    report = read(f"azure-vtpm/az-{other}-hcl-report.bin")
    if entry.path.endswith("hcl-report.bin"):
        found = hcl.parse(data)
        assert hcl.NAMES[found.kind] == {"snp": "SEV-SNP", "tdx": "TDX"}[other]
        if other == "snp":
            assert found.report[80:144].hex() == re.findall(r"report_data=(\w+)", entry.fields)[0]
            hcl.require_covered(found, found.report[80:144], "report")
        else:
            hcl.require_covered(found, td_report.report_data(found.report), "report")
    elif entry.path.endswith("quote-v1.json"):
        facts = bound(report, Collateral(documents={"tpm_quote": data}))
        assert facts.report_data == b"challenge"
    elif entry.path in ANOTHER_MACHINES:
        message, signature = (read(f"azure-vtpm/az-snp-tpm-quote.{end}") for end in ("msg", "sig"))
        quote = parse_quote(message)
        assert quote.extra_data == b"challenge"
        for file in (*SNP, *TDX):
            key = hcl.key(azure.read(read(file), NOTHING).report, azure.AK)
            with pytest.raises(Refused) as caught:
                tpm_quote.verify_quote(message, signature, quote, Key(key, b""), {})
            assert caught.value.field == "quote.signature"
    elif entry.path.endswith(".pem"):
        assert b"BEGIN CERTIFICATE" in data
    else:
        # Signature, message and PCRs, each with its length before it: the same as in the JSON of version 1.
        assert entry.path.endswith("quote.bin")
        same = json.loads(read(f"azure-vtpm/az-{other}-tpm-quote-v1.json"))
        assert (data[8:264].hex(), data[272:394].hex()) == (same["signature"], same["message"])
        with pytest.raises(Refused):
            registry.authenticate("tpm", data, NOTHING, None, NOW)


def _flip(data: bytes, place: int) -> bytes:
    return data[:place] + bytes((data[place] ^ 1 << place % 8,)) + data[place + 1 :]


def _refused(kind: str, whole: dict[str, Any], **changed: Any) -> bool:
    try:
        registry.authenticate(kind, json.dumps({**whole, **changed}).encode(), NOTHING, None, NOW)
    except Refused as refusal:
        return "defect" not in refusal.reason
    return False


def test_flip_of_any_byte() -> None:
    """Report, runtime data, padding, quote, signature and PCRs: nothing of it may flip."""
    whole = json.loads(read(SNP[1]))
    assert not _refused("azure-snp", whole)
    report = base64.urlsafe_b64decode(whole["hcl_report"] + "==")
    for place in range(0, len(report), 3):
        flipped = base64.urlsafe_b64encode(_flip(report, place)).decode()
        assert _refused("azure-snp", whole, hcl_report=flipped), place
    for length in range(0, len(report), 7):
        cut = base64.urlsafe_b64encode(report[:length]).decode()
        # Behind the runtime data is padding with zeros; a shorter one is none the worse.
        assert _refused("azure-snp", whole, hcl_report=cut) or length >= 1236 + 1110, length
    for name in ("message", "signature"):
        data = bytes.fromhex(whole["tpm_quote"][name])
        for place in range(len(data)):
            quote = {**whole["tpm_quote"], name: _flip(data, place).hex()}
            assert _refused("azure-snp", whole, tpm_quote=quote), (name, place)
    for number in range(24):
        pcrs = list(whole["tpm_quote"]["pcrs"])
        pcrs[number] = _flip(bytes.fromhex(pcrs[number]), number).hex()
        assert _refused("azure-snp", whole, tpm_quote={**whole["tpm_quote"], "pcrs": pcrs}), number


def test_parts_of_other_machines_are_refused() -> None:
    one, other = json.loads(read(SNP[1])), json.loads(read(TDX[1]))
    assert _refused("azure-snp", one, tpm_quote=other["tpm_quote"])
    assert _refused("azure-snp", one, hcl_report=other["hcl_report"])
    different = base64.urlsafe_b64encode(read("azure-vtpm/az-snp-hcl-report.bin")).decode()
    assert _refused("azure-snp", one, hcl_report=different)
    assert _refused("azure-snp", one, vcek=read("azure-vtpm/az-snp-vcek-genoa.pem").decode())
    assert _refused("azure-snp", {name: value for name, value in one.items() if name != "vcek"})


@pytest.mark.parametrize("file", [*SNP, *TDX])
def test_truncated_json_is_refused(file: str) -> None:
    data = read(file)
    for length in range(0, len(data) - 2, 997):
        with pytest.raises(Refused):
            registry.authenticate("azure-snp" if file in SNP else "azure-tdx", data[:length], NOTHING, None, NOW)
