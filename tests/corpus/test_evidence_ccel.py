"""Every row of the index of kind ccel, as it is written there."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest

from strongroom.attest import ccel, events, policy, registry, tdx_collateral, tdx_quote
from strongroom.attest.base import Refused
from strongroom.attest.collateral import NOTHING, Collateral
from strongroom.attest.eventlog import EventLog
from strongroom.attest.hashes import BY_NAME
from tests.corpus.damage import taken
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
# Types whose data the digest holds, by the type's definition; no other record's data are believed.
MEASURED = (
    events.EV_SEPARATOR, events.EV_EFI_ACTION, events.EV_EFI_VARIABLE_DRIVER_CONFIG, events.EV_EFI_VARIABLE_BOOT,
    events.EV_EFI_VARIABLE_BOOT2,
)  # fmt: skip
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


def trimmed(data: bytes) -> bytes:
    """A log with little of what its area is filled up with: 64 bytes behind its last record."""
    end = 32 + int.from_bytes(data[28:32], "little")
    for event in ccel.parse(data).events:
        end += 12 + sum(2 + len(digest) for digest in event.digests.values()) + 4 + len(event.data)
    return data[: end + 64]


def places(data: bytes, log: EventLog) -> tuple[list[int], set[int]]:
    """Where a log's records hold something but their data, and the bytes of all of it that nothing measures.

    Nothing measures the header's register, version and vendor's words, any record's type, the data of a record whose digest holds
    something else by its type, all of a record that is not extended but its lengths, and a boot variable's vendor and name
    where the firmware measures its value alone.
    """
    header = 32 + int.from_bytes(data[28:32], "little")
    vendor = 60 + 4 * int.from_bytes(data[56:60], "little") + 1
    structure, free, at = list(range(header)), {*range(4), *range(48, 56), *range(vendor, header)}, header
    for event in log.events:
        digests = sum(2 + len(digest) for digest in event.digests.values())
        start = at + 12 + digests + 4
        end = start + len(event.data)
        assert data[start:end] == event.data
        structure += range(at, start)
        free |= set(range(at + 4, at + 8))
        if not event.extends:
            free |= {*range(at, at + 4), *range(at + 12, at + 12 + digests)}
        if not event.extends or event.type not in MEASURED:
            free |= set(range(start, end))
            if event is log.events[-1]:  # what it does not take is the area's filling, and the other way round
                free |= set(range(start - 4, start))
        elif events.holds(event, ccel.BANK) is events.Holds.VALUE:
            value = end - len(events.variable(event).value)
            free |= {*range(start, start + 16), *range(start + 32, value)}
        at = end
    return [*structure, *range(at, len(data))], free


@pytest.mark.parametrize("entry", logs(), ids=str)
def test_no_flip_of_what_is_measured_is_taken(entry: Entry) -> None:
    """Every byte of all records but their data; of the data every fifth, for one digest covers them or nothing does."""
    data = trimmed(entry.read())
    log = ccel.parse(data)
    rtmrs = ccel.replay(log)
    structure, free = places(data, log)
    rest = sorted(set(range(len(data))) - set(structure))
    found = set(taken(data, lambda changed: ccel.explain(ccel.parse(changed), rtmrs), [*structure, *rest[::5]]))
    print(f"{len(structure)} + {len(rest[::5])} flips, {len(found)} taken where nothing is measured")
    assert found <= free


@pytest.mark.parametrize("entry", logs(), ids=str)
def test_a_log_cut_off_does_not_lead_to_its_registers(entry: Entry) -> None:
    """Every third length; a shorter log that is one lacks records, and none is lacking behind the last that extends."""
    data = trimmed(entry.read())
    log = ccel.parse(data)
    rtmrs, end = ccel.replay(log), len(data) - 64
    last = max(at for at, event in enumerate(log.events) if event.extends)
    for length in [*range(0, end, 3), *range(end - 40, end)]:
        try:
            found = ccel.parse(data[:length])
            ccel.explain(found, rtmrs)
        except Refused:
            continue
        assert found.events == log.events[: len(found.events)]
        assert len(found.events) > last


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
