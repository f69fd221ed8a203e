"""What we compute, against real numbers: launch digests that others published, registers and logs of real boots."""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from typing import NamedTuple

import pytest

from strongroom.measure import ovmf, pcr, registers, snp, tdx, vmsa
from tests.corpus.index import EVIDENCE, WHY_NOT, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
SUFFIX = "other/virtee-ovmf_AmdSev_suffix.bin"  # the last 4 KiB of an OVMF image of OvmfPkg/AmdSev
# Published for this file by virtee's sev-snp-measure (tests/test_guest.py) and sev (tests/measurement.rs): the digest of
# its pages, and launch digests of one vCPU of EPYC-v4 with an empty kernel and initrd.
PAGES = "086e2e9149ebf45abdc3445fba5b2da8270bdbb04094d7a2c37faaa4b24af3aa16aff8c374c2a55c467a50da6d466b74"
LAUNCHES = {
    (0x01, ""): "ddc5224521617a536ee7ce9dd6224d1b58a8d4fda1c741f3ac99fc4bfa04ba6e9fc98646d4a07a9079397fa3852819b5",
    (0x21, ""): "329c8ce0972ae52343b64d34a434a86f245dfd74f5ed7aae15d22efc78fb9683632b9b50e4e1d7fa41179ef98a7ef198",
    (0x01, "console=ttyS0 loglevel=7"): (
        "6d287813eb5222d770f75005c664e34c204f385ce832cc2ce7d0d6f354454362f390ef83a92046c042e706363b4b08fa"
    ),
    (0x21, "console=ttyS0 loglevel=7"): (
        "803f691094946e42068aaa3a8f9e26a5c89f36f7b73ecfb28c653360fe4b3aba7e534442e7e1e17895dfe778d0228977"
    ),
}
BOOTS = {"direct": 1, "sdboot": 2}  # own boots of one unified kernel image, with the number of images that PCR 4 has
IPL, ACTION, APPLICATION, TAG, GPT = 0xD, 0x80000007, 0x80000003, 0x6, 0x80000006


class Event(NamedTuple):
    """One entry of an event log."""

    register: int
    type: int
    digest: bytes
    data: bytes


def log(file: str, algorithm: int, sizes: dict[int, int]) -> Iterator[Event]:
    """Entries with their digest of that algorithm (TCG identifier); enough of a parser for logs known to be good."""
    data = read(file)
    position = 32 + struct.unpack_from("<I", data, 28)[0]
    while position + 12 < len(data):
        register, form, count = struct.unpack_from("<III", data, position)
        if not 0 < count < 6 or register > 24:
            return
        position += 12
        digests = {}
        for _ in range(count):
            number = struct.unpack_from("<H", data, position)[0]
            digests[number] = data[position + 2 : position + 2 + sizes[number]]
            position += 2 + sizes[number]
        size = struct.unpack_from("<I", data, position)[0]
        yield Event(register, form, digests[algorithm], data[position + 4 : position + 4 + size])
        position += 4 + size


def boot(name: str) -> tuple[list[Event], dict[str, bytes]]:
    events = list(log(f"tpm/own-ovmf2022-stub262-{name}.eventlog.bin", 0xB, {4: 20, 0xB: 32, 0xC: 48, 0xD: 64}))
    live = json.loads(read(f"tpm/own-ovmf2022-stub262-{name}.pcrs.json"))
    return events, {f"pcr{number}": bytes.fromhex(value) for number, value in live.items()}


@pytest.mark.parametrize(("features", "cmdline"), LAUNCHES)
def test_published_launch_digests(features: int, cmdline: str) -> None:
    firmware = ovmf.parse(read(SUFFIX))
    assert snp.firmware_digest(firmware).hex() == PAGES
    digest = snp.launch_digest(
        firmware,
        vcpus=1,
        signature=vmsa.signature("EPYC-v4"),
        features=features,
        boot=snp.DirectBoot(b"", b"", cmdline),
    )
    assert digest.hex() == LAUNCHES[features, cmdline]


@pytest.mark.parametrize("name", BOOTS)
def test_pcr7_and_pcr12_are_those_of_a_real_boot(name: str) -> None:
    _, live = boot(name)
    assert pcr.pcr7() == live["pcr7"]
    assert pcr.pcr12() == live["pcr12"]


@pytest.mark.parametrize("name", BOOTS)
def test_pcr4_is_that_of_a_real_boot_with_one_failed_attempt(name: str) -> None:
    """The images are not at hand, their digests are in the log; everything else of the register is ours."""
    events, live = boot(name)
    images = [event.digest for event in events if event.register == 4 and event.type == APPLICATION]
    assert len(images) == BOOTS[name]
    values = [registers.extend("sha256", [*registers.boot_events("sha256", failed=n), *images]) for n in range(3)]
    assert values.index(live["pcr4"]) == 1


@pytest.mark.parametrize("name", BOOTS)
def test_pcr11_measures_names_in_our_order(name: str) -> None:
    events, live = boot(name)
    measured = [event for event in events if event.register == 11]
    names = [event.data.decode("utf-16-le").rstrip("\0") for event in measured[::2]]
    assert names == [section for section in registers.MEASURED if section in names]
    assert [event.digest for event in measured[::2]] == [
        hashlib.sha256(section.encode() + b"\0").digest() for section in names
    ]
    assert registers.extend("sha256", [event.digest for event in measured]) == live["pcr11"]


@pytest.mark.parametrize("name", BOOTS)
def test_pcr9_is_command_line_then_initrd(name: str) -> None:
    events, live = boot(name)
    measured = [event for event in events if event.register == 9]
    assert [event.type for event in measured] == [TAG, TAG]
    assert [b"LoadOptions" in event.data for event in measured] == [True, False]
    assert registers.extend("sha256", [event.digest for event in measured]) == live["pcr9"]


@pytest.mark.parametrize("file", ["trustee-CCEL_data_ovmf", "dstack-ccel.bin"])
def test_rtmr1_of_a_real_direct_boot(file: str) -> None:
    """A kernel that QEMU started: its image first, then ours, with the separator of later firmware or without."""
    events = [event for event in log(f"ccel/{file}", 0xC, {0xC: 48}) if event.register == 2]
    image = events[0]
    assert image.type == APPLICATION
    families = []
    for separator in (False, True):
        families.append([image.digest, *registers.boot_events("sha384", separator=separator), *tdx._exit()])
    assert [event.digest for event in events] in families


def test_a_real_partition_table() -> None:
    found = 0
    for file in ("trustee-CCEL_data_grub", "ccapi-ccel_data.bin", "gotdxguest-ccel_data.dat"):
        for event in log(f"ccel/{file}", 0xC, {0xC: 48}):
            if event.type == GPT:
                header, entries = bytearray(event.data[:92]), event.data[100:]
                header[72:80], header[80:84] = (2).to_bytes(8, "little"), (len(entries) // 128).to_bytes(4, "little")
                disk = bytes(512) + bytes(header).ljust(512, b"\0") + entries
                wanted = hashlib.sha384(bytes(header) + event.data[92:]).digest()
                assert registers.gpt_event("sha384", disk) == wanted
                assert hashlib.sha384(event.data).digest() == event.digest
                found += 1
    assert found == 3
