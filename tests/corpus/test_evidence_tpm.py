"""Every row of the index of kind tpm, as it is written there."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import pytest

from strongroom.attest import eventlog, events, policy, registry, tpm_quote
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.tpm_structures import parse_quote
from tests.corpus.damage import cuts_taken, refuses, taken
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
QUOTE = "tpm/trustee-tpm_evidence.json"
PCRS = range(24)


def rows(*starts: str) -> list[Entry]:
    return [one for one in entries("tpm") if one.verdict.startswith(starts)]


def test_every_row_is_looked_at() -> None:
    told = ("event log; replay", "parser must refuse", "TPMS_ATTEST only", "VALID RSASSA", "auxiliary", "go-tpm-tools")
    for one in entries("tpm"):
        assert one.verdict.startswith(told), one


@pytest.mark.parametrize("entry", rows("event log; replay"), ids=str)
def test_logs_replay(entry: Entry) -> None:
    log = eventlog.parse(entry.read(), registers=PCRS)
    algorithms = re.findall(r"'(\w+)'", entry.fields.split("PCR0")[0])
    assert list(log.algorithms) == algorithms
    assert f"events={len(log.events)} " in entry.fields
    replayed = log.replay("sha256")
    wanted = {int(number): value for number, value in re.findall(r"PCR(\d+)=(\w+)", entry.fields)}
    assert wanted
    assert {number: replayed[number].hex()[: len(value)] for number, value in wanted.items()} == wanted
    events.require_honest(log, "sha256")
    shown = registry.find("tpm").show(entry.read(), NOTHING)
    assert shown["replay"]["pcr0"] == replayed[0]  # type: ignore[index]


@pytest.mark.parametrize("entry", rows("event log; replay == live"), ids=str)
def test_replay_is_what_the_tpm_had(entry: Entry) -> None:
    """All but PCR 10, which IMA extends after the firmware's log ended."""
    live = json.loads(read(entry.path.replace(".eventlog.bin", ".pcrs.json")))
    replayed = eventlog.parse(entry.read(), registers=PCRS).replay("sha256")
    found = {number: replayed.get(int(number), bytes(32)).hex() for number in live}
    assert {number for number in live if found[number] != live[number]} == {"10"}


@pytest.mark.parametrize("entry", rows("event log; replay"), ids=str)
def test_records_that_lie_are_refused(entry: Entry) -> None:
    """A text changed under the digest that it has to hold; the replay alone would not see it."""
    data = entry.read()
    log = eventlog.parse(data, registers=PCRS)
    variable = next(one for one in log.events if one.type == events.EV_EFI_VARIABLE_DRIVER_CONFIG)
    at = data.index(variable.data)
    changed = eventlog.parse(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :], registers=PCRS)
    assert changed.replay("sha256") == log.replay("sha256")
    with pytest.raises(Refused) as caught:
        events.require_honest(changed, "sha256")
    assert caught.value.field == variable.field


@pytest.mark.parametrize("entry", rows("event log; replay"), ids=str)
def test_a_log_cut_off_is_refused_or_replays_to_something_else(entry: Entry) -> None:
    data = entry.read()
    whole = eventlog.parse(data, registers=PCRS)
    for length in range(len(data)):
        try:
            found = eventlog.parse(data[:length], registers=PCRS)
        except Refused:
            continue
        assert found.events == whole.events[: len(found.events)]
        assert len(found.events) < len(whole.events)


@pytest.mark.parametrize("entry", rows("parser must refuse"), ids=str)
def test_a_log_of_sha1_alone_is_refused(entry: Entry) -> None:
    with pytest.raises(Refused, match="SHA-1"):
        eventlog.parse(entry.read(), registers=PCRS)


@pytest.mark.parametrize("entry", rows("TPMS_ATTEST only"), ids=str)
def test_a_bare_quote_parses_and_says_nothing(entry: Entry) -> None:
    quote = parse_quote(entry.read())
    wanted = dict(re.findall(r"'(\w+)': '?(\w+)'?", entry.fields))
    assert quote.signer.hex() == wanted["signer"]
    assert quote.extra_data.hex() == wanted["extra"]
    assert quote.pcr_digest.hex() == wanted["digest"]
    assert (quote.clock, quote.reset_count, quote.restart_count) == (
        int(wanted["clock"]),
        int(wanted["reset"]),
        int(wanted["restart"]),
    )
    assert quote.firmware == int(wanted["fw"])
    assert [(one.bank.name, one.pcrs) for one in quote.selections] == [("sha256", (0, 1, 2))]
    with pytest.raises(Refused) as caught:
        registry.authenticate("tpm", entry.read(), NOTHING, None, NOW)
    assert caught.value.field == "signature"


@pytest.mark.parametrize("entry", rows("VALID RSASSA"), ids=str)
def test_quote(entry: Entry) -> None:
    said = registry.authenticate("tpm", entry.read(), NOTHING, None, NOW)
    quote = said.facts.fields["quote"]
    assert isinstance(quote, dict)
    assert f"reset={quote['reset_count']} restart={quote['restart_count']}" in entry.fields
    assert quote["selections"] == [{"bank": "sha256", "pcrs": tuple(PCRS)}]
    assert len(said.facts.measurements) == 24
    assert any("no CA vouches" in note for note in said.facts.notes)
    expected: dict[str, Any] = {
        "measurements": {name: [value.hex()] for name, value in said.facts.measurements.items()},
        "nonce": said.facts.report_data.hex(),
    }
    known = policy.make({**expected, "identities": [said.facts.identity.hex()]})
    registry.verify("tpm", entry.read(), NOTHING, known, NOW)
    with pytest.raises(Refused) as caught:
        registry.verify("tpm", entry.read(), NOTHING, policy.make({**expected, "not_compared": ["identities"]}), NOW)
    assert caught.value.field == "ak"
    good = {**expected, "identities": [said.facts.identity.hex()]}
    other = {**expected["measurements"], "pcr4": ["11" * 32]}
    changes: dict[str, dict[str, Any]] = {
        "report_data": {"nonce": "00"},
        "identity": {"identities": ["00"]},
        "measurements.pcr4": {"measurements": other},
        "policy.measurements.pcr7": {"measurements": {"pcr4": other["pcr5"]}},
    }
    for field, changed in changes.items():
        with pytest.raises(Refused) as caught:
            registry.verify("tpm", entry.read(), NOTHING, policy.make({**good, **changed}), NOW)
        assert caught.value.field == field


def test_a_quote_of_sha1_is_refused() -> None:
    """A Windows VM of 2019, whose only quote is signed and banked by SHA-1: its AK is read, quote and log are refused."""
    whole = json.loads(read("tpm/goattestation-windows_gcp_shielded_vm.json"))
    quote, log = base64.b64decode(whole["Quote"]["Quote"]), base64.b64decode(whole["Log"]["Raw"])
    documents = {
        "signature": base64.b64decode(whole["Quote"]["Signature"]),
        "ak_public": base64.b64decode(whole["AK"]["Public"]),
        "pcrs": json.dumps(
            {"sha1": {one["Index"]: base64.b64decode(one["Digest"]).hex() for one in whole["Log"]["PCRs"]}}
        ).encode(),
    }
    assert tpm_quote.key_of(documents["ak_public"], "ak").spki_sha256
    with pytest.raises(Refused, match="sha1") as caught:
        registry.authenticate("tpm", quote, Collateral(documents=documents), None, NOW)
    assert caught.value.field == "quote.selections.hash"
    with pytest.raises(Refused, match="SHA-1"):
        eventlog.parse(log, registers=PCRS)


def test_flip_of_any_byte_of_a_quote() -> None:
    """Message, signature and every quoted PCR; all of them are bound, so none may flip."""
    whole = json.loads(read(QUOTE))
    message, signature = (base64.b64decode(whole["tpm_quote"][name]) for name in ("message", "signature"))
    ak = base64.b64decode(whole["ak_public"])
    pcrs = json.dumps(whole["tpm_quote"]["pcrs"]).encode()
    documents = {"signature": signature, "ak_public": ak, "pcrs": pcrs}
    registry.authenticate("tpm", message, Collateral(documents=documents), None, NOW)

    def verifier(name: str) -> Callable[[bytes], object]:
        """Takes one part in place of its own."""

        def verify(part: bytes) -> object:
            changed = documents if name == "message" else {**documents, name: part}
            evidence = part if name == "message" else message
            return registry.authenticate("tpm", evidence, Collateral(documents=changed), None, NOW)

        return verify

    # Of the key only the identity depends, which the policy compares; a key changed does not verify the signature.
    for name, data in (("message", message), ("signature", signature), ("ak_public", ak)):
        assert not taken(data, verifier(name)), name
        assert not cuts_taken(data, verifier(name)), name
        assert refuses(verifier(name), data + b"\0"), name
    assert not _pcrs_taken([bytes.fromhex(one) for one in whole["tpm_quote"]["pcrs"]], verifier("pcrs"))


def _pcrs_taken(values: list[bytes], verify: Callable[[bytes], object], bank: str = "sha256") -> list[int]:
    """Places in all PCRs, one behind the other, whose flip is not refused."""
    size = len(values[0])
    return taken(
        b"".join(values),
        lambda data: verify(
            json.dumps(
                {bank: {str(number): data[number * size :][:size].hex() for number in range(len(values))}}
            ).encode()
        ),
    )


def test_names_of_keys() -> None:
    whole = json.loads(read(QUOTE))
    key = tpm_quote.key_of(base64.b64decode(whole["ak_public"]), "ak")
    said = registry.authenticate("tpm", read(QUOTE), NOTHING, None, NOW)
    assert said.facts.identity == key.spki_sha256


def _messages(data: bytes) -> list[tuple[int, Any]]:
    """Fields of a protobuf message: number, and an integer or bytes."""
    found: list[tuple[int, Any]] = []
    at = 0

    def varint() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    while at < len(data):
        tag = varint()
        size = varint()
        if tag & 7 == 2:
            found.append((tag >> 3, data[at : at + size]))
            at += size
        else:
            found.append((tag >> 3, size))
    return found


def _all_of(data: bytes, number: int) -> list[Any]:
    return [value for found, value in _messages(data) if found == number]


def _with_signature(verify: Callable[..., object], message: bytes, signature: bytes) -> object:
    return verify(message, signature=signature)


def _with_pcrs(verify: Callable[..., object], message: bytes, pcrs: bytes) -> object:
    return verify(message, pcrs=pcrs)


@pytest.mark.parametrize("entry", rows("go-tpm-tools"), ids=str)
def test_a_whole_attestation_of_a_cloud(entry: Entry) -> None:
    """AK as TPMT_PUBLIC, a quote in each bank and the log (attest.proto: ak_pub 1, quotes 2, event_log 3)."""
    data = entry.read()
    area, log = _all_of(data, 1)[0], _all_of(data, 3)[0]
    nonce = bytes.fromhex("9009") if "nonce9009" in entry.path else None
    told = []
    for quote in _all_of(data, 2):
        message, signature, pcrs = (_all_of(quote, number)[0] for number in (1, 2, 3))
        bank = {4: "sha1", 11: "sha256", 12: "sha384"}[_all_of(pcrs, 1)[0]]
        values = {}
        for one in _all_of(pcrs, 2):
            pair = dict(_messages(one))
            values[str(pair.get(1, 0))] = pair[2].hex()
        documents = {
            "signature": signature,
            "ak_public": area,
            "event_log": log,
            "pcrs": json.dumps({bank: values}).encode(),
        }
        if bank == "sha1":
            with pytest.raises(Refused):
                registry.authenticate("tpm", message, Collateral(documents=documents), None, NOW)
            continue
        said = registry.authenticate("tpm", message, Collateral(documents=documents), None, NOW)
        assert nonce is None or said.facts.report_data == nonce
        told.append(bank)
        digest = eventlog.parse(log, registers=PCRS).events[-1].digests[bank]
        at = log.rindex(digest)
        flipped = {**documents, "event_log": log[:at] + bytes((log[at] ^ 1,)) + log[at + 1 :]}
        with pytest.raises(Refused):
            registry.authenticate("tpm", message, Collateral(documents=flipped), None, NOW)
        # Message, signature and PCRs are bound as in any quote, with the log or without.
        less = {name: value for name, value in documents.items() if name != "event_log"}

        def verify(evidence: bytes, **changed: bytes) -> object:
            given = Collateral(documents={**less, **changed})  # noqa: B023
            return registry.authenticate("tpm", evidence, given, None, NOW)

        verify(message)
        assert not taken(message, verify)
        assert not cuts_taken(message, verify)
        by_signature = partial(_with_signature, verify, message)
        assert not taken(signature, by_signature)
        assert not cuts_taken(signature, by_signature)
        quoted = [bytes.fromhex(values[str(number)]) for number in range(24)]
        assert not _pcrs_taken(quoted, partial(_with_pcrs, verify, message), bank)
        # PCR 10 is IMA's: the log alone does not lead to it, so its value has to be given.
        less = {name: value for name, value in documents.items() if name != "pcrs"}
        with pytest.raises(Refused) as caught:
            registry.authenticate("tpm", message, Collateral(documents=less), None, NOW)
        assert caught.value.field == "quote.pcr_digest"
    assert "sha256" in told
