"""Every row of the index of kind azure-vtpm, as it is written there."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

import pytest

from strongroom.attest import azure, certificates, hcl, policy, registry, td_report, tdx, tdx_quote, tpm, tpm_quote
from strongroom.attest.base import Facts, Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tpm_quote import Key
from strongroom.attest.tpm_structures import parse_quote
from strongroom.model.platform import Platform
from tests.corpus.damage import cuts_taken, flips, refuses, taken
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read
from tests.corpus.test_evidence_tdx_hostile import unchanged

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
    _tdx_holds(azure.read(read(file), NOTHING))


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


def _refused(kind: str, whole: dict[str, Any], **changed: Any) -> bool:
    try:
        registry.authenticate(kind, json.dumps({**whole, **changed}).encode(), NOTHING, None, NOW)
    except Refused as refusal:
        return "defect" not in refusal.reason
    return False


# A TDREPORT's head, reserved bytes and MAC: a machine other than its own can check none of them, and what is believed of
# the report is what the TD quote says as well. Places in the HCL report, whose hardware report starts at 32.
UNSIGNED = {file: {*range(32 + 1, 32 + 32), *range(32 + 192, 32 + 256)} for file in TDX} | {file: set() for file in SNP}
RUNTIME = 32 + 1184 + 20  # where the runtime data start


@dataclass(frozen=True)
class Parts:
    """Azure's evidence, taken apart: a report, and what lies beside it, in the form that takes each as bytes."""

    report: bytes
    message: bytes
    signature: bytes
    pcrs: bytes
    hardware: bytes  # the VCEK, or the TD quote

    @classmethod
    def of(cls, file: str) -> Parts:
        """Those of a JSON document of either version."""
        whole = json.loads(read(file))
        found = azure.read(read(file), NOTHING)
        report = whole.get("hcl_report", whole.get("report"))
        raw = bytes(report) if isinstance(report, list) else base64.urlsafe_b64decode(report + "==")
        pcrs = b"".join(found.quote.pcrs["sha256"][number] for number in range(24)) if found.quote.pcrs else b""
        return cls(raw, found.quote.message, found.quote.signature, pcrs, next(iter(found.parts.values())))

    def hold(self, file: str) -> None:
        """All that can be verified of them: for TDX everything but Intel's collateral, which the corpus has not.

        Raises:
            Refused: something does not hold.
        """
        pcrs = [self.pcrs[at : at + 32].hex() for at in range(0, len(self.pcrs), 32)]
        quote = json.dumps({"message": self.message.hex(), "signature": self.signature.hex(), "pcrs": pcrs}).encode()
        documents = {"tpm_quote": quote, "vcek" if file in SNP else "td_quote": self.hardware}
        if file in SNP:
            registry.authenticate("azure-snp", self.report, Collateral(documents=documents), None, NOW)
        else:
            _tdx_holds(azure.read(self.report, Collateral(documents=documents)))


def _tdx_holds(found: azure.AzureEvidence) -> None:
    quote = tdx_quote.parse(found.parts["td_quote"])
    tdx.signatures(quote, NOW)
    hcl.require_covered(found.report, td_report.report_data(found.report.report), "td_report")
    td_report.require_same(found.report.report, quote.report)
    hardware = Facts("none", Platform.NONE, quote.report.report_data, {})
    azure.bind(found, hardware, "azure", Platform.NONE, tpm.TpmSection())


@pytest.mark.parametrize("file", [*SNP, *TDX])
def test_flip_of_any_byte(file: str) -> None:
    """Report, runtime data, padding, quote, signature, PCRs and the hardware's own evidence: nothing of it may flip."""
    whole = Parts.of(file)
    whole.hold(file)
    parts = {name: getattr(whole, name) for name in ("report", "message", "signature", "pcrs", "hardware")}
    for name, data in parts.items():
        found = set(taken(data, lambda part, name=name: replace(whole, **{name: part}).hold(file)))  # type: ignore[misc]
        if name == "report":
            assert found == UNSIGNED[file]
        elif name != "hardware":
            assert not found, name
        elif file in SNP:
            # DER has no byte to spare; PEM has its line breaks.
            same = certificates.load(data)
            assert not found or data.startswith(b"-----BEGIN")
            assert all(certificates.load(flipped) == same for place, flipped in flips(data) if place in found)
        else:
            chain = data.index(b"-----BEGIN")
            assert min(found, default=chain) >= chain
            assert all(unchanged(data, flipped) for place, flipped in flips(data) if place in found)


@pytest.mark.parametrize("file", [*SNP, *TDX])
def test_truncation_at_every_length(file: str) -> None:
    whole = Parts.of(file)
    size = int.from_bytes(whole.report[8:12], "little")
    assert size == RUNTIME + int.from_bytes(whole.report[RUNTIME - 4 : RUNTIME], "little")
    for name in ("report", "message", "signature", "pcrs", "hardware"):
        data = getattr(whole, name)
        end = len(data)
        if name == "report":
            end = size  # behind the runtime data is padding with zeros; a shorter one is none the worse
        elif name == "hardware":
            # So is the padding behind a TD quote; a text of PEM may want its last line break.
            end = len(data.rstrip()) if file in SNP else len(data) - len(tdx_quote.parse(data).trailing)
        found = cuts_taken(data, lambda part, name=name: replace(whole, **{name: part}).hold(file))  # type: ignore[misc]
        assert found == list(range(end, len(data))), name


@pytest.mark.parametrize("file", [*SNP, *TDX])
def test_truncated_json_is_refused(file: str) -> None:
    """Every length; of version 0, which spells bytes as numbers and is three times as long, every third."""
    data = read(file).rstrip()
    for length in range(0, len(data), 3 if file.endswith("v0.json") else 1):
        assert refuses(lambda part: azure.read(part, NOTHING), data[:length]), length


def test_parts_of_other_machines_are_refused() -> None:
    one, other = json.loads(read(SNP[1])), json.loads(read(TDX[1]))
    assert _refused("azure-snp", one, tpm_quote=other["tpm_quote"])
    assert _refused("azure-snp", one, hcl_report=other["hcl_report"])
    different = base64.urlsafe_b64encode(read("azure-vtpm/az-snp-hcl-report.bin")).decode()
    assert _refused("azure-snp", one, hcl_report=different)
    assert _refused("azure-snp", one, vcek=read("azure-vtpm/az-snp-vcek-genoa.pem").decode())
    assert _refused("azure-snp", {name: value for name, value in one.items() if name != "vcek"})
