"""Event logs: their form, their replay, and which of their words a digest holds."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from strongroom.attest import ccel, eventlog, events
from strongroom.attest.base import Refused
from tests.forge_tpm import booted, event_log, variable

PCRS = range(24)


def refused(data: bytes) -> str:
    with pytest.raises(Refused) as caught:
        eventlog.parse(data, registers=PCRS)
    return caught.value.field


def test_replay() -> None:
    log = eventlog.parse(event_log([(1, 4, b"a", b""), (1, 4, b"b", b""), (2, 3, b"", b"note")]), registers=PCRS)
    first = hashlib.sha256(bytes(32) + hashlib.sha256(b"a").digest()).digest()
    assert log.replay("sha256") == {1: hashlib.sha256(first + hashlib.sha256(b"b").digest()).digest()}
    with pytest.raises(Refused):
        log.replay("sha384")


def test_startup_locality() -> None:
    started = (0, 3, b"", b"StartupLocality\0\3")
    log = eventlog.parse(event_log([started, (0, 8, b"a", b"")]), registers=PCRS)
    start = bytes(31) + b"\3"
    assert log.replay("sha256")[0] == hashlib.sha256(start + hashlib.sha256(b"a").digest()).digest()
    for wrong in (
        [started, started],
        [(0, 8, b"a", b""), started],
        [(1, 3, b"", started[3])],
        [(0, 3, b"", b"StartupLocality\0\1")],
        [(0, 3, b"", b"StartupLocality\0\3\0")],
        [(0, 3, b"", b"StartupLocality\0")],
    ):
        assert refused(event_log(wrong)).startswith("event_log.events")


@pytest.mark.parametrize("register", [0x01C40200, 0x01C40201, 0xFFFFFFFF])
def test_notes_that_name_no_pcr(register: int) -> None:
    """They are in a TPM's log, and extend nothing; another type, another number and a CC event log may not."""
    nv = (register, 3, b"", b"NvIndexInstance\0" + bytes(8))
    data = event_log([nv, (1, 4, b"a", b"")])
    log = eventlog.parse(data, registers=PCRS, notes=True)
    assert set(log.replay("sha256")) == {1}
    assert next(events.lines(log, "sha256"))["type"] == "EV_NO_ACTION"
    assert refused(data) == "event_log.events[0].register"
    with pytest.raises(Refused, match="register"):
        ccel.parse(event_log([nv], banks=("sha384",)))
    for wrong in ((register, 4, b"a", b""), (24, 3, b"", b""), (0x02000000, 3, b"", b""), (0xFFFFFFFE, 3, b"", b"")):
        with pytest.raises(Refused, match="allowed is 0 to 23"):
            eventlog.parse(event_log([wrong]), registers=PCRS, notes=True)
    with pytest.raises(Refused, match="startup locality"):
        eventlog.parse(event_log([(register, 3, b"", b"StartupLocality\0\3")]), registers=PCRS, notes=True)


def test_other_forms_are_refused() -> None:
    assert refused(b"") == "event_log.header.register"
    assert refused(event_log([], signature=b"Spec ID Event02\0")) == "event_log.header"
    assert refused(event_log([], banks=("sha1",))) == "event_log.header.algorithms"
    assert refused(event_log([], banks=("sha256", "sha256"))) == "event_log.header.algorithms"
    assert refused(event_log([], banks=())) == "event_log.header.algorithms"
    assert refused(event_log([(24, 4, b"", b"")])) == "event_log.events[0].register"
    assert refused(bytes(eventlog.MAX_SIZE + 1)) == "event_log"


def test_digests_have_to_be_those_of_the_header() -> None:
    data = event_log([(1, 4, b"a", b"x")], banks=("sha256", "sha384"))
    place = data.index(hashlib.sha256(b"a").digest()) - 2
    assert refused(data[:place] + b"\x0c" + data[place + 1 :]).startswith("event_log.events[0]")
    assert refused(data[: place - 4] + b"\1" + data[place - 3 :]) == "event_log.events[0].digests"


@pytest.mark.parametrize("filling", [b"\0", b"\xff"])
def test_the_unused_part_of_the_area(filling: bytes) -> None:
    data = event_log([(1, 4, b"a", b"x")])
    assert len(eventlog.parse(data + filling * 5000, registers=PCRS).events) == 1
    refused(data + filling * 5000 + b"\1")


def test_truncation_at_every_length() -> None:
    """A log that ends with a record is a log; every other cut is refused."""
    data = event_log([(1, 4, b"a", b"xy"), (2, 0xD, b"b", b"z")])
    fine = 0
    for length in range(len(data)):
        try:
            found = eventlog.parse(data[:length], registers=PCRS)
        except Refused:
            continue
        fine += 1
        assert len(found.events) < 2
    assert fine == 2


@pytest.mark.parametrize(
    ("kind", "measured", "data", "honest"),
    [
        (events.EV_SEPARATOR, bytes(4), bytes(4), True),
        (events.EV_SEPARATOR, b"\xff" * 4, bytes(4), False),
        (events.EV_EFI_ACTION, b"Exit", b"Exit", True),
        (events.EV_EFI_ACTION, b"Exit", b"Enter", False),
        (events.EV_EFI_VARIABLE_DRIVER_CONFIG, variable("db", b"1"), variable("db", b"1"), True),
        (events.EV_EFI_VARIABLE_DRIVER_CONFIG, b"1", variable("db", b"1"), False),
        (events.EV_EFI_VARIABLE_AUTHORITY, variable("db", b"1"), variable("db", b"2"), True),
        (events.EV_EFI_VARIABLE_BOOT, b"1", variable("Boot0000", b"1"), True),
        (events.EV_EFI_VARIABLE_BOOT2, variable("Boot0000", b"1"), variable("Boot0000", b"1"), True),
        (events.EV_EFI_VARIABLE_BOOT, b"1", variable("Boot0000", b"2"), False),
        (events.EV_EFI_VARIABLE_BOOT, b"1", b"short", False),
        (0x0000000D, b"kernel", b"whatever the host says", True),
    ],
)
def test_records_have_to_be_what_was_measured(kind: int, measured: bytes, data: bytes, honest: bool) -> None:
    log = eventlog.parse(event_log([(7, kind, measured, data)]), registers=PCRS)
    if honest:
        events.require_honest(log, "sha256")
    else:
        with pytest.raises(Refused) as caught:
            events.require_honest(log, "sha256")
        assert caught.value.field == "event_log.events[0]"


ON, OFF, UNSET = (variable("SecureBoot", value) for value in (b"\1", b"\0", b""))
END = bytes(4)


@pytest.mark.parametrize(
    ("measured", "wanted"),
    [
        ([ON, END], True),
        ([b"another", ON, END], True),
        ([OFF, END], False),
        ([UNSET, END], False),
        ([ON, OFF, END], False),
        ([OFF, END, ON], False),
        ([END, ON], None),
        ([END], None),
        ([ON], None),
        ([], None),
    ],
)
def test_secure_boot_is_what_the_firmware_measured(measured: list[bytes], wanted: bool | None) -> None:
    """By digests alone, and before the separator: types and texts of records are the host's words."""
    records = [(7, 0x0000000D, value, b"whatever the host says") for value in measured]
    records.insert(0, (5, events.EV_EFI_VARIABLE_DRIVER_CONFIG, ON, ON))
    log = eventlog.parse(event_log(records), registers=PCRS)
    assert events.secure_boot(log, 7, "sha256") is wanted
    assert events.secure_boot(log, 7, "sha1") is wanted


def test_a_cc_log() -> None:
    records = [(1, 4, bytes(4), bytes(4)), (4, 0xD, b"x", b"y"), (0, 3, b"", b"note")]
    log = ccel.parse(event_log(records, banks=("sha384",)) + b"\xff" * 100)
    rtmrs = ccel.replay(log)
    assert [any(one) for one in rtmrs] == [True, False, False, True]
    ccel.explain(log, rtmrs)
    other = (*rtmrs[:3], bytes(48))
    with pytest.raises(Refused) as caught:
        ccel.explain(log, other)
    assert caught.value.field == "event_log.rtmr3"
    ccel.explain(log, other, (3,))
    for wrong in (
        event_log([(0, 4, bytes(4), bytes(4))], banks=("sha384",)),
        event_log([(5, 4, bytes(4), bytes(4))], banks=("sha384",)),
        event_log(records, banks=("sha256",)),
    ):
        with pytest.raises(Refused):
            ccel.parse(wrong)


@given(st.binary(max_size=400), st.integers(0, 400))
def test_bytes_that_are_no_log(tail: bytes, keep: int) -> None:
    data = event_log([(1, 4, b"a", b"xy"), (2, 0xD, b"b", b"z")])[:keep] + tail
    try:
        log = eventlog.parse(data, registers=PCRS)
    except Refused:
        return
    list(events.lines(log, "sha256"))


@given(st.data())
def test_a_flip_shows_in_the_replay_or_in_a_claim(data: st.DataObject) -> None:
    """Whatever bit changes: it is refused, changes the replay, or was never more than the host's words."""
    whole = booted(20).log
    log = eventlog.parse(whole, registers=PCRS)
    place = data.draw(st.integers(0, 8 * len(whole) - 1))
    flipped = bytearray(whole)
    flipped[place // 8] ^= 1 << place % 8
    try:
        found = eventlog.parse(bytes(flipped), registers=PCRS)
        events.require_honest(found, "sha256")
    except Refused:
        return
    if found.replay("sha256") == log.replay("sha256"):
        extended = [[one for one in each.events if one.extends] for each in (log, found)]
        for one, other in zip(*extended, strict=True):
            assert (one.register, one.digests["sha256"]) == (other.register, other.digests["sha256"])
        assert events.secure_boot(found, 7, "sha256") is True
