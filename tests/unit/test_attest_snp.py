"""SEV-SNP reports of machines that no capture shows: Turin, VLEK, lists, and every line of the policy."""

from __future__ import annotations

import base64
import json
from dataclasses import replace
from datetime import timedelta
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strongroom.attest import policy, registry, snp_forms, snp_report
from strongroom.attest.amd import PRODUCTS
from strongroom.attest.base import Authentic, Refused, Verified
from strongroom.attest.collateral import Collateral
from strongroom.errors import ConfigError
from tests.unit import amd_pki
from tests.unit.amd_pki import CHIP, NOW, Machine, number, text

MILAN = Machine()
TURIN = Machine(PRODUCTS["Turin"], tcb={"fmc": 1, "bootloader": 2, "tee": 3, "snp": 4, "microcode": 75})
GENOA_VLEK = Machine(PRODUCTS["Genoa"], role="VLEK")
FLOOR = {"bootloader": 4, "snp": 23}


@pytest.fixture(autouse=True)
def _own_roots(monkeypatch: pytest.MonkeyPatch) -> None:
    amd_pki.install(monkeypatch)


def authentic(report: bytes, collateral: Collateral, wanted: policy.Policy | None = None) -> Authentic:
    return registry.authenticate("snp", report, collateral, wanted, NOW)


def refused(report: bytes, collateral: Collateral, field: str, wanted: policy.Policy | None = None) -> str:
    with pytest.raises(Refused) as caught:
        registry.verify("snp", report, collateral, wanted, NOW) if wanted else authentic(report, collateral)
    assert caught.value.field == field, caught.value
    return caught.value.reason


def asking(machine: Machine = MILAN, **snp: Any) -> policy.Policy:
    common = {name: snp.pop(name) for name in list(snp) if name in policy.Policy.model_fields}
    floors = {"Milan": FLOOR, "Turin": {"fmc": 1, "microcode": 70}, "Genoa": {}}
    return policy.make(
        {
            "measurements": {"measurement": ["02" * 48]},
            "identities": [machine.hwid.hex()],
            "report_data": "01" * 64,
            "snp": {"minimum_tcb": floors, **snp},
            **common,
        }
    )


@pytest.mark.parametrize("machine", [MILAN, TURIN, GENOA_VLEK, Machine(PRODUCTS["Genoa"], wrapped_hwid=True)])
def test_a_machine_of_every_product_is_verified(machine: Machine) -> None:
    said = registry.verify(
        "snp", machine.report(), machine.collateral(), asking(machine, csp_ids=["CN=cc-example.org"]), NOW
    )
    assert isinstance(said, Verified)
    assert said.facts.identity == machine.hwid
    assert said.facts.detail[0].tcb("reported_tcb", machine.product).items() >= machine.tcb.items()


@pytest.mark.parametrize("version", [0, 1, 6, 0x01000002])
def test_other_versions_are_refused(version: int) -> None:
    refused(MILAN.report(version=version), MILAN.collateral(), "report.version")


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_versions_2_to_5_are_read(version: int) -> None:
    fields = {"cpuid_family": 0} if version == 2 else {}
    authentic(MILAN.report(version=version, **fields), MILAN.collateral())


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"policy": 0x0A0000}, "report.policy.debug"),
        ({"policy": 0x000000}, "report.policy"),
        ({"policy": 0x20000 | 1 << 40}, "report.policy"),
        ({"vmpl": 0xFFFFFFFF}, "report.vmpl"),
        ({"vmpl": 4}, "report.vmpl"),
        ({"signature_algorithm": 2}, "report.signature_algorithm"),
        ({"signer": 7 << 2}, "report.signer.key"),
        ({"signer": 3 << 2}, "report.signer.key"),
        ({"signer": 2}, "report.signer.chip_key_masked"),
        ({"signer": 1 << 5}, "report.signer"),
        ({"signer": 1 << 2}, "certificate"),
        ({"chip_id": bytes(1) + CHIP[1:]}, "certificate.hwid"),
        ({"reported_tcb": bytes((3, 0, 0, 0, 0, 0, 200, 213))}, "certificate.tcb.bootloader"),
        ({"reported_tcb": bytes((4, 0, 1, 0, 0, 0, 200, 213))}, "certificate.tcb.spl4"),
        ({"committed_tcb": bytes((4, 0, 0, 0, 0, 0, 201, 213))}, "report.committed_tcb.snp"),
        ({"current_tcb": bytes((4, 0, 0, 0, 0, 0, 199, 213))}, "report.reported_tcb.snp"),
        ({"committed": bytes((41, 55, 1, 0))}, "report.committed"),
        ({"cpuid_family": 0x1A}, "report.cpuid.family"),
    ],
)
def test_a_genuine_signature_is_not_enough(fields: dict[str, Any], field: str) -> None:
    refused(MILAN.report(**fields), MILAN.collateral(), field)


def test_turins_chip_id_ends_after_8_bytes() -> None:
    refused(TURIN.report(chip_id=CHIP), TURIN.collateral(), "report.chip_id")
    aliased = asking(TURIN, identities=[(TURIN.hwid + bytes(56)).hex()])
    assert isinstance(registry.verify("snp", TURIN.report(), TURIN.collateral(), aliased, NOW), Verified)


@pytest.mark.parametrize("machine", [MILAN, TURIN])
def test_a_masked_chip_id_is_the_certificates(machine: Machine) -> None:
    """A host may mask it; the key that signed is one chip's all the same, and the policy's identities hold."""
    report = machine.report(chip_id=bytes(64))
    other = replace(machine, chip=b"\7" * 64)
    strange = amd_pki.leaf_key("strange")
    with patch.object(amd_pki, "leaf_key", lambda role: strange):
        others = other.leaf()
    for collateral in (machine.collateral(), Collateral((others, machine.leaf()))):
        said = registry.verify("snp", report, collateral, asking(machine), NOW)
        assert said.facts.identity == machine.hwid
        assert "masks its chip id" in said.facts.notes[0]
    refused(report, Collateral((others,)), "report.signature")
    refused(report, machine.collateral(), "identity", asking(other))
    padded = asking(machine, identities=[machine.hwid.ljust(64, b"\0").hex()])
    assert isinstance(registry.verify("snp", report, machine.collateral(), padded, NOW), Verified)


def test_the_issuer_decides_the_product_whatever_the_chip_is_called() -> None:
    """Siena is of Genoa's line, and a later chip of a line may have a name that nobody knows yet."""
    genoa = Machine(PRODUCTS["Genoa"])
    for name in ("Genoa", "Siena", "Bergamo-B0", "Elsewhere-A1"):
        authentic(genoa.report(), Collateral((genoa.leaf(**{"2": text(name)}),)))


@pytest.mark.parametrize(
    ("machine", "changes", "field"),
    [
        (MILAN, {"2": text("Genoa")}, "certificate.product"),
        (MILAN, {"2": b"\x0c\x05Milan"}, "certificate.product.text"),
        (MILAN, {"2": text("Mi\x1bn")}, "certificate.product"),
        (MILAN, {"3_1": b"\x02\x02\x01\x04"}, "certificate.tcb.bootloader"),
        (MILAN, {"3_1": number(4) + b"\0"}, "certificate.tcb.bootloader.end"),
        (MILAN, {"3_9": number(1)}, "certificate.tcb.fmc"),
        (MILAN, {"4": CHIP[:8]}, "certificate.hwid"),
        (MILAN, {"4": b"\x04\x3f" + CHIP}, "certificate.hwid.end"),
        (Machine(missing=("4",)), {}, "certificate.hwid"),
        (Machine(missing=("3.8",)), {}, "certificate.tcb.microcode"),
        (Machine(PRODUCTS["Turin"], tcb=TURIN.tcb, missing=("3.9",)), {}, "certificate.tcb.fmc"),
        (Machine(PRODUCTS["Genoa"], role="VLEK", missing=("5",)), {}, "certificate.csp_id"),
    ],
)
def test_a_leaf_that_says_nonsense_is_refused(machine: Machine, changes: dict[str, bytes], field: str) -> None:
    refused(machine.report(), Collateral((machine.leaf(**changes),)), field)


def test_a_vlek_signs_for_its_provider_alone() -> None:
    report, collateral = GENOA_VLEK.report(), GENOA_VLEK.collateral()
    refused(report, collateral, "certificate.csp_id", asking(GENOA_VLEK))
    refused(report, collateral, "certificate.csp_id", asking(GENOA_VLEK, csp_ids=["CN=cc-example.com"]))
    nameless = GENOA_VLEK.report(chip_id=bytes(64))
    refused(nameless, collateral, "identity", asking(GENOA_VLEK, csp_ids=["CN=cc-example.org"]))
    any_chip = asking(identities=[], not_compared=["identities"], csp_ids=["CN=cc-example.org"])
    registry.verify("snp", nameless, collateral, any_chip, NOW)


def test_the_certificates_name_does_not_make_the_role() -> None:
    """A VLEK's report with a VCEK, and the other way round."""
    vcek, vlek = Machine(PRODUCTS["Genoa"]), GENOA_VLEK
    refused(vlek.report(), vcek.collateral(), "certificate")
    refused(vcek.report(), vlek.collateral(), "certificate")
    refused(vlek.report(signer=0), vcek.collateral(), "report.signature")


@pytest.mark.parametrize(
    ("fields", "snp", "field"),
    [
        ({"policy": 0x30000}, {}, "report.policy.smt"),
        ({"policy": 0x60000}, {}, "report.policy.migration"),
        ({"policy": 0x220000}, {}, "report.policy.cxl"),
        ({"policy": 0xA0000}, {}, "report.policy.debug"),
        ({"vmpl": 1}, {}, "report.vmpl"),
        ({"vmpl": 0}, {"vmpl": [1, 2]}, "report.vmpl"),
        ({}, {"policy_requires": ["single_socket"]}, "report.policy.single_socket"),
        ({}, {"platform_requires": ["alias_check_complete"]}, "report.platform_info.alias_check_complete"),
        ({}, {"minimum_guest_svn": 1}, "report.guest_svn"),
        ({}, {"minimum_firmware": "1.55.41"}, "report.current"),
        ({"current": bytes((41, 55, 1, 0))}, {}, "report.committed_tcb"),
        ({"current_tcb": bytes((4, 0, 0, 0, 0, 0, 201, 213))}, {}, "report.committed_tcb"),
        ({"launch_tcb": bytes((3, 0, 0, 0, 0, 0, 200, 213))}, {}, "report.launch_tcb.bootloader"),
        ({}, {"minimum_tcb": {"Milan": {"microcode": 214}}}, "report.reported_tcb.microcode"),
        ({}, {"minimum_tcb": {"Genoa": {}}}, "policy.snp.minimum_tcb"),
        ({}, {"minimum_tcb": {}}, "policy.snp.minimum_tcb"),
        ({}, {"crl": True}, "crl"),
        ({"measurement": b"\3" * 48}, {}, "measurements.measurement"),
        ({"host_data": b"\3" * 32}, {}, "policy.measurements.host_data"),
        ({"report_data": b"\2" * 64}, {}, "report_data"),
        ({}, {"identities": ["00"]}, "identity"),
        ({}, {"denied_identities": [CHIP.hex()]}, "identity"),
    ],
)
def test_what_the_policy_does_not_allow_is_refused(fields: dict[str, Any], snp: dict[str, Any], field: str) -> None:
    report = MILAN.report(**fields)
    refused(report, MILAN.collateral(), field, asking(**snp))


@pytest.mark.parametrize(
    ("fields", "snp"),
    [
        ({"policy": 0x30000}, {"smt": True}),
        ({"policy": 0x60000}, {"migration": True}),
        ({"policy": 0x220000}, {"cxl": True}),
        ({"policy": 0x120000}, {"policy_requires": ["single_socket"]}),
        ({"policy": 0xA0000}, {"debug": True}),
        ({"vmpl": 1}, {"vmpl": [0, 1]}),
        ({"platform_info": 0x20}, {"platform_requires": ["alias_check_complete"]}),
        ({"current": bytes((41, 55, 1, 0))}, {"provisional_firmware": True}),
        ({"host_data": b"\3" * 32}, {"measurements": {"measurement": ["02" * 48], "host_data": ["03" * 32]}}),
        ({"host_data": b"\3" * 32}, {"not_compared": ["host_data"]}),
        ({}, {"minimum_tcb": {}, "not_compared": ["minimum_tcb"]}),
        ({}, {"minimum_firmware": "1.55.40"}),
        ({"launch_mitigations": 3, "version": 5}, {}),
        ({"reserved": b"\1\0\0\0"}, {}),
    ],
)
def test_what_it_allows_is_verified(fields: dict[str, Any], snp: dict[str, Any]) -> None:
    said = registry.verify("snp", MILAN.report(**fields), MILAN.collateral(), asking(**snp), NOW)
    assert bool(said.facts.notes) is ("debug" in snp)


def test_a_list_is_looked_at_where_it_is_given() -> None:
    report, milan = MILAN.report(), MILAN.product
    good = MILAN.collateral(crls=(amd_pki.crl(milan, 9),))
    registry.verify("snp", report, good, asking(crl=True), NOW)
    refused(report, MILAN.collateral(crls=(amd_pki.crl(milan, 1),)), "crl")
    refused(report, MILAN.collateral(crls=(amd_pki.crl(milan, 9, days=5),)), "crl")
    stale = registry.verify(
        "snp",
        report,
        MILAN.collateral(crls=(amd_pki.crl(milan, 9, days=9),)),
        asking(crl=True, collateral_grace_hours=48),
        NOW,
    )
    assert "grace" in stale.facts.notes[0]
    other = MILAN.collateral(crls=(amd_pki.crl(PRODUCTS["Genoa"]),))
    refused(report, other, "crl", asking(crl=True))
    forged = bytearray(amd_pki.crl(milan, 9))
    forged[-1] ^= 1
    refused(report, MILAN.collateral(crls=(bytes(forged),)), "crl")


def test_an_authority_that_is_given_has_to_be_amds() -> None:
    report = MILAN.report()
    authentic(report, MILAN.collateral(amd_pki.authority("SEV-Milan", "ARK-Milan")))
    refused(report, MILAN.collateral(amd_pki.authority("ARK-Milan", "SEV-Genoa")), "certificate.chain")
    amd_pki.rsa_key.cache_clear()
    amd_pki.authority.cache_clear()
    fake = amd_pki.authority("ARK-Milan", "ARK-Milan")
    assert "not AMD's" in refused(report, Collateral((Machine().leaf(), fake)), "certificate.chain")
    refused(Machine().report(), Machine().collateral(), "certificate.chain")
    amd_pki.authority.cache_clear()


def test_certificates_come_with_the_report() -> None:
    report = MILAN.report()
    table = amd_pki.certificate_table(
        MILAN.leaf(), amd_pki.authority("SEV-Milan", "ARK-Milan"), amd_pki.authority("ARK-Milan", "ARK-Milan")
    )
    forms: list[bytes] = [
        report + table,
        base64.b64encode(report + table),
        (report + table).hex().encode() + b"\n",
        json.dumps({"attestation_report": report.hex(), "cert_chain": [base64.b64encode(table).decode()]}).encode(),
        json.dumps({"report": list(report), "vcek": base64.b64encode(MILAN.leaf()).decode()}).encode(),
    ]
    for form in forms:
        authentic(*registry.unwrap("snp", form, Collateral()))
        assert registry.guess(form) == ("snp",)
    response = bytes(4) + (1184).to_bytes(4, "little") + bytes(24) + report + bytes(2784)
    assert registry.unwrap("snp", response, Collateral())[0] == report
    whole = len((report + table).rstrip(b"\0"))  # zeros behind the last certificate pad the page
    for length in range(1185, whole, 97):
        with pytest.raises(Refused):
            authentic(*registry.unwrap("snp", (report + table)[:length], MILAN.collateral()))
    for position in range(24):  # the leaf's entry; an authority that is not found is the shipped one
        damaged = bytearray(table)
        damaged[position] ^= 0xFF
        with pytest.raises(Refused):
            authentic(*registry.unwrap("snp", report + bytes(damaged), Collateral()))


def test_a_rack_in_one_call_takes_each_its_own_leaf() -> None:
    machines = [Machine(chip=bytes([index]) * 64) for index in range(1, 9)]
    collateral = Collateral(tuple(machine.leaf() for machine in machines))
    for machine in machines:
        assert authentic(machine.report(), collateral).facts.identity == machine.chip
    stranger = Machine(chip=b"\xee" * 64)
    assert "none of 8 VCEKs" in refused(stranger.report(), collateral, "certificate")
    renewed = Collateral((*collateral.certificates, machines[0].leaf(**{"1": number(1)})))
    authentic(machines[0].report(), renewed)


def test_an_expired_leaf_is_refused() -> None:
    for days in (-11, 11):
        with pytest.raises(Refused, match="valid"):
            registry.authenticate("snp", MILAN.report(), MILAN.collateral(), None, NOW + timedelta(days=days))


@pytest.mark.parametrize(
    "section",
    [{"vmpl": [4]}, {"vmpl": []}, {"minimum_tcb": {"Rome": {}}}, {"policy_requires": ["smt"]}, {"debgu": True}],
)
def test_a_section_of_nonsense_is_a_usage_error(section: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="snp"):
        policy.make({"snp": section})


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)), st.integers(0, 5))
def test_damaged_wrappings_are_refused_or_no_report(data: bytes, prefix: int) -> None:
    starts = (b"", b"{", b"\x00\x03\x81\x12", bytes.fromhex("63da758de6644564adc5f4b93be8accd"), b'{"report":', b"[")
    try:
        evidence, collateral = snp_forms.unwrap(starts[prefix] + data, Collateral())
    except Refused:
        return
    with pytest.raises(Refused):
        snp_report.parse(evidence)
    with pytest.raises(Refused):
        authentic(evidence, collateral)


def test_fields_in_json_are_put_together_again() -> None:
    report = snp_report.parse(TURIN.report())

    def levels(raw: bytes) -> dict[str, int]:
        return {name: level for name, level in zip(TURIN.product.tcb, raw, strict=True) if not name.startswith("spl")}

    fields = {
        "version": 5, "guest_svn": 0, "policy": report.policy, "family_id": [0] * 16, "image_id": [0] * 16, "vmpl": 0,
        "sig_algo": 1, "plat_info": 0, "key_info": 0, "report_data": list(report.report_data),
        "measurement": report.measurement.hex(), "host_data": [0] * 32, "id_key_digest": [0] * 48,
        "author_key_digest": [0] * 48, "report_id": [0] * 32, "report_id_ma": [0] * 32, "cpuid_fam_id": 0x1A,
        "cpuid_mod_id": 0, "cpuid_step": 0, "chip_id": list(report.chip_id),
        "current": {"major": 1, "minor": 55, "build": 40}, "committed": {"major": 1, "minor": 55, "build": 40},
        "current_tcb": levels(report.current_tcb), "reported_tcb": levels(report.reported_tcb),
        "committed_tcb": levels(report.committed_tcb), "launch_tcb": levels(report.launch_tcb),
        "launch_mit_vector": 0, "current_mit_vector": 0,
        "signature": {"r": list(report.r + bytes(24)), "s": list(report.s + bytes(24))},
    }  # fmt: skip
    for wrapped in (fields, {"attestation_report": fields}, {"attestation_report": json.dumps(fields)}):
        authentic(registry.unwrap("snp", json.dumps(wrapped).encode(), Collateral())[0], TURIN.collateral())
    for name in fields:
        with pytest.raises(Refused):
            authentic(
                registry.unwrap("snp", json.dumps({**fields, name: "x"}).encode(), Collateral())[0], TURIN.collateral()
            )


@pytest.mark.parametrize(
    ("key", "value", "allowed"),
    [
        ("debug", "1", "true or false"),
        ("debug", 1, "true or false"),
        ("smt", "yes", "true or false"),
        ("vmpl", ["0"], "a whole number"),
        ("vmpl", 0, "a list"),
        ("minimum_guest_svn", "3", "a whole number"),
    ],
)
def test_a_policy_means_what_it_says(key: str, value: object, allowed: str) -> None:
    """Text that looks like a yes opens nothing."""
    with pytest.raises(ConfigError) as caught:
        policy.make({"snp": {key: value}})
    assert f"snp.{key}" in str(caught.value)
    assert f"found {value!r}" in str(caught.value) or "found '0'" in str(caught.value)
    assert f"allowed is {allowed}" in str(caught.value)
