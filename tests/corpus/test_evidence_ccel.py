"""Every row of the index of kind ccel, as it is written there."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from strongroom.attest import ccel, events, policy, registry, tdx_collateral, tdx_quote
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.hashes import BY_NAME
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PAIR = ("ccel/gotdxguest-ccel_data.dat", "ccel/gotdxguest-cos-113-tdx-quote.dat")


def logs() -> list[Entry]:
    return [one for one in entries("ccel") if "replay" in one.verdict]


def test_every_row_is_looked_at() -> None:
    for one in entries("ccel"):
        # The quote's own row is among the tests of TD quotes.
        assert one in logs() or one.verdict == "auxiliary" or one.path == PAIR[1]


@pytest.mark.parametrize("entry", logs(), ids=str)
def test_logs_replay(entry: Entry) -> None:
    log = ccel.parse(entry.read())
    found = ccel.replay(log)
    assert f"events={len(log.events)} " in entry.fields
    wanted = {int(number): value for number, value in re.findall(r"RTMR(\d)=(\w+)", entry.fields)}
    assert {number: found[number].hex()[: len(value)] for number, value in wanted.items()} == wanted
    assert all(not any(found[number]) for number in range(4) if number not in wanted)
    events.require_honest(log, ccel.BANK)


@pytest.mark.parametrize("entry", logs(), ids=str)
def test_a_log_without_a_quote_is_refused(entry: Entry) -> None:
    with pytest.raises(Refused) as caught:
        registry.authenticate("ccel", entry.read(), NOTHING, None, NOW)
    assert caught.value.field == "quote"


@pytest.mark.parametrize("name", ["trustee-CCEL_data_ovmf", "trustee-CCEL_data_grub_gke"])
def test_another_parser_reads_the_same(name: str) -> None:
    """Digests, in order, as the expected output beside the log has them."""
    expected = json.loads(read(f"ccel/{name}_out.json"))["uefi_event_logs"]
    log = ccel.parse(read(f"ccel/{name}"))
    wanted = [one["digests"][0]["digest"] for one in expected]
    found = [event.digests[ccel.BANK].hex() for event in log.events]
    assert [one for one in found if one in wanted] == [one for one in wanted if one in found]
    assert len(set(wanted) - set(found)) <= 1  # the log's first record, which is no record here


def test_the_pair() -> None:
    """The log leads to the RTMRs of its quote; any of its digests changed, or another log, does not."""
    data, quote = read(PAIR[0]), tdx_quote.parse(read(PAIR[1]))
    log = ccel.parse(data)
    ccel.explain(log, quote.report.rtmrs)
    for event in log.events:
        at = data.index(event.digests[ccel.BANK])
        changed = ccel.parse(data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :])
        with pytest.raises(Refused):
            ccel.explain(changed, quote.report.rtmrs)
    for entry in logs():
        if entry.path != PAIR[0]:
            with pytest.raises(Refused):
                ccel.explain(ccel.parse(entry.read()), quote.report.rtmrs)


def test_the_table_says_how_long_the_log_is() -> None:
    """The ACPI table CCEL that announces it: length at 4, a checksum over all of it, type 2 (TDX), length and address."""
    table = read("ccel/gotdxguest-ccel_table.dat")
    assert (table[:4], int.from_bytes(table[4:8], "little"), sum(table) % 256) == (b"CCEL", len(table), 0)
    assert (table[36], int.from_bytes(table[40:48], "little")) == (2, len(read(PAIR[0])))


def test_the_nonce_of_the_pair() -> None:
    """What the quote was asked to cover, as a file beside it."""
    assert tdx_quote.parse(read(PAIR[1])).report.report_data == read("ccel/gotdxguest-nonce.dat")


def test_the_pair_needs_its_collateral() -> None:
    with pytest.raises(Refused) as caught:
        registry.authenticate("ccel", read(PAIR[0]), Collateral(documents={"quote": read(PAIR[1])}), None, NOW)
    assert caught.value.field == "root_crl"


def test_a_log_that_is_another_boots_is_refused() -> None:
    """A genuine quote, in date, and a log that does not lead to its RTMRs."""
    bundle = tdx_collateral.from_bundle(read("tdx/dcapqvl-tdx_quote_collateral.json"))
    documents = {**bundle.documents, "quote": read("tdx/dcapqvl-tdx_quote")}
    collateral = Collateral(bundle.certificates, bundle.crls, documents)
    with pytest.raises(Refused) as caught:
        registry.authenticate("ccel", read(PAIR[0]), collateral, None, datetime(2025, 6, 25, tzinfo=UTC))
    assert caught.value.field == "event_log.rtmr0"
    wanted = policy.make({"ccel": {"beyond_log": [0, 1, 2, 3]}})
    said = registry.authenticate("ccel", read(PAIR[0]), collateral, wanted, datetime(2025, 6, 25, tzinfo=UTC))
    assert said.facts.kind == "ccel"
    assert [note[-40:] for note in said.facts.notes if "does not lead to RTMR 0" in note] == [
        "RTMR 0, as the policy permits (beyond_log)"[-40:]
    ]


def test_the_log_beside_a_genuine_quote() -> None:
    """A list of digests in JSON leads to the RTMRs of the quote that came with it."""
    whole = json.loads(read("tdx/dstack-quote-report.json"))
    quote = tdx_quote.parse(bytes.fromhex(whole["quote"]))
    registers = [bytes(48)] * 4
    for one in json.loads(whole["event_log"]):
        registers[one["imr"]] = BY_NAME["sha384"].extend(registers[one["imr"]], bytes.fromhex(one["digest"]))
    assert tuple(registers) == quote.report.rtmrs
