"""Real NVIDIA evidence, chains and manifests: each gives what the index says, and no signed byte may change."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime

import pytest

from strongroom.attest import certificates, nvidia_evidence, nvidia_rim, policy, registry
from strongroom.attest.base import Facts, Refused, Verified
from strongroom.attest.collateral import NOTHING, Collateral
from tests.corpus.damage import cuts_taken, flips, taken
from tests.corpus.index import EVIDENCE, WHY_NOT, Entry, entries, read

pytestmark = pytest.mark.skipif(not EVIDENCE.is_dir(), reason=WHY_NOT)
NOW = datetime(2026, 11, 24, tzinfo=UTC)
REPORT, CHAIN = "nvidia/trustee-hopperAttestationReport.txt", "nvidia/trustee-hopper_cert_chain_case1.txt"
COCO, COCO_CHAIN = "nvidia/trustee-hopper_coco_report1.txt", "nvidia/trustee-hopper_coco_certs1.txt"
GOOD_RIM = "nvidia/nvsdk-NV_GPU_DRIVER_GH100_550.144.03.xml"

# What the index says in words, in code: files of evidence, chains that are whole or not, manifests.
PACKED = [vector for vector in entries("nvidia") if "SPDM" in vector.verdict or "signature+chain" in vector.verdict]
PARTIAL = {
    "nvidia/trustee-hopper_cert_chain_case2.txt": "is not given",  # the root alone
    "nvidia/trustee-hopper_cert_chain_case3.txt": "Provisioner ICA 1 is given",  # one of the middle is missing
    "nvidia/trustee-hopper_cert_chain_case4.txt": "is not given",  # the leaf is missing
    "nvidia/trustee-hopper_signing_cert.pem": "GSP BROM is given",  # the leaf alone
}
RIMS = {
    GOOD_RIM: None,
    "nvidia/nvsdk-NV_GPU_DRIVER_GH100_570.124.03_expired.xml": "is valid 2025-01-01",
    "nvidia/nvsdk-incorrect_cert_chain_driver_rim.xml": "Debug Only is given",
    "nvidia/nvsdk-incorrect_signature_driver_rim.xml": "does not verify",
}
NO_EVIDENCE_AT_ALL = "nvidia/dstack-gpu_attestation_h100.json"
# Rows whose words are not what the file is.
DISPUTED = {
    NO_EVIDENCE_AT_ALL: "not evidence or a chain from trustee: claims of a verifier of dstack's, JWTs without a signature",
    COCO: "the report has one byte more than its own lengths say, behind the signature; it is refused for that byte",
    "nvidia/nvsdk-NV_GPU_DRIVER_GH100_570.124.03_expired.xml": (
        "expired as its name says, and within its one day the document is not what was digested either"
    ),
}


def authentic(evidence: bytes, *chains: bytes) -> Facts:
    return registry.authenticate("nvidia", evidence, Collateral(chains), None, NOW).facts


def test_every_row_is_tested() -> None:
    known = {*(vector.path for vector in PACKED), *PARTIAL, *RIMS, NO_EVIDENCE_AT_ALL, REPORT, CHAIN, COCO, COCO_CHAIN}
    assert {vector.path for vector in entries("nvidia")} == known


@pytest.mark.parametrize("vector", PACKED, ids=str)
def test_evidence_with_its_chain(vector: Entry) -> None:
    facts = authentic(vector.read())
    wanted = dict(pair.split("=") for pair in vector.fields.split())
    assert facts.report_data.hex() == wanted["nonce"]
    devices = facts.fields["devices"]
    assert isinstance(devices, list)
    assert len(devices) == int(wanted["devices"])
    assert len(facts.measurements) == 64 * len(devices)
    assert {device["model"] for device in devices} == {"GH100"} == {{"HOPPER": "GH100"}[wanted["arch"]]}


@pytest.mark.parametrize("vector", PACKED, ids=str)
def test_a_policy_refuses_what_is_not_there_and_takes_what_it_names(vector: Entry) -> None:
    """For the device on certificate hold this is the refusal that the index asks for: revocation has to be known."""
    facts = authentic(vector.read())
    wanted: dict[str, object] = {"identities": [facts.identity.hex()], "nonce": facts.report_data.hex()}
    with pytest.raises(Refused, match="manifest of driver"):
        registry.verify("nvidia", vector.read(), NOTHING, policy.make(wanted), NOW)
    section: dict[str, object] = {"manifests": "when-given"}
    with pytest.raises(Refused, match="speaks of GH100 A01 GSP BROM, NVIDIA GH100 Provisioner ICA 1"):
        registry.verify("nvidia", vector.read(), NOTHING, policy.make({**wanted, "nvidia": section}), NOW)
    section["revocation"] = "when-given"
    with pytest.raises(Refused, match="neither a manifest nor the policy says"):
        registry.verify("nvidia", vector.read(), NOTHING, policy.make({**wanted, "nvidia": section}), NOW)
    section["measurements"] = {
        int(name.rpartition(".")[2]): [value.hex()] for name, value in facts.measurements.items() if any(value)
    }
    section["models"] = ["GH100"]
    full = {**wanted, "nvidia": section}
    assert isinstance(registry.verify("nvidia", vector.read(), NOTHING, policy.make(full), NOW), Verified)
    for change in ({"models": ["GB100"]}, {"devices": 2}, {"driver_versions": ["1.2"]}, {"measurements": {0: ["01"]}}):
        other = policy.make({**wanted, "nvidia": {**section, **change}})
        with pytest.raises(Refused):
            registry.verify("nvidia", vector.read(), NOTHING, other, NOW)
    with pytest.raises(Refused):
        registry.verify("nvidia", vector.read(), NOTHING, policy.make({**full, "nonce": "00" * 32}), NOW)


def test_a_report_in_hex_with_its_chain() -> None:
    facts = authentic(read(REPORT), read(CHAIN))
    assert facts.report_data.hex().startswith("931d8dd0")
    raw = bytes.fromhex(read(REPORT).decode())
    assert authentic(raw, read(CHAIN)).measurements == facts.measurements
    with pytest.raises(Refused):
        authentic(raw, read(COCO_CHAIN))


@pytest.mark.parametrize("chain", PARTIAL)
def test_a_chain_that_is_not_whole(chain: str) -> None:
    with pytest.raises(Refused, match=PARTIAL[chain]):
        authentic(read(REPORT), read(chain))


def test_a_byte_after_the_signature_is_refused() -> None:
    """The file has one byte more than its own lengths say, which nobody signed; without it the report verifies."""
    with pytest.raises(Refused, match="1 bytes follow"):
        authentic(read(COCO), read(COCO_CHAIN))
    assert authentic(bytes.fromhex(read(COCO).decode())[:-1], read(COCO_CHAIN)).report_data.hex().startswith("87d8e24a")


def test_disputed_rows_are_rows() -> None:
    assert set(DISPUTED) < {vector.path for vector in entries("nvidia")}
    with pytest.raises(Refused, match="the document's digest"):
        nvidia_rim.load(
            read(next(file for file in DISPUTED if "expired" in file)), datetime(2025, 1, 1, 12, tzinfo=UTC), "rim"
        )


def test_claims_of_another_verifier_are_no_evidence() -> None:
    with pytest.raises(Refused, match="no evidence"):
        authentic(read(NO_EVIDENCE_AT_ALL))


@pytest.mark.parametrize("file", RIMS)
def test_manifests(file: str) -> None:
    why = RIMS[file]
    if why is None:
        rim = nvidia_rim.load(read(file), NOW, "rim")
        assert (rim.version, rim.product) == ("550.144.03", "GH100")
        assert sorted(rim.allowed) == [7, *range(21, 41)]
        assert len(rim.allowed[35]) == 4
    else:
        with pytest.raises(Refused, match=why):
            nvidia_rim.load(read(file), NOW, "rim")


def test_a_manifest_of_another_version_is_refused() -> None:
    given = Collateral((read(CHAIN),), documents={"driver": read(GOOD_RIM)})
    with pytest.raises(Refused, match=r"550\.144\.03"):
        registry.authenticate("nvidia", read(REPORT), given, None, NOW)


def test_no_flip_in_a_manifest_is_taken() -> None:
    """But in what the canonical form drops: white space in tags, and base64's line breaks; the flips here hit neither.

    Every 17th letter or digit: a manifest takes milliseconds to read, and one digest covers all of it.
    """
    data = read(GOOD_RIM)
    letters = [at for at in range(data.index(b"<ds:KeyInfo>")) if data[at : at + 1].isalnum()]
    for at in letters[::17]:
        other = b"1" if data[at : at + 1] == b"0" else b"0"
        with pytest.raises(Refused):
            nvidia_rim.load(data[:at] + other + data[at + 1 :], NOW, "rim")


def transcripts() -> dict[str, tuple[bytes, bytes]]:
    """Every transcript that verifies, with its chain."""
    found = {}
    if EVIDENCE.is_dir():
        found[REPORT] = (bytes.fromhex(read(REPORT).decode()), read(CHAIN))
        found[COCO] = (bytes.fromhex(read(COCO).decode())[:-1], read(COCO_CHAIN))
    for vector in PACKED:
        (device,) = nvidia_evidence.devices(vector.read())
        assert device.chain
        found[vector.path] = (device.transcript, device.chain)
    return found


TRANSCRIPTS = transcripts()


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_no_flip_and_no_truncation_of_a_transcript_is_taken(name: str) -> None:
    """Request, response and signature: every byte of a transcript is signed, or is the signature."""
    data, chain = TRANSCRIPTS[name]
    assert authentic(data, chain)
    assert not taken(data, lambda transcript: authentic(transcript, chain))
    assert not cuts_taken(data, lambda transcript: authentic(transcript, chain))


def test_no_flip_in_a_certificate_is_taken() -> None:
    blocks = read(CHAIN).split(b"-----END CERTIFICATE-----")[:-1]
    ders = [base64.b64decode(block.partition(b"-----BEGIN CERTIFICATE-----")[2]) for block in blocks]
    raw = bytes.fromhex(read(REPORT).decode())
    for number, der in enumerate(ders):
        rest = ders[:number], ders[number + 1 :]
        assert not taken(der, lambda flipped, rest=rest: authentic(raw, *rest[0], flipped, *rest[1]))  # type: ignore[misc]


def test_json_that_lies_about_its_nonce_or_doubles_a_key() -> None:
    values = json.loads(PACKED[0].read())
    values[0]["nonce"] = "00" * 32
    with pytest.raises(Refused, match="was asked with"):
        authentic(json.dumps(values).encode())
    doubled = PACKED[0].read().replace(b'"arch"', b'"nonce":"00","arch"', 1)
    with pytest.raises(Refused):
        authentic(doubled)


def test_the_same_device_twice_is_refused() -> None:
    values = json.loads(PACKED[0].read())
    with pytest.raises(Refused, match="more than once"):
        authentic(json.dumps([*values, *values]).encode())


def test_two_devices_that_answer_two_nonces_are_refused() -> None:
    one, other = (json.loads(read(f"nvidia/nvsdk-hopper_evidence{name}.json")) for name in ("", "_cert_hold"))
    with pytest.raises(Refused, match="2 nonces"):
        authentic(json.dumps([*one, *other]).encode())


def test_two_devices() -> None:
    files = ("nvidia/nvsdk-hopper_evidence.json", "nvidia/nvsdk-evidence_hopper_590_12.json")
    both = [device for file in files for device in json.loads(read(file))]
    facts = authentic(json.dumps({"evidence_list": both}).encode())
    assert {f"nvidia.{number}.63" for number in (0, 1)} < set(facts.measurements)
    assert facts.identity not in {authentic(read(file)).identity for file in files}


def test_the_message_wrapper_is_the_same_evidence() -> None:
    (device,) = nvidia_evidence.devices(PACKED[0].read())
    assert device.chain
    text = {
        "__cmwc_t": "tag:nvidia.com,2026:evidence-item/v1",
        "evidence": ["application/vnd.nvidia.spdm-measurement-transcript", _url(device.transcript)],
        "certificate": ["application/vnd.nvidia.pem-cert-chain", _url(device.chain)],
    }
    wrapped = {"__cmwc_t": "tag:nvidia.com,2026:verifier-input", "gpu_0": text}
    assert authentic(json.dumps(wrapped).encode()).measurements == authentic(PACKED[0].read()).measurements


def _url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


# Bytes of packed evidence that nobody signed: white space, the architecture that the packer names, and the key under which
# it repeats the nonce (a nonce that is there is compared, and one that isn't is the policy's to compare), PEM's line breaks, and
# a byte that one of them becomes, beside PEM's blocks.
UNSIGNED = ("white space", '"arch"', '"nonce":', "PEM")


def test_flips_of_packed_evidence_change_nothing_or_are_refused() -> None:
    data = PACKED[0].read()
    (packed,) = nvidia_evidence.devices(data)
    assert packed.chain
    values = json.loads(data)[0]
    inside = [data.index(values[name].encode()) for name in ("certificate", "evidence")]
    long = [at for start, name in zip(inside, ("certificate", "evidence"), strict=True)
            for at in range(start, start + len(values[name]))]  # fmt: skip
    structure = sorted(set(range(len(data))) - set(long))
    changed = 0
    # What is in base64 is flipped byte by byte in the tests above; here its spelling is, of every fifth digit.
    for _, flipped in flips(data, [*structure, *long[::5]]):
        try:
            authentic(flipped)
        except Refused:
            continue
        changed += 1
        (device,) = nvidia_evidence.devices(flipped)
        assert device.transcript == packed.transcript
        assert device.chain
        assert certificates.load(device.chain) == certificates.load(packed.chain)
        assert device.nonce in (None, packed.nonce)
    print(f"{changed} flips taken, in {', '.join(UNSIGNED)}")
    assert 0 < changed < 100
